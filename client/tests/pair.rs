//! Who may look, told and taken back over the local socket of a daemon that serves no page.
#![cfg(unix)]
#![allow(clippy::unwrap_used)] // the lint's exception for tests does not reach plain functions here

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

struct Host {
    home: TempDir,
    daemon: Option<Child>,
}

impl Drop for Host {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Host {
    fn new() -> Self {
        let mut host = Self { home: tempfile::tempdir().unwrap(), daemon: None };
        host.start();
        host
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.home.path().join(relative)
    }

    fn rrd(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rrd"));
        command
            .args(args)
            .env_clear()
            .env("HOME", self.home.path())
            .env("RRD_HOME", self.path("rrd"))
            .env("RRD_LISTEN", "127.0.0.1:0")
            .env("RRD_HTTP", "off")
            .env("RRD_LOG", "trace")
            .stdin(Stdio::null());
        command
    }

    fn start(&mut self) {
        let log = fs::File::options().append(true).create(true).open(self.path("log")).unwrap();
        let mut daemon = self.rrd(&["daemon"]).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut said = String::new();
        BufReader::new(daemon.stdout.as_mut().unwrap()).read_line(&mut said).unwrap();
        assert!(said.contains("its socket is"), "{said}{}", self.log());
        self.daemon = Some(daemon);
    }

    fn stop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    fn run(&self, args: &[&str]) -> (Option<i32>, String, String) {
        let Output { status, stdout, stderr } = self.rrd(args).output().unwrap();
        let text = |side| String::from_utf8(side).unwrap();
        (status.code(), text(stdout), text(stderr))
    }

    /// What it prints when it succeeds.
    fn does(&self, args: &[&str]) -> String {
        let (status, out, err) = self.run(args);
        assert_eq!(status, Some(0), "{args:?}: {err}\n{}", self.log());
        out
    }

    /// What it says when it does not.
    fn refuses(&self, args: &[&str]) -> String {
        let (status, out, err) = self.run(args);
        assert_eq!((status, out.as_str()), (Some(1), ""), "{args:?}: {err}");
        assert!(err.contains("hint: "), "{err}");
        err
    }

    fn tokens(&self) -> Vec<Value> {
        serde_json::from_str(&self.does(&["token", "--list", "--json"])).unwrap()
    }
}

#[test]
fn a_token_is_told_once_listed_and_taken_back() {
    let mut host = Host::new();
    assert!(host.tokens().is_empty());
    let (_, out, err) = host.run(&["token", "--list"]);
    assert!(out.is_empty() && err.contains("rrd token makes one"), "{err}");
    let (_, token, err) = host.run(&["token", "--label", "backup \u{1b}[2J"]);
    let body = token.trim_end().strip_prefix("rrd_token_").unwrap();
    assert!(body.len() == 43 && token.lines().count() == 1 && err.is_empty(), "{err}");
    let second: Value = serde_json::from_str(&host.does(&["token", "--json"])).unwrap();
    let labels = |host: &Host| -> Vec<String> {
        let label = |token: &Value| token["label"].as_str().unwrap().to_owned();
        host.tokens().iter().map(label).collect()
    };
    assert_eq!(labels(&host), ["backup [2J", "a script"]);
    assert_eq!(host.tokens()[0]["seen_at"], Value::Null);
    // As they were after a restart.
    let before = host.tokens();
    host.stop();
    host.start();
    assert_eq!(host.tokens(), before);
    let shown = host.does(&["token", "--list"]);
    assert!(shown.contains("backup [2J") && shown.contains("everywhere"), "{shown}");

    for wrong in ["", "zz", second["token"].as_str().unwrap()] {
        let err = host.refuses(&["token", "--revoke", wrong]);
        assert!(err.contains("no script") && err.contains("rrd token --list"), "{err}");
    }
    // A browser's id it is not.
    host.refuses(&["pair", "--revoke", second["id"].as_str().unwrap()]);
    let id = second["id"].as_str().unwrap();
    assert_eq!(host.does(&["token", "--revoke", id]), "1 script is let in no more\n");
    assert_eq!(labels(&host), ["backup [2J"]);
    let revoked: Value =
        serde_json::from_str(&host.does(&["token", "--revoke", "all", "--json"])).unwrap();
    assert_eq!((revoked["revoked"].as_u64(), host.tokens().len()), (Some(1), 0));
    assert_eq!(host.does(&["pair", "--revoke", "all"]), "0 browsers are let in no more\n");

    // Shown once means: nowhere else.
    let said = [host.does(&["status"]), host.does(&["doctor", "--json"]), host.log()].concat();
    assert!(!said.contains(body) && !said.contains("rrd_token_"), "{said}");
    let state = fs::read_dir(host.path("rrd/state")).unwrap();
    for file in state.map(|file| file.unwrap().path()).filter(|path| path.is_file()) {
        let bytes = fs::read(&file).unwrap();
        let found = bytes.windows(body.len()).any(|window| window == body.as_bytes());
        assert!(!found, "{}", file.display());
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{}", file.display());
    }
}

#[test]
fn without_a_page_there_is_nothing_to_pair_with() {
    let mut host = Host::new();
    for args in [["pair"], ["open"]] {
        let err = host.refuses(&args);
        assert!(err.contains("serves no page") && err.contains("[http] listen"), "{err}");
    }
    let (status, _, err) = host.run(&["pair", "--list"]);
    assert!(status == Some(0) && err.contains("rrd pair lets one in"), "{err}");
    host.stop();
    for args in [&["pair"][..], &["open", "--print"], &["token"], &["token", "--list"]] {
        let (status, _, err) = host.run(args);
        assert!(status == Some(69) && err.contains("no daemon is running"), "{err}");
    }
}

#[test]
fn where_it_cannot_be_kept_nobody_is_let_in_and_the_rest_goes_on() {
    let mut host = Host::new();
    host.does(&["token"]);
    host.stop();
    for file in ["keep.db-wal", "keep.db-shm"] {
        let _ = fs::remove_file(host.path("rrd/state").join(file));
    }
    fs::write(host.path("rrd/state/keep.db"), "garbage, ".repeat(500)).unwrap();
    host.start();
    for args in [&["token"][..], &["token", "--list"], &["pair", "--revoke", "all"]] {
        let err = host.refuses(args);
        assert!(err.contains("nobody can be let in") && err.contains("keep.db"), "{err}");
    }
    host.does(&["sessions", "list"]);
}

#[test]
fn what_cannot_be_together_is_refused() {
    let host = Host { home: tempfile::tempdir().unwrap(), daemon: None };
    for args in [
        &["pair", "--list", "--revoke", "all"][..],
        &["pair", "--list", "--no-qr"],
        &["token", "--label", "x", "--list"],
        &["token", "--label", "x", "--revoke", "all"],
        &["open", "--json"],
    ] {
        assert_eq!(host.run(args).0, Some(64), "{args:?}");
    }
    for verb in ["pair", "open", "token"] {
        let help = host.does(&[verb, "--help"]);
        assert!(help.contains("Examples:") && !help.lines().any(|line| line.len() > 100), "{help}");
    }
}
