//! `rrd pair`, `rrd open` and `rrd token`: their flags.

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct PairArgs {
    #[command(flatten)]
    pub(crate) lookers: LookersArgs,
    /// Print the addresses alone.
    #[arg(long, conflicts_with_all = ["list", "revoke"])]
    pub(crate) no_qr: bool,
}

#[derive(Debug, Args)]
pub(crate) struct OpenArgs {
    /// Print the address, and start no browser.
    #[arg(long)]
    pub(crate) print: bool,
}

#[derive(Debug, Args)]
pub(crate) struct TokenArgs {
    #[command(flatten)]
    pub(crate) lookers: LookersArgs,
    /// What to call it in the list.
    #[arg(long, conflicts_with_all = ["list", "revoke"])]
    pub(crate) label: Option<String>,
    /// For a program made with the Claude Agent SDK: to keep its sessions here, and nothing else.
    #[arg(long, conflicts_with_all = ["list", "revoke"])]
    pub(crate) session_store: bool,
}

/// What is done about those who are let in already.
#[derive(Debug, Args)]
pub(crate) struct LookersArgs {
    /// Show who is let in.
    #[arg(long)]
    pub(crate) list: bool,
    /// Let this one in no more: its id, the start of it, or all.
    #[arg(long, value_name = "ID", conflicts_with = "list")]
    pub(crate) revoke: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}
