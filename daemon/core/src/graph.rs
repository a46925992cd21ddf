//! Who waits for whom: one graph of all rows that a node knows, and what a person must do first.
//!
//! Made of what is replicated alone, so every node that has the same rows has the same graph. A session can go on when it
//! waits for nobody, or when all that it waits for can (of waits with `any`: one of each group); what is left then
//! lies in a circle or waits for one. Who has ended waits for nobody, whatever it left running. Not here: where
//! rows and their links come from.

mod chains;
mod closes;
mod edges;
mod first;
mod knots;

use std::collections::HashMap;

use rrd_proto::{Edge, EdgeKind, Graph, GraphNode, Link, Session, Status};

pub use closes::{Circle, would_close};
pub use first::first;

/// All sessions that there are rows of, and those that these name, by numbers in the order of their refs: what is
/// compared a hundred thousand times is no text.
struct Waits<'a> {
    /// `None`: somebody names it, and nobody knows it.
    rows: Vec<Option<&'a Session>>,
    refs: Vec<&'a str>,
    numbers: HashMap<&'a str, usize>,
    of: Vec<Vec<Awaited>>,
    /// Who waits for each.
    behind: Vec<Vec<(usize, Awaited)>>,
}

/// For whom somebody waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Awaited {
    to: usize,
    /// One of this group is enough, the groups of each session counted from 0; `None`: this very one.
    group: Option<usize>,
}

impl<'a> Waits<'a> {
    /// `rows` in their order.
    fn new(rows: &[&'a Session], others: &'a [Edge]) -> Self {
        let own = rows.iter().map(|row| row.reference.as_str());
        let linked = rows.iter().flat_map(|row| &row.links).map(|link| link.to.as_str());
        let told = others.iter().flat_map(|edge| [edge.from.as_str(), edge.to.as_str()]);
        let mut numbers: HashMap<&str, usize> =
            own.chain(linked).chain(told).map(|name| (name, 0)).collect();
        let mut refs: Vec<&str> = numbers.keys().copied().collect();
        refs.sort_unstable();
        for (at, name) in refs.iter().enumerate() {
            numbers.insert(name, at);
        }
        let mut waits = Self {
            rows: vec![None; refs.len()],
            of: vec![Vec::new(); refs.len()],
            behind: vec![Vec::new(); refs.len()],
            refs,
            numbers,
        };
        for row in rows {
            let from = waits.number(&row.reference);
            waits.rows[from].get_or_insert(row);
            let mut groups: Vec<u32> = Vec::new();
            for link in row.links.iter().filter(|link| is_wait(link) && !has_ended(row)) {
                let to = waits.number(&link.to);
                let awaited = Awaited { to, group: link.any.then(|| nth(&mut groups, link.group)) };
                if to != from && !waits.of[from].contains(&awaited) {
                    waits.of[from].push(awaited);
                    waits.behind[to].push((from, awaited));
                }
            }
        }
        waits
    }

    /// Of a name that a row or an edge has.
    fn number(&self, name: &str) -> usize {
        self.numbers[name]
    }

    fn len(&self) -> usize {
        self.rows.len()
    }

    /// How many of those for whom each waits must come true before it can go on: of a group one.
    fn needs(&self) -> Vec<usize> {
        let alone = |of: &[Awaited]| of.iter().filter(|one| one.group.is_none()).count();
        self.of.iter().map(|of| alone(of) + groups(of)).collect()
    }
}

/// How many groups there are.
fn groups(of: &[Awaited]) -> usize {
    of.iter().filter_map(|one| one.group).max().map_or(0, |last| last + 1)
}

/// Its place among those that were named; it is named now.
fn nth(groups: &mut Vec<u32>, group: u32) -> usize {
    groups.iter().position(|known| *known == group).unwrap_or_else(|| {
        groups.push(group);
        groups.len() - 1
    })
}

fn has_ended(row: &Session) -> bool {
    row.status == Status::Ended
}

/// A wait that is told at its beginning.
fn is_wait(link: &Link) -> bool {
    link.kind == EdgeKind::Wait && !link.incoming
}

/// Whether any of them waits for another one.
#[must_use]
pub fn is_any_waiting(rows: &[Session]) -> bool {
    rows.iter().flat_map(|row| &row.links).any(is_wait)
}

/// The same for everybody, in whatever order they came.
fn in_order(rows: &[Session]) -> Vec<&Session> {
    let mut rows: Vec<&Session> = rows.iter().collect();
    rows.sort_by_key(|row| (&row.reference, &row.node_id, &row.harness, &row.session_id));
    rows
}

/// The graph of all rows that a node knows, and of what ties sessions besides.
#[must_use]
pub fn graph(rows: &[Session], others: &[Edge]) -> Graph {
    let rows = in_order(rows);
    let waits = Waits::new(&rows, others);
    let knots = knots::Knots::of(&waits);
    let edges = edges::edges(&waits, &rows, others);
    let circles = knots.circles(&waits);
    let chains = chains::chains(&waits, &knots, &circles);
    let mut touched = vec![false; waits.len()];
    for edge in &edges {
        (touched[edge.from], touched[edge.to]) = (true, true);
    }
    let known = rows.iter().filter(|row| row.active || touched[waits.number(&row.reference)]);
    let mut nodes: Vec<GraphNode> = known.map(|row| node(row)).collect();
    let is_nobody = |at: &usize| touched[*at] && waits.rows[*at].is_none();
    nodes.extend((0..waits.len()).filter(is_nobody).map(|at| nobody(waits.refs[at])));
    nodes.sort_by(|a, b| a.reference.cmp(&b.reference));
    let named = |circle: Vec<usize>| circle.iter().map(|at| waits.refs[*at].to_owned()).collect();
    Graph {
        nodes,
        edges: edges.into_iter().map(|tie| tie.told(&waits)).collect(),
        chains,
        cycles: circles.into_iter().map(named).collect(),
    }
}

fn node(row: &Session) -> GraphNode {
    GraphNode {
        reference: row.reference.clone(),
        host: Some(row.host.clone()),
        host_state: Some(row.host_state),
        harness: Some(row.harness.clone()),
        session_id: Some(row.session_id.clone()),
        repo: row.repo.clone(),
        title: row.title.clone(),
        status: Some(row.status),
        status_since: row.status_since,
        waiting_for: row.waiting_for,
        waiting_detail: row.waiting_detail.clone(),
    }
}

fn nobody(name: &str) -> GraphNode {
    GraphNode {
        reference: name.to_owned(),
        host: None,
        host_state: None,
        harness: None,
        session_id: None,
        repo: None,
        title: None,
        status: None,
        status_since: None,
        waiting_for: None,
        waiting_detail: None,
    }
}

#[cfg(test)]
mod tests;
