//! What a rewritten transcript is made of: records that are in the bucket already, and new ones.
//!
//! A record is known by the hash of its line as the source has it, so another redactor makes no record a
//! new one. A line that is there twice counts twice.

use std::collections::{HashMap, VecDeque};

use serde::{Deserialize, Serialize};

/// A stretch of a transcript.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Records that earlier epochs have: from this one, counted over all of their parts, up to but not
    /// including that one.
    Keep(u64, u64),
    /// So many of this epoch's records.
    New(u64),
}

/// Compares what is there with a transcript as it is now, record by record.
///
/// Each record of the transcript is a new one or one that is there, and none that is there is used twice.
/// Of equal lines the earlier ones are used first.
#[derive(Debug)]
pub struct Compare {
    /// Where each record is, by the hash of its line.
    places: HashMap<u64, VecDeque<u64>>,
    steps: Vec<Step>,
}

impl Compare {
    /// With these records, as hashes of lines, in their order.
    #[must_use]
    pub fn with(there: &[u64]) -> Self {
        let mut places: HashMap<u64, VecDeque<u64>> = HashMap::new();
        for (at, hash) in (0..).zip(there) {
            places.entry(*hash).or_default().push_back(at);
        }
        Self { places, steps: Vec::new() }
    }

    /// Takes the transcript's next record; true of one that is not there.
    pub fn is_new(&mut self, hash: u64) -> bool {
        let place = self.places.get_mut(&hash).and_then(VecDeque::pop_front);
        match (place, self.steps.last_mut()) {
            (Some(place), Some(Step::Keep(_, to))) if *to == place => *to += 1,
            (Some(place), _) => self.steps.push(Step::Keep(place, place + 1)),
            (None, Some(Step::New(count))) => *count += 1,
            (None, _) => self.steps.push(Step::New(1)),
        }
        place.is_none()
    }

    /// How the transcript is made; `None` where it is what it was (these stretches of what is there, if that
    /// is known), and what follows that: then nothing was rewritten.
    #[must_use]
    pub fn steps(self, was: Option<&[(u64, u64)]>) -> Option<Vec<Step>> {
        let kept = match self.steps.split_last() {
            Some((Step::New(_), kept)) => kept,
            _ => &self.steps,
        };
        let is_same = was.is_some_and(|was| {
            was.iter().map(|(from, to)| Step::Keep(*from, *to)).eq(kept.iter().copied())
        });
        (!is_same).then_some(self.steps)
    }
}

/// The transcript as an epoch has it: `before` is what all earlier epochs have, `after` its own records.
/// Steps that lead nowhere give nothing, and are told: an owner's file is what somebody wrote.
#[must_use]
pub fn apply<T: Clone>(steps: &[Step], before: &[T], after: &[T]) -> (Vec<T>, bool) {
    let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
    let (mut out, mut taken, mut is_sound) = (Vec::new(), 0_usize, true);
    for step in steps {
        let records = match *step {
            Step::Keep(from, to) => before.get(place(from)..place(to)),
            Step::New(count) => {
                let from = taken.min(after.len());
                taken = taken.saturating_add(place(count));
                after.get(from..taken)
            }
        };
        is_sound &= records.is_some();
        out.extend_from_slice(records.unwrap_or_default());
    }
    out.extend_from_slice(after.get(taken..).unwrap_or_default());
    (out, is_sound)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is new, by its place, and how the transcript is made.
    fn compare(there: &[u64], now: &[u64]) -> (Option<Vec<Step>>, Vec<usize>) {
        let mut compare = Compare::with(there);
        let new = (0..now.len()).filter(|at| compare.is_new(now[*at])).collect();
        let all = (0, there.len() as u64);
        (compare.steps(Some(if there.is_empty() { &[] } else { std::slice::from_ref(&all) })), new)
    }

    #[test]
    fn what_was_cut_off_and_gone_on_with_differently() {
        let (steps, new) = compare(&[1, 2, 3, 4], &[1, 2, 5]);
        let steps = steps.unwrap();
        assert_eq!((&*steps, &*new), (&[Step::Keep(0, 2), Step::New(1)][..], &[2][..]));
        assert_eq!(apply(&steps, &[1, 2, 3, 4], &[5, 6]), (vec![1, 2, 5, 6], true));
    }

    #[test]
    fn steps_that_lead_nowhere_are_told() {
        for steps in [vec![Step::Keep(0, 9)], vec![Step::Keep(2, 1)], vec![Step::New(u64::MAX)]] {
            assert!(!apply(&steps, &[1, 2], &[3]).1, "{steps:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_made_of_the_steps_is_the_transcript(
            there in proptest::collection::vec(0_u64..12, 0..40),
            now in proptest::collection::vec(0_u64..12, 0..40),
            more in proptest::collection::vec(0_u64..12, 0..5),
        ) {
            let (steps, new) = compare(&there, &now);
            let mut after: Vec<u64> = new.iter().map(|at| now[*at]).collect();
            after.extend(&more);
            let made = match &steps {
                Some(steps) => apply(steps, &there, &after),
                None => ([there.clone(), after].concat(), true),
            };
            prop_assert_eq!(made, ([now.clone(), more].concat(), true));
            // As few new ones as there can be.
            let count = |of: &[u64], hash| of.iter().filter(|h| **h == hash).count();
            let least: usize = (0..12).map(|h| count(&now, h).saturating_sub(count(&there, h))).sum();
            prop_assert_eq!(new.len(), least);
        }
    }
}
