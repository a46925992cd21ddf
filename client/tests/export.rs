//! A session in a file: every event once, in order, with all that it says, however many pages that takes.
#![cfg(unix)]
#![allow(clippy::unwrap_used)] // the lint's exception for tests does not reach plain functions here

mod host;

use std::fs;

use host::{Host, session};
use serde_json::Value;

/// More than fits into two pages by number, and some that fill one by themselves.
const PROMPTS: usize = 1_203;

fn said(number: usize) -> String {
    let long: usize = if number % 200 == 7 { 60_000 } else { 10 };
    format!("prompt {number}\n{}", "```\nmore of it ".repeat(long.div_ceil(15)))
}

fn long() -> (Host, String) {
    let mut host = Host::new("mac");
    let id = session(1);
    for number in 0..PROMPTS {
        host.says(&id, &said(number));
    }
    host.start();
    host.until("all of it", || {
        let rows = host.sessions();
        match rows.first().and_then(|row| row.counts) {
            Some(counts) if counts.prompts == PROMPTS as u64 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    (host, id)
}

#[test]
fn every_event_is_in_it_once() {
    let (mut host, id) = long();
    let check = |text: &str| {
        let mut lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let first = lines.next().unwrap();
        assert_eq!(
            (&first["type"], &first["session_id"]),
            (&"session".into(), &id.as_str().into())
        );
        let mut count = 0;
        let events = lines.filter(|line| line["type"] != "status");
        for (number, event) in events.enumerate() {
            assert_eq!((&event["type"], &event["seq"]), (&"event".into(), &number.into()));
            assert_eq!(event["body"]["text"], said(number));
            count += 1;
        }
        assert_eq!(count, PROMPTS);
    };
    check(&host.run(&["sessions", "export", &id]));
    let file = host.path("out.jsonl");
    let name = file.display().to_string();
    let (out, err) = host.told(&["sessions", "export", &id, "-o", &name]);
    assert!(
        out.is_empty() && err.contains("1,203 events in ") | err.contains("1203 events in "),
        "{err}"
    );
    check(&fs::read_to_string(&file).unwrap());
    let again = host.rrd(&["sessions", "export", &id, "-o", &name]).output().unwrap();
    assert_eq!(again.status.code(), Some(64), "what is there stays");
    let md = host.run(&["sessions", "export", &id, "--format", "md"]);
    assert_eq!(md.matches("\n## Prompt\n").count(), PROMPTS);
    assert!(md.contains("\n> prompt 7\n> ```\n> more of it"));
    let check_html = |html: &str| {
        let numbers = |before: &str, after: char| -> Vec<usize> {
            let found = html.split(before).skip(1).map(|rest| rest.split(after).next().unwrap());
            found.filter_map(|number| number.parse().ok()).collect()
        };
        let all: Vec<usize> = (0..PROMPTS).collect();
        assert_eq!(numbers(" id=\"e", '"'), all);
        assert_eq!(numbers("<pre>prompt ", '\n'), all);
        // Of the long ones the last word, too: nothing is left out.
        let of_long = (0..PROMPTS).filter(|n| n % 200 == 7).map(|n| said(n).len()).sum::<usize>();
        assert!(html.len() > of_long && !html.contains("left out"), "{}", html.len());
        assert!(html.contains("1203 events.") && html.ends_with("</script></body></html>\n"));
        assert!(
            html.contains("default-src 'none'; base-uri 'none'; form-action 'none'; style-src")
        );
    };
    check_html(&host.run(&["sessions", "export", &id, "--format", "html"]));
    // Without a daemon, from the transcript itself.
    host.stop();
    check(&host.run(&["sessions", "export", &id]));
    check_html(&host.run(&["sessions", "export", &id, "--format", "html"]));
}

#[test]
fn what_a_session_says_is_text_in_every_format() {
    const HOSTILE: [&str; 7] = [
        "<script>alert(1)</script>",
        "</details></li></ol></script><script>alert(2)</script>",
        "</style><img src=x onerror=alert(3)>",
        "]]> <!-- -->",
        "<a href=\"javascript:alert(4)\">x</a>",
        "rm \u{202e}gpj.exe\u{202c} \u{7}\u{1b}[31m",
        "\" onmouseover=\"alert(5)",
    ];
    let mut host = Host::new("mac");
    let id = session(1);
    for text in HOSTILE {
        host.says(&id, &format!("{text}\n{text}"));
    }
    host.start();
    host.until("all of it", || {
        let rows = host.sessions();
        match rows.first().and_then(|row| row.counts) {
            Some(counts) if counts.prompts == HOSTILE.len() as u64 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    // Whatever this process takes its host to be called.
    let mut export = host.rrd(&["sessions", "export", &id, "--format", "html"]);
    let html = export.env("RRD_NAME", "another").output().unwrap().stdout;
    let html = String::from_utf8(html).unwrap();
    assert!(html.contains(&format!(" on {}, with its status", host.name())), "{html}");
    for (tag, count) in
        [("<script", 1), ("<style", 1), ("<img", 0), ("<a href=\"j", 0), ("<!--", 0)]
    {
        assert_eq!(html.matches(tag).count(), count, "{tag}");
    }
    assert!(!html.chars().any(|c| matches!(c, '\u{202e}' | '\u{202c}' | '\u{7}' | '\u{1b}')));
    assert_eq!(
        html.matches("&lt;script&gt;alert(1)&lt;/script&gt;").count(),
        6,
        "title and heading hold both lines"
    );
}

#[test]
fn what_a_fork_has_from_its_parent_is_marked() {
    let mut host = Host::new("mac");
    let (parent, fork) = (session(1), session(2));
    for (text, ms) in [("asked first", 90_000), ("asked then", 80_000)] {
        host.says_ago(&parent, text, ms);
    }
    // A fork begins with what its parent had, under its own id.
    let copied = fs::read_to_string(host.transcript(&parent)).unwrap().replace(&parent, &fork);
    host.says_ago(&fork, "asked of the fork", 10_000);
    let own = fs::read_to_string(host.transcript(&fork)).unwrap();
    let begins: Value = serde_json::from_str(&own).unwrap();
    let begins = serde_json::json!({"type": "queue-operation", "operation": "enqueue",
        "timestamp": begins["timestamp"], "sessionId": fork});
    fs::write(host.transcript(&fork), format!("{begins}\n{copied}{own}")).unwrap();
    host.start();
    let head = host.until("all of it", || {
        let out = host.run(&["sessions", "export", &fork]);
        let head: Value = serde_json::from_str(out.lines().next().unwrap()).unwrap();
        if head["counts"]["prompts"].is_null() { Err(out) } else { Ok(head) }
    });
    assert_eq!(head["parent_kind"], "fork", "{head}");
    let shown: Value = host.json(&["sessions", "show", &fork, "--events"]);
    assert!(head["copied_to"].is_string() && head["copied_to"] == shown["copied_to"], "{head}");
    let md = host.run(&["sessions", "export", &fork, "--format", "md"]);
    assert_eq!(md.matches("## Prompt (copied)\n").count(), 2, "{md}");
    assert_eq!(md.matches("## Prompt\n").count(), 1);
    assert!(md.contains(" was copied from the session that this one is a fork of._"), "{md}");
    let tail = host.run(&["sessions", "tail", &fork]);
    assert_eq!(tail.matches("(copied) ").count(), 2, "{tail}");
    let out = host.run(&["sessions", "export", &parent]);
    assert!(out.contains("\"copied_to\":null"), "{out}");
}
