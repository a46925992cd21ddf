//! Keeps the last words of other hosts' sessions, and tells them when those hosts are away or cannot be
//! reached.
//!
//! Of each active session three hosts keep what it did last, fetched as it happens: whenever gossip tells
//! of a change, the host is asked for what is new. In memory at once, in `keep.db` some seconds later. Not
//! here: who keeps what, and what of it counts ([`rrd_core::fleet::words`]).

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::future::join_all;
use rrd_core::fleet::words::{self, Kept, Told};
use rrd_proto::{
    Event, EventPage, EventQuery, HostState, LastWords, NodeId, Session, SessionKey, Timestamp,
    peer_calls::{KeptWordsQuery, LastWordsQuery, MAX_WORDS, WordsReply},
};
use tokio::time::{Instant, sleep, timeout};

use crate::{
    fleet::{Fleet, LinkError, aside},
    gossip::Gossip,
    hub::now,
};

/// Changes that come together are fetched together.
const APART: Duration = Duration::from_millis(300);

/// What a host may take to tell.
const WITHIN: Duration = Duration::from_secs(5);

/// What other members may take to tell what they keep: somebody waits.
const ASKED_WITHIN: Duration = Duration::from_millis(1_500);

/// A crash loses what was fetched since.
const WRITTEN_AFTER: Duration = Duration::from_secs(5);

/// A host that could not tell is asked again.
const AGAIN: Duration = Duration::from_secs(2);

/// Of a session that is over, on a host that is there, its own host tells.
const OVER: i64 = 3_600_000;

/// Sessions of which words are kept, at most: some 20 MB.
const MOST: usize = 500;

type Whose = (NodeId, SessionKey);
/// What is written of one: with when its session was active last.
type Row = (Whose, Kept, Timestamp);

/// What is kept of other hosts' sessions.
#[derive(Debug, Default)]
pub(crate) struct Words(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    kept: BTreeMap<Whose, Entry>,
    /// Kept no more, and not taken out of `keep.db` yet.
    gone: BTreeSet<Whose>,
}

#[derive(Debug, Clone)]
struct Entry {
    kept: Kept,
    /// When it was active last, by this host's clock.
    active_at: Timestamp,
    is_written: bool,
}

impl Words {
    /// As they were written.
    pub(crate) fn restored(rows: Vec<Row>) -> Self {
        let entry = |kept, active_at| Entry { kept, active_at, is_written: true };
        let rows = rows.into_iter().map(|(whose, kept, at)| (whose, entry(kept, at)));
        Self(Mutex::new(Held { kept: rows.collect(), gone: BTreeSet::new() }))
    }

    /// What is kept of one session, oldest first.
    pub(crate) fn of(&self, node: NodeId, key: &SessionKey) -> Vec<String> {
        let held = self.lock();
        let entry = held.kept.get(&(node, key.clone()));
        entry.map(|entry| entry.kept.texts().map(str::to_owned).collect()).unwrap_or_default()
    }

    fn last(&self, whose: &Whose) -> Option<u64> {
        self.lock().kept.get(whose)?.kept.last()
    }

    fn add(&self, whose: Whose, told: &Told, text: String) {
        let Held { kept, gone } = &mut *self.lock();
        if kept.len() >= MOST && !kept.contains_key(&whose) {
            let oldest = kept.iter().min_by_key(|(_, entry)| entry.active_at);
            if let Some(oldest) = oldest.map(|(whose, _)| whose.clone()) {
                kept.remove(&oldest);
                gone.insert(oldest);
            }
        }
        gone.remove(&whose);
        let new = || Entry { kept: Kept::default(), active_at: now(), is_written: false };
        let entry = kept.entry(whose).or_insert_with(new);
        entry.kept.add(told, text);
        entry.is_written = false;
    }

    /// Forgets what nobody will ask for: what `stays` does not hold of (whose host is no member, or has
    /// forgotten it), and what is over on a host that is there; true where there was any.
    fn tidy(&self, rows: &[(Whose, bool)], stays: impl Fn(&Whose) -> bool) -> bool {
        let Held { kept, gone } = &mut *self.lock();
        let before = gone.len();
        let at = now();
        let told: HashMap<&Whose, bool> = rows.iter().map(|(whose, live)| (whose, *live)).collect();
        kept.retain(|whose, entry| {
            match told.get(whose) {
                Some(true) => entry.active_at = at,
                // Its host is away: that is what it is kept for.
                Some(false) => return true,
                None => {}
            }
            let stays = stays(whose) && at.since(entry.active_at) < OVER;
            if !stays {
                gone.insert(whose.clone());
            }
            stays
        });
        gone.len() > before
    }

    /// What is to be written, and what is to be taken out; `None` when there is neither.
    fn unwritten(&self) -> Option<(Vec<Row>, Vec<Whose>)> {
        let mut held = self.lock();
        let gone: Vec<Whose> = std::mem::take(&mut held.gone).into_iter().collect();
        let new = held.kept.iter_mut().filter(|(_, entry)| !entry.is_written);
        let rows: Vec<_> = new
            .map(|(whose, entry)| {
                entry.is_written = true;
                (whose.clone(), entry.kept.clone(), entry.active_at)
            })
            .collect();
        (!rows.is_empty() || !gone.is_empty()).then_some((rows, gone))
    }

    fn has_unwritten(&self) -> bool {
        let held = self.lock();
        !held.gone.is_empty() || held.kept.values().any(|entry| !entry.is_written)
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Fetches the last words of sessions that are this host's to keep. Runs until it is dropped.
pub(crate) async fn follow(fleet: Arc<Fleet>, gossip: Arc<Gossip>) {
    let mut changed = gossip.changed();
    let mut fetched: HashMap<Whose, u64> = HashMap::new();
    let mut written_at = Instant::now();
    loop {
        changed.mark_unchanged();
        let rows = gossip.rows();
        let (due, told) = due(&fleet, &gossip, &rows, &fetched);
        let failed = !fetch(&fleet, due, &mut fetched).await;
        let members = fleet.members();
        fetched.retain(|whose, _| told.iter().any(|(known, _)| known == whose));
        let stays = |whose: &Whose| members.has(whose.0) && !gossip.is_gone(whose.0, &whose.1);
        let gone = fleet.words().tidy(&told, stays);
        if gone || written_at.elapsed() >= WRITTEN_AFTER {
            written_at = Instant::now();
            write(&fleet).await;
        }
        let pause = if failed { AGAIN } else { WRITTEN_AFTER };
        tokio::select! {
            // Something to write, or to try again, even if nothing happens any more.
            () = sleep(pause), if failed || fleet.words().has_unwritten() => {}
            result = changed.changed() => if result.is_err() { return },
        }
        sleep(APART).await;
    }
}

async fn write(fleet: &Arc<Fleet>) {
    let Some((rows, gone)) = fleet.words().unwritten() else { return };
    let written = aside(fleet, move |fleet| fleet.keep().set_words(&rows, &gone)).await;
    if let Some(Err(error)) = written {
        tracing::warn!(%error, "last words of other hosts' sessions cannot be kept");
    }
}

/// What is to be fetched of each host, each with a mark of how its session stands; and every session that
/// is told of and active, with whether its host is there.
type Due = BTreeMap<NodeId, Vec<(SessionKey, Option<u64>, u64)>>;

fn due(
    fleet: &Fleet,
    gossip: &Gossip,
    rows: &[Session],
    fetched: &HashMap<Whose, u64>,
) -> (Due, Vec<(Whose, bool)>) {
    let own = fleet.node();
    let mut there: Vec<NodeId> = gossip.live().into_iter().map(|(node, _)| node).collect();
    there.push(own);
    let (mut due, mut told) = (Due::new(), Vec::new());
    for row in rows.iter().filter(|row| row.active) {
        let Some(node) = row.node_id.as_ref().and_then(|node| node.parse::<NodeId>().ok()) else {
            continue;
        };
        let (whose, is_live) = ((node, row.key()), row.host_state == HostState::Live);
        if is_live && words::keepers(node, &whose.1, &there).contains(&own) {
            let stands = (row.last_activity_at, row.status, &row.activity, &row.counts);
            let stands = rrd_core::hash(format!("{stands:?}").as_bytes());
            let of_host = due.entry(node).or_default();
            if fetched.get(&whose) != Some(&stands) && of_host.len() < MAX_WORDS {
                of_host.push((whose.1.clone(), fleet.words().last(&whose), stands));
            }
        }
        told.push((whose, is_live));
    }
    due.retain(|_, sessions| !sessions.is_empty());
    (due, told)
}

/// Whether everybody told.
async fn fetch(fleet: &Arc<Fleet>, due: Due, fetched: &mut HashMap<Whose, u64>) -> bool {
    let asked = due.into_iter().map(|(node, sessions)| async move {
        let wanted = sessions.iter().map(|(key, after, _)| (key.clone(), *after)).collect();
        let query = LastWordsQuery { sessions: wanted };
        let link = fleet.link(node);
        let told = link.call_bulk::<_, WordsReply>(fleet, "last_words", &query, WITHIN).await;
        (node, sessions, told)
    });
    let mut all = true;
    for (node, sessions, told) in join_all(asked).await {
        let words = match told {
            Ok(reply) => reply.words,
            // An earlier release never will.
            Err(LinkError::Unknown) => Vec::new(),
            Err(_) => {
                all = false;
                continue;
            }
        };
        let members = fleet.members();
        for text in words {
            let read = words::read(&text, |node| members.get(node).map(|member| member.signing));
            let Some((signer, told)) = read else { continue };
            if signer == node && sessions.iter().any(|(key, ..)| *key == told.key) {
                fleet.words().add((node, told.key.clone()), &told, text);
            }
        }
        fetched.extend(sessions.into_iter().map(|(key, _, stands)| ((node, key), stands)));
    }
    all
}

/// Events of a session whose host does not tell them, as somebody kept them; `None` where nobody did.
pub(crate) async fn page(
    fleet: &Arc<Fleet>,
    gossip: &Gossip,
    node: NodeId,
    query: &EventQuery,
) -> Option<EventPage> {
    let asks = KeptWordsQuery { node, key: query.key.clone() };
    let others = gossip.live().into_iter().filter(|(other, _)| *other != node).map(|(other, _)| {
        let asks = &asks;
        async move {
            let link = fleet.link(other);
            let told = link.call_bulk::<_, WordsReply>(fleet, "kept_words", asks, ASKED_WITHIN);
            let told = timeout(ASKED_WITHIN, told).await.ok()?.ok()?;
            Some((other, told.words))
        }
    });
    let own = (fleet.node(), fleet.words().of(node, &query.key));
    let kept = join_all(others).await.into_iter().flatten().chain([own]);
    let members = fleet.members();
    let read = |(by, words): (NodeId, Vec<String>)| {
        let signing = |node| members.get(node).map(|member| member.signing);
        let told: Vec<Told> = words
            .iter()
            .filter_map(|text| words::read(text, signing))
            .filter(|(signer, told)| *signer == node && told.key == query.key)
            .map(|(_, told)| told)
            .collect();
        let at = told.iter().map(|told| told.at).max()?;
        Some((at, by, told))
    };
    // Of several the one who heard last.
    let (at, by, told) = kept.filter_map(read).max_by_key(|(at, by, _)| (*at, *by))?;
    let offset = gossip.offset_of(node);
    let by = members.label(by).unwrap_or_else(|| by.to_string());
    let last_words = Some(LastWords { at: at.plus(offset), by });
    let mut events: Vec<Event> = told.into_iter().flat_map(|told| told.events).collect();
    for event in &mut events {
        event.at = event.at.map(|at| at.plus(offset));
        if !query.bodies {
            event.body = None;
        }
    }
    events.retain(|event| query.after.is_none_or(|after| event.seq > after));
    events.retain(|event| query.before.is_none_or(|before| event.seq < before));
    let limit = query.limit.max(1) as usize;
    let more = query.after.is_some() && events.len() > limit;
    match query.after {
        Some(_) => events.truncate(limit),
        None => drop(events.drain(..events.len().saturating_sub(limit))),
    }
    Some(EventPage { events, more, last_words })
}

#[cfg(test)]
mod tests {
    use rrd_proto::Harness;

    use super::*;

    fn whose(id: &str) -> Whose {
        (NodeId::from_hash([7; 8]), SessionKey { harness: Harness::Codex, session_id: id.into() })
    }

    #[test]
    fn what_did_not_change_is_not_written_again() {
        let words = Words::default();
        let ids = |rows: &[Row]| {
            rows.iter().map(|(whose, ..)| whose.1.session_id.clone()).collect::<Vec<_>>()
        };
        let told = |id: &str| Told { key: whose(id).1, at: now(), events: Vec::new() };
        words.add(whose("a"), &told("a"), "x".to_owned());
        words.add(whose("b"), &told("b"), "x".to_owned());
        assert_eq!(ids(&words.unwritten().unwrap().0), ["a", "b"]);
        assert!(words.unwritten().is_none() && !words.has_unwritten());
        words.add(whose("b"), &told("b"), "y".to_owned());
        assert_eq!(ids(&words.unwritten().unwrap().0), ["b"]);
        // Its host is no member any more.
        assert!(words.tidy(&[], |_| false) && words.has_unwritten());
        let (rows, gone) = words.unwritten().unwrap();
        assert_eq!((rows.len(), gone), (0, vec![whose("a"), whose("b")]));
        assert!(words.unwritten().is_none());
    }
}
