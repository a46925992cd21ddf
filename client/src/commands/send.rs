//! `rrd send`: one message to another session.
//!
//! Not here: which session this is ([`crate::caller`]), and how a message gets there (the daemon's).

use std::io::{Read, stdin};

use rrd_proto::message::{MAX_MESSAGE, MessageState};

use crate::{
    again, caller,
    cli::SendArgs,
    error::{CliError, Kind},
    local, messages, output,
    text::clean,
};

pub(crate) fn run(args: &SendArgs) -> Result<(), CliError> {
    let text = match args.text.as_str() {
        "-" => from_stdin()?,
        text => text.to_owned(),
    };
    let config = local::config(None)?;
    let named = args.named.as_deref();
    let who = |answerer: &_| caller::here(answerer, named, "its messages are kept there");
    let (from, there) = again::first(&config.dirs.socket, None, who)?;
    let message = messages::send(&config, &there, from, &args.id, text)?;
    let whom = message.to.reference.as_deref().unwrap_or(&args.id);
    let (whom, host) = (clean(whom), clean(&message.to.host));
    let trouble = message.trouble.as_deref().map(clean).unwrap_or_default();
    if args.json {
        output::json(&message)?;
    }
    if message.state == MessageState::Failed {
        let why = format!("{} will not arrive: {trouble}", message.id);
        return Err(
            CliError::new(Kind::NotFound, why).hint("rrd sessions list --all shows every id")
        );
    }
    if args.json {
        return Ok(());
    }
    let said = match (message.state, trouble.is_empty()) {
        (MessageState::Queued, true) => {
            format!("on its way to {whom}: {host} has not taken it yet; rrd inbox --sent tells")
        }
        (MessageState::Queued, false) => {
            format!(
                "on its way to {whom}: {host} has not taken it yet ({trouble}); rrd inbox --sent tells"
            )
        }
        (_, true) => format!("{whom} on {host} has it, unread"),
        (_, false) => format!("{host} has it for {whom}, but {trouble}"),
    };
    output::print_lines(&[format!("{}  {said}", message.id)])
}

/// All that comes, but for what is too much in any case.
fn from_stdin() -> Result<String, CliError> {
    let mut bytes = Vec::new();
    let read = stdin().lock().take(MAX_MESSAGE as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|error| CliError::new(Kind::Usage, format!("cannot read stdin: {error}")))?;
    if bytes.len() > MAX_MESSAGE {
        let why = format!("a message has at most {MAX_MESSAGE} bytes, and there are more on stdin");
        return Err(CliError::new(Kind::NotFound, why)
            .hint("put it into a file that the other one can read, and name that"));
    }
    String::from_utf8(bytes).map_err(|_| {
        CliError::new(Kind::NotFound, "what is on stdin is no text in UTF-8")
            .hint("put it into a file that the other one can read, and name that")
    })
}
