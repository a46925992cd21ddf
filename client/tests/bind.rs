//! Bindings between sessions, between real daemons: asked for and answered on any host, apart and together.
//!
//! Not here: how a binding stands by what was said of it (the core's tables), and expiry, which takes a day.
#![cfg(unix)]
#![allow(clippy::unwrap_used)] // the lint's exception for tests does not reach plain functions here

mod host;

use host::{Host, agents::with, session};
use rrd_proto::{
    EdgeKind, EdgeState, HostState,
    binding::{Binding, BindingDeed, BindingState},
};

impl Host {
    fn bindings(&self) -> Vec<Binding> {
        self.json(&["bind", "list"])
    }

    fn asks(&self, from: &str, to: &str, scopes: &str) -> String {
        self.json::<Binding>(&["bind", "request", from, to, "--scope", scopes]).id
    }

    fn comes_to_know(&self, id: &str, state: BindingState) -> Binding {
        self.until(&format!("{id} {state}"), || {
            let found = self.bindings().into_iter().find(|one| one.id == id);
            found.filter(|one| one.state == state).ok_or_else(|| format!("{:?}", self.bindings()))
        })
    }

    /// The bindings of the graph: from, to, state, evidence.
    fn edges(&self) -> Vec<(String, String, EdgeState, String)> {
        let edges = self.graph().edges.into_iter().filter(|edge| edge.kind == EdgeKind::Binding);
        edges.map(|edge| (edge.from, edge.to, edge.state, edge.evidence)).collect()
    }
}

#[test]
fn a_binding_outlives_the_daemon_however_it_ends() {
    let (one, two) = (session(1), session(2));
    let mut host = with("a", &one);
    host.works_on(&two, "Other");
    host.knows(&[&one, &two]);
    let note = "review it before you merge";
    let (said, remark) = host.told(&[
        "bind",
        "request",
        &one,
        &two,
        "--scope",
        "messages:write,events:read",
        "--note",
        note,
    ]);
    let id = said.split(' ').next().unwrap().to_owned();
    assert!(said.contains(" is pending: a (a, "), "{said}");
    assert!(
        said.contains("asks Other (a, ") && said.contains("events:read, messages:write"),
        "{said}"
    );
    assert!(remark.contains(&format!("rrd bind accept {id}")), "{remark}");
    host.kill();
    host.start();
    host.knows(&[&one, &two]);
    let known = host.comes_to_know(&id, BindingState::Pending);
    assert_eq!((known.from.session_id, known.to.session_id), (one.clone(), two.clone()));
    assert_eq!((known.note.as_deref(), known.to.title.as_deref()), (Some(note), Some("Other")));
    assert_eq!(known.expires_at, Some(known.since.plus(24 * 3_600_000)));
    // It is in the graph from the moment it is asked for, however that is drawn.
    let (from, to) = (known.from.reference, known.to.reference);
    let evidence = format!("pending: events:read, messages:write ({id})");
    assert_eq!(host.edges(), [(from.clone(), to.clone(), EdgeState::Pending, evidence.clone())]);
    let tree = host.run(&["graph"]);
    assert!(tree.contains("a (a) → Other (a), binding pending: events:read"), "{tree}");
    let dot = host.run(&["graph", "--format", "dot"]);
    assert!(
        dot.contains(&format!("\"s_{from}\" -> \"s_{to}\" [label=\"binding, pending\"")),
        "{dot}"
    );
    let mermaid = host.run(&["graph", "--format", "mermaid"]);
    assert!(mermaid.contains(&format!("s_{from} -.->|binding, pending| s_{to}")), "{mermaid}");

    let accepted = host.run(&["bind", "accept", &id[..6]]);
    assert!(accepted.starts_with(&format!("{id} is active: ")), "{accepted}");
    host.kill();
    host.start();
    host.knows(&[&one, &two]);
    let shown: Binding = host.json(&["bind", "show", &id]);
    let deeds: Vec<BindingDeed> = shown.history.iter().map(|step| step.what).collect();
    assert_eq!((shown.state, shown.expires_at), (BindingState::Active, None));
    assert_eq!(deeds, [BindingDeed::Request, BindingDeed::Accept]);
    assert_eq!(host.edges()[0].2, EdgeState::Active);
    host.run(&["bind", "revoke", &id]);
    host.stop();
    host.start();
    let known = host.comes_to_know(&id, BindingState::Inactive);
    assert_eq!(known.history.len(), 3);
    assert_eq!(host.edges()[0].2, EdgeState::Inactive);
    assert!(!host.run(&["graph"]).contains("binding"));
    assert!(!host.run(&["graph", "--format", "dot"]).contains("binding"));
    // What a person sees.
    let (list, shown) = (host.run(&["bind", "list"]), host.run(&["bind", "show", &id]));
    assert!(list.contains("inactive") && list.contains("events:read, messages:write"), "{list}");
    assert!(shown.contains(note) && shown.contains("accept  ") && shown.contains(&one), "{shown}");
    let help = host.run(&["bind", "--help"]);
    assert!(help.contains("holds nobody back"), "{help}");
}

#[test]
fn what_cannot_be_asked_or_answered_is_refused() {
    let (one, two) = (session(1), session(2));
    let host = with("a", &one);
    host.works_on(&two, "Other");
    host.knows(&[&one, &two]);
    let ask = |from: &str, to: &str, more: &[&str]| {
        host.refuses(&[&["bind", "request", from, to, "--scope", "events:read"], more].concat())
    };
    assert!(ask(&one, "nobody", &[]).contains("no session begins with"));
    assert!(ask("0000", &two, &[]).contains("2 sessions begin with"));
    assert!(ask(&one, &one, &[]).contains("cannot be bound to itself"));
    assert!(ask(&one, &two, &["--note", "a\u{1b}[2Jb"]).contains("one line"));
    assert!(ask(&one, &two, &["--note", &"x".repeat(201)]).contains("at most 200 bytes"));
    for scopes in ["files:write", "", "events:read,everything"] {
        let out = host.rrd(&["bind", "request", &one, &two, "--scope", scopes]).output().unwrap();
        let err = String::from_utf8(out.stderr).unwrap();
        assert_eq!(out.status.code(), Some(64), "{scopes}: {err}");
        assert!(err.contains("events:read, messages:read, messages:write, work:take"), "{err}");
    }
    assert!(host.bindings().is_empty());
    for deed in ["accept", "reject", "revoke", "show"] {
        assert!(host.refuses(&["bind", deed, "1a2b"]).contains("no binding begins with"), "{deed}");
        assert!(host.refuses(&["bind", deed, ""]).contains("no binding begins with"), "{deed}");
    }
    // What is secret in a note stays here.
    let secret = format!("{}_{}", "ghp", "Ab3dEf6hIj9kLm2nOp5qRs8tUv1wXy4zAb7c");
    let asked: Binding = host.json(&[
        "bind",
        "request",
        &one,
        &two,
        "--scope",
        "events:read,events:read",
        "--note",
        &secret,
    ]);
    assert!(!asked.note.unwrap().contains(&secret[..20]) && asked.scopes.len() == 1);
    assert!(ask(&one, &two, &[]).contains(&format!("that is pending already: {}", asked.id)));
    host.run(&["bind", "reject", &asked.id]);
    for (deed, why) in
        [("accept", "is rejected"), ("reject", "is rejected"), ("revoke", "is rejected")]
    {
        assert!(host.refuses(&["bind", deed, &asked.id]).contains(why), "{deed}");
    }
    let id = host.asks(&one, &two, "events:read");
    host.run(&["bind", "accept", &id]);
    assert!(host.refuses(&["bind", "accept", &id]).contains("active already"));
    assert!(host.refuses(&["bind", "reject", &id]).contains("rrd bind revoke"));
    // So many of one session, and no more; those that are over do not count.
    for number in 3..34 {
        host.works_on(&session(number), "One of many");
    }
    host.knows(&[&session(33)]);
    for number in 3..34 {
        host.asks(&one, &session(number), "work:take");
    }
    assert!(ask(&one, &two, &["--scope", "work:take"]).contains("has 32 bindings"));
    assert!(ask(&session(5), &one, &[]).contains("has 32 bindings"));
    host.run(&["bind", "revoke", &id]);
    host.asks(&one, &two, "work:take");
}

#[test]
fn all_hosts_agree_whoever_answered_while_they_were_apart() {
    let (one, two) = (session(1), session(2));
    let a = with("a", &one).founds();
    let mut b = a.takes_in(with("bb", &two));
    [&a, &b].iter().for_each(|host| host.knows(&[&one, &two]));
    let asked = a.asks(&one, &two, "events:read");
    let open = a.asks(&two, &one, "messages:write");
    let known = b.comes_to_know(&asked, BindingState::Pending);
    assert_eq!(known, a.comes_to_know(&asked, BindingState::Pending));
    b.comes_to_know(&open, BindingState::Pending);
    assert_eq!(a.edges(), b.edges());

    // The one agrees and the other does not, while they do not hear each other.
    b.stop();
    a.comes_to_see_host("bb", HostState::Away);
    a.run(&["bind", "accept", &asked]);
    a.run(&["bind", "accept", &open]);
    let mut a = a;
    a.kill();
    b.start();
    b.run(&["bind", "reject", &asked]);
    b.kill();
    a.start();
    b.start();
    let same = || match (a.bindings(), b.bindings()) {
        (of_a, of_b)
            if of_a == of_b && of_b.iter().any(|one| one.state == BindingState::Active) =>
        {
            Ok(of_a)
        }
        apart => Err(format!("{apart:#?}")),
    };
    let all = a.until("the same on both", same);
    let answered = all.iter().find(|one| one.id == asked).unwrap();
    // Of two answers the one of the lower node counts.
    let node = |host: &Host| host.fleet().node_id;
    let agrees = node(&a) < node(&b);
    let state = if agrees { BindingState::Active } else { BindingState::Rejected };
    assert_eq!((answered.state, answered.history.len()), (state, 2), "{all:#?}");
    assert!(b.refuses(&["bind", "accept", &asked]).contains(if agrees {
        "active"
    } else {
        "rejected"
    }));
    a.until("the same edges", || {
        let (of_a, of_b) = (a.edges(), b.edges());
        if of_a == of_b && of_a.len() == 2 { Ok(()) } else { Err(format!("{of_a:?} {of_b:?}")) }
    });

    // A third one hears of them whose host is away, and draws the same.
    let before = b.edges();
    a.stop();
    let c = b.takes_in(with("ccc", &session(3)));
    c.comes_to_know(&open, BindingState::Active);
    c.until("the same edges", || {
        let edges = c.edges();
        if edges == before { Ok(()) } else { Err(format!("{edges:?}")) }
    });

    // What a host said that left by itself stands; it takes nothing along. Of one that was dropped nothing counts
    // any more, for it may sign on: what it asked for is gone.
    let last = c.asks(&session(3), &two, "work:take");
    b.comes_to_know(&last, BindingState::Pending);
    c.run(&["fleet", "leave"]);
    assert!(c.bindings().is_empty());
    b.run(&["bind", "accept", &last]);
    b.run(&["fleet", "rotate", "--drop", "a"]);
    b.until("only the last one", || match &*b.bindings() {
        [one] if one.id == last && one.state == BindingState::Active => Ok(()),
        other => Err(format!("{other:?}")),
    });
    let edges = b.edges();
    assert_eq!(edges.len(), 1, "{edges:?}");
}
