//! Pages that an address leads to: at an event, and at what was found.
//!
//! Not here: who may look, and what programs get ([`super`]).

use super::*;

#[test]
fn a_page_has_the_event_that_its_address_names() {
    const PROMPTS: u64 = 400;
    const LONG: u64 = 230;
    let host = usual();
    for number in 1..PROMPTS {
        // From there on what is said fills a page with fewer events than fit by their number.
        let long = if number > LONG { "x y ".repeat(15_000) } else { String::new() };
        host.says(ID, &format!("prompt {number} {long}"));
    }
    let token = format!("Bearer {}", host.word(&["token"]));
    let ask = |path: &str| host.ask("GET", path, &[("Authorization", &token)]);
    let path = format!("/s/mac/claude-code/{ID}");
    let events = host.until("all of it", || {
        let found = ask(&format!("/sessions/mac/claude-code/{ID}/events?limit=1000")).json();
        let events = found["events"].as_array().unwrap().clone();
        if events.len() as u64 == PROMPTS { Ok(events) } else { Err(events.len().to_string()) }
    });
    let seqs = |page: &str| -> Vec<u64> {
        page.split(" data-seq=\"")
            .skip(1)
            .map(|rest| rest.split('"').next().unwrap().parse().unwrap())
            .collect()
    };
    let page = ask(&path).text();
    let strip = page.split_once("<div class=\"scrub\">").unwrap().1;
    let links: Vec<(&str, u64)> = strip
        .split(" href=\"")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap())
        .filter_map(|link| link.split_once("#e").map(|(query, seq)| (query, seq.parse().unwrap())))
        .collect();
    assert!(links.len() > 8, "{links:?}");
    for (link, seq) in links {
        assert!(seqs(&ask(link).text()).contains(&seq), "{link}");
    }
    for seq in [0, 3, 120, LONG - 1, LONG + 1, PROMPTS - 1] {
        let page = ask(&format!("{path}?around={seq}")).text();
        assert!(page.contains(&format!(" data-sought=\"{seq}\"")), "{seq}");
        assert!(seqs(&page).contains(&seq), "{seq}: {:?}", seqs(&page));
    }
    assert_eq!(seqs(&ask(&format!("{path}?around=120")).text()), (71..=170).collect::<Vec<_>>());
    // A moment is the last event by then.
    let at = events[120]["at"].as_str().unwrap();
    let last = events.iter().rposition(|event| event["at"].as_str() == Some(at)).unwrap();
    let page = ask(&format!("{path}?t={}", at.replace(':', "%3A"))).text();
    assert!(page.contains(&format!(" data-sought=\"{last}\"")), "{at}");
    assert!(seqs(&page).contains(&(last as u64)));
    let page = ask(&format!("{path}?t=2001-01-01T00:00:00Z")).text();
    assert!(page.contains(" data-sought=\"0\""), "before all of them");
    for wrong in
        ["around=x", "around=-1", "t=noon", "around=1&before=2", "t=2001-01-01T00:00:00Z&after=1"]
    {
        assert_eq!(ask(&format!("{path}?{wrong}")).status, 400, "{wrong}");
    }
}

#[test]
fn who_waits_for_whom_is_a_page_and_whoever_listens_hears_of_it() {
    let other = "00000000-0000-4000-8000-000000000002";
    let host = usual();
    host.says(other, &format!("Wait for it {EVIL}"));
    let page = host.get("/waits");
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(page.text().contains("Nobody waits for another session."), "{}", page.text());
    assert_eq!(host.get("/waits?x=1").status, 400);
    assert!(host.get("/").text().contains("<a id=\"who\" href=\"/waits\">Who waits for whom</a>"));
    let mut stream = host.connect();
    write!(stream, "GET /events HTTP/1.1\r\nHost: {}\r\n\r\n", host.page()).unwrap();
    let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
    let mut hears = |chains: u64| {
        let graphs = lines.by_ref().filter_map(|line| {
            let message: Value = serde_json::from_str(line.strip_prefix("data: ")?).ok()?;
            message.get("graph").cloned()
        });
        let told = |graph: &Value| graph["chains"] == chains;
        graphs.into_iter().find(told).unwrap()["tag"].as_str().unwrap().to_owned()
    };
    let before = hears(0);
    let mut waits = host.rrd(&["wait", ID, "--as", other]).spawn().unwrap();
    let tag = hears(1);
    assert_ne!(tag, before);
    let page = host.get("/waits").text();
    assert!(page.contains(&format!("data-graph=\"{tag}\"")), "{page}");
    assert!(page.contains("<b>1</b> waits behind it") && page.contains("<svg width="), "{page}");
    assert!(!page.contains("<script>alert"), "{page}");
    let list = host.get("/").text();
    assert!(list.contains("href=\"/waits\">1 chain</a>"), "{list}");
    // The row says what it is in the end, the same at every door.
    let row = host.get(&format!("/sessions/mac/claude-code/{other}")).json();
    assert_eq!((&row["chain"]["cause"], &row["chain"]["blocks"]), (&json!("working"), &json!(1)));
    let rows = host.get("/sessions").json();
    assert!(rows.as_array().unwrap().contains(&row), "{rows}");
    waits.kill().unwrap();
    waits.wait().unwrap();
    hears(0);
}

#[test]
fn what_was_said_is_found_with_a_token_and_leads_to_its_moment() {
    let secret = format!("{}_{}", "ghp", "Ab3dEf6hIj9kLm2nOp5qRs8tUv1wXy4zAb7c");
    let host = usual();
    host.says(ID, &format!("Rotate {secret} at once\n{EVIL}"));
    for path in ["/search?q=rotate", "/find?q=rotate", "/find"] {
        assert_eq!(host.get(path).status, 401, "{path}");
    }
    let token = format!("Bearer {}", host.word(&["token"]));
    let ask = |path: &str| host.ask("GET", path, &[("Authorization", &token)]);
    let hits = host.until("the prompt to be found", || {
        let hits = ask("/search?q=rotat*&kind=prompt&since=1h").json();
        if hits.as_array().unwrap().len() == 1 { Ok(hits) } else { Err(hits.to_string()) }
    });
    assert_eq!((&hits[0]["session_id"], &hits[0]["kind"]), (&json!(ID), &json!("prompt")));
    assert!(hits[0]["snippet"].as_str().unwrap().starts_with("Rotate [REDACTED:"), "{hits}");
    let page = ask("/find?q=rotate");
    let text = page.text();
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(text.contains("<mark>Rotate</mark> [REDACTED:"), "{text}");
    assert!(text.contains(&format!("href=\"/s/mac/claude-code/{ID}?around=")), "{text}");
    assert!(!text.contains("<script>alert"), "{text}");
    let all = ask("/search?q=at+once").text() + &text + &hits.to_string();
    assert!(!all.contains(&secret[..12]), "{all}");
    for begins in ["ghp*", "ghp_Ab*", "Ab3dEf*"] {
        assert_eq!(ask(&format!("/search?q={begins}")).json(), json!([]), "{begins}");
    }
    assert!(ask("/find?q=nobody+said+that").text().contains("Nothing says that"));
    assert!(ask("/find").text().contains("name=\"q\""));
    for wrong in
        ["/search", "/search?q=--", "/search?q=a&kind=x", "/search?q=a&limit=0", "/find?x=1"]
    {
        assert_eq!(ask(wrong).status, 400, "{wrong}");
    }
}
