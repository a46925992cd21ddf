//! All of a session as one strip, by the clock, and under it a row for each subagent.
//!
//! Columns follow the rule that the terminal goes by ([`rrd_proto::timeline`]): time in which nothing
//! happened takes no room, waits are as long as they were. A column is a link to the event that gave it its
//! sign; `app.js`, and the script of an export, let a finger drag along them. Not here: what the events
//! say.

use rrd_proto::{
    EventKind, Mark, Outline, Session, Status, Subagent, Timestamp, ToolKind,
    timeline::{Axis, Bucket, waits},
};

use super::{html::Html, within::Within};

/// With fewer events there is nothing to scrub in.
const FEW: usize = 8;
/// Rows of subagents that are seen without more.
const ROWS: usize = 6;
/// And in all.
const MOST_ROWS: usize = 100;

/// What is most worth seeing in a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Look {
    Quiet,
    Message,
    Tool,
    Edit,
    Prompt,
    Asks,
    Error,
}

impl Look {
    const fn class(self) -> &'static str {
        match self {
            Self::Quiet => "q",
            Self::Message => "m",
            Self::Tool => "t",
            Self::Edit => "e",
            Self::Prompt => "p",
            Self::Asks => "a",
            Self::Error => "x",
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Quiet => "",
            Self::Message => " message",
            Self::Tool => " tool",
            Self::Edit => " edit",
            Self::Prompt => " prompt",
            Self::Asks => " asks",
            Self::Error => " error",
        }
    }
}

fn look(mark: &Mark) -> Look {
    use EventKind::{Error, Message, PeerMessage, Prompt, ToolCall};
    match mark.kind {
        // What was taken back is there, and nothing to look for.
        _ if mark.withdrawn => Look::Quiet,
        _ if mark.is_error => Look::Error,
        Error => Look::Error,
        _ if waits::asks(mark) => Look::Asks,
        Prompt | PeerMessage => Look::Prompt,
        ToolCall if mark.tool == Some(ToolKind::Edit) => Look::Edit,
        ToolCall => Look::Tool,
        Message => Look::Message,
        _ => Look::Quiet,
    }
}

/// A session's strip.
#[derive(Debug)]
pub(super) struct Strip<'a> {
    outline: &'a Outline,
    axis: Axis,
    columns: Vec<Bucket>,
    /// The marks at which it began to wait for someone, in order.
    waited_at: Vec<usize>,
    now: Timestamp,
    session: &'a Session,
    /// It waits for someone now.
    waits: bool,
}

impl<'a> Strip<'a> {
    /// On so many columns, as of `now`.
    pub(super) fn of(
        session: &'a Session,
        outline: &'a Outline,
        columns: usize,
        now: Timestamp,
    ) -> Self {
        let marks = &outline.marks;
        let is_waiting = session.status == Status::Waiting;
        let open = is_waiting.then_some(now);
        let waits = waits::waits(marks, &outline.stretches, open);
        let axis = Axis::new(marks, waits, open);
        let columns = axis.columns(marks, columns);
        let waited_at = axis.waited_at();
        Self { outline, axis, columns, waited_at, now, session, waits: is_waiting }
    }

    /// The seqs at which it began to wait for someone.
    pub(super) fn waited_at(&self) -> impl Iterator<Item = u64> {
        self.waited_at.iter().filter_map(|at| Some(self.outline.marks.get(*at)?.seq))
    }

    /// The strip; nothing where there is too little to scrub in.
    pub(super) fn write(&self, page: &mut Html, within: Within<'_>) {
        let (marks, subagents) = (&self.outline.marks, &self.outline.subagents);
        if marks.is_empty() || (marks.len() < FEW && subagents.is_empty()) {
            return;
        }
        page.raw("<nav class=\"strip\" aria-label=\"All of it\"><div class=\"scrub\">");
        for column in &self.columns {
            self.column(page, within, column);
        }
        page.raw("</div><p><span>");
        if let Some(first) = marks.iter().find_map(|mark| mark.at) {
            within.clock(page, first);
        }
        page.raw("</span><output></output><span>");
        // A wait that lasts goes on until now.
        let last = marks.iter().rev().find_map(|mark| mark.at);
        if let Some(last) = last.map(|last| if self.waits { self.now.max(last) } else { last }) {
            within.clock(page, last);
        }
        page.raw("</span></p>");
        self.subagents(page, within);
        page.raw("</nav>");
    }

    fn column(&self, page: &mut Html, within: Within<'_>, column: &Bucket) {
        let marks = self.outline.marks.get(column.from..column.to).unwrap_or_default();
        let look_of = marks.iter().map(look).max().unwrap_or(Look::Quiet);
        let Some(target) = self.target(column, marks, look_of) else {
            page.raw(if column.fold { "<i class=\"f\"></i>" } else { "<i></i>" });
            return;
        };
        page.raw("<a class=\"").raw(if marks.is_empty() { "b" } else { look_of.class() });
        page.raw(if column.wait { " w\"" } else { "\"" });
        within.href(page, target.seq);
        // What it begins with, where that is another one.
        let first = marks.first().or_else(|| self.outline.marks.get(column.from));
        if let Some(first) = first.filter(|first| first.seq != target.seq) {
            page.raw(" data-first=\"").number(first.seq).raw("\"");
        }
        if let Some(at) = target.at.or_else(|| marks.iter().find_map(|mark| mark.at)) {
            page.attr("data-at", &at.to_string());
        }
        page.raw(" aria-label=\"event ").number(target.seq.saturating_add(1)).raw(look_of.word());
        page.raw(if column.wait { " wait\"></a>" } else { "\"></a>" });
    }

    /// Where a column leads: what failed in it, what it waits at, else what else gave it its sign; where
    /// nothing did, what it begins with.
    fn target(&self, column: &Bucket, marks: &[Mark], sign: Look) -> Option<&'a Mark> {
        let all = &self.outline.marks;
        if sign < Look::Error && column.wait {
            let before = self.waited_at.partition_point(|at| *at < column.to);
            let waited_at = self.waited_at[..before].last().copied();
            if let Some(at) = waited_at.filter(|at| marks.is_empty() || *at >= column.from) {
                return all.get(at);
            }
        }
        let gave = |mark: &Mark| sign >= Look::Edit && look(mark) == sign;
        let at = marks.iter().position(gave).unwrap_or(0);
        all.get(column.from..column.to)?.get(at)
    }

    /// A row for each, on the same axis: of many, what goes on and what failed before the rest.
    fn subagents(&self, page: &mut Html, within: Within<'_>) {
        let all = &self.outline.subagents;
        if all.is_empty() {
            return;
        }
        let goes_on = |of: &Subagent| of.to.is_none() && is_at_work(of);
        let mut order: Vec<usize> = (0..all.len()).rev().collect();
        order.sort_by_key(|at| (!goes_on(&all[*at]), !all[*at].failed));
        order.truncate(MOST_ROWS);
        let mut folded = order.split_off(ROWS.min(order.len()));
        order.sort_unstable();
        folded.sort_unstable();
        page.raw("<div class=\"lanes\">");
        for at in &order {
            self.row(page, within, &all[*at]);
        }
        let more = (all.len() - order.len()) as u64 + self.outline.more_subagents;
        if more > 0 {
            page.raw("<details><summary>+").number(more).raw(" more</summary>");
            for at in &folded {
                self.row(page, within, &all[*at]);
            }
            let unseen = more - folded.len() as u64;
            if unseen > 0 {
                page.raw("<p>and ").number(unseen).raw(" others, which are not shown</p>");
            }
            page.raw("</details>");
        }
        page.raw("</div>");
    }

    fn row(&self, page: &mut Html, within: Within<'_>, of: &Subagent) {
        let at_work = is_at_work(of);
        let (class, sign, says) = match (at_work, of.failed) {
            (true, _) if of.status == Status::Waiting => (" waits", "● ", "waiting"),
            (true, _) => (" runs", "◐ ", "at work"),
            (_, true) => (" bad", "✕ ", "something failed"),
            _ => ("", "✓ ", "over"),
        };
        let from = of.from.or(of.to);
        let meanwhile = from.map_or(0, |from| self.axis.at_time(from.as_millis()));
        let meanwhile = self.outline.marks.get(meanwhile).map_or(0, |mark| mark.seq);
        page.raw("<a class=\"lane").raw(class).raw("\"");
        within.href_of(page, of, meanwhile);
        page.raw("><span>").raw(sign);
        let below = of.parent_session_id != self.session.session_id;
        page.raw(if below { "└ " } else { "" });
        page.text(
            of.title.as_deref().filter(|title| !title.trim().is_empty()).unwrap_or("subagent"),
        );
        page.raw(" <small>").raw(says).raw("</small></span>");
        if let Some(from) = from {
            let to = of.to.unwrap_or(if at_work { self.now } else { from });
            let width = self.columns.len();
            let [from, to] =
                [from, to].map(|at| self.axis.column_of_time(at.as_millis(), width) as u64);
            page.raw("<svg aria-hidden=\"true\" preserveAspectRatio=\"none\" viewBox=\"0 0 ");
            page.number(width as u64).raw(" 1\"><rect height=\"1\" x=\"").number(from);
            page.raw("\" width=\"").number(to.saturating_sub(from) + 1).raw("\"/></svg>");
        }
        page.raw("</a>");
    }
}

fn is_at_work(of: &Subagent) -> bool {
    matches!(of.status, Status::Executing | Status::Waiting)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rrd_proto::{Stretch, WaitingFor};

    use super::{super::tests::session_of, *};

    fn mark(seq: u64, kind: EventKind, tool: Option<ToolKind>, is_error: bool) -> Mark {
        let at = Some(Timestamp::from_millis(i64::try_from(seq).unwrap_or(0) * 1_000));
        Mark { seq, at, kind, tool, is_error, withdrawn: false, call: None }
    }

    fn ms(ms: i64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    fn written(outline: &Outline, columns: usize, file: bool) -> String {
        let session = session_of("7f2c", "x", Status::Idle);
        let page = Within::Page { session: &session, now: ms(0), most: 0 };
        let mut html = Html::new();
        let within = if file { Within::File } else { page };
        Strip::of(&session, outline, columns, ms(0)).write(&mut html, within);
        html.into_string()
    }

    #[test]
    fn a_column_shows_what_is_most_telling_and_waits_are_bands() {
        let quiet = |seq| mark(seq, EventKind::ToolResult, None, false);
        let mut marks: Vec<Mark> = (0..41).map(quiet).collect();
        marks[1] = mark(1, EventKind::Message, None, false);
        marks[2] = mark(2, EventKind::ToolCall, Some(ToolKind::Edit), false);
        marks[12] = mark(12, EventKind::ToolResult, None, true);
        marks[13] = mark(13, EventKind::Prompt, None, false);
        let waiting = Stretch {
            from: ms(20_500),
            to: Some(ms(24_900)),
            status: Status::Waiting,
            waiting_for: Some(WaitingFor::Permission),
            detail: None,
        };
        let outline = Outline { marks, stretches: vec![waiting], ..Outline::default() };
        let html = written(&outline, 24, false);
        let columns: Vec<&str> =
            html.split(" class=\"").skip(3).map(|rest| rest.split('"').next().unwrap()).collect();
        assert_eq!(columns[..2], ["m", "e"], "{html}");
        assert_eq!(columns.iter().filter(|class| **class == "x").count(), 1, "{columns:?}");
        let waited = columns.iter().filter(|class| class.ends_with(" w")).count();
        assert!((2..=4).contains(&waited), "{columns:?}");
    }

    #[test]
    fn a_column_leads_to_what_gave_it_its_sign() {
        let mut marks: Vec<Mark> =
            (0..960).map(|n| mark(n, EventKind::Message, None, false)).collect();
        marks[77] = mark(77, EventKind::ToolResult, None, true);
        marks[88] = mark(88, EventKind::ToolCall, Some(ToolKind::Edit), false);
        marks[123] = mark(123, EventKind::Prompt, None, false);
        let waits = |from, to| Stretch {
            from: ms(from),
            to: Some(ms(to)),
            status: Status::Waiting,
            waiting_for: Some(WaitingFor::Permission),
            detail: None,
        };
        // The second one lasts for longer than a column is wide, and nothing happens meanwhile.
        for mark in &mut marks[300..] {
            mark.at = mark.at.map(|at| at.plus(40_000));
        }
        let stretches = vec![waits(205_500, 206_500), waits(299_200, 338_000)];
        let outline = Outline { marks, stretches, ..Outline::default() };
        let page = written(&outline, 96, false);
        let file = written(&outline, 96, true);
        for (seq, label) in [
            (77, "event 78 error\""),
            (88, "event 89 edit\""),
            (123, "event 124 prompt\""),
            (205, "event 206 message wait\""),
        ] {
            let of_page =
                format!("href=\"/s/mac/claude-code/7f2c?around={seq}#e{seq}\" data-first=\"");
            assert!(page.contains(&of_page), "{of_page} in {page}");
            assert!(file.contains(&format!("href=\"#e{seq}\" data-first=\"")), "{file}");
            assert!(page.contains(label), "{label} in {page}");
        }
        let at = "data-at=\"1970-01-01T00:01:17.000Z\" aria-label=\"event 78 error";
        assert!(page.contains(at), "{page}");
        let bands =
            page.matches("<a class=\"b w\" href=\"/s/mac/claude-code/7f2c?around=299#e299\"");
        assert!((2..=4).contains(&bands.count()), "{page}");
        // Without a sign a column leads to what it begins with.
        assert!(
            page.contains("<a class=\"m\" href=\"/s/mac/claude-code/7f2c?around=0#e0\" data-at")
        );
        let led = page.matches("data-first").count() - page.matches("<a class=\"b w\"").count();
        assert_eq!(led, 5, "{page}");
    }

    #[test]
    fn silence_is_folded_and_leads_nowhere() {
        let turn = |seq, hour: i64| {
            let at = move |s: i64| Some(ms(hour * 3_600_000 + s * 1_000));
            [EventKind::Prompt, EventKind::Message, EventKind::Message, EventKind::TurnEnd]
                .into_iter()
                .zip(0..)
                .map(move |(kind, n)| Mark {
                    at: at(n * 9),
                    ..mark(seq + u64::try_from(n).unwrap(), kind, None, false)
                })
        };
        let marks: Vec<Mark> = turn(0, 0).chain(turn(4, 9)).collect();
        let html = written(&Outline { marks, ..Outline::default() }, 96, true);
        let night = html.split_once("aria-label=\"event 4\"></a>").unwrap().1;
        let night = night.split_once("<a class=\"p\"").unwrap().0;
        assert!(["", "<i class=\"f\"></i>"].contains(&night), "{night}");
        for seq in 0..8 {
            assert!(html.contains(&format!(
                "<a class=\"{}\" href=\"#e{seq}\"",
                match seq {
                    0 | 4 => "p",
                    3 | 7 => "q",
                    _ => "m",
                }
            )));
        }
    }

    #[test]
    fn subagents_have_rows_on_the_same_axis() {
        let marks: Vec<Mark> = (0..97).map(|n| mark(n, EventKind::Message, None, false)).collect();
        let of = |n: i64, status, failed| Subagent {
            session_id: format!("a{n}"),
            parent_session_id: if n == 1 { "a0" } else { "7f2c" }.to_owned(),
            title: Some(format!("part {n}")),
            status,
            from: Some(ms(n * 1_000)),
            to: (status == Status::Ended).then(|| ms(48_000)),
            failed,
        };
        let mut subagents: Vec<Subagent> = (0..300).map(|n| of(n, Status::Ended, n == 1)).collect();
        subagents[2].status = Status::Executing;
        subagents[2].to = None;
        let outline = Outline { marks, subagents, more_subagents: 7, ..Outline::default() };
        let page = written(&outline, 96, false);
        let (seen, more) = page.split_once("<details><summary>+301 more</summary>").unwrap();
        assert_eq!(seen.matches("<a class=\"lane").count(), ROWS);
        assert_eq!(more.matches("<a class=\"lane").count(), MOST_ROWS - ROWS);
        assert!(more.contains("and 207 others"));
        for part in [
            "<a class=\"lane bad\" href=\"/s/mac/claude-code/a1#t=1970-01-01T00%3A00%3A01.000Z\"><span>✕ └ part 1 <small>something failed",
            "<span>◐ part 2 <small>at work",
            "viewBox=\"0 0 96 1\"><rect height=\"1\" x=\"1\" width=\"48\"/>",
        ] {
            assert!(seen.contains(part), "{part} in {seen}");
        }
        let file = written(&outline, 96, true);
        assert!(file.contains("<a class=\"lane bad\" href=\"#e1\">"), "{file}");
    }

    proptest! {
        #[test]
        fn every_event_is_in_one_column(count in 0usize..2_000, gaps in 1u64..4) {
            let marks: Vec<Mark> =
                (0..count).map(|n| mark(n as u64 * gaps, EventKind::Message, None, false)).collect();
            let session = session_of("7f2c", "x", Status::Idle);
            let outline = Outline { marks, ..Outline::default() };
            let strip = Strip::of(&session, &outline, 96, ms(0));
            prop_assert!(strip.columns.len() <= 96);
            let inside = |at: usize| {
                strip.columns.iter().filter(|c| (c.from..c.to).contains(&at)).count()
            };
            prop_assert!((0..count).all(|at| inside(at) == 1));
        }
    }
}
