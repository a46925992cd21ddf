//! What a session is doing, and on what evidence.
//!
//! | the log or registry says | alive | dead | unknown |
//! |---|---|---|---|
//! | turn open | executing | ended, `crashed` | executing; silent for `idle_timeout` ⇒ idle, source `age` |
//! | waiting for permission or input | waiting, never expires | ended, `crashed` | waiting; silent for 12 h ⇒ idle, source `age` |
//! | turn over | idle | ended, `exit` | idle; silent for 24 h ⇒ ended, `unknown` |
//!
//! Evidence, best first: the harness's registry, a hook, an OS lock, an open record, a stop reason,
//! the pid, age. A pure function of its arguments: a row changes by the passing of time alone without
//! anything having to tick. Not here: finding the evidence.
//!
//! A hook is as good as the registry but speaks only once, so its word holds until the transcript has a
//! later one. What a later word is, is a question of what it says: a line that comes late is none, nor
//! is bookkeeping.

use std::time::Duration;

use rrd_proto::{EndReason, Status, StatusSource, Timestamp, TurnResult, WaitingFor};

use crate::{
    fold::{Fold, OpenTool, Turn},
    hook::{HookState, HookTurn, Hooked},
    line::{one_line, plain},
    live::{Ask, Evidence, Liveness, LivenessBy, RegistryState},
};

/// A question nobody answers for this long is no longer believed, unless the process is known to live.
const WAITING_EXPIRES_MS: i64 = 12 * 3_600_000;

/// A session silent for this long, of which nothing tells whether it lives, has ended.
const SILENCE_ENDS_MS: i64 = 24 * 3_600_000;

/// A turn that only a hook says is open: its transcript follows within this, or there is no turn. (A
/// prompt that was taken back before its answer, or that another hook refused, leaves no record.)
const LOG_FOLLOWS_MS: i64 = 30_000;

/// What is still written this long after a session was left belongs to its leaving.
const LEAVING_MS: i64 = 10_000;

/// A crashed or failed session stays in the list for this long.
const FAILED_SHOWN_MS: i64 = 3_600_000;

/// Characters of what a session waits for.
const DETAIL_TEXT: usize = 160;

/// What was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The status.
    pub status: Status,
    /// Since when.
    pub since: Option<Timestamp>,
    /// The evidence that won.
    pub source: StatusSource,
    /// For a waiting session: what for.
    pub waiting_for: Option<WaitingFor>,
    /// One line of it.
    pub waiting_detail: Option<String>,
    /// How the last turn ended, unless one is open.
    pub turn_result: Option<TurnResult>,
    /// Why it ended.
    pub end_reason: Option<EndReason>,
}

/// Decides.
#[must_use]
pub fn decide(fold: &Fold, evidence: &Evidence, now: Timestamp, idle_timeout: Duration) -> Verdict {
    // Unanswered for too long, it is refused; a session that is over asks nothing.
    let ask = evidence.ask.as_ref().filter(|ask| ask.until > now && fold.ended.is_none());
    let verdict = match (evidence.liveness, ask) {
        (Liveness::Dead | Liveness::Unknown, None) if evidence.archived => archived(fold),
        (Liveness::Dead, ask) => dead(fold, evidence, ask.is_some()),
        (Liveness::Alive | Liveness::Unknown, Some(ask)) => asking(ask),
        (Liveness::Alive, None) => alive(fold, evidence, now),
        (Liveness::Unknown, None) => unknown(fold, evidence, now, idle_timeout),
    };
    if fold.is_subagent() && verdict.status == Status::Idle {
        // A delegate has no user whose move it could be: it has handed back its work, or was dropped.
        let end_reason =
            if verdict.source == StatusSource::Age { EndReason::Unknown } else { EndReason::Exit };
        return Verdict { status: Status::Ended, end_reason: Some(end_reason), ..verdict };
    }
    verdict
}

/// Whether `list` shows it without flags.
#[must_use]
pub fn is_active(
    verdict: &Verdict,
    is_subagent: bool,
    last_activity: Option<Timestamp>,
    now: Timestamp,
    idle_timeout: Duration,
) -> bool {
    // A record from the future is as far away as one from the past; a session that has written nothing
    // yet is as recent as its process's word.
    let silent =
        last_activity.or(verdict.since).map_or(i64::MAX, |at| now.since(at).saturating_abs());
    if is_subagent {
        return matches!(verdict.status, Status::Executing | Status::Waiting);
    }
    let failed = verdict.end_reason == Some(EndReason::Crashed)
        || matches!(verdict.turn_result, Some(TurnResult::Error | TurnResult::RateLimited));
    match verdict.status {
        Status::Executing | Status::Waiting => true,
        Status::Idle => silent <= millis(idle_timeout) || (failed && silent <= FAILED_SHOWN_MS),
        Status::Ended => failed && silent <= FAILED_SHOWN_MS,
    }
}

/// Put away by its harness or on a person's word, which is an end like any other that is written down.
fn archived(fold: &Fold) -> Verdict {
    Verdict {
        turn_result: turn_result(fold),
        end_reason: Some(EndReason::Exit),
        ..Verdict::new(Status::Ended, fold.ended.or(fold.last_activity), StatusSource::StopReason)
    }
}

/// The harness has it in writing that somebody is asked.
fn asking(ask: &Ask) -> Verdict {
    Verdict {
        waiting_for: Some(WaitingFor::Permission),
        waiting_detail: Some(detail(&ask.wants)),
        ..Verdict::new(Status::Waiting, Some(ask.since), StatusSource::Registry)
    }
}

fn alive(fold: &Fold, evidence: &Evidence, now: Timestamp) -> Verdict {
    from_registry(fold, evidence).unwrap_or_else(|| {
        from_hook(fold, evidence.hook.as_ref(), now).unwrap_or_else(|| {
            let mut verdict = from_log(fold);
            if matches!(evidence.by, LivenessBy::Lock | LivenessBy::RunLock) {
                verdict.source = StatusSource::Lock;
            }
            verdict
        })
    })
}

fn dead(fold: &Fold, evidence: &Evidence, asks: bool) -> Verdict {
    if fold.ended.is_some() {
        return from_log(fold);
    }
    let frozen = asks
        || matches!(
            evidence.registry,
            Some(
                RegistryState::Busy
                    | RegistryState::WaitingPermission
                    | RegistryState::WaitingInput
            )
        );
    // A hook's word makes no dead process alive, but it may know how far it had come.
    let hooked = evidence.hook.as_ref().and_then(|hook| from_hook(fold, Some(hook), hook.last));
    let open = match hooked.as_ref().map(|hooked| hooked.status) {
        Some(Status::Ended) => return hooked.unwrap_or_else(|| from_log(fold)),
        Some(Status::Executing | Status::Waiting) => true,
        Some(Status::Idle) => false,
        None => matches!(fold.turn(), Turn::Open { .. }) && !fold.finished,
    };
    let crashed = frozen || open;
    let source = match evidence.by {
        LivenessBy::Registry => StatusSource::Pid,
        LivenessBy::Lock | LivenessBy::RunLock => StatusSource::Lock,
    };
    Verdict {
        end_reason: Some(if crashed { EndReason::Crashed } else { EndReason::Exit }),
        turn_result: turn_result(fold),
        ..Verdict::new(Status::Ended, fold.last_activity, source)
    }
}

fn unknown(fold: &Fold, evidence: &Evidence, now: Timestamp, idle_timeout: Duration) -> Verdict {
    let hook = evidence.hook.as_ref();
    let verdict = from_registry_of_unknown(fold, evidence)
        .or_else(|| from_hook(fold, hook, now))
        .unwrap_or_else(|| from_log(fold));
    if verdict.status == Status::Ended {
        return verdict;
    }
    // A clock set back is no silence, but nobody sets it back by days: such a record says as little as
    // one that old. One without a time proves no work.
    let said = hook.map(|hook| hook.last).max(evidence.registry_written);
    let last = fold.last_activity.max(said).max(fold.run_at());
    let silent = match last {
        Some(at) if at.since(now) > SILENCE_ENDS_MS => at.since(now),
        Some(at) => now.since(at).max(0),
        None if verdict.status == Status::Executing => millis(idle_timeout).saturating_add(1),
        None => 0,
    };
    let limit = match verdict.status {
        Status::Executing => millis(idle_timeout),
        Status::Waiting => WAITING_EXPIRES_MS,
        Status::Idle => SILENCE_ENDS_MS,
        // Written down: no silence makes it less so.
        Status::Ended => return verdict,
    };
    if silent <= limit {
        return verdict;
    }
    let aged = |status| Verdict {
        turn_result: turn_result(fold),
        ..Verdict::new(status, last, StatusSource::Age)
    };
    if silent > SILENCE_ENDS_MS {
        return Verdict { end_reason: Some(EndReason::Unknown), ..aged(Status::Ended) };
    }
    aged(Status::Idle)
}

/// The registry's word, if it has one that this release knows.
fn from_registry(fold: &Fold, evidence: &Evidence) -> Option<Verdict> {
    let said = |status| Verdict::new(status, evidence.registry_since, StatusSource::Registry);
    let waiting = |waiting_for, open: Option<&OpenTool>| Verdict {
        waiting_for: Some(waiting_for),
        waiting_detail: wants(evidence)
            .or_else(|| dialog(fold, evidence))
            .or_else(|| open.map(describe)),
        ..said(Status::Waiting)
    };
    Some(match evidence.registry.as_ref()? {
        RegistryState::Busy => {
            let since = match fold.turn() {
                Turn::Open { since } => since,
                Turn::Unknown | Turn::Over { .. } => None,
            };
            Verdict { since: since.or(evidence.registry_since), ..said(Status::Executing) }
        }
        // Several at once are asked about one after the other; what has answered is open no more.
        RegistryState::WaitingPermission => {
            waiting(WaitingFor::Permission, fold.open_tools.first())
        }
        RegistryState::WaitingInput => {
            waiting(WaitingFor::Input, fold.open_question().or(fold.open_tools.first()))
        }
        RegistryState::Idle => Verdict { turn_result: turn_result(fold), ..said(Status::Idle) },
        RegistryState::Unknown(_) => return None,
    })
}

/// The registry's word where nothing tells whether its process lives: the entry may have been left
/// behind, so the transcript's word counts once it is later and says otherwise.
fn from_registry_of_unknown(fold: &Fold, evidence: &Evidence) -> Option<Verdict> {
    let later = |at: Option<Timestamp>| at.is_some() && at > evidence.registry_since;
    let overtaken = match (evidence.registry.as_ref()?, fold.turn()) {
        // No turn ends while it asks, and nobody at the prompt is asked anything.
        (
            RegistryState::WaitingPermission | RegistryState::WaitingInput,
            Turn::Over { since, .. },
        ) => later(since),
        (RegistryState::Idle, Turn::Open { since }) => later(since),
        _ => fold.ended.is_some() || fold.finished,
    };
    from_registry(fold, evidence).filter(|_| !overtaken)
}

/// The hooks' word, unless the transcript has a later one.
pub(crate) fn from_hook(fold: &Fold, hook: Option<&Hooked>, now: Timestamp) -> Option<Verdict> {
    let hook = hook?;
    // A delegate's dialog is compared with the delegate's transcript, by whoever knows both.
    if let Some(wait) = hook.waits.iter().find(|wait| wait.agent.is_some() || wait.stands(fold)) {
        return Some(Verdict {
            waiting_for: Some(wait.waiting_for),
            waiting_detail: wait.detail().or_else(|| fold.open_tools.first().map(describe)),
            ..Verdict::new(Status::Waiting, Some(wait.since), StatusSource::Hook)
        });
    }
    let HookTurn { state, at, since } = hook.turn?;
    let followed = fold.last_word().is_some_and(|word| word >= at);
    let said = |status| Verdict::new(status, Some(since), StatusSource::Hook);
    match (state, fold.turn()) {
        (HookState::Ended, _) => {
            let went_on = fold.last_word().is_some_and(|word| word.since(at) > LEAVING_MS);
            let turn_result = turn_result(fold);
            (!went_on).then(|| Verdict {
                end_reason: Some(EndReason::Exit),
                turn_result,
                ..said(Status::Ended)
            })
        }
        (_, Turn::Over { since: Some(over), .. }) if over >= at => None,
        (HookState::Open, Turn::Over { .. }) => {
            (now.since(at) <= LOG_FOLLOWS_MS).then(|| said(Status::Executing))
        }
        (HookState::Background, Turn::Over { .. }) => Some(said(Status::Executing)),
        _ if followed => None,
        (HookState::Open | HookState::Background, turn) => {
            let since = match turn {
                Turn::Open { since } => since,
                Turn::Unknown | Turn::Over { .. } => None,
            };
            let said = said(Status::Executing);
            Some(Verdict { since: since.or(said.since), ..said })
        }
        (HookState::Over(result), _) => Some(Verdict {
            turn_result: result.or_else(|| turn_result(fold)),
            ..said(Status::Idle)
        }),
    }
}

/// What a hook says of the dialog that the registry speaks of.
fn dialog(fold: &Fold, evidence: &Evidence) -> Option<String> {
    let waits = evidence.hook.as_ref().map(|hook| hook.waits.as_slice()).unwrap_or_default();
    waits.iter().find(|wait| wait.agent.is_some() || wait.stands(fold))?.detail()
}

/// The transcript's own word.
fn from_log(fold: &Fold) -> Verdict {
    if fold.ended.is_some() {
        return Verdict {
            turn_result: turn_result(fold),
            end_reason: Some(EndReason::Exit),
            ..Verdict::new(Status::Ended, fold.ended, StatusSource::StopReason)
        };
    }
    if fold.finished {
        return Verdict {
            turn_result: turn_result(fold),
            ..Verdict::new(Status::Idle, fold.last_activity, StatusSource::StopReason)
        };
    }
    match fold.turn() {
        Turn::Open { since } => match fold.open_question() {
            Some(question) => Verdict {
                waiting_for: Some(WaitingFor::Input),
                waiting_detail: Some(describe(question)),
                ..Verdict::new(Status::Waiting, question.since, StatusSource::OpenRecord)
            },
            None => Verdict::new(Status::Executing, since, StatusSource::OpenRecord),
        },
        // It comes back to its turn when the delegate does.
        Turn::Over { .. } if !fold.sent_off.is_empty() => {
            Verdict::new(Status::Executing, fold.sent_off[0].since, StatusSource::OpenRecord)
        }
        Turn::Over { since, result } => Verdict {
            turn_result: Some(result),
            ..Verdict::new(Status::Idle, since, StatusSource::StopReason)
        },
        Turn::Unknown => {
            let since = fold.last_activity.or_else(|| fold.started_at());
            Verdict::new(Status::Idle, since, StatusSource::StopReason)
        }
    }
}

impl Verdict {
    /// Of a session whose transcript was deleted: nothing more can come of it, and nobody can tell
    /// whether a turn was under way.
    pub(crate) fn of_gone(self) -> Self {
        if self.status == Status::Ended && self.end_reason == Some(EndReason::Exit) {
            return self;
        }
        Self {
            turn_result: self.turn_result,
            end_reason: Some(EndReason::Unknown),
            ..Self::new(Status::Ended, self.since, StatusSource::Age)
        }
    }

    pub(crate) fn new(status: Status, since: Option<Timestamp>, source: StatusSource) -> Self {
        Self {
            status,
            since,
            source,
            waiting_for: None,
            waiting_detail: None,
            turn_result: None,
            end_reason: None,
        }
    }
}

fn turn_result(fold: &Fold) -> Option<TurnResult> {
    match fold.turn() {
        Turn::Over { result, .. } => Some(result),
        Turn::Unknown | Turn::Open { .. } => None,
    }
}

fn wants(evidence: &Evidence) -> Option<String> {
    evidence.wants.as_deref().map(detail)
}

/// `Bash: rm -rf build`: the tool and what it would do.
pub(crate) fn describe(tool: &OpenTool) -> String {
    described(&tool.name, &tool.summary)
}

pub(crate) fn described(tool: &str, summary: &str) -> String {
    if summary.is_empty() { detail(tool) } else { detail(&format!("{tool}: {summary}")) }
}

/// In one line without control bytes.
fn detail(text: &str) -> String {
    let (line, cut) = one_line(&plain(text), DETAIL_TEXT);
    if cut { line + "…" } else { line }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
