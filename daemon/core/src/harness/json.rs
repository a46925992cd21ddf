//! Reading JSON that may not be what it should be: in one pass, borrowing, and without ever failing
//! for a value of an unexpected type.
//!
//! [`object!`] declares the fields worth reading; everything else is skipped. A field of another type
//! becomes [`Field::Wrong`] and leaves its neighbours alone; of a repeated key the last one counts.
//! Skipped values are not recursed into, so no depth of nesting overflows the stack.
//! Not here: long texts ([`super::head`]), and text that is not JSON at all ([`super::lines`]).

use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};

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

/// A word, or a number as one.
#[derive(Debug)]
pub(super) struct Word(pub(super) String);

impl<'de> Shape<'de> for Word {
    fn text(text: Cow<'de, str>) -> Option<Self> {
        Some(Self(text.into_owned()))
    }

    fn number(number: u64) -> Option<Self> {
        Some(Self(number.to_string()))
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

impl<'de, T: Shape<'de>> Shape<'de> for Box<T> {
    fn object<A: MapAccess<'de>>(entries: A) -> Result<Option<Self>, A::Error> {
        Ok(T::object(entries)?.map(Self::new))
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
        $vis struct $name $(<$life>)? { $($vis $field: $type,)* }

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
            pub(super) fn misshapen(&self) -> bool {
                $(self.$field.wrong())||*
            }
        }
    };
}
pub(super) use object;

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
        let it = sample(r#"{"word":{"x":[1]},"x":[[{}]],"number":7}"#);
        assert!(it.word.wrong() && it.misshapen());
        assert_eq!(it.number.count(), 7);
        assert!(!sample(r#"{"word":null}"#).misshapen());
        assert_eq!(sample(r#"{"word":"a","word":"b"}"#).word.text(), "b");
    }
}
