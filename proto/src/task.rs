//! Tasks: which session works on what, as `rrd task` asks for it and is told.
//!
//! The answers in JSON are a contract like a session's. Not here: which of several links counts (the core's
//! `task`).

use serde::{Deserialize, Serialize};

use crate::{Harness, NodeId, SessionKey, Timestamp, json::is_unsafe};

/// Bytes of a task's name, at most.
pub const MAX_TASK: usize = 128;

/// The variable that names the task of whatever runs with it.
pub const TASK_VARIABLE: &str = "RRD_TASK_ID";

/// Whether a text can name a task: printable, one line, single blanks within, at most [`MAX_TASK`] bytes.
#[must_use]
pub fn is_task(text: &str) -> bool {
    let is_plain = |c: char| c == ' ' || !(c.is_whitespace() || c.is_control() || is_unsafe(c));
    text.len() <= MAX_TASK
        && text.chars().all(is_plain)
        && text.split(' ').all(|word| !word.is_empty())
}

/// One question or order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TaskCall {
    /// This session works on the task from now on.
    Link {
        /// The task.
        task: String,
        /// The session.
        key: SessionKey,
    },
    /// No session works on it any more.
    Unlink {
        /// The task.
        task: String,
    },
    /// Every task.
    List,
    /// One of them.
    Show {
        /// The task.
        task: String,
    },
}

/// A task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Its name.
    pub task: String,
    /// The link that counts.
    pub link: TaskLink,
    /// Those before it, the newest first, as far as they are kept.
    pub history: Vec<TaskLink>,
}

/// A host's word on which session works on a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskLink {
    /// Whose session it is; null: none works on it any more.
    pub harness: Option<Harness>,
    /// The session.
    pub session_id: Option<String>,
    /// Of several links the one with the highest counter counts …
    pub counter: u64,
    /// … and of equal ones the one of the highest node. The host that linked.
    pub node_id: NodeId,
    /// That host's label; null where it is not known any more.
    pub host: Option<String>,
    /// When, by that host's clock.
    pub linked_at: Timestamp,
}

impl TaskLink {
    /// The session.
    #[must_use]
    pub fn key(&self) -> Option<SessionKey> {
        let (harness, session_id) = (self.harness.clone()?, self.session_id.clone()?);
        Some(SessionKey { harness, session_id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_short_printable_line() {
        for good in ["T-1", "#42", "fix the build", "größer", "../../etc/passwd", "'; DROP TABLE x"]
        {
            assert!(is_task(good), "{good}");
        }
        assert!(is_task(&"x".repeat(MAX_TASK)) && !is_task(&"x".repeat(MAX_TASK + 1)));
        for bad in [
            "",
            " ",
            " a",
            "a ",
            "a  b",
            "a\nb",
            "a\tb",
            "\u{1b}[31m",
            "a\u{202e}b",
            "a\u{200b}b",
            "a\u{a0}b",
        ] {
            assert!(!is_task(bad), "{bad:?}");
        }
    }
}
