//! The JSON that scripts rely on, byte for byte: keys are only ever added, words never change.
//!
//! A failing test here is a broken promise unless the only change is a new key.
#![allow(clippy::unwrap_used)] // the lint's exception for tests does not reach plain functions here

use rrd_proto::{
    Activity, Cause, ChainEnd, Counts, Coverage, CoverageState, Deletion, Direction, EdgeKind,
    EdgeState, Event, EventKind, Harness, HostState, Issue, Link, ParentKind, Session, Status,
    StatusSource, Timestamp, Tokens,
};

fn session() -> Session {
    let at = |ms: i64| Some(Timestamp::from_millis(1_795_170_000_000 + ms));
    Session {
        reference: "abcde".into(),
        host: "mac".into(),
        node_id: None,
        harness: Harness::ClaudeCode,
        session_id: "b41f".into(),
        repo: Some("rrd".into()),
        repo_root: Some("/src/rrd".into()),
        repo_remote: None,
        branch: Some("main".into()),
        cwd: Some("/src/rrd".into()),
        started_at: at(0),
        last_activity_at: at(1_500),
        transcript_path: Some("/t.jsonl".into()),
        title: Some("Publish the crate".into()),
        model: None,
        status: Status::Executing,
        status_since: at(1_000),
        status_source: StatusSource::OpenRecord,
        waiting_for: None,
        waiting_detail: None,
        waiting_on: None,
        activity: Some(Activity {
            tool: Some("Bash".into()),
            summary: "ls".into(),
            since: None,
            may_wait: false,
        }),
        turn_result: None,
        end_reason: None,
        active: true,
        live: Some(true),
        interactive: Some(true),
        pid: Some(7),
        parent_session_id: Some("p".into()),
        parent_kind: Some(ParentKind::Fork),
        counts: Some(Counts { prompts: 1, messages: 2, tool_calls: 3, errors: 4 }),
        tokens: Some(Tokens { input: 1, output: 2, cache_read: 3, cache_write: 4 }),
        complete: true,
        host_state: HostState::Here,
        host_seen_at: None,
        attach: Some("tmux attach -t t7".into()),
        issues: vec![Issue {
            kind: "damaged_line".into(),
            count: 1,
            offset: Some(9),
            detail: None,
        }],
        coverage: vec![Coverage {
            url: "file:///backup/rrd".into(),
            state: CoverageState::Behind,
            bytes_behind: Some(12),
            since: at(1_000),
            only_here: 2,
        }],
        deletion: Some(Deletion { at: at(2_592_000_000) }),
        links: vec![Link {
            kind: EdgeKind::Wait,
            state: EdgeState::Declared,
            to: "bcdef".to_owned(),
            incoming: false,
            any: false,
            group: 0,
            since: at(1_000),
            evidence: "rrd wait --until idle".to_owned(),
        }],
        chain: Some(ChainEnd {
            reference: "bcdef".to_owned(),
            host: Some("server".to_owned()),
            title: Some("Publish".to_owned()),
            cause: Cause::Permission,
            detail: Some("Bash: npm publish".to_owned()),
            since: at(1_000),
            blocks: 2,
        }),
        workplaces: None,
    }
}

const SESSION: &str = r#"{"ref":"abcde","host":"mac","node_id":null,"harness":"claude-code","session_id":"b41f","repo":"rrd","repo_root":"/src/rrd","repo_remote":null,"branch":"main","cwd":"/src/rrd","started_at":"2026-11-20T10:20:00.000Z","last_activity_at":"2026-11-20T10:20:01.500Z","transcript_path":"/t.jsonl","title":"Publish the crate","model":null,"status":"executing","status_since":"2026-11-20T10:20:01.000Z","status_source":"open_record","waiting_for":null,"waiting_detail":null,"waiting_on":null,"activity":{"tool":"Bash","summary":"ls","since":null,"may_wait":false},"turn_result":null,"end_reason":null,"active":true,"live":true,"interactive":true,"pid":7,"parent_session_id":"p","parent_kind":"fork","counts":{"prompts":1,"messages":2,"tool_calls":3,"errors":4},"tokens":{"input":1,"output":2,"cache_read":3,"cache_write":4},"complete":true,"host_state":"here","host_seen_at":null,"attach":"tmux attach -t t7","issues":[{"kind":"damaged_line","count":1,"offset":9,"detail":null}],"coverage":[{"url":"file:///backup/rrd","state":"behind","bytes_behind":12,"since":"2026-11-20T10:20:01.000Z","only_here":2}],"deletion":{"at":"2026-12-20T10:20:00.000Z"},"links":[{"kind":"wait","state":"declared","to":"bcdef","incoming":false,"any":false,"group":0,"since":"2026-11-20T10:20:01.000Z","evidence":"rrd wait --until idle"}],"chain":{"ref":"bcdef","host":"server","title":"Publish","cause":"permission","detail":"Bash: npm publish","since":"2026-11-20T10:20:01.000Z","blocks":2}}"#;

#[test]
fn a_session_in_json_is_as_promised() {
    assert_eq!(serde_json::to_string(&session()).unwrap(), SESSION);
    let back: Session = serde_json::from_str(SESSION).unwrap();
    assert_eq!(back, session());
}

#[test]
fn a_session_of_a_newer_release_is_read_all_the_same() {
    let newer = SESSION
        .replace(r#""harness":"claude-code""#, r#""harness":"gemini","some_new_key":{"a":1}"#);
    let read: Session = serde_json::from_str(&newer).unwrap();
    assert_eq!(read.harness, Harness::Other("gemini".into()));
    let newer = SESSION.replace(r#""state":"behind""#, r#""state":"frozen""#);
    let read: Session = serde_json::from_str(&newer).unwrap();
    assert_eq!(read.coverage[0].state, CoverageState::Unknown);
}

#[test]
fn a_session_of_an_older_release_says_nothing_of_mirrors() {
    let (older, _) = SESSION.split_once(r#","coverage""#).unwrap();
    let read: Session = serde_json::from_str(&(older.to_owned() + "}")).unwrap();
    assert_eq!((read.coverage, read.deletion), (Vec::new(), None));
}

#[test]
fn an_event_in_json_is_as_promised() {
    let event = Event {
        seq: 5,
        at: Some(Timestamp::from_millis(1)),
        kind: EventKind::ToolResult,
        text: "boom".into(),
        tool: Some("Bash".into()),
        tool_call_id: Some("toolu_1".into()),
        is_error: true,
        truncated: false,
        direction: None,
        message_id: None,
        withdrawn: false,
        body: None,
        subagent: None,
    };
    let text = r#"{"seq":5,"at":"1970-01-01T00:00:00.001Z","kind":"tool_result","text":"boom","tool":"Bash","tool_call_id":"toolu_1","is_error":true,"truncated":false,"direction":null,"message_id":null,"withdrawn":false,"body":null,"subagent":null}"#;
    assert_eq!(serde_json::to_string(&event).unwrap(), text);
    let sent = Event {
        kind: EventKind::PeerMessage,
        direction: Some(Direction::Sent),
        message_id: Some("m".into()),
        ..event
    };
    let text = serde_json::to_string(&sent).unwrap();
    assert!(
        text.ends_with(
            r#""direction":"sent","message_id":"m","withdrawn":false,"body":null,"subagent":null}"#
        ),
        "{text}"
    );
}

#[test]
fn words_in_json_are_the_words_of_the_tables() {
    for status in [Status::Waiting, Status::Executing, Status::Idle, Status::Ended] {
        assert_eq!(serde_json::to_string(&status).unwrap(), format!("\"{status}\""));
        assert_eq!(status.as_str().parse(), Ok(status));
    }
    assert!("running".parse::<Status>().unwrap_err().contains("waiting, executing, idle, ended"));
}
