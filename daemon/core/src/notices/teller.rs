//! One node's part in telling: what is due, for which of its sinks, and whether it or another node tells it.
//!
//! Of the live hosts that tell a sink such one tells its notices, the first by a hash of sink and host: then what
//! comes at one moment, quiet hours and the rate are one host's to heed. The others follow, [`super::queue::BACKUP`]
//! after one another, unless they have heard a mark. Whoever fails at a sink says so and comes last. What a sink
//! tells on its own host alone (a desktop) is elected by nobody.

use std::collections::BTreeMap;

use rrd_proto::{NodeId, Notice, NoticeKind, Timestamp};

use super::{
    Key, PerKind, So, Watch, earliest,
    mark::{self, Mark, Marks, Telling},
    queue::{Batch, Held, Now, Queue, Rules},
    tellers,
};
use crate::fleet::record::NoticesWord;

/// Marks that others made are told on so late, in milliseconds: for whoever comes when those are gone.
const TELL_ON: i64 = 60_000;

/// How often marks are looked through for those that nobody needs, in milliseconds.
const AGE: i64 = 60_000;

/// A sink as this node has it.
#[derive(Debug, Clone)]
pub struct Sink {
    /// Made of what it is: the same on every host that has it.
    pub id: String,
    /// Each host tells its own.
    pub is_local: bool,
    /// The user's wishes.
    pub rules: Rules,
}

/// How things are at a look.
#[derive(Debug)]
pub struct View<'v> {
    /// By this node's clock.
    pub now: Timestamp,
    /// This node.
    pub own: NodeId,
    /// What each other host says of notices, and whether it is there.
    pub heard: &'v [(NodeId, bool, NoticesWord)],
    /// These are quiet hours.
    pub is_quiet: bool,
    /// What others have told is known by now.
    pub is_ready: bool,
}

/// What a look came to.
#[derive(Debug, Default)]
pub struct Looked {
    /// To be told, by the number of the sink; then [`Teller::told`] or [`Teller::failed`] is called.
    pub batches: Vec<(usize, Batch)>,
    /// When to look again, if nothing changes.
    pub wake: Option<Timestamp>,
    /// The other hosts are to be told now, with [`Teller::marks`].
    pub word: Option<NoticesWord>,
    /// Marks that are to be kept, each with whether it is of a local sink.
    pub marks: Vec<(Mark, bool)>,
    /// Those that need not be kept any more.
    pub forgotten: Vec<Mark>,
}

/// Who tells a sink now, and how much waits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// So many have it.
    pub hosts: usize,
    /// Of what this host tells there, who tells it: the one that does so first.
    pub tellers: Vec<(NoticeKind, NodeId)>,
    /// This host fails at it.
    pub fails: bool,
    /// Notices that wait.
    pub waiting: u64,
    /// Of these, held back.
    pub held: u64,
    /// Given up.
    pub lost: u64,
}

/// One node's.
#[derive(Debug, Clone)]
pub struct Teller {
    sinks: Vec<(Sink, Queue)>,
    so: BTreeMap<Key, So>,
    watch: Watch,
    shared: Marks,
    local: Marks,
    /// What each host said of its marks last.
    read: BTreeMap<NodeId, String>,
    /// What the others were told of this host's sinks.
    word: Option<NoticesWord>,
    /// This host has marks that the others were not told, …
    own_news: bool,
    /// … or has heard some since it told its own.
    heard_news: bool,
    told_at: Option<Timestamp>,
    aged_at: Option<Timestamp>,
}

impl Teller {
    /// Of a node with these sinks.
    #[must_use]
    pub fn new(sinks: Vec<Sink>) -> Self {
        let with = |sink: Sink| {
            let queue = Queue::new(&sink.id, sink.rules.clone());
            (sink, queue)
        };
        Self {
            sinks: sinks.into_iter().map(with).collect(),
            so: BTreeMap::new(),
            watch: Watch::default(),
            shared: Marks::default(),
            local: Marks::default(),
            read: BTreeMap::new(),
            word: None,
            own_news: false,
            heard_news: false,
            told_at: None,
            aged_at: None,
        }
    }

    /// Takes back what was kept of an earlier run.
    pub fn restore(&mut self, marks: Vec<(Mark, bool, Timestamp)>, held: Vec<(String, Held)>) {
        for (mark, is_local, at) in marks {
            match is_local {
                true => self.local.add(mark, at),
                false => self.shared.add(mark, at),
            };
        }
        for (sink, held) in held {
            let queue = self.sinks.iter_mut().find(|(known, _)| known.id == sink);
            if let Some((_, queue)) = queue {
                queue.restore(held);
            }
        }
    }

    /// Takes what is so from now on.
    pub fn take(&mut self, so: BTreeMap<Key, So>) {
        self.so = so;
    }

    /// Looks what is to be done. `lasts` says how long something must have been so, in milliseconds; `redact`
    /// takes out of a notice what must not leave.
    pub fn look(
        &mut self,
        view: &View<'_>,
        lasts: impl Fn(NoticeKind) -> i64,
        mut redact: impl FnMut(Notice) -> Notice,
    ) -> Looked {
        let now = view.now;
        let mut looked = Looked::default();
        let watched = self.watch.look(now, &self.so, lasts);
        looked.wake = watched.wake;
        for mut due in watched.due {
            due.notice = redact(due.notice);
            self.sinks.iter_mut().for_each(|(_, queue)| queue.push(due.clone()));
        }
        let so = &self.so;
        let is_so = |key: &Key| so.get(key).map(|so| so.since);
        self.sinks.iter_mut().for_each(|(_, queue)| queue.are_so(is_so));
        for key in &watched.over {
            self.sinks.iter_mut().for_each(|(_, queue)| queue.is_over(key));
        }
        // Of whoever left nothing is kept.
        self.read.retain(|node, _| view.heard.iter().any(|(heard, ..)| heard == node));
        for (node, _, word) in view.heard {
            // Said once, it is read once: what this node has forgotten since nobody needs.
            if self.read.get(node) == Some(&word.told) {
                continue;
            }
            self.read.insert(*node, word.told.clone());
            for mark in mark::read(&word.told) {
                if self.shared.add(mark, now) {
                    self.heard_news = true;
                    looked.marks.push((mark, false));
                }
            }
        }
        for at in 0..self.sinks.len() {
            let tellers = self.tellers(at, view);
            let (sink, queue) = &mut self.sinks[at];
            let marks = if sink.is_local { &self.local } else { &self.shared };
            let stands = Now {
                at: now,
                rank: per_kind(|kind| {
                    telling(&tellers, kind).position(|node| node == view.own).unwrap_or(0)
                }),
                others: others(&tellers),
                is_quiet: view.is_quiet,
                is_ready: view.is_ready || sink.is_local,
            };
            loop {
                let step = queue.step(stands, marks);
                looked.wake = earliest(looked.wake, step.wake);
                let Some(batch) = step.batch else { break };
                looked.batches.push((at, batch));
            }
        }
        self.age(now, &mut looked);
        self.speak(now, &mut looked);
        looked
    }

    /// Who tells the sink of this number, the first one first, each with the kinds that it tells.
    fn tellers(&self, at: usize, view: &View<'_>) -> Vec<(NodeId, u64)> {
        let (sink, queue) = &self.sinks[at];
        let mut who = vec![(view.own, queue.fails())];
        let mut kinds = BTreeMap::from([(view.own, mask(&sink.rules))]);
        if !sink.is_local {
            for (node, _, word) in view.heard.iter().filter(|(_, is_live, _)| *is_live) {
                let place = word.sinks.iter().position(|id| *id == sink.id);
                if let Some(place) = place.filter(|_| *node != view.own) {
                    who.push((*node, word.failing.contains(&sink.id)));
                    kinds.insert(*node, word.kinds.get(place).copied().unwrap_or(u64::MAX));
                }
            }
        }
        let order = tellers(&sink.id, who).into_iter();
        order.map(|node| (node, kinds.get(&node).copied().unwrap_or_default())).collect()
    }

    /// Forgets marks that nobody needs.
    fn age(&mut self, now: Timestamp, looked: &mut Looked) {
        if self.aged_at.is_some_and(|at| (0..AGE).contains(&now.since(at))) {
            return;
        }
        self.aged_at = Some(now);
        let ids = |is_local: bool| {
            let sinks = self.sinks.iter().filter(move |(sink, _)| sink.is_local == is_local);
            sinks.map(|(sink, _)| sink.id.as_str())
        };
        let needed = |marks: &Marks, is_local: bool| -> Vec<Mark> {
            // Also what is not due yet: of what lasts, an earlier process may have told it.
            let due: BTreeMap<_, _> = self.watch.due().collect();
            let so: Vec<_> = self
                .so
                .iter()
                .map(|(key, so)| (key, due.get(key).copied().unwrap_or(so.since)))
                .collect();
            let each =
                ids(is_local).flat_map(|id| so.iter().map(move |(key, since)| (*key, *since, id)));
            each.filter_map(|(key, since, id)| {
                marks.find(Mark::of(key, since, id), key.kind, i64::MAX)
            })
            .collect()
        };
        let (shared, local) = (needed(&self.shared, false), needed(&self.local, true));
        looked.forgotten.extend(self.shared.age(now, |mark| shared.contains(&mark)));
        looked.forgotten.extend(self.local.age(now, |mark| local.contains(&mark)));
    }

    /// Decides whether the others are to be told something.
    fn speak(&mut self, now: Timestamp, looked: &mut Looked) {
        let names = |of: &dyn Fn(&Queue) -> bool| {
            let shared = self.sinks.iter().filter(|(sink, queue)| !sink.is_local && of(queue));
            let mut names: Vec<String> = shared.map(|(sink, _)| sink.id.clone()).collect();
            names.sort();
            names.dedup();
            names
        };
        let sinks = names(&|_| true);
        let kinds_of = |id: &String| {
            let same = self.sinks.iter().filter(|(sink, _)| !sink.is_local && sink.id == *id);
            same.fold(0, |kinds, (sink, _)| kinds | mask(&sink.rules))
        };
        let word = NoticesWord {
            kinds: sinks.iter().map(kinds_of).collect(),
            sinks,
            failing: names(&Queue::fails),
            ..NoticesWord::default()
        };
        let tells_on = self.told_at.map_or(now, |at| at.min(now).plus(TELL_ON));
        if self.heard_news && now < tells_on {
            looked.wake = earliest(looked.wake, Some(tells_on));
        }
        let is_news = self.own_news || self.word.as_ref() != Some(&word);
        let is_told_on = self.heard_news && now >= tells_on;
        if word.sinks.is_empty() || !(is_news || is_told_on) {
            return;
        }
        (self.own_news, self.heard_news, self.told_at) = (false, false, Some(now));
        self.word = Some(word.clone());
        looked.word = Some(word);
    }

    /// The marks that the others are to hear of.
    #[must_use]
    pub fn marks(&self, now: Timestamp) -> Telling {
        self.shared.telling(now)
    }

    /// Whoever hears now has heard nothing yet.
    pub fn begin_anew(&mut self) {
        self.word = None;
    }

    /// The marks of what the sink of this number is telling, each with whether it is of a local sink. They are on
    /// the disk before anybody hears of them.
    #[must_use]
    pub fn marks_of(&self, at: usize, number: u64) -> Vec<(Mark, bool)> {
        let Some((sink, queue)) = self.sinks.get(at) else { return Vec::new() };
        queue.marks_of(number).into_iter().map(|mark| (mark, sink.is_local)).collect()
    }

    /// What the sink of this number was to tell it has told.
    pub fn told(&mut self, at: usize, number: u64, now: Timestamp) {
        let Some((sink, queue)) = self.sinks.get_mut(at) else { return };
        let marks = if sink.is_local { &mut self.local } else { &mut self.shared };
        for mark in queue.told(number, now) {
            marks.add(mark, now);
        }
        self.own_news |= !sink.is_local;
    }

    /// It could not; `after`: it wants to be left alone for so many milliseconds.
    pub fn failed(&mut self, at: usize, number: u64, view: &View<'_>, after: Option<i64>) {
        if at >= self.sinks.len() {
            return;
        }
        let others = others(&self.tellers(at, view));
        let View { now: at_now, is_quiet, is_ready, .. } = *view;
        let now = Now { at: at_now, rank: PerKind::default(), others, is_quiet, is_ready };
        self.sinks[at].1.failed(number, now, after);
    }

    /// How the sink of this number stands.
    #[must_use]
    pub fn standing(&self, at: usize, view: &View<'_>) -> Standing {
        let Some((sink, queue)) = self.sinks.get(at) else { return Standing::default() };
        let (waiting, held) = queue.waiting();
        let tellers = self.tellers(at, view);
        let first = |kind: &NoticeKind| Some((*kind, telling(&tellers, *kind).next()?));
        Standing {
            hosts: tellers.len(),
            tellers: sink.rules.events.iter().filter_map(first).collect(),
            fails: queue.fails(),
            waiting,
            held,
            lost: queue.lost(),
        }
    }

    /// What was held back, by sink: it must not be lost with this process.
    #[must_use]
    pub fn held(&self) -> Vec<(String, Held)> {
        let of = |(sink, queue): &(Sink, Queue)| {
            let id = sink.id.clone();
            queue.held().into_iter().map(move |held| (id.clone(), held)).collect::<Vec<_>>()
        };
        self.sinks.iter().flat_map(of).collect()
    }
}

/// Of these those who tell such.
fn telling(tellers: &[(NodeId, u64)], kind: NoticeKind) -> impl Iterator<Item = NodeId> {
    let such = tellers.iter().filter(move |(_, kinds)| kinds & bit(kind) != 0);
    such.map(|(node, _)| *node)
}

/// How many of them tell each kind besides one.
fn others(tellers: &[(NodeId, u64)]) -> PerKind<usize> {
    per_kind(|kind| telling(tellers, kind).count().saturating_sub(1))
}

fn per_kind<T>(of: impl Fn(NoticeKind) -> T) -> PerKind<T> {
    NoticeKind::ALL.map(of)
}

fn mask(rules: &Rules) -> u64 {
    rules.events.iter().fold(0, |kinds, kind| kinds | bit(*kind))
}

const fn bit(kind: NoticeKind) -> u64 {
    1 << kind as u64
}
