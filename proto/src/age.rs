//! Ages and lengths of time as people read them, in a terminal and on the page alike.
//!
//! Ages come from two instants, so whoever draws decides what `now` is. Not here: times of day, which
//! depend on where the reader is.

use crate::Timestamp;

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// Milliseconds beyond which an age is none: no harness is that old.
pub const AGES: i64 = 20 * 365 * DAY;

/// `3s`, `14m`, `2h`, `3d`; the future counts as now.
#[must_use]
pub fn age(now: Timestamp, then: Timestamp) -> String {
    let ms = now.since(then).max(0);
    let (unit, letter) = unit(ms);
    format!("{}{letter}", ms / unit)
}

/// Milliseconds with their two largest units: `41s`, `2m 5s`, `2h 41m`, `3d 4h`.
#[must_use]
pub fn span(ms: i64) -> String {
    let ms = ms.max(0);
    let (large, letter) = unit(ms);
    let (small, small_letter) = unit(ms % large);
    match (ms % large) / small {
        0 => format!("{}{letter}", ms / large),
        _ if large == SECOND => format!("{}s", ms / SECOND),
        rest => format!("{}{letter} {rest}{small_letter}", ms / large),
    }
}

/// The largest unit that fits, and its letter.
fn unit(ms: i64) -> (i64, char) {
    match ms {
        ms if ms < MINUTE => (SECOND, 's'),
        ms if ms < HOUR => (MINUTE, 'm'),
        ms if ms < DAY => (HOUR, 'h'),
        _ => (DAY, 'd'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: Timestamp = Timestamp::from_millis(1_795_000_000_000);

    #[test]
    fn ages_have_one_unit_and_spans_two() {
        for (ms, one, two) in [
            (-5_000, "0s", "0s"),
            (3_999, "3s", "3s"),
            (59_999, "59s", "59s"),
            (125_000, "2m", "2m 5s"),
            (14 * MINUTE, "14m", "14m"),
            (HOUR, "1h", "1h"),
            (2 * HOUR + 41 * MINUTE, "2h", "2h 41m"),
            (DAY - 1, "23h", "23h 59m"),
            (3 * DAY + 4 * HOUR, "3d", "3d 4h"),
        ] {
            assert_eq!((age(T.plus(ms), T).as_str(), span(ms).as_str()), (one, two));
        }
        for ms in [i64::MIN, i64::MAX] {
            assert!(!age(T, Timestamp::from_millis(ms)).is_empty() && !span(ms).is_empty());
        }
    }
}
