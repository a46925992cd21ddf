//! What was stored of hooks' words is judged anew: above all, whose pid it was.

use std::time::Duration;

use rrd_core::{hook::HookEvent, hook::HookWord, live::Liveness, roster::Place};
use rrd_proto::Harness;

use super::*;
use crate::process::Process;

fn hub() -> Hub {
    let place = Place { host: "h".into(), node_id: None, idle_timeout: Duration::from_secs(300) };
    Hub::new(place, &[])
}

fn key() -> SessionKey {
    SessionKey { harness: Harness::ClaudeCode, session_id: "s".into() }
}

fn named(minutes_ago: i64) -> HookEvent {
    let at = now().plus(-minutes_ago * 60_000);
    HookEvent {
        id: at.as_millis().unsigned_abs(),
        at,
        session: key(),
        agent: None,
        word: HookWord::Prompt,
        cwd: None,
        transcript: None,
        pid: Some(42),
        attach: None,
    }
}

/// A process table in which pid 42 is this.
fn table(domain: &str, found: Process) -> ProcessTable {
    ProcessTable::scripted(Some(domain.to_owned()), move |pid| match pid {
        42 => found.clone(),
        _ => Process::Gone,
    })
}

fn started(at: &str) -> Process {
    Process::Started(at.to_owned())
}

/// What an earlier daemon stored, that saw such a process `minutes_ago`, or came too late to see one.
fn stored(minutes_ago: i64, saw: Option<&str>) -> (SessionKey, TrailState) {
    let hub = hub();
    hub.apply(Input::Hook(named(minutes_ago)));
    let (key, mut trail) = hub.trails().remove(0);
    if let (Some(process), Some(saw)) = (trail.process.as_mut(), saw) {
        (process.started, process.liveness) = (Some(saw.to_owned()), Liveness::Alive);
    }
    (key, TrailState { domain: Some("here".to_owned()), trail })
}

fn liveness(hub: &Hub) -> Option<Liveness> {
    hub.trails()[0].1.process.as_ref().map(|process| process.liveness)
}

#[test]
fn a_process_is_the_one_that_was_named_or_it_is_gone() {
    use Liveness::{Alive, Dead, Unknown};
    for (saw, finds, then) in [
        (Some("1"), started("1"), Alive),
        (Some("1"), started("2"), Dead),
        (Some("1"), Process::Gone, Dead),
        (Some("1"), Process::Unknown, Unknown),
        (None, started("1"), Unknown),
        (None, Process::Gone, Dead),
    ] {
        let hub = hub();
        restore(&hub, &table("here", finds.clone()), [stored(10, saw)]);
        assert_eq!(liveness(&hub), Some(then), "{saw:?} {finds:?}");
    }
    // A pid of another container says nothing here.
    let hub = hub();
    restore(&hub, &table("elsewhere", Process::Gone), [stored(10, Some("1"))]);
    assert_eq!(liveness(&hub), None);
}

#[test]
fn a_pid_that_comes_again_is_the_next_process() {
    let hub = hub();
    let reused = table("here", started("2"));
    restore(&hub, &reused, [stored(10, Some("1"))]);
    assert_eq!(liveness(&hub), Some(Liveness::Dead));
    // A call that comes late is the dead one's.
    hub.apply(Input::Hook(named(11)));
    look_at_processes(&hub, &reused);
    assert_eq!(liveness(&hub), Some(Liveness::Dead));
    hub.apply(Input::Hook(named(0)));
    look_at_processes(&hub, &reused);
    assert_eq!(liveness(&hub), Some(Liveness::Alive));
    // From here on it is known, also to the next daemon.
    let next = hub.trails().remove(0).1.process.and_then(|process| process.started);
    assert_eq!(next.as_deref(), Some("2"));
}

#[test]
fn a_call_while_no_daemon_ran_does_not_make_a_known_process_another() {
    let hub = hub();
    let same = table("here", started("1"));
    restore(&hub, &same, [stored(10, Some("1"))]);
    hub.apply(Input::Hook(named(5)));
    look_at_processes(&hub, &same);
    assert_eq!(liveness(&hub), Some(Liveness::Alive));
}
