//! `rrd hook` as harnesses run it: with a daemon, without one, and with everything that may go wrong.
//!
//! The payloads are the core's recordings. Not here: what follows from a call in every case (the core's
//! tables), and how fast it is (`.ci/bench-hook`; a test only notices what hangs).
#![cfg(unix)]
#![allow(clippy::unwrap_used)] // the lint's exception for tests does not reach plain functions here

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::{fs::PermissionsExt, net::UnixListener},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rrd_core::harness::hook::understand;
use rrd_daemon::store::Reader;
use rrd_proto::{
    EndReason, Harness, HookCall, Session, Status, StatusSource, Timestamp, WaitingFor,
    hook::{SPOOL_CALLS, SPOOL_DROPPED, SPOOL_FOLDER},
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Long enough that only what never comes fails.
const NEVER: Duration = Duration::from_secs(30);

/// A hook takes a twentieth of a second; a machine that is busy with other tests, longer.
const HANGS: Duration = Duration::from_secs(5);

const ID: &str = "b41f0c2e-0000-4000-8000-000000000001";

struct Home(TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.0.path().join(relative)
    }

    fn spool(&self) -> PathBuf {
        self.path("rrd/state").join(SPOOL_FOLDER)
    }

    /// The calls in the spool, oldest first.
    fn spooled(&self) -> Vec<HookCall> {
        let Ok(entries) = fs::read_dir(self.spool()) else { return Vec::new() };
        let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
        paths.sort();
        paths.iter().map(|path| serde_json::from_slice(&fs::read(path).unwrap()).unwrap()).collect()
    }

    fn rrd(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rrd"));
        command
            .args(args)
            .env_clear()
            .env("HOME", self.0.path())
            .env("RRD_HOME", self.path("rrd"))
            .env("RRD_HTTP", "off")
            .env("RRD_LOG", "warn")
            .stdin(Stdio::null());
        command
    }

    /// Calls a hook as a harness does.
    fn hook(&self, payload: &Value) {
        silent(call(&mut self.rrd(&["hook", "claude-code"]), payload.to_string().as_bytes()));
    }

    /// Calls a hook, and waits for what comes of it: no call is lost on a machine that is busy with other tests.
    fn tells<T>(&self, payload: &Value, what: &str, look: impl Fn() -> Result<T, String>) -> T {
        self.hook(payload);
        until(what, look)
    }

    /// The same, until the session is what it should be.
    fn makes(&self, payload: &Value, good: impl Fn(&Session) -> bool) -> Session {
        self.tells(payload, "a hook to be heard", || self.row(ID, &good))
    }

    fn row(&self, id: &str, good: impl Fn(&Session) -> bool) -> Result<Session, String> {
        let row = self.list().into_iter().find(|row| row.session_id == id);
        let described = format!("{row:?}");
        row.filter(|row| good(row)).ok_or(described)
    }

    fn list(&self) -> Vec<Session> {
        let out = self.rrd(&["sessions", "list", "--all", "--json"]).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        serde_json::from_slice(&out.stdout).unwrap()
    }

    /// Waits until the session is what it should be.
    fn becomes(&self, what: &str, id: &str, good: impl Fn(&Session) -> bool) -> Session {
        until(what, || self.row(id, &good))
    }

    /// Waits until the index holds what hooks said last: this.
    fn keeps(&self, word: &str) {
        until("what was said to be durable", || {
            let reader = Reader::open(&self.path("rrd/state")).ok_or("no index".to_owned())?;
            let trails = reader.load().map_err(|error| error.to_string())?.trails;
            let said = serde_json::to_string(&trails).unwrap();
            let last = said.rsplit_once("\"word\":").map_or("", |(_, last)| last).to_owned();
            last.contains(word).then_some(()).ok_or(said)
        });
    }

    /// What is waited for, as it is answered at once.
    fn wants(&self) -> Option<String> {
        self.list().into_iter().find(|row| row.session_id == ID)?.waiting_detail
    }

    fn part(&self) -> String {
        let out = self.rrd(&["status", "--json"]).output().unwrap();
        let parts: Vec<Value> = serde_json::from_slice(&out.stdout).unwrap();
        let hooks = parts.iter().find(|part| part["part"] == "hooks").unwrap();
        format!("{}: {}", hooks["state"].as_str().unwrap(), hooks["detail"].as_str().unwrap())
    }

    fn daemon(&self) -> Running {
        let daemon = self.rrd(&["daemon"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut daemon = Running(daemon.unwrap());
        let mut said = String::new();
        BufReader::new(daemon.0.stdout.as_mut().unwrap()).read_line(&mut said).unwrap();
        assert!(said.contains("its socket is"), "{said}");
        daemon
    }

    fn append(&self, records: &[Value]) {
        let path = self.path(&format!(".claude/projects/-w/{ID}.jsonl"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut file = fs::File::options().append(true).create(true).open(path).unwrap();
        let lines: String = records.iter().map(|record| format!("{record}\n")).collect();
        file.write_all(lines.as_bytes()).unwrap();
    }
}

struct Running(Child);

impl Running {
    fn signal(&self, name: &str) {
        let pid = self.0.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn until<T>(what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let since = Instant::now();
    loop {
        match look() {
            Ok(found) => return found,
            Err(why) if since.elapsed() > NEVER => panic!("waited for {what}: {why}"),
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// Runs a hook with this on its stdin, and takes what it says.
fn call(command: &mut Command, payload: &[u8]) -> Output {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let begun = Instant::now();
    let mut child = command.spawn().unwrap();
    // Whoever has heard enough may be gone.
    let _ = child.stdin.take().unwrap().write_all(payload);
    let output = child.wait_with_output().unwrap();
    assert!(begun.elapsed() < HANGS, "{:?}", begun.elapsed());
    output
}

fn silent(output: Output) {
    assert!(output.status.success(), "{output:?}");
    assert!(output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
}

fn at(ms: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    Timestamp::from_millis(i64::try_from(now).unwrap() + ms).to_string()
}

fn record(kind: &str, at: &str, message: Value) -> Value {
    json!({
        "parentUuid": null, "isSidechain": false, "type": kind, "uuid": format!("{kind}-{at}"),
        "message": message, "timestamp": at, "userType": "external", "entrypoint": "cli",
        "promptSource": "typed", "cwd": "/home/dev/src/alpha", "sessionId": ID, "version": "2.1.100",
    })
}

/// A turn with an open call, begun ten seconds ago.
fn open_call() -> Vec<Value> {
    let call = json!({"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {"command": "rm -rf build"}});
    vec![
        record("user", &at(-10_000), json!({"role": "user", "content": "clean up"})),
        record(
            "assistant",
            &at(-9_000),
            json!({"id": "msg_1", "role": "assistant", "content": [call],
            "stop_reason": "tool_use"}),
        ),
    ]
}

fn result() -> Value {
    let result =
        json!({"type": "tool_result", "tool_use_id": "toolu_1", "content": "", "is_error": true});
    record("user", &at(1), json!({"role": "user", "content": [result]}))
}

fn payload(event: &str, more: Value) -> Value {
    let mut payload =
        json!({"session_id": ID, "hook_event_name": event, "cwd": "/home/dev/src/alpha"});
    payload.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    payload
}

fn permission() -> Value {
    asks("rm -rf build")
}

fn asks(command: &str) -> Value {
    payload("PermissionRequest", json!({"tool_name": "Bash", "tool_input": {"command": command}}))
}

fn waits(row: &Session) -> bool {
    row.status == Status::Waiting
        && row.status_source == StatusSource::Hook
        && row.waiting_for == Some(WaitingFor::Permission)
        && row.waiting_detail.as_deref() == Some("Bash: rm -rf build")
}

#[test]
fn what_was_waited_for_is_told_among_the_events() {
    let home = Home::new();
    home.append(&open_call());
    let _daemon = home.daemon();
    home.becomes("its row", ID, |row| row.status == Status::Executing);
    home.makes(&permission(), waits);
    let told = |args: &[&str]| {
        let out = home.rrd(args).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    };
    let json = |text: &str| -> Vec<Value> {
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let wait = |lines: &[Value]| {
        let is = |line: &&Value| line["type"] == "status" && line["status"] == "waiting";
        lines.iter().find(is).cloned()
    };
    let wait_of = |args: &[&str]| wait(&json(&told(args)));
    let export = ["sessions", "export", ID];
    until("the wait to be kept", || wait_of(&export).ok_or_else(|| told(&export)));
    home.append(&[result()]);
    let ended = until("its end to be kept", || {
        let ended = wait_of(&export).filter(|wait| !wait["to"].is_null());
        ended.ok_or_else(|| told(&export))
    });
    assert_eq!(
        (&ended["waiting_for"], &ended["detail"]),
        (&json!("permission"), &json!("Bash: rm -rf build"))
    );
    // Events are told from it by their type, in a file and where they have none.
    let lines = json(&told(&export));
    let events = || lines.iter().filter(|line| line["type"] == "event");
    assert_eq!((lines[0]["type"].as_str(), events().count()), (Some("session"), 3));
    assert!(events().all(|line| serde_json::from_value::<rrd_proto::Event>(line.clone()).is_ok()));
    let tail = ["sessions", "tail", ID];
    let lines = json(&told(&["sessions", "tail", ID, "--json"]));
    assert_eq!(wait(&lines), Some(ended));
    let events = lines.iter().filter(|line| line.get("type").is_none());
    let seqs: Vec<_> = events
        .map(|line| serde_json::from_value::<rrd_proto::Event>(line.clone()).unwrap().seq)
        .collect();
    assert_eq!(seqs, [0, 1, 2]);
    let shown: Value =
        serde_json::from_str(&told(&["sessions", "show", ID, "--events", "--json"])).unwrap();
    let stretches = shown["stretches"].as_array().unwrap();
    assert!(stretches.iter().any(|stretch| stretch["status"] == "waiting"), "{shown}");
    for args in [&tail[..], &["sessions", "show", ID, "--events"]] {
        let text = told(args);
        assert!(text.contains("● waiting       permission · Bash: rm -rf build · "), "{text}");
    }
    let md = told(&["sessions", "export", ID, "--format", "md"]);
    assert!(md.contains(": waiting · permission · Bash: rm -rf build · "), "{md}");
}

#[test]
fn a_hook_says_at_once_what_the_transcript_does_not() {
    let home = Home::new();
    home.append(&open_call());
    let _daemon = home.daemon();
    home.becomes("its row", ID, |row| row.status == Status::Executing);
    assert!(home.part().starts_with("off: no hook has called"), "{}", home.part());

    home.makes(&permission(), waits);
    // Refused, which no hook tells: the transcript does.
    home.append(&[result()]);
    let of_the_log = |row: &Session| row.status_source == StatusSource::OpenRecord;
    home.becomes("the refusal", ID, |row| row.status == Status::Executing && of_the_log(row));

    let stop = payload("Stop", json!({"background_tasks": []}));
    home.makes(&stop, |row| row.status == Status::Idle);
    let prompt = payload("UserPromptSubmit", json!({"prompt": "SECRET"}));
    home.makes(&prompt, |row| row.status == Status::Executing);
    let end = payload("SessionEnd", json!({"reason": "prompt_input_exit"}));
    let ended = home.makes(&end, |row| row.status == Status::Ended);
    assert_eq!(ended.end_reason, Some(EndReason::Exit));
    home.tells(&payload("Levitate", json!({})), "it to be counted", || {
        let part = home.part();
        let counted =
            part.starts_with("ok: ") && part.contains("are of events this release does not");
        counted.then_some(()).ok_or(part)
    });
}

#[test]
fn without_a_daemon_a_call_waits_for_one() {
    let home = Home::new();
    home.append(&open_call());
    let prompt = payload("UserPromptSubmit", json!({"prompt": "SECRET"}));
    let spooled =
        |n| move |home: &Home| (home.spooled().len() >= n).then_some(()).ok_or(String::new());
    home.tells(&prompt, "a spool", || spooled(1)(&home));
    let before = home.spooled().len();
    home.tells(&permission(), "one more in the spool", || spooled(before + 1)(&home));
    for path in [home.spool(), home.path("rrd/state")] {
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o700);
    }
    for entry in fs::read_dir(home.spool()).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!fs::read_to_string(path).unwrap().contains("SECRET"));
    }
    // One look without a daemon counts them, and leaves them where they are.
    assert!(home.list().iter().any(waits), "{:?}", home.list());
    let left = home.spooled().len();
    assert!(left > before);

    fs::write(home.spool().join("000000000000001-0000000000000000.json"), "no call").unwrap();
    let _daemon = home.daemon();
    home.becomes("the spool to be taken", ID, waits);
    until("the spool to be empty", || match fs::read_dir(home.spool()).unwrap().count() {
        0 => Ok(()),
        n => Err(n.to_string()),
    });
    let said = format!("{} were left while no daemon answered; 1 could not be read", left + 1);
    until("the calls to be counted", || {
        let part = home.part();
        part.contains(&said).then_some(()).ok_or(part)
    });
}

#[test]
fn a_daemon_that_hangs_is_not_waited_for() {
    let home = Home::new();
    home.append(&open_call());
    let daemon = home.daemon();
    home.becomes("its row", ID, |row| row.status == Status::Executing);
    daemon.signal("-STOP");
    home.tells(&permission(), "a call in the spool", || match home.spooled().len() {
        0 => Err("none".to_owned()),
        _ => Ok(()),
    });
    daemon.signal("-CONT");
    home.becomes("what was said meanwhile", ID, waits);
}

#[test]
fn whatever_happens_it_is_silent_and_succeeds() {
    let home = Home::new();
    let stop = payload("Stop", json!({})).to_string();
    let long = payload("Stop", json!({"tool_response": "x".repeat(9 << 20)})).to_string();
    let hook = || home.rrd(&["hook", "claude-code"]);
    for payload in ["", "{", "null", "\u{0}", "{\"hook_event_name\":7}"] {
        silent(call(&mut hook(), payload.as_bytes()));
    }
    silent(call(&mut hook(), b"\xff\xfe{\"hook_event_name\":\"Stop\"}"));
    assert!(!home.path("rrd").exists(), "nothing was said");
    for payload in [&stop, &long] {
        let before = home.spooled().len();
        silent(call(&mut hook(), payload.as_bytes()));
        assert_eq!(home.spooled().len(), before + 1, "what was said is kept");
    }
    silent(hook().output().unwrap());
    for args in [
        &["hook"][..],
        &["hook", "vim"],
        &["hook", ""],
        &["hook", "codex", "--loud", "x"],
        &["hook", "--bogus"],
    ] {
        silent(call(&mut home.rrd(args), stop.as_bytes()));
    }
    let many = "x".repeat(5_000);
    silent(call(&mut home.rrd(&["hook", &many]), stop.as_bytes()));
    silent(call(hook().env_remove("HOME").env_remove("RRD_HOME"), stop.as_bytes()));
    silent(call(
        hook().env("CLAUDE_PID", "-7").env("TMUX", ",,").env("TMUX_PANE", ""),
        stop.as_bytes(),
    ));

    // Nothing can be written, nobody listens, or somebody else.
    fs::write(home.path("file"), "").unwrap();
    silent(call(hook().env("RRD_HOME", home.path("file")), stop.as_bytes()));
    silent(call(hook().env("RRD_HOME", "/dev/full"), stop.as_bytes()));
    let run = home.path("dead/run");
    fs::create_dir_all(&run).unwrap();
    drop(UnixListener::bind(run.join("rrd.sock")).unwrap());
    let mute = home.path("mute/run");
    fs::create_dir_all(&mute).unwrap();
    let _listener = UnixListener::bind(mute.join("rrd.sock")).unwrap();
    for name in ["dead", "mute"] {
        silent(call(hook().env("RRD_HOME", home.path(name)), stop.as_bytes()));
        let spool = home.path(name).join("state").join(SPOOL_FOLDER);
        assert_eq!(fs::read_dir(spool).unwrap().count(), 1, "the call is kept");
    }
}

/// As on a full disk: a file can be made, and nothing written into it.
#[test]
fn what_cannot_be_written_whole_is_not_left_behind() {
    let home = Home::new();
    let line = format!("trap '' XFSZ; ulimit -f 0; exec {} hook codex", env!("CARGO_BIN_EXE_rrd"));
    let mut command = Command::new("sh");
    command.args(["-c", &line]).env_clear().env("RRD_HOME", home.path("rrd"));
    silent(call(&mut command, payload("Stop", json!({})).to_string().as_bytes()));
    assert_eq!(fs::read_dir(home.spool()).unwrap().count(), 0, "it was tried, and nothing is left");
}

#[test]
fn a_pipe_that_nobody_closes_is_not_waited_for() {
    let home = Home::new();
    for said in ["", &payload("Stop", json!({})).to_string()] {
        let begun = Instant::now();
        let command = &mut home.rrd(&["hook", "codex"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.as_mut().unwrap().write_all(said.as_bytes()).unwrap();
        let pipe = child.stdin.take();
        silent(child.wait_with_output().unwrap());
        assert!(begun.elapsed() < HANGS);
        drop(pipe);
    }
}

/// As where a harness has no core for the moment.
#[test]
fn a_harness_that_speaks_late_is_heard() {
    let home = Home::new();
    let command = &mut home.rrd(&["hook", "codex"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    thread::sleep(Duration::from_millis(80));
    let said = payload("Stop", json!({})).to_string();
    let _ = child.stdin.take().unwrap().write_all(said.as_bytes());
    silent(child.wait_with_output().unwrap());
    assert_eq!(home.spooled().len(), 1);
}

#[test]
fn the_spool_is_bounded_and_says_what_was_lost() {
    let home = Home::new();
    fs::create_dir_all(home.spool()).unwrap();
    for i in 0..SPOOL_CALLS + 2 {
        fs::write(home.spool().join(format!("{i:015}-{i:016x}.json")), "{}").unwrap();
    }
    let names = || {
        let entries = fs::read_dir(home.spool()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    let newest = |names: &[String]| names[names.len() - 2].starts_with("000000000000");
    home.tells(&permission(), "room to be made", || match names() {
        names if newest(&names) => Err(String::new()),
        _ => Ok(()),
    });
    assert_eq!(names().len(), SPOOL_CALLS + 1, "and the count of those that were dropped");
    assert!(names()[0] >= format!("{:015}-", 3), "the oldest");
    assert!(home.spool().join(SPOOL_DROPPED).exists());

    // So it is by bytes.
    fs::remove_dir_all(home.spool()).unwrap();
    fs::create_dir_all(home.spool()).unwrap();
    for i in 0..9 {
        let path = home.spool().join(format!("{i:015}-{i:016x}.json"));
        fs::write(path, vec![b' '; 200_000]).unwrap();
    }
    let dropped = || fs::metadata(home.spool().join(SPOOL_DROPPED)).map_or(0, |file| file.len());
    home.tells(&permission(), "room to be made", || {
        (dropped() > 0).then_some(()).ok_or(String::new())
    });
    let lost = dropped();
    assert!(lost <= 4, "{lost}");

    let _daemon = home.daemon();
    until("what was dropped to be counted", || {
        let part = home.part();
        part.contains(&format!("{lost} were dropped meanwhile")).then_some(()).ok_or(part)
    });
}

/// What the client keeps of a payload is all that the daemon takes from it.
#[test]
fn nothing_that_matters_is_cut_off() {
    let fixtures =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../daemon/core/tests/fixtures/hooks");
    for harness in ["claude-code", "codex", "hermes"] {
        let recorded = fs::read_to_string(fixtures.join(format!("{harness}.jsonl"))).unwrap();
        for line in recorded.lines() {
            let home = Home::new();
            silent(call(&mut home.rrd(&["hook", harness]), line.as_bytes()));
            let kept = &home.spooled().pop().unwrap();
            assert!(kept.payload.len() < 1_000, "{}", kept.payload);
            let whole = HookCall { payload: line.to_owned(), ..kept.clone() };
            assert_eq!(understand(kept), understand(&whole), "{line}");
            assert_eq!(kept.harness, Harness::from(harness));
            for private in ["prompt\":", "tool_response", "last_assistant_message", "\"result\""] {
                assert!(!kept.payload.contains(private), "{}", kept.payload);
            }
        }
    }
}

#[test]
fn a_session_that_writes_nothing_lives_as_long_as_its_process() {
    let home = Home::new();
    fs::create_dir_all(home.path(".claude/projects")).unwrap();
    let _daemon = home.daemon();
    let claude = Running(Command::new("sleep").arg("1000").spawn().unwrap());
    let of_claude = |payload: Value| {
        let mut command = home.rrd(&["hook", "claude-code"]);
        command.env("CLAUDE_PID", claude.0.id().to_string());
        command.env("TMUX", "/tmp/tmux-0/default,1,0").env("TMUX_PANE", "%3");
        silent(call(&mut command, payload.to_string().as_bytes()));
    };
    let row = until("a row of what only hooks know", || {
        of_claude(payload("UserPromptSubmit", json!({})));
        home.row(ID, |row| row.live == Some(true))
    });
    assert_eq!((row.status, row.status_source), (Status::Executing, StatusSource::Hook));
    assert_eq!((row.pid, row.transcript_path), (Some(claude.0.id()), None));
    assert_eq!(row.attach.as_deref(), Some("tmux attach -t %3"));
    assert_eq!(row.cwd.as_deref(), Some("/home/dev/src/alpha"));

    // Then it writes, and is killed: no hook tells of that.
    home.append(&open_call());
    home.becomes("its transcript", ID, |row| row.transcript_path.is_some());
    until("the dialog", || {
        of_claude(permission());
        home.row(ID, waits)
    });
    claude.kill();
    let gone = home.becomes("its end", ID, |row| row.status == Status::Ended);
    assert_eq!(
        (gone.end_reason, gone.status_source),
        (Some(EndReason::Crashed), StatusSource::Pid)
    );
}

#[test]
fn a_session_that_never_wrote_is_gone_when_it_is_left() {
    let home = Home::new();
    fs::create_dir_all(home.path(".claude/projects")).unwrap();
    let _daemon = home.daemon();
    home.makes(&payload("SessionStart", json!({"source": "startup"})), |row| {
        row.status == Status::Idle
    });
    home.tells(&payload("SessionEnd", json!({"reason": "other"})), "its row to go", || match home
        .list()
    {
        rows if rows.is_empty() => Ok(()),
        rows => Err(format!("{rows:?}")),
    });
}

#[test]
fn what_a_hook_said_outlives_the_daemon_that_heard_it() {
    let home = Home::new();
    home.append(&open_call());
    let daemon = home.daemon();
    home.makes(&permission(), waits);
    home.keeps("Ask");
    daemon.kill();
    let look = || home.list().into_iter().find(|row| row.session_id == ID).unwrap();
    assert!(waits(&look()), "without a daemon: {:?}", look());
    let daemon = home.daemon();
    assert!(waits(&look()), "its first answer: {:?}", look());

    // It holds no longer than it would have without the restart.
    home.append(&[result()]);
    let of_the_log = |row: &Session| row.status_source == StatusSource::OpenRecord;
    home.becomes("the refusal", ID, |row| row.status == Status::Executing && of_the_log(row));
    let left = |row: &Session| {
        row.status == Status::Ended
            && row.end_reason == Some(EndReason::Exit)
            && row.status_source == StatusSource::Hook
    };
    home.makes(&payload("SessionEnd", json!({"reason": "other"})), left);
    home.keeps("End");
    daemon.kill();
    assert!(left(&look()), "without a daemon: {:?}", look());
    let _daemon = home.daemon();
    assert!(left(&look()), "its first answer: {:?}", look());
}

/// What is in the spool leaves it when it is durable, and is taken once.
#[test]
fn a_daemon_killed_at_any_moment_loses_no_call_from_the_spool() {
    let home = Home::new();
    home.append(&open_call());
    let mut random = 0x5eed_1234_u64;
    for round in 0..12 {
        let command = format!("make {round}");
        let detail = format!("Bash: {command}");
        // A new turn ends the earlier dialog: only the newest one can be seen.
        for said in [payload("UserPromptSubmit", json!({})), asks(&command)] {
            let before = home.spooled().len();
            home.tells(&said, "a call in the spool", || {
                (home.spooled().len() > before).then_some(()).ok_or(String::new())
            });
        }
        let mut daemon = home.rrd(&["daemon"]);
        let daemon = daemon.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let daemon = Running(daemon.unwrap());
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        thread::sleep(Duration::from_millis(random % 200));
        daemon.kill();
        assert_eq!(home.wants(), Some(detail), "round {round}");
    }
    let daemon = home.daemon();
    assert_eq!(home.wants().as_deref(), Some("Bash: make 11"));
    until("the spool to be empty", || match home.spooled().len() {
        0 => Ok(()),
        n => Err(n.to_string()),
    });
    daemon.kill();
    assert_eq!(home.wants().as_deref(), Some("Bash: make 11"));
    let _daemon = home.daemon();
    assert_eq!(home.wants().as_deref(), Some("Bash: make 11"));
}

#[test]
fn a_process_that_dies_while_no_daemon_runs_is_dead_to_the_next_one() {
    let home = Home::new();
    home.append(&open_call());
    let daemon = home.daemon();
    let claude = Running(Command::new("sleep").arg("1000").spawn().unwrap());
    until("the dialog and its process", || {
        let mut command = home.rrd(&["hook", "claude-code"]);
        command.env("CLAUDE_PID", claude.0.id().to_string());
        silent(call(&mut command, permission().to_string().as_bytes()));
        home.row(ID, |row| waits(row) && row.live == Some(true))
    });
    home.keeps("Ask");
    let look = || home.list().into_iter().find(|row| row.session_id == ID).unwrap();
    daemon.kill();
    assert!(waits(&look()) && look().live == Some(true), "{:?}", look());
    claude.kill();
    let crashed =
        |row: &Session| (row.status, row.end_reason) == (Status::Ended, Some(EndReason::Crashed));
    assert!(crashed(&look()), "{:?}", look());
    let _daemon = home.daemon();
    assert!(crashed(&look()), "{:?}", look());
}

#[test]
fn what_a_hook_said_outlives_a_damaged_index() {
    let home = Home::new();
    let prompt =
        |i: i64| record("user", &at(i - 600_000), json!({"role": "user", "content": "go on"}));
    home.append(&(0..5_000_i64).map(prompt).collect::<Vec<_>>());
    home.append(&open_call());
    let mut daemon = home.daemon();
    let all = |row: &Session| row.counts.is_some_and(|counts| counts.prompts == 5_001);
    home.becomes("its row", ID, all);
    daemon.signal("-TERM");
    until("its end", || daemon.0.try_wait().unwrap().ok_or("it runs".to_owned()));
    // Deep among the events, where only the check of the whole index finds it, a second after the start.
    let path = home.path("rrd/state/index.db");
    let mut bytes = fs::read(&path).unwrap();
    for page in 20..40 {
        bytes[page * 4096..page * 4096 + 64].fill(0xa5);
    }
    fs::write(&path, bytes).unwrap();

    let daemon = home.daemon();
    home.makes(&permission(), waits);
    until("the damage to be found", || {
        path.with_extension("db.damaged").exists().then_some(()).ok_or(String::new())
    });
    home.becomes("what was said before", ID, |row| waits(row) && all(row));
    home.keeps("Ask");
    daemon.kill();
    assert!(home.list().iter().any(waits), "{:?}", home.list());
}

#[test]
fn a_transcript_where_nobody_looks_is_told() {
    let home = Home::new();
    let _daemon = home.daemon();
    let elsewhere = home.path("work/.claude");
    let transcript = elsewhere.join(format!("projects/-w/{ID}.jsonl"));
    let said = payload("UserPromptSubmit", json!({"transcript_path": &transcript}));
    home.makes(&said, |row| row.status == Status::Executing);
    let doctor = || {
        let out = home.rrd(&["doctor"]).output().unwrap();
        String::from_utf8(out.stdout).unwrap()
    };
    // What a hook names may never be there.
    assert!(!doctor().contains("does not look"), "{}", doctor());
    fs::create_dir_all(transcript.parent().unwrap()).unwrap();
    fs::write(&transcript, "").unwrap();
    let told = doctor();
    let named =
        format!("transcripts where rrd does not look: {} (claude-code)", elsewhere.display());
    assert!(told.contains(&named), "{told}");
    let next = format!("add \"{}\" to harness.claude-code.roots", elsewhere.display());
    assert!(told.contains(&next), "{told}");
    // A link to it that is followed is as good as the place itself.
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(&elsewhere, home.path(".claude")).unwrap();
        assert!(!doctor().contains("does not look"), "{}", doctor());
    }
}
