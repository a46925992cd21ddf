//! Real daemons that mirror into a folder, and into a server that speaks S3 over a line on which things go wrong.
//!
//! Not here: what may happen to one transcript (the daemon's tests of its mirror).
#![cfg(unix)]
#![allow(clippy::unwrap_used)] // the lint's exception for tests does not reach plain functions here

#[path = "host/mod.rs"]
mod host;
#[path = "../../daemon/tests/bucket/moto.rs"]
mod moto;
#[path = "../../daemon/tests/bucket/proxy.rs"]
mod proxy;

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use host::{Host, NEVER};
use proxy::{Mishap, Proxy};
use rrd_proto::{MirrorShown, MirrorStatus, MirrorVerified, Mirrored};
use serde_json::{Value, json};

const TOKEN: &str = "ghp_16C7e42F292c6912E7710c838347Ae178B4a";

fn transcript(host: &Host, session: &str) -> PathBuf {
    host.path(".claude/projects/-w").join(format!("{session}.jsonl"))
}

/// A prompt, and what ends the turn.
fn turn(session: &str, number: u64) -> String {
    let at = |second: u64| format!("2026-11-20T10:{:02}:{second:02}.000Z", number % 60);
    let prompt = json!({
        "parentUuid": null, "isSidechain": false, "type": "user", "uuid": format!("u{number}"),
        "message": {"role": "user", "content": format!("say {number}; the key is {TOKEN}")},
        "userType": "external", "cwd": "/w", "timestamp": at(1), "entrypoint": "cli",
        "promptSource": "typed", "sessionId": session, "version": "2.1.300", "gitBranch": "main",
    });
    let answer = json!({
        "parentUuid": format!("u{number}"), "isSidechain": false, "type": "assistant",
        "uuid": format!("a{number}"), "cwd": "/w", "timestamp": at(2), "sessionId": session,
        "version": "2.1.300", "requestId": format!("r{number}"), "message": {
            "id": format!("m{number}"), "type": "message", "role": "assistant", "model": "m",
            "content": [{"type": "text", "text": format!("said {number}")}],
            "stop_reason": "end_turn", "stop_sequence": null,
            "usage": {"input_tokens": 1, "output_tokens": 1},
        },
    });
    format!("{prompt}\n{answer}\n")
}

fn append(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut file = fs::File::options().append(true).create(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// What the redactor makes of a file.
fn redacted(host: &Host, path: &Path) -> String {
    let source = fs::File::open(path).unwrap();
    let done = host.rrd(&["redact"]).stdin(source).stderr(Stdio::null()).output().unwrap();
    String::from_utf8(done.stdout).unwrap()
}

/// The content of every part of one directory, in order.
fn parts_in(directory: &Path) -> String {
    let mut parts: Vec<PathBuf> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("part-"))
        .collect();
    parts.sort();
    parts.iter().map(|part| fs::read_to_string(part).unwrap()).collect()
}

fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let since = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(since.elapsed() < NEVER, "{what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// The same lines, in the same order.
fn assert_same(there: &str, source: &str) {
    let (there, source): (Vec<&str>, Vec<&str>) =
        (there.lines().collect(), source.lines().collect());
    let at = there.iter().zip(&source).take_while(|(a, b)| a == b).count();
    let (found, wanted) = (there.get(at), source.get(at));
    let place = found.and_then(|found| source.iter().position(|line| line == found));
    assert!(
        there == source,
        "{} lines of {}; line {at} is {found:?} (the source's line {place:?}), not {wanted:?}",
        there.len(),
        source.len()
    );
}

#[test]
fn what_agents_write_is_in_a_folder_of_ones_own() {
    let mut host = Host::new("mac");
    let (bucket, first) = (host.path("bucket"), host::session(1));
    let path = transcript(&host, &first);
    append(&path, &turn(&first, 1));
    let delegate = path.with_extension("").join("subagents/agent-a1.jsonl");
    let of_delegate = turn(&first, 2).replace(r#""isSidechain":false"#, r#""isSidechain":true"#);
    append(&delegate, &of_delegate.replace(r#""cwd""#, r#""agentId":"a1","cwd""#));
    host.start();
    let url = format!("file://{}", bucket.display());
    host.run(&["mirror", "enable", &url, "--project", "mine"]);
    let status: Vec<MirrorStatus> = host.json(&["mirror", "run"]);
    assert_eq!((status[0].transcripts, status[0].behind), (2, 0), "{status:?}");
    let directory = bucket.join(format!("mine/sessions/claude-code/{first}"));
    let there = parts_in(&directory);
    assert_eq!(there, redacted(&host, &path));
    assert!(there.contains("[REDACTED:github-token]") && !there.contains(TOKEN));
    assert_eq!(parts_in(&directory.join("subagents/agent-a1")), redacted(&host, &delegate));

    // The end of a turn goes out by itself.
    append(&path, &turn(&first, 3));
    until("the turn's end is not there", || {
        (parts_in(&directory) == redacted(&host, &path)).then_some(())
    });
    // What is torn waits for its end; what is new goes out when the daemon ends.
    append(&path, &turn(&first, 4));
    append(&path, "{\"torn\":");
    host.stop();
    let whole = redacted(&host, &path);
    assert_same(&parts_in(&directory), whole.trim_end().trim_end_matches("{\"torn\":"));
    host.start();
    append(&path, "1}\n");
    host.run(&["mirror", "run"]);
    assert_same(&parts_in(&directory), &redacted(&host, &path));

    let list: Vec<Mirrored> = host.json(&["mirror", "list"]);
    assert_eq!((list.len(), list.iter().map(|one| one.bytes_behind).sum()), (2, Some(0)));
    let shown: MirrorShown = host.json(&["mirror", "show", &first, "--tail", "1"]);
    assert_eq!((shown.records, shown.tail), (7, vec!["{\"torn\":1}".to_owned()]));
    let verified: Vec<MirrorVerified> = host.json(&["mirror", "verify"]);
    assert!(verified.iter().all(|one| one.wrong.is_empty()), "{verified:?}");
    assert!(host.run(&["status"]).contains("mirror"));

    // What is forgotten here is mirrored no more; what is there stays there.
    let second = host::session(2);
    append(&transcript(&host, &second), &turn(&second, 8));
    until("the session is not listed", || {
        host.run(&["sessions", "list", "--all", "--json"]).contains(&second).then_some(())
    });
    host.run(&["mirror", "run"]);
    let second_there = bucket.join(format!("mine/sessions/claude-code/{second}"));
    assert_eq!(parts_in(&second_there), redacted(&host, &transcript(&host, &second)));
    host.run(&["sessions", "forget", &second, "-y"]);
    append(&transcript(&host, &second), &turn(&second, 9));
    host.run(&["mirror", "run"]);
    assert!(!parts_in(&second_there).contains("say 9"));
    let list: Vec<Mirrored> = host.json(&["mirror", "list"]);
    assert!(list.iter().all(|one| one.session_id != second), "{list:?}");

    // A part that somebody changed is found.
    let part = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path());
    let part = part.filter(|path| path.to_str().unwrap().contains("part-")).min().unwrap();
    fs::write(&part, "{}\n").unwrap();
    let refused = host.rrd(&["mirror", "verify"]).output().unwrap();
    let said = String::from_utf8(refused.stdout).unwrap();
    assert!(!refused.status.success() && said.contains("not what its name says"), "{said}");

    // What cannot be mirrored is told, and keeps nobody waiting.
    host.stop();
    let config = host.path("rrd/config");
    let config = if config.is_dir() { config } else { host.path("rrd") };
    fs::write(config.join("redact.toml"), "[[deny]]\nid = \"odd\"\npattern = '('\n").unwrap();
    append(&path, &turn(&first, 5));
    host.start();
    let out = host.rrd(&["mirror", "run"]).output().unwrap();
    let said = String::from_utf8(out.stderr).unwrap();
    assert!(!out.status.success() && said.contains("redact.toml: odd does not hold"), "{said}");

    host.run(&["mirror", "disable"]);
    assert_eq!(host.json::<Vec<MirrorStatus>>(&["mirror", "status"]), []);
    assert!(part.exists(), "what is there stays there");
}

fn refusal(status: u16, code: &'static str, delivered: bool) -> Mishap {
    Mishap::Status { status, code, after: None, delivered }
}

/// What follows the head of an answer.
fn body(answer: &str) -> String {
    answer.split_once("\r\n\r\n").map_or("", |(_, body)| body).to_owned()
}

/// The parts of one session in a bucket, in order.
fn parts_of(moto: &moto::Moto, bucket: &str, prefix: &str) -> String {
    let list = body(&moto.ask("GET", &format!("/{bucket}?list-type=2&prefix={prefix}part-"), ""));
    assert!(list.contains("<IsTruncated>false"), "{list}");
    let keys = list.split("<Key>").skip(1).filter_map(|rest| rest.split("</Key>").next());
    keys.map(|key| body(&moto.ask("GET", &format!("/{bucket}/{key}"), ""))).collect()
}

/// As many as `RRD_KILLS` says.
#[test]
fn killed_at_any_moment_over_a_bad_line_each_record_is_there_once() {
    let Some(moto) = moto::moto() else { return };
    moto.make_bucket("mirrored");
    let line = Proxy::to(moto.address);
    let mut host = Host::new("mac");
    host.set("AWS_ACCESS_KEY_ID", "test");
    host.set("AWS_SECRET_ACCESS_KEY", "test");
    let kills = std::env::var("RRD_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(12);
    let sessions: Vec<String> = (0..3).map(host::session).collect();
    let paths: Vec<PathBuf> = sessions.iter().map(|id| transcript(&host, id)).collect();
    paths.iter().zip(&sessions).for_each(|(path, id)| append(path, &turn(id, 0)));
    host.start();
    let endpoint = format!("http://{}", line.address);
    let enable = ["mirror", "enable", "s3://mirrored/here", "--endpoint", &endpoint];
    host.run(&[&enable[..], &["--region", "us-east-1"]].concat());

    // Every few requests something goes wrong.
    let mut chance = 7_u64;
    line.decide(move |_| {
        chance =
            chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        match chance >> 56 {
            0..5 => Some(refusal(503, "SlowDown", false)),
            5..8 => Some(refusal(500, "InternalError", true)),
            8..12 => Some(Mishap::ReplyLost),
            12..15 => Some(Mishap::Twice { first: chance.is_multiple_of(2) }),
            15..18 => Some(Mishap::BreaksInBody),
            18..20 => Some(Mishap::BreaksInReply),
            _ => None,
        }
    });
    let over = Arc::new(AtomicBool::new(false));
    let writer = {
        let (over, paths, sessions) = (Arc::clone(&over), paths.clone(), sessions.clone());
        thread::spawn(move || {
            let mut number = 1;
            while !over.load(Ordering::Relaxed) {
                for (path, id) in paths.iter().zip(&sessions) {
                    append(path, &turn(id, number));
                }
                number += 1;
                thread::sleep(Duration::from_millis(7));
            }
        })
    };
    for kill in 0..kills {
        // Anywhere in what it does.
        thread::sleep(Duration::from_millis(40 + kill * 97 % 900));
        host.kill();
        host.start();
    }
    over.store(true, Ordering::Relaxed);
    writer.join().unwrap();
    line.decide(|_| None);
    until("it never catches up", || {
        let _ = host.rrd(&["mirror", "run"]).output();
        let status: Vec<MirrorStatus> = host.json(&["mirror", "status"]);
        let MirrorStatus { checking, behind, pending_parts, .. } = status[0];
        (!checking && behind == 0 && pending_parts == 0).then_some(())
    });
    for (path, id) in paths.iter().zip(&sessions) {
        let prefix = format!("here/rrd/sessions/claude-code/{id}/");
        let there = parts_of(&moto, "mirrored", &prefix);
        assert_same(&there, &redacted(&host, path));
    }
}

/// As many of Hermes' tables and columns as matter.
const TABLES: &str = "PRAGMA journal_mode = wal;
    CREATE TABLE schema_version (version INTEGER);
    INSERT INTO schema_version VALUES (22);
    CREATE TABLE sessions (id TEXT PRIMARY KEY, source TEXT, started_at REAL, parent_session_id TEXT);
    CREATE TABLE messages (id INTEGER PRIMARY KEY, session_id TEXT, role TEXT, content TEXT,
        tool_call_id TEXT, tool_calls TEXT, tool_name TEXT, timestamp REAL, finish_reason TEXT,
        active INTEGER DEFAULT 1, compacted INTEGER DEFAULT 0);
    INSERT INTO sessions (id, source, started_at) VALUES ('s-1', 'cli', 1790000000);
    INSERT INTO sessions (id, source, started_at) VALUES ('s-2', 'cli', 1790000000);";

/// What there is of each message: number, role and content.
fn rows_of(db: &rusqlite::Connection, session: &str) -> Vec<(i64, String, String)> {
    let sql = "SELECT id, role, content FROM messages WHERE session_id = ?1 ORDER BY id";
    let mut statement = db.prepare(sql).unwrap();
    let rows = statement.query_map([session], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
    rows.unwrap().map(Result::unwrap).collect()
}

#[test]
fn of_a_session_in_a_database_each_row_is_there_once() {
    let mut host = Host::new("mac");
    fs::create_dir_all(host.path(".hermes")).unwrap();
    let db = rusqlite::Connection::open(host.path(".hermes/state.db")).unwrap();
    db.execute_batch(TABLES).unwrap();
    let say = |number: i64| {
        for (session, role) in [("s-1", "user"), ("s-2", "user"), ("s-1", "assistant")] {
            let finish = (role == "assistant").then_some("stop");
            let content = format!("{role} of {session} says {number}\nthe key is {TOKEN}");
            let sql = "INSERT INTO messages (session_id, role, content, timestamp, finish_reason) \
                       VALUES (?1, ?2, ?3, ?4, ?5)";
            let at = 1_790_000_000.0 + number as f64;
            db.execute(sql, rusqlite::params![session, role, content, at, finish]).unwrap();
        }
    };
    (0..5).for_each(say);
    host.start();
    let bucket = host.path("bucket");
    let url = format!("file://{}", bucket.display());
    host.run(&["mirror", "enable", &url, "--project", "mine"]);
    let compare = |session: &str| {
        host.run(&["mirror", "run"]);
        let directory = bucket.join(format!("mine/sessions/hermes/{session}"));
        let there = parts_in(&directory);
        let messages = there.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let messages: Vec<(i64, String, String)> = messages
            .filter(|row| row["content"].is_string())
            .map(|row| {
                let text = |name: &str| row[name].as_str().unwrap().to_owned();
                (row["id"].as_i64().unwrap(), text("role"), text("content"))
            })
            .collect();
        let mut rows = rows_of(&db, session);
        rows.iter_mut().for_each(|row| row.2 = row.2.replace(TOKEN, "[REDACTED:github-token]"));
        assert_eq!(messages, rows);
        let shown: MirrorShown = host.json(&["mirror", "show", session]);
        assert_eq!(shown.records as usize, there.lines().count());
    };
    ["s-1", "s-2"].into_iter().for_each(compare);
    (5..8).for_each(say);
    ["s-1", "s-2"].into_iter().for_each(compare);
}
