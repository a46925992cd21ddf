//! `rrd`: see every coding-agent session, live. The binary is flags and wiring; the work is elsewhere.

mod ask;
mod cli;
mod clock;
mod commands;
mod connect;
mod empty;
mod error;
mod footer;
mod local;
mod look;
mod output;
mod screen;
mod service;
mod table;
mod text;
mod timeline;
mod why;

use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::parse().and_then(commands::run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::error(&error);
            error.exit_code()
        }
    }
}
