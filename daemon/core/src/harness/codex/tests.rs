//! Codex records of both vocabularies, one shape at a time.

use rrd_proto::{ParentKind, Tokens, TurnResult};

use super::FORMAT;
use crate::{
    fact::{Fact, Origin, issue},
    harness::{Parser, ParserState},
};

fn parser() -> Box<dyn Parser> {
    (FORMAT.parser)(ParserState::default())
}

fn line(kind: &str, payload: &str) -> String {
    format!(r#"{{"timestamp":"2026-11-20T10:00:00Z","type":"{kind}","payload":{{{payload}}}}}"#)
}

fn event(kind: &str, rest: &str) -> String {
    line("event_msg", &format!(r#""type":"{kind}"{rest}"#))
}

fn old(voice: &str, text: &str) -> String {
    event(voice, &format!(r#","message":"{text}""#))
}

fn new(voice: &str, text: &str) -> String {
    event(
        "item_completed",
        &format!(
            r#","item":{{"type":"{voice}","id":"i","content":[{{"type":"text","text":"{text}"}}]}}"#
        ),
    )
}

/// What is said in a file of these lines, and how turns begin and end.
fn said(lines: &[String]) -> String {
    let mut parser = parser();
    let mut out = Vec::new();
    for line in lines {
        for fact in parser.line(line.as_bytes()).facts {
            match fact {
                Fact::Prompt { text } => out.push(format!("?{text}")),
                Fact::Message { text, .. } => out.push(format!("!{text}")),
                Fact::TurnStart => out.push("<".to_owned()),
                Fact::TurnEnd(result) => out.push(format!("{}>", result.as_str())),
                Fact::Error { text, .. } => out.push(format!("E{text}")),
                _ => {}
            }
        }
        // Going on from a stored state must make no difference.
        parser = (FORMAT.parser)(parser.state());
    }
    out.join(" ")
}

#[test]
fn either_vocabulary_and_both() {
    let (begin, end) =
        (event("task_started", ""), event("task_complete", r#","last_agent_message":"x""#));
    let (ask, answer) = ("user_message", "agent_message");
    let (ask2, answer2) = ("UserMessage", "AgentMessage");
    let old_header = line("session_meta", r#""id":"t""#);
    let new_header = line("session_meta", r#""id":"t","history_mode":"paginated""#);
    for (lines, expected) in [
        // 0.98: no turns.
        (
            vec![
                old_header.clone(),
                old(ask, "a"),
                old(answer, "b"),
                old(ask, "a"),
                old(answer, "b"),
            ],
            "?a !b completed> ?a !b completed>",
        ),
        // In between: the old words, with turns.
        (
            vec![
                old_header.clone(),
                begin.clone(),
                old(ask, "a"),
                old(answer, "b"),
                old(answer, "c"),
                end.clone(),
            ],
            "< ?a !b !c completed>",
        ),
        // 0.169.
        (
            vec![new_header.clone(), begin.clone(), new(ask2, "a"), new(answer2, "b"), end.clone()],
            "< ?a !b completed>",
        ),
        (
            vec![
                new_header.clone(),
                begin.clone(),
                new(ask2, "a"),
                old(ask, "a"),
                new(answer2, "b"),
                old(answer, "b"),
                end.clone(),
            ],
            "< ?a !b completed>",
        ),
        // The same said twice is said twice.
        (
            vec![
                new_header.clone(),
                begin.clone(),
                new(ask2, "a"),
                new(ask2, "a"),
                end.clone(),
                begin.clone(),
                new(ask2, "a"),
            ],
            "< ?a ?a completed> < ?a",
        ),
        // An old thread resumed by a newer client that writes the new words, or both.
        (
            vec![
                old_header.clone(),
                old(ask, "a"),
                old(answer, "b"),
                begin.clone(),
                new(ask2, "a"),
                new(answer2, "b"),
                end.clone(),
            ],
            "?a !b completed> < ?a !b completed>",
        ),
        (
            vec![
                old_header.clone(),
                old(ask, "a"),
                old(answer, "b"),
                begin.clone(),
                old(ask, "c"),
                new(ask2, "c"),
                new(answer2, "d"),
                old(answer, "d"),
                end.clone(),
            ],
            "?a !b completed> < ?c !d completed>",
        ),
        (
            vec![
                old_header,
                begin.clone(),
                new(ask2, "c"),
                old(ask, "c"),
                old(answer, "d"),
                new(answer2, "d"),
                end.clone(),
            ],
            "< ?c !d completed>",
        ),
        // A new thread resumed by an old client.
        (
            vec![
                new_header,
                begin.clone(),
                new(ask2, "a"),
                new(answer2, "b"),
                end,
                old(ask, "b"),
                old(answer, "b"),
            ],
            "< ?a !b completed> ?b !b completed>",
        ),
        (vec![begin, event("turn_aborted", r#","reason":"interrupted""#)], "< interrupted>"),
        (vec![event(ask, r#","kind":"environment_context","message":"x""#)], ""),
    ] {
        assert_eq!(said(&lines), expected, "{lines:#?}");
    }
}

#[test]
fn failed_turns() {
    let begin = event("task_started", "");
    let error = event("error", r#","message":"boom","codex_error_info":"other""#);
    let end = |message: &str, info: &str| {
        event(
            "task_complete",
            &format!(r#","error":{{"message":"{message}","codex_error_info":{info}}}"#),
        )
    };
    for (lines, expected) in [
        (vec![begin.clone(), end("boom", "\"other\"")], "< Eboom error>"),
        (vec![begin.clone(), error.clone(), end("boom", "\"other\"")], "< Eboom error>"),
        (vec![begin.clone(), end("x", "\"usage_limit_exceeded\"")], "< Ex rate_limited>"),
        (
            vec![begin, end("You've hit your usage limit.", "{}")],
            "< EYou've hit your usage limit. rate_limited>",
        ),
        (vec![error], "Eboom error>"),
    ] {
        assert_eq!(said(&lines), expected);
    }
}

#[test]
fn headers() {
    let show = |payload: &str| {
        let line = line("session_meta", payload);
        format!("{:?}", parser().line(line.as_bytes()).facts)
    };
    let full = show(
        r#""session_id":"root","id":"t","timestamp":"2026-11-20T09:00:00Z","cwd":"/w","originator":"x","cli_version":"1","source":"cli","history_mode":"paginated","git":{"branch":"main","repository_url":"r"}"#,
    );
    assert_eq!(
        full,
        r#"[SessionId("t"), Started(Timestamp(1795165200000)), Cwd("/w"), Branch("main"), Remote("r"), Version("1"), LeavesTrace, Interactive(true)]"#
    );
    for (payload, ends) in [
        (r#""id":"t","source":"exec""#, "Interactive(false)]"),
        (r#""id":"t","source":"vscode""#, "Interactive(true)]"),
        (r#""id":"t","originator":"codex_exec""#, "Interactive(false)]"),
        (
            r#""id":"t","source":{"subagent":{"thread_spawn":{"parent_thread_id":"p","depth":1}}},"originator":"codex_exec""#,
            r#"[SessionId("t"), Parent { id: "p", kind: Subagent }]"#,
        ),
        (
            r#""id":"t","source":{"subagent":{"other":"guardian"}},"parent_thread_id":"p""#,
            r#"[SessionId("t"), Parent { id: "p", kind: Subagent }]"#,
        ),
        (
            r#""id":"t","session_id":"t","source":{"subagent":{"other":"guardian"}}"#,
            r#"[SessionId("t"), Delegate]"#,
        ),
        (r#""id":"t","source":{"subagent":"review"}"#, r#"[SessionId("t"), Delegate]"#),
        (
            r#""id":"t","session_id":"p","source":{"subagent":"review"}"#,
            r#"[SessionId("t"), Parent { id: "p", kind: Subagent }]"#,
        ),
        (
            r#""id":"t","source":{"subagent":"review"},"forked_from_id":"p""#,
            r#"[SessionId("t"), Parent { id: "p", kind: Subagent }]"#,
        ),
        (r#""id":"t","forked_from_id":"p""#, r#"[SessionId("t"), Parent { id: "p", kind: Fork }]"#),
    ] {
        assert!(show(payload).ends_with(ends), "{payload}: {}", show(payload));
    }
    assert_eq!(ParentKind::Fork.as_str(), "fork");
}

#[test]
fn a_parents_history_does_not_count() {
    let mut parser = parser();
    let header = line("session_meta", r#""id":"t","subagent_history_start_ordinal":5"#);
    parser.line(header.as_bytes());
    let parent = parser.line(header.as_bytes());
    assert_eq!((parent.facts, parent.origin), (vec![], Origin::Copied));
    let ordinal = |n: u64| new("UserMessage", "a").replacen('{', &format!("{{\"ordinal\":{n},"), 1);
    assert_eq!(parser.line(ordinal(4).as_bytes()).origin, Origin::Copied);
    assert_eq!(parser.line(ordinal(5).as_bytes()).facts.len(), 1);
}

#[test]
fn what_would_leave_the_sandbox_may_wait_for_somebody() {
    let policy = |more: &str| line("turn_context", &format!(r#""cwd":"/w"{more}"#));
    let call = |arguments: &str| {
        let named = r#""type":"function_call","name":"exec_command","call_id":"c""#;
        let arguments = serde_json::to_string(arguments).unwrap();
        line("response_item", &format!(r#"{named},"arguments":{arguments}"#))
    };
    let waits = |context: &str, arguments: &str| {
        let mut parser = parser();
        let (context, call) = (policy(context), call(arguments));
        parser.line(context.as_bytes());
        let facts = parser.line(call.as_bytes()).facts;
        facts.contains(&Fact::MayWait { id: "c".into() })
    };
    const ESCALATES: &str = r#"{"cmd":"make","sandbox_permissions":"require_escalated"}"#;
    const OLD: &str = r#"{"command":["make"],"with_escalated_permissions":true}"#;
    for (context, arguments, expected) in [
        ("", ESCALATES, true),
        (r#","approval_policy":"on-request""#, ESCALATES, true),
        (r#","approval_policy":"on-request","approvals_reviewer":"user""#, OLD, true),
        // Refused at once, or decided by an agent.
        (r#","approval_policy":"never""#, ESCALATES, false),
        (r#","approval_policy":"on-request","approvals_reviewer":"auto_review""#, OLD, false),
        ("", r#"{"cmd":"make","sandbox_permissions":"use_default"}"#, false),
        ("", r#"{"command":["make"],"with_escalated_permissions":false}"#, false),
        ("", r#"{"cmd":"grep require_escalated"}"#, false),
        ("", r#"{"cmd":"require_escalated"#, false),
    ] {
        assert_eq!(waits(context, arguments), expected, "{context} {arguments}");
    }
}

#[test]
fn calls_are_summed_up() {
    let call = |payload: &str| {
        let line = line("response_item", payload);
        match parser().line(line.as_bytes()).facts.as_slice() {
            [Fact::ToolCall { id, name, summary, asks, .. }, ..] => {
                format!("{id} {name} {summary} {asks}")
            }
            other => format!("{other:?}"),
        }
    };
    for (payload, expected) in [
        (
            r#""type":"function_call","name":"exec_command","arguments":"{\"cmd\": \"echo \\\"hi\\\"\"}","call_id":"c","id":"fc""#,
            "c exec_command echo \"hi\" false",
        ),
        (
            r#""type":"function_call","name":"shell","arguments":"{\"command\":[\"bash\",\"-lc\",\"ls\"]}","call_id":"c""#,
            "c shell ls false",
        ),
        (
            r#""type":"function_call","name":"request_user_input","arguments":"{\"questions\":[{\"question\":\"Q\"}]}","call_id":"c""#,
            "c request_user_input Q true",
        ),
        (
            r#""type":"function_call","name":"f","arguments":"not json","call_id":"c""#,
            "c f not json false",
        ),
        (
            r#""type":"custom_tool_call","name":"apply_patch","input":"*** Begin Patch\n*** Update File: a.rs\n","call_id":"c""#,
            "c apply_patch a.rs false",
        ),
        (
            r#""type":"local_shell_call","call_id":"c","action":{"type":"exec","command":["git","log"]}"#,
            "c local_shell git log false",
        ),
        (
            r#""type":"web_search_call","status":"completed","action":{"type":"search","query":"q"}"#,
            "2026-11-20T10:00:00Z web_search q false",
        ),
        (r#""type":"message","role":"user","content":[]"#, "[]"),
        // What a hook added for the model.
        (
            r#""type":"message","role":"developer","content":[{"type":"input_text","text":"rrd: messages"}]"#,
            "[]",
        ),
        (r#""type":"reasoning","summary":[]"#, "[]"),
    ] {
        assert_eq!(call(payload), expected);
    }
}

#[test]
fn failures_are_told_by_the_text_or_by_an_item() {
    let failed = |header: &str, output: &str| {
        let mut parser = parser();
        parser.line(line("session_meta", header).as_bytes());
        let line = line(
            "response_item",
            &format!(r#""type":"function_call_output","call_id":"c","output":{output}"#),
        );
        match parser.line(line.as_bytes()).facts.as_slice() {
            [Fact::ToolResult { is_error, text, .. }] => format!("{is_error} {text}"),
            other => format!("{other:?}"),
        }
    };
    let legacy = r#""id":"t""#;
    for (output, expected) in [
        (r#""Chunk ID: 1\nProcess exited with code 3\nOutput:\nx""#, "true x"),
        (
            r#""Chunk ID: 1\nProcess exited with code 0\nOutput:\nExit code: 1""#,
            "false Exit code: 1",
        ),
        (r#""Exit code: 1\nWall time: 0.1 seconds\nOutput:\n""#, "true "),
        (
            r#""Exit code: 0\nOutput:\nProcess exited with code 3""#,
            "false Process exited with code 3",
        ),
        (r#""Process exited with code 3""#, "false Process exited with code 3"),
        (r#"{"content":"no","success":false}"#, "true no"),
        (r#"[{"type":"input_text","text":"t"}]"#, "false t"),
        (
            r#""{\"output\":\"x\",\"metadata\":{\"exit_code\":0}}""#,
            r#"false {"output":"x","metadata":{"exit_code":0}}"#,
        ),
        (
            r#""{\"output\":\"x\",\"metadata\":{\"exit_code\":7}}""#,
            r#"true {"output":"x","metadata":{"exit_code":7}}"#,
        ),
        ("null", "false "),
    ] {
        assert_eq!(failed(legacy, output), expected, "{output}");
    }
    let paginated = r#""id":"t","history_mode":"paginated""#;
    assert_eq!(failed(paginated, r#""Process exited with code 3\nOutput:\nx""#), "false x");
    let mut parser = parser();
    let mut item = |rest: &str| {
        let line = event("item_completed", &format!(r#","item":{{"id":"c",{rest}}}"#));
        parser.line(line.as_bytes()).facts.len()
    };
    assert_eq!(item(r#""type":"CommandExecution","status":"failed","exit_code":-1"#), 1);
    assert_eq!(item(r#""type":"CommandExecution","status":"completed","exit_code":0"#), 0);
    assert_eq!(item(r#""type":"CommandExecution","status":"failed","source":"user_shell""#), 0);
}

#[test]
fn tokens_models_and_the_rest() {
    let usage = r#"{"input_tokens":10,"cached_input_tokens":4,"cache_write_input_tokens":1,"output_tokens":2}"#;
    let total = Fact::TotalTokens(Tokens { input: 6, output: 2, cache_read: 4, cache_write: 1 });
    for (line, expected) in [
        (
            event("token_count", &format!(r#","info":{{"total_token_usage":{usage}}}"#)),
            vec![total.clone()],
        ),
        (event("token_count", r#","info":null"#), vec![]),
        (
            line("token_usage_record", &format!(r#""thread_token_usage":{usage},"usage":{{}}"#)),
            vec![total],
        ),
        (
            line("turn_context", r#""cwd":"/w","model":"m""#),
            vec![Fact::MovedTo("/w".into()), Fact::Model("m".into())],
        ),
        (line("compacted", r#""message":"","replacement_history":[]"#), vec![Fact::Compaction]),
        (line("world_state", ""), vec![]),
        (event("turn_diff", r#","unified_diff":"x""#), vec![]),
    ] {
        let parsed = parser().line(line.as_bytes());
        assert_eq!((parsed.facts, parsed.issues, parsed.key), (expected, vec![], None), "{line}");
    }
    assert_eq!(parser().line(line("tomorrow", "").as_bytes()).issues, [issue::UNKNOWN]);
    assert_eq!(
        parser().line(br#"{"timestamp":1,"type":"event_msg","payload":[]}"#).issues,
        [issue::SHAPE]
    );
    assert_eq!(TurnResult::Completed.as_str(), "completed");
}
