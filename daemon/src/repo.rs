//! Finds the repository a directory belongs to: walks up to `.git`, through worktrees and submodules.
//!
//! Reads a few small files and runs nothing. Answers are kept for a while, since many sessions share a
//! directory. Not here: names and credentials ([`rrd_core::repo`]).

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use rrd_core::{
    fold::Fold,
    repo::{Repo, remote_in_config},
};

/// How long an answer is believed: a remote may be added, a directory become a repository.
const BELIEVED: Duration = Duration::from_secs(600);

/// `.git` files and configs are small; a larger one is not read.
const MAX_FILE: u64 = 1 << 20;

/// Answers by directory.
#[derive(Debug, Default)]
pub(crate) struct Repos {
    known: HashMap<PathBuf, (Instant, Option<Arc<Repo>>)>,
}

impl Repos {
    /// The repository a session works in.
    pub(crate) fn of(&mut self, fold: &Fold) -> Arc<Repo> {
        let places = [fold.cwd.as_deref(), fold.original_cwd.as_deref()];
        for place in places.into_iter().flatten().map(Path::new).filter(|p| p.is_absolute()) {
            if let Some(repo) = self.at(place) {
                return repo;
            }
        }
        // The directory is gone or elsewhere: what the harness recorded is still true.
        Arc::new(
            fold.remote.as_deref().map(|remote| Repo::new(None, Some(remote))).unwrap_or_default(),
        )
    }

    fn at(&mut self, cwd: &Path) -> Option<Arc<Repo>> {
        if let Some((since, repo)) = self.known.get(cwd)
            && since.elapsed() < BELIEVED
        {
            return repo.clone();
        }
        let repo = find(cwd).map(Arc::new);
        self.known.insert(cwd.to_owned(), (Instant::now(), repo.clone()));
        repo
    }
}

/// The repository that a directory belongs to.
pub(crate) fn find(cwd: &Path) -> Option<Repo> {
    let (checkout, git) = cwd.ancestors().find_map(|dir| Some((dir, git_dir(dir)?)))?;
    // A worktree's own directory names the repository's common one; a submodule has none.
    let common = read(&git.join("commondir")).map(|text| git.join(text.trim()));
    let common = common.and_then(|dir| fs::canonicalize(dir).ok()).unwrap_or(git);
    let is_dot_git = common.file_name().is_some_and(|name| name == ".git");
    let root = match common.parent() {
        Some(parent) if is_dot_git => parent,
        _ => checkout,
    };
    let remote = read(&common.join("config")).as_deref().and_then(remote_in_config);
    Some(Repo::new(Some(root.to_string_lossy().into_owned()), remote.as_deref()))
}

/// The directory that `.git` in `dir` is, or names.
fn git_dir(dir: &Path) -> Option<PathBuf> {
    let dot_git = dir.join(".git");
    let metadata = fs::metadata(&dot_git).ok()?;
    if metadata.is_dir() {
        return dot_git.join("HEAD").exists().then_some(dot_git);
    }
    let text = read(&dot_git)?;
    let target = text.strip_prefix("gitdir:")?.trim();
    Some(dir.join(target)).filter(|git| git.is_dir())
}

fn read(path: &Path) -> Option<String> {
    let metadata = fs::metadata(path).ok()?;
    if !metadata.is_file() || metadata.len() > MAX_FILE {
        return None;
    }
    Some(String::from_utf8_lossy(&fs::read(path).ok()?).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: PathBuf, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn worktrees_and_submodules_lead_to_their_repository() {
        let dir = tempfile::tempdir().unwrap();
        let top = fs::canonicalize(dir.path()).unwrap();
        let main = top.join("main");
        write(main.join(".git/HEAD"), "ref: refs/heads/main\n");
        write(
            main.join(".git/config"),
            "[remote \"origin\"]\nurl = https://u:secret@h/acme/site.git\n",
        );
        write(main.join(".git/worktrees/x/commondir"), "../..\n");
        write(
            top.join("trees/x/.git"),
            &format!("gitdir: {}\n", main.join(".git/worktrees/x").display()),
        );
        write(
            main.join(".git/modules/lib/config"),
            "[remote \"origin\"]\nurl = git@h:acme/lib.git\n",
        );
        write(main.join("vendor/lib/.git"), "gitdir: ../../.git/modules/lib\n");
        write(main.join("src/deep/x"), "");
        fs::create_dir_all(top.join("plain")).unwrap();

        let site = find(&main.join("src/deep")).unwrap();
        assert_eq!(site.name.as_deref(), Some("site"));
        assert_eq!(site.remote.as_deref(), Some("https://h/acme/site.git"));
        assert_eq!(find(&top.join("trees/x")).unwrap(), site, "a worktree is its repository");
        let lib = find(&main.join("vendor/lib")).unwrap();
        assert_eq!(lib.name.as_deref(), Some("lib"));
        assert_eq!(lib.root.as_deref(), main.join("vendor/lib").to_str());
        assert_eq!(find(&top.join("plain")), None);
        assert!(find(&top.join("plain/gone/for/long")).is_none());
    }
}
