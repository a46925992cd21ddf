//! Where a session of this host was: by its transcript, and by the folder that this lies in.
//!
//! A row says where a session began, which of one that was copied here is a directory of another host. Its
//! transcript says where it was last; Claude Code's folder is named after the directory from which it is found.
//! Not here: which of these is taken (the client).

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use rrd_core::resume::{cwd_of, directory, may_be_above, thread_cwd_of};

/// Of a transcript's end so much is looked at.
const TAIL: u64 = 4 << 20;

/// Directories of one transcript: more than that, and the earlier ones do not matter.
const MOST: usize = 64;

/// Entries of directories that are looked at for one name.
const MOST_ENTRIES: usize = 100_000;

/// The directories that the last records of a transcript name, the latest first, each once.
#[must_use]
pub fn cwds(transcript: &Path) -> Vec<String> {
    let mut cwds = Vec::new();
    for line in tail(transcript).unwrap_or_default().split(|byte| *byte == b'\n').rev() {
        let Some(cwd) = cwd_of(line) else { continue };
        if !cwds.contains(&cwd) && cwds.len() < MOST {
            cwds.push(cwd);
        }
    }
    cwds
}

/// The directory that a thread of Codex was in last, by its rollout; `None` where that is compressed, or says it too
/// far from its end.
#[must_use]
pub fn thread_cwd(rollout: &Path) -> Option<String> {
    let tail = tail(rollout).ok()?;
    tail.split(|byte| *byte == b'\n').rev().find_map(thread_cwd_of)
}

fn tail(transcript: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(transcript)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The directories of this disk that Claude Code calls so: of most names there is one, of some several.
///
/// Only what a name may begin with is looked into, and no link is followed: the name is one of a real path.
#[must_use]
pub fn directories(name: &str) -> Vec<PathBuf> {
    let mut left = MOST_ENTRIES;
    let mut found = Vec::new();
    roots(name).iter().for_each(|root| look(root, name, &mut left, &mut found));
    found
}

#[cfg(not(windows))]
fn roots(_: &str) -> Vec<PathBuf> {
    vec![PathBuf::from("/")]
}

#[cfg(windows)]
fn roots(name: &str) -> Vec<PathBuf> {
    name.get(..1).map(|drive| PathBuf::from(format!(r"{drive}:\"))).into_iter().collect()
}

fn look(within: &Path, name: &str, left: &mut usize, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(within).into_iter().flatten().flatten() {
        if *left == 0 {
            return;
        }
        *left -= 1;
        let path = entry.path();
        let called = directory(&path.to_string_lossy());
        if called == name {
            found.extend(is_directory(&entry).then_some(path));
        } else if may_be_above(&called, name) && is_directory(&entry) {
            look(&path, name, left, found);
        }
    }
}

fn is_directory(entry: &fs::DirEntry) -> bool {
    entry.file_type().is_ok_and(|kind| kind.is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_directory_is_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.jsonl");
        let record = |cwd: &str| format!("{{\"type\":\"user\",\"cwd\":\"{cwd}\"}}\n");
        let text = ["/a", "/b", "/a", "/c"].map(record).concat();
        fs::write(&path, text + "{\"type\":\"mode\"}\n{\"cwd\":\"/torn").unwrap();
        assert_eq!(cwds(&path), ["/c", "/a", "/b"]);
        assert_eq!(cwds(&dir.path().join("gone")), [""; 0]);
    }

    #[cfg(unix)]
    #[test]
    fn a_directory_is_found_by_what_claude_code_calls_it() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        let called = |path: &Path| directory(&path.to_string_lossy());
        for name in ["a.b/c d", "a-b/e", "a-b/f-g", "a-b/f/g", "é/h"] {
            fs::create_dir_all(top.join(name)).unwrap();
        }
        fs::write(top.join("a-b/file"), "").unwrap();
        std::os::unix::fs::symlink(top.join("a-b"), top.join("link")).unwrap();
        for (name, expected) in [
            ("a.b/c d", &["a.b/c d"][..]),
            ("a-b/e", &["a-b/e"]),
            ("a.b", &["a-b", "a.b"]),
            ("a-b/f/g", &["a-b/f-g", "a-b/f/g"]),
            ("é/h", &["é/h"]),
            ("a-b/file", &[]),
            ("link/e", &[]),
            ("gone", &[]),
        ] {
            let mut found = directories(&called(&top.join(name)));
            found.sort();
            let mut expected: Vec<_> = expected.iter().map(|name| top.join(name)).collect();
            expected.sort();
            assert_eq!(found, expected, "{name}");
        }
        let deep = top.join("x".repeat(150)).join("y".repeat(150)).join("z");
        fs::create_dir_all(&deep).unwrap();
        assert_eq!(directories(&called(&deep)), [deep]);
    }
}
