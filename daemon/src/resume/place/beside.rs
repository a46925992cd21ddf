//! What stands where a file is to go, and the folders above it.
//!
//! Not here: what is done about it ([`super::coming`]).

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader},
    path::Path,
};

use crate::tail::MAX_ZSTD_WINDOW_LOG;

/// What a file looks like from outside; another one, or one that was written, looks different.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Seen {
    bytes: u64,
    modified: Option<std::time::SystemTime>,
}

impl Seen {
    pub(super) fn at(path: &Path) -> io::Result<Option<Self>> {
        match fs::symlink_metadata(path) {
            Ok(found) if found.is_file() => {
                Ok(Some(Self { bytes: found.len(), modified: found.modified().ok() }))
            }
            Ok(_) => Err(io::Error::new(io::ErrorKind::AlreadyExists, "it is no regular file")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// How what has come is to what is there.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Compared {
    Same,
    /// What has come is how that begins.
    OursBegins,
    /// What is there is how what has come begins.
    TheirsBegins,
    Differs,
}

pub(super) fn is_zstd(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "zst")
}

pub(super) fn is_sidecar(path: &Path) -> bool {
    path.to_string_lossy().ends_with(".meta.json")
}

/// What is in a file, unpacked where it is compressed.
pub(super) fn plain(path: &Path) -> io::Result<Box<dyn BufRead>> {
    let file = BufReader::new(File::open(path)?);
    if !is_zstd(path) {
        return Ok(Box::new(file));
    }
    let mut decoder = zstd::stream::read::Decoder::with_buffer(file)?;
    decoder.window_log_max(MAX_ZSTD_WINDOW_LOG)?;
    Ok(Box::new(BufReader::new(decoder)))
}

pub(super) fn compare(ours: &Path, theirs: &Path) -> io::Result<Compared> {
    let mut ours = BufReader::new(File::open(ours)?);
    let mut theirs = plain(theirs)?;
    loop {
        let (a, b) = (ours.fill_buf()?, theirs.fill_buf()?);
        let same = a.len().min(b.len());
        match (a.is_empty(), b.is_empty()) {
            (true, true) => return Ok(Compared::Same),
            (true, false) => return Ok(Compared::OursBegins),
            (false, true) => return Ok(Compared::TheirsBegins),
            (false, false) if a[..same] != b[..same] => return Ok(Compared::Differs),
            (false, false) => {}
        }
        ours.consume(same);
        theirs.consume(same);
    }
}

/// Makes a folder and those above it, for their owner only.
pub(super) fn make_dirs(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// The same beneath `base`, through no link.
pub(super) fn make_dirs_beneath(base: &Path, folder: &Path) -> io::Result<()> {
    let outside = || io::Error::new(io::ErrorKind::InvalidInput, "it would lie elsewhere");
    let Ok(relative) = folder.strip_prefix(base) else {
        // A rollout that is archived here already has its folder.
        return if folder.is_dir() { Ok(()) } else { Err(outside()) };
    };
    let mut path = base.to_owned();
    for part in relative.components() {
        path.push(part);
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => return Err(outside()),
            Err(_) => make_dirs(&path)?,
        }
    }
    Ok(())
}

/// A name is lost in a crash unless its folder is written.
pub(super) fn synced(folder: &Path) {
    #[cfg(unix)]
    if let Ok(folder) = File::open(folder) {
        let _ = folder.sync_all();
    }
    #[cfg(not(unix))]
    let _ = folder;
}
