//! A settings file on disk: read, kept a copy of, replaced in one step.
//!
//! A file that is a link (dotfiles in a repository) is replaced where it really is, and stays a link.
//! Whoever else writes it between the reading and the replacing is not overwritten. Not here: what it
//! holds.

use std::{
    fs, io,
    io::Write,
    path::{Path, PathBuf},
};

use super::Change;
use crate::error::{CliError, Kind};

/// Settings are written by hand; a larger file is not what it claims to be.
const MAX_FILE: u64 = 8 << 20;

/// Copies that are kept beside a file; after that somebody should look at them.
const MAX_BACKUPS: usize = 100;

/// What was done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Written {
    /// Where what was there before is kept.
    pub(crate) backup: Option<PathBuf>,
}

/// The file's text; `None` when it is not there.
pub(super) fn read(path: &Path) -> Result<Option<String>, CliError> {
    let failed = |why: &str| {
        CliError::new(Kind::Config, format!("{} is left alone: {why}", path.display()))
            .hint(format!("ls -l {}", path.display()))
    };
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return match fs::symlink_metadata(path) {
                Ok(_) => Err(failed("it is a link to nothing")),
                Err(_) => Ok(None),
            };
        }
        Err(error) => return Err(failed(&error.to_string())),
    };
    if !metadata.is_file() {
        return Err(failed("it is no regular file"));
    }
    if metadata.len() > MAX_FILE {
        return Err(failed("it is far too large"));
    }
    let bytes = fs::read(path).map_err(|error| failed(&error.to_string()))?;
    String::from_utf8(bytes).map(Some).map_err(|_| failed("it is not UTF-8"))
}

/// The copies beside the file, the newest first.
pub(super) fn backups(path: &Path) -> Vec<String> {
    let known = (1..=MAX_BACKUPS).map(|n| backup_name(path, n));
    let mut texts: Vec<_> = known.map_while(|path| read(&path).ok().flatten()).collect();
    texts.reverse();
    texts
}

/// Replaces the file, if it still is what the change was made from.
pub(crate) fn write(change: &Change) -> Result<Written, CliError> {
    let path = &change.file;
    let failed = |error: io::Error| {
        CliError::new(Kind::Config, format!("cannot write {}: {error}", path.display()))
            .hint(format!("ls -ld {} {}", path.display(), parent(path).display()))
    };
    let unchanged = || match read(path)? == change.before {
        true => Ok(()),
        false => Err(CliError::new(
            Kind::Config,
            format!("{} was changed meanwhile, and is left alone", path.display()),
        )
        .hint("try again")),
    };
    unchanged()?;
    let backup = match &change.before {
        Some(before) if !change.restores => Some(keep(path, before).map_err(failed)?),
        _ => None,
    };
    let Some(after) = &change.after else {
        unchanged()?;
        fs::remove_file(path).map_err(failed)?;
        return Ok(Written { backup });
    };
    let real = match change.before {
        Some(_) => fs::canonicalize(path).map_err(failed)?,
        None => path.clone(),
    };
    let permissions = fs::metadata(&real).ok().map(|metadata| metadata.permissions());
    let mut name = std::ffi::OsString::from(".");
    name.push(real.file_name().unwrap_or_default());
    name.push(format!(".rrd-{}", std::process::id()));
    let new = real.with_file_name(name);
    let done = create(&new, after.as_bytes(), permissions).map_err(failed).and_then(|()| {
        // As late as can be; what is left is a moment.
        unchanged()?;
        fs::rename(&new, &real).map_err(failed)
    });
    if done.is_err() {
        let _ = fs::remove_file(&new);
    }
    done.map(|()| Written { backup })
}

/// Keeps a copy that only its owner can read; one with the same content is enough.
fn keep(path: &Path, text: &str) -> io::Result<PathBuf> {
    for n in 1..=MAX_BACKUPS {
        let backup = backup_name(path, n);
        match create(&backup, text.as_bytes(), None) {
            Ok(()) => return Ok(backup),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if fs::read(&backup).is_ok_and(|known| known == text.as_bytes()) {
                    return Ok(backup);
                }
            }
            Err(error) => return Err(error),
        }
    }
    let last = backup_name(path, MAX_BACKUPS);
    Err(io::Error::other(format!("there are too many backups: {} is taken", last.display())))
}

/// `settings.json.rrd-backup`, then `….rrd-backup-2` and so on.
fn backup_name(path: &Path, n: usize) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".rrd-backup");
    if n > 1 {
        name.push(format!("-{n}"));
    }
    path.with_file_name(name)
}

fn create(path: &Path, bytes: &[u8], permissions: Option<fs::Permissions>) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    if let Some(permissions) = permissions {
        file.set_permissions(permissions)?;
    }
    file.sync_all()
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(path: &Path, before: Option<&str>, after: Option<&str>) -> Change {
        let text = |text: Option<&str>| text.map(str::to_owned);
        let file = path.to_owned();
        Change { file, before: text(before), after: text(after), restores: false }
    }

    #[test]
    fn what_was_there_is_kept_and_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("settings.json");
        fs::write(&path, "1").unwrap();
        let backup = |written: Written| {
            let path = written.backup.unwrap();
            (
                path.file_name().unwrap().to_str().unwrap().to_owned(),
                fs::read_to_string(path).unwrap(),
            )
        };
        let first = backup(write(&change(&path, Some("1"), Some("2"))).unwrap());
        assert_eq!(first, ("settings.json.rrd-backup".into(), "1".into()));
        let second = backup(write(&change(&path, Some("2"), Some("1"))).unwrap());
        assert_eq!(second, ("settings.json.rrd-backup-2".into(), "2".into()));
        let again = backup(write(&change(&path, Some("1"), Some("3"))).unwrap());
        assert_eq!(again, first);
        assert_eq!(backups(&path), ["2", "1"]);
        assert_eq!(fs::read_to_string(&path).unwrap(), "3");
        let left: Vec<_> =
            fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left.len(), 3, "{left:?}");
    }

    #[test]
    fn whoever_wrote_meanwhile_is_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("settings.json");
        fs::write(&path, "theirs").unwrap();
        for stale in [Some("1"), None] {
            let error = write(&change(&path, stale, Some("2"))).unwrap_err();
            assert!(error.message().contains("changed meanwhile"), "{}", error.message());
        }
        assert!(write(&change(&path, Some("1"), None)).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "theirs");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_stays_a_link_and_a_mode_a_mode() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let dir = tempfile::tempdir().unwrap();
        let dotfiles = dir.path().join("dotfiles");
        fs::create_dir(&dotfiles).unwrap();
        let (real, path) = (dotfiles.join("claude.json"), dir.path().join("settings.json"));
        fs::write(&real, "1").unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
        symlink("dotfiles/claude.json", &path).unwrap();
        let written = write(&change(&path, Some("1"), Some("2"))).unwrap();
        assert!(fs::symlink_metadata(&path).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&real).unwrap(), "2");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&real), mode(&written.backup.unwrap())), (0o640, 0o600));
        assert_eq!(fs::read_dir(&dotfiles).unwrap().count(), 1, "the copy is where the link is");

        fs::remove_file(&real).unwrap();
        assert!(read(&path).unwrap_err().message().contains("link to nothing"));
        fs::remove_file(&path).unwrap();
        write(&change(&path, None, Some("2"))).unwrap();
        assert_eq!(mode(&path), 0o600);
        assert!(read(dir.path()).is_err());
        fs::write(&path, b"\xff").unwrap();
        assert!(read(&path).unwrap_err().message().contains("UTF-8"));
    }
}
