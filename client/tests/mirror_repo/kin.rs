//! What a session has of others: forks hold what was said before, delegates are told some of it.

use std::{fs, path::Path};

use serde_json::{Value, json};

use super::{ALPHA, Host, SECRET, append, session, there};

impl Host {
    /// A fork as Claude Code writes one: another session's words with this id and directory, and its answers say whose
    /// they were.
    pub(super) fn forks(&self, id: &str, of: &str, cwd: &Path, said: &str) {
        let record = |kind: &str, at: &str, more: Value| {
            let mut all = json!({
                "type": kind, "uuid": format!("{kind}{at}{id}"), "parentUuid": null, "sessionId": id, "cwd": cwd,
                "isSidechain": false, "version": "2.1.329", "timestamp": format!("2026-11-20T10:{at}:00.000Z"),
                "userType": "external", "entrypoint": "cli",
            });
            all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            format!("{all}\n")
        };
        let answer = |of: &str| {
            json!({"requestSessionId": of, "message": {
                "id": format!("m{of}"), "type": "message", "role": "assistant", "model": "m",
                "content": [{"type": "text", "text": "done"}], "stop_reason": "end_turn"}})
        };
        let prompt = |text: &str| json!({"promptSource": "typed", "message": {"role": "user", "content": text}});
        let path = self.lies(id, cwd);
        append(&path, &record("user", "01", prompt(said)));
        append(&path, &record("assistant", "02", answer(of)));
        append(&path, &record("user", "03", prompt("in the fork")));
        append(&path, &record("assistant", "04", answer(id)));
    }

    /// A thread of Codex in this directory, or a fork of one.
    fn threads(&self, id: &str, of: Option<&str>, cwd: &Path) {
        let at = "2026-11-20T10:00:00.000Z";
        let path = format!(".codex/sessions/2026/11/20/rollout-2026-11-20T10-00-00-{id}.jsonl");
        let meta = json!({
            "id": id, "timestamp": at, "cwd": cwd, "originator": "codex_cli_rs", "cli_version": "0.169.0",
            "source": "cli", "model_provider": "m", "forked_from_id": of,
        });
        let text = json!([{"type": "input_text", "text": "classified"}]);
        for (kind, payload) in [
            ("session_meta", meta),
            ("event_msg", json!({"type": "task_started", "turn_id": "t"})),
            ("response_item", json!({"type": "message", "role": "user", "content": text})),
            ("event_msg", json!({"type": "user_message", "message": "classified"})),
            (
                "event_msg",
                json!({"type": "task_complete", "turn_id": "t", "last_agent_message": "ok"}),
            ),
        ] {
            let record = json!({"timestamp": at, "type": kind, "payload": payload});
            append(&self.path(&path), &format!("{record}\n"));
        }
    }
}

#[test]
fn a_fork_stays_out_with_what_it_is_a_fork_of() {
    let mut host = Host::new("one");
    let (bucket, clone) = (host.path("bucket"), host.clones_from("src/secret", SECRET));
    let plain = host.path("plain");
    fs::create_dir_all(&plain).unwrap();
    let [secret, open, fork, again, of_open, orphan] = [1, 2, 3, 4, 5, 6].map(session);
    host.turns(&secret, &clone, "classified");
    host.turns(&open, &plain, "anything");
    host.forks(&fork, &secret, &plain, "classified");
    host.forks(&again, &fork, &plain, "classified");
    host.forks(&of_open, &open, &plain, "anything");
    host.forks(&orphan, &session(7), &plain, "nobody knows what");
    let [thread, fork_of_it] = [1, 2].map(|n| format!("01a1f87f-d0a7-7e91-aca5-d3b22263454{n}"));
    host.threads(&thread, None, &clone);
    host.threads(&fork_of_it, Some(&thread), &plain);
    host.start();
    host.mirrors_to(&bucket, &["--exclude-repo", "secret"]);
    for id in [&secret, &fork, &again, &orphan] {
        assert_eq!(host.brings(&bucket, id), "");
    }
    assert!(there(&bucket, &open).contains("anything"));
    assert!(there(&bucket, &of_open).contains("in the fork"));
    assert!(!bucket.join("rrd/sessions/codex").exists());
    assert_eq!(host.place().held, 1, "what it is a fork of is not known");
    // What is not there any more is known to have been there.
    fs::remove_dir_all(host.lies(&secret, &clone).parent().unwrap()).unwrap();
    fs::remove_dir_all(&clone).unwrap();
    host.stop();
    host.start();
    assert_eq!(host.brings(&bucket, &again), "");
    // Where nothing is excluded, its own repository tells enough.
    let chosen = host.clones_from("src/alpha", ALPHA);
    host.forks(&session(8), &session(9), &chosen, "nobody knows what");
    let other = host.path("other");
    host.mirrors_to(&other, &["--repo", "alpha"]);
    assert!(host.brings(&other, &session(8)).contains("in the fork"));
}

#[test]
fn a_delegate_of_which_nobody_knows_where_it_was_is_held_back() {
    let mut host = Host::new("one");
    let (bucket, id, plain) = (host.path("bucket"), session(1), host.path("plain"));
    fs::create_dir_all(&plain).unwrap();
    host.turns(&id, &plain, "anything");
    let beneath = host.its_transcript(&id).unwrap().with_extension("").join("subagents");
    append(
        &beneath.join("agent-a1b2c3d4.jsonl"),
        &format!(
            "{}\n",
            json!({
                "type": "user", "uuid": "d1", "parentUuid": null, "sessionId": id, "cwd": host.path("src/secret"),
                "isSidechain": true, "agentId": "a1b2c3d4", "version": "2.1.300",
                "timestamp": "2026-11-20T10:00:00.000Z", "message": {"role": "user", "content": "classified"},
            })
        ),
    );
    host.start();
    host.mirrors_to(&bucket, &["--exclude-repo", "secret"]);
    assert!(host.brings(&bucket, &id).contains("anything"));
    let delegates = bucket.join(format!("rrd/sessions/claude-code/{id}/subagents"));
    assert!(!delegates.exists(), "its directory was gone before");
    assert_eq!(host.place().held, 1);
    // It is where that is which sent it, as far as one chooses by where it is.
    let other = host.path("other");
    let home = host.clones_from("plain", ALPHA);
    assert!(home.is_dir());
    host.stop();
    host.start();
    host.mirrors_to(&other, &["--repo", "alpha"]);
    host.brings(&other, &id);
    assert!(other.join(format!("rrd/sessions/claude-code/{id}/subagents")).is_dir());
}
