//! Calls to other members: dials when there is something to ask, and again when a connection has gone.
//!
//! A member that has another key than this node is brought up to date first, or brings this node up to
//! date. Not here: what is asked, and the side that answers ([`mod@super::listen`]).

use std::{
    collections::BTreeSet,
    fmt,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use rrd_core::fleet::{
    identity::{HandshakePublic, Identity},
    key::KeyId,
};
use rrd_proto::{
    NodeId,
    peer::{self, Answer, Hello, MessagePack, Purpose, Refused, rpc::PeerClient},
};
use serde::{Serialize, de::DeserializeOwned};
use tarpc::{client::RpcError, context};
use tokio::{
    net::TcpStream,
    sync::Mutex,
    time::{timeout, timeout_at},
};

use super::{
    Fleet,
    noise::{self, HandshakeError, Secured},
    rekey,
};

/// What reaching one address may take.
const CONNECT: Duration = Duration::from_secs(3);

/// Why a member could not be asked.
#[derive(Debug)]
pub(crate) enum LinkError {
    /// This host is in no fleet.
    NoFleet,
    /// The member has said no address.
    NoAddress,
    /// Nobody answers there.
    Unreachable(SocketAddr, std::io::Error),
    /// Somebody does, but not as a member should.
    Handshake(HandshakeError),
    /// Another node answers there, or one that is no member.
    Stranger,
    /// It says that this node was dropped.
    Dropped,
    /// Its release does not know the method.
    Unknown,
    /// It did not answer in time.
    Late,
    /// The connection closed.
    Closed,
    /// It said no.
    Refused(Refused),
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoFleet => f.write_str("this host is in no fleet"),
            Self::NoAddress => f.write_str("it has told no address yet"),
            Self::Unreachable(address, error) => write!(f, "nobody answers at {address}: {error}"),
            Self::Handshake(HandshakeError::Answered(Answer::OtherKey, _)) => {
                f.write_str("it has the key of another fleet")
            }
            Self::Handshake(error) => write!(f, "{error}"),
            Self::Stranger => f.write_str("somebody else answers at its address"),
            Self::Dropped => f.write_str("it says that this host was dropped from the fleet"),
            Self::Unknown => f.write_str("its release does not know what was asked: update it"),
            Self::Late => f.write_str("it did not answer in time"),
            Self::Closed => f.write_str("it closed the connection"),
            // A code is for programs; some tell no more.
            Self::Refused(Refused { code, detail }) => {
                write!(f, "it refused: {}", if detail.is_empty() { code } else { detail })
            }
        }
    }
}

/// Reaches who is wanted at the first of these addresses where that one answers.
pub(super) async fn reach(
    identity: &Identity,
    addresses: &[SocketAddr],
    what_for: (Purpose, [u8; 4]),
    psk: &[u8; 32],
    is_wanted: impl Fn(&HandshakePublic) -> bool,
) -> Result<Secured, LinkError> {
    let mut last = LinkError::NoAddress;
    let mut answered = None;
    for address in addresses {
        let stream = match timeout(CONNECT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                last = LinkError::Unreachable(*address, error);
                continue;
            }
            Err(late) => {
                last = LinkError::Unreachable(*address, late.into());
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        match noise::call(stream, identity, what_for, psk).await {
            Ok(secured) if is_wanted(&secured.remote) => return Ok(secured),
            Ok(_) => last = LinkError::Stranger,
            // Whoever said that is rrd, if perhaps another one that has the address by now.
            Err(said @ HandshakeError::Answered(..)) => answered = Some(said),
            Err(error) => last = LinkError::Handshake(error),
        }
    }
    Err(answered.map_or(last, LinkError::Handshake))
}

/// Lets calls through to one member. A connection is made when it is needed; calls that are large, or wait
/// for long, have one of their own, so that they hold nothing else up.
pub(crate) struct Link {
    node: NodeId,
    control: Mutex<Option<Open>>,
    bulk: Mutex<Option<Open>>,
}

#[derive(Clone)]
struct Open {
    client: PeerClient,
    key: KeyId,
    methods: Arc<BTreeSet<String>>,
}

impl Link {
    pub(super) fn new(node: NodeId) -> Self {
        Self { node, control: Mutex::default(), bulk: Mutex::default() }
    }

    /// Asks; all of it takes at most so long. A connection that had gone is made anew, once.
    pub(crate) async fn call<Q: Serialize + ?Sized, A: DeserializeOwned>(
        &self,
        fleet: &Arc<Fleet>,
        method: &str,
        query: &Q,
        within: Duration,
    ) -> Result<A, LinkError> {
        let result = self.ask(&self.control, fleet, method, query, within).await;
        fleet.spoke(self.node, result.as_ref().map(|_| ()).map_err(ToString::to_string));
        result
    }

    /// The same for what is large or waits for long.
    pub(crate) async fn call_bulk<Q: Serialize + ?Sized, A: DeserializeOwned>(
        &self,
        fleet: &Arc<Fleet>,
        method: &str,
        query: &Q,
        within: Duration,
    ) -> Result<A, LinkError> {
        self.ask(&self.bulk, fleet, method, query, within).await
    }

    async fn ask<Q: Serialize + ?Sized, A: DeserializeOwned>(
        &self,
        lane: &Mutex<Option<Open>>,
        fleet: &Arc<Fleet>,
        method: &str,
        query: &Q,
        within: Duration,
    ) -> Result<A, LinkError> {
        let deadline = Instant::now() + within;
        let body = peer::pack(query).map_err(LinkError::Refused)?;
        let mut again = true;
        loop {
            let opening = self.opened(lane, fleet);
            let (open, fresh) =
                timeout_at(deadline.into(), opening).await.map_err(|_| LinkError::Late)??;
            if !open.methods.contains(method) {
                return Err(LinkError::Unknown);
            }
            let mut at = context::current();
            at.deadline = deadline;
            return match open.client.call(at, method.to_owned(), body.clone()).await {
                Ok(Ok(answer)) => peer::unpack(&answer).map_err(LinkError::Refused),
                Ok(Err(refused)) if refused.code == "dropped" => Err(LinkError::Dropped),
                Ok(Err(refused)) => Err(LinkError::Refused(refused)),
                Err(RpcError::DeadlineExceeded) => Err(LinkError::Late),
                Err(RpcError::Server(error)) => {
                    Err(LinkError::Refused(Refused::new("failed", error.detail)))
                }
                Err(_) => {
                    *lane.lock().await = None;
                    if again && !fresh {
                        again = false;
                        continue;
                    }
                    Err(LinkError::Closed)
                }
            };
        }
    }

    /// A connection, and whether it was made just now.
    async fn opened(
        &self,
        lane: &Mutex<Option<Open>>,
        fleet: &Arc<Fleet>,
    ) -> Result<(Open, bool), LinkError> {
        let mut open = lane.lock().await;
        let key = fleet.key().ok_or(LinkError::NoFleet)?.id();
        if let Some(open) = open.as_ref().filter(|open| open.key == key) {
            return Ok((open.clone(), false));
        }
        *open = None;
        let fresh = self.dial(fleet).await?;
        *open = Some(fresh.clone());
        Ok((fresh, true))
    }

    async fn dial(&self, fleet: &Arc<Fleet>) -> Result<Open, LinkError> {
        let mut may_rekey = true;
        let (secured, key) = loop {
            let key = fleet.key().ok_or(LinkError::NoFleet)?;
            let members = fleet.members();
            let member = members.get(self.node).ok_or(LinkError::Stranger)?;
            let what_for = (Purpose::Peer, key.id().0);
            let (psk, addresses) = (key.for_connections(), fleet.addresses(self.node));
            let is_it = |remote: &HandshakePublic| *remote == member.handshake;
            let reached = reach(&fleet.identity(), &addresses, what_for, &psk, is_it).await;
            match reached {
                Err(LinkError::Handshake(HandshakeError::Answered(
                    answer @ (Answer::OtherKey | Answer::FormerKey),
                    theirs,
                ))) if may_rekey => {
                    may_rekey = false;
                    rekey::level(fleet, &addresses, is_it, answer, KeyId(theirs)).await?;
                }
                reached => break (reached?, key.id()),
            }
        };
        if fleet.member_by(&secured.remote) != Ok(self.node) {
            return Err(LinkError::Stranger);
        }
        let transport = tokio_serde::Framed::new(secured.frames, MessagePack::default());
        let client = PeerClient::new(tarpc::client::Config::default(), transport).spawn();
        let mut at = context::current();
        at.deadline = Instant::now() + noise::HANDSHAKE;
        let body = peer::pack(&()).map_err(LinkError::Refused)?;
        let hello = client.call(at, "hello".to_owned(), body).await;
        let hello = hello.map_err(|_| LinkError::Closed)?.map_err(|refused| {
            if refused.code == "dropped" { LinkError::Dropped } else { LinkError::Refused(refused) }
        })?;
        let hello: Hello = peer::unpack(&hello).map_err(LinkError::Refused)?;
        let methods = Arc::new(hello.methods.into_iter().collect());
        Ok(Open { client, key, methods })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_in_words_where_there_are_any() {
        let told = |code, detail| LinkError::Refused(Refused::new(code, detail)).to_string();
        assert_eq!(
            told("failed", "it cannot keep them now"),
            "it refused: it cannot keep them now"
        );
        assert_eq!(told("unknown_method", ""), "it refused: unknown_method");
    }
}
