//! Codex's tool calls and their results.
//!
//! Up to 0.98 the text of a result is all that tells whether a command failed. Later clients complete
//! an item with a status, before or after the result. Not here: messages and turns.

use std::borrow::Cow;

use rrd_proto::Harness;

use super::Payload;
use crate::{
    fact::{Fact, Parsed, issue},
    harness::{
        ParserState,
        head::{Head, Raw},
        is_question,
        json::{Field, Str, object},
        summary::{Input, of_json, of_text},
    },
    long::Long,
};

/// Longer arguments are not searched for the telling one.
const ARGUMENTS: usize = 1 << 16;

object! {
    struct Output<'a> {
        content: Head<'a> = "content",
        success: Field<bool> = "success",
    }
}

object! {
    struct Escalation<'a> {
        permissions: Str<'a> = "sandbox_permissions",
        escalated: Field<bool> = "with_escalated_permissions",
    }
}

/// What the model was sent or sent itself: of these, calls and results matter.
pub(super) fn item<'a>(
    mut payload: Box<Payload<'a>>,
    at: Option<Cow<'a, str>>,
    state: &ParserState,
    into: &mut Parsed<'a>,
) {
    let kind = payload.kind.take().unwrap_or_default();
    if kind.is_empty() {
        into.issues.push(issue::SHAPE);
    } else if let Some(tool) = kind.strip_suffix("_call") {
        if payload.call_id.wrong() || payload.name.wrong() {
            into.issues.push(issue::SHAPE);
        }
        let named = payload.call_id.some().or_else(|| payload.id.some());
        // Searches may have no id at all, and two of them must not be taken for one.
        let id = named.or(at).unwrap_or_default();
        let answers_itself = matches!(tool, "web_search" | "image_generation");
        let failed = payload.status.text() == "failed";
        let may_wait = !state.never_asks && escalates(payload.arguments.json());
        into.facts.push(call(payload, tool, id.clone()));
        if may_wait {
            into.facts.push(Fact::MayWait { id: id.clone() });
        }
        if answers_itself {
            into.facts.push(Fact::ToolResult { id, is_error: failed, text: Long::default() });
        }
    } else if kind.ends_with("_output") {
        let id = payload.call_id.some().or_else(|| payload.id.some()).unwrap_or_default();
        let (is_error, text) = result(payload.output, state.paginated);
        let began = super::delegates::began(&id, &text, into.at);
        into.facts.extend(began);
        into.facts.push(Fact::ToolResult { id, is_error, text });
    } else if kind == "message" && payload.role.text() == "user" {
        super::delegates::noticed(payload.content, into);
    }
}

/// The end of a command or patch, where a client writes it.
pub(super) fn ended<'a>(mut payload: Box<Payload<'a>>, into: &mut Parsed<'a>) {
    let clean = matches!(payload.exit_code.json(), "" | "0" | "null");
    let failed =
        !clean || matches!(payload.success, Field::Is(false)) || payload.status.text() == "failed";
    // What the user runs in the prompt is not the agent's.
    let user_shell =
        matches!(&payload.source, Field::Is(super::Source::Word(word)) if word == "user_shell");
    if failed && !user_shell {
        into.facts.extend(payload.call_id.some().map(|id| Fact::ToolFailed { id }));
    }
}

fn call<'a>(mut payload: Box<Payload<'a>>, tool: &str, id: Cow<'a, str>) -> Fact<'a> {
    let (summary, input) = match (payload.arguments.json(), payload.input.json()) {
        ("" | "null", "" | "null") => (of_json(payload.action.json()), payload.action.json()),
        ("" | "null", json) => (of_text(payload.input.head().text()), json),
        (json, _) => (arguments(json, payload.arguments), json),
    };
    let input = Long::input(input);
    let name = match (payload.name.some(), tool) {
        (Some(name), _) => name,
        (None, "local_shell") => Cow::Borrowed("local_shell"),
        (None, "web_search") => Cow::Borrowed("web_search"),
        (None, tool) => Cow::Owned(tool.to_owned()),
    };
    let asks = is_question(&Harness::Codex, &name);
    Fact::ToolCall { id, name, summary, input, asks }
}

/// Whether a command asks to run outside its sandbox, for which Codex asks its user; the rollout holds
/// neither the question nor the answer. 0.98 spells it otherwise.
fn escalates(json: &str) -> bool {
    let asks = |arguments: &Escalation<'_>| {
        arguments.permissions.text() == "require_escalated" || arguments.escalated.is_true()
    };
    let named = json.contains("require_escalated") || json.contains("with_escalated_permissions");
    named && json.len() <= ARGUMENTS && {
        let text = serde_json::from_str::<String>(json);
        let json = text.as_deref().unwrap_or(json);
        matches!(serde_json::from_str(json), Ok(Field::Is(arguments)) if asks(&arguments))
    }
}

/// `arguments` is a string that holds JSON, in some tools an object.
fn arguments(json: &str, raw: Raw<'_>) -> String {
    if json.len() > ARGUMENTS {
        return of_text(raw.head().text());
    }
    let inner: Cow<'_, str> = if json.starts_with('"') {
        serde_json::from_str::<String>(json).map_or(Cow::Borrowed(""), Cow::Owned)
    } else {
        Cow::Borrowed(json)
    };
    match serde_json::from_str::<Field<Input<'_>>>(&inner) {
        Ok(Field::Is(input)) => input.summary(),
        _ => of_text(&inner),
    }
}

/// Whether the result says that it is a failure, and its text without the heading.
fn result(output: Raw<'_>, paginated: bool) -> (bool, Long<'_>) {
    let json = output.json();
    if json.starts_with('{') {
        let output = serde_json::from_str::<Field<Output<'_>>>(json).ok();
        let mut output = output.and_then(|mut output| output.take()).unwrap_or_default();
        let failed = matches!(output.success, Field::Is(false));
        return (failed, output.content.take().unwrap_or_default());
    }
    let text = output.head().take().unwrap_or_default();
    if text.starts_with("{\"") {
        return (exit_code_in_json(json), text);
    }
    let (heading, body) = match text.find("Output:\n") {
        Some(at) if at == 0 || text.as_bytes()[at - 1] == b'\n' => (at, at + "Output:\n".len()),
        _ => return (false, text),
    };
    let all = Long::new(Cow::Borrowed(""), json);
    let text = text.into_head();
    let failed = text[..heading].lines().any(|line| {
        let code = match line.strip_prefix("Exit code: ") {
            Some(code) => Some(code),
            // Of a command that another call started, this tells in the wrong place; where there are
            // items, the command's own item tells in the right one.
            None if paginated => None,
            None => line.strip_prefix("Process exited with code "),
        };
        code.and_then(|code| code.trim().parse::<i64>().ok()).is_some_and(|code| code != 0)
    });
    let text = match text {
        Cow::Borrowed(text) => Cow::Borrowed(&text[body..]),
        Cow::Owned(text) => Cow::Owned(text[body..].to_owned()),
    };
    (failed, all.beginning(text))
}

/// `{"output":…,"metadata":{"exit_code":N,…}}` inside the string `json`: the code is near its end.
fn exit_code_in_json(json: &str) -> bool {
    const KEY: &str = "\\\"exit_code\\\":";
    let mut from = json.len().saturating_sub(256);
    while !json.is_char_boundary(from) {
        from += 1;
    }
    let tail = &json[from..];
    let Some(at) = tail.rfind(KEY) else { return false };
    let code = tail[at + KEY.len()..].trim_start();
    code.starts_with(|c: char| c == '-' || c.is_ascii_digit() && c != '0')
}
