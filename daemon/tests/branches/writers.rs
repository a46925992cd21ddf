//! Where entries are written: a file, or a database's rows, in as few columns as matter.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use rrd_proto::Harness;
use rusqlite::{Connection, params};

pub(crate) const ID: &str = "5cc10d23-fbbf-415a-9fb6-99d1571a1fb3";

/// One session's entries.
pub(crate) trait Writer {
    fn harness(&self) -> Harness;

    /// A whole entry.
    fn write(&self, line: &str);

    /// Any bytes at the end of a file.
    fn write_bytes(&self, bytes: &[u8]);
}

fn header(version: u32) -> String {
    format!(
        r#"{{"type":"session","version":{version},"id":"{ID}","timestamp":"2026-11-20T10:00:00.000Z","cwd":"/w"}}"#
    )
}

pub(crate) struct File {
    harness: Harness,
    path: PathBuf,
}

impl File {
    pub(crate) fn new(harness: Harness, folder: &Path, before: &str) -> Self {
        fs::create_dir_all(folder).unwrap();
        let path = folder.join(format!("{before}{ID}.jsonl"));
        let file = Self { harness, path };
        file.write(&header(3));
        file
    }
}

impl Writer for File {
    fn harness(&self) -> Harness {
        self.harness.clone()
    }

    fn write(&self, line: &str) {
        self.write_bytes(format!("{line}\n").as_bytes());
    }

    fn write_bytes(&self, bytes: &[u8]) {
        let mut file = fs::OpenOptions::new().create(true).append(true).open(&self.path).unwrap();
        file.write_all(bytes).unwrap();
    }
}

pub(crate) struct Claw {
    db: Connection,
}

impl Claw {
    pub(crate) fn new(folder: &Path) -> Self {
        fs::create_dir_all(folder).unwrap();
        let db = Connection::open(folder.join("openclaw-agent.sqlite")).unwrap();
        db.execute_batch(
            "PRAGMA journal_mode = wal;
             CREATE TABLE schema_meta (meta_key TEXT, role TEXT, schema_version INTEGER);
             INSERT INTO schema_meta VALUES ('primary', 'agent', 23);
             CREATE TABLE session_nodes (session_key TEXT PRIMARY KEY, current_session_id TEXT,
                 status TEXT, created_via TEXT, parent_session_key TEXT, spawned_by TEXT,
                 fork_source_session_id TEXT, label TEXT, display_name TEXT, archived_at INTEGER);
             CREATE TABLE session_windows (session_id TEXT PRIMARY KEY, session_key TEXT,
                 created_at INTEGER, updated_at INTEGER, previous_session_id TEXT, reason TEXT,
                 model TEXT, display_name TEXT, parent_session_key TEXT, spawned_by TEXT, status TEXT,
                 started_at INTEGER, ended_at INTEGER);
             CREATE TABLE transcript_events (session_id TEXT, seq INTEGER, event_json TEXT,
                 event_zstd BLOB, created_at INTEGER, PRIMARY KEY (session_id, seq));
             CREATE TABLE transcript_rewrite_watermarks (session_id TEXT PRIMARY KEY, generation TEXT);
             CREATE TABLE session_transcript_cold_archives (session_id TEXT PRIMARY KEY,
                 archive_name TEXT, storage TEXT, archive_blob BLOB);",
        )
        .unwrap();
        let node = "INSERT INTO session_nodes (session_key, current_session_id) VALUES ('k', ?1)";
        db.execute(node, [ID]).unwrap();
        let window = "INSERT INTO session_windows (session_id, session_key, created_at, updated_at) \
                      VALUES (?1, 'k', 1795168800000, 1795168800000)";
        db.execute(window, [ID]).unwrap();
        db.execute("INSERT INTO transcript_rewrite_watermarks VALUES (?1, 'g')", [ID]).unwrap();
        let claw = Self { db };
        claw.write(&header(4));
        claw
    }
}

impl Writer for Claw {
    fn harness(&self) -> Harness {
        Harness::OpenClaw
    }

    fn write(&self, line: &str) {
        let sql = "INSERT INTO transcript_events (session_id, seq, event_json, created_at) \
                   SELECT ?1, count(*), ?2, 1795168800000 + count(*) FROM transcript_events";
        self.db.execute(sql, params![ID, line]).unwrap();
    }

    fn write_bytes(&self, _: &[u8]) {
        unreachable!("rows are never torn");
    }
}
