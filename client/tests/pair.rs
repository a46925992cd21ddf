//! Who may look, told and taken back over the local socket of a daemon that serves no page.
#![cfg(unix)]
#![allow(clippy::unwrap_used)] // the lint's exception for tests does not reach plain functions here

mod host;

use std::{fs, os::unix::fs::PermissionsExt, process::Output};

use host::Host;
use serde_json::Value;

/// Its log tells all that it could.
fn host() -> Host {
    let mut host = Host::new("mac");
    host.set("RRD_LOG", "trace");
    host.start();
    host
}

/// Its status, what it prints, and what it remarks.
fn ran(host: &Host, args: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = host.rrd(args).output().unwrap();
    let text = |side| String::from_utf8(side).unwrap();
    (status.code(), text(stdout), text(stderr))
}

fn tokens(host: &Host) -> Vec<Value> {
    host.json(&["token", "--list"])
}

#[test]
fn a_token_is_told_once_listed_and_taken_back() {
    let mut host = host();
    assert!(tokens(&host).is_empty());
    let (_, out, err) = ran(&host, &["token", "--list"]);
    assert!(out.is_empty() && err.contains("rrd token makes one"), "{err}");
    let (_, token, err) = ran(&host, &["token", "--label", "backup \u{1b}[2J"]);
    let body = token.trim_end().strip_prefix("rrd_token_").unwrap();
    assert!(body.len() == 43 && token.lines().count() == 1 && err.is_empty(), "{err}");
    let second: Value = serde_json::from_str(&host.run(&["token", "--json"])).unwrap();
    let labels = |host: &Host| -> Vec<String> {
        let label = |token: &Value| token["label"].as_str().unwrap().to_owned();
        tokens(host).iter().map(label).collect()
    };
    assert_eq!(labels(&host), ["backup [2J", "a script"]);
    assert_eq!(tokens(&host)[0]["seen_at"], Value::Null);
    // As they were after a restart.
    let before = tokens(&host);
    host.kill();
    host.start();
    assert_eq!(tokens(&host), before);
    let shown = host.run(&["token", "--list"]);
    assert!(shown.contains("backup [2J") && shown.contains("everywhere"), "{shown}");

    for wrong in ["", "zz", second["token"].as_str().unwrap()] {
        let err = host.refuses(&["token", "--revoke", wrong]);
        assert!(err.contains("no script") && err.contains("rrd token --list"), "{err}");
    }
    // A browser's id it is not.
    host.refuses(&["pair", "--revoke", second["id"].as_str().unwrap()]);
    let id = second["id"].as_str().unwrap();
    assert_eq!(host.run(&["token", "--revoke", id]), "1 script is let in no more\n");
    assert_eq!(labels(&host), ["backup [2J"]);
    let revoked: Value =
        serde_json::from_str(&host.run(&["token", "--revoke", "all", "--json"])).unwrap();
    assert_eq!((revoked["revoked"].as_u64(), tokens(&host).len()), (Some(1), 0));
    assert_eq!(host.run(&["pair", "--revoke", "all"]), "0 browsers are let in no more\n");

    // Shown once means: nowhere else.
    let said = [host.run(&["status"]), host.run(&["doctor", "--json"]), host.log()].concat();
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
    let mut host = host();
    for args in [["pair"], ["open"]] {
        let err = host.refuses(&args);
        assert!(err.contains("serves no page") && err.contains("[http] listen"), "{err}");
    }
    let (status, _, err) = ran(&host, &["pair", "--list"]);
    assert!(status == Some(0) && err.contains("rrd pair lets one in"), "{err}");
    host.kill();
    for args in [&["pair"][..], &["open", "--print"], &["token"], &["token", "--list"]] {
        let (status, _, err) = ran(&host, args);
        assert!(status == Some(69) && err.contains("no daemon is running"), "{err}");
    }
}

#[test]
fn where_it_cannot_be_kept_nobody_is_let_in_and_the_rest_goes_on() {
    let mut host = host();
    host.run(&["token"]);
    host.kill();
    for file in ["keep.db-wal", "keep.db-shm"] {
        let _ = fs::remove_file(host.path("rrd/state").join(file));
    }
    fs::write(host.path("rrd/state/keep.db"), "garbage, ".repeat(500)).unwrap();
    host.start();
    for args in [&["token"][..], &["token", "--list"], &["pair", "--revoke", "all"]] {
        let err = host.refuses(args);
        assert!(err.contains("nobody can be let in") && err.contains("keep.db"), "{err}");
    }
    host.run(&["sessions", "list"]);
}

#[test]
fn what_cannot_be_together_is_refused() {
    let host = Host::new("mac");
    for args in [
        &["pair", "--list", "--revoke", "all"][..],
        &["pair", "--list", "--no-qr"],
        &["token", "--label", "x", "--list"],
        &["token", "--label", "x", "--revoke", "all"],
        &["open", "--json"],
    ] {
        assert_eq!(ran(&host, args).0, Some(64), "{args:?}");
    }
    for verb in ["pair", "open", "token"] {
        let help = host.run(&[verb, "--help"]);
        assert!(help.contains("Examples:") && !help.lines().any(|line| line.len() > 100), "{help}");
    }
}
