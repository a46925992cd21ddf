//! What a command asks first, asked again of a daemon that begins anew at that moment.
//!
//! Not here: what is asked again while something is waited for ([`crate::waits`], [`crate::messages`]).

use std::{
    path::Path,
    thread::sleep,
    time::{Duration, Instant},
};

use crate::{
    ask::Answerer,
    connect::{self, Connection, Unreachable},
    error::{CliError, Kind},
};

/// A daemon that ends while it is asked has so long to come back.
pub(crate) const BACK: Duration = Duration::from_secs(10);

/// A daemon that is not there is looked for so often.
pub(crate) const AGAIN: Duration = Duration::from_millis(300);

/// A daemon that has answered.
pub(crate) struct There {
    pub(crate) daemon: Connection,
    /// It was not, or did not answer, before: when it has just begun it may not know every session yet.
    pub(crate) is_anew: bool,
}

/// Dials, and asks this first. A daemon that ends or hangs meanwhile is asked again when it is back, for ten seconds
/// and not beyond the deadline; where there is none from the beginning, nobody waits for one.
pub(crate) fn first<T>(
    socket: &Path,
    deadline: Option<Instant>,
    ask: impl Fn(&Answerer) -> Result<T, CliError>,
) -> Result<(T, There), CliError> {
    let until = Instant::now() + BACK;
    let until = deadline.map_or(until, |deadline| deadline.min(until));
    let mut is_anew = false;
    loop {
        let error = match connect::dial(socket) {
            Ok(daemon) => {
                let answerer = Answerer::Daemon(daemon);
                match (ask(&answerer), answerer) {
                    (Ok(told), Answerer::Daemon(daemon)) => {
                        return Ok((told, There { daemon, is_anew }));
                    }
                    (Ok(_), Answerer::Scan(_)) => {
                        return Err(CliError::new(Kind::Internal, "nobody but a daemon was asked"));
                    }
                    (Err(error), _) => error,
                }
            }
            Err(Unreachable::NotRunning) if !is_anew => {
                return Err(Unreachable::NotRunning.into_error());
            }
            Err(passes @ (Unreachable::NotRunning | Unreachable::Silent)) => passes.into_error(),
            Err(lasts) => return Err(lasts.into_error()),
        };
        let passes = match error.kind() {
            Kind::NoDaemon => true,
            Kind::NotFound => is_anew,
            _ => false,
        };
        if !passes || Instant::now() >= until {
            return Err(error);
        }
        sleep(AGAIN);
        is_anew = true;
    }
}
