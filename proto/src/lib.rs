//! Words and wire formats of rrd: everything that crosses a process, host or disk boundary.
//!
//! Plain data with serde derives. JSON is the contract for scripts and other releases: fields are
//! snake_case, times are RFC 3339 in UTC, nullable keys are always present, and keys are only ever
//! added. The `rpc` feature adds the local service, its codec and its preamble; that wire is for the
//! same release only, so its types may change freely until the first tag.
//!
//! Not here: files, sockets, clocks, rules. Those live in `rrd-daemon` and `rrd-core`.

mod age;
pub mod binding;
mod event;
mod fleet;
mod graph;
mod harness;
pub mod hook;
mod host;
mod id;
pub mod json;
mod looker;
pub mod message;
mod mirror;
mod node;
mod notice;
mod part;
mod query;
mod refusal;
mod replay;
mod search;
mod session;
mod since;
mod task;
mod time;
mod why;

#[cfg(feature = "rpc")]
pub mod codec;
#[cfg(feature = "rpc")]
pub mod copy;
#[cfg(feature = "rpc")]
pub mod peer;
#[cfg(feature = "rpc")]
pub mod peer_calls;
#[cfg(feature = "rpc")]
pub mod preamble;
#[cfg(feature = "rpc")]
pub mod rpc;
#[cfg(feature = "shown")]
pub mod shown;
pub mod timeline;
pub mod wait;

pub use age::{AGES, age, span};
pub use event::{Body, Direction, Event, EventKind};
pub use fleet::{
    FleetCall, FleetInvite, FleetMember, FleetReply, FleetRotation, FleetStatus, MemberState,
};
pub use graph::{
    Cause, Chain, ChainEnd, Edge, EdgeKind, EdgeState, End, Graph, GraphNode, Link, MESSAGE, ends,
};
pub use harness::Harness;
pub use hook::{HookCall, HookProcess, HookTmux};
pub use host::Host;
pub use id::{SessionKey, session_ref};
pub use looker::{Looker, LookerCall, LookerCode, LookerKind, LookerReply, LookerToken};
pub use mirror::{
    MirrorAlarm, MirrorCall, MirrorFailing, MirrorFound, MirrorPruned, MirrorReply, MirrorShown,
    MirrorStatus, MirrorTarget, MirrorTrouble, MirrorVerified, MirrorWish, Mirrored,
};
pub use node::{NoNodeId, NodeId};
pub use notice::{
    Notice, NoticeKind, Notification, NotifyCall, NotifyReply, SinkKind, SinkStatus, SinkTest,
};
pub use part::{Health, PartStatus};
pub use query::{
    EventPage, EventQuery, Forgotten, IndexProgress, LastWords, ListQuery, ListReply, Lookup,
    LookupQuery, Root, RootState, Totals, Unheard, is_one_id,
};
pub use refusal::Refusal;
pub use replay::{
    Gap, Limit, MAX_MARKS, MAX_SUBAGENTS, Mark, Outline, OutlineQuery, Stretch, Subagent, ToolKind,
};
pub use search::{MAX_HITS, MAX_TEXT, SearchHit, SearchKind, SearchQuery, SearchReply};
pub use session::{
    Activity, Counts, Coverage, CoverageState, Deletion, EndReason, HostState, Issue, ParentKind,
    Session, Status, StatusSource, Tokens, TurnResult, WaitingFor, needing,
};
pub use since::{Since, parse_duration};
pub use task::{MAX_TASK, TASK_VARIABLE, Task, TaskCall, TaskLink, is_task};
pub use time::Timestamp;
pub use why::why;

/// The release this code belongs to; the local RPC asks both ends for the same one.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
