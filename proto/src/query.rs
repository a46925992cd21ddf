//! Questions a client asks and the answers it gets.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::{Event, Harness, HostState, NodeId, Session, SessionKey, Status, Timestamp};

/// Which sessions to list. The default is what `rrd sessions list` shows: the active ones.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ListQuery {
    /// Every session, ended ones too.
    pub all: bool,
    /// Also live sessions that are not active (open, but idle for long).
    pub open: bool,
    /// Only this host's label.
    pub host: Option<String>,
    /// Only this harness.
    pub harness: Option<Harness>,
    /// Only this repository name.
    pub repo: Option<String>,
    /// Only this status; without `all`, ended sessions match too when asked for.
    pub status: Option<Status>,
    /// Only sessions with activity at or after this.
    pub since: Option<Timestamp>,
    /// With what is secret in their texts; a peer never gets that.
    pub raw: bool,
}

/// How many sessions there are, whatever the query's filter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// All sessions known, subagents not counted.
    pub sessions: u64,
    /// Active ones.
    pub active: u64,
    /// Waiting ones.
    pub waiting: u64,
    /// Live but not active.
    pub open: u64,
}

/// How far the first index is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexProgress {
    /// Bytes read.
    pub done: u64,
    /// Bytes to read in all.
    pub total: u64,
    /// Transcripts not read to their end yet.
    pub files_left: u64,
}

/// What a place looked in holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RootState {
    /// Not there (yet).
    Missing,
    /// There, with so many transcripts.
    Found {
        /// Transcripts beneath it.
        transcripts: u64,
    },
    /// There, but it cannot be read; the text says why.
    Unreadable(String),
}

/// A place looked in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// Whose.
    pub harness: Harness,
    /// The directory.
    pub path: String,
    /// What is there.
    pub state: RootState,
}

/// The answer to a [`ListQuery`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListReply {
    /// Matching sessions in the order they are shown: waiting, executing, idle, ended; a subagent
    /// right after its parent.
    pub sessions: Vec<Session>,
    /// When the answer was made, by the answering node's clock.
    pub as_of: Timestamp,
    /// Changes whenever any session does; what [`crate::rpc`]'s `watch` waits on.
    pub cursor: u64,
    /// Counts over everything known.
    pub totals: Totals,
    /// The most recently ended session, for an empty list.
    pub last_ended: Option<Box<Session>>,
    /// Present while transcripts are still being read for the first time.
    pub progress: Option<IndexProgress>,
    /// Where sessions were looked for.
    pub roots: Vec<Root>,
    /// Hosts that were to tell of all their sessions and have not.
    pub unheard: Vec<Unheard>,
    /// There are other hosts, and none is heard: whether they are away, or this one is, it cannot tell.
    pub alone: bool,
    /// Hosts under whose identity two run, so that one of the two is not heard.
    pub duplicated: Vec<String>,
}

/// A host that was asked for more than it tells by itself, and has not answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unheard {
    /// Its label.
    pub host: String,
    /// How it is known: one that is away was not asked.
    pub state: HostState,
    /// When it was heard of last, if it ever was.
    pub seen_at: Option<Timestamp>,
    /// Why it did not answer; of one that is away nothing.
    pub why: Option<String>,
    /// When it told all that is shown of it beside its open sessions; null when it never did.
    pub told_at: Option<Timestamp>,
}

/// Which session.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LookupQuery {
    /// Its ref, a unique prefix of its id, or host/harness/session_id.
    pub id: String,
    /// With what is secret in its texts; a peer never gets that.
    pub raw: bool,
}

/// The answer to looking a session up by what a person typed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lookup {
    /// Exactly one.
    Found(Box<Session>),
    /// More than one; the candidates, at most twenty.
    Ambiguous(Vec<Session>),
    /// None.
    NotFound,
}

/// Whether two of these have one id, in two harnesses or on two hosts: no more of it tells them apart.
#[must_use]
pub fn is_one_id(candidates: &[Session]) -> bool {
    let ids: HashSet<&str> = candidates.iter().map(|one| one.session_id.as_str()).collect();
    ids.len() < candidates.len()
}

/// What was forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forgotten {
    /// So many sessions: the one that was meant, and those it delegated to.
    pub sessions: u64,
}

/// Which events of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventQuery {
    /// The session.
    pub key: SessionKey,
    /// Whose, where it is another host's; that one is asked.
    pub node: Option<NodeId>,
    /// Only events with a greater seq; null for the newest `limit`.
    pub after: Option<u64>,
    /// Without `after`: the newest with a smaller seq.
    pub before: Option<u64>,
    /// At most so many (the daemon caps it at 1,000).
    pub limit: u32,
    /// How long to wait for one when there is none, in milliseconds.
    pub wait_ms: u32,
    /// With their bodies, see [`Event::body`]; a page then ends after some megabytes, too. Of one event
    /// alone (a limit of 1) the body is whole as long as its transcript is there, up to 3 MiB.
    pub bodies: bool,
    /// With what is secret in their texts; a peer never gets that.
    pub raw: bool,
}

impl EventQuery {
    /// The newest events of a session of the host that is asked, their lines alone.
    #[must_use]
    pub fn newest(key: SessionKey, limit: u32) -> Self {
        Self {
            key,
            node: None,
            after: None,
            before: None,
            limit,
            wait_ms: 0,
            bodies: false,
            raw: false,
        }
    }
}

/// Some events of a session, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct EventPage {
    /// The events.
    pub events: Vec<Event>,
    /// More follow at once.
    pub more: bool,
    /// Their host is away or cannot be reached, and another one told them.
    #[serde(default)]
    pub last_words: Option<LastWords>,
}

/// Who told the last words of a session whose host is away or cannot be reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LastWords {
    /// When its host said them.
    pub at: Timestamp,
    /// The host that kept them.
    pub by: String,
}
