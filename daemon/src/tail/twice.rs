//! A session that a program stores here while its harness writes it, too: two copies on purpose, of which one
//! is read.
//!
//! Each may lag behind the other: the store is told at the end of a turn, and a run that was resumed from the store
//! writes nowhere else that lasts. So the row is of the copy that has the latest record of both. Not here: copies
//! that nobody meant to make, which are told of.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
    time::Instant,
};

use memchr::memmem;
use rrd_proto::SessionKey;

use super::{HOT, Tail, discover::Found};

/// So much is read at a time, from the end, in bytes.
const CHUNK: u64 = 256 << 10;

/// No record's name is longer, in quotes, in bytes.
const LONGEST: u64 = 200;

impl Tail {
    /// Whether this copy of a session that another root has is the one to read from here on.
    pub(super) fn takes_over(&mut self, key: &SessionKey, found: &Found) -> bool {
        let hub = &self.scene.hub;
        // What is being read is not taken away from whoever reads it.
        let Some(entry) = hub.entry(key).filter(|it| it.complete && !it.path.is_empty()) else {
            return false;
        };
        let is_meant = self.scene.is_store || hub.is_store(entry.root);
        let looks = (found.size, found.mtime);
        if !is_meant || self.lesser.get(&found.path) == Some(&looks) {
            return false;
        }
        if !has_more(&found.path, Path::new(&*entry.path)).unwrap_or(false) {
            self.lesser.insert(found.path.clone(), looks);
            return false;
        }
        self.lesser.remove(&found.path);
        if hub.share(key) {
            // From now on both ask who may read; whoever did before is done when it is looked at again.
            self.hot.insert(found.path.clone(), Instant::now() + HOT);
            return false;
        }
        hub.hand_over(key, self.scene.index);
        true
    }
}

/// Whether the last record of `one` is not in `other`.
fn has_more(one: &Path, other: &Path) -> io::Result<bool> {
    let Some(name) = last_name(one)? else { return Ok(false) };
    let mut file = File::open(other)?;
    let mut end = file.metadata()?.len();
    while end > 0 {
        let from = end.saturating_sub(CHUNK);
        let piece = read(&mut file, from, end + LONGEST)?;
        if memmem::find(&piece, &name).is_some() {
            return Ok(false);
        }
        end = from;
    }
    Ok(true)
}

/// What the last record that has a name is called, in quotes.
fn last_name(path: &Path) -> io::Result<Option<Vec<u8>>> {
    const KEY: &[u8] = b"\"uuid\":";
    let mut file = File::open(path)?;
    let mut end = file.metadata()?.len();
    while end > 0 {
        let from = end.saturating_sub(CHUNK);
        let piece = read(&mut file, from, end + LONGEST)?;
        for at in memmem::rfind_iter(&piece, KEY) {
            let rest = piece[at + KEY.len()..].trim_ascii_start();
            let name = rest.strip_prefix(b"\"").and_then(|name| {
                let length = memchr::memchr2(b'"', b'\\', name)?;
                (length > 0 && name[length] == b'"').then(|| &rest[..length + 2])
            });
            if let Some(name) = name.filter(|name| name.len() as u64 <= LONGEST) {
                return Ok(Some(name.to_vec()));
            }
        }
        end = from;
    }
    Ok(None)
}

fn read(file: &mut File, from: u64, end: u64) -> io::Result<Vec<u8>> {
    let mut piece = Vec::new();
    file.seek(SeekFrom::Start(from))?;
    file.take(end - from).read_to_end(&mut piece)?;
    Ok(piece)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_one_copy_has_more_is_found_however_long_both_are() {
        let dir = tempfile::tempdir().unwrap();
        let [one, other] = ["one", "other"].map(|name| dir.path().join(name));
        let record = |n: usize| format!("{{\"uuid\":\"u{n}\",\"text\":\"{}\"}}\n", "x".repeat(700));
        let records = |n: usize| (0..n).map(record).collect::<String>();
        let loose = "{\"type\":\"mode\"}\n".repeat(40_000);
        for (mine, theirs, more) in [
            (records(3), records(2), true),
            (records(2), records(3), false),
            (records(3), records(3) + &loose, false),
            (records(4) + &loose, records(3), true),
            (records(1), records(3_000), false),
            (loose.clone(), records(1), false),
            (String::new(), records(1), false),
            (records(1), String::new(), true),
        ] {
            fs::write(&one, &mine).unwrap();
            fs::write(&other, &theirs).unwrap();
            assert_eq!(has_more(&one, &other).unwrap(), more, "{} {}", mine.len(), theirs.len());
        }
        // Wherever the pieces are cut.
        for cut in 0..30 {
            let end = "y".repeat(usize::try_from(CHUNK).unwrap() - cut);
            fs::write(&one, records(2) + &end).unwrap();
            fs::write(&other, records(2) + &end).unwrap();
            assert_eq!(last_name(&one).unwrap().as_deref(), Some(&b"\"u1\""[..]), "{cut}");
            assert!(!has_more(&one, &other).unwrap(), "{cut}");
        }
    }
}
