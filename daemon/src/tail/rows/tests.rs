//! What waits to be read is not forgotten, and what could not be taken is tried again.
#![allow(clippy::unwrap_used)] // the lint's exception for tests does not reach plain functions here

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
};

use rrd_proto::Harness;
use rusqlite::Connection;

use super::*;
use crate::{
    config::HarnessRoot,
    hub::Hub,
    process::ProcessTable,
    store::{Commit, DatabaseState},
};

/// Keeps nothing; counts what it was given.
#[derive(Default)]
struct Counting {
    commits: Cell<usize>,
    failing: Cell<bool>,
}

impl Ledger for Counting {
    fn commit(&self, _: Commit) {
        self.commits.set(self.commits.get() + 1);
    }

    fn database(&self, _: DatabaseState) {}

    fn keys(&self, _: &SessionKey) -> io::Result<HashSet<u64>> {
        if self.failing.get() { Err(io::Error::other("full")) } else { Ok(HashSet::new()) }
    }
}

/// A Hermes database with two sessions of one message each.
fn hermes(home: &Path) -> (PathBuf, Connection) {
    let path = home.join("state.db");
    let db = Connection::open(&path).unwrap();
    db.execute_batch(
        "PRAGMA journal_mode = wal;
         CREATE TABLE schema_version (version INTEGER);
         INSERT INTO schema_version VALUES (22);
         CREATE TABLE sessions (id TEXT PRIMARY KEY, source TEXT, started_at REAL, parent_session_id TEXT);
         INSERT INTO sessions (id, source, started_at) VALUES ('a', 'cli', 1), ('b', 'cli', 2);
         CREATE TABLE messages (id INTEGER PRIMARY KEY, session_id TEXT, role TEXT, content TEXT,
             tool_call_id TEXT, tool_calls TEXT, tool_name TEXT, timestamp REAL,
             active INTEGER DEFAULT 1, compacted INTEGER DEFAULT 0);",
    )
    .unwrap();
    say(&db, "a");
    say(&db, "b");
    (path, db)
}

fn say(db: &Connection, session: &str) {
    let sql =
        "INSERT INTO messages (session_id, role, content, timestamp) VALUES (?1, 'user', 'x', 3)";
    db.execute(sql, [session]).unwrap();
}

fn scene(home: &Path) -> Scene {
    let root = HarnessRoot { harness: Harness::Hermes, path: home.to_owned(), is_store: false };
    let place = rrd_core::roster::Place {
        host: "h".into(),
        node_id: None,
        idle_timeout: Duration::from_secs(300),
    };
    let hub = Arc::new(Hub::new(place, std::slice::from_ref(&root)));
    Scene::new(0, &root, &hub, &ProcessTable::system()).unwrap()
}

fn queued(databases: &Databases, path: &Path) -> Vec<String> {
    databases.by_path[path].unread.iter().map(|row| row.id.clone()).collect()
}

/// However long it is to rest.
fn work(databases: &mut Databases, path: &Path, scene: &Scene, ledger: &Counting) {
    databases.by_path.get_mut(path).unwrap().rests_until = None;
    databases.work(scene, ledger);
}

#[test]
fn what_waits_to_be_read_is_not_forgotten_when_there_is_more() {
    let home = tempfile::tempdir().unwrap();
    let (path, db) = hermes(home.path());
    let (scene, ledger) = (scene(home.path()), Counting::default());
    let mut databases = Databases::default();
    databases.touch(&path);
    databases.survey(&scene, &ledger, Duration::from_secs(5));
    assert_eq!(queued(&databases, &path), [""; 0]);

    // Something of `a` is found, and before it is read something is said in `b`.
    let tables = scene.format.tables.unwrap();
    say(&db, "a");
    let mut list = || {
        let mut database = databases.by_path.remove(&path).unwrap();
        // Not by comparing.
        database.compare_at = Some(Instant::now() + Duration::from_secs(3600));
        let snapshot = Snapshot::open(&path, tables, PATIENCE).unwrap();
        databases.list(&path, look(&path).unwrap(), &mut database, &snapshot, &scene).unwrap();
        databases.by_path.insert(path.clone(), database);
        queued(&databases, &path)
    };
    assert_eq!(list(), ["a"]);
    say(&db, "b");
    assert_eq!(list(), ["b", "a"]);
}

#[test]
fn rows_that_are_read_in_several_goes_come_once_each() {
    let home = tempfile::tempdir().unwrap();
    let (path, db) = hermes(home.path());
    let content = "x".repeat(AT_ONCE / 8);
    for _ in 0..20 {
        let sql = "INSERT INTO messages (session_id, role, content) VALUES ('a', 'user', ?1)";
        db.execute(sql, [&content]).unwrap();
    }
    let sql = "SELECT id FROM messages WHERE session_id = 'a' ORDER BY id";
    let mut of_session = db.prepare(sql).unwrap();
    let ids = of_session.query_map([], |row| row.get::<_, i64>(0)).unwrap();
    let want: Vec<i64> = ids.map(Result::unwrap).collect();
    assert_eq!(want.len(), 21);
    let tables = scene(home.path()).format.tables.unwrap();
    let mut got = Vec::new();
    each_row(&path, tables, "a", &mut |number, line| {
        let row: serde_json::Value = serde_json::from_slice(line).unwrap();
        assert_eq!(row["id"], number);
        got.push(number);
    })
    .unwrap();
    assert_eq!(got, want);
}

#[test]
fn what_could_not_be_taken_is_taken_later() {
    let home = tempfile::tempdir().unwrap();
    let (path, db) = hermes(home.path());
    let (scene, ledger) = (scene(home.path()), Counting::default());
    let mut databases = Databases::default();
    databases.touch(&path);
    databases.survey(&scene, &ledger, Duration::from_secs(5));
    let before = ledger.commits.get();

    // Read anew, it needs the keys of what was taken, and these cannot be had.
    db.execute_batch(
        "UPDATE messages SET active = 0; INSERT INTO messages (session_id) VALUES ('a'), ('b')",
    )
    .unwrap();
    ledger.failing.set(true);
    databases.check();
    work(&mut databases, &path, &scene, &ledger);
    assert_eq!(ledger.commits.get(), before);
    assert_eq!(databases.troubles(scene.format)[0].1, "full");

    ledger.failing.set(false);
    // Compared, then read.
    work(&mut databases, &path, &scene, &ledger);
    work(&mut databases, &path, &scene, &ledger);
    assert_eq!(ledger.commits.get(), before + 2, "both are read");
    assert_eq!(databases.troubles(scene.format), []);
}

/// What an index would hold.
#[derive(Default)]
struct Index {
    events: RefCell<BTreeMap<u64, (u64, bool)>>,
    state: RefCell<Option<(FileState, Arc<Fold>)>>,
}

impl Ledger for Index {
    fn commit(&self, commit: Commit) {
        let mut events = self.events.borrow_mut();
        for stored in commit.events {
            let known = events.insert(stored.event.seq, (stored.key, stored.event.withdrawn));
            assert_eq!(known, None, "each once");
        }
        for (key, withdrawn) in events.values_mut() {
            *withdrawn = commit.standing.get(key).map_or(*withdrawn, |stands| !stands);
        }
        self.state.replace(Some((commit.file, commit.fold)));
    }

    fn keys(&self, _: &SessionKey) -> io::Result<HashSet<u64>> {
        Ok(self.events.borrow().values().map(|(key, _)| *key).collect())
    }
}

#[test]
fn a_tree_is_looked_over_a_little_at_a_time_wherever_it_is_stopped() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("openclaw-agent.sqlite");
    let db = Connection::open(&path).unwrap();
    db.execute_batch(
        "CREATE TABLE schema_meta (schema_version INTEGER);
         INSERT INTO schema_meta VALUES (23);
         CREATE TABLE session_nodes (session_key TEXT, current_session_id TEXT, spawned_by TEXT,
             parent_session_key TEXT);
         CREATE TABLE session_windows (session_id TEXT, session_key TEXT, created_at INTEGER,
             updated_at INTEGER, spawned_by TEXT, parent_session_key TEXT);
         INSERT INTO session_windows (session_id, created_at) VALUES ('s', 1);
         CREATE TABLE transcript_rewrite_watermarks (session_id TEXT, generation TEXT);
         CREATE TABLE transcript_events (session_id TEXT, seq INTEGER, event_json TEXT,
             event_zstd BLOB, PRIMARY KEY (session_id, seq));",
    )
    .unwrap();
    for id in 1..=90 {
        let parent = if id == 40 { 20 } else { id - 1 };
        let parent = if parent == 0 { "null".to_owned() } else { format!("\"e{parent}\"") };
        let event = format!(
            r#"{{"type":"message","id":"e{id}","parentId":{parent},"timestamp":"2026-11-20T10:00:00.000Z","message":{{"role":"user","content":"x"}}}}"#
        );
        let sql =
            "INSERT INTO transcript_events (session_id, seq, event_json) VALUES ('s', ?1, ?2)";
        db.execute(sql, rusqlite::params![id, event]).unwrap();
    }
    let want: Vec<bool> = (1..=90).map(|id| (21..40).contains(&id)).collect();
    let format = rrd_core::harness::format_of(&Harness::OpenClaw).unwrap();
    let key = SessionKey { harness: Harness::OpenClaw, session_id: "s".into() };
    let (id, _) = look(&path).unwrap();
    let mut most = 0;
    for stop in 0_usize.. {
        let index = Index::default();
        let (mut session, mut fold) = (Session::new("p#s".into(), key.clone(), id), None);
        let mut looks = 0;
        loop {
            if looks == stop
                && let Some((file, known)) = index.state.borrow().clone()
            {
                // After a restart it has what is stored, and nothing else.
                (session, fold) = (Session::stored(file, Arc::clone(&known)), Some(known));
            }
            looks += 1;
            // Time is over as soon as something was read.
            let snapshot = Snapshot::open(&path, format.tables.unwrap(), Duration::ZERO).unwrap();
            let row = snapshot.sessions().unwrap().remove(0);
            let batch = session.fetch(row, id, format, &snapshot).unwrap();
            if session.take(batch, &mut fold, format, &index).unwrap() {
                break;
            }
            assert!(looks < 100, "it comes to an end");
        }
        let marks: Vec<bool> = index.events.borrow().values().map(|(_, left)| *left).collect();
        assert_eq!(marks, want, "stopped after {stop} of {looks} looks");
        most = most.max(looks);
        if stop > looks {
            break;
        }
    }
    assert!(most > 10, "{most}");
}
