//! The only place that writes to stdout and stderr, outside `--watch`'s own screen.
//!
//! Answers go to stdout, remarks to stderr. Colours are decided once, from `--color`, `NO_COLOR`,
//! `CLICOLOR_FORCE` and whether anyone looks. A reader that has seen enough (`| head`) is not an
//! error. Not here: what is said.

use std::{
    io::{self, IsTerminal, Write},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use anstyle::{AnsiColor, Style};
use rrd_proto::json;
use serde::Serialize;

use crate::{
    cli::Color,
    error::{CliError, Kind, Part},
    text,
};

/// Settles colours for everything printed from here on.
pub(crate) fn set_color(color: Color) {
    match color {
        Color::Auto => anstream::ColorChoice::Auto,
        Color::Always => anstream::ColorChoice::Always,
        Color::Never => anstream::ColorChoice::Never,
    }
    .write_global();
}

/// Whether stdout keeps colours; for what is not printed through [`print()`].
pub(crate) fn has_color() -> bool {
    anstream::AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never
}

/// Whether a person looks at stdout.
pub(crate) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// How wide lines may be: `COLUMNS`, else the terminal's width, else as wide as they are.
pub(crate) fn columns() -> Option<usize> {
    let set = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
    set.filter(|columns| *columns > 0).or_else(|| {
        let (columns, _) = is_terminal().then(crossterm::terminal::size)?.ok()?;
        (columns > 0).then_some(usize::from(columns))
    })
}

/// Writes an answer, as it is.
pub(crate) fn print(answer: &str) -> Result<(), CliError> {
    let mut out = anstream::stdout().lock();
    out.write_all(answer.as_bytes()).and_then(|()| out.flush()).map_err(stopped)
}

/// Writes an answer of several lines.
pub(crate) fn print_lines<S: AsRef<str>>(lines: &[S]) -> Result<(), CliError> {
    let mut answer = String::new();
    for line in lines {
        answer.push_str(line.as_ref().trim_end());
        answer.push('\n');
    }
    print(&answer)
}

/// Writes one JSON document, indented.
pub(crate) fn json<T: Serialize + ?Sized>(value: &T) -> Result<(), CliError> {
    write_json(&json::document(value).map_err(unwritable)?)
}

/// Writes one JSON value on one line.
pub(crate) fn json_line<T: Serialize + ?Sized>(value: &T) -> Result<(), CliError> {
    write_json(&json::line(value).map_err(unwritable)?)
}

fn write_json(document: &str) -> Result<(), CliError> {
    // Not through anstream: in JSON there is nothing to strip, and nothing may be changed.
    let mut out = io::stdout().lock();
    out.write_all(document.as_bytes()).and_then(|()| out.flush()).map_err(stopped)
}

/// A remark for the person; lost rather than fatal when stderr is gone.
pub(crate) fn remark(line: &str) {
    let mut err = anstream::stderr().lock();
    let _ = writeln!(err, "{line}");
}

/// Does what may take long; after a moment a person at a terminal is told what is waited for.
pub(crate) fn patiently<T>(what: &str, work: impl FnOnce() -> T) -> T {
    if !io::stderr().is_terminal() {
        return work();
    }
    waiting(MOMENT, || remark(&text::clean(what)), work)
}

/// How long nobody wonders.
const MOMENT: Duration = Duration::from_secs(1);

/// Says so if the work takes longer than that.
fn waiting<T>(moment: Duration, say: impl FnOnce() + Send, work: impl FnOnce() -> T) -> T {
    let (over, waits) = mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            if waits.recv_timeout(moment) == Err(RecvTimeoutError::Timeout) {
                say();
            }
        });
        let done = work();
        drop(over);
        done
    })
}

/// Asks a person yes or no; `None` when there is nobody to ask. No answer is a no.
pub(crate) fn ask(question: &str) -> Option<bool> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return None;
    }
    let mut err = anstream::stderr().lock();
    let _ = write!(err, "{question} [y/N] ").and_then(|()| err.flush());
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).ok()?;
    Some(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// Asks a person for a line; `None` when there is nobody to ask.
pub(crate) fn ask_line(question: &str) -> Option<String> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return None;
    }
    let mut err = anstream::stderr().lock();
    let _ = write!(err, "{}", text::clean(question)).and_then(|()| err.flush());
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).ok()?;
    Some(answer.trim().to_owned())
}

/// An error, as its own last word.
pub(crate) fn error(error: &CliError) {
    let red = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
    let bold = Style::new().bold();
    for (part, line) in error.lines() {
        // Ids and paths in it may come from a transcript; spaces stay, they point at a mistake.
        let line: String = line.chars().filter(|c| !text::is_unsafe(*c)).collect();
        match part {
            Part::Message => remark(&format!("{red}error:{red:#} {line}")),
            Part::Fact => remark(&format!("  {line}")),
            Part::Hint => remark(&format!("{bold}hint:{bold:#} {line}")),
        }
    }
}

fn unwritable(error: impl std::fmt::Display) -> CliError {
    CliError::new(Kind::Internal, format!("cannot write JSON: {error}"))
}

/// A write to stdout that failed; quiet when whoever reads has seen enough.
pub(crate) fn stopped(error: io::Error) -> CliError {
    let kind = match error.kind() {
        io::ErrorKind::BrokenPipe => Kind::Done,
        _ => Kind::Internal,
    };
    CliError::new(kind, format!("cannot write to stdout: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_is_told_what_for() {
        let said = mpsc::channel();
        let long = Duration::from_secs(600);
        waiting(long, || said.0.send("not").unwrap(), || ());
        assert!(said.1.try_recv().is_err());
        // The work is over only once it was said.
        waiting(
            Duration::ZERO,
            || said.0.send("a bucket").unwrap(),
            || {
                assert_eq!(said.1.recv_timeout(long), Ok("a bucket"));
            },
        );
    }
}
