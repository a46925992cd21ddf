//! What goes between members as datagrams: seals and opens them, and knows where each member is reached.
//!
//! A member is addressed by its name: it is where it was heard from last, else where it says it is or may
//! be, and what is sealed for it can be opened by no other. What cannot be opened is counted and dropped,
//! and nothing is ever sent in answer to it. Sending is limited, so that a wake-up is no storm. Not here:
//! sockets (datagrams come and go through functions), and what they say.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rrd_core::fleet::{
    key::FleetKey,
    members::Members,
    seal::{Dropped, Kind, Opened, Opener, Sealer},
    window::Floor,
};
use rrd_proto::{NodeId, Timestamp};
use tokio::time::Instant;

/// Datagrams of gossip a second, and how many at once: rounds that were missed may all be begun at a wake-up.
const GOSSIP_RATE: f64 = 50.0;
const GOSSIP_AT_ONCE: f64 = 25.0;

/// Datagrams of pushes a second, and as many at once; what is left out is repaired by gossip.
const PUSH_RATE: f64 = 300.0;

/// Where a member was heard from is where it is, for so long.
const HEARD_FOR: Duration = Duration::from_secs(30);

/// Sends one datagram, or drops it.
pub(crate) type Send = dyn Fn(SocketAddr, &[u8]) + std::marker::Send + Sync;

/// Reads this host's wall clock.
pub(crate) type Clock = dyn Fn() -> Timestamp + std::marker::Send + Sync;

/// What has gone through, for `rrd hosts` and `rrd status`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Traffic {
    /// Datagrams and bytes sent.
    pub(crate) sent: (u64, u64),
    /// Datagrams and bytes of members taken.
    pub(crate) taken: (u64, u64),
    /// Datagrams that were not sent because there were too many.
    pub(crate) held_back: u64,
    /// Datagrams dropped, by why.
    pub(crate) dropped: BTreeMap<Dropped, u64>,
}

/// Of one node, in one generation.
pub(crate) struct Wire {
    inner: Mutex<Inner>,
    send: Arc<Send>,
    clock: Arc<Clock>,
    begun: Instant,
}

struct Inner {
    sealer: Sealer,
    opener: Opener,
    members: Arc<Members>,
    /// Where members may be beside where they say they are.
    extra: HashMap<NodeId, Vec<SocketAddr>>,
    heard: HashMap<NodeId, (SocketAddr, Instant)>,
    gossip: Bucket,
    push: Bucket,
    traffic: Traffic,
    of_node: HashMap<NodeId, u64>,
}

impl Wire {
    /// `generation` must be higher than any this node has had, `boot` random.
    pub(crate) fn new(
        (node, generation, boot): (NodeId, u64, u64),
        key: &FleetKey,
        floors: Vec<(NodeId, Floor)>,
        members: Arc<Members>,
        send: Arc<Send>,
        clock: Arc<Clock>,
    ) -> Self {
        let inner = Inner {
            sealer: Sealer::new(node, generation, boot, key),
            opener: Opener::new(node, key, floors),
            members,
            extra: HashMap::new(),
            heard: HashMap::new(),
            gossip: Bucket::full(GOSSIP_RATE, GOSSIP_AT_ONCE),
            push: Bucket::full(PUSH_RATE, PUSH_RATE),
            traffic: Traffic::default(),
            of_node: HashMap::new(),
        };
        Self { inner: Mutex::new(inner), send, clock, begun: Instant::now() }
    }

    /// This host's clock.
    pub(crate) fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// Sends a message to a member. What is too long, or too much, is not sent.
    pub(crate) fn send(&self, to: NodeId, kind: Kind, message: &[u8]) {
        let now = Instant::now();
        let clock = self.now();
        let mut out = Vec::new();
        {
            let mut inner = self.lock();
            let places = inner.places(to, now);
            let Ok(datagrams) = inner.sealer.seal(to, kind, clock, message) else { return };
            let bucket = match kind {
                Kind::Gossip => &mut inner.gossip,
                Kind::Push | Kind::Relay => &mut inner.push,
            };
            let count = datagrams.len() as u64;
            if places.is_empty() || !bucket.take(count as f64, now) {
                inner.traffic.held_back += count;
                return;
            }
            for datagram in datagrams {
                inner.traffic.sent.0 += places.len() as u64;
                inner.traffic.sent.1 += (datagram.len() * places.len()) as u64;
                out.extend(places.iter().map(|place| (*place, datagram.clone())));
            }
        }
        out.iter().for_each(|(place, datagram)| (self.send)(*place, datagram));
    }

    /// Takes a datagram that came from there; gives the message it completes.
    pub(crate) fn receive(&self, from: SocketAddr, datagram: &[u8]) -> Option<Opened> {
        let now = Instant::now();
        let mut inner = self.lock();
        let members = Arc::clone(&inner.members);
        let opened = inner.opener.open(datagram, |node| members.has(node), now - self.begun);
        match opened {
            Ok(opened) => {
                inner.traffic.taken.0 += 1;
                inner.traffic.taken.1 += datagram.len() as u64;
                let opened = opened?;
                // Only whole messages: so it is the sender who is there, and not a part of an old one.
                inner.heard.insert(opened.sender, (from, now));
                *inner.of_node.entry(opened.sender).or_default() += opened.message.len() as u64;
                Some(opened)
            }
            Err(why) => {
                *inner.traffic.dropped.entry(why).or_default() += 1;
                None
            }
        }
    }

    /// When a member was heard last.
    pub(crate) fn heard(&self, node: NodeId) -> Option<Instant> {
        self.lock().heard.get(&node).map(|(_, at)| *at)
    }

    /// The generation of a member that was heard here last, by this process or one before.
    pub(crate) fn generation(&self, node: NodeId) -> Option<u64> {
        let inner = self.lock();
        let floor = inner.opener.floors().find(|(known, _)| *known == node);
        floor.map(|(_, floor)| floor.generation)
    }

    /// From here on members may be there, too.
    pub(crate) fn set_extra(&self, extra: HashMap<NodeId, Vec<SocketAddr>>) {
        self.lock().extra = extra;
    }

    /// From here on these are the members.
    pub(crate) fn set_members(&self, members: Arc<Members>) {
        self.lock().members = members;
    }

    /// From here on this is the fleet's key.
    pub(crate) fn use_key(&self, key: &FleetKey) {
        let mut inner = self.lock();
        inner.sealer.use_key(key);
        inner.opener.use_key(key);
    }

    /// What must not be taken again by a later process.
    pub(crate) fn floors(&self) -> Vec<(NodeId, Floor)> {
        self.lock().opener.floors().collect()
    }

    /// Bytes a second that came from a member, since this began.
    pub(crate) fn rate_of(&self, node: NodeId) -> f64 {
        let bytes = self.lock().of_node.get(&node).copied().unwrap_or(0);
        bytes as f64 / self.begun.elapsed().as_secs_f64().max(1.0)
    }

    /// What has gone through.
    pub(crate) fn traffic(&self) -> Traffic {
        self.lock().traffic.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn places(&self, node: NodeId, now: Instant) -> Vec<SocketAddr> {
        if !self.members.has(node) {
            return Vec::new();
        }
        if let Some((place, at)) = self.heard.get(&node)
            && now - *at < HEARD_FOR
        {
            return vec![*place];
        }
        let heard = self.heard.get(&node).map(|(place, _)| *place);
        let said = self.members.get(node).into_iter().flat_map(|member| &member.addresses);
        let extra = self.extra.get(&node).into_iter().flatten();
        let mut places: Vec<SocketAddr> =
            heard.into_iter().chain(said.chain(extra).copied()).collect();
        let mut once = std::collections::HashSet::new();
        places.retain(|place| once.insert(*place));
        places
    }
}

/// A token bucket.
struct Bucket {
    rate: f64,
    most: f64,
    left: f64,
    at: Option<Instant>,
}

impl Bucket {
    const fn full(rate: f64, most: f64) -> Self {
        Self { rate, most, left: most, at: None }
    }

    fn take(&mut self, count: f64, now: Instant) -> bool {
        let since = self.at.replace(now).map_or(Duration::ZERO, |at| now - at);
        self.left = (self.left + since.as_secs_f64() * self.rate).min(self.most);
        // What is longer than what is left is sent, too, and then owed: if it waited for more, what is
        // short would always come first, and many records would never be told.
        let fits = self.left >= 1.0;
        if fits {
            self.left -= count;
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wake_up_is_no_storm() {
        let (mut bucket, begun) = (Bucket::full(GOSSIP_RATE, GOSSIP_AT_ONCE), Instant::now());
        assert!(bucket.take(1.0, begun));
        // A minute of rounds, all begun at once, and then what a second of them brings.
        let woken = begun + Duration::from_secs(60);
        let storm = (0..180).filter(|_| bucket.take(1.0, woken)).count();
        let after = (1..=20).map(|n| woken + Duration::from_millis(50) * n);
        let usual = after.filter(|at| bucket.take(1.0, *at)).count();
        assert_eq!((storm, usual), (25, 20), "together less than 50");
    }

    #[test]
    fn what_is_long_gets_its_turn_among_what_is_short() {
        let (mut bucket, begun) = (Bucket::full(GOSSIP_RATE, GOSSIP_AT_ONCE), Instant::now());
        let (mut long, mut sent) = (0, 0.0);
        // One of 55 datagrams is tried ten times a second, among short ones that alone nearly fill it.
        for tick in 0..2_400u32 {
            let now = begun + Duration::from_millis(25) * tick;
            let count = if tick % 4 == 0 { 55.0 } else { 1.0 };
            if bucket.take(count, now) {
                sent += count;
                long += u32::from(count > 1.0);
            }
        }
        assert!(long >= 40, "{long} in a minute");
        assert!(sent <= 60.0 * GOSSIP_RATE + GOSSIP_AT_ONCE + 55.0, "{sent}");
        // One message of what others have told may be longer; the next waits for it.
        let later = begun + Duration::from_secs(120);
        assert!(bucket.take(60.0, later) && !bucket.take(1.0, later));
        assert!(bucket.take(1.0, later + Duration::from_millis(800)));
    }
}
