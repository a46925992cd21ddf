//! Where this node listens: on its Tailscale address, else on loopback, or where it is told.
//!
//! One port number for datagrams and connections alike; when either is taken, the next. Not here: what
//! comes in.

use std::{
    collections::BTreeMap,
    fmt,
    io::{self, Read},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    process::{Child, Command, Stdio},
    str::FromStr,
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::Duration,
};

use serde::Deserialize;

/// Where peers are expected, unless told otherwise.
pub(crate) const PORT: u16 = 7731;

/// How many ports are tried.
const TRIES: u16 = 32;

/// Tailscale's own service address: the way to it leads through its interface.
const TAILSCALE_SERVICE: (Ipv4Addr, u16) = (Ipv4Addr::new(100, 100, 100, 100), 53);

/// How long the `tailscale` program may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// What it may say, in bytes: a tailnet of thousands.
const MAX_SAID: u64 = 8 << 20;

/// Addresses of one host, at most.
const MAX_IPS: usize = 4;

/// Who waits for what it says. One that hangs keeps its reader, if what it started holds its output.
static READERS: AtomicUsize = AtomicUsize::new(0);

/// As many of those, at most; then nobody asks any more.
const MAX_READERS: usize = 8;

/// The setting: `auto`, an address, or an address with a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen {
    /// `None`: the Tailscale address, else loopback.
    pub ip: Option<IpAddr>,
    /// The first port that is tried; 0 for any.
    pub port: u16,
}

impl Default for Listen {
    fn default() -> Self {
        Self { ip: None, port: PORT }
    }
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not auto, an address, or an address with a port");
        let (ip, port) = match text.parse::<SocketAddr>() {
            Ok(address) => (Some(address.ip()), address.port()),
            Err(_) => match text.strip_prefix("auto") {
                Some("") => (None, PORT),
                Some(port) => {
                    let port = port.strip_prefix(':').and_then(|port| port.parse().ok());
                    (None, port.ok_or_else(wrong)?)
                }
                None => (Some(text.parse::<IpAddr>().map_err(|_| wrong())?), PORT),
            },
        };
        if ip.is_some_and(|ip| ip.is_multicast()) {
            return Err(wrong());
        }
        Ok(Self { ip, port })
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ip {
            Some(ip) => write!(f, "{}", SocketAddr::new(ip, self.port)),
            None => write!(f, "auto:{}", self.port),
        }
    }
}

/// Sockets at one address, and what is to be said of it.
#[derive(Debug)]
pub(crate) struct Bound<S> {
    pub(crate) sockets: S,
    pub(crate) address: SocketAddr,
    /// Why it is not where it was wanted.
    pub(crate) note: Option<String>,
}

/// Binds where the setting says. Blocks while `tailscale` is asked.
pub(crate) fn bind(listen: Listen) -> io::Result<Bound<(TcpListener, UdpSocket)>> {
    let (ip, found) = match listen.ip {
        Some(ip) => (ip, None),
        None => match tailscale() {
            Some(ip) => (ip, None),
            None => {
                let note = "no Tailscale address: only this machine reaches it; [fleet] listen \
                            names another"
                    .to_owned();
                (Ipv4Addr::LOCALHOST.into(), Some(note))
            }
        },
    };
    let bound = bind_from(SocketAddr::new(ip, listen.port), |at| {
        let tcp = TcpListener::bind(at)?;
        let address = tcp.local_addr()?;
        let udp = UdpSocket::bind(address)?;
        tcp.set_nonblocking(true)?;
        udp.set_nonblocking(true)?;
        Ok(((tcp, udp), address))
    })?;
    let note = [bound.note, found].into_iter().flatten().collect::<Vec<_>>().join("; ");
    Ok(Bound { note: (!note.is_empty()).then_some(note), ..bound })
}

/// Binds there, or at the next port that is free; at port 0, at any.
pub(crate) fn bind_from<S>(
    wanted: SocketAddr,
    bind: impl Fn(SocketAddr) -> io::Result<(S, SocketAddr)>,
) -> io::Result<Bound<S>> {
    let mut at = wanted;
    for left in (0..TRIES).rev() {
        match bind(at) {
            Ok((sockets, address)) => {
                let moved = at.port() != wanted.port();
                let note = moved.then(|| format!("port {} is taken", wanted.port()));
                return Ok(Bound { sockets, address, note });
            }
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && left > 0 => {
                if wanted.port() != 0 {
                    at.set_port(at.port().saturating_add(1));
                }
            }
            Err(error) => return Err(io::Error::new(error.kind(), format!("{at}: {error}"))),
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
}

/// This host's Tailscale address, if it has one.
pub(crate) fn tailscale() -> Option<IpAddr> {
    by_route().or_else(by_program)
}

/// The address this host would have towards Tailscale's service. Nothing is sent.
pub(crate) fn by_route() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect(TAILSCALE_SERVICE).ok()?;
    let ip = socket.local_addr().ok()?.ip();
    is_tailscale(ip).then_some(ip)
}

/// What others are told of a socket's address: of one that stands for all, the one that leads out.
pub(crate) fn reachable(bound: SocketAddr) -> SocketAddr {
    if !bound.ip().is_unspecified() {
        return bound;
    }
    // Of TEST-NET-1 (RFC 5737): nothing is sent, and nobody has it.
    let out = || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 53)).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    let ip = by_route().or_else(out).unwrap_or(Ipv4Addr::LOCALHOST.into());
    SocketAddr::new(ip, bound.port())
}

fn by_program() -> Option<IpAddr> {
    let said = ask_tailscale(&["ip", "-4"])?;
    let ip = said.lines().next()?.trim().parse().ok()?;
    // What cannot be bound is of no use: where Tailscale runs without an interface, say.
    (is_tailscale(ip) && UdpSocket::bind((ip, 0)).is_ok()).then_some(ip)
}

/// This host's StableNodeID, where Tailscale runs.
pub(crate) fn stable_node_id() -> Option<String> {
    let said = ask_tailscale(&["status", "--json", "--peers=false"])?;
    let status: serde_json::Value = serde_json::from_str(&said).ok()?;
    let id = status.get("Self")?.get("ID")?.as_str()?;
    (!id.is_empty() && id.len() <= 64).then(|| id.to_owned())
}

/// 100.64.0.0/10 and fd7a:115c:a1e0::/48, of which Tailscale gives its addresses
/// (<https://pkg.go.dev/tailscale.com/net/tsaddr>).
pub(crate) fn is_tailscale(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64,
        IpAddr::V6(ip) => ip.segments()[..3] == [0xfd7a, 0x115c, 0xa1e0],
    }
}

/// Where Tailscale has the other hosts, by StableNodeID. Blocks.
pub(crate) fn peers() -> BTreeMap<String, Vec<IpAddr>> {
    ask_tailscale(&["status", "--json"]).map(|said| read_peers(&said)).unwrap_or_default()
}

/// What `tailscale status --json` says of other hosts: its `Peer` is a map of `PeerStatus`
/// (<https://pkg.go.dev/tailscale.com/ipn/ipnstate>), with `ID` and `TailscaleIPs`.
fn read_peers(said: &str) -> BTreeMap<String, Vec<IpAddr>> {
    #[derive(Deserialize)]
    struct Status {
        #[serde(rename = "Peer", default)]
        peers: Option<BTreeMap<String, serde_json::Value>>,
    }
    let read = |peer: serde_json::Value| {
        let id = peer.get("ID")?.as_str()?.to_owned();
        let ips = peer.get("TailscaleIPs")?.as_array()?.iter();
        let ips = ips.filter_map(|ip| ip.as_str()?.parse::<IpAddr>().ok());
        let ips = ips.filter(|ip| !ip.is_multicast() && !ip.is_unspecified());
        Some((id, ips.take(MAX_IPS).collect()))
    };
    let status = serde_json::from_str::<Status>(said).ok();
    let peers = status.and_then(|status| status.peers).unwrap_or_default();
    peers.into_values().filter_map(read).collect()
}

/// What the program says: within [`PATIENCE`], and no more than [`MAX_SAID`].
pub(crate) fn ask_tailscale(args: &[&str]) -> Option<String> {
    // Without a path the system would look in places that nobody has named.
    std::env::var_os("PATH")?;
    let mut command = Command::new("tailscale");
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    if READERS.fetch_add(1, Ordering::SeqCst) >= MAX_READERS {
        READERS.fetch_sub(1, Ordering::SeqCst);
        return None;
    }
    let (tell, told) = mpsc::channel();
    let mut child = command.spawn().ok();
    let stdout = child.as_mut().and_then(|child| child.stdout.take());
    let reads = move || {
        let mut said = Vec::new();
        let read = stdout.map(|stdout| stdout.take(MAX_SAID + 1).read_to_end(&mut said));
        READERS.fetch_sub(1, Ordering::SeqCst);
        let _ = tell.send(said).map(|()| read);
    };
    let reader = std::thread::Builder::new().name("rrd-tailscale".into()).spawn(reads);
    if reader.is_err() {
        READERS.fetch_sub(1, Ordering::SeqCst);
    }
    let said = told.recv_timeout(PATIENCE).ok().filter(|said| said.len() as u64 <= MAX_SAID);
    let mut child = child?;
    if said.is_none() {
        let _ = child.kill();
    }
    // One that closes its output may go on all the same.
    let ended = ends(&mut child);
    said.filter(|_| ended).and_then(|said| String::from_utf8(said).ok())
}

/// Whether it ends well, and soon.
fn ends(child: &mut Child) -> bool {
    for _ in 0..20 {
        match child.try_wait() {
            Ok(Some(status)) => return status.success(),
            Ok(None) => std::thread::sleep(Duration::from_millis(50)),
            Err(_) => return false,
        }
    }
    let _ = child.kill();
    let _ = child.wait();
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_it_is_shown() {
        for (text, shown) in [
            ("auto", "auto:7731"),
            ("auto:0", "auto:0"),
            ("100.64.0.1", "100.64.0.1:7731"),
            ("127.0.0.1:0", "127.0.0.1:0"),
            ("[::1]:9", "[::1]:9"),
            ("::1", "[::1]:7731"),
        ] {
            let listen: Listen = text.parse().unwrap();
            assert_eq!(listen.to_string(), shown);
            assert_eq!(shown.parse(), Ok(listen));
        }
        for wrong in ["", "auto7", "auto:x", "host:7731", "224.0.0.1", "1.2.3.4:99999"] {
            assert!(wrong.parse::<Listen>().is_err(), "{wrong}");
        }
        assert!(is_tailscale([100, 127, 255, 255].into()));
        assert!(!is_tailscale([100, 128, 0, 0].into()) && !is_tailscale([100, 63, 0, 1].into()));
        assert!(is_tailscale("fd7a:115c:a1e0::1".parse().unwrap()));
        assert!(!is_tailscale("fd7a:115c:a1e1::1".parse().unwrap()));
    }

    #[test]
    fn of_what_tailscale_says_only_addresses_of_hosts_are_taken() {
        let ips = |ips: &[&str]| ips.iter().map(|ip| ip.parse().unwrap()).collect::<Vec<IpAddr>>();
        let said = r#"{"Version": "1.90", "Self": {"ID": "n0"}, "User": {"7": {}}, "Peer": {
            "nodekey:1": {"ID": "n1", "TailscaleIPs": ["100.64.0.9", "fd7a:115c:a1e0::9"], "Online": true},
            "nodekey:2": {"ID": "n2", "TailscaleIPs": ["0.0.0.0", "224.0.0.1", "desk", 7, null]},
            "nodekey:3": {"ID": 3, "TailscaleIPs": ["100.64.0.1"]},
            "nodekey:4": {"ID": "n4", "TailscaleIPs": null},
            "nodekey:5": {"ID": "n5", "TailscaleIPs": ["1.1.1.1", "1.1.1.2", "1.1.1.3", "1.1.1.4", "1.1.1.5"]},
            "nodekey:6": []}}"#;
        let found = read_peers(said);
        assert_eq!(found["n1"], ips(&["100.64.0.9", "fd7a:115c:a1e0::9"]));
        assert_eq!((found["n2"].len(), found["n5"].len(), found.len()), (0, MAX_IPS, 3));
        for nothing in
            ["", "null", "[]", "{\"Peer\": null}", "{\"Peer\": [1]}", &"{\"Peer\":".repeat(9_999)]
        {
            assert!(read_peers(nothing).is_empty());
        }
    }

    #[test]
    fn a_port_that_is_taken_for_either_is_passed_by() {
        let local = Ipv4Addr::LOCALHOST.into();
        let first = bind(Listen { ip: Some(local), port: 0 }).unwrap();
        assert_eq!(first.note, None);
        let listen = Listen { ip: Some(local), port: first.address.port() };
        let bound = bind(listen).unwrap();
        assert!(bound.address.port() > first.address.port());
        assert_eq!(bound.sockets.1.local_addr().unwrap(), bound.address);
        assert!(bound.note.unwrap().contains("is taken"));
    }
}
