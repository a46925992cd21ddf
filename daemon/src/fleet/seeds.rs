//! Where members may be that are not where they say they are: the places in the settings, and where
//! Tailscale has their hosts.
//!
//! Looked for only while there is a member that could not be spoken with. Names are resolved each time,
//! so an address that changes is found again. Whoever proves at one of the configured places to be a member
//! is there, whichever it is; where Tailscale has a host is believed as far as it leads to the member's
//! own key. Not here: what is then said.

use std::{
    collections::HashMap,
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
    sync::{Arc, PoisonError},
    time::Duration,
};

use futures::StreamExt;
use rrd_core::fleet::key::KeyId;
use rrd_proto::{
    NodeId,
    peer::{Answer, Purpose},
};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{
    Fleet,
    address::{self, PORT},
    link::{LinkError, reach},
    lock,
    noise::HandshakeError,
    rekey,
};

/// How often they are looked at.
const ROUND: Duration = Duration::from_secs(20);

/// What resolving a name may take.
const RESOLVE: Duration = Duration::from_secs(5);

/// Places that can be configured.
pub(crate) const MAX_SEEDS: usize = 64;

/// Addresses of one name, or of one member, that are tried.
const MAX_ADDRESSES: usize = 4;

/// Places that are tried at once.
const AT_ONCE: usize = 8;

/// A place where a member may be: an address or a name, and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seed {
    host: String,
    port: u16,
}

impl FromStr for Seed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let wrong = || format!("`{text}` is not a host, or a host with a port");
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(Self { host: address.ip().to_string(), port: address.port() });
        }
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Ok(Self { host: ip.to_string(), port: PORT });
        }
        let (host, port) = match text.split_once(':') {
            Some((host, port)) => (host, port.parse().map_err(|_| wrong())?),
            None => (text, PORT),
        };
        let is_letter = |c: char| c.is_alphanumeric() || "-_.".contains(c);
        if host.is_empty() || host.len() > 253 || !host.chars().all(is_letter) || port == 0 {
            return Err(wrong());
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// Looks for members until it is stopped.
pub(crate) async fn run(fleet: Arc<Fleet>, stop: CancellationToken) {
    stop.run_until_cancelled(looks(&fleet)).await;
}

async fn looks(fleet: &Arc<Fleet>) {
    let mut changed = fleet.changed();
    loop {
        while fleet.key().is_none() {
            if changed.changed().await.is_err() {
                return;
            }
        }
        let missed = missed(fleet);
        if !missed.is_empty() {
            let mut found = of_tailscale(fleet, &missed).await;
            for (node, address) in of_seeds(fleet).await {
                // What was proven comes first.
                found.entry(node).or_default().insert(0, address);
            }
            set(fleet, found);
        }
        sleep(ROUND).await;
    }
}

/// Members that could not be spoken with, or were not yet.
fn missed(fleet: &Fleet) -> Vec<NodeId> {
    let (own, contacts) = (fleet.node(), lock(&fleet.contacts).clone());
    let is_missed = |node: &NodeId| {
        contacts
            .get(node)
            .is_none_or(|contact| contact.trouble.is_some() || contact.spoken_at.is_none())
    };
    let members = fleet.members();
    members.now().map(|member| member.node()).filter(|n| *n != own && is_missed(n)).collect()
}

/// Keeps what was found beside what was found before, which goes when its member is found elsewhere.
fn set(fleet: &Fleet, found: HashMap<NodeId, Vec<SocketAddr>>) {
    let news = {
        let mut extra = fleet.extra.write().unwrap_or_else(PoisonError::into_inner);
        let before = extra.clone();
        for (node, mut addresses) in found {
            addresses.truncate(MAX_ADDRESSES);
            extra.insert(node, addresses);
        }
        let members = fleet.members();
        extra.retain(|node, _| members.has(*node));
        before != *extra
    };
    if news {
        fleet.tell();
    }
}

/// Who is at the configured places.
async fn of_seeds(fleet: &Arc<Fleet>) -> Vec<(NodeId, SocketAddr)> {
    let resolved = futures::stream::iter(&fleet.wanted_seeds).map(resolve);
    let resolved: Vec<Vec<SocketAddr>> = resolved.buffer_unordered(AT_ONCE).collect().await;
    let mut places = resolved.concat();
    places.sort();
    places.dedup();
    places.retain(|place| Some(*place) != fleet.address());
    let asked = futures::stream::iter(places).map(|place| async move {
        match who_is_at(fleet, place).await {
            Ok(node) => Some((node, place)),
            Err(error) => {
                tracing::debug!(%place, %error, "no member there");
                None
            }
        }
    });
    asked.buffer_unordered(AT_ONCE).filter_map(|found| async move { found }).collect().await
}

async fn resolve(seed: &Seed) -> Vec<SocketAddr> {
    let looked_up = tokio::net::lookup_host((seed.host.as_str(), seed.port));
    match timeout(RESOLVE, looked_up).await {
        Ok(Ok(addresses)) => addresses.take(MAX_ADDRESSES).collect(),
        Ok(Err(error)) => {
            tracing::debug!(%seed, %error, "a seed's name is not known");
            Vec::new()
        }
        Err(_) => Vec::new(),
    }
}

/// The member that answers there. One that has another key is brought to the same one first.
async fn who_is_at(fleet: &Arc<Fleet>, place: SocketAddr) -> Result<NodeId, LinkError> {
    let mut may_rekey = true;
    loop {
        let key = fleet.key().ok_or(LinkError::NoFleet)?;
        let what_for = (Purpose::Peer, key.id().0);
        let psk = key.for_connections();
        let is_other = |remote: &_| fleet.member_by(remote).is_ok_and(|node| node != fleet.node());
        match reach(&fleet.identity(), &[place], what_for, &psk, is_other).await {
            Err(LinkError::Handshake(HandshakeError::Answered(
                answer @ (Answer::OtherKey | Answer::FormerKey),
                theirs,
            ))) if may_rekey => {
                may_rekey = false;
                rekey::level(fleet, &[place], is_other, answer, KeyId(theirs)).await?;
            }
            reached => {
                return fleet.member_by(&reached?.remote).map_err(|_| LinkError::Stranger);
            }
        }
    }
}

/// Where Tailscale has the hosts of these members; their ports as they said, and the usual one.
async fn of_tailscale(fleet: &Arc<Fleet>, missed: &[NodeId]) -> HashMap<NodeId, Vec<SocketAddr>> {
    let members = fleet.members();
    let wanted = missed.iter().filter_map(|node| members.get(*node));
    let wanted: Vec<_> = wanted.filter(|member| member.tailscale.is_some()).collect();
    if wanted.is_empty() {
        return HashMap::new();
    }
    let peers = tokio::task::spawn_blocking(address::peers).await.unwrap_or_default();
    let usual = if fleet.wanted.port == 0 { PORT } else { fleet.wanted.port };
    let at = |(node, ips): (NodeId, &Vec<IpAddr>)| {
        let said = members.get(node).into_iter().flat_map(|member| &member.addresses);
        let mut ports: Vec<u16> = said.map(SocketAddr::port).chain([usual]).collect();
        ports.dedup();
        let at = ips.iter().flat_map(|ip| ports.iter().map(|port| SocketAddr::new(*ip, *port)));
        (node, at.take(MAX_ADDRESSES).collect())
    };
    let found = wanted
        .into_iter()
        .filter_map(|member| Some((member.node(), peers.get(member.tailscale.as_ref()?)?)));
    found.map(at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_read_as_it_is_shown() {
        for (text, shown) in [
            ("desk", "desk:7731"),
            (" desk.tail-net.ts.net:9 ", "desk.tail-net.ts.net:9"),
            ("100.64.0.1", "100.64.0.1:7731"),
            ("[fd7a::1]:9", "[fd7a::1]:9"),
            ("fd7a::1", "[fd7a::1]:7731"),
        ] {
            let seed: Seed = text.parse().unwrap();
            assert_eq!(seed.to_string(), shown);
            assert_eq!(shown.parse(), Ok(seed));
        }
        for wrong in ["", ":9", "desk:", "desk:0", "desk:x", "http://desk", "a b", "desk:99999"] {
            assert!(wrong.parse::<Seed>().is_err(), "{wrong}");
        }
    }
}
