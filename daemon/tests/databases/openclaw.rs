//! OpenClaw's database of an agent: rows as its writer keeps them, in as few columns as matter.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rrd_proto::{Counts, Harness, ParentKind, RootState, Session, SessionKey, Status, TurnResult};
use rusqlite::{Connection, params};
use tempfile::TempDir;

use crate::{all, config, tail, until};
use rrd_daemon::{Daemon, Scan, store::Reader};

const SCHEMA: &str = "
    PRAGMA journal_mode = wal;
    CREATE TABLE schema_meta (meta_key TEXT PRIMARY KEY, role TEXT, schema_version INTEGER);
    INSERT INTO schema_meta VALUES ('primary', 'agent', 23);
    CREATE TABLE session_nodes (
        session_key TEXT PRIMARY KEY, current_session_id TEXT NOT NULL, entry_json TEXT, status TEXT,
        created_via TEXT, parent_session_key TEXT, spawned_by TEXT, fork_source_session_id TEXT,
        label TEXT, display_name TEXT, archived_at INTEGER) STRICT;
    CREATE TABLE session_windows (
        session_id TEXT PRIMARY KEY, session_key TEXT NOT NULL, previous_session_id TEXT, reason TEXT,
        created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL, model TEXT, display_name TEXT,
        parent_session_key TEXT, spawned_by TEXT,
        status TEXT, started_at INTEGER, ended_at INTEGER) STRICT;
    CREATE TABLE transcript_events (
        session_id TEXT NOT NULL, seq INTEGER NOT NULL, event_json TEXT, created_at INTEGER NOT NULL,
        event_zstd BLOB, PRIMARY KEY (session_id, seq)) STRICT;
    CREATE TABLE transcript_rewrite_watermarks (
        session_id TEXT PRIMARY KEY, generation TEXT NOT NULL, updated_at INTEGER NOT NULL) STRICT;
    CREATE TABLE session_transcript_cold_archives (
        session_id TEXT PRIMARY KEY, archive_name TEXT NOT NULL, storage TEXT, archive_blob BLOB) STRICT;
    CREATE TABLE auth_profile_store (store_key TEXT PRIMARY KEY, store_json TEXT NOT NULL) STRICT;
    INSERT INTO auth_profile_store VALUES ('primary', 'not to be read');";

/// 2026-11-20T10:00:00Z.
const EPOCH: i64 = 1_795_168_800_000;

pub(super) struct OpenClaw {
    pub(super) home: TempDir,
    pub(super) db: Connection,
    seq: i64,
}

impl OpenClaw {
    pub(super) fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let agent = home.path().join(".openclaw/agents/main/agent");
        fs::create_dir_all(&agent).unwrap();
        let db = Connection::open(agent.join("openclaw-agent.sqlite")).unwrap();
        db.execute_batch(SCHEMA).unwrap();
        Self { home, db, seq: 0 }
    }

    fn sessions_folder(&self) -> PathBuf {
        let folder = self.home.path().join(".openclaw/agents/main/sessions");
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    pub(super) fn session(&mut self, id: &str, key: &str) {
        let node = "INSERT OR REPLACE INTO session_nodes (session_key, current_session_id) VALUES (?1, ?2)";
        self.db.execute(node, [key, id]).unwrap();
        let window = "INSERT INTO session_windows (session_id, session_key, created_at, updated_at) \
                      VALUES (?1, ?2, ?3, ?3)";
        self.db.execute(window, params![id, key, EPOCH]).unwrap();
        let mark = "INSERT INTO transcript_rewrite_watermarks VALUES (?1, 'g1', ?2)";
        self.db.execute(mark, params![id, EPOCH]).unwrap();
        self.insert(id, &header(id));
    }

    pub(super) fn insert(&mut self, id: &str, event: &str) {
        let sql = "INSERT INTO transcript_events (session_id, seq, event_json, created_at) \
                   VALUES (?1, ?2, ?3, ?4)";
        self.db.execute(sql, params![id, self.seq, event, EPOCH + self.seq]).unwrap();
        self.seq += 1;
    }

    fn insert_packed(&mut self, id: &str, event: &str) {
        let frame = zstd::encode_all(event.as_bytes(), 0).unwrap();
        let sql = "INSERT INTO transcript_events (session_id, seq, event_zstd, created_at) \
                   VALUES (?1, ?2, ?3, ?4)";
        self.db.execute(sql, params![id, self.seq, frame, EPOCH + self.seq]).unwrap();
        self.seq += 1;
    }

    pub(super) fn daemon(&self) -> Daemon {
        Daemon::start(config(self.home.path(), "auto")).unwrap()
    }
}

fn header(id: &str) -> String {
    format!(
        r#"{{"type":"session","version":4,"id":"{id}","timestamp":"2026-11-20T10:00:00.000Z","cwd":"/home/dev/src/demo"}}"#
    )
}

pub(super) fn said(role: &str, text: &str) -> String {
    let stop = if role == "assistant" { r#","stopReason":"stop""# } else { "" };
    format!(
        r#"{{"type":"message","id":"e-{text}","timestamp":"2026-11-20T10:00:01.000Z","message":{{"role":"{role}","content":[{{"type":"text","text":"{text}"}}]{stop}}}}}"#
    )
}

fn has(prompts: u64, messages: u64) -> impl Fn(&Session) -> bool {
    move |s| s.counts == Some(Counts { prompts, messages, tool_calls: 0, errors: 0 })
}

#[test]
fn packed_rows_are_read_like_others() {
    let mut claw = OpenClaw::new();
    claw.session("s-1", "agent:main:main");
    let long = format!("a {}", "long ".repeat(2_000));
    claw.insert_packed("s-1", &said("user", long.trim()));
    let daemon = claw.daemon();
    let session = until(&daemon, "s-1", has(1, 0));
    assert!(session.title.unwrap().starts_with("a long long"));
    assert_eq!(session.cwd.as_deref(), Some("/home/dev/src/demo"));
    assert_eq!((session.parent_kind, session.parent_session_id), (None, None));
    assert_eq!(session.started_at.map(|at| at.as_millis()), Some(EPOCH));
    claw.insert_packed("s-1", &said("assistant", "done"));
    until(&daemon, "s-1", has(1, 1));
    // What is no frame is an issue of its session, nothing more.
    let broken = "INSERT INTO transcript_events (session_id, seq, event_zstd, created_at) \
                  VALUES ('s-1', 99, x'0badf00d', 1)";
    claw.db.execute(broken, []).unwrap();
    until(&daemon, "s-1", |s| !s.issues.is_empty() && has(1, 1)(s));
    daemon.stop();
}

#[test]
fn a_rewritten_history_is_read_anew() {
    let mut claw = OpenClaw::new();
    claw.session("s-1", "agent:main:main");
    claw.insert("s-1", &said("user", "one"));
    claw.insert("s-1", &said("user", "two"));
    let daemon = claw.daemon();
    until(&daemon, "s-1", has(2, 0));
    // The same numbers, other events: only the watermark tells.
    let other = said("assistant", "three");
    let update = "UPDATE transcript_events SET event_json = ?1 WHERE seq = 2";
    let transaction = claw.db.transaction().unwrap();
    transaction.execute(update, [other]).unwrap();
    transaction
        .execute_batch("UPDATE transcript_rewrite_watermarks SET generation = 'g2'")
        .unwrap();
    transaction.commit().unwrap();
    until(&daemon, "s-1", has(1, 1));
    daemon.stop();
}

#[test]
fn the_database_wins_over_what_is_left_in_files() {
    let mut claw = OpenClaw::new();
    let (both, file) =
        ("11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222");
    let folder = claw.sessions_folder();
    let write = |id: &str, prompts: usize| {
        let lines = (0..prompts).map(|n| said("user", &format!("old {n}")));
        let old = header(id).replace("\"version\":4", "\"version\":3");
        let text = std::iter::once(old).chain(lines).collect::<Vec<_>>().join("\n");
        fs::write(folder.join(format!("{id}.jsonl")), text + "\n").unwrap();
    };
    write(both, 3);
    write(file, 2);
    let daemon = claw.daemon();
    until(&daemon, both, has(3, 0));
    // An upgrade brings it into the database while it is followed.
    claw.session(both, "agent:main:main");
    claw.insert(both, &said("user", "new"));
    until(&daemon, both, has(1, 0));
    write(both, 4);
    until(&daemon, file, has(2, 0));
    daemon.flush();
    daemon.stop();
    let daemon = claw.daemon();
    let listed = daemon.list(&all()).sessions;
    let mut ids: Vec<_> = listed.iter().map(|s| (s.session_id.as_str(), s.counts)).collect();
    ids.sort_by_key(|(id, _)| *id);
    let counts = |prompts| Some(Counts { prompts, ..Counts::default() });
    assert_eq!(ids, [(both, counts(1)), (file, counts(2))]);
    let session = listed.iter().find(|s| s.session_id == both).unwrap();
    assert!(session.transcript_path.as_deref().unwrap().ends_with("openclaw-agent.sqlite"));
    daemon.stop();
}

#[test]
fn records_moved_out_are_found() {
    let claw = OpenClaw::new();
    let lines = |id: &str| {
        let row = |n: usize, event: String| {
            let event = serde_json::to_string(&event).unwrap();
            format!(r#"{{"kind":"event","row":{{"seq":{n},"event_json":{event},"created_at":1}}}}"#)
        };
        let first =
            format!(r#"{{"kind":"header","version":1,"sessionId":"{id}","generation":"g"}}"#);
        [first, row(0, header(id)), row(1, said("user", "cold"))].join("\n")
    };
    let frame = |id: &str| zstd::encode_all(lines(id).as_bytes(), 0).unwrap();
    let mut claw = claw;
    for id in ["in-file", "in-row", "elsewhere"] {
        claw.session(id, id);
    }
    claw.db.execute_batch("DELETE FROM transcript_events").unwrap();
    let cold = claw.sessions_folder().join("cold");
    fs::create_dir_all(&cold).unwrap();
    let name = format!("{}.jsonl.zst", "ab".repeat(32));
    fs::write(cold.join(&name), frame("in-file")).unwrap();
    fs::write(claw.home.path().join("outside.zst"), frame("elsewhere")).unwrap();
    let sql = "INSERT INTO session_transcript_cold_archives VALUES (?1, ?2, ?3, ?4)";
    claw.db.execute(sql, params!["in-file", name, "file", None::<Vec<u8>>]).unwrap();
    claw.db.execute(sql, params!["in-row", "x", "sqlite", frame("in-row")]).unwrap();
    let outside = "../../../../../outside.zst";
    claw.db.execute(sql, params!["elsewhere", outside, "file", None::<Vec<u8>>]).unwrap();
    for _ in 0..2 {
        let daemon = claw.daemon();
        for id in ["in-file", "in-row"] {
            assert_eq!(until(&daemon, id, has(1, 0)).title.as_deref(), Some("cold"));
        }
        until(&daemon, "elsewhere", has(0, 0));
        daemon.stop();
    }
}

#[test]
fn what_is_moved_out_while_it_is_followed_still_counts() {
    let mut claw = OpenClaw::new();
    claw.session("s-1", "agent:main:main");
    claw.insert("s-1", &said("user", "one"));
    let daemon = claw.daemon();
    until(&daemon, "s-1", has(1, 0));
    let rows = [header("s-1"), said("user", "one"), said("assistant", "two")].map(|event| {
        let event = serde_json::to_string(&event).unwrap();
        format!(r#"{{"kind":"event","row":{{"seq":1,"event_json":{event},"created_at":1}}}}"#)
    });
    let frame = zstd::encode_all(rows.join("\n").as_bytes(), 0).unwrap();
    let transaction = claw.db.transaction().unwrap();
    transaction.execute_batch("DELETE FROM transcript_events").unwrap();
    let sql = "INSERT INTO session_transcript_cold_archives VALUES ('s-1', 'x', 'sqlite', ?1)";
    transaction.execute(sql, [frame]).unwrap();
    transaction.commit().unwrap();
    until(&daemon, "s-1", has(1, 1));
    daemon.flush();
    daemon.stop();
    let reader = Reader::open(&claw.home.path().join("rrd/state")).unwrap();
    let key = SessionKey { harness: Harness::from("openclaw"), session_id: "s-1".into() };
    let events = reader.events(&key, None, 100).unwrap();
    let texts: Vec<_> = events.iter().map(|event| event.text.as_str()).collect();
    assert_eq!(texts, ["one", "two", "completed"]);
}

#[test]
fn windows_and_keys_become_sessions_with_parents() {
    let mut claw = OpenClaw::new();
    claw.session("main", "agent:main:main");
    claw.insert("main", &said("user", "go"));
    claw.session("child", "agent:main:subagent:1");
    let spawned = "UPDATE session_nodes SET spawned_by = 'agent:main:main', label = 'the audit' \
                   WHERE session_key = 'agent:main:subagent:1'";
    claw.db.execute(spawned, []).unwrap();
    let daemon = claw.daemon();
    let child = until(&daemon, "child", |s| s.title.is_some());
    assert_eq!(child.parent_session_id.as_deref(), Some("main"));
    assert_eq!(
        (child.parent_kind, child.title.as_deref()),
        (Some(ParentKind::Subagent), Some("the audit"))
    );
    // A reset: the key goes on in another window, the first one is over.
    claw.session("next", "agent:main:main");
    let over = until(&daemon, "main", |s| s.status == Status::Ended && s.status_since.is_some());
    assert_eq!(over.harness, Harness::from("openclaw"));
    until(&daemon, "next", has(0, 0));
    daemon.stop();
}

#[test]
fn the_gateway_knows_how_a_run_ended() {
    let mut claw = OpenClaw::new();
    claw.session("s-1", "agent:main:main");
    claw.insert("s-1", &said("user", "one"));
    let daemon = claw.daemon();
    // The last record is of 10:00:01; the row alone changes.
    let says = |word: &str, started: i64, ended: Option<i64>| {
        let sql = "UPDATE session_windows SET status = ?1, started_at = ?2, ended_at = ?3";
        let ended = ended.map(|at| EPOCH + at);
        claw.db.execute(sql, params![word, EPOCH + started, ended]).unwrap();
    };
    says("killed", 500, Some(5_000));
    let killed = |s: &Session| s.turn_result == Some(TurnResult::Interrupted);
    until(&daemon, "s-1", killed);
    says("failed", 500, Some(6_000));
    until(&daemon, "s-1", |s| s.turn_result == Some(TurnResult::Error));
    // Of a run before the prompt: what came of that nobody has said.
    says("killed", -9_000, Some(-1_000));
    until(&daemon, "s-1", |s| s.turn_result.is_none());
    daemon.stop();
}

#[test]
fn what_is_secret_is_never_read() {
    let mut claw = OpenClaw::new();
    claw.session("s-1", "agent:main:main");
    claw.insert("s-1", &said("user", "hi"));
    let daemon = claw.daemon();
    until(&daemon, "s-1", has(1, 0));
    daemon.flush();
    daemon.stop();
    let state = claw.home.path().join("rrd/state");
    for entry in fs::read_dir(&state).unwrap().map(Result::unwrap) {
        let Ok(bytes) = fs::read(entry.path()) else { continue };
        let found = bytes.windows(14).any(|window| window == b"not to be read");
        assert!(!found, "{}", entry.path().display());
    }
    assert!(Path::new(&state).join("index.db").exists());
}

#[test]
fn a_newer_schema_is_said_and_not_read() {
    let mut claw = OpenClaw::new();
    claw.session("s-1", "agent:main:main");
    claw.insert("s-1", &said("user", "hi"));
    claw.db.execute_batch("UPDATE schema_meta SET schema_version = 99").unwrap();
    let daemon = claw.daemon();
    let looked = Scan::new(&config(claw.home.path(), "auto"), &mut |_| {}).list(&all());
    for reply in [daemon.list(&all()), looked] {
        assert!(reply.sessions.is_empty());
        let root = reply.roots.iter().find(|root| root.harness == Harness::OpenClaw).unwrap();
        let RootState::Unreadable(why) = &root.state else { panic!("{root:?}") };
        assert!(why.contains("schema 99 is newer"), "{why}");
    }
    assert!(tail(&daemon, "tail openclaw").detail.contains("schema 99 is newer"));
    claw.db.execute_batch("UPDATE schema_meta SET schema_version = 23").unwrap();
    until(&daemon, "s-1", has(1, 0));
    daemon.stop();
}
