//! The table, walked; and what can be told from a request alone.

use proptest::prelude::*;

use super::*;

fn ends(peer: &str, local: &str) -> Ends {
    Ends::new(peer.parse().unwrap(), local.parse().unwrap())
}

fn here() -> Ends {
    ends("127.0.0.1:50000", "127.0.0.1:7730")
}

fn names() -> Names {
    Names { given: vec!["rrd.example".to_owned()], tailnet: Some("mac.tail1234.ts.net".to_owned()) }
}

fn asks(path: &str, headers: &[(&str, &str)], ends: Ends) -> Result<String, u16> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(HeaderName::try_from(*name).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    admit(&Method::GET, &path.parse().unwrap(), &map, ends, &names())
        .map_err(|problem| problem.status().as_u16())
}

#[test]
fn the_table_of_who_may_look() {
    use Class::{List, Open, Store, Transcript};
    use Origin::{Loopback, Other, OwnDevice};
    let usual = Openness { loopback: true, pairing_required: false };
    let closed = Openness { loopback: false, ..usual };
    let strict = Openness { pairing_required: true, ..usual };
    // Where it comes from, what it asks for, and whether it needs more: usually; where loopback is closed;
    // where everybody is to be paired.
    let table = [
        (Loopback, Open, [false, false, false]),
        (Loopback, List, [false, true, true]),
        (Loopback, Transcript, [true, true, true]),
        (OwnDevice, Open, [false, false, false]),
        (OwnDevice, List, [false, false, true]),
        (OwnDevice, Transcript, [false, false, true]),
        (Other, Open, [false, false, false]),
        (Other, List, [true, true, true]),
        (Other, Transcript, [true, true, true]),
        (Loopback, Store, [true, true, true]),
        (OwnDevice, Store, [true, true, true]),
        (Other, Store, [true, true, true]),
    ];
    for (origin, class, needs) in table {
        let found = [usual, closed, strict].map(|open| needs_pairing(origin, class, open));
        assert_eq!(found, needs, "{origin:?} {class:?}");
    }
    // What is open holds nothing that anybody said.
    let open: Vec<&str> = ROUTES.iter().filter(|r| r.class == Open).map(|r| r.path).collect();
    let expected = [
        "/pair",
        "/style.css",
        "/graph.css",
        "/app.js",
        "/icon.svg",
        "/icon-180.png",
        "/manifest.webmanifest",
        "/healthz",
    ];
    assert_eq!(open, expected);
    let transcripts: Vec<_> =
        ROUTES.iter().filter(|r| r.class == Transcript).map(|r| r.path).collect();
    let expected = [
        "/sessions/{host}/{harness}/{id}/events",
        "/sessions/{host}/{harness}/{id}/outline",
        "/search",
        "/find",
    ];
    assert_eq!(transcripts, expected);
    // What can be written is the store's, and all of the store's is for its own tokens.
    for route in &ROUTES {
        let of_store = route.path.starts_with("/session-store/");
        assert_eq!(route.class == Store, of_store, "{}", route.path);
        assert!(route.allow == READ_ONLY || of_store, "{}", route.path);
    }
}

#[test]
fn a_path_is_one_route_or_none() {
    let of = |path: &str| route_of(path).map(|route| route.path);
    assert_eq!(of("/sessions/mac/codex/01a1"), Some("/sessions/{host}/{harness}/{id}"));
    assert_eq!(
        of("/sessions/mac/codex/01a1/events"),
        Some("/sessions/{host}/{harness}/{id}/events")
    );
    assert_eq!(of("/sessions/mac/codex/..%2f..%2fetc"), Some("/sessions/{host}/{harness}/{id}"));
    for none in [
        "",
        "/x",
        "/sessions/",
        "/sessions/mac",
        "/sessions/a/b/c/d",
        "/sessions//b/c",
        "/healthz/",
    ] {
        assert_eq!(of(none), None, "{none}");
    }
}

#[test]
fn only_who_means_this_host_is_heard() {
    for host in [
        "127.0.0.1:7730",
        "localhost:7730",
        "LOCALHOST:7730",
        "127.0.0.2:7730",
        "mac.tail1234.ts.net",
        "mac.tail1234.ts.net:7730",
        "mac:7730",
        "rrd.example",
        "rrd.example:7730",
    ] {
        assert!(asks("/sessions", &[("host", host)], here()).is_ok(), "{host}");
    }
    for host in [
        "evil.example",
        "evil.example:7730",
        "localhost.evil.com:7730",
        "127.0.0.1.nip.io:7730",
        "127.0.0.1:7731",
        "127.0.0.1",
        "localhost",
        "localhost:77300",
        "[::1]:7731",
        "0.0.0.0:7730",
        "100.64.0.1:7730",
        "mac.tail1234.ts.net:443",
        "mac.tail1234.ts.net.:7730",
        "rrd.example:80",
        "user@127.0.0.1:7730",
        "",
    ] {
        assert_eq!(asks("/sessions", &[("host", host)], here()), Err(421), "{host}");
    }
    assert_eq!(asks("/sessions", &[], here()), Err(400));
    let twice = [("host", "127.0.0.1:7730"), ("host", "evil.example")];
    assert_eq!(asks("/sessions", &twice, here()), Err(400));
    let absolute = asks("http://evil.example/sessions", &[("host", "127.0.0.1:7730")], here());
    assert_eq!(absolute, Err(400));
    // On the tailnet it has another address, and loopback is nobody there.
    let there = ends("100.64.0.9:50000", "100.64.0.1:7730");
    assert!(asks("/sessions", &[("host", "100.64.0.1:7730")], there).is_ok());
    for host in ["127.0.0.1:7730", "localhost:7730", "100.64.0.2:7730"] {
        assert_eq!(asks("/sessions", &[("host", host)], there), Err(421), "{host}");
    }
}

#[test]
fn another_site_gets_nothing() {
    let with = |path: &str, headers: &[(&str, &str)]| {
        let host = ("host", "127.0.0.1:7730");
        asks(path, &headers.iter().copied().chain([host]).collect::<Vec<_>>(), here())
    };
    let own = ("origin", "http://127.0.0.1:7730");
    assert!(with("/sessions", &[own, ("sec-fetch-site", "same-origin")]).is_ok());
    assert!(with("/", &[("sec-fetch-site", "none")]).is_ok());
    for origin in
        ["http://evil.example", "null", "http://127.0.0.1:3000", "http://127.0.0.1", "file://"]
    {
        assert_eq!(with("/sessions", &[("origin", origin)]), Err(403), "{origin}");
    }
    let follows = [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-dest", "document"),
    ];
    // A link leads to a page, and nothing is read from elsewhere by it.
    assert!(with("/", &follows).is_ok());
    assert_eq!(with("/sessions", &follows), Err(403));
    assert_eq!(with("/nowhere", &follows), Err(403));
    for site in ["cross-site", "same-site", "whatever"] {
        assert_eq!(with("/events", &[("sec-fetch-site", site)]), Err(403), "{site}");
        let framed = [
            ("sec-fetch-site", site),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "iframe"),
        ];
        assert_eq!(with("/", &framed), Err(403), "{site}");
    }
    let mut headers = HeaderMap::new();
    headers.insert(header::HOST, HeaderValue::from_static("127.0.0.1:7730"));
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS, Method::CONNECT] {
        let refused = admit(&method, &"/sessions".parse().unwrap(), &headers, here(), &names());
        assert_eq!(refused.unwrap_err().status(), StatusCode::METHOD_NOT_ALLOWED, "{method}");
    }
    // Where something is written, no other site does.
    let entries: Uri = "/session-store/entries".parse().unwrap();
    for method in [Method::POST, Method::DELETE] {
        assert!(admit(&method, &entries, &headers, here(), &names()).is_ok());
        for (name, value) in [("origin", "http://evil.example"), ("sec-fetch-site", "same-site")] {
            let mut headers = headers.clone();
            headers.insert(name, HeaderValue::from_static(value));
            let refused = admit(&method, &entries, &headers, here(), &names());
            assert_eq!(refused.unwrap_err().status(), StatusCode::FORBIDDEN, "{method} {name}");
        }
    }
}

#[test]
fn what_was_passed_on_is_not_from_here() {
    let mut headers = HeaderMap::new();
    assert!(is_loopback(here(), "127.0.0.1:7730", &headers));
    assert!(is_loopback(here(), "localhost:7730", &headers));
    // Tailscale's own server asks from loopback, by another name.
    assert!(!is_loopback(here(), "mac.tail1234.ts.net", &headers));
    assert!(!is_loopback(ends("100.64.0.9:1", "100.64.0.1:7730"), "100.64.0.1:7730", &headers));
    for name in FORWARDED {
        headers.clear();
        headers.insert(name, HeaderValue::from_static("x"));
        assert!(!is_loopback(here(), "127.0.0.1:7730", &headers), "{name}");
    }
    let mapped = ends("[::ffff:127.0.0.1]:9", "[::ffff:127.0.0.1]:7730");
    headers.clear();
    assert!(is_loopback(mapped, "127.0.0.1:7730", &headers));
}

proptest! {
    #[test]
    fn no_request_is_let_in_by_what_it_says(
        path in "/{0,2}[ -~]{0,40}",
        host in prop_oneof!["[ -~]{0,40}", "(127\\.0\\.0\\.1|localhost|mac|\\[::1\\])(:7730)?[a-z.:0-9]{0,8}"],
        name in "(origin|sec-fetch-site|sec-fetch-mode|x-forwarded-for|last-event-id|cookie)",
        value in "[ -~]{0,60}",
    ) {
        let (Ok(uri), Ok(value)) = (path.parse::<Uri>(), HeaderValue::from_str(&value)) else { return Ok(()) };
        let mut headers = HeaderMap::new();
        if let Ok(host) = HeaderValue::from_str(&host) {
            headers.insert(header::HOST, host);
        }
        headers.insert(HeaderName::try_from(name.as_str()).unwrap(), value.clone());
        let _ = route_of(uri.path());
        if let Ok(meant) = admit(&Method::GET, &uri, &headers, here(), &names()) {
            let known = ["127.", "[::1]:7730", "localhost:7730", "mac:7730", "mac.tail1234.ts.net", "rrd.example"];
            prop_assert!(known.iter().any(|known| meant.starts_with(known)), "{}", meant);
            prop_assert!(meant.parse::<SocketAddr>().is_ok_and(|at| at.port() == 7730)
                || !meant.starts_with("127."), "{}", meant);
            let own = ["http", "https"].map(|scheme| format!("{scheme}://{meant}"));
            prop_assert!(name != "origin" || own.iter().any(|own| value == *own), "{:?}", value);
        }
    }
}
