//! Databases that the harnesses wrote themselves, with what is known of them from the runs.

use std::{fs, path::Path};

use rrd_daemon::{Daemon, Scan};
use rrd_proto::{EndReason, Harness, Session, Status};
use rusqlite::Connection;

use crate::{all, config};

/// Builds the database of a recording, its log not yet folded into it as after a harness's exit.
fn build(recording: &str, path: &Path) {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let aside = path.with_extension("made");
    let db = Connection::open(&aside).unwrap();
    db.execute_batch("PRAGMA journal_mode = wal; PRAGMA wal_autocheckpoint = 0").unwrap();
    db.execute_batch(&fs::read_to_string(fixtures.join(recording)).unwrap()).unwrap();
    for suffix in ["", "-wal"] {
        let with = |path: &Path| format!("{}{suffix}", path.display());
        fs::copy(with(&aside), with(path)).unwrap();
    }
    drop(db);
    for suffix in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(format!("{}{suffix}", aside.display()));
    }
}

/// `prompts messages calls errors, how it ended, title`, by the id's end.
fn told(session: &Session) -> (String, String) {
    let counts = session.counts.unwrap();
    let end = match (session.status, session.end_reason) {
        (Status::Ended, Some(EndReason::Crashed)) => "crashed",
        (Status::Ended, _) => "over",
        _ => "open",
    };
    let turn = session.turn_result.map_or("in a turn", |result| result.as_str());
    let title = session.title.as_deref().unwrap_or("-");
    let (prompts, messages, calls) = (counts.prompts, counts.messages, counts.tool_calls);
    let text = format!("{prompts} {messages} {calls} {}, {turn}, {end}, {title}", counts.errors);
    assert!(session.issues.is_empty(), "{:?}", session.issues);
    assert!(session.cwd.as_deref().is_some_and(|cwd| cwd.starts_with("/home/dev/src/")));
    (session.session_id[session.session_id.len() - 6..].to_owned(), text)
}

fn check(harness: &Harness, recording: &str, path: &str, expected: &[(&str, &str)]) {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join(path);
    // A node has its name from its first start on; a look gives it none.
    Daemon::start(config(home.path(), "auto")).unwrap().stop();
    build(recording, &path);
    let log = format!("{}-wal", path.display());
    let before = (fs::read(&path).unwrap(), fs::read(&log).unwrap());
    let config = || config(home.path(), "auto");
    let looked = Scan::new(&config(), &mut |_| {}).list(&all()).sessions;
    let daemon = Daemon::start(config()).unwrap();
    let followed = daemon.list(&all()).sessions;
    daemon.stop();
    assert_eq!(looked, followed, "with and without a daemon the answer is the same");
    assert!(looked.iter().all(|session| session.harness == *harness));
    let mut rows: Vec<_> = looked.iter().map(told).collect();
    rows.sort();
    let rows: Vec<_> = rows.iter().map(|(id, text)| (&**id, &**text)).collect();
    assert_eq!(rows, expected);
    // SQLite's own -shm is the one thing that may have come.
    assert_eq!((fs::read(&path).unwrap(), fs::read(&log).unwrap()), before);
}

#[test]
fn hermes_chat() {
    check(
        &Harness::Hermes,
        "hermes/chat-0.19.sql",
        ".hermes/state.db",
        &[
            ("16e04b", "1 1 0 0, completed, over, PLAIN hello hermes"),
            ("5d438b", "1 0 1 0, in a turn, crashed, HANG long command"),
            ("b4e0e4", "2 2 1 0, completed, over, TOOL run a command"),
            ("fed9a7", "1 1 1 1, completed, over, FAIL run failing command"),
        ],
    );
}

#[test]
fn a_profile_of_hermes() {
    check(
        &Harness::Hermes,
        "hermes/chat-0.19.sql",
        ".hermes/profiles/second/state.db",
        &[
            ("16e04b", "1 1 0 0, completed, over, PLAIN hello hermes"),
            ("5d438b", "1 0 1 0, in a turn, crashed, HANG long command"),
            ("b4e0e4", "2 2 1 0, completed, over, TOOL run a command"),
            ("fed9a7", "1 1 1 1, completed, over, FAIL run failing command"),
        ],
    );
}

#[test]
fn openclaw_local() {
    let path = ".openclaw/agents/main/agent/openclaw-agent.sqlite";
    check(
        &Harness::OpenClaw,
        "openclaw/local-2026.9.sql",
        path,
        &[
            ("1d3da7", "1 1 1 1, completed, over, FAIL run failing command"),
            ("8f70d3", "1 1 0 0, completed, over, HANG long command"),
            ("915aba", "2 2 0 0, completed, over, PLAIN hello claw"),
            ("a80ee8", "1 1 1 0, completed, over, TOOL run a command"),
            ("d2a030", "1 1 1 0, completed, over, HANG long command"),
            ("e1c6ae", "1 0 1 0, in a turn, crashed, HANG kill me mid tool"),
            ("f5f4da", "1 1 0 0, completed, over, FAIL run failing command"),
        ],
    );
}
