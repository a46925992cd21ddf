//! Who is at the other end of a request, and whether they may look at what they ask for.
//!
//! Not here: the rules ([`super::guard`]), who has which address ([`super::whois`]), and who was let in
//! ([`super::lookers`]).

use std::sync::{Arc, PoisonError};

use axum::http::{HeaderMap, HeaderName, StatusCode, header, request::Parts};
use rrd_core::fleet::members::Members;
use zeroize::Zeroizing;

use super::{
    Http,
    guard::{self, Class, Ends, Openness, Origin},
    lookers::{Binding, shown_cookies},
    problem::Problem,
    whois::{self, Whose},
};
use crate::{fleet::is_tailscale, hub::now};

/// Who asks, as far as it matters to what is answered.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    /// Transcripts may be read, too.
    pub(super) may_read: bool,
    /// What a cookie would be bound to.
    pub(super) device: Binding,
    /// Whence.
    pub(super) ends: Ends,
}

/// What of a request tells who asks and for what. Whoever listens is asked for it again and again, so it is apart from
/// the rest of a request, which is larger.
#[derive(Clone)]
pub(super) struct Asker {
    ends: Ends,
    class: Class,
    is_pair: bool,
    /// Straight from a program on this host.
    is_loopback: bool,
    is_passed_on: bool,
    credentials: Vec<Credential>,
}

/// What somebody shows to be let in by.
#[derive(Clone)]
enum Credential {
    Cookie(Zeroizing<String>),
    Token(Zeroizing<String>),
}

impl Http {
    /// Reads who asks, or says what cannot be asked by anybody.
    pub(super) fn asker(&self, ends: Ends, head: &Parts) -> Result<Asker, Problem> {
        let Parts { method, uri, headers, .. } = head;
        let host = {
            let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
            guard::admit(method, uri, headers, ends, &names)?
        };
        let route = guard::route_of(uri.path());
        Ok(Asker {
            ends,
            class: route.map_or(Class::Open, |route| route.class),
            is_pair: route.is_some_and(|route| route.path == "/pair"),
            is_loopback: guard::is_loopback(ends, &host, headers),
            is_passed_on: guard::is_passed_on(headers),
            credentials: credentials(headers, ends.local.port()).collect(),
        })
    }

    /// Lets a request pass, or says why not.
    pub(super) async fn admit(&self, asker: &Asker) -> Result<Caller, Problem> {
        let Asker { ends, class, is_pair, .. } = *asker;
        if class == Class::Open && !is_pair {
            return Ok(Caller { may_read: false, device: Binding::Elsewhere, ends });
        }
        let (origin, device, why) = self.whence(asker).await?;
        let open = Openness {
            loopback: self.settings.loopback_open,
            pairing_required: self.settings.pairing_required,
        };
        if class == Class::Store {
            let tokens = asker.credentials.iter().filter_map(|by| match by {
                Credential::Token(token) => Some(token),
                Credential::Cookie(_) => None,
            });
            let is_let_in = tokens.into_iter().any(|token| self.lookers.has_store(token, now()));
            return match is_let_in {
                true => Ok(Caller { may_read: false, device, ends }),
                false => Err(Problem::new(
                    StatusCode::UNAUTHORIZED,
                    "the session store needs a token that was made for it",
                )
                .hint("rrd token --session-store makes one")),
            };
        }
        let reads = !guard::needs_pairing(origin, Class::Transcript, open);
        if reads || is_pair {
            return Ok(Caller { may_read: reads, device, ends });
        }
        let may_read = asker.credentials.iter().any(|by| match by {
            Credential::Cookie(cookie) => self.lookers.has_cookie(cookie, &device, now()),
            Credential::Token(token) => self.lookers.has_token(token, now()),
        });
        if may_read || !guard::needs_pairing(origin, class, open) {
            return Ok(Caller { may_read, device, ends });
        }
        Err(Problem::new(StatusCode::UNAUTHORIZED, why)
            .hint("rrd pair lets a phone in, rrd open a browser on this host, rrd token a script"))
    }

    /// Where a request comes from, what a cookie would be bound to, and why it needs one.
    async fn whence(&self, asker: &Asker) -> Result<(Origin, Binding, &'static str), Problem> {
        let Asker { ends, is_loopback, is_passed_on, .. } = *asker;
        if is_loopback {
            let why = "a program on this host needs a cookie or a token for that";
            return Ok((Origin::Loopback, Binding::Loopback, why));
        }
        let elsewhere = "who asks is not known here";
        if !is_tailscale(ends.local.ip()) || is_passed_on {
            return Ok((Origin::Other, Binding::Elsewhere, elsewhere));
        }
        let (device, own) = tokio::join!(self.tailnet.device(ends.peer), self.tailnet.own());
        let members = self.answers.fleet.as_ref().as_ref().ok().map(|fleet| fleet.members());
        let standing = |device: &whois::Device| match &members {
            Some(members) => whois::standing(members, device),
            None => whois::Standing::None,
        };
        let is_dropped = |members: &Arc<Members>| {
            whois::standing_at(members, ends.peer.ip()) == whois::Standing::Dropped
        };
        let whose = match whois::whose(device.as_deref(), own.as_deref(), ends.peer.ip(), standing)
        {
            // Nobody tells which device it is, but it has the address of one that was dropped.
            Whose::Unknown if members.as_ref().is_some_and(is_dropped) => Whose::Dropped,
            whose => whose,
        };
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
fn credentials(headers: &HeaderMap, port: u16) -> impl Iterator<Item = Credential> {
    let values =
        |name: HeaderName| headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    let owned = |text: &str| Zeroizing::new(text.to_owned());
    let bearers = values(header::AUTHORIZATION).filter_map(|value| value.split_once(' '));
    let bearers = bearers.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let tokens = bearers.map(move |(_, token)| Credential::Token(owned(token.trim())));
    let cookies = values(header::COOKIE).flat_map(move |header| shown_cookies(header, port));
    tokens.chain(cookies.map(move |cookie| Credential::Cookie(owned(cookie))))
}
