//! Hooks of ours in the settings of harnesses: what is there, what would be written, writing it.
//!
//! The only place where rrd touches a harness's file, and only when a person asks for it and has seen
//! what changes. Everything else in the file keeps every byte; what was there before lies beside it.
//! Hooks are optional: they sharpen what rrd says and nothing depends on them. Not here: asking
//! ([`crate::commands`]), and what a hook does when it is called ([`crate::hook`]).

mod command;
mod diff;
mod file;
mod json;
mod yaml;

use std::path::{Path, PathBuf};

use rrd_proto::Harness;
use serde::Serialize;

pub(crate) use diff::lines as diff;
pub(crate) use file::write;

use crate::{
    error::{CliError, Kind},
    local::Config,
    service,
};

/// A settings file, and the events whose hooks tell something that nothing else does, or not as soon.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) harness: &'static str,
    pub(crate) file: PathBuf,
    shape: Shape,
    events: &'static [&'static str],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Json,
    Yaml,
}

const CLAUDE_CODE: &[&str] = &[
    "SessionStart",
    "UserPromptSubmit",
    "PreToolUse",
    "PostToolUse",
    "PostToolUseFailure",
    "PermissionRequest",
    "Notification",
    "Stop",
    "StopFailure",
    "SubagentStart",
    "SubagentStop",
    "SessionEnd",
];

const CODEX: &[&str] = &[
    "SessionStart",
    "UserPromptSubmit",
    "PreToolUse",
    "PermissionRequest",
    "PostToolUse",
    "Stop",
    "SubagentStart",
    "SubagentStop",
    "SessionEnd",
];

/// Not `pre_llm_call`, which would begin a turn: it brings the whole conversation along.
const HERMES: &[&str] = &[
    "pre_tool_call",
    "pre_approval_request",
    "post_approval_response",
    "post_tool_call",
    "subagent_stop",
    "on_session_end",
    "on_session_finalize",
];

/// The harnesses that have hooks: OpenClaw and pi have none that run a command.
pub(crate) const HARNESSES: [&str; 3] = ["claude-code", "codex", "hermes"];

/// One of our hooks in a settings file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hook {
    /// The event it is called for.
    pub(crate) event: String,
    /// The whole command.
    pub(crate) command: String,
    /// The binary in it.
    pub(crate) binary: String,
}

/// A file as it is and as it would be; `None` for one that is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) file: PathBuf,
    pub(crate) before: Option<String>,
    pub(crate) after: Option<String>,
    /// What was there before is what would be there again, so nothing is worth keeping.
    pub(crate) restores: bool,
}

/// What is in a settings file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct State {
    /// A word: `installed`, `partial`, `other_binary`, `not_installed`, `no_harness`, `unreadable`.
    pub(crate) state: &'static str,
    /// Events with a hook of ours.
    pub(crate) events: Vec<String>,
    /// Events that have none.
    pub(crate) missing: Vec<&'static str>,
    /// What runs.
    pub(crate) binary: Option<String>,
    /// What else there is to say.
    pub(crate) note: Option<String>,
}

/// Every settings file of `harness`, or of all harnesses; their folders need not be there.
pub(crate) fn targets(config: &Config, harness: Option<&str>) -> Vec<Target> {
    let mut targets: Vec<Target> = Vec::new();
    for name in HARNESSES.into_iter().filter(|name| harness.is_none_or(|wanted| wanted == *name)) {
        for home in homes(config, name) {
            let target = match name {
                "claude-code" => (home.join("settings.json"), Shape::Json, CLAUDE_CODE),
                "codex" => (home.join("hooks.json"), Shape::Json, CODEX),
                _ => (home.join("config.yaml"), Shape::Yaml, HERMES),
            };
            let (file, shape, events) = target;
            if targets.iter().all(|known| !same(&known.file, &file)) {
                targets.push(Target { harness: name, file, shape, events });
            }
        }
    }
    targets
}

fn homes(config: &Config, harness: &'static str) -> Vec<PathBuf> {
    let of_harness = Harness::from(harness);
    let roots = config.roots.iter().filter(|root| root.harness == of_harness);
    roots.map(|root| root.path.clone()).collect()
}

/// Two names of one file.
fn same(a: &Path, b: &Path) -> bool {
    let real = |path: &Path| std::fs::canonicalize(path.parent()?).ok();
    a == b || a.file_name() == b.file_name() && real(a).is_some() && real(a) == real(b)
}

/// This binary, as a harness would run it.
pub(crate) fn binary() -> Result<String, CliError> {
    let binary = std::env::current_exe().map_err(|error| {
        CliError::new(Kind::Internal, format!("cannot tell where this binary is: {error}"))
            .hint("start rrd by its path")
    })?;
    if service::is_build_output(&binary) {
        return Err(CliError::new(
            Kind::Usage,
            format!("{} is cargo's build output: the next build replaces it", binary.display()),
        )
        .hint(
            "cargo install --locked --path client, then rrd hooks install with the installed one",
        ));
    }
    if binary.file_stem().is_none_or(|name| name != "rrd") {
        return Err(CliError::new(
            Kind::Usage,
            format!(
                "{} is not called rrd: by that name hooks are known again later",
                binary.display()
            ),
        )
        .hint("rename it to rrd, or install it: cargo install --locked --path client"));
    }
    let path = binary.to_str().filter(|path| command::line(path, "codex").is_some());
    path.map(str::to_owned).ok_or_else(|| {
        CliError::new(
            Kind::Usage,
            format!(
                "the path of this binary cannot be written into a command: {}",
                binary.display()
            ),
        )
        .hint("install rrd somewhere else")
    })
}

impl Target {
    /// Whether the harness has been here.
    pub(crate) fn has_home(&self) -> bool {
        self.home().is_dir()
    }

    pub(crate) fn home(&self) -> &Path {
        self.file.parent().unwrap_or(&self.file)
    }

    /// The change that gives the file our hooks; `None` when it has them.
    pub(crate) fn install(&self, binary: &str) -> Result<Option<Change>, CliError> {
        let before = file::read(&self.file)?;
        let line = command::line(binary, self.harness).unwrap_or_default();
        let text = before.clone().unwrap_or_default();
        let after = self.with(&text, &line).map_err(|why| self.refused(&why, Some(&line)))?;
        let found = self.hooks(&after).map_err(|why| self.refused(&why, Some(&line)))?;
        let events = |hook: &Hook| self.events.contains(&&*hook.event) && hook.command == line;
        if found.len() != self.events.len() || !found.iter().all(events) {
            return Err(self.refused("what would be written is not what was meant", Some(&line)));
        }
        if before.as_ref() == Some(&after) {
            return Ok(None);
        }
        Ok(Some(Change { file: self.file.clone(), before, after: Some(after), restores: false }))
    }

    /// The change that takes our hooks out of the file; `None` when it has none.
    pub(crate) fn uninstall(&self) -> Result<Option<Change>, CliError> {
        let Some(text) = file::read(&self.file)? else { return Ok(None) };
        let refused = |why: json::Refusal| self.refused(&why, None);
        let found = self.hooks(&text).map_err(refused)?;
        let Some(line) = found.first().map(|hook| hook.command.clone()) else { return Ok(None) };
        let was = |before: &str| self.with(before, &line).is_ok_and(|with| with == text);
        let change = |after, restores| {
            let before = Some(text.clone());
            Ok(Some(Change { file: self.file.clone(), before, after, restores }))
        };
        // Nothing but our hooks has changed since: then it is known what was there, to the last byte.
        if let Some(before) = file::backups(&self.file).into_iter().find(|before| was(before)) {
            return change(Some(before), true);
        }
        if was("") {
            return change(None, true);
        }
        let after = match self.shape {
            Shape::Json => json::uninstall(&text, self.harness),
            Shape::Yaml => yaml::uninstall(&text, self.harness),
        };
        change(Some(after.map_err(refused)?), false)
    }

    /// What is in the file now.
    pub(crate) fn state(&self, binary: Option<&str>) -> State {
        let state = |state, note: Option<String>| State {
            state,
            events: Vec::new(),
            missing: self.events.to_vec(),
            binary: None,
            note,
        };
        if !self.has_home() {
            return state("no_harness", Some(format!("there is no {}", self.home().display())));
        }
        let text = match file::read(&self.file) {
            Ok(text) => text.unwrap_or_default(),
            Err(error) => return state("unreadable", Some(error.message().to_owned())),
        };
        let hooks = match self.hooks(&text) {
            Ok(hooks) => hooks,
            Err(_) if text.trim().is_empty() => Vec::new(),
            Err(why) => return state("unreadable", Some(why)),
        };
        let Some(first) = hooks.first() else { return state("not_installed", None) };
        let has = |event: &&str| hooks.iter().any(|hook| hook.event == **event);
        let (has, missing): (Vec<&str>, Vec<&str>) = self.events.iter().partition(|e| has(e));
        let others = hooks.iter().find(|hook| binary.is_some_and(|own| !runs(hook, own)));
        let gone = hooks.iter().find(|hook| {
            let path = Path::new(&hook.binary);
            path.is_absolute() && !path.exists()
        });
        let word = match (others, missing.is_empty()) {
            (Some(_), _) => "other_binary",
            (None, false) => "partial",
            (None, true) => "installed",
        };
        let note = if let Some(hook) = gone {
            Some(format!("{} is not there any more: each call of it fails", hook.binary))
        } else if json::switched_off(&text) && self.shape == Shape::Json {
            Some("disableAllHooks is set there: none is called".to_owned())
        } else {
            None
        };
        let binary = others.unwrap_or(first).binary.clone();
        let events = has.into_iter().map(str::to_owned).collect();
        State { state: word, events, missing, binary: Some(binary), note }
    }

    fn with(&self, text: &str, line: &str) -> Result<String, json::Refusal> {
        match self.shape {
            Shape::Json => json::install(text, self.harness, self.events, line),
            Shape::Yaml => yaml::install(text, self.harness, self.events, line),
        }
    }

    fn hooks(&self, text: &str) -> Result<Vec<Hook>, json::Refusal> {
        match self.shape {
            Shape::Json => json::hooks(text, self.harness),
            Shape::Yaml => Ok(yaml::hooks(text, self.harness)),
        }
    }

    fn refused(&self, why: &str, line: Option<&str>) -> CliError {
        let error =
            CliError::new(Kind::Config, format!("{} is left alone: {why}", self.file.display()));
        match (self.shape, line) {
            (Shape::Yaml, Some(line)) => {
                let block = yaml::block(self.events, line);
                let error = block.lines().fold(error, CliError::fact);
                error.hint("add these lines to it by hand")
            }
            (Shape::Yaml, None) => error.hint("take the lines that run rrd out of it by hand"),
            (Shape::Json, _) => error.hint("correct it, then try again"),
        }
    }
}

fn runs(hook: &Hook, binary: &str) -> bool {
    hook.binary == binary || cfg!(windows) && hook.binary == binary.replace('\\', "/")
}
