//! The payloads of hooks: what Claude Code, Codex and Hermes put on a hook's stdin.
//!
//! Claude Code and Codex share names and fields (2.1.197, 2.1.329; 0.169); Hermes has its own (0.19,
//! `agent/shell_hooks.py`). An event or a field that is not known is no error: harnesses add some every
//! month. Only the fields that [`rrd_proto::hook`] lists arrive here. Not here: what follows from it.

use std::borrow::Cow;

use rrd_proto::{
    Harness, HookCall, HookTmux, SessionKey, TurnResult, WaitingFor,
    hook::{HOOK_PATH, MAX_HOOK_PAYLOAD},
};

use super::{
    is_question,
    json::{Field, Str, first, object},
    summary::{Input, tells_of_a_limit},
};
use crate::{
    fold::TITLE_TEXT,
    hook::{HookEvent, HookTool, HookWord},
    line::{one_line, truncate},
};

/// Characters of an id or a name.
const NAME: usize = 256;

object! {
    struct Payload<'a> {
        event: Str<'a> = "hook_event_name",
        session_id: Str<'a> = "session_id",
        agent_id: Str<'a> = "agent_id",
        cwd: Str<'a> = "cwd",
        transcript: Str<'a> = "transcript_path",
        tool: Str<'a> = "tool_name",
        tool_use_id: Str<'a> = "tool_use_id",
        input: Field<Input<'a>> = "tool_input",
        notification: Str<'a> = "notification_type",
        source: Str<'a> = "source",
        error: Str<'a> = "error",
        tasks: Field<Vec<Field<Task<'a>>>> = "background_tasks",
        extra: Field<Extra<'a>> = "extra",
    }
}

object! {
    struct Task<'a> {
        kind: Str<'a> = "type",
        status: Str<'a> = "status",
    }
}

object! {
    /// What Hermes says of an event beyond what all events have.
    struct Extra<'a> {
        turn_id: Str<'a> = "turn_id",
        tool_call_id: Str<'a> = "tool_call_id",
        child: Str<'a> = "child_session_id",
        surface: Str<'a> = "surface",
        command: Str<'a> = "command",
        interrupted: Field<bool> = "interrupted",
    }
}

/// Why a call says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookIssue {
    /// Not the JSON object of a hook.
    Damaged,
    /// It names no session.
    NoSession,
}

/// Understands a call as far as it can be; also whether this release knows the event.
///
/// # Errors
/// [`HookIssue`] when it is about no session.
pub fn understand(call: &HookCall) -> Result<(HookEvent, bool), HookIssue> {
    let payload = Some(call.payload.as_bytes()).filter(|bytes| bytes.len() <= MAX_HOOK_PAYLOAD);
    let mut payload: Payload<'_> = payload.and_then(first).ok_or(HookIssue::Damaged)?;
    let event = payload.event.take().ok_or(HookIssue::Damaged)?;
    let mut extra = payload.extra.take().unwrap_or_default();
    let session_id = session(&mut payload, &mut extra).ok_or(HookIssue::NoSession)?;
    let (cwd, transcript) = (path(&mut payload.cwd), path(&mut payload.transcript));
    let mut agent = payload.agent_id.some().map(|id| name(&id));
    if event == "subagent_stop" {
        agent = extra.child.some().map(|id| name(&id));
    }
    let word = word(&event, &mut payload, &mut extra, call.unattended);
    let understood = HookEvent {
        id: call.id,
        at: call.at,
        session: SessionKey { harness: call.harness.clone(), session_id },
        agent,
        word: word.clone().unwrap_or(HookWord::Nothing),
        cwd,
        transcript,
        pid: call.process.as_ref().map(|process| process.pid),
        attach: call.tmux.as_ref().and_then(attach),
    };
    Ok((understood, word.is_some()))
}

/// Hermes names no session when it asks for an approval, but its turn ids begin with it.
fn session(payload: &mut Payload<'_>, extra: &mut Extra<'_>) -> Option<String> {
    let named = payload.session_id.some().map(Cow::into_owned);
    let turn = extra.turn_id.some();
    let of_turn = turn.as_ref().and_then(|turn| turn.split_once(':')).map(|(id, _)| id.to_owned());
    named.or(of_turn).map(|id| name(&id)).filter(|id| !id.is_empty())
}

/// `None` for an event that this release does not know.
fn word(
    event: &str,
    payload: &mut Payload<'_>,
    extra: &mut Extra<'_>,
    unattended: bool,
) -> Option<HookWord> {
    Some(match event {
        // After a compaction the same session goes on, in the middle of what it did.
        "SessionStart" if payload.source.text() == "compact" => HookWord::Nothing,
        "SessionStart" | "on_session_start" => HookWord::Start,
        "UserPromptSubmit" | "pre_llm_call" => HookWord::Prompt,
        "PreToolUse" | "pre_tool_call" => HookWord::Call(tool(payload, extra)),
        "PostToolUse" | "PostToolUseFailure" | "post_tool_call" => {
            HookWord::Result(tool(payload, extra))
        }
        // `-p` refuses by itself, and says so in the transcript.
        "PermissionRequest" if unattended => HookWord::Nothing,
        "PermissionRequest" => HookWord::Ask(tool(payload, extra)),
        // A model decides, not a person.
        "pre_approval_request" if extra.surface.text() == "smart" => HookWord::Nothing,
        "pre_approval_request" => HookWord::Ask(approval(extra)),
        "post_approval_response" => HookWord::Answer(extra.tool_call_id.some().map(|id| name(&id))),
        "Notification" => match payload.notification.text() {
            "permission_prompt" if unattended => HookWord::Nothing,
            "permission_prompt" => HookWord::Dialog(WaitingFor::Permission),
            "elicitation_dialog" => HookWord::Dialog(WaitingFor::Input),
            "idle_prompt" => HookWord::AtPrompt,
            _ => HookWord::Nothing,
        },
        "Stop" => HookWord::Stop { result: TurnResult::Completed, background: works_on(payload) },
        "StopFailure" => {
            let error = payload.error.text();
            let limited = error == "rate_limit" || tells_of_a_limit(error);
            let result = if limited { TurnResult::RateLimited } else { TurnResult::Error };
            HookWord::Stop { result, background: false }
        }
        // Called at the end of each turn, whatever its name says.
        "on_session_end" => {
            let interrupted = extra.interrupted.is_true();
            let result = if interrupted { TurnResult::Interrupted } else { TurnResult::Completed };
            HookWord::Stop { result, background: false }
        }
        "SubagentStart" => HookWord::AgentStart,
        "SubagentStop" | "subagent_stop" => HookWord::AgentStop,
        "SessionEnd" | "on_session_finalize" => HookWord::End,
        "PreCompact" | "PostCompact" | "PostToolBatch" | "CwdChanged" | "TaskCreated"
        | "TaskCompleted" | "InstructionsLoaded" | "ConfigChange" | "PermissionDenied"
        | "TeammateIdle" | "WorktreeCreate" | "WorktreeRemove" | "subagent_start"
        | "on_session_reset" => HookWord::Nothing,
        _ => return None,
    })
}

fn tool(payload: &mut Payload<'_>, extra: &mut Extra<'_>) -> HookTool {
    let id = payload.tool_use_id.some().or_else(|| extra.tool_call_id.some());
    let tool = name(payload.tool.text());
    HookTool {
        id: id.map(|id| name(&id)),
        summary: payload.input.get().map(|input| short(&input.summary())).unwrap_or_default(),
        asks: [Harness::ClaudeCode, Harness::Codex].iter().any(|of| is_question(of, &tool)),
        name: tool,
    }
}

fn approval(extra: &mut Extra<'_>) -> HookTool {
    HookTool {
        id: extra.tool_call_id.some().map(|id| name(&id)),
        name: "terminal".to_owned(),
        summary: short(extra.command.text()),
        asks: false,
    }
}

/// Whether other agents go on when the turn is over. A shell that runs on, or a monitor, is no agent:
/// the session itself is at its prompt, as its registry says too.
fn works_on(payload: &Payload<'_>) -> bool {
    let tasks = payload.tasks.get().map(Vec::as_slice).unwrap_or_default();
    tasks.iter().filter_map(Field::get).any(|task| {
        !matches!(task.kind.text(), "shell" | "monitor")
            && matches!(task.status.text(), "" | "running" | "pending")
    })
}

/// As a shell takes it. The pane is checked, for it is pasted.
fn attach(tmux: &HookTmux) -> Option<String> {
    let digits = tmux.pane.strip_prefix('%')?;
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // The server that `tmux` finds by itself needs no name.
    if tmux.socket.ends_with("/default") {
        return Some(format!("tmux attach -t {}", tmux.pane));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    let named = !tmux.socket.is_empty() && tmux.socket.chars().all(plain);
    named.then(|| format!("tmux -S {} attach -t {}", tmux.socket, tmux.pane))
}

fn path(text: &mut Str<'_>) -> Option<String> {
    text.some().map(|path| truncate(&path, HOOK_PATH).0)
}

/// As the fold keeps a tool's line, so that both can be compared.
fn short(text: &str) -> String {
    one_line(text, TITLE_TEXT).0
}

fn name(text: &str) -> String {
    truncate(text, NAME).0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rrd_proto::{HookProcess, Timestamp};

    use super::*;

    fn call(payload: &str) -> HookCall {
        HookCall {
            id: 1,
            harness: Harness::ClaudeCode,
            at: Timestamp::from_millis(5),
            payload: payload.to_owned(),
            unattended: false,
            process: None,
            tmux: None,
            task: None,
        }
    }

    fn word_of(payload: &str) -> Result<(HookWord, bool), HookIssue> {
        understand(&call(payload)).map(|(event, known)| (event.word, known))
    }

    #[test]
    fn what_is_not_known_is_no_error() {
        let stop = |result, background| HookWord::Stop { result, background };
        for (payload, want) in [
            ("", Err(HookIssue::Damaged)),
            ("[1]", Err(HookIssue::Damaged)),
            ("{\"session_id\":\"s\"}", Err(HookIssue::Damaged)),
            (r#"{"hook_event_name":"Stop"}"#, Err(HookIssue::NoSession)),
            (r#"{"hook_event_name":"Stop","session_id":["s"]}"#, Err(HookIssue::NoSession)),
            (r#"{"hook_event_name":"Levitate","session_id":"s"}"#, Ok((HookWord::Nothing, false))),
            (
                r#"{"hook_event_name":"Stop","session_id":"s","background_tasks":"many"}"#,
                Ok((stop(TurnResult::Completed, false), true)),
            ),
            (
                r#"{"hook_event_name":"Stop","session_id":"s","background_tasks":[
                    {"type":"shell","status":"running"},{"type":"subagent","status":"completed"}]}"#,
                Ok((stop(TurnResult::Completed, false), true)),
            ),
            (
                r#"{"hook_event_name":"Stop","session_id":"s","background_tasks":[
                    7,{"type":"subagent","status":"running"}]}"#,
                Ok((stop(TurnResult::Completed, true), true)),
            ),
            (
                r#"{"hook_event_name":"StopFailure","session_id":"s","error":"rate_limit"}"#,
                Ok((stop(TurnResult::RateLimited, false), true)),
            ),
            (
                r#"{"hook_event_name":"Notification","session_id":"s","notification_type":"x"}"#,
                Ok((HookWord::Nothing, true)),
            ),
        ] {
            assert_eq!(word_of(payload), want, "{payload}");
        }
        let large = format!("{{\"session_id\":\"{}\"}}", "s".repeat(MAX_HOOK_PAYLOAD));
        assert_eq!(word_of(&large), Err(HookIssue::Damaged));
    }

    #[test]
    fn questions_ask_for_an_answer() {
        let json = r#"{"hook_event_name":"PreToolUse","session_id":"s","tool_name":"AskUserQuestion",
            "tool_input":{"questions":[{"question":"Which\u001b[2J\none?"}]}}"#;
        let Ok((HookWord::Call(tool), true)) = word_of(json) else { panic!("not a call") };
        assert!(tool.asks);
        assert_eq!(tool.summary, "Which one?");
    }

    #[test]
    fn the_way_to_it_is_checked_before_it_is_pasted() {
        let tmux = |socket: &str, pane: &str| {
            attach(&HookTmux { socket: socket.into(), pane: pane.into() })
        };
        assert_eq!(tmux("/tmp/tmux-1000/default", "%7").as_deref(), Some("tmux attach -t %7"));
        let named = tmux("/tmp/tmux-1000/main", "%12");
        assert_eq!(named.as_deref(), Some("tmux -S /tmp/tmux-1000/main attach -t %12"));
        for (socket, pane) in [("/tmp/default", "7"), ("/tmp/default", "%7;x"), ("/tmp/$(x)", "%7")]
        {
            assert_eq!(tmux(socket, pane), None, "{socket} {pane}");
        }
    }

    #[test]
    fn a_process_is_taken_as_it_is_named() {
        let process = Some(HookProcess { pid: 7, domain: None });
        let call = HookCall { process, ..call(r#"{"hook_event_name":"Stop","session_id":"s"}"#) };
        assert_eq!(understand(&call).map(|(event, _)| event.pid), Ok(Some(7)));
    }

    proptest! {
        #[test]
        fn no_payload_makes_it_fail(text in ".{0,200}", tail in "[\\[{\"a-z:,0-9\\\\]{0,80}") {
            let _ = understand(&call(&text));
            let begun = "{\"hook_event_name\":\"Stop\",\"session_id\":\"s\",\"tool_input\":";
            let _ = understand(&call(&format!("{begun}{tail}")));
        }
    }
}
