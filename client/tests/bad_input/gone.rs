//! What a session was read from is not there any more: deleted, moved, replaced, or only out of sight.

use rrd_proto::{EndReason, Issue, Status};
use rusqlite::Connection;

use super::{
    processes::{Agent, register},
    *,
};

/// In the middle of a turn.
fn at_work(host: &Host, id: &str) {
    let mut talk = Talk::new(id);
    let call = talk.calls("toolu_1", "Bash", json!({"command": "make"}));
    host.write(id, &[talk.prompt("Build it"), call]);
}

fn is_gone(row: &Session) -> bool {
    (row.status, row.end_reason, row.active) == (Status::Ended, Some(EndReason::Unknown), false)
        && issue(row, Issue::SOURCE_GONE) == 1
}

fn works_on(row: &Session) -> bool {
    row.status == Status::Executing && row.active && row.issues.is_empty()
}

#[test]
fn a_deleted_transcript_ends_its_session() {
    let host = Host::new();
    at_work(&host, ID);
    let path = host.transcript(ID);
    let daemon = host.daemon();
    host.follows("at work", ID, works_on);
    assert!(host.run(&["sessions", "show", ID]).contains("less "));
    let bytes = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    host.follows("deleted", ID, is_gone);
    let shown = host.run(&["sessions", "show", ID, "--events"]);
    assert!(!shown.contains("less ") && shown.contains("source gone: "), "{shown}");
    assert!(shown.contains("its transcript was deleted"), "{shown}");
    assert!(shown.contains("Build it"), "the history stays: {shown}");
    daemon.stop();
    assert!(is_gone(&host.looked()[0]), "without a daemon, too");
    let _daemon = host.daemon();
    host.follows("after a restart", ID, is_gone);
    fs::write(&path, bytes).unwrap();
    let row = host.follows("put back", ID, works_on);
    assert_eq!((counts(&row).0, counts(&row).2), (1, 1), "each once: {row:#?}");
}

#[test]
fn what_is_moved_or_replaced_is_not_deleted() {
    let host = Host::new();
    at_work(&host, ID);
    at_work(&host, "7f2c1111-0000-4000-8000-000000000002");
    let path = host.transcript(ID);
    let _daemon = host.daemon();
    host.follows("at work", ID, works_on);
    // A whole folder goes elsewhere, and a file is written anew beside itself.
    fs::rename(path.parent().unwrap(), host.path(".claude/projects/-renamed")).unwrap();
    let path = host.path(&format!(".claude/projects/-renamed/{ID}.jsonl"));
    host.follows("moved", ID, |row| shown_path(row) == path.to_str().unwrap());
    let beside = path.with_extension("tmp");
    fs::copy(&path, &beside).unwrap();
    append(&beside, jsonl(&[Talk::new(ID).prompt("More")]));
    fs::rename(&beside, &path).unwrap();
    host.follows("replaced", ID, |row| counts(row).0 == 2 && row.status == Status::Executing);
    // As long as deletions need to be noticed.
    fs::remove_file(
        host.path(".claude/projects/-renamed/7f2c1111-0000-4000-8000-000000000002.jsonl"),
    )
    .unwrap();
    host.follows("another", "7f2c1111-0000-4000-8000-000000000002", is_gone);
    host.follows("at work all the time", ID, |row| {
        row.active && issue(row, Issue::SOURCE_GONE) + issue(row, Issue::OUT_OF_SIGHT) == 0
    });
}

#[test]
fn what_is_out_of_sight_keeps_its_state() {
    let host = Host::new();
    at_work(&host, ID);
    let _daemon = host.daemon();
    host.follows("at work", ID, works_on);
    // A disk that is not there.
    fs::rename(host.path(".claude"), host.path("elsewhere")).unwrap();
    let out_of_sight = |row: &Session| {
        row.status == Status::Executing && row.active && issue(row, Issue::OUT_OF_SIGHT) == 1
    };
    host.follows("unmounted", ID, out_of_sight);
    assert!(!host.run(&["sessions", "show", ID]).contains("less "));
    fs::rename(host.path("elsewhere"), host.path(".claude")).unwrap();
    host.follows("mounted", ID, works_on);
    // A folder that is a link to such a disk.
    fs::rename(host.path(".claude/projects"), host.path("disk")).unwrap();
    std::os::unix::fs::symlink(host.path("disk"), host.path(".claude/projects")).unwrap();
    host.follows("linked", ID, works_on);
    fs::rename(host.path("disk"), host.path("taken away")).unwrap();
    host.follows("the disk taken away", ID, out_of_sight);
}

#[test]
fn a_live_process_is_not_ended_by_a_deletion() {
    let host = Host::new();
    at_work(&host, ID);
    let agent = Agent::start();
    register(&host, &agent.entry(ID, json!({"status": "busy", "statusUpdatedAt": 9})));
    let _daemon = host.daemon();
    host.follows("at work", ID, |row| row.live == Some(true));
    fs::remove_file(host.transcript(ID)).unwrap();
    host.follows("deleted, and said so", ID, |row| {
        row.status == Status::Executing && row.active && issue(row, Issue::SOURCE_GONE) == 1
    });
    drop(agent);
    host.follows("its process has left", ID, is_gone);
}

#[test]
fn rows_deleted_from_a_database_end_their_sessions() {
    let host = Host::new();
    fs::create_dir_all(host.path(".hermes")).unwrap();
    let path = host.path(".hermes/state.db");
    let make = || {
        let db = Connection::open(&path).unwrap();
        db.execute_batch(hermes::TABLES).unwrap();
        db
    };
    let db = make();
    let say = |db: &Connection, id: &str| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        db.execute(
            "INSERT INTO sessions (id, source, started_at) VALUES (?1, 'cli', ?2)",
            rusqlite::params![id, now],
        )
        .unwrap();
        let sql = "INSERT INTO messages (session_id, role, content, timestamp) \
                   VALUES (?1, 'user', 'Go', ?2)";
        db.execute(sql, rusqlite::params![id, now]).unwrap();
    };
    say(&db, "s-1");
    say(&db, "s-2");
    let daemon = host.daemon();
    host.follows("at work", "s-1", works_on);
    db.execute_batch(
        "DELETE FROM messages WHERE session_id = 's-1'; DELETE FROM sessions WHERE id = 's-1'",
    )
    .unwrap();
    host.follows("deleted", "s-1", is_gone);
    host.follows("the other one goes on", "s-2", works_on);
    daemon.stop();
    let daemon = host.daemon();
    host.follows("after a restart", "s-1", is_gone);
    say(&db, "s-1");
    host.follows("begun again", "s-1", |row| {
        row.status == Status::Executing && issue(row, Issue::SOURCE_GONE) == 0
    });
    // Exchanged for another one, then deleted.
    drop(db);
    for end in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(host.path(&format!(".hermes/state.db{end}")));
    }
    let db = make();
    say(&db, "s-3");
    host.follows("exchanged", "s-2", is_gone);
    host.follows("the new one", "s-3", works_on);
    drop(db);
    fs::remove_file(&path).unwrap();
    host.follows("its database deleted", "s-3", is_gone);
    daemon.stop();
    // A log outlives its database when somebody had that open as it was deleted.
    fs::write(host.path(".hermes/state.db-wal"), []).unwrap();
    let _daemon = host.daemon();
    host.follows("after another restart", "s-3", is_gone);
}
