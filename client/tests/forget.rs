//! A session is forgotten for good: it is in no list, on no restart, and in no file of rrd's.
//!
//! Not here: how rows are taken out (the daemon's tests of its store).
#![cfg(unix)]
#![allow(clippy::unwrap_used)] // the lint's exception for tests does not reach plain functions here

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;

/// Nobody waits for longer than that.
const PATIENCE: Duration = Duration::from_secs(20);

const GONE: &str = "00000000-0000-4000-8000-000000000001";
const STAYS: &str = "00000000-0000-4000-8000-000000000002";
/// Said in the session that is forgotten, and by its delegate.
const SAID: &str = "Zanzibar-Quetzal-Xylophone";

struct Host {
    home: TempDir,
    daemon: Option<Child>,
}

impl Drop for Host {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Host {
    fn new() -> Self {
        let host = Self { home: tempfile::tempdir().unwrap(), daemon: None };
        host.says(&format!("{GONE}.jsonl"), GONE, &format!("{SAID}\n{}", "and more ".repeat(40)));
        host.says(
            &format!("{GONE}/subagents/agent-a1.jsonl"),
            GONE,
            &format!("{SAID} too\n\nreally"),
        );
        host.says(&format!("{STAYS}.jsonl"), STAYS, "Something else\nentirely");
        host
    }

    fn path(&self, file: &str) -> PathBuf {
        self.home.path().join(".claude/projects/-w").join(file)
    }

    fn says(&self, file: &str, session: &str, text: &str) {
        let side = file.contains("subagents");
        let agent = file.split_once("agent-").map_or("a1", |(_, id)| id.trim_end_matches(".jsonl"));
        let record = json!({
            "parentUuid": null, "isSidechain": side, "type": "user", "uuid": format!("u{file}{text}"),
            "message": {"role": "user", "content": text}, "userType": "external", "cwd": "/w",
            "timestamp": "2026-11-20T10:00:00Z", "entrypoint": "cli", "promptSource": "typed",
            "sessionId": session, "version": "2.1.300", "gitBranch": "main", "agentId": agent,
        });
        let path = self.path(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut file = fs::File::options().append(true).create(true).open(path).unwrap();
        writeln!(file, "{record}").unwrap();
    }

    fn rrd(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rrd"));
        command
            .args(args)
            .env_clear()
            .env("HOME", self.home.path())
            .env("RRD_HOME", self.home.path().join("rrd"))
            .env("RRD_NAME", "mac")
            .env("RRD_HTTP", "off")
            .stdin(Stdio::null());
        command
    }

    fn out(&self, args: &[&str]) -> Output {
        self.rrd(args).output().unwrap()
    }

    fn start(&mut self) {
        let mut daemon =
            self.rrd(&["daemon"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut said = String::new();
        BufReader::new(daemon.stdout.as_mut().unwrap()).read_line(&mut said).unwrap();
        assert!(said.contains("its socket is"), "{said}");
        self.daemon = Some(daemon);
    }

    fn kill(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }

    fn ids(&self) -> Vec<String> {
        let out = self.out(&["sessions", "list", "--all", "--json"]);
        let rows: Value = serde_json::from_slice(&out.stdout).unwrap();
        let mut ids: Vec<String> = rows
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["session_id"].as_str().unwrap().to_owned())
            .collect();
        ids.sort();
        ids
    }

    /// Files of rrd's own that hold these bytes.
    fn holding(&self, text: &str) -> Vec<PathBuf> {
        fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
            for entry in fs::read_dir(dir).unwrap().flatten() {
                match entry.file_type().unwrap().is_dir() {
                    true => walk(&entry.path(), found),
                    false => found.push(entry.path()),
                }
            }
        }
        let mut files = Vec::new();
        walk(&self.home.path().join("rrd"), &mut files);
        files.retain(|file| {
            let bytes = fs::read(file).unwrap_or_default();
            bytes.windows(text.len()).any(|part| part == text.as_bytes())
        });
        files
    }
}

fn until(what: &str, mut check: impl FnMut() -> bool) {
    let started = Instant::now();
    while !check() {
        assert!(started.elapsed() < PATIENCE, "waited for {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn what_was_forgotten_is_gone_for_good() {
    let mut host = Host::new();
    host.start();
    until("the list", || host.ids() == [GONE, STAYS, "a1"]);
    until("the index", || !host.holding(SAID).is_empty());
    // Nobody is there to be asked.
    let asked = host.out(&["sessions", "forget", GONE]);
    assert_eq!(asked.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&asked.stderr).contains("--yes"));
    let done = host.out(&["sessions", "forget", GONE, "--yes"]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(String::from_utf8_lossy(&done.stderr), "forgot 2 sessions\n");
    assert_eq!(host.ids(), [STAYS]);
    assert_eq!(host.out(&["sessions", "show", GONE]).status.code(), Some(1));
    // It goes on, and nobody sees that.
    host.says(&format!("{GONE}.jsonl"), GONE, &format!("{SAID}\nonce more"));
    // What it delegates from here on is part of it.
    host.says(&format!("{GONE}/subagents/agent-a2.jsonl"), GONE, &format!("{SAID}\nonce more"));
    host.says(&format!("{STAYS}.jsonl"), STAYS, "And on");
    until("the other one", || {
        let out = host.out(&["sessions", "show", STAYS, "--json", "--events"]);
        String::from_utf8_lossy(&out.stdout).contains("And on")
    });
    assert_eq!(host.ids(), [STAYS]);
    until("nothing to be left", || host.holding(SAID).is_empty());
    // Neither a restart, nor a look without a daemon, nor a new index brings it back.
    host.kill();
    assert_eq!(host.ids(), [STAYS]);
    for file in ["index.db", "index.db-wal", "index.db-shm"] {
        let _ = fs::remove_file(host.home.path().join("rrd/state").join(file));
    }
    host.start();
    until("the list", || host.ids() == [STAYS]);
    until("the index", || !host.holding("entirely").is_empty());
    assert_eq!(host.holding(SAID), [] as [PathBuf; 0]);
    assert!(host.path(&format!("{GONE}.jsonl")).exists(), "its harness's file is left alone");
    let again = host.out(&["sessions", "forget", GONE, "--yes"]);
    assert_eq!(again.status.code(), Some(1));
}
