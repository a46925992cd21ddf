//! Tells a session of its messages, as context that its harness adds for the model: the one thing that a hook prints.
//!
//! Only where the daemon gives something to tell, which it does when its settings say so; only at events of which
//! clients have been seen to take it (Claude Code 2.1.329, Codex 0.169.0), and never at the end of a turn, where
//! it would begin another one. What was told is noted afterwards: what does not get out in time is told by the
//! next hook. Between the two lies one renaming of a file, which has until [`super::LATE`], so that no hook
//! tells it once more. Not here: what is told (the daemon's).

use std::{fs, io::Write, path::Path, time::Instant};

use rrd_proto::{
    Harness, HookCall, SessionKey,
    message::{MessageCall, MessageReply},
};
use serde::Deserialize;
use serde_json::json;

use super::spool;

/// The events at which something is told.
const EVENTS: [&str; 2] = ["UserPromptSubmit", "PostToolUse"];

/// What of a call says whether, and to whom.
#[derive(Deserialize)]
struct Payload {
    hook_event_name: String,
    session_id: String,
    /// A subagent's: its parent has the messages.
    #[serde(default)]
    agent_id: Option<String>,
}

/// Tells what there is to tell, unless it comes after `latest`.
pub(super) fn tell(
    call: &HookCall,
    state: &Path,
    latest: Instant,
    ask: impl Fn(&MessageCall) -> Option<MessageReply>,
) {
    let Some((event, of)) = whom(call) else { return };
    let Some(MessageReply::ForHook(Some((text, ids)))) = ask(&MessageCall::ForHook { of }) else {
        return;
    };
    let said = json!({
        "hookSpecificOutput": {"hookEventName": event, "additionalContext": text}
    });
    // In one piece: who is out of time leaves, and half of it would be no answer.
    let line = format!("{said}\n");
    let note = spool::shown(state, call, &ids);
    if Instant::now() >= latest {
        return;
    }
    let mut out = std::io::stdout().lock();
    if out.write_all(line.as_bytes()).and_then(|()| out.flush()).is_err() {
        return;
    }
    let noted = note.and_then(spool::Unfinished::finish).ok();
    if ask(&MessageCall::Shown { ids }).is_some()
        && let Some(noted) = noted
    {
        let _ = fs::remove_file(noted);
    }
}

fn whom(call: &HookCall) -> Option<(String, SessionKey)> {
    if !matches!(call.harness, Harness::ClaudeCode | Harness::Codex) {
        return None;
    }
    let payload: Payload = serde_json::from_str(&call.payload).ok()?;
    let Payload { hook_event_name: event, session_id, agent_id } = payload;
    if agent_id.is_some() || !EVENTS.contains(&event.as_str()) {
        return None;
    }
    Some((event, SessionKey { harness: call.harness.clone(), session_id }))
}

#[cfg(test)]
mod tests {
    use rrd_proto::Timestamp;

    use super::*;

    #[test]
    fn only_a_session_itself_is_told_and_never_at_the_end_of_a_turn() {
        let told = |harness: &str, payload: serde_json::Value| {
            let call = HookCall {
                id: 1,
                harness: harness.into(),
                at: Timestamp::from_millis(0),
                payload: payload.to_string(),
                unattended: false,
                process: None,
                tmux: None,
                task: None,
            };
            whom(&call).is_some()
        };
        let at = |event: &str| json!({"hook_event_name": event, "session_id": "s"});
        for event in ["UserPromptSubmit", "PostToolUse"] {
            assert!(told("claude-code", at(event)) && told("codex", at(event)));
            assert!(!told("hermes", at(event)));
        }
        for event in ["Stop", "SubagentStop", "SessionStart", "PreToolUse", "SessionEnd", ""] {
            assert!(!told("claude-code", at(event)), "{event}");
        }
        let mut subagents = at("PostToolUse");
        subagents["agent_id"] = "a".into();
        assert!(!told("claude-code", subagents) && !told("claude-code", json!({})));
    }
}
