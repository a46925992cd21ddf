//! That this host's daemon is not there while somebody waits by it: said once, and that it is back.
//!
//! One that begins anew is there again before anybody wonders. Not here: looking for it ([`crate::connect`]).

use std::time::{Duration, Instant};

/// A daemon that begins anew needs so long.
const BRIEF: Duration = Duration::from_secs(2);

/// Whether the daemon is there, and what was said of that.
pub(crate) struct Absence {
    since: Option<Instant>,
    is_said: bool,
    say: fn(&str),
}

impl Absence {
    /// It is there. What is to be said of it is said so.
    pub(crate) fn said_by(say: fn(&str)) -> Self {
        Self { since: None, is_said: false, say }
    }

    /// It does not answer.
    pub(crate) fn begins_or_lasts(&mut self) {
        let since = *self.since.get_or_insert_with(Instant::now);
        if !self.is_said && since.elapsed() >= BRIEF {
            self.is_said = true;
            (self.say)("this host's daemon does not answer; waiting on until it is back");
        }
    }

    /// It answered.
    pub(crate) fn ends(&mut self) {
        self.since = None;
        if std::mem::take(&mut self.is_said) {
            (self.say)("this host's daemon is back; waiting on");
        }
    }

    /// It has not answered since.
    pub(crate) fn is_now(&self) -> bool {
        self.since.is_some()
    }
}
