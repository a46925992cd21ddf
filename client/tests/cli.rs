//! The binary from outside, without a daemon and without transcripts: help, errors, settings.
//!
//! Every run has its own home, so nothing of the machine's shows through. Not here: sessions
//! (`sessions.rs`) and what a daemon answers (`daemon.rs`).
#![allow(clippy::unwrap_used)] // the lint's exception for tests does not reach plain functions here

use std::{
    fs,
    process::{Command, Output, Stdio},
};

use tempfile::TempDir;

struct Home(TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rrd"));
        command.args(args).env_clear().stdin(Stdio::null());
        command
            .env("HOME", self.0.path())
            .env("RRD_HOME", self.0.path().join("rrd"))
            .env("RRD_HTTP", "off");
        command
    }

    fn run(&self, args: &[&str]) -> Ran {
        Ran::of(&self.command(args).output().unwrap())
    }

    fn config(&self, toml: &str) {
        fs::create_dir_all(self.0.path().join("rrd")).unwrap();
        fs::write(self.0.path().join("rrd/config.toml"), toml).unwrap();
    }
}

#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ran {
    fn of(output: &Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout.clone()).unwrap(),
            err: String::from_utf8(output.stderr.clone()).unwrap(),
        }
    }

    #[track_caller]
    fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }
}

#[test]
fn every_command_explains_itself() {
    let home = Home::new();
    for command in [
        &[][..],
        &["sessions"],
        &["sessions", "list"],
        &["sessions", "show"],
        &["sessions", "tail"],
        &["status"],
        &["doctor"],
        &["config"],
        &["daemon"],
        &["completions"],
    ] {
        let ran = home.run(&[command, &["--help"]].concat()).exits(0);
        assert!(ran.out.contains("Usage: rrd"), "{ran:#?}");
        assert!(!ran.out.contains('\u{1b}'), "{ran:#?}");
        assert_eq!(ran.err, "");
    }
    assert!(home.run(&["--version"]).exits(0).out.starts_with("rrd "));
}

#[test]
fn help_teaches_with_commands_that_parse() {
    let home = Home::new();
    let mut tried = 0;
    for command in [&[][..], &["sessions", "list"], &["sessions", "show"], &["sessions", "tail"]] {
        let help = home.run(&[command, &["--help"]].concat()).out;
        for line in help.lines().filter(|line| line.starts_with("  rrd ")) {
            let words: Vec<_> = line
                .split("  ")
                .map(str::trim)
                .find(|part| part.starts_with("rrd"))
                .unwrap()
                .split(" | ")
                .next()
                .unwrap()
                .split(' ')
                .skip(1)
                .collect();
            // `--help` at the end: parsed as far as it goes, and nothing is run.
            let ran = home.run(&[&words[..], &["--help"]].concat());
            assert_eq!(ran.code, Some(0), "{line}: {ran:#?}");
            tried += 1;
        }
    }
    assert!(tried >= 10, "{tried}");
}

#[test]
fn wrong_usage_exits_64() {
    let home = Home::new();
    for args in [
        &["sessions", "lst"][..],
        &["sessions", "list", "--status", "busy"],
        &["sessions", "list", "--since", "soon"],
        &["sessions", "list", "--watch", "--json"],
        &["sessions", "show"],
        &["sessions", "tail", "b41f", "--limit", "0"],
        &["frobnicate"],
    ] {
        let ran = home.run(args).exits(64);
        assert!(ran.err.starts_with("error: "), "{ran:#?}");
        assert_eq!(ran.out, "");
    }
    let ran = home.run(&["sessions", "list", "--watch"]).exits(64);
    assert!(ran.err.contains("needs a terminal") && ran.err.contains("\nhint: "), "{ran:#?}");
}

#[test]
fn without_a_daemon_status_exits_69_and_says_what_helps() {
    let ran = Home::new().run(&["status"]).exits(69);
    assert_eq!(
        ran.err,
        "error: no daemon is running\nhint: rrd service install keeps one running\n"
    );
    assert_eq!(ran.out, "");
}

#[test]
fn config_says_what_is_in_force_and_whence() {
    let home = Home::new();
    home.config("name = \"desk\"\n");
    let output = home.command(&["config"]).env("RRD_IDLE_TIMEOUT", "90s").output().unwrap();
    let ran = Ran::of(&output).exits(0);
    let row = |key: &str| {
        let line = ran.out.lines().find(|line| line.starts_with(key)).unwrap();
        line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(row("name"), ["name", "desk", "config.toml"]);
    assert_eq!(row("idle_timeout"), ["idle_timeout", "90s", "RRD_IDLE_TIMEOUT"]);
    assert_eq!(row("watch"), ["watch", "auto", "default"]);

    let json = home.run(&["config", "--json"]).exits(0);
    let rows: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(rows[0]["key"], "name");
    assert_eq!(rows[0]["value"], "desk");
    assert_eq!(rows[0]["source"], "config.toml");
}

#[test]
fn what_the_help_says_of_notify_is_a_config_that_counts() {
    let home = Home::new();
    let help = home.run(&["notify", "--help"]).exits(0).out;
    let (_, rest) = help.split_once("Example config.toml:\n").unwrap();
    let (example, _) = rest.split_once("\n\n").unwrap();
    assert!(example.contains("[notify.sinks.desk]"), "{example}");
    for secret in ["ntfy-topic", "ntfy-token"] {
        let at = home.0.path().join(".config/rrd").join(secret);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        fs::write(at, "https://ntfy.example/topic").unwrap();
    }
    home.config(example);
    home.run(&["config"]).exits(0);
    home.config(&example.replace("kind = \"desktop\"", "kind = \"desktops\""));
    home.run(&["config"]).exits(78);
}

#[test]
fn a_wrong_setting_exits_78_and_the_doctor_goes_on() {
    let home = Home::new();
    home.config("idle_timout = \"5m\"\n");
    for command in [&["config"][..], &["sessions", "list"], &["status"], &["daemon"]] {
        let ran = home.run(command).exits(78);
        assert!(ran.err.contains("config.toml") && ran.err.contains("idle_timout"), "{ran:#?}");
        assert!(ran.err.contains("\nhint: rrd doctor"), "{ran:#?}");
    }
    let ran = home.run(&["doctor"]).exits(1);
    assert!(ran.out.contains("✕ config"), "{ran:#?}");
    assert!(ran.out.contains("reach"), "{ran:#?}");
    assert!(ran.err.contains("1 check failed"), "{ran:#?}");
}

#[test]
fn the_doctor_finds_a_fresh_home_well() {
    let home = Home::new();
    fs::create_dir_all(home.0.path().join(".claude/projects")).unwrap();
    let ran = home.run(&["doctor"]).exits(0);
    assert!(ran.out.contains(".claude can be read"), "{ran:#?}");
    assert!(ran.out.contains("no daemon is running"), "{ran:#?}");
    let json = home.run(&["doctor", "--json"]).exits(0);
    let findings: Vec<serde_json::Value> = serde_json::from_str(&json.out).unwrap();
    for finding in &findings {
        let keys: Vec<_> = finding.as_object().unwrap().keys().cloned().collect();
        assert_eq!(keys, ["detail", "hint", "part", "state"]);
    }
}

#[cfg(unix)]
#[test]
fn the_doctor_names_what_is_open_to_others() {
    use std::os::unix::fs::PermissionsExt;
    let home = Home::new();
    let state = home.0.path().join("rrd/state");
    fs::create_dir_all(&state).unwrap();
    fs::set_permissions(&state, fs::Permissions::from_mode(0o755)).unwrap();
    let ran = home.run(&["doctor"]).exits(1);
    assert!(ran.out.contains("✕ state") && ran.out.contains("hint: chmod 700 "), "{ran:#?}");
}

#[test]
fn completions_know_the_commands() {
    let home = Home::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let ran = home.run(&["completions", shell]).exits(0);
        assert!(ran.out.contains("sessions") && ran.out.contains("doctor"), "{shell}");
    }
}

#[cfg(unix)]
#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let home = Home::new();
    let mut child = home
        .command(&["completions", "zsh"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let ran = Ran::of(&child.wait_with_output().unwrap()).exits(0);
    assert_eq!(ran.err, "");
}

#[test]
fn colours_follow_the_flag_then_the_environment() {
    let home = Home::new();
    let coloured = |args: &[&str], var: Option<(&str, &str)>| {
        Ran::of(&home.command(args).envs(var).output().unwrap()).out.contains('\u{1b}')
    };
    assert!(!coloured(&["config"], None));
    assert!(coloured(&["config", "--color", "always"], None));
    assert!(coloured(&["config"], Some(("CLICOLOR_FORCE", "1"))));
    assert!(!coloured(&["config", "--color", "never"], Some(("CLICOLOR_FORCE", "1"))));
    assert!(!coloured(&["config"], Some(("NO_COLOR", "1"))));
}
