//! Windows: a Task Scheduler task, started at logon.
//!
//! A task cannot hold an environment, so what is recorded goes into a file beside it, which
//! `rrd daemon --environment FILE` reads.

use std::{ffi::OsString, fs, io, path::Path, path::PathBuf};

use super::{
    ServiceError,
    host::Host,
    plan::{OnFailure, Step},
    render,
};

const TASK: &str = "rrd";

const SEE_TASK: &str = "`schtasks /Query /TN rrd /V /FO LIST` shows its last result; `rrd daemon` runs in the foreground";

pub(super) fn file(host: &Host) -> String {
    // A console program that a task starts would sit in a window of its own: a console without one.
    let mut arguments = format!("--headless {} daemon", render::windows_word(&host.binary));
    if !host.environment.is_empty() {
        let file = environment_file(host).display().to_string();
        arguments.push_str(" --environment ");
        arguments.push_str(&render::windows_word(&file));
    }
    render::fill(
        render::TASK,
        &[
            ("@USER@", &render::xml_text(&host.user)),
            ("@COMMAND@", "conhost.exe"),
            ("@ARGUMENTS@", &render::xml_text(&arguments)),
        ],
    )
}

fn environment_file(host: &Host) -> PathBuf {
    host.file.with_file_name("environment.txt")
}

fn environment_text(host: &Host) -> String {
    let mut text = format!("# {}: the environment of the shell it ran in.\n", render::MARK);
    for (name, value) in &host.environment {
        text.push_str(&format!("{name}={value}\n"));
    }
    text
}

/// Reads what [`install`] recorded: the daemon takes these before its own environment.
///
/// # Errors
/// When the file cannot be read.
pub(crate) fn read_environment(path: &Path) -> io::Result<Vec<(String, OsString)>> {
    let text = fs::read_to_string(path)?;
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let pairs = lines.filter_map(|line| line.split_once('='));
    Ok(pairs.map(|(name, value)| (name.to_owned(), value.into())).collect())
}

pub(super) fn install(host: &Host) -> Result<Vec<Step>, ServiceError> {
    if host.user.is_empty() {
        return Err(ServiceError::new(
            "cannot tell your user name",
            "set USERNAME (and USERDOMAIN), then run `rrd service install` again",
        ));
    }
    let mut steps = Vec::new();
    if !host.environment.is_empty() {
        let bytes = environment_text(host).into_bytes();
        steps.push(Step::Write { path: environment_file(host), bytes });
    }
    let path = host.file.display().to_string();
    steps.extend([
        Step::Write { path: host.file.clone(), bytes: render::utf16_file(&file(host)) },
        schtasks(
            &["/Create", "/TN", TASK, "/XML", &path, "/F"],
            OnFailure::Stop {
                hint: "run this as the user who is to run the daemon, not as an administrator",
            },
        ),
        schtasks(&["/End", "/TN", TASK], OnFailure::Ignore),
        schtasks(&["/Run", "/TN", TASK], OnFailure::Stop { hint: SEE_TASK }),
    ]);
    Ok(steps)
}

pub(super) fn uninstall(host: &Host) -> Vec<Step> {
    vec![
        schtasks(&["/End", "/TN", TASK], OnFailure::Ignore),
        schtasks(&["/Delete", "/TN", TASK, "/F"], OnFailure::Ignore),
        Step::Remove { path: host.file.clone() },
        Step::Remove { path: environment_file(host) },
    ]
}

pub(super) fn restart() -> Vec<Step> {
    vec![
        schtasks(&["/End", "/TN", TASK], OnFailure::Ignore),
        schtasks(&["/Run", "/TN", TASK], OnFailure::Stop { hint: SEE_TASK }),
    ]
}

pub(super) fn query() -> Vec<String> {
    ["schtasks", "/Query", "/TN", TASK, "/FO", "CSV", "/NH"].map(str::to_owned).to_vec()
}

/// Whether the task runs. The word is translated on other Windows languages, where this says no.
pub(super) fn is_running(answer: &str) -> bool {
    answer.lines().any(|line| line.trim().ends_with("\"Running\""))
}

fn schtasks(args: &[&str], on_failure: OnFailure) -> Step {
    let argv: Vec<&str> = ["schtasks"].iter().chain(args).copied().collect();
    Step::run(&argv, on_failure)
}
