//! The flags of `rrd resume`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// What `rrd resume --help` ends with.
pub(super) const HELP: &str = "\
The transcript is copied from the host that has it to where the harness looks for it here; nothing \
that is there is overwritten by anything else. A session of this host is resumed as it is; one that a \
program keeps in the session store is copied, too. What the session saw of its repository is compared \
with the clone here. The command is printed; --exec runs it.

Where a bucket tells that another host went on with a session of this one, nothing is done before it \
is said what goes on: --take-over brings what is new there, --fork begins another one.

A session that is alive somewhere is not resumed, for two would write it; --fork begins another one.
Where its turn was left open and nothing tells whether it still runs, --take-over goes on with it.

Examples:
  rrd resume b41f                     prints: cd ~/src/rrd && claude --resume b41f…
  rrd resume b41f --exec              and runs it
  rrd resume b41f --cwd ~/src/rrd     in this clone; else one is found by its remote
  rrd resume b41f --fork              under a new id; the first one stays what it is
  rrd resume b41f --take-over         although its host is away, or its turn was left open
  rrd resume --task ACME-7            what works on that task (rrd task)";

#[derive(Debug, Default, Args)]
pub(crate) struct ResumeArgs {
    /// A unique start of its id, its ref, or host/harness/id.
    #[arg(required_unless_present = "task")]
    pub(crate) id: Option<String>,
    /// The session that works on this task; where it goes on under a new id, the task goes with it.
    #[arg(long, conflicts_with = "id")]
    pub(crate) task: Option<String>,
    /// Print the command that goes on with it; what happens without this flag, too.
    #[arg(long, conflicts_with = "exec")]
    pub(crate) print: bool,
    /// Run it, in its directory, in place of this process.
    #[arg(long, conflicts_with = "json")]
    pub(crate) exec: bool,
    /// Where its copy comes from: peer, the host that has it, or bucket.
    #[arg(long, value_enum, value_name = "WHENCE")]
    pub(crate) from: Option<From>,
    /// Where it goes on: a directory of a clone of its repository.
    #[arg(long, value_name = "DIR")]
    pub(crate) cwd: Option<PathBuf>,
    /// Begin another session with its past, under a new id.
    #[arg(long)]
    pub(crate) fork: bool,
    /// Resume it although it may be open: its host is away, another one went on with it, or nothing tells of its
    /// open turn.
    #[arg(long)]
    pub(crate) take_over: bool,
    /// Print JSON: the command, the directory, what was written, what differs.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Where a copy comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum From {
    /// The host that has the session.
    Peer,
    /// The bucket that sessions are mirrored to.
    Bucket,
}
