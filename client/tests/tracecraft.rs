//! What rrd mirrors tracecraft lists and shows, and what tracecraft mirrors rrd shows and resumes: both as they
//! are run, on one bucket.
//!
//! Where moto or tracecraft cannot be had this says so and is passed by (`.ci/moto`).
#![cfg(unix)]
#![allow(clippy::unwrap_used)] // the lint's exception for tests does not reach plain functions here

#[path = "host/mod.rs"]
mod host;
#[path = "../../daemon/tests/bucket/moto.rs"]
mod moto;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use host::{Host, session};
use rrd_proto::{MirrorFound, MirrorShown};
use serde_json::json;

const TOKEN: &str = "ghp_16C7e42F292c6912E7710c838347Ae178B4a";
const REDACTED: &str = "[REDACTED:github-token]";

/// Where the harness would write a session.
fn transcript(host: &Host, cwd: &Path, id: &str) -> PathBuf {
    let letter = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let folder: String = cwd.to_str().unwrap().chars().map(letter).collect();
    host.path(&format!(".claude/projects/{folder}/{id}.jsonl"))
}

/// A session of Claude Code.
fn write(path: &Path, cwd: &Path, id: &str, says: &str) {
    let record = |kind: &str, uuid: &str, message| {
        json!({"type": kind, "uuid": uuid, "parentUuid": null, "sessionId": id, "cwd": cwd,
            "isSidechain": false, "promptSource": "typed", "timestamp": "2026-11-20T10:00:00.000Z",
            "message": message})
    };
    let prompt = record("user", "u1", json!({"role": "user", "content": says}));
    let answer = json!({"id": "m1", "role": "assistant", "model": "m", "stop_reason": "end_turn",
        "content": [{"type": "text", "text": "Done."}]});
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, format!("{prompt}\n{}\n", record("assistant", "a1", answer))).unwrap();
}

/// What tracecraft prints.
fn tracecraft(program: &Path, host: &Host, args: &[&str]) -> String {
    let mut command = Command::new(program);
    command.args(args).current_dir(host.path("")).env_clear().env("HOME", host.path(""));
    let out = command.output().unwrap();
    assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

#[test]
fn each_reads_what_the_other_wrote() {
    let (Some(moto), Some(program)) = (moto::moto(), moto::tracecraft()) else {
        eprintln!("skipped: no tracecraft, see .ci/moto");
        return;
    };
    moto.make_bucket("shared");
    let mut host = Host::new("mac");
    host.set("AWS_ACCESS_KEY_ID", "test");
    host.set("AWS_SECRET_ACCESS_KEY", "test");
    let cwd = host.path("src");
    fs::create_dir_all(&cwd).unwrap();
    let cwd = cwd.canonicalize().unwrap();
    let (ours, theirs) = (session(1), session(2));
    let says = format!("Say it; the key is {TOKEN}");
    let written = transcript(&host, &cwd, &ours);
    write(&written, &cwd, &ours, &says);
    host.start();
    let endpoint = format!("http://{}", moto.address);
    let enable = ["mirror", "enable", "s3://shared", "--project", "p", "--endpoint", &endpoint];
    host.run(&[&enable[..], &["--region", "us-east-1", "--yes"]].concat());
    host.run(&["mirror", "run"]);

    let init = ["init", "--endpoint", &endpoint, "--bucket", "shared", "--project", "p"];
    let keys = ["--agent", "other", "--access-key", "test", "--secret-key", "test"];
    tracecraft(&program, &host, &[&init[..], &keys].concat());
    let list = tracecraft(&program, &host, &["session", "list"]);
    assert!(list.contains(&ours[..8]), "{list}");
    let shown = tracecraft(&program, &host, &["session", "show", &ours, "--tail", "2"]);
    let expected = fs::read_to_string(&written).unwrap().replace(TOKEN, REDACTED);
    assert!(expected.lines().all(|line| shown.contains(line)), "{shown}");

    // A session that rrd never saw, on a machine that is gone.
    let other = Host::new("gone");
    fs::copy(host.path(".tracecraft.json"), other.path(".tracecraft.json")).unwrap();
    // It looks where no name has two hyphens in a row.
    let origin = transcript(&other, &cwd, &theirs).to_str().unwrap().replace("--", "-");
    write(origin.as_ref(), &cwd, &theirs, &says);
    let mirror = ["session", "mirror", "--session-id", &theirs, "--cwd", cwd.to_str().unwrap()];
    tracecraft(&program, &other, &mirror);
    let found: Vec<MirrorFound> = host.json(&["mirror", "list", "--from-bucket"]);
    let listed = found.iter().find(|one| one.session_id == theirs).unwrap();
    assert_eq!((found.len(), listed.host.as_deref(), listed.is_told), (2, Some("other"), true));
    let show = ["mirror", "show", &theirs, "--tail", "10", "--json"];
    let shown: MirrorShown = host.json(&show[..5]);
    assert_eq!((shown.records, shown.dropped.len()), (2, 0));
    let resume = ["resume", &theirs, "--from", "bucket", "--cwd", cwd.to_str().unwrap()];
    assert!(host.refuses(&resume).contains("--take-over"));
    let line = host.run(&[&resume[..], &["--take-over"]].concat());
    assert!(line.ends_with(&format!("claude --resume {theirs}\n")), "{line}");
    let copy = fs::read_to_string(transcript(&host, &cwd, &theirs)).unwrap();
    assert!(!copy.contains(TOKEN) && copy.lines().count() == 2, "{copy}");
    assert_eq!(copy.lines().nth(1), fs::read_to_string(origin).unwrap().lines().nth(1));
}
