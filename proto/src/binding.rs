//! Bindings: that a session is to see of another one, or do with it, what is asked; as `rrd bind` asks for it and is
//! told.
//!
//! They make handoffs visible and hold nobody back: whoever may use rrd on a host may do all that they speak of. The
//! answers in JSON are a contract like a session's. Not here: which of several words counts (the core's `binding`).

use serde::{Deserialize, Serialize};

use crate::{Harness, NodeId, SessionKey, Timestamp, json::is_unsafe, session::words};

/// Bytes of a note, at most.
pub const MAX_NOTE: usize = 200;

/// Whether a text can be a note: one line that can be shown, at most [`MAX_NOTE`] bytes, and not blank.
#[must_use]
pub fn is_note(text: &str) -> bool {
    text.len() <= MAX_NOTE && !text.trim().is_empty() && !text.chars().any(is_unsafe)
}

/// What a binding is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Scope {
    /// To read what the other one says and does.
    #[serde(rename = "events:read")]
    EventsRead,
    /// To read the messages that others sent it.
    #[serde(rename = "messages:read")]
    MessagesRead,
    /// To send it messages.
    #[serde(rename = "messages:write")]
    MessagesWrite,
    /// To take its work over.
    #[serde(rename = "work:take")]
    WorkTake,
}

impl Scope {
    /// All there are.
    pub const ALL: [Self; 4] =
        [Self::EventsRead, Self::MessagesRead, Self::MessagesWrite, Self::WorkTake];

    /// The word used on the command line and in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EventsRead => "events:read",
            Self::MessagesRead => "messages:read",
            Self::MessagesWrite => "messages:write",
            Self::WorkTake => "work:take",
        }
    }
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

impl std::str::FromStr for Scope {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|scope| scope.as_str() == word);
        known.ok_or_else(|| format!("not one of {}", Self::ALL.map(Self::as_str).join(", ")))
    }
}

words! {
    /// How a binding stands.
    BindingState {
        /// Nobody has answered it.
        Pending = "pending",
        /// It was accepted.
        Active = "active",
        /// It was revoked.
        Inactive = "inactive",
        /// It was rejected.
        Rejected = "rejected",
        /// Nobody answered it in time.
        Expired = "expired",
    }
}
words! {
    /// What somebody did with a binding.
    BindingDeed {
        /// Asked for it.
        Request = "request",
        /// Agreed.
        Accept = "accept",
        /// Did not.
        Reject = "reject",
        /// Took it back, whoever had asked for it or agreed.
        Revoke = "revoke",
    }
}

/// One question or order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum BindCall {
    /// One session asks another one.
    Request {
        /// Who asks, as a person types it.
        from: String,
        /// Who is asked, as a person types it.
        to: String,
        /// What for.
        scopes: Vec<Scope>,
        /// One line on it.
        note: Option<String>,
    },
    /// Answers one, or takes it back.
    Decide {
        /// Its id, or a unique start of it.
        id: String,
        /// What is done.
        deed: BindingDeed,
    },
    /// Every binding.
    List,
    /// One of them.
    Show {
        /// Its id, or a unique start of it.
        id: String,
    },
}

/// A binding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// What it is called on every host.
    pub id: String,
    /// How it stands.
    pub state: BindingState,
    /// Since when.
    pub since: Timestamp,
    /// Who asks.
    pub from: BindingEnd,
    /// Who is asked.
    pub to: BindingEnd,
    /// What for.
    pub scopes: Vec<Scope>,
    /// One line on it.
    pub note: Option<String>,
    /// Until when it can be answered; null once it was, or cannot be any more.
    pub expires_at: Option<Timestamp>,
    /// What was done with it and counts, the oldest first.
    pub history: Vec<BindingStep>,
}

/// One of the two sessions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BindingEnd {
    /// As everywhere.
    #[serde(rename = "ref")]
    pub reference: String,
    /// Its host's label; null where that is not known any more.
    pub host: Option<String>,
    /// Its host.
    pub node_id: NodeId,
    /// Whose.
    pub harness: Harness,
    /// Its id.
    pub session_id: String,
    /// Its title; null where nobody knows it here.
    pub title: Option<String>,
}

impl BindingEnd {
    /// The session.
    #[must_use]
    pub fn key(&self) -> SessionKey {
        SessionKey { harness: self.harness.clone(), session_id: self.session_id.clone() }
    }
}

/// What somebody did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BindingStep {
    /// What.
    pub what: BindingDeed,
    /// When, by the clock of the host where it was done.
    pub at: Timestamp,
    /// The host where it was done.
    pub node_id: NodeId,
    /// That host's label; null where it is not known any more.
    pub host: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_written_as_they_are_read() {
        for scope in Scope::ALL {
            assert_eq!(scope.as_str().parse::<Scope>(), Ok(scope));
            assert_eq!(serde_json::to_value(scope).unwrap(), scope.as_str());
        }
        for bad in ["", "events", "Events:read", "events:read ", "files:write"] {
            let why = bad.parse::<Scope>().unwrap_err();
            assert!(why.contains("events:read, messages:read"), "{why}");
        }
    }

    #[test]
    fn a_note_is_one_line() {
        assert!(is_note("please look at the tests") && is_note(&"x".repeat(MAX_NOTE)));
        for bad in ["", "  ", "a\nb", "a\u{1b}[2J", "a\u{202e}b", &"x".repeat(MAX_NOTE + 1)] {
            assert!(!is_note(bad), "{bad:?}");
        }
    }
}
