//! What hooks say of a session: a few words, each with its time, and what is remembered between them.
//!
//! Hooks are no state machine. An interrupt and a refused permission call none; calls overlap, come
//! late, twice, or after the end. So the words are put in the order of their own times, and a word
//! counts only until something newer speaks: the transcript ([`crate::status`] compares), the registry,
//! the process. All of it is bounded. A trail is stored as it is: what hooks said is said nowhere else,
//! so the form below only grows. Not here: payloads ([`crate::harness::hook`]), the storing.

use std::collections::VecDeque;

use rrd_proto::{Activity, SessionKey, Timestamp, TurnResult, WaitingFor};
use serde::{Deserialize, Serialize};

use crate::{
    fold::{Fold, OpenTool, Turn},
    live::{Evidence, Liveness},
    status::described,
};

/// Calls that are kept apart, so that one that comes late finds its place among them.
const RECENT: usize = 16;

/// Tools that may be open, and dialogs.
const MAX_OPEN: usize = 32;

/// One call of a hook, understood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookEvent {
    /// The call's own id; the same twice counts once.
    pub id: u64,
    /// When the hook was called.
    pub at: Timestamp,
    /// The session.
    pub session: SessionKey,
    /// Its delegate that the call is about.
    pub agent: Option<String>,
    /// What it says.
    pub word: HookWord,
    /// The working directory.
    pub cwd: Option<String>,
    /// Where the transcript is, or will be, or never: some name a file that does not come to be.
    pub transcript: Option<String>,
    /// The harness's process, where its pid means something here.
    pub pid: Option<u32>,
    /// A command that takes a person to it.
    pub attach: Option<String>,
}

impl HookEvent {
    /// The same call in its delegate's own trail, where it is what everything is about.
    #[must_use]
    pub fn of_delegate(&self) -> Option<Self> {
        let session = SessionKey { session_id: self.agent.clone()?, ..self.session.clone() };
        let word = match &self.word {
            HookWord::AgentStart => HookWord::Prompt,
            HookWord::AgentStop => {
                HookWord::Stop { result: TurnResult::Completed, background: false }
            }
            other => other.clone(),
        };
        // The process and the transcript that it names are its parent's.
        Some(Self { session, word, agent: None, pid: None, transcript: None, ..self.clone() })
    }
}

/// What one call says, in words that all harnesses share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum HookWord {
    /// The session begins, or goes on: it is at its prompt.
    Start,
    /// A turn begins.
    Prompt,
    /// A tool begins.
    Call(HookTool),
    /// A tool has answered, or failed.
    Result(HookTool),
    /// Someone must allow a tool, or answer it.
    Ask(HookTool),
    /// A dialog is open; which one is not said.
    Dialog(WaitingFor),
    /// A dialog was answered; of which tool, where it is said.
    Answer(Option<String>),
    /// The session has been at its prompt for a while.
    AtPrompt,
    /// The turn is over.
    Stop {
        /// How.
        result: TurnResult,
        /// Other agents of it go on working.
        background: bool,
    },
    /// A delegate begins.
    AgentStart,
    /// A delegate has handed back.
    AgentStop,
    /// The session is being left.
    End,
    /// Nothing about the status.
    Nothing,
}

/// A tool in a hook's words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookTool {
    /// The call's id, the same as in the transcript; a permission request has none.
    pub id: Option<String>,
    /// The tool; a harness may name it otherwise in its transcript.
    pub name: String,
    /// One line of what it does.
    pub summary: String,
    /// It asks the user something.
    pub asks: bool,
}

impl HookTool {
    /// Whether both are the same call.
    fn is(&self, other: &Self) -> bool {
        match (&self.id, &other.id) {
            (Some(a), Some(b)) => a == b,
            _ => self.name == other.name && self.summary == other.summary,
        }
    }

    /// Whether this is that call in the transcript.
    fn is_open(&self, open: &OpenTool) -> bool {
        match &self.id {
            Some(id) if !open.id.is_empty() => *id == open.id,
            // Harnesses may name a tool otherwise in their transcript, but not what it does.
            _ if !self.summary.is_empty() => self.summary == open.summary,
            _ => self.name == open.name,
        }
    }

    fn describe(&self) -> String {
        described(&self.name, &self.summary)
    }
}

/// What the hooks of one session say by now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hooked {
    /// The newest call; its harness was alive then.
    pub last: Timestamp,
    /// The latest word about the session's own turn.
    pub turn: Option<HookTurn>,
    /// Open dialogs, the oldest first.
    pub waits: Vec<Wait>,
    calls: Vec<Called>,
}

/// A word about the turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookTurn {
    /// What it says.
    pub state: HookState,
    /// When it was said last: what is older does not speak against it.
    pub at: Timestamp,
    /// Since when it holds.
    pub since: Timestamp,
}

/// What a hook can say of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum HookState {
    /// It is open.
    Open,
    /// It is over, but other agents of it work.
    Background,
    /// It is over, or none has begun.
    Over(Option<TurnResult>),
    /// The session was left.
    Ended,
}

/// A dialog that was open when a hook spoke of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    /// Whose tool it is about: a delegate's, else the session's own.
    pub agent: Option<String>,
    /// The tool, where it is said.
    tool: Option<HookTool>,
    /// What for.
    pub waiting_for: WaitingFor,
    /// Since when.
    pub since: Timestamp,
}

impl Wait {
    /// Whether nothing in the transcript speaks against it: nobody says that a dialog was dismissed.
    ///
    /// A transcript is appended to in order, so once it holds anything newer than the dialog, the call
    /// that the dialog is about is in it too: still open, or answered.
    #[must_use]
    pub fn stands(&self, fold: &Fold) -> bool {
        let followed = fold.last_word().is_some_and(|at| at >= self.since);
        if let Turn::Over { .. } = fold.turn() {
            return !followed;
        }
        let open = match &self.tool {
            Some(tool) => fold.open_tools.iter().any(|open| tool.is_open(open)),
            None => !fold.open_tools.is_empty(),
        };
        open || !followed
    }

    /// One line of it; empty where nothing is known.
    #[must_use]
    pub fn detail(&self) -> Option<String> {
        self.tool.as_ref().map(HookTool::describe)
    }
}

/// A tool that a hook has seen begin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Called {
    agent: Option<String>,
    tool: HookTool,
    at: Timestamp,
}

impl Hooked {
    /// The tool that began last and has not answered, unless the transcript is newer than that.
    #[must_use]
    pub fn activity(&self, fold: &Fold) -> Option<Activity> {
        let called = self.calls.iter().rev().find(|called| called.agent.is_none())?;
        let ahead = fold.last_word().is_none_or(|at| at < called.at);
        ahead.then(|| Activity {
            tool: Some(called.tool.name.clone()),
            summary: called.tool.summary.clone(),
            since: Some(called.at),
            // It would say so itself.
            may_wait: false,
        })
    }

    fn take(&mut self, event: &HookEvent) {
        let HookEvent { at, agent, .. } = event;
        self.last = self.last.max(*at);
        match &event.word {
            HookWord::Nothing => {}
            HookWord::Start => self.turn(event, HookState::Over(None)),
            HookWord::Prompt => self.turn(event, HookState::Open),
            HookWord::Call(tool) => {
                self.says(event, HookState::Open);
                if self.calls.len() == MAX_OPEN {
                    self.calls.remove(0);
                }
                self.calls.push(Called { agent: agent.clone(), tool: tool.clone(), at: *at });
                if tool.asks {
                    self.ask(event, tool, WaitingFor::Input);
                }
            }
            HookWord::Result(tool) => {
                self.calls.retain(|c| c.agent != *agent || !c.tool.is(tool));
                self.waits.retain(|wait| {
                    wait.agent != *agent || !wait.tool.as_ref().is_none_or(|of| of.is(tool))
                });
                if !self.is_left() {
                    self.says(event, HookState::Open);
                }
            }
            HookWord::Ask(tool) => {
                let what = if tool.asks { WaitingFor::Input } else { WaitingFor::Permission };
                self.ask(event, tool, what);
            }
            HookWord::Dialog(what) => {
                if !self.is_left() && self.waits.iter().all(|wait| wait.agent != *agent) {
                    self.wait(event, None, *what);
                }
            }
            HookWord::Answer(of) => self.waits.retain(|wait| {
                let id = wait.tool.as_ref().and_then(|tool| tool.id.as_ref());
                wait.agent != *agent || of.is_some() && id.is_some() && id != of.as_ref()
            }),
            HookWord::AtPrompt if self.is_left() => {}
            HookWord::AtPrompt => {
                let known = match self.turn {
                    Some(HookTurn { state: state @ HookState::Over(_), .. }) => state,
                    _ => HookState::Over(None),
                };
                self.turn(event, known);
            }
            // One release calls it after the end.
            HookWord::Stop { .. } if self.is_left() => {}
            HookWord::Stop { background: true, .. } => self.turn(event, HookState::Background),
            HookWord::Stop { result, .. } => self.turn(event, HookState::Over(Some(*result))),
            HookWord::AgentStart => {}
            HookWord::AgentStop => self.forget(agent),
            HookWord::End if agent.is_none() => {
                self.turn(event, HookState::Ended);
                (self.waits, self.calls) = (Vec::new(), Vec::new());
            }
            HookWord::End => {}
        }
    }

    /// A word that settles what was open.
    fn turn(&mut self, event: &HookEvent, state: HookState) {
        self.forget(&event.agent);
        self.says(event, state);
    }

    /// A word about the session's own turn; a delegate's is not.
    fn says(&mut self, event: &HookEvent, state: HookState) {
        if event.agent.is_some() {
            return;
        }
        let same = self.turn.filter(|turn| turn.state == state);
        let since = same.map_or(event.at, |turn| turn.since);
        self.turn = Some(HookTurn { state, at: event.at, since });
    }

    fn ask(&mut self, event: &HookEvent, tool: &HookTool, what: WaitingFor) {
        let same = |of: &HookTool| of.is(tool);
        if self.waits.iter().any(|w| w.agent == event.agent && w.tool.as_ref().is_some_and(same)) {
            return;
        }
        // A request does not name its call, but the call came just before.
        let called = self.calls.iter().rev().find(|c| c.agent == event.agent && c.tool.is(tool));
        let id = tool.id.clone().or_else(|| called.and_then(|called| called.tool.id.clone()));
        self.wait(event, Some(HookTool { id, ..tool.clone() }), what);
    }

    fn wait(&mut self, event: &HookEvent, tool: Option<HookTool>, waiting_for: WaitingFor) {
        if self.waits.len() == MAX_OPEN {
            self.waits.remove(0);
        }
        let agent = event.agent.clone();
        self.waits.push(Wait { agent, tool, waiting_for, since: event.at });
    }

    fn forget(&mut self, agent: &Option<String>) {
        self.waits.retain(|wait| wait.agent != *agent);
        self.calls.retain(|called| called.agent != *agent);
    }

    fn is_left(&self) -> bool {
        self.turn.is_some_and(|turn| turn.state == HookState::Ended)
    }
}

/// The calls of one session's hooks, in the order of their times.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Trail {
    /// What those say that came before the recent ones.
    before: Hooked,
    recent: VecDeque<HookEvent>,
    /// What all of them say.
    #[serde(skip)]
    pub hooked: Hooked,
    /// The newest working directory, transcript, process and way to it that were named.
    pub cwd: Option<String>,
    /// See `cwd`.
    pub transcript: Option<String>,
    /// See `cwd`.
    pub attach: Option<String>,
    /// See `cwd`.
    pub process: Option<HookedProcess>,
    /// The session is another one's delegate.
    pub delegate: bool,
}

/// A harness's process that a hook named.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookedProcess {
    /// Its pid.
    pub pid: u32,
    /// When a hook named it last: it was there then.
    pub named_at: Timestamp,
    /// When it was started, in the operating system's own spelling, once it has been looked at: pids are
    /// reused.
    pub started: Option<String>,
    /// Whether it is there; unknown until somebody has looked.
    pub liveness: Liveness,
}

impl HookedProcess {
    fn new(pid: u32, named_at: Timestamp) -> Self {
        Self { pid, named_at, started: None, liveness: Liveness::Unknown }
    }

    /// A hook names a process. The same pid is the same process while it is known to live; otherwise it
    /// may be the next one's. A call that comes late says nothing new.
    fn named(&mut self, pid: u32, at: Timestamp) {
        if at < self.named_at {
            return;
        }
        if pid == self.pid && self.liveness == Liveness::Alive {
            self.named_at = at;
        } else {
            *self = Self::new(pid, at);
        }
    }
}

impl Trail {
    /// What is known of the process that hooks named.
    #[must_use]
    pub fn seen(&self) -> Evidence {
        match &self.process {
            Some(HookedProcess { pid, liveness: Liveness::Alive, .. }) => {
                Evidence { liveness: Liveness::Alive, pid: Some(*pid), ..Evidence::default() }
            }
            Some(HookedProcess { liveness, .. }) => {
                Evidence { liveness: *liveness, ..Evidence::default() }
            }
            None => Evidence::default(),
        }
    }

    /// Takes one call; `false` when it was known, or is too old to find its place.
    pub fn take(&mut self, event: HookEvent) -> bool {
        let full = self.recent.len() >= RECENT;
        let too_old = full && self.recent.front().is_some_and(|first| event.at < first.at);
        if too_old || self.recent.iter().any(|known| known.id == event.id && event.id != 0) {
            return false;
        }
        if full && let Some(first) = self.recent.pop_front() {
            self.before.take(&first);
        }
        for (field, new) in [
            (&mut self.cwd, &event.cwd),
            (&mut self.transcript, &event.transcript),
            (&mut self.attach, &event.attach),
        ] {
            if new.is_some() {
                field.clone_from(new);
            }
        }
        match (event.pid, &mut self.process) {
            (None, _) => {}
            (Some(pid), Some(known)) => known.named(pid, event.at),
            (Some(pid), None) => self.process = Some(HookedProcess::new(pid, event.at)),
        }
        let place = self.recent.partition_point(|known| known.at <= event.at);
        self.recent.insert(place, event);
        self.add_up();
        true
    }

    /// What was stored, as it was but for what may have changed since.
    pub(crate) fn restore(&mut self) {
        if let Some(process) = self.process.as_mut()
            && process.liveness == Liveness::Alive
        {
            process.liveness = Liveness::Unknown;
        }
        self.add_up();
    }

    fn add_up(&mut self) {
        self.hooked = self.before.clone();
        self.recent.iter().for_each(|event| self.hooked.take(event));
    }
}

#[cfg(test)]
mod tests;
