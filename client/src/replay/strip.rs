//! The timeline as it is drawn: a strip for each lane, where one is on it, and what its signs mean.
//!
//! Height is how much happened, colour what; an error, a wait and an edit have signs of their own, so
//! that nothing is lost without colours. Not here: which marks are in which column
//! ([`super::timeline`]).

use ratatui::layout::Rect;
use rrd_proto::{EndReason, Session, Status, Timestamp};

use super::{
    model::Model,
    paint::{EDIT, Painter},
    timeline::Bucket,
};
use crate::{
    clock, look, table,
    text::{fit_end, width},
};

/// Columns on the right, for how long it took.
const LENGTH: u16 = 8;
/// Full height is for edits alone.
const HEIGHTS: [&str; 6] = ["▁", "▂", "▃", "▄", "▅", "▆"];

/// Draws the strips from the top of `area` on, with so many lines for subagents; returns the line below.
pub(crate) fn draw(painter: &mut Painter<'_>, model: &mut Model, area: Rect, lanes: usize) -> u16 {
    let label = match area.width {
        0..40 => 0,
        40..80 => 6,
        _ => 11,
    };
    let length = if area.width < 60 { 0 } else { LENGTH };
    let strip = Rect {
        x: area.x + 1 + label,
        width: area.width.saturating_sub(2 + label + length),
        height: 1,
        ..area
    };
    let columns = usize::from(strip.width);
    model.areas.strip = strip;
    model.areas.lanes.clear();

    let name = |painter: &mut Painter<'_>, y: u16, text: &str, focused: bool| {
        let style = if focused { look::BOLD } else { look::DIM };
        let room = usize::from(label.saturating_sub(1));
        painter.put(area.x + 1, y, &fit_end(text, room), room, style);
    };
    name(painter, area.y, "main", model.focus == 0);
    let buckets = model.lanes[0].columns(columns).to_vec();
    buckets_at(painter, strip, &buckets);
    if length > 0 {
        let lasts = rrd_proto::span(model.lanes[0].axis.lasts());
        let room = usize::from(length) - 1;
        let x = strip.right() + 1 + u16::try_from(room.saturating_sub(width(&lasts))).unwrap_or(0);
        painter.put(x, strip.y, &lasts, room, look::DIM);
    }

    let mut y = area.y + 1;
    let (shown, rest) = shown(model, lanes);
    for lane in shown {
        let area = Rect { y, ..strip };
        let (main, others) = model.lanes.split_at_mut(1);
        let it = &mut others[lane - 1];
        let title = table::title(&it.session);
        let of = "›".repeat(it.depth.saturating_sub(1).min(3));
        name(painter, y, &format!("{of}{title}"), lane == model.focus);
        let buckets = it.columns_on(&main[0].axis, columns).to_vec();
        buckets_at(painter, area, &buckets);
        end_at(painter, area, &it.session, &buckets);
        model.areas.lanes.push((lane, area));
        y += 1;
    }
    if rest > 0 {
        let on_lines: Vec<usize> = model.areas.lanes.iter().map(|(lane, _)| *lane).collect();
        let folded = || (1..model.lanes.len()).filter(|lane| !on_lines.contains(lane));
        let errors: usize = folded().map(|lane| model.lanes[lane].errors()).sum();
        // Those in which something failed stand over the others.
        for failed in [false, true] {
            let of = folded().map(|lane| &model.lanes[lane]);
            for lane in of.filter(|lane| (lane.errors() > 0) == failed) {
                let Some(at) = lane.session.started_at else { continue };
                let column = model.lanes[0].axis.column_of_time(at.as_millis(), columns.max(1));
                let x = strip.x + u16::try_from(column).unwrap_or(0);
                let (sign, style) = if failed { ("✕", look::RED) } else { ("▁", look::DIM) };
                painter.put(x.min(strip.right()), y, sign, 1, style);
            }
        }
        if errors > 0 {
            let room = usize::from(label.saturating_sub(1));
            let text = format!("+{rest} ✕{}", thousands(errors));
            painter.put(area.x + 1, y, &fit_end(&text, room), room, look::RED);
        } else {
            name(painter, y, &format!("+{rest} more"), false);
        }
        y += 1;
    }
    cursor(painter, model, Rect { y, ..area }, strip);
    y + 1
}

/// The lanes on so many lines, the one looked at among them, and how many have no line.
fn shown(model: &Model, lines: usize) -> (std::ops::Range<usize>, usize) {
    let lanes = model.lanes.len() - 1;
    if lanes <= lines {
        return (1..lanes + 1, 0);
    }
    let room = lines.saturating_sub(1);
    let first = (model.focus + 1).saturating_sub(room).max(1);
    (first..first + room, if lines > 0 { lanes - room } else { 0 })
}

fn buckets_at(painter: &mut Painter<'_>, area: Rect, buckets: &[Bucket]) {
    let most = buckets.iter().map(Bucket::count).max().unwrap_or(0);
    for (x, bucket) in (area.x..area.right()).zip(buckets) {
        let (sign, style) = sign(bucket, most);
        painter.put(x, area.y, sign, 1, style);
    }
}

/// What a column looks like beside the fullest.
fn sign(bucket: &Bucket, most: usize) -> (&'static str, anstyle::Style) {
    if bucket.error {
        return ("✕", look::RED);
    }
    if bucket.wait {
        return ("●", look::AMBER);
    }
    if bucket.fold {
        return ("┊", look::DIM);
    }
    if bucket.count() == 0 {
        return (" ", look::PLAIN);
    }
    if bucket.withdrawn {
        return ("~", look::DIM);
    }
    if bucket.edit {
        return ("█", EDIT);
    }
    // By the logarithm: one busy second must not make the rest flat.
    let share = (1.0 + bucket.count() as f64).ln() / (1.0 + most.max(1) as f64).ln();
    let top = HEIGHTS.len() - 1;
    let height = HEIGHTS[((share * top as f64).round() as usize).min(top)];
    let style = if bucket.prompt {
        look::BOLD
    } else if bucket.command {
        look::PLAIN
    } else {
        look::DIM
    };
    (height, style)
}

/// How a subagent ended, behind its last mark.
fn end_at(painter: &mut Painter<'_>, area: Rect, session: &Session, buckets: &[Bucket]) {
    let Some(last) = buckets.iter().rposition(|bucket| bucket.count() > 0) else { return };
    let (sign, style) = match (session.status, session.end_reason) {
        (Status::Ended, Some(EndReason::Crashed)) => ("✕", look::RED),
        (Status::Ended | Status::Idle, _) => ("✓", look::GREEN),
        _ => look::status_sign(session),
    };
    let x = area.x.saturating_add(u16::try_from(last + 1).unwrap_or(0));
    painter.put(x.min(area.right()), area.y, sign, 1, style);
}

/// Where one is, beneath the strips: when, which event of how many, and what the signs mean.
fn cursor(painter: &mut Painter<'_>, model: &Model, area: Rect, strip: Rect) {
    let (lane, main) = (model.lane(), &model.lanes[0]);
    if lane.marks.is_empty() {
        let said = match (lane.complete, lane.dropped) {
            (false, _) => "reading its events …".to_owned(),
            (true, 0) => "nothing happened yet".to_owned(),
            (true, _) => format!("what happened is no longer kept ({})", lane.limits),
        };
        painter.put(area.x + 1, area.y, &said, usize::from(area.width), look::DIM);
        return;
    }
    let columns = usize::from(strip.width).max(1);
    let time = lane.axis.time(lane.cursor);
    let column = match time {
        Some(time) if model.focus > 0 => main.axis.column_of_time(time, columns),
        _ => main.axis.column(lane.cursor, columns),
    };
    let x = strip.x + u16::try_from(column).unwrap_or(0);
    painter.put(x, area.y, "▲", 1, look::BOLD);

    let when = time.map(|ms| clock::time_of_day(Timestamp::from_millis(ms), model.now));
    let number = format!("event {} of {}", thousands(lane.cursor + 1), thousands(lane.marks.len()));
    let mut words =
        vec![(when.unwrap_or_else(|| "no time".to_owned()), look::BOLD), (number, look::PLAIN)];
    let mut legend = Vec::new();
    for (count, sign, noun, style) in [
        (lane.totals.errors, "✕", "error", look::RED),
        (lane.wait_count(), "●", "wait", look::AMBER),
        (lane.totals.edits, "█", "edit", EDIT),
    ] {
        if count > 0 {
            let plural = if count == 1 { "" } else { "s" };
            legend.push((format!("{sign} {} {noun}{plural}", thousands(count)), style));
        }
    }
    let total = |words: &[(String, anstyle::Style)]| {
        words.iter().map(|(word, _)| width(word) + 3).sum::<usize>()
    };
    let (left, right) = (usize::from(x - area.x), usize::from(area.right() - x).saturating_sub(2));
    // On the side with more room, and the legend on the other, if it fits.
    let behind = right >= left;
    let (near, far) = if behind { (right, left) } else { (left, right) };
    // That something is missing is said on any width: its details go first, then its place here, then
    // where one is.
    if lane.dropped > 0 {
        let count = thousands(usize::try_from(lane.dropped).unwrap_or(0));
        let less = "not kept whole";
        let all = format!("{count} {less} ({})", lane.limits);
        let forms = [all, format!("{count} {less}"), less.to_owned()];
        let fits = |beside: usize, room| {
            let mut forms = forms.iter().filter(move |form| beside + width(form) + 3 < room);
            forms.next().cloned().map(|form| (form, look::AMBER))
        };
        if let Some(form) = fits(total(&words), near + 1) {
            words.push(form);
        } else if let Some(form) = fits(0, far) {
            legend = vec![form];
        } else {
            words.truncate(1);
            let form = fits(total(&words), near + 1);
            if form.is_none() {
                words.clear();
            }
            words.push(form.unwrap_or_else(|| (less.to_owned(), look::AMBER)));
        }
    }
    let mut beside = words;
    if total(&beside) + total(&legend) <= near {
        beside.append(&mut legend);
    }
    while beside.len() > 1 && total(&beside) > near {
        beside.pop();
    }
    // Without its date, or not at all, rather than over the sign.
    if total(&beside) > near {
        let at = time.map(Timestamp::from_millis);
        beside = at.map(|at| (clock::time_of_day(at, at), look::BOLD)).into_iter().collect();
        beside.truncate(usize::from(total(&beside) <= near));
    }
    let mut at = if behind {
        x + 2
    } else {
        x.saturating_sub(u16::try_from(total(&beside)).unwrap_or(0)).max(area.x + 1) + 1
    };
    for (word, style) in &beside {
        let room = usize::from(area.right().saturating_sub(at));
        at = painter.put(at, area.y, &fit_end(word, room), room, *style) + 3;
    }
    if !legend.is_empty() && total(&legend) < far {
        let mut at = if behind { area.x + 1 } else { x + 3 };
        for (word, style) in &legend {
            at = painter.put(at, area.y, word, far, *style) + 3;
        }
    }
}

/// `1,204`.
fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut shown = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_differ_by_shape() {
        let of = |change: fn(&mut Bucket)| {
            let mut bucket = Bucket { to: 3, ..Bucket::default() };
            change(&mut bucket);
            sign(&bucket, 10).0
        };
        assert_eq!(of(|_| {}), "▄");
        assert_eq!(of(|b| b.to = 10), "▆");
        assert_eq!(of(|b| b.edit = true), "█");
        assert_eq!(of(|b| (b.edit, b.wait) = (true, true)), "●");
        assert_eq!(of(|b| (b.error, b.wait) = (true, true)), "✕");
        assert_eq!(of(|b| b.withdrawn = true), "~");
        assert_eq!(of(|b| (b.fold, b.to) = (true, 0)), "┊");
        assert_eq!(of(|b| b.to = 0), " ");
        assert_eq!([0, 999, 1_204, 1_234_567].map(thousands).join(" "), "0 999 1,204 1,234,567");
    }
}
