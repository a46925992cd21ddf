//! A Hermes home as its writer keeps it: what undo, retry, compaction and the like do to the tables.
//!
//! The statements are those of the releases rrd was checked against, in as few columns as matter.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, params};

pub(crate) const SCHEMA: &str = "
    CREATE TABLE schema_version (version INTEGER NOT NULL);
    INSERT INTO schema_version VALUES (22);
    CREATE TABLE sessions (
        id TEXT PRIMARY KEY, source TEXT NOT NULL, model TEXT, model_config TEXT, system_prompt TEXT,
        parent_session_id TEXT, started_at REAL NOT NULL, ended_at REAL, end_reason TEXT,
        message_count INTEGER DEFAULT 0, input_tokens INTEGER DEFAULT 0,
        output_tokens INTEGER DEFAULT 0, cache_read_tokens INTEGER DEFAULT 0,
        cache_write_tokens INTEGER DEFAULT 0, cwd TEXT, git_branch TEXT, title TEXT,
        rewind_count INTEGER NOT NULL DEFAULT 0,
        archived INTEGER NOT NULL DEFAULT 0);
    CREATE TABLE messages (
        id INTEGER PRIMARY KEY AUTOINCREMENT, session_id TEXT NOT NULL REFERENCES sessions(id),
        role TEXT NOT NULL, content TEXT, tool_call_id TEXT, tool_calls TEXT, tool_name TEXT,
        timestamp REAL NOT NULL, finish_reason TEXT, observed INTEGER DEFAULT 0,
        active INTEGER NOT NULL DEFAULT 1, compacted INTEGER NOT NULL DEFAULT 0);
    CREATE INDEX idx_messages_session_active ON messages(session_id, active, timestamp);";

/// 2026-11-20T10:00:00Z; messages are a second apart.
const EPOCH: f64 = 1_795_168_800.0;

/// A `state.db` and the one who writes it.
pub(crate) struct Hermes {
    pub(crate) path: PathBuf,
    pub(crate) db: Connection,
    clock: u32,
}

impl Hermes {
    pub(crate) fn new(home: &Path) -> Self {
        std::fs::create_dir_all(home).unwrap();
        let path = home.join("state.db");
        let db = open(&path);
        db.execute_batch(SCHEMA).unwrap();
        Self { path, db, clock: 0 }
    }

    /// Another one with all that is in this one.
    pub(crate) fn clone_into(&self, relative: &str) -> Self {
        let home = self.path.parent().unwrap().join(relative);
        std::fs::create_dir_all(&home).unwrap();
        let path = home.join("state.db");
        self.db.execute("VACUUM INTO ?1", [path.to_str().unwrap()]).unwrap();
        Self { db: open(&path), path, clock: self.clock }
    }

    /// What is written from here on is later than anything in the other one.
    pub(crate) fn clock(&mut self, other: &Self) {
        self.clock = self.clock.max(other.clock) + 1;
    }

    fn tick(&mut self) -> f64 {
        self.clock += 1;
        EPOCH + f64::from(self.clock)
    }

    pub(crate) fn session(&mut self, id: &str) {
        let at = self.tick();
        let sql = "INSERT OR IGNORE INTO sessions (id, source, model, started_at, cwd) \
                   VALUES (?1, 'cli', 'm', ?2, '/home/dev/src/demo')";
        self.db.execute(sql, params![id, at]).unwrap();
    }

    pub(crate) fn say(&mut self, id: &str, role: &str, content: &str) {
        let at = self.tick();
        let finish = (role == "assistant").then_some("stop");
        let sql = "INSERT INTO messages (session_id, role, content, timestamp, finish_reason) \
                   VALUES (?1, ?2, ?3, ?4, ?5)";
        self.db.execute(sql, params![id, role, content, at, finish]).unwrap();
    }

    /// A turn with a tool that fails or not.
    pub(crate) fn turn(&mut self, id: &str, fails: bool) {
        let n = self.clock;
        self.say(id, "user", &format!("prompt {n}"));
        let at = self.tick();
        let calls = format!(
            r#"[{{"id":"call_{n}","function":{{"name":"terminal","arguments":"{{\"command\": \"make {n}\"}}"}}}}]"#
        );
        let sql = "INSERT INTO messages (session_id, role, content, tool_calls, timestamp, finish_reason) \
                   VALUES (?1, 'assistant', '', ?2, ?3, 'tool_calls')";
        self.db.execute(sql, params![id, calls, at]).unwrap();
        let answer =
            format!(r#"{{"output": "", "exit_code": {}, "error": null}}"#, i32::from(fails));
        let at = self.tick();
        let sql = "INSERT INTO messages (session_id, role, content, tool_call_id, tool_name, timestamp) \
                   VALUES (?1, 'tool', ?2, ?3, 'terminal', ?4)";
        self.db.execute(sql, params![id, answer, format!("call_{n}"), at]).unwrap();
        self.say(id, "assistant", &format!("answer {n}"));
    }

    /// The newest messages are taken back, from the last prompt on.
    pub(crate) fn undo(&mut self, id: &str) {
        let last =
            "SELECT max(id) FROM messages WHERE session_id = ?1 AND role = 'user' AND active = 1";
        let at: Option<i64> = self.db.query_row(last, [id], |row| row.get(0)).unwrap();
        let sql =
            "UPDATE messages SET active = 0 WHERE session_id = ?1 AND id >= ?2 AND active = 1";
        self.db.execute(sql, params![id, at]).unwrap();
        let sql = "UPDATE sessions SET rewind_count = rewind_count + 1 WHERE id = ?1";
        self.db.execute(sql, [id]).unwrap();
    }

    /// Everything that stands is deleted and put back, the last message excepted.
    pub(crate) fn retry(&mut self, id: &str) {
        let transaction = self.db.transaction().unwrap();
        transaction
            .execute_batch("CREATE TEMP TABLE kept AS SELECT * FROM messages WHERE 0;")
            .unwrap();
        let keep = "INSERT INTO kept SELECT * FROM messages WHERE session_id = ?1 AND active = 1 \
                    AND id < (SELECT max(id) FROM messages WHERE session_id = ?1 AND active = 1)";
        transaction.execute(keep, [id]).unwrap();
        let delete = "DELETE FROM messages WHERE session_id = ?1 AND active = 1";
        transaction.execute(delete, [id]).unwrap();
        transaction.execute_batch(PUT_BACK).unwrap();
        transaction.execute_batch("DROP TABLE kept").unwrap();
        transaction.commit().unwrap();
    }

    /// What stands is summed up; the last two messages are copied behind the summary.
    pub(crate) fn compact(&mut self, id: &str) {
        let at = self.tick();
        let transaction = self.db.transaction().unwrap();
        transaction
            .execute_batch("CREATE TEMP TABLE kept AS SELECT * FROM messages WHERE 0;")
            .unwrap();
        let keep = "INSERT INTO kept SELECT * FROM messages WHERE session_id = ?1 AND active = 1 \
                    ORDER BY id DESC LIMIT 2";
        transaction.execute(keep, [id]).unwrap();
        let fold =
            "UPDATE messages SET active = 0, compacted = 1 WHERE session_id = ?1 AND active = 1";
        transaction.execute(fold, [id]).unwrap();
        let summary = "INSERT INTO messages (session_id, role, content, timestamp) \
                       VALUES (?1, 'user', '[CONTEXT COMPACTION — REFERENCE ONLY] so far', ?2)";
        transaction.execute(summary, params![id, at]).unwrap();
        transaction.execute_batch(PUT_BACK).unwrap();
        transaction.execute_batch("DROP TABLE kept").unwrap();
        transaction.commit().unwrap();
    }

    pub(crate) fn delete(&mut self, id: &str) {
        self.db.execute("DELETE FROM messages WHERE session_id = ?1", [id]).unwrap();
        self.db.execute("DELETE FROM sessions WHERE id = ?1", [id]).unwrap();
    }

    pub(crate) fn vacuum(&mut self) {
        self.db.execute_batch("VACUUM").unwrap();
    }

    pub(crate) fn checkpoint(&mut self) {
        self.db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    }

    /// The file is replaced by a copy of itself, without what was said last in `id`.
    pub(crate) fn swap(&mut self, id: &str) {
        self.checkpoint();
        let copy = self.path.with_extension("copy");
        let _ = std::fs::remove_file(&copy);
        self.db.execute("VACUUM INTO ?1", [copy.to_str().unwrap()]).unwrap();
        self.db = Connection::open_in_memory().unwrap();
        for suffix in ["-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{suffix}", self.path.display()));
        }
        std::fs::rename(&copy, &self.path).unwrap();
        self.db = open(&self.path);
        let last =
            "DELETE FROM messages WHERE id = (SELECT max(id) FROM messages WHERE session_id = ?1)";
        self.db.execute(last, [id]).unwrap();
    }
}

const PUT_BACK: &str = "
    INSERT INTO messages (session_id, role, content, tool_call_id, tool_calls, tool_name, timestamp,
                          finish_reason, observed)
    SELECT session_id, role, content, tool_call_id, tool_calls, tool_name, timestamp, finish_reason,
           observed
    FROM kept ORDER BY id;";

fn open(path: &Path) -> Connection {
    let db = Connection::open(path).unwrap();
    // A reader that made this writer wait would be noticed.
    db.busy_timeout(std::time::Duration::from_secs(1)).unwrap();
    db.pragma_update(None, "journal_mode", "wal").unwrap();
    db
}
