//! This host among the others: tells of its sessions, and hears of theirs.
//!
//! A change is pushed to every member at once, sealed for each, and put where rounds of gossip find it:
//! those repair what a push lost. What is heard counts only if its owner signed it. Everything here works
//! on datagrams that are handed in and out, so a test can be the network. Not here: sockets, which sessions
//! are told of, enrolment, and what a record may say ([`rrd_core::fleet`]).

mod cluster;
mod driver;
mod pace;
mod published;
mod rounds;
#[cfg(test)]
mod tests;
mod vet;
mod wire;

use std::{
    collections::BTreeMap,
    fmt::Write,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rrd_core::{
    fleet::{
        identity::Identity,
        key::FleetKey,
        members::{Member, Members},
        peers::Peers,
        record::{self, HostWord, Invalid, NoticesWord},
        seal::{Kind, Opened},
        window::Floor,
    },
    redact::Redacted,
};
use rrd_proto::{
    Health, Host, HostState, NodeId, PartStatus, Session, SessionKey, peer_calls::LastKnown,
};
use tokio::{sync::watch, task::JoinHandle};

use crate::fleet::Heard;

use cluster::{Cluster, Seen};
pub(crate) use driver::run;
use pace::Pace;
use published::Published;
pub(crate) use wire::Traffic;
use wire::{Clock, Send, Wire};

/// What the rounds have brought is looked at when they have, and so often in any case.
const LOOK: Duration = Duration::from_secs(2);

/// Looks are so far apart at least: in a large fleet records come all the time.
const APART: Duration = Duration::from_millis(250);

/// A member that was heard of directly is there for so long, whatever the rounds have told yet.
const HEARD_FOR: Duration = Duration::from_secs(3);

/// So many members get a push straight from its host; beyond them, each of a few hands it on.
const STRAIGHT: usize = 32;

/// Who hands on.
const HAND_ON: usize = 8;

/// More records than these at once are left to the rounds: a start, or a wake-up.
const PUSHED_AT_ONCE: usize = 20;

/// Bytes of a push that fit its datagrams and leave room for others'.
const MAX_PUSH: usize = 64 * 1024;

/// What a node begins with.
pub(crate) struct Begin {
    /// Its keys.
    pub(crate) own: Arc<Identity>,
    /// The fleet's.
    pub(crate) key: FleetKey,
    /// Who belongs to it.
    pub(crate) members: Arc<Members>,
    /// Higher than any this node has had.
    pub(crate) generation: u64,
    /// Random.
    pub(crate) boot: u64,
    /// What was taken of each sender before.
    pub(crate) floors: Vec<(NodeId, Floor)>,
    /// What was known of the others.
    pub(crate) kept: Vec<Heard>,
    /// Sends a datagram, or drops it.
    pub(crate) send: Arc<Send>,
    /// This host's clock.
    pub(crate) clock: Arc<Clock>,
    /// A generation for gossip that has to begin anew.
    pub(crate) next_generation: Arc<dyn Fn() -> io::Result<u64> + std::marker::Send + Sync>,
}

/// One node of a fleet.
pub(crate) struct Gossip {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl std::fmt::Debug for Gossip {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Gossip({})", self.shared.node)
    }
}

struct Shared {
    own: Arc<Identity>,
    node: NodeId,
    wire: Arc<Wire>,
    members: Mutex<Arc<Members>>,
    peers: Mutex<Peers>,
    published: Mutex<Published>,
    cluster: Mutex<Option<Arc<Cluster>>>,
    /// Records that did not count, by who sent them.
    invalid: Mutex<BTreeMap<(NodeId, Invalid), u64>>,
    /// Records in a member's name that it has not signed.
    forged: Mutex<BTreeMap<NodeId, u64>>,
    /// How often gossip had to begin anew.
    begun_anew: Mutex<u64>,
    /// It is being stopped.
    over: AtomicBool,
    changed: watch::Sender<u64>,
}

impl Gossip {
    /// Begins. Inside a runtime.
    pub(crate) fn begin(begin: Begin) -> Self {
        let Begin {
            own,
            key,
            members,
            generation,
            boot,
            floors,
            kept,
            send,
            clock,
            next_generation,
        } = begin;
        let node = own.node();
        let named = (node, generation, boot);
        let wire = Wire::new(named, &key, floors, Arc::clone(&members), send, clock);
        let shared = Arc::new(Shared {
            own,
            node,
            wire: Arc::new(wire),
            members: Mutex::new(members),
            peers: Mutex::default(),
            published: Mutex::new(Published::new(generation)),
            cluster: Mutex::default(),
            invalid: Mutex::default(),
            forged: Mutex::default(),
            begun_anew: Mutex::default(),
            over: AtomicBool::new(false),
            changed: watch::channel(0).0,
        });
        shared.forget(&shared.members());
        for Heard { node, at, offset_ms, records } in kept {
            lock(&shared.peers).restore(node, at, offset_ms);
            for (_, record) in records {
                shared.record(node, &record);
            }
        }
        let task = tokio::spawn(rounds::run(Arc::clone(&shared), generation, next_generation));
        Self { shared, task }
    }

    /// Takes a datagram that came from there.
    pub(crate) fn receive(&self, from: SocketAddr, datagram: &[u8]) {
        if let Some(opened) = self.shared.wire.receive(from, datagram) {
            self.shared.take(opened);
        }
    }

    /// Tells of sessions, and of the host; `gone` are no more. Only what is news is told.
    pub(crate) fn tell(&self, rows: Vec<Redacted<Session>>, gone: &[SessionKey], word: HostWord) {
        let shared = &self.shared;
        let news = {
            let mut published = lock(&shared.published);
            let mut news = published.tell(&shared.own, rows, gone);
            news.extend(published.say(&shared.own, word));
            news
        };
        if news.is_empty() {
            return;
        }
        if news.len() <= PUSHED_AT_ONCE {
            shared.push(&news);
        }
        let shared = Arc::clone(shared);
        tokio::spawn(async move { shared.put().await });
    }

    /// Tells which sinks this host has, and what was told to them: `told` gives the next marks as text of at most
    /// so many bytes. Only what is news is told.
    pub(crate) fn tell_notices(&self, word: &NoticesWord, told: impl FnMut(usize) -> String) {
        let shared = &self.shared;
        let news = lock(&shared.published).say_notices(&shared.own, word, told);
        if news.is_empty() {
            return;
        }
        // Each by itself: a push is one datagram.
        news.into_iter().for_each(|record| shared.push(&[record]));
        let shared = Arc::clone(shared);
        tokio::spawn(async move { shared.put().await });
    }

    /// What each host says of notices, and whether it is there.
    pub(crate) fn notices(&self) -> Vec<(NodeId, bool, NoticesWord)> {
        lock(&self.shared.peers).notices(&self.shared.members())
    }

    /// Rows of the other hosts' sessions with their times as their owners have them, each with what to add.
    pub(crate) fn rows_as_told(&self) -> Vec<(Session, i64)> {
        let members = self.shared.members();
        lock(&self.shared.peers).told(&members, self.shared.node, self.shared.wire.now())
    }

    /// Leaves those rows that can be told of; `gone` are no more, `bound` gives the refs of those that a binding ties.
    pub(crate) fn choose(
        &self,
        rows: &mut Vec<Session>,
        gone: &[SessionKey],
        bound: impl FnOnce() -> Vec<String>,
    ) {
        lock(&self.shared.published).choose(rows, gone, || self.rows(), bound);
    }

    /// Whether the others are told of a session, as it is now or was.
    pub(crate) fn tells_of(&self, key: &SessionKey) -> bool {
        lock(&self.shared.published).has(key)
    }

    /// Whose last state is still to be told.
    pub(crate) fn told(&self) -> Vec<SessionKey> {
        lock(&self.shared.published).keys()
    }

    /// Rows of the other hosts' sessions.
    pub(crate) fn rows(&self) -> Vec<Session> {
        let members = self.shared.members();
        lock(&self.shared.peers).rows(&members, self.shared.node, self.shared.wire.now())
    }

    /// Rows that a host told when it was asked, as they are shown here.
    pub(crate) fn dress(&self, node: NodeId, rows: Vec<Session>) -> Vec<Session> {
        let (members, now) = (self.shared.members(), self.shared.wire.now());
        let peers = lock(&self.shared.peers);
        rows.into_iter().map(|row| peers.dress(&members, node, row, now)).collect()
    }

    /// Whether a host has said of its session that it is no more.
    pub(crate) fn is_gone(&self, node: NodeId, key: &SessionKey) -> bool {
        lock(&self.shared.peers).is_gone(node, key)
    }

    /// What to add to a time of that host's to have it by this host's clock, in milliseconds.
    pub(crate) fn offset_of(&self, node: NodeId) -> i64 {
        lock(&self.shared.peers).offset_ms(node)
    }

    /// The hosts that are there, each in its generation.
    pub(crate) fn live(&self) -> Vec<(NodeId, u64)> {
        lock(&self.shared.peers).live(&self.shared.members())
    }

    /// The hosts that are there, each with a digest of what it knows.
    pub(crate) fn digests(&self, of: impl Fn(&HostWord) -> u64) -> Vec<(NodeId, u64)> {
        lock(&self.shared.peers).digests(&self.shared.members(), of)
    }

    /// Whether there are other hosts and none is there.
    pub(crate) fn is_alone(&self) -> bool {
        let others = self.shared.members().now().any(|member| member.node() != self.shared.node);
        others && !lock(&self.shared.peers).any_live(&self.shared.members())
    }

    /// What is known of a host, for another one.
    pub(crate) fn last_known(&self, node: NodeId) -> LastKnown {
        let peers = lock(&self.shared.peers);
        let ago = peers.seen_at(node).map(|at| self.shared.wire.now().since(at));
        LastKnown {
            heard_ms_ago: ago.map(|ms| u64::try_from(ms).unwrap_or(0)),
            records: peers.records(node).into_iter().map(|(_, text)| text.to_owned()).collect(),
        }
    }

    /// Takes what another host knows of one that is away.
    pub(crate) fn take_last_known(&self, node: NodeId, known: &LastKnown) {
        let shared = &self.shared;
        let records = known.records.iter().filter(|record| shared.record(node, record)).count();
        let ago = known.heard_ms_ago.and_then(|ms| i64::try_from(ms).ok());
        let heard = ago.is_some_and(|ms| {
            lock(&shared.peers).was_heard(node, shared.wire.now().plus(ms.saturating_neg()))
        });
        if records > 0 || heard {
            shared.change();
        }
    }

    /// The other hosts.
    pub(crate) fn hosts(&self) -> Vec<Host> {
        let mut hosts = lock(&self.shared.peers).hosts(&self.shared.members(), self.shared.node);
        let invalid = lock(&self.shared.invalid).clone();
        for host in &mut hosts {
            let Ok(node) = host.node_id.parse::<NodeId>() else { continue };
            host.bytes_per_second = Some(self.shared.wire.rate_of(node));
            let of = invalid.iter().filter(|((sender, _), _)| *sender == node);
            host.dropped = of.map(|((_, why), count)| (why.as_str().to_owned(), *count)).collect();
        }
        hosts
    }

    /// How gossip is, as a part of the daemon.
    pub(crate) fn part(&self) -> PartStatus {
        let Traffic { sent, taken, held_back, dropped } = self.shared.wire.traffic();
        let begun_anew = self.begun_anew();
        let hosts = self.hosts();
        let live = hosts.iter().filter(|host| host.state == HostState::Live).count();
        let mut detail = format!(
            "{live} of {} other hosts live; {} datagrams sent ({} KB), {} taken ({} KB)",
            hosts.len(),
            sent.0,
            sent.1 / 1000,
            taken.0,
            taken.1 / 1000,
        );
        let (left_out, told) = {
            let published = lock(&self.shared.published);
            (published.left_out, published.count())
        };
        let _ = write!(detail, "; {told} records told");
        for (count, what) in [
            (held_back, "held back"),
            (dropped.values().sum(), "dropped"),
            (begun_anew, "times begun anew"),
            (left_out as u64, "sessions left out"),
        ] {
            if count > 0 {
                let _ = write!(detail, ", {count} {what}");
            }
        }
        for (owner, count) in &*lock(&self.shared.forged) {
            let label = self.shared.members().label(*owner).unwrap_or_default();
            let _ =
                write!(detail, ", {count} records in the name of {label} that it has not signed");
        }
        let state = if begun_anew > 0 || left_out > 0 { Health::Degraded } else { Health::Ok };
        PartStatus { part: "gossip".to_owned(), state, detail, hint: None }
    }

    /// What is to be kept of the other hosts, without their words where those are no news; none of those
    /// who were dropped or forgotten.
    pub(crate) fn kept(&self, news: bool) -> Vec<Heard> {
        let peers = lock(&self.shared.peers);
        let members = self.shared.members();
        let of = |node: NodeId| {
            let records = match news && members.has(node) {
                true => peers.records(node),
                false => Vec::new(),
            };
            let records = records.into_iter().map(|(name, record)| (name, record.to_owned()));
            let records = records.collect();
            let (at, offset_ms) = (peers.seen_at(node)?, peers.clock(node));
            Some(Heard { node, at, offset_ms, records })
        };
        peers.nodes().filter_map(of).collect()
    }

    /// The latest generation of a host that was heard, and whether it is there.
    pub(crate) fn known(&self, node: NodeId) -> (u64, bool) {
        let heard = self.shared.wire.generation(node);
        let peers = lock(&self.shared.peers);
        (heard.max(peers.generation(node)).unwrap_or(0), peers.is_live(node))
    }

    /// Changes with every change of what is known of the others.
    pub(crate) fn changed(&self) -> watch::Receiver<u64> {
        self.shared.changed.subscribe()
    }

    /// From here on these are the members.
    pub(crate) fn set_members(&self, members: &Arc<Members>) {
        let new = {
            let mut known = lock(&self.shared.members);
            let before = std::mem::replace(&mut *known, Arc::clone(members));
            let new = members.now().map(|member| member.node()).filter(|node| !before.has(*node));
            new.collect::<Vec<_>>()
        };
        self.shared.forget(members);
        self.shared.wire.set_members(Arc::clone(members));
        if let Some(cluster) = &*lock(&self.shared.cluster) {
            new.into_iter().for_each(|node| cluster.ask(node));
        }
        self.shared.change();
    }

    /// The way its datagrams go.
    pub(crate) fn wire(&self) -> &Wire {
        &self.shared.wire
    }

    /// Records that did not count: who sent them, and why not.
    #[cfg(test)]
    pub(crate) fn invalid(&self) -> BTreeMap<(NodeId, Invalid), u64> {
        lock(&self.shared.invalid).clone()
    }

    /// How often gossip had to begin anew.
    pub(crate) fn begun_anew(&self) -> u64 {
        *lock(&self.shared.begun_anew)
    }
}

impl Drop for Gossip {
    fn drop(&mut self) {
        // It may be running this moment, and is not to take this for an end by itself.
        self.shared.over.store(true, Ordering::SeqCst);
        self.task.abort();
        if let Some(cluster) = lock(&self.shared.cluster).take() {
            cluster.stop();
        }
    }
}

impl Shared {
    fn members(&self) -> Arc<Members> {
        Arc::clone(&lock(&self.members))
    }

    fn forget(&self, members: &Members) {
        let mut peers = lock(&self.peers);
        for node in members.ever().map(Member::node) {
            members.forgotten(node).map(|generation| peers.forget(node, generation));
        }
    }

    fn change(&self) {
        self.changed.send_modify(|number| *number += 1);
    }

    /// A message of a member.
    fn take(&self, opened: Opened) {
        let Opened { sender, generation, kind, clock, message } = opened;
        let now = self.wire.now();
        let came = {
            let mut peers = lock(&self.peers);
            peers.heard(sender, clock, now);
            peers.set_live(sender, generation, true, now)
        };
        let mut news = false;
        match kind {
            Kind::Gossip => {
                let cluster = lock(&self.cluster).clone();
                let taken =
                    |cluster: &Arc<Cluster>| cluster.take(sender, &message, &self.members());
                if !cluster.as_ref().is_none_or(taken) {
                    *lock(&self.invalid).entry((sender, Invalid::BadGossip)).or_default() += 1;
                }
            }
            Kind::Push | Kind::Relay => {
                for line in message.split(|byte| *byte == b'\n') {
                    news |= std::str::from_utf8(line).is_ok_and(|text| self.record(sender, text));
                }
                if kind == Kind::Relay {
                    let members = self.members();
                    let others = members.now().map(|member| member.node());
                    let others = others.filter(|node| ![self.node, sender].contains(node));
                    others.for_each(|node| self.wire.send(node, Kind::Push, &message));
                }
            }
        }
        if news || came {
            self.change();
        }
    }

    /// Takes a record that `sender` handed over; true when it was news.
    fn record(&self, sender: NodeId, text: &str) -> bool {
        let members = self.members();
        // Also of one who was dropped since: then it is not shown, and that is no forgery.
        let read = record::read(text, |node| members.get(node).map(|member| member.signing));
        match read {
            Ok(read) if read.node == self.node => false,
            Ok(read) => lock(&self.peers).take(read, text),
            Err(why) => {
                *lock(&self.invalid).entry((sender, why)).or_default() += 1;
                if let Some(owner) = record::claimed(text).filter(|_| why == Invalid::NotItsOwners)
                {
                    *lock(&self.forged).entry(owner).or_default() += 1;
                }
                false
            }
        }
    }

    fn push(&self, news: &[String]) {
        let message = news.join("\n");
        if message.len() > MAX_PUSH {
            return;
        }
        let members = self.members();
        let others: Vec<NodeId> =
            members.now().map(|member| member.node()).filter(|node| *node != self.node).collect();
        let (kind, reached) = match others.len() {
            0..=STRAIGHT => (Kind::Push, others.len()),
            _ => (Kind::Relay, HAND_ON),
        };
        // Others each time, so that one that hands nothing on is no hole.
        let first = lock(&self.published).count() as usize % others.len().max(1);
        let chosen = others.iter().cycle().skip(first).take(reached);
        chosen.for_each(|node| self.wire.send(*node, kind, message.as_bytes()));
    }

    /// Puts what is told where rounds find it.
    async fn put(&self) {
        let cluster = lock(&self.cluster).clone();
        if let Some(cluster) = cluster {
            let records: Vec<(String, String)> = {
                let published = lock(&self.published);
                published.records().map(|(slot, text)| (slot, text.to_owned())).collect()
            };
            cluster.set(records.iter().map(|(slot, text)| (slot.clone(), text.as_str()))).await;
        }
    }

    /// Takes what the rounds have brought.
    async fn look(&self, cluster: &Cluster, seen: &mut Seen, pace: &mut Pace) {
        let mut news = false;
        let members = self.members();
        let member = |node| node != self.node && members.get(node).is_some();
        let states = cluster.states(member, seen).await;
        if pace.runs() {
            // Whoever answers is there.
            members.now().map(Member::node).filter(|n| member(*n)).for_each(|n| cluster.ask(n));
        }
        for state in states {
            for record in &state.records {
                news |= self.record(state.node, record);
            }
            let heard = self.wire.heard(state.node).is_some_and(|at| at.elapsed() < HEARD_FOR);
            let generation = self.wire.generation(state.node).unwrap_or_default();
            let now = self.wire.now();
            let mut peers = lock(&self.peers);
            if state.live && !heard {
                // Others hear it.
                peers.seen(state.node, now);
            }
            let live = state.live || heard;
            if live || pace.may_judge() {
                news |= peers.set_live(state.node, generation, live, now);
            }
        }
        if news {
            self.change();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
