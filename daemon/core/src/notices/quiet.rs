//! Quiet hours: from one minute of the day to another, by a clock on the wall.

use std::{fmt, str::FromStr};

/// Minutes of a day.
const DAY: u16 = 24 * 60;

/// From when to when nobody is to be disturbed; over midnight, where the end comes before the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quiet {
    from: u16,
    to: u16,
}

impl Quiet {
    /// Whether it is quiet in this minute of the day.
    #[must_use]
    pub const fn is(self, minute: u16) -> bool {
        match self.from <= self.to {
            true => self.from <= minute && minute < self.to,
            false => self.from <= minute || minute < self.to,
        }
    }

    /// Minutes until it is not, by a clock that is not set meanwhile.
    #[must_use]
    pub const fn left(self, minute: u16) -> u16 {
        (self.to + DAY - minute % DAY) % DAY
    }
}

impl FromStr for Quiet {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not like 22:00-07:00");
        let minute = |text: &str| -> Option<u16> {
            let (hour, minute) = text.trim().split_once(':')?;
            let is_number =
                |text: &str| text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
            let (hour, minute) =
                (Some(hour).filter(|h| is_number(h))?, Some(minute).filter(|m| is_number(m))?);
            let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
            (hour < 24 && minute < 60).then_some(hour * 60 + minute)
        };
        let (from, to) = text.split_once('-').ok_or_else(wrong)?;
        let (from, to) = (minute(from).ok_or_else(wrong)?, minute(to).ok_or_else(wrong)?);
        if from == to {
            return Err(format!("`{text}` ends when it begins"));
        }
        Ok(Self { from, to })
    }
}

impl fmt::Display for Quiet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to } = self;
        write!(f, "{:02}:{:02}-{:02}:{:02}", from / 60, from % 60, to / 60, to % 60)
    }
}
