//! What one sink is still to tell, and when: held back in quiet hours and beyond a rate, told at once with what
//! came at the same moment, and by the next host where the one before it does not.

use std::collections::{BTreeMap, VecDeque};

use rrd_proto::{Notice, NoticeKind, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    Due, Key, PerKind, earliest,
    mark::{Mark, Marks, near},
};

/// What comes within this is told at once, in milliseconds.
pub const COLLECT: i64 = 1_000;

/// The next host tells what the one before it has not, so many milliseconds later.
pub const BACKUP: i64 = 15_000;

/// Notices that wait at once; of more only their number is told.
pub const MOST: usize = 256;

/// An attempt that failed is made again after so many milliseconds, thrice as many each time, …
const PAUSE: i64 = 5_000;

/// … no more than so many, …
const LONGEST_PAUSE: i64 = 10 * 60_000;

/// … so often, all in all.
pub const ATTEMPTS: u32 = 8;

/// Messages on their way at once: one that takes long must not hold up another until the next host tells that.
const AT_ONCE: usize = 8;

/// For so long after a start what was kept is not said to be over, in milliseconds: not all is known yet.
const SETTLES: i64 = 10_000;

/// Milliseconds.
const HOUR: i64 = 60 * 60_000;

/// The user's wishes for a sink.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// What it tells.
    pub events: Vec<NoticeKind>,
    /// What is told in quiet hours, too.
    pub through: Vec<NoticeKind>,
    /// Messages in an hour, at most.
    pub per_hour: u32,
    /// How many milliseconds each must have been so to be told.
    pub lasts: PerKind<i64>,
}

/// How things are when a queue is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// By this node's clock.
    pub at: Timestamp,
    /// So many hosts that tell such come before this one.
    pub rank: PerKind<usize>,
    /// So many others tell such there, too.
    pub others: PerKind<usize>,
    /// These are quiet hours.
    pub is_quiet: bool,
    /// What the others have told is known by now.
    pub is_ready: bool,
}

/// What waits.
#[derive(Debug, Clone)]
struct Pending {
    key: Key,
    since: Option<Timestamp>,
    notice: Notice,
    /// From when on it may be told; `None`: it may not.
    open_at: Option<Timestamp>,
    /// It could not be told when it was due.
    held: bool,
    /// It was held back by an earlier process: nobody here saw it begin.
    kept: bool,
}

/// What is told in one message, however often it must be tried: the same notices, and so the same id.
#[derive(Debug, Clone)]
struct Attempt {
    batch: Vec<Pending>,
    digest: bool,
    left_out: u64,
    /// So many failed.
    failed: u32,
}

/// What was held back, as it is kept on the disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Of what.
    pub subject: String,
    /// Since when, by its owner's clock.
    pub since: Option<Timestamp>,
    /// As it is told.
    pub notice: Notice,
}

/// What is to be told now, at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// By which it is told from others that are on their way.
    pub number: u64,
    /// One, or several.
    pub notices: Vec<Notice>,
    /// They were held back.
    pub digest: bool,
    /// How many more there were.
    pub left_out: u64,
}

/// What one look at a queue came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Step {
    /// To be told; then [`Queue::told`] or [`Queue::failed`] is called.
    pub batch: Option<Batch>,
    /// When to look again, if nothing changes.
    pub wake: Option<Timestamp>,
}

/// One sink's.
#[derive(Debug, Clone)]
pub struct Queue {
    sink: String,
    rules: Rules,
    pending: Vec<Pending>,
    sending: BTreeMap<u64, Attempt>,
    /// To be tried again, the first one first, and before anything else is told.
    again: VecDeque<Attempt>,
    /// When it was looked at first.
    begun: Option<Timestamp>,
    next: u64,
    /// So many hosts come before this one, and since when they are others than before.
    rank: Option<(PerKind<usize>, PerKind<Option<Timestamp>>)>,
    left_out: u64,
    /// When there was a message, by whomever, in the last hour.
    messages: VecDeque<Timestamp>,
    failures: u32,
    not_before: Option<Timestamp>,
    lost: u64,
}

impl Queue {
    /// Of a sink with this name of its own, which marks are made with.
    #[must_use]
    pub fn new(sink: &str, rules: Rules) -> Self {
        Self {
            sink: sink.to_owned(),
            rules,
            pending: Vec::new(),
            sending: BTreeMap::new(),
            again: VecDeque::new(),
            begun: None,
            next: 0,
            rank: None,
            left_out: 0,
            messages: VecDeque::new(),
            failures: 0,
            not_before: None,
            lost: 0,
        }
    }

    /// Takes a notice, redacted, if the sink tells such.
    pub fn push(&mut self, due: Due) {
        let Due { key, since, notice } = due;
        if !self.rules.events.contains(&key.kind) {
            return;
        }
        let is_it = |one: &&mut Pending| one.key == key && is_near(key.kind, one.since, since);
        let mut waiting = self.again.iter_mut().flat_map(|one| &mut one.batch);
        let known = waiting.find(is_it).or_else(|| self.pending.iter_mut().find(is_it));
        if let Some(known) = known {
            known.notice.over = false;
        } else if self.pending.len() >= MOST {
            self.left_out += 1;
        } else {
            let one = Pending { key, since, notice, open_at: None, held: false, kept: false };
            self.pending.push(one);
        }
    }

    /// What is so, each with since when: what was kept of it is not over, be it due again or not, and the rest is.
    pub fn are_so(&mut self, is_so: impl Fn(&Key) -> Option<Option<Timestamp>>) {
        let again = self.again.iter_mut().flat_map(|one| &mut one.batch);
        for one in self.pending.iter_mut().chain(again).filter(|one| one.kept) {
            let since = is_so(&one.key);
            one.notice.over = !since.is_some_and(|since| is_near(one.key.kind, one.since, since));
        }
    }

    /// That is so no more.
    pub fn is_over(&mut self, key: &Key) {
        let again = self.again.iter_mut().flat_map(|one| &mut one.batch);
        let of_it = self.pending.iter_mut().chain(again).filter(|one| one.key == *key);
        of_it.for_each(|one| one.notice.over = true);
    }

    /// Looks what is to be told now.
    pub fn step(&mut self, now: Now, marks: &Marks) -> Step {
        let at = now.at;
        let (before, mut since) = self.rank.unwrap_or((now.rank, PerKind::default()));
        for (at_kind, since) in since.iter_mut().enumerate() {
            if before[at_kind] != now.rank[at_kind] {
                *since = Some(at);
            }
        }
        self.rank = Some((now.rank, since));
        self.messages.retain(|told| (0..HOUR).contains(&at.since(*told)));
        let before = self.left();
        let sink = &self.sink;
        let lasts = &self.rules.lasts;
        let is_untold = |one: &Pending| {
            let (kind, mark) = (one.key.kind, Mark::of(&one.key, one.since, sink));
            marks.find(mark, kind, lasts[kind as usize]).is_none()
        };
        self.pending.retain(is_untold);
        self.again.iter_mut().for_each(|one| one.batch.retain(is_untold));
        if self.left() < before {
            // Somebody told it: that was a message, too.
            self.messages.push_back(at);
            if self.pending.is_empty() {
                // And so was of how many it could not speak.
                self.left_out = 0;
            }
        }
        // What nobody was to be told of yet need not be told any more.
        self.pending.retain(Pending::matters);
        self.again.retain(|one| one.batch.iter().any(Pending::matters));
        if let Some(after) = self.not_before.filter(|_| self.waiting().0 == 0) {
            if at < after {
                return Step { batch: None, wake: Some(after) };
            }
            // Nothing is left to be tried again, and it had its rest: whether it fails still nobody knows.
            (self.failures, self.not_before) = (0, None);
        }
        let told = self.messages.len() + self.sending.len();
        let is_limited = told >= self.rules.per_hour as usize;
        let through = &self.rules.through;
        let settled = self.begun.map_or(at, |begun| begun.min(at)).plus(SETTLES);
        self.begun = Some(settled.plus(-SETTLES));
        let is_in_doubt = |one: &Pending| one.kept && one.notice.over && at < settled;
        // With it waits what is told in one with it.
        let doubts = self.pending.iter().any(is_in_doubt);
        let is_closed = |one: &Pending| {
            let is_closed_now = now.is_quiet && !through.contains(&one.key.kind);
            is_limited || is_closed_now || (doubts && one.held)
        };
        for one in &mut self.pending {
            if is_closed(one) {
                (one.held, one.open_at) = (true, None);
            } else {
                // A clock that was set back makes nobody wait for hours.
                one.open_at = Some(one.open_at.map_or(at, |open| open.min(at)));
            }
        }
        let tells_at = |kind: NoticeKind, opens: Timestamp| {
            let rank = i64::try_from(now.rank[kind as usize]).unwrap_or(i64::MAX);
            let late = BACKUP.saturating_mul(rank);
            let tells_at = opens.plus(COLLECT.saturating_add(late));
            // Where one of them is gone all who come after move up: whoever is the first now has its time first.
            let since = since[kind as usize];
            let tells_at = since.map_or(tells_at, |since| tells_at.max(since.min(at).plus(late)));
            self.not_before.map_or(tells_at, |after| after.max(tells_at))
        };
        let open = self.pending.iter().filter_map(|one| Some((one, one.open_at?)));
        let first = open.map(|(one, opens)| (tells_at(one.key.kind, opens), opens, one));
        let first = first.min_by_key(|(tells_at, opens, _)| (*tells_at, *opens));
        let of = first.map(|(_, _, one)| (one.key.kind, one.held));
        let mut due_at = first.map(|(tells_at, ..)| tells_at);
        if let Some(first) = self.again.front_mut() {
            // It is told as it was, so all of it or nothing.
            let is_closed = first.batch.iter().any(is_closed);
            first.batch.iter_mut().for_each(|one| one.held |= is_closed);
            let is_tried = self.sending.values().any(|one| one.failed > 0);
            let begun = first.batch.iter().filter_map(|one| one.open_at).min().unwrap_or(at);
            // Of several kinds those hosts come first that tell any of them.
            let all = first.batch.iter().map(|one| tells_at(one.key.kind, begun)).max();
            due_at = all.filter(|_| !is_closed && !is_tried);
        } else if self.sending.values().any(|one| one.failed > 0) {
            due_at = None;
        }
        let mut step = Step { batch: None, wake: doubts.then_some(settled) };
        if is_limited && self.left() > 0 {
            let first = self.messages.front().map(|first| first.plus(HOUR));
            step.wake = earliest(step.wake, first);
        }
        let Some(due_at) = due_at.filter(|_| self.sending.len() < AT_ONCE && now.is_ready) else {
            return step;
        };
        if at < due_at {
            step.wake = earliest(step.wake, Some(due_at));
            return step;
        }
        let attempt = self.again.pop_front();
        let attempt = attempt.or_else(|| of.map(|of| self.batch(of, &now.rank)));
        step.batch = attempt.map(|attempt| self.begin(attempt));
        step
    }

    fn begin(&mut self, attempt: Attempt) -> Batch {
        self.next += 1;
        let number = self.next;
        let notices = attempt.batch.iter().map(|one| one.notice.clone()).collect();
        let Attempt { digest, left_out, .. } = attempt;
        self.sending.insert(number, attempt);
        Batch { number, notices, digest, left_out }
    }

    /// How many are on no way.
    fn left(&self) -> usize {
        self.pending.len() + self.again.iter().map(|one| one.batch.len()).sum::<usize>()
    }

    /// All of the kind that is due first; or all that was held back, but for what another host tells before.
    fn batch(&mut self, (kind, digest): (NoticeKind, bool), rank: &PerKind<usize>) -> Attempt {
        let belongs = |one: &Pending| {
            let is_due = digest && rank[one.key.kind as usize] <= rank[kind as usize];
            one.open_at.is_some() && one.held == digest && (is_due || one.key.kind == kind)
        };
        let all = std::mem::take(&mut self.pending);
        let (batch, rest): (Vec<_>, Vec<_>) = all.into_iter().partition(belongs);
        self.pending = rest;
        let left_out = std::mem::take(&mut self.left_out);
        Attempt { batch, digest, left_out, failed: 0 }
    }

    /// The marks of what is on its way.
    #[must_use]
    pub fn marks_of(&self, number: u64) -> Vec<Mark> {
        let batch = self.sending.get(&number).into_iter().flat_map(|one| &one.batch);
        batch.map(|one| Mark::of(&one.key, one.since, &self.sink)).collect()
    }

    /// What was to be told has been; the marks of it.
    pub fn told(&mut self, number: u64, now: Timestamp) -> Vec<Mark> {
        let marks = self.marks_of(number);
        self.sending.remove(&number);
        self.messages.push_back(now);
        (self.failures, self.not_before) = (0, None);
        marks
    }

    /// It has not: it is tried again later, after the others who have the sink had their time.
    pub fn failed(&mut self, number: u64, now: Now, after: Option<i64>) {
        let pause = PAUSE.saturating_mul(3_i64.saturating_pow(self.failures)).min(LONGEST_PAUSE);
        self.failures = self.failures.saturating_add(1);
        let tried = self.sending.get(&number).into_iter().flat_map(|one| &one.batch);
        let others = tried.map(|one| now.others[one.key.kind as usize]).max().unwrap_or(0);
        let others = i64::try_from(others).unwrap_or(i64::MAX);
        let theirs = if others == 0 { 0 } else { BACKUP.saturating_mul(others.saturating_add(1)) };
        let pause = pause.max(theirs).max(after.unwrap_or(0).min(HOUR));
        self.not_before = Some(now.at.plus(pause));
        let Some(mut attempt) = self.sending.remove(&number) else { return };
        attempt.failed += 1;
        match attempt.failed < ATTEMPTS {
            // What was tried first comes first.
            true if attempt.failed > 1 => self.again.push_front(attempt),
            true => self.again.push_back(attempt),
            false => self.lost += attempt.batch.len() as u64 + attempt.left_out,
        }
    }

    /// Whether the last attempt failed, and nothing since tells otherwise.
    #[must_use]
    pub const fn fails(&self) -> bool {
        self.failures > 0
    }

    /// Notices that were given up.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.lost
    }

    /// How many wait, and how many of these were held back.
    #[must_use]
    pub fn waiting(&self) -> (u64, u64) {
        let sending: usize = self.sending.values().map(|one| one.batch.len()).sum();
        let again = self.again.iter().flat_map(|one| &one.batch);
        let held = self.pending.iter().chain(again).filter(|one| one.held).count();
        ((self.left() + sending) as u64, held as u64)
    }

    /// What must not be lost with this process: what was held back.
    #[must_use]
    pub fn held(&self) -> Vec<Held> {
        let tried = self.again.iter().chain(self.sending.values()).flat_map(|one| &one.batch);
        let held = self.pending.iter().chain(tried).filter(|one| one.held);
        held.map(|one| Held {
            subject: one.key.subject.clone(),
            since: one.since,
            notice: one.notice.clone(),
        })
        .collect()
    }

    /// Takes back what was kept. It is over, unless it turns out to be so still ([`Self::are_so`]).
    pub fn restore(&mut self, held: Held) {
        let Held { subject, since, mut notice } = held;
        notice.over = true;
        let key = Key { kind: notice.kind, subject };
        let is_wanted = self.rules.events.contains(&key.kind) && self.pending.len() < MOST;
        if is_wanted {
            let one = Pending { key, since, notice, open_at: None, held: true, kept: true };
            self.pending.push(one);
        }
    }
}

impl Pending {
    /// What was over before anybody was to be told of it need not be told.
    const fn matters(&self) -> bool {
        self.held || !self.notice.over
    }
}

fn is_near(kind: NoticeKind, one: Option<Timestamp>, other: Option<Timestamp>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one.since(other).abs() <= i64::from(near(kind)) * 1_000,
        (one, other) => one == other,
    }
}
