//! A host of the fleet as another one knows it, or as it knows itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{HostState, MirrorAlarm, Timestamp};

/// One row of `rrd hosts`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Host {
    /// Its label; a piece of its name is added where an earlier member is called the same.
    pub host: String,
    /// Its name.
    pub node_id: String,
    /// How the answering node knows it.
    pub state: HostState,
    /// Two hosts run under this one's identity, so that only one of them is heard.
    #[serde(default)]
    pub duplicated: bool,
    /// Since when; of one that is away, when it was heard of last. Null if it never was.
    pub since: Option<Timestamp>,
    /// The release it runs, as far as it has said.
    pub version: Option<String>,
    /// Where it is reached.
    pub address: Option<String>,
    /// What to add to its clock to have the answering node's, in milliseconds.
    pub clock_offset_ms: Option<i64>,
    /// All its sessions, as far as it has said.
    pub sessions: Option<u64>,
    /// Those that are active.
    pub active: Option<u64>,
    /// What came from it by gossip, in bytes a second, since the answering node's gossip began.
    pub bytes_per_second: Option<f64>,
    /// What of it did not count, by why: records of another host, datagrams dropped by this one.
    pub dropped: BTreeMap<String, u64>,
    /// A place that it mirrors to has failed for long, or is far behind.
    #[serde(default)]
    pub mirror: Option<MirrorAlarm>,
}
