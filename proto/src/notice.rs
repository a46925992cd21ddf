//! Notices: what a person is told when nobody looks, and where it is told.
//!
//! A [`Notification`] in JSON is what commands and webhooks get: a contract like a session's row. Not here: what
//! there is to be told of, and when (the core's `notices`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Harness, Timestamp, WaitingFor, session::words};

words! {
    /// What somebody may want to be told of.
    NoticeKind {
        /// A session waits for permission, or for an answer.
        NeedsYou = "needs_you",
        /// A session's process died in the middle of a turn.
        Crashed = "crashed",
        /// Sessions wait for each other in a circle.
        Deadlock = "deadlock",
        /// A host is gone in whose sessions a turn was open.
        HostAwayWithWork = "host_away_with_work",
        /// A place that a host mirrors to has failed for long.
        MirrorFailing = "mirror_failing",
        /// A turn is over, or a session.
        Finished = "finished",
    }
}

impl NoticeKind {
    /// Every kind, by its number. Hosts of other releases know them by it: it stays, and new ones come last.
    pub const ALL: [Self; 6] = [
        Self::NeedsYou,
        Self::Crashed,
        Self::Deadlock,
        Self::HostAwayWithWork,
        Self::MirrorFailing,
        Self::Finished,
    ];
}

words! {
    /// What tells notices.
    SinkKind {
        /// A program of the user's, with the notification on its stdin.
        Command = "command",
        /// An address that it is sent to.
        Webhook = "webhook",
        /// This host's desktop.
        Desktop = "desktop",
    }
}

/// One thing to be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// Sixteen letters, the same on every host and at every attempt.
    pub id: String,
    /// What it is.
    pub kind: NoticeKind,
    /// Since when it has been so, by the sender's clock; null where that is not known.
    pub since: Option<Timestamp>,
    /// It is so no more: it was held back until now.
    pub over: bool,
    /// The host's label.
    pub host: Option<String>,
    /// The session's ref.
    #[serde(rename = "ref")]
    pub reference: Option<String>,
    /// Who writes its transcript.
    pub harness: Option<Harness>,
    /// The harness's own id.
    pub session_id: Option<String>,
    /// Its repository.
    pub repo: Option<String>,
    /// Its title.
    pub title: Option<String>,
    /// What it waits for.
    pub waiting_for: Option<WaitingFor>,
    /// One line of that; the circle; what a place says is wrong.
    pub detail: Option<String>,
    /// How many sessions it is about.
    pub sessions: u64,
}

/// What is told at once: one notice, or several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notification {
    /// Of one notice, its id; of several, made of theirs. Of a test, of the moment.
    pub id: String,
    /// One line.
    pub title: String,
    /// What it says, in lines; may be empty.
    pub text: String,
    /// 1 to 5, as ntfy has them; 3 is usual.
    pub priority: u8,
    /// Only a test.
    pub test: bool,
    /// Held back before: quiet hours, or too many.
    pub digest: bool,
    /// The label of the host that tells it.
    pub told_by: String,
    /// Where more is to be seen, if the settings say where a page is.
    pub page: Option<String>,
    /// What it is about; texts and names in it, but for refs, are null where the settings want
    /// none to leave.
    pub notices: Vec<Notice>,
    /// How many more there were.
    pub left_out: u64,
}

/// What `rrd notify` asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum NotifyCall {
    /// Every sink.
    Status,
    /// Tells a test to one of them, or to all.
    Test {
        /// Its name.
        sink: Option<String>,
    },
}

/// What the daemon answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum NotifyReply {
    /// Every sink.
    Status(Vec<SinkStatus>),
    /// How each test went.
    Tested(Vec<SinkTest>),
}

/// How a sink is, on this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkStatus {
    /// Its name in the settings.
    pub name: String,
    /// What it is.
    pub kind: SinkKind,
    /// The program, or the host that it is sent to: no path and nothing secret.
    pub target: String,
    /// What it tells.
    pub events: Vec<NoticeKind>,
    /// Only this host's own: others that have the like tell theirs.
    pub local: bool,
    /// The label of the host that tells it now; others do when that one cannot. Where hosts tell different events,
    /// of the first of these.
    pub teller: Option<String>,
    /// Who tells each event, where that is not one host.
    #[serde(default)]
    pub tellers: BTreeMap<NoticeKind, String>,
    /// How many live hosts have it, this one included.
    pub hosts: u64,
    /// Messages that this host told.
    pub sent: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Notices that were given up.
    pub lost: u64,
    /// When one was told last by this host.
    pub last_sent_at: Option<Timestamp>,
    /// Since when it fails.
    pub failing_since: Option<Timestamp>,
    /// Why.
    pub error: Option<String>,
    /// Notices that wait for their time, or for another host to tell them.
    pub waiting: u64,
    /// Of these, held back for quiet hours or because there were too many.
    pub held: u64,
}

/// How a test went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkTest {
    /// The sink.
    pub name: String,
    /// Milliseconds that it took.
    pub took_ms: u64,
    /// Why it failed, if it did.
    pub error: Option<String>,
}
