//! JSON as every surface writes it: the same bytes from the command line and over HTTP.
//!
//! Not here: what is in a document.

use serde::Serialize;

/// One JSON document, indented, ending with a newline. What a terminal would act on is escaped in it.
///
/// # Errors
/// When a value cannot be JSON, a map with keys that are no texts, say.
pub fn document<T: Serialize + ?Sized>(value: &T) -> Result<String, serde_json::Error> {
    serde_json::to_string_pretty(value).map(finished)
}

/// The same on one line.
///
/// # Errors
/// As [`document`]'s.
pub fn line<T: Serialize + ?Sized>(value: &T) -> Result<String, serde_json::Error> {
    serde_json::to_string(value).map(finished)
}

/// Characters that steer a terminal, reorder text or are there without being seen.
#[must_use]
#[inline]
pub fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180b}'..='\u{180f}'
            | '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' | '\u{17b4}' | '\u{17b5}' // fillers
            | '\u{200b}'..='\u{200f}'            // zero width, joiners, marks of direction
            | '\u{2028}'..='\u{202e}'            // separators, embeddings, overrides
            | '\u{2060}'..='\u{206f}'            // word joiner, isolates, shaping
            | '\u{fe00}'..='\u{fe0f}'            // variation selectors: they change a width
            | '\u{feff}' | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' // of shorthand and music
            | '\u{e0000}'..='\u{e0fff}') // tags and more selectors, all invisible
}

fn finished(document: String) -> String {
    let mut document = escape_unsafe(document);
    document.push('\n');
    document
}

/// JSON need not escape DEL, C1 controls and bidirectional marks; a terminal acts on them. They can
/// only stand inside strings, so escaping them changes no value.
fn escape_unsafe(document: String) -> String {
    let is_plain = |text: &str| text.is_ascii() && !text.contains('\u{7f}');
    if is_plain(&document) {
        return document;
    }
    let mut escaped = String::with_capacity(document.len() + document.len() / 16);
    // Most lines of a document are plain even when it is not.
    for line in document.split_inclusive('\n') {
        if is_plain(line) {
            escaped.push_str(line);
            continue;
        }
        for c in line.chars() {
            if c != '\n' && is_unsafe(c) {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    escaped.push_str(&format!("\\u{unit:04x}"));
                }
            } else {
                escaped.push(c);
            }
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_is_escaped_and_equal() {
        let hostile = "a\u{1b}[2J\u{9b}31m\u{7f}\u{202e}\u{200b}\u{e0041}é日\n";
        let document = document(&[hostile]).unwrap();
        assert!(!document.chars().any(|c| c != '\n' && is_unsafe(c)), "{document}");
        assert_eq!(serde_json::from_str::<Vec<String>>(&document).unwrap(), [hostile]);
        assert!(document.contains("é日") && document.ends_with("]\n"));
    }
}
