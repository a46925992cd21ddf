//! `GET /sessions`, and the page for a phone: the same answers over HTTP, only to be read.
//!
//! Every request passes one gate before anything answers it: is this host meant, does another site ask, and
//! may who asks look at that. What is served has passed the redactor as any answer has. Not here: what the
//! answers say ([`crate::answers`]).

mod board;
pub(crate) mod calls;
pub(crate) mod guard;
mod listen;
mod live;
pub(crate) mod lookers;
mod metrics;
mod openapi;
mod places;
mod problem;
mod routes;
pub(crate) mod settings;
pub(crate) mod whois;

use std::{
    convert::Infallible,
    sync::{Arc, OnceLock, PoisonError, RwLock},
};

use axum::{
    Router,
    body::Body,
    http::{HeaderValue, Request, Response, StatusCode, request::Parts},
};
use rrd_proto::Timestamp;
use tokio_util::sync::CancellationToken;
use tower_service::Service;

use crate::{answers::Answers, config::Config, hub::now};
use board::Board;
use guard::{Class, Ends, Names, Openness, Origin};
pub(crate) use listen::{bind, run};
use live::Live;
use places::Places;
use problem::Problem;
use settings::HttpSettings;

/// What a browser shows when it comes back.
pub(crate) const COOKIE: &str = "rrd_looker";

/// Everything that answers requests.
pub(crate) struct Http {
    pub(crate) answers: Arc<Answers>,
    board: Board,
    live: Arc<Live>,
    places: Arc<Places>,
    settings: HttpSettings,
    names: RwLock<Names>,
    router: OnceLock<Router>,
}

impl Http {
    pub(crate) fn new(config: &Config, answers: Arc<Answers>) -> Arc<Self> {
        let generation = u64::try_from(Timestamp::as_millis(now())).unwrap_or(0);
        let given = config.http.hosts.iter().map(|name| name.to_ascii_lowercase()).collect();
        let http = Arc::new(Self {
            board: Board::new(Arc::clone(&answers)),
            live: Arc::new(Live::new(Arc::clone(&answers), generation)),
            places: Arc::default(),
            settings: config.http.clone(),
            names: RwLock::new(Names { given, tailnet: None }),
            router: OnceLock::new(),
            answers,
        });
        let _ = http.router.set(routes::router(Arc::clone(&http)));
        http
    }

    /// Tells of changes for as long as somebody listens, until it is stopped.
    pub(crate) async fn tell(self: Arc<Self>, stop: CancellationToken) {
        Arc::clone(&self.live).run(stop).await;
    }

    /// Answers one request.
    async fn answer(
        &self,
        ends: Ends,
        request: Request<Body>,
    ) -> Result<Response<Body>, Infallible> {
        let (head, body) = request.into_parts();
        let mut response = match self.admit(ends, &head).await {
            Ok(()) => match self.router.get() {
                Some(router) => router.clone().call(Request::from_parts(head, body)).await?,
                None => routes::not_found().into_response(),
            },
            Err(problem) => problem.into_response(),
        };
        for (name, value) in guard::HEADERS {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        Ok(response)
    }

    async fn admit(&self, ends: Ends, head: &Parts) -> Result<(), Problem> {
        let Parts { method, uri, headers, .. } = head;
        let host = {
            let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
            guard::admit(method, uri, headers, ends, &names)?
        };
        let Some(route) = guard::route_of(uri.path()) else { return Ok(()) };
        if route.class == Class::Open {
            return Ok(());
        }
        let origin = match guard::is_loopback(ends, &host, headers) {
            true => Origin::Loopback,
            false => Origin::Other,
        };
        let open = Openness {
            loopback: self.settings.loopback_open,
            pairing_required: self.settings.pairing_required,
        };
        if !guard::needs_pairing(origin, route.class, open) {
            return Ok(());
        }
        Err(Problem::new(StatusCode::UNAUTHORIZED, "who asks is not known here")
            .hint("rrd pair lets a phone in, rrd open a browser on this host, rrd token a script"))
    }
}
