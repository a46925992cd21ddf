//! The spool, as it is written: one file a call, whole or not at all, for its owner alone.
//!
//! Bounded, because hooks may be installed where no daemon ever runs: the oldest calls make room, and
//! are counted in the length of a file beside them. Not here: the reading, which is the daemon's.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use crate::local::redact::Redacted;
use rrd_proto::{
    HookCall,
    hook::{SPOOL_BYTES, SPOOL_CALLS, SPOOL_DROPPED, SPOOL_FOLDER},
};

/// Leaves `call` in the spool beneath `state`.
pub(super) fn leave(state: &Path, call: &Redacted<HookCall>) -> io::Result<()> {
    let call = call.as_ref();
    let folder = state.join(SPOOL_FOLDER);
    make(&folder)?;
    let bytes = serde_json::to_vec(call)?;
    make_room(&folder, bytes.len() as u64);
    let path = folder.join(call.spool_name());
    let unfinished = path.with_extension("tmp");
    let written = owner_only(&unfinished, true)
        .and_then(|mut file| file.write_all(&bytes))
        .and_then(|()| fs::rename(&unfinished, &path));
    if written.is_err() {
        // A full disk needs no half of a call.
        let _ = fs::remove_file(&unfinished);
    }
    written
}

/// Drops the oldest until one more of `size` bytes may come.
fn make_room(folder: &Path, size: u64) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut calls: Vec<(PathBuf, u64)> = Vec::new();
    for entry in entries.flatten() {
        let path = entry.path();
        if path.file_name().is_some_and(|name| name != SPOOL_DROPPED) {
            calls.push((path, entry.metadata().map_or(0, |metadata| metadata.len())));
        }
    }
    let mut bytes: u64 = calls.iter().map(|(_, size)| size).sum();
    let mut count = calls.len();
    if count < SPOOL_CALLS && bytes + size <= SPOOL_BYTES {
        return;
    }
    // Names begin with the time of the call.
    calls.sort();
    let mut dropped = 0;
    for (path, freed) in calls {
        if count < SPOOL_CALLS && bytes + size <= SPOOL_BYTES {
            break;
        }
        (count, bytes) = (count - 1, bytes - freed);
        dropped += usize::from(fs::remove_file(path).is_ok());
    }
    // Appending adds up, whoever else does so at the same time.
    let counted = owner_only(&folder.join(SPOOL_DROPPED), false);
    let _ = counted.and_then(|mut file| file.write_all(&vec![b'.'; dropped]));
}

fn make(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

fn owner_only(path: &Path, anew: bool) -> io::Result<fs::File> {
    let mut options = fs::OpenOptions::new();
    if anew {
        options.write(true).create_new(true);
    } else {
        options.append(true).create(true);
    }
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}
