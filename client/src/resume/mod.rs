//! What `rrd resume` does beside asking and printing: finds the session and a clone for it, and gets the copy.
//!
//! Not here: the command itself ([`crate::commands`]), rules and writing, which are the daemon's library's.

pub(crate) mod ahead;
pub(crate) mod clone;
pub(crate) mod copy;
pub(crate) mod whence;
pub(crate) mod which;
