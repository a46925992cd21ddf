//! Finds the files beneath a harness's root.
//!
//! The root and its top folders may be links (people move them to other disks); beneath them links are
//! not followed, so nothing outside is read and no loop is walked; where one hides something that would
//! have been read, that is told. Pipes, sockets and devices are not files, and told as well. Not here: what a file is (its [`rrd_core::harness::Format`] says).

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rrd_core::{
    cursor::FileId,
    harness::{FileRole, Format},
};

use super::source::{file_id, mtime};

/// Harnesses nest three or four deep; a deeper tree is not theirs.
const MAX_DEPTH: usize = 12;

/// Why what a link leads to is not read.
const LINKED: &str = "is a link, and beneath a root links are not followed";

/// How far, and at how many entries, it is looked behind a link for what would have been read.
const BEHIND_LINK: (usize, usize) = (3, 500);

/// A file a format cares about.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// What it is.
    pub(crate) role: FileRole,
    /// Which file it is.
    pub(crate) id: FileId,
    /// Its size in bytes.
    pub(crate) size: u64,
    /// Nanoseconds since the epoch.
    pub(crate) mtime: i64,
}

/// What a walk saw.
#[derive(Debug, Default)]
pub(crate) struct Walk {
    /// Files the format cares about.
    pub(crate) files: Vec<Found>,
    /// Directories and files that could not be looked at, and why.
    pub(crate) unreadable: Vec<(PathBuf, String)>,
}

/// Everything beneath `root`.
pub(crate) fn walk_root(root: &Path, format: &Format) -> Walk {
    let mut walk = Walk::default();
    walk.list(root, root, format, 0, false);
    for (folder, deep) in folders(root, format) {
        if folder.is_dir() {
            walk.list(root, &folder, format, 1, deep);
        }
    }
    walk
}

/// The directories beneath `root` worth looking into, and whether into everything beneath them.
pub(crate) fn folders(root: &Path, format: &Format) -> Vec<(PathBuf, bool)> {
    let mut folders = Vec::new();
    for folder in format.folders {
        let Some(parent) = folder.strip_suffix("/*") else {
            folders.push((root.join(folder), true));
            continue;
        };
        let parent = root.join(parent);
        let entries = fs::read_dir(&parent).into_iter().flatten().flatten();
        let dirs = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        let mut dirs: Vec<_> = dirs.map(|entry| (entry.path(), false)).collect();
        dirs.sort();
        // A new one is noticed in here.
        folders.push((parent, false));
        folders.append(&mut dirs);
    }
    folders
}

/// Everything beneath one directory of `root`; nothing when a link leads to it.
pub(crate) fn walk_subtree(root: &Path, dir: &Path, format: &Format) -> Walk {
    let mut walk = Walk::default();
    if !is_behind_link(root, dir) {
        walk.list(root, dir, format, 1, true);
    }
    walk
}

/// Whether a link beneath the top folders of `root` leads to `path`, or is it. Walks meet no link;
/// what a notification names may lie behind one.
pub(crate) fn is_behind_link(root: &Path, path: &Path) -> bool {
    let Ok(relative) = path.strip_prefix(root) else { return true };
    let mut place = root.to_owned();
    relative.components().enumerate().any(|(depth, part)| {
        place.push(part);
        depth > 0 && fs::symlink_metadata(&place).is_ok_and(|it| it.is_symlink())
    })
}

/// One file beneath `root`, if it is there and the format cares about it.
pub(crate) fn look_at(root: &Path, path: &Path, format: &Format) -> io::Result<Option<Found>> {
    look(root, path, format, &|| fs::symlink_metadata(path))
}

fn look(
    root: &Path,
    path: &Path,
    format: &Format,
    metadata: &dyn Fn() -> io::Result<fs::Metadata>,
) -> io::Result<Option<Found>> {
    let role = role_of(root, path, format);
    if role == FileRole::Ignored {
        return Ok(None);
    }
    let metadata = metadata()?;
    if !metadata.is_file() {
        return Ok(None);
    }
    let id = file_id(path, &metadata)?;
    Ok(Some(Found {
        path: path.to_owned(),
        role,
        id,
        size: metadata.len(),
        mtime: mtime(&metadata),
    }))
}

impl Walk {
    fn list(&mut self, root: &Path, dir: &Path, format: &Format, depth: usize, deep: bool) {
        let entries = match fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return,
            Err(e) => return self.unreadable.push((dir.to_owned(), e.to_string())),
        };
        for entry in entries.flatten() {
            let Ok(kind) = entry.file_type() else { continue };
            let path = entry.path();
            if kind.is_symlink() {
                let seen = deep || is_listed(root, dir, format);
                if hides(root, &path, format, seen) {
                    self.unreadable.push((path, LINKED.to_owned()));
                }
            } else if kind.is_dir() {
                if deep && depth < MAX_DEPTH {
                    self.list(root, &path, format, depth + 1, true);
                }
            } else if kind.is_file() {
                // Looked up from its directory, not from the top. On Windows a directory's own idea of a
                // file that is being written is an old one.
                let metadata = || match cfg!(windows) {
                    true => fs::symlink_metadata(&path),
                    false => entry.metadata(),
                };
                match look(root, &path, format, &metadata) {
                    Ok(found) => self.files.extend(found),
                    Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                    Err(e) => self.unreadable.push((path, e.to_string())),
                }
            } else if is_read(&role_of(root, &path, format)) {
                self.unreadable.push((path, "is not a file".to_owned()));
            }
        }
    }
}

fn is_read(role: &FileRole) -> bool {
    matches!(role, FileRole::Transcript { .. } | FileRole::Database)
}

/// Whether the directories in `dir` are folders of the format, whatever they are called.
fn is_listed(root: &Path, dir: &Path, format: &Format) -> bool {
    let parents = format.folders.iter().filter_map(|folder| folder.strip_suffix("/*"));
    parents.map(|parent| root.join(parent)).any(|parent| parent == dir)
}

/// Whether a link leads to what would be read if it were no link, and is not seen beneath the root
/// anyway. `dirs`: directories would be looked into.
fn hides(root: &Path, link: &Path, format: &Format, dirs: bool) -> bool {
    let Ok(metadata) = fs::metadata(link) else { return false };
    let leads_outside = || {
        let tops = std::iter::once(root.to_owned())
            .chain(folders(root, format).into_iter().map(|(folder, _)| folder));
        let target = fs::canonicalize(link).ok();
        let tops: Vec<_> = tops.filter_map(|top| fs::canonicalize(top).ok()).collect();
        target.is_some_and(|target| !tops.iter().any(|top| target.starts_with(top)))
    };
    if metadata.is_dir() {
        return dirs && leads_outside() && holds(root, link, format, BEHIND_LINK.0, &mut 0);
    }
    metadata.is_file() && is_read(&role_of(root, link, format)) && leads_outside()
}

/// Whether there is something in `dir` that would be read; links in it are passed by.
fn holds(root: &Path, dir: &Path, format: &Format, depth: usize, looked: &mut usize) -> bool {
    let mut entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.any(|entry| {
        *looked += 1;
        let Ok(kind) = entry.file_type() else { return false };
        let path = entry.path();
        *looked <= BEHIND_LINK.1
            && ((kind.is_file() && is_read(&role_of(root, &path, format)))
                || (kind.is_dir() && depth > 1 && holds(root, &path, format, depth - 1, looked)))
    })
}

/// What the file at `path` is, by its path alone.
pub(crate) fn role_of(root: &Path, path: &Path, format: &Format) -> FileRole {
    let Ok(relative) = path.strip_prefix(root) else { return FileRole::Ignored };
    let Some(relative) = relative.to_str() else { return FileRole::Ignored };
    if cfg!(windows) {
        (format.classify)(&relative.replace('\\', "/"))
    } else {
        (format.classify)(relative)
    }
}
