//! Changes of the list as they happen, to whoever listens (server-sent events).
//!
//! Each change is written once and handed to everybody; it has a number, so that whoever was cut off gets
//! what it missed, or else everything. While nobody listens nothing is done. One that does not read is
//! left behind. Not here: sockets.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    convert::Infallible,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures::{Stream, stream};
use rrd_proto::{Graph, Host, ListQuery, Session, Timestamp, json};
use serde::Serialize;
use tokio::{
    sync::{Mutex, broadcast, watch},
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use super::page::Tally;
use crate::answers::Answers;

/// Changes that may wait for one listener; beyond them it is left behind.
const BEHIND: usize = 64;

/// Changes that are kept for whoever comes back, at most, and bytes of them.
const KEPT: usize = 256;
const KEPT_BYTES: usize = 1 << 20;

/// Two changes are sent no sooner after each other.
const APART: Duration = Duration::from_millis(50);

/// What changes by the clock alone is looked at so often.
const LOOK: Duration = Duration::from_secs(2);

/// How long a listener hears nothing, at most: less than what proxies and phones allow.
const STILL_HERE: Duration = Duration::from_secs(15);

/// Listeners at once.
const MAX_LISTENERS: usize = 1_000;

/// Everything, to begin with.
#[derive(Serialize, schemars::JsonSchema)]
pub(crate) struct Snapshot<'a> {
    /// Every active or open session, in the order they are shown.
    sessions: &'a [Session],
    /// Every host.
    hosts: &'a [Host],
    /// Who waits for whom, in short.
    graph: &'a Tally,
    /// When this was so.
    as_of: Timestamp,
}

/// What is different since the last message.
#[derive(Serialize, schemars::JsonSchema)]
pub(crate) struct Change<'a> {
    /// Rows that are new, or not as they were.
    sessions: Vec<&'a Session>,
    /// Those that are in the list no more: node, harness, session id.
    gone: Vec<(Option<&'a str>, &'a str, &'a str)>,
    /// The refs of all rows in the order they are shown.
    order: Vec<&'a str>,
    /// Every host, where one of them changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    hosts: Option<&'a [Host]>,
    /// Who waits for whom, in short, where that changed: `/graph` tells it all.
    #[serde(skip_serializing_if = "Option::is_none")]
    graph: Option<&'a Tally>,
    /// When this was so.
    as_of: Timestamp,
}

/// The list as it was told last, and who hears of changes.
pub(crate) struct Live {
    answers: Arc<Answers>,
    /// Another one after every start: numbers of one say nothing in another.
    generation: u64,
    told: Mutex<Told>,
    frames: broadcast::Sender<Bytes>,
    listeners: watch::Sender<usize>,
}

#[derive(Default)]
struct Told {
    /// When that was.
    looked: Option<Instant>,
    sessions: Vec<Session>,
    hosts: Vec<Host>,
    graph: Arc<Graph>,
    tally: Tally,
    /// Of the last change.
    number: u64,
    /// The last changes, the newest last, each with its number.
    changes: VecDeque<(u64, Bytes)>,
    bytes: usize,
    /// Everything, as long as nothing changed.
    snapshot: Option<Bytes>,
}

/// One that listens, as long as this lives.
struct Listening(Arc<Live>);

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.listeners.send_modify(|listeners| *listeners -= 1);
    }
}

impl Live {
    pub(crate) fn new(answers: Arc<Answers>, generation: u64) -> Self {
        Self {
            answers,
            generation,
            told: Mutex::default(),
            frames: broadcast::channel(BEHIND).0,
            listeners: watch::channel(0).0,
        }
    }

    /// How many listen.
    pub(crate) fn listeners(&self) -> usize {
        *self.listeners.borrow()
    }

    /// Tells of changes while somebody listens, until it is stopped.
    pub(crate) async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut listeners = self.listeners.subscribe();
        let mut version = self.answers.hub.version();
        loop {
            let somebody = listeners.wait_for(|listeners| *listeners > 0);
            tokio::select! { () = stop.cancelled() => return, _ = somebody => {} }
            let _looking = self.answers.hub.audience.look();
            while self.listeners() > 0 {
                tokio::select! {
                    () = stop.cancelled() => return,
                    _ = version.changed() => {}
                    () = tokio::time::sleep(LOOK) => {}
                }
                let next = Instant::now() + APART;
                self.look(&mut *self.told.lock().await).await;
                sleep_until(next).await;
            }
        }
    }

    /// What a listener hears, from what it heard last (`generation-number`) or else from everything. `None`
    /// where too many listen.
    pub(crate) async fn listen(
        self: &Arc<Self>,
        last: Option<&str>,
    ) -> Option<impl Stream<Item = Result<Bytes, Infallible>> + Send + use<>> {
        let listening = {
            let mut is_in = false;
            self.listeners.send_modify(|listeners| {
                is_in = *listeners < MAX_LISTENERS;
                *listeners += usize::from(is_in);
            });
            is_in.then(|| Listening(Arc::clone(self)))?
        };
        let mut told = self.told.lock().await;
        // Of hundreds that come at once each would make a list of its own, for the same: what changed since
        // then, it is told.
        if told.looked.is_none_or(|at| at.elapsed() >= APART) {
            self.look(&mut told).await;
        }
        let mut first = VecDeque::from([Bytes::from_static(b"retry: 1000\n\n")]);
        match last.and_then(|last| told.since(self.generation, last)) {
            Some(missed) => first.extend(missed),
            None => first.push_back(self.snapshot(&mut told)),
        }
        let frames = self.frames.subscribe();
        drop(told);
        let next = |(mut first, mut frames, listening): (
            VecDeque<Bytes>,
            broadcast::Receiver<_>,
            _,
        )| async move {
            if let Some(frame) = first.pop_front() {
                return Some((Ok(frame), (first, frames, listening)));
            }
            let frame = match timeout(STILL_HERE, frames.recv()).await {
                Ok(Ok(frame)) => frame,
                // It has not read for long, or there will be no more: it comes again.
                Ok(Err(_)) => return None,
                Err(_) => Bytes::from_static(b"event: beat\ndata: {}\n\n"),
            };
            Some((Ok(frame), (first, frames, listening)))
        };
        Some(stream::unfold((first, frames, listening), next))
    }

    /// Which change a page that is made now begins after, and what is in it.
    pub(crate) async fn now(&self) -> (Vec<Session>, Vec<Host>, String, Tally) {
        let mut told = self.told.lock().await;
        self.look(&mut told).await;
        let id = format!("{}-{}", self.generation, told.number);
        (told.sessions.clone(), told.hosts.clone(), id, told.tally.clone())
    }

    /// Who waits for whom now, and the same in short.
    pub(crate) async fn graph(&self) -> (Arc<Graph>, Tally) {
        let mut told = self.told.lock().await;
        self.look(&mut told).await;
        (Arc::clone(&told.graph), told.tally.clone())
    }

    /// Compares what is with what was told, and tells the difference.
    async fn look(&self, told: &mut Told) {
        told.looked = Some(Instant::now());
        let open = ListQuery { open: true, ..ListQuery::default() };
        let reply = self.answers.list(&open).await;
        let hosts = self.answers.hosts();
        let hosts_changed = !hosts.iter().map(steady).eq(told.hosts.iter().map(steady));
        let graph = self.answers.graphs.now();
        let graph_changed = told.tally.tag.is_empty() || graph != told.graph;
        if !hosts_changed && !graph_changed && reply.sessions == told.sessions {
            return;
        }
        let number = told.number + 1;
        if graph_changed {
            told.tally = Tally::of(&graph, format!("{}-{number}", self.generation));
            told.graph = graph;
        }
        let before: HashMap<_, &Session> = told.sessions.iter().map(|row| (id(row), row)).collect();
        let is_news = |row: &&Session| before.get(&id(row)).is_none_or(|before| before != row);
        let now: HashSet<_> = reply.sessions.iter().map(id).collect();
        let change = Change {
            sessions: reply.sessions.iter().filter(is_news).collect(),
            gone: told.sessions.iter().map(id).filter(|id| !now.contains(id)).collect(),
            order: reply.sessions.iter().map(|row| row.reference.as_str()).collect(),
            hosts: hosts_changed.then_some(&hosts),
            graph: graph_changed.then_some(&told.tally),
            as_of: reply.as_of,
        };
        let frame = self.frame("change", number, &change);
        told.number = number;
        told.bytes += frame.len();
        told.changes.push_back((number, frame.clone()));
        while told.changes.len() > KEPT || told.bytes > KEPT_BYTES {
            told.bytes -= told.changes.pop_front().map_or(0, |(_, frame)| frame.len());
        }
        told.sessions = reply.sessions;
        told.hosts = hosts;
        told.snapshot = None;
        // Nobody may listen.
        let _ = self.frames.send(frame);
    }

    fn snapshot(&self, told: &mut Told) -> Bytes {
        if let Some(snapshot) = &told.snapshot {
            return snapshot.clone();
        }
        let Told { sessions, hosts, tally, .. } = &*told;
        let whole = Snapshot { sessions, hosts, graph: tally, as_of: crate::hub::now() };
        let frame = self.frame("snapshot", told.number, &whole);
        told.snapshot.insert(frame).clone()
    }

    fn frame<T: Serialize>(&self, event: &str, number: u64, data: &T) -> Bytes {
        // On one line; and what is no JSON is no news.
        let data = json::line(data).unwrap_or_else(|_| "null\n".to_owned());
        format!("event: {event}\nid: {}-{number}\ndata: {data}\n", self.generation).into()
    }
}

impl Told {
    /// The changes after that one, if all of them are known.
    fn since(&self, generation: u64, last: &str) -> Option<Vec<Bytes>> {
        let (of, number) = last.split_once('-')?;
        let number: u64 = number.parse().ok().filter(|number| *number <= self.number)?;
        if of.parse() != Ok(generation) {
            return None;
        }
        let first = self.changes.front().map_or(self.number + 1, |(number, _)| *number);
        let missed = self.changes.iter().filter(|(change, _)| *change > number);
        (number + 1 >= first).then(|| missed.map(|(_, frame)| frame.clone()).collect())
    }
}

fn id(row: &Session) -> (Option<&str>, &str, &str) {
    (row.node_id.as_deref(), row.harness.as_str(), &row.session_id)
}

/// A host without what ticks.
pub(super) fn steady(host: &Host) -> Host {
    Host {
        bytes_per_second: None,
        clock_offset_ms: None,
        dropped: Default::default(),
        ..host.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_comes_back_gets_what_it_missed_or_everything() {
        let frame = |number: u64| (number, Bytes::from(number.to_string()));
        let told = Told { number: 5, changes: (3..=5).map(frame).collect(), ..Told::default() };
        let since = |last: &str| told.since(7, last).map(|missed| missed.len());
        assert_eq!([since("7-5"), since("7-4"), since("7-2")], [Some(0), Some(1), Some(3)]);
        for unknown in
            ["7-1", "7-6", "8-5", "7", "", "-", "7-", "7-x", "-7-5", "7-99999999999999999999"]
        {
            assert_eq!(since(unknown), None, "{unknown}");
        }
        let nothing = Told::default();
        assert_eq!(nothing.since(7, "7-0").map(|missed| missed.len()), Some(0));
    }
}
