//! Transcripts that are not where they were: deleted, moved, or out of sight.
//!
//! Deleted is only what is missing while the place it was in is there, on the same device, and can be
//! read; a disk that is not mounted takes nothing with it. What is missing is given a moment first: a
//! file that is moved, compressed or replaced is gone under one name before it is there under another.
//! Not here: rows deleted from databases ([`super::rows`]), and what follows for the status (the core).

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rrd_core::{cursor::FileId, roster::Absence};

use super::{Tail, source::file_id};
use crate::hub::shown;

/// Whoever moves or replaces a file has done so by then.
pub(super) const SETTLES: Duration = Duration::from_secs(2);

/// Why a file that was `id` is not at `path`; `None` when something is.
pub(super) fn why(root: &Path, path: &Path, id: FileId) -> Option<Absence> {
    match fs::symlink_metadata(path) {
        Ok(_) => return None,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(_) => return Some(Absence::OutOfSight),
    }
    let beneath_root = path.ancestors().skip(1).take_while(|place| place.starts_with(root));
    let mut left = beneath_root.filter(|place| fs::symlink_metadata(place).is_ok());
    let same_device = |place: &Path| {
        let metadata = fs::metadata(place)?;
        Ok::<_, io::Error>(metadata.is_dir() && file_id(place, &metadata)?.device == id.device)
    };
    // A link that leads nowhere, or an empty mount point: what it held may be elsewhere.
    let deleted = left
        .next()
        .is_some_and(|place| same_device(place).unwrap_or(false) && fs::read_dir(root).is_ok());
    Some(if deleted { Absence::Gone } else { Absence::OutOfSight })
}

impl Tail {
    /// A followed file is not where it was, or none beneath a directory that is not.
    pub(super) fn missed(&mut self, path: &Path) {
        if fs::symlink_metadata(path).is_ok() {
            return;
        }
        let missed: Vec<PathBuf> = if self.files.contains_key(path) {
            vec![path.to_owned()]
        } else {
            self.files.keys().filter(|file| file.starts_with(path)).cloned().collect()
        };
        for path in missed {
            self.missing.entry(path).or_insert_with(|| Some(Instant::now()));
        }
    }

    /// Something has been missing for long enough to look for it everywhere.
    pub(super) fn misses(&self) -> bool {
        self.missing.values().flatten().any(|since| since.elapsed() >= SETTLES)
    }

    /// The file is there.
    pub(super) fn is_back(&mut self, path: &Path) {
        if self.missing.remove(path).is_some()
            && let Some(work) = self.files.get(path)
        {
            self.scene.present(work.file.session.clone());
        }
    }

    /// After everything was looked at: what these files were of has ended, unless it was found elsewhere.
    pub(super) fn settle_missing(&mut self, paths: Vec<PathBuf>) {
        self.missing.retain(|path, _| self.files.contains_key(path));
        for path in paths {
            let Some(work) = self.files.get(&path) else { continue };
            let since = self.missing.entry(path.clone()).or_insert_with(|| Some(Instant::now()));
            if since.is_some_and(|since| since.elapsed() < SETTLES) {
                continue;
            }
            let key = work.file.session.clone();
            let Some(why) = why(&self.scene.root, &path, work.file.cursor.id) else {
                self.missing.remove(&path);
                continue;
            };
            if why == Absence::OutOfSight {
                // Kept as it stands: it is looked for again with every sweep.
                *since = None;
                self.scene.absent(key, why);
                continue;
            }
            self.missing.remove(&path);
            self.hot.remove(&path);
            self.files.remove(&path);
            self.scene.gone(&path);
            let other = self.files.values().find(|work| work.file.session == key);
            let elsewhere =
                other.is_some() || self.is_in_work(&key) || self.databases.has(&key.session_id);
            if !elsewhere {
                self.scene.absent(key, why);
            } else if let Some(entry) = self.scene.hub.entry(&key)
                && let Some(other) = other.filter(|_| *entry.path == *shown(&path))
            {
                self.scene.publish(&key, &entry.fold, &other.file.path, entry.complete);
            }
        }
    }
}
