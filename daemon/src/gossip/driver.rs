//! Gossip as the daemon runs it: over a socket, for as long as there is a fleet.
//!
//! Tells the others of this host's open sessions, and for the last time of each that is open no more; keeps
//! what they told. Without a key nothing of this runs. Not here: who belongs to the fleet
//! ([`crate::fleet`]), and what happens to a datagram ([`super::wire`]).

use std::{
    collections::{HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
    io,
    net::{SocketAddr, UdpSocket},
    sync::Arc,
    time::Duration,
};

use rrd_core::{
    binding::Said,
    fleet::{record::HostWord, seal::MAX_DATAGRAM},
    task::Link,
};
use rrd_proto::{ListQuery, NodeId, Session, SessionKey, Totals, VERSION};
use tokio::{
    sync::watch,
    task::block_in_place,
    time::{Instant, MissedTickBehavior, interval, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{Begin, Gossip};
use crate::{
    edge::Edges,
    fleet::{Fleet, Heard, Run},
    hub::{Hub, Input, now},
    messages,
    mirror::Mirror,
    others, register, words,
};

/// When what could not begin is tried again.
const AGAIN: Duration = Duration::from_secs(5);

/// Two tellings are so far apart, at least.
const COALESCE: Duration = Duration::from_millis(50);

/// What only time changes is told so late, at most.
const LOOK: Duration = Duration::from_secs(2);

/// What was heard is kept so late, at most.
const KEEP: Duration = Duration::from_secs(5);

/// Runs until told to stop.
pub(crate) async fn run(
    fleet: Arc<Fleet>,
    hub: Arc<Hub>,
    edges: Arc<Edges>,
    mirror: Arc<Mirror>,
    stop: CancellationToken,
) {
    let mut changed = fleet.changed();
    while !stop.is_cancelled() {
        changed.mark_unchanged();
        if fleet.key().is_none() {
            hub.set_others(None);
            tokio::select! { () = stop.cancelled() => {}, _ = changed.changed() => {} }
            continue;
        }
        // Where this host's address is not up, the others are shown all the same, as they were.
        let socket = fleet.take_datagrams();
        let told = (&*edges, &*mirror);
        if let Err(error) = serves(&fleet, &hub, told, socket, changed.clone(), &stop).await {
            tracing::error!(%error, "no gossip; trying again");
            tokio::select! { () = stop.cancelled() => {}, () = sleep(AGAIN) => {} }
        }
    }
}

/// One generation after the other, on one socket. An error is the socket's own.
async fn serves(
    fleet: &Arc<Fleet>,
    hub: &Arc<Hub>,
    told: (&Edges, &Mirror),
    bound: Option<UdpSocket>,
    changed: watch::Receiver<u64>,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let socket = match bound {
        Some(bound) => {
            bound.set_nonblocking(true)?;
            Some(Arc::new(tokio::net::UdpSocket::from_std(bound)?))
        }
        None => None,
    };
    loop {
        let served = serve(fleet, hub, told, socket.as_ref(), changed.clone(), stop).await;
        fleet.set_run(None);
        let adopted = match served {
            Ok(Served::Out) => return Ok(()),
            Ok(Served::OvertakenBy(latest)) => {
                tracing::warn!(
                    latest,
                    "this generation of the node is over for the others; beginning anew"
                );
                block_in_place(|| fleet.keep().adopt_generation(latest)).map_err(Into::into)
            }
            Err(error) => Err(error),
        };
        // Its database cannot be used: the socket is still there when it can.
        if let Err(error) = adopted {
            tracing::error!(%error, "gossip cannot begin; trying again");
            tokio::select! { () = stop.cancelled() => {}, () = sleep(AGAIN) => {} }
        }
        if stop.is_cancelled() || fleet.key().is_none() || fleet.has_datagrams() {
            return Ok(());
        }
    }
}

/// Why it is over.
enum Served {
    /// The key, or the socket, is another one; or the daemon stops.
    Out,
    /// What is told is not heard: it has to be told in a generation beyond that.
    OvertakenBy(u64),
}

/// As long as there is a key, and no other socket.
async fn serve(
    fleet: &Arc<Fleet>,
    hub: &Arc<Hub>,
    (edges, mirror): (&Edges, &Mirror),
    socket: Option<&Arc<tokio::net::UdpSocket>>,
    mut changed: watch::Receiver<u64>,
    stop: &CancellationToken,
) -> anyhow::Result<Served> {
    let Some(key) = fleet.key() else { return Ok(Served::Out) };
    let out = socket.cloned();
    let mut boot = [0; 8];
    getrandom::fill(&mut boot).map_err(io::Error::other)?;
    let boot = u64::from_be_bytes(boot);
    let numbers = Arc::clone(fleet);
    let generation = block_in_place(|| fleet.next_generation())?;
    let gossip = Arc::new(Gossip::begin(Begin {
        own: fleet.identity(),
        key: key.clone(),
        members: fleet.members(),
        generation,
        boot,
        floors: block_in_place(|| fleet.floors())?,
        kept: block_in_place(|| fleet.keep().heard())?,
        // What cannot be sent at once is lost; a round repairs it.
        send: Arc::new(move |to, datagram: &[u8]| {
            drop(out.as_ref().map(|out| out.try_send_to(datagram, to)));
        }),
        clock: Arc::new(now),
        next_generation: Arc::new(move || {
            block_in_place(|| numbers.next_generation()).map_err(io::Error::other)
        }),
    }));
    hub.set_others(Some(Arc::clone(&gossip)));
    let keeps_up = tokio::spawn(others::keep_up(Arc::clone(fleet), Arc::clone(&gossip)));
    let follows = tokio::spawn(words::follow(Arc::clone(fleet), Arc::clone(&gossip)));
    let links =
        tokio::spawn(register::follow::<Link>(Arc::clone(fleet), Arc::clone(&gossip), || {}));
    let of = Arc::clone(hub);
    let tell = move || of.apply(Input::Others);
    let bindings =
        tokio::spawn(register::follow::<Said>(Arc::clone(fleet), Arc::clone(&gossip), tell));
    let messages = tokio::spawn(messages::hand_over(Arc::clone(fleet), Arc::clone(&gossip)));
    gossip.wire().set_extra(fleet.extra());
    let heard = Arc::clone(&gossip);
    let known = Arc::new(move |node| heard.known(node));
    fleet.set_run(Some(Run { generation, boot, begun: Instant::now(), known }));
    let mut teller = Teller {
        fleet: Arc::clone(fleet),
        gossip: Arc::clone(&gossip),
        told: HashMap::new(),
        forgotten: hub.forgotten_besides(&HashSet::new()).into_iter().collect(),
    };
    let (mut others, mut here) = (gossip.changed(), hub.here());
    let (mut keep, mut look) = (interval(KEEP), interval(LOOK));
    keep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut current = key.id();
    let mut keeper = Keeper::default();
    let mut datagram = vec![0; MAX_DATAGRAM + 1];
    let tell_soon = sleep(Duration::ZERO);
    tokio::pin!(tell_soon);
    let mut due = true;
    let mut looking = None;
    // What came before this was watched is no change.
    changed.mark_changed();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            came = received(socket, &mut datagram) => match came {
                Ok((length, from)) => gossip.receive(from, &datagram[..length]),
                // Windows tells of an earlier datagram that nobody took; that is no end.
                Err(error) => tracing::debug!(%error, "a datagram was not received"),
            },
            _ = here.changed(), if !due => due = true,
            () = fleet.tasks().links.has_news(), if !due => due = true,
            () = fleet.bindings().words.has_news(), if !due => due = true,
            _ = look.tick() => due = true,
            () = &mut tell_soon, if due => {
                here.mark_unchanged();
                due = false;
                teller.tell(hub, edges, mirror);
                tell_soon.as_mut().reset(Instant::now() + COALESCE);
            }
            _ = others.changed() => {
                // A change is worth most to whoever is elsewhere: none waits for others to come.
                if gossip.live().is_empty() {
                    looking = None;
                } else {
                    looking.get_or_insert_with(|| hub.audience.look());
                }
                hub.apply(Input::Others);
            }
            _ = changed.changed() => match fleet.key() {
                None => break,
                Some(_) if fleet.has_datagrams() => break,
                Some(_) if fleet.overtaken_by(generation).is_some() => break,
                Some(key) => {
                    if key.id() != current {
                        current = key.id();
                        gossip.wire().use_key(&key);
                    }
                    gossip.wire().set_extra(fleet.extra());
                    gossip.set_members(&fleet.members());
                }
            },
            _ = keep.tick() => {
                let number = *others.borrow();
                let news = keeper.number.replace(number) != Some(number);
                block_in_place(|| keeper.keep(fleet, &gossip, news));
            }
        }
    }
    keeps_up.abort();
    follows.abort();
    links.abort();
    bindings.abort();
    messages.abort();
    let overtaken = fleet.overtaken_by(generation).filter(|_| !stop.is_cancelled());
    if overtaken.is_none() {
        teller.say_good_bye(hub, edges, mirror);
    }
    block_in_place(|| keeper.keep(fleet, &gossip, true));
    Ok(overtaken.map_or(Served::Out, Served::OvertakenBy))
}

/// The next datagram; without a socket there is none.
async fn received(
    socket: Option<&Arc<tokio::net::UdpSocket>>,
    datagram: &mut [u8],
) -> io::Result<(usize, SocketAddr)> {
    match socket {
        Some(socket) => socket.recv_from(datagram).await,
        None => std::future::pending().await,
    }
}

/// Tells of this host's sessions.
struct Teller {
    fleet: Arc<Fleet>,
    gossip: Arc<Gossip>,
    /// As they were when they were told of last: only what has changed is redacted again.
    told: HashMap<SessionKey, Session>,
    /// That these are no more was told, or was so before this daemon began.
    forgotten: HashSet<SessionKey>,
}

impl Teller {
    fn tell(&mut self, hub: &Hub, edges: &Edges, mirror: &Mirror) {
        let reply = hub.list_here(&ListQuery { open: true, ..ListQuery::default() });
        let mut rows = reply.sessions;
        let open: HashSet<SessionKey> = rows.iter().map(Session::key).collect();
        let senders = hub.senders_here().into_iter();
        rows.extend(senders.filter(|row| !open.contains(&row.key())));
        let listed: HashSet<SessionKey> = rows.iter().map(Session::key).collect();
        let mut gone = Vec::new();
        for key in self.gossip.told().into_iter().filter(|key| !listed.contains(key)) {
            match hub.row(&key) {
                Some(row) => rows.push(row),
                None => gone.push(key),
            }
        }
        // Others may have their rows from before, though they are told of no more.
        let forgotten = hub.forgotten_besides(&self.forgotten);
        self.forgotten.extend(forgotten.iter().cloned());
        gone.extend(forgotten);
        self.gossip.choose(&mut rows, &gone, || self.fleet.bindings().ends(&self.fleet));
        rows.retain(|row| self.told.get(&row.key()) != Some(row));
        let mut redacted = Vec::with_capacity(rows.len());
        for row in rows {
            self.told.insert(row.key(), row.clone());
            redacted.push(edges.gossiped(row));
        }
        let mirror = mirror.alarm(now()).map(|alarm| edges.gossiped_alarm(alarm));
        let word = HostWord { mirror, ..word(hub, &self.fleet, reply.totals, false) };
        self.gossip.tell(redacted, &gone, word);
        // Whoever found no room is told of when there is some.
        let told: HashSet<SessionKey> = self.gossip.told().into_iter().collect();
        self.told.retain(|key, _| told.contains(key) && self.gossip.tells_of(key));
    }

    fn say_good_bye(&self, hub: &Hub, edges: &Edges, mirror: &Mirror) {
        let totals = hub.list_here(&ListQuery::default()).totals;
        // What it failed at is still in no bucket.
        let mirror = mirror.alarm(now()).map(|alarm| edges.gossiped_alarm(alarm));
        self.gossip.tell(
            Vec::new(),
            &[],
            HostWord { mirror, ..word(hub, &self.fleet, totals, true) },
        );
    }
}

fn word(
    hub: &Hub,
    fleet: &Fleet,
    Totals { sessions, active, .. }: Totals,
    leaving: bool,
) -> HostWord {
    // Until then a session without a row may be one that was not found yet.
    let complete = hub.is_surveyed();
    let tasks = fleet.tasks().links.digest(fleet);
    let bindings = fleet.bindings().words.digest(fleet);
    HostWord {
        version: VERSION.to_owned(),
        active,
        sessions,
        complete,
        leaving,
        mirror: None,
        tasks,
        bindings,
    }
}

/// Keeps what was heard, when that is news.
#[derive(Default)]
struct Keeper {
    /// What each host's words came to when they were kept.
    written: HashMap<NodeId, u64>,
    /// Which change was the last one before that.
    number: Option<u64>,
}

impl Keeper {
    /// Keeps what must not be taken again, and the words of hosts that have said something. Blocks.
    fn keep(&mut self, fleet: &Fleet, gossip: &Gossip, news: bool) {
        let hosts = gossip.kept(news);
        let come_to = |heard: &Heard| {
            let mut hasher = DefaultHasher::new();
            heard.records.hash(&mut hasher);
            (heard.node, hasher.finish())
        };
        let now: HashMap<NodeId, u64> = hosts.iter().map(come_to).collect();
        let changed = |node| news && self.written.get(&node) != now.get(&node);
        let floors = gossip.wire().floors();
        match fleet.keep().set_heard(&floors, &hosts, changed) {
            Ok(()) if news => self.written = now,
            Ok(()) => {}
            Err(error) => {
                // Tried again, whole.
                self.number = None;
                tracing::warn!(%error, "what other hosts said cannot be kept");
            }
        }
    }
}
