//! The index on disk: cursors, folds and events of every transcript, and what hooks said.
//!
//! SQLite in WAL mode, one writer thread, read-only readers. A cursor is written in the same
//! transaction as the events read before it, so a kill at any point neither loses nor repeats one.
//! Everything here but what hooks said can be rebuilt from the transcripts while they exist: a damaged
//! database is set aside and begun anew, and sessions whose transcripts are gone are taken out of it. Not
//! here: state that must not be lost (identity, members).

mod bodies;
mod copies;
pub(crate) mod durable;
mod queue;
mod reader;
mod retain;
mod salvage;
mod schema;
mod scrub;
mod writer;

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use rrd_core::{
    cursor::{Cursor, FileId},
    fold::Fold,
    harness::ParserState,
    hook::Trail,
};
use rrd_proto::{Body, Event, Harness, SessionKey, Status, Timestamp, WaitingFor};
use serde::{Deserialize, Serialize};

pub use queue::Backlog;
pub use reader::{Held, Life, Reader, ToFill, Written};
pub use retain::Limits;
pub use writer::{Awaited, Committed, Writer, WriterState};

/// Raised when folds or parsers change what they remember: sessions stored by another number are read
/// again from their transcripts. What cannot be had again is kept all the same: what hooks said, and
/// sessions whose transcripts are gone.
pub const READER_VERSION: i64 = 7;

/// Why the index cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite says no.
    #[error("{path}: {source}")]
    Sqlite {
        /// The database.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// Written by a newer release.
    #[error("{path} was written by a newer rrd (schema {found}, this one knows {known})")]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// The file system says no.
    #[error("{path}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// How far one transcript has been taken.
#[derive(Debug, Clone, PartialEq)]
pub struct FileState {
    /// The transcript's path, as shown.
    pub path: String,
    /// Whose it is.
    pub session: SessionKey,
    /// Where to go on.
    pub cursor: Cursor,
    /// What the parser remembers.
    pub parser: ParserState,
    /// Size when it was last looked at; more than the cursor's offset while the last line is torn.
    pub size: u64,
    /// Modification time then, in nanoseconds since the epoch.
    pub mtime: i64,
}

impl FileState {
    /// The database that it is in, where the session has no transcript of its own.
    #[must_use]
    pub fn database(&self) -> Option<&str> {
        self.cursor.rows?;
        Some(self.path.rsplit_once('#')?.0)
    }
}

/// One event and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredEvent {
    /// The event.
    pub event: Event,
    /// Where its record starts in the transcript.
    pub offset: u64,
    /// The record's key.
    pub key: u64,
}

/// What one stretch of one transcript gave: all of it becomes durable, or nothing.
#[derive(Debug, Clone)]
pub struct Commit {
    /// The transcript and how far it has been taken.
    pub file: FileState,
    /// The session after it.
    pub fold: Arc<Fold>,
    /// The new events.
    pub events: Vec<StoredEvent>,
    /// Keys of records that were counted without giving an event.
    pub marks: Vec<u64>,
    /// Begin the session anew: whatever an older reader stored of it goes.
    pub reset: bool,
    /// The transcript's former path, when it was moved.
    pub moved_from: Option<String>,
    /// A history was read anew, or left the branch it was on: of the records with these keys, whether they
    /// stand.
    pub standing: HashMap<u64, bool>,
}

/// Bodies of events that were stored before bodies were kept.
#[derive(Debug, Clone)]
pub struct Fill {
    /// Whose.
    pub session: SessionKey,
    /// By the events' seq, in its order; of each fill only those after the one before.
    pub bodies: Vec<(u64, Body)>,
    /// There are no more.
    pub done: bool,
}

/// A session has another status than before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turned {
    /// Whose.
    pub session: SessionKey,
    /// Since when.
    pub at: Timestamp,
    /// The status.
    pub status: Status,
    /// What it waits for.
    pub waiting_for: Option<WaitingFor>,
    /// What about.
    pub detail: Option<String>,
}

impl Commit {
    /// Bytes of the bodies in it.
    fn bytes(&self) -> usize {
        let bodies = self.events.iter().filter_map(|stored| stored.event.body.as_ref());
        bodies.map(|body| body.text.len()).sum()
    }
}

/// How a harness's database looked when all that was in it had been taken: while it looks like that
/// there is nothing to read in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DatabaseState {
    /// Its path, as shown.
    pub path: String,
    /// Whose it is.
    pub harness: Harness,
    /// What it looked like from outside.
    pub look: Look,
    /// Where its last record was stored.
    pub place: i64,
    /// Whoever has it open can be seen.
    pub in_wal_mode: bool,
    /// Its schema, where it is a newer one than is known.
    pub newer: Option<i64>,
    /// Sum of the hashes of its sessions' ids: this is true of all of them together or not at all.
    pub sessions: u64,
    /// Those of them that were in it and are no more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gone: Vec<String>,
}

/// A database from outside: which file, and size and modification time (nanoseconds since the epoch) of
/// it and of its log.
pub type Look = (FileId, [(u64, i64); 2]);

/// What hooks said of a session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrailState {
    /// Where the process that they named has its pid, as far as that can be told.
    pub domain: Option<String>,
    /// What they said; it must be handed to the roster's `restore_trails` before it says anything.
    pub trail: Trail,
}

/// Everything a start needs.
#[derive(Debug, Default)]
pub struct Stored {
    /// Sessions with their folds, as far as this release's reader wrote them.
    pub sessions: Vec<(SessionKey, Arc<Fold>)>,
    /// Transcripts and how far they have been taken.
    pub files: Vec<FileState>,
    /// Databases that had been taken whole.
    pub databases: Vec<DatabaseState>,
    /// What hooks said.
    pub trails: Vec<(SessionKey, TrailState)>,
    /// What an earlier release's reader took of transcripts: it counts where these are gone.
    pub earlier: Vec<Earlier>,
}

/// A session as an earlier release's reader left it.
#[derive(Debug, Clone)]
pub struct Earlier {
    /// The session.
    pub key: SessionKey,
    /// What is known.
    pub fold: Arc<Fold>,
    /// Where its transcript was …
    pub path: String,
    /// … and which file it was.
    pub id: FileId,
}

/// Opens (or makes) the index and reads what it knows; a damaged one is set aside and begun anew, with
/// what of it cannot be had from transcripts any more.
///
/// # Errors
/// When no index can be opened at all, or a newer release wrote it.
pub fn open(state_dir: &Path) -> Result<(Writer, Stored), StoreError> {
    if database(state_dir).is_dir() {
        set_aside(state_dir)?;
    }
    match start(state_dir) {
        Err(StoreError::Sqlite { source, .. }) if is_damage(&source) => {
            set_aside(state_dir)?;
            start(state_dir)
        }
        other => other,
    }
}

fn start(state_dir: &Path) -> Result<(Writer, Stored), StoreError> {
    let is_new = !database(state_dir).exists();
    let writer = Writer::start(state_dir)?;
    let damaged = aside(state_dir);
    if is_new && damaged.is_file() {
        match salvage::salvage(&database(state_dir), &damaged) {
            Ok((0, 0)) => {}
            Ok((taken, lost)) => {
                tracing::warn!(
                    taken,
                    lost,
                    "sessions without transcripts, out of the damaged index"
                );
            }
            Err(error) => tracing::warn!(%error, "nothing could be read of the damaged index"),
        }
    }
    let source = |source| StoreError::Sqlite { path: database(state_dir), source };
    let stored = Reader::open(state_dir).map(|reader| reader.load()).transpose().map_err(source)?;
    Ok((writer, stored.unwrap_or_default()))
}

/// Renames the database and its companions out of the way, so that the next start begins anew; only
/// the newest one set aside is kept. Nothing may have it open.
///
/// # Errors
/// The file system's.
pub fn set_aside(state_dir: &Path) -> Result<PathBuf, StoreError> {
    let (path, aside) = (database(state_dir), aside(state_dir));
    for suffix in ["", "-wal", "-shm"] {
        let with = |path: &Path| PathBuf::from(format!("{}{suffix}", path.display()));
        let to = with(&aside);
        // An earlier one goes first: a file cannot be renamed onto a directory, nor be read with
        // another's log.
        let _ = if to.is_dir() { fs::remove_dir_all(&to) } else { fs::remove_file(&to) };
        if let Err(source) = fs::rename(with(&path), to)
            && suffix.is_empty()
        {
            return Err(StoreError::Io { path, source });
        }
    }
    Ok(aside)
}

/// Takes away the damaged database that was set aside, if there is one: what is forgotten may be in it.
pub fn drop_aside(state_dir: &Path) {
    let aside = aside(state_dir);
    for suffix in ["", "-wal", "-shm"] {
        // It is not there, as a rule.
        let _ = fs::remove_file(format!("{}{suffix}", aside.display()));
    }
}

/// Where a damaged database is kept.
#[must_use]
pub fn aside(state_dir: &Path) -> PathBuf {
    database(state_dir).with_extension("db.damaged")
}

/// Errors that no second try mends: what is in the database is not what was put there.
pub(crate) fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::{
        Error::{FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType, Utf8Error},
        ErrorCode::{ConstraintViolation, DatabaseCorrupt, NotADatabase},
    };
    let broken_value = matches!(
        error,
        Utf8Error(..)
            | FromSqlConversionFailure(..)
            | InvalidColumnType(..)
            | IntegralValueOutOfRange(..)
    );
    let code = error.sqlite_error_code();
    broken_value || matches!(code, Some(DatabaseCorrupt | NotADatabase | ConstraintViolation))
}

/// Makes a file that only its owner can read; SQLite gives its companions the same mode.
pub(crate) fn owner_only(path: &Path) -> std::io::Result<fs::File> {
    let mut options = fs::File::options();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Makes a folder that nobody else can look into, and those that it lies in; it may be there.
pub(crate) fn owner_only_folder(path: &Path) -> std::io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(path)
}

fn database(state_dir: &Path) -> PathBuf {
    state_dir.join("index.db")
}
