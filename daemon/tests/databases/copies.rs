//! One session in two databases: a profile that was cloned, a home that was copied beside itself.

use rrd_proto::Issue;

use super::{openclaw::OpenClaw, *};

/// The session's row, once it is that of `path` with `prompts`, each answered, and names the other place.
fn row_of(daemon: &Daemon, path: &Path, other: &Path, prompts: u64) -> Session {
    let there = |s: &Session, kind: &str| s.issues.iter().find(|i| i.kind == kind).cloned();
    let session = until(daemon, IDS[0], |s| {
        s.transcript_path.as_deref() == path.to_str()
            && s.counts.is_some_and(|counts| [counts.prompts, counts.messages] == [prompts; 2])
            && there(s, Issue::COPIED).is_some()
    });
    let copied = there(&session, Issue::COPIED).unwrap();
    assert_eq!((copied.count, copied.detail.as_deref()), (1, other.to_str()));
    assert_eq!(session.issues.len(), 1, "{:?}", session.issues);
    session
}

#[test]
fn of_two_copies_the_one_that_goes_on_is_shown() {
    let mut scene = Scene::new("auto");
    scene.hermes.turn(IDS[0], false);
    scene.sync().unwrap();
    // Cloned while it is followed.
    let (main, mut clone) = (scene.hermes.path.clone(), scene.hermes.clone_into("profiles/clone"));
    until(scene.daemon(), IDS[0], |s| !s.issues.is_empty());
    row_of(scene.daemon(), &main, &clone.path, 1);
    clone.turn(IDS[0], false);
    row_of(scene.daemon(), &clone.path, &main, 2);
    // Two more in the first one, beside the one that is only in the clone.
    scene.hermes.clock(&clone);
    scene.hermes.turn(IDS[0], false);
    scene.hermes.turn(IDS[0], false);
    let followed = row_of(scene.daemon(), &main, &clone.path, 3);
    let count = |sessions: Vec<Session>| sessions.len();
    assert_eq!(count(scene.daemon().list(&all()).sessions), 2, "each once");

    // No event twice, and all that was ever seen.
    scene.daemon().flush();
    let reader = Reader::open(&scene.home.path().join("rrd/state")).unwrap();
    let events = reader.events(&key(IDS[0]), None, u32::MAX).unwrap();
    let numbers: Vec<u64> = events.iter().map(|event| event.seq).collect();
    assert_eq!(numbers, (0..events.len() as u64).collect::<Vec<_>>());
    let prompts = events.iter().filter(|event| event.kind == EventKind::Prompt);
    assert_eq!(prompts.count(), 4, "one of both, one of the clone, two of the first");

    // After a restart, and without a daemon, with the index or not, it is the same.
    scene.stop();
    let row = |config| {
        let sessions = Scan::new(&config, &mut |_| {}).list(&all()).sessions;
        sessions.into_iter().find(|s| s.session_id == IDS[0]).unwrap()
    };
    let looked = row(config(scene.home.path(), "auto"));
    assert_eq!(
        (looked.transcript_path, looked.counts, looked.issues),
        (followed.transcript_path.clone(), followed.counts, followed.issues.clone())
    );
    row_of(scene.daemon(), &main, &clone.path, 3);
    clone.clock(&scene.hermes);
    clone.turn(IDS[0], false);
    row_of(scene.daemon(), &clone.path, &main, 3);
    // Gone from the clone, the other one is what there is.
    clone.delete(IDS[0]);
    until(scene.daemon(), IDS[0], |s| {
        s.transcript_path.as_deref() == main.to_str() && s.issues.is_empty()
    });
}

#[test]
fn a_clone_that_went_on_is_shown_by_the_first_look() {
    let mut scene = Scene::new("auto");
    scene.hermes.turn(IDS[0], false);
    let main = scene.hermes.path.clone();
    let mut clone = scene.hermes.clone_into("profiles/clone");
    clone.turn(IDS[0], false);
    let looked = Scan::new(&config(scene.home.path(), "auto"), &mut |_| {}).list(&all()).sessions;
    let looked = looked.iter().find(|s| s.session_id == IDS[0]).unwrap();
    assert_eq!(looked.transcript_path.as_deref(), clone.path.to_str());
    row_of(scene.daemon(), &clone.path, &main, 2);
}

/// A profile of OpenClaw's is a root of its own, with a thread of its own that reads it.
#[test]
fn a_profile_that_was_copied_while_it_is_followed_is_one_session() {
    let mut claw = OpenClaw::new();
    let work = claw.home.path().join(".openclaw-work/agents/main/agent");
    std::fs::create_dir_all(&work).unwrap();
    let main = claw.home.path().join(".openclaw/agents/main/agent/openclaw-agent.sqlite");
    let copy = work.join("openclaw-agent.sqlite");
    claw.session("s-1", "agent:main:main");
    let mut second = 0;
    let mut say = |db: &rusqlite::Connection, role: &str| {
        second += 1;
        let event = openclaw::said(role, &format!("text {second}"));
        let event = event.replace("10:00:01.000Z", &format!("10:00:{:02}.000Z", second + 1));
        let sql = "INSERT INTO transcript_events (session_id, seq, event_json, created_at) \
                   SELECT 's-1', max(seq) + 1, ?1, ?2 FROM transcript_events";
        db.execute(sql, rusqlite::params![event, 1_795_168_800_000_i64 + second * 1000]).unwrap();
    };
    say(&claw.db, "user");
    let mut daemon = claw.daemon();
    until(&daemon, "s-1", |s| s.counts.is_some_and(|counts| counts.prompts == 1));
    claw.db.execute("VACUUM INTO ?1", [copy.to_str().unwrap()]).unwrap();

    let shows = |daemon: &Daemon, path: &Path, other: Option<&Path>, messages: u64| {
        let row = until(daemon, "s-1", |s| {
            let copied = s.issues.iter().find(|issue| issue.kind == Issue::COPIED);
            s.transcript_path.as_deref() == path.to_str()
                && s.counts.is_some_and(|counts| (counts.prompts, counts.messages) == (1, messages))
                && copied.and_then(|issue| issue.detail.as_deref())
                    == other.map(|other| other.to_str().unwrap())
        });
        let rows = daemon.list(&all()).sessions;
        assert_eq!(rows.iter().filter(|s| s.session_id == "s-1").count(), 1, "{rows:?}");
        row
    };
    shows(&daemon, &main, Some(&copy), 0);
    // The copy goes on, then the first one does, further.
    let other = rusqlite::Connection::open(&copy).unwrap();
    say(&other, "assistant");
    shows(&daemon, &copy, Some(&main), 1);
    say(&claw.db, "assistant");
    say(&claw.db, "assistant");
    shows(&daemon, &main, Some(&copy), 2);
    // Once the index says that all of it was taken, the next start does not even open it: nothing but the
    // end of the other one tells it that the session is its own again.
    let index = rusqlite::Connection::open(claw.home.path().join("rrd/state/index.db")).unwrap();
    let since = Instant::now();
    let is_taken = || {
        let sql = "SELECT count(*) FROM databases WHERE path = ?1";
        index.query_row(sql, [main.to_str()], |row| row.get::<_, i64>(0)).unwrap() == 1
    };
    while !is_taken() {
        assert!(since.elapsed() < NEVER, "it is never taken whole");
        std::thread::sleep(Duration::from_millis(5));
    }
    daemon.stop();
    daemon = claw.daemon();
    shows(&daemon, &main, Some(&copy), 2);
    // With its folder the copy is gone, and with it what is said of it.
    say(&other, "assistant");
    shows(&daemon, &copy, Some(&main), 2);
    drop(other);
    std::fs::remove_dir_all(claw.home.path().join(".openclaw-work/agents")).unwrap();
    shows(&daemon, &main, None, 2);
    daemon.stop();
}
