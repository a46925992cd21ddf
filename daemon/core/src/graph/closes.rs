//! The circle that a wait would close, spelt out from who asks to itself again.
//!
//! Who waits for one of several is in it only where none of them can go on, so each of those is told, too, with what
//! holds it up. Not here: who cannot go on ([`super::knots`]).

use std::cmp::Reverse;

use rrd_proto::{Link, Session};

use super::{Awaited, Waits, in_order, knots::Knots};

/// Sessions after which no more are named than what a text ends with: hardly more than two lines of a terminal.
const NAMED: usize = 10;

/// What nobody in it could go on with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Circle {
    /// `c waits for a, which waits for any of b (which waits for a) and c`, by refs.
    pub told: String,
    /// The refs in that, each once, the one that asks last.
    pub named: Vec<String>,
}

/// The circle that these links of a session would close.
#[must_use]
pub fn would_close(rows: &[Session], of: &str, mut links: Vec<Link>) -> Option<Circle> {
    let mut rows = rows.to_vec();
    let row = rows.iter_mut().find(|row| row.reference == of)?;
    // They are of one call, and of no other.
    let group =
        row.links.iter().map(|link| link.group).max().map_or(1, |last| last.saturating_add(1));
    links.iter_mut().for_each(|link| link.group = group);
    row.links.extend(links);
    let rows = in_order(&rows);
    let waits = Waits::new(&rows, &[]);
    let knots = Knots::of(&waits);
    let own = waits.number(of);
    if !knots.stuck[own] {
        return None;
    }
    let mut teller = Teller::new(&waits, &knots.stuck, own);
    let told = teller.tell(own, false);
    let mut named = teller.named;
    named.rotate_left(1);
    Some(Circle { told, named: named.into_iter().map(|at| waits.refs[at].to_owned()).collect() })
}

/// What holds one up.
enum Held {
    By(usize),
    ByAllOf(Vec<usize>),
}

struct Teller<'a> {
    waits: &'a Waits<'a>,
    stuck: &'a [bool],
    /// Steps from each to who asks, along what holds it up.
    far: Vec<usize>,
    /// Whose waits are told, or are about to be.
    met: Vec<bool>,
    /// In the order of the text.
    named: Vec<usize>,
}

impl<'a> Teller<'a> {
    fn new(waits: &'a Waits<'a>, stuck: &'a [bool], own: usize) -> Self {
        let (far, met) = (vec![usize::MAX; waits.len()], vec![false; waits.len()]);
        let mut teller = Self { waits, stuck, far, met, named: Vec::new() };
        teller.far[own] = 0;
        let (mut near, mut steps) = (vec![own], 0);
        while !near.is_empty() {
            steps += 1;
            let mut next = Vec::new();
            for (from, awaited) in near.iter().flat_map(|at| &waits.behind[*at]) {
                if teller.far[*from] == usize::MAX && teller.holds(*from, awaited) {
                    teller.far[*from] = steps;
                    next.push(*from);
                }
            }
            near = next;
        }
        teller
    }

    /// Whether it cannot go on for that one; of a group, for all of it.
    fn holds(&self, from: usize, awaited: &Awaited) -> bool {
        let is_all = || self.arms(from, awaited).all(|to| self.stuck[to]);
        self.stuck[from] && self.stuck[awaited.to] && is_all()
    }

    /// It alone, or all of its group.
    fn arms(&self, from: usize, awaited: &Awaited) -> impl Iterator<Item = usize> {
        let awaited = *awaited;
        let is_one = move |one: &&Awaited| match awaited.group {
            Some(_) => one.group == awaited.group,
            None => **one == awaited,
        };
        self.waits.of[from].iter().filter(is_one).map(|one| one.to)
    }

    /// By what leads back soonest; rather by one than by several.
    fn held(&self, at: usize) -> Option<Held> {
        let holding = self.waits.of[at].iter().filter(|one| self.holds(at, one));
        let first = holding.min_by_key(|one| (self.far[one.to], one.group, one.to))?;
        let mut arms: Vec<usize> = self.arms(at, first).collect();
        arms.sort_unstable();
        Some(match *arms {
            [one] => Held::By(one),
            _ => Held::ByAllOf(arms),
        })
    }

    /// It, and what holds it up until somebody is met whose waits are told elsewhere.
    fn tell(&mut self, from: usize, is_arm: bool) -> String {
        self.met[from] = true;
        let mut way = Vec::new();
        let mut held = self.held(from);
        while let Some(Held::By(next)) = held {
            way.push(next);
            let is_met = std::mem::replace(&mut self.met[next], true);
            held = if is_met { None } else { self.held(next) };
        }
        let mut told = self.name(from);
        let (first, then) = match is_arm {
            true => (" (which waits for ", ", which waits for "),
            false => (" waits for ", " waits for "),
        };
        let room = NAMED.saturating_sub(self.named.len()).max(1);
        let mut names = Vec::new();
        for (place, at) in (1..).zip(&way) {
            // The last one is what it comes to.
            if place < room || place == way.len() {
                names.push(self.name(*at));
            } else if place == room {
                names.push(format!("{} more", way.len() - room));
            }
        }
        told += first;
        told += &names.join(then);
        if let Some(Held::ByAllOf(arms)) = held {
            told += if way.is_empty() { "any of " } else { ", which waits for any of " };
            told += &self.any_of(arms);
        }
        told + if is_arm { ")" } else { "" }
    }

    /// Each with what holds it up, those last of whom that is told already.
    fn any_of(&mut self, mut arms: Vec<usize>) -> String {
        arms.sort_by_key(|at| (Reverse(self.met[*at]), self.far[*at], *at));
        let mut names = Vec::new();
        let mut others = 0;
        for arm in arms {
            if self.named.len() >= NAMED && (!self.met[arm] || !names.is_empty()) {
                others += 1;
            } else {
                names.push(if self.met[arm] { self.name(arm) } else { self.tell(arm, true) });
            }
        }
        names.reverse();
        match others {
            0 => {}
            1 => names.insert(0, "1 other".to_owned()),
            _ => names.insert(0, format!("{others} others")),
        }
        let last = names.pop().unwrap_or_default();
        if names.is_empty() { last } else { format!("{} and {last}", names.join(", ")) }
    }

    fn name(&mut self, at: usize) -> String {
        if !self.named.contains(&at) {
            self.named.push(at);
        }
        self.waits.refs[at].to_owned()
    }
}
