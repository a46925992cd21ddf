//! What must stay true of a whole daemon, on the recordings the core is tested with.
//!
//! Not here: what is lost or repeated when it is killed, and what a file's changes do.
#![allow(clippy::unwrap_used)] // the lint's exception for tests does not reach plain functions here

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

use rrd_daemon::{
    Daemon, Scan,
    config::{Config, Flags},
};
use rrd_proto::{Harness, ListQuery, RootState, Session};
use tempfile::TempDir;

fn all() -> ListQuery {
    ListQuery { all: true, ..ListQuery::default() }
}

/// A home with every recording of every harness in it.
fn home() -> TempDir {
    let home = tempfile::tempdir().unwrap();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("core/tests/fixtures");
    for format in rrd_daemon::formats() {
        // Of databases there are no recordings.
        for case in fs::read_dir(fixtures.join(format.name)).into_iter().flatten() {
            copy(&case.unwrap().path(), &home.path().join(format.homes[0]));
        }
    }
    home
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn config(home: &TempDir, own: &TempDir) -> Config {
    let env = |name: &str| match name {
        "HOME" => Some(home.path().as_os_str().to_owned()),
        "RRD_HOME" => Some(own.path().as_os_str().to_owned()),
        "RRD_HTTP" => Some("off".into()),
        "RRD_NAME" => Some(OsString::from("here")),
        _ => None,
    };
    Config::load(&env, &Flags::default()).unwrap()
}

/// Every path beneath `dir` with its modification time and bytes.
fn snapshot(dir: &Path) -> BTreeMap<PathBuf, (SystemTime, Option<Vec<u8>>)> {
    let (mut seen, mut left) = (BTreeMap::new(), vec![dir.to_owned()]);
    while let Some(path) = left.pop() {
        let metadata = fs::symlink_metadata(&path).unwrap();
        let bytes = metadata.is_file().then(|| fs::read(&path).unwrap());
        if metadata.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        seen.insert(path, (metadata.modified().unwrap(), bytes));
    }
    seen
}

#[test]
fn a_harness_home_is_left_as_it_was() {
    let (home, own) = (home(), tempfile::tempdir().unwrap());
    let before = snapshot(home.path());
    let daemon = Daemon::start(config(&home, &own)).unwrap();
    let listed = daemon.list(&all()).sessions;
    daemon.flush();
    daemon.stop();
    let scanned = Scan::new(&config(&home, &own), &mut |_| {}).list(&all()).sessions;
    assert!(listed.len() > 10, "{} sessions", listed.len());
    assert_eq!(listed, scanned, "with and without a daemon the answer is the same");
    assert_eq!(snapshot(home.path()), before);
}

#[test]
fn a_look_without_a_daemon_writes_nothing() {
    let (home, own) = (home(), tempfile::tempdir().unwrap());
    Daemon::start(config(&home, &own)).unwrap().stop();
    // SQLite's own -shm and an empty -wal may come with a reader; nothing else may.
    let kept = |dir: &Path| {
        let mut all = snapshot(dir);
        all.retain(|path, (_, bytes)| {
            bytes.is_some() && path.extension() != Some("db-shm".as_ref())
        });
        all.retain(|_, (_, bytes)| bytes.as_ref().is_some_and(|bytes| !bytes.is_empty()));
        all
    };
    let before = kept(own.path());
    let scan = Scan::new(&config(&home, &own), &mut |_| {});
    assert!(!scan.list(&all()).sessions.is_empty());
    assert_eq!(kept(own.path()), before);
}

#[test]
fn each_part_fails_alone() {
    let (home, own) = (home(), tempfile::tempdir().unwrap());
    // One root cannot be listed at all, and one transcript is not a file.
    fs::remove_dir_all(home.path().join(".codex")).unwrap();
    fs::write(home.path().join(".codex"), "not a directory").unwrap();
    fs::create_dir_all(home.path().join(".claude/projects/x/not-a-file.jsonl")).unwrap();
    let daemon = Daemon::start(config(&home, &own)).unwrap();
    let reply = daemon.list(&all());
    daemon.stop();
    assert!(reply.sessions.iter().any(|session| session.harness == Harness::ClaudeCode));
    let codex = reply.roots.iter().find(|root| root.harness == Harness::Codex).unwrap();
    assert!(matches!(codex.state, RootState::Unreadable(_)), "{:?}", codex.state);
}

#[test]
fn a_transcript_that_is_gone_is_no_end() {
    let (home, own) = (home(), tempfile::tempdir().unwrap());
    let known = |config: Config| {
        let daemon = Daemon::start(config).unwrap();
        let sessions = daemon.list(&all()).sessions;
        daemon.stop();
        let what = |s: Session| (s.session_id, s.title, s.counts, s.last_activity_at);
        let mut known: Vec<_> = sessions.into_iter().map(what).collect();
        known.sort_by(|a, b| a.0.cmp(&b.0));
        known
    };
    let before = known(config(&home, &own));
    fs::remove_dir_all(home.path().join(".claude/projects")).unwrap();
    fs::remove_dir_all(home.path().join(".codex/sessions")).unwrap();
    assert_eq!(known(config(&home, &own)), before, "what was read stays known");
}
