//! Damaged lines: every whole record in them is recovered, none is invented, nothing takes long.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use proptest::prelude::*;
use rrd_core::{
    fact::{Fact, Parsed, issue},
    harness::{Parser, ParserState, format_of, formats},
};
use rrd_proto::Harness;

fn parser(harness: Harness) -> Box<dyn Parser> {
    (format_of(&harness).unwrap().parser)(ParserState::default())
}

/// The prompts and messages in a line, and its issues.
fn said(parsed: &Parsed<'_>) -> (Vec<String>, Vec<&'static str>) {
    let text = |fact: &Fact<'_>| match fact {
        Fact::Prompt { text } | Fact::Message { text, .. } => Some(text.to_string()),
        _ => None,
    };
    (parsed.facts.iter().filter_map(text).collect(), parsed.issues.clone())
}

fn prompt(text: &str) -> String {
    format!(
        r#"{{"parentUuid":null,"isSidechain":false,"type":"user","message":{{"role":"user","content":"{text}"}},"uuid":"u-{}","timestamp":"2026-11-20T10:29:14.029Z","sessionId":"s","cwd":"/w","promptSource":"sdk"}}"#,
        text.len()
    )
}

fn answer(text: &str) -> String {
    format!(
        r#"{{"parentUuid":"u","isSidechain":false,"message":{{"id":"m-{}","role":"assistant","content":[{{"type":"text","text":"{text}"}}],"stop_reason":"end_turn","usage":{{"input_tokens":1}}}},"type":"assistant","uuid":"a","timestamp":"2026-11-20T10:29:15.000Z","sessionId":"s"}}"#,
        text.len()
    )
}

fn check(line: &[u8], texts: &[&str], issues: &[&str]) {
    let mut parser = parser(Harness::ClaudeCode);
    let parsed = parser.line(line);
    let (found, found_issues) = said(&parsed);
    let shown = String::from_utf8_lossy(&line[..line.len().min(300)]).into_owned();
    assert_eq!(
        (&*found, &*found_issues),
        (&*texts.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>(), issues),
        "{shown}"
    );
    assert_eq!(parsed.key.is_some(), texts.len() == 1, "{shown}");
}

#[test]
fn harmless_dirt() {
    let line = prompt("hi");
    check(format!("{line}\r").as_bytes(), &["hi"], &[]);
    check(format!("  {line} ").as_bytes(), &["hi"], &[]);
    check(b"", &[], &[]);
    check(b" \t\r", &[], &[]);
}

#[test]
fn dirt_around_and_inside_a_record() {
    let repaired = [issue::REPAIRED];
    let line = prompt("hi");
    check(format!("\u{feff}{line}").as_bytes(), &["hi"], &repaired);
    check(format!("\0\0\0{line}\0\0").as_bytes(), &["hi"], &repaired);
    check(
        &[&line.as_bytes()[..90], &[0; 512][..], &line.as_bytes()[90..]].concat(),
        &["hi"],
        &repaired,
    );
    check(prompt("a\u{1b}b").as_bytes(), &["a b"], &repaired);
    check(prompt("x\\ud83dy").as_bytes(), &["x\u{fffd}y"], &repaired);
    check(prompt("x\\ude00\\\\ud83d").as_bytes(), &["x\u{fffd}\\ud83d"], &repaired);
    check(prompt("x\\ud83d\\ude00y").as_bytes(), &["x😀y"], &[]);
    let broken = prompt("x#y").replace('#', "\u{fffd}").into_bytes();
    let at = broken.windows(3).position(|w| w == "\u{fffd}".as_bytes()).unwrap();
    let broken = [&broken[..at], b"\xff", &broken[at + 3..]].concat();
    check(&broken, &["x\u{fffd}y"], &repaired);
    check(&[0; 4096], &[], &[issue::DAMAGED]);
    check(b"garbage", &[], &[issue::DAMAGED]);
}

#[test]
fn splices_at_every_byte() {
    let (first, second, third) = (prompt("one"), answer("answer"), prompt("three!"));
    check(format!("{first}{second}").as_bytes(), &["one", "answer"], &[issue::REPAIRED]);
    check(
        format!("{first} {second}\0{third}").as_bytes(),
        &["one", "answer", "three!"],
        &[issue::REPAIRED],
    );
    for cut in 1..first.len() {
        let half = &first[..cut];
        check(format!("{half}{second}").as_bytes(), &["answer"], &[issue::REPAIRED]);
        check(
            format!("{half}{second}{third}").as_bytes(),
            &["answer", "three!"],
            &[issue::REPAIRED],
        );
        check(format!("{second}{half}").as_bytes(), &["answer"], &[issue::REPAIRED]);
        check(format!("{}{second}", &first[cut..]).as_bytes(), &["answer"], &[issue::REPAIRED]);
        // A torn record alone holds nothing whole.
        check(half.as_bytes(), &[], &[issue::DAMAGED]);
        check(&first.as_bytes()[cut..], &[], &[issue::DAMAGED]);
    }
}

#[test]
fn codex_splices_at_every_byte() {
    let line = |text: &str| {
        format!(
            r#"{{"timestamp":"2026-11-20T10:28:24.693Z","type":"event_msg","payload":{{"type":"agent_message","message":"{text}"}}}}"#
        )
    };
    let (first, second) = (line("one"), line("two"));
    for cut in 1..=first.len() {
        let mut parser = parser(Harness::Codex);
        let spliced = format!("{}{second}", &first[..cut]);
        let texts = if cut == first.len() { vec!["one", "two"] } else { vec!["two"] };
        let parsed = parser.line(spliced.as_bytes());
        assert_eq!(
            said(&parsed),
            (texts.iter().map(|t| (*t).to_owned()).collect(), vec![issue::REPAIRED]),
            "{spliced}"
        );
    }
}

#[test]
fn pi_splices_at_every_byte() {
    let line = |id: &str, text: &str| {
        format!(
            r#"{{"type":"message","id":"{id}","parentId":"a","timestamp":"2026-11-20T10:28:24.693Z","message":{{"role":"assistant","content":[{{"type":"thinking","thinking":"x"}},{{"type":"text","text":"{text}"}}],"stopReason":"stop"}}}}"#
        )
    };
    let (first, second) = (line("b", "one"), line("c", "two"));
    for harness in [Harness::Pi, Harness::OpenClaw] {
        for cut in 1..=first.len() {
            let mut parser = parser(harness.clone());
            let spliced = format!("{}{second}", &first[..cut]);
            let texts = if cut == first.len() { vec!["one", "two"] } else { vec!["two"] };
            let parsed = parser.line(spliced.as_bytes());
            assert_eq!(
                said(&parsed),
                (texts.iter().map(|t| (*t).to_owned()).collect(), vec![issue::REPAIRED]),
                "{spliced}"
            );
        }
    }
}

#[test]
fn values_of_unexpected_types_lose_only_themselves() {
    let line = prompt("hi");
    for (from, to) in [
        (r#""cwd":"/w""#, r#""cwd":{"a":[1]}"#),
        (r#""timestamp":"2026-11-20T10:29:14.029Z""#, r#""timestamp":12"#),
        (r#""timestamp":"2026-11-20T10:29:14.029Z""#, r#""timestamp":"today""#),
        (r#""isSidechain":false"#, r#""isSidechain":"no""#),
        (r#""parentUuid":null"#, r#""parentUuid":null,"origin":7"#),
    ] {
        check(line.replace(from, to).as_bytes(), &["hi"], &[issue::SHAPE]);
    }
    check(line.replace(r#""content":"hi""#, r#""content":7"#).as_bytes(), &[""], &[issue::SHAPE]);
    check(line.replace(r#""role":"user""#, r#""role":{},"odd":[{}]"#).as_bytes(), &["hi"], &[]);
    let odd = answer("a").replace(r#""usage":{"input_tokens":1}"#, r#""usage":-1"#);
    check(odd.as_bytes(), &["a"], &[issue::SHAPE]);
    let repeated = line.replace(r#""cwd":"/w""#, r#""cwd":"/w","cwd":"/v","type":"user""#);
    check(repeated.as_bytes(), &["hi"], &[]);
    for json in ["7", "null", "[]", "\"x\"", "{}", r#"{"type":9}"#] {
        let mut parser = parser(Harness::ClaudeCode);
        assert_eq!(said(&parser.line(json.as_bytes())), (vec![], vec![issue::SHAPE]), "{json}");
    }
    let mut parser = parser(Harness::ClaudeCode);
    let unknown = parser.line(br#"{"type":"news","uuid":"u","timestamp":"2026-11-20T10:29:14Z"}"#);
    assert_eq!((unknown.issues, unknown.at.is_some()), (vec![issue::UNKNOWN], true));
}

#[test]
fn depth_and_length_are_no_danger() {
    const SIZE: usize = if cfg!(debug_assertions) { 1 << 18 } else { 16 << 20 };
    let deep = |open: &str| open.repeat(100_000);
    let closed = |open: &str, close: &str| format!("{}1{}", deep(open), deep(close));
    let filled = |piece: &str| piece.repeat(SIZE / piece.len());
    let line = prompt("hi");
    let lines = [
        deep("["),
        deep("{\"a\":"),
        closed("[", "]"),
        closed("{\"type\":", "}"),
        line.replace("\"hi\"", &closed("[", "]")),
        line.replace("\"hi\"", &closed("{\"content\":", "}")),
        filled("{\"type\":\"user\""),
        filled("{\"type\":\"user\","),
        filled("{\"type\":\"user\",\"message\":"),
        filled("{\"timestamp\":\"2026\",\"payload\":"),
        filled("{\"timestamp\":"),
        filled("{\"type\":\"message\",\"id\":\"a\",\"timestamp\":\"2026\",\"message\":"),
        filled("{\"type\":\"message\",\"message\":{\"content\":[{\"type\":\"text\",\"text\":\""),
        filled("{\""),
        filled("\\ud800"),
        filled("\0{"),
        format!("x{}", closed("{\"type\":\"user\",\"a\":", "}")),
        format!("{}{line}", filled("{\"a\":1,")),
    ];
    for line in lines {
        for format in formats() {
            let mut parser = parser(format.name.into());
            let parsed = parser.line(line.as_bytes());
            assert!(!parsed.issues.is_empty(), "{}", &line[..40]);
        }
    }
}

fn real_lines() -> Vec<&'static [u8]> {
    const FILES: [&[u8]; 6] = [
        include_bytes!(
            "fixtures/pi/continued-0.73/sessions/--home-dev-src-pi--/2026-11-20T10-42-27-947Z_01a1f88c-edea-7795-8202-1cd3dde21e8e.jsonl"
        ),
        include_bytes!(
            "fixtures/openclaw/local-2026.6/agents/main/sessions/9372d59e-41c8-49be-a20d-cbc89d614302.jsonl"
        ),
        include_bytes!("fixtures/openclaw/local-2026.6/agents/main/sessions/sessions.json"),
        include_bytes!(
            "fixtures/claude-code/329-fork/projects/-home-dev-src-alpha/a03fc261-37c9-4fdc-9392-9534a21daefb.jsonl"
        ),
        include_bytes!(
            "fixtures/codex/legacy-0.98/sessions/2026/11/20/rollout-2026-11-20T10-36-57-01a1f887-e378-7dc3-8d6e-1ebca4b97357.jsonl"
        ),
        include_bytes!(
            "fixtures/codex/resume/sessions/2026/11/20/rollout-2026-11-20T10-28-24-01a1f880-0fa9-7080-a341-9376f573dc44.jsonl"
        ),
    ];
    FILES.iter().flat_map(|file| file.split(|byte| *byte == b'\n')).collect()
}

fn read_all(lines: &[Vec<u8>]) {
    for format in formats() {
        let mut parser = parser(format.name.into());
        for line in lines {
            parser.line(line);
            parser.state();
            (format.sidecar)(line);
            (format.live_entry)(line);
            (format.titles)(line);
            (format.classify)(&String::from_utf8_lossy(line));
        }
    }
}

fn real_line() -> impl Strategy<Value = Vec<u8>> {
    prop::sample::select(real_lines()).prop_map(<[u8]>::to_vec)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn no_bytes_make_it_fail(line: Vec<u8>) {
        read_all(&[line]);
    }

    #[test]
    fn no_text_makes_it_fail(line in "[{}\\[\\]\",:\\\\u0-9a-z\\x00é ]{0,200}") {
        read_all(&[line.into_bytes()]);
    }

    #[test]
    fn no_mutation_makes_it_fail(
        line in real_line(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut: prop::sample::Index,
    ) {
        let mut line = line;
        for (at, byte) in edits {
            if !line.is_empty() {
                let at = at.index(line.len());
                line[at] = byte;
            }
        }
        line.truncate(cut.index(line.len() + 1).max(line.len() / 2));
        read_all(&[line]);
    }

    #[test]
    fn no_splice_makes_it_fail(
        lines in prop::collection::vec((real_line(), any::<prop::sample::Index>()), 1..5),
    ) {
        let spliced: Vec<u8> = lines.iter().flat_map(|(line, cut)| &line[cut.index(line.len() + 1)..]).copied().collect();
        let joined: Vec<u8> = lines.iter().flat_map(|(line, cut)| &line[..cut.index(line.len() + 1)]).copied().collect();
        read_all(&[spliced, joined]);
    }
}
