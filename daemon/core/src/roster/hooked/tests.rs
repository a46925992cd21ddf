//! Hooks beside everything else that is known of a session.

use std::sync::Arc;

use rrd_proto::{EndReason, ListQuery, Lookup, Session, Status, StatusSource, TurnResult};

use super::*;
use crate::{
    fact::{Fact, Parsed},
    hook::{HookTool, HookWord},
    live::{Evidence, RegistryState},
    roster::{
        RootLive,
        tests::{NOW, child_of, entry, key, prompt, roster},
    },
};

fn over() -> Vec<Fact<'static>> {
    vec![prompt(), Fact::TurnEnd(TurnResult::Completed)]
}

/// A call `ms` before now.
fn event(id: &str, ms: i64, word: HookWord) -> HookEvent {
    HookEvent {
        id: 0,
        at: NOW.plus(-ms),
        session: key(id),
        agent: None,
        word,
        cwd: None,
        transcript: None,
        pid: None,
        attach: None,
    }
}

fn ask() -> HookWord {
    HookWord::Ask(HookTool {
        id: Some("call_1".into()),
        name: "Bash".into(),
        summary: "rm -rf build".into(),
        asks: false,
    })
}

fn row(roster: &Roster, id: &str) -> Session {
    match roster.lookup(id, NOW) {
        Lookup::Found(row) => *row,
        other => panic!("{other:?}"),
    }
}

fn alive(registry: Option<RegistryState>) -> Evidence {
    Evidence { liveness: Liveness::Alive, registry, ..Evidence::default() }
}

#[test]
fn a_delegates_dialog_is_its_parents_until_the_delegates_transcript_knows_better() {
    let mut roster = roster();
    roster.set(key("p"), entry(5, vec![prompt()]));
    let called = |after: Vec<Fact<'static>>| {
        let call = Fact::ToolCall {
            id: "call_1".into(),
            name: "Bash".into(),
            summary: "rm -rf build".into(),
            input: "".into(),
            asks: false,
        };
        entry(3, [vec![child_of("p"), prompt(), call], after].concat())
    };
    roster.set(key("c"), called(Vec::new()));
    let of_child = |ms, word| HookEvent { agent: Some("c".into()), ..event("p", ms, word) };
    roster.hook(of_child(4_000, HookWord::AgentStart), NOW);
    roster.hook(of_child(2_000, ask()), NOW);
    for id in ["p", "c"] {
        let row = row(&roster, id);
        assert_eq!((row.status, row.status_source), (Status::Waiting, StatusSource::Hook), "{id}");
        assert_eq!(row.waiting_detail.as_deref(), Some("Bash: rm -rf build"), "{id}");
    }
    // Refused: only the delegate's own transcript tells.
    let refused = Fact::ToolResult { id: "call_1".into(), is_error: true, text: "".into() };
    let mut later = called(Vec::new());
    let mut fold = (*later.fold).clone();
    let parsed = Parsed { at: Some(NOW.plus(-500)), facts: vec![refused], ..Parsed::default() };
    fold.apply(parsed, 0, &mut Vec::new());
    later.fold = Arc::new(fold);
    roster.set(key("c"), later);
    for id in ["p", "c"] {
        assert_eq!(row(&roster, id).status, Status::Executing, "{id}");
    }
    // What has handed back is gone from the list at once.
    roster.hook(of_child(100, HookWord::AgentStop), NOW);
    assert_eq!(
        (row(&roster, "c").status, row(&roster, "p").status),
        (Status::Ended, Status::Executing)
    );
}

#[test]
fn delegates_go_with_the_session_that_is_left() {
    let mut roster = roster();
    roster.set(key("p"), entry(5, vec![prompt()]));
    roster.set(key("c"), entry(3, vec![child_of("p"), prompt()]));
    assert_eq!(row(&roster, "c").status, Status::Executing);
    roster.hook(event("p", 1_000, HookWord::End), NOW);
    assert_eq!(row(&roster, "p").end_reason, Some(EndReason::Exit));
    assert_eq!(
        (row(&roster, "c").status, row(&roster, "c").status_source),
        (Status::Ended, StatusSource::Hook)
    );
}

#[test]
fn a_hook_shows_that_a_process_without_a_trace_yet_is_there() {
    let mut roster = roster();
    let traced = || [over(), vec![Fact::LeavesTrace]].concat();
    roster.set(key("s"), entry(86_400, traced()));
    let look =
        |ago: i64| RootLive { traces: true, checked_at: NOW.plus(-ago), ..RootLive::default() };
    roster.set_live(0, look(100));
    assert_eq!(row(&roster, "s").status, Status::Ended);
    // Resumed: the registry's entry comes a second later.
    roster.hook(event("s", 500, HookWord::Prompt), NOW);
    assert_eq!(row(&roster, "s").status, Status::Executing);
    roster.set_live(0, look(-2_000));
    let gone = row(&roster, "s");
    assert_eq!((gone.status, gone.end_reason), (Status::Ended, Some(EndReason::Crashed)));
}

#[test]
fn the_process_that_a_hook_names_tells_where_nothing_else_does() {
    let mut roster = roster();
    roster.set(key("s"), entry(900, vec![prompt()]));
    assert_eq!(row(&roster, "s").status, Status::Idle, "silent for long");
    let named = |ms| HookEvent {
        pid: Some(42),
        attach: Some("tmux attach -t %7".into()),
        ..event("s", ms, HookWord::Prompt)
    };
    roster.hook(named(600_000), NOW);
    let to_look = roster.hooked_processes();
    let at = NOW.plus(-600_000);
    let unseen =
        HookedProcess { pid: 42, named_at: at, started: None, liveness: Liveness::Unknown };
    assert_eq!(to_look, [(key("s"), unseen.clone())]);
    assert_eq!(row(&roster, "s").live, None);

    let seen = |liveness| HookedProcess { liveness, started: Some("7".into()), ..unseen.clone() };
    roster.set_hooked_process(&key("s"), seen(Liveness::Alive));
    let there = row(&roster, "s");
    assert_eq!((there.status, there.live, there.pid), (Status::Executing, Some(true), Some(42)));
    assert_eq!(there.attach.as_deref(), Some("tmux attach -t %7"));
    // One release keeps no registry for some sessions.
    let look = RootLive { traces: true, checked_at: NOW, ..RootLive::default() };
    roster.set(key("s"), entry(900, vec![prompt(), Fact::LeavesTrace]));
    roster.set_live(0, look.clone());
    assert_eq!(row(&roster, "s").live, Some(true));
    // An entry that was there and went says more: the process is in another session by now.
    let left = [(key("s"), NOW)].into();
    roster.set_live(0, RootLive { left, ..look.clone() });
    assert_eq!(row(&roster, "s").live, Some(false));
    roster.set_live(0, look.clone());

    // Left, and its process is still on its way out.
    let mut leaving = roster.clone();
    leaving.hook(event("s", 1, HookWord::End), NOW);
    let left = row(&leaving, "s");
    assert_eq!(
        (left.status, left.live, left.pid, left.attach),
        (Status::Ended, Some(false), None, None)
    );
    assert_eq!(leaving.list(&ListQuery::default(), NOW, None, Vec::new()).totals.open, 0);

    roster.set_hooked_process(&key("s"), HookedProcess { pid: 7, ..seen(Liveness::Dead) });
    assert_eq!(row(&roster, "s").live, Some(true), "another process");
    roster.set_hooked_process(&key("s"), seen(Liveness::Dead));
    let gone = row(&roster, "s");
    assert_eq!((gone.status, gone.end_reason), (Status::Ended, Some(EndReason::Crashed)));
    assert!(roster.hooked_processes().is_empty());

    // With a registry, that is asked instead.
    let mut look = look;
    look.found.insert(key("s"), alive(Some(RegistryState::Idle)));
    roster.set_live(0, look);
    assert_eq!((row(&roster, "s").status, row(&roster, "s").live), (Status::Idle, Some(true)));
    roster.hook(HookEvent { pid: Some(43), ..event("s", 100, HookWord::Start) }, NOW);
    assert!(roster.hooked_processes().is_empty());
}

#[test]
fn sessions_that_only_hooks_know_are_named_until_they_end() {
    let mut roster = roster();
    roster.set(key("written"), entry(5, vec![prompt()]));
    for id in ["written", "unwritten", "left"] {
        roster.hook(event(id, 900, HookWord::Prompt), NOW);
    }
    roster.hook(event("left", 800, HookWord::End), NOW);
    roster.hook(event("quiet", 800, HookWord::Nothing), NOW);
    let delegate = event("unwritten", 700, HookWord::AgentStart);
    roster.hook(HookEvent { agent: Some("c".into()), ..delegate }, NOW);
    let names = |roster: &Roster, now| {
        roster.only_hooked(now).into_iter().map(|(key, _)| key.session_id).collect::<Vec<_>>()
    };
    assert_eq!(names(&roster, NOW), ["unwritten"]);
    assert_eq!(names(&roster, NOW.plus(HOOKS_KEPT_MS)), [""; 0], "nobody said that it ended");
}

#[test]
fn a_clock_that_was_set_back_silences_nobody() {
    let mut roster = roster();
    roster.set(key("s"), entry(5, vec![prompt()]));
    roster.hook(event("s", -3_600_000, ask()), NOW);
    assert_eq!(row(&roster, "s").status_since, Some(NOW));
}

#[test]
fn only_so_many_are_remembered() {
    let mut roster = roster();
    for i in 0..MAX_HOOKED as i64 + 10 {
        roster.hook(event(&format!("s{i}"), 100_000 - i, HookWord::Prompt), NOW);
    }
    assert_eq!(roster.hooks.len(), MAX_HOOKED);
    assert!(!roster.hooks.contains_key(&key("s0")) && roster.hooks.contains_key(&key("s10")));
    let unsaved = roster.unsaved_trails();
    let forgotten = unsaved.iter().filter(|(_, trail)| trail.is_none()).count();
    assert_eq!((unsaved.len(), forgotten), (MAX_HOOKED + 10, 10), "nor stored");
    let before = roster.version();
    roster.hook(event("s99", 1, HookWord::Prompt), NOW);
    assert!(roster.version() > before, "whoever watches is told");
    assert_eq!(roster.list(&ListQuery::default(), NOW, None, Vec::new()).sessions, []);
}

#[test]
fn what_changed_is_handed_out_to_be_stored_once() {
    let mut roster = roster();
    roster.set(key("s"), entry(5, vec![prompt()]));
    let said = HookEvent { id: 7, pid: Some(42), ..event("s", 900, ask()) };
    roster.hook(said.clone(), NOW);
    let stored = roster.unsaved_trails();
    assert_eq!(stored, [(key("s"), Some(roster.hooks[&key("s")].clone()))]);
    roster.hook(said, NOW);
    assert_eq!(roster.unsaved_trails(), [], "the same call twice");
    let (_, process) = roster.hooked_processes().remove(0);
    let seen = HookedProcess { started: Some("1".into()), liveness: Liveness::Alive, ..process };
    roster.set_hooked_process(&key("s"), seen.clone());
    roster.set_hooked_process(&key("s"), seen);
    assert_eq!(roster.unsaved_trails().len(), 1);

    let mut next = self::roster();
    next.set(key("s"), entry(5, vec![prompt()]));
    next.restore_trails(stored.into_iter().filter_map(|(key, trail)| Some((key, trail?))));
    assert_eq!(row(&next, "s"), Session { live: None, pid: None, ..row(&roster, "s") });
    assert_eq!(next.unsaved_trails(), [], "it is stored");
}

#[test]
fn what_the_transcript_overruled_long_ago_is_forgotten() {
    let mut roster = roster();
    let ago = |roster: &mut Roster, id: &str, ms: i64, word| {
        roster.hook(HookEvent { pid: Some(42), ..event(id, ms, word) }, NOW.plus(-ms));
    };
    let day = SILENT_KEPT_MS + 60_000;
    for (id, ms, word) in [
        ("overruled", day, ask()),
        ("alive", day, ask()),
        ("recent", 60_000, ask()),
        ("left", day, HookWord::End),
        ("unwritten", day, HookWord::Prompt),
        ("ancient", HOOKS_KEPT_MS + 60_000, HookWord::End),
    ] {
        ago(&mut roster, id, ms, word);
        let silence = if id == "left" { ms / 1000 } else { 30 };
        if id != "unwritten" {
            roster.set(key(id), entry(silence, over()));
        }
    }
    let process = roster.hooks[&key("alive")].process.clone().unwrap();
    roster
        .set_hooked_process(&key("alive"), HookedProcess { liveness: Liveness::Alive, ..process });
    roster.unsaved_trails();
    let before = row(&roster, "left");
    roster.forget_old_trails(NOW);
    assert_eq!(roster.unsaved_trails(), [(key("ancient"), None), (key("overruled"), None)]);
    assert_eq!(roster.hooks.len(), 4);
    assert_eq!((row(&roster, "left"), before.status), (before, Status::Ended));
}
