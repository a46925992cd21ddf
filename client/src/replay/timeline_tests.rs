//! Made-up marks, for tests of what is drawn of them.

use proptest::prelude::*;
use rrd_proto::{EventKind, Mark, Timestamp, ToolKind};

pub(crate) const T0: i64 = 1_795_000_000_000;

pub(crate) fn mark(seq: u64, ms: i64, kind: EventKind) -> Mark {
    Mark {
        seq,
        at: Some(Timestamp::from_millis(T0 + ms)),
        kind,
        tool: None,
        is_error: false,
        withdrawn: false,
        call: None,
    }
}

pub(crate) fn any_mark() -> impl Strategy<Value = Mark> {
    let kinds = prop_oneof![
        Just(EventKind::Prompt),
        Just(EventKind::Message),
        Just(EventKind::ToolCall),
        Just(EventKind::ToolResult),
        Just(EventKind::Error),
        Just(EventKind::TurnEnd),
        Just(EventKind::PermissionRequest),
        Just(EventKind::Title),
    ];
    let tools = prop_oneof![
        Just(None),
        Just(Some(ToolKind::Edit)),
        Just(Some(ToolKind::Command)),
        Just(Some(ToolKind::Question)),
    ];
    let times = prop_oneof![
        4 => (0_i64..4_000_000).prop_map(|ms| Some(T0 + ms)),
        1 => Just(None),
        1 => any::<i64>().prop_map(Some),
    ];
    (kinds, tools, times, any::<bool>(), any::<bool>()).prop_map(
        |(kind, tool, at, is_error, withdrawn)| Mark {
            seq: 0,
            at: at.map(Timestamp::from_millis),
            kind,
            tool,
            is_error,
            withdrawn,
            call: None,
        },
    )
}

pub(crate) fn any_marks() -> impl Strategy<Value = Vec<Mark>> {
    (proptest::collection::vec(any_mark(), 0..200), any::<bool>()).prop_map(|(mut marks, sort)| {
        if sort {
            marks.sort_by_key(|mark| mark.at);
        }
        marks.iter_mut().zip(0..).for_each(|(mark, seq)| mark.seq = seq);
        marks
    })
}
