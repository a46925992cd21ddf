//! What calls add up to, in whatever order they come.

use proptest::prelude::*;
use rrd_proto::Harness;

use super::*;

const START: Timestamp = Timestamp::from_millis(1_795_170_000_000);

fn at(ms: i64) -> Timestamp {
    START.plus(ms)
}

fn event(ms: i64, word: HookWord) -> HookEvent {
    let session = SessionKey { harness: Harness::Codex, session_id: "s".into() };
    HookEvent {
        id: 0,
        at: at(ms),
        session,
        agent: None,
        word,
        cwd: None,
        transcript: None,
        pid: None,
        attach: None,
    }
}

fn of(agent: &str, event: HookEvent) -> HookEvent {
    HookEvent { agent: Some(agent.into()), ..event }
}

fn tool(id: Option<&str>, summary: &str) -> HookTool {
    let (id, name) = (id.map(str::to_owned), "Bash".to_owned());
    HookTool { id, name, summary: summary.into(), asks: false }
}

fn stop() -> HookWord {
    HookWord::Stop { result: TurnResult::Completed, background: false }
}

fn trail(events: impl IntoIterator<Item = HookEvent>) -> Trail {
    let mut trail = Trail::default();
    for event in events {
        trail.take(event);
    }
    trail
}

fn says(events: impl IntoIterator<Item = HookEvent>) -> (Option<HookState>, usize) {
    let hooked = trail(events).hooked;
    (hooked.turn.map(|turn| turn.state), hooked.waits.len())
}

#[test]
fn calls_in_order() {
    use HookState::{Background, Ended, Open, Over};
    let call = |id, of| HookWord::Call(tool(Some(id), of));
    let result = |id, of| HookWord::Result(tool(Some(id), of));
    let ask = |of| HookWord::Ask(tool(None, of));
    let question = HookTool { asks: true, ..tool(Some("q"), "Which?") };
    let works_on = HookWord::Stop { result: TurnResult::Completed, background: true };
    let dialog = HookWord::Dialog(WaitingFor::Permission);
    let (over, done) = (Over(None), Over(Some(TurnResult::Completed)));
    for (what, words, want) in [
        ("nothing told", vec![HookWord::Nothing], (None, 0)),
        ("begun", vec![HookWord::Start], (Some(over), 0)),
        ("asked", vec![HookWord::Start, HookWord::Prompt], (Some(Open), 0)),
        ("a dialog", vec![call("1", "a"), ask("a")], (Some(Open), 1)),
        ("told twice", vec![call("1", "a"), ask("a"), ask("a"), dialog.clone()], (Some(Open), 1)),
        ("allowed", vec![call("1", "a"), ask("a"), result("1", "a")], (Some(Open), 0)),
        (
            "another tool answers meanwhile",
            vec![call("1", "a"), ask("a"), call("2", "b"), result("2", "b")],
            (Some(Open), 1),
        ),
        ("two dialogs", vec![call("1", "a"), ask("a"), call("2", "b"), ask("b")], (Some(Open), 2)),
        ("only the notification", vec![HookWord::Prompt, dialog.clone()], (Some(Open), 1)),
        ("answered", vec![ask("a"), HookWord::Answer(None)], (None, 0)),
        ("a question", vec![HookWord::Call(question)], (Some(Open), 1)),
        ("abandoned", vec![ask("a"), HookWord::Prompt], (Some(Open), 0)),
        ("over", vec![HookWord::Prompt, ask("a"), stop()], (Some(done), 0)),
        ("works on", vec![HookWord::Prompt, works_on], (Some(Background), 0)),
        ("at its prompt", vec![HookWord::Prompt, stop(), HookWord::AtPrompt], (Some(done), 0)),
        ("after an interrupt", vec![ask("a"), HookWord::AtPrompt], (Some(over), 0)),
        ("left", vec![HookWord::Prompt, ask("a"), HookWord::End], (Some(Ended), 0)),
        ("over after the end", vec![HookWord::End, stop(), dialog], (Some(Ended), 0)),
        ("a result after the end", vec![HookWord::End, result("1", "a")], (Some(Ended), 0)),
        ("gone on", vec![HookWord::End, HookWord::Start], (Some(over), 0)),
        ("gone on at once", vec![HookWord::End, HookWord::Prompt], (Some(Open), 0)),
        ("begun twice", vec![HookWord::Start, HookWord::Start], (Some(over), 0)),
    ] {
        let events = words.into_iter().enumerate().map(|(i, word)| event(i as i64, word));
        assert_eq!(says(events), want, "{what}");
    }
}

#[test]
fn a_delegate_does_not_move_its_parent() {
    let begun = [event(0, HookWord::Prompt), event(1, HookWord::Call(tool(Some("1"), "go")))];
    let child = |ms, word| of("c", event(ms, word));
    let busy = || begun.iter().cloned();
    let asks = || child(3, HookWord::Ask(tool(None, "rm")));
    let open = Some(HookState::Open);
    assert_eq!(says(busy().chain([child(2, HookWord::Prompt), child(4, stop())])), (open, 0));
    assert_eq!(says(busy().chain([asks()])), (open, 1), "somebody must allow it");
    let own = event(4, HookWord::Result(tool(Some("2"), "rm")));
    assert_eq!(says(busy().chain([asks(), own])), (open, 1), "that was another one");
    let answer = child(4, HookWord::Result(tool(Some("2"), "rm")));
    assert_eq!(says(busy().chain([asks(), answer])), (open, 0));
    assert_eq!(says(busy().chain([asks(), child(4, HookWord::AgentStop)])), (open, 0));
    // At a compaction a delegate stops that never started.
    assert_eq!(says([event(0, stop()), child(1, HookWord::AgentStop)]).1, 0);

    let own = |word| child(5, word).of_delegate().unwrap();
    assert_eq!(own(HookWord::AgentStart).word, HookWord::Prompt);
    assert_eq!((own(HookWord::AgentStop).word, own(stop()).agent), (stop(), None));
    assert_eq!(own(stop()).session.session_id, "c");
}

#[test]
fn a_call_that_comes_late_finds_its_place() {
    let ask = event(1, HookWord::Ask(tool(None, "rm")));
    let result = event(2, HookWord::Result(tool(Some("1"), "rm")));
    let call = event(0, HookWord::Call(tool(Some("1"), "rm")));
    assert_eq!(says([result.clone(), ask.clone(), call]).1, 0);

    let known = HookEvent { id: 7, ..ask };
    let mut trail = trail([known.clone()]);
    assert!(!trail.take(known), "sent, and spooled too");
    for ms in 10..10 + RECENT as i64 {
        assert!(trail.take(event(ms, HookWord::Nothing)));
    }
    assert!(!trail.take(result), "too late to say what it changed");
    assert_eq!(trail.hooked.waits.len(), 1);
}

#[test]
fn a_turn_keeps_when_it_began() {
    let hooked =
        trail([event(5, HookWord::Prompt), event(9, HookWord::Call(tool(None, "a")))]).hooked;
    let turn = hooked.turn.unwrap();
    assert_eq!((turn.since, turn.at, hooked.last), (at(5), at(9), at(9)));
    let activity = hooked.activity(&Fold::default()).unwrap();
    assert_eq!((activity.summary.as_str(), activity.since), ("a", Some(at(9))));
}

/// What an earlier release stored is read by every later one.
#[test]
fn a_stored_trail_is_read_back() {
    assert_eq!(serde_json::from_str::<Trail>("{}").unwrap(), Trail::default());
    let stored = r#"{
        "before": {"last": "2026-11-20T10:00:00.000Z",
            "turn": {"state": {"Over": "completed"}, "at": "2026-11-20T10:00:00.000Z",
                "since": "2026-11-20T09:59:00.000Z"},
            "waits": [{"agent": "a", "tool": null, "waiting_for": "input",
                "since": "2026-11-20T10:00:00.000Z"}], "calls": [], "added_since": 1},
        "recent": [
            {"id": 7, "at": "2026-11-20T10:00:02.000Z",
                "session": {"harness": "codex", "session_id": "s"}, "agent": null,
                "word": {"Ask": {"id": null, "name": "Bash", "summary": "rm", "asks": false}},
                "cwd": "/w", "transcript": null, "pid": 42, "attach": null}],
        "cwd": "/w",
        "process": {"pid": 42, "named_at": "2026-11-20T10:00:02.000Z", "started": "7",
            "liveness": "Alive"},
        "delegate": false}"#;
    let mut trail: Trail = serde_json::from_str(stored).unwrap();
    trail.restore();
    assert_eq!(trail.hooked.turn.unwrap().state, HookState::Over(Some(TurnResult::Completed)));
    let waits: Vec<_> = trail.hooked.waits.iter().map(|wait| wait.waiting_for).collect();
    assert_eq!(waits, [WaitingFor::Input, WaitingFor::Permission]);
    let process = trail.process.unwrap();
    assert_eq!((process.started.as_deref(), process.liveness), (Some("7"), Liveness::Unknown));
}

fn words() -> impl Strategy<Value = HookWord> {
    prop_oneof![
        Just(HookWord::Start),
        Just(HookWord::Prompt),
        Just(HookWord::AtPrompt),
        Just(HookWord::End),
        Just(HookWord::AgentStart),
        Just(HookWord::AgentStop),
        Just(HookWord::Answer(None)),
        Just(HookWord::Dialog(WaitingFor::Permission)),
        any::<bool>()
            .prop_map(|background| HookWord::Stop { result: TurnResult::Error, background }),
        (0..3u8).prop_map(|id| HookWord::Call(tool(Some(&id.to_string()), "x"))),
        (0..3u8).prop_map(|id| HookWord::Ask(tool(Some(&id.to_string()), "x"))),
        (0..3u8).prop_map(|id| HookWord::Result(tool(Some(&id.to_string()), "x"))),
    ]
}

proptest! {
    /// The order in which calls arrive does not matter, as long as few are late at a time.
    #[test]
    fn arrival_does_not_matter(
        words in proptest::collection::vec((words(), 0..3u8), 1..40),
        swaps in proptest::collection::vec(0..39usize, 0..15),
    ) {
        let events: Vec<_> = words.into_iter().enumerate().map(|(i, (word, agent))| {
            let mut event = event(i as i64, word);
            event.agent = (agent > 0).then(|| format!("agent {agent}"));
            event
        }).collect();
        let mut shuffled = events.clone();
        for at in swaps {
            // A swap moves each by one place, at most.
            if at + 1 < shuffled.len() && (shuffled[at].at < shuffled[at + 1].at) {
                shuffled.swap(at, at + 1);
            }
        }
        prop_assert_eq!(trail(events).hooked, trail(shuffled).hooked);
    }

    /// A trail that was stored goes on as if it had not been.
    #[test]
    fn storing_changes_nothing(
        words in proptest::collection::vec((words(), 0..3u8), 1..40), stored_at in 0..40usize,
    ) {
        let (mut whole, mut stored) = (Trail::default(), Trail::default());
        for (i, (word, agent)) in words.into_iter().enumerate() {
            let agent = (agent > 0).then(|| format!("agent {agent}"));
            let event = HookEvent { id: i as u64, agent, ..event(i as i64, word) };
            if i == stored_at {
                let text = serde_json::to_string(&stored).unwrap();
                stored = serde_json::from_str(&text).unwrap();
                stored.restore();
            }
            whole.take(event.clone());
            stored.take(event);
            prop_assert_eq!(&whole, &stored);
        }
    }

    /// However many calls there are, little is kept of them.
    #[test]
    fn little_is_kept(words in proptest::collection::vec(words(), 0..120)) {
        let trail = trail(words.into_iter().enumerate().map(|(i, word)| event(i as i64, word)));
        prop_assert!(trail.recent.len() <= RECENT);
        prop_assert!(trail.hooked.waits.len() <= MAX_OPEN && trail.hooked.calls.len() <= MAX_OPEN);
    }
}
