//! Waits that begin anew in a daemon that has only begun: the circle that one closes may show later.
//!
//! What the others began to wait for meanwhile this host hears a moment after its own clients are back, so such a wait
//! is looked at again until the daemon has heard of every host. One that never stood before is not: what becomes a
//! circle only after it began is an alarm. Not here: what a wait is asked when it begins ([`super::begin`]).

use std::{collections::HashSet, sync::Arc};

use rrd_proto::{EdgeKind, EdgeState, Link, Refusal, SessionKey};

use super::{
    book::{SETTLES, Waits},
    closes, own_ref,
};
use crate::answers::Answers;

/// A wait that may have to end: which, whose, and for whom.
type Anew = (u64, SessionKey, Vec<Link>);

/// Refuses those that close a circle with what is known by now.
pub(super) fn refuse(answers: &Arc<Answers>) {
    let waits = &answers.waits;
    if answers.health.started.elapsed() >= SETTLES || waits.anew().is_empty() {
        return;
    }
    let graph = answers.graphs.now();
    let in_circles: HashSet<&String> = graph.cycles.iter().flatten().collect();
    if in_circles.is_empty() {
        return;
    }
    for (handle, waiter, links) in waits.anew() {
        let own = own_ref(answers, &waiter);
        if !in_circles.contains(&own) {
            continue;
        }
        // As they were before it; what else its session waits for is judged by itself.
        let mut rows = answers.graphs.rows();
        for row in rows.iter_mut().filter(|row| row.reference == own) {
            row.links.retain(|link| {
                link.kind != EdgeKind::Wait || link.state != EdgeState::Declared || link.incoming
            });
        }
        if let Some(refusal) = closes(&rows, &own, &links) {
            waits.refuse(handle, refusal);
            // One of them lets the others go on.
            waits.tell(&answers.hub);
            return;
        }
    }
}

impl Waits {
    /// Those that began anew, and wait.
    fn anew(&self) -> Vec<Anew> {
        let held = self.held();
        let open = held.waits.iter().filter(|(_, wait)| wait.is_told && wait.is_anew);
        let of = |(handle, wait): (&u64, &super::Wait)| {
            Some((*handle, wait.waiter.clone()?, wait.links(0)))
        };
        open.filter_map(of).filter(|(.., links)| !links.is_empty()).collect()
    }

    /// Its client hears that when it asks, and nobody is told of it any more.
    fn refuse(&self, handle: u64, refusal: Refusal) {
        if let Some(wait) = self.held().waits.get_mut(&handle) {
            (wait.is_told, wait.refused) = (false, Some(refusal));
        }
    }

    /// Why a wait may not go on; then it is none any more.
    pub(super) fn take_refusal(&self, handle: u64) -> Option<Refusal> {
        let mut held = self.held();
        let refusal = held.waits.get_mut(&handle)?.refused.take()?;
        held.waits.remove(&handle);
        Some(refusal)
    }
}
