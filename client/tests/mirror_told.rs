//! What `rrd mirror` says of places, of what is in them and of what goes wrong: real daemons, and folders.
//!
//! Not here: what is brought there and when (`mirror`), and buckets that tracecraft wrote (`tracecraft`).
#![cfg(unix)]
#![allow(clippy::unwrap_used)] // the lint's exception for tests does not reach plain functions here

mod host;

use std::{fs, process::Output};

use host::{Host, session};
use rrd_proto::MirrorStatus;

/// What a program said: its code, stdout, stderr.
fn said(host: &Host, args: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = host.rrd(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

impl Host {
    /// A folder as a place.
    fn place(&self, name: &str) -> String {
        format!("file://{}", self.path(name).display())
    }

    /// Until it lists the session.
    fn knows(&self, id: &str) {
        self.until("the session", || match said(self, &["sessions", "show", id]) {
            (0, ..) => Ok(()),
            (_, _, error) => Err(error),
        });
    }
}

#[test]
fn what_was_left_out_stays_left_out() {
    let mut host = Host::new("mac");
    let thread = "01a1f87f-d0a7-7e91-aca5-d3b222634540";
    let rollout = format!(".codex/sessions/2026/11/20/rollout-2026-11-20T10-28-08-{thread}.jsonl");
    fs::create_dir_all(host.path(&rollout).parent().unwrap()).unwrap();
    let meta = format!(
        r#"{{"timestamp":"2026-11-20T10:28:08.000Z","type":"session_meta","payload":{{"id":"{thread}","cwd":"/w"}}}}"#
    );
    fs::write(host.path(&rollout), format!("{meta}\n")).unwrap();
    host.says(&session(1), "Mend it");
    host.start();
    host.knows(thread);
    host.knows(&session(1));
    let place = host.place("bucket");
    let (_, remarks) =
        host.told(&["mirror", "enable", &place, "--exclude-harness", "codex", "--repo", "none"]);
    for expected in ["not sessions of codex", "only sessions in none", "no session that is known"] {
        assert!(remarks.contains(expected), "{remarks}");
    }
    host.run(&["mirror", "run"]);
    assert!(!host.path("bucket/rrd/sessions").exists());

    // Spoken of nothing but the days, and the repositories: the harness stays left out.
    let all: MirrorStatus =
        host.json(&["mirror", "enable", &place, "--keep-days", "400", "--exclude-repo", "none"]);
    assert_eq!((&*all.exclude_harness[0], all.keep_days), ("codex", Some(400)));
    assert!(all.repo.is_empty() && all.unknown_repos == ["none"], "{all:?}");
    host.run(&["mirror", "run"]);
    assert!(host.path("bucket/rrd/sessions/claude-code").exists());
    assert!(!host.path("bucket/rrd/sessions/codex").exists());
    let status = host.run(&["mirror", "status"]);
    assert!(status.contains("not sessions of codex") && status.contains("400 days"), "{status}");

    // Taken back only by a word for that.
    let (_, remarks) = host.told(&["mirror", "enable", &place, "--all", "--keep-forever"]);
    assert!(!remarks.contains("codex") && !remarks.contains("deleted"), "{remarks}");
    host.run(&["mirror", "run"]);
    assert!(host.path("bucket/rrd/sessions/codex").exists());

    let (code, _, error) = said(&host, &["mirror", "enable", &place, "--harness", "hermse"]);
    assert!(code == 64 && error.contains("claude-code") && error.contains("hermes"), "{error}");
}
