//! Reads a harness's database: the only file beneath `tail` that names SQLite.
//!
//! Read-only, never `immutable` (that overlooks what is only in the log), a short read transaction at a
//! time: a long one would keep the harness's checkpoint waiting. Nothing is held open between reads, so
//! at rest no lock and no handle of ours is there. Opening may create or write SQLite's own `-shm` file:
//! one of the two named exceptions to "rrd never writes a harness's data". Not here: cursors, meaning.

use std::{
    collections::HashSet,
    io::Read,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rrd_core::{
    cursor::Rows,
    harness::tables::{AskRow, Asks, Column, ColumnKind, MovedOut, RecordRows, Tables},
};
use rusqlite::{Connection, OpenFlags, Row, config::DbConfig, types::ValueRef};
use serde_json::value::RawValue;

use crate::tail::source::{MAX_ZSTD_WINDOW_LOG, Source};

/// How long to wait for a writer that holds the database for itself.
const BUSY: Duration = Duration::from_millis(250);

/// One record may hold no more: what a transcript's line may.
const MAX_RECORD: usize = 16 << 20;

/// A session's records moved out of their table are not read beyond this.
const MAX_MOVED_OUT: u64 = 256 << 20;

/// Why a database is not read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    /// Written by a newer release of its harness.
    #[error("schema {found} is newer than what this release reads ({newest})")]
    Newer {
        /// Its schema.
        found: i64,
        /// The newest one known.
        newest: i64,
    },
    /// Its tables are not those of the harness.
    #[error("unknown layout: {0}")]
    Layout(String),
    /// SQLite says no.
    #[error("{0}")]
    Sqlite(#[from] rusqlite::Error),
}

impl Unreadable {
    /// A moment later it may be another matter: its writer holds it, or is about to make it.
    pub(super) fn passes(&self) -> bool {
        use rusqlite::ErrorCode::{DatabaseBusy, DatabaseLocked};
        let Self::Sqlite(error) = self else { return false };
        matches!(error.sqlite_error_code(), Some(DatabaseBusy | DatabaseLocked))
    }
}

/// A session as the database has it.
#[derive(Debug, Clone)]
pub(super) struct SessionRow {
    pub(super) id: String,
    /// One JSON object.
    pub(super) json: Vec<u8>,
    /// Hash of what tells that its records were rewritten.
    pub(super) rewritten: u64,
}

/// One record.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) number: i64,
    pub(super) stands: bool,
    pub(super) summed_up: bool,
    /// One JSON object; empty when it is too large to be taken.
    pub(super) line: Vec<u8>,
    /// Hash of what tells it from others.
    pub(super) key: u64,
}

/// One moment of a database.
pub(super) struct Snapshot {
    db: Connection,
    path: PathBuf,
    tables: &'static Tables,
    list: String,
    records: String,
    amount: String,
    until: Option<Instant>,
    /// Whoever has it open can be seen.
    pub(super) in_wal_mode: bool,
    /// Its schema, where it is a newer one than is known.
    pub(super) newer: Option<i64>,
}

impl Snapshot {
    /// Opens it and begins to read; nothing is read any more once `patience` is over.
    pub(super) fn open(
        path: &Path,
        tables: &'static Tables,
        patience: Duration,
    ) -> Result<Self, Unreadable> {
        let db = begin(path)?;
        let found = schema(&db, tables.schema)?;
        if found > tables.newest && !tables.reads_newer {
            return Err(Unreadable::Newer { found, newest: tables.newest });
        }
        let newer = (found > tables.newest).then_some(found);
        let list = list(&db, tables)?;
        let records = records(&db, &tables.records)?;
        let amount = amount(&db, &tables.records);
        let in_wal_mode = db.query_row("PRAGMA journal_mode", [], |row| row.get::<_, String>(0))?;
        let in_wal_mode = in_wal_mode == "wal";
        let until = Instant::now().checked_add(patience);
        Ok(Self {
            db,
            path: path.to_owned(),
            tables,
            list,
            records,
            amount,
            until,
            in_wal_mode,
            newer,
        })
    }

    /// Every session.
    pub(super) fn sessions(&self) -> Result<Vec<SessionRow>, Unreadable> {
        let columns = self.tables.sessions.columns;
        let mut statement = self.db.prepare(&self.list)?;
        let rows = statement.query_map([], |row| {
            let id = text(row.get_ref(0)?);
            let rewritten = rrd_core::hash(text(row.get_ref(1)?).as_bytes());
            Ok(SessionRow { id, rewritten, json: object(&fields(row, 2, columns)?) })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Sessions with records stored after the one at this place, and the last place now.
    pub(super) fn stored_after(&self, place: i64) -> Result<(HashSet<String>, i64), Unreadable> {
        let RecordRows { table, session, .. } = self.tables.records;
        let sql = format!("SELECT coalesce(max(rowid), 0) FROM {table}");
        let last = self.db.query_row(&sql, [], |row| row.get(0))?;
        let sql = format!("SELECT DISTINCT {session} FROM {table} WHERE rowid > ?1");
        let mut statement = self.db.prepare(&sql)?;
        let sessions = statement.query_map([place], |row| Ok(text(row.get_ref(0)?)))?;
        Ok((sessions.collect::<Result<_, _>>()?, last))
    }

    /// What one session's records amount to up to a number, without what tells of rewriting.
    pub(super) fn amount_to(&self, session: &str, last: i64) -> Result<Rows, Unreadable> {
        let mut statement = self.db.prepare_cached(&self.amount)?;
        Ok(statement.query_row((session, last), |row| {
            Ok(Rows {
                count: row.get(0)?,
                standing: row.get(1)?,
                first: row.get(2)?,
                last: row.get(3)?,
                sum: row.get(4)?,
                standing_sum: row.get(5)?,
                rewritten: 0,
            })
        })?)
    }

    /// Hands over a session's records beyond `after` (all, if `None`), in order; false when it is to
    /// end, or time is over before they do.
    pub(super) fn records(
        &self,
        session: &str,
        after: Option<i64>,
        take: &mut dyn FnMut(Record) -> bool,
    ) -> Result<bool, Unreadable> {
        let mut statement = self.db.prepare_cached(&self.records)?;
        let mut rows = statement.query((session, after.unwrap_or(i64::MIN), -1))?;
        let mut taken = 0;
        while let Some(row) = rows.next()? {
            if !take(self.record(row)?) {
                return Ok(false);
            }
            taken += 1;
            if taken % 16 == 0 && self.is_over() {
                // The last one may have been the last of all; the next look finds out.
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// A session's rows beyond this number, each with its number and as a line of JSON with all that is in it,
    /// until that says to stop or time is over; false when there may be more.
    pub(super) fn rows(
        &self,
        session: &str,
        after: Option<i64>,
        take: &mut dyn FnMut(i64, Vec<u8>) -> bool,
    ) -> Result<bool, Unreadable> {
        let RecordRows { table, session: of, number, whole, .. } = self.tables.records;
        if whole.is_some() {
            // The row is a record.
            return self.records(session, after, &mut |record| take(record.number, record.line));
        }
        let sql = format!(
            "SELECT {number}, * FROM {table} WHERE {of} = ?1 AND {number} > ?2 ORDER BY {number}"
        );
        let mut statement = self.db.prepare_cached(&sql)?;
        let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
        let mut rows = statement.query((session, after.unwrap_or(i64::MIN)))?;
        while let Some(row) = rows.next()? {
            let mut line = vec![b'{'];
            for (at, name) in names.iter().enumerate().skip(1) {
                let value = json(row.get_ref(at)?, ColumnKind::Json("\0json:"));
                let name = serde_json::to_string(name).unwrap_or_default();
                line.extend_from_slice(if line.len() > 1 { b"," } else { b"" });
                line.extend_from_slice(name.as_bytes());
                line.push(b':');
                line.extend_from_slice(value.as_deref().unwrap_or("null").as_bytes());
            }
            line.push(b'}');
            if !take(row.get(0)?, line) || self.is_over() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The last `many` records of a session, in order.
    pub(super) fn last(&self, session: &str, many: usize) -> Result<Vec<Record>, Unreadable> {
        let sql = format!("{} DESC LIMIT ?3", self.records.trim_end_matches(" LIMIT ?3"));
        let mut statement = self.db.prepare(&sql)?;
        let many = i64::try_from(many).unwrap_or(i64::MAX);
        let mut rows = statement.query((session, i64::MIN, many))?;
        let mut last = Vec::new();
        while let Some(row) = rows.next()? {
            last.push(self.record(row)?);
        }
        last.reverse();
        Ok(last)
    }

    /// The key of one record, if it is there.
    pub(super) fn key_of(&self, session: &str, number: i64) -> Result<Option<u64>, Unreadable> {
        let mut statement = self.db.prepare_cached(&self.records)?;
        let mut rows = statement.query((session, number.saturating_sub(1), 1))?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let record = self.record(row)?;
        Ok((record.number == number).then_some(record.key))
    }

    /// The records of a session that were moved out of their table.
    pub(super) fn moved_out(&self, session: &str) -> Result<Vec<Vec<u8>>, Unreadable> {
        let Some(MovedOut { record, sql, folder }) = self.tables.records.moved_out else {
            return Ok(Vec::new());
        };
        // Older releases move nothing out.
        let Ok(mut statement) = self.db.prepare(sql) else { return Ok(Vec::new()) };
        let mut rows = statement.query([session])?;
        let Some(row) = rows.next()? else { return Ok(Vec::new()) };
        let lines = match row.get_ref(0)? {
            ValueRef::Blob(frame) => unzstd(frame, MAX_MOVED_OUT),
            _ => self.beside(folder, &text(row.get_ref(1)?)),
        };
        Ok(lines.unwrap_or_default().split(|byte| *byte == b'\n').filter_map(record).collect())
    }

    /// What is in the zstd frame in a file of this name. A name, never a path: the database is not to
    /// say what else is read.
    fn beside(&self, folder: &str, name: &str) -> Option<Vec<u8>> {
        if name.is_empty() || name.starts_with('.') || name.contains(['/', '\\']) {
            return None;
        }
        let path = self.path.parent()?.join(folder).join(name);
        let source = Source::open(&path).ok()?;
        let mut lines = Vec::new();
        source.unzstd().ok()?.take(MAX_MOVED_OUT).read_to_end(&mut lines).ok()?;
        Some(lines)
    }

    pub(super) fn is_over(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() >= until)
    }

    fn record(&self, row: &Row<'_>) -> rusqlite::Result<Record> {
        let spec = &self.tables.records;
        let flag = |i| row.get_ref(i).map(|value| value == ValueRef::Integer(1));
        let (number, stands, summed_up) = (row.get(0)?, flag(1)?, flag(2)?);
        let (line, key) = if spec.whole.is_some() {
            let line = match (row.get_ref(3)?, row.get_ref(4)?) {
                (ValueRef::Text(line), _) => line.to_vec(),
                (_, ValueRef::Blob(frame)) => {
                    unzstd(frame, MAX_RECORD as u64 + 1).unwrap_or_default()
                }
                _ => Vec::new(),
            };
            let key = rrd_core::hash(&line);
            (line, key)
        } else {
            let fields = fields(row, 3, spec.columns)?;
            let telling = fields.iter().filter(|(name, _)| spec.identity.contains(name));
            let identity: Vec<&str> = telling.flat_map(|(name, json)| [*name, json]).collect();
            (object(&fields), rrd_core::hash(identity.join("\0").as_bytes()))
        };
        let line = if line.len() > MAX_RECORD { Vec::new() } else { line };
        Ok(Record { number, stands, summed_up, line, key })
    }
}

/// Opens a database and begins to read.
fn begin(path: &Path) -> Result<Connection, Unreadable> {
    // A file that is not there, or is being made, is not made by us.
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    db.busy_timeout(BUSY)?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    db.execute_batch("PRAGMA query_only = 1; PRAGMA cache_size = -2000; BEGIN")?;
    Ok(db)
}

fn schema(db: &Connection, sql: &str) -> Result<i64, Unreadable> {
    db.query_row(sql, [], |row| row.get(0)).map_err(|error| match error {
        rusqlite::Error::SqliteFailure(e, Some(why)) if e.extended_code == 1 => {
            Unreadable::Layout(why)
        }
        other => Unreadable::Sqlite(other),
    })
}

/// The questions that are open at `now`, at most so many.
pub(super) fn open_asks(
    path: &Path,
    asks: &Asks,
    now: i64,
    most: usize,
) -> Result<Vec<AskRow>, Unreadable> {
    let db = begin(path)?;
    let found = schema(&db, asks.schema)?;
    if found > asks.newest {
        return Err(Unreadable::Newer { found, newest: asks.newest });
    }
    let columns: Vec<&str> = asks.columns.iter().map(|column| column.sql).collect();
    let sql = format!("SELECT {} FROM {} LIMIT ?2", columns.join(", "), asks.from);
    // Older releases wrote nothing of the kind down, or in another way.
    let Ok(mut statement) = db.prepare(&sql) else { return Ok(Vec::new()) };
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let rows = statement.query_map([now, most], |row| fields(row, 0, asks.columns))?;
    let rows: Vec<_> = rows.collect::<Result<_, _>>()?;
    Ok(rows.iter().filter_map(|fields| (asks.read)(&object(fields))).collect())
}

/// The sessions that a database with sessions knows by these keys now, each by the name beside its key.
pub(super) fn sessions_of(
    path: &Path,
    sql: &str,
    keys: &[(&str, &str)],
) -> Result<Vec<(String, String)>, Unreadable> {
    let db = begin(path)?;
    let mut statement = db.prepare(sql)?;
    let mut sessions = Vec::new();
    for (name, key) in keys {
        let mut rows = statement.query([key])?;
        if let Some(row) = rows.next()? {
            sessions.push(((*name).to_owned(), text(row.get_ref(0)?)));
        }
    }
    Ok(sessions)
}

/// The statement that lists sessions. Columns another release lacks are null.
fn list(db: &Connection, tables: &Tables) -> Result<String, Unreadable> {
    let spec = &tables.sessions;
    let there = |sql: &str| db.prepare(&format!("SELECT {sql} FROM {} LIMIT 0", spec.from));
    there(spec.id).map_err(|error| Unreadable::Layout(error.to_string()))?;
    let mut sql = format!("SELECT {}", spec.id);
    let rewritten = spec.rewritten.unwrap_or("NULL");
    for column in std::iter::once(rewritten).chain(spec.columns.iter().map(|column| column.sql)) {
        sql += ", ";
        sql += if there(column).is_ok() { column } else { "NULL" };
    }
    Ok(format!("{sql} FROM {}", spec.from))
}

/// The statement that gives the records of session `?1` beyond number `?2`, `?3` of them at most.
fn records(db: &Connection, spec: &RecordRows) -> Result<String, Unreadable> {
    let RecordRows { table, session, number, .. } = *spec;
    db.prepare(&format!("SELECT {session}, {number} FROM {table} LIMIT 0"))
        .map_err(|error| Unreadable::Layout(error.to_string()))?;
    for column in spec.columns.iter().filter(|column| spec.identity.contains(&column.name)) {
        if !has(db, table, column.sql) {
            return Err(Unreadable::Layout(format!("{table} has no column {}", column.sql)));
        }
    }
    let or = |column: &str, otherwise: &str| {
        if has(db, table, column) { column.to_owned() } else { otherwise.to_owned() }
    };
    let mut sql = format!(
        "SELECT {number}, coalesce({}, 1), {}",
        or(spec.stands, "1"),
        or(spec.summed_up, "0")
    );
    let whole = spec.whole.map(|(text, frame)| [text, frame]);
    let columns = spec.columns.iter().map(|column| column.sql);
    for column in whole.into_iter().flatten().chain(columns) {
        sql += ", ";
        sql += &or(column, "NULL");
    }
    Ok(format!(
        "{sql} FROM {table} WHERE {session} = ?1 AND {number} > ?2 ORDER BY {number} LIMIT ?3"
    ))
}

/// The statement that gives what the records of session `?1` amount to, up to number `?2`.
fn amount(db: &Connection, spec: &RecordRows) -> String {
    let RecordRows { table, session, number, stands, .. } = *spec;
    let stands =
        if has(db, table, stands) { format!("coalesce({stands}, 1)") } else { "1".to_owned() };
    // Not sum(): it fails where the numbers are large.
    format!(
        "SELECT count(*), CAST(total({stands} = 1) AS INTEGER), coalesce(min({number}), 0), \
         coalesce(max({number}), 0), CAST(total({number} % {m}) AS INTEGER), \
         CAST(total(({stands} = 1) * ({number} % {m})) AS INTEGER) \
         FROM {table} WHERE {session} = ?1 AND {number} <= ?2",
        m = Rows::MODULUS
    )
}

fn has(db: &Connection, table: &str, column: &str) -> bool {
    db.prepare(&format!("SELECT {column} FROM {table} LIMIT 0")).is_ok()
}

/// The values of the columns from number `at` on that are there, as JSON.
fn fields(
    row: &Row<'_>,
    at: usize,
    columns: &[Column],
) -> rusqlite::Result<Vec<(&'static str, String)>> {
    let mut fields = Vec::with_capacity(columns.len());
    for (i, column) in columns.iter().enumerate() {
        if let Some(json) = json(row.get_ref(at + i)?, column.kind) {
            fields.push((column.name, json));
        }
    }
    Ok(fields)
}

fn object(fields: &[(&str, String)]) -> Vec<u8> {
    let mut out =
        Vec::with_capacity(fields.iter().map(|(name, json)| name.len() + json.len() + 4).sum());
    for (name, json) in fields {
        out.push(if out.is_empty() { b'{' } else { b',' });
        out.extend_from_slice(format!("\"{name}\":").as_bytes());
        out.extend_from_slice(json.as_bytes());
    }
    out.extend_from_slice(if out.is_empty() { b"{}" } else { b"}" });
    out
}

fn json(value: ValueRef<'_>, kind: ColumnKind) -> Option<String> {
    let seconds = kind == ColumnKind::Seconds;
    match value {
        ValueRef::Null => None,
        ValueRef::Integer(n) => Some(if seconds { n.saturating_mul(1000) } else { n }.to_string()),
        // As whole milliseconds they are numbers every reader takes; what is none is left out.
        ValueRef::Real(n) if seconds => n.is_finite().then(|| format!("{}", (n * 1000.0) as i64)),
        ValueRef::Real(n) => serde_json::to_string(&n).ok().filter(|json| json != "null"),
        // Not through a function of SQLite's: to those a text ends at its first NUL.
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
            let text = String::from_utf8_lossy(bytes);
            if let ColumnKind::Json(prefix) = kind
                && let Some(json) = text.strip_prefix(prefix)
                && serde_json::from_str::<&RawValue>(json).is_ok()
                && (!prefix.is_empty() || json.trim_start().starts_with(['{', '[']))
            {
                // Lines are lines: what was written over several is still one record.
                return Some(json.replace(['\n', '\r'], " "));
            }
            serde_json::to_string(&text).ok()
        }
    }
}

fn text(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
            String::from_utf8_lossy(bytes).into_owned()
        }
        ValueRef::Integer(n) => n.to_string(),
        ValueRef::Real(n) => n.to_string(),
        ValueRef::Null => String::new(),
    }
}

/// What is in a zstd frame, up to `most` bytes of it.
fn unzstd(frame: &[u8], most: u64) -> Option<Vec<u8>> {
    let mut decoder = zstd::stream::read::Decoder::new(frame).ok()?;
    decoder.window_log_max(MAX_ZSTD_WINDOW_LOG).ok()?;
    let mut out = Vec::new();
    decoder.take(most).read_to_end(&mut out).ok()?;
    Some(out)
}
