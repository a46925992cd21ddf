//! Text cut to one line: what the index and a list row keep of a prompt, an answer or a command.
//!
//! Not here: making text safe for a terminal or a page. That happens where it is shown.

use std::borrow::Cow;

use crate::redact;

/// At most `max` characters, and whether any were cut. Runs of whitespace (newlines too) become one
/// space; leading and trailing ones go. Looks at no more than a kilobyte, whatever it is given: several
/// times what anybody keeps of it.
#[must_use]
pub(crate) fn one_line(text: &str, max: usize) -> (String, bool) {
    const LOOK: usize = 1024;
    let end = (0..=LOOK.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let (mut line, mut left) = (String::new(), max);
    for word in text[..end].split_whitespace() {
        if !line.is_empty() {
            if left == 0 {
                return (line, true);
            }
            line.push(' ');
            left -= 1;
        }
        if let Some((end, _)) = word.char_indices().nth(left) {
            line.push_str(&word[..end]);
            return (line, true);
        }
        line.push_str(word);
        left -= word.chars().count();
    }
    (line, false)
}

/// Without colours and other controls that are no white space. They go and leave no blank: what they split is looked
/// through for secrets after this, and would be shown in two halves.
#[must_use]
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    let steers = |c: char| c.is_control() && !c.is_whitespace();
    if !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    let (mut plain, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find(steers) {
        plain.push_str(&rest[..at]);
        rest = &rest[at..];
        let control = rest.chars().next().map_or(0, char::len_utf8);
        rest = &rest[sequence(rest).unwrap_or(control)..];
    }
    plain.push_str(rest);
    Cow::Owned(plain)
}

/// Bytes of `ESC [ … letter`, or of `ESC ] … BEL` and its like, at the beginning. Not of what may be one control within
/// a word: `ESC 7`, U+009B.
fn sequence(text: &str) -> Option<usize> {
    match text.as_bytes() {
        [0x1b, b'[' | b']' | b'P' | b'X' | b'^' | b'_', ..]
        | [0xc2, 0x90 | 0x98 | 0x9d..=0x9f, ..] => redact::sequence(text.as_bytes()),
        _ => None,
    }
}

/// At most `max` characters, and whether any were cut.
#[must_use]
pub(crate) fn truncate(text: &str, max: usize) -> (String, bool) {
    match text.char_indices().nth(max) {
        Some((end, _)) => (text[..end].to_owned(), true),
        None => (text.to_owned(), false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controls_go_and_leave_no_blank() {
        for (text, left) in [
            ("as it is — ž\u{200b}\t\r\n", "as it is — ž\u{200b}\t\r\n"),
            ("\u{1b}[01;31m\u{1b}[Kgh\u{1b}[m\u{1b}[Kp_1", "ghp_1"),
            ("g\u{7f}h\u{1}p\u{9b}_\u{1b}1\0", "ghp_1"),
            ("gh\u{1b}]8;;x\u{1b}\\p\u{9d}8;;\u{9c}_\u{90}q\u{18}1\u{9d}2\u{1b}P3", "ghp_12P3"),
            ("a\u{1b}[31\u{e9}b\u{1b}[", "a[31\u{e9}b["),
        ] {
            assert_eq!(plain(text), left);
        }
    }

    #[test]
    fn whitespace_collapses_and_length_is_in_characters() {
        let one_line = |text: &str, max| {
            let (line, cut) = one_line(text, max);
            format!("{line}{}", if cut { "…" } else { "" })
        };
        assert_eq!(one_line("  a\n\tb  c\r\n", 5), "a b c");
        assert_eq!(one_line("  a\n\tb  c\r\n", 4), "a b …");
        assert_eq!(one_line("  a\n\tb  c\r\n", 3), "a b…");
        assert_eq!(one_line(" \n", 0), "");
        assert_eq!(one_line("žluťoučký kůň", 4), "žluť…");
        assert_eq!(one_line("žluťoučký kůň", 13), "žluťoučký kůň");
        assert_eq!(truncate("žluťoučký", 4), ("žluť".to_owned(), true));
        assert_eq!(truncate("abc", 3), ("abc".to_owned(), false));
        assert!(one_line(&"x ".repeat(1 << 20), 2_000).len() <= 1024);
        assert_eq!(
            one_line(&"ž".repeat(1 << 10), 2_000).chars().count(),
            512,
            "between characters"
        );
    }
}
