//! Turns a byte stream into complete lines.
//!
//! A harness may be mid-write when its transcript is read, so the last line is *torn* until its
//! newline arrives: it is never emitted. A line over [`MAX_LINE`] is streamed past and reported by its
//! place and length, so memory stays bounded whatever a file holds.
//!
//! Invariants, whatever the chunking: offsets are byte-exact; the emitted lines with their newlines,
//! the oversized ones and the torn tail add up to the input; no emitted line exceeds [`MAX_LINE`].
//! Not here: files, JSON, and what truncation means ([`crate::cursor`]).

use memchr::memchr;

/// The longest line that is parsed, in bytes (without its newline).
pub const MAX_LINE: usize = 16 << 20;

/// Buffers beyond this are given back after the line that needed them.
const KEEP: usize = 256 << 10;

/// One piece of the stream that ends in a newline.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A line without its newline.
    Line {
        /// Where it starts.
        offset: u64,
        /// Its bytes.
        bytes: &'a [u8],
    },
    /// A line too long to parse.
    Oversized {
        /// Where it starts.
        offset: u64,
        /// Its length without the newline.
        len: u64,
    },
}

/// Splits chunks into lines; remembers only the torn tail.
#[derive(Debug)]
pub struct Framer {
    /// Where the torn tail starts: everything before it has been emitted.
    offset: u64,
    /// The torn tail, unless it is too long to keep.
    torn: Vec<u8>,
    /// Its length; beyond `torn.len()` when it is too long to keep.
    torn_len: u64,
}

impl Framer {
    /// Starts at a line's beginning, `offset` bytes into the stream.
    #[must_use]
    pub fn new(offset: u64) -> Self {
        Self { offset, torn: Vec::new(), torn_len: 0 }
    }

    /// The offset after the last newline.
    #[must_use]
    pub fn consumed(&self) -> u64 {
        self.offset
    }

    /// Bytes after the last newline.
    #[must_use]
    pub fn torn_len(&self) -> u64 {
        self.torn_len
    }

    /// Takes the next bytes of the stream and emits every line they complete.
    pub fn feed(&mut self, mut chunk: &[u8], emit: &mut dyn FnMut(Frame<'_>)) {
        while let Some(end) = memchr(b'\n', chunk) {
            let (rest_of_line, rest) = (&chunk[..end], &chunk[end + 1..]);
            let len = self.torn_len + end as u64;
            if len > MAX_LINE as u64 {
                emit(Frame::Oversized { offset: self.offset, len });
            } else if self.torn_len == 0 {
                emit(Frame::Line { offset: self.offset, bytes: rest_of_line });
            } else {
                self.keep(rest_of_line);
                emit(Frame::Line { offset: self.offset, bytes: &self.torn });
            }
            self.offset += len + 1;
            self.torn_len = 0;
            self.torn.clear();
            self.torn.shrink_to(KEEP);
            chunk = rest;
        }
        self.torn_len += chunk.len() as u64;
        if self.torn_len > MAX_LINE as u64 {
            self.torn = Vec::new();
        } else {
            self.keep(chunk);
        }
    }

    /// Grows by doubling, but never past the limit: `Vec`'s own growth could take twice of it.
    fn keep(&mut self, bytes: &[u8]) {
        let need = self.torn.len() + bytes.len();
        if need > self.torn.capacity() {
            let target = need.max(self.torn.capacity() * 2).min(MAX_LINE.max(need));
            self.torn.reserve_exact(target - self.torn.len());
        }
        self.torn.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(input: &[u8], cuts: &[usize]) -> (Vec<(u64, Vec<u8>)>, u64) {
        let mut framer = Framer::new(0);
        let mut out = Vec::new();
        let mut emit = |frame: Frame<'_>| match frame {
            Frame::Line { offset, bytes } => out.push((offset, bytes.to_vec())),
            Frame::Oversized { offset, len } => panic!("oversized at {offset}: {len}"),
        };
        let mut rest = input;
        for cut in cuts {
            let (head, tail) = rest.split_at(cut % (rest.len() + 1));
            framer.feed(head, &mut emit);
            rest = tail;
        }
        framer.feed(rest, &mut emit);
        (out, framer.torn_len())
    }

    proptest! {
        #[test]
        fn chunking_never_changes_the_lines(
            input in proptest::collection::vec(prop_oneof![3 => any::<u8>(), 1 => Just(b'\n')], 0..400),
            cuts in proptest::collection::vec(0usize..40, 0..40),
        ) {
            let (got, torn) = lines(&input, &cuts);
            let mut want: Vec<&[u8]> = input.split(|b| *b == b'\n').collect();
            let tail = want.pop().unwrap();
            prop_assert_eq!(tail.len() as u64, torn);
            prop_assert_eq!(got.iter().map(|(_, l)| l.as_slice()).collect::<Vec<_>>(), want);
            for (offset, line) in &got {
                let start = usize::try_from(*offset).unwrap();
                prop_assert_eq!(&input[start..start + line.len()], line.as_slice());
            }
        }
    }

    #[test]
    fn a_line_beyond_the_limit_is_streamed_past() {
        let mut framer = Framer::new(10);
        let mut seen = Vec::new();
        let chunk = vec![b'x'; 1 << 20];
        for _ in 0..17 {
            framer.feed(&chunk, &mut |_| panic!("nothing is complete yet"));
        }
        assert!(framer.torn.capacity() == 0, "the buffer of a line too long is given back");
        framer.feed(b"x\nnext\n", &mut |frame| match frame {
            Frame::Oversized { offset, len } => seen.push((offset, len)),
            Frame::Line { offset, bytes } => seen.push((offset, bytes.len() as u64)),
        });
        let long = (17 << 20) + 1;
        assert_eq!(seen, [(10, long), (10 + long + 1, 4)]);
    }

    #[test]
    fn the_longest_line_that_fits_is_emitted_whole() {
        let mut framer = Framer::new(0);
        let mut longest = 0;
        for chunk in vec![b'y'; MAX_LINE].chunks(300_001) {
            framer.feed(chunk, &mut |_| panic!("nothing is complete yet"));
        }
        assert!(framer.torn.capacity() <= MAX_LINE);
        framer.feed(b"\n", &mut |frame| {
            if let Frame::Line { bytes, .. } = frame {
                longest = bytes.len();
            }
        });
        assert_eq!(longest, MAX_LINE);
        assert!(framer.torn.capacity() <= KEEP);
    }
}
