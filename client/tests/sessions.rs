//! The binary on small transcripts, without a daemon: what one look of its own finds and says.
//!
//! Transcripts are Claude Code's, as its release 2.1 writes them, cut to what matters. Not here: the
//! formats in full (the core's fixtures) and a daemon (`daemon.rs`).
#![allow(clippy::unwrap_used)] // the lint's exception for tests does not reach plain functions here

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Command, Output, Stdio},
    time::{SystemTime, UNIX_EPOCH},
};

use rrd_proto::{EndReason, EventKind, Session, Status, StatusSource, Timestamp};
use serde_json::{Value, json};
use tempfile::TempDir;

const DONE: &str = "b41f0c2e-0000-4000-8000-000000000001";
const BUSY: &str = "7f2c1111-0000-4000-8000-000000000002";
const OLD: &str = "b4e02222-0000-4000-8000-000000000003";

struct Home(TempDir);

fn ago(seconds: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    Timestamp::from_millis(i64::try_from(now).unwrap() - seconds * 1_000).to_string()
}

fn prompt(id: &str, text: &str, at: &str) -> Value {
    json!({
        "parentUuid": null, "isSidechain": false, "type": "user", "uuid": format!("u-{at}"),
        "message": {"role": "user", "content": text}, "timestamp": at, "promptSource": "typed",
        "userType": "external", "entrypoint": "cli", "cwd": "/home/dev/src/alpha",
        "sessionId": id, "version": "2.1.329", "gitBranch": "main",
    })
}

fn answer(id: &str, content: Value, stop: &str, at: &str) -> Value {
    json!({
        "parentUuid": "u", "isSidechain": false, "type": "assistant", "uuid": format!("a-{at}"),
        "message": {
            "id": format!("msg_{at}"), "type": "message", "role": "assistant", "model": "claude-x",
            "content": [content], "stop_reason": stop, "stop_sequence": null,
            "usage": {"input_tokens": 11, "output_tokens": 23, "cache_creation_input_tokens": 5,
                "cache_read_input_tokens": 7},
        },
        "requestId": "req_1", "timestamp": at, "userType": "external", "entrypoint": "cli",
        "cwd": "/home/dev/src/alpha", "sessionId": id, "version": "2.1.329", "gitBranch": "main",
    })
}

fn says(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

impl Home {
    fn empty() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// One whose turn is over, one in the middle of a command, one of three days ago.
    fn with_three() -> Self {
        let home = Self::empty();
        let bash = json!({
            "type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {"command": "cargo test"}
        });
        let done = [
            prompt(DONE, "Publish the crate", &ago(60)),
            answer(DONE, says("Published."), "end_turn", &ago(50)),
        ];
        let busy =
            [prompt(BUSY, "Run the tests", &ago(20)), answer(BUSY, bash, "tool_use", &ago(15))];
        let day = 86_400;
        let old = [
            prompt(OLD, "An old one", &ago(3 * day + 9)),
            answer(OLD, says("Done."), "end_turn", &ago(3 * day)),
        ];
        home.write(DONE, &done);
        home.write(BUSY, &busy);
        home.write(OLD, &old);
        home
    }

    fn transcript(&self, id: &str) -> PathBuf {
        let folder = self.0.path().join(".claude/projects/-home-dev-src-alpha");
        fs::create_dir_all(&folder).unwrap();
        folder.join(format!("{id}.jsonl"))
    }

    fn write(&self, id: &str, records: &[Value]) {
        let path = self.transcript(id);
        let mut file = fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        for record in records {
            file.write_all(format!("{record}\n").as_bytes()).unwrap();
        }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rrd"));
        command.args(args).env_clear().stdin(Stdio::null());
        command
            .env("HOME", self.0.path())
            .env("RRD_HOME", self.0.path().join("rrd"))
            .env("RRD_HTTP", "off");
        command
    }

    fn run(&self, args: &[&str]) -> (i32, String, String) {
        let Output { status, stdout, stderr } = self.command(args).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (status.code().unwrap_or(-1), text(stdout), text(stderr))
    }

    #[track_caller]
    fn list(&self, args: &[&str]) -> Vec<Session> {
        let (code, out, err) = self.run(&[&["sessions", "list", "--json"], args].concat());
        assert_eq!(code, 0, "{err}");
        serde_json::from_str(&out).unwrap()
    }

    #[track_caller]
    fn ids(&self, args: &[&str]) -> Vec<String> {
        self.list(args).into_iter().map(|session| session.session_id).collect()
    }
}

#[test]
fn without_a_daemon_the_list_is_the_same_and_stderr_says_so() {
    let home = Home::with_three();
    let (code, out, err) = home.run(&["sessions", "list"]);
    assert_eq!(code, 0, "{err}");
    assert_eq!(
        err,
        "no daemon is running: looked once by itself (rrd service install keeps one running)\n"
    );
    let lines: Vec<_> = out.lines().collect();
    assert!(lines[0].starts_with("  STATUS"), "{out}");
    assert!(lines[1].starts_with("◐ executing · Bash ") && lines[1].ends_with(" 7f2c"), "{out}");
    assert!(lines[2].starts_with("○ idle ") && lines[2].contains("Publish the crate"), "{out}");
    assert!(out.ends_with("\n2 active on 1 host\n"), "{out}");
    // A look writes nothing, not even rrd's own directories.
    assert!(!home.0.path().join("rrd").exists());
}

#[test]
fn the_json_has_what_the_transcript_says() {
    let home = Home::with_three();
    let rows = home.list(&[]);
    let (busy, done) = (&rows[0], &rows[1]);
    assert_eq!((busy.status, busy.status_source), (Status::Executing, StatusSource::OpenRecord));
    assert_eq!(busy.activity.as_ref().unwrap().tool.as_deref(), Some("Bash"));
    assert_eq!(done.title.as_deref(), Some("Publish the crate"));
    assert_eq!(done.cwd.as_deref(), Some("/home/dev/src/alpha"));
    assert_eq!(done.model.as_deref(), Some("claude-x"));
    let counts = done.counts.unwrap();
    assert_eq!((counts.prompts, counts.messages, counts.tool_calls, counts.errors), (1, 1, 0, 0));
    assert_eq!(done.transcript_path.as_deref(), home.transcript(DONE).to_str());
}

#[test]
fn flags_choose_rows() {
    let home = Home::with_three();
    assert_eq!(home.ids(&[]), [BUSY, DONE]);
    assert_eq!(home.ids(&["--all"]), [BUSY, DONE, OLD]);
    assert_eq!(home.ids(&["--all", "--local"]), [BUSY, DONE, OLD]);
    assert_eq!(home.ids(&["--all", "--since", "1d"]), [BUSY, DONE]);
    assert_eq!(home.ids(&["--all", "--since", "2999-01-01T00:00:00Z"]), [""; 0]);
    assert_eq!(home.ids(&["--all", "--since", "1999-01-01T00:00:00+01:00"]), [BUSY, DONE, OLD]);
    assert_eq!(home.ids(&["--status", "executing"]), [BUSY]);
    assert_eq!(home.ids(&["--status", "ended"]), [OLD]);
    assert_eq!(home.ids(&["--harness", "codex"]), [""; 0]);
    assert_eq!(home.ids(&["--host", "elsewhere"]), [""; 0]);
    let old = home.list(&["--status", "ended"]);
    assert_eq!(old[0].end_reason, Some(EndReason::Unknown));
}

#[test]
fn a_machine_without_sessions_says_where_it_looked() {
    let home = Home::empty();
    let (code, out, _) = home.run(&["sessions", "list"]);
    assert_eq!(code, 0);
    assert!(out.starts_with("no session found; looked in\n"), "{out}");
    assert!(
        out.contains(".claude") && out.contains(".codex") && out.contains("not there"),
        "{out}"
    );
    assert!(out.contains("\nnext: "), "{out}");
    assert_eq!(home.run(&["sessions", "list", "--json"]).1, "[]\n");
}

#[test]
fn when_nothing_is_active_the_last_one_is_named() {
    let home = Home::empty();
    home.write(
        OLD,
        &[
            prompt(OLD, "An old one", &ago(400_000)),
            answer(OLD, says("Done."), "end_turn", &ago(399_000)),
        ],
    );
    let (_, out, _) = home.run(&["sessions", "list"]);
    assert!(out.starts_with("no session is active\n· the last one ended "), "{out}");
    assert!(out.contains("An old one") && out.contains("--all shows all 1"), "{out}");
}

#[test]
fn show_and_tail_find_it_by_any_of_its_names() {
    let home = Home::with_three();
    let reference = home.list(&[])[0].reference.clone();
    for id in ["7f2c", BUSY, &reference] {
        let (code, out, err) = home.run(&["sessions", "show", id]);
        assert_eq!(code, 0, "{id}: {err}");
        assert!(out.contains("Run the tests\n◐ executing · Bash"), "{out}");
        assert!(out.contains("why: the transcript shows Bash begun at "), "{out}");
    }
    let (code, _, err) = home.run(&["sessions", "show", "b4"]);
    assert_eq!(code, 1);
    assert!(err.contains("2 start with it: "), "{err}");
    let (code, _, err) = home.run(&["sessions", "show", "ffff"]);
    assert_eq!(code, 1);
    assert!(err.contains("no session matches \"ffff\""), "{err}");

    let (_, out, _) = home.run(&["sessions", "tail", "b41f", "--json"]);
    let kinds: Vec<_> = out
        .lines()
        .map(|line| serde_json::from_str::<rrd_proto::Event>(line).unwrap().kind)
        .collect();
    assert!(kinds.starts_with(&[EventKind::Prompt, EventKind::Message]), "{kinds:?}");
}

#[test]
fn tail_follows_without_a_daemon() {
    let home = Home::with_three();
    let mut child = home
        .command(&["sessions", "tail", "b41f", "-f", "--limit", "1", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap()).lines();
    out.next().unwrap().unwrap();
    home.write(DONE, &[prompt(DONE, "And tag it", &ago(0))]);
    let line = out.find(|line| line.as_ref().unwrap().contains("\"prompt\"")).unwrap().unwrap();
    assert!(line.contains("And tag it"), "{line}");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn nothing_in_a_transcript_steers_the_terminal() {
    let home = Home::empty();
    let evil = "a\u{1b}]52;c;x\u{7}\u{9b}2J\nb\u{202e}c\u{200b}\u{2066}d";
    home.write(
        DONE,
        &[prompt(DONE, evil, &ago(60)), answer(DONE, says(evil), "end_turn", &ago(50))],
    );
    let acts = |c: char| {
        (c.is_control() && c != '\n')
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}')
    };
    for args in [
        &["sessions", "list"][..],
        &["sessions", "list", "--json"],
        &["sessions", "show", "b41f"],
        &["sessions", "tail", "b41f"],
        &["sessions", "tail", "b41f", "--json"],
    ] {
        let (code, out, err) = home.run(args);
        assert_eq!(code, 0, "{args:?}: {err}");
        assert!(!out.chars().any(acts) && !err.chars().any(acts), "{args:?}: {out:?}");
    }
}
