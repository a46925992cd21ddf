//! Who waits for whom: first the list of what lets nobody go on, then a drawing, then what else ties sessions.
//!
//! It stands where a session stands, so the script keeps it up to date as it does that. Not here: how the
//! graph is made (`rrd_core::graph`), and where on the drawing what lies ([`super::drawing`]).

use std::collections::{BTreeMap, HashMap};

use rrd_proto::{
    Cause, Edge, EdgeKind, EdgeState, End, Graph, GraphNode, HostState, Status, Timestamp, ends,
};
use serde::Serialize;

use super::{
    REFRESH, Shell, close, drawing,
    html::{Html, clean},
    list, open,
};

/// Ends that are shown, and those behind one of them, and other ties.
const MOST_ENDS: usize = 100;
const MOST_BEHIND: usize = 20;
const MOST_TIES: usize = 50;
/// What stands further behind is not moved in any more.
const DEEPEST: usize = 4;

/// What a person needs to know of the graph who looks at something else.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub(crate) struct Tally {
    /// Circles of sessions that wait for each other.
    pub(crate) circles: u64,
    /// Sessions that do not go on and that others wait for.
    pub(crate) chains: u64,
    /// Another one whenever the graph is another one.
    pub(crate) tag: String,
}

impl Tally {
    pub(crate) fn of(graph: &Graph, tag: String) -> Self {
        let ends = ends(graph);
        let chains = ends.iter().filter(|end| end.circle.is_none() && !end.behind.is_empty());
        Self { circles: graph.cycles.len() as u64, chains: chains.count() as u64, tag }
    }

    /// In words; none where nobody waits for another one.
    pub(super) fn words(&self) -> String {
        let many = |number: u64, one: &str| match number {
            0 => None,
            1 => Some(format!("1 {one}")),
            _ => Some(format!("{number} {one}s")),
        };
        let words = [many(self.circles, "circle"), many(self.chains, "chain")];
        words.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

/// What the page is made of.
#[derive(Debug)]
pub(crate) struct GraphView<'a> {
    /// The label of the host that answers.
    pub(crate) host: &'a str,
    pub(crate) graph: &'a Graph,
    pub(crate) tally: &'a Tally,
    pub(crate) now: Timestamp,
}

/// The page at `/waits`.
pub(crate) fn graph(view: &GraphView<'_>) -> String {
    let GraphView { host, graph, tally, now } = *view;
    let title = "Who waits for whom · rrd";
    let mut page =
        open(&Shell { title, event_id: "", as_of: now, live: true, style: Some("graph.css") });
    list::beside(&mut page, host, tally, now);
    page.raw("<article id=\"session\" class=\"graph\"").attr("data-graph", &tally.tag);
    page.raw("><header><a class=\"back\" href=\"/\" aria-label=\"All sessions\">‹</a>");
    page.raw("<div class=\"facts\"><h1>Who waits for whom</h1><p>");
    page.text(&or(&tally.words(), "Nobody waits for another session.")).raw("</p></div></header>");
    page.raw("<section class=\"activity\" aria-label=\"Chains\"><noscript><p class=\"says\">");
    page.raw("Without JavaScript this is not live: the page asks again every ");
    page.number(REFRESH).raw(" seconds.</p></noscript>");
    let names = Names::new(graph);
    let ends = ends(graph);
    for (heading, class, of) in PARTS {
        let of: Vec<&End<'_>> = ends.iter().filter(|end| of(end)).collect();
        if of.is_empty() {
            continue;
        }
        page.raw("<h2>").raw(heading).raw(" <span class=\"n\">").number(of.len() as u64);
        page.raw("</span></h2><ul class=\"ends ").raw(class).raw("\">");
        of.iter().take(MOST_ENDS).for_each(|end| one(&mut page, end, &names, now));
        page.raw("</ul>");
        more(&mut page, of.len(), MOST_ENDS);
    }
    drawing::write(&mut page, graph, &names);
    ties(&mut page, graph, &names);
    if ends.is_empty() && graph.edges.is_empty() {
        page.raw("<p class=\"says\">Nobody waits, and nothing ties two sessions. An agent that ");
        page.raw("waits for another one with <code>rrd wait</code> will be here.</p>");
    }
    page.raw("</section><footer class=\"next\"></footer></article>");
    close(page)
}

/// A heading, a class, and which ends stand there.
type Part = (&'static str, &'static str, fn(&End<'_>) -> bool);

/// Circles, what needs a person, what else others wait for.
const PARTS: [Part; 3] = [
    ("Circles: nobody in them can go on", "circles", |end| end.circle.is_some()),
    ("Needs you", "need", |end| end.circle.is_none() && end.chain.cause.needs_person()),
    ("Waited for", "held", |end| {
        end.circle.is_none() && !end.chain.cause.needs_person() && !end.behind.is_empty()
    }),
];

fn or(text: &str, other: &str) -> String {
    if text.is_empty() { other.to_owned() } else { text.to_owned() }
}

fn more(page: &mut Html, all: usize, most: usize) {
    if all > most {
        page.raw("<p class=\"rest\">and ").number((all - most) as u64);
        page.raw(" more: <code>rrd graph</code> shows all</p>");
    }
}

/// Sessions by their refs, and since when one waits for another.
pub(super) struct Names<'a> {
    nodes: HashMap<&'a str, &'a GraphNode>,
    waits: BTreeMap<&'a str, Timestamp>,
}

impl<'a> Names<'a> {
    pub(super) fn new(graph: &'a Graph) -> Self {
        let nodes = graph.nodes.iter().map(|node| (node.reference.as_str(), node)).collect();
        let waits = graph.edges.iter().filter(|edge| edge.kind == EdgeKind::Wait);
        let waits = waits.filter_map(|edge| Some((edge.from.as_str(), edge.since?))).collect();
        Self { nodes, waits }
    }

    pub(super) fn node(&self, one: &str) -> Option<&'a GraphNode> {
        self.nodes.get(one).copied()
    }

    /// Its title, else its id, else its ref.
    pub(super) fn title(&self, one: &str) -> String {
        let node = self.node(one);
        let texts = [
            node.and_then(|node| node.title.as_deref()),
            node.and_then(|node| node.session_id.as_deref()),
        ];
        let known = texts.into_iter().flatten().map(clean).find(|text| !text.is_empty());
        known.unwrap_or_else(|| clean(one))
    }

    /// A link to it, where anybody knows it, around what `write` writes.
    pub(super) fn linked(&self, page: &mut Html, one: &str, write: impl FnOnce(&mut Html)) {
        let known = self.node(one).and_then(|node| {
            Some((node.host.as_ref()?, node.harness.as_ref()?, node.session_id.as_ref()?))
        });
        if let Some((host, harness, id)) = known {
            page.raw("<a href=\"").address(host, harness.as_str(), id).raw("\">");
        }
        write(page);
        page.raw(if known.is_some() { "</a>" } else { "" });
    }

    /// Its title as a link, and its host.
    fn write(&self, page: &mut Html, one: &str) {
        self.linked(page, one, |page| {
            page.raw("<b>").text(&self.title(one)).raw("</b>");
        });
        if let Some(host) = self.node(one).and_then(|node| node.host.as_deref()) {
            page.raw(" <span class=\"host\">").text(host).raw("</span>");
        }
        if self.node(one).is_some_and(|node| node.host_state == Some(HostState::Away)) {
            page.raw(" (host away)");
        }
    }
}

/// What a node is coloured by: the same classes as of rows.
pub(super) fn class(node: Option<&GraphNode>) -> &'static str {
    let Some(node) = node else { return "gone" };
    match node.status {
        _ if node.host_state == Some(HostState::Away) => "away",
        Some(Status::Waiting) if node.waiting_for != Some(rrd_proto::WaitingFor::Session) => {
            "waiting"
        }
        Some(Status::Waiting) => "blocked",
        Some(Status::Executing) => "executing",
        Some(Status::Idle) => "idle",
        Some(Status::Ended) => "ended",
        None => "gone",
    }
}

fn one(page: &mut Html, end: &End<'_>, names: &Names<'_>, now: Timestamp) {
    let chain = end.chain;
    let (class, sign) = match (chain.cause, end.behind.is_empty()) {
        (Cause::Deadlock, _) => ("alarm", "◆"),
        (Cause::Crashed | Cause::Failed, _) => ("failed", "✕"),
        (cause, false) if cause.needs_person() => ("waiting", "◆"),
        (cause, true) if cause.needs_person() => ("waiting", "●"),
        (Cause::Working, _) => ("executing", "◐"),
        _ => ("calm", "◌"),
    };
    page.raw("<li class=\"end ").raw(class).raw("\"><p class=\"line\"><span class=\"state\">");
    page.raw("<span class=\"sign\" aria-hidden=\"true\">").raw(sign).raw("</span>");
    page.raw("<span class=\"words\">").raw(chain.cause.words()).raw("</span></span>");
    let node = names.node(end.at);
    let place = [node.and_then(|n| n.host.as_deref()), node.and_then(|n| n.repo.as_deref())];
    let place = place.into_iter().flatten().filter(|text| !clean(text).is_empty());
    if end.circle.is_none() && place.clone().next().is_some() {
        page.raw("<span class=\"place\">");
        for text in place {
            page.raw("<span>").text(text).raw("</span>");
        }
        page.raw("</span>");
    }
    if let Some(since) = chain.since.filter(|since| now.since(*since) < rrd_proto::AGES) {
        list::age(page, since, now);
    }
    page.raw("</p>");
    match end.circle {
        Some(circle) => {
            page.raw("<ol class=\"round\">");
            for one in circle {
                page.raw("<li>");
                names.write(page, one);
                page.raw(" waits for</li>");
            }
            page.raw("<li>");
            names.write(page, end.at);
            page.raw("</li></ol><p class=\"hint\">Let one of them go on without: end its ");
            page.raw("<code>rrd wait</code>, or tell its agent to.</p>");
        }
        None => {
            page.raw("<p class=\"title\">");
            names.linked(page, end.at, |page| {
                page.raw("<b>").text(&names.title(end.at)).raw("</b>");
            });
            page.raw("</p>");
        }
    }
    if let Some(detail) = chain.detail.as_deref().filter(|detail| !clean(detail).is_empty()) {
        page.raw("<code class=\"what\">").text(detail).raw("</code>");
    }
    let is_round = |one: &str| end.circle.is_some_and(|circle| circle.iter().any(|of| of == one));
    let behind: Vec<_> = end.behind.iter().filter(|(_, one)| !is_round(one)).collect();
    if !behind.is_empty() {
        page.raw("<p class=\"blocks\"><b>").number(behind.len() as u64);
        page.raw(if behind.len() == 1 { "</b> waits behind" } else { "</b> wait behind" });
        page.raw(if end.circle.is_some() { " them</p>" } else { " it</p>" });
        page.raw("<ul class=\"behind\">");
        for (depth, one) in behind.iter().take(MOST_BEHIND) {
            page.raw("<li class=\"d").number(*depth.min(&DEEPEST) as u64).raw("\">");
            names.write(page, one);
            if let Some(since) = names.waits.get(one) {
                list::age(page, *since, now);
            }
            page.raw("</li>");
        }
        page.raw("</ul>");
        more(page, behind.len(), MOST_BEHIND);
    }
    page.raw("</li>");
}

/// Messages, bindings, warnings.
fn ties(page: &mut Html, graph: &Graph, names: &Names<'_>) {
    let is_over = |edge: &Edge| matches!(edge.state, EdgeState::Read | EdgeState::Inactive);
    let ties = graph.edges.iter().filter(|edge| !is_over(edge));
    let ties: Vec<&Edge> =
        ties.filter(|edge| !matches!(edge.kind, EdgeKind::Wait | EdgeKind::Parent)).collect();
    if ties.is_empty() {
        return;
    }
    page.raw("<h2>Other ties <span class=\"n\">").number(ties.len() as u64);
    page.raw("</span></h2><ul class=\"ties\">");
    for edge in ties.iter().take(MOST_TIES) {
        page.raw("<li>");
        names.write(page, &edge.from);
        page.raw(match edge.kind {
            EdgeKind::Message => " has a message for ",
            EdgeKind::Binding => " → ",
            _ => " and ",
        });
        names.write(page, &edge.to);
        page.raw(" <span class=\"how\">");
        match edge.kind {
            EdgeKind::Message => page.raw(edge.state.as_str()),
            EdgeKind::Binding => page.raw("binding ").text(&edge.evidence),
            _ => page.text(&edge.evidence),
        };
        page.raw("</span></li>");
    }
    page.raw("</ul>");
    more(page, ties.len(), MOST_TIES);
}

#[cfg(test)]
mod tests;
