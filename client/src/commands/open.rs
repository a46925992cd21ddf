//! `rrd open`: the page in this machine's browser.
//!
//! The address holds a code, and every user of a machine sees its command lines. So the browser is given a
//! file that only this user can read, and that leads on to the address. Where no browser can be started,
//! the address is printed. Not here: what the code lets in.

use std::{
    env,
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use rrd_proto::LookerCall;

use super::pair::code;
use crate::{
    cli::OpenArgs,
    clock,
    error::{CliError, Kind},
    local, output,
    text::clean,
};

/// What starts a browser has failed by then, or it has not.
const STARTING: Duration = Duration::from_secs(3);

pub(crate) fn run(args: &OpenArgs) -> Result<(), CliError> {
    let code = code(LookerCall::Open)?;
    let url = &code.urls[0];
    let until = clock::time_of_day(code.until, clock::now());
    if !args.print && has_display() {
        let file = leads_to(url).map_err(|error| {
            CliError::new(
                Kind::Internal,
                format!("cannot write what leads the browser on: {error}"),
            )
            .hint("rrd open --print prints the address")
        })?;
        if starts(&file) {
            output::remark(&format!(
                "the browser opens the page; if it does not by {until}, rrd open --print prints \
                 its address"
            ));
            return Ok(());
        }
    }
    output::print_lines(&[clean(url)])?;
    output::remark(&format!("open it in a browser of this machine: once, until {until}"));
    Ok(())
}

/// Whether a browser would have somewhere to show itself.
fn has_display() -> bool {
    let set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
    // Through ssh it would open where nobody sits.
    let far = set("SSH_CONNECTION") && !set("DISPLAY");
    !far && (cfg!(any(windows, target_os = "macos")) || set("DISPLAY") || set("WAYLAND_DISPLAY"))
}

/// A file that leads whoever opens it to `url`. The next one takes its place; its code is dead by then.
fn leads_to(url: &str) -> io::Result<PathBuf> {
    let dirs = local::dirs().ok_or_else(|| io::Error::other("there is no home directory"))?;
    let path = dirs.state.join("open.html");
    // Made anew, and so for its owner only, whatever lay there.
    let mut file = tempfile::Builder::new().prefix("open-").tempfile_in(&dirs.state)?;
    let escaped = url.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;");
    writeln!(
        file,
        "<!doctype html><meta charset=\"utf-8\"><meta name=\"referrer\" content=\"no-referrer\">\
         <title>rrd</title><meta http-equiv=\"refresh\" content=\"0; url={escaped}\">\
         <p><a href=\"{escaped}\">rrd</a></p>"
    )?;
    file.flush()?;
    let _: File = file.persist(&path)?;
    Ok(path)
}

/// Has the system open a file with the browser; whether that began well.
fn starts(file: &Path) -> bool {
    let mut command = match env::consts::OS {
        "macos" => Command::new("open"),
        "windows" => {
            let mut command = Command::new("cmd");
            // What `start` takes first in quotes is a title.
            command.args(["/c", "start", ""]);
            command
        }
        _ => Command::new("xdg-open"),
    };
    command.arg(file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let Ok(mut child) = command.spawn() else { return false };
    let begun = Instant::now();
    while begun.elapsed() < STARTING {
        match child.try_wait() {
            Ok(Some(status)) => return status.success(),
            Ok(None) => std::thread::sleep(Duration::from_millis(20)),
            Err(_) => return false,
        }
    }
    // It may well be the browser itself.
    true
}
