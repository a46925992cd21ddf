//! Where transcripts of each session lie: several of one are copies, which are told of.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use rrd_core::cursor::FileId;
use rrd_proto::SessionKey;

use super::{Hub, shown};

impl Hub {
    /// A transcript named after the session is there.
    pub(crate) fn found_at(&self, key: &SessionKey, path: &Path, id: FileId) {
        self.change_places(key, |places| match places.iter_mut().find(|(at, _)| at == path) {
            Some((_, known)) => *known = id,
            None => places.push((path.to_owned(), id)),
        });
    }

    /// It is there no more.
    pub(crate) fn gone_from(&self, key: &SessionKey, path: &Path) {
        if let Some(stored) = self.lock().stored.get_mut(key) {
            stored.retain(|at| at != path);
        }
        self.change_places(key, |places| places.retain(|(at, _)| at != path));
    }

    /// A program stores one here.
    pub(crate) fn stored_at(&self, key: &SessionKey, path: &Path) {
        let mut known = self.lock();
        let stored = known.stored.entry(key.clone()).or_default();
        if !stored.iter().any(|at| at == path) {
            stored.push(path.to_owned());
        }
    }

    /// Every file that is a transcript of the session, whoever keeps it here, and whether a program stores it.
    pub(crate) fn transcripts(&self, key: &SessionKey) -> Vec<(PathBuf, bool)> {
        let known = self.lock();
        let mut once = HashSet::new();
        let places = known.places.get(key).into_iter().flatten();
        let places = places.filter(|(_, id)| once.insert(*id)).map(|(at, _)| (at.clone(), false));
        let stored = known.stored.get(key).into_iter().flatten().map(|at| (at.clone(), true));
        places.chain(stored).collect()
    }

    /// Where the session's transcripts were found.
    pub(crate) fn places(&self, key: &SessionKey) -> Vec<PathBuf> {
        let known = self.lock();
        known.places.get(key).into_iter().flatten().map(|(at, _)| at.clone()).collect()
    }

    /// Every place of every session that has more than one.
    pub(crate) fn copies(&self) -> Vec<(SessionKey, PathBuf)> {
        let known = self.lock();
        let several = known.places.iter().filter(|(_, places)| places.len() > 1);
        several
            .flat_map(|(key, places)| places.iter().map(|(at, _)| (key.clone(), at.clone())))
            .collect()
    }

    fn change_places(&self, key: &SessionKey, change: impl FnOnce(&mut Vec<(PathBuf, FileId)>)) {
        let version = {
            let mut known = self.lock();
            let places = known.places.entry(key.clone()).or_default();
            let before = places.len();
            change(places);
            if before.max(places.len()) < 2 {
                return;
            }
            // Two names of one file are no copies.
            let mut once = HashSet::new();
            let mut shown_at: Vec<String> =
                places.iter().filter(|(_, id)| once.insert(*id)).map(|(at, _)| shown(at)).collect();
            shown_at.sort();
            known.roster.set_places(key, shown_at);
            known.roster.version()
        };
        self.here.send_replace(version);
        self.version.send_if_modified(|seen| std::mem::replace(seen, version) != version);
    }
}
