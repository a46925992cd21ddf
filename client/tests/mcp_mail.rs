//! Messages by `rrd mcp`: who waits for one, what is told of it, and what of a long one can be read.
//!
//! Not here: the other tools, and what a client may send (`mcp`).
#![cfg(unix)]
#![allow(clippy::unwrap_used)] // the lint's exception for tests does not reach plain functions here

mod host;

use host::{
    Host,
    mcp::{Client, request},
    session,
};
use rrd_proto::message::MessagePage;
use serde_json::{Value, json};

/// A host with two sessions.
fn two() -> Host {
    let mut host = Host::new("mac");
    host.works_on(&session(1), "Announce it");
    host.works_on(&session(2), "Publish the crate");
    host.start();
    host.knows(&[&session(1), &session(2)]);
    host
}

/// As a session's harness runs it.
fn of_session(host: &Host, id: &str) -> Client {
    let mut command = host.rrd(&["mcp"]);
    command.env("CLAUDE_CODE_SESSION_ID", id);
    Client::start(command).initialized("2025-11-25")
}

/// What a text that was cut says: what is there of it, the bytes that are left, and from which on.
fn cut(text: &str) -> (&str, usize, usize) {
    let (said, cut) = text.rsplit_once("… [cut: ").unwrap();
    let (left, from) = cut.split_once(" more bytes, from byte ").unwrap();
    (said, left.parse().unwrap(), from.strip_suffix(" on]").unwrap().parse().unwrap())
}

#[test]
fn whoever_waits_for_a_message_holds_no_other_call_up() {
    let host = two();
    let mut client = of_session(&host, &session(2));
    let inbox = json!({"name": "inbox", "arguments": {"seconds": 600}});
    for id in 0..8 {
        client.send(&request(format!("i{id}"), "tools/call", &inbox));
    }
    for _ in 0..3 {
        assert!(client.does("whoami", json!({}))["evidence"].is_string());
    }
    // Nor is one that does not wait.
    client.does("inbox", json!({"seconds": null, "all": null, "acknowledge": null}));
    of_session(&host, &session(1))
        .does("send_message", json!({"id": session(2), "text": "at last"}));
    for id in 0..8 {
        let answer = client.answer(&json!(format!("i{id}")));
        let messages = &answer["result"]["structuredContent"]["untrusted"]["messages"];
        assert_eq!(messages[0]["text"], "at last", "{answer}");
    }
}

#[test]
fn messages_of_calls_that_were_made_at_once_keep_the_order_of_the_calls() {
    const MANY: usize = 40;
    let host = two();
    let mut client = of_session(&host, &session(1));
    // Neither one that waits nor those that only read are behind them, or before.
    let waits = json!({"name": "wait_for", "arguments": {"ids": [session(2)], "seconds": 600}});
    client.send(&request("waits", "tools/call", &waits));
    let text =
        |at: usize| format!("{at}{}", "z".repeat(60_000 * usize::from(at.is_multiple_of(4))));
    for at in 0..MANY {
        let call = json!({"id": session(2), "text": text(at)});
        let call = json!({"name": "send_message", "arguments": call});
        client.send(&request(format!("s{at}"), "tools/call", &call));
        let reads = json!({"name": "list_sessions", "arguments": {}});
        client.send(&request(format!("r{at}"), "tools/call", &reads));
    }
    for at in (0..MANY).flat_map(|at| [format!("s{at}"), format!("r{at}")]) {
        let answer = client.answer(&json!(at));
        assert_eq!(answer["result"]["isError"], false, "{answer}");
    }
    let kept: MessagePage = host.json(&["inbox", "--limit", "100"]);
    let order: Vec<&str> = kept.messages.iter().map(|one| one.text.trim_end_matches('z')).collect();
    assert_eq!(order, (0..MANY).map(|at| at.to_string()).collect::<Vec<_>>());
    assert!(!client.answers.contains_key("\"waits\""));
}

#[test]
fn a_message_that_is_cancelled_before_its_turn_is_not_sent() {
    let host = two();
    let mut client = of_session(&host, &session(1));
    host.signal("-STOP");
    for text in ["first", "second", "third"] {
        let call = json!({"id": session(2), "text": text});
        let call = json!({"name": "send_message", "arguments": call});
        client.send(&request(text, "tools/call", &call));
    }
    let cancelled = json!({"requestId": "second"});
    client
        .send(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": cancelled}));
    // By then that is heard.
    assert_eq!(client.ask("ping", json!({}))["result"], json!({}));
    host.signal("-CONT");
    for at in ["first", "third"] {
        assert_eq!(client.answer(&json!(at))["result"]["isError"], false);
    }
    let kept: MessagePage = host.json(&["inbox"]);
    let texts: Vec<&str> = kept.messages.iter().map(|one| &*one.text).collect();
    assert_eq!(texts, ["first", "third"]);
}

#[test]
fn a_message_that_found_no_room_in_an_answer_is_still_news() {
    let host = two();
    let mut one = of_session(&host, &session(1));
    for at in 0..12 {
        let text = format!("{at}{}", "y".repeat(4_500));
        one.does("send_message", json!({"id": session(2), "text": text}));
    }
    let answer = of_session(&host, &session(2)).does("inbox", json!({}));
    let told = answer["untrusted"]["messages"].as_array().unwrap().len();
    assert!(told > 0 && answer["more"] == 12 - told && told < 12, "{told} {}", answer["more"]);
    let kept: MessagePage = host.json(&["inbox"]);
    let shown: Vec<bool> = kept.messages.iter().map(|one| one.shown_at.is_some()).collect();
    assert_eq!(shown, (0..12).map(|at| at < told).collect::<Vec<_>>());
}

#[test]
fn a_long_message_says_what_is_left_of_it_and_can_be_read_to_its_end() {
    let host = two();
    let (mut one, mut two) = (of_session(&host, &session(1)), of_session(&host, &session(2)));
    let text: String = (0..).map(|at| format!("line {at} \"é\"\n")).take(3_500).collect();
    let sent = one.does("send_message", json!({"id": session(2), "text": text}));
    let listed = two.does("inbox", json!({}));
    let message = &listed["untrusted"]["messages"][0];
    let (said, left, from) = cut(message["text"].as_str().unwrap());
    assert_eq!((said, left), (&text[..from], text.len() - from));
    assert_eq!(message["bytes"], text.len());
    let (mut read, mut calls) = (said.to_owned(), 0);
    while read.len() < text.len() {
        let arguments = json!({"id": sent["id"], "at": read.len()});
        let answer = two.does("inbox", arguments);
        read.push_str(answer["untrusted"]["message"]["text"].as_str().unwrap());
        assert_eq!(answer["more_bytes"], text.len() - read.len());
        let next = (read.len() < text.len()).then_some(read.len());
        assert_eq!(answer["next_at"].as_u64().map(|at| at as usize), next);
        calls += 1;
    }
    assert!(read == text && calls == 3, "{calls}");
    // As much as it can be: a message that is not one's own, a place that is none.
    let said = one.fails("inbox", json!({"id": sent["id"]}));
    assert!(said.contains("no such message"), "{said}");
    for (at, why) in [(13, "beginning of a character"), (99_999, "beginning of a character")] {
        let at = if at == 13 { text.find('é').unwrap() + 1 } else { at };
        let said = two.fails("inbox", json!({"id": sent["id"], "at": at}));
        assert!(said.contains(why), "{said}");
    }
    assert!(two.fails("inbox", json!({"at": 3})).contains("at goes with id"));
    assert_eq!(two.does("inbox", json!({"id": sent["id"], "at": text.len()}))["more_bytes"], 0);
}

#[test]
fn what_is_cut_of_an_event_says_how_much_it_was() {
    let host = two();
    let text = "x".repeat(40_000);
    host.says(&session(1), &text);
    let mut client = of_session(&host, &session(2));
    let body = |events: &Value| {
        let events = events["untrusted"]["events"].as_array().cloned().unwrap_or_default();
        let all: Vec<String> = events.iter().flat_map(|event| texts(&event["body"])).collect();
        all.into_iter().find(|text| text.starts_with("xxxx"))
    };
    for (limit, least) in [(20, 4_000), (1, 20_000)] {
        let arguments = json!({"id": session(1), "limit": limit, "bodies": true});
        let found = host.until("the event", || {
            let events = client.does("read_events", arguments.clone());
            body(&events).ok_or_else(|| events.to_string())
        });
        let (said, left, from) = cut(&found);
        assert_eq!((said, left), (&text[..from], text.len() - from));
        assert!(from >= least, "{from}");
    }
    let mut read = String::new();
    while read.len() < text.len() {
        let arguments = json!({"id": session(1), "limit": 1, "bodies": true, "at": read.len()});
        let answer = client.does("read_events", arguments);
        read += &body(&answer).unwrap();
        let left = text.len() - read.len();
        assert_eq!(answer["more_bytes"], left, "{answer}");
        assert_eq!(
            answer["next_at"].as_u64().map(|at| at as usize),
            (left > 0).then_some(read.len())
        );
    }
    assert_eq!(read, text);
    let many = json!({"id": session(1), "bodies": true, "at": 3});
    assert!(client.fails("read_events", many).contains("a limit of 1"));
    let beyond = json!({"id": session(1), "limit": 1, "bodies": true, "at": 40_001});
    assert!(client.fails("read_events", beyond).contains("beginning of a character"));
}

/// Every text in it.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(items) => items.iter().flat_map(texts).collect(),
        Value::Object(fields) => fields.values().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}
