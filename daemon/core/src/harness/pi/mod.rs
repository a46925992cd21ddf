//! pi's sessions, as 0.73.1 writes them; OpenClaw writes the same records ([`super::openclaw`]).
//!
//! A session is a tree of entries, each naming its parent, appended to one file. Whoever goes back to an
//! earlier entry leaves a branch behind, and the last entry is where the conversation stands. Counts are
//! of the whole file; whose move it is follows from the last branch. Not here: which fields are read
//! ([`record`]).

mod place;
mod record;

use std::borrow::Cow;

use rrd_proto::{Harness, ParentKind, Timestamp, Tokens, TurnResult};

use self::record::{Block, Content, Record, Usage, is_bookkeeping, is_known};
pub(super) use self::{place::entries, record::Message};
use super::{
    FileRole, Format, Parser, ParserState, is_question,
    json::Field,
    lines::{self, Records},
    names::{after_time, timed},
    summary::{of_json, tells_of_a_limit},
};
use crate::{
    fact::{Fact, Origin, Parsed, Text, TitleRank, issue},
    long::Long,
    tree::Tip,
};

/// What [`super::formats`] lists.
pub(super) const FORMAT: Format = Format {
    name: "pi",
    home_var: "PI_CODING_AGENT_DIR",
    user_home_var: None,
    sessions_var: Some("PI_CODING_AGENT_SESSION_DIR"),
    several_homes: false,
    homes: &[".pi/agent"],
    other_homes: &[],
    // It holds no lock and keeps no registry.
    traces: None,
    folders: &["sessions"],
    classify,
    parser: |state| Box::new(Pi::new(state, DIALECT)),
    entries: Some(|line, tell| entries(line, &DIALECT, tell)),
    sidecar: |_| None,
    live_entry: |_| None,
    titles: |_| None,
    tables: None,
    asks: None,
};

const DIALECT: Dialect = Dialect {
    speaker: |_| Speaker::ItsRole,
    asks: |tool| is_question(&Harness::Pi, tool),
    // It has no delegates but what extensions make of other processes.
    began: |_, _| None,
    done: |_| None,
    // Whatever is written goes on from where it stands.
    is_beside: |_| false,
};

/// Entries of the open turn that are remembered: what is appended to it hangs on one of the last.
const TURN: usize = 16;

/// `sessions/--<directory>--/<time>_<id>.jsonl`; the directory's name is lossy and never decoded. In a
/// directory of their own (`--session-dir`, `sessionDir`) they lie side by side.
fn classify(path: &str) -> FileRole {
    let id = match path.split('/').collect::<Vec<_>>().as_slice() {
        ["sessions", name] | ["sessions", _, name] => name.strip_suffix(".jsonl").map(after_time),
        [name] => name.strip_suffix(".jsonl").and_then(timed),
        _ => None,
    };
    match id.filter(|id| !id.is_empty() && !id.starts_with('.')) {
        Some(id) => FileRole::Transcript {
            session_id: id.to_owned(),
            parent: None,
            zstd: false,
            archived: false,
        },
        None => FileRole::Ignored,
    }
}

/// Where pi and its relatives differ.
pub(super) struct Dialect {
    /// Who speaks in a message.
    pub(super) speaker: fn(&Message<'_>) -> Speaker,
    /// Whether a tool is a question to the user.
    pub(super) asks: fn(&str) -> bool,
    /// That a delegate began, of the result of its call.
    pub(super) began: for<'a> fn(&mut Message<'a>, Option<Timestamp>) -> Option<Fact<'a>>,
    /// That a delegate is done, of a message in the user's place.
    pub(super) done: for<'a> fn(&mut Message<'a>) -> Option<Fact<'a>>,
    /// Whether entries of a type are hung beside the conversation.
    pub(super) is_beside: fn(&str) -> bool,
}

/// Who speaks in a message.
pub(super) enum Speaker {
    /// Whoever its role names.
    ItsRole,
    /// The harness, in the user's place.
    Harness,
    /// Another session, in the user's place.
    Peer,
    /// Nobody: a copy of what was said elsewhere.
    Nobody,
    /// The harness, in the agent's place, since its user stopped it.
    Stopped,
}

/// Reads the records.
pub(super) struct Pi {
    state: ParserState,
    dialect: Dialect,
}

impl Parser for Pi {
    fn line<'a>(&mut self, line: &'a [u8]) -> Parsed<'a> {
        lines::read(self, line)
    }

    fn state(&self) -> ParserState {
        self.state.clone()
    }
}

impl Records for Pi {
    fn record<'t>(&mut self, json: &'t str, into: &mut Parsed<'t>) -> bool {
        match serde_json::from_str::<Field<Record<'t>>>(json) {
            Ok(Field::Is(record)) => self.understand(record, into),
            Ok(Field::Absent | Field::Wrong) => into.issues.push(issue::SHAPE),
            Err(_) => return false,
        }
        true
    }

    fn begins(json: &str) -> bool {
        // Blocks of a message begin alike.
        let kind = json.strip_prefix("{\"type\":\"").and_then(|rest| rest.split('"').next());
        kind.is_some_and(is_known)
    }

    fn is_record(json: &str) -> bool {
        let Ok(Field::Is(record)) = serde_json::from_str::<Field<Record<'_>>>(json) else {
            return false;
        };
        let kind = record.kind.text();
        is_known(kind)
            && !record.id.text().is_empty()
            && !record.timestamp.text().is_empty()
            && (kind != "message" || record.message.get().is_some())
    }
}

impl Pi {
    pub(super) fn new(state: ParserState, dialect: Dialect) -> Self {
        Self { state, dialect }
    }

    fn understand<'a>(&mut self, mut record: Record<'a>, into: &mut Parsed<'a>) {
        let at = Timestamp::parse(record.timestamp.text());
        if record.misshapen() || at.is_none() || record.kind.text().is_empty() {
            into.issues.push(issue::SHAPE);
        }
        into.key = record.id.get().map(|id| place::key(id, record.timestamp.text()));
        if let Some(entry) = place::of(&record, &self.dialect) {
            self.state.has_left |= Tip::follow(&mut self.state.tip, &entry);
        }
        if at.is_some_and(|at| self.state.copied_before.is_some_and(|fork| at < fork)) {
            into.origin = Origin::Copied;
        }
        let kind = record.kind.take().unwrap_or_default();
        if is_bookkeeping(&kind) {
            // What is noted beside the conversation is no activity.
            return self.bookkeeping(&kind, record, into);
        }
        into.at = at;
        match &*kind {
            "session" => self.header(record, into),
            "message" => self.message(record, into),
            "compaction" => {
                self.hang("compaction", &record, into);
                into.facts.push(Fact::Compaction);
            }
            "" => {}
            _ => into.issues.push(issue::UNKNOWN),
        }
    }

    /// The first header is the file's own.
    fn header<'a>(&mut self, mut record: Record<'a>, into: &mut Parsed<'a>) {
        let began = into.at.take();
        if std::mem::replace(&mut self.state.header_seen, true) {
            return;
        }
        let id = record.id.some();
        let parent = record.parent_session.some().and_then(session_of);
        match parent {
            Some(parent) if id.as_deref() != Some(&*parent) => {
                self.state.copied_before = began;
                into.facts.push(Fact::Parent { id: parent, kind: ParentKind::Fork });
            }
            _ => {}
        }
        match id {
            Some(id) => into.facts.push(Fact::SessionId(id)),
            None => into.issues.push(issue::SHAPE),
        }
        into.facts.extend(began.map(Fact::Started));
        into.facts.extend(record.cwd.some().map(Fact::Cwd));
    }

    fn bookkeeping<'a>(&mut self, kind: &str, mut record: Record<'a>, into: &mut Parsed<'a>) {
        self.hang(kind, &record, into);
        match kind {
            "model_change" => into.facts.extend(record.model.some().map(Fact::Model)),
            "session_info" => {
                let text = record.name.take().unwrap_or_default();
                into.facts.push(Fact::Title { rank: TitleRank::Given, text });
            }
            _ => {}
        }
    }

    /// An entry that does not speak, and does not hang on the open turn, was written after its user had
    /// left that branch: the turn will not go on.
    fn hang(&mut self, kind: &str, record: &Record<'_>, into: &mut Parsed<'_>) {
        if !self.state.in_turn {
            return;
        }
        // A leaf only points at where the conversation stands.
        let on = if kind == "leaf" { record.target } else { record.parent };
        let stays = on.json().is_empty() || self.state.turn.contains(&place::id(on.head().text()));
        // A summary of a branch is written for nothing else than leaving it.
        if stays && kind != "branch_summary" {
            self.go_on(record);
        } else {
            self.end();
            into.facts.push(Fact::TurnEnd(TurnResult::Interrupted));
        }
    }

    /// The agent's move.
    fn go_on(&mut self, record: &Record<'_>) {
        self.state.in_turn = true;
        if self.state.turn.len() == TURN {
            self.state.turn.remove(0);
        }
        self.state.turn.push(place::id(record.id.text()));
    }

    /// The user's move.
    fn end(&mut self) {
        self.state.in_turn = false;
        self.state.turn.clear();
    }

    fn message<'a>(&mut self, mut record: Record<'a>, into: &mut Parsed<'a>) {
        let Some(mut message) = record.message.take() else {
            if !into.issues.contains(&issue::SHAPE) {
                into.issues.push(issue::SHAPE);
            }
            return;
        };
        if message.odd() && !into.issues.contains(&issue::SHAPE) {
            into.issues.push(issue::SHAPE);
        }
        let said = said(&mut message);
        if said.odd && !into.issues.contains(&issue::SHAPE) {
            into.issues.push(issue::SHAPE);
        }
        let speaker = (self.dialect.speaker)(&message);
        match (message.role.text(), speaker) {
            (_, Speaker::Nobody) => self.hang("message", &record, into),
            (_, Speaker::Stopped) => {
                self.end();
                into.facts.push(Fact::TurnEnd(TurnResult::Interrupted));
            }
            ("user", speaker) => {
                let text = said.text;
                into.facts.push(match speaker {
                    Speaker::Harness => Fact::Injected,
                    Speaker::Peer => Fact::PeerMessage { id: None, text },
                    _ => Fact::Prompt { text },
                });
                into.facts.extend((self.dialect.done)(&mut message));
                self.end();
                self.go_on(&record);
            }
            ("assistant", _) => self.answer(&record, *message, said, into),
            ("toolResult", _) => {
                let failed = message.details.get().is_some_and(|details| details.failed);
                into.facts.extend((self.dialect.began)(&mut message, into.at));
                into.facts.push(Fact::ToolResult {
                    id: message.call.take().unwrap_or_default(),
                    is_error: message.is_error.is_true() || failed,
                    text: said.text,
                });
                self.go_on(&record);
            }
            // What the user runs in the prompt, and what extensions add: nobody is asked anything.
            (
                "bashExecution" | "custom" | "hookMessage" | "branchSummary" | "compactionSummary",
                _,
            ) => self.hang("message", &record, into),
            _ => into.issues.push(issue::UNKNOWN),
        }
    }

    fn answer<'a>(
        &mut self,
        record: &Record<'a>,
        mut message: Message<'a>,
        said: Said<'a>,
        into: &mut Parsed<'a>,
    ) {
        into.facts.extend(message.model.some().map(Fact::Model));
        if !said.text.trim().is_empty() {
            into.facts.push(Fact::Message { id: None, text: said.text });
        }
        into.facts.extend(message.usage.get().map(Usage::fact));
        let calls = !said.calls.is_empty();
        for mut call in said.calls {
            let name = call.name.take().unwrap_or_default();
            into.facts.push(Fact::ToolCall {
                id: call.id.take().unwrap_or_default(),
                summary: of_json(call.arguments.json()),
                input: Long::input(call.arguments.json()),
                asks: (self.dialect.asks)(&name),
                name,
            });
        }
        let result = match message.stop_reason.text() {
            "error" => {
                let text = message.error.take().unwrap_or_default();
                let limited = text.trim_start().starts_with("429")
                    || tells_of_a_limit(&text)
                    || tells_of_a_limit(message.error_kind.json())
                    || tells_of_a_limit(message.error_body.json());
                into.facts.push(Fact::FailedTry { text });
                if limited { TurnResult::RateLimited } else { TurnResult::Error }
            }
            "aborted" => TurnResult::Interrupted,
            // Whatever the reason, calls are run, and their results sent.
            _ if calls => return self.go_on(record),
            _ => TurnResult::Completed,
        };
        self.end();
        into.facts.push(Fact::TurnEnd(result));
    }
}

impl Usage {
    fn fact<'a>(&self) -> Fact<'a> {
        Fact::MoreTokens(Tokens {
            input: self.input.count(),
            output: self.output.count(),
            cache_read: self.cache_read.count(),
            cache_write: self.cache_write.count(),
        })
    }
}

/// What a message holds.
#[derive(Default)]
struct Said<'a> {
    /// Its texts, beginning with the first that is not empty.
    text: Long<'a>,
    calls: Vec<Block<'a>>,
    odd: bool,
}

fn said<'a>(message: &mut Message<'a>) -> Said<'a> {
    let mut said = Said::default();
    match message.content.take() {
        Some(Content::Text(text)) => said.text = text.into(),
        Some(Content::Blocks(blocks)) => {
            for block in blocks {
                let Field::Is(mut block) = block else {
                    said.odd = true;
                    continue;
                };
                said.odd |= block.misshapen();
                match block.kind.text() {
                    "text" if said.text.trim().is_empty() => {
                        said.text = block.text.take().unwrap_or_default();
                    }
                    "text" => said.text.and(block.text.json()),
                    "image" => said.text.and_media(block.mime.text(), block.data.json()),
                    "toolCall" => said.calls.push(block),
                    _ => {}
                }
            }
        }
        None => {}
    }
    said
}

/// The session that the transcript at `path` (on whatever system) is of.
fn session_of(path: Text<'_>) -> Option<Text<'_>> {
    let name = path.rsplit(['/', '\\']).next()?;
    let id = after_time(name.strip_suffix(".jsonl").unwrap_or(name));
    (!id.is_empty()).then(|| Cow::Owned(id.to_owned()))
}

#[cfg(test)]
mod tests;
