//! Times as people read them where they are: the time of day in a transcript, the date in `show`.
//!
//! The local time zone is looked
//! up when the first time of day is asked for: it costs more than the rest of a list. Not here: ages ([`rrd_proto::age`]), and JSON, which has
//! RFC 3339 in UTC.

use std::{
    sync::OnceLock,
    time::{SystemTime, UNIX_EPOCH},
};

use jiff::{Zoned, tz::TimeZone};
use rrd_proto::Timestamp;

/// This machine's clock.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
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
    let instant = jiff::Timestamp::from_millisecond(at.as_millis()).ok()?;
    Some(instant.to_zoned(zone()))
}

/// The local time zone.
pub(crate) fn zone() -> TimeZone {
    static ZONE: OnceLock<TimeZone> = OnceLock::new();
    ZONE.get_or_init(TimeZone::system).clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: Timestamp = Timestamp::from_millis(1_795_000_000_000);

    const DAY: i64 = 24 * 3_600_000;

    #[test]
    fn any_number_can_be_shown() {
        for ms in [i64::MIN, i64::MAX, 0] {
            let at = Timestamp::from_millis(ms);
            assert!(!date_time(at).is_empty());
            assert!(!time_of_day(at, T).is_empty());
        }
    }

    #[test]
    fn another_day_is_named() {
        assert_eq!(short_time(T, T).len(), "13:58".len());
        assert_eq!(short_time(T.plus(-3 * DAY), T).len(), "2026-11-20 13:58".len());
    }
}
