//! How far another host's clock is from this one's.
//!
//! Every datagram carries its sender's clock. What this host's clock says when it comes, less that, is the
//! difference and the time it was under way; the least of several is nearest to the difference. Two hosts'
//! clocks are never compared otherwise. Not here: reading clocks.

use rrd_proto::Timestamp;

/// So long a sample is thought of; clocks drift, and are set.
const WINDOW_MS: i64 = 60_000;

/// A sample so far above the least is no delay any more: a clock was set.
const STEP_MS: i64 = 10_000;

/// So many of those in a row are believed.
const STEPS: u8 = 3;

/// The difference to one host's clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Offset {
    /// The least of this window and of the one before.
    now: Option<i64>,
    before: Option<i64>,
    begun: Timestamp,
    stepped: u8,
}

impl Offset {
    /// Takes what a datagram told: its sender's clock, and this host's as it came.
    pub fn take(&mut self, theirs: Timestamp, ours: Timestamp) {
        let sample = ours.since(theirs);
        if self.ms().is_some_and(|least| sample.saturating_sub(least) > STEP_MS) {
            self.stepped += 1;
            if self.stepped < STEPS {
                return;
            }
            (self.now, self.before) = (None, None);
        }
        self.stepped = 0;
        let age = ours.since(self.begun);
        if !(0..WINDOW_MS).contains(&age) {
            self.before = self.now.filter(|_| age < 2 * WINDOW_MS);
            (self.now, self.begun) = (None, ours);
        }
        self.now = Some(self.now.map_or(sample, |least| least.min(sample)));
    }

    /// As it was known then; what is measured afterwards takes its place.
    #[must_use]
    pub fn known(ms: i64, then: Timestamp) -> Self {
        Self { now: Some(ms), before: None, begun: then, stepped: 0 }
    }

    /// What to add to a time of theirs to have it by this host's clock, in milliseconds; `None` before
    /// anything was heard.
    #[must_use]
    pub fn ms(&self) -> Option<i64> {
        self.now.into_iter().chain(self.before).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000 + ms)
    }

    #[test]
    fn the_least_delay_is_nearest() {
        let mut offset = Offset::default();
        assert_eq!(offset.ms(), None);
        // Their clock is twelve hours behind.
        let behind = 43_200_000;
        for (i, delay) in [300, 40, 7, 900, 12].into_iter().enumerate() {
            let sent = i as i64 * 1000;
            offset.take(at(sent - behind), at(sent + delay));
        }
        assert_eq!(offset.ms(), Some(behind + 7));
    }

    #[test]
    fn a_clock_that_was_set_is_followed() {
        let mut offset = Offset::default();
        let mut say = |set: i64, from: i64| {
            (from..from + 10).for_each(|s| offset.take(at(s * 1000 - set), at(s * 1000 + 5)));
            offset.ms()
        };
        assert_eq!(say(0, 0), Some(5));
        assert_eq!(say(3_600_000, 10), Some(3_600_005), "set back an hour");
        assert_eq!(say(-3_600_000, 20), Some(-3_599_995), "set two hours on");
        assert_eq!(say(-3_600_000 + 2_000, 200), Some(-3_597_995), "a drift, later");
    }
}
