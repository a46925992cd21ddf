//! The daemon in the foreground: what starts in which order, and how it stops.
//!
//! Data flows one way: tails read into the hub and the store; the local socket answers from both. Each
//! tail and the store have a thread, everything else is one small runtime. A part that ends by itself
//! is fatal: what was read is written, the exit code is 1, and the service manager starts it anew.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Read, Seek, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{self, RecvTimeoutError},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::Context;
use rrd_proto::{HookCall, ListQuery, ListReply, PartStatus, SessionKey};
use tokio_util::sync::CancellationToken;

use crate::{
    answers::Answers,
    config::Config,
    deletion,
    desk::{Desk, Index},
    edge::Edges,
    fill,
    fleet::{self, Fleet, keyfile},
    forget, gossip,
    graphs::Graphs,
    health::Health,
    hooks::{self, Follower, Hooks},
    http::{self, Http},
    hub::Hub,
    messages,
    mirror::Mirror,
    notices::Notices,
    process::ProcessTable,
    repo::Memory,
    resume::give::Copies,
    rpc::{self, Server},
    scan::{place, split},
    sdk,
    search::Search,
    statuses,
    store::{self, StoreError, TrailState, Writer, owner_only},
    tail::{Scene, StoreLedger, Tail, TailHandle},
    tasks,
    waits::Waits,
};

/// Whatever has not stopped by then is left behind; its transcripts are read again.
const GRACE: Duration = Duration::from_secs(5);

/// How long a start waits for the first look at every root.
const FIRST_ANSWER: Duration = Duration::from_secs(2);

/// How often the parts' threads are looked after.
const LOOK_AFTER: Duration = Duration::from_secs(2);

/// Why the daemon cannot start or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Another daemon has this `RRD_HOME`.
    #[error("another rrd daemon{} already uses {home}", who(*pid))]
    AlreadyRunning {
        /// Its process, where it can be told.
        pid: Option<u32>,
        /// The directory both want.
        home: String,
    },
    /// A newer release wrote the index.
    #[error("{0}")]
    NewerIndex(StoreError),
    /// Something it cannot do without failed.
    #[error("{0:#}")]
    Fatal(#[from] anyhow::Error),
}

fn who(pid: Option<u32>) -> String {
    pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default()
}

/// Runs the daemon until it is told to stop (SIGTERM, SIGINT, Ctrl-C); whatever it tells goes through
/// `edges`. `ready` is called with the socket's path and the address for browsers when it answers (again, when a damaged index made it
/// begin anew).
///
/// # Errors
/// [`RunError`].
pub fn run(
    config: Config,
    edges: &Arc<Edges>,
    ready: &mut dyn FnMut(&Path, Option<SocketAddr>),
) -> Result<(), RunError> {
    #[cfg(unix)]
    as_many_files_as_allowed();
    let mut said = Said::new();
    loop {
        let (processes, edges) = (ProcessTable::system(), Arc::clone(edges));
        let before = std::mem::take(&mut said);
        let daemon = Daemon::start_with(config.clone(), &processes, edges, before)?;
        ready(&daemon.socket, daemon.http());
        let told = daemon.until_told();
        let hooks = Arc::clone(&daemon.hooks);
        daemon.stop();
        match told {
            Told::ToStop => return Ok(()),
            Told::Ended(part) => {
                return Err(anyhow::anyhow!("{part} ended by itself; see the log").into());
            }
            Told::Damaged => {
                // All else is read anew.
                said = hooks.said();
                // It has the index open.
                drop(hooks);
                let aside =
                    store::set_aside(&config.dirs.state).context("cannot set the index aside")?;
                tracing::error!(aside = %aside.display(), "the damaged index was set aside; reading anew");
            }
        }
    }
}

/// What hooks said, of sessions.
type Said = Vec<(SessionKey, TrailState)>;

/// What ends a daemon.
enum Told {
    /// A signal.
    ToStop,
    /// A part that never should have ended has.
    Ended(&'static str),
    /// The index is damaged and must be begun anew.
    Damaged,
}

/// A daemon in this process. Must not be started or stopped inside an async runtime.
pub struct Daemon {
    socket: PathBuf,
    http: Arc<Http>,
    hub: Arc<Hub>,
    writer: Arc<Writer>,
    ledger: Arc<StoreLedger>,
    tails: Vec<TailHandle>,
    fill: JoinHandle<()>,
    search: Arc<Search>,
    hooks: Arc<Hooks>,
    follower: Follower,
    mirror: Arc<Mirror>,
    memory: Arc<Memory>,
    runtime: tokio::runtime::Runtime,
    serving: tokio::task::JoinHandle<()>,
    gossiping: Option<tokio::task::JoinHandle<()>>,
    stop: CancellationToken,
    _lock: File,
}

impl Daemon {
    /// Starts every part; returns when the socket answers and there is a row for every session (or
    /// after two seconds: a root on a hung disk must not hold the others up).
    ///
    /// # Errors
    /// [`RunError`].
    pub fn start(config: Config) -> Result<Self, RunError> {
        Self::start_among(config, &ProcessTable::system())
    }

    /// The same, judging sessions by these processes.
    ///
    /// # Errors
    /// [`RunError`].
    pub fn start_among(config: Config, processes: &ProcessTable) -> Result<Self, RunError> {
        let edges = Arc::new(Edges::open(&config.dirs));
        Self::start_with(config, processes, edges, Said::new())
    }

    /// The same, with what hooks said that is in no index.
    fn start_with(
        config: Config,
        processes: &ProcessTable,
        edges: Arc<Edges>,
        said: Said,
    ) -> Result<Self, RunError> {
        let state_dir = config.dirs.state.clone();
        private_dir(&state_dir).with_context(|| format!("cannot use {}", state_dir.display()))?;
        let lock = lock(&state_dir)?;
        // There, so that it is watched.
        let projects = sdk::folder(&state_dir).join("projects");
        private_dir(&projects).with_context(|| format!("cannot use {}", projects.display()))?;
        let (writer, mut stored) = match store::open(&state_dir) {
            Err(newer @ StoreError::Newer { .. }) => return Err(RunError::NewerIndex(newer)),
            opened => opened.context("cannot open the index")?,
        };
        let writer = Arc::new(writer);

        let fleet = Fleet::open(&config, &edges);
        if let Err(broken) = &fleet {
            tracing::error!(why = broken.what, "no fleet");
        }
        let node = fleet.as_ref().map(|fleet| fleet.node()).ok();
        let node = node.or_else(|| keyfile::known_node(&state_dir));
        let roots = config.followed();
        let hub = Arc::new(Hub::new(place(&config, node), &roots));
        // By what holds everywhere; what projects say is found once their sessions are.
        deletion::look(&hub, &config.roots);
        let ledger = Arc::new(StoreLedger {
            writer: Arc::clone(&writer),
            state_dir: state_dir.clone(),
            over: false.into(),
            edges: Arc::clone(&edges),
            event: config.limits.event,
        });
        writer.limit(config.limits);
        let forgotten = forget::known(&state_dir);
        hub.forget(&forgotten);
        // What a crash left of them goes now.
        writer.forget(forgotten);
        let (surveyed, surveys) = mpsc::channel::<()>();
        let mut tails = Vec::new();
        let mut trails = std::mem::take(&mut stored.trails);
        for (key, state) in said {
            writer.trail(key.clone(), Some(state.clone()));
            trails.push((key, state));
        }
        let memory = Memory::open(&hub, &state_dir);
        let stored = split(stored, &roots);
        stored.iter().enumerate().for_each(|(i, stored)| hub.claim_all(stored, i));
        for ((i, root), stored) in roots.iter().enumerate().zip(stored) {
            let Some(scene) = Scene::new(i, root, &hub, processes) else { continue };
            let (ledger, surveyed) = (Arc::clone(&ledger), surveyed.clone());
            let survey_of = Arc::clone(&hub);
            hub.begins_survey();
            let tail = Tail::spawn(scene, ledger, config.watch, stored, move || {
                survey_of.ends_survey();
                drop(surveyed);
            });
            tails.push(tail.context("cannot start a thread")?);
        }
        drop(surveyed);
        // Nothing is ever sent: the channel closes when the last survey is done.
        let _ = surveys.recv_timeout(FIRST_ANSWER);

        let filled = Arc::default();
        let fill = fill::start(&hub, &ledger, &roots, &filled).context("cannot start a thread")?;

        let search = Search::start(&state_dir, &edges, writer.committed())
            .context("cannot start a thread")?;
        let search = Arc::new(search);

        hooks::restore(&hub, processes, trails);
        let hooks = Arc::new(Hooks::new(
            &hub,
            &config,
            processes,
            &edges,
            &writer,
            fleet.as_ref().ok().cloned(),
        ));
        let follower = Follower::start(&hooks).context("cannot start a thread")?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("rrd-rpc")
            .enable_all()
            .build()
            .context("cannot start the runtime")?;
        let socket = config.dirs.socket.clone();
        let health = Health {
            host: config.host.clone(),
            started: Instant::now(),
            socket: socket.clone(),
            state_dir: state_dir.clone(),
            writer: Arc::clone(&writer),
            filled,
            limits: config.limits,
        };
        let desk = Arc::new(Desk {
            hub: Arc::clone(&hub),
            edges: Arc::clone(&edges),
            tails: tails.iter().map(TailHandle::door).collect(),
            index: Arc::new(Index::new(state_dir, Arc::clone(&writer))),
            event: config.limits.event,
            search: Arc::clone(&search),
            copies: Copies::new(&config, &edges),
        });
        let health = Arc::new(health);
        runtime.spawn(Arc::clone(&search).follow(writer.committed()));
        let taker = Arc::clone(&hooks);
        let hub_of = Arc::clone(&hub);
        let stop = CancellationToken::new();
        runtime.spawn(statuses::follow(Arc::clone(&hub), Arc::clone(&writer), stop.clone()));
        runtime.spawn(Arc::clone(&memory).follow(stop.clone()));
        let roots = config.roots.clone();
        runtime.spawn(deletion::follow(hub_of.clone(), roots, stop.clone()));
        let mirror = Arc::new(Mirror::new(
            &config.dirs,
            &hub,
            &edges,
            (&node.map(|node| node.to_string()).unwrap_or_default(), fleet.as_ref().ok()),
            (writer.committed(), &memory),
            stop.clone(),
        ));
        let tellable = fleet.as_ref().ok();
        let graphs = Arc::new(Graphs::new(&hub, &edges, tellable));
        let notices = Notices::new(&config, &hub, tellable, &graphs, &edges, &mirror, stop.clone());
        let notices = Arc::new(notices);
        let mut gossiping = None;
        if let Ok(fleet) = &fleet {
            let listens = fleet::listen(Arc::clone(fleet), Arc::clone(&desk), stop.clone());
            runtime.spawn(listens);
            runtime.spawn(fleet::sync(Arc::clone(fleet), stop.clone()));
            runtime.spawn(tasks::follow_hooks(Arc::clone(fleet), stop.clone()));
            runtime.spawn(messages::follow_edges(
                Arc::clone(fleet),
                Arc::clone(&hub),
                stop.clone(),
            ));
            runtime.spawn(fleet::look_for_members(Arc::clone(fleet), stop.clone()));
            let (fleet, hub, edges) = (Arc::clone(fleet), Arc::clone(&hub), Arc::clone(&edges));
            let told = Arc::clone(&mirror);
            gossiping = Some(runtime.spawn(gossip::run(fleet, hub, edges, told, stop.clone())));
        }
        if fleet.as_ref().is_ok_and(|fleet| fleet.key().is_some()) {
            // The first answer has the other hosts' rows.
            let mut version = hub_of.version();
            let known = version.wait_for(|_| hub_of.others().is_some());
            let _ = runtime.block_on(async { tokio::time::timeout(FIRST_ANSWER, known).await });
        }
        let fleet = Arc::new(fleet);
        let its_mirror = Arc::clone(&mirror);
        let answers = Answers {
            hub: hub_of,
            health,
            hooks: taker,
            edges,
            desk,
            fleet,
            mirror: its_mirror,
            waits: Waits::new(),
            graphs,
            notices: Arc::clone(&notices),
            deliver: config.deliver,
        };
        let answers = Arc::new(answers);
        let http = Http::new(&config, Arc::clone(&answers));
        let gone = CancellationToken::new();
        let server = Server { answers, http: Arc::clone(&http), gone, place: None };
        if let Some(dir) = socket.parent().filter(|_| cfg!(unix)) {
            private_dir(dir).with_context(|| format!("cannot use {}", dir.display()))?;
        }
        let serving = {
            let _guard = runtime.enter();
            http::start(&http, &stop);
            mirror.start();
            runtime.spawn(notices.run());
            let listener = rpc::bind(&socket)
                .with_context(|| format!("cannot listen at {}", socket.display()))?;
            runtime.spawn(rpc::serve(listener, server, stop.clone()))
        };
        let _lock = lock;
        Ok(Self {
            socket,
            http,
            hub,
            writer,
            ledger,
            tails,
            fill,
            search,
            hooks,
            follower,
            mirror,
            memory,
            runtime,
            serving,
            gossiping,
            stop,
            _lock,
        })
    }

    /// Where it answers browsers, if it does.
    #[must_use]
    pub fn http(&self) -> Option<SocketAddr> {
        self.http.addresses().borrow().all().next()
    }

    /// Waits for a signal, or for a part that fails.
    fn until_told(&self) -> Told {
        let (tell, told) = mpsc::channel();
        self.runtime.spawn(async move {
            signalled().await;
            let _ = tell.send(());
        });
        // A thread's own clock: the runtime's would wake two of its threads each time.
        loop {
            match told.recv_timeout(LOOK_AFTER) {
                Ok(()) => return Told::ToStop,
                Err(RecvTimeoutError::Disconnected) => return Told::Ended("waiting for signals"),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if self.tails.iter().any(TailHandle::has_ended) {
                return Told::Ended("a tail");
            }
            if self.follower.has_ended() {
                return Told::Ended("the hooks' thread");
            }
            if self.writer.has_ended() {
                return Told::Ended("the store");
            }
            if self.serving.is_finished() {
                return Told::Ended("the local socket");
            }
            if self.writer.state().damaged {
                return Told::Damaged;
            }
        }
    }

    /// The sessions that match, from memory.
    #[must_use]
    pub fn list(&self, query: &ListQuery) -> ListReply {
        self.hub.list(query)
    }

    /// Takes a call of a hook, as it comes over the socket.
    pub fn hook(&self, call: HookCall) {
        self.hooks.take(call);
    }

    /// What the tails say of themselves.
    #[must_use]
    pub fn parts(&self) -> Vec<PartStatus> {
        self.hub.parts().0
    }

    /// Returns when everything read so far is durable.
    pub fn flush(&self) {
        self.writer.barrier();
    }

    /// Stops every part in the order data flows, and returns when what was read is written.
    pub fn stop(self) {
        self.stop.cancel();
        let ending = async {
            let _ = self.serving.await;
            if let Some(gossiping) = self.gossiping {
                let _ = gossiping.await;
            }
            self.mirror.end().await;
        };
        let _ = self.runtime.block_on(async { tokio::time::timeout(GRACE, ending).await });
        self.runtime.shutdown_timeout(Duration::from_millis(200));
        #[cfg(unix)]
        let _ = fs::remove_file(&self.socket);
        self.ledger.over.store(true, Ordering::Relaxed);
        self.writer.finish();
        self.search.stop();
        self.fill.thread().unpark();
        let _ = self.fill.join();
        stop_threads(self.tails, self.follower);
        // A tail that hangs still holds the store: what is queued is written all the same.
        self.writer.barrier();
        if let Err(error) = self.memory.save() {
            tracing::error!(%error, "what was learnt last is lost");
        }
    }
}

#[cfg(unix)]
async fn signalled() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut int)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
    // Draining should take milliseconds; whoever asks twice does not want to wait for it.
    tokio::spawn(async move {
        tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
        std::process::exit(1);
    });
}

#[cfg(not(unix))]
async fn signalled() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

fn stop_threads(tails: Vec<TailHandle>, follower: Follower) {
    let (done, all) = mpsc::channel();
    let stopping = std::thread::Builder::new().name("rrd-stop".into()).spawn(move || {
        follower.stop();
        tails.into_iter().for_each(TailHandle::stop);
        let _ = done.send(());
    });
    if stopping.is_ok() && all.recv_timeout(GRACE).is_err() {
        tracing::warn!(
            "a tail did not stop in time; its transcripts are read again at the next start"
        );
    }
}

/// Browsers and transcripts at once are more than the 1,024 files that a process has by default, and the
/// system allows more to who asks.
#[cfg(unix)]
fn as_many_files_as_allowed() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    const ENOUGH: u64 = 16_384;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum.map_or(ENOUGH, |most| most.min(ENOUGH));
    if current.is_some_and(|current| current < wanted) {
        // Where it may not, it goes on with what it has.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum });
    }
}

/// Makes a directory that only its owner can enter.
fn private_dir(dir: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    // Those it lies in, too, where they are not there yet: RRD_HOME itself is one.
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(dir)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt, PermissionsExt};
        let metadata = fs::metadata(dir)?;
        if metadata.mode() & 0o077 != 0 {
            fs::set_permissions(dir, fs::Permissions::from_mode(0o700))?;
        }
    }
    Ok(())
}

/// Takes the lock that only one daemon per home can hold; it goes with the process, however it ends.
fn lock(state_dir: &Path) -> Result<File, RunError> {
    let path = state_dir.join("daemon.lock");
    let mut file = owner_only(&path).with_context(|| format!("cannot open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => {
            let note = |file: &mut File| {
                file.set_len(0)?;
                file.rewind()?;
                write!(file, "{}", std::process::id())
            };
            note(&mut file).with_context(|| format!("cannot write {}", path.display()))?;
            Ok(file)
        }
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            let pid = file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
            Err(RunError::AlreadyRunning { pid, home: state_dir.display().to_string() })
        }
        Err(TryLockError::Error(error)) => {
            Err(anyhow::Error::new(error).context(format!("cannot lock {}", path.display())).into())
        }
    }
}
