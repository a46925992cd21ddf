//! What `rrd demo` is made of: hosts with homes of their own, and harnesses that are only played.
//!
//! The daemons, the fleet and the lists are the real ones; only who writes the transcripts is not. Not
//! here: what happens in which order, and how it is told ([`crate::commands`]).

mod host;
mod transcript;

pub(crate) use host::{Host, Seen};
pub(crate) use transcript::{Played, Transcript};
