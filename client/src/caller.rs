//! Which session runs this process?
//!
//! Three things tell. What a harness puts into the environment of what it runs; in a program that it keeps
//! running, an MCP server, that grows old: Claude Code goes on in another session after `/clear` and leaves
//! the variables of its servers as they were. The processes that this one runs in: of Claude Code's the daemon
//! knows which session each is in now, from the registry. And what Codex says with every call of an MCP tool,
//! whose servers it gives a clean environment. Claude Code's subagents have nothing of their own in either, so
//! they are told as their parent. None of it proves anything: whoever runs a program can say what they like.
//! Not here: how processes are looked up (the daemon's library), and what is done for a session.

use rrd_proto::{Harness, HostState, Session, SessionKey};

use crate::{
    ask::Answerer,
    error::{CliError, Kind},
    local,
    text::clean,
};

/// Where harnesses tell what they run which session it is.
const VARIABLES: [(&str, Harness); 3] = [
    ("CLAUDE_CODE_SESSION_ID", Harness::ClaudeCode),
    ("CODEX_THREAD_ID", Harness::Codex),
    ("HERMES_SESSION_ID", Harness::Hermes),
];

/// An id longer than this is none.
const MAX_ID: usize = 256;

/// What tells which session it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Evidence {
    /// Whoever typed the command.
    Named,
    /// The harness, with this very call.
    Call,
    /// A process that this one runs in.
    Process,
    /// The environment.
    Environment,
}

impl Evidence {
    /// The word used in JSON.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Named => "named",
            Self::Call => "call",
            Self::Process => "process",
            Self::Environment => "environment",
        }
    }
}

/// The session that runs this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    /// Which one, of this host unless it was named. The daemon need not know it yet.
    pub(crate) key: SessionKey,
    /// What tells.
    pub(crate) evidence: Evidence,
}

/// What there is to tell it by.
#[derive(Debug, Clone, Default)]
pub(crate) struct Clues {
    /// What the harness says with this very call.
    pub(crate) call: Option<SessionKey>,
    /// What the environment says, of each harness once.
    pub(crate) environment: Vec<SessionKey>,
    /// The processes that this one runs in, the nearest first.
    pub(crate) ancestors: Vec<u32>,
}

impl Clues {
    /// Those of this process, now: it may have been left to another parent since.
    pub(crate) fn gather() -> Self {
        let environment = variables(|name| std::env::var(name).ok());
        Self { call: None, environment, ancestors: local::ancestors() }
    }
}

/// The session for which a command is run: the one that was named, else the one that runs this process.
/// `hint` says how to name it.
///
/// # Errors
/// When no session is named so; when nothing tells which one it is, or which of several.
pub(crate) fn session(
    answerer: &Answerer,
    named: Option<&str>,
    hint: &str,
) -> Result<Caller, CliError> {
    if let Some(id) = named {
        let key = answerer.find(id, false)?.key();
        return Ok(Caller { key, evidence: Evidence::Named });
    }
    let found = recognised(answerer, &Clues::gather()).map_err(|error| error.hint(hint))?;
    found.ok_or_else(|| nobody().hint(hint))
}

/// A session of this host, the one that was named, or that runs this; `None` for a person, also where `none` is named.
/// `why` says what only its own host has to do with.
///
/// # Errors
/// When no session of this host is named so; when the clues tell of several.
pub(crate) fn here(
    answerer: &Answerer,
    named: Option<&str>,
    why: &str,
) -> Result<Option<SessionKey>, CliError> {
    match named {
        Some("none") => Ok(None),
        Some(id) => {
            let session = answerer.find(id, false)?;
            if session.host_state != HostState::Here {
                let whose = format!("that is a session of {}", clean(&session.host));
                return Err(CliError::new(Kind::NotFound, whose)
                    .hint(format!("{why}: run this on that host")));
            }
            Ok(Some(session.key()))
        }
        None => Ok(recognised(answerer, &Clues::gather())?.map(|found| found.key)),
    }
}

/// The session that the clues tell of; `None` for a person at a terminal.
///
/// # Errors
/// When they tell of several, and not which of them is the inner one.
pub(crate) fn recognised(answerer: &Answerer, clues: &Clues) -> Result<Option<Caller>, CliError> {
    let is_told = clues.call.is_some() || clues.ancestors.is_empty();
    let live = if is_told { Vec::new() } else { answerer.running(&clues.ancestors)? };
    decide(clues, &live)
}

/// That nothing tells which session it is.
pub(crate) fn nobody() -> CliError {
    CliError::new(Kind::Usage, "nothing tells which session this runs in").fact(
        "it was run by no agent, or by one that does not tell what it runs which session it is",
    )
}

/// Weighs the clues, with the live rows of this host.
fn decide(clues: &Clues, rows: &[Session]) -> Result<Option<Caller>, CliError> {
    if let Some(key) = &clues.call {
        return Ok(Some(Caller { key: key.clone(), evidence: Evidence::Call }));
    }
    let around: Vec<&Session> =
        clues.ancestors.iter().filter_map(|pid| session_of(*pid, rows)).collect();
    let is_around = |key: &&SessionKey| around.iter().any(|row| row.harness == key.harness);
    match (&*clues.environment, clues.environment.iter().all(|key| is_around(&key))) {
        // One harness was started by another, and of one of them no process is known.
        ([_, _, ..], false) => Err(several(&clues.environment)),
        // Of its harness no process is known: not where processes cannot be told, for one.
        ([one], false) => Ok(Some(Caller { key: one.clone(), evidence: Evidence::Environment })),
        (environment, _) => Ok(around.first().map(|row| settle(row, environment))),
    }
}

/// The innermost session that a process is known of, or another one of the same harness.
fn settle(row: &Session, environment: &[SessionKey]) -> Caller {
    match environment.iter().find(|key| key.harness == row.harness) {
        // A subagent's shell is told its own thread; the process is its parent's. Only Claude Code's servers
        // have an environment that is old.
        Some(key) if row.harness != Harness::ClaudeCode => {
            Caller { key: key.clone(), evidence: Evidence::Environment }
        }
        _ => Caller { key: row.key(), evidence: Evidence::Process },
    }
}

/// The session that a process of this host is in: of several the one that was active last.
fn session_of(pid: u32, rows: &[Session]) -> Option<&Session> {
    rows.iter()
        .filter(|row| row.host_state == HostState::Here && row.pid == Some(pid))
        .max_by_key(|row| (!row.is_subagent(), row.last_activity_at))
}

fn variables(variable: impl Fn(&str) -> Option<String>) -> Vec<SessionKey> {
    let found = VARIABLES.into_iter().filter_map(|(name, harness)| {
        let session_id = variable(name).filter(|id| is_id(id))?;
        Some(SessionKey { harness, session_id })
    });
    found.collect()
}

/// Whether a harness may have called a session so.
pub(crate) fn is_id(id: &str) -> bool {
    !id.is_empty() && id.len() <= MAX_ID && clean(id) == id
}

fn several(keys: &[SessionKey]) -> CliError {
    let names: Vec<String> = keys.iter().map(ToString::to_string).collect();
    let why = format!("this runs in more than one session: {}", clean(&names.join(", ")));
    CliError::new(Kind::Usage, why)
        .fact("one harness was started by another, and which is the inner one nothing tells")
}

#[cfg(test)]
mod tests {
    use rrd_proto::{ParentKind, Timestamp};

    use super::*;
    use crate::table::tests::session;

    fn row(harness: &str, id: &str, pid: u32) -> Session {
        Session { harness: harness.into(), pid: Some(pid), ..session(id) }
    }

    fn key(of: &str) -> SessionKey {
        let (harness, id) = of.split_once('/').unwrap();
        SessionKey { harness: harness.into(), session_id: id.to_owned() }
    }

    fn said(environment: &[&str], ancestors: &[u32], rows: &[Session]) -> String {
        let environment = environment.iter().map(|of| key(of)).collect();
        let clues = Clues { call: None, environment, ancestors: ancestors.to_vec() };
        match decide(&clues, rows) {
            Ok(Some(Caller { key, evidence })) => format!("{key} by {}", evidence.as_str()),
            Ok(None) => "nobody".to_owned(),
            Err(error) => error.message().to_owned(),
        }
    }

    #[test]
    fn the_clues_are_weighed() {
        let claude = row("claude-code", "new", 40);
        let codex = row("codex", "thread", 60);
        let claw = row("openclaw", "claw", 50);
        let mut child = row("codex", "child", 60);
        child.parent_kind = Some(ParentKind::Subagent);
        child.last_activity_at = Some(Timestamp::from_millis(i64::MAX));
        let mut away = row("claude-code", "theirs", 90);
        away.host_state = HostState::Live;
        let rows = [claude, codex, claw, child, away];
        let several = "this runs in more than one session: claude-code/old, codex/t";
        for (environment, ancestors, expected) in [
            (&[][..], &[][..], "nobody"),
            (&[], &[7, 1], "nobody"),
            // Another host's process has the same number.
            (&[], &[90, 1], "nobody"),
            (&["claude-code/a"], &[7, 1], "claude-code/a by environment"),
            (&["claude-code/a"], &[90, 1], "claude-code/a by environment"),
            // After /clear an MCP server's environment is that of the session before.
            (&["claude-code/old"], &[40, 1], "claude-code/new by process"),
            (&["claude-code/old"], &[7, 40, 1], "claude-code/new by process"),
            (&[], &[7, 40, 1], "claude-code/new by process"),
            // A Codex subagent's shell runs in the process of its parent.
            (&["codex/child"], &[7, 60, 1], "codex/child by environment"),
            (&["codex/unread"], &[7, 60, 1], "codex/unread by environment"),
            (&[], &[7, 60, 1], "codex/thread by process"),
            // One harness in another: the inner one, where both processes are known …
            (&["claude-code/old", "codex/t"], &[7, 60, 8, 40], "codex/t by environment"),
            (&["claude-code/old", "codex/t"], &[7, 40, 8, 60], "claude-code/new by process"),
            (&["claude-code/old"], &[7, 50, 8, 40], "openclaw/claw by process"),
            // … or only one is there to be told.
            (&["codex/t"], &[7, 40], "codex/t by environment"),
            (&["claude-code/old", "codex/t"], &[7, 40], several),
            (&["claude-code/old", "codex/t"], &[], several),
        ] {
            assert_eq!(
                said(environment, ancestors, &rows),
                expected,
                "{environment:?} {ancestors:?}"
            );
        }
    }

    #[test]
    fn what_a_harness_says_with_a_call_comes_first() {
        let call = Some(key("codex/c"));
        let clues = Clues { call, environment: vec![key("codex/e")], ancestors: vec![60] };
        let caller = decide(&clues, &[row("codex", "thread", 60)]).unwrap().unwrap();
        assert_eq!((caller.key, caller.evidence), (key("codex/c"), Evidence::Call));
    }

    #[test]
    fn the_environment_is_read_of_every_harness_and_not_believed_whatever_it_says() {
        let of = |set: &[(&str, &str)]| {
            let found = |name: &str| set.iter().find(|(known, _)| *known == name);
            variables(|name| found(name).map(|(_, value)| (*value).to_owned()))
        };
        let one = of(&[("CODEX_THREAD_ID", "t"), ("CLAUDE_CODE_SESSION_ID", "")]);
        assert_eq!(one, [key("codex/t")]);
        let two = of(&[("HERMES_SESSION_ID", "h"), ("CLAUDE_CODE_SESSION_ID", "c")]);
        assert_eq!(two, [key("claude-code/c"), key("hermes/h")]);
        assert!(of(&[("CODEX_THREAD_ID", "a\u{1b}[2J")]).is_empty());
        assert!(of(&[("CODEX_THREAD_ID", &"a".repeat(MAX_ID + 1))]).is_empty());
    }
}
