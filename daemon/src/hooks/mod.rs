//! What harnesses' hooks tell: taken at once over the local socket, or from the spool a moment later.
//!
//! Hooks are optional: everything works without them, and what they say is worth nothing after a
//! restart (the transcripts and the registry are there again; a dialog that only a hook knew of is
//! not). One thread looks after what calls alone do not settle: the spool, the processes
//! that hooks named, sessions that nobody else knows of. Not here: what a call means (`rrd-core`).

mod spool;

use std::{
    collections::{HashMap, HashSet},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::Duration,
};

use rrd_core::{
    fact::{Fact, Parsed},
    fold::Fold,
    harness::hook::understand,
    hook::Trail,
    live::Liveness,
    roster::Entry,
};
use rrd_proto::{Harness, Health, HookCall, PartStatus, SessionKey, Timestamp};

use crate::{
    config::{Config, HarnessRoot},
    edge::Edges,
    hub::{Hub, Input, now},
    process::{Process, ProcessTable},
    repo::Repos,
};
pub(crate) use spool::waiting;

/// How often the spool and the processes are looked at.
const TICK: Duration = Duration::from_secs(2);

/// A process is the one that a hook named if it is looked at so soon after the call: pids are reused.
const SAME_PROCESS_MS: i64 = 10_000;

/// Takes what hooks tell.
pub(crate) struct Hooks {
    hub: Arc<Hub>,
    roots: Vec<HarnessRoot>,
    state_dir: PathBuf,
    processes: ProcessTable,
    edges: Arc<Edges>,
    counts: Mutex<Counts>,
}

/// What has come in since the start.
#[derive(Debug, Default)]
struct Counts {
    calls: u64,
    spooled: u64,
    unknown: u64,
    damaged: u64,
    dropped: u64,
    last: Option<Timestamp>,
}

impl Hooks {
    pub(crate) fn new(
        hub: &Arc<Hub>,
        config: &Config,
        processes: &ProcessTable,
        edges: &Arc<Edges>,
    ) -> Self {
        Self {
            hub: Arc::clone(hub),
            roots: config.roots.clone(),
            state_dir: config.dirs.state.clone(),
            processes: processes.clone(),
            edges: Arc::clone(edges),
            counts: Mutex::default(),
        }
    }

    /// Takes one call; in microseconds, for a harness waits.
    pub(crate) fn take(&self, mut call: HookCall) {
        // From a container its pid is another process's here, or nobody's.
        let ours = self.processes.domain();
        call.process = call.process.filter(|process| process.domain.as_deref() == ours);
        let understood = understand(&call);
        {
            let mut counts = self.counts();
            counts.calls += 1;
            counts.last = counts.last.max(Some(call.at));
            match &understood {
                Ok((_, known)) => counts.unknown += u64::from(!known),
                Err(_) => counts.damaged += 1,
            }
        }
        if let Ok((event, _)) = understood {
            self.hub.apply(Input::Hook(event));
        }
    }

    /// Starts the thread that looks after the rest.
    pub(crate) fn follow(self: &Arc<Self>) -> io::Result<Follower> {
        let (stop, stopped) = sync_channel(1);
        let mut rounds = Rounds {
            hooks: Arc::clone(self),
            repos: Repos::default(),
            starts: HashMap::new(),
            unwritten: HashSet::new(),
        };
        let thread = std::thread::Builder::new().name("rrd-hooks".into()).spawn(move || {
            loop {
                rounds.go();
                if !matches!(stopped.recv_timeout(TICK), Err(RecvTimeoutError::Timeout)) {
                    return;
                }
            }
        })?;
        Ok(Follower { stop, thread })
    }

    /// How hooks are, for `rrd status`.
    pub(crate) fn part(&self) -> PartStatus {
        let counts = self.counts();
        let mut detail = match counts.last {
            None => "no hook has called; they are optional".to_owned(),
            Some(last) => {
                let minutes = now().since(last).max(0) / 60_000;
                format!("{} calls, the last one {minutes} min ago", counts.calls)
            }
        };
        for (count, what) in [
            (counts.spooled, "were left while no daemon answered"),
            (counts.dropped, "were dropped meanwhile: the spool is bounded"),
            (counts.unknown, "are of events this release does not know"),
            (counts.damaged, "could not be read"),
        ] {
            if count > 0 {
                detail = format!("{detail}; {count} {what}");
            }
        }
        let state = if counts.calls > 0 { Health::Ok } else { Health::Off };
        PartStatus { part: "hooks".to_owned(), state, detail, hint: None }
    }

    /// Takes what was left in the spool.
    fn drain(&self) {
        let dropped = spool::take_dropped(&self.state_dir);
        let mut spooled = 0;
        for (path, call) in spool::files(&self.state_dir) {
            // Gone before it counts: one that cannot be removed must not be taken again and again.
            if std::fs::remove_file(&path).is_err() {
                continue;
            }
            spooled += 1;
            match call {
                Some(call) => {
                    self.edges.count_spooled(&call);
                    self.take(call);
                }
                None => self.counts().damaged += 1,
            }
        }
        spool::sweep(&self.state_dir);
        let mut counts = self.counts();
        counts.spooled += spooled;
        counts.dropped += dropped;
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread that looks after hooks.
pub(crate) struct Follower {
    stop: SyncSender<()>,
    thread: JoinHandle<()>,
}

impl Follower {
    /// True when it is gone although nobody stopped it.
    pub(crate) fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Lets it go; does not wait, for it holds nothing that could be lost.
    pub(crate) fn stop(self) {
        let _ = self.stop.try_send(());
    }
}

/// What is remembered from one look to the next.
struct Rounds {
    hooks: Arc<Hooks>,
    repos: Repos,
    /// When the processes that hooks named were started.
    starts: HashMap<(SessionKey, u32), String>,
    /// Rows that only hooks know of.
    unwritten: HashSet<SessionKey>,
}

impl Rounds {
    fn go(&mut self) {
        self.hooks.drain();
        self.look_at_processes();
        self.show_unwritten();
    }

    fn look_at_processes(&mut self) {
        let named = self.hooks.hub.hooked_processes();
        self.starts.retain(|(key, pid), _| named.iter().any(|(k, p, _)| k == key && p == pid));
        for (key, pid, called) in named {
            let known = self.starts.get(&(key.clone(), pid));
            let found = match (self.hooks.processes.process(pid), known) {
                (Process::Unknown, _) => continue,
                (Process::Gone, _) => Liveness::Dead,
                (Process::Started(at), Some(known)) if at == *known => Liveness::Alive,
                (Process::Started(_), Some(_)) => Liveness::Dead,
                (Process::Started(_), None) if now().since(called) > SAME_PROCESS_MS => continue,
                (Process::Started(at), None) => {
                    self.starts.insert((key.clone(), pid), at);
                    Liveness::Alive
                }
            };
            self.hooks.hub.apply(Input::HookedProcess(key, pid, found));
        }
    }

    /// Not every session writes a transcript where it is looked for, or writes one at all.
    fn show_unwritten(&mut self) {
        let hub = &self.hooks.hub;
        let known = hub.only_hooked();
        for (key, trail) in &known {
            // Codex runs threads of its own beside those of its user; only their transcripts tell.
            if key.harness != Harness::ClaudeCode || hub.entry(key).is_some() {
                continue;
            }
            let Some(entry) = entry(key, trail, &self.hooks.roots, &mut self.repos) else {
                continue;
            };
            hub.apply(Input::Session(key.clone(), entry));
            self.unwritten.insert(key.clone());
        }
        self.unwritten.retain(|key| {
            let stays = known.iter().any(|(known, _)| known == key);
            if !stays {
                // Only if nothing has been written since.
                hub.apply(Input::Unwritten(key.clone()));
            }
            stays
        });
    }
}

/// The row of a session that only hooks know of.
fn entry(
    key: &SessionKey,
    trail: &Trail,
    roots: &[HarnessRoot],
    repos: &mut Repos,
) -> Option<Entry> {
    let of_harness = |root: &HarnessRoot| root.harness == key.harness;
    let beneath = |root: &HarnessRoot| {
        let transcript = trail.transcript.as_ref().map(Path::new);
        of_harness(root) && transcript.is_some_and(|path| path.starts_with(&root.path))
    };
    let root = roots.iter().position(beneath).or_else(|| roots.iter().position(of_harness))?;
    let mut fold = Fold::default();
    fold.cwd.clone_from(&trail.cwd);
    let facts = trail.hooked.turn.map(|turn| Fact::Started(turn.since)).into_iter().collect();
    fold.apply(Parsed { facts, ..Parsed::default() }, 0, &mut Vec::new());
    let repo = repos.of(&fold);
    // Not complete: whatever it writes begins a fold of its own.
    let (path, index_title, complete, archived) = ("".into(), None, false, false);
    Some(Entry { fold: Arc::new(fold), path, root, repo, index_title, complete, archived })
}
