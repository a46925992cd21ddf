//! Waiting for what a session does: the words of `rrd wait`, of the daemon, and of the host that decides.
//!
//! The target's own host decides whether a condition has come true, from a given event on, so what is over
//! quickly is seen, too; only that it did travels, no text. Not here: the rules (`rrd_core::wait`).

use serde::{Deserialize, Serialize};

use crate::{
    EndReason, Harness, HostState, NodeId, Refusal, SessionKey, Status, Timestamp, TurnResult,
    session::words,
};

/// Bytes of a pattern, at most.
pub const MAX_PATTERN: usize = 1_024;

/// Sessions that one call waits for, at most.
pub const MAX_TARGETS: usize = 64;

/// What is waited for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Until {
    /// Its turn is over: it is at its prompt, or has ended without a crash.
    Idle,
    /// It has ended.
    Ended,
    /// It asks a person something.
    Waiting,
    /// Its turn failed, or it crashed.
    Error,
    /// An event whose text matches this pattern.
    Match(String),
}

impl std::fmt::Display for Until {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Idle => "idle",
            Self::Ended => "ended",
            Self::Waiting => "waiting",
            Self::Error => "error",
            Self::Match(pattern) => return write!(f, "match={pattern}"),
        })
    }
}

impl std::str::FromStr for Until {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "idle" => Ok(Self::Idle),
            "ended" => Ok(Self::Ended),
            "waiting" => Ok(Self::Waiting),
            "error" => Ok(Self::Error),
            _ => match text.strip_prefix("match=") {
                Some("") => Err("match= needs a pattern".to_owned()),
                Some(pattern) if pattern.len() > MAX_PATTERN => {
                    Err(format!("a pattern has at most {MAX_PATTERN} bytes"))
                }
                Some(pattern) => Ok(Self::Match(pattern.to_owned())),
                None => Err("not one of idle, ended, waiting, error, match=REGEX".to_owned()),
            },
        }
    }
}

words! {
    /// What came of waiting.
    Came {
        /// What was waited for.
        True = "true",
        /// The session ended, so it cannot come true any more.
        Ended = "ended",
        /// Its host does not know the session, or is no member any more.
        Unknown = "unknown",
    }
}

/// What came of waiting for one session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// What.
    pub came: Came,
    /// What the session did when it was found out; null where nobody knows it.
    #[serde(default)]
    pub status: Option<Status>,
    /// How its last turn ended.
    #[serde(default)]
    pub turn_result: Option<TurnResult>,
    /// Why it ended.
    #[serde(default)]
    pub end_reason: Option<EndReason>,
    /// The event that it was found out by; null where the status told.
    #[serde(default)]
    pub seq: Option<u64>,
}

/// One session and what is waited for: part of the body of `wait`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct WaitItem {
    /// The session.
    pub key: SessionKey,
    /// What.
    pub until: Until,
    /// Events before this one do not count; `None`: all that there are now do not, and the answer says from
    /// where on they do.
    #[serde(default)]
    pub from: Option<u64>,
}

/// Asks a host about its own sessions: the body of `wait`. Answered as soon as one of them has an outcome, at once
/// where one has no `from`, and at the latest after `wait_ms`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WaitQuery {
    /// What is waited for.
    pub items: Vec<WaitItem>,
    /// Milliseconds.
    pub wait_ms: u32,
}

/// How one of them stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WaitState {
    /// The event to go on from; `None` until the session has been read to its end.
    pub from: Option<u64>,
    /// What came of it, if that is known.
    pub outcome: Option<Outcome>,
    /// Events have other numbers than before: it goes on from the next one, and what happened meanwhile may be missed.
    pub renumbered: bool,
}

/// The answer to `wait`: one for each item, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WaitReply {
    /// How they stand.
    pub states: Vec<WaitState>,
}

/// One for whom somebody begins to wait, or waits on: its daemon may be another one than before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Awaited {
    /// As a person types it.
    pub id: String,
    /// Which one that was, if it has been found before: then that one is meant, whatever its host is called now.
    pub seen: Option<Seen>,
    /// The event to go on from, if that is known already: then one that nobody knows any more has that outcome,
    /// and is no reason to refuse.
    pub from: Option<u64>,
    /// What came of it already: that is not asked again.
    pub outcome: Option<Outcome>,
}

impl Awaited {
    /// One for whom nobody waited before.
    #[must_use]
    pub fn new(id: String) -> Self {
        Self { id, seen: None, from: None, outcome: None }
    }
}

/// A session that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Its host; `None`: the one that is asked.
    pub node: Option<NodeId>,
    /// Which of its sessions.
    pub key: SessionKey,
}

/// What a client asks its daemon for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum WaitCall {
    /// Begins to wait.
    Begin {
        /// Who waits, of this host's sessions; `None`: a person, of whom no other session knows.
        waiter: Option<SessionKey>,
        /// For whom.
        targets: Vec<Awaited>,
        /// What for.
        until: Until,
        /// One of them is enough.
        any: bool,
    },
    /// How it stands: told when something came of one of its targets, when a host went away or came back, at the
    /// latest after so long. Whoever does not ask for two seconds waits no more.
    Next {
        /// Of which wait.
        handle: u64,
        /// Milliseconds.
        wait_ms: u32,
    },
    /// Nobody waits any more.
    End {
        /// Which wait it was.
        handle: u64,
    },
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitNews {
    /// What to ask on with.
    pub handle: u64,
    /// What came of it all: that what was waited for came true, or why it cannot any more. `None`: it is not over.
    pub came: Option<Came>,
    /// The daemon has only begun, and hosts that it has not heard of yet count as away, and may not be; or one has
    /// only just gone, and may only begin anew.
    pub is_settling: bool,
    /// Each session that is waited for, as they were asked for: in that order, and as often.
    pub targets: Vec<WaitTarget>,
}

impl WaitNews {
    /// The session whose host is away, where waiting on is for nothing until that is back. Where `any` of several
    /// is enough, each of those that are still waited for must be on such a host.
    #[must_use]
    pub fn held_up(&self, any: bool) -> Option<&WaitTarget> {
        let mut open = self.targets.iter().filter(|target| target.outcome.is_none());
        let first = self.away().next();
        first.filter(|_| !any || open.all(WaitTarget::is_away))
    }

    /// Sessions that are waited for on hosts that are away.
    pub fn away(&self) -> impl Iterator<Item = &WaitTarget> {
        let is_it = |target: &&WaitTarget| target.outcome.is_none() && target.is_away();
        self.targets.iter().filter(move |target| !self.is_settling && is_it(target))
    }
}

/// Why there is no such wait, or none any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoWait {
    /// In words.
    pub why: Refusal,
    /// It may be otherwise in a moment: nobody asked on in time, or the daemon has only begun, and may not know
    /// every session yet.
    pub passes: bool,
}

impl From<Refusal> for NoWait {
    fn from(why: Refusal) -> Self {
        Self { why, passes: false }
    }
}

/// A session that is waited for, as `rrd wait --json` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitTarget {
    /// As everywhere.
    #[serde(rename = "ref")]
    pub reference: String,
    /// Its host's label.
    pub host: String,
    /// Its host's identity.
    pub node_id: String,
    /// Whose.
    pub harness: Harness,
    /// Its id.
    pub session_id: String,
    /// Its title when the wait began.
    pub title: Option<String>,
    /// How this node knows its host; null: it is no member of the fleet any more.
    pub host_state: Option<HostState>,
    /// Since when it is away.
    pub away_since: Option<Timestamp>,
    /// What came of it; null while nothing has.
    pub outcome: Option<Outcome>,
    /// The event to go on from; null until its host has told.
    pub from: Option<u64>,
    /// Its host's index was made anew meanwhile, with other numbers of events: what it did then may have been missed.
    pub renumbered: bool,
}

impl WaitTarget {
    fn is_away(&self) -> bool {
        self.host_state == Some(HostState::Away)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(state: Option<HostState>, came: Option<Came>) -> WaitTarget {
        let outcome =
            |came| Outcome { came, status: None, turn_result: None, end_reason: None, seq: None };
        WaitTarget {
            reference: "abcde".to_owned(),
            host: "mac".to_owned(),
            node_id: String::new(),
            harness: Harness::Codex,
            session_id: "x".to_owned(),
            title: None,
            host_state: state,
            away_since: None,
            outcome: came.map(outcome),
            from: None,
            renumbered: false,
        }
    }

    #[test]
    fn a_host_that_is_away_holds_up_whoever_needs_it() {
        let (live, away) = (Some(HostState::Live), Some(HostState::Away));
        for (targets, all, any) in [
            (vec![(live, None)], false, false),
            (vec![(away, None)], true, true),
            (vec![(away, None), (live, None)], true, false),
            (vec![(live, None), (away, None)], true, false),
            (vec![(away, None), (away, None)], true, true),
            (vec![(away, None), (live, Some(Came::Ended))], true, true),
            (vec![(away, Some(Came::True)), (live, None)], false, false),
            (vec![(None, Some(Came::Unknown)), (away, None)], true, true),
        ] {
            let each = targets.iter().map(|(state, came)| target(*state, *came)).collect();
            let mut news = WaitNews { handle: 1, came: None, is_settling: false, targets: each };
            let is = [false, true].map(|any| news.held_up(any).is_some());
            assert_eq!(is, [all, any], "{targets:?}");
            news.is_settling = true;
            assert_eq!(news.held_up(false), None, "{targets:?}");
        }
    }

    #[test]
    fn conditions_are_written_as_they_are_read() {
        for text in ["idle", "ended", "waiting", "error", "match=^done: [0-9]+$"] {
            assert_eq!(text.parse::<Until>().unwrap().to_string(), text);
        }
        for bad in ["", "Idle", "match", "match=", &format!("match={}", "x".repeat(1_025))] {
            assert!(bad.parse::<Until>().is_err(), "{bad}");
        }
    }
}
