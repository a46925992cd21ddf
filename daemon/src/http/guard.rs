//! Who may look: one table of where a request comes from and what it asks for.
//!
//! A local web server is asked by every page that a browser on this host shows. So before anything else a
//! request must name this host as this host is named, and must not be another site's; nothing writes but
//! the session store, for whoever has a token for that, and nothing tells other sites that they may read. Not here: which device is at the other end
//! ([`super::whois`]), and who was let in before ([`super::lookers`]).

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};

use super::problem::Problem;

/// Where a request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A program on this host, by itself.
    Loopback,
    /// A device of this node's own user on the tailnet.
    OwnDevice,
    /// Anybody else; whoever comes through a proxy, too.
    Other,
}

/// Bytes of a request's head, at most. Browsers show cookies of all ports of a host to each of them, so it is
/// not for a head of rrd's own making alone.
pub(crate) const MAX_HEAD: usize = 16 * 1024;

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// Nothing that anybody said: styles, icons, the way in.
    Open,
    /// Which sessions there are.
    List,
    /// What was said in one.
    Transcript,
    /// What programs keep in the session store, as they keep it: for tokens that were made for that, wherever
    /// they come from, and for nobody else.
    Store,
}

/// How an answer is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// By a person: a link from elsewhere may lead there.
    Page,
    /// By a program.
    Data,
}

/// A way to ask.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) path: &'static str,
    pub(crate) class: Class,
    pub(crate) form: Form,
    /// How it may be asked: the methods as `Allow` names them.
    pub(crate) allow: &'static str,
}

const fn route(path: &'static str, class: Class, form: Form) -> Route {
    Route { path, class, form, allow: READ_ONLY }
}

/// The methods of what is only read.
pub(crate) const READ_ONLY: &str = "GET, HEAD";

/// Every way to ask.
pub(crate) const ROUTES: [Route; 25] = [
    route("/", Class::List, Form::Page),
    route("/s/{host}/{harness}/{id}", Class::List, Form::Page),
    route("/pair", Class::Open, Form::Page),
    route("/style.css", Class::Open, Form::Data),
    route("/graph.css", Class::Open, Form::Data),
    route("/app.js", Class::Open, Form::Data),
    route("/icon.svg", Class::Open, Form::Data),
    route("/icon-180.png", Class::Open, Form::Data),
    route("/manifest.webmanifest", Class::Open, Form::Data),
    route("/healthz", Class::Open, Form::Data),
    route("/sessions", Class::List, Form::Data),
    route("/sessions/{host}/{harness}/{id}", Class::List, Form::Data),
    route("/sessions/{host}/{harness}/{id}/events", Class::Transcript, Form::Data),
    route("/sessions/{host}/{harness}/{id}/outline", Class::Transcript, Form::Data),
    route("/search", Class::Transcript, Form::Data),
    route("/find", Class::Transcript, Form::Page),
    route("/hosts", Class::List, Form::Data),
    route("/graph", Class::List, Form::Data),
    route("/waits", Class::List, Form::Page),
    route("/events", Class::List, Form::Data),
    route("/metrics", Class::List, Form::Data),
    route("/openapi.json", Class::List, Form::Data),
    Route {
        allow: "GET, HEAD, POST, DELETE",
        ..route("/session-store/entries", Class::Store, Form::Data)
    },
    route("/session-store/sessions", Class::Store, Form::Data),
    route("/session-store/subkeys", Class::Store, Form::Data),
];

/// The way that a path is, if it is one.
pub(crate) fn route_of(path: &str) -> Option<&'static Route> {
    let fits = |route: &&Route| {
        let (mut wanted, mut given) = (route.path.split('/'), path.split('/'));
        loop {
            match (wanted.next(), given.next()) {
                (None, None) => return true,
                (Some(wanted), Some(given)) if wanted.starts_with('{') && !given.is_empty() => {}
                (Some(wanted), Some(given)) if wanted == given => {}
                _ => return false,
            }
        }
    };
    ROUTES.iter().find(fits)
}

/// What the settings say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Openness {
    /// Programs on this host see the list without more.
    pub(crate) loopback: bool,
    /// Nobody sees anything without more.
    pub(crate) pairing_required: bool,
}

/// Whether who comes from there needs a cookie or a token for that. The table of DESIGN §8.
pub(crate) fn needs_pairing(origin: Origin, class: Class, open: Openness) -> bool {
    match (origin, class) {
        (_, Class::Open) => false,
        (_, Class::Store) => true,
        _ if open.pairing_required => true,
        (Origin::Loopback, Class::List) => !open.loopback,
        (Origin::Loopback, Class::Transcript) => true,
        (Origin::OwnDevice, _) => false,
        (Origin::Other, _) => true,
    }
}

/// One connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ends {
    pub(crate) peer: SocketAddr,
    pub(crate) local: SocketAddr,
}

impl Ends {
    /// Of addresses that are both shapes of one, the plain one.
    pub(crate) fn new(peer: SocketAddr, local: SocketAddr) -> Self {
        let plain =
            |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
        Self { peer: plain(peer), local: plain(local) }
    }
}

/// Headers that whoever passes a request on adds.
const FORWARDED: [&str; 9] = [
    "forwarded",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
    "tailscale-user-login",
    "tailscale-funnel-request",
    "cf-connecting-ip",
];

/// Whether a request came straight from a program on this host.
pub(crate) fn is_loopback(ends: Ends, host: &str, headers: &HeaderMap) -> bool {
    ends.peer.ip().is_loopback()
        && ends.local.ip().is_loopback()
        && is_loopback_name(host, ends.local.port())
        && !is_passed_on(headers)
}

/// Whether somebody says to have passed the request on.
pub(crate) fn is_passed_on(headers: &HeaderMap) -> bool {
    FORWARDED.iter().any(|name| headers.contains_key(*name))
}

/// Looks at all that can be told from a request alone: its method, whom it names, and whose it is.
/// Returns the host it named.
///
/// # Errors
/// The problem.
pub(crate) fn admit(
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    ends: Ends,
    names: &Names,
) -> Result<String, Problem> {
    if head_length(method, uri, headers) > MAX_HEAD {
        let detail = format!("a request's head has at most {MAX_HEAD} bytes");
        return Err(Problem::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, detail));
    }
    let host = named(uri, headers)?;
    if !names.has(&host, ends.local) {
        let detail = "this server does not go by the name it was asked by";
        let problem = Problem::new(StatusCode::MISDIRECTED_REQUEST, detail);
        return Err(problem.hint("hosts under [http] in config.toml names further ones"));
    }
    let route = route_of(uri.path());
    let allow = route.map_or(READ_ONLY, |route| route.allow);
    if !allow.split(", ").any(|allowed| allowed == method.as_str()) {
        let detail = match allow {
            READ_ONLY => "this is only read from",
            _ => "nothing is done here by that method",
        };
        return Err(Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail).allow(allow));
    }
    let form = route.map_or(Form::Data, |route| route.form);
    match is_anothers(&host, headers, form) {
        true => Err(Problem::new(StatusCode::FORBIDDEN, "another site asks for this")),
        false => Ok(host),
    }
}

/// How long the head is when written without needless spaces.
fn head_length(method: &Method, uri: &Uri, headers: &HeaderMap) -> usize {
    let path = uri.path_and_query().map_or(0, |path| path.as_str().len());
    let address = uri.scheme_str().map_or(0, |scheme| scheme.len() + "://".len())
        + uri.authority().map_or(0, |authority| authority.as_str().len());
    let lines =
        headers.iter().map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len());
    method.as_str().len() + address + path + "  HTTP/1.1\r\n\r\n".len() + lines.sum::<usize>()
}

/// The host a request names, in lower case.
fn named(uri: &Uri, headers: &HeaderMap) -> Result<String, Problem> {
    let bad = |detail: &str| Problem::new(StatusCode::BAD_REQUEST, detail);
    let mut given = headers.get_all(header::HOST).iter();
    let host = given.next().ok_or_else(|| bad("no Host is named"))?;
    if given.next().is_some() {
        return Err(bad("more than one Host is named"));
    }
    let host = host.to_str().map_err(|_| bad("the Host is no name"))?.to_ascii_lowercase();
    match uri.authority() {
        Some(authority) if !authority.as_str().eq_ignore_ascii_case(&host) => {
            Err(bad("the address and the Host name two"))
        }
        _ => Ok(host),
    }
}

/// Whether a browser says that another site asks. What it does not say passes: over plain http it says
/// little, and a program says nothing.
fn is_anothers(host: &str, headers: &HeaderMap, form: Form) -> bool {
    if let Some(origin) = headers.get(header::ORIGIN) {
        let own = |scheme: &str| origin.as_bytes() == format!("{scheme}://{host}").as_bytes();
        if !own("http") && !own("https") {
            return true;
        }
    }
    let fetch = |name: &str| headers.get(name).map(HeaderValue::as_bytes);
    match fetch("sec-fetch-site") {
        None | Some(b"same-origin" | b"none") => false,
        // A link that somebody followed; what comes of it another site cannot read.
        Some(_) => {
            let follows = fetch("sec-fetch-mode") == Some(b"navigate")
                && fetch("sec-fetch-dest") == Some(b"document");
            form != Form::Page || !follows
        }
    }
}

/// The names this server goes by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Names {
    /// Of config.toml, in lower case.
    pub(crate) given: Vec<String>,
    /// In the tailnet's DNS, in lower case and without the last dot.
    pub(crate) tailnet: Option<String>,
}

impl Names {
    fn has(&self, host: &str, local: SocketAddr) -> bool {
        let at = |name: &str| *host == format!("{name}:{}", local.port());
        // No DNS can lead an address elsewhere.
        let is_address = host.parse::<SocketAddr>().is_ok_and(|named| named == local);
        let is_tailnet = self.tailnet.as_ref().is_some_and(|name| {
            let short = name.split('.').next().unwrap_or(name);
            // Without a port it came through Tailscale's own server, which speaks https.
            host == name || at(name) || at(short)
        });
        is_address
            || local.ip().is_loopback() && is_loopback_name(host, local.port())
            || is_tailnet
            || self.given.iter().any(|name| host == name || at(name))
    }
}

fn is_loopback_name(host: &str, port: u16) -> bool {
    let Some(name) = host.strip_suffix(&format!(":{port}")) else { return false };
    name == "localhost"
        || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
        || name == format!("[{}]", Ipv6Addr::LOCALHOST)
}

/// What every answer says, whatever it is.
pub(crate) const HEADERS: [(HeaderName, &str); 7] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
         manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("permissions-policy"), "camera=(), microphone=(), geolocation=()"),
];

#[cfg(test)]
mod tests;
