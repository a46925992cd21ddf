//! What is looked for in sessions, and what is found in what they said.
//!
//! An event has a **said** text: what a person would look for in it. It is redacted before it goes into
//! the index and again before it is shown, so that nobody finds out a secret by asking for its beginning,
//! letter by letter. Not here: the index itself, which is SQLite's FTS5, and its tokenizer: letters and
//! digits make a word, upper and lower case and accents are the same, everything else is between words.

mod place;
mod said;
mod snippet;
mod words;

use std::borrow::Cow;

pub use place::{Place, first_number, score};
pub use said::{Said, needs_body, said};
pub use snippet::{FOUND, Snippet, snippet};
pub use words::expression;

/// No letter, and without width: what stands between the letters of scripts that are written without
/// blanks, so that each is a word of its own and any part of a text can be found.
const GAP: char = '\u{200b}';

/// `text` as it is given to the tokenizer: without colours and what has a meaning of its own here, and with
/// the letters of Chinese, Japanese and Korean apart.
#[must_use]
pub fn plain(text: &str) -> Cow<'_, str> {
    let is_ours = |c: char| {
        matches!(c, '\0' | FOUND_FROM | FOUND_TO | GAP | ESCAPE)
            || PRIVATE.contains(&c)
            || is_apart(c)
    };
    if text.is_ascii() && !text.bytes().any(|byte| byte <= 2 || byte == 0x1b)
        || !text.contains(is_ours)
    {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c == ESCAPE && chars.next_if_eq(&'[').is_some() {
            // A word that is coloured is no other word.
            while chars.next_if(|c| matches!(c, ' '..='?')).is_some() {}
            chars.next_if(|c| matches!(c, '@'..='~'));
        } else if is_apart(c) {
            if !out.ends_with(GAP) {
                out.push(GAP);
            }
            out.push(c);
            out.push(GAP);
        } else {
            out.push(if is_ours(c) { ' ' } else { c });
        }
    }
    Cow::Owned(out)
}

const ESCAPE: char = '\u{1b}';
const FOUND_FROM: char = FOUND[0];
const FOUND_TO: char = FOUND[1];

/// Letters to the tokenizer that no text holds: words with them are the index's own.
const PRIVATE: std::ops::RangeInclusive<char> = '\u{e000}'..='\u{e00f}';

/// The word by which all rows of a session are found, whatever they say.
#[must_use]
pub fn session_word(number: i64) -> String {
    format!("{}{number}", PRIVATE.start())
}

/// Letters of scripts that put no blanks between words, as far as each of them means something.
const fn is_apart(c: char) -> bool {
    matches!(c,
        '\u{3040}'..='\u{30ff}' // Hiragana, Katakana
        | '\u{31f0}'..='\u{31ff}'
        | '\u{3400}'..='\u{4dbf}' // Han
        | '\u{4e00}'..='\u{9fff}'
        | '\u{ac00}'..='\u{d7a3}' // Hangul
        | '\u{f900}'..='\u{faff}'
        | '\u{ff66}'..='\u{ff9d}'
        | '\u{20000}'..='\u{323af}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_must_be_is_changed() {
        for (text, plain_text) in [
            ("cargo test\n--all", "cargo test\n--all"),
            ("žluťoučký kůň", "žluťoučký kůň"),
            ("a\u{1}b\u{2}c\0d", "a b c d"),
            ("x\u{e000}7", "x 7"),
            ("日本", "\u{200b}日\u{200b}本\u{200b}"),
            ("v2の", "v2\u{200b}の\u{200b}"),
            ("a\u{200b}b", "a b"),
            ("no \u{1b}[1;31mregis\u{1b}[0mtry\u{1b}[", "no registry"),
            ("\u{1b}]0;title", " ]0;title"),
        ] {
            assert_eq!(plain(text), plain_text, "{text:?}");
        }
        assert!(matches!(plain("plain text"), Cow::Borrowed(_)));
    }
}
