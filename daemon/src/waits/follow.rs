//! Asks each host whose sessions are waited for: one call about all of them, again and again.
//!
//! Not here: what is waited for ([`super`]), and the side that answers ([`super::owner`]).

use std::{pin::pin, sync::Arc, time::Duration};

use rrd_proto::{
    NodeId,
    wait::{WaitItem, WaitQuery, WaitReply},
};
use tokio::time::sleep;

use super::owner;
use crate::{answers::Answers, fleet::LinkError};

/// What one call waits.
const WAIT_MS: u32 = 20_000;

/// What its answer may take beyond that.
const GRACE: Duration = Duration::from_secs(5);

/// A host that could not be asked is asked again.
const AGAIN: Duration = Duration::from_millis(500);

/// Asks whoever is not asked yet.
pub(super) fn begin(answers: &Arc<Answers>) {
    let mut held = answers.waits.held();
    let nodes: Vec<Option<NodeId>> =
        held.waits.values().flat_map(|wait| wait.targets.iter().map(|t| t.node)).collect();
    for node in nodes {
        if held.followed.insert(node) {
            tokio::spawn(follow(Arc::clone(answers), node));
        }
    }
}

/// Until nobody waits for any of this host's sessions.
async fn follow(answers: Arc<Answers>, node: Option<NodeId>) {
    let waits = &answers.waits;
    let mut changed = waits.changed.subscribe();
    loop {
        changed.borrow_and_update();
        let items = waits.items(node);
        if items.is_empty() {
            let mut held = waits.held();
            // One may have begun meanwhile: whoever begins finds this host followed.
            if !changed.has_changed().unwrap_or(false) {
                held.followed.remove(&node);
                return;
            }
            continue;
        }
        let mut asking = pin!(ask(&answers, node, items.clone()));
        let asked = loop {
            tokio::select! {
                asked = &mut asking => break Some(asked),
                changed = changed.changed() => match changed {
                    // More, or less, is waited for.
                    Ok(()) if waits.items(node) != items => break None,
                    // However many wait for the same, it is asked for once.
                    Ok(()) => {}
                    Err(_) => return,
                },
            }
        };
        let Some(asked) = asked else { continue };
        let Ok(reply) = asked else {
            sleep(AGAIN).await;
            continue;
        };
        let mut is_news = false;
        for (item, state) in items.iter().zip(&reply.states) {
            is_news |= waits.take(node, item, state);
        }
        if is_news {
            waits.tell(&answers.hub);
        }
    }
}

async fn ask(
    answers: &Arc<Answers>,
    node: Option<NodeId>,
    items: Vec<WaitItem>,
) -> Result<WaitReply, LinkError> {
    let query = WaitQuery { items, wait_ms: WAIT_MS };
    let Some(node) = node else { return Ok(owner::wait(&answers.desk, query).await) };
    let Some((fleet, _)) = answers.others() else { return Err(LinkError::NoFleet) };
    let within = Duration::from_millis(WAIT_MS.into()) + GRACE;
    fleet.link(node).call_bulk(fleet, "wait", &query, within).await
}
