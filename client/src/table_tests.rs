//! The table on made-up sessions; also where other modules' tests get theirs.

use proptest::prelude::*;
use rrd_proto::{Activity, Cause, Harness, ParentKind, SessionKey, StatusSource};

use super::*;
use crate::text::is_unsafe;

pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_795_000_000_000);

/// An idle session of two minutes ago on `mac`.
pub(crate) fn session(id: &str) -> Session {
    Session {
        host: "mac".to_owned(),
        repo: Some("rrd".to_owned()),
        repo_root: Some("/home/dev/src/rrd".to_owned()),
        branch: Some("main".to_owned()),
        cwd: Some("/home/dev/src/rrd".to_owned()),
        started_at: Some(NOW.plus(-600_000)),
        last_activity_at: Some(NOW.plus(-120_000)),
        transcript_path: Some(format!("/home/dev/.claude/projects/x/{id}.jsonl")),
        title: Some("Publish the crate".to_owned()),
        status: Status::Idle,
        status_since: Some(NOW.plus(-120_000)),
        status_source: StatusSource::StopReason,
        active: true,
        complete: true,
        host_state: HostState::Here,
        ..Session::unknown(SessionKey { harness: Harness::ClaudeCode, session_id: id.to_owned() })
    }
}

pub(crate) fn waiting(id: &str, detail: &str) -> Session {
    Session {
        status: Status::Waiting,
        waiting_for: Some(WaitingFor::Permission),
        waiting_detail: Some(detail.to_owned()),
        ..session(id)
    }
}

pub(crate) fn executing(id: &str, tool: &str) -> Session {
    Session {
        status: Status::Executing,
        activity: Some(Activity {
            tool: Some(tool.to_owned()),
            summary: "client/Cargo.toml".to_owned(),
            since: Some(NOW.plus(-3_000)),
            may_wait: false,
        }),
        ..session(id)
    }
}

fn subagent(id: &str, parent: &str) -> Session {
    Session {
        parent_session_id: Some(parent.to_owned()),
        parent_kind: Some(ParentKind::Subagent),
        title: Some("audit the stylesheets".to_owned()),
        ..executing(id, "Grep")
    }
}

fn plain(sessions: &[Session], columns: Option<usize>) -> Vec<String> {
    draw(sessions, NOW, columns)
        .iter()
        .map(|line| anstream::adapter::strip_str(&line.text).to_string().trim_end().to_owned())
        .collect()
}

#[test]
fn the_table_of_the_readme() {
    let mut blocked = session("01a1bbbb");
    blocked.host = "server".to_owned();
    blocked.harness = Harness::Codex;
    blocked.status = Status::Waiting;
    blocked.waiting_for = Some(WaitingFor::Session);
    blocked.waiting_on = Some("xtgsh".to_owned());
    let mut first = waiting("b41f0000", "Bash: npm publish --access public");
    first.reference = "xtgsh".to_owned();
    let rows = [
        first,
        blocked,
        executing("7f2c1111", "Edit"),
        subagent("a9371111", "7f2c1111"),
        subagent("a9382222", "7f2c1111"),
        session("20262222"),
    ];
    assert_eq!(
        plain(&rows, Some(110)),
        [
            "  STATUS                   AGE  HOST    REPO  TITLE                  AGENT        ID",
            "● waiting · permission      2m  mac     rrd   Publish the crate      claude-code  b41f",
            "│   Bash: npm publish --access public",
            "● waiting · on b41f (mac)   2m  server  rrd   Publish the crate      codex        01a1",
            "◐ executing · Edit          3s  mac     rrd   Publish the crate      claude-code  7f2c",
            "├ ◐ executing · Grep        3s                audit the stylesheets  subagent     a937",
            "└ ◐ executing · Grep        3s                audit the stylesheets  subagent     a938",
            "○ idle                      2m  mac     rrd   Publish the crate      claude-code  2026",
        ]
    );
}

#[test]
fn whoever_waits_for_another_session_says_what_it_is_in_the_end() {
    let end = |reference: &str, cause, blocks| {
        Some(ChainEnd {
            reference: reference.to_owned(),
            host: Some("server".to_owned()),
            title: Some("Publish\u{1b}[2J".to_owned()),
            cause,
            detail: Some("Bash: npm publish".to_owned()),
            since: Some(NOW.plus(-14 * 60_000)),
            blocks,
        })
    };
    let mut waits = waiting("01a1", "");
    (waits.waiting_for, waits.waiting_on) = (Some(WaitingFor::Session), Some("bbbbb".to_owned()));
    waits.chain = end("ccccc", Cause::Permission, 2);
    let mut asks = waiting("b41f", "Bash: npm publish");
    (asks.reference, asks.chain) = ("ccccc".to_owned(), end("ccccc", Cause::Permission, 2));
    let mut circle = Session { reference: "ddddd".to_owned(), ..waits.clone() };
    circle.chain = end("ddddd", Cause::Deadlock, 1);
    let lines = plain(&[circle, asks, waits], Some(72));
    assert_eq!(lines[2], "│   waits in a circle: nobody in it can go on");
    assert_eq!(lines[4], "│   Bash: npm publish · 2 wait behind it");
    let whole = "│   for Publish[2J (server): needs permission: Bash: npm publish, 14m";
    assert_eq!(lines[6], whole);
}

#[test]
fn columns_go_in_order_as_it_gets_narrow() {
    let rows = [waiting("b41f", "Bash: ls"), session("7f2c")];
    let header = |columns| plain(&rows, Some(columns)).swap_remove(0);
    let columns =
        |columns| header(columns).split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(columns(100), ["STATUS", "AGE", "REPO", "TITLE", "AGENT", "ID"]);
    assert_eq!(columns(68), ["STATUS", "AGE", "REPO", "TITLE", "ID"]);
    assert_eq!(columns(56), ["STATUS", "AGE", "REPO", "TITLE"]);
    assert_eq!(columns(50), ["STATUS", "AGE", "TITLE"]);
    assert_eq!(columns(40), ["STATUS", "AGE", "TITLE"]);
}

#[test]
fn an_away_host_keeps_its_last_word() {
    let mut away = executing("e76f", "Bash");
    away.host_state = HostState::Away;
    away.host_seen_at = Some(NOW);
    let line = plain(&[away], None).swap_remove(1);
    assert!(line.starts_with("◌ executing ("), "{line}");
}

#[test]
fn what_has_no_usable_time_has_no_age() {
    let mut one = session("b41f");
    let lines = |one: &Session| plain(std::slice::from_ref(one), None).join("\n");
    assert!(lines(&one).contains(" 2m "), "{}", lines(&one));
    one.status_since = Some(Timestamp::from_millis(-62_135_596_800_000));
    let text = lines(&one);
    assert!(!text.contains("740"), "{text}");
}

#[test]
fn work_that_may_be_waiting_for_somebody_is_not_said_for_certain() {
    let mut one = executing("b41f", "exec_command");
    one.activity.as_mut().unwrap().may_wait = true;
    let line = plain(&[one], None).swap_remove(1);
    assert!(line.starts_with("◐ executing? · exec_command  "), "{line}");
}

#[test]
fn a_subagent_without_its_parent_stands_alone() {
    let line = plain(&[session("b41f"), subagent("a937", "7f2c")], None).swap_remove(2);
    assert!(line.starts_with("◐ executing · Grep"), "{line}");
    assert!(line.contains("claude-code"));
}

#[test]
fn ids_are_as_short_as_they_can_be() {
    let ids = |ids: &[&str]| short_ids(&ids.iter().map(|id| session(id)).collect::<Vec<_>>(), ID);
    assert_eq!(ids(&["b41f0c2e", "7f2c1111"]), ["b41f", "7f2c"]);
    assert_eq!(ids(&["b41f0c2e", "b41f1111"]), ["b41f0", "b41f1"]);
    assert_eq!(ids(&["ab", "abcdefg"]), ["ab", "abcd"]);
    // Version 7 UUIDs of the same weeks: five letters instead of twelve digits.
    let mut timed = vec![session("019a9b2c-1111-7a"), session("019a9b2c-1122-7b")];
    timed[0].reference = "xtgsh".to_owned();
    timed[1].reference = "qwert".to_owned();
    assert_eq!(short_ids(&timed, ID), ["xtgsh", "qwert"]);
}

#[test]
fn one_session_on_two_hosts_has_ids_that_tell_them_apart() {
    let called = |id: &str, host: &str, reference: &str| Session {
        host: host.to_owned(),
        reference: reference.to_owned(),
        ..session(id)
    };
    for id in ["55e874d1-34ae-44b8-ad28-3ea6519b28df", "55e874d1", "a1"] {
        let rows = [
            called(id, "mac", "vwxyz"),
            called(id, "web", "qwert"),
            called("b41f", "mac", "k3xqe"),
        ];
        assert_eq!(short_ids(&rows, ID), ["vwxyz", "qwert", "b41f"], "{id}");
    }
    // The start of another one, longer than there is room for: typed in full it would be the one that is meant.
    let rows = [called("agent-a93", "mac", "vwxyz"), called("agent-a93-1", "mac", "qwert")];
    assert_eq!(short_ids(&rows, ID), ["vwxyz", "qwert"]);
    let mut waits = called("0001", "web", "aaaaa");
    (waits.status, waits.waiting_for) = (Status::Waiting, Some(WaitingFor::Session));
    waits.waiting_on = Some("vwxyz".to_owned());
    let rows = [waits, called("55e874d1-3", "mac", "vwxyz"), called("55e874d1-3", "web", "qwert")];
    let lines = plain(&rows, Some(120));
    assert!(lines[1].contains("waiting · on vwxyz (mac)"), "{lines:#?}");
    assert!(lines[2].ends_with("  vwxyz") && lines[3].ends_with("  qwert"), "{lines:#?}");
}

#[test]
fn where_it_is_narrow_the_title_gives_way_and_not_its_host_nor_why_it_waits() {
    let end = |title: &str, host: &str, detail: Option<&str>| ChainEnd {
        reference: "ccccc".to_owned(),
        host: Some(host.to_owned()),
        title: Some(title.to_owned()),
        cause: Cause::Permission,
        detail: detail.map(str::to_owned),
        since: Some(NOW.plus(-14 * 60_000)),
        blocks: 1,
    };
    let told = |end: ChainEnd, columns| {
        let mut waits = waiting("01a1", "");
        (waits.waiting_for, waits.waiting_on) =
            (Some(WaitingFor::Session), Some("ccccc".to_owned()));
        waits.chain = Some(end);
        let line = plain(&[waits], Some(columns)).swap_remove(2);
        assert!(width(&line) <= columns, "{columns}: {line}");
        line
    };
    let long = "Review the migration of the invoices and everything behind";
    let command = "Bash: rm -rf very/long/path/very/long/path/very/long/path";
    let none = told(end(long, "mac", None), 48);
    assert_eq!(none, "│   for Review the… (mac): needs permission, 14m");
    let both = told(end(long, "mac", Some(command)), 80);
    assert_eq!(
        both,
        "│   for Review the… (mac): needs permission: Bash: rm -rf very/long/path/v…, 14m"
    );
    // A host may be long itself.
    let host = "build-machine-with-a-long-name-0123456789-7";
    for (columns, told_host) in [(40, " (b…)"), (60, " (bu"), (80, " (build-")] {
        for title in [long, &"t\u{301}".repeat(40)] {
            for detail in [None, Some(command)] {
                let one = told(end(title, host, detail), columns);
                assert!(one.contains("): needs permission") && one.ends_with(", 14m"), "{one}");
                assert!(one.contains(told_host), "{one}");
            }
        }
    }
}

#[test]
fn no_transcript_text_reaches_the_terminal_raw() {
    let evil = "a\u{1b}]52;c;x\u{7}\u{9b}2J\nb\u{202e}c\u{200b}\u{2066}";
    let mut row = waiting(evil, evil);
    for field in [&mut row.title, &mut row.repo, &mut row.branch, &mut row.waiting_on] {
        *field = Some(evil.to_owned());
    }
    row.host = evil.to_owned();
    row.harness = Harness::Other(evil.to_owned());
    row.reference = evil.to_owned();
    let mut busy = executing("x", evil);
    busy.title = None;
    for line in plain(&[row, busy], None) {
        assert!(!line.chars().any(is_unsafe), "{line:?}");
    }
}

proptest! {
    #[test]
    fn no_line_is_wider_than_the_terminal(
        columns in 40_usize..160,
        titles in prop::collection::vec(any::<String>(), 1..6),
        host in "[a-z]{1,30}",
        tool in any::<String>(),
    ) {
        let mut rows: Vec<_> = titles
            .iter()
            .enumerate()
            .map(|(at, title)| {
                let mut row = if at % 2 == 0 { waiting("b41f", title) } else { executing("7f2c", &tool) };
                row.title = Some(title.clone());
                row.repo = Some(title.clone());
                row
            })
            .collect();
        rows[0].host = host;
        let mut behind = waiting("01a1", "");
        behind.waiting_for = Some(WaitingFor::Session);
        behind.chain = Some(ChainEnd {
            reference: "ccccc".to_owned(),
            host: Some(rows[0].host.repeat(3)),
            title: Some(titles[0].clone()),
            cause: Cause::Permission,
            detail: titles.get(1).cloned(),
            since: Some(NOW),
            blocks: 1,
        });
        rows.push(behind);
        for line in plain(&rows, Some(columns)) {
            prop_assert!(width(&line) <= columns, "{columns}: {line}");
        }
    }
}
