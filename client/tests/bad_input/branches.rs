//! History that is not what it was: taken back, rewritten, copied, deleted while it is read.

use rusqlite::{Connection, params};

use super::*;

/// `sessions show --events`, as JSON.
fn shown(host: &Host, id: &str) -> Value {
    serde_json::from_str(&host.run(&["sessions", "show", id, "--events", "--json"])).unwrap()
}

/// Texts of prompts and answers, and whether they were taken back.
fn said(shown: &Value) -> Vec<(String, bool)> {
    let events = shown["events"].as_array().unwrap().iter();
    let said = events.filter(|event| event["kind"] == "prompt" || event["kind"] == "message");
    said.map(|event| {
        (event["text"].as_str().unwrap().to_owned(), event["withdrawn"].as_bool().unwrap())
    })
    .collect()
}

fn both_branches(host: &Host, id: &str, want: &[(&str, bool)]) {
    let want: Vec<_> = want.iter().map(|(text, gone)| ((*text).to_owned(), *gone)).collect();
    let begun = Instant::now();
    loop {
        let output = host.output(&["sessions", "show", id, "--events", "--json"]);
        let told =
            serde_json::from_slice(&output.stdout).map(|told| said(&told)).unwrap_or_default();
        if told == want {
            break;
        }
        assert!(begun.elapsed() < SOON, "{told:?}");
        std::thread::sleep(Duration::from_millis(25));
    }
    let text = host.run(&["sessions", "show", id, "--events"]);
    for (said, gone) in want {
        let marked = text.contains(&format!("(taken back) {said}"));
        assert!(text.contains(&said) && marked == gone, "{said}: {text}");
    }
}

#[test]
fn what_hermes_undid_and_what_stands_are_told() {
    let host = Host::new();
    fs::create_dir_all(host.path(".hermes")).unwrap();
    let db = Connection::open(host.path(".hermes/state.db")).unwrap();
    db.execute_batch(hermes::TABLES).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64() - 60.0;
    db.execute("INSERT INTO sessions (id, source, started_at) VALUES ('s-1', 'cli', ?1)", [now])
        .unwrap();
    let turn = |number: f64, prompt: &str, answer: &str| {
        for (role, content, finish) in [("user", prompt, None), ("assistant", answer, Some("stop"))]
        {
            let sql = "INSERT INTO messages (session_id, role, content, timestamp, finish_reason) \
                       VALUES ('s-1', ?1, ?2, ?3, ?4)";
            db.execute(sql, params![role, content, now + number, finish]).unwrap();
        }
    };
    turn(1.0, "begin", "begun");
    turn(2.0, "the wrong way", "went wrong");
    let daemon = host.daemon();
    both_branches(
        &host,
        "s-1",
        &[("begin", false), ("begun", false), ("the wrong way", false), ("went wrong", false)],
    );
    // `/undo`, and on from there.
    db.execute("UPDATE messages SET active = 0 WHERE id > 2", []).unwrap();
    turn(3.0, "the other way", "went well");
    let told = [
        ("begin", false),
        ("begun", false),
        ("the wrong way", true),
        ("went wrong", true),
        ("the other way", false),
        ("went well", false),
    ];
    both_branches(&host, "s-1", &told);
    daemon.stop();
    // Without a daemon it is the database that is read, which still has what was undone.
    both_branches(&host, "s-1", &told);
    let _daemon = host.daemon();
    both_branches(&host, "s-1", &told);
}

/// As 2026.9.6 rewrites: the rows are others, and so is the watermark.
#[test]
fn what_openclaw_rewound_and_what_stands_are_told() {
    let host = Host::new();
    let agent = host.path(".openclaw/agents/main/agent");
    fs::create_dir_all(&agent).unwrap();
    let mut db = Connection::open(agent.join("openclaw-agent.sqlite")).unwrap();
    db.execute_batch(
        "PRAGMA journal_mode = wal;
         CREATE TABLE schema_meta (meta_key TEXT, role TEXT, schema_version INTEGER);
         INSERT INTO schema_meta VALUES ('primary', 'agent', 23);
         CREATE TABLE session_nodes (session_key TEXT PRIMARY KEY, current_session_id TEXT,
             status TEXT, created_via TEXT, parent_session_key TEXT, spawned_by TEXT,
             fork_source_session_id TEXT, label TEXT, display_name TEXT, archived_at INTEGER);
         CREATE TABLE session_windows (session_id TEXT PRIMARY KEY, session_key TEXT,
             created_at INTEGER, updated_at INTEGER, previous_session_id TEXT, reason TEXT,
             model TEXT, display_name TEXT, parent_session_key TEXT, spawned_by TEXT, status TEXT,
             started_at INTEGER, ended_at INTEGER);
         CREATE TABLE transcript_events (session_id TEXT, seq INTEGER, event_json TEXT,
             event_zstd BLOB, created_at INTEGER, PRIMARY KEY (session_id, seq));
         CREATE TABLE transcript_rewrite_watermarks (session_id TEXT PRIMARY KEY, generation TEXT);
         CREATE TABLE session_transcript_cold_archives (session_id TEXT PRIMARY KEY,
             archive_name TEXT, storage TEXT, archive_blob BLOB);
         INSERT INTO session_nodes (session_key, current_session_id) VALUES ('agent:main:main', 's-1');
         INSERT INTO session_windows (session_id, session_key, created_at, updated_at)
             VALUES ('s-1', 'agent:main:main', 1795168800000, 1795168800000);
         INSERT INTO transcript_rewrite_watermarks VALUES ('s-1', 'g1');",
    )
    .unwrap();
    let event = |number: u32, role: &str, text: &str| {
        let stop = if role == "assistant" { "stop" } else { "" };
        json!({"type": "message", "id": format!("e-{text}"),
            "timestamp": format!("2026-11-20T10:00:{number:02}.000Z"),
            "message": {"role": role, "content": text, "stopReason": stop}})
        .to_string()
    };
    let header = json!({"type": "session", "version": 4, "id": "s-1",
        "timestamp": "2026-11-20T10:00:00.000Z", "cwd": "/home/dev/src/demo"});
    let insert =
        "INSERT OR REPLACE INTO transcript_events VALUES ('s-1', ?1, ?2, NULL, 1795168800000)";
    db.execute(insert, params![0, header.to_string()]).unwrap();
    let said = [
        (1, "user", "begin"),
        (2, "assistant", "begun"),
        (3, "user", "the wrong way"),
        (4, "assistant", "went wrong"),
    ];
    for (number, role, text) in said {
        db.execute(insert, params![number, event(number, role, text)]).unwrap();
    }
    let daemon = host.daemon();
    both_branches(
        &host,
        "s-1",
        &[("begin", false), ("begun", false), ("the wrong way", false), ("went wrong", false)],
    );
    let rewind = db.transaction().unwrap();
    rewind.execute("DELETE FROM transcript_events WHERE seq > 3", []).unwrap();
    rewind.execute(insert, params![3, event(5, "user", "the other way")]).unwrap();
    rewind.execute("UPDATE transcript_rewrite_watermarks SET generation = 'g2'", []).unwrap();
    rewind.commit().unwrap();
    db.execute(insert, params![4, event(6, "assistant", "went well")]).unwrap();
    let told = [
        ("begin", false),
        ("begun", false),
        ("the wrong way", true),
        ("went wrong", true),
        ("the other way", false),
        ("went well", false),
    ];
    both_branches(&host, "s-1", &told);
    daemon.stop();
    // Without a daemon it is the database that is read, and what stands in it.
    let standing: Vec<_> = told.into_iter().filter(|(_, gone)| !gone).collect();
    both_branches(&host, "s-1", &standing);
    let _daemon = host.daemon();
    both_branches(&host, "s-1", &told);
}

/// As pi 0.73.1 and OpenClaw 2026.6.11 go back: what follows hangs on an earlier entry.
#[test]
fn what_a_tree_was_rewound_from_and_what_stands_are_told() {
    let pi = ".pi/agent/sessions/--home-dev--/2026-11-20T10-42-27-947Z_5cc10d23-fbbf-415a-9fb6-99d1571a1fb3.jsonl";
    let claw = ".openclaw/agents/main/sessions/5cc10d23-fbbf-415a-9fb6-99d1571a1fb3.jsonl";
    for path in [pi, claw] {
        let id = "5cc10d23-fbbf-415a-9fb6-99d1571a1fb3";
        let host = Host::new();
        let path = host.path(path);
        let mut said: Vec<(String, Option<usize>)> = Vec::new();
        let mut says = |text: &str, on: Option<usize>| {
            let number = said.len();
            let (role, stop) =
                if number.is_multiple_of(2) { ("user", "") } else { ("assistant", "stop") };
            let entry = json!({"type": "message", "id": format!("e{number}"),
                "parentId": on.map(|on| format!("e{on}")), "timestamp": ago(900 - number as i64),
                "message": {"role": role, "content": [{"type": "text", "text": text}], "stopReason": stop}});
            append(&path, format!("{entry}\n"));
            said.push((text.to_owned(), on));
            // The walk from the last entry, as the harness does it.
            let mut told: Vec<_> = said.iter().map(|(text, _)| (text.clone(), true)).collect();
            let mut at = Some(number);
            while let Some(here) = at {
                told[here].1 = false;
                at = said[here].1;
            }
            told
        };
        let check = |told: &[(String, bool)]| {
            let told: Vec<_> = told.iter().map(|(text, gone)| (text.as_str(), *gone)).collect();
            both_branches(&host, id, &told);
        };
        append(
            &path,
            format!(
                "{}\n",
                json!({"type": "session", "version": 3, "id": id, "timestamp": ago(1_000), "cwd": "/home/dev"})
            ),
        );
        says("begin", None);
        says("begun", Some(0));
        says("the wrong way", Some(1));
        let all = says("went wrong", Some(2));
        let daemon = host.daemon();
        check(&all);
        check(&says("the other way", Some(1)));
        check(&says("went well", Some(4)));
        daemon.stop();
        check(&says("was it so wrong", Some(3)));
        let told = says("it was not", Some(6));
        check(&told);
        let exports = |way: &str| {
            let export = |format: &str| host.run(&["sessions", "export", id, "--format", format]);
            assert_eq!(export("md").matches(" (taken back)\n").count(), 3, "{way}");
            assert!(export("html").contains(" withdrawn\""), "{way}");
            let lines = export("jsonl");
            let gone = lines.lines().filter(|line| line.contains("\"withdrawn\":true"));
            assert_eq!(
                gone.count(),
                3,
                "{way}: what was asked, what was said, and that it was: {lines}"
            );
        };
        exports("looked");
        let mut daemon = host.daemon();
        check(&told);
        exports("followed");
        // Whenever it is killed: it knows afterwards what it would have known.
        for round in 0..12_usize {
            let told =
                says(&format!("there {round}"), Some(if round.is_multiple_of(2) { 5 } else { 7 }));
            std::thread::sleep(Duration::from_millis(round as u64 * 3));
            drop(daemon);
            daemon = host.daemon();
            check(&told);
        }
    }
}

#[test]
fn what_a_fork_copied_is_told() {
    const FORK: &str = "0f0fc2e0-0000-4000-8000-000000000002";
    let host = Host::new();
    let mut first = Talk::new(ID);
    let began = first.turn("The first way");
    host.write(ID, &began);
    let copy = |record: &Value| {
        let mut record = record.clone();
        record["sessionId"] = json!(FORK);
        if record["type"] == "assistant" {
            record["requestSessionId"] = json!(ID);
        }
        record
    };
    let mut fork = Talk::new(FORK);
    fork.at = 60;
    let mut records: Vec<_> = began.iter().map(copy).collect();
    records.extend(fork.turn("Another way"));
    host.write(FORK, &records);
    let check = |way: &str| {
        let told = shown(&host, FORK);
        assert_eq!(told["copied_to"], began[1]["timestamp"], "{way}");
        let text = host.run(&["sessions", "show", FORK, "--events"]);
        assert!(text.contains("(copied) The first way"), "{way}: {text}");
        assert!(
            text.contains("Another way") && !text.contains("(copied) Another"),
            "{way}: {text}"
        );
        assert_eq!(shown(&host, ID)["copied_to"], Value::Null, "{way}: the parent has its own");
        assert!(!host.run(&["sessions", "show", ID, "--events"]).contains("(copied)"), "{way}");
    };
    check("looked");
    let _daemon = host.daemon();
    host.follows("the fork", FORK, |row| row.complete && counts(row).0 == 2);
    check("followed");
}

#[test]
fn a_transcript_may_be_deleted_while_it_is_read() {
    const SECOND: &str = "7f2c1111-0000-4000-8000-000000000002";
    let host = Host::new();
    let mut talk = Talk::new(ID);
    let turns: Vec<_> = (0..200).flat_map(|at| talk.turn(&format!("Prompt {at}"))).collect();
    let long = "x".repeat(64 << 10);
    for turn in turns.chunks(10) {
        host.write(ID, turn);
        // Some megabytes, so that reading takes a while.
        let called = [talk.calls("toolu_1", "Bash", json!({"command": long}))];
        host.write(ID, &called);
    }
    host.write(SECOND, &Talk::new(SECOND).turn("The other one"));
    let _daemon = host.daemon();
    fs::remove_file(host.transcript(ID)).unwrap();
    host.follows("the other one", SECOND, |row| row.complete && counts(row).0 == 1);
    host.follows("deleted", SECOND, |_| {
        // However far it was read: it is over and its history is what was read of it, or it never was.
        let rows = host.followed();
        let gone = rows.iter().find(|row| row.session_id == ID);
        gone.is_none_or(|row| row.status == rrd_proto::Status::Ended)
    });
    if host.followed().iter().any(|row| row.session_id == ID) {
        let told = shown(&host, ID);
        let seqs: Vec<_> = told["events"]
            .as_array()
            .unwrap()
            .iter()
            .map(|event| event["seq"].as_u64().unwrap())
            .collect();
        assert!(seqs.windows(2).all(|pair| pair[0] + 1 == pair[1]), "without gaps: {seqs:?}");
    }
    assert!(host.status().contains("tail"), "it goes on: {}", host.status());
}

/// What a tool printed is kept at both ends, with its size, and an image as what it is.
#[test]
fn five_megabytes_and_an_image_are_told_as_what_they_are() {
    let host = Host::new();
    let mut talk = Talk::new(ID);
    let result = |talk: &mut Talk, call: &str, content: Value| {
        let block = json!({"type": "tool_result", "tool_use_id": call, "content": content});
        talk.record("user", json!({"message": {"role": "user", "content": [block]}}))
    };
    let lines: String =
        (0..100_000).map(|at| format!("line {at} of what was printed, and on\n")).collect();
    let printed = format!("{lines}{}", "é".repeat(600_000));
    let size = printed.len() as u64;
    assert!(size > 4_500_000);
    let image = json!([{"type": "image", "source": {"type": "base64", "media_type": "image/png",
        "data": "QUJD".repeat(100_000)}}]);
    let records = [
        talk.prompt("Print it"),
        talk.calls("toolu_1", "Bash", json!({"command": "cat all"})),
        result(&mut talk, "toolu_1", json!(printed)),
        talk.calls("toolu_2", "Read", json!({"file_path": "shot.png"})),
        result(&mut talk, "toolu_2", image),
        talk.says("Done."),
    ];
    host.write(ID, &records);
    let bodies = || -> Vec<Value> {
        let text = host.run(&["sessions", "show", ID, "--events", "--bodies", "--json"]);
        let told: Value = serde_json::from_str(&text).unwrap();
        let events = told["events"].as_array().unwrap().iter();
        events
            .filter(|event| event["kind"] == "tool_result")
            .map(|event| {
                let is_cut = !event["body"]["cut"].is_null();
                assert_eq!(event["truncated"], is_cut, "flagged where it is cut, and only there");
                event["body"].clone()
            })
            .collect()
    };
    let check = |way: &str| {
        let bodies = bodies();
        let (long, image) = (&bodies[0], &bodies[1]);
        assert_eq!(long["size"].as_u64(), Some(size), "{way}");
        let text = long["text"].as_str().unwrap();
        let cut = long["cut"].as_u64().unwrap_or_else(|| panic!("{way}: nothing was left out"));
        assert!(text.len() < 1 << 20 && (cut as usize) < text.len(), "{way}: {}", text.len());
        assert!(printed.starts_with(&text[..cut as usize]), "{way}: its head");
        assert!(printed.ends_with(&text[cut as usize..]), "{way}: its tail");
        assert_eq!(image["text"], "[image: image/png, 300000 bytes]", "{way}");
    };
    let daemon = host.daemon();
    host.follows("all of it", ID, |row| row.complete && counts(row).2 == 2);
    check("followed");
    fs::remove_file(host.transcript(ID)).unwrap();
    host.follows("deleted", ID, |row| row.status == rrd_proto::Status::Ended);
    check("its transcript is gone");
    daemon.stop();
}

/// Asked for by itself an event is whole as long as its transcript is there, and then no flag says that it is
/// not; in a page of many, and without its transcript, it is cut and flagged.
#[test]
fn what_is_cut_is_flagged_and_what_is_whole_is_not() {
    let host = Host::new();
    let mut talk = Talk::new(ID);
    let printed = "a line of what was printed\n".repeat(10_000);
    let block = json!({"type": "tool_result", "tool_use_id": "toolu_1", "content": printed});
    let records = [
        talk.prompt("Print it"),
        talk.calls("toolu_1", "Bash", json!({"command": "cat all"})),
        talk.record("user", json!({"message": {"role": "user", "content": [block]}})),
    ];
    host.write(ID, &records);
    let last = |limit: &str| -> Value {
        let show = ["sessions", "show", ID, "--events", "--bodies", "--json", "--limit", limit];
        let told: Value = serde_json::from_str(&host.run(&show)).unwrap();
        told["events"].as_array().unwrap().last().unwrap().clone()
    };
    let is_cut = |event: &Value| {
        assert_eq!(event["kind"], "tool_result");
        assert_eq!(event["body"]["size"], printed.len());
        assert_eq!(event["body"]["text"] != printed.as_str(), !event["body"]["cut"].is_null());
        (event["truncated"] == true, !event["body"]["cut"].is_null())
    };
    let daemon = host.daemon();
    host.follows("all of it", ID, |row| row.complete && counts(row).2 == 1);
    assert_eq!(is_cut(&last("10")), (true, true));
    assert_eq!(is_cut(&last("1")), (false, false), "read once more from its transcript");
    fs::remove_file(host.transcript(ID)).unwrap();
    host.follows("deleted", ID, |row| row.status == rrd_proto::Status::Ended);
    assert_eq!(is_cut(&last("1")), (true, true));
    daemon.stop();
}
