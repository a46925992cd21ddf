//! Sessions that wait for each other in a circle, between real daemons: every host says so, until it is over.
//!
//! Not here: waits that are refused because they would close one (`wait.rs`).
#![cfg(unix)]
#![allow(clippy::unwrap_used)] // the lint's exception for tests does not reach plain functions here

mod host;

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use host::{Host, session};
use rrd_proto::{Health, PartStatus};
use serde_json::json;

impl Host {
    /// A session waits in its shell, for as long as the process is there.
    fn waits_as(&self, id: &str, other: &str) -> Waiting {
        let mut command = self.rrd(&["wait", "--as", id, other]);
        Waiting(command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap())
    }

    /// What `rrd status` says of circles.
    fn alarms(&self) -> Vec<PartStatus> {
        let parts: Vec<PartStatus> = self.json(&["status"]);
        parts.into_iter().filter(|part| part.part == "deadlock").collect()
    }

    fn metric(&self, name: &str) -> f64 {
        let mut page = TcpStream::connect(self.page()).unwrap();
        let head =
            format!("GET /metrics HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.page());
        page.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        page.read_to_string(&mut answer).unwrap();
        let line = answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name}: {answer}")).parse().unwrap()
    }

    /// It says that nobody of these can go on: each waits for the next, and the last for the first.
    fn comes_to_alarm(&self, circle: &[&str]) {
        let least = (0..circle.len()).min_by_key(|at| circle[*at]).unwrap();
        let mut circle = circle.to_vec();
        circle.rotate_left(least);
        let part = self.until("the alarm", || self.alarms().pop().ok_or_else(|| "none".to_owned()));
        assert_eq!(part.state, Health::Degraded);
        let named: Vec<&str> = part.detail.split(" waits for ").collect();
        let said = part.detail.strip_prefix("nobody can go on: ").unwrap();
        let refs: Vec<&str> = said.split(" waits for ").map(|one| &one[..5]).collect();
        assert_eq!(refs[..circle.len()], circle, "{named:?}");
        assert_eq!((refs.len(), refs[circle.len()]), (circle.len() + 1, circle[0]));
        let doctor = String::from_utf8(self.rrd(&["doctor"]).output().unwrap().stdout).unwrap();
        assert!(
            doctor.contains("nobody can go on: ") && doctor.contains("hint: let one"),
            "{doctor}"
        );
        assert_eq!(self.metric("rrd_circles"), 1.0);
        assert_eq!(self.graph().cycles, [circle]);
    }

    fn comes_to_be_calm(&self) {
        self.until("no alarm", || match self.alarms() {
            none if none.is_empty() => Ok(()),
            some => Err(format!("{some:?}")),
        });
        assert_eq!(self.metric("rrd_circles"), 0.0);
    }
}

/// Killed when dropped.
struct Waiting(Child);

impl Waiting {
    /// What it was refused with, if it was.
    fn refused(&mut self) -> Option<String> {
        self.0.try_wait().unwrap()?;
        let mut said = String::new();
        self.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        Some(said)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A host with this session, at work, and a page.
fn with_page(name: &str, id: &str) -> Host {
    let mut host = Host::new(name);
    host.set("RRD_HTTP", "127.0.0.1:0");
    host.works_on(id, name);
    host.start();
    host
}

/// A session that delegates waits for its delegate without saying so, and nobody could refuse that.
#[test]
fn a_circle_that_nobody_could_refuse_is_an_alarm_on_all_hosts() {
    let (parent, other, child) = (session(1), session(2), "a1b2c3d");
    let a = with_page("a", &parent).founds();
    let b = a.takes_in(with_page("b", &other));
    let c = a.takes_in(with_page("c", &session(3)));
    let record = |more: serde_json::Value| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let at = rrd_proto::Timestamp::from_millis(i64::try_from(now.as_millis()).unwrap());
        let mut record = json!({
            "parentUuid": null, "isSidechain": false, "userType": "external", "cwd": "/w",
            "timestamp": at, "sessionId": parent, "version": "2.1.300", "gitBranch": "main",
        });
        record.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        record
    };
    a.writes(
        &format!("{parent}/subagents/agent-{child}"),
        &record(json!({
            "isSidechain": true, "agentId": child, "type": "user", "uuid": "s1",
            "message": {"role": "user", "content": "Look around"},
        })),
    );
    let hosts = [&a, &b, &c];
    let ids = [parent.as_str(), child, &other];
    let refs = ids.map(|id| a.reference(id));
    hosts.iter().for_each(|host| ids.iter().for_each(|id| drop(host.reference(id))));
    let mut waits = [a.waits_as(child, &other), b.waits_as(&other, &parent)];
    for host in hosts {
        host.until("both waits", || match host.graph() {
            graph if graph.chains.iter().any(|chain| chain.sessions.len() == 3) => Ok(()),
            graph => Err(format!("{graph:?}")),
        });
        host.comes_to_be_calm();
    }
    assert!(waits.iter_mut().all(|wait| wait.refused().is_none()));

    let closed = Instant::now();
    a.writes(
        &parent,
        &record(json!({
            "type": "assistant", "uuid": "p2",
            "message": {"id": "m1", "role": "assistant", "model": "opus", "stop_reason": "tool_use",
                "content": [{"type": "tool_use", "id": "t1", "name": "Agent",
                    "input": {"description": "look", "prompt": "Look around"}}]},
        })),
    );
    for host in hosts {
        host.until("the alarm", || match host.alarms().len() {
            1 => Ok(()),
            _ => Err(format!("{:?}", host.graph())),
        });
    }
    // A figure of rrd's is one second; this leaves room for a machine that is busy.
    assert!(closed.elapsed() < Duration::from_secs(10), "{:?}", closed.elapsed());
    let circle = refs.each_ref().map(String::as_str);
    hosts.iter().for_each(|host| host.comes_to_alarm(&circle));
    let said = c.run(&["graph"]);
    assert!(said.contains("wait for each other"), "{said}");

    // One of them goes on without.
    drop(waits);
    hosts.iter().for_each(|host| host.comes_to_be_calm());
}

/// Both look for circles before they wait, and again when they are told; whatever slips through is an alarm.
#[test]
fn a_circle_that_two_hosts_close_at_one_moment_is_refused_or_an_alarm_on_both() {
    let (one, two) = (session(1), session(2));
    let a = with_page("a", &one).founds();
    let b = a.takes_in(with_page("b", &two));
    let refs = [&one, &two].map(|id| a.reference(id));
    b.reference(&one);
    for _ in 0..6 {
        let mut waits = [a.waits_as(&one, &two), b.waits_as(&two, &one)];
        // Until it is known what has become of both.
        let refused = a.until("the end of it", || {
            let refused: Vec<String> = waits.iter_mut().filter_map(Waiting::refused).collect();
            let circles = a.graph().cycles.len() + b.graph().cycles.len();
            match refused.is_empty() && circles < 2 {
                true => Err("nothing yet".to_owned()),
                false => Ok(refused),
            }
        });
        if refused.is_empty() {
            let circle = refs.each_ref().map(String::as_str);
            [&a, &b].iter().for_each(|host| host.comes_to_alarm(&circle));
        }
        for said in refused {
            assert!(said.contains("nobody could go on: "), "{said}");
        }
        drop(waits);
        for host in [&a, &b] {
            host.comes_to_be_calm();
            host.until("nobody to wait", || match host.graph().edges.len() {
                0 => Ok(()),
                _ => Err("somebody does".to_owned()),
            });
        }
    }
}

/// One call may name many, and a title be long: each of the waits is known everywhere.
#[test]
fn a_circle_through_any_of_many_is_refused_on_another_host_and_all_hosts_tell_the_same() {
    let waiter = session(1);
    let others: Vec<String> = (10..22).map(session).collect();
    let long = "A title that says much more than is needed ".repeat(12);
    let mut a = Host::new("a");
    a.works_on(&waiter, &long);
    a.start();
    let a = a.founds();
    let mut b = Host::new("b");
    others.iter().for_each(|id| b.works_on(id, id));
    b.start();
    let b = a.takes_in(b);
    let c = a.takes_in(with_page("c", &session(3)));
    let hosts = [&a, &b, &c];
    let own = a.reference(&waiter);
    hosts.iter().for_each(|host| others.iter().for_each(|id| drop(host.reference(id))));
    let refs: Vec<String> = others.iter().map(|id| b.reference(id)).collect();
    let mut args = vec!["wait", "--as", &waiter];
    args.extend(refs.iter().map(String::as_str));
    let mut command = a.rrd(&args);
    let mut wait = Waiting(command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
    let graphs = hosts.map(|host| {
        host.until("every wait", || {
            let graph = host.graph();
            match graph.edges.iter().filter(|edge| edge.from == own).count() {
                12 => Ok(graph),
                some => Err(format!("{some}: {:?}", graph.edges)),
            }
        })
    });
    // Times are by each host's clock, which may be some milliseconds from the others'.
    let told = graphs.map(|graph| {
        let edges = graph.edges.into_iter().map(|edge| (edge.from, edge.to, edge.evidence));
        let chains = graph.chains.into_iter().map(|chain| (chain.sessions, chain.cause));
        (edges.collect::<Vec<_>>(), chains.collect::<Vec<_>>())
    });
    assert_eq!(told[0], told[1]);
    assert_eq!(told[0], told[2]);
    for (id, reference) in
        [(&others[0], &refs[0]), (&others[7], &refs[7]), (&others[11], &refs[11])]
    {
        let said = b.refuses(&["wait", "--as", id, &own]);
        let circle = format!("nobody could go on: {reference} waits for {own} waits for");
        assert!(said.contains(&circle), "{said}");
    }
    assert!(wait.refused().is_none());
    hosts.iter().for_each(|host| assert!(host.alarms().is_empty()));
}

/// Whoever waits for one of several goes on with any of them: that none of them can is said of each.
#[test]
fn a_circle_through_one_of_several_is_spelt_out_with_every_arm_of_it() {
    let ids = [session(1), session(2), session(3)];
    let mut host = Host::new("a");
    ids.iter().for_each(|id| host.works_on(id, id));
    host.start();
    let [a, b, c] = ids.each_ref().map(|id| host.reference(id));
    let command = |args: &[&str]| {
        let mut command = host.rrd(args);
        Waiting(command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap())
    };
    let mut waits = [
        command(&["wait", "--as", &ids[0], &ids[1], &ids[2], "--any"]),
        command(&["wait", "--as", &ids[1], &ids[0]]),
    ];
    let graph = host.until("all waits", || match host.graph() {
        graph if graph.edges.len() == 3 => Ok(graph),
        graph => Err(format!("{:?}", graph.edges)),
    });
    assert!(graph.cycles.is_empty());
    for edge in &graph.edges {
        assert_eq!((edge.any, edge.groups.len()), (edge.from == a, usize::from(edge.from == a)));
    }
    let said = host.refuses(&["wait", "--as", &ids[2], &ids[0]]);
    let circle = format!(
        "nobody could go on: {c} waits for {a}, which waits for any of {b} (which waits for {a}) and {c}\n"
    );
    assert!(said.contains(&circle), "{said}");
    assert!(waits.iter_mut().all(|wait| wait.refused().is_none()));
}
