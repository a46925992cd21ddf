//! The replay as a state machine: keys, answers and time in, a state out.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use proptest::prelude::*;
use ratatui::buffer::Buffer;
use rrd_proto::{Counts, EventKind, Mark, Outline, Stretch};

use super::*;
use crate::{
    replay::{
        events::{PAGE, tests::event},
        keys,
        timeline::tests::{T0, any_marks, mark},
        view,
    },
    table::tests::{NOW, session},
};

pub(crate) fn model(marks: Vec<Mark>) -> Model {
    let mut model = Model::new(session("b41f"), NOW);
    model.take(Told::Outline { lane: 0, outline: Outline { marks, ..Outline::default() } });
    draw(&mut model);
    model
}

/// Answers what the model asks for, as a daemon with these events would, until it asks no more.
pub(crate) fn answer(model: &mut Model, events: &[Event]) {
    loop {
        let asks = model.asks();
        if asks.is_empty() {
            return;
        }
        for ask in asks {
            let told = match ask {
                Ask::Page { of, page, before, count } => {
                    let end = events.partition_point(|event| event.seq < before);
                    let events = events[end.saturating_sub(count as usize)..end].to_vec();
                    Told::Page { lane: of.lane, page, events }
                }
                Ask::Body { of, seq } => {
                    let event = events.iter().find(|event| event.seq == seq).cloned();
                    Told::Body { lane: of.lane, seq, event }
                }
                Ask::Stretches { of } => Told::Stretches { lane: of.lane, stretches: Vec::new() },
                Ask::Lanes { .. } => Told::Lanes(Vec::new()),
                Ask::Outline { of, .. } => {
                    Told::Outline { lane: of.lane, outline: Outline::default() }
                }
            };
            model.take(told);
        }
    }
}

pub(crate) fn draw(model: &mut Model) -> Buffer {
    let mut buffer = Buffer::empty(Rect::new(0, 0, 100, 24));
    view::draw(model, &mut buffer, true);
    buffer
}

pub(crate) fn press(model: &mut Model, keys: &str) {
    for key in keys.chars() {
        let code = match key {
            '→' => KeyCode::Right,
            '←' => KeyCode::Left,
            '↓' => KeyCode::Down,
            '↑' => KeyCode::Up,
            '⇟' => KeyCode::PageDown,
            '⇞' => KeyCode::PageUp,
            '⇤' => KeyCode::Home,
            '⇥' => KeyCode::End,
            '⏎' => KeyCode::Enter,
            '⌫' => KeyCode::Backspace,
            '⎋' => KeyCode::Esc,
            '↹' => KeyCode::Tab,
            key => KeyCode::Char(key),
        };
        keys::press(model, KeyEvent::new(code, KeyModifiers::NONE));
        draw(model);
    }
}

fn point(model: &mut Model, kind: MouseEventKind, column: u16, row: u16) {
    keys::point(model, MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE });
    draw(model);
}

fn messages(count: u64) -> (Vec<Mark>, Vec<Event>) {
    let marks: Vec<_> =
        (0..count).map(|seq| mark(seq, seq as i64 * 1_000, EventKind::Message)).collect();
    let events = marks.iter().map(|mark| event(mark, &format!("say {}", mark.seq), None));
    let events = events.collect();
    (marks, events)
}

fn cursor(model: &Model) -> usize {
    model.lane().cursor
}

#[test]
fn it_begins_at_the_end_or_where_one_wants() {
    let (marks, _) = messages(100);
    assert!(cursor(&model(marks.clone())) == 99 && model(marks.clone()).follow);
    let begun = |at: Option<&str>, speed| {
        let at = at.map(|at| Moment::parse(at).unwrap());
        let mut model = Model::new(session("b41f"), NOW).begin(at, speed);
        let outline = Outline { marks: marks.clone(), ..Outline::default() };
        model.take(Told::Outline { lane: 0, outline });
        (model.lane().cursor, model.playing.is_some(), model.follow)
    };
    assert_eq!(begun(Some("-10s"), None), (89, false, false));
    assert_eq!(begun(Some("-10s"), Some(4)), (89, true, false));
    assert_eq!(begun(None, Some(4)), (0, true, false));
    assert_eq!(begun(Some("-5h"), None), (0, false, false));
}

#[test]
fn keys_go_where_they_say() {
    let (mut marks, _) = messages(300);
    marks[40].kind = EventKind::Error;
    marks[50].kind = EventKind::Prompt;
    marks[60].kind = EventKind::PermissionRequest;
    (marks[70].kind, marks[70].tool) = (EventKind::ToolCall, Some(ToolKind::Edit));
    let mut model = model(marks);
    for (keys, at) in [
        ("⇤", 0),
        ("→→→←", 2),
        ("↓↓↑", 3),
        ("e", 40),
        ("p", 50),
        ("w", 60),
        ("d", 70),
        ("d", 70),
        ("E", 40),
        ("⇥", 299),
        ("W", 60),
        ("D", 60),
        ("P", 50),
        ("←", 49),
        ("f", 299),
        ("⇤", 0),
        ("⇟", 15),
        ("⇞", 0),
        ("g-10s⏎", 289),
        ("gnoon⏎", 289),
        ("gx⌫⌫⎋", 289),
    ] {
        model.note = None;
        press(&mut model, keys);
        if cursor(&model) != at || model.mode != Mode::Watch {
            // Esc in an empty prompt leaves only the prompt; here the second backspace did.
            assert_eq!((keys, cursor(&model)), (keys, at));
        }
    }
    press(&mut model, "e");
    assert_eq!(model.note.as_deref(), Some("no error after this"));
    assert!(keys::press(&mut model, KeyEvent::new(KeyCode::Char('q'), KeyModifiers::NONE)));
    assert!(keys::press(&mut model, KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)));
}

#[test]
fn playing_takes_the_time_it_took_and_leaves_dead_time_out() {
    let (mut marks, _) = messages(10);
    // An hour between two turns, after the fifth.
    for mark in &mut marks[5..] {
        mark.at = mark.at.map(|at| at.plus(3_600_000));
    }
    (marks[4].kind, marks[5].kind) = (EventKind::TurnEnd, EventKind::Prompt);
    let mut model = model(marks);
    press(&mut model, " ");
    assert_eq!((cursor(&model), model.follow), (0, false));
    model.tick(2_500, NOW);
    assert_eq!(cursor(&model), 2);
    model.tick(2_400, NOW);
    assert_eq!(cursor(&model), 4);
    model.tick(200, NOW);
    assert_eq!(cursor(&model), 5, "an hour is a second");
    press(&mut model, "+++");
    assert_eq!(model.speed, 8);
    model.tick(300, NOW);
    assert_eq!(cursor(&model), 7);
    press(&mut model, " ");
    model.tick(10_000, NOW);
    assert_eq!(cursor(&model), 7);
    press(&mut model, " ");
    assert!(model.tick(10_000, NOW));
    assert!(cursor(&model) == 9 && model.playing.is_none() && model.follow);
    press(&mut model, "--------");
    assert_eq!(model.speed, 1);
}

#[test]
fn only_what_is_near_is_asked_for_and_only_once() {
    let (marks, events) = messages(PAGE as u64 * 20);
    let mut model = model(marks);
    let pages = |asks: Vec<Ask>| -> Vec<usize> {
        let page = |ask: &Ask| match ask {
            Ask::Page { page, .. } => Some(*page),
            _ => None,
        };
        asks.iter().filter_map(page).collect()
    };
    assert_eq!(pages(model.asks()), [18, 19], "the one looked at last, for it is answered first");
    assert!(model.asks().is_empty());
    press(&mut model, "⇤");
    assert_eq!(pages(model.asks()), [1, 0]);
    model.take(Told::Skipped(Id::Page(0, 1)));
    assert_eq!(pages(model.asks()), [1]);
    model.take(Told::Failed(Id::Page(0, 1), "away".to_owned()));
    assert!(model.asks().is_empty() && model.note.as_deref() == Some("away"));
    model.tick(10, NOW.plus(1_000));
    assert_eq!(pages(model.asks()), [1], "what failed is asked for again a second later");
    answer(&mut model, &events);
}

#[test]
fn what_happens_is_followed_until_one_goes_elsewhere() {
    let (marks, events) = messages(30);
    let mut model = model(marks[..10].to_vec());
    model.take(Told::Happened(events[10..15].to_vec()));
    assert_eq!(cursor(&model), 14);
    press(&mut model, "←");
    model.take(Told::Happened(events[15..20].to_vec()));
    assert_eq!((cursor(&model), model.lane().marks.len()), (13, 20));
    press(&mut model, "f");
    // What was there already and comes again is one.
    model.take(Told::Happened(events[18..25].to_vec()));
    assert_eq!((cursor(&model), model.lane().marks.len()), (24, 25));
    press(&mut model, "←→→");
    model.take(Told::Happened(events[25..].to_vec()));
    assert_eq!(cursor(&model), 29, "beyond the last one is the end, too");
}

#[test]
fn a_new_status_may_be_a_new_stretch() {
    let (marks, events) = messages(10);
    let mut model = model(marks);
    answer(&mut model, &events);
    let mut row = session("b41f");
    row.status_since = Some(NOW);
    model.take(Told::Row(Box::new(row)));
    let stretches = |asks: &[Ask]| asks.iter().any(|ask| matches!(ask, Ask::Stretches { .. }));
    assert!(stretches(&model.asks()) && !stretches(&model.asks()));
    let at = |ms| Some(Timestamp::from_millis(T0 + ms));
    let waited = Stretch {
        from: at(3_100).unwrap(),
        to: at(3_900),
        status: Status::Waiting,
        waiting_for: None,
        detail: None,
    };
    model.take(Told::Stretches { lane: 0, stretches: vec![waited] });
    press(&mut model, "W");
    assert_eq!(cursor(&model), 3, "what it waited at is what came before");
    // More marks, without stretches, are no word about those.
    model.take(Told::Outline { lane: 0, outline: Outline::default() });
    assert_eq!(model.lane().wait_count(), 1);
}

#[test]
fn a_search_goes_to_what_it_finds_and_around() {
    let (marks, _) = messages(100);
    let mut model = model(marks);
    press(&mut model, "⇤→→/say⏎");
    let search = model.search.take().unwrap();
    let leg = &search.legs[0];
    assert_eq!((search.text.as_str(), leg.begin, leg.first, leg.last), ("say", 2, 0, 99));
    let found = |seqs: &[u64], done| Told::Found {
        number: search.number,
        lane: 0,
        seqs: seqs.to_vec(),
        looked_at: 10,
        in_part: 0,
        done,
    };
    model.take(found(&[], false));
    assert_eq!(cursor(&model), 2);
    model.take(found(&[40, 50], false));
    assert_eq!(cursor(&model), 40);
    model.take(found(&[1], true));
    assert_eq!(cursor(&model), 40);
    press(&mut model, "n");
    assert_eq!(cursor(&model), 50);
    press(&mut model, "n");
    assert_eq!(cursor(&model), 1);
    press(&mut model, "N");
    assert_eq!(cursor(&model), 50);
    model.take(Told::Found {
        number: 99,
        lane: 0,
        seqs: vec![7],
        looked_at: 1,
        in_part: 0,
        done: true,
    });
    assert_eq!(model.found.as_ref().unwrap().hits.len(), 3, "another search's");
    press(&mut model, "⎋n");
    assert!(model.found.is_none() && model.note.is_some());
}

#[test]
fn a_row_opens_with_its_result() {
    let (mut marks, _) = messages(3);
    (marks[1].kind, marks[2].kind) = (EventKind::ToolCall, EventKind::ToolResult);
    let events: Vec<_> =
        marks.iter().map(|mark| event(mark, "x", (mark.seq > 0).then_some("c"))).collect();
    let mut model = model(marks);
    answer(&mut model, &events);
    draw(&mut model);
    press(&mut model, "⏎");
    let asked: Vec<_> = model.asks().iter().map(Ask::id).collect();
    assert_eq!(asked, [Id::Body(0, 1), Id::Body(0, 2)]);
    // Nobody has it any more: that is not asked for again.
    model.take(Told::Body { lane: 0, seq: 1, event: None });
    model.take(Told::Body { lane: 0, seq: 2, event: Some(events[2].clone()) });
    assert!(model.asks().is_empty());
    press(&mut model, "⏎");
    assert!(model.lane().opened.rows().is_empty());
}

#[test]
fn the_mouse_scrubs_scrolls_and_clicks() {
    let (marks, events) = messages(500);
    let mut model = model(marks);
    answer(&mut model, &events);
    let strip = model.areas.strip;
    let left = MouseButton::Left;
    point(&mut model, MouseEventKind::Down(left), strip.x, strip.y);
    assert_eq!(cursor(&model), 0);
    point(&mut model, MouseEventKind::Drag(left), strip.x + strip.width / 2, strip.y + 9);
    assert!((240..260).contains(&cursor(&model)), "{}", cursor(&model));
    point(&mut model, MouseEventKind::Drag(left), 999, strip.y);
    assert!(cursor(&model) > 490);
    point(&mut model, MouseEventKind::Up(left), 0, 0);
    point(&mut model, MouseEventKind::Drag(left), strip.x, strip.y);
    assert!(cursor(&model) > 490, "the button is not held any more");

    press(&mut model, "⇤");
    let list = model.areas.list;
    point(&mut model, MouseEventKind::Down(left), 20, list.y + 3);
    assert_eq!(cursor(&model), 3);
    point(&mut model, MouseEventKind::Down(left), 20, list.y + 3);
    assert!(model.lane().opened.is_open(3));
    press(&mut model, "c");
    point(&mut model, MouseEventKind::ScrollDown, 20, list.y);
    assert_eq!((cursor(&model), model.areas.rows[0].at), (3, 3));
    point(&mut model, MouseEventKind::ScrollDown, 20, list.y);
    assert_eq!((cursor(&model), model.areas.rows[0].at), (6, 6));
    (0..9).for_each(|_| point(&mut model, MouseEventKind::ScrollUp, 20, list.y));
    assert_eq!(model.areas.rows[0].at, 0);
}

#[test]
fn a_subagent_is_a_lane_of_its_own() {
    let (marks, _) = messages(60);
    let mut model = model(marks);
    let subagents = (0..1_000).map(|at| {
        let mut child = session(&format!("a{at}"));
        child.started_at = Some(Timestamp::from_millis(T0 + at * 40));
        child
    });
    model.take(Told::Lanes(subagents.map(|row| (1, row)).collect()));
    draw(&mut model);
    assert_eq!(model.areas.lanes.len(), 2, "and a line for the rest");
    let outlines =
        |asks: &[Ask]| asks.iter().filter(|ask| matches!(ask, Ask::Outline { .. })).count();
    assert_eq!(outlines(&model.asks()), 2, "only of what is seen");
    press(&mut model, "↹");
    assert_eq!(model.focus, 1);
    let marks = (0..5).map(|seq| mark(seq, 20_000 + seq as i64, EventKind::Message)).collect();
    model.take(Told::Outline { lane: 1, outline: Outline { marks, ..Outline::default() } });
    draw(&mut model);
    let (lane, area) = model.areas.lanes[0];
    assert_eq!(lane, 1);
    press(&mut model, "↹↹");
    point(&mut model, MouseEventKind::Down(MouseButton::Left), area.right() - 1, area.y);
    assert_eq!(
        (model.focus, model.lane().marks.len()),
        (2, 0),
        "lanes move with what is looked at"
    );
    model.take(Told::Lanes(vec![(1, session("a0"))]));
    assert_eq!(model.lanes.len(), 1_001);
}

#[test]
fn where_a_subagent_begins_one_goes_to_its_lane() {
    let (mut marks, mut events) = messages(60);
    for (at, kind, subagent) in [
        (10, EventKind::SubagentStart, Some("a7")),
        (20, EventKind::SubagentStop, Some("a7")),
        (30, EventKind::SubagentStart, None),
        (40, EventKind::SubagentStart, Some("agent:main:subagent:1")),
    ] {
        (marks[at].kind, events[at].kind) = (kind, kind);
        events[at].subagent = subagent.map(str::to_owned);
    }
    let mut model = model(marks);
    let lanes = (0..1_000).map(|at| (1 + at % 3, session(&format!("a{at}"))));
    model.take(Told::Lanes(lanes.collect()));
    answer(&mut model, &events);
    model.go(10);
    press(&mut model, "⏎");
    assert_eq!((model.focus, model.follow), (8, false));
    // Its marks come later: one is where one came from, in time.
    let own = (0..9).map(|seq| mark(seq, 6_000 + seq as i64 * 1_000, EventKind::Message)).collect();
    model.take(Told::Outline { lane: 8, outline: Outline { marks: own, ..Outline::default() } });
    assert_eq!(cursor(&model), 4, "ten seconds after the beginning of the main lane");
    let picture = draw(&mut model);
    let line = |y: u16| (0..100).map(|x| picture[(x, y)].symbol()).collect::<String>();
    let shown: Vec<_> = (0..8).map(line).collect();
    assert!(shown.iter().any(|line| line.contains("+998 more")), "{shown:#?}");
    assert!(shown.iter().any(|line| line.contains("›")), "{shown:#?}");

    let note_at = |model: &mut Model, at: usize| {
        (model.focus, model.note) = (0, None);
        model.go(at);
        press(model, "⏎");
        (model.focus, model.note.clone().unwrap_or_default())
    };
    assert_eq!(note_at(&mut model, 20), (8, String::new()));
    let (focus, note) = note_at(&mut model, 30);
    assert!(focus == 0 && note.contains("does not say"), "{note}");
    let (focus, note) = note_at(&mut model, 40);
    assert!(focus == 0 && note.contains("not known"), "{note}");
}

proptest! {
    // Each key is a picture: some cases say as much as hundreds.
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn no_keys_and_no_answers_break_it(
        marks in any_marks(),
        keys in "[→←↓↑⇟⇞⇤⇥⏎⌫⎋↹eEwWdDpP +\\-g/nNcf?x0:]{0,24}",
        clicks in proptest::collection::vec((0_u16..110, 0_u16..30, 0_u8..4), 0..4),
        size in (0_u16..120, 0_u16..40),
    ) {
        let events: Vec<_> = marks
            .iter()
            .map(|mark| event(mark, "x", (mark.seq % 3 > 0).then(|| ["a", "b"][(mark.seq / 3 % 2) as usize])))
            .collect();
        let mut model = model(marks);
        model.take(Told::Lanes(vec![(1, session("child"))]));
        for (at, key) in keys.chars().enumerate() {
            press(&mut model, &key.to_string());
            if at % 3 == 0 {
                answer(&mut model, &events);
            }
            model.tick(700, NOW.plus(at as i64 * 400));
            let mut buffer = Buffer::empty(Rect::new(0, 0, size.0, size.1));
            view::draw(&mut model, &mut buffer, false);
            for (column, row, kind) in &clicks {
                let kind = [
                    MouseEventKind::Down(MouseButton::Left),
                    MouseEventKind::Drag(MouseButton::Left),
                    MouseEventKind::ScrollDown,
                    MouseEventKind::ScrollUp,
                ][usize::from(*kind)];
                point(&mut model, kind, *column, *row);
            }
            let lane = model.lane();
            prop_assert!(lane.marks.is_empty() || lane.cursor < lane.marks.len());
        }
    }
}

/// A main lane of sixty messages and a thousand subagents, of which two failed.
fn with_failed_lanes() -> Model {
    let mut model = model(messages(60).0);
    let lanes = (0..1_000).map(|at| {
        let mut child = session(&format!("a{at}"));
        child.title = Some(format!("part {at}"));
        child.started_at = Some(Timestamp::from_millis(T0 + at * 40));
        let errors = if [400, 700].contains(&at) { 3 } else { 0 };
        child.counts = Some(Counts { errors, ..child.counts.unwrap_or_default() });
        (1, child)
    });
    model.take(Told::Lanes(lanes.collect()));
    draw(&mut model);
    model
}

fn outline_of(marks: Vec<Mark>) -> Outline {
    Outline { marks, ..Outline::default() }
}

#[test]
fn what_failed_in_a_folded_lane_is_seen_and_can_be_gone_to() {
    let mut model = with_failed_lanes();
    let picture = draw(&mut model);
    let line = |y: u16| (0..100).map(|x| picture[(x, y)].symbol()).collect::<String>();
    let folded = (0..8).map(line).find(|line| line.contains("+998 ✕6")).unwrap();
    assert_eq!(folded.matches('✕').count(), 3, "and where these began: {folded}");
    press(&mut model, "⇤e");
    assert_eq!((model.focus, model.follow), (401, false));
    let note = model.note.clone().unwrap_or_default();
    assert_eq!(note, "no error after that: the next is in part 400");
    let mut own: Vec<_> = (0..9).map(|seq| mark(seq, seq as i64, EventKind::Message)).collect();
    own[5].is_error = true;
    model.take(Told::Outline { lane: 401, outline: outline_of(own) });
    assert_eq!(cursor(&model), 5);
    press(&mut model, "e");
    assert_eq!(model.focus, 701);
    model.take(Told::Outline { lane: 701, outline: outline_of(Vec::new()) });
    press(&mut model, "e");
    assert_eq!((model.focus, model.note.as_deref()), (701, Some("no error after this")));
}

#[test]
fn a_search_goes_through_all_lanes() {
    let mut model = with_failed_lanes();
    press(&mut model, "⇤→→/say⏎");
    let search = model.search.take().unwrap();
    let lanes: Vec<_> = search.legs.iter().map(|leg| leg.of.lane).collect();
    assert_eq!(lanes, (0..1_001).collect::<Vec<_>>());
    let own = &search.legs[0];
    assert_eq!((own.first, own.begin, own.last), (0, 2, 59));
    assert_eq!(search.legs[7].last, u64::MAX - 1, "as much as there is");
    let found = |lane, seqs: &[u64], done| Told::Found {
        number: search.number,
        lane,
        seqs: seqs.to_vec(),
        looked_at: 10,
        in_part: 0,
        done,
    };
    model.take(found(0, &[], false));
    model.take(found(7, &[3], false));
    assert_eq!((model.focus, model.note.as_deref()), (7, Some("found in part 6")));
    let own = (0..9).map(|seq| mark(seq, seq as i64, EventKind::Message)).collect();
    model.take(Told::Outline { lane: 7, outline: outline_of(own) });
    assert_eq!(cursor(&model), 3);
    model.take(found(9, &[0], true));
    press(&mut model, "n");
    assert_eq!((model.focus, model.note.as_deref()), (9, Some("found in part 8")));
    press(&mut model, "n");
    assert_eq!((model.focus, cursor(&model)), (7, 3), "around the end");
    press(&mut model, "N");
    assert_eq!(model.focus, 9);
    // From a lane it begins there.
    press(&mut model, "/x⏎");
    assert_eq!(model.search.take().unwrap().legs[0].of.lane, 9);
}

#[test]
fn an_event_that_there_is_not_is_said_to_be_none() {
    for (event, at, note) in
        [(998, 59, Some("its last event is e60")), (59, 59, None), (0, 0, None)]
    {
        let mut model = model(messages(60).0);
        model.go_to(&Moment::Event(event));
        assert_eq!((cursor(&model), model.note.as_deref()), (at, note), "{event}");
    }
}
