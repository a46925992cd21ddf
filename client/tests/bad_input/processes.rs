//! Processes behind sessions: what a registry and locks say while they live, die and are replaced.

use std::process::Stdio;

use rrd_proto::{EndReason, Status, StatusSource, WaitingFor};

use super::*;

const OTHER: &str = "7f2c1111-0000-4000-8000-000000000002";

/// A process that stands for a harness.
pub(crate) struct Agent(Child);

impl Agent {
    pub(crate) fn start() -> Self {
        Self(Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().unwrap())
    }

    /// One that holds a lock on `path`.
    fn holding(path: &Path) -> Self {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut command = Command::new("flock");
        let child = command.arg("--no-fork").arg(path).args(["sleep", "600"]).spawn().unwrap();
        let inode = std::os::unix::fs::MetadataExt::ino;
        until("the lock is held", || {
            let inode = inode(&fs::metadata(path).ok()?).to_string();
            let locks = fs::read_to_string("/proc/locks").unwrap();
            locks.contains(&format!(":{inode} ")).then_some(())
        });
        Self(child)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn start_time(&self) -> String {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        let (_, rest) = stat.rsplit_once(')').unwrap();
        rest.split_whitespace().nth(19).unwrap().to_owned()
    }

    pub(crate) fn entry(&self, session: &str, more: Value) -> Value {
        let domain = fs::read_to_string("/etc/machine-id").ok().map(|machine| {
            let namespace = fs::read_link("/proc/self/ns/pid").unwrap();
            format!("linux:{}:{}", machine.trim(), namespace.display())
        });
        let mut entry = json!({
            "pid": self.pid(), "sessionId": session, "cwd": "/home/dev/src/alpha",
            "startedAt": 1_795_170_781_296_u64, "procStart": self.start_time(), "version": "2.1.329",
            "kind": "interactive", "entrypoint": "cli", "pidDomain": domain,
            "tmux": "t7:@0.%0",
        });
        for (key, value) in more.as_object().unwrap() {
            entry[key] = value.clone();
        }
        entry
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// In place, as Claude Code does: a write, then a cut.
pub(crate) fn register(host: &Host, entry: &Value) -> PathBuf {
    let path = host.path(&format!(".claude/sessions/{}.json", entry["pid"]));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, entry.to_string()).unwrap();
    path
}

fn one(host: &Host, id: &str) -> Session {
    let row = host.looked().into_iter().find(|row| row.session_id == id);
    row.unwrap_or_else(|| panic!("{id} is not listed"))
}

/// What both ways say, once the daemon has noticed.
pub(crate) fn agree(host: &Host, what: &str, id: &str, good: impl Fn(&Session) -> bool) {
    host.follows(what, id, &good);
    let row = one(host, id);
    assert!(good(&row), "{what}, by one look: {row:#?}");
}

#[test]
fn a_registered_process_is_believed_while_it_lives() {
    let host = Host::new();
    let mut talk = Talk::new(ID);
    host.write(
        ID,
        &[talk.prompt("Publish"), talk.calls("toolu_1", "Bash", json!({"command": "npm publish"}))],
    );
    let _daemon = host.daemon();
    let agent = Agent::start();
    let waiting = json!({"status": "waiting", "waitingFor": "permission prompt"});
    register(&host, &agent.entry(ID, waiting.clone()));
    agree(&host, "a permission is asked for", ID, |row| {
        row.status == Status::Waiting
            && row.waiting_for == Some(WaitingFor::Permission)
            && row.waiting_detail.as_deref() == Some("Bash: npm publish")
            && row.status_source == StatusSource::Registry
            && row.pid == Some(agent.pid())
            && row.attach.as_deref() == Some("tmux attach -t t7:@0.%0")
    });
    register(&host, &agent.entry(ID, json!({"status": "waiting", "waitingFor": "input needed"})));
    agree(&host, "an answer is asked for", ID, |row| row.waiting_for == Some(WaitingFor::Input));
    register(&host, &agent.entry(ID, json!({"status": "busy"})));
    agree(&host, "at work", ID, |row| {
        row.status == Status::Executing
            && row.activity.as_ref().unwrap().tool.as_deref() == Some("Bash")
    });
    // Another machine's, or another container's: its pids are not ours, but its word counts.
    let elsewhere = json!({"status": "waiting", "waitingFor": "permission prompt", "pidDomain": "linux:0:pid:[4]"});
    register(&host, &agent.entry(ID, elsewhere));
    agree(&host, "elsewhere", ID, |row| {
        (row.live, row.pid, row.status, row.waiting_for)
            == (None, None, Status::Waiting, Some(WaitingFor::Permission))
    });
    // A pid that another process got since.
    let reused = json!({"status": "busy", "procStart": "1"});
    register(&host, &agent.entry(ID, reused));
    agree(&host, "reused", ID, |row| {
        row.live == Some(false) && row.end_reason == Some(EndReason::Crashed)
    });
    // A torn entry is no entry, and no absence of one either.
    let path = register(&host, &agent.entry(ID, waiting));
    agree(&host, "it waits", ID, |row| row.status == Status::Waiting);
    let whole = fs::read_to_string(&path).unwrap();
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    host.write("other", &Talk::new("other").turn("Elsewhere"));
    host.follows("the daemon goes on", "other", |_| true);
    let row = host.follows("torn", ID, |_| true);
    assert_eq!(row.status, Status::Waiting, "the last good one stands");
    let row = one(&host, ID);
    assert_ne!(row.status, Status::Ended, "one look cannot tell: {row:#?}");
    fs::write(&path, whole + "}junk of an older, longer one").unwrap();
    agree(&host, "whole, and more", ID, |row| row.status == Status::Waiting);
    drop(agent);
    agree(&host, "killed", ID, |row| {
        row.status == Status::Ended
            && row.end_reason == Some(EndReason::Crashed)
            && row.live == Some(false)
    });
}

#[test]
fn whoever_asks_is_told_of_a_kill_at_once() {
    let host = Host::new();
    host.write(ID, &[Talk::new(ID).prompt("Go")]);
    let _daemon = host.daemon();
    for _ in 0..3 {
        let agent = Agent::start();
        register(&host, &agent.entry(ID, json!({"status": "busy"})));
        host.follows("at work", ID, |row| row.live == Some(true));
        drop(agent);
        // Not soon: in this very answer.
        let row = host.followed().remove(0);
        assert_eq!((row.status, row.end_reason), (Status::Ended, Some(EndReason::Crashed)));
    }
}

#[test]
fn a_removed_entry_is_an_end() {
    let host = Host::new();
    let mut talk = Talk::new(ID);
    host.write(ID, &talk.turn("First"));
    let _daemon = host.daemon();
    let agent = Agent::start();
    let path = register(&host, &agent.entry(ID, json!({"status": "idle"})));
    agree(&host, "at its prompt", ID, |row| row.status == Status::Idle && row.live == Some(true));
    // `/clear`: the same process, another session.
    let next = "c1ea0c2e-0000-4000-8000-000000000002";
    host.write(next, &Talk::new(next).turn("Afresh"));
    register(&host, &agent.entry(next, json!({"status": "idle"})));
    agree(&host, "the next one", next, |row| row.live == Some(true));
    agree(&host, "the cleared one", ID, |row| {
        row.status == Status::Ended && row.end_reason == Some(EndReason::Exit)
    });
    // Resumed: the old id again, and its file grows.
    register(&host, &agent.entry(ID, json!({"status": "busy"})));
    host.write(ID, &[talk.prompt("Again")]);
    agree(&host, "resumed", ID, |row| row.status == Status::Executing);
    host.write(ID, &[talk.says("ok")]);
    fs::remove_file(path).unwrap();
    agree(&host, "left", ID, |row| {
        row.status == Status::Ended
            && row.end_reason == Some(EndReason::Exit)
            && row.live == Some(false)
    });
    assert!(!host.run(&["sessions", "list"]).contains("Again"), "what has ended is not shown");
}

#[test]
fn of_two_entries_the_living_one_speaks() {
    let host = Host::new();
    let mut talk = Talk::new(ID);
    host.write(ID, &[talk.prompt("Go")]);
    let (dead, alive) = (Agent::start(), Agent::start());
    let since = json!({"status": "waiting", "waitingFor": "permission prompt", "statusUpdatedAt": 9_000_000_000_000_u64});
    register(&host, &dead.entry(ID, since));
    drop(dead);
    register(&host, &alive.entry(ID, json!({"status": "busy", "statusUpdatedAt": 5})));
    let _daemon = host.daemon();
    agree(&host, "resumed after a kill", ID, |row| {
        row.status == Status::Executing && row.pid == Some(alive.pid())
    });
}

#[test]
fn a_subagent_goes_with_its_parent() {
    let host = Host::new();
    let mut talk = Talk::new(ID);
    host.write(
        ID,
        &[talk.prompt("Delegate"), talk.calls("toolu_1", "Agent", json!({"prompt": "Look"}))],
    );
    let agent = Agent::start();
    register(&host, &agent.entry(ID, json!({"status": "busy"})));
    let child = "a0123456789abcdef";
    let folder = host.transcript(ID).with_extension("").join("subagents");
    let mut task = Talk::new(ID);
    let mut records =
        vec![task.prompt("Look"), task.calls("toolu_2", "Read", json!({"file_path": "/x"}))];
    for record in &mut records {
        record["isSidechain"] = json!(true);
        record["agentId"] = json!(child);
    }
    append(&folder.join(format!("agent-{child}.jsonl")), jsonl(&records));
    let _daemon = host.daemon();
    let parent = |row: &Session| row.parent_session_id.as_deref() == Some(ID);
    agree(&host, "at work", child, |row| row.status == Status::Executing && parent(row));
    drop(agent);
    agree(&host, "both are gone", child, |row| {
        row.end_reason == Some(EndReason::Crashed) && parent(row)
    });
    agree(&host, "both are gone", ID, |row| row.end_reason == Some(EndReason::Crashed));
}

#[test]
fn a_held_lock_is_a_living_thread() {
    let host = Host::new();
    let mut thread = rollouts::Thread::new(1);
    let lock = host.path(&format!(".codex/thread-writer-locks/{}.lock", thread.id));
    let id = thread.id.clone();
    append(&thread.path(&host), thread.header() + &thread.begin("Build"));
    let _daemon = host.daemon();
    // Nobody keeps locks: nothing tells.
    agree(&host, "no locks", &id, |row| {
        row.live.is_none()
            && row.status == Status::Executing
            && row.status_source == StatusSource::OpenRecord
    });
    let agent = Agent::holding(&lock);
    agree(&host, "held", &id, |row| {
        row.status == Status::Executing
            && row.live == Some(true)
            && row.status_source == StatusSource::Lock
    });
    // From within a container the kernel's list lacks what is held outside; the lock itself does not.
    let list = host.command(&["sessions", "list", "--all", "--json"]);
    let mut inside = Command::new("unshare");
    inside.args(["--user", "--map-root-user", "--pid", "--fork", "--mount-proc"]);
    inside.arg(list.get_program()).args(list.get_args()).current_dir(host.home.path());
    inside.env("HOME", host.home.path()).env("RRD_HOME", host.path("without-a-daemon"));
    let output = inside.output();
    if let Some(output) = output.ok().filter(|output| output.status.success()) {
        let rows: Vec<Session> = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(rows[0].live, Some(true), "{:#?}", rows[0]);
    }
    drop(agent);
    agree(&host, "left behind by a kill", &id, |row| {
        row.status == Status::Ended
            && row.end_reason == Some(EndReason::Crashed)
            && row.status_source == StatusSource::Lock
    });
    // Resumed, finished, left.
    let agent = Agent::holding(&lock);
    append(&thread.path(&host), thread.begin("Again") + &thread.end());
    agree(&host, "at its prompt", &id, |row| row.status == Status::Idle && row.live == Some(true));
    drop(agent);
    fs::remove_file(&lock).unwrap();
    agree(&host, "left", &id, |row| {
        row.status == Status::Ended && row.end_reason == Some(EndReason::Exit)
    });
}

#[test]
fn a_session_is_listed_before_it_has_written_anything() {
    let host = Host::new();
    fs::create_dir_all(host.path(".claude/projects")).unwrap();
    let _daemon = host.daemon();
    let agent = Agent::start();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let entry =
        register(&host, &agent.entry(ID, json!({"status": "idle", "statusUpdatedAt": now})));
    agree(&host, "at its prompt", ID, |row| {
        (row.status, row.active, row.transcript_path.as_deref()) == (Status::Idle, true, None)
            && row.cwd.as_deref() == Some("/home/dev/src/alpha")
            && row.started_at.is_some()
            && (row.complete, row.counts) == (false, None)
    });
    let mut talk = Talk::new(ID);
    host.write(ID, &talk.turn("First"));
    agree(&host, "once it writes", ID, |row| {
        row.transcript_path.is_some() && row.complete && counts(row) == (1, 1, 0, 0)
    });
    // Another one leaves without a word.
    register(&host, &agent.entry(OTHER, json!({"status": "idle", "statusUpdatedAt": now})));
    agree(&host, "cleared", OTHER, |row| row.status == Status::Idle);
    fs::remove_file(entry).unwrap();
    until("it is gone", || host.followed().iter().all(|row| row.session_id != OTHER).then_some(()));
}
