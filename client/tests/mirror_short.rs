//! What a place has not of a session, though it has all that could be brought: of several transcripts of one id, and
//! of what its harness deleted while the place was away. Real daemons, and folders.
#![cfg(unix)]
#![allow(clippy::unwrap_used)] // the lint's exception for tests does not reach plain functions here

#[path = "mirror_short/copied.rs"]
mod copied;
#[path = "mirror_short/home.rs"]
mod home;
#[path = "host/mod.rs"]
mod host;
#[path = "mirror_short/shared.rs"]
mod shared;
#[path = "mirror_short/upgraded.rs"]
mod upgraded;
#[path = "mirror_short/went.rs"]
mod went;

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use host::{Host, session};
use rrd_proto::{Coverage, CoverageState, MirrorStatus, Mirrored, Session};
use serde_json::Value;

const AGENT: &str = "a1b2c3d4e5f60718";

impl Host {
    fn mirrors(&self) {
        let place = format!("file://{}", self.path("bucket").display());
        self.run(&["mirror", "enable", &place]);
        let _ = self.rrd(&["mirror", "run"]).output().unwrap();
    }

    /// Where a delegate of the session is written.
    fn delegate(&self, id: &str, beneath: &str) -> PathBuf {
        let folder = self.transcript(id).with_extension("").join(beneath);
        fs::create_dir_all(&folder).unwrap();
        folder.join(format!("agent-{AGENT}.jsonl"))
    }

    /// How it is with a session, once that is so.
    fn covered(&self, id: &str, what: &str, is: impl Fn(&Coverage) -> bool) {
        self.until(what, || {
            let _ = self.rrd(&["mirror", "run"]).output().unwrap();
            let row: Session = self.json(&["sessions", "show", id]);
            match row.coverage.first() {
                Some(place) if is(place) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
    }

    /// What verify says, and whether all is as uploaded.
    fn verified(&self) -> (bool, String) {
        let said = self.rrd(&["mirror", "verify"]).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (said.status.success(), text(&said.stdout) + &text(&said.stderr))
    }

    /// Something else lies where the place was.
    fn loses_the_place(&self) {
        fs::rename(self.path("bucket"), self.path("away")).unwrap();
        fs::write(self.path("bucket"), "in the way").unwrap();
    }

    fn finds_the_place(&self) {
        fs::remove_file(self.path("bucket")).unwrap();
        fs::rename(self.path("away"), self.path("bucket")).unwrap();
    }
}

fn is_there(place: &Coverage) -> bool {
    (place.state, place.bytes_behind) == (CoverageState::Mirrored, Some(0))
}

fn says(path: &Path, id: &str, name: &str) {
    let record = serde_json::json!({"type": "user", "uuid": name, "parentUuid": null,
        "sessionId": id, "cwd": "/w", "isSidechain": true, "agentId": AGENT, "version": "2.1.300",
        "timestamp": "2026-11-20T10:00:00.000Z", "message": {"role": "user", "content": "look"}});
    let mut file = fs::File::options().append(true).create(true).open(path).unwrap();
    file.write_all(format!("{record}\n").as_bytes()).unwrap();
}

/// The names of the records of each session's delegate in the bucket, and whose they say they are.
fn there(host: &Host) -> BTreeMap<String, Vec<(String, String)>> {
    let sessions = host.path("bucket/rrd/sessions/claude-code");
    let mut all = BTreeMap::new();
    for folder in fs::read_dir(sessions).unwrap().map(|folder| folder.unwrap().path()) {
        let of = folder.file_name().unwrap().to_str().unwrap().to_owned();
        let Ok(parts) = fs::read_dir(folder.join(format!("subagents/agent-{AGENT}"))) else {
            continue;
        };
        let mut parts: Vec<PathBuf> = parts.map(|part| part.unwrap().path()).collect();
        parts.sort();
        parts.retain(|part| part.file_name().unwrap().to_str().unwrap().starts_with("part-"));
        let text: String = parts.iter().map(|part| fs::read_to_string(part).unwrap()).collect();
        let told = |line: &str| {
            let record: Value = serde_json::from_str(line).unwrap();
            let text = |name: &str| record[name].as_str().unwrap().to_owned();
            (text("uuid"), text("sessionId"))
        };
        all.insert(of, text.lines().map(told).collect());
    }
    all
}

/// That the delegates of these sessions are there, each with these records, and nothing else.
fn has(host: &Host, wanted: &[(&str, &[&str])]) {
    let own = |of: &str, names: &[&str]| {
        names.iter().map(|name| ((*name).to_owned(), of.to_owned())).collect::<Vec<_>>()
    };
    let wanted: BTreeMap<String, Vec<(String, String)>> =
        wanted.iter().map(|(of, names)| ((*of).to_owned(), own(of, names))).collect();
    host.until("each delegate beneath its own session", || {
        let _ = host.rrd(&["mirror", "run"]).output().unwrap();
        let there = there(host);
        if there == wanted { Ok(()) } else { Err(format!("{there:?}")) }
    });
}

#[test]
fn delegates_of_one_id_are_each_beneath_their_own_session() {
    let mut host = Host::new("mac");
    let [s, f] = [session(1), session(2)];
    host.says(&s, "Mend it");
    let [of_s, of_f] = [&s, &f].map(|id| host.delegate(id, "subagents"));
    says(&of_s, &s, "s1");
    host.start();
    host.mirrors();
    has(&host, &[(&s, &["s1"])]);
    // Somebody copies it under another id, and both go on, by turns.
    host.says(&f, "Mend it");
    says(&of_f, &f, "s1");
    has(&host, &[(&s, &["s1"]), (&f, &["s1"])]);
    says(&of_f, &f, "f2");
    has(&host, &[(&s, &["s1"]), (&f, &["s1", "f2"])]);
    says(&of_s, &s, "s2");
    has(&host, &[(&s, &["s1", "s2"]), (&f, &["s1", "f2"])]);
    host.kill();
    host.start();
    says(&of_f, &f, "f3");
    says(&of_s, &s, "s3");
    let all: [(&str, &[&str]); 2] = [(&s, &["s1", "s2", "s3"]), (&f, &["s1", "f2", "f3"])];
    has(&host, &all);
    host.covered(AGENT, "all of it to be told there", is_there);
    let list: Vec<Mirrored> = host.json(&["mirror", "list"]);
    let agents = list.iter().filter(|one| one.agent.is_some());
    let mut parents: Vec<(&str, &str)> =
        agents.map(|one| (&*one.session_id, one.parent_session_id.as_deref().unwrap())).collect();
    parents.sort_unstable();
    assert_eq!(parents, [(AGENT, &*s), (AGENT, &*f)]);
    assert!(host.verified().0, "{}", host.verified().1);
    // The session that was there first is deleted, delegate and all; the other one goes on.
    fs::remove_dir_all(host.transcript(&s).with_extension("")).unwrap();
    says(&of_f, &f, "f4");
    has(&host, &[(&s, &["s1", "s2", "s3"]), (&f, &["s1", "f2", "f3", "f4"])]);
    assert!(host.verified().0, "{}", host.verified().1);
}

#[test]
fn delegates_of_one_id_that_are_there_from_the_beginning_are_all_brought() {
    let mut host = Host::new("mac");
    let ids = [session(1), session(2), session(3)];
    for (at, id) in ids.iter().enumerate() {
        host.says(id, "Mend it");
        says(&host.delegate(id, "subagents"), id, &format!("{at}"));
    }
    host.start();
    host.mirrors();
    let [a, b, c] = &ids;
    has(&host, &[(a, &["0"]), (b, &["1"]), (c, &["2"])]);
    host.kill();
    host.start();
    says(&host.delegate(b, "subagents"), b, "3");
    has(&host, &[(a, &["0"]), (b, &["1", "3"]), (c, &["2"])]);
}

#[test]
fn of_two_transcripts_for_one_directory_one_is_told_as_only_here() {
    let mut host = Host::new("mac");
    let id = session(1);
    host.says(&id, "Mend it");
    says(&host.delegate(&id, "subagents"), &id, "one");
    host.start();
    host.mirrors();
    has(&host, &[(&id, &["one"])]);
    let other = host.delegate(&id, "subagents/workflows/wf1");
    says(&other, &id, "one");
    host.covered(&id, "a copy that has nothing else is no loss", |it| {
        is_there(it) && it.only_here == 0
    });
    says(&other, &id, "two");
    host.covered(&id, "what is not there to be counted", |it| is_there(it) && it.only_here == 1);
    host.covered(AGENT, "the same of the delegate", |it| it.only_here == 1);
    let why =
        format!("another transcript of it has records that are not there: {}", other.display());
    let (is_all, said) = host.verified();
    assert!(!is_all && said.contains(&why), "{said}");
    let status: Vec<MirrorStatus> = host.json(&["mirror", "status"]);
    assert!(status[0].troubles.iter().any(|trouble| trouble.error == why), "{status:?}");
    let shown = host.run(&["sessions", "show", &id]);
    assert!(shown.contains("but for 1 transcript that is only here"), "{shown}");
    has(&host, &[(&id, &["one"])]);
    fs::remove_file(&other).unwrap();
    host.covered(&id, "nothing else to be here", |it| is_there(it) && it.only_here == 0);
    assert!(host.verified().0);
}

#[test]
fn what_another_transcript_has_and_no_reader_is_shown_is_there_all_the_same() {
    let mut host = Host::new("mac");
    let id = session(1);
    host.says(&id, "Mend it");
    let (path, other) =
        (host.delegate(&id, "subagents"), host.delegate(&id, "subagents/workflows/wf1"));
    ["one", "two"].into_iter().for_each(|name| says(&path, &id, name));
    let token = "ghp_16C7e42F292c6912E7710c838347Ae178B4a";
    let both = fs::read_to_string(&path).unwrap().replace("look", &format!("look {token}"));
    let one = both.lines().next().unwrap().to_owned() + "\n";
    fs::write(&path, &both).unwrap();
    host.start();
    host.mirrors();
    has(&host, &[(&id, &["one", "two"])]);
    // It was taken out, and who reads what is there finds it as it went out.
    fs::write(&path, &one).unwrap();
    host.until("readers to be shown what it is", || {
        host.run(&["mirror", "run"]);
        let owner =
            format!("bucket/rrd/sessions/claude-code/{id}/subagents/agent-{AGENT}/owner-0002.json");
        if host.path(&owner).exists() { Ok(()) } else { Err(owner) }
    });
    host.stop();
    fs::remove_file(host.path("rrd/state/mirror.db")).unwrap();
    host.start();
    host.mirrors();
    host.covered(AGENT, "it to be found there", is_there);
    fs::write(&other, &both).unwrap();
    let is_compared = || {
        host.run(&["mirror", "run"]);
        let db = rusqlite::Connection::open(host.path("rrd/state/mirror.db")).unwrap();
        let sql = "SELECT count(*) FROM streams WHERE state ->> '$.beside[0].path' = ?1";
        let count: i64 = db.query_row(sql, [other.to_str()], |row| row.get(0)).unwrap();
        if count == 1 { Ok(()) } else { Err("not yet".to_owned()) }
    };
    host.until("the other one to be compared", is_compared);
    host.covered(AGENT, "nothing to be only here", |it| is_there(it) && it.only_here == 0);
    assert!(host.verified().0, "{}", host.verified().1);
}

#[test]
fn a_session_that_went_on_apart_in_two_homes_is_told() {
    let mut host = Host::new("mac");
    let id = session(1);
    host.says(&id, "Mend it");
    host.start();
    host.mirrors();
    host.covered(&id, "it to be there", is_there);
    let other = host.path(&format!(".config/claude/projects/-w/{id}.jsonl"));
    fs::create_dir_all(other.parent().unwrap()).unwrap();
    fs::copy(host.transcript(&id), &other).unwrap();
    says(&other, &id, "there");
    host.says(&id, "And that");
    host.covered(&id, "the other one to be counted", |it| is_there(it) && it.only_here == 1);
    assert!(host.verified().1.contains(".config/claude/projects"));
}

#[test]
fn what_was_deleted_before_a_place_had_it_is_known_after_a_restart() {
    for is_killed in [false, true] {
        let mut host = Host::new("mac");
        let [old, new] = [session(1), session(2)];
        host.says(&old, "Mend it");
        host.start();
        host.mirrors();
        host.covered(&old, "it to be there", is_there);
        host.loses_the_place();
        let size = |id: &str| fs::metadata(host.transcript(id)).unwrap().len();
        let before = size(&old);
        host.says(&old, "And that");
        host.says(&new, "And this");
        let gone = [size(&old) - before, size(&new)];
        let lacks = |host: &Host, what: &str| {
            for (id, bytes) in [&old, &new].into_iter().zip(gone) {
                host.covered(id, what, |it| it.bytes_behind == Some(bytes) && !is_there(it));
            }
        };
        lacks(&host, "both to be behind");
        for id in [&old, &new] {
            fs::remove_file(host.transcript(id)).unwrap();
        }
        lacks(&host, "what went to be missing");
        let all: Vec<MirrorStatus> = host.json(&["mirror", "status"]);
        assert_eq!((all[0].behind, all[0].bytes_behind), (2, gone[0] + gone[1]), "{all:?}");
        let list: Vec<Mirrored> = host.json(&["mirror", "list"]);
        let listed: Option<u64> = list.iter().map(|one| one.bytes_behind).sum();
        assert_eq!(listed, Some(gone[0] + gone[1]), "{list:?}");
        host.until("the deletions to be noted down", || {
            let row: Session = host.json(&["sessions", "show", &new]);
            if row.issues.is_empty() { Err(format!("{row:?}")) } else { Ok(()) }
        });
        if is_killed {
            host.kill()
        } else {
            host.stop()
        }
        host.start();
        lacks(&host, "it still to be missing");
        host.finds_the_place();
        lacks(&host, "it to be missing for good");
        let (is_all, said) = host.verified();
        assert!(!is_all, "{said}");
        for bytes in gone {
            assert!(said.contains(&format!("{bytes} bytes of its transcript went with")), "{said}");
        }
    }
}

const TABLES: &str = "
    CREATE TABLE schema_version (version INTEGER); INSERT INTO schema_version VALUES (22);
    CREATE TABLE sessions (id TEXT PRIMARY KEY, source TEXT, started_at REAL, parent_session_id TEXT);
    INSERT INTO sessions (id, source, started_at) VALUES ('s-1', 'cli', 1790000000.0), ('s-2', 'cli', 1790000000.0);
    CREATE TABLE messages (id INTEGER PRIMARY KEY, session_id TEXT, role TEXT, content TEXT,
        tool_call_id TEXT, tool_calls TEXT, tool_name TEXT, timestamp REAL, finish_reason TEXT,
        active INTEGER DEFAULT 1, compacted INTEGER DEFAULT 0);";

#[test]
fn rows_that_were_deleted_before_a_place_had_them_are_told_of_their_session() {
    for is_all_gone in [false, true] {
        let mut host = Host::new("mac");
        fs::create_dir_all(host.path(".hermes")).unwrap();
        let path = host.path(".hermes/state.db");
        let db = rusqlite::Connection::open(&path).unwrap();
        db.execute_batch(TABLES).unwrap();
        let say = |session: &str| {
            let sql = "INSERT INTO messages (session_id, role, content, timestamp) \
                       VALUES (?1, 'user', 'go on', 1790000000.0)";
            db.execute(sql, [session]).unwrap();
        };
        ["s-1", "s-2"].into_iter().for_each(say);
        host.start();
        host.looks_up("s-1");
        host.mirrors();
        for id in ["s-1", "s-2"] {
            host.covered(id, "it to be there", is_there);
        }
        host.loses_the_place();
        (0..5).for_each(|_| say("s-1"));
        let is_short = |it: &Coverage| {
            it.state == CoverageState::Failing && it.bytes_behind.is_some_and(|bytes| bytes > 5)
        };
        host.covered("s-1", "what is new to be known", is_short);
        host.covered("s-2", "nothing to be missing of the other one", is_there);
        match is_all_gone {
            true => fs::remove_file(&path).unwrap(),
            false => {
                db.execute("DELETE FROM messages WHERE id > 4", []).unwrap();
            }
        }
        host.finds_the_place();
        let is_told = |it: &Coverage| {
            !is_there(it) && it.bytes_behind.is_some_and(|bytes| (5..2_000).contains(&bytes))
        };
        host.covered("s-1", "what went to be known", is_told);
        host.covered("s-2", "all of the other one to be there", is_there);
        let (is_all, said) = host.verified();
        assert!(!is_all && said.contains("bytes of its transcript went with"), "{said}");
        assert_eq!(said.matches("went with").count(), 1, "{said}");
        host.stop();
        host.start();
        host.covered("s-1", "it to be known after a start", is_told);
        host.covered("s-2", "the other one still to be there", is_there);
    }
}
