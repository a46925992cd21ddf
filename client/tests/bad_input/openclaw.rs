//! OpenClaw's folders as it leaves them: locks of runs, what resets and repairs set aside, names, profiles.

use rrd_proto::{EndReason, Status, StatusSource, TurnResult};

use super::{processes::Agent, *};

const OTHER: &str = "7f2c1111-0000-4000-8000-000000000002";

/// A session as OpenClaw 2026.6 writes it; every record is one second after the last.
struct Claw {
    id: String,
    at: i64,
    number: u32,
}

impl Claw {
    fn new(id: &str) -> Self {
        Self { id: id.to_owned(), at: 100, number: 0 }
    }

    fn name(&self, rest: &str) -> String {
        format!(".openclaw/agents/main/sessions/{}{rest}", self.id)
    }

    fn path(&self, host: &Host) -> PathBuf {
        host.path(&self.name(".jsonl"))
    }

    fn header(&mut self) -> String {
        self.at -= 1;
        let header = json!({"type": "session", "version": 3, "id": self.id, "timestamp": ago(self.at), "cwd": "/home/dev/claw"});
        format!("{header}\n")
    }

    fn entry(&mut self, message: Value) -> String {
        self.at -= 1;
        self.number += 1;
        let (id, parent) =
            (format!("{}-{}", self.id, self.number), format!("{}-{}", self.id, self.number - 1));
        let at = ago(self.at);
        // In its order of keys, by which whole records are told from pieces.
        format!(
            "{{\"type\":\"message\",\"id\":\"{id}\",\"parentId\":\"{parent}\",\"timestamp\":\"{at}\",\"message\":{message}}}\n"
        )
    }

    fn prompt(&mut self, text: &str) -> String {
        self.entry(json!({"role": "user", "content": [{"type": "text", "text": text}]}))
    }

    fn calls(&mut self, command: &str) -> String {
        let call = json!({"type": "toolCall", "id": "c", "name": "exec", "arguments": {"command": command}});
        self.entry(json!({"role": "assistant", "content": [call], "stopReason": "toolUse"}))
    }

    fn says(&mut self, text: &str) -> String {
        let text = json!({"type": "text", "text": text});
        self.entry(json!({"role": "assistant", "content": [text], "stopReason": "stop"}))
    }

    fn turn(&mut self, text: &str) -> String {
        self.prompt(text) + &self.says("Done.")
    }

    /// Locks the session for `agent`, as of `start`.
    fn lock(&self, host: &Host, agent: &Agent, start: Value) -> PathBuf {
        let path = host.path(&self.name(".jsonl.lock"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut lock = json!({"pid": agent.pid(), "createdAt": ago(0), "maxHoldMs": 300_000});
        lock["starttime"] = start;
        fs::write(&path, format!("{lock:#}\n")).unwrap();
        path
    }
}

fn one(host: &Host, id: &str) -> Session {
    let rows: Vec<_> = host.looked().into_iter().filter(|row| row.session_id == id).collect();
    assert_eq!(rows.len(), 1, "{id}");
    rows.into_iter().next().unwrap()
}

/// What both ways say, once the daemon has noticed.
fn agree(host: &Host, what: &str, id: &str, good: impl Fn(&Session) -> bool) {
    host.follows(what, id, &good);
    let row = one(host, id);
    assert!(good(&row), "{what}, by one look: {row:#?}");
}

#[test]
fn the_lock_of_a_run_names_its_process() {
    let host = Host::new();
    let mut claw = Claw::new(ID);
    append(&claw.path(&host), claw.header() + &claw.prompt("Build") + &claw.calls("make"));
    let _daemon = host.daemon();
    // Given back while the model answers, so that it is missing tells nothing.
    agree(&host, "no lock", ID, |row| {
        (row.live, row.status, row.status_source)
            == (None, Status::Executing, StatusSource::OpenRecord)
    });
    let agent = Agent::start();
    let start = agent.start_time();
    for start in [json!(start), json!(start.parse::<u64>().unwrap())] {
        let path = claw.lock(&host, &agent, start);
        agree(&host, "at work", ID, |row| {
            (row.live, row.status, row.status_source, row.pid)
                == (Some(true), Status::Executing, StatusSource::Lock, Some(agent.pid()))
        });
        fs::remove_file(path).unwrap();
        agree(&host, "given back", ID, |row| row.live.is_none());
    }
    // Where there is no start to compare, that somebody has the pid is not enough.
    claw.lock(&host, &agent, Value::Null);
    agree(&host, "no start", ID, |row| (row.live, row.status) == (None, Status::Executing));
    claw.lock(&host, &agent, json!("1"));
    agree(&host, "a pid used again", ID, |row| row.end_reason == Some(EndReason::Crashed));
    claw.lock(&host, &agent, json!(start));
    agree(&host, "alive", ID, |row| row.live == Some(true));
    drop(agent);
    agree(&host, "killed", ID, |row| {
        (row.live, row.status, row.end_reason, row.status_source)
            == (Some(false), Status::Ended, Some(EndReason::Crashed), StatusSource::Lock)
    });
    // The next run takes the lock away; and of one that died after its answer there is nothing to say.
    append(&claw.path(&host), claw.turn("Again"));
    agree(&host, "answered", ID, |row| {
        (row.live, row.status, row.turn_result) == (None, Status::Idle, Some(TurnResult::Completed))
    });
}

#[test]
fn what_is_set_aside_is_of_the_same_session() {
    let host = Host::new();
    // A reset, and the same id again; a repair's copy of what is still there; a session that was deleted.
    let mut claw = Claw::new(ID);
    let first = claw.header() + &claw.turn("First");
    let when = "2026-11-20T10-42-27.947Z";
    append(&host.path(&claw.name(&format!(".jsonl.reset.{when}"))), &first);
    append(&host.path(&claw.name(&format!(".jsonl.bak.{when}"))), &first);
    append(&claw.path(&host), claw.header() + &claw.turn("Second"));
    let mut gone = Claw::new(OTHER);
    append(
        &host.path(&gone.name(&format!(".jsonl.deleted.{when}"))),
        gone.header() + &gone.turn("Gone"),
    );
    // What only looks like a transcript, or is a copy of one.
    for rest in [".trajectory.jsonl", &format!(".checkpoint.{OTHER}.jsonl"), ".jsonl.x.tmp"] {
        append(&host.path(&claw.name(rest)), &first);
    }
    let aside = ".openclaw/agents/main/sessions/session-sqlite-import-archive/x.jsonl";
    append(&host.path(aside), &first);
    let _daemon = host.both(|way, rows| {
        assert_eq!(ids(rows), [OTHER, ID], "{way}");
        let row = |id: &str| rows.iter().find(|row| row.session_id == id).unwrap();
        assert_eq!(counts(row(ID)), (2, 2, 0, 0), "{way}");
        assert_eq!(counts(row(OTHER)), (1, 1, 0, 0), "{way}");
        assert_eq!(row(ID).issues, [], "{way}: no copies, but what OpenClaw set aside");
        assert_eq!(row(ID).title.as_deref(), Some("First"), "{way}");
        assert!(shown_path(row(ID)).ends_with(".jsonl"), "{way}");
        assert_eq!((row(ID).status, row(ID).active), (Status::Idle, true), "{way}");
        let gone = (row(OTHER).status, row(OTHER).end_reason, row(OTHER).active);
        assert_eq!(gone, (Status::Ended, Some(EndReason::Exit), false), "{way}");
    });
    // While it is followed: renamed, then begun anew under its name.
    let reset = host.path(&claw.name(".jsonl.reset.2026-11-20T11-00-00.000Z"));
    fs::rename(claw.path(&host), reset).unwrap();
    append(&claw.path(&host), claw.header() + &claw.turn("Third"));
    agree(&host, "begun anew", ID, |row| counts(row) == (3, 3, 0, 0) && row.status == Status::Idle);
    append(&claw.path(&host), claw.prompt("Fourth"));
    agree(&host, "it goes on", ID, |row| counts(row).0 == 4 && row.status == Status::Executing);
}

#[test]
fn a_header_knows_better_than_a_name() {
    let host = Host::new();
    let long = "x".repeat(3 << 20);
    for (id, name, text) in [(ID, "small", "Short"), (OTHER, "large", &*long)] {
        let mut claw = Claw::new(id);
        let lines = claw.header() + &claw.prompt("Go") + &claw.says(text);
        append(&host.path(&format!(".openclaw/agents/main/sessions/{name}.jsonl")), lines);
    }
    let daemon = host.both(|way, rows| assert_eq!(ids(rows), [OTHER, ID], "{way}"));
    host.follows("read to its end", OTHER, |row| row.complete && counts(row) == (1, 1, 0, 0));
    let third = "7f2c1111-0000-4000-8000-000000000003";
    let mut claw = Claw::new(third);
    let lines = claw.header() + &claw.prompt("Go") + &claw.says(&long);
    append(&host.path(".openclaw/agents/main/sessions/later.jsonl"), lines);
    host.follows("while it is followed", third, |row| row.complete && counts(row) == (1, 1, 0, 0));
    assert_eq!(host.followed().len(), 3);
    daemon.stop();
    let _daemon = host.daemon();
    let rows = host.followed();
    assert!(rows.len() == 3 && rows.iter().all(|row| counts(row) == (1, 1, 0, 0)), "{rows:#?}");
}

#[test]
fn names_come_from_every_agents_store() {
    let host = Host::new();
    let store = |agent: &str, id: &str, label: &str| {
        let path = host.path(&format!(".openclaw/agents/{agent}/sessions/sessions.json"));
        let store = json!({ format!("agent:{agent}:main"): {"sessionId": id, "label": label} });
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        // As it does: whole, through a file beside it.
        fs::write(path.with_extension("tmp"), format!("{store:#}")).unwrap();
        fs::rename(path.with_extension("tmp"), path).unwrap();
    };
    let mut claw = Claw::new(ID);
    append(&claw.path(&host), claw.header() + &claw.turn("First"));
    let mut other = Claw::new(OTHER);
    let lines = other.header() + &other.turn("Second");
    append(&host.path(&format!(".openclaw/agents/second/sessions/{OTHER}.jsonl")), lines);
    store("main", ID, "Chores");
    let _daemon = host.daemon();
    agree(&host, "named", ID, |row| row.title.as_deref() == Some("Chores"));
    agree(&host, "not named", OTHER, |row| row.title.as_deref() == Some("Second"));
    store("work", OTHER, "Reviews");
    agree(&host, "named later", OTHER, |row| row.title.as_deref() == Some("Reviews"));
    store("main", ID, "House");
    agree(&host, "renamed", ID, |row| row.title.as_deref() == Some("House"));
    agree(&host, "the other one stays", OTHER, |row| row.title.as_deref() == Some("Reviews"));
    // Torn: what was read before stands.
    let path = host.path(".openclaw/agents/main/sessions/sessions.json");
    fs::write(path, "{\"agent:main:main\": {\"sess").unwrap();
    append(&claw.path(&host), claw.turn("More"));
    let row = host.follows("it goes on", ID, |row| counts(row).0 == 2);
    assert_eq!(row.title.as_deref(), Some("House"));
}

#[test]
fn profiles_are_homes_of_their_own() {
    let host = Host::new();
    let mut claw = Claw::new(ID);
    let lines = claw.header() + &claw.turn("At work");
    append(&host.path(&format!(".openclaw-work/agents/main/sessions/{ID}.jsonl")), &lines);
    // A copy of it, as a backup of a home has them: listed once.
    append(&host.path(&format!(".openclaw-work.bak/agents/main/sessions/{ID}.jsonl")), &lines);
    let mut old = Claw::new(OTHER);
    let lines = old.header() + &old.turn("Before it had its name");
    append(&host.path(&format!(".clawdbot/agents/main/sessions/{OTHER}.jsonl")), lines);
    let _daemon = host.both(|way, rows| {
        assert_eq!(ids(rows), [OTHER, ID], "{way}");
        assert!(rows.iter().all(|row| counts(row) == (1, 1, 0, 0)), "{way}");
    });
    let config = host.run(&["config"]);
    let roots = config.lines().find(|line| line.starts_with("harness.openclaw.roots")).unwrap();
    assert!(roots.contains(".openclaw-work, ") && roots.contains(".clawdbot"), "{roots}");
    assert!(!roots.contains(".moltbot"), "{roots}");
}
