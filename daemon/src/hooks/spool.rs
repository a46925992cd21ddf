//! The spool: calls that found no daemon, one file each, in a folder that only their owner can enter.
//!
//! `rrd hook` writes a file whole and renames it, drops the oldest when there are too many, and counts
//! those in the length of another file. Not here: the writing, which is the client's.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    time::Duration,
};

use rrd_core::{harness::hook::understand, hook::HookEvent};
use rrd_proto::{
    HookCall,
    hook::{MAX_HOOK_PAYLOAD, SPOOL_CALLS, SPOOL_DROPPED, SPOOL_FOLDER},
};

/// A file is a call's payload, escaped once more, and little else.
const MAX_FILE: u64 = 4 * MAX_HOOK_PAYLOAD as u64;

/// Whoever writes a file takes microseconds, or was killed.
const ABANDONED: Duration = Duration::from_secs(60);

/// The files in the spool, in the order of their calls.
pub(super) fn paths(state_dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(state_dir.join(SPOOL_FOLDER)) else { return Vec::new() };
    let mut calls = Vec::new();
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.extension().is_some_and(|extension| extension == "json") {
            calls.push(path);
        }
    }
    calls.sort();
    // Several clients may each have let one too many in.
    calls.truncate(2 * SPOOL_CALLS);
    calls
}

/// The calls in the spool, for who only looks and leaves them there.
pub(crate) fn waiting(state_dir: &Path) -> Vec<HookEvent> {
    let calls = paths(state_dir).into_iter().filter_map(|path| read(&path));
    // Whether their processes still live is for a daemon to find out.
    let calls = calls.map(|call| HookCall { process: None, ..call });
    calls.filter_map(|call| understand(&call).ok()).map(|(event, _)| event).collect()
}

/// Removes what a client began to write and did not finish.
pub(super) fn sweep(state_dir: &Path) {
    let Ok(entries) = fs::read_dir(state_dir.join(SPOOL_FOLDER)) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.extension().is_some_and(|extension| extension == "tmp") && is_abandoned(&path) {
            let _ = fs::remove_file(path);
        }
    }
}

/// How many calls were dropped since this was last asked.
pub(super) fn take_dropped(state_dir: &Path) -> u64 {
    let path = state_dir.join(SPOOL_FOLDER).join(SPOOL_DROPPED);
    let Ok(metadata) = fs::symlink_metadata(&path) else { return 0 };
    if fs::remove_file(&path).is_ok() { metadata.len() } else { 0 }
}

/// The call in a file; `None` where it is none.
pub(super) fn read(path: &Path) -> Option<HookCall> {
    if !fs::symlink_metadata(path).ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    fs::File::open(path).ok()?.take(MAX_FILE).read_to_end(&mut bytes).ok()?;
    serde_json::from_slice(&bytes).ok()
}

fn is_abandoned(path: &Path) -> bool {
    let changed = fs::symlink_metadata(path).and_then(|metadata| metadata.modified());
    changed.is_ok_and(|at| at.elapsed().is_ok_and(|ago| ago > ABANDONED))
}
