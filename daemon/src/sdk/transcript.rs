//! One transcript of the session store: whole lines, on the disk before anybody is told so.
//!
//! What a call adds is written at once after the last whole line; what breaks off is cut again, now or, where
//! the daemon was killed, before the next call adds something. Not here: whose it is, and who waits for whom.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use rrd_core::sdk::{Entry, Id, entry, half};

use crate::store::{owner_only, owner_only_folder};

/// So much is read at a time, in bytes.
pub(super) const CHUNK: usize = 256 << 10;

/// So much of another copy is written at a time, in bytes.
const BATCH: usize = 4 << 20;

/// What is known of a transcript that entries were added to lately.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Of the entries that have one.
    pub(super) ids: HashSet<Id>,
    /// Where the last whole line ends.
    length: u64,
}

/// Adds what is not there yet; says how much that was. `known` is what the last call left.
pub(super) fn append(
    root: &Path,
    path: &Path,
    known: &mut Option<Known>,
    entries: &[Entry<'_>],
) -> io::Result<usize> {
    let mut writing = Writing::begin(root, path, known.take())?;
    let mut text = Vec::new();
    for entry in entries {
        writing.take(entry, &mut text);
    }
    let taken = writing.taken;
    writing.write(&text)?;
    *known = Some(writing.end(root)?);
    Ok(taken)
}

/// Adds the records of another copy that are not there yet; `read` hands over its lines. Says how many came.
pub(super) fn merge(
    root: &Path,
    path: &Path,
    known: &mut Option<Known>,
    read: impl FnOnce(&mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()>,
) -> io::Result<usize> {
    let mut writing = Writing::begin(root, path, known.take())?;
    // What has no name is known by what it says.
    let mut said = HashSet::new();
    each_line(&mut writing.file, writing.known.length, |line| {
        said.extend(entry(line).ok().filter(|entry| entry.id.is_none()).map(|_| half(line)));
    })?;
    let mut text = Vec::new();
    let merged = read(&mut |line| {
        let Ok(entry) = entry(line) else { return Ok(()) };
        if entry.id.is_some() || !said.contains(&half(line)) {
            writing.take(&entry, &mut text);
        }
        if text.len() >= BATCH {
            writing.write(&std::mem::take(&mut text))?;
        }
        Ok(())
    });
    let taken = writing.taken;
    merged.or_else(|error| writing.undo(error))?;
    writing.write(&text)?;
    *known = Some(writing.end(root)?);
    Ok(taken)
}

/// A transcript that is written to.
struct Writing {
    file: File,
    path: PathBuf,
    is_new: bool,
    known: Known,
    /// Where it ended before.
    from: u64,
    taken: usize,
}

impl Writing {
    fn begin(root: &Path, path: &Path, known: Option<Known>) -> io::Result<Self> {
        let folder = path.parent().unwrap_or(root);
        owner_only_folder(folder)?;
        let is_new = !path.exists();
        let mut file = owner_only(path)?;
        let length = file.metadata()?.len();
        let known = match known.filter(|known| known.length == length) {
            Some(known) => known,
            None => read_ids(&mut file)?,
        };
        if known.length < length {
            // What a crash left of a call that nobody was told had been done.
            file.set_len(known.length)?;
        }
        file.seek(SeekFrom::Start(known.length))?;
        Ok(Self { file, path: path.to_owned(), is_new, from: known.length, known, taken: 0 })
    }

    fn take(&mut self, entry: &Entry<'_>, text: &mut Vec<u8>) {
        if entry.id.is_none_or(|id| self.known.ids.insert(id)) {
            text.extend_from_slice(entry.line);
            text.push(b'\n');
            self.taken += 1;
        }
    }

    fn write(&mut self, text: &[u8]) -> io::Result<()> {
        let written = self.file.seek(SeekFrom::Start(self.known.length));
        let written = written.and_then(|_| self.file.write_all(text));
        written.or_else(|error| self.undo(error))?;
        self.known.length += text.len() as u64;
        Ok(())
    }

    /// It is on the disk, with the folders that lead to it.
    fn end(self, root: &Path) -> io::Result<Known> {
        self.file.sync_data().or_else(|error| self.undo(error))?;
        if self.is_new {
            let mut folders = self.path.ancestors().skip(1).take_while(|at| at.starts_with(root));
            folders.try_for_each(sync_dir)?;
        }
        Ok(self.known)
    }

    /// As it was before. Where that fails, too, what is left has names by which it is known again.
    fn undo(&self, error: io::Error) -> io::Result<()> {
        let _ = self.file.set_len(self.from);
        if self.from == 0 && self.is_new {
            let _ = fs::remove_file(&self.path);
        }
        Err(error)
    }
}

/// The whole lines of a transcript, and how many bytes they are; `None` where there is none.
pub(super) fn open(path: &Path) -> io::Result<Option<(File, u64)>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut end = file.metadata()?.len();
    let mut chunk = vec![0; CHUNK];
    while end > 0 {
        let from = end.saturating_sub(CHUNK as u64);
        let piece = &mut chunk[..usize::try_from(end - from).unwrap_or(CHUNK)];
        file.seek(SeekFrom::Start(from))?;
        file.read_exact(piece)?;
        if let Some(at) = memchr::memrchr(b'\n', piece) {
            end = from + at as u64 + 1;
            break;
        }
        end = from;
    }
    file.rewind()?;
    Ok((end > 0).then_some((file, end)))
}

fn read_ids(file: &mut File) -> io::Result<Known> {
    let length = file.metadata()?.len();
    let mut known = Known::default();
    known.length = each_line(file, length, |line| {
        known.ids.extend(entry(line).ok().and_then(|entry| entry.id));
    })?;
    Ok(known)
}

/// Every whole line of the first `length` bytes, without its newline; says where the last one ends.
fn each_line(file: &mut File, length: u64, mut take: impl FnMut(&[u8])) -> io::Result<u64> {
    file.rewind()?;
    let mut reader = BufReader::with_capacity(CHUNK, (&*file).take(length));
    let (mut line, mut end) = (Vec::new(), 0);
    loop {
        line.clear();
        let read = reader.read_until(b'\n', &mut line)?;
        let Some(whole) = line.strip_suffix(b"\n") else { return Ok(end) };
        end += read as u64;
        take(whole);
    }
}

/// What a folder lists is on the disk. Where folders cannot be synced, their file system does so by itself.
pub(super) fn sync_dir(folder: &Path) -> io::Result<()> {
    match cfg!(unix) {
        true => File::open(folder)?.sync_all(),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use rrd_core::sdk::entries;

    use super::*;

    struct Kept {
        dir: tempfile::TempDir,
        known: Option<Known>,
    }

    impl Kept {
        fn new() -> Self {
            Self { dir: tempfile::tempdir().unwrap(), known: None }
        }

        fn path(&self) -> PathBuf {
            self.dir.path().join("projects/p/s.jsonl")
        }

        fn append(&mut self, body: &str) -> usize {
            let path = self.path();
            let entries = entries(body.as_bytes()).unwrap();
            append(self.dir.path(), &path, &mut self.known, &entries).unwrap()
        }

        fn merge(&mut self, lines: &[&str]) -> io::Result<usize> {
            let path = self.path();
            merge(self.dir.path(), &path, &mut self.known, |take| {
                lines.iter().try_for_each(|line| match *line {
                    "broken" => Err(io::Error::other("broken")),
                    line => take(line.as_bytes()),
                })
            })
        }

        fn text(&self) -> String {
            fs::read_to_string(self.path()).unwrap_or_default()
        }

        /// What whoever loads it gets.
        fn loaded(&self) -> String {
            let Some((file, length)) = open(&self.path()).unwrap() else { return String::new() };
            let mut text = String::new();
            file.take(length).read_to_string(&mut text).unwrap();
            text
        }
    }

    const A: &str = "{\"uuid\":\"a\"}\n";
    const B: &str = "{\"uuid\":\"b\"}\n";
    const LOOSE: &str = "{\"type\":\"mode\"}\n";

    #[test]
    fn an_entry_with_a_name_is_there_once_and_others_as_often_as_they_are_said() {
        let mut kept = Kept::new();
        assert_eq!(kept.append(&format!("{A}{LOOSE}{A}")), 2);
        assert_eq!(kept.append(&format!("{A}{B}{LOOSE}")), 2);
        let all = format!("{A}{LOOSE}{B}{LOOSE}");
        assert_eq!(kept.text(), all);
        // Whoever knows nothing of it reads it first; and so does who knows it as it was.
        kept.known = None;
        assert_eq!(kept.append(B), 0);
        fs::write(kept.path(), B).unwrap();
        assert_eq!(kept.append(&format!("{B}{A}")), 1);
        assert_eq!(kept.text(), format!("{B}{A}"));
    }

    #[test]
    fn what_a_crash_left_of_a_call_is_cut() {
        for torn in ["{\"uuid\":\"b", "{\"uuid\":\"b\"}", "\0\0\0\0", &"x".repeat(CHUNK + 7)] {
            let mut kept = Kept::new();
            kept.append(A);
            fs::write(kept.path(), format!("{A}{torn}")).unwrap();
            assert_eq!(kept.loaded(), A);
            assert_eq!(kept.append(B), 1);
            assert_eq!(kept.text(), format!("{A}{B}"));
        }
        let mut kept = Kept::new();
        kept.append(A);
        fs::write(kept.path(), "{").unwrap();
        assert_eq!(kept.loaded(), "");
        assert_eq!((kept.append(B), kept.text()), (1, B.to_owned()));
    }

    #[test]
    fn another_copy_adds_what_is_not_there_or_nothing() {
        let mut kept = Kept::new();
        kept.append(&format!("{A}{LOOSE}"));
        let before = kept.text();
        assert!(kept.merge(&["{\"uuid\":\"c\"}", "broken"]).is_err());
        assert_eq!(kept.text(), before);
        let theirs = [A.trim(), LOOSE.trim(), "no record", B.trim(), "{\"type\":\"tag\"}"];
        assert_eq!(kept.merge(&theirs).unwrap(), 2);
        assert_eq!(kept.text(), format!("{before}{B}{{\"type\":\"tag\"}}\n"));
        assert_eq!(kept.merge(&theirs).unwrap(), 0);
        // And where there is nothing yet.
        let mut other = Kept::new();
        assert!(other.merge(&[A.trim(), "broken"]).is_err());
        assert!(!other.path().exists());
        assert_eq!(other.merge(&[A.trim(), LOOSE.trim(), LOOSE.trim()]).unwrap(), 3);
    }

    #[cfg(unix)]
    #[test]
    fn nobody_else_reads_it() {
        use std::os::unix::fs::PermissionsExt;
        let mut kept = Kept::new();
        kept.append(A);
        for (path, mode) in [(kept.path(), 0o600), (kept.dir.path().join("projects/p"), 0o700)] {
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, mode);
        }
    }
}
