//! For every session that cannot go on by itself: the end of its chain, and why that does not go on.
//!
//! Not here: who is tied to whom ([`super`]).

use rrd_proto::{
    Cause, Chain, EndReason, HostState, Session, Status, Timestamp, TurnResult, WaitingFor,
};

use super::{
    Waits,
    first::{longest, order},
    groups,
    knots::Knots,
};

/// Where a session's chain goes next, and where it ends.
#[derive(Clone, Copy)]
struct End {
    next: Option<usize>,
    /// The last one.
    at: usize,
    cause: Cause,
}

/// Chains, what a person must do first first.
pub(super) fn chains(waits: &Waits<'_>, knots: &Knots, circles: &[Vec<usize>]) -> Vec<Chain> {
    let ends = ends(waits, knots, circles);
    let mut blocks = vec![0_u64; waits.len()];
    for (at, end) in ends.iter().enumerate() {
        blocks[end.at] += u64::from(end.at != at);
    }
    // Who is on the way of a chain, by the chain that it was met on last.
    let mut met = vec![usize::MAX; waits.len()];
    let asking: Vec<&Session> =
        waits.rows.iter().copied().flatten().filter(|row| row.asks_person()).collect();
    // What a delegate asks its parent asks, too.
    let is_asked_above = |row: &Session| {
        row.is_subagent() && row.asks_person() && asking.iter().any(|one| row.is_child_of(one))
    };
    let is_told = |at: &usize| match waits.rows[*at] {
        Some(row) if blocks[*at] == 0 && is_asked_above(row) => false,
        Some(row) => row.status == Status::Waiting || !waits.of[*at].is_empty(),
        None => false,
    };
    let way = |at: usize| {
        let mut way = vec![at];
        met[at] = at;
        let mut on = ends[at].next;
        while let Some(next) = on {
            let is_met = std::mem::replace(&mut met[next], at) == at;
            way.push(next);
            on = ends[next].next.filter(|_| !is_met);
        }
        way
    };
    let mut ways: Vec<Vec<usize>> = (0..waits.len()).filter(is_told).map(way).collect();
    ways.sort_by_cached_key(|way| {
        let End { at: end, cause, .. } = ends[way[0]];
        let since = waits.rows[end].and_then(|row| since(row, cause));
        (order(cause, blocks[end]), longest(since), way.last().copied(), way[0])
    });
    let chain = |way: Vec<usize>| {
        let End { at: end, cause, .. } = ends[way[0]];
        let last = waits.rows[end];
        Chain {
            sessions: way.into_iter().map(|at| waits.refs[at].to_owned()).collect(),
            cause,
            detail: last.and_then(|row| detail(row, cause)),
            since: last.and_then(|row| since(row, cause)),
            blocks: blocks[end],
        }
    };
    ways.into_iter().map(chain).collect()
}

/// Of every session. Of several that it waits for the chain goes to the one whose cause is the most urgent; where
/// one of them is enough, to the one whose cause is the least.
fn ends(waits: &Waits<'_>, knots: &Knots, circles: &[Vec<usize>]) -> Vec<End> {
    let alone = |at: usize| End { next: None, at, cause: cause(waits.rows[at]) };
    let mut ends: Vec<Option<End>> = vec![None; waits.len()];
    // Whoever is stuck goes round: of one circle the end is always the same one.
    for circle in circles {
        for at in circle {
            let next = knots.next[*at];
            ends[*at] = Some(End { next, at: circle[0], cause: Cause::Deadlock });
        }
    }
    let mut way = Vec::new();
    for from in (0..waits.len()).filter(|at| knots.stuck[*at]) {
        way.clear();
        let mut at = from;
        while let (None, Some(next)) = (ends[at], knots.next[at]) {
            way.push(at);
            at = next;
        }
        let Some(End { at: end, .. }) = ends[at] else { continue };
        for at in way.drain(..) {
            ends[at] = Some(End { next: knots.next[at], at: end, cause: Cause::Deadlock });
        }
    }
    // All others can go on, so each of them waits in the end for somebody who waits for nobody, or whom only a
    // person can answer.
    let is_end = |at: &usize| {
        !knots.stuck[*at]
            && (waits.of[*at].is_empty()
                || knots.away[*at]
                || waits.rows[*at].is_some_and(Session::asks_person))
    };
    let mut last: Vec<usize> = (0..waits.len()).filter(is_end).collect();
    last.sort_by_key(|at| (cause(waits.rows[*at]), *at));
    let held = held_up(waits, &last);
    last.iter().for_each(|at| ends[*at] = Some(alone(*at)));
    // From each of these back, the shortest way first.
    for end in last {
        let mut near = vec![end];
        while !near.is_empty() {
            let mut far = Vec::new();
            for next in near {
                for (from, awaited) in &waits.behind[next] {
                    if ends[*from].is_none() && held.is_by(*from, awaited.group, end) {
                        ends[*from] = Some(End { next: Some(next), ..alone(end) });
                        far.push(*from);
                    }
                }
            }
            far.sort_unstable();
            near = far;
        }
    }
    (0..waits.len()).map(|at| ends[at].unwrap_or_else(|| alone(at))).collect()
}

/// By which end each of those that can go on is held up.
struct Held {
    by: Vec<Option<usize>>,
    /// And each of its groups.
    groups: Vec<Vec<Option<usize>>>,
}

impl Held {
    fn is_by(&self, from: usize, group: Option<usize>, end: usize) -> bool {
        self.by[from] == Some(end)
            && group.is_none_or(|group| self.groups[from][group] == Some(end))
    }
}

/// Whoever waits for all of several is held up by the most urgent end, and who waits for one of them by the least
/// urgent: were all ends let go, that one last which is first in `last`, each goes on with the one named here.
fn held_up(waits: &Waits<'_>, last: &[usize]) -> Held {
    let mut left = waits.needs();
    let groups = waits.of.iter().map(|of| vec![None; groups(of)]).collect();
    let mut held = Held { by: vec![None; waits.len()], groups };
    last.iter().for_each(|end| held.by[*end] = Some(*end));
    for end in last.iter().rev() {
        let mut gone = vec![*end];
        while let Some(at) = gone.pop() {
            for (from, awaited) in &waits.behind[at] {
                if let Some(group) = awaited.group {
                    let first = &mut held.groups[*from][group];
                    if first.is_some() {
                        continue;
                    }
                    *first = Some(*end);
                }
                left[*from] -= 1;
                if left[*from] == 0 && held.by[*from].is_none() {
                    held.by[*from] = Some(*end);
                    gone.push(*from);
                }
            }
        }
    }
    held
}

fn cause(row: Option<&Session>) -> Cause {
    let Some(row) = row else { return Cause::Unknown };
    let failed = matches!(row.turn_result, Some(TurnResult::Error | TurnResult::RateLimited));
    match (row.host_state, row.status) {
        (HostState::Away, _) => Cause::Away,
        (_, Status::Ended) if row.end_reason == Some(EndReason::Crashed) => Cause::Crashed,
        (_, Status::Ended) => Cause::Ended,
        (_, Status::Idle) if failed => Cause::Failed,
        (_, Status::Idle) => Cause::Idle,
        (_, Status::Executing) => Cause::Working,
        (_, Status::Waiting) => match row.waiting_for {
            Some(WaitingFor::Permission) => Cause::Permission,
            Some(WaitingFor::Input) | None => Cause::Input,
            // For one that is not told: it may have been left out of a short row.
            Some(WaitingFor::Session) => Cause::Unknown,
        },
    }
}

fn detail(row: &Session, cause: Cause) -> Option<String> {
    match cause {
        Cause::Permission | Cause::Input => row.waiting_detail.clone(),
        Cause::Working => row.activity.as_ref().map(|activity| match &activity.tool {
            Some(tool) if activity.summary.is_empty() => tool.clone(),
            Some(tool) => format!("{tool}: {}", activity.summary),
            None => activity.summary.clone(),
        }),
        _ => None,
    }
    .filter(|detail| !detail.is_empty())
}

fn since(row: &Session, cause: Cause) -> Option<Timestamp> {
    match cause {
        Cause::Away => row.host_seen_at,
        _ => row.status_since,
    }
}
