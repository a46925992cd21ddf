//! Walks the strings of one JSON text without building it: where each lies, under which key.
//!
//! Strings are looked at where they are and nothing is written anew, so numbers, duplicate keys, blanks
//! and odd escapes stay as they came. There is no recursion: depth costs a bit a level, and a few bytes
//! for each of the first [`REMEMBERED`]. Not here: what is secret ([`super::text`]).

use super::names::Class;

/// Levels whose keys are known; a string deeper than this is looked at without its key.
pub(super) const REMEMBERED: usize = 1 << 17;

/// One object or array that is open.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Level {
    pub(super) object: bool,
    /// The last key, without its quotes.
    pub(super) key: (u32, u32),
    /// How many values are complete.
    pub(super) index: u32,
    /// Nothing below is the harness's own: no key protects.
    pub(super) foreign: bool,
    /// What the key says, or the flag before in a list of arguments.
    pub(super) says: Class,
    pub(super) role: Role,
    /// What `"name": …` says about `"value": …` beside it.
    pub(super) named: Class,
    /// That value, if it came first.
    pub(super) value: (u32, u32),
}

/// What a key says about the string below it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Role {
    #[default]
    None,
    /// It names the value beside it.
    Name,
    Value,
    /// It may be a user and a password.
    Auth,
}

impl Role {
    pub(super) fn of(key: &[u8]) -> Self {
        match key {
            b"name" | b"key" | b"Name" | b"Key" | b"variable" | b"k" | b"header" => Self::Name,
            b"value" | b"Value" | b"v" | b"val" | b"default" | b"stringValue" | b"content" => {
                Self::Value
            }
            b"auth" | b"_auth" => Self::Auth,
            _ => Self::None,
        }
    }
}

/// A string, without its quotes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) is_key: bool,
}

/// The text is not one JSON value.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Invalid;

/// Open objects and arrays: a bit each, and more about the first.
struct Stack {
    bits: Vec<u64>,
    depth: usize,
    levels: Vec<Level>,
}

impl Stack {
    fn push(&mut self, level: Level) {
        if self.depth.is_multiple_of(64) {
            self.bits.truncate(self.depth / 64);
            self.bits.push(0);
        }
        let bit = 1 << (self.depth % 64);
        let word = &mut self.bits[self.depth / 64];
        *word = if level.object { *word | bit } else { *word & !bit };
        self.depth += 1;
        if self.levels.len() + 1 == self.depth && self.depth <= REMEMBERED {
            self.levels.push(level);
        }
    }

    fn pop(&mut self) {
        if self.levels.len() == self.depth {
            self.levels.pop();
        }
        self.depth -= 1;
    }

    fn in_object(&self) -> Option<bool> {
        let top = self.depth.checked_sub(1)?;
        Some((self.bits[top / 64] >> (top % 64)) & 1 == 1)
    }
}

/// Calls `string` with every string, in order, and the levels above it; `levels` may be changed by it.
pub(super) fn walk(
    json: &[u8],
    string: &mut dyn FnMut(Text, &mut [Level], bool),
) -> Result<(), Invalid> {
    let mut stack = Stack { bits: Vec::new(), depth: 0, levels: Vec::new() };
    let mut at = blank(json, 0);
    loop {
        // A value.
        match json.get(at).ok_or(Invalid)? {
            open @ (b'{' | b'[') => {
                let object = *open == b'{';
                let foreign = stack.levels.last().is_some_and(|level| {
                    level.foreign
                        || level.object
                            && is_foreign(&json[level.key.0 as usize..level.key.1 as usize])
                });
                stack.push(Level { object, foreign, ..Level::default() });
                at = blank(json, at + 1);
                if json.get(at) == Some(if object { &b'}' } else { &b']' }) {
                    // Empty: closed below like any other.
                } else if object {
                    at = key(json, at, &mut stack, string)?;
                    continue;
                } else {
                    continue;
                }
            }
            b'"' => {
                let end = string_end(json, at + 1)?;
                let known = stack.levels.len() == stack.depth;
                string(Text { start: at + 1, end, is_key: false }, &mut stack.levels, known);
                at = end + 1;
            }
            b't' => at = word(json, at, b"true")?,
            b'f' => at = word(json, at, b"false")?,
            b'n' => at = word(json, at, b"null")?,
            b'-' | b'0'..=b'9' => at = number(json, at)?,
            _ => return Err(Invalid),
        }
        // What follows a value: closings, then a comma and the next.
        loop {
            at = blank(json, at);
            let Some(object) = stack.in_object() else {
                return if at == json.len() { Ok(()) } else { Err(Invalid) };
            };
            match json.get(at) {
                Some(b'}') if object => stack.pop(),
                Some(b']') if !object => stack.pop(),
                Some(b',') => {
                    if stack.levels.len() == stack.depth
                        && let Some(level) = stack.levels.last_mut()
                    {
                        level.index = level.index.saturating_add(1);
                    }
                    at = blank(json, at + 1);
                    if object {
                        at = key(json, at, &mut stack, string)?;
                    }
                    break;
                }
                _ => return Err(Invalid),
            }
            at += 1;
        }
    }
}

/// Whether it is one JSON value.
pub(super) fn is_valid(json: &[u8]) -> bool {
    walk(json, &mut |_, _, _| {}).is_ok()
}

/// Reads a key and its colon; gives where the value begins.
fn key(
    json: &[u8],
    at: usize,
    stack: &mut Stack,
    string: &mut dyn FnMut(Text, &mut [Level], bool),
) -> Result<usize, Invalid> {
    if json.get(at) != Some(&b'"') {
        return Err(Invalid);
    }
    let end = string_end(json, at + 1)?;
    let known = stack.levels.len() == stack.depth;
    if known && let Some(level) = stack.levels.last_mut() {
        let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        level.key = (place(at + 1), place(end));
        (level.says, level.role) = (Class::None, Role::None);
    }
    string(Text { start: at + 1, end, is_key: true }, &mut stack.levels, known);
    let colon = blank(json, end + 1);
    if json.get(colon) != Some(&b':') {
        return Err(Invalid);
    }
    Ok(blank(json, colon + 1))
}

fn blank(json: &[u8], mut at: usize) -> usize {
    while matches!(json.get(at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
        at += 1;
    }
    at
}

/// Where the string's closing quote is; its escapes are checked, its characters are not.
fn string_end(json: &[u8], mut at: usize) -> Result<usize, Invalid> {
    loop {
        at += memchr::memchr2(b'"', b'\\', json.get(at..).ok_or(Invalid)?).ok_or(Invalid)?;
        if json[at] == b'"' {
            return Ok(at);
        }
        match json.get(at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => at += 2,
            Some(b'u')
                if json
                    .get(at + 2..at + 6)
                    .is_some_and(|h| h.iter().all(u8::is_ascii_hexdigit)) =>
            {
                at += 6
            }
            _ => return Err(Invalid),
        }
    }
}

fn word(json: &[u8], at: usize, word: &[u8]) -> Result<usize, Invalid> {
    json[at..].starts_with(word).then_some(at + word.len()).ok_or(Invalid)
}

fn number(json: &[u8], at: usize) -> Result<usize, Invalid> {
    let digits = |at: usize| json[at..].iter().take_while(|b| b.is_ascii_digit()).count();
    let mut at = at + usize::from(json[at] == b'-');
    let whole = digits(at);
    if whole == 0 || whole > 1 && json[at] == b'0' {
        return Err(Invalid);
    }
    at += whole;
    if json.get(at) == Some(&b'.') {
        let fraction = digits(at + 1);
        if fraction == 0 {
            return Err(Invalid);
        }
        at += 1 + fraction;
    }
    if matches!(json.get(at), Some(b'e' | b'E')) {
        at += 1 + usize::from(matches!(json.get(at + 1), Some(b'+' | b'-')));
        let exponent = digits(at);
        if exponent == 0 {
            return Err(Invalid);
        }
        at += exponent;
    }
    Ok(at)
}

/// Below these, what a person, a tool or a program said stands, with keys of its own.
fn is_foreign(key: &[u8]) -> bool {
    matches!(
        key,
        b"input"
            | b"arguments"
            | b"args"
            | b"params"
            | b"toolUseResult"
            | b"output"
            | b"env"
            | b"environment"
            | b"headers"
            | b"structuredContent"
    )
}

/// Whether a harness's record keeps something under this key that must stay byte for byte: ids, by which
/// records are joined, and what a model's service signs or encrypts, which it takes back only unchanged.
pub(super) fn is_protected(key: &[u8], above: Option<&[u8]>, value: &[u8]) -> bool {
    match key {
        b"id"
        | b"uuid"
        | b"parentUuid"
        | b"parentId"
        | b"parent_id"
        | b"logicalParentUuid"
        | b"leafUuid"
        | b"sessionId"
        | b"session_id"
        | b"messageId"
        | b"message_id"
        | b"requestId"
        | b"request_id"
        | b"tool_use_id"
        | b"toolUseID"
        | b"toolUseId"
        | b"parentToolUseID"
        | b"tool_call_id"
        | b"toolCallId"
        | b"call_id"
        | b"sourceToolAssistantUUID"
        | b"sourceToolUseID"
        | b"turn_id"
        | b"thread_id"
        | b"item_id"
        | b"response_id"
        | b"responseId"
        | b"previous_response_id"
        | b"promptId"
        | b"agentId"
        | b"conversation_id"
        | b"timestamp"
        | b"signature"
        | b"thoughtSignature"
        | b"thinkingSignature"
        | b"textSignature"
        | b"encrypted_content"
        | b"encryptedContent" => true,
        b"data" => {
            matches!(above, Some(b"source" | b"inlineData" | b"inline_data" | b"redacted_thinking"))
                || is_image(value)
        }
        b"image_url" | b"url" | b"base64" => value.starts_with(b"data:image/") || is_image(value),
        _ => false,
    }
}

/// How PNG, JPEG, GIF, WebP and PDF begin in base64.
fn is_image(value: &[u8]) -> bool {
    value.len() >= 64
        && ["iVBORw0K", "/9j/", "R0lGOD", "UklGR", "JVBERi"]
            .iter()
            .any(|start| value.starts_with(start.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_is_what_another_parser_takes() {
        let texts = [
            "{}",
            "[]",
            "1",
            "-0.5e+3",
            "\"a\"",
            "{\"a\":[1,{\"b\":null}],\"c\":true}",
            " [ ] ",
            "[1e999999]",
            "\"\\ud800\"",
            "{\"a\":1,\"a\":2}",
            "",
            "{",
            "[1,]",
            "{\"a\"}",
            "{a:1}",
            "[1 2]",
            "01",
            "1.",
            "\"\\x\"",
            "tru",
            "{}{}",
            "[}",
            "\"a",
            "{\"a\":1,}",
            "nul",
            "-",
            "1e",
        ];
        for text in texts {
            let raw: Result<&serde_json::value::RawValue, _> = serde_json::from_str(text);
            assert_eq!(is_valid(text.as_bytes()), raw.is_ok(), "{text}");
        }
    }

    #[test]
    fn depth_neither_overflows_nor_fails() {
        let deep = |n: usize| format!("{}\"x\"{}", "[".repeat(n), "]".repeat(n));
        assert!(is_valid(deep(100_000).as_bytes()));
        assert!(is_valid(deep(2_000_000).as_bytes()));
        let objects = format!("{}1{}", "{\"a\":".repeat(200_000), "}".repeat(200_000));
        assert!(is_valid(objects.as_bytes()));
        assert!(!is_valid(&objects.as_bytes()[..objects.len() - 1]));
    }
}
