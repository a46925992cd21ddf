//! Waiting for another session, as a tool.
//!
//! A model's call must end before its client gives up, so a wait is short and says how to go on. Not here: the
//! other tools, and what a tool is ([`super::tools`]).

use std::time::{Duration, Instant};

use rrd_proto::wait::{Awaited, Came, Until, WaitNews};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    reply::{Reply, wrong},
    tools::{Call, parsed, within},
};
use crate::{absence::Absence, again, error::CliError, waits::Waiting};

/// Seconds that one call waits, unless told otherwise, and at most: clients give up after a minute or more.
const SECONDS: u64 = 45;
const MAX_SECONDS: u64 = 600;

/// A client that gives up is noticed within.
const LOOK: Duration = Duration::from_secs(1);

/// Sessions of one call.
const MAX_IDS: usize = 16;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WaitFor {
    /// The sessions: refs, unique starts of session_ids, or host/harness/session_id; 1 to 16.
    ids: Vec<String>,
    /// What to wait for: idle (its turn is over), ended, waiting (it asks a person), error, or match=REGEX in
    /// what it says and does, as ripgrep's: Unicode, ^ and $ the ends of a line. idle by default.
    until: Option<String>,
    /// One of several sessions is enough.
    #[serde(default)]
    any: bool,
    /// Wait on while the host of one of them is away.
    #[serde(default)]
    patient: bool,
    /// At most so many seconds: 1 to 600, 45 by default.
    seconds: Option<u64>,
    /// The event of each session to go on from, as the last answer told it in `from`: so nothing is missed
    /// between two calls.
    from: Option<Vec<Option<u64>>>,
}

pub(super) fn wait_for(call: &Call, args: WaitFor) -> Result<Reply, CliError> {
    let until: Until = parsed("until", args.until.as_deref())?.unwrap_or(Until::Idle);
    let seconds = within("seconds", args.seconds.unwrap_or(SECONDS), MAX_SECONDS)?;
    if args.ids.is_empty() || args.ids.len() > MAX_IDS {
        return Err(wrong(format!("ids names 1 to {MAX_IDS} sessions")));
    }
    let deadline = Instant::now() + Duration::from_secs(seconds);
    let socket = &*call.config().dirs.socket;
    let (you, there) = again::first(socket, Some(deadline), |answerer| call.caller(answerer))?;
    let waiter = you.map(|you| you.key);
    let from = args.from.unwrap_or_else(|| vec![None; args.ids.len()]);
    if from.len() != args.ids.len() {
        return Err(wrong(
            "from has one entry for each of ids, as the last answer told them".to_owned(),
        ));
    }
    let awaited = |(id, from)| Awaited { from, ..Awaited::new(id) };
    let targets = args.ids.into_iter().zip(from).map(awaited).collect();
    let bounds = (Absence::said_by(|_| ()), Some(deadline));
    let at = (socket, there.daemon);
    let mut waiting = Waiting::new(at, bounds, waiter, targets, until, args.any);
    let mut within = Duration::ZERO;
    loop {
        waiting.ask(within)?;
        let left = deadline.saturating_duration_since(Instant::now());
        let is_over = left.is_zero() || call.is_left();
        match waiting.news() {
            Some(news) => {
                let is_held_up = !args.patient && news.held_up(args.any).is_some();
                if news.came.is_some() || is_held_up || is_over {
                    return Ok(told(news, is_held_up));
                }
            }
            None if is_over => return Err(waiting.refused()),
            None => {}
        }
        within = left.min(LOOK);
    }
}

fn told(news: &WaitNews, is_held_up: bool) -> Reply {
    let (outcome, note) = match news.came {
        Some(came @ Came::True) => (came.as_str(), None),
        Some(came @ Came::Unknown) => (
            came.as_str(),
            Some(
                "a host does not know its session any more, or (host_state null) is in the fleet no more: see \
                 list_sessions with all",
            ),
        ),
        Some(came @ Came::Ended) => (
            came.as_str(),
            Some("a session has ended, so that cannot come true any more: see get_session"),
        ),
        None if is_held_up => (
            "away",
            Some(
                "a host is away: nothing can be told of its sessions until it is back; patient waits on",
            ),
        ),
        None if news.targets.iter().any(|target| target.outcome.is_some()) => (
            "timeout",
            Some(
                "some are still waited for: to go on, call again with those of targets whose outcome is null, each \
                 with its from",
            ),
        ),
        None => (
            "timeout",
            Some("nothing came of it yet: call again, with from as told, to go on waiting"),
        ),
    };
    let from: Vec<Option<u64>> = news.targets.iter().map(|target| target.from).collect();
    let reply = Reply::default();
    let reply = reply.fact("outcome", outcome).fact("from", from).theirs("targets", &news.targets);
    let elsewhere = news.came.is_none() && !is_held_up && news.away().next().is_some();
    let elsewhere = elsewhere.then_some("the host of one of them is away: see targets");
    let renumbered = news.targets.iter().any(|target| target.renumbered).then_some(
        "a host has numbered the events of its session anew meanwhile: what it did then may have been missed, see \
         read_events",
    );
    note.into_iter().chain(elsewhere).chain(renumbered).fold(reply, Reply::note)
}
