//! Which session is it? One that goes on stays itself; one that is there twice is told.

use rrd_proto::{EndReason, Issue, ParentKind, Status};

use super::{
    processes::{Agent, agree, register},
    *,
};

const OTHER: &str = "7f2c1111-0000-4000-8000-000000000002";

fn detail<'a>(row: &'a Session, kind: &str) -> Option<&'a str> {
    row.issues.iter().find(|issue| issue.kind == kind)?.detail.as_deref()
}

#[test]
fn a_session_that_lives_twice_is_told() {
    let host = Host::new();
    let mut talk = Talk::new(ID);
    host.write(
        ID,
        &[talk.prompt("Publish"), talk.calls("toolu_1", "Bash", json!({"command": "x"}))],
    );
    let _daemon = host.daemon();
    let (one, two) = (Agent::start(), Agent::start());
    register(&host, &one.entry(ID, json!({"status": "busy", "statusUpdatedAt": 9})));
    agree(&host, "resumed once", ID, |row| row.live == Some(true) && row.issues.is_empty());
    let entry = register(
        &host,
        &two.entry(
            ID,
            json!({"status": "waiting", "waitingFor": "permission prompt", "statusUpdatedAt": 5}),
        ),
    );
    let mut both = [one.pid(), two.pid()];
    both.sort_unstable();
    agree(&host, "resumed twice", ID, |row| {
        // Whoever needs somebody speaks for both.
        (row.status, row.pid) == (Status::Waiting, Some(two.pid()))
            && issue(row, Issue::ALIVE_TWICE) == 2
            && detail(row, Issue::ALIVE_TWICE) == Some(&format!("{}, {}", both[0], both[1]))
    });
    let shown = host.run(&["sessions", "show", ID]);
    assert!(shown.contains("alive twice: processes"), "{shown}");
    let doctor = String::from_utf8(host.output(&["doctor"]).stdout).unwrap();
    assert!(doctor.contains("1 alive twice ("), "{doctor}");
    fs::remove_file(entry).unwrap();
    agree(&host, "one of them left", ID, |row| {
        row.status == Status::Executing && issue(row, Issue::ALIVE_TWICE) == 0
    });
    drop(one);
    agree(&host, "so did the other", ID, |row| row.end_reason == Some(EndReason::Crashed));
}

#[test]
fn a_copied_transcript_is_told_for_as_long_as_it_is_there() {
    let host = Host::new();
    let mut talk = Talk::new(ID);
    let first = talk.turn("First");
    host.write(ID, &first);
    let _daemon = host.daemon();
    agree(&host, "alone", ID, |row| row.issues.is_empty());
    let copy = host.path(&format!(".claude/projects/-copy/{ID}.jsonl"));
    append(&copy, jsonl(&first));
    agree(&host, "copied", ID, |row| {
        // Whichever is followed, the other one is named.
        let other = detail(row, Issue::COPIED).unwrap_or_default();
        issue(row, Issue::COPIED) == 1
            && other.ends_with(&format!("{ID}.jsonl"))
            && other != shown_path(row)
            && counts(row) == (1, 1, 0, 0)
    });
    let shown = host.run(&["sessions", "show", ID]);
    assert!(shown.contains("copied transcript: the same session id also lies at"), "{shown}");
    let doctor = String::from_utf8(host.output(&["doctor"]).stdout).unwrap();
    assert!(doctor.contains("1 with copied transcripts ("), "{doctor}");
    fs::remove_file(&copy).unwrap();
    agree(&host, "removed", ID, |row| row.issues.is_empty());
    // Another name of the same file is no copy, and a move is none either.
    fs::hard_link(host.transcript(ID), &copy).unwrap();
    host.write("other", &Talk::new("other").turn("Elsewhere"));
    host.follows("the daemon goes on", "other", |_| true);
    agree(&host, "linked", ID, |row| row.issues.is_empty());
    fs::remove_file(&copy).unwrap();
    fs::rename(host.transcript(ID), &copy).unwrap();
    agree(&host, "moved", ID, |row| row.issues.is_empty() && shown_path(row).contains("-copy"));
}

#[test]
fn a_copied_home_is_told_and_the_living_one_speaks() {
    let mut host = Host::new();
    let (first, second) = (host.path("one"), host.path("two"));
    host.env.push((
        "CLAUDE_CONFIG_DIR".to_owned(),
        format!("{},{}", first.display(), second.display()),
    ));
    let transcript = |root: &Path| root.join(format!("projects/-home-dev-src-alpha/{ID}.jsonl"));
    let mut talk = Talk::new(ID);
    let records = [talk.prompt("Go"), talk.calls("toolu_1", "Bash", json!({"command": "x"}))];
    append(&transcript(&first), jsonl(&records));
    fs::create_dir_all(first.join("sessions")).unwrap();
    let _daemon = host.daemon();
    agree(&host, "killed", ID, |row| {
        row.end_reason == Some(EndReason::Crashed) && row.issues.is_empty()
    });
    append(&transcript(&second), jsonl(&records));
    agree(&host, "copied", ID, |row| {
        shown_path(row).starts_with(first.to_str().unwrap())
            && detail(row, Issue::COPIED) == transcript(&second).to_str()
    });
    // Each home has a process of its own that goes on with it.
    let agents = [Agent::start(), Agent::start()];
    let enter = |root: &Path, agent: &Agent, status: &str| {
        let path = root.join(format!("sessions/{}.json", agent.pid()));
        append(&path, "");
        fs::write(path, agent.entry(ID, json!({"status": status})).to_string()).unwrap();
    };
    enter(&second, &agents[1], "idle");
    agree(&host, "alive in the copy", ID, |row| {
        (row.status, row.pid) == (Status::Idle, Some(agents[1].pid()))
            && issue(row, Issue::ALIVE_TWICE) == 0
    });
    enter(&first, &agents[0], "busy");
    agree(&host, "alive in both", ID, |row| {
        (row.status, row.pid) == (Status::Executing, Some(agents[0].pid()))
            && issue(row, Issue::ALIVE_TWICE) == 2
    });
    // A home that was copied with its registry names the same process twice.
    let entry = format!("sessions/{}.json", agents[0].pid());
    fs::remove_file(second.join(format!("sessions/{}.json", agents[1].pid()))).unwrap();
    fs::copy(first.join(&entry), second.join(&entry)).unwrap();
    agree(&host, "one process, two entries", ID, |row| issue(row, Issue::ALIVE_TWICE) == 0);
}

#[test]
fn a_home_with_two_names_is_one() {
    let mut host = Host::new();
    let (home, link) = (host.path("one"), host.path("two"));
    host.env
        .push(("CLAUDE_CONFIG_DIR".to_owned(), format!("{},{}", home.display(), link.display())));
    let transcript = home.join(format!("projects/-home-dev-src-alpha/{ID}.jsonl"));
    append(&transcript, jsonl(&Talk::new(ID).turn("Go")));
    std::os::unix::fs::symlink(&home, &link).unwrap();
    let agent = Agent::start();
    append(
        &home.join(format!("sessions/{}.json", agent.pid())),
        agent.entry(ID, json!({"status": "idle"})).to_string(),
    );
    let _daemon = host.both(|way, rows| {
        assert_eq!(ids(rows), [ID], "{way}");
        assert_eq!(rows[0].status, Status::Idle, "{way}");
        assert_eq!(rows[0].issues, [], "{way}");
    });
}

#[test]
fn a_resumed_session_is_the_same_and_a_cleared_one_another() {
    let host = Host::new();
    fs::create_dir_all(host.path(".claude/sessions")).unwrap();
    let mut talk = Talk::new(ID);
    host.write(ID, &talk.turn("First"));
    let _daemon = host.daemon();
    // Another process, from another directory, hours later: the file stays where it began.
    let agent = Agent::start();
    talk.cwd = "/home/dev/src/beta".to_owned();
    register(&host, &agent.entry(ID, json!({"status": "busy", "cwd": talk.cwd})));
    host.write(ID, &talk.turn("Second"));
    agree(&host, "resumed", ID, |row| {
        (row.status, row.live) == (Status::Executing, Some(true))
            && row.parent_session_id.is_none()
            && row.cwd.as_deref() == Some("/home/dev/src/alpha")
            && counts(row) == (2, 2, 0, 0)
    });
    register(&host, &agent.entry(OTHER, json!({"status": "idle", "cwd": talk.cwd})));
    host.write(OTHER, &Talk::new(OTHER).turn("Afresh"));
    agree(&host, "cleared", OTHER, |row| {
        row.live == Some(true) && row.parent_session_id.is_none() && row.issues.is_empty()
    });
    agree(&host, "what it was before", ID, |row| {
        (row.status, row.end_reason) == (Status::Ended, Some(EndReason::Exit))
    });
}

#[test]
fn delegates_of_delegates_belong_to_them() {
    let host = Host::new();
    let mut talk = Talk::new(ID);
    host.write(
        ID,
        &[talk.prompt("Delegate"), talk.calls("toolu_1", "Agent", json!({"prompt": "Look"}))],
    );
    let agent = Agent::start();
    register(&host, &agent.entry(ID, json!({"status": "busy"})));
    let (child, nested) = ("a0123456789abcdef", "a1123456789abcdef");
    let folder = host.transcript(ID).with_extension("").join("subagents");
    for (id, parent, description) in
        [(child, None, "Look around"), (nested, Some(child), "Look closer")]
    {
        let mut task = Talk::new(ID);
        let mut records =
            vec![task.prompt("Look"), task.calls("toolu_2", "Read", json!({"file_path": "/x"}))];
        for record in &mut records {
            record["uuid"] = json!(format!("{id}-{}", record["uuid"]));
            record["isSidechain"] = json!(true);
            record["agentId"] = json!(id);
        }
        append(&folder.join(format!("agent-{id}.jsonl")), jsonl(&records));
        let mut meta = json!({"agentType": "x", "description": description, "spawnDepth": 1});
        if let Some(parent) = parent {
            meta["parentAgentId"] = json!(parent);
        }
        append(&folder.join(format!("agent-{id}.meta.json")), meta.to_string());
    }
    let _daemon = host.daemon();
    agree(&host, "a delegate", child, |row| {
        row.status == Status::Executing
            && (row.parent_session_id.as_deref(), row.parent_kind)
                == (Some(ID), Some(ParentKind::Subagent))
    });
    agree(&host, "a delegate's delegate", nested, |row| {
        row.status == Status::Executing
            && (row.parent_session_id.as_deref(), row.parent_kind)
                == (Some(child), Some(ParentKind::Subagent))
    });
    // Each right below whoever delegated it.
    let order: Vec<String> = host.followed().into_iter().map(|row| row.session_id).collect();
    assert_eq!(order, [ID, child, nested]);
    drop(agent);
    for id in [ID, child, nested] {
        agree(&host, "gone with their process", id, |row| {
            row.end_reason == Some(EndReason::Crashed)
        });
    }
}

#[test]
fn both_ends_of_a_message_carry_its_id() {
    let host = Host::new();
    // A recording: one session sends another a note with SendMessage.
    let recording = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../daemon/core/tests/fixtures/claude-code/329-peer-message/projects");
    let folder = fs::read_dir(recording).unwrap().next().unwrap().unwrap().path();
    for file in fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()) {
        let id = file.file_stem().unwrap().to_str().unwrap();
        append(&host.transcript(id), fs::read(&file).unwrap());
    }
    let (receiver, sender) =
        ("55e874d1-34ae-44b8-ad28-3ea6519b28df", "7133cecc-d9cc-4791-90f5-1cb59186aead");
    let messages = |way: &str, id: &str| {
        let mut command = host.command(&["sessions", "show", id, "--json", "--events"]);
        if way == "looked" {
            command.env("RRD_HOME", host.path("without-a-daemon"));
        }
        let shown: Value = serde_json::from_slice(&finish(command).stdout).unwrap();
        let events = shown["events"].as_array().unwrap().clone();
        events.into_iter().filter(|event| event["kind"] == "peer_message").collect::<Vec<_>>()
    };
    let _daemon = host.both(|way, rows| {
        assert_eq!(ids(rows), [receiver, sender], "{way}");
        let (got, sent) = (messages(way, receiver), messages(way, sender));
        assert_eq!((got.len(), sent.len()), (1, 1), "{way}");
        assert_eq!(got[0]["message_id"], "1807f12d-4bb6-4404-a450-0f29d0339f0c", "{way}");
        assert_eq!(sent[0]["message_id"], got[0]["message_id"], "{way}");
        assert_eq!(
            (&got[0]["direction"], &sent[0]["direction"]),
            (&json!("received"), &json!("sent"))
        );
        assert_eq!((&got[0]["tool"], &sent[0]["tool"]), (&Value::Null, &json!("SendMessage")));
        assert_eq!(got[0]["text"], "HANDOFF-NOTE: the API is ready, please start the client.");
        assert_eq!(sent[0]["text"], "API is ready");
    });
    assert!(host.run(&["sessions", "show", sender]).contains("peer sent"));
}
