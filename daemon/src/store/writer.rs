//! Writing the index: one thread, whole commits, as many in a transaction as are waiting.
//!
//! The queue is bounded and its senders wait: the transcript is the buffer, and its cursor has not
//! moved. When the disk is full the transaction is rolled back and tried again until it goes through,
//! so ingest pauses by itself and nothing is lost. The whole database is checked once, when there is
//! nothing else to do: a damaged one is no longer written, and whoever runs the daemon begins it anew.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, SyncSender},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use rrd_proto::{Direction, EventKind, SessionKey, Timestamp};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use tokio::sync::watch;

use super::{
    Commit, DatabaseState, Fill, READER_VERSION, StoreError, StoredEvent, TrailState, Turned,
    bodies::{self, Bodies},
    database, is_damage, owner_only,
    queue::{Backlog, Batch, COLLECT, Next, Queue},
    reader::{FLAG_ERROR, FLAG_SENT, FLAG_TRUNCATED, FLAG_WITHDRAWN, KINDS},
    retain::{self, Limits, Swept},
    schema,
    scrub::{self, Scrub},
};

/// How long the queue must have been empty before the database is checked.
const QUIET: Duration = Duration::from_secs(1);

/// How long somebody else is waited for who has the index for himself.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a failed transaction waits before it is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// While something is written all the time, what is too old is looked for after so long, …
const AGES_APART: Duration = Duration::from_secs(600);

/// … and what is too much in all after at least so long, …
const SWEEPS_APART: Duration = Duration::from_secs(1);

/// … and so many times as long as it takes to look.
const SWEEP_REST: u32 = 20;

/// The handle of the writer thread. Dropping it writes what is queued and ends the thread.
#[derive(Debug)]
pub struct Writer {
    queue: Arc<Queue>,
    thread: Option<JoinHandle<()>>,
    committed: watch::Receiver<Committed>,
    state: Arc<Mutex<WriterState>>,
    finishing: Arc<AtomicBool>,
    limits: Arc<OnceLock<Limits>>,
}

/// The last transaction.
#[derive(Debug, Clone, Default)]
pub struct Committed {
    /// Counts them.
    pub number: u64,
    /// The sessions of which it wrote events, or changed what is stored of these.
    pub sessions: Arc<HashSet<SessionKey>>,
}

/// Somebody waits for new events: while this lives they are written as soon as they come.
#[derive(Debug)]
pub struct Awaited(Arc<Queue>);

impl Drop for Awaited {
    fn drop(&mut self) {
        self.0.awaited(false);
    }
}

/// How the writer is.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct WriterState {
    /// Why the last transaction failed, while it is being tried again.
    pub failing: Option<String>,
    /// The database is damaged and no longer written; see [`super::set_aside`].
    pub damaged: bool,
}

impl Writer {
    /// Opens or makes the index and starts the thread.
    ///
    /// # Errors
    /// When no index can be opened, or a newer release wrote it.
    pub(super) fn start(state_dir: &Path) -> Result<Self, StoreError> {
        let path = database(state_dir);
        let db = open(&path)?;
        let state = Arc::new(Mutex::new(WriterState::default()));
        let queue = Arc::new(Queue::new(COLLECT));
        let (sender, committed) = watch::channel(Committed::default());
        let finishing = Arc::new(AtomicBool::new(false));
        let bodies =
            Bodies::new().map_err(|source| StoreError::Io { path: path.clone(), source })?;
        let limits = Arc::new(OnceLock::new());
        let work = Work {
            scrub: Scrub::stored(&db),
            db,
            bodies,
            queue: Arc::clone(&queue),
            committed: sender,
            state: Arc::clone(&state),
            finishing: Arc::clone(&finishing),
            given_up: false,
            limits: Arc::clone(&limits),
            forgotten: HashSet::new(),
            sweeps: Sweeps::begin(),
        };
        let thread = std::thread::Builder::new()
            .name("rrd-store".into())
            .spawn(move || work.run())
            .map_err(|source| StoreError::Io { path, source })?;
        Ok(Self { queue, thread: Some(thread), committed, state, finishing, limits })
    }

    /// Says how much is kept; the first word counts.
    pub fn limit(&self, limits: Limits) {
        let _ = self.limits.set(limits);
    }

    /// Queues a commit; waits while the queue is full.
    pub fn commit(&self, commit: Commit) {
        self.queue.commit(commit);
    }

    /// Queues bodies of events that are stored without; waits while the queue is full.
    pub fn fill(&self, fill: Fill) {
        self.queue.fill(fill);
    }

    /// Takes these out for good, and takes nothing of them any more.
    pub fn forget(&self, keys: Vec<SessionKey>) {
        self.queue.forget(keys);
    }

    /// Queues changes of status; does not wait, and is not waited for.
    pub fn turned(&self, turned: Vec<Turned>) {
        self.queue.turned(turned);
    }

    /// Queues what is true of a database once everything queued before it is written.
    pub fn database(&self, state: DatabaseState) {
        self.queue.database(state);
    }

    /// Queues what hooks said of a session by now; `None` forgets it. Does not wait, and is not waited
    /// for: it is durable in a moment.
    pub fn trail(&self, key: SessionKey, state: Option<TrailState>) {
        self.queue.trail(key, state);
    }

    /// Returns when everything queued before it is durable.
    pub fn barrier(&self) {
        let (done, wait) = mpsc::sync_channel(1);
        self.queue.barrier(done);
        // An error means that the thread has ended; everything queued was written first.
        let _ = wait.recv();
    }

    /// Has what is queued written at once; the answer comes when it is. `None` when nothing is queued.
    #[must_use]
    pub fn hurry(&self) -> Option<mpsc::Receiver<()>> {
        let (done, wait) = mpsc::sync_channel(1);
        self.queue.barrier_unless_idle(done).then_some(wait)
    }

    /// From now on, what cannot be written is left to be read again instead of being tried again: a
    /// full disk must not keep the daemon from ending.
    pub fn finish(&self) {
        self.finishing.store(true, Ordering::Relaxed);
    }

    /// Changes when new events can be read.
    #[must_use]
    pub fn committed(&self) -> watch::Receiver<Committed> {
        self.committed.clone()
    }

    /// Has events written as soon as they come, as long as the answer lives.
    #[must_use]
    pub fn awaited(&self) -> Awaited {
        self.queue.awaited(true);
        Awaited(Arc::clone(&self.queue))
    }

    /// True when the thread has ended by itself, which it never should.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.thread.as_ref().is_some_and(JoinHandle::is_finished)
    }

    /// What waits to be written.
    #[must_use]
    pub fn waiting(&self) -> Backlog {
        self.queue.backlog()
    }

    /// How the writer is.
    #[must_use]
    pub fn state(&self) -> WriterState {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue.close();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn open(path: &Path) -> Result<Connection, StoreError> {
    owner_only(path).map_err(|source| StoreError::Io { path: path.to_owned(), source })?;
    let sqlite = |source| StoreError::Sqlite { path: path.to_owned(), source };
    let mut db = Connection::open(path).map_err(sqlite)?;
    db.busy_timeout(BUSY_TIMEOUT).map_err(sqlite)?;
    db.pragma_update(None, "journal_mode", "WAL").map_err(sqlite)?;
    // A power cut may lose the last transactions, never their order: they are read again.
    db.pragma_update(None, "synchronous", "NORMAL").map_err(sqlite)?;
    db.pragma_update(None, "trusted_schema", false).map_err(sqlite)?;
    // Also of what a limit took, or what was laid out anew: all of it may be forgotten one day.
    db.pragma_update(None, "secure_delete", true).map_err(sqlite)?;
    db.pragma_update(None, "cache_size", -2048).map_err(sqlite)?;
    schema::migrate(&mut db, path)?;
    if !schema::is_whole(&db) {
        let error = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
        let what = "a table or column is missing".to_owned();
        return Err(sqlite(rusqlite::Error::SqliteFailure(error, Some(what))));
    }
    Ok(db)
}

/// Lets everybody go who waits for the thread, however it ends: otherwise they would wait for ever.
struct AbandonOnDrop(Arc<Queue>);

impl Drop for AbandonOnDrop {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

/// The thread's own side.
struct Work {
    db: Connection,
    bodies: Bodies,
    queue: Arc<Queue>,
    committed: watch::Sender<Committed>,
    state: Arc<Mutex<WriterState>>,
    finishing: Arc<AtomicBool>,
    /// A transaction was left unwritten. One after it would move a cursor past what it held.
    given_up: bool,
    limits: Arc<OnceLock<Limits>>,
    /// What is not to be taken again.
    forgotten: HashSet<SessionKey>,
    /// Of what was forgotten the disk may still hold something.
    scrub: Scrub,
    sweeps: Sweeps,
}

/// How it is with what is too much.
#[derive(Debug)]
struct Sweeps {
    /// When it was looked at last, or the writer began, and how long that took.
    last: (Instant, Duration),
    /// The last look left something to do.
    more: bool,
}

impl Sweeps {
    fn begin() -> Self {
        Self { last: (Instant::now(), Duration::ZERO), more: false }
    }

    /// Whether so much time has passed since the last look.
    fn is_past(&self, apart: Duration) -> bool {
        let (at, took) = self.last;
        at.elapsed() >= apart.max(took * SWEEP_REST)
    }
}

impl Work {
    fn run(mut self) {
        let _abandon = AbandonOnDrop(Arc::clone(&self.queue));
        let (mut check_after, mut checked) = (Some(QUIET), false);
        loop {
            match self.queue.next(check_after) {
                Next::Write(batch, barriers) => {
                    self.write(&batch, barriers);
                    if !self.is_damaged() {
                        self.scrub.when_busy(&self.db);
                        self.sweep_when_busy();
                    }
                    check_after = Some(QUIET);
                }
                Next::Quiet => {
                    if !std::mem::replace(&mut checked, true) {
                        self.check();
                    }
                    if !self.is_damaged() {
                        self.scrub.when_quiet(&self.db);
                    }
                    let scrub = self.scrub.wait();
                    check_after = if self.sweep() { Some(QUIET) } else { scrub };
                }
                Next::Closed => return,
            }
        }
    }

    /// Everything that was collected becomes one transaction.
    fn write(&mut self, batch: &Batch, barriers: Vec<SyncSender<()>>) {
        let limits = self.limits();
        self.forgotten.extend(batch.forgets.iter().cloned());
        // What a forgotten session delegates is forgotten, too, whenever it begins.
        let some = if self.forgotten.is_empty() { &[][..] } else { &batch.commits };
        for Commit { file, fold, .. } in some {
            if fold.delegated_by(&file.session).is_some_and(|by| self.forgotten.contains(&by)) {
                self.forgotten.insert(file.session.clone());
            }
        }
        while !self.is_damaged() && !self.given_up {
            match transact(&mut self.db, &mut self.bodies, &limits, &self.forgotten, batch) {
                Ok(()) => {
                    self.change(|state| state.failing = None);
                    break;
                }
                Err(error) if is_damage(&error) => self.damage(&error.to_string()),
                Err(error) => {
                    // What it knew of blocks may have been rolled back.
                    self.bodies.clear();
                    tracing::warn!(%error, "the index cannot be written; trying again");
                    self.change(|state| state.failing = Some(error.to_string()));
                    if self.finishing.load(Ordering::Relaxed) {
                        self.given_up = true;
                        break;
                    }
                    std::thread::sleep(RETRY);
                }
            }
        }
        if !batch.forgets.is_empty() {
            self.bodies.clear();
            if !self.is_damaged() {
                self.scrub.forgotten(&self.db);
            }
        }
        let changed = |commit: &&Commit| {
            commit.reset || !commit.events.is_empty() || !commit.standing.is_empty()
        };
        let changed = batch.commits.iter().filter(changed).map(|commit| &commit.file.session);
        let filled = batch.fills.iter().filter(|fill| fill.done).map(|fill| &fill.session);
        let sessions = changed.chain(filled).chain(&batch.forgets).cloned().collect();
        self.committed.send_modify(|last| {
            *last = Committed { number: last.number + 1, sessions: Arc::new(sessions) };
        });
        for done in barriers {
            // Whoever asked may have gone.
            let _ = done.send(());
        }
    }

    fn limits(&self) -> Limits {
        self.limits.get().copied().unwrap_or_default()
    }

    /// Takes away some of what is too much also while more is being written: that may never end.
    fn sweep_when_busy(&mut self) {
        let is_too_much =
            || retain::used_bytes(&self.db).is_ok_and(|used| used > self.limits().total);
        let is_due = self.sweeps.more
            || self.sweeps.is_past(AGES_APART)
            || self.sweeps.is_past(SWEEPS_APART) && is_too_much();
        if is_due {
            self.sweep();
        }
    }

    /// Takes away what is too much, some of it at a time; true when there is more to do.
    fn sweep(&mut self) -> bool {
        if self.is_damaged() {
            return false;
        }
        let began = Instant::now();
        let limits = self.limits();
        let mut swept = Swept::default();
        let more = (|| {
            let transaction = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let more = retain::sweep(&transaction, &limits, crate::hub::now(), &mut swept)?;
            transaction.commit()?;
            Ok::<_, rusqlite::Error>(more)
        })();
        if swept != Swept::default() {
            self.bodies.clear();
            tracing::info!(sessions = swept.sessions, bytes = swept.bytes, "older activity went");
        }
        self.sweeps.last = (began, began.elapsed());
        self.sweeps.more = more.unwrap_or_else(|error| {
            tracing::warn!(%error, "older activity stays for now");
            false
        });
        self.sweeps.more
    }

    fn check(&self) {
        let found = self.db.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
        match found {
            Ok(word) if word == "ok" => {}
            Ok(damage) => self.damage(&damage),
            Err(error) => self.damage(&error.to_string()),
        }
    }

    /// Nothing is written from here on: what is queued is read again into the next index.
    fn damage(&self, what: &str) {
        tracing::error!(what, "the index is damaged");
        self.change(|state| state.damaged = true);
    }

    fn is_damaged(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).damaged
    }

    fn change(&self, change: impl FnOnce(&mut WriterState)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

fn transact<'b>(
    db: &mut Connection,
    bodies: &mut Bodies,
    limits: &Limits,
    forgotten: &HashSet<SessionKey>,
    batch: &'b Batch,
) -> rusqlite::Result<()> {
    let Batch { commits, fills, turned, forgets: _, databases, trails } = batch;
    if batch.is_empty() {
        return Ok(());
    }
    // Of several commits of one transcript the last one's state holds.
    let last: HashMap<&str, usize> =
        commits.iter().enumerate().map(|(i, commit)| (commit.file.path.as_str(), i)).collect();
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for (i, commit) in commits.iter().enumerate() {
        if forgotten.contains(&commit.file.session) {
            continue;
        }
        let session = session_row(&transaction, &commit.file.session)?;
        if let Some(path) = commit.file.database() {
            transaction.prepare_cached("DELETE FROM databases WHERE path = ?1")?.execute([path])?;
        }
        if commit.reset {
            forget(&transaction, session)?;
            // Others may keep now what this one kept for them.
            bodies.clear();
        }
        put_events(&transaction, session, commit)?;
        let of_event =
            |stored: &'b StoredEvent| Some((stored.event.seq, stored.event.body.as_ref()?));
        bodies.put(&transaction, session, commit.events.iter().filter_map(of_event))?;
        bodies.limit(&transaction, session, limits.session)?;
        if last[commit.file.path.as_str()] == i {
            put_state(&transaction, session, commit)?;
        }
    }
    for Fill { session, bodies: filled, done } in fills {
        if forgotten.contains(session) {
            continue;
        }
        let session = session_row(&transaction, session)?;
        bodies.put(&transaction, session, filled.iter().map(|(seq, body)| (*seq, body)))?;
        bodies.limit(&transaction, session, limits.session)?;
        if *done {
            let sql = "UPDATE sessions SET bodied = 1 WHERE id = ?1";
            transaction.prepare_cached(sql)?.execute([session])?;
        }
    }
    let turned = turned.iter().filter(|turned| !forgotten.contains(&turned.session));
    turned.into_iter().try_for_each(|turned| put_turned(&transaction, turned))?;
    databases.iter().try_for_each(|state| put_database(&transaction, state))?;
    let trails = trails.iter().filter(|(key, _)| !forgotten.contains(key));
    trails.into_iter().try_for_each(|(key, state)| put_trail(&transaction, key, state.as_ref()))?;
    let changes = transaction.total_changes();
    for key in &batch.forgets {
        remove(&transaction, key)?;
    }
    if transaction.total_changes() > changes {
        scrub::note(&transaction)?;
    }
    transaction.commit()
}

/// Unless it is what was the case before.
fn put_turned(db: &Transaction<'_>, turned: &Turned) -> rusqlite::Result<()> {
    let session = session_row(db, &turned.session)?;
    let waiting = turned.waiting_for.map(|waiting| waiting.as_str());
    let now =
        (turned.status.as_str().to_owned(), waiting.map(str::to_owned), turned.detail.clone());
    let sql = "SELECT status, waiting, detail FROM stretches
            WHERE session = ?1 ORDER BY at DESC LIMIT 1";
    let last = db
        .prepare_cached(sql)?
        .query_row([session], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    if last.is_some_and(|last: (String, Option<String>, Option<String>)| last == now) {
        return Ok(());
    }
    db.prepare_cached(
        "INSERT OR REPLACE INTO stretches (session, at, status, waiting, detail)
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![session, turned.at.as_millis(), now.0, now.1, now.2])?;
    Ok(())
}

/// Takes a session out.
fn remove(db: &Transaction<'_>, key: &SessionKey) -> rusqlite::Result<()> {
    put_trail(db, key, None)?;
    let known = db
        .prepare_cached("SELECT id FROM sessions WHERE harness = ?1 AND session_id = ?2")?
        .query_row([key.harness.as_str(), &key.session_id], |row| row.get::<_, i64>(0))
        .optional()?;
    let Some(session) = known else { return Ok(()) };
    forget(db, session)?;
    for sql in [
        "DELETE FROM gaps WHERE session = ?1",
        "DELETE FROM stretches WHERE session = ?1",
        "DELETE FROM files WHERE session = ?1",
        "DELETE FROM sessions WHERE id = ?1",
    ] {
        db.execute(sql, [session])?;
    }
    Ok(())
}

/// Takes out whatever is stored of a session, but that it is there.
fn forget(db: &Transaction<'_>, session: i64) -> rusqlite::Result<()> {
    db.execute("DELETE FROM events WHERE session = ?1", [session])?;
    db.execute("DELETE FROM marks WHERE session = ?1", [session])?;
    bodies::delete(db, session)?;
    db.execute("UPDATE sessions SET bodied = 1, life = random() WHERE id = ?1", [session])?;
    Ok(())
}

fn put_events(db: &Transaction<'_>, session: i64, commit: &Commit) -> rusqlite::Result<()> {
    if let Some(from) = &commit.moved_from {
        db.prepare_cached("DELETE FROM files WHERE path = ?1")?.execute([from])?;
    }
    let mut insert = db.prepare_cached(
        // A row can only be there already where the index is damaged; that must not stop what is new.
        "INSERT OR REPLACE INTO events
             (session, seq, at, kind, flags, offset, key, text, tool, call, message)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
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
        if event.direction == Some(Direction::Sent) {
            flags |= FLAG_SENT;
        }
        if event.withdrawn {
            flags |= FLAG_WITHDRAWN;
        }
        insert.execute(params![
            session,
            event.seq.cast_signed(),
            event.at.map(Timestamp::as_millis),
            kind,
            flags,
            stored.offset.cast_signed(),
            stored.key.cast_signed(),
            event.text,
            event.tool,
            event.tool_call_id,
            event.message_id.as_ref().or(event.subagent.as_ref()),
        ])?;
    }
    if !commit.standing.is_empty() {
        judge(db, session, &commit.standing)?;
    }
    let mut mark =
        db.prepare_cached("INSERT OR IGNORE INTO marks (session, key) VALUES (?1, ?2)")?;
    for key in &commit.marks {
        mark.execute(params![session, key.cast_signed()])?;
    }
    Ok(())
}

/// Marks the events of records that no longer stand, and no longer those that stand again.
fn judge(
    db: &Transaction<'_>,
    session: i64,
    standing: &HashMap<u64, bool>,
) -> rusqlite::Result<()> {
    // Titles and ends are told by rows that are rewritten in place: what they said before was so.
    let by_rows = [EventKind::Title, EventKind::Ended];
    let by_rows = by_rows.map(|kind| KINDS.iter().position(|known| *known == kind));
    let mut others = Vec::new();
    let mut events =
        db.prepare_cached("SELECT seq, key, flags, kind FROM events WHERE session = ?1")?;
    let mut rows = events.query([session])?;
    while let Some(row) = rows.next()? {
        let (seq, flags, kind): (i64, i64, i64) = (row.get(0)?, row.get(2)?, row.get(3)?);
        let key = row.get::<_, i64>(1)?.cast_unsigned();
        let Some(stands) = standing.get(&key) else { continue };
        let is_withdrawn = flags & FLAG_WITHDRAWN != 0;
        if is_withdrawn == *stands && !by_rows.contains(&usize::try_from(kind).ok()) {
            others.push((seq, flags ^ FLAG_WITHDRAWN));
        }
    }
    let mut update =
        db.prepare_cached("UPDATE events SET flags = ?3 WHERE session = ?1 AND seq = ?2")?;
    for (seq, flags) in others {
        update.execute(params![session, seq, flags])?;
    }
    Ok(())
}

fn put_state(db: &Transaction<'_>, session: i64, commit: &Commit) -> rusqlite::Result<()> {
    let file = &commit.file;
    let fold = json(&*commit.fold)?;
    let seal = schema::seal(&[&file.session.to_string(), &fold]);
    db.prepare_cached("UPDATE sessions SET reader = ?2, fold = ?3, seal = ?4 WHERE id = ?1")?
        .execute(params![session, READER_VERSION, fold, seal])?;
    let (cursor, parser) = (json(&file.cursor)?, json(&file.parser)?);
    let seal = schema::seal(&[&file.path, &file.session.to_string(), &cursor, &parser]);
    db.prepare_cached(
        "INSERT INTO files (path, session, cursor, parser, size, mtime, seal)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT (path) DO UPDATE
         SET session = ?2, cursor = ?3, parser = ?4, size = ?5, mtime = ?6, seal = ?7",
    )?
    .execute(params![
        file.path,
        session,
        cursor,
        parser,
        file.size.cast_signed(),
        file.mtime,
        seal
    ])?;
    Ok(())
}

fn put_database(db: &Transaction<'_>, state: &DatabaseState) -> rusqlite::Result<()> {
    let text = json(state)?;
    let seal = schema::seal(&[&state.path, &text]);
    db.prepare_cached(
        "INSERT OR REPLACE INTO databases (path, reader, state, seal) VALUES (?1, ?2, ?3, ?4)",
    )?
    .execute(params![state.path, READER_VERSION, text, seal])?;
    Ok(())
}

fn put_trail(
    db: &Transaction<'_>,
    key: &SessionKey,
    state: Option<&TrailState>,
) -> rusqlite::Result<()> {
    let (harness, id) = (key.harness.as_str(), &key.session_id);
    let Some(state) = state else {
        let sql = "DELETE FROM trails WHERE harness = ?1 AND session_id = ?2";
        db.prepare_cached(sql)?.execute(params![harness, id])?;
        return Ok(());
    };
    let text = json(state)?;
    let seal = schema::seal(&[&key.to_string(), &text]);
    db.prepare_cached(
        "INSERT OR REPLACE INTO trails (harness, session_id, trail, seal) VALUES (?1, ?2, ?3, ?4)",
    )?
    .execute(params![harness, id, text, seal])?;
    Ok(())
}

fn json(value: &impl serde::Serialize) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|e| rusqlite::Error::ToSqlConversionFailure(Box::new(e)))
}

/// The session's row, made when it is not there; its fold comes with [`put_state`].
fn session_row(db: &Transaction<'_>, key: &SessionKey) -> rusqlite::Result<i64> {
    let known = db
        .prepare_cached("SELECT id FROM sessions WHERE harness = ?1 AND session_id = ?2")?
        .query_row([key.harness.as_str(), &key.session_id], |row| row.get(0))
        .optional()?;
    if let Some(id) = known {
        return Ok(id);
    }
    let empty = json(&rrd_core::fold::Fold::default())?;
    db.prepare_cached(
        "INSERT INTO sessions (harness, session_id, reader, fold, bodied, life)
         VALUES (?1, ?2, ?3, ?4, 1, random())",
    )?
    .insert(params![key.harness.as_str(), key.session_id, READER_VERSION, empty])
}

#[cfg(test)]
mod tests;
