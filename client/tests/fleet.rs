//! Several daemons on this machine, each with a home of its own, that come to be a fleet by what
//! `rrd fleet` prints, and strangers who do not.
#![cfg(unix)]
#![allow(clippy::unwrap_used)] // the lint's exception for tests does not reach plain functions here

mod host;

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use host::{Host, NEVER, free_port};
use rrd_proto::{FleetStatus, MemberState};

/// Its log tells more than it need.
fn started(name: &str) -> Host {
    let mut host = Host::new(name);
    host.set("RRD_LOG", "debug");
    host.start();
    host
}

impl Host {
    fn invite(&self) -> String {
        let line = self.run(&["fleet", "invite"]);
        line.trim().strip_prefix("rrd fleet join ").unwrap().to_owned()
    }

    fn key(&self) -> Option<String> {
        self.fleet().key_id
    }

    /// Waits until its status is as wanted.
    fn comes_to(&self, what: &str, is: impl Fn(&FleetStatus) -> bool) -> FleetStatus {
        self.until(what, || {
            let status = self.fleet();
            if is(&status) { Ok(status) } else { Err(format!("{status:#?}")) }
        })
    }

    fn waits_for_members(&self, labels: &[&str]) -> FleetStatus {
        self.comes_to(&format!("members {labels:?}"), |status| members(status) == labels)
    }
}

/// The labels of those that are members, once each has said where it is.
fn members(status: &FleetStatus) -> Vec<&str> {
    let here = |m: &&rrd_proto::FleetMember| m.state != MemberState::Dropped;
    let with_address = status.members.iter().filter(here).filter(|m| !m.addresses.is_empty());
    with_address.map(|m| m.host.as_str()).collect()
}

/// What all members must agree on.
fn list(status: &FleetStatus) -> Vec<String> {
    let line = |m: &rrd_proto::FleetMember| format!("{} {} {:?}", m.host, m.node_id, m.addresses);
    status.members.iter().map(line).collect()
}

#[test]
fn hosts_enrolled_by_the_printed_line_have_one_list() {
    let one = started("one").founds();
    let two = one.takes_in(started("two"));
    // Any member lets hosts in.
    let three = two.takes_in(started("three"));
    let lists: Vec<_> = [&one, &two, &three]
        .map(|host| list(&host.waits_for_members(&["one", "three", "two"])))
        .into();
    assert!(lists.iter().all(|list| *list == lists[0]), "{lists:#?}");
    assert_eq!(one.key(), three.key());
    // Key files are their owner's alone; the key stands in no log.
    for host in [&one, &two, &three] {
        use std::os::unix::fs::PermissionsExt;
        let text = fs::read_to_string(host.state("fleet.key")).unwrap();
        let key = text.split_whitespace().nth(1).unwrap().to_owned();
        assert!(key.len() > 40 && !host.log().contains(&key[..12]));
        for file in ["fleet.key", "identity.key", "keep.db"] {
            let mode = fs::metadata(host.state(file)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{file}");
        }
    }
    // Rows say which node they are of, with a daemon and without.
    let node = one.fleet().node_id.to_string();
    assert_eq!(node.len(), 11);
    // Two of one name are told apart, everywhere the same way.
    let twin = three.takes_in(started("one"));
    let labels = |host: &Host| {
        let status = host.comes_to("four members", |status| members(status).len() == 4);
        status.members.iter().map(|m| m.host.clone()).collect::<Vec<_>>()
    };
    let seen = labels(&twin);
    assert!(seen.contains(&format!("one-{}", &twin.fleet().node_id.to_string()[..4])), "{seen:?}");
    for host in [&one, &two, &three] {
        assert_eq!(labels(host), seen);
    }
}

#[test]
fn what_was_kept_is_there_after_a_restart() {
    let mut one = started("one").founds();
    let two = one.takes_in(started("two"));
    let before = one.waits_for_members(&["one", "two"]);
    let invite = one.invite();
    one.kill();
    one.set("RRD_LISTEN", format!("127.0.0.1:{}", free_port()));
    one.start();
    let has_stated = |status: &FleetStatus| {
        status.listen.is_some_and(|at| status.members[0].addresses.contains(&at))
    };
    let after = one.comes_to("where it listens now", has_stated);
    assert_eq!(members(&after), ["one", "two"]);
    assert_eq!((after.node_id, &after.key_id), (before.node_id, &before.key_id));
    assert_eq!(after.invites, 1);
    // It listens elsewhere now, and the other hears of that.
    let address = after.members[0].addresses.clone();
    two.comes_to("the new address", |status| status.members[0].addresses == address);
    // An invite outlives the daemon that made it; its address was the old one.
    let token = invite.split_once('/').unwrap().1;
    let three = started("three");
    three.run(&["fleet", "join", &format!("{}/{token}", after.listen.unwrap())]);
    three.waits_for_members(&["one", "three", "two"]);
}

#[test]
fn an_invite_that_does_not_hold_is_refused_with_its_reason() {
    let one = started("one").founds();
    let invite = one.invite();
    let two = started("two");
    // Mistyped, in each of its parts.
    assert!(two.refuses(&["fleet", "join", "hello"]).contains("that is no invite"));
    let last = if invite.ends_with('A') { 'Q' } else { 'A' };
    let wrong = format!("{}{last}", &invite[..invite.len() - 1]);
    let said = two.refuses(&["fleet", "join", &wrong]);
    assert!(said.contains("the token of this invite is wrong"), "{said}");
    let (address, rest) = invite.split_once('/').unwrap();
    let unknown = format!("{address}/00000000.{}", rest.split_once('.').unwrap().1);
    let said = two.refuses(&["fleet", "join", &unknown]);
    assert!(said.contains("it is of another fleet, or not copied whole"), "{said}");
    // None of that used it up.
    two.run(&["fleet", "join", &format!("rrd fleet join {invite}")]);
    let three = started("three");
    assert!(three.refuses(&["fleet", "join", &invite]).contains("was used already"));
    assert!(two.refuses(&["fleet", "join", &one.invite()]).contains("is in a fleet already"));
    assert!(one.refuses(&["fleet", "init"]).contains("is in a fleet already"));
    let cancelled = one.invite();
    assert_eq!(one.run(&["fleet", "invite", "--cancel"]).trim(), "2 open invites cancelled");
    assert!(three.refuses(&["fleet", "join", &cancelled]).contains("was cancelled"));
    // Ten minutes later; nothing tells the daemon but what it has kept.
    let stale = one.invite();
    let keep = rusqlite::Connection::open(one.state("keep.db")).unwrap();
    keep.execute("UPDATE invites SET until = made_at + 1 WHERE state = 'open'", []).unwrap();
    assert!(three.refuses(&["fleet", "join", &stale]).contains("is too old"));
    // Somebody else's port, and nobody's.
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let elsewhere = other.local_addr().unwrap();
    let answering = std::thread::spawn(move || {
        let (mut stream, _) = other.accept().unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
    });
    let said = three.refuses(&["fleet", "join", &format!("{elsewhere}/{rest}")]);
    assert!(said.contains("something other than rrd answers"), "{said}");
    answering.join().unwrap();
    let said = three.refuses(&["fleet", "join", &format!("{elsewhere}/{rest}")]);
    assert!(said.contains("nobody answers at 127.0.0.1"), "{said}");
    assert_eq!(three.key(), None);
    assert!(three.refuses(&["fleet", "invite"]).contains("is in no fleet"));
    assert_eq!(one.fleet().turned_away.iter().map(|(_, n)| n).sum::<u64>(), 5);
}

#[test]
fn a_host_with_another_key_learns_nothing() {
    let one = started("one").founds();
    let two = one.takes_in(started("two"));
    one.waits_for_members(&["one", "two"]);
    let mut stranger = started("stranger").founds();
    let own = list(&stranger.fleet());
    // It believes that the members are its own: it has their list, and its own key.
    let theirs = rusqlite::Connection::open(one.state("keep.db")).unwrap();
    let text: String = theirs
        .query_row("SELECT value FROM facts WHERE name = 'members'", [], |row| row.get(0))
        .unwrap();
    stranger.kill();
    let keep = rusqlite::Connection::open(stranger.state("keep.db")).unwrap();
    let mine: String = keep
        .query_row("SELECT value FROM facts WHERE name = 'members'", [], |row| row.get(0))
        .unwrap();
    let mut both: serde_json::Value = serde_json::from_str(&mine).unwrap();
    let theirs: serde_json::Value = serde_json::from_str(&text).unwrap();
    let statements = both["statements"].as_array_mut().unwrap();
    statements.extend(theirs["statements"].as_array().unwrap().iter().cloned());
    keep.execute("UPDATE facts SET value = ?1 WHERE name = 'members'", [both.to_string()]).unwrap();
    drop(keep);
    stranger.start();
    let status = stranger.comes_to("two refusals", |status| {
        status.members.iter().filter(|m| m.trouble.is_some()).count() == 2
    });
    for member in status.members.iter().filter(|m| m.host != "stranger") {
        assert_eq!(member.trouble.as_deref(), Some("it has the key of another fleet"));
        assert_eq!(member.spoken_at, None);
    }
    assert_eq!(own.len(), 1);
    for host in [&one, &two] {
        let status = host.comes_to("a refusal", |status| {
            status.turned_away.iter().any(|(why, _)| why == "other_key")
        });
        assert_eq!(members(&status), ["one", "two"]);
    }
    // With the key, but vouched for by nobody, it is no member either.
    stranger.kill();
    fs::copy(one.state("fleet.key"), stranger.state("fleet.key")).unwrap();
    stranger.start();
    let status = one.comes_to("a refusal", |status| {
        status.turned_away.iter().any(|(why, _)| why == "not_a_member")
    });
    assert_eq!(members(&status), ["one", "two"]);
}

#[test]
fn a_dropped_host_is_refused_and_one_that_was_off_catches_up() {
    let one = started("one").founds();
    let mut off = one.takes_in(started("off"));
    let lost = one.takes_in(started("lost"));
    let here = one.takes_in(started("here"));
    for host in [&one, &off, &lost, &here] {
        host.waits_for_members(&["here", "lost", "off", "one"]);
    }
    let (old, invite) = (one.key(), one.invite());
    off.kill();
    assert!(one.refuses(&["fleet", "rotate", "--drop", "nobody"]).contains("no member is called"));
    assert!(one.refuses(&["fleet", "rotate", "--drop", "one"]).contains("cannot drop itself"));
    let said = one.run(&["fleet", "rotate", "--drop", "lost"]);
    for line in [
        "dropped: lost",
        "have it: here",
        "get it when they are back: off",
        "1 open invite cancelled",
    ] {
        assert!(said.lines().any(|said| said == line), "{line}: {said}");
    }
    let new = one.key();
    assert_ne!(old, new);
    assert_eq!(here.key(), new);
    // The dropped one is told so, and has neither the key nor the others' list.
    let status = lost.comes_to("a refusal", |status| {
        status
            .members
            .iter()
            .any(|m| m.trouble.as_deref().is_some_and(|t| t.contains("was dropped")))
    });
    assert_eq!(status.key_id, old);
    assert_eq!(members(&status), ["here", "lost", "off", "one"]);
    for host in [&one, &here] {
        let status = host.fleet();
        let dropped = status.members.iter().find(|m| m.host == "lost").unwrap();
        assert_eq!(dropped.state, MemberState::Dropped);
        assert_eq!(dropped.dropped_by, Some(one.fleet().node_id));
    }
    // The one that was off comes back with the old key.
    off.start();
    off.comes_to("the new key", |status| status.key_id == new);
    off.waits_for_members(&["here", "off", "one"]);
    let three = started("three");
    assert!(three.refuses(&["fleet", "join", &invite]).contains("was cancelled"));
    // One that leaves is somebody else afterwards, and may come in again; so may the lost one.
    let before = here.fleet().node_id;
    here.run(&["fleet", "leave"]);
    assert_ne!(here.fleet().node_id, before);
    assert_eq!((here.key(), here.state("fleet.key").exists()), (None, false));
    one.waits_for_members(&["off", "one"]);
    here.run(&["fleet", "join", &off.invite()]);
    lost.run(&["fleet", "leave"]);
    lost.run(&["fleet", "join", &one.invite()]);
    for host in [&one, &off, &here, &lost] {
        host.waits_for_members(&["here", "lost", "off", "one"]);
    }
}

#[test]
fn two_keys_made_at_once_come_to_one() {
    let one = started("one").founds();
    let mut two = one.takes_in(started("two"));
    let mut three = one.takes_in(started("three"));
    for host in [&one, &two, &three] {
        host.waits_for_members(&["one", "three", "two"]);
    }
    // Each rotates while it sees nobody.
    two.kill();
    three.kill();
    one.run(&["fleet", "rotate"]);
    let mut one = one;
    one.kill();
    two.start();
    two.run(&["fleet", "rotate"]);
    assert!(one.state("fleet.key").exists());
    three.start();
    one.start();
    let keys = || [one.key(), two.key(), three.key()];
    let begun = Instant::now();
    while keys().iter().any(|key| *key != keys()[0]) {
        assert!(begun.elapsed() < NEVER, "{:?}\n{}", keys(), one.log());
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Connects and says something; what comes back before the other side closes.
fn says(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(NEVER)).unwrap();
    // It may close while we still talk.
    let _ = stream.write_all(bytes);
    let mut heard = Vec::new();
    let _ = stream.read_to_end(&mut heard);
    heard
}

fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

#[test]
fn whoever_cannot_prove_the_key_is_closed_and_counted() {
    let one = started("one").founds();
    let status = one.comes_to("a socket", |status| status.listen.is_some());
    let address = status.listen.unwrap();
    let key = u32::from_str_radix(&status.key_id.unwrap(), 16).unwrap().to_be_bytes();
    let pid = one.daemon.as_ref().unwrap().id();
    let before = resident(pid);
    let hello = [&b"RRDP\x00\x01\x00\x01\x00\x00\x00\x00"[..], &key].concat();
    // Garbage gets no answer at all.
    for garbage in [&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], &[0xff; 70_000], &[0; 16]] {
        assert_eq!(says(address, garbage), b"");
    }
    // Another version, another key, another purpose: the first bytes say so, and no more.
    let later = [&b"RRDP\x00\x09\x00\x09\x00\x00\x00\x00"[..], &key].concat();
    assert_eq!(says(address, &later)[..10], *b"RRDP\x00\x01\x00\x01\x00\x01");
    assert_eq!(says(address, b"RRDP\x00\x01\x00\x01\x00\x00\x00\x00\xff\xff\xff\xff")[9], 2);
    assert_eq!(says(address, b"RRDP\x00\x01\x00\x01\x01\x00\x00\x00\xff\xff\xff\xff")[9], 4);
    // The key's id is no secret; the key is. A handshake that proves nothing, and one far too long.
    for handshake in
        [[&b"\x00\x30"[..], &[7; 48]].concat(), [&b"\xff\xff"[..], &[7; 65_535]].concat()]
    {
        let heard = says(address, &[&hello[..], &handshake].concat());
        assert!(heard.len() <= 18, "{heard:?}");
    }
    // Each has given back its seat when it is counted.
    one.comes_to("these eight to be gone", |status| {
        status.turned_away.iter().map(|(_, count)| count).sum::<u64>() == 8
    });
    // Half a handshake, held open by many: each has its ten seconds, and no more than a few wait.
    let slow: Vec<TcpStream> = (0..100)
        .map(|_| {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(&hello[..7]).unwrap();
            stream
        })
        .collect();
    let counts = |status: &FleetStatus, why: &str| {
        status.turned_away.iter().find(|(known, _)| known == why).map_or(0, |(_, count)| *count)
    };
    one.comes_to("no more than sixteen of one address", |s| counts(s, "too_many") >= 84);
    let status = one.comes_to("all of them closed", |s| counts(s, "too_slow") >= 16);
    assert_eq!(counts(&status, "too_many"), 84);
    assert!(counts(&status, "not_rrd") >= 2, "{:?}", status.turned_away);
    assert_eq!(counts(&status, "other_version"), 1);
    assert_eq!(counts(&status, "other_key"), 1);
    assert_eq!(counts(&status, "no_open_invite"), 1);
    assert!(counts(&status, "not_proven") >= 1, "{:?}", status.turned_away);
    drop(slow);
    let after = resident(pid);
    assert!(after < before + 64_000, "{before} KB, then {after} KB");
    // And it still lets in who may come in.
    let two = one.takes_in(started("two"));
    two.waits_for_members(&["one", "two"]);
}

#[test]
fn what_is_wrong_with_keys_stops_the_fleet_and_nothing_else() {
    use std::os::unix::fs::PermissionsExt;
    let mut one = started("one").founds();
    let parts = |host: &Host| {
        let out = host.rrd(&["status"]).output().unwrap();
        String::from_utf8(out.stdout).unwrap()
    };
    let node = one.fleet().node_id.to_string();
    let key = one.state("fleet.key");
    one.kill();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    one.start();
    let said = parts(&one);
    assert!(said.contains("can be read by others (mode 644)"), "{said}");
    assert!(said.contains(&format!("chmod 600 {}", key.display())), "{said}");
    assert!(one.refuses(&["fleet", "invite"]).contains("can be read by others"));
    assert!(one.rrd(&["sessions", "list"]).output().unwrap().status.success());
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    one.kill();

    fs::write(one.state("keep.db"), "not a database, ".repeat(100)).unwrap();
    for companion in ["keep.db-wal", "keep.db-shm"] {
        let _ = fs::remove_file(one.state(companion));
    }
    one.start();
    let said = parts(&one);
    assert!(said.contains("keep.db") && said.contains("join the fleet anew"), "{said}");
    assert!(one.rrd(&["sessions", "list"]).output().unwrap().status.success());
    assert!(!node.is_empty());
}
