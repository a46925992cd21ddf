//! The session store: what programs made with the Claude Agent SDK keep here.
//!
//! Transcripts lie beneath rrd's own state directory as Claude Code's lie beneath its home, so whatever follows
//! that harness follows these: list, replay, search, mirror. An entry is on the disk when its call returns, and one
//! with a `uuid` is there once. What this host has not, or another host has gone on with, comes out of the
//! mirror's bucket when it is asked for, and stays. What was deleted is brought back by no bucket. Not here: HTTP
//! ([`crate::http`]), and what names a transcript (`rrd_core::sdk`).

mod transcript;

use std::{
    collections::HashMap,
    fs::{self, File},
    io,
    path::{MAIN_SEPARATOR, Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use bytes::Bytes;
use rrd_core::{
    resume::Unsigned,
    sdk::{self, Key, NoEntry},
};
use tokio::sync::Semaphore;

use crate::{
    mirror::{Fetched, Mirror},
    store::{owner_only, owner_only_folder},
};
use transcript::{CHUNK, Known};

/// So many calls use the disk at a time; each has a file open.
const AT_ONCE: usize = 8;

/// Names of entries that are remembered in all, besides those of the session that is written to: some 20 bytes
/// each. Of a session that is not remembered they are read once more.
const REMEMBERED: usize = 500_000;

/// Sessions that are remembered.
const SESSIONS: usize = 512;

/// What beneath the state directory is the store's.
pub(crate) fn folder(state: &Path) -> PathBuf {
    state.join("session-store")
}

/// Why a call was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failed {
    /// The disk is full, or more than the user may have is on it.
    #[error("there is no room on this host's disk")]
    Full,
    /// The disk says no otherwise.
    #[error("this host's disk: {0}")]
    Disk(io::Error),
    /// What was sent is no entries.
    #[error(transparent)]
    NoEntries(#[from] NoEntry),
    /// A bucket may have it, and cannot be asked.
    #[error("this host has no copy, and the mirror's bucket cannot be asked: {0}")]
    Bucket(String),
    /// A bug: reported as such.
    #[error("that failed inside the daemon")]
    Inside,
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        match error.kind() {
            StorageFull | QuotaExceeded | FileTooLarge => Self::Full,
            _ => Self::Disk(error),
        }
    }
}

/// A session of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) session_id: String,
    /// When it was last written to, in milliseconds since the epoch.
    pub(crate) mtime: u64,
}

/// A transcript that is there.
#[derive(Debug)]
pub(crate) struct Loaded {
    file: Option<File>,
    left: u64,
    /// Entries that came out of a bucket for this call.
    pub(crate) came: usize,
    /// All of these have passed the redactor.
    pub(crate) is_redacted: bool,
    /// Why no bucket could be asked whether another host has gone on with it.
    pub(crate) unasked: Option<String>,
}

impl Loaded {
    pub(crate) fn length(&self) -> u64 {
        self.left
    }

    /// The next piece of it; nothing at its end.
    pub(crate) async fn next(mut self) -> Option<(io::Result<Bytes>, Self)> {
        let mut file = self.file.take().filter(|_| self.left > 0)?;
        let most = usize::try_from(self.left).unwrap_or(CHUNK).min(CHUNK);
        let read = tokio::task::spawn_blocking(move || {
            let mut piece = vec![0; most];
            io::Read::read_exact(&mut file, &mut piece).map(|()| (Bytes::from(piece), file))
        });
        match read.await.unwrap_or_else(|error| Err(io::Error::other(error))) {
            Ok((piece, file)) => {
                (self.left, self.file) = (self.left - piece.len() as u64, Some(file));
                Some((Ok(piece), self))
            }
            Err(error) => Some((Err(error), self)),
        }
    }
}

/// All of it.
pub(crate) struct SessionStore {
    root: PathBuf,
    mirror: Arc<Mirror>,
    disk: Semaphore,
    held: Mutex<Held>,
}

/// Sessions that were written to lately, by their folder.
#[derive(Debug, Default)]
struct Held {
    sessions: HashMap<String, Slot>,
    calls: u64,
}

#[derive(Debug, Default)]
struct Slot {
    session: Arc<Mutex<Session>>,
    /// The number of the last call.
    used: u64,
    names: usize,
}

/// Its transcripts. Whoever holds it is the only one who changes them.
type Session = HashMap<String, Option<Known>>;

impl SessionStore {
    /// Makes its folder, where it can. Whether it can be written to is told to whoever writes.
    pub(crate) fn open(state: &Path, mirror: &Arc<Mirror>) -> Arc<Self> {
        Arc::new(Self {
            root: folder(state),
            mirror: Arc::clone(mirror),
            disk: Semaphore::new(AT_ONCE),
            held: Mutex::default(),
        })
    }

    /// Adds the entries of `body`, one a line: all of them, or none. They are on the disk then.
    /// Says how many were not there yet.
    pub(crate) async fn append(self: &Arc<Self>, key: Key, body: Bytes) -> Result<usize, Failed> {
        self.aside(move |store| {
            let entries = sdk::entries(&body)?;
            if entries.is_empty() {
                return Ok(0);
            }
            let path = store.at(&key);
            let add = |known: &mut _| transcript::append(&store.root, &path, known, &entries);
            Ok(store.change(&key, add)?)
        })
        .await
    }

    /// The transcript; `None` where there is none.
    pub(crate) async fn load(self: &Arc<Self>, key: Key) -> Result<Option<Loaded>, Failed> {
        let look = {
            let key = key.clone();
            self.aside(move |store| {
                let is_here = transcript::open(&store.at(&key))?.is_some();
                Ok((is_here, store.is_deleted(&key)))
            })
        };
        let (is_here, is_deleted) = look.await?;
        let theirs = match is_deleted {
            true => Ok(None),
            false => self.mirror.theirs(&key, is_here).await,
        };
        let is_redacted = !matches!(&theirs, Ok(Some(theirs)) if !theirs.is_redacted);
        let (came, unasked) = match theirs {
            Ok(None) => (0, None),
            Ok(Some(theirs)) => (self.take_over(key.clone(), theirs).await?, None),
            Err(why) if is_here => (0, Some(why)),
            Err(why) => return Err(Failed::Bucket(why)),
        };
        let opened = self.aside(move |store| {
            // Not while a call is half done.
            let session = store.session(&key);
            let _session = lock(&session);
            Ok(transcript::open(&store.at(&key))?)
        });
        let loaded = |(file, left)| Loaded { file: Some(file), left, came, is_redacted, unasked };
        Ok(opened.await?.map(loaded))
    }

    /// Brings what a bucket has to what is here; says how many entries came.
    async fn take_over(self: &Arc<Self>, key: Key, mut theirs: Fetched) -> Result<usize, Failed> {
        self.aside(move |store| {
            let path = store.at(&key);
            let mut unsigned = Unsigned::default();
            Ok(store.change(&key, |known| {
                transcript::merge(&store.root, &path, known, |take| {
                    let mut take = |line: &[u8]| match unsigned.line(line) {
                        Some(line) => take(&line),
                        None => Ok(()),
                    };
                    let mut lines = Lines { take: &mut take, torn: Vec::new() };
                    theirs.write(None, &mut lines)
                })
            })?)
        })
        .await
    }

    /// The sessions of a project of which this host has a transcript, in no order.
    pub(crate) async fn sessions(self: &Arc<Self>, folder: String) -> Result<Vec<Stored>, Failed> {
        self.aside(move |store| {
            let mut sessions = Vec::new();
            for entry in entries_of(&store.root.join(folder))? {
                let name = entry.file_name();
                let Some(session_id) = name.to_str().and_then(sdk::session_of) else { continue };
                let Ok(metadata) = entry.metadata() else { continue };
                if metadata.is_file() && metadata.len() > 0 {
                    let since = metadata.modified()?.duration_since(SystemTime::UNIX_EPOCH);
                    let mtime = since.map_or(0, |since| since.as_millis());
                    sessions.push(Stored { session_id, mtime: u64::try_from(mtime).unwrap_or(0) });
                }
            }
            Ok(sessions)
        })
        .await
    }

    /// The subpaths of the session's other transcripts, in order.
    pub(crate) async fn subkeys(self: &Arc<Self>, key: Key) -> Result<Vec<String>, Failed> {
        let of = key.clone();
        let here = self.aside(move |store| {
            let found = subpaths(&store.root.join(of.session_folder()))?;
            let is_here = transcript::open(&store.at(&of))?.is_some();
            Ok((found, is_here, store.is_deleted(&of)))
        });
        let (mut found, is_here, is_deleted) = here.await?;
        if !is_deleted {
            let theirs = match self.mirror.their_subpaths(&key).await {
                Ok(theirs) => theirs,
                // Whoever has the session here goes on with what is here.
                Err(_) if is_here => Vec::new(),
                Err(why) => return Err(Failed::Bucket(why)),
            };
            let kept = self.aside(move |store| {
                let is_deleted =
                    |subpath: &String| key.beside(subpath).is_none_or(|key| store.is_deleted(&key));
                Ok(theirs.into_iter().filter(|subpath| !is_deleted(subpath)).collect::<Vec<_>>())
            });
            found.extend(kept.await?);
        }
        found.sort();
        found.dedup();
        Ok(found)
    }

    /// Deletes a transcript, and with a session's own all that belongs to it. What a bucket has of it stays there
    /// and does not come back.
    pub(crate) async fn delete(self: &Arc<Self>, key: Key) -> Result<(), Failed> {
        self.aside(move |store| {
            let session = store.session(&key);
            let mut session = lock(&session);
            // First: what is half deleted when the power goes does not come back either.
            let mark = store.mark(&key);
            let is_new = !mark.exists();
            if let Some(folder) = mark.parent().filter(|_| is_new) {
                owner_only_folder(folder)?;
                owner_only(&mark)?.sync_all()?;
                let mut folders = folder.ancestors().take_while(|at| at.starts_with(&store.root));
                folders.try_for_each(transcript::sync_dir)?;
            }
            session.remove(&key.transcript());
            let path = store.at(&key);
            let mut is_gone = gone(fs::remove_file(&path))?;
            if key.is_main() {
                session.clear();
                is_gone |= gone(fs::remove_dir_all(store.root.join(key.session_folder())))?;
            }
            if let Some(folder) = path.parent().filter(|folder| is_gone && folder.exists()) {
                transcript::sync_dir(folder)?;
            }
            Ok(())
        })
        .await
    }

    fn at(&self, key: &Key) -> PathBuf {
        self.root.join(key.transcript())
    }

    /// What says that a transcript was deleted.
    fn mark(&self, key: &Key) -> PathBuf {
        self.root.join("deleted").join(key.transcript())
    }

    /// Whether this transcript, or the session that it belongs to, was deleted here once.
    fn is_deleted(&self, key: &Key) -> bool {
        self.mark(key).exists() || self.mark(&key.main()).exists()
    }

    fn session(&self, key: &Key) -> Arc<Mutex<Session>> {
        let mut held = lock(&self.held);
        held.calls += 1;
        let used = held.calls;
        let slot = held.sessions.entry(key.session_folder()).or_default();
        slot.used = used;
        Arc::clone(&slot.session)
    }

    /// Changes one transcript, while nobody else changes one of its session.
    fn change<T>(
        &self,
        key: &Key,
        work: impl FnOnce(&mut Option<Known>) -> io::Result<T>,
    ) -> io::Result<T> {
        let session = self.session(key);
        let mut known = lock(&session);
        let done = work(known.entry(key.transcript()).or_default());
        let names = known.values().flatten().map(|known| known.ids.len()).sum();
        drop(known);
        drop(session);
        self.held_to_limits(key, names);
        done
    }

    /// Lets go of sessions that were not written to for longest. None that is in use: who holds it would
    /// not be alone.
    fn held_to_limits(&self, key: &Key, names: usize) {
        let mut held = lock(&self.held);
        if let Some(slot) = held.sessions.get_mut(&key.session_folder()) {
            slot.names = names;
        }
        loop {
            let all: usize = held.sessions.values().map(|slot| slot.names).sum();
            let is_much = all > REMEMBERED && held.sessions.len() > 1;
            if !is_much && held.sessions.len() <= SESSIONS {
                return;
            }
            let free =
                held.sessions.iter().filter(|(_, slot)| Arc::strong_count(&slot.session) == 1);
            let oldest = free.min_by_key(|(_, slot)| slot.used).map(|(folder, _)| folder.clone());
            let Some(oldest) = oldest else { return };
            held.sessions.remove(&oldest);
        }
    }

    /// On a thread that may wait for the disk.
    async fn aside<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, Failed> + Send + 'static,
    ) -> Result<T, Failed> {
        let store = Arc::clone(self);
        let _room = self.disk.acquire().await.map_err(|_| Failed::Inside)?;
        let done = tokio::task::spawn_blocking(move || work(&store)).await;
        done.map_err(|_| Failed::Inside)?
    }
}

/// How many transcripts a program keeps here of the session that lies there, of which no mirror takes any: they
/// are no delegates', so they have no row.
pub(crate) fn not_mirrored(state: &Path, transcript: &str) -> u64 {
    let key = Key::of_transcript(transcript);
    let found = key.and_then(|key| subpaths(&folder(state).join(key.session_folder())).ok());
    let found = found.unwrap_or_default();
    found.iter().filter(|subpath| !sdk::is_delegates(subpath)).count() as u64
}

/// The subpaths of all transcripts beneath a session's folder.
fn subpaths(top: &Path) -> io::Result<Vec<String>> {
    let (mut found, mut folders) = (Vec::new(), vec![top.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in entries_of(&folder)? {
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                found.extend(subpath(top, &entry.path()));
            }
        }
    }
    Ok(found)
}

fn subpath(top: &Path, path: &Path) -> Option<String> {
    let below = path.strip_prefix(top).ok()?.to_str()?.replace(MAIN_SEPARATOR, "/");
    sdk::subpath_of(&below)
}

/// What is in a folder; nothing where there is none.
fn entries_of(folder: &Path) -> io::Result<Vec<fs::DirEntry>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Whether something was removed.
fn gone(removed: io::Result<()>) -> io::Result<bool> {
    match removed {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Hands over what is written to it line by line.
struct Lines<'a> {
    take: &'a mut dyn FnMut(&[u8]) -> io::Result<()>,
    torn: Vec<u8>,
}

impl io::Write for Lines<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.torn.extend_from_slice(piece);
            if let Some(line) = self.torn.strip_suffix(b"\n") {
                (self.take)(line)?;
                self.torn.clear();
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
