//! In which directory a session goes on: a clone of the repository that it worked in.
//!
//! Looked for where this host's own sessions worked, since agents go where clones are; no disk is searched. If
//! that leaves a doubt, a person is asked, and where there is none it is an error.

use std::{
    cmp::Reverse,
    env, fs,
    path::{Path, PathBuf},
};

use rrd_proto::{HostState, ListQuery, Session};

use crate::{
    ask::Answerer,
    error::{CliError, Kind},
    local::resume::{git, same_remote},
    output, text,
};

/// Clones that are named at once.
const FEW: usize = 8;

/// The directory, and why that one; `own` is what this host has of the session, and its transcript.
pub(crate) fn find(
    answerer: &Answerer,
    session: &Session,
    own: Option<(&Session, &Path)>,
    wanted: Option<&Path>,
) -> Result<(PathBuf, &'static str), CliError> {
    if let Some(wanted) = wanted {
        return Ok((real(wanted)?, "as told"));
    }
    if let Some((row, transcript)) = own
        && let Some(found) = super::whence::find(answerer, row, transcript)?
    {
        return Ok(found);
    }
    let began = session.cwd.as_deref().filter(|_| session.host_state == HostState::Here);
    if let Some(cwd) = began.map(Path::new).filter(|cwd| cwd.is_dir()) {
        // As it is written: that is what its harness knows.
        return Ok((cwd.to_owned(), "where it was started"));
    }
    let Some(remote) = session.repo_remote.as_deref() else {
        let why = "it was in no repository with a remote by which a directory here could be found";
        return asked(session, CliError::new(Kind::Usage, why), &[]);
    };
    if let Ok(here) = env::current_dir()
        && is_clone(&here, remote)
    {
        return Ok((real(&here)?, "where you are, a clone of its repository"));
    }
    let clones = clones(answerer, session, remote)?;
    match clones.as_slice() {
        [only] => {
            Ok((real(only)?, "the clone of its repository in which sessions of this host were"))
        }
        [] => {
            let why = format!("no session of this host was in a clone of {}", text::clean(remote));
            asked(session, CliError::new(Kind::NotFound, why), &clones)
        }
        several => {
            let why = format!("{} clones of {} are here", several.len(), text::clean(remote));
            asked(session, CliError::new(Kind::NotFound, why), &clones)
        }
    }
}

/// Where sessions of this host worked in this repository, the latest first, down to the directory beneath it
/// in which the session was.
fn clones(answerer: &Answerer, session: &Session, remote: &str) -> Result<Vec<PathBuf>, CliError> {
    let mut rows = of_this_host(answerer)?;
    rows.retain(|row| {
        // A copy of it names the directory that it had elsewhere.
        row.key() != session.key()
            && row.repo_remote.as_deref().is_some_and(|of| same_remote(of, remote))
    });
    rows.sort_by_key(|row| Reverse(row.last_activity_at));
    let mut found: Vec<PathBuf> = Vec::new();
    for root in rows.iter().filter_map(|row| row.repo_root.as_deref()).map(Path::new) {
        let directory = beneath(root, session);
        if !found.contains(&directory) && found.len() < FEW && is_clone(root, remote) {
            found.push(directory);
        }
    }
    Ok(found)
}

/// All sessions of this host, whatever it is called.
pub(super) fn of_this_host(answerer: &Answerer) -> Result<Vec<Session>, CliError> {
    let mut rows = answerer.list(&ListQuery { all: true, ..ListQuery::default() })?.sessions;
    rows.retain(|row| row.host_state == HostState::Here);
    Ok(rows)
}

fn is_clone(directory: &Path, remote: &str) -> bool {
    git::remote(directory).is_some_and(|of| same_remote(&of, remote))
}

/// The directory in `root` that is what the session's is in its own clone, where there is one.
fn beneath(root: &Path, session: &Session) -> PathBuf {
    let within = || {
        let (cwd, of) = (session.cwd.as_deref()?, session.repo_root.as_deref()?);
        let rest = cwd.strip_prefix(of)?;
        let parts: Vec<&str> = rest.split(['/', '\\']).filter(|part| !part.is_empty()).collect();
        let is_plain = rest.is_empty() || rest.starts_with(['/', '\\']);
        let is_within = is_plain && parts.iter().all(|part| *part != "..");
        is_within.then(|| parts.iter().fold(root.to_owned(), |path, part| path.join(part)))
    };
    within().filter(|path| path.is_dir()).unwrap_or_else(|| root.to_owned())
}

/// What a person says to it; without one, the error.
fn asked(
    session: &Session,
    why: CliError,
    clones: &[PathBuf],
) -> Result<(PathBuf, &'static str), CliError> {
    let named: Vec<String> = clones.iter().map(|path| path.display().to_string()).collect();
    let error = named.iter().fold(why, |error, path| error.fact(path.clone()));
    let question = match named.first() {
        None => format!("{}. In which directory does it go on? ", error.message()),
        Some(first) => {
            let numbered = (1..).zip(&named).map(|(number, name): (usize, _)| match clones {
                [_] => name.clone(),
                _ => format!("{number}: {name}"),
            });
            let numbered = numbered.collect::<Vec<_>>().join(", ");
            let said = error.message();
            format!("{said}: {numbered}. In which directory does it go on? [{first}] ")
        }
    };
    let Some(answer) = output::ask_line(&question) else {
        let id = &session.session_id;
        let clone = match session.repo_remote.as_deref().filter(|_| clones.is_empty()) {
            // Somebody else may have written it.
            Some(remote) => {
                text::shell_word(remote).map(|remote| format!("git clone -- {remote}; then "))
            }
            None => None,
        };
        return Err(error.hint(format!("{}rrd resume {id} --cwd DIR", clone.unwrap_or_default())));
    };
    match (answer.as_str(), clones.first()) {
        ("", Some(first)) => Ok((real(first)?, "as told")),
        ("", None) => Err(error.hint("--cwd DIR names one")),
        (answer, _) => Ok((real(&meant(answer, clones, env::home_dir()))?, "as told")),
    }
}

/// The directory that a person types: one of those that were shown by its number, or a path as to a shell.
fn meant(answer: &str, clones: &[PathBuf], home: Option<PathBuf>) -> PathBuf {
    let number = answer.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
    if let Some(shown) = number.and_then(|at| clones.get(at)) {
        return shown.clone();
    }
    let rest = answer.strip_prefix('~').filter(|rest| rest.is_empty() || rest.starts_with('/'));
    match rest.zip(home) {
        Some((rest, home)) => home.join(rest.trim_start_matches('/')),
        None => PathBuf::from(answer),
    }
}

/// Without links, as Claude Code names it.
fn real(directory: &Path) -> Result<PathBuf, CliError> {
    let wrong = |why: String| {
        CliError::new(Kind::Usage, format!("{} {why}", directory.display()))
            .hint("--cwd takes a directory that is there")
    };
    let real =
        fs::canonicalize(directory).map_err(|error| wrong(format!("cannot be used: {error}")))?;
    match real.is_dir() {
        true => Ok(plain(real)),
        false => Err(wrong("is no directory".to_owned())),
    }
}

/// Windows makes `\\?\C:\x` of a real path, which no harness would.
pub(super) fn plain(path: PathBuf) -> PathBuf {
    let shown = path.to_string_lossy();
    match shown.strip_prefix(r"\\?\").filter(|rest| rest.as_bytes().get(1) == Some(&b':')) {
        Some(rest) => PathBuf::from(rest),
        None => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::tests::session;

    #[test]
    fn the_directory_is_the_same_within_another_clone() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir_all(root.join("client/src")).unwrap();
        let of = |cwd: &str, repo_root: &str| {
            let mut row = session("7f2c");
            (row.cwd, row.repo_root) = (Some(cwd.to_owned()), Some(repo_root.to_owned()));
            beneath(root, &row)
        };
        assert_eq!(of("/home/a/rrd/client/src", "/home/a/rrd"), root.join("client/src"));
        assert_eq!(of(r"C:\a\rrd\client", r"C:\a\rrd"), root.join("client"));
        for (cwd, repo_root) in [
            ("/home/a/rrd", "/home/a/rrd"),
            ("/home/a/rrd/gone", "/home/a/rrd"),
            ("/home/a/rrd/../../etc", "/home/a/rrd"),
            ("/home/a/rrdclient", "/home/a/rrd"),
            ("/elsewhere", "/home/a/rrd"),
        ] {
            assert_eq!(of(cwd, repo_root), root, "{cwd}");
        }
    }

    #[test]
    fn a_person_answers_with_a_number_or_a_path() {
        let clones = [PathBuf::from("/a"), PathBuf::from("/b")];
        for (answer, directory) in [
            ("1", "/a"),
            ("2", "/b"),
            ("0", "0"),
            ("3", "3"),
            ("./2", "./2"),
            ("/c d", "/c d"),
            ("~", "/home/dev"),
            ("~/src//x", "/home/dev/src//x"),
            ("~other/x", "~other/x"),
            ("x/~", "x/~"),
        ] {
            let home = Some(PathBuf::from("/home/dev"));
            assert_eq!(meant(answer, &clones, home), Path::new(directory), "{answer}");
        }
        assert_eq!(meant("~/x", &clones, None), Path::new("~/x"));
    }

    #[test]
    fn a_path_of_windows_is_one_that_a_harness_knows() {
        assert_eq!(plain(PathBuf::from(r"\\?\C:\x")), PathBuf::from(r"C:\x"));
        assert_eq!(plain(PathBuf::from("/x")), PathBuf::from("/x"));
    }
}
