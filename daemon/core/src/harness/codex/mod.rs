//! Codex's rollouts, in both vocabularies: 0.98's `user_message` and `agent_message`, and the
//! `item_completed` that 0.169 writes instead in "paginated" files.
//!
//! Every message is in a file twice or more (as an event, and as what the model was sent), so only
//! events count as prompts and messages. A thread made by one client and resumed by another may mix
//! the vocabularies; within a turn the newer one wins, and what one says right after the other said
//! the same is a repetition.
//!
//! That a delegate began is said by the item of its `spawn_agent` (0.169), before that by the call's
//! result; that it is done, where its parent waits for it or closes it, or is notified. A parent that does
//! none of it is never told. Not here: the header ([`header`]), calls and their results ([`tools`]),
//! delegates ([`delegates`]), paths ([`files`]).

mod delegates;
mod files;
mod header;
mod tools;

use rrd_proto::{Timestamp, Tokens, TurnResult};

use self::{
    delegates::States,
    header::{Git, Source},
};
use super::{
    Format, Parser, ParserState,
    head::{Head, Raw},
    json::{Field, Str, object},
    lines::{self, Records},
    summary::tells_of_a_limit,
};
use crate::{
    fact::{Fact, Origin, Parsed, TitleRank, issue},
    long::Long,
};

/// What [`super::formats`] lists.
pub(super) const FORMAT: Format = Format {
    name: "codex",
    home_var: "CODEX_HOME",
    user_home_var: None,
    sessions_var: None,
    several_homes: false,
    homes: &[".codex"],
    other_homes: &[],
    traces: Some(("thread-writer-locks", crate::live::LivenessBy::Lock)),
    folders: &["sessions", "archived_sessions", "thread-writer-locks"],
    classify: files::classify,
    parser: |state| Box::new(Codex { state }),
    entries: None,
    sidecar: |_| None,
    live_entry: |_| None,
    titles: files::titles,
    tables: None,
    asks: None,
};

object! {
    struct Record<'a> {
        timestamp: Str<'a> = "timestamp",
        ordinal: Field<u64> = "ordinal",
        kind: Str<'a> = "type",
        // Large, and moved about.
        payload: Field<Box<Payload<'a>>> = "payload",
    }
}

object! {
    /// The fields of all payloads: which ones mean something depends on the record's type.
    struct Payload<'a> {
        kind: Str<'a> = "type",
        id: Str<'a> = "id",
        // Headers.
        session_id: Str<'a> = "session_id",
        timestamp: Str<'a> = "timestamp",
        cwd: Str<'a> = "cwd",
        originator: Str<'a> = "originator",
        cli_version: Str<'a> = "cli_version",
        source: Field<Source<'a>> = "source",
        parent_thread_id: Str<'a> = "parent_thread_id",
        forked_from_id: Str<'a> = "forked_from_id",
        history_mode: Str<'a> = "history_mode",
        history_start: Field<u64> = "subagent_history_start_ordinal",
        git: Field<Git<'a>> = "git",
        model: Str<'a> = "model",
        approval_policy: Str<'a> = "approval_policy",
        approvals_reviewer: Str<'a> = "approvals_reviewer",
        // Events.
        message: Head<'a> = "message",
        message_kind: Str<'a> = "kind",
        thread_name: Str<'a> = "thread_name",
        item: Field<Item<'a>> = "item",
        info: Field<TokenInfo> = "info",
        thread_usage: Field<Usage> = "thread_token_usage",
        error: Field<Failure<'a>> = "error",
        error_info: Raw<'a> = "codex_error_info",
        exit_code: Raw<'a> = "exit_code",
        success: Field<bool> = "success",
        // Calls and results.
        status: Str<'a> = "status",
        name: Str<'a> = "name",
        call_id: Str<'a> = "call_id",
        arguments: Raw<'a> = "arguments",
        input: Raw<'a> = "input",
        action: Raw<'a> = "action",
        output: Raw<'a> = "output",
        // What the model was sent.
        role: Str<'a> = "role",
        content: Raw<'a> = "content",
    }
}

object! {
    struct Item<'a> {
        kind: Str<'a> = "type",
        id: Str<'a> = "id",
        content: Head<'a> = "content",
        status: Str<'a> = "status",
        source: Str<'a> = "source",
        // Of calls that concern delegates.
        tool: Str<'a> = "tool",
        receivers: Field<Vec<Str<'a>>> = "receiver_thread_ids",
        prompt: Head<'a> = "prompt",
        states: Field<States<'a>> = "agents_states",
    }
}

object! {
    struct Failure<'a> {
        message: Head<'a> = "message",
        info: Raw<'a> = "codex_error_info",
    }
}

object! {
    struct TokenInfo {
        total: Field<Usage> = "total_token_usage",
    }
}

object! {
    struct Usage {
        input: Field<u64> = "input_tokens",
        cached: Field<u64> = "cached_input_tokens",
        cache_write: Field<u64> = "cache_write_input_tokens",
        output: Field<u64> = "output_tokens",
    }
}

impl Usage {
    fn fact<'a>(&self) -> Fact<'a> {
        Fact::TotalTokens(Tokens {
            // Codex counts what came from the cache as input, too.
            input: self.input.count().saturating_sub(self.cached.count()),
            output: self.output.count(),
            cache_read: self.cached.count(),
            cache_write: self.cache_write.count(),
        })
    }
}

struct Codex {
    state: ParserState,
}

impl Parser for Codex {
    fn line<'a>(&mut self, line: &'a [u8]) -> Parsed<'a> {
        lines::read(self, line)
    }

    fn state(&self) -> ParserState {
        self.state.clone()
    }
}

impl Records for Codex {
    fn record<'t>(&mut self, json: &'t str, into: &mut Parsed<'t>) -> bool {
        match serde_json::from_str::<Field<Record<'t>>>(json) {
            Ok(Field::Is(record)) => self.understand(record, into),
            Ok(Field::Absent | Field::Wrong) => into.issues.push(issue::SHAPE),
            Err(_) => return false,
        }
        true
    }

    fn begins(json: &str) -> bool {
        json.starts_with("{\"timestamp\"")
    }

    fn is_record(json: &str) -> bool {
        matches!(
            serde_json::from_str::<Field<Record<'_>>>(json),
            Ok(Field::Is(record)) if record.payload.get().is_some()
                && !record.kind.text().is_empty()
                && !record.timestamp.text().is_empty()
        )
    }
}

impl Codex {
    fn understand<'a>(&mut self, mut record: Record<'a>, into: &mut Parsed<'a>) {
        if !record.timestamp.text().is_empty() {
            into.at = Timestamp::parse(record.timestamp.text());
        }
        if record.misshapen() || into.at.is_none() {
            into.issues.push(issue::SHAPE);
        }
        let kind = record.kind.take().unwrap_or_default();
        let payload = record.payload.take().unwrap_or_default();
        if kind == "session_meta" {
            self.header(payload, into);
            return;
        }
        if record.ordinal.get().is_some_and(|ordinal| *ordinal < self.state.copied_below) {
            into.origin = Origin::Copied;
            return;
        }
        match &*kind {
            "event_msg" => self.event(payload, into),
            "response_item" => tools::item(payload, record.timestamp.take(), &self.state, into),
            "turn_context" => {
                let mut context = payload;
                self.state.never_asks = context.approval_policy.text() == "never"
                    || !matches!(context.approvals_reviewer.text(), "" | "user");
                into.facts.extend(context.cwd.some().map(Fact::MovedTo));
                into.facts.extend(context.model.some().map(Fact::Model));
            }
            "compacted" => into.facts.push(Fact::Compaction),
            "token_usage_record" => into.facts.extend(payload.thread_usage.get().map(Usage::fact)),
            "world_state" | "inter_agent_communication" | "inter_agent_communication_metadata" => {}
            "" => {
                if !into.issues.contains(&issue::SHAPE) {
                    into.issues.push(issue::SHAPE);
                }
            }
            _ => into.issues.push(issue::UNKNOWN),
        }
    }

    fn event<'a>(&mut self, mut payload: Box<Payload<'a>>, into: &mut Parsed<'a>) {
        let kind = payload.kind.take().unwrap_or_default();
        match &*kind {
            "task_started" | "turn_started" => {
                self.turn(true);
                into.facts.push(Fact::TurnStart);
            }
            "task_complete" | "turn_complete" => {
                let result = match payload.error.take() {
                    Some(error) => self.failed(error, into),
                    None => TurnResult::Completed,
                };
                self.turn(false);
                into.facts.push(Fact::TurnEnd(result));
            }
            "turn_aborted" => {
                self.turn(false);
                into.facts.push(Fact::TurnEnd(TurnResult::Interrupted));
            }
            "error" => {
                let error = Failure { message: payload.message, info: payload.error_info };
                let result = self.failed(error, into);
                // Within a turn, its end says so once more.
                if !self.state.in_turn {
                    into.facts.push(Fact::TurnEnd(result));
                }
            }
            "user_message" if matches!(payload.message_kind.text(), "" | "plain") => {
                let text = self.legacy(&mut payload, b'u', into);
                into.facts.extend(text.map(|text| Fact::Prompt { text }));
            }
            "agent_message" => {
                if let Some(text) = self.legacy(&mut payload, b'a', into) {
                    into.facts.push(Fact::Message { id: None, text });
                    // 0.98 records no end of a turn; a call that follows opens it again.
                    if !self.state.in_turn {
                        into.facts.push(Fact::TurnEnd(TurnResult::Completed));
                    }
                }
            }
            "item_completed" => match payload.item.take() {
                Some(item) => self.completed(item, into),
                None => into.issues.push(issue::SHAPE),
            },
            "token_count" => {
                let total = payload.info.get().and_then(|info| info.total.get());
                into.facts.extend(total.map(Usage::fact));
            }
            "thread_name_updated" => {
                let title = payload.thread_name.some();
                into.facts.extend(title.map(|text| Fact::Title { rank: TitleRank::Given, text }));
            }
            "exec_command_end" | "patch_apply_end" => tools::ended(payload, into),
            _ => {}
        }
    }

    /// A completed item of the newer vocabulary.
    fn completed<'a>(&mut self, mut item: Item<'a>, into: &mut Parsed<'a>) {
        let kind = item.kind.take().unwrap_or_default();
        if matches!(&*kind, "UserMessage" | "AgentMessage") {
            self.state.paginated = true;
            if item.content.wrong() {
                into.issues.push(issue::SHAPE);
            }
            let text = item.content.take().unwrap_or_default();
            let voice = if kind == "UserMessage" { b'u' } else { b'a' };
            if self.repeats(voice, &text, b'2') {
                return;
            }
            into.facts.push(match voice {
                b'u' => Fact::Prompt { text },
                _ => Fact::Message { id: item.id.some(), text },
            });
        } else if matches!(item.status.text(), "failed" | "declined")
            // What the user runs in the prompt is not the agent's.
            && item.source.text() != "user_shell"
        {
            into.facts.extend(item.id.some().map(|id| Fact::ToolFailed { id }));
        } else if kind == "CollabAgentToolCall" {
            delegates::completed(item, into);
        }
    }

    /// The text of a message of the older vocabulary, unless the newer one says it too.
    fn legacy<'a>(
        &mut self,
        payload: &mut Payload<'a>,
        voice: u8,
        into: &mut Parsed<'a>,
    ) -> Option<Long<'a>> {
        if payload.message.wrong() {
            into.issues.push(issue::SHAPE);
        }
        let text = payload.message.take().unwrap_or_default();
        let repeated =
            self.state.paginated && self.state.in_turn || self.repeats(voice, &text, b'1');
        (!repeated).then_some(text)
    }

    /// Whether the other vocabulary has just said the same; remembers it otherwise.
    fn repeats(&mut self, voice: u8, text: &str, vocabulary: u8) -> bool {
        let said =
            |vocabulary: u8| crate::hash(&[&[voice, vocabulary], text.trim().as_bytes()].concat());
        let other = if vocabulary == b'1' { b'2' } else { b'1' };
        let repeated = self.state.said == said(other);
        self.state.said = if repeated { 0 } else { said(vocabulary) };
        repeated
    }

    fn turn(&mut self, open: bool) {
        self.state.in_turn = open;
        self.state.said = 0;
    }

    /// What a failure means for its turn; it is a fact unless it was said just before.
    fn failed<'a>(&mut self, mut error: Failure<'a>, into: &mut Parsed<'a>) -> TurnResult {
        let text = error.message.take().unwrap_or_default();
        let rate_limited = tells_of_a_limit(error.info.json()) || tells_of_a_limit(&text);
        let said = crate::hash(&[b"error ", text.as_bytes()].concat());
        if self.state.said != said {
            self.state.said = said;
            into.facts.push(Fact::Error { text, rate_limited });
        }
        if rate_limited { TurnResult::RateLimited } else { TurnResult::Error }
    }
}

#[cfg(test)]
mod tests;
