//! *Why this status*: the evidence behind it, in one sentence.
//!
//! A status that cannot say where it comes from cannot be trusted, so each pair of status and source
//! has its words. Not here: how the evidence is weighed; the daemon's core does that.

use rrd_proto::{
    EndReason, HostState, Issue, Session, Status, StatusSource, Timestamp, TurnResult, WaitingFor,
};

use crate::{clock, text::clean};

/// The sentence, without its full stop.
pub(crate) fn sentence(session: &Session, now: Timestamp) -> String {
    let because = because(session, now);
    match (session.host_state, session.host_seen_at) {
        (HostState::Away, Some(at)) => {
            let at = clock::short_time(at, now);
            format!("{} has been silent since {at}; its last word: {because}", clean(&session.host))
        }
        (HostState::Away, None) => {
            format!("{} is away; its last word: {because}", clean(&session.host))
        }
        _ => because,
    }
}

/// What could not be taken at face value, in one line.
pub(crate) fn issue(issue: &Issue) -> String {
    let which = issue.detail.as_deref().unwrap_or_default();
    match issue.kind.as_str() {
        Issue::ALIVE_TWICE => {
            format!(
                "alive twice: processes {which} have it open at once and write into each other's turns"
            )
        }
        Issue::COPIED => {
            format!(
                "copied transcript: the same session id also lies at {which}; only one row is shown"
            )
        }
        Issue::SOURCE_GONE => {
            format!("source gone: {which} no longer holds it; what was read before stands")
        }
        Issue::OUT_OF_SIGHT => {
            format!("out of sight: {which} cannot be looked at now; this is what was known last")
        }
        kind => {
            let first =
                issue.offset.map(|at| format!(", the first at byte {at}")).unwrap_or_default();
            format!("{} × {}{first}", kind.replace('_', " "), issue.count)
        }
    }
}

fn because(session: &Session, now: Timestamp) -> String {
    let harness = clean(session.harness.as_str());
    let has = |kind: &str| session.issues.iter().any(|issue| issue.kind == kind);
    if session.status == Status::Ended
        && session.end_reason == Some(EndReason::Unknown)
        && has(Issue::SOURCE_GONE)
    {
        return "its transcript was deleted, and no process is known to go on with it".to_owned();
    }
    let process =
        session.pid.map_or_else(|| "its process".to_owned(), |pid| format!("process {pid}"));
    let since = session.status_since.map(|at| clock::time_of_day(at, now));
    let since = since.map(|at| format!(" since {at}")).unwrap_or_default();
    let last = session.last_activity_at.map(|at| clock::span(now.since(at)));
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
                let tool = activity.tool.as_deref().map_or("a request".into(), clean);
                let at = activity.since.map(|at| format!(" at {}", clock::time_of_day(at, now)));
                let at = at.unwrap_or_default();
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
        (Some(WaitingFor::Session), Some(other)) => format!("session {}", clean(other)),
        (Some(WaitingFor::Session), None) => "another session".to_owned(),
        (Some(WaitingFor::Input) | None, _) => "an answer".to_owned(),
    };
    match session.waiting_detail.as_deref().map(clean) {
        Some(detail) if !detail.is_empty() => format!("{what} ({detail})"),
        _ => what,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        table::tests::{NOW, executing, session, waiting},
        text::is_unsafe,
    };

    const SOURCES: [StatusSource; 7] = [
        StatusSource::Registry,
        StatusSource::Hook,
        StatusSource::Lock,
        StatusSource::OpenRecord,
        StatusSource::StopReason,
        StatusSource::Pid,
        StatusSource::Age,
    ];

    #[test]
    fn every_status_has_its_own_words_for_every_source() {
        let mut said = std::collections::BTreeSet::new();
        for source in SOURCES {
            for status in [Status::Waiting, Status::Executing, Status::Idle, Status::Ended] {
                let mut one = session("b41f");
                one.status = status;
                one.status_source = source;
                let sentence = sentence(&one, NOW);
                assert!(!sentence.ends_with('.') && !sentence.contains("  "), "{sentence}");
                said.insert(sentence);
            }
        }
        // A waiting and an executing session of which only the age is known share one.
        assert_eq!(said.len(), SOURCES.len() * 4 - 1);
    }

    #[test]
    fn issues_say_what_they_mean() {
        let of = |kind: &str, offset, detail: Option<&str>| Issue {
            kind: kind.to_owned(),
            count: 2,
            offset,
            detail: detail.map(str::to_owned),
        };
        for (one, says) in [
            (of("damaged_line", Some(9), None), "damaged line × 2, the first at byte 9"),
            (
                of(Issue::ALIVE_TWICE, None, Some("7, 8")),
                "alive twice: processes 7, 8 have it open",
            ),
            (of(Issue::COPIED, None, Some("/b/x.jsonl")), "id also lies at /b/x.jsonl;"),
            (
                of(Issue::SOURCE_GONE, None, Some("/b/x.jsonl")),
                "gone: /b/x.jsonl no longer holds it",
            ),
            (
                of(Issue::OUT_OF_SIGHT, None, Some("/b/x.jsonl")),
                "/b/x.jsonl cannot be looked at now",
            ),
        ] {
            assert!(issue(&one).contains(says), "{}", issue(&one));
        }
    }

    #[test]
    fn the_evidence_is_named() {
        let mut one = waiting("b41f", "Bash: npm publish");
        one.status_source = StatusSource::Registry;
        one.pid = Some(4242);
        let says = sentence(&one, NOW);
        assert!(
            says.starts_with("claude-code's live registry says that process 4242 waits for a permission (Bash: npm publish) since "),
            "{says}"
        );
        let mut one = executing("7f2c", "Edit\u{1b}[2J");
        one.status_source = StatusSource::OpenRecord;
        let says = sentence(&one, NOW);
        assert!(says.contains("Edit[2J begun at ") && !says.chars().any(is_unsafe), "{says}");
        one.host_state = HostState::Away;
        assert!(sentence(&one, NOW).starts_with("mac is away; its last word: the transcript"));
    }
}
