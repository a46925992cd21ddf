//! Answers about this host's own sessions, whoever asks: a client here, or another member of the fleet.
//!
//! Whoever asks sees what has been written until now. What members get here has passed the redactor; their
//! calls are [`METHODS`]. Copies of files are kept here and given by [`crate::resume`]. Not here: who may ask, and sessions of other hosts.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use rrd_core::{body, fleet::words, harness::format_of, redact::Redacted};
use rrd_proto::{
    Event, EventPage, EventQuery, Gap, ListQuery, MAX_MARKS, Outline, OutlineQuery, SearchQuery,
    SearchReply, Session, SessionKey, Timestamp,
    peer::{self, Refused},
    peer_calls::{
        EventsQuery, EventsReply, FoundReply, LastKnownQuery, LastWordsQuery, MAX_ROWS, MAX_WORDS,
        RowsQuery, RowsReply,
    },
};
use serde::Serialize;
use tokio::{
    sync::watch,
    time::{Instant, timeout, timeout_at},
};

use crate::{
    audience::Looking,
    edge::Edges,
    hub::{Hub, now},
    resume::give::Copies,
    scan::{self, MAX_PAGE},
    search::Search,
    store::{Committed, Reader, Writer},
    tail::{self, Door},
    waits::owner,
};

/// What members may ask here.
pub(crate) const METHODS: [&str; 6] = ["rows", "events", "outline", "search", "last_known", "wait"];

/// The longest wait one call may ask for.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// How long events that are being written are waited for.
const PATIENCE: Duration = Duration::from_millis(500);

/// How long what was left for later is waited for.
const CATCH_UP: Duration = Duration::from_millis(100);

/// How long all roots may take to be walked for who has to know of everything.
const SWEEP: Duration = Duration::from_secs(10);

/// How often whoever has no room for a question is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// Answers from the hub and the index.
pub(crate) struct Desk {
    pub(crate) hub: Arc<Hub>,
    pub(crate) edges: Arc<Edges>,
    pub(crate) tails: Vec<Door>,
    pub(crate) index: Arc<Index>,
    /// Bytes of an event's body that are kept.
    pub(crate) event: usize,
    pub(crate) search: Arc<Search>,
    /// Files of sessions that are being given to who resumes them.
    pub(crate) copies: Copies,
}

impl Desk {
    /// Whoever asks sees what has been written until now, wherever that was left for later.
    pub(crate) async fn look(&self) -> Looking {
        let looking = self.hub.audience.look();
        let behind: Vec<_> = self.tails.iter().filter_map(Door::catch_up).collect();
        let caught_up = async {
            for tail in behind {
                let _ = tail.await;
            }
        };
        // A root on a hung disk must not hold up the answer.
        let _ = timeout(CATCH_UP, caught_up).await;
        looking
    }

    /// Returns when everything that is beneath the roots now has a row, as far as they can be looked at in time.
    pub(crate) async fn sweep(&self) {
        let swept = self.tails.iter().map(async |tail| {
            loop {
                match tail.sweep() {
                    Some(swept) => return drop(swept.await),
                    None => tokio::time::sleep(ASK_AGAIN).await,
                }
            }
        });
        let _ = timeout(SWEEP, futures::future::join_all(swept)).await;
    }

    /// Events of a session of this host, as they are.
    pub(crate) async fn events(&self, query: &EventQuery) -> EventPage {
        let deadline = Instant::now() + wait(query.wait_ms);
        let limit = query.limit.clamp(1, MAX_PAGE);
        let _looking = self.look().await;
        let mut committed = self.index.writer.committed();
        // Whoever only looks takes what is there; who waits wants the next one at once.
        let _awaited = (query.wait_ms > 0).then(|| self.index.writer.awaited());
        // What has been read is seen, written or not.
        if let Some(written) = self.index.writer.hurry() {
            let _ = tokio::task::spawn_blocking(move || written.recv_timeout(PATIENCE)).await;
        }
        loop {
            let mut seen = committed.borrow_and_update().number;
            let (index, asked) = (Arc::clone(&self.index), query.clone());
            let read = tokio::task::spawn_blocking(move || {
                index.read(|index| scan::read_index(index, &asked, limit))
            });
            let mut page: EventPage = read.await.unwrap_or_default();
            if query.bodies && query.limit == 1 {
                page = self.whole(query, page).await;
            }
            if !page.events.is_empty() {
                return page;
            }
            // Only a transaction that wrote some of this session's is worth a look; one that was missed
            // may have.
            loop {
                match timeout_at(deadline, committed.changed()).await {
                    Ok(Ok(())) => {}
                    // Nothing came in time, or the store is closing.
                    _ => return EventPage::default(),
                }
                let last = committed.borrow_and_update();
                let missed = last.number != seen + 1;
                seen = last.number;
                if missed || last.sessions.contains(&query.key) {
                    break;
                }
            }
        }
    }

    /// One event that was cut when it was kept: all of it, as long as its transcript has it.
    async fn whole(&self, query: &EventQuery, mut page: EventPage) -> EventPage {
        let [event] = page.events.as_mut_slice() else { return page };
        let (Some(kept), Some(format)) =
            (event.body.clone().filter(|body| body.cut.is_some()), format_of(&query.key.harness))
        else {
            return page;
        };
        let (index, edges, limits) = (Arc::clone(&self.index), Arc::clone(&self.edges), self.event);
        let (key, seq) = (query.key.clone(), event.seq);
        let read = tokio::task::spawn_blocking(move || {
            let written = index.read(|index| index.written(&key, seq))?;
            tail::whole(format, &written, &kept, &|event, whole| {
                body::keep(event, whole, limits, &mut |text| edges.kept(text))
            })
        });
        if let Ok(Some((whole, is_cut))) = read.await {
            (event.body, event.truncated) = (Some(whole), is_cut);
        }
        page
    }

    /// A session of this host from above.
    pub(crate) async fn outline(&self, query: &OutlineQuery) -> Outline {
        let _looking = self.look().await;
        if let Some(written) = self.index.writer.hurry() {
            let _ = tokio::task::spawn_blocking(move || written.recv_timeout(PATIENCE)).await;
        }
        let limit = query.limit.clamp(1, MAX_MARKS);
        let (index, asked) = (Arc::clone(&self.index), query.clone());
        let read = tokio::task::spawn_blocking(move || {
            index.read(|index| {
                let marks = index.marks(&asked.key, asked.after, limit)?;
                // Once is enough.
                let first = asked.after.is_none();
                let stretches = if first { index.stretches(&asked.key)? } else { Vec::new() };
                Ok((marks, stretches, index.gaps(&asked.key)?))
            })
        });
        let (marks, stretches, gaps) = read.await.unwrap_or_default();
        let fold = self.hub.fold(&query.key);
        let (subagents, more_subagents) = match query.after {
            None => self.hub.subagents(&query.key),
            Some(_) => Default::default(),
        };
        Outline {
            more: marks.len() == limit as usize,
            marks,
            stretches,
            copied_to: fold.and_then(|fold| fold.copied_to()),
            // A damaged row may claim any number.
            dropped: gaps.iter().map(Gap::count).fold(0, u64::saturating_add),
            gaps,
            last_words: None,
            subagents,
            more_subagents,
        }
    }

    /// What these sessions did last, after the event that is known of each; of what has not gone on,
    /// nothing.
    pub(crate) async fn last_words(
        &self,
        query: LastWordsQuery,
    ) -> Vec<(SessionKey, Timestamp, Redacted<Vec<Event>>)> {
        let mut told = Vec::new();
        for (key, after) in query.sessions.into_iter().take(MAX_WORDS) {
            let newest = EventQuery::newest(key.clone(), words::EVENTS as u32);
            let newest = EventQuery { bodies: true, ..newest };
            let mut page = self.events(&EventQuery { after, ..newest.clone() }).await;
            // So many are new that the newest are among those that follow; or an index that was begun anew
            // has not come so far again.
            if after.is_some() && (page.more || page.events.is_empty()) {
                let newer = self.events(&newest).await;
                let last = newer.events.last().map(|event| event.seq);
                if page.more || last.is_some_and(|last| Some(last) < after) {
                    page = newer;
                }
            }
            if !page.events.is_empty() {
                let events = self.edges.told_events(page).map(|page| page.events);
                told.push((key, now(), events));
            }
        }
        told
    }

    /// What sessions of this host said, as far as it is what is looked for.
    pub(crate) async fn search(&self, query: &SearchQuery) -> SearchReply {
        let _looking = self.look().await;
        let written = self.index.writer.hurry();
        let (search, hub, query) = (Arc::clone(&self.search), Arc::clone(&self.hub), query.clone());
        let found = tokio::task::spawn_blocking(move || {
            // What has been read is found, written or not.
            if let Some(written) = written {
                let _ = written.recv_timeout(PATIENCE);
            }
            search.catch_up();
            let wanted = (query.harness.is_some() || query.repo.is_some())
                .then(|| hub.keys(query.harness.as_ref(), query.repo.as_deref()));
            let found = search.find(&query, wanted.as_ref());
            SearchReply { behind: search.behind(), ..found.told(&hub) }
        });
        found.await.unwrap_or_default()
    }

    /// Answers a member; `None` when that is no method of this desk.
    pub(crate) async fn answer(&self, method: &str, body: &[u8]) -> Option<Result<Bytes, Refused>> {
        Some(match method {
            "rows" => match peer::unpack(body) {
                Ok(query) => self.rows(query).await,
                Err(refused) => Err(refused),
            },
            "events" => match peer::unpack(body) {
                Ok(query) => self.events_for_member(query).await,
                Err(refused) => Err(refused),
            },
            "outline" => match peer::unpack::<OutlineQuery>(body) {
                Ok(query) => {
                    let outline = self.edges.told_outline(self.outline(&query).await);
                    peer::pack(outline.as_ref())
                }
                Err(refused) => Err(refused),
            },
            "search" => match peer::unpack::<SearchQuery>(body) {
                Ok(query) => {
                    let found = self.edges.told_found(self.search(&query).await);
                    let SearchReply { hits, more, looked_to, behind, .. } = found.as_ref();
                    peer::pack(&FoundReply {
                        hits: hits.iter().filter_map(json).collect(),
                        more: *more,
                        looked_to: *looked_to,
                        behind: *behind,
                    })
                }
                Err(refused) => Err(refused),
            },
            "wait" => match peer::unpack(body) {
                Ok(query) => peer::pack(&owner::wait(self, query).await),
                Err(refused) => Err(refused),
            },
            "last_known" => peer::unpack(body).and_then(|LastKnownQuery { node }| {
                let others = self.hub.others();
                peer::pack(&others.map(|others| others.last_known(node)).unwrap_or_default())
            }),
            _ => return None,
        })
    }

    async fn rows(&self, query: RowsQuery) -> Result<Bytes, Refused> {
        let RowsQuery { list, begins, newest, after, limit } = query;
        let list = ListQuery { host: None, raw: false, ..list };
        let _looking = self.look().await;
        let mut rows = self.hub.list_here(&list).sessions;
        if let Some(begins) = begins {
            rows.retain(|row| row.session_id.starts_with(&begins) || row.reference == begins);
        }
        if let Some(newest) = newest {
            rows.sort_by_key(|row| std::cmp::Reverse(row.last_activity_at));
            rows.truncate(newest as usize);
        }
        let mut rows: Vec<(SessionKey, Session)> =
            rows.into_iter().map(|row| (row.key(), row)).collect();
        rows.sort_by(|(a, _), (b, _)| a.cmp(b));
        let from = after.map_or(0, |after| rows.partition_point(|(key, _)| *key <= after));
        let mut limit = limit.clamp(1, MAX_ROWS) as usize;
        let rest = &rows[from..];
        loop {
            let page = &rest[..limit.min(rest.len())];
            let texts =
                page.iter().filter_map(|(_, row)| json(self.edges.told(row.clone()).as_ref()));
            let reply = RowsReply { rows: texts.collect(), more: page.len() < rest.len() };
            match peer::pack(&reply) {
                Err(refused) if refused.code == "too_large" && limit > 1 => limit /= 2,
                packed => return packed,
            }
        }
    }

    async fn events_for_member(&self, query: EventsQuery) -> Result<Bytes, Refused> {
        let EventsQuery { key, after, before, limit, wait_ms, bodies } = query;
        let query =
            EventQuery { key, node: None, after, before, limit, wait_ms, bodies, raw: false };
        let page = self.edges.told_events(self.events(&query).await);
        let EventPage { events, more, last_words: _ } = page.as_ref();
        peer::pack(&EventsReply { events: events.iter().filter_map(json).collect(), more: *more })
    }
}

fn json<T: Serialize>(value: &T) -> Option<String> {
    serde_json::to_string(value).ok()
}

/// The wait that a call asks for.
pub(crate) fn wait(ms: u32) -> Duration {
    Duration::from_millis(ms.into()).min(MAX_WAIT)
}

/// The index as it is read; opened when it is first needed.
pub(crate) struct Index {
    state_dir: PathBuf,
    reader: Mutex<Option<Reader>>,
    writer: Arc<Writer>,
}

impl Index {
    pub(crate) fn new(state_dir: PathBuf, writer: Arc<Writer>) -> Self {
        Self { state_dir, reader: Mutex::default(), writer }
    }

    /// Tells of every transaction.
    pub(crate) fn committed(&self) -> watch::Receiver<Committed> {
        self.writer.committed()
    }

    /// What is read of it; nothing where it cannot be read.
    fn read<T: Default>(&self, read: impl FnOnce(&Reader) -> rusqlite::Result<T>) -> T {
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let open = reader.take().or_else(|| Reader::open(&self.state_dir));
        let Some(open) = open else { return T::default() };
        match read(&open) {
            Ok(found) => {
                *reader = Some(open);
                found
            }
            // Opened afresh next time: the database may have been set aside.
            Err(error) => {
                tracing::warn!(%error, "cannot read the index");
                T::default()
            }
        }
    }
}
