//! A hook call on its way from a harness to the daemon: over the local socket, or through the spool.
//!
//! `rrd hook` runs inside the harness's turn and must be gone at once, so it understands nothing: it
//! keeps the fields named here, cuts their texts, and hands the rest to nobody. What was asked, what a
//! tool printed and what the model answered never leave it. Not here: what a call means (`rrd-core`).

use serde::{Deserialize, Serialize};

use crate::{Harness, Timestamp};

/// The folder of the spool beneath rrd's state directory: one file a call, while no daemon answers.
pub const SPOOL_FOLDER: &str = "hooks";

/// The file in the spool whose length is the number of calls that were dropped from it.
pub const SPOOL_DROPPED: &str = "dropped";

/// How the name of a file in the spool ends that names messages which a hook told its session, as a JSON list.
pub const SPOOL_SHOWN: &str = "shown";

/// Most calls in the spool; the oldest are dropped.
pub const SPOOL_CALLS: usize = 512;

/// Most bytes in the spool; the oldest calls are dropped.
pub const SPOOL_BYTES: u64 = 1 << 20;

/// The largest [`HookCall::payload`], in bytes.
pub const MAX_HOOK_PAYLOAD: usize = 16 << 10;

/// Characters kept of a path.
pub const HOOK_PATH: usize = 2048;

/// Characters kept of any other text: a few more than are shown of a command.
pub const HOOK_TEXT: usize = 400;

/// The texts of a payload that are kept.
pub const HOOK_TEXTS: [&str; 10] = [
    "hook_event_name",
    "session_id",
    "agent_id",
    "tool_name",
    "tool_use_id",
    "notification_type",
    "source",
    "reason",
    "cwd",
    "transcript_path",
];

/// The field that is kept where it is a single word (`rate_limit`): else it is what a tool printed.
pub const HOOK_ERROR: &str = "error";

/// The input of a tool: of its arguments the first in [`HOOK_ARGUMENTS`] is kept, else its first text.
pub const HOOK_INPUT: &str = "tool_input";

/// The arguments that say most about a tool's call, best first; transcripts are read by the same list.
pub const HOOK_ARGUMENTS: [&str; 18] = [
    "command",
    "cmd",
    "file_path",
    "notebook_path",
    "questions",
    "question",
    "pattern",
    "query",
    "url",
    "summary",
    "description",
    "skill",
    "prompt",
    "message",
    "plan",
    "path",
    "input",
    "name",
];

/// What still runs when a turn is over: of each task its type and its status are kept.
pub const HOOK_TASKS: &str = "background_tasks";

/// Where Hermes puts what is particular to an event.
pub const HOOK_EXTRA: &str = "extra";

/// What is kept of [`HOOK_EXTRA`].
pub const HOOK_EXTRAS: [&str; 8] = [
    "turn_id",
    "tool_call_id",
    "child_session_id",
    "surface",
    "command",
    "reason",
    "completed",
    "interrupted",
];

/// One call of a harness's hook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookCall {
    /// Differs from call to call: one that was sent and also spooled counts once.
    #[serde(default)]
    pub id: u64,
    /// Who called.
    pub harness: Harness,
    /// When.
    pub at: Timestamp,
    /// What it said: the kept fields of its JSON, as JSON.
    pub payload: String,
    /// Nobody sits at the session, so whatever asks for a permission is refused at once.
    #[serde(default)]
    pub unattended: bool,
    /// The harness's process.
    #[serde(default)]
    pub process: Option<HookProcess>,
    /// The tmux pane that the harness runs in.
    #[serde(default)]
    pub tmux: Option<HookTmux>,
    /// What it says to work on, in its environment.
    #[serde(default)]
    pub task: Option<String>,
}

/// A harness's process, as its hook sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookProcess {
    /// Its pid.
    pub pid: u32,
    /// Which machine and pid namespace that means something in; null where it cannot be told.
    pub domain: Option<String>,
}

/// A tmux pane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookTmux {
    /// The socket of its server.
    pub socket: String,
    /// The pane: `%7`.
    pub pane: String,
}

impl HookCall {
    /// The name of its file in the spool; names sort by the time of the call.
    #[must_use]
    pub fn spool_name(&self) -> String {
        format!("{:015}-{:016x}.json", self.at.as_millis().max(0), self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(at: i64, id: u64) -> HookCall {
        HookCall {
            id,
            harness: Harness::Codex,
            at: Timestamp::from_millis(at),
            payload: "{}".to_owned(),
            unattended: false,
            process: None,
            tmux: None,
            task: None,
        }
    }

    #[test]
    fn spooled_calls_sort_by_time() {
        let mut names = [call(1_795_170_000_000, 1), call(999, u64::MAX), call(-5, 0)]
            .map(|call| call.spool_name());
        names.sort();
        assert!(names[0].starts_with("000000000000000-") && names[2].contains("1795170000000-"));
    }

    #[test]
    fn a_call_spooled_by_another_release_is_read() {
        let older = r#"{"harness":"codex","at":"2026-11-20T10:00:00Z","payload":"{}","new":[1]}"#;
        let read: HookCall = serde_json::from_str(older).unwrap();
        assert_eq!((read.harness, read.process, read.tmux), (Harness::Codex, None, None));
        let text = serde_json::to_string(&call(7, 1)).unwrap();
        assert_eq!(serde_json::from_str::<HookCall>(&text).unwrap(), call(7, 1));
    }
}
