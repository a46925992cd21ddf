//! Files of a session on their way to their places: beside those first, whole, and then all at once.
//!
//! Not here: where those places are ([`super`]), and what is different in what comes ([`super::write`]).

use std::{
    cell::LazyCell,
    collections::HashSet,
    fs::File,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use rrd_core::{
    redact::Redactor,
    resume::{Fork, Layout, No, Unsigned},
};
use rrd_proto::copy::{CopyFile, CopyPage, MAX_FILES};
use sha2::{Digest, Sha256};
use tempfile::{NamedTempFile, TempDir};

use super::{
    CHUNK, Place, TOO_MUCH, base,
    beside::{Compared, Seen, compare, is_sidecar, is_zstd, make_dirs, make_dirs_beneath, synced},
    no,
    redacted::{self, Behind},
    stored,
    write::{Change, Writing, sidecar},
};

/// How much larger than it was said to be a file may become by being unpacked or redacted.
pub(super) const MOST_GROWTH: (u64, u64) = (64 << 20, 400);

/// What became of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Became {
    /// It was not there.
    New,
    /// It was there, the same.
    Same,
    /// What is there goes on from what has come, and stays.
    NewerHere,
    /// What was there was the beginning of what has come.
    Replaced,
    /// So it was, but for what was taken out of one of the two: it stays as it was, and what is new follows it.
    Continued,
}

/// One file in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Where.
    pub path: PathBuf,
    /// How.
    pub became: Became,
    /// It is the session's own transcript.
    pub is_main: bool,
}

/// Files that come, and are not in place yet. Dropped, nothing of them is left.
pub struct Coming {
    place: Place,
    redacted: bool,
    /// It comes out of this host's session store.
    is_stored: bool,
    fork: Option<Arc<Fork>>,
    staging: TempDir,
    files: Vec<Expected>,
    /// Files that came whole.
    came: Vec<NamedTempFile>,
    /// What belongs beside these, and came within them.
    beside: Vec<(Expected, NamedTempFile)>,
    current: Option<Writing>,
    /// What a fork is made of is compared with what others have.
    keeps: bool,
    /// The session's own transcript without what is different in a fork, on its way and when it came.
    keeping: Option<Writing>,
    kept: Option<NamedTempFile>,
    /// Of what came of it.
    hash: Sha256,
    /// Blocks of signed thinking that were left out.
    pub dropped_thinking: u64,
}

/// A file that is to come.
struct Expected {
    target: PathBuf,
    bytes: u64,
    zstd: bool,
    is_main: bool,
}

impl Expected {
    /// What comes need not be as long as it was said to be.
    fn may_grow(&self, redacted: bool) -> bool {
        self.zstd || redacted
    }
}

impl Coming {
    /// Makes ready for what was announced; nothing is put in place yet.
    ///
    /// # Errors
    /// [`No`] for names that no file of the session can have, and where nothing can be written.
    pub fn begin(place: Place, redacted: bool, announced: &[CopyFile]) -> Result<Self, No> {
        let mut files = Vec::new();
        let mut targets = HashSet::new();
        let strange = || {
            let why = "its host names files that no such session has";
            no(why, "nothing was written; update rrd on both hosts")
        };
        if announced.len() > MAX_FILES {
            return Err(strange());
        }
        for file in announced {
            let (id, new) = (&place.id, &place.new);
            let relative = place.layout.placed(id, &file.name, new, &place.directory);
            let relative = relative.ok_or_else(strange)?;
            let is_main = place.layout.is_main(id, &file.name);
            let target = match &place.existing {
                Some(existing) if is_main => existing.clone(),
                _ => relative.split('/').fold(place.home.clone(), |path, part| path.join(part)),
            };
            if !targets.insert(target.clone()) {
                return Err(strange());
            }
            files.push(Expected { target, bytes: file.bytes, zstd: file.zstd, is_main });
        }
        if files.iter().filter(|file| file.is_main).count() != 1 {
            return Err(strange());
        }
        let base = place.base();
        make_dirs(&base).map_err(|error| unwritable(&base, &error))?;
        // No harness takes such a folder for a project or a year.
        let staging = tempfile::Builder::new().prefix(".rrd-resume-").tempdir_in(&base);
        let staging = staging.map_err(|error| unwritable(&base, &error))?;
        let (came, beside, current) = (Vec::new(), Vec::new(), None);
        let (hash, is_stored) = (Sha256::new(), false);
        let fork = (place.id != place.new).then(|| {
            let names = announced.iter().map(|file| &*file.name);
            Arc::new(Fork::new(place.layout, (&place.id, &place.new), names))
        });
        Ok(Self {
            place,
            redacted,
            is_stored,
            fork,
            staging,
            files,
            came,
            beside,
            current,
            keeps: false,
            keeping: None,
            kept: None,
            hash,
            dropped_thinking: 0,
        })
    }

    /// It comes out of this host's session store: its records count by their names, for what a harness writes
    /// besides is in no store.
    #[must_use]
    pub fn out_of_the_store(self) -> Self {
        Self { is_stored: true, ..self }
    }

    /// Of a fork the transcript that it is made of is kept, too, for [`Self::transcript`].
    #[must_use]
    pub fn keeping_its_past(self) -> Self {
        Self { keeps: self.fork.is_some(), ..self }
    }

    /// Takes the next page; true after the last.
    ///
    /// # Errors
    /// [`No`] where it is not what was announced, or cannot be written.
    pub fn take(&mut self, page: &CopyPage) -> Result<bool, No> {
        let at = self.came.len();
        if page.file as usize != at {
            return Err(wrong("files in another order than it said"));
        }
        self.write(&page.bytes)?;
        self.hash.update(&page.bytes);
        if let Some(hash) = &page.sha256 {
            if *hash != self.hash.finalize_reset().as_slice() {
                return Err(wrong("something else than it has"));
            }
            self.end()?;
        }
        if page.is_last && self.came.len() != self.files.len() {
            return Err(wrong("less than it said"));
        }
        Ok(page.is_last)
    }

    /// Takes all files from a folder of this host, in which each has its number from 0.
    ///
    /// # Errors
    /// As of [`Self::take`].
    pub fn take_all(&mut self, folder: &Path) -> Result<(), No> {
        let mut chunk = vec![0; CHUNK];
        for at in 0..self.files.len() {
            let path = folder.join(at.to_string());
            let unreadable = |error| {
                let why = format!("the copy in {} cannot be read: {error}", path.display());
                no(why, "run it again")
            };
            let mut file = File::open(&path).map_err(unreadable)?;
            loop {
                let got = file.read(&mut chunk).map_err(unreadable)?;
                // Also of an empty one there is a file.
                self.write(&chunk[..got])?;
                if got == 0 {
                    break;
                }
            }
            self.end()?;
        }
        Ok(())
    }

    /// Writes what comes next of the file that is on its way.
    fn write(&mut self, bytes: &[u8]) -> Result<(), No> {
        let expected = self.files.get(self.came.len());
        let expected = expected.ok_or_else(|| wrong("more files than it said"))?;
        let (least, times) = MOST_GROWTH;
        let writing = match &mut self.current {
            Some(writing) => writing,
            none => {
                let change = |fork| Change {
                    fork,
                    unsigned: (self.redacted && self.place.layout == Layout::ClaudeCode)
                        .then(Unsigned::default),
                };
                let most = match expected.may_grow(self.redacted) {
                    true => expected.bytes.saturating_mul(times).saturating_add(least),
                    false => expected.bytes,
                };
                let how = (is_sidecar(&expected.target), expected.zstd);
                let begin = |fork| {
                    let writing = Writing::begin(self.staging.path(), how, change(fork), most);
                    writing.map_err(|error| unwritable(self.staging.path(), &error))
                };
                if self.keeps && expected.is_main {
                    self.keeping = Some(begin(None)?);
                }
                none.insert(begin(self.fork.clone())?)
            }
        };
        let written = writing.write(bytes);
        let written = written.and_then(|()| match &mut self.keeping {
            Some(keeping) => keeping.write(bytes),
            None => Ok(()),
        });
        let is_longer = !expected.may_grow(self.redacted) && writing.received > expected.bytes;
        if is_longer || written.as_ref().is_err_and(|error| error.to_string() == TOO_MUCH) {
            return Err(wrong(TOO_MUCH));
        }
        written.map_err(|error| unwritable(&expected.target, &error))
    }

    /// The file that is on its way has come whole.
    fn end(&mut self) -> Result<(), No> {
        let expected = self.files.get(self.came.len());
        let Some((expected, writing)) = expected.zip(self.current.take()) else { return Ok(()) };
        if !expected.may_grow(self.redacted) && writing.received != expected.bytes {
            return Err(wrong("something else than it has"));
        }
        let (file, dropped) =
            writing.end().map_err(|error| unwritable(&expected.target, &error))?;
        if let Some(keeping) = self.keeping.take() {
            let (kept, _) = keeping.end().map_err(|error| unwritable(&expected.target, &error))?;
            self.kept = Some(kept);
        }
        if let Some(fork) = self.fork.as_ref().filter(|_| is_sidecar(&expected.target)) {
            sidecar(&file, fork).map_err(|error| unwritable(&expected.target, &error))?;
        }
        self.dropped_thinking += dropped;
        let file = self.taken_apart(file).map_err(|(at, error)| unwritable(&at, &error))?;
        self.came.push(file);
        Ok(())
    }

    /// A file that came, without what belongs beside it: that comes, too.
    fn taken_apart(&mut self, came: NamedTempFile) -> Result<NamedTempFile, (PathBuf, io::Error)> {
        let Some(transcript) = self.files.get(self.came.len()).filter(|file| {
            !file.is_main && self.place.layout == Layout::ClaudeCode && !is_sidecar(&file.target)
        }) else {
            return Ok(came);
        };
        let target = transcript.target.with_extension("meta.json");
        let failed = |error| (target.clone(), error);
        let apart = stored::taken_apart(came.path(), self.staging.path()).map_err(failed)?;
        let Some((file, about)) = apart else { return Ok(came) };
        if self.files.iter().all(|file| file.target != target) {
            let about = match &self.fork {
                Some(fork) => fork.sidecar(&about).into_owned(),
                None => about,
            };
            let mut beside =
                tempfile::Builder::new().tempfile_in(self.staging.path()).map_err(failed)?;
            beside.write_all(&about).map_err(failed)?;
            beside.as_file().sync_all().map_err(failed)?;
            let bytes = about.len() as u64;
            self.beside.push((Expected { target, bytes, zstd: false, is_main: false }, beside));
        }
        Ok(file)
    }

    /// Where the session's own transcript lies for now, once it came; of a fork what that was kept of.
    #[must_use]
    pub fn transcript(&self) -> Option<&Path> {
        self.kept.as_ref().map(NamedTempFile::path).or_else(|| self.main())
    }

    fn main(&self) -> Option<&Path> {
        let main = self.files.iter().zip(&self.came).find(|(file, _)| file.is_main);
        main.map(|(_, came)| came.path())
    }

    /// The first line of the session's own transcript, as it came.
    #[must_use]
    pub fn first_line(&self) -> Vec<u8> {
        self.main().map(base::first_line).unwrap_or_default()
    }

    /// Has a fork of Codex begin where that is here, in another thread's rollout; gives in which, where that is another
    /// place than it said.
    ///
    /// # Errors
    /// [`No`] where it is not here, or what is here is not what was forked.
    pub fn begins(&mut self, redactor: impl FnOnce() -> Redactor) -> Result<Option<String>, No> {
        let main = self.files.iter().zip(&mut self.came).find(|(file, _)| file.is_main);
        let Some((_, came)) = main.filter(|_| self.place.layout == Layout::Codex) else {
            return Ok(None);
        };
        let begun = base::begun(&self.place.home, came.path(), redactor, self.staging.path())?;
        Ok(begun.map(|(file, thread)| {
            *came = file;
            thread
        }))
    }

    /// Puts everything in place, or nothing.
    ///
    /// # Errors
    /// [`No`] where something else is there, or where what is there is shorter and `may_replace` says no.
    ///
    /// `redactor` is asked for where what is there is not the same byte by byte.
    pub fn put(
        self,
        may_replace: bool,
        redactor: impl FnOnce() -> Redactor,
    ) -> Result<Vec<Placed>, No> {
        self.put_after(may_replace, redactor, || {})
    }

    /// The same; `looked` is called when it is known what is there, and nothing is in place yet.
    pub(super) fn put_after(
        mut self,
        may_replace: bool,
        redactor: impl FnOnce() -> Redactor,
        looked: impl FnOnce(),
    ) -> Result<Vec<Placed>, No> {
        for (at, (expected, came)) in self.beside.drain(..).enumerate() {
            // Before the transcript of the session itself, which is put in place last.
            self.files.insert(at, expected);
            self.came.insert(at, came);
        }
        let redactor = LazyCell::new(redactor);
        let is_signed = self.place.layout == Layout::ClaudeCode;
        let mut steps = Vec::new();
        for (expected, came) in self.files.iter().zip(&mut self.came) {
            let target = &expected.target;
            let seen = Seen::at(target).map_err(|error| unwritable(target, &error))?;
            let found = match &seen {
                None => Became::New,
                Some(_) => {
                    let wrong = |error: io::Error| unwritable(target, &error);
                    match compare(came.path(), target).map_err(wrong)? {
                        Compared::Same => Became::Same,
                        Compared::OursBegins => Became::NewerHere,
                        // A summary beside a subagent is rewritten as it goes on: what is here stays.
                        _ if is_sidecar(target) => Became::NewerHere,
                        Compared::TheirsBegins if is_zstd(target) => {
                            let why = format!("{} is an older copy, compressed", target.display());
                            let next =
                                "nothing was changed; --fork takes the newer one under a new id";
                            return Err(no(why, next));
                        }
                        Compared::TheirsBegins if may_replace => Became::Replaced,
                        Compared::TheirsBegins => return Err(in_use(target)),
                        Compared::Differs => {
                            let mut behind = match is_zstd(target) {
                                true => None,
                                false => {
                                    redacted::compare(came.path(), target, &redactor, is_signed)
                                        .map_err(wrong)?
                                }
                            };
                            if behind.is_none() && self.is_stored {
                                behind = stored::compare(came.path(), target).map_err(wrong)?;
                            }
                            match behind {
                                Some(Behind::All) => Became::NewerHere,
                                Some(Behind::From(_)) if !may_replace => {
                                    return Err(in_use(target));
                                }
                                Some(Behind::From(new)) => {
                                    let staging = self.staging.path();
                                    *came = redacted::joined(came.path(), new, target, staging)
                                        .map_err(wrong)?;
                                    Became::Continued
                                }
                                None => {
                                    let target = target.display();
                                    let why = format!("{target} is there and says something else");
                                    let next =
                                        "nothing was changed; --fork takes the copy under a new id";
                                    return Err(no(why, next));
                                }
                            }
                        }
                    }
                }
            };
            steps.push((seen, found));
        }
        looked();
        let base = self.place.base();
        let mut placed = Vec::new();
        for ((expected, came), (seen, mut became)) in self.files.iter().zip(self.came).zip(steps) {
            let Expected { target, is_main, .. } = expected;
            let wrong = |error: io::Error| unwritable(target, &error);
            match became {
                Became::Same | Became::NewerHere => {}
                Became::New => {
                    let folder = target.parent().unwrap_or(&base);
                    make_dirs_beneath(&base, folder).map_err(wrong)?;
                    if let Err(not) = came.into_temp_path().persist_noclobber(target) {
                        // The same may have been put there at the same moment.
                        let is_there = not.error.kind() == io::ErrorKind::AlreadyExists;
                        if !is_there || compare(&not.path, target).map_err(wrong)? != Compared::Same
                        {
                            return Err(wrong(not.error));
                        }
                        became = Became::Same;
                    }
                    synced(folder);
                }
                Became::Replaced | Became::Continued => {
                    if Seen::at(target).map_err(wrong)? != seen {
                        let why = format!("{} has just been written", target.display());
                        return Err(no(why, "somebody is at work in it: end that first"));
                    }
                    came.into_temp_path().persist(target).map_err(|e| wrong(e.error))?;
                    target.parent().into_iter().for_each(synced);
                }
            }
            placed.push(Placed { path: target.clone(), became, is_main: *is_main });
        }
        Ok(placed)
    }
}

/// What is there would be replaced, and may not.
fn in_use(target: &Path) -> No {
    let why = format!("{} is an older copy that may be in use", target.display());
    no(why, "end the session here first, or use --fork")
}

/// What comes is not what was announced.
fn wrong(why: &str) -> No {
    no(format!("its host sends {why}"), "run it again")
}

fn unwritable(what: &Path, error: &io::Error) -> No {
    let next = match error.kind() {
        io::ErrorKind::StorageFull => "make room, and run it again; nothing was put in place",
        _ => "nothing more was put in place; rrd doctor looks into it",
    };
    no(format!("{} cannot be written: {error}", what.display()), next)
}
