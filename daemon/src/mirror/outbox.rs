//! `mirror.db`: what goes into buckets, what is there already, and where to read on.
//!
//! A part's final bytes are on the disk ([`super::body`]), and then its number and name in one transaction with
//! the place in the source after them, before anything of it is sent; they go when the bucket has acknowledged it.
//! So a lost reply, a crash or another redactor never makes a second part of the same records. What cannot be found
//! out again is on the disk when its write returns; that something has arrived is found out by sending it
//! once more, so that may be lost with the machine's power. Not here: buckets, sources.

mod since;
mod state;
mod stops;

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
};

use rrd_core::mirror::{Claim, PartName, StreamName, meta};
use rrd_proto::{Harness, SessionKey, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::Serialize;

pub(crate) use self::{
    state::{Beside, End, Rules, State, Went},
    stops::{EVERYWHERE, Stop},
};
use super::body::{Bodies, Body, has};
use crate::store::durable;
pub(crate) use crate::store::durable::DurableError as OutboxError;

/// `RRDm`.
const APPLICATION_ID: i64 = 0x5252_446d;

/// Each entry takes the schema from its index to the next number. The list only ever grows.
const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE targets (
        id       INTEGER PRIMARY KEY,
        url      TEXT NOT NULL UNIQUE,
        settings TEXT NOT NULL,       -- JSON
        since    INTEGER NOT NULL     -- milliseconds since the epoch
    ) STRICT;
    CREATE TABLE streams (
        id         INTEGER PRIMARY KEY,
        target     INTEGER NOT NULL REFERENCES targets (id) ON DELETE CASCADE,
        directory  TEXT NOT NULL,     -- beneath the project
        harness    TEXT NOT NULL,
        session_id TEXT NOT NULL,     -- whose transcript it is
        state      TEXT NOT NULL,     -- JSON
        UNIQUE (target, directory)
    ) STRICT;
    CREATE TABLE epochs (
        stream INTEGER NOT NULL REFERENCES streams (id) ON DELETE CASCADE,
        epoch  INTEGER NOT NULL,
        claim  TEXT NOT NULL,         -- JSON
        sent   INTEGER NOT NULL,      -- 1: the bucket has it
        PRIMARY KEY (stream, epoch)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE parts (
        id      INTEGER PRIMARY KEY,
        stream  INTEGER NOT NULL REFERENCES streams (id) ON DELETE CASCADE,
        seq     INTEGER NOT NULL,
        name    TEXT NOT NULL,
        epoch   INTEGER NOT NULL,
        hashes  BLOB NOT NULL,        -- eight bytes for each record as the source has it
        about   TEXT NOT NULL,        -- JSON: its entry in meta.json
        sent    INTEGER NOT NULL,     -- 1: the bucket has it
        UNIQUE (stream, seq, name)
    ) STRICT;
    CREATE INDEX pending ON parts (stream, seq) WHERE sent = 0;
    CREATE TABLE bodies (             -- of parts that the bucket has not acknowledged
        part INTEGER PRIMARY KEY REFERENCES parts (id) ON DELETE CASCADE,
        size INTEGER NOT NULL,
        file TEXT NOT NULL
    ) STRICT;
    CREATE TABLE merges (
        stream INTEGER NOT NULL REFERENCES streams (id) ON DELETE CASCADE,
        name   TEXT NOT NULL,
        of     TEXT NOT NULL,         -- JSON: the names of the parts that it was made of
        at     INTEGER,               -- when it took their place, in milliseconds since the epoch
        PRIMARY KEY (stream, name)
    ) STRICT, WITHOUT ROWID;
",
    stops::TABLE,
    since::TABLE,
];

/// The row of a target.
pub(crate) type TargetId = i64;
/// The row of a stream.
pub(crate) type StreamId = i64;

/// A stream.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Stream {
    pub(crate) id: StreamId,
    pub(crate) name: StreamName,
    /// Whose transcript it is.
    pub(crate) key: SessionKey,
    pub(crate) state: State,
}

/// A part that is to be sent, or was.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Part {
    pub(crate) name: PartName,
    pub(crate) about: meta::Part,
    /// Of its records as the source has them.
    pub(crate) hashes: Vec<u64>,
}

/// What the bucket has of a stream.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Total {
    pub(crate) parts: u64,
    pub(crate) bytes: u64,
    pub(crate) records: u64,
    /// When it took the last one.
    pub(crate) last: Option<Timestamp>,
    /// Some of them are as the source had them.
    pub(crate) is_raw: bool,
    /// Secrets that were replaced, by rule.
    pub(crate) redactions: BTreeMap<String, u64>,
}

/// A part made of several that are still there.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Merge {
    pub(crate) name: PartName,
    pub(crate) of: Vec<PartName>,
    /// When it took their place; nothing while it is being written, or is to be written again.
    pub(crate) at: Option<Timestamp>,
}

/// A claim that begins with what is committed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Epoch {
    pub(crate) epoch: u32,
    pub(crate) claim: Claim,
    pub(crate) is_sent: bool,
}

/// The database. Its calls block on the disk.
#[derive(Debug)]
pub(crate) struct Outbox {
    db: Connection,
    path: PathBuf,
    bodies: Bodies,
}

type Result<T, E = OutboxError> = std::result::Result<T, E>;

impl Outbox {
    /// Where it is.
    pub(crate) fn path(state_dir: &Path) -> PathBuf {
        state_dir.join("mirror.db")
    }

    /// Opens it; makes it when it is not there.
    pub(crate) fn open(state_dir: &Path) -> Result<Self> {
        let path = Self::path(state_dir);
        let db = durable::open(&path, APPLICATION_ID, MIGRATIONS)?;
        let bodies = Bodies::open(state_dir)
            .map_err(|source| OutboxError::Io { path: path.clone(), source })?;
        let outbox = Self { db, path, bodies };
        let files = outbox.rows("SELECT file FROM bodies", [], |row| row.get(0))?;
        // Written by a process that ended before it could say so.
        outbox.bodies.retain(&files.into_iter().collect()).map_err(|error| outbox.io(error))?;
        Ok(outbox)
    }

    /// Where the bytes of its parts are.
    pub(crate) fn bodies(&self) -> Bodies {
        self.bodies.clone()
    }

    /// A file beside it.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.path.with_file_name(name)
    }

    /// Nothing more is known of these streams, and of these sessions of a target; what the bucket has of them
    /// stays there.
    pub(crate) fn drop_streams(
        &mut self,
        streams: &[StreamId],
        target: TargetId,
        behind: &[SessionKey],
    ) -> Result<()> {
        self.durable(true)?;
        let mut files = Vec::new();
        for stream in streams {
            files.extend(self.files("streams.id", *stream)?);
        }
        let mut all = || -> rusqlite::Result<()> {
            // Whatever is deleted is to be gone from the file.
            self.db.pragma_update(None, "secure_delete", true)?;
            let transaction = self.db.transaction()?;
            for stream in streams {
                transaction.execute("DELETE FROM streams WHERE id = ?1", [stream])?;
            }
            for SessionKey { harness, session_id } in behind {
                let values = params![target, harness.as_str(), session_id];
                transaction.execute(since::DELETE, values)?;
            }
            transaction.commit()?;
            self.db.pragma_update(None, "secure_delete", false)?;
            self.db.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")
        };
        all().map_err(|source| OutboxError::Sqlite { path: self.path.clone(), source })?;
        self.bodies.remove(&files).map_err(|error| self.io(error))
    }

    /// Whether what is written next is to be on the disk when that returns.
    fn durable(&self, is: bool) -> Result<()> {
        let done = self.db.pragma_update(None, "synchronous", if is { "FULL" } else { "NORMAL" });
        done.map_err(|error| self.sqlite(error))
    }

    fn io(&self, source: std::io::Error) -> OutboxError {
        OutboxError::Io { path: self.path.with_file_name("mirror-parts"), source }
    }

    /// The files of parts that are to be sent, of streams for which this holds.
    fn files(&self, of: &str, id: i64) -> Result<Vec<String>> {
        let sql = format!(
            "SELECT file FROM bodies JOIN parts ON part = parts.id \
             JOIN streams ON stream = streams.id WHERE {of} = ?1"
        );
        self.rows(&sql, [id], |row| row.get(0))
    }

    fn sqlite(&self, source: rusqlite::Error) -> OutboxError {
        OutboxError::Sqlite { path: self.path.clone(), source }
    }

    fn in_json<T: serde::de::DeserializeOwned>(&self, what: &str, text: &str) -> Result<T> {
        serde_json::from_str(text).map_err(|error| OutboxError::Damaged {
            path: self.path.clone(),
            what: format!("{what}: {error}"),
        })
    }

    fn rows<T>(
        &self,
        sql: &str,
        values: impl rusqlite::Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>> {
        let all = || -> rusqlite::Result<Vec<T>> {
            self.db.prepare_cached(sql)?.query_map(values, read)?.collect()
        };
        all().map_err(|error| self.sqlite(error))
    }

    /// The places that are mirrored to: their rows, addresses, settings as JSON, and since when.
    pub(crate) fn targets<T: serde::de::DeserializeOwned>(
        &self,
    ) -> Result<Vec<(TargetId, String, T, Timestamp)>> {
        let sql = "SELECT id, url, settings, since FROM targets ORDER BY id";
        let rows = self.rows(sql, [], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get::<_, String>(2)?, row.get(3)?))
        })?;
        let target = |(id, url, settings, since): (_, _, String, _)| {
            Ok((id, url, self.in_json("a target", &settings)?, Timestamp::from_millis(since)))
        };
        rows.into_iter().map(target).collect()
    }

    /// Another one, or another way to get there.
    pub(crate) fn set_target(
        &self,
        url: &str,
        settings: &impl Serialize,
        now: Timestamp,
    ) -> Result<TargetId> {
        self.durable(true)?;
        let settings = serde_json::to_string(settings).unwrap_or_default();
        let sql = "INSERT INTO targets (url, settings, since) VALUES (?1, ?2, ?3) \
                   ON CONFLICT (url) DO UPDATE SET settings = ?2 RETURNING id";
        let values = params![url, settings, now.as_millis()];
        self.db.query_row(sql, values, |row| row.get(0)).map_err(|error| self.sqlite(error))
    }

    /// Not any more; what is in the bucket stays there. False where it was not.
    pub(crate) fn drop_target(&self, url: &str) -> Result<bool> {
        self.durable(true)?;
        let mut files = Vec::new();
        for id in self.rows("SELECT id FROM targets WHERE url = ?1", [url], |row| row.get(0))? {
            files.extend(self.files("target", id)?);
        }
        let gone = self.db.execute("DELETE FROM targets WHERE url = ?1", [url]);
        let gone = gone.map_err(|error| self.sqlite(error))?;
        self.bodies.remove(&files).map_err(|error| self.io(error))?;
        Ok(gone > 0)
    }

    /// Every stream of a target.
    pub(crate) fn streams(&self, target: TargetId) -> Result<Vec<Stream>> {
        let sql = "SELECT id, directory, harness, session_id, state FROM streams WHERE target = ?1";
        let rows = self.rows(sql, [target], |row| {
            let text = |at| row.get::<_, String>(at);
            Ok((row.get(0)?, text(1)?, text(2)?, text(3)?, text(4)?))
        })?;
        let stream =
            |(id, directory, harness, session_id, state): (_, String, String, _, String)| {
                let name =
                    StreamName::of_directory(&directory).ok_or_else(|| OutboxError::Damaged {
                        path: self.path.clone(),
                        what: format!("{directory} is no stream's"),
                    })?;
                let key = SessionKey { harness: Harness::from(harness.as_str()), session_id };
                Ok(Stream { id, name, key, state: self.in_json("a stream", &state)? })
            };
        rows.into_iter().map(stream).collect()
    }

    /// One more stream.
    pub(crate) fn add_stream(
        &self,
        target: TargetId,
        name: &StreamName,
        key: &SessionKey,
        state: State,
    ) -> Result<Stream> {
        self.durable(false)?;
        let sql = "INSERT INTO streams (target, directory, harness, session_id, state) \
                   VALUES (?1, ?2, ?3, ?4, ?5) RETURNING id";
        let text = serde_json::to_string(&state).unwrap_or_default();
        let values = params![target, name.directory(), key.harness.as_str(), key.session_id, text];
        let id = self.db.query_row(sql, values, |row| row.get(0));
        let id = id.map_err(|error| self.sqlite(error))?;
        Ok(Stream { id, name: name.clone(), key: key.clone(), state })
    }

    /// Where a stream stands now.
    pub(crate) fn set_state(&self, stream: StreamId, state: &State) -> Result<()> {
        self.durable(false)?;
        let text = serde_json::to_string(state).unwrap_or_default();
        let sql = "UPDATE streams SET state = ?2 WHERE id = ?1";
        let done = self.db.prepare_cached(sql).and_then(|mut s| s.execute(params![stream, text]));
        done.map(drop).map_err(|error| self.sqlite(error))
    }

    /// Where a stream stands.
    pub(crate) fn state(&self, stream: StreamId) -> Result<State> {
        let sql = "SELECT state FROM streams WHERE id = ?1";
        let state = self.db.query_row(sql, [stream], |row| row.get::<_, String>(0));
        self.in_json("a stream", &state.map_err(|error| self.sqlite(error))?)
    }

    /// A part, whose bytes are on the disk, what begins with it, and where the stream stands after it: all or
    /// nothing. False, and nothing, where it does not stand where it did `before`.
    pub(crate) fn commit(
        &mut self,
        stream: StreamId,
        before: &State,
        epoch: Option<&Epoch>,
        parts: &mut [(Part, Body)],
        state: &State,
    ) -> Result<bool> {
        // Only this process writes, and only while it has the outbox locked.
        let there = self.state(stream)?;
        if (there.epoch, there.next_seq, &there.cursor)
            != (before.epoch, before.next_seq, &before.cursor)
        {
            return Ok(false);
        }
        // A claim alone is found in the bucket, if it got there.
        self.durable(!parts.is_empty())?;
        let mut all = || -> rusqlite::Result<()> {
            let transaction = self.db.transaction()?;
            if let Some(Epoch { epoch, claim, is_sent }) = epoch {
                let claim = serde_json::to_string(claim).unwrap_or_default();
                transaction.execute(
                    "INSERT OR REPLACE INTO epochs (stream, epoch, claim, sent) VALUES (?1, ?2, ?3, ?4)",
                    params![stream, epoch, claim, is_sent],
                )?;
            }
            for (part, body) in &*parts {
                insert(&transaction, stream, part, false)?;
                let part = transaction.last_insert_rowid();
                transaction
                    .prepare_cached("INSERT INTO bodies (part, size, file) VALUES (?1, ?2, ?3)")?
                    .execute(params![part, body.size().cast_signed(), body.name()])?;
            }
            let state = serde_json::to_string(state).unwrap_or_default();
            transaction
                .execute("UPDATE streams SET state = ?2 WHERE id = ?1", params![stream, state])?;
            transaction.commit()
        };
        all().map_err(|source| OutboxError::Sqlite { path: self.path.clone(), source })?;
        parts.iter_mut().for_each(|(_, body)| body.keep());
        Ok(true)
    }

    /// What was found in the bucket of a stream takes the place of what was known of it, pending parts
    /// among that.
    pub(crate) fn adopt(
        &mut self,
        stream: StreamId,
        epochs: &[Epoch],
        parts: &[Part],
        merges: &[Merge],
        state: &State,
    ) -> Result<()> {
        self.durable(true)?;
        let files = self.files("streams.id", stream)?;
        let mut all = || -> rusqlite::Result<()> {
            let transaction = self.db.transaction()?;
            transaction.execute("DELETE FROM parts WHERE stream = ?1", [stream])?;
            transaction.execute("DELETE FROM epochs WHERE stream = ?1", [stream])?;
            transaction.execute("DELETE FROM merges WHERE stream = ?1", [stream])?;
            for Epoch { epoch, claim, is_sent } in epochs {
                let claim = serde_json::to_string(claim).unwrap_or_default();
                transaction.execute(
                    "INSERT INTO epochs (stream, epoch, claim, sent) VALUES (?1, ?2, ?3, ?4)",
                    params![stream, epoch, claim, is_sent],
                )?;
            }
            for part in parts {
                insert(&transaction, stream, part, true)?;
            }
            for Merge { name, of, at } in merges {
                let sql = "INSERT INTO merges (stream, name, of, at) VALUES (?1, ?2, ?3, ?4)";
                let at = at.map(|at| at.as_millis());
                transaction.execute(sql, params![stream, name.to_string(), in_json(of), at])?;
            }
            let state = serde_json::to_string(state).unwrap_or_default();
            transaction
                .execute("UPDATE streams SET state = ?2 WHERE id = ?1", params![stream, state])?;
            transaction.commit()
        };
        all().map_err(|source| OutboxError::Sqlite { path: self.path.clone(), source })?;
        self.bodies.remove(&files).map_err(|error| self.io(error))
    }

    /// The claims of a stream.
    pub(crate) fn epochs(&self, stream: StreamId) -> Result<Vec<Epoch>> {
        let sql = "SELECT epoch, claim, sent FROM epochs WHERE stream = ?1 ORDER BY epoch";
        let read = |row: &Row<'_>| Ok((row.get(0)?, row.get::<_, String>(1)?, row.get(2)?));
        let rows = self.rows(sql, [stream], read)?;
        let epoch = |(epoch, claim, is_sent): (_, String, _)| {
            Ok(Epoch { epoch, claim: self.in_json("a claim", &claim)?, is_sent })
        };
        rows.into_iter().map(epoch).collect()
    }

    /// The bucket has this claim.
    pub(crate) fn claim_sent(&self, stream: StreamId, epoch: u32) -> Result<()> {
        self.durable(false)?;
        let sql = "UPDATE epochs SET sent = 1 WHERE stream = ?1 AND epoch = ?2";
        let done = self.db.execute(sql, params![stream, epoch]);
        done.map(drop).map_err(|error| self.sqlite(error))
    }

    /// The parts of a stream in their order, and which of them the bucket has.
    pub(crate) fn parts(&self, stream: StreamId) -> Result<Vec<(Part, bool)>> {
        let sql = "SELECT name, hashes, about, sent FROM parts WHERE stream = ?1 ORDER BY seq, id";
        let rows = self.rows(sql, [stream], |row| {
            let text = |at| row.get::<_, String>(at);
            Ok((text(0)?, row.get::<_, Vec<u8>>(1)?, text(2)?, row.get(3)?))
        })?;
        let part = |(name, hashes, about, is_sent): (String, Vec<u8>, String, bool)| {
            let parsed = self.part_name(&name)?;
            let hashes = hashes.as_chunks::<8>().0.iter().map(|h| u64::from_le_bytes(*h)).collect();
            Ok((Part { name: parsed, about: self.in_json("a part", &about)?, hashes }, is_sent))
        };
        rows.into_iter().map(part).collect()
    }

    /// The records of these parts are known by other hashes now, as many of each.
    pub(crate) fn set_hashes(&mut self, stream: StreamId, parts: &[&Part]) -> Result<()> {
        self.durable(false)?;
        let mut all = || -> rusqlite::Result<()> {
            let transaction = self.db.transaction()?;
            for part in parts {
                let sql = "UPDATE parts SET hashes = ?3 WHERE stream = ?1 AND name = ?2";
                let values = params![stream, part.name.to_string(), blob(&part.hashes)];
                transaction.execute(sql, values)?;
            }
            transaction.commit()
        };
        all().map_err(|source| OutboxError::Sqlite { path: self.path.clone(), source })
    }

    /// The first part of a stream that the bucket has not acknowledged; with the file that has its bytes, where
    /// these are what they were.
    pub(crate) fn pending(&self, stream: StreamId) -> Result<Option<(String, Option<PathBuf>)>> {
        let sql = "SELECT name, file, about ->> 'sha256' FROM parts JOIN bodies ON part = parts.id \
                   WHERE stream = ?1 AND sent = 0 ORDER BY seq, parts.id LIMIT 1";
        let read = |row: &Row<'_>| {
            let text = |at| row.get::<_, String>(at);
            Ok((text(0)?, self.bodies.path(&text(1)?), text(2)?))
        };
        let found =
            self.db.prepare_cached(sql).and_then(|mut s| s.query_row([stream], read).optional());
        let found = found.map_err(|error| self.sqlite(error))?;
        Ok(found.map(|(name, file, content)| (name, has(&file, &content).then_some(file))))
    }

    /// The bucket has it: its bytes are no longer needed here.
    pub(crate) fn acknowledged(
        &mut self,
        stream: StreamId,
        name: &str,
        file: &Path,
        now: Timestamp,
    ) -> Result<()> {
        self.durable(false)?;
        let mut all = || -> rusqlite::Result<()> {
            let transaction = self.db.transaction()?;
            transaction
                .prepare_cached(
                    "DELETE FROM bodies WHERE part IN \
                     (SELECT id FROM parts WHERE stream = ?1 AND name = ?2)",
                )?
                .execute(params![stream, name])?;
            transaction
                .prepare_cached(
                    "UPDATE parts SET sent = 1, about = json_set(about, '$.uploaded_at', ?3) \
                     WHERE stream = ?1 AND name = ?2",
                )?
                .execute(params![stream, name, now.to_string()])?;
            transaction.commit()
        };
        all().map_err(|source| OutboxError::Sqlite { path: self.path.clone(), source })?;
        // Where that fails it is done by the next start.
        let _ = std::fs::remove_file(file);
        Ok(())
    }

    /// Parts made of several that are still there, or are being made.
    pub(crate) fn merges(&self, stream: StreamId) -> Result<Vec<Merge>> {
        let sql = "SELECT name, of, at FROM merges WHERE stream = ?1 ORDER BY name";
        let rows = self.rows(sql, [stream], |row| {
            let text = |at| row.get::<_, String>(at);
            Ok((text(0)?, text(1)?, row.get::<_, Option<i64>>(2)?))
        })?;
        let merge = |(name, of, at): (String, String, Option<i64>)| {
            let of: Vec<String> = self.in_json("a merged part", &of)?;
            let of = of.iter().map(|name| self.part_name(name)).collect::<Result<_>>()?;
            let at = at.map(Timestamp::from_millis);
            Ok(Merge { name: self.part_name(&name)?, of, at })
        };
        rows.into_iter().map(merge).collect()
    }

    /// A part is about to be made of these.
    pub(crate) fn plan_merge(&self, stream: StreamId, part: &Part, of: &[PartName]) -> Result<()> {
        self.durable(true)?;
        let sql = "INSERT OR IGNORE INTO merges (stream, name, of) VALUES (?1, ?2, ?3)";
        let done = self.db.execute(sql, params![stream, part.name.to_string(), in_json(of)]);
        done.map(drop).map_err(|error| self.sqlite(error))
    }

    /// It is there, and takes their place, which `meta.json` does not say yet.
    pub(crate) fn merged(
        &mut self,
        stream: StreamId,
        part: &Part,
        of: &[PartName],
        now: Timestamp,
    ) -> Result<()> {
        self.durable(true)?;
        let mut all = || -> rusqlite::Result<()> {
            let transaction = self.db.transaction()?;
            for name in of {
                let sql = "DELETE FROM parts WHERE stream = ?1 AND name = ?2";
                transaction.execute(sql, params![stream, name.to_string()])?;
            }
            insert(&transaction, stream, part, true)?;
            let sql = "UPDATE merges SET at = ?3 WHERE stream = ?1 AND name = ?2";
            let values = params![stream, part.name.to_string(), now.as_millis()];
            transaction.execute(sql, values)?;
            // The rest of it may have gone on meanwhile.
            let sql = "UPDATE streams SET state = json_set(state, '$.meta_is_due', json('true')) \
                       WHERE id = ?1";
            transaction.execute(sql, [stream])?;
            transaction.commit()
        };
        all().map_err(|source| OutboxError::Sqlite { path: self.path.clone(), source })
    }

    /// When it took the place of what it was made of; nothing where it is to be made again.
    pub(crate) fn set_merged_at(
        &self,
        stream: StreamId,
        name: PartName,
        at: Option<Timestamp>,
    ) -> Result<()> {
        let sql = "UPDATE merges SET at = ?3 WHERE stream = ?1 AND name = ?2";
        let values = params![stream, name.to_string(), at.map(|at| at.as_millis())];
        self.db.execute(sql, values).map(drop).map_err(|error| self.sqlite(error))
    }

    /// What it was made of is gone.
    pub(crate) fn merge_done(&self, stream: StreamId, name: PartName) -> Result<()> {
        let sql = "DELETE FROM merges WHERE stream = ?1 AND name = ?2";
        let done = self.db.execute(sql, params![stream, name.to_string()]);
        done.map(drop).map_err(|error| self.sqlite(error))
    }

    /// Streams of a target with more than so many parts, or with some to be deleted.
    pub(crate) fn to_compact(&self, target: TargetId, most: u64) -> Result<Vec<StreamId>> {
        let sql = "SELECT stream FROM parts JOIN streams ON stream = streams.id \
                   WHERE target = ?1 AND sent = 1 GROUP BY stream HAVING count(*) > ?2 \
                   UNION SELECT stream FROM merges JOIN streams ON stream = streams.id \
                   WHERE target = ?1";
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        self.rows(sql, params![target, most], |row| row.get(0))
    }

    fn part_name(&self, name: &str) -> Result<PartName> {
        PartName::parse(name).ok_or_else(|| OutboxError::Damaged {
            path: self.path.clone(),
            what: format!("{name} is no part's"),
        })
    }

    /// What the bucket has of each stream of a target.
    pub(crate) fn totals(&self, target: TargetId) -> Result<HashMap<StreamId, Total>> {
        let sql = "SELECT stream, about FROM parts JOIN streams ON stream = streams.id \
                   WHERE target = ?1 AND sent = 1";
        let rows = self.rows(sql, [target], |row| Ok((row.get(0)?, row.get::<_, String>(1)?)))?;
        let mut totals: HashMap<StreamId, Total> = HashMap::new();
        for (stream, about) in rows {
            let about: meta::Part = self.in_json("a part", &about)?;
            let total = totals.entry(stream).or_default();
            total.parts += 1;
            total.bytes += about.uploaded_bytes;
            total.records += about.records.unwrap_or_default();
            total.last = total.last.max(about.uploaded_at);
            total.is_raw |= about.is_raw();
            for (rule, count) in about.redactions {
                *total.redactions.entry(rule).or_default() += count;
            }
        }
        Ok(totals)
    }

    /// Bytes of the source in parts that are still to be sent, of each stream of a target.
    pub(crate) fn unsent(&self, target: TargetId) -> Result<HashMap<StreamId, u64>> {
        let sql = "SELECT stream, sum(about ->> 'source_bytes') FROM parts \
                   JOIN streams ON stream = streams.id WHERE target = ?1 AND sent = 0 GROUP BY stream";
        let read = |row: &Row<'_>| Ok((row.get(0)?, row.get::<_, i64>(1)?.cast_unsigned()));
        Ok(self.rows(sql, [target], read)?.into_iter().collect())
    }

    /// Streams of a target with parts that are still to be sent; how many of these, and their bytes.
    pub(crate) fn backlog(&self, target: TargetId) -> Result<Vec<(StreamId, u64, u64)>> {
        let sql = "SELECT stream, count(*), sum(size) FROM bodies \
                   JOIN parts ON part = parts.id JOIN streams ON stream = streams.id \
                   WHERE target = ?1 GROUP BY stream";
        self.rows(sql, [target], |row| {
            let count = |at| row.get::<_, i64>(at).map(i64::cast_unsigned);
            Ok((row.get(0)?, count(1)?, count(2)?))
        })
    }
}

fn in_json(of: &[PartName]) -> String {
    let of: Vec<String> = of.iter().map(ToString::to_string).collect();
    serde_json::to_string(&of).unwrap_or_default()
}

fn blob(hashes: &[u64]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| hash.to_le_bytes()).collect()
}

fn insert(db: &Connection, stream: StreamId, part: &Part, is_sent: bool) -> rusqlite::Result<()> {
    let hashes = blob(&part.hashes);
    let about = serde_json::to_string(&part.about).unwrap_or_default();
    let sql = "INSERT INTO parts (stream, seq, name, epoch, hashes, about, sent) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let (name, epoch) = (part.name.to_string(), part.about.epoch.unwrap_or_default());
    let values = params![stream, part.name.seq, name, epoch, hashes, about, is_sent];
    db.prepare_cached(sql)?.execute(values).map(drop)
}
