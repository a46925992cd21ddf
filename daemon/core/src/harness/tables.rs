//! How a harness's database is read: which statements, which columns, as data.
//!
//! The driver runs the statements and makes one JSON object of each row; a session's row is then read
//! like a sidecar, a record's like a line of a transcript. Columns are named one by one: such databases
//! hold credentials, too. A column that an older or newer release lacks is absent from the object.
//! Not here: SQLite, cursors, what the objects mean.

use std::borrow::Cow;

use rrd_proto::Timestamp;

use crate::live::Ask;

/// The tables of one harness.
#[derive(Debug, Clone, Copy)]
pub struct Tables {
    /// Gives the number of the schema, in one row of one column.
    pub schema: &'static str,
    /// The newest number this release knows; that another is newer is said.
    pub newest: i64,
    /// A newer one is read all the same, where the columns that matter are there: its numbers change
    /// more often than they do.
    pub reads_newer: bool,
    /// One row a session.
    pub sessions: SessionRows,
    /// One row a record of a session.
    pub records: RecordRows,
}

/// Where sessions are listed.
#[derive(Debug, Clone, Copy)]
pub struct SessionRows {
    /// What follows `FROM`.
    pub from: &'static str,
    /// The column with the session's id.
    pub id: &'static str,
    /// Changes when the session's records are rewritten, beyond what their numbers tell.
    pub rewritten: Option<&'static str>,
    /// What is told of it.
    pub columns: &'static [Column],
}

/// Where records are kept. The numbers of a session's records only grow; records may also be withdrawn,
/// changed into others, and come back under new numbers.
#[derive(Debug, Clone, Copy)]
pub struct RecordRows {
    /// The table.
    pub table: &'static str,
    /// The column with the session's id.
    pub session: &'static str,
    /// The column with the record's number.
    pub number: &'static str,
    /// Whether the record stands; `1` where records are only deleted.
    pub stands: &'static str,
    /// Whether a record that does not stand is history all the same: summed up, not taken back.
    pub summed_up: &'static str,
    /// The record, where it is one JSON text: its column, and the one that holds it as a zstd frame
    /// instead. Otherwise it is made of `columns`.
    pub whole: Option<(&'static str, &'static str)>,
    /// What is told of it.
    pub columns: &'static [Column],
    /// The names of those that tell one record from another, without which nothing is read; the others
    /// may change or be missing.
    pub identity: &'static [&'static str],
    /// Where a session's records go that are moved out of the table.
    pub moved_out: Option<MovedOut>,
}

/// A session's records outside their table: lines in one zstd frame.
#[derive(Debug, Clone, Copy)]
pub struct MovedOut {
    /// The record in one of its lines, if there is one.
    pub record: fn(&[u8]) -> Option<Vec<u8>>,
    /// Gives for the session `?1` the frame, or null, and the name of the file that holds it then.
    pub sql: &'static str,
    /// The folder of that file, as seen from the database's.
    pub folder: &'static str,
}

/// Where what sessions ask a person is kept: a database of its own, in which rows come and go.
#[derive(Debug, Clone, Copy)]
pub struct Asks {
    /// Its path beneath the root.
    pub database: &'static str,
    /// Gives the number of its schema, in one row of one column.
    pub schema: &'static str,
    /// The newest number this release reads; a newer one is said, and not read.
    pub newest: i64,
    /// What follows `FROM`: a row for each question that is open at `?1` (ms since the epoch), the
    /// oldest first. An older release may have no such table.
    pub from: &'static str,
    /// What is told of it.
    pub columns: &'static [Column],
    /// Reads a row.
    pub read: fn(&[u8]) -> Option<AskRow>,
    /// Gives, in a database with sessions, the one that is known by the key `?1` now.
    pub session_of: &'static str,
}

/// A question as its row has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskRow {
    /// The question's own id.
    pub id: String,
    /// Whose it is.
    pub whose: Whose,
    /// The question.
    pub ask: Ask,
}

/// Whose a question is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whose {
    /// This session's.
    Session(String),
    /// That of the session that is known by this key.
    Key(String),
}

/// One value of a row.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Its name in the object.
    pub name: &'static str,
    /// The expression that gives it.
    pub sql: &'static str,
    /// How it becomes JSON.
    pub kind: ColumnKind,
}

/// How a value becomes JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnKind {
    /// As what it is.
    Plain,
    /// Text that is JSON itself, behind this prefix; as plain text where it is not.
    Json(&'static str),
    /// Seconds since the epoch, given as whole milliseconds.
    Seconds,
}

impl Column {
    /// A value as it is.
    #[must_use]
    pub const fn plain(name: &'static str, sql: &'static str) -> Self {
        Self { name, sql, kind: ColumnKind::Plain }
    }

    /// JSON in text.
    #[must_use]
    pub const fn json(name: &'static str, sql: &'static str, prefix: &'static str) -> Self {
        Self { name, sql, kind: ColumnKind::Json(prefix) }
    }

    /// A time in seconds.
    #[must_use]
    pub const fn seconds(name: &'static str, sql: &'static str) -> Self {
        Self { name, sql, kind: ColumnKind::Seconds }
    }
}

/// A text of a row, for a fact that outlives it.
pub(super) fn owned(text: Cow<'_, str>) -> Cow<'static, str> {
    Cow::Owned(text.into_owned())
}

/// The time that a column gives, in milliseconds.
pub(super) fn time(ms: u64) -> Timestamp {
    Timestamp::from_millis(i64::try_from(ms).unwrap_or(i64::MAX))
}
