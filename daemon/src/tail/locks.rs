//! Whether somebody holds a lock file, or has a database open.
//!
//! Looked up in the kernel's own list where there is one that lists everything; only where that cannot
//! decide is the lock probed, shared and for an instant: one of the two named exceptions to "rrd never
//! makes a harness wait". Not here: which files are locks.

use std::{
    collections::HashSet,
    fs::{File, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Who holds a lock.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Holder {
    /// It is free.
    Nobody,
    /// Somebody; the process where it can be told.
    Somebody(Option<u32>),
    /// It cannot be told.
    Unknown,
}

/// The locks held at one moment.
pub(super) struct Locks {
    #[cfg(target_os = "linux")]
    kernel: Option<Vec<kernel::Lock>>,
}

impl Locks {
    /// Reads the kernel's list, where there is one.
    pub(super) fn read() -> Self {
        Self {
            #[cfg(target_os = "linux")]
            kernel: kernel::locks(),
        }
    }

    /// Who holds this one.
    pub(super) fn holder(&self, path: &Path) -> Holder {
        #[cfg(target_os = "linux")]
        if let Some(holder) = self.kernel.as_ref().and_then(|locks| kernel::holder(locks, path)) {
            return holder;
        }
        match probe(path) {
            Ok(true) => Holder::Somebody(None),
            Ok(false) => Holder::Nobody,
            Err(_) => Holder::Unknown,
        }
    }
}

/// Those of these databases (in WAL mode) that no process has open. Whoever has one open in that mode
/// holds a shared lock on byte 128 of its `-shm` file until he closes it or dies
/// (sqlite.org/walformat.html, "WAL locks"), and makes that file if it is not there.
pub(super) fn unopened<'a>(databases: impl Iterator<Item = &'a Path>) -> HashSet<Arc<str>> {
    let mut databases = databases.peekable();
    if databases.peek().is_none() {
        return HashSet::new();
    }
    let held = Locks::read();
    let nobody = |path: &&Path| {
        let mut shm = path.as_os_str().to_owned();
        shm.push("-shm");
        held.has_readers(&PathBuf::from(shm)) == Some(false)
    };
    databases.filter(nobody).map(|path| crate::hub::shown(path).into()).collect()
}

impl Locks {
    /// Whether a process other than an rrd holds SQLite's mark of an open connection; `None` where it
    /// cannot be told.
    fn has_readers(&self, shm: &Path) -> Option<bool> {
        if let Err(error) = std::fs::symlink_metadata(shm) {
            return (error.kind() == io::ErrorKind::NotFound).then_some(false);
        }
        #[cfg(target_os = "linux")]
        if let Some(locks) = &self.kernel {
            return kernel::readers(locks, shm);
        }
        readers(shm)
    }
}

/// Asks without taking anything. Closing the file would drop locks of our own on it: there are none,
/// databases are read and looked at by the same thread, one after the other.
#[cfg(unix)]
fn readers(shm: &Path) -> Option<bool> {
    use rustix::process::{Flock, FlockType, fcntl_getlk};
    const OPEN_MARK: u64 = 128;
    let file = File::open(shm).ok()?;
    let mark = Flock { start: OPEN_MARK, length: 1, ..Flock::from(FlockType::WriteLock) };
    fcntl_getlk(&file, &mark).ok().map(|holder| holder.is_some())
}

/// Windows tells nobody who locks what.
#[cfg(not(unix))]
fn readers(_: &Path) -> Option<bool> {
    None
}

/// Whether somebody else holds the lock: takes it shared and gives it back at once.
fn probe(path: &Path) -> io::Result<bool> {
    let file = File::open(path)?;
    match file.try_lock_shared() {
        Ok(()) => file.unlock().map(|()| false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(target_os = "linux")]
mod kernel {
    //! `/proc/locks`.

    use std::{fs, os::linux::fs::MetadataExt, path::Path};

    use super::Holder;

    /// The pid namespace that the kernel starts with; its number never changes.
    const FIRST_NAMESPACE: &str = "pid:[4026531836]";

    /// One file lock.
    #[derive(Debug, PartialEq, Eq)]
    pub(super) struct Lock {
        /// Of the whole file, not of a range of bytes.
        whole: bool,
        pid: Option<u32>,
        major: u32,
        minor: u32,
        inode: u64,
    }

    /// All of them; `None` in a pid namespace of its own (a container), where a reader is not told of
    /// locks held outside.
    pub(super) fn locks() -> Option<Vec<Lock>> {
        let namespace = fs::read_link("/proc/self/ns/pid").ok()?;
        if namespace != Path::new(FIRST_NAMESPACE) {
            return None;
        }
        Some(parse(&fs::read_to_string("/proc/locks").ok()?))
    }

    /// `1: FLOCK  ADVISORY  WRITE 1234 08:01:131 0 EOF`
    fn parse(text: &str) -> Vec<Lock> {
        let lock = |line: &str| {
            let mut fields = line.split_whitespace().skip(1).skip_while(|field| *field == "->");
            let whole = match fields.next()? {
                "FLOCK" => true,
                "POSIX" => false,
                _ => return None,
            };
            let pid = fields.nth(2)?.parse().ok();
            let mut place = fields.next()?.split(':');
            let major = u32::from_str_radix(place.next()?, 16).ok()?;
            let minor = u32::from_str_radix(place.next()?, 16).ok()?;
            let inode = place.next()?.parse().ok()?;
            Some(Lock { whole, pid: pid.filter(|pid| *pid > 0), major, minor, inode })
        };
        text.lines().filter_map(lock).collect()
    }

    /// `None` where the list cannot decide.
    pub(super) fn holder(locks: &[Lock], path: &Path) -> Option<Holder> {
        let file = fs::symlink_metadata(path).ok()?;
        let place = (libc::major(file.st_dev()), libc::minor(file.st_dev()));
        let on_inode = locks.iter().filter(|lock| lock.whole && lock.inode == file.st_ino());
        let mut on_inode = on_inode.peekable();
        if on_inode.peek().is_none() {
            return Some(Holder::Nobody);
        }
        // Some file systems (btrfs, overlays) show another device to us than to the kernel.
        let lock = on_inode.find(|lock| (lock.major, lock.minor) == place)?;
        Some(Holder::Somebody(lock.pid))
    }

    /// Whether a process other than an rrd has a range of the file locked.
    pub(super) fn readers(locks: &[Lock], path: &Path) -> Option<bool> {
        let file = fs::symlink_metadata(path).ok()?;
        // By its number alone: taken for open, a database costs an answer; taken for closed, a wrong one.
        let others = locks.iter().filter(|lock| !lock.whole && lock.inode == file.st_ino());
        Some(others.into_iter().any(|lock| lock.pid.is_none_or(|pid| !is_rrd(pid))))
    }

    fn is_rrd(pid: u32) -> bool {
        let program = fs::read_link(format!("/proc/{pid}/exe"));
        pid == std::process::id()
            || program.is_ok_and(|path| path.file_name().is_some_and(|name| name == "rrd"))
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_line_is_read() {
            let text = "1: FLOCK  ADVISORY  WRITE 1234 08:1f:131 0 EOF\n\
                        1: -> FLOCK  ADVISORY  READ 99 08:1f:131 0 EOF\n\
                        2: POSIX  ADVISORY  WRITE 5 08:01:7 0 EOF\n3: junk\n";
            let locks = parse(text);
            assert_eq!(locks.len(), 3);
            let first = Lock { whole: true, pid: Some(1234), major: 8, minor: 0x1f, inode: 131 };
            assert_eq!(locks[0], first);
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_held_lock_is_told_from_a_free_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.lock");
        let file = File::create(&path).unwrap();
        assert_eq!(Locks::read().holder(&path), Holder::Nobody);
        assert!(!probe(&path).unwrap());
        file.lock().unwrap();
        match Locks::read().holder(&path) {
            Holder::Somebody(pid) => assert!(pid.is_none_or(|pid| pid == std::process::id())),
            other => panic!("{other:?}"),
        }
        assert!(probe(&path).unwrap());
        file.unlock().unwrap();
        assert_eq!(Locks::read().holder(&path), Holder::Nobody);
    }
}
