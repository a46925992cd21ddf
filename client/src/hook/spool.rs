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
    hook::{SPOOL_BYTES, SPOOL_CALLS, SPOOL_DROPPED, SPOOL_FOLDER, SPOOL_SHOWN},
    message::MessageId,
};

/// Leaves `call` in the spool beneath `state`.
pub(super) fn leave(state: &Path, call: &Redacted<HookCall>) -> io::Result<()> {
    let call = call.as_ref();
    let name = call.spool_name();
    Unfinished::write(state, &name, &serde_json::to_vec(call)?)?.finish().map(drop)
}

/// That these messages were told by a hook of this call: so once it is finished.
pub(super) fn shown(state: &Path, call: &HookCall, ids: &[MessageId]) -> io::Result<Unfinished> {
    let name = Path::new(&call.spool_name()).with_extension(SPOOL_SHOWN);
    Unfinished::write(state, name, &serde_json::to_vec(ids)?)
}

/// A file of the spool that nobody reads yet; removed if it is never finished.
pub(super) struct Unfinished {
    now: PathBuf,
    then: PathBuf,
}

impl Unfinished {
    fn write(state: &Path, name: impl AsRef<Path>, bytes: &[u8]) -> io::Result<Self> {
        let folder = state.join(SPOOL_FOLDER);
        make(&folder)?;
        make_room(&folder, bytes.len() as u64);
        let then = folder.join(name);
        // A full disk needs no half of it.
        let file = Self { now: then.with_extension("tmp"), then };
        owner_only(&file.now, true)?.write_all(bytes)?;
        Ok(file)
    }

    /// From here on it counts; where it is.
    pub(super) fn finish(self) -> io::Result<PathBuf> {
        fs::rename(&self.now, &self.then).map(|()| self.then.clone())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.now);
    }
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
