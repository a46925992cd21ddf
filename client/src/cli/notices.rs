//! `rrd notify`: its commands and flags.

use clap::{Args, Subcommand};

use super::JsonArgs;

/// What `rrd notify --help` ends with.
pub(super) const HELP: &str = "\
What is told, and where, stands in config.toml; rrd service restart takes it up. Of the hosts that \
have the same sink one tells each notice; another one does, 15 seconds later, when that one cannot.

Example config.toml:
  [notify]
  quiet = \"22:00-07:00\"            # held back until then, and told in one
  through = [\"deadlock\"]           # told all the same
  [notify.lasts]
  needs_you = \"30s\"                # what is granted sooner is not told
  [notify.sinks.phone]
  kind = \"webhook\"
  format = \"ntfy\"
  url = { file = \"~/.config/rrd/ntfy-topic\" }
  headers = { Authorization = { file = \"~/.config/rrd/ntfy-token\" } }
  [notify.sinks.bell]
  kind = \"command\"                 # no shell; it reads JSON on stdin
  command = [\"~/bin/ring\", \"--softly\"]
  events = [\"needs_you\", \"finished\"]
  [notify.sinks.desk]
  kind = \"desktop\"

Events: needs_you, crashed, deadlock, host_away_with_work, mirror_failing, and finished, which is told \
only where a sink names it. A sink with details = false is told no texts at all.

Examples:
  rrd notify test             tells every sink that this works
  rrd notify test phone
  rrd notify status --json | jq '.[] | select(.error)'";

#[derive(Debug, Subcommand)]
pub(crate) enum Notify {
    /// Tell a test to one sink, or to all, from this host, now; exits 1 when one fails.
    Test(NotifyTest),
    /// Every sink: what it tells, which host tells it, when it last did, what is wrong with it.
    #[command(visible_alias = "list")]
    Status(JsonArgs),
}

#[derive(Debug, Args)]
pub(crate) struct NotifyTest {
    /// The sink's name in config.toml.
    pub(crate) sink: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}
