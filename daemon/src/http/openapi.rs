//! What there is to ask, as an OpenAPI 3.1 document; its schemas are made from the types that are sent.
//!
//! Pages for people are not in it.

use std::sync::LazyLock;

use rrd_core::harness::formats;
use rrd_proto::{
    Event, EventPage, Graph, Host, MAX_HITS, MAX_MARKS, Outline, SearchHit, SearchKind, Session,
    VERSION,
};
use schemars::{SchemaGenerator, generate::SchemaSettings};
use serde_json::{Value, json};

use super::{
    guard::{Class, Form, ROUTES, Route},
    live::{Change, Snapshot},
    lookers::cookie_name,
    problem::ProblemDocument,
    session_store,
};

/// The document of a server at this port.
pub(super) fn at(port: u16) -> Value {
    static DOCUMENT: LazyLock<Value> = LazyLock::new(document);
    let mut document = DOCUMENT.clone();
    document["components"]["securitySchemes"]["cookie"]["name"] = cookie_name(port).into();
    document
}

/// All of it but what the cookie is called.
fn document() -> Value {
    let mut schemas = SchemaSettings::draft2020_12()
        .with(|settings| settings.definitions_path = "/components/schemas".into())
        .for_serialize()
        .into_generator();
    let mut paths: serde_json::Map<String, Value> = ROUTES
        .iter()
        .filter(|route| route.form == Form::Data && route.class != Class::Store)
        .filter_map(|route| {
            Some((route.path.to_owned(), json!({"get": operation(route, &mut schemas)?})))
        })
        .collect();
    let of_store = session_store::paths(&mut schemas);
    paths.extend(of_store.map(|(path, told)| (path.to_owned(), told)));
    // Of these only the stream tells.
    schemas.subschema_for::<Snapshot<'_>>();
    schemas.subschema_for::<Change<'_>>();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "rrd",
            "version": VERSION,
            "description": "Every coding-agent session on all of a person's machines, from any of them. Only the session store is written to.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas.take_definitions(true),
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "Made by `rrd token`; for the session store by `rrd token --session-store`."},
                "cookie": {"type": "apiKey", "in": "cookie",
                    "description": "Given to a browser by `rrd pair` or `rrd open`."},
            },
        },
    })
}

fn operation(route: &Route, schemas: &mut SchemaGenerator) -> Option<Value> {
    let (summary, content): (&str, Value) = match route.path {
        "/sessions" => (
            "Sessions that match: the active ones, unless told otherwise",
            of_json::<Vec<Session>>(schemas),
        ),
        "/sessions/{host}/{harness}/{id}" => ("One session", of_json::<Session>(schemas)),
        "/sessions/{host}/{harness}/{id}/events" => {
            schemas.subschema_for::<Event>();
            (
                "What happened in a session, from whichever host has it",
                of_json::<EventPage>(schemas),
            )
        }
        "/sessions/{host}/{harness}/{id}/outline" => (
            "All of a session from above: a mark for each event, when it waited, its subagents",
            of_json::<Outline>(schemas),
        ),
        "/search" => (
            "What was said and done, on every host, the best first",
            of_json::<Vec<SearchHit>>(schemas),
        ),
        "/hosts" => {
            ("Every host of the fleet, the answering one first", of_json::<Vec<Host>>(schemas))
        }
        "/graph" => {
            ("Who waits for whom, and what a person must do first", of_json::<Graph>(schemas))
        }
        "/events" => (
            "Changes as they happen: `snapshot` (Snapshot), then `change` (Change); a `beat` where there are none",
            json!({"text/event-stream": {"schema": {"type": "string"}}}),
        ),
        "/healthz" => ("Whether it answers", plain()),
        "/metrics" => ("Figures for Prometheus", plain()),
        "/openapi.json" => {
            ("This document", json!({"application/json": {"schema": {"type": "object"}}}))
        }
        _ => return None,
    };
    let problem = json!({"application/problem+json": {"schema": schemas.subschema_for::<ProblemDocument<'_>>()}});
    let refused = |what: &str| json!({"description": what, "content": problem});
    let mut responses = json!({
        "200": {"description": "So it is", "content": content},
        "400": refused("The request cannot be understood"),
        "403": refused("Another site asks"),
        "405": refused("Only GET and HEAD are answered"),
        "421": refused("This host does not go by that name"),
        "431": refused("The head is longer than 16 KiB"),
    });
    let mut also = |code: &str, what: &str| responses[code] = refused(what);
    if route.class != Class::Open {
        also("401", "Cookie or token is missing");
    }
    if route.path.contains('{') {
        also("404", "No such session");
    }
    match route.path {
        "/sessions/{host}/{harness}/{id}/events" | "/sessions/{host}/{harness}/{id}/outline" => {
            also("503", "Its host cannot be asked");
        }
        "/events" => also("503", "Too many listen"),
        _ => {}
    }
    if content_is_json(&responses["200"]) {
        responses["304"] = json!({"description": "Still what If-None-Match names"});
    }
    let security = match route.class {
        Class::Open => json!([]),
        _ => json!([{}, {"token": []}, {"cookie": []}]),
    };
    Some(json!({
        "summary": summary,
        "parameters": parameters(route.path),
        "responses": responses,
        "security": security,
    }))
}

fn content_is_json(response: &Value) -> bool {
    response["content"].get("application/json").is_some()
}

fn of_json<T: schemars::JsonSchema>(schemas: &mut SchemaGenerator) -> Value {
    json!({"application/json": {"schema": schemas.subschema_for::<T>()}})
}

fn plain() -> Value {
    json!({"text/plain": {"schema": {"type": "string"}}})
}

fn parameters(path: &str) -> Vec<Value> {
    let given = |place: &str, name: &str, what: &str, schema: Value| json!({"name": name, "in": place, "description": what, "schema": schema, "required": place == "path"});
    let text = || json!({"type": "string"});
    let flag = || json!({"type": "string", "enum": ["0", "1", "true", "false"]});
    let known_harness =
        || json!({"type": "string", "enum": formats().iter().map(|f| f.name).collect::<Vec<_>>()});
    let since = || {
        json!({"anyOf": [
            {"type": "string", "pattern": "^[0-9]{1,9}[smhd]$"},
            {"type": "string", "format": "date-time"},
        ]})
    };
    let seq = || json!({"type": "integer", "minimum": 0, "maximum": u64::MAX});
    let mut parameters: Vec<Value> = match path {
        "/sessions" => vec![
            given("query", "all", "Every session, ended ones too", flag()),
            given("query", "open", "Those that are open, though idle for long, too", flag()),
            given("query", "host", "Only of the host with this label", text()),
            given("query", "harness", "Only of this harness", known_harness()),
            given("query", "repo", "Only in this repository", text()),
            given(
                "query",
                "status",
                "Only with this status",
                json!({"type": "string", "enum": ["waiting", "executing", "idle", "ended"]}),
            ),
            given(
                "query",
                "since",
                "Only with activity since then: so long ago, or a time",
                since(),
            ),
        ],
        "/sessions/{host}/{harness}/{id}/events" => vec![
            given("query", "after", "Only those with a greater seq", seq()),
            given(
                "query",
                "before",
                "Only those with a smaller seq: without after the newest of them",
                seq(),
            ),
            given(
                "query",
                "bodies",
                "1: each with all that it says; a page then ends after some megabytes, too",
                flag(),
            ),
            given(
                "query",
                "limit",
                "At most so many",
                json!({"type": "integer", "minimum": 1, "maximum": 1000}),
            ),
        ],
        "/sessions/{host}/{harness}/{id}/outline" => vec![
            given(
                "query",
                "after",
                "Only marks with a greater seq; waits and subagents come with the first",
                seq(),
            ),
            given(
                "query",
                "limit",
                "At most so many marks",
                json!({"type": "integer", "minimum": 1, "maximum": MAX_MARKS}),
            ),
        ],
        "/search" => vec![
            json!({"name": "q", "in": "query", "required": true,
                // Letters of any script will do; a pattern that says so means something else to many.
                "schema": {"type": "string", "pattern": "[0-9A-Za-z]"}, "description":
                "Words, all of which are to be found in one event; \"words in quotes\" one after the other; wor* is the beginning of a word"}),
            given("query", "host", "Only on the host with this label", text()),
            given("query", "harness", "Only of this harness", known_harness()),
            given("query", "repo", "Only in this repository", text()),
            given(
                "query",
                "since",
                "Only what happened since then: so long ago, or a time",
                since(),
            ),
            given(
                "query",
                "kind",
                "Only such",
                json!({"type": "string", "enum": SearchKind::ALL.map(SearchKind::as_str)}),
            ),
            given(
                "query",
                "limit",
                "At most so many",
                json!({"type": "integer", "minimum": 1, "maximum": MAX_HITS}),
            ),
        ],
        "/events" => {
            vec![
                given("header", "Last-Event-ID", "The last change that was heard", text()),
                given("query", "last_event_id", "The same, where there is no such header", text()),
            ]
        }
        _ => Vec::new(),
    };
    if path.contains('{') {
        parameters.extend([
            given("path", "host", "Its label", text()),
            given("path", "harness", "Who writes the transcript", text()),
            given("path", "id", "The harness's own id", text()),
        ]);
    }
    parameters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_for_programs_is_told_of() {
        let document = document();
        let style = [
            "/style.css",
            "/graph.css",
            "/app.js",
            "/icon.svg",
            "/icon-180.png",
            "/manifest.webmanifest",
        ];
        for route in ROUTES.iter().filter(|route| route.form == Form::Data) {
            let told = document["paths"].get(route.path).is_some();
            assert_eq!(told, !style.contains(&route.path), "{}", route.path);
        }
        let schemas = document["components"]["schemas"].as_object().unwrap();
        for name in [
            "Session",
            "Host",
            "Event",
            "EventPage",
            "Outline",
            "Subagent",
            "SearchHit",
            "ProblemDocument",
            "Snapshot",
            "Change",
        ] {
            assert!(schemas.contains_key(name), "{name} of {:?}", schemas.keys());
        }
        let session = schemas["Session"]["properties"].as_object().unwrap();
        assert!(session.contains_key("ref") && session.contains_key("waiting_for"));
        // What it points at is there.
        let text = document.to_string();
        for target in text.split("#/components/schemas/").skip(1) {
            let name = target.split('"').next().unwrap();
            assert!(schemas.contains_key(name), "{name}");
        }
    }
}
