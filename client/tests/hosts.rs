//! Several daemons on this machine, each with a home of its own, that list each other's sessions: killed,
//! started again, strangers.
#![cfg(unix)]
#![allow(clippy::unwrap_used)] // the lint's exception for tests does not reach plain functions here

use std::{
    fs,
    io::{BufRead, BufReader},
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rrd_proto::{Host as Row, HostState, Session, Status, Timestamp};
use serde_json::json;
use tempfile::TempDir;

/// Long enough that only what never comes fails.
const NEVER: Duration = Duration::from_secs(60);

struct Host {
    home: TempDir,
    name: &'static str,
    /// Where it listens, also after it was started again.
    port: u16,
    ip: &'static str,
    daemon: Option<Child>,
}

impl Drop for Host {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Host {
    /// At work on one thing, with its daemon running.
    fn at_work(name: &'static str) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let home = tempfile::tempdir().unwrap();
        let mut host = Self { home, name, port: free.port(), ip: "127.0.0.1", daemon: None };
        host.says(&format!("Work on {name}"));
        host.start();
        host
    }

    fn founds(name: &'static str) -> Self {
        let host = Self::at_work(name);
        host.run(&["fleet", "init"]);
        host
    }

    fn takes_in(&self, name: &'static str) -> Self {
        let other = Self::at_work(name);
        let line = self.run(&["fleet", "invite"]);
        let words: Vec<&str> = line.split_whitespace().skip(1).collect();
        other.run(&words);
        other
    }

    fn rrd(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rrd"));
        command
            .args(args)
            .env_clear()
            .env("HOME", self.home.path())
            .env("RRD_HOME", self.home.path().join("rrd"))
            .env("RRD_HTTP", "off")
            .env("RRD_NAME", self.name)
            .env("RRD_LISTEN", format!("{}:{}", self.ip, self.port))
            .stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> String {
        let out = self.rrd(args).output().unwrap();
        let err = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{}: {args:?}: {err}\n{}", self.name, self.log());
        String::from_utf8(out.stdout).unwrap()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.home.path().join("log")).unwrap_or_default()
    }

    fn start(&mut self) {
        let log = self.home.path().join("log");
        let log = fs::File::options().append(true).create(true).open(log).unwrap();
        let mut daemon = self.rrd(&["daemon"]).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut said = String::new();
        BufReader::new(daemon.stdout.as_mut().unwrap()).read_line(&mut said).unwrap();
        assert!(said.contains("its socket is"), "{said}{}", self.log());
        self.daemon = Some(daemon);
    }

    fn kill(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }

    /// Ends in order, and says so to the others.
    fn stop(&mut self) {
        let mut daemon = self.daemon.take().unwrap();
        let pid = daemon.id().to_string();
        assert!(Command::new("kill").arg(&pid).status().unwrap().success());
        assert!(daemon.wait().unwrap().success());
    }

    /// Its one session takes a prompt.
    fn says(&self, text: &str) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        let id = format!("{:0>8}-0000-4000-8000-000000000001", self.name.len());
        let record = json!({
            "parentUuid": null, "isSidechain": false, "type": "user", "uuid": format!("u{now}"),
            "message": {"role": "user", "content": text}, "userType": "external", "cwd": "/w",
            "timestamp": Timestamp::from_millis(i64::try_from(now).unwrap()), "entrypoint": "cli",
            "promptSource": "typed", "sessionId": id, "version": "2.1.300", "gitBranch": "main",
        });
        let dir = self.home.path().join(".claude/projects/-w");
        fs::create_dir_all(&dir).unwrap();
        let path = dir.join(format!("{id}.jsonl"));
        let mut whole = fs::read_to_string(&path).unwrap_or_default();
        whole += &format!("{record}\n");
        fs::write(path, whole).unwrap();
    }

    /// A session that ended some weeks ago.
    fn wrote_long_ago(&self, id: &str) {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() - 2_000_000_000;
        let at = Timestamp::from_millis(i64::try_from(at).unwrap());
        let record = json!({
            "parentUuid": null, "isSidechain": false, "type": "user", "uuid": id, "sessionId": id,
            "message": {"role": "user", "content": "Long ago"}, "userType": "external",
            "cwd": "/w", "timestamp": at, "version": "2.1.300", "gitBranch": "main",
        });
        let dir = self.home.path().join(".claude/projects/-w");
        fs::write(dir.join(format!("{id}.jsonl")), format!("{record}\n")).unwrap();
    }

    fn sessions(&self) -> Vec<Session> {
        serde_json::from_str(&self.run(&["sessions", "list", "--json"])).unwrap()
    }

    /// What it lists: each host, with a sign where that is away.
    fn lists(&self) -> Vec<String> {
        let away = |row: &Session| if row.host_state == HostState::Away { " (away)" } else { "" };
        let row = |row: &Session| format!("{}{}", row.host, away(row));
        let mut hosts: Vec<String> = self.sessions().iter().map(row).collect();
        hosts.sort();
        hosts
    }

    fn comes_to_list(&self, what: &str, hosts: &[&str]) {
        let begun = Instant::now();
        while self.lists() != hosts {
            let rows = self.sessions();
            assert!(begun.elapsed() < NEVER, "{}: {what}: {rows:#?}\n{}", self.name, self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn hosts(&self) -> Vec<Row> {
        serde_json::from_str(&self.run(&["hosts", "--json"])).unwrap()
    }
}

#[test]
fn any_host_lists_every_host_and_goes_on_without_them() {
    let mut a = Host::founds("a");
    let mut b = a.takes_in("bb");
    let mut c = b.takes_in("ccc");
    for host in [&a, &b, &c] {
        host.comes_to_list("all", &["a", "bb", "ccc"]);
    }
    // The same session has the same ref on each.
    let refs = |host: &Host| {
        let mut refs: Vec<_> = host.sessions().into_iter().map(|row| row.reference).collect();
        refs.sort();
        refs
    };
    assert_eq!((refs(&a), refs(&b)), (refs(&b), refs(&c)));
    let of_c = c.sessions().into_iter().find(|row| row.host == "ccc").unwrap();
    let shown: Session =
        serde_json::from_str(&a.run(&["sessions", "show", &of_c.reference, "--json"])).unwrap();
    assert_eq!((shown.host.as_str(), shown.title.as_deref()), ("ccc", Some("Work on ccc")));
    // What it did is told by its host.
    let row = a.run(&["sessions", "show", &of_c.reference]);
    assert!(row.contains("the last event") && row.contains("Work on ccc"), "{row}");
    assert_eq!(
        a.run(&["sessions", "tail", &of_c.reference, "--json"]),
        c.run(&["sessions", "tail", &of_c.reference, "--json"])
    );
    assert!(a.run(&["sessions", "list", "--host", "bb"]).contains("Work on bb"));
    assert!(!a.run(&["sessions", "list", "--local"]).contains("Work on bb"));

    // Killed, it is missed; its word stands.
    b.kill();
    a.comes_to_list("one away", &["a", "bb (away)", "ccc"]);
    c.comes_to_list("one away", &["a", "bb (away)", "ccc"]);
    let host = a.hosts().into_iter().find(|host| host.host == "bb").unwrap();
    assert!(host.state == HostState::Away && host.since.is_some(), "{host:?}");
    // Stopped, it says so.
    c.stop();
    a.comes_to_list("two away", &["a", "bb (away)", "ccc (away)"]);
    assert!(a.run(&["sessions", "list"]).contains("bb  "));
    a.stop();
    a.start();
    a.comes_to_list("after its own restart", &["a", "bb (away)", "ccc (away)"]);

    b.says("More work");
    b.start();
    c.start();
    for host in [&a, &b, &c] {
        host.comes_to_list("all again, each once", &["a", "bb", "ccc"]);
        let refused = host.hosts().into_iter().find(|row| row.dropped.contains_key("bad_gossip"));
        assert!(refused.is_none(), "what honest members say is taken: {refused:?}");
    }
}

#[test]
fn events_of_another_host_are_followed_as_they_happen() {
    let mut a = Host::founds("a");
    let b = a.takes_in("bb");
    b.comes_to_list("both", &["a", "bb"]);
    let of_a = b.sessions().into_iter().find(|row| row.host == "a").unwrap().reference;
    let follow = ["sessions", "tail", &of_a, "-f", "--json"];
    let mut tail = b.rrd(&follow).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut told = BufReader::new(tail.stdout.take().unwrap()).lines();
    let mut said = BufReader::new(tail.stderr.take().unwrap()).lines();
    let mut next = || told.next().unwrap().unwrap();
    assert!(next().contains("Work on a"));
    a.says("And more");
    assert!(next().contains("And more"));
    // What happens while its daemon is away is told when that is back.
    a.kill();
    a.says("Unseen");
    let remark = said.next().unwrap().unwrap();
    assert!(remark.contains("waiting for it"), "{remark}");
    a.start();
    assert!(next().contains("Unseen"));
    tail.kill().unwrap();
    tail.wait().unwrap();
}

#[test]
fn all_sessions_of_all_hosts_are_listed_and_who_does_not_answer_is_named() {
    let mut a = Host::founds("a");
    // Over before anybody heard of it.
    a.wrote_long_ago("an-old-one");
    let mut b = a.takes_in("bb");
    let c = a.takes_in("ccc");
    for host in [&b, &c] {
        host.comes_to_list("all", &["a", "bb", "ccc"]);
    }
    let all = |host: &Host, more: &[&str]| {
        let out = host.rrd(&[&["sessions", "list", "--all", "--json"], more].concat());
        let out = { out }.output().unwrap();
        let rows: Vec<Session> = serde_json::from_slice(&out.stdout).unwrap();
        let mut rows: Vec<String> =
            rows.into_iter().map(|row| format!("{}/{}", row.host, row.session_id)).collect();
        rows.sort();
        (rows, String::from_utf8(out.stderr).unwrap())
    };
    let begun = Instant::now();
    while !all(&a, &[]).0.contains(&"a/an-old-one".to_owned()) {
        assert!(begun.elapsed() < NEVER, "{}", a.log());
    }
    let (rows, said) = all(&b, &[]);
    assert_eq!((rows.len(), said.as_str()), (4, ""), "{rows:?}");
    assert!(rows.contains(&"a/an-old-one".to_owned()));
    // It is found by its name, too, wherever one asks.
    let shown = c.run(&["sessions", "show", "an-old", "--json"]);
    assert_eq!(serde_json::from_str::<Session>(&shown).unwrap().host, "a");
    assert_eq!(all(&b, &["--host", "bb"]).0.len(), 1);

    // Stopped in its tracks, it is named; what it told before is shown.
    let begun = Instant::now();
    let stopped = a.daemon.as_ref().unwrap().id().to_string();
    assert!(Command::new("kill").args(["-STOP", &stopped]).status().unwrap().success());
    let kept = |host: &Host| {
        let (rows, said) = all(host, &[]);
        assert!(said.contains("a did not answer") || said.contains("a is away"), "{said}");
        rows
    };
    while kept(&b).len() != 4 {
        // Newest rows come some seconds after the host.
        assert!(begun.elapsed() < NEVER, "{:?}", kept(&b));
        assert!(Command::new("kill").args(["-CONT", &stopped]).status().unwrap().success());
        std::thread::sleep(Duration::from_secs(1));
        assert!(Command::new("kill").args(["-STOP", &stopped]).status().unwrap().success());
    }
    a.kill();
    b.comes_to_list("away", &["a (away)", "bb", "ccc"]);
    assert_eq!(kept(&b).len(), 4);
    b.stop();
    b.start();
    assert_eq!(kept(&b).len(), 4, "also after its own restart");
}

#[test]
fn whoever_joins_or_returns_hears_the_last_words_of_those_who_are_away() {
    let mut a = Host::founds("a");
    let mut b = a.takes_in("bb");
    let mut c = a.takes_in("ccc");
    for host in [&a, &b, &c] {
        host.comes_to_list("all", &["a", "bb", "ccc"]);
    }
    // While one is away, another one speaks for the last time.
    c.kill();
    b.says("Last words");
    a.comes_to_list("one away", &["a", "bb", "ccc (away)"]);
    b.kill();
    a.comes_to_list("two away", &["a", "bb (away)", "ccc (away)"]);
    // Nobody's gossip has it now but what is kept.
    a.stop();
    a.start();
    let d = a.takes_in("dddd");
    d.comes_to_list("a joiner", &["a", "bb (away)", "ccc (away)", "dddd"]);
    c.start();
    c.comes_to_list("a returner", &["a", "bb (away)", "ccc", "dddd"]);
    let seen = |host: &Host| {
        let row = host.sessions().into_iter().find(|row| row.host == "bb").unwrap();
        row.last_activity_at
    };
    let begun = Instant::now();
    while seen(&c) != seen(&a) {
        assert!(begun.elapsed() < NEVER, "{}", c.log());
    }
}

#[test]
fn without_its_address_a_host_lists_what_it_knows() {
    let a = Host::founds("a");
    let mut b = a.takes_in("bb");
    b.comes_to_list("both", &["a", "bb"]);
    b.stop();
    // An address of documentation, which no interface has.
    b.ip = "192.0.2.1";
    b.start();
    assert_eq!(b.lists(), ["a (away)", "bb"], "at once");
    let status = b.run(&["status"]);
    assert!(status.contains("does not listen"), "{status}");
    b.stop();
    b.ip = "127.0.0.1";
    b.start();
    b.comes_to_list("its address is up", &["a", "bb"]);
}

#[test]
fn what_happened_while_a_daemon_was_down_is_told_when_it_is_back() {
    let mut a = Host::founds("a");
    let b = a.takes_in("bb");
    b.comes_to_list("both", &["a", "bb"]);
    a.kill();
    b.comes_to_list("away", &["a (away)", "bb"]);
    fs::remove_dir_all(a.home.path().join(".claude/projects")).unwrap();
    a.start();
    b.comes_to_list("its session is no more", &["bb"]);
    let row = b.hosts().into_iter().find(|host| host.host == "a").unwrap();
    assert_eq!(row.state, HostState::Live);
    assert!(b.sessions().iter().all(|row| row.status == Status::Executing));
}

#[test]
fn a_host_of_another_fleet_learns_and_changes_nothing() {
    let a = Host::founds("a");
    let b = a.takes_in("bb");
    let stranger = Host::founds("stranger");
    b.comes_to_list("both", &["a", "bb"]);
    assert_eq!(stranger.lists(), ["stranger"]);
    assert_eq!(stranger.hosts().len(), 1);
    assert_eq!(a.lists(), ["a", "bb"]);
}
