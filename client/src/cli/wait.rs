//! `rrd wait`: its flags.

use clap::Args;
use rrd_proto::{parse_duration, wait::Until};

/// What `rrd wait --help` ends with.
pub(super) const HELP: &str = "\
For agents: run it in the shell, and go on when it returns. The session it runs in is recognised, and \
every host shows that it waits, and for whom; a wait that would close a circle is refused. The target's \
own host decides, from the moment the wait begins, so a turn that is over quickly is not missed.

match=REGEX looks at what each event says, with secrets already taken out. Patterns are as ripgrep's: of \
letters in Unicode, ^ and $ the ends of a line, (?i) in any case. \
Of an event that is longer than the daemon keeps (activity.event, 64 KiB by default) it sees head and tail, \
not the middle.

Exit status: 0 what was waited for came true · 1 refused, or nobody knows the session, or its host is in \
the fleet no more · 2 it ended, so it cannot come true any more · 3 the timeout · 4 the target's host went \
away (--patient waits on; with --any not while another one's host is there) · 64 usage · 69 no daemon.

Examples:
  rrd wait b41f                            until its turn is over
  rrd wait k3xqe b41f --any --timeout 30m
  rrd wait b41f --until 'match=^DEPLOYED '";

#[derive(Debug, Args)]
pub(crate) struct WaitArgs {
    /// For whom: refs, unique starts of ids, or host/harness/id.
    #[arg(required = true, value_name = "ID")]
    pub(crate) ids: Vec<String>,
    /// Until it is idle, ended, waiting (it asks a person), error, or match=REGEX in what it says and does.
    #[arg(long, value_name = "WHAT", default_value = "idle")]
    pub(crate) until: Until,
    /// Wait no longer than this: 90s, 30m, 2h. Without it, or where no clock goes so far, for ever.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) timeout: Option<std::time::Duration>,
    /// One of several is enough.
    #[arg(long)]
    pub(crate) any: bool,
    /// Wait on while the target's host is away.
    #[arg(long)]
    pub(crate) patient: bool,
    /// The session that waits, where it is not the one that this runs in; none: a person waits.
    #[arg(long = "as", value_name = "ID")]
    pub(crate) named: Option<String>,
    /// Print what came of it as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}
