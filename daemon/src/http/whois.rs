//! Which device of the tailnet is at the other end of a connection, and whether it is its owner's own.
//!
//! tailscaled knows. On Linux, and with the tailscaled of the command line on macOS, its LocalAPI is asked
//! over its Unix socket, which any user may read from; where there is none, the `tailscale` program is asked:
//! the macOS app wants a port and a proof of the same user, Windows a named pipe, and the program knows both.
//! Whatever goes wrong is a no: an error, no answer in time, an answer that is odd. Not here: what somebody
//! may see who is let in.
//!
//! Sources: `WhoIsResponse` <https://pkg.go.dev/tailscale.com/client/tailscale/apitype>, its `Node`
//! <https://pkg.go.dev/tailscale.com/tailcfg>, `Status` <https://pkg.go.dev/tailscale.com/ipn/ipnstate>,
//! sockets <https://pkg.go.dev/tailscale.com/paths>.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use rrd_core::fleet::members::Members;
use serde::Deserialize;
use tokio::{sync::Semaphore, time::timeout};

use crate::fleet::{ask_tailscale, is_tailscale};

/// How long an answer may take, waiting for a turn included.
const PATIENCE: Duration = Duration::from_secs(2);

/// What an answer may hold, in bytes.
const MAX_SAID: usize = 1 << 20;

/// How long it is known who has an address, and who this node is.
const DEVICE_KNOWN: Duration = Duration::from_secs(30);
const OWN_KNOWN: Duration = Duration::from_secs(60);

/// How long it is known that there was no answer: a phone that just came should not wait for long.
const NOT_KNOWN: Duration = Duration::from_secs(3);

/// Addresses that are remembered, at most.
const MAX_KNOWN: usize = 256;

/// Questions at once, at most.
const MAX_ASKING: usize = 8;

/// Letters of a StableNodeID, at most; they are some 17.
const MAX_ID: usize = 64;

/// Addresses of one device, at most; there are two.
const MAX_IPS: usize = 16;

/// A device of the tailnet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Device {
    /// Tailscale's name of it, which it keeps.
    pub(crate) stable_id: String,
    /// Whose it is.
    user: u64,
    /// Belongs to a tag, and so to nobody.
    tagged: bool,
    /// Comes from somebody else's tailnet.
    shared: bool,
    ips: Vec<IpAddr>,
}

/// This node, as Tailscale has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Own {
    stable_id: String,
    user: u64,
    tagged: bool,
    /// Its addresses.
    pub(crate) ips: Vec<IpAddr>,
    /// Its name in the tailnet, without the last dot.
    pub(crate) dns_name: Option<String>,
}

/// What a device is to the fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nothing.
    None,
    /// A host that is a member, or left.
    Host,
    /// A host that was dropped: lost, perhaps.
    Dropped,
}

/// Whose device it is. Only [`Whose::Own`] may look without more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    /// This node's own user's.
    Own,
    /// Nobody could tell.
    Unknown,
    /// Another user's, or shared in from another tailnet.
    AnotherUser,
    /// It, or this node, belongs to a tag.
    Tagged,
    /// This node itself: whoever uses it, or a proxy on it.
    ThisNode,
    /// A host of the fleet: whatever runs on it.
    Host,
    /// It was dropped from the fleet. Nothing lets it in, a cookie no more than a token.
    Dropped,
}

impl Whose {
    /// Why it may not look, for a person.
    pub(crate) fn why(self) -> &'static str {
        match self {
            Self::Own => "it may look",
            Self::Unknown => "Tailscale does not tell whose device this is",
            Self::AnotherUser => "this device belongs to somebody else",
            Self::Tagged => "this device, or the host, belongs to a tag and not to a person",
            Self::ThisNode => "this is the host itself, by its Tailscale address",
            Self::Host => "this device is a host of the fleet",
            Self::Dropped => "this device was dropped from the fleet",
        }
    }
}

/// Decides whose device has the address `peer`.
pub(crate) fn whose(
    device: Option<&Device>,
    own: Option<&Own>,
    peer: IpAddr,
    standing: impl Fn(&Device) -> Standing,
) -> Whose {
    let (Some(device), Some(own)) = (device, own) else { return Whose::Unknown };
    let peer = peer.to_canonical();
    if !device.ips.contains(&peer) {
        return Whose::Unknown;
    }
    let standing = standing(device);
    if standing == Standing::Dropped {
        Whose::Dropped
    } else if device.stable_id == own.stable_id || own.ips.contains(&peer) {
        Whose::ThisNode
    } else if device.tagged || own.tagged {
        Whose::Tagged
    } else if device.shared || device.user != own.user {
        Whose::AnotherUser
    } else if standing == Standing::Host {
        Whose::Host
    } else {
        Whose::Own
    }
}

/// What a device is to a fleet: by the StableNodeID that its member stated, else by its addresses.
pub(crate) fn standing(members: &Members, device: &Device) -> Standing {
    standing_of(members, Some(&device.stable_id), &device.ips)
}

/// What a device is to a fleet of which nobody tells more than its address.
pub(crate) fn standing_at(members: &Members, ip: IpAddr) -> Standing {
    standing_of(members, None, &[ip.to_canonical()])
}

fn standing_of(members: &Members, id: Option<&str>, ips: &[IpAddr]) -> Standing {
    let is = |member: &&rrd_core::fleet::members::Member| match (&member.tailscale, id) {
        (Some(stated), Some(id)) => stated == id,
        _ => member.addresses.iter().any(|address| ips.contains(&address.ip())),
    };
    if members.now().any(|member| is(&member)) {
        return Standing::Host;
    }
    let mut past = members.ever().filter(is).peekable();
    if past.peek().is_none() {
        return Standing::None;
    }
    // One that left by its own word is not a lost one.
    let left = past.all(|member| members.dropped(member.node()) == Some(member.node()));
    if left { Standing::Host } else { Standing::Dropped }
}

/// Whoever knows the tailnet.
#[derive(Debug)]
pub(crate) struct Tailnet {
    socket: Option<PathBuf>,
    /// Whether the `tailscale` program is asked where there is no socket.
    program: bool,
    turns: Semaphore,
    known: Mutex<Known>,
}

/// What is asked.
#[derive(Debug, Clone, Copy)]
enum Question {
    Whois(SocketAddr),
    Status,
}

impl Tailnet {
    /// This machine's tailscaled.
    pub(crate) fn system() -> Self {
        let socket = match std::env::consts::OS {
            "windows" => None,
            "macos" => Some("/var/run/tailscaled.socket".into()),
            _ => Some("/var/run/tailscale/tailscaled.sock".into()),
        };
        Self::new(socket, true)
    }

    /// The one behind this socket, and no other.
    pub(crate) fn at(socket: PathBuf) -> Self {
        Self::new(Some(socket), false)
    }

    fn new(socket: Option<PathBuf>, program: bool) -> Self {
        let turns = Semaphore::new(MAX_ASKING);
        Self { socket, program, turns, known: Mutex::default() }
    }

    /// Which device is at the other end of a connection from `peer`.
    pub(crate) async fn device(&self, peer: SocketAddr) -> Option<Arc<Device>> {
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        if !is_tailscale(peer.ip()) {
            return None;
        }
        let known = || self.known().device(peer.ip(), Instant::now());
        if let Some(known) = known() {
            return known;
        }
        let asks = async {
            let _turn = self.turns.acquire().await.ok()?;
            match known() {
                Some(known) => known,
                None => {
                    let said = self.ask(Question::Whois(peer)).await?;
                    read_device(&said).map(Arc::new)
                }
            }
        };
        let found = timeout(PATIENCE, asks).await.ok().flatten();
        self.known().keep_device(peer.ip(), found.clone(), Instant::now());
        found
    }

    /// Who this node is in the tailnet.
    pub(crate) async fn own(&self) -> Option<Arc<Own>> {
        let known = || self.known().own(Instant::now());
        if let Some(known) = known() {
            return known;
        }
        let asks = async {
            let _turn = self.turns.acquire().await.ok()?;
            match known() {
                Some(known) => known,
                None => read_own(&self.ask(Question::Status).await?).map(Arc::new),
            }
        };
        let found = timeout(PATIENCE, asks).await.ok().flatten();
        self.known().own = Some((Instant::now(), found.clone()));
        found
    }

    async fn ask(&self, question: Question) -> Option<Vec<u8>> {
        if let Some(socket) = self.socket.as_ref().filter(|path| !self.program || path.exists()) {
            return local_api::ask(socket, &question.path()).await;
        }
        if !self.program {
            return None;
        }
        let said = tokio::task::spawn_blocking(move || {
            let args = question.args();
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            ask_tailscale(&args)
        });
        said.await.ok().flatten().map(String::into_bytes).filter(|said| said.len() <= MAX_SAID)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Question {
    /// Of the LocalAPI.
    fn path(self) -> String {
        match self {
            // Brackets of IPv6 do not belong in a query as they are.
            Self::Whois(peer) => {
                let peer = peer.to_string().replace('[', "%5B").replace(']', "%5D");
                format!("/localapi/v0/whois?addr={peer}")
            }
            Self::Status => "/localapi/v0/status?peers=false".to_owned(),
        }
    }

    /// Of the `tailscale` program.
    fn args(self) -> Vec<String> {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        match self {
            Self::Whois(peer) => words(&["whois", "--json", &peer.to_string()]),
            Self::Status => words(&["status", "--json", "--peers=false"]),
        }
    }
}

#[cfg(unix)]
mod local_api {
    //! HTTP/1 over tailscaled's Unix socket.

    use std::path::Path;

    use bytes::Bytes;
    use http_body_util::{BodyExt, Empty, Limited};
    use hyper::{Request, StatusCode, client::conn::http1, header::HOST};
    use hyper_util::rt::TokioIo;
    use tokio::net::UnixStream;
    use tokio_util::task::AbortOnDropHandle;

    /// The name it wants to be called by.
    const NAME: &str = "local-tailscaled.sock";

    /// What it says when it says 200; nothing for all else.
    pub(super) async fn ask(socket: &Path, path: &str) -> Option<Vec<u8>> {
        let stream = UnixStream::connect(socket).await.ok()?;
        let (mut asks, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
        let _drives = AbortOnDropHandle::new(tokio::spawn(connection));
        let request = Request::get(path).header(HOST, NAME).body(Empty::<Bytes>::new()).ok()?;
        let answer = asks.send_request(request).await.ok()?;
        if answer.status() != StatusCode::OK {
            return None;
        }
        let said = Limited::new(answer.into_body(), super::MAX_SAID).collect().await.ok()?;
        Some(said.to_bytes().to_vec())
    }
}

#[cfg(not(unix))]
mod local_api {
    //! Where there is none.

    pub(super) async fn ask(_: &std::path::Path, _: &str) -> Option<Vec<u8>> {
        None
    }
}

/// What was found out, and when.
#[derive(Debug, Default)]
struct Known {
    devices: HashMap<IpAddr, (Instant, Option<Arc<Device>>)>,
    own: Option<(Instant, Option<Arc<Own>>)>,
}

impl Known {
    fn device(&self, ip: IpAddr, now: Instant) -> Option<Option<Arc<Device>>> {
        still_known(self.devices.get(&ip)?, DEVICE_KNOWN, now)
    }

    fn own(&self, now: Instant) -> Option<Option<Arc<Own>>> {
        still_known(self.own.as_ref()?, OWN_KNOWN, now)
    }

    fn keep_device(&mut self, ip: IpAddr, found: Option<Arc<Device>>, now: Instant) {
        if self.devices.len() >= MAX_KNOWN && !self.devices.contains_key(&ip) {
            self.devices.retain(|_, known| still_known(known, DEVICE_KNOWN, now).is_some());
            let oldest = self.devices.iter().min_by_key(|(_, (at, _))| *at).map(|(ip, _)| *ip);
            // All of them are fresh.
            if let Some(oldest) = oldest.filter(|_| self.devices.len() >= MAX_KNOWN) {
                self.devices.remove(&oldest);
            }
        }
        self.devices.insert(ip, (now, found));
    }
}

fn still_known<T>(
    (at, found): &(Instant, Option<Arc<T>>),
    long: Duration,
    now: Instant,
) -> Option<Option<Arc<T>>> {
    let long = if found.is_some() { long } else { NOT_KNOWN };
    (now.duration_since(*at) < long).then(|| found.clone())
}

fn read_device(said: &[u8]) -> Option<Device> {
    #[derive(Deserialize)]
    struct WhoIs {
        #[serde(rename = "Node")]
        node: Node,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Node {
        #[serde(rename = "StableID")]
        stable_id: String,
        user: u64,
        #[serde(default)]
        sharer: Option<u64>,
        #[serde(default)]
        tags: Option<Vec<String>>,
        addresses: Vec<String>,
    }
    let WhoIs { node } = serde_json::from_slice(said).ok()?;
    // Prefixes that stand for one address each.
    let ip = |prefix: &String| {
        let (ip, bits) = prefix.split_once('/')?;
        let ip: IpAddr = ip.parse().ok()?;
        (bits == if ip.is_ipv4() { "32" } else { "128" }).then_some(ip)
    };
    let device = Device {
        stable_id: node.stable_id,
        user: node.user,
        tagged: node.tags.is_some_and(|tags| !tags.is_empty()),
        shared: node.sharer.is_some_and(|sharer| sharer != 0),
        ips: node.addresses.iter().filter_map(ip).take(MAX_IPS).collect(),
    };
    (is_id(&device.stable_id) && device.user != 0 && !device.ips.is_empty()).then_some(device)
}

fn read_own(said: &[u8]) -> Option<Own> {
    #[derive(Deserialize)]
    struct Status {
        #[serde(rename = "BackendState")]
        state: String,
        #[serde(rename = "Self")]
        own: Peer,
    }
    #[derive(Deserialize)]
    struct Peer {
        #[serde(rename = "ID")]
        id: String,
        #[serde(rename = "UserID")]
        user: u64,
        #[serde(rename = "Tags", default)]
        tags: Option<Vec<String>>,
        #[serde(rename = "TailscaleIPs")]
        ips: Vec<IpAddr>,
        #[serde(rename = "DNSName", default)]
        name: String,
    }
    let Status { state, own } = serde_json::from_slice(said).ok()?;
    let name = own.name.trim_end_matches('.').to_ascii_lowercase();
    let is_name = |name: &String| {
        let letter = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
        (1..=253).contains(&name.len()) && name.chars().all(letter)
    };
    let own = Own {
        stable_id: own.id,
        user: own.user,
        tagged: own.tags.is_some_and(|tags| !tags.is_empty()),
        ips: own.ips.into_iter().take(MAX_IPS).collect(),
        dns_name: Some(name).filter(is_name),
    };
    (state == "Running" && is_id(&own.stable_id) && own.user != 0 && !own.ips.is_empty())
        .then_some(own)
}

fn is_id(id: &str) -> bool {
    (1..=MAX_ID).contains(&id.len()) && id.chars().all(|c| c.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests;
