//! `rrd inbox`: what other sessions wrote to this one, and what became of what it wrote.
//!
//! Not here: how messages get there (the daemon's).

use std::time::{Duration, Instant};

use rrd_proto::{
    Timestamp,
    message::{MAX_PAGE, Message, MessageCall, MessageId, MessagePage, MessageState, Party},
};

use crate::{
    absence::Absence,
    ask::Answerer,
    caller,
    cli::InboxArgs,
    clock,
    connect::{self, Unreachable},
    error::{CliError, Kind},
    local, look, messages, output,
    text::{clean, clean_lines, counted},
};

pub(crate) fn run(args: &InboxArgs) -> Result<(), CliError> {
    let config = local::config(None)?;
    let daemon = connect::dial(&config.dirs.socket).map_err(Unreachable::into_error)?;
    let answerer = Answerer::Daemon(daemon);
    let of = caller::here(&answerer, args.named.as_deref(), "its messages are kept there")?;
    let Answerer::Daemon(daemon) = answerer else { return Ok(()) };
    if !args.ack.is_empty() {
        let count = messages::acknowledge(&daemon, of.as_ref(), &args.ack)?;
        return acknowledged(args, count);
    }
    if args.ack_all && of.is_none() && args.named.is_none() {
        let why = "nothing tells whose messages --ack-all is to acknowledge";
        return Err(CliError::new(Kind::Usage, why)
            .hint("--as REF names the session; --as none means all of this host"));
    }
    let limit = args.limit;
    let (page, daemon) = if args.sent {
        let call = MessageCall::Sent { of: of.clone(), all: args.all, limit };
        (messages::page(&daemon, &call, Duration::ZERO)?, daemon)
    } else if args.wait {
        let deadline = args.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut absence = Absence::said_by(output::remark);
        let at = (&config, daemon);
        let came = messages::wait(at, of.as_ref(), limit, deadline, &mut absence, &|| true)?;
        came.ok_or_else(|| {
            let hint = match absence.is_now() {
                true => "this host's daemon did not answer: rrd status tells whether it is back",
                false => "rrd graph shows what the others wait for",
            };
            CliError::new(Kind::Late, "no message came in time").hint(hint)
        })?
    } else {
        let call =
            MessageCall::Inbox { of: of.clone(), all: args.all, limit, wait_ms: 0, is_last: true };
        (messages::page(&daemon, &call, Duration::ZERO)?, daemon)
    };
    if args.json {
        output::json(&page)?;
    } else {
        show(args, of.is_none(), &page)?;
    }
    if args.named.is_none() && of.is_some() {
        messages::shown(&daemon, &page.messages);
    }
    if args.ack_all {
        // What was shown, and nothing that came since.
        let unread = |message: &&Message| message.state == MessageState::Unread;
        let ids: Vec<MessageId> =
            page.messages.iter().filter(unread).map(|message| message.id).collect();
        messages::acknowledge(&daemon, of.as_ref(), &ids)?;
    }
    Ok(())
}

fn acknowledged(args: &InboxArgs, count: u64) -> Result<(), CliError> {
    if args.json {
        return output::json(&serde_json::json!({"acknowledged": count}));
    }
    let named = args.ack.len() as u64;
    output::remark(&match count == named {
        true => format!("{} acknowledged", counted(count, "message")),
        false => format!(
            "{count} of {} acknowledged: the others were before, or are none of this session's",
            counted(named, "message")
        ),
    });
    Ok(())
}

fn show(args: &InboxArgs, is_persons: bool, page: &MessagePage) -> Result<(), CliError> {
    if page.messages.is_empty() {
        output::remark(match (args.sent, args.all) {
            (true, false) => "nothing is on its way, and nothing failed",
            (true, true) => "nothing was sent",
            (false, false) => "no message that was not acknowledged",
            (false, true) => "no message",
        });
        return Ok(());
    }
    let now = clock::now();
    let mut lines = Vec::new();
    for message in &page.messages {
        if !lines.is_empty() {
            lines.push(String::new());
        }
        let whom = if is_persons || args.sent {
            format!("{} → {}", party(&message.from), party(&message.to))
        } else {
            format!("from {}", party(&message.from))
        };
        lines.push(look::paint(
            look::BOLD,
            &format!("{whom} · {} ago{}", rrd_proto::age(now, message.sent_at), late(message, now)),
        ));
        let state = match (message.state, &message.trouble) {
            (MessageState::Unread, None) => String::new(),
            (state, None) => format!(" · {state}"),
            (state, Some(why)) => format!(" · {state}: {}", clean(why)),
        };
        lines.push(look::paint(look::DIM, &format!("{}{state}", message.id)));
        lines.extend(clean_lines(&message.text).map(|line| format!("  {line}")));
        if (message.text.len() as u64) < message.bytes {
            lines.push(format!("  … {} bytes in all", message.bytes));
        }
    }
    output::print_lines(&lines)?;
    if page.more > 0 {
        let is_cut = page.messages.len() >= args.limit.clamp(1, MAX_PAGE) as usize;
        let how = match () {
            () if is_cut && args.limit < MAX_PAGE => "a higher --limit shows more of them",
            () if args.sent || args.all => "no answer holds more than these",
            () if args.ack_all => "the next rrd inbox shows them",
            () => "rrd inbox --ack-all takes these out of the way, and the next one shows them",
        };
        output::remark(&format!("{} more: {how}", page.more));
    }
    if !args.sent && !args.ack_all {
        output::remark("rrd inbox --ack ID… takes them out of here, --ack-all all that is shown");
    }
    Ok(())
}

/// That it was long on its way.
fn late(message: &Message, now: Timestamp) -> String {
    const LONG: i64 = 60_000;
    match message.received_at {
        Some(at) if at.since(message.sent_at) > LONG => {
            format!(", here for {}", rrd_proto::age(now, at))
        }
        _ => String::new(),
    }
}

fn party(party: &Party) -> String {
    match &party.reference {
        Some(reference) => format!("{} ({})", clean(reference), clean(&party.host)),
        None => format!("somebody at {}", clean(&party.host)),
    }
}
