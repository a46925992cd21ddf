//! What each fact changes of a session, and which event it is.
//!
//! Not here: what must be remembered, and how a transcript that is read again is taken ([`super`]).

use std::collections::VecDeque;

use rrd_proto::{Direction, Event, EventKind, ParentKind, Timestamp, Tokens, TurnResult};

use super::{EVENT_TEXT, Fold, OpenTool, TITLE_TEXT, Tell, Turn};
use crate::{
    fact::{Fact, Subagent, TitleRank},
    line::{one_line, truncate},
    long::Long,
    repo::strip_credentials,
};

/// Tools that may be open at once; more than a hundred parallel calls have not been seen.
const MAX_OPEN_TOOLS: usize = 256;

/// Delegates whose end may still be told.
const MAX_SUBAGENTS: usize = 1024;

/// What a delegate in the background is called.
const DELEGATE: &str = "Agent";

/// How many recent message and failed-call ids are remembered. A message's records follow each other
/// closely; only parallel tool results come in between. A session is remembered for as long as its
/// transcript is there, so this is most of what it costs.
const RECENT: usize = 16;
const RECENT_FAILURES: usize = 32;

/// Directories in which a session was.
const MAX_DIRECTORIES: usize = 1024;

/// Characters of a path, name or id: real ones are shorter, and a row must fit into an answer.
const FIELD_TEXT: usize = 4096;
const NAME_TEXT: usize = 256;

impl Fold {
    pub(super) fn take(&mut self, fact: Fact<'_>, at: Option<Timestamp>, tell: Tell<'_>) {
        match fact {
            Fact::SessionId(_) => {} // the driver's: it decides which session a file belongs to
            Fact::Cwd(cwd) if self.cwd.as_deref().is_none_or(|begun| begun == cwd) => {
                set_once(&mut self.cwd, &cwd);
            }
            Fact::Cwd(cwd) => {
                if self.elsewhere.as_deref() != Some(&*cwd) {
                    self.was_at(&cwd);
                    set(&mut self.elsewhere, &cwd);
                }
            }
            Fact::MovedTo(cwd) => {
                if let Some(before) = self.cwd.take_if(|before| **before != *cwd) {
                    self.was_at(&before);
                }
                set(&mut self.cwd, &cwd);
            }
            Fact::OriginalCwd(cwd) => set(&mut self.original_cwd, &cwd),
            Fact::Branch(branch) => set(&mut self.branch, &branch),
            Fact::Remote(remote) => {
                set(&mut self.remote, &strip_credentials(&remote));
                self.remote_of.clone_from(&self.cwd);
            }
            Fact::Model(model) => set(&mut self.model, &model),
            Fact::Version(version) => set(&mut self.version, &version),
            Fact::Interactive(yes) => self.interactive = Some(yes),
            Fact::LeavesTrace => self.leaves_trace = true,
            Fact::Parent { id, kind } => {
                // A fork of a fork holds its grandparent's records before its parent's; and why a child
                // was made may be known only when its parent ends.
                let replaces =
                    |(known, was): &(String, ParentKind)| *was == ParentKind::Fork || *known == id;
                if self.parent.as_ref().is_none_or(replaces) {
                    self.parent = Some((name(&id), kind));
                }
            }
            Fact::Delegate => self.delegate = true,
            Fact::Delegator(id) => self.parent = Some((name(&id), ParentKind::Subagent)),
            Fact::Started(began) => {
                self.started = Some(self.started.map_or(began, |earlier| earlier.min(began)));
            }
            Fact::Title { rank, text } => self.retitle(rank, &text, at, tell),
            Fact::TurnStart => self.open_turn(at),
            Fact::Prompt { text } => {
                self.counts.prompts += 1;
                if self.first_prompt.is_none() && !text.trim().is_empty() {
                    self.first_prompt = Some(one_line(&text, TITLE_TEXT).0);
                }
                // Whatever was unanswered was abandoned.
                self.open_tools.clear();
                self.turn = Turn::Open { since: at };
                tell(self.event(EventKind::Prompt, at, &text), Some(&text));
            }
            Fact::Injected => self.open_turn(at),
            Fact::PeerMessage { id, text } => {
                self.open_turn(at);
                let id = id.map(|id| name(&id));
                id.iter().for_each(|id| self.peers.add(id, true, at));
                let event = Event {
                    direction: Some(Direction::Received),
                    message_id: id,
                    ..self.event(EventKind::PeerMessage, at, &text)
                };
                tell(event, Some(&text));
            }
            Fact::Sent { call, id } => {
                let call = name(&call);
                self.peers.add(&id, false, at);
                let tool = self.open_tools.iter().find(|tool| tool.id == call).cloned();
                let text = tool.as_ref().map(|tool| tool.summary.clone()).unwrap_or_default();
                let event = Event {
                    tool: tool.map(|tool| tool.name),
                    tool_call_id: Some(call),
                    direction: Some(Direction::Sent),
                    message_id: Some(name(&id)),
                    ..self.event(EventKind::PeerMessage, at, &text)
                };
                tell(event, None);
            }
            Fact::SentOff { id, summary } => self.send_off(name(&id), &summary, at),
            Fact::Returned { id } => self.returned(&name(&id)),
            Fact::AtWork(count) => self.at_work(count, at),
            Fact::SubagentStart { who, at, text } => self.subagent_start(who, at, text, tell),
            Fact::SubagentStop { who, failed, text } => {
                let id = crate::hash(who.id.as_bytes());
                let Some(known) = self.subagents.iter().position(|one| *one == id) else { return };
                self.subagents.remove(known);
                let stop = self.event(EventKind::SubagentStop, at, &text);
                tell(Event { is_error: failed, ..of_subagent(who, stop) }, None);
            }
            Fact::Message { id, text } => self.message(id.as_deref(), &text, at, tell),
            Fact::MessageTokens { id, tokens } => self.message_tokens(&id, tokens),
            Fact::TotalTokens(tokens) => self.tokens = Some(tokens),
            Fact::MoreTokens(tokens) => self.more_tokens(tokens),
            Fact::ToolCall { id, name: tool, summary, input, asks } => {
                let (id, tool) = (name(&id), name(&tool));
                self.counts.tool_calls += 1;
                self.open_turn(at);
                let event = Event {
                    tool: Some(tool.clone()),
                    tool_call_id: Some(id.clone()),
                    ..self.event(EventKind::ToolCall, at, &summary)
                };
                tell(event, Some(&input));
                if !id.is_empty() {
                    self.open_tools.retain(|open| open.id != id);
                }
                if self.open_tools.len() == MAX_OPEN_TOOLS {
                    self.open_tools.remove(0);
                }
                let summary = one_line(&summary, TITLE_TEXT).0;
                self.open_tools.push(OpenTool {
                    id,
                    name: tool,
                    summary,
                    since: at,
                    asks,
                    may_wait: false,
                });
            }
            Fact::MayWait { id } => {
                let id = name(&id);
                let tool = self.open_tools.iter_mut().rev().find(|tool| tool.id == id);
                tool.into_iter().for_each(|tool| tool.may_wait = true);
            }
            Fact::ToolResult { id, is_error, text } => {
                self.tool_result(&name(&id), is_error, &text, at, tell)
            }
            Fact::ToolFailed { id } => self.count_failure(&id),
            Fact::Error { text, rate_limited: _ } => {
                self.counts.errors += 1;
                let event = Event { is_error: true, ..self.event(EventKind::Error, at, &text) };
                tell(event, Some(&text));
            }
            Fact::FailedTry { text } => {
                let event = Event { is_error: true, ..self.event(EventKind::Error, at, &text) };
                tell(event, Some(&text));
            }
            Fact::TurnEnd(result) => self.end_turn(result, at, tell),
            Fact::Run(run) => self.run = run,
            Fact::Compaction => {
                tell(self.event(EventKind::Compaction, at, ""), None);
            }
            Fact::Finished => self.finished = true,
            Fact::PutAway(yes) => self.put_away = yes,
            Fact::Ended(ended) => {
                if ended.is_some() && self.ended.is_none() {
                    tell(self.event(EventKind::Ended, ended, ""), None);
                }
                self.ended = ended;
            }
        }
    }

    fn was_at(&mut self, directory: &str) {
        let directory = truncate(directory, FIELD_TEXT).0;
        if !self.directories.contains(&directory) {
            if self.directories.len() == MAX_DIRECTORIES {
                self.was_at_more = true;
                self.directories.remove(0);
            }
            self.directories.push(directory);
        }
    }

    fn subagent_start(
        &mut self,
        who: Subagent<'_>,
        at: Option<Timestamp>,
        text: Long<'_>,
        tell: Tell<'_>,
    ) {
        let id = crate::hash(who.id.as_bytes());
        let call = who.call.as_deref().map(name);
        let call = self.open_tools.iter().find(|tool| Some(&tool.id) == call.as_ref());
        let fits = who.tool.is_none_or(|tool| call.is_some_and(|call| call.name == tool));
        if !fits || self.subagents.contains(&id) {
            return;
        }
        // Where it is not said again, what it is to do is what was called.
        let text = match (text.trim().is_empty(), call) {
            (true, Some(call)) => Long::from(call.summary.clone()),
            _ => text,
        };
        remember(&mut self.subagents, id, MAX_SUBAGENTS);
        let start = self.event(EventKind::SubagentStart, at, &text);
        tell(of_subagent(who, start), Some(&text));
    }

    fn send_off(&mut self, id: String, summary: &str, at: Option<Timestamp>) {
        self.returned(&id);
        if self.sent_off.len() < MAX_OPEN_TOOLS {
            let summary = one_line(summary, TITLE_TEXT).0;
            let name = DELEGATE.to_owned();
            self.sent_off.push(OpenTool {
                id,
                name,
                summary,
                since: at,
                asks: false,
                may_wait: false,
            });
        }
    }

    fn returned(&mut self, id: &str) {
        // One that was only counted has no id.
        let known = self.sent_off.iter().position(|one| one.id == id);
        let counted = || self.sent_off.iter().position(|one| one.id.is_empty());
        if let Some(one) = known.or_else(counted) {
            self.sent_off.remove(one);
        }
    }

    /// The harness's own count: who is missing is one whose sending off has not been read.
    fn at_work(&mut self, count: u64, at: Option<Timestamp>) {
        let count = usize::try_from(count).unwrap_or(usize::MAX).min(MAX_OPEN_TOOLS);
        while self.sent_off.len() < count {
            let id = String::new();
            let name = DELEGATE.to_owned();
            self.sent_off.push(OpenTool {
                id,
                name,
                summary: String::new(),
                since: at,
                asks: false,
                may_wait: false,
            });
        }
        self.sent_off.truncate(count);
    }

    fn open_turn(&mut self, at: Option<Timestamp>) {
        if !matches!(self.turn, Turn::Open { .. }) {
            self.turn = Turn::Open { since: at };
        }
    }

    fn end_turn(&mut self, result: TurnResult, at: Option<Timestamp>, tell: Tell<'_>) {
        self.open_tools.clear();
        // Several records may end one turn; the first knows how.
        if matches!(self.turn, Turn::Over { .. }) {
            return;
        }
        self.turn = Turn::Over { since: at, result };
        let is_error = matches!(result, TurnResult::Error | TurnResult::RateLimited);
        tell(Event { is_error, ..self.event(EventKind::TurnEnd, at, result.as_str()) }, None);
    }

    fn message(
        &mut self,
        id: Option<&str>,
        text: &Long<'_>,
        at: Option<Timestamp>,
        tell: Tell<'_>,
    ) {
        let is_new = match id.map(|id| crate::hash(id.as_bytes())) {
            Some(id) if self.recent_messages.iter().any(|(seen, _)| *seen == id) => false,
            Some(id) => {
                remember(&mut self.recent_messages, (id, [0; 4]), RECENT);
                true
            }
            None => true,
        };
        if is_new {
            self.counts.messages += 1;
            self.open_turn(at);
        }
        if !text.trim().is_empty() {
            tell(self.event(EventKind::Message, at, text), Some(text));
        }
    }

    fn message_tokens(&mut self, id: &str, tokens: Tokens) {
        let id = crate::hash(id.as_bytes());
        let Some((_, known)) = self.recent_messages.iter_mut().rev().find(|(seen, _)| *seen == id)
        else {
            return;
        };
        let new = [tokens.input, tokens.output, tokens.cache_read, tokens.cache_write];
        let old = std::mem::replace(known, new);
        let total = self.tokens.get_or_insert_default();
        let sums =
            [&mut total.input, &mut total.output, &mut total.cache_read, &mut total.cache_write];
        for (sum, (old, new)) in sums.into_iter().zip(old.into_iter().zip(new)) {
            *sum = sum.saturating_add(new).saturating_sub(old);
        }
    }

    fn more_tokens(&mut self, more: Tokens) {
        let total = self.tokens.get_or_insert_default();
        total.input = total.input.saturating_add(more.input);
        total.output = total.output.saturating_add(more.output);
        total.cache_read = total.cache_read.saturating_add(more.cache_read);
        total.cache_write = total.cache_write.saturating_add(more.cache_write);
    }

    fn tool_result(
        &mut self,
        id: &str,
        is_error: bool,
        text: &Long<'_>,
        at: Option<Timestamp>,
        tell: Tell<'_>,
    ) {
        let position = self.open_tools.iter().position(|tool| tool.id == id);
        let tool = position.map(|i| self.open_tools.remove(i).name);
        if tool.is_some() || self.turn == Turn::Unknown {
            self.open_turn(at);
        }
        if is_error {
            self.count_failure(id);
        }
        // A failure is worth a line; what a tool printed is in the transcript.
        let kept = self.event(EventKind::ToolResult, at, if is_error { text } else { "" });
        tell(Event { tool, tool_call_id: Some(id.to_owned()), is_error, ..kept }, Some(text));
    }

    /// Counts a failed call once, however many records say so.
    fn count_failure(&mut self, id: &str) {
        let id = crate::hash(id.as_bytes());
        if self.recent_failures.contains(&id) {
            return;
        }
        self.counts.errors += 1;
        remember(&mut self.recent_failures, id, RECENT_FAILURES);
    }

    fn retitle(&mut self, rank: TitleRank, text: &str, at: Option<Timestamp>, tell: Tell<'_>) {
        let text = one_line(text, TITLE_TEXT).0;
        if text.is_empty() && rank == TitleRank::Given {
            self.title.take_if(|(have, _)| *have == TitleRank::Given);
        }
        let replaces = match &self.title {
            None => true,
            Some((TitleRank::Task, _)) if rank == TitleRank::Task => false,
            Some((have, old)) => rank >= *have && *old != text,
        };
        if text.is_empty() || !replaces {
            return;
        }
        if rank == TitleRank::Given {
            tell(self.event(EventKind::Title, at, &text), None);
        }
        self.title = Some((rank, text));
    }

    fn event(&mut self, kind: EventKind, at: Option<Timestamp>, text: &str) -> Event {
        let (kept, truncated) = one_line(text, EVENT_TEXT);
        let seq = self.next_seq;
        self.next_seq += 1;
        Event {
            seq,
            at,
            kind,
            text: kept,
            tool: None,
            tool_call_id: None,
            is_error: false,
            truncated,
            direction: None,
            message_id: None,
            withdrawn: false,
            body: None,
            subagent: None,
        }
    }
}

/// The oldest goes before the newest comes: one more than there is room for would double the room.
fn remember<T>(recent: &mut VecDeque<T>, newest: T, most: usize) {
    while recent.len() >= most {
        recent.pop_front();
    }
    recent.push_back(newest);
}

fn of_subagent(who: Subagent<'_>, event: Event) -> Event {
    Event {
        tool_call_id: who.call.map(|call| name(&call)),
        subagent: who.names_session.then(|| name(&who.id)),
        ..event
    }
}

fn name(text: &str) -> String {
    truncate(text, NAME_TEXT).0
}

fn set(field: &mut Option<String>, value: &str) {
    let value = match value.char_indices().nth(FIELD_TEXT) {
        Some((end, _)) => &value[..end],
        None => value,
    };
    if field.as_deref() != Some(value) {
        *field = Some(value.to_owned());
    }
}

fn set_once(field: &mut Option<String>, value: &str) {
    if field.is_none() && !value.is_empty() {
        set(field, value);
    }
}
