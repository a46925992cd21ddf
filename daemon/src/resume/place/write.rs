//! Writes one file of a session as it comes, with what has to be different in it.
//!
//! Not here: what it is called, and whether it may be put in place ([`super`]).

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
    sync::Arc,
};

use rrd_core::{
    frame::{Frame, Framer},
    resume::{Fork, Unsigned},
};
use tempfile::NamedTempFile;

use super::{CHUNK, TOO_MUCH};
use crate::tail::MAX_ZSTD_WINDOW_LOG;

/// A summary beside a subagent is some hundred bytes long; a longer one than this is none.
const MAX_SIDECAR: u64 = 1 << 20;

/// What is to be different in the lines that come.
pub(super) struct Change {
    pub(super) fork: Option<Arc<Fork>>,
    pub(super) unsigned: Option<Unsigned>,
}

/// One file that is being written.
pub(super) struct Writing {
    to: Unpacked,
    /// Bytes that came of it.
    pub(super) received: u64,
}

enum Unpacked {
    Plain(Box<Lines>),
    Zstd(Box<zstd::stream::write::Decoder<'static, Lines>>),
}

impl Writing {
    /// `is_sidecar`: a summary beside a subagent is one object over any lines ([`sidecar`]).
    pub(super) fn begin(
        staging: &Path,
        (is_sidecar, zstd): (bool, bool),
        change: Change,
        most: u64,
    ) -> io::Result<Self> {
        let file = tempfile::Builder::new().tempfile_in(staging)?;
        let is_changed = change.fork.is_some() || change.unsigned.is_some();
        let lines = Lines {
            // Lines are short, and a file system takes a few large writes sooner than many small ones.
            to: BufWriter::with_capacity(CHUNK, file),
            change: Some(change).filter(|_| is_changed && !is_sidecar),
            framer: Framer::new(0),
            written: 0,
            most,
        };
        let to = if zstd {
            let mut decoder = zstd::stream::write::Decoder::new(lines)?;
            decoder.window_log_max(MAX_ZSTD_WINDOW_LOG)?;
            Unpacked::Zstd(Box::new(decoder))
        } else {
            Unpacked::Plain(Box::new(lines))
        };
        Ok(Self { to, received: 0 })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.received += bytes.len() as u64;
        match &mut self.to {
            Unpacked::Plain(lines) => lines.write_all(bytes),
            Unpacked::Zstd(decoder) => decoder.write_all(bytes),
        }
    }

    /// The file, and how many blocks of thinking were left out.
    pub(super) fn end(self) -> io::Result<(NamedTempFile, u64)> {
        let mut lines = match self.to {
            Unpacked::Plain(lines) => *lines,
            Unpacked::Zstd(mut decoder) => {
                decoder.flush()?;
                decoder.into_inner()
            }
        };
        lines.end()?;
        let dropped = lines.change.as_ref().and_then(|change| change.unsigned.as_ref());
        let dropped = dropped.map_or(0, |unsigned| unsigned.dropped);
        let file = lines.to.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.as_file().sync_all()?;
        Ok((file, dropped))
    }
}

/// The summary beside a subagent that came, as a fork has it. One that is no object stays as it came.
pub(super) fn sidecar(came: &NamedTempFile, fork: &Fork) -> io::Result<()> {
    let length = came.as_file().metadata()?.len();
    if length > MAX_SIDECAR {
        return Ok(());
    }
    let bytes = std::fs::read(came.path())?;
    let mut file = File::options().write(true).truncate(true).open(came.path())?;
    file.write_all(&fork.sidecar(&bytes))?;
    file.sync_all()
}

/// Writes what comes, line by line where lines are to be different.
struct Lines {
    to: BufWriter<NamedTempFile>,
    change: Option<Change>,
    framer: Framer,
    written: u64,
    /// What it may hold: a few bytes can be unpacked to any length.
    most: u64,
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.written += bytes.len() as u64;
        if self.written > self.most {
            return Err(io::Error::other(TOO_MUCH));
        }
        let Some(change) = &mut self.change else {
            self.to.write_all(bytes)?;
            return Ok(bytes.len());
        };
        let (to, mut failed) = (&mut self.to, Ok(()));
        self.framer.feed(bytes, &mut |frame| {
            if failed.is_ok() {
                failed = change.write(frame, to);
            }
        });
        failed.map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

impl Lines {
    /// A last line without its newline is no record: another session does not begin with half of one.
    fn end(&mut self) -> io::Result<()> {
        let is_fork = self.change.as_ref().is_some_and(|change| change.fork.is_some());
        if self.framer.torn_len() > 0 && !is_fork {
            self.write_all(b"\n")?;
        }
        self.to.flush()
    }
}

impl Change {
    fn write(&mut self, frame: Frame<'_>, to: &mut dyn Write) -> io::Result<()> {
        let line = match frame {
            Frame::Line { bytes, .. } => bytes,
            Frame::Oversized { len, .. } => {
                let why = format!("a record of {len} bytes is too long to be looked at");
                return Err(io::Error::new(io::ErrorKind::InvalidData, why));
            }
        };
        let line = match &mut self.unsigned {
            None => Some(line.into()),
            Some(unsigned) => unsigned.line(line),
        };
        let Some(line) = line else { return Ok(()) };
        match &self.fork {
            Some(fork) => to.write_all(&fork.line(&line))?,
            None => to.write_all(&line)?,
        }
        to.write_all(b"\n")
    }
}
