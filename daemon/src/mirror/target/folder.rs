//! A folder as a place: what a bucket does, with files.
//!
//! `object_store`'s own is not used: it cannot replace conditionally, leaves what it was writing beside the
//! objects when it is killed, and lets others read. Here a file is written and synced beneath `.rrd-staged`, then
//! given its name: at every moment an object is there whole or not at all, and what was acknowledged outlives a
//! power cut. Only its owner may read any of it. Everything here blocks. Not here: which names are good.

use std::{
    fs::{self, File, Metadata},
    io::{self, ErrorKind, Read as _, Write as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rrd_core::mirror::Digest;

use super::{Head, Object, Version};
use crate::mirror::body;

/// Where files are before they have a name; no object may be called so.
pub(super) const STAGED: &str = ".rrd-staged";
/// Held while a file is replaced, so that nobody does between a look and a replacement.
pub(super) const LOCK: &str = ".rrd-lock";
/// What is staged for longer was left behind by a process that was killed.
const LEFT_BEHIND: Duration = Duration::from_secs(3600);

/// Whether a file got its name.
pub(super) enum Put {
    Done(Version),
    /// Something has the name already.
    Taken,
    /// It is not what was expected.
    Changed,
}

/// How a name may be given.
#[derive(Clone)]
pub(super) enum Mode {
    Create,
    Replace,
    ReplaceIf(Version),
}

#[derive(Debug, Clone)]
pub(super) struct Folder {
    pub(super) root: PathBuf,
}

impl Folder {
    /// Makes the folder, with those above it.
    pub(super) fn make(&self) -> io::Result<()> {
        make_folder(&self.root, true)
    }

    /// Takes away what was left behind.
    pub(super) fn tidy(&self) -> io::Result<()> {
        for entry in entries(&self.root.join(STAGED))? {
            let age = entry.metadata().and_then(|m| m.modified()).ok();
            let age = age.and_then(|then| SystemTime::now().duration_since(then).ok());
            if age.is_some_and(|age| age > LEFT_BEHIND) {
                let _ = fs::remove_file(entry.path());
            }
        }
        Ok(())
    }

    pub(super) fn put(&self, name: &str, bytes: &[u8], mode: &Mode) -> io::Result<Put> {
        self.must_be_there()?;
        let staged = Staged::new(&self.root.join(STAGED), bytes)?;
        let path = self.root.join(name);
        // Somebody who deletes takes empty folders away, perhaps the one that was just made.
        let mut tries = 0..8;
        loop {
            self.make_above(&path)?;
            match self.give_name(&staged, &path, mode) {
                Err(error) if error.kind() == ErrorKind::NotFound && tries.next().is_some() => {}
                Err(error) => return Err(error),
                // Also for what has the name already: whoever gave it may have been killed right after.
                Ok(put) => {
                    sync(path.parent().unwrap_or(&self.root))?;
                    return Ok(put);
                }
            }
        }
    }

    /// A second name for a file that is whole and synced; nothing where it cannot have one.
    pub(super) fn link(&self, name: &str, file: &Path) -> io::Result<Option<Version>> {
        self.must_be_there()?;
        let path = self.root.join(name);
        self.make_above(&path)?;
        if fs::hard_link(file, &path).is_err() {
            return Ok(None);
        }
        sync(path.parent().unwrap_or(&self.root))?;
        version(&fs::metadata(file)?).map(Some)
    }

    fn give_name(&self, staged: &Staged, path: &Path, mode: &Mode) -> io::Result<Put> {
        if matches!(mode, Mode::Create) {
            // A second name for the file: where it works it is refused if the name is taken, even over NFS.
            match fs::hard_link(&staged.path, path) {
                Ok(()) => return Ok(Put::Done(staged.version.clone())),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(Put::Taken),
                Err(error)
                    if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
                {
                    return Err(error);
                }
                // FAT and some shares have no second names: look and rename, in turn with others.
                Err(_) => {}
            }
        }
        self.give_name_in_turn(staged, path, mode)
    }

    fn give_name_in_turn(&self, staged: &Staged, path: &Path, mode: &Mode) -> io::Result<Put> {
        let lock = owners().create(true).truncate(false).open(self.root.join(LOCK))?;
        lock.lock()?;
        let there = version_at(path)?;
        match mode {
            Mode::Create if there.is_some() => return Ok(Put::Taken),
            Mode::ReplaceIf(version) if there.as_ref() != Some(version) => return Ok(Put::Changed),
            _ => fs::rename(&staged.path, path)?,
        }
        Ok(Put::Done(staged.version.clone()))
    }

    pub(super) fn get(&self, name: &str, at_most: u64) -> io::Result<Option<(Vec<u8>, Head)>> {
        let path = self.root.join(name);
        // What is opened without a look may be something that never answers.
        if self.head(name)?.is_none() {
            return Ok(None);
        }
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) => return self.absent(&path, error),
        };
        let head = head(&file.metadata()?)?;
        let mut bytes = Vec::with_capacity(usize::try_from(head.size.min(at_most)).unwrap_or(0));
        if head.size <= at_most {
            file.take(at_most).read_to_end(&mut bytes)?;
        }
        Ok(Some((bytes, head)))
    }

    pub(super) fn sum(&self, name: &str) -> io::Result<Option<Digest>> {
        let path = self.root.join(name);
        match File::open(&path) {
            Ok(file) => body::sum(file).map(Some),
            Err(error) => self.absent(&path, error),
        }
    }

    pub(super) fn head(&self, name: &str) -> io::Result<Option<Head>> {
        let path = self.root.join(name);
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() => head(&metadata).map(Some),
            Ok(metadata) if metadata.is_dir() => Err(ErrorKind::IsADirectory.into()),
            Ok(_) => Err(ErrorKind::AlreadyExists.into()),
            Err(error) => self.absent(&path, error),
        }
    }

    /// Whether what is not there is absent: the whole folder is not, and nothing lies in its way.
    fn absent<T>(&self, path: &Path, error: io::Error) -> io::Result<Option<T>> {
        match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => {
                self.must_be_there()?;
                self.is_free(path).map(|()| None)
            }
            _ => Err(error),
        }
    }

    /// Whether a file that is not there could be: a link that leads nowhere may have its name, or something that is
    /// no folder that of a folder above it.
    fn is_free(&self, path: &Path) -> io::Result<()> {
        if path.is_symlink() {
            return Err(ErrorKind::AlreadyExists.into());
        }
        for above in path.ancestors().skip(1).take_while(|above| *above != self.root) {
            match fs::metadata(above) {
                Ok(metadata) if metadata.is_dir() => return Ok(()),
                Ok(_) => return Err(ErrorKind::NotADirectory.into()),
                Err(_) if above.is_symlink() => return Err(ErrorKind::NotADirectory.into()),
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// All files beneath `prefix`, in the order of their names; links are not followed.
    pub(super) fn list(&self, prefix: &str) -> io::Result<Vec<Object>> {
        self.must_be_there()?;
        if !self.root.join(prefix).is_dir() {
            return self.is_free(&self.root.join(prefix).join("any")).map(|()| Vec::new());
        }
        let mut objects = Vec::new();
        let mut folders = vec![prefix.to_owned()];
        while let Some(folder) = folders.pop() {
            for (name, metadata) in self.children(&folder)? {
                if metadata.is_dir() {
                    folders.push(name);
                } else if metadata.is_file() {
                    let (size, modified) = (metadata.len(), metadata.modified()?);
                    objects.push(Object { name, size, modified });
                }
            }
        }
        objects.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(objects)
    }

    /// The names of the folders that lie in `prefix`.
    pub(super) fn folders(&self, prefix: &str) -> io::Result<Vec<String>> {
        self.must_be_there()?;
        let children = self.children(prefix)?.into_iter().filter(|(_, metadata)| metadata.is_dir());
        let mut names: Vec<String> = children.map(|(name, _)| name).collect();
        names
            .iter_mut()
            .for_each(|name| *name = name.rsplit('/').next().unwrap_or(name).to_owned());
        names.sort_unstable();
        Ok(names)
    }

    /// What lies in a folder, by its name from the root; without what cannot be an object of rrd's.
    fn children(&self, folder: &str) -> io::Result<Vec<(String, Metadata)>> {
        let mut children = Vec::new();
        for entry in entries(&self.root.join(folder))? {
            let Ok(name) = entry.file_name().into_string() else { continue };
            let name = if folder.is_empty() { name } else { format!("{folder}/{name}") };
            let Ok(metadata) = entry.metadata() else { continue };
            if super::access::is_name(&name) && ![STAGED, LOCK].contains(&name.as_str()) {
                children.push((name, metadata));
            }
        }
        Ok(children)
    }

    pub(super) fn delete(&self, name: &str) -> io::Result<()> {
        let path = self.root.join(name);
        match fs::remove_file(&path) {
            Ok(()) => {}
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                return self.must_be_there();
            }
            Err(error) => return Err(error),
        }
        // A bucket has no empty folders. One that is not empty stays, whatever is tried.
        let above = path.ancestors().skip(1).take_while(|above| *above != self.root);
        let last = above.take_while(|above| fs::remove_dir(above).is_ok()).last();
        match sync(last.unwrap_or(path.as_path()).parent().unwrap_or(&self.root)) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()), // taken away by somebody else
            synced => synced,
        }
    }

    /// A drive that is not mounted must not be filled beneath the place where it would be.
    pub(super) fn must_be_there(&self) -> io::Result<()> {
        match fs::metadata(&self.root)?.is_dir() {
            true => Ok(()),
            false => Err(ErrorKind::NotADirectory.into()),
        }
    }

    /// Makes the folders above an object, each known to the disk before anything is put into it.
    fn make_above(&self, path: &Path) -> io::Result<()> {
        let above = path.ancestors().skip(1).take_while(|above| *above != self.root);
        let missing: Vec<&Path> = above.take_while(|above| !above.is_dir()).collect();
        for folder in missing.into_iter().rev() {
            match make_folder(folder, false) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
                Err(_) if !folder.is_dir() => return Err(ErrorKind::NotADirectory.into()),
                _ => sync(folder.parent().unwrap_or(&self.root))?,
            }
        }
        Ok(())
    }
}

/// A file that is whole and has no name yet; gone when dropped, except for the name that it got.
struct Staged {
    path: PathBuf,
    version: Version,
}

impl Staged {
    fn new(folder: &Path, bytes: &[u8]) -> io::Result<Self> {
        match make_folder(folder, false) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let path = folder.join(super::random_name().map_err(io::Error::other)?);
        let mut file = owners().create_new(true).open(&path)?;
        let mut staged = Self { path, version: Version::default() };
        file.write_all(bytes)?;
        file.sync_all()?;
        staged.version = version(&file.metadata()?)?;
        Ok(staged)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// A file is never written twice, so another file has another inode, or at least another time.
fn version(metadata: &Metadata) -> io::Result<Version> {
    let modified = metadata.modified()?.duration_since(SystemTime::UNIX_EPOCH);
    let nanos = modified.map_or(0, |time| time.as_nanos());
    #[cfg(unix)]
    let inode = std::os::unix::fs::MetadataExt::ino(metadata);
    #[cfg(not(unix))]
    let inode = 0;
    let tag = format!("{inode:x}-{nanos:x}-{:x}", metadata.len());
    Ok(Version { e_tag: Some(tag), version: None })
}

fn version_at(path: &Path) -> io::Result<Option<Version>> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => version(&metadata).map(Some),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn head(metadata: &Metadata) -> io::Result<Head> {
    let (size, modified) = (metadata.len(), metadata.modified()?);
    Ok(Head { size, version: version(metadata)?, modified })
}

/// What lies in a folder; nothing if there is none.
fn entries(folder: &Path) -> io::Result<Vec<fs::DirEntry>> {
    match fs::read_dir(folder) {
        Ok(entries) => Ok(entries.flatten().collect()),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(Vec::new())
        }
        Err(error) => Err(error),
    }
}

/// For files that only their owner can read.
fn owners() -> fs::OpenOptions {
    let mut options = File::options();
    options.read(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn make_folder(path: &Path, with_those_above: bool) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(with_those_above);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Has the names in a folder on the disk. Windows has no way to ask for it, and keeps a journal of them.
fn sync(folder: &Path) -> io::Result<()> {
    if cfg!(windows) {
        return Ok(());
    }
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_second_names_one_wins_as_well() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder { root: dir.path().to_owned() };
        let path = dir.path().join("object");
        let create = |n: usize| {
            let staged = Staged::new(&dir.path().join(STAGED), &n.to_le_bytes()).unwrap();
            folder.give_name_in_turn(&staged, &path, &Mode::Create).unwrap()
        };
        let won: Vec<usize> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|n| (n, scope.spawn(move || matches!(create(n), Put::Done(_)))))
                .collect();
            threads.into_iter().filter_map(|(n, won)| won.join().unwrap().then_some(n)).collect()
        });
        assert_eq!(won.len(), 1, "{won:?}");
        assert_eq!(fs::read(&path).unwrap(), won[0].to_le_bytes());
        assert_eq!(fs::read_dir(dir.path().join(STAGED)).unwrap().count(), 0);
    }
}
