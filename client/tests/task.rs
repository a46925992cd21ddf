//! Tasks and the sessions that work on them, between real daemons: links on either, apart and together.
//!
//! Not here: which of several links counts (the core's tables), and how a copy comes (`resume.rs`).
#![cfg(unix)]
#![allow(clippy::unwrap_used)] // the lint's exception for tests does not reach plain functions here

mod host;

use std::fs;

use host::{
    Host,
    agents::{hooked, with},
    session,
};
use rrd_proto::{HookCall, HostState, Task};
use serde_json::{Value, json};

impl Host {
    fn tasks(&self) -> Vec<Task> {
        self.json(&["task", "list"])
    }

    /// What works on a task, by its session's number; `None`: nothing is known of it.
    fn works(&self, task: &str) -> Option<String> {
        let found = self.tasks().into_iter().find(|one| one.task == task)?;
        Some(found.link.session_id.unwrap_or_default())
    }

    fn comes_to_know(&self, task: &str, id: &str) {
        self.until(&format!("{task} to be worked on by {id}"), || match self.works(task) {
            Some(known) if known == id => Ok(()),
            other => Err(format!("{other:?}")),
        });
    }

    /// A hook of this session is called, in an environment that names a task.
    fn hook_within(&self, id: &str, task: &str) {
        let mut command = self.rrd(&["hook", "claude-code"]);
        command.env("RRD_TASK_ID", task);
        hooked(command, id, "Stop", json!({}));
    }

    fn spooled(&self) -> Vec<HookCall> {
        let Ok(entries) = fs::read_dir(self.state("hooks")) else { return Vec::new() };
        let texts = entries.filter_map(|entry| fs::read(entry.unwrap().path()).ok());
        texts.filter_map(|text| serde_json::from_slice(&text).ok()).collect()
    }
}

#[test]
fn a_link_outlives_the_daemon_however_it_ends() {
    let (one, two) = (session(1), session(2));
    let mut host = with("a", &one);
    host.says(&two, "Do that");
    host.run(&["task", "link", "ACME-7", &one]);
    host.kill();
    host.start();
    assert_eq!(host.works("ACME-7"), Some(one.clone()));
    host.until("the other session", || match host.sessions().len() {
        2 => Ok(()),
        count => Err(count.to_string()),
    });
    host.run(&["task", "link", "ACME-7", &two]);
    host.run(&["task", "link", "fix the build", &one]);
    host.stop();
    host.start();
    let task: Task = host.json(&["task", "show", "ACME-7"]);
    let ids = |task: &Task| -> Vec<Option<String>> {
        let links = std::iter::once(&task.link).chain(&task.history);
        links.map(|link| link.session_id.clone()).collect()
    };
    assert_eq!(ids(&task), [Some(two.clone()), Some(one.clone())]);
    assert_eq!((task.link.counter, task.link.host.as_deref()), (2, Some("a")));
    host.run(&["task", "unlink", "ACME-7"]);
    host.kill();
    host.start();
    let task: Task = host.json(&["task", "show", "ACME-7"]);
    assert_eq!(ids(&task), [None, Some(two), Some(one.clone())]);
    assert!(host.refuses(&["resume", "--task", "ACME-7"]).contains("no session works on ACME-7"));
    // What a person sees.
    let (list, shown) = (host.run(&["task", "list"]), host.run(&["task", "show", "ACME-7"]));
    assert!(list.contains("fix the build") && list.contains(&one), "{list}");
    assert!(shown.starts_with("ACME-7\n") && shown.matches("before").count() == 2, "{shown}");
}

#[test]
fn what_is_no_name_or_no_session_is_refused() {
    let id = session(1);
    let host = with("a", &id);
    let secret = format!("{}_{}", "ghp", "Ab3dEf6hIj9kLm2nOp5qRs8tUv1wXy4zAb7c");
    for (name, why) in [
        ("a\u{1b}[2Jb", "no name for a task"),
        ("", "no name for a task"),
        (&*"x".repeat(129), "no name for a task"),
        (&*secret, "something secret"),
    ] {
        assert!(host.refuses(&["task", "link", name, &id]).contains(why), "{name:?}");
    }
    assert!(host.refuses(&["task", "link", "T", "nothing"]).contains("no session matches"));
    assert!(host.refuses(&["task", "show", "T"]).contains("no such task"));
    assert!(host.refuses(&["task", "unlink", "T"]).contains("no such task"));
    // Nothing says in which session this is.
    let out = host.rrd(&["task", "link", "T"]).output().unwrap();
    let err = String::from_utf8(out.stderr).unwrap();
    assert_eq!(out.status.code(), Some(64));
    assert!(err.contains("nothing tells which session") && err.contains("hint: "), "{err}");
    assert!(host.tasks().is_empty() && !host.log().contains(&secret));
    let mut within = host.rrd(&["task", "link", "'; DROP TABLE task_links"]);
    assert!(within.env("CLAUDE_CODE_SESSION_ID", &id).status().unwrap().success());
    assert_eq!(host.works("'; DROP TABLE task_links"), Some(id));
}

#[test]
fn all_hosts_agree_whoever_linked_while_they_were_apart() {
    let (one, two) = (session(1), session(2));
    let a = with("a", &one).founds();
    // From before it was in the fleet, and of a host that knows nobody yet.
    let b = with("bb", &two);
    b.run(&["task", "link", "EARLY", &two]);
    let mut b = a.takes_in(b);
    a.comes_to_know("EARLY", &two);
    a.run(&["task", "link", "ACME-7", &one]);
    b.comes_to_know("ACME-7", &one);

    // Both link it while they do not hear each other; one of them twice, so that its counter is higher.
    b.stop();
    a.comes_to_see_host("bb", HostState::Away);
    a.run(&["task", "link", "ACME-7", &one]);
    a.run(&["task", "link", "OTHER", &one]);
    let mut a = a;
    a.kill();
    b.start();
    b.run(&["task", "link", "ACME-7", &two]);
    b.run(&["task", "link", "ACME-7", &two]);
    b.run(&["task", "link", "OTHER", &two]);
    b.kill();
    a.start();
    b.start();
    a.comes_to_know("ACME-7", &two);
    let same = || match (a.tasks(), b.tasks()) {
        (of_a, of_b) if of_a == of_b => Ok(of_a),
        apart => Err(format!("{apart:#?}")),
    };
    let tasks = a.until("the same tasks on both", same);
    let of = |name: &str| tasks.iter().find(|task| task.task == name).unwrap();
    assert_eq!((of("ACME-7").link.counter, of("ACME-7").history.len()), (3, 3));
    // Of equal counters the higher node's counts.
    let (won, lost) = (&of("OTHER").link, &of("OTHER").history[0]);
    assert!(won.counter == 1 && lost.counter == 1 && won.node_id > lost.node_id);
    // Who has seen a link wins over it, also the one whose node is lower.
    let (host, id) = if won.host.as_deref() == Some("a") { (&b, &two) } else { (&a, &one) };
    host.run(&["task", "link", "OTHER", id]);
    a.comes_to_know("OTHER", id);
    b.comes_to_know("OTHER", id);
    // A third one hears of links whose host is away.
    a.stop();
    let c = b.takes_in(with("ccc", &session(3)));
    c.comes_to_know("ACME-7", &two);
    let known: Task = c.json(&["task", "show", "ACME-7"]);
    assert!(known.history.iter().any(|link| link.host.as_deref() == Some("a")), "{known:?}");
    // What a host linked that left by itself stands; it takes nothing along. Of one that was dropped nothing
    // counts any more, for it may sign on.
    c.run(&["task", "link", "LAST", &session(3)]);
    b.comes_to_know("LAST", &session(3));
    c.run(&["fleet", "leave"]);
    assert!(c.tasks().is_empty());
    b.run(&["fleet", "rotate", "--drop", "a"]);
    b.comes_to_know("LAST", &session(3));
    let known: Task = b.json(&["task", "show", "ACME-7"]);
    let by: Vec<_> = known.history.iter().map(|link| link.host.clone().unwrap()).collect();
    assert_eq!((known.link.host.as_deref(), by), (Some("bb"), vec!["bb".to_owned()]));
}

#[test]
fn a_hook_links_its_session_once() {
    let (one, two) = (session(1), session(2));
    let mut host = with("a", &one);
    host.says(&two, "Do that");
    let bucket = format!("file://{}", host.path("bucket").display());
    host.hook_within(&one, "ACME-7");
    host.until("the hook to be heard", || {
        host.works("ACME-7").filter(|id| *id == one).map(drop).ok_or_else(|| "not yet".to_owned())
    });
    host.hook_within(&two, "ACME-7");
    host.until("the other's", || {
        host.works("ACME-7").filter(|id| *id == two).map(drop).ok_or_else(|| "not yet".to_owned())
    });
    // The first one goes on, and does not take it back: also after a restart, and from the spool.
    host.kill();
    let secret = format!("{}_{}", "ghp", "Ab3dEf6hIj9kLm2nOp5qRs8tUv1wXy4zAb7c");
    for (task, kept) in [("ACME-7", true), ("bad\nname", false), (&secret, false), ("NEXT", true)] {
        let before = host.spooled().len();
        host.hook_within(&one, task);
        assert_eq!(host.spooled().len(), before + 1, "a call in the spool");
        assert_eq!(host.spooled().iter().any(|call| call.task.as_deref() == Some(task)), kept);
    }
    host.start();
    host.comes_to_know("NEXT", &one);
    let task: Task = host.json(&["task", "show", "ACME-7"]);
    assert_eq!((task.link.session_id, task.link.counter), (Some(two.clone()), 2));
    assert_eq!(host.tasks().len(), 2);
    // The mirror says what it was for.
    host.run(&["mirror", "enable", &bucket, "--project", "mine"]);
    host.run(&["mirror", "run"]);
    let meta = host.path(&format!("bucket/mine/sessions/claude-code/{two}/meta.json"));
    let meta: Value = serde_json::from_str(&fs::read_to_string(meta).unwrap()).unwrap();
    assert_eq!(meta["task_id"], json!("ACME-7"));
}

#[test]
fn what_works_on_a_task_goes_on_at_another_host() {
    let id = session(1);
    let turn = |host: &Host| {
        host.writes(&id, &json!({
            "type": "user", "uuid": "u1", "parentUuid": null, "promptSource": "typed", "sessionId": id,
            "cwd": "/w", "version": "2.1.329", "timestamp": "2026-11-20T10:00:00.000Z",
            "message": {"role": "user", "content": "Publish it"}}));
        host.writes(
            &id,
            &json!({
            "type": "assistant", "uuid": "a1", "parentUuid": "u1", "sessionId": id, "cwd": "/w",
            "version": "2.1.329", "timestamp": "2026-11-20T10:00:01.000Z",
            "message": {"id": "m1", "role": "assistant", "model": "opus", "stop_reason": "end_turn",
                "content": [{"type": "text", "text": "Done."}]}}),
        );
    };
    let mut a = Host::new("a");
    turn(&a);
    a.start();
    let a = a.founds();
    let b = a.takes_in(with("bb", &session(9)));
    fs::create_dir(b.path("clone")).unwrap();
    let clone = b.path("clone").canonicalize().unwrap();
    a.run(&["task", "link", "ACME-7", &id]);
    b.comes_to_know("ACME-7", &id);
    assert!(b.refuses(&["resume", "--task", "NONE"]).contains("no such task"));

    let cwd = clone.to_str().unwrap();
    let answer: Value = b.json(&["resume", "--task", "ACME-7", "--cwd", cwd, "--fork"]);
    let fork = answer["resumed_as"].as_str().unwrap();
    assert!(fork != id && answer["task"] == json!("ACME-7"), "{answer}");
    b.comes_to_know("ACME-7", fork);
    a.comes_to_know("ACME-7", fork);
    let task: Task = a.json(&["task", "show", "ACME-7"]);
    assert_eq!((task.link.host.as_deref(), task.history.len()), (Some("bb"), 1));

    a.run(&["task", "link", "ACME-7", &id]);
    b.comes_to_know("ACME-7", &id);
    let line = b.run(&["resume", "--task", "ACME-7", "--cwd", cwd]);
    assert_eq!(line, format!("cd {cwd} && RRD_TASK_ID=ACME-7 claude --resume {id}\n"));
    // The same session works on it: nothing is to be said.
    assert_eq!(b.tasks()[0].link.counter, 3);
    // Here now, so its harness forks it, and gives an id that only a hook knows.
    let line = b.run(&["resume", "--task", "ACME-7", "--cwd", cwd, "--fork"]);
    assert!(
        line.contains("RRD_TASK_ID=ACME-7 claude") && line.contains("--fork-session"),
        "{line}"
    );
}
