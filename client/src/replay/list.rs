//! The rows of the list: when, what kind, what, how it came out; and what an open one holds.
//!
//! Not here: which rows stand where ([`super::rows`]), and how a body becomes lines ([`super::body`]).

use anstyle::Style;
use ratatui::layout::Rect;
use rrd_proto::{Event, EventKind, Mark, Status, Timestamp};

use super::{
    body::Tone,
    lane::Lane,
    model::Model,
    paint::{ADDED, EDIT, Painter, REMOVED},
    rows::{self, Placed},
    timeline,
};
use crate::{
    clock, look,
    text::{clean, fit_end, pad, width},
};

/// Columns of the time, and of the word behind it.
const TIME: u16 = 8;
const WORD: usize = 12;
/// Where the lines of an open row begin.
const INSIDE: u16 = 13;

/// Draws the list of the lane looked at.
pub(crate) fn draw(painter: &mut Painter<'_>, model: &mut Model, area: Rect) {
    model.areas.list = area;
    let lines = i32::from(area.height);
    let anchor = model.anchor;
    let lane = model.lane_mut();
    lane.fit(usize::from(area.width.saturating_sub(INSIDE + 3)));
    let placed = rows::place(lane, lines, anchor);
    let selected = lane.row_of(lane.cursor);
    if let Some(row) = placed.iter().find(|row| row.at == selected) {
        model.anchor = row.y;
    }
    let model_now = model.now;
    let lane = model.lane();
    let found = model.found.as_ref().map(|found| found.text.to_lowercase());
    let sheet = Sheet { lane, area, now: model_now, found: found.as_deref() };
    for row in &placed {
        sheet.row(painter, row, row.at == selected);
    }
    model.areas.rows = placed;
}

struct Sheet<'a> {
    lane: &'a Lane,
    area: Rect,
    now: Timestamp,
    /// What is looked for, in lower case.
    found: Option<&'a str>,
}

impl Sheet<'_> {
    /// The line of the screen, if it is on it.
    fn line(&self, y: i32) -> Option<u16> {
        let y = u16::try_from(y).ok().filter(|y| *y < self.area.height)?;
        Some(self.area.y + y)
    }

    fn row(&self, painter: &mut Painter<'_>, row: &Placed, selected: bool) {
        let Some(mark) = self.lane.marks.get(row.at) else { return };
        if let Some(y) = self.line(row.y) {
            self.first_line(painter, y, row.at, mark, selected);
        }
        let right = usize::from(self.area.right().saturating_sub(INSIDE + 3));
        if !self.lane.opened.is_open(mark.seq) {
            if let (Some(failure), Some(y)) = (self.lane.failure_of(row.at), self.line(row.y + 1)) {
                let text = clean(&failure.text);
                let x = self.area.x + INSIDE;
                let room = right.saturating_sub(2);
                painter.put(x, y, "╰", 1, look::RED);
                self.text(painter, x + 2, y, &fit_end(&text, room), room, look::RED);
            }
            return;
        }
        for (y, line) in (row.y + 1..).zip(self.lane.opened.lines(mark.seq)) {
            let Some(y) = self.line(y) else { continue };
            let style = match line.tone {
                Tone::Plain => look::PLAIN,
                Tone::Dim => look::DIM,
                Tone::Added => ADDED,
                Tone::Removed => REMOVED,
                Tone::Error => look::RED,
            };
            let x = self.area.x + INSIDE - 2;
            painter.put(x, y, "│", 1, look::DIM);
            self.text(painter, x + 2, y, &line.text, right, style);
        }
    }

    fn first_line(
        &self,
        painter: &mut Painter<'_>,
        y: u16,
        at: usize,
        mark: &Mark,
        selected: bool,
    ) {
        let (x, columns) = (self.area.x, usize::from(self.area.width));
        let event = self.lane.event(at);
        let gutter = if mark.withdrawn {
            "~"
        } else if self.lane.is_copied(at) {
            "⋮"
        } else {
            " "
        };
        painter.put(x, y, gutter, 1, look::DIM);
        let time = mark.at.map(|at| clock::time_of_day(at, at)).unwrap_or_default();
        let faint = mark.withdrawn || self.lane.is_copied(at);
        painter.put(x + 1, y, &time, usize::from(TIME), look::DIM);
        if selected {
            painter.reverse(x + 1, y, TIME);
            painter.put(x + TIME + 2, y, "▸", 1, look::BOLD);
        }
        let (word, style) = self.word(mark, event);
        let style = if faint { look::DIM } else { style };
        let style = if selected { style.bold() } else { style };
        let left = x + TIME + 3;
        let end = painter.put(left, y, &pad(&word, WORD), columns, style);

        let (sign, sign_style) = self.outcome(at, mark);
        let fold = self.fold(mark, at, event);
        let sign_columns = width(&sign) + if fold.is_empty() { 1 } else { 3 };
        let until = usize::from(self.area.right()).saturating_sub(sign_columns);
        let until = self.changed(painter, y, (usize::from(end), until), at, mark);
        let room = until.saturating_sub(usize::from(end) + 3);
        let signs = usize::from(self.area.right()).saturating_sub(sign_columns);
        if signs > usize::from(end) {
            let x = u16::try_from(signs).unwrap_or(self.area.right());
            let next = painter.put(x, y, &sign, columns, sign_style);
            painter.put(next + u16::from(!sign.is_empty()), y, fold, 1, look::DIM);
        }
        let text = match event {
            Some(event) => clean(&event.text).into_owned(),
            None if self.lane.events.has(at / super::events::PAGE) => {
                "not kept any more".to_owned()
            }
            None => "…".to_owned(),
        };
        let text = match mark.withdrawn {
            true => format!("(taken back) {text}"),
            false => text,
        };
        let kind = if event.is_some() { self.text_style(mark) } else { look::DIM };
        let kind = if faint { look::DIM } else { kind };
        let kind = if selected { kind.bold() } else { kind };
        self.text(painter, end + 1, y, &fit_end(&text, room), room, kind);
    }

    /// Writes at the end of these columns how many lines a closed edit writes and takes away, if it did
    /// not fail and there is room for that and some text; returns where that begins.
    fn changed(
        &self,
        painter: &mut Painter<'_>,
        y: u16,
        (from, until): (usize, usize),
        at: usize,
        mark: &Mark,
    ) -> usize {
        let result = self.lane.events.result_of(at).and_then(|at| self.lane.marks.get(at));
        let failed = result.is_some_and(timeline::is_error);
        let changed = self.lane.opened.changed(mark.seq);
        let changed = changed.filter(|_| !failed && !self.lane.opened.is_open(mark.seq));
        let Some(changed) = changed else { return until };
        let part = |sign: &str, lines: usize| match lines {
            0 => String::new(),
            lines => format!("{sign}{lines}"),
        };
        let parts = [(part("+", changed.added), ADDED), (part("−", changed.removed), REMOVED)];
        let parts: Vec<_> = parts.into_iter().filter(|(text, _)| !text.is_empty()).collect();
        let columns: usize = parts.iter().map(|(text, _)| width(text) + 1).sum();
        let begin = until.saturating_sub(columns + 1);
        if begin < from + 24 {
            return until;
        }
        let mut x = u16::try_from(begin).unwrap_or(self.area.right());
        for (text, style) in &parts {
            let style = if mark.withdrawn { look::DIM } else { *style };
            x = painter.put(x, y, text, width(text), style) + 1;
        }
        begin
    }

    fn word(&self, mark: &Mark, event: Option<&Event>) -> (String, Style) {
        let Some(event) = event else {
            return (mark.kind.as_str().replace('_', " "), look::DIM);
        };
        let (sign, word, style) = look::event_words(event);
        let word = match (sign, event.kind) {
            (" ", _) | ("✓", _) => word,
            (sign, _) => format!("{sign} {word}"),
        };
        let style = if timeline::is_edit(mark) && !event.is_error { EDIT } else { style };
        (word, style)
    }

    fn text_style(&self, mark: &Mark) -> Style {
        match mark.kind {
            _ if timeline::is_error(mark) => look::RED,
            EventKind::Prompt => look::BOLD,
            EventKind::PermissionRequest => look::AMBER,
            EventKind::Message | EventKind::ToolCall | EventKind::ToolResult => look::PLAIN,
            _ => look::DIM,
        }
    }

    /// How a call came out, or that it has not yet.
    fn outcome(&self, at: usize, mark: &Mark) -> (String, Style) {
        if mark.kind != EventKind::ToolCall {
            return (String::new(), look::PLAIN);
        }
        if let Some(result) = self.lane.events.result_of(at).and_then(|at| self.lane.marks.get(at))
        {
            let took = match (mark.at, result.at) {
                (Some(from), Some(to)) => format!(" {}", took(to.since(from))),
                _ => String::new(),
            };
            return match timeline::is_error(result) {
                true => (format!("✕{took}"), look::RED),
                false => (format!("✓{took}"), look::GREEN),
            };
        }
        let session = &self.lane.session;
        let later = &self.lane.marks[at + 1..];
        let is_last = later.iter().all(|mark| {
            matches!(
                mark.kind,
                EventKind::PermissionRequest | EventKind::ToolCall | EventKind::Title
            )
        });
        let since = || mark.at.map(|at| rrd_proto::age(self.now, at)).unwrap_or_default();
        match session.status {
            Status::Waiting if is_last => (format!("● {}, not answered", since()), look::AMBER),
            Status::Executing if is_last => (format!("◐ {}", since()), look::CYAN),
            Status::Ended if is_last => ("· never answered".to_owned(), look::DIM),
            _ => (String::new(), look::PLAIN),
        }
    }

    /// Whether there is more to see.
    fn fold(&self, mark: &Mark, at: usize, event: Option<&Event>) -> &'static str {
        let has_more = mark.kind == EventKind::ToolCall
            || self.lane.events.result_of(at).is_some()
            || event.is_some_and(|event| event.truncated);
        match (self.lane.opened.is_open(mark.seq), has_more) {
            (true, _) => "▾",
            (false, true) => "▸",
            (false, false) => "",
        }
    }

    /// Writes clean text, with what is looked for turned around.
    fn text(
        &self,
        painter: &mut Painter<'_>,
        x: u16,
        y: u16,
        text: &str,
        most: usize,
        style: Style,
    ) {
        painter.put(x, y, text, most, style);
        let Some(found) = self.found.filter(|found| !found.is_empty()) else { return };
        let lower = text.to_lowercase();
        // A letter may be longer or shorter in lower case: then places do not compare.
        if lower.len() != text.len() {
            return;
        }
        for (at, hit) in lower.match_indices(found) {
            let (Some(before), Some(hit)) = (text.get(..at), text.get(at..at + hit.len())) else {
                continue;
            };
            let from = width(before);
            let columns = width(hit).min(most.saturating_sub(from));
            let from = x.saturating_add(u16::try_from(from).unwrap_or(u16::MAX));
            painter.reverse(from, y, u16::try_from(columns).unwrap_or(0));
        }
    }
}

/// `0.4s`, `8.2s`, `2m 5s`.
fn took(ms: i64) -> String {
    match ms.max(0) {
        ms @ 0..60_000 => format!("{}.{}s", ms / 1_000, ms % 1_000 / 100),
        ms => rrd_proto::span(ms),
    }
}
