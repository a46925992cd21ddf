//! What members ask each other about sessions: the bodies of calls in [`crate::peer`].
//!
//! Rows and events travel as JSON, a text each: one that a release does not understand is passed by, and
//! the others count. What a query lacks has a default, and what it has besides is passed by. Not here:
//! who may ask, and what of it is redacted.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{ListQuery, NodeId, SessionKey, Timestamp};

/// Rows of an answer, at most.
pub const MAX_ROWS: u32 = 500;

/// Asks for rows of the answering host's own sessions: the body of `rows`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RowsQuery {
    /// Which; its host means nothing here.
    pub list: ListQuery,
    /// Only those whose id begins so.
    pub begins: Option<String>,
    /// Of these only so many, the ones with the latest activity.
    pub newest: Option<u32>,
    /// Of these only those after it, in the order of their keys, which changes with nothing.
    pub after: Option<SessionKey>,
    /// At most so many, and at most [`MAX_ROWS`].
    pub limit: u32,
}

/// Some rows, in the order of their keys: the answer to `rows`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RowsReply {
    /// A session in JSON each, by the answering host's clock.
    pub rows: Vec<String>,
    /// There are more after the last one.
    pub more: bool,
}

/// Asks for events of one of the answering host's sessions: the body of `events`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventsQuery {
    /// The session.
    pub key: SessionKey,
    /// Only events with a greater seq; null for the newest `limit`.
    #[serde(default)]
    pub after: Option<u64>,
    /// Without `after`: the newest with a smaller seq.
    #[serde(default)]
    pub before: Option<u64>,
    /// At most so many.
    #[serde(default)]
    pub limit: u32,
    /// How long to wait for one when there is none, in milliseconds.
    #[serde(default)]
    pub wait_ms: u32,
    /// With their bodies.
    #[serde(default)]
    pub bodies: bool,
}

/// Some events, oldest first: the answer to `events`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EventsReply {
    /// An event in JSON each, by the answering host's clock.
    pub events: Vec<String>,
    /// More follow at once.
    pub more: bool,
}

/// Sessions that one call asks for, at most.
pub const MAX_WORDS: usize = 64;

/// Asks what sessions of the answering host did last, to keep it: the body of `last_words`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastWordsQuery {
    /// Which, and after which event; at most [`MAX_WORDS`].
    pub sessions: Vec<(SessionKey, Option<u64>)>,
}

/// The answer to `last_words` and `kept_words`: texts that the sessions' host signed, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WordsReply {
    /// The texts.
    pub words: Vec<String>,
}

/// Asks for what was said under names of which the answering host knows something else: the body of `tasks` and of
/// `bindings`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RegisterQuery {
    /// A digest of what is known under each name already.
    pub known: BTreeMap<String, u64>,
    /// Only under names after this one.
    pub after: Option<String>,
}

/// The answer: words as their hosts signed them, in the order of their names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RegisterReply {
    /// The words.
    pub links: Vec<String>,
    /// There are more after this name.
    pub more_after: Option<String>,
}

/// Asks for what the answering host keeps of a session of a third one: the body of `kept_words`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptWordsQuery {
    /// Whose.
    pub node: NodeId,
    /// The session.
    pub key: SessionKey,
}

/// What was found in the answering host's own sessions, the best first: the answer to `search`, whose body
/// is a [`crate::SearchQuery`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FoundReply {
    /// A hit in JSON each, by the answering host's clock.
    pub hits: Vec<String>,
    /// There are more.
    pub more: bool,
    /// What is older was not looked through.
    pub looked_to: Option<Timestamp>,
    /// Events that are not in its index yet.
    pub behind: u64,
}

/// Asks what the answering host knows of a third one: the body of `last_known`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastKnownQuery {
    /// Which.
    pub node: NodeId,
}

/// What is known of a host: the answer to `last_known`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LastKnown {
    /// How long ago it was heard of last, in milliseconds; null when it never was.
    pub heard_ms_ago: Option<u64>,
    /// Its own signed words that count.
    pub records: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::{pack, unpack};

    #[test]
    fn what_a_query_lacks_has_a_default() {
        #[derive(Serialize)]
        struct Earlier {
            limit: u32,
            mood: &'static str,
        }
        let body = pack(&Earlier { limit: 7, mood: "fine" }).unwrap();
        let query: RowsQuery = unpack(&body).unwrap();
        assert_eq!(query, RowsQuery { limit: 7, ..RowsQuery::default() });
        let list = ListQuery { all: true, ..ListQuery::default() };
        let whole = RowsQuery { list, begins: Some("7f".into()), ..RowsQuery::default() };
        assert_eq!(unpack::<RowsQuery>(&pack(&whole).unwrap()).unwrap(), whole);
    }
}
