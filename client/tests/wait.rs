//! Sessions that wait for each other, between real daemons: what each host sees of it, and when it is over.
//!
//! Not here: which status follows from what a harness writes (the core's tables).
#![cfg(unix)]
#![allow(clippy::unwrap_used)] // the lint's exception for tests does not reach plain functions here

mod host;

use std::time::Instant;

use host::{
    Host,
    agents::{answered, came_true, with},
    session,
};
use rrd_proto::{Cause, HostState, Session, Status, WaitingFor};
use serde_json::json;

impl Host {
    /// This host sees that the session waits for the other one.
    fn sees_wait(&self, id: &str, other: &str) {
        self.until(&format!("{id} to wait for {other}"), || {
            let row = self.row(id);
            let on = self.row(other).map(|row| row.reference);
            match row {
                Some(row)
                    if row.waiting_for == Some(WaitingFor::Session) && row.waiting_on == on =>
                {
                    Ok(())
                }
                row => Err(format!("{row:?}")),
            }
        });
    }

    /// The sessions of a chain, by their ids, and its cause.
    fn chain(&self, id: &str) -> Option<(Vec<String>, Cause, Option<String>)> {
        let graph = self.graph();
        let id_of = |one: &String| {
            let node = graph.nodes.iter().find(|node| node.reference == *one);
            node.and_then(|node| node.session_id.clone()).unwrap_or_default()
        };
        let ids = |sessions: &[String]| sessions.iter().map(id_of).collect::<Vec<_>>();
        let chain = graph.chains.iter().find(|chain| ids(&chain.sessions)[0] == id)?;
        Some((ids(&chain.sessions), chain.cause, chain.detail.clone()))
    }
}

#[test]
fn a_chain_over_three_hosts_is_seen_on_all_and_let_go_in_order() {
    let ids = [session(1), session(2), session(3)];
    let [a_id, b_id, c_id] = ids.each_ref().map(String::as_str);
    let a = with("a", a_id).founds();
    let b = a.takes_in(with("b", b_id));
    let c = a.takes_in(with("c", c_id));
    let hosts = [&a, &b, &c];
    hosts.iter().for_each(|host| host.knows(&[a_id, b_id, c_id]));
    c.hook(
        c_id,
        "PermissionRequest",
        json!({"tool_name": "Bash", "tool_input": {"command": "npm publish"}}),
    );
    let mut a_waits = a.waits(a_id, &[b_id, "--json"]);
    let b_waits = b.waits(b_id, &[c_id, "--json"]);
    for host in hosts {
        host.sees_wait(a_id, b_id);
        host.sees_wait(b_id, c_id);
        host.until("the whole chain", || match host.chain(a_id) {
            Some((chain, Cause::Permission, Some(detail)))
                if chain == [a_id, b_id, c_id] && detail == "Bash: npm publish" =>
            {
                Ok(())
            }
            other => Err(format!("{other:?}")),
        });
        assert_eq!(host.graph().chains[0].blocks, 2);
    }
    // What would close the circle is refused, and spelt out.
    let (code, _, said) = answered(c.waits(c_id, &[a_id]));
    assert_eq!(code, 1, "{said}");
    let refs = [c_id, a_id, b_id].map(|id| c.row(id).unwrap().reference);
    let [c_ref, a_ref, b_ref] = &refs;
    let circle = format!("{c_ref} waits for {a_ref} waits for {b_ref} waits for {c_ref}");
    assert!(said.contains(&circle), "{said}");
    assert!(c.graph().cycles.is_empty());
    // The person grants it, and it goes on to its end.
    c.hook(
        c_id,
        "PostToolUse",
        json!({"tool_name": "Bash", "tool_input": {"command": "npm publish"}}),
    );
    assert!(a_waits.try_wait().unwrap().is_none());
    c.hook(c_id, "Stop", json!({}));
    let answer = came_true(b_waits);
    assert_eq!(answer["waiter"], format!("claude-code/{b_id}"));
    assert!(a_waits.try_wait().unwrap().is_none());
    for host in hosts {
        host.until("b to work again", || match host.row(b_id).map(|row| row.status) {
            Some(Status::Executing) => Ok(()),
            other => Err(format!("{other:?}")),
        });
    }
    b.hook(b_id, "Stop", json!({}));
    came_true(a_waits);
}

#[test]
fn whoever_is_killed_waits_no_more() {
    let (one, two) = (session(1), session(2));
    let host = with("a", &one);
    host.says(&two, "other");
    host.knows(&[&one, &two]);
    let mut waits = host.waits(&one, &[&two]);
    host.sees_wait(&one, &two);
    waits.kill().unwrap();
    waits.wait().unwrap();
    let killed = Instant::now();
    host.until("it to work again", || match host.row(&one).map(|row| row.status) {
        Some(Status::Executing) => Ok(()),
        other => Err(format!("{other:?}")),
    });
    // A figure of the issue's, with room for a machine that is busy.
    assert!(killed.elapsed().as_secs() < 10, "{:?}", killed.elapsed());
    assert!(host.graph().edges.is_empty());
}

#[test]
fn what_cannot_be_waited_for_is_said_at_once() {
    let (one, two) = (session(1), session(2));
    let host = with("a", &one);
    host.says(&two, "other");
    host.hook(&two, "SessionEnd", json!({"reason": "other"}));
    host.until("it to have ended", || {
        let rows: Vec<Session> = host.json(&["sessions", "list", "--all"]);
        let row = rows.into_iter().find(|row| row.session_id == two);
        match row.map(|row| row.status) {
            Some(Status::Ended) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    for (args, code, says) in [
        (vec![one.as_str()], 1, "cannot wait for itself"),
        (vec!["nobody"], 1, "no session begins with"),
        (vec!["0000"], 1, "2 sessions begin with"),
        (vec![two.as_str(), "--until", "match=("], 1, "no pattern"),
        (vec![two.as_str(), "--until", "waiting"], 2, "has ended"),
        (vec![two.as_str(), "--until", "ended"], 0, ""),
        (vec![two.as_str()], 0, ""),
    ] {
        let (is, _, said) = answered(host.waits(&one, &args));
        assert_eq!(is, code, "{args:?}: {said}");
        assert!(said.contains(says), "{args:?}: {said}");
        assert!(code == 0 || said.contains("hint: "), "{args:?}: {said}");
    }
    let (code, _, said) = answered(host.waits(&two, &[&one, "--timeout", "1s"]));
    assert_eq!((code, said.contains("in time")), (3, true), "{said}");
}

#[test]
fn a_pattern_is_looked_for_where_the_session_is() {
    let (one, two) = (session(1), session(2));
    let a = with("a", &one).founds();
    let b = a.takes_in(with("b", &two));
    a.knows(&[&one, &two]);
    b.says(&two, "DEPLOYED long ago");
    let mut waits = a.waits(&one, &[&two, "--until", "match=^DEPLOYED [0-9]+$", "--json"]);
    b.sees_wait(&one, &two);
    // That it waits is told, on a busy machine, before its host says from where on what is said counts.
    let mut times = 0;
    b.until("what it waits for", || {
        times += 1;
        b.says(&two, "not DEPLOYED 1");
        b.says(&two, &format!("so\nDEPLOYED {times}\nmore"));
        waits.try_wait().unwrap().ok_or_else(|| format!("said {times} times")).map(|_| ())
    });
    let answer = came_true(waits);
    assert!(answer["targets"][0]["outcome"]["seq"].is_u64(), "{answer}");
}

#[test]
fn that_the_others_host_went_away_is_said() {
    let (one, two) = (session(1), session(2));
    let a = with("a", &one).founds();
    let mut b = a.takes_in(with("b", &two));
    a.knows(&[&one, &two]);
    let waits = a.waits(&one, &[&two, "--json"]);
    let patient = a.waits(&one, &[&two, "--patient", "--json"]);
    a.sees_wait(&one, &two);
    b.kill();
    let (code, answer, said) = answered(waits);
    assert_eq!((code, answer["outcome"].as_str()), (4, Some("away")), "{answer} {said}");
    assert!(said.contains("--patient"), "{said}");
    a.until("it to be seen", || match a.chain(&one) {
        Some((_, Cause::Away, _)) => Ok(()),
        other => Err(format!("{other:?}")),
    });
    b.start();
    a.until("it to be back", || match a.row(&two).map(|row| row.host_state) {
        Some(HostState::Live) => Ok(()),
        other => Err(format!("{other:?}")),
    });
    b.hook(&two, "Stop", json!({}));
    came_true(patient);
}

#[test]
fn a_wait_outlives_the_daemon_of_who_waits() {
    let (one, two) = (session(1), session(2));
    let mut host = with("a", &one);
    host.says(&two, "other");
    host.knows(&[&one, &two]);
    let waits = host.waits(&one, &[&two, "--json"]);
    host.sees_wait(&one, &two);
    host.kill();
    // What happens while nobody looks counts.
    host.ends_turn(&two);
    host.start();
    came_true(waits);
}

#[test]
fn a_session_on_two_hosts_is_named_by_the_letters_that_the_list_shows() {
    let (id, own) = (session(1), session(3));
    let a = with("a", &id).founds();
    let b = a.takes_in(with("b", &id));
    let c = a.takes_in(with("c", &own));
    let rows = c.until("both of them", || {
        let rows: Vec<Session> = c.json(&["sessions", "list"]);
        let rows: Vec<Session> = rows.into_iter().filter(|row| row.session_id == id).collect();
        if rows.len() == 2 { Ok(rows) } else { Err(format!("{rows:?}")) }
    });
    let list = c.run(&["sessions", "list"]);
    for row in &rows {
        assert!(list.lines().any(|line| line.ends_with(&row.reference)), "{list}");
        let args = ["sessions", "show", &row.reference];
        assert_eq!(c.json::<Session>(&args).host, row.host);
    }
    assert!(!list.contains("00000…"), "{list}");
    // Of its id there is no more to type.
    for args in [
        &["sessions", "show", &id][..],
        &["wait", "--as", "none", &id],
        &["send", "--as", "none", &id, "x"],
    ] {
        let said = c.refuses(args);
        assert!(said.contains("the five letters before it, or host/harness/session_id"), "{said}");
        assert!(rows.iter().all(|row| said.contains(&row.reference)), "{said}");
        assert!(!said.contains("more"), "{said}");
    }
    drop(b);
}
