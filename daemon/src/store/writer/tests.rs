//! Commits are whole, repeatable reads agree, damage is set aside.

use rrd_core::{
    cursor::{Cursor, FileId},
    fold::Fold,
    harness::ParserState,
};
use rrd_proto::{Event, EventKind, Harness};

use super::*;
use crate::store::{FileState, Reader, StoredEvent};

fn commit(seqs: std::ops::Range<u64>, offset: u64) -> Commit {
    let session = SessionKey { harness: Harness::Codex, session_id: "s".into() };
    let event = |seq| Event {
        seq,
        at: None,
        kind: EventKind::ToolCall,
        text: format!("call {seq}"),
        tool: Some("Bash".into()),
        tool_call_id: None,
        is_error: seq == 1,
        truncated: false,
    };
    let id = FileId { device: 1, inode: u128::MAX };
    let cursor = Cursor { offset, first_line: Some(u64::MAX), ..Cursor::start(id) };
    let parser = ParserState::default();
    let mut fold = Fold::default();
    fold.next_seq = seqs.end;
    Commit {
        file: FileState {
            path: "/t.jsonl".into(),
            session,
            cursor,
            parser,
            size: offset,
            mtime: -5,
        },
        fold,
        events: seqs
            .map(|seq| StoredEvent { event: event(seq), offset, key: u64::MAX - seq })
            .collect(),
        marks: vec![77],
        reset: false,
        moved_from: None,
    }
}

#[test]
fn what_is_committed_is_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let writer = Writer::start(dir.path()).unwrap();
    let (first, second) = (commit(0..3, 10), commit(3..5, 20));
    let key = first.file.session.clone();
    writer.commit(first);
    writer.commit(second.clone());
    writer.barrier();
    let reader = Reader::open(dir.path()).unwrap();
    let stored = reader.load().unwrap();
    assert_eq!(stored.files, [second.file]);
    assert_eq!(stored.sessions[0].1.next_seq, 5);
    let seqs = |events: Vec<Event>| events.iter().map(|e| e.seq).collect::<Vec<_>>();
    assert_eq!(seqs(reader.events(&key, None, 2).unwrap()), [3, 4]);
    assert_eq!(seqs(reader.events(&key, Some(0), 3).unwrap()), [1, 2, 3]);
    assert!(reader.events(&key, Some(0), 1).unwrap()[0].is_error);
    let keys = reader.keys(&key).unwrap();
    assert!(keys.len() == 6 && keys.contains(&77) && keys.contains(&(u64::MAX - 4)));
}

#[test]
fn a_reset_begins_the_session_anew() {
    let dir = tempfile::tempdir().unwrap();
    let writer = Writer::start(dir.path()).unwrap();
    writer.commit(commit(0..9, 90));
    writer.commit(Commit { reset: true, ..commit(0..2, 20) });
    writer.barrier();
    let reader = Reader::open(dir.path()).unwrap();
    let key = commit(0..0, 0).file.session;
    assert_eq!(reader.events(&key, None, 100).unwrap().len(), 2);
}

#[test]
fn everything_queued_is_durable_when_the_writer_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let writer = Writer::start(dir.path()).unwrap();
    for step in 0..40 {
        writer.commit(commit(step..step + 1, step));
    }
    drop(writer);
    let reader = Reader::open(dir.path()).unwrap();
    assert_eq!(reader.load().unwrap().sessions[0].1.next_seq, 40);
}

#[test]
fn a_damaged_index_is_set_aside_and_begun_anew() {
    let dir = tempfile::tempdir().unwrap();
    drop({
        let writer = Writer::start(dir.path()).unwrap();
        writer.commit(commit(0..500, 10));
        writer
    });
    let path = database(dir.path());
    let len = fs::metadata(&path).unwrap().len();
    let mut bytes = fs::read(&path).unwrap();
    for page in (4096..bytes.len()).step_by(4096) {
        bytes[page..page + 64].fill(0xA5);
    }
    fs::write(&path, bytes).unwrap();
    let writer = Writer::start(dir.path()).unwrap();
    let aside = writer.state().set_aside.expect("the damage is said");
    assert_eq!(fs::metadata(aside).unwrap().len(), len);
    writer.commit(commit(0..2, 10));
    writer.barrier();
    let reader = Reader::open(dir.path()).unwrap();
    assert_eq!(reader.load().unwrap().files.len(), 1);
}

#[test]
fn a_newer_schema_is_refused_not_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    drop(Writer::start(dir.path()).unwrap());
    let db = Connection::open(database(dir.path())).unwrap();
    db.pragma_update(None, "user_version", 999).unwrap();
    drop(db);
    assert!(matches!(Writer::start(dir.path()), Err(StoreError::Newer { found: 999, .. })));
    assert!(Reader::open(dir.path()).is_none());
}
