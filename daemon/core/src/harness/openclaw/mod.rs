//! OpenClaw's sessions in files, as 2026.6.11 keeps them: pi's records with a few words more, in its own
//! folders. Since 2026.7.2 the same records are rows of a database, in which a header has version 4,
//! entries have whole UUIDs for ids, and a prompt is a plain string: one parser reads both.
//!
//! Where both are, the database has it. Not here: the database's tables ([`tables`]), what sessions ask a
//! person ([`asks`]), pi's records ([`super::pi`]), paths and what lies beside transcripts ([`files`]).

mod asks;
mod files;
mod tables;

use rrd_proto::Timestamp;

use super::{
    Format,
    pi::{Dialect, Message, Pi, Speaker, entries},
};
use crate::{
    fact::{Fact, Subagent, Text},
    live::LivenessBy,
    long::Long,
};

/// What [`super::formats`] lists.
pub(super) const FORMAT: Format = Format {
    name: "openclaw",
    home_var: "OPENCLAW_STATE_DIR",
    user_home_var: Some("OPENCLAW_HOME"),
    sessions_var: None,
    several_homes: false,
    homes: &[".openclaw"],
    // `--profile NAME`, and what the product was called before.
    other_homes: &[".openclaw-*", ".clawdbot", ".moltbot"],
    // Taken for each stretch of a run and given back while the model answers: 2026.6.11 releases it
    // before it streams, and takes it from a run that has had it for too long.
    traces: Some(("agents/*/sessions", LivenessBy::RunLock)),
    folders: &["agents", "state"],
    classify: files::classify,
    parser: |state| Box::new(Pi::new(state, DIALECT)),
    entries: Some(|line, tell| entries(line, &DIALECT, tell)),
    sidecar: tables::window,
    live_entry: files::lock,
    titles: files::titles,
    tables: Some(&tables::TABLES),
    asks: Some(&asks::ASKS),
};

const DIALECT: Dialect = Dialect { speaker, asks: |_| false, began, done, is_beside };

/// Of the types in a transcript, all but these are hung on the conversation without taking it further
/// (`isCanonicalSessionEntryType`; the first releases knew no `reset`).
fn is_beside(kind: &str) -> bool {
    !matches!(
        kind,
        "message"
            | "thinking_level_change"
            | "model_change"
            | "compaction"
            | "reset"
            | "branch_summary"
            | "custom"
            | "custom_message"
            | "label"
            | "session_info"
    )
}

/// The result of `sessions_spawn` says which conversation began, by its key: the session that it is in is
/// named nowhere. One that was only queued, or refused, did not begin.
fn began<'a>(message: &mut Message<'a>, at: Option<Timestamp>) -> Option<Fact<'a>> {
    let of_spawn = message.tool.text() == "sessions_spawn";
    let mut details = message.details.take().filter(|_| of_spawn)?;
    let id = details.child.some().filter(|_| details.status.text() == "accepted")?;
    let call = message.call.get().cloned();
    let who = Subagent { id, names_session: true, call, tool: None };
    Some(Fact::SubagentStart { who, at, text: Long::default() })
}

/// A delegate that is done is announced to who sent it off, in its name; how it went is in words for the
/// model only.
fn done<'a>(message: &mut Message<'a>) -> Option<Fact<'a>> {
    let mut provenance = message.provenance.take()?;
    let announced = provenance.tool.text() == "subagent_announce";
    let id = provenance.from.some().filter(|_| announced)?;
    let who = Subagent { id, names_session: true, call: None, tool: None };
    Some(Fact::SubagentStop { who, failed: false, text: Text::default() })
}

/// OpenClaw delivers messages in the place of users and agents, and says so.
fn speaker(message: &Message<'_>) -> Speaker {
    let from = message.provenance.get().map_or("", |provenance| provenance.kind.text());
    match (message.role.text(), from) {
        ("user", "inter_session") => return Speaker::Peer,
        ("user", "internal_system") => return Speaker::Harness,
        ("assistant", _) if message.provider.text() == "openclaw" => {}
        _ => return Speaker::ItsRole,
    }
    match message.model.text() {
        "delivery-mirror" | "gateway-injected"
            if message.abort.get().is_some_and(|abort| abort.aborted.is_true()) =>
        {
            Speaker::Stopped
        }
        "delivery-mirror" | "gateway-injected" => Speaker::Nobody,
        _ => Speaker::ItsRole,
    }
}

#[cfg(test)]
mod tests;
