//! A recording of the real client, step by step, and what its registry claims at each of them.
//!
//! Each tape in `fixtures/claude-code` is one recorded run: what stood in `sessions/<pid>.json` (polled
//! every 30 ms), every hook call with its payload, and the transcripts' lines at their own timestamps.
//! Long texts are cut, records of pure bookkeeping and peer tokens left out. A process lives from just
//! before its entry until just after that is removed; where the entry stays, until the tape ends.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    path::Path,
};

use rrd_proto::{EndReason, Session, Status, StatusSource, WaitingFor};
use serde::Deserialize;
use serde_json::Value;

/// One recorded run.
pub(crate) struct Tape {
    /// When it was recorded: step 0, milliseconds since the epoch.
    pub(crate) epoch: i64,
    /// Everything that happened, in order.
    pub(crate) steps: Vec<Step>,
}

/// Something that happened `at` so many milliseconds after the first step.
#[derive(Deserialize)]
pub(crate) struct Step {
    pub(crate) at: i64,
    #[serde(flatten)]
    pub(crate) what: What,
}

#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum What {
    /// A process is there from now on; `start` is its start time.
    Starts { starts: u32, start: String },
    /// A process is gone.
    Dies { dies: u32 },
    /// A small file, written in place.
    Write { write: String, json: Value },
    /// A file is removed.
    Remove { remove: String },
    /// A transcript grows by whole lines.
    Append { append: String, lines: Vec<Value> },
    /// The client called its hooks with this payload.
    Hook { hook: Value },
}

#[derive(Deserialize)]
struct Head {
    epoch_ms: i64,
}

impl Tape {
    pub(crate) fn load(case: &str) -> Self {
        let file = format!("tests/fixtures/claude-code/{case}.jsonl");
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
        let mut lines = text.lines();
        let head: Head = serde_json::from_str(lines.next().unwrap()).unwrap();
        let steps = lines.map(|line| serde_json::from_str(line).unwrap()).collect();
        Self { epoch: head.epoch_ms, steps }
    }

    pub(crate) fn length(&self) -> i64 {
        self.steps.last().unwrap().at
    }
}

impl What {
    /// Whether this is the registry's doing.
    pub(crate) fn is_registry(&self) -> bool {
        match self {
            Self::Write { write: path, .. } | Self::Remove { remove: path } => {
                path.starts_with("sessions/")
            }
            _ => false,
        }
    }
}

/// Moves every time in a record or entry that anybody reads.
pub(crate) fn retime(value: &mut Value, moved: &dyn Fn(i64) -> i64) {
    let Some(object) = value.as_object_mut() else { return };
    for name in ["startedAt", "updatedAt", "statusUpdatedAt"] {
        if let Some(ms) = object.get_mut(name) {
            *ms = moved(ms.as_i64().unwrap()).into();
        }
    }
    if let Some(Value::String(text)) = object.get_mut("timestamp") {
        let at = rrd_proto::Timestamp::parse(text).unwrap();
        *text = rrd_proto::Timestamp::from_millis(moved(at.as_millis())).to_string();
    }
}

/// What a session's row has to say.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Claim {
    /// A live process's entry says this, since then.
    Says { status: Status, waiting_for: Option<WaitingFor>, since: Option<i64> },
    /// No live process names it; `crashed` where one died with this in its entry.
    Ended { crashed: bool },
}

impl Claim {
    pub(crate) fn holds(&self, row: &Session) -> bool {
        match self {
            Self::Says { status, waiting_for, since } => {
                let since_is = row.status_since.map(rrd_proto::Timestamp::as_millis);
                row.status == *status
                    && row.waiting_for == *waiting_for
                    && row.status_source == StatusSource::Registry
                    && row.live == Some(true)
                    // Since when a turn runs, its prompt knows better.
                    && (*status == Status::Executing || since_is == *since)
            }
            Self::Ended { crashed } => {
                row.status == Status::Ended
                    && (!crashed || row.end_reason == Some(EndReason::Crashed))
            }
        }
    }
}

/// The registry as it stands, read without any of rrd's own code.
#[derive(Default)]
pub(crate) struct Registry {
    entries: BTreeMap<String, Value>,
    /// Sessions that have had a live process.
    known: BTreeSet<String>,
}

impl Registry {
    pub(crate) fn write(&mut self, path: &str, entry: &Value) {
        self.entries.insert(path.to_owned(), entry.clone());
    }

    pub(crate) fn remove(&mut self, path: &str) {
        self.entries.remove(path);
    }

    /// What each session is to be shown as, while these processes are alive. Nothing is claimed of one
    /// whose process does not say (yet) what it does.
    pub(crate) fn claims(&mut self, alive: &HashMap<u32, String>) -> BTreeMap<String, Claim> {
        let mut claims = BTreeMap::new();
        let mut silent = BTreeSet::new();
        let mut crashed = BTreeSet::new();
        for entry in self.entries.values() {
            let word = |name: &str| entry[name].as_str();
            let pid = u32::try_from(entry["pid"].as_u64().unwrap()).unwrap();
            let session = word("sessionId").unwrap();
            if alive.get(&pid).map(String::as_str) != word("procStart") {
                if matches!(word("status"), Some("busy" | "waiting")) {
                    crashed.insert(session.to_owned());
                }
                continue;
            }
            self.known.insert(session.to_owned());
            let (status, waiting_for) = match (word("status"), word("waitingFor")) {
                (Some("busy"), _) => (Status::Executing, None),
                (Some("waiting"), Some("permission prompt")) => {
                    (Status::Waiting, Some(WaitingFor::Permission))
                }
                (Some("waiting"), _) => (Status::Waiting, Some(WaitingFor::Input)),
                (Some("idle" | "shell"), _) => (Status::Idle, None),
                (None, _) => {
                    silent.insert(session.to_owned());
                    continue;
                }
                other => panic!("the recording says {other:?}"),
            };
            let since = entry["statusUpdatedAt"].as_i64();
            claims.insert(session.to_owned(), Claim::Says { status, waiting_for, since });
        }
        for session in &self.known {
            if !silent.contains(session) {
                let crashed = crashed.contains(session);
                claims.entry(session.clone()).or_insert(Claim::Ended { crashed });
            }
        }
        claims
    }
}
