//! How one gets about in a replay: stepping, jumping, going to a time or to what was found, playing.
//!
//! The list moves only when the selected row would leave it, except when one goes far. Not here: which key
//! does what ([`super::keys`]).

use std::ops::Bound;

use rrd_proto::{Mark, Timestamp};

use super::{
    ask::{Leg, Search},
    lane::{Arrive, Target},
    model::{Found, Model},
    moment::Moment,
    rows,
};
use crate::{clock, table};

/// Dead time, when playing, lasts at most so many milliseconds, before the speed.
const DEAD: i64 = 1_000;
/// And any other gap: nobody watches a test run.
const GAP: i64 = 10_000;

impl Model {
    /// Plays on, if it plays, for `ms`; true when something looks different then.
    pub(crate) fn play(&mut self, ms: i64) -> bool {
        let Some(mut banked) = self.playing else { return false };
        let speed = f64::from(self.speed);
        let lane = &mut self.lanes[self.focus];
        if !lane.complete {
            return false;
        }
        banked += ms as f64 * speed;
        let from = lane.cursor;
        while let Some((gap, dead)) = lane.axis.gap(lane.cursor) {
            let gap = gap.min(if dead { DEAD } else { GAP }) as f64;
            if banked < gap {
                break;
            }
            banked -= gap;
            lane.cursor += 1;
        }
        let moved = lane.cursor != from;
        let over = lane.cursor + 1 >= lane.marks.len();
        self.playing = (!over).then_some(banked);
        // Played to its end it is watched live.
        self.follow |= over;
        moved || over
    }

    /// Goes to a mark of the lane looked at.
    pub(crate) fn go(&mut self, at: usize) {
        let lane = self.lane_mut();
        let last = lane.marks.len().saturating_sub(1);
        lane.cursor = at.min(last);
        self.follow = false;
        self.playing = self.playing.map(|_| 0.0);
    }

    pub(crate) fn go_to_end(&mut self) {
        self.go(usize::MAX);
        (self.follow, self.playing) = (true, None);
    }

    pub(crate) fn step(&mut self, rows: isize) {
        let before = self.lane().row_of(self.lane().cursor);
        if !self.lane_mut().step(rows) {
            // Nothing beyond the last one yet: what comes is followed.
            self.follow |= rows > 0;
            return;
        }
        self.follow = false;
        self.playing = self.playing.map(|_| 0.0);
        // The list moves only when the selected row would leave it.
        let lane = self.lane();
        let after = lane.row_of(lane.cursor);
        let (low, high) = (before.min(after), before.max(after));
        let rows = (low..high).filter(|at| lane.is_row(*at) || *at == low);
        let lines: i32 = rows.take(200).map(|at| rows::height(lane, at)).sum();
        let height = rows::height(lane, after);
        let anchor = if after > before {
            self.anchor.saturating_add(lines)
        } else {
            self.anchor.saturating_sub(lines)
        };
        let most = (i32::from(self.areas.list.height) - height).max(0);
        self.anchor = anchor.clamp(0, most);
    }

    pub(crate) fn jump(&mut self, target: Target, forward: bool) {
        match self.lane().find(target, forward) {
            Some(at) => {
                self.go(at);
                self.center();
            }
            None if target == Target::Error && forward && self.go_to_failed_lane() => {}
            None => {
                let what = match target {
                    Target::Error => "error",
                    Target::Wait => "wait",
                    Target::Edit => "edit",
                    Target::Prompt => "prompt",
                };
                let side = if forward { "after" } else { "before" };
                self.note = Some(format!("no {what} {side} this"));
            }
        }
    }

    /// Goes to the first error of the next lane that has one; false where there is none. Of many lanes most
    /// have no line of their own.
    fn go_to_failed_lane(&mut self) -> bool {
        let next = (self.focus + 1..self.lanes.len()).find(|at| self.lanes[*at].errors() > 0);
        let Some(lane) = next else { return false };
        self.arrive(lane, Some(Arrive::Error));
        self.center();
        self.note = Some(format!("no error after that: the next is in {}", self.name_of(lane)));
        true
    }

    fn name_of(&self, lane: usize) -> String {
        if lane == 0 { "main".to_owned() } else { table::title(&self.lanes[lane].session) }
    }

    pub(crate) fn center(&mut self) {
        self.anchor = i32::from(self.areas.list.height) / 3;
    }

    /// Goes to a moment; says so when the session was not there then.
    pub(crate) fn go_to(&mut self, moment: &Moment) {
        let lane = self.lane();
        let end = lane.marks.len().saturating_sub(1);
        if let Moment::Event(seq) = moment {
            let (first, last) = (lane.marks.first(), lane.marks.last());
            let is_past = last.filter(|last| *seq > last.seq);
            let is_before = first.filter(|first| *seq < first.seq);
            let note = (is_past.map(|mark| ("last", mark)))
                .or(is_before.map(|mark| ("first", mark)))
                .map(|(which, mark)| format!("its {which} event is e{}", mark.seq + 1));
            self.go(lane.marks.partition_point(|mark| mark.seq < *seq).min(end));
            self.center();
            self.note = note;
            return;
        }
        let (Some(first), Some(last)) = (lane.axis.time(0), lane.axis.time(end)) else {
            self.note = Some("its events have no times".to_owned());
            return;
        };
        let last = last.max(first);
        let Some(at) = moment.within(Timestamp::from_millis(last), &clock::zone()) else {
            self.note = Some("no calendar has that time".to_owned());
            return;
        };
        let at = at.as_millis();
        // Where the clock was set back a time comes twice: then the event counts that has it to the letter.
        let exact = |mark: &Mark| mark.at.is_some_and(|time| time.as_millis() == at);
        let exact = lane.marks.iter().rposition(exact);
        let place = exact.unwrap_or_else(|| lane.axis.at_time(at));
        self.go(place);
        self.center();
        let shown = |ms| clock::time_of_day(Timestamp::from_millis(ms), self.now);
        if exact.is_some() {
            self.note = None;
        } else if at < first {
            self.note = Some(format!("its first event was at {}", shown(first)));
        } else if at > last {
            self.note = Some(format!("its last event was at {}", shown(last)));
        }
    }

    /// Looks for a text in all lanes, in the one looked at first.
    pub(crate) fn look_for(&mut self, text: String) {
        let mut lanes: Vec<usize> = (0..self.lanes.len()).collect();
        lanes.sort_by_key(|lane| *lane != self.focus);
        let legs: Vec<Leg> = lanes.into_iter().filter_map(|lane| self.leg(lane)).collect();
        if legs.is_empty() {
            return;
        }
        self.searches += 1;
        let number = self.searches;
        let found = Found { text: text.clone(), number, ..Found::default() };
        self.found = Some(Found { jump: true, ..found });
        self.search = Some(Search { number, text, legs });
    }

    /// What there is to look through of a lane; before its marks are here, whatever there is.
    fn leg(&self, at: usize) -> Option<Leg> {
        let (lane, of) = (&self.lanes[at], self.of(at));
        if !lane.complete {
            return Some(Leg { of, first: 0, last: u64::MAX - 1, begin: 0 });
        }
        let (first, last) = (lane.marks.first()?.seq, lane.marks.last()?.seq);
        let here = lane.marks.get(lane.cursor).filter(|_| at == self.focus);
        Some(Leg { of, first, last, begin: here.map_or(first, |mark| mark.seq) })
    }

    /// Goes to what was found next, or before, whichever lane that is in; around the end. False where there
    /// is none.
    pub(crate) fn go_to_found(&mut self, forward: bool) -> bool {
        let Some(hits) = self.found.as_ref().map(|found| &found.hits) else { return false };
        let lane = self.lane();
        let here = (self.focus, lane.marks.get(lane.cursor).map_or(0, |mark| mark.seq));
        let next = if forward {
            hits.range((Bound::Excluded(here), Bound::Unbounded)).next().or_else(|| hits.first())
        } else {
            hits.range(..here).next_back().or_else(|| hits.last())
        };
        let Some((lane, seq)) = next.copied() else { return false };
        if lane == self.focus {
            let Some(at) = self.lane().place_of(seq) else { return false };
            self.go(at);
        } else {
            self.arrive(lane, Some(Arrive::Seq(seq)));
            self.note = Some(format!("found in {}", self.name_of(lane)));
        }
        self.center();
        true
    }
}
