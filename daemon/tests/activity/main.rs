//! What sessions did outlives their transcripts: trimmed recordings of the real clients are indexed, then
//! deleted, and everything that their parsers yield is still there, and the same.
//!
//! Not here: kills in the middle of it (the client's tests of `kill`), and how blocks are laid out.
#![allow(clippy::unwrap_used)] // the lint's exception for tests does not reach plain functions here

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use rrd_daemon::{
    Daemon, Scan,
    config::{Config, Flags},
    store::Reader,
};
use rrd_proto::{Event, EventKind, EventQuery, ListQuery, SessionKey, Status};
use rusqlite::Connection;
use tempfile::TempDir;

/// Nobody waits for longer than that.
const PATIENCE: Duration = Duration::from_secs(30);

/// Every event with its body, by session.
type Activity = BTreeMap<SessionKey, Vec<Event>>;

/// Where each harness keeps its home.
const HOMES: [(&str, &str); 4] = [
    ("claude-code", ".claude"),
    ("codex", ".codex"),
    ("openclaw", ".openclaw"),
    ("pi", ".pi/agent"),
];

/// One recorded home, and rrd's own.
struct Home {
    user: TempDir,
    own: TempDir,
}

impl Home {
    fn recorded(harness: &str, case: &Path) -> Self {
        let home = Self { user: tempfile::tempdir().unwrap(), own: tempfile::tempdir().unwrap() };
        let (_, folder) = HOMES.iter().find(|(name, _)| *name == harness).unwrap();
        copy(case, &home.user.path().join(folder));
        home
    }

    fn dumped(path: &str, sql: &str) -> Self {
        let home = Self { user: tempfile::tempdir().unwrap(), own: tempfile::tempdir().unwrap() };
        let path = home.user.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        Connection::open(path).unwrap().execute_batch(sql).unwrap();
        home
    }

    fn config(&self, own: &Path) -> Config {
        let env = |name: &str| match name {
            "HOME" => Some(self.user.path().as_os_str().to_owned()),
            "RRD_HOME" => Some(own.as_os_str().to_owned()),
            "RRD_HTTP" => Some("off".into()),
            _ => None,
        };
        Config::load(&env, &Flags::default()).unwrap()
    }

    fn start(&self) -> Daemon {
        Daemon::start(self.config(self.own.path())).unwrap()
    }

    /// What the parsers yield from the transcripts.
    fn told(&self) -> Activity {
        let nowhere = tempfile::tempdir().unwrap();
        let scan = Scan::new(&self.config(nowhere.path()), &mut |_| {});
        let all = ListQuery { all: true, ..ListQuery::default() };
        let events = |key: &SessionKey| {
            scan.events(&EventQuery {
                key: key.clone(),
                node: None,
                after: None,
                before: None,
                limit: 1_000,
                wait_ms: 0,
                bodies: true,
                raw: true,
            })
            .events
        };
        let keys = scan.list(&all).sessions.into_iter().map(|session| session.key());
        keys.map(|key| (key.clone(), events(&key))).collect()
    }

    fn reader(&self) -> Reader {
        Reader::open(&self.own.path().join("state")).unwrap()
    }

    /// What is kept.
    fn kept(&self, of: &Activity) -> Activity {
        let reader = self.reader();
        let events = |key: &SessionKey| {
            let mut events = reader.events(key, None, 1_000).unwrap();
            let with_bodies = reader.add_bodies(key, &mut events, usize::MAX, false).unwrap();
            assert_eq!(with_bodies, events.len());
            events
        };
        of.keys().map(|key| (key.clone(), events(key))).collect()
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).unwrap()),
        }
    }
}

fn cases() -> Vec<Home> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("core/tests/fixtures");
    let mut homes = Vec::new();
    for (harness, _) in HOMES {
        for case in fs::read_dir(fixtures.join(harness)).unwrap() {
            homes.push(Home::recorded(harness, &case.unwrap().path()));
        }
    }
    let hermes = include_str!("../fixtures/hermes/chat-0.19.sql");
    homes.push(Home::dumped(".hermes/state.db", hermes));
    let openclaw = include_str!("../fixtures/openclaw/local-2026.9.sql");
    homes.push(Home::dumped(".openclaw/agents/main/agent/openclaw-agent.sqlite", openclaw));
    assert!(homes.len() > 16);
    homes
}

fn all() -> ListQuery {
    ListQuery { all: true, ..ListQuery::default() }
}

#[test]
fn what_was_done_outlives_its_transcript() {
    let (mut sessions, mut bodies) = (0, 0);
    for home in cases() {
        let told = home.told();
        assert!(!told.is_empty());
        let daemon = home.start();
        let rows = daemon.list(&all()).sessions.len();
        daemon.stop();
        assert_eq!(home.kept(&told), told);
        for entry in fs::read_dir(home.user.path()).unwrap() {
            let root = entry.unwrap().path();
            fs::remove_dir_all(&root).unwrap();
            // It is known to be deleted, and not out of sight, only where the place it was in is there.
            fs::create_dir(&root).unwrap();
        }
        let daemon = home.start();
        let left = daemon.list(&all()).sessions;
        daemon.stop();
        assert_eq!(left.len(), rows);
        assert_eq!(home.kept(&told), told);
        sessions += told.len();
        let events = told.values().flatten();
        bodies += events.filter(|event| event.body.is_some()).count();
    }
    assert!(sessions > 25 && bodies > 100, "{sessions} sessions, {bodies} bodies");
}

#[test]
fn all_that_a_call_and_its_result_say_is_there() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("core/tests/fixtures/claude-code");
    let home = Home::recorded("claude-code", &fixtures.join("329-subagent"));
    let told = home.told();
    let events: Vec<&Event> = told.values().flatten().collect();
    let calls: Vec<_> = events.iter().filter(|event| event.kind == EventKind::ToolCall).collect();
    assert!(!calls.is_empty());
    for call in calls {
        let input = &call.body.as_ref().unwrap().text;
        assert!(serde_json::from_str::<serde_json::Value>(input).unwrap().is_object(), "{input}");
    }
    let results = events.iter().filter(|event| event.kind == EventKind::ToolResult);
    assert!(results.filter_map(|result| result.body.as_ref()).any(|body| !body.text.is_empty()));
}

#[test]
fn what_was_indexed_before_bodies_were_kept_gets_them() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("core/tests/fixtures/claude-code");
    let cases = ["329-tui-compact", "329-fork", "329-subagent"];
    let mut homes: Vec<Home> =
        cases.iter().map(|case| Home::recorded("claude-code", &fixtures.join(case))).collect();
    let hermes = include_str!("../fixtures/hermes/chat-0.19.sql");
    homes.push(Home::dumped(".hermes/state.db", hermes));
    for home in homes {
        let told = home.told();
        home.start().stop();
        // As an earlier release left it; of one session half has been filled in before a crash.
        let index: PathBuf = home.own.path().join("state/index.db");
        let db = Connection::open(index).unwrap();
        db.execute_batch(
            "DELETE FROM bodies WHERE session = (SELECT max(session) FROM bodies);
            UPDATE sessions SET bodied = 0;",
        )
        .unwrap();
        drop(db);
        assert_ne!(home.kept(&told), told);
        let daemon = home.start();
        let started = Instant::now();
        while !home.reader().without_bodies().unwrap().is_empty() {
            assert!(started.elapsed() < PATIENCE);
            thread::yield_now();
        }
        assert_eq!(home.kept(&told), told);
        let activity = daemon.parts();
        daemon.stop();
        assert!(!activity.is_empty());
    }
}

#[test]
fn what_an_earlier_reader_took_counts_where_its_transcript_is_gone() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("core/tests/fixtures/claude-code");
    let home = Home::recorded("claude-code", &fixtures.join("329-fork"));
    let told = home.told();
    home.start().stop();
    let db = Connection::open(home.own.path().join("state/index.db")).unwrap();
    db.execute("UPDATE sessions SET reader = reader - 1", []).unwrap();
    drop(db);
    let projects = home.user.path().join(".claude/projects/-home-dev-src-alpha");
    let mut transcripts: Vec<PathBuf> =
        fs::read_dir(&projects).unwrap().map(|entry| entry.unwrap().path()).collect();
    transcripts.sort();
    fs::remove_file(&transcripts[0]).unwrap();
    let gone = transcripts[0].file_stem().unwrap().to_str().unwrap();
    let daemon = home.start();
    let rows = daemon.list(&all()).sessions;
    daemon.stop();
    assert_eq!(rows.len(), 2);
    let row = rows.iter().find(|row| row.session_id == gone).unwrap();
    assert_eq!(row.status, Status::Ended);
    assert_eq!(home.kept(&told), told);
}
