//! The rules of rrd, sans-IO: bytes and `now` in, facts out.
//!
//! No clock, file, socket, thread, task or log: everything comes in as an argument, so a test can
//! replay a recording, and the same bytes give the same answer everywhere.

pub mod fact;
pub mod harness;
pub mod live;
