//! Gives a session's files to whoever resumes it: a member, or the user of this host.
//!
//! What is copied is fixed when it is asked for: these files, so long. Each is read once, front to back, at
//! most a page ahead of who listens, and looked at again at its end: one that was rewritten or cut meanwhile
//! is no copy of anything. As they are files leave only with a [`RawCopies`]; else line by line through the
//! redactor. Paths come from what this host found itself, never from who asks. Not here: where copies are put.

use std::{
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use rrd_core::{
    frame::{Frame, Framer},
    harness::{FileRole, format_of},
    resume::{self, Layout},
    sdk,
};
use rrd_proto::{
    NodeId, SessionKey,
    copy::{CopyFile, CopyNext, CopyOpen, CopyOpened, CopyPage, MAX_FILES, MAX_PAGE, Past},
};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::{
    config::{Config, HarnessRoot},
    edge::{Edges, Outgoing, RawCopies},
    hub::Hub,
    store::owner_only_folder,
    tail::{Found, MAX_ZSTD_WINDOW_LOG, Source, is_behind_link, look_at, walk_subtree},
};

/// Copies that are under way at once; more than that, and the one that was silent longest is given up.
const MOST: usize = 8;

/// A copy that nobody asked on for so long is over.
pub(crate) const SILENT: Duration = Duration::from_secs(120);

/// A folder that a client takes by itself is kept so long: a person may be asked something meanwhile.
const KEPT: Duration = Duration::from_secs(3600);

/// Read at once.
const CHUNK: usize = 64 << 10;

/// Why nothing, or nothing more, is given.
#[derive(Debug)]
pub(crate) enum NotGiven {
    /// There is no such session here.
    Unknown,
    /// Its files are not such as could be put elsewhere.
    Unfit(String),
    /// That copy is over, or another one's.
    Over,
    /// A file was rewritten, cut or replaced while it was copied.
    Changed(String),
    /// It cannot be read.
    Unreadable(String, io::Error),
}

impl NotGiven {
    /// A word for who asks from elsewhere.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Unknown => "unknown_session",
            Self::Unfit(_) => "unfit",
            Self::Over => "over",
            Self::Changed(_) => "changed",
            Self::Unreadable(..) => "failed",
        }
    }
}

impl std::fmt::Display for NotGiven {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unknown => f.write_str("its transcript is not there any more"),
            Self::Unfit(why) => f.write_str(why),
            Self::Over => {
                f.write_str("the copy was given up, for nobody asked on in time: try again")
            }
            Self::Changed(name) => write!(f, "{name} was rewritten while it was copied: try again"),
            Self::Unreadable(name, error) => write!(f, "{name} cannot be read: {error}"),
        }
    }
}

/// The copies that are under way.
pub(crate) struct Copies {
    roots: Vec<HarnessRoot>,
    /// Whether members get files as they are.
    raw: Option<RawCopies>,
    edges: Arc<Edges>,
    next: AtomicU64,
    open: Mutex<Vec<Arc<Open>>>,
    /// Of files that are copies themselves.
    folder: PathBuf,
    /// Folders in there, and since when.
    kept: Mutex<Vec<(Instant, TempDir)>>,
}

struct Open {
    handle: u64,
    /// Whose; `None`: this host's user's.
    of: Option<NodeId>,
    used: Mutex<Instant>,
    copy: Mutex<Giving>,
}

impl Copies {
    pub(crate) fn new(config: &Config, edges: &Arc<Edges>) -> Self {
        let folder = config.dirs.state.join("copies");
        // What a process left that ended in the middle of one.
        let _ = std::fs::remove_dir_all(&folder);
        Self {
            folder,
            roots: config.followed(),
            raw: RawCopies::for_members(config),
            edges: Arc::clone(edges),
            next: AtomicU64::new(1),
            open: Mutex::default(),
            kept: Mutex::default(),
        }
    }

    /// Begins a copy for a member, or for this host's user. Reads directories: not on the async runtime.
    pub(crate) fn open(
        &self,
        hub: &Hub,
        of: Option<NodeId>,
        query: &CopyOpen,
    ) -> Result<CopyOpened, NotGiven> {
        let raw = match of {
            Some(_) => self.raw,
            None => Some(RawCopies::for_their_owner()),
        };
        let files = files(&self.roots, hub, &query.key)?;
        let pasts = pasts(hub, &query.key, &files);
        let mut opened = self.begin(of, files, raw);
        opened.files.iter_mut().zip(pasts).for_each(|(file, past)| file.past = past);
        Ok(opened)
    }

    /// A new folder of its owner's alone, for the files of a copy that a client of this host takes by itself.
    ///
    /// # Errors
    /// Why it cannot be made.
    pub(crate) fn folder(&self) -> io::Result<TempDir> {
        owner_only_folder(&self.folder)?;
        tempfile::Builder::new().prefix("bucket-").tempdir_in(&self.folder)
    }

    /// Keeps such a folder until nobody comes for it any more.
    pub(crate) fn keep(&self, folder: TempDir) {
        self.forget_silent();
        let mut kept = lock(&self.kept);
        if kept.len() >= MOST {
            kept.remove(0);
        }
        kept.push((Instant::now(), folder));
    }

    fn begin(&self, of: Option<NodeId>, files: Vec<Given>, raw: Option<RawCopies>) -> CopyOpened {
        let told = |file: &Given| CopyFile {
            name: file.name.clone(),
            bytes: file.length,
            zstd: file.zstd && raw.is_some(),
            past: Past::default(),
        };
        let opened = CopyOpened {
            handle: self.next.fetch_add(1, Ordering::Relaxed),
            redacted: raw.is_none(),
            files: files.iter().map(told).collect(),
        };
        let copy = Giving { files, at: 0, reading: None, raw, pages: 0, last: None, sent: 0 };
        let open = Arc::new(Open {
            handle: opened.handle,
            of,
            used: Mutex::new(Instant::now()),
            copy: Mutex::new(copy),
        });
        self.forget_silent();
        let mut all = lock(&self.open);
        if all.len() >= MOST
            && let Some(oldest) = (0..all.len()).min_by_key(|at| *lock(&all[*at].used))
        {
            all.remove(oldest);
        }
        all.push(open);
        opened
    }

    /// Gives up copies that nobody asks on for; true while there are others.
    pub(crate) fn forget_silent(&self) -> bool {
        let mut all = lock(&self.open);
        all.retain(|open| lock(&open.used).elapsed() < SILENT);
        let mut kept = lock(&self.kept);
        kept.retain(|(since, _)| since.elapsed() < KEPT);
        !all.is_empty() || !kept.is_empty()
    }

    /// The page that is asked for. Reads files: not on the async runtime.
    pub(crate) fn next(&self, of: Option<NodeId>, query: CopyNext) -> Result<CopyPage, NotGiven> {
        let is_it = |open: &&Arc<Open>| open.handle == query.handle && open.of == of;
        let open = lock(&self.open).iter().find(is_it).cloned().ok_or(NotGiven::Over)?;
        *lock(&open.used) = Instant::now();
        let page = lock(&open.copy).page(&self.edges, query.page);
        // Whoever has not heard the last one asks once more; what has failed is over.
        if page.is_err() {
            lock(&self.open).retain(|other| other.handle != query.handle);
        }
        page
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A file that is to be given.
#[derive(Debug)]
struct Given {
    path: PathBuf,
    name: String,
    length: u64,
    zstd: bool,
    /// The session whose transcript it is.
    session_id: Option<String>,
}

/// Numbers that are told of all delegates of a session, at most: 1.3 MB, and a frame has room for 8 MiB.
const MOST_OF_DELEGATES: usize = 16 * Past::MOST;

/// Where the sessions were of whom these are, the last of which is this one's: of the others that alone which is not
/// this one's, too. Of one for which there is no room it is told that it is not known.
fn pasts(hub: &Hub, key: &SessionKey, files: &[Given]) -> Vec<Past> {
    let Some((_, delegates)) = files.split_last() else { return Vec::new() };
    let mut left = MOST_OF_DELEGATES;
    let past = |file: &Given| {
        let session_id = file.session_id.clone()?;
        let past = hub.own_past_of(&SessionKey { harness: key.harness.clone(), session_id });
        left = left.checked_sub(past.names.len() + past.places.len())?;
        Some(past)
    };
    let told = delegates.iter().map(past).map(Option::unwrap_or_default);
    told.chain([hub.past_of(key)]).collect()
}

/// The session's own transcript and what its subagents left; the transcript last, so that whoever puts them
/// somewhere has everything else before it.
fn files(roots: &[HarnessRoot], hub: &Hub, key: &SessionKey) -> Result<Vec<Given>, NotGiven> {
    let layout = resume::layout(&key.harness).map_err(|no| NotGiven::Unfit(no.why))?;
    let entry = hub.entry(key).filter(|entry| !entry.path.is_empty()).ok_or(NotGiven::Unknown)?;
    let root = roots.get(entry.root).ok_or(NotGiven::Unknown)?;
    let format = format_of(&key.harness).ok_or(NotGiven::Unknown)?;
    let id = &key.session_id;
    let path = PathBuf::from(&*entry.path);
    let name = |path: &Path| {
        let relative = path.strip_prefix(&root.path).ok()?.to_string_lossy().replace('\\', "/");
        layout.told(id, &if root.is_store { sdk::called(&relative) } else { relative })
    };
    let unfit = || NotGiven::Unfit("its transcript is not called as its harness would".to_owned());
    let given = |found: Found| {
        let zstd = matches!(found.role, FileRole::Transcript { zstd: true, .. });
        let name = name(&found.path)?;
        let session_id = match found.role {
            FileRole::Transcript { session_id, .. } => Some(session_id),
            _ => None,
        };
        Some(Given { path: found.path, name, length: found.size, zstd, session_id })
    };
    if is_behind_link(&root.path, &path) {
        return Err(unfit());
    }
    let own = look_at(&root.path, &path, format);
    let own = own.ok().flatten().ok_or(NotGiven::Unknown)?;
    let own = given(own).filter(|file| layout.is_main(id, &file.name)).ok_or_else(unfit)?;
    let mut files = Vec::new();
    if layout == Layout::ClaudeCode {
        let walk = walk_subtree(&root.path, &path.with_extension("").join("subagents"), format);
        files.extend(walk.files.into_iter().filter_map(given));
        files.sort_by(|a, b| a.name.cmp(&b.name));
    }
    if files.len() >= MAX_FILES {
        let count = files.len();
        return Err(NotGiven::Unfit(format!(
            "it has {count} files of subagents, too many to copy"
        )));
    }
    files.push(own);
    Ok(files)
}

/// One copy, as far as it has come.
struct Giving {
    files: Vec<Given>,
    /// Which is read.
    at: usize,
    reading: Option<Reading>,
    raw: Option<RawCopies>,
    /// Pages that were told.
    pages: u64,
    /// The last of these.
    last: Option<CopyPage>,
    sent: u64,
}

impl Giving {
    fn page(&mut self, edges: &Edges, number: u64) -> Result<CopyPage, NotGiven> {
        if let Some(last) = self.last.as_ref().filter(|_| number + 1 == self.pages) {
            return Ok(last.clone());
        }
        let Some(file) = self.files.get(self.at).filter(|_| number == self.pages) else {
            return Err(NotGiven::Over);
        };
        let unreadable = |error| match error {
            error if is_change(&error) => NotGiven::Changed(file.name.clone()),
            error => NotGiven::Unreadable(file.name.clone(), error),
        };
        let reading = match &mut self.reading {
            Some(reading) => reading,
            none => none.insert(Reading::begin(file, self.raw).map_err(unreadable)?),
        };
        let (bytes, is_end) = reading.take(edges).map_err(unreadable)?;
        self.sent += bytes.len() as u64;
        let sha256 = is_end.then(|| Bytes::copy_from_slice(&reading.hash.clone().finalize()));
        let page = CopyPage {
            file: u32::try_from(self.at).unwrap_or(u32::MAX),
            bytes,
            sha256,
            is_last: is_end && self.at + 1 == self.files.len(),
            sent: self.sent,
        };
        if is_end {
            self.reading = None;
            self.at += 1;
        }
        self.pages += 1;
        self.last = Some(page.clone());
        Ok(page)
    }
}

/// One file that is read.
struct Reading {
    source: Arc<Source>,
    length: u64,
    /// What it looked like at the beginning.
    first_line: Option<u64>,
    tail: u64,
    from: Box<dyn Read + Send>,
    how: How,
    out: Outgoing,
    is_read: bool,
    hash: Sha256,
}

/// What becomes of what is read.
enum How {
    AsItIs(RawCopies),
    Redacted(Framer),
}

impl Reading {
    fn begin(file: &Given, raw: Option<RawCopies>) -> io::Result<Self> {
        let source = Arc::new(Source::open(&file.path)?);
        if source.size < file.length {
            return Err(change());
        }
        let span = Span { source: Arc::clone(&source), at: 0, end: file.length };
        let (how, from): (How, Box<dyn Read + Send>) = match raw {
            Some(raw) => (How::AsItIs(raw), Box::new(span)),
            None if file.zstd => {
                let mut decoder = zstd::stream::read::Decoder::new(span)?;
                decoder.window_log_max(MAX_ZSTD_WINDOW_LOG)?;
                (How::Redacted(Framer::new(0)), Box::new(decoder))
            }
            None => (How::Redacted(Framer::new(0)), Box::new(span)),
        };
        Ok(Self {
            first_line: source.first_line()?,
            tail: source.tail_hash(file.length)?,
            source,
            length: file.length,
            from,
            how,
            out: Outgoing::default(),
            is_read: false,
            hash: Sha256::new(),
        })
    }

    /// The next bytes, and whether they are the last.
    fn take(&mut self, edges: &Edges) -> io::Result<(Bytes, bool)> {
        let mut chunk = vec![0; CHUNK];
        while self.out.len() < MAX_PAGE && !self.is_read {
            let got = match self.from.read(&mut chunk) {
                Ok(got) => got,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            self.is_read = got == 0;
            let (out, read) = (&mut self.out, &chunk[..got]);
            match &mut self.how {
                How::AsItIs(raw) => out.push_raw(*raw, read),
                How::Redacted(framer) => {
                    let is_torn = got == 0 && framer.torn_len() > 0;
                    // A last line without its newline is looked at like any other.
                    let read = if is_torn { &b"\n"[..] } else { read };
                    framer.feed(read, &mut |frame| {
                        match frame {
                            Frame::Line { bytes, .. } => out.push(&edges.copied(bytes)),
                            Frame::Oversized { len, .. } => out.push(&edges.copied_oversized(len)),
                        }
                        if !is_torn {
                            out.end_line();
                        }
                    });
                }
            }
        }
        let bytes = self.out.take(MAX_PAGE);
        self.hash.update(&bytes);
        let is_end = self.is_read && self.out.len() == 0;
        if is_end && !self.is_unchanged()? {
            return Err(change());
        }
        Ok((bytes, is_end))
    }

    /// Whether what was copied still stands there: by the marks by which cursors know their files.
    fn is_unchanged(&self) -> io::Result<bool> {
        Ok(self.source.first_line()? == self.first_line
            && self.source.tail_hash(self.length)? == self.tail)
    }
}

/// A part of a file. One that is shorter by now was cut.
struct Span {
    source: Arc<Source>,
    at: u64,
    end: u64,
}

impl Read for Span {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX).min(buf.len());
        let got = self.source.read_at(&mut buf[..left], self.at)?;
        if got < left {
            return Err(change());
        }
        self.at += got as u64;
        Ok(got)
    }
}

/// Told from what the system says by its message alone.
const CHANGED: &str = "the file was cut or rewritten";

fn change() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, CHANGED)
}

fn is_change(error: &io::Error) -> bool {
    // A decoder hands on what its reader said.
    error.kind() == io::ErrorKind::UnexpectedEof && error.to_string().contains(CHANGED)
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write as _};

    use super::*;
    use crate::Dirs;

    struct Home {
        dir: TempDir,
        edges: Edges,
    }

    fn at_home() -> Home {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().as_os_str().to_owned();
        let dirs =
            Dirs::resolve(&|name| (name == "RRD_HOME" || name == "HOME").then(|| home.clone()));
        let edges = Edges::open(&dirs.unwrap());
        Home { dir, edges }
    }

    impl Home {
        fn file(&self, name: &str, bytes: &[u8]) -> Given {
            let path = self.dir.path().join(name);
            fs::write(&path, bytes).unwrap();
            let zstd = name.ends_with(".zst");
            let length = bytes.len() as u64;
            Given { path, name: name.to_owned(), length, zstd, session_id: None }
        }

        fn giving(&self, files: Vec<Given>, raw: bool) -> Giving {
            let raw = raw.then(RawCopies::for_their_owner);
            Giving { files, at: 0, reading: None, raw, pages: 0, last: None, sent: 0 }
        }

        /// All that comes of each file.
        fn all(&self, giving: &mut Giving) -> Vec<Vec<u8>> {
            let mut came = vec![Vec::new(); giving.files.len()];
            for number in 0.. {
                let page = giving.page(&self.edges, number).unwrap();
                assert!(page.bytes.len() <= MAX_PAGE);
                let file = &mut came[page.file as usize];
                file.extend_from_slice(&page.bytes);
                if let Some(hash) = &page.sha256 {
                    assert_eq!(**hash, *Sha256::digest(&file[..]));
                }
                // Not heard: the same again, and nothing else.
                assert_eq!(giving.page(&self.edges, number).unwrap(), page);
                assert!(matches!(giving.page(&self.edges, number + 2), Err(NotGiven::Over)));
                if page.is_last {
                    assert_eq!(page.sent, came.iter().map(Vec::len).sum::<usize>() as u64);
                    break;
                }
            }
            came
        }
    }

    fn secret() -> String {
        format!("{}_{}", "ghp", "Ab3dEf6hIj9kLm2nOp5qRs8tUv1wXy4zAb7c")
    }

    #[test]
    fn files_come_whole_whatever_is_in_them() {
        let here = at_home();
        let long: Vec<u8> = (0..MAX_PAGE * 3 + 17).map(|at| (at % 251) as u8).collect();
        for exact in [b"".as_slice(), b"x", &long, &long[..MAX_PAGE], &long[..2 * MAX_PAGE]] {
            let files = vec![here.file("a", exact), here.file("b.zst", b"not even zstd")];
            let came = here.all(&mut here.giving(files, true));
            assert_eq!(came, [exact, b"not even zstd"]);
        }
    }

    #[test]
    fn what_was_added_meanwhile_is_no_part_of_it() {
        let here = at_home();
        let given = here.file("a", b"{\"n\":1}\n");
        let path = given.path.clone();
        let mut giving = here.giving(vec![given], true);
        fs::File::options().append(true).open(path).unwrap().write_all(b"{\"n\":2}\n").unwrap();
        assert_eq!(here.all(&mut giving), [b"{\"n\":1}\n"]);
    }

    #[test]
    fn what_was_rewritten_meanwhile_is_no_copy() {
        let here = at_home();
        let text = "{\"n\":1234567}\n".repeat(MAX_PAGE / 4);
        // After the first page: cut, another end, another beginning, and one of the same length beforehand.
        for (at, change) in [
            (1, text[..MAX_PAGE].to_owned()),
            (1, format!("{}x\n", &text[..text.len() - 2])),
            (1, format!("[{}", &text[1..])),
            (0, text[..7].to_owned()),
        ] {
            let given = here.file("a", text.as_bytes());
            let path = given.path.clone();
            let mut giving = here.giving(vec![given], true);
            for number in 0..at {
                giving.page(&here.edges, number).unwrap();
            }
            fs::write(path, change).unwrap();
            let end = (at..100).find_map(|number| match giving.page(&here.edges, number) {
                Ok(page) => page.is_last.then_some(None),
                Err(why) => Some(Some(why)),
            });
            assert!(matches!(end, Some(Some(NotGiven::Changed(_)))), "{end:?}");
        }
    }

    #[test]
    fn without_leave_nothing_comes_as_it_is() {
        let here = at_home();
        let line = format!("{{\"text\":\"use {}\"}}\n", secret());
        let many = line.repeat(3_000) + "{\"torn\":\"" + &secret();
        let packed = zstd::encode_all(many.as_bytes(), 3).unwrap();
        let oversized = vec![b'x'; rrd_core::frame::MAX_LINE + 1];
        let files = vec![
            here.file("a", many.as_bytes()),
            here.file("b.zst", &packed),
            here.file("c", &[oversized.as_slice(), b"\n{}\n"].concat()),
            here.file("d", &oversized),
        ];
        let came = here.all(&mut here.giving(files, false));
        for plain in &came[..2] {
            let plain = std::str::from_utf8(plain).unwrap();
            assert!(!plain.contains(&secret()[..20]));
            assert_eq!(plain.matches("[REDACTED:github-token]").count(), 3_001);
            assert!(!plain.ends_with('\n') && plain.lines().count() == 3_001);
        }
        let stand_in = format!("{{\"redacted\":\"oversized line\",\"bytes\":{}}}", oversized.len());
        assert_eq!(came[2], format!("{stand_in}\n{{}}\n").as_bytes());
        assert_eq!(came[3], stand_in.as_bytes());
        assert!(here.edges.part().detail.contains("copies: "), "{:?}", here.edges.part());
    }
}
