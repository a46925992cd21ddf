//! Who waits for whom: the graph of all sessions on all hosts, as `rrd graph --json` shows it.
//!
//! Each host tells what ties its own sessions to others as [`Link`]s in their rows; every node makes the same
//! graph of the same rows. Not here: how it is made (`rrd_core::graph`).

mod ends;

pub use ends::{End, ends};
use serde::{Deserialize, Serialize};

use crate::{Harness, HostState, Status, Timestamp, WaitingFor, session::words};

words! {
    /// What an edge says.
    EdgeKind {
        /// The one delegated to the other, or the other was copied from it.
        Parent = "parent",
        /// The one sent the other a message.
        Message = "message",
        /// The one goes on only when the other has done something.
        Wait = "wait",
        /// The one has asked the other for something (`rrd bind`).
        Binding = "binding",
        /// Two hosts have the same transcript.
        Duplicate = "duplicate",
        /// Two live sessions work in one worktree, or on one branch: a warning.
        SameWorktree = "same_worktree",
    }
}
words! {
    /// How an edge stands.
    EdgeState {
        /// A child is at work; of a parent, a duplicate, a warning: it holds now.
        Active = "active",
        /// A child is done.
        Done = "done",
        /// A session, or its user, said that it waits.
        Declared = "declared",
        /// Nobody said so, and the records leave nothing else.
        Inferred = "inferred",
        /// A message that has not reached the other host yet.
        Queued = "queued",
        /// A message that is there, and that nobody has acknowledged.
        Unread = "unread",
        /// A message that was taken.
        Read = "read",
        /// A binding that nobody has answered.
        Pending = "pending",
        /// It was over, refused, revoked or too old.
        Inactive = "inactive",
    }
}
words! {
    /// Why a session that others wait for does not go on, the most urgent for a person first.
    Cause {
        /// Each waits for the next, and the last for the first: nobody can go on.
        Deadlock = "deadlock",
        /// Somebody must allow or refuse a tool.
        Permission = "permission",
        /// Somebody must answer a question.
        Input = "input",
        /// Its process died in the middle of a turn.
        Crashed = "crashed",
        /// Its last turn failed.
        Failed = "failed",
        /// Its host is away.
        Away = "away",
        /// It has ended.
        Ended = "ended",
        /// Nobody on any host knows it.
        Unknown = "unknown",
        /// It is at its prompt: nobody has asked it to go on.
        Idle = "idle",
        /// It is at work.
        Working = "working",
    }
}

impl Cause {
    /// Whether whoever waits goes on only when a person has done something.
    #[must_use]
    pub const fn needs_person(self) -> bool {
        match self {
            Self::Deadlock | Self::Permission | Self::Input | Self::Crashed | Self::Failed => true,
            Self::Away | Self::Ended | Self::Unknown | Self::Idle | Self::Working => false,
        }
    }

    /// What a session does of which this is so, in a person's words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Deadlock => "wait for each other",
            Self::Permission => "needs permission",
            Self::Input => "asks you",
            Self::Crashed => "crashed",
            Self::Failed => "failed",
            Self::Away => "its host is away",
            Self::Ended => "ended",
            Self::Unknown => "is not known",
            Self::Idle => "is at its prompt",
            Self::Working => "is at work",
        }
    }
}

/// What a session that cannot go on by itself waits for in the end, and what waits for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ChainEnd {
    /// The session at the end, as a ref; of one that blocks others, and of one that lies in a circle, itself.
    #[serde(rename = "ref")]
    pub reference: String,
    /// The label of its host; null of a session that nobody knows.
    pub host: Option<String>,
    /// Its title.
    pub title: Option<String>,
    /// Why it does not go on.
    pub cause: Cause,
    /// One line of it: `Bash: npm publish`.
    pub detail: Option<String>,
    /// Since when.
    pub since: Option<Timestamp>,
    /// So many sessions go on only when that one does, but for itself.
    pub blocks: u64,
}

/// What the id of a message that a harness sent stands behind, in the place of a ref: both ends tell it.
pub const MESSAGE: &str = "message:";

/// What ties a session to another one, as its own host sees it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Link {
    /// What it says.
    pub kind: EdgeKind,
    /// How it stands.
    pub state: EdgeState,
    /// The other session, as a ref; `message:ID` where only the message is known that one got from the other.
    pub to: String,
    /// The edge begins at the other one.
    #[serde(default)]
    pub incoming: bool,
    /// Of several waits with this mark, and of one group, one is enough.
    #[serde(default)]
    pub any: bool,
    /// Which of them belong together: those of one call.
    #[serde(default)]
    pub group: u32,
    /// Since when.
    pub since: Option<Timestamp>,
    /// What is known it by: one line.
    pub evidence: String,
}

impl Link {
    /// Whether it is a message of this session's that the other one has not read.
    #[must_use]
    pub fn is_message_not_read(&self) -> bool {
        self.kind == EdgeKind::Message
            && !self.incoming
            && matches!(self.state, EdgeState::Queued | EdgeState::Unread)
    }
}

/// A session in the graph.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct GraphNode {
    /// As everywhere.
    #[serde(rename = "ref")]
    pub reference: String,
    /// The label of its host; null of a session that nobody knows.
    pub host: Option<String>,
    /// How this node knows that host; null as above.
    pub host_state: Option<HostState>,
    /// Whose it is; null as above.
    pub harness: Option<Harness>,
    /// Its id; null as above.
    pub session_id: Option<String>,
    /// Its repository.
    pub repo: Option<String>,
    /// Its title.
    pub title: Option<String>,
    /// What it is doing; null as above.
    pub status: Option<Status>,
    /// Since when.
    pub status_since: Option<Timestamp>,
    /// What it waits for.
    pub waiting_for: Option<WaitingFor>,
    /// One line of that.
    pub waiting_detail: Option<String>,
}

/// An edge of the graph.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Edge {
    /// The parent, the sender, whoever waits, as a ref.
    pub from: String,
    /// The other one.
    pub to: String,
    /// What it says.
    pub kind: EdgeKind,
    /// How it stands.
    pub state: EdgeState,
    /// Since when.
    pub since: Option<Timestamp>,
    /// What is known it by: one line.
    pub evidence: String,
    /// Of a wait: whoever waits can go on without this very one, as soon as of each of its `groups` one has come true.
    #[serde(default)]
    pub any: bool,
    /// Of a wait: the calls in which one of several is enough, by numbers that the edges of one `from` share.
    #[serde(default)]
    pub groups: Vec<u32>,
}

/// Why one session does not go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Chain {
    /// Refs from the session itself to the one at the end that it waits for in the end; that one alone where
    /// it waits for a person. Of a deadlock: until the one that is met again.
    pub sessions: Vec<String>,
    /// Why the last one does not go on.
    pub cause: Cause,
    /// One line of it: `Bash: npm publish`.
    pub detail: Option<String>,
    /// Since when.
    pub since: Option<Timestamp>,
    /// So many other sessions go on only when the last one does.
    pub blocks: u64,
}

/// Who waits for whom.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Graph {
    /// Sessions that are active, and those that an edge touches.
    pub nodes: Vec<GraphNode>,
    /// What ties them.
    pub edges: Vec<Edge>,
    /// Of every session that cannot go on by itself: what a person must do first comes first.
    pub chains: Vec<Chain>,
    /// Sessions that wait for each other in a circle, each circle once, beginning with the least ref.
    pub cycles: Vec<Vec<String>>,
}
