//! The tables, and the list of changes that made them. The list only ever grows.

use rusqlite::Connection;

use super::StoreError;

/// `RRDi`, so that `file` and we can tell whose database it is.
const APPLICATION_ID: i64 = 0x5252_4469;

/// Each entry takes the schema from its index to the next number.
const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE sessions (
        id         INTEGER PRIMARY KEY,
        harness    TEXT NOT NULL,
        session_id TEXT NOT NULL,
        reader     INTEGER NOT NULL,  -- which READER_VERSION wrote the fold
        fold       TEXT NOT NULL,     -- JSON
        UNIQUE (harness, session_id)
    ) STRICT;
    CREATE TABLE files (
        path    TEXT PRIMARY KEY,
        session INTEGER NOT NULL REFERENCES sessions (id),
        cursor  TEXT NOT NULL,        -- JSON
        parser  TEXT NOT NULL,        -- JSON
        size    INTEGER NOT NULL,
        mtime   INTEGER NOT NULL      -- nanoseconds since the epoch
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE events (
        session INTEGER NOT NULL,
        seq     INTEGER NOT NULL,
        at      INTEGER,              -- milliseconds since the epoch
        kind    INTEGER NOT NULL,
        flags   INTEGER NOT NULL,     -- 1 error, 2 truncated
        offset  INTEGER NOT NULL,     -- of its record in the transcript
        key     INTEGER NOT NULL,     -- hash of its record's id
        text    TEXT NOT NULL,
        tool    TEXT,
        call    TEXT,
        PRIMARY KEY (session, seq)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE marks (
        session INTEGER NOT NULL,
        key     INTEGER NOT NULL,
        PRIMARY KEY (session, key)
    ) STRICT, WITHOUT ROWID;
",
    // SQLite keeps no checksums of its own: a flipped bit in a row is no damage to it.
    "
    ALTER TABLE sessions ADD COLUMN seal INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE files ADD COLUMN seal INTEGER NOT NULL DEFAULT 0;
",
    // Joins the two ends of a message between sessions. From here on a flag of 4 says that it was sent.
    "ALTER TABLE events ADD COLUMN message TEXT;",
    "
    CREATE TABLE databases (
        path   TEXT PRIMARY KEY,
        reader INTEGER NOT NULL,      -- which READER_VERSION wrote the state
        state  TEXT NOT NULL,         -- JSON
        seal   INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
",
    // What hooks said is said nowhere else: unlike the rest it is kept whichever reader wrote it.
    "
    CREATE TABLE trails (
        harness    TEXT NOT NULL,
        session_id TEXT NOT NULL,
        trail      TEXT NOT NULL,     -- JSON
        seal       INTEGER NOT NULL,
        PRIMARY KEY (harness, session_id)
    ) STRICT, WITHOUT ROWID;
",
    // All that events say, in blocks: what was indexed before has none until it is read again.
    "
    CREATE TABLE bodies (
        id      INTEGER PRIMARY KEY,
        session INTEGER NOT NULL,
        first   INTEGER NOT NULL,     -- seq of its first body
        last    INTEGER NOT NULL,     -- and of its last one
        size    INTEGER NOT NULL,     -- bytes before compression
        data    BLOB NOT NULL         -- a zstd frame of bodies one after the other
    ) STRICT;
    CREATE INDEX bodies_by_seq ON bodies (session, last, first, size);
    ALTER TABLE sessions ADD COLUMN bodied INTEGER NOT NULL DEFAULT 0;  -- 1: its bodies were kept
    CREATE TABLE stretches (
        session INTEGER NOT NULL,
        at      INTEGER NOT NULL,     -- milliseconds since the epoch
        status  TEXT NOT NULL,
        waiting TEXT,                 -- for what
        detail  TEXT,
        PRIMARY KEY (session, at)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE gaps (
        session INTEGER NOT NULL,
        first   INTEGER NOT NULL,     -- bodies of events from this seq
        last    INTEGER NOT NULL,     -- to this one are no longer kept
        why     TEXT NOT NULL,        -- which limit took them: session, total, age
        PRIMARY KEY (session, first)
    ) STRICT, WITHOUT ROWID;
",
    // Another number whenever what is stored of a session begins anew: whoever keeps something made from
    // it can tell.
    "
    ALTER TABLE sessions ADD COLUMN life INTEGER NOT NULL DEFAULT 0;
    UPDATE sessions SET life = random();
",
    // Long bodies are kept once: by whom, and who has the same.
    "
    CREATE TABLE texts (
        hash    BLOB PRIMARY KEY,     -- half a SHA-256 of a long body
        session INTEGER NOT NULL,     -- where it is kept
        seq     INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX texts_by_seq ON texts (session, seq);
    CREATE TABLE copies (
        session    INTEGER NOT NULL,
        seq        INTEGER NOT NULL,
        of_session INTEGER NOT NULL,  -- where its body is kept
        of_seq     INTEGER NOT NULL,
        PRIMARY KEY (session, seq)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX copies_by_place ON copies (of_session, of_seq);
",
    "CREATE TABLE to_scrub (one INTEGER PRIMARY KEY) STRICT;  -- what was forgotten may still be in the file",
    // As with trails: a directory that is gone does not say it again.
    "
    CREATE TABLE repos (
        harness    TEXT NOT NULL,
        session_id TEXT NOT NULL,
        repo       TEXT NOT NULL,     -- JSON
        seal       INTEGER NOT NULL,
        PRIMARY KEY (harness, session_id)
    ) STRICT, WITHOUT ROWID;
",
    // It is kept where nothing is set aside: in `keep.db`.
    "DROP TABLE repos",
];

/// What is read of each table: a name in the schema may be damaged, which no check of SQLite's finds.
const READ: &[&str] = &[
    "SELECT id, harness, session_id, reader, fold, seal FROM sessions",
    "SELECT path, session, cursor, parser, size, mtime, seal FROM files",
    "SELECT session, seq, at, kind, flags, offset, key, text, tool, call, message FROM events",
    "SELECT session, key FROM marks",
    "SELECT path, reader, state, seal FROM databases",
    "SELECT harness, session_id, trail, seal FROM trails",
    "SELECT id, session, first, last, size, data FROM bodies",
    "SELECT session, at, status, waiting, detail FROM stretches",
    "SELECT session, first, last, why FROM gaps",
    "SELECT bodied, life FROM sessions",
    "SELECT hash, session, seq FROM texts",
    "SELECT session, seq, of_session, of_seq FROM copies",
    "SELECT one FROM to_scrub",
];

/// Whether every table is there with its columns.
pub(super) fn is_whole(db: &Connection) -> bool {
    READ.iter().all(|sql| db.prepare(sql).is_ok())
}

/// The checksum of a row's columns.
pub(super) fn seal(columns: &[&str]) -> i64 {
    rrd_core::hash(columns.join("\0").as_bytes()).cast_signed()
}

/// Brings a database to this release's schema.
pub(super) fn migrate(db: &mut Connection, path: &std::path::Path) -> Result<(), StoreError> {
    let sqlite = |source| StoreError::Sqlite { path: path.to_owned(), source };
    match super::durable::migrate(db, APPLICATION_ID, MIGRATIONS).map_err(sqlite)? {
        Ok(()) => Ok(()),
        Err((found, known)) => Err(StoreError::Newer { path: path.to_owned(), found, known }),
    }
}

/// Whether a reader of this release understands the database.
pub(super) fn is_current(db: &Connection) -> bool {
    db.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0))
        .is_ok_and(|found| found == MIGRATIONS.len() as i64)
}
