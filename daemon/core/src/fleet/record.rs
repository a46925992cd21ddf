//! What a node tells of itself: records of one session each, or of the host, small and signed.
//!
//! A record says more than [`MAX_RECORD`] bytes never: a longer text is cut, and what a row can do without
//! is left out. What ties a session to others comes on top, with room of its own ([`MAX_TIED`]): no long title
//! costs a wait, and no wait what is known of a row. Only what has passed the redactor can be put into one. What a later release says of a
//! session besides is passed by. Not here: how records travel, and which of several counts
//! ([`super::peers`]).

mod row;

use rrd_proto::{MirrorAlarm, NodeId, Session, SessionKey};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, value::RawValue};

use self::row::MAX_URL;
pub use self::row::shift;
pub(super) use self::row::shorten;
use super::identity::{Identity, Purpose, Signed, SigningPublic};
use crate::redact::Redacted;

/// Bytes of a record, at most. A single value beyond 64 KB would keep all later ones of its node from
/// its peers (chitchat measures lengths with 16 bits and drops what does not fit).
pub const MAX_RECORD: usize = 1_024;

/// Bytes of one with what ties its session to others, and marks of where that works, at most.
pub const MAX_TIED: usize = 4 * MAX_RECORD;

/// Bytes of what a place says is wrong, at most.
const MAX_ERROR: usize = 200;

/// Which of a node's words came later: by generation, then by number.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Place {
    /// Of the node; rises with every start.
    pub generation: u64,
    /// Within it.
    pub seq: u64,
}

/// What a host says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostWord {
    /// The release it runs.
    pub version: String,
    /// Active sessions.
    #[serde(default)]
    pub active: u64,
    /// All sessions, those of subagents not counted.
    #[serde(default)]
    pub sessions: u64,
    /// It has told of all its sessions since it began; what it said before is over.
    #[serde(default)]
    pub complete: bool,
    /// It is about to stop.
    #[serde(default)]
    pub leaving: bool,
    /// A place that it mirrors to has failed for long: redacted, like all that it tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror: Option<MirrorAlarm>,
    /// A digest of the links of tasks that it knows; 0: none.
    #[serde(default)]
    pub tasks: u64,
    /// The same of what was said of bindings.
    #[serde(default)]
    pub bindings: u64,
}

/// What a host says of notices: an earlier release passes it by.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoticesWord {
    /// The sinks that it has, each by a name made of what it is.
    #[serde(default)]
    pub sinks: Vec<String>,
    /// For each of these the kinds of notices that it tells there, a bit each by their numbers; where none are said,
    /// as by earlier releases, all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<u64>,
    /// Those of them that it cannot tell anything now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failing: Vec<String>,
    /// Marks of what was told ([`crate::notices::mark`]).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub told: String,
    /// Of several records with marks the how manieth, from 0 on, below [`MAX_PARTS`].
    #[serde(default, skip_serializing_if = "is_first")]
    pub part: u8,
}

/// Records of marks that a host has, at most: with sixteen sinks that all fail there is room for 25 marks in one.
pub const MAX_PARTS: u8 = 24;

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
const fn is_first(part: &u8) -> bool {
    *part == 0
}

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Body {
    Session(Map<String, Value>),
    Gone(SessionKey),
    Host(HostWord),
    Notices(NoticesWord),
}

/// What a record says, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// A session, as its owner sees it. Its host's label and state are not in it.
    Session(Box<Session>),
    /// A session is no more, and was none that is worth a row.
    Gone(SessionKey),
    /// The host itself.
    Host(HostWord),
    /// What it tells people, and has told them.
    Notices(NoticesWord),
}

#[derive(Serialize, Deserialize)]
struct Envelope<'a> {
    v: u8,
    node: NodeId,
    generation: u64,
    seq: u64,
    #[serde(borrow)]
    body: &'a RawValue,
    sig: Signed,
}

/// Why a record does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Invalid {
    /// No record, or longer than one may be.
    Malformed,
    /// In the name of a node that is no member.
    NotAMember,
    /// Not signed by the node in whose name it speaks.
    NotItsOwners,
    /// Signed, and of a kind this release does not know.
    Newer,
    /// No record: a round of gossip with what no honest one holds.
    BadGossip,
}

impl Invalid {
    /// Its name in counts.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::NotAMember => "not_a_member",
            Self::NotItsOwners => "not_its_owners",
            Self::Newer => "newer",
            Self::BadGossip => "bad_gossip",
        }
    }
}

/// A record that was read: whose it is, which of its words, and what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// Whose.
    pub node: NodeId,
    /// Which of its words.
    pub place: Place,
    /// What it says.
    pub word: Word,
}

/// A record of a session; `None` where not even its names fit: whoever asks its host gets it there.
#[must_use]
pub fn of_session(own: &Identity, place: Place, session: &Redacted<Session>) -> Option<String> {
    let session = session.as_ref();
    let length = |row: &Map<String, Value>| length(own, place, &Body::Session(row.clone()));
    let mut row = row::fitting(session, |row| length(row) <= MAX_RECORD)?;
    let room = MAX_TIED - length(&row);
    row::tie(&mut row, session, room);
    Some(sign(own, place, &Body::Session(row)))
}

/// A record of a session that is no more; `None` as for one that is.
#[must_use]
pub fn of_gone(own: &Identity, place: Place, key: &SessionKey) -> Option<String> {
    Some(sign(own, place, &Body::Gone(key.clone()))).filter(|text| text.len() <= MAX_RECORD)
}

/// A record of the host. What fails is cut, if it must be; that something does is always told.
#[must_use]
pub fn of_host(own: &Identity, place: Place, word: &HostWord) -> String {
    let mut word = word.clone();
    if let Some(alarm) = &mut word.mirror {
        shorten(&mut alarm.url, MAX_URL);
        alarm.error.iter_mut().for_each(|error| shorten(error, MAX_ERROR));
    }
    let text = sign(own, place, &Body::Host(word.clone()));
    match &mut word.mirror {
        // Every letter of it stands for several.
        Some(alarm) if text.len() > MAX_RECORD => {
            (alarm.url, alarm.error) = (String::new(), None);
            sign(own, place, &Body::Host(word))
        }
        _ => text,
    }
}

/// A record of notices; `told` gives marks as text of at most so many bytes, as many as there is room for.
#[must_use]
pub fn of_notices(
    own: &Identity,
    place: Place,
    word: &NoticesWord,
    told: impl FnOnce(usize) -> String,
) -> String {
    let mut word = NoticesWord { told: String::new(), ..word.clone() };
    let mut text = sign(own, place, &Body::Notices(word.clone()));
    if text.len() > MAX_RECORD {
        // More than settings may name.
        word = NoticesWord { part: word.part, ..NoticesWord::default() };
        text = sign(own, place, &Body::Notices(word.clone()));
    }
    let room = MAX_RECORD.saturating_sub(text.len() + r#","told":"""#.len());
    word.told = told(room);
    match word.told.is_empty() {
        true => text,
        false => sign(own, place, &Body::Notices(word)),
    }
}

/// Reads a record; `member` gives the key of a node that is a member.
///
/// # Errors
/// Why it does not count.
pub fn read(
    text: &str,
    member: impl FnOnce(NodeId) -> Option<SigningPublic>,
) -> Result<Read, Invalid> {
    if text.len() > MAX_TIED {
        return Err(Invalid::Malformed);
    }
    let record: Envelope<'_> = serde_json::from_str(text).map_err(|_| Invalid::Malformed)?;
    let (node, place) = (record.node, Place { generation: record.generation, seq: record.seq });
    let key = member(node).ok_or(Invalid::NotAMember)?;
    let bytes = signed_bytes(record.v, node, place, record.body.get());
    if !key.verifies(Purpose::Record, &bytes, &record.sig) {
        return Err(Invalid::NotItsOwners);
    }
    let body: Body = serde_json::from_str(record.body.get()).map_err(|_| Invalid::Newer)?;
    let word = match body {
        Body::Host(host) => Word::Host(host),
        Body::Notices(notices) => Word::Notices(notices),
        Body::Gone(key) => Word::Gone(key),
        Body::Session(row) => Word::Session(Box::new(row::session(row).ok_or(Invalid::Newer)?)),
    };
    Ok(Read { node, place, word })
}

/// In whose name a record speaks, be it true or not.
#[must_use]
pub fn claimed(text: &str) -> Option<NodeId> {
    serde_json::from_str::<Envelope<'_>>(text).ok().map(|record| record.node)
}

fn signed_bytes(v: u8, node: NodeId, place: Place, body: &str) -> Vec<u8> {
    let numbers = [place.generation.to_be_bytes(), place.seq.to_be_bytes()].concat();
    [&[v][..], &node.to_bytes(), &numbers, body.as_bytes()].concat()
}

fn sign(own: &Identity, place: Place, body: &Body) -> String {
    let node = own.node();
    let sig = |body: &str| own.sign(Purpose::Record, &signed_bytes(1, node, place, body));
    envelope(node, place, body, sig)
}

/// Bytes of a record, without the work of signing it.
fn length(own: &Identity, place: Place, body: &Body) -> usize {
    envelope(own.node(), place, body, |_| Signed([0; 64])).len()
}

fn envelope(node: NodeId, place: Place, body: &Body, sig: impl FnOnce(&str) -> Signed) -> String {
    // Maps with text for keys cannot fail.
    let body = serde_json::value::to_raw_value(body).unwrap_or_else(|_| RawValue::NULL.to_owned());
    let sig = sig(body.get());
    let Place { generation, seq } = place;
    let envelope = Envelope { v: 1, node, generation, seq, body: &body, sig };
    serde_json::to_string(&envelope).unwrap_or_default()
}

#[cfg(test)]
mod tests;
