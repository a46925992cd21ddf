//! Claude Code records, one shape at a time.

use rrd_proto::{ParentKind, Timestamp, Tokens, TurnResult};

use super::FORMAT;
use crate::{
    fact::{Fact, Origin, Parsed, Subagent, TitleRank, issue},
    harness::{Parser, ParserState},
    long::Long,
};

fn parser() -> Box<dyn Parser> {
    (FORMAT.parser)(ParserState::default())
}

/// A chain record of a session `own`.
fn record(kind: &str, rest: &str) -> String {
    format!(
        r#"{{"type":"{kind}","uuid":"u","timestamp":"2026-11-20T10:00:00Z","sessionId":"own",{rest}}}"#
    )
}

fn user(content: &str, rest: &str) -> String {
    record("user", &format!(r#""message":{{"role":"user","content":{content}}}{rest}"#))
}

fn assistant(content: &str, rest: &str) -> String {
    record(
        "assistant",
        &format!(r#""message":{{"id":"m","content":[{content}],{rest}}},"isSidechain":false"#),
    )
}

/// The facts of one line of a new file.
fn facts(line: &str) -> Vec<Fact<'_>> {
    let parsed = parser().line(line.as_bytes());
    assert_eq!(parsed.issues, [""; 0], "{line}");
    parsed.facts
}

fn prompt(text: &str) -> Vec<Fact<'_>> {
    vec![Fact::Prompt { text: text.into() }]
}

#[test]
fn nobody_sits_at_a_session_in_the_background() {
    let sits = |more: &str| {
        let line = user(r#""hi""#, &format!(r#","entrypoint":"cli"{more}"#));
        let facts = facts(&line);
        facts.contains(&Fact::Interactive(true)) && !facts.contains(&Fact::Interactive(false))
    };
    assert!(sits("") && !sits(r#","sessionKind":"bg""#));
}

#[test]
fn what_is_older_than_its_transcript_came_with_a_fork() {
    // As `-p --resume … --fork-session` writes it; 2.1.197 marks no copy, 2.1.329 no unanswered prompt.
    let own = r#"{"type":"queue-operation","timestamp":"2026-11-20T10:00:05Z","sessionId":"own"}"#;
    let dated =
        |second: u32| user(r#""hi""#, "").replace("10:00:00Z", &format!("10:00:0{second}Z"));
    let mut parser = parser();
    let mut origins = Vec::new();
    let copied = [dated(0), dated(1)];
    for line in [own, &copied[0], &copied[1], &dated(6), own, &dated(7)] {
        origins.push(parser.line(line.as_bytes()).origin);
        parser = (FORMAT.parser)(parser.state());
    }
    use Origin::{Chain, Copied, Own};
    assert_eq!(origins, [Own, Copied, Copied, Chain, Own, Chain]);
    // Later ones say when a prompt was queued while another one was at work.
    let mut parser = (FORMAT.parser)(ParserState::default());
    let origins = [&dated(0), own, &dated(1)].map(|line| parser.line(line.as_bytes()).origin);
    assert_eq!(origins, [Chain, Own, Chain]);
}

#[test]
fn what_is_older_than_the_first_snapshot_came_with_a_fork() {
    // As `--resume … --fork-session` writes it in a terminal: the parent's snapshots, its records, then
    // its own. The last snapshot before them is that of its own first prompt.
    let snapshot = |of: &str, at: &str| {
        format!(
            r#"{{"type":"file-history-snapshot","messageId":"{of}","snapshot":{{"messageId":"{of}","trackedFileBackups":{{}},"timestamp":"2026-11-20T10:0{at}.250Z"}},"isSnapshotUpdate":false}}"#
        )
    };
    let said = |uuid: &str, at: &str| {
        let line = user(r#""hi""#, "").replace("10:00:00Z", &format!("10:0{at}Z"));
        line.replace(r#""uuid":"u""#, &format!(r#""uuid":"{uuid}""#))
    };
    let origins = |lines: &[String]| {
        let mut parser = parser();
        let mut origin = |line: &String| {
            let origin = parser.line(line.as_bytes()).origin;
            parser = (FORMAT.parser)(parser.state());
            origin
        };
        lines.iter().map(&mut origin).collect::<Vec<_>>()
    };
    use Origin::{Chain, Copied, Own};
    let nobody = r#""stop_reason":"stop_sequence""#;
    let for_nobody = assistant("", nobody)
        .replace(r#""id":"m""#, r#""id":"m","model":"<synthetic>""#)
        .replace("10:00:00Z", "10:02:58Z");
    let fork = [
        snapshot("a", "0:00"),
        snapshot("own", "3:00"),
        said("a", "0:00"),
        said("b", "2:59"),
        for_nobody,
        said("own", "3:00"),
        said("c", "2:59"),
        snapshot("d", "4:00"),
        said("d", "4:00"),
    ];
    assert_eq!(origins(&fork), [Own, Own, Copied, Copied, Chain, Chain, Chain, Own, Chain]);
    // The first prompt of a session that is nobody's fork, and what a command puts before one.
    let first = [snapshot("a", "0:00"), said("a", "0:00"), said("b", "0:01")];
    assert_eq!(origins(&first), [Own, Chain, Chain]);
    let command = [snapshot("b", "0:04"), said("a", "0:00"), said("b", "0:00"), said("c", "0:03")];
    assert_eq!(origins(&command), [Own, Chain, Chain, Chain]);
    // A snapshot of nothing known ends nothing, and what is younger is its own.
    let lost = [snapshot("x", "3:00"), said("a", "0:00"), said("b", "3:01")];
    assert_eq!(origins(&lost), [Own, Copied, Chain]);
}

/// A delegate is done.
fn done(status: &'static str) -> Fact<'static> {
    let who = Subagent { id: "a9".into(), names_session: true, ..Subagent::default() };
    Fact::SubagentStop { who, failed: false, text: status.into() }
}

#[test]
fn half_of_the_user_records_are_not_the_user() {
    let nothing = Vec::new;
    let injected = || vec![Fact::Injected];
    let peer = |text| vec![Fact::PeerMessage { id: None, text }];
    let interrupted = || vec![Fact::TurnEnd(TurnResult::Interrupted)];
    for (line, expected) in [
        (user(r#""hi""#, r#","promptSource":"typed","origin":{"kind":"human"}"#), prompt("hi")),
        (user(r#"[{"type":"text","text":"hi"}]"#, r#","promptSource":"sdk""#), prompt("hi")),
        (user(r#""hi""#, r#","promptSource":"system""#), injected()),
        (
            user(
                r#""hi""#,
                r#","promptSource":"system","isMeta":true,"origin":{"kind":"task-notification"}"#,
            ),
            injected(),
        ),
        (
            user(
                r#""x hi""#,
                r#","promptSource":"system","isMeta":true,"origin":{"kind":"peer","body":"hi"}"#,
            ),
            peer("hi".into()),
        ),
        (
            user(r#""x hi""#, r#","origin":{"kind":"peer","body":"hi","msg_id":"m1"}"#),
            vec![Fact::PeerMessage { id: Some("m1".into()), text: "hi".into() }],
        ),
        (
            user(
                r#""<task-notification>\n<task-id>a9</task-id>\n<status>completed</status>""#,
                r#","promptSource":"system","origin":{"kind":"task-notification"}"#,
            ),
            vec![Fact::Returned { id: "a9".into() }, Fact::Injected, done("completed")],
        ),
        (user(r#""hi""#, r#","isMeta":true"#), nothing()),
        (user(r#""sum""#, r#","isCompactSummary":true"#), nothing()),
        (
            user(r#"[{"type":"text","text":"[Request interrupted by user for tool use]"}]"#, ""),
            interrupted(),
        ),
        // Older releases.
        (user(r#""hi""#, ""), prompt("hi")),
        (
            user(
                r#"[{"type":"text","text":"<ide_opened_file>x</ide_opened_file>"},{"type":"text","text":"hi"}]"#,
                "",
            ),
            prompt("hi"),
        ),
        (
            user(r#"[{"type":"image","source":{"media_type":"image/png","data":"AAAA"}}]"#, ""),
            vec![Fact::Prompt {
                text: Long::from("[image: image/png, 3 bytes]").beginning("".into()),
            }],
        ),
        (user(r#""""#, ""), nothing()),
        (user(r#""<command-name>/exit</command-name>""#, ""), nothing()),
        (user(r#""<local-command-stdout>x</local-command-stdout>""#, ""), nothing()),
        (user(r#""<local-command-caveat>x""#, ""), nothing()),
        (user(r#""<task-notification>x""#, ""), injected()),
        (
            user(r#""Another Claude session sent a message:\nx""#, ""),
            peer("Another Claude session sent a message:\nx".into()),
        ),
    ] {
        assert_eq!(facts(&line), expected, "{line}");
    }
}

#[test]
fn tool_results_may_come_with_an_interrupt() {
    let result = |is_error, text| Fact::ToolResult { id: "t".into(), is_error, text };
    let line = user(
        r#"[{"type":"tool_result","tool_use_id":"t","is_error":true,"content":"no"},{"type":"text","text":"[Request interrupted by user]"}]"#,
        r#","toolUseResult":"Error: no""#,
    );
    assert_eq!(facts(&line), [result(true, "no".into()), Fact::TurnEnd(TurnResult::Interrupted)]);
    let line = user(
        r#"[{"tool_use_id":"t","type":"tool_result","content":[{"type":"text","text":"a\nb"}]}]"#,
        r#","promptSource":"sdk""#,
    );
    assert_eq!(facts(&line), [result(false, "a\nb".into())]);
}

#[test]
fn what_comes_during_a_turn_is_attached_to_it() {
    let queued = |rest: &str| {
        let line =
            record("attachment", &format!(r#""attachment":{{"type":"queued_command",{rest}}}"#));
        facts(&line).iter().map(|fact| format!("{fact:?}")).collect::<Vec<_>>()
    };
    assert_eq!(
        queued(r#""prompt":"and that","commandMode":"prompt","origin":{"kind":"human"}"#),
        [r#"Prompt { text: "and that" }"#]
    );
    assert_eq!(
        queued(r#""prompt":[{"type":"text","text":"and that"}],"commandMode":"prompt""#),
        [r#"Prompt { text: "and that" }"#]
    );
    assert_eq!(
        queued(
            r#""prompt":"<cross-session-message>hi","commandMode":"prompt","isMeta":true,"origin":{"kind":"peer","msg_id":"m1","body":"hi"}"#
        ),
        [r#"PeerMessage { id: Some("m1"), text: "hi" }"#]
    );
    assert_eq!(
        queued(
            r#""prompt":"<task-notification>\n<task-id>a9</task-id>","commandMode":"task-notification","origin":{"kind":"task-notification"}"#
        ),
        [r#"Returned { id: "a9" }"#.to_owned(), "Injected".to_owned(), format!("{:?}", done(""))]
    );
    assert_eq!(queued(r#""commandMode":"prompt","isMeta":true"#), ["Injected"]);
    assert_eq!(
        facts(&record("attachment", r#""attachment":{"type":"skill_listing","prompt":"x"}"#)),
        []
    );
    // What a hook added for the model: nobody asked, and nobody did anything.
    for added in [
        r#"{"type":"hook_additional_context","content":["rrd: messages"],"hookEvent":"PostToolUse"}"#,
        r#"{"type":"hook_success","stdout":"{\"hookSpecificOutput\":{}}","hookEvent":"UserPromptSubmit"}"#,
    ] {
        assert_eq!(facts(&record("attachment", &format!(r#""attachment":{added}"#))), []);
    }
}

#[test]
fn a_result_tells_what_was_sent() {
    let result = |outcome: &str| {
        let line = user(
            r#"[{"tool_use_id":"t","type":"tool_result","content":"ok"}]"#,
            &format!(r#","toolUseResult":{outcome}"#),
        );
        let mut parsed = parser();
        let parsed = parsed.line(line.as_bytes());
        assert_eq!(parsed.issues, [""; 0], "{line}");
        // What delegates are told to begin and end with: `tests/subagents`.
        let is_delegates = |fact: &&Fact<'_>| {
            matches!(fact, Fact::SubagentStart { .. } | Fact::SubagentStop { .. })
        };
        let others = parsed.facts.iter().filter(|fact| !is_delegates(fact));
        others.map(|fact| format!("{fact:?}")).collect::<Vec<_>>()
    };
    let plain = r#"ToolResult { id: "t", is_error: false, text: "ok" }"#;
    assert_eq!(
        result(r#"{"success":true,"message":"sent","msg_id":"m1"}"#),
        [r#"Sent { call: "t", id: "m1" }"#, plain]
    );
    assert_eq!(
        result(
            r#"{"isAsync":true,"status":"async_launched","agentId":"a9","description":"Audit"}"#
        ),
        [r#"SentOff { id: "a9", summary: "Audit" }"#, plain]
    );
    // In the foreground it has come back with its result.
    for other in [
        r#"{"status":"completed","agentId":"a9"}"#,
        r#"{"status":"async_launched"}"#,
        r#"{"msg_id":7}"#,
        r#""Error: Exit code 3""#,
        r#"["a"]"#,
        "null",
        "{}",
    ] {
        assert_eq!(result(other), [plain], "{other}");
    }
}

#[test]
fn answers() {
    let tokens = Tokens { input: 1, output: 2, cache_read: 3, cache_write: 4 };
    let usage = r#""usage":{"input_tokens":1,"output_tokens":2,"cache_read_input_tokens":3,"cache_creation_input_tokens":4}"#;
    let line = assistant(
        r#"{"type":"thinking","thinking":"…"},{"type":"tool_use","id":"t","name":"Bash","input":{"command":"ls"}}"#,
        &format!(r#""model":"opus","stop_reason":"tool_use",{usage}"#),
    );
    assert_eq!(
        facts(&line),
        [
            Fact::Model("opus".into()),
            Fact::Message { id: Some("m".into()), text: "".into() },
            Fact::MessageTokens { id: "m".into(), tokens },
            Fact::ToolCall {
                id: "t".into(),
                name: "Bash".into(),
                summary: "ls".to_owned(),
                input: r#"{"command":"ls"}"#.into(),
                asks: false
            },
        ]
    );
    let ends = |reason: &str| {
        let line =
            assistant(r#"{"type":"text","text":"x"}"#, &format!(r#""stop_reason":{reason}"#));
        facts(&line).contains(&Fact::TurnEnd(TurnResult::Completed))
    };
    for (reason, end) in [
        ("\"end_turn\"", true),
        ("\"stop_sequence\"", true),
        ("\"max_tokens\"", true),
        ("\"refusal\"", true),
        ("\"tool_use\"", false),
        ("\"pause_turn\"", false),
        ("null", false),
    ] {
        assert_eq!(ends(reason), end, "{reason}");
    }
    let question = assistant(
        r#"{"type":"tool_use","id":"t","name":"AskUserQuestion","input":{"questions":[{"question":"Which?"}]}}"#,
        r#""model":"<synthetic>""#,
    );
    assert_eq!(
        facts(&question)[1..],
        [Fact::ToolCall {
            id: "t".into(),
            name: "AskUserQuestion".into(),
            summary: "Which?".to_owned(),
            input: r#"{"questions":[{"question":"Which?"}]}"#.into(),
            asks: true
        }]
    );
}

#[test]
fn api_errors_are_not_messages() {
    for (rest, text, rate_limited, result) in [
        (r#""apiErrorStatus":500"#, "API Error: 500", false, TurnResult::Error),
        (r#""apiErrorStatus":429"#, "API Error", true, TurnResult::RateLimited),
        (r#""error":"rate_limit""#, "x", true, TurnResult::RateLimited),
        (r#""error":{}"#, "You've hit your usage limit", true, TurnResult::RateLimited),
    ] {
        let line = record(
            "assistant",
            &format!(
                r#""isApiErrorMessage":true,{rest},"message":{{"id":"x","model":"<synthetic>","stop_reason":"stop_sequence","content":[{{"type":"text","text":"{text}"}}]}}"#
            ),
        );
        assert_eq!(
            facts(&line),
            [Fact::Error { text: text.into(), rate_limited }, Fact::TurnEnd(result)]
        );
    }
}

#[test]
fn where_and_how_a_session_runs() {
    let at = |rest: &str| format!("{:?}", facts(&record("attachment", rest)));
    let new = at(r#""cwd":"/w","gitBranch":"main","version":"2.1.197","entrypoint":"cli""#);
    assert_eq!(
        new,
        r#"[Cwd("/w"), Branch("main"), LeavesTrace, Version("2.1.197"), Interactive(true)]"#
    );
    let old = at(r#""gitBranch":"HEAD","version":"2.1.30","entrypoint":"sdk-ts""#);
    assert_eq!(old, r#"[Version("2.1.30"), Interactive(false)]"#);
    assert!(at(r#""version":"2.10.0-beta""#).contains("LeavesTrace"));
    assert!(!at(r#""version":"next""#).contains("LeavesTrace"));
}

#[test]
fn records_beside_the_chain() {
    let title = |rank, text| vec![Fact::Title { rank, text }];
    for (line, expected) in [
        (
            r#"{"type":"custom-title","customTitle":"T","sessionId":"own"}"#,
            title(TitleRank::Given, "T".into()),
        ),
        (r#"{"type":"ai-title","aiTitle":"T"}"#, title(TitleRank::Generated, "T".into())),
        (
            r#"{"type":"summary","summary":"T","leafUuid":"l"}"#,
            title(TitleRank::Summary, "T".into()),
        ),
        (
            r#"{"type":"worktree-state","worktreeSession":{"originalCwd":"/w"}}"#,
            vec![Fact::OriginalCwd("/w".into())],
        ),
        (r#"{"type":"worktree-state","worktreeSession":null}"#, vec![]),
        (r#"{"type":"last-prompt","lastPrompt":"x"}"#, vec![]),
        (r#"{"type":"marble-origami-x"}"#, vec![]),
    ] {
        let parsed = parser().line(line.as_bytes());
        assert_eq!((parsed.facts, parsed.issues, parsed.key), (expected, vec![], None), "{line}");
        assert_eq!((parsed.origin, parsed.at), (Origin::Own, None));
    }
    let snapshot =
        br#"{"type":"file-history-snapshot","snapshot":{"timestamp":"2026-11-20T10:00:00Z"}}"#;
    assert_eq!(parser().line(snapshot).at, None);
    let queue =
        parser().line(br#"{"type":"queue-operation","timestamp":"2026-11-20T10:00:00.5Z"}"#).at;
    assert_eq!(queue, Timestamp::parse("2026-11-20T10:00:00.5Z"));
    assert_eq!(
        facts(&record("system", r#""subtype":"turn_duration""#)),
        [Fact::AtWork(0), Fact::TurnEnd(TurnResult::Completed)]
    );
    assert_eq!(
        facts(&record("system", r#""subtype":"turn_duration","pendingBackgroundAgentCount":2"#)),
        [Fact::AtWork(2), Fact::TurnEnd(TurnResult::Completed)]
    );
    assert_eq!(facts(r#"{"type":"cost-state","totalCostUSD":1}"#), [Fact::AtWork(0)]);
    assert_eq!(facts(&record("system", r#""subtype":"compact_boundary""#)), [Fact::Compaction]);
    assert_eq!(facts(&record("system", r#""subtype":"local_command""#)), []);
}

#[test]
fn a_delegates_file_and_a_delegate_inside_its_parents_file() {
    let task = user(r#""audit""#, r#","isSidechain":true,"agentId":"a9""#);
    let mut own = parser();
    assert_eq!(
        own.line(task.as_bytes()).facts,
        [
            Fact::Parent { id: "own".into(), kind: ParentKind::Subagent },
            Fact::Title { rank: TitleRank::Task, text: "audit".into() },
            Fact::Prompt { text: "audit".into() },
        ]
    );
    let mut resumed = (FORMAT.parser)(own.state());
    assert_eq!(resumed.line(task.as_bytes()).facts, prompt("audit"));

    let mut parent = parser();
    parent.line(user(r#""hi""#, r#","isSidechain":false"#).as_bytes());
    let inline = user(r#""audit""#, r#","isSidechain":true,"cwd":"/elsewhere""#);
    let Parsed { facts, at, .. } = parent.line(inline.as_bytes());
    assert_eq!((facts, at.is_some()), (vec![], true));
}

#[test]
fn a_fork_begins_where_the_copies_end() {
    let ask = user(r#""q""#, "");
    let reply =
        |from: &str| record("assistant", &format!(r#""message":{{"id":"m","content":[]}}{from}"#));
    let copied = reply(r#","requestSessionId":"parent""#);
    let mut parser = parser();
    let mut origin = |line: &str| parser.line(line.as_bytes()).origin;
    assert_eq!(origin(&ask), Origin::Chain);
    assert_eq!(origin(&copied), Origin::Copied);
    assert_eq!(origin(&record("system", r#""subtype":"stop_hook_summary""#)), Origin::Copied);
    assert_eq!(origin(r#"{"type":"mode","mode":"normal"}"#), Origin::Own);
    // Whether the second prompt was copied, too, only its answer tells.
    assert_eq!(origin(&ask), Origin::Chain);
    assert_eq!(origin(&copied), Origin::Copied);
    assert_eq!(origin(&ask), Origin::Chain);
    assert_eq!(origin(&reply("")), Origin::Chain);
    assert_eq!(origin(&reply(r#","requestSessionId":"own""#)), Origin::Chain);
    assert!(facts(&copied).contains(&Fact::Parent { id: "parent".into(), kind: ParentKind::Fork }));
    let by_sdk = reply(r#","forkedFrom":{"sessionId":"parent","messageUuid":"u"}"#);
    assert!(facts(&by_sdk).contains(&Fact::Parent { id: "parent".into(), kind: ParentKind::Fork }));
}

#[test]
fn two_names_of_a_session_may_be_in_one_line() {
    let line = user(r#""hi""#, r#","session_id":"previous""#);
    assert_eq!(facts(&line), prompt("hi"));
    assert_eq!(parser().line(line.as_bytes()).key, Some(crate::hash(b"u")));
}

#[test]
fn oddities_are_counted() {
    let issues = |line: &str| parser().line(line.as_bytes()).issues;
    assert_eq!(issues(r#"{"type":"tomorrow"}"#), [issue::UNKNOWN]);
    assert_eq!(issues(&assistant("7", r#""usage":[]"#)), [issue::SHAPE]);
    assert_eq!(issues(&record("assistant", r#""message":"x""#)).first(), Some(&issue::SHAPE));
    assert_eq!(issues(r#"{"type":"custom-title","customTitle":[]}"#), [issue::SHAPE]);
}
