//! `rrd hooks`: shows what would change in a harness's settings, asks, and changes it.
//!
//! Not here: the changes themselves ([`crate::settings`]).

use serde::Serialize;

use crate::{
    cli::{Hooks, HooksEdit, HooksStatus},
    error::{CliError, Kind},
    local, look, output,
    settings::{self, Change, State, Target},
    text::{clean, counted, pad, width},
};

pub(crate) fn run(hooks: &Hooks) -> Result<(), CliError> {
    match hooks {
        Hooks::Install(args) => edit(args, true),
        Hooks::Uninstall(args) => edit(args, false),
        Hooks::Status(args) => status(args),
    }
}

fn edit(args: &HooksEdit, install: bool) -> Result<(), CliError> {
    let config = local::config(None)?;
    let binary = if install { settings::binary()? } else { String::new() };
    let all = settings::targets(&config, args.harness.as_deref());
    let here: Vec<Target> = all.iter().filter(|target| target.has_home()).cloned().collect();
    if here.is_empty() {
        return Err(nobody(&all));
    }
    let (mut changes, mut refused, mut said) = (Vec::new(), Vec::new(), Vec::new());
    for target in &here {
        let planned = if install { target.install(&binary) } else { target.uninstall() };
        match planned {
            Ok(Some(change)) => changes.push((target, change)),
            Ok(None) if install => said.push(format!("{} has them already", shown(target))),
            Ok(None) => said.push(format!("{} has none of them", shown(target))),
            Err(error) => refused.push(error),
        }
    }
    for (_, change) in &changes {
        said.extend(settings::diff(
            &change.file,
            change.before.as_deref(),
            change.after.as_deref(),
        ));
    }
    if !changes.is_empty() && install {
        said.push(String::new());
        said.push(
            "Hooks are optional: they sharpen what rrd says, and everything works without them."
                .to_owned(),
        );
    }
    output::print_lines(&said)?;
    if !changes.is_empty() {
        let verb = if install { "install" } else { "uninstall" };
        agree(args, changes.len(), verb)?;
        write(&changes, install, &mut refused)?;
    }
    match refused.into_iter().reduce(also) {
        None => Ok(()),
        Some(error) => Err(error),
    }
}

/// Asks, unless told not to.
fn agree(args: &HooksEdit, files: usize, verb: &str) -> Result<(), CliError> {
    if args.yes {
        return Ok(());
    }
    let files = counted(files as u64, "file");
    match output::ask(&format!("Change {files} like this?")) {
        Some(true) => Ok(()),
        Some(false) => Err(CliError::new(Kind::NotFound, "nothing was changed")),
        None => {
            let harness = args.harness.as_deref().map(|name| format!(" {name}"));
            let harness = harness.unwrap_or_default();
            let what = "nothing was changed: nobody is there to be asked";
            Err(CliError::new(Kind::Usage, what).hint(format!("rrd hooks {verb}{harness} --yes")))
        }
    }
}

fn write(
    changes: &[(&Target, Change)],
    install: bool,
    refused: &mut Vec<CliError>,
) -> Result<(), CliError> {
    let mut said = Vec::new();
    let mut harnesses = Vec::new();
    for (target, change) in changes {
        match settings::write(change) {
            Ok(written) => {
                let done = if change.after.is_some() { "wrote" } else { "removed" };
                let kept = written.backup.map(|path| {
                    format!("; what was there is in {}", clean(&path.display().to_string()))
                });
                said.push(format!("{done} {}{}", shown(target), kept.unwrap_or_default()));
                if !harnesses.contains(&target.harness) {
                    harnesses.push(target.harness);
                }
            }
            Err(error) => refused.push(error),
        }
    }
    if install {
        said.extend(harnesses.into_iter().map(|harness| note(harness).to_owned()));
    }
    output::print_lines(&said)
}

/// What a harness does with new hooks.
fn note(harness: &str) -> &'static str {
    match harness {
        "codex" => {
            "Codex asks whether you trust new hooks when it starts next, and calls none before you do."
        }
        "hermes" => {
            "Hermes asks for each new hook when it starts next; its allowlist is yours to fill, not rrd's."
        }
        _ => "Sessions of Claude Code that start from now on call them.",
    }
}

fn also(first: CliError, next: CliError) -> CliError {
    next.lines().into_iter().fold(first, |error, (_, line)| error.fact(line))
}

fn nobody(targets: &[Target]) -> CliError {
    let error = CliError::new(Kind::NotFound, "there is no harness here whose hooks rrd knows");
    let homes = targets.iter().map(|target| target.home().display().to_string());
    let error = homes.fold(error, |error, home| error.fact(format!("looked for {home}")));
    error.hint("rrd config shows where harnesses are looked for")
}

fn shown(target: &Target) -> String {
    clean(&target.file.display().to_string()).into_owned()
}

#[derive(Serialize)]
struct Row<'a> {
    harness: &'a str,
    file: String,
    #[serde(flatten)]
    state: &'a State,
}

fn status(args: &HooksStatus) -> Result<(), CliError> {
    let config = local::config(None)?;
    let own = std::env::current_exe().ok().and_then(|path| path.to_str().map(str::to_owned));
    let all = settings::targets(&config, args.harness.as_deref());
    // A home among several that is not there is not missing.
    let has_other = |target: &Target| {
        all.iter().any(|other| other.harness == target.harness && other.has_home())
    };
    let here = |target: &&Target| target.has_home() || !has_other(target);
    let targets: Vec<&Target> = all.iter().filter(here).collect();
    let states: Vec<State> = targets.iter().map(|target| target.state(own.as_deref())).collect();
    if args.json {
        let row = |(target, state)| {
            let target: &&Target = target;
            Row { harness: target.harness, file: target.file.display().to_string(), state }
        };
        return output::json(&targets.iter().zip(&states).map(row).collect::<Vec<_>>());
    }
    let names = targets.iter().map(|target| width(target.harness)).max().unwrap_or(0);
    let mut lines = Vec::new();
    for (target, state) in targets.iter().zip(&states) {
        let words = words(state);
        let file = shown(target);
        lines.push(format!("{}  {words}", pad(target.harness, names)));
        lines.push(look::paint(look::DIM, &format!("{}  {file}", " ".repeat(names))));
        if let Some(note) = &state.note {
            lines.push(format!("{}  {}", " ".repeat(names), clean(note)));
        }
    }
    output::print_lines(&lines)
}

/// A state in words.
pub(crate) fn words(state: &State) -> String {
    let binary = state.binary.as_deref().map(clean).unwrap_or_default();
    match state.state {
        "installed" => "installed".to_owned(),
        "partial" => format!("partly installed: not for {}", state.missing.join(", ")),
        "other_binary" => format!("installed, but for {binary}"),
        "no_harness" => "the harness is not here".to_owned(),
        "unreadable" => "cannot be told".to_owned(),
        _ => "not installed (they are optional)".to_owned(),
    }
}
