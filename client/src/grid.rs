//! Cells in columns as wide as what is in them, below a header.
//!
//! Not here: the list of sessions, which gives way where there is no room ([`crate::table`]).

use crate::{
    look,
    text::{fit_end, pad, width},
};

const BETWEEN: &str = "  ";

/// Cuts the cells of this column as far as there is no room for all, and not to less than that.
pub(crate) fn give_way<const N: usize>(
    rows: &mut [[String; N]],
    at: usize,
    least: usize,
    columns: Option<usize>,
) {
    let widths = widths(rows);
    let all = widths.iter().sum::<usize>() + BETWEEN.len() * (N - 1);
    let Some(over) = columns.and_then(|columns| all.checked_sub(columns)) else { return };
    let most = widths[at].saturating_sub(over).max(least);
    for row in rows {
        row[at] = fit_end(&row[at], most).into_owned();
    }
}

fn widths<const N: usize>(rows: &[[String; N]]) -> Vec<usize> {
    (0..N).map(|at| rows.iter().map(|row| width(&row[at])).max().unwrap_or(0)).collect()
}

/// A line each, the first one as a header, none wider than that.
pub(crate) fn lines<const N: usize>(rows: &[[String; N]], columns: Option<usize>) -> Vec<String> {
    let widths = widths(rows);
    let line = |row: &[String; N]| {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| pad(cell, *width)).collect();
        let line = cells.join(BETWEEN);
        fit_end(line.trim_end(), columns.unwrap_or(usize::MAX)).into_owned()
    };
    let mut lines: Vec<String> = rows.iter().map(line).collect();
    if let Some(header) = lines.first_mut() {
        *header = look::paint(look::DIM, header);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_gives_way_as_far_as_there_is_no_room() {
        let given = |columns| {
            let mut rows = [["0123456789", "x"], ["é", "yz"]].map(|row| row.map(str::to_owned));
            give_way(&mut rows, 0, 4, columns);
            rows.map(|[cell, _]| cell)
        };
        for columns in [None, Some(20), Some(14)] {
            assert_eq!(given(columns), ["0123456789", "é"]);
        }
        assert_eq!(given(Some(13)), ["01234567…", "é"]);
        for columns in [Some(8), Some(0)] {
            assert_eq!(given(columns), ["012…", "é"]);
        }
    }
}
