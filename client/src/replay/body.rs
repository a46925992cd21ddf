//! How the whole of an event is shown in a terminal: its lines, clean, and cut to its width.
//!
//! Not here: what the lines are ([`rrd_proto::shown`]), and where they stand on the screen.

pub(crate) use rrd_proto::shown::{Tone, size};
use rrd_proto::{Event, shown};

use crate::text::{clean, clean_lines, fit_end, pieces};

/// One line, clean and short enough.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) tone: Tone,
    pub(crate) text: String,
}

/// The whole of an event in lines of at most `columns`.
pub(crate) fn lines(event: &Event, columns: usize) -> Vec<Line> {
    let columns = columns.max(8);
    let mut out = Vec::new();
    for line in shown::lines(event) {
        let tone = line.tone;
        if tone == Tone::Dim {
            out.push(Line { tone, text: fit_end(&clean(&line.text), columns).into_owned() });
            continue;
        }
        // What was added or taken away says so on each of the lines that it takes.
        let sign = if matches!(tone, Tone::Added | Tone::Removed) { &line.text[..1] } else { "" };
        for clean in clean_lines(&line.text[sign.len()..]) {
            for piece in pieces(&clean, columns.saturating_sub(sign.len()).max(4)) {
                out.push(Line { tone, text: format!("{sign}{piece}") });
            }
        }
    }
    out
}

#[cfg(test)]
#[path = "body_tests.rs"]
mod tests;
