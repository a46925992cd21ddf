//! The status table, cell by cell.

use std::borrow::Cow;

use super::*;
use crate::fact::{Fact, Parsed};

const IDLE: Duration = Duration::from_secs(300);
const START: Timestamp = Timestamp::from_millis(1_795_170_000_000);

fn at(seconds: i64) -> Timestamp {
    START.plus(seconds * 1000)
}

/// A session after these facts, one record a second.
fn session(facts: &[Fact<'static>]) -> Fold {
    let mut fold = Fold::default();
    for (i, fact) in facts.iter().enumerate() {
        let parsed =
            Parsed { at: Some(at(i as i64)), facts: vec![fact.clone()], ..Parsed::default() };
        fold.apply(parsed, 0, &mut Vec::new());
    }
    fold
}

fn prompt() -> Fact<'static> {
    Fact::Prompt { text: Cow::Borrowed("do it") }
}

fn call(name: &'static str, asks: bool) -> Fact<'static> {
    let (id, name) = (Cow::Borrowed("call_1"), Cow::Borrowed(name));
    Fact::ToolCall { id, name, summary: "rm -rf build".into(), asks }
}

fn evidence(liveness: Liveness, registry: Option<RegistryState>) -> Evidence {
    Evidence { liveness, registry, registry_since: Some(at(100)), ..Evidence::default() }
}

/// Status, source and end reason of a session `seconds` after its last record.
fn verdict(
    fold: &Fold,
    evidence: &Evidence,
    seconds: i64,
) -> (Status, StatusSource, Option<EndReason>) {
    let now = fold.last_activity.unwrap_or(START).plus(seconds * 1000);
    let verdict = decide(fold, evidence, now, IDLE);
    (verdict.status, verdict.source, verdict.end_reason)
}

#[test]
fn each_cell_of_the_table() {
    use EndReason::{Crashed, Exit, Unknown as Unclear};
    use Liveness::{Alive, Dead, Unknown};
    use Status::{Ended, Executing, Idle, Waiting};
    use StatusSource::{Age, OpenRecord, Pid, StopReason};

    let open = session(&[prompt(), call("Bash", false)]);
    let question = session(&[prompt(), call("AskUserQuestion", true)]);
    let over = session(&[prompt(), Fact::TurnEnd(TurnResult::Completed)]);
    let (minute, hour, day) = (60, 3_600, 86_400);
    for (what, fold, liveness, after, want) in [
        ("open, alive, for long", &open, Alive, 3 * day, (Executing, OpenRecord, None)),
        ("open, dead", &open, Dead, minute, (Ended, Pid, Some(Crashed))),
        ("open, unknown, fresh", &open, Unknown, minute, (Executing, OpenRecord, None)),
        ("open, unknown, silent", &open, Unknown, 6 * minute, (Idle, Age, None)),
        ("open, unknown, for days", &open, Unknown, 2 * day, (Ended, Age, Some(Unclear))),
        ("asks, alive, for long", &question, Alive, 3 * day, (Waiting, OpenRecord, None)),
        ("asks, dead", &question, Dead, minute, (Ended, Pid, Some(Crashed))),
        ("asks, unknown, overnight", &question, Unknown, 11 * hour, (Waiting, OpenRecord, None)),
        ("asks, unknown, too long", &question, Unknown, 13 * hour, (Idle, Age, None)),
        ("over, alive, for long", &over, Alive, 3 * day, (Idle, StopReason, None)),
        ("over, dead", &over, Dead, minute, (Ended, Pid, Some(Exit))),
        ("over, unknown", &over, Unknown, 23 * hour, (Idle, StopReason, None)),
        ("over, unknown, for days", &over, Unknown, 25 * hour, (Ended, Age, Some(Unclear))),
        ("clock set back", &open, Unknown, -hour, (Executing, OpenRecord, None)),
    ] {
        assert_eq!(verdict(fold, &evidence(liveness, None), after), want, "{what}");
    }
}

#[test]
fn the_registry_overrules_the_log_while_the_process_lives() {
    let over = session(&[prompt(), Fact::TurnEnd(TurnResult::Completed)]);
    let open = session(&[prompt(), call("Bash", false)]);
    // Only a background agent runs: the log says that the turn is over.
    let busy = evidence(Liveness::Alive, Some(RegistryState::Busy));
    assert_eq!(verdict(&over, &busy, 5).0, Status::Executing);
    // Esc leaves an open call in some releases.
    let idle = evidence(Liveness::Alive, Some(RegistryState::Idle));
    assert_eq!(verdict(&open, &idle, 5).0, Status::Idle);

    let dialog = evidence(Liveness::Alive, Some(RegistryState::WaitingPermission));
    let waiting = decide(&open, &dialog, at(1_000), IDLE);
    assert_eq!(waiting.waiting_for, Some(WaitingFor::Permission));
    assert_eq!(waiting.waiting_detail.as_deref(), Some("Bash: rm -rf build"));
    assert_eq!((waiting.since, waiting.source), (Some(at(100)), StatusSource::Registry));
}

#[test]
fn a_registry_frozen_in_a_dialog_is_a_crash() {
    let over = session(&[prompt(), Fact::TurnEnd(TurnResult::Completed)]);
    let frozen = evidence(Liveness::Dead, Some(RegistryState::WaitingPermission));
    assert_eq!(verdict(&over, &frozen, 5).2, Some(EndReason::Crashed));
}

#[test]
fn a_lock_is_named_as_the_source() {
    let open = session(&[prompt(), call("exec_command", false)]);
    let held = Evidence { by: LivenessBy::Lock, ..evidence(Liveness::Alive, None) };
    assert_eq!(verdict(&open, &held, 5), (Status::Executing, StatusSource::Lock, None));
    let free = Evidence { by: LivenessBy::Lock, ..evidence(Liveness::Dead, None) };
    assert_eq!(
        verdict(&open, &free, 5),
        (Status::Ended, StatusSource::Lock, Some(EndReason::Crashed))
    );
}

#[test]
fn a_delegate_that_handed_back_has_ended() {
    let parent = Fact::Parent { id: Cow::Borrowed("p"), kind: ParentKind::Subagent };
    let over = session(&[parent, prompt(), Fact::TurnEnd(TurnResult::Completed)]);
    let alive = evidence(Liveness::Alive, None);
    assert_eq!(
        verdict(&over, &alive, 5),
        (Status::Ended, StatusSource::StopReason, Some(EndReason::Exit))
    );
}

#[test]
fn failures_stay_in_the_list_for_an_hour() {
    let failed = session(&[prompt(), Fact::TurnEnd(TurnResult::RateLimited)]);
    let crashed = session(&[prompt(), call("Bash", false)]);
    for (fold, liveness) in [(&failed, Liveness::Alive), (&crashed, Liveness::Dead)] {
        for (minutes, shown) in [(59, true), (61, false)] {
            let now = fold.last_activity.unwrap().plus(minutes * 60_000);
            let verdict = decide(fold, &evidence(liveness, None), now, IDLE);
            assert_eq!(
                is_active(&verdict, false, fold.last_activity, now, IDLE),
                shown,
                "{minutes} min"
            );
        }
    }
}

#[test]
fn a_delegate_in_the_background_keeps_its_session_at_work() {
    use EndReason::Exit;
    let sent_off = |id: &'static str| Fact::SentOff { id: id.into(), summary: "Audit".into() };
    let returned = |id: &'static str| Fact::Returned { id: id.into() };
    let over = || Fact::TurnEnd(TurnResult::Completed);
    let unknown = Evidence::default();
    let status = |fold: &Fold, evidence: &Evidence| {
        let (status, source, end) = verdict(fold, evidence, 60);
        (status, source, end)
    };
    let at_work = (Status::Executing, StatusSource::OpenRecord, None);
    let idle = (Status::Idle, StatusSource::StopReason, None);

    let mut facts = vec![prompt(), sent_off("a"), sent_off("b"), Fact::AtWork(2), over()];
    let fold = session(&facts);
    assert_eq!(status(&fold, &unknown), at_work);
    let activity = fold.activity().unwrap();
    assert_eq!((activity.tool.as_deref(), activity.summary.as_str()), (Some("Agent"), "Audit"));
    // The registry knows better; whoever is gone took its delegates along.
    let at_prompt = evidence(Liveness::Alive, Some(RegistryState::Idle));
    assert_eq!(status(&fold, &at_prompt).0, Status::Idle);
    let gone = evidence(Liveness::Dead, None);
    assert_eq!(status(&fold, &gone), (Status::Ended, StatusSource::Pid, Some(Exit)));
    // Silence says that it is over, as of any other open record.
    assert_eq!(verdict(&fold, &unknown, 301).0, Status::Idle);

    facts.extend([returned("a"), Fact::Injected, over()]);
    assert_eq!(status(&session(&facts), &unknown), at_work, "the other one is not back");
    // A shell in the background reports alike.
    facts.push(returned("shell"));
    assert_eq!(status(&session(&facts), &unknown), at_work);
    facts.extend([returned("b"), Fact::Injected, over()]);
    assert_eq!(status(&session(&facts), &unknown), idle);

    // Only the harness's count of them was read.
    let mut counted = vec![prompt(), Fact::AtWork(1), over()];
    assert_eq!(status(&session(&counted), &unknown), at_work);
    counted.extend([returned("c"), Fact::Injected, over()]);
    assert_eq!(status(&session(&counted), &unknown), idle);
    // They were killed together with their process; it says so when the session goes on.
    let resumed = [prompt(), sent_off("a"), over(), prompt(), Fact::AtWork(0), over()];
    assert_eq!(status(&session(&resumed), &unknown), idle);
}

#[test]
fn what_is_waited_for_is_short_and_harmless() {
    let waits = evidence(Liveness::Alive, Some(RegistryState::WaitingPermission));
    let detail = |tool: &'static str, summary: String| {
        let call = Fact::ToolCall { id: "c".into(), name: tool.into(), summary, asks: false };
        decide(&session(&[prompt(), call]), &waits, at(2), IDLE).waiting_detail.unwrap()
    };
    assert_eq!(detail("Bash", "rm -rf build".into()), "Bash: rm -rf build");
    assert_eq!(detail("Ba\u{7}sh", "a\u{1b}[2J\n\u{9b}b".into()), "Bash: a[2J b");
    assert_eq!(detail("Bash", String::new()), "Bash");
    let long = detail("Bash", "x".repeat(1_000));
    assert!(long.chars().count() == 161 && long.ends_with("x…"), "{long}");
}

#[test]
fn the_log_alone_shows_nobody_at_work_for_longer_than_the_idle_timeout() {
    let unknown = Evidence::default();
    let mut fold = session(&[prompt(), call("Bash", false)]);
    let executing = |fold: &Fold, seconds: i64| {
        decide(fold, &unknown, at(1 + seconds), IDLE).status == Status::Executing
    };
    for (seconds, shown) in [(0, true), (300, true), (301, false), (-3_600, true), (-90_000, false)]
    {
        assert_eq!(executing(&fold, seconds), shown, "{seconds} s after its last record");
    }
    fold.last_activity = None;
    assert!(!executing(&fold, 0), "nothing tells when");
}
