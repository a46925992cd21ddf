//! A session that another host took out of a bucket and went on with comes home, where no fleet tells of that.
//!
//! Also to a member of the fleet that it left. Not here: what else comes from members, and buckets of hosts that are
//! away (`resume`).
#![cfg(unix)]
#![allow(clippy::unwrap_used)] // the lint's exception for tests does not reach plain functions here

mod host;

#[path = "resume_home/forks.rs"]
mod forks;

use std::{
    fs,
    path::{Path, PathBuf},
};

use host::{
    Host,
    past::{self, append, secret},
    session,
};
use rrd_proto::{CoverageState, Session};
use serde_json::{Value, json};

const THREAD: &str = "01a1f87f-d0a7-7e91-aca5-d3b222634540";

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

/// A turn that is done, some days ago.
fn turn(id: &str, number: usize, says: &str) -> String {
    past::turn(id, Path::new("/w"), number, says)
}

impl Host {
    /// One that is in no fleet, with a directory to work in.
    fn alone(name: &str) -> (Self, PathBuf) {
        let host = Self::new(name);
        let directory = host.path("w");
        fs::create_dir(&directory).unwrap();
        let directory = directory.canonicalize().unwrap();
        (host, directory)
    }

    fn mirrors_to(&mut self, url: &str) {
        self.start();
        self.run(&["mirror", "enable", url, "--yes"]);
        self.run(&["mirror", "run"]);
    }

    /// Where it takes it over, it goes on with it, and mirrors that.
    fn takes_over(&self, id: &str, directory: &Path, says: &str) -> PathBuf {
        let cwd = directory.to_str().unwrap();
        let answer: Value =
            self.json(&["resume", id, "--from", "bucket", "--take-over", "--cwd", cwd]);
        let path = PathBuf::from(answer["files"][0]["path"].as_str().unwrap());
        append(&path, says);
        self.brings(id, &path);
        path
    }

    /// Once it has looked at the whole transcript, and brought that.
    fn brings(&self, id: &str, path: &Path) {
        self.until("it to be there", || {
            self.run(&["mirror", "run"]);
            let row: Session = self.json(&["sessions", "show", id]);
            match row.coverage.first() {
                Some(one) if one.state == CoverageState::Mirrored => {}
                other => return Err(format!("{other:?}")),
            }
            let there = self.run(&["mirror", "show", id, "--tail", "1"]);
            let last = read(path).lines().last().unwrap_or_default().to_owned();
            if there.contains(&last) { Ok(()) } else { Err(there) }
        });
    }
}

/// Two hosts at which a directory has one name: nothing tells their transcripts from one that both find.
#[test]
fn what_is_resumed_where_its_directory_is_called_the_same_is_brought_at_once() {
    let id = session(1);
    let (mut a, shared) = Host::alone("alpha");
    let (mut b, _) = Host::alone("beta");
    let url = format!("file://{}", a.path("bucket").display());
    append(&a.lies(&id, &shared), &past::turn(&id, &shared, 1, "Mend it"));
    a.mirrors_to(&url);
    b.mirrors_to(&url);
    let cwd = shared.to_str().unwrap();
    b.run(&["resume", &id, "--from", "bucket", "--take-over", "--cwd", cwd]);
    append(&b.lies(&id, &shared), &past::turn(&id, &shared, 2, "And test it"));
    b.looks_up(&id);
    // Else it is left to the first one for a minute, which is told as `elsewhere`.
    let is_brought = b.until("it to be there, or left to the other one", || {
        let row: Session = b.json(&["sessions", "show", &id]);
        let states: Vec<CoverageState> = row.coverage.iter().map(|one| one.state).collect();
        let is_there = b.run(&["mirror", "show", &id, "--tail", "9"]).contains("And test it");
        match is_there || states == [CoverageState::Elsewhere] {
            true => Ok(is_there),
            false => Err(format!("{states:?}")),
        }
    });
    assert!(is_brought);
}

#[test]
fn what_another_host_went_on_with_is_brought_home() {
    let id = session(1);
    let (mut a, of_a) = Host::alone("alpha");
    let (mut b, of_b) = Host::alone("beta");
    let (mut c, of_c) = Host::alone("gamma");
    let url = format!("file://{}", a.path("bucket").display());
    let own = turn(&id, 1, &format!("Use {}", secret())) + &turn(&id, 2, "And the tag");
    append(&a.transcript(&id), &own);
    a.mirrors_to(&url);
    let goes_on = &format!("claude --resume {}\n", a.transcript(&id).display());
    let at_a = ["resume", &*id, "--cwd", of_a.to_str().unwrap()];
    let with = |flags: &[&'static str]| -> Vec<&str> {
        at_a.iter().copied().chain(flags.iter().copied()).collect()
    };
    // Nobody else has it.
    let (_, said) = a.told(&at_a);
    assert!(!said.contains("went on"), "{said}");
    let (line, said) = a.told(&with(&["--from", "bucket"]));
    assert!(said.contains("nothing newer is there") && line.ends_with(goes_on), "{said}");

    b.mirrors_to(&url);
    // Nothing is newer there, and yet it may be open there.
    let at_b = b.takes_over(&id, &of_b, "");
    let (line, said) = a.told(&at_a);
    assert!(said.contains("beta took it over"), "{said}");
    assert!(line.ends_with(goes_on), "{line}");
    let third = turn(&id, 3, "And a note");
    append(&at_b, &third);
    b.brings(&id, &at_b);
    for flags in [&[][..], &["--from", "bucket"]] {
        let said = a.refuses(&with(flags));
        assert!(said.contains("beta went on with it") && said.contains(&url), "{said}");
        assert!(
            said.contains("2 records that are not here") && said.contains("--take-over"),
            "{said}"
        );
    }
    assert_eq!(read(&a.transcript(&id)), own);
    // Another one with the past of either.
    let (line, said) = a.told(&with(&["--fork"]));
    assert!(line.ends_with("--fork-session\n") && said.contains("that is left out"), "{said}");
    let fork: Value = a.json(&with(&["--fork", "--from", "bucket"]));
    let new = fork["resumed_as"].as_str().unwrap();
    assert!(new != id && fork["files"][0]["became"] == json!("new"), "{fork}");
    assert!(read(Path::new(fork["files"][0]["path"].as_str().unwrap())).contains("And a note"));

    // A third one takes it from there, and what both did comes home.
    c.mirrors_to(&url);
    let fourth = turn(&id, 4, "And a letter");
    c.takes_over(&id, &of_c, &fourth);
    let said = a.refuses(&at_a);
    assert!(said.contains("gamma went on with it") && said.contains("4 records"), "{said}");
    let (_, said) = a.told(&with(&["--take-over"]));
    assert!(said.contains("stays as it was") && said.contains("gamma went on"), "{said}");
    assert_eq!(read(&a.transcript(&id)), own + &third + &fourth);
    let (_, said) = a.told(&at_a);
    assert!(!said.contains("went on"), "{said}");
    let (_, said) = a.told(&with(&["--from", "bucket", "--take-over"]));
    assert!(said.contains("nothing newer"), "{said}");

    // From then on it is this host's again, there as well.
    append(&a.transcript(&id), &turn(&id, 5, "Send it"));
    a.brings(&id, &a.transcript(&id));
    let list = c.run(&["mirror", "list", "--from-bucket"]);
    let row = list.lines().find(|line| line.starts_with(&id[..8])).unwrap_or_default();
    assert!(row.contains("alpha"), "{list}");
    let said = c.refuses(&["resume", &id]);
    assert!(said.contains("alpha went on with it") && said.contains("2 records"), "{said}");
}

#[test]
fn what_a_stranger_went_on_with_no_member_resumes_in_silence() {
    let (id, second, taken) = (session(1), session(2), session(3));
    let (mut a, _) = Host::alone("alpha");
    let (mut b, of_b) = Host::alone("beta");
    let (mut d, of_d) = Host::alone("delta");
    let bucket = a.path("bucket");
    let url = format!("file://{}", bucket.display());
    let own = turn(&id, 1, &format!("Use {}", secret()));
    append(&a.transcript(&id), &own);
    append(&a.transcript(&second), &turn(&second, 1, "Write it"));
    append(&a.transcript(&taken), &turn(&taken, 1, "Read it"));
    a.mirrors_to(&url);
    a = a.founds();
    b.mirrors_to(&url);
    b = a.takes_in(b);
    b.looks_up(&id);
    let cwd = of_b.to_str().unwrap();
    let at_b = ["resume", &*id, "--cwd", cwd];
    let with = |flags: &[&'static str]| -> Vec<&str> {
        at_b.iter().copied().chain(flags.iter().copied()).collect()
    };
    // Whoever gives it is not another host that went on with it, and took over nothing.
    let (_, said) = b.told(&["resume", &second, "--cwd", cwd]);
    assert!(!said.contains(&url) && !said.contains("delta"), "{said}");
    b.looks_up(&format!("beta/claude-code/{second}"));
    let (_, said) = b.told(&["resume", &format!("beta/claude-code/{second}")]);
    assert!(!said.contains("took it over"), "{said}");

    d.mirrors_to(&url);
    // Nothing newer is there, and yet it may be open there.
    d.takes_over(&taken, &of_d, "");
    let (_, said) = b.told(&["resume", &taken, "--fork", "--cwd", cwd]);
    assert!(said.contains("delta took it over") && !said.contains("left out"), "{said}");
    let (_, said) = b.told(&["resume", &taken, "--cwd", cwd]);
    assert!(said.contains("delta took it over") && said.contains("wrote "), "{said}");
    let (path, more) = (b.lies(&id, &of_b), turn(&id, 2, "And a note"));
    d.takes_over(&id, &of_d, &more);
    for flags in [&[][..], &["--from", "peer"]] {
        let said = b.refuses(&with(flags));
        assert!(said.contains(&format!("delta went on with it: {url}")), "{said}");
        assert!(said.contains("2 records that are not on alpha"), "{said}");
        assert!(said.contains("--take-over") && !path.exists(), "{said}");
    }
    let left = fs::read_dir(b.path(".claude/projects")).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().contains(".rrd")), "{left:?}");
    let fork: Value = b.json(&with(&["--fork"]));
    let copy = read(Path::new(fork["files"][0]["path"].as_str().unwrap()));
    assert!(!copy.contains("And a note"), "{copy}");
    let remarks = fork["remarks"].to_string();
    assert!(remarks.contains("what is on alpha goes on"), "{fork}");
    assert!(remarks.contains("2 records that are not on alpha"), "{fork}");
    let (_, said) = b.told(&with(&["--take-over"]));
    assert!(said.contains("delta went on with it") && said.contains("redacted only"), "{said}");
    let copy = own.replace(&secret(), "[REDACTED:github-token]");
    assert_eq!(read(&path), copy + &more);

    // A place that cannot be asked keeps nobody from what a member has.
    fs::remove_file(&path).unwrap();
    fs::rename(&bucket, a.path("elsewhere")).unwrap();
    fs::write(&bucket, "no folder").unwrap();
    let (_, said) = b.told(&["resume", &format!("alpha/claude-code/{id}"), "--cwd", cwd]);
    assert!(said.contains("whether another host went on with it is not known"), "{said}");
    assert_eq!(read(&path), own);
}

#[test]
fn where_two_hosts_went_on_apart_neither_overwrites_the_other() {
    let id = session(1);
    let (mut a, of_a) = Host::alone("alpha");
    let (mut b, of_b) = Host::alone("beta");
    let bucket = a.path("bucket");
    let url = format!("file://{}", bucket.display());
    append(&a.transcript(&id), &turn(&id, 1, "Mend it"));
    a.mirrors_to(&url);
    b.mirrors_to(&url);
    b.takes_over(&id, &of_b, &turn(&id, 2, "There"));
    append(&a.transcript(&id), &turn(&id, 3, "Here"));
    let here = read(&a.transcript(&id));
    let goes_on = &format!("claude --resume {}\n", a.transcript(&id).display());
    let at_a = ["resume", &*id, "--cwd", of_a.to_str().unwrap()];
    let with = |flags: &[&'static str]| -> Vec<&str> {
        at_a.iter().copied().chain(flags.iter().copied()).collect()
    };
    a.until("both turns to be known", || {
        let row: Session = a.json(&["sessions", "show", &id]);
        if row.counts.as_ref().is_some_and(|counts| counts.prompts == 2) {
            Ok(())
        } else {
            Err(format!("{:?}", row.counts))
        }
    });
    for flags in [&[][..], &["--from", "bucket"], &["--from", "bucket", "--take-over"]] {
        let said = a.refuses(&with(flags));
        assert!(said.contains("they went apart") && said.contains("--fork"), "{flags:?}: {said}");
    }
    let (line, said) = a.told(&with(&["--take-over"]));
    assert!(line.ends_with(goes_on) && said.contains("went apart"), "{said}");
    let fork: Value = a.json(&with(&["--fork", "--from", "bucket"]));
    let copy = read(Path::new(fork["files"][0]["path"].as_str().unwrap()));
    assert!(copy.contains("There") && !copy.contains("Here"), "{copy}");
    assert_eq!(read(&a.transcript(&id)), here);

    a.until("it to be known that it was taken over", || {
        let status = a.run(&["mirror", "run"]);
        if status.contains("which mirrors it") { Ok(()) } else { Err(status) }
    });
    // A place that cannot be asked keeps nobody from what is here.
    fs::rename(&bucket, a.path("elsewhere")).unwrap();
    fs::write(&bucket, "no folder").unwrap();
    let (line, said) = a.told(&at_a);
    assert!(line.ends_with(goes_on), "{line}");
    assert!(said.contains("whether another host went on with it is not known"), "{said}");
    assert!(said.contains(&url) && said.contains("asked last beta went on with it"), "{said}");
    let said = a.refuses(&with(&["--from", "bucket"]));
    assert!(said.contains(&url) && said.contains("leave --from out"), "{said}");
}

/// A place that took something later does not have more of it.
#[test]
fn the_place_that_is_ahead_is_the_one_it_comes_from() {
    let id = session(1);
    let (mut a, of_a) = Host::alone("alpha");
    let (mut b, of_b) = Host::alone("beta");
    let (mut c, of_c) = Host::alone("gamma");
    let url = |place: &str| format!("file://{}", a.path(place).display());
    let (first, second) = (url("first"), url("second"));
    let (own, new) = (turn(&id, 1, "Mend it"), turn(&id, 2, "And test it"));
    append(&a.transcript(&id), &own);
    a.mirrors_to(&first);
    b.mirrors_to(&first);
    b.takes_over(&id, &of_b, &new);
    a.run(&["mirror", "enable", &second, "--yes"]);
    a.run(&["mirror", "run"]);
    // A third one knows both; what is old came later.
    c.mirrors_to(&first);
    c.run(&["mirror", "enable", &second, "--yes"]);
    assert!(c.run(&["mirror", "show", &id, "--tail", "1"]).contains("\"a2\""));
    let cwd = of_c.to_str().unwrap();
    let fork = ["resume", &id, "--from", "bucket", "--fork", "--cwd", cwd];
    let fork: Value = c.json(&fork);
    assert!(read(Path::new(fork["files"][0]["path"].as_str().unwrap())).contains("And test it"));

    let at_a = ["resume", &*id, "--cwd", of_a.to_str().unwrap()];
    let said = a.refuses(&at_a);
    assert!(said.contains(&first) && said.contains("2 records that are not here"), "{said}");
    let fork: Value = a.json(&[&at_a[..], &["--fork", "--from", "bucket"]].concat());
    assert!(read(Path::new(fork["files"][0]["path"].as_str().unwrap())).contains("And test it"));
    let (_, said) = a.told(&[&at_a[..], &["--take-over"]].concat());
    assert!(said.contains(&first) && !said.contains(&second), "{said}");
    assert_eq!(read(&a.transcript(&id)), own + &new);
}

#[test]
fn each_of_several_hosts_that_went_on_with_it_is_told() {
    let id = session(1);
    let (mut a, of_a) = Host::alone("alpha");
    let (mut b, of_b) = Host::alone("beta");
    let (mut c, of_c) = Host::alone("gamma");
    let url = |place: &str| format!("file://{}", a.path(place).display());
    let (first, second) = (url("first"), url("second"));
    append(&a.transcript(&id), &turn(&id, 1, "Mend it"));
    a.mirrors_to(&first);
    a.run(&["mirror", "enable", &second, "--yes"]);
    a.run(&["mirror", "run"]);
    b.mirrors_to(&first);
    c.mirrors_to(&second);
    b.takes_over(&id, &of_b, &(turn(&id, 2, "There") + &turn(&id, 3, "And on")));
    c.takes_over(&id, &of_c, &turn(&id, 4, "Elsewhere"));
    let at_a = ["resume", &*id, "--cwd", of_a.to_str().unwrap()];
    let refused = a.refuses(&at_a);
    let (_, taken) = a.told(&[&at_a[..], &["--take-over"]].concat());
    for said in [&refused, &taken] {
        assert!(said.contains(&format!("beta went on with it: {first}")), "{said}");
        assert!(said.contains(&format!("gamma went on with it: {second}")), "{said}");
    }
    assert!(refused.contains("error: beta"), "{refused}");
    let here = read(&a.transcript(&id));
    assert!(here.contains("And on") && !here.contains("Elsewhere"), "{here}");
}

#[test]
fn what_broke_off_within_a_record_is_not_gone_on_with() {
    let id = session(1);
    let (mut a, of_a) = Host::alone("alpha");
    let (mut b, of_b) = Host::alone("beta");
    let url = format!("file://{}", a.path("bucket").display());
    append(&a.transcript(&id), &turn(&id, 1, "Mend it"));
    a.mirrors_to(&url);
    b.mirrors_to(&url);
    b.takes_over(&id, &of_b, &turn(&id, 2, "There"));
    append(&a.transcript(&id), "{\"torn");
    let here = read(&a.transcript(&id));
    let at_a = ["resume", &*id, "--cwd", of_a.to_str().unwrap()];
    let said = a.refuses(&[&at_a[..], &["--take-over"]].concat());
    assert!(
        said.contains("says something else") && said.contains("--from bucket --fork"),
        "{said}"
    );
    let said = a.refuses(&[&at_a[..], &["--from", "bucket", "--take-over"]].concat());
    assert!(said.contains("--from bucket --fork takes the copy"), "{said}");
    assert_eq!(read(&a.transcript(&id)), here);
    a.run(&[&at_a[..], &["--from", "bucket", "--fork"]].concat());
}

#[test]
fn what_is_at_work_here_stays_what_it_is() {
    let id = session(1);
    let (mut a, of_a) = Host::alone("alpha");
    let (mut b, of_b) = Host::alone("beta");
    let url = format!("file://{}", a.path("bucket").display());
    append(&a.transcript(&id), &turn(&id, 1, "Mend it"));
    a.mirrors_to(&url);
    b.mirrors_to(&url);
    b.takes_over(&id, &of_b, &turn(&id, 2, "There"));
    a.says(&id, "Go on");
    a.until("it to be at work", || {
        let row: Session = a.json(&["sessions", "show", &id]);
        if row.status == rrd_proto::Status::Executing {
            Ok(())
        } else {
            Err(row.status.to_string())
        }
    });
    let here = read(&a.transcript(&id));
    let at_a = ["resume", &*id, "--cwd", of_a.to_str().unwrap()];
    for flags in [&[][..], &["--take-over"], &["--from", "bucket", "--take-over"]] {
        let said = a.refuses(&[&at_a[..], flags].concat());
        assert!(said.contains("executing on alpha"), "{flags:?}: {said}");
    }
    assert_eq!(read(&a.transcript(&id)), here);
}

#[test]
fn a_thread_of_codex_comes_home_likewise() {
    let at = "2026-11-20T10:28:08.000Z";
    let of = |kind: &str, payload: Value| {
        format!("{}\n", json!({"timestamp": at, "type": kind, "payload": payload}))
    };
    let turn = |id: &str, says: &str| {
        [
            of("event_msg", json!({"type": "task_started", "turn_id": id})),
            of("event_msg", json!({"type": "user_message", "message": says})),
            of("event_msg", json!({"type": "task_complete", "turn_id": id, "thread_id": THREAD})),
        ]
        .concat()
    };
    let meta = of(
        "session_meta",
        json!({"id": THREAD, "session_id": THREAD, "timestamp": at, "cwd": "/w",
            "originator": "codex_exec", "cli_version": "0.169.0", "source": "cli"}),
    );
    let (mut a, of_a) = Host::alone("alpha");
    let (mut b, of_b) = Host::alone("beta");
    let url = format!("file://{}", a.path("bucket").display());
    let rollout =
        a.path(&format!(".codex/sessions/2026/11/20/rollout-2026-11-20T10-28-08-{THREAD}.jsonl"));
    let own = meta + &turn("t1", &format!("Use {}", secret()));
    append(&rollout, &own);
    a.mirrors_to(&url);
    b.mirrors_to(&url);
    let more = turn("t2", "And on");
    b.takes_over(THREAD, &of_b, &more);
    let at_a = ["resume", THREAD, "--cwd", of_a.to_str().unwrap()];
    let said = a.refuses(&at_a);
    assert!(said.contains("beta went on with it") && said.contains("3 records"), "{said}");
    let fork: Value = a.json(&[&at_a[..], &["--fork", "--from", "bucket"]].concat());
    assert!(read(Path::new(fork["files"][0]["path"].as_str().unwrap())).contains("And on"));
    a.run(&[&at_a[..], &["--from", "bucket", "--take-over"]].concat());
    assert_eq!(read(&rollout), own + &more);
}
