//! What each key and the mouse do.
//!
//! Not here: what that comes to ([`super::model`]).

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::{Position, Rect};
use rrd_proto::EventKind;

use super::{
    lane::{Lane, Target},
    model::{Mode, Model, SPEEDS, Wanted},
    moment::Moment,
    rows,
};

/// Lines that one turn of the wheel moves.
const WHEEL: i32 = 3;
/// What is typed stays on one line.
const TYPED: usize = 200;

/// The keys, for the help.
pub(crate) const HELP: [(&str, &str); 18] = [
    ("← →", "one event back, on"),
    ("↑ ↓", "the same; within a long one by line"),
    ("⇧← ⇧→  PgUp PgDn", "a page"),
    ("Home", "the beginning"),
    ("End  f", "the end, and follow what comes"),
    ("e E", "next, previous error ✕; then of the next lane"),
    ("w W", "next, previous wait ●"),
    ("d D", "next, previous edit █"),
    ("p P", "next, previous prompt"),
    ("space", "play, stop: dead time is skipped"),
    ("+ -", "faster, slower: 1 to 100 times"),
    ("g", "go to a time: 02:14, -5m"),
    ("/  n N", "search in all lanes; next, previous"),
    ("⏎  c", "open, close: all of it; a subagent's lane; close all"),
    ("Tab ⇧Tab", "the next lane: subagents, and theirs"),
    ("mouse", "drag on the timeline, turn, click"),
    ("┊  ⋮  ~", "time left out · copied by a fork · taken back"),
    ("q  Esc", "leave"),
];

/// Does what a key stands for; true when one wants to leave.
pub(crate) fn press(model: &mut Model, key: KeyEvent) -> bool {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    if control && matches!(key.code, KeyCode::Char('c' | 'd')) {
        return true;
    }
    model.note = None;
    model.settle_lanes();
    match &model.mode {
        Mode::Typing(..) => typed(model, key.code),
        Mode::Help => model.mode = Mode::Watch,
        Mode::Watch => return pressed(model, key),
    }
    false
}

fn pressed(model: &mut Model, key: KeyEvent) -> bool {
    let shift = key.modifiers.contains(KeyModifiers::SHIFT);
    let page = isize::try_from(i32::from(model.areas.list.height).max(3) - 2).unwrap_or(1);
    match key.code {
        KeyCode::Left if shift => model.step(-page),
        KeyCode::Right if shift => model.step(page),
        KeyCode::PageUp => model.step(-page),
        KeyCode::PageDown => model.step(page),
        KeyCode::Left | KeyCode::Char('h') => model.step(-1),
        KeyCode::Right | KeyCode::Char('l') => model.step(1),
        KeyCode::Up | KeyCode::Char('k') => up(model),
        KeyCode::Down | KeyCode::Char('j') => down(model),
        KeyCode::Home => model.go(0),
        KeyCode::End | KeyCode::Char('f' | 'G') => model.go_to_end(),
        KeyCode::Char('e') => model.jump(Target::Error, true),
        KeyCode::Char('E') => model.jump(Target::Error, false),
        KeyCode::Char('w') => model.jump(Target::Wait, true),
        KeyCode::Char('W') => model.jump(Target::Wait, false),
        KeyCode::Char('d') => model.jump(Target::Edit, true),
        KeyCode::Char('D') => model.jump(Target::Edit, false),
        KeyCode::Char('p') => model.jump(Target::Prompt, true),
        KeyCode::Char('P') => model.jump(Target::Prompt, false),
        KeyCode::Char(' ') => play(model),
        KeyCode::Char('+' | '=' | '.') => {
            model.speed = SPEEDS.into_iter().find(|s| *s > model.speed).unwrap_or(model.speed);
        }
        KeyCode::Char('-' | ',') => {
            model.speed = SPEEDS.into_iter().rfind(|s| *s < model.speed).unwrap_or(model.speed);
        }
        KeyCode::Char('g') => model.mode = Mode::Typing(Wanted::Time, String::new()),
        KeyCode::Char('/') => model.mode = Mode::Typing(Wanted::Text, String::new()),
        KeyCode::Char('n') => found(model, true),
        KeyCode::Char('N') => found(model, false),
        KeyCode::Enter => open(model),
        KeyCode::Char('c') => model.lane_mut().opened.close_all(),
        KeyCode::Tab => lane(model, 1),
        KeyCode::BackTab => lane(model, model.lanes.len() - 1),
        KeyCode::Char('?') | KeyCode::F(1) => model.mode = Mode::Help,
        // The search is left before the replay is.
        KeyCode::Esc if model.found.is_some() => model.found = None,
        KeyCode::Esc | KeyCode::Char('q') => return true,
        _ => {}
    }
    false
}

fn typed(model: &mut Model, key: KeyCode) {
    let Mode::Typing(wanted, text) = &mut model.mode else { return };
    match key {
        KeyCode::Char(c) if text.len() < TYPED => text.push(c),
        KeyCode::Backspace if !text.is_empty() => drop(text.pop()),
        KeyCode::Backspace | KeyCode::Esc => model.mode = Mode::Watch,
        KeyCode::Enter => {
            let (wanted, text) = (*wanted, std::mem::take(text));
            model.mode = Mode::Watch;
            match wanted {
                _ if text.trim().is_empty() => {}
                Wanted::Text => model.look_for(text),
                Wanted::Time => match Moment::parse(&text) {
                    Ok(moment) => model.go_to(&moment),
                    Err(why) => model.note = Some(why),
                },
            }
        }
        _ => {}
    }
}

fn play(model: &mut Model) {
    if model.playing.take().is_some() {
        return;
    }
    model.playing = Some(0.0);
    model.follow = false;
    let lane = model.lane_mut();
    // At its end there is nothing to play but the whole.
    if lane.cursor + 1 >= lane.marks.len() {
        lane.cursor = 0;
    }
}

fn found(model: &mut Model, forward: bool) {
    if !model.go_to_found(forward) {
        model.note = Some(match &model.found {
            None => "nothing was searched for: / does".to_owned(),
            Some(found) if found.done => "nothing found".to_owned(),
            Some(_) => "nothing found yet".to_owned(),
        });
    }
}

/// Opens or closes the selected row; where a subagent begins or ends, goes to its lane.
fn open(model: &mut Model) {
    let lane = model.lane();
    let event = lane.event(lane.row_of(lane.cursor));
    if let Some(event) = event
        .filter(|event| matches!(event.kind, EventKind::SubagentStart | EventKind::SubagentStop))
    {
        let of = |id: &String| model.lanes.iter().position(|lane| lane.session.session_id == *id);
        match event.subagent.as_ref().and_then(of) {
            Some(lane) => model.go_to_lane(lane),
            None if event.subagent.is_none() => {
                model.note = Some("its harness does not say which session that is".to_owned());
            }
            None => model.note = Some("its session is not known here".to_owned()),
        }
        return;
    }
    let lane = model.lane_mut();
    if let Some(mark) = lane.marks.get(lane.row_of(lane.cursor)) {
        let seq = mark.seq;
        lane.opened.toggle(seq);
    }
}

/// Goes to the lane that is so many further, around the end, to the same time.
fn lane(model: &mut Model, further: usize) {
    model.go_to_lane((model.focus + further) % model.lanes.len());
    if model.lanes.len() == 1 {
        model.note = Some("it has no subagents".to_owned());
    }
}

fn selected(lane: &Lane) -> (usize, i32) {
    let row = lane.row_of(lane.cursor);
    (row, rows::height(lane, row))
}

fn down(model: &mut Model) {
    let (_, height) = selected(model.lane());
    if model.anchor.saturating_add(height) > i32::from(model.areas.list.height) {
        model.anchor -= 1;
    } else {
        model.step(1);
    }
}

fn up(model: &mut Model) {
    if model.anchor < 0 {
        model.anchor += 1;
    } else {
        model.step(-1);
    }
}

/// Moves the list; the selected row goes with it until it would leave.
fn scroll(model: &mut Model, lines: i32) {
    let list = i32::from(model.areas.list.height.max(1));
    model.anchor = model.anchor.saturating_sub(lines);
    loop {
        let (row, height) = selected(model.lane());
        let above = model.anchor.saturating_add(height) <= 0;
        if !above && model.anchor < list {
            return;
        }
        let Some(next) = model.lane().next_row(row, above) else { return };
        let moved = if above { height } else { -rows::height(model.lane(), next) };
        let anchor = model.anchor.saturating_add(moved);
        model.go(next);
        model.anchor = anchor;
    }
}

/// Does what the mouse asks for; true when something changed.
pub(crate) fn point(model: &mut Model, mouse: MouseEvent) -> bool {
    model.settle_lanes();
    let here = Position::new(mouse.column, mouse.row);
    match mouse.kind {
        MouseEventKind::ScrollDown => scroll(model, WHEEL),
        MouseEventKind::ScrollUp => scroll(model, -WHEEL),
        MouseEventKind::Up(MouseButton::Left) => model.scrubbing = false,
        MouseEventKind::Down(MouseButton::Left) => {
            if model.mode == Mode::Help {
                model.mode = Mode::Watch;
                return true;
            }
            let lanes = model.areas.lanes.clone();
            if model.areas.strip.contains(here) {
                model.scrubbing = true;
                scrub(model, mouse.column);
            } else if let Some((lane, area)) = lanes.iter().find(|(_, area)| area.contains(here)) {
                to_lane(model, *lane, *area, mouse.column);
            } else if model.areas.list.contains(here) {
                click(model, i32::from(mouse.row) - i32::from(model.areas.list.y));
            }
        }
        MouseEventKind::Drag(MouseButton::Left) if model.scrubbing => scrub(model, mouse.column),
        _ => return false,
    }
    true
}

fn column(area: Rect, x: u16) -> usize {
    usize::from(x.clamp(area.x, area.right().saturating_sub(1)) - area.x)
}

fn scrub(model: &mut Model, x: u16) {
    let area = model.areas.strip;
    if area.width == 0 {
        return;
    }
    model.focus = 0;
    let columns = model.lanes[0].columns(usize::from(area.width));
    let bucket = columns[column(area, x)];
    // Where there is nothing, it is what went before that lasts.
    let at = if bucket.count() > 0 { bucket.from } else { bucket.from.saturating_sub(1) };
    model.go(at);
    model.center();
}

fn to_lane(model: &mut Model, lane: usize, area: Rect, x: u16) {
    let (main, others) = model.lanes.split_at_mut(1);
    let columns = others[lane - 1].columns_on(&main[0].axis, usize::from(area.width));
    let at = columns[column(area, x)].from;
    model.focus = lane;
    model.go(at);
    model.center();
}

fn click(model: &mut Model, line: i32) {
    let row = model.areas.rows.iter().find(|row| (row.y..row.y + row.height).contains(&line));
    let Some(row) = row.copied() else { return };
    if row.at == model.lane().row_of(model.lane().cursor) {
        // Within an open one a click is more likely meant for the text.
        if line == row.y {
            open(model);
        }
    } else {
        model.go(row.at);
        model.anchor = row.y;
    }
}
