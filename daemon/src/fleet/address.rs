//! Where this node listens: on its Tailscale address, else on loopback, or where it is told.
//!
//! One port number for datagrams and connections alike; when either is taken, the next. Not here: what
//! comes in.

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    process::{Command, Stdio},
    str::FromStr,
    sync::mpsc,
    time::Duration,
};

/// Where peers are expected, unless told otherwise.
pub(crate) const PORT: u16 = 7731;

/// How many ports are tried.
const TRIES: u16 = 32;

/// Tailscale's own service address: the way to it leads through its interface.
const TAILSCALE_SERVICE: (Ipv4Addr, u16) = (Ipv4Addr::new(100, 100, 100, 100), 53);

/// How long the `tailscale` program may take.
const PATIENCE: Duration = Duration::from_secs(2);

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
pub(crate) struct Bound {
    pub(crate) tcp: TcpListener,
    pub(crate) udp: UdpSocket,
    pub(crate) address: SocketAddr,
    pub(crate) note: Option<String>,
}

/// Binds where the setting says. Blocks while `tailscale` is asked.
pub(crate) fn bind(listen: Listen) -> io::Result<Bound> {
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
    match bind_from(ip, listen.port) {
        Ok((tcp, udp, address)) => {
            let moved = (listen.port != 0 && address.port() != listen.port)
                .then(|| format!("port {} is taken", listen.port));
            let note = [moved, found].into_iter().flatten().collect::<Vec<_>>().join("; ");
            Ok(Bound { tcp, udp, address, note: (!note.is_empty()).then_some(note) })
        }
        Err(error) => Err(io::Error::new(error.kind(), format!("{ip}: {error}"))),
    }
}

fn bind_from(ip: IpAddr, first: u16) -> io::Result<(TcpListener, UdpSocket, SocketAddr)> {
    let mut tried = 0;
    loop {
        let port = if first == 0 { 0 } else { first.saturating_add(tried) };
        let both = || {
            let tcp = TcpListener::bind((ip, port))?;
            let address = tcp.local_addr()?;
            let udp = UdpSocket::bind(address)?;
            tcp.set_nonblocking(true)?;
            udp.set_nonblocking(true)?;
            Ok::<_, io::Error>((tcp, udp, address))
        };
        tried += 1;
        match both() {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && tried < TRIES => {}
            other => return other,
        }
    }
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

/// 100.64.0.0/10, shared address space (RFC 6598), of which Tailscale gives its addresses.
fn is_tailscale(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V4(ip) if ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64)
}

fn ask_tailscale(args: &[&str]) -> Option<String> {
    let mut command = Command::new("tailscale");
    command.args(args).stdin(Stdio::null()).stderr(Stdio::null());
    let (tell, told) = mpsc::channel();
    // One that hangs keeps its thread; whoever asked goes on.
    std::thread::Builder::new()
        .name("rrd-tailscale".into())
        .spawn(move || tell.send(command.output()))
        .ok()?;
    let output = told.recv_timeout(PATIENCE).ok()?.ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
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
    }

    #[test]
    fn a_port_that_is_taken_for_either_is_passed_by() {
        let local = Ipv4Addr::LOCALHOST.into();
        let (_tcp, _udp, address) = bind_from(local, 0).unwrap();
        let listen = Listen { ip: Some(local), port: address.port() };
        let bound = bind(listen).unwrap();
        assert!(bound.address.port() > address.port());
        assert_eq!(bound.udp.local_addr().unwrap(), bound.address);
        assert!(bound.note.unwrap().contains("is taken"));
    }
}
