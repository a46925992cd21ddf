//! What is to be done, as data: shown by `--print`, carried out otherwise, asserted by tests.
//!
//! Everything that touches the machine goes through [`System`].

use std::{
    fs, io,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use super::{ServiceError, render};

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Writes the service file, unless it already says just this.
    Write { path: PathBuf, bytes: Vec<u8> },
    /// Removes the service file.
    Remove { path: PathBuf },
    /// Runs a command.
    Run { argv: Vec<String>, on_failure: OnFailure },
}

/// What a failing command means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum OnFailure {
    /// The end; the hint says what to do.
    Stop { hint: &'static str },
    /// Nothing: it was already so.
    Ignore,
    /// Less than wished for: this is said, and the rest goes on.
    Say(&'static str),
    /// What came before may still be under way, so it is tried for a few seconds; then as `Stop`.
    Retry { hint: &'static str },
}

impl Step {
    pub(super) fn run(argv: &[&str], on_failure: OnFailure) -> Self {
        Self::Run { argv: argv.iter().map(|&arg| arg.to_owned()).collect(), on_failure }
    }
}

/// What a command answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) success: bool,
    /// Both of its outputs, trimmed.
    pub(super) text: String,
}

/// The machine; replaced in tests.
pub(super) trait System {
    fn run(&mut self, argv: &[String]) -> io::Result<Answer>;
    fn read(&mut self, path: &Path) -> io::Result<Vec<u8>>;
    fn write(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()>;
    fn remove(&mut self, path: &Path) -> io::Result<()>;
    fn pause(&mut self, time: Duration);
}

/// The real one.
pub(super) struct Machine;

impl System for Machine {
    fn run(&mut self, argv: &[String]) -> io::Result<Answer> {
        let (program, args) = argv.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let output = Command::new(program).args(args).stdin(Stdio::null()).output()?;
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.push_str(&String::from_utf8_lossy(&output.stderr));
        Ok(Answer { success: output.status.success(), text: text.trim().to_owned() })
    }

    fn read(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn write(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        // Whole or not at all: a manager may look at any moment.
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.new", std::process::id()));
        let new = path.with_file_name(name);
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o644);
        let done = options
            .open(&new)
            .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
            .and_then(|()| fs::rename(&new, path));
        if done.is_err() {
            fs::remove_file(&new).ok();
        }
        done
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn pause(&mut self, time: Duration) {
        thread::sleep(time);
    }
}

/// Shows `steps` and does nothing.
pub(super) fn print(steps: &[Step], out: &mut dyn Write) -> io::Result<()> {
    for step in steps {
        match step {
            Step::Write { path, bytes } => {
                writeln!(out, "# would write {}:", path.display())?;
                writeln!(out, "{}", render::file_text(bytes).trim_end())?;
                writeln!(out)?;
            }
            Step::Remove { path } => writeln!(out, "# would remove {}", path.display())?,
            Step::Run { argv, on_failure } => {
                let note = match on_failure {
                    OnFailure::Stop { .. } | OnFailure::Retry { .. } => "",
                    OnFailure::Ignore | OnFailure::Say(_) => " (goes on if it fails)",
                };
                writeln!(out, "# would run{note}:\n{}", shown(argv))?;
            }
        }
    }
    Ok(())
}

/// Carries `steps` out, saying each.
pub(super) fn carry_out(
    steps: &[Step],
    system: &mut dyn System,
    out: &mut dyn Write,
) -> Result<(), ServiceError> {
    for step in steps {
        match step {
            Step::Write { path, bytes } => write_file(path, bytes, system, out)?,
            Step::Remove { path } => match system.remove(path) {
                Ok(()) => writeln!(out, "removed {}", path.display())?,
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => {
                    return Err(ServiceError::file("remove", path, &e));
                }
            },
            Step::Run { argv, on_failure } => run_command(argv, on_failure, system, out)?,
        }
    }
    Ok(())
}

fn write_file(
    path: &Path,
    bytes: &[u8],
    system: &mut dyn System,
    out: &mut dyn Write,
) -> Result<(), ServiceError> {
    match system.read(path) {
        Ok(there) if there == bytes => {
            writeln!(out, "unchanged {}", path.display())?;
            return Ok(());
        }
        Ok(there) if !render::file_text(&there).contains(render::MARK) => {
            return Err(ServiceError::new(
                format!("{} is there, and rrd did not write it", path.display()),
                "move it away, then run `rrd service install` again",
            ));
        }
        _ => {}
    }
    system.write(path, bytes).map_err(|e| ServiceError::file("write", path, &e))?;
    writeln!(out, "wrote {}", path.display())?;
    Ok(())
}

fn run_command(
    argv: &[String],
    on_failure: &OnFailure,
    system: &mut dyn System,
    out: &mut dyn Write,
) -> Result<(), ServiceError> {
    // A manager takes up to the daemon's own grace period to let go.
    let tries = if matches!(on_failure, OnFailure::Retry { .. }) { 40 } else { 1 };
    let mut said = String::new();
    for again in 0..tries {
        if again > 0 {
            system.pause(Duration::from_millis(500));
        }
        match system.run(argv) {
            Ok(answer) if answer.success => {
                writeln!(out, "ran {}", shown(argv))?;
                return Ok(());
            }
            Ok(answer) => said = answer.text,
            Err(e) => said = e.to_string(),
        }
    }
    match on_failure {
        OnFailure::Ignore => Ok(()),
        OnFailure::Say(words) => {
            writeln!(out, "ran {} (failed: {})", shown(argv), first_line(&said))?;
            writeln!(out, "{words}")?;
            Ok(())
        }
        OnFailure::Stop { hint } | OnFailure::Retry { hint } => {
            let said = if said.is_empty() { "no reason given" } else { &said };
            Err(ServiceError::new(format!("`{}` failed\n{said}", shown(argv)), *hint))
        }
    }
}

/// A command as one would paste it.
pub(super) fn shown(argv: &[String]) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./:=\\@%+,".contains(c);
    let word = |arg: &String| {
        if !arg.is_empty() && arg.chars().all(plain) { arg.clone() } else { format!("'{arg}'") }
    };
    argv.iter().map(word).collect::<Vec<_>>().join(" ")
}

/// The first line of what a command said.
pub(super) fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or("no reason given")
}
