//! What `rrd pair`, `rrd open` and `rrd token` ask of the daemon on this host, and what it is told.
//!
//! [`Looker`] in JSON is a contract like a session's. Not here: who may look at what without being let in.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// One question or order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum LookerCall {
    /// A code that lets one browser in, on any device that reaches the page.
    Pair,
    /// A code that lets one browser of this machine in.
    Open,
    /// A token for a script, and what to call it.
    Token {
        /// What its maker calls it.
        label: Option<String>,
        /// For the session store, and for nothing else.
        session_store: bool,
    },
    /// Who was let in.
    List(LookerKind),
    /// Lets nobody, or one, of these in any more.
    Revoke {
        /// Of which kind.
        kind: LookerKind,
        /// Its id, or the start of it; `None` for all.
        id: Option<String>,
    },
}

/// The answer to a call that was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum LookerReply {
    /// A code, and where to show it.
    Code(LookerCode),
    /// A token.
    Token(LookerToken),
    /// Who was let in.
    Lookers(Vec<Looker>),
    /// So many are let in no more.
    Revoked(u32),
}

/// How somebody was let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LookerKind {
    /// A browser, with a cookie.
    Browser,
    /// A script, with a token.
    Script,
}

/// A code in the addresses that take it: good for one browser, for five minutes.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LookerCode {
    /// The addresses, the best first; each holds the code. Secret.
    pub urls: Vec<String>,
    /// Until when it is good.
    pub until: Timestamp,
    /// Whether only this machine can reach them.
    pub only_here: bool,
    /// Why there is no better address.
    pub note: Option<String>,
}

impl fmt::Debug for LookerCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LookerCode").field("until", &self.until).finish_non_exhaustive()
    }
}

/// A token as it is made: it is shown once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LookerToken {
    /// What takes it back.
    pub id: String,
    /// What it is called.
    pub label: String,
    /// What goes behind `Authorization: Bearer`. Secret.
    pub token: String,
}

impl fmt::Debug for LookerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LookerToken").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Somebody who was let in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Looker {
    /// What takes it back.
    pub id: String,
    /// A browser or a script.
    pub kind: LookerKind,
    /// What it said it is, or what its maker called it.
    pub label: String,
    /// Where its cookie counts: `tailnet:ID`, `loopback` or `elsewhere`; of a token, which counts
    /// everywhere, `null`, or `session-store` where it is good for that alone.
    pub bound_to: Option<String>,
    /// When it was let in.
    pub made_at: Timestamp,
    /// When it was last seen, to the hour; `null` if never.
    pub seen_at: Option<Timestamp>,
    /// Until when; `null` if until it is taken back.
    pub until: Option<Timestamp>,
}
