//! Which records of a transcript stand, where it is a tree: found out when a branch was left, by reading once
//! more of every record what it hangs on. Not here: what follows from that ([`rrd_core::tree`]), and
//! transcripts in databases ([`super::rows`]).

use std::io::{self, Read};

use rrd_core::{
    frame::{Frame, Framer},
    harness::Entries,
    tree::Tree,
};

use super::{source::Source, take::Ledger};

/// Read at once.
const CHUNK: usize = 256 << 10;

/// Every entry of a transcript up to the offset `to` in its plain text.
///
/// # Errors
/// The disk's, and `Interrupted` when the ledger is over. A damaged zstd frame ends where it is damaged.
pub(super) fn tree(
    source: &Source,
    zstd: bool,
    to: u64,
    entries: Entries,
    ledger: &dyn Ledger,
) -> io::Result<Tree> {
    let mut unpacked = if zstd { Some(source.unzstd()?) } else { None };
    let (mut tree, mut framer) = (Tree::default(), Framer::new(0));
    let mut buf = vec![0; CHUNK];
    let mut at = 0;
    while at < to && !ledger.is_over() {
        let most = usize::try_from(to - at).map_or(CHUNK, |left| left.min(CHUNK));
        let got = match &mut unpacked {
            None => source.read_at(&mut buf[..most], at)?,
            Some(stream) => match stream.read(&mut buf[..most]) {
                Err(error) if error.raw_os_error().is_none() => 0,
                read => read?,
            },
        };
        if got == 0 {
            break;
        }
        at += got as u64;
        framer.feed(&buf[..got], &mut |frame| {
            if let Frame::Line { bytes, .. } = frame {
                add(&mut tree, entries, bytes, None);
            }
        });
    }
    if ledger.is_over() { Err(io::ErrorKind::Interrupted.into()) } else { Ok(tree) }
}

/// Adds the entries of one record; `key` where it is not the record's own.
pub(super) fn add(tree: &mut Tree, entries: Entries, line: &[u8], key: Option<u64>) {
    let (mut first, mut more) = (None, Vec::new());
    let own = entries(line, &mut |entry| match first {
        None => first = Some(entry),
        Some(_) => more.push(entry),
    });
    first.iter().chain(&more).for_each(|entry| tree.add(entry, key.unwrap_or(own)));
}

#[cfg(test)]
mod tests {
    use std::{
        cell::{Cell, RefCell},
        collections::{BTreeMap, HashSet},
        path::Path,
        sync::Arc,
    };

    use rrd_core::{fold::Fold, harness::format_of};
    use rrd_proto::{Harness, SessionKey};

    use super::*;
    use crate::{
        store::{Commit, FileState},
        tail::take::{Work, take},
    };

    /// What an index would hold, of a reader that is stopped after it has asked so often whether it is.
    #[derive(Default)]
    struct Index {
        left: Cell<u32>,
        events: RefCell<BTreeMap<u64, (u64, bool)>>,
        state: RefCell<Option<(FileState, Arc<Fold>)>>,
    }

    impl Ledger for Index {
        fn commit(&self, commit: Commit) {
            let mut events = self.events.borrow_mut();
            for stored in commit.events {
                let known = events.insert(stored.event.seq, (stored.key, stored.event.withdrawn));
                assert_eq!(known, None, "each once");
            }
            for (key, withdrawn) in events.values_mut() {
                *withdrawn = commit.standing.get(key).map_or(*withdrawn, |stands| !stands);
            }
            self.state.replace(Some((commit.file, commit.fold)));
        }

        fn keys(&self, _: &SessionKey) -> io::Result<HashSet<u64>> {
            Ok(self.events.borrow().values().map(|(key, _)| *key).collect())
        }

        fn is_over(&self) -> bool {
            let left = self.left.get();
            self.left.set(left.saturating_sub(1));
            left == 0
        }
    }

    /// Reads on from what the index has, as after a restart.
    fn read(index: &Index, path: &Path, patience: u32) -> bool {
        let format = format_of(&Harness::Pi).unwrap();
        let session = SessionKey { harness: Harness::Pi, session_id: "s".into() };
        let id = Source::open(path).unwrap().id;
        let mut work = Work::new(format, path.to_owned(), false, session, id);
        let mut fold = Arc::default();
        if let Some((file, known)) = index.state.borrow().clone() {
            (work.file, fold) = (file, known);
        }
        index.left.set(patience);
        take(&mut work, &mut fold, index).is_ok()
    }

    fn marks(index: &Index) -> Vec<bool> {
        index.events.borrow().values().map(|(_, withdrawn)| *withdrawn).collect()
    }

    #[test]
    fn wherever_reading_is_stopped_what_was_left_is_found_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("2026-11-20T10-42-27-947Z_s.jsonl");
        let mut text = String::from(
            "{\"type\":\"session\",\"version\":3,\"id\":\"s\",\"timestamp\":\"2026-11-20T10:00:00.000Z\"}\n",
        );
        // Several stretches; a branch is left in the first one.
        let long = "x".repeat(300 << 10);
        for id in 1..12 {
            let parent = if id == 4 { 1 } else { id - 1 };
            let parent = if parent == 0 { "null".to_owned() } else { format!("\"{parent}\"") };
            let at = format!("2026-11-20T10:00:{id:02}.000Z");
            text += &format!(
                "{{\"type\":\"message\",\"id\":\"{id}\",\"parentId\":{parent},\"timestamp\":\"{at}\",\"message\":{{\"role\":\"user\",\"content\":\"{long}\"}}}}\n"
            );
        }
        std::fs::write(&path, &text).unwrap();
        let want: Vec<bool> = (1..12).map(|id| id == 2 || id == 3).collect();
        let mut stops = 0;
        for patience in 0.. {
            let index = Index::default();
            let done = read(&index, &path, patience);
            if !done {
                stops += 1;
                assert!(read(&index, &path, u32::MAX));
            }
            assert_eq!(marks(&index), want, "stopped after {patience}");
            if done {
                break;
            }
        }
        assert!(stops > 20, "{stops}");
        // Whatever followed is cut off again before it is read on.
        let (index, mut cut) = (Index::default(), None);
        for patience in 1.. {
            read(&index, &path, patience);
            cut = index.state.borrow().as_ref().map(|(file, _)| file.cursor.offset);
            if cut.is_some() {
                break;
            }
        }
        std::fs::write(&path, &text[..usize::try_from(cut.unwrap()).unwrap()]).unwrap();
        assert!(read(&index, &path, u32::MAX));
        assert_eq!(marks(&index), want[..marks(&index).len()]);
        assert!(marks(&index).contains(&true));
    }
}
