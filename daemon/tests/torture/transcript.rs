//! One transcript: the file as it is, and what was ever to be seen in it.
//!
//! The model keeps the file's bytes and every record ever written to it. What the daemon must know is
//! the union of all distinct records that were there at some look. Lines are told by the records they hold, never by parsing.

use std::{
    collections::{HashMap, HashSet},
    fs::{self, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
};

use rrd_proto::{Counts, EventKind, SessionKey, Timestamp};

use crate::record::{Author, Record, Says};

/// One transcript.
#[derive(Debug)]
pub(crate) struct Transcript {
    pub(crate) author: Author,
    pub(crate) path: PathBuf,
    /// What the file holds; nothing while it is not there.
    bytes: Option<Vec<u8>>,
    /// The other half of a torn last line.
    rest: Option<Vec<u8>>,
    records: Vec<Record>,
    by_line: HashMap<Vec<u8>, usize>,
    next: u64,
    seen: HashSet<usize>,
    /// What must be known, once this has been looked at once.
    pub(crate) known: Option<Known>,
}

/// What must be known of a session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) counts: Counts,
    pub(crate) last_activity: Option<Timestamp>,
    pub(crate) events: Vec<(EventKind, String)>,
}

impl Transcript {
    pub(crate) fn new(author: Author, path: PathBuf) -> Self {
        Self {
            author,
            path,
            bytes: None,
            rest: None,
            records: Vec::new(),
            by_line: HashMap::new(),
            next: 0,
            seen: HashSet::new(),
            known: None,
        }
    }

    pub(crate) fn key(&self) -> SessionKey {
        SessionKey { harness: self.author.harness.clone(), session_id: self.author.id().to_owned() }
    }

    pub(crate) fn is_there(&self) -> bool {
        self.bytes.is_some()
    }

    /// Takes a look: whatever the file holds now must be known from now on.
    pub(crate) fn look(&mut self) {
        let Some(bytes) = &self.bytes else { return };
        let known = self.known.get_or_insert_default();
        let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        for line in bytes[..whole].split_inclusive(|b| *b == b'\n') {
            let line = &line[..line.len() - 1];
            // A damaged line gives the record it ends with.
            let held = self.records.iter().position(|record| line.ends_with(&record.line));
            let Some(index) = self.by_line.get(line).copied().or(held) else { continue };
            let record = &self.records[index];
            known.last_activity = known.last_activity.max(Some(record.at));
            if self.seen.insert(index) {
                known.counts.prompts += record.counts.prompts;
                known.counts.messages += record.counts.messages;
                known.counts.tool_calls += record.counts.tool_calls;
                known.counts.errors += record.counts.errors;
                known.events.extend(record.event.clone());
            }
        }
    }

    /// It begins with everything another transcript holds.
    pub(crate) fn is_a_copy_of(&mut self, other: &Self) {
        self.bytes.clone_from(&other.bytes);
        self.records.clone_from(&other.records);
        self.by_line.clone_from(&other.by_line);
        self.next = other.next;
    }

    /// A new record that nothing has been written of yet.
    fn record(&mut self, min_len: usize) -> Vec<u8> {
        let codex = self.author.is_codex();
        let says = match self.next % 7 {
            0 if codex => Says::Header,
            0 | 1 | 5 => Says::Prompt,
            2 | 6 => Says::Message,
            3 => Says::ToolCall,
            _ => Says::Failure,
        };
        // Only a rollout's first header counts as one.
        let says = if says == Says::Header && self.next > 0 { Says::Prompt } else { says };
        let record = self.author.write(self.next, says, min_len);
        let line = record.line.clone();
        self.next += 1;
        self.by_line.insert(line.clone(), self.records.len());
        self.records.push(record);
        line
    }

    fn lines(&mut self, count: usize) -> Vec<u8> {
        (0..count).flat_map(|n| [self.record(n * 97 % 500), b"\n".to_vec()].concat()).collect()
    }

    pub(crate) fn append(&mut self, bytes: &[u8]) {
        fs::create_dir_all(self.path.parent().unwrap()).unwrap();
        let mut file = OpenOptions::new().append(true).create(true).open(&self.path).unwrap();
        file.write_all(bytes).unwrap();
        self.bytes.get_or_insert_default().extend_from_slice(bytes);
    }

    /// Whole records; after a torn line the first of them is glued to it.
    pub(crate) fn write(&mut self, count: usize) {
        self.rest = None;
        let lines = self.lines(count);
        self.append(&lines);
    }

    /// Whole records of at least `min_len` bytes each.
    pub(crate) fn write_long(&mut self, count: usize, min_len: usize) {
        let lines: Vec<u8> =
            (0..count).flat_map(|_| [self.record(min_len), b"\n".to_vec()].concat()).collect();
        self.append(&lines);
    }

    /// One record, a byte at a time.
    pub(crate) fn write_bytes(&mut self) {
        self.rest = None;
        for byte in self.lines(1) {
            self.append(&[byte]);
        }
    }

    /// The beginning of a record, never all of it.
    pub(crate) fn tear(&mut self, at: u16) {
        let mut line = self.record(usize::from(at) % 300);
        let rest = line.split_off(1 + usize::from(at) % (line.len() - 2));
        self.append(&line);
        self.rest = Some([rest, b"\n".to_vec()].concat());
    }

    /// The other half of what was torn.
    pub(crate) fn complete(&mut self) {
        if let Some(rest) = self.rest.take() {
            self.append(&rest);
        }
    }

    /// A line that holds no record, or one that is damaged but whole.
    pub(crate) fn damage(&mut self, kind: u8) {
        self.rest = None;
        let line = match kind % 4 {
            0 => vec![0; 700],
            1 => {
                let line = self.record(0);
                [&[0; 300], &line[..]].concat()
            }
            2 => {
                // Text in no encoding, in a record that is whole.
                let line = self.record(700);
                let index = self.records.len() - 1;
                let mut damaged = line.clone();
                let padding = damaged.len() - 22;
                damaged[padding..padding + 20].fill(0xff);
                self.by_line.remove(&line);
                self.by_line.insert(damaged.clone(), index);
                self.records[index].line.clone_from(&damaged);
                damaged
            }
            _ => {
                let line = self.record(0);
                line[..line.len() / 2].to_vec()
            }
        };
        self.append(&[line, b"\n".to_vec()].concat());
    }

    /// Cuts the file.
    pub(crate) fn truncate(&mut self, at: u16) {
        let Some(bytes) = &mut self.bytes else { return };
        self.rest = None;
        let mut len = usize::from(at) % (bytes.len() + 1);
        // A whole record without its newline would be one with the next, and no more itself.
        while len > 0 && self.records.iter().any(|record| bytes[..len].ends_with(&record.line)) {
            len -= 1;
        }
        bytes.truncate(len);
        let file = OpenOptions::new().write(true).open(&self.path).unwrap();
        file.set_len(len as u64).unwrap();
    }

    /// Other content for the file, by way of `how`.
    fn other(&mut self, how: u8) -> Vec<u8> {
        self.rest = None;
        let old = self.bytes.clone().unwrap_or_default();
        let whole = old.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        let lines: Vec<&[u8]> = old[..whole].split_inclusive(|b| *b == b'\n').collect();
        match how % 6 {
            // The same and more.
            0 => [old[..whole].to_vec(), self.lines(2)].concat(),
            // Some of the same, in another order, and more behind.
            1 => {
                let kept: Vec<u8> =
                    lines.iter().rev().step_by(2).copied().flatten().copied().collect();
                [kept, self.lines(1)].concat()
            }
            // More before the same.
            2 => [self.lines(2), old[..whole].to_vec()].concat(),
            // Nothing of it.
            3 => self.lines(1 + lines.len() / 2),
            // The same length, other content, where a record fits in.
            4 if old.len() > 700 => {
                let mut line = self.record(old.len() - 1);
                line.push(b'\n');
                assert_eq!(line.len(), old.len());
                line
            }
            // The end of it.
            _ => lines.into_iter().skip(1).collect::<Vec<_>>().concat(),
        }
    }

    /// Writes other content into the same file.
    pub(crate) fn rewrite(&mut self, how: u8) {
        if !self.is_there() {
            return;
        }
        let bytes = self.other(how);
        let mut file = OpenOptions::new().write(true).open(&self.path).unwrap();
        file.write_all(&bytes).unwrap();
        file.set_len(bytes.len() as u64).unwrap();
        self.bytes = Some(bytes);
    }

    /// Writes every record that was seen into the same file, each on a line of its own.
    pub(crate) fn mend(&mut self) {
        let seen = self.records.iter().enumerate().filter(|(n, _)| self.seen.contains(n));
        let bytes: Vec<u8> =
            seen.flat_map(|(_, record)| [&record.line[..], b"\n"].concat()).collect();
        fs::write(&self.path, &bytes).unwrap();
        self.bytes = Some(bytes);
    }

    /// Puts another file in its place.
    pub(crate) fn replace(&mut self, how: u8) {
        if !self.is_there() {
            return;
        }
        let bytes = self.other(how);
        let aside = self.path.with_extension("tmp");
        fs::write(&aside, &bytes).unwrap();
        fs::rename(&aside, &self.path).unwrap();
        self.bytes = Some(bytes);
    }

    /// Moves the file.
    pub(crate) fn rename(&mut self, to: PathBuf) {
        if self.is_there() {
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::rename(&self.path, &to).unwrap();
        }
        self.path = to;
    }

    /// A directory above it was renamed.
    pub(crate) fn moved_along(&mut self, from: &Path, to: &Path) {
        if let Ok(beneath) = self.path.strip_prefix(from) {
            self.path = to.join(beneath);
        }
    }

    /// Removes the file; what was written of it may come again later.
    pub(crate) fn delete(&mut self) {
        if self.bytes.take().is_some() {
            self.rest = None;
            fs::remove_file(&self.path).unwrap();
        }
    }

    /// The file as it was before, removed and made again.
    pub(crate) fn recreate(&mut self) {
        let Some(bytes) = self.bytes.clone() else { return };
        self.delete();
        self.append(&bytes);
    }
}
