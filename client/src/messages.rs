//! Sending messages and reading them, for the command line and for MCP alike.
//!
//! Not here: how they are shown.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use rrd_proto::{
    SessionKey,
    message::{
        MAX_ACKNOWLEDGED, Message, MessageCall, MessageId, MessagePage, MessageReply, MessageState,
    },
};

use crate::{
    absence::Absence,
    again::{AGAIN, BACK, There},
    connect::{self, Connection, Unreachable},
    error::{CliError, Kind},
    local::Config,
};

/// What one call waits.
const WAIT_MS: u32 = 10_000;

/// What a call may take that waits until a message has arrived.
const ARRIVES: Duration = Duration::from_secs(5);

/// Sends one, once: where the daemon ends before it answers, it is asked again when it is back, and knows the call
/// by its key.
pub(crate) fn send(
    config: &Config,
    there: &There,
    from: Option<SessionKey>,
    to: &str,
    text: String,
) -> Result<Message, CliError> {
    let mut idempotency_key = [0; 16];
    getrandom::fill(&mut idempotency_key).map_err(|error| {
        CliError::new(Kind::Internal, format!("the system gives no random numbers: {error}"))
    })?;
    let call = MessageCall::Send { from, to: to.to_owned(), text, idempotency_key };
    let mut told = there.daemon.message(&call, ARRIVES);
    let (mut is_again, deadline) = (there.is_anew, Instant::now() + BACK);
    loop {
        let is_late = Instant::now() >= deadline;
        match told {
            Ok(Ok(MessageReply::Sent(message))) => return Ok(*message),
            Ok(Ok(_)) => return Err(other()),
            // When it has just started it may not know that session yet.
            Ok(Err(refusal)) if is_late || !is_again => return Err(refusal.into()),
            Err(error) if error.kind() != Kind::NoDaemon => return Err(error),
            Err(error) if is_late => {
                let why = format!("{}: the message may have been kept", error.message());
                return Err(CliError::new(Kind::NoDaemon, why)
                    .hint("rrd inbox --sent --all shows whether, once the daemon is back"));
            }
            Ok(Err(_)) | Err(_) => {}
        }
        sleep(AGAIN);
        is_again = true;
        told = connect::dial(&config.dirs.socket)
            .map_err(Unreachable::into_error)
            .and_then(|again| again.message(&call, ARRIVES));
    }
}

/// One that came for this session, or for any; `None` where it is kept no more, or is another one's.
pub(crate) fn one(
    daemon: &Connection,
    of: Option<SessionKey>,
    id: MessageId,
) -> Result<Option<Message>, CliError> {
    Ok(page(daemon, &MessageCall::One { of, id }, Duration::ZERO)?.messages.pop())
}

pub(crate) fn page(
    daemon: &Connection,
    call: &MessageCall,
    wait: Duration,
) -> Result<MessagePage, CliError> {
    match daemon.message(call, wait)?? {
        MessageReply::Page(page) => Ok(page),
        _ => Err(other()),
    }
}

/// How many had not been acknowledged before.
pub(crate) fn acknowledge(
    daemon: &Connection,
    of: Option<&SessionKey>,
    ids: &[MessageId],
) -> Result<u64, CliError> {
    let mut all = 0;
    for ids in ids.chunks(MAX_ACKNOWLEDGED) {
        let call = MessageCall::Acknowledge { of: of.cloned(), ids: ids.to_vec() };
        match daemon.message(&call, Duration::ZERO)?? {
            MessageReply::Acknowledged(count) => all += count,
            _ => return Err(other()),
        }
    }
    Ok(all)
}

/// Says that their own session was just shown these, so that no hook tells it once more. Where that cannot be
/// said, one does.
pub(crate) fn shown(daemon: &Connection, messages: &[Message]) {
    let is_news = |one: &&Message| one.state == MessageState::Unread && one.shown_at.is_none();
    let ids: Vec<MessageId> = messages.iter().filter(is_news).map(|one| one.id).collect();
    if !ids.is_empty() {
        let _ = daemon.message(&MessageCall::Shown { ids }, Duration::ZERO);
    }
}

/// What is there, as soon as something is, and who told it; `None` when nothing came by then. A daemon that ends
/// meanwhile is asked again when it is back; one that hangs keeps nobody beyond the deadline for long.
pub(crate) fn wait(
    (config, daemon): (&Config, Connection),
    of: Option<&SessionKey>,
    limit: u32,
    deadline: Option<Instant>,
    absence: &mut Absence,
    goes_on: &dyn Fn() -> bool,
) -> Result<Option<(MessagePage, Connection)>, CliError> {
    let mut daemon = Some(daemon);
    let most = if deadline.is_some() { 1_000 } else { WAIT_MS };
    loop {
        let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        let is_late = left.is_some_and(|left| left.is_zero());
        let wait_ms = left
            .map_or(WAIT_MS, |left| u32::try_from(left.as_millis()).unwrap_or(most).clamp(1, most));
        // Nobody is shown to wait on after the last call.
        let is_last = left.is_some_and(|left| left.as_millis() <= u128::from(wait_ms));
        let call = MessageCall::Inbox { of: of.cloned(), all: false, limit, wait_ms, is_last };
        let wait = Duration::from_millis(wait_ms.into());
        let told = daemon.take().map(|daemon| (daemon.message_by(&call, wait, deadline), daemon));
        if let Some((Ok(_), _)) = told {
            absence.ends();
        }
        match told {
            Some((Ok(Ok(MessageReply::Page(page))), there)) if !page.messages.is_empty() => {
                return Ok(Some((page, there)));
            }
            Some((Ok(Ok(_)), there)) => daemon = Some(there),
            Some((Ok(Err(refusal)), _)) => return Err(refusal.into()),
            Some((Err(_), _)) | None => {
                absence.begins_or_lasts();
                let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
                if left.is_some_and(|left| left.is_zero()) {
                    return Ok(None);
                }
                sleep(left.map_or(AGAIN, |left| AGAIN.min(left)));
                daemon = connect::dial_by(&config.dirs.socket, deadline).ok();
            }
        }
        if is_late || !goes_on() {
            return Ok(None);
        }
    }
}

fn other() -> CliError {
    CliError::new(Kind::Internal, "the daemon answered something else")
}
