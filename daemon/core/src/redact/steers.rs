//! How far that goes which steers a terminal and is not shown: control sequences and control strings, in seven bits
//! and in eight (ECMA-48, 5.4 and 5.6).
//!
//! What has no end is none, and goes on over no other one but a near one, so a text full of beginnings is looked at
//! little more than once. Not here: controls of one character.

use memchr::memchr2_iter;

/// Whether more than this character steers: it begins a control sequence or a control string in eight bits.
pub(super) const fn begins(c: char) -> bool {
    matches!(c, '\u{90}' | '\u{98}' | '\u{9b}' | '\u{9d}'..='\u{9f}')
}

/// The first place from `from` on where one may begin.
pub(super) fn next(text: &[u8], from: usize) -> Option<usize> {
    let mut places = memchr2_iter(0x1b, 0xc2, &text[from..]).map(|at| from + at);
    places.find(|at| text[*at] == 0x1b || matches!(text.get(at + 1), Some(0x80..=0x9f)))
}

/// The length of the one that the text begins with.
pub(crate) fn sequence(text: &[u8]) -> Option<usize> {
    // In eight bits each is one character, of two bytes.
    let (kind, rest) = match text {
        [0x1b, kind, rest @ ..] => (*kind, rest),
        [0xc2, kind @ 0x80..=0x9f, rest @ ..] => (kind - 0x40, rest),
        _ => return None,
    };
    let len = match kind {
        b'[' => parameters(rest),
        b']' | b'P' | b'X' | b'^' | b'_' => string(rest, kind == b']'),
        // Of two characters, and with which of them the terminal is to write: `ESC 7`, `ESC ( B`.
        b'0'..=b'?' => Some(0),
        b' '..=b'/' => {
            let more = rest.iter().take_while(|b| matches!(b, b' '..=b'/')).count();
            matches!(rest.get(more), Some(b'0'..=b'~')).then_some(more + 1)
        }
        _ => None,
    };
    len.map(|len| 2 + len)
}

/// The length of what follows the escape of a control sequence, as `[1;31m`, or what breaks it off. However long it is:
/// none goes on over the escape of another one, so nothing is looked at twice.
pub(super) fn control_sequence(text: &[u8]) -> Option<usize> {
    parameters(text.strip_prefix(b"[")?).map(|len| 1 + len)
}

fn parameters(text: &[u8]) -> Option<usize> {
    let said = text.iter().take_while(|b| matches!(b, 0x20..=0x3f)).count();
    matches!(*text.get(said)?, 0x40..=0x7e | CANCEL | SUBSTITUTE).then_some(said + 1)
}

const BELL: u8 = 7;
const CANCEL: u8 = 0x18;
const SUBSTITUTE: u8 = 0x1a;

/// The length of what a control string says, with its end: however long it is up to the next one, and a little over
/// others.
fn string(mut text: &[u8], bell_ends: bool) -> Option<usize> {
    const NEAR: usize = 63;
    let mut at = 0;
    loop {
        at += text
            .get(at..)?
            .iter()
            .position(|b| matches!(*b, BELL | CANCEL | SUBSTITUTE | 0x1b | 0xc2))?;
        match text[at..] {
            [BELL, ..] if bell_ends => return Some(at + 1),
            [CANCEL | SUBSTITUTE, ..] => return Some(at + 1),
            [0x1b, b'\\', ..] | [0xc2, 0x9c, ..] => return Some(at + 2),
            [0x1b, ..] | [0xc2, 0x90 | 0x98 | 0x9b | 0x9d..=0x9f, ..] => {
                text = &text[..text.len().min(NEAR)];
            }
            _ => {}
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_goes_as_far_as_its_end() {
        for (text, len) in [
            ("\u{1b}[1;31mred", Some(7)),
            ("\u{9b}1;31mred", Some(7)),
            ("\u{1b}[1\u{18}m", Some(4)),
            ("\u{9b}\u{1a}m", Some(3)),
            ("\u{1b}[1\u{e9}m", None),
            ("\u{1b}]0;é·\u{7}t\u{7}", Some(9)),
            ("\u{1b}P0;\u{7}\u{1b}\\t", Some(7)),
            ("\u{9f}0;\u{7}\u{9c}t", Some(7)),
            ("\u{98}\u{85}\u{18}t", Some(5)),
            ("\u{1b}^\u{9d}0\u{1b}[1m\u{1b}\\t", Some(11)),
            ("\u{1b}_0;t", None),
            ("\u{1b}]", None),
            ("\u{1b}7t", Some(2)),
            ("\u{1b}(Bt", Some(3)),
            ("\u{1b}(", None),
            ("\u{1b}c", None),
            ("\u{85}c", None),
            ("plain", None),
        ] {
            assert_eq!(sequence(text.as_bytes()), len, "{text:?}");
        }
        let far = format!("\u{1b}]0;\u{1b}[1m{}\u{7}", "t".repeat(60));
        assert_eq!(sequence(far.as_bytes()), None);
        assert_eq!(next("plain ·é\u{a0} \u{9b}m".as_bytes(), 0), Some(13));
        assert_eq!(next(b"plain \xc2", 0), None);
    }
}
