//! `rrd fleet` and `rrd hosts`: their commands and flags.

use clap::{Args, Subcommand};

use super::JsonArgs;

#[derive(Debug, Subcommand)]
pub(crate) enum Fleet {
    /// Found a fleet, with this host as its first member.
    Init,
    /// Print the line that lets one more host in; good once, for ten minutes.
    #[command(after_help = "\
The line holds a token, not the key; once used it is worth nothing. On a terminal it is shown as a \
QR code, too.

Examples:
  rrd fleet invite
  rrd fleet invite --cancel     takes back all that were not used")]
    Invite(FleetInviteArgs),
    /// Take an invite of another host.
    #[command(after_help = "\
Examples:
  rrd fleet join 100.64.0.1:7731/1a2b3c4d.QkJ…
  rrd fleet join < invite.txt     reads it from stdin, past the shell's history")]
    Join(FleetJoinArgs),
    /// Who is in, where each is reached, what is wrong.
    Status(JsonArgs),
    /// Give the fleet a new key; members that are off get it when they come back.
    #[command(after_help = "\
Open invites are cancelled. A dropped host is refused by all others from then on.

Examples:
  rrd fleet rotate
  rrd fleet rotate --drop old-laptop     its name, or the start of its node id")]
    Rotate(FleetRotateArgs),
    /// Take this host out of its fleet.
    #[command(after_help = "\
It gets a new node id: one that has left stays gone. rrd fleet join takes it in again.")]
    Leave,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct HostsArgs {
    #[command(subcommand)]
    pub(crate) forget: Option<Hosts>,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Hosts {
    /// Show no more of what an away or dropped host said, on any host.
    #[command(after_help = "\
It stays a member: when it is back, it is shown again. rrd fleet rotate --drop HOST takes it out.")]
    Forget {
        /// Its name, or the start of its node id.
        host: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct FleetInviteArgs {
    /// Take back every invite that was not used.
    #[arg(long)]
    pub(crate) cancel: bool,
    /// Print the line alone.
    #[arg(long)]
    pub(crate) no_qr: bool,
}

#[derive(Debug, Args)]
pub(crate) struct FleetJoinArgs {
    /// What rrd fleet invite printed; without it, it is read from stdin.
    #[arg(value_name = "INVITE")]
    pub(crate) invite: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct FleetRotateArgs {
    /// Drop this member first: it is refused from then on.
    #[arg(long, value_name = "HOST")]
    pub(crate) drop: Option<String>,
}
