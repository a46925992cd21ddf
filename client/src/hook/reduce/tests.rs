//! What is kept of a payload, and what must not be.

use proptest::prelude::*;

use super::*;

fn kept(input: &str) -> Value {
    reduce(input.as_bytes()).map_or(Value::Null, |text| serde_json::from_str(&text).unwrap())
}

#[test]
fn what_was_asked_printed_and_answered_does_not_leave() {
    for (input, want) in [
        (
            json!({"session_id":"s","hook_event_name":"UserPromptSubmit","prompt":"SECRET","cwd":"/w"}),
            json!({"session_id":"s","hook_event_name":"UserPromptSubmit","cwd":"/w"}),
        ),
        (
            json!({"hook_event_name":"PostToolUse","tool_name":"Write","tool_use_id":"t",
                "tool_input":{"content":"SECRET","file_path":"/w/a"},"tool_response":{"x":"SECRET"}}),
            json!({"hook_event_name":"PostToolUse","tool_name":"Write","tool_use_id":"t",
                "tool_input":{"file_path":"/w/a"}}),
        ),
        (
            json!({"hook_event_name":"PreToolUse","tool_name":"Agent",
                "tool_input":{"prompt":"SECRET","description":"Audit"}}),
            json!({"hook_event_name":"PreToolUse","tool_name":"Agent","tool_input":{"description":"Audit"}}),
        ),
        (
            json!({"hook_event_name":"PostToolUseFailure","error":"Exit code 3\nSECRET","message":"SECRET"}),
            json!({"hook_event_name":"PostToolUseFailure"}),
        ),
        (
            json!({"hook_event_name":"StopFailure","error":"rate_limit","last_assistant_message":"SECRET"}),
            json!({"hook_event_name":"StopFailure","error":"rate_limit"}),
        ),
        (
            json!({"hook_event_name":"Stop","background_tasks":[
                {"id":"1","type":"subagent","status":"running","description":"SECRET"}]}),
            json!({"hook_event_name":"Stop","background_tasks":[{"type":"subagent","status":"running"}]}),
        ),
    ] {
        assert_eq!(kept(&input.to_string()), want);
        assert!(!want.to_string().contains("SECRET"));
    }
    let input = r#"{"hook_event_name":"post_tool_call","tool_input":{"odd":"first","more":"SECRET"},
        "extra":{"result":"SECRET","turn_id":"s:1","interrupted":true}}"#;
    let want = json!({"hook_event_name":"post_tool_call","tool_input":{"odd":"first"},
        "extra":{"turn_id":"s:1","interrupted":true}});
    assert_eq!(kept(input), want);
}

#[test]
fn as_much_is_read_as_can_be() {
    let event = json!({"hook_event_name":"Stop","session_id":"s"});
    for input in [
        r#"{"hook_event_name":"Stop","session_id":"s","tool_response":"cut of"#,
        r#"{"hook_event_name":"Stop","session_id":"s"} and more"#,
        r#"{"hook_event_name":"Stop","session_id":"s","cwd":["/w"],"tool_input":7}"#,
        r#"{"hook_event_name":"Stop","tool_name":"\ud800","session_id":"s"}"#,
        " \n{\"hook_event_name\":\"Stop\",\"odd\":[[{}]],\"session_id\":\"s\"}",
    ] {
        assert_eq!(kept(input), event, "{input}");
    }
    for nothing in ["", "null", "7", "[{}]", "{}", "{\"session_id\":\"s\"}", "\u{0}", "{{{{"] {
        assert_eq!(kept(nothing), Value::Null, "{nothing}");
    }
    let lossy = reduce(b"{\"hook_event_name\":\"Stop\",\"session_id\":\"s\xff\"}").unwrap();
    assert!(lossy.contains('\u{fffd}'));
}

#[test]
fn what_is_kept_is_short_however_much_there_is() {
    let long = "x".repeat(100_000);
    let all = json!({"hook_event_name":"PreToolUse","session_id":long,"cwd":long,"tool_name":long,
        "tool_input":{"command":[long,long]},"background_tasks":vec![json!({"type":"x".repeat(900)});1000],
        "extra":{"command":long}});
    assert!(reduce(all.to_string().as_bytes()).unwrap().len() <= MAX_HOOK_PAYLOAD);
    let controls = "\u{1}".repeat(4_000);
    let all = json!({"hook_event_name":"PreToolUse","session_id":"s","tool_name":controls,"cwd":controls,
        "tool_input":{"command":vec![controls;32]}});
    let rest = kept(&all.to_string());
    assert_eq!((&rest["session_id"], rest.get("tool_input")), (&json!("s"), None));
    let deep = format!("{{\"hook_event_name\":\"Stop\",\"x\":{}", "[".repeat(1 << 20));
    assert_eq!(kept(&deep)["hook_event_name"], "Stop");
    let deep = format!("{{\"hook_event_name\":\"Stop\",\"tool_input\":{}", "[".repeat(1 << 20));
    assert_eq!(kept(&deep)["hook_event_name"], "Stop");
}

proptest! {
    #[test]
    fn no_bytes_make_it_fail(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = reduce(&bytes);
        let begun = b"{\"hook_event_name\":\"Stop\",\"tool_input\":".to_vec();
        let _ = reduce(&[begun, bytes].concat());
    }
}
