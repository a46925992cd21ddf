//! Moments as people name them: `02:14`, `14:02:31`, `2026-11-20 14:02`, RFC 3339, `-5m`; and `e7`, the
//! seventh event, which is that one also where its clock was set back.
//!
//! A time of day means the latest such time that the session has reached. Not here: which event that is.

use jiff::{
    ToSpan,
    civil::{DateTime, Time},
    tz::TimeZone,
};
use rrd_proto::Timestamp;

/// What may stand there.
const FORMS: &str = "02:14, 14:02:31, 2026-11-20 14:02, an RFC 3339 time, -5m, or e7 for event 7";

/// A moment that somebody named, not yet on the timeline of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Moment {
    At(Timestamp),
    Clock(Time),
    Local(DateTime),
    /// So many milliseconds before the end.
    Before(i64),
    /// The event with this seq.
    Event(u64),
}

impl Moment {
    /// Reads one; the error says what may stand there.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let at = Timestamp::parse(text).map(Self::At);
        let before = || {
            let length = rrd_proto::parse_duration(text.strip_prefix('-')?).ok()?;
            Some(Self::Before(i64::try_from(length.as_millis()).ok()?))
        };
        let event = || text.strip_prefix('e')?.parse::<u64>().ok()?.checked_sub(1).map(Self::Event);
        // "14" would be an hour to the calendar; here it is more likely a mistake.
        let clock = || text.contains(':').then(|| text.parse().ok())?.map(Self::Clock);
        let local = || text.contains(':').then(|| text.parse().ok())?.map(Self::Local);
        at.or_else(before)
            .or_else(local)
            .or_else(clock)
            .or_else(event)
            .ok_or_else(|| format!("no time is written like that; {FORMS} would be"))
    }

    /// When that is, for a session whose last event was at `last`; `None` where no calendar reaches.
    pub(crate) fn within(&self, last: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        match self {
            Self::At(at) => Some(*at),
            Self::Before(ms) => Some(last.plus(-ms)),
            Self::Event(_) => None,
            Self::Local(local) => instant(*local, zone),
            Self::Clock(time) => {
                let end = jiff::Timestamp::from_millisecond(last.as_millis()).ok()?;
                let date = end.to_zoned(zone.clone()).date();
                let today = instant(date.to_datetime(*time), zone)?;
                if today <= last {
                    return Some(today);
                }
                instant(date.checked_sub(1.day()).ok()?.to_datetime(*time), zone)
            }
        }
    }
}

fn instant(local: DateTime, zone: &TimeZone) -> Option<Timestamp> {
    let zoned = zone.to_ambiguous_zoned(local).compatible().ok()?;
    Some(Timestamp::from_millis(zoned.timestamp().as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(text: &str, last: &str) -> String {
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        let last = Timestamp::parse(last).unwrap();
        Moment::parse(text).unwrap().within(last, &zone).unwrap().to_string()
    }

    #[test]
    fn a_time_of_day_is_the_latest_the_session_reached() {
        // Its last event was at 03:30 there.
        let last = "2026-11-20T02:30:00.000Z";
        for (text, at) in [
            ("02:14", "2026-11-20T01:14:00.000Z"),
            ("03:30", "2026-11-20T02:30:00.000Z"),
            ("03:31", "2026-11-19T02:31:00.000Z"),
            ("14:02:31", "2026-11-19T13:02:31.000Z"),
            ("2026-11-18 14:02", "2026-11-18T13:02:00.000Z"),
            ("2026-11-18T14:02:31", "2026-11-18T13:02:31.000Z"),
            ("2026-11-18T14:02:31Z", "2026-11-18T14:02:31.000Z"),
            ("-5m", "2026-11-20T02:25:00.000Z"),
            (" -2h ", "2026-11-20T00:30:00.000Z"),
        ] {
            assert_eq!(is(text, last), at, "{text}");
        }
    }

    #[test]
    fn an_event_is_a_moment_whatever_the_clock_says() {
        assert_eq!(Moment::parse(" e7 ").unwrap(), Moment::Event(6));
        for text in ["e", "e0", "e-1", "e1.5", "e 7", "E7"] {
            assert!(Moment::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_told_what_is() {
        for text in ["", "14", "25:00", "noon", "5m", "--5m", "-5", "2026-11-20", "\u{1b}[2J"] {
            let error = Moment::parse(text).unwrap_err();
            assert!(error.contains("02:14, 14:02:31"), "{text}: {error}");
        }
    }

    #[test]
    fn no_instant_is_too_odd() {
        for last in [i64::MIN, i64::MAX, 0] {
            for text in ["02:14", "-5m", "2026-11-20 14:02"] {
                let moment = Moment::parse(text).unwrap();
                let _ = moment.within(Timestamp::from_millis(last), &TimeZone::UTC);
            }
        }
    }
}
