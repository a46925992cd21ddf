//! Which status a session had when, told among its events: most waits leave no record of their own.
//!
//! Not here: who saw that (the daemon, while it ran), and how it lies on a timeline ([`crate::replay`]).

use std::collections::VecDeque;

use rrd_proto::{Stretch, Timestamp};

use crate::text::clean;

/// Stretches of status that are still to be told, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Statuses {
    left: VecDeque<Stretch>,
    /// When the newest that was taken began.
    newest: Option<Timestamp>,
}

impl Statuses {
    /// All of them.
    pub(crate) fn of(stretches: Vec<Stretch>) -> Self {
        let mut all = Self::default();
        all.take(stretches);
        all
    }

    /// Those that were not over by then, for whoever begins to look then.
    pub(crate) fn since(mut self, at: Option<Timestamp>) -> Self {
        let goes_on = |stretch: &Stretch| stretch.to.is_none_or(|to| at.is_none_or(|at| to > at));
        self.left.retain(goes_on);
        self
    }

    /// Takes those that began since.
    pub(crate) fn take(&mut self, stretches: Vec<Stretch>) {
        let newest = self.newest;
        let is_new = |stretch: &Stretch| newest.is_none_or(|newest| stretch.from > newest);
        self.left.extend(stretches.into_iter().filter(is_new));
        self.newest = self.left.back().map(|last| last.from).or(newest);
    }

    /// Those that began before what happened at that time, each once.
    pub(crate) fn before(&mut self, at: Option<Timestamp>) -> Vec<Stretch> {
        let began = at.map_or(0, |at| self.left.partition_point(|stretch| stretch.from < at));
        self.left.drain(..began).collect()
    }

    /// What is left.
    pub(crate) fn rest(&mut self) -> Vec<Stretch> {
        self.left.drain(..).collect()
    }
}

/// What it waited for, what about, and how long that was: `permission · Bash: npm publish · 4s`.
pub(crate) fn words(stretch: &Stretch) -> String {
    let lasted = stretch.to.map(|to| rrd_proto::span(to.since(stretch.from)));
    let about = stretch.detail.as_deref().map(|detail| clean(detail).into_owned());
    let parts = [stretch.waiting_for.map(|what| what.to_string()), about, lasted];
    let parts: Vec<String> = parts.into_iter().flatten().filter(|part| !part.is_empty()).collect();
    parts.join(" · ")
}

#[cfg(test)]
pub(crate) mod tests {
    use rrd_proto::{Status, WaitingFor};

    use super::*;

    pub(crate) fn stretch(from: i64, to: Option<i64>, status: Status) -> Stretch {
        let is_wait = status == Status::Waiting;
        Stretch {
            from: Timestamp::from_millis(from),
            to: to.map(Timestamp::from_millis),
            status,
            waiting_for: is_wait.then_some(WaitingFor::Permission),
            detail: is_wait.then(|| "Bash: npm\n\u{1b}[31mpublish".to_owned()),
        }
    }

    #[test]
    fn each_is_told_once_and_before_what_happened_in_it() {
        let at = |ms| Some(Timestamp::from_millis(ms));
        let begun =
            |told: Vec<Stretch>| told.iter().map(|s| s.from.as_millis()).collect::<Vec<_>>();
        let three = vec![
            stretch(0, Some(1_000), Status::Executing),
            stretch(1_000, Some(5_000), Status::Waiting),
            stretch(5_000, None, Status::Executing),
        ];
        let mut all = Statuses::of(three.clone());
        assert_eq!(begun(all.before(at(1_000))), [0]);
        assert!(all.before(None).is_empty() && all.before(at(500)).is_empty());
        assert_eq!(begun(all.before(at(6_000))), [1_000, 5_000]);
        let more = [three.clone(), vec![stretch(9_000, None, Status::Idle)]].concat();
        all.take(more.clone());
        assert_eq!(begun(all.rest()), [9_000]);
        all.take(more);
        assert!(all.rest().is_empty());
        assert_eq!(begun(Statuses::of(three.clone()).since(at(1_000)).rest()), [1_000, 5_000]);
        assert_eq!(begun(Statuses::of(three).since(None).rest()), [0, 1_000, 5_000]);
    }

    #[test]
    fn a_wait_says_what_for_and_how_long() {
        let wait = stretch(1_000, Some(5_000), Status::Waiting);
        assert_eq!(words(&wait), "permission · Bash: npm [31mpublish · 4s");
        assert_eq!(words(&stretch(1_000, None, Status::Idle)), "");
    }
}
