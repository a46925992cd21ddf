//! Whether this node's identity is in use twice, and whether its generations went back.
//!
//! Of two daemons with one identity the others hear the one that began later; what the other one sends is
//! stale to them. So each node asks members now and then what they know of itself ([`Seen`]): a later
//! generation that is there while this one asks is a copy (a cloned disk), and both are told; one that is
//! not there is this node's own, from before its files were put back from a backup, and it begins anew
//! above it. A call proves the caller's key, so that no recording raises the alarm; a member that lies can,
//! and does no more by it. Not here: which of two is heard (the core's windows).

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant as Started},
};

use futures::StreamExt;
use rrd_core::fleet::members::MAX_GENERATION;
use rrd_proto::{Health, NodeId, PartStatus};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use super::{Fleet, aside, link::LinkError, lock};

/// How often members are asked.
const ROUND: Duration = Duration::from_secs(20);

/// The same while what they say may be news of a moment.
const SOON: Duration = Duration::from_secs(5);

/// So many members are asked: of those that answer, the first by name, so that two who do not know of each
/// other ask the same ones.
const ASKED: usize = 3;

/// What one member may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// A former run of a node is missed by then, if it has ended: longer than the failure detector takes.
const MISSED: Duration = Duration::from_secs(15);

/// What was noticed is said for so long, unless it is noticed again: two rounds of the other one, and more.
const SAID_FOR: Duration = Duration::from_secs(45);

/// What this node states of itself is stated anew if it has been something else for so long: a copy that
/// was not noticed yet would state something else at once.
const STATE_AFTER: Duration = Duration::from_secs(60);

/// Runs of a node that are told apart, at most.
const MAX_RUNS: usize = 256;

/// How this node runs.
pub(crate) struct Run {
    /// What it tells, it tells in this generation.
    pub(crate) generation: u64,
    /// Random: another of the same name has another.
    pub(crate) boot: u64,
    /// Since when.
    pub(crate) begun: Instant,
    /// The latest generation of a member that was heard, and whether it is there.
    pub(crate) known: Arc<dyn Fn(NodeId) -> (u64, bool) + Send + Sync>,
}

/// What a caller of `seen` says of itself.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Asks {
    generation: u64,
    boot: u64,
}

/// What it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Seen {
    /// The latest generation of it that was heard.
    #[serde(default)]
    generation: u64,
    /// It may be there.
    #[serde(default)]
    live: bool,
    /// Two are there.
    #[serde(default)]
    twice: bool,
}

/// What is known of all that.
#[derive(Default)]
pub(super) struct Twins {
    run: Option<Run>,
    /// When each run of a member called first.
    runs: HashMap<(NodeId, u64), Started>,
    /// When a member was last known to be there twice; this node, as others say.
    twice: HashMap<NodeId, Started>,
    /// The latest generation of this node that anybody knows.
    own: u64,
}

impl Twins {
    /// A run of a member asks.
    fn asked(&mut self, node: NodeId, asks: Asks, now: Started) -> Seen {
        let Some(run) = &self.run else { return Seen::default() };
        let (generation, live) = (run.known)(node);
        // Who has just begun has missed nobody yet.
        let live = live || run.begun.elapsed() < MISSED;
        if self.runs.len() >= MAX_RUNS {
            self.runs.retain(|_, first| now.duration_since(*first) < 2 * SAID_FOR);
        }
        if self.runs.len() < MAX_RUNS {
            self.runs.entry((node, asks.boot)).or_insert(now);
        }
        let first = self.runs.get(&(node, asks.boot));
        let is_later = generation > asks.generation;
        if is_later && live && first.is_some_and(|first| now.duration_since(*first) >= MISSED) {
            self.twice.insert(node, now);
        }
        Seen { generation, live, twice: self.is_twice(node, now) }
    }

    fn is_twice(&self, node: NodeId, now: Started) -> bool {
        self.twice.get(&node).is_some_and(|at| now.duration_since(*at) < SAID_FOR)
    }
}

impl Fleet {
    /// From here on this node runs so.
    pub(crate) fn set_run(&self, run: Option<Run>) {
        lock(&self.twins).run = run;
    }

    /// The latest generation of this node that others know or have forgotten, if that is this one or a
    /// later one: what this node tells in this one is not heard.
    pub(crate) fn overtaken_by(&self, generation: u64) -> Option<u64> {
        let forgotten =
            self.members().forgotten(self.node()).filter(|latest| *latest >= generation);
        let seen = Some(lock(&self.twins).own).filter(|latest| *latest > generation);
        forgotten.max(seen)
    }

    /// The latest generation of a member that was heard, and whether it is there; `None` while nobody is
    /// heard here.
    pub(super) fn known(&self, node: NodeId) -> Option<(u64, bool)> {
        let twins = lock(&self.twins);
        twins.run.as_ref().map(|run| (run.known)(node))
    }

    /// What a member is told of itself.
    pub(super) fn seen(&self, node: NodeId, asks: Asks) -> Seen {
        let now = Started::now();
        let mut twins = lock(&self.twins);
        let before = twins.is_twice(node, now);
        let seen = twins.asked(node, asks, now);
        drop(twins);
        if seen.twice != before {
            tracing::error!(%node, "two hosts run under one identity");
            self.tell();
        }
        seen
    }

    /// Members that two hosts run as; this one among them, if it is so.
    pub(crate) fn twins(&self) -> Vec<NodeId> {
        let (twins, now) = (lock(&self.twins), Started::now());
        let nodes = twins.twice.keys().copied();
        let mut nodes: Vec<NodeId> = nodes.filter(|node| twins.is_twice(*node, now)).collect();
        nodes.sort();
        nodes
    }

    /// Whether another host runs under this one's identity.
    pub(super) fn has_twin(&self) -> bool {
        lock(&self.twins).is_twice(self.node(), Started::now())
    }

    pub(super) fn forget_twins(&self) {
        let mut twins = lock(&self.twins);
        *twins = Twins { run: twins.run.take(), ..Twins::default() };
    }

    /// That it is so, as a part of the daemon.
    pub(super) fn twins_part(&self) -> Option<PartStatus> {
        let (members, twins) = (self.members(), self.twins());
        let part = |state, detail, hint: &str| PartStatus {
            part: "fleet".to_owned(),
            state,
            detail,
            hint: Some(hint.to_owned()),
        };
        if twins.contains(&self.node()) {
            let detail = "another host runs under the identity of this one, as where a disk or \
                          a state directory was copied: the others hear only one of the two";
            let hint = "on one of the two: rrd fleet leave, then rrd fleet join with an invite";
            return Some(part(Health::Failed, detail.to_owned(), hint));
        }
        let labels: Vec<String> = twins.iter().filter_map(|node| members.label(*node)).collect();
        (!labels.is_empty()).then(|| {
            let detail = format!(
                "two hosts run as {}, under one identity: only one of the two is heard",
                labels.join(", ")
            );
            let hint = "on one of those two: rrd fleet leave, then rrd fleet join with an invite";
            part(Health::Degraded, detail, hint)
        })
    }

    /// Takes what members say of this node; whether to ask again soon.
    fn heard_of_itself(&self, asks: Asks, said: &[Seen]) -> bool {
        let later =
            |seen: &&Seen| (asks.generation + 1..=MAX_GENERATION).contains(&seen.generation);
        let news = {
            let (mut twins, now, node) = (lock(&self.twins), Started::now(), self.node());
            let before = (twins.is_twice(node, now), twins.own);
            if said.iter().any(|seen| seen.twice) {
                twins.twice.insert(node, now);
            }
            let over = said.iter().filter(later).filter(|seen| !seen.live);
            let latest = over.map(|seen| seen.generation).max();
            twins.own = twins.own.max(latest.unwrap_or(0));
            let after = (twins.is_twice(node, now), twins.own);
            if after.0 && !before.0 {
                tracing::error!("another host runs under the identity of this one");
            }
            after != before
        };
        if news {
            self.tell();
        }
        said.iter().filter(later).any(|seen| seen.live && !seen.twice)
    }
}

/// Asks members what they know of this node, until it is stopped.
pub(super) async fn watches(fleet: &Arc<Fleet>) {
    let (mut was_twice, mut as_stated, mut had_twin) = (Vec::new(), Instant::now(), false);
    let mut changed = fleet.changed();
    loop {
        while fleet.key().is_none() {
            if changed.changed().await.is_err() {
                return;
            }
        }
        let run = lock(&fleet.twins).run.as_ref().map(|run| (run.generation, run.boot));
        let wait = match run {
            None => SOON,
            Some((generation, boot)) => {
                let asks = Asks { generation, boot };
                let said = ask(fleet, asks).await;
                if fleet.heard_of_itself(asks, &said) { SOON } else { ROUND }
            }
        };
        let twice = fleet.twins();
        if twice != was_twice {
            // Also what is over is news.
            was_twice = twice;
            fleet.tell();
        }
        let has_twin = fleet.has_twin();
        if has_twin || fleet.is_as_stated() {
            as_stated = Instant::now();
        } else if had_twin || as_stated.elapsed() >= STATE_AFTER {
            // A copy has stated in this node's name where it is.
            if let Some(Err(error)) = aside(fleet, Fleet::restate).await {
                tracing::warn!(%error, "cannot state this node's address");
            }
        }
        had_twin = has_twin;
        sleep(wait).await;
    }
}

async fn ask(fleet: &Arc<Fleet>, asks: Asks) -> Vec<Seen> {
    let own = fleet.node();
    let mut nodes: Vec<NodeId> =
        fleet.members().now().map(|member| member.node()).filter(|node| *node != own).collect();
    let contacts = lock(&fleet.contacts).clone();
    // Those that were off when they were last called come after the others.
    nodes.sort_by_key(|node| contacts.get(node).is_some_and(|contact| contact.trouble.is_some()));
    nodes.truncate(ASKED);
    let asked = futures::stream::iter(nodes).map(|node| async move {
        let seen: Result<Seen, LinkError> =
            fleet.link(node).call(fleet, "seen", &asks, PATIENCE).await;
        seen.ok()
    });
    asked.buffer_unordered(ASKED).filter_map(|seen| async move { seen }).collect().await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(n: u8) -> NodeId {
        NodeId::from_hash([n; 8])
    }

    fn twins(generation: u64, live: bool) -> Twins {
        let known = Arc::new(move |_| (generation, live));
        let begun = Instant::now() - MISSED;
        Twins { run: Some(Run { generation: 1, boot: 1, begun, known }), ..Twins::default() }
    }

    fn asks(generation: u64, boot: u64) -> Asks {
        Asks { generation, boot }
    }

    #[tokio::test(start_paused = true)]
    async fn a_later_run_that_is_there_is_another_one() {
        let mut twins = twins(9, true);
        let begun = Started::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let mut seen = |asks, seconds| twins.asked(node(2), asks, at(seconds));
        // It may be that run itself, a moment ago.
        let unsure = Seen { generation: 9, live: true, twice: false };
        assert_eq!(seen(asks(5, 7), 0), unsure);
        assert_eq!(seen(asks(5, 7), 14), unsure);
        assert!(seen(asks(5, 7), 15).twice);
        // The other one hears of it when it asks itself.
        assert!(seen(asks(9, 8), 30).twice);
        assert!(!seen(asks(9, 8), 15 + 45).twice, "it is not said for ever");
        // Who began anew above it asks as nobody's twin.
        assert!(!seen(asks(10, 9), 300).twice && !seen(asks(10, 9), 400).twice);
    }

    #[tokio::test(start_paused = true)]
    async fn a_later_run_that_is_not_there_is_ones_own() {
        let mut twins = twins(9, false);
        let begun = Started::now();
        let gone = Seen { generation: 9, live: false, twice: false };
        assert_eq!(twins.asked(node(2), asks(5, 7), begun + MISSED), gone);
        // Only who has been there for a while knows that somebody is not.
        twins.run.as_mut().unwrap().begun = Instant::now();
        assert!(twins.asked(node(2), asks(5, 7), begun + MISSED).live);
        // Callers are not remembered for ever, nor in any number.
        for n in 0..10 * MAX_RUNS as u64 {
            twins.asked(node(3), asks(5, n), begun + Duration::from_secs(n));
            assert!(twins.runs.len() <= MAX_RUNS);
        }
    }
}
