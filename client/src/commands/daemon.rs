//! `rrd daemon`: follows this host's sessions in the foreground.
//!
//! Says on stdout what it bound, logs to stderr: text for a person, JSON lines for a log collector.
//! Not here: the daemon.

use std::{
    io::{self, IsTerminal, Write},
    sync::Arc,
};

use tracing_subscriber::EnvFilter;

use crate::{
    cli::DaemonArgs,
    error::{CliError, Kind},
    local::{self, Edges, Flags, Log},
    output, service, text,
};

/// tarpc tells of every request at `info`, and of every client that leaves while it is answered at `warn`.
const USUAL: &str = "info,tarpc=warn,tarpc::server=error";

pub(crate) fn run(args: DaemonArgs) -> Result<(), CliError> {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    with_small_heap();
    let recorded = match &args.environment {
        Some(file) => service::read_environment(file).map_err(|error| {
            CliError::new(Kind::Config, format!("cannot read {}: {error}", file.display()))
                .hint("rrd service install writes it anew")
        })?,
        None => Vec::new(),
    };
    let config = local::config_with(
        &recorded,
        Flags { name: args.name, listen: args.listen, http: args.http },
    )?;
    let edges = Arc::new(Edges::open(&config.dirs));
    log(&edges)?;
    let host = text::clean(&config.host).into_owned();
    local::run_daemon(config, &edges, &mut |socket, http| {
        let page = http.map(|http| format!("; its page is http://{http}")).unwrap_or_default();
        // Whoever started it may not listen; it works all the same.
        let _ = output::print(&format!(
            "rrd follows {host}; its socket is {}{page}\n",
            socket.display()
        ));
    })
}

/// glibc gives each thread an arena, which keeps what is freed in it; with a thread or two for each root
/// that comes to more than all that is known. It also keeps ever larger buffers once one of their size was
/// freed. How it does is read from the environment, once, when a process begins; so this one begins again,
/// unless somebody has chosen already (mallopt(3) has the words).
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn with_small_heap() {
    use std::{env, os::unix::process::CommandExt, process::Command};
    const ARENAS: &str = "MALLOC_ARENA_MAX";
    const GIVEN_BACK: [(&str, &str); 2] =
        [("MALLOC_MMAP_THRESHOLD_", "131072"), ("MALLOC_TRIM_THRESHOLD_", "131072")];
    let mut args = env::args_os();
    if env::var_os(ARENAS).is_none()
        && let (Ok(this), Some(name)) = (env::current_exe(), args.next())
    {
        // Returns only when it cannot be done: then it goes on as it is.
        let _ = Command::new(this).arg0(name).args(args).env(ARENAS, "2").envs(GIVEN_BACK).exec();
    }
}

fn log(edges: &Arc<Edges>) -> Result<(), CliError> {
    let wanted = std::env::var("RRD_LOG").ok().filter(|filter| !filter.is_empty());
    let filter = EnvFilter::try_new(wanted.as_deref().unwrap_or(USUAL)).map_err(|error| {
        CliError::new(Kind::Config, format!("RRD_LOG is not a filter: {error}"))
            .hint("RRD_LOG=debug, or RRD_LOG=warn for less")
    })?;
    let log = Log(Arc::clone(edges));
    // What panics may have had anything in hand.
    let panics = log.clone();
    std::panic::set_hook(Box::new(move |panic| {
        let backtrace = std::backtrace::Backtrace::capture();
        // In one piece: what is judged by halves may pass.
        let _ = panics.clone().write_all(format!("{panic}\n{backtrace}\n").as_bytes());
    }));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(move || log.clone());
    if io::stderr().is_terminal() {
        log.with_ansi(std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())).init();
    } else {
        log.json().flatten_event(true).init();
    }
    Ok(())
}
