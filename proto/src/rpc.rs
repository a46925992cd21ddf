//! The local service: what a client on this host may ask its daemon.
//!
//! tarpc has no streams, so following is long-polling: [`Local::watch`] and [`Local::events`] wait
//! up to the time asked for. Calls must set a deadline a little beyond that wait.
#![allow(missing_docs)] // the macro's generated items

use crate::{
    EventPage, EventQuery, FleetCall, FleetReply, Forgotten, Graph, HookCall, Host, ListQuery,
    ListReply, LookerCall, LookerReply, Lookup, LookupQuery, MirrorCall, MirrorReply, NotifyCall,
    NotifyReply, Outline, OutlineQuery, PartStatus, Refusal, SearchQuery, SearchReply, Session,
    Task, TaskCall,
    binding::{BindCall, Binding},
    copy::{CopyCall, CopyReply},
    message::{MessageCall, MessageReply},
    wait::{NoWait, WaitCall, WaitNews},
};

/// Asks a daemon on the same host, of the same release.
#[tarpc::service]
pub trait Local {
    /// Sessions that match.
    async fn list(query: ListQuery) -> ListReply;
    /// One session by what a person typed.
    async fn show(query: LookupQuery) -> Lookup;
    /// Events of one session, wherever it is; refused where its host cannot be asked.
    async fn events(query: EventQuery) -> Result<EventPage, Refusal>;
    /// A session from above, wherever it is; refused where its host cannot be asked.
    async fn outline(query: OutlineQuery) -> Result<Outline, Refusal>;
    /// Takes one session of this host, and what is kept of it, out for good.
    async fn forget(query: LookupQuery) -> Result<Forgotten, Refusal>;
    /// The files of a session, wherever it is, page by page; refused where they cannot be had.
    async fn copy(call: CopyCall) -> Result<CopyReply, Refusal>;
    /// What sessions said on every host, as far as it is what is looked for.
    async fn search(query: SearchQuery) -> SearchReply;
    /// Returns the current cursor as soon as it differs from `cursor`, at the latest after `wait_ms`; refused where
    /// too many wait already.
    async fn watch(cursor: u64, wait_ms: u32) -> Result<u64, Refusal>;
    /// How each part of the daemon is.
    async fn status() -> Vec<PartStatus>;
    /// Takes a harness's word about one of its sessions.
    async fn hook(call: HookCall);
    /// Every host of the fleet, this one first.
    async fn hosts() -> Vec<Host>;
    /// Who waits for whom, on all hosts.
    async fn graph() -> Graph;
    /// Waits for what other sessions do.
    async fn wait(call: WaitCall) -> Result<WaitNews, NoWait>;
    /// Does what `rrd fleet` asks for.
    async fn fleet(call: FleetCall) -> Result<FleetReply, Refusal>;
    /// Lets somebody look at the page, tells who may, and takes it back.
    async fn lookers(call: LookerCall) -> Result<LookerReply, Refusal>;
    /// Links tasks to sessions, and tells of them.
    async fn task(call: TaskCall) -> Result<Vec<Task>, Refusal>;
    /// Binds sessions to each other, and tells of that.
    async fn bind(call: BindCall) -> Result<Vec<Binding>, Refusal>;
    /// Sends messages between sessions, and tells of them.
    async fn message(call: MessageCall) -> Result<MessageReply, Refusal>;
    /// Mirrors transcripts into buckets, and tells how that goes.
    async fn mirror(call: MirrorCall) -> Result<MirrorReply, Refusal>;
    /// Tells how notices are told, and tries it.
    async fn notify(call: NotifyCall) -> Result<NotifyReply, Refusal>;
    /// Sessions of this host that run in one of these processes.
    async fn running(pids: Vec<u32>) -> Vec<Session>;
}
