//! What every host knows of the copies of a session: which place has it, what is stopped or deleted there,
//! until when its harness keeps its own, and that a place fails.
//!
//! Not here: that copies are whole (the tests of `mirror`).
#![cfg(unix)]
#![allow(clippy::unwrap_used)] // the lint's exception for tests does not reach plain functions here

mod host;

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
};

use host::{Host, session};
use rrd_proto::{
    Coverage, CoverageState, Deletion, MirrorPruned, MirrorStatus, Mirrored, Session, Timestamp,
};
use serde_json::json;

const DAY: u128 = 86_400_000;

impl Host {
    /// A prompt and its answer: the turn is over.
    fn has_done(&self, id: &str, what: &str, ms_ago: u128) {
        self.says_ago(id, what, ms_ago);
        self.answers(id, what, ms_ago);
    }

    fn answers(&self, id: &str, what: &str, ms_ago: u128) {
        self.writes(id, &answer(id, what, ms_ago));
    }

    fn row_of_all(&self, id: &str) -> Option<Session> {
        let all: Vec<Session> = self.json(&["sessions", "list", "--all"]);
        all.into_iter().find(|row| row.session_id == id)
    }

    /// Waits until this host says so of a session, whosever it is: each place's name and state.
    fn comes_to_say(&self, id: &str, places: &[(&str, CoverageState)]) -> Vec<Coverage> {
        self.until(&format!("{places:?}"), || {
            let covered = self.row_of_all(id).ok_or("not listed")?.coverage;
            let said: Vec<_> = covered
                .iter()
                .map(|place| (place.url.rsplit('/').nth(1).unwrap_or_default(), place.state))
                .collect();
            if said == places { Ok(covered) } else { Err(format!("{covered:?}")) }
        })
    }

    fn mirrors_to(&self, name: &str, more: &[&str]) -> String {
        let url = format!("file://{}", self.path(name).display());
        self.run(&[&["mirror", "enable", &url], more].concat());
        url
    }
}

fn answer(id: &str, what: &str, ms_ago: u128) -> serde_json::Value {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let at = Timestamp::from_millis(i64::try_from(now.as_millis() - ms_ago).unwrap());
    json!({
        "parentUuid": null, "isSidechain": false, "type": "assistant", "cwd": "/w",
        "uuid": format!("a{what}"), "timestamp": at, "sessionId": id, "version": "2.1.300",
        "requestId": format!("r{what}"), "message": {
            "id": format!("m{what}"), "type": "message", "role": "assistant", "model": "m",
            "content": [{"type": "text", "text": "done"}], "stop_reason": "end_turn",
            "stop_sequence": null, "usage": {"input_tokens": 1, "output_tokens": 1},
        },
    })
}

/// A delegate of a session.
fn delegate(host: &Host, id: &str, agent: &str, ms_ago: u128) {
    let path =
        host.transcript(id).with_extension("").join(format!("subagents/agent-{agent}.jsonl"));
    let mut line = answer(id, agent, ms_ago);
    line["isSidechain"] = json!(true);
    line["agentId"] = json!(agent);
    let mut prompt = line.clone();
    prompt["type"] = json!("user");
    prompt["uuid"] = json!(format!("u{agent}"));
    prompt["message"] = json!({"role": "user", "content": "look"});
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut file = fs::File::options().append(true).create(true).open(path).unwrap();
    write!(file, "{prompt}\n{line}\n").unwrap();
}

/// The names of all objects beneath it.
fn objects(directory: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut names = Vec::new();
    for entry in entries.map(|entry| entry.unwrap()) {
        match entry.file_type().unwrap().is_dir() {
            true => names.extend(objects(&entry.path())),
            false => names.push(entry.file_name().into_string().unwrap()),
        }
    }
    names.sort();
    names
}

fn get(host: &Host, path: &str) -> String {
    let mut stream = TcpStream::connect(host.page()).unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", host.page());
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn what_is_mirrored_of_a_session_is_known_on_every_host() {
    use CoverageState::{Excluded, Failing, Mirrored, Stopped};
    let (mut one, mut two) = (Host::new("one"), Host::new("two"));
    one.start();
    two.start();
    let one = one.founds();
    let two = one.takes_in(two);
    let id = session(1);
    two.has_done(&id, "first", 1_000);
    one.comes_to_list(&["two: first"]);
    let row = one.row_of_all(&id).unwrap();
    assert_eq!(row.coverage, [], "nothing is mirrored anywhere");
    two.mirrors_to("all", &[]);
    two.mirrors_to("some", &["--harness", "codex"]);
    let said = one.comes_to_say(&id, &[("all", Mirrored), ("some", Excluded)]);
    assert_eq!((said[0].bytes_behind, said[1].bytes_behind), (Some(0), None));
    assert!(said[0].since.is_some() && said[0].url.ends_with("/all/rrd"), "{said:?}");
    assert!(one.run(&["sessions", "show", &id]).contains("all of it"));

    // Where the place fails, that is known, and how much is missing.
    let (bucket, away) = (two.path("all"), two.path("away"));
    fs::rename(&bucket, &away).unwrap();
    fs::write(&bucket, "no folder").unwrap();
    let before = fs::metadata(two.transcript(&id)).unwrap().len();
    two.has_done(&id, "second", 0);
    let missing = fs::metadata(two.transcript(&id)).unwrap().len() - before;
    let said = one.comes_to_say(&id, &[("all", Failing), ("some", Excluded)]);
    assert!(said[0].bytes_behind.is_some_and(|bytes| bytes <= missing), "{said:?}");
    let failing = one.until("all that is missing", || {
        let said = one.row_of_all(&id).unwrap().coverage.remove(0);
        if said.bytes_behind == Some(missing) { Ok(said) } else { Err(format!("{said:?}")) }
    });
    assert!(two.run(&["mirror", "status"]).contains("failing "));
    fs::remove_file(&bucket).unwrap();
    fs::rename(&away, &bucket).unwrap();
    two.run(&["mirror", "run"]);
    let said = one.comes_to_say(&id, &[("all", Mirrored), ("some", Excluded)]);
    assert!(said[0].since > failing.since, "{said:?}");

    // What its user stops is stopped on every host.
    two.run(&["mirror", "stop", &id]);
    one.comes_to_say(&id, &[("all", Stopped), ("some", Stopped)]);
    two.run(&["mirror", "disable"]);
    one.comes_to_say(&id, &[]);
}

#[test]
fn what_is_stopped_goes_nowhere_until_it_is_started() {
    let mut host = Host::new("mac");
    let (id, other) = (session(1), session(2));
    host.has_done(&id, "one", 5_000);
    delegate(&host, &id, "a1", 5_000);
    host.has_done(&other, "two", 5_000);
    host.start();
    assert!(host.refuses(&["mirror", "stop", &id]).contains("nothing is mirrored"));
    let url = host.mirrors_to("first", &[]);
    host.run(&["mirror", "run"]);
    let of = |id: &str| host.path("first/rrd/sessions/claude-code").join(id);
    let before = objects(&of(&id));
    assert_eq!(before.iter().filter(|name| name.starts_with("part-")).count(), 2, "{before:?}");
    assert!(host.refuses(&["mirror", "stop", "9"]).contains("no session"));
    assert!(host.refuses(&["mirror", "stop", "00000"]).contains("2 sessions begin"));
    assert!(host.refuses(&["mirror", "stop", &id, "--on", "s3://no"]).contains("that place"));
    let (_, said) = host.told(&["mirror", "stop", &id]);
    assert!(said.contains("what is there stays there"), "{said}");

    // Neither it nor its delegates, not even after a restart, nor to a place that comes later.
    let goes_on = |host: &Host, what: &str| {
        let last = |id: &str| host.row_of_all(id).unwrap().last_activity_at;
        let before = [last(&id), last(&other)];
        host.has_done(&id, what, 0);
        delegate(host, &id, what, 0);
        host.has_done(&other, what, 0);
        host.until("what is new is not read", || {
            let is_read = last(&id) > before[0] && last(&other) > before[1];
            if is_read { Ok(()) } else { Err(what.to_owned()) }
        });
        host.run(&["mirror", "run"]);
    };
    goes_on(&host, "more");
    assert_eq!(objects(&of(&id)), before);
    host.stop();
    host.start();
    host.mirrors_to("second", &[]);
    goes_on(&host, "still more");
    let of = |id: &str| host.path("first/rrd/sessions/claude-code").join(id);
    assert_eq!(objects(&of(&id)), before);
    let second = host.path("second/rrd/sessions/claude-code");
    assert!(!objects(&second.join(&other)).is_empty() && objects(&second.join(&id)).is_empty());
    // A delegate's records may have been read just now: until it has been looked at, it counts as behind.
    host.until("status to say what is stopped", || {
        let status: Vec<MirrorStatus> = host.json(&["mirror", "status"]);
        match (status[0].stopped, status[0].behind, status[0].bytes_behind) {
            (2, 0, 0) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    let list: Vec<Mirrored> = host.json(&["mirror", "list"]);
    let stopped = |one: &&Mirrored| one.state == CoverageState::Stopped;
    assert_eq!(list.iter().filter(stopped).count(), 2, "{list:#?}");
    assert!(host.run(&["mirror", "list"]).contains("stopped by you"));

    // Again in one place only, then everywhere.
    host.run(&["mirror", "start", &id, "--on", &url]);
    host.run(&["mirror", "run"]);
    let after = objects(&of(&id));
    assert!(after.len() > before.len(), "{after:?}");
    assert!(objects(&second.join(&id)).is_empty());
    host.run(&["mirror", "start", &id]);
    host.run(&["mirror", "run"]);
    assert!(!objects(&second.join(&id)).is_empty());
    let whole = |host: &Host, place: &str| {
        let show = ["mirror", "show", &id, "--tail", "100", "--json"];
        let shown: serde_json::Value = serde_json::from_str(&host.run(&show)).unwrap();
        assert_eq!(shown["records"], 6, "{place}: {shown}");
    };
    whole(&host, "first");
    host.run(&["mirror", "disable", &url]);
    whole(&host, "second");
}

#[test]
fn a_place_keeps_what_is_over_for_as_long_as_it_was_told() {
    let mut host = Host::new("mac");
    let (old, new) = (session(1), session(2));
    host.has_done(&old, "long ago", 3 * DAY);
    delegate(&host, &old, "a1", 3 * DAY);
    host.has_done(&new, "today", 5_000);
    host.start();
    host.mirrors_to("bucket", &[]);
    host.run(&["mirror", "run"]);
    let all: Vec<MirrorPruned> = host.json(&["mirror", "prune"]);
    assert_eq!(all, [], "off by default");
    let of = |id: &str| host.path("bucket/rrd/sessions/claude-code").join(id);
    let before = (objects(&of(&old)), objects(&of(&new)));
    assert_eq!(before.0.iter().filter(|name| name.starts_with("owner-")).count(), 2);

    // A delegate that is at work keeps all of it there.
    host.mirrors_to("bucket", &["--keep-days", "2"]);
    let wanted: Vec<MirrorPruned> = host.json(&["mirror", "prune", "--dry-run"]);
    assert_eq!(wanted.len(), 2, "{wanted:?}");
    assert_eq!((objects(&of(&old)), objects(&of(&new))), before, "nothing was deleted");
    let gone: Vec<MirrorPruned> = host.json(&["mirror", "prune"]);
    assert_eq!(gone, wanted);
    assert_eq!((objects(&of(&old)), objects(&of(&new))), (Vec::new(), before.1.clone()));
    host.comes_to_say(&old, &[("bucket", CoverageState::Expired)]);
    assert_eq!(host.json::<Vec<MirrorStatus>>(&["mirror", "status"])[0].keep_days, Some(2));

    // It stays so, though its transcript is still here, and though sessions are kept for ever again.
    host.stop();
    host.start();
    host.run(&["mirror", "run"]);
    let of = |id: &str| host.path("bucket/rrd/sessions/claude-code").join(id);
    assert_eq!(objects(&of(&old)), Vec::<String>::new());
    host.mirrors_to("bucket", &["--keep-forever"]);
    host.run(&["mirror", "run"]);
    assert_eq!((objects(&of(&old)), objects(&of(&new))), (Vec::new(), before.1));

    // Until it goes on: then all of it is there again, with its delegates.
    host.has_done(&old, "again", 0);
    host.comes_to_say(&old, &[("bucket", CoverageState::Mirrored)]);
    host.run(&["mirror", "run"]);
    let shown: serde_json::Value = host.json(&["mirror", "show", &old, "--tail", "9"]);
    assert_eq!(shown["records"], 4, "{shown}");
    let after = objects(&of(&old));
    assert_eq!(after.iter().filter(|name| name.starts_with("owner-")).count(), 2, "{after:?}");
    let list: Vec<Mirrored> = host.json(&["mirror", "list"]);
    assert!(list.iter().all(|one| one.state == CoverageState::Mirrored), "{list:#?}");
    let refused =
        host.rrd(&["mirror", "enable", "file:///x", "--keep-days", "0"]).output().unwrap();
    assert!(!refused.status.success());
}

#[test]
fn it_is_known_when_a_harness_deletes_its_copy() {
    let mut host = Host::new("mac");
    let (id, project) = (session(1), host.path("w"));
    host.has_done(&id, "one", 5_000);
    let said = |host: &Host, expected: &dyn Fn(Option<Deletion>) -> bool| {
        host.until("another time of deletion", || {
            let deletion = host.row_of_all(&id).ok_or("not listed")?.deletion;
            if expected(deletion) { Ok(()) } else { Err(format!("{deletion:?}")) }
        });
    };
    let in_days = |days: i64| {
        let changed = fs::metadata(host.transcript(&id)).unwrap().modified().unwrap();
        let changed = changed.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
        let at = i64::try_from(changed).unwrap() + days * DAY as i64;
        Some(Deletion { at: Some(Timestamp::from_millis(at - at % 3_600_000)) })
    };
    let (month, week) = (in_days(30), in_days(7));
    host.start();
    said(&host, &|deletion| deletion == month);
    let shown = host.run(&["sessions", "show", &id]);
    assert!(shown.contains("claude-code deletes it in 29 days"), "{shown}");
    let settings = host.path(".claude/settings.json");
    for (text, expected) in [
        (r#"{"cleanupPeriodDays": 7}"#, week),
        (r#"{"cleanupPeriodDays": 0}"#, Some(Deletion { at: None })),
        ("{", Some(Deletion { at: None })),
    ] {
        fs::write(&settings, text).unwrap();
        host.stop();
        host.start();
        said(&host, &|deletion| deletion == expected);
    }
    assert!(!project.exists());
    assert!(host.run(&["sessions", "show", &id]).contains("do not tell when"));
    // What is deleted is deleted no more.
    fs::remove_file(host.transcript(&id)).unwrap();
    host.stop();
    host.start();
    said(&host, &|deletion| deletion.is_none());
}

#[test]
fn every_host_says_that_a_mirror_has_failed_for_long() {
    let (mut one, mut two) = (Host::new("one"), Host::new("two"));
    one.set("RRD_HTTP", "127.0.0.1:0");
    one.start();
    two.start();
    let one = one.founds();
    let mut two = one.takes_in(two);
    two.has_done(&session(1), "first", 1_000);
    let url = two.mirrors_to("bucket", &[]);
    two.run(&["mirror", "run"]);
    one.comes_to_list(&["two: first"]);
    assert!(one.hosts().iter().all(|host| host.mirror.is_none()));
    assert!(!get(&one, "/metrics").contains("rrd_mirror_alarm{"));
    // As if it had stood for a while that its address is none.
    two.stop();
    let db = rusqlite::Connection::open(two.state("mirror.db")).unwrap();
    let change = "UPDATE targets SET since = since - 1200000, \
                  settings = json_set(settings, '$.url', 'ftp://nowhere')";
    assert_eq!(db.execute(change, []).unwrap(), 1);
    drop(db);
    two.start();
    let alarm = one.until("no alarm", || {
        let two = one.hosts().into_iter().find(|host| host.host == "two").ok_or("not there")?;
        two.mirror.ok_or_else(|| "no alarm".to_owned())
    });
    assert_eq!(alarm.url, "ftp://nowhere/rrd");
    assert!(alarm.error.as_ref().is_some_and(|error| !error.is_empty()), "{alarm:?}");
    let status = one.run(&["status"]);
    let line = status.lines().find(|line| line.contains("on two: ftp://nowhere/rrd fails for 2"));
    assert!(line.is_some_and(|line| line.contains(&alarm.error.clone().unwrap())), "{status}");
    assert!(one.run(&["doctor"]).contains("on two: ftp://nowhere/rrd fails"));
    let metrics = get(&one, "/metrics");
    assert!(metrics.contains("rrd_mirror_alarm{host=\"two\",url=\"ftp://nowhere/rrd\"} 1"));
    assert!(metrics.contains("rrd_part_ok{part=\"mirror\"} 0"), "{metrics}");
    assert!(get(&one, "/").contains("mirror fails"));
    assert!(two.run(&["status"]).contains("ftp://nowhere/rrd fails for 2"));
    // It stands while the host is away, and is over when it mirrors again.
    two.stop();
    assert!(one.run(&["status"]).contains("on two: ftp://nowhere"));
    two.start();
    two.run(&["mirror", "disable"]);
    two.run(&["mirror", "enable", &url]);
    one.until("still an alarm", || match one.hosts().iter().any(|host| host.mirror.is_some()) {
        true => Err("alarm".to_owned()),
        false => Ok(()),
    });
    assert!(!one.run(&["status"]).contains("ftp://nowhere"));
}

#[test]
fn every_host_says_how_much_is_missing_where_a_mirror_fails() {
    let (mut one, mut two) = (Host::new("one"), Host::new("two"));
    one.set("RRD_HTTP", "127.0.0.1:0");
    one.start();
    two.start();
    let one = one.founds();
    let mut two = one.takes_in(two);
    two.mirrors_to("bucket", &[]);
    two.run(&["mirror", "run"]);
    fs::rename(two.path("bucket"), two.path("away")).unwrap();
    fs::write(two.path("bucket"), "").unwrap();
    for number in 1..5 {
        two.has_done(&session(number), "first", 1_000);
    }
    let _ = two.rrd(&["mirror", "run"]).output().unwrap();
    // As if that had been so for a while.
    two.stop();
    let db = rusqlite::Connection::open(two.state("mirror.db")).unwrap();
    let change = "UPDATE targets SET failing_since = failing_since - 1200000";
    assert_eq!(db.execute(change, []).unwrap(), 1);
    drop(db);
    two.start();
    let own = two.until("its own figures", || {
        let _ = two.rrd(&["mirror", "run"]).output().unwrap();
        let place = two.json::<Vec<MirrorStatus>>(&["mirror", "status"]).remove(0);
        if place.behind == 4 { Ok(place) } else { Err(format!("{place:?}")) }
    });
    let figures = (Some(4), Some(own.bytes_behind), own.pending_parts);
    one.until("the same", || {
        let two = one.hosts().into_iter().find(|host| host.host == "two").ok_or("not there")?;
        let alarm = two.mirror.ok_or("no alarm")?;
        let told = (alarm.transcripts_behind, alarm.bytes_behind, alarm.pending_parts);
        if told == figures { Ok(()) } else { Err(format!("{alarm:?}, not {figures:?}")) }
    });
    for host in [&one, &two] {
        let status = host.run(&["status"]);
        let size = rrd_proto::shown::size(own.bytes_behind);
        assert!(status.contains(&format!("4 transcripts, {size}, 0 parts behind")), "{status}");
    }
    assert!(get(&one, "/").contains("4 transcripts, 0 parts behind"));
}
