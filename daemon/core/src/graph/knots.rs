//! Waits that end nowhere: which sessions cannot go on whatever happens, and the circles that it is for.
//!
//! Not here: why others do not go on ([`super::chains`]).

use std::collections::VecDeque;

use rrd_proto::HostState;

use super::{Waits, groups};

/// What cannot go on.
pub(super) struct Knots {
    /// By number.
    pub(super) stuck: Vec<bool>,
    /// Whom a stuck session waits for that is stuck, too: always the same one, so that the way ends in a circle.
    pub(super) next: Vec<Option<usize>>,
    /// Those that would be stuck if their hosts, which are away, were taken at their word. That may be over, so it
    /// counts for no circle.
    pub(super) away: Vec<bool>,
}

impl Knots {
    /// Every session that waits for nobody may go on, and so may, one after the other, those whose waits can
    /// come true. What is left cannot.
    pub(super) fn of(waits: &Waits<'_>) -> Self {
        // How many of them must come true yet, and for which groups one has.
        let mut left = waits.needs();
        let mut came: Vec<Vec<bool>> = waits.of.iter().map(|of| vec![false; groups(of)]).collect();
        let mut free: VecDeque<usize> = (0..waits.len()).filter(|at| left[*at] == 0).collect();
        let mut stuck = vec![true; waits.len()];
        free.iter().for_each(|at| stuck[*at] = false);
        let is_away =
            |at: &usize| waits.rows[*at].is_some_and(|row| row.host_state == HostState::Away);
        let mut away = vec![false; waits.len()];
        loop {
            let Some(to) = free.pop_front() else {
                free.extend((0..waits.len()).filter(|at| stuck[*at] && is_away(at)));
                if free.is_empty() {
                    break;
                }
                free.iter().for_each(|at| (stuck[*at], away[*at]) = (false, true));
                continue;
            };
            for (from, awaited) in &waits.behind[to] {
                let from = *from;
                let is_no_news = |group| std::mem::replace(&mut came[from][group], true);
                if awaited.group.is_some_and(is_no_news) {
                    continue;
                }
                left[from] = left[from].saturating_sub(1);
                if left[from] == 0 && stuck[from] {
                    stuck[from] = false;
                    free.push_back(from);
                }
            }
        }
        let next = (0..waits.len()).map(|at| {
            let others = waits.of[at].iter().map(|one| one.to);
            others.filter(|to| stuck[at] && stuck[*to]).min()
        });
        Self { next: next.collect(), stuck, away }
    }

    /// The circles that those ways end in, each from its least ref on.
    pub(super) fn circles(&self, waits: &Waits<'_>) -> Vec<Vec<usize>> {
        let mut seen = vec![0_usize; waits.len()];
        let mut circles = Vec::new();
        for from in (0..waits.len()).filter(|at| self.stuck[*at]) {
            let (mut at, mark) = (from, from + 1);
            while seen[at] == 0 {
                seen[at] = mark;
                match self.next[at] {
                    Some(next) => at = next,
                    None => break,
                }
            }
            if seen[at] != mark {
                continue;
            }
            let mut circle = vec![at];
            while let Some(next) = self.next[circle[circle.len() - 1]].filter(|n| *n != at) {
                circle.push(next);
            }
            let least = (0..circle.len()).min_by_key(|n| circle[*n]).unwrap_or(0);
            circle.rotate_left(least);
            circles.push(circle);
        }
        circles.sort();
        circles
    }
}
