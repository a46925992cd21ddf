//! Reaches the daemon on this host: dials its socket, makes sure of the release, asks.
//!
//! Every way of not reaching it is told apart ([`Unreachable`]), because each has another remedy.
//! Calls block: a command asks one thing at a time, so the runtime lives in here, on this thread.
//! Not here: what to do without a daemon ([`crate::ask`]).

use std::{
    fmt,
    future::Future,
    io,
    path::Path,
    time::{Duration, Instant},
};

use interprocess::local_socket::{Name, tokio::Stream, tokio::prelude::*};
use rrd_proto::{
    EventPage, EventQuery, FleetCall, FleetReply, Forgotten, Graph, HookCall, Host, ListQuery,
    ListReply, LookerCall, LookerReply, Lookup, LookupQuery, MirrorCall, MirrorReply, NotifyCall,
    NotifyReply, Outline, OutlineQuery, PartStatus, Refusal, SearchQuery, SearchReply, Session,
    Task, TaskCall,
    binding::{BindCall, Binding},
    codec::{Bincode, MAX_FRAME},
    copy::{CopyCall, CopyReply},
    message::{MessageCall, MessageReply},
    preamble::{self, Mismatch, Preamble},
    rpc::LocalClient,
    wait::{NoWait, WaitCall, WaitNews},
};
use tarpc::{client::RpcError, context};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    runtime::Runtime,
    time::timeout,
};
use tokio_util::codec::{Framed, LengthDelimitedCodec};

use crate::error::{CliError, Kind};

/// A daemon on the same machine that has not greeted by then is stuck.
const GREETING: Duration = Duration::from_secs(2);
/// What a call may take beyond the wait it asks for.
const GRACE: Duration = Duration::from_secs(5);

/// What it may take where nobody has time for more.
const HASTE: Duration = Duration::from_secs(1);

/// What is kept of a large session is taken out in this.
const FORGETTING: Duration = Duration::from_secs(60);

/// Another host's slow disk, on a slow line.
const COPYING: Duration = Duration::from_secs(20);

/// A large session out of a slow bucket, put together by the daemon before it answers.
const FETCHING: Duration = Duration::from_secs(3600);

/// A connection to the daemon on this host.
pub(crate) struct Connection {
    // Declared first, so dropped first: its task lives on the runtime.
    client: LocalClient,
    runtime: Runtime,
}

/// Why the daemon cannot be asked.
#[derive(Debug)]
pub(crate) enum Unreachable {
    /// Nobody listens.
    NotRunning,
    /// Somebody listens and says nothing.
    Silent,
    /// This user may not connect, or the machine cannot.
    Refused(io::Error),
    /// Somebody else listens.
    NotRrd,
    /// An rrd of another release listens.
    OtherRelease,
}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRunning => f.write_str("no daemon is running"),
            Self::Silent => f.write_str("the daemon is there but does not answer"),
            Self::Refused(error) => write!(f, "the daemon's socket cannot be used: {error}"),
            Self::NotRrd => f.write_str("something other than rrd listens on the daemon's socket"),
            Self::OtherRelease => {
                write!(f, "the daemon is another release than this rrd ({})", rrd_proto::VERSION)
            }
        }
    }
}

impl Unreachable {
    /// The command that helps.
    pub(crate) fn remedy(&self) -> &'static str {
        match self {
            Self::NotRunning => "rrd service install keeps one running",
            Self::Silent | Self::OtherRelease => "rrd service restart starts it anew",
            Self::Refused(_) | Self::NotRrd => "rrd doctor looks into it",
        }
    }

    pub(crate) fn into_error(self) -> CliError {
        CliError::new(Kind::NoDaemon, self.to_string()).hint(self.remedy())
    }
}

/// Dials the daemon behind `socket`.
pub(crate) fn dial(socket: &Path) -> Result<Connection, Unreachable> {
    dial_within(socket, GREETING)
}

/// Dials the daemon behind `socket`, and gives it so long to greet.
pub(crate) fn dial_within(socket: &Path, greeting: Duration) -> Result<Connection, Unreachable> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Unreachable::Refused)?;
    let client = runtime.block_on(async {
        let greeted = timeout(greeting, greet(socket)).await;
        let stream = greeted.map_err(|_| Unreachable::Silent)??;
        let frames = LengthDelimitedCodec::builder().max_frame_length(MAX_FRAME).new_codec();
        let transport =
            tarpc::serde_transport::new(Framed::new(stream, frames), Bincode::default());
        Ok(LocalClient::new(tarpc::client::Config::default(), transport).spawn())
    })?;
    Ok(Connection { client, runtime })
}

/// What a call may take that waits so long; where it is to be over by then, hardly longer, even if the daemon hangs.
fn bounded(wait: Duration, deadline: Option<Instant>) -> Duration {
    let left = |at: Instant| at.saturating_duration_since(Instant::now()) + HASTE;
    deadline.map_or(wait + GRACE, |at| left(at).min(wait + GRACE))
}

/// Dials a daemon that may have gone, for whoever is to be done by then.
pub(crate) fn dial_by(socket: &Path, deadline: Option<Instant>) -> Result<Connection, Unreachable> {
    dial_within(socket, GREETING.min(bounded(Duration::ZERO, deadline)))
}

async fn greet(socket: &Path) -> Result<Stream, Unreachable> {
    let mut stream =
        Stream::connect(name(socket).map_err(Unreachable::Refused)?).await.map_err(|error| {
            match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                    Unreachable::NotRunning
                }
                _ => Unreachable::Refused(error),
            }
        })?;
    // Whatever fails from here on: somebody was there, and then did not speak.
    let mut answer = [0; preamble::LEN];
    async {
        stream.write_all(&Preamble::ours().encode()).await?;
        stream.flush().await?;
        stream.read_exact(&mut answer).await
    }
    .await
    .map_err(|_| Unreachable::Silent)?;
    match Preamble::check(&answer) {
        Ok(()) => Ok(stream),
        Err(Mismatch::NotRrd) => Err(Unreachable::NotRrd),
        Err(Mismatch::OtherRelease) => Err(Unreachable::OtherRelease),
    }
}

#[cfg(not(windows))]
fn name(socket: &Path) -> io::Result<Name<'_>> {
    use interprocess::local_socket::{GenericFilePath, ToFsName};
    socket.to_fs_name::<GenericFilePath>()
}

#[cfg(windows)]
fn name(socket: &Path) -> io::Result<Name<'_>> {
    use interprocess::local_socket::{GenericNamespaced, ToNsName};
    socket.as_os_str().to_ns_name::<GenericNamespaced>()
}

impl Connection {
    pub(crate) fn list(&self, query: &ListQuery) -> Result<ListReply, CliError> {
        self.call(Duration::ZERO, |at| self.client.list(at, query.clone()))
    }

    pub(crate) fn running(&self, pids: &[u32]) -> Result<Vec<Session>, CliError> {
        self.call(Duration::ZERO, |at| self.client.running(at, pids.to_vec()))
    }

    pub(crate) fn show(&self, query: &LookupQuery) -> Result<Lookup, CliError> {
        self.call(Duration::ZERO, |at| self.client.show(at, query.clone()))
    }

    /// Events, or why the host that has them cannot be asked.
    pub(crate) fn events(
        &self,
        query: &EventQuery,
    ) -> Result<Result<EventPage, Refusal>, CliError> {
        let wait = Duration::from_millis(query.wait_ms.into());
        self.call(wait, |at| self.client.events(at, query.clone()))
    }

    /// A session from above, or why there is none to be had.
    pub(crate) fn outline(
        &self,
        query: &OutlineQuery,
    ) -> Result<Result<Outline, Refusal>, CliError> {
        self.call(Duration::ZERO, |at| self.client.outline(at, query.clone()))
    }

    /// Has a session forgotten, or tells why it was not.
    pub(crate) fn forget(
        &self,
        query: &LookupQuery,
    ) -> Result<Result<Forgotten, Refusal>, CliError> {
        self.call(FORGETTING, |at| self.client.forget(at, query.clone()))
    }

    /// Files of a session, page by page, or why they cannot be had.
    pub(crate) fn copy(&self, call: &CopyCall) -> Result<Result<CopyReply, Refusal>, CliError> {
        let wait = if matches!(call, CopyCall::Bucket { .. }) { FETCHING } else { COPYING };
        self.call(wait, |at| self.client.copy(at, call.clone()))
    }

    /// What was said, wherever it was.
    pub(crate) fn search(&self, query: &SearchQuery) -> Result<SearchReply, CliError> {
        self.call(Duration::ZERO, |at| self.client.search(at, query.clone()))
    }

    /// The cursor as soon as it is another one, or after `wait`; or why nobody may wait for that.
    pub(crate) fn watch(
        &self,
        cursor: u64,
        wait: Duration,
    ) -> Result<Result<u64, Refusal>, CliError> {
        let wait_ms = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX);
        self.call(wait, |at| self.client.watch(at, cursor, wait_ms))
    }

    pub(crate) fn status(&self) -> Result<Vec<PartStatus>, CliError> {
        self.call(Duration::ZERO, |at| self.client.status(at))
    }

    pub(crate) fn hosts(&self) -> Result<Vec<Host>, CliError> {
        self.call(Duration::ZERO, |at| self.client.hosts(at))
    }

    /// Waits for what other sessions do, at most `wait`; hardly longer than until `deadline`, if there is one.
    pub(crate) fn wait(
        &self,
        call: &WaitCall,
        wait: Duration,
        deadline: Option<Instant>,
    ) -> Result<Result<WaitNews, NoWait>, CliError> {
        self.call_within(bounded(wait, deadline), |at| self.client.wait(at, call.clone()))
    }

    pub(crate) fn graph(&self) -> Result<Graph, CliError> {
        self.call(Duration::ZERO, |at| self.client.graph(at))
    }

    /// Hands a hook's call over; `within` is all the time there is.
    pub(crate) fn hook(&self, call: &HookCall, within: Duration) -> Result<(), CliError> {
        self.call_within(within, |at| self.client.hook(at, call.clone()))
    }

    /// Has the daemon do something about the fleet; other hosts may take `wait`.
    pub(crate) fn fleet(
        &self,
        call: &FleetCall,
        wait: Duration,
    ) -> Result<Result<FleetReply, Refusal>, CliError> {
        self.call(wait, |at| self.client.fleet(at, call.clone()))
    }

    /// Has the daemon do something about who may look; the Tailscale address may take a moment.
    pub(crate) fn lookers(
        &self,
        call: &LookerCall,
    ) -> Result<Result<LookerReply, Refusal>, CliError> {
        self.call(GRACE, |at| self.client.lookers(at, call.clone()))
    }

    /// Binds sessions, or tells of that.
    pub(crate) fn bind(&self, call: &BindCall) -> Result<Result<Vec<Binding>, Refusal>, CliError> {
        self.call(Duration::ZERO, |at| self.client.bind(at, call.clone()))
    }

    /// Links tasks, or tells of them.
    pub(crate) fn task(&self, call: &TaskCall) -> Result<Result<Vec<Task>, Refusal>, CliError> {
        self.call(Duration::ZERO, |at| self.client.task(at, call.clone()))
    }

    /// Sends messages, or tells of them; it may wait `wait` for one.
    pub(crate) fn message(
        &self,
        call: &MessageCall,
        wait: Duration,
    ) -> Result<Result<MessageReply, Refusal>, CliError> {
        self.call(wait, |at| self.client.message(at, call.clone()))
    }

    /// The same, hardly longer than until `deadline`, if there is one.
    pub(crate) fn message_by(
        &self,
        call: &MessageCall,
        wait: Duration,
        deadline: Option<Instant>,
    ) -> Result<Result<MessageReply, Refusal>, CliError> {
        self.call_within(bounded(wait, deadline), |at| self.client.message(at, call.clone()))
    }

    /// The same for a hook; `within` is all the time there is.
    pub(crate) fn message_within(
        &self,
        call: &MessageCall,
        within: Duration,
    ) -> Option<MessageReply> {
        self.call_within(within, |at| self.client.message(at, call.clone())).ok()?.ok()
    }

    /// Has the daemon do something about the mirror, which may take `wait`.
    pub(crate) fn mirror(
        &self,
        call: &MirrorCall,
        wait: Duration,
    ) -> Result<Result<MirrorReply, Refusal>, CliError> {
        self.call(wait, |at| self.client.mirror(at, call.clone()))
    }

    /// Asks how notices are told, or has one tried, which may take `wait`.
    pub(crate) fn notify(
        &self,
        call: &NotifyCall,
        wait: Duration,
    ) -> Result<Result<NotifyReply, Refusal>, CliError> {
        self.call(wait, |at| self.client.notify(at, call.clone()))
    }

    fn call<T, F>(
        &self,
        wait: Duration,
        ask: impl FnOnce(context::Context) -> F,
    ) -> Result<T, CliError>
    where
        F: Future<Output = Result<T, RpcError>>,
    {
        self.call_within(wait + GRACE, ask)
    }

    fn call_within<T, F>(
        &self,
        within: Duration,
        ask: impl FnOnce(context::Context) -> F,
    ) -> Result<T, CliError>
    where
        F: Future<Output = Result<T, RpcError>>,
    {
        let mut at = context::current();
        at.deadline = Instant::now() + within;
        self.runtime.block_on(ask(at)).map_err(|error| match error {
            RpcError::DeadlineExceeded => Unreachable::Silent.into_error(),
            RpcError::Server(error) => {
                CliError::new(Kind::Internal, format!("the daemon refused: {}", error.detail))
            }
            _ => CliError::new(Kind::NoDaemon, "the daemon closed the connection")
                .hint("rrd status tells whether it is back"),
        })
    }
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        os::unix::net::UnixListener,
        thread,
    };

    use super::*;

    /// Dials a listener that reads the greeting and answers `answer`, then closes.
    fn dial_one_that_says(answer: Vec<u8>) -> Unreachable {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("s");
        let listener = UnixListener::bind(&socket).unwrap();
        let server = thread::spawn(move || {
            let (mut peer, _) = listener.accept().unwrap();
            let mut greeting = [0; preamble::LEN];
            peer.read_exact(&mut greeting).unwrap();
            assert_eq!(Preamble::check(&greeting), Ok(()));
            peer.write_all(&answer).unwrap();
        });
        let result = dial(&socket).err().unwrap();
        server.join().unwrap();
        result
    }

    #[test]
    fn each_way_of_not_answering_is_told_apart() {
        let mut other = Preamble::ours().encode();
        other[8] ^= 1;
        assert!(matches!(dial_one_that_says(other.into()), Unreachable::OtherRelease));
        let http = b"HTTP/1.1 400 Bad Request\r\n".to_vec();
        assert!(matches!(dial_one_that_says(http), Unreachable::NotRrd));
        assert!(matches!(dial_one_that_says(Vec::new()), Unreachable::Silent));

        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("none");
        assert!(matches!(dial(&missing).err(), Some(Unreachable::NotRunning)));
        let left_behind = dir.path().join("dead");
        drop(UnixListener::bind(&left_behind).unwrap());
        assert!(matches!(dial(&left_behind).err(), Some(Unreachable::NotRunning)));
    }

    #[test]
    fn a_daemon_that_says_nothing_does_not_hang_us() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("s");
        let _listener = UnixListener::bind(&socket).unwrap();
        let begun = Instant::now();
        assert!(matches!(dial(&socket).err(), Some(Unreachable::Silent)));
        assert!(begun.elapsed() < GREETING * 3);
    }
}
