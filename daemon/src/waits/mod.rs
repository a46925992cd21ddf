//! Who on this host waits for which session: begun by a client, and over when that is.
//!
//! A session's wait is an edge of the graph, told in its row, from the moment it begins until its client has not
//! asked for a while, whatever became of it. One that would close a circle is refused. Each host whose sessions
//! are waited for is asked about all of them at once ([`follow`]); what has come true is decided there
//! ([`owner`]). Not here: the rules ([`rrd_core::wait`], [`rrd_core::graph`]).

pub(crate) mod answer;
mod follow;
pub(crate) mod owner;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rrd_core::{
    graph,
    wait::{self, Condition},
};
use rrd_proto::{
    EdgeKind, EdgeState, Harness, HostState, Link, Lookup, LookupQuery, NodeId, Refusal, Session,
    SessionKey, Timestamp, session_ref,
    wait::{
        Awaited, Came, MAX_TARGETS, NoWait, Outcome, Until, WaitCall, WaitItem, WaitNews,
        WaitTarget,
    },
};
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until, timeout},
};

use crate::{
    answers::Answers,
    desk,
    hub::{Hub, Input, now},
};

/// A client that has not asked for so long waits no more.
const SILENT: Duration = Duration::from_millis(1_500);

/// A host that has not said by then from where on what happens counts says so later.
const BEGINS: Duration = Duration::from_secs(2);

/// How often whoever waits looks at hosts, while anything changes.
const HOSTS: Duration = Duration::from_millis(500);

/// A daemon that runs for less may not have heard of every host, and so not of their sessions.
const SETTLES: Duration = Duration::from_secs(10);

/// How often who is silent, and whose host has gone for good, is looked for, while anybody waits.
const LOOK: Duration = Duration::from_millis(300);

/// Waits at once. Each is a process of this host's user.
pub(crate) const MOST: usize = 4_096;

/// Others that one session waits for at once, in all its calls: every host is told of all of them.
const MOST_OF_ONE: usize = 2 * MAX_TARGETS;

/// All waits of this host's clients.
#[derive(Debug)]
pub(crate) struct Waits {
    held: Mutex<Held>,
    /// Changes with what is waited for, and with what came of it.
    changed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Held {
    next: u64,
    waits: BTreeMap<u64, Wait>,
    /// Who waits for messages.
    awaited: answer::Awaited,
    /// Hosts that are being asked.
    followed: BTreeSet<Option<NodeId>>,
    is_looked_after: bool,
}

#[derive(Debug)]
struct Wait {
    waiter: Option<SessionKey>,
    until: Until,
    any: bool,
    since: Timestamp,
    targets: Vec<Target>,
    /// It is told: from here on what happens counts.
    is_told: bool,
    /// Of how many targets its client knows what came of them.
    told: usize,
    /// Calls that are being answered.
    asking: u32,
    asked: Instant,
}

#[derive(Debug)]
struct Target {
    /// Whose; `None`: this host's, whatever it is called by then.
    node: Option<NodeId>,
    row: Box<Session>,
    from: Option<u64>,
    outcome: Option<Outcome>,
}

impl Wait {
    fn came(&self) -> Option<Came> {
        let came = |target: &Target| target.outcome.as_ref().map(|outcome| outcome.came);
        wait::of_all(self.any, self.targets.iter().map(came))
    }

    fn is_over(&self) -> bool {
        self.came().is_some()
    }

    /// Of how many targets something has come.
    fn decided(&self) -> usize {
        self.targets.iter().filter(|target| target.outcome.is_some()).count()
    }

    fn link(&self, target: &Target) -> Link {
        Link {
            kind: EdgeKind::Wait,
            state: EdgeState::Declared,
            to: target.row.reference.clone(),
            incoming: false,
            any: self.any,
            since: Some(self.since),
            evidence: format!("rrd wait --until {}", self.until),
        }
    }

    /// One for each session, however often it was named.
    fn links(&self, is_meant: impl Fn(&Target) -> bool) -> Vec<Link> {
        let mut links: Vec<Link> = Vec::new();
        for target in self.targets.iter().filter(|target| is_meant(target)) {
            if !links.iter().any(|link| link.to == target.row.reference) {
                links.push(self.link(target));
            }
        }
        links
    }
}

impl Waits {
    pub(crate) fn new() -> Self {
        Self { held: Mutex::default(), changed: watch::channel(0).0 }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells rows, and whoever follows.
    fn tell(&self, hub: &Hub) {
        hub.apply(Input::Declared(self.links()));
        self.changed.send_modify(|version| *version += 1);
    }

    /// For whom each session waits.
    fn links(&self) -> HashMap<SessionKey, Vec<Link>> {
        let mut links: HashMap<SessionKey, Vec<Link>> = HashMap::new();
        let held = self.held();
        for wait in held.waits.values().filter(|wait| wait.is_told && !wait.is_over()) {
            let Some(waiter) = &wait.waiter else { continue };
            let open = wait.links(|target| target.outcome.is_none());
            links.entry(waiter.clone()).or_default().extend(open);
        }
        Self::add_awaited(&held.awaited, &mut links);
        links
    }

    /// What is waited for on a host, each once.
    fn items(&self, node: Option<NodeId>) -> Vec<WaitItem> {
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
    fn add(&self, wait: Wait) -> Result<u64, Refusal> {
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
            return Err(refusal(
                format!("{most} things are waited for on that host already"),
                hint,
            ));
        }
        Ok(handle)
    }

    /// Takes how these stand; true where that is news.
    fn take(
        &self,
        node: Option<NodeId>,
        item: &WaitItem,
        from: Option<u64>,
        outcome: Option<Outcome>,
    ) -> bool {
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
                is_news |= outcome.is_some() || target.from.is_none() && from.is_some();
                target.from = from.or(target.from);
                target.outcome.clone_from(&outcome);
            }
        }
        is_news
    }

    /// Forgets whoever asks no more; true while anybody does.
    fn forget_silent(&self, hub: &Hub) -> bool {
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
    fn drop_strangers(&self, answers: &Answers) {
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

    /// Each target's host has said from where on what happens counts.
    fn is_begun(&self, handle: u64) -> bool {
        let held = self.held();
        let of = held.waits.get(&handle);
        of.is_none_or(|wait| wait.targets.iter().all(|t| t.from.is_some() || t.outcome.is_some()))
    }

    /// Something came of it that its client has not been told.
    fn has_news(&self, handle: u64) -> Option<bool> {
        let held = self.held();
        let wait = held.waits.get(&handle)?;
        Some(wait.is_over() || wait.decided() > wait.told)
    }

    /// How it stands, for its client, who tells a daemon that begins anew of it.
    fn tell_client(&self, handle: u64, answers: &Answers) -> Option<WaitNews> {
        let news = self.news(handle, answers)?;
        let told = news.targets.iter().filter(|target| target.outcome.is_some()).count();
        self.held().waits.get_mut(&handle)?.told = told;
        Some(news)
    }

    fn news(&self, handle: u64, answers: &Answers) -> Option<WaitNews> {
        let hosts = answers.hosts_by_node();
        let held = self.held();
        let wait = held.waits.get(&handle)?;
        let told = |target: &Target| {
            let known = host(answers, &hosts, target.node);
            let Session { reference, host: label, harness, session_id, title, .. } = &*target.row;
            WaitTarget {
                reference: reference.clone(),
                host: label.clone(),
                harness: harness.clone(),
                session_id: session_id.clone(),
                title: title.clone(),
                host_state: known.map(|(state, _)| state),
                away_since: known
                    .filter(|(state, _)| *state == HostState::Away)
                    .and_then(|(_, since)| since),
                outcome: target.outcome.clone(),
                from: target.from,
            }
        };
        let targets = wait.targets.iter().map(told).collect();
        let is_settling = answers.health.started.elapsed() < SETTLES;
        Some(WaitNews { handle, came: wait.came(), is_settling, targets })
    }
}

/// A call that is being answered: whoever hangs up drops it.
struct Asking<'a>(&'a Waits, u64);

impl<'a> Asking<'a> {
    fn begin(waits: &'a Waits, handle: u64) -> Option<Self> {
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

/// Does what a client asks.
pub(crate) async fn answer(answers: &Arc<Answers>, call: WaitCall) -> Result<WaitNews, NoWait> {
    match call {
        WaitCall::Begin { waiter, targets, until, any } => {
            begin(answers, waiter, targets, until, any).await
        }
        WaitCall::Next { handle, wait_ms } => next(answers, handle, wait_ms).await,
        WaitCall::End { handle } => {
            let news = answers.waits.news(handle, answers).ok_or_else(lost)?;
            answers.waits.held().waits.remove(&handle);
            answers.waits.tell(&answers.hub);
            Ok(news)
        }
    }
}

async fn begin(
    answers: &Arc<Answers>,
    waiter: Option<SessionKey>,
    targets: Vec<Awaited>,
    until: Until,
    any: bool,
) -> Result<WaitNews, NoWait> {
    if let Err(why) = Condition::new(until.clone()) {
        let why = format!("that is no pattern: {why}");
        return Err(refusal(why, "patterns are as ripgrep's, for bytes").into());
    }
    if targets.is_empty() || targets.len() > MAX_TARGETS {
        let why = format!("one call waits for one to {MAX_TARGETS} sessions");
        return Err(refusal(why, "rrd sessions list shows every id").into());
    }
    let mut found: Vec<Target> = Vec::new();
    for awaited in targets {
        found.push(target(answers, awaited).await?);
    }
    let wait = Wait {
        waiter,
        until,
        any,
        since: now(),
        targets: found,
        is_told: false,
        told: 0,
        asking: 0,
        asked: Instant::now(),
    };
    let links = wait.links(|target| target.outcome.is_none());
    let waiter = wait.waiter.clone();
    may(answers, waiter.as_ref(), &links)?;
    let waits = &answers.waits;
    let handle = waits.add(wait)?;
    if !std::mem::replace(&mut waits.held().is_looked_after, true) {
        tokio::spawn(look_after(Arc::clone(answers)));
    }
    let _asking = Asking::begin(waits, handle).ok_or_else(lost)?;
    let mut changed = waits.changed.subscribe();
    waits.changed.send_modify(|version| *version += 1);
    follow::begin(answers);
    let _ = timeout(BEGINS, changed.wait_for(|_| waits.is_begun(handle))).await;
    // One that began at the same moment is told by now.
    if let Err(refusal) = may(answers, waiter.as_ref(), &links) {
        waits.held().waits.remove(&handle);
        return Err(refusal.into());
    }
    if let Some(wait) = waits.held().waits.get_mut(&handle) {
        wait.is_told = true;
    }
    waits.tell(&answers.hub);
    waits.tell_client(handle, answers).ok_or_else(lost)
}

/// Waits no more for whoever asks no more.
async fn look_after(answers: Arc<Answers>) {
    loop {
        sleep(LOOK).await;
        answers.waits.drop_strangers(&answers);
        if !answers.waits.forget_silent(&answers.hub) {
            return;
        }
    }
}

async fn next(answers: &Arc<Answers>, handle: u64, wait_ms: u32) -> Result<WaitNews, NoWait> {
    let waits = &answers.waits;
    let mut changed = waits.changed.subscribe();
    let _asking = Asking::begin(waits, handle).ok_or_else(lost)?;
    let mut others = answers.hub.version();
    let states = |news: &WaitNews| {
        let hosts: Vec<_> = news.targets.iter().map(|target| target.host_state).collect();
        (news.is_settling, hosts)
    };
    let before = states(&waits.news(handle, answers).ok_or_else(lost)?);
    let mut deadline = Instant::now() + desk::wait(wait_ms);
    if before.0 {
        // Who is still away by then is.
        let left = SETTLES.saturating_sub(answers.health.started.elapsed());
        deadline = deadline.min(Instant::now() + left);
    }
    let (mut looked, mut is_owed) = (Instant::now(), false);
    // A thousand may wait: whatever changes, each looks at little.
    loop {
        let is_due = is_owed && looked.elapsed() >= HOSTS;
        let has_news = waits.has_news(handle).ok_or_else(lost)?;
        if has_news || Instant::now() >= deadline {
            return waits.tell_client(handle, answers).ok_or_else(lost);
        }
        if is_due {
            if states(&waits.news(handle, answers).ok_or_else(lost)?) != before {
                return waits.tell_client(handle, answers).ok_or_else(lost);
            }
            (looked, is_owed) = (Instant::now(), false);
        }
        tokio::select! {
            _ = changed.changed() => {}
            _ = others.changed(), if !is_owed => is_owed = true,
            () = sleep_until(looked + HOSTS), if is_owed => {}
            () = sleep_until(deadline) => {}
        }
    }
}

/// The session that is to be waited for.
async fn target(answers: &Answers, awaited: Awaited) -> Result<Target, NoWait> {
    let Awaited { id, from, outcome } = awaited;
    let looked = look_up(answers, &id).await;
    let is_unknown = matches!(looked, Lookup::NotFound);
    let why = match one(looked, &id) {
        Ok(row) => {
            let node = Some(node_of(answers, &row)).filter(|node| *node != answers.own_node());
            return Ok(Target { node, row, from, outcome });
        }
        Err(why) => why,
    };
    let is_settled = answers.hub.is_surveyed() && answers.health.started.elapsed() >= SETTLES;
    // Whoever says from which event on has seen it.
    let named = from.filter(|_| is_unknown).and_then(|_| named(answers, &id));
    let members = answers.fleet.as_ref().as_ref().ok().map(|fleet| fleet.members());
    match named {
        // What a member has, it says itself, if it has to be back for that.
        Some((Some(node), row)) if members.is_some_and(|members| members.has(node)) => {
            Ok(Target { node: Some(node), row, from, outcome })
        }
        Some((node, row)) if is_settled => {
            Ok(Target { node, row, from, outcome: outcome.or_else(|| Some(wait::unknown())) })
        }
        _ => Err(NoWait { why, passes: is_unknown && !is_settled }),
    }
}

/// A session that was named in full, of which there is no more than that.
fn named(answers: &Answers, id: &str) -> Option<(Option<NodeId>, Box<Session>)> {
    /// The name of nobody: that of a host which is no member.
    const NOBODY: [u8; 8] = [0; 8];
    let mut parts = id.splitn(3, '/');
    let (label, harness, session_id) = (parts.next()?, parts.next()?, parts.next()?);
    let key = SessionKey { harness: Harness::from(harness), session_id: session_id.to_owned() };
    let hosts = answers.hosts();
    let host = hosts.iter().find(|host| host.host == label);
    let node = match host {
        Some(host) if host.state == HostState::Here => None,
        host => Some(host.and_then(|host| host.node_id.parse().ok())),
    };
    let node = node.map(|node| node.unwrap_or_else(|| NodeId::from_hash(NOBODY)));
    let of = node.unwrap_or_else(|| answers.own_node()).to_string();
    let (reference, host) = (session_ref(&of, &key), label.to_owned());
    Some((node, Box::new(Session { reference, host, ..Session::unknown(key) })))
}

/// How the host of a session is, and since when; `None`: it is no member.
fn host(
    answers: &Answers,
    hosts: &HashMap<NodeId, (HostState, Option<Timestamp>)>,
    node: Option<NodeId>,
) -> Option<(HostState, Option<Timestamp>)> {
    let Some(node) = node else { return Some((HostState::Here, None)) };
    let fleet = answers.fleet.as_ref().as_ref().ok()?;
    match hosts.get(&node) {
        Some(known) if fleet.members().has(node) => Some(*known),
        // Until this host has begun to listen to the others nothing is known of them.
        None if answers.hub.others().is_none() && fleet.members().has(node) => {
            Some((HostState::Away, None))
        }
        _ => None,
    }
}

async fn look_up(answers: &Answers, id: &str) -> Lookup {
    answers.show(&LookupQuery { id: id.to_owned(), raw: false }).await
}

/// The session that a person typed.
pub(crate) async fn find(answers: &Answers, id: &str) -> Result<Box<Session>, Refusal> {
    one(look_up(answers, id).await, id)
}

fn one(looked: Lookup, id: &str) -> Result<Box<Session>, Refusal> {
    match looked {
        Lookup::Found(row) => Ok(row),
        Lookup::NotFound => {
            let why = format!("no session begins with {id:?}");
            Err(refusal(why, "rrd sessions list --all shows every id"))
        }
        Lookup::Ambiguous(rows) => {
            let which = |row: &Session| format!("{}  {}/{}", row.reference, row.host, row.key());
            Err(Refusal {
                message: format!("{} sessions begin with {id:?}", rows.len()),
                facts: rows.iter().take(5).map(which).collect(),
                hint: Some("write more of the id, or the five letters before it".to_owned()),
            })
        }
    }
}

/// The host that is asked about a session: a session of no other is this one's.
pub(crate) fn node_of(answers: &Answers, row: &Session) -> NodeId {
    let node = row.node_id.as_deref().and_then(|node| node.parse().ok());
    node.filter(|_| row.host_state != HostState::Here).unwrap_or_else(|| answers.own_node())
}

/// Nobody waits for itself, nor for one that waits for it in the end.
fn may(answers: &Answers, waiter: Option<&SessionKey>, links: &[Link]) -> Result<(), Refusal> {
    let Some(waiter) = waiter else { return Ok(()) };
    let own = match answers.hub.row(waiter) {
        Some(row) => row.reference,
        None => session_ref(&answers.own_node().to_string(), waiter),
    };
    if links.iter().any(|link| link.to == own) {
        return Err(refusal("a session cannot wait for itself".to_owned(), "name another one"));
    }
    let mut rows = answers.graphs.rows();
    // What a host said before it went away may be over.
    let away = rows.iter_mut().filter(|row| row.host_state == HostState::Away);
    away.for_each(|row| row.links.clear());
    let Some(circle) = graph::would_close(&rows, &own, links.to_vec()) else { return Ok(()) };
    let name = |one: &String| match rows.iter().find(|row| row.reference == *one) {
        Some(row) => {
            format!("{one} ({}, {})", row.host, row.title.as_deref().unwrap_or("no title"))
        }
        None => one.clone(),
    };
    Err(Refusal {
        message: format!("nobody could go on: {}", circle.join(" waits for ")),
        facts: circle.iter().skip(1).map(name).collect(),
        hint: Some("rrd graph shows who waits for whom; let one of them go on without".to_owned()),
    })
}

/// That a wait is no more, and may begin anew.
pub(crate) fn lost() -> NoWait {
    NoWait { why: over(), passes: true }
}

/// That nobody asks any more.
pub(crate) fn over() -> Refusal {
    refusal("nobody asked on in time, so that wait is over".to_owned(), "run it again")
}

fn refusal(message: String, hint: &str) -> Refusal {
    Refusal { message, facts: Vec::new(), hint: Some(hint.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: impl ToString) -> SessionKey {
        SessionKey { harness: Harness::Codex, session_id: id.to_string() }
    }

    /// A wait for these sessions of one host.
    fn wait(waiter: Option<&str>, node: Option<NodeId>, targets: std::ops::Range<usize>) -> Wait {
        let target = |at: usize| {
            let row = Session { reference: format!("t{at}"), ..Session::unknown(key(at)) };
            Target { node, row: Box::new(row), from: None, outcome: None }
        };
        Wait {
            waiter: waiter.map(key),
            until: Until::Idle,
            any: false,
            since: now(),
            targets: targets.map(target).collect(),
            is_told: true,
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
    fn more_than_a_host_is_asked_about_is_not_waited_for() {
        let waits = Waits::new();
        let add = |node, at| waits.add(wait(None, node, at..at + 1));
        for at in 0..owner::MOST {
            add(None, at).unwrap();
        }
        let refused = add(None, owner::MOST).unwrap_err();
        assert!(refused.message.contains("on that host already"), "{refused:?}");
        // Neither the same once more nor what is on another host is too much.
        add(None, 0).unwrap();
        add(Some(NodeId::from_hash([7; 8])), owner::MOST).unwrap();
        assert_eq!(waits.items(None).len(), owner::MOST);
    }
}
