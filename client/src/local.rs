//! What runs daemon code inside this process: settings, `rrd daemon`, the look without a daemon.
//!
//! The only file of the client that names `rrd_daemon`; everything else reaches a daemon through
//! `rrd-proto`. A test in `tests/tidy.rs` holds it to that.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    sync::Arc,
};

use rrd_daemon::config::Env;
use rrd_proto::{Harness, IndexProgress};

pub(crate) use rrd_daemon::{
    Daemon, Dirs, Scan, ancestors,
    config::{Config, Flags},
    formats, pid_domain, redact, resume,
};
pub(crate) use rrd_daemon::{
    edge::{Edges, Log},
    export::{About, Html},
};

use crate::error::{CliError, Kind};

/// Where a damaged index is put aside.
pub(crate) fn index_aside(state: &Path) -> PathBuf {
    rrd_daemon::store::aside(state)
}

const ENV: Env<'static> = &|name| std::env::var_os(name);

/// Settles every setting.
pub(crate) fn config(name: Option<String>) -> Result<Config, CliError> {
    config_in(ENV, Flags { name, ..Flags::default() })
}

/// Settles every setting, with these variables before the environment's.
pub(crate) fn config_with(
    variables: &[(String, OsString)],
    flags: Flags,
) -> Result<Config, CliError> {
    let env = |wanted: &str| {
        let recorded = variables.iter().find(|(name, _)| name == wanted);
        recorded.map(|(_, value)| value.clone()).or_else(|| ENV(wanted))
    };
    config_in(&env, flags)
}

/// Settles every setting of a host that has these variables and no others.
pub(crate) fn config_of(variables: &[(&str, OsString)]) -> Result<Config, CliError> {
    let env = |wanted: &str| {
        let of_it = variables.iter().find(|(name, _)| *name == wanted);
        of_it.map(|(_, value)| value.clone())
    };
    config_in(&env, Flags::default())
}

fn config_in(env: Env<'_>, flags: Flags) -> Result<Config, CliError> {
    Config::load(env, &flags).map_err(|error| {
        CliError::new(Kind::Config, error.to_string()).hint("rrd doctor checks the settings")
    })
}

/// rrd's own places, which do not depend on config.toml being right.
pub(crate) fn dirs() -> Option<Dirs> {
    Dirs::resolve(ENV)
}

/// The redactor with the rules of this host's redact.toml, and which of them do not hold.
pub(crate) fn redactor() -> (redact::Redactor, Vec<redact::Refused>) {
    redact::redactor(dirs().as_ref())
}

/// Where a harness keeps its files here, in the order in which they are looked at.
pub(crate) fn homes(config: &Config, harness: &Harness) -> Vec<PathBuf> {
    let of_it = config.roots.iter().filter(|root| root.harness == *harness);
    of_it.map(|root| root.path.clone()).collect()
}

/// The variable that the harness needs to look in `home`; `None` where it does so anyway.
pub(crate) fn home_variable(
    config: &Config,
    harness: &Harness,
    home: &Path,
) -> Option<(String, String)> {
    let format = formats().iter().find(|format| format.name == harness.as_str())?;
    let looks_in = match ENV(format.home_var).filter(|value| !value.is_empty()) {
        Some(set) => PathBuf::from(set),
        None => config.dirs.user_home.join(format.homes.first()?),
    };
    let needed = (looks_in != home).then(|| home.to_string_lossy().into_owned());
    needed.map(|home| (format.home_var.to_owned(), home))
}

/// What leaves this process goes through here.
pub(crate) fn edges(dirs: &Dirs) -> Edges {
    Edges::open(dirs)
}

/// Looks at this host's transcripts once.
pub(crate) fn scan(config: &Config, progress: &mut dyn FnMut(IndexProgress)) -> Scan {
    Scan::new(config, progress)
}

/// Runs the daemon until it is told to stop.
pub(crate) fn run_daemon(
    config: Config,
    edges: &Arc<Edges>,
    ready: &mut dyn FnMut(&Path, Option<std::net::SocketAddr>),
) -> Result<(), CliError> {
    rrd_daemon::run(config, edges, ready).map_err(stopped)
}

/// Starts a daemon that runs beside whatever else this process does.
pub(crate) fn start_daemon(config: Config) -> Result<Daemon, CliError> {
    Daemon::start(config).map_err(stopped)
}

fn stopped(error: rrd_daemon::RunError) -> CliError {
    match error {
        rrd_daemon::RunError::AlreadyRunning { .. } => {
            CliError::new(Kind::NoDaemon, error.to_string())
                .hint("rrd status asks that one; RRD_HOME=DIR gives another its own place")
        }
        rrd_daemon::RunError::NewerIndex(_) => CliError::new(Kind::Config, error.to_string())
            .hint("start that release, or set RRD_HOME to another directory for this one"),
        rrd_daemon::RunError::Fatal(cause) => {
            CliError::new(Kind::Internal, format!("the daemon stopped: {cause:#}"))
                .hint("rrd doctor checks what it depends on")
        }
    }
}
