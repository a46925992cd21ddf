//! Folds what the records say into one session and its events.
//!
//! ```text
//!            prompt, tool call, result, message            turn end, interrupt, error
//!   Unknown ────────────────────────────────────▶ Open ────────────────────────────────▶ Over
//!                                                  ▲                                      │
//!                                                  └──────── prompt, tool call ───────────┘
//! ```
//!
//! The state is what must be remembered between lines, nothing more: bounded whatever a transcript
//! holds, and stored with the cursor so that a restart reads nothing twice. Not here: parsing, the
//! process ([`crate::live`]) and what status follows ([`crate::status`]).

mod peers;

use std::collections::{BTreeMap, VecDeque};

use rrd_proto::{
    Activity, Counts, Direction, Event, EventKind, Issue, ParentKind, SessionKey, Timestamp,
    Tokens, TurnResult,
};
use serde::{Deserialize, Serialize};

use crate::{
    fact::{Fact, Origin, Parsed, Run, Subagent, TitleRank},
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

/// Characters of an event's text kept in the index.
pub const EVENT_TEXT: usize = 120;

/// Characters of a title.
pub(crate) const TITLE_TEXT: usize = 200;

/// Characters of a path, name or id: real ones are shorter, and a row must fit into an answer.
const FIELD_TEXT: usize = 4096;
const NAME_TEXT: usize = 256;

/// One session, as far as its transcript tells.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Fold {
    /// Where it was started, or works since.
    pub cwd: Option<String>,
    /// Where the work belongs when `cwd` is a throw-away worktree.
    pub original_cwd: Option<String>,
    /// The branch last logged.
    pub branch: Option<String>,
    /// The remote the harness recorded, without the credentials it may have held.
    pub remote: Option<String>,
    /// The model that answered last.
    pub model: Option<String>,
    /// The harness's version.
    pub version: Option<String>,
    /// A person sits at it.
    pub interactive: Option<bool>,
    /// Its harness leaves a trace while it lives, so no trace means no process.
    pub leaves_trace: bool,
    /// Where it came from.
    pub parent: Option<(String, ParentKind)>,
    /// A delegate, although nothing tells whose.
    delegate: bool,
    /// The latest record.
    pub last_activity: Option<Timestamp>,
    /// The latest record that says something of the turn; bookkeeping does not.
    last_word: Option<Timestamp>,
    /// The turn, as the records tell it.
    turn: Turn,
    /// What the harness keeps of the run beside them.
    run: Option<Run>,
    /// Tools that have not answered, oldest first.
    pub open_tools: Vec<OpenTool>,
    /// Delegates in the background that have not reported back, oldest first.
    pub sent_off: Vec<OpenTool>,
    /// A delegate that has handed back its work.
    pub finished: bool,
    peers: peers::Peers,
    /// When it ended, where its harness writes that down.
    pub ended: Option<Timestamp>,
    /// A person has put it away; when is not known.
    pub put_away: bool,
    /// What the transcript holds.
    pub counts: Counts,
    /// Tokens, where the harness tells.
    pub tokens: Option<Tokens>,
    /// The next event's number.
    pub next_seq: u64,
    title: Option<(TitleRank, String)>,
    first_prompt: Option<String>,
    started: Option<Timestamp>,
    chain_started: Option<Timestamp>,
    /// The first record of the conversation (a hash of its id; 0 is none): a fork's is its parent's.
    pub(crate) beginning: u64,
    /// The latest record that came from the parent.
    pub(crate) copied_to: Option<Timestamp>,
    recent_messages: VecDeque<(u64, [u64; 4])>,
    recent_failures: VecDeque<u64>,
    /// Delegates (hashes of their ids) that began and were not told to be done.
    subagents: VecDeque<u64>,
    issues: BTreeMap<String, (u64, Option<u64>)>,
}

/// Whose move it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Turn {
    /// Nothing has been asked yet.
    #[default]
    Unknown,
    /// The agent's.
    Open {
        /// Since when.
        since: Option<Timestamp>,
    },
    /// The user's.
    Over {
        /// Since when.
        since: Option<Timestamp>,
        /// How it ended.
        result: TurnResult,
    },
}

/// A tool call without an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenTool {
    /// The call.
    pub id: String,
    /// The tool.
    pub name: String,
    /// One line of what it does.
    pub summary: String,
    /// When it was called.
    pub since: Option<Timestamp>,
    /// It asks the user something.
    pub asks: bool,
    /// It is done only when somebody allows it, which is not written down.
    #[serde(default)]
    pub may_wait: bool,
}

/// Is told of each new event, and of all that it says where that may be more than its line.
pub type Tell<'t> = &'t mut dyn FnMut(Event, Option<&Long<'_>>);

impl Fold {
    /// Takes one record; new events are appended to `out`. True when the record left something that
    /// would be counted twice if it were taken again: the driver must remember its key.
    pub fn apply(&mut self, parsed: Parsed<'_>, offset: u64, out: &mut Vec<Event>) -> bool {
        self.apply_to(parsed, offset, &mut |event, _| out.push(event))
    }

    /// The same for whoever keeps more of an event than a line: each is told with all that it says.
    pub fn apply_to(&mut self, parsed: Parsed<'_>, offset: u64, tell: Tell<'_>) -> bool {
        let before = (self.counts, self.next_seq);
        let noted = !parsed.issues.is_empty();
        for kind in &parsed.issues {
            self.note(kind, Some(offset));
        }
        self.saw(parsed.at, parsed.origin);
        if matches!(parsed.origin, Origin::Chain | Origin::Copied) && self.beginning == 0 {
            self.beginning = parsed.key.unwrap_or_default();
        }
        let at = parsed.at;
        if parsed.facts.iter().any(Fact::moves) {
            self.last_word = self.last_word.max(at);
        }
        for fact in parsed.facts {
            self.take(fact, at, tell);
        }
        noted || before != (self.counts, self.next_seq)
    }

    /// Takes a record that was taken before, in a transcript that is read again: whose move it is may
    /// have to be found out anew, but nothing is counted and nothing happens twice.
    pub fn again(&mut self, parsed: Parsed<'_>) {
        let (counts, next_seq, tokens) = (self.counts, self.next_seq, self.tokens);
        let parsed = Parsed { issues: Vec::new(), ..parsed };
        self.apply(parsed, 0, &mut Vec::new());
        (self.counts, self.next_seq, self.tokens) = (counts, next_seq, tokens);
    }

    /// Begins a history anew that may no longer hold what it did: what is taken from here on is all that
    /// counts, but its events go on after those there were.
    #[must_use]
    pub fn begin_again(&self) -> Self {
        Self { next_seq: self.next_seq, issues: self.issues.clone(), ..Self::default() }
    }

    /// The same from where `earlier` stood.
    #[must_use]
    pub fn resume(&self, earlier: &Self) -> Self {
        Self { next_seq: self.next_seq, issues: self.issues.clone(), ..earlier.clone() }
    }

    /// Takes a record whose events are known, into a history begun anew.
    pub fn take_again(&mut self, parsed: Parsed<'_>) {
        let next_seq = self.next_seq;
        let parsed = Parsed { issues: Vec::new(), ..parsed };
        self.apply(parsed, 0, &mut Vec::new());
        self.next_seq = next_seq;
    }

    /// True once something has been taken that must not be taken again.
    #[must_use]
    pub fn has_taken_any(&self) -> bool {
        self.next_seq > 0 || self.counts != Counts::default()
    }

    /// Leaves a gap: what follows is read from much later in the transcript, so whatever was open
    /// before says nothing any more.
    pub fn skip_ahead(&mut self) {
        self.turn = Turn::Unknown;
        self.open_tools.clear();
        self.sent_off.clear();
    }

    /// Brings back to `at` whatever is dated later: a transcript that was last written then holds nothing
    /// that happened after it, whatever clock stamped its records.
    pub fn no_later_than(&mut self, at: Timestamp) {
        self.times().into_iter().for_each(|time| *time = (*time).min(Some(at)));
    }

    /// The latest of its times.
    #[must_use]
    pub fn latest(&self) -> Option<Timestamp> {
        // A turn or a tool is no later than the record that tells of it.
        [self.last_activity, self.started, self.chain_started, self.ended, self.run_at()]
            .into_iter()
            .max()
            .flatten()
    }

    fn times(&mut self) -> Vec<&mut Option<Timestamp>> {
        let tools = self.open_tools.iter_mut().chain(&mut self.sent_off);
        let mut times: Vec<_> = tools.map(|tool| &mut tool.since).collect();
        times.extend(self.run.as_mut().map(|run| &mut run.at));
        if let Turn::Open { since } | Turn::Over { since, .. } = &mut self.turn {
            times.push(since);
        }
        times.extend([&mut self.last_activity, &mut self.last_word, &mut self.ended]);
        times.extend([&mut self.started, &mut self.chain_started]);
        times
    }

    /// Counts something that could not be taken at face value.
    pub fn note(&mut self, kind: &str, offset: Option<u64>) {
        let (count, first) = self.issues.entry(kind.to_owned()).or_default();
        *count += 1;
        if first.is_none() {
            *first = offset;
        }
    }

    /// What could not be taken at face value.
    #[must_use]
    pub fn issues(&self) -> Vec<Issue> {
        let issue = |(kind, (count, offset)): (&String, &(u64, Option<u64>))| Issue {
            kind: kind.clone(),
            count: *count,
            offset: *offset,
            detail: None,
        };
        self.issues.iter().map(issue).collect()
    }

    /// The last messages that it and others sent each other, as its row tells them.
    pub(crate) fn messages(&self) -> impl Iterator<Item = rrd_proto::Link> {
        self.peers.links()
    }

    /// The given title, else a generated one, else the first prompt.
    #[must_use]
    pub fn title(&self) -> Option<&str> {
        match &self.title {
            Some((TitleRank::Task, task)) => Some(self.first_prompt.as_deref().unwrap_or(task)),
            Some((_, text)) => Some(text),
            None => self.first_prompt.as_deref(),
        }
    }

    /// The title that it was given, by a person or its harness.
    #[must_use]
    pub fn given_title(&self) -> Option<&str> {
        self.title.as_ref().filter(|(rank, _)| *rank > TitleRank::Task).map(|(_, text)| &**text)
    }

    /// The latest record that came from the session that this one is a fork of.
    #[must_use]
    pub fn copied_to(&self) -> Option<Timestamp> {
        self.copied_to
    }

    /// The latest record that shows the session move: bookkeeping and what is injected beside the
    /// conversation does not. An index of an older release does not tell them apart.
    #[must_use]
    pub fn last_word(&self) -> Option<Timestamp> {
        self.last_word.or(self.last_activity)
    }

    /// Another session delegated it.
    #[must_use]
    pub fn is_subagent(&self) -> bool {
        self.delegate || matches!(self.parent, Some((_, ParentKind::Subagent)))
    }

    /// The session that delegated this one, whose own key is `key`; `None` where it is not known.
    #[must_use]
    pub fn delegated_by(&self, key: &SessionKey) -> Option<SessionKey> {
        let (id, _) = self.parent.as_ref().filter(|_| self.is_subagent())?;
        Some(SessionKey { harness: key.harness.clone(), session_id: id.clone() })
    }

    /// Whose move it is. Where the harness follows the run itself, the later word counts: a run that is
    /// killed leaves its turn open in the records.
    #[must_use]
    pub fn turn(&self) -> Turn {
        let Some(run) = self.run else { return self.turn };
        match (self.turn, run.result) {
            (Turn::Open { since }, Some(result)) if run.at.is_none() || run.at >= since => {
                Turn::Over { since: run.at, result }
            }
            (Turn::Over { since, .. }, None) if run.at > since && since.is_some() => {
                Turn::Open { since: run.at }
            }
            (Turn::Unknown, None) if run.at.is_some() => Turn::Open { since: run.at },
            (turn, _) => turn,
        }
    }

    /// When the run that goes on began, or the last one ended.
    #[must_use]
    pub fn run_at(&self) -> Option<Timestamp> {
        self.run?.at
    }

    /// The earliest record this session wrote itself.
    #[must_use]
    pub fn started_at(&self) -> Option<Timestamp> {
        match (self.started, self.chain_started) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// What the agent is doing while its turn is open: the tool called last, else thinking; after it,
    /// what a delegate in the background does.
    #[must_use]
    pub fn activity(&self) -> Option<Activity> {
        let of = |tool: &OpenTool| Activity {
            tool: Some(tool.name.clone()),
            summary: tool.summary.clone(),
            since: tool.since,
            may_wait: tool.may_wait,
        };
        let Turn::Open { since } = self.turn() else { return self.sent_off.last().map(of) };
        Some(match self.open_tools.last() {
            Some(tool) => of(tool),
            None => {
                let since = self.last_activity.or(since);
                Activity { tool: None, summary: String::new(), since, may_wait: false }
            }
        })
    }

    /// The question the log shows as open, if its last word is one.
    #[must_use]
    pub fn open_question(&self) -> Option<&OpenTool> {
        self.open_tools.iter().rev().find(|tool| tool.asks)
    }

    fn saw(&mut self, at: Option<Timestamp>, origin: Origin) {
        if origin == Origin::Copied {
            // What looked like this session's beginning was its parent's.
            self.chain_started = None;
        }
        let Some(at) = at else { return };
        self.last_activity = self.last_activity.max(Some(at));
        let began = match origin {
            Origin::Own => &mut self.started,
            Origin::Chain => &mut self.chain_started,
            Origin::Copied => {
                self.copied_to = self.copied_to.max(Some(at));
                return;
            }
            Origin::Row => return,
        };
        *began = Some(began.map_or(at, |earlier| earlier.min(at)));
    }

    fn take(&mut self, fact: Fact<'_>, at: Option<Timestamp>, tell: Tell<'_>) {
        match fact {
            Fact::SessionId(_) => {} // the driver's: it decides which session a file belongs to
            Fact::Cwd(cwd) => set_once(&mut self.cwd, &cwd),
            Fact::MovedTo(cwd) => set(&mut self.cwd, &cwd),
            Fact::OriginalCwd(cwd) => set(&mut self.original_cwd, &cwd),
            Fact::Branch(branch) => set(&mut self.branch, &branch),
            Fact::Remote(remote) => set(&mut self.remote, &strip_credentials(&remote)),
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
