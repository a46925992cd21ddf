//! Search: a second database beside the index, made from it by a thread of its own.
//!
//! The thread reads what the writer has committed and writes `search.db`; neither the writer nor the list
//! waits for it, and where there is none there is only no search. What goes in has passed the redactor, and
//! so has what comes out. Not here: what of an event is looked for ([`rrd_core::search`]), hits of other
//! hosts ([`crate::others`]).

mod find;
mod gather;
mod lens;
mod rows;

use std::{
    collections::HashSet,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        mpsc::{self, SyncSender},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use rrd_proto::{Health, PartStatus, SearchQuery, SessionKey};
use tokio::sync::watch;

pub(crate) use find::{Finder, Found};

use crate::{edge::Edges, store::Committed};

/// How long a question waits for what has been written, and is not in the index yet.
const PATIENCE: Duration = Duration::from_millis(100);

/// What the thread is to do, and how far it is.
#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// The thread waits here …
    to_do: Condvar,
    /// … and here who waits for it.
    done: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// What may have changed.
    changed: Changed,
    /// To be forgotten, and whom to tell.
    forget: Vec<(Vec<SessionKey>, SyncSender<bool>)>,
    /// Somebody waits.
    hurry: bool,
    /// Nothing is left to be taken.
    is_idle: bool,
    over: bool,
    /// Another number whenever the file was opened to be written: it may be another file.
    opened: u64,
    progress: Progress,
}

/// How far it is, for `rrd status`.
#[derive(Debug, Default, Clone)]
struct Progress {
    rows: u64,
    /// Events that are in the index and were not looked at yet.
    behind: u64,
    failing: Option<String>,
}

/// Sessions that may have changed.
#[derive(Debug, Default, PartialEq, Eq)]
enum Changed {
    #[default]
    All,
    These(HashSet<SessionKey>),
}

impl Changed {
    fn none() -> Self {
        Self::These(HashSet::new())
    }

    fn is_none(&self) -> bool {
        matches!(self, Self::These(sessions) if sessions.is_empty())
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_over(&self) -> bool {
        self.lock().over
    }
}

/// The index of what was said.
#[derive(Debug)]
pub(crate) struct Search {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// With the number of the file that it reads.
    finder: Mutex<Option<(u64, Finder)>>,
    state_dir: PathBuf,
    edges: Arc<Edges>,
    /// What the writer tells, and the number of what was heard last.
    committed: Mutex<(watch::Receiver<Committed>, u64)>,
}

impl Search {
    /// Starts the thread; it takes what the writer has written and writes from now on.
    pub(crate) fn start(
        state_dir: &Path,
        edges: &Arc<Edges>,
        committed: watch::Receiver<Committed>,
    ) -> io::Result<Self> {
        let seen = committed.borrow().number;
        let shared = Arc::new(Shared::default());
        let work = gather::Work::new(state_dir, edges, &shared);
        let thread = std::thread::Builder::new().name("rrd-search".into()).spawn(|| work.run())?;
        Ok(Self {
            shared,
            thread: Mutex::new(Some(thread)),
            finder: Mutex::default(),
            state_dir: state_dir.to_owned(),
            edges: Arc::clone(edges),
            committed: Mutex::new((committed, seen)),
        })
    }

    /// Tells the thread what is written from now on, until the writer is gone.
    pub(crate) async fn follow(self: Arc<Self>, mut committed: watch::Receiver<Committed>) {
        self.hear();
        while committed.changed().await.is_ok() {
            committed.mark_unchanged();
            self.hear();
        }
    }

    /// Hears what was written last.
    fn hear(&self) {
        let mut committed = self.committed.lock().unwrap_or_else(PoisonError::into_inner);
        let Committed { number, sessions } = committed.0.borrow().clone();
        let seen = std::mem::replace(&mut committed.1, number);
        let missed = number > seen + 1;
        if number == seen || sessions.is_empty() && !missed {
            return;
        }
        let mut state = self.shared.lock();
        match &mut state.changed {
            Changed::These(known) if !missed => known.extend(sessions.iter().cloned()),
            all => *all = Changed::All,
        }
        state.is_idle = false;
        self.shared.to_do.notify_one();
    }

    /// Waits, for a moment, until what has been written can be found. Whoever waits has had it written
    /// before.
    pub(crate) fn catch_up(&self) {
        self.hear();
        let mut state = self.shared.lock();
        state.hurry = !state.is_idle;
        self.shared.to_do.notify_one();
        let behind = |state: &mut State| !state.is_idle && !state.over;
        let _ = self.shared.done.wait_timeout_while(state, PATIENCE, behind);
    }

    /// Finds what is asked for among the sessions that are `wanted`; all are, where that is `None`.
    pub(crate) fn find(&self, query: &SearchQuery, wanted: Option<&HashSet<SessionKey>>) -> Found {
        let mut finder = self.finder.lock().unwrap_or_else(PoisonError::into_inner);
        let opened = self.shared.lock().opened;
        // One that was deleted beneath it would be read for ever.
        let open = finder.take().filter(|(of, _)| *of == opened).map(|(_, open)| open);
        let Some(open) = open.or_else(|| Finder::open(&self.state_dir)) else {
            return Found::default();
        };
        let now = crate::hub::now();
        match open.find(query, wanted, now, &mut |text| self.edges.kept(text)) {
            Ok(found) => {
                *finder = Some((opened, open));
                found
            }
            Err(error) => {
                tracing::warn!(%error, "cannot search");
                Found::default()
            }
        }
    }

    /// Takes all that these sessions said out of the index, and returns when nothing of it is left in the
    /// file; false where that is not done in this time, and will be.
    pub(crate) fn forget(&self, keys: &[SessionKey], within: Duration) -> bool {
        let (done, wait) = mpsc::sync_channel(1);
        let mut state = self.shared.lock();
        if state.over {
            return false;
        }
        state.forget.push((keys.to_owned(), done));
        self.shared.to_do.notify_one();
        drop(state);
        wait.recv_timeout(within).unwrap_or(false)
    }

    /// Events that were written and cannot be found yet.
    pub(crate) fn behind(&self) -> u64 {
        self.shared.lock().progress.behind
    }

    /// How it is.
    pub(crate) fn part(&self) -> PartStatus {
        let Progress { rows, behind, failing } = self.shared.lock().progress.clone();
        let path = rows::path(&self.state_dir);
        let bytes: u64 = ["", "-wal"]
            .iter()
            .filter_map(|end| std::fs::metadata(format!("{}{end}", path.display())).ok())
            .map(|metadata| metadata.len())
            .sum();
        let far = match behind {
            0 => "nothing behind".to_owned(),
            count => format!("{count} events behind"),
        };
        let detail = format!("{rows} texts, {} MB, {far}", bytes.div_ceil(1_000_000));
        let (state, detail, hint) = match failing {
            None => (Health::Ok, detail, None),
            Some(why) => (
                Health::Failed,
                format!("cannot be written ({why}); {detail}"),
                Some(format!("df -h {}", self.state_dir.display())),
            ),
        };
        PartStatus { part: "search".to_owned(), state, detail, hint }
    }

    /// Ends the thread; what it has not taken is taken at the next start.
    pub(crate) fn stop(&self) {
        self.shared.lock().over = true;
        self.shared.to_do.notify_all();
        self.shared.done.notify_all();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
        // It has both databases open.
        self.finder.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

impl Drop for Search {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Since when the thread must rest until it looks again, unless somebody waits.
fn rested(since: Instant, rest: Duration) -> Duration {
    rest.saturating_sub(since.elapsed())
}

#[cfg(test)]
mod tests;
