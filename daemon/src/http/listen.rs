//! Where browsers connect: sockets, and the limits of what comes in over them.
//!
//! Slow ones lose their connection and nobody else's: a head must come within some seconds, and what is
//! sent must be taken. Not here: what is answered.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener as Socket},
    sync::Arc,
    time::Duration,
};

use axum::body::Body;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;

use super::{Http, guard::Ends, places::Place, settings::HttpListen};

/// How many ports are tried.
const TRIES: u16 = 32;

/// The head of a request comes within this, the first one and every other.
const HEAD_WITHIN: Duration = Duration::from_secs(15);

/// What is sent is taken within this.
const TAKEN_WITHIN: Duration = Duration::from_secs(20);

/// Bytes of a request's head, and of what waits to be sent.
const MAX_HEAD: usize = 32 * 1024;

/// A socket, and what is to be said of it.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) socket: Socket,
    pub(crate) address: SocketAddr,
    /// It is not where it was wanted.
    pub(crate) moved_from: Option<u16>,
}

/// Binds where the setting says, or at the next free port; `None` where it says off.
///
/// # Errors
/// The system's, of the last port that was tried.
pub(crate) fn bind(listen: HttpListen) -> io::Result<Option<Bound>> {
    match listen {
        HttpListen::Off => Ok(None),
        HttpListen::Auto { port } => bind_at(Ipv4Addr::LOCALHOST.into(), port).map(Some),
        HttpListen::At(address) => bind_at(address.ip(), address.port()).map(Some),
    }
}

/// The same at one address.
pub(crate) fn bind_at(ip: IpAddr, first: u16) -> io::Result<Bound> {
    let mut tried = 0;
    loop {
        let port = if first == 0 { 0 } else { first.saturating_add(tried) };
        tried += 1;
        match Socket::bind((ip, port)) {
            Ok(socket) => {
                socket.set_nonblocking(true)?;
                let address = socket.local_addr()?;
                let moved_from = (first != 0 && address.port() != first).then_some(first);
                return Ok(Bound { socket, address, moved_from });
            }
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && tried < TRIES => {}
            Err(error) => {
                return Err(io::Error::new(error.kind(), format!("{ip}:{port}: {error}")));
            }
        }
    }
}

/// Takes connections until it is stopped. Inside a runtime.
pub(crate) async fn run(http: Arc<Http>, socket: Socket, stop: CancellationToken) {
    let listener = match TcpListener::from_std(socket) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "cannot take HTTP connections"),
    };
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            // Where everybody asks, whoever comes last goes.
            Ok((stream, _)) => {
                if let Some(place) = http.places.take() {
                    let (http, stop) = (Arc::clone(&http), stop.clone());
                    tokio::spawn(async move {
                        tokio::select! {
                            () = stop.cancelled() => {}
                            result = serve(http, stream, place) => if let Err(error) = result {
                                tracing::debug!(%error, "an HTTP connection ended");
                            }
                        }
                    });
                }
            }
            // Out of descriptors: those who are connected go on, and the next try may succeed.
            Err(error) => {
                tracing::warn!(%error, "cannot take an HTTP connection");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

async fn serve(http: Arc<Http>, stream: TcpStream, place: Place) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let ends = Ends::new(stream.peer_addr()?, stream.local_addr()?);
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(TAKEN_WITHIN));
    let stream = TokioIo::new(Box::pin(stream));
    let place = &place;
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        place.asks();
        let http = Arc::clone(&http);
        async move { http.answer(ends, request.map(Body::new)).await }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(MAX_HEAD)
        .serve_connection(stream, service);
    tokio::select! {
        result = connection => Ok(result?),
        () = place.is_wanted() => Ok(()),
    }
}
