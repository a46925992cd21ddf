//! One parsed fact about what an agent did, in the order it was logged.

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A person (or the SDK's caller) asked something.
    Prompt,
    /// The agent said something.
    Message,
    /// The agent used a tool.
    ToolCall,
    /// A tool answered.
    ToolResult,
    /// The model's API or the harness failed.
    Error,
    /// The agent handed the turn back.
    TurnEnd,
    /// The conversation was summarised to make room.
    Compaction,
    /// A subagent began: [`Event::subagent`] is which, and the text what it is to do.
    SubagentStart,
    /// A subagent finished, and how.
    SubagentStop,
    /// The harness asked its user for permission.
    PermissionRequest,
    /// A message from or to another session: see [`Event::direction`] and [`Event::message_id`].
    PeerMessage,
    /// The session was given a title.
    Title,
    /// The session ended.
    Ended,
}

impl EventKind {
    /// The word used in tables and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Prompt => "prompt",
            Self::Message => "message",
            Self::ToolCall => "tool_call",
            Self::ToolResult => "tool_result",
            Self::Error => "error",
            Self::TurnEnd => "turn_end",
            Self::Compaction => "compaction",
            Self::SubagentStart => "subagent_start",
            Self::SubagentStop => "subagent_stop",
            Self::PermissionRequest => "permission_request",
            Self::PeerMessage => "peer_message",
            Self::Title => "title",
            Self::Ended => "ended",
        }
    }
}

/// Which way a message between sessions went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// This session sent it.
    Sent,
    /// It came from another one.
    Received,
}

/// One fact. `text` is one line's worth, `body` all of it: [`Event::truncated`] says when one of them is not
/// all that there was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Event {
    /// Position in the session, from 0, without gaps; never reused.
    pub seq: u64,
    /// When the harness says it happened; null where it does not.
    pub at: Option<Timestamp>,
    /// What happened.
    pub kind: EventKind,
    /// Short text: the prompt, the answer, the command.
    pub text: String,
    /// The tool, for tool calls and results.
    pub tool: Option<String>,
    /// Joins a tool's call and its result.
    pub tool_call_id: Option<String>,
    /// A failed tool or API call.
    pub is_error: bool,
    /// What is given here is not all: `text` was cut, or something was left out of `body`, which then tells
    /// how long it was. A body that is whole says so by its `cut`, whatever became of `text`.
    pub truncated: bool,
    /// For messages between sessions.
    pub direction: Option<Direction>,
    /// For messages between sessions, where the harness names them: the same at both ends.
    pub message_id: Option<String>,
    /// It happened, but was taken back since: undone, rewritten, or left behind on another branch. The counts
    /// of its session do not hold it, but for a branch: they are of all that was done.
    #[serde(default)]
    pub withdrawn: bool,
    /// All of it, where that was asked for and is known.
    #[serde(default)]
    pub body: Option<Body>,
    /// For the start and the stop of a subagent: its session, as the harness names it there. Null where it
    /// does not. OpenClaw names the conversation, by its key, and not the session.
    #[serde(default)]
    pub subagent: Option<String>,
}

/// The whole of what an event says: the prompt, the answer, a tool's input (as JSON) or its result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Body {
    /// The text; of what is not text (images) its type and size.
    pub text: String,
    /// Bytes of all of it, before anything was left out or replaced.
    pub size: u64,
    /// The byte of `text` before which some were left out: its head and tail are there. Null when all of it is.
    pub cut: Option<u64>,
}
