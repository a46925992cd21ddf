//! OpenClaw's approvals: rows as the Gateway of 2026.9.6 keeps them, in the columns that matter.
//!
//! Taken from one that was run: what a `pending` row holds, and what becomes of it when it is answered,
//! cancelled, out of time, or left behind. Not here: the status table (core).

use std::{
    fs,
    time::{SystemTime, UNIX_EPOCH},
};

use rrd_daemon::{Daemon, Scan};
use rrd_proto::{Harness, Health, Session, Status, StatusSource, Timestamp, WaitingFor};
use rusqlite::{Connection, params};

use crate::{
    all, config,
    openclaw::{OpenClaw, said},
    tail, until,
};

const SCHEMA: &str = "
    PRAGMA journal_mode = wal;
    CREATE TABLE schema_meta (meta_key TEXT PRIMARY KEY, role TEXT, schema_version INTEGER);
    INSERT INTO schema_meta VALUES ('primary', 'global', 18), ('state-migrations', 'global', 99);
    CREATE TABLE operator_approvals (
        approval_id TEXT PRIMARY KEY, kind TEXT NOT NULL, status TEXT NOT NULL,
        presentation_json TEXT NOT NULL, source_agent_id TEXT, source_session_key TEXT,
        source_session_id TEXT, source_run_id TEXT, source_tool_call_id TEXT, source_tool_name TEXT,
        created_at_ms INTEGER NOT NULL, expires_at_ms INTEGER NOT NULL) STRICT;
    CREATE TABLE secret_store_entries (name TEXT PRIMARY KEY, value TEXT);
    INSERT INTO secret_store_entries VALUES ('token', 'not to be read');";

const RM: &str = r#"{"kind":"exec","commandText":"rm -rf build","commandPreview":null,"warningText":null,"host":"gateway","nodeId":null,"agentId":"main","allowedDecisions":["allow-once","deny"]}"#;

/// As long as a Gateway waits.
const HALF_AN_HOUR: i64 = 30 * 60_000;

struct Gateway {
    claw: OpenClaw,
    state: Connection,
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis().try_into().unwrap()
}

impl Gateway {
    /// With one session, `s-1`, that has an agent's key.
    fn new() -> Self {
        let mut claw = OpenClaw::new();
        // In this mode nobody can see that no process has it open.
        claw.db.execute_batch("PRAGMA journal_mode = delete").unwrap();
        claw.session("s-1", "agent:main:tui");
        claw.insert("s-1", &said("user", "remove the build directory"));
        let folder = claw.home.path().join(".openclaw/state");
        fs::create_dir_all(&folder).unwrap();
        let state = Connection::open(folder.join("openclaw.sqlite")).unwrap();
        state.execute_batch(SCHEMA).unwrap();
        Self { claw, state }
    }

    fn asks(&self, id: &str, key: Option<&str>, session: Option<&str>, until: i64) {
        let sql = "INSERT INTO operator_approvals (approval_id, kind, status, presentation_json, \
                   source_session_key, source_session_id, created_at_ms, expires_at_ms) \
                   VALUES (?1, 'exec', 'pending', ?2, ?3, ?4, ?5, ?6)";
        let since = until - HALF_AN_HOUR;
        self.state.execute(sql, params![id, RM, key, session, since, until]).unwrap();
    }

    fn becomes(&self, id: &str, status: &str) {
        let sql = "UPDATE operator_approvals SET status = ?2 WHERE approval_id = ?1";
        assert_eq!(self.state.execute(sql, [id, status]).unwrap(), 1);
    }

    fn scanned(&self, id: &str) -> Session {
        let scan = Scan::new(&config(self.claw.home.path(), "auto"), &mut |_| {});
        scan.list(&all()).sessions.into_iter().find(|s| s.session_id == id).unwrap()
    }
}

fn waits(session: &Session) -> bool {
    session.status == Status::Waiting
}

#[test]
fn a_session_waits_for_as_long_as_its_approval_is_pending() {
    let gateway = Gateway::new();
    let daemon = gateway.claw.daemon();
    let soon = now() + HALF_AN_HOUR;
    for (n, answer) in ["allowed", "denied", "expired", "cancelled"].into_iter().enumerate() {
        assert!(!waits(&until(&daemon, "s-1", |s| s.complete && !waits(s))));
        let (id, until_then) = (format!("a-{n}"), soon + n as i64);
        gateway.asks(&id, Some("agent:main:tui"), None, until_then);
        for session in [until(&daemon, "s-1", waits), gateway.scanned("s-1")] {
            assert_eq!(session.status, Status::Waiting, "{answer}");
            assert_eq!(session.waiting_for, Some(WaitingFor::Permission));
            assert_eq!(session.waiting_detail.as_deref(), Some("exec: rm -rf build"));
            assert_eq!(session.status_source, StatusSource::Registry);
            let since = Timestamp::from_millis(until_then - HALF_AN_HOUR);
            assert_eq!(session.status_since, Some(since));
        }
        gateway.becomes(&id, answer);
        until(&daemon, "s-1", |s| !waits(s));
        assert!(!waits(&gateway.scanned("s-1")), "{answer}");
    }
    daemon.stop();
}

#[test]
fn an_approval_out_of_time_is_none_whatever_its_row_says() {
    let gateway = Gateway::new();
    gateway.asks("old", Some("agent:main:tui"), None, now() - 1);
    let daemon = gateway.claw.daemon();
    assert!(!waits(&until(&daemon, "s-1", |s| s.complete)));
    assert!(!waits(&gateway.scanned("s-1")));
    gateway.asks("new", Some("agent:main:tui"), None, now() + 3_000);
    until(&daemon, "s-1", waits);
    // Nobody writes anything when it is over.
    until(&daemon, "s-1", |s| !waits(s));
    daemon.stop();
}

#[test]
fn an_approval_is_that_of_the_session_that_asked() {
    let mut gateway = Gateway::new();
    gateway.claw.session("s-2", "agent:main:two");
    let daemon = gateway.claw.daemon();
    until(&daemon, "s-2", |s| s.complete && !waits(s));
    gateway.asks("by-id", Some("agent:main:two"), Some("s-1"), now() + HALF_AN_HOUR);
    until(&daemon, "s-1", waits);
    gateway.asks("by-key", Some("agent:main:two"), None, now() + HALF_AN_HOUR);
    until(&daemon, "s-2", waits);
    // A reset: whatever goes on under the key was not asked for, and what was left asks no more.
    gateway.claw.session("s-3", "agent:main:two");
    until(&daemon, "s-2", |s| s.status == Status::Ended);
    gateway.asks("nobody's", Some("agent:main:none"), None, now() + HALF_AN_HOUR);
    gateway.becomes("by-id", "allowed");
    until(&daemon, "s-1", |s| !waits(s));
    assert!(!waits(&until(&daemon, "s-3", |s| s.complete)));
    daemon.stop();
}

/// Elsewhere it cannot be seen that nobody has the agent's database open any more.
#[cfg(unix)]
#[test]
fn an_approval_of_a_gateway_that_was_killed_is_a_crash() {
    use rrd_proto::EndReason;
    let gateway = Gateway::new();
    gateway.claw.db.execute_batch("PRAGMA journal_mode = wal").unwrap();
    gateway.asks("a", Some("agent:main:tui"), None, now() + HALF_AN_HOUR);
    let daemon = gateway.claw.daemon();
    let ended = until(&daemon, "s-1", |s| s.status == Status::Ended);
    assert_eq!(ended.end_reason, Some(EndReason::Crashed));
    assert_eq!(gateway.scanned("s-1").end_reason, Some(EndReason::Crashed));
    daemon.stop();
}

#[test]
fn without_approvals_that_can_be_read_the_transcripts_speak() {
    let tail = |daemon: &Daemon, state: Health, why: &str| {
        let part = tail(daemon, "tail openclaw");
        assert_eq!(part.state, state, "{part:?}");
        assert!(part.detail.contains(why), "{}", part.detail);
        until(daemon, "s-1", |s| s.complete && !waits(s));
    };
    let gateway = Gateway::new();
    gateway.asks("a", Some("agent:main:tui"), None, now() + HALF_AN_HOUR);
    let newer = "UPDATE schema_meta SET schema_version = 19 WHERE meta_key = 'primary'";
    gateway.state.execute_batch(newer).unwrap();
    let daemon = gateway.claw.daemon();
    tail(&daemon, Health::Degraded, "openclaw.sqlite: schema 19 is newer");
    let known = "UPDATE schema_meta SET schema_version = 18 WHERE meta_key = 'primary'";
    gateway.state.execute_batch(known).unwrap();
    until(&daemon, "s-1", waits);
    // What is asked for may be anything; that somebody is asked stands.
    let huge = RM.replace("build", &"x".repeat(70_000));
    let plugin = r#"{"kind":"plugin","title":"Deploy it?","toolName":"deploy"}"#;
    for (presentation, detail) in
        [("{", "exec"), (plugin, "deploy: Deploy it?"), (&huge, "exec"), (RM, "exec: rm -rf build")]
    {
        let sql = "UPDATE operator_approvals SET presentation_json = ?1";
        gateway.state.execute(sql, [presentation]).unwrap();
        until(&daemon, "s-1", |s| waits(s) && s.waiting_detail.as_deref() == Some(detail));
    }
    daemon.stop();
    // An older release that asks in another way, no database, and one that is none.
    gateway.state.execute_batch("ALTER TABLE operator_approvals RENAME TO approvals").unwrap();
    let daemon = gateway.claw.daemon();
    tail(&daemon, Health::Ok, "1 sessions followed");
    daemon.stop();
    let folder = gateway.claw.home.path().join(".openclaw/state");
    drop(gateway.state);
    fs::remove_dir_all(&folder).unwrap();
    let daemon = gateway.claw.daemon();
    tail(&daemon, Health::Ok, "1 sessions followed");
    daemon.stop();
    fs::create_dir_all(&folder).unwrap();
    fs::write(
        folder.join("openclaw.sqlite"),
        "no database, but long enough to look like it".repeat(99),
    )
    .unwrap();
    let daemon = gateway.claw.daemon();
    tail(&daemon, Health::Degraded, "not a database");
    let sessions = daemon.list(&all()).sessions;
    assert!(sessions.iter().all(|session| session.harness == Harness::OpenClaw));
    daemon.stop();
}
