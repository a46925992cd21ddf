//! What a person must do first, the same for chains and for rows: circles, and whoever asks a person and
//! blocks others; the most blocked first, then the longest. Then whoever asks a person, then all others.
//!
//! Not here: in which order sessions stand otherwise ([`crate::roster`], [`crate::fleet::list`]).

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use rrd_proto::{Cause, ChainEnd, Graph, GraphNode, Session, Timestamp};

/// How soon somebody must act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Turn {
    Circle,
    Blocks,
    Asks,
    Others,
}

fn turn(cause: Cause, blocks: u64) -> Turn {
    match cause {
        Cause::Deadlock => Turn::Circle,
        _ if !cause.needs_person() => Turn::Others,
        _ if blocks > 0 => Turn::Blocks,
        _ => Turn::Asks,
    }
}

/// How soon somebody must act, and then whom the most wait for.
type Order = (Turn, Option<Cause>, Reverse<u64>);

pub(super) fn order(cause: Cause, blocks: u64) -> Order {
    let turn = turn(cause, blocks);
    (turn, (turn == Turn::Others).then_some(cause), Reverse(blocks))
}

/// The longest first. Nothing moves while nothing happens: that is found by when it began.
pub(super) fn longest(since: Option<Timestamp>) -> (bool, Option<Timestamp>) {
    (since.is_none(), since)
}

/// Tells each row the end of its chain by this graph, and puts first what a person must do first. Rows of
/// subagents stay below the row that they follow.
pub fn first(rows: &mut Vec<Session>, graph: &Graph) {
    let mut ends = chain_ends(graph);
    for row in &mut *rows {
        row.chain = ends.remove(row.reference.as_str());
    }
    let mut place = (Turn::Circle, Reverse(0), longest(None));
    let mut places = Vec::with_capacity(rows.len());
    for (at, row) in rows.iter().enumerate() {
        if at == 0 || !row.is_subagent() {
            place = place_of(row);
        }
        places.push(place);
    }
    if places.is_sorted() {
        return;
    }
    let mut ordered: Vec<_> = places.into_iter().zip(std::mem::take(rows)).collect();
    ordered.sort_by_key(|(place, _)| *place);
    rows.extend(ordered.into_iter().map(|(_, row)| row));
}

fn place_of(row: &Session) -> (Turn, Reverse<u64>, (bool, Option<Timestamp>)) {
    let asks = row.asks_person();
    match row.chain.as_ref().filter(|end| end.reference == row.reference) {
        Some(end) if end.cause.needs_person() => {
            (turn(end.cause, end.blocks), Reverse(end.blocks), longest(row.status_since))
        }
        _ => (if asks { Turn::Asks } else { Turn::Others }, Reverse(0), longest(None)),
    }
}

/// Of each session that waits for another one, or that another one waits for in the end.
fn chain_ends(graph: &Graph) -> BTreeMap<&str, ChainEnd> {
    let nodes: BTreeMap<&str, &GraphNode> =
        graph.nodes.iter().map(|node| (node.reference.as_str(), node)).collect();
    let stuck: BTreeSet<&str> = graph.cycles.iter().flatten().map(String::as_str).collect();
    let mut ends = BTreeMap::new();
    for chain in &graph.chains {
        let (Some(first), Some(last)) = (chain.sessions.first(), chain.sessions.last()) else {
            continue;
        };
        let end = |name: &str| ChainEnd {
            reference: name.to_owned(),
            host: nodes.get(name).and_then(|node| node.host.clone()),
            title: nodes.get(name).and_then(|node| node.title.clone()),
            cause: chain.cause,
            detail: chain.detail.clone(),
            since: chain.since,
            blocks: chain.blocks,
        };
        if stuck.contains(first.as_str()) {
            ends.insert(first.as_str(), end(first));
        } else if chain.sessions.len() > 1 {
            ends.insert(first.as_str(), end(last));
        }
        if chain.blocks > 0 && !stuck.contains(last.as_str()) {
            ends.entry(last.as_str()).or_insert_with(|| end(last));
        }
    }
    ends
}
