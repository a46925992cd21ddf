//! Makes text from a transcript safe and short enough for one line of a terminal.
//!
//! A transcript holds whatever an agent read on the web, so every string in it is hostile: escape
//! sequences that write the clipboard, bidirectional marks that reorder a command, invisible
//! characters that hide one, newlines that forge a row. [`clean`] lets none of them through; what it
//! returns is one line. Not here: colours, which are added after cleaning.

use std::borrow::Cow;

pub(crate) use rrd_proto::json::is_unsafe;
use unicode_width::UnicodeWidthChar;

/// More marks than this on one letter are decoration that grows into the rows above and below.
const MAX_MARKS: usize = 3;

/// One line without anything a terminal would act on or would not show.
pub(crate) fn clean(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|b| matches!(b, b' '..=b'~')) && !text.contains("  ") {
        return Cow::Borrowed(text.trim());
    }
    let mut line = String::with_capacity(text.len());
    let mut marks = 0;
    for c in text.chars() {
        if c.is_whitespace() {
            if !line.ends_with(' ') {
                line.push(' ');
            }
        } else if !is_unsafe(c) {
            marks = if c.width() == Some(0) { marks + 1 } else { 0 };
            if marks <= MAX_MARKS {
                line.push(c);
            }
        }
    }
    line.truncate(line.trim_end().len());
    if line.starts_with(' ') {
        line.remove(0);
    }
    Cow::Owned(line)
}

/// Columns from one tab stop to the next.
const TAB: usize = 8;

/// The lines of a text, each safe: like [`clean`], but tabs become spaces up to the next stop and other
/// spaces stay, for they may be what a program or a table is made of. Colours that a command wrote go as
/// a whole; a carriage return ends a line, so that what it would overwrite is seen, too.
pub(crate) fn clean_lines(text: &str) -> impl Iterator<Item = String> {
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    text.split('\n')
        .flat_map(|line| line.strip_suffix('\r').unwrap_or(line).split('\r'))
        .map(clean_line)
}

fn clean_line(raw: &str) -> String {
    let mut line = String::with_capacity(raw.len());
    let (mut marks, mut column) = (0, 0);
    let mut chars = raw.char_indices();
    while let Some((at, c)) = chars.next() {
        if c == '\t' {
            let stop = TAB - column % TAB;
            line.extend(std::iter::repeat_n(' ', stop));
            column += stop;
        } else if c == '\u{1b}' {
            for _ in 0..colour(&raw[at + 1..]) {
                chars.next();
            }
        } else if c.is_whitespace() && !is_unsafe(c) {
            line.push(' ');
            column += 1;
        } else if !is_unsafe(c) {
            let wide = c.width().unwrap_or(0);
            marks = if wide == 0 { marks + 1 } else { 0 };
            column += wide;
            if marks <= MAX_MARKS {
                line.push(c);
            }
        }
    }
    line.truncate(line.trim_end().len());
    line
}

/// Bytes after an ESC that only set colours or move about: `[31m`. Everything else stays to be seen.
fn colour(rest: &str) -> usize {
    let Some(inner) = rest.strip_prefix('[') else { return 0 };
    let parameters = inner.bytes().take_while(|b| matches!(b, b' '..=b'?')).count();
    match inner.as_bytes().get(parameters) {
        Some(b'@'..=b'~') if parameters < 24 => 1 + parameters + 1,
        _ => 0,
    }
}

/// `text` in pieces of at most `columns`, cut wherever they end; never none.
pub(crate) fn pieces(mut text: &str, columns: usize) -> Vec<&str> {
    let mut pieces = Vec::new();
    loop {
        let piece = head(text, columns);
        if piece.len() == text.len() || piece.is_empty() {
            pieces.push(piece);
            return pieces;
        }
        pieces.push(piece);
        text = &text[piece.len()..];
    }
}

/// Columns that `text` takes, letter by letter: an upper bound where a terminal joins several.
pub(crate) fn width(text: &str) -> usize {
    text.chars().map(|c| c.width().unwrap_or(0)).sum()
}

/// At most `columns` columns, cut at the end.
pub(crate) fn fit_end(text: &str, columns: usize) -> Cow<'_, str> {
    if width(text) <= columns {
        return Cow::Borrowed(text);
    }
    if columns == 0 {
        return Cow::Borrowed("");
    }
    let head = head(text, columns - 1);
    Cow::Owned(format!("{}…", head.trim_end()))
}

/// Two texts that together have at most `columns`: where both are long each has half, else the longer one what the
/// other leaves.
pub(crate) fn fit_both<'t>(
    one: &'t str,
    other: &'t str,
    columns: usize,
) -> (Cow<'t, str>, Cow<'t, str>) {
    let (first, second) = (width(one), width(other));
    let half = columns / 2;
    let room = first.min(columns.saturating_sub(second).max(half));
    (fit_end(one, room), fit_end(other, columns - room))
}

/// At most `columns` columns, cut in the middle: both ends of a path tell something.
pub(crate) fn fit_middle(text: &str, columns: usize) -> Cow<'_, str> {
    if width(text) <= columns {
        return Cow::Borrowed(text);
    }
    if columns < 3 {
        return fit_end(text, columns);
    }
    let front = head(text, (columns - 1) / 3);
    let room = columns - 1 - width(front);
    let mut used = 0;
    let start = text
        .char_indices()
        .rev()
        .take_while(|(_, c)| {
            used += c.width().unwrap_or(0);
            used <= room
        })
        .last()
        .map_or(text.len(), |(at, _)| at);
    Cow::Owned(format!("{front}…{}", &text[start..]))
}

/// The longest start of `text` that takes at most `columns`.
fn head(text: &str, columns: usize) -> &str {
    let mut used = 0;
    let end = text
        .char_indices()
        .find(|(_, c)| {
            used += c.width().unwrap_or(0);
            used > columns
        })
        .map_or(text.len(), |(at, _)| at);
    &text[..end]
}

/// `text` in exactly `columns` columns: cut at the end, or spaces added.
pub(crate) fn pad(text: &str, columns: usize) -> String {
    let mut cell = fit_end(text, columns).into_owned();
    let missing = columns.saturating_sub(width(&cell));
    cell.extend(std::iter::repeat_n(' ', missing));
    cell
}

/// `text` in lines of at most `columns`, broken between words where those are short enough.
pub(crate) fn wrap(text: &str, columns: Option<usize>) -> Vec<String> {
    let columns = columns.unwrap_or(usize::MAX);
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if width(line) + 1 + width(word) <= columns => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(fit_end(word, columns).into_owned()),
        }
    }
    lines
}

/// `count` and its noun: `1 session`, `2 sessions`.
pub(crate) fn counted(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// Quotes `word` for a POSIX shell where it needs it; `None` where cleaning would change it, because
/// what is shown would then not be what it names.
pub(crate) fn shell_word(word: &str) -> Option<String> {
    if clean(word) != word {
        return None;
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return Some(word.to_owned());
    }
    Some(format!("'{}'", word.replace('\'', r"'\''")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_terminal_acts_on_is_gone() {
        for (raw, shown) in [
            ("a\u{1b}]52;c;ZXZpbA==\u{7}b", "a]52;c;ZXZpbA==b"),
            ("\u{9b}31mred", "31mred"),
            ("one\ntwo\r\n\tthree", "one two three"),
            ("rm \u{202e}fr-\u{202c} x", "rm fr- x"),
            ("pay\u{200b}pal\u{feff}", "paypal"),
            ("a\u{2066}b\u{2069}\u{200e}\u{200f}", "ab"),
            ("  lead and trail  ", "lead and trail"),
            ("z\u{301}\u{301}\u{301}\u{301}\u{301}", "z\u{301}\u{301}\u{301}"),
            ("日本 naïve 🦀", "日本 naïve 🦀"),
        ] {
            assert_eq!(clean(raw), shown);
        }
    }

    #[test]
    fn lines_stay_lines() {
        let lines = |raw| clean_lines(raw).collect::<Vec<_>>();
        assert_eq!(lines("fn x() {\n\tlet  y;\r\n}\n"), ["fn x() {", "        let  y;", "}"]);
        assert_eq!(lines("ab\tc\n日\tc"), ["ab      c", "日      c"]);
        assert_eq!(lines("\u{1b}[1;31mred\u{1b}[0m\u{1b}[K"), ["red"]);
        assert_eq!(lines("10%\r20%\rdone"), ["10%", "20%", "done"]);
        assert_eq!(lines("a\u{1b}]52;c;eA==\u{7}b\u{9b}2J"), ["a]52;c;eA==b2J"]);
        assert_eq!(lines("a\u{1b}[\u{202e}b\u{200b}\u{1b}["), ["a[b["]);
        assert_eq!(lines(""), [""]);
        assert_eq!(lines("a\n\n"), ["a", ""]);
    }

    #[test]
    fn pieces_are_all_of_it() {
        assert_eq!(pieces("abcdef", 4), ["abcd", "ef"]);
        assert_eq!(pieces("日本", 3), ["日", "本"]);
        assert_eq!(pieces("", 3), [""]);
        assert_eq!(pieces("日本", 1), [""]);
    }

    #[test]
    fn cuts_leave_what_tells_most() {
        assert_eq!(fit_end("Publish the crate", 10), "Publish t…");
        assert_eq!(fit_end("日本語", 4), "日…");
        assert_eq!(fit_middle("/home/dev/src/rrd/client/src/text.rs", 19), "/home/…/src/text.rs");
        assert_eq!(pad("ab", 4), "ab  ");
        assert_eq!(pad("abcdef", 4), "abc…");
        assert_eq!(fit_end("abc", 0), "");
    }

    #[test]
    fn a_pasted_word_is_the_word() {
        assert_eq!(shell_word("/tmp/a.jsonl").as_deref(), Some("/tmp/a.jsonl"));
        assert_eq!(shell_word("/tmp/it's a.jsonl").as_deref(), Some(r"'/tmp/it'\''s a.jsonl'"));
        assert_eq!(shell_word("/tmp/\u{1b}[2Ja"), None);
    }

    proptest! {
        #[test]
        fn cleaning_is_safe_and_settles_at_once(raw in any::<String>()) {
            let line = clean(&raw).into_owned();
            prop_assert!(!line.chars().any(is_unsafe));
            prop_assert!(!line.contains("  ") && line.trim() == line);
            prop_assert_eq!(clean(&line), line.as_str());
        }

        #[test]
        fn no_line_has_what_a_terminal_acts_on(raw in any::<String>(), columns in 2_usize..60) {
            for line in clean_lines(&raw) {
                prop_assert!(!line.chars().any(is_unsafe) && !line.contains('\t'));
                let pieces = pieces(&line, columns);
                prop_assert!(pieces.iter().all(|piece| width(piece) <= columns));
                prop_assert_eq!(pieces.concat(), line);
            }
        }

        #[test]
        fn nothing_is_wider_than_asked(raw in any::<String>(), columns in 0_usize..60) {
            let line = clean(&raw);
            prop_assert!(width(&fit_end(&line, columns)) <= columns);
            prop_assert!(width(&fit_middle(&line, columns)) <= columns);
            prop_assert_eq!(width(&pad(&line, columns)), columns);
            prop_assert!(wrap(&line, Some(columns)).iter().all(|l| width(l) <= columns));
        }
    }
}
