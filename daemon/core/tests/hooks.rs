//! Recorded hooks: what each payload says, and what a session is said to do while they come in beside
//! its transcript, without the registry that would know better.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use rrd_core::{
    fact::{Fact, Parsed},
    fold::Fold,
    harness::{FileRole, Parser, ParserState, format_of, hook::understand},
    hook::HookWord,
    roster::{Entry, Place, Roster},
};
use rrd_proto::{Harness, HookCall, Lookup, SessionKey, Timestamp};
use serde_json::Value;

fn fixture(path: &str) -> String {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    fs::read_to_string(root.join(path)).unwrap()
}

fn call(harness: Harness, at: i64, payload: &str) -> HookCall {
    HookCall {
        id: 0,
        harness,
        at: Timestamp::from_millis(at),
        payload: payload.to_owned(),
        unattended: false,
        process: None,
        tmux: None,
        task: None,
    }
}

/// Event, session, delegate and word of every line.
fn words(harness: Harness) -> Vec<String> {
    let text = fixture(&format!("hooks/{harness}.jsonl"));
    let mut words = Vec::new();
    for line in text.lines() {
        let (event, known) = understand(&call(harness.clone(), 1, line)).unwrap();
        assert!(known, "{line}");
        let payload: Value = serde_json::from_str(line).unwrap();
        let name = payload["hook_event_name"].as_str().unwrap();
        let short = |id: &str| id[id.len() - 4..].to_owned();
        let agent = event.agent.map(|id| format!(" of {}", short(&id))).unwrap_or_default();
        let word = match event.word {
            HookWord::Call(tool) => format!("call {} {:?}", tool.name, tool.summary),
            HookWord::Result(tool) => format!("result {} {:?}", tool.name, tool.summary),
            HookWord::Ask(tool) => format!("ask {} {:?}", tool.name, tool.summary),
            HookWord::Stop { result, background } => {
                format!("stop {result}{}", if background { ", works on" } else { "" })
            }
            word => format!("{word:?}"),
        };
        words.push(format!("{} {name}{agent}: {word}", short(&event.session.session_id)));
    }
    words
}

#[test]
fn each_payload_of_claude_code_is_understood() {
    assert_eq!(
        words(Harness::ClaudeCode),
        [
            "272a CwdChanged: Nothing",
            "b1e0 Notification: AtPrompt",
            "b1e0 Notification: Dialog(Permission)",
            "8ba3 PermissionRequest: ask Bash \"rm -rf build\"",
            "1cb3 PostCompact: Nothing",
            "af4a PostToolBatch: Nothing",
            "8641 PostToolBatch of 0ab1: Nothing",
            "af4a PostToolUse: result Bash \"ls | wc -l\"",
            "8641 PostToolUse of 0ab1: result Bash \"head -1 README.md\"",
            "2bce PostToolUseFailure: result Bash \"echo boom >&2; exit 3\"",
            "1cb3 PreCompact: Nothing",
            "af4a PreToolUse: call Bash \"ls | wc -l\"",
            "8641 PreToolUse of 0ab1: call Bash \"head -1 README.md\"",
            // clear, other, prompt_input_exit.
            "66a5 SessionEnd: End",
            "2ada SessionEnd: End",
            "28df SessionEnd: End",
            // clear; compact goes on in the middle of a session; fork, resume, startup.
            "aa72 SessionStart: Start",
            "1cb3 SessionStart: Nothing",
            "aefb SessionStart: Start",
            "06ed SessionStart: Start",
            "2ada SessionStart: Start",
            "af4a Stop: stop completed",
            "2ada StopFailure: stop error",
            "8641 SubagentStart of 0ab1: AgentStart",
            "8641 SubagentStop of 0ab1: AgentStop",
            "5edb TaskCreated: Nothing",
            "2ada UserPromptSubmit: Prompt",
        ]
    );
}

#[test]
fn each_payload_of_codex_is_understood() {
    assert_eq!(
        words(Harness::Codex),
        [
            "5172 SessionStart: Start",
            "5172 UserPromptSubmit: Prompt",
            "5172 PreToolUse: call Bash \"rm -rf build\"",
            "5172 PermissionRequest: ask Bash \"rm -rf build\"",
            "5172 PostToolUse: result Bash \"rm -rf build\"",
            "5172 Stop: stop completed",
            "5172 SessionEnd: End",
            "73bf SessionStart: Start",
            "73bf UserPromptSubmit: Prompt",
            "73bf PreToolUse: call spawn_agent \"child-audit: read the readme and report\"",
            "73bf SubagentStart of 5b07: AgentStart",
            "73bf PostToolUse: result spawn_agent \"child-audit: read the readme and report\"",
            "73bf UserPromptSubmit of 5b07: Prompt",
            "73bf PreToolUse: call multi_agent_v1wait_agent \"01a1fdf8-1a8f-72e3-a3c4-c3f7ad2a5b07\"",
            "73bf PreToolUse of 5b07: call Bash \"head -1 README.md\"",
            "73bf PostToolUse of 5b07: result Bash \"head -1 README.md\"",
            "73bf SubagentStop of 5b07: AgentStop",
            "73bf PostToolUse: result multi_agent_v1wait_agent \"01a1fdf8-1a8f-72e3-a3c4-c3f7ad2a5b07\"",
            "73bf Stop: stop completed",
            "73bf SessionEnd: End",
        ]
    );
}

#[test]
fn each_payload_of_hermes_is_understood() {
    assert_eq!(
        words(Harness::Hermes),
        [
            "57a6 on_session_start: Start",
            "57a6 pre_tool_call: call terminal \"rm -rf build\"",
            // First a model is asked, then the person.
            "57a6 pre_approval_request: Nothing",
            "57a6 pre_approval_request: ask terminal \"rm -rf build\"",
            "57a6 post_tool_call: result terminal \"rm -rf build\"",
            "57a6 on_session_end: stop completed",
            "f82a on_session_start: Start",
            "f82a pre_tool_call: call delegate_task \"child-audit: read the readme and report\"",
            "adb0 on_session_start: Start",
            "f82a post_tool_call: result delegate_task \"child-audit: read the readme and report\"",
            "adb0 pre_tool_call: call terminal \"head -1 README.md\"",
            "f82a on_session_end: stop completed",
            "adb0 post_tool_call: result terminal \"head -1 README.md\"",
            "adb0 on_session_end: stop interrupted",
            "f82a subagent_stop of adb0: AgentStop",
        ]
    );
}

/// A recording played back: hooks as they came, and each record a while after it was written.
struct Replay {
    roster: Roster,
    unattended: bool,
    /// What comes, the next one last.
    to_come: Vec<(i64, Input)>,
    sessions: Vec<(SessionKey, Fold, Box<dyn Parser>)>,
}

enum Input {
    Hook(String),
    Record(usize, String),
}

/// How far a reader of the transcript is behind.
const LAG: i64 = 300;

impl Replay {
    fn of(case: &str, transcripts: &[&str]) -> Self {
        let idle_timeout = Duration::from_secs(300);
        let roster = Roster::new(Place { host: "mac".into(), node_id: None, idle_timeout });
        let mut to_come = Vec::new();
        for line in fixture(&format!("hooks/{case}.jsonl")).lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            to_come.push((line["at"].as_i64().unwrap(), Input::Hook(line["payload"].to_string())));
        }
        let format = format_of(&Harness::ClaudeCode).unwrap();
        let mut sessions = Vec::new();
        for path in transcripts {
            let relative = format!("projects/-home-dev-src-alpha/{path}");
            let FileRole::Transcript { session_id, parent, .. } = (format.classify)(&relative)
            else {
                panic!("{relative}")
            };
            let mut fold = Fold::default();
            if let Some((id, kind)) = parent {
                let facts = vec![Fact::Parent { id: id.into(), kind }];
                fold.apply(Parsed { facts, ..Parsed::default() }, 0, &mut Vec::new());
            }
            let mut written = 0;
            for line in fixture(&format!("claude-code/{case}/{relative}")).lines() {
                let record: Value = serde_json::from_str(line).unwrap();
                let at = record["timestamp"].as_str().and_then(Timestamp::parse);
                // Lines are in the order in which they were written; their times are not.
                written = written.max(at.map_or(0, Timestamp::as_millis));
                to_come.push((written + LAG, Input::Record(sessions.len(), line.to_owned())));
            }
            let key = SessionKey { harness: Harness::ClaudeCode, session_id };
            sessions.push((key, fold, (format.parser)(ParserState::default())));
        }
        to_come.sort_by_key(|(at, _)| *at);
        to_come.reverse();
        Self { roster, unattended: false, to_come, sessions }
    }

    /// What is said of the session that begins with `id` at this time of the recording's day.
    fn at(&mut self, time: &str, id: &str) -> String {
        let now = Timestamp::parse(&format!("2026-11-20T{time}Z")).unwrap();
        while let Some((at, input)) = self.to_come.pop_if(|(at, _)| *at <= now.as_millis()) {
            match input {
                Input::Hook(payload) => {
                    let call = call(Harness::ClaudeCode, at, &payload);
                    let call = HookCall { unattended: self.unattended, ..call };
                    let (event, _) = understand(&call).unwrap();
                    self.roster.hook(event, Timestamp::from_millis(at));
                }
                Input::Record(session, line) => {
                    let (key, fold, parser) = &mut self.sessions[session];
                    fold.apply(parser.line(line.as_bytes()), 0, &mut Vec::new());
                    let entry = Entry {
                        fold: Arc::new(fold.clone()),
                        path: "t.jsonl".into(),
                        root: 0,
                        repo: Arc::default(),
                        index_title: None,
                        complete: true,
                        archived: false,
                        changed: None,
                    };
                    self.roster.set(key.clone(), entry);
                }
            }
        }
        let Lookup::Found(row) = self.roster.lookup(id, now) else { return "unknown".to_owned() };
        let mut said = format!("{} {}", row.status_source, row.status);
        if let Some(what) = row.waiting_for {
            said = format!("{said} {what} {:?}", row.waiting_detail.unwrap_or_default());
        }
        if let Some(tool) = row.activity.and_then(|activity| activity.tool) {
            said = format!("{said} {tool}");
        }
        if let Some(end) =
            row.end_reason.map(|end| end.as_str()).or(row.turn_result.map(|r| r.as_str()))
        {
            said = format!("{said} {end}");
        }
        said
    }
}

#[test]
fn a_dialog_an_interrupt_and_a_clear() {
    let mut replay = Replay::of(
        "329-tui-permission-clear",
        &[
            "0dd9c336-17e1-4445-b588-c53703f866a5.jsonl",
            "7f2cfd65-5b1b-4089-9390-1891c2f6aa72.jsonl",
        ],
    );
    check(
        &mut replay,
        &[
            ("10:33:04.900 0dd9", "hook idle"),
            ("10:33:05.300 0dd9", "hook executing"),
            ("10:33:05.800 0dd9", "hook idle completed"),
            // The transcript still knows only of the turn before.
            ("10:33:09.010 0dd9", "hook executing"),
            ("10:33:09.500 0dd9", "hook executing Bash"),
            ("10:33:09.900 0dd9", "hook waiting permission \"Bash: rm -rf build\""),
            ("10:33:17.000 0dd9", "hook waiting permission \"Bash: rm -rf build\""),
            ("10:33:18.638 0dd9", "hook executing Bash"),
            ("10:33:18.830 0dd9", "hook idle completed"),
            ("10:33:24.300 0dd9", "hook executing"),
            ("10:33:26.000 0dd9", "hook waiting permission \"Bash: tail -f /dev/null\""),
            // Allowed at 28 s, which nothing tells but the registry that is not here.
            ("10:33:32.000 0dd9", "hook waiting permission \"Bash: tail -f /dev/null\""),
            // Esc, which no hook tells either; the transcript does.
            ("10:33:32.400 0dd9", "stop_reason idle interrupted"),
            ("10:33:35.600 0dd9", "hook ended exit"),
            ("10:33:38.990 7f2c", "hook executing"),
            ("10:33:39.160 7f2c", "hook idle completed"),
            ("10:33:41.910 7f2c", "hook ended exit"),
            ("10:40:00.000 0dd9", "hook ended exit"),
        ],
    );
}

fn check(replay: &mut Replay, expected: &[(&str, &str)]) {
    let mut found = Vec::new();
    for (place, _) in expected {
        let (time, id) = place.split_once(' ').unwrap();
        found.push((*place, replay.at(time, id)));
    }
    let found: Vec<_> = found.iter().map(|(place, said)| (*place, &**said)).collect();
    assert_eq!(found, expected);
}

#[test]
fn a_permission_refused_where_nobody_sits() {
    let waits = "hook waiting permission \"Bash: rm -rf build\"";
    for (unattended, asked) in [(false, waits), (true, "hook executing Bash")] {
        let mut replay = Replay::of("329-denied", &["ffd264bc-b3a4-4177-8592-893c5ede8ba3.jsonl"]);
        replay.unattended = unattended;
        check(
            &mut replay,
            &[
                ("10:34:44.300 ffd2", "hook executing"),
                ("10:34:44.600 ffd2", "hook executing Bash"),
                // 50 ms later `-p` has refused it.
                ("10:34:44.720 ffd2", asked),
                ("10:34:45.100 ffd2", "hook idle completed"),
                ("10:34:45.300 ffd2", "hook ended exit"),
            ],
        );
    }
}

#[test]
fn a_dialog_and_a_delegate() {
    let mut replay = Replay::of(
        "197-tui-permission-subagent",
        &[
            "c089ed38-8d44-4658-9a57-3fa6e277a7e7.jsonl",
            "c089ed38-8d44-4658-9a57-3fa6e277a7e7/subagents/agent-a0770e48bd60d39fa.jsonl",
        ],
    );
    check(
        &mut replay,
        &[
            ("10:41:18.420 c089", "hook executing"),
            ("10:41:19.600 c089", "hook waiting permission \"Bash: rm -rf build\""),
            ("10:41:25.700 c089", "hook waiting permission \"Bash: rm -rf build\""),
            ("10:41:28.900 c089", "open_record executing"),
            ("10:41:29.100 c089", "hook idle completed"),
            ("10:41:32.000 a077", "hook executing"),
            ("10:41:32.200 a077", "hook executing Bash"),
            ("10:41:32.600 a077", "hook executing Bash"),
            ("10:41:33.500 a077", "hook ended exit"),
            ("10:41:33.500 c089", "hook executing Agent"),
            ("10:41:35.000 c089", "stop_reason idle completed"),
            ("10:41:36.600 c089", "hook ended exit"),
        ],
    );
}

#[test]
fn a_compaction_is_no_new_session() {
    let mut replay = Replay::of("329-tui-compact", &["2a0fbfd9-64b5-4ec8-bb45-dbc438be1cb3.jsonl"]);
    check(
        &mut replay,
        &[
            ("10:37:41.800 2a0f", "hook executing"),
            ("10:37:44.990 2a0f", "hook executing Read"),
            ("10:37:46.500 2a0f", "hook idle completed"),
            // A lone SubagentStop, then SessionStart.
            ("10:37:49.100 2a0f", "stop_reason idle completed"),
            ("10:37:49.900 2a0f", "stop_reason idle completed"),
            ("10:37:51.000 2a0f", "stop_reason idle completed"),
            ("10:37:55.500 2a0f", "hook executing"),
            ("10:37:55.650 2a0f", "hook idle completed"),
            ("10:37:58.100 2a0f", "hook ended exit"),
        ],
    );
}

#[test]
fn a_delegate_in_the_foreground() {
    let mut replay = Replay::of(
        "329-subagent",
        &[
            "55e844f2-dd72-48dc-844e-7bf33d9bb17d.jsonl",
            "55e844f2-dd72-48dc-844e-7bf33d9bb17d/subagents/agent-a937ff163c830dc11.jsonl",
        ],
    );
    check(
        &mut replay,
        &[
            // Its hooks come before anything is written.
            ("10:29:21.700 55e8", "unknown"),
            ("10:29:22.000 55e8", "hook idle completed"),
            ("10:29:22.400 a937", "hook ended exit"),
        ],
    );
}
