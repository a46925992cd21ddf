//! Sessions that several databases have: a profile that was cloned, a home that was copied.
//!
//! Each is one row, of the copy that goes on: the newest activity wins, and of two alike the one that
//! lies higher up. Which one that is may change, when the other gains records: then the whole of it is
//! read, and what both have gives no event twice. The other one is named as an issue of the row. Not
//! here: copies of transcripts that are files ([`crate::tail::scene`]).

use std::{
    cmp::Reverse,
    collections::HashSet,
    path::{Path, PathBuf},
    time::Instant,
};

use rrd_core::{cursor::FileId, roster::Absence};
use rrd_proto::{SessionKey, Timestamp};

use super::{
    COMPARE, Database, Databases,
    database::{SessionRow, Snapshot},
    look,
    session::Session,
};
use crate::{
    hub::shown,
    tail::{absent, scene::Scene},
};

/// Of several copies the one for which this is greatest is shown.
type Rank = (Option<Timestamp>, Reverse<(usize, PathBuf)>);

fn rank(last_activity: Option<Timestamp>, path: &Path) -> Rank {
    (last_activity, Reverse((path.components().count(), path.to_owned())))
}

/// Those that lie higher up first: of copies that are alike, none has to be taken over later.
pub(super) fn in_order(paths: &mut [PathBuf]) {
    paths.sort_by_cached_key(|path| (path.components().count(), path.clone()));
}

impl Databases {
    /// Whether the session is this database's to read; it is, if it is nobody's yet.
    pub(super) fn owns(&mut self, path: &Path, key: &SessionKey, scene: &Scene) -> bool {
        if !scene.hub.claim(key, scene.index) {
            // Another root's.
            self.owners.remove(&key.session_id);
            return false;
        }
        let owner = self.owners.entry(key.session_id.clone()).or_insert_with(|| path.to_owned());
        owner == path
    }

    /// Another database's session is in this one, too. `touched`: it has gained records here. Gives what
    /// to follow it by, if this copy is the one that goes on.
    pub(super) fn copy(
        &mut self,
        (path, id): (&Path, FileId),
        database: &mut Database,
        (row, touched): (&SessionRow, bool),
        snapshot: &Snapshot,
        scene: &Scene,
    ) -> Option<Session> {
        let key = SessionKey { harness: scene.harness.clone(), session_id: row.id.clone() };
        database.sessions.remove(&row.id);
        let news = rrd_core::hash(&row.json);
        if !touched && database.copies.get(&row.id) == Some(&Some(news)) {
            return None;
        }
        let new = Session::new(String::new(), key.clone(), id);
        let glance = new.glance(snapshot, row, scene.format);
        let (Some(other), Ok(fold)) = (scene.hub.entry(&key), glance) else {
            // Nothing to compare with yet.
            database.copies.insert(row.id.clone(), None);
            database.recheck = Some(Instant::now() + COMPARE);
            return None;
        };
        let there = Path::new(&*other.path);
        // What lies in files is not handed over.
        if there.extension() != path.extension() {
            database.copies.insert(row.id.clone(), Some(news));
            return None;
        }
        if let Ok((id, _)) = look(there) {
            scene.hub.found_at(&key, there, id);
        }
        scene.hub.found_at(&key, path, id);
        if rank(fold.last_activity, path) <= rank(other.fold.last_activity, there) {
            database.copies.insert(row.id.clone(), Some(news));
            return None;
        }
        database.copies.remove(&row.id);
        Some(self.take_from(path, id, key, scene))
    }

    /// What to follow a session by that another database had, but has no more.
    pub(super) fn left_elsewhere(
        &mut self,
        path: &Path,
        id: FileId,
        key: &SessionKey,
        scene: &Scene,
    ) -> Option<Session> {
        let there = scene.hub.entry(key)?.path;
        let there = Path::new(&*there);
        let elsewhere = there != path && there.extension() == path.extension();
        elsewhere.then(|| self.take_from(path, id, key.clone(), scene))
    }

    /// The session is this database's from here on.
    fn take_from(&mut self, path: &Path, id: FileId, key: SessionKey, scene: &Scene) -> Session {
        let _none_is_taken = scene.hub.handover();
        // What has not been read to its end is begun from nothing.
        let known = scene.hub.fold(&key);
        let there = scene.hub.entry(&key).map(|entry| entry.path).unwrap_or_default();
        scene.hub.hand_over(&key, scene.index);
        self.owners.insert(key.session_id.clone(), path.to_owned());
        for other in self.by_path.values_mut() {
            if other.sessions.contains_key(&key.session_id) {
                other.is_anothers(&key.session_id);
            }
        }
        scene.present(key.clone());
        // What the index has of it is the other one's.
        self.stored.remove(&key.session_id);
        let name = |path: &str| format!("{path}#{}", key.session_id);
        Session::instead(name(&shown(path)), name(&there), key.clone(), id, known)
    }

    /// Another root may have let go of what is here, too: also of what it had taken from this one, which
    /// has not been looked at since.
    pub(in crate::tail) fn check_copies(&mut self, scene: &Scene) {
        let is_free = |id: &String| {
            let (harness, session_id) = (scene.harness.clone(), id.clone());
            scene.hub.is_free(&SessionKey { harness, session_id })
        };
        for database in self.by_path.values_mut() {
            // What was deleted from here is nobody's either, but not this root's in its own eyes.
            let taken = database.sessions.keys().filter(|id| self.owners.contains_key(*id));
            if database.copies.keys().chain(taken).any(is_free) {
                (database.touched, database.seen) = (true, None);
            }
        }
    }

    /// The database is not there. Once that is for certain its sessions have ended; when nobody can tell,
    /// they are only out of sight.
    pub(super) fn miss(&mut self, path: &Path, database: &mut Database, scene: &Scene) {
        let since = *database.missing.get_or_insert_with(Instant::now);
        if since.elapsed() < absent::SETTLES {
            database.recheck = Some(since + absent::SETTLES);
            return;
        }
        let id = database.sessions.values().next().map(|session| session.file.cursor.id);
        let Some(why) = id.and_then(|id| absent::why(&scene.root, path, id)) else { return };
        for id in database.gone_from_among(&HashSet::new()) {
            let key = SessionKey { harness: scene.harness.clone(), session_id: id.clone() };
            match why {
                Absence::Gone => self.let_go(path, &id, database, scene),
                Absence::OutOfSight if self.owners.get(&id).is_some_and(|at| at == path) => {
                    scene.absent(key, why);
                }
                Absence::OutOfSight => {}
            }
        }
    }

    /// Sessions that were in this database and are not any more are no copies, and another one may have
    /// those that were its own.
    pub(super) fn let_go(&mut self, path: &Path, id: &str, database: &mut Database, scene: &Scene) {
        let key = SessionKey { harness: scene.harness.clone(), session_id: id.to_owned() };
        database.copies.remove(id);
        scene.hub.gone_from(&key, path);
        if self.owners.get(id).is_some_and(|owner| owner == path) {
            self.owners.remove(id);
            scene.absent(key, Absence::Gone);
            for (_, other) in self.by_path.iter_mut().filter(|(_, db)| db.copies.contains_key(id)) {
                (other.touched, other.seen) = (true, None);
            }
        }
    }
}
