//! Events, and changes of status, as lines: when, what kind, what; errors with a sign.
//!
//! Not here: which events, and the JSON of one (the event itself).

use anstyle::Style;
use rrd_proto::{Event, Stretch, Timestamp};

use crate::{
    clock, look, statuses,
    text::{clean, fit_end, pad, width},
};

/// Wide enough for every kind and most tools' names.
const WORD: usize = 12;

/// What was undone did happen: a command that it ran has run.
const WITHDRAWN: &str = "(taken back) ";
/// What a fork has from its parent happened there.
const COPIED: &str = "(copied) ";

/// One line, at most `columns` wide. A fork has what happened up to a time from the session that it is of.
pub(crate) fn line(
    event: &Event,
    copied_to: Option<Timestamp>,
    now: Timestamp,
    columns: Option<usize>,
) -> String {
    let copied = matches!((event.at, copied_to), (Some(at), Some(to)) if at <= to);
    let time = event.at.map_or_else(|| "        ".to_owned(), |at| clock::time_of_day(at, now));
    let (sign, word, style) = look::event_words(event);
    let mut text = clean(&event.text).into_owned();
    if event.truncated && !text.ends_with('…') {
        text.push('…');
    }
    if event.withdrawn {
        text.insert_str(0, WITHDRAWN);
    }
    if copied {
        text.insert_str(0, COPIED);
    }
    let style = if event.withdrawn || copied { look::DIM } else { style };
    told(&time, (sign, &word, &text), style, columns)
}

/// The line of a status that the session had for a while.
pub(crate) fn status(stretch: &Stretch, now: Timestamp, columns: Option<usize>) -> String {
    let time = clock::time_of_day(stretch.from, now);
    let (sign, style) = look::sign_of(stretch.status);
    told(&time, (sign, stretch.status.as_str(), &statuses::words(stretch)), style, columns)
}

fn told(
    time: &str,
    (sign, word, text): (&str, &str, &str),
    style: Style,
    columns: Option<usize>,
) -> String {
    let head = width(time) + WORD + 6;
    let text = fit_end(text, columns.map_or(usize::MAX, |columns| columns.saturating_sub(head)));
    let line = format!(
        "{}  {} {}  {}",
        look::paint(look::DIM, time),
        look::paint(style, sign),
        look::paint(style, &pad(word, WORD)),
        look::paint(style, &text),
    );
    line.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use rrd_proto::{EventKind, Status};

    use super::*;
    use crate::{statuses::tests::stretch, table::tests::NOW};

    fn event(kind: EventKind, text: &str) -> Event {
        Event {
            seq: 0,
            at: Some(NOW),
            kind,
            text: text.to_owned(),
            tool: Some("Bash".to_owned()),
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

    fn plain(event: &Event, columns: Option<usize>) -> String {
        anstream::adapter::strip_str(&line(event, None, NOW, columns)).to_string()
    }

    #[test]
    fn a_wait_is_a_line_like_any_other() {
        let from = NOW.as_millis();
        let wait = stretch(from, Some(from + 4_000), Status::Waiting);
        let line = status(&wait, NOW, Some(50));
        let line = anstream::adapter::strip_str(&line).to_string();
        assert!(line.contains("  ● waiting       permission · Bash: npm"), "{line}");
        assert!(width(&line) <= 50 && line.ends_with('…'), "{line}");
    }

    #[test]
    fn one_event_is_one_line() {
        let call = plain(&event(EventKind::ToolCall, "cargo test\n--workspace\u{1b}[2J"), None);
        assert!(call.ends_with("    Bash          cargo test --workspace[2J"), "{call}");
        let mut failed = event(EventKind::ToolResult, "exit 1");
        failed.is_error = true;
        assert!(plain(&failed, None).contains("  ✕ result  "));
        assert!(plain(&event(EventKind::ToolResult, "ok"), None).contains("  ✓ result  "));
    }

    #[test]
    fn what_was_taken_back_says_so() {
        let mut call = event(EventKind::ToolCall, "make clean");
        call.withdrawn = true;
        assert!(plain(&call, None).ends_with("    Bash          (taken back) make clean"));
    }

    #[test]
    fn it_fits_and_says_when_it_was_cut() {
        let mut long = event(EventKind::Prompt, &"x".repeat(200));
        assert_eq!(width(&plain(&long, Some(60))), 60);
        long.text = "short".to_owned();
        long.truncated = true;
        assert!(plain(&long, None).ends_with("short…"));
    }
}
