//! What calls alone do not settle: the spool, the processes that hooks named, sessions that nobody else
//! knows of. One thread looks after it.
//!
//! Not here: what a call over the socket does (that is taken at once).

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel},
    },
    thread::JoinHandle,
    time::Duration,
};

use rrd_core::{
    fact::{Fact, Parsed},
    fold::Fold,
    hook::{HookedProcess, Trail},
    live::Liveness,
    roster::Entry,
};
use rrd_proto::{Harness, SessionKey};

use super::{Hooks, spool};
use crate::{
    config::HarnessRoot,
    hub::{Hub, Input, now},
    process::{Process, ProcessTable},
    repo::Repos,
};

/// How often the spool and the processes are looked at.
const TICK: Duration = Duration::from_secs(2);

/// After so many rounds, about an hour, what nobody believes any more is forgotten.
const ROUNDS_TO_FORGET: u32 = 1_800;

/// A process is the one that a hook named if it is looked at so soon after the call: pids are reused.
const SAME_PROCESS_MS: i64 = 10_000;

/// The thread that looks after hooks.
pub(crate) struct Follower {
    stop: SyncSender<()>,
    thread: JoinHandle<()>,
}

impl Follower {
    /// Takes what waits in the spool, then starts the thread.
    pub(crate) fn start(hooks: &Arc<Hooks>) -> io::Result<Self> {
        let (stop, stopped) = sync_channel(1);
        let mut rounds = Rounds {
            hooks: Arc::clone(hooks),
            spool: Taken::default(),
            unwritten: Unwritten::default(),
            number: 0,
        };
        // Before anybody is answered. The rest may meet a disk that hangs.
        rounds.drain();
        rounds.look_at_processes();
        let thread = std::thread::Builder::new().name("rrd-hooks".into()).spawn(move || {
            loop {
                rounds.go();
                if !matches!(stopped.recv_timeout(TICK), Err(RecvTimeoutError::Timeout)) {
                    return;
                }
            }
        })?;
        Ok(Self { stop, thread })
    }

    /// True when it is gone although nobody stopped it.
    pub(crate) fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Ends it, after the round it is in.
    pub(crate) fn stop(self) {
        let _ = self.stop.try_send(());
        let _ = self.thread.join();
    }
}

/// What is remembered from one look to the next.
struct Rounds {
    hooks: Arc<Hooks>,
    spool: Taken,
    unwritten: Unwritten,
    number: u32,
}

/// Files of the spool that have been taken: they go when what they said is durable.
#[derive(Default)]
struct Taken {
    files: HashSet<PathBuf>,
    /// Tells when it is.
    durable: Option<Receiver<()>>,
}

impl Rounds {
    fn go(&mut self) {
        self.drain();
        if self.number.is_multiple_of(ROUNDS_TO_FORGET) {
            self.hooks.hub.apply(Input::OldTrails);
        }
        self.number = self.number.wrapping_add(1);
        self.look_at_processes();
        self.unwritten.show(&self.hooks.hub, &self.hooks.roots);
    }

    fn look_at_processes(&self) {
        look_at_processes(&self.hooks.hub, &self.hooks.processes);
        self.hooks.save();
    }

    /// Takes what was left in the spool.
    fn drain(&mut self) {
        let hooks = &self.hooks;
        let dropped = spool::take_dropped(&hooks.state_dir);
        let mut spooled = 0;
        for path in spool::paths(&hooks.state_dir) {
            if self.spool.files.contains(&path) {
                continue;
            }
            spooled += 1;
            match spool::read(&path) {
                Some(call) => {
                    hooks.edges.count_spooled(&call);
                    hooks.take(call);
                }
                None => hooks.counts().damaged += 1,
            }
            self.spool.files.insert(path);
        }
        if spooled > 0 {
            self.spool.durable = hooks.writer.hurry();
        }
        spool::sweep(&hooks.state_dir);
        {
            let mut counts = hooks.counts();
            counts.spooled += spooled;
            counts.dropped += dropped;
        }
        self.remove_taken();
    }

    /// Until then a daemon that is killed leaves them to the next one; the same call twice counts once.
    fn remove_taken(&mut self) {
        match self.spool.durable.as_ref().map(Receiver::try_recv) {
            Some(Err(TryRecvError::Empty)) => return,
            Some(_) | None => self.spool.durable = None,
        }
        if self.spool.files.is_empty() {
            return;
        }
        let store = self.hooks.writer.state();
        if store.failing.is_some() || store.damaged || self.hooks.writer.has_ended() {
            return;
        }
        // One that cannot be removed must not be taken again and again.
        let gone = |error: io::Error| error.kind() == io::ErrorKind::NotFound;
        self.spool.files.retain(|path| fs::remove_file(path).is_err_and(|error| !gone(error)));
    }
}

/// Looks at the processes that hooks named, where nothing else tells of them.
pub(crate) fn look_at_processes(hub: &Hub, processes: &ProcessTable) {
    for (key, known) in hub.hooked_processes() {
        let (liveness, started) = match (processes.process(known.pid), &known.started) {
            (Process::Unknown, _) => continue,
            (Process::Gone, _) => (Liveness::Dead, None),
            (Process::Started(at), Some(started)) if at == *started => (Liveness::Alive, Some(at)),
            (Process::Started(_), Some(_)) => (Liveness::Dead, None),
            (Process::Started(_), None) if now().since(known.named_at) > SAME_PROCESS_MS => {
                continue;
            }
            (Process::Started(at), None) => (Liveness::Alive, Some(at)),
        };
        hub.apply(Input::HookedProcess(key, HookedProcess { liveness, started, ..known }));
    }
}

/// Rows that only hooks know of: not every session writes a transcript where it is looked for, or writes
/// one at all.
#[derive(Default)]
pub(crate) struct Unwritten {
    repos: Repos,
    shown: HashSet<SessionKey>,
}

impl Unwritten {
    /// Shows those that there are, and no longer shows those that are gone.
    pub(crate) fn show(&mut self, hub: &Hub, roots: &[HarnessRoot]) {
        let known = hub.only_hooked();
        for (key, trail) in &known {
            // Codex runs threads of its own beside those of its user; only their transcripts tell.
            if key.harness != Harness::ClaudeCode || hub.entry(key).is_some() {
                continue;
            }
            let Some(entry) = entry(hub, key, trail, roots, &mut self.repos) else {
                continue;
            };
            hub.apply(Input::OnlyHooked(key.clone(), entry));
            self.shown.insert(key.clone());
        }
        self.shown.retain(|key| {
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
    hub: &Hub,
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
    let repo = hub.learn_repo(key, repos.of(&fold, "", &hub.new_places(key, &fold)));
    // Not complete: whatever it writes begins a fold of its own.
    Some(Entry {
        fold: Arc::new(fold),
        path: "".into(),
        root,
        repo,
        index_title: None,
        complete: false,
        archived: false,
        changed: None,
    })
}
