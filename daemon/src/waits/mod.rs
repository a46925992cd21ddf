//! Who on this host waits for which session: begun by a client, and over when that is.
//!
//! A session's wait is an edge of the graph, told in its row, from the moment it begins until its client has not
//! asked for a while, whatever became of it. One that would close a circle is refused, be it that the circle shows
//! only when all hosts are heard again ([`circles`]). Each host whose sessions
//! are waited for is asked about all of them at once ([`follow`]); what has come true is decided there
//! ([`owner`]). All of them stand in one book ([`book`]). Not here: the rules ([`rrd_core::wait`], [`rrd_core::graph`]).

pub(crate) mod answer;
mod book;
mod circles;
mod follow;
pub(crate) mod owner;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use rrd_core::{
    graph,
    wait::{self, Condition},
};
use rrd_proto::{
    Harness, HostState, Link, Lookup, LookupQuery, NodeId, Refusal, Session, SessionKey, Timestamp,
    session_ref,
    wait::{Awaited, MAX_TARGETS, NoWait, Seen, Until, WaitCall, WaitNews},
};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use self::book::{Asking, SETTLES, Target, Wait};
pub(crate) use self::book::{MOST, Waits};
use crate::{answers::Answers, desk, hub::now};

/// A host that has not said by then from where on what happens counts says so later.
const BEGINS: Duration = Duration::from_secs(2);

/// A wait is told of so late, at most: one that is over at once is none for anybody.
const TOLD_AFTER: Duration = Duration::from_millis(250);

/// How often whoever waits looks at hosts, while anything changes.
const HOSTS: Duration = Duration::from_millis(500);

/// How often who is silent, and whose host has gone for good, is looked for, while anybody waits.
const LOOK: Duration = Duration::from_millis(300);

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
        return Err(refusal(why, "patterns are as ripgrep's, over lines of text").into());
    }
    if targets.is_empty() || targets.len() > MAX_TARGETS {
        let why = format!("one call waits for one to {MAX_TARGETS} sessions");
        return Err(refusal(why, "rrd sessions list shows every id").into());
    }
    let is_anew = targets.iter().any(|awaited| awaited.seen.is_some());
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
        is_anew,
        refused: None,
        told: 0,
        asking: 0,
        asked: Instant::now(),
    };
    let links = wait.links(0);
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
    let deadline = Instant::now() + BEGINS;
    let away = away(answers);
    let begun = async { changed.wait_for(|_| waits.is_begun(handle, &away)).await.is_ok() };
    if is_anew && answers.health.started.elapsed() < SETTLES {
        // What the others have begun to wait for meanwhile this host is only about to hear.
        let _ = timeout_at(deadline, async { tokio::join!(begun, hears_all(answers)) }).await;
    } else {
        let _ = timeout(TOLD_AFTER, begun).await;
    }
    // One that began at the same moment is told by now.
    if let Err(refusal) = may(answers, waiter.as_ref(), &links) {
        waits.held().waits.remove(&handle);
        return Err(refusal.into());
    }
    if let Some(wait) = waits.held().waits.get_mut(&handle) {
        wait.is_told = true;
    }
    waits.tell(&answers.hub);
    let _ = timeout_at(deadline, changed.wait_for(|_| waits.is_begun(handle, &away))).await;
    waits.tell_client(handle, answers).ok_or_else(lost)
}

/// The hosts that are away: none of them says now from where on what happens counts.
fn away(answers: &Answers) -> HashSet<NodeId> {
    let hosts = answers.hosts_by_node().into_iter();
    hosts.filter(|(_, (state, _))| *state == HostState::Away).map(|(node, _)| node).collect()
}

/// Returns once all the other hosts are heard.
async fn hears_all(answers: &Answers) {
    let mut others = answers.hub.version();
    let fleet = answers.fleet.as_ref().as_ref();
    let hears = || match answers.others() {
        Some(_) => away(answers).is_empty(),
        // Without a key there are none.
        None => !fleet.is_ok_and(|fleet| fleet.key().is_some()),
    };
    while !hears() {
        if others.changed().await.is_err() {
            return;
        }
    }
}

/// Waits no more for whoever asks no more.
async fn look_after(answers: Arc<Answers>) {
    loop {
        sleep(LOOK).await;
        answers.waits.drop_strangers(&answers);
        circles::refuse(&answers);
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
    let news = waits.news(handle, answers).ok_or_else(lost)?;
    let before = states(&news);
    let mut deadline = Instant::now() + desk::wait(wait_ms);
    if let Some(left) = book::settles(answers, &news.targets) {
        // Who is still away by then is.
        deadline = deadline.min(Instant::now() + left);
    }
    let (mut looked, mut is_owed) = (Instant::now(), false);
    // A thousand may wait: whatever changes, each looks at little.
    loop {
        let is_due = is_owed && looked.elapsed() >= HOSTS;
        if let Some(refusal) = waits.take_refusal(handle) {
            return Err(refusal.into());
        }
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
    let Awaited { id, seen, from, outcome } = awaited;
    let looked = match &seen {
        Some(seen) => look_again(answers, seen),
        None => look_up(answers, &id).await,
    };
    let is_unknown = matches!(looked, Lookup::NotFound);
    let why = match one(looked, &id) {
        Ok(row) => {
            let node = Some(node_of(answers, &row)).filter(|node| *node != answers.own_node());
            return Ok(Target { node, row, from, outcome, renumbered: false });
        }
        Err(why) => why,
    };
    let is_settled = answers.hub.is_surveyed() && answers.health.started.elapsed() >= SETTLES;
    let named = match seen {
        Some(Seen { node, key }) => Some(bare(answers, node, key, &id)),
        // Whoever says from which event on has seen it.
        None => from.filter(|_| is_unknown).and_then(|_| named(answers, &id)),
    };
    let members = answers.fleet.as_ref().as_ref().ok().map(|fleet| fleet.members());
    match named {
        // What a member has, it says itself, if it has to be back for that.
        Some((Some(node), row)) if members.is_some_and(|members| members.has(node)) => {
            Ok(Target { node: Some(node), row, from, outcome, renumbered: false })
        }
        Some((node, row)) if is_settled => {
            let outcome = outcome.or_else(|| Some(wait::unknown()));
            Ok(Target { node, row, from, outcome, renumbered: false })
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
    Some(bare(answers, node, key, label))
}

/// A session of which there is no more than its name; what its host is called now, else as it was called.
fn bare(
    answers: &Answers,
    node: Option<NodeId>,
    key: SessionKey,
    named: &str,
) -> (Option<NodeId>, Box<Session>) {
    let of = node.unwrap_or_else(|| answers.own_node()).to_string();
    let host = answers.hosts().into_iter().find(|host| host.node_id == of).map(|host| host.host);
    let host =
        host.unwrap_or_else(|| named.split('/').next().map_or_else(String::new, str::to_owned));
    let reference = session_ref(&of, &key);
    (node, Box::new(Session { reference, host, ..Session::unknown(key) }))
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

/// The session that was found before, and no other one, whose host may have another name now.
fn look_again(answers: &Answers, seen: &Seen) -> Lookup {
    let row = match seen.node.map(|node| node.to_string()) {
        None => answers.hub.row(&seen.key),
        node => {
            let is_it = |row: &Session| row.node_id == node && row.key() == seen.key;
            answers.hub.rows_elsewhere().into_iter().find(is_it)
        }
    };
    answers.edges.lookup(row.map_or(Lookup::NotFound, |row| Lookup::Found(Box::new(row))), false)
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
                hint: Some(match rrd_proto::is_one_id(&rows) {
                    true => {
                        "write the five letters before it, or host/harness/session_id".to_owned()
                    }
                    false => "write more of the id, or the five letters before it".to_owned(),
                }),
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
    let own = own_ref(answers, waiter);
    if links.iter().any(|link| link.to == own) {
        return Err(refusal("a session cannot wait for itself".to_owned(), "name another one"));
    }
    closes(&answers.graphs.rows(), &own, links).map_or(Ok(()), Err)
}

/// How a session of this host is called.
fn own_ref(answers: &Answers, key: &SessionKey) -> String {
    let unknown = || session_ref(&answers.own_node().to_string(), key);
    answers.hub.row(key).map_or_else(unknown, |row| row.reference)
}

/// That these links of a session would close a circle, among these rows.
fn closes(rows: &[Session], own: &str, links: &[Link]) -> Option<Refusal> {
    let circle = graph::would_close(rows, own, links.to_vec())?;
    let name = |one: &String| match rows.iter().find(|row| row.reference == *one) {
        Some(row) => {
            format!("{one} ({}, {})", row.host, row.title.as_deref().unwrap_or("no title"))
        }
        None => one.clone(),
    };
    Some(Refusal {
        message: format!("nobody could go on: {}", circle.told),
        facts: circle.named.iter().map(name).collect(),
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
