//! Where a text holds what its readers leave out: controls, zero widths, marks of direction.
//!
//! A terminal, a page and an agent are shown a text without these, so a secret that one of them splits is whole
//! there, and has to be looked for as it will be seen. Not here: what is looked for.

use std::str;

use memchr::memmem;
use rrd_proto::json::is_unsafe;

/// Looked at together; one after the other would take longer than to look for keywords.
const BLOCK: usize = 64;

/// Whether a character that is left out may begin with each byte.
const MAY_BEGIN: [bool; 256] = {
    let mut may = [false; 256];
    let mut b = 0;
    while b < b' ' as usize {
        may[b] = b != b'\n' as usize && b != b'\t' as usize;
        b += 1;
    }
    let leads = [0x7f, 0xc2, 0xcd, 0xd8, 0xe1, 0xe2, 0xe3, 0xef, 0xf0, 0xf3];
    let mut i = 0;
    while i < leads.len() {
        may[leads[i]] = true;
        i += 1;
    }
    may
};

/// Whether a byte is no plain ASCII, and not within a character: a comparison of what the bytes from DEL on become
/// when one is added, and one that leaves out those from 0x80 to 0xbf.
const fn is_not_plain(b: u8) -> bool {
    (b.wrapping_add(1).cast_signed() < 0x21) & (b.cast_signed() >= -0x40)
}

/// The places of a block for whose bytes, and the ones behind them, that holds: all at once, for nearly all have none.
fn places(block: &[u8], nexts: &[u8], may: impl Fn(u8, u8) -> bool) -> u64 {
    let mut flags = [0u8; BLOCK];
    for ((flag, b), next) in flags.iter_mut().zip(block).zip(nexts) {
        *flag = u8::from(may(*b, *next));
    }
    let mut places = 0;
    for (i, eight) in flags.chunks_exact(8).enumerate() {
        let eight = <[u8; 8]>::try_from(eight).map_or(0, u64::from_le_bytes);
        // The lowest bits of eight bytes, one behind the other.
        places |= (eight.wrapping_mul(0x0102_0408_1020_4080) >> 56) << (8 * i);
    }
    places
}

/// The character at `at` that is left out, and its bytes.
pub(super) fn at(text: &[u8], at: usize) -> Option<(char, usize)> {
    let first = *text.get(at)?;
    if !MAY_BEGIN[usize::from(first)] {
        return None;
    }
    let len = match (first, text.get(at + 1)) {
        (0..=0x7f, _) => return Some((char::from(first), 1)),
        (0xc2 | 0xcd | 0xd8, _) => 2,
        (0xe1, Some(0x85 | 0x9e | 0xa0))
        | (0xe2, Some(0x80 | 0x81))
        | (0xe3, Some(0x85))
        | (0xef, Some(0xb8 | 0xbb | 0xbe | 0xbf)) => 3,
        (0xf0, Some(0x9b | 0x9d)) | (0xf3, Some(0xa0)) => 4,
        _ => return None,
    };
    let c = str::from_utf8(text.get(at..at + len)?).ok()?.chars().next()?;
    is_unsafe(c).then_some((c, len))
}

/// The first place from `from` on where one stands.
pub(super) fn next(text: &[u8], from: usize) -> Option<usize> {
    let (mut start, mut blocks) = (from, text.get(from..)?.chunks_exact(BLOCK));
    let is_one = |i: &usize| MAY_BEGIN[usize::from(text[*i])] && at(text, *i).is_some();
    for block in &mut blocks {
        let mut odd = places(block, block, |b, _| is_not_plain(b));
        while odd != 0 {
            let place = start + odd.trailing_zeros() as usize;
            if is_one(&place) {
                return Some(place);
            }
            odd &= odd - 1;
        }
        start += BLOCK;
    }
    (start..text.len()).find(is_one)
}

/// What stands in a text that may be within a secret.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Kinds {
    /// Anything but plain colours: it has to be looked at without.
    pub(super) any: bool,
    /// A blank of any kind, or the first half of a line break.
    pub(super) blank: bool,
    /// A carriage return in a line: a terminal shows something else than a hook.
    pub(super) returns: bool,
}

/// What stands in the text that may be within a secret.
pub(super) fn kinds(text: &[u8]) -> Kinds {
    let (mut kinds, mut from) = (Kinds::default(), 0);
    while let Some((found, (c, len))) = next(text, from).and_then(|i| Some((i, at(text, i)?))) {
        from = found + len;
        if let Some(colour) = plain_colour(&text[found..]) {
            from = found + colour;
            continue;
        }
        let is_harmless = is_harmless(c, &text[..found], &text[from..]);
        kinds.any |= !is_harmless;
        kinds.blank |= c.is_whitespace();
        kinds.returns |= c == '\r' && !is_harmless;
        if kinds == (Kinds { any: true, blank: true, returns: true }) {
            break;
        }
    }
    kinds
}

/// The length of `ESC [ 1 ; 31 m`. Who is shown the text without its escape alone reads `[1;31m`, and a secret
/// goes on over that for nobody.
fn plain_colour(text: &[u8]) -> Option<usize> {
    const LONGEST: usize = 16;
    let rest = text.strip_prefix(b"\x1b[")?;
    let said = rest.iter().take(LONGEST).take_while(|b| matches!(b, b'0'..=b'9' | b';')).count();
    (rest.get(said) == Some(&b'm')).then_some(said + 3)
}

/// What many texts are full of, and no secret: an emoji's variation, the first half of a line break.
fn is_harmless(c: char, before: &[u8], after: &[u8]) -> bool {
    match c {
        '\u{fe0f}' | '\u{200d}' => before.last().is_some_and(|b| *b >= 0x80),
        '\r' => after.first().is_none_or(|b| *b == b'\n'),
        _ => false,
    }
}

/// Calls `found` with every place of a line of JSON where one may stand, as it is or as an escape, at whatever depth.
/// `parts`: whether colours between the first of these bytes and the other two part what is looked for.
pub(super) fn in_raw(
    line: &[u8],
    parts: &dyn Fn(u8, [u8; 2]) -> bool,
    found: &mut dyn FnMut(usize),
) {
    // Of the letters that stand in escapes nearly all are `n` and `t`.
    let may = |b: u8, next: u8| {
        let escape = (next.cast_signed() > 0x60) & (next != b'n') & (next != b't');
        is_not_plain(b) | ((b == b'\\') & escape)
    };
    let (mut start, mut done) = (0, 0);
    while let Some(block) = line.get(start..=start + BLOCK) {
        let mut odd = places(&block[..BLOCK], &block[1..], may);
        while odd != 0 {
            let place = start + odd.trailing_zeros() as usize;
            odd &= odd - 1;
            if place < done || !stands_raw(line, place) {
                continue;
            }
            match colours(line, place) {
                Some((before, after, end)) if !parts(before, after) => done = end,
                _ => found(place),
            }
        }
        start += BLOCK;
    }
    (start..line.len()).filter(|i| stands_raw(line, *i)).for_each(found);
}

fn stands_raw(line: &[u8], place: usize) -> bool {
    if line[place] != b'\\' {
        let Some((c, len)) = at(line, place) else { return false };
        return !is_harmless(c, &line[..place], &line[place + len..]);
    }
    match line.get(place + 1) {
        Some(b'b' | b'f') => true,
        Some(b'r') => {
            // `\r\n`, and the same beneath more escapes.
            let rest = &line[place + 2..];
            let slashes = rest.iter().take_while(|b| **b == b'\\').count();
            !(slashes > 0 && rest.get(slashes) == Some(&b'n'))
        }
        Some(b'u') => {
            let unit = unit(line, place + 2);
            if matches!(unit, Some(0xfe0f | 0x200d)) && is_after_other(line, place) {
                return false;
            }
            // The first half of those in a plane of their own tells enough.
            unit.is_some_and(|unit| matches!(unit, 0xd82f | 0xd834 | 0xdb40..=0xdb43))
                || unit
                    .filter(|unit| !matches!(unit, 9 | 10))
                    .and_then(char::from_u32)
                    .is_some_and(is_unsafe)
        }
        _ => false,
    }
}

/// The plain colours that begin with the escape whose last backslash is at `place`, one after the other: the byte
/// before them, the two after them, and where they end. Nothing where that cannot be told at a glance. They are as
/// short as what is looked back over from a keyword.
fn colours(line: &[u8], place: usize) -> Option<(u8, [u8; 2], usize)> {
    const ESCAPE: &[u8] = b"u001b[";
    const LONGEST: usize = 16;
    let own = slashes(line, place + 1);
    if !own.is_power_of_two() {
        return None;
    }
    let first = (place + 1).checked_sub(own)?;
    let before = match *line.get(first.checked_sub(1)?)? {
        b'n' | b't' if slashes(line, first - 1) == own => b'\n',
        before => before,
    };
    let mut at = place + 1;
    loop {
        let said = line.get(at..)?.strip_prefix(ESCAPE)?;
        let digits = |b: &&u8| matches!(b, b'0'..=b'9' | b';');
        let len = said.iter().take(LONGEST).take_while(digits).count();
        if said.get(len) != Some(&b'm') {
            return None;
        }
        at += ESCAPE.len() + len + 1;
        let rest = line.get(at..)?;
        if *rest.first()? != b'\\' {
            return Some((before, [rest[0], *rest.get(1)?], at));
        }
        let more = rest.iter().take(9).take_while(|b| **b == b'\\').count();
        match rest.get(more)? {
            b'u' if more == own => at += more,
            b'n' | b't' if more == own => return Some((before, [b'\n', b'\\'], at)),
            b'"' if more <= own => return Some((before, [b'"', b'\\'], at)),
            _ => return None,
        }
    }
}

/// How many backslashes end there, of no more than nine.
fn slashes(line: &[u8], end: usize) -> usize {
    line[..end].iter().rev().take(9).take_while(|b| **b == b'\\').count()
}

/// Whether escaped colours stand in a part of a raw line.
pub(super) fn is_coloured(raw: &[u8]) -> bool {
    memmem::find(raw, b"u001b").is_some()
}

/// The four hexadecimal digits at `at`.
fn unit(line: &[u8], at: usize) -> Option<u32> {
    let digits = line.get(at..at + 4)?;
    digits.iter().try_fold(0, |sum, digit| Some(sum * 16 + char::from(*digit).to_digit(16)?))
}

/// Whether what is before the escape whose last backslash is at `place` is not ASCII: as it is, or an escape that
/// is undone together with this one.
fn is_after_other(line: &[u8], place: usize) -> bool {
    let own = slashes(line, place + 1);
    let before = place + 1 - own;
    if !own.is_power_of_two() {
        return false;
    }
    if before > 0 && line[before - 1] >= 0x80 {
        return true;
    }
    // `\ude00` and its backslashes.
    let Some(start) = before.checked_sub(5) else { return false };
    line[start] == b'u'
        && slashes(line, start) == own
        && unit(line, start + 1).is_some_and(|unit| unit >= 0x80)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_one_is_found(text in "[a-zé日…—あ🙂\u{0}-\u{20}\u{7f}-\u{a0}\u{ad}\u{200b}\u{202e}\u{2060}\u{fe0f}\u{feff}\u{e0041}\u{34f}\u{180b}-\u{180f}\u{1160}\u{17b4}\u{3164}\u{ffa0}\u{fff5}\u{1bca1}\u{1d175}]{0,200}") {
            let first = text.char_indices().find(|(_, c)| is_unsafe(*c) && !matches!(c, '\n' | '\t'));
            prop_assert_eq!(next(text.as_bytes(), 0), first.map(|(at, _)| at));
        }
    }

    #[test]
    fn what_may_be_in_a_secret_is_told_from_what_is_not() {
        for (text, is) in [
            ("a\u{200b}b", true),
            ("a\rb", true),
            ("a\u{fe0f}b", true),
            ("a\r\nb\r\n", false),
            ("\u{26a0}\u{fe0f} careful", false),
            ("naïve — “日本”…", false),
        ] {
            assert_eq!(kinds(text.as_bytes()).any, is, "{text:?}");
            let mut found = false;
            in_raw(text.as_bytes(), &|_, _| true, &mut |_| found = true);
            assert_eq!(found, is, "{text:?}");
        }
        for (raw, is) in [
            (r"a\u200bb", true),
            (r"a\\\\u001b[0m", true),
            (r"a\udb40\udc41b", true),
            (r"a\rb", true),
            (r"a\bb", true),
            (r"a\r\nb\\r\\nc\td\u000a\u2014", false),
            (r"plain \", false),
            (r"\u26a0\ufe0f \ud83d\udc68\u200d\ud83d\udcbb \\u26a0\\ufe0f", false),
            (r"a\ufe0fb", true),
            (r"\\u26a0\ufe0fb", true),
            (r"\u0041\ufe0fb", true),
        ] {
            let mut found = false;
            in_raw(raw.as_bytes(), &|_, _| true, &mut |_| found = true);
            assert_eq!(found, is, "{raw}");
        }
    }
}
