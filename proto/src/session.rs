//! A session as everyone sees it: one row of `rrd sessions list`, and its JSON.
//!
//! Nothing in a row ticks: it holds times, not ages, so its bytes change only when the session does.

use serde::{Deserialize, Serialize};

use crate::{Cause, ChainEnd, Harness, Link, SessionKey, Timestamp};

macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$vmeta])* $variant,)* }

        impl $name {
            /// The word used in tables and JSON.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = String;
            fn from_str(word: &str) -> Result<Self, String> {
                match word {
                    $($word => Ok(Self::$variant),)*
                    _ => Err(format!("not one of {}", [$($word),*].join(", "))),
                }
            }
        }
    };
}
pub(crate) use words;

words! {
    /// What a session is doing, most urgent first.
    Status {
        /// It needs someone: see [`Session::waiting_for`].
        Waiting = "waiting",
        /// A turn is running.
        Executing = "executing",
        /// Its user's move.
        Idle = "idle",
        /// Its process is gone, or it has been silent for a day.
        Ended = "ended",
    }
}
words! {
    /// The evidence behind [`Session::status`], best first.
    StatusSource {
        /// The harness's own live registry.
        Registry = "registry",
        /// A hook call.
        Hook = "hook",
        /// An OS lock the live process holds.
        Lock = "lock",
        /// A tool call, prompt or question in the log that nothing has answered yet.
        OpenRecord = "open_record",
        /// The log says that the turn is over.
        StopReason = "stop_reason",
        /// The process itself: it is there, or it is gone.
        Pid = "pid",
        /// It said itself that it waits for another session.
        Declared = "declared",
        /// Only the silence: nothing has been written for long.
        Age = "age",
    }
}
words! {
    /// What a waiting session waits for.
    WaitingFor {
        /// Someone must allow or refuse a tool.
        Permission = "permission",
        /// Someone must answer a question.
        Input = "input",
        /// Another session.
        Session = "session",
    }
}
words! {
    /// How the last turn ended.
    TurnResult {
        /// The agent finished.
        Completed = "completed",
        /// The model's API or the harness failed.
        Error = "error",
        /// Its user stopped it.
        Interrupted = "interrupted",
        /// A rate or usage limit stopped it.
        RateLimited = "rate_limited",
    }
}
words! {
    /// Why an ended session ended.
    EndReason {
        /// Its process left after a finished turn.
        Exit = "exit",
        /// Its process died in the middle of a turn.
        Crashed = "crashed",
        /// Silent for a day, and nothing tells whether the process lives; or its transcript was deleted.
        Unknown = "unknown",
    }
}
words! {
    /// How a session came from its parent.
    ParentKind {
        /// Delegated by the parent.
        Subagent = "subagent",
        /// Copied from the parent's history.
        Fork = "fork",
        /// Continues the parent after compaction.
        Compression = "compression",
        /// Continues the parent elsewhere.
        Resume = "resume",
    }
}
words! {
    /// How this node knows a session's host.
    HostState {
        /// This is the host.
        Here = "here",
        /// Reachable.
        Live = "live",
        /// Silent since [`Session::host_seen_at`]; its rows are its last word.
        Away = "away",
    }
}
words! {
    /// How a session's transcript is in one of the places that its host mirrors to.
    CoverageState {
        /// The place has acknowledged all that there was of it.
        Mirrored = "mirrored",
        /// There is more of it than the place has.
        Behind = "behind",
        /// The same, and it cannot be brought there now: `rrd mirror status` of its host says why.
        Failing = "failing",
        /// Another host mirrors it.
        Elsewhere = "elsewhere",
        /// Another host mirrors it, and the copies of both went on: what only this one has is in no place.
        Diverged = "diverged",
        /// The user's choice of harnesses and repositories leaves it out.
        Excluded = "excluded",
        /// The user's choice is by repository, and nobody knows in which it is: nothing of it goes there.
        Held = "held",
        /// The user has stopped it: what is there stays there.
        Stopped = "stopped",
        /// It has been over for longer than the place keeps sessions.
        Expired = "expired",
        /// Nobody has looked yet, or a later release has another word.
        #[serde(other)]
        Unknown = "unknown",
    }
}

/// What one of the places that a session's host mirrors to has of its transcript.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Coverage {
    /// The place's address, without credentials; one that is too long is cut.
    pub url: String,
    /// How it is.
    pub state: CoverageState,
    /// Bytes of the transcript that are not there; null where that is not known.
    pub bytes_behind: Option<u64>,
    /// Since when it has been like that; of what is mirrored, when the last of it was acknowledged.
    pub since: Option<Timestamp>,
    /// Transcripts that belong to it and that no place has all of: what a program keeps of it in the session store
    /// beneath other subpaths than `subagents/…/agent-…`, and another one of the same id that has records of its
    /// own.
    #[serde(default)]
    pub only_here: u64,
}

/// That a harness deletes its own copies of sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Deletion {
    /// From when on, to the hour; null where its settings do not tell.
    pub at: Option<Timestamp>,
}

/// What the agent is doing right now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Activity {
    /// The tool at work; null while the model thinks.
    pub tool: Option<String>,
    /// One line: the command, the file, the question.
    pub summary: String,
    /// When it began.
    pub since: Option<Timestamp>,
    /// Somebody is asked before it is done, and whether they have answered nobody wrote down: what looks
    /// like work may be waiting.
    #[serde(default)]
    pub may_wait: bool,
}

/// What a transcript holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Counts {
    /// What a person or the SDK's caller asked; no injected turns, tool results or command echoes.
    pub prompts: u64,
    /// Distinct assistant messages.
    pub messages: u64,
    /// Tool uses.
    pub tool_calls: u64,
    /// Failed tool results and API errors.
    pub errors: u64,
}

/// Tokens as the harness reports them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Tokens {
    /// Read by the model, caches not included.
    pub input: u64,
    /// Written by the model.
    pub output: u64,
    /// Read from the prompt cache.
    pub cache_read: u64,
    /// Written to the prompt cache.
    pub cache_write: u64,
}

/// Something that could not be taken at face value; counted, never fatal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Issue {
    /// A stable word: `damaged_line`, `oversized_line`, `rewritten`, `unreadable`, … of its transcript;
    /// [`Issue::ALIVE_TWICE`], [`Issue::COPIED`], [`Issue::SOURCE_GONE`] and [`Issue::OUT_OF_SIGHT`] of
    /// the session itself.
    pub kind: String,
    /// How often; how many processes, or copies.
    pub count: u64,
    /// Byte offset of the first one; null where it has none.
    pub offset: Option<u64>,
    /// Which ones, where that helps: the processes, the copies' paths.
    pub detail: Option<String>,
}

impl Issue {
    /// Several live processes have the session open at once: what they write into it is mixed.
    pub const ALIVE_TWICE: &str = "alive_twice";
    /// Other transcripts have the same session id: only one of them is shown, or all are mixed.
    pub const COPIED: &str = "copied_transcript";
    /// Its transcript, or its rows in a database, were deleted, while the place they were in is there: it
    /// has ended, unless its process is known to live. What was read of it stands.
    pub const SOURCE_GONE: &str = "source_gone";
    /// What its transcript was in cannot be looked at now (a disk that is not mounted, a directory that
    /// cannot be read): its row is what was known last.
    pub const OUT_OF_SIGHT: &str = "out_of_sight";
}

/// One session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Session {
    /// Five letters, the same on every node.
    #[serde(rename = "ref")]
    pub reference: String,
    /// The host's label.
    pub host: String,
    /// The host's identity; null until its daemon has run once.
    pub node_id: Option<String>,
    /// Who writes the transcript.
    pub harness: Harness,
    /// The harness's own id.
    pub session_id: String,
    /// Repository name: from the remote, else the root directory; null outside a repository.
    pub repo: Option<String>,
    /// Its root directory on the host; a worktree shows the main checkout.
    pub repo_root: Option<String>,
    /// Its remote, without credentials.
    pub repo_remote: Option<String>,
    /// The branch as the harness logged it.
    pub branch: Option<String>,
    /// Where the session was started.
    pub cwd: Option<String>,
    /// The earliest record that this session itself wrote.
    pub started_at: Option<Timestamp>,
    /// The latest record.
    pub last_activity_at: Option<Timestamp>,
    /// The transcript on its host; null for a live session that has not written one yet.
    pub transcript_path: Option<String>,
    /// The given title, else the first prompt.
    pub title: Option<String>,
    /// The model of the last answer.
    pub model: Option<String>,
    /// What it is doing.
    pub status: Status,
    /// Since when.
    pub status_since: Option<Timestamp>,
    /// On what evidence.
    pub status_source: StatusSource,
    /// What a waiting session waits for.
    pub waiting_for: Option<WaitingFor>,
    /// One line of it: `Bash: npm publish`.
    pub waiting_detail: Option<String>,
    /// The session waited for, as a ref.
    pub waiting_on: Option<String>,
    /// What an executing session is doing.
    pub activity: Option<Activity>,
    /// How the last turn ended; null before the first end and while one is open.
    pub turn_result: Option<TurnResult>,
    /// Why it ended.
    pub end_reason: Option<EndReason>,
    /// Shown by `list` without flags.
    pub active: bool,
    /// Its process is known to be there; null when nothing tells.
    pub live: Option<bool>,
    /// A person sits at it (not `-p`, `exec` or an SDK); null when nothing tells.
    pub interactive: Option<bool>,
    /// Its process, while it lives.
    pub pid: Option<u32>,
    /// The session it came from.
    pub parent_session_id: Option<String>,
    /// How it came from there.
    pub parent_kind: Option<ParentKind>,
    /// What the transcript holds; null while it is not fully read.
    pub counts: Option<Counts>,
    /// Tokens used; null while it is not fully read or where the harness does not tell.
    pub tokens: Option<Tokens>,
    /// The whole transcript has been read.
    pub complete: bool,
    /// How this node knows the host.
    pub host_state: HostState,
    /// When the host was last heard of; null for this host.
    pub host_seen_at: Option<Timestamp>,
    /// A command that takes you to it, where the harness tells.
    pub attach: Option<String>,
    /// What could not be taken at face value.
    pub issues: Vec<Issue>,
    /// What each place has of it that its host mirrors to; empty where it mirrors to none.
    #[serde(default)]
    pub coverage: Vec<Coverage>,
    /// When its harness deletes its own copy; null where it does not.
    #[serde(default)]
    pub deletion: Option<Deletion>,
    /// What ties it to other sessions, beyond its parent.
    #[serde(default)]
    pub links: Vec<Link>,
    /// The end of its chain, where it waits for another session or another one waits for it.
    #[serde(default)]
    pub chain: Option<ChainEnd>,
    /// Marks of where it works, of a row that was cut on its way here; `None` of a whole one. Nobody is shown them.
    #[serde(skip)]
    pub workplaces: Option<Vec<String>>,
}

impl Session {
    /// One of which nothing else is known, on a host that is not there.
    #[must_use]
    pub fn unknown(key: SessionKey) -> Self {
        Self {
            reference: String::new(),
            host: String::new(),
            node_id: None,
            harness: key.harness,
            session_id: key.session_id,
            repo: None,
            repo_root: None,
            repo_remote: None,
            branch: None,
            cwd: None,
            started_at: None,
            last_activity_at: None,
            transcript_path: None,
            title: None,
            model: None,
            status: Status::Idle,
            status_since: None,
            status_source: StatusSource::Age,
            waiting_for: None,
            waiting_detail: None,
            waiting_on: None,
            activity: None,
            turn_result: None,
            end_reason: None,
            active: false,
            live: None,
            interactive: None,
            pid: None,
            parent_session_id: None,
            parent_kind: None,
            counts: None,
            tokens: None,
            complete: false,
            host_state: HostState::Away,
            host_seen_at: None,
            attach: None,
            issues: Vec::new(),
            coverage: Vec::new(),
            deletion: None,
            links: Vec::new(),
            chain: None,
            workplaces: None,
        }
    }

    /// Harness and session id.
    #[must_use]
    pub fn key(&self) -> SessionKey {
        SessionKey { harness: self.harness.clone(), session_id: self.session_id.clone() }
    }

    /// It lies in a circle of sessions that wait for each other: none of them can go on.
    #[must_use]
    pub fn is_in_circle(&self) -> bool {
        let is_own = |end: &&ChainEnd| end.reference == self.reference;
        self.chain.as_ref().filter(is_own).is_some_and(|end| end.cause == Cause::Deadlock)
    }

    /// It asks a person, or lies in a circle that only a person opens.
    #[must_use]
    pub fn needs_person(&self) -> bool {
        self.asks_person() || self.is_in_circle()
    }

    /// It asks a person, whatever it waits for besides.
    #[must_use]
    pub fn asks_person(&self) -> bool {
        self.status == Status::Waiting && self.waiting_for != Some(WaitingFor::Session)
    }

    /// The one that it was delegated by, or forked from.
    #[must_use]
    pub fn is_child_of(&self, other: &Self) -> bool {
        (&self.node_id, &self.harness) == (&other.node_id, &other.harness)
            && self.parent_session_id.as_ref() == Some(&other.session_id)
    }

    /// Active, or its process is there still.
    #[must_use]
    pub fn is_active_or_open(&self) -> bool {
        self.active || self.live == Some(true)
    }

    /// It sent a message that is on its way or unread.
    #[must_use]
    pub fn has_sent_unread(&self) -> bool {
        self.links.iter().any(Link::is_message_not_read)
    }

    /// True for a subagent, which `list` indents under its parent.
    #[must_use]
    pub fn is_subagent(&self) -> bool {
        self.parent_kind == Some(ParentKind::Subagent)
    }
}

/// How many of these need a person. What a delegate asks is asked once, though its parent shows it, too.
#[must_use]
pub fn needing(sessions: &[Session]) -> usize {
    let asking: Vec<&Session> = sessions.iter().filter(|one| one.needs_person()).collect();
    let is_told = |child: &Session| asking.iter().any(|one| child.is_child_of(one));
    asking.iter().filter(|one| !(one.is_subagent() && is_told(one))).count()
}
