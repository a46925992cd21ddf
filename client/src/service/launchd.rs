//! macOS: a launchd agent in the user's own domain.

use super::{
    ServiceError,
    host::Host,
    plan::{OnFailure, Step, System},
    render,
};

const LABEL: &str = "dev.rrd.daemon";

const NO_DOMAIN: &str = "launchd takes agents only where you are logged in at the screen; log in there once, or run \
     `rrd daemon` in the foreground";
const SEE_LOG: &str = "~/Library/Logs/rrd.log shows what the daemon said";

pub(super) fn file(host: &Host) -> String {
    let environment: Vec<String> = host
        .environment
        .iter()
        .map(|(name, value)| {
            format!("\t\t<key>{name}</key>\n\t\t<string>{}</string>", render::xml_text(value))
        })
        .collect();
    let log = host.home.join("Library/Logs/rrd.log").display().to_string();
    render::fill(
        render::AGENT,
        &[
            ("@BINARY@", &render::xml_text(&host.binary)),
            ("@ENVIRONMENT@", &environment.join("\n")),
            ("@LOG@", &render::xml_text(&log)),
        ],
    )
}

pub(super) fn install(host: &Host, uid: &str) -> Vec<Step> {
    let path = host.file.display().to_string();
    vec![
        Step::Write { path: host.file.clone(), bytes: file(host).into_bytes() },
        // A loaded agent keeps the file it was loaded with.
        launchctl(&["bootout", &service(uid)], OnFailure::Ignore),
        launchctl(&["enable", &service(uid)], OnFailure::Ignore),
        // bootout returns before the daemon is gone.
        launchctl(&["bootstrap", &domain(uid), &path], OnFailure::Retry { hint: NO_DOMAIN }),
        launchctl(&["kickstart", &service(uid)], OnFailure::Stop { hint: SEE_LOG }),
    ]
}

pub(super) fn uninstall(host: &Host, uid: &str) -> Vec<Step> {
    vec![
        launchctl(&["bootout", &service(uid)], OnFailure::Ignore),
        Step::Remove { path: host.file.clone() },
    ]
}

pub(super) fn restart(uid: &str) -> Vec<Step> {
    vec![launchctl(&["kickstart", "-k", &service(uid)], OnFailure::Stop { hint: SEE_LOG })]
}

pub(super) fn query(uid: &str) -> Vec<String> {
    ["launchctl", "print", &service(uid)].map(str::to_owned).to_vec()
}

/// Whether `launchctl print` speaks of a running process; a loaded agent that waits also answers.
pub(super) fn is_running(answer: &str) -> bool {
    answer.lines().any(|line| line.trim() == "state = running")
}

/// The user's number, which names the launchd domain. `id` is asked: the standard library does not
/// tell.
pub(super) fn uid(system: &mut dyn System) -> Result<String, ServiceError> {
    let unknown = || ServiceError::new("`id -u` did not tell your user number", "check your PATH");
    let answer = system.run(&["id".to_owned(), "-u".to_owned()]).map_err(|_| unknown())?;
    let number = answer.text.parse::<u32>().map_err(|_| unknown())?;
    Ok(number.to_string())
}

fn domain(uid: &str) -> String {
    format!("gui/{uid}")
}

fn service(uid: &str) -> String {
    format!("gui/{uid}/{LABEL}")
}

fn launchctl(args: &[&str], on_failure: OnFailure) -> Step {
    let argv: Vec<&str> = ["launchctl"].iter().chain(args).copied().collect();
    Step::run(&argv, on_failure)
}
