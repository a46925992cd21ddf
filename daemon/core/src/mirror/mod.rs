//! What a mirrored session looks like in a bucket, and how it is read back.
//!
//! Each transcript is a *stream*: a directory of *parts*, each some whole records, redacted, one a line.
//! One host writes a stream at a time. Its claim is a create-only `owner-NNNN.json`, which begins an
//! *epoch*: from its first part on, only that host's parts count ([`read`]). A transcript that was rewritten
//! begins an epoch too, which says what of the earlier records still stands ([`order`]); only what is not
//! there yet is uploaded. `meta.json` is derived from these and says nothing that could not be found out
//! again ([`meta`]).
//!
//! ```text
//! <project>/sessions/<harness>/<session-id>/
//!     owner-0001.json                    who writes from which part on
//!     part-00000-1f2e3d4c.jsonl          whole records, in order, disjoint
//!     merge-00000-1f2e3d4c.json          parts that this one was made of, while they are there
//!     meta.json                          what there is, for whoever looks
//!     subagents/agent-<id>/…             a delegate's transcript, the same again
//! ```
//!
//! The layout is tracecraft's (0.2.5, observed), so that either reads what the other wrote; owners, merges
//! and delegates are ours. Not here: buckets, files, and when something is uploaded.

pub mod due;
pub mod merge;
pub mod meta;
pub mod name;
pub mod order;
pub mod owner;
pub mod read;

pub use merge::{Merge, Merged};
pub use meta::Meta;
pub use name::{Digest, PartName, StreamName};
pub use owner::{Claim, Owner, Why};
