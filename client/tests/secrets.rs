//! Secrets planted in everything that a harness and its repository tell, looked for in everything that
//! leaves rrd: answers, log, hook spool. Each further way out adds itself to [`Host::said`].
#![cfg(unix)]
#![allow(clippy::unwrap_used)] // the lint's exception for tests does not reach plain functions here

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rrd_proto::Timestamp;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Long enough that only what never comes fails.
const NEVER: Duration = Duration::from_secs(20);

const ID: &str = "b41f0c2e-0000-4000-8000-000000000001";

/// Where secrets are planted.
const PLACES: [&str; 13] = [
    "title", "prompt", "cwd", "remote", "branch", "input", "result", "error", "message", "hook",
    "waiting", "cut", "subagent",
];

/// One that looks like a vendor's, different in each place, and in no file as it is.
fn secret(place: &str) -> String {
    let number = PLACES.iter().position(|known| *known == place).unwrap();
    let body: String = (0..36u32)
        .map(|i| {
            let letters = b"ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789";
            char::from(letters[(i * 17 + 5 + i * i * 3) as usize % letters.len()])
        })
        .collect();
    format!("gh{}_{}{body}", "p", char::from(b'A' + number as u8)).chars().take(40).collect()
}

struct Host(TempDir);

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Host {
    fn path(&self, relative: &str) -> PathBuf {
        self.0.path().join(relative)
    }

    fn rrd(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rrd"));
        command
            .args(args)
            .env_clear()
            .env("HOME", self.0.path())
            .env("RRD_HOME", self.path("rrd"))
            .env("RRD_HTTP", "127.0.0.1:0")
            .env("RRD_LOG", "trace")
            .env("RRD_LISTEN", "127.0.0.1:0")
            .stdin(Stdio::null());
        command
    }

    /// What a command says, on either side, however it ends.
    fn run(&self, args: &[&str]) -> String {
        let out = self.rrd(args).output().unwrap();
        [out.stdout, out.stderr].map(|side| String::from_utf8(side).unwrap()).concat()
    }

    fn hook(&self, payload: &Value) {
        let mut child = self.rrd(&["hook", "claude-code"]).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(payload.to_string().as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
    }

    fn daemon(&self) -> Running {
        let log = fs::File::options().append(true).create(true).open(self.path("log")).unwrap();
        let daemon = self.rrd(&["daemon"]).stdout(Stdio::piped()).stderr(log).spawn();
        let mut daemon = Running(daemon.unwrap());
        let mut said = String::new();
        BufReader::new(daemon.0.stdout.as_mut().unwrap()).read_line(&mut said).unwrap();
        assert!(said.contains("its socket is"), "{said}");
        daemon
    }

    /// Everything that leaves rrd, by what it is.
    fn said(&self) -> Vec<(String, String)> {
        let asked: [&[&str]; 13] = [
            &["sessions", "list", "--all"],
            &["sessions", "list", "--all", "--json"],
            &["sessions", "show", ID],
            &["sessions", "show", ID, "--events", "--json"],
            &["sessions", "show", ID, "--events", "--json", "--bodies"],
            &["sessions", "export", ID],
            &["sessions", "export", ID, "--format", "md"],
            &["sessions", "export", ID, "--format", "html"],
            &["sessions", "tail", ID],
            &["sessions", "tail", ID, "--json"],
            &["status"],
            &["doctor"],
            &["sessions", "show", "nothing-of-the-kind"],
        ];
        let mut said: Vec<_> = asked.iter().map(|args| (args.join(" "), self.run(args))).collect();
        for folder in ["rrd/state/hooks"] {
            for file in fs::read_dir(self.path(folder)).into_iter().flatten() {
                let path = file.unwrap().path();
                let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
                said.push((path.display().to_string(), text));
            }
        }
        said.extend(self.served());
        said.push(("log".to_owned(), fs::read_to_string(self.path("log")).unwrap_or_default()));
        said
    }

    /// The same over HTTP, where a daemon serves it.
    fn served(&self) -> Vec<(String, String)> {
        let status = self.run(&["status", "--json"]);
        let Some((_, rest)) = status.split_once("http://127.0.0.1:") else { return Vec::new() };
        let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
        let token = self.run(&["token"]);
        let (token, at) = (token.trim(), format!("127.0.0.1:{port}"));
        let row = self.run(&["sessions", "show", ID, "--json"]);
        let row: Value = serde_json::from_str(&row).unwrap();
        let one = format!("{}/claude-code/{ID}", row["host"].as_str().unwrap());
        let get = |path: String| {
            let mut stream = TcpStream::connect(&at).unwrap();
            let head = format!(
                "GET {path} HTTP/1.1\r\nHost: {at}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).unwrap();
            let mut stream = BufReader::new(stream);
            let mut text = String::new();
            // A stream of changes does not end: its first one holds everything.
            while stream.read_line(&mut text).unwrap() > 0 && !text.contains("\ndata: ") {}
            assert!(text.starts_with("HTTP/1.1 200"), "{path}: {text}");
            (path, text)
        };
        let paths = [
            "/sessions?all=1".to_owned(),
            format!("/sessions/{one}"),
            format!("/sessions/{one}/events"),
            format!("/sessions/{one}/outline"),
            "/events".to_owned(),
            "/hosts".to_owned(),
            "/graph".to_owned(),
            "/metrics".to_owned(),
            "/".to_owned(),
            format!("/s/{one}"),
        ];
        paths.map(get).into()
    }

    fn find_none(&self, when: &str) {
        for (what, text) in self.said() {
            for place in PLACES {
                let secret = secret(place);
                // Not even half of it.
                let part = &secret[..secret.len() / 2];
                assert!(!text.contains(part), "{when}, {what}: the secret of {place}\n{text}");
            }
        }
    }
}

fn at(seconds: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    Timestamp::from_millis(i64::try_from(now).unwrap() + seconds * 1000).to_string()
}

/// A host on which every place has its secret.
fn planted() -> Host {
    let host = Host(tempfile::tempdir().unwrap());
    let cwd = host.path(&format!("src/{}", secret("cwd")));
    fs::create_dir_all(cwd.join(".git")).unwrap();
    fs::write(cwd.join(".git/HEAD"), format!("ref: refs/heads/{}\n", secret("branch"))).unwrap();
    let remote =
        format!("[remote \"origin\"]\n\turl = https://example.com/{}/x.git\n", secret("remote"));
    fs::write(cwd.join(".git/config"), remote).unwrap();
    let record = |kind: &str, seconds: i64, message: Value| {
        json!({
            "parentUuid": null, "isSidechain": false, "type": kind, "uuid": format!("u{seconds}"),
            "message": message, "timestamp": at(seconds), "userType": "external", "cwd": cwd,
            "entrypoint": "cli", "promptSource": "typed", "sessionId": ID, "version": "2.1.100",
            "gitBranch": secret("branch"),
        })
    };
    let says = |seconds: i64, id: &str, content: Value, reason: Value| {
        let message = json!({"id": id, "role": "assistant", "model": "m", "content": [content], "stop_reason": reason});
        record("assistant", seconds, message)
    };
    let calls = |seconds: i64, id: &str, command: String| {
        let call =
            json!({"type": "tool_use", "id": id, "name": "Bash", "input": {"command": command}});
        says(seconds, &format!("msg_{id}"), call, json!("tool_use"))
    };
    let answers = |seconds: i64, id: &str, text: String, failed: bool| {
        let result =
            json!({"type": "tool_result", "tool_use_id": id, "content": text, "is_error": failed});
        record("user", seconds, json!({"role": "user", "content": [result]}))
    };
    let failed = json!({"type": "text", "text": format!("API Error: bad key {}", secret("error"))});
    let mut failure = says(-7, "msg_e", failed, Value::Null);
    failure["isApiErrorMessage"] = json!(true);
    let records = [
        json!({"type": "custom-title", "customTitle": format!("use {} now", secret("title")), "sessionId": ID}),
        record(
            "user",
            -20,
            json!({"role": "user", "content": format!("here: {}", secret("prompt"))}),
        ),
        says(
            -19,
            "msg_1",
            json!({"type": "text", "text": format!("I see {}", secret("message"))}),
            json!("end_turn"),
        ),
        calls(-18, "toolu_1", format!("curl -H 'X: {}' h", secret("input"))),
        answers(-17, "toolu_1", format!("got {}", secret("result")), false),
        calls(-16, "toolu_2", "make".to_owned()),
        answers(-15, "toolu_2", format!("make: bad {}", secret("error")), true),
        // What is kept of this one ends in the middle of the secret.
        record(
            "user",
            -10,
            json!({"role": "user", "content": format!("{} {}", "x".repeat(97), secret("cut"))}),
        ),
        failure,
        calls(-5, "toolu_3", format!("echo {}", secret("waiting"))),
    ];
    let path = host.path(&format!(".claude/projects/-w/{ID}.jsonl"));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, records.map(|record| format!("{record}\n")).concat()).unwrap();
    let side = host.path(&format!(".claude/projects/-w/{ID}/subagents"));
    fs::create_dir_all(&side).unwrap();
    let meta = json!({"description": format!("look for {}", secret("subagent"))});
    fs::write(side.join("agent-a1.meta.json"), meta.to_string()).unwrap();
    let mut began = record("user", -4, json!({"role": "user", "content": "Look"}));
    (began["agentId"], began["isSidechain"]) = (json!("a1"), json!(true));
    fs::write(side.join("agent-a1.jsonl"), format!("{began}\n")).unwrap();
    host
}

fn permission(host: &Host) -> Value {
    json!({
        "session_id": ID, "hook_event_name": "PermissionRequest", "cwd": host.path(&secret("cwd")),
        "tool_name": "Bash", "tool_use_id": "toolu_3",
        "tool_input": {"command": format!("deploy --with {}", secret("hook"))},
    })
}

#[test]
fn no_secret_leaves_this_host() {
    let host = planted();
    // The spool is where a call waits; one that ran out of time left nothing.
    let begun = Instant::now();
    while fs::read_dir(host.path("rrd/state/hooks")).map_or(0, Iterator::count) == 0 {
        assert!(begun.elapsed() < NEVER, "no call was left");
        host.hook(&permission(&host));
    }
    host.find_none("without a daemon");
    let places = |text: &str| text.matches("[REDACTED:github-token]").count();
    let all = ["sessions", "list", "--all", "--json"];
    // They were there: title, cwd, its root, repository, remote, branch, what it waits for or does.
    assert!(places(&host.run(&all)) >= 6, "{}", host.run(&all));
    let events = ["sessions", "show", ID, "--events", "--json"];
    let shown = host.run(&events);
    assert!(places(&shown) >= 12, "{shown}");
    let html = host.run(&["sessions", "export", ID, "--format", "html"]);
    assert!(html.contains("look for [REDACTED:github-token]"), "its subagent is in it: {html}");
    let whole = ["sessions", "show", ID, "--events", "--json", "--bodies"];
    assert!(places(&host.run(&whole)) > places(&shown), "bodies hold them once more");

    let daemon = host.daemon();
    let begun = Instant::now();
    loop {
        host.hook(&permission(&host));
        host.find_none("with a daemon");
        let listed = host.run(&all);
        if listed.contains("deploy --with [REDACTED:github-token]") {
            break;
        }
        assert!(begun.elapsed() < NEVER, "{listed}");
    }
    assert!(places(&host.run(&events)) >= 12);
    // What was replaced is counted, way by way.
    let status = host.run(&["status"]);
    assert!(status.contains("answers: github-token "), "{status}");
    assert!(status.contains("hook spool: github-token "), "{status}");
    drop(daemon);
    host.find_none("after it");
}

#[test]
fn texts_as_they_are_go_to_a_terminal_only() {
    let host = planted();
    for args in [
        &["sessions", "list", "--raw"][..],
        &["sessions", "list", "--all", "--json", "--raw"],
        &["sessions", "show", ID, "--raw"],
        &["sessions", "tail", ID, "--raw"],
        &["sessions", "export", ID, "--raw"],
    ] {
        let out = host.rrd(args).output().unwrap();
        assert_eq!(out.status.code(), Some(64), "{args:?}");
        let said = String::from_utf8(out.stderr).unwrap();
        assert!(said.contains("prints to a terminal only"), "{said}");
        assert!(out.stdout.is_empty());
    }
}

#[test]
fn nothing_of_it_reaches_another_host() {
    let here = planted();
    let _daemon = here.daemon();
    here.run(&["fleet", "init"]);
    let there = Host(tempfile::tempdir().unwrap());
    let _other = there.daemon();
    let invite = here.run(&["fleet", "invite"]);
    let line = invite.lines().find_map(|line| line.strip_prefix("rrd fleet join ")).unwrap();
    there.run(&["fleet", "join", line]);
    let begun = Instant::now();
    while !there.run(&["sessions", "list", "--json"]).contains(ID) {
        assert!(begun.elapsed() < NEVER, "{}", there.run(&["status"]));
        std::thread::sleep(Duration::from_millis(50));
    }
    // What it has kept of what it heard is what it could open: records as they were sent.
    let kept = || {
        let files = ["keep.db", "keep.db-wal"].map(|file| there.path(&format!("rrd/state/{file}")));
        let bytes = files.map(|file| fs::read(file).unwrap_or_default()).concat();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    // A whole row, as the other host answers with it, says of itself that it is here.
    while !kept().contains(ID) || !kept().contains("\"host_state\":\"here\"") {
        assert!(begun.elapsed() < NEVER, "nothing is kept");
        std::thread::sleep(Duration::from_millis(50));
    }
    there.find_none("as another host heard of it");
    for place in PLACES {
        assert!(!kept().contains(&secret(place)[..20]), "kept there: the secret of {place}");
    }
    let told = || {
        let parts: Vec<Value> = serde_json::from_str(&here.run(&["status", "--json"])).unwrap();
        let part = parts.iter().find(|part| part["part"] == "redaction").unwrap();
        let detail = part["detail"].as_str().unwrap().to_owned();
        let told = detail.split("; ").find(|part| part.starts_with("answers to hosts: "));
        told.map(str::to_owned)
    };
    let of_rows = told();
    assert!(of_rows.is_some(), "rows are redacted where they are, not where they are read");
    let events = there.run(&["sessions", "show", ID, "--events", "--json"]);
    assert!(events.contains("[REDACTED:"), "{events}");
    assert_ne!(told(), of_rows, "and so are events");
    here.find_none("while it tells another host");
}

/// The keys of a fleet, and an invite, as they are on the disk and on a member's screen.
fn own_secrets(host: &Host) -> Vec<String> {
    let invite = host.run(&["fleet", "invite"]);
    let token = invite.lines().next().unwrap().rsplit('.').next().unwrap().to_owned();
    let read = |file: &str| fs::read_to_string(host.path(&format!("rrd/state/{file}"))).unwrap();
    let key = read("fleet.key").split_whitespace().nth(1).unwrap().to_owned();
    let secrets = vec![read("identity.key"), key, token];
    assert!(secrets.iter().all(|secret| secret.len() >= 22), "{invite}");
    secrets
}

#[test]
fn the_keys_of_a_fleet_and_its_invites_leave_this_host_nowhere() {
    let host = Host(tempfile::tempdir().unwrap());
    let daemon = host.daemon();
    assert!(host.run(&["fleet", "init"]).contains("first of a new fleet"));
    let secrets = own_secrets(&host);
    // An agent has read them, and says so.
    let record = |text: &str| {
        json!({
            "parentUuid": null, "isSidechain": false, "type": "user", "uuid": "u1", "userType": "external",
            "message": {"role": "user", "content": text}, "timestamp": at(-5), "cwd": host.path("w"),
            "entrypoint": "cli", "promptSource": "typed", "sessionId": ID, "version": "2.1.100",
        })
    };
    let told = secrets.join(" and ");
    let titled = json!({"type": "custom-title", "customTitle": told, "sessionId": ID});
    let path = host.path(&format!(".claude/projects/-w/{ID}.jsonl"));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, format!("{titled}\n{}\n", record(&told))).unwrap();
    let show = ["sessions", "show", ID, "--events", "--json"];
    let begun = Instant::now();
    while !host.run(&show).contains("REDACTED") {
        assert!(begun.elapsed() < NEVER, "{}", host.run(&show));
    }
    let find_none = |when: &str, secrets: &[String]| {
        let mut said = host.said();
        for args in [&["fleet", "status"][..], &["fleet", "status", "--json"]] {
            said.push((args.join(" "), host.run(args)));
        }
        for (what, text) in said {
            for secret in secrets {
                assert!(!text.contains(&secret[..secret.len() / 2]), "{when}, {what}: {text}");
            }
        }
    };
    find_none("with a daemon", &secrets);
    drop(daemon);
    // Of the token nothing is left but what is derived from it.
    find_none("without a daemon", &secrets[..2]);
    let keep = fs::read(host.path("rrd/state/keep.db")).unwrap();
    let wal = fs::read(host.path("rrd/state/keep.db-wal")).unwrap_or_default();
    for secret in &secrets {
        let has = |bytes: &[u8]| bytes.windows(secret.len()).any(|w| w == secret.as_bytes());
        assert!(!has(&keep) && !has(&wal));
    }
}
