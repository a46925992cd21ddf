//! Where the page and its JSON are served, and whom they are open to without pairing.
//!
//! Not here: who is who ([`super::guard`]).

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    str::FromStr,
};

use crate::fleet::is_tailscale;

/// Where browsers are expected, unless told otherwise.
pub(crate) const PORT: u16 = 7730;

/// `[http]` of config.toml.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HttpSettings {
    /// Where.
    pub(crate) listen: HttpListen,
    /// Programs on this host may look at the list without cookie or token.
    pub(crate) loopback_open: bool,
    /// Nobody looks at anything without cookie or token.
    pub(crate) pairing_required: bool,
    /// Names beside its own by which this host is asked, each with a port or without.
    pub(crate) hosts: Vec<String>,
    /// Where tailscaled's LocalAPI is, if not where this system has it: then nothing else is asked.
    pub(crate) tailscaled: Option<PathBuf>,
}

/// `auto`, `off`, or an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HttpListen {
    /// Nowhere.
    Off,
    /// On loopback; and on the Tailscale address, where somebody else is to look.
    Auto {
        /// The first one that is tried; 0 for any.
        port: u16,
    },
    /// Only there.
    At(SocketAddr),
}

impl HttpListen {
    /// Whether it can be reached from beyond this host and the tailnet.
    pub(crate) fn is_wide(self) -> bool {
        let Self::At(address) = self else { return false };
        let ip = address.ip().to_canonical();
        !ip.is_loopback() && !is_tailscale(ip)
    }
}

impl FromStr for HttpListen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not auto, off, an address, or an address with a port");
        if text == "off" {
            return Ok(Self::Off);
        }
        if let Some(rest) = text.strip_prefix("auto") {
            let port = match rest.strip_prefix(':') {
                Some(port) => port.parse().map_err(|_| wrong())?,
                None if rest.is_empty() => PORT,
                None => return Err(wrong()),
            };
            return Ok(Self::Auto { port });
        }
        let address = match text.parse::<SocketAddr>() {
            Ok(address) => address,
            Err(_) => SocketAddr::new(text.parse::<IpAddr>().map_err(|_| wrong())?, PORT),
        };
        match address.ip().is_multicast() {
            true => Err(wrong()),
            false => Ok(Self::At(address)),
        }
    }
}

impl fmt::Display for HttpListen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::Auto { port } => write!(f, "auto:{port}"),
            Self::At(address) => write!(f, "{address}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_it_is_shown() {
        for (text, shown) in [
            ("off", "off"),
            ("auto", "auto:7730"),
            ("auto:0", "auto:0"),
            ("127.0.0.1:0", "127.0.0.1:0"),
            ("100.64.0.1", "100.64.0.1:7730"),
            ("::1", "[::1]:7730"),
        ] {
            let listen: HttpListen = text.parse().unwrap();
            assert_eq!(listen.to_string(), shown);
            assert_eq!(shown.parse(), Ok(listen));
        }
        for wrong in ["", "on", "auto7", "auto:x", "host:7730", "224.0.0.1", "1.2.3.4:99999"] {
            assert!(wrong.parse::<HttpListen>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_more_than_the_tailnet_reaches_is_wide() {
        for (text, wide) in [
            ("off", false),
            ("auto", false),
            ("127.0.0.1:7730", false),
            ("[::1]:7730", false),
            ("[::ffff:127.0.0.1]:7730", false),
            ("100.100.1.2:7730", false),
            ("0.0.0.0:7730", true),
            ("[::]:7730", true),
            ("192.168.1.2:7730", true),
        ] {
            assert_eq!(text.parse::<HttpListen>().unwrap().is_wide(), wide, "{text}");
        }
    }
}
