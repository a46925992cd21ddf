//! A session from above: a mark for each event, the stretches of its status and the spans of its subagents,
//! enough to draw all of it and to know what to ask for next.
//!
//! Not here: the events themselves ([`crate::Event`]), and how any of it is drawn.

use serde::{Deserialize, Serialize};

use crate::{Event, EventKind, LastWords, NodeId, SessionKey, Status, Timestamp, WaitingFor};

/// Marks of an answer, at most.
pub const MAX_MARKS: u32 = 20_000;

/// Subagents of an answer, at most.
pub const MAX_SUBAGENTS: usize = 1_000;

/// Which session's outline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutlineQuery {
    /// The session.
    pub key: SessionKey,
    /// Whose, where it is another host's; that one is asked.
    #[serde(default)]
    pub node: Option<NodeId>,
    /// Only marks with a greater seq; null for those from the beginning.
    #[serde(default)]
    pub after: Option<u64>,
    /// At most so many marks, and at most [`MAX_MARKS`].
    pub limit: u32,
}

/// A session from above.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Outline {
    /// A mark for each event, by seq.
    pub marks: Vec<Mark>,
    /// More marks follow.
    pub more: bool,
    /// Which status it had when, as far as a daemon saw it change; oldest first.
    #[serde(default)]
    pub stretches: Vec<Stretch>,
    /// Events up to then were copied from the session that this one is a fork of.
    #[serde(default)]
    pub copied_to: Option<Timestamp>,
    /// Events of which a limit took the body, or all: a body that is not there was kept no longer.
    #[serde(default)]
    pub dropped: u64,
    /// Which events these are, and which limit it was; in order.
    #[serde(default)]
    pub gaps: Vec<Gap>,
    /// Its host is away, and another one told what it did last.
    #[serde(default)]
    pub last_words: Option<LastWords>,
    /// Its subagents and theirs, the oldest first and at most [`MAX_SUBAGENTS`]; they come with the first
    /// marks. Their events are told as any session's are.
    #[serde(default)]
    pub subagents: Vec<Subagent>,
    /// Older ones that are not among these.
    #[serde(default)]
    pub more_subagents: u64,
}

/// A session that works for another one, from above.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Subagent {
    /// Its id; the harness is that of the session it works for.
    pub session_id: String,
    /// Whom it works for: the session of the outline, or another of its subagents.
    pub parent_session_id: String,
    /// The given title, else its first prompt.
    pub title: Option<String>,
    /// What it is doing.
    pub status: Status,
    /// Its first record; null where the harness does not say when that was.
    pub from: Option<Timestamp>,
    /// Its last record, once it is over or waits for its next turn; null while it goes on.
    pub to: Option<Timestamp>,
    /// Something failed in it: a tool, the model's API, or all of it.
    #[serde(default)]
    pub failed: bool,
}

impl Outline {
    /// The settings whose limits took something: `activity.session, activity.age`; empty where none did.
    #[must_use]
    pub fn limits(&self) -> String {
        let mut limits: Vec<&str> = self.gaps.iter().map(|gap| gap.why.setting()).collect();
        limits.sort_unstable();
        limits.dedup();
        limits.join(", ")
    }
}

/// One event from above.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Mark {
    /// The event's seq.
    pub seq: u64,
    /// When it happened, where the harness says so.
    pub at: Option<Timestamp>,
    /// What happened.
    pub kind: EventKind,
    /// What sort of tool, for calls and results.
    pub tool: Option<ToolKind>,
    /// A failed tool or API call.
    pub is_error: bool,
    /// It was taken back since.
    #[serde(default)]
    pub withdrawn: bool,
    /// For a result: the seq of the call that it answers, where that is known.
    #[serde(default)]
    pub call: Option<u64>,
}

impl Mark {
    /// The mark of an event; which call it answers others have to say.
    #[must_use]
    pub fn of(event: &Event) -> Self {
        Self {
            seq: event.seq,
            at: event.at,
            kind: event.kind,
            tool: event.tool.as_deref().map(ToolKind::of),
            is_error: event.is_error,
            withdrawn: event.withdrawn,
            call: None,
        }
    }
}

/// For so long it had this status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Stretch {
    /// Since when.
    pub from: Timestamp,
    /// Until when; null while it lasts, or where nobody saw its end.
    pub to: Option<Timestamp>,
    /// The status.
    pub status: Status,
    /// What it waited for.
    pub waiting_for: Option<WaitingFor>,
    /// What about.
    pub detail: Option<String>,
}

/// A limit took what these events said, or all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Gap {
    /// Seq of the first one.
    pub first: u64,
    /// And of the last one.
    pub last: u64,
    /// Which limit.
    pub why: Limit,
}

impl Gap {
    /// Whether this event is one of them.
    #[must_use]
    pub const fn has(&self, seq: u64) -> bool {
        self.first <= seq && seq <= self.last
    }

    /// How many events these are.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.last.saturating_sub(self.first).saturating_add(1)
    }
}

/// Limits of what is kept of sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// So much of one session.
    Session,
    /// So much of all of them.
    Total,
    /// For so long.
    Age,
    /// One of a newer release.
    #[serde(other)]
    Other,
}

impl Limit {
    /// The setting's name.
    #[must_use]
    pub const fn setting(self) -> &'static str {
        match self {
            Self::Session => "activity.session",
            Self::Total => "activity.total",
            Self::Age => "activity.age",
            Self::Other => "another",
        }
    }
}

/// What sort of thing a tool does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ToolKind {
    /// Changes files.
    Edit,
    /// Runs a command.
    Command,
    /// Reads or searches, here or on the web.
    Read,
    /// Has another agent do it.
    Delegate,
    /// Asks its user.
    Question,
    /// Anything else.
    #[serde(other)]
    Other,
}

impl ToolKind {
    /// By the tool's name, in the words of every harness that is read.
    #[must_use]
    pub fn of(tool: &str) -> Self {
        // An MCP tool is `mcp__server__tool`: the last word tells.
        let word = tool.rsplit("__").next().unwrap_or(tool).to_ascii_lowercase();
        match word.as_str() {
            "edit"
            | "multiedit"
            | "write"
            | "notebookedit"
            | "apply_patch"
            | "patch"
            | "write_file"
            | "edit_file"
            | "str_replace_editor"
            | "str_replace"
            | "str_replace_based_edit_tool"
            | "create_file" => Self::Edit,
            "bash" | "shell" | "local_shell" | "exec" | "exec_command" | "write_stdin"
            | "shell_command" | "terminal" | "process" | "powershell" | "execute_code"
            | "bashoutput" | "killshell" | "killbash" | "repl" => Self::Command,
            "read" | "grep" | "glob" | "ls" | "find" | "notebookread" | "webfetch"
            | "websearch" | "web_search" | "web_fetch" | "web_extract" | "read_file"
            | "search_files" | "list_dir" | "view_image" | "session_search" | "toolsearch" => {
                Self::Read
            }
            "agent" | "task" | "spawn_agent" | "delegate_task" | "sessions_spawn" | "subagents"
            | "wait_agent" | "send_input" | "close_agent" | "resume_agent" => Self::Delegate,
            "askuserquestion" | "exitplanmode" | "request_user_input" | "clarify" => Self::Question,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_older_release_told_is_read_all_the_same() {
        let told = r#"{"marks": [], "more": false, "stretches": []}"#;
        let outline: Outline = serde_json::from_str(told).unwrap();
        assert_eq!(outline, Outline::default());
        let told = r#"{"session_id": "a", "parent_session_id": "b", "title": null, "status": "ended",
            "from": null, "to": null, "what_a_newer_one_adds": 1}"#;
        assert!(!serde_json::from_str::<Subagent>(told).unwrap().failed);
    }

    #[test]
    fn tools_are_known_by_their_names() {
        for (tool, kind) in [
            ("Edit", ToolKind::Edit),
            ("apply_patch", ToolKind::Edit),
            ("Bash", ToolKind::Command),
            ("exec_command", ToolKind::Command),
            ("terminal", ToolKind::Command),
            ("Grep", ToolKind::Read),
            ("mcp__files__read_file", ToolKind::Read),
            ("Agent", ToolKind::Delegate),
            ("clarify", ToolKind::Question),
            ("", ToolKind::Other),
            ("mcp__x__", ToolKind::Other),
        ] {
            assert_eq!(ToolKind::of(tool), kind, "{tool}");
        }
    }
}
