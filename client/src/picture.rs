//! A line as a picture that a camera reads: a QR code of half blocks.
//!
//! Not here: when one is shown.

use qrcode::{EcLevel, QrCode, render::unicode::Dense1x2};

/// Light on dark, as most terminals are; scanners take both. Empty for what is too long for one.
pub(crate) fn of(line: &str) -> String {
    let code = QrCode::with_error_correction_level(line, EcLevel::L);
    let draw = |code: QrCode| {
        let mut drawn = code.render::<Dense1x2>();
        drawn.dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build()
    };
    code.map(|code| draw(code) + "\n").unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::width;

    #[test]
    fn a_picture_is_of_half_blocks_and_fits_a_terminal() {
        for line in [
            "rrd fleet join 100.100.100.100:7731/000102ff.BwcHBwcHBwcHBwcHBwcHBw",
            "http://100.100.100.100:65535/pair?code=rrd_code_BwcHBwcHBwcHBwcHBwcHBw",
        ] {
            let picture = of(line);
            assert!(picture.lines().count() <= 24, "{picture}");
            assert!(picture.lines().all(|line| width(line) <= 48), "{picture}");
            assert!(
                picture.chars().all(|c| " \u{2580}\u{2584}\u{2588}\n".contains(c)),
                "{picture}"
            );
        }
    }
}
