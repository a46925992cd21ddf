//! The rows that are opened, with the whole of what they say.
//!
//! A few at a time: the oldest closes when one more is opened. Not here: how a body becomes lines
//! ([`super::body`]).

use std::collections::HashMap;

use rrd_proto::{
    Body, Event,
    shown::{self, Changed},
};

use super::body::{self, Line, Tone};

/// So many rows are open at once.
const MOST: usize = 8;
/// Bytes kept of a body's beginning and end: more than can be scrolled through.
const HEAD: usize = 384 << 10;
const TAIL: usize = 128 << 10;
/// Edits of which it is remembered how much they change.
const MEASURED: usize = 16_384;

#[derive(Default)]
pub(crate) struct Opened {
    /// Seqs of rows, the one opened last at the end.
    rows: Vec<u64>,
    /// What was asked for and came, by seq.
    bodies: HashMap<u64, Event>,
    lines: HashMap<u64, Shown>,
    /// How much edits change, of rows that need not be open.
    changed: HashMap<u64, Option<Changed>>,
}

struct Shown {
    columns: usize,
    result: Option<u64>,
    lines: Vec<Line>,
}

impl Opened {
    pub(crate) fn is_open(&self, seq: u64) -> bool {
        self.rows.contains(&seq)
    }

    pub(crate) fn rows(&self) -> Vec<u64> {
        self.rows.clone()
    }

    pub(crate) fn toggle(&mut self, seq: u64) {
        if self.is_open(seq) {
            self.close(seq);
            return;
        }
        self.rows.push(seq);
        if self.rows.len() > MOST {
            self.close(self.rows[0]);
        }
    }

    fn close(&mut self, seq: u64) {
        self.rows.retain(|open| *open != seq);
        self.bodies.remove(&seq);
        if let Some(result) = self.lines.remove(&seq).and_then(|shown| shown.result) {
            self.bodies.remove(&result);
        }
    }

    pub(crate) fn close_all(&mut self) {
        *self = Self { changed: std::mem::take(&mut self.changed), ..Self::default() };
    }

    /// Whether it is known how much an edit changes, or that nobody can tell.
    pub(crate) fn is_measured(&self, seq: u64) -> bool {
        self.changed.contains_key(&seq)
    }

    /// How much an edit changes, where that is known.
    pub(crate) fn changed(&self, seq: u64) -> Option<Changed> {
        self.changed.get(&seq).copied().flatten()
    }

    /// Takes how much an edit changes: a few bytes of what may be megabytes.
    pub(crate) fn measure(&mut self, seq: u64, event: Option<&Event>) {
        if self.changed.len() == MEASURED {
            self.changed.clear();
        }
        self.changed.insert(seq, event.and_then(shown::changed));
    }

    pub(crate) fn has(&self, seq: u64) -> bool {
        self.bodies.contains_key(&seq)
    }

    /// Takes an event with its body.
    pub(crate) fn take(&mut self, mut event: Event) {
        if let Some(body) = &mut event.body {
            shorten(body);
        }
        self.lines.clear();
        self.bodies.insert(event.seq, event);
    }

    /// Makes the lines of a row, whose result is `result`, where they are not made yet.
    pub(crate) fn fit(&mut self, seq: u64, result: Option<u64>, columns: usize) {
        let fits = |shown: &Shown| shown.columns == columns && shown.result == result;
        if self.lines.get(&seq).is_some_and(fits) {
            return;
        }
        let mut lines = match self.bodies.get(&seq) {
            Some(event) => body::lines(event, columns),
            None => vec![Line { tone: Tone::Dim, text: "…".to_owned() }],
        };
        if let Some(result) = result.and_then(|result| self.bodies.get(&result)) {
            let size = result.body.as_ref().map(|body| format!(" · {}", body::size(body.size)));
            let word = if result.is_error { "failed" } else { "result" };
            let text = format!("╌╌ {word}{}", size.unwrap_or_default());
            lines.push(Line { tone: Tone::Dim, text });
            lines.extend(body::lines(result, columns));
        }
        self.lines.insert(seq, Shown { columns, result, lines });
    }

    /// The lines of an open row, as they were made last.
    pub(crate) fn lines(&self, seq: u64) -> &[Line] {
        self.lines.get(&seq).map_or(&[], |shown| &shown.lines)
    }
}

fn shorten(body: &mut Body) {
    if body.text.len() <= HEAD + TAIL {
        return;
    }
    let cut = body.cut.and_then(|cut| usize::try_from(cut).ok()).unwrap_or(HEAD);
    let head = boundary(&body.text, cut.min(HEAD));
    let tail = boundary(&body.text, body.text.len() - TAIL);
    body.text.replace_range(head..tail, "");
    body.text.shrink_to_fit();
    body.cut = Some(head as u64);
}

/// The last place for a cut, at `at` or before it.
fn boundary(text: &str, at: usize) -> usize {
    (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use rrd_proto::EventKind;

    use super::*;
    use crate::replay::{events::tests::event, timeline::tests::mark};

    fn whole(seq: u64, text: &str) -> Event {
        let mut event = event(&mark(seq, 0, EventKind::Message), "x", None);
        let (text, size) = (text.to_owned(), text.len() as u64);
        event.body = Some(Body { text, size, cut: None });
        event
    }

    #[test]
    fn a_row_has_its_result_beneath() {
        let mut opened = Opened::default();
        opened.toggle(1);
        opened.fit(1, Some(2), 20);
        assert_eq!(opened.lines(1)[0].text, "…");
        opened.take(whole(1, "input"));
        opened.take(whole(2, "output"));
        opened.fit(1, Some(2), 20);
        let text: Vec<_> = opened.lines(1).iter().map(|line| line.text.as_str()).collect();
        assert_eq!(text, ["input", "╌╌ result · 6 B", "output"]);
        opened.toggle(1);
        assert!(!opened.has(1) && !opened.has(2) && opened.lines(1).is_empty());
    }

    #[test]
    fn a_few_at_a_time() {
        let mut opened = Opened::default();
        (0..20).for_each(|seq| opened.toggle(seq));
        assert_eq!(opened.rows(), [12, 13, 14, 15, 16, 17, 18, 19]);
    }

    #[test]
    fn of_megabytes_both_ends_are_kept() {
        let mut opened = Opened::default();
        opened.take(whole(1, &format!("{}é", "é".repeat(4 << 20))));
        let body = opened.bodies[&1].body.as_ref().unwrap();
        assert!(body.text.len() <= HEAD + TAIL + 4 && body.size > 8 << 20);
        assert_eq!(body.cut, Some(HEAD as u64));
    }
}
