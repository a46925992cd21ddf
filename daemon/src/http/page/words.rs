//! What a session is called, which group of the page it stands in, and its status in a sign and words.
//!
//! The same words as in the terminal. `app.js` has the same functions for rows that change. Not here:
//! markup, which is where the words are put.

use rrd_proto::{
    EndReason, HostState, Session, Status, StatusSource, Timestamp, TurnResult, WaitingFor,
};

use super::html::clean;

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// An age beyond this is none: no harness is that old.
const AGES: i64 = 20 * 365 * DAY;
/// So near, a time of day needs no date.
const TIME_ALONE: i64 = 16 * HOUR;

/// The groups of the page, in their order; the words are the ids of its sections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Group {
    /// Waits for a person, or failed.
    Needs,
    /// A turn is running, or it waits for another session.
    Executing,
    /// Its user's move.
    Idle,
    /// Over, and not by an accident.
    Ended,
    /// On a host that is away: its last word.
    Away,
}

impl Group {
    pub(super) const ALL: [Self; 5] =
        [Self::Needs, Self::Executing, Self::Idle, Self::Ended, Self::Away];

    pub(super) const fn id(self) -> &'static str {
        match self {
            Self::Needs => "needs",
            Self::Executing => "executing",
            Self::Idle => "idle",
            Self::Ended => "ended",
            Self::Away => "away",
        }
    }
}

pub(super) fn group(s: &Session) -> Group {
    if waits_for_someone(s) || failed(s) {
        return Group::Needs;
    }
    match s.status {
        _ if s.host_state == HostState::Away => Group::Away,
        Status::Waiting | Status::Executing => Group::Executing,
        Status::Idle => Group::Idle,
        Status::Ended => Group::Ended,
    }
}

/// What the big number counts.
pub(super) fn waits_for_someone(s: &Session) -> bool {
    s.status == Status::Waiting && s.waiting_for != Some(WaitingFor::Session)
}

/// Somebody should have a look: of late it crashed, or its turn did not come to its end by itself.
pub(super) fn failed(s: &Session) -> bool {
    let how = matches!(s.turn_result, Some(TurnResult::Error | TurnResult::RateLimited));
    s.active && (crashed(s) || s.status == Status::Idle && how)
}

fn crashed(s: &Session) -> bool {
    s.status == Status::Ended && s.end_reason == Some(EndReason::Crashed)
}

pub(super) fn sign(s: &Session) -> &'static str {
    match s.status {
        _ if s.host_state == HostState::Away => "◌",
        Status::Waiting => "●",
        Status::Executing => "◐",
        _ if crashed(s) || failed(s) => "✕",
        Status::Idle => "○",
        Status::Ended => "·",
    }
}

/// The class of a row: what it is coloured by.
pub(super) fn class(s: &Session) -> &'static str {
    match s.status {
        Status::Waiting if waits_for_someone(s) => "waiting",
        Status::Waiting => "blocked",
        Status::Executing => "executing",
        _ if crashed(s) || failed(s) => "failed",
        Status::Idle => "idle",
        Status::Ended => "ended",
    }
}

/// The status in words: the part that a narrow row may leave out, and the rest.
pub(super) fn status(s: &Session) -> (&'static str, String) {
    if s.host_state == HostState::Away {
        return ("", s.status.to_string());
    }
    let plain = |words: &str| ("", words.to_owned());
    match s.status {
        Status::Waiting => match (s.waiting_for, &s.waiting_on) {
            (Some(WaitingFor::Session), Some(on)) => ("", format!("waiting · on {on}")),
            (Some(what), _) => ("", format!("waiting · {what}")),
            (None, _) => plain("waiting"),
        },
        Status::Executing => match s.activity.as_ref() {
            Some(activity) => match &activity.tool {
                // Nobody wrote down whether it is allowed.
                Some(tool) if activity.may_wait => ("", format!("executing? · {tool}")),
                Some(tool) => ("executing · ", tool.clone()),
                None => plain("executing"),
            },
            None => plain("executing"),
        },
        Status::Idle => match s.turn_result {
            Some(TurnResult::Error) => plain("idle · failed"),
            Some(TurnResult::Interrupted) => plain("idle · interrupted"),
            Some(TurnResult::RateLimited) => plain("idle · rate limited"),
            Some(TurnResult::Completed) | None => plain("idle"),
        },
        Status::Ended if crashed(s) => plain("crashed"),
        Status::Ended => plain("ended"),
    }
}

/// One line of what it waits for, or does.
pub(super) fn what(s: &Session) -> &str {
    let what = match s.status {
        Status::Waiting if waits_for_someone(s) => s.waiting_detail.as_deref(),
        Status::Executing => s.activity.as_ref().map(|activity| activity.summary.as_str()),
        _ => None,
    };
    what.unwrap_or_default()
}

/// Since when the status holds; of a tool at work, since when it is.
pub(super) fn since(s: &Session, now: Timestamp) -> Option<Timestamp> {
    let tool = s.activity.as_ref().filter(|a| s.status == Status::Executing && a.tool.is_some());
    let since = tool.and_then(|a| a.since).or(s.status_since).or(s.last_activity_at);
    since.filter(|since| now.since(*since) < AGES)
}

/// Its title, else what it does, else that it has none.
pub(super) fn title(s: &Session) -> String {
    let does = s.activity.as_ref().map(|activity| activity.summary.as_str());
    let given = [s.title.as_deref(), does].into_iter().flatten().map(clean);
    given.into_iter().find(|title| !title.is_empty()).unwrap_or_else(|| "(untitled)".to_owned())
}

/// What names a row in the page: who wrote it, harness and id.
pub(super) fn key(s: &Session, session_id: &str) -> String {
    format!("{}/{}/{session_id}", s.node_id.as_deref().unwrap_or_default(), s.harness)
}

/// `3s`, `14m`, `2h`, `3d`; the future counts as now.
pub(super) fn age(now: Timestamp, then: Timestamp) -> String {
    let (ms, unit, letter) = unit(now.since(then));
    format!("{}{letter}", ms / unit)
}

/// The same with its two largest units: `2m 5s`.
pub(super) fn span(ms: i64) -> String {
    let (ms, large, letter) = unit(ms);
    let (rest, small, small_letter) = unit(ms % large);
    match rest / small {
        0 => format!("{}{letter}", ms / large),
        _ if large == SECOND => format!("{}{letter}", ms / large),
        count => format!("{}{letter} {count}{small_letter}", ms / large),
    }
}

fn unit(ms: i64) -> (i64, i64, char) {
    match ms.max(0) {
        ms if ms < MINUTE => (ms, SECOND, 's'),
        ms if ms < HOUR => (ms, MINUTE, 'm'),
        ms if ms < DAY => (ms, HOUR, 'h'),
        ms => (ms, DAY, 'd'),
    }
}

/// `13:58 UTC`, with the day when that is not clear; the script shows the reader's own zone.
pub(super) fn clock(at: Timestamp, now: Timestamp) -> String {
    let text = at.to_string();
    let (Some(time), 24) = (text.get(11..16), text.len()) else { return text };
    if now.since(at).abs() < TIME_ALONE {
        return format!("{time} UTC");
    }
    let names =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let number = |from: usize, to: usize| text.get(from..to).and_then(|n| n.parse::<usize>().ok());
    let month = number(5, 7).and_then(|month| names.get(month.wrapping_sub(1)));
    match (number(8, 10), month) {
        (Some(day), Some(month)) => format!("{day} {month} {time} UTC"),
        _ => text,
    }
}

/// Why it has its status: the evidence, in one sentence.
pub(super) fn why(s: &Session, now: Timestamp) -> String {
    let harness = s.harness.as_str();
    let process = s.pid.map_or_else(|| "its process".to_owned(), |pid| format!("process {pid}"));
    let turn = match s.turn_result {
        Some(TurnResult::Error) => "its last turn ended with an error",
        Some(TurnResult::Interrupted) => "its last turn was interrupted by its user",
        Some(TurnResult::RateLimited) => "its last turn was stopped by a rate limit",
        Some(TurnResult::Completed) | None => "its last turn is over",
    };
    let because = match (s.status_source, s.status) {
        (StatusSource::Registry, Status::Ended) => {
            format!("the process that {harness}'s live registry names is gone")
        }
        (StatusSource::Registry, status) => {
            format!("{harness}'s live registry says that {process} is {status}")
        }
        (StatusSource::Hook, _) => format!("a hook of {harness} reported it"),
        (StatusSource::Lock, Status::Idle | Status::Ended) => {
            format!("{turn}, as the session's lock and its transcript say")
        }
        (StatusSource::Lock, _) => {
            format!("{process} holds the session's lock, and its turn is open")
        }
        (StatusSource::OpenRecord, Status::Waiting) => {
            "the transcript holds a question that nothing has answered yet".to_owned()
        }
        (StatusSource::OpenRecord, _) => {
            "the transcript's last turn is open: nothing has answered its last record".to_owned()
        }
        (StatusSource::StopReason, _) => format!("the transcript says so: {turn}"),
        (StatusSource::Pid, Status::Ended) if crashed(s) => {
            format!("{process} is gone, in the middle of a turn")
        }
        (StatusSource::Pid, Status::Ended) => format!("{process} is gone, after its last turn"),
        (StatusSource::Pid, _) => format!("{process} is there"),
        (StatusSource::Age, _) => match s.last_activity_at {
            Some(at) => format!("nothing has been written for {}", span(now.since(at))),
            None => "nothing tells more".to_owned(),
        },
    };
    if s.host_state == HostState::Away {
        return format!("{} is away; its last word: {because}", s.host);
    }
    because
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: Timestamp = Timestamp::from_millis(1_795_000_000_000);

    #[test]
    fn times_are_short() {
        for (ms, one, two) in [
            (-5, "0s", "0s"),
            (59_999, "59s", "59s"),
            (125_000, "2m", "2m 5s"),
            (HOUR, "1h", "1h"),
            (3 * DAY + 4 * HOUR, "3d", "3d 4h"),
        ] {
            assert_eq!((age(T.plus(ms), T).as_str(), span(ms).as_str()), (one, two));
        }
        assert_eq!(clock(T, T), "11:06 UTC");
        assert_eq!(clock(T.plus(-DAY), T), "17 Nov 11:06 UTC");
        for ms in [i64::MIN, i64::MAX] {
            let at = Timestamp::from_millis(ms);
            assert!(!clock(at, T).is_empty() && !age(T, at).is_empty() && !span(ms).is_empty());
        }
    }
}
