//! Keeps the list of members the same everywhere: each change is told at once, and now and then somebody
//! is asked.
//!
//! A member that was off learns what it missed from the first one it meets, a new key included. Not here:
//! how lists are merged (the core's), and rows of sessions.

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use rrd_core::fleet::members::List;
use rrd_proto::NodeId;
use tokio_util::sync::CancellationToken;

use super::{Fleet, aside, link::LinkError, twin};

/// How often one member is asked, the next one each time.
const ROUND: Duration = Duration::from_secs(20);

/// How often everybody is tried while nobody has answered.
const ALONE: Duration = Duration::from_secs(5);

/// Changes that come together are told together.
const TOGETHER: Duration = Duration::from_millis(50);

/// What one member may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// Members that are spoken with at once.
const AT_ONCE: usize = 8;

/// Members that a change is told by this node; they tell the others.
const TOLD: usize = 32;

/// Runs until it is stopped.
pub(crate) async fn run(fleet: Arc<Fleet>, stop: CancellationToken) {
    let both = async { tokio::join!(keeps_up(&fleet), twin::watches(&fleet)) };
    stop.run_until_cancelled(both).await;
}

async fn keeps_up(fleet: &Arc<Fleet>) {
    let mut changed = fleet.changed();
    let (mut turn, mut everybody) = (0usize, true);
    loop {
        // What changes from here on is told in the next round.
        changed.borrow_and_update();
        let mut asked = others(fleet);
        if everybody {
            asked.truncate(TOLD);
        } else if !asked.is_empty() {
            asked = vec![asked[turn % asked.len()]];
            turn = turn.wrapping_add(1);
        }
        let round = async {
            let answered = tell(fleet, &asked).await || asked.is_empty();
            tokio::time::sleep(if answered { ROUND } else { ALONE }).await;
            answered
        };
        everybody = tokio::select! {
            // News does not wait for a member that is slow; that one is told again with the others.
            result = changed.changed() => match result {
                Ok(()) => {
                    tokio::time::sleep(TOGETHER).await;
                    true
                }
                Err(_) => return,
            },
            // Nobody answered: any of them may be back.
            answered = round => !answered,
        };
    }
}

/// Members but for this node, those after it first, so that not all tell the same ones.
fn others(fleet: &Fleet) -> Vec<NodeId> {
    let own = fleet.node();
    if fleet.key().is_none() {
        return Vec::new();
    }
    let members = fleet.members();
    let (before, after): (Vec<NodeId>, Vec<NodeId>) = members
        .now()
        .map(|member| member.node())
        .filter(|node| *node != own)
        .partition(|node| *node < own);
    [after, before].concat()
}

/// Exchanges lists with these; whether anybody answered.
async fn tell(fleet: &Arc<Fleet>, nodes: &[NodeId]) -> bool {
    let list = fleet.members().list();
    let told = futures::stream::iter(nodes.iter().copied()).map(|node| {
        let list = &list;
        async move { exchange(fleet, node, list).await }
    });
    let results: Vec<_> = told.buffer_unordered(AT_ONCE).collect().await;
    results.iter().any(Result::is_ok)
}

async fn exchange(fleet: &Arc<Fleet>, node: NodeId, list: &List) -> Result<(), LinkError> {
    let theirs: List = fleet.link(node).call(fleet, "members", list, PATIENCE).await?;
    if let Some(Err(error)) = aside(fleet, move |fleet| fleet.merge(theirs)).await {
        tracing::warn!(%error, "cannot keep the list of members");
    }
    Ok(())
}
