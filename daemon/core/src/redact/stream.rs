//! Redacts a stream in whatever pieces it arrives.
//!
//! A secret may be cut by any border between two reads, so nothing is looked at before its line is whole;
//! memory is bounded by the longest line. A line over [`crate::frame::MAX_LINE`] is not kept and cannot
//! be looked at as a whole, so it must not pass: a record that says how long it was stands in for it.

use crate::frame::{Frame, Framer};

use super::{Redacted, Redactor, Report};

/// Takes the number of a line, the line, and the report so far.
pub type Emit<'a> = &'a mut dyn FnMut(u64, Redacted<&[u8]>, &mut Report);

/// Lines in, redacted lines out.
#[derive(Debug)]
pub struct Stream<'a> {
    redactor: &'a Redactor,
    framer: Framer,
    lines: u64,
}

impl<'a> Stream<'a> {
    /// Starts at the beginning of a line.
    #[must_use]
    pub fn new(redactor: &'a Redactor) -> Self {
        Self { redactor, framer: Framer::new(0), lines: 0 }
    }

    /// Takes the next bytes; calls `emit` with the number of each line they complete (from 1), and the line.
    pub fn feed(&mut self, chunk: &[u8], report: &mut Report, emit: Emit<'_>) {
        let (redactor, lines) = (self.redactor, &mut self.lines);
        self.framer.feed(chunk, &mut |frame| {
            *lines += 1;
            match frame {
                Frame::Line { bytes, .. } => {
                    let line = redactor.line(bytes, report);
                    emit(*lines, Redacted(line.as_ref()), report);
                }
                Frame::Oversized { len, .. } => {
                    let line = redactor.oversized(len, report);
                    emit(*lines, Redacted(line.as_ref()), report);
                }
            }
        });
    }

    /// Whether a last line without a newline is still held.
    #[must_use]
    pub fn is_torn(&self) -> bool {
        self.framer.torn_len() > 0
    }

    /// Leaves out a last line without a newline: what comes next is another one.
    pub fn drop_torn(&mut self) {
        self.framer = Framer::new(self.framer.consumed());
    }

    /// Ends the stream: a last line without a newline comes out now.
    pub fn finish(&mut self, report: &mut Report, emit: Emit<'_>) {
        if self.is_torn() {
            self.feed(b"\n", report, emit);
        }
    }
}
