//! The driver of rrd: everything that blocks or fails. A library; the binary is the client's.
//!
//! [`run()`] is the daemon in the foreground, [`Daemon`] one in this process; [`Scan`] answers the same
//! questions once, without one. Data flows one way: `tail` reads transcripts and looks at processes,
//! the hub holds what is known, [`store`] makes it durable, the local socket answers. Not here: rules
//! (rrd-core), flags, tables (the client).

mod answers;
mod audience;
mod bindings;
pub mod config;
mod deletion;
mod desk;
mod dirs;
pub mod edge;
pub mod export;
mod fill;
mod fleet;
mod forget;
mod gossip;
mod graphs;
mod health;
mod hooks;
mod http;
mod hub;
mod messages;
mod mirror;
mod notices;
mod others;
mod process;
pub mod redact;
mod register;
mod repo;
pub mod resume;
mod rpc;
mod run;
mod scan;
mod sdk;
mod search;
mod statuses;
pub mod store;
mod tail;
mod tasks;
mod waits;
mod words;

pub(crate) use config::Config;
pub use dirs::Dirs;
pub use fleet::Listen;
pub use process::{Process, ProcessTable, ancestors, pid_domain};
pub use rrd_core::harness::formats;
pub use run::{Daemon, RunError, run};
pub use scan::Scan;
