//! Several daemons on this machine, each with a home of its own, that list each other's sessions: killed,
//! started again, strangers.
#![cfg(unix)]
#![allow(clippy::unwrap_used)] // the lint's exception for tests does not reach plain functions here

mod host;

use std::{
    fs,
    io::{BufRead, BufReader},
    process::Stdio,
    time::{Duration, Instant},
};

use host::{Host, NEVER, session};
use rrd_proto::{HostState, Session, Status};

/// At work on one thing, with its daemon running.
fn at_work(name: &str) -> Host {
    let mut host = Host::new(name);
    host.hears(&format!("Work on {name}"));
    host.start();
    host
}

impl Host {
    /// Its one session takes a prompt.
    fn hears(&self, text: &str) {
        self.says(&session(self.name().len()), text);
    }

    /// It has an address of this network in place of another.
    fn moves(&mut self, from: &str, to: &str) {
        self.set("RRD_LISTEN", self.listen().replace(from, to));
    }

    /// Each host that has a row, with a sign where that is away.
    fn shows(&self) -> Vec<String> {
        let away = |row: &Session| if row.host_state == HostState::Away { " (away)" } else { "" };
        let row = |row: &Session| format!("{}{}", row.host, away(row));
        let mut hosts: Vec<String> = self.sessions().iter().map(row).collect();
        hosts.sort();
        hosts
    }

    fn comes_to_show(&self, what: &str, hosts: &[&str]) {
        self.until(what, || match self.shows() == hosts {
            true => Ok(()),
            false => Err(format!("{:#?}", self.sessions())),
        });
    }
}

#[test]
fn any_host_lists_every_host_and_goes_on_without_them() {
    let mut a = at_work("a").founds();
    let mut b = a.takes_in(at_work("bb"));
    let mut c = b.takes_in(at_work("ccc"));
    for host in [&a, &b, &c] {
        host.comes_to_show("all", &["a", "bb", "ccc"]);
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
    a.comes_to_show("one away", &["a", "bb (away)", "ccc"]);
    c.comes_to_show("one away", &["a", "bb (away)", "ccc"]);
    let host = a.hosts().into_iter().find(|host| host.host == "bb").unwrap();
    assert!(host.state == HostState::Away && host.since.is_some(), "{host:?}");
    // Stopped, it says so.
    c.stop();
    a.comes_to_show("two away", &["a", "bb (away)", "ccc (away)"]);
    assert!(a.run(&["sessions", "list"]).contains("bb  "));
    a.stop();
    a.start();
    a.comes_to_show("after its own restart", &["a", "bb (away)", "ccc (away)"]);

    b.hears("More work");
    b.start();
    c.start();
    for host in [&a, &b, &c] {
        host.comes_to_show("all again, each once", &["a", "bb", "ccc"]);
        let refused = host.hosts().into_iter().find(|row| row.dropped.contains_key("bad_gossip"));
        assert!(refused.is_none(), "what honest members say is taken: {refused:?}");
    }
}

#[test]
fn events_of_another_host_are_followed_as_they_happen() {
    let mut a = at_work("a").founds();
    let b = a.takes_in(at_work("bb"));
    b.comes_to_show("both", &["a", "bb"]);
    let of_a = b.sessions().into_iter().find(|row| row.host == "a").unwrap().reference;
    let follow = ["sessions", "tail", &of_a, "-f", "--json"];
    let mut tail = b.rrd(&follow).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut told = BufReader::new(tail.stdout.take().unwrap()).lines();
    let mut said = BufReader::new(tail.stderr.take().unwrap()).lines();
    let mut next = || {
        let mut told = told.by_ref().map(Result::unwrap);
        told.find(|line| !line.contains("\"type\":\"status\"")).unwrap()
    };
    assert!(next().contains("Work on a"));
    a.hears("And more");
    assert!(next().contains("And more"));
    // What happens while its daemon is away is told when that is back.
    a.kill();
    a.hears("Unseen");
    let remark = said.next().unwrap().unwrap();
    assert!(remark.contains("waiting for it"), "{remark}");
    a.start();
    assert!(next().contains("Unseen"));
    tail.kill().unwrap();
    tail.wait().unwrap();
}

#[test]
fn all_sessions_of_all_hosts_are_listed_and_who_does_not_answer_is_named() {
    let mut a = at_work("a").founds();
    // Over before anybody heard of it.
    a.says_ago("an-old-one", "Long ago", 2_000_000_000);
    let mut b = a.takes_in(at_work("bb"));
    let c = a.takes_in(at_work("ccc"));
    for host in [&b, &c] {
        host.comes_to_show("all", &["a", "bb", "ccc"]);
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
    // Each is asked for two seconds: on a busy machine the last one may be named once.
    let begun = Instant::now();
    let rows = loop {
        let (rows, said) = all(&b, &[]);
        if said.is_empty() {
            break rows;
        }
        assert!(said.contains("did not answer") && begun.elapsed() < NEVER, "{said}");
    };
    assert!(rows.len() == 4 && rows.contains(&"a/an-old-one".to_owned()), "{rows:?}");
    // It is found by its name, too, wherever one asks.
    let shown = c.run(&["sessions", "show", "an-old", "--json"]);
    assert_eq!(serde_json::from_str::<Session>(&shown).unwrap().host, "a");
    assert_eq!(all(&b, &["--host", "bb"]).0.len(), 1);

    // Stopped in its tracks, it is named; what it told before is shown.
    let begun = Instant::now();
    a.signal("-STOP");
    let kept = |host: &Host| {
        let (rows, said) = all(host, &[]);
        assert!(said.contains("a did not answer") || said.contains("a is away"), "{said}");
        rows
    };
    while kept(&b).len() != 4 {
        // Newest rows come some seconds after the host.
        assert!(begun.elapsed() < NEVER, "{:?}", kept(&b));
        a.signal("-CONT");
        std::thread::sleep(Duration::from_secs(1));
        a.signal("-STOP");
    }
    a.kill();
    b.comes_to_show("away", &["a (away)", "bb", "ccc"]);
    assert_eq!(kept(&b).len(), 4);
    b.stop();
    b.start();
    assert_eq!(kept(&b).len(), 4, "also after its own restart");
}

#[test]
fn whoever_joins_or_returns_hears_the_last_words_of_those_who_are_away() {
    let mut a = at_work("a").founds();
    let mut b = a.takes_in(at_work("bb"));
    let mut c = a.takes_in(at_work("ccc"));
    for host in [&a, &b, &c] {
        host.comes_to_show("all", &["a", "bb", "ccc"]);
    }
    // While one is away, another one speaks for the last time.
    c.kill();
    b.hears("Last words");
    a.comes_to_show("one away", &["a", "bb", "ccc (away)"]);
    b.kill();
    a.comes_to_show("two away", &["a", "bb (away)", "ccc (away)"]);
    // Nobody's gossip has it now but what is kept.
    a.stop();
    a.start();
    let d = a.takes_in(at_work("dddd"));
    d.comes_to_show("a joiner", &["a", "bb (away)", "ccc (away)", "dddd"]);
    c.start();
    c.comes_to_show("a returner", &["a", "bb (away)", "ccc", "dddd"]);
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
    let a = at_work("a").founds();
    let mut b = a.takes_in(at_work("bb"));
    b.comes_to_show("both", &["a", "bb"]);
    b.stop();
    // An address of documentation, which no interface has.
    b.moves("127.0.0.1", "192.0.2.1");
    b.start();
    assert_eq!(b.shows(), ["a (away)", "bb"], "at once");
    let status = b.run(&["status"]);
    assert!(status.contains("does not listen"), "{status}");
    b.stop();
    b.moves("192.0.2.1", "127.0.0.1");
    b.start();
    b.comes_to_show("its address is up", &["a", "bb"]);
}

#[test]
fn what_happened_while_a_daemon_was_down_is_told_when_it_is_back() {
    let mut a = at_work("a").founds();
    let b = a.takes_in(at_work("bb"));
    b.comes_to_show("both", &["a", "bb"]);
    a.kill();
    b.comes_to_show("away", &["a (away)", "bb"]);
    fs::remove_dir_all(a.path(".claude/projects")).unwrap();
    a.start();
    b.comes_to_show("its session is no more", &["bb"]);
    let row = b.hosts().into_iter().find(|host| host.host == "a").unwrap();
    assert_eq!(row.state, HostState::Live);
    assert!(b.sessions().iter().all(|row| row.status == Status::Executing));
}

#[test]
fn a_host_of_another_fleet_learns_and_changes_nothing() {
    let a = at_work("a").founds();
    let b = a.takes_in(at_work("bb"));
    let stranger = at_work("stranger").founds();
    b.comes_to_show("both", &["a", "bb"]);
    assert_eq!(stranger.shows(), ["stranger"]);
    assert_eq!(stranger.hosts().len(), 1);
    assert_eq!(a.shows(), ["a", "bb"]);
}
