//! The rules of rrd, sans-IO: bytes and `now` in, facts out.
//!
//! No clock, file, socket, thread, task or log: everything comes in as an argument, so a test can
//! replay a recording, and the same bytes give the same answer everywhere.

pub mod binding;
pub mod body;
pub mod calls;
pub mod cursor;
pub mod fact;
pub mod fleet;
pub mod fold;
pub mod frame;
pub mod graph;
pub mod harness;
pub mod hook;
mod line;
pub mod live;
pub mod long;
pub mod message;
pub mod mirror;
pub mod notices;
pub mod redact;
pub mod register;
pub mod repo;
pub mod resume;
pub mod roster;
pub mod sdk;
pub mod search;
pub mod status;
pub mod task;
pub mod tree;
pub mod wait;
pub mod workplace;

/// The hash behind every stored identity (record keys, first lines, cursor tails): XXH3, 64 bits.
/// On disk, so it must never change.
#[must_use]
pub fn hash(bytes: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(bytes)
}
