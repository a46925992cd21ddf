//! *Why this status*: the evidence behind it, in one sentence.
//!
//! A status that cannot say where it comes from cannot be trusted, so each pair of status and source
//! has its words. They hold texts as the session has them: whoever shows the sentence makes it safe for where
//! it is shown. Not here: how the evidence is weighed; the daemon's core does that.

use crate::{
    EndReason, HostState, Issue, Session, Status, StatusSource, Timestamp, TurnResult, WaitingFor,
    age::span,
};

/// The sentence, without its full stop. `when` writes a time as its reader has it; where it gives none, the
/// sentence does without.
#[must_use]
pub fn why(
    session: &Session,
    now: Timestamp,
    when: impl Fn(Timestamp) -> Option<String>,
) -> String {
    let host = &session.host;
    let silent = session.host_seen_at.and_then(&when);
    let because = because(session, now, when);
    match (session.host_state, silent) {
        (HostState::Away, Some(at)) => {
            format!("{host} has been silent since {at}; its last word: {because}")
        }
        (HostState::Away, None) => format!("{host} is away; its last word: {because}"),
        _ => because,
    }
}

fn because(
    session: &Session,
    now: Timestamp,
    when: impl Fn(Timestamp) -> Option<String>,
) -> String {
    let harness = session.harness.as_str();
    let has = |kind: &str| session.issues.iter().any(|issue| issue.kind == kind);
    if session.status == Status::Ended
        && session.end_reason == Some(EndReason::Unknown)
        && has(Issue::SOURCE_GONE)
    {
        return "its transcript was deleted, and no process is known to go on with it".to_owned();
    }
    let process =
        session.pid.map_or_else(|| "its process".to_owned(), |pid| format!("process {pid}"));
    let since = session.status_since.and_then(&when);
    let since = since.map(|at| format!(" since {at}")).unwrap_or_default();
    let last = session.last_activity_at.map(|at| span(now.since(at)));
    let silence = last.unwrap_or_else(|| "a long time".to_owned());
    let end = match session.end_reason {
        Some(EndReason::Crashed) => "in the middle of a turn",
        _ => "after its last turn was over",
    };
    let result = match session.turn_result {
        Some(TurnResult::Completed) | None => "is over",
        Some(TurnResult::Error) => "ended with an error",
        Some(TurnResult::Interrupted) => "was interrupted by its user",
        Some(TurnResult::RateLimited) => "was stopped by a rate limit",
    };
    match (session.status_source, session.status) {
        (StatusSource::Registry, Status::Waiting) => {
            format!(
                "{harness}'s live registry says that {process} waits for {}{since}",
                wanted(session)
            )
        }
        (StatusSource::Registry, Status::Executing) => {
            format!("{harness}'s live registry says that {process} is busy{since}")
        }
        (StatusSource::Registry, Status::Idle) => {
            format!(
                "{harness}'s live registry says that {process} is at its prompt{since}; the last turn {result}"
            )
        }
        (StatusSource::Registry, Status::Ended) => {
            format!("the process that {harness}'s live registry names is gone; it left {end}")
        }
        (StatusSource::Declared, Status::Executing | Status::Idle | Status::Ended) => {
            format!("it said itself that it is {}{since}", session.status)
        }
        (StatusSource::Declared, Status::Waiting) => {
            let whom = session.waiting_on.as_deref().unwrap_or("another session");
            format!("it said itself that it waits for {whom}{since}")
        }
        (StatusSource::Hook, Status::Ended) => {
            format!("a hook of {harness} reported its end{since}")
        }
        (StatusSource::Hook, Status::Waiting) => {
            format!("a hook of {harness} reported that it waits for {}{since}", wanted(session))
        }
        (StatusSource::Hook, status) => format!("a hook of {harness} reported it {status}{since}"),
        (StatusSource::Lock, Status::Waiting) => {
            format!(
                "{process} holds the session's lock, and nothing has answered {}{since}",
                wanted(session)
            )
        }
        (StatusSource::Lock, Status::Executing) => {
            format!(
                "{process} holds the session's lock, and the transcript's last turn is open{since}"
            )
        }
        (StatusSource::Lock, Status::Idle) => {
            format!(
                "{process} holds the session's lock, and the transcript's last turn {result}{since}"
            )
        }
        (StatusSource::Lock, Status::Ended) => {
            let path = session.transcript_path.as_deref().unwrap_or_default();
            if path.ends_with(".db") || path.ends_with(".sqlite") {
                format!("no process has its database open any more; the last one left {end}")
            } else {
                format!("no process holds the session's lock any more; the last one left {end}")
            }
        }
        (StatusSource::OpenRecord, Status::Waiting) => {
            format!("the transcript asks for {} and holds no answer{since}", wanted(session))
        }
        (StatusSource::OpenRecord, Status::Executing) => match &session.activity {
            Some(activity) => {
                let tool = activity.tool.as_deref().unwrap_or("a request");
                let at = activity.since.and_then(&when);
                let at = at.map(|at| format!(" at {at}")).unwrap_or_default();
                let may_wait = match activity.may_wait {
                    true => "; it asks to leave its sandbox, so it may be waiting for a permission",
                    false => "",
                };
                format!("the transcript shows {tool} begun{at} and no result yet{may_wait}")
            }
            None => format!("the transcript's last turn is open{since}"),
        },
        (StatusSource::OpenRecord, Status::Idle) => {
            format!(
                "the transcript holds an open record, but nothing was added to it for {silence}"
            )
        }
        (StatusSource::OpenRecord, Status::Ended) => {
            "the transcript breaks off in an open record, and its process is gone".to_owned()
        }
        (StatusSource::StopReason, Status::Waiting) => {
            format!("the transcript's last turn ends asking for {}{since}", wanted(session))
        }
        (StatusSource::StopReason, Status::Executing) => {
            format!("the transcript's last message leaves its turn open{since}")
        }
        (StatusSource::StopReason, Status::Idle) => {
            format!("the transcript says that the last turn {result}{since}")
        }
        (StatusSource::StopReason, Status::Ended) => {
            format!("the transcript says that the session ended{since}")
        }
        (StatusSource::Pid, Status::Waiting) => {
            format!("{process} is alive, and nothing has answered {}{since}", wanted(session))
        }
        (StatusSource::Pid, Status::Executing) => {
            format!("{process} is alive, and its last turn is open{since}")
        }
        (StatusSource::Pid, Status::Idle) => {
            format!("{process} is alive, and its last turn {result}{since}")
        }
        (StatusSource::Pid, Status::Ended) => format!("its process is gone; it left {end}"),
        (StatusSource::Age, Status::Waiting | Status::Executing) => format!(
            "the transcript was written {silence} ago, and nothing tells whether its process lives"
        ),
        (StatusSource::Age, Status::Idle) => format!(
            "nothing was written for {silence} and nothing tells whether its process lives, so it no longer counts as at work"
        ),
        (StatusSource::Age, Status::Ended) => format!(
            "nothing was written for {silence} and nothing tells whether its process lives, so it counts as ended"
        ),
    }
}

fn wanted(session: &Session) -> String {
    let what = match (session.waiting_for, session.waiting_on.as_deref()) {
        (Some(WaitingFor::Permission), _) => "a permission".to_owned(),
        (Some(WaitingFor::Session), Some(other)) => format!("session {other}"),
        (Some(WaitingFor::Session), None) => "another session".to_owned(),
        (Some(WaitingFor::Input) | None, _) => "an answer".to_owned(),
    };
    match session.waiting_detail.as_deref() {
        Some(detail) if !detail.trim().is_empty() => format!("{what} ({detail})"),
        _ => what,
    }
}
