//! All that ties two sessions: what their rows say, and what follows from several rows.
//!
//! Not here: what follows from who waits for whom ([`super::knots`], [`super::chains`]).

use std::{
    borrow::Cow,
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
};

use rrd_proto::{
    Edge, EdgeKind, EdgeState, HostState, Link, MESSAGE, ParentKind, Session, Status, Timestamp,
};

use super::{Waits, has_ended, is_wait};
use crate::workplace::{self, Workplace, named_branch};

/// An edge between two numbers.
pub(super) struct Tie<'a> {
    pub(super) kind: EdgeKind,
    pub(super) from: usize,
    pub(super) to: usize,
    state: EdgeState,
    since: Option<Timestamp>,
    evidence: Cow<'a, str>,
    any: bool,
    groups: Vec<u32>,
}

impl Tie<'_> {
    pub(super) fn told(self, waits: &Waits<'_>) -> Edge {
        let Self { kind, from, to, state, since, evidence, any, groups } = self;
        let name = |at: usize| waits.refs[at].to_owned();
        let (from, to, evidence) = (name(from), name(to), evidence.into_owned());
        Edge { from, to, kind, state, since, evidence, any, groups }
    }
}

/// In one order for everybody, if the rows are.
pub(super) fn edges<'a>(
    waits: &Waits<'a>,
    rows: &[&'a Session],
    others: &'a [Edge],
) -> Vec<Tie<'a>> {
    let mut ties = parents(waits, rows);
    for row in rows {
        let own = waits.number(&row.reference);
        let is_over = |link: &&Link| is_wait(link) && has_ended(row);
        let named = row.links.iter().filter(|link| !link.to.starts_with(MESSAGE) && !is_over(link));
        ties.extend(named.map(|link| linked(own, waits.number(&link.to), link)));
    }
    ties.extend(messages(waits, rows));
    ties.extend(duplicates(waits, rows));
    ties.extend(worktrees(waits, rows));
    // Both ends may tell of one: the state that is further counts, and of several calls the first one.
    let ends = |tie: &Tie<'_>| (tie.kind, tie.from, tie.to);
    ties.sort_by(|a, b| {
        let since = |tie: &Tie<'_>| (tie.since.is_none(), tie.since);
        let told = |tie: &Tie<'_>| (ends(tie), Reverse(tie.state), since(tie));
        told(a).cmp(&told(b)).then_with(|| a.evidence.cmp(&b.evidence))
    });
    ties.dedup_by(|tie, first| {
        let is_same = ends(tie) == ends(first);
        if is_same {
            // It goes on without this one if none of its calls needs it.
            first.any &= tie.any;
            first.groups.append(&mut tie.groups);
        }
        is_same
    });
    for tie in &mut ties {
        tie.groups.sort_unstable();
        tie.groups.dedup();
    }
    // Each of these is one by itself.
    ties.extend(others.iter().map(|edge| Tie {
        kind: edge.kind,
        from: waits.number(&edge.from),
        to: waits.number(&edge.to),
        state: edge.state,
        since: edge.since,
        evidence: Cow::Borrowed(&edge.evidence),
        any: edge.any,
        groups: edge.groups.clone(),
    }));
    ties.sort_by_key(|tie| (ends(tie), tie.state));
    ties
}

fn linked(own: usize, other: usize, link: &Link) -> Tie<'_> {
    let (from, to) = if link.incoming { (other, own) } else { (own, other) };
    let Link { kind, state, since, evidence, any, group, .. } = link;
    let groups = if *any { vec![*group] } else { Vec::new() };
    let (kind, state, since, any) = (*kind, *state, *since, *any);
    Tie { from, to, kind, state, since, evidence: Cow::Borrowed(evidence), any, groups }
}

/// Messages of which both ends tell the id.
fn messages<'a>(waits: &Waits<'a>, rows: &[&'a Session]) -> Vec<Tie<'a>> {
    let ends = |incoming: bool| {
        rows.iter().flat_map(move |row| {
            let of = row.links.iter().filter(move |link| link.incoming == incoming);
            of.filter(|link| link.to.starts_with(MESSAGE)).map(move |link| (*row, link))
        })
    };
    let mut sent: HashMap<&str, &Session> = HashMap::new();
    for (row, link) in ends(false) {
        // Where several say so it is the same one for everybody.
        let first = sent.entry(&link.to).or_insert(row);
        if row.reference < first.reference {
            *first = row;
        }
    }
    let tie = |(row, link): (&'a Session, &'a Link)| {
        let from = sent.get(link.to.as_str())?;
        (from.reference != row.reference)
            .then(|| linked(waits.number(&row.reference), waits.number(&from.reference), link))
    };
    ends(true).filter_map(tie).collect()
}

fn parents<'a>(waits: &Waits<'a>, rows: &[&'a Session]) -> Vec<Tie<'a>> {
    let host = |row: &'a Session| row.node_id.as_deref().unwrap_or_default();
    let is_child = |row: &&&Session| row.parent_session_id.is_some();
    if !rows.iter().any(|row| is_child(&row)) {
        return Vec::new();
    }
    let by_id: HashMap<_, &Session> =
        rows.iter().map(|row| ((host(row), &row.harness, row.session_id.as_str()), *row)).collect();
    let tie = |row: &&'a Session| {
        let parent = row.parent_session_id.as_deref()?;
        let parent = by_id.get(&(host(row), &row.harness, parent))?;
        let kind = row.parent_kind.unwrap_or(ParentKind::Subagent);
        let is_over = matches!(row.status, Status::Idle | Status::Ended);
        let state = match kind {
            ParentKind::Subagent if !is_over => EdgeState::Active,
            _ => EdgeState::Done,
        };
        Some(Tie {
            from: waits.number(&parent.reference),
            to: waits.number(&row.reference),
            kind: EdgeKind::Parent,
            state,
            since: row.started_at,
            evidence: Cow::Borrowed(kind.as_str()),
            any: false,
            groups: Vec::new(),
        })
    };
    rows.iter().filter_map(tie).collect()
}

/// The same transcript on several hosts: each with the first of them.
fn duplicates<'a>(waits: &Waits<'a>, rows: &[&'a Session]) -> Vec<Tie<'a>> {
    let mut same: HashMap<_, Vec<&Session>> = HashMap::new();
    for row in rows {
        same.entry((row.harness.as_str(), row.session_id.as_str())).or_default().push(row);
    }
    same.retain(|_, rows| rows.len() > 1);
    let evidence = || Cow::Borrowed("the same transcript on two hosts");
    same.into_values().flat_map(|rows| star(waits, rows, EdgeKind::Duplicate, evidence)).collect()
}

/// Sessions at work in one worktree of one host, or on one branch of one repository.
fn worktrees<'a>(waits: &Waits<'a>, rows: &[&'a Session]) -> Vec<Tie<'a>> {
    // One worktree says more than one branch, and comes first.
    let mut places: BTreeMap<(bool, &str, String), Vec<&Session>> = BTreeMap::new();
    for row in rows.iter().filter(|row| works(row)) {
        for mark in workplace::marks(row) {
            let is_branch = Workplace::of(&mark) == Workplace::Branch;
            let node = row.node_id.as_deref().filter(|_| !is_branch).unwrap_or_default();
            places.entry((is_branch, node, mark)).or_default().push(row);
        }
    }
    let mut ties: BTreeMap<(usize, usize), Tie<'_>> = BTreeMap::new();
    for ((is_branch, ..), rows) in places.into_iter().filter(|(_, rows)| rows.len() > 1) {
        // Some may have been cut on their way.
        let name = rows.iter().filter_map(|row| named_branch(row)).max_by_key(|name| name.len());
        let evidence = || match (is_branch, name) {
            (false, _) => Cow::Borrowed("both work in one worktree"),
            (true, Some(name)) => Cow::Owned(format!("both work on branch {name}")),
            (true, None) => Cow::Borrowed("both work on one branch"),
        };
        for tie in star(waits, rows, EdgeKind::SameWorktree, evidence) {
            ties.entry((tie.from, tie.to)).or_insert(tie);
        }
    }
    ties.into_values().collect()
}

/// In its turn, on a host that is there, and nobody's delegate: those work where they were sent.
fn works(row: &Session) -> bool {
    matches!(row.status, Status::Executing | Status::Waiting)
        && row.host_state != HostState::Away
        && !row.is_subagent()
}

/// Each of several, in the order of their refs, with the first: as many edges as are needed to tie them.
fn star<'a>(
    waits: &Waits<'a>,
    rows: Vec<&'a Session>,
    kind: EdgeKind,
    evidence: impl Fn() -> Cow<'a, str>,
) -> Vec<Tie<'a>> {
    let Some((first, others)) = rows.split_first() else { return Vec::new() };
    let tie = |other: &&Session| Tie {
        from: waits.number(&first.reference),
        to: waits.number(&other.reference),
        kind,
        state: EdgeState::Active,
        since: first.status_since.max(other.status_since),
        evidence: evidence(),
        any: false,
        groups: Vec::new(),
    };
    others.iter().map(tie).collect()
}
