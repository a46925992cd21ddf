//! How a part of the daemon is: one row of `rrd status`.

use serde::{Deserialize, Serialize};

/// Whether a part does its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// It does.
    Ok,
    /// It does, but slower or with less than it should; the detail says why.
    Degraded,
    /// It does not; the detail says why, and the others go on.
    Failed,
    /// It is switched off.
    Off,
}

/// One part and its state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartStatus {
    /// The part: `daemon`, `tail`, `watch`, `store`, `rpc`, …
    pub part: String,
    /// Its state.
    pub state: Health,
    /// One sentence for a person.
    pub detail: String,
    /// A command that helps, where there is one.
    pub hint: Option<String>,
}
