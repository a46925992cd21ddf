//! What becomes of a file that may have changed: read on at once, or put into the backlog.
//!
//! Not here: how it was noticed ([`super`]), how lines are taken ([`mod@super::take`]).

use std::sync::Arc;

use rrd_core::harness::FileRole;
use rrd_proto::{ParentKind, SessionKey};

use super::{
    Tail,
    discover::{Found, look_at},
    survey::{SMALL, Task},
    take::{Ledger, Work},
};

impl Tail {
    /// A file that may have changed.
    pub(super) fn changed(&mut self, found: Found) {
        let FileRole::Transcript { session_id, parent, zstd, .. } = &found.role else {
            if found.role == FileRole::Database {
                self.databases.touch(&found.path);
            } else if self.scene.beside(&found) {
                self.republish(&found.role);
            }
            return;
        };
        self.is_back(&found.path);
        if self.databases.has(session_id) {
            self.files.remove(&found.path);
            return;
        }
        let hub = Arc::clone(&self.scene.hub);
        let key =
            SessionKey { harness: self.scene.harness.clone(), session_id: session_id.clone() };
        let _alone = hub.is_shared(&key).then(|| hub.handover());
        if let Some(work) = self.files.get(&found.path) {
            let state = &work.file;
            if hub.is_anothers(&state.session, self.scene.index) {
                self.files.remove(&found.path);
            } else if (state.cursor.id, state.size, state.mtime)
                == (found.id, found.size, found.mtime)
            {
                return;
            }
        }
        let work = match self.files.remove(&found.path) {
            Some(work) => work,
            None => {
                self.scene.place(&found);
                let is_ours = hub.claim(&key, self.scene.index) || self.takes_over(&key, &found);
                // By what is there now: a moved file's name may be another one's already.
                let is_other_name = |work: &Work| {
                    work.file.cursor.id == found.id
                        && look_at(&self.scene.root, &work.path, self.scene.format)
                            .is_ok_and(|now| now.is_some_and(|now| now.id == found.id))
                };
                if !is_ours || self.files.values().any(is_other_name) {
                    return;
                }
                let mut work =
                    Work::new(self.scene.format, found.path.clone(), *zstd, key, found.id);
                self.adopt_moved(&mut work);
                work
            }
        };
        if self.is_in_work(&work.file.session) {
            self.dirty.insert(found.path.clone());
            self.follow(work);
            return;
        }
        self.advance(work, parent.clone(), &found);
    }

    /// A new path may be a known transcript that was moved (archived, or its directory renamed).
    fn adopt_moved(&mut self, work: &mut Work) {
        let moved = |other: &&Work| other.file.session == work.file.session && !other.path.exists();
        if let Some(old) = self.files.values().find(moved).map(|other| other.path.clone())
            && let Some(old) = self.files.remove(&old)
        {
            work.adopt(old.file);
        }
    }

    /// Reads what a changed transcript has gained, now if it is little, else later.
    fn advance(&mut self, mut work: Work, parent: Option<(String, ParentKind)>, found: &Found) {
        let key = work.file.session.clone();
        let fold = self.known(&key).unwrap_or_default();
        // An earlier release's reader may have stored what this one does not go on from.
        work.reset |= !fold.has_taken_any() && work.file.cursor.offset == 0;
        if fold.has_taken_any() && work.file.cursor.offset == 0 {
            self.shared.entry(key.clone()).or_default();
        }
        if let Some(last) = self.shared.get_mut(&key)
            && *last != work.path
        {
            last.clone_from(&work.path);
            (work.may_repeat, work.seen) = (true, None);
        }
        let read_to = if work.zstd { 0 } else { work.file.cursor.offset };
        let unread = found.size.saturating_sub(read_to).max(1);
        let mut task = Task { key, parent, fold, files: vec![work], unread, newest: found.mtime };
        self.scene.fold_beside(&task.key, &mut task.fold);
        if unread > SMALL {
            let (shown, strays) = match task.glance() {
                Ok((glance, strays)) => (Arc::new(glance), strays),
                Err(_) => (Arc::clone(&task.fold), Vec::new()),
            };
            self.scene.show(&task, &shown, false);
            self.progress.total += unread;
            self.keep_strays(strays);
            self.keep(task);
            self.next_task();
            return;
        }
        match task.take(self.ledger.as_ref()) {
            Ok(strays) => {
                self.unreadable.retain(|(path, _)| *path != found.path);
                self.scene.show(&task, &task.fold, true);
                self.keep_strays(strays);
            }
            Err(error) => self.fail(&mut task, &error),
        }
        self.keep(task);
        self.next_task();
    }

    fn republish(&mut self, role: &FileRole) {
        for work in self.files.values_mut() {
            let key = work.file.session.clone();
            let concerned = match role {
                FileRole::Sidecar { session_id } => *session_id == key.session_id,
                _ => true,
            };
            let Some(mut entry) = self.scene.hub.entry(&key).filter(|_| concerned) else {
                continue;
            };
            if self.scene.fold_beside(&key, &mut entry.fold) && entry.complete {
                self.ledger.commit(work.restate(&entry.fold));
            }
            self.scene.publish(&key, &entry.fold, &entry.path, entry.complete);
        }
    }
}
