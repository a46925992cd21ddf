//! What waits to be written: bounded, its senders wait, and the writer is woken only when it should
//! write.
//!
//! Lines come one at a time while an agent works; waking a thread costs more than writing one does. So
//! commits are collected for a moment, unless somebody waits for them or enough have come together. What
//! hooks say is said once and cannot be read again: it waits for as long as two of them may belong
//! together.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Condvar, Mutex, MutexGuard, PoisonError, mpsc::SyncSender},
    time::{Duration, Instant},
};

use rrd_proto::SessionKey;

use super::{Commit, DatabaseState, Fill, TrailState, Turned};

/// Commits that may wait; each holds at most what one stretch of a transcript gave.
const MAX: usize = 64;

/// Events that may wait, whatever the number of commits: a few megabytes.
const MAX_EVENTS: usize = 2 * ENOUGH;

/// Bytes of bodies that may wait: one that is longer waits alone.
const MAX_BYTES: usize = 4 << 20;

/// Commits are collected for so long: of several of one transcript only the last one's state is
/// written. A crash has so much read again, and a transcript that is deleted at once has so much lost …
pub(super) const COLLECT: Duration = Duration::from_millis(200);

/// … unless they hold this many events already.
const ENOUGH: usize = 512;

/// What hooks said is collected for so long: a crash loses what is younger.
const COLLECT_TRAILS: Duration = Duration::from_millis(20);

/// Commits on their way from the tails to the writer.
#[derive(Debug)]
pub(super) struct Queue {
    collect: Duration,
    waiting: Mutex<Waiting>,
    /// The writer waits here.
    to_write: Condvar,
    /// Senders wait here while the queue is full.
    room: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    commits: VecDeque<Commit>,
    fills: Vec<Fill>,
    turned: Vec<Turned>,
    forgets: Vec<SessionKey>,
    /// By path: true of what was added before.
    databases: BTreeMap<String, DatabaseState>,
    /// What hooks said; `None` where it is to be forgotten.
    trails: BTreeMap<SessionKey, Option<TrailState>>,
    /// When what hooks said must be written.
    trails_until: Option<Instant>,
    barriers: Vec<SyncSender<()>>,
    /// When the first of the commits came.
    since: Option<Instant>,
    events: usize,
    /// Of bodies.
    bytes: usize,
    awaited: usize,
    /// What was taken last is being written.
    writing: bool,
    closed: bool,
    /// The writer has ended.
    abandoned: bool,
}

/// What the writer is to do next.
#[derive(Debug)]
pub(super) enum Next {
    /// Write these, then tell those.
    Write(Batch, Vec<SyncSender<()>>),
    /// Nothing came for so long.
    Quiet,
    /// Nothing will come any more.
    Closed,
}

/// What waits to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backlog {
    /// Commits.
    pub commits: usize,
    /// Events in them.
    pub events: usize,
    /// How long the first one has waited.
    pub oldest: Option<Duration>,
}

/// What becomes one transaction.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) commits: Vec<Commit>,
    pub(super) fills: Vec<Fill>,
    pub(super) turned: Vec<Turned>,
    pub(super) forgets: Vec<SessionKey>,
    pub(super) databases: Vec<DatabaseState>,
    pub(super) trails: BTreeMap<SessionKey, Option<TrailState>>,
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        let Self { commits, fills, turned, forgets, databases, trails } = self;
        commits.is_empty()
            && fills.is_empty()
            && turned.is_empty()
            && forgets.is_empty()
            && databases.is_empty()
            && trails.is_empty()
    }
}

impl Queue {
    /// Commits are collected for so long.
    pub(super) fn new(collect: Duration) -> Self {
        let waiting = Mutex::default();
        Self { collect, waiting, to_write: Condvar::new(), room: Condvar::new() }
    }

    /// What waits.
    pub(super) fn backlog(&self) -> Backlog {
        let waiting = self.lock();
        let oldest = waiting.since.map(|since| since.elapsed());
        Backlog { commits: waiting.commits.len(), events: waiting.events, oldest }
    }

    /// Adds a commit; waits while the queue is full.
    pub(super) fn commit(&self, commit: Commit) {
        let mut waiting = self.with_room();
        if waiting.abandoned {
            return;
        }
        waiting.events += commit.events.len();
        waiting.bytes += commit.bytes();
        // Read on since: what was true of it before no longer is.
        if let Some(path) = commit.file.database() {
            waiting.databases.remove(path);
        }
        waiting.commits.push_back(commit);
        waiting.since.get_or_insert_with(Instant::now);
        // The first one starts the collecting; after it only urgency wakes the writer.
        if waiting.commits.len() == 1 || waiting.is_urgent() {
            self.to_write.notify_one();
        }
    }

    /// Adds bodies; waits while the queue is full.
    pub(super) fn fill(&self, fill: Fill) {
        let mut waiting = self.with_room();
        if waiting.abandoned {
            return;
        }
        let was_empty = waiting.is_empty();
        waiting.bytes += fill.bodies.iter().map(|(_, body)| body.text.len()).sum::<usize>();
        waiting.fills.push(fill);
        if was_empty || waiting.is_urgent() {
            self.to_write.notify_one();
        }
    }

    /// Adds what is true of a database when everything added before is written.
    pub(super) fn database(&self, state: DatabaseState) {
        let mut waiting = self.lock();
        if waiting.abandoned {
            return;
        }
        let was_empty = waiting.is_empty();
        waiting.databases.insert(state.path.clone(), state);
        if was_empty {
            self.to_write.notify_one();
        }
    }

    /// Adds changes of status. Never waits: there are few.
    pub(super) fn turned(&self, turned: Vec<Turned>) {
        let mut waiting = self.lock();
        if waiting.abandoned {
            return;
        }
        let was_empty = waiting.is_empty();
        waiting.turned.extend(turned);
        if was_empty {
            self.to_write.notify_one();
        }
    }

    /// Adds sessions that are to go, and not to be taken again. Never waits.
    pub(super) fn forget(&self, keys: Vec<SessionKey>) {
        let mut waiting = self.lock();
        if waiting.abandoned {
            return;
        }
        waiting.forgets.extend(keys);
        self.to_write.notify_one();
    }

    /// Adds what hooks said of a session by now, in place of what they had said before; `None` forgets
    /// it. Never waits.
    pub(super) fn trail(&self, key: SessionKey, state: Option<TrailState>) {
        let mut waiting = self.lock();
        if waiting.abandoned {
            return;
        }
        waiting.trails.insert(key, state);
        if waiting.trails_until.is_none() {
            waiting.trails_until = Some(Instant::now() + COLLECT_TRAILS);
            self.to_write.notify_one();
        }
    }

    /// `done` is told when everything added before is written.
    pub(super) fn barrier(&self, done: SyncSender<()>) {
        let mut waiting = self.lock();
        if waiting.abandoned {
            return;
        }
        waiting.barriers.push(done);
        self.to_write.notify_one();
    }

    /// The same, unless nothing is waiting or being written: then there is nothing to be told.
    pub(super) fn barrier_unless_idle(&self, done: SyncSender<()>) -> bool {
        let mut waiting = self.lock();
        if waiting.abandoned || (waiting.is_empty() && !waiting.writing) {
            return false;
        }
        waiting.barriers.push(done);
        self.to_write.notify_one();
        true
    }

    /// Counts those who wait for commits to be written, up or down.
    pub(super) fn awaited(&self, more: bool) {
        let mut waiting = self.lock();
        waiting.awaited =
            if more { waiting.awaited + 1 } else { waiting.awaited.saturating_sub(1) };
        if waiting.is_urgent() {
            self.to_write.notify_one();
        }
    }

    /// Nobody will write any more: whatever waits, and whoever waits for it, is let go.
    pub(super) fn abandon(&self) {
        let mut waiting = self.lock();
        waiting.abandoned = true;
        waiting.commits.clear();
        waiting.fills.clear();
        waiting.turned.clear();
        waiting.forgets.clear();
        waiting.databases.clear();
        waiting.trails.clear();
        waiting.barriers.clear();
        self.room.notify_all();
    }

    /// Nothing will be added any more.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.to_write.notify_one();
        self.room.notify_all();
    }

    /// Waits for something to write; with `quiet`, no longer than that for the first of it.
    pub(super) fn next(&self, quiet: Option<Duration>) -> Next {
        let idle = |waiting: &mut Waiting| waiting.is_empty() && !waiting.closed;
        self.lock().writing = false;
        let mut waiting = match quiet {
            Some(quiet) => {
                let woken = self.to_write.wait_timeout_while(self.lock(), quiet, idle);
                woken.unwrap_or_else(PoisonError::into_inner).0
            }
            None => {
                self.to_write.wait_while(self.lock(), idle).unwrap_or_else(PoisonError::into_inner)
            }
        };
        if waiting.is_empty() {
            return if waiting.closed { Next::Closed } else { Next::Quiet };
        }
        let collected = Instant::now() + self.collect;
        while !waiting.is_urgent() {
            let until = waiting.trails_until.map_or(collected, |trails| trails.min(collected));
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let woken = self.to_write.wait_timeout(waiting, left);
            waiting = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        (waiting.events, waiting.bytes) = (0, 0);
        waiting.trails_until = None;
        waiting.writing = true;
        self.room.notify_all();
        let batch = Batch {
            commits: {
                waiting.since = None;
                std::mem::take(&mut waiting.commits).into()
            },
            fills: std::mem::take(&mut waiting.fills),
            turned: std::mem::take(&mut waiting.turned),
            forgets: std::mem::take(&mut waiting.forgets),
            databases: std::mem::take(&mut waiting.databases).into_values().collect(),
            trails: std::mem::take(&mut waiting.trails),
        };
        Next::Write(batch, std::mem::take(&mut waiting.barriers))
    }

    /// Waits while the queue is full.
    fn with_room(&self) -> MutexGuard<'_, Waiting> {
        let full =
            |waiting: &mut Waiting| waiting.is_full() && !waiting.closed && !waiting.abandoned;
        self.room.wait_while(self.lock(), full).unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.commits.is_empty()
            && self.fills.is_empty()
            && self.turned.is_empty()
            && self.forgets.is_empty()
            && self.databases.is_empty()
            && self.trails.is_empty()
            && self.barriers.is_empty()
    }

    fn is_full(&self) -> bool {
        self.commits.len() >= MAX || self.events >= MAX_EVENTS || self.bytes >= MAX_BYTES
    }

    fn is_urgent(&self) -> bool {
        let enough =
            self.events >= ENOUGH || self.commits.len() >= MAX || self.bytes >= MAX_BYTES / 2;
        enough
            || self.closed
            || !self.barriers.is_empty()
            || (self.awaited > 0 && !self.commits.is_empty())
    }
}
