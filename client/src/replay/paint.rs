//! Cells: text in a style at a place, with or without colours.
//!
//! Not here: what is painted where.

use anstyle::{AnsiColor, Effects};
use ratatui::{
    buffer::Buffer,
    style::{Color, Modifier, Style},
};

use crate::look;

pub(crate) const ADDED: anstyle::Style = look::GREEN;
pub(crate) const REMOVED: anstyle::Style = look::RED;
/// What changes files.
pub(crate) const EDIT: anstyle::Style =
    anstyle::Style::new().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Magenta)));

/// Paints into a picture.
pub(crate) struct Painter<'a> {
    pub(crate) buffer: &'a mut Buffer,
    pub(crate) color: bool,
}

impl Painter<'_> {
    /// Writes clean `text` from `x` on, on at most `most` columns; returns where it ends.
    pub(crate) fn put(
        &mut self,
        x: u16,
        y: u16,
        text: &str,
        most: usize,
        style: anstyle::Style,
    ) -> u16 {
        let area = self.buffer.area;
        if y >= area.bottom() || x >= area.right() {
            return x;
        }
        let style = self.style(style);
        self.buffer.set_stringn(x, y, text, most, style).0
    }

    /// Turns cells around, so that they stand out without a colour, too.
    pub(crate) fn reverse(&mut self, x: u16, y: u16, columns: u16) {
        for x in x..x.saturating_add(columns).min(self.buffer.area.right()) {
            if let Some(cell) = self.buffer.cell_mut((x, y)) {
                cell.set_style(Style::new().add_modifier(Modifier::REVERSED));
            }
        }
    }

    fn style(&self, style: anstyle::Style) -> Style {
        let mut painted = Style::new();
        let color = style.get_fg_color().filter(|_| self.color);
        painted.fg = color.map(|color| match color {
            anstyle::Color::Ansi(color) => Color::Indexed(color as u8),
            anstyle::Color::Ansi256(color) => Color::Indexed(color.0),
            anstyle::Color::Rgb(color) => Color::Rgb(color.0, color.1, color.2),
        });
        let effects = style.get_effects();
        for (effect, modifier) in [
            (Effects::BOLD, Modifier::BOLD),
            (Effects::DIMMED, Modifier::DIM),
            (Effects::INVERT, Modifier::REVERSED),
        ] {
            if effects.contains(effect) {
                painted = painted.add_modifier(modifier);
            }
        }
        painted
    }
}
