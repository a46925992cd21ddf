//! Where to go on reading a file, and whether it is still the same file.
//!
//! A file is known by device, inode and the hash of its first line; a cursor adds the offset after the
//! last newline taken and the hash of the bytes before it. All of it is checked before each read, so
//! truncation, rewriting in place, replacement and inode reuse are each seen for what they are and
//! never as "nothing new". Elsewhere bytes were lost to inode reuse (elastic/beats#1341), to short
//! checksums (vector#2701) and to offsets saved before their line was whole (fluent-bit#11265).
//!
//! Not here: reading, and dropping what was already seen in an earlier epoch ([`crate::fold`]).

use serde::{Deserialize, Serialize};

/// How many bytes before the offset the cursor's hash covers.
pub const TAIL_BYTES: u64 = 256;

/// How much of the first line its hash covers at most: first lines may be megabytes long.
pub const FIRST_LINE_BYTES: u64 = 4096;

/// What tells one file from another, besides its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FileId {
    /// Device, or volume.
    pub device: u64,
    /// Inode, or file index (128 bits on ReFS).
    pub inode: u128,
}

/// How far a file has been taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// Which file it was.
    pub id: FileId,
    /// Hash of its first line (up to [`FIRST_LINE_BYTES`]); `None` while it has no whole line.
    pub first_line: Option<u64>,
    /// The offset after the last newline taken.
    pub offset: u64,
    /// Hash of up to [`TAIL_BYTES`] before `offset`.
    pub tail: u64,
    /// Counts how often the file was begun anew; later epochs drop what earlier ones held.
    pub epoch: u32,
    /// Of a session in a database: what has been taken of its records. `first_line` is the hash of the
    /// last one then, `tail` that of the session's own row, and `offset` means nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<Rows>,
}

/// What a session's records in a database amount to, up to some number. Records may be withdrawn,
/// deleted and put back under new numbers; whatever was done to those taken, these change with it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rows {
    /// How many there are.
    pub count: i64,
    /// How many of them stand.
    pub standing: i64,
    /// The first one's number.
    pub first: i64,
    /// The last one's number.
    pub last: i64,
    /// The sum of their numbers modulo [`Self::MODULUS`].
    pub sum: i64,
    /// The same of those that stand.
    pub standing_sum: i64,
    /// Hash of what tells that they were rewritten in another way.
    pub rewritten: u64,
}

impl Rows {
    /// Keeps sums of numbers small enough to be exact in any arithmetic.
    pub const MODULUS: i64 = 1_000_003;

    /// Counts one more in.
    pub fn add(&mut self, number: i64, stands: bool) {
        if self.count == 0 {
            self.first = number;
        }
        self.count += 1;
        self.standing += i64::from(stands);
        self.last = number;
        self.sum += number % Self::MODULUS;
        self.standing_sum += if stands { number % Self::MODULUS } else { 0 };
    }
}

impl Cursor {
    /// The start of a file never seen.
    #[must_use]
    pub fn start(id: FileId) -> Self {
        Self { id, first_line: None, offset: 0, tail: crate::hash(b""), epoch: 0, rows: None }
    }
}

/// What the file looks like now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Which file it is.
    pub id: FileId,
    /// Its size in bytes.
    pub size: u64,
    /// Hash of its first line, where it has a whole one.
    pub first_line: Option<u64>,
    /// Hash of up to [`TAIL_BYTES`] before the cursor's offset; `None` when the file is shorter.
    pub tail: Option<u64>,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Nothing beyond the cursor.
    Nothing,
    /// Read on from the cursor.
    Continue,
    /// Not what it was: read from the start as a new epoch.
    Restart,
}

/// Compares a cursor with the file as it is now.
#[must_use]
pub fn next(cursor: &Cursor, look: &Look) -> Next {
    // A first line is only comparable once the cursor has one; a file without a whole line when it
    // was last looked at has given us nothing that could be repeated.
    let same_beginning = cursor.first_line.is_none() || cursor.first_line == look.first_line;
    let same_end = look.tail == Some(cursor.tail);
    if cursor.offset == 0 {
        // Nothing was taken, so nothing can be taken twice, whatever happened to the file.
        return if look.size == 0 { Next::Nothing } else { Next::Continue };
    }
    if look.size < cursor.offset || !same_beginning || !same_end {
        return Next::Restart;
    }
    // The same bytes under another inode are the same transcript: restored, copied over, or swapped
    // through a temporary file by an editor.
    if look.size == cursor.offset { Next::Nothing } else { Next::Continue }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: FileId = FileId { device: 1, inode: 7 };

    fn cursor() -> Cursor {
        Cursor { id: ID, first_line: Some(11), offset: 100, tail: 5, epoch: 0, rows: None }
    }

    fn look(size: u64, first_line: Option<u64>, tail: Option<u64>) -> Look {
        Look { id: ID, size, first_line, tail }
    }

    #[test]
    fn every_change_of_a_file_is_seen_for_what_it_is() {
        let same = Some(11);
        for (what, look, want) in [
            ("unchanged", look(100, same, Some(5)), Next::Nothing),
            ("appended", look(140, same, Some(5)), Next::Continue),
            ("truncated", look(60, same, None), Next::Restart),
            ("emptied", look(0, None, None), Next::Restart),
            ("rewritten shorter", look(90, Some(12), None), Next::Restart),
            ("rewritten to the same length", look(100, same, Some(6)), Next::Restart),
            ("rewritten longer", look(200, same, Some(6)), Next::Restart),
            ("replaced, same end by chance", look(200, Some(12), Some(5)), Next::Restart),
        ] {
            assert_eq!(next(&cursor(), &look), want, "{what}");
        }
        let moved = Look { id: FileId { device: 1, inode: 8 }, ..look(140, same, Some(5)) };
        assert_eq!(next(&cursor(), &moved), Next::Continue, "same bytes, other inode");
    }

    #[test]
    fn nothing_taken_means_nothing_to_repeat() {
        let fresh = Cursor::start(ID);
        assert_eq!(next(&fresh, &look(0, None, Some(fresh.tail))), Next::Nothing);
        assert_eq!(next(&fresh, &look(9, None, Some(fresh.tail))), Next::Continue);
    }
}
