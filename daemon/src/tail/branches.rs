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
