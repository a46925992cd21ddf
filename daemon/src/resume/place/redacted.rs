//! Whether what is here is how what has come begins, but for what was taken out of one of the two on its way.
//!
//! A session that was resumed elsewhere from a redacted copy, went on there and comes home finds the file that the copy was
//! made of: what was secret is here and stays. Where it goes on at home, and comes from there as it is, it finds that copy:
//! that stays, too. What is new follows what is here. Not here: files that are the same byte by byte ([`super::beside`]).

use std::{
    borrow::Cow,
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom},
    path::Path,
};

use rrd_core::{
    frame::MAX_LINE,
    redact::{Redactor, Report},
    resume::Unsigned,
};
use tempfile::NamedTempFile;

/// How what has come is to what is here.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Behind {
    /// Everything that has come is here, and more.
    All,
    /// What is here is how it begins; from this byte on it is new.
    From(u64),
}

/// Compares them line by line; nothing where they differ otherwise, or what is here ends within a line.
///
/// `is_signed`: its harness signs thinking, which goes where something was taken out of it.
pub(super) fn compare(
    came: &Path,
    here: &Path,
    redactor: &Redactor,
    is_signed: bool,
) -> io::Result<Option<Behind>> {
    let mut came = Side::of(came, redactor, is_signed)?;
    let mut here = Side::of(here, redactor, is_signed)?;
    let mut expected = came.next()?;
    while let Some(ours) = here.next()? {
        let is_left_out = ours.copied.is_none();
        loop {
            let Some(theirs) = &expected else { return Ok(Some(Behind::All)) };
            if ours.line == Line::Torn || theirs.line == Line::Torn {
                return Ok(None);
            }
            if ours.is(theirs) || ours.is_copied_as(theirs) || theirs.is_copied_as(&ours) {
                expected = came.next()?;
            } else if is_left_out {
                // What has come lacks it.
            } else if theirs.copied.is_none() {
                // What is here lacks it.
                expected = came.next()?;
                continue;
            } else {
                return Ok(None);
            }
            break;
        }
    }
    Ok(Some(if expected.is_some() { Behind::From(came.lines.begin) } else { Behind::All }))
}

/// One of the two, with what becomes of each of its lines where it is copied redacted.
struct Side<'a> {
    lines: Lines,
    redactor: &'a Redactor,
    unsigned: Option<Unsigned>,
}

/// A line, and what a redacted copy has of it.
struct Both {
    line: Line,
    /// `None` where it is left out.
    copied: Option<Vec<u8>>,
}

impl Both {
    /// Of what is too long to be looked at nobody knows.
    fn is(&self, other: &Self) -> bool {
        matches!((&self.line, &other.line), (Line::Whole(line), Line::Whole(other)) if line == other)
    }

    fn is_copied_as(&self, other: &Self) -> bool {
        matches!((&self.copied, &other.line), (Some(copied), Line::Whole(line)) if copied == line)
    }
}

impl<'a> Side<'a> {
    fn of(path: &Path, redactor: &'a Redactor, is_signed: bool) -> io::Result<Self> {
        let unsigned = is_signed.then(Unsigned::default);
        Ok(Self { lines: Lines::of(path)?, redactor, unsigned })
    }

    fn next(&mut self) -> io::Result<Option<Both>> {
        let Some(line) = self.lines.next()? else { return Ok(None) };
        let report = &mut Report::default();
        let redacted = match &line {
            Line::Whole(line) => self.redactor.line(line, report).as_ref().to_vec(),
            Line::Oversized(bytes) => self.redactor.oversized(*bytes, report).as_ref().clone(),
            Line::Torn => Vec::new(),
        };
        let copied = match &mut self.unsigned {
            Some(unsigned) => unsigned.line(&redacted).map(Cow::into_owned),
            None => Some(redacted),
        };
        Ok(Some(Both { line, copied }))
    }
}

/// A line without its newline.
#[derive(Debug, PartialEq, Eq)]
enum Line {
    Whole(Vec<u8>),
    /// So many bytes, more than a record has.
    Oversized(u64),
    /// The file ends within it.
    Torn,
}

/// The lines of a file, of which one at a time is held.
struct Lines {
    file: BufReader<File>,
    /// Where the last one that was given begins, and the next one.
    begin: u64,
    next: u64,
}

impl Lines {
    fn of(path: &Path) -> io::Result<Self> {
        Ok(Self { file: BufReader::new(File::open(path)?), begin: 0, next: 0 })
    }

    fn next(&mut self) -> io::Result<Option<Line>> {
        self.begin = self.next;
        let mut line = Vec::new();
        let mut length =
            (&mut self.file).take(MAX_LINE as u64 + 1).read_until(b'\n', &mut line)? as u64;
        if length > MAX_LINE as u64 && line.last() != Some(&b'\n') {
            line.clear();
            length += self.skip()?;
        }
        self.next += length;
        Ok(match line.pop() {
            None if length == 0 => None,
            None => Some(Line::Oversized(length - 1)),
            Some(b'\n') => Some(Line::Whole(line)),
            Some(_) => Some(Line::Torn),
        })
    }

    /// The rest of a line, with its newline.
    fn skip(&mut self) -> io::Result<u64> {
        let mut skipped = 0;
        loop {
            let bytes = self.file.fill_buf()?;
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let taken = end.map_or(bytes.len(), |end| end + 1);
            skipped += taken as u64;
            let is_over = end.is_some() || bytes.is_empty();
            self.file.consume(taken);
            if is_over {
                return Ok(skipped);
            }
        }
    }
}

/// What is here, and after it what has come from this byte on: a file beside, to be put in its place.
pub(super) fn joined(
    came: &Path,
    from: u64,
    here: &Path,
    staging: &Path,
) -> io::Result<NamedTempFile> {
    let mut file = tempfile::Builder::new().tempfile_in(staging)?;
    io::copy(&mut File::open(here)?, &mut file)?;
    let mut rest = File::open(came)?;
    rest.seek(SeekFrom::Start(from))?;
    io::copy(&mut rest, &mut file)?;
    file.as_file().sync_all()?;
    Ok(file)
}
