//! Reads the files that say which remotes a repository has: its own, what they include, and the user's.
//!
//! Not here: what git takes from the environment and from a command line, which is the agent's; what the settings mean
//! ([`rrd_core::repo`]).

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use rrd_core::repo::{Remotes, Stands, settings};

use super::{if_there, read};

/// Includes are followed as deep as git does.
const DEEPEST: usize = 10;

/// More files are not read of one repository.
const MOST: usize = 64;

/// What all users of this machine share, by how git was installed.
const SYSTEM: [&str; 4] = [
    "/etc/gitconfig",
    "/usr/local/etc/gitconfig",
    "/opt/homebrew/etc/gitconfig",
    "/Library/Developer/CommandLineTools/usr/share/git-core/gitconfig",
];

/// Where settings of the user are, for all repositories.
#[derive(Debug, Default)]
pub(super) struct Users {
    pub(super) home: Option<PathBuf>,
    /// In the order in which git reads them.
    pub(super) files: Vec<PathBuf>,
}

impl Users {
    pub(super) fn of_this_process() -> Self {
        let set = |name| env::var_os(name).filter(|it| !it.is_empty()).map(PathBuf::from);
        let home = set("HOME").or_else(env::home_dir);
        let xdg = set("XDG_CONFIG_HOME").or_else(|| Some(home.as_ref()?.join(".config")));
        let on_windows = [("ProgramData", "Git/config"), ("ProgramFiles", "Git/etc/gitconfig")];
        let on_windows = on_windows.iter().filter_map(|(name, file)| Some(set(name)?.join(file)));
        let mut files: Vec<PathBuf> = SYSTEM.iter().map(PathBuf::from).chain(on_windows).collect();
        files.extend(xdg.map(|xdg| xdg.join("git/config")));
        files.extend(home.as_ref().map(|home| home.join(".gitconfig")));
        Self { home, files }
    }
}

/// The remotes of the repository whose settings are in `common`, as a worktree has them whose own are in `git`.
///
/// # Errors
/// Where something of the repository's cannot be read: nobody knows then what it says.
pub(super) fn remotes(git: &Path, common: &Path, users: &Users) -> io::Result<Remotes> {
    let mut reading =
        Reading { remotes: Remotes::default(), home: users.home.as_deref(), left: MOST };
    let of_users = Stands { in_repository: false, always: true };
    for file in &users.files {
        // Git goes on, too, where it must not read one.
        let _ = reading.file(file, of_users, 0);
    }
    reading.left = MOST;
    let own = Stands { in_repository: true, always: true };
    reading.file(&common.join("config"), own, 0)?;
    let mut of_worktrees = vec![git];
    if git != common {
        of_worktrees.push(common);
    }
    for place in of_worktrees {
        let always = place == git && reading.remotes.worktrees_differ();
        reading.file(&place.join("config.worktree"), Stands { always, ..own }, 0)?;
    }
    reading.old(&common.join("remotes"), Remotes::take_file)?;
    reading.old(&common.join("branches"), Remotes::take_branch)?;
    Ok(reading.remotes)
}

struct Reading<'u> {
    remotes: Remotes,
    home: Option<&'u Path>,
    left: usize,
}

impl Reading<'_> {
    /// Takes a file, and those it includes where they are. Whether a condition holds is not judged: a name more only
    /// keeps more out.
    fn file(&mut self, file: &Path, stands: Stands, depth: usize) -> io::Result<()> {
        let Some(text) = self.text(file)? else { return Ok(()) };
        for setting in settings(&text) {
            let Some((path, always)) = setting.included() else {
                self.remotes.take(setting, stands);
                continue;
            };
            if depth == DEEPEST {
                return Err(io::ErrorKind::InvalidData.into());
            }
            let stands = Stands { always: stands.always && always, ..stands };
            if let Some(path) = self.meant(path, file) {
                self.file(&path, stands, depth + 1)?;
            }
        }
        Ok(())
    }

    /// What git calls by a path in a file.
    fn meant(&self, path: &str, within: &Path) -> Option<PathBuf> {
        let Some(rest) = path.strip_prefix('~') else {
            return Some(within.parent()?.join(path));
        };
        let (user, rest) = rest.split_once('/').unwrap_or((rest, ""));
        match user {
            "" => Some(self.home?.join(rest)),
            // Homes are beside each other.
            user => Some(self.home?.parent()?.join(user).join(rest)),
        }
    }

    /// Takes a folder in which each remote is a file.
    fn old(&mut self, folder: &Path, take: fn(&mut Remotes, &str, &str)) -> io::Result<()> {
        let Some(entries) = if_there(fs::read_dir(folder))? else { return Ok(()) };
        let entries = entries.take(MOST + 1).map(|entry| Ok(entry?.path()));
        let mut files = entries.collect::<io::Result<Vec<PathBuf>>>()?;
        files.sort();
        for file in files {
            let Some(name) = file.file_name().filter(|_| file.is_file()) else { continue };
            if let Some(text) = self.text(&file)? {
                take(&mut self.remotes, &name.to_string_lossy(), &text);
            }
        }
        Ok(())
    }

    fn text(&mut self, file: &Path) -> io::Result<Option<String>> {
        let text = read(file)?;
        if text.is_some() {
            self.left = self.left.checked_sub(1).ok_or(io::ErrorKind::InvalidData)?;
        }
        Ok(text)
    }
}
