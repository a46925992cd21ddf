//! Bodies as they are shown.

use proptest::prelude::*;
use rrd_proto::Timestamp;
use serde_json::json;

use rrd_proto::{Body, EventKind, shown::MOST};
use serde_json::Value;

use super::*;
use crate::text::{is_unsafe, width};

fn event(kind: EventKind, tool: &str, text: &str) -> Event {
    Event {
        seq: 0,
        at: Some(Timestamp::from_millis(0)),
        kind,
        text: "short".to_owned(),
        tool: Some(tool.to_owned()),
        tool_call_id: None,
        is_error: false,
        truncated: true,
        direction: None,
        message_id: None,
        withdrawn: false,
        body: Some(Body { text: text.to_owned(), size: text.len() as u64, cut: None }),
        subagent: None,
    }
}

fn shown(event: &Event) -> String {
    let lines: Vec<_> = lines(event, 60)
        .into_iter()
        .map(|line| {
            let sign = match line.tone {
                Tone::Plain => ' ',
                Tone::Dim => '.',
                Tone::Added => 'A',
                Tone::Removed => 'R',
                Tone::Error => 'E',
            };
            format!("{sign}|{}", line.text)
        })
        .collect();
    lines.join("\n")
}

fn call(tool: &str, input: &Value) -> String {
    shown(&event(EventKind::ToolCall, tool, &input.to_string()))
}

#[test]
fn a_command_is_shown_as_it_is() {
    let input = json!({"command": "cd x &&\n\tmake", "timeout": 60000, "description": "Build"});
    let bash = call("Bash", &input);
    assert_eq!(bash, " |cd x &&\n |        make\n |description: Build\n |timeout: 60000");
    let codex = call("shell", &json!({"command": ["bash", "-lc", "ls -l"], "workdir": "/src"}));
    assert_eq!(codex, " |bash -lc ls -l\n |workdir: /src");
}

#[test]
fn an_edit_is_a_diff() {
    let text = |version: &str| format!("[package]\nname = \"x\"\nversion = \"{version}\"\n");
    let edited =
        ".|a/Cargo.toml\n  | [package]\n  | name = \"x\"\nR|-version = \"1\"\nA|+version = \"2\"";
    let edited = edited.replace("  |", " |");
    let (old, new) = (text("1"), text("2"));
    for input in [
        json!({"file_path": "a/Cargo.toml", "old_string": old, "new_string": new}),
        json!({"path": "a/Cargo.toml", "oldText": old, "newText": new}),
    ] {
        assert_eq!(call("Edit", &input), edited);
    }
    let several = json!({"file_path": "f", "edits": [
        {"old_string": "a", "new_string": "b", "replace_all": true}, {"old_string": "", "new_string": "c"}
    ]});
    assert_eq!(
        call("MultiEdit", &several),
        ".|f\n.|@@\nR|-a\nA|+b\n |replace_all: true\n.|@@\nA|+c"
    );
}

#[test]
fn a_written_file_is_added_and_a_patch_is_coloured() {
    let input = json!({"file_path": "f", "content": "one\n\ttwo\n"});
    assert_eq!(call("Write", &input), ".|f\nA|+one\nA|+        two");
    let patch = "*** Begin Patch\n*** Update File: f\n@@\n-a\n+b\n c\n*** End Patch";
    let coloured =
        ".|*** Begin Patch\n.|*** Update File: f\n.|@@\nR|-a\nA|+b\n | c\n.|*** End Patch";
    assert_eq!(shown(&event(EventKind::ToolCall, "apply_patch", patch)), coloured);
    let input = call("apply_patch", &json!({"input": patch}));
    assert_eq!(input, format!(".|input:\n{coloured}"));
}

#[test]
fn anything_else_is_names_and_values() {
    let input = json!({"pattern": "fn \\w+", "flags": {"-i": true}, "none": null, "n": 3});
    let shown = call("Grep", &input);
    assert_eq!(shown, ".|flags:\n |{\n |  \"-i\": true\n |}\n |n: 3\n |pattern: fn \\w+");
    assert_eq!(call("x", &json!("a\nb")), " |a\n |b");
    assert_eq!(shown_text("{\"torn"), " |{\"torn");
}

fn shown_text(text: &str) -> String {
    shown(&event(EventKind::ToolCall, "Grep", text))
}

#[test]
fn what_is_left_out_is_said() {
    let mut result = event(EventKind::ToolResult, "Bash", "headtail");
    let body = result.body.as_mut().unwrap();
    (body.size, body.cut) = (1_200_008, Some(4));
    assert_eq!(shown(&result), " |head\n.|… 1.2 MB left out …\n |tail");
    result.body = None;
    assert_eq!(shown(&result), " |short\n.|… the rest is not kept");
    let long = event(EventKind::ToolResult, "Bash", &"x\n".repeat(100_000));
    let lines = lines(&long, 60);
    assert_eq!(lines.len(), MOST + 1);
    assert!(lines.iter().any(|line| line.text.ends_with("lines left out …")));
}

#[test]
fn a_failed_result_is_red_and_long_lines_go_on() {
    let mut result = event(EventKind::ToolResult, "Bash", &"x".repeat(70));
    result.is_error = true;
    assert_eq!(shown(&result), format!("E|{}\nE|{}", "x".repeat(60), "x".repeat(10)));
    assert_eq!(
        [size(7), size(64_000), size(999_499), size(5_250_000)].join(" "),
        "7 B 64 kB 999 kB 5.2 MB"
    );
}

proptest! {
    #[test]
    fn nothing_unclean_and_nothing_too_wide(
        texts in proptest::collection::vec(any::<String>(), 4),
        columns in 8_usize..80,
        kind in prop_oneof![Just(EventKind::ToolCall), Just(EventKind::ToolResult)],
        tool in prop_oneof![Just("Edit"), Just("Bash"), Just("Grep"), Just("apply_patch")],
        cut in prop::option::of(0_u64..9),
    ) {
        let [a, b, c, d] = [0, 1, 2, 3].map(|at: usize| texts[at].clone());
        let inputs = [
            json!({"file_path": a, "old_string": b, "new_string": c, d.clone(): b}).to_string(),
            json!({"command": a, b.clone(): [c], d.clone(): {"x": a}}).to_string(),
            json!({"edits": [{"oldText": a, "newText": b}], "content": c}).to_string(),
            a.clone(),
        ];
        for input in inputs {
            let mut event = event(kind, tool, &input);
            event.body.as_mut().unwrap().cut = cut;
            for line in lines(&event, columns) {
                prop_assert!(!line.text.chars().any(is_unsafe), "{:?}", line);
                prop_assert!(width(&line.text) <= columns, "{:?}", line);
            }
        }
    }
}
