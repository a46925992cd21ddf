//! `search.db`: the words of all that was said, and how far each session has been taken.
//!
//! All of it can be made anew from the index at any time: whatever is odd about it, it is deleted. What was
//! taken of a session is written together with how far that is, so that nothing is missing and nothing is
//! there twice. Not here: what is taken ([`super::gather`]), and questions ([`super::find`]).

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use rrd_core::search::{Place, session_word};
use rrd_proto::{Harness, SessionKey};
use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, params};

use crate::store::{Life, owner_only};

/// Raised when what is taken of events, or how, changes: a file of another number is made anew.
const FORMAT: i64 = 1;

/// `RRDs`.
const APPLICATION_ID: i64 = 0x5252_4473;

/// Bytes of words that FTS5 collects before it writes them: as many as are taken at once.
const COLLECTED: i64 = 32 << 20;

/// Rows that one transaction takes out.
const TAKEN_OUT_AT_ONCE: usize = 20_000;

/// Upper and lower case and accents are the same.
pub(super) const TOKENIZER: &str = "unicode61 remove_diacritics 2";

/// A row to be.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) place: Place,
    pub(super) session: i64,
    pub(super) seq: u64,
    pub(super) text: String,
}

/// How far a session has been taken.
#[derive(Debug, Clone, Copy)]
pub(super) struct Taken {
    /// What its rows call it.
    pub(super) number: i64,
    pub(super) life: i64,
    pub(super) bodied: bool,
    /// The seq of the next event.
    pub(super) next: u64,
}

/// The connection that writes.
#[derive(Debug)]
pub(super) struct Rows {
    db: Connection,
}

pub(super) fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("search.db")
}

/// Takes the file away, with its companions.
pub(super) fn delete(state_dir: &Path) {
    let path = path(state_dir);
    for suffix in ["-wal", "-shm", ""] {
        let path = PathBuf::from(format!("{}{suffix}", path.display()));
        let _ = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
    }
}

/// Opens it to be read; `None` where there is none of this format.
pub(super) fn open_to_read(state_dir: &Path) -> Option<Connection> {
    let path = path(state_dir);
    if !path.is_file() {
        return None;
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags).ok()?;
    db.busy_timeout(Duration::from_millis(250)).ok()?;
    db.pragma_update(None, "trusted_schema", false).ok()?;
    db.pragma_update(None, "cache_size", -8192).ok()?;
    is_current(&db).then_some(db)
}

fn is_current(db: &Connection) -> bool {
    db.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0)) == Ok(FORMAT)
}

impl Rows {
    /// Opens it, or begins it anew.
    pub(super) fn open(state_dir: &Path) -> rusqlite::Result<Self> {
        let opened = open(&path(state_dir));
        if let Ok(Some(db)) = opened {
            return Ok(Self { db });
        }
        delete(state_dir);
        match open(&path(state_dir))? {
            Some(db) => Ok(Self { db }),
            None => Err(rusqlite::Error::InvalidQuery),
        }
    }

    /// How far each session has been taken.
    pub(super) fn taken(&self) -> rusqlite::Result<HashMap<SessionKey, Taken>> {
        let mut sessions =
            self.db.prepare("SELECT harness, session_id, id, life, bodied, next FROM sessions")?;
        let rows = sessions.query_map([], |row| {
            let taken = Taken {
                number: row.get(2)?,
                life: row.get(3)?,
                bodied: row.get(4)?,
                next: row.get::<_, i64>(5)?.cast_unsigned(),
            };
            Ok((key(row)?, taken))
        })?;
        rows.collect()
    }

    /// How many rows there are.
    pub(super) fn count(&self) -> rusqlite::Result<u64> {
        let sql = "SELECT coalesce(sum(rows), 0) FROM sessions";
        self.db.query_row(sql, [], |row| row.get::<_, i64>(0)).map(i64::cast_unsigned)
    }

    /// Begins a session (anew): what there was of it is no longer found.
    pub(super) fn begin(&mut self, life: &Life) -> rusqlite::Result<Taken> {
        let transaction = self.db.transaction()?;
        retire(&transaction, &life.key)?;
        let number = transaction
            .prepare_cached(
                "INSERT INTO sessions (harness, session_id, life, bodied) VALUES (?1, ?2, ?3, ?4)",
            )?
            .insert(params![
                life.key.harness.as_str(),
                life.key.session_id,
                life.life,
                life.bodied
            ])?;
        transaction.commit()?;
        Ok(Taken { number, life: life.life, bodied: life.bodied, next: 0 })
    }

    /// Nothing of these sessions is found any more; their rows go with the next [`Self::take_out`]. Where
    /// nothing of them may be left, they go with the next [`Self::scrub`].
    pub(super) fn retire(&mut self, keys: &[SessionKey], scrub: bool) -> rusqlite::Result<()> {
        let transaction = self.db.transaction()?;
        keys.iter().try_for_each(|key| retire(&transaction, key))?;
        if scrub {
            transaction.execute("INSERT OR IGNORE INTO to_scrub (one) VALUES (1)", [])?;
        }
        transaction.commit()
    }

    /// Adds rows, and how far their sessions have thereby been taken: all of it or nothing.
    pub(super) fn add(
        &mut self,
        mut rows: Vec<Row>,
        next: &HashMap<i64, u64>,
    ) -> rusqlite::Result<()> {
        // FTS5 writes what it has collected whenever a row comes before the last one.
        rows.sort_by_key(|row| row.place.number());
        let transaction = self.db.transaction()?;
        {
            let mut is_there = transaction.prepare_cached("SELECT 1 FROM said WHERE rowid = ?1")?;
            let mut insert = transaction.prepare_cached(
                "INSERT INTO said (rowid, words, session, seq) VALUES (?1, ?2, ?3, ?4)",
            )?;
            let mut counts: HashMap<i64, i64> = HashMap::new();
            let mut last = -1;
            for row in rows {
                let mut place = row.place;
                while place.number() <= last || is_there.exists([place.number()])? {
                    let next = place.next();
                    // Round once: then it comes before the last, which only costs time.
                    if next.number() < place.number() {
                        last = -1;
                    }
                    place = next;
                }
                last = place.number();
                let words = format!("{} {}", row.text, session_word(row.session));
                insert.execute(params![last, words, row.session, row.seq.cast_signed()])?;
                *counts.entry(row.session).or_default() += 1;
            }
            let mut far = transaction
                .prepare_cached("UPDATE sessions SET next = ?2, rows = rows + ?3 WHERE id = ?1")?;
            for (session, next) in next {
                let count = counts.get(session).copied().unwrap_or(0);
                far.execute(params![session, next.cast_signed(), count])?;
            }
        }
        transaction.commit()
    }

    /// Takes out rows of sessions that were retired; true while there are more.
    pub(super) fn take_out(&mut self) -> rusqlite::Result<bool> {
        let transaction = self.db.transaction()?;
        let sql = "SELECT id FROM retired LIMIT 1";
        let retired: Option<i64> = transaction.query_row(sql, [], |row| row.get(0)).optional()?;
        let Some(retired) = retired else { return Ok(false) };
        let rows: Vec<i64> = {
            let sql = "SELECT rowid FROM said WHERE said MATCH ?1 LIMIT ?2";
            let mut rows = transaction.prepare(sql)?;
            let word = format!("\"{}\"", session_word(retired));
            let rows = rows.query_map(params![word, TAKEN_OUT_AT_ONCE as i64], |row| row.get(0))?;
            rows.collect::<Result<_, _>>()?
        };
        {
            let mut delete = transaction.prepare("DELETE FROM said WHERE rowid = ?1")?;
            rows.iter().try_for_each(|row| delete.execute([row]).map(drop))?;
        }
        if rows.len() < TAKEN_OUT_AT_ONCE {
            transaction.execute("DELETE FROM retired WHERE id = ?1", [retired])?;
        }
        transaction.commit()?;
        Ok(true)
    }

    /// Leaves nothing in the file of what was taken out, where that was asked for: until its segments are
    /// merged FTS5 only remembers that it is gone. Takes seconds where there is much else.
    pub(super) fn scrub(&mut self) -> rusqlite::Result<()> {
        if !self.db.prepare_cached("SELECT 1 FROM to_scrub")?.exists([])? {
            return Ok(());
        }
        while self.take_out()? {}
        self.db.execute("INSERT INTO said (said) VALUES ('optimize')", [])?;
        self.db.execute_batch("VACUUM; DELETE FROM to_scrub; PRAGMA wal_checkpoint(TRUNCATE)")
    }

    /// Leaves no more in the log than must be, once nothing else is to be done.
    pub(super) fn settle(&self) -> rusqlite::Result<()> {
        self.db.execute_batch("PRAGMA wal_checkpoint(TRUNCATE); PRAGMA shrink_memory")
    }
}

fn retire(db: &Transaction<'_>, key: &SessionKey) -> rusqlite::Result<()> {
    let names = [key.harness.as_str(), &key.session_id];
    let which = "harness = ?1 AND session_id = ?2";
    db.prepare_cached(&format!(
        "INSERT OR IGNORE INTO retired (id) SELECT id FROM sessions WHERE {which} AND rows > 0"
    ))?
    .execute(names)?;
    db.prepare_cached(&format!("DELETE FROM sessions WHERE {which}"))?.execute(names)?;
    Ok(())
}

/// The session in the first two columns.
pub(super) fn key(row: &rusqlite::Row<'_>) -> rusqlite::Result<SessionKey> {
    let harness = Harness::from(row.get_ref(0)?.as_str()?);
    Ok(SessionKey { harness, session_id: row.get(1)? })
}

/// `None` for one of another format.
fn open(path: &Path) -> rusqlite::Result<Option<Connection>> {
    let refused = |error: std::io::Error| rusqlite::Error::ToSqlConversionFailure(Box::new(error));
    owner_only(path).map_err(refused)?;
    let db = Connection::open(path)?;
    db.busy_timeout(Duration::from_secs(5))?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    // A power cut may lose the last transactions, never their order: they are made again.
    db.pragma_update(None, "synchronous", "NORMAL")?;
    db.pragma_update(None, "trusted_schema", false)?;
    db.pragma_update(None, "cache_size", -4096)?;
    let format: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if format == 0 {
        db.execute_batch(&format!(
            "BEGIN;
             CREATE TABLE sessions (
                 id         INTEGER PRIMARY KEY AUTOINCREMENT,  -- never one that rows may still have
                 harness    TEXT NOT NULL,
                 session_id TEXT NOT NULL,
                 life       INTEGER NOT NULL,            -- the index's
                 bodied     INTEGER NOT NULL,            -- the same
                 next       INTEGER NOT NULL DEFAULT 0,  -- seq of the first event that was not taken
                 rows       INTEGER NOT NULL DEFAULT 0,
                 UNIQUE (harness, session_id)
             ) STRICT;
             CREATE TABLE retired (id INTEGER PRIMARY KEY) STRICT;
             CREATE TABLE to_scrub (one INTEGER PRIMARY KEY) STRICT;  -- what went may not be left anywhere
             CREATE VIRTUAL TABLE said USING fts5 (
                 words, session UNINDEXED, seq UNINDEXED, content = '', contentless_delete = 1,
                 contentless_unindexed = 1, tokenize = '{TOKENIZER}');
             INSERT INTO said (said, rank) VALUES ('hashsize', {COLLECTED});
             PRAGMA application_id = {APPLICATION_ID};
             PRAGMA user_version = {FORMAT};
             COMMIT"
        ))?;
    }
    let whole = "SELECT id, harness, session_id, life, bodied, next, rows FROM sessions";
    let is_whole = db.prepare(whole).is_ok()
        && db.prepare("SELECT rowid, session, seq FROM said").is_ok()
        && db.prepare("SELECT id, one FROM retired, to_scrub").is_ok();
    Ok((is_current(&db) && is_whole).then_some(db))
}
