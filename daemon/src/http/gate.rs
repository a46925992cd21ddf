//! Who is at the other end of a request, and whether they may look at what they ask for.
//!
//! Not here: the rules ([`super::guard`]), who has which address ([`super::whois`]), and who was let in
//! ([`super::lookers`]).

use std::sync::PoisonError;

use axum::http::{HeaderMap, StatusCode, header, request::Parts};

use super::{
    Http,
    guard::{self, Class, Ends, Openness, Origin},
    lookers::{Binding, shown_cookies},
    problem::Problem,
    whois::{self, Whose},
};
use crate::hub::now;

/// Who asks, as far as it matters to what is answered.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    /// Transcripts may be read, too.
    pub(super) may_read: bool,
    /// It may because it was let in; where that ends, so does what it listens to.
    pub(super) by: Option<Credential>,
    /// What a cookie would be bound to.
    pub(super) device: Binding,
    /// The port of this server that it came in at.
    pub(super) port: u16,
}

/// What somebody was let in by.
#[derive(Clone)]
pub(super) enum Credential {
    Cookie(String),
    Token(String),
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credential")
    }
}

impl Http {
    /// Lets a request pass, or says why not.
    pub(super) async fn admit(&self, ends: Ends, head: &Parts) -> Result<Caller, Problem> {
        let Parts { method, uri, headers, .. } = head;
        let host = {
            let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
            guard::admit(method, uri, headers, ends, &names)?
        };
        let route = guard::route_of(uri.path());
        let port = ends.local.port();
        let is_pair = route.is_some_and(|route| route.path == "/pair");
        let class = route.map_or(Class::Open, |route| route.class);
        if class == Class::Open && !is_pair {
            return Ok(Caller { may_read: false, by: None, device: Binding::Elsewhere, port });
        }
        let (origin, device, why) = self.whence(ends, &host, headers).await?;
        let open = Openness {
            loopback: self.settings.loopback_open,
            pairing_required: self.settings.pairing_required,
        };
        let reads = !guard::needs_pairing(origin, Class::Transcript, open);
        if reads || is_pair {
            return Ok(Caller { may_read: reads, by: None, device, port });
        }
        let by = credentials(headers, port).into_iter().find(|by| self.counts(by, &device));
        if by.is_some() || !guard::needs_pairing(origin, class, open) {
            return Ok(Caller { may_read: by.is_some(), by, device, port });
        }
        Err(Problem::new(StatusCode::UNAUTHORIZED, why)
            .hint("rrd pair lets a phone in, rrd open a browser on this host, rrd token a script"))
    }

    /// Whether that still lets somebody in.
    pub(super) fn counts(&self, by: &Credential, device: &Binding) -> bool {
        match by {
            Credential::Cookie(cookie) => self.lookers.has_cookie(cookie, device, now()),
            Credential::Token(token) => self.lookers.has_token(token, now()),
        }
    }

    /// Where a request comes from, what a cookie would be bound to, and why it needs one.
    async fn whence(
        &self,
        ends: Ends,
        host: &str,
        headers: &HeaderMap,
    ) -> Result<(Origin, Binding, &'static str), Problem> {
        if guard::is_loopback(ends, host, headers) {
            let why = "a program on this host needs a cookie or a token for that";
            return Ok((Origin::Loopback, Binding::Loopback, why));
        }
        let elsewhere = "who asks is not known here";
        if !whois::is_tailscale(ends.local.ip()) || guard::is_passed_on(headers) {
            return Ok((Origin::Other, Binding::Elsewhere, elsewhere));
        }
        let (device, own) = tokio::join!(self.tailnet.device(ends.peer), self.tailnet.own());
        let members = self.answers.fleet.as_ref().as_ref().ok().map(|fleet| fleet.members());
        let standing = |device: &whois::Device| match &members {
            Some(members) => whois::standing(members, device),
            None => whois::Standing::None,
        };
        let whose = whois::whose(device.as_deref(), own.as_deref(), ends.peer.ip(), standing);
        let binding =
            device.map_or(Binding::Elsewhere, |device| Binding::Tailnet(device.stable_id.clone()));
        match whose {
            Whose::Own => Ok((Origin::OwnDevice, binding, elsewhere)),
            // Lost, perhaps: no cookie that it has helps it.
            Whose::Dropped => Err(Problem::new(StatusCode::FORBIDDEN, whose.why())),
            other => Ok((Origin::Other, binding, other.why())),
        }
    }
}

/// What a request shows to be let in by. Cookies of programs at other ports of this host come, too.
fn credentials(headers: &HeaderMap, port: u16) -> Vec<Credential> {
    let values = |name| headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    let bearers = values(header::AUTHORIZATION).filter_map(|value| value.split_once(' '));
    let bearers = bearers.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let tokens = bearers.map(|(_, token)| Credential::Token(token.trim().to_owned()));
    let cookies = values(header::COOKIE).flat_map(|header| shown_cookies(header, port));
    tokens.chain(cookies.map(|cookie| Credential::Cookie(cookie.to_owned()))).collect()
}
