//! `rrd bind`: its commands and flags.

use clap::{Args, Subcommand};
use rrd_proto::binding::Scope;

use super::JsonArgs;

/// What `rrd bind --help` ends with.
pub(super) const HELP: &str = "\
One session asks another one for something, and whoever looks after that one agrees or does not: a \
handoff that every host of the fleet shows, in rrd graph from the moment it is asked for. A request \
that nobody answers expires after 24 hours; what is over is shown for 7 days.

Scopes: events:read     to read what the other one says and does
        messages:read   to read the messages that it was sent
        messages:write  to send it messages
        work:take       to take its work over

A binding makes visible what was agreed, and holds nobody back: whoever may use rrd on one of the \
hosts may do all of this without one, and may answer every request.

Examples:
  rrd bind request b41f k3xqe --scope events:read,messages:write --note 'review before you merge'
  rrd bind list
  rrd bind accept 1a2b3c4d";

#[derive(Debug, Subcommand)]
pub(crate) enum Bind {
    /// One session asks another one, of any host.
    Request(BindRequest),
    /// Agree to a request.
    Accept(BindId),
    /// Do not.
    Reject(BindId),
    /// Take back what was asked for or agreed.
    Revoke(BindId),
    /// Every binding; those that wait for an answer first.
    #[command(visible_alias = "ls")]
    List(JsonArgs),
    /// One binding: what it is for, and what was done with it.
    Show {
        /// Its id, or a unique start of it.
        id: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct BindRequest {
    /// Who asks: a unique start of the session's id, its ref, or host/harness/id.
    pub(crate) from: String,
    /// Who is asked; likewise.
    pub(crate) to: String,
    /// What for, one or several: events:read, messages:read, messages:write, work:take.
    #[arg(long = "scope", value_name = "SCOPES", value_delimiter = ',', required = true)]
    pub(crate) scopes: Vec<Scope>,
    /// One line that says why, of at most 200 bytes.
    #[arg(long, value_name = "TEXT")]
    pub(crate) note: Option<String>,
    /// Print the binding as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct BindId {
    /// The binding's id, or a unique start of it.
    pub(crate) id: String,
    /// Print the binding as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}
