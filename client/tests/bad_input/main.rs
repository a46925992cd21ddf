//! The real binary against what a host can throw at it: damaged lines, odd files, a damaged index,
//! hostile text, processes that die. Each hazard is tried both ways: by one look without a daemon, and
//! by a daemon that follows while it happens.
//!
//! Not here: formats in full (the core's fixtures) and kills of rrd itself.
#![cfg(target_os = "linux")] // its /proc, its locks, its namespaces
#![allow(clippy::unwrap_used)] // the lint's exception for tests does not reach plain functions here

mod branches;
mod files;
mod gone;
mod hermes;
mod hostile;
mod identity;
mod index;
mod lines;
mod openclaw;
mod processes;
mod rollouts;
mod scenes;

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rrd_proto::{Session, Timestamp};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Whatever a daemon has to notice it has noticed by then.
const SOON: Duration = Duration::from_secs(12);

/// One command that takes longer hangs.
const HANGS: Duration = Duration::from_secs(20);

const ID: &str = "b41f0c2e-0000-4000-8000-000000000001";

/// `seconds` ago, as a transcript has it.
fn ago(seconds: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    Timestamp::from_millis(i64::try_from(now).unwrap() - seconds * 1_000).to_string()
}

/// `bytes` at the end of the file.
fn append(path: &Path, bytes: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut file = fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all(bytes.as_ref()).unwrap();
}

/// A record as Claude Code spells it: its parent comes first.
fn spelt(record: &Value) -> String {
    let mut record = record.clone();
    match record.as_object_mut().unwrap().remove("parentUuid") {
        Some(parent) => format!("{{\"parentUuid\":{parent},{}", &record.to_string()[1..]),
        None => record.to_string(),
    }
}

/// `records` as lines.
fn jsonl(records: &[Value]) -> String {
    records.iter().map(|record| spelt(record) + "\n").collect()
}

/// Waits until `look` gives something.
fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < SOON, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(25));
    }
}

/// A Claude Code session as its release 2.1.329 writes it; every record is one second after the last.
struct Talk {
    id: String,
    cwd: String,
    version: String,
    at: i64,
    number: u32,
}

impl Talk {
    fn new(id: &str) -> Self {
        let (id, cwd) = (id.to_owned(), "/home/dev/src/alpha".to_owned());
        Self { id, cwd, version: "2.1.329".to_owned(), at: 100, number: 0 }
    }

    fn record(&mut self, kind: &str, more: Value) -> Value {
        self.number += 1;
        self.at -= 1;
        let mut record = json!({
            "parentUuid": null, "isSidechain": false, "type": kind, "timestamp": ago(self.at),
            "uuid": format!("{}-{}", self.id, self.number), "userType": "external",
            "entrypoint": "cli", "cwd": self.cwd, "sessionId": self.id, "version": self.version,
            "gitBranch": "main",
        });
        for (key, value) in more.as_object().unwrap() {
            record[key] = value.clone();
        }
        record
    }

    fn prompt(&mut self, text: &str) -> Value {
        let message = json!({"role": "user", "content": text});
        self.record("user", json!({"message": message, "promptSource": "typed"}))
    }

    fn answer(&mut self, content: Value, stop: &str) -> Value {
        let id = format!("msg_{}_{}", self.id, self.number);
        let message = json!({
            "id": id, "type": "message", "role": "assistant", "model": "claude-x",
            "content": [content], "stop_reason": stop,
            "usage": {"input_tokens": 11, "output_tokens": 23},
        });
        self.record("assistant", json!({"message": message, "requestId": "req_1"}))
    }

    fn says(&mut self, text: &str) -> Value {
        self.answer(json!({"type": "text", "text": text}), "end_turn")
    }

    fn calls(&mut self, call: &str, tool: &str, input: Value) -> Value {
        let block = json!({"type": "tool_use", "id": call, "name": tool, "input": input});
        self.answer(block, "tool_use")
    }

    fn result(&mut self, call: &str, is_error: bool) -> Value {
        let block = json!({
            "type": "tool_result", "tool_use_id": call, "content": "out", "is_error": is_error
        });
        self.record("user", json!({"message": {"role": "user", "content": [block]}}))
    }

    /// A prompt and its answer: one prompt, one message.
    fn turn(&mut self, text: &str) -> [Value; 2] {
        [self.prompt(text), self.says("Done.")]
    }
}

/// A machine of its own: a home with whatever a test puts there.
struct Host {
    home: TempDir,
    env: Vec<(String, String)>,
    /// Runs as a user to whom files can be unreadable.
    unprivileged: Option<PathBuf>,
    open_files: Option<u32>,
}

impl Host {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        Self { home, env: Vec::new(), unprivileged: None, open_files: None }
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.home.path().join(relative)
    }

    fn transcript(&self, id: &str) -> PathBuf {
        let path = self.path(&format!(".claude/projects/-home-dev-src-alpha/{id}.jsonl"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    fn write(&self, id: &str, records: &[Value]) {
        append(&self.transcript(id), jsonl(records));
    }

    fn command(&self, args: &[&str]) -> Command {
        let binary = Path::new(env!("CARGO_BIN_EXE_rrd"));
        let binary = self.unprivileged.as_deref().unwrap_or(binary);
        let mut command = match self.open_files {
            Some(most) => {
                let mut shell = Command::new("/bin/sh");
                shell.args(["-c", &format!("ulimit -n {most}; exec \"$0\" \"$@\"")]).arg(binary);
                shell
            }
            None => Command::new(binary),
        };
        command.args(args).env_clear().stdin(Stdio::null()).current_dir(self.home.path());
        command
            .env("HOME", self.home.path())
            .env("RRD_HOME", self.path("rrd"))
            .env("RRD_HTTP", "off")
            .env("TZ", "UTC");
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        if self.unprivileged.is_some() {
            command.uid(65_534).gid(65_534);
        }
        command
    }

    fn output(&self, args: &[&str]) -> Output {
        finish(self.command(args))
    }

    fn run(&self, args: &[&str]) -> String {
        let output = self.output(args);
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {err}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Every session, by one look without a daemon; with its index, unless it is there now.
    fn looked(&self) -> Vec<Session> {
        let mut command = self.command(&["sessions", "list", "--all", "--json"]);
        if self.path("rrd/run/rrd.sock").exists() {
            command.env("RRD_HOME", self.path("without-a-daemon"));
        }
        let output = finish(command);
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(err.contains("looked once by itself"), "{err}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Every session, by the daemon.
    fn followed(&self) -> Vec<Session> {
        serde_json::from_str(&self.run(&["sessions", "list", "--all", "--json"])).unwrap()
    }

    /// The parts of the daemon as `rrd status` tells.
    fn status(&self) -> String {
        let output = self.output(&["status"]);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Waits until the daemon lists one session `id` that is as it should be.
    fn follows(&self, what: &str, id: &str, good: impl Fn(&Session) -> bool) -> Session {
        let mut last = None;
        let begun = Instant::now();
        while begun.elapsed() < SOON {
            let rows = self.followed();
            let mut rows = rows.into_iter().filter(|row| row.session_id == id);
            last = rows.next();
            assert!(rows.next().is_none(), "{what}: {id} is listed twice");
            if let Some(row) = last.take_if(|row| good(row)) {
                return row;
            }
            std::thread::sleep(Duration::from_millis(25));
        }
        panic!("not in time: {what}: {last:#?}");
    }

    fn daemon(&self) -> Daemon {
        let log = self.path("log");
        let mut child = self
            .command(&["daemon"])
            .stdout(Stdio::piped())
            .stderr(fs::OpenOptions::new().create(true).append(true).open(&log).unwrap())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let said = || fs::read_to_string(&log).unwrap_or_default();
        assert!(line.starts_with("rrd follows"), "{line}{}", said());
        Daemon(child)
    }

    /// Both ways: without a daemon, then by one (which is there as long as what is returned).
    fn both(&self, check: impl Fn(&str, &[Session])) -> Daemon {
        check("looked", &self.looked());
        let daemon = self.daemon();
        until("the first reading", || self.followed().iter().all(|row| row.complete).then_some(()));
        check("followed", &self.followed());
        daemon
    }
}

/// Runs a command to its end; it must not hang.
fn finish(mut command: Command) -> Output {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let read = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut out, &mut bytes).unwrap();
        bytes
    });
    let errors = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut err, &mut bytes).unwrap();
        bytes
    });
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if begun.elapsed() > HANGS {
            child.kill().unwrap();
            panic!("{command:?} hangs");
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    Output { status, stdout: read.join().unwrap(), stderr: errors.join().unwrap() }
}

/// A running daemon; gone when dropped.
struct Daemon(Child);

impl Daemon {
    fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Asks it to stop, and waits until it has.
    fn stop(mut self) {
        let pid = self.pid().to_string();
        Command::new("kill").args(["-TERM", &pid]).status().unwrap();
        assert!(self.0.wait().unwrap().success(), "a stop is no failure");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Prompts, messages, tool calls, errors.
fn counts(row: &Session) -> (u64, u64, u64, u64) {
    let counts = row.counts.unwrap_or_else(|| panic!("not read to its end: {row:#?}"));
    (counts.prompts, counts.messages, counts.tool_calls, counts.errors)
}

/// How often something was worth a remark.
fn issue(row: &Session, kind: &str) -> u64 {
    row.issues.iter().find(|issue| issue.kind == kind).map_or(0, |issue| issue.count)
}

fn shown_path(row: &Session) -> &str {
    row.transcript_path.as_deref().unwrap_or_default()
}

fn ids(rows: &[Session]) -> Vec<&str> {
    let mut ids: Vec<&str> = rows.iter().map(|row| row.session_id.as_str()).collect();
    ids.sort_unstable();
    ids
}
