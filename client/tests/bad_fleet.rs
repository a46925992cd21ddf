//! What goes wrong between hosts: copied disks, backups, addresses that are no more, members of other
//! releases, far too much of everything. Each daemon has a home of its own, and each goes on listing.
#![cfg(unix)]
#![allow(clippy::unwrap_used)] // the lint's exception for tests does not reach plain functions here

mod host;

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    path::{Path, PathBuf},
};

use host::{Host, free_port, session};
use rrd_proto::MemberState;
#[cfg(target_os = "linux")]
use serde_json::json;

/// With something to list, and nothing running yet.
fn host(name: &str) -> Host {
    let host = Host::new(name);
    host.works_on_its_own(&format!("Work on {name}"));
    host
}

fn at_work(name: &str) -> Host {
    let mut host = host(name);
    host.start();
    host
}

impl Host {
    fn works_on_its_own(&self, what: &str) {
        self.works_on(&session(self.name().len()), what);
    }

    fn states(&self) -> PathBuf {
        self.path("rrd/state")
    }

    fn keep(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.state("keep.db")).unwrap()
    }

    /// What it prints and remarks.
    fn tells(&self, args: &[&str]) -> String {
        let (said, remarked) = self.told(args);
        said + &remarked
    }

    /// It listens at another port from its next start on.
    fn moves(&mut self) {
        self.set("RRD_LISTEN", format!("127.0.0.1:{}", free_port()));
    }

    fn comes_to_say(&self, args: &[&str], text: &str) -> String {
        self.until(text, || {
            Some(self.tells(args)).filter(|said| said.contains(text)).ok_or(self.tells(args))
        })
    }

    /// Who is a member, as this host knows it.
    fn members(&self) -> Vec<String> {
        let here = self.fleet().members.into_iter().filter(|m| m.state != MemberState::Dropped);
        here.map(|member| member.host).collect()
    }

    fn waits_for_members(&self, members: &[&str]) {
        self.until(&format!("members {members:?}"), || {
            let are = self.members();
            if are == members { Ok(()) } else { Err(format!("{are:?}")) }
        });
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name())).unwrap();
        match path.is_dir() {
            true => copy(&path, &to.join(name)),
            // A socket is nothing to copy.
            false if path.is_file() => drop(fs::copy(&path, to.join(name)).unwrap()),
            false => {}
        }
    }
}

#[test]
fn a_host_that_is_forgotten_is_gone_everywhere_until_it_says_something_new() {
    let mut a = at_work("a").founds();
    let mut b = a.takes_in(at_work("bb"));
    let mut c = b.takes_in(at_work("ccc"));
    let all = ["a: Work on a", "bb: Work on bb", "ccc: Work on ccc"];
    for host in [&a, &b, &c] {
        host.comes_to_list(&all);
    }
    let said = a.refuses(&["hosts", "forget", "ccc"]);
    assert!(said.contains("ccc is live") && said.contains("rotate --drop ccc"), "{said}");
    assert!(a.refuses(&["hosts", "forget", "a"]).contains("cannot forget itself"));
    let said = a.refuses(&["hosts", "forget", "nobody"]);
    assert!(said.contains("no host is called") && said.contains("hosts: bb, ccc"), "{said}");
    b.kill();
    let away = ["a: Work on a", "bb: Work on bb (away)", "ccc: Work on ccc"];
    a.comes_to_list(&away);
    c.comes_to_list(&away);
    let said = a.tells(&["hosts", "forget", "bb"]);
    assert!(said.contains("what bb said so far is not shown any more"), "{said}");
    let without = ["a: Work on a", "ccc: Work on ccc"];
    assert_eq!(a.lists(), without);
    c.comes_to_list(&without);
    for host in [&a, &c] {
        assert_eq!(host.hosts().len(), 2);
        assert_eq!(host.members(), ["a", "bb", "ccc"], "it may come back");
    }
    a.kill();
    a.start();
    a.comes_to_list(&without);
    b.start();
    for host in [&a, &b, &c] {
        host.comes_to_list(&all);
    }
    // One that only slept, and goes on as if nothing had been.
    b.signal("-STOP");
    a.comes_to_list(&away);
    a.tells(&["hosts", "forget", "bb"]);
    c.comes_to_list(&without);
    b.signal("-CONT");
    for host in [&a, &b, &c] {
        host.comes_to_list(&all);
    }
    // One that has another name now, and was dropped then.
    let former = c.fleet().node_id.to_string();
    c.tells(&["fleet", "leave"]);
    c.joins(&a);
    b.comes_to_list(&all);
    let said = a.refuses(&["hosts", "forget", "ccc"]);
    for line in ["more than one host may be meant", &format!("ccc {former} (dropped)"), "(live)"] {
        assert!(said.contains(line), "{line}: {said}");
    }
    a.tells(&["hosts", "forget", &former[..6]]);
    assert_eq!(a.fleet().members.len(), 3);
    c.kill();
    a.tells(&["fleet", "rotate", "--drop", "ccc"]);
    b.waits_for_members(&["a", "bb"]);
    a.comes_to_list(&all[..2]);
    a.tells(&["hosts", "forget", "ccc"]);
    b.until("no word of it", || {
        let left: Vec<_> = b.fleet().members.into_iter().map(|m| m.host).collect();
        if left == ["a", "bb"] { Ok(()) } else { Err(format!("{left:?}")) }
    });
    b.comes_to_list(&all[..2]);
}

#[test]
fn a_copied_identity_is_told_on_both_and_one_of_them_takes_another() {
    let a = at_work("a").founds();
    let mut b = a.takes_in(at_work("bb"));
    a.comes_to_list(&["a: Work on a", "bb: Work on bb"]);
    b.kill();
    let mut clone = host("clone");
    copy(&b.states(), &clone.states());
    b.start();
    clone.start();
    for host in [&b, &clone] {
        let said =
            host.comes_to_say(&["status"], "another host runs under the identity of this one");
        assert!(said.contains("on one of the two: rrd fleet leave, then rrd fleet join"), "{said}");
        assert!(host.tells(&["hosts"]).contains("this host, runs twice"));
        let said = host.tells(&["sessions", "list"]);
        assert!(said.contains("runs twice, under one identity"), "{said}");
        assert!(host.lists().iter().any(|row| row.ends_with(&format!("Work on {}", host.name()))));
    }
    // Its fellow members tell it, too.
    let said = a.comes_to_say(&["hosts"], "runs twice");
    assert!(said.contains("two hosts run under one identity"), "{said}");
    assert!(a.tells(&["status"]).contains("two hosts run as"));
    let twins = a.hosts();
    assert!(twins.iter().any(|host| host.duplicated) && twins.len() == 2, "{twins:?}");
    // The one that takes another name takes nothing from the other.
    clone.tells(&["fleet", "leave"]);
    clone.joins(&a);
    let all = ["a: Work on a", "bb: Work on bb", "clone: Work on clone"];
    for host in [&a, &b, &clone] {
        host.comes_to_list(&all);
    }
    assert!(!clone.tells(&["status"]).contains("another host runs"));
    assert_eq!(a.members(), ["a", "bb", "clone"]);
}

#[test]
fn a_node_whose_files_were_put_back_is_heard_again() {
    let a = at_work("a").founds();
    let mut b = a.takes_in(at_work("bb"));
    a.comes_to_list(&["a: Work on a", "bb: Work on bb"]);
    b.kill();
    let backup = tempfile::tempdir().unwrap();
    copy(&b.states(), backup.path());
    // Its clock was far ahead for a while.
    let ahead = "UPDATE facts SET value = value + 315360000000 WHERE name = 'generation'";
    assert_eq!(b.keep().execute(ahead, []).unwrap(), 1);
    b.works_on_its_own("Ahead of its time");
    b.start();
    a.comes_to_list(&["a: Work on a", "bb: Ahead of its time"]);
    b.kill();
    fs::remove_dir_all(b.states()).unwrap();
    copy(backup.path(), &b.states());
    b.works_on_its_own("Back again");
    b.start();
    a.comes_to_list(&["a: Work on a", "bb: Back again"]);
    b.comes_to_list(&["a: Work on a", "bb: Back again"]);
    for host in [&a, &b] {
        assert!(!host.tells(&["status"]).contains("runs under"), "it is alone");
    }
}

#[test]
fn members_find_each_other_where_nobody_said_they_were() {
    let mut a = at_work("a").founds();
    let mut b = a.takes_in(at_work("bb"));
    let both = ["a: Work on a", "bb: Work on bb"];
    a.comes_to_list(&both);
    b.comes_to_list(&both);
    // One moves while the other is away: it tells the other where it is.
    b.kill();
    a.kill();
    a.moves();
    a.start();
    b.start();
    a.comes_to_list(&both);
    b.comes_to_list(&both);
    // Both move: neither knows where the other is, but for the place in the settings of one, which is not
    // up yet.
    a.kill();
    b.kill();
    a.moves();
    b.moves();
    let port = a.listen().split_once(':').unwrap().1.to_owned();
    let nobody = free_port();
    let seeds = format!(
        "[fleet]\nseeds = [\"no-such-name.invalid\", \"127.0.0.1:{nobody}\", \"localhost:{port}\"]\n"
    );
    fs::write(b.path("rrd/config.toml"), seeds).unwrap();
    b.start();
    b.until("it misses the other", || {
        let status = b.fleet();
        let trouble = status.members.iter().find_map(|member| member.trouble.clone());
        trouble.filter(|trouble| trouble.contains("nobody answers")).ok_or(format!("{status:?}"))
    });
    assert!(b.lists().contains(&both[1].to_owned()));
    a.start();
    a.comes_to_list(&both);
    b.comes_to_list(&both);
    let said = b.tells(&["config"]);
    assert!(said.contains("fleet.seeds") && said.contains(&format!("localhost:{port}")), "{said}");
    // A key made meanwhile is had through that place, too.
    b.kill();
    a.tells(&["fleet", "rotate"]);
    a.kill();
    a.moves();
    b.moves();
    b.set("RRD_SEEDS", a.listen());
    a.start();
    b.start();
    b.comes_to_list(&both);
    assert_eq!(a.fleet().key_id, b.fleet().key_id);
}

/// A `tailscale` that knows these hosts, on a path of its own.
#[cfg(target_os = "linux")]
fn tailscale(host: &mut Host, script: &str) {
    use std::os::unix::fs::PermissionsExt;
    let bin = host.path("bin");
    fs::create_dir_all(&bin).unwrap();
    let program = bin.join("tailscale");
    fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    host.set("PATH", bin.display().to_string());
}

// Only there 127.0.0.2 is an address without more ado.
#[cfg(target_os = "linux")]
#[test]
fn tailscale_tells_where_a_host_is_now() {
    let says = |own: &str, other: &str, ip: &str| {
        let status = json!({
            "Self": {"ID": own, "TailscaleIPs": ["100.64.0.1"]},
            "Peer": {"nodekey:1": {"ID": other, "TailscaleIPs": [ip, 7, "x", "224.0.0.1"]}, "nodekey:2": 7},
        });
        format!("[ \"$1\" = status ] && echo '{status}'")
    };
    let mut a = host("a");
    let mut b = host("bb");
    tailscale(&mut a, &says("n-a", "n-b", "127.0.0.3"));
    tailscale(&mut b, &says("n-b", "n-a", "127.0.0.2"));
    let ports = [&a, &b].map(|host| host.listen().split_once(':').unwrap().1.to_owned());
    for (host, port) in [&mut a, &mut b].into_iter().zip(&ports) {
        host.set("RRD_LISTEN", format!("auto:{port}"));
        host.start();
    }
    a.tells(&["fleet", "init"]);
    b.joins(&a);
    let both = ["a: Work on a", "bb: Work on bb"];
    a.comes_to_list(&both);
    b.comes_to_list(&both);
    a.kill();
    b.kill();
    a.set("RRD_LISTEN", format!("127.0.0.2:{}", ports[0]));
    b.set("RRD_LISTEN", format!("127.0.0.3:{}", ports[1]));
    a.start();
    b.start();
    b.comes_to_list(&both);
    a.comes_to_list(&both);
}

#[cfg(target_os = "linux")]
#[test]
fn a_tailscale_that_hangs_or_never_stops_speaking_holds_nothing_up() {
    for script in
        ["exec /bin/sleep 1000", "while :; do echo '{\"Peer\":'; done", "exit 3", "echo '\\377'"]
    {
        let mut host = host("a");
        tailscale(&mut host, script);
        host.set("RRD_LISTEN", format!("auto:{}", free_port()));
        host.start();
        assert_eq!(host.lists(), ["a: Work on a"]);
        host.tells(&["fleet", "init"]);
        let status = host.until("a socket", || {
            let status = host.fleet();
            if status.listen.is_some() { Ok(status) } else { Err(format!("{status:?}")) }
        });
        assert!(status.listen_note.unwrap().contains("no Tailscale address"));
        let pid = host.daemon.as_ref().unwrap().id();
        let memory = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let peak = memory.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        let peak: u64 = peak.split_whitespace().next().unwrap().parse().unwrap();
        assert!(peak < 200_000, "{script}: {peak} KB");
    }
}

#[test]
fn a_member_of_another_version_is_told_from_others_and_which_to_update() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap();
    let answers = std::thread::spawn(move || {
        // Far newer, far older, and newer in what it says.
        for first in [
            &b"RRDP\0\x09\0\x09\0\0\0\0\0\0\0\0"[..],
            b"RRDP\0\0\0\0\x01\x01\0\0\0\0\0\0",
            b"RRDP\0\x02\0\x01\x01\x63\0\0\0\0\0\0",
        ] {
            let (mut stream, _) = other.accept().unwrap();
            let mut heard = [0; 16];
            stream.read_exact(&mut heard).unwrap();
            stream.write_all(first).unwrap();
        }
    });
    let host = at_work("a");
    let word = format!("{address}/000102ff.BwcHBwcHBwcHBwcHBwcHBw");
    for (which, update) in [
        ("newer", "update rrd on this host"),
        ("older", "update rrd on that host"),
        ("newer", "update rrd on this host"),
    ] {
        let said = host.refuses(&["fleet", "join", &word]);
        assert!(
            said.contains(&format!("is {which} than this one")) && said.contains(update),
            "{said}"
        );
        assert_eq!(host.lists(), ["a: Work on a"]);
    }
    answers.join().unwrap();
}

#[test]
fn a_port_that_is_taken_and_an_address_that_is_not_there_are_told() {
    let mut a = host("a");
    let _taken = TcpListener::bind(a.listen()).unwrap();
    a.start();
    a.tells(&["fleet", "init"]);
    let said = a.comes_to_say(&["fleet", "status"], "is taken");
    assert!(said.contains("others reach it at 127.0.0.1"), "{said}");
    let mut b = a.takes_in(at_work("bb"));
    a.comes_to_list(&["a: Work on a", "bb: Work on bb"]);
    // Of a network (RFC 5737) that nobody has: an interface that is not up yet looks like this.
    b.kill();
    let there = b.listen().to_owned();
    b.set("RRD_LISTEN", format!("192.0.2.1:{}", free_port()));
    b.start();
    let said = b.comes_to_say(&["status"], "does not listen");
    assert!(said.contains("192.0.2.1"), "{said}");
    b.until("a refusal", || {
        let said = b.rrd(&["fleet", "invite"]).output().unwrap();
        if said.status.success() { Err("an invite".to_owned()) } else { Ok(()) }
    });
    assert!(b.lists().contains(&"bb: Work on bb".to_owned()));
    b.kill();
    b.set("RRD_LISTEN", there);
    b.start();
    for host in [&a, &b] {
        host.comes_to_list(&["a: Work on a", "bb: Work on bb"]);
    }
}

#[test]
fn far_too_much_is_cut_and_the_rest_is_told() {
    let a = at_work("a").founds();
    let b = a.takes_in(at_work("bb"));
    a.comes_to_list(&["a: Work on a", "bb: Work on bb"]);
    b.works_on_its_own(&format!("Long {}", "x".repeat(1 << 20)));
    let cut = a.until("a long title", || {
        let rows = a.lists();
        rows.iter().find(|row| row.starts_with("bb: Long x")).cloned().ok_or(format!("{rows:?}"))
    });
    assert!(cut.len() < 1_000, "{} bytes", cut.len());
    for n in 100..5_100 {
        b.works_on(&session(n), "One of many");
    }
    b.comes_to_say(&["sessions", "list", "--status", "waiting"], "5002 active");
    a.until("what there is room for", || {
        let count = a.sessions().iter().filter(|row| row.host == "bb").count();
        if (190..=200).contains(&count) { Ok(()) } else { Err(format!("{count}")) }
    });
    b.comes_to_say(&["status"], "sessions left out");
    // Nothing of that keeps the next word from anybody.
    a.works_on_its_own("Still here");
    b.until("the other's", || {
        let here = b.lists().contains(&"a: Still here".to_owned());
        if here { Ok(()) } else { Err("not there".to_owned()) }
    });
    assert_eq!(a.hosts().iter().find(|host| host.host == "bb").unwrap().sessions, Some(5_001));
}

#[test]
fn a_dropped_laptop_that_wakes_learns_and_changes_nothing() {
    let a = at_work("a").founds();
    let b = a.takes_in(at_work("bb"));
    let mut lost = a.takes_in(at_work("lost"));
    let all = ["a: Work on a", "bb: Work on bb", "lost: Work on lost"];
    for host in [&a, &b, &lost] {
        host.comes_to_list(&all);
    }
    // In order: so it has kept what it knew.
    lost.stop();
    a.tells(&["fleet", "rotate", "--drop", "lost"]);
    b.waits_for_members(&["a", "bb"]);
    let key = a.fleet().key_id;
    a.works_on_its_own("A secret plan");
    b.comes_to_list(&["a: A secret plan", "bb: Work on bb"]);
    lost.works_on_its_own("Awake");
    lost.start();
    lost.comes_to_list(&["a: Work on a (away)", "bb: Work on bb (away)", "lost: Awake"]);
    let told = |host: &Host| {
        let troubles: Vec<_> = host.fleet().members.into_iter().filter_map(|m| m.trouble).collect();
        let told = !troubles.is_empty() && troubles.iter().all(|t| t.contains("was dropped"));
        if told { Ok(()) } else { Err(format!("{troubles:?}")) }
    };
    lost.until("it is told", || told(&lost));
    // It believes to be a member, and does its worst.
    lost.tells(&["fleet", "rotate", "--drop", "bb"]);
    lost.tells(&["fleet", "rotate"]);
    lost.works_on_its_own("Still at it");
    lost.comes_to_list(&["a: Work on a (away)", "lost: Still at it"]);
    lost.until("it is refused again", || {
        let status = lost.fleet();
        let others = status.members.iter().filter(|member| member.state == MemberState::Member);
        let refused =
            others.clone().count() == 1 && others.into_iter().all(|m| m.trouble.is_some());
        if refused { Ok(()) } else { Err(format!("{status:?}")) }
    });
    for host in [&a, &b] {
        host.waits_for_members(&["a", "bb"]);
        assert_eq!(
            (host.lists(), &host.fleet().key_id),
            (vec!["a: A secret plan".to_owned(), "bb: Work on bb".to_owned()], &key)
        );
    }
}

#[test]
fn whom_a_dropped_laptop_lets_in_where_nobody_has_heard_of_it_is_no_member() {
    let mut a = at_work("a").founds();
    let mut asleep = a.takes_in(at_work("asleep"));
    let lost = a.takes_in(at_work("lost"));
    for host in [&a, &asleep, &lost] {
        host.waits_for_members(&["a", "asleep", "lost"]);
    }
    asleep.kill();
    a.tells(&["fleet", "rotate", "--drop", "lost"]);
    a.kill();
    asleep.start();
    let evil = lost.takes_in(at_work("evil"));
    for host in [&asleep, &evil] {
        host.waits_for_members(&["a", "asleep", "evil", "lost"]);
    }
    a.start();
    for host in [&a, &asleep] {
        host.waits_for_members(&["a", "asleep"]);
        host.comes_to_list(&["a: Work on a", "asleep: Work on asleep"]);
    }
    evil.comes_to_say(&["fleet", "status"], "was dropped");
    assert_ne!(a.fleet().key_id, evil.fleet().key_id);
}
