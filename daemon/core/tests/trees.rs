//! Transcripts that are trees: what stands, by what their harnesses wrote and say themselves.
//!
//! `fixtures/trees/openclaw-2026.9.jsonl` holds small transcripts of any shape (signs, entries beside the
//! conversation, without parents, resets) and, of each, the active path that OpenClaw 2026.9.6's own
//! `scanSessionTranscriptTree` and `selectSessionTranscriptTreePathNodes` gave. The rewound session in
//! `fixtures/pi` was written by pi 0.73.1's `SessionManager`.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    collections::{BTreeSet, HashMap},
    path::Path,
};

use rrd_core::{
    harness::{Format, ParserState, format_of},
    tree::Tree,
};
use rrd_proto::Harness;
use serde_json::Value;

fn format(harness: Harness) -> &'static Format {
    format_of(&harness).unwrap()
}

fn key(format: &Format, line: &str) -> u64 {
    (format.entries.unwrap())(line.as_bytes(), &mut |_| {})
}

fn standing(format: &Format, lines: &[String]) -> HashMap<u64, bool> {
    let mut tree = Tree::default();
    for line in lines {
        let mut entries = Vec::new();
        let key = (format.entries.unwrap())(line.as_bytes(), &mut |entry| entries.push(entry));
        entries.iter().for_each(|entry| tree.add(entry, key));
    }
    tree.standing()
}

/// Who reads line by line, and finds out when the parser says that a branch was left, always has it right.
fn reading_on_notices(format: &Format, lines: &[String]) {
    let (mut state, mut known) = (ParserState::default(), HashMap::new());
    for at in 0..lines.len() {
        let mut parser = (format.parser)(state);
        let parsed = parser.line(lines[at].as_bytes());
        assert_eq!(parsed.key.unwrap(), key(format, &lines[at]), "the same key");
        state = parser.state();
        let now = standing(format, &lines[..=at]);
        for key in now.keys() {
            known.entry(*key).or_insert(true);
        }
        if std::mem::take(&mut state.has_left) {
            known.clone_from(&now);
        }
        // What hangs beside a branch that was left is noticed with the next that is.
        let wrong = now.iter().filter(|(key, stands)| known[*key] && !**stands);
        let beside = |key: u64| {
            let line = lines.iter().find(|line| self::key(format, line) == key).unwrap();
            line.contains("\"side\"") || line.contains("\"usage\"")
        };
        assert!(wrong.into_iter().all(|(key, _)| beside(*key)), "after {}", lines[at]);
        assert!(now.iter().all(|(key, stands)| known[key] || !stands), "after {}", lines[at]);
    }
}

fn recording(path: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(path);
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn what_stands_is_what_openclaw_says() {
    let format = format(Harness::OpenClaw);
    let (mut cases, mut left) = (0, 0);
    for line in recording("trees/openclaw-2026.9.jsonl") {
        let case: Value = serde_json::from_str(&line).unwrap();
        let active: BTreeSet<_> =
            case["active"].as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect();
        let entries = case["entries"].as_array().unwrap();
        // As they are written, id and parent first, which matters to nobody.
        let lines: Vec<String> = entries.iter().map(Value::to_string).collect();
        let standing = standing(format, &lines);
        for (entry, line) in entries.iter().zip(&lines) {
            let id = entry["id"].as_str().unwrap();
            let Some(stands) = standing.get(&key(format, line)) else {
                assert_eq!(entry["type"], "leaf", "only signs have no place of their own");
                continue;
            };
            assert!(*stands || !active.contains(id), "{id} is active: {line}\n{case}");
            let goes_on = entry["type"] != "usage" && entry["appendMode"] != "side";
            // Something leads to a sign that leads nowhere: nothing before it is said to be left.
            let is_known = !line.contains("gone") && !lines.iter().any(|l| l.contains("gone"));
            if goes_on && is_known {
                assert_eq!(*stands, active.contains(id), "{id}: {case}");
            }
            left += u32::from(!stands);
        }
        cases += 1;
        reading_on_notices(format, &lines);
    }
    assert!(cases == 120 && left > 150, "{left} of {cases} cases");
}

/// The walk from the last entry, as pi does it.
fn walk(lines: &[String]) -> BTreeSet<String> {
    let entries: Vec<Value> =
        lines[1..].iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut path = BTreeSet::new();
    let mut at = entries.last();
    while let Some(entry) = at {
        path.insert(entry["id"].as_str().unwrap().to_owned());
        at = entries.iter().find(|other| other["id"] == entry["parentId"]);
    }
    path
}

#[test]
fn what_stands_is_what_pi_says() {
    let format = format(Harness::Pi);
    for (path, turns) in [
        (
            "pi/rewound-0.73/sessions/--home-dev-src-pi--/2026-11-22T13-07-05-411Z_01a2035e-0e42-76e7-8d07-00bba206992e.jsonl",
            3,
        ),
        (
            "pi/continued-0.73/sessions/--home-dev-src-pi--/2026-11-20T10-42-27-947Z_01a1f88c-edea-7795-8202-1cd3dde21e8e.jsonl",
            1,
        ),
    ] {
        let lines = recording(path);
        let mut seen = BTreeSet::new();
        for to in 2..=lines.len() {
            let (standing, path) = (standing(format, &lines[..to]), walk(&lines[..to]));
            for line in &lines[1..to] {
                let entry: Value = serde_json::from_str(line).unwrap();
                let on_it = path.contains(entry["id"].as_str().unwrap());
                assert_eq!(standing[&key(format, line)], on_it, "after {to} lines: {line}");
            }
            let left: Vec<u64> =
                standing.iter().filter(|(_, stands)| !**stands).map(|(key, _)| *key).collect();
            seen.insert(left.len());
        }
        // Nothing left, the wrong way, the other one.
        assert_eq!(seen.len(), turns, "{seen:?}");
        reading_on_notices(format, &lines);
    }
}

#[test]
fn what_was_rewound_in_openclaws_files() {
    let format = format(Harness::OpenClaw);
    let lines = recording(
        "openclaw/rewound-2026.6/agents/main/sessions/c0a7e5d2-6b1f-4c7e-9d3a-51f0b2e8a964.jsonl",
    );
    let left = |to: usize| {
        let standing = standing(format, &lines[..to]);
        let ids =
            lines[..to].iter().filter(|line| standing.get(&key(format, line)) == Some(&false));
        ids.map(|line| {
            let entry: Value = serde_json::from_str(line).unwrap();
            entry["id"].as_str().unwrap()[6..].to_owned()
        })
        .collect::<Vec<_>>()
        .join(" ")
    };
    // What was written beside it, and the sign to where it stood all along, change nothing.
    assert_eq!(left(12), "");
    for to in 13..=lines.len() {
        assert_eq!(left(to), "06 07 08 09 10", "after {to}");
    }
    reading_on_notices(format, &lines);
}
