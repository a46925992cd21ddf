//! What is known about a session's process from outside its transcript.
//!
//! The daemon looks (registry files, locks, the process table) and hands the findings in; this module
//! only names them. Not here: the looking, and what follows for the status ([`crate::status`]).

use rrd_proto::Timestamp;
use serde::{Deserialize, Serialize};

use crate::hook::Hooked;

/// What names a live process: an entry of a harness's registry (Claude Code's `sessions/<pid>.json`), or
/// a lock that says who holds it (OpenClaw's `<session>.jsonl.lock`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryEntry {
    /// The process that wrote it.
    pub pid: u32,
    /// The session it is in now; `/clear` changes it. Empty where the file's name tells.
    pub session_id: String,
    /// The process's start time in the operating system's own spelling; pids are reused.
    pub proc_start: Option<String>,
    /// Which machine and pid namespace `pid` means something in; `None` in older releases.
    pub pid_domain: Option<String>,
    /// What it says the session does.
    pub state: Option<RegistryState>,
    /// What it waits for, in the harness's words, where these say more than the state does.
    pub wants: Option<String>,
    /// When it said so.
    pub state_since: Option<Timestamp>,
    /// When it was last written, by its own word.
    pub written_at: Option<Timestamp>,
    /// When the process started.
    pub started_at: Option<Timestamp>,
    /// A person sits at it.
    pub interactive: Option<bool>,
    /// The working directory.
    pub cwd: Option<String>,
    /// Where in tmux it runs, as tmux's `-t` takes it: the session, or with its window and pane.
    pub tmux: Option<String>,
}

/// What a registry entry says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegistryState {
    /// A turn, or a background agent, is running.
    Busy,
    /// A permission dialog is open.
    WaitingPermission,
    /// A question is open.
    WaitingInput,
    /// At its prompt.
    Idle,
    /// A word this release does not know.
    Unknown(String),
}

/// Whether a process is there. Absence of knowledge is not death.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Liveness {
    /// It is.
    Alive,
    /// It is gone.
    Dead,
    /// Nothing tells.
    #[default]
    Unknown,
}

/// A question to a person that the harness has written down, for as long as it is open. It stands for
/// itself, wherever the process is that waits for the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// When it was asked.
    pub since: Timestamp,
    /// When it counts as refused.
    pub until: Timestamp,
    /// The tool and what it would do, in one short line.
    pub wants: String,
}

/// Everything known about one session's process.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// Is it there?
    pub liveness: Liveness,
    /// What made `liveness` known.
    pub by: LivenessBy,
    /// The registry's word, current only while the process lives or may do so.
    pub registry: Option<RegistryState>,
    /// What it waits for, see [`RegistryEntry::wants`].
    pub wants: Option<String>,
    /// When the registry said so.
    pub registry_since: Option<Timestamp>,
    /// When its entry was last written, where that is all that tells whether the process may live.
    pub registry_written: Option<Timestamp>,
    /// The process.
    pub pid: Option<u32>,
    /// Other live processes that name the same session.
    pub also: Vec<u32>,
    /// A person sits at it.
    pub interactive: Option<bool>,
    /// A command that takes a person to it.
    pub attach: Option<String>,
    /// Where it was started.
    pub cwd: Option<String>,
    /// When its process started.
    pub started_at: Option<Timestamp>,
    /// What its hooks say.
    pub hook: Option<Hooked>,
    /// What it asks a person.
    pub ask: Option<Ask>,
    /// Its transcript has been put away: it has ended, unless a live process holds it after all.
    pub archived: bool,
}

/// What made a liveness known.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum LivenessBy {
    /// A registry entry and its process.
    #[default]
    Registry,
    /// A lock that the process holds for as long as it has the session.
    Lock,
    /// A lock that names its holder, for the length of (a part of) a run. That it is missing tells
    /// nothing, and whose holder died tells of that run alone.
    RunLock,
}
