//! Where the beginning of a fork of Codex lies here: another thread's rollout, up to a byte that is looked for anew.
//!
//! What is here of that thread may be another form of it than was forked: an older copy, or one that is redacted, of which
//! each line may be of another length. Records keep their numbers in all of them. Not here: what a fork says
//! ([`rrd_core::resume::Base`]).

use std::{
    collections::HashSet,
    fs::File,
    io::{self, BufRead, Read, Write},
    path::{Path, PathBuf},
};

use memchr::memmem;
use rrd_core::{
    frame::{Frame, Framer},
    redact::{Redactor, Report},
    resume::{Base, End, Header, Layout, No, beginning_to, ordinal},
};
use tempfile::NamedTempFile;

use super::{CHUNK, MAX_FIRST_LINE, beside::plain, existing, no};

/// What is in a copy from which something was taken.
const MARKS: [&[u8]; 2] = [b"[REDACTED:", b"{\"redacted\":\"oversized line\""];

/// Where nothing can be written that goes on with it.
const AS_TEXT: &str = "rrd sessions export ID --format md gives a text to begin a new one with";

/// What there is to say of where it begins.
#[derive(Debug, PartialEq, Eq)]
enum Begins {
    /// Where it says.
    AsSaid,
    /// In another form of what was forked, up to this byte.
    At(u64),
    /// Nothing tells where.
    Unknown,
}

/// Whether a transcript that is here begins where it says, where it is a fork of Codex: `next` is what helps where what
/// it begins in is here in another form.
///
/// # Errors
/// [`No`] where its harness would refuse it, or go on with another past.
pub fn begins(
    home: &Path,
    transcript: &Path,
    redactor: impl FnOnce() -> Redactor,
    next: &str,
) -> Result<(), No> {
    match found(home, &first_line(transcript), redactor)? {
        (Begins::At(_), base) => {
            let form = "which is here in another form (redacted)";
            Err(no(format!("it is a fork, and its beginning lies in session {base}, {form}"), next))
        }
        // Its harness may know.
        (Begins::AsSaid | Begins::Unknown, _) => Ok(()),
    }
}

/// The first line of a transcript.
pub(super) fn first_line(path: &Path) -> Vec<u8> {
    let mut line = Vec::new();
    if let Ok(file) = plain(path) {
        let _ = file.take(MAX_FIRST_LINE).read_until(b'\n', &mut line);
    }
    line
}

/// What has come, beginning where it does here: another file, where that is another byte; and in which session.
pub(super) fn begun(
    home: &Path,
    came: &Path,
    redactor: impl FnOnce() -> Redactor,
    staging: &Path,
) -> Result<Option<(NamedTempFile, String)>, No> {
    let line = first_line(came);
    let (byte, base) = match found(home, &line, redactor)? {
        (Begins::AsSaid, _) => return Ok(None),
        (Begins::At(byte), base) => (byte, base),
        (Begins::Unknown, base) => {
            let why = format!(
                "it is a fork, and its beginning lies in session {base}, whose records here have no numbers that tell \
                 where it ends"
            );
            return Err(no(why, AS_TEXT));
        }
    };
    let changed = || {
        let begins = beginning_to(&line, byte).ok_or(io::ErrorKind::InvalidData)?;
        let mut file = tempfile::Builder::new().tempfile_in(staging)?;
        file.write_all(&begins)?;
        let mut rest = File::open(came)?;
        io::Seek::seek(&mut rest, io::SeekFrom::Start(line.len() as u64))?;
        io::copy(&mut rest, &mut file)?;
        file.as_file().sync_all()?;
        Ok(file)
    };
    match changed() {
        Ok(file) => Ok(Some((file, base))),
        Err(error) => Err(unreadable(came, &error)),
    }
}

/// Where it begins, and in which session; each that this one begins in must be whole, too.
fn found(
    home: &Path,
    line: &[u8],
    redactor: impl FnOnce() -> Redactor,
) -> Result<(Begins, String), No> {
    let Some(Base { thread, end }) = Header::of(line).base else {
        return Ok((Begins::AsSaid, String::new()));
    };
    let path = rollout(home, &thread, "its beginning")?;
    let begins = match end {
        None => Begins::AsSaid,
        Some(end) => ends(&path, end, &thread, redactor)?,
    };
    let (mut seen, mut last) = (HashSet::from([thread.clone()]), (thread.clone(), path));
    while let Some(Base { thread, end }) = Header::of(&first_line(&last.1)).base
        && seen.insert(thread.clone())
    {
        let path = rollout(home, &thread, &format!("the beginning of session {}", last.0))?;
        let reached = end.map(|end| Ok((end, reaches(&path, end, &thread)?))).transpose()?;
        if let Some((end, Some(byte))) = reached
            && byte != end.byte
        {
            let (of, at) = (&last.0, last.1.display());
            let why = format!(
                "it is a fork of session {of}, which begins in session {thread}, and that is here in another form \
                 (redacted) than {at} says"
            );
            return Err(no(why, format!("move that away, and rrd resume {of} first")));
        }
        last = (thread, path);
    }
    Ok((begins, thread))
}

fn rollout(home: &Path, thread: &str, what: &str) -> Result<PathBuf, No> {
    existing(Layout::Codex, home, thread, "").ok_or_else(|| {
        let why = format!("it is a fork, and {what} lies in session {thread}, which is not here");
        no(why, format!("rrd resume {thread} first"))
    })
}

/// Where what was forked ends in this rollout.
fn ends(
    path: &Path,
    end: End,
    thread: &str,
    redactor: impl FnOnce() -> Redactor,
) -> Result<Begins, No> {
    let Some(byte) = reaches(path, end, thread)? else { return Ok(Begins::Unknown) };
    if byte == end.byte {
        return Ok(Begins::AsSaid);
    }
    if is_form(path, byte, end.byte, &redactor()).map_err(|error| unreadable(path, &error))? {
        return Ok(Begins::At(byte));
    }
    let why = format!(
        "it is a fork, and its beginning lies in session {thread}, of which something else is here than it was forked from"
    );
    Err(no(why, AS_TEXT))
}

/// The byte at which the first record begins that is not its past; nothing where numbers do not tell.
///
/// What stands for a record that was too long has no number of its own: it is the next one.
fn reaches(path: &Path, end: End, thread: &str) -> Result<Option<u64>, No> {
    let (mut next, mut at, mut is_first) = (None, None, true);
    let mut length = 0;
    each(path, &mut |frame| {
        let (begin, number) = match frame {
            Frame::Line { offset, bytes } => {
                length = offset + bytes.len() as u64 + 1;
                (*offset, ordinal(bytes).or(next))
            }
            Frame::Oversized { offset, len } => {
                length = offset + len + 1;
                (*offset, next)
            }
        };
        if is_first && number.is_none_or(|number| number >= end.ordinal) {
            return false;
        }
        is_first = false;
        next = number.map(|number| number + 1);
        if number.is_some_and(|number| number >= end.ordinal) {
            at = Some(begin);
        }
        at.is_none()
    })
    .map_err(|error| unreadable(path, &error))?;
    match next {
        _ if at.is_some() => Ok(at),
        Some(next) if next >= end.ordinal => Ok(Some(length)),
        Some(_) => {
            let why = format!(
                "it is a fork, and its beginning lies in session {thread}, of which only an older copy is here that \
                 ends before it"
            );
            Err(no(why, format!("rrd resume {thread} first")))
        }
        None => Ok(None),
    }
}

/// Whether what is here up to this byte can be another form of what had so many bytes where it was forked: what is here
/// is redacted, or was so there.
fn is_form(path: &Path, byte: u64, there: u64, redactor: &Redactor) -> io::Result<bool> {
    let (mut is_marked, mut length) = (false, 0);
    each(path, &mut |frame| {
        let report = &mut Report::default();
        let (begin, redacted) = match frame {
            Frame::Line { offset, bytes } => {
                is_marked |=
                    *offset < byte && MARKS.iter().any(|mark| memmem::find(bytes, mark).is_some());
                (*offset, redactor.line(bytes, report).as_ref().len())
            }
            Frame::Oversized { offset, len } => {
                (*offset, redactor.oversized(*len, report).as_ref().len())
            }
        };
        if begin < byte {
            length += redacted as u64 + 1;
        }
        begin < byte && !is_marked
    })?;
    Ok(is_marked || length == there)
}

/// Each whole line, as long as more of them are wanted.
fn each(path: &Path, take: &mut dyn FnMut(&Frame<'_>) -> bool) -> io::Result<()> {
    let mut file = plain(path)?;
    let (mut framer, mut chunk, mut goes_on) = (Framer::new(0), vec![0; CHUNK], true);
    while goes_on {
        let got = file.read(&mut chunk)?;
        if got == 0 {
            break;
        }
        framer.feed(&chunk[..got], &mut |frame| goes_on = goes_on && take(&frame));
    }
    Ok(())
}

fn unreadable(path: &Path, error: &io::Error) -> No {
    no(format!("{} cannot be read: {error}", path.display()), "rrd doctor looks into it")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const OTHER: &str = "01a1f88d-5e35-7ca1-835f-bf472c0191ac";

    fn line(number: u64, says: &str) -> String {
        format!(
            "{{\"ordinal\":{number},\"type\":\"event_msg\",\"payload\":{{\"says\":\"{says}\"}}}}\n"
        )
    }

    fn secret() -> String {
        format!("{}_{}", "ghp", "Ab3dEf6hIj9kLm2nOp5qRs8tUv1wXy4zAb7c")
    }

    #[test]
    fn where_it_begins_is_found_by_numbers() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r.jsonl");
        let found = |text: &str, end: End| {
            fs::write(&path, text).unwrap();
            ends(&path, end, OTHER, Redactor::default).map_err(|no| no.why)
        };
        let raw: String = [line(0, "a"), line(1, &secret()), line(2, "c"), line(3, "d")].concat();
        let redacted = raw.replace(&secret(), "[REDACTED:github-token]");
        let upto = |text: &str, lines: usize| -> u64 {
            text.split_inclusive('\n').take(lines).map(|line| line.len() as u64).sum()
        };
        for lines in 1..=4 {
            let end = |text| End { ordinal: lines as u64, byte: upto(text, lines) };
            assert_eq!(found(&raw, end(&raw)), Ok(Begins::AsSaid));
            if lines > 1 {
                assert_eq!(found(&redacted, end(&raw)), Ok(Begins::At(upto(&redacted, lines))));
                assert_eq!(found(&raw, end(&redacted)), Ok(Begins::At(upto(&raw, lines))));
            }
            // What stands for a line that was too long is a record, too.
            let stand_in =
                format!("{}{{\"redacted\":\"oversized line\",\"bytes\":9}}\n", line(0, "a"));
            let stood = stand_in + &line(2, "c") + &line(3, "d");
            if lines > 1 {
                assert_eq!(found(&stood, end(&raw)), Ok(Begins::At(upto(&stood, lines))));
            }
            let torn = &raw[..raw.len() - 1];
            let is_short = found(torn, End { ordinal: 4, byte: raw.len() as u64 });
            assert!(is_short.unwrap_err().contains("only an older copy"));
        }
        let end = End { ordinal: 3, byte: upto(&raw, 3) };
        let short: String = raw.split_inclusive('\n').take(2).collect();
        assert!(found(&short, end).unwrap_err().contains("only an older copy"));
        // Neither what was forked nor that redacted.
        let other = raw.replace("\"c\"", "\"something else\"");
        assert!(found(&other, end).unwrap_err().contains("something else is here"));
        for text in ["", "{}\n{}\n{}\n{}\n", &*(line(3, "a") + &line(4, "b"))] {
            assert_eq!(found(text, end), Ok(Begins::Unknown), "{text}");
        }
        let packed = dir.path().join("r.jsonl.zst");
        fs::write(&packed, zstd::encode_all(redacted.as_bytes(), 3).unwrap()).unwrap();
        let at = ends(&packed, end, OTHER, Redactor::default);
        assert_eq!(at.unwrap(), Begins::At(upto(&redacted, 3)));
    }
}
