//! The HTTP client beneath a bucket: patience in the right places, and a note of what came back.
//!
//! `object_store` has one time limit for a whole request. A part of 8 MiB on a slow line would break it, so the
//! limits are here: [`Patience`]. And what it says of a failure repeats addresses and bodies; so each failure is
//! noted here as it was, without either, for the task that asked ([`noting`]). Nothing is tried again in here:
//! whoever asked knows whether that is safe.

use std::{
    cell::RefCell,
    error::Error,
    fmt, io,
    pin::Pin,
    sync::{Arc, Once},
    task::{Context, Poll},
    time::Duration,
};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use hyper::body::{Body, Frame, SizeHint};
use object_store::{
    ClientOptions,
    client::{
        HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
        HttpResponseBody, HttpService, ReqwestConnector,
    },
};
use tokio::{
    sync::watch,
    time::{Instant, Sleep, sleep, sleep_until, timeout},
};

/// How long a place is waited for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// For a connection.
    pub(super) connect: Duration,
    /// For the answer when all was sent, and between two pieces of an answer.
    pub(super) silence: Duration,
    /// Bytes a second that the slowest line takes: so much longer may it take to send a body. Nothing tells here
    /// how far sending is; 8 MiB at this pace are four minutes.
    pub(super) slowest: u32,
    /// For the answer, once somebody asks anew ([`Anew`]): who works has answered by then.
    pub(super) prompt: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        let (connect, silence) = (Duration::from_secs(5), Duration::from_secs(30));
        Self { connect, silence, slowest: 32 << 10, prompt: Duration::from_secs(5) }
    }
}

impl Patience {
    /// What it may take to send a body.
    fn to_send(self, bytes: usize) -> Duration {
        Duration::from_secs_f64(bytes as f64 / f64::from(self.slowest))
    }
}

/// When somebody asked last how a place is now: what was asked before, and should have been answered, is given up.
#[derive(Debug, Clone, Default)]
pub(super) struct Anew(Arc<watch::Sender<Option<Instant>>>);

impl Anew {
    pub(super) fn ask(&self) {
        self.0.send_replace(Some(Instant::now()));
    }

    /// Returns once somebody has asked since `begun`.
    async fn asked_since(&self, begun: Instant) {
        let mut asked = self.0.subscribe();
        let _ = asked.wait_for(|asked| asked.is_some_and(|asked| asked > begun)).await;
    }
}

/// Of the body of a refusal no more is read: its code is in the first lines.
const MAX_REFUSAL: usize = 64 << 10;
/// No store gets itself left alone for longer.
const LONGEST_WISH: Duration = Duration::from_secs(3600);

/// A request that failed.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    /// The host that was asked; not always the store's.
    pub(super) asked: String,
    pub(super) answer: Answer,
}

impl Seen {
    /// Whether it is there and has no time.
    pub(super) fn is_busy(&self) -> bool {
        matches!(self.answer, Answer::Status { status: 429 | 500.., .. })
    }
}

/// What came back.
#[derive(Debug, Clone)]
pub(super) enum Answer {
    Status {
        status: u16,
        /// The store's word for it, letters and digits only; empty if it has none.
        code: String,
        /// Of `Retry-After`, if that is in seconds.
        after: Option<Duration>,
    },
    None {
        /// Time ran out.
        silent: bool,
        /// Whether anything was sent.
        connected: bool,
        /// What the system says, with a colon before it; or empty.
        why: String,
    },
}

tokio::task_local! {
    static SEEN: RefCell<Option<Seen>>;
}

/// Awaits `ask`, and what of its last request failed, if it did.
pub(super) async fn noting<T>(ask: impl Future<Output = T>) -> (T, Option<Seen>) {
    // A request is made and polled by the task that asks: nothing beneath spawns.
    let noted = async {
        let answer = ask.await;
        (answer, SEEN.with(RefCell::take))
    };
    SEEN.scope(RefCell::default(), noted).await
}

fn note(seen: Option<Seen>) {
    // Credentials may be fetched where nobody takes note.
    let _ = SEEN.try_with(|noted| noted.replace(seen));
}

/// Makes clients that are patient as told.
#[derive(Debug)]
pub(super) struct Connector(pub(super) Patience, pub(super) Anew);

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        // reqwest is built without a choice of its own. If somebody chose before, that will do, too.
        static CHOSEN: Once = Once::new();
        CHOSEN.call_once(|| {
            let _ = rustls::crypto::ring::default_provider().install_default();
        });
        let client = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(Patient { client, patience: self.0, anew: self.1.clone() }))
    }
}

#[derive(Debug)]
struct Patient {
    client: HttpClient,
    patience: Patience,
    anew: Anew,
}

#[async_trait]
impl HttpService for Patient {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        note(None);
        let asked = request.uri().host().unwrap_or_default().to_owned();
        let to_send = self.patience.to_send(request.body().content_length());
        let begun = Instant::now();
        let given_up = async {
            self.anew.asked_since(begun).await;
            sleep_until(begun + to_send + self.patience.prompt).await;
        };
        let answer = tokio::select! {
            answer = timeout(to_send + self.patience.silence, self.client.execute(request)) => {
                answer.unwrap_or_else(|_| Err(silence()))
            }
            () = given_up => Err(silence()),
        };
        let response = answer.inspect_err(|error| note(Some(lost(&asked, error))))?;
        let (parts, body) = response.into_parts();
        let status = parts.status.as_u16();
        let body = Watched {
            body,
            asked: asked.clone(),
            silence: self.patience.silence,
            timer: Box::pin(sleep(self.patience.silence)),
        };
        let body = HttpResponseBody::new(body);
        if parts.status.is_success() {
            return Ok(HttpResponse::from_parts(parts, body));
        }
        let text = refusal(body).await;
        let after = parts.headers.get("retry-after").and_then(|value| value.to_str().ok());
        let after = after.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
        let answer =
            Answer::Status { status, code: code(&text), after: after.map(|a| a.min(LONGEST_WISH)) };
        note(Some(Seen { asked, answer }));
        Ok(HttpResponse::from_parts(parts, text.into()))
    }
}

fn silence() -> HttpError {
    HttpError::new(HttpErrorKind::Timeout, io::Error::from(io::ErrorKind::TimedOut))
}

/// The beginning of a refusal's body: what breaks off is as good as what was read.
async fn refusal(body: HttpResponseBody) -> String {
    let mut text = BytesMut::new();
    let mut pieces = body.bytes_stream();
    while let Some(Ok(piece)) = pieces.next().await {
        let room = MAX_REFUSAL - text.len();
        text.extend_from_slice(&piece[..piece.len().min(room)]);
        if text.len() == MAX_REFUSAL {
            break;
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// `SlowDown` of `<Error><Code>SlowDown</Code>…`. All three kinds of stores write it so; the code is made of
/// letters and digits, or it is none.
pub(super) fn code(body: &str) -> String {
    let code = body.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>"));
    let code = code.map_or("", |(code, _)| code.trim());
    let is_code = code.len() <= 64 && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if is_code { code.to_owned() } else { String::new() }
}

fn lost(asked: &str, error: &HttpError) -> Seen {
    let silent = error.kind() == HttpErrorKind::Timeout;
    let connected = error.kind() != HttpErrorKind::Connect && !is_connect(error);
    // The innermost reason: of the system, of TLS or of the resolver. Those before it only say where it was.
    let mut why: Option<&dyn Error> = error.source();
    while let Some(inner) = why.and_then(Error::source) {
        why = Some(inner);
    }
    let why = why.map(|why| format!(": {why}")).filter(|why| why.len() <= 200);
    let answer = Answer::None { silent, connected, why: why.unwrap_or_default() };
    Seen { asked: asked.to_owned(), answer }
}

/// Time that ran out while connecting is both a timeout and no connection.
fn is_connect(error: &HttpError) -> bool {
    let source = error.source().and_then(|source| source.downcast_ref::<reqwest::Error>());
    source.is_some_and(reqwest::Error::is_connect)
}

/// An answer's body that is given up when nothing comes for a while.
struct Watched {
    body: HttpResponseBody,
    asked: String,
    silence: Duration,
    timer: Pin<Box<Sleep>>,
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched").finish_non_exhaustive()
    }
}

impl Body for Watched {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let this = &mut *self;
        let frame = match Pin::new(&mut this.body).poll_frame(context) {
            Poll::Ready(frame) => frame,
            Poll::Pending => match this.timer.as_mut().poll(context) {
                Poll::Ready(()) => Some(Err(silence())),
                Poll::Pending => return Poll::Pending,
            },
        };
        if let Some(Err(error)) = &frame {
            note(Some(lost(&this.asked, error)));
        }
        this.timer.as_mut().reset(Instant::now() + this.silence);
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
