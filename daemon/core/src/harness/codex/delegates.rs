//! What Codex writes into a parent of its delegates: the items of its calls, and notifications.
//!
//! The item of a `spawn_agent` and its result were recorded of 0.169; the words for how a delegate is are
//! those of `AgentStatus` in Codex's protocol, which the recorded `pending_init` is one of. Not here: the
//! header of a delegate's own file ([`super::header`]).

use std::borrow::Cow;

use rrd_proto::Timestamp;
use serde::de::MapAccess;

use super::Item;
use crate::{
    fact::{Fact, Parsed, Subagent},
    harness::{
        head::Raw,
        json::{Field, Key, Shape, Str, first, object},
    },
    long::Long,
};

/// Delegates whose states one record may tell.
const MOST: usize = 1024;
/// What the model is told when a delegate is done.
const NOTICE: &str = "<subagent_notification>";

/// How delegates are, by their threads.
#[derive(Debug, Default)]
pub(super) struct States<'a>(Vec<(Cow<'a, str>, Raw<'a>)>);

impl<'de: 'a, 'a> Shape<'de> for States<'a> {
    fn object<A: MapAccess<'de>>(mut entries: A) -> Result<Option<Self>, A::Error> {
        let mut states = Self::default();
        while let Some((thread, state)) = entries.next_entry::<Key<'de>, Raw<'de>>()? {
            if states.0.len() < MOST {
                states.0.push((thread.0, state));
            }
        }
        Ok(Some(states))
    }
}

object! {
    struct Spawned<'a> {
        thread: Str<'a> = "agent_id",
    }
}

object! {
    struct Notice<'a> {
        thread: Str<'a> = "agent_id",
        status: Raw<'a> = "status",
    }
}

/// A completed call that concerns delegates.
pub(super) fn completed<'a>(mut item: Item<'a>, into: &mut Parsed<'a>) {
    let call = item.id.some();
    if item.tool.text() == "spawn_agent" {
        let text = item.prompt.take().unwrap_or_default();
        for thread in item.receivers.take().into_iter().flatten().take(MOST) {
            let Field::Is(thread) = thread else { continue };
            let who = subagent(thread, call.clone());
            into.facts.push(Fact::SubagentStart { who, at: into.at, text: text.clone() });
        }
    }
    let states = item.states.take().unwrap_or_default();
    for (thread, state) in states.0 {
        into.facts.extend(stop(thread, call.clone(), state));
    }
}

/// A call's result: releases that write no items say only here that a delegate began.
pub(super) fn began<'a>(
    call: &Cow<'a, str>,
    output: &str,
    at: Option<Timestamp>,
) -> Option<Fact<'a>> {
    let mut spawned: Spawned<'_> =
        first(output.as_bytes()).filter(|_| output.starts_with("{\"agent_id\""))?;
    let thread = Cow::Owned(spawned.thread.some()?.into_owned());
    let who = Subagent { tool: Some("spawn_agent"), ..subagent(thread, Some(call.clone())) };
    Some(Fact::SubagentStart { who, at, text: Long::default() })
}

/// What is said to the model in the user's place: that a delegate is done.
pub(super) fn noticed(content: Raw<'_>, into: &mut Parsed<'_>) {
    if !content.json().contains(NOTICE) {
        return;
    }
    let text = content.head();
    let notice = text.text().trim_start().strip_prefix(NOTICE);
    let notice = notice.and_then(|notice| notice.split("</subagent_notification>").next());
    let Some(mut notice) = notice.and_then(|json| first::<Notice<'_>>(json.trim().as_bytes()))
    else {
        return;
    };
    if let Some(thread) = notice.thread.some() {
        let stop = stop(Cow::Owned(thread.into_owned()), None, notice.status);
        into.facts.extend(stop);
    }
}

fn subagent<'a>(id: Cow<'a, str>, call: Option<Cow<'a, str>>) -> Subagent<'a> {
    Subagent { id, names_session: true, call, tool: None }
}

/// A delegate that is done; `state` is a word, or an object of one word and what there is to say.
fn stop<'a>(thread: Cow<'a, str>, call: Option<Cow<'a, str>>, state: Raw<'_>) -> Option<Fact<'a>> {
    let word = state.json().trim_start_matches(['{', '"', ' ', '\n']).split('"').next()?;
    if !matches!(word, "completed" | "errored" | "interrupted" | "shutdown") {
        return None;
    }
    let who = subagent(thread, call);
    let text = Cow::Owned(word.to_owned());
    Some(Fact::SubagentStop { who, failed: word == "errored", text })
}
