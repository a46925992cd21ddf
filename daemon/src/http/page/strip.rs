//! All of a session as one strip: a column for so many events, each a link to what happened there.
//!
//! Columns stand by the order of events, not by the clock, so that time in which nothing happened takes no
//! room. It works as links; `app.js` lets a finger drag along it. Not here: what the events say.

use rrd_proto::{EventKind, Mark, Session, Stretch, Timestamp, ToolKind, WaitingFor};

use super::{html::Html, list};

/// Columns, at most: of a phone's width each is as wide as can be seen.
const COLUMNS: usize = 96;

/// Events of the page that a column leads to; those of the column stand in its middle.
const AROUND: u64 = 50;

/// What is most worth seeing in a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Look {
    Quiet,
    Message,
    Tool,
    Edit,
    Prompt,
    Wait,
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
            Self::Wait => "w",
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
            Self::Wait => " wait",
            Self::Error => " error",
        }
    }
}

/// Some events that stand together.
#[derive(Debug, PartialEq, Eq)]
struct Column {
    first: u64,
    last: u64,
    at: Option<Timestamp>,
    look: Look,
}

fn look(mark: &Mark) -> Look {
    use EventKind::{Error, Message, PeerMessage, PermissionRequest, Prompt, ToolCall, ToolResult};
    match mark.kind {
        _ if mark.is_error => Look::Error,
        Error => Look::Error,
        PermissionRequest => Look::Wait,
        Prompt | PeerMessage => Look::Prompt,
        ToolCall if mark.tool == Some(ToolKind::Edit) => Look::Edit,
        ToolCall if mark.tool == Some(ToolKind::Question) => Look::Wait,
        ToolCall => Look::Tool,
        Message => Look::Message,
        ToolResult => Look::Quiet,
        _ => Look::Quiet,
    }
}

/// Every mark in one column, in order.
fn columns(marks: &[Mark], stretches: &[Stretch]) -> Vec<Column> {
    let each = marks.len().div_ceil(COLUMNS).max(1);
    let waits = |from: Option<Timestamp>, to: Option<Timestamp>| {
        from.zip(to).is_some_and(|(from, to)| {
            stretches.iter().any(|stretch| {
                let on_somebody = stretch.waiting_for.is_some_and(|on| on != WaitingFor::Session);
                on_somebody && stretch.from <= to && stretch.to.is_none_or(|end| end >= from)
            })
        })
    };
    let column = |marks: &[Mark]| {
        let (first, last) = (marks.first()?, marks.last()?);
        let look = marks.iter().map(look).max()?;
        let look = if waits(first.at, last.at) { look.max(Look::Wait) } else { look };
        let at = marks.iter().find_map(|mark| mark.at);
        Some(Column { first: first.seq, last: last.seq, at, look })
    };
    marks.chunks(each).filter_map(column).collect()
}

/// The strip; nothing where there is too little to scrub in.
pub(super) fn write(
    page: &mut Html,
    s: &Session,
    marks: &[Mark],
    stretches: &[Stretch],
    now: Timestamp,
) {
    const FEW: usize = 8;
    if marks.len() < FEW {
        return;
    }
    let columns = columns(marks, stretches);
    page.raw("<nav class=\"strip\" aria-label=\"All of it\"><div>");
    let end = marks.last().map_or(0, |mark| mark.seq + 1);
    for column in &columns {
        let before = (column.last + 1 + AROUND).min(end);
        page.raw("<a class=\"").raw(column.look.class()).raw("\"").href(s, "?before=");
        page.number(before).raw("#e").number(column.first).raw("\"");
        if let Some(at) = column.at {
            page.attr("data-at", &at.to_string());
        }
        page.raw(" aria-label=\"event ").number(column.first + 1).raw(column.look.word());
        page.raw("\"></a>");
    }
    page.raw("</div><p><span>");
    let ends = [columns.first(), columns.last()].map(|column| column.and_then(|column| column.at));
    if let [Some(first), _] = ends {
        list::clock(page, first, now);
    }
    page.raw("</span><output></output><span>");
    if let [_, Some(last)] = ends {
        list::clock(page, last, now);
    }
    page.raw("</span></p></nav>");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rrd_proto::Status;

    use super::*;

    fn mark(seq: u64, kind: EventKind, tool: Option<ToolKind>, is_error: bool) -> Mark {
        let at = Some(Timestamp::from_millis(i64::try_from(seq).unwrap_or(0) * 1_000));
        Mark { seq, at, kind, tool, is_error, withdrawn: false, call: None }
    }

    #[test]
    fn the_most_telling_of_a_column_is_shown() {
        let quiet = |seq| mark(seq, EventKind::ToolResult, None, false);
        let mut marks: Vec<Mark> = (0..960).map(quiet).collect();
        marks[5] = mark(5, EventKind::Message, None, false);
        marks[7] = mark(7, EventKind::ToolCall, Some(ToolKind::Edit), false);
        marks[25] = mark(25, EventKind::ToolResult, None, true);
        marks[26] = mark(26, EventKind::Prompt, None, false);
        let wait = Stretch {
            from: Timestamp::from_millis(41_500),
            to: Some(Timestamp::from_millis(41_900)),
            status: Status::Waiting,
            waiting_for: Some(WaitingFor::Permission),
            detail: None,
        };
        let columns = columns(&marks, &[wait]);
        assert_eq!(columns.len(), COLUMNS);
        let looks: Vec<Look> = columns.iter().take(5).map(|column| column.look).collect();
        assert_eq!(looks, [Look::Edit, Look::Quiet, Look::Error, Look::Quiet, Look::Wait]);
    }

    proptest! {
        #[test]
        fn every_event_is_in_one_column(count in 0usize..5_000, gaps in 1u64..4) {
            let marks: Vec<Mark> =
                (0..count).map(|n| mark(n as u64 * gaps, EventKind::Message, None, false)).collect();
            let columns = columns(&marks, &[]);
            prop_assert!(columns.len() <= COLUMNS);
            let inside = |mark: &Mark| {
                columns.iter().filter(|c| (c.first..=c.last).contains(&mark.seq)).count()
            };
            prop_assert!(marks.iter().all(|mark| inside(mark) == 1));
            prop_assert!(columns.is_sorted_by(|a, b| a.last < b.first));
        }
    }
}
