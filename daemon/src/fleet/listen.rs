//! The side that is called: who may come in, and what members may ask.
//!
//! There is a socket while there is a key. Whoever cannot prove it in ten seconds is closed and counted;
//! at most 64 are on their way in, of one address 16. A member has a few connections at most. A method or a
//! body that is not understood is refused, and the connection goes on. Not here: invites and rotations,
//! which have files of their own.

use std::{
    collections::{HashMap, VecDeque},
    io,
    net::IpAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures::StreamExt;
use rrd_core::fleet::{members::List, words};
use rrd_proto::{
    NodeId,
    peer::{self, Answer, Hello, MessagePack, Preamble, Purpose, Refused, rpc::Peer},
    peer_calls::{KeptWordsQuery, LastWordsQuery, WordsReply},
};
use serde::de::DeserializeOwned;
use tarpc::{
    context::Context,
    server::{BaseChannel, Channel},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::{
    desk::{self, Desk},
    messages,
    resume::relay,
};

use super::{
    Fleet, Place, Stranger, address, aside, enrol,
    keep::InviteState,
    lock,
    noise::{self, HANDSHAKE, HandshakeError, Secured},
    now, rekey,
};

/// Connections on their way in.
const HALF_OPEN: usize = 64;

/// The same from one address.
const HALF_OPEN_OF_ONE: usize = 16;

/// Connections of one member; the oldest makes room.
const SEATS: usize = 4;

/// Calls of one connection that are worked on at once; more wait. Most of them wait themselves, for events.
const AT_ONCE: usize = 32;

/// How often the address is looked after.
const LOOK_AFTER: Duration = Duration::from_secs(15);

/// When a socket that could not be had is tried again.
const AGAIN: Duration = Duration::from_secs(5);

/// What members may ask, beside what the desk answers.
const METHODS: [&str; 10] = [
    "hello",
    "members",
    "last_words",
    "kept_words",
    "seen",
    "copy_open",
    "copy_next",
    "tasks",
    "bindings",
    "messages",
];

/// Listens while there is a fleet, until it is stopped.
pub(crate) async fn run(fleet: Arc<Fleet>, desk: Arc<Desk>, stop: CancellationToken) {
    stop.run_until_cancelled(listens(&fleet, &desk)).await;
}

async fn listens(fleet: &Arc<Fleet>, desk: &Arc<Desk>) {
    let mut changed = fleet.changed();
    loop {
        while fleet.key().is_none() {
            if changed.changed().await.is_err() {
                return;
            }
        }
        let wanted = fleet.wanted;
        let bound = tokio::task::spawn_blocking(move || {
            let bound = address::bind(wanted)?;
            // Also where it has no interface: then its program brings callers to loopback.
            let tailscale = wanted.ip.is_none().then(address::stable_node_id);
            Ok::<_, io::Error>((bound, tailscale.flatten()))
        });
        let bound = bound.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        let opened = bound.and_then(|(bound, tailscale)| {
            let (tcp, udp) = bound.sockets;
            Ok((TcpListener::from_std(tcp)?, udp, bound.address, bound.note, tailscale))
        });
        match opened {
            Ok((tcp, udp, address, note, tailscale)) => {
                let reached = address::reachable(address);
                fleet.set_place(Place { address: Some(reached), note, tailscale });
                *lock(&fleet.datagrams) = Some(udp);
                let stated = aside(fleet, Fleet::restate).await;
                if let Some(Err(error)) = stated {
                    tracing::warn!(%error, "cannot state this node's address");
                }
                fleet.tell();
                tracing::info!(%address, "listens for members");
                accepts(fleet, desk, &tcp, address.ip()).await;
                drop(lock(&fleet.datagrams).take());
                fleet.set_place(Place::default());
            }
            Err(error) => {
                fleet.set_place(Place { note: Some(error.to_string()), ..Place::default() });
                fleet.tell();
                tracing::warn!(%error, "cannot listen for members");
                let _ = timeout(AGAIN, changed.wait_for(|_| fleet.key().is_none())).await;
            }
        }
    }
}

/// Lets callers in until the fleet is left, or this host is reached elsewhere.
async fn accepts(fleet: &Arc<Fleet>, desk: &Arc<Desk>, tcp: &TcpListener, ip: IpAddr) {
    let door = Arc::new(Door {
        half_open: Arc::new(Semaphore::new(HALF_OPEN)),
        of_one: Mutex::default(),
        seats: Mutex::default(),
        closed: CancellationToken::new(),
        desk: Arc::clone(desk),
    });
    let _closes = door.closed.clone().drop_guard();
    let mut changed = fleet.changed();
    let mut look = tokio::time::interval(LOOK_AFTER);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let accepted = async {
            let permit = Arc::clone(&door.half_open).acquire_owned().await;
            (permit, tcp.accept().await)
        };
        tokio::select! {
            result = changed.changed() => if result.is_err() || fleet.key().is_none() {
                return;
            },
            _ = look.tick() => {
                let elsewhere = address::by_route().is_some_and(|now| now != ip);
                if fleet.wanted.ip.is_none() && elsewhere {
                    return;
                }
            }
            (permit, accepted) = accepted => match (permit, accepted) {
                (Ok(permit), Ok((stream, from))) => {
                    let (fleet, door) = (Arc::clone(fleet), Arc::clone(&door));
                    tokio::spawn(async move {
                        let closed = door.closed.clone();
                        let call = called(&fleet, &door, stream, from.ip(), permit);
                        if let Some(Err(why)) = closed.run_until_cancelled(call).await {
                            fleet.turn_away(why);
                        }
                    });
                }
                // Out of descriptors: those who are in go on, and the next may come in.
                (_, Err(error)) => {
                    tracing::warn!(%error, "cannot accept a caller");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                (Err(_), _) => return,
            },
        }
    }
}

struct Door {
    half_open: Arc<Semaphore>,
    of_one: Mutex<HashMap<IpAddr, usize>>,
    seats: Mutex<HashMap<NodeId, VecDeque<CancellationToken>>>,
    closed: CancellationToken,
    desk: Arc<Desk>,
}

/// A place among those of one address that are on their way in.
struct OfOne<'a>(&'a Door, IpAddr);

impl<'a> OfOne<'a> {
    fn take(door: &'a Door, ip: IpAddr) -> Option<Self> {
        let mut of_one = lock(&door.of_one);
        let count = of_one.entry(ip).or_default();
        if *count >= HALF_OPEN_OF_ONE {
            return None;
        }
        *count += 1;
        Some(Self(door, ip))
    }
}

impl Drop for OfOne<'_> {
    fn drop(&mut self) {
        let mut of_one = lock(&self.0.of_one);
        if let Some(count) = of_one.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                of_one.remove(&self.1);
            }
        }
    }
}

/// One caller, from the first byte to the last; the error is what it is counted as.
async fn called(
    fleet: &Arc<Fleet>,
    door: &Arc<Door>,
    stream: TcpStream,
    from: IpAddr,
    permit: OwnedSemaphorePermit,
) -> Result<(), &'static str> {
    let one = OfOne::take(door, from).ok_or("too_many")?;
    let _ = stream.set_nodelay(true);
    let (said, secured) = match timeout(HANDSHAKE, admit(fleet, stream)).await {
        Err(_) => return Err("too_slow"),
        Ok(Err(error)) => return Err(counted(&error)),
        Ok(Ok(admitted)) => admitted,
    };
    match said.purpose {
        Purpose::Enrol => enrol::welcome(fleet, secured, said.id).await,
        Purpose::Rekey => rekey::answer(fleet, secured).await,
        Purpose::Peer => {
            drop((permit, one));
            let node = fleet.member_by(&secured.remote);
            let refused = node.err();
            // A dropped member is told so on its first call: it has proven a key it had.
            let node = match node {
                Ok(node) | Err(Stranger::Dropped(node)) => node,
                Err(Stranger::Unknown) => return Err("not_a_member"),
            };
            serve(fleet, door, secured, node).await;
            refused.map_or(Ok(()), |_| Err("dropped"))
        }
    }
}

/// First bytes and handshake.
async fn admit(
    fleet: &Arc<Fleet>,
    mut stream: TcpStream,
) -> Result<(Preamble, Secured), HandshakeError> {
    let (theirs, said) = match noise::greeted(&mut stream).await {
        Err(other @ HandshakeError::OtherVersion(_)) => {
            let ours = Preamble::ours(Purpose::Peer, Answer::OtherVersion, [0; 4]);
            noise::refuse(stream, ours).await;
            return Err(other);
        }
        other => other?,
    };
    let (answer, id, psk) = decide(fleet, &said).await;
    let ours = Preamble::ours(said.purpose, answer, id);
    let psk = psk.filter(|_| answer == Answer::GoOn);
    let secured = noise::answer(stream, &fleet.identity(), theirs, ours, psk.as_deref()).await?;
    Ok((said, secured))
}

/// What a caller is answered, and what it then must prove.
async fn decide(
    fleet: &Arc<Fleet>,
    said: &Preamble,
) -> (Answer, [u8; 4], Option<Zeroizing<[u8; 32]>>) {
    if !said.understands() {
        return (Answer::OtherVersion, said.id, None);
    }
    let Some(keys) = fleet.keys() else { return (Answer::OtherKey, [0; 4], None) };
    let own = keys.now.1.id();
    let former = keys.former(rrd_core::fleet::key::KeyId(said.id));
    match said.purpose {
        Purpose::Peer | Purpose::Rekey if said.id == own.0 => {
            (Answer::GoOn, own.0, Some(keys.now.1.for_connections()))
        }
        Purpose::Peer if former.is_some() => (Answer::FormerKey, own.0, None),
        Purpose::Rekey if former.is_some() => {
            (Answer::GoOn, said.id, former.map(|key| key.for_connections()))
        }
        Purpose::Peer | Purpose::Rekey => (Answer::OtherKey, own.0, None),
        Purpose::Enrol => {
            let id = said.id;
            let found = aside(fleet, move |fleet| fleet.keep().invite(id, now())).await;
            match found {
                Some(Ok(Some((state, proof)))) => {
                    let answer = match state {
                        InviteState::Open => Answer::GoOn,
                        InviteState::Spent => Answer::Spent,
                        InviteState::Cancelled => Answer::Cancelled,
                        InviteState::Stale => Answer::Stale,
                    };
                    (answer, id, Some(proof))
                }
                _ => (Answer::NoInvite, id, None),
            }
        }
    }
}

fn counted(error: &HandshakeError) -> &'static str {
    match error {
        HandshakeError::Io(_) => "broke_off",
        HandshakeError::NotRrd => "not_rrd",
        HandshakeError::OtherVersion(_) | HandshakeError::Answered(Answer::OtherVersion, _) => {
            "other_version"
        }
        HandshakeError::Answered(Answer::FormerKey, _) => "former_key",
        HandshakeError::Answered(Answer::OtherKey, _) => "other_key",
        HandshakeError::Answered(..) => "no_open_invite",
        HandshakeError::NotProven => "not_proven",
    }
}

/// Answers a member's calls for as long as it is one, under the key it came with.
async fn serve(fleet: &Arc<Fleet>, door: &Door, secured: Secured, node: NodeId) {
    let seat = door.closed.child_token();
    {
        let mut seats = lock(&door.seats);
        let of_node = seats.entry(node).or_default();
        of_node.retain(|other| !other.is_cancelled());
        if of_node.len() >= SEATS
            && let Some(oldest) = of_node.pop_front()
        {
            oldest.cancel();
        }
        of_node.push_back(seat.clone());
    }
    let _left = seat.clone().drop_guard();
    let key = fleet.key().map(|key| key.id());
    let mut changed = fleet.changed();
    let rekeyed = async {
        while fleet.key().map(|key| key.id()) == key {
            if changed.changed().await.is_err() {
                return;
            }
        }
    };
    let transport = tokio_serde::Framed::new(secured.frames, MessagePack::default());
    let server = Server { fleet: Arc::clone(fleet), desk: Arc::clone(&door.desk), node };
    let calls = BaseChannel::with_defaults(transport)
        .execute(server.serve())
        .for_each_concurrent(AT_ONCE, |answer| answer);
    tokio::select! {
        () = calls => {}
        () = rekeyed => {}
        () = seat.cancelled() => {}
    }
}

/// Answers one member's calls.
#[derive(Clone)]
struct Server {
    fleet: Arc<Fleet>,
    desk: Arc<Desk>,
    node: NodeId,
}

impl Peer for Server {
    async fn call(self, _: Context, method: String, body: Bytes) -> Result<Bytes, Refused> {
        let fleet = &self.fleet;
        if !fleet.members().has(self.node) {
            return Err(Refused::new("dropped", "no member any more"));
        }
        match method.as_str() {
            "hello" => peer::pack(&Hello {
                node: fleet.node(),
                release: rrd_proto::VERSION.to_owned(),
                methods: METHODS.into_iter().chain(desk::METHODS).map(str::to_owned).collect(),
            }),
            "members" => {
                let list: List = heard(&body)?;
                let merged = aside(fleet, move |fleet| fleet.merge(list)).await;
                if let Some(Err(error)) = merged {
                    tracing::warn!(%error, "cannot keep the list of members");
                }
                peer::pack(&fleet.members().list())
            }
            "last_words" => {
                let query: LastWordsQuery = heard(&body)?;
                let own = fleet.identity();
                let told = self.desk.last_words(query).await;
                let signed =
                    told.iter().filter_map(|(key, at, events)| words::sign(&own, key, *at, events));
                peer::pack(&WordsReply { words: signed.collect() })
            }
            "kept_words" => {
                let KeptWordsQuery { node, key } = heard(&body)?;
                peer::pack(&WordsReply { words: fleet.words().of(node, &key) })
            }
            "copy_open" => {
                let label = fleet.members().label(self.node);
                let to = label.unwrap_or_else(|| self.node.to_string());
                let opened = relay::opens(&self.desk, Some((self.node, to)), heard(&body)?).await;
                peer::pack(&opened?)
            }
            "copy_next" => {
                peer::pack(&relay::next(&self.desk, Some(self.node), heard(&body)?).await?)
            }
            "tasks" => peer::pack(&fleet.tasks().links.tell(fleet, &heard(&body)?)),
            "bindings" => peer::pack(&fleet.bindings().words.tell(fleet, &heard(&body)?)),
            "messages" => {
                let taken = messages::take(fleet, &self.desk.hub, self.node, heard(&body)?);
                peer::pack(&taken.await?)
            }
            "seen" => peer::pack(&fleet.seen(self.node, heard(&body)?)),
            other => {
                let answer = self.desk.answer(other, &body).await;
                answer.unwrap_or_else(|| Err(Refused::new("unknown_method", "")))
            }
        }
    }
}

fn heard<T: DeserializeOwned>(body: &Bytes) -> Result<T, Refused> {
    peer::unpack(body)
}
