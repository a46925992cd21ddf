//! One session: what it is, why it has its status, how to get to it, and what it did.
//!
//! Activity reads from top to bottom, the newest last. `app.js` asks for this page again for what is new or older and takes its lines, so there is
//! one template.

use std::collections::HashMap;

use rrd_proto::{Event, EventKind, Outline, ParentKind, Session, Timestamp};

use super::{
    Shell, close,
    event::{self, Answer},
    graph::Tally,
    html::{Html, clean},
    list, open,
    strip::Strip,
    within::Within,
    words,
};

/// Columns of the strip: of a phone's width each is as wide as can be seen.
const COLUMNS: usize = 96;
/// Bytes of what one event says, on a page with others: a phone has many of them to load.
const AMONG_OTHERS: usize = 4 << 10;
/// The same on a page of its own.
const ALONE: usize = 512 << 10;

/// What may be shown of a session's events.
#[derive(Debug)]
pub(crate) enum Events<'a> {
    /// Some of them, in their order.
    Page {
        events: &'a [Event],
        /// There are some before these.
        older: bool,
        /// There are some after these.
        newer: bool,
        /// The seq of the one that was asked for, where one was.
        sought: Option<u64>,
    },
    /// Whoever asks may see the list and no transcript.
    Locked,
    /// They cannot be had now, and why: one sentence, with its full stop.
    Unavailable(&'a str),
}

/// What the page of a session is made of.
#[derive(Debug)]
pub(crate) struct SessionView<'a> {
    /// The label of the host that answers.
    pub(crate) host: &'a str,
    pub(crate) session: &'a Session,
    pub(crate) events: Events<'a>,
    /// All of it from above, where it may be shown and is known.
    pub(crate) outline: &'a Outline,
    pub(crate) as_of: Timestamp,
    pub(crate) now: Timestamp,
}

/// The page at `/s/HOST/HARNESS/ID`.
pub(crate) fn session(view: &SessionView<'_>) -> String {
    let SessionView { host, session: s, as_of, now, .. } = *view;
    let title = format!("{} · rrd", words::title(s));
    let mut page = open(&Shell { title: &title, event_id: "", as_of, live: true, style: None });
    list::beside(&mut page, host, &Tally::default(), now);
    page.raw("<article id=\"session\"").attr("class", words::class(s));
    page.attr("data-key", &words::key(s, &s.session_id)).raw("><header>");
    page.raw("<a class=\"back\" href=\"/\" aria-label=\"All sessions\">‹</a>");
    page.raw("<details class=\"facts\"><summary><h1>").text(&words::title(s)).raw("</h1>");
    page.raw("<span class=\"line\"><span class=\"state\">");
    list::state(&mut page, s, now);
    page.raw("</span><span class=\"place\"><span class=\"host\">").text(&s.host).raw("</span>");
    if let Some(repo) = s.repo.as_deref() {
        page.raw("<span>").text(repo).raw("</span>");
    }
    page.raw("</span></span>");
    if let Some(since) = words::since(s, now) {
        list::age(&mut page, since, now);
    }
    page.raw("</summary>");
    let within = Within::Page { session: s, now, most: AMONG_OTHERS };
    facts(&mut page, s, within, now);
    page.raw("</details></header><section class=\"activity\" aria-label=\"Activity\">");
    if let Some(last_words) = &view.outline.last_words {
        page.raw("<p class=\"says\">").text(&s.host);
        page.raw(" does not answer: these are its last words, said ");
        within.clock(&mut page, last_words.at);
        page.raw(" and kept by ").text(&last_words.by).raw(".</p>");
    }
    match &view.events {
        Events::Page { events, older, newer, sought } => {
            activity(&mut page, s, events, (*older, *newer, *sought), now);
        }
        Events::Locked => {
            page.raw(concat!(
                "<p class=\"says\">What it wrote is shown to paired browsers only. At this host run ",
                "<code>rrd open</code>; for a phone run <code>rrd pair</code> and scan the code.</p>",
            ));
        }
        Events::Unavailable(why) => {
            page.raw("<p class=\"says\">Its activity cannot be shown now. ").text(why).raw("</p>");
        }
    }
    page.raw("</section><footer class=\"next\">");
    Strip::of(s, view.outline, COLUMNS, now).write(&mut page, within);
    what(&mut page, s);
    list::attach(&mut page, s);
    page.raw("</footer></article>");
    close(page)
}

/// What it waits for or does: where the thumb is.
pub(super) fn what(page: &mut Html, s: &Session) {
    let what = words::what(s);
    if !clean(&what).is_empty() {
        page.raw("<p class=\"what\"><code>").text(&what).raw("</code></p>");
    }
}

/// What is known of it; why it has its status is as of `now`.
pub(super) fn facts(page: &mut Html, s: &Session, within: Within<'_>, now: Timestamp) {
    // Times in it would be this host's; those of the reader stand around it.
    page.raw("<p class=\"why\">Why: ").text(&rrd_proto::why(s, now, |_| None)).raw(".</p><dl>");
    fact(page, "harness", Some(s.harness.as_str()));
    fact(page, "directory", s.cwd.as_deref());
    fact(page, "branch", s.branch.as_deref());
    fact(page, "model", s.model.as_deref());
    when(page, "started", s.started_at, within);
    when(page, "last wrote", s.last_activity_at, within);
    let counts = s.counts.map(|c| {
        [
            (c.prompts, "prompt"),
            (c.messages, "message"),
            (c.tool_calls, "tool call"),
            (c.errors, "error"),
        ]
        .map(|(count, noun)| format!("{count} {noun}{}", if count == 1 { "" } else { "s" }))
        .join(" · ")
    });
    fact(page, "counts", counts.as_deref());
    let tokens = s.tokens.map(|t| {
        format!(
            "{} in · {} out · {} from cache",
            amount(t.input),
            amount(t.output),
            amount(t.cache_read)
        )
    });
    fact(page, "tokens", tokens.as_deref());
    fact(page, "process", s.pid.map(|pid| pid.to_string()).as_deref());
    let origin = s.parent_session_id.as_deref().map(|parent| {
        let kind = match s.parent_kind {
            Some(ParentKind::Subagent) => "subagent of",
            Some(ParentKind::Fork) => "fork of",
            Some(ParentKind::Compression | ParentKind::Resume) => "continues",
            None => "child of",
        };
        format!("{kind} {parent}")
    });
    fact(page, "origin", origin.as_deref());
    fact(page, "session", Some(&s.session_id));
    fact(page, "transcript", s.transcript_path.as_deref());
    for issue in &s.issues {
        let which = issue.detail.as_deref().map(|which| format!(": {which}")).unwrap_or_default();
        let text = format!("{} × {}{which}", issue.kind.replace('_', " "), issue.count);
        fact(page, "issue", Some(&text));
    }
    fact(page, "in a terminal", Some(&format!("rrd sessions show {}", s.reference)));
    page.raw("</dl>");
}

fn fact(page: &mut Html, name: &'static str, text: Option<&str>) {
    if let Some(text) = text {
        page.raw("<dt>").raw(name).raw("</dt><dd>").text(text).raw("</dd>");
    }
}

fn when(page: &mut Html, name: &'static str, at: Option<Timestamp>, within: Within<'_>) {
    if let Some(at) = at {
        page.raw("<dt>").raw(name).raw("</dt><dd>");
        within.clock(page, at);
        if !within.is_file() {
            page.raw(", ");
            within.age(page, at);
            page.raw(" ago");
        }
        page.raw("</dd>");
    }
}

/// `812`, `34.1k`, `5.6M`.
fn amount(count: u64) -> String {
    let tenths = |unit: u64| format!("{}.{}", count / unit, count % unit / (unit / 10));
    match count {
        0..1_000 => count.to_string(),
        1_000..1_000_000 => format!("{}k", tenths(1_000)),
        _ => format!("{}M", tenths(1_000_000)),
    }
}

fn activity(
    page: &mut Html,
    s: &Session,
    events: &[Event],
    (older, newer, sought): (bool, bool, Option<u64>),
    now: Timestamp,
) {
    if let Some(first) = events.first().filter(|_| older) {
        page.raw("<a class=\"older\"").href(s, "?before=").number(first.seq);
        page.raw("\">Older activity</a>");
    }
    // Joined by the harness's own id of the call; one that was answered twice has its last answer.
    let is_result = |event: &&Event| event.kind == EventKind::ToolResult;
    let results: HashMap<&str, &Event> = (events.iter().filter(is_result))
        .filter_map(|event| Some((event.tool_call_id.as_deref()?, event)))
        .collect();
    let calls: HashMap<&str, u64> = (events.iter().rev())
        .filter(|event| event.kind == EventKind::ToolCall)
        .filter_map(|event| Some((event.tool_call_id.as_deref()?, event.seq)))
        .collect();
    let most = if events.len() == 1 { ALONE } else { AMONG_OTHERS };
    let within = Within::Page { session: s, now, most };
    page.raw("<ol id=\"log\"").raw(" data-last=\"");
    if let Some(last) = events.last() {
        page.number(last.seq);
    }
    if let Some(sought) = sought {
        page.raw("\" data-sought=\"").number(sought);
    }
    page.raw("\">");
    for event in events {
        let call = event.tool_call_id.as_deref();
        match event.kind {
            EventKind::ToolCall => {
                let own = call.filter(|call| calls.get(call) == Some(&event.seq));
                let result = own.and_then(|call| results.get(call)).copied();
                event::tool(page, within, event, result.map_or(Answer::Missing, Answer::Is));
            }
            EventKind::ToolResult if call.is_some_and(|call| calls.contains_key(call)) => {}
            _ => event::line(page, within, event, None),
        }
    }
    page.raw("</ol>");
    if events.is_empty() {
        page.raw("<p class=\"says\">Nothing written yet.</p>");
    }
    if newer {
        page.raw("<a class=\"newest\"").href(s, "\">Newest activity</a>");
    }
}
