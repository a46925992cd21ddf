//! `rrd hooks` on settings as people have them: what changes, what stays, and what is refused.
//!
//! The binary is run from where one would be installed, for cargo's own is refused. Not here: every
//! layout a file may have (the tables beside the code).
#![cfg(unix)]
#![allow(clippy::unwrap_used)] // the lint's exception for tests does not reach plain functions here

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::{Value, json};
use tempfile::TempDir;

struct Home(TempDir);

impl Home {
    fn new(folders: &[&str]) -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        for folder in folders.iter().chain(&["bin", "other"]) {
            fs::create_dir(home.path(folder)).unwrap();
        }
        for bin in ["bin/rrd", "other/rrd"] {
            let built = Path::new(env!("CARGO_BIN_EXE_rrd"));
            // Linked where that works, for it is large.
            if fs::hard_link(built, home.path(bin)).is_err() {
                fs::copy(built, home.path(bin)).unwrap();
            }
        }
        home
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.0.path().join(relative)
    }

    fn write(&self, relative: &str, text: &str) -> PathBuf {
        let path = self.path(relative);
        fs::write(&path, text).unwrap();
        path
    }

    fn read(&self, relative: &str) -> String {
        fs::read_to_string(self.path(relative)).unwrap()
    }

    fn run(&self, bin: &str, args: &[&str]) -> Output {
        let mut command = Command::new(self.path(bin));
        let command = command.arg("hooks").args(args).env_clear();
        let command = command
            .env("HOME", self.0.path())
            .env("RRD_HOME", self.path("rrd"))
            .env("RRD_HTTP", "off");
        command.stdin(Stdio::null()).output().unwrap()
    }

    fn rrd(&self, args: &[&str]) -> Output {
        self.run("bin/rrd", args)
    }

    fn done(&self, args: &[&str]) -> String {
        let output = self.rrd(args);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn refused(&self, args: &[&str]) -> (i32, String) {
        let output = self.rrd(args);
        assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    }

    fn states(&self) -> Vec<(String, String)> {
        let rows: Vec<Value> = serde_json::from_str(&self.done(&["status", "--json"])).unwrap();
        let word = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
        rows.iter().map(|row| (word(row, "harness"), word(row, "state"))).collect()
    }

    fn state(&self, harness: &str) -> String {
        self.states().into_iter().find(|(name, _)| name == harness).unwrap().1
    }

    fn files(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(folder)).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

const SETTINGS: &str = "{\r\n\t\"model\": \"opus\", // mine\r\n\t\"hooks\": {\r\n\t\t\"Stop\": [\r\n\t\t\t{ \"hooks\": [{ \"type\": \
                        \"command\", \"command\": \"notify.sh\" }] }\r\n\t\t],\r\n\t\t\"PreToolUse\": []\r\n\t},\r\n\t\"x\": {}\r\n}";

#[test]
fn what_was_installed_is_gone_again_to_the_last_byte() {
    let home = Home::new(&[".claude", ".codex", ".hermes"]);
    for (file, text, harness) in [
        (".claude/settings.json", SETTINGS, "claude-code"),
        (".claude/settings.json", "{}", "claude-code"),
        (".claude/settings.json", "{\n}\n", "claude-code"),
        (".claude/settings.json", "{\"hooks\":{}}", "claude-code"),
        (".claude/settings.json", "", "claude-code"),
        (
            ".codex/hooks.json",
            "{\"hooks\": {\"Stop\": [], \"SessionEnd\": [{\"hooks\": []}]}}\n",
            "codex",
        ),
        (".hermes/config.yaml", "model:\n  default: x\nhooks: {}\n\n# end", "hermes"),
    ] {
        home.write(file, text);
        home.done(&["install", harness, "--yes"]);
        assert_eq!(home.state(harness), "installed", "{text}");
        assert_ne!(home.read(file), text);
        let again = home.done(&["install", harness, "--yes"]);
        assert!(again.contains("has them already"), "{again}");
        home.done(&["uninstall", harness, "--yes"]);
        assert_eq!(home.read(file), text);
        assert_eq!(home.state(harness), "not_installed");
    }
    // A file that was not there is not there again.
    for (file, harness) in [
        (".claude/settings.json", "claude-code"),
        (".codex/hooks.json", "codex"),
        (".hermes/config.yaml", "hermes"),
    ] {
        for name in home.files(Path::new(file).parent().unwrap().to_str().unwrap()) {
            fs::remove_file(home.path(file).with_file_name(name)).unwrap();
        }
        home.done(&["install", harness, "--yes"]);
        assert_eq!(fs::metadata(home.path(file)).unwrap().permissions().mode() & 0o777, 0o600);
        home.done(&["uninstall", harness, "--yes"]);
        assert!(!home.path(file).exists(), "{file}");
    }
}

#[test]
fn what_others_changed_meanwhile_stays() {
    let home = Home::new(&[".claude"]);
    home.write(".claude/settings.json", SETTINGS);
    home.done(&["install", "--yes"]);
    let more = home.read(".claude/settings.json").replace("\"opus\"", "\"haiku\"");
    home.write(".claude/settings.json", &more);
    let said = home.done(&["uninstall", "--yes"]);
    let left = home.read(".claude/settings.json");
    assert!(!left.contains("rrd hook") && left.contains("notify.sh"), "{left}");
    // Only the empty list that had been there is not known to have been.
    let want = SETTINGS.replace("\"opus\"", "\"haiku\"").replace(",\r\n\t\t\"PreToolUse\": []", "");
    assert_eq!(left, want);
    assert!(said.contains("what was there is in"), "{said}");
    assert_eq!(
        home.files(".claude"),
        ["settings.json", "settings.json.rrd-backup", "settings.json.rrd-backup-2"]
    );
    assert_eq!(home.read(".claude/settings.json.rrd-backup"), SETTINGS);
}

#[test]
fn the_change_is_shown_and_nothing_done_unasked() {
    let home = Home::new(&[".claude"]);
    home.write(".claude/settings.json", SETTINGS);
    let output = home.rrd(&["install"]);
    let shown = String::from_utf8(output.stdout).unwrap();
    let command = format!("{} hook claude-code", home.path("bin/rrd").display());
    assert!(shown.contains("--- ") && shown.contains("@@ "), "{shown}");
    assert!(shown.lines().any(|line| line.starts_with('+') && line.contains(&command)), "{shown}");
    assert!(shown.contains("optional"), "{shown}");
    assert_eq!(output.status.code(), Some(64));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("nothing was changed") && said.contains("--yes"), "{said}");
    assert_eq!(home.read(".claude/settings.json"), SETTINGS);
    assert_eq!(home.files(".claude"), ["settings.json"]);
}

#[test]
fn each_event_is_hooked_once_with_a_short_timeout() {
    let home = Home::new(&[".claude", ".codex"]);
    let said = home.done(&["install", "--yes"]);
    assert!(said.contains("Codex asks whether you trust new hooks"), "{said}");
    for (file, harness, events) in
        [(".claude/settings.json", "claude-code", 12), (".codex/hooks.json", "codex", 9)]
    {
        let settings: Value = serde_json::from_str(&home.read(file)).unwrap();
        let hooks = settings["hooks"].as_object().unwrap();
        assert_eq!(hooks.len(), events);
        for groups in hooks.values() {
            let command = format!("{} hook {harness}", home.path("bin/rrd").display());
            let handler = json!({"type": "command", "command": command, "timeout": 5});
            assert_eq!(*groups, json!([{"hooks": [handler]}]));
        }
    }
}

#[test]
fn the_state_of_each_harness_is_told() {
    let home = Home::new(&[".claude", ".codex"]);
    home.write(".codex/hooks.json", "{");
    let states = home.states();
    let states: Vec<_> = states.iter().map(|(name, state)| (&**name, &**state)).collect();
    assert_eq!(
        states,
        [("claude-code", "not_installed"), ("codex", "unreadable"), ("hermes", "no_harness"),]
    );
    home.done(&["install", "claude-code", "--yes"]);
    assert!(home.done(&["status"]).contains("claude-code  installed"));
    let other = home.run("other/rrd", &["status", "--json"]);
    let rows: Vec<Value> = serde_json::from_slice(&other.stdout).unwrap();
    assert_eq!(rows[0]["state"], "other_binary");
    assert_eq!(rows[0]["binary"], home.path("bin/rrd").to_str().unwrap());
    assert_eq!(
        (rows[0]["events"].as_array().unwrap().len(), rows[0]["missing"].as_array().unwrap().len()),
        (12, 0)
    );

    let text = home.read(".claude/settings.json");
    home.write(".claude/settings.json", &text.replace("\"Stop\"", "\"Levitate\""));
    assert_eq!(home.state("claude-code"), "partial");
    home.done(&["install", "claude-code", "--yes"]);
    assert_eq!(home.state("claude-code"), "installed");
    assert!(!home.read(".claude/settings.json").contains("Levitate"));
    assert!(home.run("other/rrd", &["install", "claude-code", "--yes"]).status.success());
    assert_eq!(home.state("claude-code"), "other_binary");
    fs::remove_file(home.path("other/rrd")).unwrap();
    assert!(home.done(&["status"]).contains("is not there any more"));
}

#[test]
fn the_doctor_speaks_of_hooks_only_where_there_are_some() {
    let home = Home::new(&[".claude", ".codex"]);
    let doctor = || {
        let mut command = Command::new(home.path("bin/rrd"));
        let command = command.args(["doctor", "--json"]).env_clear();
        let command = command
            .env("HOME", home.0.path())
            .env("RRD_HOME", home.path("rrd"))
            .env("RRD_HTTP", "off");
        let parts: Vec<Value> = serde_json::from_slice(&command.output().unwrap().stdout).unwrap();
        let hooks =
            parts.into_iter().filter(|part| part["part"].as_str().unwrap().starts_with("hooks "));
        hooks.map(|part| part["state"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert!(doctor().is_empty());
    home.done(&["install", "claude-code", "--yes"]);
    assert_eq!(doctor(), ["ok"]);
    let text = home.read(".claude/settings.json");
    let gone = text.replace(home.path("bin/rrd").to_str().unwrap(), "/nowhere/rrd");
    home.write(".claude/settings.json", &gone);
    assert_eq!(doctor(), ["degraded"]);
}

#[test]
fn a_link_is_followed_and_a_broken_file_left_alone() {
    let home = Home::new(&[".claude", ".codex", "dotfiles"]);
    let real = home.write("dotfiles/claude.json", SETTINGS);
    fs::set_permissions(&real, fs::Permissions::from_mode(0o644)).unwrap();
    symlink(&real, home.path(".claude/settings.json")).unwrap();
    home.write(".codex/hooks.json", "{\"hooks\": 7}");
    // One harness fails alone.
    let (code, said) = home.refused(&["install", "--yes"]);
    assert_eq!(code, 78);
    assert!(said.contains("hooks.json is left alone") && said.contains("hint: "), "{said}");
    assert_eq!(home.read(".codex/hooks.json"), "{\"hooks\": 7}");
    assert_eq!(home.files(".codex"), ["hooks.json"]);

    assert!(fs::symlink_metadata(home.path(".claude/settings.json")).unwrap().is_symlink());
    assert!(home.read("dotfiles/claude.json").contains("rrd hook claude-code"));
    assert_eq!(fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o644);
    assert_eq!(home.files("dotfiles"), ["claude.json"]);
    home.done(&["uninstall", "claude-code", "--yes"]);
    assert_eq!(home.read("dotfiles/claude.json"), SETTINGS);
}

#[test]
fn yaml_of_another_shape_is_for_its_owner_to_edit() {
    let home = Home::new(&[".hermes"]);
    let text = "hooks:\n  pre_tool_call:\n    - command: mine.sh\n";
    home.write(".hermes/config.yaml", text);
    let (_, said) = home.refused(&["install", "hermes", "--yes"]);
    let command = format!("    - command: {} hook hermes", home.path("bin/rrd").display());
    assert!(said.contains("has hooks already") && said.contains(&command), "{said}");
    assert!(said.contains("by hand"), "{said}");
    assert_eq!(home.read(".hermes/config.yaml"), text);
}

#[test]
fn without_a_harness_or_with_cargos_binary_nothing_is_done() {
    let home = Home::new(&[]);
    let (code, said) = home.refused(&["install", "--yes"]);
    assert_eq!(code, 1);
    assert!(said.contains(".claude") && said.contains("hint: "), "{said}");
    let (code, said) = home.refused(&["install", "vim"]);
    assert_eq!(code, 64);
    assert!(said.contains("claude-code, codex, hermes"), "{said}");
    fs::create_dir(home.path(".claude")).unwrap();
    let mut built = Command::new(env!("CARGO_BIN_EXE_rrd"));
    let built = built.args(["hooks", "install", "--yes"]).env("HOME", home.0.path()).output();
    let said = String::from_utf8(built.unwrap().stderr).unwrap();
    assert!(said.contains("cargo's build output"), "{said}");
    assert!(home.files(".claude").is_empty());
}
