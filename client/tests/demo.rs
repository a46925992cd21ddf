//! `rrd demo`, as a newcomer runs it: the tour comes about, and nothing of it is left.
#![cfg(unix)]
#![allow(clippy::unwrap_used)] // the lint's exception for tests does not reach plain functions here

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use tempfile::TempDir;

/// A home, and a place for temporary files.
struct Newcomer {
    home: TempDir,
    scratch: TempDir,
}

impl Newcomer {
    fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap(), scratch: tempfile::tempdir().unwrap() }
    }

    fn demo(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rrd"));
        command
            .arg("demo")
            .args(args)
            .env_clear()
            .env("HOME", self.home.path())
            .env("TMPDIR", self.scratch.path())
            // None of this is the demo's.
            .env("RRD_HOME", self.home.path().join("rrd"))
            .env("RRD_HTTP", "off")
            .env("CODEX_HOME", self.home.path().join("codex"))
            .env("RRD_NAME", "mine")
            .stdin(Stdio::null());
        command
    }

    fn has_nothing_new(&self) -> bool {
        let is_empty = |dir: &Path| fs::read_dir(dir).unwrap().next().is_none();
        is_empty(self.home.path()) && is_empty(self.scratch.path())
    }
}

#[test]
fn the_tour_comes_about_and_leaves_nothing() {
    let newcomer = Newcomer::new();
    let out = newcomer.demo(&["--once"]).output().unwrap();
    let said = String::from_utf8(out.stdout).unwrap();
    let err = String::from_utf8(out.stderr).unwrap();
    assert!(out.status.success() && err.is_empty(), "{said}\n{err}");
    assert_eq!(said.lines().filter(|line| line.starts_with("✓ ")).count(), 5, "{said}");
    assert!(!said.contains('✕'), "{said}");
    // Alone, then together, then one away, and back: with the table that a list has.
    let lists: Vec<&str> = said.split(" $ rrd sessions list\n").skip(1).collect();
    let of = |at: usize, what: &str| lists[at].lines().any(|line| line.contains(what));
    assert!((0..3).all(|at| of(at, "2 active on 1 host")), "{said}");
    assert!((3..6).all(|at| of(at, "6 active on 3 hosts")), "{said}");
    assert!(of(6, "AskUserQuestion: Drop the old endpoint, too?"), "{said}");
    assert!(of(7, "desktop away since") && of(7, "◌ "), "{said}");
    assert!(!of(8, "◌ ") && lists.len() == 9, "{said}");
    let widest = said.lines().map(|line| line.chars().count()).max().unwrap();
    assert!(widest <= 80 && !said.contains("mine") && !said.contains('\u{1b}'), "{said}");
    assert!(newcomer.has_nothing_new());
}

#[test]
fn it_goes_on_until_somebody_leaves() {
    let newcomer = Newcomer::new();
    let mut demo = newcomer.demo(&[]).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(demo.stdout.take().unwrap()).lines().map(Result::unwrap);
    // Each change is told with the time it took to each of the others.
    let change = lines
        .skip_while(|line| !line.starts_with("It goes on until Ctrl-C"))
        .find(|line| line.starts_with("laptop ") && line.contains("desktop "));
    let change = change.unwrap();
    assert!(change.contains("server ") && !change.contains("never"), "{change}");
    let pid = demo.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    assert!(demo.wait().unwrap().success());
    assert!(newcomer.has_nothing_new());
}
