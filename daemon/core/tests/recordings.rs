//! Trimmed recordings of the real clients: what the parsers make of them.
//!
//! The numbers were taken from what was done in each recording, not from the parsers.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    path::Path,
};

use rrd_core::{
    fact::{Fact, Origin},
    harness::{FileRole, Format, ParserState, format_of},
};
use rrd_proto::{Harness, ParentKind, Timestamp, TurnResult};

/// One line per session: what a reader of its facts would count.
fn summary(format: &Format, bytes: &[u8]) -> String {
    let mut parser = (format.parser)(ParserState::default());
    let (mut prompts, mut anonymous, mut calls, mut failed_apis) = (0, 0, 0, 0);
    let (mut messages, mut failures, mut issues) =
        (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let mut also = BTreeSet::new();
    let (mut own, mut chain) = (Vec::new(), Vec::new());
    let mut end = None;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let parsed = parser.line(line.strip_suffix(b"\n").unwrap_or(line));
        issues.extend(parsed.issues);
        // A copy disowns what the chain held before it.
        match parsed.origin {
            Origin::Own => own.extend(parsed.at),
            Origin::Chain => chain.extend(parsed.at),
            Origin::Copied | Origin::Row => chain.clear(),
        }
        for fact in parsed.facts {
            match fact {
                Fact::Prompt { .. } => prompts += 1,
                Fact::Message { id: Some(id), .. } => _ = messages.insert(id.into_owned()),
                Fact::Message { id: None, .. } => anonymous += 1,
                Fact::ToolCall { summary, .. } => {
                    calls += 1;
                    assert!(!summary.contains('\n'));
                }
                Fact::ToolResult { id, is_error: true, .. } | Fact::ToolFailed { id } => {
                    failures.insert(id.into_owned());
                }
                Fact::Error { .. } => failed_apis += 1,
                Fact::FailedTry { text } => _ = also.insert(format!("failed {text:?}")),
                Fact::TurnEnd(result) => end = Some(result),
                Fact::TurnStart => end = None,
                Fact::Started(at) => own.push(at),
                Fact::Parent { id, kind } => {
                    _ = also.insert(format!("{} of {}", kind.as_str(), &id[..8]))
                }
                Fact::Title { text, rank } => _ = also.insert(format!("{rank:?} {text:?}")),
                Fact::PeerMessage { id, .. } => {
                    let id = id.unwrap_or_default();
                    _ = also.insert(format!("received {}", id.get(..8).unwrap_or("?")));
                }
                Fact::Sent { id, .. } => _ = also.insert(format!("sent {}", &id[..8])),
                Fact::Compaction => _ = also.insert("compacted".to_owned()),
                Fact::OriginalCwd(cwd) => _ = also.insert(format!("from {cwd}")),
                Fact::SessionId(id) => _ = also.insert(format!("id {id}")),
                Fact::Interactive(true) => _ = also.insert("interactive".to_owned()),
                _ => {}
            }
        }
    }
    let mut out = format!(
        "{prompts} {} {calls} {}",
        messages.len() + anonymous,
        failures.len() + failed_apis
    );
    let began = own.into_iter().chain(chain).min().map(|at: Timestamp| at.to_string());
    let began = began.unwrap_or_default();
    _ = write!(out, ", {}", began.get(11..).unwrap_or("?"));
    _ = write!(out, ", {}", end.map_or("open", TurnResult::as_str));
    for word in also.into_iter().chain(issues.into_iter().map(str::to_owned)) {
        _ = write!(out, ", {word}");
    }
    out
}

fn walk(folder: &Path, into: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { walk(&path, into) } else { into.push(path) }
    }
}

/// Prompts, messages, calls, errors; its earliest own record; how the last turn ended; what else
/// there is to know.
fn check(harness: Harness, case: &str, expected: &[(&str, &str)]) {
    let format = format_of(&harness).unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(harness.as_str())
        .join(case);
    let mut files = Vec::new();
    walk(&root, &mut files);
    let mut found = BTreeMap::new();
    for file in files {
        let relative = file.strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/");
        let read = || std::fs::read(&file).unwrap();
        let (id, line) = match (format.classify)(&relative) {
            FileRole::Transcript { session_id, parent, .. } => {
                let mut line = summary(format, &read());
                if let Some((parent, ParentKind::Subagent)) = parent {
                    assert!(line.contains(&format!("subagent of {}", &parent[..8])));
                    line = line.replace(&format!(", subagent of {}", &parent[..8]), ", below");
                }
                (session_id, line)
            }
            FileRole::Sidecar { session_id } => (
                format!("{}+", &session_id[..8]),
                format!("{:?}", (format.sidecar)(&read()).unwrap()),
            ),
            FileRole::LiveEntry => {
                let entry = (format.live_entry)(&read()).unwrap();
                (format!("live {}", &entry.session_id[..8]), format!("{:?}", entry.state))
            }
            FileRole::WriterLock { session_id } => {
                let holder = (format.live_entry)(&read()).map(|holder| holder.pid.to_string());
                (format!("lock {}", &session_id[..8]), holder.unwrap_or_default())
            }
            FileRole::TitleIndex | FileRole::Database | FileRole::Asks | FileRole::Ignored => {
                continue;
            }
        };
        let key = if id.len() == 36 { id[id.len() - 8..].to_owned() } else { id };
        assert_eq!(found.insert(key, line), None, "{case}: two files of one session");
    }
    let found: Vec<_> = found.iter().map(|(id, line)| (&**id, &**line)).collect();
    assert_eq!(found, expected, "{case}");
}

#[test]
fn claude_code() {
    let check = |case, expected: &[_]| check(Harness::ClaudeCode, case, expected);
    // One fork without a terminal, one in it; both of a session that had been left with `/exit`.
    check(
        "197-tui-fork",
        &[
            ("00fb2506", "2 3 0 0, 18:27:12.675Z, completed, Generated \"Greeting\", interactive"),
            ("1983bd89", "1 1 0 0, 18:26:58.342Z, completed, Generated \"Greeting\", interactive"),
            ("3fbee196", "2 3 0 0, 18:27:06.063Z, completed, Generated \"Greeting\""),
        ],
    );
    check(
        "197-tui-permission-subagent",
        &[
            ("a0770e48+", "[Title { rank: Generated, text: \"Audit the readme\" }]"),
            (
                "a0770e48bd60d39fa",
                "1 2 1 0, 10:41:31.691Z, completed, Task \"SUBAUDIT: read the readme and report\", interactive, below",
            ),
            (
                "e277a7e7",
                "2 4 2 0, 10:41:18.347Z, completed, Generated \"Mock title: Remove the build directory\", interactive",
            ),
        ],
    );
    check("329-denied", &[("5ede8ba3", "1 2 1 1, 10:34:43.744Z, completed")]);
    check(
        "329-fork",
        &[
            ("0c7369bb", "1 1 0 0, 10:29:26.964Z, completed"),
            ("a21daefb", "2 3 1 0, 10:29:28.871Z, completed, fork of 4df95547"),
        ],
    );
    check(
        "329-kill9-tool",
        &[("f62ad75b", "1 1 1 0, 10:34:29.574Z, open"), ("live 13e1064f", "Some(Busy)")],
    );
    check(
        "329-peer-message",
        &[
            (
                "519b28df",
                "1 2 0 0, 10:44:18.567Z, completed, Given \"worker\", interactive, received 1807f12d",
            ),
            ("9186aead", "1 3 2 0, 10:44:21.915Z, completed, sent 1807f12d"),
        ],
    );
    check(
        "329-subagent",
        &[
            ("3d9bb17d", "1 2 1 0, 10:29:21.432Z, completed"),
            ("a937ff16+", "[Title { rank: Generated, text: \"Audit the readme\" }, Finished]"),
            (
                "a937ff163c830dc11",
                "1 2 1 0, 10:29:21.626Z, completed, Task \"SUBAUDIT: read the readme and report\", below",
            ),
        ],
    );
    check(
        "329-tui-compact",
        &[("38be1cb3", "3 4 2 0, 10:37:41.688Z, completed, compacted, interactive")],
    );
    check(
        "329-tui-permission-clear",
        &[
            (
                "03f866a5",
                "3 4 2 1, 10:33:04.825Z, interrupted, Given \"rrd alpha work\", interactive",
            ),
            (
                "c2f6aa72",
                "1 1 0 0, 10:33:35.486Z, completed, Given \"rrd alpha work\", interactive",
            ),
        ],
    );
    check(
        "329-worktree",
        &[("5363b38b", "1 1 0 0, 10:35:11.365Z, completed, from /home/dev/src/alpha")],
    );
}

#[test]
fn codex() {
    let check = |case, expected: &[_]| check(Harness::Codex, case, expected);
    check(
        "legacy-0.98",
        &[(
            "a4b97357",
            "2 2 2 1, 10:36:57.592Z, completed, id 01a1f887-e378-7dc3-8d6e-1ebca4b97357",
        )],
    );
    check(
        "resume",
        &[(
            "f573dc44",
            "2 2 1 0, 10:28:24.623Z, completed, id 01a1f880-0fa9-7080-a341-9376f573dc44",
        )],
    );
    check(
        "subagent",
        &[
            (
                "2c0191ac",
                "1 1 1 0, 10:42:56.712Z, completed, id 01a1f88d-5e35-7ca1-835f-bf472c0191ac",
            ),
            (
                "427b7cb7",
                "1 1 0 0, 10:42:56.999Z, completed, id 01a1f88d-5f4f-7853-b2a9-7dd0427b7cb7, subagent of 01a1f88d",
            ),
        ],
    );
    check(
        "waiting-approval",
        &[
            (
                "20e1321d",
                "1 0 1 0, 10:29:59.114Z, open, id 01a1f881-80c0-7d03-b797-2cad20e1321d, interactive",
            ),
            ("lock 01a1f881", ""),
        ],
    );
}

#[test]
fn openclaw() {
    // Beside them lie notes on how each ran, a hundred times as long, which are no sessions.
    check(
        Harness::OpenClaw,
        "local-2026.6",
        &[
            (
                "571a1fb3",
                "1 0 0 0, 10:41:49.154Z, error, failed \"500 mock failure\", id 5cc10d23-fbbf-415a-9fb6-99d1571a1fb3",
            ),
            ("834ea0d8", "1 0 1 0, 10:43:14.035Z, open, id b45b15d6-ae09-4997-b1bd-f6ae834ea0d8"),
            (
                "9d614302",
                "1 1 1 0, 10:41:02.737Z, completed, id 9372d59e-41c8-49be-a20d-cbc89d614302",
            ),
            (
                "e17ddfa0",
                "1 1 1 0, 10:40:10.151Z, completed, id 94fcde60-cd92-45cc-bab9-18f9e17ddfa0",
            ),
            (
                "e7e54216",
                "1 1 1 1, 10:40:40.028Z, completed, id aa93d7ab-c990-4dbf-b7b7-72bde7e54216",
            ),
            (
                "e93361d8",
                "1 1 0 0, 10:36:13.367Z, completed, id b1f6f0f4-23d5-4412-b83e-dc94e93361d8",
            ),
            ("lock b45b15d6", "21967"),
        ],
    );
    // Made by hand, in the order of 2026.6.11's writer: rewound once. Counts are of all that was done.
    check(
        Harness::OpenClaw,
        "rewound-2026.6",
        &[(
            "b2e8a964",
            "4 3 1 0, 10:50:00.500Z, completed, id c0a7e5d2-6b1f-4c7e-9d3a-51f0b2e8a964",
        )],
    );
}

#[test]
fn pi() {
    check(
        Harness::Pi,
        "continued-0.73",
        &[(
            "dde21e8e",
            "2 2 2 1, 10:42:27.947Z, completed, id 01a1f88c-edea-7795-8202-1cd3dde21e8e",
        )],
    );
    check(
        Harness::Pi,
        "rewound-0.73",
        &[(
            "a206992e",
            "4 4 1 0, 13:07:05.411Z, completed, id 01a2035e-0e42-76e7-8d07-00bba206992e",
        )],
    );
}
