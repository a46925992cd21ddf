//! The session store of a real daemon: what is kept there, for whom, and where it is seen again; and the SDKs
//! themselves, through the adapters.
//!
//! The SDKs are in target/tools/sdk where `.ci/sdk` could install them. Not here: what names a transcript, and one
//! transcript's lines (the core's and the daemon's own tests).
#![cfg(unix)]
#![allow(clippy::unwrap_used)] // the lint's exception for tests does not reach plain functions here

mod host;
#[path = "session_store/resumed.rs"]
mod resumed;

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use host::Host;
use rrd_proto::{Coverage, CoverageState, MirrorStatus, SearchHit, Session, Timestamp};
use serde_json::{Value, json};

const ID: &str = "0dd95a2a-43a5-4d86-b88b-6ee3a9a2ba8f";
const ENTRIES: &str =
    "/session-store/entries?project=-w&session=0dd95a2a-43a5-4d86-b88b-6ee3a9a2ba8f";
const SECRET: &str = "ghp_16C7e42F292c6912E7710c838347Ae178B4a";

/// An answer.
#[derive(Debug)]
struct Reply {
    status: u16,
    head: String,
    body: String,
}

impl Reply {
    fn entries(&self) -> Vec<Value> {
        assert_eq!(self.status, 200, "{self:?}");
        self.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    fn note(&self) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix("x-rrd-note: "))
    }
}

/// A daemon with a page, and a token for its store.
struct Store {
    host: Host,
    token: String,
}

impl Store {
    fn new(name: &str) -> Self {
        let mut host = Host::new(name);
        host.set("RRD_HTTP", "127.0.0.1:0");
        host.start();
        let token = host.run(&["token", "--session-store", "--label", "test"]).trim().to_owned();
        Self { host, token }
    }

    fn send(&self, head: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let mut stream = TcpStream::connect(self.host.page()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut text =
            format!("{head} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.host.page());
        headers.iter().for_each(|(name, value)| text += &format!("{name}: {value}\r\n"));
        stream.write_all(format!("{text}\r\n").as_bytes()).unwrap();
        // It may be refused before all of it is there.
        let _ = stream.write_all(body);
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all);
        let all = String::from_utf8(all).unwrap();
        let (head, body) = all.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{head}: {all:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Reply { status, head: head.to_owned(), body: body.to_owned() }
    }

    fn bearer(&self) -> String {
        format!("Bearer {}", self.token)
    }

    fn ask(&self, method: &str, path: &str) -> Reply {
        self.send(&format!("{method} {path}"), &[("Authorization", &self.bearer())], b"")
    }

    fn get(&self, path: &str) -> Reply {
        self.ask("GET", path)
    }

    fn post(&self, path: &str, body: &[u8]) -> Reply {
        let headers = [
            ("Authorization", self.bearer()),
            ("Content-Type", "application/x-ndjson".to_owned()),
            ("Content-Length", body.len().to_string()),
        ];
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.send(&format!("POST {path}"), &headers, body)
    }

    /// Adds entries; says how many were new.
    fn append(&self, path: &str, entries: &[Value]) -> u64 {
        let body: String = entries.iter().map(|entry| format!("{entry}\n")).collect();
        let reply = self.post(path, body.as_bytes());
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.json()["taken"].as_u64().unwrap()
    }

    fn folder(&self) -> PathBuf {
        self.host.state("session-store")
    }

    fn row(&self, is: impl Fn(&Session) -> bool) -> Session {
        self.host.until("no such row", || {
            let rows: Vec<Session> = self.host.json(&["sessions", "list", "--all"]);
            rows.iter().find(|row| is(row)).cloned().ok_or_else(|| format!("{rows:#?}"))
        })
    }
}

/// A prompt and its answer, as the CLI writes them.
fn turn(number: u64, said: &str) -> Vec<Value> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let at = Timestamp::from_millis(i64::try_from(now.as_millis()).unwrap() - 60_000);
    let at = at.plus(i64::try_from(number).unwrap() * 1_000);
    let common = json!({
        "isSidechain": false, "cwd": "/w", "timestamp": at, "sessionId": ID, "version": "2.1.330",
        "userType": "external", "entrypoint": "sdk-ts", "gitBranch": "main",
    });
    let with = |more: Value| {
        let mut record = common.clone();
        record.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        record
    };
    let parent = (number > 1).then(|| format!("a{}", number - 1));
    let prompt = with(json!({
        "parentUuid": parent, "type": "user", "uuid": format!("u{number}"),
        "message": {"role": "user", "content": said},
    }));
    let answer = with(json!({
        "parentUuid": format!("u{number}"), "type": "assistant", "uuid": format!("a{number}"),
        "message": {
            "id": format!("m{number}"), "type": "message", "role": "assistant", "model": "m",
            "content": [{"type": "text", "text": format!("To {said}")}], "stop_reason": "end_turn",
            "stop_sequence": null, "usage": {"input_tokens": 1, "output_tokens": 1},
        },
    }));
    vec![prompt, answer]
}

fn of_delegate(entries: Vec<Value>) -> Vec<Value> {
    let mut entries = entries;
    for entry in &mut entries {
        entry["isSidechain"] = true.into();
        entry["agentId"] = "a1b2c3d4".into();
    }
    entries
}

#[test]
fn what_is_stored_is_seen_wherever_sessions_are_and_outlives_a_kill() {
    let mut store = Store::new("mac");
    let mode = json!({"type": "mode", "mode": "x"});
    let mut said = turn(1, "Chart the estuary");
    assert_eq!(store.append(ENTRIES, &said), 2);
    said.push(mode.clone());
    // Heard once more after an answer that was lost: what has a name is there once.
    assert_eq!(store.append(ENTRIES, &said), 1);
    let delegate = of_delegate(turn(2, "Sound the channel"));
    let below = format!("{ENTRIES}&subpath=subagents/agent-a1b2c3d4");
    assert_eq!(store.append(&below, &delegate), 2);
    assert_eq!(store.post(ENTRIES, b"\n").json()["taken"], 0);

    let row = store.row(|row| row.session_id == ID && row.title.is_some());
    assert_eq!((row.harness.as_str(), row.cwd.as_deref()), ("claude-code", Some("/w")));
    assert!(row.issues.is_empty(), "{row:?}");
    let child = store.row(|row| row.session_id == "a1b2c3d4");
    assert_eq!(child.parent_session_id.as_deref(), Some(ID));
    store.host.until("it is not found", || {
        let found: Vec<SearchHit> = store.host.json(&["sessions", "search", "estuary"]);
        let is_it = found.iter().any(|hit| hit.session_id == ID);
        if is_it { Ok(()) } else { Err(format!("{found:?}")) }
    });
    assert!(store.host.run(&["sessions", "tail", ID]).contains("Chart the estuary"));
    assert!(store.host.run(&["sessions", "export", ID]).contains("Chart the estuary"));

    store.host.kill();
    // What a call left that nobody was told had been done.
    let path = store.folder().join(format!("projects/-w/{ID}.jsonl"));
    fs::File::options().append(true).open(&path).unwrap().write_all(b"{\"uuid\":\"to").unwrap();
    // Without a daemon, too.
    let rows: Vec<Session> = store.host.json(&["sessions", "list", "--all"]);
    assert!(rows.iter().any(|row| row.session_id == ID), "{rows:?}");
    store.host.start();
    assert_eq!(store.get(ENTRIES).entries(), said);
    assert_eq!(store.get(&below).entries(), delegate);
    let more = turn(3, "And back");
    assert_eq!(store.append(ENTRIES, &[said.clone(), more.clone()].concat()), 3);
    let all = [said, vec![mode], more].concat();
    assert_eq!(store.get(ENTRIES).entries(), all);
    assert_eq!(
        store
            .get("/session-store/subkeys?project=-w&session=0dd95a2a-43a5-4d86-b88b-6ee3a9a2ba8f")
            .json(),
        json!(["subagents/agent-a1b2c3d4"])
    );
    let listed = store.get("/session-store/sessions?project=-w").json();
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["session_id"]), (1, &json!(ID)));
    assert!(listed[0]["mtime"].as_u64().unwrap() > 1_600_000_000_000);

    // What is deleted is gone, with what belongs to it, and its row says so.
    assert_eq!(store.ask("DELETE", ENTRIES).status, 204);
    assert_eq!((store.get(ENTRIES).status, store.get(&below).status), (204, 204));
    assert_eq!(store.get("/session-store/sessions?project=-w").json(), json!([]));
    store.row(|row| row.session_id == ID && row.status == rrd_proto::Status::Ended);
    assert_eq!(store.ask("DELETE", ENTRIES).status, 204);
    assert!(!store.host.log().contains("panicked"), "{}", store.host.log());
}

#[test]
fn nobody_else_gets_at_it_and_no_key_leads_out() {
    let store = Store::new("mac");
    let said = turn(1, "Mine");
    store.append(ENTRIES, &said);
    let host = &store.host;
    let body = format!("{}\n", said[0]);
    let length = body.len().to_string();
    let typed = [("Content-Type", "application/x-ndjson"), ("Content-Length", &length)];
    let reading = host.run(&["token", "--label", "reader"]).trim().to_owned();
    let cookie = {
        let url = host.run(&["open", "--print"]);
        let path = url.trim().split_once(&host.page().to_string()).unwrap().1;
        let head = store.send(&format!("GET {path}"), &[], b"").head;
        let set = head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
        set.split(';').next().unwrap().to_owned()
    };
    // Whoever may read all there is to see may not read or write here.
    for credential in [
        None,
        Some(("Authorization", format!("Bearer {reading}"))),
        Some(("Authorization", "Bearer rrd_token_x".to_owned())),
        Some(("Authorization", format!("Basic {}", store.token))),
        Some(("Cookie", cookie)),
    ] {
        let shown: Vec<_> =
            credential.iter().map(|(name, value)| (*name, value.as_str())).collect();
        for path in [
            ENTRIES,
            "/session-store/sessions?project=-w",
            "/session-store/subkeys?project=-w&session=x",
        ] {
            let reply = store.send(&format!("GET {path}"), &shown, b"");
            assert_eq!(reply.status, 401, "{credential:?} {path}");
            assert!(reply.body.contains("--session-store"), "{reply:?}");
        }
        let posted = [&shown[..], &typed].concat();
        assert_eq!(store.send(&format!("POST {ENTRIES}"), &posted, body.as_bytes()).status, 401);
        assert_eq!(store.send(&format!("DELETE {ENTRIES}"), &shown, b"").status, 401);
    }
    // And a program that keeps its sessions here sees nothing else.
    for path in ["/search?q=Mine", &format!("/sessions/mac/claude-code/{ID}/events")] {
        assert_eq!(store.get(path).status, 401, "{path}");
    }
    // No page that a browser shows asks for it, whatever it sends.
    let bearer = store.bearer();
    for origin in [("Origin", "http://evil.example"), ("Sec-Fetch-Site", "cross-site")] {
        let asked = [&[("Authorization", bearer.as_str()), origin], &typed[..]].concat();
        for method in ["GET", "POST", "DELETE"] {
            let reply = store.send(&format!("{method} {ENTRIES}"), &asked, body.as_bytes());
            assert_eq!(reply.status, 403, "{origin:?} {method}");
        }
    }
    for (method, path) in [
        ("PUT", ENTRIES),
        ("OPTIONS", ENTRIES),
        ("POST", "/sessions"),
        ("POST", "/session-store/sessions?project=-w"),
    ] {
        let reply = store.ask(method, path);
        assert_eq!(reply.status, 405, "{method} {path}");
        let post = reply.head.contains("allow: GET, HEAD, POST, DELETE");
        assert_eq!(post, path == ENTRIES, "{}", reply.head);
    }

    let before = everything(host.home.path());
    for (query, says) in [
        ("project=-w", "session is missing"),
        ("session=x", "project is missing"),
        ("project=&session=x", "project is empty"),
        ("project=-w&session=x&subpath=", "subpath is empty"),
        ("project=-w&session=x&subpath=../../../x", "through . or .."),
        ("project=-w&session=x&subpath=a/%2e%2e/b", "through . or .."),
        ("project=-w&session=x&subpath=/etc/passwd", "subpath is empty"),
        ("project=-w&session=x&path=/x", "no such parameter"),
        ("project=-w&session=x&session=y", "given twice"),
        (&format!("project=-w&session={}", "x".repeat(300)), "too long"),
    ] {
        let path = format!("/session-store/entries?{query}");
        for reply in
            [store.get(&path), store.post(&path, body.as_bytes()), store.ask("DELETE", &path)]
        {
            assert!(reply.status == 400 && reply.body.contains(says), "{query}: {reply:?}");
        }
    }
    for (body, says) in [
        (&b"{\"a\":1}\n[1]\n"[..], "line 2"),
        (b"{\"a\":1}{\"b\":2}\n", "line 1"),
        (b"\xff\xfe\n", "UTF-8"),
        (b"{\"a\":1}\n{\"b\"", "line 2"),
    ] {
        let reply = store.post(ENTRIES, body);
        assert!(reply.status == 400 && reply.body.contains(says), "{reply:?}");
    }
    let headed = |headers: &[(&str, &str)]| {
        let all = [&[("Authorization", bearer.as_str())], headers].concat();
        store.send(&format!("POST {ENTRIES}"), &all, body.as_bytes()).status
    };
    assert_eq!(headed(&[("Content-Type", "text/plain"), ("Content-Length", &length)]), 415);
    assert_eq!(headed(&[("Content-Length", &length)]), 415);
    assert_eq!(
        headed(&[("Content-Type", "application/x-ndjson"), ("Content-Length", "33554433")]),
        413
    );
    assert_eq!(
        headed(&[("Content-Type", "application/x-ndjson"), ("Transfer-Encoding", "chunked")]),
        411
    );
    assert_eq!(everything(host.home.path()), before);
    assert_eq!(store.get(ENTRIES).entries(), said);

    // Odd, and a key all the same: of its own, and where it belongs.
    for (project, session, subpath) in [
        ("..", "..", None),
        ("C:\\x", "nul", Some("con/AUX")),
        ("a/b", "../../../../../../tmp/x", Some("Ä/ü")),
        (".hidden", "x.jsonl", Some("x")),
        ("p", "x", Some("jsonl")),
    ] {
        let encoded =
            |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
        let mut path = format!(
            "/session-store/entries?project={}&session={}",
            encoded(project),
            encoded(session)
        );
        subpath.iter().for_each(|subpath| path += &format!("&subpath={}", encoded(subpath)));
        let own = [json!({"type": "x", "of": [project, session, subpath]})];
        assert_eq!(store.append(&path, &own), 1);
        assert_eq!(store.get(&path).entries(), own);
        let keys = format!(
            "/session-store/subkeys?project={}&session={}",
            encoded(project),
            encoded(session)
        );
        assert_eq!(store.get(&keys).json(), json!(subpath.iter().collect::<Vec<_>>()));
        let listed =
            store.get(&format!("/session-store/sessions?project={}", encoded(project))).json();
        let is_main = subpath.is_none();
        assert_eq!(listed.as_array().unwrap().len(), usize::from(is_main), "{listed}");
    }
    let beneath = |path: &PathBuf| path.starts_with(store.folder().join("projects"));
    let outside = |all: &[(PathBuf, u64)]| {
        all.iter()
            .filter(|(path, _)| {
                path.extension().is_some_and(|end| end == "jsonl") && !beneath(path)
            })
            .count()
    };
    assert_eq!(outside(&everything(host.home.path())), 0);
    host.run(&["token", "--revoke", "all"]);
    assert_eq!(store.get(ENTRIES).status, 401);
    assert!(!host.log().contains("panicked") && !host.log().contains(&store.token));
}

/// Every transcript beneath a folder, and its length.
fn everything(top: &Path) -> Vec<(PathBuf, u64)> {
    let (mut folders, mut found) = (vec![top.to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            match entry.file_type().unwrap().is_dir() {
                true => folders.push(entry.path()),
                false if entry.path().extension().is_some_and(|end| end == "jsonl") => {
                    found.push((entry.path(), entry.metadata().unwrap().len()));
                }
                false => {}
            }
        }
    }
    found.sort();
    found
}

#[test]
fn a_host_that_has_only_the_bucket_goes_on_with_it() {
    let desk = Store::new("desk");
    let bucket = desk.host.path("bucket");
    let url = format!("file://{}", bucket.display());
    let first = turn(1, &format!("Chart the estuary; the key is {SECRET}"));
    desk.append(ENTRIES, &first);
    let below = format!("{ENTRIES}&subpath=subagents/agent-a1b2c3d4");
    desk.append(&below, &of_delegate(turn(2, "Sound the channel")));
    desk.row(|row| row.session_id == "a1b2c3d4");
    desk.host.run(&["mirror", "enable", &url, "--project", "mine"]);
    let mirrored = |store: &Store| -> Vec<MirrorStatus> { store.host.json(&["mirror", "run"]) };
    let status = mirrored(&desk);
    assert_eq!((status[0].transcripts, status[0].behind), (2, 0), "{status:?}");
    // What this host wrote itself it has; so nothing comes back, and nothing of it was redacted.
    assert_eq!((desk.get(ENTRIES).entries(), desk.get(ENTRIES).note()), (first.clone(), None));

    let lap = Store::new("lap");
    assert_eq!(lap.get(ENTRIES).status, 204);
    lap.host.run(&["mirror", "enable", &url, "--project", "mine"]);
    let other = ENTRIES.replace("project=-w", "project=-elsewhere");
    assert_eq!(lap.get(&other).status, 204, "a session of another project");
    let keys = "/session-store/subkeys?project=-w&session=0dd95a2a-43a5-4d86-b88b-6ee3a9a2ba8f";
    assert_eq!(lap.get(keys).json(), json!(["subagents/agent-a1b2c3d4"]));
    let came = lap.get(ENTRIES);
    assert!(came.note().is_some_and(|note| note.contains("redacted")), "{}", came.head);
    assert!(came.body.contains("[REDACTED:github-token]") && !came.body.contains(SECRET));
    let names = |entries: &[Value]| -> Vec<String> {
        entries.iter().filter_map(|entry| Some(entry["uuid"].as_str()?.to_owned())).collect()
    };
    assert_eq!(names(&came.entries()), names(&first));
    assert_eq!(lap.get(&below).entries().len(), 2);
    // It goes on here: with all of it, in list and bucket.
    let second = turn(3, "And back");
    assert_eq!(lap.append(ENTRIES, &second), 2);
    assert_eq!(lap.get(ENTRIES).entries().len(), 4);
    lap.row(|row| row.session_id == ID && row.title.is_some());
    lap.host.until("it is not in the bucket", || {
        let (status, shown) =
            (mirrored(&lap), lap.host.run(&["mirror", "show", ID, "--tail", "1"]));
        if shown.contains("And back") { Ok(()) } else { Err(format!("{status:?} {shown}")) }
    });

    // And there again: what was raw stays so, and what was added elsewhere is there, too.
    let again = desk.get(ENTRIES);
    assert_eq!(again.entries()[..2], first);
    assert_eq!(names(&again.entries()), names(&[first.clone(), second.clone()].concat()));
    assert!(again.note().is_some_and(|note| note.starts_with("2 entries")), "{}", again.head);
    assert_eq!(desk.append(ENTRIES, &[second, turn(4, "Once more")].concat()), 2);

    // What is deleted is brought back by no bucket.
    assert_eq!(lap.ask("DELETE", ENTRIES).status, 204);
    assert_eq!((lap.get(ENTRIES).status, lap.get(&below).status), (204, 204));
    assert_eq!(lap.get(keys).json(), json!([]));
    assert_eq!(lap.append(ENTRIES, &turn(9, "Anew")), 2);
    assert_eq!(lap.get(ENTRIES).entries().len(), 2);

    // A bucket that cannot be asked is no session that never was.
    let third = Store::new("third");
    third.host.run(&["mirror", "enable", &url, "--project", "mine"]);
    fs::rename(&bucket, bucket.with_extension("away")).unwrap();
    fs::write(&bucket, "").unwrap();
    let refused = third.get(ENTRIES);
    assert!(refused.status == 503 && refused.body.contains("bucket"), "{refused:?}");
    let here = desk.get(ENTRIES);
    assert!(here.note().is_some_and(|note| note.contains("could be asked")), "{}", here.head);
}

#[test]
fn an_id_with_capitals_is_found_by_its_start_and_travels() {
    let id = "ABCDEF01-0000-4000-8000-0000000000Aa";
    let own = "ABCDEF02-0000-4000-8000-0000000000Aa";
    let entries = |id: &str| format!("/session-store/entries?project=-w&session={id}");
    let of = |id: &str| -> Vec<Value> {
        let mut said = turn(1, "Chart the estuary");
        said.iter_mut().for_each(|entry| entry["sessionId"] = id.into());
        said
    };
    let desk = Store::new("desk");
    let url = format!("file://{}", desk.host.path("bucket").display());
    assert_eq!(desk.append(&entries(id), &of(id)), 2);
    let below = format!("{}&subpath=subagents/agent-A1b2c3d4", entries(id));
    desk.append(&below, &of_delegate(turn(2, "Sound the channel")));
    // And one that only its harness wrote.
    of(own).iter().for_each(|entry| desk.host.writes(own, entry));
    for id in [id, own] {
        desk.row(|row| row.session_id == id);
    }
    let child = desk.row(|row| row.session_id == "A1b2c3d4");
    assert_eq!(child.parent_session_id.as_deref(), Some(id));
    assert!(desk.host.run(&["sessions", "show", "ABCDEF01"]).contains(id));
    assert!(desk.get("/session-store/sessions?project=-w").body.contains(id));
    desk.host.run(&["mirror", "enable", &url]);
    let status: Vec<MirrorStatus> = desk.host.json(&["mirror", "run"]);
    assert_eq!(status[0].transcripts, 3, "{status:?}");

    // It is given to whoever resumes it, by its harness's own names.
    let there = desk.host.path("estuary");
    fs::create_dir(&there).unwrap();
    let resumed = ["resume", id, "--fork", "--print", "--cwd", there.to_str().unwrap()];
    let command = desk.host.run(&resumed);
    assert!(command.contains("claude --resume"), "{command}");

    let lap = Store::new("lap");
    lap.host.run(&["mirror", "enable", &url]);
    let keys = format!("/session-store/subkeys?project=-w&session={id}");
    assert_eq!(lap.get(&keys).json(), json!(["subagents/agent-A1b2c3d4"]));
    assert_eq!(lap.get(&below).entries().len(), 2);
    for id in [id, own] {
        let came = lap.get(&entries(id)).entries();
        let names: Vec<_> = came.iter().map(|entry| entry["uuid"].as_str()).collect();
        assert_eq!(names, [Some("u1"), Some("a1")]);
        lap.row(|row| row.session_id == id);
        // Another one, though some disks would take it for the same.
        assert_eq!(lap.get(&entries(&id.to_lowercase())).status, 204);
    }
}

#[test]
fn what_is_no_delegates_stays_here_and_is_told_so() {
    let store = Store::new("desk");
    let url = format!("file://{}", store.host.path("bucket").display());
    store.append(ENTRIES, &turn(1, "Chart the estuary"));
    store.append(
        &format!("{ENTRIES}&subpath=subagents/agent-a1b2c3d4"),
        &of_delegate(turn(2, "Sound")),
    );
    store.row(|row| row.session_id == "a1b2c3d4");
    store.host.run(&["mirror", "enable", &url]);
    store.host.run(&["mirror", "run"]);
    let told = |count: u64| {
        store.row(|row| {
            let place = row.coverage.first();
            let is_there = |place: &Coverage| place.state == CoverageState::Mirrored;
            row.session_id == ID
                && place.is_some_and(|place| is_there(place) && place.only_here == count)
        });
    };
    told(0);
    for subpath in ["notes", "notes/agent-a1b2c3d4", "subagents/agent-reviewer"] {
        store.append(&format!("{ENTRIES}&subpath={subpath}"), &turn(3, "Remember"));
    }
    store.host.run(&["mirror", "run"]);
    told(3);
    let shown = store.host.run(&["sessions", "show", ID]);
    let rows: Vec<Session> = store.host.json(&["sessions", "list", "--all"]);
    assert!(rows.iter().all(|row| row.session_id != "reviewer"), "{rows:?}");
    assert!(shown.contains("but for 3 transcripts that are only here"), "{shown}");
    let lap = Store::new("lap");
    lap.host.run(&["mirror", "enable", &url]);
    let keys = "/session-store/subkeys?project=-w&session=0dd95a2a-43a5-4d86-b88b-6ee3a9a2ba8f";
    assert_eq!(lap.get(keys).json(), json!(["subagents/agent-a1b2c3d4"]));
    assert_eq!(lap.get(&format!("{ENTRIES}&subpath=notes/agent-a1b2c3d4")).status, 204);
}

#[test]
fn a_session_that_its_harness_writes_too_is_one_row_of_whichever_copy_knows_more() {
    let store = Store::new("mac");
    let own = store.host.transcript(ID);
    fs::create_dir_all(own.parent().unwrap()).unwrap();
    let write = |entries: &[Value]| {
        let mut file = fs::File::options().append(true).create(true).open(&own).unwrap();
        entries.iter().for_each(|entry| file.write_all(format!("{entry}\n").as_bytes()).unwrap());
    };
    // As a run does: first there, then here.
    let first = turn(1, "First");
    write(&first);
    store.append(ENTRIES, &first);
    let rows = |what: &str| {
        store.host.until(what, || {
            let rows: Vec<Session> = store.host.json(&["sessions", "list", "--all"]);
            let text = store.host.run(&["sessions", "tail", ID]);
            let is_one = rows.len() == 1 && rows[0].issues.is_empty() && text.contains(what);
            if is_one { Ok(text) } else { Err(format!("{rows:#?} {text}")) }
        })
    };
    rows("First");
    // A run that was resumed from the store writes nowhere else that lasts.
    let second = turn(2, "Second");
    store.append(ENTRIES, &second);
    let text = rows("Second");
    // And one that was resumed without it.
    write(&[second, turn(3, "Third")].concat());
    assert_eq!(text.matches("To First").count(), 1, "{text}");
    let text = rows("Third");
    for said in ["To First", "To Second", "To Third"] {
        assert_eq!(text.matches(said).count(), 1, "{said}: {text}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_told_and_nothing_of_the_call_is_kept() {
    let store = Store::new("mac");
    let path = store.folder().join(format!("projects/-w/{ID}.jsonl"));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    symlink("/dev/full", &path).unwrap();
    let body = format!("{}\n", turn(1, "Too much")[0]);
    let refused = store.post(ENTRIES, body.as_bytes());
    assert!(refused.status == 507 && refused.body.contains("no room"), "{refused:?}");
    assert_eq!(store.get(ENTRIES).status, 204);
    fs::remove_file(&path).unwrap();
    assert_eq!(store.post(ENTRIES, body.as_bytes()).json()["taken"], 1);
}

#[test]
fn many_at_once_keep_their_order_and_lose_nothing() {
    let store = Store::new("mac");
    let [writers, calls] = [8, 20];
    let done = AtomicUsize::new(0);
    thread::scope(|scope| {
        for writer in 0..writers {
            let (store, done) = (&store, &done);
            scope.spawn(move || {
                for call in 0..calls {
                    let name = |n: usize| json!({"type": "x", "uuid": format!("{writer}-{}", call * 3 + n)});
                    assert_eq!(store.append(ENTRIES, &[0, 1, 2].map(name)), 3);
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(done.into_inner(), writers * calls);
    let entries = store.get(ENTRIES).entries();
    assert_eq!(entries.len(), writers * calls * 3);
    for writer in 0..writers {
        let start = format!("{writer}-");
        let own = entries.iter().filter_map(|entry| entry["uuid"].as_str()?.strip_prefix(&start));
        let wanted: Vec<String> = (0..calls * 3).map(|n| n.to_string()).collect();
        assert_eq!(own.collect::<Vec<_>>(), wanted);
    }
}

/// Where `.ci/sdk` put an SDK; says so where it did not, past what catches a test's words.
fn tool(name: &str, mark: &str, missing: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let place = root.join("target/tools/sdk").join(name);
    if !place.join(mark).exists() {
        std::io::stderr().write_all(format!("skipped: {missing}\n").as_bytes()).unwrap();
        return None;
    }
    Some(place)
}

/// A transcript as the power's going may leave it: its pages need not come to the disk in order.
fn tear(store: &Store) {
    let path = store.folder().join("projects/-w/torn.jsonl");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, "{\"type\":\"x\",\"n\":1}\n\0\0\0\0\n{\"type\":\"x\",\"n\":2}\n").unwrap();
}

/// What a program says in its last line, which gets the token on stdin.
fn said(command: &mut Command, token: &str) -> Value {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(token.as_bytes()).unwrap();
    let done = child.wait_with_output().unwrap();
    let [out, err] = [&done.stdout, &done.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    assert!(done.status.success(), "{out}{err}");
    serde_json::from_str(out.lines().last().unwrap()).unwrap()
}

#[test]
fn the_python_adapter_passes_the_sdks_own_suite() {
    let Some(python) = tool("python", "installed.txt", "no Python SDK, see .ci/sdk") else {
        return;
    };
    let store = Store::new("mac");
    tear(&store);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk/conformance.py");
    let mut command = Command::new(python.join("bin/python"));
    command.arg("-B").arg(script).arg(format!("http://{}", store.host.page()));
    let told = said(&mut command, &store.token);
    for id in [&told["session"], &told["fork"]] {
        let row = store.row(|row| *id == *row.session_id);
        assert_eq!(row.cwd.as_deref(), Some("/w"));
    }
}

#[test]
fn a_typescript_program_runs_resumes_and_forks_out_of_the_store() {
    let Some(query) = tool("query", "installed.json", "no TypeScript SDK, see .ci/sdk query")
    else {
        return;
    };
    let modules = query.join("node_modules");
    let store = Store::new("mac");
    tear(&store);
    let home = tempfile::tempdir().unwrap();
    let client = Path::new(env!("CARGO_MANIFEST_DIR"));
    for source in ["adapters/typescript/rrd-session-store.ts", "tests/sdk/query.ts"] {
        let source = client.join(source);
        fs::copy(&source, home.path().join(source.file_name().unwrap())).unwrap();
    }
    fs::write(home.path().join("package.json"), "{\"type\":\"module\"}").unwrap();
    symlink(&modules, home.path().join("node_modules")).unwrap();
    // The adapter is what the SDK's types say that a store is.
    let compiled = Command::new("node")
        .arg(modules.join("typescript/bin/tsc"))
        .args(["--strict", "--skipLibCheck", "--noImplicitOverride", "--target", "es2022"])
        .args(["--module", "nodenext", "--types", "node", "rrd-session-store.ts", "query.ts"])
        .current_dir(home.path())
        .output()
        .unwrap();
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stdout));
    let mut command = Command::new("node");
    command
        .arg("query.js")
        .arg(format!("http://{}", store.host.page()))
        .current_dir(home.path())
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("HOME", home.path());
    follow(&store, &said(&mut command, &store.token));
}

/// The SDK for Python runs the client that the one for TypeScript brought, for its own is in no source.
#[test]
fn a_python_program_runs_resumes_and_forks_out_of_the_store() {
    let Some(python) = tool("python", "installed.txt", "no Python SDK, see .ci/sdk") else {
        return;
    };
    let Some(query) = tool("query", "installed.json", "no client for it, see .ci/sdk query") else {
        return;
    };
    let packages = fs::read_dir(query.join("node_modules/@anthropic-ai")).unwrap();
    let mut clients = packages.map(|package| package.unwrap().path().join("claude"));
    let client = clients.find(|path| path.is_file()).unwrap();
    let store = Store::new("mac");
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(python.join("bin/python"));
    command
        .arg("-B")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk/query.py"))
        .arg(format!("http://{}", store.host.page()))
        .arg(client)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("HOME", home.path());
    follow(&store, &said(&mut command, &store.token));
}

/// What a program did is where sessions are: the one it began, its fork, and their delegate.
fn follow(store: &Store, told: &Value) {
    let parent = store.row(|row| told["session"] == *row.session_id && row.title.is_some());
    assert!(parent.cwd.as_deref().is_some_and(|cwd| cwd.ends_with("/work")), "{parent:?}");
    let fork = store.row(|row| told["fork"] == *row.session_id && row.title.is_some());
    assert_eq!(fork.parent_session_id.as_deref(), told["session"].as_str());
    let child = store.row(|row| {
        row.parent_session_id.as_deref() == Some(&parent.session_id)
            && row.session_id != fork.session_id
    });
    for row in [&parent, &fork, &child] {
        assert!(row.issues.is_empty(), "{row:?}");
    }
    store.host.until("it is not found", || {
        let found: Vec<SearchHit> = store.host.json(&["sessions", "search", "heliotrope"]);
        let is_it = found.iter().any(|hit| told["session"] == *hit.session_id);
        if is_it { Ok(()) } else { Err(format!("{found:?}")) }
    });
    assert!(store.host.run(&["sessions", "tail", &parent.session_id]).contains("heliotrope"));
}
