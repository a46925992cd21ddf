//! What parents' records say of their subagents: from recordings of the real clients where there are some,
//! else from lines in the shape that the client's own source gives them (each says which).

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::{Path, PathBuf};

use rrd_core::{
    fold::Fold,
    harness::{ParserState, format_of},
};
use rrd_proto::{Event, EventKind, Harness};

fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// All events of these lines, and the fold they make.
fn folded(harness: Harness, lines: &[impl AsRef<str>]) -> (Fold, Vec<Event>) {
    let mut parser = (format_of(&harness).unwrap().parser)(ParserState::default());
    let (mut fold, mut events) = (Fold::default(), Vec::new());
    for line in lines {
        let parsed = parser.line(line.as_ref().as_bytes());
        fold.apply(parsed, 0, &mut events);
    }
    (fold, events)
}

/// `start a937 10:29:21.631 of toolu_1: text`, for each start and stop.
fn told(events: &[Event]) -> Vec<String> {
    let word = |event: &Event| match event.kind {
        EventKind::SubagentStart => Some("start"),
        EventKind::SubagentStop => Some("stop"),
        _ => None,
    };
    let line = |event: &Event| {
        let word = word(event)?;
        let at = event.at.map(|at| at.to_string()[11..23].to_owned());
        Some(format!(
            "{word}{} {} {} of {}: {}",
            if event.is_error { " failed" } else { "" },
            event.subagent.as_deref().unwrap_or("?"),
            at.as_deref().unwrap_or("?"),
            event.tool_call_id.as_deref().unwrap_or("?"),
            event.text
        ))
    };
    events.iter().filter_map(line).collect()
}

fn lines(path: &str) -> Vec<String> {
    let text = std::fs::read_to_string(fixture(path)).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// The lines that a recording with times appends to one file.
fn appended(path: &str, to: &str) -> Vec<String> {
    let mut all = Vec::new();
    for step in lines(path) {
        let step: serde_json::Value = serde_json::from_str(&step).unwrap();
        if step["append"].as_str().is_some_and(|file| file.ends_with(to)) {
            all.extend(step["lines"].as_array().unwrap().iter().map(ToString::to_string));
        }
    }
    all
}

const CLAUDE: &str = "tests/fixtures/claude-code";

#[test]
fn claude_code_waits_for_one_and_says_how_long_it_took() {
    let recorded = lines(&format!(
        "{CLAUDE}/329-subagent/projects/-home-dev-src-alpha/55e844f2-dd72-48dc-844e-7bf33d9bb17d.jsonl"
    ));
    let (fold, events) = folded(Harness::ClaudeCode, &recorded);
    assert_eq!(
        told(&events),
        [
            "start a937ff163c830dc11 10:29:21.631 of toolu_mock396887ee36b443: \
             SUBAUDIT: read the readme and report",
            "stop a937ff163c830dc11 10:29:21.925 of toolu_mock396887ee36b443: completed",
        ]
    );
    assert_eq!(fold.counts.tool_calls, 1, "they count as nothing");
    // Its own records begin within some milliseconds of that.
    let own = lines(&format!(
        "{CLAUDE}/329-subagent/projects/-home-dev-src-alpha/55e844f2-dd72-48dc-844e-7bf33d9bb17d/subagents/agent-a937ff163c830dc11.jsonl"
    ));
    let (child, _) = folded(Harness::ClaudeCode, &own);
    let start = events.iter().find(|event| event.kind == EventKind::SubagentStart).unwrap();
    let apart = child.started_at().unwrap().since(start.at.unwrap());
    assert!((-100..500).contains(&apart), "{apart} ms");
}

#[test]
fn claude_code_sends_one_off_and_is_notified() {
    let recorded = appended(
        "../tests/fixtures/claude-code/329-tui-subagent-background.jsonl",
        "95d54c91-64a6-4103-a024-e87452a78e43.jsonl",
    );
    let (_, events) = folded(Harness::ClaudeCode, &recorded);
    // What the notification says after its ids was cut from the recording, how it came out among it.
    assert_eq!(
        told(&events),
        [
            "start a06b57820eeee14ec 13:14:48.914 of toolu_mock17061aacc21e: Slow audit",
            "stop a06b57820eeee14ec 13:14:56.418 of toolu_mock17061aacc21e: ",
        ]
    );
    // Told once more, nothing happens once more.
    let again: Vec<_> = recorded.iter().chain(&recorded[recorded.len() - 2..]).cloned().collect();
    let (_, events) = folded(Harness::ClaudeCode, &again);
    assert_eq!(told(&events).len(), 2);
}

#[test]
fn claude_code_is_notified_of_other_things_too() {
    let notice = |id: &str, status: &str| {
        format!(
            r#"{{"type":"user","uuid":"n{id}{status}","sessionId":"s","timestamp":"2026-11-21T13:00:09.000Z","promptSource":"system","origin":{{"kind":"task-notification"}},"message":{{"role":"user","content":"<task-notification>\n<task-id>{id}</task-id>\n<tool-use-id>t1</tool-use-id>\n<status>{status}</status>"}}}}"#
        )
    };
    let launched = r#"{"type":"user","uuid":"u1","sessionId":"s","timestamp":"2026-11-21T13:00:00.000Z","message":{"role":"user","content":[{"type":"tool_result","tool_use_id":"t1","content":"ok"}]},"toolUseResult":{"status":"async_launched","agentId":"a1","prompt":"look"}}"#;
    let lines = [
        launched.to_owned(),
        notice("bash_7", "completed"),
        notice("a1", "running"),
        notice("a1", "failed"),
        notice("a1", "completed"),
    ];
    let (_, events) = folded(Harness::ClaudeCode, &lines);
    assert_eq!(
        told(&events),
        ["start a1 13:00:00.000 of t1: look", "stop failed a1 13:00:09.000 of t1: failed"]
    );
    // Without a duration nobody knows when it began.
    let waited = launched.replace("async_launched", "completed");
    let (_, events) = folded(Harness::ClaudeCode, &[waited]);
    assert_eq!(told(&events), ["start a1 ? of t1: look", "stop a1 13:00:00.000 of t1: completed"]);
    // Other tools have a status, too.
    let other = launched.replace(r#""agentId":"a1","#, "");
    assert!(told(&folded(Harness::ClaudeCode, &[other]).1).is_empty());
}

const PARENT: &str = "tests/fixtures/codex/subagent/sessions/2026/11/20/rollout-2026-11-20T10-42-56-01a1f88d-5e35-7ca1-835f-bf472c0191ac.jsonl";
const THREAD: &str = "01a1f88d-5f4f-7853-b2a9-7dd0427b7cb7";

#[test]
fn codex_spawns_one() {
    let recorded = lines(PARENT);
    let start = |at: &str| format!("start {THREAD} {at} of call_0ac64e48: PLAIN child task");
    // The item and the call's result say the same; that it was done the parent was never told.
    assert_eq!(told(&folded(Harness::Codex, &recorded).1), [start("10:42:57.006")]);
    let without: Vec<_> =
        recorded.iter().filter(|line| !line.contains("CollabAgentToolCall")).collect();
    assert_eq!(without.len() + 1, recorded.len());
    assert_eq!(told(&folded(Harness::Codex, &without).1), [start("10:42:57.021")]);
    // A command that prints the like began nothing.
    let printed: Vec<_> = without
        .iter()
        .map(|line| line.replace(r#""name":"spawn_agent""#, r#""name":"exec""#))
        .collect();
    assert!(told(&folded(Harness::Codex, &printed).1).is_empty());
}

/// `AgentStatus` as Codex's protocol has it, in the record that was recorded.
#[test]
fn codex_waits_for_one_or_is_notified() {
    let item = lines(PARENT).into_iter().find(|line| line.contains("CollabAgentToolCall")).unwrap();
    let wait = |state: &str| {
        let item = item.replace(r#""tool":"spawn_agent""#, r#""tool":"wait""#);
        let item =
            item.replace("call_0ac64e48", "call_wait").replace("10:42:57.006", "10:42:58.006");
        item.replace(r#""pending_init""#, state)
    };
    let notice = |state: &str| {
        let said = format!(
            "<subagent_notification>\\n{{\\\"agent_id\\\":\\\"{THREAD}\\\",\\\"status\\\":{state}}}\\n</subagent_notification>"
        );
        format!(
            r#"{{"timestamp":"2026-11-20T10:42:59.000Z","type":"response_item","payload":{{"type":"message","role":"user","content":[{{"type":"input_text","text":"{said}"}}]}}}}"#
        )
    };
    let after = |more: &[String]| {
        let all: Vec<_> = lines(PARENT).into_iter().chain(more.iter().cloned()).collect();
        told(&folded(Harness::Codex, &all).1).split_off(1)
    };
    let stop = |state: &str| format!("stop {THREAD} 10:42:58.006 of call_wait: {state}");
    assert!(after(&[wait(r#""running""#), wait(r#""not_found""#)]).is_empty());
    assert_eq!(
        after(&[wait(r#"{"completed":"done"}"#), notice(r#"\"shutdown\""#)]),
        [stop("completed")]
    );
    assert_eq!(after(&[wait(r#""shutdown""#)]), [stop("shutdown")]);
    let failed = after(&[wait(r#"{"errored":"no"}"#)]);
    assert_eq!(failed, [stop("errored").replace("stop", "stop failed")]);
    assert_eq!(
        after(&[notice(r#"{\"completed\":\"done\"}"#), wait(r#"{"completed":"done"}"#)]),
        [format!("stop {THREAD} 10:42:59.000 of ?: completed")]
    );
}

/// From OpenClaw's source (`sessions_spawn`, `subagent-announce`); a record's shape was recorded of 2026.6.11.
#[test]
fn openclaw_spawns_a_conversation_and_is_told_its_end() {
    let record = |id: &str, at: u32, message: &str| {
        format!(
            r#"{{"type":"message","id":"{id}","parentId":null,"timestamp":"2026-11-20T10:00:{at:02}.000Z","message":{message}}}"#
        )
    };
    let call = record(
        "1",
        1,
        r#"{"role":"assistant","content":[{"type":"toolCall","id":"c1","name":"sessions_spawn","arguments":{"task":"audit the readme"}}],"stopReason":"toolUse"}"#,
    );
    let result = |status: &str| {
        record(
            "2",
            2,
            &format!(
                r#"{{"role":"toolResult","toolCallId":"c1","toolName":"sessions_spawn","content":[],"isError":false,"details":{{"status":"{status}","childSessionKey":"agent:main:subagent:7","runId":"r"}}}}"#
            ),
        )
    };
    let announced = record(
        "3",
        9,
        r#"{"role":"user","content":"[Internal] done","provenance":{"kind":"inter_session","sourceSessionKey":"agent:main:subagent:7","sourceTool":"subagent_announce"}}"#,
    );
    let lines = [call.clone(), result("accepted"), announced.clone(), announced.clone()];
    let (fold, events) = folded(Harness::OpenClaw, &lines);
    assert_eq!(
        told(&events),
        [
            "start agent:main:subagent:7 10:00:02.000 of c1: audit the readme",
            "stop agent:main:subagent:7 10:00:09.000 of ?: ",
        ]
    );
    assert_eq!((fold.counts.prompts, fold.counts.tool_calls), (0, 1));
    let refused = [call, result("forbidden"), announced];
    assert!(told(&folded(Harness::OpenClaw, &refused).1).is_empty());
}

/// The answer to `delegate_task` was recorded of 0.19 by a hook; the heading is `_format_async_delegation`'s.
#[test]
fn hermes_dispatches_without_naming_sessions() {
    let recorded = lines("tests/fixtures/hooks/hermes.jsonl");
    let answer = recorded.iter().find_map(|line| {
        let hook: serde_json::Value = serde_json::from_str(line).unwrap();
        hook["extra"]["result"]
            .as_str()
            .filter(|text| text.contains("dispatched"))
            .map(str::to_owned)
    });
    let row = |role: &str, content: &str, more: &str| {
        let content = serde_json::to_string(content).unwrap();
        format!(r#"{{"role":"{role}","content":{content}{more},"timestamp":1795171376000}}"#)
    };
    let result = |tool: &str| {
        let more = format!(r#","tool_call_id":"c1","tool_name":"{tool}""#);
        row("tool", answer.as_deref().unwrap(), &more)
    };
    let report = row(
        "user",
        "[ASYNC DELEGATION COMPLETE — deleg_3f55adf3]\nA background subagent you dispatched earlier has finished.",
        "",
    );
    let (_, events) = folded(Harness::Hermes, &[result("delegate_task"), report.clone()]);
    assert_eq!(
        told(&events),
        [
            "start ? 10:42:56.000 of c1: child-audit: read the readme and report",
            "stop ? 10:42:56.000 of ?: ",
        ]
    );
    let (_, events) = folded(Harness::Hermes, &[result("terminal"), report]);
    assert!(told(&events).is_empty(), "what a command prints begins nothing");
}

#[test]
fn as_many_as_there_are() {
    let launched = |agent: usize| {
        format!(
            r#"{{"type":"user","uuid":"u{agent}","sessionId":"s","timestamp":"2026-11-21T13:00:00.000Z","message":{{"role":"user","content":[{{"type":"tool_result","tool_use_id":"t{agent}","content":"ok"}}]}},"toolUseResult":{{"status":"async_launched","agentId":"a{agent}","prompt":"look"}}}}"#
        )
    };
    let lines: Vec<_> = (0..3_000).map(launched).collect();
    let (fold, events) = folded(Harness::ClaudeCode, &lines);
    assert_eq!(told(&events).len(), 3_000);
    let stored = serde_json::to_string(&fold).unwrap();
    assert!(stored.len() < 96 << 10, "what is remembered is bounded: {}", stored.len());
}
