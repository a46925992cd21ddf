//! One session of a replay: its marks, its events as far as they are here, and where one is in it.
//!
//! The main lane is the session that was asked for; a subagent is a lane of its own. What a person steps
//! over are *rows*: a result belongs to the row of its call. Not here: keys ([`super::model`]), and how
//! rows are drawn.

use rrd_proto::{
    Event, EventKind, Harness, LastWords, Mark, Outline, Session, Status, Stretch, Timestamp,
};

use super::{
    events::{Events, PAGE},
    opened::Opened,
    timeline::{self, Axis, Bucket, waits},
};

/// What can be jumped to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    Error,
    Wait,
    Edit,
    Prompt,
}

/// Where one comes to in a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrive {
    /// A time, in milliseconds.
    Time(i64),
    /// An event, by its seq.
    Seq(u64),
    /// The first error.
    Error,
}

/// How many there are of each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) errors: usize,
    pub(crate) edits: usize,
}

pub(crate) struct Lane {
    pub(crate) session: Session,
    /// How far beneath the main lane it is; 0 is that itself.
    pub(crate) depth: usize,
    /// Where to be, once its marks are here.
    pub(crate) arrive: Option<Arrive>,
    pub(crate) marks: Vec<Mark>,
    stretches: Vec<Stretch>,
    copied_to: Option<Timestamp>,
    /// Events that a cap took out.
    pub(crate) dropped: u64,
    /// Which.
    pub(crate) limits: String,
    /// Its host is away or cannot be reached: who told this instead.
    pub(crate) last_words: Option<LastWords>,
    /// All marks there were have come.
    pub(crate) complete: bool,
    /// Marks came that have no place yet.
    unplaced: bool,
    /// More may have come since.
    pub(crate) stale: bool,
    /// Its status changed, so that there may be another stretch.
    pub(crate) waits_stale: bool,
    /// Marks that take the place of these when all are there: some were taken back.
    anew: Option<Vec<Mark>>,
    /// Where one is: a mark's place.
    pub(crate) cursor: usize,
    pub(crate) events: Events,
    pub(crate) opened: Opened,
    pub(crate) totals: Totals,
    pub(crate) axis: Axis,
    /// Marks that were waited at, by place.
    waits: Vec<usize>,
    /// The columns that were drawn last, and how many marks the axis had.
    columns: (usize, Vec<Bucket>),
}

impl Lane {
    pub(crate) fn new(session: Session) -> Self {
        Self {
            session,
            depth: 0,
            arrive: None,
            marks: Vec::new(),
            stretches: Vec::new(),
            copied_to: None,
            dropped: 0,
            limits: String::new(),
            last_words: None,
            complete: false,
            unplaced: false,
            stale: false,
            waits_stale: false,
            anew: None,
            cursor: 0,
            events: Events::default(),
            opened: Opened::default(),
            totals: Totals::default(),
            axis: Axis::default(),
            waits: Vec::new(),
            columns: (0, Vec::new()),
        }
    }

    /// A subagent's, so far beneath the main lane.
    pub(crate) fn beneath(session: Session, depth: usize) -> Self {
        Self { depth, ..Self::new(session) }
    }

    /// The seq that more marks would follow.
    pub(crate) fn last_seq(&self) -> Option<u64> {
        self.marks.last().map(|mark| mark.seq)
    }

    /// The seq behind which marks are asked for, if any are.
    pub(crate) fn marks_wanted(&self) -> Option<Option<u64>> {
        match &self.anew {
            Some(marks) => Some(marks.last().map(|mark| mark.seq)),
            None => (!self.complete || self.stale).then(|| self.last_seq()),
        }
    }

    /// Has all marks come again: what was said of some is not so any more.
    pub(crate) fn begin_anew(&mut self) {
        self.anew = Some(Vec::new());
    }

    /// Takes a part of its outline.
    pub(crate) fn take_outline(&mut self, outline: Outline, now: Timestamp) {
        let limits = outline.limits();
        let Outline { marks: new, more, stretches, copied_to, dropped, last_words, .. } = outline;
        // An answer that says that more follows and has nothing would be asked for for ever.
        let more = more && !new.is_empty();
        let marks = self.anew.as_mut().unwrap_or(&mut self.marks);
        let (last, had) = (marks.last().map(|mark| mark.seq), marks.len());
        marks.extend(new.into_iter().filter(|mark| last.is_none_or(|last| mark.seq > last)));
        // They come with the first marks only.
        if !stretches.is_empty() {
            self.stretches = stretches;
        }
        self.copied_to = copied_to.or(self.copied_to);
        (self.dropped, self.limits) = (dropped, limits);
        self.last_words = last_words;
        self.stale = false;
        if self.anew.is_none() {
            self.join_from(had);
        }
        if more {
            return;
        }
        if let Some(marks) = self.anew.take() {
            let here = self.marks.get(self.cursor).map_or(0, |mark| mark.seq);
            self.cursor = marks.partition_point(|mark| mark.seq < here);
            self.marks = marks;
            self.events = Events::default();
            self.join_from(0);
        } else if had > 0 && self.marks.len() > had {
            // Its page does not have what came since.
            self.events.forget((had - 1) / PAGE);
            self.events.forget(had / PAGE);
        }
        self.complete = true;
        self.lay_out(now);
    }

    /// Joins results with their calls, from a place on: they may be pages apart.
    fn join_from(&mut self, first: usize) {
        for at in first..self.marks.len() {
            if let Some(call) = self.marks[at].call.and_then(|call| self.place_of(call)) {
                self.events.join(call, at);
            }
        }
    }

    /// Takes when it had which status.
    pub(crate) fn take_stretches(&mut self, stretches: Vec<Stretch>, now: Timestamp) {
        if self.stretches != stretches {
            self.stretches = stretches;
            self.lay_out(now);
        }
    }

    /// Takes events that just happened.
    pub(crate) fn take_events(&mut self, events: Vec<Event>) {
        // Theirs are trees: who goes back to an earlier entry says something there, and what was said after
        // that entry stands no more.
        let is_tree = matches!(self.session.harness, Harness::Pi | Harness::OpenClaw);
        for event in events {
            if self.last_seq().is_some_and(|last| event.seq <= last) {
                continue;
            }
            if is_tree && event.kind == EventKind::Prompt && self.complete {
                self.begin_anew();
            }
            self.marks.push(Mark::of(&event));
            self.events.push(self.marks.len() - 1, event);
            self.unplaced = true;
        }
    }

    /// Takes its row as it is now.
    pub(crate) fn take_session(&mut self, session: Session, now: Timestamp) {
        let waited = self.waits_since();
        let sum = |session: &Session| session.counts.map(|c| c.prompts + c.messages + c.tool_calls);
        // Counts hold nothing that was taken back.
        if sum(&session) < sum(&self.session) && self.complete {
            self.begin_anew();
        }
        self.waits_stale |= session.status_since != self.session.status_since;
        self.session = session;
        if waited != self.waits_since() {
            self.lay_out(now);
        }
    }

    /// Since when it waits for someone, if it does.
    pub(crate) fn waits_since(&self) -> Option<Timestamp> {
        let waits = self.session.status == Status::Waiting;
        let since = self.session.status_since.or(self.session.last_activity_at);
        since.filter(|_| waits)
    }

    /// Goes to where one came to in it, as soon as that can be.
    pub(crate) fn arrived(&mut self) {
        if self.complete
            && let Some(at) = self.arrive.take()
        {
            let end = self.marks.len().saturating_sub(1);
            self.cursor = match at {
                Arrive::Time(time) => self.axis.at_time(time),
                Arrive::Seq(seq) => self.marks.partition_point(|mark| mark.seq < seq).min(end),
                Arrive::Error => {
                    let fails = |mark: &Mark| timeline::is_error(mark) && !mark.withdrawn;
                    self.marks.iter().position(fails).unwrap_or(0)
                }
            };
        }
    }

    /// How many errors are in it; before its marks are here, as its row counts them.
    pub(crate) fn errors(&self) -> usize {
        let counted = || self.session.counts.map_or(0, |counts| counts.errors);
        if self.complete { self.totals.errors } else { usize::try_from(counted()).unwrap_or(0) }
    }

    /// Gives every mark its place, if some have none: once for many that come.
    pub(crate) fn settle(&mut self, now: Timestamp) {
        if self.unplaced {
            self.lay_out(now);
        }
    }

    /// Gives every mark its place anew.
    pub(crate) fn lay_out(&mut self, now: Timestamp) {
        self.unplaced = false;
        let open = self.waits_since().map(|_| now);
        let waits = waits::waits(&self.marks, &self.stretches, open);
        self.axis = Axis::new(&self.marks, waits, open);
        self.waits = self.axis.waited_at();
        self.columns.1.clear();
        let standing = || self.marks.iter().filter(|mark| !mark.withdrawn);
        self.totals = Totals {
            errors: standing().filter(|mark| timeline::is_error(mark)).count(),
            edits: standing().filter(|mark| timeline::is_edit(mark)).count(),
        };
        self.cursor = self.cursor.min(self.marks.len().saturating_sub(1));
    }

    /// Its timeline on `width` columns.
    pub(crate) fn columns(&mut self, width: usize) -> &[Bucket] {
        if self.columns.1.len() != width {
            self.columns = (self.marks.len(), self.axis.columns(&self.marks, width));
        }
        &self.columns.1
    }

    /// The same on the axis of the main lane, beneath which it stands.
    pub(crate) fn columns_on(&mut self, main: &Axis, width: usize) -> &[Bucket] {
        if self.columns.1.len() != width || self.columns.0 != main.len() {
            self.columns = (main.len(), main.columns_of(&self.marks, &self.axis, width));
        }
        &self.columns.1
    }

    /// How often it waited.
    pub(crate) fn wait_count(&self) -> usize {
        self.axis.waits().len()
    }

    pub(crate) fn event(&self, at: usize) -> Option<&Event> {
        self.events.get(at, self.marks.get(at)?)
    }

    /// Where the mark of a seq is.
    pub(crate) fn place_of(&self, seq: u64) -> Option<usize> {
        self.marks.binary_search_by_key(&seq, |mark| mark.seq).ok()
    }

    /// Open rows and their results, whose bodies are not here yet.
    pub(crate) fn bodies_wanted(&self) -> Vec<u64> {
        let rows = self.opened.rows().into_iter();
        let with_results = rows.flat_map(|seq| [Some(seq), self.result_seq(seq)]);
        with_results.flatten().filter(|seq| !self.opened.has(*seq)).collect()
    }

    /// Edits among these places of which it is not known yet how much they change.
    pub(crate) fn unmeasured(&self, rows: impl Iterator<Item = usize>) -> Vec<u64> {
        let marks = rows.filter_map(|at| self.marks.get(at)).filter(|mark| timeline::is_edit(mark));
        marks.map(|mark| mark.seq).filter(|seq| !self.opened.is_measured(*seq)).collect()
    }

    /// Takes an event with its body; the event as it is in its page where nobody has that. False where
    /// there is neither.
    pub(crate) fn take_body(&mut self, seq: u64, event: Option<Event>) -> bool {
        let place = self.place_of(seq);
        if place.is_some_and(|at| timeline::is_edit(&self.marks[at])) {
            self.opened.measure(seq, event.as_ref());
        }
        if !self.bodies_wanted().contains(&seq) {
            return true;
        }
        let known = || self.event(place?).cloned();
        let event = event.or_else(known);
        event.map(|event| self.opened.take(event)).is_some()
    }

    /// The seq of the result that belongs to the row of a seq.
    fn result_seq(&self, seq: u64) -> Option<u64> {
        let result = self.events.result_of(self.place_of(seq)?)?;
        self.marks.get(result).map(|mark| mark.seq)
    }

    /// Makes the lines of what is open, for lines of so many columns.
    pub(crate) fn fit(&mut self, columns: usize) {
        for seq in self.opened.rows() {
            let result = self.result_seq(seq);
            self.opened.fit(seq, result, columns);
        }
    }

    /// Pages that should be here to draw what is around the cursor, the nearest first.
    pub(crate) fn pages_wanted(&self) -> Vec<usize> {
        if self.marks.is_empty() {
            return Vec::new();
        }
        let here = self.cursor / PAGE;
        let last = (self.marks.len() - 1) / PAGE;
        let near = [Some(here), (here < last).then_some(here + 1), here.checked_sub(1)];
        near.into_iter().flatten().filter(|page| !self.events.has(*page)).collect()
    }

    /// It was copied from the session that this one is a fork of.
    pub(crate) fn is_copied(&self, at: usize) -> bool {
        let at = self.marks.get(at).and_then(|mark| mark.at);
        matches!((at, self.copied_to), (Some(at), Some(to)) if at <= to)
    }

    /// Whether a mark has a row of its own. A result has none; one whose call is not known does.
    pub(crate) fn is_row(&self, at: usize) -> bool {
        let Some(mark) = self.marks.get(at) else { return false };
        mark.kind != EventKind::ToolResult
            || (self.event(at).is_some() && self.events.call_of(at).is_none())
    }

    /// The row that a mark is shown in.
    pub(crate) fn row_of(&self, at: usize) -> usize {
        self.events.call_of(at).unwrap_or(at)
    }

    /// The result that says why the call at `at` failed.
    pub(crate) fn failure_of(&self, at: usize) -> Option<&Event> {
        let result = self.events.result_of(at)?;
        self.event(result).filter(|event| event.is_error && !event.text.is_empty())
    }

    /// The nearest row before or behind `at`.
    pub(crate) fn next_row(&self, at: usize, forward: bool) -> Option<usize> {
        if forward {
            (at + 1..self.marks.len()).find(|at| self.is_row(*at))
        } else {
            (0..at.min(self.marks.len())).rev().find(|at| self.is_row(*at))
        }
    }

    /// Goes `rows` on, or back; false when there was nowhere to go.
    pub(crate) fn step(&mut self, rows: isize) -> bool {
        let from = self.cursor;
        for _ in 0..rows.unsigned_abs() {
            // From a result, the row of its call is where one is already.
            let shown = self.row_of(self.cursor);
            let next = self.next_row(self.cursor, rows > 0);
            let next = match next {
                Some(at) if at == shown => self.next_row(at, rows > 0),
                next => next,
            };
            match next {
                Some(at) => self.cursor = at,
                None => break,
            }
        }
        self.cursor != from
    }

    /// The next mark of a kind behind the cursor, or the last before it.
    pub(crate) fn find(&self, target: Target, forward: bool) -> Option<usize> {
        let fits = |at: &usize| {
            let mark = &self.marks[*at];
            !mark.withdrawn
                && match target {
                    Target::Error => timeline::is_error(mark),
                    Target::Edit => timeline::is_edit(mark),
                    Target::Prompt => mark.kind == EventKind::Prompt,
                    Target::Wait => self.waits.binary_search(at).is_ok(),
                }
        };
        if forward {
            (self.cursor + 1..self.marks.len()).find(fits)
        } else {
            (0..self.cursor.min(self.marks.len())).rev().find(fits)
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        replay::{
            events::tests::event,
            timeline::tests::{T0, any_marks, mark},
        },
        table::tests::{NOW, session},
    };

    pub(crate) fn lane(marks: Vec<Mark>) -> Lane {
        let mut lane = Lane::new(session("b41f"));
        lane.take_outline(Outline { marks, ..Outline::default() }, NOW);
        lane
    }

    #[test]
    fn a_result_is_no_row_unless_nobody_knows_its_call() {
        let (call, result) = (EventKind::ToolCall, EventKind::ToolResult);
        let kinds = [EventKind::Prompt, call, call, result, result, result, EventKind::Message];
        let marks: Vec<_> =
            (0..).zip(kinds).map(|(seq, kind)| mark(seq, seq as i64 * 1_000, kind)).collect();
        let ids = [None, Some("a"), Some("b"), Some("b"), Some("a"), Some("lost"), None];
        let events = marks.iter().zip(ids).map(|(mark, id)| event(mark, "x", id)).collect();
        let mut lane = lane(marks);
        assert_eq!(lane.next_row(2, true), Some(6), "until its event is here it has none");
        lane.events.put(0, events, &lane.marks, 0);
        let rows: Vec<_> = (0..7).filter(|at| lane.is_row(*at)).collect();
        assert_eq!(rows, [0, 1, 2, 5, 6]);
        assert_eq!((lane.row_of(4), lane.row_of(3), lane.row_of(5)), (1, 2, 5));
        assert!(lane.step(3) && lane.cursor == 5);
        assert!(lane.step(9) && lane.cursor == 6 && !lane.step(1));
        assert!(lane.step(-2) && lane.cursor == 2);
        lane.cursor = 4;
        assert!(lane.step(-1) && lane.cursor == 2, "rows are passed by the order of their calls");
        lane.cursor = 3;
        assert!(lane.step(-1) && lane.cursor == 1, "its own call is where one was already");
    }

    #[test]
    fn a_result_pages_away_stands_with_its_call() {
        let (call, result) = (EventKind::ToolCall, EventKind::ToolResult);
        let count = 4 * PAGE as u64;
        let mut marks: Vec<_> =
            (0..count).map(|seq| mark(seq, seq as i64 * 1_000, EventKind::Message)).collect();
        (marks[3].kind, marks[4].kind) = (call, call);
        // The second is answered first, the first one three pages on.
        for (at, of) in [(PAGE + 7, 4), (3 * PAGE + 1, 3)] {
            (marks[at].kind, marks[at].call) = (result, Some(of));
        }
        let mut whole = lane(marks.clone());
        // In parts, and anew.
        let mut parts = Lane::new(session("b41f"));
        for (at, part) in marks.chunks(300).enumerate() {
            let more = (at + 1) * 300 < marks.len();
            let outline = Outline { marks: part.to_vec(), more, ..Outline::default() };
            parts.take_outline(outline, NOW);
        }
        let mut again = lane(marks.clone());
        again.begin_anew();
        again.take_outline(Outline { marks, ..Outline::default() }, NOW);
        for lane in [&mut whole, &mut parts, &mut again] {
            // No event is here yet.
            assert_eq!((lane.row_of(PAGE + 7), lane.row_of(3 * PAGE + 1)), (4, 3));
            assert_eq!((lane.result_seq(3), lane.result_seq(4)), (Some(3 * 256 + 1), Some(263)));
            assert!(
                !lane.is_row(3 * PAGE + 1) && lane.next_row(3 * PAGE, true) == Some(3 * PAGE + 2)
            );
            lane.opened.toggle(3);
            assert_eq!(lane.bodies_wanted(), [3, 3 * 256 + 1], "its result is asked for, too");
        }
    }

    #[test]
    fn what_comes_twice_is_taken_once() {
        let marks: Vec<_> = (0..4).map(|seq| mark(seq, 0, EventKind::Message)).collect();
        let mut lane = lane(marks.clone());
        let again = Outline { marks: marks[2..].to_vec(), ..Outline::default() };
        lane.take_outline(again, NOW);
        let new = [3, 4].map(|seq| event(&mark(seq, 0, EventKind::Message), "x", None));
        lane.take_events(new.to_vec());
        lane.settle(NOW);
        let seqs: Vec<_> = lane.marks.iter().map(|mark| mark.seq).collect();
        assert_eq!(seqs, [0, 1, 2, 3, 4]);
    }

    #[test]
    fn what_was_taken_back_takes_its_place() {
        let mut marks: Vec<_> = (0..6).map(|seq| mark(seq, 0, EventKind::Message)).collect();
        let mut lane = lane(marks.clone());
        lane.cursor = 4;
        let counts = |prompts| Some(rrd_proto::Counts { prompts, ..Default::default() });
        lane.session.counts = counts(3);
        assert_eq!(lane.marks_wanted(), None);
        lane.take_session(Session { counts: counts(2), ..lane.session.clone() }, NOW);
        assert_eq!(lane.marks_wanted(), Some(None));
        marks[3].withdrawn = true;
        let rest = marks.split_off(2);
        lane.take_outline(Outline { marks, more: true, ..Outline::default() }, NOW);
        assert_eq!((lane.marks_wanted(), lane.marks.len()), (Some(Some(1)), 6));
        lane.take_outline(Outline { marks: rest, ..Outline::default() }, NOW);
        assert!(lane.marks_wanted().is_none() && lane.marks[3].withdrawn && lane.cursor == 4);
    }

    #[test]
    fn what_may_have_been_left_is_asked_for_again() {
        for (harness, again) in
            [(Harness::Pi, true), (Harness::OpenClaw, true), (Harness::ClaudeCode, false)]
        {
            let mut marks: Vec<_> = (0..4).map(|seq| mark(seq, 0, EventKind::Message)).collect();
            let mut lane = lane(marks.clone());
            lane.session.harness = harness;
            lane.take_events(vec![event(&mark(4, 0, EventKind::Message), "x", None)]);
            assert_eq!(lane.marks_wanted(), None, "an answer goes on from what stands");
            let prompt = mark(5, 0, EventKind::Prompt);
            lane.take_events(vec![event(&prompt, "x", None)]);
            assert_eq!(lane.marks_wanted(), again.then_some(None));
            if again {
                marks[3].withdrawn = true;
                marks.extend([mark(4, 0, EventKind::Message), prompt]);
                lane.take_outline(Outline { marks, ..Outline::default() }, NOW);
                assert!(lane.marks_wanted().is_none() && lane.marks[3].withdrawn);
                assert_eq!(lane.marks.len(), 6);
            }
        }
    }

    #[test]
    fn the_copied_part_of_a_fork_is_known() {
        let marks = (0..3).map(|seq| mark(seq, seq as i64 * 1_000, EventKind::Message)).collect();
        let mut lane = lane(marks);
        lane.copied_to = Some(Timestamp::from_millis(T0 + 1_000));
        assert_eq!([0, 1, 2].map(|at| lane.is_copied(at)), [true, true, false]);
    }

    proptest! {
        #[test]
        fn jumping_finds_the_next_and_none_between(marks in any_marks(), cursor in 0_usize..200) {
            let mut lane = lane(marks);
            lane.cursor = cursor.min(lane.marks.len().saturating_sub(1));
            for target in [Target::Error, Target::Edit, Target::Prompt, Target::Wait] {
                let fits: Vec<usize> = (0..lane.marks.len())
                    .filter(|at| {
                        let mark = &lane.marks[*at];
                        !mark.withdrawn && match target {
                            Target::Error => mark.is_error || mark.kind == EventKind::Error,
                            Target::Edit => timeline::is_edit(mark),
                            Target::Prompt => mark.kind == EventKind::Prompt,
                            Target::Wait => lane.waits.contains(at),
                        }
                    })
                    .collect();
                let next = fits.iter().copied().find(|at| *at > lane.cursor);
                let before = fits.iter().copied().rfind(|at| *at < lane.cursor);
                prop_assert_eq!(lane.find(target, true), next);
                prop_assert_eq!(lane.find(target, false), before);
            }
        }
    }
}
