//! Waiting for an answer: a session that waits for messages waits for whoever has not answered one of its own.
//!
//! Nobody says so, and it may be content with another message: any of them is enough. Not here: messages
//! ([`crate::messages`]).

use std::{collections::BTreeMap, sync::Arc};

use rrd_core::fleet::ties::and_more;
use rrd_proto::{EdgeKind, EdgeState, Link, SessionKey, session_ref};
use tokio::time::Instant;

use super::{
    book::{SILENT, Waits},
    look_after,
};
use crate::{
    answers::Answers,
    fleet::{Fleet, aside},
};

/// Whom one session waits for, at most: whoever was asked last.
const MOST: usize = 64;

/// Sessions that wait for an answer, and for whom.
pub(super) type Awaited = BTreeMap<SessionKey, Awaits>;

#[derive(Debug)]
pub(super) struct Awaits {
    links: Vec<Link>,
    /// Calls that are being answered.
    asking: u32,
    asked: Instant,
}

/// A call that waits for an answer: whoever hangs up drops it.
pub(crate) struct Awaiting {
    answers: Arc<Answers>,
    of: SessionKey,
}

impl Awaiting {
    /// It came, or is not waited for any longer.
    pub(crate) fn ends(self) {
        let mut held = self.answers.waits.held();
        // Another call of that session waits on.
        if held.awaited.get(&self.of).is_some_and(|awaits| awaits.asking <= 1) {
            held.awaited.remove(&self.of);
        }
        drop(held);
        self.answers.waits.tell(&self.answers.hub);
    }
}

impl Drop for Awaiting {
    fn drop(&mut self) {
        if let Some(awaits) = self.answers.waits.held().awaited.get_mut(&self.of) {
            (awaits.asking, awaits.asked) = (awaits.asking.saturating_sub(1), Instant::now());
        }
    }
}

/// A session waits for messages from here on.
pub(crate) async fn begin(answers: &Arc<Answers>, fleet: &Arc<Fleet>, of: &SessionKey) -> Awaiting {
    let whose = of.clone();
    let open = aside(fleet, move |fleet| fleet.keep().unanswered(fleet.node(), &whose)).await;
    let mut open = open.and_then(Result::ok).unwrap_or_default();
    // Who was asked last comes first.
    open.sort_by_key(|(_, _, at)| std::cmp::Reverse(*at));
    let link = |(node, to, at): (rrd_proto::NodeId, SessionKey, _)| Link {
        kind: EdgeKind::Wait,
        state: EdgeState::Inferred,
        to: session_ref(&node.to_string(), &to),
        incoming: false,
        any: true,
        group: 0,
        since: Some(at),
        evidence: "rrd inbox --wait: it has not answered".to_owned(),
    };
    let more = open.len().saturating_sub(MOST) as u64;
    let mut links: Vec<Link> = open.into_iter().take(MOST).map(link).collect();
    if let Some(last) = links.last_mut().filter(|_| more > 0) {
        last.evidence = and_more(&last.evidence, more, "that it waits for are");
    }
    let waits = &answers.waits;
    {
        let mut held = waits.held();
        let awaits = held.awaited.entry(of.clone()).or_insert_with(|| Awaits {
            links: Vec::new(),
            asking: 0,
            asked: Instant::now(),
        });
        (awaits.links, awaits.asking) = (links, awaits.asking + 1);
        if !std::mem::replace(&mut held.is_looked_after, true) {
            tokio::spawn(look_after(Arc::clone(answers)));
        }
    }
    waits.tell(&answers.hub);
    Awaiting { answers: Arc::clone(answers), of: of.clone() }
}

impl Waits {
    /// Forgets who waits no more; whether that is news, and whether any is left.
    pub(super) fn forget_awaited(awaited: &mut Awaited) -> (bool, bool) {
        let before = awaited.len();
        awaited.retain(|_, awaits| awaits.asking > 0 || awaits.asked.elapsed() < SILENT);
        (awaited.len() != before, !awaited.is_empty())
    }

    /// Adds whom they wait for.
    pub(super) fn add_awaited(
        awaited: &Awaited,
        links: &mut std::collections::HashMap<SessionKey, Vec<Link>>,
    ) {
        for (of, awaits) in awaited {
            if !awaits.links.is_empty() {
                links.entry(of.clone()).or_default().extend(awaits.links.iter().cloned());
            }
        }
    }
}
