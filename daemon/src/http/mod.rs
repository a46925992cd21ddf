//! `GET /sessions`, and the page for a phone: the same answers over HTTP, only to be read; and the session
//! store, which programs write to.
//!
//! Every request passes one gate before anything answers it: is this host meant, does another site ask, and
//! may who asks look at that. What is served has passed the redactor as any answer has. Not here: what the
//! answers say ([`crate::answers`]).

mod board;
pub(crate) mod calls;
mod gate;
pub(crate) mod guard;
mod listen;
mod live;
pub(crate) mod lookers;
mod metrics;
mod openapi;
mod page;
mod pages;
mod places;
mod problem;
mod routes;
mod search;
mod session_store;
pub(crate) mod settings;
pub(crate) mod whois;

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use axum::{
    Router,
    body::Body,
    http::{HeaderValue, Request, Response},
};
use rrd_proto::{Health, PartStatus, Timestamp};
use tokio::sync::watch;
use tower_service::Service;

use crate::{answers::Answers, config::Config, hub::now, sdk::SessionStore};
use board::Board;
use calls::Addresses;
use guard::{Ends, Names};
pub(crate) use listen::start;
use live::Live;
use lookers::Lookers;
pub use page::{About, Export};
use places::Places;
use settings::HttpSettings;
use whois::Tailnet;

/// Everything that answers requests.
pub(crate) struct Http {
    pub(crate) answers: Arc<Answers>,
    pub(crate) lookers: Arc<Lookers>,
    addresses: watch::Sender<Addresses>,
    board: Board,
    live: Arc<Live>,
    places: Arc<Places>,
    settings: HttpSettings,
    names: RwLock<Names>,
    tailnet: Tailnet,
    store: Arc<SessionStore>,
    room: session_store::Room,
    /// Why there is no page.
    trouble: Mutex<Option<String>>,
}

impl Http {
    pub(crate) fn new(config: &Config, answers: Arc<Answers>) -> Arc<Self> {
        let generation = u64::try_from(Timestamp::as_millis(now())).unwrap_or(0);
        let given = config.http.hosts.iter().map(|name| name.to_ascii_lowercase()).collect();
        Arc::new(Self {
            lookers: Lookers::open(&config.dirs.state, now()),
            addresses: watch::channel(Addresses::default()).0,
            board: Board::new(Arc::clone(&answers)),
            live: Arc::new(Live::new(Arc::clone(&answers), generation)),
            places: Arc::default(),
            settings: config.http.clone(),
            names: RwLock::new(Names { given, tailnet: None }),
            tailnet: match &config.http.tailscaled {
                Some(socket) => Tailnet::at(socket.clone()),
                None => Tailnet::system(),
            },
            trouble: Mutex::default(),
            store: SessionStore::open(&config.dirs.state, &answers.mirror),
            room: session_store::Room::default(),
            answers,
        })
    }

    /// Where the page is.
    pub(crate) fn addresses(&self) -> watch::Receiver<Addresses> {
        self.addresses.subscribe()
    }

    /// Answers one request; the routes hold this, so it does not hold them.
    async fn answer(
        &self,
        router: &Router,
        ends: Ends,
        request: Request<Body>,
    ) -> Result<Response<Body>, Infallible> {
        let (mut head, body) = request.into_parts();
        let admitted = match self.asker(ends, &head) {
            Ok(asker) => self.admit(&asker).await.map(|caller| (asker, caller)),
            Err(problem) => Err(problem),
        };
        let mut response = match admitted {
            Ok((asker, caller)) => {
                head.extensions.insert(asker);
                head.extensions.insert(caller);
                router.clone().call(Request::from_parts(head, body)).await?
            }
            Err(problem) => pages::refusal(&head, problem),
        };
        for (name, value) in guard::HEADERS {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        Ok(response)
    }

    /// How it is, as a part of the daemon.
    pub(crate) fn part(&self) -> PartStatus {
        let part = |state, detail: String, hint: Option<&str>| PartStatus {
            part: "http".to_owned(),
            state,
            detail,
            hint: hint.map(str::to_owned),
        };
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(trouble) = trouble {
            let hint = "[http] listen in config.toml, or --http, names another address";
            return part(Health::Failed, format!("no page for browsers: {trouble}"), Some(hint));
        }
        let addresses = self.addresses.borrow().clone();
        let at: Vec<String> = addresses.all().map(|at| format!("http://{at}")).collect();
        if at.is_empty() {
            return part(Health::Off, "no page for browsers".to_owned(), None);
        }
        let places::Counts { open, shed } = self.places.counts();
        let mut detail = format!("{}; {open} connections", at.join(", "));
        let said = [(self.live.listeners() as u64, "listen"), (shed, "had to make room")];
        for (count, what) in said.into_iter().filter(|(count, _)| *count > 0) {
            detail += &format!(", {count} {what}");
        }
        if let Some(broken) = self.lookers.trouble() {
            let detail = format!("{detail}; nobody can be let in: {}", broken.what);
            return part(Health::Degraded, detail, Some("rrd doctor looks into it"));
        }
        let guesses = self.lookers.waits(now()).map(|seconds| {
            format!("wrong codes were tried, so no more of them are looked at for {seconds} s")
        });
        for note in [addresses.moved, addresses.note, guesses].into_iter().flatten() {
            detail += &format!("; {note}");
        }
        part(Health::Ok, detail, None)
    }
}
