//! Follows the sessions that a harness keeps in databases.
//!
//! A look compares what each session's records amount to with what was taken of them. Whatever was only
//! added is read on; anything else (undo, retry, compaction, deletion, another file under the name)
//! means that the history is read anew: known records are dropped by their content, so nothing happens
//! twice, and what was taken back no longer counts. What is compared is computed from the records that
//! were really read, so a change between two reads is found by the next look.
//!
//! Which sessions to look at is told by their rows and by where records were stored last; what neither
//! tells (records deleted or changed in place) is found by comparing each session's records, in turn.
//! A look is cheap while the files are as they were. While they are not, looking takes a fifth of the
//! time at most once there is no backlog, and pauses between any two reads while there is one. Not here: SQLite ([`database`]), who has a database open ([`super::locks`]).

mod asks;
mod copies;
mod database;
mod session;
#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use rrd_core::{
    fold::Fold,
    harness::{Format, tables::Tables},
    live::Ask,
    roster::Absence,
};
use rrd_proto::{SessionKey, Timestamp};

use super::{absent, scene::Scene, source, take::Ledger};
use crate::{
    hub::shown,
    store::{DatabaseState, FileState, Look, Stored},
};
use database::{SessionRow, Snapshot, Unreadable};
use session::Session;

/// A read transaction lasts no longer than about this.
const PATIENCE: Duration = Duration::from_millis(40);

/// Of rows that are handed over as lines about so many bytes are read at once.
const AT_ONCE: usize = 2 << 20;

/// A look that took so long is followed by four times as long without one, …
const REST: u32 = 4;

/// … but never longer than this.
const MAX_REST: Duration = Duration::from_secs(2);

/// All sessions' records are compared so long after the last time, or after …
const COMPARE: Duration = Duration::from_secs(1);

/// … so many times as long as it takes.
const COMPARE_REST: u32 = 20;

/// While there is a backlog, the harness gets this long between two reads.
const PAUSE: Duration = Duration::from_millis(5);

/// File systems tell times to a few milliseconds; FAT to two seconds, but nobody keeps databases there.
const FRESH: Duration = Duration::from_millis(100);

/// The databases beneath one root.
#[derive(Debug, Default)]
pub(crate) struct Databases {
    by_path: HashMap<PathBuf, Database>,
    /// Which database a session is read from: a copy of one beside it must not list it twice.
    owners: HashMap<String, PathBuf>,
    /// Records are compared, too. Not while somebody waits for a first answer that others follow.
    compares: bool,
    /// What the index has of sessions not seen yet in a database, by session id.
    stored: HashMap<String, (FileState, Arc<Fold>)>,
    /// How databases looked when the index had all of them, by path as shown.
    as_stored: HashMap<String, DatabaseState>,
    asks: asks::Asks,
}

#[derive(Debug, Default)]
struct Database {
    /// How the files looked when they were read.
    seen: Option<Look>,
    /// How they looked when the comparing began that is not over yet.
    compared: Option<Look>,
    sessions: HashMap<String, Session>,
    /// Sessions that are here, too, but read from another database; and how their rows looked when the
    /// two were compared.
    copies: HashMap<String, Option<u64>>,
    /// Sessions of which something is still to be read.
    unread: VecDeque<SessionRow>,
    /// Sessions whose records are still to be compared.
    unsure: VecDeque<SessionRow>,
    /// Where the last record was stored.
    last_place: Option<i64>,
    /// When all are to be compared again, and how long that takes.
    compare_at: Option<Instant>,
    comparing: Duration,
    /// Not looked at before then.
    rests_until: Option<Instant>,
    /// Looked at once more then.
    recheck: Option<Instant>,
    /// It may have changed.
    touched: bool,
    /// Its file is not there, since then.
    missing: Option<Instant>,
    in_wal_mode: bool,
    /// Its schema, where it is a newer one than is known: it is read as far as it is alike.
    newer: Option<i64>,
    /// Why it is not read.
    trouble: Option<String>,
}

impl Databases {
    /// Of a look that no other follows.
    pub(crate) fn for_one_look() -> Self {
        Self { compares: true, ..Self::default() }
    }

    /// Takes over what the index has of sessions in databases.
    pub(super) fn adopt(&mut self, stored: &mut Stored) {
        let (rows, files) = std::mem::take(&mut stored.files)
            .into_iter()
            .partition::<Vec<_>, _>(|file| file.cursor.rows.is_some());
        stored.files = files;
        let mut states: HashMap<SessionKey, FileState> =
            rows.into_iter().map(|file| (file.session.clone(), file)).collect();
        let databases = std::mem::take(&mut stored.databases);
        self.as_stored = databases.into_iter().map(|db| (db.path.clone(), db)).collect();
        let sessions = std::mem::take(&mut stored.sessions);
        for (key, fold) in sessions {
            match states.remove(&key) {
                Some(file) => {
                    let path = file.database().map(PathBuf::from);
                    // It goes on from where it was read last, whichever of two copies is found first.
                    if let Some(path) = path.filter(|path| self.by_path.contains_key(path)) {
                        self.owners.insert(key.session_id.clone(), path);
                    }
                    self.stored.insert(key.session_id, (file, fold));
                }
                None => stored.sessions.push((key, fold)),
            }
        }
    }

    /// A file of a database was found, or may have changed.
    pub(super) fn touch(&mut self, path: &Path) {
        self.by_path.entry(main_file(path)).or_default().touched = true;
    }

    /// Looks whether any has changed; the files alone are looked at, nothing is opened.
    pub(super) fn check(&mut self) {
        for (path, database) in &mut self.by_path {
            database.touched |= match look(path) {
                Ok(look) => Some(look) != database.seen,
                // Also when it went while it was being opened.
                Err(_) => database.missing.is_none(),
            };
        }
    }

    /// Whether this session's records are in a database, so that a transcript of it is a leftover.
    pub(super) fn has(&self, session_id: &str) -> bool {
        let Some(path) = self.owners.get(session_id) else { return false };
        let session = self.by_path.get(path).and_then(|db| db.sessions.get(session_id));
        session.is_some_and(|session| session.filled)
    }

    /// When there will be something to do: at once, later, or not before something changes.
    pub(super) fn due(&self) -> Option<Instant> {
        let due = |database: &Database| {
            let now = (database.touched || database.has_work())
                .then(|| database.rests_until.unwrap_or_else(Instant::now));
            now.into_iter().chain(database.recheck).min()
        };
        self.by_path.values().filter_map(due).chain(self.asks.recheck).min()
    }

    /// Whether what sessions ask is to be looked at, though nothing has changed.
    pub(super) fn asks_are_due(&self) -> bool {
        self.asks.recheck.is_some_and(|at| at <= Instant::now())
    }

    /// Reads what there is to read of databases that are due.
    pub(super) fn work(&mut self, scene: &Scene, ledger: &dyn Ledger) {
        let now = Instant::now();
        for database in self.by_path.values_mut() {
            if database.recheck.take_if(|at| *at <= now).is_some() {
                (database.touched, database.seen) = (true, None);
            }
        }
        let due: Vec<PathBuf> = self
            .by_path
            .iter()
            .filter(|(_, db)| db.touched || db.has_work())
            .filter(|(_, db)| db.rests_until.is_none_or(|until| until <= now))
            .map(|(path, _)| path.clone())
            .collect();
        for path in due {
            self.work_on(&path, scene, ledger);
        }
    }

    /// The first look: a row for every session; whole ones for as long as `budget` lasts.
    pub(super) fn survey(&mut self, scene: &Scene, ledger: &dyn Ledger, budget: Duration) {
        let until = Instant::now() + budget;
        let mut paths: Vec<PathBuf> = self.by_path.keys().cloned().collect();
        copies::in_order(&mut paths);
        for path in &paths {
            if !self.take_over(path, scene) {
                self.first_look(path, scene, ledger, until);
            }
        }
        // One further down had what now is free.
        for path in &paths {
            if self.by_path.get(path).is_some_and(|db| db.touched && !db.copies.is_empty()) {
                self.first_look(path, scene, ledger, until);
            }
        }
        self.compares = true;
        // They are gone, or their databases are; what was read of them stands, should they come back.
        for (id, (file, fold)) in &self.stored {
            if scene.hub.claim(&file.session, scene.index) {
                let path = file.path.rsplit_once('#').map_or(&*file.path, |(path, _)| path);
                scene.publish(&file.session, fold, path, true);
                let was_read = |db: &Database| {
                    db.seen.is_some() && db.trouble.is_none() && db.missing.is_none()
                };
                let why = if self.by_path.get(Path::new(path)).is_some_and(was_read) {
                    Absence::Gone
                } else {
                    // Of a database that is not there, its log may be.
                    let why = absent::why(&scene.root, Path::new(path), file.cursor.id);
                    why.unwrap_or(Absence::OutOfSight)
                };
                self.owners.remove(id);
                scene.absent(file.session.clone(), why);
            }
        }
    }

    /// Databases that cannot be read, or not for certain, and why.
    pub(super) fn troubles(&self, format: &Format) -> Vec<(PathBuf, String)> {
        let Some(Tables { newest, .. }) = format.tables else { return Vec::new() };
        let newer = |found| {
            format!(
                "schema {found} is newer than what this release knows ({newest}); read as far as it is alike"
            )
        };
        let trouble = |(path, db): (&PathBuf, &Database)| {
            Some((path.clone(), db.trouble.clone().or_else(|| db.newer.map(newer))?))
        };
        let mut troubles: Vec<_> = self.by_path.iter().filter_map(trouble).collect();
        troubles.extend(self.asks.trouble.clone());
        troubles.sort();
        troubles
    }

    /// What sessions ask a person now.
    pub(super) fn asks(&mut self, scene: &Scene, now: Timestamp) -> HashMap<SessionKey, Ask> {
        let Some(spec) = scene.format.asks else { return HashMap::new() };
        let mut paths: Vec<&Path> = self.by_path.keys().map(PathBuf::as_path).collect();
        paths.sort();
        self.asks.look(&scene.root, &scene.harness, spec, &paths, now)
    }

    /// Those of which it can be seen whether somebody has them open.
    pub(super) fn in_wal_mode(&self) -> impl Iterator<Item = &Path> {
        self.by_path.iter().filter(|(_, db)| db.in_wal_mode).map(|(path, _)| path.as_path())
    }

    /// How many sessions they hold, and how many of these are still to be read.
    pub(super) fn sessions(&self) -> (usize, usize) {
        let count = |of: fn(&Database) -> usize| self.by_path.values().map(of).sum();
        (count(|db| db.sessions.len()), count(|db| db.unread.len() + db.unsure.len()))
    }

    fn first_look(&mut self, path: &Path, scene: &Scene, ledger: &dyn Ledger, until: Instant) {
        loop {
            self.work_on(path, scene, ledger);
            let left =
                |db: &Database| !db.unread.is_empty() || (self.compares && !db.unsure.is_empty());
            let left = self.by_path.get(path).is_some_and(left);
            if !left || Instant::now() >= until {
                break;
            }
        }
        self.glance(path, scene);
    }

    fn work_on(&mut self, path: &Path, scene: &Scene, ledger: &dyn Ledger) {
        let Some(tables) = scene.format.tables else { return };
        let Some(mut database) = self.by_path.remove(path) else { return };
        let began = Instant::now();
        let mut rest = None;
        match self.look(path, &mut database, tables, scene, ledger) {
            Ok(()) => {
                (database.trouble, database.missing) = (None, None);
                rest = database.has_work().then_some(PAUSE);
            }
            Err(Failure::Gone) => {
                // Made anew, it is looked at; until then there is nothing to do.
                database.forget();
                database.trouble = None;
                self.miss(path, &mut database, scene);
            }
            Err(Failure::Unreadable(why)) if why.passes() => {
                database.forget();
                database.touched = true;
            }
            Err(Failure::Unreadable(why)) => {
                database.forget();
                database.trouble = Some(why.to_string());
                database.seen = look(path).ok();
                database.recheck =
                    database.seen.is_some_and(|now| is_fresh(&now)).then(|| Instant::now() + FRESH);
            }
            Err(Failure::Ledger(why)) => {
                database.forget();
                database.trouble = Some(why.to_string());
                (database.touched, rest) = (true, Some(MAX_REST));
            }
        }
        let rest = rest.unwrap_or_else(|| (began.elapsed() * REST).min(MAX_REST));
        database.rests_until = Some(Instant::now() + rest);
        self.by_path.insert(path.to_owned(), database);
    }

    fn look(
        &mut self,
        path: &Path,
        database: &mut Database,
        tables: &'static Tables,
        scene: &Scene,
        ledger: &dyn Ledger,
    ) -> Result<(), Failure> {
        let now = look(path).map_err(|_| Failure::Gone)?;
        if database.seen == Some(now) && !database.has_work() {
            database.touched = false;
            return Ok(());
        }
        if database.seen != Some(now) {
            let snapshot = Snapshot::open(path, tables, PATIENCE)?;
            database.in_wal_mode = snapshot.in_wal_mode;
            database.newer = snapshot.newer;
            self.list(path, now, database, &snapshot, scene)?;
            (database.seen, database.touched) = (Some(now), false);
            // A change within the same tick of the file system's clock would look like none.
            let fresh = is_fresh(&now).then(|| Instant::now() + FRESH);
            let again = fresh.or(database.compare_at);
            database.recheck = database.recheck.into_iter().chain(again).min();
        }
        let snapshot = Snapshot::open(path, tables, PATIENCE)?;
        // Fetched first, then taken: what is waited for then does not keep the database's log.
        let mut fetched = Vec::new();
        while let Some(row) = database.unread.pop_front() {
            if let Some(session) = database.sessions.get_mut(&row.id) {
                fetched.push(session.fetch(row, now.0, scene.format, &snapshot)?);
            }
            if snapshot.is_over() {
                break;
            }
        }
        let began = Instant::now();
        while self.compares
            && let Some(row) = database.unsure.pop_front()
        {
            let Some(session) = database.sessions.get_mut(&row.id) else { continue };
            if !session.is_as_taken(&row, &snapshot)? {
                database.unread.push_back(row);
            } else if let Some(fold) = session.partial.take() {
                session.shown = true;
                scene.publish(&session.file.session, &fold, &shown(path), true);
            }
            if snapshot.is_over() {
                break;
            }
        }
        database.comparing += began.elapsed();
        if database.unsure.is_empty() && database.compare_at.is_none() {
            let rest = COMPARE.max(database.comparing * COMPARE_REST);
            (database.compare_at, database.comparing) =
                (Some(Instant::now() + rest), Duration::ZERO);
        }
        drop(snapshot);
        let shown = shown(path);
        for batch in fetched {
            let Some(session) = database.sessions.get_mut(&batch.row.id) else { continue };
            let (key, row) = (session.file.session.clone(), batch.row.clone());
            let _stays_ours = scene.hub.handover();
            if !scene.hub.is_claimed_by(&key, scene.index) {
                database.is_anothers(&batch.row.id);
                continue;
            }
            let mut fold = session.partial.take().or_else(|| scene.hub.fold(&key));
            let taken = session.take(batch, &mut fold, scene.format, ledger);
            match (taken, fold) {
                (Ok(true), Some(fold)) => {
                    session.shown = true;
                    scene.publish(&key, &fold, &shown, true);
                }
                (Ok(_), fold) => {
                    session.partial = fold;
                    database.unread.push_back(row);
                }
                (Err(why), fold) => {
                    session.partial = fold;
                    return Err(Failure::Ledger(why));
                }
            }
        }
        // With copies it is looked into at every start: they are told.
        if !database.has_work()
            && database.copies.is_empty()
            && let Some(look) =
                database.compared.take_if(|compared| Some(*compared) == database.seen)
        {
            ledger.database(self.state(shown, look, database, scene));
        }
        Ok(())
    }

    /// Finds out of which sessions there is something to read.
    fn list(
        &mut self,
        path: &Path,
        look: Look,
        database: &mut Database,
        snapshot: &Snapshot,
        scene: &Scene,
    ) -> Result<(), Unreadable> {
        let place = database.last_place;
        let (stored, last) = snapshot.stored_after(place.unwrap_or(i64::MAX))?;
        database.last_place = Some(last);
        // Numbered anew, or begun: nothing tells where to look.
        let lost = place.is_none_or(|place| last < place);
        let all = lost || database.compare_at.is_none_or(|at| at <= Instant::now());
        database.compared = (all && !is_fresh(&look)).then_some(look);
        let id = look.0;
        let unsure: HashSet<String> = database.unsure.drain(..).map(|row| row.id).collect();
        let unread: HashSet<String> = database.unread.drain(..).map(|row| row.id).collect();
        let mut here = HashSet::new();
        for row in snapshot.sessions()? {
            let key = SessionKey { harness: scene.harness.clone(), session_id: row.id.clone() };
            if row.id.is_empty() || scene.hub.is_forgotten(&key) {
                continue;
            }
            here.insert(row.id.clone());
            let gained = stored.contains(&row.id);
            let is_ours = scene.hub.is_claimed_by(&key, scene.index);
            let is_new = !is_ours || !self.owners.contains_key(&row.id);
            if !self.owns(path, &key, scene) {
                let taken = self.copy((path, id), database, (&row, gained), snapshot, scene);
                let Some(session) = taken else { continue };
                database.sessions.insert(row.id.clone(), session);
            } else if is_new || database.missing.is_some() {
                database.copies.remove(&row.id);
                scene.present(key.clone());
                let left = self.left_elsewhere(path, id, &key, scene);
                left.map(|session| database.sessions.insert(row.id.clone(), session));
            }
            let session = database.sessions.entry(row.id.clone()).or_insert_with(|| {
                match self.stored.remove(&row.id) {
                    Some((file, fold)) => Session::stored(file, fold),
                    None => Session::new(format!("{}#{}", shown(path), row.id), key, id),
                }
            });
            let touched = gained || unread.contains(&row.id);
            if touched || !session.looks_as_taken(&row, id) {
                database.unread.push_back(row);
            } else if all || unsure.contains(&row.id) {
                // What was stored stands until its records are found to be others.
                if let Some(fold) = session.partial.clone().filter(|_| !session.shown) {
                    session.shown = true;
                    scene.publish(&session.file.session, &fold, &shown(path), true);
                }
                database.unsure.push_back(row);
            }
        }
        for id in database.gone_from_among(&here) {
            self.let_go(path, &id, database, scene);
        }
        if all {
            database.compare_at = None;
        }
        // Newest first, as far as their ids tell.
        database.unread.make_contiguous().sort_by(|a, b| b.id.cmp(&a.id));
        Ok(())
    }

    /// Takes a database's sessions from the index, when it looks as it did when the index had them all:
    /// then it is not even opened.
    fn take_over(&mut self, path: &Path, scene: &Scene) -> bool {
        let shown = shown(path);
        let Some(state) = self.as_stored.remove(&*shown) else { return false };
        if look(path).ok() != Some(state.look) || self.stored_of(&shown) != state.sessions {
            return false;
        }
        let here = |_: &String, (file, _): &mut (FileState, _)| file.database() == Some(&*shown);
        let stored: Vec<_> = self.stored.extract_if(here).collect();
        let mut sessions = HashMap::new();
        let mut anothers = Vec::new();
        for (id, (file, fold)) in stored {
            if !self.owns(path, &file.session, scene) {
                anothers.push(id);
                continue;
            }
            scene.publish(&file.session, &fold, &shown, true);
            if state.gone.contains(&id) {
                self.owners.remove(&id);
                scene.absent(file.session.clone(), Absence::Gone);
            }
            let mut session = Session::stored(file, fold);
            session.shown = true;
            sessions.insert(id, session);
        }
        let Some(database) = self.by_path.get_mut(path) else { return false };
        database.sessions = sessions;
        (database.seen, database.touched) = (Some(state.look), false);
        (database.last_place, database.in_wal_mode) = (Some(state.place), state.in_wal_mode);
        database.newer = state.newer;
        anothers.iter().for_each(|id| database.is_anothers(id));
        true
    }

    /// What the index will have of a database, once all that was read of it is written.
    fn state(&self, path: String, look: Look, database: &Database, scene: &Scene) -> DatabaseState {
        let ids = database.sessions.keys();
        let sessions = ids.fold(self.stored_of(&path), |sum, id| sum.wrapping_add(hash_of(id)));
        let place = database.last_place.unwrap_or_default();
        let (harness, newer) = (scene.harness.clone(), database.newer);
        let in_wal_mode = database.in_wal_mode;
        // Whoever is in it is owned by it, and has been since the last listing.
        let owner = |id: &String| self.owners.get(id).is_some_and(|at| *shown(at) == *path);
        let stored = self.stored.iter().filter(|(_, (file, _))| file.database() == Some(&path));
        let known = database.sessions.keys().chain(stored.map(|(id, _)| id));
        let mut gone: Vec<String> = known.filter(|id| !owner(id)).cloned().collect();
        gone.sort();
        DatabaseState { path, harness, look, place, in_wal_mode, newer, sessions, gone }
    }

    /// Sum of the hashes of sessions of which only the index knows that they are, or were, in a database.
    fn stored_of(&self, path: &str) -> u64 {
        let here = self.stored.iter().filter(|(_, (file, _))| file.database() == Some(path));
        here.fold(0, |sum, (id, _)| sum.wrapping_add(hash_of(id)))
    }

    /// A row for each session that has none yet.
    fn glance(&mut self, path: &Path, scene: &Scene) {
        let Some((tables, database)) = scene.format.tables.zip(self.by_path.get_mut(path)) else {
            return;
        };
        let mut snapshot = None;
        for row in database.unread.iter().chain(&database.unsure) {
            let Some(session) = database.sessions.get_mut(&row.id).filter(|s| !s.shown) else {
                continue;
            };
            if snapshot.as_ref().is_none_or(Snapshot::is_over) {
                snapshot = Snapshot::open(path, tables, PATIENCE).ok();
            }
            let Some(snapshot) = &snapshot else { return };
            if let Ok(fold) = session.glance(snapshot, row, scene.format) {
                session.shown = true;
                scene.publish(&session.file.session, &Arc::new(fold), &shown(path), false);
            }
        }
    }
}

/// Reads every event of one session from its database, without a store.
pub(super) fn read_events(
    path: &Path,
    format: &'static Format,
    key: &SessionKey,
    sink: &dyn Ledger,
) -> io::Result<()> {
    let Some(tables) = format.tables else { return Ok(()) };
    let (id, _) = look(path)?;
    let snapshot = Snapshot::open(path, tables, Duration::MAX).map_err(io::Error::other)?;
    let sessions = snapshot.sessions().map_err(io::Error::other)?;
    let Some(row) = sessions.into_iter().find(|row| row.id == key.session_id) else {
        return Err(io::ErrorKind::NotFound.into());
    };
    let mut session = Session::new(String::new(), key.clone(), id);
    session.look_ahead(format, &snapshot).map_err(io::Error::other)?;
    let mut fold = None;
    loop {
        let batch = session.fetch(row.clone(), id, format, &snapshot).map_err(io::Error::other)?;
        if session.take(batch, &mut fold, format, sink)? {
            return Ok(());
        }
    }
}

/// Every row of one session as a line of JSON, and its number. Reads for a short time at once, so that the
/// harness's own writes are not kept waiting, and not much at once, since that is kept until then.
pub(crate) fn each_row(
    path: &Path,
    tables: &'static Tables,
    session: &str,
    take: &mut dyn FnMut(i64, &[u8]),
) -> io::Result<()> {
    // All in one piece: thousands of small ones leave holes that the allocator keeps.
    let (mut ends, mut lines, mut after) = (Vec::new(), Vec::new(), None);
    loop {
        look(path)?;
        let snapshot = Snapshot::open(path, tables, PATIENCE).map_err(io::Error::other)?;
        let all = snapshot
            .rows(session, after, &mut |number, line| {
                lines.extend_from_slice(&line);
                ends.push((number, lines.len()));
                lines.len() < AT_ONCE
            })
            .map_err(io::Error::other)?;
        drop(snapshot);
        let mut from = 0;
        for (number, end) in &ends {
            take(*number, &lines[from..*end]);
            from = *end;
        }
        after = ends.last().map(|(number, _)| *number).or(after);
        if all || ends.is_empty() {
            return Ok(());
        }
        ends.clear();
        lines.clear();
        std::thread::sleep(PAUSE);
    }
}

/// Whether a session in it still has the records that it had up to the last of these, or has them again.
pub(crate) fn database_has(
    path: &Path,
    tables: &'static Tables,
    session: &str,
    rows: &rrd_core::cursor::Rows,
) -> bool {
    let there = || {
        let snapshot = Snapshot::open(path, tables, PATIENCE).ok()?;
        snapshot.amount_to(session, rows.last).ok()
    };
    // Whether they stand is another matter.
    let is = |there: rrd_core::cursor::Rows| {
        (there.count, there.first, there.sum) == (rows.count, rows.first, rows.sum)
    };
    rows.count > 0 && look(path).is_ok() && there().is_some_and(is)
}

/// Size and newest modification time of a database with its log; nothing where it is not there.
pub(crate) fn database_looks(path: &Path) -> Option<(u64, i64)> {
    let (_, files) = look(path).ok()?;
    let newest = files.iter().map(|(_, mtime)| *mtime).max()?;
    Some((files.iter().map(|(size, _)| size).sum(), newest))
}

impl Database {
    fn has_work(&self) -> bool {
        !self.unread.is_empty() || !self.unsure.is_empty()
    }

    /// What it has of this session is a copy now, which is to be compared with the other one. Were it not
    /// kept in mind, the database would be taken for one that never had it.
    fn is_anothers(&mut self, id: &str) {
        self.sessions.remove(id);
        self.copies.insert(id.to_owned(), None);
        self.recheck = Some(Instant::now());
    }

    /// Sessions that were in it, but are not `here` any more.
    fn gone_from_among(&self, here: &HashSet<String>) -> Vec<String> {
        let known = self.sessions.keys().chain(self.copies.keys());
        known.filter(|id| !here.contains(*id)).cloned().collect()
    }

    /// Whatever was in hand is lost: the next look that is to be compares everything, as the first did.
    fn forget(&mut self) {
        self.unread.clear();
        self.unsure.clear();
        (self.seen, self.last_place, self.compare_at, self.touched) = (None, None, None, false);
    }
}

/// Why a look came to nothing.
enum Failure {
    Gone,
    Unreadable(Unreadable),
    Ledger(io::Error),
}

impl From<Unreadable> for Failure {
    fn from(why: Unreadable) -> Self {
        Self::Unreadable(why)
    }
}

fn hash_of(id: &str) -> u64 {
    rrd_core::hash(id.as_bytes())
}

/// Whether it has changed just now.
fn is_fresh((_, files): &Look) -> bool {
    let newest = files.iter().map(|(_, mtime)| *mtime).max().unwrap_or(0);
    let at = SystemTime::UNIX_EPOCH + Duration::from_nanos(newest.max(0).cast_unsigned());
    at.elapsed().is_ok_and(|ago| ago < FRESH)
}

/// The database that a file of it belongs to.
fn main_file(path: &Path) -> PathBuf {
    let name = path.to_string_lossy();
    let main = ["-wal", "-shm", "-journal"].iter().find_map(|suffix| name.strip_suffix(suffix));
    main.map_or_else(|| path.to_owned(), PathBuf::from)
}

fn look(path: &Path) -> io::Result<Look> {
    let stat = |path: &Path| {
        let metadata = std::fs::symlink_metadata(path)?;
        Ok::<_, io::Error>((metadata.len(), source::mtime(&metadata), metadata))
    };
    let (size, mtime, metadata) = stat(path)?;
    if !metadata.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    let log = stat(Path::new(&log)).map_or((0, 0), |(size, mtime, _)| (size, mtime));
    Ok((source::file_id(path, &metadata)?, [(size, mtime), log]))
}
