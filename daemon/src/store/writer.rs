//! Writing the index: one thread, whole commits, as many in a transaction as are waiting.
//!
//! The queue is bounded and its senders wait: the transcript is the buffer, and its cursor has not
//! moved. When the disk is full the transaction is rolled back and tried again until it goes through,
//! so ingest pauses by itself and nothing is lost.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, SyncSender},
    },
    thread::JoinHandle,
    time::Duration,
};

use rrd_proto::SessionKey;
use rusqlite::{Connection, Transaction, params};
use tokio::sync::watch;

use super::{
    Commit, READER_VERSION, StoreError, database,
    reader::{FLAG_ERROR, FLAG_TRUNCATED, KINDS},
    schema,
};

/// Commits that may wait; each holds at most what one stretch of a transcript gave.
const QUEUE: usize = 64;

/// Most commits in one transaction.
const GROUP: usize = 256;

/// How long a failed transaction waits before it is tried again.
const RETRY: Duration = Duration::from_secs(1);

enum Order {
    Write(Box<Commit>),
    Barrier(SyncSender<()>),
}

/// The handle of the writer thread. Dropping it writes what is queued and ends the thread.
#[derive(Debug)]
pub struct Writer {
    queue: Option<SyncSender<Order>>,
    thread: Option<JoinHandle<()>>,
    committed: watch::Receiver<u64>,
    state: Arc<Mutex<WriterState>>,
    finishing: Arc<AtomicBool>,
}

/// How the writer is.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct WriterState {
    /// Why the last transaction failed, while it is being tried again.
    pub failing: Option<String>,
    /// Where a damaged database was set aside at this start.
    pub set_aside: Option<PathBuf>,
}

impl Writer {
    /// Opens (or makes, or replaces) the index and starts the thread.
    ///
    /// # Errors
    /// When no index can be opened at all, or a newer release wrote it.
    pub fn start(state_dir: &Path) -> Result<Self, StoreError> {
        let path = database(state_dir);
        let (db, set_aside) = open_or_replace(&path)?;
        let state = Arc::new(Mutex::new(WriterState { failing: None, set_aside }));
        let (queue, orders) = mpsc::sync_channel(QUEUE);
        let (sender, committed) = watch::channel(0);
        let shared = Arc::clone(&state);
        let finishing = Arc::new(AtomicBool::new(false));
        let last = Arc::clone(&finishing);
        let thread = std::thread::Builder::new()
            .name("rrd-store".into())
            .spawn(move || write(db, &orders, &sender, &shared, &last))
            .map_err(|source| StoreError::Io { path, source })?;
        Ok(Self { queue: Some(queue), thread: Some(thread), committed, state, finishing })
    }

    /// Queues a commit; waits while the queue is full.
    pub fn commit(&self, commit: Commit) {
        self.send(Order::Write(Box::new(commit)));
    }

    /// Returns when everything queued before it is durable.
    pub fn barrier(&self) {
        let (done, wait) = mpsc::sync_channel(1);
        self.send(Order::Barrier(done));
        // An error means that the thread has ended, after writing everything.
        let _ = wait.recv();
    }

    /// From now on, what cannot be written is left to be read again instead of being tried again: a
    /// full disk must not keep the daemon from ending.
    pub fn finish(&self) {
        self.finishing.store(true, Ordering::Relaxed);
    }

    /// Counts transactions; changes when new events can be read.
    #[must_use]
    pub fn committed(&self) -> watch::Receiver<u64> {
        self.committed.clone()
    }

    /// How the writer is.
    #[must_use]
    pub fn state(&self) -> WriterState {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn send(&self, order: Order) {
        if let Some(queue) = &self.queue {
            // An error means that the thread panicked; its absence shows in `state` and at exit.
            let _ = queue.send(order);
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn open_or_replace(path: &Path) -> Result<(Connection, Option<PathBuf>), StoreError> {
    match open(path) {
        Ok(db) => Ok((db, None)),
        Err(StoreError::Sqlite { source, .. }) if is_damage(&source) => {
            let aside = set_aside(path)?;
            Ok((open(path)?, Some(aside)))
        }
        Err(other) => Err(other),
    }
}

fn open(path: &Path) -> Result<Connection, StoreError> {
    let sqlite = |source| StoreError::Sqlite { path: path.to_owned(), source };
    let mut db = Connection::open(path).map_err(sqlite)?;
    db.busy_timeout(Duration::from_secs(5)).map_err(sqlite)?;
    db.pragma_update(None, "journal_mode", "WAL").map_err(sqlite)?;
    // A power cut may lose the last transactions, never their order: they are read again.
    db.pragma_update(None, "synchronous", "NORMAL").map_err(sqlite)?;
    db.pragma_update(None, "trusted_schema", false).map_err(sqlite)?;
    db.pragma_update(None, "cache_size", -4096).map_err(sqlite)?;
    schema::migrate(&mut db, path)?;
    let check: String =
        db.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(sqlite)?;
    if check != "ok" {
        let error = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
        return Err(sqlite(rusqlite::Error::SqliteFailure(error, Some(check))));
    }
    Ok(db)
}

fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase))
}

/// Renames the database and its companions out of the way; the newest set-aside one is kept.
fn set_aside(path: &Path) -> Result<PathBuf, StoreError> {
    let aside = path.with_extension("db.damaged");
    for suffix in ["", "-wal", "-shm"] {
        let with = |path: &Path| PathBuf::from(format!("{}{suffix}", path.display()));
        match fs::rename(with(path), with(&aside)) {
            Err(source) if suffix.is_empty() => {
                return Err(StoreError::Io { path: path.to_owned(), source });
            }
            _ => {}
        }
    }
    Ok(aside)
}

fn write(
    mut db: Connection,
    orders: &Receiver<Order>,
    committed: &watch::Sender<u64>,
    state: &Mutex<WriterState>,
    finishing: &AtomicBool,
) {
    while let Ok(first) = orders.recv() {
        let mut commits = Vec::new();
        let mut barriers = Vec::new();
        let mut next = Some(first);
        while let Some(order) = next {
            match order {
                Order::Write(commit) => commits.push(commit),
                Order::Barrier(done) => barriers.push(done),
            }
            next = if commits.len() < GROUP { orders.try_recv().ok() } else { None };
        }
        while let Err(error) = transact(&mut db, &commits) {
            tracing::warn!(%error, "the index cannot be written; trying again");
            state.lock().unwrap_or_else(PoisonError::into_inner).failing = Some(error.to_string());
            if finishing.load(Ordering::Relaxed) {
                return;
            }
            std::thread::sleep(RETRY);
        }
        state.lock().unwrap_or_else(PoisonError::into_inner).failing = None;
        committed.send_modify(|count| *count += 1);
        for done in barriers {
            let _ = done.send(());
        }
    }
}

fn transact(db: &mut Connection, commits: &[Box<Commit>]) -> rusqlite::Result<()> {
    if commits.is_empty() {
        return Ok(());
    }
    let transaction = db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    for commit in commits {
        put(&transaction, commit)?;
    }
    transaction.commit()
}

fn put(db: &Transaction<'_>, commit: &Commit) -> rusqlite::Result<()> {
    let session = session_row(db, &commit.file.session, commit)?;
    if commit.reset {
        db.execute("DELETE FROM events WHERE session = ?1", [session])?;
        db.execute("DELETE FROM marks WHERE session = ?1", [session])?;
    }
    let mut insert = db.prepare_cached(
        "INSERT INTO events (session, seq, at, kind, flags, offset, key, text, tool, call)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?;
    for stored in &commit.events {
        let event = &stored.event;
        let kind = KINDS.iter().position(|kind| *kind == event.kind).unwrap_or(KINDS.len()) as i64;
        let mut flags = 0;
        if event.is_error {
            flags |= FLAG_ERROR;
        }
        if event.truncated {
            flags |= FLAG_TRUNCATED;
        }
        insert.execute(params![
            session,
            event.seq.cast_signed(),
            event.at.map(rrd_proto::Timestamp::as_millis),
            kind,
            flags,
            stored.offset.cast_signed(),
            stored.key.cast_signed(),
            event.text,
            event.tool,
            event.tool_call_id,
        ])?;
    }
    let mut mark =
        db.prepare_cached("INSERT OR IGNORE INTO marks (session, key) VALUES (?1, ?2)")?;
    for key in &commit.marks {
        mark.execute(params![session, key.cast_signed()])?;
    }
    if let Some(from) = &commit.moved_from {
        db.prepare_cached("DELETE FROM files WHERE path = ?1")?.execute([from])?;
    }
    let json = |value: serde_json::Result<String>| {
        value.map_err(|e| rusqlite::Error::ToSqlConversionFailure(Box::new(e)))
    };
    db.prepare_cached(
        "INSERT INTO files (path, session, cursor, parser, size, mtime) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (path) DO UPDATE SET session = ?2, cursor = ?3, parser = ?4, size = ?5, mtime = ?6",
    )?
    .execute(params![
        commit.file.path,
        session,
        json(serde_json::to_string(&commit.file.cursor))?,
        json(serde_json::to_string(&commit.file.parser))?,
        commit.file.size.cast_signed(),
        commit.file.mtime,
    ])?;
    Ok(())
}

fn session_row(db: &Transaction<'_>, key: &SessionKey, commit: &Commit) -> rusqlite::Result<i64> {
    let fold = serde_json::to_string(&commit.fold)
        .map_err(|e| rusqlite::Error::ToSqlConversionFailure(Box::new(e)))?;
    db.prepare_cached(
        "INSERT INTO sessions (harness, session_id, reader, fold) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (harness, session_id) DO UPDATE SET reader = ?3, fold = ?4 RETURNING id",
    )?
    .query_row(params![key.harness.as_str(), key.session_id, READER_VERSION, fold], |row| {
        row.get(0)
    })
}

#[cfg(test)]
mod tests;
