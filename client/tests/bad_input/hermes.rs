//! A database that its agent has open, and then not any more.

use rrd_proto::{EndReason, Status, TurnResult};
use rusqlite::Connection;

use super::*;

/// As many of its tables and columns as matter.
pub(crate) const TABLES: &str = "PRAGMA journal_mode = wal;
         CREATE TABLE schema_version (version INTEGER);
         INSERT INTO schema_version VALUES (22);
         CREATE TABLE sessions (id TEXT PRIMARY KEY, source TEXT, started_at REAL, parent_session_id TEXT);
         CREATE TABLE messages (id INTEGER PRIMARY KEY, session_id TEXT, role TEXT, content TEXT,
             tool_call_id TEXT, tool_calls TEXT, tool_name TEXT, timestamp REAL, finish_reason TEXT,
             active INTEGER DEFAULT 1, compacted INTEGER DEFAULT 0);";

#[test]
fn whoever_asks_hears_that_nobody_has_it_open_any_more() {
    let host = Host::new();
    let home = host.path(".hermes");
    fs::create_dir_all(&home).unwrap();
    // This process is the agent; rrd's own are others.
    let db = Connection::open(home.join("state.db")).unwrap();
    db.execute_batch(TABLES).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    db.execute("INSERT INTO sessions (id, source, started_at) VALUES ('s-1', 'cli', ?1)", [now])
        .unwrap();
    for (role, finish) in [("user", None), ("assistant", Some("stop"))] {
        let sql = "INSERT INTO messages (session_id, role, content, timestamp, finish_reason) \
                   VALUES ('s-1', ?1, 'x', ?2, ?3)";
        db.execute(sql, rusqlite::params![role, now, finish]).unwrap();
    }
    let _daemon = host.daemon();
    let idle = host.follows("at rest", "s-1", |row| row.status == Status::Idle);
    assert_eq!(idle.turn_result, Some(TurnResult::Completed));
    drop(db);
    // Who asks has it looked at, and waits a tenth of a second for that: among a few answers, whenever
    // processes are looked at otherwise, is the one.
    let has_ended = |_| {
        let rows = host.followed();
        (rows[0].status, rows[0].end_reason) == (Status::Ended, Some(EndReason::Exit))
    };
    assert!((0..10).any(has_ended));
}
