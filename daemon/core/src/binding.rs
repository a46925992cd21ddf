//! How bindings stand, by what hosts say of each in a [`Register`](crate::register::Register).
//!
//! ```text
//! request → pending ─ accept ─→ active ─ revoke ─→ inactive
//!              ├─ reject ─→ rejected
//!              ├─ revoke ─→ inactive
//!              └─ a day ──→ expired
//! ```
//!
//! Words count in their order, each only where it fits what those before it made of the binding; so of two answers
//! that were given at one moment the first counts, the same one everywhere. Whether an answer came within the day
//! is seen by what it says of its own time. Not here: who may answer (whoever may use rrd on any host), how words
//! travel, and whose count.

use rrd_proto::{
    Edge, EdgeKind, EdgeState, NodeId, SessionKey, Timestamp,
    binding::{BindingDeed, BindingState, Scope, is_note},
    session_ref,
};
use serde::{Deserialize, Serialize};

use crate::{
    fleet::identity::Purpose,
    register::{Kept, Word},
    task::is_key,
};

const DAY: i64 = 24 * 3_600_000;

/// How long one can be answered, in milliseconds.
pub const ANSWERED_WITHIN: i64 = DAY;

/// How long one that is over is still told, in milliseconds.
pub const TOLD_FOR: i64 = 7 * DAY;

/// Bindings that are pending or active, at most.
pub const MOST_OPEN: usize = 500;

/// The same of one session.
pub const MOST_OF_ONE: usize = 32;

/// Bytes of an id, at most.
const MAX_ID: usize = 32;

/// A session, and the host that it is on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// The host.
    pub node: NodeId,
    /// The session.
    pub key: SessionKey,
}

impl End {
    /// As everywhere.
    #[must_use]
    pub fn reference(&self) -> String {
        session_ref(&self.node.to_string(), &self.key)
    }
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Who asks.
    pub from: End,
    /// Who is asked.
    pub to: End,
    /// What for: at least one, each once, in order.
    pub scopes: Vec<Scope>,
    /// One line on it.
    #[serde(default)]
    pub note: Option<String>,
}

/// A host's word on a binding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// The binding.
    pub binding: String,
    /// One more than the highest that its host knew.
    pub counter: u64,
    /// The host.
    pub node: NodeId,
    /// When, by that host's clock.
    pub at: Timestamp,
    /// What was done.
    pub deed: BindingDeed,
    /// With a request: what is asked for.
    pub request: Option<Request>,
}

#[derive(Serialize, Deserialize)]
struct Body {
    binding: String,
    counter: u64,
    at: Timestamp,
    deed: BindingDeed,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    request: Option<Request>,
}

/// Whether a text can name a binding.
#[must_use]
pub fn is_id(text: &str) -> bool {
    (1..=MAX_ID).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn is_sound(request: &Request) -> bool {
    let Request { from, to, scopes, note } = request;
    is_key(&from.key)
        && is_key(&to.key)
        && from != to
        && !scopes.is_empty()
        && scopes.is_sorted_by(|a, b| a < b)
        && note.as_deref().is_none_or(is_note)
}

impl Word for Said {
    const PURPOSE: Purpose = Purpose::Binding;
    const WORDS: usize = 16;
    const KEPT: Kept = Kept::First;
    const NAMES: usize = 1_000;

    fn name(&self) -> &str {
        &self.binding
    }

    fn place(&self) -> (u64, NodeId) {
        (self.counter, self.node)
    }

    fn at(&self) -> Timestamp {
        self.at
    }

    fn body(&self) -> Option<String> {
        let Self { binding, counter, node: _, at, deed, request } = self.clone();
        serde_json::to_string(&Body { binding, counter, at, deed, request }).ok()
    }

    fn of_body(node: NodeId, body: &str) -> Option<Self> {
        let Body { binding, counter, at, deed, request } = serde_json::from_str(body).ok()?;
        let is_whole = match (deed, &request) {
            (BindingDeed::Request, Some(request)) => is_sound(request),
            (BindingDeed::Request, None) | (_, Some(_)) => false,
            (_, None) => true,
        };
        let said = Self { binding, counter, node, at, deed, request };
        (is_whole && is_id(&said.binding)).then_some(said)
    }

    /// What was ended goes first.
    fn rank<'w>(words: impl Iterator<Item = &'w Self>) -> (bool, Option<Timestamp>) {
        words.fold((true, None), |(open, at), said| {
            let ends = matches!(said.deed, BindingDeed::Reject | BindingDeed::Revoke);
            (open && !ends, at.max(Some(said.at)))
        })
    }
}

/// How a binding stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing<'w> {
    /// What is asked for.
    pub request: &'w Request,
    /// How it stands.
    pub state: BindingState,
    /// Since when.
    pub since: Timestamp,
    /// Until when it can be answered.
    pub expires_at: Timestamp,
    /// The words that count, the oldest first.
    pub steps: Vec<&'w Said>,
}

impl<'w> Standing<'w> {
    /// By these words, in their order, at `now`; `None` where nobody has asked for anything.
    #[must_use]
    pub fn of(words: impl Iterator<Item = &'w Said>, now: Timestamp) -> Option<Self> {
        let mut standing: Option<Self> = None;
        for said in words {
            match (&mut standing, &said.request) {
                (None, Some(request)) => {
                    standing = Some(Self {
                        request,
                        state: BindingState::Pending,
                        since: said.at,
                        expires_at: said.at.plus(ANSWERED_WITHIN),
                        steps: vec![said],
                    });
                }
                (Some(standing), None) => {
                    if let Some(state) = standing.clone().at(said.at).after(said.deed) {
                        (standing.state, standing.since) = (state, said.at);
                        standing.steps.push(said);
                    }
                }
                (None, None) | (Some(_), Some(_)) => {}
            }
        }
        standing.map(|standing| standing.at(now))
    }

    fn at(mut self, now: Timestamp) -> Self {
        if self.state == BindingState::Pending && now >= self.expires_at {
            (self.state, self.since) = (BindingState::Expired, self.expires_at);
        }
        self
    }

    /// What becomes of it by this; `None` where it does not fit.
    #[must_use]
    pub fn after(&self, deed: BindingDeed) -> Option<BindingState> {
        match (self.state, deed) {
            (BindingState::Pending, BindingDeed::Accept) => Some(BindingState::Active),
            (BindingState::Pending, BindingDeed::Reject) => Some(BindingState::Rejected),
            (BindingState::Pending | BindingState::Active, BindingDeed::Revoke) => {
                Some(BindingState::Inactive)
            }
            _ => None,
        }
    }

    /// Whether it is pending or active.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.state, BindingState::Pending | BindingState::Active)
    }

    /// Whether it has been over for so long that nobody is told of it any more.
    #[must_use]
    pub fn is_past(&self, now: Timestamp) -> bool {
        !self.is_open() && now >= self.since.plus(TOLD_FOR)
    }

    /// Whether it is one of this session's.
    #[must_use]
    pub fn is_of(&self, end: &End) -> bool {
        self.request.from == *end || self.request.to == *end
    }

    /// Since when, by the clock of whoever shows it: `offset_ms` is what to add to a host's times for that.
    #[must_use]
    pub fn since_here(&self, offset_ms: impl Fn(NodeId) -> i64) -> Timestamp {
        // That it expired follows from when it was asked for.
        let by = match self.state {
            BindingState::Expired => self.steps.first(),
            _ => self.steps.last(),
        };
        self.since.plus(by.map_or(0, |said| offset_ms(said.node)))
    }

    /// As an edge of the graph; times as [`since_here`](Self::since_here) has them.
    #[must_use]
    pub fn edge(&self, id: &str, offset_ms: impl Fn(NodeId) -> i64) -> Edge {
        let scopes: Vec<&str> = self.request.scopes.iter().map(|scope| scope.as_str()).collect();
        Edge {
            from: self.request.from.reference(),
            to: self.request.to.reference(),
            kind: EdgeKind::Binding,
            state: match self.state {
                BindingState::Pending => EdgeState::Pending,
                BindingState::Active => EdgeState::Active,
                BindingState::Inactive | BindingState::Rejected | BindingState::Expired => {
                    EdgeState::Inactive
                }
            },
            since: Some(self.since_here(offset_ms)),
            evidence: format!("{}: {} ({id})", self.state, scopes.join(", ")),
            any: false,
            groups: Vec::new(),
        }
    }
}

/// Whether what is known under a name is to be kept no longer: it has been over for long, or nobody whose word
/// counts has asked for anything.
#[must_use]
pub fn is_past<'w>(
    all: impl Iterator<Item = &'w Said>,
    standing: Option<&Standing<'_>>,
    now: Timestamp,
) -> bool {
    match standing {
        Some(standing) => standing.is_past(now),
        None => all.map(Word::at).max().is_none_or(|at| now >= at.plus(TOLD_FOR)),
    }
}

#[cfg(test)]
mod tests;
