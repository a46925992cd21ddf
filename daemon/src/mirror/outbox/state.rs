//! How far a stream has been taken, as the outbox has it.

use rrd_core::cursor::Cursor;
use rrd_proto::Timestamp;
use serde::{Deserialize, Serialize};

use crate::mirror::target::Version;

/// How far a stream has been taken.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct State {
    /// By which it was brought.
    #[serde(default = "Rules::earlier")]
    pub(crate) rules: Rules,
    /// Where the source is read from; of a session in a database `PATH#SESSION`.
    pub(crate) path: String,
    /// Where to read on; none before the first part.
    pub(crate) cursor: Option<Cursor>,
    /// The epoch that is written; 0 before the first claim.
    pub(crate) epoch: u32,
    /// The number of the next part.
    pub(crate) next_seq: u32,
    /// Another host writes it: its label.
    pub(crate) theirs: Option<String>,
    /// This one could, and leaves it to that host, which brings the same transcript.
    pub(crate) left: bool,
    /// The source has what is not there, all the same, and since when that is known.
    pub(crate) diverged: Option<Timestamp>,
    /// `meta.json` does not say all there is.
    pub(crate) meta_is_due: bool,
    /// The version of it that this host wrote last.
    pub(crate) meta: Option<Version>,
    /// What `meta.json` says of a delegate beside its parts, by its mark.
    pub(crate) delegate: Option<u64>,
    /// The source as it looked when there was nothing more in it: size and modification time.
    pub(crate) settled: Option<(u64, i64)>,
    /// Parts there that do not count, and with which nothing went: what was in them is there, or nobody's.
    pub(crate) aside: Vec<String>,
    /// Records that were there, went from there, and are in no transcript: nothing can bring them again.
    pub(crate) lost: u64,
    /// Bytes that went from the source before they were brought, and of which nothing would tell that they are back.
    pub(crate) gone: u64,
    /// Something went so, and nobody knows how much.
    pub(crate) gone_unseen: bool,
    /// What else went so with the source: counted until it is there again.
    pub(crate) went: Vec<Went>,
    /// The source is not there, and what went with it is noted down.
    pub(crate) is_away: bool,
    /// Rows that were not brought when the source was looked at while the place failed: hashes, and bytes …
    pub(crate) unbrought: Vec<(u64, u64)>,
    /// … and as it looked then.
    pub(crate) seen: Option<(u64, i64)>,
    /// Other transcripts here that would lie where this one does there.
    pub(crate) beside: Vec<Beside>,
    /// The bucket keeps it no longer: the last record of the session that was deleted there, or, while there
    /// is an epoch, that is being deleted. It is brought there again if it goes on.
    pub(crate) pruned: Option<Timestamp>,
}

/// The rules of a release, by number: what was brought by other ones is compared once with its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rules(u32);

impl Default for Rules {
    fn default() -> Self {
        Self(1)
    }
}

impl Rules {
    /// Of releases that did not say.
    fn earlier() -> Self {
        Self(0)
    }

    pub(crate) fn are_current(self) -> bool {
        self == Self::default()
    }
}

impl State {
    /// Bytes that were seen in the source and are not there, where it has no more of them to give.
    pub(crate) fn missing(&self) -> u64 {
        self.lacking() + self.unbrought.iter().map(|(_, bytes)| bytes).sum::<u64>()
    }

    /// The same, but for what it may still have.
    pub(crate) fn lacking(&self) -> u64 {
        self.gone + self.went.iter().filter_map(|went| went.bytes).sum::<u64>()
    }

    /// Something went, and nobody knows how much.
    pub(crate) fn is_unseen(&self) -> bool {
        self.gone_unseen || self.went.iter().any(|went| went.bytes.is_none())
    }

    /// Something of it went before it was brought.
    pub(crate) fn is_short(&self) -> bool {
        self.is_unseen() || self.missing() > 0
    }

    /// When its rows were noted down last, all of them were there.
    pub(crate) fn is_all_noted(&self) -> bool {
        self.seen.is_some() && self.seen == self.settled && self.unbrought.is_empty()
    }

    /// What is known of the source, whatever the bucket has of it.
    pub(crate) fn kept(&self) -> Self {
        Self {
            path: self.path.clone(),
            gone: self.gone,
            gone_unseen: self.gone_unseen,
            went: self.went.clone(),
            is_away: self.is_away,
            unbrought: self.unbrought.clone(),
            seen: self.seen,
            beside: self.beside.clone(),
            ..Self::default()
        }
    }

    /// Transcripts beside it of which not all is there.
    pub(crate) fn only_here(&self) -> u64 {
        self.beside.iter().filter(|one| one.has_more).count() as u64
    }
}

/// What went with a source before it was brought.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Went {
    /// Bytes of it; nothing where nobody saw how much.
    pub(crate) bytes: Option<u64>,
    /// How the source ended: what ends so has all of it.
    pub(crate) end: End,
}

/// How a source ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct End {
    /// As far as the index read it …
    pub(crate) at: Cursor,
    /// … and so long a file was seen.
    pub(crate) size: u64,
}

/// A transcript of the same name as one that is brought.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Beside {
    pub(crate) path: String,
    /// As it looked when it was compared: size and modification time.
    pub(crate) looks: Option<(u64, i64)>,
    /// It has records that are not there.
    pub(crate) has_more: bool,
}
