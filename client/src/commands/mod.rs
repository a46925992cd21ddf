//! The commands, one file each: ask, then print.
//!
//! Not here: how anything is drawn or reached, which several commands share.

mod bind;
mod completions;
mod config;
mod daemon;
mod demo;
mod doctor;
mod export;
mod fleet;
mod forget;
mod graph;
mod hooks;
mod hosts;
mod inbox;
mod mirror;
mod notices;
mod open;
mod pair;
mod redact;
mod replay;
mod resume;
pub(crate) mod search;
mod send;
mod service;
mod sessions;
mod show;
mod status;
mod tail;
mod task;
mod token;
mod wait;
mod watch;

use crate::{
    cli::{Cli, Command, Sessions},
    error::CliError,
    hook, mcp,
};

/// Runs what the command line asks for.
pub(crate) fn run(cli: Cli) -> Result<(), CliError> {
    match cli.command {
        Command::Sessions(Sessions::List(args)) if args.watch => watch::run(&args),
        Command::Sessions(Sessions::List(args)) => sessions::run(&args),
        Command::Sessions(Sessions::Show(args)) => show::run(&args),
        Command::Sessions(Sessions::Replay(args)) => replay::run(&args),
        Command::Sessions(Sessions::Tail(args)) => tail::run(&args),
        Command::Sessions(Sessions::Export(args)) => export::run(&args),
        Command::Sessions(Sessions::Forget(args)) => forget::run(&args),
        Command::Sessions(Sessions::Search(args)) => search::run(&args),
        Command::Resume(args) => resume::run(&args),
        Command::Task(task) => task::run(&task),
        Command::Bind(bind) => bind::run(&bind),
        Command::Status(args) => status::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Config(args) => config::run(&args),
        Command::Daemon(args) => daemon::run(args),
        Command::Demo(args) => demo::run(&args),
        Command::Service(args) => service::run(&args),
        Command::Fleet(fleet) => fleet::run(&fleet),
        Command::Mirror(mirror) => mirror::run(&mirror),
        Command::Notify(notify) => notices::run(&notify),
        Command::Hosts(args) => hosts::run(&args),
        Command::Graph(args) => graph::run(&args),
        Command::Wait(args) => wait::run(&args),
        Command::Send(args) => send::run(&args),
        Command::Inbox(args) => inbox::run(&args),
        Command::Pair(args) => pair::run(&args),
        Command::Open(args) => open::run(&args),
        Command::Token(args) => token::run(&args),
        Command::Hooks(hooks) => hooks::run(&hooks),
        Command::Mcp => mcp::run(),
        Command::Hook { harness } => {
            hook::run(&harness);
            Ok(())
        }
        Command::Redact(args) => redact::run(&args),
        Command::Completions { shell } => completions::run(shell),
    }
}
