//! What a `user` record really is: half of them are not the user.
//!
//! Tool results, echoes of slash commands, notifications, summaries and interrupts all come as user
//! records. 2.1.197 and later say who spoke (`promptSource`, `origin`); older ones only by their text.

use std::borrow::Cow;

use super::record::{Attachment, Block, Content, Record};
use crate::{
    fact::{Fact, Parsed, Subagent, issue},
    harness::json::Field,
    long::Long,
};

/// Who spoke in a user record.
pub(super) enum Said<'a> {
    /// A person or the SDK's caller.
    Prompt(Long<'a>),
    /// Another session: the message's id, where it is named, and the message.
    Peer(Option<Cow<'a, str>>, Long<'a>),
    /// The harness, and the model works on it.
    Injected(Long<'a>),
    /// The user stopped the turn.
    Interrupted,
    /// Nobody: tool results, echoes, context.
    Nothing,
}

/// What the client wraps in these is its own: echoes, output of local commands, context from an IDE.
const ECHOES: [&str; 16] = [
    "<command-name>",
    "<command-message>",
    "<command-args>",
    "<local-command-",
    "<bash-input>",
    "<bash-stdout>",
    "<bash-stderr>",
    "<ide_",
    "<system-reminder>",
    "<user-memory-input>",
    "<user-prompt-submit-hook>",
    "<post-tool-use-hook>",
    "Caveat: The messages below were generated",
    "This session is being continued from a previous conversation",
    "<fork-boilerplate>",
    "<new-diagnostics>",
];

const NOTICES: [&str; 5] =
    ["<task-notification>", "<teammate-message", "<channel ", "<agent-notification", "<cron-"];

const PEERS: [&str; 2] = ["Another Claude session sent a message:", "<cross-session-message"];

/// Puts a user record's tool results into `into` and says what else it is.
pub(super) fn said<'a>(record: &mut Record<'a>, into: &mut Parsed<'a>) -> Said<'a> {
    let content = record.message.take().and_then(|mut message| {
        if message.misshapen() {
            into.issues.push(issue::SHAPE);
        }
        message.content.take()
    });
    let mut results = false;
    let mut media = false;
    let mut text: Option<Long<'a>> = None;
    let mut echo = None;
    match content {
        Some(Content::Text(whole)) => text = Some(whole.into()),
        Some(Content::Blocks(blocks)) => {
            for block in blocks {
                let Field::Is(mut block) = block else {
                    into.issues.push(issue::SHAPE);
                    continue;
                };
                match block.kind.text() {
                    "tool_result" => {
                        results = true;
                        into.facts.push(result(block));
                    }
                    "text" => {
                        let said = block.text.take().unwrap_or_default();
                        // The IDE's context comes as a block before the prompt's own.
                        if begins(&said, &ECHOES) {
                            echo = echo.or(Some(said));
                        } else if let Some(text) = &mut text {
                            text.and(block.text.json());
                        } else {
                            text = Some(said);
                        }
                    }
                    "image" | "document" => {
                        media = true;
                        let source = block.source.take().unwrap_or_default();
                        let text = text.get_or_insert_default();
                        text.and_media(source.kind.text(), source.data.json());
                    }
                    _ => {}
                }
            }
        }
        None => {
            if !into.issues.contains(&issue::SHAPE) {
                into.issues.push(issue::SHAPE);
            }
        }
    }
    let text = text.or(echo).unwrap_or_default();
    if text.starts_with("[Request interrupted by user") {
        Said::Interrupted
    } else if results {
        Said::Nothing
    } else {
        speaker(record, text, media)
    }
}

fn speaker<'a>(record: &mut Record<'a>, text: Long<'a>, media: bool) -> Said<'a> {
    let mut origin = record.origin.take().unwrap_or_default();
    let injected = !matches!(origin.kind.text(), "" | "human");
    match (origin.kind.text(), record.prompt_source.text()) {
        ("peer", _) => {
            let body = origin.body.some().map_or(text, Long::from);
            return Said::Peer(origin.message_id.some(), body);
        }
        // In the middle of a turn the model goes on, after `/compact` nobody does.
        _ if record.is_compact_summary.is_true() => return Said::Nothing,
        (_, "system") => return Said::Injected(text),
        _ if injected => return Said::Injected(text),
        _ if record.is_meta.is_true() => return Said::Nothing,
        (_, "typed" | "sdk") | ("human", _) => return Said::Prompt(text),
        (_, "") => {}
        _ => return Said::Injected(text),
    }
    if begins(&text, &NOTICES) {
        Said::Injected(text)
    } else if begins(&text, &PEERS) {
        Said::Peer(None, text)
    } else if begins(&text, &ECHOES) || text.trim().is_empty() && !media {
        Said::Nothing
    } else {
        Said::Prompt(text)
    }
}

/// What came while a turn was running is no record of its own: 2.1.329 attaches it to the turn.
pub(super) fn queued<'a>(mut attachment: Attachment<'a>) -> Said<'a> {
    if attachment.kind.text() != "queued_command" {
        return Said::Nothing;
    }
    let text = match attachment.prompt.take() {
        Some(Content::Text(text)) => text.into(),
        Some(Content::Blocks(blocks)) => {
            let mut texts = blocks.into_iter().filter_map(|mut block| {
                let mut block = block.take()?;
                Some((block.text.take()?, block.text))
            });
            let mut text = texts.next().map(|(text, _)| text).unwrap_or_default();
            texts.for_each(|(_, rest)| text.and(rest.json()));
            text
        }
        None => Long::default(),
    };
    let mut origin = attachment.origin.take().unwrap_or_default();
    match (origin.kind.text(), attachment.mode.text()) {
        ("peer", _) => {
            let body = origin.body.some().map_or(text, Long::from);
            Said::Peer(origin.message_id.some(), body)
        }
        ("" | "human", "prompt") if !attachment.is_meta.is_true() => Said::Prompt(text),
        _ => Said::Injected(text),
    }
}

/// What reports back in a `<task-notification>`: a delegate, or a command in the background.
pub(super) struct Task<'t> {
    pub(super) id: &'t str,
    call: Option<&'t str>,
    /// How it came out; empty where that is not said.
    status: &'t str,
}

impl Task<'_> {
    /// If it was a delegate, and is done.
    pub(super) fn stop<'a>(&self) -> Option<Fact<'a>> {
        if !matches!(self.status, "" | "completed" | "failed" | "killed" | "stopped") {
            return None;
        }
        let who = Subagent {
            id: self.id.to_owned().into(),
            names_session: true,
            call: self.call.map(|call| call.to_owned().into()),
            tool: None,
        };
        let text = self.status.to_owned().into();
        Some(Fact::SubagentStop { who, failed: self.status == "failed", text })
    }
}

/// Who reports back in a `<task-notification>`.
pub(super) fn task(text: &str) -> Option<Task<'_>> {
    let text = text.trim_start().strip_prefix("<task-notification>")?;
    let tag = |open: &str, close: &str| {
        let (_, inner) = text.split_once(open)?;
        Some(inner.split_once(close)?.0.trim())
    };
    Some(Task {
        id: tag("<task-id>", "</task-id>")?,
        call: tag("<tool-use-id>", "</tool-use-id>"),
        status: tag("<status>", "</status>").unwrap_or_default(),
    })
}

fn result(mut block: Block<'_>) -> Fact<'_> {
    Fact::ToolResult {
        id: block.tool_use_id.take().unwrap_or_default(),
        is_error: block.is_error.is_true(),
        text: block.content.take().unwrap_or_default(),
    }
}

fn begins(text: &str, with: &[&str]) -> bool {
    let text = text.trim_start();
    with.iter().any(|start| text.starts_with(start))
}
