//! Gossip as the daemon runs it: over a socket, for as long as there is a fleet.
//!
//! Tells the others of this host's open sessions, and for the last time of each that is open no more; keeps
//! what they told. Without a key nothing of this runs. Not here: who belongs to the fleet
//! ([`crate::fleet`]), and what happens to a datagram ([`super::wire`]).

use std::{
    collections::{HashMap, HashSet},
    io,
    net::{SocketAddr, UdpSocket},
    sync::Arc,
    time::Duration,
};

use rrd_core::fleet::{record::HostWord, seal::MAX_DATAGRAM};
use rrd_proto::{ListQuery, NodeId, Session, SessionKey, Timestamp, Totals, VERSION};
use tokio::{
    sync::watch,
    task::block_in_place,
    time::{Instant, MissedTickBehavior, interval, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{Begin, Gossip, Kept};
use crate::{
    edge::Edges,
    fleet::{Fleet, KeepError, PeerRow},
    hub::{Hub, Input, now},
    others,
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
    stop: CancellationToken,
) {
    let mut changed = fleet.changed();
    while !stop.is_cancelled() {
        changed.mark_unchanged();
        let waits = match fleet.key() {
            None => {
                hub.set_others(None);
                Duration::MAX
            }
            // Where this host's address is not up, the others are shown all the same, as they were.
            Some(_) => {
                let socket = fleet.take_datagrams();
                match serve(&fleet, &hub, &edges, socket, changed.clone(), &stop).await {
                    Ok(()) => Duration::ZERO,
                    Err(error) => {
                        tracing::error!(%error, "no gossip; trying again");
                        AGAIN
                    }
                }
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = sleep(waits) => {}
            _ = changed.changed() => {}
        }
    }
}

/// As long as there is a key, and no other socket.
async fn serve(
    fleet: &Arc<Fleet>,
    hub: &Arc<Hub>,
    edges: &Arc<Edges>,
    bound: Option<UdpSocket>,
    mut changed: watch::Receiver<u64>,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let Some(key) = fleet.key() else { return Ok(()) };
    let socket = match bound {
        Some(bound) => {
            bound.set_nonblocking(true)?;
            Some(Arc::new(tokio::net::UdpSocket::from_std(bound)?))
        }
        None => None,
    };
    let out = socket.clone();
    let mut boot = [0; 8];
    getrandom::fill(&mut boot).map_err(io::Error::other)?;
    let numbers = Arc::clone(fleet);
    let gossip = Arc::new(Gossip::begin(Begin {
        own: fleet.identity(),
        key: key.clone(),
        members: fleet.members(),
        generation: block_in_place(|| fleet.next_generation())?,
        boot: u64::from_be_bytes(boot),
        floors: block_in_place(|| fleet.floors())?,
        kept: block_in_place(|| kept(fleet))?,
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
    let mut teller = Teller { gossip: Arc::clone(&gossip), told: HashMap::new() };
    let (mut others, mut here) = (gossip.changed(), hub.version());
    let (mut keep, mut look) = (interval(KEEP), interval(LOOK));
    keep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut current = key.id();
    let mut kept = 0;
    let mut datagram = vec![0; MAX_DATAGRAM + 1];
    let tell_soon = sleep(Duration::ZERO);
    tokio::pin!(tell_soon);
    let mut due = true;
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            came = received(socket.as_deref(), &mut datagram) => match came {
                Ok((length, from)) => gossip.receive(from, &datagram[..length]),
                // Windows tells of an earlier datagram that nobody took; that is no end.
                Err(error) => tracing::debug!(%error, "a datagram was not received"),
            },
            _ = here.changed(), if !due => due = true,
            _ = look.tick() => due = true,
            () = &mut tell_soon, if due => {
                here.mark_unchanged();
                due = false;
                teller.tell(hub, edges);
                tell_soon.as_mut().reset(Instant::now() + COALESCE);
            }
            _ = others.changed() => hub.apply(Input::Others),
            _ = changed.changed() => match fleet.key() {
                None => break,
                Some(_) if fleet.has_datagrams() => break,
                Some(key) => {
                    if key.id() != current {
                        current = key.id();
                        gossip.wire().use_key(&key);
                    }
                    gossip.set_members(&fleet.members());
                }
            },
            _ = keep.tick() => {
                let number = *others.borrow();
                block_in_place(|| store(fleet, &gossip, number != kept));
                kept = number;
            }
        }
    }
    keeps_up.abort();
    teller.say_good_bye(hub);
    block_in_place(|| store(fleet, &gossip, true));
    Ok(())
}

/// The next datagram; without a socket there is none.
async fn received(
    socket: Option<&tokio::net::UdpSocket>,
    datagram: &mut [u8],
) -> io::Result<(usize, SocketAddr)> {
    match socket {
        Some(socket) => socket.recv_from(datagram).await,
        None => std::future::pending().await,
    }
}

/// Tells of this host's sessions.
struct Teller {
    gossip: Arc<Gossip>,
    /// As they were when they were told of last: only what has changed is redacted again.
    told: HashMap<SessionKey, Session>,
}

impl Teller {
    fn tell(&mut self, hub: &Hub, edges: &Edges) {
        let reply = hub.list_here(&ListQuery { open: true, ..ListQuery::default() });
        let mut rows = reply.sessions;
        let listed: HashSet<SessionKey> = rows.iter().map(Session::key).collect();
        let mut gone = Vec::new();
        for key in self.gossip.told().into_iter().filter(|key| !listed.contains(key)) {
            match hub.row(&key) {
                Some(row) => rows.push(row),
                None => gone.push(key),
            }
        }
        rows.retain(|row| self.told.get(&row.key()) != Some(row));
        let mut redacted = Vec::with_capacity(rows.len());
        for row in rows {
            self.told.insert(row.key(), row.clone());
            redacted.push(edges.gossiped(row));
        }
        self.gossip.tell(redacted, &gone, word(reply.totals, false));
        // Whoever found no room is told of when there is some.
        let told: HashSet<SessionKey> = self.gossip.told().into_iter().collect();
        self.told.retain(|key, _| told.contains(key));
    }

    fn say_good_bye(&self, hub: &Hub) {
        let totals = hub.list_here(&ListQuery::default()).totals;
        self.gossip.tell(Vec::new(), &[], word(totals, true));
    }
}

fn word(Totals { sessions, active, .. }: Totals, leaving: bool) -> HostWord {
    HostWord { version: VERSION.to_owned(), active, sessions, complete: true, leaving }
}

/// What was known of the others when it was last kept. Blocks.
fn kept(fleet: &Fleet) -> Result<Vec<Kept>, KeepError> {
    let mut of: HashMap<NodeId, (Timestamp, Vec<String>)> = HashMap::new();
    for row in fleet.keep().peer_rows()? {
        let known = of.entry(row.node).or_insert((row.seen_at, Vec::new()));
        known.0 = known.0.max(row.seen_at);
        known.1.push(row.record);
    }
    Ok(of.into_iter().map(|(node, (seen_at, records))| (node, seen_at, records)).collect())
}

/// Keeps what must not be taken again, and what was heard if that is news. Blocks.
fn store(fleet: &Fleet, gossip: &Gossip, news: bool) {
    let mut result = fleet.set_floors(&gossip.wire().floors());
    if news {
        for (node, seen_at, records) in gossip.kept() {
            let row = |(key, record)| PeerRow { node, key, record, seen_at };
            let rows: Vec<PeerRow> = records.into_iter().map(row).collect();
            result = result.and_then(|()| fleet.keep().replace_peer_rows(node, &rows));
        }
    }
    if let Err(error) = result {
        tracing::warn!(%error, "what other hosts said cannot be kept");
    }
}
