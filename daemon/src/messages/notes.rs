//! What hooks noted of messages that they told, and could not say in time: in the spool, a file of each.
//!
//! Read before anything is given to a hook, so nothing is told once more, also by a daemon that has begun meanwhile.
//! Not here: the writing, which is the client's, and the calls in the spool ([`crate::hooks`]).

use std::{fs, io::Read, path::Path};

use rrd_proto::{
    Timestamp,
    hook::{SPOOL_CALLS, SPOOL_FOLDER, SPOOL_SHOWN},
    message::{MAX_PAGE, MessageId},
};

use crate::fleet::{Keep, KeepError};

/// A note names no more messages than a hook is given.
const MAX_NOTE: u64 = 16 << 10;

/// Marks what they name as told, and removes them. Where that cannot be kept, they stay.
pub(super) fn take(keep: &mut Keep, state_dir: &Path, now: Timestamp) -> Result<(), KeepError> {
    let Ok(entries) = fs::read_dir(state_dir.join(SPOOL_FOLDER)) else { return Ok(()) };
    let notes = entries.flatten().map(|entry| entry.path());
    let notes = notes.filter(|path| path.extension().is_some_and(|is| is == SPOOL_SHOWN));
    for path in notes.take(2 * SPOOL_CALLS) {
        // What is none is of no use to anybody.
        let mut ids = read(&path).unwrap_or_default();
        ids.truncate(MAX_PAGE as usize);
        keep.set_shown(&ids, now)?;
        let _ = fs::remove_file(path);
    }
    Ok(())
}

fn read(path: &Path) -> Option<Vec<MessageId>> {
    if !fs::symlink_metadata(path).ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    fs::File::open(path).ok()?.take(MAX_NOTE).read_to_end(&mut bytes).ok()?;
    serde_json::from_slice(&bytes).ok()
}
