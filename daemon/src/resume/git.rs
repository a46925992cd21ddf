//! The clone in which a session goes on: what git says of it.
//!
//! git is asked once, without locks, without the file system monitor that a repository may name, and for some
//! seconds at most; where it is not there or does not answer, what it would have said is not known. Not here:
//! what follows from it.

use std::{
    io::Read,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use rrd_core::resume::Checkout;

/// What git may take.
const WITHIN: Duration = Duration::from_secs(5);

/// Of what git says no more is read.
const MOST: u64 = 4 << 20;

/// How often it is looked whether it is done.
const LOOK: Duration = Duration::from_millis(10);

/// The remote of the repository that `directory` belongs to, without credentials.
#[must_use]
pub fn remote(directory: &Path) -> Option<String> {
    crate::repo::find(directory)?.remote
}

/// The top of the repository that `directory` belongs to; of a worktree that of its repository.
#[must_use]
pub fn root(directory: &Path) -> Option<PathBuf> {
    crate::repo::find(directory)?.root.map(PathBuf::from)
}

/// What is in `directory`.
#[must_use]
pub fn checkout(directory: &Path) -> Checkout {
    let mut checkout = Checkout {
        cwd: directory.to_string_lossy().into_owned(),
        remote: remote(directory),
        ..Checkout::default()
    };
    if let Some(said) = status(directory) {
        read(&said, &mut checkout);
    }
    checkout
}

fn read(said: &str, checkout: &mut Checkout) {
    let mut changed = 0;
    for line in said.lines() {
        match line.strip_prefix("# ").and_then(|header| header.split_once(' ')) {
            Some(("branch.oid", oid)) if oid != "(initial)" => checkout.head = Some(oid.to_owned()),
            Some(("branch.head", head)) if head != "(detached)" => {
                checkout.branch = Some(head.to_owned());
            }
            _ if line.starts_with('#') => {}
            _ => changed += 1,
        }
    }
    checkout.changed = Some(changed);
}

fn status(directory: &Path) -> Option<String> {
    let mut git = Command::new("git")
        .args(["--no-optional-locks", "-c", "core.fsmonitor=false", "status"])
        .args(["--porcelain=v2", "--branch", "--ignore-submodules=dirty"])
        .current_dir(directory)
        .env("GIT_TERMINAL_PROMPT", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let out = git.stdout.take()?;
    let reader = std::thread::spawn(move || {
        let mut said = Vec::new();
        out.take(MOST).read_to_end(&mut said).ok().map(|_| said)
    });
    let begun = Instant::now();
    let ended = loop {
        match git.try_wait() {
            Ok(None) if begun.elapsed() < WITHIN => std::thread::sleep(LOOK),
            Ok(None) | Err(_) => {
                let _ = git.kill();
                let _ = git.wait();
                return None;
            }
            Ok(Some(status)) => break status,
        }
    };
    let said = reader.join().ok()??;
    ended.success().then(|| String::from_utf8_lossy(&said).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_git_says_is_read() {
        let mut checkout = Checkout::default();
        let said = "# branch.oid 0123abc\n# branch.head main\n# branch.upstream origin/main\n\
                    1 .M N... 100644 100644 100644 a b src/x.rs\n? new\n";
        read(said, &mut checkout);
        assert_eq!(checkout.head.as_deref(), Some("0123abc"));
        assert_eq!((checkout.branch.as_deref(), checkout.changed), (Some("main"), Some(2)));
        let mut fresh = Checkout::default();
        read("# branch.oid (initial)\n# branch.head (detached)\n", &mut fresh);
        assert_eq!(fresh, Checkout { changed: Some(0), ..Checkout::default() });
    }

    #[test]
    fn a_directory_that_is_no_repository_is_one() {
        let dir = tempfile::tempdir().unwrap();
        let checkout = checkout(dir.path());
        assert_eq!((checkout.remote, checkout.head), (None, None));
    }
}
