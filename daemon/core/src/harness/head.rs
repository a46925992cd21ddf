//! Values that are long or of any type: kept as written, and decoded only at their beginning.
//!
//! Most of a log's bytes are in results of tools, of which a line is shown. Not here: short fields
//! ([`super::json`]).

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::json::{Field, object};
use crate::long::Long;

/// Facts carry a line of text, so of a long string only this much is ever decoded.
const HEAD: usize = 4096;

/// A value of any type, kept as it is written.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Raw<'a>(Option<&'a RawValue>);

impl<'a> Raw<'a> {
    /// As written; empty when absent.
    pub(super) fn json(self) -> &'a str {
        self.0.map_or("", RawValue::get)
    }

    /// Nothing is: [`object!`] asks every field.
    pub(super) fn wrong(self) -> bool {
        false
    }

    /// The beginning of the text: of a string, or of the first text in a list of blocks.
    pub(super) fn head(self) -> Head<'a> {
        Head::of(self.json())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Raw<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&'de RawValue>::deserialize(deserializer).map(|raw| Self(Some(raw)))
    }
}

/// The beginning of a text that may be very long: only that much is decoded, and nothing is copied
/// unless it holds escapes.
#[derive(Debug, Default)]
pub(super) struct Head<'a> {
    text: Field<Long<'a>>,
    json: &'a str,
}

object! {
    struct TextBlock<'a> {
        text: Head<'a> = "text",
    }
}

impl<'a> Head<'a> {
    fn of(json: &'a str) -> Self {
        let text = match json.as_bytes().first() {
            Some(b'"') => {
                let head = decode(json);
                Field::Is(match json.len() > HEAD {
                    true => Long::new(head, json),
                    false => head.into(),
                })
            }
            Some(b'[') => {
                let blocks: Field<Vec<Field<TextBlock<'a>>>> =
                    serde_json::from_str(json).unwrap_or_default();
                let mut blocks = match blocks {
                    Field::Is(blocks) => blocks,
                    Field::Absent | Field::Wrong => Vec::new(),
                };
                let text = blocks.iter_mut().find_map(|block| block.take()?.text.take());
                Field::Is(Long::new(text.unwrap_or_default().into_head(), json))
            }
            None | Some(b'n') => Field::Absent,
            Some(_) => Field::Wrong,
        };
        Self { text, json }
    }

    /// As written; empty when absent.
    pub(super) fn json(&self) -> &'a str {
        self.json
    }

    pub(super) fn text(&self) -> &str {
        self.text.get().map_or("", |text| text)
    }

    pub(super) fn take(&mut self) -> Option<Long<'a>> {
        self.text.take()
    }

    pub(super) fn wrong(&self) -> bool {
        self.text.wrong()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Head<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Raw::deserialize(deserializer).map(Raw::head)
    }
}

/// The head of the JSON string `json`, quotes included.
fn decode(json: &str) -> Cow<'_, str> {
    let text = json.get(1..json.len().saturating_sub(1)).unwrap_or_default();
    let mut end = text.len().min(HEAD);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let head = &text[..end];
    match memchr::memchr(b'\\', head.as_bytes()) {
        None => Cow::Borrowed(head),
        Some(_) => Cow::Owned(unescape(head)),
    }
}

/// Undoes JSON's escapes; stops before one that is cut, and shows what no character is as U+FFFD.
pub(crate) fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
        out.push_str(&rest[..at]);
        let Some(letter) = rest[at + 1..].chars().next() else { return out };
        let mut used = at + 1 + letter.len_utf8();
        out.push(match letter {
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'u' => {
                let Some(high) = hex4(&rest[used..]) else { return out };
                used += 4;
                let pair = (0xd800..0xdc00).contains(&high).then(|| {
                    let low = hex4(rest[used..].strip_prefix("\\u")?)?;
                    let low = low.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
                    char::from_u32(0x1_0000 + ((high - 0xd800) << 10) + low)
                });
                match pair.flatten() {
                    Some(character) => {
                        used += 6;
                        character
                    }
                    None => char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER),
                }
            }
            other => other,
        });
        rest = &rest[used..];
    }
    out.push_str(rest);
    out
}

/// The number in the four hexadecimal digits that `text` begins with.
pub(super) fn hex4(text: &str) -> Option<u32> {
    let digits = text.get(..4).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
    u32::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    object! {
        struct Sample<'a> {
            long: Head<'a> = "long",
        }
    }

    fn sample(json: &str) -> Sample<'_> {
        match serde_json::from_str(json).unwrap() {
            Field::Is(sample) => sample,
            Field::Absent | Field::Wrong => Sample::default(),
        }
    }

    #[test]
    fn heads_are_cut_and_decoded() {
        assert_eq!(
            sample(r#"{"long":"a\nb\u00e9\ud83d\ude00\ud83dx\""}"#).long.text(),
            "a\nbé😀\u{fffd}x\""
        );
        assert_eq!(sample(r#"{"long":[{"type":"image"},{"text":"t"}]}"#).long.text(), "t");
        let long = format!(r#"{{"long":"{}"}}"#, "é\\n".repeat(HEAD));
        assert!(sample(&long).long.text().len() < HEAD);
    }
}
