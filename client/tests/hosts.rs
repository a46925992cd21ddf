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
        let mut host = Self { home, name, port: free.port(), daemon: None };
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
            .env("RRD_NAME", self.name)
            .env("RRD_LISTEN", format!("127.0.0.1:{}", self.port))
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
    // Its events are where it is.
    let row = a.run(&["sessions", "show", &of_c.reference]);
    let there = format!("ssh ccc rrd sessions tail {}", of_c.reference);
    assert!(row.contains("its events are on ccc") && row.contains(&there), "{row}");
    let out = a.rrd(&["sessions", "tail", &of_c.reference]).output().unwrap();
    assert!(!out.status.success() && String::from_utf8_lossy(&out.stderr).contains(&there));
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
    }
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
