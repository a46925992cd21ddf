//! Finds out how long harnesses keep their own copies of sessions. Only Claude Code deletes them.
//!
//! Settings are read at the start, once all sessions are known, and every hour. Not here: what settings mean
//! ([`rrd_core::harness::cleanup`]), and when a transcript was changed ([`crate::tail`]).

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rrd_core::harness::cleanup::{Said, period, said};
use rrd_proto::Harness;
use tokio::{task::block_in_place, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    config::HarnessRoot,
    hub::{Hub, Input},
};

/// Settings are read so often.
const LOOK: Duration = Duration::from_secs(3_600);

/// After a start this is how often it is looked whether every session has a row.
const SOON: Duration = Duration::from_millis(100);

/// Settings are no longer than this.
const MOST: u64 = 4 << 20;

/// Where an administrator's settings are (<https://code.claude.com/docs/en/settings>).
const MANAGED: &str = if cfg!(target_os = "macos") {
    "/Library/Application Support/ClaudeCode/managed-settings.json"
} else if cfg!(windows) {
    r"C:\Program Files\ClaudeCode\managed-settings.json"
} else {
    "/etc/claude-code/managed-settings.json"
};

/// Follows until it is stopped.
pub(crate) async fn follow(hub: Arc<Hub>, roots: Vec<HarnessRoot>, stop: CancellationToken) {
    while !hub.is_surveyed() {
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(SOON) => {}
        }
    }
    loop {
        block_in_place(|| look(&hub, &roots));
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(LOOK) => {}
        }
    }
}

/// Reads the settings of all roots, and of the projects of sessions that are known.
pub(crate) fn look(hub: &Hub, roots: &[HarnessRoot]) {
    hub.apply(Input::Periods(periods_of(hub, roots)));
}

/// How long each root keeps transcripts, as far as that can be told.
fn periods_of(hub: &Hub, roots: &[HarnessRoot]) -> HashMap<usize, Option<i64>> {
    let mut projects: HashMap<usize, HashSet<PathBuf>> = HashMap::new();
    let keys = hub.keys(Some(&Harness::ClaudeCode), None);
    for entry in keys.iter().filter_map(|key| hub.entry(key)) {
        let places = entry.fold.cwd.iter().chain(&entry.repo.root).map(PathBuf::from);
        projects.entry(entry.root).or_default().extend(places);
    }
    let managed = read(Path::new(MANAGED));
    let mut periods = HashMap::new();
    for (number, root) in roots.iter().enumerate() {
        if root.harness == Harness::ClaudeCode {
            let user = read(&root.path.join("settings.json"));
            let of_project = |place: PathBuf| {
                let place = place.join(".claude");
                (read(&place.join("settings.local.json")), read(&place.join("settings.json")))
            };
            let projects = projects.remove(&number).unwrap_or_default().into_iter();
            periods.insert(number, period(managed, user, projects.map(of_project)));
        }
    }
    periods
}

fn read(path: &Path) -> Said {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() && metadata.len() <= MOST => {
            fs::read(path).map_or(Said::Unclear, |settings| said(&settings))
        }
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            Said::Nothing
        }
        Ok(_) | Err(_) => Said::Unclear,
    }
}
