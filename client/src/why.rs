//! *Why this status* in a terminal, and what could not be taken at face value.
//!
//! Not here: the words of the former ([`rrd_proto::why`]), which the page has, too.

use rrd_proto::{Issue, Session, Timestamp};

use crate::{clock, text::clean};

/// The sentence, without its full stop.
pub(crate) fn sentence(session: &Session, now: Timestamp) -> String {
    let why = rrd_proto::why(session, now, |at| Some(clock::time_of_day(at, now)));
    clean(&why).into_owned()
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

#[cfg(test)]
mod tests {
    use rrd_proto::{HostState, Status, StatusSource};

    use super::*;
    use crate::{
        table::tests::{NOW, executing, session, waiting},
        text::is_unsafe,
    };

    const SOURCES: [StatusSource; 8] = [
        StatusSource::Registry,
        StatusSource::Hook,
        StatusSource::Lock,
        StatusSource::Declared,
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
