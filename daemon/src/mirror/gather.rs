//! Reads on in a transcript and makes parts of what is new.
//!
//! Whole lines only: a secret may be cut by the border between two reads, so nothing goes out before its
//! line is whole. A transcript that is not what it was is compared, record by record, with what the bucket
//! has, and only what is not there goes out. Not here: when, and what becomes of the parts.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use memchr::memmem;
use rrd_core::{
    cursor::{self, Cursor, Next},
    frame::{Frame, Framer},
    harness::{format_of, tables::Tables},
    mirror::{Claim, PartName, Why, meta, order::Compare},
    redact::{Redactor, Report},
    resume::wherever,
};
use rrd_proto::{SessionKey, Timestamp};

use super::{
    bars::Bars,
    body::{Bodies, Body, Draft},
    outbox::{Epoch, Part, State},
};
use crate::tail::{Source, database_looks, each_row, mtime};

/// A part is closed once it has so many bytes; its last record may make it longer.
pub(crate) const PART: u64 = 8 << 20;

/// What is read at once.
const CHUNK: usize = 256 << 10;

/// Who writes, and how records become what is sent.
pub(crate) struct Writer<'a> {
    /// As other hosts know it.
    pub(crate) node: &'a str,
    /// What its user calls it.
    pub(crate) host: &'a str,
    /// `None`: the bytes as they are, as the user asked of this target.
    pub(crate) redactor: Option<&'a Redactor>,
    /// Where that is written.
    pub(crate) bodies: Bodies,
    pub(crate) now: Timestamp,
    pub(crate) bars: Bars<'a>,
}

/// What a stream has.
#[derive(Debug, Default)]
pub(crate) struct There {
    /// Every record's hash, in order.
    pub(crate) hashes: Vec<u64>,
    /// Which of them the transcript was made of last; nothing where that cannot be followed, since whoever
    /// said it broke off.
    pub(crate) transcript: Option<Vec<(u64, u64)>>,
}

/// What came of a look at a source.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    /// Begins with these parts.
    pub(crate) epoch: Option<Epoch>,
    pub(crate) parts: Vec<(Part, Body)>,
    /// Where the stream stands after them.
    pub(crate) state: State,
    /// What was replaced in them.
    pub(crate) replaced: Report,
    /// There is more to be read at once.
    pub(crate) more: bool,
}

/// Where a transcript is.
#[derive(Debug, Clone)]
pub(crate) enum At {
    /// A file of lines; compressed, where its name says so.
    File(PathBuf),
    /// A session in a database.
    Rows { path: PathBuf, tables: &'static Tables, session: String },
}

impl At {
    /// Of a session whose records are at this path.
    pub(crate) fn new(key: &SessionKey, path: &Path) -> Self {
        let is_file = path.extension().is_some_and(|of| of == "jsonl" || of == "zst");
        match format_of(&key.harness).and_then(|format| format.tables) {
            Some(tables) if !is_file => {
                Self::Rows { path: path.to_owned(), tables, session: key.session_id.clone() }
            }
            _ => Self::File(path.to_owned()),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        let (Self::File(path) | Self::Rows { path, .. }) = self;
        path
    }

    /// Size and modification time; nothing where it is not there.
    pub(crate) fn looks(&self) -> Option<(u64, i64)> {
        match self {
            Self::File(path) => {
                let metadata = fs::symlink_metadata(path).ok().filter(fs::Metadata::is_file)?;
                Some((metadata.len(), mtime(&metadata)))
            }
            Self::Rows { path, .. } => database_looks(path),
        }
    }

    /// Whether only the whole of it can be compared with what is there.
    pub(super) fn is_whole(&self) -> bool {
        match self {
            Self::File(path) => path.extension().is_some_and(|of| of == "zst"),
            Self::Rows { .. } => true,
        }
    }

    /// Whether others lie in the same file.
    pub(super) fn is_in_database(&self) -> bool {
        matches!(self, Self::Rows { .. })
    }

    /// Every whole line.
    pub(super) fn lines(&self, take: &mut dyn FnMut(&Frame<'_>)) -> io::Result<u64> {
        match self {
            Self::File(path) => lines(&Source::open(path)?, self.is_whole(), take),
            Self::Rows { path, tables, session } => {
                let mut last = 0;
                each_row(path, tables, session, &mut |number, bytes| {
                    last = u64::try_from(number).unwrap_or(0);
                    take(&Frame::Line { offset: last, bytes });
                })?;
                Ok(last)
            }
        }
    }
}

/// Reads on from where `state` stands, at most about one part; all of a transcript that was rewritten.
/// `there` gives what the stream has.
pub(crate) fn gather<E: From<io::Error>>(
    writer: &Writer<'_>,
    at: &At,
    state: &State,
    there: impl FnOnce() -> Result<There, E>,
) -> Result<Gathered, E> {
    let mut gathered = Gathered { state: state.clone(), ..Gathered::default() };
    // Before it is read: what comes meanwhile is seen by the next look.
    let looks = at.looks();
    if state.settled.is_some() && state.settled == looks {
        return Ok(gathered);
    }
    let At::File(path) = at else {
        anew(writer, at, &there()?, &mut gathered)?;
        gathered.state.settled = looks;
        return Ok(gathered);
    };
    if at.is_whole() {
        anew(writer, at, &there()?, &mut gathered)?;
        gathered.state.settled = looks;
        return Ok(gathered);
    }
    let source = Source::open(path)?;
    let is_anew = match &state.cursor {
        // Of what was emptied all is compared.
        Some(cursor) if cursor.offset > 0 => match cursor::next(cursor, &source.look(cursor)?) {
            Next::Restart => Some(there()?),
            // Where it begins and ends it is what it was; in between it may not be.
            _ if may_be_rewritten(state, &source, looks) => Some(there()?),
            Next::Nothing => {
                gathered.state.settled = looks;
                return Ok(gathered);
            }
            Next::Continue => None,
        },
        _ => Some(there()?).filter(|there| !there.hashes.is_empty() || there.transcript.is_none()),
    };
    if let Some(there) = is_anew {
        let end = anew(writer, at, &there, &mut gathered)?;
        gathered.state.cursor = Some(place(&source, end)?);
        gathered.state.settled = looks;
        return Ok(gathered);
    }
    let from = state.cursor.as_ref().map_or(0, |cursor| cursor.offset);
    let mut cut = Cut::new(from);
    let (mut framer, mut at, mut buf) = (Framer::new(from), from, vec![0; CHUNK]);
    while cut.size() < PART && cut.failed.is_none() {
        let got = source.read_at(&mut buf, at)?;
        if got == 0 {
            break;
        }
        at += got as u64;
        framer.feed(&buf[..got], &mut |frame| cut.take(writer, &frame));
    }
    let to = framer.consumed();
    gathered.more = cut.size() >= PART && to < source.size;
    gathered.state.settled = looks.filter(|_| !gathered.more);
    if to > from {
        gathered.state.cursor = Some(place(&source, to)?);
        cut.close(writer, to, &mut gathered)?;
    }
    Ok(gathered)
}

/// Whether a transcript was written to in a way that appending to it does not explain: it is another file, or
/// one of another time and of the same size.
fn may_be_rewritten(state: &State, source: &Source, looks: Option<(u64, i64)>) -> bool {
    let is_other_file = state.cursor.is_some_and(|cursor| cursor.id != source.id);
    let was_touched = |((size, at), (was, before))| size == was && at != before;
    is_other_file || looks.zip(state.settled).is_some_and(was_touched)
}

/// Compares the whole of a transcript with what is there; gives where it ends.
fn anew(writer: &Writer<'_>, at: &At, there: &There, gathered: &mut Gathered) -> io::Result<u64> {
    let (mut compare, mut cuts) = (Compare::with(&there.hashes), Vec::<Cut>::new());
    let end = at.lines(&mut |frame| {
        if compare.is_new(hash(frame)) {
            if cuts.last().is_none_or(|cut| cut.size() >= PART) {
                cuts.push(Cut::new(start(frame)));
            }
            if let Some(cut) = cuts.last_mut() {
                cut.take(writer, frame);
            }
        }
    })?;
    if let Some(steps) = compare.steps(there.transcript.as_deref()) {
        let state = &mut gathered.state;
        state.epoch += 1;
        let claim = Claim {
            node: writer.node.to_owned(),
            host: writer.host.to_owned(),
            first_seq: state.next_seq,
            why: Why::Rewritten,
            at: writer.now,
            order: Some(steps),
        };
        gathered.epoch = Some(Epoch { epoch: state.epoch, claim, is_sent: false });
    }
    let starts: Vec<u64> = cuts.iter().skip(1).map(|cut| cut.from).chain([end]).collect();
    for (cut, to) in cuts.into_iter().zip(starts) {
        cut.close(writer, to, gathered)?;
    }
    Ok(end)
}

/// Takes the hash of a record as the source has it, what tells the one of its line as it would go out, and what tells
/// the one that the first line of a fork has wherever it is ([`wherever`]).
pub(crate) type Take<'a> = dyn FnMut(u64, &dyn Fn() -> u64, &dyn Fn() -> Option<u64>) + 'a;

/// Gives these of each record.
pub(crate) fn each(at: &At, redactor: Option<&Redactor>, take: &mut Take<'_>) -> io::Result<()> {
    let redacted = |frame: &Frame<'_>| {
        let report = &mut Report::default();
        match (frame, redactor) {
            (Frame::Line { bytes, .. }, Some(redactor)) => {
                rrd_core::hash(redactor.line(bytes, report).as_ref())
            }
            (Frame::Line { bytes, .. }, None) => rrd_core::hash(bytes),
            (Frame::Oversized { len, .. }, redactor) => {
                let stand_in = redactor.map(|redactor| redactor.oversized(*len, report));
                let stand_in = stand_in.unwrap_or_else(|| Redactor::new().oversized(*len, report));
                rrd_core::hash(stand_in.as_ref())
            }
        }
    };
    let anywhere = |frame: &Frame<'_>| match (frame, redactor) {
        (Frame::Line { bytes, .. }, _) if memmem::find(bytes, b"\"history_base\"").is_none() => {
            None
        }
        (Frame::Line { bytes, .. }, Some(redactor)) => {
            wherever(redactor.line(bytes, &mut Report::default()).as_ref())
        }
        (Frame::Line { bytes, .. }, None) => wherever(bytes),
        (Frame::Oversized { .. }, _) => None,
    };
    let anywhere = |frame: &Frame<'_>| anywhere(frame).map(|line| rrd_core::hash(&line));
    at.lines(&mut |frame| take(hash(frame), &|| redacted(frame), &|| anywhere(frame))).map(drop)
}

/// A cursor after the newline before `offset`.
fn place(source: &Source, offset: u64) -> io::Result<Cursor> {
    let (first_line, tail) = (source.first_line()?, source.tail_hash(offset)?);
    Ok(Cursor { id: source.id, first_line, offset, tail, epoch: 0, rows: None })
}

/// Every whole line of a file; gives where the last one ends.
fn lines(source: &Source, is_zstd: bool, take: &mut dyn FnMut(&Frame<'_>)) -> io::Result<u64> {
    let (mut framer, mut at, mut buf) = (Framer::new(0), 0_u64, vec![0; CHUNK]);
    let mut unzstd = if is_zstd { Some(source.unzstd()?) } else { None };
    loop {
        let got = match &mut unzstd {
            Some(unzstd) => unzstd.read(&mut buf)?,
            None => source.read_at(&mut buf, at)?,
        };
        if got == 0 {
            return Ok(framer.consumed());
        }
        at += got as u64;
        framer.feed(&buf[..got], &mut |frame| take(&frame));
    }
}

fn start(frame: &Frame<'_>) -> u64 {
    match frame {
        Frame::Line { offset, .. } | Frame::Oversized { offset, .. } => *offset,
    }
}

/// What tells a record from others, as the source has it.
pub(super) fn hash(frame: &Frame<'_>) -> u64 {
    match frame {
        Frame::Line { bytes, .. } => rrd_core::hash(bytes),
        // Nobody has seen it whole.
        Frame::Oversized { len, .. } => rrd_core::hash(format!("oversized {len}").as_bytes()),
    }
}

/// Its bytes in the source, with what ends it.
pub(super) fn length(frame: &Frame<'_>) -> u64 {
    match frame {
        Frame::Line { bytes, .. } => bytes.len() as u64 + 1,
        Frame::Oversized { len, .. } => len + 1,
    }
}

/// A part in the making.
struct Cut {
    from: u64,
    /// Nothing before its first record.
    body: Option<Draft>,
    /// Why it cannot be written.
    failed: Option<io::Error>,
    hashes: Vec<u64>,
    source_bytes: u64,
    report: Report,
}

impl Cut {
    fn new(from: u64) -> Self {
        Self {
            from,
            body: None,
            failed: None,
            hashes: Vec::new(),
            source_bytes: 0,
            report: Report::default(),
        }
    }

    fn size(&self) -> u64 {
        self.body.as_ref().map_or(0, Draft::size)
    }

    fn take(&mut self, writer: &Writer<'_>, frame: &Frame<'_>) {
        if self.failed.is_none() {
            self.failed = self.write(writer, frame).err();
        }
    }

    fn write(&mut self, writer: &Writer<'_>, frame: &Frame<'_>) -> io::Result<()> {
        if let Frame::Line { bytes, .. } = frame {
            writer.bars.pass(bytes)?;
        }
        let body = match &mut self.body {
            Some(body) => body,
            none => none.insert(writer.bodies.draft()?),
        };
        self.hashes.push(hash(frame));
        match (frame, writer.redactor) {
            (Frame::Line { bytes, .. }, Some(redactor)) => {
                body.write(redactor.line(bytes, &mut self.report).as_ref())?;
                self.source_bytes += bytes.len() as u64 + 1;
            }
            (Frame::Line { bytes, .. }, None) => {
                body.write(bytes)?;
                self.source_bytes += bytes.len() as u64 + 1;
            }
            (Frame::Oversized { len, .. }, redactor) => {
                // Too long to be looked at: what stands in for it says so.
                let stand_in = redactor.map(|redactor| redactor.oversized(*len, &mut self.report));
                let stand_in =
                    stand_in.unwrap_or_else(|| Redactor::new().oversized(*len, &mut self.report));
                body.write(stand_in.as_ref())?;
                self.source_bytes += len + 1;
            }
        }
        body.write(b"\n")
    }

    fn close(self, writer: &Writer<'_>, to: u64, gathered: &mut Gathered) -> io::Result<()> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let Some(body) = self.body else { return Ok(()) };
        let body = body.finish()?;
        let state = &mut gathered.state;
        let (seq, content) = (state.next_seq, body.content());
        let name = PartName::of(state.epoch, writer.node, seq, &content);
        let counts = writer.redactor.map(|redactor| redactor.counts(&self.report));
        let about = meta::Part {
            seq,
            uuid: name.tag(),
            cursor_range: Some([self.from, to]),
            source_bytes: self.source_bytes,
            uploaded_bytes: body.size(),
            redactions: counts
                .into_iter()
                .flatten()
                .map(|(rule, n)| (rule.to_owned(), n))
                .collect(),
            epoch: Some(state.epoch),
            records: Some(self.hashes.len() as u64),
            sha256: Some(content.to_string()),
            redactor: Some(
                if writer.redactor.is_some() { meta::REDACTOR } else { meta::RAW }.into(),
            ),
            ..meta::Part::default()
        };
        gathered.replaced.add(&self.report);
        state.next_seq += 1;
        state.meta_is_due = true;
        gathered.parts.push((Part { name, about, hashes: self.hashes }, body));
        Ok(())
    }
}
