//! A session recorded on one host is resumed on another: real daemons, and the files where a harness reads them.
//!
//! Not here: names and rules by themselves (the core's `resume`), hosts that lie (the daemon's `resume::place`).
#![cfg(unix)]
#![allow(clippy::unwrap_used)] // the lint's exception for tests does not reach plain functions here

mod host;

use std::{
    fs,
    path::{Path, PathBuf},
};

use host::{
    Host,
    past::{self, REMOTE, append, secret},
    session,
};
use rrd_proto::{HostState, Session, Status};
use rusqlite::Connection;
use serde_json::{Value, json};

const THREAD: &str = "01a1f87f-d0a7-7e91-aca5-d3b222634540";

/// Names of all files beneath a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut found: Vec<PathBuf> = entries
        .flat_map(|entry| {
            let path = entry.unwrap().path();
            if path.is_dir() { files(&path) } else { vec![path] }
        })
        .collect();
    // A daemon's socket cannot be read.
    found.retain(|path| path.is_file());
    found.sort();
    found
}

impl Host {
    /// A session of Claude Code that has done its turn, in a directory; the turn is the nth.
    fn has_done(&self, id: &str, cwd: &Path, turn: usize, says: &str) {
        append(&self.transcript(id), &past::turn(id, cwd, turn, says));
    }

    /// A thread of Codex that has done its turn.
    fn has_thread(&self, cwd: &Path, says: &str) -> String {
        let at = "2026-11-20T10:28:08.000Z";
        let of = |kind: &str, payload: Value| {
            format!("{}\n", json!({"timestamp": at, "type": kind, "payload": payload}))
        };
        [
            of("session_meta", json!({"id": THREAD, "session_id": THREAD, "timestamp": at,
                "cwd": cwd, "originator": "codex_exec", "cli_version": "0.169.0", "source": "cli",
                "git": {"commit_hash": "0123456789abcdef", "branch": "feat", "repository_url": REMOTE}})),
            of("event_msg", json!({"type": "task_started", "turn_id": "t1"})),
            of("event_msg", json!({"type": "user_message", "message": says})),
            of("event_msg", json!({"type": "task_complete", "turn_id": "t1", "thread_id": THREAD})),
        ]
        .concat()
    }

    fn rollout(&self) -> PathBuf {
        self.path(&format!(".codex/sessions/2026/11/20/rollout-2026-11-20T10-28-08-{THREAD}.jsonl"))
    }

    /// How Claude Code goes on with it from a directory that is not its folder's.
    fn by_path(&self, id: &str, flag: &str) -> String {
        format!("claude --resume {}{flag}\n", self.transcript(id).display())
    }

    /// What it says when it does not resume.
    fn resumes_not(&self, args: &[&str]) -> String {
        self.refuses(&[&["resume"], args].concat())
    }
}

/// Two hosts of one fleet: the first has a session in a clone, the second another clone.
fn two(id: &str, raw: bool) -> (Host, Host, PathBuf) {
    let mut a = Host::new("a");
    a.set("RRD_RESUME_RAW", raw.to_string());
    let cwd = a.clones("src/alpha");
    a.has_done(id, &cwd, 1, "Publish it");
    append(&a.rollout(), &a.has_thread(&cwd, "Tag it"));
    a.start();
    let a = a.founds();
    let mut b = Host::new("bb");
    let clone = b.clones("code/alpha");
    b.has_done(&session(99), &clone, 1, "Elsewhere");
    b.start();
    let b = a.takes_in(b);
    b.looks_up(id);
    (a, b, clone)
}

#[test]
fn a_session_of_one_host_goes_on_at_another() {
    let id = session(1);
    let (a, b, clone) = two(&id, true);
    // Long enough for several pages, with an end that no newline has.
    append(
        &a.transcript(&id),
        &format!("{}\n{{\"torn", json!({"type": "x", "of": "y".repeat(700_000)})),
    );
    let beneath = a.path(&format!(".claude/projects/-w/{id}/subagents"));
    append(&beneath.join("agent-a9.jsonl"), "{\"type\":\"user\"}\n");
    append(&beneath.join("agent-a9.meta.json"), "{\"description\":\"Audit\"}");
    append(&beneath.join("workflows/r1/agent-b1.jsonl"), "");
    append(&beneath.join("notes.txt"), "no file of a subagent");

    let (line, said) = b.told(&["resume", &id]);
    assert_eq!(line, format!("cd {} && claude --resume {id}\n", clone.display()));
    assert!(said.contains("copies 4 files of a ("), "{said}");
    assert!(said.contains("goes on in") && said.contains("the clone of its repository"), "{said}");
    let place = b.lies(&id, &clone);
    assert_eq!(fs::read(&place).unwrap(), fs::read(a.transcript(&id)).unwrap());
    let there = place.with_extension("").join("subagents");
    let names = |folder: &Path| -> Vec<PathBuf> {
        let all = files(folder).into_iter();
        all.map(|path| path.strip_prefix(folder).unwrap().to_owned()).collect()
    };
    let told = ["agent-a9.jsonl", "agent-a9.meta.json", "workflows/r1/agent-b1.jsonl"];
    assert_eq!(names(&there), told.map(PathBuf::from));
    for name in told {
        assert_eq!(fs::read(there.join(name)).unwrap(), fs::read(beneath.join(name)).unwrap());
    }
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(fs::metadata(&place).unwrap().permissions().mode() & 0o777, 0o600);
    // Nothing of the way is left.
    let of_b = files(&b.path(".claude"));
    assert!(of_b.iter().all(|path| !path.to_string_lossy().contains(".rrd-")), "{of_b:?}");
    // Both hosts have written it down.
    let key = format!("\"harness\":\"claude-code\",\"id\":\"{id}\"");
    for (host, what) in [(&a, "gives a session's files"), (&b, "takes a session's files")] {
        let log = host.log();
        let line = log.lines().find(|line| line.contains(what)).unwrap_or_else(|| panic!("{log}"));
        assert!(line.contains(&key) && line.contains("\"raw\":true"), "{line}");
    }
    assert!(a.log().contains("gave all of"), "{}", a.log());

    // Again: it is there already.
    let answer: Value = b.json(&["resume", &format!("a/claude-code/{id}")]);
    assert_eq!(answer["command"], json!(["claude", "--resume", id]));
    let became = |answer: &Value| -> Vec<String> {
        let files = answer["files"].as_array().unwrap().iter();
        files.map(|file| file["became"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(became(&answer), ["same"; 4]);
    assert!(answer["redacted"] == json!(false) && answer["directory"] == json!(clone));
    let remarks = answer["remarks"].to_string();
    assert!(
        remarks.contains("is there already, the same") && remarks.contains("goes on in"),
        "{remarks}"
    );
    // The copy goes on where it lies, although the directory of the other one is there, too.
    let copy = format!("bb/claude-code/{id}");
    b.looks_up(&copy);
    let answer: Value = b.json(&["resume", &copy]);
    assert_eq!((&answer["directory"], &answer["files"]), (&json!(clone), &json!([])));

    let (line, said) = b.told(&["resume", THREAD, "--cwd", clone.to_str().unwrap()]);
    let at = clone.display();
    assert_eq!(line, format!("cd {at} && codex resume -C {at} {THREAD}\n"));
    assert!(said.contains("it began at commit 0123456789"), "{said}");
    assert_eq!(fs::read(b.rollout()).unwrap(), fs::read(a.rollout()).unwrap());
}

#[test]
fn what_is_there_already_is_overwritten_by_nothing_else() {
    let id = session(1);
    let (a, b, clone) = two(&id, true);
    let named = format!("a/claude-code/{id}");
    b.run(&["resume", &named]);
    let place = b.lies(&id, &clone);
    // It went on there: what is here is older.
    a.has_done(&id, &clone, 2, "And the tag");
    let (_, said) = b.told(&["resume", &named]);
    assert!(said.contains("was an older copy, and was replaced"), "{said}");
    let whole = fs::read(&place).unwrap();
    assert_eq!(whole, fs::read(a.transcript(&id)).unwrap());
    // It went on here: that stays.
    append(&place, "{\"type\":\"user\"}\n");
    let here = fs::read(&place).unwrap();
    let (line, said) = b.told(&["resume", &named]);
    assert!(said.contains("goes on further: that one is used"), "{said}");
    assert!(line.contains(&id) && fs::read(&place).unwrap() == here);
    // It went on at both.
    a.has_done(&id, &clone, 3, "Otherwise");
    let said = b.resumes_not(&[&named]);
    assert!(said.contains("says something else") && said.contains("--fork"), "{said}");
    assert_eq!(fs::read(&place).unwrap(), here);
    // Another directory does not make it a second session.
    let other = b.clones("code/other");
    let (_, said) = b.told(&["resume", &id, "--cwd", other.to_str().unwrap(), "--fork"]);
    assert!(said.contains("wrote "), "{said}");
    assert!(!b.lies(&id, &other).exists());
}

#[test]
fn what_is_alive_is_not_resumed_but_forked() {
    let id = session(1);
    let (a, b, clone) = two(&id, true);
    // A turn is open.
    a.says(&id, &format!("Work on {id}"));
    b.until("it to be at work", || {
        let row: Session = b.json(&["sessions", "show", &id]);
        match row.status {
            Status::Executing => Ok(()),
            other => Err(other.to_string()),
        }
    });
    let said = b.resumes_not(&[&id]);
    assert!(said.contains("executing on a") && said.contains("--fork"), "{said}");
    assert!(b.resumes_not(&[&id, "--take-over"]).contains("executing on a"));
    assert!(!b.lies(&id, &clone).exists());

    // It has a delegate, which both would have under one id.
    let agent = "a937ff163c830dc11";
    let beneath = a.path(&format!(".claude/projects/-w/{id}/subagents"));
    let record = json!({"type": "user", "isSidechain": true, "agentId": agent, "sessionId": id});
    append(&beneath.join(format!("agent-{agent}.jsonl")), &format!("{record}\n"));
    let answer: Value = b.json(&["resume", &id, "--fork"]);
    let new = answer["resumed_as"].as_str().unwrap();
    assert_ne!(new, id);
    let there = b.lies(new, &clone).with_extension("").join("subagents");
    let forked = files(&there).remove(0);
    let name = forked.file_stem().unwrap().to_str().unwrap().strip_prefix("agent-").unwrap();
    assert!(name != agent && name.len() == agent.len(), "{name}");
    let expected = record.to_string().replace(agent, name).replace(&id, new);
    assert_eq!(fs::read_to_string(&forked).unwrap().trim_end(), expected);
    assert_eq!(answer["command"], json!(["claude", "--resume", new]));
    let fork = fs::read_to_string(b.lies(new, &clone)).unwrap();
    let origin = fs::read_to_string(a.transcript(&id)).unwrap();
    let renamed =
        origin.replace(&format!("\"sessionId\":\"{id}\""), &format!("\"sessionId\":\"{new}\""));
    assert_eq!(fork, renamed);
    assert!(fork.contains(&format!("Work on {id}")), "what was said stays");
    // The fork is a session of this host from then on.
    b.looks_up(new);

    let cwd = clone.to_str().unwrap();
    let answer: Value = b.json(&["resume", THREAD, "--fork", "--cwd", cwd]);
    let new = answer["resumed_as"].as_str().unwrap();
    let fork =
        b.path(&format!(".codex/sessions/2026/11/20/rollout-2026-11-20T10-28-08-{new}.jsonl"));
    let fork = fs::read_to_string(fork).unwrap();
    assert_eq!(fork, fs::read_to_string(a.rollout()).unwrap().replace(THREAD, new));
    assert!(!b.rollout().exists());
}

#[test]
fn what_was_left_in_its_turn_goes_on_when_a_person_says_so() {
    let id = session(1);
    let mut a = Host::new("a");
    a.set("RRD_IDLE_TIMEOUT", "2h");
    let cwd = a.clones("src/alpha");
    // As a copy of it lies where no harness ever ran.
    a.says_ago(&id, "Publish it", 20 * 60_000);
    a.start();
    a.looks_up(&id);
    let at = ["--cwd", cwd.to_str().unwrap()];
    let said = a.resumes_not(&[&[&*id], &at[..]].concat());
    assert!(
        said.contains("its turn on a is open, and nothing tells whether it still runs"),
        "{said}"
    );
    assert!(said.contains("last written 20m ago"), "{said}");
    assert!(said.contains(&format!("rrd resume {id} --take-over")), "{said}");
    let (line, said) = a.told(&[&["resume", &id, "--take-over"], &at[..]].concat());
    assert!(line.ends_with(&a.by_path(&id, "")), "{line}");
    assert!(said.contains("if so, end it there"), "{said}");
    // Something is written again: it may be at work after all.
    a.says(&id, "And the tag");
    a.until("its activity", || {
        let said = a.rrd(&["resume", &id, "--take-over"]).args(at).output().unwrap();
        let said = String::from_utf8(said.stderr).unwrap();
        if said.contains("executing on a") { Ok(()) } else { Err(said) }
    });
}

#[test]
fn a_session_of_this_host_is_resumed_as_it_is() {
    let id = session(1);
    let (a, _b, _) = two(&id, true);
    let cwd = a.path("src/alpha").canonicalize().unwrap();
    let before = files(a.home.path().join(".claude").as_path());
    let (line, _) = a.told(&["resume", &id]);
    // Its folder is another directory's.
    let by_path = |flag| a.by_path(&id, flag);
    assert_eq!(line, format!("cd {} && {}", cwd.display(), by_path("")));
    let (line, _) = a.told(&["resume", &id, "--fork"]);
    assert!(line.ends_with(&by_path(" --fork-session")), "{line}");
    assert_eq!(files(a.home.path().join(".claude").as_path()), before);
    // Codex has no flag for that which was ever seen.
    let answer: Value = a.json(&["resume", THREAD, "--fork"]);
    assert_ne!(answer["resumed_as"], json!(THREAD));
    assert_eq!(answer["files"][0]["became"], "new");
    assert!(a.resumes_not(&["no-such-session"]).contains("no session matches"));
}

#[test]
fn it_runs_the_harness_in_its_directory() {
    let id = session(1);
    let (mut a, _b, _) = two(&id, true);
    let script = a.path("bin/claude");
    append(&script, "#!/bin/sh\necho \"$PWD: $*\"\n");
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o700)).unwrap();
    assert!(a.resumes_not(&[&id, "--exec"]).contains("claude cannot be run"));
    a.set("PATH", a.path("bin").display().to_string());
    let cwd = a.path("src/alpha").canonicalize().unwrap();
    let expected = a.by_path(&id, "").replacen("claude", &format!("{}:", cwd.display()), 1);
    assert_eq!(a.run(&["resume", &id, "--exec"]), expected);
}

#[test]
fn of_a_host_that_is_away_a_bucket_has_a_copy() {
    let id = session(1);
    let (mut a, b, clone) = two(&id, true);
    append(&a.transcript(&id), &format!("{}\n", json!({"type": "x", "text": secret()})));
    let beneath =
        a.path(&format!(".claude/projects/-w/{id}/subagents/workflows/w1/agent-a9.jsonl"));
    let delegated = json!({"type": "user", "uuid": "s1", "isSidechain": true, "sessionId": id,
        "agentId": "a9", "timestamp": "2026-11-20T10:04:00.000Z", "cwd": clone,
        "message": {"role": "user", "content": "Look"}});
    append(&beneath, &format!("{delegated}\n"));
    let sidecar = beneath.with_extension("meta.json");
    append(
        &sidecar,
        &format!("{{\"agentType\":\"Explore\",\"description\":\"Use {}\"}}", secret()),
    );
    a.looks_up("a9");
    let bucket = format!("file://{}", a.path("bucket").display());
    a.run(&["mirror", "enable", &bucket, "--project", "mine", "--yes"]);
    a.run(&["mirror", "run"]);
    // What hosts tell is kept some seconds later.
    b.until("it to be kept", || {
        let db = Connection::open(b.state("keep.db")).unwrap();
        let row = |row: &rusqlite::Row<'_>| row.get::<_, String>(0);
        let kept = db.query_row("SELECT rows FROM past", [], row).unwrap_or_default();
        if kept.contains(&id) { Ok(()) } else { Err(kept) }
    });
    a.kill();
    b.until("it to be away", || match b.hosts().iter().find(|row| row.host == "a") {
        Some(row) if row.state == HostState::Away => Ok(()),
        other => Err(format!("{other:?}")),
    });
    let said = b.resumes_not(&[&id]);
    assert!(said.contains("a is away") && said.contains("--take-over"), "{said}");
    let said = b.resumes_not(&[&id, "--take-over"]);
    assert!(said.contains("a is away") && said.contains("rrd mirror enable"), "{said}");
    let said = b.resumes_not(&[&id, "--take-over", "--from", "bucket"]);
    assert!(said.contains("knows no bucket"), "{said}");
    let said = b.resumes_not(&[&id, "--take-over", "--from", "peer"]);
    assert!(said.contains("a is away"), "{said}");
    assert!(!b.lies(&id, &clone).exists());

    b.run(&["mirror", "enable", &bucket, "--project", "mine", "--yes"]);
    let (line, said) = b.told(&["resume", &id, "--take-over"]);
    assert!(said.contains("redacted only") && said.contains(&bucket), "{said}");
    assert!(line.ends_with(&format!("claude --resume {id}\n")), "{line}");
    // What the harness would read: all that was written there, and no secret.
    let expected = |path: &Path| {
        fs::read_to_string(path).unwrap().replace(&secret(), "[REDACTED:github-token]")
    };
    let place = b.lies(&id, &clone);
    assert_eq!(fs::read_to_string(&place).unwrap(), expected(&a.transcript(&id)));
    let agents = place.with_extension("").join("subagents/workflows/w1/agent-a9.jsonl");
    assert_eq!(fs::read_to_string(&agents).unwrap(), expected(&beneath));
    let beside = agents.with_extension("meta.json");
    assert_eq!(fs::read_to_string(beside).unwrap(), expected(&sidecar));
    assert!(fs::read_dir(b.state("copies")).unwrap().next().is_none());
}

/// What the bucket gave is how its host's own begins, but for what is secret.
#[test]
fn a_redacted_copy_is_followed_up_from_its_host() {
    let id = session(1);
    let (mut a, b, clone) = two(&id, true);
    a.has_done(&id, &clone, 2, &format!("Use {}", secret()));
    let bucket = format!("file://{}", a.path("bucket").display());
    a.run(&["mirror", "enable", &bucket, "--yes"]);
    a.run(&["mirror", "run"]);
    let all = fs::read_to_string(a.transcript(&id)).unwrap();
    a.kill();
    b.until("it to be away", || match b.hosts().iter().find(|row| row.host == "a") {
        Some(row) if row.state == HostState::Away => Ok(()),
        other => Err(format!("{other:?}")),
    });
    b.run(&["mirror", "enable", &bucket, "--yes"]);
    b.run(&["resume", &id, "--from", "bucket", "--take-over"]);
    let place = b.lies(&id, &clone);
    let copy = all.replace(&secret(), "[REDACTED:github-token]");
    assert_eq!(fs::read_to_string(&place).unwrap(), copy);

    a.has_done(&id, &clone, 3, &format!("And {}", secret()));
    let new = fs::read_to_string(a.transcript(&id)).unwrap()[all.len()..].to_owned();
    a.start();
    b.until("what is new to be known", || {
        let there = |row: &Session| row.host == "a" && row.session_id == id;
        let rows: Vec<Session> = b.json(&["sessions", "list", "--all"]);
        match rows.into_iter().find(there).and_then(|row| row.counts) {
            Some(counts) if counts.prompts == 3 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    let (line, said) = b.told(&["resume", &id]);
    assert!(said.contains("that stays as it was, and what is new follows it"), "{said}");
    assert!(line.ends_with(&format!("claude --resume {id}\n")), "{line}");
    assert_eq!(fs::read_to_string(&place).unwrap(), copy + &new);
}

#[test]
fn what_only_a_bucket_has_comes_back() {
    let id = session(1);
    let (mut a, clone) = (Host::new("a"), session(2));
    let clone = a.clones(&format!("src/{clone}"));
    a.has_done(&id, &clone, 1, "Mend it");
    append(&a.rollout(), &a.has_thread(&clone, "Mend that, too"));
    a.start();
    a.looks_up(&id);
    a.looks_up(THREAD);
    let bucket = format!("file://{}", a.path("bucket").display());
    a.run(&["mirror", "enable", &bucket, "--yes"]);
    a.run(&["mirror", "run"]);
    let transcript = fs::read(a.transcript(&id)).unwrap();

    // Its harness has deleted it.
    fs::remove_file(a.transcript(&id)).unwrap();
    a.until("it to be missed", || {
        let row: Session = a.json(&["sessions", "show", &id]);
        match row.transcript_path.is_some_and(|path| Path::new(&path).exists()) {
            true => Err("there".to_owned()),
            false => Ok(()),
        }
    });
    let (line, said) = a.told(&["resume", &id]);
    assert!(said.contains("not on this host any more"), "{said}");
    assert!(line.starts_with(&format!("cd {} && ", clone.display())), "{line}");
    assert_eq!(fs::read(a.lies(&id, &clone)).unwrap(), transcript);

    // Nobody knows the host any more.
    let rollout = fs::read(a.rollout()).unwrap();
    a.kill();
    let mut c = Host::new("c");
    c.start();
    c.run(&["mirror", "enable", &bucket, "--yes"]);
    let said = c.resumes_not(&[&id]);
    assert!(said.contains("--from bucket"), "{said}");
    let cwd = c.clones("code/alpha");
    let args = [THREAD, "--from", "bucket", "--cwd", cwd.to_str().unwrap()];
    let said = c.resumes_not(&args);
    assert!(said.contains("--take-over"), "{said}");
    c.run(&[&["resume"], &args[..], &["--take-over"]].concat());
    assert_eq!(fs::read(c.rollout()).unwrap(), rollout);
    let said = c.resumes_not(&["nothing-like-it", "--from", "bucket"]);
    assert!(said.contains("nothing of it is in"), "{said}");
}

#[test]
fn what_this_host_has_forgotten_is_on_no_host_that_is_away() {
    let id = session(1);
    let mut a = Host::new("v1");
    let clone = a.clones("src/alpha");
    a.has_done(&id, &clone, 1, "Mend it");
    a.start();
    a.looks_up(&id);
    let bucket = format!("file://{}", a.path("bucket").display());
    a.run(&["mirror", "enable", &bucket, "--yes"]);
    a.run(&["mirror", "run"]);
    a.run(&["sessions", "forget", &id, "--yes"]);
    let of_bucket = ["resume", &id, "--from", "bucket", "--cwd", clone.to_str().unwrap()];
    for args in [&["resume", &*id][..], &of_bucket, &["sessions", "show", &id]] {
        let said = a.refuses(args);
        assert!(!said.contains("away"), "{args:?}: {said}");
    }
    let said = a.refuses(&of_bucket);
    assert!(
        said.contains("knows nothing of it any more") && said.contains("--take-over"),
        "{said}"
    );
    let (line, said) = a.told(&[&of_bucket[..], &["--take-over"]].concat());
    assert!(line.ends_with(&a.by_path(&id, "")), "{line}");
    assert!(!said.contains("away") && !said.contains("not on this host"), "{said}");
    assert!(said.contains("is there already, the same"), "{said}");
    assert!(a.hosts().iter().all(|row| row.state == HostState::Here), "{:?}", a.hosts());
}

#[test]
fn where_nobody_can_be_asked_for_a_clone_it_says_what_to_do() {
    let id = session(1);
    let (_a, b, clone) = two(&id, true);
    let second = b.clones("code/second");
    b.has_done(&session(98), &second, 1, "In a second one");
    b.looks_up(&session(98));
    let said = b.resumes_not(&[&id]);
    assert!(said.contains("2 clones of git@example.com:acme/alpha.git are here"), "{said}");
    assert!(said.contains(clone.to_str().unwrap()) && said.contains("--cwd DIR"), "{said}");
    // Where it is run, if that is one.
    let line = b.rrd(&["resume", &id]).current_dir(&second).output().unwrap().stdout;
    let line = String::from_utf8(line).unwrap();
    assert!(line.starts_with(&format!("cd {} && ", second.display())), "{line}");
    assert!(b.lies(&id, &second).exists());
}

#[test]
fn what_is_secret_stays_where_its_host_says_so() {
    let id = session(1);
    let (a, b, clone) = two(&id, false);
    a.has_done(&id, &clone, 2, &format!("Use {}", secret()));
    let thinking = |uuid: &str, says: &str| {
        format!(
            "{}\n",
            json!({"type": "assistant", "uuid": uuid, "parentUuid": "a2", "sessionId": id,
                "timestamp": "2026-11-20T10:03:00.000Z", "cwd": clone,
                "message": {"id": uuid, "role": "assistant", "stop_reason": "end_turn",
                    "content": [{"type": "thinking", "thinking": says, "signature": "c2ln"}]}})
        )
    };
    let harmless = thinking("t2", "Nothing in it");
    append(&a.transcript(&id), &thinking("t1", &format!("The key is {}", secret())));
    append(&a.transcript(&id), &harmless);
    let beneath = a.path(&format!(".claude/projects/-w/{id}/subagents"));
    append(&beneath.join("agent-a9.jsonl"), &format!("{}\n", json!({"text": secret()})));
    append(&beneath.join("agent-a9.meta.json"), &json!({"description": secret()}).to_string());
    append(&a.rollout(), &format!("{{\"type\":\"x\",\"torn\":\"{}", secret()));

    let (_, said) = b.told(&["resume", &id]);
    assert!(said.contains("a gives it redacted only"), "{said}");
    assert!(said.contains("1 block of signed thinking"), "{said}");
    let place = b.lies(&id, &clone);
    let copy = fs::read_to_string(&place).unwrap();
    let origin = fs::read_to_string(a.transcript(&id)).unwrap();
    assert_eq!(copy.lines().count(), origin.lines().count() - 1);
    assert!(copy.contains("Use [REDACTED:github-token]") && copy.ends_with(&harmless), "{copy}");
    assert_eq!(copy.lines().next(), origin.lines().next());
    let cwd = clone.to_str().unwrap();
    b.run(&["resume", THREAD, "--cwd", cwd]);
    assert!(fs::read_to_string(b.rollout()).unwrap().contains("[REDACTED:"));

    // A compressed one is unpacked on its own host, and redacted there.
    fs::remove_file(b.rollout()).unwrap();
    let packed = zstd::encode_all(&fs::read(a.rollout()).unwrap()[..], 3).unwrap();
    fs::write(a.rollout().with_extension("jsonl.zst"), packed).unwrap();
    fs::remove_file(a.rollout()).unwrap();
    let named = format!("a/codex/{THREAD}");
    a.until("it to be packed", || {
        let row: Session = a.json(&["sessions", "show", THREAD]);
        let path = row.transcript_path.unwrap_or_default();
        if path.ends_with(".zst") { Ok(()) } else { Err(path) }
    });
    b.run(&["resume", &named, "--cwd", cwd]);
    assert!(fs::read_to_string(b.rollout()).unwrap().contains("[REDACTED:"));

    // It goes on there, and comes home: to what is secret there, which stays.
    let goes_on = thinking("t3", "And on");
    append(&place, &goes_on);
    let named = format!("bb/claude-code/{id}");
    a.looks_up(&named);
    let (_, said) = a.told(&["resume", &named, "--cwd", a.path("src/alpha").to_str().unwrap()]);
    assert!(said.contains("stays as it was"), "{said}");
    assert_eq!(fs::read_to_string(a.transcript(&id)).unwrap(), origin + &goes_on);

    // Nothing of it is anywhere on that host, or in a log.
    let begins = &secret()[..20];
    for path in files(b.home.path()) {
        let bytes = fs::read(&path).unwrap();
        assert!(memmem(&bytes, begins.as_bytes()).is_none(), "{}", path.display());
    }
    assert!(!a.log().contains(begins) && a.log().contains("\"raw\":false"), "{}", a.log());
}

fn memmem(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|part| part == wanted)
}

#[test]
fn a_compressed_rollout_comes_as_what_is_in_it() {
    let (a, b, _) = two(&session(1), true);
    let plain = fs::read(a.rollout()).unwrap();
    fs::write(a.rollout().with_extension("jsonl.zst"), zstd::encode_all(&plain[..], 3).unwrap())
        .unwrap();
    fs::remove_file(a.rollout()).unwrap();
    a.until("it to be packed", || {
        let row: Session = a.json(&["sessions", "show", THREAD]);
        let path = row.transcript_path.unwrap_or_default();
        if path.ends_with(".zst") { Ok(()) } else { Err(path) }
    });
    b.run(&["resume", THREAD]);
    assert_eq!(fs::read(b.rollout()).unwrap(), plain);
}

#[test]
fn odd_ids_lead_nowhere() {
    let (a, b, clone) = two(&session(1), true);
    // A file of this name lies in its home; no harness would call one so.
    let odd = "x..%2f..";
    a.has_done(odd, &clone, 1, "Odd");
    b.looks_up(odd);
    let before = files(b.home.path().join(".claude").as_path());
    let said = b.resumes_not(&[odd]);
    assert!(said.contains("is no id that claude-code gives"), "{said}");
    assert_eq!(files(b.home.path().join(".claude").as_path()), before);
}

#[test]
fn a_transcript_beneath_a_name_that_looks_like_a_secret_is_not_gone() {
    let (mut host, id) = (Host::new("mac"), session(1));
    // What the harness calls the directory in which that work is done.
    let folder = host.path(".claude/projects/-src-AKIAIOSFODNN7EXAMPLQ");
    host.has_done(&id, Path::new("/w"), 1, "Mend it");
    fs::create_dir_all(folder.parent().unwrap()).unwrap();
    fs::rename(host.transcript(&id).parent().unwrap(), &folder).unwrap();
    host.start();
    let row = || -> Session { host.json(&["sessions", "show", &id]) };
    host.until("no row", || match host.rrd(&["sessions", "show", &id]).status() {
        Ok(status) if status.success() => Ok(()),
        other => Err(format!("{other:?}")),
    });
    let path = row().transcript_path.unwrap();
    assert!(path.contains("[REDACTED:") && !Path::new(&path).exists(), "{path}");
    let cwd = host.clones("src");
    let words = ["resume", &id, "--cwd", cwd.to_str().unwrap()];
    let (line, remarks) = host.told(&words);
    assert!(line.contains("claude --resume") && !remarks.contains("any more"), "{remarks}");
    // Where it is gone after all the daemon knows.
    fs::remove_file(folder.join(format!("{id}.jsonl"))).unwrap();
    host.until("it is not gone", || match row().issues {
        issues if issues.iter().any(|one| one.kind == "source_gone") => Ok(()),
        issues => Err(format!("{issues:?}")),
    });
    assert!(!host.rrd(&words).output().unwrap().status.success());
}
