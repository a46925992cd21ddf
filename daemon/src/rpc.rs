//! The local socket: preamble, then tarpc. Answers come from the hub and the index.
//!
//! The socket lies in a directory only its owner can enter. One bad client costs its own connection.
//! Not here: what the answers say.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::StreamExt;
use interprocess::local_socket::{
    ListenerOptions, Name,
    tokio::{Listener, Stream},
    traits::tokio::Listener as _,
};
use rrd_proto::{
    Event, EventPage, EventQuery, FleetCall, FleetRefusal, FleetReply, HookCall, Host, HostState,
    ListQuery, ListReply, Lookup, LookupQuery, PartStatus, SessionKey, VERSION,
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
    time::{Instant, timeout, timeout_at},
};
use tokio_util::{codec::LengthDelimitedCodec, sync::CancellationToken};

use crate::{
    audience::Looking,
    edge::Edges,
    fleet::{self, Broken, Fleet},
    health::Health,
    hooks::Hooks,
    hub::{Hub, Input},
    scan::MAX_PAGE,
    store::{Reader, Writer},
    tail::Door,
};

/// A client says who it is within this, or goes.
const HANDSHAKE: Duration = Duration::from_secs(2);

/// The longest wait one call may ask for.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// How long events that are being written are waited for.
const PATIENCE: Duration = Duration::from_millis(500);

/// How long what was left for later is waited for.
const CATCH_UP: Duration = Duration::from_millis(100);

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
    pub(crate) index: Arc<Index>,
    pub(crate) fleet: Arc<Result<Arc<Fleet>, Broken>>,
    pub(crate) tails: Arc<[Door]>,
}

impl Server {
    /// Whoever asks sees what has been written until now, wherever that was left for later.
    async fn look(&self) -> Looking {
        let looking = self.hub.audience.look();
        let behind: Vec<_> = self.tails.iter().filter_map(Door::catch_up).collect();
        let caught_up = async {
            for tail in behind {
                let _ = tail.await;
            }
        };
        // A root on a hung disk must not hold up the answer.
        let _ = timeout(CATCH_UP, caught_up).await;
        looking
    }
}

/// The index as clients read it; opened when it is first needed.
pub(crate) struct Index {
    state_dir: PathBuf,
    reader: Mutex<Option<Reader>>,
    writer: Arc<Writer>,
}

impl Index {
    pub(crate) fn new(state_dir: PathBuf, writer: Arc<Writer>) -> Self {
        Self { state_dir, reader: Mutex::default(), writer }
    }

    fn events(&self, key: &SessionKey, after: Option<u64>, limit: u32) -> Vec<Event> {
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let open = reader.take().or_else(|| Reader::open(&self.state_dir));
        let Some(open) = open else { return Vec::new() };
        match open.events(key, after, limit) {
            Ok(events) => {
                *reader = Some(open);
                events
            }
            // Opened afresh next time: the database may have been set aside.
            Err(error) => {
                tracing::warn!(%error, "cannot read events");
                Vec::new()
            }
        }
    }
}

impl Local for Server {
    async fn list(self, _: Context, query: ListQuery) -> ListReply {
        let _looking = self.look().await;
        self.edges.list(self.hub.list(&query), query.raw)
    }

    async fn show(self, _: Context, query: LookupQuery) -> Lookup {
        let _looking = self.look().await;
        self.edges.lookup(self.hub.lookup(&query.id), query.raw)
    }

    async fn events(self, _: Context, query: EventQuery) -> EventPage {
        let deadline = Instant::now() + wait(query.wait_ms);
        let limit = query.limit.clamp(1, MAX_PAGE);
        let _looking = self.look().await;
        let mut committed = self.index.writer.committed();
        // Whoever only looks takes what is there; who waits wants the next one at once.
        let _awaited = (query.wait_ms > 0).then(|| self.index.writer.awaited());
        // What has been read is seen, written or not.
        if let Some(written) = self.index.writer.hurry() {
            let _ = tokio::task::spawn_blocking(move || written.recv_timeout(PATIENCE)).await;
        }
        loop {
            let mut seen = committed.borrow_and_update().number;
            let (index, key, after) = (Arc::clone(&self.index), query.key.clone(), query.after);
            let read = tokio::task::spawn_blocking(move || index.events(&key, after, limit));
            let events = read.await.unwrap_or_default();
            let more = query.after.is_some() && events.len() == limit as usize;
            if !events.is_empty() {
                return self.edges.events(EventPage { events, more }, query.raw);
            }
            // Only a transaction that wrote some of this session's is worth a look; one that was missed
            // may have.
            loop {
                match timeout_at(deadline, committed.changed()).await {
                    Ok(Ok(())) => {}
                    // Nothing came in time, or the store is closing.
                    _ => return EventPage::default(),
                }
                let last = committed.borrow_and_update();
                let missed = last.number != seen + 1;
                seen = last.number;
                if missed || last.sessions.contains(&query.key) {
                    break;
                }
            }
        }
    }

    async fn watch(self, _: Context, cursor: u64, wait_ms: u32) -> u64 {
        let _looking = self.look().await;
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
        std::iter::once(own).chain(others).collect()
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

fn wait(ms: u32) -> Duration {
    Duration::from_millis(ms.into()).min(MAX_WAIT)
}
