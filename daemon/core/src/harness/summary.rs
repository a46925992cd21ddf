//! One line that says what a tool call does: its command, its file, its question.
//!
//! Harnesses name the same things alike, so one list of keys serves them all, and hooks too; of a tool that uses none
//! of them, the first text is taken. Not here: which tool it is.

use std::borrow::Cow;

use rrd_proto::hook::HOOK_ARGUMENTS;
use serde::de::{IgnoredAny, MapAccess, SeqAccess};

use super::json::{Field, Key, Shape, Str};
use crate::line::plain;

/// Longer summaries are cut; a terminal shows less.
const LIMIT: usize = 240;

/// A tool's input, of which only the most telling argument is kept.
#[derive(Debug, Default)]
pub(super) struct Input<'a> {
    rank: Option<usize>,
    text: Cow<'a, str>,
}

impl Input<'_> {
    /// The line.
    pub(super) fn summary(&self) -> String {
        line(&self.text)
    }
}

impl<'de: 'a, 'a> Shape<'de> for Input<'a> {
    fn text(text: Cow<'de, str>) -> Option<Self> {
        Some(Self { rank: None, text })
    }

    fn object<A: MapAccess<'de>>(mut entries: A) -> Result<Option<Self>, A::Error> {
        let mut best = Self::default();
        while let Some(key) = entries.next_key::<Key<'de>>()? {
            let rank = HOOK_ARGUMENTS
                .iter()
                .position(|known| *known == key.0)
                .unwrap_or(HOOK_ARGUMENTS.len());
            if best.rank.is_none_or(|known| rank < known)
                && let Field::Is(Argument(text)) = entries.next_value()?
            {
                if !text.is_empty() {
                    best = Self { rank: Some(rank), text };
                }
            } else if best.rank.is_some_and(|known| rank >= known) {
                entries.next_value::<IgnoredAny>()?;
            }
        }
        Ok(Some(best))
    }
}

/// An argument as text: lists of words become a command line.
struct Argument<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Shape<'de> for Argument<'a> {
    fn text(text: Cow<'de, str>) -> Option<Self> {
        Some(Self(text))
    }

    fn list<A: SeqAccess<'de>>(mut items: A) -> Result<Option<Self>, A::Error> {
        let mut words: Vec<Cow<'a, str>> = Vec::new();
        let mut length = 0;
        while length <= LIMIT {
            match items.next_element::<Field<Word<'a>>>()? {
                Some(Field::Is(Word(word))) => {
                    length += word.len() + 1;
                    words.push(word);
                }
                Some(Field::Absent | Field::Wrong) => {}
                None => break,
            }
        }
        while items.next_element::<IgnoredAny>()?.is_some() {}
        // `bash -lc "…"`: the shell says nothing.
        if let [shell, flag, command] = words.as_slice()
            && shell.ends_with("sh")
            && matches!(&**flag, "-c" | "-lc")
        {
            return Ok(Some(Self(command.clone())));
        }
        Ok(Some(Self(Cow::Owned(words.join(" ")))))
    }
}

/// A word of a command line, or a question in a list of them.
struct Word<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Shape<'de> for Word<'a> {
    fn text(text: Cow<'de, str>) -> Option<Self> {
        Some(Self(text))
    }

    fn object<A: MapAccess<'de>>(mut entries: A) -> Result<Option<Self>, A::Error> {
        let mut question = None;
        while let Some(key) = entries.next_key::<Key<'de>>()? {
            if key.0 == "question" {
                question = entries.next_value::<Str<'a>>()?.take();
            } else {
                entries.next_value::<IgnoredAny>()?;
            }
        }
        Ok(question.map(Self))
    }
}

/// The summary of the input `json`.
pub(super) fn of_json(json: &str) -> String {
    match serde_json::from_str::<Field<Input<'_>>>(json) {
        Ok(Field::Is(input)) => input.summary(),
        _ => String::new(),
    }
}

/// What the summary of the input is made of, with its line breaks; `None` where that is no part of it.
pub(crate) fn argument(input: &str) -> Option<Cow<'_, str>> {
    match serde_json::from_str::<Field<Input<'_>>>(input) {
        Ok(Field::Is(input)) => Some(input.text),
        _ => files(input).is_empty().then_some(Cow::Borrowed(input)),
    }
}

/// The summary of input that is plain text: a patch is known by the files it touches.
pub(super) fn of_text(text: &str) -> String {
    let files = files(text);
    if files.is_empty() { line(text) } else { line(&files.join(", ")) }
}

/// The first files that a patch touches.
fn files(text: &str) -> Vec<String> {
    let file = |line: &str| {
        let operation = line.strip_prefix("*** ")?;
        let at = operation.find(" File: ")?;
        Some(operation[at + " File: ".len()..].trim().to_owned())
    };
    text.lines().filter_map(file).take(4).collect()
}

/// `text` as one line of bounded length: runs of white space become a space, controls go.
pub(super) fn line(text: &str) -> String {
    let mut out = String::new();
    let words = text.split_whitespace().map(plain);
    for word in words.filter(|word| !word.is_empty()) {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(&word[..word.floor_char_boundary_at(LIMIT)]);
        if out.len() > LIMIT {
            out.truncate(out.as_str().floor_char_boundary_at(LIMIT));
            out.push('…');
            break;
        }
    }
    out
}

trait FloorCharBoundary {
    fn floor_char_boundary_at(&self, at: usize) -> usize;
}

impl FloorCharBoundary for str {
    /// `str::floor_char_boundary` is younger than the oldest compiler this is built with.
    fn floor_char_boundary_at(&self, at: usize) -> usize {
        let mut at = at.min(self.len());
        while !self.is_char_boundary(at) {
            at -= 1;
        }
        at
    }
}

/// Whether an error's text tells of a rate or usage limit.
pub(super) fn tells_of_a_limit(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    [
        "rate limit",
        "rate_limit",
        "usage limit",
        "usage_limit",
        "limit reached",
        "hit your limit",
        "hit your session limit",
        "too many requests",
    ]
    .iter()
    .any(|phrase| text.contains(phrase))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(json: &str) -> String {
        match serde_json::from_str::<Field<Input<'_>>>(json).unwrap() {
            Field::Is(input) => input.summary(),
            Field::Absent | Field::Wrong => "?".to_owned(),
        }
    }

    #[test]
    fn the_most_telling_argument_is_taken() {
        for (json, line) in [
            (r#"{"description":"Count","command":"ls |\n\twc -l"}"#, "ls | wc -l"),
            (r#"{"content":"…","file_path":"/a b"}"#, "/a b"),
            (r#"{"cmd":["bash","-lc","cargo test"]}"#, "cargo test"),
            (r#"{"command":["git","status"]}"#, "git status"),
            (r#"{"questions":[{"header":"h","question":"Which one?"}]}"#, "Which one?"),
            (r#"{"limit":3,"odd":{"x":1},"other":"first text","more":"second"}"#, "first text"),
            (r#"{"command":null,"path":"/x","todos":[1]}"#, "/x"),
            (r#"{"command":5}"#, ""),
            ("{}", ""),
            ("[]", "?"),
        ] {
            assert_eq!(summary(json), line, "{json}");
        }
    }

    #[test]
    fn patches_are_known_by_their_files() {
        assert_eq!(
            of_text("*** Begin Patch\n*** Update File: a.rs\n+x\n*** Add File: b.rs\n"),
            "a.rs, b.rs"
        );
        assert_eq!(of_text("echo hi\n"), "echo hi");
    }

    #[test]
    fn lines_are_bounded() {
        assert!(line(&"é".repeat(10_000)).chars().count() <= LIMIT + 1);
        assert!(line(&"a b ".repeat(10_000)).len() < LIMIT + 8);
        assert_eq!(line(" \n\u{1b} "), "");
        // In one piece, as it is looked for where it is to be redacted.
        assert_eq!(line("x g\u{7f}h\u{1b}[01;31m\u{1b}[Kp_\u{1}1\ty"), "x ghp_1 y");
    }
}
