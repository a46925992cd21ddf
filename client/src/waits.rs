//! One wait for other sessions, for the command line and for MCP alike: begun anew, from where it was, with
//! whatever daemon there is.
//!
//! Not here: when to stop asking, and how what came of it is shown.

use std::{
    path::Path,
    thread::sleep,
    time::{Duration, Instant},
};

use rrd_proto::{
    HostState, Refusal, SessionKey,
    wait::{Awaited, Seen, Until, WaitCall, WaitNews, WaitTarget},
};

use crate::{
    absence::Absence,
    again::AGAIN,
    connect::{self, Connection, Unreachable},
    error::{CliError, Kind},
};

/// What is waited for.
pub(crate) struct Waiting<'a> {
    socket: &'a Path,
    /// None while the daemon is away.
    daemon: Option<Connection>,
    absence: Absence,
    /// Hardly longer than until then does any call take.
    deadline: Option<Instant>,
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
        (absence, deadline): (Absence, Option<Instant>),
        waiter: Option<SessionKey>,
        targets: Vec<Awaited>,
        until: Until,
        any: bool,
    ) -> Self {
        let daemon = Some(daemon);
        let (handle, news, refused) = (None, None, None);
        Self {
            socket,
            daemon,
            absence,
            deadline,
            waiter,
            targets,
            until,
            any,
            handle,
            news,
            refused,
        }
    }

    /// How it stands is what was known when the daemon last answered.
    pub(crate) fn is_without_daemon(&self) -> bool {
        self.absence.is_now()
    }

    /// How it stands, as far as it is known.
    pub(crate) fn news(&self) -> Option<&WaitNews> {
        self.news.as_ref()
    }

    /// Asks how it stands: the first time at once, then when that is news, at the latest after so long. A daemon
    /// that is gone, or does not know every session yet, is asked anew the next time.
    pub(crate) fn ask(&mut self, within: Duration) -> Result<(), CliError> {
        let Some(daemon) = &self.daemon else {
            self.absence.begins_or_lasts();
            sleep(AGAIN.min(within));
            match connect::dial_by(self.socket, self.deadline) {
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
        // The first call of all may take its time: nothing is known before it is answered.
        let deadline = self.deadline.filter(|_| self.news.is_some());
        let answer = daemon.wait(&call, wait, deadline);
        if answer.is_ok() {
            self.absence.ends();
        }
        match answer {
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
            Err(error) if error.kind() == Kind::NoDaemon => {
                (self.daemon, self.handle) = (None, None);
                self.absence.begins_or_lasts();
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
            let _ = daemon.wait(&WaitCall::End { handle }, Duration::ZERO, Some(Instant::now()));
        }
    }
}

fn again(target: &WaitTarget) -> Awaited {
    let WaitTarget { host, harness, session_id, from, outcome, .. } = target;
    let key = SessionKey { harness: harness.clone(), session_id: session_id.clone() };
    let is_here = target.host_state == Some(HostState::Here);
    let node = target.node_id.parse().ok().filter(|_| !is_here);
    let seen = (is_here || node.is_some()).then_some(Seen { node, key });
    let id = format!("{host}/{harness}/{session_id}");
    Awaited { id, seen, from: *from, outcome: outcome.clone() }
}
