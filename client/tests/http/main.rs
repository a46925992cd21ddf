//! HTTP against a real daemon, over a real socket: every way to ask × every way to ask wrongly.
//!
//! What a browser does with it is `.ci/browser`'s; what the rules are, `http::guard::tests`'.
#![cfg(unix)]
#![allow(clippy::unwrap_used)] // the lint's exception for tests does not reach plain functions here

#[path = "../host/mod.rs"]
mod host;
mod pages;

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use host::Host;
use proptest::prelude::*;
use serde_json::{Value, json};

/// Nobody waits for longer than that.
const PATIENCE: Duration = Duration::from_secs(20);

const ROUTES: [&str; 25] = [
    "/",
    "/s/mac/claude-code/ID",
    "/pair",
    "/style.css",
    "/graph.css",
    "/app.js",
    "/icon.svg",
    "/icon-180.png",
    "/manifest.webmanifest",
    "/healthz",
    "/sessions",
    "/sessions/mac/claude-code/ID",
    "/sessions/mac/claude-code/ID/events",
    "/sessions/mac/claude-code/ID/outline",
    "/search?q=it",
    "/find?q=it",
    "/hosts",
    "/graph",
    "/waits",
    "/events",
    "/metrics",
    "/openapi.json",
    "/session-store/entries?project=p&session=s",
    "/session-store/sessions?project=p",
    "/session-store/subkeys?project=p&session=s",
];

const ID: &str = "00000000-0000-4000-8000-000000000001";
const EVIL: &str = "a\u{1b}]52;c;x\u{7}<script>alert(1)</script>\u{202e}'\"&";

/// An answer as it came.
struct Reply {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Reply {
    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// With one session, and a page to this machine.
fn with(settings: &[(&'static str, &str)]) -> Host {
    let mut host = Host::new("mac");
    host.set("RRD_HTTP", "127.0.0.1:0");
    settings.iter().for_each(|(name, value)| host.set(name, *value));
    host.says(ID, &format!("Do it {EVIL}"));
    host.start();
    host
}

fn usual() -> Host {
    with(&[])
}

impl Host {
    fn word(&self, args: &[&str]) -> String {
        self.run(args).trim().to_owned()
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.page()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// What comes back for these bytes, until the connection ends; a stream's head only.
    fn send(&self, bytes: &[u8]) -> Option<Reply> {
        let mut stream = self.connect();
        // It may be refused before all of it is there.
        let _ = stream.write_all(bytes);
        let mut all = Vec::new();
        let mut piece = [0; 65_536];
        let head = loop {
            if let Some(end) = all.windows(4).position(|four| four == b"\r\n\r\n") {
                break String::from_utf8(all.drain(..end + 4).collect()).unwrap();
            }
            match stream.read(&mut piece) {
                Ok(0) | Err(_) => return None,
                Ok(read) => all.extend(&piece[..read]),
            }
        };
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut reply = Reply { status, head, body: all };
        let length = reply.header("content-length").map(|text| text.parse::<usize>().unwrap());
        let length = if bytes.starts_with(b"HEAD") { Some(0) } else { length };
        while length.is_some_and(|length| reply.body.len() < length) {
            let read = stream.read(&mut piece).unwrap();
            assert!(read > 0, "{}", reply.head);
            reply.body.extend(&piece[..read]);
        }
        Some(reply)
    }

    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Reply {
        let host = self.page().to_string();
        let named = headers.iter().any(|(name, _)| *name == "Host");
        let own = (!named).then_some(("Host", host.as_str()));
        let headers = own.iter().chain(headers).map(|(name, value)| format!("{name}: {value}\r\n"));
        let head = format!("{method} {path} HTTP/1.1\r\n{}\r\n", headers.collect::<String>());
        self.send(head.as_bytes()).unwrap_or_else(|| panic!("no answer to {head}"))
    }

    fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, &[])
    }

    /// Lives, and has not panicked.
    fn is_well(&self) {
        assert_eq!(self.get("/healthz").status, 200);
        assert!(!self.log().contains("panicked"), "{}", self.log());
    }
}

fn routes() -> impl Iterator<Item = String> {
    ROUTES.iter().map(|route| route.replace("ID", ID))
}

#[test]
fn it_tells_what_the_command_line_tells_byte_for_byte() {
    let host = usual();
    let list = host.get("/sessions");
    assert_eq!(list.status, 200);
    assert_eq!(list.body, host.run(&["sessions", "list", "--json"]).as_bytes());
    assert_eq!(list.json()[0]["session_id"], ID);
    assert_eq!(
        host.get("/sessions?all=1").body,
        host.run(&["sessions", "list", "--all", "--json"]).as_bytes()
    );
    assert_eq!(host.get("/sessions?status=idle").text(), "[]\n");
    assert_eq!(host.get("/sessions?harness=codex&repo=x&since=2h").text(), "[]\n");
    // What nobody can have asked for is refused by both, in the same words.
    for (flag, name, wrong, says) in [
        ("--harness", "harness", "vim", "claude-code"),
        ("--since", "since", "soon", "neither a duration like 90s"),
        ("--status", "status", "busy", "waiting, executing, idle, ended"),
    ] {
        let refused = host.get(&format!("/sessions?{name}={wrong}"));
        let detail = refused.json()["detail"].as_str().unwrap().to_owned();
        assert!(refused.status == 400 && detail.contains(says), "{detail}");
        let out = host.rrd(&["sessions", "list", flag, wrong]).output().unwrap();
        let err = String::from_utf8(out.stderr).unwrap();
        assert!(out.status.code() == Some(64) && err.contains(says), "{err}");
    }
    let one = host.get(&format!("/sessions/mac/claude-code/{ID}"));
    assert_eq!(one.body, host.run(&["sessions", "show", ID, "--json"]).as_bytes());
    assert_eq!(host.get("/hosts").body, host.run(&["hosts", "--json"]).as_bytes());
    assert_eq!(host.get("/graph").body, host.run(&["graph", "--json"]).as_bytes());
    assert!(list.header("x-rrd-as-of").unwrap().ends_with('Z'));
    // What has not changed is not sent again, and what has is.
    let tag = list.header("etag").unwrap().to_owned();
    let again = host.ask("GET", "/sessions", &[("If-None-Match", &tag)]);
    assert_eq!(
        (again.status, again.body.len(), again.header("etag")),
        (304, 0, Some(tag.as_str()))
    );
    for path in ["/sessions", "/hosts", "/style.css"] {
        let tag = host.get(path).header("etag").unwrap().to_owned();
        let status = |known: &str| host.ask("GET", path, &[("If-None-Match", known)]).status;
        let weak = format!("W/{}", tag.trim_start_matches("W/"));
        for known in [&format!("\"x\", {tag}"), &weak, "*", &format!("{weak} ,\"y\"")] {
            assert_eq!(status(known), 304, "{path} {known}");
        }
        assert_eq!((status("\"x\""), status("")), (200, 200), "{path}");
    }
    host.says(ID, "And that");
    let started = Instant::now();
    let changed = loop {
        // The system may tell of what was written a moment after it was.
        let reply = host.ask("GET", "/sessions", &[("If-None-Match", &tag)]);
        if reply.status == 200 {
            break reply;
        }
        assert_eq!(reply.status, 304);
        assert!(started.elapsed() < PATIENCE, "{}", host.log());
        thread::yield_now();
    };
    assert_ne!(changed.header("etag"), Some(tag.as_str()));
    let head = host.ask("HEAD", "/sessions", &[]);
    assert_eq!((head.status, head.body.len()), (200, 0));
    let metrics = host.get("/metrics").text();
    assert!(metrics.contains("rrd_sessions{status=\"executing\"} 1\n"), "{metrics}");
    let about = host.get("/openapi.json").json();
    assert_eq!(about["openapi"], "3.1.0");
}

#[test]
fn what_is_counted_is_there_from_the_start() {
    let host = usual();
    assert!(!host.get("/metrics").text().contains("rrd_gossip"), "it speaks with nobody");
    host.run(&["fleet", "init"]);
    let started = Instant::now();
    loop {
        let metrics = host.get("/metrics").text();
        let is_zero = |reason: &&str| {
            metrics.contains(&format!("rrd_gossip_dropped_total{{reason=\"{reason}\"}} 0\n"))
        };
        if ["not_ours", "forged", "replayed", "unknown"].iter().all(is_zero) {
            break;
        }
        assert!(started.elapsed() < PATIENCE, "{metrics}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_token_opens_transcripts_and_only_until_it_is_taken_back() {
    let host = usual();
    let events = format!("/sessions/mac/claude-code/{ID}/events");
    let refused = host.get(&events);
    assert_eq!(refused.status, 401);
    assert_eq!(refused.header("content-type"), Some("application/problem+json"));
    assert!(refused.json()["hint"].as_str().unwrap().contains("rrd token"));
    assert!(!refused.text().contains("Do it"));
    let token = format!("Bearer {}", host.word(&["token", "--label", "test"]));
    let with = |path: &str| host.ask("GET", path, &[("Authorization", &token)]);
    let page = with(&events).json();
    assert_eq!((&page["events"][0]["kind"], &page["more"]), (&json!("prompt"), &json!(false)));
    assert_eq!(with(&format!("{events}?after=0")).json()["events"], json!([]));
    assert_eq!(with(&format!("{events}?after={}", u64::MAX)).json()["events"], json!([]));
    assert_eq!(with(&format!("{events}?before=0")).json()["events"], json!([]));
    assert_eq!(with(&format!("{events}?limit=0")).status, 400);
    // The session's page tells so much without, and the rest with it.
    let page = format!("/s/mac/claude-code/{ID}");
    let (locked, open) = (host.get(&page), with(&page));
    assert_eq!((locked.status, open.status), (200, 200));
    assert!(locked.text().contains("rrd open") && !open.text().contains("rrd open"));
    for wrong in ["Bearer x", "Bearer", "Basic eDp5", &token[..token.len() - 1], "Bearer \u{e9}"] {
        assert_eq!(host.ask("GET", &events, &[("Authorization", wrong)]).status, 401, "{wrong}");
    }
    host.run(&["token", "--revoke", "all"]);
    assert_eq!(with(&events).status, 401);
    let secret = token.split(' ').nth(1).unwrap();
    assert!(!host.log().contains(secret) && !host.word(&["status"]).contains(secret));
}

#[test]
fn an_outline_tells_subagents_and_theirs_however_many() {
    let mut host = Host::new("mac");
    host.set("RRD_HTTP", "127.0.0.1:0");
    host.says(ID, "Do it");
    let side = host.path(&format!(".claude/projects/-w/{ID}/subagents"));
    fs::create_dir_all(&side).unwrap();
    for at in 0..1_001 {
        let record = json!({
            "parentUuid": null, "isSidechain": true, "type": "user", "uuid": format!("u{at}"),
            "message": {"role": "user", "content": format!("Part {at} {EVIL}")}, "cwd": "/w",
            "timestamp": format!("2026-11-20T10:{:02}:{:02}Z", at / 60, at % 60),
            "sessionId": ID, "version": "2.1.300", "agentId": format!("a{at}"),
        });
        fs::write(side.join(format!("agent-a{at}.jsonl")), format!("{record}\n")).unwrap();
    }
    let meta = json!({"parentAgentId": "a1", "description": "Below"});
    fs::write(side.join("agent-a2.meta.json"), meta.to_string()).unwrap();
    host.start();
    let outline = format!("/sessions/mac/claude-code/{ID}/outline");
    assert_eq!(host.get(&outline).status, 401);
    let token = format!("Bearer {}", host.word(&["token", "--label", "test"]));
    let with = |path: &str| host.ask("GET", path, &[("Authorization", &token)]);
    let started = Instant::now();
    let told = loop {
        let told = with(&outline).json();
        if told["more_subagents"] == 1 && told["marks"][0]["kind"] == "prompt" {
            break told;
        }
        assert!(started.elapsed() < PATIENCE, "{told}");
    };
    let spans = told["subagents"].as_array().unwrap();
    assert_eq!(spans.len(), 1_000);
    assert!(spans.is_sorted_by_key(|span| span["from"].as_str().unwrap().to_owned()));
    let [first, below] = [&spans[0], &spans[1]];
    assert_eq!((&first["session_id"], &first["parent_session_id"]), (&json!("a1"), &json!(ID)));
    assert_eq!((&below["parent_session_id"], &below["title"]), (&json!("a1"), &json!("Below")));
    let later = with(&format!("{outline}?after=0")).json();
    assert_eq!((&later["marks"], &later["subagents"]), (&json!([]), &json!([])));
    for wrong in ["?limit=0", "?limit=20001", "?after=x", "?bodies=1", "?after=1&after=2"] {
        assert_eq!(with(&format!("{outline}{wrong}")).status, 400, "{wrong}");
    }
    // The page has some of them, each a way to its own page at that time, and says how many more there are.
    let page = with(&format!("/s/mac/claude-code/{ID}")).text();
    assert!(!page.contains("<script>alert"));
}

#[test]
fn a_code_is_spent_once_for_a_cookie() {
    let host = usual();
    let url = host.word(&["open", "--print"]);
    let path = url.strip_prefix(&format!("http://{}", host.page())).unwrap().to_owned();
    // Whoever only looks ahead does not spend it.
    assert_eq!(host.ask("HEAD", &path, &[]).status, 403);
    assert_eq!(host.ask("GET", &path, &[("Sec-Purpose", "prefetch")]).status, 403);
    // rrd open hands the browser a file that leads there, and to a browser a file is another site. It says
    // so of the page that comes after, too.
    let led = [
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Mode", "navigate"),
        ("Sec-Fetch-Dest", "document"),
        ("Upgrade-Insecure-Requests", "1"),
    ];
    let let_in = host.ask("GET", &path, &led);
    assert_eq!((let_in.status, let_in.header("location")), (303, Some("/")));
    assert_eq!(host.ask("GET", "/", &led).status, 200);
    let cookie = let_in.header("set-cookie").unwrap().to_owned();
    for part in ["HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=7776000"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    let cookie = cookie.split(';').next().unwrap().to_owned();
    // A browser keeps it beside the one of a daemon at another port, and shows both to both.
    let name = format!("rrd_looker_{}", host.page().port());
    assert!(cookie.starts_with(&format!("{name}=")), "{cookie}");
    let told = host.get("/openapi.json").json();
    assert_eq!(told["components"]["securitySchemes"]["cookie"]["name"], *name);
    let events = format!("/sessions/mac/claude-code/{ID}/events");
    let with = |more: &[(&str, &str)]| {
        let headers: Vec<_> = more.iter().copied().chain([("Cookie", cookie.as_str())]).collect();
        host.ask("GET", &events, &headers).status
    };
    assert_eq!(with(&[]), 200);
    assert_eq!(with(&[("Cookie", "rrd_looker_1=x")]), 200);
    let moved = cookie.replace(&name, "rrd_looker_1");
    assert_eq!(host.ask("GET", &events, &[("Cookie", &moved)]).status, 401);
    // It is bound to where it was given: through a proxy it is nobody's.
    assert_eq!(with(&[("X-Forwarded-For", "1.2.3.4")]), 401);
    assert_eq!(with(&[("Origin", "http://evil.example")]), 403);
    assert_eq!(host.get(&path).status, 403);
    let other = host.ask("GET", "/pair?code=rrd_code_AAAAAAAAAAAAAAAAAAAAAA", &[]);
    assert_eq!(other.status, 403);
    assert!(other.header("set-cookie").is_none());
    // What it listens to ends with it.
    let mut stream = host.connect();
    let at = host.page();
    write!(stream, "GET /events HTTP/1.1\r\nHost: {at}\r\nCookie: {cookie}\r\n\r\n").unwrap();
    host.run(&["pair", "--revoke", "all"]);
    assert_eq!(with(&[]), 401);
    let code = path.split('=').nth(1).unwrap();
    let value = cookie.split('=').nth(1).unwrap();
    assert!(!host.log().contains(code) && !host.log().contains(value));
}

#[test]
fn what_was_let_in_hears_nothing_after_it_is_taken_back() {
    let host = with(&[("RRD_HTTP_LOOPBACK", "token")]);
    assert_eq!(host.get("/sessions").status, 401);
    let token = host.word(&["token"]);
    let mut stream = BufReader::new(host.connect());
    let at = host.page();
    let head =
        format!("GET /events HTTP/1.1\r\nHost: {at}\r\nAuthorization: Bearer {token}\r\n\r\n");
    stream.get_mut().write_all(head.as_bytes()).unwrap();
    let until = |stream: &mut BufReader<TcpStream>, wanted: &str| {
        let mut line = String::new();
        while !line.contains(wanted) {
            line.clear();
            assert!(stream.read_line(&mut line).unwrap() > 0, "ended before {wanted}");
        }
    };
    until(&mut stream, "event: snapshot");
    host.says(ID, "Something new");
    until(&mut stream, "event: change");
    host.run(&["token", "--revoke", "all"]);
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert!(rest.ends_with("0\r\n\r\n"), "it was ended, and not cut off: {rest}");
}

#[test]
fn whoever_begins_to_listen_while_things_change_misses_nothing() {
    let host = usual();
    let at = host.page();
    let begins = |step: usize| {
        host.works_on(ID, &format!("Step {step}."));
        let mut stream = BufReader::new(host.connect());
        write!(stream.get_mut(), "GET /events HTTP/1.1\r\nHost: {at}\r\n\r\n").unwrap();
        stream
    };
    // One right after the other: some are told what was seen for the one before.
    let streams: Vec<_> = (1..=40).map(begins).collect();
    for stream in streams {
        let mut lines = stream.lines().map(Result::unwrap);
        assert!(lines.any(|line| line.contains("Step 40.")), "it ended");
    }
}

#[test]
fn every_route_refuses_what_is_wrong() {
    let host = usual();
    let at = host.page();
    let port = at.port().to_string();
    for path in routes() {
        for (wanted, headers) in [
            (421, vec![("Host", "evil.example".to_owned())]),
            (421, vec![("Host", format!("evil.example:{port}"))]),
            (421, vec![("Host", format!("localhost.evil.com:{port}"))]),
            (421, vec![("Host", format!("127.0.0.1.nip.io:{port}"))]),
            (421, vec![("Host", "127.0.0.1:1".to_owned())]),
            (421, vec![("Host", "127.0.0.1".to_owned())]),
            (403, vec![("Origin", "http://evil.example".to_owned())]),
            (403, vec![("Origin", "null".to_owned())]),
            (403, vec![("Sec-Fetch-Site", "cross-site".to_owned())]),
            (
                403,
                vec![
                    ("Sec-Fetch-Site", "same-site".to_owned()),
                    ("Sec-Fetch-Mode", "cors".to_owned()),
                ],
            ),
        ] {
            let headers: Vec<_> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
            let reply = host.ask("GET", &path, &headers);
            assert_eq!(reply.status, wanted, "{path} {headers:?}");
            assert!(!reply.text().contains("Do it"), "{path} {headers:?}");
        }
        let refused = |bytes: String| host.send(bytes.as_bytes()).map(|reply| reply.status);
        assert_eq!(
            refused(format!("GET {path} HTTP/1.1\r\n\r\n")),
            Some(400),
            "{path} without Host"
        );
        assert_eq!(refused(format!("GET {path} HTTP/1.0\r\n\r\n")), Some(400), "{path} of 1.0");
        let twice = format!("GET {path} HTTP/1.1\r\nHost: {at}\r\nHost: {at}\r\n\r\n");
        assert_eq!(refused(twice), Some(400), "{path} with two");
        let long = format!("GET {path}?{} HTTP/1.1\r\nHost: {at}\r\n\r\n", "x".repeat(1 << 20));
        assert!(matches!(refused(long), None | Some(414 | 431)), "{path} is long");
        for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "CONNECT", "TRACE", "X"] {
            let headers = [("Origin", format!("http://{at}")), ("Content-Length", "0".to_owned())];
            let headers: Vec<_> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
            let reply = host.ask(method, &path, &headers);
            // To the session store a program may write, with a token.
            let may =
                path.starts_with("/session-store/entries") && ["POST", "DELETE"].contains(&method);
            let refused =
                if may { reply.status == 401 } else { [400, 405].contains(&reply.status) };
            assert!(refused, "{method} {path}: {}", reply.status);
            assert!(!reply.head.to_lowercase().contains("access-control"), "{}", reply.head);
        }
        let reply = host.ask("GET", &path, &[("Last-Event-ID", "\u{e9}-99999999999999999999")]);
        assert!([200, 400, 401].contains(&reply.status), "{path}: {}", reply.status);
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("x-frame-options", "DENY"),
        ] {
            assert_eq!(reply.header(name), Some(value), "{path}");
        }
        let policy = reply.header("content-security-policy").unwrap();
        assert!(
            policy.starts_with("default-src 'none';") && !policy.contains("unsafe"),
            "{policy}"
        );
        assert!(!reply.head.to_lowercase().contains("access-control"), "{path}");
    }
    // A head is good to the byte: as long as that is answered, one more is refused, like anything else.
    let of_length = |length: usize| {
        let head = format!("GET /healthz HTTP/1.1\r\nHost: {at}\r\nCookie: \r\n\r\n");
        head.replace("Cookie: ", &format!("Cookie: {}", "x".repeat(length - head.len())))
    };
    assert_eq!(host.send(of_length(16_384).as_bytes()).unwrap().status, 200);
    for length in [16_385, 30_000] {
        let reply = host.send(of_length(length).as_bytes()).unwrap();
        assert_eq!((reply.status, reply.json()["status"].as_u64()), (431, Some(431)));
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
    }
    // What cannot be read as a request at all is told nothing but that.
    for garbage in ["\u{16}\u{3}\u{1}\u{2}\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/9\r\n\r\n"] {
        let reply = host.send(garbage.as_bytes()).unwrap();
        assert_eq!((reply.status, reply.body.len()), (400, 0), "{garbage:?}");
    }
    host.is_well();
}

#[test]
fn what_is_wrong_is_told_to_people_in_a_page_and_to_programs_in_json() {
    let host = with(&[("RRD_HTTP_LOOPBACK", "token")]);
    let page = format!("/s/mac/claude-code/{ID}");
    let token = format!("Bearer {}", host.word(&["token"]));
    let let_in = ("Authorization", token.as_str());
    let wrong_code = "/pair?code=rrd_code_AAAAAAAAAAAAAAAAAAAAAA";
    let browser = ("Accept", "text/html,*/*;q=0.8");
    let wrong_limit = format!("{page}?limit=x");
    let not_paired = "This browser is not paired";
    for (status, path, headers, heading, says) in [
        (401, "/", vec![], not_paired, "needs a cookie or a token"),
        (401, &page, vec![], not_paired, "<code>rrd pair</code>"),
        (403, wrong_code, vec![], not_paired, "This code does not count"),
        (403, "/", vec![("Origin", "null")], "Not from there", "Another site asks"),
        (421, "/", vec![("Host", "evil.example")], "Another name", "hosts under [http]"),
        (400, &wrong_limit, vec![let_in], "That cannot be answered", "Limit is a number"),
        (404, "/s/mac/codex/x", vec![let_in], "Nothing here", "All sessions"),
        (404, "/session", vec![browser], "Nothing here", "All sessions"),
    ] {
        let reply = host.ask("GET", path, &headers);
        let text = reply.text();
        assert_eq!(reply.status, status, "{path} {headers:?}");
        assert_eq!(reply.header("content-type"), Some("text/html; charset=utf-8"), "{path}");
        assert!(text.contains(&format!("<h1>{heading}</h1>")) && text.contains(says), "{text}");
        assert_eq!(text.contains(not_paired), heading == not_paired, "{text}");
    }
    // Who guesses is told how long to wait, and not that pairing would help.
    for _ in 0..20 {
        host.get(wrong_code);
    }
    let waits = host.get(wrong_code);
    assert_eq!(waits.status, 429);
    assert!(waits.header("retry-after").unwrap().parse::<u32>().unwrap() <= 60);
    assert!(waits.text().contains("Wait a moment") && !waits.text().contains(not_paired));
    assert!(host.word(&["status"]).contains("wrong codes were tried"));
    for (status, path, headers) in [
        (401, "/sessions", vec![browser]),
        (421, "/sessions", vec![browser, ("Host", "evil.example")]),
        (404, "/session", vec![]),
    ] {
        let reply = host.ask("GET", path, &headers);
        let kind = reply.header("content-type");
        assert_eq!((reply.status, kind), (status, Some("application/problem+json")), "{path}");
    }
}

#[test]
fn status_says_where_the_page_is_and_why_there() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let says_taken = format!("port {port} is taken");
    for (listen, more) in [
        (format!("127.0.0.1:{port}"), "[http] listen names this address only"),
        // It may have a Tailscale address, or not: what is said of that is said beside it.
        (format!("auto:{port}"), ""),
    ] {
        let host = with(&[("RRD_HTTP", &listen)]);
        host.run(&["fleet", "init"]);
        host.run(&["pair"]);
        let status = host.word(&["status"]);
        assert!(status.contains(&says_taken) && status.contains(more), "{status}");
    }
    let host = with(&[("RRD_HTTP", "0.0.0.0:0"), ("RRD_HTTP_PAIRING", "required")]);
    let status = host.word(&["status"]);
    assert!(status.contains("names every address") && !status.contains("only"), "{status}");
}

#[test]
fn no_address_leads_anywhere_else() {
    let host = usual();
    let secret = host.path("rrd/identity.key");
    let token = format!("Bearer {}", host.word(&["token"]));
    for path in [
        "/sessions/mac/claude-code/..%2f..%2f..%2f..%2fetc%2fpasswd",
        "/sessions/mac/claude-code/..%2f..%2frrd%2fidentity.key/events",
        "/sessions/mac/claude-code/%2e%2e/events",
        "/sessions/mac/claude-code/%00",
        "/sessions/mac/claude-code/%ff%fe",
        "/sessions/mac/claude-code/C:%5cwindows",
        "/sessions/mac/claude-code/CON",
        "/sessions/..%5c../x/y",
        "/sessions/mac/claude-code/%e2%80%ae",
        "/s/..%2f/..%2f/..%2f",
        "/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/style.css/../../../etc/passwd",
        "//etc/passwd",
        "/sessions/mac/claude-code/a'%20OR%201=1--/events",
    ] {
        let reply = host.ask("GET", path, &[("Authorization", &token)]);
        assert!([400, 404].contains(&reply.status), "{path}: {}", reply.status);
        assert!(!reply.text().contains("root:"), "{path}");
        if let Ok(key) = fs::read(&secret) {
            assert!(!reply.body.windows(key.len()).any(|part| part == key), "{path}");
        }
    }
    let long = format!("/sessions/mac/claude-code/{}", "a".repeat(4_096));
    assert_eq!(host.get(&long).status, 404);
    for query in
        ["all=2", "status=busy", "since=never", "x=1", "all=1&all=1", "%ff=%fe", "=", "all"]
    {
        assert_eq!(host.get(&format!("/sessions?{query}")).status, 400, "{query}");
    }
    let one = format!("/sessions/mac/claude-code/{ID}");
    let takes_none = ["/hosts", "/graph", "/events", "/metrics", "/healthz", "/openapi.json", &one];
    for path in takes_none {
        let reply = host.get(&format!("{path}?x"));
        let detail = reply.json()["detail"].to_string();
        assert!(reply.status == 400 && detail.contains("parameter"), "{path}: {detail}");
    }
    host.is_well();
}

#[test]
fn nobody_who_only_holds_on_keeps_others_out() {
    let host = usual();
    // As many as this process may hold and the daemon may not: those that say nothing, and those that
    // say it a byte at a time.
    let mut held: Vec<TcpStream> = Vec::new();
    for number in 0..900 {
        let Ok(mut stream) = TcpStream::connect(host.page()) else { break };
        if number % 2 == 0 {
            let _ = stream.write_all(b"GET /sessions HTTP/1.1\r\nHost: ");
        }
        held.push(stream);
    }
    assert!(held.len() > 400, "{}", held.len());
    host.is_well();
    assert_eq!(host.get("/sessions").status, 200);
    drop(held);
    // One that goes in the middle of its answer.
    for _ in 0..50 {
        let mut stream = host.connect();
        let at = host.page();
        write!(stream, "GET /sessions?all=1 HTTP/1.1\r\nHost: {at}\r\n\r\n").unwrap();
        stream.shutdown(Shutdown::Both).unwrap();
    }
    host.is_well();
}

#[test]
fn wider_than_the_tailnet_only_for_who_was_let_in() {
    let mut host = usual();
    host.kill();
    host.set("RRD_HTTP", "0.0.0.0:0");
    let out = host.rrd(&["daemon"]).output().unwrap();
    let err = String::from_utf8_lossy(&out.stderr);
    assert!(!out.status.success() && err.contains("pairing"), "{err}");
    host.set("RRD_HTTP_PAIRING", "required");
    host.start();
    for path in routes() {
        let open = [
            "/pair",
            "/style.css",
            "/graph.css",
            "/app.js",
            "/icon.svg",
            "/icon-180.png",
            "/manifest.webmanifest",
        ];
        let wanted = match path.as_str() {
            "/healthz" => 200,
            "/pair" => 400,
            path if open.contains(&path) => 200,
            _ => 401,
        };
        assert_eq!(host.get(&path).status, wanted, "{path}");
    }
    let refused = host.get("/");
    assert!(refused.text().contains("rrd pair") && !refused.text().contains("Do it"));
    // Off is off.
    host.kill();
    host.set("RRD_HTTP", "off");
    host.start();
    assert!(!host.said.contains("http"), "{}", host.said);
    assert!(host.word(&["status"]).contains("no page for browsers"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1, ..ProptestConfig::default() })]

    /// Many in one: a daemon takes longer to start than to answer.
    #[test]
    fn no_request_breaks_it(
        lines in proptest::collection::vec(
            prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..200),
                "(GET|HEAD|PO|) ?/[ -~]{0,60}( HTTP/[0-9.]{0,3})?(\r\n[ -~]{0,40}: ?[ -~]{0,60}){0,4}(\r\n\r\n)?"
                    .prop_map(String::into_bytes),
                "/(sessions|s|events|pair)[/?&=%a-f0-9.]{0,40}".prop_map(|path| {
                    format!("GET {path} HTTP/1.1\r\nHost: HOST\r\n\r\n").into_bytes()
                }),
            ],
            300,
        )
    ) {
        let host = usual();
        let at = host.page().to_string();
        for line in lines {
            let bytes = String::from_utf8(line.clone()).map_or(line, |text| text.replace("HOST", &at).into_bytes());
            let mut stream = host.connect();
            let _ = stream.write_all(&bytes);
            let _ = stream.shutdown(Shutdown::Write);
            let mut head = [0; 64];
            if let Ok(read) = stream.read(&mut head) {
                let text = String::from_utf8_lossy(&head[..read]);
                prop_assert!(read == 0 || text.starts_with("HTTP/1."), "{}", text);
                prop_assert!(!text.contains(" 500 "), "{}", text);
            }
        }
        host.is_well();
    }
}
