//! Where a session goes on of which this host has a transcript: where it was last, or where its harness finds it.
//!
//! A row says where a session began; of one that was copied here that is a directory of another host. Not here: what
//! is done where that is not known ([`super::clone`]), and reading transcripts and disks ([`resume::whence`]).

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use rrd_proto::{Harness, Session};

use crate::{
    ask::Answerer,
    error::CliError,
    local::resume::{self, Layout, directory, git, same_remote, whence},
};

/// The transcript that a session's harness goes on with: none of those that programs store.
pub(crate) fn transcript(row: &Session, layout: Layout, homes: &[PathBuf]) -> Option<PathBuf> {
    let told = row.transcript_path.as_deref().map(PathBuf::from);
    let is_it = |path: &PathBuf| path.is_file() && homes.iter().any(|home| path.starts_with(home));
    // What the redactor touched is no path any more.
    told.filter(is_it).or_else(|| resume::place::transcript(layout, homes, &row.session_id))
}

/// The directory, and why that one; `row` is this host's.
pub(super) fn find(
    answerer: &Answerer,
    row: &Session,
    transcript: &Path,
) -> Result<Option<(PathBuf, &'static str)>, CliError> {
    let cwds = whence::cwds(transcript);
    let started = row.cwd.as_deref().map(Path::new);
    let home = match row.harness == Harness::ClaudeCode {
        true => of_its_folder(answerer, row, transcript, &cwds)?,
        // Its rollout lies where it began.
        false => started.filter(|cwd| cwd.is_dir()).map(Path::to_owned),
    };
    // Of a copy with which nobody went on here all records name another host's directories.
    let was_in = |home: &PathBuf| {
        let said = started.into_iter().chain(cwds.iter().map(Path::new));
        { said }.any(|cwd| real(cwd).starts_with(real(home)))
    };
    if home.as_ref().is_none_or(was_in)
        && let Some(last) = last(&cwds, home.as_deref(), row.repo_remote.as_deref())
    {
        return Ok(Some((last, "where it was last")));
    }
    let is_start = |home: &Path| started.is_some_and(|cwd| real(cwd) == real(home));
    Ok(home.map(|home| match is_start(&home) {
        true => (home, "where it was started"),
        false => (home, "where its transcript lies"),
    }))
}

/// Where it was last, if it went on elsewhere than in `home`: a session is in directories beneath that, and in others
/// for a moment, and belongs into another clone only where it went on in that one.
fn last(cwds: &[String], home: Option<&Path>, remote: Option<&str>) -> Option<PathBuf> {
    let last = Path::new(cwds.first()?);
    if !last.is_dir() {
        return None;
    }
    let is_another = |home: &Path| {
        let is_clone = remote.zip(git::remote(last)).is_some_and(|(of, at)| same_remote(of, &at));
        is_clone && git::root(last) != git::root(home)
    };
    if home.is_some_and(|home| !is_another(home)) {
        return None;
    }
    // It may have gone into a directory of that since.
    let above = cwds.iter().map(Path::new).filter(|cwd| last.starts_with(cwd));
    let above = above.filter(|cwd| git::root(cwd) == git::root(last));
    above.min_by_key(|cwd| cwd.components().count()).map(Path::to_owned)
}

/// The directory that the folder of a transcript of Claude Code's is named after.
fn of_its_folder(
    answerer: &Answerer,
    row: &Session,
    transcript: &Path,
    cwds: &[String],
) -> Result<Option<PathBuf>, CliError> {
    let Some(folder) = transcript.parent().and_then(Path::file_name) else { return Ok(None) };
    let folder = folder.to_string_lossy();
    let is_it = |path: &Path| path.is_dir() && directory(&real(path).to_string_lossy()) == *folder;
    // As it is written: that is what its harness knows.
    let said = row.cwd.iter().chain(cwds).map(PathBuf::from);
    let here = env::current_dir().ok().map(|here| real(&here));
    if let Some(found) = said.chain(here).find(|path| is_it(path)) {
        return Ok(Some(found));
    }
    let rows = super::clone::of_this_host(answerer)?;
    let known = rows.iter().flat_map(|row| [&row.cwd, &row.repo_root]).flatten().map(PathBuf::from);
    if let Some(found) = { known }.find(|path| is_it(path)) {
        return Ok(Some(found));
    }
    // Nobody has been there yet. The name may be that of several, of which one may be a clone.
    let mut found = whence::directories(&folder);
    if let (Some(remote), true) = (row.repo_remote.as_deref(), found.len() > 1) {
        let is_clone =
            |path: &PathBuf| git::remote(path).is_some_and(|of| same_remote(&of, remote));
        found.retain(is_clone);
    }
    Ok(found.pop().filter(|_| found.is_empty()))
}

/// Without links, if it is there.
pub(crate) fn real(path: &Path) -> PathBuf {
    fs::canonicalize(path).map_or_else(|_| path.to_owned(), super::clone::plain)
}
