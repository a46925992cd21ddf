//! A whole session on as many columns as there are: the one rule of the terminal's timeline, the page's and
//! that of an export.
//!
//! An [`Axis`] gives every mark a place; [`Axis::columns`] cuts it into buckets of marks that follow each
//! other. Time runs along it, but: where nothing happened because nobody asked for anything, time is
//! folded; long gaps within a turn and waits grow with the logarithm of their length, so that a night
//! does not squeeze the day; a clock that is set back takes no room and goes on from there.
//! Marks without any time lie evenly. Not here: how a column looks.

pub mod waits;

use self::waits::{Wait, waited};
use crate::{EventKind, Mark, Timestamp, ToolKind};

/// Beyond that many milliseconds a gap counts by its logarithm, or not at all.
const LONG: i64 = 60_000;
/// Silence between turns of so many milliseconds is folded.
const DEAD: i64 = 30_000;
/// At most this part of the columns shows folds.
const FOLDS: usize = 4;

/// Where each mark lies.
#[derive(Debug, Default)]
pub struct Axis {
    /// The time of each mark; of one without any, that of the one before.
    times: Vec<i64>,
    /// The same, never less than that of the one before: what can be searched.
    clock: Vec<i64>,
    has_times: bool,
    /// What lies before each mark, folds not counted.
    place: Vec<f64>,
    /// Marks before which time is folded.
    folds: Vec<usize>,
    waits: Vec<Wait>,
    /// What lies behind the last mark, and until when: a wait that lasts.
    tail: (f64, i64),
}

/// The marks of one column, and what they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bucket {
    /// The first mark.
    pub from: usize,
    /// The first that is not in it any more.
    pub to: usize,
    /// Something failed.
    pub error: bool,
    /// A file was changed.
    pub edit: bool,
    /// Somebody asked for something.
    pub prompt: bool,
    /// A command was run.
    pub command: bool,
    /// All of them were taken back.
    pub withdrawn: bool,
    /// It waited for someone at that time.
    pub wait: bool,
    /// Nothing: time is left out here.
    pub fold: bool,
}

impl Bucket {
    /// How many marks are in it.
    #[must_use]
    pub fn count(&self) -> usize {
        self.to - self.from
    }
}

/// Times of marks; of one without any, that of the one before. That a subagent began may be told when it is
/// done, among what happens then: no clock ran backwards there.
pub(crate) fn times(marks: &[Mark]) -> Vec<i64> {
    let mut now = marks.iter().find_map(|mark| mark.at).map_or(0, Timestamp::as_millis);
    let times = marks.iter().map(|mark| {
        let at = mark.at.map_or(now, Timestamp::as_millis);
        now = if mark.kind == EventKind::SubagentStart { at.max(now) } else { at };
        now
    });
    times.collect()
}

/// The same, never less than that of the one before.
pub(crate) fn rising(times: &[i64]) -> Vec<i64> {
    let mut latest = i64::MIN;
    let rising = times.iter().map(|time| {
        latest = latest.max(*time);
        latest
    });
    rising.collect()
}

/// How much room so many milliseconds take, of `most`.
fn room(ms: i64, most: f64) -> f64 {
    let (ms, long) = (ms.max(0) as f64, LONG as f64);
    if ms <= long { ms } else { (long * (1.0 + (ms / long).ln())).min(most) }
}

/// What a long gap takes at most: as much as all that is not long, or that could not be told apart.
fn most(times: &[i64]) -> f64 {
    let gaps = times.windows(2).map(|two| two[1].saturating_sub(two[0]));
    let short: i64 = gaps.filter(|gap| (0..=LONG).contains(gap)).sum();
    if short > 0 { short as f64 } else { f64::INFINITY }
}

impl Axis {
    /// Lays `marks` out; `open` is the end of a wait that lasts.
    #[must_use]
    pub fn new(marks: &[Mark], waits: Vec<Wait>, open: Option<Timestamp>) -> Self {
        let times = times(marks);
        let clock = rising(&times);
        let most = most(&times);
        let mut place = Vec::with_capacity(marks.len());
        let mut folds = Vec::new();
        let mut here = 0.0;
        // What was said last, titles aside: they come whenever somebody gives one.
        let mut before: Option<EventKind> = None;
        for (at, mark) in marks.iter().enumerate() {
            if at > 0 {
                let gap = times[at].saturating_sub(times[at - 1]);
                let idle = mark.kind == EventKind::Prompt
                    || matches!(before, Some(EventKind::TurnEnd | EventKind::Ended));
                if gap > DEAD && idle && !waited(&waits, times[at - 1], times[at]) {
                    folds.push(at);
                } else {
                    here += room(gap, most);
                }
                // A little of its own, or marks of one instant could not be told apart.
                here += 1.0;
            }
            place.push(here);
            if mark.kind != EventKind::Title {
                before = Some(mark.kind);
            }
        }
        let last = clock.last().copied().unwrap_or(0);
        let until = open.map_or(last, Timestamp::as_millis).max(last);
        let tail = (room(until.saturating_sub(last), most), until);
        let has_times = marks.iter().any(|mark| mark.at.is_some());
        Self { times, clock, has_times, place, folds, waits, tail }
    }

    /// How many marks it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.place.len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.place.is_empty()
    }

    /// The times in which it waited for someone.
    #[must_use]
    pub fn waits(&self) -> &[Wait] {
        &self.waits
    }

    /// The mark that was waited at, of each wait.
    #[must_use]
    pub fn waited_at(&self) -> Vec<usize> {
        let at = |wait: &Wait| self.clock.partition_point(|time| *time <= wait.from);
        let mut marks: Vec<_> =
            self.waits.iter().filter_map(|wait| at(wait).checked_sub(1)).collect();
        marks.sort_unstable();
        marks.dedup();
        marks
    }

    /// The time at a mark, where its session has times.
    #[must_use]
    pub fn time(&self, at: usize) -> Option<i64> {
        self.times.get(at).copied().filter(|_| self.has_times)
    }

    /// From the first mark to the last, or to the end of a wait that lasts, in milliseconds.
    #[must_use]
    pub fn lasts(&self) -> i64 {
        self.times.first().map_or(0, |first| self.tail.1.saturating_sub(*first))
    }

    /// The first mark at `ms` or later, the latest such place if a clock ran backwards; the last mark
    /// where there is none.
    #[must_use]
    pub fn at_time(&self, ms: i64) -> usize {
        let before = |at: usize| at == 0 || self.times[at - 1] < ms;
        let found = (0..self.times.len()).rev().find(|at| self.times[*at] >= ms && before(*at));
        found.unwrap_or(self.times.len().saturating_sub(1))
    }

    /// Milliseconds from a mark to the next as a replay takes them, and whether it is dead time.
    #[must_use]
    pub fn gap(&self, at: usize) -> Option<(i64, bool)> {
        let next = *self.times.get(at + 1)?;
        let folded = self.folds.binary_search(&(at + 1)).is_ok();
        Some((next.saturating_sub(self.times[at]).max(0), folded))
    }

    fn scale(&self, width: usize) -> Scale {
        let folded = self.folds.len().min(width / FOLDS) as f64;
        let total = self.place.last().copied().unwrap_or(0.0) + self.tail.0;
        Scale {
            fold: if self.folds.is_empty() { 0.0 } else { folded / self.folds.len() as f64 },
            unit: if total > 0.0 { (width as f64 - folded) / total } else { 0.0 },
            last: width.saturating_sub(1),
        }
    }

    /// Where a mark lies, in columns of `width`.
    fn x(&self, at: usize, scale: &Scale) -> f64 {
        let Some(place) = self.place.get(at) else { return 0.0 };
        let folds = self.folds.partition_point(|fold| *fold <= at);
        place * scale.unit + folds as f64 * scale.fold
    }

    /// The column of a mark.
    #[must_use]
    pub fn column(&self, at: usize, width: usize) -> usize {
        let scale = self.scale(width);
        scale.column(self.x(at, &scale))
    }

    /// The column of a time, which need not be that of a mark.
    #[must_use]
    pub fn column_of_time(&self, ms: i64, width: usize) -> usize {
        let scale = self.scale(width);
        scale.column(self.x_of_time(ms, &scale))
    }

    fn x_of_time(&self, ms: i64, scale: &Scale) -> f64 {
        let next = self.clock.partition_point(|time| *time <= ms);
        if next == 0 {
            return 0.0;
        }
        let from = self.x(next - 1, scale);
        let (to, until) = match self.clock.get(next) {
            Some(until) => (self.x(next, scale), *until),
            None => (from + self.tail.0 * scale.unit, self.tail.1),
        };
        let gap = until.saturating_sub(self.clock[next - 1]);
        if gap <= 0 {
            return from;
        }
        let part = ms.saturating_sub(self.clock[next - 1]) as f64 / gap as f64;
        from + (to - from) * part.clamp(0.0, 1.0)
    }

    /// Every mark in exactly one of `width` columns, in order.
    #[must_use]
    pub fn columns(&self, marks: &[Mark], width: usize) -> Vec<Bucket> {
        let mut columns = vec![Bucket::default(); width];
        if width == 0 {
            return columns;
        }
        let scale = self.scale(width);
        let mut folds = self.folds.iter().peekable();
        let mut folded = 0;
        let mut here = 0;
        for (at, mark) in marks.iter().enumerate().take(self.place.len()) {
            if folds.next_if(|fold| **fold == at).is_some() {
                let from = self.place[at] * scale.unit + f64::from(folded) * scale.fold;
                folded += 1;
                let column = scale.column(from + scale.fold / 2.0);
                columns[column].fold = true;
            }
            let x = self.place[at] * scale.unit + f64::from(folded) * scale.fold;
            let column = scale.column(x).max(here);
            while here < column {
                here += 1;
                (columns[here].from, columns[here].to) = (at, at);
            }
            columns[here].take(mark, at);
        }
        for column in &mut columns[here + 1..] {
            (column.from, column.to) = (self.place.len(), self.place.len());
        }
        self.mark_waits(&self.waits, &scale, &mut columns);
        for column in &mut columns {
            column.fold &= column.count() == 0 && !column.wait;
        }
        columns
    }

    /// The marks of another lane, by their times, in columns of this one.
    #[must_use]
    pub fn columns_of(&self, marks: &[Mark], other: &Self, width: usize) -> Vec<Bucket> {
        let mut columns = vec![Bucket::default(); width];
        let scale = self.scale(width);
        let mut here = 0;
        for (at, mark) in marks.iter().enumerate().take(if width > 0 { other.len() } else { 0 }) {
            let column = scale.column(self.x_of_time(other.clock[at], &scale)).max(here);
            while here < column {
                here += 1;
                (columns[here].from, columns[here].to) = (at, at);
            }
            columns[here].take(mark, at);
        }
        for column in columns.iter_mut().skip(here + 1) {
            (column.from, column.to) = (other.len(), other.len());
        }
        self.mark_waits(&other.waits, &scale, &mut columns);
        columns
    }

    fn mark_waits(&self, waits: &[Wait], scale: &Scale, columns: &mut [Bucket]) {
        if columns.is_empty() {
            return;
        }
        for wait in waits {
            let [from, to] = [wait.from, wait.to].map(|ms| scale.column(self.x_of_time(ms, scale)));
            // It ends where what ended it happened: that column is its own, if there is another.
            let to = if to > from && columns[to].count() > 0 { to - 1 } else { to };
            columns[from..=to].iter_mut().for_each(|column| column.wait = true);
        }
    }
}

struct Scale {
    fold: f64,
    unit: f64,
    last: usize,
}

impl Scale {
    fn column(&self, x: f64) -> usize {
        // A float turned into an integer never leaves its range.
        (x as usize).min(self.last)
    }
}

impl Bucket {
    fn take(&mut self, mark: &Mark, at: usize) {
        self.withdrawn = mark.withdrawn && (self.count() == 0 || self.withdrawn);
        self.to = at + 1;
        if mark.withdrawn {
            return;
        }
        self.error |= is_error(mark);
        self.edit |= is_edit(mark);
        self.prompt |= mark.kind == EventKind::Prompt;
        self.command |= mark.kind == EventKind::ToolCall && mark.tool == Some(ToolKind::Command);
    }
}

/// The mark that a time means: the last that has it to the letter, else the last that is not later, else the
/// first. Where a clock was set back a time may be there twice.
#[must_use]
pub fn moment(marks: &[Mark], time: Timestamp) -> Option<&Mark> {
    let last = |holds: &dyn Fn(Timestamp) -> bool| {
        marks.iter().rev().find(|mark| mark.at.is_some_and(holds))
    };
    last(&|at| at == time).or_else(|| last(&|at| at <= time)).or(marks.first())
}

/// Whether it failed.
#[must_use]
pub fn is_error(mark: &Mark) -> bool {
    mark.is_error || mark.kind == EventKind::Error
}

/// Whether it changes a file.
#[must_use]
pub fn is_edit(mark: &Mark) -> bool {
    mark.kind == EventKind::ToolCall && mark.tool == Some(ToolKind::Edit)
}

#[cfg(test)]
mod tests;
