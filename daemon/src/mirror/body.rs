//! What goes out: each part in a file of its own until the bucket has it.
//!
//! A part is written once, as it is made, and is on the disk before a row of the outbox speaks of it; a folder on
//! the same disk gives that file another name. A file that no row speaks of is taken away. Not here: the rows
//! ([`super::outbox`]).

use std::{
    collections::HashSet,
    fs,
    io::{self, BufWriter, Read, Write},
    path::{Path, PathBuf},
};

use rrd_core::mirror::{Digest, name::Summing};

use crate::store::{owner_only, owner_only_folder};

/// What is written and read at once.
const CHUNK: usize = 64 << 10;

/// The folder of them.
#[derive(Debug, Clone)]
pub(crate) struct Bodies {
    folder: PathBuf,
}

impl Bodies {
    /// Opens it; makes it when it is not there.
    pub(crate) fn open(state_dir: &Path) -> io::Result<Self> {
        let folder = state_dir.join("mirror-parts");
        owner_only_folder(&folder)?;
        Ok(Self { folder })
    }

    /// A new one, to be written.
    pub(crate) fn draft(&self) -> io::Result<Draft> {
        let mut name = [0; 16];
        getrandom::fill(&mut name).map_err(io::Error::other)?;
        let body = Body {
            path: self.folder.join(format!("{:032x}", u128::from_ne_bytes(name))),
            size: 0,
            content: Digest::of(b""),
            unsynced: None,
            is_kept: false,
        };
        let file = BufWriter::with_capacity(CHUNK, owner_only(&body.path)?);
        Ok(Draft { body, file, summing: Summing::default() })
    }

    /// Where the file of this name is.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Has these on the disk, and their names.
    pub(crate) fn sync<'b>(&self, bodies: impl Iterator<Item = &'b mut Body>) -> io::Result<()> {
        for body in bodies {
            if let Some(file) = &body.unsynced {
                file.sync_all()?;
            }
            body.unsynced = None;
        }
        // Windows has no way to ask for it, and keeps a journal of names.
        if cfg!(windows) { Ok(()) } else { fs::File::open(&self.folder)?.sync_all() }
    }

    /// Takes away what is none of these.
    pub(crate) fn retain(&self, names: &HashSet<String>) -> io::Result<()> {
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            if !entry.file_name().to_str().is_some_and(|name| names.contains(name)) {
                remove(&entry.path())?;
            }
        }
        Ok(())
    }

    /// Takes these away.
    pub(crate) fn remove(&self, names: &[String]) -> io::Result<()> {
        names.iter().try_for_each(|name| remove(&self.path(name)))
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Whether a file has this content: what a power cut or a hand left of it may not.
pub(crate) fn has(path: &Path, content: &str) -> bool {
    let sum = fs::File::open(path).and_then(sum);
    sum.is_ok_and(|sum| sum.to_string() == content)
}

/// The digest of all that comes.
pub(super) fn sum(mut from: impl Read) -> io::Result<Digest> {
    let (mut buf, mut summing) = (vec![0; CHUNK], Summing::default());
    loop {
        match from.read(&mut buf)? {
            0 => return Ok(summing.finish()),
            got => summing.update(&buf[..got]),
        }
    }
}

/// One that is being written; gone when dropped.
#[derive(Debug)]
pub(crate) struct Draft {
    body: Body,
    file: BufWriter<fs::File>,
    summing: Summing,
}

impl Draft {
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.summing.update(bytes);
        self.body.size += bytes.len() as u64;
        self.file.write_all(bytes)
    }

    pub(crate) fn size(&self) -> u64 {
        self.body.size
    }

    /// It is whole; [`Bodies::sync`] has it on the disk, which takes a while.
    pub(crate) fn finish(self) -> io::Result<Body> {
        let Self { mut body, file, summing } = self;
        body.unsynced = Some(file.into_inner()?);
        body.content = summing.finish();
        Ok(body)
    }
}

/// One that is whole; gone when dropped, unless it is kept.
#[derive(Debug)]
pub(crate) struct Body {
    path: PathBuf,
    size: u64,
    content: Digest,
    /// Until it is on the disk.
    unsynced: Option<fs::File>,
    is_kept: bool,
}

impl Body {
    /// Its file's name.
    pub(crate) fn name(&self) -> &str {
        self.path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    pub(crate) fn content(&self) -> Digest {
        self.content
    }

    /// A row speaks of it now; before, it is to be on the disk.
    pub(crate) fn keep(&mut self) {
        debug_assert!(self.unsynced.is_none(), "on the disk before a row speaks of it");
        self.is_kept = true;
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if !self.is_kept {
            let _ = fs::remove_file(&self.path);
        }
    }
}
