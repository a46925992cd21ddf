//! Keeps of a hook's JSON what [`rrd_proto::hook`] names, and cuts it short.
//!
//! Generous with what it is given: a value of another type than expected is left out, and what is cut
//! off in the middle, or followed by something else, is read as far as it goes. Values that are not
//! kept are skipped, not built. Not here: what the fields mean.

use std::{borrow::Cow, fmt};

use rrd_proto::hook::{
    HOOK_ARGUMENTS, HOOK_ERROR, HOOK_EXTRA, HOOK_EXTRAS, HOOK_INPUT, HOOK_PATH, HOOK_TASKS,
    HOOK_TEXT, HOOK_TEXTS, MAX_HOOK_PAYLOAD,
};
use serde::{
    Deserialize,
    de::{Deserializer, IgnoredAny, MapAccess, Visitor},
};
use serde_json::{Map, Value, json, value::RawValue};

/// Tasks and questions kept of a list.
const ITEMS: usize = 32;

/// The kept fields of `input` as JSON; `None` when there is nothing that says what it is about.
pub(super) fn reduce(input: &[u8]) -> Option<String> {
    // Valid UTF-8 but for bytes a harness copied from elsewhere.
    let text = String::from_utf8_lossy(input);
    let mut kept = Map::new();
    // An error is the end of what can be read, nothing more.
    let _ = serde_json::Deserializer::from_str(&text).deserialize_map(Fields(&mut kept));
    if !kept.contains_key(HOOK_TEXTS[0]) {
        return None;
    }
    let all = Value::Object(kept.clone()).to_string();
    if all.len() <= MAX_HOOK_PAYLOAD {
        return Some(all);
    }
    // Control characters take six bytes each; what they stand in is not worth more.
    kept.remove(HOOK_INPUT);
    kept.remove(HOOK_EXTRA);
    Some(Value::Object(kept).to_string()).filter(|rest| rest.len() <= MAX_HOOK_PAYLOAD)
}

struct Fields<'a>(&'a mut Map<String, Value>);

impl<'de> Visitor<'de> for Fields<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        while let Some(key) = fields.next_key::<Cow<'de, str>>()? {
            let keep: fn(&str, &RawValue) -> Option<Value> = match &*key {
                key if HOOK_TEXTS.contains(&key) => text,
                HOOK_ERROR => word,
                HOOK_INPUT => arguments,
                HOOK_TASKS => tasks,
                HOOK_EXTRA => extras,
                _ => {
                    fields.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            let value = fields.next_value::<&RawValue>()?;
            if let Some(value) = keep(&key, value) {
                self.0.insert(key.into_owned(), value);
            }
        }
        Ok(())
    }
}

fn text(key: &str, value: &RawValue) -> Option<Value> {
    let most = if matches!(key, "cwd" | "transcript_path") { HOOK_PATH } else { HOOK_TEXT };
    let text: String = serde_json::from_str(value.get()).ok()?;
    Some(Value::String(cut(text, most)))
}

/// A word, not a sentence: sentences quote what a tool printed.
fn word(_: &str, value: &RawValue) -> Option<Value> {
    let text: String = serde_json::from_str(value.get()).ok()?;
    let plain = |c: char| c.is_ascii_lowercase() || c == '_';
    (text.len() <= 64 && text.chars().all(plain)).then_some(Value::String(text))
}

fn arguments(_: &str, value: &RawValue) -> Option<Value> {
    let mut best: Option<(usize, String, Value)> = None;
    match serde_json::from_str(value.get()).ok()? {
        Input::Text(text) => return Some(Value::String(cut(text, HOOK_TEXT))),
        Input::Fields(fields) => {
            for (key, value) in fields {
                let rank = HOOK_ARGUMENTS.iter().position(|known| *known == key);
                let rank = rank.unwrap_or(HOOK_ARGUMENTS.len());
                if best.as_ref().is_none_or(|(known, ..)| rank < *known)
                    && let Some(value) = argument(value)
                {
                    best = Some((rank, cut(key, HOOK_TEXT), value));
                }
            }
        }
        Input::Other => return None,
    }
    Some(Value::Object(best.map(|(_, key, value)| (key, value)).into_iter().collect()))
}

/// A text, or a list of words; nothing that is empty.
fn argument(value: &RawValue) -> Option<Value> {
    if let Ok(text) = serde_json::from_str::<String>(value.get()) {
        return Some(Value::String(cut(text, HOOK_TEXT))).filter(|text| text != "");
    }
    let items: Vec<Value> = serde_json::from_str(value.get()).ok()?;
    let words: Vec<Value> = items.into_iter().take(ITEMS).filter_map(item).collect();
    (!words.is_empty()).then_some(Value::Array(words))
}

/// A tool's input: its fields in their order, none of them built yet.
enum Input<'a> {
    Text(String),
    Fields(Vec<(String, &'a RawValue)>),
    Other,
}

impl<'de> Deserialize<'de> for Input<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InputVisitor;
        impl<'de> Visitor<'de> for InputVisitor {
            type Value = Input<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a tool's input")
            }

            fn visit_str<E>(self, text: &str) -> Result<Input<'de>, E> {
                Ok(Input::Text(text.to_owned()))
            }

            fn visit_unit<E>(self) -> Result<Input<'de>, E> {
                Ok(Input::Other)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Input<'de>, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Input::Fields(fields))
            }
        }
        deserializer.deserialize_any(InputVisitor)
    }
}

/// A word of a command line, or a question.
fn item(item: Value) -> Option<Value> {
    match item {
        Value::String(text) => Some(Value::String(cut(text, HOOK_TEXT))),
        Value::Object(mut object) => match object.remove("question")? {
            Value::String(text) => Some(json!({"question": cut(text, HOOK_TEXT)})),
            _ => None,
        },
        _ => None,
    }
}

fn tasks(_: &str, value: &RawValue) -> Option<Value> {
    let tasks: Vec<Value> = serde_json::from_str(value.get()).ok()?;
    let kept = tasks.iter().take(ITEMS).map(|task| fields(task, &["type", "status"]));
    Some(Value::Array(kept.collect()))
}

fn extras(_: &str, value: &RawValue) -> Option<Value> {
    let extra: Value = serde_json::from_str(value.get()).ok()?;
    Some(fields(&extra, &HOOK_EXTRAS))
}

/// The texts and the truths of an object under these keys.
fn fields(object: &Value, keys: &[&str]) -> Value {
    let kept = keys.iter().filter_map(|key| {
        let value = match object.get(key)? {
            Value::String(text) => cut(text.clone(), HOOK_TEXT).into(),
            Value::Bool(yes) => (*yes).into(),
            _ => return None,
        };
        Some(((*key).to_owned(), value))
    });
    Value::Object(kept.collect())
}

fn cut(mut text: String, most: usize) -> String {
    if let Some((end, _)) = text.char_indices().nth(most) {
        text.truncate(end);
    }
    text
}

#[cfg(test)]
mod tests;
