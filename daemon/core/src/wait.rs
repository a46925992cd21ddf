//! Whether what somebody waits for has come true: by a session's row, and by its events.
//!
//! Both count, for a turn may be over and another begun before anybody looks. Not here: which events are looked at,
//! and who is told.

use std::time::Duration;

use regex_automata::{meta::Regex, util::syntax};
use rrd_proto::{
    EndReason, Event, EventKind, Harness, Session, Status, Timestamp, TurnResult,
    wait::{Came, Outcome, Until},
};

use crate::{
    harness::{argument, is_question},
    redact::shown,
};

/// Bytes that a pattern's automata may take, each.
const MAX_SIZE: usize = 1 << 20;

/// What is waited for, ready to be looked for.
#[derive(Debug)]
pub struct Condition {
    until: Until,
    pattern: Option<Regex>,
}

impl Condition {
    /// Makes it ready.
    ///
    /// # Errors
    /// Why a pattern is none, in one line.
    pub fn new(until: Until) -> Result<Self, String> {
        let pattern = match &until {
            Until::Match(pattern) => Some(compile(pattern)?),
            _ => None,
        };
        Ok(Self { until, pattern })
    }

    /// Whether bodies of events have to be looked at.
    #[must_use]
    pub fn reads_text(&self) -> bool {
        self.pattern.is_some()
    }

    /// What the row alone tells.
    #[must_use]
    pub fn by_row(&self, row: &Session) -> Option<Outcome> {
        let has_ended = row.status == Status::Ended;
        let crashed = row.end_reason == Some(EndReason::Crashed);
        let failed = matches!(row.turn_result, Some(TurnResult::Error | TurnResult::RateLimited));
        let is_true = match self.until {
            Until::Idle => row.status == Status::Idle || has_ended && !crashed,
            Until::Ended => has_ended,
            Until::Waiting => row.asks_person(),
            Until::Error => failed || crashed,
            Until::Match(_) => false,
        };
        let came = match (is_true, has_ended) {
            (true, _) => Came::True,
            (false, true) => Came::Ended,
            (false, false) => return None,
        };
        Some(outcome(came, row, None))
    }

    /// How much longer it is worth the wait until the transcript says how the turn ended that the row says is over.
    #[must_use]
    pub fn is_told_more(&self, row: &Session, now: Timestamp) -> Option<Duration> {
        let is_open =
            self.until == Until::Idle && row.status == Status::Idle && row.turn_result.is_none();
        let since = row.status_since.filter(|_| is_open)?;
        let since = Duration::from_millis(u64::try_from(now.since(since)).ok()?);
        AHEAD.checked_sub(since).filter(|left| !left.is_zero())
    }

    /// Whether this event of a session of that harness is what is waited for.
    #[must_use]
    pub fn by_event(&self, harness: &Harness, event: &Event) -> bool {
        // Answered by now, perhaps: it was asked.
        let is_asked = || {
            let tool = event.tool.as_deref().unwrap_or_default();
            event.kind == EventKind::ToolCall && is_question(harness, tool)
        };
        match &self.until {
            Until::Idle => event.kind == EventKind::TurnEnd,
            Until::Ended => event.kind == EventKind::Ended,
            Until::Waiting => event.kind == EventKind::PermissionRequest || is_asked(),
            Until::Error => event.kind == EventKind::Error,
            Until::Match(_) => self.pattern.as_ref().is_some_and(|pattern| says(event, pattern)),
        }
    }
}

/// What tells that a turn is over may be ahead of its transcript by so long, which alone tells how it ended.
const AHEAD: Duration = Duration::from_secs(1);

/// What comes of several, of which `any` or all must come true; `None` while it is not over.
#[must_use]
pub fn of_all(any: bool, each: impl Iterator<Item = Option<Came>> + Clone) -> Option<Came> {
    let (mut came, mut all) = (each.clone(), each.clone());
    let (is_true, is_over) = match any {
        true => (came.any(|came| came == Some(Came::True)), all.all(|came| came.is_some())),
        // One that cannot come true any more is enough.
        false => (
            all.all(|came| came == Some(Came::True)),
            came.any(|came| came.is_some_and(|came| came != Came::True)),
        ),
    };
    let mut unknown = each.filter(|came| *came == Some(Came::Unknown));
    match is_true {
        true => Some(Came::True),
        false => is_over.then(|| unknown.next().flatten().unwrap_or(Came::Ended)),
    }
}

/// That it came true with this event. How a turn ended is what its end says: the row may be of another moment.
#[must_use]
pub fn by_event(row: &Session, event: &Event) -> Outcome {
    let ended = event.text.parse().ok().filter(|_| event.kind == EventKind::TurnEnd);
    let outcome = outcome(Came::True, row, Some(event.seq));
    Outcome { turn_result: ended.or(outcome.turn_result), ..outcome }
}

/// That nobody knows the session where it should be.
#[must_use]
pub fn unknown() -> Outcome {
    Outcome { came: Came::Unknown, status: None, turn_result: None, end_reason: None, seq: None }
}

/// Whether a line of what the event says, as a terminal shows it, has it.
fn says(event: &Event, pattern: &Regex) -> bool {
    let is_in = |text: &str| pattern.is_match(&*shown(text));
    // In the event's own line the ends of other lines are blanks, and which of them nobody can tell: it counts only
    // where there is nothing else.
    let Some(body) = &event.body else { return is_in(&event.text) };
    if is_in(&body.text) {
        return true;
    }
    // What a tool was given is JSON; its most telling argument stands for it.
    event.kind == EventKind::ToolCall
        && match argument(&body.text).filter(|_| body.cut.is_none()) {
            Some(argument) => is_in(&argument),
            None => is_in(&event.text),
        }
}

fn outcome(came: Came, row: &Session, seq: Option<u64>) -> Outcome {
    let Session { status, turn_result, end_reason, .. } = row;
    Outcome { came, status: Some(*status), turn_result: *turn_result, end_reason: *end_reason, seq }
}

fn compile(pattern: &str) -> Result<Regex, String> {
    let config = Regex::config().nfa_size_limit(Some(MAX_SIZE)).hybrid_cache_capacity(MAX_SIZE);
    // As ripgrep's: Unicode, unless a part of it says otherwise.
    let syntax = syntax::Config::new().utf8(false).multi_line(true);
    let built = Regex::builder().configure(config).syntax(syntax).build(pattern);
    built.map_err(|error| match error.syntax_error() {
        Some(error) => {
            let said = error.to_string();
            let last = said.lines().last().unwrap_or("no pattern");
            last.strip_prefix("error: ").unwrap_or(last).to_owned()
        }
        None => "it is too large; (?-u:\\w) is \\w in ASCII, and small".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use rrd_proto::{Body, SessionKey, WaitingFor};

    use super::*;

    fn row(status: Status) -> Session {
        let key = SessionKey { harness: Harness::Codex, session_id: "x".to_owned() };
        Session { status, ..Session::unknown(key) }
    }

    fn event(kind: EventKind, text: &str) -> Event {
        Event {
            seq: 7,
            at: None,
            kind,
            text: text.to_owned(),
            tool: None,
            tool_call_id: None,
            is_error: false,
            truncated: false,
            direction: None,
            message_id: None,
            withdrawn: false,
            body: None,
            subagent: None,
        }
    }

    fn came(until: &str, row: &Session) -> Option<Came> {
        let condition = Condition::new(until.parse().unwrap()).unwrap();
        condition.by_row(row).map(|outcome| outcome.came)
    }

    #[test]
    fn what_a_row_tells() {
        use Came::{Ended, True};
        let crashed = Session { end_reason: Some(EndReason::Crashed), ..row(Status::Ended) };
        let asks = Session { waiting_for: Some(WaitingFor::Permission), ..row(Status::Waiting) };
        let waits = Session { waiting_for: Some(WaitingFor::Session), ..row(Status::Waiting) };
        let failed = Session { turn_result: Some(TurnResult::RateLimited), ..row(Status::Idle) };
        for (until, row, is) in [
            ("idle", row(Status::Executing), None),
            ("idle", row(Status::Idle), Some(True)),
            ("idle", row(Status::Ended), Some(True)),
            ("idle", crashed.clone(), Some(Ended)),
            ("ended", row(Status::Idle), None),
            ("ended", crashed.clone(), Some(True)),
            ("waiting", asks, Some(True)),
            ("waiting", waits, None),
            ("waiting", row(Status::Ended), Some(Ended)),
            ("error", failed, Some(True)),
            ("error", crashed, Some(True)),
            ("error", row(Status::Idle), None),
            ("match=x", row(Status::Idle), None),
            ("match=x", row(Status::Ended), Some(Ended)),
        ] {
            assert_eq!(came(until, &row), is, "{until} {row:?}");
        }
    }

    #[test]
    fn what_an_event_tells() {
        let is = |until: &str, kind, text: &str| {
            let condition = Condition::new(until.parse().unwrap()).unwrap();
            condition.by_event(&Harness::Codex, &event(kind, text))
        };
        let asks = |harness, tool: &str| {
            let call = Event { tool: Some(tool.to_owned()), ..event(EventKind::ToolCall, "?") };
            Condition::new(Until::Waiting).unwrap().by_event(&harness, &call)
        };
        assert!(asks(Harness::ClaudeCode, "AskUserQuestion") && asks(Harness::Hermes, "clarify"));
        assert!(!asks(Harness::ClaudeCode, "Bash") && !asks(Harness::Codex, "clarify"));
        assert!(is("idle", EventKind::TurnEnd, "") && !is("idle", EventKind::Message, "idle"));
        assert!(is("match=^done: [0-9]+$", EventKind::Message, "so\ndone: 12\nmore"));
        assert!(!is("match=^done", EventKind::Message, "not done"));
        assert!(is("match=größe", EventKind::Message, "die größe"));
    }

    /// Whether the pattern is found in an event that says this; its own line is `line`.
    fn is_said(pattern: &str, kind: EventKind, line: &str, whole: &str) -> bool {
        let condition = Condition::new(Until::Match(pattern.to_owned())).unwrap();
        let body = Body { text: whole.to_owned(), size: whole.len() as u64, cut: None };
        let event = Event { body: Some(body), ..event(kind, line) };
        condition.by_event(&Harness::ClaudeCode, &event)
    }

    #[test]
    fn a_pattern_is_looked_for_in_lines_as_they_were_said() {
        for (pattern, text, is) in [
            ("^tests: .* passed$", "tests: 3 of 9 failed\nlint passed", false),
            ("^DONE .* ok$", "DONE with errors\nnot ok", false),
            ("zq.*zr", "zq\nzr", false),
            ("^zq zr$", "zq\n zr", false),
            ("^zr$", "zq\nzr", true),
            (r"^zq\nzr$", "zq\nzr", true),
        ] {
            use EventKind::{Error, Message, PeerMessage, Prompt, SubagentStop};
            for kind in [Message, Prompt, Error, PeerMessage, SubagentStop] {
                let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
                assert_eq!(is_said(pattern, kind, &line, text), is, "{kind:?} {pattern} {text:?}");
            }
        }
    }

    #[test]
    fn a_call_says_its_argument_in_lines() {
        let is = |pattern: &str, line: &str, input: &str| {
            is_said(pattern, EventKind::ToolCall, line, input)
        };
        let input =
            r#"{"description":"x","command":"make tests &&\n  echo \u001b[1mall\u001b[0m passed"}"#;
        let line = "make tests && echo all passed";
        assert!(!is("^make .* passed$", line, input) && !is("&& echo", line, input));
        assert!(is("^make tests", line, input) && is("^  echo all passed$", line, input));
        assert!(is(r#""description":"x""#, line, input), "as it is written");
        assert!(is("^git status$", "git status", r#"{"command":["git","status"]}"#));
        assert!(!is("^one two$", "one two", "one\ntwo") && is("^two$", "one two", "one\ntwo"));
        // No part of the input is the line.
        assert!(is("^a.rs, b.rs$", "a.rs, b.rs", "*** Update File: a.rs\n*** Add File: b.rs"));
        let body = Body { text: r#"{"command":"mak"#.to_owned(), size: 70_000, cut: Some(15) };
        let cut = Event { body: Some(body), ..event(EventKind::ToolCall, "make all") };
        let condition = Condition::new(Until::Match("^make all$".to_owned())).unwrap();
        assert!(condition.by_event(&Harness::Codex, &cut));
    }

    #[test]
    fn a_pattern_is_looked_for_in_what_a_terminal_shows() {
        for (pattern, text, is) in [
            ("^FAILED tests", "ok\n\u{1b}[31mFAILED\u{1b}[0m tests\n", true),
            ("^FAILED$", "\u{1b}[01;31m\u{1b}[KFAILED\u{1b}[m\u{1b}[K", true),
            ("^FAILED tests", "\u{9b}31mFAILED\u{9b}m tests", true),
            ("^see tests$", "see \u{1b}]8;;https://x/\u{7}tests\u{1b}]8;;\u{1b}\\", true),
            ("^see tests$", "see \u{9d}8;;https://x/\u{9c}tests\u{9d}8;;\u{9c}", true),
            ("^DONE$", "\u{1b}(B\u{1b}7\u{1b}=DONE\u{1b}8", true),
            ("^DONE$", "\u{1b}[3\u{18}DONE", true),
            ("https", "see \u{1b}]8;;https://x/\u{7}tests\u{1b}]8;;\u{7}", false),
            ("31m", "\u{1b}[31mFAILED\u{1b}[0m", false),
            // Nothing ends it: nothing is swallowed.
            ("^DONE$", "\u{1b}]0;title\nDONE", true),
            ("^⚠\u{fe0f} é", "\u{1b}[33m⚠\u{fe0f}\u{1b}[0m é", true),
        ] {
            for kind in [EventKind::Message, EventKind::ToolResult] {
                assert_eq!(is_said(pattern, kind, "", text), is, "{pattern} {text:?}");
            }
        }
    }

    #[test]
    fn how_a_turn_ended_its_end_tells_and_the_row_may_not_yet() {
        let at = Timestamp::from_millis;
        let busy = row(Status::Executing);
        let end = by_event(&busy, &event(EventKind::TurnEnd, "interrupted"));
        assert_eq!(end.turn_result, Some(TurnResult::Interrupted));
        let failed = Session { turn_result: Some(TurnResult::Error), ..row(Status::Idle) };
        let error = by_event(&failed, &event(EventKind::Error, "completed"));
        assert_eq!(error.turn_result, Some(TurnResult::Error));
        let early = Session { status_since: Some(at(5_000)), ..row(Status::Idle) };
        let left = |until: Until, row: &Session, now| {
            Condition::new(until).unwrap().is_told_more(row, at(now)).map(|left| left.as_millis())
        };
        assert_eq!(left(Until::Idle, &early, 5_300), Some(700));
        assert_eq!(left(Until::Idle, &early, 6_000), None);
        assert_eq!(left(Until::Idle, &early, 4_000), None, "its clock is another one");
        assert_eq!(left(Until::Error, &early, 5_300), None);
        let known = Session { turn_result: Some(TurnResult::Completed), ..early.clone() };
        assert_eq!(left(Until::Idle, &known, 5_300), None);
        let busy = Session { status: Status::Executing, ..early };
        assert_eq!(left(Until::Idle, &busy, 5_300), None);
    }

    #[test]
    fn patterns_are_of_letters_and_not_of_bytes() {
        let is = |pattern: &str, text: &str| {
            let condition = Condition::new(Until::Match(pattern.to_owned())).unwrap();
            condition.by_event(&Harness::Codex, &event(EventKind::Message, text))
        };
        for (pattern, text) in [
            (r"(?i)čau\b", "ČAU"),
            (r"^.{3}$", "čau"),
            (r"(?i)STRASSE|É", "é"),
            ("[äö]+", "xäöx"),
            ("ä{2}$", "ää"),
            (r"\p{L}", "ж"),
            (r"\p{Greek}\p{Emoji}", "λ🐎"),
            (r"\bx\w+ä", "xüä"),
            (r"^[^a]$", "ä"),
            (r"(?-u:\xc3)", "ä"),
        ] {
            assert!(is(pattern, text), "{pattern} {text}");
        }
        assert!(!is(r"^.{4}$", "čau") && !is(r"\bau", "čau") && !is(r"(?-u:\w)", "č"));
    }

    #[test]
    fn what_is_no_pattern_is_said_so() {
        let new = |pattern: &str| Condition::new(Until::Match(pattern.to_owned()));
        assert!(new("(").is_err() && new("[a-").is_err());
        let huge = format!("({})", "(x{100}){100}".repeat(50));
        assert!(new(&huge).is_err());
        for why in [new("(").unwrap_err(), new(&huge).unwrap_err()] {
            assert!(!why.contains('\n') && !why.is_empty(), "{why:?}");
        }
        assert!(new(r"\w{64}").unwrap_err().contains(r"(?-u:\w)"));
        assert!(new(r"(?-u:\w){64}").is_ok() && new(r"\b[0-9a-f]{64}\b").is_ok());
    }

    #[test]
    fn one_of_several_is_enough_or_all_are_needed() {
        let [yes, ended, unknown] = [Came::True, Came::Ended, Came::Unknown].map(Some);
        for (each, all, any) in [
            (&[None, None][..], None, None),
            (&[yes, None], None, yes),
            (&[yes, yes], yes, yes),
            (&[ended, None], ended, None),
            (&[unknown, None], unknown, None),
            (&[ended, unknown], unknown, unknown),
            (&[ended, ended], ended, ended),
            (&[yes, ended], ended, yes),
            (&[yes, unknown], unknown, yes),
        ] {
            assert_eq!(of_all(false, each.iter().copied()), all, "{each:?}");
            assert_eq!(of_all(true, each.iter().copied()), any, "{each:?}");
        }
    }
}
