//! What of a transcript is not in a bucket and never comes there by itself: what went from the source before it was
//! brought, and what another transcript of the same name has beside it.
//!
//! Rows of a database that are deleted leave nothing by which they are missed, so while a place fails those that it
//! has not are noted down. Not here: what is said of that ([`super::aim`]).

use std::{
    collections::HashSet,
    io::{self, Read},
    path::PathBuf,
};

use rrd_core::{
    cursor::{self, Cursor, FIRST_LINE_BYTES, Look, Next, TAIL_BYTES},
    mirror::order::Compare,
};

use super::{
    gather::{self, At},
    outbox::{Beside, End, State, Stream, Went},
    stream::{Carrier, Failure},
};
use crate::{
    hub::shown,
    tail::{Source, database_has, hash_of_first_line},
};

/// So many rows of a session are noted down; that one of those beyond went is not seen.
const MOST_NOTED: usize = 10_000;

/// So often a source may go for which it is looked whether it is back.
const MOST_WENT: usize = 16;

impl Carrier {
    /// Notes down which rows of the session are not brought yet; true where there are none.
    pub(super) async fn note_rows(
        &self,
        stream: &mut Stream,
        source: &At,
    ) -> Result<bool, Failure> {
        // Before they are read: what comes meanwhile is seen by the next look.
        let (looks, id, at) = (source.looks(), stream.id, source.clone());
        let read = move |carrier: &Self| {
            let there = carrier.there(id)?;
            let (mut compare, mut new) = (Compare::with(&there.hashes), Vec::new());
            at.lines(&mut |frame| {
                let hash = gather::hash(frame);
                if compare.is_new(hash) {
                    new.push((hash, gather::length(frame)));
                }
            })?;
            Ok((new, compare.steps(there.transcript.as_deref()).is_none()))
        };
        let (new, is_same) = match self.on_disk(read).await {
            Err(Failure::Read(source)) => {
                return Err(Failure::Source { path: at_path(stream), source });
            }
            read => read?,
        };
        let is_all = new.is_empty() && is_same;
        let state = &mut stream.state;
        // Those of an earlier look that are in neither went meanwhile.
        let here: HashSet<u64> = new.iter().map(|(hash, _)| *hash).collect();
        let there = self.there(stream.id)?.hashes.into_iter().collect();
        state.gone += gone(&state.unbrought, &[&here, &there]);
        (state.unbrought, state.seen) = (new, looks);
        state.unbrought.truncate(MOST_NOTED);
        if is_all {
            state.settled = looks;
        }
        self.outbox().set_state(stream.id, state)?;
        Ok(is_all)
    }

    /// After all that there is was brought: whether that was all that had been seen, and what lies beside it.
    pub(super) async fn settle_up(
        &self,
        stream: &mut Stream,
        source: &At,
        beside: Vec<PathBuf>,
    ) -> Result<(), Failure> {
        let before = stream.state.clone();
        if stream.state.theirs.is_none() {
            let state = &mut stream.state;
            state.is_back(source);
            if !state.unbrought.is_empty() {
                let there = self.there(stream.id)?.hashes.into_iter().collect();
                state.gone += gone(&state.unbrought, &[&there]);
            }
            (state.unbrought, state.seen) = (Vec::new(), None);
        }
        if !beside.is_empty() || !before.beside.is_empty() {
            let id = stream.id;
            let compare = move |carrier: &Self| carrier.compare_beside(id, &beside);
            stream.state.beside = self.on_disk(compare).await?;
        }
        if stream.state != before {
            self.outbox().set_state(stream.id, &stream.state)?;
        }
        Ok(())
    }

    /// Which of these have records that the stream has not.
    fn compare_beside(&self, id: i64, beside: &[PathBuf]) -> Result<Vec<Beside>, Failure> {
        let there: HashSet<u64> = self.there(id)?.hashes.into_iter().collect();
        let redactor = self.redacts.then(|| self.edges.redactor());
        let one = |path: &PathBuf| {
            let at = At::File(path.clone());
            let (looks, mut has_more) = (at.looks(), false);
            // Of what the transcript that is brought has no more only what went out is known.
            let read = gather::each(&at, redactor.as_deref(), &mut |hash, redacted, _| {
                has_more |= !there.contains(&hash) && !there.contains(&redacted());
            });
            // Of what cannot be read nobody knows that all of it is there.
            has_more |= read.is_err_and(|error| error.kind() != io::ErrorKind::NotFound);
            Beside { path: shown(path), looks, has_more }
        };
        Ok(beside.iter().map(one).collect())
    }
}

/// Where it is read from.
fn at_path(stream: &Stream) -> PathBuf {
    PathBuf::from(&stream.state.path)
}

/// Bytes of those that are in none of these.
fn gone(unbrought: &[(u64, u64)], left: &[&HashSet<u64>]) -> u64 {
    let is_gone = |(hash, _): &&(u64, u64)| left.iter().all(|left| !left.contains(hash));
    unbrought.iter().filter(is_gone).map(|(_, bytes)| bytes).sum()
}

impl State {
    /// Its source is not there any more: `bytes` of it were seen and not brought, and it ended so. Once for each time
    /// that it goes.
    pub(super) fn source_went(&mut self, bytes: Option<u64>, end: Option<End>) {
        if std::mem::replace(&mut self.is_away, true) || bytes == Some(0) {
            return;
        }
        match (end, bytes) {
            (Some(end), _) => self.went.push(Went { bytes, end }),
            (None, Some(bytes)) => self.gone += bytes,
            (None, None) => self.gone_unseen = true,
        }
        if self.went.len() > MOST_WENT {
            let oldest = self.went.remove(0);
            self.gone += oldest.bytes.unwrap_or(0);
            self.gone_unseen |= oldest.bytes.is_none();
        }
    }

    /// A file that ended so had nothing but what was brought, or is noted down.
    pub(super) fn knows(&self, end: &Cursor) -> bool {
        let how = |end: &Cursor| (end.offset, end.first_line, end.tail);
        let mut known = self.cursor.iter().chain(self.went.iter().map(|went| &went.end.at));
        known.any(|known| how(known) == how(end))
    }

    /// A source is there: what went before is missing no more where this one has it. Another one of its name that goes
    /// on has not.
    pub(super) fn is_back(&mut self, source: &At) {
        self.is_away = false;
        self.went.retain(|went| !source.has(&went.end));
    }

    /// What a person is told of that.
    pub(super) fn wrong(&self, is_here: bool) -> Vec<String> {
        let mut wrong = Vec::new();
        let bytes = if is_here { self.lacking() } else { self.missing() };
        if bytes > 0 {
            wrong.push(format!(
                "{bytes} bytes of its transcript went with it before they were there"
            ));
        }
        if self.is_unseen() {
            let how = "went before that was there; how much nobody knows";
            wrong.push(format!("something of its transcript {how}"));
        }
        wrong.extend(self.beside.iter().filter(|one| one.has_more).map(Beside::wrong));
        wrong
    }
}

impl At {
    /// Whether it has all of what ended so.
    fn has(&self, End { at: end, size }: &End) -> bool {
        match self {
            Self::Rows { path, tables, session } => {
                end.rows.is_some_and(|rows| database_has(path, tables, session, &rows))
            }
            Self::File(path) if end.offset > 0 && end.rows.is_none() => {
                let is_packed = self.is_whole();
                let look = || match is_packed {
                    true => unpacked(&Source::open(path)?, end),
                    false => Source::open(path)?.look(end),
                };
                let is_so = |look: Look| {
                    cursor::next(end, &look) != Next::Restart && (is_packed || look.size >= *size)
                };
                look().is_ok_and(is_so)
            }
            Self::File(_) => false,
        }
    }
}

/// What is compressed in a file looks like so, as far as to that end.
fn unpacked(source: &Source, end: &Cursor) -> io::Result<Look> {
    let mut all = source.unzstd()?.take(end.offset);
    let (mut first, mut last, mut size) = (Vec::new(), Vec::new(), 0);
    let mut buf = vec![0; 64 << 10];
    loop {
        let got = all.read(&mut buf)?;
        if got == 0 {
            break;
        }
        size += got as u64;
        let lacks = (FIRST_LINE_BYTES as usize - first.len()).min(got);
        first.extend_from_slice(&buf[..lacks]);
        last.extend_from_slice(&buf[..got]);
        last.drain(..last.len().saturating_sub(TAIL_BYTES as usize));
    }
    let first_line = hash_of_first_line(&first);
    let tail = (size == end.offset).then(|| rrd_core::hash(&last));
    Ok(Look { id: source.id, size, first_line, tail })
}

impl Beside {
    /// What is wrong with it.
    pub(super) fn wrong(&self) -> String {
        format!("another transcript of it has records that are not there: {}", self.path)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_went_counts_until_its_source_is_there_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.jsonl");
        let has = |text: &str| fs::write(&path, text).unwrap();
        let (whole, at) = ("one\ntwo\nthree\n", At::File(path.clone()));
        has(whole);
        let source = Source::open(&path).unwrap();
        let (first_line, tail) = (source.first_line().unwrap(), source.tail_hash(8).unwrap());
        let cursor = Cursor { first_line, offset: 8, tail, ..Cursor::start(source.id) };
        // What came after that nobody has read.
        let end = End { at: cursor, size: 14 };
        let mut state = State::default();
        state.source_went(Some(0), None);
        assert!(!state.is_short() && state.is_away, "nothing was missing");
        state.is_back(&at);
        for _ in 0..2 {
            // Whoever looks once more sees the same.
            state.source_went(Some(10), Some(end.clone()));
        }
        assert_eq!((state.missing(), state.is_unseen()), (10, false));
        for other in ["one\n", "one\ntwo\n", "one\ntoo\nthree\n", "eno\ntwo\nthree\n"] {
            has(other);
            state.is_back(&at);
            assert_eq!(state.missing(), 10, "{other}");
        }
        state.source_went(None, None);
        state.is_back(&at);
        has(&(whole.to_owned() + "more\n"));
        state.is_back(&at);
        assert_eq!(
            (state.missing(), state.is_unseen()),
            (0, true),
            "the other one nobody can tell"
        );
        let packed = dir.path().join("s.jsonl.zst");
        let is_in = |text: &str| {
            fs::write(&packed, zstd::encode_all(text.as_bytes(), 0).unwrap()).unwrap();
            At::File(packed.clone()).has(&end)
        };
        assert!(is_in(whole) && !is_in("one\ntwo") && !is_in("one\ntoo\nthree\n"));
    }

    #[test]
    fn a_source_that_goes_often_is_counted_each_time() {
        let mut state = State::default();
        for _ in 0..MOST_WENT + 3 {
            let cursor = Cursor::start(cursor::FileId { device: 1, inode: 1 });
            state.source_went(Some(1), Some(End { at: cursor, size: 1 }));
            state.is_away = false;
        }
        assert_eq!((state.missing(), state.gone, state.went.len()), (19, 3, MOST_WENT));
    }
}
