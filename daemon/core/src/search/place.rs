//! Where an event has its row in the index, and how good a hit it is.
//!
//! Rows lie in the order of time, so that the newest come first without being sorted, and a time is a
//! bound of row numbers. The kind is in the number, too: it is known without looking at anything else.

use rrd_proto::{SearchKind, Timestamp};

/// Bits of a row number below those of the time.
const BITS_BELOW_TIME: u32 = BITS_OF_KIND + BITS_OF_REST;
const BITS_OF_KIND: u32 = 3;
const BITS_OF_REST: u32 = 18;
/// Milliseconds since the epoch: until the year 2109, and the number is positive.
const LAST: i64 = (1 << 42) - 1;

/// A row's number, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// When it happened.
    pub at: Timestamp,
    /// What it is.
    pub kind: SearchKind,
    /// What tells it from others of the same moment.
    rest: u32,
}

impl Place {
    /// Of the event `seq` of a session with this number.
    #[must_use]
    pub fn new(at: Timestamp, kind: SearchKind, session: i64, seq: u64) -> Self {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&session.to_le_bytes());
        bytes[8..].copy_from_slice(&seq.to_le_bytes());
        Self { at, kind, rest: crate::hash(&bytes) as u32 & ((1 << BITS_OF_REST) - 1) }
    }

    /// The next one of the same moment.
    #[must_use]
    pub const fn next(self) -> Self {
        Self { rest: (self.rest + 1) & ((1 << BITS_OF_REST) - 1), ..self }
    }

    /// Its number.
    #[must_use]
    pub fn number(self) -> i64 {
        let kind = SearchKind::ALL.iter().position(|kind| *kind == self.kind).unwrap_or(0);
        first_number(self.at) | (kind as i64) << BITS_OF_REST | i64::from(self.rest)
    }

    /// The same from its number; `None` for a kind that a newer release knows.
    #[must_use]
    pub fn of(number: i64) -> Option<Self> {
        let kind = (number >> BITS_OF_REST) & ((1 << BITS_OF_KIND) - 1);
        let kind = *SearchKind::ALL.get(usize::try_from(kind).ok()?)?;
        let rest = u32::try_from(number & ((1 << BITS_OF_REST) - 1)).ok()?;
        Some(Self { at: Timestamp::from_millis(number >> BITS_BELOW_TIME), kind, rest })
    }
}

/// The least number of what happened at or after `at`.
#[must_use]
pub fn first_number(at: Timestamp) -> i64 {
    at.as_millis().clamp(0, LAST) << BITS_BELOW_TIME
}

/// How good a hit is: by what it is, how long ago it was, and how much of it is what was looked for.
/// `found` counts the places in it, `len` is bytes of all that it says.
///
/// The middle term is BM25's (k1 = 1.2, b = 0.75) with a usual length of 400 bytes. Words are not weighed
/// by how rare they are, for all of them are in every hit. After a month something counts for half.
#[must_use]
pub fn score(kind: SearchKind, age_ms: i64, found: usize, len: usize, withdrawn: bool) -> f64 {
    const MONTH: f64 = 30.0 * 86_400_000.0;
    const USUAL: f64 = 400.0;
    let of_kind = match kind {
        SearchKind::Title => 1.3,
        SearchKind::Prompt => 1.2,
        SearchKind::Error => 1.0,
        SearchKind::Message | SearchKind::Command => 0.9,
        SearchKind::Path => 0.7,
    };
    let found = found as f64;
    let density = found * 2.2 / (found + 1.2 * (0.25 + 0.75 * len as f64 / USUAL));
    let age = age_ms.max(0) as f64 / MONTH;
    let standing = if withdrawn { 0.5 } else { 1.0 };
    of_kind * (1.0 + density) / (1.0 + age) * standing
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_newer_is_better_and_what_says_little_else_too() {
        let day = 86_400_000;
        let new = score(SearchKind::Message, day, 1, 100, false);
        for (worse, why) in [
            (score(SearchKind::Message, 3 * day, 1, 100, false), "older"),
            (score(SearchKind::Message, day, 1, 4_000, false), "longer"),
            (score(SearchKind::Path, day, 1, 100, false), "a mere path"),
            (score(SearchKind::Message, day, 1, 100, true), "withdrawn"),
        ] {
            assert!(worse < new, "{why}");
        }
        assert!(score(SearchKind::Message, day, 3, 100, false) > new);
        // A clock that is ahead gives no more than now does.
        assert_eq!(
            score(SearchKind::Prompt, -5, 1, 9, false),
            score(SearchKind::Prompt, 0, 1, 9, false)
        );
    }

    proptest! {
        #[test]
        fn rows_lie_in_the_order_of_time(
            a in 0..1i64 << 42, b in 0..1i64 << 42, kind in 0..SearchKind::ALL.len(), session in any::<i64>(), seq in any::<u64>()
        ) {
            let place = |at| Place::new(Timestamp::from_millis(at), SearchKind::ALL[kind], session, seq);
            let (one, other) = (place(a), place(b));
            prop_assert_eq!(Place::of(one.number()), Some(one));
            prop_assert_eq!(Place::of(one.next().number()), Some(one.next()));
            prop_assert!(one.number() >= first_number(one.at));
            if a != b {
                prop_assert_eq!(a < b, one.number() < other.number());
                prop_assert_eq!(a < b, one.number() < first_number(other.at));
            }
        }

        #[test]
        fn no_time_breaks_it(at in any::<i64>()) {
            let number = Place::new(Timestamp::from_millis(at), SearchKind::Title, 1, 1).number();
            prop_assert!(number >= 0 && Place::of(number).is_some());
        }
    }
}
