//! Remotes that are paths on this machine: what the repositories there are called.
//!
//! Only paths beneath the user's home, or beside the clone, are looked at: others may lead where a server is that does
//! not answer, and who looks waits for that. Not here: the remotes of one repository ([`super::config`]).

use std::{
    collections::BTreeSet,
    ffi::OsString,
    io,
    path::{Path, PathBuf},
};

use rrd_core::repo::Remotes;

use super::{
    common_of,
    config::{self, Users},
    git_dir,
};

/// So many times one is followed to the next.
const DEEPEST: usize = 4;

/// More are not looked at of one clone; then it is not known what it is called.
const MOST: usize = 64;

/// Has the addresses count, too, that those have to which these remotes of `checkout` lead. Where one cannot be read its
/// path alone counts.
pub(super) fn follow(remotes: &mut Remotes, checkout: &Path, users: &Users) -> io::Result<()> {
    let mut seen = BTreeSet::new();
    let mut from = vec![(checkout.to_owned(), remotes.paths())];
    for _ in 0..DEEPEST {
        let mut next = Vec::new();
        for (clone, paths) in from {
            for path in paths.iter().map(|path| clone.join(path)) {
                if !may_be_read(&path, &clone, users) {
                    continue;
                }
                let Some((place, git)) = opened(&path) else { continue };
                let Ok(common) = common_of(&git) else { continue };
                if !seen.insert(common.clone()) {
                    continue;
                }
                if seen.len() > MOST {
                    return Err(io::ErrorKind::InvalidData.into());
                }
                let Ok(theirs) = config::remotes(&git, &common, users) else { continue };
                remotes.count(&theirs);
                next.push((place, theirs.paths()));
            }
        }
        from = next;
    }
    Ok(())
}

fn may_be_read(path: &Path, clone: &Path, users: &Users) -> bool {
    let beside = clone.parent().filter(|above| above.parent().is_some());
    users.home.as_deref().into_iter().chain(beside).any(|place| path.starts_with(place))
}

/// The repository that git takes for the one at this path, and its settings.
fn opened(path: &Path) -> Option<(PathBuf, PathBuf)> {
    // `secret/.git` is that of `secret`.
    let path = match path.file_name() {
        Some(name) if name == ".git" => path.parent()?,
        _ => path,
    };
    let mut with_git = OsString::from(path);
    with_git.push(".git");
    [path.to_owned(), with_git.into()]
        .into_iter()
        .find_map(|place| git_dir(&place).ok().flatten().map(|git| (place, git)))
}
