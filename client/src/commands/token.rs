//! `rrd token`: a token with which a script may look, or a program use the session store.
//!
//! It is printed once, alone, so that it goes into a file or a pipe as it is. Not here: the list, which is
//! that of browsers too ([`super::pair`]).

use rrd_proto::{LookerCall, LookerKind, LookerReply};

use super::{
    fleet::unexpected,
    pair::{ask, managed},
};
use crate::{cli::TokenArgs, error::CliError, output, text::clean};

pub(crate) fn run(args: &TokenArgs) -> Result<(), CliError> {
    if let Some(done) = managed(&args.lookers, LookerKind::Script) {
        return done;
    }
    let call = LookerCall::Token { label: args.label.clone(), session_store: args.session_store };
    let LookerReply::Token(made) = ask(call)? else {
        return Err(unexpected());
    };
    if args.lookers.json {
        return output::json(&made);
    }
    output::print_lines(&[clean(&made.token)])?;
    if output::is_terminal() {
        let does = match args.session_store {
            true => "lets a program use the session store, and nothing else,",
            false => "lets a script look",
        };
        output::remark(&format!(
            "shown this once; Authorization: Bearer TOKEN {does} until rrd token --revoke {}",
            clean(&made.id)
        ));
    }
    Ok(())
}
