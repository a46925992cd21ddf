//! The session store over HTTP: what the SDK's adapters in `client/adapters` ask.
//!
//! Entries go in and out as they are, one JSON object a line, to whoever has a token for the store: they are that
//! program's own. A key stands in the query, part by part. Not here: what becomes of it ([`crate::sdk`]).

use std::{sync::Arc, time::Duration};

use axum::{
    body::{Body, to_bytes},
    extract::{Query, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header},
};
use rrd_core::sdk::{self, Key};
use schemars::SchemaGenerator;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::{sync::Semaphore, time::timeout};

use super::{
    Http,
    board::{Made, bad, only},
    problem::{Problem, ProblemDocument},
    routes::{Answer, Pairs, document},
};
use crate::sdk::Failed;

/// Bytes that one call brings, at most.
pub(super) const MAX_BODY: usize = 32 << 20;

/// Bytes of calls that are in memory, in all.
const MAX_BODIES: usize = 2 * MAX_BODY;

/// What a call brings is there within this. The SDK gives up after as long.
const WITHIN: Duration = Duration::from_secs(60);

/// A JSON object a line.
const LINES: &str = "application/x-ndjson";

/// Room for bodies, in bytes: whoever finds none waits.
#[derive(Debug)]
pub(super) struct Room(Semaphore);

impl Default for Room {
    fn default() -> Self {
        Self(Semaphore::new(MAX_BODIES))
    }
}

/// A session of a project.
#[derive(Debug, Serialize, schemars::JsonSchema)]
struct StoredSession {
    /// Its id.
    session_id: String,
    /// When it was last written to, in milliseconds since the epoch.
    mtime: u64,
}

/// What a call added.
#[derive(Debug, Serialize, schemars::JsonSchema)]
struct Appended {
    /// Entries that were not there yet.
    taken: usize,
}

pub(super) async fn append(State(http): State<Arc<Http>>, request: Request) -> Answer {
    let (head, body) = request.into_parts();
    let Query(pairs) = Pairs::try_from_uri(&head.uri).map_err(|_| bad("that is no query"))?;
    let key = key(&pairs)?;
    let kind = head.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    // No form of another site's is sent as that.
    if kind.and_then(|kind| kind.split(';').next()).map(str::trim) != Some(LINES) {
        let detail = format!("entries are sent as {LINES}: one JSON object a line");
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    let length = head.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    let length: usize = length.and_then(|length| length.parse().ok()).ok_or_else(|| {
        Problem::new(StatusCode::LENGTH_REQUIRED, "a call says how long it is: Content-Length")
    })?;
    let room = u32::try_from(length).ok().filter(|_| length <= MAX_BODY).ok_or_else(|| {
        let most = MAX_BODY >> 20;
        let detail = format!("a call brings at most {most} MiB; this one has {length} bytes");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
            .hint("several calls, one after the other, keep the order of their entries")
    })?;
    let come = async {
        let room = http.room.0.acquire_many(room).await.ok()?;
        Some((to_bytes(body, length).await.ok()?, room))
    };
    let came = timeout(WITHIN, come).await.map_err(|_| {
        let seconds = WITHIN.as_secs();
        let detail = format!("the call's entries did not come within {seconds} s");
        Problem::new(StatusCode::REQUEST_TIMEOUT, detail)
    })?;
    let (body, _room) = came.ok_or_else(|| bad("the call ended before its last entry"))?;
    let taken = http.store.append(key, body).await.map_err(failed)?;
    document(&HeaderMap::new(), &Made::of(&Appended { taken }))
}

pub(super) async fn load(State(http): State<Arc<Http>>, Query(pairs): Pairs) -> Answer {
    let Some(loaded) = http.store.load(key(&pairs)?).await.map_err(failed)? else {
        // Not 404: whoever asks at a wrong address would take that for a session that never was.
        let mut none = Response::new(Body::empty());
        *none.status_mut() = StatusCode::NO_CONTENT;
        return Ok(none);
    };
    let redacted = if loaded.is_redacted { ", redacted" } else { ", NOT redacted" };
    let (length, came, unasked) = (loaded.length(), loaded.came, loaded.unasked.clone());
    let body = futures::stream::unfold(loaded, crate::sdk::Loaded::next);
    let mut response = Response::new(Body::from_stream(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(LINES));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    let note = match (came, unasked) {
        (0, None) => return Ok(response),
        (0, Some(why)) => format!("no bucket could be asked for what other hosts added: {why}"),
        (came, _) => format!("{came} entries came out of the mirror's bucket{redacted}"),
    };
    tracing::info!(note, "a session was loaded from the session store");
    let note: String =
        note.chars().map(|c| if matches!(c, ' '..='~') { c } else { '?' }).take(500).collect();
    headers.extend(HeaderValue::try_from(note).ok().map(|note| (NOTE, note)));
    Ok(response)
}

/// What there is to say of a transcript besides it.
const NOTE: HeaderName = HeaderName::from_static("x-rrd-note");

pub(super) async fn delete(State(http): State<Arc<Http>>, Query(pairs): Pairs) -> Answer {
    http.store.delete(key(&pairs)?).await.map_err(failed)?;
    let mut done = Response::new(Body::empty());
    *done.status_mut() = StatusCode::NO_CONTENT;
    Ok(done)
}

pub(super) async fn sessions(
    State(http): State<Arc<Http>>,
    Query(pairs): Pairs,
    headers: HeaderMap,
) -> Answer {
    only(&pairs, &["project"])?;
    let project = given(&pairs, "project").ok_or_else(|| bad("project is missing"))?;
    let folder = sdk::project_folder(project).map_err(|no| bad(no.to_string()))?;
    let found = http.store.sessions(folder).await.map_err(failed)?;
    let row = |crate::sdk::Stored { session_id, mtime }| StoredSession { session_id, mtime };
    let rows: Vec<StoredSession> = found.into_iter().map(row).collect();
    document(&headers, &Made::of(&rows))
}

pub(super) async fn subkeys(
    State(http): State<Arc<Http>>,
    Query(pairs): Pairs,
    headers: HeaderMap,
) -> Answer {
    only(&pairs, &["project", "session"])?;
    let found = http.store.subkeys(key(&pairs)?).await.map_err(failed)?;
    document(&headers, &Made::of(&found))
}

fn given<'p>(pairs: &'p [(String, String)], wanted: &str) -> Option<&'p str> {
    pairs.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str())
}

fn key(pairs: &[(String, String)]) -> Result<Key, Problem> {
    only(pairs, &["project", "session", "subpath"])?;
    let part = |name: &str| given(pairs, name).ok_or_else(|| bad(format!("{name} is missing")));
    Key::new(part("project")?, part("session")?, given(pairs, "subpath"))
        .map_err(|no| bad(no.to_string()))
}

fn failed(failed: Failed) -> Problem {
    if let Failed::NoEntries(why) = failed {
        return bad(why.to_string()).hint("nothing of this call was kept");
    }
    let (status, hint) = match &failed {
        Failed::Full => (StatusCode::INSUFFICIENT_STORAGE, "nothing of this call was kept"),
        Failed::Bucket(_) => (StatusCode::SERVICE_UNAVAILABLE, "rrd mirror status tells more"),
        _ => (StatusCode::INTERNAL_SERVER_ERROR, "rrd doctor looks into it"),
    };
    tracing::warn!(error = %failed, "the session store could not do what it was asked");
    Problem::new(status, failed.to_string()).hint(hint)
}

/// What there is to ask, for the OpenAPI document.
pub(super) fn paths(schemas: &mut SchemaGenerator) -> [(&'static str, Value); 3] {
    let problem = schemas.subschema_for::<ProblemDocument<'_>>();
    let problem = json!({"application/problem+json": {"schema": problem}});
    let text = |name: &str, what: &str, required: bool| {
        let schema = json!({"type": "string", "minLength": 1});
        json!({"name": name, "in": "query", "description": what, "required": required, "schema": schema})
    };
    let project = text("project", "The SDK's projectKey", true);
    let session = text("session", "The session's id", true);
    let subpath =
        text("subpath", "One of its other transcripts, such as subagents/agent-a1b2", false);
    let operation =
        |summary: &str, parameters: &[&Value], good: (&str, Value), refused: &[&str]| {
            let mut responses = json!({ good.0: good.1 });
            for code in ["400", "401", "403", "405", "421", "431", "500"].iter().chain(refused) {
                let what = match *code {
                    "401" => "A token of rrd token --session-store is missing",
                    "403" => "Another site asks",
                    "411" => "Content-Length is missing",
                    "413" => "More than 32 MiB at once",
                    "415" => "Not sent as application/x-ndjson",
                    "503" => "This host has no copy, and a bucket cannot be asked",
                    "507" => "The disk is full; nothing was kept",
                    _ => "That cannot be done",
                };
                responses[*code] = json!({"description": what, "content": problem});
            }
            json!({"summary": summary, "parameters": parameters, "responses": responses,
            "security": [{"token": []}]})
        };
    let lines = json!({LINES: {"schema": {"type": "string"}}});
    let of_json = |schema: schemars::Schema| json!({"description": "So it is", "content": {"application/json": {"schema": schema}}});
    let key = [&project, &session, &subpath];
    let none = json!({"description": "There is none"});
    let mut load = operation(
        "A transcript's entries as they were stored, one a line",
        &key,
        ("200", json!({"description": "All of them, in order", "content": lines})),
        &["503"],
    );
    load["responses"]["204"] = none;
    load["responses"]["200"]["headers"] = json!({NOTE.as_str(): {
        "description": "What there is to say besides: that entries came out of a bucket, redacted; that none could be asked",
        "schema": {"type": "string"}}});
    let mut append = operation(
        "Adds entries to a transcript: on the disk before the answer; one with a uuid that is there already is not added again",
        &key,
        ("200", of_json(schemas.subschema_for::<Appended>())),
        &["408", "411", "413", "415", "507"],
    );
    append["requestBody"] = json!({"required": true, "content": lines});
    let done = ("204", json!({"description": "It is gone"}));
    let delete = operation(
        "Deletes a transcript, with a session's own all of the session",
        &key,
        done,
        &["507"],
    );
    let list = of_json(schemas.subschema_for::<Vec<StoredSession>>());
    let names = of_json(schemas.subschema_for::<Vec<String>>());
    [
        ("/session-store/entries", json!({"get": load, "post": append, "delete": delete})),
        (
            "/session-store/sessions",
            json!({"get": operation("The sessions of a project", &[&project], ("200", list), &[])}),
        ),
        (
            "/session-store/subkeys",
            json!({"get": operation("The subpaths of a session's other transcripts",
                &[&project, &session], ("200", names), &["503"])}),
        ),
    ]
}
