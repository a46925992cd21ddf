//! Hermes: conversations in `state.db`, one for each profile.
//!
//! Observed of 0.19 (schema 22). Undo marks messages as withdrawn, retry deletes and inserts them again,
//! compaction sums them up and inserts copies: the driver reads the history anew then. A session that
//! was compacted goes on in a child; branches and delegates are children, too, and only the
//! model's configuration tells them apart. That a session ended is written only when somebody closes
//! it, and taken back when it is resumed.
//!
//! That delegates began, and that they reported back, is said by a delegation's id; which sessions they
//! are is told by their own rows alone. Of delegates that are waited for (older releases) nothing is said
//! but what they came to. Not here: SQLite.

use std::borrow::Cow;

use rrd_proto::{Harness, ParentKind, Timestamp, Tokens, TurnResult};

use super::{
    FileRole, Format, Parser, ParserState,
    head::{Head, Raw},
    is_question,
    json::{Field, Str, first, object},
    lines::{self, Records},
    summary::{Input, of_text},
    tables::{Column, RecordRows, SessionRows, Tables, owned, time},
};
use crate::{
    fact::{Fact, Parsed, Subagent, TitleRank, issue},
    long::Long,
};

/// What [`super::formats`] lists.
pub(super) const FORMAT: Format = Format {
    name: "hermes",
    home_var: "HERMES_HOME",
    user_home_var: None,
    sessions_var: None,
    several_homes: false,
    homes: if cfg!(windows) { &["AppData/Local/hermes"] } else { &[".hermes"] },
    other_homes: &[],
    traces: None,
    folders: &["profiles/*"],
    classify,
    parser: |_| Box::new(Hermes),
    entries: None,
    sidecar: session,
    live_entry: |_| None,
    titles: |_| None,
    tables: Some(&TABLES),
    asks: None,
};

const TABLES: Tables = Tables {
    schema: "SELECT max(version) FROM schema_version",
    newest: 22,
    reads_newer: true,
    sessions: SessionRows {
        from: "sessions s LEFT JOIN sessions p ON p.id = s.parent_session_id",
        id: "s.id",
        // Which messages stand tells it all; `rewind_count` counts only one of the ways.
        rewritten: None,
        columns: &[
            Column::plain("source", "s.source"),
            Column::plain("model", "s.model"),
            Column::json("config", "s.model_config", ""),
            Column::plain("parent", "s.parent_session_id"),
            Column::seconds("started_at", "s.started_at"),
            Column::seconds("ended_at", "s.ended_at"),
            Column::plain("cwd", "s.cwd"),
            Column::plain("branch", "s.git_branch"),
            Column::plain("title", "s.title"),
            Column::plain("archived", "s.archived"),
            Column::plain("input", "s.input_tokens"),
            Column::plain("output", "s.output_tokens"),
            Column::plain("cache_read", "s.cache_read_tokens"),
            Column::plain("cache_write", "s.cache_write_tokens"),
            // Not read, but it makes a row another when messages are taken back.
            Column::plain("rewinds", "s.rewind_count"),
            Column::plain("parent_end", "p.end_reason"),
            Column::seconds("parent_ended_at", "p.ended_at"),
        ],
    },
    records: RecordRows {
        table: "messages",
        session: "session_id",
        number: "id",
        stands: "active",
        summed_up: "compacted",
        whole: None,
        columns: &[
            Column::plain("role", "role"),
            Column::json("content", "content", "\0json:"),
            Column::plain("tool_call_id", "tool_call_id"),
            Column::json("tool_calls", "tool_calls", ""),
            Column::plain("tool_name", "tool_name"),
            Column::seconds("timestamp", "timestamp"),
            Column::plain("finish_reason", "finish_reason"),
            Column::plain("observed", "observed"),
        ],
        identity: &["role", "content", "tool_call_id", "timestamp"],
        moved_out: None,
    },
};

fn classify(path: &str) -> FileRole {
    let name = match path.strip_prefix("profiles/") {
        Some(beneath) => beneath.split_once('/').map_or("", |(_, name)| name),
        None => path,
    };
    if matches!(name, "state.db" | "state.db-wal") { FileRole::Database } else { FileRole::Ignored }
}

object! {
    struct SessionRow<'a> {
        source: Str<'a> = "source",
        model: Str<'a> = "model",
        config: Field<ModelConfig<'a>> = "config",
        parent: Str<'a> = "parent",
        started_at: Field<u64> = "started_at",
        ended_at: Field<u64> = "ended_at",
        cwd: Str<'a> = "cwd",
        branch: Str<'a> = "branch",
        title: Str<'a> = "title",
        archived: Field<u64> = "archived",
        input: Field<u64> = "input",
        output: Field<u64> = "output",
        cache_read: Field<u64> = "cache_read",
        cache_write: Field<u64> = "cache_write",
        parent_end: Str<'a> = "parent_end",
        parent_ended_at: Field<u64> = "parent_ended_at",
    }
}

object! {
    struct ModelConfig<'a> {
        branched_from: Str<'a> = "_branched_from",
        delegate_from: Str<'a> = "_delegate_from",
    }
}

/// What a row of `sessions` says.
fn session(row: &[u8]) -> Option<Vec<Fact<'static>>> {
    let mut row: SessionRow<'_> = first(row)?;
    let mut facts = Vec::new();
    let is_delegate = row.is_delegate();
    match row.parent() {
        Some((id, kind)) => facts.push(Fact::Parent { id, kind }),
        None if is_delegate => facts.push(Fact::Delegate),
        None => {}
    }
    facts.extend(row.started_at.get().copied().map(time).map(Fact::Started));
    facts.extend(row.cwd.some().map(|cwd| Fact::Cwd(owned(cwd))));
    facts.extend(row.branch.some().map(|branch| Fact::Branch(owned(branch))));
    facts.extend(row.model.some().map(|model| Fact::Model(owned(model))));
    let title = |text| Fact::Title { rank: TitleRank::Given, text: owned(text) };
    facts.extend(row.title.some().map(title));
    let tokens = Tokens {
        input: row.input.count(),
        output: row.output.count(),
        cache_read: row.cache_read.count(),
        cache_write: row.cache_write.count(),
    };
    if tokens != Tokens::default() {
        facts.push(Fact::TotalTokens(tokens));
    }
    facts.push(Fact::PutAway(row.archived.count() > 0));
    facts.push(Fact::Ended(row.ended_at.get().copied().map(time)));
    Some(facts)
}

impl SessionRow<'_> {
    /// It says of itself that another one delegated it, even where that one is gone.
    fn is_delegate(&self) -> bool {
        let marked = self.config.get().is_some_and(|config| config.delegate_from.get().is_some());
        marked || self.source.text() == "subagent"
    }

    fn parent(&mut self) -> Option<(Cow<'static, str>, ParentKind)> {
        let is_delegate = self.is_delegate();
        let mut config = self.config.take().unwrap_or_default();
        let ended_before = |end: u64| self.started_at.get().is_some_and(|start| *start >= end);
        let branched = config.branched_from.get().is_some()
            || (self.parent_end.text() == "branched"
                && self.parent_ended_at.get().is_some_and(|end| ended_before(*end)));
        let kind = if is_delegate {
            ParentKind::Subagent
        } else if branched {
            ParentKind::Fork
        } else if self.parent_end.text() == "compression" && self.source.text() != "tool" {
            ParentKind::Compression
        } else {
            ParentKind::Subagent
        };
        let marked = config.delegate_from.some().or_else(|| config.branched_from.some());
        // The mark outlives the parent's row; `__orphaned__` stands for one that is not known any more.
        let id = self.parent.some().or(marked).filter(|id| id != "__orphaned__")?;
        Some((owned(id), kind))
    }
}

struct Hermes;

object! {
    struct Message<'a> {
        role: Str<'a> = "role",
        content: Raw<'a> = "content",
        tool_call_id: Str<'a> = "tool_call_id",
        tool_calls: Field<Vec<Field<Call<'a>>>> = "tool_calls",
        tool_name: Str<'a> = "tool_name",
        timestamp: Field<u64> = "timestamp",
        finish_reason: Str<'a> = "finish_reason",
        observed: Field<u64> = "observed",
    }
}

object! {
    struct Call<'a> {
        id: Str<'a> = "id",
        function: Field<Function<'a>> = "function",
    }
}

object! {
    struct Function<'a> {
        name: Str<'a> = "name",
        arguments: Str<'a> = "arguments",
    }
}

object! {
    /// A tool's answer, where it is an object.
    struct Answer<'a> {
        output: Head<'a> = "output",
        exit_code: Raw<'a> = "exit_code",
        error: Raw<'a> = "error",
        message: Raw<'a> = "message",
        success: Field<bool> = "success",
    }
}

/// What Hermes puts in the user's place when it has summed up the conversation, in the words of several
/// releases.
const SUMMARIES: [&str; 2] = ["[CONTEXT COMPACTION", "[CONTEXT SUMMARY]:"];

/// What older releases put there to have their own notes revised.
const REVIEWS: [&str; 2] = [
    "Review the conversation above and update the skill library",
    "Review the conversation above and consider saving to memory",
];

impl Parser for Hermes {
    fn line<'a>(&mut self, line: &'a [u8]) -> Parsed<'a> {
        lines::read(self, line)
    }

    fn state(&self) -> ParserState {
        ParserState::default()
    }
}

impl Records for Hermes {
    fn record<'t>(&mut self, json: &'t str, into: &mut Parsed<'t>) -> bool {
        match serde_json::from_str::<Field<Message<'t>>>(json) {
            Ok(Field::Is(message)) => understand(message, into),
            Ok(Field::Absent | Field::Wrong) => into.issues.push(issue::SHAPE),
            Err(_) => return false,
        }
        true
    }

    fn begins(json: &str) -> bool {
        json.starts_with("{\"role\"")
    }

    fn is_record(json: &str) -> bool {
        matches!(
            serde_json::from_str::<Field<Message<'_>>>(json),
            Ok(Field::Is(message)) if !message.role.text().is_empty()
        )
    }
}

fn understand<'a>(mut message: Message<'a>, into: &mut Parsed<'a>) {
    into.at = message.timestamp.get().copied().map(time);
    if message.misshapen() || into.at.is_none() {
        into.issues.push(issue::SHAPE);
    }
    let role = message.role.take().unwrap_or_default();
    match &*role {
        "user" => user(&message, into),
        "assistant" => assistant(message, into),
        "tool" => {
            let id = message.tool_call_id.some().unwrap_or_default();
            if message.tool_name.text() == "delegate_task" {
                into.facts.extend(dispatched(message.content, &id, into.at));
            }
            let (is_error, text) = answer(message.content);
            into.facts.push(Fact::ToolResult { id, is_error, text });
        }
        "system" => {}
        _ => into.issues.push(issue::UNKNOWN),
    }
}

fn user<'a>(message: &Message<'a>, into: &mut Parsed<'a>) {
    let text = message.content.head().take().unwrap_or_default();
    let reported = reported(&text);
    let begins = |with: &[&str]| with.iter().any(|words| text.trim_start().starts_with(words));
    if begins(&SUMMARIES) {
        into.facts.push(Fact::Compaction);
    } else if begins(&REVIEWS) {
        into.facts.push(Fact::Injected);
    } else if message.observed.count() == 0 {
        into.facts.push(Fact::Prompt { text });
    }
    // What was observed in a group was said to others: nobody answers it.
    into.facts.extend(reported);
}

object! {
    /// What is answered to `delegate_task`.
    struct Dispatch<'a> {
        status: Str<'a> = "status",
        id: Str<'a> = "delegation_id",
        goals: Field<Vec<Str<'a>>> = "goals",
    }
}

/// That delegates began in the background: one for all that were sent off together, since they report
/// back together.
fn dispatched<'a>(
    content: Raw<'_>,
    call: &Cow<'a, str>,
    at: Option<Timestamp>,
) -> Option<Fact<'a>> {
    let answer = serde_json::from_str::<String>(content.json()).ok()?;
    let mut dispatch: Dispatch<'_> = first(answer.as_bytes())?;
    let id = dispatch.id.some().filter(|_| dispatch.status.text() == "dispatched")?;
    let goals = dispatch.goals.take().unwrap_or_default();
    let goals: Vec<_> = goals.iter().map(Field::text).filter(|goal| !goal.is_empty()).collect();
    let who = delegation(id.into_owned(), Some(call.clone()));
    Some(Fact::SubagentStart { who, at, text: goals.join(" · ").into() })
}

/// That they are done, in what Hermes puts in the user's place then: `[ASYNC DELEGATION COMPLETE — <id>]`
/// and the like, of 0.19's `_format_async_delegation`.
fn reported(text: &str) -> Option<Fact<'static>> {
    let (heading, _) = text.trim_start().strip_prefix("[ASYNC DELEGATION")?.split_once(']')?;
    let id = heading.split_whitespace().rfind(|word| word.starts_with("deleg_"))?;
    let who = delegation(id.to_owned(), None);
    Some(Fact::SubagentStop { who, failed: false, text: Cow::Borrowed("") })
}

/// By the delegation: the sessions of the delegates are named nowhere in their parent's records.
fn delegation<'a>(id: String, call: Option<Cow<'a, str>>) -> Subagent<'a> {
    Subagent { id: id.into(), names_session: false, call, tool: None }
}

fn assistant<'a>(mut message: Message<'a>, into: &mut Parsed<'a>) {
    let text = message.content.head().take().unwrap_or_default();
    let calls = message.tool_calls.take().unwrap_or_default();
    let interrupted = text.starts_with("Operation interrupted");
    if SUMMARIES.iter().any(|words| text.starts_with(words)) {
        into.facts.push(Fact::Compaction);
        return;
    }
    if !text.trim().is_empty() && !interrupted {
        into.facts.push(Fact::Message { id: None, text });
    }
    let open = !calls.is_empty();
    for mut call in calls {
        let Some(mut call) = call.take() else {
            into.issues.push(issue::SHAPE);
            continue;
        };
        let mut function = call.function.take().unwrap_or_default();
        let name = function.name.some().unwrap_or_default();
        let asks = is_question(&Harness::Hermes, &name);
        let summary = arguments(function.arguments.text());
        into.facts.push(Fact::ToolCall {
            id: call.id.some().unwrap_or_default(),
            name,
            summary,
            input: function.arguments.take().unwrap_or_default().into(),
            asks,
        });
    }
    if interrupted {
        into.facts.push(Fact::TurnEnd(TurnResult::Interrupted));
    } else if !open && message.finish_reason.text() != "incomplete" {
        into.facts.push(Fact::TurnEnd(TurnResult::Completed));
    }
}

fn arguments(json: &str) -> String {
    match serde_json::from_str::<Field<Input<'_>>>(json) {
        Ok(Field::Is(input)) => input.summary(),
        _ => of_text(json),
    }
}

/// Whether a tool's answer tells of a failure, and what it printed. There is no column for it: Hermes
/// itself looks for an exit code, else for an error, in the answer's JSON.
fn answer(content: Raw<'_>) -> (bool, Long<'_>) {
    let text = content.head().take().unwrap_or_default();
    if !text.starts_with('{') {
        return (text.starts_with("Error"), text);
    }
    let Ok(whole) = serde_json::from_str::<String>(content.json()) else { return (false, text) };
    let Some(mut answer) = first::<Answer<'_>>(whole.as_bytes()) else { return (false, text) };
    let told = |raw: Raw<'_>| !matches!(raw.json(), "" | "null" | "\"\"" | "false");
    let failed = match answer.exit_code.json() {
        "" | "null" => {
            let says_no = matches!(answer.success, Field::Is(false));
            told(answer.error) || (says_no && told(answer.message))
        }
        code => code != "0",
    };
    let printed = answer.output.take().filter(|output| !output.is_empty());
    let printed = printed.map(|printed| printed.into_head().into_owned());
    let reason = told(answer.error).then(|| answer.error.head().text().to_owned());
    (
        failed,
        match printed.or(reason) {
            Some(line) => text.beginning(Cow::Owned(line)),
            None => text,
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(line: &str) -> Vec<Fact<'_>> {
        let parsed = Hermes.line(line.as_bytes());
        assert!(parsed.issues.is_empty(), "{line}: {:?}", parsed.issues);
        parsed.facts
    }

    #[test]
    fn databases_are_told_by_their_paths() {
        for path in
            ["state.db", "state.db-wal", "profiles/second/state.db", "profiles/w/state.db-wal"]
        {
            assert_eq!(classify(path), FileRole::Database, "{path}");
        }
        for path in [
            "state.db-shm",
            "kanban.db",
            "profiles/state.db",
            "profiles/a/b/state.db",
            "x/state.db",
        ] {
            assert_eq!(classify(path), FileRole::Ignored, "{path}");
        }
    }

    #[test]
    fn a_turn_is_open_until_somebody_says_something_without_calling_a_tool() {
        let call = r#"{"role":"assistant","content":"","tool_calls":[{"id":"c","function":{"name":"terminal","arguments":"{\"command\": \"make\"}"}}],"timestamp":1,"finish_reason":"tool_calls"}"#;
        let called = Fact::ToolCall {
            id: "c".into(),
            name: "terminal".into(),
            summary: "make".into(),
            input: r#"{"command": "make"}"#.into(),
            asks: false,
        };
        assert_eq!(facts(call), [called]);
        let end = r#"{"role":"assistant","content":"Done.","timestamp":1,"finish_reason":"stop"}"#;
        let said = Fact::Message { id: None, text: "Done.".into() };
        assert_eq!(facts(end), [said, Fact::TurnEnd(TurnResult::Completed)]);
        let cut = r#"{"role":"assistant","content":"Operation interrupted.","timestamp":1}"#;
        assert_eq!(facts(cut), [Fact::TurnEnd(TurnResult::Interrupted)]);
    }

    #[test]
    fn failures_are_read_from_the_answer() {
        let failed = |content: &str| {
            let content = serde_json::to_string(content).unwrap();
            let line = format!(
                r#"{{"role":"tool","tool_call_id":"c","content":{content},"timestamp":1}}"#
            );
            match facts(&line).as_slice() {
                [Fact::ToolResult { is_error, .. }] => *is_error,
                other => panic!("{other:?}"),
            }
        };
        for content in [
            r#"{"output": "", "exit_code": 3, "error": null}"#,
            r#"{"output": "", "exit_code": -1, "error": "timed out"}"#,
            r#"{"error": "no such file"}"#,
            r#"{"success": false, "message": "full"}"#,
            "Error executing tool: no",
        ] {
            assert!(failed(content), "{content}");
        }
        for content in [
            r#"{"output": "x", "exit_code": 0, "error": null}"#,
            r#"{"output": "grep: nothing", "exit_code": 0, "error": ""}"#,
            r#"{"success": true, "message": "saved"}"#,
            "plain text",
            "",
            "{broken",
        ] {
            assert!(!failed(content), "{content}");
        }
    }

    #[test]
    fn what_nobody_asked_is_no_prompt() {
        let user = |content: &str, more: &str| {
            let line = format!(r#"{{"role":"user","content":{content},"timestamp":1{more}}}"#);
            facts(&line).into_iter().map(|fact| format!("{fact:?}")).collect::<Vec<_>>()
        };
        assert_eq!(user(r#""[CONTEXT COMPACTION — REFERENCE ONLY] Earlier""#, ""), ["Compaction"]);
        assert_eq!(user(r#""chatter""#, r#","observed":1"#), [""; 0]);
        assert_eq!(
            user(r#"[{"type":"text","text":"look"},{"type":"image_url"}]"#, ""),
            [r#"Prompt { text: "look" }"#]
        );
    }

    #[test]
    fn a_delegate_of_nobody_known_is_one_all_the_same() {
        let told = |row: &str| session(row.as_bytes()).unwrap().contains(&Fact::Delegate);
        assert!(told(r#"{"config":{"_delegate_from":"__orphaned__"}}"#));
        assert!(told(r#"{"source":"subagent"}"#));
        assert!(!told(r#"{"config":{"_branched_from":"__orphaned__"}}"#) && !told("{}"));
        assert!(!told(r#"{"config":{"_delegate_from":"p"}}"#), "its parent says it");
    }

    #[test]
    fn what_a_person_put_away_is_told() {
        let told = |row: &str| session(row.as_bytes()).unwrap().contains(&Fact::PutAway(true));
        assert!(told(r#"{"archived":1}"#));
        // An older release has no such column.
        assert!(!told(r#"{"archived":0}"#) && !told(r#"{"archived":null}"#) && !told("{}"));
    }

    #[test]
    fn children_are_told_apart() {
        let parent = |row: &str| {
            let facts = session(row.as_bytes()).unwrap();
            facts.into_iter().find_map(|fact| match fact {
                Fact::Parent { id, kind } => Some((id.into_owned(), kind)),
                _ => None,
            })
        };
        let kind = |row: &str| parent(row).map(|(_, kind)| kind);
        assert_eq!(
            kind(r#"{"parent":"p","parent_end":"compression"}"#),
            Some(ParentKind::Compression)
        );
        assert_eq!(
            kind(r#"{"parent":"p","config":{"_branched_from":"p"},"parent_end":"compression"}"#),
            Some(ParentKind::Fork)
        );
        assert_eq!(
            kind(r#"{"parent":"p","parent_end":"branched","parent_ended_at":5,"started_at":6}"#),
            Some(ParentKind::Fork)
        );
        assert_eq!(
            kind(r#"{"parent":"p","config":{"_delegate_from":"p"},"parent_end":"compression"}"#),
            Some(ParentKind::Subagent)
        );
        assert_eq!(kind(r#"{"parent":"p"}"#), Some(ParentKind::Subagent));
        assert_eq!(kind(r#"{"config":{"_delegate_from":"__orphaned__"}}"#), None);
        assert_eq!(kind("{}"), None);
    }
}
