//! Whether this host may judge the others' silence: a daemon that stood still heard nobody, whoever spoke.
//!
//! Stopped, or on a machine that slept: clocks may run on meanwhile, and what came may be lost. The others' silence
//! counts from when it runs again. Not here: who is silent ([`super::cluster`]).

use std::time::Duration;

use tokio::time::Instant;

/// Longer than two looks are apart by themselves ([`super::LOOK`], [`super::APART`]).
const STOOD_STILL: Duration = Duration::from_millis(2_500);

/// Who is silent for so long is missed: what [`super::cluster`] takes at most.
const SILENCE: Duration = Duration::from_secs(5);

/// When it ran last.
#[derive(Debug)]
pub(super) struct Pace {
    ran: Instant,
    judges_from: Instant,
}

impl Pace {
    pub(super) fn begin() -> Self {
        let now = Instant::now();
        Self { ran: now, judges_from: now }
    }

    /// It runs; true when it stood still until just now.
    pub(super) fn runs(&mut self) -> bool {
        let now = Instant::now();
        let stood_still = now.duration_since(self.ran) > STOOD_STILL;
        self.ran = now;
        if stood_still {
            self.judges_from = now + SILENCE;
        }
        stood_still
    }

    /// Whoever is silent by now was so while it ran.
    pub(super) fn may_judge(&self) -> bool {
        Instant::now() >= self.judges_from
    }
}
