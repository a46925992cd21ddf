//! Times as people read them: ages in a list, the time of day in a transcript, the date in `show`.
//!
//! Ages come from two instants, so whoever draws decides what `now` is. The local time zone is looked
//! up when the first time of day is asked for: it costs more than the rest of a list. Not here: JSON,
//! which has RFC 3339 in UTC.

use std::{
    sync::OnceLock,
    time::{SystemTime, UNIX_EPOCH},
};

use jiff::{Zoned, tz::TimeZone};
use rrd_proto::Timestamp;

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// This machine's clock.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Milliseconds beyond which an age is none: no harness is that old.
pub(crate) const AGES: i64 = 20 * 365 * DAY;

/// `3s`, `14m`, `2h`, `3d`; the future counts as now.
pub(crate) fn age(now: Timestamp, then: Timestamp) -> String {
    let ms = now.since(then).max(0);
    let (unit, letter) = unit(ms);
    format!("{}{letter}", ms / unit)
}

/// The largest unit that fits, and its letter.
fn unit(ms: i64) -> (i64, char) {
    if ms < MINUTE {
        (SECOND, 's')
    } else if ms < HOUR {
        (MINUTE, 'm')
    } else if ms < DAY {
        (HOUR, 'h')
    } else {
        (DAY, 'd')
    }
}

/// A length of time with its two largest units: `41s`, `2m 5s`, `2h 41m`, `3d 4h`.
pub(crate) fn span(ms: i64) -> String {
    let ms = ms.max(0);
    let (large, letter) = unit(ms);
    let (small, small_letter) = unit(ms % large);
    match (ms % large) / small {
        0 => format!("{}{letter}", ms / large),
        _ if large == SECOND => format!("{}s", ms / SECOND),
        rest => format!("{}{letter} {rest}{small_letter}", ms / large),
    }
}

/// `13:58` in the local zone; with the date when it is not today's.
pub(crate) fn short_time(at: Timestamp, now: Timestamp) -> String {
    shown(at, now, "%H:%M", "%Y-%m-%d %H:%M")
}

/// `14:02:31` in the local zone; with the date when it is not today's.
pub(crate) fn time_of_day(at: Timestamp, now: Timestamp) -> String {
    shown(at, now, "%H:%M:%S", "%Y-%m-%d %H:%M:%S")
}

/// `2026-11-20 14:02:31` in the local zone.
pub(crate) fn date_time(at: Timestamp) -> String {
    local(at).map_or_else(|| at.to_string(), |at| at.strftime("%Y-%m-%d %H:%M:%S").to_string())
}

fn shown(at: Timestamp, now: Timestamp, today: &str, other_day: &str) -> String {
    match (local(at), local(now)) {
        (Some(at), Some(now)) if at.date() == now.date() => at.strftime(today).to_string(),
        (Some(at), _) => at.strftime(other_day).to_string(),
        (None, _) => at.to_string(),
    }
}

/// `None` for an instant no calendar reaches: a damaged record may hold any number.
fn local(at: Timestamp) -> Option<Zoned> {
    static ZONE: OnceLock<TimeZone> = OnceLock::new();
    let instant = jiff::Timestamp::from_millisecond(at.as_millis()).ok()?;
    Some(instant.to_zoned(ZONE.get_or_init(TimeZone::system).clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: Timestamp = Timestamp::from_millis(1_795_000_000_000);

    #[test]
    fn ages_have_one_unit() {
        for (ms, shown) in [
            (-5_000, "0s"),
            (3_999, "3s"),
            (59_999, "59s"),
            (14 * MINUTE, "14m"),
            (HOUR, "1h"),
            (DAY - 1, "23h"),
            (3 * DAY, "3d"),
        ] {
            assert_eq!(age(T.plus(ms), T), shown);
        }
    }

    #[test]
    fn spans_have_two() {
        for (ms, shown) in
            [(41_000, "41s"), (125_000, "2m 5s"), (2 * HOUR + 41 * MINUTE, "2h 41m"), (DAY, "1d")]
        {
            assert_eq!(span(ms), shown);
        }
    }

    #[test]
    fn any_number_can_be_shown() {
        for ms in [i64::MIN, i64::MAX, 0] {
            let at = Timestamp::from_millis(ms);
            assert!(!date_time(at).is_empty());
            assert!(!time_of_day(at, T).is_empty());
            assert!(!age(T, at).is_empty());
        }
    }

    #[test]
    fn another_day_is_named() {
        assert_eq!(short_time(T, T).len(), "13:58".len());
        assert_eq!(short_time(T.plus(-3 * DAY), T).len(), "2026-11-20 13:58".len());
    }
}
