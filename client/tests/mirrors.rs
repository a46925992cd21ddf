//! What goes wrong with mirrors, and stays where it is: several hosts and one bucket, a session that a place does
//! not take, what went from a bucket, a folder by two names.
//!
//! Not here: that copies are whole (`mirror`), what every host is told (`covered`).
#![cfg(unix)]
#![allow(clippy::unwrap_used)] // the lint's exception for tests does not reach plain functions here

#[path = "host/mod.rs"]
mod host;
#[path = "mirrors/in_the_way.rs"]
mod in_the_way;
#[path = "mirrors/lost.rs"]
mod lost;
#[path = "../../daemon/tests/bucket/moto.rs"]
mod moto;
#[path = "../../daemon/tests/bucket/proxy.rs"]
mod proxy;

use std::{
    fs,
    path::{Path, PathBuf},
};

use host::{Host, session};
use proxy::{Mishap, Proxy};
use rrd_proto::{CoverageState, MirrorStatus, MirrorVerified, Mirrored, Session};
use serde_json::{Value, json};

impl Host {
    /// A prompt and its answer: the turn is over.
    fn has_done(&self, id: &str, what: &str) {
        self.says(id, what);
        self.writes(id, &json!({
            "parentUuid": null, "isSidechain": false, "type": "assistant", "cwd": "/w",
            "uuid": format!("a{what}"), "timestamp": "2026-11-20T10:00:00.000Z", "sessionId": id,
            "version": "2.1.300", "requestId": format!("r{what}"), "message": {
                "id": format!("m{what}"), "type": "message", "role": "assistant", "model": "m",
                "content": [{"type": "text", "text": "done"}], "stop_reason": "end_turn",
                "stop_sequence": null, "usage": {"input_tokens": 1, "output_tokens": 1},
            },
        }));
    }

    fn mirrors_to(&self, bucket: &Path) {
        self.run(&["mirror", "enable", &format!("file://{}", bucket.display())]);
        // It fails where a transcript cannot be mirrored.
        let _ = self.rrd(&["mirror", "run"]).output();
    }

    /// Its copy of a session becomes another host's, as a resume does it.
    fn takes_copy(&self, id: &str, of: &Self) {
        let (path, staged) = (self.transcript(id), self.path("staged"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::copy(of.transcript(id), &staged).unwrap();
        fs::rename(staged, path).unwrap();
    }

    fn place(&self) -> MirrorStatus {
        self.json::<Vec<MirrorStatus>>(&["mirror", "status"]).remove(0)
    }

    /// Runs the mirror until this holds of its only place.
    fn comes_to(&self, what: &str, is: impl Fn(&MirrorStatus) -> bool) -> MirrorStatus {
        self.until(what, || {
            let _ = self.rrd(&["mirror", "run"]).output();
            let place = self.place();
            if is(&place) { Ok(place) } else { Err(format!("{place:#?}")) }
        })
    }

    fn covered(&self, id: &str) -> CoverageState {
        let all: Vec<Session> = self.json(&["sessions", "list", "--all", "--local"]);
        let row = all.into_iter().find(|row| row.session_id == id);
        row.map_or(CoverageState::Unknown, |row| row.coverage[0].state)
    }

    /// Whether all is as uploaded, what is printed, and what is remarked.
    fn verifies(&self, more: &[&str]) -> (bool, String) {
        let done = self.rrd(&[&["mirror", "verify"], more].concat()).output().unwrap();
        let said = [done.stdout, done.stderr].concat();
        (done.status.success(), String::from_utf8(said).unwrap())
    }
}

/// The parts of a session, in order.
fn parts(bucket: &Path, id: &str) -> Vec<PathBuf> {
    let directory = bucket.join(format!("rrd/sessions/claude-code/{id}"));
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let is_part = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with("part-");
    let mut parts: Vec<PathBuf> = entries.filter(is_part).collect();
    parts.sort();
    parts
}

#[test]
fn a_session_goes_from_host_to_host_and_back() {
    let (mut one, mut two) = (Host::new("one"), Host::new("two"));
    let (bucket, id) = (one.path("bucket"), session(1));
    one.has_done(&id, "first");
    two.takes_copy(&id, &one);
    one.has_done(&id, "second");
    one.start();
    two.start();
    one.mirrors_to(&bucket);
    two.mirrors_to(&bucket);
    two.comes_to("its copy is older", |place| (place.elsewhere, place.diverged) == (1, 0));
    let list: Vec<Mirrored> = two.json(&["mirror", "list"]);
    assert_eq!(list[0].by.as_deref(), Some("one"));
    assert_eq!((list[0].state, list[0].bytes_behind), (CoverageState::Elsewhere, None));
    // Brought up to date, it goes on there.
    two.takes_copy(&id, &one);
    two.has_done(&id, "third");
    let last = || fs::read_to_string(parts(&bucket, &id).pop().unwrap()).unwrap();
    two.until("the turn is in no part", || {
        two.run(&["mirror", "run"]);
        if last().contains("third") { Ok(()) } else { Err(last()) }
    });
    is_told(&two, &id, CoverageState::Mirrored);
    // Whoever had it before finds nothing wrong, though it has not noticed yet.
    for host in [&one, &two] {
        let (is_good, said) = host.verifies(&[]);
        assert!(is_good && said.contains("all as uploaded"), "{said}");
    }
    // And when the other one has made few parts of many.
    two.run(&["mirror", "compact", &id]);
    let (is_good, said) = one.verifies(&[]);
    assert!(is_good, "{said}");
    // What is wrong is found all the same.
    let gone = parts(&bucket, &id).pop().unwrap();
    fs::remove_file(&gone).unwrap();
    let (is_good, said) = two.verifies(&[]);
    assert!(!is_good && said.contains("is missing, with "), "{said}");
    two.run(&["mirror", "run"]);
    assert!(two.verifies(&[]).0);
    // It goes back.
    one.takes_copy(&id, &two);
    one.has_done(&id, "fourth");
    one.until("the turn is in no part", || {
        one.run(&["mirror", "run"]);
        if last().contains("fourth") { Ok(()) } else { Err(last()) }
    });
    // Nobody tells that; it is seen as soon as there is a reason to look.
    assert!(two.verifies(&[]).0);
    two.takes_copy(&id, &two);
    two.comes_to("the other one has it again", |place| place.elsewhere == 1);
    assert!(two.refuses(&["mirror", "compact", &id]).contains("another host mirrors"));
    let (is_good, said) = two.verifies(&[&id]);
    assert!(is_good && said.contains("1 transcript"), "{said}");
}

#[test]
fn what_is_in_no_bucket_is_not_said_to_be_mirrored() {
    let (mut one, mut two) = (Host::new("one"), Host::new("two"));
    let (bucket, id) = (one.path("bucket"), session(1));
    one.has_done(&id, "together");
    two.takes_copy(&id, &one);
    one.has_done(&id, "here");
    two.has_done(&id, "there");
    one.start();
    two.start();
    one.mirrors_to(&bucket);
    two.mirrors_to(&bucket);
    let place = two.comes_to("they went on apart", |place| place.diverged == 1);
    assert_eq!((place.elsewhere, place.behind), (0, 0));
    two.until("coverage", || match two.covered(&id) {
        CoverageState::Diverged => Ok(()),
        other => Err(format!("{other:?}")),
    });
    one.until("coverage", || match one.covered(&id) {
        CoverageState::Mirrored => Ok(()),
        other => Err(format!("{other:?}")),
    });
    let status = two.run(&["mirror", "status"]);
    assert!(status.starts_with("! ") && status.contains("what only this host has"), "{status}");
    assert!(two.run(&["mirror", "list"]).contains("not what one mirrors"));
    assert!(two.run(&["sessions", "show", &id]).contains("another host mirrors it"));
    assert!(two.run(&["status"]).contains("went on elsewhere"));
    for named in [&[][..], &[&*id]] {
        let (is_good, said) = two.verifies(named);
        assert!(!is_good && said.contains("it went on here and on one"), "{said}");
        assert!(one.verifies(named).0);
    }
}

#[test]
fn what_an_earlier_release_took_for_diverged_is_judged_anew_by_the_next_start() {
    let (mut one, mut two) = (Host::new("one"), Host::new("two"));
    let (bucket, id) = (one.path("bucket"), session(1));
    one.has_done(&id, "together");
    two.has_done(&id, "alone");
    one.start();
    one.mirrors_to(&bucket);
    one.comes_to("it is there", |place| place.transcripts == 1);
    two.start();
    two.mirrors_to(&bucket);
    two.comes_to("they went on apart", |place| place.diverged == 1);
    two.stop();
    // It has all that is there by now, and what is known of it was written as if it had been looked at so.
    two.takes_copy(&id, &one);
    two.has_done(&id, "after that");
    let metadata = fs::metadata(two.transcript(&id)).unwrap();
    let at = metadata.modified().unwrap().duration_since(std::time::UNIX_EPOCH).unwrap();
    let db = rusqlite::Connection::open(two.path("rrd/state/mirror.db")).unwrap();
    let sql = "UPDATE streams SET state = json_set(state, '$.settled', json_array(?1, ?2))";
    let settled = (metadata.len().cast_signed(), i64::try_from(at.as_nanos()).unwrap());
    assert_eq!(db.execute(sql, settled).unwrap(), 1);
    drop(db);
    two.start();
    two.comes_to("it goes on with it", |place| place.diverged == 0 && place.elsewhere == 0);
    assert!(two.verifies(&[]).0);
    assert!(two.run(&["mirror", "show", &id, "--tail", "9"]).contains("after that"));
}

#[test]
fn what_went_from_a_bucket_is_named_and_brought_again() {
    let mut host = Host::new("mac");
    let (bucket, id) = (host.path("bucket"), session(1));
    host.has_done(&id, "first");
    host.start();
    host.mirrors_to(&bucket);
    host.has_done(&id, "second");
    host.until("two parts", || {
        host.run(&["mirror", "run"]);
        let count = parts(&bucket, &id).len();
        if count >= 2 { Ok(()) } else { Err(count.to_string()) }
    });
    let whole = |host: &Host| {
        let shown: Value = host.json(&["mirror", "show", &id]);
        shown["records"].as_u64().unwrap()
    };
    assert_eq!(whole(&host), 4);
    fs::remove_file(&parts(&bucket, &id)[0]).unwrap();
    let (is_good, said) = host.verifies(&[]);
    assert!(!is_good && said.contains("is missing, with ") && said.contains("hint: "), "{said}");
    host.run(&["mirror", "run"]);
    let (is_good, said) = host.verifies(&[]);
    assert!(is_good, "{said}");
    assert_eq!(whole(&host), 4);

    // A line that was changed in the middle, in the same breath as others came after it.
    let path = host.transcript(&id);
    host.has_done(&id, "third");
    let text = fs::read_to_string(&path).unwrap();
    let changed = text.replacen("second", "SECOND", 1);
    assert_eq!(changed.len(), text.len());
    fs::write(&path, changed).unwrap();
    host.until("it is not found", || {
        host.run(&["mirror", "run"]);
        let _ = host.verifies(&[]);
        host.run(&["mirror", "run"]);
        let shown = host.run(&["mirror", "show", &id, "--tail", "9"]);
        if shown.contains("SECOND") { Ok(()) } else { Err(shown) }
    });
    host.until("all is well again", || match host.verifies(&[]) {
        (true, _) => Ok(()),
        (false, said) => Err(said),
    });

    // Whose transcript is gone.
    fs::remove_file(&path).unwrap();
    fs::remove_file(parts(&bucket, &id).pop().unwrap()).unwrap();
    let (is_good, said) = host.verifies(&[]);
    assert!(!is_good && said.contains("its transcript is gone here"), "{said}");
    for call in ["verify", "compact"] {
        assert!(host.refuses(&["mirror", call, "nope"]).contains("no session"), "{call}");
    }
    let all: Vec<MirrorVerified> = {
        let done = host.rrd(&["mirror", "verify", "--json"]).output().unwrap();
        serde_json::from_slice(&done.stdout).unwrap()
    };
    assert_eq!(all.len(), 1);
}

#[test]
fn a_word_that_leads_nowhere_is_told_and_said_anew() {
    let mut host = Host::new("mac");
    let (bucket, id) = (host.path("bucket"), session(1));
    host.has_done(&id, "first");
    host.start();
    host.mirrors_to(&bucket);
    host.comes_to("it is there", |place| place.transcripts == 1);
    // As an older rrd wrote it that counted a record twice which two parts have a piece of.
    let owner = bucket.join("rrd/sessions/claude-code").join(&id).join("owner-0001.json");
    let mut said: Value = serde_json::from_slice(&fs::read(&owner).unwrap()).unwrap();
    said["order"] = json!([{"keep": [0, 1]}, {"keep": [2, 3]}]);
    fs::remove_file(&owner).unwrap();
    fs::write(&owner, said.to_string()).unwrap();
    let shown: Value = host.json(&["mirror", "show", &id]);
    assert_eq!(shown["records"], 2, "{shown:#}");
    assert!(shown["dropped"].to_string().contains("cannot be followed"), "{shown:#}");
    let (is_good, said) = host.verifies(&[]);
    assert!(!is_good && said.contains("owner-0001.json: ") && said.contains("hint: "), "{said}");
    host.run(&["mirror", "run"]);
    let (is_good, said) = host.verifies(&[]);
    assert!(is_good, "{said}");
    let shown: Value = host.json(&["mirror", "show", &id]);
    assert_eq!((shown["records"].as_u64(), &shown["dropped"]), (Some(2), &json!([])));
}

#[test]
fn who_asks_once_the_place_is_back_is_not_told_what_was() {
    let mut host = Host::new("mac");
    let (bucket, away, id) = (host.path("bucket"), host.path("away"), session(1));
    host.has_done(&id, "first");
    host.start();
    host.mirrors_to(&bucket);
    host.comes_to("it is there", |place| place.transcripts == 1);
    fs::rename(&bucket, &away).unwrap();
    host.has_done(&id, "second");
    host.comes_to("it fails", |place| place.failing.is_some());
    // Its harness deletes it, so nothing is left to bring.
    fs::remove_file(host.transcript(&id)).unwrap();
    for call in ["run", "compact"] {
        assert!(!host.rrd(&["mirror", call]).output().unwrap().status.success(), "{call}");
    }
    fs::rename(&away, &bucket).unwrap();
    host.run(&["mirror", "run"]);
    host.run(&["mirror", "compact"]);
    assert_eq!(host.place().failing, None);
    host.run(&["mirror", "disable"]);
    assert!(host.refuses(&["mirror", "verify"]).contains("nothing is mirrored"));
}

#[test]
fn one_session_that_a_folder_does_not_take_is_that_sessions_trouble() {
    let mut host = Host::new("mac");
    let bucket = host.path("bucket");
    let folder = bucket.join("rrd/sessions/claude-code");
    fs::create_dir_all(&folder).unwrap();
    // The first in any order, where a file lies; and one whose name is too long once it is written plainly.
    fs::write(folder.join(session(1)), "").unwrap();
    let long = format!("1{}", "ä".repeat(100));
    for id in [session(1), long.clone(), session(2), session(3)] {
        host.has_done(&id, "work");
    }
    host.start();
    host.mirrors_to(&bucket);
    let place = host.comes_to("all others are there", |place| place.transcripts == 2);
    assert_eq!(place.failing, None, "{place:#?}");
    let troubles: Vec<String> =
        place.troubles.iter().map(|one| format!("{}: {}", one.stream, one.error)).collect();
    assert_eq!(troubles.len(), 2, "{troubles:?}");
    let first = format!("sessions/claude-code/{}/", session(1));
    let named =
        |what: &str| troubles.iter().any(|one| one.starts_with(&first) && one.contains(what));
    assert!(named("(not a directory)") && named("move it away"), "{troubles:?}");
    assert!(troubles.iter().any(|one| one.contains("too long")), "{troubles:?}");
    host.until("coverage", || match (host.covered(&session(1)), host.covered(&session(2))) {
        (CoverageState::Failing, CoverageState::Mirrored) => Ok(()),
        other => Err(format!("{other:?}")),
    });
    // Nor does verify stop there: what else is wrong is found, and who cannot have a name is named.
    assert_eq!(parts(&bucket, &session(3)).len(), 1);
    fs::remove_file(&parts(&bucket, &session(3))[0]).unwrap();
    let (is_good, said) = host.verifies(&[]);
    assert!(!is_good && said.contains("is missing, with "), "{said}");
    assert!(said.contains("/cannot be read: ") && said.contains("too long"), "{said}");
    assert!(said.contains("of 4 transcripts") && said.contains("3 transcripts not as"), "{said}");
    host.comes_to("it is there again", |_| parts(&bucket, &session(3)).len() == 1);
    // Those that come later are brought, too, and it is when nothing lies in its way any more.
    host.has_done(&session(4), "more");
    host.comes_to("a later one", |place| place.transcripts == 3);
    fs::remove_file(folder.join(session(1))).unwrap();
    host.stop();
    host.start();
    host.comes_to("it, too", |place| place.transcripts == 4 && place.troubles.len() == 1);
}

#[test]
fn one_session_that_a_bucket_refuses_keeps_no_other_waiting() {
    let Some(moto) = moto::moto() else { return };
    moto.make_bucket("refused");
    let line = Proxy::to(moto.address);
    let bad = session(1);
    let refused = bad.clone();
    line.decide(move |asked| {
        let refusal =
            Mishap::Status { status: 403, code: "AccessDenied", after: None, delivered: false };
        (asked.target.contains(&refused)).then_some(refusal)
    });
    let mut host = Host::new("mac");
    host.set("AWS_ACCESS_KEY_ID", "test");
    host.set("AWS_SECRET_ACCESS_KEY", "test");
    for number in 1..9 {
        host.has_done(&session(number), "work");
    }
    host.start();
    let endpoint = format!("http://{}", line.address);
    let enable = ["mirror", "enable", "s3://refused/here", "--endpoint", &endpoint];
    host.run(&[&enable[..], &["--region", "us-east-1"]].concat());
    host.until("all others are there", || match host.place() {
        place if place.transcripts == 7 => Ok(()),
        place => Err(format!("{place:#?}")),
    });
    let place = host.comes_to("its own trouble", |place| place.failing.is_none());
    assert!(place.troubles.iter().any(|one| one.stream.contains(&bad)), "{place:#?}");
    // A bucket of that name at another provider is another one.
    let other = ["mirror", "enable", "s3://refused/here", "--endpoint", "http://127.0.0.1:1"];
    let said = host.refuses(&other);
    assert!(
        said.contains("already, at the endpoint http://") && said.contains("disable"),
        "{said}"
    );
    assert_eq!(host.place().transcripts, 7);
}

#[test]
fn of_several_places_the_newest_counts_and_one_that_is_gone_stops_nobody() {
    let mut host = Host::new("mac");
    let (older, newer, id) = (host.path("older"), host.path("newer"), session(1));
    host.has_done(&id, "first");
    host.start();
    host.mirrors_to(&older);
    host.mirrors_to(&newer);
    host.run(&["mirror", "disable", &format!("file://{}", older.display())]);
    host.has_done(&id, "second");
    host.run(&["mirror", "run"]);
    // That host is lost.
    host.kill();
    let mut new = Host::new("new");
    new.start();
    new.mirrors_to(&older);
    new.mirrors_to(&newer);
    let shows = || new.run(&["mirror", "show", &id, "--tail", "9"]);
    assert!(shows().contains("second"), "{}", shows());
    let cwd = new.path("work");
    fs::create_dir_all(&cwd).unwrap();
    let resume = [
        ["resume", &id, "--from", "bucket"].as_slice(),
        &["--take-over", "--cwd", cwd.to_str().unwrap()],
    ]
    .concat();
    let resumes = || {
        let answer: Value = new.json(&resume);
        let path = answer["files"][0]["path"].as_str().unwrap().to_owned();
        (fs::read_to_string(&path).unwrap(), path, answer["remarks"].to_string())
    };
    let (transcript, path, _) = resumes();
    assert!(transcript.contains("second"), "{transcript}");
    fs::remove_file(path).unwrap();
    // One of them cannot be reached: what the other one has is better than nothing, and that is said.
    fs::rename(&newer, new.path("away")).unwrap();
    let (transcript, _, remarks) = resumes();
    assert!(transcript.contains("first") && !transcript.contains("second"), "{transcript}");
    assert!(remarks.contains("may have more of it") && remarks.contains("newer"), "{remarks}");
    assert!(shows().contains("first"), "{}", shows());
    let listed = new.rrd(&["mirror", "list", "--from-bucket"]).output().unwrap();
    let said = String::from_utf8(listed.stderr).unwrap();
    assert!(!listed.status.success() && said.contains("newer"), "{said}");
    assert!(String::from_utf8(listed.stdout).unwrap().contains(&id[..8]));
}

#[test]
fn since_when_a_place_fails_outlives_a_start() {
    let mut host = Host::new("mac");
    let (bucket, id) = (host.path("bucket"), session(1));
    host.has_done(&id, "first");
    host.start();
    host.mirrors_to(&bucket);
    let away = host.path("away");
    fs::rename(&bucket, &away).unwrap();
    host.has_done(&id, "second");
    host.has_done(&session(2), "new");
    let fails = |host: &Host| host.comes_to("it fails", |place| place.failing.is_some());
    let since = fails(&host).failing.unwrap().since;
    let covered = |host: &Host| {
        host.until("both cannot be brought", || {
            let all: Vec<Session> = host.json(&["sessions", "list", "--all", "--local"]);
            let mut since: Vec<_> = all
                .iter()
                .filter(|row| row.coverage[0].state == CoverageState::Failing)
                .map(|row| (row.session_id.clone(), row.coverage[0].since))
                .collect();
            since.sort();
            if since.len() == 2 { Ok(since) } else { Err(format!("{since:?}")) }
        })
    };
    let before = covered(&host);
    for _ in 0..2 {
        host.kill();
        host.start();
        assert_eq!(fails(&host).failing.unwrap().since, since);
        assert_eq!(covered(&host), before);
    }
    // Once it works that is over.
    fs::rename(&away, &bucket).unwrap();
    host.comes_to("it works", |place| place.failing.is_none() && place.behind == 0);
    fs::rename(&bucket, &away).unwrap();
    host.has_done(&id, "third");
    assert!(fails(&host).failing.unwrap().since > since);
    // And a session that is forgotten leaves nothing behind there.
    is_told(&host, &id, CoverageState::Failing);
    host.run(&["sessions", "forget", &id, "-y"]);
    host.stop();
    let db = rusqlite::Connection::open(host.state("mirror.db")).unwrap();
    let count = |sql: &str| db.query_row(sql, [&id], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(count("SELECT count(*) FROM behind WHERE session_id = ?1"), 0);
}

/// Rows say so a moment after it is so.
fn is_told(host: &Host, id: &str, state: CoverageState) {
    host.until("its row says something else", || match host.covered(id) {
        told if told == state => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

#[test]
fn a_folder_is_one_place_however_it_is_called() {
    let mut host = Host::new("mac");
    let (bucket, id) = (host.path("x/g"), session(1));
    host.has_done(&id, "first");
    host.start();
    host.mirrors_to(&bucket);
    let before =
        fs::read_dir(bucket.join(format!("rrd/sessions/claude-code/{id}"))).unwrap().count();
    // Without a detour it is the same address.
    let detour = format!("file://{}/./x//g/", host.home.path().display());
    host.run(&["mirror", "enable", &detour]);
    host.run(&["mirror", "run"]);
    assert_eq!(host.json::<Vec<MirrorStatus>>(&["mirror", "status"]).len(), 1);
    // By a link it is refused, and says which one it is.
    let link = host.path("link");
    std::os::unix::fs::symlink(&bucket, &link).unwrap();
    let refused = host.refuses(&["mirror", "enable", &format!("file://{}", link.display())]);
    assert!(
        refused.contains("mirrored to already, as file://") && refused.contains("/x/g/rrd"),
        "{refused}"
    );
    let after =
        fs::read_dir(bucket.join(format!("rrd/sessions/claude-code/{id}"))).unwrap().count();
    assert_eq!(after, before);
    host.run(&["mirror", "disable", &detour]);
    assert_eq!(host.json::<Vec<MirrorStatus>>(&["mirror", "status"]), []);
}

#[test]
fn what_lies_on_the_disk_is_there_after_a_run() {
    let mut host = Host::new("mac");
    let bucket = host.path("bucket");
    host.start();
    host.run(&["mirror", "enable", &format!("file://{}", bucket.display())]);
    // Not even the harness's home was there: nothing tells the daemon of any of these.
    for number in 1..6 {
        let id = session(number);
        host.has_done(&id, "first");
        let status: Vec<MirrorStatus> = host.json(&["mirror", "run"]);
        assert_eq!(status[0].transcripts, number as u64, "{status:?}");
        host.has_done(&id, "second");
        host.run(&["mirror", "run"]);
        let last = fs::read_to_string(parts(&bucket, &id).pop().unwrap()).unwrap();
        assert!(last.contains("second"), "{last}");
        if number % 2 == 0 {
            fs::rename(host.path(".claude"), host.path("away")).unwrap();
            host.run(&["mirror", "run"]);
            fs::rename(host.path("away"), host.path(".claude")).unwrap();
        }
    }
}

#[test]
fn what_is_lost_for_good_stays_said() {
    let mut host = Host::new("mac");
    let (bucket, id) = (host.path("bucket"), session(1));
    host.has_done(&id, "first");
    host.start();
    host.mirrors_to(&bucket);
    // The harness writes it anew, without what was said first; the bucket has that from before.
    fs::remove_file(host.transcript(&id)).unwrap();
    host.has_done(&id, "second");
    host.until("two parts", || {
        host.run(&["mirror", "run"]);
        let count = parts(&bucket, &id).len();
        if count >= 2 { Ok(()) } else { Err(count.to_string()) }
    });
    assert!(host.verifies(&[]).0);
    fs::remove_file(&parts(&bucket, &id)[0]).unwrap();
    let (is_good, said) = host.verifies(&[]);
    assert!(!is_good && said.contains("is missing, with 2 records"), "{said}");
    for _ in 0..2 {
        host.run(&["mirror", "run"]);
        let (is_good, said) = host.verifies(&[]);
        assert!(!is_good && said.matches("2 records went from there").count() == 1, "{said}");
        host.stop();
        host.start();
    }
    // What its transcript still has is no loss, nor is it forgotten what is.
    fs::remove_file(parts(&bucket, &id).pop().unwrap()).unwrap();
    assert!(!host.verifies(&[]).0);
    host.run(&["mirror", "run"]);
    let (_, said) = host.verifies(&[]);
    assert!(said.contains("2 records went from there") && !said.contains("missing"), "{said}");
}
