//! How the whole of an event is shown, line by line: a command as it is, an edit as a diff, anything else
//! as names and values, a result as its lines.
//!
//! The words of inputs are those that the harnesses use (`old_string`, `oldText`, `file_path`, …), taken
//! from recordings of them; what is none of these is shown as what it is. The lines are as the session
//! wrote them: whoever prints them cleans them for where they go. Not here: colours, markup, wrapping.

use serde_json::{Map, Value};
use similar::{ChangeTag, TextDiff};

use crate::{Body, Event, EventKind, ToolKind};

/// More lines of one body than this are not read by scrolling.
pub const MOST: usize = 4_000;
/// Of those that are left out, so many of the last are shown.
const TAIL: usize = 500;
/// Unchanged lines around a change.
const CONTEXT: usize = 2;
/// Comparing more than this takes longer than a key may: all is then shown as removed and added.
const COMPARED: usize = 400_000;

/// What a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// Text of the session.
    Plain,
    /// A name, a place, a remark of ours.
    Dim,
    /// New in a file; the text begins with a plus.
    Added,
    /// No longer in it; the text begins with a minus.
    Removed,
    /// What failed said so.
    Error,
}

/// One line, without its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// What it is.
    pub tone: Tone,
    /// The line.
    pub text: String,
}

/// Lines that an edit writes and takes away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Changed {
    /// Written.
    pub added: usize,
    /// Taken away.
    pub removed: usize,
}

/// How much an edit changes, by its input; `None` where that is not here as a whole, or changes nothing.
#[must_use]
pub fn changed(event: &Event) -> Option<Changed> {
    let body = event.body.as_ref().filter(|body| body.cut.is_none())?;
    let mut out = Lines::of(MOST);
    if event.kind == EventKind::ToolCall {
        out.body(event, body);
    }
    Some(out.changed).filter(|changed| *changed != Changed::default())
}

/// The whole of an event.
#[must_use]
pub fn lines(event: &Event) -> Vec<Shown> {
    up_to(event, MOST)
}

/// The same without leaving any out, for whoever keeps it.
#[must_use]
pub fn every_line(event: &Event) -> Vec<Shown> {
    up_to(event, usize::MAX)
}

fn up_to(event: &Event, most: usize) -> Vec<Shown> {
    let mut out = Lines::of(most);
    match &event.body {
        Some(body) => out.body(event, body),
        None => {
            out.text(tone(event), "", &event.text);
            if event.truncated {
                out.push(Tone::Dim, "… the rest is not kept");
            }
        }
    }
    out.capped()
}

fn tone(event: &Event) -> Tone {
    if event.is_error || event.kind == EventKind::Error { Tone::Error } else { Tone::Plain }
}

/// `1.2 MB`.
#[must_use]
pub fn size(bytes: u64) -> String {
    match bytes {
        0..=999 => format!("{bytes} B"),
        1_000..=999_499 => format!("{:.0} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

struct Lines {
    lines: Vec<Shown>,
    /// As many are wanted.
    most: usize,
    /// Of all of them, those too that are not held.
    changed: Changed,
}

impl Lines {
    fn of(most: usize) -> Self {
        Self { lines: Vec::new(), most, changed: Changed::default() }
    }

    fn push(&mut self, tone: Tone, text: impl Into<String>) {
        // No more than can be shown is held: a text may be megabytes of newlines.
        if self.lines.len() > self.most.saturating_mul(4) {
            self.lines.drain(self.most..self.most * 2);
        }
        self.changed.added += usize::from(tone == Tone::Added);
        self.changed.removed += usize::from(tone == Tone::Removed);
        self.lines.push(Shown { tone, text: text.into() });
    }

    fn text(&mut self, tone: Tone, sign: &str, text: &str) {
        let text = text.strip_suffix('\n').unwrap_or(text);
        text.split('\n').for_each(|line| self.push(tone, format!("{sign}{line}")));
    }

    fn body(&mut self, event: &Event, body: &Body) {
        let cut = body.cut.and_then(|cut| usize::try_from(cut).ok());
        if let Some((head, tail)) = cut.and_then(|cut| body.text.split_at_checked(cut)) {
            let out = body.size.saturating_sub(body.text.len() as u64);
            self.text(tone(event), "", head);
            self.push(Tone::Dim, format!("… {} left out …", size(out)));
            self.text(tone(event), "", tail);
            return;
        }
        match event.kind {
            EventKind::ToolCall => self.input(event.tool.as_deref().unwrap_or(""), &body.text),
            _ => self.text(tone(event), "", &body.text),
        }
    }

    fn input(&mut self, tool: &str, text: &str) {
        match serde_json::from_str::<Value>(text) {
            Ok(Value::Object(input)) => self.object(ToolKind::of(tool), input),
            Ok(Value::String(text)) => self.value(&text),
            Ok(value @ (Value::Array(_) | Value::Bool(_) | Value::Number(_))) => {
                self.text(Tone::Plain, "", &pretty(&value));
            }
            Ok(Value::Null) => {}
            // Not JSON at all: some tools take a text as it is.
            Err(_) => self.value(text),
        }
    }

    fn object(&mut self, kind: ToolKind, mut input: Map<String, Value>) {
        match kind {
            ToolKind::Command => {
                if let Some(command) = take(&mut input, &["command", "cmd", "script", "code"]) {
                    self.text(Tone::Plain, "", &command);
                }
            }
            ToolKind::Edit => self.edit(&mut input),
            _ => {}
        }
        for (name, value) in input {
            match value {
                Value::Null => {}
                Value::String(text) if text.contains('\n') => {
                    self.push(Tone::Dim, format!("{name}:"));
                    self.value(&text);
                }
                Value::String(text) => self.push(Tone::Plain, format!("{name}: {text}")),
                Value::Array(_) | Value::Object(_) => {
                    self.push(Tone::Dim, format!("{name}:"));
                    self.text(Tone::Plain, "", &pretty(&value));
                }
                value => self.push(Tone::Plain, format!("{name}: {value}")),
            }
        }
    }

    /// A text of several lines, which may be a patch.
    fn value(&mut self, text: &str) {
        if is_patch(text) { self.patch(text) } else { self.text(Tone::Plain, "", text) }
    }

    fn edit(&mut self, input: &mut Map<String, Value>) {
        if let Some(path) = take(input, &["file_path", "path", "filePath", "notebook_path"]) {
            self.push(Tone::Dim, path);
        }
        self.change(input);
        if let Some(Value::Array(edits)) = input.remove("edits") {
            for edit in edits {
                if let Value::Object(mut edit) = edit {
                    self.push(Tone::Dim, "@@");
                    self.change(&mut edit);
                    self.object(ToolKind::Other, edit);
                }
            }
        }
        let whole = ["content", "file_text", "new_source", "insert_text"];
        if let Some(content) = take(input, &whole) {
            self.text(Tone::Added, "+", &content);
        }
    }

    fn change(&mut self, input: &mut Map<String, Value>) {
        let old = take(input, &["old_string", "old_str", "oldText", "old_text"]);
        let new = take(input, &["new_string", "new_str", "newText", "new_text"]);
        match (old, new) {
            (None, None) => {}
            (old, new) => self.diff(&old.unwrap_or_default(), &new.unwrap_or_default()),
        }
    }

    fn diff(&mut self, old: &str, new: &str) {
        if old.len() + new.len() > COMPARED {
            for (tone, sign, text) in [(Tone::Removed, "-", old), (Tone::Added, "+", new)] {
                if !text.is_empty() {
                    self.text(tone, sign, text);
                }
            }
            return;
        }
        let diff = TextDiff::from_lines(old, new);
        for (at, group) in diff.grouped_ops(CONTEXT).iter().enumerate() {
            if at > 0 {
                self.push(Tone::Dim, "⋯");
            }
            for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
                let (tone, sign) = match change.tag() {
                    ChangeTag::Delete => (Tone::Removed, "-"),
                    ChangeTag::Insert => (Tone::Added, "+"),
                    ChangeTag::Equal => (Tone::Plain, " "),
                };
                self.text(tone, sign, change.value());
            }
        }
    }

    fn patch(&mut self, text: &str) {
        for line in text.lines() {
            let tone = match line.as_bytes() {
                [b'+', b'+', b'+', ..] | [b'-', b'-', b'-', ..] | [b'@' | b'*', ..] => Tone::Dim,
                [b'+', ..] => Tone::Added,
                [b'-', ..] => Tone::Removed,
                _ => Tone::Plain,
            };
            self.push(tone, line);
        }
    }

    fn capped(self) -> Vec<Shown> {
        let Self { mut lines, most, changed: _ } = self;
        if lines.len() > most {
            let out = lines.len() - most;
            let said = Shown { tone: Tone::Dim, text: format!("… {out} lines left out …") };
            lines.splice(most - TAIL..most - TAIL + out, [said]);
        }
        lines
    }
}

/// The first of `names` that is a text, or a list of texts: some commands are lists of words.
fn take(input: &mut Map<String, Value>, names: &[&str]) -> Option<String> {
    let name = names.iter().find(|name| match input.get(**name) {
        Some(Value::String(_)) => true,
        Some(Value::Array(words)) => !words.is_empty() && words.iter().all(Value::is_string),
        _ => false,
    })?;
    match input.remove(*name)? {
        Value::String(text) => Some(text),
        Value::Array(words) => {
            let words: Vec<&str> = words.iter().filter_map(Value::as_str).collect();
            Some(words.join(" "))
        }
        _ => None,
    }
}

fn is_patch(text: &str) -> bool {
    let first = text.trim_start();
    first.starts_with("*** Begin Patch") || first.starts_with("--- ") || first.starts_with("@@ ")
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(tool: &str, input: &str) -> Event {
        let event = r#"{"seq":1,"at":null,"kind":"tool_call","text":"x","tool":null,"tool_call_id":null,
            "is_error":false,"truncated":false,"direction":null,"message_id":null}"#;
        let mut event: Event = serde_json::from_str(event).unwrap();
        event.tool = Some(tool.to_owned());
        event.body = Some(Body { text: input.to_owned(), size: input.len() as u64, cut: None });
        event
    }

    #[test]
    fn an_edit_tells_how_much_it_changes() {
        let patch = "*** Begin Patch\n*** Update File: f\n@@\n-a\n+b\n+c\n c\n*** End Patch";
        let many = "x\n".repeat(MOST * 9);
        let all = serde_json::json!({"file_path": "f", "content": many}).to_string();
        for (tool, input, want) in [
            (
                "Edit",
                r#"{"file_path":"f","old_string":"a\nb\nc\n","new_string":"a\nB\nc\nd\n"}"#,
                (2, 1),
            ),
            ("Write", r#"{"file_path":"f","content":"a\nb\n"}"#, (2, 0)),
            (
                "MultiEdit",
                r#"{"edits":[{"old_string":"a","new_string":""},{"old_string":"b","new_string":"c"}]}"#,
                (1, 2),
            ),
            ("apply_patch", patch, (2, 1)),
            ("Write", &all, (MOST * 9, 0)),
        ] {
            let changed = changed(&call(tool, input)).unwrap();
            assert_eq!((changed.added, changed.removed), want, "{tool}");
        }
        assert_eq!(changed(&call("Bash", r#"{"command":"ls"}"#)), None);
        let mut cut = call("Edit", patch);
        cut.body.iter_mut().for_each(|body| body.cut = Some(9));
        assert_eq!(changed(&cut), None, "of what is not whole nothing is told");
        assert_eq!(changed(&Event { body: None, ..cut }), None);
    }
}
