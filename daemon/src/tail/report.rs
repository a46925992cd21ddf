//! What a tail says of itself: for `rrd status`, and how far its first reading is.

use std::path::PathBuf;

use rrd_proto::{Health, IndexProgress, PartStatus};

use super::{Scene, Tail, watch::Shortfall};
use crate::hub::Input;

fn unread_beneath(scene: &Scene, unreadable: &[(PathBuf, String)]) -> Option<(Health, String)> {
    let (path, why) = unreadable.first()?;
    let (path, root, count) = (path.display(), scene.root.display(), unreadable.len());
    Some((Health::Degraded, format!("{path}: {why} ({count} unreadable beneath {root})")))
}

/// Tells the hub what a first look could not read, if anything.
pub(super) fn report_unreadable(scene: &Scene, unreadable: &[(PathBuf, String)]) {
    if let Some((state, detail)) = unread_beneath(scene, unreadable) {
        let part = format!("tail {}", scene.harness);
        let part = PartStatus { part, state, detail, hint: None };
        scene.hub.apply(Input::Parts(scene.index, vec![part]));
    }
}

impl Tail {
    /// Tells the hub.
    pub(super) fn report(&self) {
        let scene = &self.scene;
        let root = scene.root.display();
        let unreadable =
            [self.databases.troubles(self.scene.format), self.unreadable.clone()].concat();
        let (in_databases, unread) = self.databases.sessions();
        let (state, detail) = match (&self.watch.shortfall, unread_beneath(scene, &unreadable)) {
            (_, Some(said)) => said,
            (Some(Shortfall::WatchLimit), _) => (
                Health::Degraded,
                format!("{root}: the system's limit of file watches is reached, so it is polled"),
            ),
            (Some(Shortfall::NetworkFileSystem(kind)), _) => {
                (Health::Ok, format!("{root}: on {kind}, which does not notify, so it is polled"))
            }
            (Some(Shortfall::Unavailable(why)), _) => (
                Health::Degraded,
                format!("{root}: no file notifications ({why}), so it is polled"),
            ),
            (None, None) if !scene.root.exists() => {
                (Health::Ok, format!("{root}: not there (yet)"))
            }
            (None, None) if in_databases > 0 && unread > 0 => (
                Health::Ok,
                format!("{root}: {in_databases} sessions followed, {unread} still to be read"),
            ),
            (None, None) if in_databases > 0 && self.files.is_empty() => {
                (Health::Ok, format!("{root}: {in_databases} sessions followed"))
            }
            (None, None) => {
                let followed = self.files.len() + in_databases;
                (Health::Ok, format!("{root}: {followed} transcripts followed"))
            }
        };
        let hint = (self.watch.shortfall == Some(Shortfall::WatchLimit))
            .then(|| "sudo sysctl fs.inotify.max_user_watches=524288".to_owned());
        let part = PartStatus { part: format!("tail {}", scene.harness), state, detail, hint };
        scene.hub.apply(Input::Parts(scene.index, vec![part]));
        if !self.waiting.is_empty() || self.in_work.is_some() {
            let left: u64 = self.waiting.iter().map(|task| task.unread).sum();
            let now = self.in_work.as_ref().map_or(0, |(_, bytes)| *bytes);
            let total = self.progress.done + left + now;
            let files_left = self.progress.files_left;
            let progress = IndexProgress { done: self.progress.done, total, files_left };
            scene.hub.apply(Input::Progress(scene.index, progress));
        }
    }
}
