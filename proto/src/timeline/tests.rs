//! The timeline on made-up marks.

use proptest::prelude::*;

use super::{waits::waits, *};
use crate::{Status, Stretch, WaitingFor};

const T0: i64 = 1_795_000_000_000;

fn mark(seq: u64, ms: i64, kind: EventKind) -> Mark {
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

fn axis(marks: &[Mark]) -> Axis {
    Axis::new(marks, waits(marks, &[], None), None)
}

fn counts(marks: &[Mark], width: usize) -> Vec<usize> {
    axis(marks).columns(marks, width).iter().map(Bucket::count).collect()
}

const M: EventKind = EventKind::Message;

#[test]
fn time_runs_along_it() {
    let marks = [mark(0, 0, M), mark(1, 10_000, M), mark(2, 20_000, M), mark(3, 40_000, M)];
    assert_eq!(counts(&marks, 8), [1, 0, 1, 0, 1, 0, 0, 1]);
    assert_eq!(axis(&marks).lasts(), 40_000);
}

#[test]
fn nothing_and_one_and_no_times() {
    assert_eq!(counts(&[], 3), [0, 0, 0]);
    assert_eq!(counts(&[mark(0, 0, M)], 3), [1, 0, 0]);
    assert_eq!(counts(&[mark(0, 0, M)], 0), [0; 0]);
    let mut marks = [0, 1, 2, 3, 4, 5].map(|seq| mark(seq, 0, M));
    marks.iter_mut().for_each(|mark| mark.at = None);
    assert_eq!(counts(&marks, 6), [1, 1, 1, 1, 1, 1]);
    assert_eq!(axis(&marks).time(2), None);
}

#[test]
fn silence_between_turns_is_folded_and_a_long_command_is_not() {
    let night = 8 * 3_600_000;
    let turn = |seq, ms| [mark(seq, ms, EventKind::Prompt), mark(seq + 1, ms + 9_000, M)];
    let marks = [turn(0, 0), turn(2, night)].concat();
    let columns = axis(&marks).columns(&marks, 9);
    let folds: Vec<_> = (0..9).filter(|at| columns[*at].fold).collect();
    assert_eq!(folds, [4]);
    assert_eq!(counts(&marks, 9), [1, 0, 0, 1, 0, 1, 0, 0, 1]);

    let mut call = mark(1, 1_000, EventKind::ToolCall);
    call.tool = Some(ToolKind::Command);
    let marks = [mark(0, 0, EventKind::Prompt), call, mark(2, night, EventKind::ToolResult)];
    assert!(axis(&marks).columns(&marks, 40).iter().all(|column| !column.fold));
    let counts = counts(&marks, 40);
    assert!(counts[0] == 1 && counts[20] == 1 && counts[39] == 1, "{counts:?}");
}

#[test]
fn a_wait_is_as_long_as_it_was() {
    let ask = mark(1, 60_000, EventKind::PermissionRequest);
    let waited = |minutes: i64| {
        let end = 60_000 + minutes * 60_000;
        let marks = [mark(0, 0, M), ask, mark(2, end, M), mark(3, end + 60_000, M)];
        axis(&marks).columns(&marks, 60).iter().filter(|column| column.wait).count()
    };
    assert!(waited(1) >= 19 && waited(2) > waited(1) && waited(14) > waited(2));
    assert!(waited(24 * 60) < 58, "{}", waited(24 * 60));
}

#[test]
fn a_wait_that_lasts_has_its_length() {
    let marks = [mark(0, 0, M), mark(1, 60_000, EventKind::PermissionRequest)];
    let now = Some(Timestamp::from_millis(T0 + 240_000));
    let axis = Axis::new(&marks, waits(&marks, &[], now), now);
    let columns = axis.columns(&marks, 30);
    assert!(columns[29].wait && !columns[0].wait, "{columns:?}");
    assert_eq!(axis.waits(), [Wait { from: T0 + 60_000, to: T0 + 240_000 }]);
}

#[test]
fn what_a_daemon_saw_and_what_the_marks_tell_is_one_wait() {
    let marks = [mark(0, 0, M), mark(1, 5_000, EventKind::PermissionRequest), mark(2, 9_000, M)];
    let stretch = Stretch {
        from: Timestamp::from_millis(T0 + 4_000),
        to: Some(Timestamp::from_millis(T0 + 8_000)),
        status: Status::Waiting,
        waiting_for: Some(WaitingFor::Permission),
        detail: None,
    };
    let idle = Stretch { status: Status::Idle, ..stretch.clone() };
    let waits = waits(&marks, &[stretch, idle], None);
    assert_eq!(waits, [Wait { from: T0 + 4_000, to: T0 + 9_000 }]);
}

#[test]
fn a_clock_that_is_set_back_goes_on() {
    let marks: Vec<_> = [0, 30, 60, 10, 40, 70]
        .into_iter()
        .zip(0..)
        .map(|(s, seq)| mark(seq, s * 1_000, M))
        .collect();
    let axis = axis(&marks);
    let columns: Vec<_> = (0..6).map(|at| axis.column(at, 12)).collect();
    assert_eq!(columns, [0, 2, 5, 6, 9, 11]);
    assert_eq!(axis.at_time(T0 + 35_000), 4);
    assert_eq!(axis.gap(2), Some((0, false)));
}

#[test]
fn a_time_is_found() {
    let marks = [mark(0, 0, M), mark(1, 10_000, M), mark(2, 20_000, M)];
    let axis = axis(&marks);
    for (ms, at) in [(-5_000, 0), (0, 0), (1, 1), (10_000, 1), (19_999, 2), (99_000, 2)] {
        assert_eq!(axis.at_time(T0 + ms), at, "{ms}");
    }
    assert_eq!(axis.column_of_time(T0 + 10_000, 20), axis.column(1, 20));
    assert_eq!(axis.column_of_time(T0 - 9, 20), 0);
    assert_eq!(axis.column_of_time(T0 + 90_000, 20), 19);
}

#[test]
fn a_column_tells_what_is_in_it() {
    let mut edit = mark(0, 0, EventKind::ToolCall);
    edit.tool = Some(ToolKind::Edit);
    let mut failed = mark(1, 0, EventKind::ToolResult);
    failed.is_error = true;
    let both = axis(&[edit, failed]).columns(&[edit, failed], 1)[0];
    assert!(both.edit && both.error && !both.withdrawn && both.count() == 2);
    // What was taken back is no error to go to, but it is there.
    (edit.withdrawn, failed.withdrawn) = (true, true);
    let both = axis(&[edit, failed]).columns(&[edit, failed], 1)[0];
    assert!(!both.edit && !both.error && both.withdrawn && both.count() == 2);
}

fn any_mark() -> impl Strategy<Value = Mark> {
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

fn any_marks() -> impl Strategy<Value = Vec<Mark>> {
    (proptest::collection::vec(any_mark(), 0..200), any::<bool>()).prop_map(|(mut marks, sort)| {
        if sort {
            marks.sort_by_key(|mark| mark.at);
        }
        marks.iter_mut().zip(0..).for_each(|(mark, seq)| mark.seq = seq);
        marks
    })
}

proptest! {
    #[test]
    fn every_mark_is_in_one_column_and_folding_keeps_the_order(
        marks in any_marks(),
        width in 1_usize..120,
        open in prop::option::of(0_i64..9_000_000),
    ) {
        let open = open.map(|ms| Timestamp::from_millis(T0 + ms));
        let axis = Axis::new(&marks, waits(&marks, &[], open), open);
        let columns = axis.columns(&marks, width);
        prop_assert_eq!(columns.len(), width);
        let mut next = 0;
        for (column, bucket) in columns.iter().enumerate() {
            prop_assert_eq!(bucket.from, next);
            prop_assert!(bucket.to >= bucket.from);
            prop_assert!(!bucket.fold || bucket.count() == 0);
            for at in bucket.from..bucket.to {
                prop_assert_eq!(axis.column(at, width), column);
            }
            next = bucket.to;
        }
        prop_assert_eq!(next, marks.len());
    }

    #[test]
    fn every_time_has_a_column_and_a_mark(marks in any_marks(), ms in any::<i64>(), width in 1_usize..99) {
        let axis = axis(&marks);
        prop_assert!(axis.column_of_time(ms, width) < width);
        prop_assert!(axis.at_time(ms) < marks.len().max(1));
        for at in 0..marks.len() {
            prop_assert!(axis.gap(at).is_none_or(|(ms, _)| ms >= 0));
        }
    }
}

#[test]
fn a_moment_is_the_last_event_by_then() {
    let mut marks: Vec<_> = [0, 1_000, 1_000, 2_000, 5_000]
        .into_iter()
        .zip(0..)
        .map(|(ms, seq)| mark(seq, ms, M))
        .collect();
    let at =
        |marks: &[Mark], ms| moment(marks, Timestamp::from_millis(T0 + ms)).map(|mark| mark.seq);
    assert_eq!(
        [-1, 0, 999, 1_000, 4_999, 5_000, 9_000].map(|ms| at(&marks, ms)),
        [0, 0, 0, 2, 3, 4, 4].map(Some)
    );
    // Set back: what was there to the letter is it, wherever that is.
    marks[3].at = Some(Timestamp::from_millis(T0 + 500));
    marks[4].at = None;
    assert_eq!([at(&marks, 1_000), at(&marks, 700)], [Some(2), Some(3)]);
    assert_eq!(at(&[], 0), None);
}

#[test]
fn a_clock_that_runs_backwards_moves_nothing_on_the_axis() {
    // Set back by an hour in the middle, and once more told late when a subagent began.
    let minute = 60_000;
    let mut marks: Vec<_> = (0..10).map(|at| mark(at, at as i64 * minute, M)).collect();
    marks.extend((10..20).map(|at| mark(at, (at as i64 - 60) * minute, M)));
    marks.extend((20..30).map(|at| mark(at, at as i64 * minute, M)));
    marks[25] = mark(25, 3 * minute, EventKind::SubagentStart);
    let axis = axis(&marks);
    let columns: Vec<_> = (0..marks.len()).map(|at| axis.column(at, 120)).collect();
    assert!(columns.is_sorted(), "{columns:?}");
    assert_eq!(axis.columns(&marks, 120).iter().map(Bucket::count).sum::<usize>(), marks.len());
    let at = |minutes: i64| axis.at_time(T0 + minutes * minute);
    // A time that was there twice is the later one; each leads to where that was, or to what came next.
    assert_eq!([at(-45), at(5), at(21), at(24), at(26)], [15, 20, 21, 24, 26]);
    assert_eq!([at(-100), at(900)], [0, 29]);
}
