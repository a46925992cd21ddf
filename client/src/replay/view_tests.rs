//! Pictures of a replay, as plain strings.

use ratatui::layout::Rect;
use rrd_proto::{
    Body, Event, EventKind, Gap, Limit, Mark, Outline, Stretch, Timestamp, ToolKind, WaitingFor,
};

use super::*;
use crate::{
    replay::{
        ask::Told,
        events::tests::event,
        model::tests::{answer, press},
        timeline::tests::{T0, mark},
    },
    table::tests::{session, waiting},
    text::is_unsafe,
};

/// How the sketch of the interface comes out, at 100 × 20.
const SKETCH: &str = "\
\x20Publish the crate · claude-code · mac:/home/dev/src/rrd · main          ● waiting · permission 14m
RULE
 main       ▄    ▄      ▄        ▄  █        ▄   ✕▄●●●●●●●●●●●●●●●●●●●●●●●●●●●●●●●●●●●●●●●●     15m
                                    ▲ 00:00:00   event 5 of 10   ✕ 1 error   ● 1 wait   █ 1 edit
RULE
 00:00:00  prompt       Publish it, then tag the release.
 00:00:00  message      I'll run the checks first, then …
 00:00:00  Bash         cargo test --workspace                                             ✓ 8.0s ▸
 00:00:00 ▸Edit         client/Cargo.toml                                                  ✓ 0.0s ▾
           │ client/Cargo.toml
           │ -version = \"0.1.0\"
           │ +version = \"0.2.0\"
           │ ╌╌ result · 4 B
           │ done
 00:00:00  Bash         cargo publish                                                      ✕ 3.0s ▸
             ╰ error: no token
 00:00:00  title        Publish the crate
 00:00:00  Bash         npm publish --access public                           ● 14m, not answered ▸
RULE
 ←→ step  e error  w wait  d edit  space play  / search  ⏎ open  g time  q leave  ? help";

const MINUTE: i64 = 60_000;

/// Second, kind, tool's kind, text, and the tool with the id of its call.
type Said = (i64, EventKind, Option<ToolKind>, &'static str, Option<(&'static str, &'static str)>);

/// What the sketch of the interface shows.
fn sketch() -> (Vec<Mark>, Vec<Event>) {
    let says: [Said; 10] = [
        (0, EventKind::Prompt, None, "Publish it, then tag the release.", None),
        (5, EventKind::Message, None, "I'll run the checks first, then …", None),
        (
            11,
            EventKind::ToolCall,
            Some(ToolKind::Command),
            "cargo test --workspace",
            Some(("Bash", "a")),
        ),
        (19, EventKind::ToolResult, Some(ToolKind::Command), "ok", Some(("Bash", "a"))),
        (22, EventKind::ToolCall, Some(ToolKind::Edit), "client/Cargo.toml", Some(("Edit", "b"))),
        (22, EventKind::ToolResult, Some(ToolKind::Edit), "done", Some(("Edit", "b"))),
        (30, EventKind::ToolCall, Some(ToolKind::Command), "cargo publish", Some(("Bash", "c"))),
        (
            33,
            EventKind::ToolResult,
            Some(ToolKind::Command),
            "error: no token",
            Some(("Bash", "c")),
        ),
        (34, EventKind::Title, None, "Publish the crate", None),
        (
            35,
            EventKind::ToolCall,
            Some(ToolKind::Command),
            "npm publish --access public",
            Some(("Bash", "d")),
        ),
    ];
    let mut marks = Vec::new();
    let mut events = Vec::new();
    for (seq, (second, kind, tool, text, call)) in (0..).zip(says) {
        let mut mark = mark(seq, second * 1_000, kind);
        (mark.tool, mark.is_error) = (tool, text.starts_with("error"));
        let mut event = event(&mark, text, call.map(|(_, id)| id));
        event.tool = call.map(|(tool, _)| tool.to_owned());
        let whole = match text {
            "client/Cargo.toml" => {
                r#"{"file_path":"client/Cargo.toml","old_string":"version = \"0.1.0\"","new_string":"version = \"0.2.0\""}"#
            }
            text => text,
        };
        event.body = Some(Body { text: whole.to_owned(), size: whole.len() as u64, cut: None });
        marks.push(mark);
        events.push(event);
    }
    (marks, events)
}

fn model() -> (Model, Vec<Event>) {
    let (marks, events) = sketch();
    let now = Timestamp::from_millis(T0 + 15 * MINUTE);
    let mut session = waiting("b41f", "Bash: npm publish --access public");
    session.status_since = Some(Timestamp::from_millis(T0 + 35_000));
    let mut model = Model::new(session, now);
    let stretch = Stretch {
        from: Timestamp::from_millis(T0 + 35_000),
        to: None,
        status: Status::Waiting,
        waiting_for: Some(WaitingFor::Permission),
        detail: None,
    };
    let outline = Outline { marks, stretches: vec![stretch], ..Outline::default() };
    model.take(Told::Outline { lane: 0, outline });
    answer(&mut model, &events);
    (model, events)
}

fn picture(model: &mut Model, width: u16, height: u16) -> String {
    let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
    draw(model, &mut buffer, true);
    let line = |y| {
        let line: String = (0..width).map(|x| buffer[(x, y)].symbol()).collect();
        line.trim_end().to_owned()
    };
    (0..height).map(line).collect::<Vec<_>>().join("\n")
}

/// Times of day depend on where this runs; only their places are compared.
fn timeless(picture: &str) -> String {
    let mut shown = String::new();
    let digit = |at: usize| picture.as_bytes().get(at).is_some_and(u8::is_ascii_digit);
    for (at, c) in picture.char_indices() {
        let around = [at.wrapping_sub(1), at + 1, at.wrapping_sub(2), at + 2];
        let colon = |at: &usize| picture.as_bytes().get(*at) == Some(&b':');
        shown.push(if digit(at) && around.iter().any(colon) { '0' } else { c });
    }
    shown
}

#[test]
fn it_looks_like_this() {
    let (mut model, events) = model();
    press(&mut model, "⇤d⏎");
    answer(&mut model, &events);
    assert_eq!(timeless(&picture(&mut model, 100, 20)), SKETCH.replace("RULE", &"─".repeat(100)));
}

#[test]
fn no_window_is_too_small_and_none_too_large() {
    let (mut model, events) = model();
    press(&mut model, "⏎?");
    for width in (0..50).chain([79, 300]) {
        for height in (0..22).chain([80]) {
            picture(&mut model, width, height);
            answer(&mut model, &events);
        }
        press(&mut model, "?←");
    }
    press(&mut model, "⇥");
    let tiny = picture(&mut model, 30, 5);
    assert!(tiny.contains('▲') && tiny.contains("▸Bash"), "{tiny}");
    assert_eq!(picture(&mut Model::new(session("b41f"), model.now), 60, 8).lines().count(), 8);
}

#[test]
fn without_colours_nothing_is_lost() {
    let (mut model, _) = model();
    let mut buffer = Buffer::empty(Rect::new(0, 0, 100, 20));
    draw(&mut model, &mut buffer, false);
    for cell in buffer.content() {
        assert_eq!((cell.fg, cell.bg), Default::default(), "{cell:?}");
    }
    let strip = model.areas.strip;
    let strip: String = (strip.x..strip.right()).map(|x| buffer[(x, strip.y)].symbol()).collect();
    assert!(strip.contains('✕') && strip.contains('●') && strip.contains('█'), "{strip}");
}

#[test]
fn what_was_taken_back_or_copied_says_so() {
    let (mut marks, mut events) = sketch();
    marks.truncate(2);
    events.truncate(2);
    (marks[1].withdrawn, events[1].withdrawn) = (true, true);
    let mut model = Model::new(session("b41f"), Timestamp::from_millis(T0));
    let copied_to = Some(Timestamp::from_millis(T0 + 1_000));
    let gaps = vec![Gap { first: 7, last: 1_240, why: Limit::Session }];
    let outline = Outline { marks, copied_to, dropped: 1_234, gaps, ..Outline::default() };
    model.take(Told::Outline { lane: 0, outline });
    answer(&mut model, &events);
    let picture = picture(&mut model, 100, 14);
    assert!(picture.contains("\n⋮") && picture.contains("\n~"), "{picture}");
    assert!(
        picture.contains("(taken back) I'll run")
            && picture.contains("1,234 not kept whole (activity.session)"),
        "{picture}"
    );
}

#[test]
fn no_window_is_too_narrow_to_say_that_something_is_missing() {
    let marks: Vec<_> =
        (0..40).map(|seq| mark(seq, seq as i64 * 1_000, EventKind::Message)).collect();
    let mut model = Model::new(session("b41f"), Timestamp::from_millis(T0 + MINUTE));
    let gaps = vec![Gap { first: 7, last: 1_240, why: Limit::Session }];
    let outline = Outline { marks, dropped: 1_234, gaps, ..Outline::default() };
    model.take(Told::Outline { lane: 0, outline });
    let line = |model: &mut Model, width: u16| {
        let picture = picture(model, width, 20);
        picture.lines().find(|line| line.contains('▲')).unwrap().to_owned()
    };
    for at in (0..40).step_by(3) {
        model.go(at);
        for width in 36..=120 {
            let line = line(&mut model, width);
            assert!(line.contains("not kept whole"), "{width} columns, {at}: {line}");
        }
        let said = timeless(&line(&mut model, 60));
        assert!(said.contains("00:00:00"), "when is worth more than which and how many: {said}");
    }
    model.go(39);
    let said = line(&mut model, 60);
    assert!(said.contains("event 40 of 40   not kept whole"), "{said}");
    model.go(0);
    let said = line(&mut model, 80);
    assert!(said.contains("event 1 of 40   1,234 not kept whole"), "{said}");
}

#[test]
fn a_search_says_what_it_could_not_look_through() {
    let (mut model, _) = model();
    press(&mut model, "/cargo⏎");
    let number = model.search.take().unwrap().number;
    let found = |in_part| Told::Found {
        number,
        lane: 0,
        seqs: vec![2],
        looked_at: 10,
        in_part,
        done: true,
    };
    model.take(found(0));
    assert!(!picture(&mut model, 60, 20).contains("in part"));
    model.take(found(3));
    let picture = picture(&mut model, 60, 20);
    assert!(picture.contains("\"cargo\" 1 of 1  3 searched in part"), "{picture}");
}

#[test]
fn a_closed_edit_tells_how_much_it_changes() {
    let (mut model, events) = model();
    picture(&mut model, 100, 20);
    answer(&mut model, &events);
    let edit = |model: &mut Model, width: u16| {
        let picture = picture(model, width, 20);
        picture.lines().find(|line| line.contains("Edit ")).unwrap().to_owned()
    };
    assert!(edit(&mut model, 100).ends_with(" +1 −1  ✓ 0.0s ▸"), "{}", edit(&mut model, 100));
    assert!(edit(&mut model, 40).ends_with("✓ 0.0s ▸"), "its text is worth more than that");
    // Nothing but that is remembered of what it wrote.
    let seq = events.iter().find(|event| event.tool.as_deref() == Some("Edit")).unwrap().seq;
    assert!(model.lane().opened.is_measured(seq) && !model.lane().opened.has(seq));
    assert!(model.asks().is_empty(), "it is asked for once");
}

#[test]
fn both_branches_and_what_was_copied_are_marked() {
    let said = ["from the parent", "its own", "the wrong way", "the other way"];
    let mut marks: Vec<_> =
        (0..4).map(|seq| mark(seq, seq as i64 * 1_000, EventKind::Prompt)).collect();
    marks[2].withdrawn = true;
    let events: Vec<_> =
        marks.iter().zip(said).map(|(mark, said)| event(mark, said, None)).collect();
    let mut model = Model::new(session("b41f"), Timestamp::from_millis(T0 + MINUTE));
    let copied_to = Some(Timestamp::from_millis(T0 + 500));
    let outline = Outline { marks, copied_to, ..Outline::default() };
    model.take(Told::Outline { lane: 0, outline });
    answer(&mut model, &events);
    let picture = picture(&mut model, 100, 20);
    let rows: Vec<_> = picture.lines().filter(|line| line.contains("prompt ")).collect();
    let marked: Vec<_> = rows.iter().map(|row| row.chars().next().unwrap()).collect();
    assert_eq!(marked, ['⋮', ' ', '~', ' '], "{picture}");
    assert!(rows[2].contains("(taken back) the wrong way"), "{picture}");
    assert!(rows[3].contains("prompt       the other way"), "{picture}");
}

#[test]
fn nothing_in_a_session_reaches_a_cell_uncleaned() {
    const EVIL: &str = "a\u{1b}]52;c;x\u{7}\u{9b}2J\nb\u{202e}c\u{200b}\u{2066}d\t\u{1b}[2J";
    let (mut marks, mut events) = sketch();
    for (mark, event) in marks.iter_mut().zip(&mut events) {
        event.text = EVIL.to_owned();
        event.tool = Some(EVIL.to_owned());
        event.body =
            Some(Body { text: format!("{{\"{EVIL}\": \"x\"}}{EVIL}"), size: 9, cut: None });
        mark.is_error = event.seq % 2 == 1;
    }
    let mut row = waiting(EVIL, EVIL);
    row.title = Some(EVIL.to_owned());
    row.host = EVIL.to_owned();
    row.cwd = Some(EVIL.to_owned());
    row.branch = Some(EVIL.to_owned());
    row.waiting_on = Some(EVIL.to_owned());
    row.harness = rrd_proto::Harness::from(EVIL);
    let mut model = Model::new(row.clone(), Timestamp::from_millis(T0));
    model.take(Told::Outline { lane: 0, outline: Outline { marks, ..Outline::default() } });
    row.session_id = "child".to_owned();
    model.take(Told::Lanes(vec![(1, row)]));
    model.take(Told::Trouble(Some(EVIL.to_owned())));
    model.note = Some(EVIL.to_owned());
    for keys in ["", "⇤⏎", "→⏎", "→⏎", "→→⏎", "⇥⏎", "/x\u{1b}\u{7}\u{202e}"] {
        press(&mut model, keys);
        answer(&mut model, &events);
        for size in [(100, 40), (60, 12), (300, 80)] {
            let mut buffer = Buffer::empty(Rect::new(0, 0, size.0, size.1));
            draw(&mut model, &mut buffer, true);
            for cell in buffer.content() {
                assert!(!cell.symbol().chars().any(is_unsafe), "{:?}", cell.symbol());
            }
        }
    }
}
