//! How the rest of the daemon holds a tail: what wakes it, what it is asked, where it writes.
//!
//! Not here: what it does then ([`super::Tail`]).

use std::{
    collections::HashSet,
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::SyncSender,
    },
    thread::JoinHandle,
};

use rrd_core::{body, long::Long};
use rrd_proto::{Body, Event, SessionKey};
use tokio::sync::oneshot;

use super::{linger::Linger, survey::Settled, take::Ledger};
use crate::{
    edge::Edges,
    store::{Commit, DatabaseState, Reader, Writer},
};

/// What wakes a tail.
pub(super) enum Message {
    /// There are hints.
    Hints,
    /// Somebody asks, and is told when everything reported until now has been looked at.
    CatchUp(oneshot::Sender<()>),
    /// Somebody has to know of everything that is there, reported or not, and is told when it was looked at.
    Sweep(oneshot::Sender<()>),
    /// A backlog task is done.
    Done(Box<Settled>),
    /// Stop.
    Stop,
}

/// The handle of one root's thread.
#[derive(Debug)]
pub(crate) struct TailHandle {
    pub(super) door: Door,
    pub(super) thread: JoinHandle<()>,
}

/// Where a tail is asked for what it has not looked at yet.
#[derive(Debug, Clone)]
pub(crate) struct Door {
    pub(super) inbox: SyncSender<Message>,
    pub(super) linger: Arc<Linger>,
    /// Processes were there at the last look; one that is killed says nothing when it goes.
    pub(super) lives: Arc<AtomicBool>,
}

impl Door {
    /// Has what was collected looked at, and whether processes are still there; the answer comes when
    /// that is done. `None` when nothing is being collected and nobody lives: then changes are looked
    /// at as they come.
    pub(crate) fn catch_up(&self) -> Option<oneshot::Receiver<()>> {
        if !self.linger.is_on() && !self.lives.load(Ordering::Relaxed) {
            return None;
        }
        let (done, caught_up) = oneshot::channel();
        self.inbox.try_send(Message::CatchUp(done)).ok()?;
        Some(caught_up)
    }

    /// Has the whole root looked at; the answer comes when that is done. `None` when too many wait to be
    /// heard.
    pub(crate) fn sweep(&self) -> Option<oneshot::Receiver<()>> {
        let (done, swept) = oneshot::channel();
        self.inbox.try_send(Message::Sweep(done)).ok()?;
        Some(swept)
    }
}

impl TailHandle {
    /// Asks the thread to stop and waits until it has; a backlog ends where its ledger is over.
    pub(crate) fn stop(self) {
        let _ = self.door.inbox.send(Message::Stop);
        let _ = self.thread.join();
    }

    /// Where to ask it.
    pub(crate) fn door(&self) -> Door {
        self.door.clone()
    }

    /// True when the thread has ended by itself, which it never should.
    pub(crate) fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }
}

/// The store as stretches see it: a queue in, keys out.
pub(crate) struct StoreLedger {
    pub(crate) writer: Arc<Writer>,
    pub(crate) state_dir: PathBuf,
    /// Set when the daemon stops: a backlog must not go on writing beside the next one.
    pub(crate) over: AtomicBool,
    /// What is cut passes these first.
    pub(crate) edges: Arc<Edges>,
    /// Bytes of one event's body that are kept.
    pub(crate) event: usize,
}

impl Ledger for StoreLedger {
    fn commit(&self, commit: Commit) {
        self.writer.commit(commit);
    }

    fn database(&self, state: DatabaseState) {
        self.writer.database(state);
    }

    fn keys(&self, session: &SessionKey) -> io::Result<HashSet<u64>> {
        self.writer.barrier();
        let reader = Reader::open(&self.state_dir);
        let reader = reader.ok_or_else(|| io::Error::other("the index cannot be read"))?;
        reader.keys(session).map_err(io::Error::other)
    }

    fn keep(&self, event: &Event, whole: &Long<'_>) -> Option<Body> {
        body::keep(event, whole, self.event, &mut |text| self.edges.kept(text))
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}
