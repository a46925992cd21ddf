//! What a piece of text says beneath its escapes, and the way back to the bytes that say it.
//!
//! A view turns bytes into other bytes: escapes of a string into what they stand for, colours and what
//! readers leave out into nothing. What is found in the result is brought back by running over the source
//! once more, so no map is kept and memory stays within a small multiple of the line. A place inside an
//! escape widens to the whole of it. Nothing fails: what is no escape stays as it is.

use std::borrow::Cow;

use memchr::memchr;

use super::{
    steers::{self, control_sequence},
    unseen::{self, Places},
};

/// How a text is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum View {
    /// Backslash escapes, as in a JSON string.
    Escapes,
    /// Without what is not seen of the strings of a JSON text, as it is or as an escape; all other escapes stay.
    Strings,
    /// Without what steers a terminal and is not shown there: colours, links, titles.
    Colours,
    /// Without what is not seen, and without colours, which would stand at the edges of what is looked for: as a hook
    /// and an answer to an agent show it, but for `[31m`.
    Unseen,
    /// The same where blanks of any kind stay blanks: as a table and a page show it.
    Blanks,
    /// The same in lines: as a terminal is shown a long text.
    Lines,
}

/// One step through the source: how many bytes of it, and what they say.
struct Piece {
    raw: usize,
    says: Says,
}

enum Says {
    Itself,
    Bytes([u8; 4], usize),
}

/// A text, piece by piece.
struct Pieces<'r> {
    view: View,
    raw: &'r [u8],
    at: usize,
    /// Where, from there on, what the view changes begins; less if that is not known.
    mark: Option<usize>,
    unseen: Option<Places<'r>>,
}

impl<'r> Pieces<'r> {
    fn of(view: View, raw: &'r [u8]) -> Self {
        let unseen = match view {
            View::Escapes | View::Strings | View::Colours => None,
            View::Unseen | View::Blanks | View::Lines => Some(Places::of(raw)),
        };
        Self { view, raw, at: 0, mark: None, unseen }
    }

    /// Where, from where it is, what the view changes begins.
    fn mark(&mut self) -> usize {
        if let Some(mark) = self.mark.filter(|mark| *mark >= self.at) {
            return mark;
        }
        let next = match &mut self.unseen {
            Some(places) => places.next(self.at),
            None if self.view == View::Strings => {
                let is = |at: &usize| self.raw[*at] == b'\\' || unseen::at(self.raw, *at).is_some();
                (self.at..self.raw.len()).find(is)
            }
            None if self.view == View::Colours => steers::next(self.raw, self.at),
            None => match self.raw.get(self.at) {
                Some(b'\\') => Some(self.at),
                _ => memchr(b'\\', &self.raw[self.at..]).map(|next| self.at + next),
            },
        };
        *self.mark.insert(next.unwrap_or(self.raw.len()))
    }
}

impl Iterator for Pieces<'_> {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        if self.at == self.raw.len() {
            return None;
        }
        let (raw, at, mark) = (self.raw, self.at, self.mark());
        let piece = match self.view {
            _ if mark > at => Piece { raw: mark - at, says: Says::Itself },
            View::Escapes => escape(raw, at),
            View::Strings => in_string(raw, at),
            View::Colours => colour(raw, at),
            view => view.unseen(raw, at),
        };
        self.at += piece.raw;
        Some(piece)
    }
}

impl View {
    /// The text as this view shows it; borrowed where it shows nothing else.
    pub(super) fn show(self, raw: &[u8]) -> Cow<'_, [u8]> {
        let mut pieces = Pieces::of(self, raw);
        if pieces.mark() == raw.len() {
            return Cow::Borrowed(raw);
        }
        let (mut shown, mut at) = (Vec::with_capacity(raw.len()), 0);
        for piece in pieces {
            match piece.says {
                Says::Itself => shown.extend_from_slice(&raw[at..at + piece.raw]),
                Says::Bytes([byte, ..], 1) => shown.push(byte),
                Says::Bytes(bytes, len) => shown.extend_from_slice(&bytes[..len]),
            }
            at += piece.raw;
        }
        Cow::Owned(shown)
    }

    /// Where in what is shown something was left out, in order: a word may begin there that is seen as the end of
    /// another one.
    pub(super) fn joints(self, raw: &[u8]) -> Vec<usize> {
        let (mut joints, mut shown) = (Vec::new(), 0);
        for piece in Pieces::of(self, raw) {
            shown += match piece.says {
                Says::Itself => piece.raw,
                Says::Bytes(_, 0) => {
                    joints.push(shown);
                    0
                }
                Says::Bytes(_, len) => len,
            };
        }
        joints.dedup();
        joints
    }

    /// Where in `raw` the given ranges of what is shown lie. `ranges` are in order and do not overlap.
    pub(super) fn locate(self, raw: &[u8], ranges: &mut dyn Iterator<Item = &mut (usize, usize)>) {
        let (mut at, mut shown) = (0, 0);
        // A piece may reach far: it is measured once, however many ranges lie in it.
        let mut pieces = Pieces::of(self, raw).map(|piece| match piece {
            Piece { raw, says: Says::Itself } => (raw, raw, true),
            Piece { raw, says: Says::Bytes(_, len) } => (raw, len, false),
        });
        let mut piece = pieces.next();
        for range in ranges {
            let (start, end) = *range;
            let mut from = None;
            while let Some((len, says, linear)) = piece {
                if from.is_none() && start < shown + says {
                    from = Some(if linear { at + (start - shown) } else { at });
                }
                if from.is_some() && end <= shown + says {
                    break;
                }
                at += len;
                shown += says;
                piece = pieces.next();
            }
            let from = from.unwrap_or(raw.len());
            // The piece that holds the end has not been passed: the next range may begin in it.
            let to = match piece {
                Some((len, _, true)) => at + (end - shown).min(len),
                Some((_, _, false)) if end <= shown => at,
                Some((len, _, false)) => at + len,
                None => raw.len(),
            };
            *range = (from, to.max(from));
        }
    }

    fn unseen(self, raw: &[u8], at: usize) -> Piece {
        let Some((c, len)) = unseen::at(raw, at) else {
            return Piece { raw: 1, says: Says::Itself };
        };
        let one = |byte: u8| Piece { raw: len, says: Says::Bytes([byte, 0, 0, 0], 1) };
        match (self, c) {
            (Self::Blanks, c) if c.is_whitespace() => one(b' '),
            (Self::Lines, '\r') => one(b'\n'),
            (_, '\u{1b}') => nothing(1 + control_sequence(&raw[at + 1..]).unwrap_or(0)),
            _ => nothing(len),
        }
    }
}

fn escape(raw: &[u8], at: usize) -> Piece {
    let one = |byte: u8| Piece { raw: 2, says: Says::Bytes([byte, 0, 0, 0], 1) };
    match raw.get(at + 1) {
        Some(b'n') => one(b'\n'),
        Some(b't') => one(b'\t'),
        Some(b'r') => one(b'\r'),
        Some(b'b') => one(8),
        Some(b'f') => one(12),
        Some(b'e') => one(0x1b),
        Some(byte @ (b'"' | b'\\' | b'/' | b'\'' | b'`')) => one(*byte),
        Some(b'x') => match hex(raw, at + 2, 2).filter(|c| *c < 0x80) {
            Some(code) => Piece { raw: 4, says: Says::Bytes([low(code), 0, 0, 0], 1) },
            None => Piece { raw: 1, says: Says::Itself },
        },
        Some(b'0') if raw.get(at + 2..at + 4) == Some(b"33") => {
            Piece { raw: 4, says: Says::Bytes([0x1b, 0, 0, 0], 1) }
        }
        Some(b'u') => match hex(raw, at + 2, 4) {
            Some(high) => unit(raw, at, high),
            None => Piece { raw: 1, says: Says::Itself },
        },
        _ => Piece { raw: 1, says: Says::Itself },
    }
}

/// An escape of a JSON string, or what is not seen, is nothing or itself.
fn in_string(raw: &[u8], at: usize) -> Piece {
    if let Some((_, len)) = unseen::at(raw, at) {
        return nothing(len);
    }
    let Piece { raw: len, says } = escape(raw, at);
    let is_unseen = match (raw.get(at + 1), says) {
        (Some(b'u'), Says::Bytes(bytes, _)) => unseen::at(&bytes, 0).is_some(),
        (escape, _) => matches!(escape, Some(b'b' | b'f' | b'r')),
    };
    if is_unseen { nothing(len) } else { Piece { raw: len, says: Says::Itself } }
}

fn low(code: u32) -> u8 {
    u8::try_from(code).unwrap_or(b'?')
}

fn unit(raw: &[u8], at: usize, high: u32) -> Piece {
    let mut raw_len = 6;
    let mut code = high;
    if (0xd800..0xdc00).contains(&high)
        && raw.get(at + 6..at + 8) == Some(b"\\u")
        && let Some(next) = hex(raw, at + 8, 4).filter(|c| (0xdc00..0xe000).contains(c))
    {
        code = 0x1_0000 + ((high - 0xd800) << 10) + (next - 0xdc00);
        raw_len = 12;
    }
    let mut bytes = [0; 4];
    let len = char::from_u32(code).unwrap_or('\u{fffd}').encode_utf8(&mut bytes).len();
    Piece { raw: raw_len, says: Says::Bytes(bytes, len) }
}

fn hex(raw: &[u8], at: usize, digits: usize) -> Option<u32> {
    let text = raw.get(at..at + digits)?;
    text.iter().try_fold(0, |sum, byte| Some(sum * 16 + char::from(*byte).to_digit(16)?))
}

fn nothing(raw: usize) -> Piece {
    Piece { raw, says: Says::Bytes([0; 4], 0) }
}

fn colour(raw: &[u8], at: usize) -> Piece {
    match steers::sequence(&raw[at..]) {
        Some(len) => nothing(len),
        None => Piece { raw: 1, says: Says::Itself },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn located(view: View, raw: &str, wanted: &str) -> String {
        let shown = view.show(raw.as_bytes()).into_owned();
        let shown = String::from_utf8(shown).unwrap();
        let at = shown.find(wanted).unwrap();
        let mut ranges = [(at, at + wanted.len())];
        view.locate(raw.as_bytes(), &mut ranges.iter_mut());
        raw[ranges[0].0..ranges[0].1].to_owned()
    }

    #[test]
    fn what_is_found_beneath_escapes_is_found_again_above() {
        let cases = [
            (r#"a\nb\"c"#, "b\"c", r#"b\"c"#),
            (r"x\u0073k-1\u00e9z", "sk-1", r"\u0073k-1"),
            (r"\ud83d\ude00ab", "ab", "ab"),
            (r"\ud83d\ude00ab", "\u{1f600}a", r"\ud83d\ude00a"),
            (r"\ud83dab", "\u{fffd}ab", r"\ud83dab"),
            (r"\q\\n", r"\q\n", r"\q\\n"),
            ("plain", "lai", "lai"),
        ];
        for (raw, shown, want) in cases {
            assert_eq!(located(View::Escapes, raw, shown), want, "{raw}");
        }
        let long = "0;".repeat(100);
        for between in [
            "\x1b[0m",
            "\x1b]0;title\x07",
            &format!("\x1b[{long}m"),
            &format!("\x1b]8;;https://x/{long}\x07"),
            &format!("\x1b]8;;https://x/{long}\x1b\\"),
            "\u{9d}8;;é·\u{9c}\u{9b}1;31m\x1bPq\u{9c}",
        ] {
            let raw = format!("k=\x1b[1;32mval{between}ue\x1b[0m.");
            assert_eq!(located(View::Colours, &raw, "value"), format!("val{between}ue"));
        }
        let cut = b"a\x1b]8;;\x1b[1mb\x1b]c";
        assert_eq!(View::Colours.show(cut).as_ref(), b"a\x1b]8;;b\x1b]c");
        assert_eq!(View::Colours.show(b"a\x1b]0;\x1b[1mt\x07b").as_ref(), b"ab");
        assert_eq!(
            located(
                View::Strings,
                r#"{"a\u200b":"b\\\u2060\ud83d\ude00\r"}"#,
                r#"{"a":"b\\\ud83d\ude00"}"#
            ),
            r#"{"a\u200b":"b\\\u2060\ud83d\ude00\r"}"#
        );
        for view in [View::Unseen, View::Blanks, View::Lines] {
            assert_eq!(
                located(view, "k\u{200b}=v\u{ad}al\u{7f}ue\u{feff}.", "value"),
                "v\u{ad}al\u{7f}ue"
            );
        }
        let shown = |view: View| view.show(b"a\x1b[1mb\rc\x0bd\x1b(B").into_owned();
        assert_eq!(shown(View::Unseen), b"abcd(B");
        assert_eq!(shown(View::Blanks), b"ab c d(B");
        assert_eq!(shown(View::Lines), b"ab\ncd(B");
    }

    proptest! {
        #[test]
        fn every_range_comes_back_in_order(
            raw in r#"([a-z"é]|\\n|\\u00e9|\\u200b|\\ud83d|\\|\x1b\[0m|\x1b|\x1b\]|\x07|\x{9d}|\x{9b}|\x{9c}|\x1bP|\r|\x{200b}|\x{2028}|\x{e0041}){0,20}"#,
            cuts in proptest::collection::vec(0usize..30, 0..6),
        ) {
            for view in [View::Escapes, View::Colours, View::Unseen, View::Blanks, View::Lines] {
                let shown = view.show(raw.as_bytes()).into_owned();
                let mut cuts: Vec<usize> = cuts.iter().map(|c| c % (shown.len() + 1)).collect();
                cuts.sort_unstable();
                cuts.dedup();
                let want: Vec<(usize, usize)> = cuts.windows(2).map(|w| (w[0], w[1])).collect();
                let mut got = want.clone();
                view.locate(raw.as_bytes(), &mut got.iter_mut());
                for ((start, end), (from, to)) in want.iter().zip(&got) {
                    let part = view.show(&raw.as_bytes()[*from..*to]).into_owned();
                    prop_assert!(part.len() >= end - start, "{from}..{to}");
                    prop_assert!(*to <= raw.len());
                }
                let whole = shown.len();
                let mut all = [(0, whole)];
                view.locate(raw.as_bytes(), &mut all.iter_mut());
                prop_assert_eq!(view.show(&raw.as_bytes()[all[0].0..all[0].1]).into_owned(), shown);
            }
        }
    }
}
