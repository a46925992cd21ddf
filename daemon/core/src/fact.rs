//! What one record of a transcript says, in words all harnesses share.
//!
//! A [`crate::harness::Parser`] turns a line into [`Parsed`]; [`crate::fold::Fold`] folds that into a
//! session and into events. Text is borrowed from the line: nothing is copied for records that turn
//! out not to matter. Not here: JSON, files, status.

use std::borrow::Cow;

use rrd_proto::{ParentKind, Timestamp, Tokens, TurnResult};

use crate::long::Long;

/// Text borrowed from a line where possible.
pub type Text<'a> = Cow<'a, str>;

/// One line, understood as far as it can be.
#[derive(Debug, Default)]
pub struct Parsed<'a> {
    /// The record's own time.
    pub at: Option<Timestamp>,
    /// The record's own id (a hash of it), where it has one; else its bytes identify it.
    pub key: Option<u64>,
    /// The record was copied from another session's history (a fork), so it is not this session's
    /// own beginning.
    pub origin: Origin,
    /// What it says, in order.
    pub facts: Vec<Fact<'a>>,
    /// What could not be taken at face value: stable words, see [`issue`].
    pub issues: Vec<&'static str>,
}

/// Who wrote a record first.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// This session.
    #[default]
    Own,
    /// Part of the chain that a fork copies: its own unless a later record proves otherwise.
    Chain,
    /// Copied from the parent, for certain.
    Copied,
    /// In a database, where the session's row tells when it began: records may come from anywhere.
    Row,
}

/// One thing a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // the fields say it
pub enum Fact<'a> {
    /// The session's id, when the record names it and the file's name does not.
    SessionId(Text<'a>),
    /// The working directory at this point; the first one is the session's.
    Cwd(Text<'a>),
    /// The working directory from here on, in a harness that says so of each turn: the last one is the
    /// session's.
    MovedTo(Text<'a>),
    /// The branch at this point.
    Branch(Text<'a>),
    /// The repository's remote, as the harness recorded it (may hold credentials).
    Remote(Text<'a>),
    /// Where the work really belongs when `cwd` is a throw-away worktree.
    OriginalCwd(Text<'a>),
    /// The model that answers.
    Model(Text<'a>),
    /// The harness's version.
    Version(Text<'a>),
    /// A person sits at it.
    Interactive(bool),
    /// This harness version is known to hold an OS lock or keep a registry entry while it lives, so
    /// that the absence of both means that its process is gone.
    LeavesTrace,
    /// The session came from another one.
    Parent { id: Text<'a>, kind: ParentKind },
    /// The session is a delegate, whether or not it is known whose.
    Delegate,
    /// The delegate that delegated this one, which is nearer than what its path says.
    Delegator(Text<'a>),
    /// The session itself began then (may precede its first record).
    Started(Timestamp),
    /// A title, by rank. An empty one takes back what a person gave.
    Title { rank: TitleRank, text: Text<'a> },
    /// A turn began, without a prompt in this record.
    TurnStart,
    /// A person or the SDK's caller asked something.
    Prompt { text: Long<'a> },
    /// The harness put something in the user's place (a notification, a summary): the model works on
    /// it, but nobody asked.
    Injected,
    /// Another session sent a message; `id` names it at both ends.
    PeerMessage { id: Option<Text<'a>>, text: Long<'a> },
    /// The tool call `call` sent another session a message; comes before the call's result.
    Sent { call: Text<'a>, id: Text<'a> },
    /// A delegate was sent off to work in the background, over the end of the turn.
    SentOff { id: Text<'a>, summary: Text<'a> },
    /// One of these, or something else in the background, has reported back.
    Returned { id: Text<'a> },
    /// So many of them are at work now.
    AtWork(u64),
    /// A delegate began, and when, where that is said.
    SubagentStart { who: Subagent<'a>, at: Option<Timestamp>, text: Long<'a> },
    /// A delegate that began is done; `text` is how.
    SubagentStop { who: Subagent<'a>, failed: bool, text: Text<'a> },
    /// The agent said something. One message may come in several records with one id; `text` may be
    /// empty (thinking only).
    Message { id: Option<Text<'a>>, text: Long<'a> },
    /// Tokens of the message `id`; repeated for each of its records, the last one counts.
    MessageTokens { id: Text<'a>, tokens: Tokens },
    /// Tokens of the whole session so far.
    TotalTokens(Tokens),
    /// Tokens of one more call of the model.
    MoreTokens(Tokens),
    /// The agent used a tool; `asks` when the tool is a question to the user.
    ToolCall { id: Text<'a>, name: Text<'a>, summary: String, input: Long<'a>, asks: bool },
    /// The tool `id` is used only when somebody allows it; whether they did is not written down.
    MayWait { id: Text<'a> },
    /// The tool `id` answered.
    ToolResult { id: Text<'a>, is_error: bool, text: Long<'a> },
    /// A tool that already answered turned out to have failed.
    ToolFailed { id: Text<'a> },
    /// The model's API or the harness failed.
    Error { text: Long<'a>, rate_limited: bool },
    /// A call of the model failed, in a harness that writes each such try into the conversation: told,
    /// but not counted among the errors.
    FailedTry { text: Long<'a> },
    /// The turn is over.
    TurnEnd(TurnResult),
    /// What its harness keeps of the session's run, the present or the last one, beside the records;
    /// `None` where it keeps nothing.
    Run(Option<Run>),
    /// The conversation was summarised.
    Compaction,
    /// The session will not go on (a subagent that finished).
    Finished,
    /// A person has put it away, or taken it out again.
    PutAway(bool),
    /// The harness wrote down that the session ended; `None` that it did not, or goes on again.
    Ended(Option<Timestamp>),
}

impl Fact<'_> {
    /// Whether it moves the turn: it begins or ends one, or is done within one.
    #[must_use]
    pub fn moves(&self) -> bool {
        matches!(
            self,
            Self::TurnStart
                | Self::Prompt { .. }
                | Self::Injected
                | Self::PeerMessage { .. }
                | Self::Message { .. }
                | Self::ToolCall { .. }
                | Self::ToolResult { .. }
                | Self::Error { .. }
                | Self::FailedTry { .. }
                | Self::TurnEnd(_)
                | Self::Finished
        )
    }
}

/// A delegate, as the session that sent it off knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subagent<'a> {
    /// The same in all that is said of it. Whatever is told of one that runs to begin, or of one that does
    /// not to be done, is said a second time.
    pub id: Text<'a>,
    /// The id names its session, too.
    pub names_session: bool,
    /// The call that sent it off, or asked for it.
    pub call: Option<Text<'a>>,
    /// Only if that call was one of this tool.
    pub tool: Option<&'static str>,
}

/// One answer to a prompt, as the harness itself follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Run {
    /// How it ended; `None` while it goes on.
    pub result: Option<TurnResult>,
    /// When it ended, or began while it goes on.
    pub at: Option<Timestamp>,
}

/// Better titles replace worse ones; of the same rank, the first prompt stays and others are last-wins.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
pub enum TitleRank {
    /// What a delegate was asked to do.
    Task,
    /// The harness's summary of an older part.
    Summary,
    /// Generated by the harness.
    Generated,
    /// Given by a person.
    Given,
}

/// The words [`Parsed::issues`] uses.
pub mod issue {
    /// Not valid JSON, nothing recovered.
    pub const DAMAGED: &str = "damaged_line";
    /// Valid only after repair: whole records were recovered from it.
    pub const REPAIRED: &str = "repaired_line";
    /// A record type this release does not know.
    pub const UNKNOWN: &str = "unknown_record";
    /// JSON, but not shaped as its type says.
    pub const SHAPE: &str = "unexpected_shape";
    /// Longer than the limit; streamed past.
    pub const OVERSIZED: &str = "oversized_line";
    /// The file was truncated, rewritten or replaced; it was read again from its start.
    pub const REWRITTEN: &str = "rewritten";
    /// The transcript cannot be read at the moment; what was read before stands.
    pub const UNREADABLE: &str = "unreadable";
}
