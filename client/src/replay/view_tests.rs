//! Pictures of a replay, as plain strings.

use ratatui::layout::Rect;

use super::*;
use crate::table::tests::{NOW, session};

#[test]
fn no_window_is_too_small() {
    for (width, height) in [(0, 0), (1, 1), (7, 9), (8, 3), (200, 3), (8, 80)] {
        let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
        draw(&mut Model::new(session("b41f"), NOW), &mut buffer, true);
    }
}
