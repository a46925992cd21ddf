//! Where a text holds what its readers leave out: controls, zero widths, marks of direction.
//!
//! A terminal, a page and an agent are shown a text without these, so a secret that one of them splits is whole
//! there, and has to be looked for as it will be seen. Not here: what is looked for.

use rrd_proto::json::is_unsafe;

use super::steers::{self, control_sequence};

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
    if flags.iter().fold(0, |any, flag| any | flag) == 0 {
        return 0;
    }
    let mut places = 0;
    for (i, eight) in flags.chunks_exact(8).enumerate() {
        let eight = <[u8; 8]>::try_from(eight).map_or(0, u64::from_le_bytes);
        // The lowest bits of eight bytes, one behind the other.
        places |= (eight.wrapping_mul(0x0102_0408_1020_4080) >> 56) << (8 * i);
    }
    places
}

/// The same of the block that begins at `start`, which may be the last, and short.
fn places_at(text: &[u8], start: usize, may: impl Fn(u8, u8) -> bool) -> u64 {
    if let Some(block) = text.get(start..=start + BLOCK) {
        return places(&block[..BLOCK], &block[1..], may);
    }
    let rest = &text[start..];
    let mut block = [b' '; BLOCK + 1];
    block[..rest.len()].copy_from_slice(rest);
    places(&block[..BLOCK], &block[1..], may)
}

/// The character at `at` that is left out, and its bytes.
pub(super) fn at(text: &[u8], at: usize) -> Option<(char, usize)> {
    let first = *text.get(at)?;
    if !MAY_BEGIN[usize::from(first)] {
        return None;
    }
    if first < 0x80 {
        return Some((char::from(first), 1));
    }
    let rest = text.get(at + 1..)?;
    // Nearly all that begin like one are dashes, quotes, letters and emoji.
    let len = match (first, rest) {
        (0xc2, [0x80..=0x9f | 0xad, ..]) | (0xcd, [0x8f, ..]) | (0xd8, [0x9c, ..]) => 2,
        (0xe1, [0x85 | 0x9e | 0xa0, ..])
        | (0xe2, [0x80, 0x8b..=0x8f | 0xa8..=0xae, ..] | [0x81, 0xa0..=0xaf, ..])
        | (0xe3, [0x85, 0xa4, ..])
        | (0xef, [0xb8 | 0xbb | 0xbe | 0xbf, ..]) => 3,
        (0xf0, [0x9b | 0x9d, ..]) | (0xf3, [0xa0, ..]) => 4,
        _ => return None,
    };
    let mut code = u32::from(first) & (0x7f >> len);
    for b in rest.get(..len - 1)? {
        if b & 0xc0 != 0x80 {
            return None;
        }
        code = code << 6 | u32::from(b & 0x3f);
    }
    char::from_u32(code).filter(|c| is_unsafe(*c)).map(|c| (c, len))
}

/// Finds the places where one stands, from left to right.
pub(super) struct Places<'t> {
    text: &'t [u8],
    /// Where the block begins that is looked at.
    start: usize,
    /// What of it may be one and has not been passed.
    odd: u64,
}

impl<'t> Places<'t> {
    pub(super) fn of(text: &'t [u8]) -> Self {
        Self { text, start: 0, odd: odd(text, 0) }
    }

    /// The first from `from` on, which is no less than before.
    pub(super) fn next(&mut self, from: usize) -> Option<usize> {
        loop {
            let passed = from.saturating_sub(self.start);
            if passed < BLOCK {
                self.odd &= !0 << passed;
                while self.odd != 0 {
                    let place = self.start + self.odd.trailing_zeros() as usize;
                    if at(self.text, place).is_some() {
                        return Some(place);
                    }
                    self.odd &= self.odd - 1;
                }
            }
            self.start = from.max(self.start + BLOCK);
            if self.start >= self.text.len() {
                return None;
            }
            self.odd = odd(self.text, self.start);
        }
    }
}

/// What of a block may be one.
fn odd(text: &[u8], start: usize) -> u64 {
    places_at(text, start, |b, _| is_not_plain(b))
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
    /// What may steer a terminal, other than plain control sequences in seven bits.
    pub(super) steers: bool,
}

/// What stands in the text that may be within a secret.
pub(super) fn kinds(text: &[u8]) -> Kinds {
    let (mut kinds, mut from, mut places) = (Kinds::default(), 0, Places::of(text));
    let (mut sequences, mut harmless) = (false, false);
    while let Some((found, (c, len))) = places.next(from).and_then(|i| Some((i, at(text, i)?))) {
        from = found + len;
        // Who is shown the text without its escape alone reads `[1;31m`, and a secret goes on over that for nobody.
        if c == '\u{1b}'
            && let Some(sequence) = control_sequence(&text[from..])
        {
            sequences |= !is_colour(&text[from..from + sequence]);
            from += sequence;
            continue;
        }
        kinds.steers |= c == '\u{1b}' || steers::begins(c);
        let is_harmless = is_harmless(c, &text[..found], &text[from..]);
        harmless |= is_harmless;
        kinds.any |= !is_harmless;
        kinds.blank |= c.is_whitespace();
        kinds.returns |= c == '\r' && !is_harmless;
        if kinds == (Kinds { any: true, blank: true, returns: true, steers: true }) {
            break;
        }
    }
    kinds.any |= sequences && harmless;
    kinds
}

fn is_colour(sequence: &[u8]) -> bool {
    const LONGEST: usize = 18;
    let plain = |b: &u8| matches!(b, b'[' | b'0'..=b'9' | b';' | b'm');
    sequence.len() <= LONGEST && sequence.ends_with(b"m") && sequence.iter().all(plain)
}

/// What many texts are full of, and no secret: an emoji's variation, the first half of a line break.
fn is_harmless(c: char, before: &[u8], after: &[u8]) -> bool {
    match c {
        '\u{fe0f}' | '\u{200d}' => before.last().is_some_and(|b| *b >= 0x80),
        '\r' => after.first().is_none_or(|b| *b == b'\n'),
        _ => false,
    }
}

/// One or more of them in a line of JSON.
pub(super) struct Gap {
    pub(super) start: usize,
    pub(super) end: usize,
    /// The byte before and the two after; nothing where those cannot be told at a glance.
    pub(super) around: Option<(u8, [u8; 2])>,
    /// Nothing but what colours a terminal.
    pub(super) colours: bool,
}

/// Calls `found` with every place of a line of JSON where one may stand, as it is or as an escape, at whatever depth.
pub(super) fn in_raw(line: &[u8], found: &mut dyn FnMut(Gap)) {
    // Of the letters that stand in escapes nearly all are `n` and `t`.
    let may = |b: u8, next: u8| {
        let escape = (next.cast_signed() > 0x60) & (next != b'n') & (next != b't');
        is_not_plain(b) | ((b == b'\\') & escape)
    };
    let (mut start, mut done) = (0, 0);
    while start < line.len() {
        let mut odd = places_at(line, start, may);
        while odd != 0 {
            let place = start + odd.trailing_zeros() as usize;
            odd &= odd - 1;
            if place >= done && stands_raw(line, place) {
                let gap = gap(line, place);
                done = gap.end;
                found(gap);
            }
        }
        start += BLOCK;
    }
}

/// Whether any but colours may stand in a line of JSON.
pub(super) fn is_in_raw(line: &[u8]) -> bool {
    let mut is = false;
    in_raw(line, &mut |gap| is |= !gap.colours);
    is
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

/// What begins with the escape whose last backslash is at `place`: one after the other, plain control sequences, as
/// short as what is looked back over from a keyword, and others that are no blanks.
fn gap(line: &[u8], place: usize) -> Gap {
    const LONGEST: usize = 16;
    let own = slashes(line, place + 1);
    let (mut end, mut colours) = (place + 1, true);
    let gap = |end, around| Gap { start: place, end, around, colours: false };
    let Some(last) = end.checked_sub(own + 1).filter(|_| own.is_power_of_two()) else {
        return gap(end, None);
    };
    let before = match line[last] {
        b'n' | b't' if slashes(line, last) == own => b'\n',
        before => before,
    };
    loop {
        let Some(said) = line[end..].strip_prefix(b"u") else { return gap(end, None) };
        let len = if let Some(said) = said.strip_prefix(b"001b[") {
            let digits = |b: &&u8| matches!(b, b'0'..=b'9' | b';' | b'?');
            let len = said.iter().take(LONGEST).take_while(digits).count();
            said.get(len).filter(|b| b.is_ascii_alphabetic()).map(|_| 7 + len)
        } else {
            colours = false;
            let begins = |c: char| c == '\u{1b}' || steers::begins(c);
            let is_one = |c: &char| !begins(*c) && !c.is_whitespace() && is_unsafe(*c);
            unit(said, 0).and_then(char::from_u32).filter(is_one).map(|_| 5)
        };
        let Some(len) = len else { return gap(end, None) };
        end += len;
        let rest = &line[end..];
        let [next, second, ..] = *rest else { return gap(end, None) };
        if next != b'\\' {
            return Gap { colours, ..gap(end, Some((before, [next, second]))) };
        }
        let more = slashes_from(rest);
        let around = match rest.get(more) {
            Some(b'u') if more == own => {
                end += more;
                continue;
            }
            Some(b'n' | b't') if more == own => Some((before, [b'\n', b'\\'])),
            Some(b'"') if more <= own => Some((before, [b'"', b'\\'])),
            _ => None,
        };
        return Gap { colours: colours && around.is_some(), ..gap(end, around) };
    }
}

fn slashes_from(line: &[u8]) -> usize {
    line.iter().take(9).take_while(|b| **b == b'\\').count()
}

/// How many backslashes end there, of no more than nine.
fn slashes(line: &[u8], end: usize) -> usize {
    line[..end].iter().rev().take(9).take_while(|b| **b == b'\\').count()
}

/// What each byte says as a hexadecimal digit; more than fifteen if it is none.
const DIGITS: [u8; 256] = {
    let mut digits = [0xff; 256];
    let mut digit = 0;
    while digit < 16 {
        let byte = b"0123456789abcdef"[digit];
        digits[byte as usize] = digit as u8;
        digits[byte.to_ascii_uppercase() as usize] = digit as u8;
        digit += 1;
    }
    digits
};

/// The four hexadecimal digits at `at`.
fn unit(line: &[u8], at: usize) -> Option<u32> {
    let digits: &[u8; 4] = line.get(at..)?.first_chunk()?;
    let [a, b, c, d] = digits.map(|digit| u32::from(DIGITS[usize::from(digit)]));
    (a | b | c | d < 16).then_some(a << 12 | b << 8 | c << 4 | d)
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
            prop_assert_eq!(Places::of(text.as_bytes()).next(0), first.map(|(at, _)| at));
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
            in_raw(text.as_bytes(), &mut |_| found = true);
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
            in_raw(raw.as_bytes(), &mut |_| found = true);
            assert_eq!(found, is, "{raw}");
        }
    }
}
