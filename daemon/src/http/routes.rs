//! What is answered where. Whoever gets here may look.
//!
//! Ids out of addresses only look rows up; no path and no query is made from them. Not here: who may
//! ([`super::guard`]).

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{Extension, Path, Query, Request, State, rejection::PathRejection},
    http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Uri, header},
    routing::{MethodRouter, get},
};
use futures::StreamExt as _;
use rrd_proto::{
    EventPage, EventQuery, HostState, Lookup, LookupQuery, MAX_MARKS, NodeId, Outline,
    OutlineQuery, Session,
};
use tokio::time::timeout;

use super::{
    Http,
    board::{Asked, Made, bad, flag, only},
    gate::{Asker, Caller},
    guard::ROUTES,
    live::steady,
    metrics, openapi, pages,
    problem::Problem,
    search, session_store,
};

/// Events of an answer, unless told otherwise, and at most.
const EVENTS: u32 = 100;
const MOST_EVENTS: u32 = 1_000;

/// A listener asks anew after so long, and goes on from where it was.
const LISTENS_FOR: Duration = Duration::from_secs(10 * 60);

pub(super) type Answer = Result<Response<Body>, Problem>;
pub(super) type Pairs = Query<Vec<(String, String)>>;
/// Host, harness, session id.
pub(super) type Named = Result<Path<(String, String, String)>, PathRejection>;

/// Every route of the table, and no other.
pub(super) fn router(http: Arc<Http>) -> Router {
    let with = |router: Router<Arc<Http>>, route: &super::guard::Route| {
        router.route(route.path, handler(route.path))
    };
    let router = ROUTES.iter().fold(Router::new(), with);
    let nothing = async |request: Request| pages::refusal(&request.into_parts().0, not_found());
    router.fallback(nothing).with_state(http)
}

fn handler(path: &str) -> MethodRouter<Arc<Http>> {
    match path {
        "/healthz" => get(async |Query(pairs): Pairs| respond(health(&pairs))),
        "/sessions" => {
            get(async |http, query, headers| respond(sessions(http, query, headers).await))
        }
        "/sessions/{host}/{harness}/{id}" => get(async |http, named, query, headers| {
            respond(session(http, named, query, headers).await)
        }),
        "/sessions/{host}/{harness}/{id}/events" => get(async |http, named, query, headers| {
            respond(events(http, named, query, headers).await)
        }),
        "/sessions/{host}/{harness}/{id}/outline" => get(async |http, named, query, headers| {
            respond(outline(http, named, query, headers).await)
        }),
        "/search" => {
            get(async |http, query, headers| respond(search::search(http, query, headers).await))
        }
        "/hosts" => get(async |http, query, headers| respond(hosts(http, query, headers).await)),
        "/graph" => get(async |http, query, headers| respond(graph(http, query, headers).await)),
        "/events" => get(async |http, query, asker, headers| {
            respond(listen(http, query, asker, headers).await)
        }),
        "/metrics" => get(async |http, query| respond(figures(http, query).await)),
        "/openapi.json" => {
            get(async |caller, query, headers| respond(about(caller, query, headers).await))
        }
        "/session-store/entries" => {
            get(async |http, query| respond(session_store::load(http, query).await))
                .post(async |http, request| respond(session_store::append(http, request).await))
                .delete(async |http, query| respond(session_store::delete(http, query).await))
        }
        "/session-store/sessions" => get(async |http, query, headers| {
            respond(session_store::sessions(http, query, headers).await)
        }),
        "/session-store/subkeys" => get(async |http, query, headers| {
            respond(session_store::subkeys(http, query, headers).await)
        }),
        "/" => get(pages::list),
        "/s/{host}/{harness}/{id}" => get(pages::session),
        "/find" => get(search::find),
        "/waits" => get(pages::waits),
        "/pair" => get(pages::pair),
        _ => get(async |uri: Uri, headers: HeaderMap| {
            pages::asset(&uri, &headers).unwrap_or_else(|| not_found().into_response())
        }),
    }
}

fn respond(answer: Answer) -> Response<Body> {
    answer.unwrap_or_else(Problem::into_response)
}

pub(super) fn not_found() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "there is nothing here")
        .hint("/openapi.json tells what there is")
}

async fn sessions(
    State(http): State<Arc<Http>>,
    Query(pairs): Pairs,
    headers: HeaderMap,
) -> Answer {
    let asked = Asked::read(&pairs)?;
    let made = http.board.sessions(&asked).await?;
    document(&headers, &Ok(made))
}

async fn hosts(State(http): State<Arc<Http>>, Query(pairs): Pairs, headers: HeaderMap) -> Answer {
    only(&pairs, &[])?;
    let hosts = http.answers.hosts();
    let mut made = Made::of(&hosts)?;
    // What ticks is no change: a weak tag names what is the same but for that.
    let still: Vec<_> = hosts.iter().map(steady).collect();
    let tag = Made::of(&still)?.etag;
    let weak = [b"W/", tag.as_bytes()].concat();
    made.etag = HeaderValue::from_bytes(&weak).unwrap_or(tag);
    document(&headers, &Ok(made))
}

async fn graph(State(http): State<Arc<Http>>, Query(pairs): Pairs, headers: HeaderMap) -> Answer {
    only(&pairs, &[])?;
    let _looking = http.answers.desk.look().await;
    document(&headers, &Made::of(&*http.answers.graphs.now()))
}

async fn session(
    State(http): State<Arc<Http>>,
    named: Named,
    Query(pairs): Pairs,
    headers: HeaderMap,
) -> Answer {
    only(&pairs, &[])?;
    let row = find(&http, named).await?;
    document(&headers, &Made::of(&row))
}

async fn events(
    State(http): State<Arc<Http>>,
    named: Named,
    Query(pairs): Pairs,
    headers: HeaderMap,
) -> Answer {
    let range = Range::read(&pairs)?;
    let row = find(&http, named).await?;
    let page = events_of(&http, &row, range).await?;
    document(&headers, &Made::of(&page))
}

async fn outline(
    State(http): State<Arc<Http>>,
    named: Named,
    Query(pairs): Pairs,
    headers: HeaderMap,
) -> Answer {
    let (after, limit) = part(&pairs)?;
    let row = find(&http, named).await?;
    let query = OutlineQuery { key: row.key(), node: asked_of(&row), after, limit };
    document(&headers, &Made::of(&http.answers.outline(&query).await?))
}

/// Which part of an outline: the marks after a seq, and how many.
fn part(pairs: &[(String, String)]) -> Result<(Option<u64>, u32), Problem> {
    only(pairs, &["after", "limit"])?;
    let (mut after, mut limit) = (None, MAX_MARKS);
    for (name, value) in pairs {
        let number: u64 = value.parse().map_err(|_| bad(format!("{name} is a number from 0")))?;
        match name.as_str() {
            "after" => after = Some(number),
            _ => {
                let within = u32::try_from(number).ok().filter(|n| (1..=MAX_MARKS).contains(n));
                limit = within.ok_or_else(|| bad(format!("limit is from 1 to {MAX_MARKS}")))?;
            }
        }
    }
    Ok((after, limit))
}

/// Who is asked about a session; nobody but this host about its own.
fn asked_of(row: &Session) -> Option<NodeId> {
    let elsewhere = row.host_state != HostState::Here;
    row.node_id.as_ref().filter(|_| elsewhere).and_then(|node| node.parse().ok())
}

async fn figures(State(http): State<Arc<Http>>, Query(pairs): Pairs) -> Answer {
    only(&pairs, &[])?;
    Ok(text("text/plain; version=0.0.4; charset=utf-8", metrics::text(&http)))
}

async fn about(
    Extension(caller): Extension<Caller>,
    Query(pairs): Pairs,
    headers: HeaderMap,
) -> Answer {
    only(&pairs, &[])?;
    document(&headers, &Made::of(&openapi::at(caller.ends.local.port())))
}

fn health(pairs: &[(String, String)]) -> Answer {
    only(pairs, &[])?;
    Ok(text("text/plain; charset=utf-8", "ok\n"))
}

async fn listen(
    State(http): State<Arc<Http>>,
    Query(pairs): Pairs,
    Extension(asker): Extension<Asker>,
    headers: HeaderMap,
) -> Answer {
    only(&pairs, &["last_event_id"])?;
    // A browser that comes back tells it in a header; a page that was just made, in its address.
    let of_page = pairs.iter().find(|(name, _)| name == "last_event_id");
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let last = last.or(of_page.map(|(_, id)| id.as_str()));
    let Some(frames) = http.live.listen(last).await else {
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too many listen already"));
    };
    let frames = frames.take_until(is_over(Arc::clone(&http), asker));
    let mut response = Response::new(Body::from_stream(frames));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // For those that would collect it.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

/// Returns when a listener may look no more, or has listened for so long that it has to ask anew.
async fn is_over(http: Arc<Http>, asker: Asker) {
    let is_refused = async {
        let mut lookers = http.lookers.changed();
        let mut fleet = http.answers.fleet.as_ref().as_ref().ok().map(|fleet| fleet.changed());
        // What was let in may be let in no more, and a host dropped.
        // Boxed: what that takes is held while it lasts, and not by each who listens.
        while Box::pin(http.admit(&asker)).await.is_ok() {
            let fleet_changes = async {
                match &mut fleet {
                    Some(fleet) => fleet.changed().await.is_ok(),
                    None => std::future::pending().await,
                }
            };
            let goes_on = tokio::select! {
                changed = lookers.changed() => changed.is_ok(),
                goes_on = fleet_changes => goes_on,
            };
            if !goes_on {
                return;
            }
        }
    };
    let _ = timeout(LISTENS_FOR, is_refused).await;
}

/// The session that an address names.
pub(super) async fn find(http: &Http, named: Named) -> Result<Session, Problem> {
    let Ok(Path((host, harness, id))) = named else { return Err(bad("that names no session")) };
    let id = format!("{host}/{harness}/{id}");
    match http.answers.show(&LookupQuery { id, raw: false }).await {
        Lookup::Found(row) => Ok(*row),
        _ => Err(Problem::new(StatusCode::NOT_FOUND, "no such session is known here")
            .hint("/sessions?all=1 lists all")),
    }
}

/// Which events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) after: Option<u64>,
    pub(super) before: Option<u64>,
    pub(super) limit: u32,
    pub(super) bodies: bool,
}

impl Default for Range {
    fn default() -> Self {
        Self { after: None, before: None, limit: EVENTS, bodies: false }
    }
}

impl Range {
    pub(super) fn read(pairs: &[(String, String)]) -> Result<Self, Problem> {
        only(pairs, &["after", "before", "limit", "bodies"])?;
        let mut range = Self::default();
        for (name, value) in pairs {
            let number = || value.parse().map_err(|_| bad(format!("{name} is a number from 0")));
            match name.as_str() {
                "after" => range.after = Some(number()?),
                "before" => range.before = Some(number()?),
                "bodies" => range.bodies = flag(name, value)?,
                "limit" => match number()? {
                    limit @ 1..=1_000 => range.limit = u32::try_from(limit).unwrap_or(EVENTS),
                    _ => return Err(bad(format!("limit is from 1 to {MOST_EVENTS}"))),
                },
                _ => {}
            }
        }
        Ok(range)
    }
}

/// Events of a session, from whichever host has them.
pub(super) async fn events_of(
    http: &Http,
    row: &Session,
    range: Range,
) -> Result<EventPage, Problem> {
    let Range { after, before, limit, bodies } = range;
    let query = EventQuery {
        key: row.key(),
        node: asked_of(row),
        after,
        before,
        limit,
        wait_ms: 0,
        bodies,
        raw: false,
    };
    let mut page = http.answers.events(&query).await?;
    if let Some(before) = before.filter(|_| after.is_some()) {
        let found = page.events.len();
        page.events.retain(|event| event.seq < before);
        page.more &= page.events.len() == found;
    }
    Ok(page)
}

/// Marks that a strip is made of, at most: of a session that is longer the newest are not on it.
const STRIP: usize = 100_000;

/// A session from above, as far as it can be had.
pub(super) async fn outline_of(http: &Http, row: &Session) -> Outline {
    let node = asked_of(row);
    let mut whole = Outline::default();
    loop {
        let after = whole.marks.last().map(|mark| mark.seq);
        let query = OutlineQuery { key: row.key(), node, after, limit: MAX_MARKS };
        let Ok(part) = http.answers.outline(&query).await else { return whole };
        let (came, more) = (part.marks.len(), part.more);
        match after {
            None => whole = part,
            Some(_) => whole.marks.extend(part.marks),
        }
        if !more || came == 0 || whole.marks.len() >= STRIP {
            return whole;
        }
    }
}

/// A document, or that it is still the one that is known.
pub(super) fn document(headers: &HeaderMap, made: &Result<Made, Problem>) -> Answer {
    let Made { body, etag, as_of, incomplete } = made.as_ref().map_err(Clone::clone)?;
    let is_known = is_known(headers, etag.as_bytes());
    let mut response = match is_known {
        true => Response::new(Body::empty()),
        false => Response::new(Body::from(body.clone())),
    };
    if is_known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let told = response.headers_mut();
    told.insert(header::ETAG, etag.clone());
    told.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    told.insert(HeaderName::from_static("x-rrd-as-of"), as_of.clone());
    if let Some(incomplete) = incomplete {
        told.insert(HeaderName::from_static("x-rrd-incomplete"), incomplete.clone());
    }
    if !is_known {
        told.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    Ok(response)
}

/// Whether whoever asks has what this tag names: of the tags that they list one is it, weak or not.
pub(super) fn is_known(headers: &HeaderMap, etag: &[u8]) -> bool {
    fn plain(tag: &[u8]) -> &[u8] {
        tag.strip_prefix(b"W/").unwrap_or(tag)
    }
    let listed = headers.get_all(header::IF_NONE_MATCH).iter();
    let mut tags = listed.flat_map(|tags| tags.as_bytes().split(|byte| *byte == b','));
    tags.any(|tag| matches!(tag.trim_ascii(), tag if tag == b"*" || plain(tag) == plain(etag)))
}

fn text(kind: &'static str, text: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(text.into());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_read_or_refused() {
        let read = |query: &[(&str, &str)]| {
            let pair = |(n, v): &(&str, &str)| ((*n).to_owned(), (*v).to_owned());
            Range::read(&query.iter().map(pair).collect::<Vec<_>>())
        };
        assert_eq!(
            read(&[]).unwrap(),
            Range { after: None, before: None, limit: EVENTS, bodies: false }
        );
        assert_eq!(read(&[("after", "0"), ("limit", "1000")]).unwrap().limit, MOST_EVENTS);
        for wrong in [
            &[("after", "-1")][..],
            &[("limit", "0")],
            &[("limit", "1001")],
            &[("after", "1"), ("after", "1")],
            &[("after", "99999999999999999999")],
            &[("raw", "1")],
        ] {
            assert_eq!(read(wrong).unwrap_err().status(), 400, "{wrong:?}");
        }
        let read = |query: &[(&str, &str)]| {
            let pair = |(n, v): &(&str, &str)| ((*n).to_owned(), (*v).to_owned());
            part(&query.iter().map(pair).collect::<Vec<_>>())
        };
        assert_eq!(read(&[]).unwrap(), (None, MAX_MARKS));
        assert_eq!(read(&[("after", "7"), ("limit", "20000")]).unwrap(), (Some(7), MAX_MARKS));
        for wrong in [("after", "x"), ("limit", "0"), ("limit", "20001"), ("before", "1")] {
            assert_eq!(read(&[wrong]).unwrap_err().status(), 400, "{wrong:?}");
        }
    }
}
