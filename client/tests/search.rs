//! Searching, with the real daemon: what is said is found, wherever, and whatever becomes of the daemon.
//!
//! Not here: words, phrases and what of an event is looked for (the core's and the daemon's own tests).
#![cfg(unix)]
#![allow(clippy::unwrap_used)] // the lint's exception for tests does not reach plain functions here

mod host;

use std::{fs, process::Output, time::Duration};

use host::{Host, session};
use rrd_proto::{PartStatus, SearchHit, SearchKind, Session};
use serde_json::{Value, json};

impl Host {
    fn finds(&self, words: &[&str]) -> Vec<SearchHit> {
        let out = self.rrd(&[&["sessions", "search", "--json"], words].concat()).output().unwrap();
        let Output { status, stdout, stderr } = out;
        assert!(status.success(), "{words:?}: {}", String::from_utf8_lossy(&stderr));
        serde_json::from_slice(&stdout).unwrap()
    }

    /// Waits until so many are found.
    fn comes_to_find(&self, words: &[&str], count: usize) -> Vec<SearchHit> {
        self.until(&format!("{count} hits of {words:?}"), || {
            let hits = self.finds(words);
            if hits.len() == count { Ok(hits) } else { Err(format!("{hits:#?}")) }
        })
    }

    /// An agent uses a tool, which fails.
    fn fails(&self, id: &str, command: &str, error: &str) {
        let common = |kind: &str, of: &str, message: Value| {
            json!({
                "parentUuid": "u", "isSidechain": false, "type": kind, "uuid": format!("{of}{command}"),
                "message": message, "timestamp": "2026-11-20T10:00:00Z", "cwd": "/w", "sessionId": id,
                "userType": "external", "entrypoint": "cli", "version": "2.1.300", "gitBranch": "main",
            })
        };
        let used = json!([{"type": "tool_use", "id": "t1", "name": "Bash", "input": {"command": command}}]);
        let message = json!({
            "id": format!("m{command}"), "type": "message", "role": "assistant", "model": "x",
            "content": used, "stop_reason": "tool_use", "stop_sequence": null,
            "usage": {"input_tokens": 1, "output_tokens": 1},
        });
        self.writes(id, &common("assistant", "a", message));
        let result = json!([{"type": "tool_result", "tool_use_id": "t1", "is_error": true, "content": error}]);
        self.writes(id, &common("user", "r", json!({"role": "user", "content": result})));
    }

    /// What it says of searching.
    fn part(&self) -> String {
        let parts: Vec<PartStatus> = self.json(&["status"]);
        parts.into_iter().find(|part| part.part == "search").unwrap().detail
    }
}

#[test]
fn what_was_said_is_found_and_leads_to_the_moment() {
    let mut host = Host::new("mac");
    let id = session(1);
    host.works_on(&id, "Publish the crate, then tag it");
    let (command, error) =
        ("cargo publish --dry-run\ncargo tag", "error: no \u{1b}[31mregistry token");
    host.fails(&id, command, error);
    host.says(&session(2), &format!("{}melon at the end", "a long prompt goes on ".repeat(300)));
    host.start();
    let hits = host.comes_to_find(&["publish"], 3);
    let kinds: Vec<SearchKind> = hits.iter().map(|hit| hit.kind).collect();
    assert_eq!(kinds, [SearchKind::Title, SearchKind::Prompt, SearchKind::Command]);
    let of = |kind: &str| host.finds(&["publish", "--kind", kind]).len();
    assert_eq!((of("command"), of("prompt"), of("error"), of("edit")), (1, 1, 0, 0));
    let [hit] = host.finds(&["\"registry token\""]).try_into().unwrap();
    assert_eq!((hit.kind, hit.tool.as_deref()), (SearchKind::Error, Some("Bash")));
    // What was not kept in the line is found in the whole.
    let [hit] = host.finds(&["melon"]).try_into().unwrap();
    assert!(hit.cut.0 && hit.snippet.ends_with("melon at the end"), "{hit:?}");
    assert_eq!(host.finds(&["publish", "--since", "1h"]).len(), 2, "the command was earlier");
    assert_eq!(host.finds(&["publish", "--harness", "codex"]).len(), 0);
    assert_eq!(host.finds(&["publish", "--repo", "other"]).len(), 0);
    assert_eq!(host.finds(&["publish", "--host", "other"]).len(), 0);
    assert_eq!(host.finds(&["p*", "-n", "2"]).len(), 2);

    let shown = host.run(&["sessions", "search", "publish"]);
    let row: Session = host.json(&["sessions", "show", &id]);
    assert!(
        shown.starts_with(&format!("{}  mac · claude-code  Publish", row.reference)),
        "{shown}"
    );
    assert!(shown.contains("3 hits in 1 session"), "{shown}");
    assert!(
        shown.contains(&format!("next: rrd sessions replay {} --at e", row.reference)),
        "{shown}"
    );
    let colours = host.run(&["sessions", "search", "registry", "--color", "always"]);
    assert!(colours.contains("\u{1b}[1mregistry\u{1b}[0m"), "{colours:?}");
    assert!(!colours.contains("\u{1b}[31mregistry"), "{colours:?}");

    assert!(
        host.refuses(&["sessions", "search", "cucumber"]).contains("nothing says \"cucumber\"")
    );
    let other = host.refuses(&["sessions", "search", "publish", "--host", "other"]);
    assert!(other.contains("no host is called \"other\": there is mac\n"), "{other}");
    let (out, remark) = host.told(&["sessions", "search", "publish", "--host", "other", "--json"]);
    assert!(out.trim() == "[]" && remark.contains("no host is called"), "{out}{remark}");
    let (_, remark) = host.told(&["sessions", "list", "--host", "other"]);
    assert!(remark.contains("no host is called \"other\": there is mac"), "{remark}");
    let here = host.refuses(&["sessions", "search", "cucumber", "--host", "mac"]);
    assert!(!here.contains("no host"), "{here}");
    let kinds = "prompt, message, command, path, error, title";
    let title = host.refuses(&["sessions", "search", "melon", "--kind", "title"]);
    assert!(
        title.contains("--kind title looks at nothing else") && title.contains(kinds),
        "{title}"
    );
    let result = host.rrd(&["sessions", "search", "melon", "--kind", "result"]).output().unwrap();
    assert!(String::from_utf8_lossy(&result.stderr).contains(kinds));
    let wordless = host.rrd(&["sessions", "search", "--", "--"]).output().unwrap();
    assert_eq!(wordless.status.code(), Some(64));
    // What happens now is found now.
    host.says(&id, "And a cucumber");
    assert_eq!(host.comes_to_find(&["cucumber"], 1)[0].session_id, id);
    assert!(host.part().contains("nothing behind"), "{}", host.part());
}

#[test]
fn without_a_daemon_what_it_left_is_searched() {
    let mut host = Host::new("mac");
    host.says(&session(1), "Publish the crate");
    let out = host.rrd(&["sessions", "search", "publish"]).output().unwrap();
    let said = String::from_utf8(out.stderr).unwrap();
    assert_eq!(out.status.code(), Some(69));
    assert!(said.contains("made by the daemon"), "{said}");
    host.start();
    host.comes_to_find(&["publish"], 1);
    host.stop();
    let (found, remark) = host.told(&["sessions", "search", "publish"]);
    assert!(found.contains("Publish the crate"), "{found}");
    assert!(remark.contains("what happened since it ran is not found"), "{remark}");
}

#[test]
fn every_host_is_searched_at_once_and_who_is_not_there_is_named() {
    let at_work = |name: &str, text: &str| {
        let mut host = Host::new(name);
        host.says(&session(name.len()), text);
        host.start();
        host
    };
    let secret = format!("{}_{}", "ghp", "Ab3dEf6hIj9kLm2nOp5qRs8tUv1wXy4zAb7c");
    let a = at_work("a", "Publish the crate").founds();
    let far = format!("Publish the app\nwith {secret} {}", "and so on ".repeat(100));
    let mut b = a.takes_in(at_work("bb", &far));
    let hits = a.comes_to_find(&["publish"], 2);
    let of_b = hits.iter().find(|hit| hit.host == "bb").unwrap();
    // It leads there, by the name that it has everywhere.
    let shown: Session = a.json(&["sessions", "show", &of_b.reference]);
    assert_eq!((shown.host.as_str(), shown.session_id.as_str()), ("bb", of_b.session_id.as_str()));
    assert_eq!(b.comes_to_find(&["publish"], 2).len(), 2);
    assert_eq!(a.finds(&["publish", "--host", "bb"]).len(), 1);
    assert_eq!(a.finds(&["publish", "--host", "a"])[0].host, "a");

    // What is secret is shown and found nowhere.
    for host in [&a, &b] {
        let (shown, _) = host.told(&["sessions", "search", "app", "--json"]);
        assert!(shown.contains("[REDACTED:") && !shown.contains(&secret[..12]), "{shown}");
        for begins in ["ghp*", "ghp_Ab3*", "Ab3dEf*", &secret] {
            assert_eq!(host.finds(&[begins]), [], "{begins}");
        }
    }
    let held = fs::read(b.state("search.db")).unwrap();
    let part = secret[4..16].to_ascii_lowercase();
    assert!(!held.windows(part.len()).any(|held| held.eq_ignore_ascii_case(part.as_bytes())));

    b.kill();
    a.until("the other one to be missed", || {
        let (found, remark) = a.told(&["sessions", "search", "publish"]);
        let is_named = remark.contains("bb is away since") && remark.contains("were not searched");
        let only_here = found.contains("crate") && !found.contains("app");
        if is_named && only_here { Ok(()) } else { Err(format!("{found}{remark}")) }
    });
}

#[test]
fn killed_at_any_moment_it_finds_everything_once() {
    const SESSIONS: usize = 6;
    const EACH: usize = 1_500;
    let mut host = Host::new("mac");
    host.set("RRD_LOG", "warn");
    let text = |session: usize, n: usize| {
        let number = session * EACH + n;
        format!("prompt alpha{number}\n{}", "and what else there is to say ".repeat(20))
    };
    for at in 0..SESSIONS {
        (0..EACH).for_each(|n| host.says(&session(at), &text(at, n)));
    }
    for kill in 0..12u64 {
        host.start();
        // While it reads, while it takes what was read, and when it is done.
        std::thread::sleep(Duration::from_millis(kill * 97 % 700));
        host.kill();
    }
    host.start();
    let all = format!("{} texts", SESSIONS * EACH);
    host.until("all to be taken", || {
        let part = host.part();
        let is_all = part.starts_with(&all) && part.ends_with("nothing behind");
        if is_all { Ok(()) } else { Err(part) }
    });
    for number in (0..SESSIONS * EACH).step_by(409) {
        let hits = host.finds(&[&format!("alpha{number}")]);
        assert_eq!(hits.len(), 1, "alpha{number}: {hits:#?}");
    }
    // A file that is no database is made anew, and nothing else minds.
    host.stop();
    fs::write(host.state("search.db"), vec![7; 50_000]).unwrap();
    host.start();
    host.comes_to_find(&["alpha77"], 1);
    host.until("all to be taken again", || {
        let part = host.part();
        if part.starts_with(&all) { Ok(()) } else { Err(part) }
    });
}
