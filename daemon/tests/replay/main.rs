//! Recordings of the real client, played back into a running daemon at their own pace, faster: is the
//! status at every moment what the client's registry says, and what does the log alone come to?
//!
//! The files are real, in a home of the test's own; the processes are made up, so that those of the
//! recording live and die again; the times in the files are moved to today. The clock is the real one.
//! Not here: how records and entries are read (the core's tests).
#![allow(clippy::unwrap_used)] // the lint's exception for tests does not reach plain functions here

mod tape;

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    io::Write,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime},
};

use rrd_daemon::{
    Daemon, Process, ProcessTable,
    config::{Config, Flags},
};
use rrd_proto::{
    Harness, HookCall, ListQuery, Session, Status, StatusSource, Timestamp, WaitingFor,
};
use tape::{Claim, Registry, Tape, What, retime};
use tempfile::TempDir;

/// A change of the registry shows within this.
const AT_ONCE: Duration = Duration::from_millis(200);

/// A process that dies without a word is noticed at the next look at the processes, every two seconds.
const NEXT_LOOK: Duration = Duration::from_millis(2_500);

/// When nothing has happened for so long, in the recording's milliseconds, the log and the registry
/// have caught up with each other.
const AT_REST: i64 = 1_000;

/// Longer recordings are played faster, down to this.
const LONGEST: Duration = Duration::from_millis(800);

/// What of a recording the daemon gets to see.
#[derive(Clone, Copy, PartialEq)]
enum Sources {
    /// The registry and the transcripts.
    Registry,
    /// The transcripts alone.
    Log,
    /// The same, where they tell as much as the registry does.
    TellingLog,
    /// The transcripts and the hooks.
    Hooks,
    /// All three.
    All,
}

impl Sources {
    fn registry(self) -> bool {
        matches!(self, Self::Registry | Self::All)
    }

    fn hooks(self) -> bool {
        matches!(self, Self::Hooks | Self::All)
    }
}

struct Player {
    case: &'static str,
    sources: Sources,
    root: PathBuf,
    alive: Arc<Mutex<HashMap<u32, String>>>,
    registry: Registry,
    daemon: Option<Daemon>,
    idle_timeout: Duration,
    /// Since when no live process has a session open.
    dead: BTreeMap<String, Instant>,
    /// Sessions that the log alone has shown as executing after their process was gone.
    haunting: BTreeMap<String, Duration>,
    _dirs: (TempDir, TempDir),
}

impl Player {
    fn new(case: &'static str, sources: Sources, idle_timeout: Duration) -> Self {
        let (home, own) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let root = home.path().join(".claude");
        fs::create_dir(&root).unwrap();
        let env = |name: &str| match name {
            "HOME" => Some(home.path().as_os_str().to_owned()),
            "RRD_HOME" => Some(own.path().as_os_str().to_owned()),
            "RRD_HTTP" => Some("off".into()),
            _ => None,
        };
        let mut config = Config::load(&env, &Flags::default()).unwrap();
        config.idle_timeout = idle_timeout;
        let alive = Arc::new(Mutex::new(HashMap::<u32, String>::new()));
        let table = Arc::clone(&alive);
        // As every recording has it.
        let domain = "linux:0123456789abcdef0123456789abcdef:pid:[4026531836]".to_owned();
        let processes = ProcessTable::scripted(Some(domain), move |pid| {
            table.lock().unwrap().get(&pid).cloned().map_or(Process::Gone, Process::Started)
        });
        let daemon = Some(Daemon::start_among(config, &processes).unwrap());
        Self {
            case,
            sources,
            root,
            alive,
            registry: Registry::default(),
            daemon,
            idle_timeout,
            dead: BTreeMap::new(),
            haunting: BTreeMap::new(),
            _dirs: (home, own),
        }
    }

    fn play(mut self) -> Self {
        let tape = Tape::load(self.case);
        let speed = (tape.length() as f64 / LONGEST.as_millis() as f64).max(1.0);
        let mut before = (0, Instant::now());
        for step in &tape.steps {
            if step.at - before.0 >= AT_REST {
                self.compare(step.at);
            }
            let gap = (step.at - before.0) as f64 / speed;
            let due = before.1 + Duration::from_micros((gap * 1000.0) as u64);
            while Instant::now() < due {
                self.watch(step.at);
                std::thread::sleep((due - Instant::now()).min(Duration::from_millis(2)));
            }
            // A moment's length shrinks with the pace; the moment itself is now.
            let moved = |ms: i64| now() + ((ms - tape.epoch - step.at) as f64 / speed) as i64;
            self.take(&step.what, &moved);
            self.settle(step.at, &step.what);
            before = (step.at, Instant::now());
        }
        self
    }

    /// Does what was done then.
    fn take(&mut self, what: &What, moved: &dyn Fn(i64) -> i64) {
        if !self.sources.registry() && what.is_registry() {
            // Who had which session open is known here all the same.
            match what {
                What::Write { write, json } => self.registry.write(write, json),
                What::Remove { remove } => self.registry.remove(remove),
                _ => {}
            }
            return;
        }
        match what {
            What::Starts { starts, start } => {
                self.alive.lock().unwrap().insert(*starts, start.clone());
            }
            What::Dies { dies } => {
                self.alive.lock().unwrap().remove(dies);
            }
            What::Write { write, json } => {
                let mut json = json.clone();
                retime(&mut json, moved);
                let path = self.path(write);
                fs::write(path, json.to_string()).unwrap();
                if what.is_registry() {
                    self.registry.write(write, &json);
                }
            }
            What::Remove { remove } => {
                let _ = fs::remove_file(self.path(remove));
                self.registry.remove(remove);
            }
            What::Append { append, lines } => {
                let mut text = String::new();
                for mut line in lines.iter().cloned() {
                    retime(&mut line, moved);
                    text.push_str(&format!("{line}\n"));
                }
                let mut file =
                    fs::File::options().create(true).append(true).open(self.path(append)).unwrap();
                file.write_all(text.as_bytes()).unwrap();
            }
            What::Hook { hook } if self.sources.hooks() => {
                self.daemon.as_ref().unwrap().hook(HookCall {
                    id: 0,
                    harness: Harness::ClaudeCode,
                    at: Timestamp::from_millis(now()),
                    payload: hook.to_string(),
                    unattended: false,
                    process: None,
                    tmux: None,
                    task: None,
                });
            }
            What::Hook { .. } => {}
        }
    }

    fn path(&self, relative: &str) -> PathBuf {
        let path = self.root.join(relative);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    /// Waits until every row is as it has to be after this step.
    fn settle(&mut self, at: i64, after: &What) {
        let claims = self.claims();
        if !self.sources.registry() {
            return self.watch(at);
        }
        let limit = if matches!(after, What::Dies { .. }) { NEXT_LOOK } else { AT_ONCE };
        let began = Instant::now();
        while let Err(wrong) = self.agrees(&claims) {
            assert!(began.elapsed() < limit, "{}, {at} ms, after {limit:?}: {wrong}", self.case);
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Looks that nothing changes by itself.
    fn watch(&mut self, at: i64) {
        let claims = self.claims();
        match self.sources {
            Sources::Registry | Sources::All => {
                if let Err(wrong) = self.agrees(&claims) {
                    panic!("{}, before {at} ms, by itself: {wrong}", self.case);
                }
            }
            Sources::Log | Sources::TellingLog => self.nobody_haunts(at),
            Sources::Hooks => {}
        }
    }

    /// Waits until what there is tells what the registry would. Of permissions the log knows nothing;
    /// hooks know of the question, but an approval calls none before its tool is done.
    fn compare(&mut self, at: i64) {
        if !matches!(self.sources, Sources::TellingLog | Sources::Hooks) {
            return;
        }
        let hooks = self.sources.hooks();
        let claims = self.claims();
        let began = Instant::now();
        let disagrees = |rows: &BTreeMap<String, Session>| {
            claims.iter().find_map(|(session, claim)| {
                let Claim::Says { status, waiting_for, .. } = claim else { return None };
                // Before its first prompt there is no log.
                let row = rows.get(session)?;
                let told = (row.status, row.waiting_for);
                let permission = (Status::Waiting, Some(WaitingFor::Permission));
                let right = match waiting_for {
                    Some(WaitingFor::Permission) if !hooks => told == (Status::Executing, None),
                    None if hooks && *status == Status::Executing && told == permission => true,
                    _ => told == (*status, *waiting_for),
                };
                (!right).then(|| format!("{claim:?}, but is {row:?}"))
            })
        };
        while let Some(wrong) = disagrees(&self.rows()) {
            assert!(began.elapsed() < AT_ONCE, "{}, {at} ms, by its log: {wrong}", self.case);
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn claims(&mut self) -> BTreeMap<String, Claim> {
        let claims = self.registry.claims(&self.alive.lock().unwrap());
        self.dead.retain(|session, _| matches!(claims.get(session), Some(Claim::Ended { .. })));
        for (session, claim) in &claims {
            if matches!(claim, Claim::Ended { .. }) {
                self.dead.entry(session.clone()).or_insert_with(Instant::now);
            }
        }
        claims
    }

    fn agrees(&self, claims: &BTreeMap<String, Claim>) -> Result<(), String> {
        let rows = self.rows();
        for (session, claim) in claims {
            let Some(row) = rows.get(session) else {
                // Nothing is owed to one that never wrote anything.
                if matches!(claim, Claim::Ended { .. }) {
                    continue;
                }
                return Err(format!("{session} is missing: {claim:?}"));
            };
            if !claim.holds(row) {
                return Err(format!("{claim:?}, but is {row:?}"));
            }
        }
        Ok(())
    }

    /// The log alone may show a dead session as executing, but not for longer than the idle timeout.
    fn nobody_haunts(&mut self, at: i64) {
        for (session, row) in self.rows() {
            let Some(dead) = self.dead.get(&session).filter(|_| row.status == Status::Executing)
            else {
                continue;
            };
            let haunts = dead.elapsed();
            let limit = self.idle_timeout + AT_ONCE;
            assert!(haunts < limit, "{}, {at} ms: {session} after {haunts:?}: {row:?}", self.case);
            self.haunting.insert(session, haunts);
        }
    }

    fn rows(&self) -> BTreeMap<String, Session> {
        let all = ListQuery { all: true, ..ListQuery::default() };
        let rows = self.daemon.as_ref().unwrap().list(&all).sessions;
        rows.into_iter().map(|row| (row.session_id.clone(), row)).collect()
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        if let Some(daemon) = self.daemon.take() {
            daemon.stop();
        }
    }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

/// Plays a recording with its registry; every claim of the registry is checked on the way.
fn with_its_registry(case: &'static str, sources: Sources) {
    let played = Player::new(case, sources, Duration::from_secs(300)).play();
    assert!(!played.dead.is_empty(), "{case}: no session came to its end");
}

/// Plays a recording without its registry and watches what is left of it.
fn by_its_log(case: &'static str) {
    let mut played = Player::new(case, Sources::Log, Duration::from_millis(400)).play();
    assert!(!played.dead.is_empty(), "{case}: no session came to its end");
    let over = Instant::now() + played.idle_timeout + AT_ONCE;
    while Instant::now() < over {
        played.nobody_haunts(i64::MAX);
        std::thread::sleep(Duration::from_millis(5));
    }
    for (session, row) in played.rows() {
        assert_ne!(row.status, Status::Executing, "{case}: {session}");
        assert_ne!(row.status_source, StatusSource::Registry, "{case}: there was none");
    }
    // Not for nothing: a turn that was broken off looks like one that runs.
    let haunted = !played.haunting.is_empty();
    assert!(haunted || case != "329-kill9-tool", "{:?}", played.haunting);
}

/// Plays a recording without its registry, where the rest tells as much.
fn by_what_else_tells(case: &'static str, sources: Sources) {
    Player::new(case, sources, Duration::from_secs(300)).play();
}

macro_rules! cases {
    ($($name:ident = $case:literal,)*) => {
        mod the_registry_is_believed_at_once {
            $(#[test] fn $name() { super::with_its_registry($case, super::Sources::Registry) })*
        }
        mod the_log_alone_lets_the_dead_rest {
            $(#[test] fn $name() { super::by_its_log($case) })*
        }
        /// Every recording is played.
        const CASES: &[&str] = &[$($case),*];
    };
}

cases! {
    hello_197 = "197-hello",
    permission_and_subagent_197 = "197-tui-permission-subagent",
    bash = "329-bash",
    collision = "329-collision",
    denied = "329-denied",
    fail = "329-fail",
    fork = "329-fork",
    hello = "329-hello",
    killed_in_a_tool = "329-kill9-tool",
    named = "329-named",
    parallel = "329-parallel",
    peer_message = "329-peer-message",
    resume = "329-resume",
    subagent = "329-subagent",
    compact = "329-tui-compact",
    killed_while_it_waits = "329-tui-kill9-permission",
    permission_and_clear = "329-tui-permission-clear",
    question = "329-tui-question",
    subagent_background = "329-tui-subagent-background",
    subagent_permission = "329-tui-subagent-permission",
    worktree = "329-worktree",
}

macro_rules! telling {
    ($($name:ident = $case:literal,)*) => {
        mod the_log_alone_tells_all_but_permissions {
            $(#[test] fn $name() { super::by_what_else_tells($case, super::Sources::TellingLog) })*
        }
        mod the_registry_is_believed_beside_hooks {
            $(#[test] fn $name() { super::with_its_registry($case, super::Sources::All) })*
        }
        mod the_log_and_hooks_tell_all {
            $(#[test] fn $name() { super::by_what_else_tells($case, super::Sources::Hooks) })*
        }
    };
}

telling! {
    permission_and_subagent_197 = "197-tui-permission-subagent",
    peer_message = "329-peer-message",
    permission = "329-tui-kill9-permission",
    permission_and_clear = "329-tui-permission-clear",
    question = "329-tui-question",
    subagent_background = "329-tui-subagent-background",
    subagent_permission = "329-tui-subagent-permission",
}

#[test]
fn every_recording_is_played() {
    let folder =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/claude-code");
    let mut there: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap().replace(".jsonl", ""))
        .collect();
    there.sort();
    assert_eq!(there, CASES);
}
