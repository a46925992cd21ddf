//! Linux: a systemd user unit, with linger so that it outlives the last login.

use super::{
    ServiceError,
    host::Host,
    plan::{OnFailure, Step},
    render,
};

const UNIT: &str = "rrd.service";

const NO_MANAGER: &str = "this system has no systemd user instance that can be reached from here; run `rrd daemon` in the \
     foreground instead (in tmux, or from whatever starts your programs)";
const SEE_LOG: &str = "`journalctl --user -u rrd.service -n 20` shows what the daemon said";
const NO_LINGER: &str = "so the daemon stops when you log out and starts at your next login; to let it stay, run: \
     sudo loginctl enable-linger \"$USER\"";

pub(super) fn file(host: &Host) -> String {
    let environment: Vec<String> = host
        .environment
        .iter()
        .map(|(name, value)| {
            format!("Environment={}", render::systemd_word(&format!("{name}={value}")))
        })
        .collect();
    render::fill(
        render::UNIT,
        &[
            ("@BINARY@", &render::systemd_word(&host.binary)),
            ("@ENVIRONMENT@", &environment.join("\n")),
        ],
    )
}

pub(super) fn install(host: &Host) -> Result<Vec<Step>, ServiceError> {
    // systemd calls these "special characters" in a program's name, however they are escaped.
    if host.binary.contains(['"', '\'', '\\', '\u{7f}']) {
        return Err(ServiceError::new(
            format!(
                "systemd runs no program whose path has quotes or backslashes: {}",
                host.binary
            ),
            "cargo install --locked --path client --root DIR, with another DIR",
        ));
    }
    let path = host.file.display().to_string();
    // By its path where the manager may not look: its XDG_CONFIG_HOME need not be this shell's.
    let usual = host.home.join(".config/systemd/user").join(UNIT);
    let unit = if host.file == usual { UNIT } else { &path };
    Ok(vec![
        // Asked first: without a manager nothing is written.
        systemctl(&["show-environment"], OnFailure::Stop { hint: NO_MANAGER }),
        Step::Write { path: host.file.clone(), bytes: file(host).into_bytes() },
        systemctl(&["daemon-reload"], OnFailure::Stop { hint: NO_MANAGER }),
        systemctl(&["enable", unit], OnFailure::Stop { hint: SEE_LOG }),
        // Not `enable --now`: that leaves a running daemon of the release before as it is.
        systemctl(&["restart", UNIT], OnFailure::Stop { hint: SEE_LOG }),
        // A question asked here would wait for ever: there is no input to answer it.
        Step::run(&["loginctl", "--no-ask-password", "enable-linger"], OnFailure::Say(NO_LINGER)),
    ])
}

pub(super) fn uninstall(host: &Host) -> Vec<Step> {
    vec![
        systemctl(&["disable", "--now", UNIT], OnFailure::Ignore),
        Step::Remove { path: host.file.clone() },
        systemctl(&["daemon-reload"], OnFailure::Ignore),
        systemctl(&["reset-failed", UNIT], OnFailure::Ignore),
    ]
}

pub(super) fn restart() -> Vec<Step> {
    vec![systemctl(&["restart", UNIT], OnFailure::Stop { hint: SEE_LOG })]
}

/// Exits 0 when it runs, and says one word either way.
pub(super) fn query() -> Vec<String> {
    ["systemctl", "--user", "is-active", UNIT].map(str::to_owned).to_vec()
}

fn systemctl(args: &[&str], on_failure: OnFailure) -> Step {
    let argv: Vec<&str> = ["systemctl", "--user"].iter().chain(args).copied().collect();
    Step::run(&argv, on_failure)
}
