//! Hands messages over: to each host in the order they were sent, one call at a time, until it has them.
//!
//! What is handed over is on the disk of the other host before it answers, and what did not answer is handed over
//! again: whatever comes twice is known there. While nothing is on its way nothing runs. Not here: what a host
//! takes (the tables), and what becomes of a message when this host leaves.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
    time::Duration,
};

use rrd_proto::{
    NodeId, SessionKey,
    message::{Handed, MessagesPush, MessagesReply},
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use crate::{
    fleet::{Fleet, KeepError, aside},
    gossip::Gossip,
    hub::now,
};

/// What a call may take.
const WITHIN: Duration = Duration::from_secs(20);

/// What could not be handed over is handed over again after so long …
const FIRST: Duration = Duration::from_millis(500);

/// … and each time after twice as long, up to this.
const LAST: Duration = Duration::from_secs(60);

/// A session that takes no more is asked again after so long.
const FULL: Duration = Duration::from_secs(5);

/// How often what is over for long is forgotten.
const PRUNE: Duration = Duration::from_secs(600);

/// Runs until it is dropped.
pub(crate) async fn run(fleet: Arc<Fleet>, gossip: Arc<Gossip>) {
    let messages = fleet.messages();
    let mut members = fleet.changed();
    members.mark_changed();
    let (mut tasks, mut running) = (JoinSet::new(), BTreeSet::new());
    let mut prune = tokio::time::interval(PRUNE);
    loop {
        let pending = std::mem::take(&mut messages.held().pending);
        for node in pending {
            if running.insert(node) {
                let (fleet, gossip) = (Arc::clone(&fleet), Arc::clone(&gossip));
                tasks.spawn(async move {
                    hand_over(&fleet, &gossip, node).await;
                    node
                });
            } else {
                // It may just have found that there is nothing more.
                messages.held().pending.insert(node);
            }
        }
        tokio::select! {
            () = messages.stirred.notified() => {}
            // What an earlier one of these had taken up, and what becomes of it by who is a member.
            Ok(()) = members.changed() => {
                if let Some(Ok(nodes)) = aside(&fleet, to_look_at).await {
                    messages.held().pending.extend(nodes);
                }
            }
            Some(ended) = tasks.join_next() => match ended {
                Ok(node) => { running.remove(&node); }
                Err(error) => {
                    tracing::error!(%error, "handing messages over ended by itself");
                    return;
                }
            },
            _ = prune.tick() => {
                let pruned = aside(&fleet, |fleet| fleet.keep().prune_messages(now())).await;
                if let Some(Err(error)) = pruned {
                    tracing::warn!(%error, "messages that are over cannot be forgotten");
                }
            }
        }
    }
}

/// Hosts that something is on its way to, and those that have something unread and are no members any more.
fn to_look_at(fleet: &Fleet) -> Result<Vec<NodeId>, KeepError> {
    let members = fleet.members();
    let unread = fleet.keep().hosts_with_unread()?.into_iter();
    let mut nodes = fleet.keep().hosts_with_messages()?;
    nodes.extend(unread.filter(|node| !members.has(*node)));
    Ok(nodes)
}

/// Until nothing is on its way there any more.
async fn hand_over(fleet: &Arc<Fleet>, gossip: &Gossip, node: NodeId) {
    let messages = fleet.messages();
    let mut pause = FIRST;
    // Sessions that take no more for now, and until when.
    let mut full: HashSet<SessionKey> = HashSet::new();
    let mut full_until = Instant::now();
    loop {
        if Instant::now() >= full_until {
            full.clear();
        }
        if !fleet.members().has(node) {
            fail(fleet, node).await;
            return;
        }
        let besides = full.clone();
        let next = aside(fleet, move |fleet| fleet.keep().outgoing(node, &besides)).await;
        let push = match next {
            Some(Ok(push)) => push,
            Some(Err(error)) => {
                tracing::warn!(%error, "messages cannot be read");
                worth_it(fleet, gossip, node, &mut pause).await;
                continue;
            }
            None => return,
        };
        if push == MessagesPush::default() {
            if full.is_empty() {
                messages.held().trouble.remove(&node);
                return;
            }
            tokio::select! {
                () = sleep_until(full_until) => {}
                // Others may have something by now.
                _ = another(fleet) => {}
            }
            continue;
        }
        let link = fleet.link(node);
        let handed = link.call_bulk::<_, MessagesReply>(fleet, "messages", &push, WITHIN).await;
        match handed {
            Ok(MessagesReply { handed }) => {
                pause = FIRST;
                let whose = push.messages.iter().map(|message| &message.to).zip(&handed);
                let stopped = whose.filter(|(_, handed)| **handed == Handed::Full);
                let stopped: Vec<SessionKey> = stopped.map(|(to, _)| to.clone()).collect();
                if !stopped.is_empty() {
                    full.extend(stopped);
                    full_until = Instant::now() + FULL;
                    let why = "a session there has too many that nobody acknowledged, or is not known yet";
                    messages.held().trouble.insert(node, why.to_owned());
                }
                let is_short = handed.len() < push.messages.len();
                let settled =
                    aside(fleet, move |fleet| fleet.keep().settle(&push, node, &handed, now()))
                        .await;
                if let Some(Err(error)) = settled {
                    tracing::warn!(%error, "what became of messages cannot be kept");
                    worth_it(fleet, gossip, node, &mut pause).await;
                } else if is_short {
                    worth_it(fleet, gossip, node, &mut pause).await;
                }
                messages.change();
            }
            Err(error) => {
                tracing::debug!(%node, %error, "messages are not handed over");
                let trouble = fleet.edges().kept(&error.to_string());
                messages.held().trouble.insert(node, trouble);
                worth_it(fleet, gossip, node, &mut pause).await;
            }
        }
    }
}

/// More is to go out.
async fn another(fleet: &Fleet) {
    let mut changed = fleet.messages().changed();
    let _ = changed.changed().await;
}

/// Waits until it is worth trying again: longer each time, or until the host is there or the members are others.
async fn worth_it(fleet: &Fleet, gossip: &Gossip, node: NodeId, pause: &mut Duration) {
    let is_live = || gossip.live().iter().any(|(live, _)| *live == node);
    let (mut others, mut members) = (gossip.changed(), fleet.changed());
    let comes = async {
        let mut was_live = is_live();
        while others.changed().await.is_ok() {
            let live = is_live();
            if live && !was_live {
                return;
            }
            was_live = live;
        }
        std::future::pending().await
    };
    tokio::select! {
        () = sleep(*pause) => *pause = (*pause * 2).min(LAST),
        () = comes => *pause = FIRST,
        _ = members.changed() => {}
    }
}

/// It is no member any more.
async fn fail(fleet: &Arc<Fleet>, node: NodeId) {
    let left = fleet.members().left(node);
    let why = if left { "its host left the fleet" } else { "its host was dropped from the fleet" };
    let failed = aside(fleet, move |fleet| fleet.keep().fail_messages(node, why, now())).await;
    if let Some(Err(error)) = failed {
        tracing::warn!(%error, "what became of messages cannot be kept");
    }
    fleet.messages().held().trouble.remove(&node);
    fleet.messages().change();
}
