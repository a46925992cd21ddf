//! When Claude Code deletes its own transcripts: by what its settings say, and by when a file was changed.
//!
//! Whenever it starts it deletes every transcript, of any project, that was not changed for
//! `cleanupPeriodDays` (30 where nothing is said), by the settings that hold in the directory in which it
//! starts: managed ones first, then the project's `settings.local.json`, its `settings.json`, and the
//! user's. So the shortest period that holds anywhere is the one that counts. What cannot be understood
//! is not guessed: releases differ in what 0 means, and one that cannot tell deletes nothing. Not here:
//! reading files; settings given on a command line, by a server or a registry, which nobody else sees.

use rrd_proto::Timestamp;
use serde_json::Value;

/// Where nothing is said, in milliseconds.
const DEFAULT: i64 = 30 * DAY;

const DAY: i64 = 86_400_000;
const HOUR: i64 = 3_600_000;

/// What one file of settings says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Said {
    /// Nothing, or it is not there.
    #[default]
    Nothing,
    /// How long transcripts are kept, in milliseconds.
    Kept(i64),
    /// Something that is not understood.
    Unclear,
}

/// What these settings say.
#[must_use]
pub fn said(settings: &[u8]) -> Said {
    let settings = settings.strip_prefix(b"\xef\xbb\xbf").unwrap_or(settings);
    let Ok(Value::Object(settings)) = serde_json::from_slice(settings) else {
        return Said::Unclear;
    };
    match settings.get("cleanupPeriodDays") {
        None => Said::Nothing,
        Some(days) => match days.as_f64() {
            // A hundred thousand years are for ever.
            Some(days) if days > 0.0 => Said::Kept((days.min(4e7) * DAY as f64) as i64),
            _ => Said::Unclear,
        },
    }
}

/// How long transcripts are kept, in milliseconds; `None` where that cannot be told. `projects` are those in
/// which it may be started: what `settings.local.json` and `settings.json` of each say.
#[must_use]
pub fn period(
    managed: Said,
    user: Said,
    projects: impl IntoIterator<Item = (Said, Said)>,
) -> Option<i64> {
    let of_user = match (managed, user) {
        (Said::Kept(period), _) => return Some(period),
        (Said::Unclear, _) | (Said::Nothing, Said::Unclear) => return None,
        (Said::Nothing, Said::Kept(period)) => period,
        (Said::Nothing, Said::Nothing) => DEFAULT,
    };
    let of_project = |(local, shared)| match (local, shared) {
        (Said::Kept(period), _) | (Said::Nothing, Said::Kept(period)) => Some(period),
        _ => None,
    };
    projects.into_iter().filter_map(of_project).chain([of_user]).min()
}

/// From when on a file is deleted that was changed then, to the hour.
#[must_use]
pub fn deleted_at(changed: Timestamp, period: i64) -> Timestamp {
    let at = changed.as_millis().saturating_add(period);
    Timestamp::from_millis(at - at.rem_euclid(HOUR))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_settings_say_is_a_number_of_days_or_unclear() {
        for (settings, expected) in [
            ("{}", Said::Nothing),
            ("\u{feff}{\"cleanupPeriodDays\": 7}", Said::Kept(7 * DAY)),
            ("{\"cleanupPeriodDays\": 0.5}", Said::Kept(DAY / 2)),
            ("{\"cleanupPeriodDays\": 1e300}", Said::Kept(40_000_000 * DAY)),
            ("{\"cleanupPeriodDays\": 0}", Said::Unclear),
            ("{\"cleanupPeriodDays\": -1}", Said::Unclear),
            ("{\"cleanupPeriodDays\": \"7\"}", Said::Unclear),
            ("{\"cleanupPeriodDays\": null}", Said::Unclear),
            ("{", Said::Unclear),
            ("[]", Said::Unclear),
            ("", Said::Unclear),
        ] {
            assert_eq!(said(settings.as_bytes()), expected, "{settings}");
        }
    }

    #[test]
    fn the_shortest_period_that_holds_anywhere_counts() {
        let days = |days: i64| Said::Kept(days * DAY);
        let none: [(Said, Said); 0] = [];
        assert_eq!(period(Said::Nothing, Said::Nothing, none), Some(DEFAULT));
        assert_eq!(period(Said::Nothing, days(90), none), Some(90 * DAY));
        // Managed settings hold everywhere.
        assert_eq!(period(days(365), days(1), [(days(2), days(3))]), Some(365 * DAY));
        // Of a project its local ones come first; one that says nothing has the user's.
        let projects = [(days(60), days(5)), (Said::Nothing, days(50)), Default::default()];
        assert_eq!(period(Said::Nothing, days(90), projects), Some(50 * DAY));
        // Where it cannot tell, nothing is deleted from there.
        assert_eq!(period(Said::Nothing, days(90), [(Said::Unclear, days(5))]), Some(90 * DAY));
        for (managed, user) in [(Said::Unclear, days(9)), (Said::Nothing, Said::Unclear)] {
            assert_eq!(period(managed, user, [(days(2), days(3))]), None);
        }
    }

    #[test]
    fn a_time_is_told_to_the_hour() {
        let at = deleted_at(Timestamp::from_millis(5 * HOUR + 1_234), DAY);
        assert_eq!(at, Timestamp::from_millis(DAY + 5 * HOUR));
        let _ = deleted_at(Timestamp::from_millis(i64::MAX), i64::MAX);
        assert_eq!(deleted_at(Timestamp::from_millis(-1), 0).as_millis(), -HOUR);
    }
}
