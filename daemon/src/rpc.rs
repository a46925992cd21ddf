//! The local socket: preamble, then tarpc.
//!
//! The socket lies in a directory only its owner can enter. One bad client costs its own connection.
//! Not here: what the answers say ([`crate::answers`]).

use std::{
    io,
    path::Path,
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
    EventPage, EventQuery, FleetCall, FleetReply, Forgotten, Graph, HookCall, Host, ListQuery,
    ListReply, LookerCall, LookerReply, Lookup, LookupQuery, MirrorCall, MirrorReply, NotifyCall,
    NotifyReply, Outline, OutlineQuery, PartStatus, Refusal, SearchQuery, SearchReply, Session,
    Task, TaskCall,
    binding::{BindCall, Binding},
    codec::{Bincode, MAX_FRAME},
    copy::{CopyCall, CopyReply},
    message::{MessageCall, MessageReply},
    preamble::{self, Preamble},
    rpc::Local,
    wait::{NoWait, WaitCall, WaitNews},
};
use tarpc::{
    context::Context,
    server::{BaseChannel, Channel},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tokio_util::{codec::LengthDelimitedCodec, io::InspectReader, sync::CancellationToken};

use crate::{
    answers::Answers,
    bindings,
    desk::wait,
    fleet,
    http::{self, Http},
    hub::Input,
    messages, mirror,
    resume::relay,
    tasks, waits,
};

/// A client says who it is within this, or goes.
const HANDSHAKE: Duration = Duration::from_secs(2);

/// Connections at once of clients that are answered at once.
const MAX_CLIENTS: usize = 256;

/// Connections of clients that wait for something, beyond those: they keep nobody else out.
const MAX_WAITING: usize = waits::MOST;

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
    let clients = Arc::new(Semaphore::new(MAX_CLIENTS));
    let waiting = Arc::new(Semaphore::new(MAX_WAITING));
    loop {
        let stream = tokio::select! {
            () = stop.cancelled() => return,
            stream = listener.accept() => stream,
        };
        let permit = stop.run_until_cancelled(Arc::clone(&clients).acquire_owned()).await;
        let Some(Ok(permit)) = permit else { return };
        match stream {
            Ok(stream) => {
                let place =
                    Arc::new(Place { permit: Mutex::new(permit), waiting: Arc::clone(&waiting) });
                let server =
                    Server { gone: CancellationToken::new(), place: Some(place), ..server.clone() };
                let stop = stop.clone();
                tokio::spawn(async move {
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
    // tarpc goes on with what it was asked when the other side is gone; whoever waits for it need not.
    let gone = server.gone.clone();
    // Also where it hung up without hearing what it was told, which is an error and no end.
    let _gone = gone.clone().drop_guard();
    let stream = InspectReader::new(stream, move |read| {
        if read.is_empty() {
            gone.cancel();
        }
    });
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
    pub(crate) answers: Arc<Answers>,
    pub(crate) http: Arc<Http>,
    /// This client has hung up.
    pub(crate) gone: CancellationToken,
    /// Which of the connections it has; `None` of nobody yet.
    pub(crate) place: Option<Arc<Place>>,
}

/// One of the connections that there may be, for as long as its client is there.
pub(crate) struct Place {
    permit: Mutex<OwnedSemaphorePermit>,
    waiting: Arc<Semaphore>,
}

impl Place {
    /// From now on it is one of those that wait, where there is room among them.
    fn waits(&self) -> Result<(), Refusal> {
        let mut permit = self.permit.lock().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(permit.semaphore(), &self.waiting) {
            let other = Arc::clone(&self.waiting).try_acquire_owned();
            *permit = other.map_err(|_| Refusal {
                message: format!("{MAX_WAITING} wait for something on this host already"),
                facts: Vec::new(),
                hint: Some("rrd graph shows who waits for whom".to_owned()),
            })?;
        }
        Ok(())
    }
}

impl Server {
    /// Who asks to wait so long gives up its place among those that are answered at once.
    fn waits(&self, wait_ms: u32) -> Result<(), Refusal> {
        match &self.place {
            Some(place) if wait_ms > 0 => place.waits(),
            _ => Ok(()),
        }
    }
}

impl Local for Server {
    async fn list(self, _: Context, query: ListQuery) -> ListReply {
        self.answers.list(&query).await
    }

    async fn show(self, _: Context, query: LookupQuery) -> Lookup {
        self.answers.show(&query).await
    }

    async fn events(self, _: Context, query: EventQuery) -> Result<EventPage, Refusal> {
        self.waits(query.wait_ms)?;
        self.answers.events(&query).await
    }

    async fn outline(self, _: Context, query: OutlineQuery) -> Result<Outline, Refusal> {
        self.answers.outline(&query).await
    }

    async fn forget(self, _: Context, query: LookupQuery) -> Result<Forgotten, Refusal> {
        self.answers.forget(&query).await
    }

    async fn copy(self, _: Context, call: CopyCall) -> Result<CopyReply, Refusal> {
        relay::answer(&self.answers, call).await
    }

    async fn search(self, _: Context, query: SearchQuery) -> SearchReply {
        self.answers.search(&query).await
    }

    async fn watch(self, _: Context, cursor: u64, wait_ms: u32) -> Result<u64, Refusal> {
        self.waits(wait_ms)?;
        let _looking = self.answers.desk.look().await;
        let mut version = self.answers.hub.version();
        let changed = version.wait_for(|now| *now != cursor);
        match timeout(wait(wait_ms), changed).await {
            Ok(Ok(now)) => Ok(*now),
            _ => Ok(cursor),
        }
    }

    async fn status(self, _: Context) -> Vec<PartStatus> {
        let mut parts = self.answers.status();
        parts.push(self.http.part());
        parts
    }

    async fn hosts(self, _: Context) -> Vec<Host> {
        self.answers.hosts()
    }

    async fn graph(self, _: Context) -> Graph {
        let _looking = self.answers.desk.look().await;
        Graph::clone(&self.answers.graphs.now())
    }

    async fn wait(self, _: Context, call: WaitCall) -> Result<WaitNews, NoWait> {
        self.waits(match &call {
            WaitCall::Begin { .. } => 1,
            WaitCall::Next { wait_ms, .. } => *wait_ms,
            WaitCall::End { .. } => 0,
        })?;
        let answered = waits::answer(&self.answers, call);
        self.gone.run_until_cancelled(answered).await.unwrap_or_else(|| Err(waits::lost()))
    }

    async fn hook(self, _: Context, call: HookCall) {
        self.answers.hooks.take(call);
    }

    async fn fleet(self, _: Context, call: FleetCall) -> Result<FleetReply, Refusal> {
        let reply = fleet::calls::answer(&self.answers.fleet, call).await;
        // Whoever leaves has another name from then on.
        if let Ok(fleet) = &*self.answers.fleet {
            self.answers.hub.apply(Input::Node(fleet.node()));
        }
        reply
    }

    async fn lookers(self, _: Context, call: LookerCall) -> Result<LookerReply, Refusal> {
        http::calls::answer(&self.http.lookers, self.http.addresses(), call).await
    }

    async fn task(self, _: Context, call: TaskCall) -> Result<Vec<Task>, Refusal> {
        tasks::answer(&self.answers.fleet, &self.answers.edges, call).await
    }

    async fn bind(self, _: Context, call: BindCall) -> Result<Vec<Binding>, Refusal> {
        bindings::answer(&self.answers, call).await
    }

    async fn message(self, _: Context, call: MessageCall) -> Result<MessageReply, Refusal> {
        // What changes something is done, whether or not anybody waits for the answer.
        let may_end = match &call {
            MessageCall::Inbox { wait_ms, .. } => {
                self.waits(*wait_ms)?;
                true
            }
            _ => false,
        };
        let answered = messages::answer(&self.answers, call, &self.gone);
        match may_end {
            true => self.gone.run_until_cancelled(answered).await,
            false => Some(answered.await),
        }
        .unwrap_or_else(|| Err(waits::over()))
    }

    async fn mirror(self, _: Context, call: MirrorCall) -> Result<MirrorReply, Refusal> {
        if matches!(call, MirrorCall::Run) {
            // What lies there and was not noticed yet is meant, too.
            self.answers.desk.sweep().await;
        }
        mirror::answer(&self.answers.mirror, call).await
    }

    async fn running(self, _: Context, pids: Vec<u32>) -> Vec<Session> {
        self.answers.running(&pids).await
    }

    async fn notify(self, _: Context, call: NotifyCall) -> Result<NotifyReply, Refusal> {
        self.answers.notices.answer(call).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_makes_room_for_others_as_long_as_there_is_room_among_those() {
        let [clients, waiting] = [2, 1].map(|most| Arc::new(Semaphore::new(most)));
        let come = || Place {
            permit: Mutex::new(Arc::clone(&clients).try_acquire_owned().unwrap()),
            waiting: Arc::clone(&waiting),
        };
        let (first, second) = (come(), come());
        assert!(Arc::clone(&clients).try_acquire_owned().is_err());
        first.waits().unwrap();
        let third = come();
        // However often it asks it has one place.
        first.waits().unwrap();
        assert!(second.waits().unwrap_err().message.contains("wait for something"));
        drop(first);
        second.waits().unwrap();
        drop((second, third));
        assert_eq!((clients.available_permits(), waiting.available_permits()), (2, 1));
    }
}
