//! What is known about a session's process from outside its transcript.
//!
//! The daemon looks (registry files, locks, the process table) and hands the findings in; this module
//! only names them. Not here: the looking, and what follows for the status ([`crate::status`]).

use rrd_proto::Timestamp;

use crate::hook::Hooked;

/// One entry of a harness's live registry (Claude Code's `sessions/<pid>.json`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryEntry {
    /// The process that wrote it.
    pub pid: u32,
    /// The session it is in now; `/clear` changes it.
    pub session_id: String,
    /// The process's start time in the operating system's own spelling; pids are reused.
    pub proc_start: Option<String>,
    /// Which machine and pid namespace `pid` means something in; `None` in older releases.
    pub pid_domain: Option<String>,
    /// What it says the session does.
    pub state: Option<RegistryState>,
    /// When it said so.
    pub state_since: Option<Timestamp>,
    /// When the process started.
    pub started_at: Option<Timestamp>,
    /// A person sits at it.
    pub interactive: Option<bool>,
    /// The working directory.
    pub cwd: Option<String>,
    /// The tmux session it runs in, as tmux names it.
    pub tmux_session: Option<String>,
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
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Liveness {
    /// It is.
    Alive,
    /// It is gone.
    Dead,
    /// Nothing tells.
    #[default]
    Unknown,
}

/// Everything known about one session's process.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// Is it there?
    pub liveness: Liveness,
    /// What made `liveness` known.
    pub by: LivenessBy,
    /// The registry's word, current only while the process lives.
    pub registry: Option<RegistryState>,
    /// When the registry said so.
    pub registry_since: Option<Timestamp>,
    /// The process.
    pub pid: Option<u32>,
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
}

/// What made a liveness known.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum LivenessBy {
    /// A registry entry and its process.
    #[default]
    Registry,
    /// A lock.
    Lock,
}
