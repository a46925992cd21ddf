//! The list: a line of hosts, one big number, and every session by what it needs.

use rrd_proto::{Host, HostState, Session, Timestamp, needing};

use super::{
    Shell, close,
    graph::Tally,
    html::{Html, clean},
    open,
    words::{self, Group},
};

/// What stands around the rows.
#[derive(Debug)]
pub(crate) struct ListView<'a> {
    /// This host's label.
    pub(crate) host: &'a str,
    pub(crate) now: Timestamp,
    /// What the person typed, if anything: words that a row must hold; `is:waiting` is a status.
    pub(crate) filter: &'a str,
    /// Who waits for whom, in short.
    pub(crate) tally: &'a Tally,
}

/// What is known of sessions and hosts at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows<'a> {
    /// Every active or open session, in the order they are shown.
    pub(crate) sessions: &'a [Session],
    pub(crate) hosts: &'a [Host],
    /// The moment, by this node's clock.
    pub(crate) as_of: Timestamp,
    /// The last change that they hold, for the stream to go on from.
    pub(crate) event_id: &'a str,
}

/// The page at `/`.
pub(crate) fn list(view: &ListView<'_>, rows: Rows<'_>) -> String {
    let count = needing(rows.sessions);
    let title = if count == 0 { "rrd".to_owned() } else { format!("({count}) rrd") };
    let Rows { event_id, as_of, .. } = rows;
    let mut page = open(&Shell { title: &title, event_id, as_of, live: true, style: None });
    write(&mut page, view, Some(rows));
    close(page)
}

/// What stands beside something else where there is room: the script fills it from the stream, and until then
/// nothing is known of it.
pub(super) fn beside(page: &mut Html, host: &str, tally: &Tally, now: Timestamp) {
    write(page, &ListView { host, now, filter: "", tally }, None);
}

/// Hosts, list and filter.
fn write(page: &mut Html, view: &ListView<'_>, rows: Option<Rows<'_>>) {
    page.raw("<p id=\"stale\" role=\"status\" hidden></p>");
    page.raw("<header id=\"top\"><ul id=\"hosts\" aria-label=\"Hosts\">");
    hosts(page, view, rows.map_or(&[], |rows| rows.hosts));
    page.raw("</ul><nav><a id=\"find\" href=\"/find\">Find what was said</a>");
    page.raw("<a id=\"who\" href=\"/waits\"").raw(match view.tally.circles {
        0 => ">",
        _ => " class=\"alarm\">",
    });
    match view.tally.words().as_str() {
        "" => page.raw("Who waits for whom"),
        words => page.text(words),
    };
    page.raw("</a></nav></header><main id=\"list\">");
    let known = rows.map(|rows| rows.sessions);
    headline(page, known);
    let filter = Filter::new(view.filter);
    let sessions = known.unwrap_or_default();
    let grouped = grouped(sessions);
    for group in Group::ALL {
        let rows = grouped.iter().filter(|(_, of)| *of == group).map(|(row, _)| *row);
        section(page, group, &rows.collect::<Vec<_>>(), sessions, &filter, view.now);
        if group == Group::Executing {
            // What finished while nobody looked only the browser knows.
            page.raw("<section id=\"finished\"><h2>Finished since you last looked ");
            page.raw("<span class=\"n\">0</span></h2><ul></ul></section>");
        }
    }
    nothing(page, known, &filter);
    page.raw("</main>");
    form(page, view.filter);
}

fn hosts(page: &mut Html, view: &ListView<'_>, hosts: &[Host]) {
    if hosts.is_empty() {
        page.raw("<li class=\"here\"><span class=\"dot\" aria-hidden=\"true\">●</span><b>");
        page.text(view.host).raw("</b></li>");
    }
    for host in hosts {
        let (class, dot) = match host.state {
            HostState::Here => ("here", "●"),
            HostState::Live => ("live", "●"),
            HostState::Away => ("away", "◌"),
        };
        page.raw("<li").attr("class", class).raw("><span class=\"dot\" aria-hidden=\"true\">");
        page.raw(dot).raw("</span><b>").text(&host.host).raw("</b>");
        if host.state == HostState::Away {
            page.raw("<i>away");
            if let Some(since) = host.since {
                page.raw(" since ");
                clock(page, since, view.now);
            }
            page.raw("</i>");
        }
        if host.duplicated {
            page.raw("<i>runs twice</i>");
        }
        if let Some(alarm) = &host.mirror {
            page.raw("<i class=\"alarm\">mirror fails");
            if let Some(since) = alarm.since {
                page.raw(" since ");
                clock(page, since, view.now);
            }
            page.raw(": ").text(&words::alarm(alarm)).raw("</i>");
        }
        page.raw("</li>");
    }
}

/// The number and word that a person opens the page for.
fn headline(page: &mut Html, known: Option<&[Session]>) {
    let Some(sessions) = known else {
        page.raw("<h1 id=\"count\" aria-live=\"polite\" class=\"calm\">…</h1>");
        return;
    };
    let waiting = needing(sessions) as u64;
    let failed = sessions.iter().filter(|s| words::failed(s)).count() as u64;
    let class = if waiting == 0 { "calm" } else { "call" };
    page.raw("<h1 id=\"count\" aria-live=\"polite\"").attr("class", class).raw(">");
    match waiting {
        0 => page.raw("Nothing needs you"),
        1 => page.raw("<b>1</b> needs you"),
        many => page.raw("<b>").number(many).raw("</b> need you"),
    };
    if failed > 0 {
        page.raw("<small>").number(failed).raw(" failed</small>");
    }
    page.raw("</h1>");
}

/// Each row and where it stands: a subagent beneath its parent, unless it needs somebody itself.
fn grouped(sessions: &[Session]) -> Vec<(&Session, Group)> {
    let mut top: Option<(&Session, Group)> = None;
    let place = |s| {
        let own = words::group(s);
        let below = s.is_subagent() && own != Group::Needs;
        let parent = top.filter(|(parent, _)| below && s.is_child_of(parent));
        if let Some((_, group)) = parent {
            return (s, group);
        }
        top = Some((s, own));
        (s, own)
    };
    sessions.iter().map(place).collect()
}

fn section(
    page: &mut Html,
    group: Group,
    rows: &[&Session],
    all: &[Session],
    filter: &Filter,
    now: Timestamp,
) {
    let (heading, folds) = match group {
        Group::Needs => ("Needs you", false),
        Group::Executing => ("Executing", false),
        Group::Idle => ("Idle", true),
        Group::Ended => ("Ended", true),
        Group::Away => ("Last word of hosts away", true),
    };
    let shown = rows.iter().filter(|s| filter.matches(s)).count();
    page.raw("<section").attr("id", group.id()).raw(">");
    if folds {
        // Folded only where there is something else to see.
        let seen = |s: &Session| matches!(words::group(s), Group::Needs | Group::Executing);
        let unfold = !filter.is_empty() || !all.iter().any(seen);
        page.raw(if unfold { "<details open><summary>" } else { "<details><summary>" });
    }
    page.raw("<h2>").raw(heading).raw(" <span class=\"n\">").number(shown as u64);
    page.raw("</span></h2>");
    page.raw(if folds { "</summary><ul>" } else { "<ul>" });
    for s in rows {
        row(page, s, !filter.matches(s), now);
    }
    page.raw(if folds { "</ul></details></section>" } else { "</ul></section>" });
}

/// One session. `app.js` has the same, element by element, in `row`.
fn row(page: &mut Html, s: &Session, hidden: bool, now: Timestamp) {
    let class = words::class(s);
    page.raw("<li class=\"row ").raw(class);
    if s.host_state == HostState::Away {
        page.raw(" away");
    }
    if s.is_subagent() {
        page.raw(" sub");
    }
    page.raw("\"").attr("data-key", &words::key(s, &s.session_id));
    page.attr("data-ref", &s.reference).attr("data-group", words::group(s).id());
    if let Some(parent) = s.parent_session_id.as_ref().filter(|_| s.is_subagent()) {
        page.attr("data-parent", &words::key(s, parent));
    }
    page.raw(if hidden { " hidden><a" } else { "><a" }).href(s, "\"><span class=\"state\">");
    state(page, s, now);
    page.raw("</span>");
    if let Some(since) = words::since(s, now) {
        age(page, since, now);
    }
    page.raw("<b class=\"title\">").text(&words::title(s)).raw("</b>");
    let what = words::what(s);
    if !clean(&what).is_empty() {
        page.raw("<code class=\"what\">").text(&what).raw("</code>");
    }
    page.raw("<span class=\"place\"><span class=\"host\">").text(&s.host).raw("</span>");
    let subagent = s.is_subagent();
    for (class, text) in [
        ("repo", s.repo.as_deref()),
        ("branch", s.branch.as_deref()),
        ("agent", Some(if subagent { "subagent" } else { s.harness.as_str() })),
        ("ref", Some(s.reference.as_str())),
    ] {
        if let Some(text) = text.filter(|text| !clean(text).is_empty()) {
            page.raw("<span class=\"").raw(class).raw("\">").text(text).raw("</span>");
        }
    }
    page.raw("</span></a>");
    if words::group(s) == Group::Needs {
        attach(page, s);
    }
    page.raw("</li>");
}

/// Sign and words.
pub(super) fn state(page: &mut Html, s: &Session, now: Timestamp) {
    page.raw("<span class=\"sign\" aria-hidden=\"true\">").raw(words::sign(s)).raw("</span>");
    let (often_left_out, rest) = words::status(s);
    page.raw("<span class=\"words\">");
    if !often_left_out.is_empty() {
        page.raw("<span class=\"w\">").raw(often_left_out).raw("</span>");
    }
    page.text(&rest);
    if let Some(seen) = s.host_seen_at.filter(|_| s.host_state == HostState::Away) {
        page.raw(" · as of ");
        clock(page, seen, now);
    }
    page.raw("</span>");
}

/// The command that takes one there: whole as the daemon made it, or not at all.
pub(super) fn attach(page: &mut Html, s: &Session) {
    let Some(command) = s.attach.as_deref().filter(|command| clean(command) == **command) else {
        return;
    };
    page.raw("<div class=\"attach\"><code>").text(command);
    page.raw("</code><button type=\"button\" class=\"copy\">Copy</button></div>");
}

pub(super) fn age(page: &mut Html, since: Timestamp, now: Timestamp) {
    page.raw("<time class=\"age\"").attr("datetime", &since.to_string()).raw(">");
    page.text(&rrd_proto::age(now, since)).raw("</time>");
}

pub(super) fn clock(page: &mut Html, at: Timestamp, now: Timestamp) {
    page.raw("<time class=\"clock\"").attr("datetime", &at.to_string()).raw(">");
    page.text(&words::clock(at, now)).raw("</time>");
}

/// In place of rows: that none matches, or what will be here and how.
fn nothing(page: &mut Html, known: Option<&[Session]>, filter: &Filter) {
    let is_match = |sessions: &[Session]| sessions.iter().any(|s| filter.matches(s));
    let is_filtered = known.is_some_and(|sessions| !sessions.is_empty() && !is_match(sessions));
    page.raw("<p id=\"none\"");
    page.raw(if is_filtered { ">" } else { " hidden>" });
    page.raw("No session matches. <a href=\"/\">Show all</a></p><div id=\"empty\"");
    page.raw(if known.is_some_and(<[_]>::is_empty) { ">" } else { " hidden>" });
    page.raw(concat!(
        "<p>Every agent session that is at work on any of your hosts will be here, what needs you first.</p>",
        "<p>Start one (Claude Code, Codex, OpenClaw, Hermes, pi), or see played ones with:</p>",
        "<p class=\"command\"><code>rrd demo</code></p></div>",
    ));
}

fn form(page: &mut Html, filter: &str) {
    page.raw("<form id=\"filter\" role=\"search\" action=\"/\" method=\"get\">");
    page.raw("<input type=\"search\" name=\"filter\" aria-label=\"Filter sessions\" ");
    page.raw("placeholder=\"Filter\" autocomplete=\"off\" autocapitalize=\"off\" ");
    page.raw("spellcheck=\"false\" enterkeyhint=\"search\"").attr("value", filter);
    page.raw("><div class=\"chips\">");
    for status in ["waiting", "failed", "executing", "idle"] {
        let word = format!("is:{status}");
        let on = filter.split_whitespace().any(|given| given == word);
        let others = filter.split_whitespace().filter(|given| *given != word);
        let mut next: Vec<&str> = others.collect();
        if !on {
            next.push(&word);
        }
        page.raw("<a").attr("data-word", &word).raw(" href=\"/?filter=").percent(&next.join(" "));
        page.raw(if on { "\" aria-current=\"true\">" } else { "\">" }).text(status).raw("</a>");
    }
    page.raw("</div></form>");
}

/// Words that a row must hold, each somewhere.
struct Filter(Vec<String>);

impl Filter {
    fn new(text: &str) -> Self {
        Self(text.split_whitespace().map(str::to_lowercase).collect())
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn matches(&self, s: &Session) -> bool {
        if self.is_empty() {
            return true;
        }
        let (prefix, words) = words::status(s);
        let title = words::title(s);
        let texts = [
            prefix,
            &words,
            &title,
            &words::what(s),
            &s.host,
            s.repo.as_deref().unwrap_or_default(),
            s.branch.as_deref().unwrap_or_default(),
            s.harness.as_str(),
            &s.reference,
        ];
        let text = clean(&texts.join(" ")).to_lowercase();
        self.0.iter().all(|word| match word.strip_prefix("is:") {
            Some("away") => s.host_state == HostState::Away,
            Some(status) => words::class(s) == status,
            None => text.contains(word.as_str()),
        })
    }
}
