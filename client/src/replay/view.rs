//! The picture of a replay: header, timeline, list, footer, on any size of window.
//!
//! Draws what the model is, notes where it drew it for the mouse, and changes nothing else. Not here: the
//! rows of the list ([`super::list`]) and the timeline's signs ([`super::strip`]).

use anstyle::Style;
use ratatui::{buffer::Buffer, layout::Rect};
use rrd_proto::{Session, Status};

use super::{
    keys, list,
    model::{Mode, Model, Wanted},
    paint::Painter,
    strip,
};
use crate::{
    ask, look, table,
    text::{clean, fit_end, fit_middle, width},
};

/// Windows lower than this have no rules, lower than [`LANES`] no subagents.
const RULES: u16 = 12;
const LANES: u16 = 16;
/// Lanes of subagents, at most.
const MOST_LANES: usize = 4;

/// Draws `model` all over `buffer`.
pub(crate) fn draw(model: &mut Model, buffer: &mut Buffer, color: bool) {
    model.settle_lanes();
    let area = buffer.area;
    buffer.reset();
    let mut painter = Painter { buffer, color };
    if area.width < 8 || area.height < 3 {
        painter.put(area.x, area.y, "too small", usize::from(area.width), look::PLAIN);
        model.areas = Default::default();
        return;
    }
    let rule = |painter: &mut Painter<'_>, y| {
        let line = "─".repeat(usize::from(area.width));
        painter.put(area.x, y, &line, line.len(), look::DIM);
    };
    let has_rules = area.height >= RULES;
    let mut y = area.y;
    header(&mut painter, model, Rect { height: 1, ..area });
    y += 1;
    if has_rules {
        rule(&mut painter, y);
        y += 1;
    }
    let lanes = if area.height >= LANES {
        (model.lanes.len() - 1).min(MOST_LANES).min(usize::from(area.height - LANES) / 4 + 1)
    } else {
        0
    };
    let top = y;
    y = strip::draw(&mut painter, model, Rect { y, height: area.bottom() - y, ..area }, lanes);
    // The list has at least a line, whatever that costs the timeline.
    y = y.min(area.bottom() - 2).max(top);
    if has_rules {
        rule(&mut painter, y);
        y += 1;
    }
    let below = if has_rules { 2 } else { 1 };
    let room = Rect { y, height: (area.bottom() - below).saturating_sub(y), ..area };
    for y in room.y..room.bottom() {
        painter.put(
            area.x,
            y,
            &" ".repeat(usize::from(area.width)),
            usize::from(area.width),
            look::PLAIN,
        );
    }
    if model.mode == Mode::Help {
        help(&mut painter, room);
        model.areas.list = room;
        model.areas.rows.clear();
    } else {
        list::draw(&mut painter, model, room);
    }
    if has_rules {
        rule(&mut painter, area.bottom() - 2);
    }
    footer(&mut painter, model, Rect { y: area.bottom() - 1, height: 1, ..area });
}

fn header(painter: &mut Painter<'_>, model: &Model, area: Rect) {
    let session = &model.lane().session;
    let columns = usize::from(area.width).saturating_sub(2);
    let (sign, style) = look::status_sign(session);
    let words = look::status_words(session, session.waiting_on.as_deref(), model.now);
    let age = look::status_since(session).map(|at| format!(" {}", rrd_proto::age(model.now, at)));
    let status = clean(&format!("{sign} {words}{}", age.unwrap_or_default())).into_owned();
    let status = fit_end(&status, columns).into_owned();
    let room = columns.saturating_sub(width(&status) + 2);
    if room > 12 {
        let title = table::title(session);
        let title = fit_end(&title, room.min(44)).into_owned();
        let end = painter.put(area.x + 1, area.y, &title, room, look::BOLD);
        let left = room.saturating_sub(usize::from(end - area.x - 1));
        let place = fit_end(&place(session, left), left).into_owned();
        painter.put(end, area.y, &place, left, look::DIM);
    }
    let x = area.right().saturating_sub(u16::try_from(width(&status)).unwrap_or(0) + 1);
    painter.put(x.max(area.x + 1), area.y, &status, columns, style);
}

/// ` · harness · host:directory · branch`, the directory cut where that is what is too long.
fn place(session: &Session, room: usize) -> String {
    let agent = format!(" · {} · {}", clean(session.harness.as_str()), clean(&session.host));
    let branch = session.branch.as_deref().map(clean);
    let branch = branch.filter(|branch| !branch.is_empty()).map(|branch| format!(" · {branch}"));
    let branch = branch.unwrap_or_default();
    let left = room.saturating_sub(width(&agent) + width(&branch) + 1);
    match session.cwd.as_deref().map(clean) {
        Some(cwd) if left >= 6 => format!("{agent}:{}{branch}", fit_middle(&cwd, left)),
        _ => format!("{agent}{branch}"),
    }
}

fn help(painter: &mut Painter<'_>, area: Rect) {
    let half = keys::HELP.len().div_ceil(2);
    let two = usize::from(area.height) < keys::HELP.len();
    let columns = if two { area.width / 2 } else { area.width };
    for (at, (key, what)) in keys::HELP.iter().enumerate() {
        let (column, line) = if two { (at / half, at % half) } else { (0, at) };
        let y = area.y + u16::try_from(line).unwrap_or(u16::MAX / 2);
        if y >= area.bottom() {
            continue;
        }
        let x = area.x + 1 + columns * u16::from(column > 0);
        let room = usize::from(columns).saturating_sub(2);
        painter.put(x, y, &fit_end(key, room.min(17)), room, look::BOLD);
        let room = room.saturating_sub(19);
        painter.put(x + 19, y, &fit_end(what, room), room, look::PLAIN);
    }
}

const KEYS: [&str; 10] = [
    "←→ step",
    "e error",
    "w wait",
    "d edit",
    "space play",
    "/ search",
    "⏎ open",
    "g time",
    "q leave",
    "? help",
];

fn footer(painter: &mut Painter<'_>, model: &Model, area: Rect) {
    let columns = usize::from(area.width).saturating_sub(2);
    let (x, y) = (area.x + 1, area.y);
    if let Mode::Typing(wanted, text) = &model.mode {
        let (head, hint) = match wanted {
            Wanted::Text => ("search: ", "  ⏎ all of the session, what tools said too"),
            Wanted::Time => ("go to: ", "  14:02, 14:02:31, -5m"),
        };
        let end = painter.put(x, y, head, columns, look::BOLD);
        let text = clean(text);
        // What is typed last is what matters.
        let room = columns.saturating_sub(usize::from(end - x) + 1);
        let over = width(&text).saturating_sub(room);
        let mut skipped = 0;
        let start = text.char_indices().find(|(_, c)| {
            skipped += width(c.encode_utf8(&mut [0; 4]));
            skipped > over
        });
        let end = painter.put(end, y, &text[start.map_or(0, |(at, _)| at)..], room, look::PLAIN);
        painter.reverse(end, y, 1);
        let room = usize::from(area.right().saturating_sub(end + 2));
        painter.put(end + 1, y, &fit_end(hint, room), room, look::DIM);
        return;
    }
    let mut x = x;
    for (text, style) in said(model) {
        let room = usize::from(area.right().saturating_sub(x + 1));
        x = painter.put(x, y, &fit_end(&text, room), room, style) + 2;
    }
    // The last ones tell the way out and the way to the rest: they go last.
    let mut keys: Vec<&str> = KEYS.to_vec();
    let room = usize::from(area.right().saturating_sub(x));
    while keys.len() > 1 && keys.iter().map(|key| width(key) + 2).sum::<usize>() > room {
        keys.remove(keys.len().saturating_sub(3));
    }
    for key in keys {
        let room = usize::from(area.right().saturating_sub(x));
        if width(key) > room {
            break;
        }
        let (press, what) = key.split_once(' ').unwrap_or((key, ""));
        let end = painter.put(x, y, press, room, look::BOLD);
        x = painter.put(end + 1, y, what, room, look::DIM) + 2;
    }
}

/// What there is to say at the moment.
fn said(model: &Model) -> Vec<(String, Style)> {
    let mut said = Vec::new();
    if model.playing.is_some() {
        said.push((format!("▶ ×{}", model.speed), look::CYAN));
    } else if model.speed > 1 {
        said.push((format!("×{}", model.speed), look::DIM));
    }
    if let Some(note) = &model.note {
        said.push((clean(note).into_owned(), look::AMBER));
    }
    if let Some(found) = &model.found {
        let lane = model.lane();
        let here = lane.marks.get(lane.cursor).map(|mark| (model.focus, mark.seq));
        let number = here.filter(|here| found.hits.contains(here));
        let number = number.map_or(0, |here| found.hits.range(..=here).count());
        let of = if number > 0 { format!("{number} of ") } else { String::new() };
        let more = if found.done {
            String::new()
        } else if model.lanes.len() > 1 {
            // How much there is in the others is not known before.
            format!(" · looked at {}", found.looked_at)
        } else {
            let all = lane.marks.len().max(1) as u64;
            format!(" · looked at {}%", (found.looked_at * 100 / all).min(99))
        };
        let text = clean(&found.text);
        said.push((
            format!("\"{}\" {of}{}{more}", fit_end(&text, 24), found.hits.len()),
            look::PLAIN,
        ));
        if found.in_part > 0 {
            said.push((format!("{} searched in part", found.in_part), look::AMBER));
        }
    }
    let lives = model.lane().session.status != Status::Ended;
    if let Some(words) = &model.lane().last_words {
        said.push((ask::told_by(&model.lane().session, words, model.now), look::AMBER));
    } else if let Some(trouble) = &model.trouble {
        said.push((clean(trouble).into_owned(), look::AMBER));
    } else if model.follow && model.playing.is_none() && lives {
        said.push(("live".to_owned(), look::CYAN));
    }
    said
}

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;
