//! Messages between sessions: what `rrd send` and `rrd inbox` say, to the daemon and to other hosts.
//!
//! A message is named by the host that sent it, one life of what that host keeps, and a number: so it is stored
//! once, however often it comes. Not here: how it is kept and handed over (the daemon), and what a session is
//! told of it (`rrd_core::message`).

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use crate::{Harness, NodeId, SessionKey, Timestamp, session::words};

/// Bytes of a message, at most.
pub const MAX_MESSAGE: usize = 64 << 10;

/// Messages that one call acknowledges, at most.
pub const MAX_ACKNOWLEDGED: usize = 1_024;

/// Messages of one answer, at most; fewer where they are long.
pub const MAX_PAGE: u32 = 1_000;

/// What names a message on every host: `74akwaicamc-9f3a21bc-17`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId {
    /// The host that sent it, as it was called then.
    pub node: NodeId,
    /// Random, and another one in each run of its daemon: a number that a backup brought back is no name twice.
    pub epoch: u32,
    /// Rises with every message of that host.
    pub seq: u64,
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:08x}-{}", self.node, self.epoch, self.seq)
    }
}

/// A text that names no message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoMessageId;

impl fmt::Display for NoMessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a message is named as rrd inbox shows it: 74akwaicamc-9f3a21bc-17")
    }
}

impl std::error::Error for NoMessageId {}

impl FromStr for MessageId {
    type Err = NoMessageId;

    fn from_str(text: &str) -> Result<Self, NoMessageId> {
        let mut parts = text.trim().split('-');
        let (Some(node), Some(epoch), Some(seq), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(NoMessageId);
        };
        let id = Self {
            node: node.parse().map_err(|_| NoMessageId)?,
            epoch: u32::from_str_radix(epoch, 16).map_err(|_| NoMessageId)?,
            seq: seq.parse().map_err(|_| NoMessageId)?,
        };
        // One way to write it.
        if id.to_string() == text.trim() { Ok(id) } else { Err(NoMessageId) }
    }
}

impl Serialize for MessageId {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for MessageId {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

words! {
    /// How far a message is.
    MessageState {
        /// It is on its way: its host has not taken it yet.
        Queued = "queued",
        /// It is there, and nobody has acknowledged it.
        Unread = "unread",
        /// It was acknowledged.
        Read = "read",
        /// It will not arrive.
        Failed = "failed",
    }
}

words! {
    /// What a host did with a message that was handed to it.
    Handed {
        /// It is kept there, now or since earlier.
        Taken = "taken",
        /// There is no such session there.
        Unknown = "unknown",
        /// That session has too many that nobody acknowledged; or this cannot be told yet. To be sent again.
        Full = "full",
        /// It stands behind one that was not taken. To be sent again.
        Later = "later",
        /// It is none that a host would send.
        Refused = "refused",
    }
}

/// One end of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Party {
    /// Its host's label.
    pub host: String,
    /// Its host's name.
    pub node_id: NodeId,
    /// As everywhere; null of a person.
    #[serde(rename = "ref")]
    pub reference: Option<String>,
    /// Whose; null of a person.
    pub harness: Option<Harness>,
    /// Its id; null of a person.
    pub session_id: Option<String>,
}

/// A message, as `rrd inbox --json` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// What names it.
    pub id: MessageId,
    /// Who sent it.
    pub from: Party,
    /// To whom.
    pub to: Party,
    /// What it says, redacted; of one that was sent and is there, no more than its beginning.
    pub text: String,
    /// Bytes of what it says.
    pub bytes: u64,
    /// When, by this host's clock as far as it is known how far the sender's is from it.
    pub sent_at: Timestamp,
    /// When this host had it; null of one that was sent from here elsewhere.
    pub received_at: Option<Timestamp>,
    /// When its session was first told: by a hook, or because it asked; null where it was not.
    pub shown_at: Option<Timestamp>,
    /// How far it is.
    pub state: MessageState,
    /// Since when.
    pub state_since: Timestamp,
    /// Why it is not there: one line.
    pub trouble: Option<String>,
}

/// Some messages.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessagePage {
    /// The oldest first; of those that were sent the newest, the oldest of them first.
    pub messages: Vec<Message>,
    /// There are so many more.
    pub more: u64,
}

/// What a client asks its daemon for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MessageCall {
    /// Sends one.
    Send {
        /// Who, of this host's sessions; `None`: a person.
        from: Option<SessionKey>,
        /// To whom, as a person types it.
        to: String,
        /// What.
        text: String,
        /// Random, and the same when it is asked for again because no answer came: so it is kept once.
        idempotency_key: [u8; 16],
    },
    /// What came for this host's sessions.
    Inbox {
        /// For which; `None`: for all.
        of: Option<SessionKey>,
        /// Also what was acknowledged, as far as it is kept.
        all: bool,
        /// At most so many.
        limit: u32,
        /// Milliseconds to wait for one when there is none; whoever waits is shown to wait.
        wait_ms: u32,
        /// Whoever asks waits no longer, and is shown to wait no more when this is answered.
        is_last: bool,
    },
    /// One of those that came, acknowledged or not.
    One {
        /// Only where it is for this session; `None`: whosever.
        of: Option<SessionKey>,
        /// Which.
        id: MessageId,
    },
    /// Takes note that these were read.
    Acknowledge {
        /// Only those of this session; `None`: whosever.
        of: Option<SessionKey>,
        /// Which.
        ids: Vec<MessageId>,
    },
    /// What this host's sessions sent: what is on its way or failed.
    Sent {
        /// By which; `None`: by all, and persons.
        of: Option<SessionKey>,
        /// Also what arrived, as far as it is kept.
        all: bool,
        /// At most so many.
        limit: u32,
    },
    /// What a hook of this session may tell it, if that is wanted at all.
    ForHook {
        /// Whose hook.
        of: SessionKey,
    },
    /// That its session was told these, by a hook or because it asked: no hook tells them again.
    Shown {
        /// Which.
        ids: Vec<MessageId>,
    },
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MessageReply {
    /// How far the one is that was sent.
    Sent(Box<Message>),
    /// Some.
    Page(MessagePage),
    /// So many were acknowledged that had not been before.
    Acknowledged(u64),
    /// What a hook may tell, ready to be told, and which messages that are.
    ForHook(Option<(String, Vec<MessageId>)>),
}

/// A message on its way to another host: a part of the body of `messages`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandedMessage {
    /// With the host that calls and `seq` what names it.
    pub epoch: u32,
    /// Rises.
    pub seq: u64,
    /// Who sent it, of the calling host's sessions; `None`: a person.
    #[serde(default)]
    pub from: Option<SessionKey>,
    /// To whom, of the answering host's sessions.
    pub to: SessionKey,
    /// What, redacted.
    pub text: String,
    /// When, by the calling host's clock.
    pub sent_at: Timestamp,
}

/// Hands messages over, and tells which ones of the answering host were read, or never will be: the body of
/// `messages`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MessagesPush {
    /// In the order they were sent.
    pub messages: Vec<HandedMessage>,
    /// Epoch and seq of messages that the answering host sent.
    pub read: Vec<(u32, u64)>,
    /// The same of those that nobody read, and whose session was forgotten.
    pub forgotten: Vec<(u32, u64)>,
}

/// The answer to `messages`: what became of each, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MessagesReply {
    /// Of each.
    pub handed: Vec<Handed>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_named_in_one_way() {
        let id = MessageId { node: NodeId::LEAST, epoch: 0x9f_3a21, seq: 17 };
        assert_eq!(id.to_string(), "aaaaaaaaaaa-009f3a21-17");
        assert_eq!(" aaaaaaaaaaa-009f3a21-17\n".parse(), Ok(id));
        for other in [
            "",
            "17",
            "aaaaaaaaaaa-9f3a21-17",
            "aaaaaaaaaaa-009F3A21-17",
            "aaaaaaaaaaa-009f3a21-017",
            "aaaaaaaaaaa-009f3a21-+17",
            "aaaaaaaaaaa-009f3a21-17-1",
            "aaaaaaaaaaa-009f3a21-99999999999999999999",
        ] {
            assert_eq!(other.parse::<MessageId>(), Err(NoMessageId), "{other}");
        }
        assert_eq!(serde_json::to_string(&id).unwrap(), "\"aaaaaaaaaaa-009f3a21-17\"");
    }
}
