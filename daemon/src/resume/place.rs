//! Puts a session's files where a harness looks for them: the one place where rrd writes transcripts.
//!
//! Everything is written beside the harness's own files first, compared with what is there, and only then put
//! in place: a name that is taken is never taken away from a file that says anything else. What is there may
//! be the same, or go on longer, and stays; or be the beginning of what has come, and is replaced at once and
//! whole, if nobody is at work in it. Names come from elsewhere and are made anew by [`Layout::placed`];
//! beneath the harness's folder no link is followed. Not here: whether it may be done, and who is told.

mod write;

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use rrd_core::resume::{Layout, No, Unsigned};
use rrd_proto::copy::{CopyFile, CopyPage, MAX_FILES};
use sha2::{Digest, Sha256};
use tempfile::{NamedTempFile, TempDir};

use self::write::{Change, Writing};
use crate::tail::MAX_ZSTD_WINDOW_LOG;

/// How much larger than it was said to be a file may become by being unpacked or redacted.
const MOST_GROWTH: (u64, u64) = (64 << 20, 400);

/// What the writing of such a file ends with.
const TOO_MUCH: &str = "more than it said";

/// Read at once of a file that is here, and written at once.
const CHUNK: usize = 256 << 10;

/// Of a transcript's first line no more is looked at.
const MAX_FIRST_LINE: u64 = 4 << 20;

/// Folders of days, months and years in which rollouts are looked for.
const DEEP: usize = 3;

/// Where a session is to go.
#[derive(Debug, Clone)]
pub struct Place {
    layout: Layout,
    /// What it is called where it comes from.
    id: String,
    /// What it is to be called here.
    new: String,
    /// The harness's home.
    pub home: PathBuf,
    /// Claude Code's directory.
    directory: String,
    /// Its transcript, where there is one already.
    existing: Option<PathBuf>,
}

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

impl Place {
    /// In one of a harness's homes: the one in which the session is already, else the first that is there.
    ///
    /// # Errors
    /// [`No`] for ids that no file can be called by, and where there is no home at all.
    pub fn find(
        layout: Layout,
        (id, new): (&str, &str),
        homes: &[PathBuf],
        cwd: &Path,
    ) -> Result<Self, No> {
        if !layout.is_id(id) || !layout.is_id(new) {
            return Err(no("its id is none that its harness would give", "nothing was written"));
        }
        let directory = rrd_core::resume::directory(&cwd.to_string_lossy());
        let place = |home: &PathBuf, existing| Self {
            layout,
            id: id.to_owned(),
            new: new.to_owned(),
            home: home.clone(),
            directory: directory.clone(),
            existing,
        };
        for home in homes {
            if let Some(found) = existing(layout, home, new, &directory) {
                let mut place = place(home, Some(found.clone()));
                // Its harness goes on writing where it began, whatever directory it is resumed in.
                let folder =
                    found.parent().and_then(Path::file_name).map(|name| name.to_string_lossy());
                if let (Layout::ClaudeCode, Some(folder)) = (layout, folder) {
                    place.directory = folder.into_owned();
                }
                return Ok(place);
            }
        }
        let home = homes.iter().find(|home| home.is_dir()).or_else(|| homes.first());
        let next = "rrd config tells where harnesses are looked for";
        home.map(|home| place(home, None)).ok_or_else(|| no("its harness has no home here", next))
    }

    /// Where its own transcript goes, as far as that can be told before it is known what it is called.
    #[must_use]
    pub fn shown(&self) -> PathBuf {
        match (&self.existing, self.layout) {
            (Some(existing), _) => existing.clone(),
            (None, Layout::ClaudeCode) => {
                self.home.join("projects").join(&self.directory).join(format!("{}.jsonl", self.new))
            }
            (None, Layout::Codex) => self.home.join("sessions"),
        }
    }

    fn base(&self) -> PathBuf {
        self.home.join(match self.layout {
            Layout::ClaudeCode => "projects",
            Layout::Codex => "sessions",
        })
    }
}

/// The transcript of `id` in this home; of several the one in `directory` first.
fn existing(layout: Layout, home: &Path, id: &str, directory: &str) -> Option<PathBuf> {
    match layout {
        Layout::ClaudeCode => {
            let name = format!("{id}.jsonl");
            let projects = home.join("projects");
            let first = projects.join(directory).join(&name);
            if fs::symlink_metadata(&first).is_ok() {
                return Some(first);
            }
            let mut folders = entries(&projects);
            folders.retain(|folder| fs::symlink_metadata(folder).is_ok_and(|it| it.is_dir()));
            folders.iter().map(|folder| folder.join(&name)).find(|path| path.is_file())
        }
        Layout::Codex => {
            let mut folders = vec![home.join("sessions")];
            for _ in 0..DEEP {
                folders = folders.iter().flat_map(|folder| entries(folder)).collect();
            }
            folders.push(home.join("archived_sessions"));
            let ends = [format!("-{id}.jsonl"), format!("-{id}.jsonl.zst")];
            folders.iter().flat_map(|folder| entries(folder)).find(|path| {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                name.starts_with("rollout-") && ends.iter().any(|end| name.ends_with(end))
            })
        }
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

fn no(why: impl Into<String>, next: impl Into<String>) -> No {
    No { why: why.into(), next: next.into() }
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

/// Files that come, and are not in place yet. Dropped, nothing of them is left.
pub struct Coming {
    place: Place,
    redacted: bool,
    staging: TempDir,
    files: Vec<Expected>,
    /// Files that came whole.
    came: Vec<NamedTempFile>,
    current: Option<Writing>,
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
        let (came, current) = (Vec::new(), None);
        let hash = Sha256::new();
        Ok(Self { place, redacted, staging, files, came, current, hash, dropped_thinking: 0 })
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
                let change = Change {
                    layout: self.place.layout,
                    fork: (self.place.id != self.place.new)
                        .then(|| (self.place.id.clone(), self.place.new.clone())),
                    unsigned: (self.redacted && self.place.layout == Layout::ClaudeCode)
                        .then(Unsigned::default),
                };
                let most = match expected.may_grow(self.redacted) {
                    true => expected.bytes.saturating_mul(times).saturating_add(least),
                    false => expected.bytes,
                };
                let how = (is_sidecar(&expected.target), expected.zstd);
                let writing = Writing::begin(self.staging.path(), how, change, most);
                none.insert(writing.map_err(|error| unwritable(self.staging.path(), &error))?)
            }
        };
        let written = writing.write(bytes);
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
        self.dropped_thinking += dropped;
        self.came.push(file);
        Ok(())
    }

    /// The first line of the session's own transcript, as it came.
    #[must_use]
    pub fn first_line(&self) -> Vec<u8> {
        let main = self.files.iter().zip(&self.came).find(|(file, _)| file.is_main);
        let mut line = Vec::new();
        if let Some((_, came)) = main
            && let Ok(file) = File::open(came.path())
        {
            let _ = BufReader::new(file).take(MAX_FIRST_LINE).read_until(b'\n', &mut line);
        }
        line
    }

    /// Whether Codex's home has the rollout of this thread.
    #[must_use]
    pub fn has_rollout(&self, id: &str) -> bool {
        existing(Layout::Codex, &self.place.home, id, "").is_some()
    }

    /// Puts everything in place, or nothing.
    ///
    /// # Errors
    /// [`No`] where something else is there, or where what is there is shorter and `may_replace` says no.
    pub fn put(self, may_replace: bool) -> Result<Vec<Placed>, No> {
        let mut steps = Vec::new();
        for (expected, came) in self.files.iter().zip(&self.came) {
            let target = &expected.target;
            let seen = Seen::at(target).map_err(|error| unwritable(target, &error))?;
            let found = match &seen {
                None => Became::New,
                Some(_) => {
                    let compared = compare(came.path(), target);
                    match compared.map_err(|error| unwritable(target, &error))? {
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
                        Compared::TheirsBegins => {
                            let why =
                                format!("{} is an older copy that may be in use", target.display());
                            return Err(no(why, "end the session here first, or use --fork"));
                        }
                        Compared::Differs => {
                            let why =
                                format!("{} is there and says something else", target.display());
                            return Err(no(
                                why,
                                "nothing was changed; --fork takes the copy under a new id",
                            ));
                        }
                    }
                }
            };
            steps.push((seen, found));
        }
        let base = self.place.base();
        let mut placed = Vec::new();
        for ((expected, came), (seen, became)) in self.files.iter().zip(self.came).zip(steps) {
            let Expected { target, is_main, .. } = expected;
            let wrong = |error: io::Error| unwritable(target, &error);
            match became {
                Became::Same | Became::NewerHere => {}
                Became::New => {
                    let folder = target.parent().unwrap_or(&base);
                    make_dirs_beneath(&base, folder).map_err(wrong)?;
                    came.into_temp_path().persist_noclobber(target).map_err(|e| wrong(e.error))?;
                    synced(folder);
                }
                Became::Replaced => {
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

/// What a file looks like from outside; another one, or one that was written, looks different.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    bytes: u64,
    modified: Option<std::time::SystemTime>,
}

impl Seen {
    fn at(path: &Path) -> io::Result<Option<Self>> {
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
enum Compared {
    Same,
    /// What has come is how that begins.
    OursBegins,
    /// What is there is how what has come begins.
    TheirsBegins,
    Differs,
}

fn is_zstd(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "zst")
}

fn is_sidecar(path: &Path) -> bool {
    path.to_string_lossy().ends_with(".meta.json")
}

fn compare(ours: &Path, theirs: &Path) -> io::Result<Compared> {
    let mut ours = BufReader::new(File::open(ours)?);
    let file = BufReader::new(File::open(theirs)?);
    let mut theirs: Box<dyn BufRead> = if is_zstd(theirs) {
        let mut decoder = zstd::stream::read::Decoder::with_buffer(file)?;
        decoder.window_log_max(MAX_ZSTD_WINDOW_LOG)?;
        Box::new(BufReader::new(decoder))
    } else {
        Box::new(file)
    };
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
fn make_dirs(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// The same beneath `base`, through no link.
fn make_dirs_beneath(base: &Path, folder: &Path) -> io::Result<()> {
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
fn synced(folder: &Path) {
    #[cfg(unix)]
    if let Ok(folder) = File::open(folder) {
        let _ = folder.sync_all();
    }
    #[cfg(not(unix))]
    let _ = folder;
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const ID: &str = "01a1f88d-5e35-7ca1-835f-bf472c0191ac";
    const NEW: &str = "11111111-2222-4333-8444-555555555555";

    /// A home with a folder beside it that is nobody's business.
    fn home() -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("home/.claude")).unwrap();
        fs::create_dir_all(dir.path().join("home/.codex")).unwrap();
        dir
    }

    fn place(dir: &TempDir, layout: Layout, new: &str) -> Place {
        let name = if layout == Layout::Codex { ".codex" } else { ".claude" };
        let homes = [dir.path().join("home").join(name)];
        Place::find(layout, (ID, new), &homes, Path::new("/w/x")).unwrap()
    }

    fn announced(files: &[(&str, &[u8])]) -> Vec<CopyFile> {
        let file = |(name, bytes): &(&str, &[u8])| CopyFile {
            name: (*name).to_owned(),
            bytes: bytes.len() as u64,
            zstd: false,
        };
        files.iter().map(file).collect()
    }

    fn page(file: u32, bytes: &[u8], is_last: bool) -> CopyPage {
        let sha256 = Some(Sha256::digest(bytes).to_vec().into());
        CopyPage { file, bytes: bytes.to_vec().into(), sha256, is_last, sent: 0 }
    }

    fn put(place: Place, files: &[(&str, &[u8])], may_replace: bool) -> Result<Vec<Placed>, No> {
        let mut coming = Coming::begin(place, false, &announced(files))?;
        for (at, (_, bytes)) in files.iter().enumerate() {
            let is_last = at + 1 == files.len();
            assert_eq!(coming.take(&page(at as u32, bytes, is_last))?, is_last);
        }
        coming.put(may_replace)
    }

    fn every_file(folder: &Path) -> Vec<String> {
        let mut found = Vec::new();
        for path in entries(folder) {
            match path.is_dir() {
                true => found.extend(every_file(&path)),
                false => found.push(path.display().to_string()),
            }
        }
        found
    }

    #[test]
    fn a_host_that_names_other_files_writes_none() {
        let dir = home();
        let main = format!("{ID}.jsonl");
        let hostile = |name: String| vec![(name, b"x".to_vec()), (main.clone(), b"x".to_vec())];
        let mut cases = vec![
            vec![],
            vec![(format!("{ID}/subagents/agent-a.jsonl"), b"x".to_vec())],
            hostile(main.clone()),
        ];
        for name in [
            "../../evil".to_owned(),
            "/etc/evil".to_owned(),
            format!("../{ID}.jsonl"),
            format!("{ID}/subagents/../../../agent-evil.jsonl"),
            format!("{ID}/subagents/x/../../agent-evil.jsonl"),
            format!("{ID}/settings.json"),
            "settings.json".to_owned(),
            r"..\..\evil.jsonl".to_owned(),
        ] {
            cases.push(hostile(name));
        }
        for files in cases {
            let files: Vec<(&str, &[u8])> = files.iter().map(|(n, b)| (&**n, &b[..])).collect();
            let no = put(place(&dir, Layout::ClaudeCode, ID), &files, true).unwrap_err();
            assert!(no.why.contains("no such session has"), "{files:?}: {no:?}");
            assert_eq!(every_file(dir.path()), [""; 0], "{files:?}");
        }
    }

    #[test]
    fn what_is_not_as_announced_is_put_nowhere() {
        let dir = home();
        let name = format!("{ID}.jsonl");
        let announced = announced(&[(&name, b"abc")]);
        let of = |page: CopyPage| {
            let mut coming =
                Coming::begin(place(&dir, Layout::ClaudeCode, ID), false, &announced).unwrap();
            coming.take(&page).map(|_| ())
        };
        assert_eq!(of(page(0, b"abc", true)), Ok(()));
        let other_hash = CopyPage { sha256: page(0, b"x", true).sha256, ..page(0, b"abc", true) };
        let no_end = CopyPage { sha256: None, ..page(0, b"abc", true) };
        for page in [
            page(1, b"abc", true),
            page(0, b"ab", true),
            page(0, b"abcd", true),
            other_hash,
            no_end,
        ] {
            assert!(of(page.clone()).unwrap_err().why.starts_with("its host sends"), "{page:?}");
        }
        assert_eq!(every_file(dir.path()), [""; 0], "nothing is left of the way");
    }

    #[test]
    fn files_of_this_host_are_taken_as_pages_are() {
        let (dir, copied) = (home(), tempfile::tempdir().unwrap());
        let agent = format!("{ID}/subagents/agent-a1.jsonl");
        let name = format!("{ID}.jsonl");
        let long = "{}\n".repeat(CHUNK);
        let files = [(&*agent, &b""[..]), (&*name, long.as_bytes())];
        for (at, (_, bytes)) in files.iter().enumerate() {
            fs::write(copied.path().join(at.to_string()), bytes).unwrap();
        }
        let begin = |files: &[(&str, &[u8])]| {
            Coming::begin(place(&dir, Layout::ClaudeCode, ID), false, &announced(files)).unwrap()
        };
        for other in [b"{}\n".as_slice(), &long.as_bytes()[3..], &[long.as_bytes(), b"x"].concat()]
        {
            let no = begin(&[files[0], (&*name, other)]).take_all(copied.path()).unwrap_err();
            assert!(no.why.starts_with("its host sends"), "{no:?}");
        }
        let mut coming = begin(&files);
        coming.take_all(copied.path()).unwrap();
        for (placed, (_, bytes)) in coming.put(false).unwrap().iter().zip(files) {
            assert_eq!(fs::read(&placed.path).unwrap(), bytes);
        }
    }

    #[test]
    fn a_file_is_replaced_by_one_that_goes_on_from_it_and_by_nothing_else() {
        let name = format!("{ID}.jsonl");
        for (there, comes, may, became) in [
            ("a\nb\n", "a\nb\n", false, Ok(Became::Same)),
            ("a\nb\n", "a\n", true, Ok(Became::NewerHere)),
            ("a\n", "a\nb\n", true, Ok(Became::Replaced)),
            ("", "a\n", true, Ok(Became::Replaced)),
            ("a\n", "a\nb\n", false, Err("may be in use")),
            ("a\nc\n", "a\nb\n", true, Err("says something else")),
        ] {
            let dir = home();
            // Where it went on before, whatever directory it is resumed in.
            let target = dir.path().join(format!("home/.claude/projects/-other/{name}"));
            fs::create_dir_all(target.parent().unwrap()).unwrap();
            fs::write(&target, there).unwrap();
            let came = put(place(&dir, Layout::ClaudeCode, ID), &[(&name, comes.as_bytes())], may);
            let stays = if came.as_ref().is_ok_and(|p| p[0].became == Became::Replaced) {
                comes
            } else {
                there
            };
            match (came, became) {
                (Ok(placed), Ok(became)) => assert_eq!(placed[0].became, became, "{there:?}"),
                (Err(no), Err(why)) => assert!(no.why.contains(why), "{no:?}"),
                (came, became) => panic!("{came:?} for {became:?}"),
            }
            assert_eq!(fs::read_to_string(&target).unwrap(), stays);
            assert_eq!(every_file(dir.path()).len(), 1);
        }
    }

    #[cfg(unix)]
    #[test]
    fn no_link_leads_out_of_a_home() {
        use std::os::unix::fs::symlink;
        let name = format!("{ID}.jsonl");
        // A link where its directory, and where its file belongs.
        for (link, to) in
            [("projects/-w-x", "outside"), (&*format!("projects/-w-x/{name}"), "outside/f")]
        {
            let dir = home();
            fs::create_dir(dir.path().join("outside")).unwrap();
            let link = dir.path().join("home/.claude").join(link);
            fs::create_dir_all(link.parent().unwrap()).unwrap();
            symlink(dir.path().join(to), &link).unwrap();
            let no = put(place(&dir, Layout::ClaudeCode, ID), &[(&name, b"x")], true).unwrap_err();
            assert!(no.why.contains("cannot be written"), "{no:?}");
            assert_eq!(every_file(&dir.path().join("outside")), [""; 0]);
        }
    }

    #[test]
    fn a_fork_is_copied_record_by_record() {
        let dir = home();
        let name = format!("rollout-2026-11-20T10-42-56-{ID}.jsonl");
        let line =
            |id: &str| format!("{{\"type\":\"session_meta\",\"payload\":{{\"id\":\"{id}\"}}}}\n");
        let torn = format!("{}{{\"torn", line(ID));
        let placed =
            put(place(&dir, Layout::Codex, NEW), &[(&name, torn.as_bytes())], true).unwrap();
        let target = format!("sessions/2026/11/20/rollout-2026-11-20T10-42-56-{NEW}.jsonl");
        assert!(placed[0].path.ends_with(&target), "{placed:?}");
        assert_eq!(fs::read_to_string(&placed[0].path).unwrap(), line(NEW));
        // It is found again by its id, wherever it is.
        assert!(place(&dir, Layout::Codex, NEW).existing.is_some());
        assert!(place(&dir, Layout::Codex, ID).existing.is_none());
    }

    #[test]
    fn a_compressed_file_is_bounded() {
        let dir = home();
        let name = format!("rollout-2026-11-20T10-42-56-{ID}.jsonl");
        let packed = zstd::encode_all(&b"x\n".repeat(1_000)[..], 3).unwrap();
        let mut files = announced(&[(&name, &packed)]);
        files[0].zstd = true;
        let mut coming = Coming::begin(place(&dir, Layout::Codex, ID), false, &files).unwrap();
        assert!(coming.take(&page(0, &packed, true)).unwrap());
        let placed = coming.put(false).unwrap();
        assert_eq!(fs::read(&placed[0].path).unwrap(), b"x\n".repeat(1_000));
        // A few kilobytes that would become gigabytes.
        let (least, _) = MOST_GROWTH;
        let mut bomb = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
        let zeros = vec![0; 1 << 20];
        for _ in 0..(least >> 20) + 64 {
            bomb.write_all(&zeros).unwrap();
        }
        let bomb = bomb.finish().unwrap();
        let mut files = announced(&[(&name.replace(ID, NEW), &bomb)]);
        files[0].zstd = true;
        let homes = [dir.path().join("home/.codex")];
        let place = Place::find(Layout::Codex, (NEW, NEW), &homes, Path::new("/w")).unwrap();
        let mut coming = Coming::begin(place, false, &files).unwrap();
        let took = coming.take(&page(0, &bomb, true));
        assert!(took.unwrap_err().why.contains("more than it said"));
    }
}
