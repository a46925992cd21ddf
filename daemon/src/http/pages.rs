//! The routes for people: the list, a session, the way in.
//!
//! Not here: how a page is written ([`super::page`]).

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Extension, Query, State},
    http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri, header, request::Parts},
};

use rrd_proto::{EventPage, Outline, Session, Timestamp, timeline};

use super::{
    Http,
    board::{bad, only},
    gate::Caller,
    guard::{self, Form},
    lookers::{self, NotSpent},
    page::{self, ASSETS, Events, GraphView, ListView, Rows, SessionView},
    problem::Problem,
    routes::{Named, Pairs, Range, events_of, find, is_known, outline_of},
};
use crate::{fleet::aside, hub::now};

/// A page, of this moment.
pub(super) fn html(status: StatusCode, page: String) -> Response<Body> {
    let mut response = Response::new(Body::from(page));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A refusal in the form that whoever asks can read.
pub(super) fn refusal(head: &Parts, problem: Problem) -> Response<Body> {
    let accepted = head.headers.get_all(header::ACCEPT).iter();
    let mut accepted = accepted.filter_map(|kinds| kinds.to_str().ok());
    let is_page = match guard::route_of(head.uri.path()) {
        Some(route) => route.form == Form::Page,
        // An address that was mistyped.
        None => accepted.any(|kinds| kinds.contains("text/html")),
    };
    if is_page { said(problem) } else { problem.into_response() }
}

/// What is wrong, to a person.
pub(super) fn said(problem: Problem) -> Response<Body> {
    let detail = sentence(problem.detail());
    let page = match problem.status() {
        StatusCode::UNAUTHORIZED => page::refused(&detail),
        StatusCode::NOT_FOUND => page::not_found(),
        status => page::problem(heading(status), &detail, problem.hinted()),
    };
    let mut response = problem.into_response();
    *response.body_mut() = Body::from(page);
    let kind = HeaderValue::from_static("text/html; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

fn heading(status: StatusCode) -> &'static str {
    match status {
        StatusCode::FORBIDDEN => "Not from there",
        StatusCode::MISDIRECTED_REQUEST => "Another name",
        StatusCode::TOO_MANY_REQUESTS => "Wait a moment",
        StatusCode::SERVICE_UNAVAILABLE => "Not now",
        StatusCode::INTERNAL_SERVER_ERROR => "That failed",
        _ => "That cannot be answered",
    }
}

/// `/`.
pub(super) async fn list(State(http): State<Arc<Http>>, Query(pairs): Pairs) -> Response<Body> {
    let filter = pairs.iter().find(|(name, _)| name == "filter").map(|(_, text)| text.as_str());
    let (sessions, hosts, event_id, tally) = http.live.now().await;
    let (host, now) = (http.answers.hub.host(), now());
    let filter = filter.unwrap_or_default();
    let view = ListView { host: &host, now, filter, tally: &tally };
    let rows = Rows { sessions: &sessions, hosts: &hosts, as_of: now, event_id: &event_id };
    html(StatusCode::OK, page::list(&view, rows))
}

/// `/waits`.
pub(super) async fn waits(State(http): State<Arc<Http>>, Query(pairs): Pairs) -> Response<Body> {
    if let Err(problem) = only(&pairs, &[]) {
        return said(problem);
    }
    let (graph, tally) = http.live.graph().await;
    let host = http.answers.hub.host();
    let view = GraphView { host: &host, graph: &graph, tally: &tally, now: now() };
    html(StatusCode::OK, page::graph(&view))
}

/// `/s/HOST/HARNESS/ID`.
pub(super) async fn session(
    State(http): State<Arc<Http>>,
    named: Named,
    Query(pairs): Pairs,
    Extension(caller): Extension<Caller>,
) -> Response<Body> {
    let found = match Part::read(pairs) {
        Ok(part) => find(&http, named).await.map(|row| (row, part)),
        Err(problem) => Err(problem),
    };
    let (row, part) = match found {
        Ok(found) => found,
        Err(problem) => return said(problem),
    };
    let mut outline = Outline::default();
    if caller.may_read && matches!(part, Part::Time(_)) {
        outline = outline_of(&http, &row).await;
    }
    let (range, sought) = part.among(&outline);
    let asked = match caller.may_read {
        true => Some(part_of(&http, &row, range, sought).await),
        false => None,
    };
    if matches!(asked, Some(Ok(_))) && outline.marks.is_empty() {
        outline = outline_of(&http, &row).await;
    }
    let why;
    let events = match &asked {
        None => Events::Locked,
        Some(Ok(found)) => Events::Page {
            events: &found.events,
            // Events are numbered from 0, without gaps.
            older: found.events.first().is_some_and(|first| first.seq > 0),
            newer: found.more || range.before.is_some(),
            sought,
        },
        Some(Err(problem)) => {
            // It may begin with a host's name, which stays as it is.
            why = format!("{}.", problem.detail());
            Events::Unavailable(&why)
        }
    };
    let (host, now) = (http.answers.hub.host(), now());
    let view =
        SessionView { host: &host, session: &row, events, outline: &outline, as_of: now, now };
    html(StatusCode::OK, page::session(&view))
}

/// Which part of a session its page is to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Range(Range),
    /// An event, by its seq, and what is around it.
    Around(u64),
    /// The same of the last one that had happened by then.
    Time(Timestamp),
}

/// Events that follow the one that is sought, where there are so many; as many stand before it.
const FOLLOW: u64 = 50;

impl Part {
    fn read(pairs: Vec<(String, String)>) -> Result<Self, Problem> {
        let [(name, value)] = pairs.as_slice() else { return Range::read(&pairs).map(Self::Range) };
        match name.as_str() {
            "around" => {
                let seq = value.parse().map_err(|_| bad("around is a number from 0"))?;
                Ok(Self::Around(seq))
            }
            "t" => Timestamp::parse(value)
                .map(Self::Time)
                .ok_or_else(|| bad("t is a time like 2026-01-31T02:14:05Z")),
            _ => Range::read(&pairs).map(Self::Range),
        }
    }

    /// What that is, of a session with this outline, and which event is sought.
    fn among(self, outline: &Outline) -> (Range, Option<u64>) {
        let sought = match self {
            Self::Range(range) => return (range, None),
            Self::Around(seq) => Some(seq),
            Self::Time(time) => timeline::moment(&outline.marks, time).map(|mark| mark.seq),
        };
        let before = sought.map(|seq| seq.saturating_add(1 + FOLLOW));
        (Range { before, ..Range::default() }, sought)
    }
}

/// That part, with the event that is sought whatever follows it.
async fn part_of(
    http: &Http,
    row: &Session,
    range: Range,
    sought: Option<u64>,
) -> Result<EventPage, Problem> {
    let range = Range { bodies: true, ..range };
    let page = events_of(http, row, range).await?;
    let Some(sought) = sought else { return Ok(page) };
    // What follows may say so much that there was no room left for it.
    if page.events.first().is_none_or(|first| first.seq <= sought) {
        return Ok(page);
    }
    events_of(http, row, Range { before: Some(sought.saturating_add(1)), ..range }).await
}

/// `/pair?code=…`: spends the code. It is the one address whose looking at changes something, so it counts
/// only where a person goes there: not for a preview, and not for whoever only asks what would come.
pub(super) async fn pair(
    State(http): State<Arc<Http>>,
    Query(pairs): Pairs,
    Extension(caller): Extension<Caller>,
    method: Method,
    headers: HeaderMap,
) -> Response<Body> {
    let refused = |status, why: &str| html(status, page::refused(why));
    let code = pairs.into_iter().find(|(name, _)| name == "code").map(|(_, code)| code);
    let Some(code) = code.filter(|code| !code.is_empty()) else {
        return refused(
            StatusCode::BAD_REQUEST,
            "This address needs the code that rrd pair shows.",
        );
    };
    let is_ahead =
        ["purpose", "sec-purpose", "x-moz"].iter().any(|name| headers.contains_key(*name));
    if method != Method::GET || is_ahead {
        return refused(StatusCode::FORBIDDEN, "A code is spent by opening its address.");
    }
    let label = device_label(&headers);
    let (device, port) = (caller.device, caller.ends.local.port());
    let spent = aside(&http.lookers, move |lookers| lookers.spend(&code, &device, label, now()));
    let why = match spent.await {
        Some(Ok(cookie)) => {
            let mut response = html(StatusCode::SEE_OTHER, String::new());
            let https = headers.get("x-forwarded-proto").is_some_and(|proto| proto == "https");
            let cookie = lookers::set_cookie(&cookie, port, https);
            if let Ok(mut cookie) = HeaderValue::try_from(cookie.as_str()) {
                cookie.set_sensitive(true);
                response.headers_mut().insert(header::SET_COOKIE, cookie);
            }
            response.headers_mut().insert(header::LOCATION, HeaderValue::from_static("/"));
            return response;
        }
        Some(Err(why)) => why,
        None => {
            let detail = "this happened inside the daemon; rrd doctor looks into it";
            return said(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail));
        }
    };
    match why {
        NotSpent::Unknown => {
            let why = "This code does not count: each counts once, and for five minutes.";
            refused(StatusCode::FORBIDDEN, why)
        }
        NotSpent::Wait(seconds) => {
            let why = format!("too many wrong codes were tried: try again in {seconds} seconds");
            let hint = "a new code of rrd pair is taken at once";
            let mut response = said(Problem::new(StatusCode::TOO_MANY_REQUESTS, why).hint(hint));
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            response
        }
        NotSpent::Broken(broken) => {
            let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, broken.what);
            said(problem.hint(broken.remedy))
        }
        NotSpent::Full => {
            let why = "so many browsers are let in already that one must go first";
            let hint = "rrd pair --list shows them, --revoke ID takes one back";
            said(Problem::new(StatusCode::SERVICE_UNAVAILABLE, why).hint(hint))
        }
    }
}

/// What a browser says it runs on; only to know it again in a list.
fn device_label(headers: &HeaderMap) -> &'static str {
    let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
    let agent = agent.unwrap_or_default();
    let known = ["iPhone", "iPad", "Android", "Windows", "Macintosh", "CrOS", "Linux"];
    known.into_iter().find(|name| agent.contains(name)).unwrap_or_default()
}

/// Styles, script and icons. An address that names their bytes is good for ever.
pub(super) fn asset(uri: &Uri, headers: &HeaderMap) -> Option<Response<Body>> {
    let path = uri.path();
    let asset = ASSETS.iter().find(|asset| asset.path == path)?;
    let known = is_known(headers, asset.etag.as_bytes());
    let mut response = match known {
        true => Response::new(Body::empty()),
        false => Response::new(Body::from(asset.bytes)),
    };
    if known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let told = response.headers_mut();
    told.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.content_type));
    let names_bytes = uri.query().and_then(|query| query.strip_prefix("v="));
    let kept = match names_bytes.is_some_and(|hash| asset.etag.trim_matches('"') == hash) {
        true => "max-age=31536000, immutable",
        false => "no-cache",
    };
    told.insert(header::CACHE_CONTROL, HeaderValue::from_static(kept));
    told.insert(header::ETAG, HeaderValue::try_from(&asset.etag).ok()?);
    Some(response)
}

/// Begins with a capital and ends with a full stop.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", letters.as_str().trim_end_matches('.'))
}
