//! What nobody waits for is told, too: a session that crashed, a circle of waits, a mirror that fails; by real
//! daemons to a program.
//!
//! Not here: sessions that need a person, hosts that go away, and who tells it (`notify.rs`).
#![cfg(target_os = "linux")] // a process is its start in /proc
#![allow(clippy::unwrap_used)] // the lint's exception for tests does not reach plain functions here

mod host;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    process::{Command, Stdio},
};

use host::{Host, session};
use rrd_proto::{Notice, NoticeKind, Notification, Timestamp};
use serde_json::{Value, json};

impl Host {
    /// A process is a client of Claude Code that works on a session, as far as its registry tells.
    fn registers(&self, id: &str, pid: u32) {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let start = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(19).unwrap();
        let entry = json!({
            "pid": pid, "sessionId": id, "cwd": "/w", "procStart": start, "version": "2.1.329",
            "kind": "interactive", "entrypoint": "cli", "status": "busy",
        });
        fs::create_dir_all(self.path(".claude/sessions")).unwrap();
        fs::write(self.path(&format!(".claude/sessions/{pid}.json")), entry.to_string()).unwrap();
    }

    /// What it has told of that kind.
    fn tells(&self, kind: NoticeKind) -> Vec<Notice> {
        let entries = fs::read_dir(self.path("told")).unwrap().flatten();
        // One that is being written is read the next time.
        let texts = entries.filter_map(|entry| fs::read_to_string(entry.path()).ok());
        let told = texts.filter_map(|text| serde_json::from_str::<Notification>(&text).ok());
        told.flat_map(|told| told.notices).filter(|notice| notice.kind == kind).collect()
    }

    fn comes_to_tell(&self, kind: NoticeKind) -> Notice {
        self.until(&format!("{kind}"), || {
            let mut told = self.tells(kind);
            let status =
                || String::from_utf8(self.rrd(&["notify", "status"]).output().unwrap().stdout);
            if told.len() == 1 {
                Ok(told.remove(0))
            } else {
                Err(format!("{told:?} {:?}", status()))
            }
        })
    }
}

/// A host that tells a program of whatever there is, at once.
fn telling(name: &str) -> Host {
    let host = Host::new(name);
    fs::create_dir(host.path("told")).unwrap();
    let program = host.path("tell");
    let script = format!("#!/bin/sh\ncat >{}/$RRD_NOTICE_ID\n", host.path("told").display());
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
    let settings = format!(
        "[notify.lasts]\nneeds_you = \"1s\"\ndeadlock = \"1s\"\nmirror_failing = \"1s\"\n\
         [notify.sinks.bell]\nkind = \"command\"\ncommand = [{program:?}]\n"
    );
    fs::write(host.path("rrd/config.toml"), settings).unwrap();
    host
}

fn record(id: &str, more: Value) -> Value {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let at = Timestamp::from_millis(i64::try_from(now.as_millis()).unwrap());
    let mut record = json!({
        "parentUuid": null, "isSidechain": false, "userType": "external", "cwd": "/w",
        "timestamp": at, "sessionId": id, "version": "2.1.300", "gitBranch": "main",
    });
    record.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    record
}

#[test]
fn a_session_whose_process_is_killed_in_its_turn_is_told_once() {
    let (id, other) = (session(1), session(2));
    let mut host = telling("mac");
    host.works_on(&id, "Ship it");
    host.works_on(&other, "Go on");
    let mut process = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
    host.registers(&id, process.id());
    host.registers(&other, std::process::id());
    host.start();
    host.until("it to live", || match host.row(&id) {
        Some(row) if row.live == Some(true) => Ok(()),
        row => Err(format!("{row:?}")),
    });
    process.kill().unwrap();
    process.wait().unwrap();
    let told = host.comes_to_tell(NoticeKind::Crashed);
    assert_eq!((told.session_id.as_deref(), told.title.as_deref()), (Some(&*id), Some("Ship it")));
    // Nor again after a start.
    host.kill();
    host.start();
    host.writes(&other, &record(&other, json!({"type": "custom-title", "customTitle": "Done"})));
    host.until("it to go on", || match host.row(&other).and_then(|row| row.title) {
        Some(title) if title == "Done" => Ok(()),
        title => Err(format!("{title:?}")),
    });
    assert_eq!(host.tells(NoticeKind::Crashed).len(), 1);
}

#[test]
fn a_circle_that_nobody_could_refuse_is_told() {
    let (parent, other, child) = (session(1), session(2), "a1b2c3d");
    let mut host = telling("mac");
    host.works_on(&parent, "Plan");
    host.works_on(&other, "Build");
    host.writes(
        &format!("{parent}/subagents/agent-{child}"),
        &record(
            &parent,
            json!({
                "isSidechain": true, "agentId": child, "type": "user", "uuid": "s1",
                "message": {"role": "user", "content": "Look around"},
            }),
        ),
    );
    host.start();
    host.knows(&[&parent, &other, child]);
    let waits = |id: &str, on: &str| {
        let mut command = host.rrd(&["wait", "--as", id, on]);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let mut waiting = [waits(child, &other), waits(&other, &parent)];
    host.until("both waits", || match host.graph() {
        graph if graph.chains.iter().any(|chain| chain.sessions.len() == 3) => Ok(()),
        graph => Err(format!("{graph:?}")),
    });
    assert!(host.tells(NoticeKind::Deadlock).is_empty());
    host.writes(&parent, &record(&parent, json!({
        "type": "assistant", "uuid": "p2",
        "message": {"id": "m1", "role": "assistant", "model": "opus", "stop_reason": "tool_use",
            "content": [{"type": "tool_use", "id": "t1", "name": "Agent",
                "input": {"description": "look", "prompt": "Look around"}}]},
    })));
    let told = host.comes_to_tell(NoticeKind::Deadlock);
    assert_eq!(told.sessions, 3, "{told:?}");
    for wait in &mut waiting {
        wait.kill().unwrap();
        wait.wait().unwrap();
    }
}

#[test]
fn a_mirror_that_nothing_can_leave_for_is_told() {
    let mut host = telling("mac");
    host.works_on(&session(1), "Ship it");
    host.start();
    host.knows(&[&session(1)]);
    host.run(&["mirror", "enable", &format!("file://{}", host.path("bucket").display())]);
    host.run(&["mirror", "run"]);
    host.stop();
    // Nothing may leave while a rule does not hold.
    fs::write(host.path("rrd/redact.toml"), "[[deny]]\nid = \"odd\"\npattern = '('\n").unwrap();
    host.start();
    let told = host.comes_to_tell(NoticeKind::MirrorFailing);
    assert!(told.detail.as_ref().is_some_and(|why| why.contains("odd does not hold")), "{told:?}");
}
