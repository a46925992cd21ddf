//! The local socket: preamble, then tarpc. Answers come from the desk, and of other hosts from them.
//!
//! The socket lies in a directory only its owner can enter. One bad client costs its own connection.
//! Not here: what the answers say.

use std::{io, path::Path, sync::Arc, time::Duration};

use futures::StreamExt;
use interprocess::local_socket::{
    ListenerOptions, Name,
    tokio::{Listener, Stream},
    traits::tokio::Listener as _,
};
use rrd_proto::{
    EventPage, EventQuery, FleetCall, FleetRefusal, FleetReply, HookCall, Host, HostState,
    ListQuery, ListReply, Lookup, LookupQuery, PartStatus, VERSION,
    codec::{Bincode, MAX_FRAME},
    preamble::{self, Preamble},
    rpc::Local,
};
use tarpc::{
    context::Context,
    server::{BaseChannel, Channel},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};
use tokio_util::{codec::LengthDelimitedCodec, sync::CancellationToken};

use crate::{
    desk::{Desk, wait},
    edge::Edges,
    fleet::{self, Broken, Fleet},
    gossip::Gossip,
    health::Health,
    hooks::Hooks,
    hub::{Hub, Input},
    others::{self, Asked},
};

/// A client says who it is within this, or goes.
const HANDSHAKE: Duration = Duration::from_secs(2);

/// Connections at once; each is a client on this host.
const MAX_CLIENTS: usize = 256;

/// Opens the socket. The caller holds the daemon's lock, so whatever lies there is a dead one's.
pub(crate) fn bind(path: &Path) -> io::Result<Listener> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let _ = std::fs::remove_file(path);
        let listener = ListenerOptions::new().name(name(path)?).create_tokio()?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        Ok(listener)
    }
    #[cfg(not(unix))]
    ListenerOptions::new().name(name(path)?).create_tokio()
}

fn name(path: &Path) -> io::Result<Name<'_>> {
    use interprocess::local_socket::{GenericFilePath, GenericNamespaced, ToFsName, ToNsName};
    if cfg!(windows) {
        path.as_os_str().to_ns_name::<GenericNamespaced>()
    } else {
        path.as_os_str().to_fs_name::<GenericFilePath>()
    }
}

/// Serves until cancelled.
pub(crate) async fn serve(listener: Listener, server: Server, stop: CancellationToken) {
    let clients = Arc::new(tokio::sync::Semaphore::new(MAX_CLIENTS));
    loop {
        let stream = tokio::select! {
            () = stop.cancelled() => return,
            stream = listener.accept() => stream,
        };
        let Ok(permit) = Arc::clone(&clients).acquire_owned().await else { return };
        match stream {
            Ok(stream) => {
                let (server, stop) = (server.clone(), stop.clone());
                tokio::spawn(async move {
                    let _permit = permit;
                    tokio::select! {
                        () = stop.cancelled() => {}
                        result = client(stream, server) => if let Err(error) = result {
                            tracing::debug!(%error, "a client was turned away");
                        }
                    }
                });
            }
            // Out of descriptors: those who are connected go on, and the next try may succeed.
            Err(error) => {
                tracing::warn!(%error, "cannot accept a client");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

async fn client(mut stream: Stream, server: Server) -> io::Result<()> {
    let mut hello = [0; preamble::LEN];
    timeout(HANDSHAKE, stream.read_exact(&mut hello)).await??;
    // Always answered, so that a client of another release can say what is wrong.
    stream.write_all(&Preamble::ours().encode()).await?;
    stream.flush().await?;
    if let Err(mismatch) = Preamble::check(&hello) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{mismatch:?}")));
    }
    let framed = LengthDelimitedCodec::builder().max_frame_length(MAX_FRAME).new_framed(stream);
    let transport = tarpc::serde_transport::new(framed, Bincode::default());
    BaseChannel::with_defaults(transport)
        .execute(server.serve())
        .for_each(|response| async {
            tokio::spawn(response);
        })
        .await;
    Ok(())
}

/// Answers one client's calls.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) hub: Arc<Hub>,
    pub(crate) health: Arc<Health>,
    pub(crate) hooks: Arc<Hooks>,
    pub(crate) edges: Arc<Edges>,
    pub(crate) desk: Arc<Desk>,
    pub(crate) fleet: Arc<Result<Arc<Fleet>, Broken>>,
}

impl Server {
    /// The fleet, while this host takes part in one.
    fn others(&self) -> Option<(&Arc<Fleet>, Arc<Gossip>)> {
        Some((self.fleet.as_ref().as_ref().ok()?, self.hub.others()?))
    }
}

impl Local for Server {
    async fn list(self, _: Context, query: ListQuery) -> ListReply {
        let _looking = self.desk.look().await;
        let asked = match self.others() {
            Some((fleet, gossip)) if others::is_about_the_past(&query) => {
                others::rows(fleet, &gossip, &query).await
            }
            _ => Asked::default(),
        };
        let mut reply = self.hub.list_with(&query, asked);
        if let Ok(fleet) = &*self.fleet {
            let members = fleet.members();
            reply.duplicated =
                fleet.twins().into_iter().filter_map(|node| members.label(node)).collect();
        }
        self.edges.list(reply, query.raw)
    }

    async fn show(self, _: Context, query: LookupQuery) -> Lookup {
        let _looking = self.desk.look().await;
        let mut lookup = self.hub.lookup(&query.id);
        if let Some((fleet, gossip)) = self.others() {
            lookup = others::look_up(fleet, &gossip, lookup, &query.id).await;
        }
        self.edges.lookup(lookup, query.raw)
    }

    async fn events(self, _: Context, query: EventQuery) -> Result<EventPage, FleetRefusal> {
        let own = self.fleet.as_ref().as_ref().ok().map(|fleet| fleet.node());
        let page = match (query.node.filter(|node| Some(*node) != own), self.others()) {
            (None, _) => self.desk.events(&query).await,
            (Some(node), Some((fleet, gossip))) => {
                others::events(fleet, &gossip, node, &query).await?
            }
            // A session of the same name here is another one.
            (Some(_), None) => {
                return Err(FleetRefusal {
                    message: "this host is in no fleet that could be asked for that".to_owned(),
                    facts: Vec::new(),
                    hint: Some("rrd fleet status tells how it stands".to_owned()),
                });
            }
        };
        Ok(self.edges.events(page, query.raw))
    }

    async fn watch(self, _: Context, cursor: u64, wait_ms: u32) -> u64 {
        let _looking = self.desk.look().await;
        let mut version = self.hub.version();
        let changed = version.wait_for(|now| *now != cursor);
        match timeout(wait(wait_ms), changed).await {
            Ok(Ok(now)) => *now,
            _ => cursor,
        }
    }

    async fn status(self, _: Context) -> Vec<PartStatus> {
        let mut parts = self.health.parts(&self.hub, &self.hooks);
        parts.push(match &*self.fleet {
            Ok(fleet) => fleet.part(),
            Err(broken) => broken.part(),
        });
        parts.extend(self.hub.others().map(|others| others.part()));
        parts.push(self.edges.part());
        self.edges.parts(parts)
    }

    async fn hosts(self, _: Context) -> Vec<Host> {
        let here = self.hub.list_here(&ListQuery::default()).totals;
        let others = self.hub.others();
        let dropped = others.as_ref().map(|others| others.wire().traffic().dropped);
        let dropped = dropped.into_iter().flatten();
        let fleet = self.fleet.as_ref().as_ref().ok();
        let own = Host {
            host: self.hub.host(),
            node_id: fleet.map(|fleet| fleet.node().to_string()).unwrap_or_default(),
            state: HostState::Here,
            duplicated: false,
            since: None,
            version: Some(VERSION.to_owned()),
            address: fleet.and_then(|fleet| fleet.address()).map(|address| address.to_string()),
            clock_offset_ms: Some(0),
            sessions: Some(here.sessions),
            active: Some(here.active),
            bytes_per_second: None,
            dropped: dropped.map(|(why, count)| (why.as_str().to_owned(), count)).collect(),
        };
        let others = others.map(|others| others.hosts()).unwrap_or_default();
        let mut hosts: Vec<Host> = std::iter::once(own).chain(others).collect();
        let twins = fleet.map(|fleet| fleet.twins()).unwrap_or_default();
        let twins: Vec<String> = twins.iter().map(ToString::to_string).collect();
        hosts.iter_mut().for_each(|host| host.duplicated = twins.contains(&host.node_id));
        hosts
    }

    async fn hook(self, _: Context, call: HookCall) {
        self.hooks.take(call);
    }

    async fn fleet(self, _: Context, call: FleetCall) -> Result<FleetReply, FleetRefusal> {
        let reply = fleet::calls::answer(&self.fleet, call).await;
        // Whoever leaves has another name from then on.
        if let Ok(fleet) = &*self.fleet {
            self.hub.apply(Input::Node(fleet.node()));
        }
        reply
    }
}
