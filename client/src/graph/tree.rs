//! What must be done first, each with those that wait for it below.

use std::collections::HashMap;

use rrd_proto::{Cause, Edge, EdgeKind, EdgeState, End, Graph, GraphNode, Timestamp, age, ends};

use super::{AWAY, is_away, name};
use crate::{
    look,
    text::{clean, fit_both, fit_end, fit_middle, width},
};

/// Titles in output that has no width of its own.
const PIPED: usize = 200;

/// Columns of a title beside its host; where there are fewer the host gives way, too.
const LEAST: usize = 4;

/// Two hosts and what ties them have no room in less.
const NARROW: usize = 60;

/// Nothing where nobody waits and no tie of two sessions asks for anything.
pub(crate) fn lines(graph: &Graph, now: Timestamp, columns: Option<usize>) -> Vec<String> {
    let columns = columns.unwrap_or(PIPED);
    let nodes: HashMap<&str, &GraphNode> =
        graph.nodes.iter().map(|node| (node.reference.as_str(), node)).collect();
    let named = |one: &str| match nodes.get(one) {
        Some(node) => {
            let (title, host) = name(node);
            (title, fit_middle(&host, columns / 4).into_owned())
        }
        None => (clean(one).into_owned(), String::new()),
    };
    let away = |one: &str| nodes.get(one).filter(|node| is_away(node)).map_or("", |_| AWAY);
    // The title and what it says give way; its host, since when, and the ref that one types, do not.
    let fitted = |before: &str, name: (String, String), words: &str, detail: &str, end: &str| {
        let (mut title, mut host) = name;
        let fixed = [before, "  ", words, end].map(width).iter().sum();
        let room = columns.saturating_sub(fixed);
        if room < width(&host) + LEAST {
            title += &std::mem::take(&mut host);
        }
        let (title, detail) = fit_both(&title, detail, room.saturating_sub(width(&host)));
        fit_end(&format!("{before}{title}{host}  {words}{detail}{end}"), columns).into_owned()
    };
    let mut lines = Vec::new();
    for End { at, chain, circle, behind } in ends(graph) {
        let since = chain.since.map_or_else(String::new, |at| format!(", {}", age(now, at)));
        let detail =
            chain.detail.as_deref().map_or_else(String::new, |d| format!(": {}", clean(d)));
        let (detail, since) = match circle {
            Some(cycle) => {
                let round = cycle.iter().chain(cycle.first()).map(|one| clean(one));
                (format!(": {}", round.collect::<Vec<_>>().join(" → ")), String::new())
            }
            None => (detail, since),
        };
        let sign = if behind.is_empty() { "● " } else { "◆ " };
        let end = format!("{since}  {}", clean(at));
        let away_too = if chain.cause == Cause::Away { "" } else { away(at) };
        let words = format!("{}{away_too}", chain.cause.words());
        let line = fitted(sign, named(at), &words, &detail, &end);
        let color = if circle.is_some() { look::RED } else { look::AMBER };
        lines.push(look::paint(color, &line));
        for (depth, one) in behind {
            let indent = "  ".repeat(depth.min(columns / 8));
            let end = format!("  {}", clean(one));
            let words = format!("waits{}", away(one));
            lines.push(fitted(&format!("{indent}└ "), named(one), &words, "", &end));
        }
    }
    let others: Vec<String> = graph
        .edges
        .iter()
        .filter(|edge| !matches!(edge.kind, EdgeKind::Parent | EdgeKind::Wait))
        .filter(|edge| !matches!(edge.state, EdgeState::Read | EdgeState::Inactive))
        .map(|edge| tie(edge, named(&edge.from), named(&edge.to), columns))
        .collect();
    if !lines.is_empty() && !others.is_empty() {
        lines.push(String::new());
    }
    lines.extend(others);
    lines
}

/// Two sessions and what ties them, which is told first: the titles give way, then the middle of it, and neither
/// how a binding stands nor the id that one types, nor, unless it is narrow, their hosts.
fn tie(edge: &Edge, from: (String, String), to: (String, String), columns: usize) -> String {
    let ((mut from, mut from_host), (mut to, mut to_host)) = (from, to);
    if columns < NARROW {
        from += &std::mem::take(&mut from_host);
        to += &std::mem::take(&mut to_host);
    }
    let (between, before, what) = match edge.kind {
        EdgeKind::Message => (" has a message for ", ", ", edge.state.to_string()),
        EdgeKind::Binding => (" → ", ", binding ", clean(&edge.evidence).into_owned()),
        _ => (" and ", ": ", clean(&edge.evidence).into_owned()),
    };
    let fixed = ["! ", &from_host, between, &to_host, before].map(width).iter().sum();
    let room = columns.saturating_sub(fixed);
    let titles = (width(&from) + width(&to)).min(columns / 6);
    let what = fit_middle(&what, room.saturating_sub(titles));
    let (from, to) = fit_both(&from, &to, room.saturating_sub(width(&what)));
    let line = format!("! {from}{from_host}{between}{to}{to_host}{before}{what}");
    fit_end(&line, columns).into_owned()
}

#[cfg(test)]
mod tests {
    use rrd_proto::{Chain, Harness, HostState, Status};

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_795_000_000_000);

    fn node(one: &str, host: &str, title: &str) -> GraphNode {
        GraphNode {
            reference: one.to_owned(),
            host: Some(host.to_owned()),
            host_state: Some(HostState::Live),
            harness: Some(Harness::ClaudeCode),
            session_id: Some(format!("id-{one}")),
            repo: None,
            title: Some(title.to_owned()),
            status: Some(Status::Waiting),
            status_since: None,
            waiting_for: None,
            waiting_detail: None,
        }
    }

    fn chain(sessions: &[&str], cause: Cause, detail: Option<&str>, blocks: u64) -> Chain {
        Chain {
            sessions: sessions.iter().map(|&one| one.to_owned()).collect(),
            cause,
            detail: detail.map(str::to_owned),
            since: Some(NOW.plus(-14 * 60_000)),
            blocks,
        }
    }

    fn plain(graph: &Graph) -> Vec<String> {
        let lines = lines(graph, NOW, Some(70));
        lines.iter().map(|line| anstream::adapter::strip_str(line).to_string()).collect()
    }

    #[test]
    fn what_blocks_stands_above_those_it_blocks() {
        let graph = Graph {
            nodes: vec![
                node("aaaaa", "web", "Ship it"),
                node("bbbbb", "mac", "Build\u{1b}[2J"),
                node("ccccc", "mac", "Publish"),
                node("ddddd", "mac", "Other"),
            ],
            edges: vec![Edge {
                from: "aaaaa".to_owned(),
                to: "ddddd".to_owned(),
                kind: EdgeKind::SameWorktree,
                state: EdgeState::Active,
                since: None,
                evidence: "both work in one worktree".to_owned(),
                any: false,
                groups: Vec::new(),
            }],
            chains: vec![
                chain(&["ccccc"], Cause::Permission, Some("Bash: npm publish"), 2),
                chain(&["bbbbb", "ccccc"], Cause::Permission, Some("Bash: npm publish"), 2),
                chain(&["aaaaa", "bbbbb", "ccccc"], Cause::Permission, Some("x"), 2),
                chain(&["ddddd", "gone1"], Cause::Unknown, None, 1),
            ],
            cycles: Vec::new(),
        };
        let told = plain(&graph);
        assert_eq!(
            told,
            [
                "◆ Publish (mac)  needs permission: Bash: npm publish, 14m  ccccc",
                "  └ Build[2J (mac)  waits  bbbbb",
                "    └ Ship it (web)  waits  aaaaa",
                "◆ gone1  is not known, 14m  gone1",
                "  └ Other (mac)  waits  ddddd",
                "",
                "! Ship it (web) and Other (mac): both work in one worktree",
            ]
        );
        assert!(lines(&Graph::default(), NOW, None).is_empty());
        // Where it is very narrow the age and the refs stay.
        let narrow = lines(&graph, NOW, Some(38));
        assert!(anstream::adapter::strip_str(&narrow[0]).to_string().ends_with(", 14m  ccccc"));
        // Where it is narrow the host does, too.
        let narrow = lines(&graph, NOW, Some(44));
        let narrow = narrow.iter().map(|line| anstream::adapter::strip_str(line).to_string());
        assert_eq!(
            narrow.take(3).collect::<Vec<_>>(),
            [
                "◆ Pu… (mac)  needs permission:…, 14m  ccccc",
                "  └ Build[2J (mac)  waits  bbbbb",
                "    └ Ship it (web)  waits  aaaaa",
            ]
        );
    }

    #[test]
    fn where_it_is_narrow_titles_give_way_and_not_what_ties_them() {
        let long = "Review the migration of the invoices and everything behind";
        let edge = |kind, state, evidence: &str| Edge {
            from: "aaaaa".to_owned(),
            to: "bbbbb".to_owned(),
            kind,
            state,
            since: None,
            evidence: evidence.to_owned(),
            any: false,
            groups: Vec::new(),
        };
        let pending = "pending: events:read, messages:write (k3x9a)";
        let graph = Graph {
            nodes: vec![node("aaaaa", "web", long), node("bbbbb", "mac", long)],
            edges: vec![
                edge(EdgeKind::Binding, EdgeState::Pending, pending),
                edge(EdgeKind::Message, EdgeState::Unread, "m"),
                edge(EdgeKind::SameWorktree, EdgeState::Active, "both work in one worktree"),
            ],
            ..Graph::default()
        };
        for columns in [50, 60, 80, 100] {
            let told = lines(&graph, NOW, Some(columns));
            assert!(told.iter().all(|line| width(line) <= columns), "{columns}: {told:#?}");
            let has = |at: usize, words: &[&str]| words.iter().all(|word| told[at].contains(word));
            let hosts = ["(web)", "(mac)"];
            assert!(columns < NARROW || (0..3).all(|at| has(at, &hosts)), "{told:#?}");
            assert!(has(0, &["! Rev", " → Rev", "binding pending", "(k3x9a)"]), "{told:#?}");
            assert!(has(1, &["! Rev", " has a message for Rev", ", unread"]), "{told:#?}");
            assert!(has(2, &["! Rev", " and Rev", "worktree"]), "{told:#?}");
        }
    }

    #[test]
    fn the_host_stays_where_a_title_is_long_also_where_that_is_long_itself() {
        let long = "Review the migration of the invoices and everything behind";
        let host = format!("build-{}-7", "x".repeat(50));
        let graph = Graph {
            nodes: vec![node("aaaaa", "web", long), node("bbbbb", &host, long)],
            chains: vec![chain(&["aaaaa", "bbbbb"], Cause::Permission, Some(long), 1)],
            ..Graph::default()
        };
        for columns in [50, 60, 80, 100] {
            let told = lines(&graph, NOW, Some(columns));
            let plain = |line: &String| anstream::adapter::strip_str(line).to_string();
            let told: Vec<String> = told.iter().map(plain).collect();
            let has = |at: usize, words: &[&str]| words.iter().all(|word| told[at].contains(word));
            assert!(has(0, &["◆ Re", "-7)  needs permission:", ", 14m  bbbbb"]), "{told:#?}");
            assert!(has(1, &["  └ Re", " (web)  waits  aaaaa"]), "{told:#?}");
            assert!(told.iter().all(|line| width(line) <= columns), "{columns}: {told:#?}");
        }
    }

    #[test]
    fn a_waiter_whose_host_is_away_is_said_to_be() {
        let away = |one: &str| GraphNode {
            host_state: Some(HostState::Away),
            ..node(one, "web", "A task with a long name")
        };
        let graph = Graph {
            nodes: vec![away("aaaaa"), node("bbbbb", "mac", "B"), away("ccccc")],
            chains: vec![
                chain(&["aaaaa", "bbbbb"], Cause::Permission, None, 1),
                chain(&["bbbbb", "ccccc"], Cause::Away, None, 1),
            ],
            ..Graph::default()
        };
        let told = lines(&graph, NOW, Some(44)).join("\n");
        assert!(told.contains("waits (host away)  aaaaa"), "{told}");
        assert_eq!(told.matches("(host away)").count(), 2, "{told}");
    }

    #[test]
    fn a_circle_is_told_once() {
        let graph = Graph {
            nodes: vec![
                node("aaaaa", "web", "A"),
                node("bbbbb", "mac", "B"),
                node("ccccc", "mac", "C"),
            ],
            chains: vec![
                chain(&["aaaaa", "bbbbb", "aaaaa"], Cause::Deadlock, None, 2),
                chain(&["bbbbb", "aaaaa", "bbbbb"], Cause::Deadlock, None, 2),
                chain(&["ccccc", "bbbbb", "aaaaa", "bbbbb"], Cause::Deadlock, None, 2),
            ],
            cycles: vec![vec!["aaaaa".to_owned(), "bbbbb".to_owned()]],
            ..Graph::default()
        };
        let told = plain(&graph);
        assert_eq!(
            told,
            [
                "◆ A (web)  wait for each other: aaaaa → bbbbb → aaaaa  aaaaa",
                "  └ B (mac)  waits  bbbbb",
                "    └ C (mac)  waits  ccccc",
            ]
        );
    }
}
