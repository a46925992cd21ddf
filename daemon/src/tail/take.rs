//! Takes what a transcript holds beyond its cursor: bytes to lines to facts to a folded session.
//!
//! [`take`] reads everything, in stretches that each become one commit; [`glance`] reads a large
//! transcript's head and tail only, enough for a row that claims no counts. Both bounded in memory
//! whatever a line's or file's length. Not here: when to read, and what becomes of the result.

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
    io::{self, Read},
    path::PathBuf,
    sync::Arc,
};

use rrd_core::{
    cursor::{self, Cursor, FIRST_LINE_BYTES, Next, TAIL_BYTES},
    fact::{Fact, issue},
    fold::{Fold, Turn},
    frame::{Frame, Framer},
    harness::{Format, Parser, ParserState},
    long::Long,
};
use rrd_proto::{Body, Event, SessionKey};

use super::{branches, source::Source};
use crate::store::{Commit, DatabaseState, FileState, StoredEvent};

/// Read at once.
const CHUNK: usize = 256 << 10;

/// A commit is made at the first chunk's end after so many bytes: few enough for bounded queues, many
/// enough that a gigabyte is a thousand commits.
const STRETCH: u64 = 1 << 20;

/// Head of a large transcript that is read for a first row: a Codex header alone is 22 KB.
const HEAD: usize = 64 << 10;

/// Tail that is read for a first row; single records reach 72 KB, so it grows until one that tells
/// whose move it is has been seen, up to [`MAX_TAIL`].
const TAIL: u64 = 64 << 10;
const MAX_TAIL: u64 = 4 << 20;

/// A torn last line this long is not read again before its newline has come.
const LONG_TORN: u64 = 64 << 10;

thread_local! {
    /// What a thread reads into, time and again: so many bytes taken and given back among what stays
    /// would leave holes.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// One transcript in work: what it is and where it stands.
#[derive(Debug)]
pub(crate) struct Work {
    /// How to read it.
    pub(crate) format: &'static Format,
    /// The file.
    pub(crate) path: PathBuf,
    /// The bytes are zstd frames.
    pub(crate) zstd: bool,
    /// Where it stands; its `session` is what the file's name says, or what a record said better.
    pub(crate) file: FileState,
    /// Keys of records taken before, while some may come again.
    pub(crate) seen: Option<HashSet<u64>>,
    /// The last look found a torn line up to here, and this hash of its end.
    pub(crate) torn: Option<(u64, u64)>,
    /// The file's former path, when it was moved.
    pub(crate) moved_from: Option<String>,
    /// Another transcript of the same session may have given meanwhile what follows here.
    pub(crate) may_repeat: bool,
    /// Whatever an older reader stored of the session goes with the next commit.
    pub(crate) reset: bool,
    /// Keys of records that do not stand, where that was found out before they are read.
    pub(crate) left: Option<HashSet<u64>>,
}

/// How it went.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// Everything up to the last newline has been taken.
    UpToDate,
    /// The transcript belongs to another session than its name says; nothing has been taken.
    OtherSession(String),
}

/// Where stretches go, and where earlier ones are looked up.
pub(crate) trait Ledger {
    /// Takes one stretch; may wait.
    fn commit(&self, commit: Commit);
    /// Everything in this database has been taken, and handed over before. Forgotten is as good: it
    /// will be looked at again.
    fn database(&self, _: DatabaseState) {}
    /// Keys of every record of a session taken before.
    ///
    /// # Errors
    /// When they cannot be had now: without them, records would be taken twice.
    fn keys(&self, session: &SessionKey) -> io::Result<HashSet<u64>>;
    /// What is kept of all that an event says; nothing where nobody will ask for it.
    fn keep(&self, _: &Event, _: &Long<'_>) -> Option<Body> {
        None
    }
    /// True when what is read now should be left for the next start.
    fn is_over(&self) -> bool {
        false
    }
}

/// Takes everything beyond the cursor into `fold`, stretch by stretch.
pub(crate) fn take(
    work: &mut Work,
    fold: &mut Arc<Fold>,
    ledger: &dyn Ledger,
) -> io::Result<Taken> {
    let source = Source::open(&work.path)?;
    let next = if work.zstd {
        // A compressed rollout is written once; whatever it repeats of the plain one is dropped.
        if work.file.cursor.offset == 0 { Next::Continue } else { Next::Restart }
    } else {
        cursor::next(&work.file.cursor, &source.look(&work.file.cursor)?)
    };
    work.file.cursor.id = source.id;
    match next {
        Next::Nothing => {
            // Stopped in the middle, with what came then cut off meanwhile.
            let left = work.file.parser.has_left;
            if left || (source.size, source.mtime) != (work.file.size, work.file.mtime) {
                let mut state = work.file.parser.clone();
                let standing =
                    work.standing(&mut state, &source, work.file.cursor.offset, ledger)?;
                work.file.parser = state;
                work.settle(&source);
                ledger.commit(work.stretch(fold, Stretch { standing, ..Stretch::default() }));
            }
            return Ok(Taken::UpToDate);
        }
        Next::Continue => {}
        Next::Restart => {
            let epoch = work.file.cursor.epoch + 1;
            work.file.cursor = Cursor { epoch, ..Cursor::start(source.id) };
            // What stood before may be left now, and what was left stand.
            work.file.parser =
                ParserState { has_left: work.format.entries.is_some(), ..ParserState::default() };
            work.torn = None;
            // What has been taken since they were read may come again, too.
            work.seen = None;
            Arc::make_mut(fold).skip_ahead();
            if !work.zstd {
                Arc::make_mut(fold).note(issue::REWRITTEN, None);
            }
        }
    }
    // Records may come again when the file was begun anew, or when another file gave some already.
    let another = work.file.cursor.offset == 0 && fold.has_taken_any() && !work.reset;
    if another && work.file.cursor.epoch == 0 {
        // For as long as it is read, over restarts as well.
        work.file.cursor.epoch = 1;
    }
    if work.seen.is_none() && (work.file.cursor.epoch > 0 || work.may_repeat) {
        work.seen = Some(ledger.keys(&work.file.session)?);
    }
    if work.is_still_torn(&source)? {
        work.settle(&source);
        return Ok(Taken::UpToDate);
    }
    if work.zstd {
        let mut stream = source.unzstd()?;
        return work.read(fold, &source, &mut |buf, _| stream.read(buf), ledger);
    }
    work.read(fold, &source, &mut |buf, at| source.read_at(buf, at), ledger)
}

/// What a cursor remembers of the bytes as they were read; the file may hold others by now.
#[derive(Default)]
struct Trail {
    /// The first ones.
    head: Vec<u8>,
    /// The last ones.
    last: Vec<u8>,
    /// Hash of the last ones when the last newline was read.
    line: u64,
}

impl Trail {
    fn follow(&mut self, chunk: &[u8]) {
        let room = (FIRST_LINE_BYTES as usize).saturating_sub(self.head.len());
        self.head.extend_from_slice(&chunk[..room.min(chunk.len())]);
        let whole = memchr::memrchr(b'\n', chunk).map_or(0, |at| at + 1);
        if whole > 0 {
            self.keep(&chunk[..whole]);
            self.line = rrd_core::hash(&self.last);
        }
        self.keep(&chunk[whole..]);
    }

    fn keep(&mut self, bytes: &[u8]) {
        let most = TAIL_BYTES as usize;
        let bytes = &bytes[bytes.len().saturating_sub(most)..];
        self.last.drain(..(self.last.len() + bytes.len()).saturating_sub(most));
        self.last.extend_from_slice(bytes);
    }
}

/// What one stretch gave so far.
#[derive(Default)]
struct Stretch {
    events: Vec<StoredEvent>,
    marks: Vec<u64>,
    standing: HashMap<u64, bool>,
}

impl Work {
    /// Leaves fold and cursor in step, also when reading fails on the way.
    fn read(
        &mut self,
        fold: &mut Arc<Fold>,
        source: &Source,
        read: &mut dyn FnMut(&mut [u8], u64) -> io::Result<usize>,
        ledger: &dyn Ledger,
    ) -> io::Result<Taken> {
        let mut sound = Arc::clone(fold);
        let mut buf = BUFFER.take();
        let taken = self.read_on(fold, &mut sound, source, read, &mut buf, ledger);
        BUFFER.set(buf);
        if taken.is_err() {
            *fold = sound;
        }
        taken
    }

    fn read_on(
        &mut self,
        fold: &mut Arc<Fold>,
        sound: &mut Arc<Fold>,
        source: &Source,
        read: &mut dyn FnMut(&mut [u8], u64) -> io::Result<usize>,
        buf: &mut Vec<u8>,
        ledger: &dyn Ledger,
    ) -> io::Result<Taken> {
        let mut parser = (self.format.parser)(self.file.parser.clone());
        let mut framer = Framer::new(self.file.cursor.offset);
        // Together with the bytes before the cursor: they must be what they were when the rest is read.
        let before = if self.zstd { 0 } else { self.file.cursor.offset.min(TAIL_BYTES) as usize };
        let mut before = Some(before).filter(|len| *len > 0);
        let mut trail = Trail { line: self.file.cursor.tail, ..Trail::default() };
        let mut at = self.file.cursor.offset - before.unwrap_or(0) as u64;
        let unread = usize::try_from(source.size.saturating_sub(at)).unwrap_or(CHUNK);
        let len = if self.zstd { CHUNK } else { unread.clamp(1, CHUNK) };
        buf.resize(buf.len().max(len), 0);
        let buf = &mut buf[..len];
        let (mut stretch, mut other) = (Stretch::default(), None);
        loop {
            if ledger.is_over() {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let got = match read(buf, at) {
                // Not the disk's error but the frame's: no second try gives more of it.
                Err(error) if self.zstd && error.raw_os_error().is_none() => {
                    Arc::make_mut(fold).note(issue::DAMAGED, Some(at));
                    0
                }
                read => read?,
            };
            at += got as u64;
            let mut chunk = &buf[..got];
            if let Some(len) = before.take() {
                let (tail, rest) = chunk.split_at(len.min(got));
                if rrd_core::hash(tail) != self.file.cursor.tail {
                    // Rewritten this moment: the next look sees it, and starts again.
                    return Ok(Taken::UpToDate);
                }
                trail.last.extend_from_slice(tail);
                chunk = rest;
            }
            trail.follow(chunk);
            let folding = Arc::make_mut(fold);
            framer.feed(chunk, &mut |frame| {
                if other.is_none() {
                    other = self.line(folding, parser.as_mut(), frame, &mut stretch, ledger);
                }
            });
            if let Some(id) = other {
                return Ok(Taken::OtherSession(id));
            }
            let ended = got == 0 || (!self.zstd && at >= source.size);
            if ended || framer.consumed() - self.file.cursor.offset >= STRETCH {
                let mut state = parser.state();
                if ended {
                    let to = framer.consumed();
                    stretch.standing = self.standing(&mut state, source, to, ledger)?;
                }
                self.advance(&framer, &trail, state);
                if ended {
                    self.torn = Some((at, rrd_core::hash(&trail.last)));
                    self.settle(source);
                } else {
                    // Not read to its end: no later start may take it for unchanged.
                    (self.file.size, self.file.mtime) = (self.file.cursor.offset, 0);
                }
                ledger.commit(self.stretch(fold, std::mem::take(&mut stretch)));
                *sound = Arc::clone(fold);
            }
            if ended {
                return Ok(Taken::UpToDate);
            }
        }
    }

    /// Takes one line; the id of the session it says it belongs to, when that is another one.
    fn line(
        &mut self,
        fold: &mut Fold,
        parser: &mut dyn Parser,
        frame: Frame<'_>,
        stretch: &mut Stretch,
        ledger: &dyn Ledger,
    ) -> Option<String> {
        let (offset, line) = match frame {
            Frame::Line { offset, bytes } => (offset, bytes),
            Frame::Oversized { offset, .. } => {
                fold.note(issue::OVERSIZED, Some(offset));
                return None;
            }
        };
        let parsed = parser.line(line);
        for fact in &parsed.facts {
            if let Fact::SessionId(id) = fact
                && *id != self.file.session.session_id
            {
                return Some(id.to_string());
            }
        }
        let key = parsed.key.unwrap_or_else(|| rrd_core::hash(line));
        if self.seen.as_ref().is_some_and(|seen| seen.contains(&key)) {
            fold.again(parsed);
            return None;
        }
        let before = stretch.events.len();
        let is_left = self.left.as_ref().is_some_and(|left| left.contains(&key));
        let mut tell = |mut event: Event, whole: Option<&Long<'_>>| {
            event.withdrawn = is_left;
            event.body = whole.and_then(|whole| ledger.keep(&event, whole));
            stretch.events.push(StoredEvent { event, offset, key });
        };
        if fold.apply_to(parsed, offset, &mut tell) {
            if let Some(seen) = &mut self.seen {
                seen.insert(key);
            }
            if stretch.events.len() == before {
                stretch.marks.push(key);
            }
        }
        None
    }

    /// Where a branch was left since that was last found out: of each record up to the offset `to`, whether
    /// it stands.
    fn standing(
        &self,
        state: &mut ParserState,
        source: &Source,
        to: u64,
        ledger: &dyn Ledger,
    ) -> io::Result<HashMap<u64, bool>> {
        let has_left = std::mem::take(&mut state.has_left) && self.left.is_none();
        let Some(entries) = self.format.entries.filter(|_| has_left) else {
            return Ok(HashMap::new());
        };
        let tree = branches::tree(source, self.zstd, to, entries, ledger)?;
        state.tip = tree.tip();
        Ok(tree.standing())
    }

    fn advance(&mut self, framer: &Framer, trail: &Trail, state: ParserState) {
        let cursor = &mut self.file.cursor;
        cursor.offset = framer.consumed();
        if !self.zstd {
            cursor.tail = trail.line;
            if cursor.first_line.is_none() && cursor.offset > 0 {
                cursor.first_line = super::source::hash_of_first_line(&trail.head);
            }
        }
        self.file.parser = state;
    }

    fn settle(&mut self, source: &Source) {
        (self.file.size, self.file.mtime) = (source.size, source.mtime);
    }

    /// Finds out which records stand before they are read, for whoever cannot be told afterwards.
    pub(crate) fn look_ahead(&mut self, ledger: &dyn Ledger) -> io::Result<()> {
        let Some(entries) = self.format.entries else { return Ok(()) };
        let tree =
            branches::tree(&Source::open(&self.path)?, self.zstd, u64::MAX, entries, ledger)?;
        let standing = tree.standing().into_iter();
        self.left = Some(standing.filter(|(_, stands)| !stands).map(|(key, _)| key).collect());
        Ok(())
    }

    /// A commit of what is known, without anything new read.
    pub(crate) fn restate(&mut self, fold: &Arc<Fold>) -> Commit {
        self.stretch(fold, Stretch::default())
    }

    fn stretch(&mut self, fold: &Arc<Fold>, stretch: Stretch) -> Commit {
        Commit {
            file: self.file.clone(),
            fold: Arc::clone(fold),
            events: stretch.events,
            marks: stretch.marks,
            reset: std::mem::take(&mut self.reset),
            moved_from: self.moved_from.take(),
            standing: stretch.standing,
        }
    }

    fn is_still_torn(&mut self, source: &Source) -> io::Result<bool> {
        let Some((to, end)) = self.torn.filter(|_| !self.zstd) else { return Ok(false) };
        // A writer that starts again may cut off what it had torn.
        if to.saturating_sub(self.file.cursor.offset) < LONG_TORN
            || source.size < to
            || source.tail_hash(to)? != end
            || source.has_newline(to, source.size)?
        {
            return Ok(false);
        }
        self.torn = Some((source.size, source.tail_hash(source.size)?));
        Ok(true)
    }
}

/// What head and tail gave.
#[derive(Debug)]
pub(crate) enum Glanced {
    /// A copy of what is known of the session, with them.
    Known(Box<Fold>),
    /// The transcript belongs to another session than its name says.
    OtherSession(String),
}

/// Reads head and tail of a large transcript into a copy of what is known of its session.
pub(crate) fn glance(work: &Work, fold: &Fold) -> io::Result<Glanced> {
    let source = Source::open(&work.path)?;
    let mut parser = (work.format.parser)(work.file.parser.clone());
    let mut fold = fold.clone();
    if work.zstd {
        let mut buf = vec![0; HEAD];
        let got = read_full(&mut source.unzstd()?, &mut buf)?;
        let named = feed(&mut fold, parser.as_mut(), 0, &buf[..got]);
        return Ok(match named.filter(|id| *id != work.file.session.session_id) {
            Some(other) => Glanced::OtherSession(other),
            None => Glanced::Known(Box::new(fold)),
        });
    }
    let from = work.file.cursor.offset;
    let mut buf = vec![0; HEAD];
    if from == 0 {
        let got = source.read_at(&mut buf, 0)?;
        let named = feed(&mut fold, parser.as_mut(), 0, &buf[..got]);
        if let Some(other) = named.filter(|id| *id != work.file.session.session_id) {
            return Ok(Glanced::OtherSession(other));
        }
    }
    fold.skip_ahead();
    let mut within = TAIL;
    loop {
        let mut tail = fold.clone();
        let start = source.size.saturating_sub(within).max(from);
        let begins = if start == from { Some(from) } else { source.line_start(start, 1)? };
        buf.resize(usize::try_from(source.size - start).unwrap_or(0), 0);
        let got = source.read_at(&mut buf, start)?;
        let bytes = &buf[..got];
        // Unless it starts at a line's beginning, the first line is the end of one.
        let skip = match begins {
            Some(_) => 0,
            None => memchr::memchr(b'\n', bytes).map_or(got, |at| at + 1),
        };
        feed(&mut tail, parser.as_mut(), start + skip as u64, &bytes[skip..]);
        if tail.turn() != Turn::Unknown || within >= MAX_TAIL || start == from {
            return Ok(Glanced::Known(Box::new(tail)));
        }
        within *= 4;
    }
}

/// The session that a record names, if one does.
fn feed(fold: &mut Fold, parser: &mut dyn Parser, offset: u64, bytes: &[u8]) -> Option<String> {
    let (mut events, mut named) = (Vec::new(), None);
    Framer::new(offset).feed(bytes, &mut |frame| {
        if let Frame::Line { offset, bytes } = frame {
            let parsed = parser.line(bytes);
            let id = parsed.facts.iter().find_map(|fact| match fact {
                Fact::SessionId(id) => Some(id.to_string()),
                _ => None,
            });
            named = named.take().or(id);
            fold.apply(parsed, offset, &mut events);
            events.clear();
        }
    });
    named
}

fn read_full(stream: &mut dyn Read, buf: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buf.len() {
        match stream.read(&mut buf[filled..])? {
            0 => break,
            n => filled += n,
        }
    }
    Ok(filled)
}
