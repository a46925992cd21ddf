//! Follows when harnesses delete their own copies of sessions. Only Claude Code does.
//!
//! Settings are read at the start and every hour, a transcript's modification time also when its session
//! has changed. Not here: what settings mean ([`rrd_core::harness::cleanup`]).

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rrd_core::harness::cleanup::{Said, deleted_at, period, said};
use rrd_proto::{Deletion, Harness, SessionKey, Timestamp};
use tokio::{
    sync::watch,
    task::block_in_place,
    time::{Instant, interval_at, sleep},
};
use tokio_util::sync::CancellationToken;

use crate::{
    config::HarnessRoot,
    hub::{Hub, Input},
    store::Committed,
    tail::mtime,
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
pub(crate) async fn follow(
    hub: Arc<Hub>,
    roots: Vec<HarnessRoot>,
    mut committed: watch::Receiver<Committed>,
    stop: CancellationToken,
) {
    while !hub.is_surveyed() {
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(SOON) => {}
        }
    }
    let mut periods = HashMap::new();
    let mut number = None;
    let mut anew = interval_at(Instant::now() + LOOK, LOOK);
    loop {
        let keys = match number {
            None => {
                number = Some(committed.borrow_and_update().number);
                let keys = hub.keys(Some(&Harness::ClaudeCode), None);
                periods = block_in_place(|| periods_of(&hub, &roots, &keys));
                keys
            }
            Some(before) => {
                let last = committed.borrow_and_update().clone();
                number = Some(last.number).filter(|number| *number <= before + 1);
                let ours = last.sessions.iter().filter(|key| key.harness == Harness::ClaudeCode);
                ours.cloned().collect()
            }
        };
        let news: Vec<_> =
            block_in_place(|| keys.iter().filter_map(|key| look(&hub, &periods, key)).collect());
        if !news.is_empty() {
            hub.apply(Input::Deletions(news));
        }
        // Who missed some looks at all of them.
        if number.is_none() {
            continue;
        }
        tokio::select! {
            () = stop.cancelled() => return,
            changed = committed.changed() => if changed.is_err() { return },
            _ = anew.tick() => number = None,
        }
    }
}

/// How long each root keeps transcripts, as far as that can be told.
fn periods_of(
    hub: &Hub,
    roots: &[HarnessRoot],
    keys: &HashSet<SessionKey>,
) -> HashMap<usize, Option<i64>> {
    let mut projects: HashMap<usize, HashSet<PathBuf>> = HashMap::new();
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

/// When that session's transcript is deleted; nothing where nothing is known of the session.
fn look(
    hub: &Hub,
    periods: &HashMap<usize, Option<i64>>,
    key: &SessionKey,
) -> Option<(SessionKey, Option<Deletion>)> {
    let entry = hub.entry(key).filter(|entry| !entry.path.is_empty())?;
    let period = *periods.get(&entry.root)?;
    // What is gone already is deleted no more.
    let deletion = fs::symlink_metadata(&*entry.path).ok().map(|metadata| {
        let changed = Timestamp::from_millis(mtime(&metadata) / 1_000_000);
        Deletion { at: period.map(|period| deleted_at(changed, period)) }
    });
    Some((key.clone(), deletion))
}
