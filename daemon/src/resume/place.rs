//! Puts a session's files where a harness looks for them: the one place where rrd writes transcripts.
//!
//! Everything is written beside the harness's own files first, compared with what is there, and only then put
//! in place: a name that is taken is never taken away from a file that says anything else. What is there may
//! be the same, or go on longer, and stays; or be the beginning of what has come, and is replaced at once and
//! whole, if nobody is at work in it. What only one of the two lacks because it was redacted changes nothing there. Names come from elsewhere and are made anew by [`Layout::placed`];
//! beneath the harness's folder no link is followed. Not here: whether it may be done, and who is told.

mod base;
mod beside;
mod coming;
mod redacted;
mod stored;
mod write;

use std::{
    fs,
    path::{Path, PathBuf},
};

use rrd_core::resume::{Layout, No};

pub use self::{
    base::begins,
    coming::{Became, Coming, Placed},
};

/// What the writing of such a file ends with.
const TOO_MUCH: &str = "more than it said";

/// Of a transcript's first line no more is looked at.
const MAX_FIRST_LINE: u64 = 4 << 20;

/// Read at once of a file that is here, and written at once.
const CHUNK: usize = 256 << 10;

/// Folders of days, months and years in which rollouts are looked for.
const DEEP: usize = 3;

/// Where a session is to go.
#[derive(Debug, Clone)]
pub struct Place {
    layout: Layout,
    /// What it is called where it comes from.
    id: String,
    /// What it is to be called here.
    new: String,
    /// The harness's home.
    pub home: PathBuf,
    /// Claude Code's directory.
    directory: String,
    /// Its transcript, where there is one already.
    existing: Option<PathBuf>,
}

impl Place {
    /// In one of a harness's homes: the one in which the session is already, else the first that is there.
    ///
    /// # Errors
    /// [`No`] for ids that no file can be called by, and where there is no home at all.
    pub fn find(
        layout: Layout,
        (id, new): (&str, &str),
        homes: &[PathBuf],
        cwd: &Path,
    ) -> Result<Self, No> {
        if !layout.is_id(id) || !layout.is_id(new) {
            return Err(no("its id is none that its harness would give", "nothing was written"));
        }
        let directory = rrd_core::resume::directory(&cwd.to_string_lossy());
        let place = |home: &PathBuf, existing| Self {
            layout,
            id: id.to_owned(),
            new: new.to_owned(),
            home: home.clone(),
            directory: directory.clone(),
            existing,
        };
        for home in homes {
            if let Some(found) = existing(layout, home, new, &directory) {
                let mut place = place(home, Some(found.clone()));
                // Its harness goes on writing where it began, whatever directory it is resumed in.
                let folder =
                    found.parent().and_then(Path::file_name).map(|name| name.to_string_lossy());
                if let (Layout::ClaudeCode, Some(folder)) = (layout, folder) {
                    place.directory = folder.into_owned();
                }
                return Ok(place);
            }
        }
        let home = homes.iter().find(|home| home.is_dir()).or_else(|| homes.first());
        let next = "rrd config tells where harnesses are looked for";
        home.map(|home| place(home, None)).ok_or_else(|| no("its harness has no home here", next))
    }

    /// Where its own transcript goes, as far as that can be told before it is known what it is called.
    #[must_use]
    pub fn shown(&self) -> PathBuf {
        match (&self.existing, self.layout) {
            (Some(existing), _) => existing.clone(),
            (None, Layout::ClaudeCode) => {
                self.home.join("projects").join(&self.directory).join(format!("{}.jsonl", self.new))
            }
            (None, Layout::Codex) => self.home.join("sessions"),
        }
    }

    fn base(&self) -> PathBuf {
        self.home.join(match self.layout {
            Layout::ClaudeCode => "projects",
            Layout::Codex => "sessions",
        })
    }
}

/// Where the harness has a session of this id, in one of its homes.
#[must_use]
pub fn transcript(layout: Layout, homes: &[PathBuf], id: &str) -> Option<PathBuf> {
    let is_sane = layout.is_id(id);
    homes.iter().filter(|_| is_sane).find_map(|home| existing(layout, home, id, ""))
}

/// The transcript of `id` in this home; of several the one in `directory` first.
fn existing(layout: Layout, home: &Path, id: &str, directory: &str) -> Option<PathBuf> {
    match layout {
        Layout::ClaudeCode => {
            let name = format!("{id}.jsonl");
            let projects = home.join("projects");
            let first = projects.join(directory).join(&name);
            if fs::symlink_metadata(&first).is_ok() {
                return Some(first);
            }
            let mut folders = entries(&projects);
            folders.retain(|folder| fs::symlink_metadata(folder).is_ok_and(|it| it.is_dir()));
            folders.iter().map(|folder| folder.join(&name)).find(|path| path.is_file())
        }
        Layout::Codex => {
            let mut folders = vec![home.join("sessions")];
            for _ in 0..DEEP {
                folders = folders.iter().flat_map(|folder| entries(folder)).collect();
            }
            folders.push(home.join("archived_sessions"));
            let ends = [format!("-{id}.jsonl"), format!("-{id}.jsonl.zst")];
            folders.iter().flat_map(|folder| entries(folder)).find(|path| {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                name.starts_with("rollout-") && ends.iter().any(|end| name.ends_with(end))
            })
        }
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

fn no(why: impl Into<String>, next: impl Into<String>) -> No {
    No { why: why.into(), next: next.into() }
}

#[cfg(test)]
mod tests;
