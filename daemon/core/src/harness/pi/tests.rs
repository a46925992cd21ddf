//! pi's records, one shape at a time, and what becomes of a session of them.

use rrd_proto::{Counts, EventKind, ParentKind, Timestamp, Tokens, TurnResult};

use super::{FORMAT, classify};
use crate::{
    fact::{Fact, Origin, Parsed, issue},
    fold::{Fold, Turn},
    harness::{FileRole, Parser, ParserState},
};

fn parser() -> Box<dyn Parser> {
    (FORMAT.parser)(ParserState::default())
}

const HEADER: &str =
    r#"{"type":"session","version":3,"id":"s","timestamp":"2026-11-20T10:00:00.000Z","cwd":"/w"}"#;

/// An entry `id` on `parent`, at the second that its id names.
fn entry(kind: &str, id: u32, parent: u32, rest: &str) -> String {
    let parent = if parent == 0 { "null".to_owned() } else { format!("\"e{parent}\"") };
    let at = format!("2026-11-20T10:{:02}:{:02}.000Z", id / 60, id % 60);
    format!(r#"{{"type":"{kind}","id":"e{id}","parentId":{parent},"timestamp":"{at}"{rest}}}"#)
}

fn message(id: u32, parent: u32, rest: &str) -> String {
    entry("message", id, parent, &format!(r#","message":{{{rest}}}"#))
}

fn ask(id: u32, parent: u32, text: &str) -> String {
    let content = format!(r#""role":"user","content":[{{"type":"text","text":"{text}"}}]"#);
    message(id, parent, &content)
}

fn say(id: u32, parent: u32, text: &str, stop: &str) -> String {
    let content =
        format!(r#"[{{"type":"thinking","thinking":"…"}},{{"type":"text","text":"{text}"}}]"#);
    answer(id, parent, &content, stop)
}

fn call(id: u32, parent: u32) -> String {
    let content =
        r#"[{"type":"toolCall","id":"c","name":"bash","arguments":{"command":"ls\n-l"}}]"#;
    answer(id, parent, content, "toolUse")
}

fn answer(id: u32, parent: u32, content: &str, stop: &str) -> String {
    let usage =
        r#""usage":{"input":11,"output":7,"cacheRead":2,"cacheWrite":1,"cost":{"input":0.5}}"#;
    let model = r#""provider":"p","model":"m""#;
    let rest =
        format!(r#""role":"assistant","content":{content},{model},{usage},"stopReason":"{stop}""#);
    message(id, parent, &rest)
}

fn result(id: u32, parent: u32, rest: &str) -> String {
    let call = r#""role":"toolResult","toolCallId":"c","toolName":"bash","content":[{"type":"text","text":"out"}]"#;
    message(id, parent, &format!("{call}{rest}"))
}

/// A session of these lines; going on from a stored state makes no difference.
fn fold(lines: &[String]) -> Fold {
    let (mut fold, mut parser) = (Fold::default(), parser());
    for line in [HEADER.to_owned()].iter().chain(lines) {
        let parsed = parser.line(line.as_bytes());
        assert_eq!(parsed.issues, [""; 0], "{line}");
        fold.apply(parsed, 0, &mut Vec::new());
        parser = (FORMAT.parser)(parser.state());
    }
    fold
}

/// Prompts, messages, calls and errors, and how the turn stands.
fn sum(lines: &[String]) -> ((u64, u64, u64, u64), Option<TurnResult>) {
    let fold = fold(lines);
    let Counts { prompts, messages, tool_calls, errors } = fold.counts;
    let over = match fold.turn() {
        Turn::Over { result, .. } => Some(result),
        Turn::Open { .. } | Turn::Unknown => None,
    };
    ((prompts, messages, tool_calls, errors), over)
}

fn one(line: &str) -> Parsed<'_> {
    parser().line(line.as_bytes())
}

#[test]
fn whose_move_it_is_follows_from_the_last_word() {
    use TurnResult::{Completed, Error, Interrupted, RateLimited};
    let failed = |text: &str, rest: &str| {
        message(
            2,
            1,
            &format!(
                r#""role":"assistant","content":[],"stopReason":"error","errorMessage":"{text}"{rest}"#
            ),
        )
    };
    for (what, lines, counts, over) in [
        ("asked", vec![], (1, 0, 0, 0), None),
        ("answered", vec![say(2, 1, "Done.", "stop")], (1, 1, 0, 0), Some(Completed)),
        ("cut short", vec![say(2, 1, "Do", "length")], (1, 1, 0, 0), Some(Completed)),
        ("stopped", vec![say(2, 1, "Do", "aborted")], (1, 1, 0, 0), Some(Interrupted)),
        ("calls", vec![call(2, 1)], (1, 0, 1, 0), None),
        ("called", vec![call(2, 1), result(3, 2, r#","isError":false"#)], (1, 0, 1, 0), None),
        // A provider's failure is an empty answer; it is told by the result, not counted.
        ("failed", vec![failed("500 mock failure", "")], (1, 0, 0, 0), Some(Error)),
        ("limited", vec![failed("429 status code (no body)", "")], (1, 0, 0, 0), Some(RateLimited)),
        (
            "limited, by its type",
            vec![failed("no", r#","errorType":"rate_limit_error""#)],
            (1, 0, 0, 0),
            Some(RateLimited),
        ),
        (
            "limited, by its body",
            vec![failed("no", r#","errorBody":"{\"code\":\"usage_limit_reached\"}""#)],
            (1, 0, 0, 0),
            Some(RateLimited),
        ),
        (
            "tried again",
            vec![failed("x", ""), say(3, 2, "Done.", "stop")],
            (1, 1, 0, 0),
            Some(Completed),
        ),
        // Thinking and white space say nothing.
        ("silent", vec![say(2, 1, " ", "stop")], (1, 0, 0, 0), Some(Completed)),
        // Some providers call it a stop; the calls are run all the same.
        ("a stop with calls", vec![call(2, 1).replace("toolUse", "stop")], (1, 0, 1, 0), None),
        (
            "what the user runs",
            vec![
                say(2, 1, "Done.", "stop"),
                message(3, 2, r#""role":"bashExecution","command":"ls","output":"","exitCode":1"#),
                message(4, 3, r#""role":"custom","customType":"x","content":"y","display":true"#),
            ],
            (1, 1, 0, 0),
            Some(Completed),
        ),
        ("asked again", vec![say(2, 1, "Done.", "stop"), ask(3, 2, "more")], (2, 1, 0, 0), None),
    ] {
        let lines = [vec![ask(1, 0, "Go")], lines].concat();
        assert_eq!(sum(&lines), (counts, over), "{what}");
    }
}

#[test]
fn a_failed_try_is_told_but_not_counted() {
    let failed = message(
        2,
        1,
        r#""role":"assistant","content":[],"stopReason":"error","errorMessage":"500 mock failure""#,
    );
    let (mut fold, mut parser, mut events) = (Fold::default(), parser(), Vec::new());
    for line in [ask(1, 0, "Go"), failed] {
        fold.apply(parser.line(line.as_bytes()), 0, &mut events);
    }
    let told: Vec<_> = events.iter().map(|e| (e.kind, &*e.text, e.is_error)).collect();
    let expected = [
        (EventKind::Prompt, "Go", false),
        (EventKind::Error, "500 mock failure", true),
        (EventKind::TurnEnd, "error", true),
    ];
    assert_eq!((&*told, fold.counts.errors), (&expected[..], 0));
}

#[test]
fn a_tool_fails_by_its_flag_or_its_exit_code() {
    for (rest, errors) in [
        (r#","isError":true"#, 1),
        (r#","isError":false,"details":{"exitCode":3}"#, 1),
        (r#","isError":false,"details":{"exitCode":-1,"status":"completed"}"#, 1),
        (r#","isError":true,"details":{"exitCode":3}"#, 1),
        (r#","isError":false,"details":{"exitCode":0}"#, 0),
        (r#","isError":false,"details":{"exitCode":null,"aggregated":{"exitCode":3}}"#, 0),
        (r#","isError":false,"details":{}"#, 0),
        (r#","isError":false,"details":["x",{"exitCode":3}]"#, 0),
        (r#","isError":false,"details":"exitCode""#, 0),
        (r#","isError":false,"details":1.5"#, 0),
        ("", 0),
    ] {
        let lines = [ask(1, 0, "Go"), call(2, 1), result(3, 2, rest)];
        assert_eq!(sum(&lines), ((1, 0, 1, errors), None), "{rest}");
    }
    // A long command is left running, and the turn ends all the same.
    let running = r#","isError":false,"details":{"status":"running","pid":17959}"#;
    let lines = [ask(1, 0, "Go"), call(2, 1), result(3, 2, running), say(4, 3, "Later.", "stop")];
    assert_eq!(sum(&lines), ((1, 1, 1, 0), Some(TurnResult::Completed)));
}

#[test]
fn the_last_entry_tells_the_branch() {
    let interrupted = Some(TurnResult::Interrupted);
    // 3 was never answered: its process died.
    let left = [ask(1, 0, "Go"), say(2, 1, "Done.", "stop"), ask(3, 2, "On"), call(4, 3)];
    let counts = (2, 1, 1, 0);
    for (what, last, over) in [
        ("it stays", None, None),
        ("a note on it", Some(entry("label", 5, 4, r#","targetId":"e1","label":"here""#)), None),
        ("a note earlier in the turn", Some(entry("custom", 5, 3, "")), None),
        (
            "a note without a place",
            Some(entry("custom", 5, 4, "").replace(r#""parentId":"e4","#, "")),
            None,
        ),
        (
            "a note on the other branch",
            Some(entry("label", 5, 2, r#","targetId":"e4""#)),
            interrupted,
        ),
        ("at the root", Some(entry("thinking_level_change", 5, 0, "")), interrupted),
        (
            "another model there",
            Some(entry("model_change", 5, 2, r#","modelId":"m""#)),
            interrupted,
        ),
        (
            "a summary of what was left",
            Some(entry("branch_summary", 5, 2, r#","summary":"x""#)),
            interrupted,
        ),
        ("a leaf elsewhere", Some(entry("leaf", 5, 4, r#","targetId":"e2""#)), interrupted),
        ("a leaf here", Some(entry("leaf", 5, 2, r#","targetId":"e4""#)), None),
        ("compacted there", Some(entry("compaction", 5, 2, r#","summary":"x""#)), interrupted),
        ("compacted here", Some(entry("compaction", 5, 4, r#","summary":"x""#)), None),
    ] {
        let lines: Vec<_> = left.iter().cloned().chain(last).collect();
        assert_eq!(sum(&lines), (counts, over), "{what}");
    }
    // What follows on the other branch tells for itself, and what was left open is closed.
    let lines = [&left[..], &[ask(5, 2, "Otherwise"), call(6, 5)]].concat();
    assert_eq!(fold(&lines).open_tools.len(), 1);
    let lines = [&lines[..], &[result(7, 6, ""), say(8, 7, "So.", "stop")]].concat();
    assert_eq!(sum(&lines), ((3, 2, 2, 0), Some(TurnResult::Completed)));
    // The end of another branch is not ours: who notes something after a turn leaves nothing.
    let lines = [ask(1, 0, "Go"), say(2, 1, "Done.", "stop"), entry("label", 3, 1, "")];
    assert_eq!(sum(&lines).1, Some(TurnResult::Completed));
}

#[test]
fn a_long_turn_stays_open() {
    let mut lines = vec![ask(1, 0, "Go")];
    for id in 1..100 {
        lines.push(call(2 * id, 2 * id - 1));
        lines.push(result(2 * id + 1, 2 * id, ""));
    }
    lines.push(entry("custom", 200, 199, ""));
    assert_eq!(sum(&lines), ((1, 0, 99, 0), None));
    assert!(parser_state(&lines).turn.len() <= super::TURN);
}

fn parser_state(lines: &[String]) -> ParserState {
    let mut parser = parser();
    lines.iter().for_each(|line| drop(parser.line(line.as_bytes())));
    parser.state()
}

#[test]
fn what_is_noted_beside_the_conversation_is_no_activity() {
    let lines = [
        ask(1, 0, "Go"),
        say(2, 1, "Done.", "stop"),
        entry("session_info", 60, 2, r#","name":" Named\n""#),
        entry("model_change", 61, 60, r#","provider":"p","modelId":"m2""#),
        entry("custom", 62, 61, r#","customType":"x","data":{"type":"message","deep":[1]}"#),
        entry("custom_message", 63, 62, r#","customType":"x","content":"y","display":true"#),
        entry("usage", 64, 63, ""),
        entry("context_edit", 65, 64, ""),
        entry("reset", 66, 65, ""),
    ];
    let known = fold(&lines);
    assert_eq!(known.last_activity, Timestamp::parse("2026-11-20T10:00:02.000Z"));
    assert_eq!(known.started_at(), Timestamp::parse("2026-11-20T10:00:00.000Z"));
    assert_eq!((known.title(), known.model.as_deref()), (Some("Named"), Some("m2")));
    assert_eq!(known.cwd.as_deref(), Some("/w"));
    // An empty name takes the name back.
    let lines = [&lines[..], &[entry("session_info", 67, 66, r#","name":"""#)]].concat();
    assert_eq!(fold(&lines).title(), Some("Go"));
}

#[test]
fn every_call_of_the_model_counts_its_tokens() {
    let lines = [ask(1, 0, "Go"), call(2, 1), result(3, 2, ""), say(4, 3, "Done.", "stop")];
    let tokens = Tokens { input: 22, output: 14, cache_read: 4, cache_write: 2 };
    assert_eq!(fold(&lines).tokens, Some(tokens));
}

#[test]
fn calls_are_told_in_a_line_and_some_ask() {
    let call = |name: &str, arguments: &str| {
        let content =
            format!(r#"[{{"type":"toolCall","id":"c","name":"{name}","arguments":{arguments}}}]"#);
        let line = answer(1, 0, &content, "toolUse");
        let facts = one(&line).facts;
        let summary = facts.iter().find_map(|fact| match fact {
            Fact::ToolCall { summary, asks, .. } => Some((summary.clone(), *asks)),
            _ => None,
        });
        summary.unwrap()
    };
    for (name, arguments, summary, asks) in [
        ("bash", r#"{"command":"ls\n-l","timeout":5}"#, "ls -l", false),
        ("read", r#"{"path":"src/a.rs","offset":3}"#, "src/a.rs", false),
        ("edit", r#"{"edits":[{"oldText":"x"}],"path":"b.rs"}"#, "b.rs", false),
        ("grep", r#"{"path":"src","pattern":"fn x"}"#, "fn x", false),
        ("ls", "{}", "", false),
        ("question", r#"{"question":"Which?","options":[{"label":"a"}]}"#, "Which?", true),
        ("questionnaire", r#"{"questions":[{"id":"q","prompt":"Which?"}]}"#, "", true),
    ] {
        assert_eq!(call(name, arguments), (summary.to_owned(), asks), "{name}");
    }
}

#[test]
fn a_fork_names_its_parent_and_begins_with_its_own() {
    const PARENT: &str = "01a1f88c-edea-7795-8202-1cd3dde21e8e";
    for path in [
        format!("/home/dev/.pi/agent/sessions/--w--/2026-11-20T09-42-27-947Z_{PARENT}.jsonl"),
        format!(r"C:\\Users\\dev\\.pi\\agent\\sessions\\{PARENT}.jsonl"),
    ] {
        let header = format!(
            r#"{{"type":"session","version":3,"id":"s","timestamp":"2026-11-20T10:00:30.000Z","cwd":"/w","parentSession":"{path}"}}"#
        );
        let (mut known, mut parser) = (Fold::default(), parser());
        let lines = [
            header,
            HEADER.replace("\"s\"", "\"other\""),
            ask(1, 0, "Old"),
            say(2, 1, "Done.", "stop"),
            ask(40, 2, "New"),
        ];
        let mut origins = Vec::new();
        for line in &lines {
            let parsed = parser.line(line.as_bytes());
            origins.push(parsed.origin);
            let other = |fact: &Fact<'_>| matches!(fact, Fact::SessionId(id) if id != "s");
            assert!(!parsed.facts.iter().any(other), "only the first header is the file's own");
            known.apply(parsed, 0, &mut Vec::new());
            parser = (FORMAT.parser)(parser.state());
        }
        assert_eq!(origins[2..], [Origin::Copied, Origin::Copied, Origin::Own]);
        assert_eq!(known.parent, Some((PARENT.to_owned(), ParentKind::Fork)));
        assert_eq!(known.started_at(), Timestamp::parse("2026-11-20T10:00:30.000Z"));
    }
    let itself = HEADER.replace("\"cwd\"", r#""parentSession":"/x/s.jsonl","cwd""#);
    assert!(!one(&itself).facts.iter().any(|fact| matches!(fact, Fact::Parent { .. })));
}

#[test]
fn the_rows_of_a_database_are_read_alike() {
    let id = "a6dfbebd-83ed-4dea-8013-6c3225e6a0af";
    let line = |kind: &str, rest: &str| {
        format!(
            r#"{{"type":"{kind}","id":"{id}","parentId":null,"timestamp":"2026-11-20T10:00:01.000Z"{rest}}}"#
        )
    };
    let header = HEADER.replace("\"version\":3", "\"version\":4");
    assert!(one(&header).facts.contains(&Fact::SessionId("s".into())));
    let prompt = line(
        "message",
        r#","message":{"role":"user","content":"Go","__openclaw":{"senderIsOwner":true}}"#,
    );
    assert_eq!(one(&prompt).facts, [Fact::Prompt { text: "Go".into() }]);
    let said =
        line("message", r#","message":{"role":"assistant","content":"Done.","stopReason":"stop"}"#);
    let facts =
        [Fact::Message { id: None, text: "Done.".into() }, Fact::TurnEnd(TurnResult::Completed)];
    assert_eq!(one(&said).facts, facts);
}

#[test]
fn what_is_not_understood_is_kept_and_counted() {
    for (line, issues) in [
        (entry("news", 1, 0, ""), vec![issue::UNKNOWN]),
        (message(1, 0, r#""role":"oracle","content":"x""#), vec![issue::UNKNOWN]),
        (entry("message", 1, 0, ""), vec![issue::SHAPE]),
        (entry("message", 1, 0, r#","message":"x""#), vec![issue::SHAPE]),
        (message(1, 0, r#""role":7,"content":{}"#), vec![issue::SHAPE, issue::UNKNOWN]),
        (message(1, 0, r#""role":"user","content":[7]"#), vec![issue::SHAPE]),
        (entry("label", 1, 0, "").replace("2026-", "anno "), vec![issue::SHAPE]),
        (HEADER.replace("\"s\"", "null"), vec![issue::SHAPE]),
        ("{}".to_owned(), vec![issue::SHAPE]),
        ("[]".to_owned(), vec![issue::SHAPE]),
        ("x".to_owned(), vec![issue::DAMAGED]),
    ] {
        assert_eq!(one(&line).issues, issues, "{line}");
    }
    // Two writers in one line, one of them cut off; what a block begins with is no record.
    let torn = format!("{}{}", &ask(1, 0, "First")[..120], say(2, 1, "Done.", "stop"));
    let parsed = one(&torn);
    assert_eq!(parsed.issues, [issue::REPAIRED]);
    assert_eq!(parsed.facts.iter().filter(|f| matches!(f, Fact::Message { .. })).count(), 1);
}

#[test]
fn short_ids_are_told_apart_by_their_time() {
    let keys = [ask(1, 0, "a"), ask(2, 0, "a"), ask(1, 0, "a").replace("10:00:01", "11:00:01")]
        .map(|line| one(&line).key.unwrap());
    assert!(keys[0] != keys[1] && keys[0] != keys[2]);
    assert_eq!(one(&ask(1, 0, "a")).key, Some(keys[0]));
}

#[test]
fn paths_tell_what_files_are() {
    const ID: &str = "01a1f88c-edea-7795-8202-1cd3dde21e8e";
    let session = |id: &str| FileRole::Transcript {
        session_id: id.to_owned(),
        parent: None,
        zstd: false,
        archived: false,
    };
    for (path, role) in [
        (format!("sessions/--home-dev-w--/2026-11-20T10-42-27-947Z_{ID}.jsonl"), session(ID)),
        (format!("sessions/2026-11-20T10-42-27-947Z_{ID}.jsonl"), session(ID)),
        // A directory of their own, as `PI_CODING_AGENT_SESSION_DIR` names it, is flat.
        (format!("2026-11-20T10-42-27-947Z_{ID}.jsonl"), session(ID)),
        (format!("{ID}.jsonl"), FileRole::Ignored),
        ("sessions/--w--/by-hand.jsonl".to_owned(), session("by-hand")),
        ("sessions/--w--/.jsonl".to_owned(), FileRole::Ignored),
        ("sessions/--w--/x.jsonl.bak".to_owned(), FileRole::Ignored),
        ("sessions/--w--/deeper/x.jsonl".to_owned(), FileRole::Ignored),
        ("auth.json".to_owned(), FileRole::Ignored),
        ("x.jsonl".to_owned(), FileRole::Ignored),
    ] {
        assert_eq!(classify(&path), role, "{path}");
    }
}
