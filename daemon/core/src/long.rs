//! A text that may be very long: its beginning at hand, the whole of it made only for whoever keeps it.
//!
//! Most of a transcript's bytes are results of tools. A row shows a line of them, so a parser decodes no
//! more; but what is to be replayed is all of it. So a fact carries the beginning and, as it is written in
//! the record, the rest. Not here: what is kept of it ([`crate::body`]).

use std::{borrow::Cow, fmt, ops::Deref};

use serde::Deserialize;
use serde_json::value::RawValue;

/// What stands between two pieces of one text.
const BETWEEN: &str = "\n\n";

/// A text of which the beginning is at hand; it is a `str` of that beginning.
#[derive(Clone, Default)]
pub struct Long<'a> {
    head: Cow<'a, str>,
    /// Empty where the head is all of it.
    pieces: Vec<Piece<'a>>,
}

/// A part of it.
#[derive(Debug, Clone)]
enum Piece<'a> {
    /// As it is.
    Text(Cow<'a, str>),
    /// A value in JSON: a string, a block or a list of blocks.
    Json(Cow<'a, str>),
}

impl<'a> Long<'a> {
    /// With this beginning, of what is written as `json`: a string, a block or a list of them.
    #[must_use]
    pub fn new(head: Cow<'a, str>, json: &'a str) -> Self {
        Self { head, pieces: vec![Piece::Json(Cow::Borrowed(json))] }
    }

    /// The input of a tool, without a beginning: an object stays JSON, a string is what it says.
    #[must_use]
    pub fn input(json: &'a str) -> Self {
        let json = json.trim();
        let pieces = match json.as_bytes().first() {
            None | Some(b'n') => Vec::new(),
            Some(b'"') => vec![Piece::Json(Cow::Borrowed(json))],
            Some(_) => vec![Piece::Text(Cow::Borrowed(json))],
        };
        Self { head: Cow::Borrowed(""), pieces }
    }

    /// The same with something after it: a block of the same message.
    pub fn and(&mut self, json: &'a str) {
        self.hold();
        self.pieces.push(Piece::Json(Cow::Borrowed(json)));
    }

    /// The same with an image after it, or something else that is no text, of this type; `json` is the
    /// string with its bytes in base64.
    pub fn and_media(&mut self, mime: &str, json: &str) {
        self.hold();
        let note =
            note(if mime.starts_with("image") { "image" } else { "data" }, mime, bytes(json));
        self.pieces.push(Piece::Text(Cow::Owned(note)));
    }

    /// The same with another beginning.
    #[must_use]
    pub fn beginning(mut self, head: Cow<'a, str>) -> Self {
        self.hold();
        Self { head, ..self }
    }

    /// Holds the beginning as a piece, too.
    fn hold(&mut self) {
        if self.pieces.is_empty() && !self.head.is_empty() {
            self.pieces.push(Piece::Text(self.head.clone()));
        }
    }

    /// The beginning alone.
    #[must_use]
    pub fn into_head(self) -> Cow<'a, str> {
        self.head
    }

    /// Bytes of it as it is written, which decoding does not exceed by much.
    #[must_use]
    pub fn written(&self) -> usize {
        let len = |piece: &Piece<'_>| match piece {
            Piece::Text(text) | Piece::Json(text) => text.len(),
        };
        if self.pieces.is_empty() { self.head.len() } else { self.pieces.iter().map(len).sum() }
    }

    /// All of it.
    #[must_use]
    pub fn whole(&self) -> Cow<'_, str> {
        match self.pieces.as_slice() {
            [] => Cow::Borrowed(&self.head),
            [Piece::Text(text)] => Cow::Borrowed(text),
            pieces => {
                let mut out = String::with_capacity(self.written());
                for piece in pieces {
                    if !out.is_empty() {
                        out.push_str(BETWEEN);
                    }
                    match piece {
                        Piece::Text(text) => out.push_str(text),
                        Piece::Json(json) => say(json, &mut out),
                    }
                }
                Cow::Owned(out)
            }
        }
    }

    /// The same, borrowing nothing.
    #[must_use]
    pub fn into_owned(self) -> Long<'static> {
        let owned = |text: Cow<'a, str>| Cow::Owned(text.into_owned());
        let pieces = self.pieces.into_iter().map(|piece| match piece {
            Piece::Text(text) => Piece::Text(owned(text)),
            Piece::Json(json) => Piece::Json(owned(json)),
        });
        Long { head: owned(self.head), pieces: pieces.collect() }
    }
}

impl fmt::Debug for Long<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.head, f)
    }
}

impl fmt::Display for Long<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.head)
    }
}

impl Deref for Long<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.head
    }
}

impl<'a> From<Cow<'a, str>> for Long<'a> {
    fn from(text: Cow<'a, str>) -> Self {
        Self { head: text, pieces: Vec::new() }
    }
}

impl<'a> From<&'a str> for Long<'a> {
    fn from(text: &'a str) -> Self {
        Cow::Borrowed(text).into()
    }
}

impl From<String> for Long<'_> {
    fn from(text: String) -> Self {
        Cow::<str>::Owned(text).into()
    }
}

/// Two are the same that say the same, however they are written.
impl PartialEq for Long<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.whole() == other.whole()
    }
}

impl Eq for Long<'_> {}

/// A block of a message: what harnesses call its parts.
#[derive(Deserialize)]
struct Block<'a> {
    #[serde(default, rename = "type")]
    kind: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    text: Option<&'a RawValue>,
    #[serde(default, borrow)]
    content: Option<&'a RawValue>,
    #[serde(default, borrow)]
    output: Option<&'a RawValue>,
    /// Claude Code's images and documents.
    #[serde(default, borrow)]
    source: Option<&'a RawValue>,
    /// pi's images.
    #[serde(default, borrow)]
    data: Option<&'a RawValue>,
    #[serde(default, rename = "mimeType", alias = "media_type")]
    mime: Option<Cow<'a, str>>,
    /// Codex's images: a `data:` URL.
    #[serde(default, borrow)]
    image_url: Option<&'a RawValue>,
}

/// What it says, as text: of images their type and size.
fn say(json: &str, out: &mut String) {
    let json = json.trim();
    match json.as_bytes().first() {
        Some(b'"') => unescape(json, out),
        Some(b'[') => {
            let Ok(blocks) = serde_json::from_str::<Vec<&RawValue>>(json) else {
                return out.push_str(json);
            };
            let mut first = true;
            for block in blocks {
                if !std::mem::take(&mut first) {
                    out.push_str(BETWEEN);
                }
                say(block.get(), out);
            }
        }
        Some(b'{') => block(json, out),
        Some(b'n') | None => {}
        Some(_) => out.push_str(json),
    }
}

fn block(json: &str, out: &mut String) {
    let Ok(block) = serde_json::from_str::<Block<'_>>(json) else { return out.push_str(json) };
    let kind = block.kind.as_deref().unwrap_or_default();
    let texts = [block.text, block.content, block.output].into_iter().flatten();
    if let Some((mime, size)) = media(&block) {
        let kind = if kind.contains("image") || mime.starts_with("image") { "image" } else { kind };
        out.push_str(&note(if kind.is_empty() { "data" } else { kind }, &mime, size));
    } else if let Some(text) = texts.into_iter().find(|text| text.get().starts_with(['"', '['])) {
        say(text.get(), out);
    } else {
        out.push_str(json);
    }
}

/// What stands for something that is no text.
fn note(kind: &str, mime: &str, size: usize) -> String {
    let mime = if mime.is_empty() { String::new() } else { format!("{mime}, ") };
    format!("[{kind}: {mime}{size} bytes]")
}

/// Bytes that a string of base64 stands for: three for four letters within quotes.
fn bytes(json: &str) -> usize {
    let letters = json.trim_matches('"').trim_end_matches('=');
    letters.len() * 3 / 4
}

/// The type of what a block holds that is no text, and how many bytes it is.
fn media(block: &Block<'_>) -> Option<(String, usize)> {
    #[derive(Deserialize)]
    struct Source<'a> {
        #[serde(default, alias = "mediaType")]
        media_type: Option<Cow<'a, str>>,
        #[serde(default, borrow)]
        data: Option<&'a RawValue>,
    }
    if let Some(source) = block.source
        && let Ok(Source { media_type, data: Some(data) }) = serde_json::from_str(source.get())
    {
        return Some((media_type.unwrap_or_default().into_owned(), bytes(data.get())));
    }
    if let (Some(data), Some(mime)) = (block.data, &block.mime) {
        return Some((mime.clone().into_owned(), bytes(data.get())));
    }
    let url = block.image_url?.get();
    let (head, data) = url.strip_prefix("\"data:")?.split_once(',')?;
    let mime = head.split(';').next().unwrap_or_default();
    Some((mime.to_owned(), bytes(data)))
}

/// The JSON string `json` as text; what is no character in it becomes U+FFFD.
fn unescape(json: &str, out: &mut String) {
    let inner = json.get(1..json.len().saturating_sub(1)).unwrap_or_default();
    if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
        out.push_str(inner);
    } else if let Ok(text) = serde_json::from_str::<String>(json) {
        out.push_str(&text);
    } else {
        out.push_str(&crate::harness::unescape(inner));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(json: &str) -> String {
        Long::new(Cow::Borrowed(""), json).whole().into_owned()
    }

    #[test]
    fn all_of_it_is_told_however_it_is_written() {
        for (json, text) in [
            (r#""a\nb \ud83d\ude00 \ud83dx""#, "a\nb 😀 \u{fffd}x"),
            (r#"[{"type":"text","text":"a"},{"type":"text","text":"b"}]"#, "a\n\nb"),
            (r#"{"content":"done","success":true}"#, "done"),
            (r#"{"output":[{"text":"x"}]}"#, "x"),
            (r#"{"exit":1}"#, r#"{"exit":1}"#),
            (
                r#"[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AAAAAAA="}}]"#,
                "[image: image/png, 5 bytes]",
            ),
            (
                r#"{"type":"image","data":"AAAA","mimeType":"image/webp"}"#,
                "[image: image/webp, 3 bytes]",
            ),
            (
                r#"{"type":"input_image","image_url":"data:image/jpeg;base64,AAAAAAAA"}"#,
                "[image: image/jpeg, 6 bytes]",
            ),
            (
                r#"{"type":"tool_reference","tool_name":"x"}"#,
                r#"{"type":"tool_reference","tool_name":"x"}"#,
            ),
            ("null", ""),
            ("12", "12"),
            ("[1,{}]", "1\n\n{}"),
        ] {
            assert_eq!(whole(json), text, "{json}");
        }
    }

    #[test]
    fn input_stays_json_unless_it_is_a_text() {
        let input = |json| Long::input(json).whole().into_owned();
        assert_eq!(input(r#"{"command":"ls \n"}"#), r#"{"command":"ls \n"}"#);
        assert_eq!(input(r#""{\"command\":\"ls\"}""#), r#"{"command":"ls"}"#);
        assert_eq!(input(r#"[1,2]"#), "[1,2]");
        assert_eq!(input("null"), "");
        assert_eq!(input(""), "");
    }

    #[test]
    fn what_follows_is_added_and_another_beginning_loses_nothing() {
        let mut text = Long::from("a");
        text.and("\"b\\n\"");
        text.and_media("image/png", "\"AAAA\"");
        assert_eq!((&*text, &*text.whole()), ("a", "a\n\nb\n\n\n[image: image/png, 3 bytes]"));
        let other = Long::from("Exit code: 1\nOutput:\nno").beginning(Cow::Borrowed("no"));
        assert_eq!((&*other, &*other.whole()), ("no", "Exit code: 1\nOutput:\nno"));
        assert_eq!(other.clone().into_owned(), other);
    }
}
