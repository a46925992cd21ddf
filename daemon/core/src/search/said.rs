//! What of an event is looked for.
//!
//! What people and agents said is taken as it is; of what tools were given, what tells what they did: a
//! command whole, of reads and edits the files. Not what tools printed, unless they failed, and not what
//! was written into files: it is most of a transcript, and `rg` finds it in the files themselves.

use std::borrow::Cow;

use rrd_proto::{Event, EventKind, SearchKind, ToolKind};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::plain;

/// Bytes of a failure that are looked through: it begins with what is wrong.
const OF_ERROR: usize = 2 << 10;

/// What of an event is looked for, and what sort of thing that is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said<'e> {
    /// What it is.
    pub kind: SearchKind,
    /// As it was said.
    text: Cow<'e, str>,
}

impl Said<'_> {
    /// As it is given to the tokenizer. All of it passes `redact` before any of it is cut.
    #[must_use]
    pub fn redacted(&self, redact: &mut dyn FnMut(&str) -> String) -> String {
        let mut text = redact(&self.text);
        if self.kind == SearchKind::Error && text.len() > OF_ERROR {
            let end = (0..=OF_ERROR).rev().find(|at| text.is_char_boundary(*at));
            text.truncate(end.unwrap_or(0));
        }
        match plain(&text) {
            Cow::Borrowed(_) => text,
            Cow::Owned(text) => text,
        }
    }
}

/// Whether more than its line is needed to know that: of what fits into a line only white space is
/// different.
#[must_use]
pub fn needs_body(event: &Event) -> bool {
    event.truncated || event.kind == EventKind::ToolCall
}

/// What of an event is looked for; `None` of one that says nothing.
#[must_use]
pub fn said(event: &Event) -> Option<Said<'_>> {
    use EventKind::{Error, Message, PeerMessage, Prompt, Title, ToolCall, ToolResult};
    let whole = || {
        let body = event.body.as_ref().map(|body| body.text.as_str());
        Cow::Borrowed(body.unwrap_or(&event.text))
    };
    let (kind, text) = match event.kind {
        Prompt => (SearchKind::Prompt, whole()),
        Message | PeerMessage => (SearchKind::Message, whole()),
        Error => (SearchKind::Error, whole()),
        ToolResult if event.is_error => (SearchKind::Error, whole()),
        Title => (SearchKind::Title, Cow::Borrowed(event.text.as_str())),
        ToolCall => call(event),
        _ => return None,
    };
    (!text.trim().is_empty()).then_some(Said { kind, text })
}

/// What a tool was given. Where that cannot be read (its middle was not kept), the line that stands for
/// it in lists.
fn call(event: &Event) -> (SearchKind, Cow<'_, str>) {
    let line = || Cow::Borrowed(event.text.as_str());
    let body = event.body.as_ref().map(|body| body.text.as_str()).unwrap_or_default();
    let input = || serde_json::from_str::<Input<'_>>(body).ok();
    let or_line = |text: Option<Cow<'static, str>>| text.unwrap_or_else(line);
    match event.tool.as_deref().map_or(ToolKind::Other, ToolKind::of) {
        ToolKind::Command => {
            let command = input().and_then(|input| input.command());
            (SearchKind::Command, or_line(command.map(Cow::Owned)))
        }
        ToolKind::Edit => {
            let files = input().map_or_else(|| patched(body), |input| input.files());
            (SearchKind::Path, or_line((!files.is_empty()).then_some(Cow::Owned(files))))
        }
        ToolKind::Read => {
            let sought = input().map(|input| input.sought()).filter(|sought| !sought.is_empty());
            (SearchKind::Path, or_line(sought.map(Cow::Owned)))
        }
        ToolKind::Question => (SearchKind::Message, line()),
        ToolKind::Delegate | ToolKind::Other => (SearchKind::Command, line()),
    }
}

/// Arguments of tools, by the names that harnesses give them.
#[derive(Deserialize)]
struct Input<'j> {
    #[serde(default, borrow)]
    command: Option<&'j RawValue>,
    #[serde(default, borrow)]
    cmd: Option<&'j RawValue>,
    #[serde(default, borrow)]
    script: Option<&'j RawValue>,
    #[serde(default, borrow)]
    code: Option<&'j RawValue>,
    #[serde(default, borrow)]
    chars: Option<&'j RawValue>,
    #[serde(default, borrow)]
    file_path: Option<&'j RawValue>,
    #[serde(default, borrow)]
    path: Option<&'j RawValue>,
    #[serde(default, borrow)]
    notebook_path: Option<&'j RawValue>,
    #[serde(default, borrow)]
    input: Option<&'j RawValue>,
    #[serde(default, borrow)]
    patch: Option<&'j RawValue>,
    #[serde(default, borrow)]
    pattern: Option<&'j RawValue>,
    #[serde(default, borrow)]
    query: Option<&'j RawValue>,
    #[serde(default, borrow)]
    glob: Option<&'j RawValue>,
    #[serde(default, borrow)]
    url: Option<&'j RawValue>,
    #[serde(default, borrow)]
    urls: Option<&'j RawValue>,
}

impl Input<'_> {
    fn command(&self) -> Option<String> {
        [self.command, self.cmd, self.script, self.code, self.chars].iter().find_map(text)
    }

    fn files(&self) -> String {
        let mut files = joined(&[self.file_path, self.path, self.notebook_path]);
        for patch in [self.patch, self.input].iter().filter_map(text) {
            add(&mut files, &patched(&patch));
        }
        files
    }

    fn sought(&self) -> String {
        let [file, path, notebook] = [self.file_path, self.path, self.notebook_path];
        joined(&[self.pattern, self.query, self.url, self.urls, file, path, notebook, self.glob])
    }
}

fn joined(values: &[Option<&RawValue>]) -> String {
    let mut line = String::new();
    values.iter().filter_map(text).for_each(|text| add(&mut line, &text));
    line
}

fn add(line: &mut String, text: &str) {
    if !line.is_empty() && !text.is_empty() {
        line.push('\n');
    }
    line.push_str(text);
}

/// A string, or the strings of a list as a command line; `bash -lc "…"` is what the shell was given.
fn text(value: &Option<&RawValue>) -> Option<String> {
    let json = (*value)?.get();
    let text = match json.as_bytes().first()? {
        b'"' => serde_json::from_str::<String>(json).ok()?,
        b'[' => {
            let words = serde_json::from_str::<Vec<String>>(json).ok()?;
            match words.as_slice() {
                [shell, flag, command]
                    if shell.ends_with("sh") && matches!(flag.as_str(), "-c" | "-lc") =>
                {
                    command.clone()
                }
                words => words.join(" "),
            }
        }
        _ => return None,
    };
    (!text.is_empty()).then_some(text)
}

/// The files that a patch touches.
fn patched(patch: &str) -> String {
    let file = |line: &str| {
        let operation = line.strip_prefix("*** ")?;
        let at = operation.find(" File: ").map(|at| at + " File: ".len());
        let at = at.or_else(|| operation.strip_prefix("Move to: ").map(|_| "Move to: ".len()))?;
        Some(operation[at..].trim().to_owned())
    };
    let mut files = String::new();
    patch.lines().filter_map(file).for_each(|file| add(&mut files, &file));
    files
}

#[cfg(test)]
mod tests {
    use rrd_proto::Body;

    use super::*;

    fn event(kind: EventKind, tool: Option<&str>, body: &str) -> Event {
        Event {
            seq: 0,
            at: None,
            kind,
            text: "the line".into(),
            tool: tool.map(str::to_owned),
            tool_call_id: None,
            is_error: false,
            truncated: true,
            direction: None,
            message_id: None,
            withdrawn: false,
            body: (!body.is_empty()).then(|| Body { text: body.into(), size: 0, cut: None }),
            subagent: None,
        }
    }

    fn of(event: &Event) -> Option<(SearchKind, String)> {
        said(event).map(|said| (said.kind, said.redacted(&mut str::to_owned)))
    }

    #[test]
    fn of_calls_that_is_taken_which_tells_what_they_did() {
        use SearchKind::{Command, Message, Path};
        for (tool, input, kind, text) in [
            (
                "Bash",
                r#"{"command":"cargo test\n--all","description":"x"}"#,
                Command,
                "cargo test\n--all",
            ),
            ("shell", r#"{"command":["bash","-lc","ls -l"],"workdir":"/w"}"#, Command, "ls -l"),
            ("shell", r#"{"command":["git","log"]}"#, Command, "git log"),
            ("exec_command", r#"{"cmd":"make"}"#, Command, "make"),
            ("write_stdin", r#"{"chars":"y\n","session_id":1}"#, Command, "y\n"),
            ("Bash", r#"{"command":7}"#, Command, "the line"),
            ("Bash", r#"{"command":"cut in the mid"#, Command, "the line"),
            ("Bash", "", Command, "the line"),
            ("Write", r#"{"file_path":"/a/b.rs","content":"SECRET PLAN"}"#, Path, "/a/b.rs"),
            (
                "Edit",
                r#"{"file_path":"/a/b.rs","old_string":"x","new_string":"y"}"#,
                Path,
                "/a/b.rs",
            ),
            (
                "apply_patch",
                "*** Begin Patch\n*** Update File: a.rs\n*** Move to: b.rs\n-x\n*** Add File: c d.rs\n+y",
                Path,
                "a.rs\nb.rs\nc d.rs",
            ),
            (
                "apply_patch",
                r#"{"input":"*** Begin Patch\n*** Delete File: a.rs\n"}"#,
                Path,
                "a.rs",
            ),
            ("apply_patch", "nothing known", Path, "the line"),
            (
                "Grep",
                r#"{"pattern":"fn main","path":"src","glob":"*.rs"}"#,
                Path,
                "fn main\nsrc\n*.rs",
            ),
            (
                "WebFetch",
                r#"{"url":"https://example.com/x","prompt":"y"}"#,
                Path,
                "https://example.com/x",
            ),
            ("Task", r#"{"prompt":"do it","description":"d"}"#, Command, "the line"),
            ("mcp__tracker__create", r#"{"title":"x"}"#, Command, "the line"),
            ("AskUserQuestion", r#"{"questions":[]}"#, Message, "the line"),
        ] {
            let event = event(EventKind::ToolCall, Some(tool), input);
            assert_eq!(of(&event), Some((kind, text.to_owned())), "{tool} {input}");
        }
    }

    #[test]
    fn what_was_said_is_taken_whole_and_what_was_printed_is_not() {
        use SearchKind::{Error, Message, Prompt, Title};
        for (kind, expected) in [
            (EventKind::Prompt, Some((Prompt, "all\nof it"))),
            (EventKind::Message, Some((Message, "all\nof it"))),
            (EventKind::PeerMessage, Some((Message, "all\nof it"))),
            (EventKind::Error, Some((Error, "all\nof it"))),
            (EventKind::Title, Some((Title, "the line"))),
            (EventKind::ToolResult, None),
            (EventKind::TurnEnd, None),
            (EventKind::Compaction, None),
            (EventKind::Ended, None),
        ] {
            let event = event(kind, None, "all\nof it");
            assert_eq!(
                of(&event),
                expected.map(|(kind, text)| (kind, text.to_owned())),
                "{kind:?}"
            );
        }
        let mut empty = event(EventKind::Prompt, None, "");
        empty.text = " ".into();
        assert_eq!(of(&empty), None);
    }

    #[test]
    fn of_failures_their_beginning_redacted_before_it_is_cut() {
        let mut failed = event(EventKind::ToolResult, Some("Bash"), &"é".repeat(4_000));
        failed.is_error = true;
        assert_eq!(
            of(&failed).map(|(kind, text)| (kind, text.len())),
            Some((SearchKind::Error, 2_048))
        );
        let text = format!("{}SECRET", "x".repeat(2_045));
        failed.body = Some(Body { text, size: 0, cut: None });
        let said = said(&failed).unwrap().redacted(&mut |text| text.replace("SECRET", "*"));
        assert!(said.ends_with("x*"));
    }
}
