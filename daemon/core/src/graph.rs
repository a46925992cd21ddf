//! Who waits for whom: one graph of all rows that a node knows, and what a person must do first.
//!
//! Made of rows alone, so every node that has the same rows has the same graph. A session can go on when it
//! waits for nobody, or when all that it waits for can (of waits with `any`: one of them); what is left then
//! lies in a circle or waits for one. Not here: where rows and their links come from.

mod chains;
mod knots;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use rrd_proto::{
    Edge, EdgeKind, EdgeState, Graph, GraphNode, HostState, Link, ParentKind, Session, Status,
};

pub use knots::would_close;

/// Rows by number, and for each the waits that begin there.
struct Waits<'a> {
    /// `None`: somebody waits for it, and nobody knows it.
    rows: Vec<Option<&'a Session>>,
    refs: Vec<&'a str>,
    /// To whom, and whether one of several is enough.
    of: Vec<Vec<(usize, bool)>>,
}

impl<'a> Waits<'a> {
    fn new(rows: &'a [Session]) -> Self {
        let mut waits = Self { rows: Vec::new(), refs: Vec::new(), of: Vec::new() };
        let mut numbers = HashMap::new();
        let mut rows: Vec<&Session> = rows.iter().collect();
        rows.sort_by_key(|row| (&row.reference, &row.node_id, row.key()));
        for row in &rows {
            waits.number(&mut numbers, &row.reference, Some(row));
        }
        for row in rows {
            let from = numbers[row.reference.as_str()];
            for link in row.links.iter().filter(|link| is_wait(link) && link.to != row.reference) {
                let to = waits.number(&mut numbers, &link.to, None);
                if !waits.of[from].iter().any(|(known, _)| *known == to) {
                    waits.of[from].push((to, link.any));
                }
            }
        }
        waits
    }

    fn number(
        &mut self,
        numbers: &mut HashMap<&'a str, usize>,
        name: &'a str,
        row: Option<&'a Session>,
    ) -> usize {
        *numbers.entry(name).or_insert_with(|| {
            self.rows.push(row);
            self.refs.push(name);
            self.of.push(Vec::new());
            self.rows.len() - 1
        })
    }

    fn len(&self) -> usize {
        self.rows.len()
    }
}

/// A wait that is told at its beginning.
fn is_wait(link: &Link) -> bool {
    link.kind == EdgeKind::Wait && !link.incoming
}

/// The graph of all rows that a node knows.
#[must_use]
pub fn graph(rows: &[Session]) -> Graph {
    let waits = Waits::new(rows);
    let knots = knots::Knots::of(&waits);
    let edges = edges(rows);
    let chains = chains::chains(&waits, &knots);
    let touched: BTreeSet<&str> =
        edges.iter().flat_map(|edge| [edge.from.as_str(), edge.to.as_str()]).collect();
    let mut nodes: Vec<GraphNode> = rows
        .iter()
        .filter(|row| row.active || touched.contains(row.reference.as_str()))
        .map(node)
        .collect();
    let known: BTreeSet<&str> = rows.iter().map(|row| row.reference.as_str()).collect();
    nodes.extend(touched.iter().filter(|name| !known.contains(*name)).map(|name| nobody(name)));
    nodes.sort_by(|a, b| a.reference.cmp(&b.reference));
    Graph { nodes, edges, chains, cycles: knots.cycles(&waits) }
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

/// All edges, in one order for everybody.
fn edges(rows: &[Session]) -> Vec<Edge> {
    let mut edges = parents(rows);
    for row in rows {
        edges.extend(row.links.iter().map(|link| told(row, link)));
    }
    edges.extend(duplicates(rows));
    edges.extend(worktrees(rows));
    edges.sort_by(|a, b| (a.kind, &a.from, &a.to, a.state).cmp(&(b.kind, &b.from, &b.to, b.state)));
    // Both ends may tell of one: the state that is further counts.
    edges.dedup_by(|later, first| {
        let same = (later.kind, &later.from, &later.to) == (first.kind, &first.from, &first.to);
        if same {
            std::mem::swap(later, first);
        }
        same
    });
    edges
}

fn told(row: &Session, link: &Link) -> Edge {
    let (own, other) = (row.reference.clone(), link.to.clone());
    let (from, to) = if link.incoming { (other, own) } else { (own, other) };
    let Link { kind, state, since, evidence, .. } = link.clone();
    Edge { from, to, kind, state, since, evidence }
}

fn parents(rows: &[Session]) -> Vec<Edge> {
    let host = |row: &Session| row.node_id.clone().unwrap_or_default();
    let by_id: HashMap<_, &Session> =
        rows.iter().map(|row| ((host(row), &row.harness, row.session_id.as_str()), row)).collect();
    let edge = |row: &Session| {
        let parent = row.parent_session_id.as_deref()?;
        let parent = by_id.get(&(host(row), &row.harness, parent))?;
        let kind = row.parent_kind.unwrap_or(ParentKind::Subagent);
        let is_over = matches!(row.status, Status::Idle | Status::Ended);
        let state = match kind {
            ParentKind::Subagent if !is_over => EdgeState::Active,
            _ => EdgeState::Done,
        };
        Some(Edge {
            from: parent.reference.clone(),
            to: row.reference.clone(),
            kind: EdgeKind::Parent,
            state,
            since: row.started_at,
            evidence: kind.as_str().to_owned(),
        })
    };
    rows.iter().filter_map(edge).collect()
}

/// The same transcript on several hosts: each with the first of them.
fn duplicates(rows: &[Session]) -> Vec<Edge> {
    let mut same: BTreeMap<_, Vec<&Session>> = BTreeMap::new();
    for row in rows {
        same.entry((row.harness.as_str(), row.session_id.as_str())).or_default().push(row);
    }
    same.retain(|_, rows| rows.len() > 1);
    same.into_values()
        .flat_map(|rows| {
            star(rows, EdgeKind::Duplicate, |_, _| "the same transcript on two hosts".to_owned())
        })
        .collect()
}

/// Sessions at work in one worktree of one host, or on one branch of one repository.
fn worktrees(rows: &[Session]) -> Vec<Edge> {
    let mut places: BTreeMap<Vec<&str>, Vec<&Session>> = BTreeMap::new();
    for row in rows.iter().filter(|row| works(row)) {
        let node = row.node_id.as_deref().unwrap_or_default();
        // Without a repository nobody can tell what is one's work.
        if let (Some(cwd), Some(_)) = (&row.cwd, &row.repo) {
            places.entry(vec!["worktree", node, cwd]).or_default().push(row);
        }
        if let (Some(remote), Some(branch)) = (&row.repo_remote, &row.branch) {
            places.entry(vec!["branch", remote, branch]).or_default().push(row);
        }
    }
    let mut edges: BTreeMap<(String, String), Edge> = BTreeMap::new();
    for (place, rows) in places.into_iter().rev().filter(|(_, rows)| rows.len() > 1) {
        let evidence = |_: &Session, _: &Session| match place[0] {
            "worktree" => "both work in one worktree".to_owned(),
            _ => format!("both work on branch {}", place[2]),
        };
        for edge in star(rows, EdgeKind::SameWorktree, evidence) {
            edges.entry((edge.from.clone(), edge.to.clone())).or_insert(edge);
        }
    }
    edges.into_values().collect()
}

/// In its turn, on a host that is there, and nobody's delegate: those work where they were sent.
fn works(row: &Session) -> bool {
    matches!(row.status, Status::Executing | Status::Waiting)
        && row.host_state != HostState::Away
        && !row.is_subagent()
}

/// Each of several with the one of the least ref: as many edges as are needed to tie them.
fn star(
    mut rows: Vec<&Session>,
    kind: EdgeKind,
    evidence: impl Fn(&Session, &Session) -> String,
) -> Vec<Edge> {
    rows.sort_by_key(|row| &row.reference);
    let Some((first, others)) = rows.split_first() else { return Vec::new() };
    let edge = |other: &&Session| Edge {
        from: first.reference.clone(),
        to: other.reference.clone(),
        kind,
        state: EdgeState::Active,
        since: first.status_since.max(other.status_since),
        evidence: evidence(first, other),
    };
    others.iter().map(edge).collect()
}

#[cfg(test)]
mod tests;
