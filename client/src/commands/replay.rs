//! `rrd sessions replay ID`: goes to the session, and leaves the rest to [`crate::replay`].

use std::io::{self, IsTerminal};

use crate::{
    ask::Answerer,
    cli::ReplayArgs,
    error::{CliError, Kind},
    local, output,
    replay::{self, Moment, Wish},
};

pub(crate) fn run(args: &ReplayArgs) -> Result<(), CliError> {
    if !output::is_terminal() || !io::stdin().is_terminal() {
        return Err(CliError::new(Kind::Usage, "a replay needs a terminal to draw on")
            .hint(format!("rrd sessions show {} --events prints what happened", shown(&args.id))));
    }
    let at = args.at.as_deref().map(Moment::parse).transpose();
    let at = at.map_err(|why| CliError::new(Kind::Usage, format!("--at: {why}")))?;
    let raw = args.raw.granted()?;
    let config = local::config(None)?;
    let answerer = Answerer::open(&config);
    let session = answerer.find(&args.id, raw)?;
    replay::run(answerer, config, Wish { session, at, speed: args.speed, raw })
}

/// What was typed, if it may be shown.
fn shown(id: &str) -> String {
    crate::text::shell_word(id).unwrap_or_else(|| "ID".to_owned())
}
