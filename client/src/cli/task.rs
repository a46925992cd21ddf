//! `rrd task`: its commands and flags.

use clap::{Args, Subcommand};

use super::JsonArgs;

/// What `rrd task --help` ends with.
pub(super) const HELP: &str = "\
A task is any short name that you or an orchestrator gives: a ticket, a job. It points at the session \
that works on it now, on every host of the fleet. Whoever links it after having heard of another's \
link wins; of two who had not heard of each other all hosts choose the same one. What was linked \
before is kept: the last 16 links of a task, and 1,000 tasks.

With rrd's hooks a session links itself: start its harness with RRD_TASK_ID set.

Examples:
  RRD_TASK_ID=ACME-7 claude       links that session, and once only
  rrd task link ACME-7 b41f
  rrd task list
  rrd resume --task ACME-7        on any host";

#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// A session works on the task from now on; without an ID the one that this shell runs in.
    Link(TaskLink),
    /// No session works on it any more; what was linked before is kept.
    Unlink {
        /// The task.
        task: String,
    },
    /// Every task and the session that works on it.
    #[command(visible_alias = "ls")]
    List(JsonArgs),
    /// One task: what works on it, and what did before.
    Show {
        /// The task.
        task: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct TaskLink {
    /// The task: one printable line of at most 128 bytes.
    pub(crate) task: String,
    /// A unique start of the session's id, its ref, or host/harness/id.
    pub(crate) id: Option<String>,
}
