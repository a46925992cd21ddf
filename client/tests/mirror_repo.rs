//! Sessions that a mirror takes or leaves by their repository: also where the directory is not there any more, not
//! there yet, or on another host.
//!
//! Not here: what else is chosen by (`mirror`), and what a resume writes (`resume`).
#![cfg(unix)]
#![allow(clippy::unwrap_used)] // the lint's exception for tests does not reach plain functions here

#[path = "mirror_repo/before.rs"]
mod before;
#[path = "mirror_repo/hops.rs"]
mod hops;
#[path = "host/mod.rs"]
mod host;
#[path = "mirror_repo/kin.rs"]
mod kin;
#[path = "mirror_repo/layouts.rs"]
mod layouts;
#[path = "mirror_repo/places.rs"]
mod places;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{SystemTime, UNIX_EPOCH},
};

use host::{Host, past::append, session};
use rrd_proto::{MirrorStatus, Session, Timestamp};
use serde_json::{Value, json};

impl Host {
    /// A turn of a session in this directory, over; in the transcript that it has, or in a new one.
    fn turns(&self, id: &str, cwd: &Path, what: &str) {
        let path = self.its_transcript(id).unwrap_or_else(|| self.lies(id, cwd));
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        let at = Timestamp::from_millis(i64::try_from(at).unwrap());
        for (kind, message) in [
            ("user", json!({"role": "user", "content": what})),
            (
                "assistant",
                json!({
                    "id": format!("m{what}"), "type": "message", "role": "assistant", "model": "m",
                    "content": [{"type": "text", "text": "done"}], "stop_reason": "end_turn",
                    "stop_sequence": null, "usage": {"input_tokens": 1, "output_tokens": 1},
                }),
            ),
        ] {
            append(
                &path,
                &format!(
                    "{}\n",
                    json!({
                        "parentUuid": null, "isSidechain": false, "type": kind, "cwd": cwd, "sessionId": id,
                        "uuid": format!("{kind}{what}"), "timestamp": at, "version": "2.1.300", "message": message,
                        "userType": "external", "entrypoint": "cli", "promptSource": "typed", "gitBranch": "main",
                    })
                ),
            );
        }
    }

    fn its_transcript(&self, id: &str) -> Option<PathBuf> {
        let projects = fs::read_dir(self.path(".claude/projects")).ok()?;
        let mut paths = projects.map(|it| it.unwrap().path().join(format!("{id}.jsonl")));
        paths.find(|path| path.is_file())
    }

    /// A database of the daemon's, while that does not run.
    fn loses(&self, name: &str) {
        for end in ["", "-wal", "-shm"] {
            let _ = fs::remove_file(self.state(&format!("{name}{end}")));
        }
    }

    fn shows(&self, id: &str) -> Session {
        self.json(&["sessions", "show", id])
    }

    fn place(&self) -> MirrorStatus {
        self.json::<Vec<MirrorStatus>>(&["mirror", "status"]).remove(0)
    }

    /// Everything that is to be there is there; gives what there is of a session.
    fn brings(&self, bucket: &Path, id: &str) -> String {
        self.run(&["mirror", "run"]);
        there(bucket, id)
    }

    fn mirrors_to(&self, bucket: &Path, choice: &[&str]) {
        let url = format!("file://{}", bucket.display());
        self.run(&[&["mirror", "enable", &url], choice].concat());
    }

    fn resumes(&self, args: &[&str], cwd: &Path) {
        let mut command: Command = self.rrd(&[&["resume"], args].concat());
        let done = command.current_dir(cwd).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
}

/// What a bucket has of a session, one part after the other.
fn there(bucket: &Path, id: &str) -> String {
    let directory = bucket.join(format!("rrd/sessions/claude-code/{id}"));
    let entries = fs::read_dir(directory).into_iter().flatten().map(|entry| entry.unwrap().path());
    let is_part = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with("part-");
    let mut parts: Vec<PathBuf> = entries.filter(is_part).collect();
    parts.sort();
    parts.iter().map(|path| fs::read_to_string(path).unwrap()).collect()
}

fn meta(bucket: &Path, id: &str) -> Value {
    let path = bucket.join(format!("rrd/sessions/claude-code/{id}/meta.json"));
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

const SECRET: &str = "git@example.com:acme/secret.git";
const ALPHA: &str = "git@example.com:acme/alpha.git";

#[test]
fn what_was_in_an_excluded_repository_stays_out_when_its_directory_is_gone() {
    let mut host = Host::new("one");
    let (bucket, [id, other]) = (host.path("bucket"), [1, 2].map(session));
    let (clone, plain) = (host.clones_from("src/secret", SECRET), host.path("plain"));
    fs::create_dir_all(&plain).unwrap();
    host.turns(&id, &clone, "classified");
    host.turns(&other, &plain, "anything");
    // Who is sent somewhere else by it knows what it knows.
    let delegate = host.its_transcript(&id).unwrap().with_extension("").join("subagents");
    append(
        &delegate.join("agent-a1b2c3d4.jsonl"),
        &format!(
            "{}\n",
            json!({
                "type": "user", "uuid": "d1", "parentUuid": null, "sessionId": id, "cwd": plain,
                "isSidechain": true, "agentId": "a1b2c3d4", "version": "2.1.300",
                "timestamp": "2026-11-20T10:00:00.000Z", "message": {"role": "user", "content": "classified"},
            })
        ),
    );
    host.start();
    host.mirrors_to(&bucket, &["--exclude-repo", "secret"]);
    assert_eq!(host.brings(&bucket, &id), "");
    assert!(there(&bucket, &other).contains("anything"), "its directory is in no repository");
    assert!(!bucket.join("rrd/sessions/claude-code").join(&id).exists());
    assert_eq!(host.place().held, 0);
    // A worktree that is removed, a volume that is mounted later.
    fs::rename(&clone, host.path("locked")).unwrap();
    host.stop();
    host.start();
    host.turns(&id, &clone, "more of it");
    assert_eq!(host.brings(&bucket, &id), "");
    let row = host.shows(&id);
    assert_eq!(row.repo.as_deref(), Some("secret"), "what was known is known");
    assert_eq!(row.repo_remote.as_deref(), Some(SECRET));
    // Where it was, there is something else now: what was said before is in the transcript all the same.
    fs::create_dir_all(&clone).unwrap();
    host.stop();
    host.loses("index.db");
    host.start();
    host.looks_up(&id);
    assert_eq!((host.brings(&bucket, &id), host.place().held), (String::new(), 0));
    // With nothing that was kept nobody knows it, and it is told so.
    fs::remove_dir(&clone).unwrap();
    host.stop();
    host.loses("index.db");
    host.loses("keep.db");
    host.start();
    host.looks_up(&id);
    host.looks_up(&other);
    assert_eq!(host.brings(&bucket, &id), "");
    assert_eq!(host.place().held, 2, "its delegate with it, whose own directory is there");
    assert!(!bucket.join("rrd/sessions/claude-code").join(&id).exists());
    let status = host.run(&["mirror", "status"]);
    assert!(status.contains("2 transcripts held back: nobody knows"), "{status}");
    assert!(host.run(&["sessions", "show", &id]).contains("which repository"));
    // There again it is looked at again.
    fs::rename(host.path("locked"), &clone).unwrap();
    assert_eq!(host.brings(&bucket, &id), "");
    assert_eq!(host.place().held, 0);
    assert_eq!(host.shows(&id).repo.as_deref(), Some("secret"));
}

#[test]
fn what_was_in_a_chosen_repository_comes_also_when_its_directory_is_gone() {
    let mut host = Host::new("one");
    let (bucket, [id, late]) = (host.path("bucket"), [1, 2].map(session));
    let clone = host.clones_from("src/mine", "git@example.com:acme/mine.git");
    host.turns(&id, &clone, "work");
    host.turns(&late, &host.path("gone/before"), "nobody knows where");
    host.start();
    // Forges do not tell upper case from lower.
    host.mirrors_to(&bucket, &["--repo", "Mine"]);
    assert!(host.brings(&bucket, &id).contains("work"));
    assert_eq!(host.place().unknown_repos, [""; 0]);
    assert_eq!((there(&bucket, &late), host.place().held), (String::new(), 1));
    fs::remove_dir_all(&clone).unwrap();
    host.stop();
    host.turns(&id, &clone, "last words");
    host.start();
    assert!(host.brings(&bucket, &id).contains("last words"));
    // Whatever a directory above it is in, it is not known to have been in that.
    let home = host.clones_from("", "git@example.com:acme/mine.git");
    assert!(home.is_dir());
    assert_eq!(host.brings(&bucket, &late), "");
}

#[test]
fn what_begins_without_a_directory_waits_for_it() {
    let mut host = Host::new("one");
    let (bucket, id) = (host.path("bucket"), session(1));
    let clone = host.clones_from("src/secret", SECRET);
    let path = host.lies(&id, &clone);
    host.start();
    host.mirrors_to(&bucket, &["--exclude-repo", "secret"]);
    for head in [
        json!({"type": "queue-operation", "operation": "enqueue", "content": "classified", "sessionId": id}),
        json!({"type": "custom-title", "customTitle": "classified", "sessionId": id}),
    ] {
        append(&path, &format!("{head}\n"));
    }
    host.looks_up(&id);
    assert_eq!(host.brings(&bucket, &id), "");
    assert_eq!(host.place().held, 1);
    host.turns(&id, &clone, "the rest");
    assert_eq!(host.brings(&bucket, &id), "");
    host.until("its repository", || match host.place().held {
        0 => Ok(()),
        held => Err(held.to_string()),
    });
    assert_eq!(host.brings(&bucket, &id), "");
}

#[test]
fn an_excluded_repository_is_excluded_on_the_host_where_its_session_goes_on() {
    let (mut one, mut two) = (Host::new("one"), Host::new("two"));
    let (bucket, [id, own]) = (two.path("bucket"), [1, 2].map(session));
    let (of_one, of_two) = (one.clones_from("src/alpha", ALPHA), two.clones_from("c/alpha", ALPHA));
    one.turns(&id, &of_one, "classified");
    let plain = two.path("plain");
    fs::create_dir_all(&plain).unwrap();
    two.turns(&own, &plain, "anything");
    one.start();
    two.start();
    let one = one.founds();
    let two = one.takes_in(two);
    two.mirrors_to(&bucket, &["--exclude-repo", "alpha"]);
    two.looks_up(&id);
    two.looks_up(&own);
    fs::rename(&of_one, one.path("elsewhere")).unwrap();
    // A fork has its past, wherever it goes on.
    two.resumes(&[&id, "--fork", "--cwd", plain.to_str().unwrap()], &plain);
    two.resumes(&[&id], &of_two);
    assert_eq!(two.brings(&bucket, &id), "");
    two.turns(&id, &of_two, "and here");
    assert_eq!(two.brings(&bucket, &id), "");
    two.until("its repository", || {
        let all: Vec<Session> = two.json(&["sessions", "list", "--all", "--local"]);
        let row = all.into_iter().find(|row| row.session_id == id).ok_or("no row")?;
        match row.repo.as_deref() {
            Some("alpha") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    assert_eq!(two.place().held, 0);
    assert!(there(&bucket, &own).contains("anything"));
    let brought = fs::read_dir(bucket.join("rrd/sessions/claude-code")).unwrap().count();
    assert_eq!(brought, 1, "only what was in no repository");
}

#[test]
fn a_session_keeps_its_repository_from_host_to_host() {
    let [mut one, mut two, mut three] = ["one", "two", "three"].map(Host::new);
    let (bucket, id) = (one.path("bucket"), session(1));
    let of_one = one.clones_from("src/alpha", ALPHA);
    let (of_two, of_three) =
        (two.clones_from("c/alpha", ALPHA), three.clones_from("d/alpha", ALPHA));
    one.turns(&id, &of_one, "begin");
    one.start();
    one.mirrors_to(&bucket, &[]);
    assert!(one.brings(&bucket, &id).contains("begin"));
    assert_eq!(meta(&bucket, &id)["repo"], ALPHA);
    one.stop();
    fs::rename(&of_one, one.path("lost")).unwrap();
    two.start();
    two.mirrors_to(&bucket, &[]);
    two.resumes(&[&id, "--from", "bucket", "--take-over"], &of_two);
    two.turns(&id, &of_two, "goes on");
    two.until("the turn is there", || {
        let there = two.brings(&bucket, &id);
        if there.contains("goes on") { Ok(()) } else { Err(there) }
    });
    assert_eq!(meta(&bucket, &id)["repo"], ALPHA);
    let row = two.shows(&id);
    assert_eq!((row.repo.as_deref(), row.repo_remote.as_deref()), (Some("alpha"), Some(ALPHA)));
    assert_eq!(row.repo_root.as_deref(), of_two.to_str(), "this host's clone");
    // Also from there, and wherever a person is.
    two.resumes(&[&id], two.home.path());
    two.stop();
    fs::rename(&of_two, two.path("lost")).unwrap();
    three.start();
    three.mirrors_to(&bucket, &[]);
    three.resumes(&[&id, "--from", "bucket", "--take-over"], &of_three);
    assert!(three.its_transcript(&id).is_some());
}
