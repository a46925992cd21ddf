//! Messages between sessions, as tools.
//!
//! Not here: the other tools, and what a tool is ([`super::tools`]).

use std::time::{Duration, Instant};

use rrd_proto::message::{MAX_ACKNOWLEDGED, Message, MessageCall, MessageId, MessageState};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    reply::{Keep, Reply, fitting, value_of, wrong},
    tools::{Call, within},
};
use crate::{absence::Absence, again, ask::Answerer, caller, error::CliError, messages};

/// Messages of one answer.
const MAX_MESSAGES: u32 = 50;
const MESSAGES: u32 = 20;

/// Seconds that one call waits, at most.
const MAX_SECONDS: u64 = 600;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SendMessage {
    /// The session: its ref, a unique start of its session_id, or host/harness/session_id.
    id: String,
    /// What to tell it, at most 64 KiB. It is kept until that session has acknowledged it; secrets in it are
    /// replaced.
    text: String,
}

pub(super) fn send_message(call: &Call, args: SendMessage) -> Result<Reply, CliError> {
    let socket = &call.config().dirs.socket;
    let (from, there) = again::first(socket, None, |answerer| call.caller(answerer))?;
    let from = from.map(|you| you.key);
    let is_known = from.is_some();
    let message = messages::send(call.config(), &there, from, &args.id, args.text)?;
    let note = match message.state {
        MessageState::Queued => {
            Some("its host has not taken it yet: it is handed over when that host is there")
        }
        MessageState::Failed => Some("it will not arrive: see state and trouble"),
        MessageState::Unread | MessageState::Read => None,
    };
    let mut reply = Reply::default()
        .fact("id", message.id)
        .fact("state", message.state)
        .theirs("to", &message.to)
        .theirs("trouble", &message.trouble);
    if !is_known {
        reply = reply
            .note("which session you are in is not known: it stands there as written by a person");
    }
    Ok(note.into_iter().fold(reply, Reply::note))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Inbox {
    /// First acknowledge these, by their ids: they are shown no more.
    #[serde(default)]
    acknowledge: Vec<String>,
    /// Also what was acknowledged already.
    #[serde(default)]
    all: bool,
    /// At most so many: 1 to 50, 20 by default.
    limit: Option<u32>,
    /// Wait so long for one when there is none: 1 to 600. Everybody sees that you wait.
    seconds: Option<u64>,
    /// This message alone, by its id, with all of its text where a list has cut it.
    id: Option<String>,
    /// With `id`: its text from this byte on.
    at: Option<usize>,
}

pub(super) fn inbox(call: &Call, args: Inbox) -> Result<Reply, CliError> {
    let limit = within("limit", args.limit.unwrap_or(MESSAGES), MAX_MESSAGES)?;
    let seconds =
        args.seconds.map(|seconds| within("seconds", seconds, MAX_SECONDS)).transpose()?;
    if args.acknowledge.len() > MAX_ACKNOWLEDGED {
        return Err(wrong(format!("acknowledge names at most {MAX_ACKNOWLEDGED} messages")));
    }
    let read = |id: &String| id.parse().map_err(|error| wrong(format!("{error}")));
    let ids = args.acknowledge.iter().map(read).collect::<Result<Vec<MessageId>, _>>()?;
    let one: Option<MessageId> = args.id.as_ref().map(read).transpose()?;
    if one.is_none() && args.at.is_some() {
        return Err(wrong("at goes with id: the message whose text it is"));
    }
    let answerer = Answerer::Daemon(call.daemon()?);
    let Some(you) = call.caller(&answerer)?.map(|you| you.key) else {
        return Err(caller::nobody().hint("only a session that rrd knows has an inbox of its own"));
    };
    let Answerer::Daemon(daemon) = answerer else { return Ok(Reply::default()) };
    let mut reply = Reply::default();
    if !ids.is_empty() {
        reply = reply.fact("acknowledged", messages::acknowledge(&daemon, Some(&you), &ids)?);
    }
    if let Some(id) = one {
        let found = messages::one(&daemon, Some(you), id)?;
        let Some(message) = found else {
            return Err(wrong("your session got no such message, or it is kept no more"));
        };
        let reply = text_of(reply, &message, args.at.unwrap_or(0))?;
        messages::shown(&daemon, &[message]);
        return Ok(reply);
    }
    let (page, daemon) = match seconds {
        Some(seconds) if !args.all => {
            let deadline = Some(Instant::now() + Duration::from_secs(seconds));
            let goes_on = || !call.is_left();
            let mut absence = Absence::said_by(|_| ());
            let at = (call.config(), daemon);
            let came = messages::wait(at, Some(&you), limit, deadline, &mut absence, &goes_on)?;
            came.map_or_else(Default::default, |(page, daemon)| (page, Some(daemon)))
        }
        _ => {
            let of = Some(you);
            let query = MessageCall::Inbox { of, all: args.all, limit, wait_ms: 0, is_last: true };
            (messages::page(&daemon, &query, Duration::ZERO)?, Some(daemon))
        }
    };
    let (rows, out) = fitting(page.messages.iter().map(value_of).collect(), Keep::First);
    // A hook still tells of what found no room.
    let told = &page.messages[..rows.len()];
    if let Some(daemon) = daemon {
        messages::shown(&daemon, told);
    }
    let more = page.more + out as u64;
    let mut reply = reply.fact("more", more).theirs("messages", rows);
    if more > 0 {
        reply = reply.note(format!("{more} more messages: acknowledge these to see them"));
    }
    if page.messages.is_empty() {
        reply = reply.note("there is no message");
    }
    Ok(reply)
}

/// One message, its text from this byte on.
fn text_of(reply: Reply, message: &Message, at: usize) -> Result<Reply, CliError> {
    let (reply, text) = reply.piece(&message.text, at)?;
    let mut row = value_of(message);
    row["text"] = text.into();
    Ok(reply.theirs("message", row))
}
