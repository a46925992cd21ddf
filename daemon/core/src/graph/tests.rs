//! Graphs of made-up rows, by hand and at random.

use std::collections::BTreeSet;

use proptest::prelude::*;
use rrd_proto::{
    Cause, EdgeState, Harness, HostState, MESSAGE, ParentKind, SessionKey, Status, Timestamp,
    WaitingFor,
};

use super::*;

mod closes;

fn row(name: &str) -> Session {
    let key = SessionKey { harness: Harness::ClaudeCode, session_id: format!("id-{name}") };
    Session {
        reference: name.to_owned(),
        host: "mac".to_owned(),
        node_id: Some("m".to_owned()),
        status: Status::Executing,
        active: true,
        host_state: HostState::Live,
        ..Session::unknown(key)
    }
}

fn wait(to: &str, any: bool) -> Link {
    Link {
        kind: EdgeKind::Wait,
        state: EdgeState::Declared,
        to: to.to_owned(),
        incoming: false,
        any,
        group: 0,
        since: None,
        evidence: String::new(),
    }
}

fn waits_for(name: &str, others: &[&str]) -> Session {
    Session { links: others.iter().map(|to| wait(to, false)).collect(), ..row(name) }
}

fn asks(name: &str, detail: &str, at: i64) -> Session {
    Session {
        status: Status::Waiting,
        status_since: Some(Timestamp::from_millis(at)),
        waiting_for: Some(WaitingFor::Permission),
        waiting_detail: Some(detail.to_owned()),
        ..row(name)
    }
}

fn chain_of<'a>(graph: &'a Graph, name: &str) -> &'a rrd_proto::Chain {
    graph.chains.iter().find(|chain| chain.sessions[0] == name).unwrap()
}

#[test]
fn a_chain_ends_with_what_a_person_must_do() {
    let rows = [
        waits_for("a", &["b"]),
        waits_for("b", &["c"]),
        asks("c", "Bash: npm publish", 7),
        asks("d", "Bash: ls", 1),
        row("e"),
    ];
    let graph = graph(&rows, &[]);
    let chain = chain_of(&graph, "a");
    assert_eq!(chain.sessions, ["a", "b", "c"]);
    assert_eq!((chain.cause, chain.blocks), (Cause::Permission, 2));
    assert_eq!(chain.detail.as_deref(), Some("Bash: npm publish"));
    assert_eq!(chain.since, Some(Timestamp::from_millis(7)));
    // What blocks others comes before what has waited longer.
    let last: Vec<&str> =
        graph.chains.iter().map(|c| c.sessions.last().unwrap().as_str()).collect();
    assert_eq!(last, ["c", "c", "c", "d"]);
    assert!(graph.cycles.is_empty());
}

#[test]
fn of_several_the_most_urgent_is_the_end() {
    let ended = Session { status: Status::Ended, ..row("z") };
    let rows = [waits_for("a", &["e", "z", "c", "nobody"]), row("e"), ended, asks("c", "x", 1)];
    assert_eq!(chain_of(&graph(&rows, &[]), "a").sessions, ["a", "c"]);
    let rows = [waits_for("a", &["nobody"])];
    let graph = graph(&rows, &[]);
    assert_eq!(chain_of(&graph, "a").cause, Cause::Unknown);
    assert!(graph.nodes.iter().any(|node| node.reference == "nobody" && node.host.is_none()));
}

#[test]
fn a_circle_is_told_once_and_whoever_waits_for_it_is_stuck_too() {
    let rows = [
        waits_for("c", &["a"]),
        waits_for("a", &["b"]),
        waits_for("b", &["c"]),
        waits_for("x", &["b", "free"]),
        row("free"),
    ];
    let graph = graph(&rows, &[]);
    assert_eq!(graph.cycles, [["a", "b", "c"]]);
    for name in ["a", "b", "c", "x"] {
        assert_eq!(chain_of(&graph, name).cause, Cause::Deadlock, "{name}");
    }
    assert_eq!(chain_of(&graph, "x").sessions, ["x", "b", "c", "a", "b"]);
}

#[test]
fn what_a_host_said_before_it_went_away_counts_for_no_circle() {
    let away = |row: Session| Session { host_state: HostState::Away, ..row };
    let (a, b, c) = (waits_for("a", &["b"]), waits_for("b", &["c"]), waits_for("c", &["a"]));
    let rows = [away(a.clone()), b.clone(), c.clone()];
    let told = graph(&rows, &[]);
    assert!(told.cycles.is_empty(), "{:?}", told.cycles);
    for (name, way) in [("a", vec!["a"]), ("b", vec!["b", "c", "a"]), ("c", vec!["c", "a"])] {
        let chain = chain_of(&told, name);
        assert_eq!(chain.cause, Cause::Away);
        assert_eq!(chain.sessions, way);
    }
    assert_eq!(told.edges.len(), 3, "what it said is shown all the same");
    let alone = [away(a.clone()), b.clone(), row("c")];
    assert_eq!(would_close(&alone, "c", vec![wait("a", false)]), None);
    // Where nobody needs its word there is a circle; and what is no circle goes on as ever.
    let rows = [away(a.clone()), b, waits_for("c", &["b"])];
    assert_eq!(graph(&rows, &[]).cycles, [["b", "c"]]);
    let rows = [away(a), asks("b", "Bash: x", 1)];
    assert_eq!(chain_of(&graph(&rows, &[]), "a").cause, Cause::Permission);
}

#[test]
fn one_of_several_is_a_way_out() {
    let any = |name: &str, others: &[&str]| Session {
        links: others.iter().map(|to| wait(to, true)).collect(),
        ..row(name)
    };
    let rows = [any("a", &["b", "free"]), waits_for("b", &["a"]), row("free")];
    assert!(graph(&rows, &[]).cycles.is_empty());
    assert_eq!(chain_of(&graph(&rows, &[]), "b").cause, Cause::Working);
    let rows = [any("a", &["b", "c"]), waits_for("b", &["a"]), waits_for("c", &["a"])];
    assert_eq!(graph(&rows, &[]).cycles, [["a", "b"]]);
}

/// Waits for one of these, in one call.
fn waits_for_one(name: &str, others: &[&str]) -> Session {
    Session { links: others.iter().map(|to| wait(to, true)).collect(), ..row(name) }
}

#[test]
fn who_waits_for_one_of_several_is_held_up_by_the_least_urgent() {
    let mut rows = vec![waits_for_one("a", &["b", "c"]), row("b"), asks("c", "Bash: ls", 1)];
    let made = graph(&rows, &[]);
    assert_eq!(chain_of(&made, "a").sessions, ["a", "b"]);
    assert_eq!(chain_of(&made, "c").blocks, 0);
    rows[2].host_state = HostState::Away;
    assert_eq!(chain_of(&graph(&rows, &[]), "a").cause, Cause::Working);
    // Of another call it waits for that one, too.
    rows[0].links.push(Link { group: 1, ..wait("c", false) });
    assert_eq!(chain_of(&graph(&rows, &[]), "a").sessions, ["a", "c"]);
    // Neither goes on without a person.
    rows[1] = Session { waiting_for: Some(WaitingFor::Input), ..asks("b", "Which?", 2) };
    rows[2].host_state = HostState::Live;
    rows[0].links.truncate(2);
    assert_eq!(chain_of(&graph(&rows, &[]), "a").sessions, ["a", "b"]);
}

#[test]
fn a_ring_with_a_way_out_ends_where_that_leads_whatever_it_is_called() {
    for [a, b, c] in [["a", "b", "c"], ["a", "c", "b"], ["b", "a", "c"], ["c", "b", "a"]] {
        let rows = [waits_for_one(a, &[b, c]), waits_for(b, &[a]), row(c)];
        let graph = graph(&rows, &[]);
        let chain = chain_of(&graph, b);
        assert_eq!((chain.cause, chain.blocks), (Cause::Working, 2));
        assert_eq!(chain.sessions, [b, a, c]);
        assert_eq!(chain_of(&graph, a).sessions, [a, c]);
    }
}

#[test]
fn who_asks_a_person_is_an_end_whatever_it_waits_for() {
    let b = Session { links: vec![wait("c", false)], ..asks("b", "Bash: rm -rf build", 3) };
    let mut rows = vec![waits_for("a", &["b"]), b, row("c")];
    let made = graph(&rows, &[]);
    assert_eq!(chain_of(&made, "a").sessions, ["a", "b"]);
    let own = chain_of(&made, "b");
    assert_eq!(
        (own.cause, own.blocks, &*own.sessions),
        (Cause::Permission, 1, &["b".to_owned()][..])
    );
    assert_eq!(made.edges.len(), 2);
    rows[2] = asks("c", "Bash: ls", 1);
    let ends = |made: &Graph| made.chains.iter().filter(|one| one.sessions.len() == 1).count();
    assert_eq!(ends(&graph(&rows, &[])), 2);
}

#[test]
fn who_has_ended_waits_for_nobody() {
    let over = Session { status: Status::Ended, ..waits_for("a", &["b"]) };
    let rows = [over, waits_for("b", &["a"])];
    let graph = graph(&rows, &[]);
    assert_eq!((graph.edges.len(), graph.cycles.len()), (1, 0));
    assert_eq!(chain_of(&graph, "b").cause, Cause::Ended);
    assert_eq!(would_close(&rows, "b", vec![wait("a", false)]), None);
}

#[test]
fn what_one_call_is_content_with_another_one_need_not_be() {
    let rows =
        [waits_for_one("a", &["b", "c"]), waits_for("b", &["a"]), row("c"), waits_for("d", &["a"])];
    let closes =
        |to: &[&str], any| would_close(&rows, "a", to.iter().map(|to| wait(to, any)).collect());
    // It waits for one of b and c already; for b alone nobody could go on.
    assert_eq!(closes(&["b"], false).unwrap().told, "a waits for b waits for a");
    assert!(closes(&["d"], true).is_some() && closes(&["b", "d"], true).is_some());
    assert_eq!(closes(&["d", "c"], true), None);
}

#[test]
fn what_a_delegate_asks_is_asked_once() {
    let mut child = asks("d", "Bash: rm", 1);
    (child.parent_session_id, child.parent_kind) =
        (Some("id-p".to_owned()), Some(ParentKind::Subagent));
    let mut rows = vec![asks("p", "Bash: rm", 1), child, waits_for("a", &["p"])];
    let lasts = |rows: &[Session]| {
        let graph = graph(rows, &[]);
        let lasts = graph.chains.iter().map(|one| one.sessions.last().unwrap().clone());
        lasts.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>()
    };
    assert_eq!(lasts(&rows), ["p"]);
    // Of whom somebody waits for the delegate itself that is told.
    rows.push(waits_for("b", &["d"]));
    assert_eq!(lasts(&rows), ["d", "p"]);
    rows[0].status = Status::Executing;
    assert_eq!(lasts(&rows), ["d", "p"]);
}

#[test]
fn ties_that_are_no_waits() {
    let child = Session {
        parent_session_id: Some("id-a".to_owned()),
        parent_kind: Some(ParentKind::Subagent),
        ..row("c")
    };
    let other_host = Session { node_id: Some("n".to_owned()), ..child.clone() };
    let copy = Session {
        reference: "k".to_owned(),
        session_id: "id-a".to_owned(),
        node_id: Some("n".to_owned()),
        ..row("k")
    };
    let at = |name: &str, node: &str, cwd: &str, branch: &str| Session {
        cwd: Some(cwd.to_owned()),
        repo: Some("rrd".to_owned()),
        repo_remote: Some(match node {
            "m" => "https://github.com/x/rrd".to_owned(),
            _ => "git@github.com:x/rrd.git".to_owned(),
        }),
        branch: Some(branch.to_owned()),
        node_id: Some(node.to_owned()),
        ..row(name)
    };
    let below = |name: &str, cwd: &str, branch: &str| Session {
        repo_root: Some("/x".to_owned()),
        repo_remote: None,
        ..at(name, "m", cwd, branch)
    };
    let rows = [
        row("a"),
        child,
        below("u", "/x", "main"),
        below("v", "/x/sub", "main"),
        // Another worktree of it, and no branch at all.
        below("w", "/x/.claude/worktrees/y", "y"),
        below("y", "/x/one", "HEAD"),
        below("z", "/x/other", "HEAD"),
        Session { reference: "o".to_owned(), session_id: "o".to_owned(), ..other_host },
        copy,
        at("p", "m", "/w", "main"),
        at("q", "m", "/w", "main"),
        at("r", "n", "/w", "main"),
        at("s", "m", "/v", "other"),
        Session { status: Status::Idle, ..at("t", "m", "/w", "main") },
    ];
    let told: Vec<String> = graph(&rows, &[])
        .edges
        .iter()
        .map(|edge| format!("{} {}>{} {}", edge.kind, edge.from, edge.to, edge.evidence))
        .collect();
    assert_eq!(
        told,
        [
            "parent a>c subagent",
            "parent k>o subagent",
            "duplicate a>k the same transcript on two hosts",
            "same_worktree p>q both work in one worktree",
            "same_worktree p>r both work on branch main",
            "same_worktree u>v both work in one worktree",
        ]
    );
}

#[test]
fn what_is_told_besides_is_drawn_whoever_knows_its_sessions() {
    let bound = |to: &str, state, evidence: &str| Edge {
        from: "a".to_owned(),
        to: to.to_owned(),
        kind: EdgeKind::Binding,
        state,
        since: None,
        evidence: evidence.to_owned(),
        any: false,
        groups: Vec::new(),
    };
    let idle = Session { active: false, status: Status::Ended, ..row("a") };
    let others = [
        bound("gone", EdgeState::Pending, "one"),
        bound("b", EdgeState::Inactive, "two"),
        bound("b", EdgeState::Active, "three"),
    ];
    let graph = graph(&[row("b"), idle, waits_for("c", &["b"])], &others);
    let told: Vec<_> = graph.edges.iter().map(|edge| edge.evidence.as_str()).collect();
    // Two between the same two are two, and an earlier one that is over hides none.
    assert_eq!(told, ["", "three", "two", "one"]);
    let nodes: Vec<_> =
        graph.nodes.iter().map(|node| (&*node.reference, node.host.is_some())).collect();
    assert_eq!(nodes, [("a", true), ("b", true), ("c", true), ("gone", false)]);
    assert_eq!(graph.chains.len(), 1, "nobody waits for that");
}

#[test]
fn what_a_person_must_do_first_is_first_in_chains_and_in_rows() {
    let at = |row: Session, ms: i64| Session {
        status: Status::Waiting,
        status_since: Some(Timestamp::from_millis(ms)),
        waiting_for: row.waiting_for.or(Some(WaitingFor::Session)),
        ..row
    };
    let input = Session { waiting_for: Some(WaitingFor::Input), ..asks("few", "Which?", 3) };
    let sub = Session { parent_kind: Some(ParentKind::Subagent), ..row("e-sub") };
    let mut rows = vec![
        asks("alone", "Bash: ls", 1),
        at(waits_for("m1", &["much"]), 2),
        at(waits_for("m2", &["m1"]), 2),
        at(waits_for("f1", &["few"]), 2),
        at(waits_for("i1", &["idle"]), 2),
        input,
        at(waits_for("x", &["y"]), 4),
        at(waits_for("y", &["x"]), 5),
        asks("much", "Bash: rm", 9),
        row("e"),
        sub,
        Session { status: Status::Idle, ..row("idle") },
    ];
    let graph = graph(&rows, &[]);
    let mut told: Vec<&str> =
        graph.chains.iter().map(|c| c.sessions.last().unwrap().as_str()).collect();
    told.dedup();
    assert_eq!(told, ["x", "y", "much", "few", "alone", "idle"]);
    let refs = |rows: &[Session]| rows.iter().map(|row| row.reference.clone()).collect::<Vec<_>>();
    first(&mut rows, &graph);
    let order = ["x", "y", "much", "few", "alone", "m1", "m2", "f1", "i1", "e", "e-sub", "idle"];
    assert_eq!(refs(&rows), order);
    let end = |name: &str| {
        let row = rows.iter().find(|row| row.reference == name).unwrap();
        row.chain.as_ref().map(|end| (end.reference.as_str(), end.cause, end.blocks))
    };
    assert_eq!(end("m2"), Some(("much", Cause::Permission, 2)));
    assert_eq!(end("much"), Some(("much", Cause::Permission, 2)));
    assert_eq!(
        (end("x"), end("y")),
        (Some(("x", Cause::Deadlock, 1)), Some(("y", Cause::Deadlock, 1)))
    );
    assert_eq!((end("idle"), end("alone"), end("e")), (Some(("idle", Cause::Idle, 1)), None, None));
    assert!(is_any_waiting(&rows) && !is_any_waiting(&[row("e")]));
    // Whoever says it of itself is not believed.
    first(&mut rows, &Graph::default());
    assert!(rows.iter().all(|row| row.chain.is_none()));
}

/// Whether somebody waits for itself over others, where every wait counts.
fn has_circle(rows: &[Session]) -> bool {
    let of = |name: &str| rows.iter().find(|row| row.reference == name);
    rows.iter().any(|from| {
        let (mut seen, mut left) = (BTreeSet::new(), vec![from.reference.as_str()]);
        while let Some(at) = left.pop() {
            for link in of(at).into_iter().flat_map(|row| &row.links) {
                if link.to == from.reference {
                    return true;
                }
                if seen.insert(link.to.as_str()) {
                    left.push(&link.to);
                }
            }
        }
        false
    })
}

/// The same by the plain rules, one session at a time: what a chain is, without its details.
struct Plain<'a>(&'a [Session]);

impl Plain<'_> {
    fn row(&self, name: &str) -> Option<&Session> {
        self.0.iter().find(|row| row.reference == name)
    }

    /// For whom, and of which group one is enough. Who has ended waits for nobody.
    fn targets(&self, name: &str) -> BTreeSet<(&str, Option<u32>)> {
        let row = self.row(name).filter(|row| row.status != Status::Ended);
        let links = row.into_iter().flat_map(|row| &row.links);
        links.map(|link| (link.to.as_str(), link.any.then_some(link.group))).collect()
    }

    fn stuck(&self) -> BTreeSet<&str> {
        let names = self.0.iter().map(|row| row.reference.as_str());
        let mut stuck: BTreeSet<&str> = names.collect();
        loop {
            let may_go_on = |name: &&str| {
                let targets = self.targets(name);
                targets.iter().all(|(to, group)| match group {
                    None => !stuck.contains(to),
                    Some(_) => {
                        let mut same = targets.iter().filter(|(_, other)| other == group);
                        same.any(|(to, _)| !stuck.contains(to))
                    }
                })
            };
            let Some(free) = stuck.iter().copied().find(may_go_on) else { return stuck };
            stuck.remove(free);
        }
    }

    fn next_stuck(&self, name: &str) -> &str {
        let stuck = self.stuck();
        self.targets(name)
            .into_iter()
            .map(|(to, _)| to)
            .filter(|to| stuck.contains(to))
            .min()
            .unwrap()
    }

    /// From one that is stuck until one is met again.
    fn round(&self, name: &str) -> Vec<String> {
        let mut way = vec![name.to_owned()];
        loop {
            let next = self.next_stuck(&way[way.len() - 1]).to_owned();
            let is_met = way.contains(&next);
            way.push(next);
            if is_met {
                return way;
            }
        }
    }

    fn cycles(&self) -> Vec<Vec<String>> {
        let circle = |name: &&str| {
            let mut way = self.round(name);
            let met = way.pop().unwrap();
            way.drain(..way.iter().position(|one| *one == met).unwrap());
            let least = way.iter().position(|one| Some(one) == way.iter().min()).unwrap();
            way.rotate_left(least);
            way
        };
        let circles: BTreeSet<_> = self.stuck().iter().map(circle).collect();
        circles.into_iter().collect()
    }

    fn cause(&self, name: &str) -> Cause {
        match self.row(name).map(|row| row.status) {
            None => Cause::Unknown,
            Some(Status::Waiting) => Cause::Permission,
            Some(Status::Executing) => Cause::Working,
            Some(Status::Idle) => Cause::Idle,
            Some(Status::Ended) => Cause::Ended,
        }
    }

    fn is_end(&self, name: &str) -> bool {
        self.targets(name).is_empty() || self.cause(name) == Cause::Permission
    }

    /// All ends, the most urgent first.
    fn ends(&self) -> Vec<&str> {
        let stuck = self.stuck();
        let named = self.0.iter().flat_map(|row| row.links.iter().map(|link| link.to.as_str()));
        let names = self.0.iter().map(|row| row.reference.as_str()).chain(named);
        let is_end = |name: &&str| !stuck.contains(name) && self.is_end(name);
        let ends: BTreeSet<(Cause, &str)> =
            names.filter(is_end).map(|name| (self.cause(name), name)).collect();
        ends.into_iter().map(|(_, name)| name).collect()
    }

    /// Who goes on once these ends are let go.
    fn go_on(&self, gone: &[&str]) -> BTreeSet<String> {
        let mut on: BTreeSet<String> = gone.iter().map(|name| (*name).to_owned()).collect();
        loop {
            let goes_on = |name: &&str| {
                let targets = self.targets(name);
                let is_on = |to: &str| on.contains(to);
                !on.contains(*name)
                    && !self.is_end(name)
                    && targets.iter().all(|(to, group)| match group {
                        None => is_on(to),
                        Some(_) => targets.iter().any(|(to, other)| other == group && is_on(to)),
                    })
            };
            let mut names = self.0.iter().map(|row| row.reference.as_str());
            let Some(name) = names.find(goes_on).map(str::to_owned) else { return on };
            on.insert(name);
        }
    }

    /// The end that holds it up: were all let go, the most urgent last, it would go on with this one.
    fn held_by(&self, name: &str) -> Option<&str> {
        let ends = self.ends();
        let gone_from = |from: usize| self.go_on(&ends[from..]).contains(name);
        (0..ends.len()).rev().find(|from| gone_from(*from)).map(|from| ends[from])
    }

    /// Of one that can go on: what holds it up, and the shortest way there over what holds it up, each step of it the
    /// least.
    fn end(&self, name: &str) -> (Cause, Vec<String>) {
        let end = self.held_by(name).unwrap();
        let mut ways: Vec<Vec<&str>> = vec![vec![name]];
        let mut best: Option<(usize, Vec<&str>)> = None;
        while let Some(way) = ways.pop() {
            let last = way[way.len() - 1];
            if last == end {
                let found = (way.len(), way);
                best = Some(best.map_or(found.clone(), |best| best.min(found)));
                continue;
            }
            let targets = self.targets(last);
            // The least urgent of a group is what it comes to.
            let ends = self.ends();
            let place = |to: &str| {
                let held = self.held_by(to)?;
                ends.iter().position(|one| *one == held)
            };
            for (to, group) in &targets {
                let same = targets.iter().filter(|(_, other)| group.is_some() && other == group);
                let holds = same.filter_map(|(to, _)| place(to)).max().or_else(|| place(to));
                let is_held = holds.is_some_and(|at| ends[at] == end);
                if is_held && self.held_by(to) == Some(end) && !way.contains(to) {
                    ways.push([&way[..], &[to]].concat());
                }
            }
        }
        (self.cause(end), best.unwrap().1.into_iter().map(str::to_owned).collect())
    }
}

proptest! {
    /// In whatever order rows come, everybody makes the same graph; circles are found where there are any, and
    /// are circles; every chain goes along waits.
    #[test]
    fn everybody_makes_the_same_graph(
        waits in prop::collection::vec((0usize..9, 0usize..9, prop::bool::weighted(0.3)), 0..16),
        order in Just((0usize..9).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];
        let mut rows: Vec<Session> = names.iter().map(|name| row(name)).collect();
        let all = waits.iter().all(|(.., any)| !any);
        for (from, to, any) in waits.into_iter().filter(|(from, to, _)| from != to) {
            rows[from].links.push(wait(names[to], any));
        }
        let straight = graph(&rows, &[]);
        let mixed: Vec<Session> = order.iter().map(|at| rows[*at].clone()).collect();
        prop_assert_eq!(&graph(&mixed, &[]), &straight);
        prop_assert!(straight.cycles.is_empty() || has_circle(&rows));
        prop_assert!(!all || straight.cycles.is_empty() != has_circle(&rows));
        let waits = |from: &str, to: &str| {
            rows.iter().any(|row| row.reference == from && row.links.iter().any(|l| l.to == to))
        };
        for cycle in &straight.cycles {
            let next = cycle.iter().cycle().skip(1);
            prop_assert!(cycle.iter().zip(next).all(|(from, to)| waits(from, to)), "{:?}", cycle);
        }
        for chain in &straight.chains {
            prop_assert!(chain.sessions.windows(2).all(|two| waits(&two[0], &two[1])), "{:?}", chain);
        }
    }

    /// What is quick is the same as what is plain.
    #[test]
    fn as_by_the_plain_rules(
        waits in prop::collection::vec((0usize..12, 0usize..14, prop::option::weighted(0.3, 0u32..3)), 0..24),
        statuses in prop::collection::vec(0usize..4, 12),
    ) {
        let name = |at: usize| format!("s{at:02}");
        let status = |at: usize| {
            [Status::Executing, Status::Waiting, Status::Idle, Status::Ended][statuses[at]]
        };
        let mut rows: Vec<Session> = (0..12)
            .map(|at| {
                let waiting_for = (status(at) == Status::Waiting).then_some(WaitingFor::Permission);
                Session { status: status(at), waiting_for, ..row(&name(at)) }
            })
            .collect();
        for (from, to, group) in waits.into_iter().filter(|(from, to, _)| from != to) {
            let group = Link { group: group.unwrap_or(0), ..wait(&name(to), group.is_some()) };
            rows[from].links.push(group);
        }
        let (made, plain) = (graph(&rows, &[]), Plain(&rows));
        prop_assert_eq!(&made.cycles, &plain.cycles());
        let stuck = plain.stuck();
        let waits = |row: &Session| !plain.targets(&row.reference).is_empty();
        let is_told = |row: &&Session| waits(row) || row.status == Status::Waiting;
        prop_assert_eq!(made.chains.len(), rows.iter().filter(is_told).count());
        for chain in &made.chains {
            let first = chain.sessions[0].as_str();
            if stuck.contains(first) {
                prop_assert_eq!(chain.cause, Cause::Deadlock);
                prop_assert_eq!(&chain.sessions, &plain.round(first));
            } else {
                prop_assert_eq!((chain.cause, chain.sessions.clone()), plain.end(first));
            }
        }
        // So many end where this one does, but for the end itself.
        let end = |chain: &rrd_proto::Chain| {
            let last = chain.sessions.last().unwrap();
            let circle = made.cycles.iter().find(|cycle| cycle.contains(last));
            circle.map_or_else(|| last.clone(), |circle| circle[0].clone())
        };
        for chain in &made.chains {
            let same = made.chains.iter().filter(|other| end(other) == end(chain));
            let others = same.filter(|other| other.sessions[0] != end(chain)).count();
            prop_assert_eq!(chain.blocks, others as u64);
        }
    }
}

#[test]
fn of_several_calls_for_one_target_the_first_is_told_in_whatever_order_they_come() {
    let call = |group, at: Option<i64>, evidence: &str| Link {
        group,
        since: at.map(Timestamp::from_millis),
        evidence: evidence.to_owned(),
        ..wait("b", group > 0)
    };
    let mut links = vec![call(0, Some(5), "x"), call(1, None, "a"), call(0, Some(3), "z")];
    for _ in 0..links.len() {
        links.rotate_left(1);
        let made = graph(&[Session { links: links.clone(), ..row("a") }, row("b")], &[]);
        let told: Vec<_> = made.edges.iter().map(|edge| (&*edge.evidence, edge.since)).collect();
        assert_eq!(told, [("z", Some(Timestamp::from_millis(3)))]);
    }
}

#[test]
fn an_edge_says_whether_one_of_several_is_enough() {
    let links = |calls: &[(&str, Option<u32>)]| {
        let link = |(to, group): &(&str, Option<u32>)| Link {
            group: group.unwrap_or(0),
            ..wait(to, group.is_some())
        };
        calls.iter().map(link).collect::<Vec<_>>()
    };
    let calls =
        [("d", Some(2)), ("b", Some(1)), ("c", Some(2)), ("b", None), ("c", Some(1)), ("e", None)];
    let mut rows = [Session { links: links(&calls), ..row("a") }, waits_for("f", &["a"])];
    for _ in 0..calls.len() {
        rows[0].links.rotate_left(1);
        let made = graph(&rows, &[]);
        let told: Vec<_> =
            made.edges.iter().map(|edge| (&*edge.to, edge.any, &*edge.groups)).collect();
        let of_a =
            [("b", false, &[1][..]), ("c", true, &[1, 2]), ("d", true, &[2]), ("e", false, &[])];
        assert_eq!(told, [&of_a[..], &[("a", false, &[])]].concat());
    }
}

#[test]
fn messages_of_harnesses_are_joined_by_what_both_ends_tell() {
    let message = |id: &str, incoming: bool| Link {
        kind: EdgeKind::Message,
        state: EdgeState::Read,
        to: format!("{MESSAGE}{id}"),
        incoming,
        ..wait("", false)
    };
    let with = |name: &str, links: Vec<Link>| Session { links, ..row(name) };
    let rows = [
        with("a", vec![message("1", false), message("2", false), message("3", true)]),
        with("b", vec![message("1", true), message("9", true)]),
        // Two say that they sent it, and one that it is its own.
        with("c", vec![message("3", false), message("4", false), message("4", true)]),
        with("d", vec![message("3", false)]),
    ];
    let backwards: Vec<Session> = rows.iter().rev().cloned().collect();
    for rows in [&rows[..], &backwards] {
        let graph = graph(rows, &[]);
        let edges: Vec<(&str, &str)> =
            graph.edges.iter().map(|edge| (edge.from.as_str(), edge.to.as_str())).collect();
        assert_eq!(edges, [("a", "b"), ("c", "a")]);
        assert!(graph.nodes.iter().all(|node| !node.reference.starts_with(MESSAGE)));
    }
}
