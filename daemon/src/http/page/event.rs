//! What happened, event by event: a tool's call and its result are one line, which opens.
//!
//! Each event that is written has its number as an id, `e` and its seq, exactly once: in a line of its
//! own, or on the sign of the result in the line of its call. Not here: which events, and in which order.

use rrd_proto::{
    Direction, Event, EventKind, ToolKind,
    shown::{self, Tone},
};

use super::{
    html::{Html, clean},
    within::Within,
};

fn failed(event: &Event) -> bool {
    event.is_error || event.kind == EventKind::Error
}

fn begin(page: &mut Html, event: &Event, class: &'static str, failed: bool) {
    page.raw("<li class=\"").raw(class).raw(if failed { " error" } else { "" });
    page.raw(if event.withdrawn { " withdrawn\"" } else { "\"" });
    page.raw(" id=\"e").number(event.seq).raw("\" data-seq=\"").number(event.seq).raw("\">");
}

/// All that an event says, line by line; of more than there is room for the beginning, and a way to the rest.
fn whole(page: &mut Html, within: Within<'_>, event: &Event) {
    page.raw("<pre>");
    let mut left = within.most();
    let lines = if within.is_file() { shown::every_line(event) } else { shown::lines(event) };
    for (at, line) in lines.iter().enumerate() {
        if let (true, Within::Page { session, .. }) = (line.text.len() > left, within) {
            page.raw("</pre><a class=\"all\"");
            page.href(session, "?limit=1&amp;before=").number(event.seq.saturating_add(1));
            page.raw("\">All of it</a>");
            return;
        }
        left = left.saturating_sub(line.text.len());
        if at > 0 {
            page.raw("\n");
        }
        let (open, close) = match line.tone {
            Tone::Plain => ("", ""),
            Tone::Dim => ("<i>", "</i>"),
            Tone::Added => ("<ins>", "</ins>"),
            Tone::Removed => ("<del>", "</del>"),
            Tone::Error => ("<em>", "</em>"),
        };
        page.raw(open).written(&line.text).raw(close);
    }
    page.raw("</pre>");
}

fn text(page: &mut Html, event: &Event) {
    page.text(&event.text).raw(if event.truncated { "…" } else { "" });
}

fn time(page: &mut Html, within: Within<'_>, event: &Event) {
    if let Some(at) = event.at {
        within.clock(page, at);
    }
}

/// What is known of a call's result.
#[derive(Debug, Clone, Copy)]
pub(super) enum Answer<'a> {
    /// This is it.
    Is(&'a Event),
    /// There is none.
    Missing,
    /// If there is one it has a line of its own.
    Apart,
}

/// A call with its result: sign and duration in the line, the rest inside.
pub(super) fn tool(page: &mut Html, within: Within<'_>, call: &Event, answer: Answer<'_>) {
    let result = match answer {
        Answer::Is(result) => Some(result),
        Answer::Missing | Answer::Apart => None,
    };
    let failed = call.is_error || result.is_some_and(|result| result.is_error);
    let class = match (ToolKind::of(call.tool.as_deref().unwrap_or_default()), answer) {
        (_, Answer::Missing) => "tool unanswered",
        (ToolKind::Edit, _) => "tool edit",
        (ToolKind::Question, _) => "tool question",
        _ => "tool",
    };
    begin(page, call, class, failed);
    page.raw("<details><summary><b>").text(call.tool.as_deref().unwrap_or("tool"));
    page.raw("</b><code>");
    text(page, call);
    page.raw("</code><span class=\"result\"");
    if let Some(result) = result {
        page.raw(" id=\"e").number(result.seq).raw("\"");
        // A file has nobody to ask which event a moment is.
        if let Some(at) = result.at.filter(|_| within.is_file()) {
            page.attr("data-at", &at.to_string());
        }
    }
    page.raw(">").raw(if call.withdrawn { "taken back " } else { "" });
    if result.is_some() {
        page.raw(if failed { "✕" } else { "✓" });
    }
    let times = result.and_then(|result| Some((call.at?, result.at?)));
    if let Some((began, ended)) = times {
        // Shorter ones say nothing but that they were short.
        let took = ended.since(began);
        if took >= 1_000 {
            page.raw(" ").text(&rrd_proto::span(took));
        }
    }
    if matches!(answer, Answer::Missing) {
        page.raw(if within.is_file() { "not answered" } else { "" });
        call.at.inspect(|began| within.age(page, *began));
    }
    page.raw("</span></summary><div class=\"input\">");
    whole(page, within, call);
    page.raw("</div>");
    let says = |result: &&Event| {
        result.body.is_some() || result.truncated || !clean(&result.text).is_empty()
    };
    if let Some(result) = result.filter(says) {
        page.raw("<div class=\"output\">");
        whole(page, within, result);
        page.raw("</div>");
    }
    page.raw("<p class=\"at\">");
    time(page, within, call);
    page.raw("</p></details></li>");
}

/// Anything else; of calls and results those whose other half is not here. `call` is the seq of the call that
/// a result answers, where that stands far above it in a file.
pub(super) fn line(page: &mut Html, within: Within<'_>, event: &Event, call: Option<u64>) {
    let (class, label) = match event.kind {
        EventKind::Prompt => ("prompt", "prompt"),
        EventKind::Message => ("message", ""),
        EventKind::PermissionRequest => ("asks", "● asks for permission"),
        EventKind::PeerMessage => match event.direction {
            Some(Direction::Sent) => ("prompt", "sent to another session"),
            Some(Direction::Received) | None => ("prompt", "from another session"),
        },
        EventKind::Error => ("message", "✕ error"),
        EventKind::ToolResult if event.is_error => ("note", "✕ result"),
        EventKind::ToolCall | EventKind::ToolResult => ("note", "✓ result"),
        EventKind::TurnEnd => ("note", "turn over"),
        EventKind::Compaction => ("note", "conversation summarised"),
        EventKind::SubagentStart => ("note", "subagent began"),
        EventKind::SubagentStop => ("note", "subagent finished"),
        EventKind::Title => ("note", "titled"),
        EventKind::Ended => ("note", "session ended"),
    };
    begin(page, event, class, failed(event));
    if !label.is_empty() || class == "message" {
        page.raw("<p class=\"label\"><span>").raw(label).raw("</span>");
        if let Some(call) = call {
            page.raw("<a href=\"#e").number(call).raw("\">of event ");
            page.number(call.saturating_add(1)).raw("</a>");
        }
        if event.withdrawn {
            page.raw("<span>taken back</span>");
        }
        time(page, within, event);
        page.raw("</p>");
    }
    let more = event.body.as_ref().is_some_and(|body| body.text.trim() != event.text);
    if more && matches!(class, "prompt" | "message") {
        page.raw("<div class=\"text\">");
        whole(page, within, event);
        page.raw("</div>");
    } else if more {
        page.raw("<details><summary class=\"text\"><span>");
        text(page, event);
        page.raw("</span></summary>");
        whole(page, within, event);
        page.raw("</details>");
    } else if !clean(&event.text).is_empty() {
        page.raw("<p class=\"text\">");
        text(page, event);
        page.raw("</p>");
    }
    page.raw("</li>");
}
