//! The graph in the languages of what draws graphs: Graphviz and Mermaid.
//!
//! Titles come from transcripts: in both languages they are quoted, and what could end a quotation is left out.

use std::collections::HashMap;

use rrd_proto::{Cause, Edge, EdgeKind, EdgeState, Graph, GraphNode};

use super::{AWAY, is_away, name};
use crate::text::fit_end;

/// Letters of a title, and of its host.
const TITLE: usize = 60;
const HOST: usize = 70;

/// Lines of `dot`.
pub(crate) fn dot(graph: &Graph) -> Vec<String> {
    let mut lines = vec!["digraph rrd {".to_owned(), "  rankdir=LR; node [shape=box];".to_owned()];
    let causes = causes(graph);
    for node in &graph.nodes {
        let cause = causes.get(node.reference.as_str()).copied();
        let urgent = if cause.is_some_and(Cause::needs_person) { ", penwidth=3" } else { "" };
        let (name, label) = (id(&node.reference), label(node, cause, "\\n"));
        lines.push(format!("  \"{name}\" [label=\"{label}\"{urgent}];"));
    }
    for edge in drawn(graph) {
        let style = match edge.kind {
            EdgeKind::Wait => "style=bold",
            EdgeKind::Parent => "style=solid",
            EdgeKind::Message | EdgeKind::Binding => "style=dashed",
            EdgeKind::Duplicate | EdgeKind::SameWorktree => "style=dotted, dir=none",
        };
        let (from, to, what) = (id(&edge.from), id(&edge.to), what(edge));
        lines.push(format!("  \"{from}\" -> \"{to}\" [label=\"{what}\", {style}];"));
    }
    lines.push("}".to_owned());
    lines
}

/// Lines of `mermaid`.
pub(crate) fn mermaid(graph: &Graph) -> Vec<String> {
    let mut lines = vec!["flowchart LR".to_owned()];
    let causes = causes(graph);
    for node in &graph.nodes {
        let cause = causes.get(node.reference.as_str()).copied();
        let (name, label) = (id(&node.reference), label(node, cause, "<br/>"));
        lines.push(format!("  {name}[\"{label}\"]"));
        if cause.is_some_and(Cause::needs_person) {
            lines.push(format!("  style {name} stroke-width:4px"));
        }
    }
    for edge @ Edge { from, to, kind, .. } in drawn(graph) {
        let arrow = match kind {
            EdgeKind::Wait => "==>",
            EdgeKind::Parent => "-->",
            EdgeKind::Message | EdgeKind::Binding => "-.->",
            EdgeKind::Duplicate | EdgeKind::SameWorktree => "-.-",
        };
        lines.push(format!("  {} {arrow}|{}| {}", id(from), what(edge), id(to)));
    }
    lines
}

/// Why they do not go on: those at whom chains end, and those who wait for each other.
fn causes(graph: &Graph) -> HashMap<&str, Cause> {
    let ends = graph.chains.iter().filter_map(|chain| {
        let last = chain.sessions.last()?;
        Some((last.as_str(), chain.cause))
    });
    let circles = graph.cycles.iter().flatten().map(|one| (one.as_str(), Cause::Deadlock));
    ends.chain(circles).collect()
}

/// What is over ties nobody.
fn drawn(graph: &Graph) -> impl Iterator<Item = &Edge> {
    graph.edges.iter().filter(|edge| edge.state != EdgeState::Inactive)
}

/// What an edge says; of a binding, whether anybody has agreed.
fn what(edge: &Edge) -> String {
    match (edge.kind, edge.state) {
        (EdgeKind::Binding, state @ EdgeState::Pending) => format!("{}, {state}", edge.kind),
        _ => edge.kind.to_string(),
    }
}

/// Refs are five letters; whatever else another host may say is no name here.
fn id(reference: &str) -> String {
    let letters = reference.chars().filter(char::is_ascii_alphanumeric).take(16);
    // A ref may be a word of the language: `end` ends a block.
    format!("s_{}", letters.collect::<String>())
}

fn label(node: &GraphNode, cause: Option<Cause>, newline: &str) -> String {
    let status = node.status.map_or("unknown", rrd_proto::Status::as_str);
    let status = cause.map_or(status, Cause::words);
    let harmless = |c: char| {
        !matches!(c, '"' | '\\' | '<' | '>' | '&' | '#' | '`' | '[' | ']' | '{' | '}' | '|' | ';')
    };
    let short = |text: &str, most| -> String {
        fit_end(&text.chars().filter(|c| harmless(*c)).collect::<String>(), most).into_owned()
    };
    let (title, host) = name(node);
    let name = short(&title, TITLE) + &short(&host, HOST);
    let away = if is_away(node) && cause != Some(Cause::Away) { AWAY } else { "" };
    format!("{name}{newline}{status}{away}")
}

#[cfg(test)]
mod tests {
    use rrd_proto::{Chain, HostState};

    use super::*;

    fn node(one: &str, title: &str) -> GraphNode {
        GraphNode {
            reference: one.to_owned(),
            host: Some("mac\"]".to_owned()),
            host_state: None,
            harness: None,
            session_id: Some(one.to_owned()),
            repo: None,
            title: Some(title.to_owned()),
            status: None,
            status_since: None,
            waiting_for: None,
            waiting_detail: None,
        }
    }

    #[test]
    fn whoever_needs_a_person_stands_out_with_the_cause() {
        let chain = |sessions: &[&str], cause| Chain {
            sessions: sessions.iter().map(|&one| one.to_owned()).collect(),
            cause,
            detail: None,
            since: None,
            blocks: 1,
        };
        let away = |name: &str| GraphNode { host_state: Some(HostState::Away), ..node(name, "E") };
        let graph = Graph {
            nodes: vec![
                node("a", "A"),
                node("b", "B"),
                node("c", "C"),
                node("d", "D"),
                away("e"),
                away("f"),
            ],
            chains: vec![
                chain(&["a", "b"], Cause::Permission),
                chain(&["c", "d", "c"], Cause::Deadlock),
                chain(&["e", "f"], Cause::Away),
            ],
            cycles: vec![vec!["c".to_owned(), "d".to_owned()]],
            ..Graph::default()
        };
        let dot = dot(&graph);
        assert_eq!(dot[2], "  \"s_a\" [label=\"A (mac)\\nunknown\"];");
        assert_eq!(dot[3], "  \"s_b\" [label=\"B (mac)\\nneeds permission\", penwidth=3];");
        assert!(dot[4].contains("wait for each other") && dot[5].contains("wait for each other"));
        let mermaid = mermaid(&graph);
        assert_eq!(mermaid[3], "  style s_b stroke-width:4px");
        assert_eq!(dot[6], "  \"s_e\" [label=\"E (mac)\\nunknown (host away)\"];");
        assert_eq!(dot[7], "  \"s_f\" [label=\"E (mac)\\nits host is away\"];");
        assert!(mermaid.contains(&"  s_e[\"E (mac)<br/>unknown (host away)\"]".to_owned()));
    }

    #[test]
    fn the_host_stays_where_a_title_is_long() {
        let title = "Review the migration of the invoices and everything behind it";
        let graph = Graph { nodes: vec![node("a", title)], ..Graph::default() };
        let told = "[label=\"Review the migration of the invoices and everything behind… (mac)";
        assert!(dot(&graph)[2].contains(told), "{:?}", dot(&graph));
        assert!(mermaid(&graph)[1].contains("… (mac)<br/>"), "{:?}", mermaid(&graph));
    }

    #[test]
    fn no_title_gets_out_of_its_quotes() {
        let hostile = "\"]; click a \"javascript:alert(1)\" <b>\\\n\u{1b}[31m`x` #quot; end";
        let edge = Edge {
            from: "end".to_owned(),
            to: "b\"; }".to_owned(),
            kind: EdgeKind::Wait,
            state: EdgeState::Declared,
            since: None,
            evidence: hostile.to_owned(),
            any: false,
            groups: Vec::new(),
        };
        let graph = Graph {
            nodes: vec![node("end", hostile), node("b\"; }", "ok")],
            edges: vec![edge],
            ..Graph::default()
        };
        let (dot, mermaid) = (dot(&graph), mermaid(&graph));
        assert_eq!(dot[4], "  \"s_end\" -> \"s_b\" [label=\"wait\", style=bold];");
        assert_eq!(mermaid[3], "  s_end ==>|wait| s_b");
        for line in [&dot[2], &mermaid[1]] {
            assert_eq!(line.matches('"').count() % 2, 0, "{line}");
            assert!(
                !line.contains('\u{1b}') && !line.contains('#') && !line.contains('`'),
                "{line}"
            );
        }
    }
}
