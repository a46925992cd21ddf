//! The list of sessions as a table that never wraps.
//!
//! A row says what a session does, for how long, where, and what about. When the terminal is narrow
//! the columns that only identify go first: AGENT, ID, REPO; TITLE takes what is left. Not here: which
//! sessions, in which order (the answer's), and the line beneath the table ([`crate::footer`]).

use std::{borrow::Cow, collections::HashMap, ops::RangeInclusive};

use anstyle::Style;
use rrd_proto::{ChainEnd, HostState, Session, Status, Timestamp, WaitingFor};

use crate::{
    look,
    text::{clean, fit_end, fit_middle, pad, width},
};

/// The shortest id that is shown, and the longest: beyond it a session's ref says more with less.
const ID: RangeInclusive<usize> = 4..=8;
/// What TITLE gets before other columns may stay.
const TITLE_MIN: usize = 20;
/// Titles in output that has no width of its own.
const TITLE_PIPED: usize = 80;
/// What is left, where it is narrow, of the name of whom a row waits for: `for Rev…`.
const NAME_MIN: usize = 8;
const GAP: &str = "  ";

const STATUS: usize = 0;
const AGE: usize = 1;
const HOST: usize = 2;
const REPO: usize = 3;
const TITLE: usize = 4;
const AGENT: usize = 5;
const IDS: usize = 6;
const HEADERS: [&str; 7] = ["  STATUS", "AGE", "HOST", "REPO", "TITLE", "AGENT", "ID"];
/// What a long name may cost the title.
const CAPS: [usize; 7] = [30, 5, 16, 20, usize::MAX, 12, 8];

/// One line, and the session it belongs to.
pub(crate) struct Line {
    pub(crate) text: String,
    pub(crate) row: Option<usize>,
}

struct Row {
    tree: &'static str,
    sign: &'static str,
    style: Style,
    /// Colour of everything but the sign and the status.
    rest: Style,
    cells: [String; 7],
    detail: Option<Detail>,
}

/// The line below a row.
#[derive(Default)]
pub(crate) struct Detail {
    pub(crate) style: Style,
    /// Whom it is about: gives way first where it is narrow.
    name: String,
    host: String,
    /// Why that one does not go on.
    cause: String,
    /// Gives way, too.
    text: String,
    /// What stands behind it in any case.
    end: String,
}

impl Detail {
    /// In at most `columns`, where there are so many at all.
    pub(crate) fn told(&self, columns: usize) -> String {
        let Self { style: _, name, host, cause, text, end } = self;
        let room = columns.saturating_sub(width(cause) + width(end));
        let least = width(name).min(NAME_MIN);
        let spare = room.saturating_sub(width(name) + width(text));
        let host = match spare.max(room / 2).min(room.saturating_sub(least)) {
            room if !host.is_empty() && room > " ()".len() => {
                format!(" ({})", fit_middle(host, room - " ()".len()))
            }
            _ => String::new(),
        };
        let room = room.saturating_sub(width(&host));
        let name = fit_end(name, room.saturating_sub(width(text)).max(room / 3).max(least));
        let text = fit_end(text, room.saturating_sub(width(&name)));
        fit_end(&format!("{name}{host}{cause}{text}{end}"), columns).into_owned()
    }
}

/// Draws `sessions` as they are at `now`, in at most `columns`.
pub(crate) fn draw(sessions: &[Session], now: Timestamp, columns: Option<usize>) -> Vec<Line> {
    let rows = rows(sessions, now);
    let widths = widths(&rows, sessions, columns);
    let mut header = String::new();
    for (at, width) in shown(&widths) {
        push_cell(&mut header, at, HEADERS[at], width, look::DIM);
    }
    let mut lines = vec![Line { text: header, row: None }];
    for (index, row) in rows.iter().enumerate() {
        let mut line = String::new();
        for (at, width) in shown(&widths) {
            if at == STATUS {
                let room = width.saturating_sub(row.tree.chars().count() + 2);
                line.push_str(&look::paint(look::DIM, row.tree));
                line.push_str(&look::paint(row.style, row.sign));
                line.push(' ');
                line.push_str(&look::paint(row.style, &pad(&row.cells[STATUS], room)));
            } else {
                push_cell(&mut line, at, &row.cells[at], width, row.rest);
            }
        }
        lines.push(Line { text: line, row: Some(index) });
        if let Some(detail) = &row.detail {
            let room = columns.unwrap_or(usize::MAX).saturating_sub(4);
            let text = format!("{}{}", look::paint(detail.style, "│   "), detail.told(room));
            lines.push(Line { text, row: Some(index) });
        }
    }
    lines
}

fn push_cell(line: &mut String, at: usize, cell: &str, width: usize, style: Style) {
    if at != STATUS {
        line.push_str(GAP);
    }
    let cell = fit_end(cell, width);
    let missing = " ".repeat(width - crate::text::width(&cell));
    // Ages line up at their unit.
    let (left, right) = if at == AGE { (missing.as_str(), "") } else { ("", missing.as_str()) };
    line.push_str(left);
    line.push_str(&look::paint(style, &cell));
    line.push_str(right);
}

fn shown(widths: &[Option<usize>; 7]) -> impl Iterator<Item = (usize, usize)> {
    widths.iter().enumerate().filter_map(|(at, width)| width.map(|width| (at, width)))
}

/// Each column's width; `None` for those left out.
fn widths(rows: &[Row], sessions: &[Session], columns: Option<usize>) -> [Option<usize>; 7] {
    let mut widths: [Option<usize>; 7] = std::array::from_fn(|at| {
        let cells = rows.iter().map(|row| match at {
            STATUS => width(row.tree) + 2 + width(&row.cells[at]),
            _ => width(&row.cells[at]),
        });
        Some(cells.max().unwrap_or(0).min(CAPS[at]).max(width(HEADERS[at])))
    });
    if sessions.iter().all(|s| s.host == sessions[0].host) {
        widths[HOST] = None;
    }
    if rows.iter().all(|row| row.cells[REPO].is_empty()) {
        widths[REPO] = None;
    }
    let title = widths[TITLE].unwrap_or(0);
    let Some(columns) = columns else {
        widths[TITLE] = Some(title.min(TITLE_PIPED));
        return widths;
    };
    let left_for_title = |widths: &[Option<usize>; 7]| {
        let others =
            shown(widths).filter(|(at, _)| *at != TITLE).map(|(_, width)| width + GAP.len());
        columns.saturating_sub(others.sum())
    };
    let wanted = title.min(TITLE_MIN);
    for drop in [AGENT, IDS, REPO] {
        if left_for_title(&widths) < wanted {
            widths[drop] = None;
        }
    }
    // Still too narrow: first the words behind the sign give way, then the host.
    for (at, least) in [(STATUS, 11), (HOST, 6), (STATUS, 3), (HOST, 0)] {
        let missing = wanted.min(TITLE_MIN / 2).saturating_sub(left_for_title(&widths));
        widths[at] = widths[at].map(|width| width.saturating_sub(missing).max(least.min(width)));
    }
    widths[TITLE] = Some(title.min(left_for_title(&widths)));
    widths
}

fn rows(sessions: &[Session], now: Timestamp) -> Vec<Row> {
    let ids = short_ids(sessions, ID);
    let by_ref: HashMap<&str, usize> =
        sessions.iter().enumerate().map(|(at, s)| (s.reference.as_str(), at)).collect();
    let tree = tree(sessions);
    let mut rows = Vec::with_capacity(sessions.len());
    for (at, session) in sessions.iter().enumerate() {
        let on = session.waiting_on.as_deref().map(|reference| match by_ref.get(reference) {
            Some(&other) if sessions[other].host != session.host => {
                Cow::Owned(format!("{} ({})", ids[other], sessions[other].host))
            }
            Some(&other) => Cow::Borrowed(ids[other].as_str()),
            None => Cow::Borrowed(reference),
        });
        let (sign, style) = look::status_sign(session);
        let rest = match session.status {
            _ if session.host_state == HostState::Away => look::DIM,
            Status::Ended => look::DIM,
            _ => look::PLAIN,
        };
        let child = !tree[at].is_empty();
        // A record without a usable time may be stamped with the year 1: that is no age.
        let since = look::status_since(session).filter(|at| now.since(*at) < rrd_proto::AGES);
        let age = since.map(|since| rrd_proto::age(now, since));
        let agent = if child { "subagent" } else { session.harness.as_str() };
        let repo = session.repo.as_deref().filter(|_| !child).unwrap_or_default();
        rows.push(Row {
            tree: tree[at],
            sign,
            style,
            rest,
            cells: [
                look::status_words(session, on.as_deref(), now),
                age.unwrap_or_default(),
                clean(if child { "" } else { &session.host }).into_owned(),
                clean(repo).into_owned(),
                title(session),
                clean(agent).into_owned(),
                ids[at].clone(),
            ],
            detail: detail(session, now),
        });
    }
    rows
}

/// What to call a session: its title, else what it does, else that it has none.
pub(crate) fn title(session: &Session) -> String {
    let activity = session.activity.as_ref().map(|a| a.summary.as_str());
    let given = [session.title.as_deref(), activity];
    let given = given.into_iter().flatten().map(clean).find(|title| !title.is_empty());
    given.map_or_else(|| "(untitled)".to_owned(), Cow::into_owned)
}

/// What someone must see to act: of what waits for a person, and of what that one waits for in the end.
pub(crate) fn detail(session: &Session, now: Timestamp) -> Option<Detail> {
    if session.status != Status::Waiting || session.host_state == HostState::Away {
        return None;
    }
    let end = session.chain.as_ref();
    if session.is_in_circle() {
        let text = "waits in a circle: nobody in it can go on".to_owned();
        return Some(Detail { style: look::RED, text, ..Detail::default() });
    }
    if session.waiting_for == Some(WaitingFor::Session) {
        return end.map(|end| in_the_end(end, now));
    }
    let detail = session.waiting_detail.as_deref().map(clean).unwrap_or_default();
    let blocks = match end.map_or(0, |end| end.blocks) {
        0 => String::new(),
        1 => "1 waits behind it".to_owned(),
        many => format!("{many} wait behind it"),
    };
    let between = if detail.is_empty() || blocks.is_empty() { "" } else { " · " };
    let end = format!("{between}{blocks}");
    (!detail.is_empty() || !end.is_empty()).then(|| Detail {
        style: look::AMBER,
        text: detail.into_owned(),
        end,
        ..Detail::default()
    })
}

/// `for Publish (server): needs permission: Bash: npm publish, 14m`
fn in_the_end(end: &ChainEnd, now: Timestamp) -> Detail {
    let name = clean(end.title.as_deref().unwrap_or(&end.reference));
    let host = end.host.as_deref().map_or_else(String::new, |host| clean(host).into_owned());
    let text = end.detail.as_deref().map_or_else(String::new, |d| format!(": {}", clean(d)));
    let since = end.since.filter(|at| now.since(*at) < rrd_proto::AGES);
    let since = since.map_or_else(String::new, |at| format!(", {}", rrd_proto::age(now, at)));
    let (name, cause) = (format!("for {name}"), format!(": {}", end.cause.words()));
    Detail { style: look::DIM, name, host, cause, text, end: since }
}

/// What stands before each row: a subagent hangs beneath its parent when that is right above.
fn tree(sessions: &[Session]) -> Vec<&'static str> {
    let mut tree = vec![""; sessions.len()];
    let mut parent: Option<&Session> = None;
    for (at, session) in sessions.iter().enumerate() {
        let hangs = session.is_subagent()
            && parent.is_some_and(|p| {
                p.host == session.host
                    && session.parent_session_id.as_deref() == Some(p.session_id.as_str())
            });
        if !hangs {
            parent = Some(session);
            continue;
        }
        if tree[at - 1] == "└ " {
            tree[at - 1] = "├ ";
        }
        tree[at] = "└ ";
    }
    tree
}

/// For each session the shortest start of its id, of a length within `lengths`, that no other one
/// here shares. Ids that begin with a time are long to tell apart, and those of one session on two hosts are the
/// same: those get the session's ref.
pub(crate) fn short_ids(sessions: &[Session], lengths: RangeInclusive<usize>) -> Vec<String> {
    let ids: Vec<Vec<char>> =
        sessions.iter().map(|s| clean(&s.session_id).chars().collect()).collect();
    let mut order: Vec<usize> = (0..ids.len()).collect();
    order.sort_by(|a, b| ids[*a].cmp(&ids[*b]));
    let common = |a: usize, b: usize| {
        ids[order[a]].iter().zip(&ids[order[b]]).take_while(|(x, y)| x == y).count()
    };
    let mut short = vec![String::new(); ids.len()];
    for place in 0..order.len() {
        let before = if place > 0 { common(place - 1, place) } else { 0 };
        let after = if place + 1 < order.len() { common(place, place + 1) } else { 0 };
        let at = order[place];
        let is_same = |other: Option<usize>| {
            other.and_then(|other| order.get(other)).is_some_and(|other| ids[*other] == ids[at])
        };
        let is_twice = is_same(place.checked_sub(1)) || is_same(Some(place + 1));
        // The start of another one is typed in full.
        let length = (before.max(after) + 1).min(ids[at].len()).max(*lengths.start());
        let is_long = length > *lengths.end();
        short[at] = if (is_twice || is_long) && !sessions[at].reference.is_empty() {
            clean(&sessions[at].reference).into_owned()
        } else {
            ids[at].iter().take(length).collect()
        };
    }
    short
}

#[cfg(test)]
#[path = "table_tests.rs"]
pub(crate) mod tests;
