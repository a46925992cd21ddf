//! What a session did last is told by other hosts when its own is gone, and said to be that.
//!
//! Not here: who keeps what, and whose word counts (the core's tests of `fleet::words`).
#![cfg(unix)]
#![allow(clippy::unwrap_used)] // the lint's exception for tests does not reach plain functions here

mod host;

use host::{Host, session};
use rrd_proto::Timestamp;
use rusqlite::Connection;
use serde_json::{Value, json};

const SAID: &str = "Publish it\nand then say so";

fn at_work(name: &str) -> Host {
    let mut host = Host::new(name);
    host.says(&session(name.len()), &format!("Work on {name}"));
    host.start();
    host
}

impl Host {
    /// An answer with a call of a tool, which waits for ever.
    fn calls(&self, id: &str, command: &str) {
        let at = Timestamp::from_millis(
            i64::try_from(
                std::time::SystemTime::now()
                    .duration_since(std::time::UNIX_EPOCH)
                    .unwrap()
                    .as_millis(),
            )
            .unwrap(),
        );
        self.writes(id, &json!({
            "parentUuid": null, "isSidechain": false, "type": "assistant", "uuid": format!("a{command}"),
            "message": {"id": "m", "role": "assistant", "model": "opus", "stop_reason": "tool_use",
                "content": [{"type": "tool_use", "id": "t", "name": "Bash",
                    "input": {"command": command}}]},
            "timestamp": at, "sessionId": id, "version": "2.1.300", "cwd": "/w",
        }));
    }

    /// Whether it keeps this text of another host's session on its disk.
    fn keeps(&self, text: &str) -> bool {
        let db = Connection::open(self.state("keep.db")).unwrap();
        let mut rows = db.prepare("SELECT kept FROM words").unwrap();
        let kept = rows.query_map([], |row| row.get::<_, String>(0)).unwrap();
        kept.flatten().any(|kept| kept.contains(text))
    }

    /// In which of its generations another host told its rows that are kept, and these.
    fn past(&self) -> (i64, String) {
        let db = Connection::open(self.state("keep.db")).unwrap();
        let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
        db.query_row("SELECT generation, rows FROM past", [], row).unwrap_or_default()
    }

    fn events(&self, id: &str) -> Value {
        self.json(&["sessions", "show", id, "--events", "--bodies"])
    }
}

#[test]
fn the_last_words_of_a_host_that_is_gone_are_told_by_the_others() {
    let a = at_work("a").founds();
    let mut b = a.takes_in(at_work("bb"));
    let others =
        [a.takes_in(at_work("ccc")), a.takes_in(at_work("dddd")), a.takes_in(at_work("eeeee"))];
    let all: Vec<&Host> = std::iter::once(&a).chain(&others).collect();
    for host in &all {
        host.until("all", || match host.sessions().len() {
            5 => Ok(()),
            count => Err(format!("{count} rows")),
        });
    }
    let id = session(2);
    b.says(&id, SAID);
    let key = format!("{}_{}", "ghp", "Ab3dEf6hIj9kLm2nOp5qRs8tUv1wXy4zAb7c");
    b.calls(&id, &format!("npm publish --token {key}"));
    // Three of the four; where one of these seemed away for a moment, the fourth keeps it, too.
    a.until("three to keep it", || {
        match all.iter().filter(|host| host.keeps("npm publish")).count() {
            3 | 4 => Ok(()),
            count => Err(format!("{count} keep it")),
        }
    });
    b.kill();
    // It is some seconds until it counts as away, and in vain that it is asked.
    let (out, remark) = a.told(&["sessions", "show", &id, "--events"]);
    let state = a.hosts().into_iter().find(|row| row.host == "bb").map(|row| row.state);
    if state == Some(rrd_proto::HostState::Live) {
        assert!(remark.contains("bb does not answer: these are its last words"), "{remark}");
    }
    assert!(out.contains("npm publish"), "{out}");
    assert!(!a.events(&id)["last_words"].is_null());
    let lines = |text: &str| -> Vec<Value> {
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let events_in = |lines: &[Value]| lines.iter().filter(|line| line["type"] == "event").count();
    let out = lines(&a.told(&["sessions", "export", &id]).0);
    // Not heard any more, though not counted as away yet.
    assert_eq!((events_in(&out), &out[0]["complete"]), (3, &json!(false)), "{out:?}");
    for host in &all {
        host.until("it to be away", || {
            match host
                .hosts()
                .iter()
                .any(|row| row.host == "bb" && row.state == rrd_proto::HostState::Away)
            {
                true => Ok(()),
                false => Err(format!("{:?}", host.hosts())),
            }
        });
        // Whoever keeps them, and whoever asks those who do.
        let shown = host.events(&id);
        let events = shown["events"].as_array().unwrap();
        let last: Vec<_> = events.iter().map(|event| event["kind"].as_str().unwrap()).collect();
        assert_eq!(last, ["prompt", "prompt", "tool_call"], "{}", host.name());
        assert_eq!(events[1]["body"]["text"], SAID);
        let input = events[2]["body"]["text"].as_str().unwrap();
        assert!(input.contains("npm publish") && input.contains("[REDACTED:"), "{input}");
        assert_eq!(shown["last_words"]["by"].as_str().map(|by| by != "bb"), Some(true));
        let (_, remark) = host.told(&["sessions", "show", &id]);
        assert!(remark.contains("bb is away"), "{remark}");
        // Whatever asks for them says so, and gets all of them.
        let (out, remark) = host.told(&["sessions", "export", &id]);
        let told = lines(&out);
        assert_eq!(events_in(&told), 3, "{out}");
        // The file says by itself whose words these are, of when, and that they are not all of it.
        assert_eq!(told[0]["last_words"], shown["last_words"]);
        assert_eq!(told[0]["complete"], false);
        let followed = lines(&host.told(&["sessions", "tail", &id, "--json"]).0);
        assert_eq!(
            (&followed[0]["type"], &followed[0]["by"]),
            (&json!("last_words"), &shown["last_words"]["by"])
        );
        assert_eq!(followed.iter().filter(|line| line.get("type").is_none()).count(), 3);
        assert!(out.contains("npm publish") && remark.contains("bb is away"), "{remark}");
        let (out, _) = host.told(&["sessions", "export", &id, "--format", "md"]);
        assert!(out.contains("bb is away: these are its last words"), "{out}");
        let (_, remark) = host.told(&["sessions", "tail", &id]);
        assert!(remark.contains("bb is away"), "{remark}");
        assert!(!host.keeps(&key));
    }
    // What it did while it could not tell is not lost: it tells itself.
    b.says(&id, "Meanwhile");
    b.start();
    a.until("it to be back", || {
        let shown = a.events(&id);
        match shown["last_words"].is_null() && shown["events"].to_string().contains("Meanwhile") {
            true => Ok(()),
            false => Err(shown.to_string()),
        }
    });
}

#[test]
fn what_is_forgotten_comes_back_nowhere_not_even_when_its_host_is_away() {
    let mut a = at_work("a").founds();
    let b = a.takes_in(at_work("bb"));
    let id = session(9);
    a.says(&id, "Zanzibar Quetzal");
    b.until("its words to be kept", || match b.keeps("Zanzibar Quetzal") {
        true => Ok(()),
        false => Err(format!("{} rows", b.sessions().len())),
    });
    // A host that begins anew tells of what goes on only; the others have the rest from asking.
    let (before, _) = b.past();
    a.stop();
    a.start();
    b.until("its rows to be kept", || match b.past() {
        (generation, rows) if generation != before && rows.contains(&id) => Ok(()),
        other => Err(format!("{other:?}")),
    });
    let lists = |host: &Host| host.run(&["sessions", "list", "--all", "--json"]).contains(&id);
    b.until("it to be listed", || if lists(&b) { Ok(()) } else { Err("it is not".to_owned()) });
    a.run(&["sessions", "forget", &id, "--yes"]);
    b.until("it to be gone", || if lists(&b) { Err("it is listed".to_owned()) } else { Ok(()) });
    b.until("its words to be gone", || match b.keeps("Zanzibar Quetzal") {
        true => Err("they are kept".to_owned()),
        false => Ok(()),
    });
    a.kill();
    b.until("the other one to be away", || match b.hosts().iter().find(|row| row.host == "a") {
        Some(row) if row.state == rrd_proto::HostState::Away => Ok(()),
        other => Err(format!("{other:?}")),
    });
    assert!(!lists(&b), "it comes back");
    assert_eq!(b.rrd(&["sessions", "show", &id]).output().unwrap().status.code(), Some(1));
}
