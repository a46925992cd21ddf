//! Reading JSON that may not be what it should be: in one pass, borrowing, and without ever failing
//! for a value of an unexpected type.
//!
//! [`object!`] declares the fields worth reading; everything else is skipped. A field of another type
//! becomes [`Field::Wrong`] and leaves its neighbours alone; of a repeated key the last one counts.
//! Skipped values are not recursed into, so no depth of nesting overflows the stack.
//! Not here: what any field means, and text that is not JSON at all ([`super::lines`]).

use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

/// Facts carry a line of text, so of a long string only this much is ever decoded.
const HEAD: usize = 4096;

/// A value that may be absent (or null), or not of its type.
#[derive(Debug, Default)]
pub(super) enum Field<T> {
    #[default]
    Absent,
    Is(T),
    Wrong,
}

/// A field that holds a string.
pub(super) type Str<'a> = Field<Cow<'a, str>>;

impl<T> Field<T> {
    pub(super) fn get(&self) -> Option<&T> {
        match self {
            Self::Is(value) => Some(value),
            Self::Absent | Self::Wrong => None,
        }
    }

    /// Moves the value out.
    pub(super) fn take(&mut self) -> Option<T> {
        match std::mem::take(self) {
            Self::Is(value) => Some(value),
            Self::Absent | Self::Wrong => None,
        }
    }

    pub(super) fn wrong(&self) -> bool {
        matches!(self, Self::Wrong)
    }
}

impl<'a> Str<'a> {
    /// The text; empty when there is none.
    pub(super) fn text(&self) -> &str {
        self.get().map_or("", |text| text)
    }

    /// Moves the text out, if there is any.
    pub(super) fn some(&mut self) -> Option<Cow<'a, str>> {
        self.take().filter(|text| !text.is_empty())
    }
}

impl Field<bool> {
    pub(super) fn is_true(&self) -> bool {
        matches!(self, Self::Is(true))
    }
}

impl Field<u64> {
    pub(super) fn count(&self) -> u64 {
        self.get().copied().unwrap_or(0)
    }
}

/// What a [`Field`] can hold: the JSON types it accepts.
pub(super) trait Shape<'de>: Sized {
    fn text(_: Cow<'de, str>) -> Option<Self> {
        None
    }

    fn flag(_: bool) -> Option<Self> {
        None
    }

    fn number(_: u64) -> Option<Self> {
        None
    }

    fn list<A: SeqAccess<'de>>(mut items: A) -> Result<Option<Self>, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn object<A: MapAccess<'de>>(mut entries: A) -> Result<Option<Self>, A::Error> {
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}

impl<'de: 'a, 'a> Shape<'de> for Cow<'a, str> {
    fn text(text: Cow<'de, str>) -> Option<Self> {
        Some(text)
    }
}

impl Shape<'_> for bool {
    fn flag(flag: bool) -> Option<Self> {
        Some(flag)
    }
}

impl Shape<'_> for u64 {
    fn number(number: u64) -> Option<Self> {
        Some(number)
    }
}

impl<'de, T: Shape<'de>> Shape<'de> for Vec<Field<T>> {
    fn list<A: SeqAccess<'de>>(mut items: A) -> Result<Option<Self>, A::Error> {
        let mut list = Self::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Some(list))
    }
}

struct FieldVisitor<T>(PhantomData<T>);

impl<'de, T: Shape<'de>> FieldVisitor<T> {
    fn field(value: Option<T>) -> Field<T> {
        value.map_or(Field::Wrong, Field::Is)
    }
}

impl<'de, T: Shape<'de>> Visitor<'de> for FieldVisitor<T> {
    type Value = Field<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Field<T>, E> {
        Ok(Self::field(T::text(Cow::Borrowed(text))))
    }

    fn visit_str<E>(self, text: &str) -> Result<Field<T>, E> {
        Ok(Self::field(T::text(Cow::Owned(text.to_owned()))))
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Field<T>, E> {
        Ok(Self::field(T::flag(flag)))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Field<T>, E> {
        Ok(Self::field(T::number(number)))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Field<T>, E> {
        Ok(Field::Wrong)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Field<T>, E> {
        Ok(Field::Wrong)
    }

    fn visit_unit<E>(self) -> Result<Field<T>, E> {
        Ok(Field::Absent)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Field<T>, A::Error> {
        T::list(items).map(Self::field)
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<Field<T>, A::Error> {
        T::object(entries).map(Self::field)
    }
}

impl<'de, T: Shape<'de>> Deserialize<'de> for Field<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FieldVisitor(PhantomData))
    }
}

/// An object's key.
pub(super) struct Key<'a>(pub(super) Cow<'a, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(key)))
            }

            fn visit_str<E>(self, key: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(key.to_owned())))
            }
        }
        deserializer.deserialize_str(KeyVisitor)
    }
}

/// Declares an object by the fields worth reading, and whether any of them was [`Field::Wrong`].
macro_rules! object {
    ($(#[$meta:meta])* $vis:vis struct $name:ident $(<$life:lifetime>)? {
        $($field:ident: $type:ty = $key:literal,)*
    }) => {
        $(#[$meta])*
        #[derive(Debug, Default)]
        $vis struct $name $(<$life>)? { $($field: $type,)* }

        impl<'de $(: $life, $life)?> $crate::harness::json::Shape<'de> for $name $(<$life>)? {
            fn object<A: serde::de::MapAccess<'de>>(mut entries: A) -> Result<Option<Self>, A::Error> {
                let mut object = Self::default();
                while let Some(key) = entries.next_key::<$crate::harness::json::Key<'de>>()? {
                    match &*key.0 {
                        $($key => object.$field = entries.next_value()?,)*
                        _ => { entries.next_value::<serde::de::IgnoredAny>()?; }
                    }
                }
                Ok(Some(object))
            }
        }

        impl $(<$life>)? $name $(<$life>)? {
            #[allow(dead_code, reason = "not every object's shape is worth a remark")]
            fn misshapen(&self) -> bool {
                $(self.$field.wrong())||*
            }
        }
    };
}
pub(super) use object;

/// A value of any type, kept as it is written.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Raw<'a>(Option<&'a RawValue>);

impl<'a> Raw<'a> {
    /// As written; empty when absent.
    pub(super) fn json(self) -> &'a str {
        self.0.map_or("", RawValue::get)
    }

    #[allow(clippy::unused_self, reason = "asked by `object!` of every field")]
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
pub(super) struct Head<'a>(Str<'a>);

object! {
    struct TextBlock<'a> {
        text: Head<'a> = "text",
    }
}

impl<'a> Head<'a> {
    fn of(json: &'a str) -> Self {
        Self(match json.as_bytes().first() {
            Some(b'"') => Field::Is(decode(json)),
            Some(b'[') => {
                let blocks: Field<Vec<Field<TextBlock<'a>>>> =
                    serde_json::from_str(json).unwrap_or_default();
                let mut blocks = match blocks {
                    Field::Is(blocks) => blocks,
                    Field::Absent | Field::Wrong => Vec::new(),
                };
                let text = blocks.iter_mut().find_map(|block| block.take()?.text.take());
                Field::Is(text.unwrap_or_default())
            }
            None | Some(b'n') => Field::Absent,
            Some(_) => Field::Wrong,
        })
    }

    pub(super) fn text(&self) -> &str {
        self.0.text()
    }

    pub(super) fn take(&mut self) -> Option<Cow<'a, str>> {
        self.0.take()
    }

    pub(super) fn wrong(&self) -> bool {
        self.0.wrong()
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
fn unescape(text: &str) -> String {
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

/// The first value in `bytes`, whatever follows it.
pub(super) fn first<'a, T: Shape<'a>>(bytes: &'a [u8]) -> Option<T> {
    let mut values = serde_json::Deserializer::from_slice(bytes).into_iter::<Field<T>>();
    values.next()?.ok()?.take()
}

#[cfg(test)]
mod tests {
    use super::*;

    object! {
        struct Sample<'a> {
            word: Str<'a> = "word",
            long: Head<'a> = "long",
            number: Field<u64> = "number",
        }
    }

    fn sample(json: &str) -> Sample<'_> {
        match serde_json::from_str(json).unwrap() {
            Field::Is(sample) => sample,
            Field::Absent | Field::Wrong => Sample::default(),
        }
    }

    #[test]
    fn a_wrong_field_leaves_its_neighbours_alone() {
        let it = sample(r#"{"word":{"x":[1]},"x":[[{}]],"number":7,"long":"l"}"#);
        assert!(it.word.wrong() && it.misshapen());
        assert_eq!((it.number.count(), it.long.text()), (7, "l"));
        assert!(!sample(r#"{"word":null}"#).misshapen());
        assert_eq!(sample(r#"{"word":"a","word":"b"}"#).word.text(), "b");
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
