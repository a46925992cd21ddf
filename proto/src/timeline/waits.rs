//! When a session waited for someone: what a daemon saw, and what its marks tell.
//!
//! Not here: how long a wait is on the timeline ([`super`]).

use super::{rising, times};
use crate::{EventKind, Mark, Status, Stretch, Timestamp, ToolKind};

/// A time in which the session waited for someone; milliseconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    /// Since when.
    pub from: i64,
    /// Until when.
    pub to: i64,
}

/// The times it waited: what a daemon saw, else what the marks tell; `open` is how long the last wait
/// lasts so far, where it does.
#[must_use]
pub fn waits(marks: &[Mark], stretches: &[Stretch], open: Option<Timestamp>) -> Vec<Wait> {
    let open = open.map(Timestamp::as_millis);
    let clock = rising(&times(marks));
    let last = clock.last().copied();
    let mut waits: Vec<Wait> = stretches
        .iter()
        .filter(|stretch| stretch.status == Status::Waiting)
        .filter_map(|stretch| {
            let to = stretch.to.map(Timestamp::as_millis).or(open).or(last)?;
            Some(Wait { from: stretch.from.as_millis(), to })
        })
        .collect();
    for (at, _) in marks.iter().enumerate().filter(|(_, mark)| asks(mark)) {
        // What is answered at once was no wait; what nobody has answered yet is one if it is known to be.
        let to = clock.get(at + 1).copied().or(open).unwrap_or(clock[at]);
        waits.push(Wait { from: clock[at], to });
    }
    waits.retain(|wait| wait.to > wait.from);
    waits.sort_by_key(|wait| wait.from);
    waits.dedup_by(|next, wait| {
        let touches = next.from <= wait.to;
        if touches {
            wait.to = wait.to.max(next.to);
        }
        touches
    });
    waits
}

/// Whether a mark asks its user for something.
#[must_use]
pub fn asks(mark: &Mark) -> bool {
    mark.kind == EventKind::PermissionRequest
        || (mark.kind == EventKind::ToolCall && mark.tool == Some(ToolKind::Question))
}

/// Whether half of a gap or more was a wait.
pub(crate) fn waited(waits: &[Wait], from: i64, to: i64) -> bool {
    let first = waits.partition_point(|wait| wait.to <= from);
    let within = waits[first..].iter().take_while(|wait| wait.from < to);
    let lengths = within.map(|wait| wait.to.min(to).saturating_sub(wait.from.max(from)));
    lengths.fold(0, i64::saturating_add).saturating_mul(2) >= to.saturating_sub(from)
}
