//! Where a session was on another host, and what is something else where it goes on: a directory that there is a plain
//! one, say.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::json;
use tempfile::TempDir;

use super::{ALPHA, Host, SECRET, append, session, there};

const EXCLUDED: &[&str] = &["--exclude-repo", "secret"];

/// A directory that both hosts call so.
struct Shared(TempDir);

impl Shared {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().canonicalize().unwrap().join("ws")
    }

    /// Of its repository nothing is left.
    fn becomes_plain(&self) {
        fs::remove_dir_all(self.path().join(".git")).unwrap();
    }
}

/// Two hosts of a fleet, of which the one's sessions, told so, are known to the other.
fn fleet(mut one: Host, mut two: Host, ids: &[&str]) -> [Host; 2] {
    one.start();
    for id in ids {
        one.looks_up(id);
    }
    two.start();
    let one = one.founds();
    let two = one.takes_in(two);
    for id in ids {
        two.looks_up(id);
    }
    [one, two]
}

impl Host {
    fn clones_to(&self, path: &Path, remote: &str) {
        fs::rename(self.clones_from("made", remote), path).unwrap();
    }

    fn delegates(&self, id: &str, agent: &str, cwd: &Path) {
        let name = format!("subagents/agent-{agent}.jsonl");
        let path = self.its_transcript(id).unwrap().with_extension("").join(name);
        for (kind, content) in
            [("user", json!("classified")), ("assistant", json!([{"type": "text", "text": "ok"}]))]
        {
            let record = json!({
                "type": kind, "uuid": format!("{kind}{agent}"), "parentUuid": null, "isSidechain": true,
                "agentId": agent, "sessionId": id, "cwd": cwd, "version": "2.1.300",
                "timestamp": "2026-11-20T10:00:00.000Z", "userType": "external", "entrypoint": "cli",
                "message": {
                    "id": "m", "type": "message", "role": kind, "model": "m", "content": content,
                    "stop_reason": "end_turn",
                },
            });
            append(&path, &format!("{record}\n"));
        }
    }
}

#[test]
fn what_came_is_known_before_it_is_there_also_to_who_is_killed_then() {
    let [one, two] = ["one", "two"].map(Host::new);
    let (shared, id) = (Shared::new(), session(1));
    one.clones_to(&shared.path(), SECRET);
    one.turns(&id, &shared.path(), "classified");
    let (bucket, public) = (two.path("bucket"), two.clones_from("c/public", ALPHA));
    let [_one, mut two] = fleet(one, two, &[&id]);
    two.mirrors_to(&bucket, EXCLUDED);
    shared.becomes_plain();
    two.resumes(&[&id, "--cwd", public.to_str().unwrap()], &public);
    two.kill();
    two.start();
    two.looks_up(&id);
    assert_eq!(two.brings(&bucket, &id), "");
    assert_eq!(two.place().held, 0, "it is known");
}

#[test]
fn a_delegates_repository_goes_along_with_its_session() {
    let [one, two] = ["one", "two"].map(Host::new);
    let (shared, id) = (Shared::new(), session(1));
    let public = one.clones_from("src/public", ALPHA);
    one.clones_to(&shared.path(), SECRET);
    one.turns(&id, &public, "anything");
    one.delegates(&id, "abc1234", &shared.path());
    let all = one.path("all");
    let [mut one, two] = fleet(one, two, &[&id, "abc1234"]);
    one.mirrors_to(&all, &[]);
    one.run(&["mirror", "run"]);
    shared.becomes_plain();
    let of = |bucket: &Path, id: &str| {
        let agent = bucket.join(format!("rrd/sessions/claude-code/{id}/subagents/agent-abc1234"));
        agent.exists()
            || bucket.join(format!("rrd/sessions/claude-code/{id}/subagents/abc1234")).exists()
    };
    assert!(of(&all, &id));
    let (bucket, here) = (two.path("bucket"), two.clones_from("c/public", ALPHA));
    two.mirrors_to(&bucket, EXCLUDED);
    two.resumes(&[&id, "--cwd", here.to_str().unwrap()], &here);
    assert!(two.brings(&bucket, &id).contains("anything"));
    assert!(!of(&bucket, &id));
    // And as a bucket tells it.
    one.stop();
    let mut three = Host::new("three");
    let (bucket, here) = (three.path("bucket"), three.clones_from("c/public", ALPHA));
    three.start();
    three.mirrors_to(&all, &[]);
    three.mirrors_to(&bucket, EXCLUDED);
    let args = [&id, "--from", "bucket", "--take-over", "--cwd", here.to_str().unwrap()];
    three.resumes(&args, &here);
    assert!(three.brings(&bucket, &id).contains("anything"));
    assert!(!of(&bucket, &id));
}

#[test]
fn names_that_are_redacted_are_known_all_the_same() {
    let [one, two] = ["one", "two"].map(Host::new);
    let (shared, id) = (Shared::new(), session(1));
    let rule = "[[deny]]\nid = \"customer\"\npattern = 'secret'\n";
    append(&one.path("rrd/redact.toml"), rule);
    one.clones_to(&shared.path(), SECRET);
    one.turns(&id, &shared.path(), "classified");
    one.turns(&id, &one.clones_from("src/public", ALPHA), "and there");
    let (bucket, public) = (two.path("bucket"), two.clones_from("c/public", ALPHA));
    let [_one, two] = fleet(one, two, &[&id]);
    shared.becomes_plain();
    two.mirrors_to(&bucket, EXCLUDED);
    two.resumes(&[&id, "--cwd", public.to_str().unwrap()], &public);
    two.turns(&id, &public, "and here");
    assert_eq!(two.brings(&bucket, &id), "");
    assert_eq!(two.place().held, 0, "it is known");
}

#[test]
fn where_nobody_knew_all_of_it_nobody_knows_it_elsewhere() {
    let [one, two] = ["one", "two"].map(Host::new);
    let (shared, id) = (Shared::new(), session(1));
    // Gone before anybody looked; where it goes on that is a plain directory.
    one.turns(&id, &shared.path(), "classified");
    one.turns(&id, &one.clones_from("src/public", ALPHA), "anything");
    let (bucket, public) = (two.path("bucket"), two.clones_from("c/public", ALPHA));
    let [_one, two] = fleet(one, two, &[&id]);
    fs::create_dir(shared.path()).unwrap();
    two.mirrors_to(&bucket, EXCLUDED);
    two.resumes(&[&id, "--cwd", public.to_str().unwrap()], &public);
    assert_eq!(two.brings(&bucket, &id), "");
    let place = two.place();
    assert_eq!(place.held, 1);
    assert!(place.held_for[0].error.contains("did not tell of all places"), "{place:?}");
}

#[test]
fn what_another_session_found_in_a_directory_is_not_believed() {
    let mut host = Host::new("one");
    let (bucket, [first, second]) = (host.path("bucket"), [1, 2].map(session));
    let work = host.clones_from("work", ALPHA);
    host.start();
    host.mirrors_to(&bucket, EXCLUDED);
    host.turns(&first, &work, "anything");
    host.looks_up(&first);
    fs::remove_dir_all(&work).unwrap();
    let work = host.clones_from("work", SECRET);
    host.turns(&second, &work, "classified");
    host.looks_up(&second);
    fs::remove_dir_all(&work).unwrap();
    assert!(host.brings(&bucket, &first).contains("anything"));
    assert_eq!(there(&bucket, &second), "");
}
