//! Waits whose daemon or whose target's host is lost on the way: each ends, and says why, or goes on.
//!
//! Not here: what waiting is good for (`wait`), and waits that somebody means ill with (`waits_bad`).
#![cfg(unix)]
#![allow(clippy::unwrap_used)] // the lint's exception for tests does not reach plain functions here

mod host;

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::net::UnixListener,
    process::{Child, Command},
    time::{Duration, Instant},
};

use host::{
    Host,
    agents::{answered, came_true, ended, with},
    mcp::{Client, request},
    session,
};
use rrd_proto::{HostState, Session, Status, WaitingFor};
use serde_json::{Value, json};

/// More seconds than any clock has.
const BEYOND: &str = "18446744073709551615s";

impl Host {
    /// It sees a session wait for others, or not.
    fn sees_it_wait(&self, id: &str, waits: bool) {
        self.until(&format!("{id} waits: {waits}"), || match self.row(id) {
            Some(row) if (row.waiting_for == Some(WaitingFor::Session)) == waits => Ok(()),
            row => Err(format!("{row:?}")),
        });
    }

    /// It is a member no more; its daemon still runs.
    fn leaves(&self) {
        self.run(&["fleet", "leave"]);
    }
}

fn signal(child: &Child, signal: &str) {
    let pid = child.id().to_string();
    assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
}

/// Hosts of one fleet, and of each its session, which all know.
fn fleet<const N: usize>(names: [&str; N]) -> ([Host; N], [String; N]) {
    let ids = std::array::from_fn(|at| session(at + 1));
    let mut hosts: Vec<Host> = Vec::new();
    for (name, id) in names.iter().zip(&ids) {
        let host = with(name, id);
        hosts.push(match hosts.first() {
            Some(first) => first.takes_in(host),
            None => host.founds(),
        });
    }
    let all: Vec<&str> = ids.iter().map(String::as_str).collect();
    hosts.iter().for_each(|host| host.knows(&all));
    (hosts.try_into().unwrap_or_else(|_| panic!("as many as names")), ids)
}

/// It ended because its target's host is in the fleet no more.
fn assert_out((code, answer, said): (i32, Value, String)) {
    assert_eq!((code, answer["outcome"].as_str()), (1, Some("unknown")), "{answer} {said}");
    assert!(answer["targets"][0]["host_state"].is_null(), "{answer}");
    assert!(said.contains("no member of the fleet any more"), "{said}");
    assert!(!said.contains("--patient"), "{said}");
}

#[test]
fn one_that_was_stopped_meanwhile_does_not_wait_on_in_a_circle() {
    let (one, two) = (session(1), session(2));
    let host = with("a", &one);
    host.says(&two, "other");
    host.knows(&[&one, &two]);
    let first = host.waits(&one, &[&two]);
    host.sees_it_wait(&one, true);
    signal(&first, "-STOP");
    host.sees_it_wait(&one, false);
    let mut second = host.waits(&two, &[&one]);
    host.sees_it_wait(&two, true);
    signal(&first, "-CONT");
    let (code, _, said) = answered(first);
    assert_eq!((code, said.contains("nobody could go on")), (1, true), "{said}");
    assert!(second.try_wait().unwrap().is_none());
    second.kill().unwrap();
    second.wait().unwrap();
}

#[test]
fn one_that_was_stopped_meanwhile_waits_on_where_it_may() {
    let (one, two) = (session(1), session(2));
    let host = with("a", &one);
    host.says(&two, "other");
    host.knows(&[&one, &two]);
    let waits = host.waits(&one, &[&two, "--json"]);
    host.sees_it_wait(&one, true);
    signal(&waits, "-STOP");
    host.sees_it_wait(&one, false);
    signal(&waits, "-CONT");
    host.sees_it_wait(&one, true);
    host.hook(&two, "Stop", json!({}));
    came_true(waits);
}

#[test]
fn a_session_that_is_gone_after_a_restart_is_not_waited_for() {
    let (one, two) = (session(1), session(2));
    let mut host = with("a", &one);
    host.says(&two, "other");
    host.knows(&[&one, &two]);
    let waits = host.waits(&one, &[&two, "--until", "error", "--json"]);
    host.sees_it_wait(&one, true);
    host.stop();
    fs::remove_file(host.transcript(&two)).unwrap();
    // As if it were the first start: nothing is kept of it.
    fs::remove_dir_all(host.path("rrd/state")).unwrap();
    host.start();
    let (code, answer, said) = answered(waits);
    assert_eq!((code, answer["outcome"].as_str()), (1, Some("unknown")), "{answer} {said}");
    assert!(said.contains("does not know") && said.contains("any more"), "{said}");
}

#[test]
fn what_came_of_one_of_several_is_not_waited_for_again_after_a_restart() {
    let [one, two, three] = [1, 2, 3].map(session);
    let mut host = with("a", &one);
    [&two, &three].iter().for_each(|id| host.says(id, "other"));
    host.knows(&[&one, &two, &three]);
    let mut waits = host.waits(&one, &[&two, &three, "--json"]);
    host.sees_it_wait(&one, true);
    host.hook(&two, "Stop", json!({}));
    let mut remark = String::new();
    BufReader::new(waits.stderr.take().unwrap()).read_line(&mut remark).unwrap();
    assert!(remark.contains("now idle; waiting on for 1 more"), "{remark}");
    host.kill();
    // Its next turn, which is nobody's matter.
    host.says(&two, "go on");
    host.start();
    host.sees_it_wait(&one, true);
    host.until("its next turn to be known", || match host.row(&two) {
        Some(row) if row.status == Status::Executing => Ok(()),
        row => Err(format!("{row:?}")),
    });
    host.hook(&three, "Stop", json!({}));
    came_true(waits);
}

#[test]
fn a_host_that_left_while_the_waiters_daemon_was_down_is_not_waited_for() {
    let ([mut a, b, c], [one, _, three]) = fleet(["a", "b", "c"]);
    let waits = a.waits(&one, &[&three, "--json"]);
    b.sees_it_wait(&one, true);
    a.kill();
    c.leaves();
    b.until("c to be gone", || match b.hosts().len() {
        2 => Ok(()),
        _ => Err(format!("{:?}", b.hosts())),
    });
    a.start();
    assert_out(answered(waits));
}

#[test]
fn a_host_that_is_renamed_is_waited_for_and_none_that_has_its_old_name() {
    let ([mut a, mut b, mut c], [one, two, _]) = fleet(["a", "b", "c"]);
    let node = b.hosts()[0].node_id.clone();
    let waits = a.waits(&one, &[&two, "--patient", "--json"]);
    c.sees_it_wait(&one, true);
    for (host, name) in [(&mut b, "bee"), (&mut c, "b")] {
        host.stop();
        host.set("RRD_NAME", name);
        host.start();
        a.comes_to_see_host(name, HostState::Live);
    }
    // A copy of it, on the one that has the name now.
    c.says(&two, "copied");
    c.knows(&[&two]);
    a.kill();
    a.start();
    c.sees_it_wait(&one, true);
    c.hook(&two, "Stop", json!({}));
    a.until("the copy to be at its prompt", || {
        let mut rows = a.sessions().into_iter().filter(|row| row.session_id == two);
        let is_it = |row: &Session| row.host == "b" && row.status == Status::Idle;
        if rows.any(|row| is_it(&row)) { Ok(()) } else { Err(format!("{:?}", a.sessions())) }
    });
    b.hook(&two, "Stop", json!({}));
    let answer = came_true(waits);
    assert_eq!(answer["targets"][0]["node_id"], node, "{answer}");
}

#[test]
fn a_host_whose_daemon_begins_anew_is_not_taken_for_away() {
    let ([a, mut b, mut c], [one, two, three]) = fleet(["a", "b", "c"]);
    c.kill();
    // Before that no host is away to a daemon that has only begun itself.
    let (code, _, said) = answered(a.waits(&one, &[&three, "--json"]));
    assert_eq!(code, 4, "{said}");
    let waits = a.waits(&one, &[&two, "--json"]);
    b.sees_it_wait(&one, true);
    b.stop();
    a.comes_to_see_host("b", HostState::Away);
    let (code, _, said) = answered(a.waits(&one, &[&two, "--timeout", "1s", "--json"]));
    assert_eq!(code, 3, "{said}");
    b.start();
    b.hook(&two, "Stop", json!({}));
    came_true(waits);
}

#[test]
fn a_daemon_that_ends_as_somebody_begins_to_ask_it_is_asked_again() {
    let (one, two) = (session(1), session(2));
    let mut host = with("a", &one);
    host.says(&two, "other");
    host.knows(&[&one, &two]);
    host.kill();
    let socket = host.path("rrd/run/rrd.sock");
    fs::remove_file(&socket).unwrap();
    let ends = UnixListener::bind(&socket).unwrap();
    let waits = host.waits(&one, &[&two, "--json"]);
    let send = host.of_session(&one, &["send", &two, "It is done"]).spawn().unwrap();
    let asked = [ends.accept().unwrap(), ends.accept().unwrap()];
    drop((asked, ends));
    fs::remove_file(&socket).unwrap();
    host.start();
    let (code, _, said) = ended(send);
    assert_eq!(code, 0, "{said}");
    host.sees_it_wait(&one, true);
    host.hook(&two, "Stop", json!({}));
    came_true(waits);
}

#[test]
fn how_a_turn_ended_is_told_also_where_a_hook_is_ahead_of_the_transcript() {
    let (one, two) = (session(1), session(2));
    let host = with("a", &one);
    host.says(&two, "other");
    host.knows(&[&one, &two]);
    let waits = host.waits(&one, &[&two, "--json"]);
    host.sees_it_wait(&one, true);
    host.hook(&two, "Stop", json!({}));
    host.ends_turn(&two);
    let answer = came_true(waits);
    assert_eq!(answer["targets"][0]["outcome"]["turn_result"], "completed", "{answer}");
}

#[test]
fn patience_ends_with_the_membership_of_the_others_host() {
    let ([a, b, c], [one, two, three]) = fleet(["a", "b", "c"]);
    let for_b = a.waits(&one, &[&two, "--patient", "--json"]);
    let for_c = a.waits(&one, &[&three, "--patient", "--json"]);
    let either = a.waits(&one, &[&two, &three, "--any", "--json"]);
    a.sees_it_wait(&one, true);
    c.leaves();
    assert_out(answered(for_c));
    a.run(&["fleet", "rotate", "--drop", "b"]);
    assert_out(answered(for_b));
    assert_out(answered(either));
    drop(b);
}

#[test]
fn any_of_several_is_waited_for_while_one_of_their_hosts_is_there() {
    let ([a, b, mut c], [one, two, three]) = fleet(["a", "b", "c"]);
    let any = a.waits(&one, &[&three, &two, "--any", "--json"]);
    let all = a.waits(&one, &[&three, &two, "--json"]);
    let none = a.waits(&one, &[&three, "--any", "--json"]);
    a.sees_it_wait(&one, true);
    c.kill();
    for waits in [all, none] {
        let (code, answer, said) = answered(waits);
        assert_eq!((code, answer["outcome"].as_str()), (4, Some("away")), "{answer} {said}");
    }
    a.comes_to_see_host("c", HostState::Away);
    let mut late = a.waits(&one, &[&three, &two, "--any", "--json"]);
    let mut remark = String::new();
    BufReader::new(late.stderr.take().unwrap()).read_line(&mut remark).unwrap();
    assert!(remark.contains("c is away; waiting on"), "{remark}");
    b.hook(&two, "Stop", json!({}));
    for waits in [any, late] {
        came_true(waits);
    }
}

#[test]
fn a_session_of_this_host_is_waited_for_also_when_the_host_leaves_its_fleet() {
    let ([a, _b], [one, _]) = fleet(["a", "b"]);
    let other = session(7);
    let third = session(8);
    [&other, &third].iter().for_each(|id| a.says(id, "other"));
    a.knows(&[&other, &third]);
    let waits = a.waits(&one, &[&other, "--json"]);
    let mut killed = a.waits(&third, &[&other, "--until", "error"]);
    [&one, &third].iter().for_each(|id| a.sees_it_wait(id, true));
    a.leaves();
    // Less is waited for, so it is asked anew.
    killed.kill().unwrap();
    killed.wait().unwrap();
    a.sees_it_wait(&third, false);
    a.hook(&other, "Stop", json!({}));
    came_true(waits);
}

#[test]
fn that_the_own_daemon_is_gone_is_said_once_and_that_it_is_back() {
    let (one, two) = (session(1), session(2));
    let mut host = with("a", &one);
    host.says(&two, "other");
    host.knows(&[&one, &two]);
    let inbox = ["inbox", "--wait", "--timeout", "100s"];
    let mut children = [
        host.waits(&one, &[&two, "--timeout", "100s"]),
        host.of_session(&one, &inbox).spawn().unwrap(),
    ];
    host.sees_it_wait(&one, true);
    let mut remarks =
        children.each_mut().map(|child| BufReader::new(child.stderr.take().unwrap()).lines());
    host.stop();
    for said in &mut remarks {
        let said = said.next().unwrap().unwrap();
        assert!(said.contains("daemon does not answer; waiting on"), "{said}");
    }
    host.start();
    for said in &mut remarks {
        let said = said.next().unwrap().unwrap();
        assert!(said.contains("daemon is back; waiting on"), "{said}");
    }
    host.knows(&[&one, &two]);
    host.hook(&two, "Stop", json!({}));
    host.run(&["send", &one, "hello", "--as", &two]);
    for (child, said) in children.into_iter().zip(remarks) {
        assert_eq!(ended(child).0, 0, "{:?}", said.collect::<Vec<_>>());
    }
}

#[test]
fn a_daemon_that_hangs_keeps_nobody_long_beyond_the_timeout() {
    let (one, two) = (session(1), session(2));
    let host = with("a", &one);
    host.says(&two, "other");
    host.knows(&[&one, &two]);
    let begun = Instant::now();
    let waits = host.waits(&one, &[&two, "--timeout", "8s"]);
    let inbox = host.of_session(&one, &["inbox", "--wait", "--timeout", "8s"]).spawn().unwrap();
    host.sees_it_wait(&one, true);
    host.signal("-STOP");
    let how = [waits, inbox].map(|child| (ended(child), begun.elapsed()));
    host.signal("-CONT");
    for ((code, _, said), after) in how {
        assert!(code == 3 && said.contains("daemon did not answer"), "{code} {said}");
        assert!(after < Duration::from_millis(11_500), "{after:?}");
    }
}

#[test]
fn a_timeout_beyond_every_clock_is_none() {
    let (one, two) = (session(1), session(2));
    let host = with("a", &one);
    host.says(&two, "other");
    host.knows(&[&one, &two]);
    let waits = host.waits(&one, &[&two, "--timeout", BEYOND]);
    let inbox = host.of_session(&one, &["inbox", "--wait", "--timeout", BEYOND]).spawn().unwrap();
    host.sees_it_wait(&one, true);
    host.hook(&two, "Stop", json!({}));
    host.run(&["send", &one, "hello", "--as", &two]);
    for child in [waits, inbox] {
        let (code, _, said) = answered(child);
        assert_eq!(code, 0, "{said}");
    }
}

#[test]
fn whoever_names_a_session_twice_is_told_of_it_twice() {
    let (one, two) = (session(1), session(2));
    let host = with("a", &one);
    host.says(&two, "other");
    host.knows(&[&one, &two]);
    let waits = host.waits(&one, &[&two, &two[..8], "--json"]);
    host.sees_it_wait(&one, true);
    assert_eq!(host.graph().edges.len(), 1);
    host.hook(&two, "Stop", json!({}));
    let (code, answer, said) = answered(waits);
    assert_eq!(code, 0, "{said}");
    let told = answer["targets"].as_array().unwrap();
    assert!(told.len() == 2 && told[0] == told[1], "{answer}");
}

#[test]
fn a_daemon_that_has_only_begun_takes_nobody_for_away() {
    let ([mut a, b], [one, two]) = fleet(["a", "b"]);
    let before = a.waits(&one, &[&two, "--json"]);
    a.sees_it_wait(&one, true);
    a.kill();
    b.signal("-STOP");
    a.start();
    a.comes_to_see_host("b", HostState::Away);
    let after = a.waits(&one, &[&two, "--json"]);
    a.sees_it_wait(&one, true);
    b.signal("-CONT");
    a.comes_to_see_host("b", HostState::Live);
    b.hook(&two, "Stop", json!({}));
    for waits in [before, after] {
        came_true(waits);
    }
    // Who stays away is, before it is long.
    let waits = a.waits(&one, &[&two, "--until", "error", "--json"]);
    a.sees_it_wait(&one, true);
    a.kill();
    b.signal("-STOP");
    a.start();
    let (code, answer, said) = answered(waits);
    b.signal("-CONT");
    assert_eq!((code, answer["outcome"].as_str()), (4, Some("away")), "{answer} {said}");
}

#[test]
fn who_waits_on_a_host_that_is_away_closes_no_circle() {
    let ([mut a, b], [one, two]) = fleet(["a", "b"]);
    let mut first = a.waits(&one, &[&two]);
    b.sees_it_wait(&one, true);
    a.kill();
    b.comes_to_see_host("a", HostState::Away);
    let (code, answer, said) = answered(b.waits(&two, &[&one, "--json"]));
    assert_eq!((code, answer["outcome"].as_str()), (4, Some("away")), "{answer} {said}");
    first.kill().unwrap();
    first.wait().unwrap();
}

/// A circle that closes while one of its hosts is away shows when that is back: who begins to wait anew is refused.
#[test]
fn one_whose_host_was_away_does_not_wait_on_in_a_circle() {
    let ([mut a, b, c], [one, two, three]) = fleet(["a", "b", "c"]);
    for way in ["-TERM", "-KILL"] {
        let first = a.waits(&one, &[&two, "--patient"]);
        b.sees_it_wait(&one, true);
        c.sees_it_wait(&one, true);
        if way == "-TERM" {
            a.stop()
        } else {
            a.kill()
        }
        [&b, &c].iter().for_each(|host| host.comes_to_see_host("a", HostState::Away));
        let begun = Instant::now();
        let mut third = c.waits(&three, &[&one, "--patient"]);
        c.sees_it_wait(&three, true);
        // Sooner than a host is asked in vain.
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        b.sees_it_wait(&three, true);
        let mut second = b.waits(&two, &[&three]);
        c.sees_it_wait(&two, true);
        a.start();
        let (code, _, said) = answered(first);
        assert_eq!((code, said.contains("nobody could go on")), (1, true), "{way} {said}");
        for waits in [&mut second, &mut third] {
            assert!(waits.try_wait().unwrap().is_none(), "{way}");
            waits.kill().unwrap();
            waits.wait().unwrap();
        }
        b.sees_it_wait(&three, false);
        c.sees_it_wait(&two, false);
    }
}

#[test]
fn nobody_waits_on_after_its_time_is_up() {
    let ([a, b], [one, two]) = fleet(["a", "b"]);
    let third = session(9);
    a.says(&third, "other");
    a.knows(&[&third]);
    for arguments in
        [&["wait", &one, "--timeout", "1s"][..], &["inbox", "--wait", "--timeout", "1s"]]
    {
        a.sends(&third, &one, "what do you think?");
        let (code, _, said) = a.does(&third, arguments);
        assert_eq!(code, 3, "{said}");
        // At once: it would close a circle if that one still waited.
        let (code, _, said) = a.does(&one, &["wait", &third, "--timeout", "0s"]);
        assert_eq!(code, 3, "{said}");
    }
    let (code, _, said) = a.does(&one, &["wait", &third, "--as", &two, "--timeout", "0s"]);
    assert_eq!((code, said.contains("that is a session of b")), (1, true), "{said}");
    drop(b);
}

#[test]
fn an_agent_that_waits_by_mcp_waits_on_when_the_daemon_begins_anew() {
    let (one, two) = (session(1), session(2));
    let mut host = with("a", &one);
    host.says(&two, "other");
    host.knows(&[&one, &two]);
    let mut client = Client::start(host.of_session(&one, &["mcp"])).initialized("2025-06-18");
    let arguments = json!({"ids": [two], "until": "match=^THIRD", "seconds": 60});
    client.send(&request("w", "tools/call", &json!({"name": "wait_for", "arguments": arguments})));
    host.sees_it_wait(&one, true);
    host.kill();
    host.says(&two, "THIRD and last");
    host.start();
    let answer = client.answer(&json!("w"));
    let text = answer["result"]["content"][0]["text"].as_str().unwrap_or_default();
    let told: Value = serde_json::from_str(text).unwrap_or_default();
    assert_eq!(told["outcome"], "true", "{answer}");
}

#[test]
fn an_agent_that_is_patient_waits_on_while_the_host_is_away() {
    let ([a, mut b], [one, two]) = fleet(["a", "b"]);
    let mut client = Client::start(a.of_session(&one, &["mcp"])).initialized("2025-06-18");
    b.kill();
    a.comes_to_see_host("b", HostState::Away);
    let told = client.does("wait_for", json!({"ids": [two], "seconds": 60}));
    assert_eq!(told["outcome"], "away", "{told}");
    let told = client.does("wait_for", json!({"ids": [two], "seconds": 1, "patient": true}));
    assert_eq!(told["outcome"], "timeout", "{told}");
    assert!(told["notes"].to_string().contains("the host of one of them is away"), "{told}");
    let arguments = json!({"ids": [two], "seconds": 600, "patient": true});
    client.send(&request("w", "tools/call", &json!({"name": "wait_for", "arguments": arguments})));
    a.sees_it_wait(&one, true);
    b.start();
    b.hook(&two, "Stop", json!({}));
    let answer = client.answer(&json!("w"));
    assert_eq!(answer["result"]["structuredContent"]["outcome"], "true", "{answer}");
}
