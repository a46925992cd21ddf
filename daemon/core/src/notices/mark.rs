//! Marks: that something was told to a sink, by whomever. Gossip carries them, and they are kept.
//!
//! A mark is nine bytes: five that stand for kind, subject and sink, four for the second since which it was so.
//! Evidence that comes later may move that by moments, so a mark counts for what began near it. What begins
//! anew begins later than what had lasted long enough to be told, so after its own beginning a mark counts for no
//! longer than that takes.

use std::collections::{BTreeMap, VecDeque};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use rrd_proto::{NoticeKind, Timestamp};

use super::Key;

/// Bytes of a mark.
const BYTES: usize = 9;

/// Marks that a node remembers, at most; the oldest go first.
pub const MOST: usize = 1_000;

/// Marks that a node tells the others, at most: the newest. What was told at one moment beyond that, backups tell
/// again.
pub const TOLD: usize = 512;

/// For so long a mark stays that nobody needs any more, in milliseconds.
const STAYS: i64 = 60 * 60_000;

/// For so long it is told: whoever hears of it must not keep it longer than that, or nodes would remind each
/// other of it for ever.
const IS_TOLD: i64 = STAYS / 2;

/// That something was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mark {
    /// Stands for kind, subject and sink.
    pub what: u64,
    /// Since when it was so, in seconds since the epoch by its owner's clock; 0 where nobody knows.
    pub since: u32,
}

impl Mark {
    /// That this was told to that sink.
    #[must_use]
    pub fn of(key: &Key, since: Option<Timestamp>, sink: &str) -> Self {
        let text = format!("{sink}\0{}\0{}", key.kind, key.subject);
        let what = crate::hash(text.as_bytes()) >> 24;
        let since = since.map_or(0, |at| at.as_millis() / 1_000);
        Self { what, since: u32::try_from(since.max(0)).unwrap_or(u32::MAX) }
    }
}

/// How far apart the beginnings of one thing may be told, in seconds.
#[must_use]
pub const fn near(kind: NoticeKind) -> u32 {
    match kind {
        NoticeKind::NeedsYou | NoticeKind::Deadlock | NoticeKind::Finished => 5,
        NoticeKind::Crashed | NoticeKind::MirrorFailing => 60,
        // Each node heard it at another moment.
        NoticeKind::HostAwayWithWork => 180,
    }
}

/// How much later than what was told, in seconds, the same may be said to have begun, when it had to last for so
/// many milliseconds to be told: what begins after that is another one.
const fn near_after(kind: NoticeKind, lasts: i64) -> u32 {
    let seconds = lasts / 1_000;
    // Seconds are cut off, so what is apart by that many may have begun when the first was told.
    let lasted =
        if seconds < 1 { 0 } else { (if seconds > 3_600 { 3_600 } else { seconds }) as u32 - 1 };
    let least = match kind {
        // Each node heard it at a moment of its own, and an alarm need not last.
        NoticeKind::HostAwayWithWork => 30,
        NoticeKind::MirrorFailing => near(kind),
        _ => 0,
    };
    let after = if lasted > least { lasted } else { least };
    if after < near(kind) { after } else { near(kind) }
}

/// What is known to have been told.
#[derive(Debug, Clone, Default)]
pub struct Marks {
    /// With the moment from which on it is remembered, and whether what it says is still so.
    known: BTreeMap<Mark, Timestamp>,
}

impl Marks {
    /// Takes a mark; true when it is news. To hear of it again makes it no younger.
    pub fn add(&mut self, mark: Mark, now: Timestamp) -> bool {
        let is_news = !self.known.contains_key(&mark);
        self.known.entry(mark).or_insert(now);
        if self.known.len() > MOST {
            let oldest = self.known.iter().min_by_key(|(_, at)| **at).map(|(mark, _)| *mark);
            oldest.map(|mark| self.known.remove(&mark));
        }
        is_news
    }

    /// The mark by which this was told, be it by another's word on when it began; to be told it must have been so
    /// for `lasts` milliseconds.
    #[must_use]
    pub fn find(&self, wanted: Mark, kind: NoticeKind, lasts: i64) -> Option<Mark> {
        let least = wanted.since.saturating_sub(near_after(kind, lasts));
        let most = wanted.since.saturating_add(near(kind));
        let range = Mark { since: least, ..wanted }..=Mark { since: most, ..wanted };
        self.known.range(range).next().map(|(mark, _)| *mark)
    }

    /// Those that say what is still so stay; of the others none for longer than an hour.
    pub fn age(&mut self, now: Timestamp, is_so: impl Fn(Mark) -> bool) -> Vec<Mark> {
        let mut gone = Vec::new();
        self.known.retain(|mark, at| {
            if is_so(*mark) {
                *at = now;
            }
            let stays = now.since(*at) < STAYS;
            if !stays {
                gone.push(*mark);
            }
            stays
        });
        gone
    }

    /// What the others are to be told of: the newest, [`TOLD`] of them at most.
    #[must_use]
    pub fn telling(&self, now: Timestamp) -> Telling {
        let is_young = |at: Timestamp| now.since(at) < IS_TOLD;
        let mut newest: Vec<(Timestamp, Mark)> =
            self.known.iter().filter(|(_, at)| is_young(**at)).map(|(m, at)| (*at, *m)).collect();
        newest.sort_unstable_by_key(|(at, mark)| (std::cmp::Reverse(*at), *mark));
        newest.truncate(TOLD);
        // In the order in which it began: what is new changes the last text only.
        newest.sort_unstable_by_key(|(_, mark)| (mark.since, mark.what));
        Telling { left: newest.into_iter().map(|(_, mark)| mark).collect() }
    }

    /// All of them, for the disk.
    pub fn all(&self) -> impl Iterator<Item = (Mark, Timestamp)> {
        self.known.iter().map(|(mark, at)| (*mark, *at))
    }
}

/// Marks on their way into records.
#[derive(Debug, Clone, Default)]
pub struct Telling {
    left: VecDeque<Mark>,
}

impl Telling {
    /// The next of them as text of at most so many bytes; empty when there are no more.
    pub fn text(&mut self, most: usize) -> String {
        let count = self.left.len().min(most / (BYTES * 4 / 3));
        let bytes: Vec<u8> = self.left.drain(..count).flat_map(Mark::bytes).collect();
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }
}

impl Mark {
    fn bytes(self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        bytes[..5].copy_from_slice(&self.what.to_be_bytes()[3..]);
        bytes[5..].copy_from_slice(&self.since.to_be_bytes());
        bytes
    }
}

/// The marks in a text; what is none is passed by.
#[must_use]
pub fn read(text: &str) -> Vec<Mark> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).unwrap_or_default();
    let mark = |bytes: &[u8]| {
        let mut what = [0; 8];
        what[3..].copy_from_slice(bytes.get(..5)?);
        let since = u32::from_be_bytes(bytes.get(5..)?.try_into().ok()?);
        Some(Mark { what: u64::from_be_bytes(what), since })
    };
    bytes.chunks_exact(BYTES).filter_map(mark).collect()
}
