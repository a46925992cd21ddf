//! The pages made of made-up rows: what stands on them, and that no text gets out of its place.

use std::collections::BTreeMap;

use rrd_proto::{
    Activity, Counts, EndReason, Event, EventKind, Harness, Host, HostState, Issue, LastWords,
    Outline, ParentKind, Session, SessionKey, Status, StatusSource, Timestamp, Tokens, TurnResult,
    WaitingFor,
};

use super::*;

pub(super) const NOW: Timestamp = Timestamp::from_millis(1_795_000_000_000);

/// Texts that mean something to a browser, a shell or a reader's eye.
pub(super) const HOSTILE: [&str; 12] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "' onmouseover='alert(1)",
    "</title></code></b></a></li><h1>forged</h1>",
    "<svg/onload=alert(1)>",
    "javascript:alert(1)",
    "<!--",
    "]]><![CDATA[",
    "&lt;script&gt;&#60;script&#62;",
    "\u{202e}gpj.exe\u{202c}\u{200b}\u{0}\u{1b}[31m",
    "<meta http-equiv=refresh content=0;url=//evil.example>",
    "x onclick=alert(1) style=display:block ` \n\r\t <a href=//evil.example>",
];

pub(super) fn session_of(id: &str, title: &str, status: Status) -> Session {
    Session {
        reference: format!("{id:x>5}"),
        host: "mac".to_owned(),
        node_id: Some("n0de".to_owned()),
        repo: Some("rrd".to_owned()),
        repo_root: Some("/home/dev/src/rrd".to_owned()),
        branch: Some("main".to_owned()),
        cwd: Some("/home/dev/src/rrd".to_owned()),
        started_at: Some(NOW.plus(-9_600_000)),
        last_activity_at: Some(NOW.plus(-120_000)),
        transcript_path: Some(format!("/home/dev/.claude/projects/x/{id}.jsonl")),
        title: Some(title.to_owned()),
        model: Some("demo-1".to_owned()),
        status,
        status_since: Some(NOW.plus(-120_000)),
        status_source: StatusSource::StopReason,
        active: true,
        pid: Some(4242),
        counts: Some(Counts { prompts: 3, messages: 41, tool_calls: 1, errors: 0 }),
        tokens: Some(Tokens { input: 812, output: 34_100, ..Tokens::default() }),
        complete: true,
        host_state: HostState::Here,
        ..Session::unknown(SessionKey { harness: Harness::ClaudeCode, session_id: id.to_owned() })
    }
}

fn waiting(id: &str) -> Session {
    Session {
        waiting_for: Some(WaitingFor::Permission),
        waiting_detail: Some("Bash: npm publish --access public".to_owned()),
        attach: Some("ssh mac -t tmux attach -t t7".to_owned()),
        ..session_of(id, "Publish the crate", Status::Waiting)
    }
}

fn executing(id: &str) -> Session {
    let (tool, summary) = (Some("Edit".to_owned()), "client/src/text.rs".to_owned());
    let since = Some(NOW.plus(-3_000));
    Session {
        activity: Some(Activity { tool, summary, since, may_wait: false }),
        ..session_of(id, "Fix the hero image", Status::Executing)
    }
}

/// One of each kind.
fn of_each_kind() -> Vec<Session> {
    let mut crashed = session_of("cra5", "Second pass on the proofs", Status::Ended);
    crashed.end_reason = Some(EndReason::Crashed);
    let mut limited = session_of("limi", "Sort the inbox", Status::Idle);
    limited.turn_result = Some(TurnResult::RateLimited);
    let mut blocked = session_of("bloc", "Bump rrd on the fleet", Status::Waiting);
    blocked.waiting_for = Some(WaitingFor::Session);
    blocked.waiting_on = Some("xb41f".to_owned());
    let mut child = executing("chil");
    child.parent_kind = Some(ParentKind::Subagent);
    child.parent_session_id = Some("7f2c".to_owned());
    let mut away = executing("away");
    away.host = "laptop".to_owned();
    away.host_state = HostState::Away;
    away.host_seen_at = Some(NOW.plus(-2_460_000));
    let idle = session_of("idle", "Rotate the backup keys", Status::Idle);
    let ended = session_of("ende", "Tidy the notes", Status::Ended);
    vec![waiting("b41f"), blocked, executing("7f2c"), child, limited, idle, crashed, ended, away]
}

fn host(name: &str, state: HostState) -> Host {
    Host {
        host: name.to_owned(),
        node_id: format!("node-{name}"),
        state,
        duplicated: false,
        since: Some(NOW.plus(-2_460_000)),
        version: None,
        address: None,
        clock_offset_ms: None,
        sessions: None,
        active: None,
        bytes_per_second: None,
        dropped: BTreeMap::new(),
        mirror: None,
    }
}

fn listed(sessions: &[Session], filter: &str) -> String {
    let hosts = [
        host("mac", HostState::Here),
        host("server", HostState::Live),
        host("laptop", HostState::Away),
    ];
    let view = ListView { host: "mac", now: NOW, filter, tally: &Tally::default() };
    list(&view, Rows { sessions, hosts: &hosts, as_of: NOW, event_id: "1-7" })
}

pub(super) fn event(seq: u64, kind: EventKind, text: &str) -> Event {
    Event {
        seq,
        at: Some(NOW.plus(-60_000 + i64::try_from(seq).unwrap() * 1_000)),
        kind,
        text: text.to_owned(),
        tool: None,
        tool_call_id: None,
        is_error: false,
        truncated: false,
        direction: None,
        message_id: None,
        withdrawn: false,
        body: None,
        subagent: None,
    }
}

pub(super) fn call(seq: u64, id: &str, kind: EventKind, text: &str) -> Event {
    let tool = (kind == EventKind::ToolCall).then(|| "Bash".to_owned());
    Event { tool, tool_call_id: Some(id.to_owned()), ..event(seq, kind, text) }
}

fn shown(s: &Session, events: Events<'_>) -> String {
    let outline = Outline::default();
    session(&SessionView {
        host: "mac",
        session: s,
        events,
        outline: &outline,
        as_of: NOW,
        now: NOW,
    })
}

#[test]
fn last_words_say_that_they_are_no_more_than_that() {
    let one = session_of("7f2c", "x", Status::Idle);
    let last_words = Some(LastWords { at: NOW, by: "<b>Büro".to_owned() });
    let view = |outline: &Outline| {
        session(&SessionView {
            host: "mac",
            session: &one,
            events: page_of(&[]),
            outline,
            as_of: NOW,
            now: NOW,
        })
    };
    let html = view(&Outline { last_words, ..Outline::default() });
    assert!(html.contains(" does not answer: these are its last words, said "), "{html}");
    assert!(html.contains(" and kept by &lt;b&gt;Büro.</p>"), "{html}");
    assert!(!view(&Outline::default()).contains("last words"));
    // Of what is not on it the page says nothing.
    assert!(!html.contains("Nothing needs you") && html.contains("id=\"empty\" hidden"));
}

fn page_of(events: &[Event]) -> Events<'_> {
    Events::Page { events, older: true, newer: false, sought: None }
}

/// What a section holds, up to the next one.
fn section<'a>(page: &'a str, id: &str) -> &'a str {
    let from = page.split_once(&format!("<section id=\"{id}\"")).unwrap().1;
    from.split_once("</section>").unwrap().0
}

#[test]
fn each_kind_stands_where_it_is_looked_for() {
    let page = listed(&of_each_kind(), "");
    for (id, refs) in [
        ("needs", &["xb41f", "xlimi", "xcra5"][..]),
        ("executing", &["xbloc", "x7f2c", "xchil"]),
        ("finished", &[]),
        ("idle", &["xidle"]),
        ("ended", &["xende"]),
        ("away", &["xaway"]),
    ] {
        let section = section(&page, id);
        let found: Vec<&str> = section
            .split("data-ref=\"")
            .skip(1)
            .map(|rest| rest.split('"').next().unwrap())
            .collect();
        assert_eq!(found, refs, "{id}");
        assert!(section.contains(&format!("<span class=\"n\">{}</span>", refs.len())), "{id}");
    }
    for part in [
        "<title>(1) rrd</title>",
        "<b>1</b> needs you<small>2 failed</small>",
        "<code class=\"what\">Bash: npm publish --access public</code>",
        "<code>ssh mac -t tmux attach -t t7</code>",
        "<span class=\"w\">executing · </span>Edit",
        "waiting · on xb41f",
        "idle · rate limited",
        "crashed",
        "<b>laptop</b><i>away since <time class=\"clock\"",
        "executing · as of <time",
        "data-event=\"1-7\"",
        "<noscript><meta http-equiv=\"refresh\" content=\"10\"></noscript>",
    ] {
        assert!(page.contains(part), "{part} in\n{page}");
    }
}

#[test]
fn a_failure_of_long_ago_needs_nobody() {
    let mut old = session_of("idle", "Old", Status::Idle);
    old.turn_result = Some(TurnResult::Error);
    old.active = false;
    let page = listed(&[old], "");
    assert!(section(&page, "idle").contains("xidle") && page.contains("Nothing needs you"));
    // Nothing else is there to be seen, so it is not folded away.
    assert!(section(&page, "idle").starts_with("><details open>"));
}

#[test]
fn a_filter_hides_rows_and_not_what_needs_you() {
    let sessions = of_each_kind();
    let hidden = |filter: &str| listed(&sessions, filter).matches(" hidden><a").count();
    assert_eq!(hidden(""), 0);
    assert_eq!(hidden("is:waiting"), sessions.len() - 1);
    assert_eq!(hidden("HERO rrd"), sessions.len() - 3);
    let none = listed(&sessions, "nothing-like-it");
    assert!(none.contains("<p id=\"none\">") && none.contains("<b>1</b> needs you"));
    let both = listed(&sessions, "is:idle inbox");
    assert!(both.contains("href=\"/?filter=is%3Aidle%20inbox%20is%3Awaiting\""));
    assert!(both.contains("href=\"/?filter=inbox\" aria-current=\"true\">idle</a>"));
    assert!(both.contains("value=\"is:idle inbox\""));
}

#[test]
fn an_empty_list_says_what_will_be_there() {
    let page = listed(&[], "");
    assert!(page.contains("<div id=\"empty\"><p>Every agent session"));
    assert!(page.contains("<code>rrd demo</code>") && page.contains("Nothing needs you"));
    assert!(listed(&[waiting("b41f")], "").contains("<div id=\"empty\" hidden>"));
}

#[test]
fn a_call_and_its_result_are_one_line() {
    let mut failed = call(4, "c2", EventKind::ToolResult, "exit 1");
    failed.is_error = true;
    let events = [
        event(0, EventKind::Prompt, "Publish it, then tag the release."),
        call(1, "c1", EventKind::ToolCall, "cargo test"),
        call(2, "c2", EventKind::ToolCall, "cargo publish"),
        call(3, "c1", EventKind::ToolResult, "812 passed"),
        failed,
        call(5, "c3", EventKind::ToolCall, "git tag"),
        call(6, "c0", EventKind::ToolResult, "of a call on another page"),
    ];
    let page = shown(&waiting("b41f"), page_of(&events));
    for part in [
        "<a class=\"older\" href=\"/s/mac/claude-code/b41f?before=0\">",
        "<ol id=\"log\" data-last=\"6\">",
        "<li class=\"tool\" id=\"e1\" data-seq=\"1\"><details><summary><b>Bash</b><code>cargo test</code><span class=\"result\" id=\"e3\">✓ 2s</span>",
        "<pre>812 passed</pre>",
        "<li class=\"tool error\" id=\"e2\" data-seq=\"2\">",
        "<li class=\"tool unanswered\" id=\"e5\" data-seq=\"5\">",
        "<span>✓ result</span>",
    ] {
        assert!(page.contains(part), "{part} in\n{page}");
    }
    assert_eq!(page.matches("data-seq=").count(), 5);
}

#[test]
fn where_events_are_not_shown_the_next_step_is() {
    let one = waiting("b41f");
    let locked = shown(&one, Events::Locked);
    assert!(locked.contains("<code>rrd open</code>") && locked.contains("<code>rrd pair</code>"));
    let away = shown(&one, Events::Unavailable("Laptop is away since 13:58."));
    assert!(away.contains("cannot be shown now. Laptop is away since 13:58.</p>"));
    assert!(shown(&one, page_of(&[])).contains("Nothing written yet"));
    // In the terminal's words, but for times, which are its reader's.
    let why = rrd_proto::why(&one, NOW, |_| None);
    assert!(why.contains("asking for a permission") && !why.contains(" since "), "{why}");
    assert!(away.contains(&format!("Why: {why}.</p>").replace('\'', "&#39;")), "{away}");
    for page in [&locked, &away] {
        assert!(!page.contains("id=\"log\"") && page.contains("tmux attach -t t7"));
    }
    let no = refused("A request from <another> network cannot look.");
    assert!(no.contains("&lt;another&gt;") && no.contains("<code>rrd pair</code>"));
    assert!(not_found().contains("href=\"/\""));
}

/// A session that says `text` wherever it can say something.
pub(super) fn saying(text: &str) -> Session {
    let text = || text.to_owned();
    let mut s = waiting("b41f");
    (s.reference, s.host, s.session_id) = (text(), text(), text());
    s.harness = Harness::Other(text());
    for field in [
        &mut s.node_id,
        &mut s.repo,
        &mut s.repo_root,
        &mut s.repo_remote,
        &mut s.branch,
        &mut s.cwd,
        &mut s.transcript_path,
        &mut s.title,
        &mut s.model,
        &mut s.waiting_detail,
        &mut s.waiting_on,
        &mut s.attach,
        &mut s.parent_session_id,
    ] {
        *field = Some(text());
    }
    s.activity =
        Some(Activity { tool: Some(text()), summary: text(), since: None, may_wait: false });
    s.issues = vec![Issue { kind: text(), count: 1, offset: None, detail: Some(text()) }];
    s
}

/// Every page with `text` in every field of every kind of row and event.
fn pages_saying(text: &str) -> Vec<String> {
    let mut sessions = Vec::new();
    for status in [Status::Waiting, Status::Executing, Status::Idle, Status::Ended] {
        for host_state in [HostState::Here, HostState::Away] {
            for waiting_for in [WaitingFor::Permission, WaitingFor::Session] {
                for parent_kind in [None, Some(ParentKind::Subagent)] {
                    let waiting_for = Some(waiting_for);
                    let s = saying(text);
                    sessions.push(Session { status, host_state, waiting_for, parent_kind, ..s });
                }
            }
        }
    }
    use EventKind as K;
    let kinds = [
        K::Prompt,
        K::Message,
        K::ToolCall,
        K::ToolResult,
        K::Error,
        K::TurnEnd,
        K::Compaction,
        K::SubagentStart,
        K::SubagentStop,
        K::PermissionRequest,
        K::PeerMessage,
        K::Title,
        K::Ended,
    ];
    let events: Vec<Event> = (0..)
        .zip(kinds)
        .map(|(seq, kind)| {
            let (tool, tool_call_id) = (Some(text.to_owned()), Some(text.to_owned()));
            Event { tool, tool_call_id, ..event(seq, kind, text) }
        })
        .collect();
    let mut hosts = [host(text, HostState::Here), host(text, HostState::Away)];
    hosts[0].node_id = text.to_owned();
    let tally = Tally { circles: 1, chains: 2, tag: text.to_owned() };
    let view = ListView { host: text, now: NOW, filter: text, tally: &tally };
    let rows = Rows { sessions: &sessions, hosts: &hosts, as_of: NOW, event_id: text };
    let mut pages = vec![list(&view, rows)];
    for s in &sessions {
        pages.push(shown(s, page_of(&events)));
        pages.push(shown(s, Events::Unavailable(text)));
    }
    pages.push(refused(text));
    pages
}

/// Tags with the names of their attributes, in their order. Values are in double quotes, all of them.
pub(super) fn skeleton(page: &str) -> Vec<String> {
    let mut tags = Vec::new();
    let mut rest = page;
    while let Some((_, after)) = rest.split_once('<') {
        let mut tag = String::new();
        let mut quoted = false;
        let end = after.char_indices().find(|(_, c)| {
            quoted ^= *c == '"';
            if !quoted && *c != '>' {
                tag.push(*c);
            }
            !quoted && *c == '>'
        });
        rest = &after[end.expect("every tag is closed").0..];
        tags.push(tag);
    }
    tags
}

#[test]
fn no_text_adds_a_tag_or_an_attribute() {
    let harmless: Vec<_> = pages_saying("harmless").iter().map(|p| skeleton(p)).collect();
    assert!(harmless[0].len() > 400, "{}", harmless[0].len());
    for text in HOSTILE {
        for (page, expected) in pages_saying(text).iter().zip(&harmless) {
            let found = skeleton(page);
            // A command that would not be shown as it is, is not shown: nor is its button.
            let attach = found.iter().filter(|tag| tag.starts_with("button")).count();
            if attach == expected.iter().filter(|tag| tag.starts_with("button")).count() {
                let differs = |(a, b): &(&String, &String)| bare(a) != bare(b);
                let first = found.iter().zip(expected).find(differs);
                assert!(first.is_none() && found.len() == expected.len(), "{text}: {first:?}");
            }
            assert!(!page.contains("<script>") && !page.contains("<img") && !page.contains("<svg"));
            assert!(!page.contains("forged</h1>") || page.contains("&lt;h1&gt;forged"));
            assert!(!page.contains(['\u{202e}', '\u{200b}', '\0', '\u{1b}']));
            // Lines of what was said are within what keeps them.
            let around = page
                .split("<pre>")
                .map(|part| part.split_once("</pre>").map_or(part, |(_, rest)| rest));
            assert!(around.into_iter().all(|part| !part.contains('\n')));
            for (at, _) in page.match_indices("href=\"") {
                assert!(page[at + 6..].starts_with('/'), "{}", &page[at..at + 40]);
            }
        }
    }
}

/// Without what the filter may hide, open or mark.
fn bare(tag: &str) -> String {
    let parts = tag.split(' ').filter(|p| !matches!(*p, "hidden" | "open" | "aria-current="));
    parts.collect::<Vec<_>>().join(" ")
}

#[test]
fn it_is_all_within_what_the_policy_allows() {
    let mut pages = pages_saying("harmless");
    pages.push(listed(&of_each_kind(), ""));
    pages.push(not_found());
    for page in pages {
        for tag in skeleton(&page) {
            let inline = tag.starts_with("style") || tag.contains(" style=") || tag.contains(" on");
            assert!(!inline && (!tag.starts_with("script") || tag.contains("src=")), "{tag}");
        }
        // Nothing is asked of another host.
        assert!(
            !page.contains("src=\"//") && !page.contains("http://") && !page.contains("https://")
        );
    }
}

#[test]
fn all_of_it_is_small() {
    let twenty: Vec<Session> = of_each_kind().into_iter().cycle().take(20).collect();
    let page = listed(&twenty, "");
    let assets = ASSETS.iter().filter(|asset| page.contains(&format!("\"{}", asset.path)));
    let (assets, page) = (assets.map(|asset| asset.bytes.len()).sum::<usize>(), page.len());
    assert!(assets + page <= 62 * 1024, "{assets} + {page}");
}

#[test]
fn assets_are_named_by_what_they_hold() {
    let page = listed(&[], "");
    for asset in ASSETS.iter() {
        assert!(asset.etag.len() == 14 && asset.etag.starts_with('"') && !asset.bytes.is_empty());
        let named = format!("\"{}", asset.path);
        assert!(page.contains(&named) || asset.path == "/graph.css", "{named}");
    }
    let style = ASSETS.iter().find(|asset| asset.path == "/style.css").unwrap();
    assert!(page.contains(&format!("/style.css?v={}\"", style.etag.trim_matches('"'))));
    let icon = ASSETS.iter().find(|asset| asset.path.ends_with(".png")).unwrap();
    assert!(icon.bytes.starts_with(b"\x89PNG\r\n\x1a\n"));
}

#[test]
fn all_that_is_said_stands_there_and_no_text_gets_out_of_its_place() {
    let s = session_of("whole", "Whole", Status::Executing);
    let with = |event: Event, text: &str| {
        let body = rrd_proto::Body { text: text.to_owned(), size: text.len() as u64, cut: None };
        Event { body: Some(body), truncated: true, ..event }
    };
    for hostile in HOSTILE {
        let prompt =
            with(event(0, EventKind::Prompt, hostile), &format!("{hostile}\n\n  {hostile}"));
        let input =
            serde_json::json!({"command": hostile, "old_string": hostile, "new_string": "x"});
        let mut edit = with(call(1, "c", EventKind::ToolCall, hostile), &input.to_string());
        edit.tool = Some("Edit".to_owned());
        let result =
            with(call(2, "c", EventKind::ToolResult, hostile), &format!("{hostile}\n\t{hostile}"));
        let page = shown(&s, page_of(&[prompt, edit, result]));
        let activity = page.split_once("<ol id=\"log\"").unwrap().1.split_once("</ol>").unwrap().0;
        for bad in [
            "<script",
            "<img",
            "<svg",
            "<meta",
            "<h1",
            "<!--",
            "onmouseover='",
            "\u{202e}",
            "\u{1b}",
        ] {
            assert!(!activity.contains(bad), "{bad}: {activity}");
        }
        assert_eq!(activity.matches("<pre>").count(), activity.matches("</pre>").count());
    }
    let long = with(event(7, EventKind::Message, "long"), &"a line of it\n".repeat(3_000));
    let among = shown(&s, page_of(&[event(6, EventKind::Prompt, "p"), long.clone()]));
    assert!(among.len() < 40_000 && among.contains("?limit=1&amp;before=8\">All of it</a>"));
    let alone = shown(&s, page_of(&[long]));
    assert_eq!(alone.matches("a line of it").count(), 3_000);
}
