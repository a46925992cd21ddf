//! Cells in columns as wide as what is in them, below a header.
//!
//! Not here: the list of sessions, which gives way where there is no room ([`crate::table`]).

use crate::{
    look,
    text::{fit_end, pad, width},
};

/// A line each, the first one as a header, none wider than that.
pub(crate) fn lines<const N: usize>(rows: &[[String; N]], columns: Option<usize>) -> Vec<String> {
    let widths: Vec<usize> =
        (0..N).map(|at| rows.iter().map(|row| width(&row[at])).max().unwrap_or(0)).collect();
    let line = |row: &[String; N]| {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| pad(cell, *width)).collect();
        let line = cells.join("  ");
        fit_end(line.trim_end(), columns.unwrap_or(usize::MAX)).into_owned()
    };
    let mut lines: Vec<String> = rows.iter().map(line).collect();
    if let Some(header) = lines.first_mut() {
        *header = look::paint(look::DIM, header);
    }
    lines
}
