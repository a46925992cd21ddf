//! OpenClaw's own: who speaks, what its files are, its locks and its store.

use super::{
    FORMAT,
    files::{classify, lock, titles},
};
use crate::{
    fact::Fact,
    harness::{FileRole, ParserState},
};
use rrd_proto::TurnResult;

const ID: &str = "5cc10d23-fbbf-415a-9fb6-99d1571a1fb3";

#[test]
fn paths_tell_what_files_are() {
    let session = |id: &str, archived| FileRole::Transcript {
        session_id: id.to_owned(),
        parent: None,
        zstd: false,
        archived,
    };
    let frozen = FileRole::Transcript {
        session_id: ID.to_owned(),
        parent: None,
        zstd: true,
        archived: true,
    };
    let locked = FileRole::WriterLock { session_id: ID.to_owned() };
    for (name, role) in [
        (format!("{ID}.jsonl"), session(ID, false)),
        (format!("{ID}-topic-7.jsonl"), session(ID, false)),
        (format!("2026-11-20T10-42-27-947Z_{ID}.jsonl"), session(ID, false)),
        ("my.own-topic-x.jsonl".to_owned(), session("my.own-topic-x", false)),
        (format!("{ID}.jsonl.reset.2026-11-20T10-42-27.947Z"), session(ID, true)),
        (format!("{ID}.jsonl.deleted.2026-11-20T10-42-27.947Z"), session(ID, true)),
        (format!("{ID}-topic-7.jsonl.deleted.2026-11-20T10-42-27.947Z"), session(ID, true)),
        (format!("{ID}.jsonl.bak"), session(ID, true)),
        (format!("{ID}.jsonl.bak.2026-11-20T10-42-27.947Z"), session(ID, true)),
        (format!("cold/{ID}.jsonl.zst"), frozen),
        (format!("{ID}.jsonl.lock"), locked.clone()),
        (format!("{ID}-topic-7.jsonl.lock"), locked),
        ("sessions.json".to_owned(), FileRole::TitleIndex),
        // Copies, notes on how it ran, and files in the making.
        (format!("{ID}.trajectory.jsonl"), FileRole::Ignored),
        (format!("{ID}.trajectory-path.json"), FileRole::Ignored),
        (format!("{ID}.trajectory.jsonl.deleted.2026-11-20T10-42-27.947Z"), FileRole::Ignored),
        (format!("{ID}.trajectory.jsonl.lock"), FileRole::Ignored),
        (format!("{ID}.checkpoint.{ID}.jsonl"), FileRole::Ignored),
        (format!("{ID}.jsonl.7f2c.tmp"), FileRole::Ignored),
        (format!("{ID}.jsonl.backup"), FileRole::Ignored),
        ("sessions.json.bak.1795170973993".to_owned(), FileRole::Ignored),
        ("sessions.json.lock".to_owned(), FileRole::Ignored),
        (".jsonl".to_owned(), FileRole::Ignored),
        (format!("session-sqlite-import-archive/{ID}.jsonl"), FileRole::Ignored),
        // Named by its hash: a database's.
        (format!("cold/{}.jsonl.zst", "0a".repeat(32)), FileRole::Ignored),
    ] {
        assert_eq!(classify(&format!("agents/main/sessions/{name}")), role, "{name}");
    }
    for path in [
        format!("{ID}.jsonl"),
        format!("sessions/{ID}.jsonl"),
        "agents/main/agent/openclaw-agent.sqlite-shm".to_owned(),
        "agents/main/agent/openclaw-agent.sqlite.reindex-lock.sqlite".to_owned(),
        "agents/main/openclaw-agent.sqlite".to_owned(),
        "state/openclaw.sqlite-shm".to_owned(),
        "state/openclaw-quarantine.sqlite".to_owned(),
        "openclaw.sqlite".to_owned(),
        "agents/main/agent/auth-profiles.json".to_owned(),
        String::new(),
    ] {
        assert_eq!(classify(&path), FileRole::Ignored, "{path}");
    }
    for name in ["openclaw-agent.sqlite", "openclaw-agent.sqlite-wal"] {
        assert_eq!(classify(&format!("agents/main/agent/{name}")), FileRole::Database, "{name}");
    }
    for name in ["openclaw.sqlite", "openclaw.sqlite-wal"] {
        assert_eq!(classify(&format!("state/{name}")), FileRole::Asks, "{name}");
    }
}

#[test]
fn locks_name_their_process() {
    let whole = br#"{
  "pid": 21967, "createdAt": "2026-11-20T10:43:14.773Z", "maxHoldMs": 300000, "starttime": 154463
}"#;
    let read = |bytes: &[u8]| lock(bytes).map(|lock| (lock.pid, lock.proc_start));
    assert_eq!(read(whole), Some((21_967, Some("154463".to_owned()))));
    assert_eq!(read(br#"{"pid":1,"starttime":"154463"}"#), Some((1, Some("154463".to_owned()))));
    // As written where there is no `/proc`.
    assert_eq!(read(br#"{"pid":1,"maxHoldMs":300000}"#), Some((1, None)));
    for wrong in
        [&b""[..], b"{", b"{}", br#"{"pid":-1}"#, br#"{"pid":"1"}"#, br#"{"pid":4294967296}"#]
    {
        assert_eq!(read(wrong), None);
    }
    for cut in 0..whole.len() - 1 {
        assert_eq!(lock(&whole[..cut]), None);
    }
}

#[test]
fn the_store_names_some_sessions() {
    let store = br#"{
  "agent:main:main": {"sessionId": "a", "updatedAt": 5, "systemPromptReport": {"label": "x"}},
  "agent:main:subagent:1": {"sessionId": "b", "label": " Audit\nthe readme ", "displayName": "x"},
  "agent:main:telegram:group:2": {"sessionId": "c", "label": null, "displayName": "telegram:family"},
  "agent:main:odd": {"sessionId": 7, "label": "x"}, "global": 5
}"#;
    let pair = |id: &str, title: &str| (id.to_owned(), title.to_owned());
    let expected = vec![pair("b", "Audit the readme"), pair("c", "telegram:family")];
    assert_eq!(titles(store), Some(expected));
    assert_eq!(titles(b"{}"), Some(Vec::new()));
    assert_eq!(titles(&store[..store.len() - 2]), None, "torn: what was read before stands");
}

#[test]
fn openclaw_says_who_speaks() {
    let facts = |message: &str| {
        let line = format!(
            r#"{{"type":"message","id":"a","parentId":null,"timestamp":"2026-11-20T10:00:00.000Z","message":{{{message}}}}}"#
        );
        let parsed = (FORMAT.parser)(ParserState::default()).line(line.as_bytes()).facts;
        parsed.into_iter().map(crate::harness::lines::owned).collect::<Vec<_>>()
    };
    let user = |more: &str| facts(&format!(r#""role":"user","content":"Go"{more}"#));
    let agent = |more: &str| {
        facts(&format!(
            r#""role":"assistant","content":[{{"type":"text","text":"Hi"}}],"stopReason":"stop"{more}"#
        ))
    };
    let prompt = [Fact::Prompt { text: "Go".into() }];
    assert_eq!(user(""), prompt);
    assert_eq!(user(r#","provenance":{"kind":"external_user"}"#), prompt);
    assert_eq!(
        user(r#","provenance":{"kind":"inter_session","sourceTool":"sessions_send"}"#),
        [Fact::PeerMessage { id: None, text: "Go".into() }]
    );
    assert_eq!(user(r#","provenance":{"kind":"internal_system"}"#), [Fact::Injected]);
    // A copy of what was delivered elsewhere, while the turn goes on.
    assert_eq!(agent(r#","provider":"openclaw","model":"delivery-mirror""#), []);
    assert_eq!(agent(r#","provider":"openclaw","model":"gateway-injected""#), []);
    let stopped =
        r#","provider":"openclaw","model":"gateway-injected","openclawAbort":{"aborted":true}"#;
    assert_eq!(agent(stopped), [Fact::TurnEnd(TurnResult::Interrupted)]);
    assert!(agent(r#","provider":"openclaw","model":"acp-runtime""#).len() > 2);
}
