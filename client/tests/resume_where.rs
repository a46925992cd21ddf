//! In which directory a session goes on, and what it is called there so that its harness finds it.
//!
//! Claude Code 2.1.197 looks for an id only where sessions of the directory lie in which it is started, 2.1.329
//! everywhere; both go on with a transcript that is named by its path. Not here: copies and clones that are asked
//! for (`resume`).
#![cfg(unix)]
#![allow(clippy::unwrap_used)] // the lint's exception for tests does not reach plain functions here

mod host;

use std::{fs, path::Path, process::Stdio};

use host::{
    Host,
    past::{self, append},
    session,
};
use rrd_proto::Session;

/// A turn that is done, some days ago.
fn turn(id: &str, cwd: &Path, number: usize) -> String {
    past::turn(id, cwd, number, "Mend it")
}

impl Host {
    fn has_done(&self, id: &str, cwd: &Path, number: usize) {
        append(&self.lies(id, cwd), &turn(id, cwd, number));
    }

    /// What it prints; it is run where no clone is.
    fn resumed(&self, args: &[&str]) -> String {
        let said = self.rrd(&[&["resume"], args].concat());
        let said = { said }.current_dir(self.home.path()).output().unwrap();
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        String::from_utf8(said.stdout).unwrap().trim_end().to_owned()
    }

    fn knows_turns(&self, id: &str, count: u64) {
        self.until("its turns to be known", || {
            let row: Session = self.json(&["sessions", "show", id]);
            match row.counts.as_ref().is_some_and(|counts| counts.prompts == count) {
                true => Ok(()),
                false => Err(format!("{:?}", row.counts)),
            }
        });
    }
}

/// The line that is pasted.
fn line(cwd: &Path, what: impl std::fmt::Display) -> String {
    format!("cd {} && claude --resume {what}", cwd.display())
}

#[test]
fn from_another_directory_a_session_is_named_by_its_transcript() {
    let id = session(1);
    let mut a = Host::new("a");
    let (first, other) = (a.clones("src/first"), a.clones("src/other"));
    a.has_done(&id, &first, 1);
    a.has_done(&session(2), &other, 1);
    let path = a.lies(&id, &first);
    a.start();
    assert_eq!(a.resumed(&[&id]), line(&first, &id));
    let to = other.to_str().unwrap();
    assert_eq!(a.resumed(&[&id, "--cwd", to]), line(&other, path.display()));
    assert_eq!(
        a.resumed(&[&id, "--fork", "--cwd", to]),
        line(&other, format!("{} --fork-session", path.display()))
    );
    // There is one transcript of it, and it goes on where it was last.
    assert!(!a.lies(&id, &other).exists());
    append(&path, &turn(&id, &other, 2));
    a.knows_turns(&id, 2);
    assert_eq!(a.resumed(&[&id]), line(&other, path.display()));
    // What an agent did in a directory within its clone, or outside of all, is no move.
    let within = first.join("sub");
    fs::create_dir(&within).unwrap();
    append(&path, &turn(&id, &within, 3));
    a.knows_turns(&id, 3);
    assert_eq!(a.resumed(&[&id]), line(&first, &id));
    append(&path, &turn(&id, a.home.path(), 4));
    a.knows_turns(&id, 4);
    assert_eq!(a.resumed(&[&id]), line(&first, &id));
    // Its directory is gone.
    append(&path, &turn(&id, &first, 5));
    a.knows_turns(&id, 5);
    fs::rename(&first, a.path("src/renamed")).unwrap();
    assert_eq!(a.resumed(&[&id]), line(&other, path.display()));
}

#[test]
fn what_was_resumed_into_a_directory_stays_in_it() {
    let id = session(1);
    let mut a = Host::new("a");
    let cwd = a.clones("src/alpha");
    a.has_done(&id, &cwd, 1);
    a.start();
    let a = a.founds();
    let mut b = Host::new("bb");
    let (known, new) = (b.clones("code/known"), b.clones("code/new_one"));
    b.has_done(&session(99), &known, 1);
    b.start();
    let b = a.takes_in(b);
    b.looks_up(&id);
    assert_eq!(b.resumed(&[&id, "--cwd", new.to_str().unwrap()]), line(&new, &id));
    // Elsewhere it is another host's.
    fs::rename(&cwd, a.path("src/elsewhere")).unwrap();
    b.until("its copy to be known", || {
        let rows: Vec<Session> = b.json(&["sessions", "list", "--all", "--local"]);
        if rows.iter().any(|row| row.session_id == id) { Ok(()) } else { Err(format!("{rows:?}")) }
    });
    assert_eq!(b.resumed(&[&id]), line(&new, &id), "before a turn");
    append(&b.lies(&id, &new), &turn(&id, &new, 2));
    b.knows_turns(&id, 2);
    assert_eq!(b.resumed(&[&id]), line(&new, &id), "after one");
    assert!(!b.lies(&id, &known).exists());
}

#[test]
fn its_clone_is_found_whatever_this_host_is_called_to_who_asks() {
    let (id, plain) = (session(1), session(99));
    let mut a = Host::new("a");
    let cwd = a.clones("src/alpha");
    a.has_done(&id, &cwd, 1);
    a.start();
    let a = a.founds();
    let mut b = Host::new("bb");
    let (clone, new) = (b.clones("code/alpha"), b.clones("code/new_one"));
    b.has_done(&plain, &clone, 1);
    b.start();
    let mut b = a.takes_in(b);
    b.looks_up(&id);
    fs::rename(&cwd, a.path("src/elsewhere")).unwrap();
    b.set("RRD_NAME", "another");
    assert_eq!(b.resumed(&[&id]), line(&clone, &id));
    // A folder's name, too, is known by the directories of this host's sessions.
    let folder = b.lies(&plain, &new);
    fs::create_dir_all(folder.parent().unwrap()).unwrap();
    fs::rename(b.lies(&plain, &clone), &folder).unwrap();
    append(&b.lies(&session(98), &new), &turn(&session(98), &new, 1));
    b.set("RRD_NAME", "bb");
    b.looks_up(&session(98));
    b.set("RRD_NAME", "another");
    assert_eq!(b.resumed(&[&plain]), line(&new, &plain));
}

/// Codex asks, where its thread was elsewhere, and takes that for the answer, also where it is no more.
#[test]
fn a_thread_of_codex_is_told_where_it_goes_on_where_that_is_elsewhere() {
    let thread = "01a1f87f-d0a7-7e91-aca5-d3b222634540";
    let at = "2026-11-20T10:28:08.000Z";
    let of = |kind: &str, payload: serde_json::Value| {
        let record = serde_json::json!({"timestamp": at, "type": kind, "payload": payload});
        format!("{record}\n")
    };
    let mut a = Host::new("a");
    let (cwd, other) = (a.clones("src/alpha"), a.clones("src/other"));
    let turn = |number: usize, cwd: &Path| {
        let id = format!("t{number}");
        [
            of("event_msg", serde_json::json!({"type": "task_started", "turn_id": id})),
            of("turn_context", serde_json::json!({"turn_id": id, "cwd": cwd, "model": "m"})),
            of("event_msg", serde_json::json!({"type": "user_message", "message": "Tag it"})),
            // What a command was run in is no directory of the thread.
            of("event_msg", serde_json::json!({"type": "exec_command_end", "cwd": "/w"})),
            of("event_msg", serde_json::json!({"type": "task_complete", "turn_id": id})),
        ]
        .concat()
    };
    let meta = serde_json::json!({"id": thread, "session_id": thread, "timestamp": at, "cwd": cwd,
        "originator": "codex_exec", "cli_version": "0.169.0", "source": "cli"});
    let rollout =
        a.path(&format!(".codex/sessions/2026/11/20/rollout-2026-11-20T10-28-08-{thread}.jsonl"));
    append(&rollout, &(of("session_meta", meta) + &turn(1, &cwd)));
    a.start();
    a.looks_up(thread);
    let plain = |at: &Path| format!("cd {} && codex resume {thread}", at.display());
    let told =
        |at: &Path| format!("cd {} && codex resume -C {} {thread}", at.display(), at.display());
    let to = other.to_str().unwrap();
    assert_eq!(a.resumed(&[thread]), plain(&cwd));
    assert_eq!(a.resumed(&[thread, "--cwd", to]), told(&other));
    let fork = a.resumed(&[thread, "--fork", "--cwd", to]);
    assert!(fork.contains(&format!("codex resume -C {} ", other.display())), "{fork}");
    // It was there last.
    append(&rollout, &turn(2, &other));
    a.knows_turns(thread, 2);
    assert_eq!(a.resumed(&[thread, "--cwd", to]), plain(&other));
    assert_eq!(a.resumed(&[thread, "--cwd", cwd.to_str().unwrap()]), told(&cwd));
}

#[test]
fn what_comes_home_goes_on_in_its_own_directory() {
    let id = session(1);
    let mut a = Host::new("a");
    let cwd = a.clones("src/alpha");
    a.has_done(&id, &cwd, 1);
    a.start();
    let a = a.founds();
    let mut b = Host::new("bb");
    let there = b.clones("code/alpha");
    b.start();
    let b = a.takes_in(b);
    b.looks_up(&id);
    b.resumed(&[&id, "--cwd", there.to_str().unwrap()]);
    append(&b.lies(&id, &there), &turn(&id, &there, 2));
    b.knows_turns(&id, 2);
    a.until("it to be known there", || {
        let rows: Vec<Session> = a.json(&["sessions", "list", "--all"]);
        let of_b = rows.iter().find(|row| row.session_id == id && row.host == "bb");
        let prompts = of_b.and_then(|row| row.counts.as_ref()).map(|counts| counts.prompts);
        if prompts == Some(2) { Ok(()) } else { Err(format!("{rows:?}")) }
    });
    // Its is the only session that was ever in a clone of that.
    assert_eq!(a.resumed(&[&id]), line(&cwd, &id));
    assert!(fs::read_to_string(a.lies(&id, &cwd)).unwrap().contains("\"u2\""));
}

/// At a terminal, where a person answers; what was asked, and what came of it.
fn answered(host: &Host, id: &str, answer: &str) -> String {
    let script = r#"
import os, pty, sys
said, asked, answer = b"", False, sys.argv[1].encode() + b"\n"
pid, fd = pty.fork()
if pid == 0:
    os.execv(sys.argv[2], sys.argv[2:])
while True:
    try:
        got = os.read(fd, 65536)
    except OSError:
        break
    if not got:
        break
    said += got
    if b"does it go on?" in said and not asked:
        asked = True
        os.write(fd, answer)
os.waitpid(pid, 0)
sys.stdout.buffer.write(said)
"#;
    let rrd = host.rrd(&["resume", id]);
    let mut python = std::process::Command::new("python3");
    python.args(["-c", script, answer]).arg(rrd.get_program()).args(rrd.get_args());
    for (name, value) in rrd.get_envs() {
        value.map(|value| python.env(name, value));
    }
    let said = python.current_dir(host.home.path()).stdin(Stdio::null()).output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    String::from_utf8(said.stdout).unwrap()
}

#[test]
fn a_person_answers_with_a_number_or_a_path_beneath_home() {
    if std::process::Command::new("python3").arg("--version").output().is_err() {
        return;
    }
    let mut a = Host::new("a");
    let cwd = a.clones("src/alpha");
    let ids: Vec<String> = (1..=5).map(session).collect();
    for id in &ids {
        a.has_done(id, &cwd, 1);
    }
    a.start();
    let a = a.founds();
    let mut b = Host::new("bb");
    let (one, two) = (b.clones("code/one"), b.clones("code/two"));
    b.has_done(&session(98), &two, 1);
    b.has_done(&session(99), &one, 2);
    b.start();
    let b = a.takes_in(b);
    ids.iter().for_each(|id| b.looks_up(id));
    b.looks_up(&session(98));
    b.looks_up(&session(99));
    // On one disk with the other host, as two never are.
    fs::rename(&cwd, a.path("src/elsewhere")).unwrap();
    for (id, answer, directory) in [
        (&ids[0], "2", &two),
        (&ids[1], "~/code/two", &two),
        (&ids[2], "", &one),
        (&ids[3], "code/two", &two),
    ] {
        let said = answered(&b, id, answer);
        let numbered = format!("1: {}, 2: {}", one.display(), two.display());
        let flat = said.replace(['\r', '\n'], "");
        assert!(flat.contains(&numbered), "{said}");
        assert!(flat.contains(&line(directory, id)), "{answer:?}: {said}");
    }
    let said = answered(&b, &ids[4], "3");
    assert!(said.contains("error") && !said.contains("claude --resume"), "{said}");
}
