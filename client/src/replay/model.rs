//! What a replay is at a moment, and what each key, answer and tick makes of it: a state machine without
//! a terminal, a clock or a daemon.
//!
//! What it needs and does not have it asks for ([`Model::asks`]); what it is told it takes
//! ([`Model::take`]). Not here: keys ([`super::keys`]), drawing ([`super::view`]).

use std::collections::{BTreeSet, HashMap, HashSet};

use ratatui::layout::Rect;
use rrd_proto::{Event, EventKind, HostState, Mark, Session, Status, Timestamp, ToolKind};

use super::{
    ask::{Ask, Id, Of, Search, Told},
    lane::{Arrive, Lane},
    moment::Moment,
    rows::Placed,
};

/// Speeds that keys go through.
pub(crate) const SPEEDS: [u32; 8] = [1, 2, 4, 8, 16, 32, 64, 100];

/// Edits that are asked for at once, to be measured.
const MEASURED: usize = 2;

/// What the keys mean now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mode {
    Watch,
    Help,
    /// A text is typed at the foot of the screen.
    Typing(Wanted, String),
}

/// What a typed text is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    Text,
    Time,
}

/// What was looked for, and found so far.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) text: String,
    /// Lanes and seqs.
    pub(crate) hits: BTreeSet<(usize, u64)>,
    pub(crate) looked_at: u64,
    /// Events in which it was not found, and of which not all is there any more.
    pub(crate) in_part: u64,
    pub(crate) done: bool,
    pub(crate) number: u64,
    /// The first one found is gone to.
    pub(crate) jump: bool,
}

/// Where things were drawn last, for the mouse.
#[derive(Debug, Default)]
pub(crate) struct Areas {
    /// The columns of the timeline.
    pub(crate) strip: Rect,
    /// Those of subagents, with their lanes.
    pub(crate) lanes: Vec<(usize, Rect)>,
    pub(crate) list: Rect,
    pub(crate) rows: Vec<Placed>,
}

pub(crate) struct Model {
    /// The session asked for, then its subagents.
    pub(crate) lanes: Vec<Lane>,
    pub(crate) focus: usize,
    /// The cursor stays at the end.
    pub(crate) follow: bool,
    /// Milliseconds of the session played beyond the cursor; `None` while it stands.
    pub(crate) playing: Option<f64>,
    pub(crate) speed: u32,
    /// The line of the list on which the selected row begins.
    pub(crate) anchor: i32,
    pub(crate) mode: Mode,
    pub(crate) found: Option<Found>,
    /// A search that nobody works on yet.
    pub(crate) search: Option<Search>,
    /// A word for the person, until the next key.
    pub(crate) note: Option<String>,
    /// Why events are not followed, where they are not.
    pub(crate) trouble: Option<String>,
    pub(crate) areas: Areas,
    pub(crate) now: Timestamp,
    /// A button is held that was pressed on the timeline.
    pub(crate) scrubbing: bool,
    /// Where to begin, until the marks are there.
    begin: Option<Moment>,
    plays_from_start: bool,
    asked: HashSet<Id>,
    failed: Vec<Id>,
    lanes_wanted: bool,
    pub(crate) searches: u64,
}

impl Model {
    pub(crate) fn new(session: Session, now: Timestamp) -> Self {
        Self {
            lanes: vec![Lane::new(session)],
            focus: 0,
            follow: true,
            playing: None,
            speed: 1,
            anchor: i32::MAX,
            mode: Mode::Watch,
            found: None,
            search: None,
            note: None,
            trouble: None,
            areas: Areas::default(),
            now,
            scrubbing: false,
            begin: None,
            plays_from_start: false,
            asked: HashSet::new(),
            failed: Vec::new(),
            lanes_wanted: true,
            searches: 0,
        }
    }

    /// Begins at a moment, and plays if there is a speed: from there, or from the start.
    pub(crate) fn begin(mut self, at: Option<Moment>, speed: Option<u32>) -> Self {
        self.plays_from_start = speed.is_some() && at.is_none();
        self.playing = speed.map(|_| 0.0);
        self.follow = at.is_none() && speed.is_none();
        self.speed = speed.unwrap_or(1);
        self.begin = at;
        self
    }

    pub(crate) fn lane(&self) -> &Lane {
        &self.lanes[self.focus]
    }

    pub(crate) fn lane_mut(&mut self) -> &mut Lane {
        &mut self.lanes[self.focus]
    }

    /// A lane as it is asked for.
    pub(crate) fn of(&self, lane: usize) -> Of {
        let session = &self.lanes[lane].session;
        let elsewhere = session.host_state != HostState::Here;
        let node =
            session.node_id.as_ref().filter(|_| elsewhere).and_then(|node| node.parse().ok());
        Of { lane, key: session.key(), node }
    }

    /// What is needed and was not asked for yet, the most urgent last.
    pub(crate) fn asks(&mut self) -> Vec<Ask> {
        let mut asks = Vec::new();
        if self.lanes[0].complete && self.lanes_wanted {
            self.lanes_wanted = false;
            asks.push(Ask::Lanes { of: self.of(0), host: self.lanes[0].session.host.clone() });
        }
        let shown = self.areas.lanes.iter().map(|(lane, _)| *lane);
        for lane in shown.chain([0, self.focus]) {
            if let Some(after) = self.lanes[lane].marks_wanted() {
                asks.push(Ask::Outline { of: self.of(lane), after });
            }
        }
        for lane in [0, self.focus] {
            if std::mem::take(&mut self.lanes[lane].waits_stale) {
                asks.push(Ask::Stretches { of: self.of(lane) });
            }
        }
        let lane = self.lane();
        let pages = lane.pages_wanted();
        // What is nice to know comes when nothing else is asked for, a little at a time.
        if pages.is_empty() && self.playing.is_none() && !self.scrubbing {
            let rows = self.areas.rows.iter().map(|row| row.at);
            for seq in lane.unmeasured(rows).into_iter().take(MEASURED) {
                asks.push(Ask::Body { of: self.of(self.focus), seq });
            }
        }
        for page in pages.into_iter().rev() {
            let first = page * super::events::PAGE;
            let last = lane.marks.len().min(first + super::events::PAGE) - 1;
            let count = u32::try_from(last + 1 - first).unwrap_or(u32::MAX);
            let before = lane.marks[last].seq + 1;
            asks.push(Ask::Page { of: self.of(self.focus), page, before, count });
        }
        for seq in lane.bodies_wanted() {
            asks.push(Ask::Body { of: self.of(self.focus), seq });
        }
        asks.retain(|ask| self.asked.insert(ask.id()));
        asks
    }

    /// Takes an answer, or what just happened.
    pub(crate) fn take(&mut self, told: Told) {
        match told {
            Told::Outline { lane, outline } => {
                self.asked.remove(&Id::Outline(lane));
                self.lanes[lane].take_outline(outline, self.now);
                self.settle(lane);
            }
            Told::Stretches { lane, stretches } => {
                self.asked.remove(&Id::Stretches(lane));
                self.lanes[lane].take_stretches(stretches, self.now);
            }
            Told::Page { lane, page, events } => {
                self.asked.remove(&Id::Page(lane, page));
                let lane = &mut self.lanes[lane];
                let near = lane.cursor / super::events::PAGE;
                lane.events.put(page, events, &lane.marks, near);
            }
            Told::Body { lane, seq, event } => {
                // What nobody has is not asked for again.
                if self.lanes[lane].take_body(seq, event) {
                    self.asked.remove(&Id::Body(lane, seq));
                }
            }
            Told::Lanes(sessions) => {
                self.asked.remove(&Id::Lanes);
                self.take_lanes(sessions);
            }
            Told::Skipped(id) => {
                self.asked.remove(&id);
                if let Id::Stretches(lane) = id {
                    self.lanes[lane].waits_stale = true;
                }
            }
            Told::Failed(id, why) => {
                self.failed.push(id);
                self.note = Some(why);
            }
            Told::Happened(events) => self.happened(events),
            Told::Row(session) => self.lanes[0].take_session(*session, self.now),
            Told::Trouble(why) => self.trouble = why,
            Told::Found { number, lane, seqs, looked_at, in_part, done } => {
                if let Some(found) = self.found.as_mut().filter(|found| found.number == number) {
                    found.hits.extend(seqs.into_iter().map(|seq| (lane, seq)));
                    (found.looked_at, found.in_part, found.done) = (looked_at, in_part, done);
                    let jump = std::mem::take(&mut found.jump);
                    if jump && !self.go_to_found(true) && !done {
                        self.found.iter_mut().for_each(|found| found.jump = true);
                    }
                }
            }
        }
    }

    /// The marks of a lane have come: goes to where one wants to be.
    fn settle(&mut self, lane: usize) {
        let at = &mut self.lanes[lane];
        if !at.complete {
            return;
        }
        let end = at.marks.len().saturating_sub(1);
        if lane != 0 {
            at.arrived();
            return;
        }
        if self.plays_from_start {
            self.plays_from_start = false;
            at.cursor = 0;
        } else if let Some(moment) = self.begin.take() {
            self.go_to(&moment);
        } else if self.follow {
            at.cursor = end;
        }
    }

    fn take_lanes(&mut self, sessions: Vec<(usize, Session)>) {
        let known = self.lanes.iter().enumerate();
        let known: HashMap<String, usize> =
            known.map(|(at, lane)| (lane.session.session_id.clone(), at)).collect();
        for (depth, session) in sessions {
            match known.get(&session.session_id) {
                Some(at) => {
                    let lane = &mut self.lanes[*at];
                    lane.stale |= lane.session.last_activity_at != session.last_activity_at;
                    lane.take_session(session, self.now);
                }
                // Where one is asked for by its place, it keeps it: those that come later are at the end.
                None => self.lanes.push(Lane::beneath(session, depth)),
            }
        }
    }

    /// Goes to another lane, at the time where one is.
    pub(crate) fn go_to_lane(&mut self, lane: usize) {
        let time = self.lane().axis.time(self.lane().cursor);
        self.arrive(lane, time.map(Arrive::Time));
    }

    /// Goes to another lane, somewhere in it.
    pub(crate) fn arrive(&mut self, lane: usize, at: Option<Arrive>) {
        self.focus = lane;
        (self.follow, self.playing) = (false, None);
        let lane = self.lane_mut();
        lane.arrive = at;
        lane.arrived();
    }

    fn happened(&mut self, events: Vec<Event>) {
        // Before the outline is whole the events are in what comes of it.
        if !self.lanes[0].complete {
            return;
        }
        let delegates = |event: &Event| {
            event.kind == EventKind::SubagentStart
                || Mark::of(event).tool == Some(ToolKind::Delegate)
        };
        self.lanes_wanted |= events.iter().any(delegates);
        self.lanes[0].take_events(events);
        if self.follow && self.focus == 0 {
            self.lanes[0].cursor = self.lanes[0].marks.len().saturating_sub(1);
        }
    }

    /// Gives marks that came their places, before anything depends on them.
    pub(crate) fn settle_lanes(&mut self) {
        let now = self.now;
        self.lanes.iter_mut().for_each(|lane| lane.settle(now));
    }

    /// Time has passed, `ms` of it; `true` where something may look different now.
    pub(crate) fn tick(&mut self, ms: i64, now: Timestamp) -> bool {
        let second = now.as_millis() / 1_000 != self.now.as_millis() / 1_000;
        self.now = now;
        if second {
            for id in self.failed.drain(..) {
                self.asked.remove(&id);
            }
            let main = &mut self.lanes[0];
            let fifth = now.as_millis() / 1_000 % 5 == 0;
            // A wait that lasts gets longer on the timeline, too.
            if fifth && main.complete && main.waits_since().is_some() {
                main.lay_out(now);
            }
            let runs = |lane: &Lane| lane.session.status == Status::Executing;
            self.lanes_wanted |= fifth && self.lanes.iter().skip(1).any(runs);
        }
        if self.playing.is_some() {
            self.settle_lanes();
        }
        self.play(ms) || second
    }
}

#[cfg(test)]
#[path = "model_tests.rs"]
pub(crate) mod tests;
