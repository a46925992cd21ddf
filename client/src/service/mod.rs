//! `rrd service`: lets the platform's own service manager run the daemon.
//!
//! Installing writes one file and runs a few commands, and says which; `--print` shows the same and
//! changes nothing. The file records this binary and the settings of the shell that installed it, so
//! that the service and the shell look in the same places. Installing again is harmless.
//!
//! Not here: the daemon, and the settings' meaning.

mod host;
mod launchd;
mod plan;
mod render;
mod systemd;
#[cfg(test)]
mod tests;
mod windows;

use std::{env, fmt, io, io::Write, path::Path};

pub(crate) use windows::read_environment;

use host::{Host, Manager};
use plan::{Machine, Step, System};

/// What to do with the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Writes the service file, starts the daemon now and at every login.
    Install,
    /// Stops the daemon and removes the service file.
    Uninstall,
    /// Tells what is installed and whether it runs.
    Status,
    /// Stops and starts the daemon.
    Restart,
}

/// Why it could not be done, and what helps.
#[derive(Debug)]
pub(crate) struct ServiceError {
    message: String,
    hint: String,
}

impl ServiceError {
    fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: hint.into() }
    }

    fn file(verb: &str, path: &Path, error: &io::Error) -> Self {
        let message = format!("cannot {verb} {}: {error}", path.display());
        Self::new(message, "`rrd service install --print` shows what belongs there")
    }

    /// What happened; the first line is the sentence, further ones are what a command said.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// The next thing to do.
    pub(crate) fn hint(&self) -> &str {
        &self.hint
    }
}

impl fmt::Display for ServiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ServiceError {}

impl From<io::Error> for ServiceError {
    /// Only printing fails with a bare error: whatever touches the machine says what it touched.
    fn from(error: io::Error) -> Self {
        Self::new(format!("cannot print: {error}"), "")
    }
}

/// Whether `binary` is what cargo built, and not what was installed.
pub(crate) fn is_build_output(binary: &Path) -> bool {
    host::is_build_output(binary, &|path| path.exists())
}

/// Does it, or with `print` shows what it would do. `state` is the directory that uninstalling
/// leaves behind.
///
/// # Errors
/// [`ServiceError`]: nothing is half done that running it again would not mend.
pub(crate) fn run(
    action: Action,
    print: bool,
    state: &Path,
    out: &mut dyn Write,
) -> Result<(), ServiceError> {
    let whereabouts = |e: io::Error| {
        ServiceError::new(format!("cannot tell where this binary is: {e}"), "start rrd by its path")
    };
    let binary = env::current_exe().map_err(whereabouts)?;
    let cwd = env::current_dir().map_err(whereabouts)?;
    let host = Host::gather(Manager::of_platform(), &binary, &cwd, &|name| env::var_os(name))?;
    let refused = is_build_output(&binary);
    run_on(&host, refused, action, print, state, &mut Machine, out)
}

fn run_on(
    host: &Host,
    refused: bool,
    action: Action,
    print: bool,
    state: &Path,
    system: &mut dyn System,
    out: &mut dyn Write,
) -> Result<(), ServiceError> {
    let refusal = || {
        ServiceError::new(
            format!("{} is cargo's build output: the next build replaces it", host.binary),
            "cargo install --locked --path client, then `rrd service install` with the installed one",
        )
    };
    let uid = match host.manager {
        Manager::Launchd => launchd::uid(system)?,
        Manager::Systemd | Manager::TaskScheduler => String::new(),
    };
    let query = match host.manager {
        Manager::Systemd => systemd::query(),
        Manager::Launchd => launchd::query(&uid),
        Manager::TaskScheduler => windows::query(),
    };
    let steps = match action {
        Action::Install if refused && !print => return Err(refusal()),
        Action::Install => match host.manager {
            Manager::Systemd => systemd::install(host)?,
            Manager::Launchd => launchd::install(host, &uid),
            Manager::TaskScheduler => windows::install(host)?,
        },
        Action::Uninstall => match host.manager {
            Manager::Systemd => systemd::uninstall(host),
            Manager::Launchd => launchd::uninstall(host, &uid),
            Manager::TaskScheduler => windows::uninstall(host),
        },
        Action::Restart => match host.manager {
            Manager::Systemd => systemd::restart(),
            Manager::Launchd => launchd::restart(&uid),
            Manager::TaskScheduler => windows::restart(),
        },
        Action::Status if print => {
            vec![Step::Run { argv: query, on_failure: plan::OnFailure::Ignore }]
        }
        Action::Status => return status(host, &query, system, out),
    };
    if print {
        plan::print(&steps, out)?;
        if action == Action::Install && refused {
            writeln!(out, "# but not with this binary: {}", refusal().message())?;
        }
        return Ok(());
    }
    if action == Action::Restart && system.read(&host.file).is_err() {
        return Err(ServiceError::new(
            format!("the service is not installed: there is no {}", host.file.display()),
            "rrd service install",
        ));
    }
    plan::carry_out(&steps, system, out)?;
    match action {
        Action::Install => writeln!(out, "the daemon runs now, and at every login")?,
        Action::Uninstall => writeln!(
            out,
            "left in place: {} (the index; rrd makes it anew), config.toml, and what the agents wrote",
            state.display()
        )?,
        Action::Status | Action::Restart => {}
    }
    Ok(())
}

fn status(
    host: &Host,
    query: &[String],
    system: &mut dyn System,
    out: &mut dyn Write,
) -> Result<(), ServiceError> {
    let Ok(bytes) = system.read(&host.file) else {
        writeln!(out, "installed  no: there is no {}", host.file.display())?;
        writeln!(out, "hint: rrd service install")?;
        return Ok(());
    };
    let text = render::file_text(&bytes);
    writeln!(out, "installed  yes: {}", host.file.display())?;
    let (running, said) = match system.run(query) {
        Ok(answer) => {
            let running = match host.manager {
                Manager::Systemd => answer.success,
                Manager::Launchd => answer.success && launchd::is_running(&answer.text),
                Manager::TaskScheduler => answer.success && windows::is_running(&answer.text),
            };
            // The others answer at length.
            let word = match host.manager {
                Manager::Systemd => format!(": {}", plan::first_line(&answer.text)),
                Manager::Launchd | Manager::TaskScheduler => String::new(),
            };
            (running, word)
        }
        Err(error) => (false, format!(": {error}")),
    };
    let yes = if running { "yes" } else { "no" };
    writeln!(out, "running    {yes}{said} (asked: {})", plan::shown(query))?;
    let (binary, wanted) = match host.manager {
        Manager::Systemd => (render::systemd_binary(&text), systemd::file(host)),
        Manager::Launchd => (render::launchd_binary(&text), launchd::file(host)),
        Manager::TaskScheduler => (render::windows_binary(&text), windows::file(host)),
    };
    match binary {
        Some(binary) if binary == host.binary => writeln!(out, "binary     {binary}")?,
        Some(binary) => {
            writeln!(out, "binary     {binary}")?;
            writeln!(out, "           not this one: {}", host.binary)?;
        }
        None => writeln!(out, "binary     cannot be told from that file")?,
    }
    if text != wanted {
        writeln!(out, "note: that file is not what this shell and this binary would install")?;
        writeln!(out, "hint: rrd service install --print, then rrd service install")?;
    } else if !running {
        writeln!(out, "hint: rrd service restart")?;
    }
    Ok(())
}
