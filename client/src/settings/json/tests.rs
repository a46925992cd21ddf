//! Adding and removing, on every layout a settings file may have.

use proptest::prelude::*;
use serde_json::{Value as Plain, json};

use super::*;

const EVENTS: [&str; 3] = ["PreToolUse", "Stop", "SessionEnd"];
const COMMAND: &str = "/usr/bin/rrd hook claude-code";
const HARNESS: &str = "claude-code";

fn added(text: &str) -> String {
    install(text, HARNESS, &EVENTS, COMMAND).unwrap()
}

fn removed(text: &str) -> String {
    uninstall(text, HARNESS).unwrap()
}

fn events(text: &str) -> Vec<String> {
    hooks(text, HARNESS).unwrap().into_iter().map(|hook| hook.event).collect()
}

#[test]
fn it_looks_as_the_rest_does() {
    let tight =
        r#"{"hooks":[{"type":"command","command":"/usr/bin/rrd hook claude-code","timeout":5}]}"#;
    let group = tight.replace("\":", "\": ").replace(",\"", ", \"");
    for (text, want) in [
        ("{}", format!("{{\n  \"hooks\": {{\n    \"Stop\": [{group}]\n  }}\n}}")),
        ("", format!("{{\n  \"hooks\": {{\n    \"Stop\": [{group}]\n  }}\n}}\n")),
        (
            "{\r\n\t\"a\": 1\r\n}\r\n",
            format!(
                "{{\r\n\t\"a\": 1,\r\n\t\"hooks\": {{\r\n\t\t\"Stop\": [{group}]\r\n\t}}\r\n}}\r\n"
            ),
        ),
        ("{\"a\":1}", format!("{{\"a\":1,\"hooks\":{{\"Stop\":[{tight}]}}}}")),
        ("{\"a\": 1}", format!("{{\"a\": 1, \"hooks\": {{\"Stop\": [{group}]}}}}")),
        (
            "{\n  \"a\": 1, // why\n  \"b\": 2 // and why\n}",
            format!(
                "{{\n  \"a\": 1, // why\n  \"b\": 2, // and why\n  \"hooks\": {{\n    \"Stop\": [{group}]\n  }}\n}}"
            ),
        ),
        (
            "{\n  \"hooks\": {\n    \"X\": [\n    ]\n  }\n}",
            format!("{{\n  \"hooks\": {{\n    \"X\": [\n    ],\n    \"Stop\": [{group}]\n  }}\n}}"),
        ),
        (
            "{\n  \"hooks\": {\n    \"Stop\": [\n      {\"hooks\": []}\n    ]\n  }\n}",
            format!(
                "{{\n  \"hooks\": {{\n    \"Stop\": [\n      {{\"hooks\": []}},\n      {group}\n    ]\n  }}\n}}"
            ),
        ),
        (
            "\u{feff}{\n    \"hooks\": {\n        \"Stop\": [{\"hooks\": []}]\n    }\n}",
            format!(
                "\u{feff}{{\n    \"hooks\": {{\n        \"Stop\": [{{\"hooks\": []}}, {group}]\n    }}\n}}"
            ),
        ),
    ] {
        assert_eq!(install(text, HARNESS, &["Stop"], COMMAND).unwrap(), want, "{text}");
    }
}

#[test]
fn twice_is_as_good_as_once() {
    let once = added("{\n  \"model\": \"x\"\n}\n");
    assert_eq!(added(&once), once);
    assert_eq!(events(&once), EVENTS);
    assert_eq!(removed(&removed(&once)), "{\n  \"model\": \"x\"\n}\n");
}

#[test]
fn another_binary_and_another_release_are_replaced() {
    let text =
        install("{\"a\":1}", HARNESS, &["Stop", "Levitate"], "/old/rrd hook claude-code").unwrap();
    let found = hooks(&text, HARNESS).unwrap();
    assert_eq!((found.len(), &*found[0].binary), (2, "/old/rrd"));
    assert_eq!(added(&text), added("{\"a\":1}").replace(
        // Stop was there first.
        r#""PreToolUse":[{"hooks":[{"type":"command","command":"/usr/bin/rrd hook claude-code","timeout":5}]}],"Stop":"#,
        r#""Stop":[{"hooks":[{"type":"command","command":"/usr/bin/rrd hook claude-code","timeout":5}]}],"PreToolUse":"#,
    ));
    let twice = text.replace("Levitate", "Stop");
    assert!(hooks(&twice, HARNESS).is_ok());
}

#[test]
fn ours_are_taken_from_among_others() {
    let mine = r#"{"type":"command","command":"/usr/bin/rrd hook claude-code","timeout":5}"#;
    let theirs = r#"{"type":"command","command":"notify.sh"}"#;
    for (text, want) in [
        (
            format!(r#"{{"hooks":{{"Stop":[{{"hooks":[{theirs},{mine}]}}]}}}}"#),
            format!(r#"{{"hooks":{{"Stop":[{{"hooks":[{theirs}]}}]}}}}"#),
        ),
        (
            format!(r#"{{"hooks":{{"Stop":[{{"hooks":[{mine}, {theirs}]}}]}}}}"#),
            format!(r#"{{"hooks":{{"Stop":[{{"hooks":[{theirs}]}}]}}}}"#),
        ),
        (
            format!(r#"{{"hooks":{{"Stop":[{{"hooks":[{mine}]}}], "X": []}}, "a": 1}}"#),
            r#"{"hooks":{"X": []}, "a": 1}"#.to_owned(),
        ),
        (
            format!(r#"{{"hooks":{{"Stop":[{{"hooks":[{mine}]}}]}}, "a": 1}}"#),
            r#"{"a": 1}"#.to_owned(),
        ),
        (
            format!("{{\"hooks\":{{/* mine */\"Stop\":[{{\"hooks\":[{mine}]}}]}}}}"),
            "{\"hooks\":{/* mine */}}".to_owned(),
        ),
        (
            format!(
                "{{\n  \"hooks\": {{\n    \"Stop\": [\n      {{\"hooks\": [{mine}]}}\n    ]\n  }}, // x\n  \"a\": 1\n}}"
            ),
            "{\n  // x\n  \"a\": 1\n}".to_owned(),
        ),
    ] {
        let rest = removed(&text);
        assert!(with_root(&rest, |_| Ok(())).is_ok(), "{rest}");
        assert_eq!(
            rest.split_whitespace().collect::<String>(),
            want.split_whitespace().collect::<String>()
        );
    }
}

#[test]
fn what_cannot_be_understood_is_left_alone() {
    for (text, why) in [
        ("{", "not valid JSON"),
        ("{\"a\":}", "not valid JSON"),
        ("{'a':1}", "not valid JSON"),
        ("{\"a\" 1}", "not valid JSON"),
        ("[]", "no JSON object"),
        ("{\"hooks\":[]}", "no object"),
        ("{\"hooks\":{},\"hooks\":{}}", "twice"),
        ("{\"hooks\":{\"Stop\":{}}}", "no list"),
        (&"[".repeat(100_000), "not valid JSON"),
    ] {
        let refusal = install(text, HARNESS, &EVENTS, COMMAND).unwrap_err();
        assert!(refusal.contains(why), "{text:.20}: {refusal}");
    }
    assert!(switched_off("{\"disableAllHooks\": true}") && !switched_off("{}"));
    // Odd things of others are not ours to judge.
    let odd = "{\"hooks\":{\"X\":7,\"Stop\":[7,{\"hooks\":{}},{\"hooks\":[7,{\"command\":7}]}]}}";
    assert_eq!(removed(&added(odd)), odd);
}

/// A way to write JSON down.
#[derive(Debug, Clone)]
struct Style {
    unit: String,
    newline: &'static str,
    colon: &'static str,
    comma: &'static str,
    /// For each container in turn: on one line?
    flat: Vec<bool>,
    /// For each line in turn: a remark at its end?
    remarks: Vec<u8>,
    trailing_commas: bool,
    around: (&'static str, &'static str),
}

struct Writer<'a> {
    style: &'a Style,
    containers: usize,
    lines: usize,
}

impl Writer<'_> {
    fn write(&mut self, value: &Plain, indent: &str, one_line: bool) -> String {
        let items: Vec<(Option<&String>, &Plain)> = match value {
            Plain::Object(fields) => fields.iter().map(|(key, value)| (Some(key), value)).collect(),
            Plain::Array(items) => items.iter().map(|item| (None, item)).collect(),
            flat => return flat.to_string(),
        };
        let (open, close) = if value.is_object() { ('{', '}') } else { ('[', ']') };
        let style = self.style;
        let one_line = one_line || style.flat[self.containers % style.flat.len()];
        self.containers += 1;
        if items.is_empty() {
            return format!("{open}{close}");
        }
        let inner = format!("{indent}{}", style.unit);
        let mut text = open.to_string();
        let last = items.len() - 1;
        for (i, (key, item)) in items.into_iter().enumerate() {
            if !one_line {
                text.push_str(style.newline);
                text.push_str(&inner);
            }
            if let Some(key) = key {
                text.push_str(&format!("{}{}", quoted(key), style.colon));
            }
            text.push_str(&self.write(item, &inner, one_line));
            if i < last {
                text.push_str(if one_line { style.comma } else { "," });
            } else if style.trailing_commas {
                text.push(',');
            }
            if !one_line {
                self.lines += 1;
                text.push_str(match style.remarks[self.lines % style.remarks.len()] {
                    0 => " // {why, \"not\"}",
                    1 => "\t/* a */",
                    _ => "",
                });
            }
        }
        if !one_line {
            text.push_str(style.newline);
            text.push_str(indent);
        }
        text.push(close);
        text
    }
}

fn styles() -> impl Strategy<Value = Style> {
    let unit = prop_oneof![Just("  "), Just("    "), Just("\t"), Just(" ")];
    let newline = prop_oneof![Just("\n"), Just("\r\n")];
    let colon = prop_oneof![Just(":"), Just(": "), Just(" : ")];
    let comma = prop_oneof![Just(","), Just(", ")];
    let around = prop_oneof![
        Just(("", "")),
        Just(("", "\n")),
        Just(("\u{feff}", "\r\n")),
        Just(("// mine\n", "\n\n")),
        Just(("\n  ", " // end")),
    ];
    let flat = proptest::collection::vec(prop::bool::weighted(0.3), 1..6);
    let remarks = proptest::collection::vec(0..8u8, 1..6);
    (unit, newline, colon, comma, flat, remarks, any::<bool>(), around).prop_map(
        |(unit, newline, colon, comma, flat, remarks, trailing_commas, around)| Style {
            unit: unit.to_owned(),
            newline,
            colon,
            comma,
            flat,
            remarks,
            trailing_commas,
            around,
        },
    )
}

/// Settings, with hooks of others or without. Nothing is empty: see the module.
fn settings() -> impl Strategy<Value = Plain> {
    let leaf = prop_oneof![
        Just(json!("a \"b\" // {} \\ é")),
        Just(json!(7)),
        Just(json!(null)),
        Just(json!(["x", "y"])),
        Just(json!({"k": {"z": [1]}})),
    ];
    let fields = proptest::collection::btree_map("[a-m]{1,3}", leaf, 0..4);
    let theirs = prop_oneof![
        Just(json!({"hooks": [{"type": "command", "command": "notify.sh"}]})),
        Just(json!({"matcher": "Bash", "hooks": [{"type": "command", "command": "a"}, {"x": 1}]})),
        Just(json!({"odd": true})),
    ];
    let event = prop_oneof![Just("Stop"), Just("PreToolUse"), Just("Notification")];
    let hooks =
        proptest::collection::btree_map(event, proptest::collection::vec(theirs, 1..3), 0..3);
    (fields, hooks).prop_map(|(mut fields, hooks)| {
        if !hooks.is_empty() {
            fields.insert("hooks".to_owned(), json!(hooks));
        }
        json!(fields)
    })
}

proptest! {
    /// What was added can be taken away again, to the last byte.
    #[test]
    fn removing_undoes_adding(settings in settings(), style in styles()) {
        let mut writer = Writer { style: &style, containers: 0, lines: 0 };
        let body = writer.write(&settings, "", false);
        let text = format!("{}{body}{}", style.around.0, style.around.1);
        let with = added(&text);
        prop_assert_eq!(events(&with).len(), EVENTS.len(), "{}", with);
        prop_assert_eq!(&added(&with), &with);
        // No byte of the file is lost or moved among the others.
        let mut left = with.chars();
        prop_assert!(text.chars().all(|c| left.any(|other| other == c)), "{}", with);
        prop_assert_eq!(removed(&with), text, "{}", with);
    }
}
