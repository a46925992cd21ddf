//! The driver of rrd: everything that blocks or fails. A library; the binary is the client's.
//!
//! [`run`] is the daemon in the foreground; [`Scan`] answers the same questions once, without one.

pub mod config;
mod dirs;

pub use dirs::Dirs;

use rrd_proto::{EventPage, EventQuery, IndexProgress, ListQuery, ListReply, Lookup};

use config::Config;

/// Why the daemon cannot start or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Another daemon has this `RRD_HOME`.
    #[error("another rrd daemon (pid {pid}) already uses {home}")]
    AlreadyRunning {
        /// Its process, 0 when it cannot be told.
        pid: u32,
        /// The directory both want.
        home: String,
    },
    /// Something it cannot do without failed.
    #[error(transparent)]
    Fatal(#[from] anyhow::Error),
}

/// Runs the daemon until it is told to stop (SIGTERM, SIGINT, Ctrl-C); `ready` is called once, when
/// the socket answers, with the socket's path.
///
/// # Errors
/// [`RunError`].
pub fn run(config: Config, ready: &mut dyn FnMut(&std::path::Path)) -> Result<(), RunError> {
    ready(&config.dirs.socket);
    Ok(())
}

/// What one look at this host's transcripts found; answers like a daemon would.
#[derive(Debug)]
pub struct Scan {}

impl Scan {
    /// Looks: whole small transcripts, head and tail of large ones. Writes nothing.
    #[must_use]
    pub fn new(_config: &Config, _progress: &mut dyn FnMut(IndexProgress)) -> Self {
        Self {}
    }

    /// The sessions that match.
    #[must_use]
    pub fn list(&self, _query: &ListQuery) -> ListReply {
        todo!()
    }

    /// One session by what a person typed.
    #[must_use]
    pub fn show(&self, _id: &str) -> Lookup {
        todo!()
    }

    /// Events of one session, read from its transcript.
    #[must_use]
    pub fn events(&self, _query: &EventQuery) -> EventPage {
        todo!()
    }
}
