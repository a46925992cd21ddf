//! Text cut to one line: what the index and a list row keep of a prompt, an answer or a command.
//!
//! Not here: making text safe for a terminal or a page. That happens where it is shown.

use std::borrow::Cow;

/// Runs of whitespace (newlines too) become one space; leading and trailing ones go. Looks at no more
/// than a kilobyte, whatever it is given: several times what anybody keeps of it.
#[must_use]
pub(crate) fn one_line(text: &str) -> Cow<'_, str> {
    const LOOK: usize = 1024;
    let end = (0..=LOOK.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let text = text[..end].trim();
    let plain = |c: char| !c.is_whitespace() || c == ' ';
    if text.chars().all(plain) && !text.contains("  ") {
        return Cow::Borrowed(text);
    }
    let mut line = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    Cow::Owned(line)
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
    fn whitespace_collapses_and_length_is_in_characters() {
        assert_eq!(one_line("  a\n\tb  c\r\n"), "a b c");
        assert!(matches!(one_line("plain text"), Cow::Borrowed("plain text")));
        assert_eq!(truncate("žluťoučký", 4), ("žluť".to_owned(), true));
        assert_eq!(truncate("abc", 3), ("abc".to_owned(), false));
        assert!(one_line(&"x ".repeat(1 << 20)).len() <= 1024);
        assert_eq!(one_line(&"ž".repeat(1 << 10)).chars().count(), 512, "cut between characters");
    }
}
