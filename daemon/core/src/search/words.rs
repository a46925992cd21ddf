//! What a person typed, as a question to the index.
//!
//! Words are sought one and all; words in quotes one after the other; a star at the end of a word means
//! that it goes on. The index knows more (operators, columns, distances): of that nothing gets through,
//! so that no text is a mistake or does something else than being looked for.

use rrd_proto::MAX_TEXT;

use super::plain;

/// Words, at most: more of them make no hit better.
const MOST: usize = 24;

/// The question in FTS5's language; `None` where there is no word in it.
#[must_use]
pub fn expression(text: &str) -> Option<String> {
    let end = (0..=MAX_TEXT.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    let text = plain(&text[..end.unwrap_or(0)]);
    let mut rest = text.trim_start();
    let mut words = Vec::new();
    while !rest.is_empty() && words.len() < MOST {
        let (word, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => rest
                .split_at(rest.find(|c: char| c.is_whitespace() || c == '"').unwrap_or(rest.len())),
        };
        let is_quoted = rest.starts_with('"');
        let goes_on = if is_quoted { after.starts_with('*') } else { word.ends_with('*') };
        if word.contains(char::is_alphanumeric) {
            // No word holds a quote: it would have ended there.
            words.push(format!("\"{word}\"{}", if goes_on { "*" } else { "" }));
        }
        rest = after.trim_start_matches(|c: char| c.is_whitespace() || is_quoted && c == '*');
    }
    (!words.is_empty()).then(|| words.join(" "))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_but_words_phrases_and_stars_gets_through() {
        for (text, question) in [
            ("cargo test", Some(r#""cargo" "test""#)),
            (r#"  "cargo test"  fails "#, Some(r#""cargo test" "fails""#)),
            ("carg*", Some(r#""carg*"*"#)),
            (r#""cargo te"* x"#, Some(r#""cargo te"* "x""#)),
            ("a OR b NOT c", Some(r#""a" "OR" "b" "NOT" "c""#)),
            ("NEAR(a b, 5)", Some(r#""NEAR(a" "b," "5)""#)),
            ("kind:x -y ^z (", Some(r#""kind:x" "-y" "^z""#)),
            ("src/main.rs snake_case", Some(r#""src/main.rs" "snake_case""#)),
            ("'; DROP TABLE said; --", Some(r#""DROP" "TABLE" "said;""#)),
            (r#"say "unfinished"#, Some(r#""say" "unfinished""#)),
            (r#"a"b"c"#, Some(r#""a" "b" "c""#)),
            ("日本", Some("\"\u{200b}日\u{200b}本\u{200b}\"")),
            ("", None),
            ("* -- \"\" \"*\" …", None),
            ("\0\u{1}", None),
        ] {
            assert_eq!(expression(text).as_deref(), question, "{text}");
        }
    }

    proptest! {
        #[test]
        fn it_is_always_words_in_quotes(text in "[ab\"* \\PC]{0,60}") {
            if let Some(question) = expression(&text) {
                prop_assert_eq!(question.matches('"').count() % 2, 0);
                let outside = question.split('"').step_by(2).collect::<String>();
                prop_assert!(outside.chars().all(|c| c == ' ' || c == '*'), "{}", question);
            }
        }

        #[test]
        fn no_text_is_too_long(text in "\\PC{0,3000}") {
            prop_assert!(expression(&text).is_none_or(|question| question.len() < 8 * MAX_TEXT));
        }
    }
}
