//! Questions to `search.db`.
//!
//! The newest hits come first out of the index, in the order of their numbers; of these a bounded number is
//! ranked, in bounded time, so that a word that is everywhere is as quick as a rare one. What is shown is
//! read from the index of events and looked at once more: what has changed since, or is secret by now, is
//! no hit.

use std::{
    collections::{BTreeMap, HashMap, HashSet, hash_map::Entry},
    path::Path,
    time::{Duration, Instant},
};

use rrd_core::search::{Place, Snippet, expression, first_number, said, score, session_word};
use rrd_proto::{
    Event, MAX_HITS, SearchHit, SearchKind, SearchQuery, SearchReply, Session, SessionKey,
    Timestamp,
};
use rusqlite::{Connection, OptionalExtension, params};

use super::{
    lens::Lens,
    rows::{key, open_to_read},
};
use crate::{hub::Hub, store::Reader};

/// Hits that are ranked.
const NEWEST: usize = 2_000;

/// How long the index is looked through for them.
const WITHIN: Duration = Duration::from_millis(60);

/// Hits are passed by in steps of so many before the clock is looked at.
const STEP: usize = 256;

/// So few sessions are sought by name; more are sifted out of what is found.
const FEW: usize = 48;

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) hits: Vec<Hit>,
    /// There are more.
    pub(crate) more: bool,
    /// What is older was not looked through.
    pub(crate) looked_to: Option<Timestamp>,
    /// There was no word in the question.
    pub(crate) no_words: bool,
}

/// A hit before anything of its session is known.
#[derive(Debug)]
pub(crate) struct Hit {
    pub(crate) key: SessionKey,
    pub(crate) event: Event,
    pub(crate) kind: SearchKind,
    pub(crate) snippet: Snippet,
    pub(crate) score: f64,
}

impl Found {
    /// With what is known of the sessions; a hit in one of which nothing is known any more is none.
    pub(crate) fn told(self, hub: &Hub) -> SearchReply {
        let rows = hub.rows(self.hits.iter().map(|hit| &hit.key));
        let hit = |hit: Hit| Some(tell(rows.get(&hit.key)?, hit));
        SearchReply {
            hits: self.hits.into_iter().filter_map(hit).collect(),
            more: self.more,
            looked_to: self.looked_to,
            no_words: self.no_words,
            behind: 0,
            unheard: Vec::new(),
        }
    }
}

/// A hit with what is known of its session.
fn tell(session: &Session, hit: Hit) -> SearchHit {
    let Hit { key, event, kind, snippet, score } = hit;
    SearchHit {
        reference: session.reference.clone(),
        host: session.host.clone(),
        node_id: session.node_id.clone(),
        harness: key.harness,
        session_id: key.session_id,
        repo: session.repo.clone(),
        title: session.title.clone(),
        seq: event.seq,
        at: event.at,
        kind,
        tool: event.tool,
        withdrawn: event.withdrawn,
        snippet: snippet.text,
        marks: snippet.marks,
        cut: snippet.cut,
        score,
    }
}

/// A row that may be a hit.
struct Candidate {
    place: Place,
    session: i64,
    seq: u64,
    guess: f64,
}

/// Both databases, to be read.
#[derive(Debug)]
pub(crate) struct Finder {
    db: Connection,
    events: Reader,
    lens: Lens,
}

impl Finder {
    /// `None` where one of them is not there.
    pub(crate) fn open(state_dir: &Path) -> Option<Self> {
        let (db, events) = (open_to_read(state_dir)?, Reader::open(state_dir)?);
        Some(Self { db, events, lens: Lens::new().ok()? })
    }

    /// Finds what is asked for, among these sessions or all. Every text passes `redact`.
    pub(crate) fn find(
        &self,
        query: &SearchQuery,
        wanted: Option<&HashSet<SessionKey>>,
        now: Timestamp,
        redact: &mut dyn FnMut(&str) -> String,
    ) -> rusqlite::Result<Found> {
        let Some(words) = expression(&query.text) else {
            return Ok(Found { no_words: true, ..Found::default() });
        };
        let wanted = wanted.map(|wanted| self.numbers(query, wanted)).transpose()?;
        let mut found = Found::default();
        let mut candidates = self.candidates(query, &words, wanted.as_ref(), now, &mut found)?;
        candidates.sort_by(|a, b| b.guess.total_cmp(&a.guess));
        let limit = query.limit.clamp(1, MAX_HITS) as usize;
        let mut left = candidates.as_slice();
        let mut sessions = HashMap::new();
        while found.hits.len() < limit && !left.is_empty() {
            let (some, rest) = left.split_at(left.len().min(limit - found.hits.len()));
            left = rest;
            self.look_at(&words, some, now, &mut sessions, redact, &mut found.hits)?;
        }
        found.more |= !left.is_empty();
        found.hits.sort_by(|a, b| b.score.total_cmp(&a.score));
        Ok(found)
    }

    /// Numbers of the sessions that are wanted.
    fn numbers(
        &self,
        query: &SearchQuery,
        wanted: &HashSet<SessionKey>,
    ) -> rusqlite::Result<HashSet<i64>> {
        let which = query.harness.as_ref().map_or("", |_| "WHERE harness = ?1");
        let sql = format!("SELECT harness, session_id, id FROM sessions {which}");
        let mut sessions = self.db.prepare_cached(&sql)?;
        let mut rows = match &query.harness {
            Some(harness) => sessions.query([harness.as_str()])?,
            None => sessions.query([])?,
        };
        let mut numbers = HashSet::new();
        while let Some(row) = rows.next()? {
            if wanted.contains(&key(row)?) {
                numbers.insert(row.get(2)?);
            }
        }
        Ok(numbers)
    }

    /// The newest rows that match, so many and in so long.
    fn candidates(
        &self,
        query: &SearchQuery,
        words: &str,
        wanted: Option<&HashSet<i64>>,
        now: Timestamp,
        found: &mut Found,
    ) -> rusqlite::Result<Vec<Candidate>> {
        let begun = Instant::now();
        let mut expression = words.to_owned();
        if let Some(few) = wanted.filter(|wanted| wanted.len() <= FEW) {
            let names: Vec<String> =
                few.iter().map(|number| format!("\"{}\"", session_word(*number))).collect();
            if names.is_empty() {
                return Ok(Vec::new());
            }
            expression = format!("({words}) AND ({})", names.join(" OR "));
        }
        let sql = "SELECT rowid, session, seq FROM said
                WHERE said MATCH ?1 AND rowid >= ?2 ORDER BY rowid DESC";
        let mut statement = self.db.prepare_cached(sql)?;
        let from = query.since.map_or(0, first_number);
        let mut rows = statement.query(params![expression, from])?;
        let mut candidates = Vec::new();
        let mut passed = 0;
        while let Some(row) = rows.next()? {
            let Some(place) = Place::of(row.get(0)?) else { continue };
            passed += 1;
            if passed % STEP == 0 && begun.elapsed() > WITHIN {
                found.looked_to = Some(place.at);
                found.more = true;
                break;
            }
            if query.kind.is_some_and(|kind| kind != place.kind) {
                continue;
            }
            let session = row.get(1)?;
            if wanted.is_some_and(|wanted| !wanted.contains(&session)) {
                continue;
            }
            if candidates.len() == NEWEST {
                found.more = true;
                break;
            }
            let guess = score(place.kind, now.since(place.at), 1, 200, false);
            let seq = row.get::<_, i64>(2)?.cast_unsigned();
            candidates.push(Candidate { place, session, seq, guess });
        }
        Ok(candidates)
    }

    /// Reads what these say, and takes those that still say what was looked for.
    fn look_at(
        &self,
        words: &str,
        candidates: &[Candidate],
        now: Timestamp,
        sessions: &mut HashMap<i64, Option<SessionKey>>,
        redact: &mut dyn FnMut(&str) -> String,
        hits: &mut Vec<Hit>,
    ) -> rusqlite::Result<()> {
        let mut of_sessions: BTreeMap<i64, Vec<&Candidate>> = BTreeMap::new();
        for candidate in candidates {
            of_sessions.entry(candidate.session).or_default().push(candidate);
        }
        let (mut texts, mut events) = (Vec::new(), Vec::new());
        for (session, mut candidates) in of_sessions {
            let key = match sessions.entry(session) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => new.insert(self.key(session)?),
            };
            let Some(key) = key.as_ref() else { continue };
            candidates.sort_by_key(|candidate| candidate.seq);
            let seqs: Vec<u64> = candidates.iter().map(|candidate| candidate.seq).collect();
            for event in self.events.events_to_show(key, &seqs)? {
                let Some(said) = said(&event) else { continue };
                let place = candidates.iter().find(|candidate| candidate.seq == event.seq);
                let Some(place) = place.map(|candidate| candidate.place) else { continue };
                texts.push(said.redacted(redact));
                events.push((key.clone(), said.kind, place.at, Event { body: None, ..event }));
            }
        }
        for ((key, kind, at, event), snippet) in
            events.into_iter().zip(self.lens.look(words, &texts)?)
        {
            let Some(snippet) = snippet else { continue };
            let age = now.since(at);
            let score = score(kind, age, snippet.found, snippet.len, event.withdrawn);
            hits.push(Hit { key, event, kind, snippet, score });
        }
        Ok(())
    }

    /// The session of this number, while there is one.
    fn key(&self, number: i64) -> rusqlite::Result<Option<SessionKey>> {
        self.db
            .prepare_cached("SELECT harness, session_id FROM sessions WHERE id = ?1")?
            .query_row([number], key)
            .optional()
    }
}
