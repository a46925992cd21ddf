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
mod take;

use std::collections::{BTreeMap, VecDeque};

use rrd_proto::{
    Activity, Counts, Event, Issue, ParentKind, SessionKey, Timestamp, Tokens, TurnResult,
};
use serde::{Deserialize, Serialize};

use crate::{
    fact::{Fact, Origin, Parsed, Run, TitleRank},
    long::Long,
};

/// Characters of an event's text kept in the index.
pub const EVENT_TEXT: usize = 120;

/// Characters of a title.
pub(crate) const TITLE_TEXT: usize = 200;

/// One session, as far as its transcript tells.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Fold {
    /// Where it was started, or works since.
    pub cwd: Option<String>,
    /// Where the work belongs when `cwd` is a throw-away worktree.
    pub original_cwd: Option<String>,
    /// Another directory than `cwd` that a record named last: where it went on, or only looked around.
    pub elsewhere: Option<String>,
    /// All such, also those before it moved; of many the last ones.
    pub directories: Vec<String>,
    /// There were more of them.
    pub was_at_more: bool,
    /// The branch last logged.
    pub branch: Option<String>,
    /// The remote the harness recorded, without the credentials it may have held.
    pub remote: Option<String>,
    /// The directory of which it recorded that.
    pub remote_of: Option<String>,
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
    /// Every directory in which its records say that it was.
    pub fn named(&self) -> impl Iterator<Item = &str> {
        let all = self.cwd.iter().chain(&self.original_cwd).chain(&self.directories);
        all.map(String::as_str)
    }

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
}
