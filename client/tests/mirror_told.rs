//! What `rrd mirror` says of places, of what is in them and of what goes wrong: real daemons, and folders.
//!
//! Not here: what is brought there and when (`mirror`), and buckets that tracecraft wrote (`tracecraft`).
#![cfg(unix)]
#![allow(clippy::unwrap_used)] // the lint's exception for tests does not reach plain functions here

#[path = "host/mod.rs"]
mod host;
#[path = "../../daemon/tests/bucket/moto.rs"]
mod moto;
#[path = "../../daemon/tests/bucket/proxy.rs"]
mod proxy;

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    process::Output,
    sync::mpsc,
};

use host::{
    Host,
    past::{append, secret},
    session,
};
use proxy::{Mishap, Proxy};
use rrd_proto::{Health, MirrorFound, MirrorStatus, Mirrored, PartStatus};

/// What a program said: its code, stdout, stderr.
fn said(host: &Host, args: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = host.rrd(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// Every file beneath a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut all: Vec<PathBuf> =
        paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect();
    all.sort();
    all
}

impl Host {
    /// A folder as a place.
    fn place(&self, name: &str) -> String {
        format!("file://{}", self.path(name).display())
    }
}

#[test]
fn what_was_left_out_stays_left_out() {
    let mut host = Host::new("mac");
    let thread = "01a1f87f-d0a7-7e91-aca5-d3b222634540";
    let rollout = format!(".codex/sessions/2026/11/20/rollout-2026-11-20T10-28-08-{thread}.jsonl");
    fs::create_dir_all(host.path(&rollout).parent().unwrap()).unwrap();
    let meta = format!(
        r#"{{"timestamp":"2026-11-20T10:28:08.000Z","type":"session_meta","payload":{{"id":"{thread}","cwd":"/w"}}}}"#
    );
    fs::write(host.path(&rollout), format!("{meta}\n")).unwrap();
    // In a directory that is there, and in no repository: else it would be held back.
    host.writes(&session(1), &serde_json::json!({
        "parentUuid": null, "isSidechain": false, "type": "user", "uuid": "u1", "cwd": host.home.path(),
        "message": {"role": "user", "content": "Mend it"}, "timestamp": "2026-11-20T10:28:08.000Z",
        "promptSource": "typed", "sessionId": session(1), "version": "2.1.300", "userType": "external",
    }));
    host.start();
    host.looks_up(thread);
    host.looks_up(&session(1));
    let place = host.place("bucket");
    let (_, remarks) =
        host.told(&["mirror", "enable", &place, "--exclude-harness", "codex", "--repo", "none"]);
    for expected in ["not sessions of codex", "only sessions in none", "no session that is known"] {
        assert!(remarks.contains(expected), "{remarks}");
    }
    host.run(&["mirror", "run"]);
    assert!(!host.path("bucket/rrd/sessions").exists());

    // Spoken of nothing but the days, and the repositories: the harness stays left out.
    let all: MirrorStatus =
        host.json(&["mirror", "enable", &place, "--keep-days", "400", "--exclude-repo", "none"]);
    assert_eq!((&*all.exclude_harness[0], all.keep_days), ("codex", Some(400)));
    assert!(all.repo.is_empty() && all.unknown_repos == ["none"], "{all:?}");
    host.run(&["mirror", "run"]);
    assert!(host.path("bucket/rrd/sessions/claude-code").exists());
    assert!(!host.path("bucket/rrd/sessions/codex").exists());
    let status = host.run(&["mirror", "status"]);
    assert!(status.contains("not sessions of codex") && status.contains("400 days"), "{status}");

    // Taken back only by a word for that.
    let (_, remarks) = host.told(&["mirror", "enable", &place, "--all", "--keep-forever"]);
    assert!(!remarks.contains("codex") && !remarks.contains("deleted"), "{remarks}");
    host.run(&["mirror", "run"]);
    assert!(host.path("bucket/rrd/sessions/codex").exists());

    let (code, _, error) = said(&host, &["mirror", "enable", &place, "--harness", "hermse"]);
    assert!(code == 64 && error.contains("claude-code") && error.contains("hermes"), "{error}");
}

/// A session of Claude Code that somebody put into a bucket, in parts that are cut anywhere.
fn put(bucket: &Path, id: &str, parts: &[&str]) {
    let folder = bucket.join("rrd/sessions/claude-code").join(id);
    fs::create_dir_all(&folder).unwrap();
    for (number, part) in parts.iter().enumerate() {
        fs::write(folder.join(format!("part-{number:05}-0123abcd.jsonl")), part).unwrap();
    }
}

/// One record of a session, with a secret in it.
fn record(id: &str, cwd: &Path) -> String {
    let content = format!("the key is {}", secret());
    let message = serde_json::json!({"role": "user", "content": content});
    let record = serde_json::json!({"type": "user", "uuid": "u1", "parentUuid": null,
        "sessionId": id, "cwd": cwd, "isSidechain": false, "promptSource": "typed",
        "timestamp": "2026-11-20T10:00:00.000Z", "message": message});
    format!("{record}\n")
}

#[test]
fn what_others_put_into_a_bucket_is_redacted_on_its_way_out() {
    let mut host = Host::new("mac");
    host.start();
    let (place, id, raw) = (host.place("bucket"), session(1), session(2));
    host.run(&["mirror", "enable", &place]);
    let cwd = host.path("src");
    fs::create_dir_all(&cwd).unwrap();
    let cwd = cwd.canonicalize().unwrap();
    // tracecraft cuts where it flushes: in the middle of a key.
    let (whole, at) = (record(&id, &cwd), record(&id, &cwd).find(&secret()).unwrap() + 9);
    put(&host.path("bucket"), &id, &[&whole, &whole[..at], &whole[at..]]);
    let shown = host.run(&["mirror", "show", &id, "--tail", "5"]);
    assert!(shown.matches("[REDACTED:github-token]").count() == 2, "{shown}");
    assert!(!shown.contains(&secret()[..9]), "{shown}");
    let resume = |id: &str, words: &[&str]| {
        let cwd = cwd.to_str().unwrap();
        let to = ["resume", id, "--from", "bucket", "--take-over", "--cwd", cwd];
        host.told(&[&to, words].concat())
    };
    let (_, remarks) = resume(&id, &[]);
    assert!(remarks.contains("of 3 parts nobody knows"), "{remarks}");
    assert!(remarks.contains("what is secret is not in the copy"), "{remarks}");
    let folder = host.path(".claude/projects");
    let copies = files(&folder);
    let copy = fs::read_to_string(
        copies.iter().find(|path| path.ends_with(format!("{id}.jsonl"))).unwrap(),
    );
    let copy = copy.unwrap();
    assert_eq!(copy, whole.replace(&secret(), "[REDACTED:github-token]").repeat(2));

    // Only who wants the bytes of a place as they are gets them, and is told.
    put(&host.path("bucket"), &raw, &[&record(&raw, &cwd)]);
    host.run(&["mirror", "enable", &place, "--no-redact", "--yes"]);
    let (out, remarks) = resume(&raw, &["--json"]);
    let answer: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(answer["redacted"], false);
    assert!(
        remarks.contains("--no-redact") && !remarks.contains("is not in the copy"),
        "{remarks}"
    );
    let (out, remarks) = host.told(&["mirror", "show", &raw, "--tail", "1"]);
    assert!(out.contains(&secret()) && remarks.contains("NOT redacted"), "{remarks}");
}

#[test]
fn a_place_that_was_raw_once_says_so() {
    let mut host = Host::new("mac");
    let (id, more) = (session(1), session(2));
    let records = |id: &str| record(id, Path::new("/w"));
    fs::create_dir_all(host.transcript(&id).parent().unwrap()).unwrap();
    fs::write(host.transcript(&id), records(&id)).unwrap();
    host.start();
    host.looks_up(&id);
    let place = host.place("bucket");
    host.run(&["mirror", "enable", &place, "--no-redact", "--yes"]);
    host.run(&["mirror", "run"]);
    fs::write(host.transcript(&more), records(&more)).unwrap();
    host.looks_up(&more);
    // And another place, in which all is redacted, and which says so of each part.
    host.run(&["mirror", "enable", &place]);
    host.run(&["mirror", "enable", &host.place("other")]);
    host.says(&id, "go on");
    host.run(&["mirror", "run"]);
    let all: Vec<MirrorStatus> = host.json(&["mirror", "status"]);
    let raw: Vec<(bool, u64)> = all.iter().map(|one| (one.redacted, one.raw_transcripts)).collect();
    assert_eq!(raw, [(true, 1), (true, 0)]);
    let status = host.run(&["mirror", "status"]);
    assert!(status.contains("1 transcript there with secrets in them"), "{status}");
    assert!(status.contains("rrd mirror disable file://"), "{status}");
    let meta = |place: &str, id: &str| -> serde_json::Value {
        let path = host.path(&format!("{place}/rrd/sessions/claude-code/{id}/meta.json"));
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    };
    assert_eq!(meta("bucket", &id)["redactor"], "none");
    assert_eq!(meta("bucket", &id)["parts"][0]["redactor"], "none");
    assert!(meta("bucket", &more)["redactor"].as_str().unwrap().starts_with("rrd "));
    assert!(meta("other", &id)["parts"][0]["redactor"].as_str().unwrap().starts_with("rrd "));
    // What was raw there is not shown.
    let shown = host.run(&["mirror", "show", &id, "--tail", "9"]);
    assert!(!shown.contains(&secret()) && shown.contains("[REDACTED:"), "{shown}");

    // Found again by who knows nothing of it any more.
    host.run(&["mirror", "disable", &place]);
    host.run(&["mirror", "enable", &place]);
    host.run(&["mirror", "run"]);
    let all: Vec<MirrorStatus> = host.json(&["mirror", "status"]);
    assert_eq!(all.iter().map(|one| one.raw_transcripts).sum::<u64>(), 1, "{all:?}");
}

#[test]
fn what_stops_everything_alarms_at_once() {
    let mut host = Host::new("mac");
    let id = session(1);
    host.says(&id, "Mend it");
    host.set("RRD_HTTP", "127.0.0.1:0");
    host.start();
    host.looks_up(&id);
    host.run(&["mirror", "enable", &host.place("bucket")]);
    host.run(&["mirror", "run"]);
    let alarms = |host: &Host, expected: &str| {
        for args in [&["mirror", "run"][..], &["doctor"]] {
            let (code, out, error) = said(host, args);
            assert!(code == 1 && (out + &error).contains(expected), "{args:?}: {error}");
        }
        let parts: Vec<PartStatus> = host.json(&["status"]);
        let part = parts.iter().find(|part| part.part == "mirror").unwrap();
        assert_eq!(part.state, Health::Failed, "{part:?}");
        assert!(part.detail.contains(expected) && part.hint.is_some(), "{part:?}");
        let row = &host.hosts()[0];
        assert!(row.mirror.as_ref().is_some_and(|alarm| alarm.since.is_some()), "{row:?}");
        let mut page = std::net::TcpStream::connect(host.page()).unwrap();
        let ask =
            format!("GET /metrics HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", host.page());
        page.write_all(ask.as_bytes()).unwrap();
        let mut metrics = String::new();
        page.read_to_string(&mut metrics).unwrap();
        assert!(metrics.contains("rrd_mirror_alarm{host=\"mac\""), "{metrics}");
    };
    assert!(host.run(&["status"]).contains("1 transcript there, 0 behind"));

    // A rule of redact.toml that does not hold: nothing may leave.
    host.stop();
    let rules = host.path("rrd/config/redact.toml");
    let rules = if rules.parent().unwrap().is_dir() { rules } else { host.path("rrd/redact.toml") };
    fs::write(&rules, "[[deny]]\nid = \"odd\"\npattern = '('\n").unwrap();
    host.start();
    alarms(&host, "redact.toml: odd does not hold");
    let status = host.run(&["mirror", "status"]);
    assert!(status.starts_with('✗') && status.contains("odd does not hold"), "{status}");
    host.stop();
    fs::remove_file(rules).unwrap();

    // What is mirrored cannot be read any more.
    for file in fs::read_dir(host.path("rrd/state")).unwrap() {
        let path = file.unwrap().path();
        if path.file_name().unwrap().to_str().unwrap().starts_with("mirror.db") {
            fs::write(path, "not a database").unwrap();
        }
    }
    host.start();
    alarms(&host, "mirror.db");
    for args in [&["mirror", "status"][..], &["mirror", "list"], &["mirror", "disable"]] {
        let (code, _, error) = said(&host, args);
        assert!(code == 1 && error.contains("move mirror.db"), "{args:?}: {error}");
    }
    for file in fs::read_dir(host.path("rrd/state")).unwrap() {
        let path = file.unwrap().path();
        if path.file_name().unwrap().to_str().unwrap().starts_with("mirror.db") {
            fs::remove_file(path).unwrap();
        }
    }
    host.run(&["mirror", "enable", &host.place("bucket")]);
    host.run(&["mirror", "run"]);
    assert!(host.run(&["status"]).contains("1 transcript there, 0 behind"));
}

#[test]
fn a_new_machine_sees_what_is_in_the_bucket() {
    let mut old = Host::new("old");
    let (id, other) =
        ("7f2c0001-0000-4000-8000-000000000001", "7f2c0002-0000-4000-8000-000000000001");
    old.works_on(id, "Mend it");
    old.works_on(other, "Break it");
    old.start();
    old.looks_up(id);
    old.looks_up(other);
    let place = old.place("bucket");
    old.run(&["mirror", "enable", &place]);
    old.run(&["mirror", "run"]);
    old.kill();
    put(&old.path("bucket"), &session(3), &["{}\n", "{}\n"]);

    let mut new = Host::new("new");
    new.start();
    let (_, remarks) = new.told(&["mirror", "list"]);
    assert!(remarks.contains("nothing is mirrored"), "{remarks}");
    new.run(&["mirror", "enable", &place]);
    let (list, remarks) = new.told(&["mirror", "list"]);
    assert!(remarks.contains("rrd resume ID --from bucket"), "{remarks}");
    assert!(
        list.contains("Mend it") && list.contains("old") && list.contains("00000003"),
        "{list}"
    );
    let found: Vec<MirrorFound> = new.json(&["mirror", "list", "--from-bucket"]);
    assert_eq!(found.len(), 3);
    let of = |id: &str| found.iter().find(|one| one.session_id == id).unwrap();
    assert_eq!((of(id).host.as_deref(), of(id).title.as_deref()), (Some("old"), Some("Mend it")));
    assert!(of(id).parts == 1 && of(id).is_told && of(id).last_uploaded_at.is_some());
    assert!(of(&session(3)).parts == 2 && !of(&session(3)).is_told);
    assert_eq!(new.json::<Vec<Mirrored>>(&["mirror", "list"]), []);

    let said = new.refuses(&["resume", "7f2c", "--from", "bucket", "--take-over"]);
    assert!(said.contains("2 sessions") && said.contains("of old"), "{said}");
    assert!(said.contains("Mend it") && said.contains("Break it"), "{said}");
    let cwd = new.path("src");
    fs::create_dir_all(&cwd).unwrap();
    let resume = ["resume", &id[..8], "--from", "bucket", "--take-over", "--cwd"];
    new.run(&[&resume[..], &[cwd.to_str().unwrap()]].concat());
}

#[test]
fn a_place_that_does_not_answer_is_no_daemon_that_does_not() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut host = Host::new("mac");
    host.set("AWS_ACCESS_KEY_ID", "test");
    host.set("AWS_SECRET_ACCESS_KEY", "test");
    host.start();
    let at = format!("http://{}", silent.local_addr().unwrap());
    let enable = ["mirror", "enable", "s3://bucket", "--region", "us-east-1", "--endpoint", &at];
    let error = host.refuses(&enable);
    assert!(error.contains("s3://bucket/rrd at http://127.0.0.1"), "{error}");
    assert!(error.contains("did not answer within 30 s"), "{error}");
    assert!(!error.contains("daemon") && !error.contains("tries again"), "{error}");
    assert_eq!(host.json::<Vec<MirrorStatus>>(&["mirror", "status"]), []);
    // Nobody is there at all.
    drop(silent);
    let error = host.refuses(&enable);
    assert!(error.contains("cannot be reached") && !error.contains("tries again"), "{error}");
}

#[test]
fn what_cannot_be_meant_is_refused_by_its_name() {
    let mut host = Host::new("mac");
    host.start();
    let place = host.place("bucket");
    for project in ["../../x", "", ".", "a\u{1b}[2Jb", "a//b"] {
        let error = host.refuses(&["mirror", "enable", &place, "--project", project]);
        assert!(error.contains("a project is a name") && !error.contains("slashes"), "{error}");
    }
    let error = host.refuses(&["mirror", "enable", "file:///tmp/a\u{1b}b"]);
    assert!(error.contains("cannot be seen"), "{error}");
    let error = host.refuses(&["mirror", "enable", "az://container"]);
    assert!(error.contains(host.path("rrd").to_str().unwrap()), "{error}");
    assert!(host.refuses(&["mirror", "disable", "nope"]).contains("nothing is mirrored to that"));
    assert!(!host.path("bucket").exists());
}

#[test]
fn places_are_told_apart_and_what_is_missing_is_counted() {
    let mut host = Host::new("mac");
    let id = session(1);
    host.works_on(&id, "Mend it");
    host.start();
    host.looks_up(&id);
    let (first, second) = (host.place("first"), host.place("second"));
    host.run(&["mirror", "enable", &first]);
    host.run(&["mirror", "run", "--once"]);
    assert!(!host.run(&["mirror", "list"]).contains("PLACE"));
    host.run(&["mirror", "enable", &second]);
    host.run(&["mirror", "run", "--once"]);
    let list = host.run(&["mirror", "list"]);
    assert!(list.contains("PLACE") && list.contains(&first) && list.contains(&second), "{list}");
    assert!(host.run(&["status"]).contains("and 1 other place as well"));

    // It takes nothing any more: what it lacks is counted, of sessions that it never had, too.
    fs::rename(host.path("second"), host.path("away")).unwrap();
    fs::write(host.path("second"), "").unwrap();
    let before = fs::metadata(host.transcript(&id)).unwrap().len();
    host.works_on(&id, "Break it");
    host.works_on(&session(2), "Build it");
    let size = |id: &str| fs::metadata(host.transcript(id)).unwrap().len();
    let missing = size(&id) - before + size(&session(2));
    host.until("both to be behind", || {
        // Not only when they are due.
        let _ = host.rrd(&["mirror", "run"]).output().unwrap();
        let all: Vec<MirrorStatus> = host.json(&["mirror", "status"]);
        let is_failing = all[1].failing.is_some();
        match (all[1].behind, all[1].bytes_behind, is_failing) == (2, missing, true) {
            true => Ok(()),
            false => Err(format!("{missing}: {all:?}")),
        }
    });
    fs::remove_file(host.path("second")).unwrap();
    fs::rename(host.path("away"), host.path("second")).unwrap();
    host.run(&["mirror", "run"]);

    // Found again, all of it is there, and when it came is known.
    let gone: serde_json::Value = host.json(&["mirror", "disable", &format!("{second}/")]);
    assert_eq!(gone["disabled"], 1);
    host.run(&["mirror", "disable", &first]);
    host.run(&["mirror", "enable", &second]);
    host.run(&["mirror", "run"]);
    let status = host.run(&["mirror", "status"]);
    assert!(status.contains("2 transcripts there, last "), "{status}");

    let meta = host.path(&format!("second/rrd/sessions/claude-code/{id}/meta.json"));
    fs::write(&meta, "{").unwrap();
    assert!(host.run(&["mirror", "show", &id]).contains("cannot be understood"));
    fs::remove_file(&meta).unwrap();
    assert!(host.run(&["mirror", "show", &id]).contains("no meta.json"));
}

#[test]
fn what_went_before_it_was_brought_is_told() {
    let mut host = Host::new("mac");
    let id = session(1);
    host.works_on(&id, "Mend it");
    host.start();
    host.looks_up(&id);
    host.run(&["mirror", "enable", &host.place("place")]);
    host.run(&["mirror", "run"]);
    fs::rename(host.path("place"), host.path("away")).unwrap();
    fs::write(host.path("place"), "").unwrap();
    let before = fs::metadata(host.transcript(&id)).unwrap().len();
    host.works_on(&id, "Break it");
    let gone = fs::metadata(host.transcript(&id)).unwrap().len() - before;
    let behind = |host: &Host| {
        let _ = host.rrd(&["mirror", "run"]).output().unwrap();
        let all: Vec<MirrorStatus> = host.json(&["mirror", "status"]);
        match (all[0].behind, all[0].bytes_behind) == (1, gone) {
            true => Ok(all[0].failing.is_some()),
            false => Err(format!("{gone}: {all:?}")),
        }
    };
    host.until("it to be behind", || behind(&host));
    // Its harness deletes it while the place is away.
    fs::remove_file(host.transcript(&id)).unwrap();
    fs::remove_file(host.path("place")).unwrap();
    fs::rename(host.path("away"), host.path("place")).unwrap();
    let is_told = |host: &Host| {
        host.until("it to be told", || match behind(host)? {
            false => Ok(()),
            true => Err("the place fails".to_owned()),
        });
        let (code, out, err) = said(host, &["mirror", "verify"]);
        let why = format!("{gone} bytes of its transcript went with it");
        assert!(code == 1 && (out.contains(&why) || err.contains(&why)), "{code} {out} {err}");
    };
    is_told(&host);
    host.stop();
    host.start();
    is_told(&host);
}

#[test]
fn a_session_whose_id_is_a_secret_goes_nowhere() {
    let mut host = Host::new("mac");
    let (odd, id) = (secret(), session(1));
    host.works_on(&odd, "Odd");
    host.works_on(&id, "Mend it");
    host.start();
    host.looks_up(&id);
    host.looks_up(&odd);
    host.run(&["mirror", "enable", &host.place("bucket")]);
    let (code, _, error) = said(&host, &["mirror", "run"]);
    assert!(code == 1 && error.contains("1 transcript not mirrored"), "{error}");
    let status = host.run(&["mirror", "status"]);
    assert!(status.contains("its id looks like a secret"), "{status}");
    assert!(status.contains("[REDACTED:github-token]") && !status.contains(&odd), "{status}");
    assert!(host.run(&["status"]).contains("1 transcript cannot be mirrored"));
    let there = files(&host.path("bucket"));
    assert!(there.iter().any(|path| path.to_str().unwrap().contains(&id)));
    for path in there {
        let bytes = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
        assert!(!path.to_str().unwrap().contains(&odd) && !bytes.contains(&odd), "{path:?}");
    }
    assert!(!host.log().contains(&odd));
    host.run(&["mirror", "stop", &odd]);
    host.run(&["mirror", "run"]);
}

#[test]
fn what_is_made_and_not_sent_is_not_there() {
    let Some(moto) = moto::moto() else { return };
    moto.make_bucket("unsent");
    let line = Proxy::to(moto.address);
    let mut host = Host::new("mac");
    host.set("AWS_ACCESS_KEY_ID", "test");
    host.set("AWS_SECRET_ACCESS_KEY", "test");
    let id = session(1);
    let plain = host.path("plain");
    fs::create_dir(&plain).unwrap();
    append(&host.transcript(&id), &record(&id, &plain));
    host.start();
    host.looks_up(&id);
    let endpoint = format!("http://{}", line.address);
    let enable = ["mirror", "enable", "s3://unsent", "--endpoint", &endpoint];
    let only = ["--region", "us-east-1", "--exclude-repo", "secret"];
    host.run(&[&enable[..], &only].concat());
    host.run(&["mirror", "run"]);
    line.decide(|asked| {
        let busy = Mishap::Status { status: 503, code: "SlowDown", after: None, delivered: false };
        (asked.method == "PUT").then_some(busy)
    });
    let before = fs::metadata(host.transcript(&id)).unwrap().len();
    append(&host.transcript(&id), &record(&id, &plain).replace("\"u1\"", "\"u2\""));
    let missing = fs::metadata(host.transcript(&id)).unwrap().len() - before;
    let _ = host.rrd(&["mirror", "run"]).output().unwrap();
    host.until("a part to wait", || {
        let one = host.json::<Vec<MirrorStatus>>(&["mirror", "status"]).remove(0);
        match (one.pending_parts, one.bytes_behind) == (1, missing) {
            true => Ok(()),
            false => Err(format!("{missing}: {one:?}")),
        }
    });
    let list = host.json::<Vec<Mirrored>>(&["mirror", "list"]);
    assert_eq!(list[0].bytes_behind, Some(missing));
    host.until("it to be told of the session, too", || {
        let row: rrd_proto::Session = host.json(&["sessions", "show", &id]);
        let place = &row.coverage[0];
        let is_told =
            (place.state, place.bytes_behind) == (rrd_proto::CoverageState::Failing, Some(missing));
        if is_told { Ok(()) } else { Err(format!("{missing}: {place:?}")) }
    });
    // Nor does it go there once it is to stay out.
    let secret = host.clones_from("secret", "git@example.com:acme/secret.git");
    append(&host.transcript(&id), &record(&id, &secret));
    host.until("no part to wait", || {
        let one = host.json::<Vec<MirrorStatus>>(&["mirror", "status"]).remove(0);
        match (one.pending_parts, one.pending_bytes, one.behind) {
            (0, 0, 0) => Ok(()),
            _ => Err(format!("{one:?}")),
        }
    });
}

#[test]
fn a_run_asks_a_place_that_hung_anew_and_says_what_it_answers() {
    let Some(moto) = moto::moto() else { return };
    moto.make_bucket("hung");
    let line = Proxy::to(moto.address);
    let mut host = Host::new("mac");
    host.set("AWS_ACCESS_KEY_ID", "test");
    host.set("AWS_SECRET_ACCESS_KEY", "test");
    let id = session(1);
    host.works_on(&id, "Mend it");
    host.start();
    host.looks_up(&id);
    let endpoint = format!("http://{}", line.address);
    let enable = ["mirror", "enable", "s3://hung", "--endpoint", &endpoint];
    host.run(&[&enable[..], &["--region", "us-east-1"]].concat());
    host.run(&["mirror", "run"]);
    let done = serde_json::json!({"type": "assistant", "uuid": "a1", "parentUuid": null,
        "sessionId": id, "cwd": "/w", "isSidechain": false, "version": "2.1.300",
        "timestamp": "2026-11-20T10:00:00.000Z", "message": {"id": "m1", "role": "assistant",
        "model": "opus", "stop_reason": "end_turn", "content": [{"type": "text", "text": "Done"}]}});
    let refused =
        Mishap::Status { status: 403, code: "AccessDenied", after: None, delivered: false };
    for answer in [Some(refused), None] {
        // What it brings by itself hangs, and then the place is back.
        let (hung, hangs) = mpsc::sync_channel(1);
        line.decide(move |_| {
            let _ = hung.try_send(());
            Some(Mishap::Hangs { delivered: false })
        });
        host.writes(&id, &done);
        hangs.recv().unwrap();
        line.decide(move |_| answer);
        line.take_asked();
        let (code, _, error) = said(&host, &["mirror", "run"]);
        assert!(!line.take_asked().is_empty());
        assert_eq!(code, i32::from(answer.is_some()), "{error}");
        assert_eq!(error.contains("AccessDenied"), answer.is_some(), "{error}");
        assert!(!error.contains("does not answer"), "{error}");
    }
}

#[test]
fn delegates_are_listed_beneath_their_sessions() {
    let mut host = Host::new("mac");
    let delegate = |host: &Host, id: &str, agent: &str| {
        let folder = host.transcript(id).with_extension("").join("subagents");
        fs::create_dir_all(&folder).unwrap();
        let line = serde_json::json!({"type": "user", "uuid": format!("u{agent}"), "parentUuid": null,
            "sessionId": id, "cwd": "/w", "isSidechain": true, "agentId": agent, "version": "2.1.300",
            "timestamp": "2026-11-20T10:00:00.000Z", "message": {"role": "user", "content": "look"}});
        fs::write(folder.join(format!("agent-{agent}.jsonl")), format!("{line}\n")).unwrap();
    };
    host.start();
    host.run(&["mirror", "enable", &host.place("bucket")]);
    for id in [session(1), session(2)] {
        host.works_on(&id, "Mend it");
        delegate(&host, &id, &format!("a{}", &id[7..8]));
        host.run(&["mirror", "run"]);
    }
    // The newest of all is beneath the session that was there first.
    delegate(&host, &session(1), "b1");
    host.run(&["mirror", "run"]);
    let list: Vec<Mirrored> = host.json(&["mirror", "list"]);
    let told: Vec<_> =
        list.iter().map(|one| (&*one.session_id, one.parent_session_id.as_deref())).collect();
    let [one, two] = [session(1), session(2)];
    let wanted = [
        (&*one, None),
        ("b1", Some(&*one)),
        ("a1", Some(&*one)),
        (&*two, None),
        ("a2", Some(&*two)),
    ];
    assert_eq!(told, wanted);
    let list = host.run(&["mirror", "list"]);
    let below: Vec<bool> = list.lines().skip(1).map(|line| line.starts_with("└ ")).collect();
    assert_eq!(below, [false, true, true, false, true], "{list}");
}

#[test]
fn nothing_is_missing_of_a_transcript_in_which_nothing_is() {
    let mut host = Host::new("mac");
    let id = session(1);
    host.works_on(&id, "Mend it");
    host.start();
    host.looks_up(&id);
    fs::write(host.transcript(&id), "").unwrap();
    host.run(&["mirror", "enable", &host.place("bucket")]);
    host.until("it is not listed", || {
        host.run(&["mirror", "run"]);
        let list: Vec<Mirrored> = host.json(&["mirror", "list"]);
        if list.len() == 1 { Ok(()) } else { Err(format!("{list:?}")) }
    });
    let status: Vec<MirrorStatus> = host.json(&["mirror", "status"]);
    assert_eq!((status[0].behind, status[0].bytes_behind), (0, 0), "{status:?}");
    let list = host.run(&["mirror", "list"]);
    assert!(!list.contains("all of it"), "{list}");
}

#[test]
fn a_list_has_no_secret_in_it_not_even_of_a_place_that_is_raw() {
    let mut host = Host::new("mac");
    let id = session(1);
    host.works_on(&id, &format!("Use {}", secret()));
    host.start();
    host.looks_up(&id);
    let place = host.place("bucket");
    host.run(&["mirror", "enable", &place, "--no-redact", "--yes"]);
    host.run(&["mirror", "run"]);
    let meta = format!("bucket/rrd/sessions/claude-code/{id}/meta.json");
    assert!(fs::read_to_string(host.path(&meta)).unwrap().contains(&secret()));
    for words in [&["mirror", "list"][..], &["mirror", "list", "--from-bucket"]] {
        for list in [host.run(words), host.run(&[words, &["--json"]].concat())] {
            assert!(!list.contains(&secret()) && list.contains("[REDACTED:"), "{list}");
        }
    }
}
