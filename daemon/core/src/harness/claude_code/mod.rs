//! Claude Code's transcripts, as 2.1.197 and 2.1.329 write them and as older releases did.
//!
//! A record is one line; "chain" records (with a `uuid`) make the conversation, the others are
//! bookkeeping that is appended again and again. One API message comes as several records with one
//! id. That a delegate began is said by the result of its call, that it is done by the same one or by a
//! later notification; of one that was killed together with its session nothing is.
//! Not here: its files beside the transcripts ([`files`]), what a user record is
//! ([`prompt`]), which fields are read ([`record`]).

mod files;
mod prompt;
mod record;

use rrd_proto::{Harness, ParentKind, Timestamp, Tokens, TurnResult};

use self::{
    prompt::{Said, queued, said, task},
    record::{Block, Content, Outcome, Record, extra, is_chain, is_known},
};
use super::{
    Format, Parser, ParserState, is_question,
    json::Field,
    lines::{self, Records},
    summary::{of_json, tells_of_a_limit},
};
use crate::{
    fact::{Fact, Origin, Parsed, Subagent, Text, TitleRank, issue},
    long::Long,
};

/// What [`super::formats`] lists.
pub(super) const FORMAT: Format = Format {
    name: "claude-code",
    home_var: "CLAUDE_CONFIG_DIR",
    user_home_var: None,
    sessions_var: None,
    several_homes: true,
    // The second is where some wrappers put it; one that is missing costs nothing.
    homes: &[".claude", ".config/claude"],
    other_homes: &[],
    traces: Some(("sessions", crate::live::LivenessBy::Registry)),
    folders: &["projects", "sessions"],
    classify: files::classify,
    parser: |state| Box::new(ClaudeCode { state }),
    entries: None,
    sidecar: files::sidecar,
    live_entry: files::live_entry,
    titles: |_| None,
    tables: None,
    asks: None,
};

/// Between a prompt and the snapshot of its files, which is written before it but dated after it, lies a
/// quarter of a second. A prompt older than that by so much was not what the file was begun for.
const SNAPSHOT_LAG_MS: i64 = 5_000;

/// The first release whose processes all keep a registry entry.
const KEEPS_REGISTRY: [u64; 3] = [2, 1, 197];

struct ClaudeCode {
    state: ParserState,
}

impl Parser for ClaudeCode {
    fn line<'a>(&mut self, line: &'a [u8]) -> Parsed<'a> {
        lines::read(self, line)
    }

    fn state(&self) -> ParserState {
        self.state.clone()
    }
}

impl Records for ClaudeCode {
    fn record<'t>(&mut self, json: &'t str, into: &mut Parsed<'t>) -> bool {
        match serde_json::from_str::<Field<Record<'t>>>(json) {
            Ok(Field::Is(record)) => self.understand(record, json, into),
            Ok(Field::Absent | Field::Wrong) => into.issues.push(issue::SHAPE),
            Err(_) => return false,
        }
        true
    }

    fn begins(json: &str) -> bool {
        const KEYS: [&str; 9] = [
            "parentUuid\"",
            "logicalParentUuid\"",
            "isSidechain\"",
            "uuid\"",
            "sessionId\"",
            "promptId\"",
            "agentId\"",
            "message\":{",
            "type\"",
        ];
        let Some(key) = json.strip_prefix("{\"") else { return false };
        KEYS.iter().any(|known| key.starts_with(known))
            // Content blocks have a type too.
            && match key.strip_prefix("type\":\"") {
                Some(kind) => kind.split('"').next().is_some_and(is_known),
                None => true,
            }
    }

    fn is_record(json: &str) -> bool {
        let Ok(Field::Is(record)) = serde_json::from_str::<Field<Record<'_>>>(json) else {
            return false;
        };
        // A progress record may hold another agent's records, which lack the session.
        let named = !record.session_id.text().is_empty();
        match record.kind.text() {
            kind if is_chain(kind) => {
                named && !record.uuid.text().is_empty() && !record.timestamp.text().is_empty()
            }
            "summary" => json.contains("\"leafUuid\""),
            "file-history-snapshot" => json.contains("\"snapshot\""),
            kind => named && is_known(kind),
        }
    }
}

impl ClaudeCode {
    fn understand<'a>(&mut self, mut record: Record<'a>, json: &'a str, into: &mut Parsed<'a>) {
        if !record.timestamp.text().is_empty() {
            into.at = Timestamp::parse(record.timestamp.text());
        }
        let misdated = into.at.is_none() && !matches!(record.timestamp, Field::Absent);
        if let Some(uuid) = record.uuid.some() {
            into.key = Some(crate::hash(uuid.as_bytes()));
        }
        let kind = record.kind.take().unwrap_or_default();
        if misdated || kind.is_empty() || is_chain(&kind) && record.misshapen() {
            into.issues.push(issue::SHAPE);
        }
        match &*kind {
            kind if is_chain(kind) => self.chain(kind, record, json, into),
            // Put before the first record of a conversation, it is the file's own: what is older came
            // with a fork.
            "queue-operation" if !self.state.header_seen && self.state.copied_before.is_none() => {
                self.state.copied_before = into.at;
            }
            // Of those before the first record the last one is of the first prompt of the file's own.
            "file-history-snapshot" if !self.state.header_seen => {
                let mut extra = extra(json);
                let at = extra.snapshot.take().and_then(|of| Timestamp::parse(of.timestamp.text()));
                let key = crate::hash(extra.of_message.text().as_bytes());
                self.state.begun_for = at.map(|at| (key, at));
            }
            // Whoever leaves takes its delegates along.
            "cost-state" => into.facts.push(Fact::AtWork(0)),
            kind @ ("custom-title" | "ai-title" | "summary" | "worktree-state") => {
                rare(kind, json, into)
            }
            "" => {}
            kind if is_known(kind) => {}
            _ => into.issues.push(issue::UNKNOWN),
        }
    }

    fn chain<'a>(
        &mut self,
        kind: &str,
        mut record: Record<'a>,
        json: &'a str,
        into: &mut Parsed<'a>,
    ) {
        into.origin = Origin::Chain;
        let side = record.is_sidechain.is_true();
        if !self.state.header_seen && !self.state.delegate {
            if !side {
                self.state.header_seen = true;
                self.begins_with(into);
            } else if let Some(agent) = record.agent_id.get()
                && !agent.is_empty()
            {
                // Flat files of releases before 2.1 name their parent nowhere else.
                self.state.delegate = true;
                if let Some(id) = record.session_id.get() {
                    into.facts.push(Fact::Parent { id: id.clone(), kind: ParentKind::Subagent });
                }
            }
        }
        if side && !self.state.delegate {
            // A delegate's work, inline in its parent's file: not the parent's own.
            return;
        }
        if kind == "assistant" && !side {
            self.fork(&mut record, into);
        }
        let outcome = record.outcome.take();
        let said = match kind {
            "user" => Some(said(&mut record, into)),
            "attachment" => record.attachment.take().map(queued),
            _ => None,
        };
        if let Some(outcome) = outcome {
            sent(outcome, into);
        }
        if self.state.begun_for.is_some_and(|(key, _)| into.key == Some(key)) {
            (self.state.begun_for, self.state.copied_before) = (None, None);
        }
        let of_parent =
            into.at.is_some_and(|at| self.state.copied_before.is_some_and(|own| at < own));
        if of_parent && !answers_for_nobody(&record) {
            into.origin = Origin::Copied;
        }
        if self.state.copying && into.origin == Origin::Chain {
            // Copies carry no mark of their own except on answers; a prompt begins what may be new.
            match said {
                Some(Said::Prompt(_)) if kind == "user" => self.state.copying = false,
                _ => into.origin = Origin::Copied,
            }
        }
        place(&mut record, into);
        match (said, kind) {
            (Some(said), _) => self.user(said, into),
            (None, "assistant") => assistant(&mut record, json, into),
            (None, "system") => match record.subtype.text() {
                "turn_duration" => {
                    into.facts.push(Fact::AtWork(extra(json).background.count()));
                    into.facts.push(Fact::TurnEnd(TurnResult::Completed));
                }
                "compact_boundary" => into.facts.push(Fact::Compaction),
                _ => {}
            },
            (None, _) => {}
        }
    }

    /// Takes the first record: older than the prompt that the file was begun for, it came with a fork. Before
    /// 2.1.329 nothing else tells so in a terminal.
    fn begins_with(&mut self, into: &Parsed<'_>) {
        let Some((key, at)) = self.state.begun_for else { return };
        let old = into.at.is_some_and(|first| at.since(first) > SNAPSHOT_LAG_MS);
        if old && into.key != Some(key) {
            self.state.copied_before = self.state.copied_before.max(Some(at));
        } else {
            self.state.begun_for = None;
        }
    }

    /// 2.1.329 marks the answers that a fork copied with the session that asked for them.
    fn fork<'a>(&mut self, record: &mut Record<'a>, into: &mut Parsed<'a>) {
        if let Some(id) = record.request_session_id.some()
            && id != record.session_id.text()
        {
            self.state.copying = true;
            into.origin = Origin::Copied;
            into.facts.push(Fact::Parent { id, kind: ParentKind::Fork });
        } else if let Some(id) = record.forked_from.take().and_then(|mut of| of.session_id.some())
            && id != record.session_id.text()
        {
            into.facts.push(Fact::Parent { id, kind: ParentKind::Fork });
        }
    }

    fn user<'a>(&mut self, said: Said<'a>, into: &mut Parsed<'a>) {
        let fact = match said {
            Said::Prompt(text) => {
                // A delegate's first prompt is its task.
                if self.state.delegate && !self.state.header_seen {
                    self.state.header_seen = true;
                    let text = text.clone().into_head();
                    into.facts.push(Fact::Title { rank: TitleRank::Task, text });
                }
                Fact::Prompt { text }
            }
            Said::Peer(id, text) => Fact::PeerMessage { id, text },
            Said::Injected(text) => {
                if let Some(task) = task(&text) {
                    into.facts.push(Fact::Returned { id: task.id.to_owned().into() });
                    // Last of the record, as it is said of some only: what is said of it keeps its place.
                    into.facts.push(Fact::Injected);
                    into.facts.extend(task.stop());
                    return;
                }
                Fact::Injected
            }
            Said::Interrupted => Fact::TurnEnd(TurnResult::Interrupted),
            Said::Nothing => return,
        };
        into.facts.push(fact);
    }
}

/// Whoever resumes or forks what ended without an answer puts one there: it is its own.
fn answers_for_nobody(record: &Record<'_>) -> bool {
    let model = record.message.get().map(|message| message.model.text());
    model == Some("<synthetic>") && !record.is_api_error.is_true()
}

/// What the call that this record holds the result of has sent: a message, or a delegate.
fn sent<'a>(mut outcome: Outcome<'a>, into: &mut Parsed<'a>) {
    let of_call = into.facts.iter().position(|fact| matches!(fact, Fact::ToolResult { .. }));
    let Some(at) = of_call else { return };
    let Fact::ToolResult { id: call, .. } = &into.facts[at] else { return };
    if let Some(id) = outcome.message_id.some() {
        into.facts.insert(at, Fact::Sent { call: call.clone(), id });
        return;
    }
    let status = outcome.status.take().unwrap_or_default();
    if !matches!(&*status, "async_launched" | "completed") {
        return;
    }
    let Some(id) = outcome.agent_id.some() else { return };
    let who = subagent(id.clone(), Some(call.clone()));
    let prompt = outcome.prompt.take().unwrap_or_default();
    let summary = outcome.description.some();
    let text = match &summary {
        Some(summary) => prompt.beginning(summary.clone()),
        None => prompt,
    };
    let told = if status == "completed" {
        // It was waited for, so that nothing is written before it is done. When it began follows from how
        // long it ran; before that was said, from nothing.
        let took = outcome.took_ms.get().and_then(|took| i64::try_from(*took).ok());
        let began = |(at, took): (Timestamp, i64)| at.as_millis().saturating_sub(took);
        let began = into.at.zip(took).map(began).map(Timestamp::from_millis);
        [
            Fact::SubagentStart { who: who.clone(), at: began, text },
            Fact::SubagentStop { who, failed: false, text: status },
        ]
    } else {
        let sent_off = Fact::SentOff { id, summary: summary.unwrap_or_default() };
        [Fact::SubagentStart { who, at: into.at, text }, sent_off]
    };
    into.facts.splice(at..at, told);
}

fn subagent<'a>(id: Text<'a>, call: Option<Text<'a>>) -> Subagent<'a> {
    Subagent { id, names_session: true, call, tool: None }
}

/// Where and how the session runs, as of this record.
fn place<'a>(record: &mut Record<'a>, into: &mut Parsed<'a>) {
    into.facts.extend(record.cwd.some().map(Fact::Cwd));
    // "HEAD": not a repository, or detached; never a branch's name.
    into.facts.extend(record.branch.some().filter(|name| name != "HEAD").map(Fact::Branch));
    if let Some(version) = record.version.some() {
        if numbers(&version) >= KEEPS_REGISTRY {
            into.facts.push(Fact::LeavesTrace);
        }
        into.facts.push(Fact::Version(version));
    }
    match record.entrypoint.text() {
        // `--bg`, which nobody sits at.
        "cli" if record.session_kind.text() == "bg" => into.facts.push(Fact::Interactive(false)),
        "cli" | "claude-vscode" | "claude-desktop" => into.facts.push(Fact::Interactive(true)),
        sdk if sdk.starts_with("sdk-") => into.facts.push(Fact::Interactive(false)),
        _ => {}
    }
}

fn assistant<'a>(record: &mut Record<'a>, json: &'a str, into: &mut Parsed<'a>) {
    let Some(mut message) = record.message.take() else {
        into.issues.push(issue::SHAPE);
        return;
    };
    let mut misshapen = message.misshapen();
    let mut text = Long::default();
    let mut calls = Vec::new();
    match message.content.take() {
        Some(Content::Text(whole)) => text = whole.into(),
        Some(Content::Blocks(blocks)) => {
            for block in blocks {
                let Field::Is(mut block) = block else {
                    misshapen = true;
                    continue;
                };
                misshapen |= block.misshapen();
                match block.kind.text() {
                    "text" if text.is_empty() => text = block.text.take().unwrap_or_default(),
                    "text" => text.and(block.text.json()),
                    "tool_use" => calls.push(call(block)),
                    _ => {}
                }
            }
        }
        None => {}
    }
    if misshapen && !into.issues.contains(&issue::SHAPE) {
        into.issues.push(issue::SHAPE);
    }
    if record.is_api_error.is_true() {
        let extra = extra(json);
        let rate_limited = extra.api_error_status.count() == 429
            || tells_of_a_limit(extra.error.text())
            || tells_of_a_limit(&text);
        into.facts.push(Fact::Error { text, rate_limited });
        let result = if rate_limited { TurnResult::RateLimited } else { TurnResult::Error };
        into.facts.push(Fact::TurnEnd(result));
        return;
    }
    into.facts.extend(message.model.some().filter(|name| name != "<synthetic>").map(Fact::Model));
    let id = message.id.some();
    into.facts.push(Fact::Message { id: id.clone(), text });
    if let (Some(id), Some(usage)) = (id, message.usage.get()) {
        let tokens = Tokens {
            input: usage.input.count(),
            output: usage.output.count(),
            cache_read: usage.cache_read.count(),
            cache_write: usage.cache_write.count(),
        };
        into.facts.push(Fact::MessageTokens { id, tokens });
    }
    into.facts.extend(calls);
    // 2.1.329 repeats the message's stop reason on each of its records, so this may come early;
    // what follows opens the turn again.
    if matches!(message.stop_reason.text(), "end_turn" | "stop_sequence" | "max_tokens" | "refusal")
    {
        into.facts.push(Fact::TurnEnd(TurnResult::Completed));
    }
}

fn call(mut block: Block<'_>) -> Fact<'_> {
    let name = block.name.take().unwrap_or_default();
    Fact::ToolCall {
        id: block.id.take().unwrap_or_default(),
        summary: of_json(block.input.json()),
        input: Long::input(block.input.json()),
        asks: is_question(&Harness::ClaudeCode, &name),
        name,
    }
}

/// Records that are too rare to look for their fields in every line.
fn rare<'a>(kind: &str, json: &'a str, into: &mut Parsed<'a>) {
    let mut extra = extra(json);
    let (rank, text) = match kind {
        "custom-title" => (TitleRank::Given, &mut extra.custom_title),
        "ai-title" => (TitleRank::Generated, &mut extra.ai_title),
        "summary" => (TitleRank::Summary, &mut extra.summary),
        _ => {
            let cwd = extra.worktree.take().and_then(|mut worktree| worktree.original_cwd.some());
            into.facts.extend(cwd.map(Fact::OriginalCwd));
            return;
        }
    };
    if text.wrong() {
        into.issues.push(issue::SHAPE);
    }
    into.facts.extend(text.some().map(|text| Fact::Title { rank, text }));
}

/// The three numbers of a version; what is no number counts as 0.
fn numbers(version: &str) -> [u64; 3] {
    let mut parts = version.split(['.', '-', '+']).map(|part| part.parse().unwrap_or(0));
    std::array::from_fn(|_| parts.next().unwrap_or(0))
}

#[cfg(test)]
mod tests;
