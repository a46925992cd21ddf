//! How far back somebody asks: the same words on the command line and over HTTP.
//!
//! Not here: clocks. Whoever needs `now` gives it.

use std::{str::FromStr, time::Duration};

use crate::Timestamp;

/// How far back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Since {
    /// So long ago.
    Ago(Duration),
    /// Then.
    At(Timestamp),
}

impl Since {
    /// The instant that is meant.
    #[must_use]
    pub fn at(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(at) => at,
            Self::Ago(ago) => now.plus(-i64::try_from(ago.as_millis()).unwrap_or(i64::MAX)),
        }
    }
}

impl FromStr for Since {
    type Err = &'static str;

    /// Reads what [`parse_duration`] reads, or an instant as [`Timestamp::parse`] does.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let ago = parse_duration(text).map(Self::Ago).ok();
        ago.or_else(|| Timestamp::parse(text).map(Self::At))
            .ok_or("neither a duration like 90s, 5m, 2h or 3d nor a time like 2026-11-20T10:00:00Z")
    }
}

/// Reads `90s`, `5m`, `2h`, `3d`; a bare number has no unit and is refused.
///
/// # Errors
/// A sentence that says what is wrong.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let wrong = || format!("`{text}` is not a duration like 90s, 5m, 2h or 3d");
    let unit = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3_600,
        Some('d') => 86_400,
        _ => return Err(wrong()),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    number.checked_mul(unit).map(Duration::from_secs).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        assert_eq!(parse_duration("2h"), Ok(Duration::from_secs(7_200)));
        for wrong in ["", "5", "m", "-5m", "5 parsecs", "99999999999999999999d"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
            assert!(wrong.parse::<Since>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn how_far_back_is_a_length_or_a_time() {
        let now = Timestamp::from_millis(1_795_000_000_000);
        let at = |text: &str| text.parse::<Since>().unwrap().at(now);
        assert_eq!(at("2h"), now.plus(-7_200_000));
        assert_eq!(Some(at("2026-11-20T10:00:00Z")), Timestamp::parse("2026-11-20T10:00:00Z"));
        assert_eq!(at("2026-11-20T10:00:00Z"), at("2026-11-20T11:00:00+01:00"));
        assert_eq!(
            at("10000000000000000000s"),
            Timestamp::from_millis(i64::MIN).max(now.plus(-i64::MAX))
        );
        assert!("yesterday".parse::<Since>().is_err());
    }
}
