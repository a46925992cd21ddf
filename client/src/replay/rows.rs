//! Which rows stand where in the list: the selected one at its place, the others around it.
//!
//! Rows have different heights, and only those near the cursor are known, so the list hangs on the
//! selected row: [`Placed`] says how many lines below the top it begins. Nothing is left empty while
//! there is something to show. Not here: what a row looks like ([`super::view`]).

use super::lane::Lane;

/// A row, and the line of the list it begins on: negative where its beginning is above.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) at: usize,
    pub(crate) y: i32,
    pub(crate) height: i32,
}

/// The lines of a row.
pub(crate) fn height(lane: &Lane, at: usize) -> i32 {
    let Some(mark) = lane.marks.get(at) else { return 1 };
    if lane.opened.is_open(mark.seq) {
        return 1 + i32::try_from(lane.opened.lines(mark.seq).len()).unwrap_or(i32::MAX - 1);
    }
    1 + i32::from(lane.failure_of(at).is_some())
}

/// Rows from the top of a list of `lines`, the selected one on line `anchor` where that leaves no gap.
pub(crate) fn place(lane: &Lane, lines: i32, anchor: i32) -> Vec<Placed> {
    if lane.marks.is_empty() || lines < 1 {
        return Vec::new();
    }
    let selected = lane.row_of(lane.cursor);
    let own = height(lane, selected);
    // At least its first line, or its last if it is longer than the list, is in sight.
    let anchor = anchor.clamp(1 - own, lines - 1);
    let mut rows = vec![Placed { at: selected, y: anchor, height: own }];
    above(lane, &mut rows);
    close_gap(&mut rows);
    below(lane, &mut rows, lines);
    let end = rows.last().map_or(0, |row| row.y + row.height);
    if end < lines {
        move_by(&mut rows, lines - end);
        above(lane, &mut rows);
        close_gap(&mut rows);
    }
    rows.retain(|row| row.y + row.height > 0 && row.y < lines);
    rows
}

/// Moves the rows up to the top, if they begin below it.
fn close_gap(rows: &mut [Placed]) {
    let gap = rows.first().map_or(0, |row| row.y.max(0));
    move_by(rows, -gap);
}

fn move_by(rows: &mut [Placed], lines: i32) {
    rows.iter_mut().for_each(|row| row.y += lines);
}

fn above(lane: &Lane, rows: &mut Vec<Placed>) {
    let mut more = Vec::new();
    let Placed { mut at, mut y, .. } = rows[0];
    while y > 0
        && let Some(next) = lane.next_row(at, false)
    {
        let height = height(lane, next);
        (at, y) = (next, y - height);
        more.push(Placed { at, y, height });
    }
    rows.splice(0..0, more.into_iter().rev());
}

fn below(lane: &Lane, rows: &mut Vec<Placed>, lines: i32) {
    while let Some(last) = rows.last()
        && last.y + last.height < lines
        && let Some(at) = lane.next_row(last.at, true)
    {
        let placed = Placed { at, y: last.y + last.height, height: height(lane, at) };
        rows.push(placed);
    }
}

#[cfg(test)]
mod tests {
    use rrd_proto::EventKind;

    use super::*;
    use crate::replay::{lane::tests::lane, timeline::tests::mark};

    fn messages(count: u64) -> Lane {
        lane((0..count).map(|seq| mark(seq, 0, EventKind::Message)).collect())
    }

    fn spots(lane: &Lane, lines: i32, anchor: i32) -> Vec<(usize, i32)> {
        place(lane, lines, anchor).iter().map(|row| (row.at, row.y)).collect()
    }

    #[test]
    fn the_selected_row_keeps_its_place() {
        let mut lane = messages(100);
        lane.cursor = 50;
        assert_eq!(spots(&lane, 5, 2), [(48, 0), (49, 1), (50, 2), (51, 3), (52, 4)]);
        assert_eq!(spots(&lane, 3, 90), [(48, 0), (49, 1), (50, 2)]);
        assert_eq!(spots(&lane, 3, -9), [(50, 0), (51, 1), (52, 2)]);
    }

    #[test]
    fn nothing_is_left_empty_at_the_ends() {
        let mut lane = messages(4);
        assert_eq!(spots(&lane, 3, 2), [(0, 0), (1, 1), (2, 2)]);
        lane.cursor = 3;
        assert_eq!(spots(&lane, 3, 0), [(1, 0), (2, 1), (3, 2)]);
        assert_eq!(spots(&lane, 9, 5), [(0, 0), (1, 1), (2, 2), (3, 3)]);
        assert_eq!(spots(&messages(0), 9, 5), []);
    }

    #[test]
    fn a_row_longer_than_the_list_can_be_scrolled_through() {
        let mut lane = messages(3);
        lane.cursor = 1;
        lane.opened.toggle(1);
        lane.opened.fit(1, None, 40);
        assert_eq!(spots(&lane, 4, 1), [(0, 0), (1, 1), (2, 3)]);
        assert_eq!(spots(&lane, 1, -1), [(1, -1)]);
    }
}
