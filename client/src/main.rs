//! `rrd`: see every coding-agent session, live. The binary is flags and wiring; the work is elsewhere.

mod absence;
mod again;
mod ask;
mod caller;
mod cli;
mod clock;
mod commands;
mod connect;
mod demo;
mod empty;
mod error;
mod footer;
mod graph;
mod grid;
mod hook;
mod local;
mod look;
mod mcp;
mod messages;
mod output;
mod picture;
mod replay;
mod resume;
mod screen;
mod service;
mod settings;
mod signals;
mod statuses;
mod table;
mod text;
mod timeline;
mod waits;
mod why;

use std::process::ExitCode;

fn main() -> ExitCode {
    if let Some(harness) = hook::called(std::env::args_os()) {
        hook::run(&harness);
        return ExitCode::SUCCESS;
    }
    match cli::parse().and_then(commands::run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::error(&error);
            error.exit_code()
        }
    }
}
