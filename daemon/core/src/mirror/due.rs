//! When something is uploaded, and how long a bucket that failed is left alone.

use std::time::Duration;

/// A part is uploaded as soon as so many bytes are new.
pub const MUCH: u64 = 8 << 20;

/// What an agent says while its turn goes on is uploaded so long after it began to be new, …
pub const AT_LAST: Duration = Duration::from_secs(60);

/// … and what it says at the turn's end once nothing more has come for so long, …
const QUIET: Duration = Duration::from_millis(300);

/// … or after so long: some harnesses write on for a while.
const SOON: Duration = Duration::from_secs(1);

/// A bucket that fails is asked again after so long at first, …
const FIRST: Duration = Duration::from_secs(1);

/// … and never later than this.
const LONGEST: Duration = Duration::from_secs(300);

/// How much longer it is until new records are uploaded: since when there are some, since when no more have
/// come, how many bytes they are, and whether the turn is still going on.
#[must_use]
pub fn wait(since: Duration, quiet: Duration, bytes: u64, turn_is_open: bool) -> Duration {
    if bytes >= MUCH {
        Duration::ZERO
    } else if turn_is_open {
        AT_LAST.saturating_sub(since)
    } else {
        QUIET.saturating_sub(quiet).min(SOON.saturating_sub(since))
    }
}

/// What another host brings of the same transcript is left to it for so long.
pub const LEFT: Duration = Duration::from_secs(60);

/// How much longer it is until it is looked whether another host has brought new records of the same transcript:
/// since when there are some, and the rest as for [`wait`], by which that host goes.
#[must_use]
pub fn left(since: Duration, quiet: Duration, turn_is_open: bool) -> Duration {
    match LEFT.checked_sub(since) {
        Some(left) => left + wait(Duration::ZERO, quiet.saturating_add(left), 0, turn_is_open),
        None => wait(since - LEFT, quiet, 0, turn_is_open),
    }
}

/// How long to leave a bucket alone after so many failures in a row, from 1. `chance` is anything: it keeps
/// several hosts from coming back at once. What the bucket itself asks for counts, if it is longer.
#[must_use]
pub fn back_off(failures: u32, chance: u64, asked: Option<Duration>) -> Duration {
    let whole = FIRST.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LONGEST);
    let half = whole / 2;
    let more = half.mul_f64((chance % 1000) as f64 / 1000.0);
    (half + more).max(asked.unwrap_or_default())
}

/// Whether to ask once more who writes a stream that the bucket took something of so long ago, where that is asked
/// every `apart`, or somewhat later.
///
/// Who takes it over looks at what is there, and then claims it. What came between the two it has not, and it counts
/// no more (`Reading::next_seq`): whoever brought it finds out by this, if it brings nothing else.
#[must_use]
pub fn is_asked_about(ago: Duration, apart: Duration) -> bool {
    (apart..apart * 5 / 2).contains(&ago)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_turns_end_goes_out_at_once_and_what_leads_to_it_later() {
        assert_eq!(wait(ms(0), ms(0), 100, false), ms(300));
        assert_eq!(wait(ms(900), ms(0), 100, false), ms(100), "though it goes on and on");
        assert_eq!(wait(ms(10_000), ms(0), 100, true), ms(50_000));
        assert_eq!(wait(ms(10), ms(0), MUCH, true), ms(0));
    }

    #[test]
    fn what_another_host_brings_is_looked_for_later_than_it_does() {
        for is_open in [false, true] {
            // However often it is asked, and however often something more comes.
            let (mut since, mut looks) = (ms(0), 0);
            loop {
                let quiet = ms(u64::try_from(since.as_millis()).unwrap() % 5_000);
                let more = left(since, quiet, is_open).min(ms(4_999));
                if more.is_zero() {
                    break;
                }
                (since, looks) = (since + more, looks + 1);
            }
            let brought = if is_open { AT_LAST } else { ms(0) };
            assert!((LEFT + brought..=LEFT + brought + SOON).contains(&since), "{since:?}");
            assert!(looks < 40, "{looks}");
        }
    }

    #[test]
    fn what_was_brought_is_asked_about_once_the_next_owner_has_claimed_it() {
        // However late each look is: at least once, after one look's time, and not for ever.
        for late in [0, 1, 20, 150] {
            for first in [0, 1, 300, 599, 600] {
                let looks = (0..10).map(|look| ms(first + look * (600 + late)));
                let asked: Vec<_> = looks.filter(|ago| is_asked_about(*ago, ms(600))).collect();
                assert!((1..=2).contains(&asked.len()), "{late} {first} {asked:?}");
            }
        }
    }

    #[test]
    fn who_fails_is_left_alone_for_longer_and_longer() {
        let mut last = Duration::ZERO;
        for failures in 1..40 {
            let least = back_off(failures, 0, None);
            assert!(least >= last && least <= LONGEST && back_off(failures, 999, None) < 2 * least);
            last = least;
        }
        assert_eq!(back_off(1, 0, Some(ms(7000))), ms(7000));
        assert_eq!(last, LONGEST / 2);
    }
}
