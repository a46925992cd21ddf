//! Reads transcripts once more whose events were stored before all that they say was kept.
//!
//! In the background, the newest session first, and no faster than half of one processor. What has no
//! transcript any more stays as it is. Not here: what is kept ([`rrd_core::body`]) and where
//! ([`crate::store`]).

use std::{
    collections::{HashMap, HashSet, VecDeque},
    io,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use rrd_core::long::Long;
use rrd_proto::{Body, Event, SessionKey};

use crate::{
    config::HarnessRoot,
    hub::Hub,
    store::{Commit, Fill, Reader, ToFill},
    tail::{Ledger, StoreLedger, read_events},
};

/// How often it is looked whether the first reading is done, and whether to stop.
const LOOK: Duration = Duration::from_millis(500);

/// How far it is.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Sessions still to be read again.
    pub(crate) left: AtomicUsize,
}

/// Starts the thread; it ends when there is nothing left, or when the ledger is over.
pub(crate) fn start(
    hub: &Arc<Hub>,
    ledger: &Arc<StoreLedger>,
    roots: &[HarnessRoot],
    progress: &Arc<Progress>,
) -> io::Result<JoinHandle<()>> {
    let (hub, ledger) = (Arc::clone(hub), Arc::clone(ledger));
    let (roots, progress) = (roots.to_owned(), Arc::clone(progress));
    let work = move || {
        while hub.parts().1.is_some() && !ledger.is_over() {
            std::thread::park_timeout(LOOK);
        }
        if let Err(error) = fill(&hub, &ledger, &roots, &progress) {
            tracing::warn!(%error, "older events stay without their bodies for now");
        }
    };
    std::thread::Builder::new().name("rrd-fill".into()).spawn(work)
}

fn fill(
    hub: &Hub,
    ledger: &StoreLedger,
    roots: &[HarnessRoot],
    progress: &Progress,
) -> rusqlite::Result<()> {
    let Some(reader) = Reader::open(&ledger.state_dir) else { return Ok(()) };
    let mut sessions = reader.without_bodies()?;
    let last = |key: &SessionKey| hub.entry(key).and_then(|entry| entry.fold.last_activity);
    sessions.sort_by_cached_key(|(key, _)| last(key));
    progress.left.store(sessions.len(), Ordering::Relaxed);
    // The newest is the last one.
    while let Some((key, path)) = sessions.pop() {
        let of_root = |root: &&HarnessRoot| {
            root.harness == key.harness
                && path.as_ref().is_some_and(|path| Path::new(path).starts_with(&root.path))
        };
        if let Some(path) = &path
            && let Some(root) = roots.iter().find(of_root)
        {
            let filler = Filler::new(ledger, reader.to_fill(&key)?);
            let path = path.rsplit_once('#').map_or(path.as_str(), |(database, _)| database);
            if let Err(error) = read_events(root, &key, Path::new(path), &filler) {
                tracing::debug!(%error, %path, "not read again");
            }
            if ledger.is_over() {
                return Ok(());
            }
        }
        ledger.writer.fill(Fill { session: key, bodies: Vec::new(), done: true });
        progress.left.store(sessions.len(), Ordering::Relaxed);
    }
    Ok(())
}

/// Takes bodies out of what is read, for events that are known.
struct Filler<'l> {
    ledger: &'l StoreLedger,
    known: Mutex<HashMap<u64, VecDeque<ToFill>>>,
    since: Mutex<Instant>,
}

impl<'l> Filler<'l> {
    fn new(ledger: &'l StoreLedger, known: HashMap<u64, VecDeque<ToFill>>) -> Self {
        Self { ledger, known: Mutex::new(known), since: Mutex::new(Instant::now()) }
    }
}

impl Ledger for Filler<'_> {
    fn commit(&self, commit: Commit) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let bodies = commit.events.into_iter().filter_map(|stored| {
            let event = known.get_mut(&stored.key)?.pop_front()?;
            let is_same = event.lacks && event.kind == stored.event.kind;
            is_same.then_some((event.seq, stored.event.body?))
        });
        let mut bodies: Vec<(u64, Body)> = bodies.collect();
        bodies.sort_by_key(|(seq, _)| *seq);
        if !bodies.is_empty() {
            self.ledger.writer.fill(Fill { session: commit.file.session, bodies, done: false });
        }
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        std::thread::sleep(since.elapsed().min(LOOK));
        *since = Instant::now();
    }

    fn keep(&self, event: &Event, whole: &Long<'_>) -> Option<Body> {
        self.ledger.keep(event, whole)
    }

    fn keys(&self, _: &SessionKey) -> io::Result<HashSet<u64>> {
        Ok(HashSet::new())
    }

    fn is_over(&self) -> bool {
        self.ledger.is_over()
    }
}
