//! Where browsers connect: sockets, and the limits of what comes in over them.
//!
//! Slow ones lose their connection and nobody else's: a head must come within some seconds, and what is
//! sent must be taken. Not here: what is answered.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener as Socket},
    sync::{Arc, PoisonError},
    time::Duration,
};

use axum::{Router, body::Body};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    time::sleep,
};
use tokio_io_timeout::TimeoutWriter;
use tokio_util::sync::CancellationToken;

use super::{
    Http,
    guard::{Ends, MAX_HEAD},
    places::Place,
    routes,
    settings::HttpListen,
};
use crate::{
    fleet::{Bound, bind_from, by_route, is_tailscale, reachable, tailscale},
    hub::now,
};

/// The head of a request comes within this, the first one and every other.
const HEAD_WITHIN: Duration = Duration::from_secs(15);

/// How often it is looked where the Tailscale address is, while it is wanted.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// How often it is looked what this node is called, at the least.
const NAME_AGAIN: Duration = Duration::from_secs(600);

/// What is sent is taken within this.
const TAKEN_WITHIN: Duration = Duration::from_secs(20);

/// Bytes of a connection that are held, about: hyper looks at it between reads. A head that grows beyond them, as
/// one that is no HTTP, gets hyper's own 431 or 400: a bare status line, which hyper lets nobody shape, and
/// the end. Whatever is read as a request is refused by [`super::guard`], in a problem document. And of what
/// waits to be sent.
const MAX_HELD: usize = 2 * MAX_HEAD;

/// Serves the page and its JSON where that is wanted. Where it cannot be, the rest goes on without. Inside a
/// runtime.
pub(crate) fn start(http: &Arc<Http>, stop: &CancellationToken) {
    let (ip, port) = match http.settings.listen {
        HttpListen::Off => return,
        HttpListen::Auto { port } => (Ipv4Addr::LOCALHOST.into(), port),
        HttpListen::At(address) => (address.ip(), address.port()),
    };
    let Bound { sockets: socket, address, note } = match bind(ip, port) {
        Ok(bound) => bound,
        Err(error) => {
            tracing::error!(%error, "no page for browsers");
            *http.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
            return;
        }
    };
    tokio::spawn(Arc::clone(&http.live).run(stop.clone()));
    tokio::spawn(takes(Arc::clone(http), socket, stop.clone()));
    http.addresses.send_modify(|addresses| {
        addresses.moved = note;
        let ip = address.ip().to_canonical();
        if ip.is_loopback() || ip.is_unspecified() {
            addresses.loopback = Some(SocketAddr::new(here(ip), address.port()));
        }
        if is_tailscale(ip) {
            addresses.tailnet = Some(address);
        } else if !ip.is_loopback() {
            addresses.others.push(reachable(address));
        }
    });
    tokio::spawn(follow_name(Arc::clone(http), stop.clone()));
    match http.settings.listen {
        HttpListen::Auto { .. } => {
            tokio::spawn(follow_tailnet(Arc::clone(http), address.port(), stop.clone()));
        }
        _ => {
            // Nothing more will come.
            http.addresses.send_modify(|addresses| {
                let note = match address.ip().to_canonical().is_unspecified() {
                    true => "[http] listen names every address",
                    false => "[http] listen names this address only",
                };
                addresses.note = Some(note.to_owned());
                addresses.settled = u64::MAX;
            });
        }
    }
}

/// The loopback address of a family.
fn here(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(ip) if ip.is_loopback() => ip.into(),
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    }
}

/// Listens at the Tailscale address while others are to look: members of a fleet, or a device that is
/// paired or about to be.
async fn follow_tailnet(http: Arc<Http>, port: u16, stop: CancellationToken) {
    let mut lookers = http.lookers.changed();
    let mut fleet = http.answers.fleet.as_ref().as_ref().ok().map(|fleet| fleet.changed());
    let mut open: Option<(IpAddr, CancellationToken)> = None;
    let mut by_the_clock = false;
    loop {
        let settles = *lookers.borrow_and_update();
        let in_fleet =
            http.answers.fleet.as_ref().as_ref().is_ok_and(|fleet| fleet.key().is_some());
        let wanted = in_fleet || http.lookers.wants_tailnet(now());
        let ip = match wanted {
            // The route tells at no cost; the program is asked when there is a reason to.
            true if by_the_clock => by_route().or(open.as_ref().map(|(ip, _)| *ip)),
            true => tokio::task::spawn_blocking(tailscale).await.ok().flatten(),
            false => None,
        };
        if open.as_ref().map(|(ip, _)| *ip) != ip {
            if let Some((_, ends)) = open.take() {
                ends.cancel();
                http.addresses.send_modify(|addresses| addresses.tailnet = None);
            }
            if let Some(ip) = ip {
                // Whoever comes may call it by its name from the first moment on.
                learn_name(&http).await;
                open = open_at(&http, ip, port, &stop);
            }
        }
        http.addresses.send_modify(|addresses| {
            match (wanted, ip) {
                (true, None) => {
                    let note = "no Tailscale address".to_owned();
                    addresses.note = Some(note);
                }
                (true, Some(_)) => {}
                (false, _) => addresses.note = None,
            }
            addresses.settled = settles;
        });
        let fleet_changes = async {
            match &mut fleet {
                Some(fleet) => drop(fleet.changed().await),
                None => std::future::pending().await,
            }
        };
        by_the_clock = tokio::select! {
            () = stop.cancelled() => return,
            _ = lookers.changed() => false,
            () = fleet_changes => false,
            () = sleep(LOOK_AGAIN), if wanted => true,
        };
    }
}

fn open_at(
    http: &Arc<Http>,
    ip: IpAddr,
    port: u16,
    stop: &CancellationToken,
) -> Option<(IpAddr, CancellationToken)> {
    let Bound { sockets: socket, address, note } = match bind(ip, port) {
        Ok(bound) => bound,
        Err(error) => {
            let note = error.to_string();
            http.addresses.send_modify(|addresses| addresses.note = Some(note));
            return None;
        }
    };
    let ends = stop.child_token();
    tokio::spawn(takes(Arc::clone(http), socket, ends.clone()));
    http.addresses.send_modify(|addresses| {
        addresses.tailnet = Some(address);
        addresses.note = note.map(|note| format!("{note} at the Tailscale address"));
    });
    Some((ip, ends))
}

/// Learns this node's name in the tailnet, and again, for it may change. It is asked by that name on loopback,
/// too: Tailscale's own server asks there, whether or not anything listens at the Tailscale address.
async fn follow_name(http: Arc<Http>, stop: CancellationToken) {
    let mut again = LOOK_AGAIN;
    loop {
        let is_known = learn_name(&http).await;
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(again) => {}
        }
        // Tailscale may be starting; where there is none, it is not asked for without end.
        again = if is_known { NAME_AGAIN } else { (again * 2).min(NAME_AGAIN) };
    }
}

/// What this node is called in the tailnet is a name it is asked by. Whether it is known.
async fn learn_name(http: &Http) -> bool {
    let own = http.tailnet.own().await;
    let Some(name) = own.and_then(|own| own.dns_name.clone()) else { return false };
    http.names.write().unwrap_or_else(PoisonError::into_inner).tailnet = Some(name.clone());
    http.addresses.send_if_modified(|addresses| {
        addresses.dns_name.replace(name.clone()).is_none_or(|before| before != name)
    });
    true
}

/// Binds there, or at the next free port.
fn bind(ip: IpAddr, port: u16) -> io::Result<Bound<Socket>> {
    bind_from(SocketAddr::new(ip, port), |at| {
        let socket = Socket::bind(at)?;
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        Ok((socket, address))
    })
}

/// Takes connections until it is stopped.
async fn takes(http: Arc<Http>, socket: Socket, stop: CancellationToken) {
    let listener = match TcpListener::from_std(socket) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "cannot take HTTP connections"),
    };
    let router = routes::router(Arc::clone(&http));
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            // Where everybody asks, whoever comes last goes.
            Ok((stream, _)) => {
                if let Some(place) = http.places.take() {
                    let (http, router, stop) = (Arc::clone(&http), router.clone(), stop.clone());
                    tokio::spawn(async move {
                        tokio::select! {
                            () = stop.cancelled() => {}
                            result = serve(http, router, stream, place) => if let Err(error) = result {
                                tracing::debug!(%error, "an HTTP connection ended");
                            }
                        }
                    });
                }
            }
            // Out of descriptors: those who are connected go on, and the next try may succeed.
            Err(error) => {
                tracing::warn!(%error, "cannot take an HTTP connection");
                sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

async fn serve(
    http: Arc<Http>,
    router: Router,
    stream: TcpStream,
    place: Place,
) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let ends = Ends::new(stream.peer_addr()?, stream.local_addr()?);
    let mut stream = TimeoutWriter::new(stream);
    stream.set_timeout(Some(TAKEN_WITHIN));
    let stream = TokioIo::new(Box::pin(stream));
    let place = &place;
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        place.asks();
        let (http, router) = (Arc::clone(&http), router.clone());
        // Boxed: hyper keeps room for an answer in the making as long as a connection lives.
        Box::pin(async move { http.answer(&router, ends, request.map(Body::new)).await })
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(MAX_HELD)
        .serve_connection(stream, service);
    tokio::select! {
        result = connection => Ok(result?),
        () = place.is_wanted() => Ok(()),
    }
}
