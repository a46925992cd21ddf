//! All waits of this host's clients: who waits for what, what came of each, and how many there may be.
//!
//! Not here: what clients ask ([`mod@super::answer`]), and the hosts that are asked ([`super::follow`]).

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rrd_core::wait;
use rrd_proto::{
    EdgeKind, EdgeState, HostState, Link, NodeId, Refusal, Session, SessionKey, Timestamp,
    wait::{Came, MAX_TARGETS, Outcome, Until, WaitItem, WaitNews, WaitState, WaitTarget},
};
use tokio::{sync::watch, time::Instant};

use super::{answer, host, owner, refusal};
use crate::{
    answers::Answers,
    hub::{Hub, Input, now},
};

/// A client that has not asked for so long waits no more. With how often that is looked for, and how soon others
/// hear of it, within two seconds.
pub(super) const SILENT: Duration = Duration::from_millis(1_200);

/// A daemon that runs for less may not have heard of every host, and so not of their sessions; one that is away for
/// less may only begin anew.
pub(super) const SETTLES: Duration = Duration::from_secs(10);

/// Waits at once. Each is a process of this host's user.
pub(crate) const MOST: usize = 4_096;

/// Others that one session waits for at once, in all its calls: every host is told of all of them.
const MOST_OF_ONE: usize = 2 * MAX_TARGETS;

/// All waits of this host's clients.
#[derive(Debug)]
pub(crate) struct Waits {
    held: Mutex<Held>,
    /// Changes with what is waited for, and with what came of it.
    pub(super) changed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
pub(super) struct Held {
    pub(super) next: u64,
    pub(super) waits: BTreeMap<u64, Wait>,
    /// Who waits for messages.
    pub(super) awaited: answer::Awaited,
    /// Hosts that are being asked.
    pub(super) followed: BTreeSet<Option<NodeId>>,
    pub(super) is_looked_after: bool,
}

#[derive(Debug)]
pub(super) struct Wait {
    pub(super) waiter: Option<SessionKey>,
    pub(super) until: Until,
    pub(super) any: bool,
    pub(super) since: Timestamp,
    pub(super) targets: Vec<Target>,
    /// It is told: from here on what happens counts.
    pub(super) is_told: bool,
    /// Its client waited before, with a daemon that is no more.
    pub(super) is_anew: bool,
    /// Why it may not go on, after all.
    pub(super) refused: Option<Refusal>,
    /// How much of what came of its targets its client knows.
    pub(super) told: usize,
    /// Calls that are being answered.
    pub(super) asking: u32,
    pub(super) asked: Instant,
}

#[derive(Debug)]
pub(super) struct Target {
    /// Whose; `None`: this host's, whatever it is called by then.
    pub(super) node: Option<NodeId>,
    pub(super) row: Box<Session>,
    pub(super) from: Option<u64>,
    pub(super) outcome: Option<Outcome>,
    /// What it did may have been missed.
    pub(super) renumbered: bool,
}

impl Wait {
    fn came(&self) -> Option<Came> {
        let came = |target: &Target| target.outcome.as_ref().map(|outcome| outcome.came);
        wait::of_all(self.any, self.targets.iter().map(came))
    }

    fn is_over(&self) -> bool {
        self.came().is_some()
    }

    /// How much has come of its targets that its client is to know.
    fn decided(&self) -> usize {
        let of = |target: &Target| [target.outcome.is_some(), target.renumbered];
        self.targets.iter().flat_map(of).filter(|is| *is).count()
    }

    /// One for each session of which nothing has come, however often it was named; `group` is this wait among
    /// all of its session.
    pub(super) fn links(&self, group: u32) -> Vec<Link> {
        let open = self.targets.iter().filter(|target| target.outcome.is_none());
        let names: BTreeSet<&str> = open.map(|target| &*target.row.reference).collect();
        // One of one is that one.
        let any = self.any && names.len() > 1;
        let link = |to: &str| Link {
            kind: EdgeKind::Wait,
            state: EdgeState::Declared,
            to: to.to_owned(),
            incoming: false,
            any,
            group: if any { group } else { 0 },
            since: Some(self.since),
            evidence: format!("rrd wait --until {}", self.until),
        };
        names.into_iter().map(link).collect()
    }
}

impl Waits {
    pub(crate) fn new() -> Self {
        Self { held: Mutex::default(), changed: watch::channel(0).0 }
    }

    pub(super) fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells rows, and whoever follows.
    pub(super) fn tell(&self, hub: &Hub) {
        hub.apply(Input::Declared(self.links()));
        self.changed.send_modify(|version| *version += 1);
    }

    /// For whom each session waits.
    pub(super) fn links(&self) -> HashMap<SessionKey, Vec<Link>> {
        let mut links: HashMap<SessionKey, Vec<Link>> = HashMap::new();
        let held = self.held();
        for wait in held.waits.values().filter(|wait| wait.is_told && !wait.is_over()) {
            let Some(waiter) = &wait.waiter else { continue };
            let links = links.entry(waiter.clone()).or_default();
            let last = links.iter().map(|link| link.group).max().unwrap_or(0);
            links.extend(wait.links(last + 1));
        }
        Self::add_awaited(&held.awaited, &mut links);
        links
    }

    /// What is waited for on a host, each once.
    pub(super) fn items(&self, node: Option<NodeId>) -> Vec<WaitItem> {
        Self::items_of(&self.held(), node)
    }

    fn items_of(held: &Held, node: Option<NodeId>) -> Vec<WaitItem> {
        let mut items = BTreeSet::new();
        for wait in held.waits.values().filter(|wait| !wait.is_over()) {
            let open = wait.targets.iter().filter(|t| t.node == node && t.outcome.is_none());
            items.extend(open.map(|target| WaitItem {
                key: target.row.key(),
                until: wait.until.clone(),
                from: target.from,
            }));
        }
        items.into_iter().collect()
    }

    /// Takes a wait, and says which it is; or refuses what is too much.
    pub(super) fn add(&self, wait: Wait) -> Result<u64, Refusal> {
        let mut held = self.held();
        let hint = "rrd graph shows who waits for whom";
        if held.waits.len() >= MOST {
            return Err(refusal(format!("{MOST} wait already"), hint));
        }
        if let Some(waiter) = &wait.waiter {
            let of_it = held.waits.values().filter(|held| held.waiter.as_ref() == Some(waiter));
            let open = of_it
                .filter(|wait| !wait.is_over())
                .chain([&wait])
                .flat_map(|wait| wait.targets.iter().filter(|target| target.outcome.is_none()));
            let others: BTreeSet<&str> = open.map(|target| target.row.reference.as_str()).collect();
            if others.len() > MOST_OF_ONE {
                let why = format!("one session waits for at most {MOST_OF_ONE} others at once");
                return Err(refusal(why, hint));
            }
        }
        let nodes: BTreeSet<Option<NodeId>> = wait.targets.iter().map(|t| t.node).collect();
        held.next += 1;
        let handle = held.next;
        held.waits.insert(handle, wait);
        // What is beyond it there nobody would look at.
        if nodes.into_iter().any(|node| Self::items_of(&held, node).len() > owner::MOST) {
            held.waits.remove(&handle);
            let most = owner::MOST;
            let hint = "end an rrd wait that this host has for a session there; the graph does not show those of \
                        people (--as none)";
            return Err(refusal(
                format!("{most} things are waited for on that host already"),
                hint,
            ));
        }
        Ok(handle)
    }

    /// Takes how these stand; true where that is news.
    pub(super) fn take(&self, node: Option<NodeId>, item: &WaitItem, state: &WaitState) -> bool {
        let WaitState { from, outcome, renumbered } = state;
        let mut is_news = false;
        for wait in self.held().waits.values_mut().filter(|wait| wait.until == item.until) {
            let is_it = |target: &&mut Target| {
                target.node == node
                    && target.outcome.is_none()
                    && target.from == item.from
                    && target.row.harness == item.key.harness
                    && target.row.session_id == item.key.session_id
            };
            for target in wait.targets.iter_mut().filter(is_it) {
                is_news |= outcome.is_some() || *renumbered;
                is_news |= target.from.is_none() && from.is_some();
                target.from = from.or(target.from);
                target.renumbered |= renumbered;
                target.outcome.clone_from(outcome);
            }
        }
        is_news
    }

    /// Forgets whoever asks no more; true while anybody does.
    pub(super) fn forget_silent(&self, hub: &Hub) -> bool {
        let mut held = self.held();
        let before = held.waits.len();
        held.waits.retain(|_, wait| wait.asking > 0 || wait.asked.elapsed() < SILENT);
        let (is_news, is_left) = Self::forget_awaited(&mut held.awaited);
        let is_left = is_left || !held.waits.is_empty();
        let changed = is_news || held.waits.len() != before;
        held.is_looked_after = is_left;
        drop(held);
        if changed {
            self.tell(hub);
        }
        is_left
    }

    /// What is waited for on hosts that are no members any more never comes: they cannot be back under that name.
    pub(super) fn drop_strangers(&self, answers: &Answers) {
        let open = |target: &Target| target.node.filter(|_| target.outcome.is_none());
        let nodes: BTreeSet<NodeId> = {
            let held = self.held();
            held.waits.values().flat_map(|wait| wait.targets.iter().filter_map(open)).collect()
        };
        if nodes.is_empty() {
            return;
        }
        let hosts = answers.hosts_by_node();
        let mut is_news = false;
        for node in nodes.into_iter().filter(|node| host(answers, &hosts, Some(*node)).is_none()) {
            for wait in self.held().waits.values_mut() {
                for target in wait.targets.iter_mut().filter(|target| open(target) == Some(node)) {
                    target.outcome = Some(wait::unknown());
                    is_news = true;
                }
            }
        }
        if is_news {
            self.tell(&answers.hub);
        }
    }

    /// Each target's host has said from where on what happens counts, but for those that are `away`.
    pub(super) fn is_begun(&self, handle: u64, away: &HashSet<NodeId>) -> bool {
        let held = self.held();
        let is_begun = |target: &Target| {
            let is_away = target.node.is_some_and(|node| away.contains(&node));
            is_away || target.from.is_some() || target.outcome.is_some()
        };
        held.waits.get(&handle).is_none_or(|wait| wait.targets.iter().all(is_begun))
    }

    /// Something came of it that its client has not been told.
    pub(super) fn has_news(&self, handle: u64) -> Option<bool> {
        let held = self.held();
        let wait = held.waits.get(&handle)?;
        Some(wait.is_over() || wait.decided() > wait.told)
    }

    /// How it stands, for its client, who tells a daemon that begins anew of it.
    pub(super) fn tell_client(&self, handle: u64, answers: &Answers) -> Option<WaitNews> {
        let news = self.news(handle, answers)?;
        let of = |target: &WaitTarget| [target.outcome.is_some(), target.renumbered];
        let told = news.targets.iter().flat_map(of).filter(|is| *is).count();
        self.held().waits.get_mut(&handle)?.told = told;
        Some(news)
    }

    pub(super) fn news(&self, handle: u64, answers: &Answers) -> Option<WaitNews> {
        let hosts = answers.hosts_by_node();
        let held = self.held();
        let wait = held.waits.get(&handle)?;
        let told = |target: &Target| {
            let known = host(answers, &hosts, target.node);
            let Session { reference, host: label, harness, session_id, title, .. } = &*target.row;
            WaitTarget {
                reference: reference.clone(),
                host: label.clone(),
                node_id: target.node.unwrap_or_else(|| answers.own_node()).to_string(),
                harness: harness.clone(),
                session_id: session_id.clone(),
                title: title.clone(),
                host_state: known.map(|(state, _)| state),
                away_since: known
                    .filter(|(state, _)| *state == HostState::Away)
                    .and_then(|(_, since)| since),
                outcome: target.outcome.clone(),
                from: target.from,
                renumbered: target.renumbered,
            }
        };
        let targets: Vec<WaitTarget> = wait.targets.iter().map(told).collect();
        let is_settling = settles(answers, &targets).is_some();
        Some(WaitNews { handle, came: wait.came(), is_settling, targets })
    }
}

/// How long it is until who is away is no more taken for one that only begins anew, or that this host has not heard
/// of yet.
pub(super) fn settles(answers: &Answers, targets: &[WaitTarget]) -> Option<Duration> {
    let now = now();
    let open = targets.iter().filter(|target| target.outcome.is_none());
    let away = open.filter_map(|target| {
        let away = u64::try_from(now.since(target.away_since?)).ok()?;
        SETTLES.checked_sub(Duration::from_millis(away))
    });
    let own = SETTLES.checked_sub(answers.health.started.elapsed());
    away.chain(own).max().filter(|left| !left.is_zero())
}

/// A call that is being answered: whoever hangs up drops it.
pub(super) struct Asking<'a>(&'a Waits, u64);

impl<'a> Asking<'a> {
    pub(super) fn begin(waits: &'a Waits, handle: u64) -> Option<Self> {
        waits.held().waits.get_mut(&handle)?.asking += 1;
        Some(Self(waits, handle))
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        if let Some(wait) = self.0.held().waits.get_mut(&self.1) {
            (wait.asking, wait.asked) = (wait.asking - 1, Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use rrd_proto::Harness;

    use super::*;

    fn key(id: impl ToString) -> SessionKey {
        SessionKey { harness: Harness::Codex, session_id: id.to_string() }
    }

    /// A wait for these sessions of one host.
    fn wait(waiter: Option<&str>, node: Option<NodeId>, targets: std::ops::Range<usize>) -> Wait {
        let target = |at: usize| {
            let row = Session { reference: format!("t{at}"), ..Session::unknown(key(at)) };
            Target { node, row: Box::new(row), from: None, outcome: None, renumbered: false }
        };
        Wait {
            waiter: waiter.map(key),
            until: Until::Idle,
            any: false,
            since: now(),
            targets: targets.map(target).collect(),
            is_told: true,
            is_anew: false,
            refused: None,
            told: 0,
            asking: 0,
            asked: Instant::now(),
        }
    }

    #[test]
    fn no_session_waits_for_more_than_every_host_is_told_of() {
        let waits = Waits::new();
        let add = |waiter, targets| waits.add(wait(Some(waiter), None, targets));
        add("a", 0..64).unwrap();
        add("a", 64..128).unwrap();
        let refused = add("a", 128..129).unwrap_err();
        assert!(refused.message.contains("at most 128"), "{refused:?}");
        // Neither the same once more nor what another one waits for is too much.
        add("a", 0..64).unwrap();
        add("b", 64..128).unwrap();
    }

    #[test]
    fn calls_that_are_content_with_one_of_theirs_are_told_apart() {
        let waits = Waits::new();
        for (any, targets) in [(true, 0..2), (false, 1..2), (true, 1..4), (true, 5..6)] {
            waits.add(Wait { any, ..wait(Some("a"), None, targets) }).unwrap();
        }
        let links = waits.links().remove(&key("a")).unwrap();
        let told = |link: &Link| (link.to.clone(), link.any, link.group);
        let told: Vec<_> = links.iter().map(told).collect();
        let of = |to: &str, any, group| (to.to_owned(), any, group);
        let first = [of("t0", true, 1), of("t1", true, 1), of("t1", false, 0)];
        let then = [of("t1", true, 2), of("t2", true, 2), of("t3", true, 2)];
        // One of one is that one.
        assert_eq!(told, [&first[..], &then, &[of("t5", false, 0)]].concat());
    }

    #[test]
    fn more_than_a_host_is_asked_about_is_not_waited_for() {
        let waits = Waits::new();
        let add = |node, at| waits.add(wait(None, node, at..at + 1));
        for at in 0..owner::MOST {
            add(None, at).unwrap();
        }
        let refused = add(None, owner::MOST).unwrap_err();
        assert!(refused.message.contains("on that host already"), "{refused:?}");
        assert!(refused.hint.unwrap().contains("end an rrd wait that this host has"));
        // Neither the same once more nor what is on another host is too much.
        add(None, 0).unwrap();
        add(Some(NodeId::from_hash([7; 8])), owner::MOST).unwrap();
        assert_eq!(waits.items(None).len(), owner::MOST);
    }
}
