//! The status table, cell by cell.

use std::borrow::Cow;

use rrd_proto::ParentKind;

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
    Fact::Prompt { text: "do it".into() }
}

fn call(name: &'static str, asks: bool) -> Fact<'static> {
    let (id, name) = (Cow::Borrowed("call_1"), Cow::Borrowed(name));
    Fact::ToolCall { id, name, summary: "rm -rf build".into(), input: "".into(), asks }
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
fn the_registry_of_a_process_nobody_can_see_is_believed_until_it_is_silent() {
    use RegistryState::{Busy, Idle as AtPrompt, WaitingInput, WaitingPermission};
    use Status::{Ended, Executing, Idle, Waiting};
    use StatusSource::{Age, OpenRecord, Registry, StopReason};

    let open = session(&[prompt(), call("Bash", false)]);
    let over = session(&[prompt(), Fact::TurnEnd(TurnResult::Completed)]);
    let left = session(&[prompt(), Fact::Ended(Some(at(1)))]);
    let (minute, hour) = (60, 3_600);
    // The entry is written at second 100; the transcripts' last records are older.
    for (what, fold, word, after, want) in [
        ("a dialog", &open, WaitingPermission, minute, (Waiting, Registry)),
        ("a dialog, overnight", &open, WaitingPermission, 11 * hour, (Waiting, Registry)),
        ("a dialog, for too long", &open, WaitingPermission, 13 * hour, (Idle, Age)),
        ("a question", &open, WaitingInput, 11 * hour, (Waiting, Registry)),
        ("a delegate's dialog", &over, WaitingPermission, hour, (Waiting, Registry)),
        ("at work", &open, Busy, minute, (Executing, Registry)),
        ("a delegate at work", &over, Busy, minute, (Executing, Registry)),
        ("at work, silent", &over, Busy, 6 * minute, (Idle, Age)),
        ("at its prompt", &open, AtPrompt, hour, (Idle, Registry)),
        ("at its prompt, for days", &open, AtPrompt, 25 * hour, (Ended, Age)),
        ("ended in writing", &left, Busy, minute, (Ended, StopReason)),
    ] {
        let known =
            Evidence { registry_written: Some(at(100)), ..evidence(Liveness::Unknown, Some(word)) };
        let verdict = decide(fold, &known, at(100 + after), IDLE);
        assert_eq!((verdict.status, verdict.source), want, "{what}");
    }
    // An entry left behind, and the session went on elsewhere.
    for (what, fold, word, want) in [
        ("answered", &over, WaitingPermission, (Idle, StopReason)),
        ("asked again", &open, AtPrompt, (Executing, OpenRecord)),
    ] {
        let stale =
            Evidence { registry_since: Some(at(-1)), ..evidence(Liveness::Unknown, Some(word)) };
        assert_eq!(verdict(fold, &stale, 5), (want.0, want.1, None), "{what}");
    }
    let dialog = evidence(Liveness::Unknown, Some(WaitingPermission));
    let waiting = decide(&open, &dialog, at(160), IDLE);
    assert_eq!((waiting.waiting_for, waiting.since), (Some(WaitingFor::Permission), Some(at(100))));
    assert_eq!(waiting.waiting_detail.as_deref(), Some("Bash: rm -rf build"));
}

#[test]
fn a_registry_frozen_in_a_dialog_is_a_crash() {
    let over = session(&[prompt(), Fact::TurnEnd(TurnResult::Completed)]);
    let frozen = evidence(Liveness::Dead, Some(RegistryState::WaitingPermission));
    assert_eq!(verdict(&over, &frozen, 5).2, Some(EndReason::Crashed));
}

#[test]
fn what_is_asked_in_writing_stands_until_it_is_out_of_time() {
    let ask = Ask { since: at(1), until: at(1_800), wants: "exec: rm -rf build\u{7}".into() };
    let asked = |liveness| Evidence { ask: Some(ask.clone()), ..evidence(liveness, None) };
    let open = session(&[prompt(), call("exec", false)]);
    // The agent may be told at once that somebody is asked, and end its turn.
    let over = session(&[prompt(), Fact::TurnEnd(TurnResult::Completed)]);
    for (fold, liveness) in [
        (&open, Liveness::Unknown),
        (&open, Liveness::Alive),
        (&over, Liveness::Unknown),
        (&over, Liveness::Alive),
    ] {
        // Longer than an open turn is believed.
        let waiting = decide(fold, &asked(liveness), at(1_799), IDLE);
        assert_eq!((waiting.status, waiting.source), (Status::Waiting, StatusSource::Registry));
        assert_eq!(
            (waiting.since, waiting.waiting_for),
            (Some(at(1)), Some(WaitingFor::Permission))
        );
        assert_eq!(waiting.waiting_detail.as_deref(), Some("exec: rm -rf build"));
        assert_ne!(decide(fold, &asked(liveness), at(1_800), IDLE).status, Status::Waiting);
    }
    for fold in [&open, &over] {
        assert_eq!(verdict(fold, &asked(Liveness::Dead), 5).2, Some(EndReason::Crashed));
    }
    let left = session(&[prompt(), call("exec", false), Fact::Ended(Some(at(3)))]);
    assert_eq!(verdict(&left, &asked(Liveness::Unknown), 5).0, Status::Ended);
}

#[test]
fn what_was_put_away_has_ended_unless_somebody_holds_it() {
    let open = session(&[prompt(), call("exec", false)]);
    let failed = session(&[prompt(), Fact::TurnEnd(TurnResult::Error)]);
    let put_away = |liveness| Evidence { archived: true, ..evidence(liveness, None) };
    for fold in [&open, &failed] {
        for liveness in [Liveness::Unknown, Liveness::Dead] {
            let ended = (Status::Ended, StatusSource::StopReason, Some(EndReason::Exit));
            assert_eq!(verdict(fold, &put_away(liveness), 5), ended, "{liveness:?}");
        }
    }
    assert_eq!(verdict(&open, &put_away(Liveness::Alive), 5).0, Status::Executing);
}

#[test]
fn the_later_word_on_a_run_counts() {
    use crate::fact::Run;
    use Status::{Executing, Idle};
    // The records' last word is at second 1.
    let open = [prompt(), call("exec", false)];
    let over = [prompt(), Fact::TurnEnd(TurnResult::Completed)];
    let ended = |result, at| Some(Run { result: Some(result), at });
    let running = |at| Some(Run { result: None, at });
    let killed = TurnResult::Interrupted;
    for (what, facts, run, want, result) in [
        ("killed", &open, ended(killed, Some(at(5))), Idle, Some(killed)),
        ("killed, nobody knows when", &open, ended(killed, None), Idle, Some(killed)),
        ("of the run before", &open, ended(killed, Some(at(-5))), Executing, None),
        ("begun", &over, running(Some(at(5))), Executing, None),
        ("over since", &over, running(Some(at(0))), Idle, Some(TurnResult::Completed)),
        (
            "over, nobody knows when it began",
            &over,
            running(None),
            Idle,
            Some(TurnResult::Completed),
        ),
        ("nothing is kept", &open, None, Executing, None),
    ] {
        // The row comes before the records.
        let mut fold = Fold::default();
        let row = Parsed { facts: vec![Fact::Run(run)], ..Parsed::default() };
        fold.apply(row, 0, &mut Vec::new());
        for (i, fact) in facts.iter().enumerate() {
            let facts = vec![fact.clone()];
            let parsed = Parsed { at: Some(at(i as i64)), facts, ..Parsed::default() };
            fold.apply(parsed, 0, &mut Vec::new());
        }
        let verdict = decide(&fold, &Evidence::default(), at(8), IDLE);
        assert_eq!((verdict.status, verdict.turn_result), (want, result), "{what}");
        assert_eq!(fold.activity().is_some(), want == Executing, "{what}");
    }
    // A run just begun has written nothing for long.
    let began = [prompt(), Fact::TurnEnd(TurnResult::Completed), Fact::Run(running(Some(at(900))))];
    assert_eq!(decide(&session(&began), &Evidence::default(), at(1_000), IDLE).status, Executing);
}

#[test]
fn a_session_works_where_it_was_started_or_has_moved_to() {
    let start = |cwd: &'static str| Fact::Cwd(Cow::Borrowed(cwd));
    let moved = |cwd: &'static str| Fact::MovedTo(Cow::Borrowed(cwd));
    for (facts, cwd) in [
        (vec![start("/a"), start("/b")], "/a"),
        (vec![start("/a"), moved("/b"), moved("/c")], "/c"),
        (vec![moved("/b"), start("/a")], "/b"),
    ] {
        assert_eq!(session(&facts).cwd.as_deref(), Some(cwd));
    }
}

#[test]
fn nothing_happened_after_the_last_writing() {
    let began = Fact::Started(at(7));
    let mut fold = session(&[began, prompt(), call("Bash", false), Fact::Ended(Some(at(9)))]);
    assert_eq!(fold.latest(), Some(at(9)));
    fold.no_later_than(at(2));
    assert_eq!((fold.latest(), fold.started_at()), (Some(at(2)), Some(at(0))));
    assert_eq!(
        (fold.open_tools[0].since, fold.turn()),
        (Some(at(2)), Turn::Open { since: Some(at(1)) })
    );
    let mut none = Fold::default();
    none.no_later_than(at(2));
    assert_eq!(none, Fold::default());
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
        let call = Fact::ToolCall {
            id: "c".into(),
            name: tool.into(),
            summary,
            input: "".into(),
            asks: false,
        };
        decide(&session(&[prompt(), call]), &waits, at(2), IDLE).waiting_detail.unwrap()
    };
    assert_eq!(detail("Bash", "rm -rf build".into()), "Bash: rm -rf build");
    assert_eq!(detail("Ba\u{7}sh", "a\u{1b}[2J\n\u{9b}b".into()), "Bash: a b");
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

/// What a hook said at `ms` after the start, and a dialog opened then, if any.
fn hooked(state: HookState, ms: i64, wait: Option<&str>) -> Hooked {
    let mut trail = crate::hook::Trail::default();
    let mut call = |at: i64, word| {
        trail.take(crate::hook::HookEvent {
            id: 0,
            at: START.plus(at),
            session: rrd_proto::SessionKey {
                harness: rrd_proto::Harness::Codex,
                session_id: "s".into(),
            },
            agent: None,
            word,
            cwd: None,
            transcript: None,
            pid: None,
            attach: None,
        })
    };
    use crate::hook::{HookTool, HookWord};
    let stop = |result, background| HookWord::Stop { result, background };
    call(
        ms,
        match state {
            HookState::Open => HookWord::Prompt,
            HookState::Background => stop(TurnResult::Completed, true),
            HookState::Over(None) => HookWord::Start,
            HookState::Over(Some(result)) => stop(result, false),
            HookState::Ended => HookWord::End,
        },
    );
    if let Some(summary) = wait {
        let tool = HookTool { id: None, name: "Bash".into(), summary: summary.into(), asks: false };
        call(ms, HookWord::Ask(tool));
    }
    trail.hooked
}

/// The table once more, for what a hook said before, between and after the records. Records are at 0,
/// 1, 2 … seconds; "call" is the second one.
#[test]
fn a_hook_counts_until_the_transcript_says_something_later() {
    use HookState::{Background, Ended as Left, Open, Over};
    use Status::{Ended, Executing, Idle, Waiting};
    use StatusSource::{Hook, OpenRecord, StopReason};

    let done = Fact::TurnEnd(TurnResult::Completed);
    let result = |id: &'static str| {
        let (id, text) = (Cow::Borrowed(id), Cow::Borrowed(""));
        Fact::ToolResult { id, is_error: false, text: text.into() }
    };
    let interrupted = Fact::TurnEnd(TurnResult::Interrupted);
    let bookkeeping = Fact::Branch(Cow::Borrowed("main"));
    let other_call = || {
        let (id, name) = (Cow::Borrowed("call_2"), Cow::Borrowed("Read"));
        Fact::ToolCall { id, name, summary: "/a".into(), input: "".into(), asks: false }
    };
    let ask = Some("rm -rf build");
    let empty = session(&[]);
    let asked = session(&[prompt()]);
    let called = session(&[prompt(), call("Bash", false)]);
    let noted = session(&[prompt(), call("Bash", false), bookkeeping.clone()]);
    let answered = session(&[prompt(), call("Bash", false), result("call_1")]);
    let both = session(&[prompt(), call("Bash", false), other_call(), result("call_2")]);
    let over = session(&[prompt(), call("Bash", false), done.clone()]);
    let over_noted = session(&[prompt(), call("Bash", false), done.clone(), bookkeeping]);
    let escaped = session(&[prompt(), call("Bash", false), interrupted]);
    let again = session(&[prompt(), done, prompt()]);
    let late = session(&std::array::from_fn::<_, 14, _>(|_| prompt()));

    for (what, fold, state, ms, wait, want) in [
        // A turn begins.
        ("nothing is written", &empty, Open, 0, None, (Executing, Hook)),
        ("the transcript has only the turn before", &over, Open, 2_500, None, (Executing, Hook)),
        ("the transcript is ahead", &asked, Open, -5, None, (Executing, OpenRecord)),
        ("a tool begins, and its line is late", &asked, Open, 500, None, (Executing, Hook)),
        ("interrupted later, which no hook tells", &escaped, Open, 1_500, None, (Idle, StopReason)),
        ("over later", &over, Open, 1_500, None, (Idle, StopReason)),
        // A dialog.
        ("a dialog", &called, Open, 1_500, ask, (Waiting, Hook)),
        ("a dialog, and its call's line is late", &asked, Open, 500, ask, (Waiting, Hook)),
        ("a dialog, and bookkeeping", &noted, Open, 1_500, ask, (Waiting, Hook)),
        ("a dialog, and nothing written at all", &empty, Open, 0, ask, (Waiting, Hook)),
        ("another call answers meanwhile", &both, Open, 1_500, ask, (Waiting, Hook)),
        ("answered", &answered, Open, 1_500, ask, (Executing, OpenRecord)),
        ("refused: interrupted", &escaped, Open, 1_500, ask, (Idle, StopReason)),
        ("the turn before was over", &over, Open, 2_500, ask, (Waiting, Hook)),
        (
            "a dialog of another tool, long gone",
            &called,
            Open,
            500,
            Some("ls"),
            (Executing, OpenRecord),
        ),
        // The end of a turn.
        (
            "over, and its line is late",
            &called,
            Over(Some(TurnResult::Completed)),
            1_500,
            None,
            (Idle, Hook),
        ),
        (
            "over, then asked again",
            &again,
            Over(Some(TurnResult::Completed)),
            1_500,
            None,
            (Executing, OpenRecord),
        ),
        (
            "over, and so says the transcript",
            &over,
            Over(Some(TurnResult::Completed)),
            2_500,
            None,
            (Idle, Hook),
        ),
        (
            "over, then bookkeeping",
            &over_noted,
            Over(Some(TurnResult::Completed)),
            2_500,
            None,
            (Idle, Hook),
        ),
        ("agents go on", &over, Background, 2_500, None, (Executing, Hook)),
        ("resumed after a crash", &called, Over(None), 60_000, None, (Idle, Hook)),
        // The end of a session.
        ("left", &over, Left, 2_500, None, (Ended, Hook)),
        ("left in the middle of a turn", &called, Left, 1_500, None, (Ended, Hook)),
        ("left, and a last record follows", &over, Left, 1_500, None, (Ended, Hook)),
        ("left, and gone on elsewhere", &late, Left, 1_500, None, (Executing, OpenRecord)),
    ] {
        let hook = Some(hooked(state, ms, wait));
        for liveness in [Liveness::Alive, Liveness::Unknown] {
            let evidence = Evidence { hook: hook.clone(), ..evidence(liveness, None) };
            let now = fold.last_activity.unwrap_or(START).max(START.plus(ms)).plus(500);
            let verdict = decide(fold, &evidence, now, IDLE);
            assert_eq!((verdict.status, verdict.source), want, "{what}, {liveness:?}");
        }
    }
}

#[test]
fn a_hook_tells_what_is_waited_for_and_how_a_turn_ended() {
    let called = session(&[prompt(), call("Bash", false)]);
    let says =
        |hook| decide(&called, &Evidence { hook: Some(hook), ..Evidence::default() }, at(2), IDLE);
    let waits = says(hooked(HookState::Open, 1_500, Some("rm -rf build")));
    assert_eq!(waits.waiting_for, Some(WaitingFor::Permission));
    assert_eq!(waits.waiting_detail.as_deref(), Some("Bash: rm -rf build"));
    assert_eq!(waits.since, Some(START.plus(1_500)));
    let failed = says(hooked(HookState::Over(Some(TurnResult::RateLimited)), 1_500, None));
    assert_eq!((failed.status, failed.turn_result), (Status::Idle, Some(TurnResult::RateLimited)));
    let left = says(hooked(HookState::Ended, 1_500, None));
    assert_eq!((left.status, left.end_reason), (Status::Ended, Some(EndReason::Exit)));
    // The turn is the one that the transcript knows, and so is its beginning.
    assert_eq!(says(hooked(HookState::Open, 1_500, None)).since, Some(at(0)));
}

#[test]
fn the_registry_overrules_a_hook_while_the_process_lives() {
    let called = session(&[prompt(), call("Bash", false)]);
    let stuck = hooked(HookState::Open, 1_500, Some("rm -rf build"));
    for (word, want) in [
        (RegistryState::Idle, Status::Idle),
        (RegistryState::Busy, Status::Executing),
        (RegistryState::WaitingPermission, Status::Waiting),
        (RegistryState::WaitingInput, Status::Waiting),
    ] {
        let hook = Some(stuck.clone());
        let known = Evidence { hook, ..evidence(Liveness::Alive, Some(word.clone())) };
        let verdict = decide(&called, &known, at(2), IDLE);
        assert_eq!((verdict.status, verdict.source), (want, StatusSource::Registry), "{word:?}");
    }
    let word = Some(RegistryState::Unknown("pondering".into()));
    let odd = Evidence { hook: Some(stuck.clone()), ..evidence(Liveness::Alive, word) };
    assert_eq!(decide(&called, &odd, at(2), IDLE).source, StatusSource::Hook);

    // Of two open calls the registry does not say which one waits.
    let hook = Some(hooked(HookState::Open, 1_500, Some("rm -rf build")));
    let (id, name) = (Cow::Borrowed("call_2"), Cow::Borrowed("Read"));
    let read = Fact::ToolCall { id, name, summary: "/a".into(), input: "".into(), asks: false };
    let both = session(&[prompt(), call("Bash", false), read]);
    let dialog =
        Evidence { hook, ..evidence(Liveness::Alive, Some(RegistryState::WaitingPermission)) };
    let verdict = decide(&both, &dialog, at(3), IDLE);
    assert_eq!(verdict.waiting_detail.as_deref(), Some("Bash: rm -rf build"));
}

#[test]
fn a_hook_makes_no_dead_process_alive() {
    let over = session(&[prompt(), Fact::TurnEnd(TurnResult::Completed)]);
    let open = session(&[prompt(), call("Bash", false)]);
    let done = HookState::Over(Some(TurnResult::Completed));
    use EndReason::{Crashed, Exit};
    use StatusSource::{Hook, Pid};
    for (what, fold, hook, want) in [
        ("killed in a dialog", &over, hooked(HookState::Open, 5_000, Some("rm")), (Pid, Crashed)),
        ("killed in a new turn", &over, hooked(HookState::Open, 5_000, None), (Pid, Crashed)),
        ("left, its end not written", &open, hooked(done, 5_000, None), (Pid, Exit)),
        ("left, as it said", &open, hooked(HookState::Ended, 5_000, None), (Hook, Exit)),
        ("an old word", &over, hooked(HookState::Open, 500, None), (Pid, Exit)),
    ] {
        let gone = Evidence { hook: Some(hook), ..evidence(Liveness::Dead, None) };
        for seconds in [5, 600] {
            let (status, source, end) = verdict(fold, &gone, seconds);
            assert_eq!((status, (source, end.unwrap())), (Status::Ended, want), "{what}");
        }
    }
}

#[test]
fn a_hook_nothing_follows_is_not_believed_for_ever() {
    let over = session(&[prompt(), Fact::TurnEnd(TurnResult::Completed)]);
    let says = |hook: &Hooked, liveness, seconds: i64| {
        let evidence = Evidence { hook: Some(hook.clone()), ..evidence(liveness, None) };
        let verdict = decide(&over, &evidence, at(5 + seconds), IDLE);
        (verdict.status, verdict.source)
    };
    use Liveness::{Alive, Unknown};
    use Status::{Ended, Executing, Idle, Waiting};
    use StatusSource::{Age, Hook, StopReason};
    // A prompt that was taken back, or refused: nothing of it is ever written.
    let prompted = hooked(HookState::Open, 5_000, None);
    for liveness in [Alive, Unknown] {
        assert_eq!(says(&prompted, liveness, 30), (Executing, Hook));
        assert_eq!(says(&prompted, liveness, 31), (Idle, StopReason));
    }
    let background = hooked(HookState::Background, 5_000, None);
    assert_eq!(says(&background, Alive, 86_400), (Executing, Hook));
    assert_eq!(says(&background, Unknown, 301), (Idle, Age));
    let dialog = hooked(HookState::Open, 5_000, Some("rm"));
    assert_eq!(says(&dialog, Alive, 3 * 86_400), (Waiting, Hook));
    assert_eq!(says(&dialog, Unknown, 11 * 3_600), (Waiting, Hook));
    assert_eq!(says(&dialog, Unknown, 13 * 3_600), (Idle, Age));
    assert_eq!(says(&dialog, Unknown, 25 * 3_600), (Ended, Age));
}
