//! What a replay asks for, and what it is told: the two ends of the channels between the screen and the
//! threads behind it.
//!
//! Not here: who answers ([`super::source`], [`super::search`]).

use rrd_proto::{Event, NodeId, Outline, Session, SessionKey, Stretch};

/// A lane's session, as it is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Of {
    pub(crate) lane: usize,
    pub(crate) key: SessionKey,
    pub(crate) node: Option<NodeId>,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Marks after this seq, or all of them.
    Outline { of: Of, after: Option<u64> },
    /// When it had which status.
    Stretches { of: Of },
    /// The events of a page: so many before a seq.
    Page { of: Of, page: usize, before: u64, count: u32 },
    /// One event with its body.
    Body { of: Of, seq: u64 },
    /// The subagents of a session, and theirs.
    Lanes { of: Of, host: String },
}

/// What tells one question from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Id {
    Outline(usize),
    Stretches(usize),
    Page(usize, usize),
    Body(usize, u64),
    Lanes,
}

impl Ask {
    pub(crate) fn id(&self) -> Id {
        match self {
            Self::Outline { of, .. } => Id::Outline(of.lane),
            Self::Stretches { of } => Id::Stretches(of.lane),
            Self::Page { of, page, .. } => Id::Page(of.lane, *page),
            Self::Body { of, seq } => Id::Body(of.lane, *seq),
            Self::Lanes { .. } => Id::Lanes,
        }
    }
}

/// A text to look for in all events, bodies too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Search {
    /// Which search of this replay it is.
    pub(crate) number: u64,
    pub(crate) text: String,
    /// Lanes in the order in which they are looked through.
    pub(crate) legs: Vec<Leg>,
}

/// What is looked through of a lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Leg {
    pub(crate) of: Of,
    /// The first and the last seq, and the one to begin at: what is ahead comes first.
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) begin: u64,
}

/// What the screen is told.
#[derive(Debug)]
pub(crate) enum Told {
    Outline {
        lane: usize,
        outline: Outline,
    },
    Page {
        lane: usize,
        page: usize,
        events: Vec<Event>,
    },
    Body {
        lane: usize,
        seq: u64,
        event: Option<Event>,
    },
    /// The subagents there are, each with how far beneath the main lane it is, from 1.
    Lanes(Vec<(usize, Session)>),
    Stretches {
        lane: usize,
        stretches: Vec<Stretch>,
    },
    /// Nobody looked for it: newer questions came first.
    Skipped(Id),
    /// There is no answer, and why.
    Failed(Id, String),
    /// Events of the main lane that just happened.
    Happened(Vec<Event>),
    /// The row of the main lane as it is now.
    Row(Box<Session>),
    /// The events of the main lane cannot be followed now, and why; none when they are again.
    Trouble(Option<String>),
    /// Where a search found something, how many events it has looked at, and of how many of these without
    /// it not all is there any more.
    Found {
        number: u64,
        lane: usize,
        seqs: Vec<u64>,
        looked_at: u64,
        in_part: u64,
        done: bool,
    },
}
