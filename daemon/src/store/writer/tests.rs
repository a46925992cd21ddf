//! Commits are whole, repeatable reads agree, damage is set aside.

use rrd_core::{
    cursor::{Cursor, FileId, Rows},
    fold::Fold,
    harness::ParserState,
    hook::{HookEvent, HookWord, Trail},
    roster::{Place, Roster},
};
use rrd_proto::{Body, Event, EventKind, Harness, Mark, Timestamp, WaitingFor};

use std::fs;

use super::*;
use crate::store::{FileState, Reader, StoredEvent, aside, open as open_store, set_aside};

/// What is collected for so long was not waited for.
const FOR_EVER: Duration = Duration::from_secs(3_600);

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
        direction: None,
        message_id: None,
        withdrawn: false,
        body: None,
        subagent: None,
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
        fold: Arc::new(fold),
        events: seqs
            .map(|seq| StoredEvent { event: event(seq), offset, key: u64::MAX - seq })
            .collect(),
        marks: vec![77],
        reset: false,
        moved_from: None,
        standing: HashMap::new(),
    }
}

#[test]
fn what_is_committed_is_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let (writer, _) = open_store(dir.path()).unwrap();
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
fn what_an_event_is_about_is_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let (writer, _) = open_store(dir.path()).unwrap();
    let mut told = commit(0..3, 10);
    let kinds = [EventKind::SubagentStart, EventKind::PeerMessage, EventKind::SubagentStop];
    for (stored, kind) in told.events.iter_mut().zip(kinds) {
        stored.event.kind = kind;
        match kind {
            EventKind::PeerMessage => stored.event.message_id = Some("m".into()),
            _ => stored.event.subagent = Some("a7".into()),
        }
    }
    let key = told.file.session.clone();
    writer.commit(told);
    writer.barrier();
    let events = Reader::open(dir.path()).unwrap().events(&key, None, 9).unwrap();
    let about: Vec<_> = events
        .iter()
        .map(|event| (event.message_id.as_deref(), event.subagent.as_deref()))
        .collect();
    assert_eq!(about, [(None, Some("a7")), (Some("m"), None), (None, Some("a7"))]);
}

#[test]
fn marks_tell_which_call_a_result_answers() {
    const CALLS: u64 = 3_000;
    let dir = tempfile::tempdir().unwrap();
    let (writer, _) = open_store(dir.path()).unwrap();
    // Each call is answered two calls later, one of them at the end.
    const LATE: u64 = CALLS - 900;
    let mut told = commit(0..2 * CALLS, 10);
    for (at, stored) in (0..).zip(&mut told.events) {
        let turn = at / 2;
        let call = if turn == CALLS - 1 { LATE } else { turn.saturating_sub(2) };
        let call = if call == LATE && turn < CALLS - 1 { CALLS } else { call };
        let (kind, id) = match at % 2 {
            0 => (EventKind::ToolCall, turn),
            _ => (EventKind::ToolResult, call),
        };
        stored.event.kind = kind;
        stored.event.tool_call_id = Some(format!("call_{id}"));
    }
    let key = told.file.session.clone();
    writer.commit(told);
    writer.barrier();
    let reader = Reader::open(dir.path()).unwrap();
    let answers = |marks: &[Mark]| -> Vec<(u64, u64)> {
        marks.iter().filter_map(|mark| Some((mark.seq, mark.call?))).collect()
    };
    let all = answers(&reader.marks(&key, None, 9_999).unwrap());
    assert_eq!(all.last(), Some(&(2 * CALLS - 1, 2 * LATE)));
    assert_eq!(all.iter().filter(|(result, call)| result - call == 5).count() as u64, CALLS - 5);
    // Of whatever part is asked for, the same is told.
    for after in [0, 7, 8, 2_001, 5_990, 2 * CALLS - 2] {
        let part = answers(&reader.marks(&key, Some(after), 500).unwrap());
        let same = all.iter().filter(|(seq, _)| *seq > after && *seq <= after + 500);
        assert_eq!(part, same.copied().collect::<Vec<_>>(), "after {after}");
    }
}

#[test]
fn a_transaction_tells_whose_events_it_wrote() {
    let dir = tempfile::tempdir().unwrap();
    let (writer, _) = open_store(dir.path()).unwrap();
    let committed = writer.committed();
    let key = commit(0..1, 10).file.session;
    let told = |seqs| {
        let before = committed.borrow().number;
        writer.commit(commit(seqs, 20));
        writer.barrier();
        let last = committed.borrow().clone();
        assert!(last.number > before);
        last.sessions.contains(&key)
    };
    assert_eq!([told(0..1), told(1..1), told(1..2)], [true, false, true]);
}

#[test]
fn what_a_limit_took_is_said_of_each_event() {
    let dir = tempfile::tempdir().unwrap();
    let (writer, _) = open_store(dir.path()).unwrap();
    writer.limit(Limits { session: 20_000, ..Limits::default() });
    let key = commit(0..0, 0).file.session;
    for seq in 0..60 {
        let mut one = commit(seq..seq + 1, seq);
        let text: String = (0..900_u64)
            .map(|n| {
                char::from(b' ' + (rrd_core::hash(&(seq * 1_000 + n).to_le_bytes()) % 90) as u8)
            })
            .collect();
        one.events[0].event.body = Some(Body { size: 900, cut: None, text });
        writer.commit(one);
        writer.barrier();
    }
    let reader = Reader::open(dir.path()).unwrap();
    let gaps = reader.gaps(&key).unwrap();
    assert!(gaps.len() == 1 && gaps[0].why == rrd_proto::Limit::Session, "{gaps:?}");
    let mut events = reader.events(&key, None, 100).unwrap();
    reader.add_bodies(&key, &mut events, usize::MAX, false).unwrap();
    assert_eq!(events.len(), 60);
    for event in events {
        let is_gone = gaps[0].has(event.seq);
        assert_eq!((event.body.is_none(), event.truncated), (is_gone, is_gone), "{}", event.seq);
    }
    let held = reader.held().unwrap();
    assert_eq!(held.limited, [(rrd_proto::Limit::Session, 1)]);
    assert!(held.bytes <= 20_000 && held.used > held.bytes, "{held:?}");
}

#[test]
fn what_is_too_much_goes_also_while_more_is_written_all_the_time() {
    const TOTAL: u64 = 4 << 20;
    let dir = tempfile::tempdir().unwrap();
    let (writer, _) = open_store(dir.path()).unwrap();
    writer.limit(Limits { total: TOTAL, session: u64::MAX, ..Limits::default() });
    let reader = Reader::open(dir.path()).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let (mut is_more, mut down) = (false, 0);
    for seq in 0.. {
        assert!(Instant::now() < deadline, "it only grows");
        let mut one = commit(seq..seq + 1, seq);
        let text: String = (0..5_000_u64)
            .map(|n| format!("{:016x}", rrd_core::hash(&(seq * 10_000 + n).to_le_bytes())))
            .collect();
        one.events[0].event.body = Some(Body { size: 80_000, cut: None, text });
        writer.commit(one);
        writer.barrier();
        let was_more = is_more;
        is_more = reader.held().unwrap().used > TOTAL;
        // It comes down again and again.
        down += u32::from(was_more && !is_more);
        if down == 2 {
            break;
        }
    }
}

#[test]
fn a_reset_begins_the_session_anew() {
    let dir = tempfile::tempdir().unwrap();
    let (writer, _) = open_store(dir.path()).unwrap();
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
    let (writer, _) = open_store(dir.path()).unwrap();
    for step in 0..40 {
        writer.commit(commit(step..step + 1, step));
    }
    drop(writer);
    let reader = Reader::open(dir.path()).unwrap();
    assert_eq!(reader.load().unwrap().sessions[0].1.next_seq, 40);
}

/// Overwrites the header of each b-tree page that `which` picks; the file's own header stays.
fn damage(dir: &Path, which: impl Fn(usize) -> bool) {
    let path = database(dir);
    let mut bytes = fs::read(&path).unwrap();
    for page in (0..bytes.len() / 4096).filter(|page| which(*page)) {
        let header = if page == 0 { 100 } else { page * 4096 };
        bytes[header..header + 64].fill(0xA5);
    }
    fs::write(&path, bytes).unwrap();
}

fn filled(dir: &Path) {
    let (writer, _) = open_store(dir).unwrap();
    writer.commit(commit(0..5_000, 10));
}

#[test]
fn damage_met_at_the_start_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    let len = fs::metadata(database(dir.path())).unwrap().len();
    damage(dir.path(), |page| page < 8);
    let (writer, stored) = open_store(dir.path()).unwrap();
    assert_eq!(fs::metadata(aside(dir.path())).unwrap().len(), len, "it is kept");
    assert!(stored.sessions.is_empty());
    writer.commit(commit(0..2, 10));
    writer.barrier();
    assert_eq!(Reader::open(dir.path()).unwrap().load().unwrap().files.len(), 1);
}

#[test]
fn what_only_a_damaged_index_has_is_taken_out_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path().join("here.jsonl");
    fs::write(&here, "").unwrap();
    let of = |id: u64| {
        let mut commit = commit(0..200, 10);
        commit.file.session.session_id = id.to_string();
        commit.file.path = format!("/gone/{id}.jsonl");
        for stored in &mut commit.events {
            let text = format!("{id} {}\n{}", stored.event.seq, "word ".repeat(20));
            stored.event.body = Some(Body { size: text.len() as u64, cut: None, text });
        }
        commit
    };
    {
        let (writer, _) = open_store(dir.path()).unwrap();
        (0..60).for_each(|id| writer.commit(of(id)));
        let same = |commit: &mut Commit| {
            let text = "61 0\n".repeat(1_000);
            commit.events[0].event.body = Some(Body { size: 5_000, cut: None, text });
        };
        let (mut kept, mut copied) = (of(60), of(61));
        same(&mut kept);
        same(&mut copied);
        kept.file.path = here.display().to_string();
        writer.commit(kept);
        writer.commit(copied);
    }
    damage(dir.path(), |page| (170..178).contains(&page));
    set_aside(dir.path()).unwrap();
    let (writer, stored) = open_store(dir.path()).unwrap();
    let taken = stored.sessions.len();
    assert!(taken >= 20, "{taken} of 61");
    assert!(stored.sessions.iter().any(|(key, _)| key.session_id == "61"));
    assert_eq!(stored.files.len(), taken);
    let reader = Reader::open(dir.path()).unwrap();
    for (key, fold) in stored.sessions {
        assert_ne!(key.session_id, "60", "its transcript is there");
        let mut events = reader.events(&key, None, u32::MAX).unwrap();
        reader.add_bodies(&key, &mut events, usize::MAX, false).unwrap();
        assert_eq!((events.len(), fold.next_seq), (200, 200));
        let said = |event: &Event| event.body.as_ref().unwrap().text.clone();
        let start = |event: &Event| format!("{} {}\n", key.session_id, event.seq);
        assert!(
            events.iter().filter(|event| !said(event).starts_with(&start(event))).count() < 200
        );
    }
    drop(writer);
    // It is done once, not at every start.
    assert_eq!(open_store(dir.path()).unwrap().1.sessions.len(), taken);
}

#[test]
fn damage_deep_inside_is_found_by_the_check() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    damage(dir.path(), |page| (20..40).contains(&page));
    let (writer, _) = open_store(dir.path()).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while !writer.state().damaged {
        assert!(Instant::now() < deadline, "nobody noticed");
        std::thread::park_timeout(Duration::from_millis(20));
    }
    // Nobody waits for a writer that no longer writes.
    writer.commit(commit(0..2, 10));
    writer.barrier();
}

#[test]
fn a_newer_schema_is_refused_not_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    drop(open_store(dir.path()).unwrap());
    let db = Connection::open(database(dir.path())).unwrap();
    db.pragma_update(None, "user_version", 999).unwrap();
    drop(db);
    assert!(matches!(open_store(dir.path()), Err(StoreError::Newer { found: 999, .. })));
    assert!(Reader::open(dir.path()).is_none());
}

/// Two sessions that say so, one of them secrets; and how often a file of the index has one of these.
fn with_secrets(dir: &Path) -> (Writer, SessionKey) {
    let (writer, _) = open_store(dir).unwrap();
    for (id, word) in [("s", "SECRET"), ("other", "harmless")] {
        for seq in 0..300 {
            let mut one = commit(seq..seq + 1, seq);
            one.file.session.session_id = id.to_owned();
            one.file.path = format!("/{id}-{word}.jsonl");
            let text = format!("{word}{:016x}", rrd_core::hash(&seq.to_le_bytes()));
            one.events[0].event.body = Some(Body { size: 22, cut: None, text: text.clone() });
            one.events[0].event.text = text;
            writer.commit(one);
        }
        // Small ones become one, and what they were is free.
        writer.barrier();
    }
    assert!(secrets(dir) > 0);
    (writer, commit(0..0, 0).file.session)
}

fn secrets(dir: &Path) -> usize {
    let files = fs::read_dir(dir).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap());
    files.map(|bytes| bytes.windows(6).filter(|bytes| bytes == b"SECRET").count()).sum()
}

fn is_to_scrub(dir: &Path) -> bool {
    let db = Connection::open(database(dir)).unwrap();
    db.prepare("SELECT 1 FROM to_scrub").unwrap().exists([]).unwrap()
}

#[test]
fn nothing_is_on_the_disk_of_what_was_forgotten_when_that_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let (writer, key) = with_secrets(dir.path());
    writer.forget(vec![key]);
    writer.barrier();
    assert_eq!(secrets(dir.path()), 0);
    assert!(!is_to_scrub(dir.path()));
    fs::write(aside(dir.path()), "SECRET").unwrap();
    crate::store::drop_aside(dir.path());
    assert_eq!(secrets(dir.path()), 0);
    // What nothing is known of is nothing to be done.
    writer.forget(vec![commit(0..0, 0).file.session]);
    writer.barrier();
    assert!(!is_to_scrub(dir.path()));
}

#[test]
fn what_was_forgotten_goes_as_soon_as_it_can_also_after_a_restart() {
    for restarts in [false, true] {
        forgotten_beneath_a_reader(restarts);
    }
}

fn forgotten_beneath_a_reader(restarts: bool) {
    let dir = tempfile::tempdir().unwrap();
    let (writer, key) = with_secrets(dir.path());
    // Its log cannot be emptied beneath somebody who reads.
    let reading = Connection::open(database(dir.path())).unwrap();
    reading.execute_batch("BEGIN; SELECT count(*) FROM events").unwrap();
    writer.forget(vec![key]);
    writer.barrier();
    assert!(is_to_scrub(dir.path()));
    let mut writer = Some(writer).filter(|_| !restarts);
    drop(reading);
    assert!(is_to_scrub(dir.path()));
    let _writer = writer.get_or_insert_with(|| open_store(dir.path()).unwrap().0);
    let deadline = Instant::now() + Duration::from_secs(20);
    while is_to_scrub(dir.path()) {
        assert!(Instant::now() < deadline, "it is never done");
        std::thread::park_timeout(Duration::from_millis(20));
    }
    assert_eq!(secrets(dir.path()), 0);
}

fn batch(commit: Commit) -> Batch {
    Batch { commits: vec![commit], ..Batch::default() }
}

#[test]
fn what_is_true_of_a_database_is_forgotten_when_it_is_read_on() {
    let dir = tempfile::tempdir().unwrap();
    let (writer, _) = open_store(dir.path()).unwrap();
    let state = |name: &str| DatabaseState {
        path: format!("/x/{name}.db"),
        harness: Harness::Hermes,
        look: (FileId { device: 1, inode: u128::MAX }, [(10, 20), (30, -40)]),
        place: 7,
        in_wal_mode: true,
        newer: Some(99),
        sessions: u64::MAX,
        gone: vec!["s".to_owned()],
    };
    let read_on = |name: &str| {
        let mut commit = commit(0..1, 10);
        commit.file.path = format!("/x/{name}.db#s");
        commit.file.cursor.rows = Some(Rows::default());
        writer.commit(commit);
    };
    let stored = || {
        writer.barrier();
        Reader::open(dir.path()).unwrap().load().unwrap().databases
    };
    let (a, b) = (state("a"), state("b"));
    // A commit that comes before it in one transaction; then nothing but it.
    read_on("a");
    writer.database(a.clone());
    assert_eq!(stored(), std::slice::from_ref(&a));
    writer.database(b.clone());
    assert_eq!(stored(), [a.clone(), b.clone()]);
    // Read on later, or still before it was written.
    read_on("b");
    assert_eq!(stored(), std::slice::from_ref(&a));
    writer.database(b);
    read_on("b");
    assert_eq!(stored(), [a]);
}

/// What a hook said of a session, so many milliseconds after the epoch.
fn trail(at: i64) -> TrailState {
    let mut trail = Trail::default();
    trail.take(HookEvent {
        id: 1,
        at: Timestamp::from_millis(at),
        session: commit(0..0, 0).file.session,
        agent: None,
        word: HookWord::Dialog(WaitingFor::Permission),
        cwd: Some("/w".into()),
        transcript: None,
        pid: Some(7),
        attach: None,
    });
    TrailState { domain: Some("here".into()), trail }
}

/// The row's session, its domain, and what a roster makes of it.
type ReadTrail = (SessionKey, Option<String>, Vec<(SessionKey, Trail)>);

fn read_trails(dir: &Path) -> Vec<ReadTrail> {
    let trails = Reader::open(dir).unwrap().load().unwrap().trails;
    let place = Place { host: "h".into(), node_id: None, idle_timeout: Duration::from_secs(1) };
    let restored = |(key, state): (SessionKey, TrailState)| {
        let mut roster = Roster::new(place.clone());
        roster.restore_trails([(key.clone(), state.trail)]);
        (key, state.domain, roster.trails())
    };
    trails.into_iter().map(restored).collect()
}

#[test]
fn what_hooks_said_is_read_back_until_it_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let (writer, _) = open_store(dir.path()).unwrap();
    let key = commit(0..0, 0).file.session;
    let other = SessionKey { harness: Harness::Hermes, session_id: "s\0".into() };
    let stored = |key: &SessionKey, state: TrailState| {
        (key.clone(), state.domain, vec![(key.clone(), state.trail)])
    };
    // Together with a commit and in place of what was said before; then nothing but it.
    writer.commit(commit(0..2, 10));
    writer.trail(key.clone(), Some(trail(1)));
    writer.trail(key.clone(), Some(trail(2)));
    writer.barrier();
    assert_eq!(read_trails(dir.path()), [stored(&key, trail(2))]);
    writer.trail(other.clone(), Some(trail(3)));
    writer.trail(key.clone(), None);
    writer.barrier();
    assert_eq!(read_trails(dir.path()), [stored(&other, trail(3))]);
    // A session that begins anew, or an older reader, says nothing against it.
    writer.commit(Commit { reset: true, ..commit(0..1, 10) });
    drop(writer);
    let db = Connection::open(database(dir.path())).unwrap();
    db.execute("UPDATE sessions SET reader = 0", []).unwrap();
    assert_eq!(read_trails(dir.path()), [stored(&other, trail(3))]);
    // What is damaged is not believed, and stops nobody.
    for damaged in ["replace(trail, 'permission', 'input')", "CAST(x'7bff' AS TEXT)"] {
        db.execute(&format!("UPDATE trails SET trail = {damaged}"), []).unwrap();
        assert_eq!(read_trails(dir.path()), [], "{damaged}");
    }
    let (writer, found) = open_store(dir.path()).unwrap();
    assert!(found.trails.is_empty());
    writer.trail(other.clone(), Some(trail(4)));
    drop(writer);
    assert_eq!(read_trails(dir.path()), [stored(&other, trail(4))]);
}

#[test]
fn what_hooks_said_is_durable_in_a_moment() {
    let key = commit(0..0, 0).file.session;
    // Also while lines are being collected: they go with it.
    for commits in [0, 1] {
        let queue = Queue::new(FOR_EVER);
        (0..commits).for_each(|n| queue.commit(commit(n..n + 1, n)));
        queue.trail(key.clone(), Some(trail(1)));
        let Next::Write(batch, _) = queue.next(None) else { panic!("nothing to write") };
        assert_eq!((batch.commits.len() as u64, batch.trails.len()), (commits, 1));
    }
}

#[test]
fn nothing_is_written_past_what_was_left_unwritten() {
    let dir = tempfile::tempdir().unwrap();
    let mut work = Work {
        db: open(&database(dir.path())).unwrap(),
        bodies: Bodies::new().unwrap(),
        queue: Arc::new(Queue::new(FOR_EVER)),
        committed: watch::channel(Committed::default()).0,
        state: Arc::default(),
        finishing: Arc::new(true.into()),
        given_up: false,
        limits: Arc::default(),
        forgotten: HashSet::new(),
        scrub: Scrub::default(),
        sweeps: Sweeps::begin(),
    };
    let pages = |work: &Work, most: i64| {
        let set = format!("PRAGMA max_page_count = {most}");
        work.db.query_row(&set, [], |row| row.get::<_, i64>(0)).unwrap()
    };
    // As a full disk does: what is large does not fit, what is small does, or does later.
    pages(&work, 1);
    work.write(&batch(commit(0..2_000, 10)), Vec::new());
    assert!(work.state.lock().unwrap().failing.is_some());
    pages(&work, i64::from(u32::MAX - 1));
    work.write(&batch(commit(2_000..2_001, 20)), Vec::new());
    drop(work);
    let stored = Reader::open(dir.path()).unwrap().load().unwrap();
    assert_eq!(stored.files, [], "a cursor beyond events that are not there");
}

#[test]
fn a_writer_that_ends_early_leaves_nobody_waiting() {
    let queue = Arc::new(Queue::new(FOR_EVER));
    let (done, wait) = mpsc::sync_channel(1);
    queue.barrier(done);
    let sender = {
        let queue = Arc::clone(&queue);
        // More than there is room for: it waits until nobody will write.
        std::thread::spawn(move || (0..100).for_each(|n| queue.commit(commit(n..n + 1, n))))
    };
    drop(AbandonOnDrop(Arc::clone(&queue)));
    sender.join().unwrap();
    assert!(wait.recv().is_err());
    let (done, wait) = mpsc::sync_channel(1);
    queue.barrier(done);
    assert!(wait.recv().is_err());
}
