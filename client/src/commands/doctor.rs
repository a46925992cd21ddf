//! `rrd doctor`: everything rrd depends on, checked from outside, then each part of the daemon.
//!
//! Works when nothing else does: a wrong config.toml or a daemon that is stuck is a finding, not the
//! end. Not here: repairs; each finding names the command that helps.

use std::{fs, io, path::Path};

use rrd_proto::{Health, Issue, ListQuery, PartStatus, Session};

use crate::{
    cli::JsonArgs,
    commands::{hooks, status},
    connect::{self, Unreachable},
    error::{CliError, Kind},
    local::{self, Config, Dirs},
    output, settings, text,
};

pub(crate) fn run(args: &JsonArgs) -> Result<(), CliError> {
    let findings = findings();
    if args.json {
        output::json(&findings)?;
    } else {
        output::print_lines(&status::lines(&findings))?;
    }
    let failed = findings.iter().filter(|finding| finding.state == Health::Failed).count();
    if failed == 0 {
        return Ok(());
    }
    let checks = if failed == 1 { "1 check".to_owned() } else { format!("{failed} checks") };
    Err(CliError::new(Kind::NotFound, format!("{checks} failed")))
}

fn findings() -> Vec<PartStatus> {
    let Some(dirs) = local::dirs() else {
        let hint = Some("set HOME, or RRD_HOME to a directory for rrd's own files");
        return vec![finding("home", Health::Failed, "there is no home directory", hint)];
    };
    let mut findings = Vec::new();
    let config = local::config(None);
    findings.push(settings(&config, &dirs));
    for (part, path) in places(&dirs) {
        findings.push(private(part, path));
    }
    if let Ok(config) = &config {
        findings.extend(
            config.roots.iter().map(|root| readable(&format!("root {}", root.harness), &root.path)),
        );
        findings.extend(hooked(config));
    }
    findings.extend(set_aside(&dirs));
    let answers = daemon(&dirs);
    if let Ok(config) = &config
        && answers.iter().any(|finding| finding.part == "reach" && finding.state != Health::Ok)
    {
        // What a daemon's tails would say of what they cannot read.
        let scan = local::scan(config, &mut |_| {});
        findings.extend(scan.parts());
        findings.extend(odd(&scan.list(&ListQuery { all: true, ..ListQuery::default() }).sessions));
    }
    findings.extend(answers);
    findings
}

fn finding(part: &str, state: Health, detail: impl Into<String>, hint: Option<&str>) -> PartStatus {
    let hint = hint.map(str::to_owned);
    PartStatus { part: part.to_owned(), state, detail: detail.into(), hint }
}

fn settings(config: &Result<Config, CliError>, dirs: &Dirs) -> PartStatus {
    let file = dirs.config_file.display();
    match config {
        Ok(_) if dirs.config_file.exists() => {
            finding("config", Health::Ok, format!("{file} is in force"), None)
        }
        Ok(_) => finding("config", Health::Ok, format!("{file} is not there: defaults"), None),
        Err(error) => {
            let lines: Vec<_> = error.lines().into_iter().map(|(_, line)| line).collect();
            // The last line is the hint to come here.
            let said = lines[..lines.len() - 1].join(" ");
            finding(
                "config",
                Health::Failed,
                said,
                Some("correct it, then rrd config shows what is in force"),
            )
        }
    }
}

/// rrd's own directories: what others must not read.
fn places(dirs: &Dirs) -> Vec<(&'static str, &Path)> {
    let mut places = vec![("state", dirs.state.as_path())];
    if cfg!(unix) {
        places.extend(dirs.socket.parent().map(|dir| ("socket", dir)));
    }
    if let Some(home) = dirs.state.parent().filter(|_| std::env::var_os("RRD_HOME").is_some()) {
        places.insert(0, ("RRD_HOME", home));
    }
    places
}

fn private(part: &str, path: &Path) -> PartStatus {
    let shown = path.display();
    let meta = match fs::metadata(path) {
        Ok(meta) => meta,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let detail = format!("{shown} is not there yet; the daemon makes it");
            return finding(part, Health::Ok, detail, None);
        }
        Err(error) => {
            let hint = format!("ls -ld {shown}");
            return finding(part, Health::Failed, format!("{shown}: {error}"), Some(&hint));
        }
    };
    if !meta.is_dir() {
        let hint = format!("mv {shown} {shown}.aside");
        return finding(part, Health::Failed, format!("{shown} is not a directory"), Some(&hint));
    }
    if let Some(why) = open_to_others(&meta) {
        let hint = format!("chmod 700 {shown}");
        // RRD_HOME only holds directories that are closed themselves.
        let state = if part == "RRD_HOME" { Health::Degraded } else { Health::Failed };
        return finding(part, state, format!("{shown} {why}"), Some(&hint));
    }
    finding(part, Health::Ok, format!("{shown} is this user's alone"), None)
}

#[cfg(unix)]
fn open_to_others(meta: &fs::Metadata) -> Option<String> {
    use std::os::unix::fs::PermissionsExt;
    let mode = meta.permissions().mode() & 0o777;
    (mode & 0o077 != 0).then(|| format!("is open to other users (mode {mode:o})"))
}

#[cfg(not(unix))]
fn open_to_others(_meta: &fs::Metadata) -> Option<String> {
    None
}

fn readable(part: &str, path: &Path) -> PartStatus {
    let shown = path.display();
    match fs::read_dir(path) {
        Ok(_) => finding(part, Health::Ok, format!("{shown} can be read"), None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let detail = format!("{shown} is not there; it is followed once it appears");
            finding(part, Health::Off, detail, None)
        }
        Err(error) => {
            let hint = format!("ls -ld {shown}");
            finding(part, Health::Failed, format!("{shown}: {error}"), Some(&hint))
        }
    }
}

/// Hooks, where they are installed: without them nothing is missing.
fn hooked(config: &Config) -> Vec<PartStatus> {
    let own = std::env::current_exe().ok().and_then(|path| path.to_str().map(str::to_owned));
    let mut findings = Vec::new();
    for target in settings::targets(config, None) {
        let state = target.state(own.as_deref());
        let (health, hint) = match (state.state, &state.note) {
            ("no_harness" | "not_installed", _) => continue,
            ("installed" | "other_binary", None) => (Health::Ok, None),
            _ => (Health::Degraded, Some("rrd hooks status")),
        };
        let mut detail = format!("{}: {}", target.file.display(), hooks::words(&state));
        if let Some(note) = state.note {
            detail = format!("{detail}; {note}");
        }
        findings.push(finding(&format!("hooks {}", target.harness), health, detail, hint));
    }
    findings
}

fn daemon(dirs: &Dirs) -> Vec<PartStatus> {
    let release = rrd_proto::VERSION;
    let connection = match connect::dial(&dirs.socket) {
        Ok(connection) => connection,
        Err(why) => {
            // Without a daemon rrd still answers; with one that cannot be used something is wrong.
            let state = match why {
                Unreachable::NotRunning => Health::Off,
                _ => Health::Failed,
            };
            return vec![finding("reach", state, why.to_string(), Some(why.remedy()))];
        }
    };
    let detail = format!("the daemon answers, release {release} like this rrd");
    let mut findings = vec![finding("reach", Health::Ok, detail, None)];
    match connection.status() {
        Ok(parts) => {
            findings.extend(parts);
            let all = ListQuery { all: true, ..ListQuery::default() };
            let sessions = connection.list(&all).map(|reply| reply.sessions).unwrap_or_default();
            findings.extend(doubles(&sessions));
            findings.extend(odd(&sessions));
        }
        Err(error) => {
            let hint = Some("rrd service restart starts it anew");
            findings.push(finding("parts", Health::Failed, error.message(), hint));
        }
    }
    findings
}

/// An index that was damaged and begun anew, if that has happened.
fn set_aside(dirs: &Dirs) -> Option<PartStatus> {
    let aside = local::index_aside(&dirs.state);
    if fs::symlink_metadata(&aside).is_err() {
        return None;
    }
    let shown = aside.display();
    let detail = format!("an index was damaged and begun anew; the damaged one is {shown}");
    let hint = text::shell_word(&shown.to_string()).map(|word| format!("rm -r {word}*"));
    Some(finding("index", Health::Degraded, detail, hint.as_deref()))
}

/// What could not be taken at face value in transcripts, by kind, with the first place of each.
fn odd(sessions: &[Session]) -> Option<PartStatus> {
    const TOLD: [&str; 6] = [
        "unreadable",
        "damaged_line",
        "oversized_line",
        "unexpected_shape",
        Issue::OUT_OF_SIGHT,
        Issue::SOURCE_GONE,
    ];
    let (mut said, mut first) = (Vec::new(), None);
    for kind in TOLD {
        let issue = |session: &Session| session.issues.iter().find(|i| i.kind == kind).cloned();
        let with: Vec<_> = sessions.iter().filter_map(|s| Some((s, issue(s)?))).collect();
        let Some((one, _)) = with.first() else { continue };
        let count: u64 = with.iter().map(|(_, issue)| issue.count).sum();
        let place = one.transcript_path.as_deref().unwrap_or(&one.session_id);
        let sessions = text::counted(with.len() as u64, "session");
        said.push(format!("{} × {count} in {sessions}, first {place}", kind.replace('_', " ")));
        // What was deleted was most likely meant to be.
        if kind != Issue::SOURCE_GONE {
            first = first.or(Some(one.reference.clone()));
        }
    }
    let state = if first.is_some() { Health::Degraded } else { Health::Ok };
    let hint = first.map(|reference| format!("rrd sessions show {reference}"));
    (!said.is_empty()).then(|| finding("transcripts", state, said.join("; "), hint.as_deref()))
}

/// Sessions that are there more than once, if any.
fn doubles(sessions: &[Session]) -> Option<PartStatus> {
    let with = |kind: &str| -> Vec<&str> {
        let has = |session: &&Session| session.issues.iter().any(|issue| issue.kind == kind);
        sessions.iter().filter(has).map(|session| session.reference.as_str()).collect()
    };
    let said = [(Issue::ALIVE_TWICE, "alive twice"), (Issue::COPIED, "with copied transcripts")]
        .map(|(kind, words)| (with(kind), words));
    let first = said.iter().flat_map(|(refs, _)| refs).next()?;
    let hint = format!("rrd sessions show {first}");
    let detail: Vec<String> = said
        .iter()
        .filter(|(refs, _)| !refs.is_empty())
        .map(|(refs, words)| format!("{} {words} ({})", refs.len(), list(refs)))
        .collect();
    Some(finding("sessions", Health::Degraded, detail.join("; "), Some(&hint)))
}

/// The first few of them.
fn list(refs: &[&str]) -> String {
    const SHOWN: usize = 5;
    let more = if refs.len() > SHOWN { ", …" } else { "" };
    format!("{}{more}", refs[..refs.len().min(SHOWN)].join(", "))
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_directory_open_to_others_is_found_out() {
        let dir = tempfile::tempdir().unwrap();
        let mode =
            |mode| fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).unwrap();
        mode(0o700);
        assert_eq!(private("state", dir.path()).state, Health::Ok);
        mode(0o755);
        let found = private("state", dir.path());
        assert_eq!(found.state, Health::Failed);
        assert!(found.detail.contains("mode 755"), "{}", found.detail);
        assert!(found.hint.unwrap().starts_with("chmod 700 "));
    }

    #[test]
    fn a_root_that_is_a_file_fails_and_a_missing_one_is_off() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("f");
        fs::write(&file, "").unwrap();
        assert_eq!(readable("root", &file).state, Health::Failed);
        assert_eq!(readable("root", &dir.path().join("none")).state, Health::Off);
        assert_eq!(readable("root", dir.path()).state, Health::Ok);
    }
}
