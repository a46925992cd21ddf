//! Records as the two harnesses write them, each with what a reader must make of it.

use rrd_proto::{Counts, EventKind, Harness, Timestamp};
use serde_json::{Value, json};

/// The first record's time: 2026-11-20T10:00:00Z.
const BEGAN: i64 = 1_795_168_800_000;

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Says {
    /// Whose transcript it is, where that is a record of its own.
    Header,
    Prompt,
    Message,
    ToolCall,
    Failure,
}

/// One record: its bytes without the newline, and what counts of it.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) line: Vec<u8>,
    pub(crate) at: Timestamp,
    pub(crate) counts: Counts,
    /// Its event, by kind and by the text or call that tells it from all others.
    pub(crate) event: Option<(EventKind, String)>,
}

/// Whose transcript records go to.
#[derive(Debug, Clone)]
pub(crate) struct Author {
    pub(crate) harness: Harness,
    /// The id that stands in the records: for a subagent, its parent's.
    pub(crate) session: String,
    /// A subagent's own id.
    pub(crate) agent: Option<String>,
}

impl Author {
    /// Whether it is Codex.
    pub(crate) fn is_codex(&self) -> bool {
        self.harness == Harness::from("codex")
    }

    /// The id its session is known by.
    pub(crate) fn id(&self) -> &str {
        self.agent.as_ref().unwrap_or(&self.session)
    }

    /// The record number `n` of this session, made at least `min_len` bytes long.
    pub(crate) fn write(&self, n: u64, says: Says, min_len: usize) -> Record {
        let text = format!("{says:?} {n} of {}", self.id()).to_lowercase();
        let call = format!("call_{}_{n}", self.id());
        let at = Timestamp::from_millis(BEGAN + i64::try_from(n).unwrap() * 1_000);
        let bare = match self.is_codex() {
            true => self.codex(says, &text, &call, at),
            false => self.claude_code(n, says, &text, &call, at),
        };
        let bare = bare.strip_suffix('}').unwrap();
        let padding = "x".repeat(min_len.saturating_sub(bare.len() + r#","padding":""}"#.len()));
        let line = format!(r#"{bare},"padding":"{padding}"}}"#).into_bytes();
        let (one, none) = (1, Counts::default());
        let (counts, event) = match says {
            Says::Header => (none, None),
            Says::Prompt => (Counts { prompts: one, ..none }, Some((EventKind::Prompt, text))),
            Says::Message => (Counts { messages: one, ..none }, Some((EventKind::Message, text))),
            Says::ToolCall => {
                // Claude Code's calls are part of a message, Codex's are not.
                let messages = u64::from(!self.is_codex());
                (Counts { tool_calls: one, messages, ..none }, Some((EventKind::ToolCall, call)))
            }
            Says::Failure => {
                let event = match self.is_codex() {
                    true => (EventKind::Error, text),
                    false => (EventKind::ToolResult, call),
                };
                (Counts { errors: one, ..none }, Some(event))
            }
        };
        Record { line, at, counts, event }
    }

    fn claude_code(&self, n: u64, says: Says, text: &str, call: &str, at: Timestamp) -> String {
        let who = self.id();
        let answer = |content: Value, stop: &str| {
            json!({"id": format!("msg_{who}_{n}"), "role": "assistant", "model": "m",
                "content": [content], "stop_reason": stop})
        };
        let (kind, message) = match says {
            Says::Header | Says::Prompt => ("user", json!({"role": "user", "content": text})),
            Says::Failure => {
                let result = json!({"type": "tool_result", "tool_use_id": call, "is_error": true,
                    "content": text});
                ("user", json!({"role": "user", "content": [result]}))
            }
            Says::Message => {
                ("assistant", answer(json!({"type": "text", "text": text}), "end_turn"))
            }
            Says::ToolCall => {
                let used = json!({"type": "tool_use", "id": call, "name": "Bash",
                    "input": {"command": text}});
                ("assistant", answer(used, "tool_use"))
            }
        };
        let agent = self.agent.as_ref().map(|id| format!(r#","agentId":"{id}""#));
        format!(
            concat!(
                r#"{{"parentUuid":null,"isSidechain":{},"type":"{}","uuid":"uuid-{}-{}","timestamp":"{}","#,
                r#""promptSource":"typed","entrypoint":"cli","cwd":"/w","version":"2.1.329","#,
                r#""sessionId":"{}"{},"message":{}}}"#
            ),
            self.agent.is_some(),
            kind,
            who,
            n,
            at,
            self.session,
            agent.unwrap_or_default(),
            message,
        )
    }

    fn codex(&self, says: Says, text: &str, call: &str, at: Timestamp) -> String {
        let (kind, payload) = match says {
            Says::Header => (
                "session_meta",
                json!({"id": self.session, "timestamp": at.to_string(), "cwd": "/w",
                    "originator": "codex_cli_rs", "cli_version": "0.98.0", "source": "cli"}),
            ),
            Says::Prompt => {
                ("event_msg", json!({"type": "user_message", "message": text, "kind": "plain"}))
            }
            Says::Message => ("event_msg", json!({"type": "agent_message", "message": text})),
            Says::ToolCall => (
                "response_item",
                json!({"type": "function_call", "name": "shell", "arguments": "{}", "call_id": call}),
            ),
            Says::Failure => ("event_msg", json!({"type": "error", "message": text})),
        };
        format!(r#"{{"timestamp":"{at}","type":"{kind}","payload":{payload}}}"#)
    }
}
