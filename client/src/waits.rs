//! One wait for other sessions, for the command line and for MCP alike: begun anew, from where it was, with
//! whatever daemon there is.
//!
//! Not here: when to stop asking, and how what came of it is shown.

use std::{path::Path, thread::sleep, time::Duration};

use rrd_proto::{
    Refusal, SessionKey,
    wait::{Awaited, Until, WaitCall, WaitNews, WaitTarget},
};

use crate::{
    connect::{self, Connection, Unreachable},
    error::{CliError, Kind},
};

/// A daemon that is not there is looked for so often.
const AGAIN: Duration = Duration::from_millis(300);

/// What is waited for.
pub(crate) struct Waiting<'a> {
    socket: &'a Path,
    /// None while the daemon is away.
    daemon: Option<Connection>,
    waiter: Option<SessionKey>,
    targets: Vec<Awaited>,
    until: Until,
    any: bool,
    /// As the daemon calls it, once it has begun there.
    handle: Option<u64>,
    news: Option<WaitNews>,
    /// Why it has not begun yet.
    refused: Option<Refusal>,
}

impl<'a> Waiting<'a> {
    pub(crate) fn new(
        (socket, daemon): (&'a Path, Connection),
        waiter: Option<SessionKey>,
        targets: Vec<Awaited>,
        until: Until,
        any: bool,
    ) -> Self {
        let daemon = Some(daemon);
        let (handle, news, refused) = (None, None, None);
        Self { socket, daemon, waiter, targets, until, any, handle, news, refused }
    }

    /// How it stands, as far as it is known.
    pub(crate) fn news(&self) -> Option<&WaitNews> {
        self.news.as_ref()
    }

    /// Asks how it stands: the first time at once, then when that is news, at the latest after so long. A daemon
    /// that is gone, or does not know every session yet, is asked anew the next time.
    pub(crate) fn ask(&mut self, within: Duration) -> Result<(), CliError> {
        let Some(daemon) = &self.daemon else {
            sleep(AGAIN.min(within));
            match connect::dial(self.socket) {
                Ok(again) => self.daemon = Some(again),
                Err(Unreachable::NotRunning | Unreachable::Silent) => {}
                Err(other) => return Err(other.into_error()),
            }
            return Ok(());
        };
        let wait_ms = u32::try_from(within.as_millis()).unwrap_or(u32::MAX).max(1);
        let (call, wait) = match self.handle {
            Some(handle) => (WaitCall::Next { handle, wait_ms }, within),
            None => (self.begin(), Duration::ZERO),
        };
        match daemon.wait(&call, wait) {
            Ok(Ok(news)) => {
                self.handle = Some(news.handle);
                // So that a daemon that begins anew knows whom, whatever else begins so by then.
                self.targets = news.targets.iter().map(again).collect();
                self.news = Some(news);
            }
            // Nobody asked in time, or it is a daemon that may not know that session yet.
            Ok(Err(no)) if no.passes => {
                self.handle = None;
                self.refused = Some(no.why);
                sleep(AGAIN.min(within));
            }
            Ok(Err(no)) => return Err(no.into()),
            Err(error) if error.kind() == Kind::NoDaemon && self.news.is_some() => {
                (self.daemon, self.handle) = (None, None);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn begin(&self) -> WaitCall {
        let Self { waiter, targets, until, any, .. } = self;
        WaitCall::Begin {
            waiter: waiter.clone(),
            targets: targets.clone(),
            until: until.clone(),
            any: *any,
        }
    }

    /// Why it has not begun, where it has not.
    pub(crate) fn refused(&mut self) -> CliError {
        match self.refused.take() {
            Some(why) => why.into(),
            None => CliError::new(Kind::NoDaemon, "the daemon did not answer in time"),
        }
    }
}

impl Drop for Waiting<'_> {
    /// Nobody is shown to wait on. Where that cannot be said, the daemon notices.
    fn drop(&mut self) {
        let is_open = self.news.as_ref().is_some_and(|news| news.came.is_none());
        if let (Some(daemon), Some(handle), true) = (&self.daemon, self.handle, is_open) {
            let _ = daemon.wait(&WaitCall::End { handle }, Duration::ZERO);
        }
    }
}

fn again(target: &WaitTarget) -> Awaited {
    let id = format!("{}/{}/{}", target.host, target.harness, target.session_id);
    Awaited { id, from: target.from, outcome: target.outcome.clone() }
}
