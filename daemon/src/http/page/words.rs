//! What a session is called, which group of the page it stands in, and its status in a sign and words.
//!
//! The same words as in the terminal. `app.js` has the same functions for rows that change. Not here:
//! markup, which is where the words are put.

use rrd_proto::{
    AGES, ChainEnd, EndReason, HostState, MirrorAlarm, Session, Status, Timestamp, TurnResult,
    WaitingFor,
};

use super::html::clean;

const HOUR: i64 = 3_600_000;
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

/// Where a host's mirror fails, how much is missing there, and why.
pub(super) fn alarm(alarm: &MirrorAlarm) -> String {
    let transcripts = alarm.transcripts_behind.map(|count| format!("{count} transcripts"));
    let behind = format!("{} parts behind", alarm.pending_parts);
    let said = [Some(&alarm.url), transcripts.as_ref(), Some(&behind), alarm.error.as_ref()];
    said.into_iter()
        .flatten()
        .filter(|said| !said.is_empty())
        .cloned()
        .collect::<Vec<_>>()
        .join(", ")
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
    if s.needs_person() || failed(s) {
        return Group::Needs;
    }
    match s.status {
        _ if s.host_state == HostState::Away => Group::Away,
        Status::Waiting | Status::Executing => Group::Executing,
        Status::Idle => Group::Idle,
        Status::Ended => Group::Ended,
    }
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
        Status::Waiting if s.needs_person() => "waiting",
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

/// One line of what it waits for, in the end, or does.
pub(super) fn what(s: &Session) -> String {
    let what = match s.status {
        _ if s.is_in_circle() => Some("waits in a circle: nobody in it can go on"),
        Status::Waiting if s.needs_person() => s.waiting_detail.as_deref(),
        Status::Waiting => return s.chain.as_ref().map(end).unwrap_or_default(),
        Status::Executing => s.activity.as_ref().map(|activity| activity.summary.as_str()),
        _ => None,
    };
    what.unwrap_or_default().to_owned()
}

/// `Publish (mac) needs permission: Bash: npm publish`
fn end(end: &ChainEnd) -> String {
    let name = end.title.as_deref().unwrap_or(&end.reference);
    let host = end.host.as_ref().map_or_else(String::new, |host| format!(" ({host})"));
    let detail = end.detail.as_ref().map_or_else(String::new, |detail| format!(": {detail}"));
    format!("{name}{host} {}{detail}", end.cause.words())
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

#[cfg(test)]
mod tests {
    use super::*;

    const T: Timestamp = Timestamp::from_millis(1_795_000_000_000);

    #[test]
    fn times_are_short() {
        assert_eq!(clock(T, T), "11:06 UTC");
        assert_eq!(clock(T.plus(-24 * HOUR), T), "17 Nov 11:06 UTC");
        for ms in [i64::MIN, i64::MAX] {
            assert!(!clock(Timestamp::from_millis(ms), T).is_empty());
        }
    }
}
