//! What goes, what stays, and that it is said.

use super::*;

const DAY: i64 = 86_400_000;
const NOW: Timestamp = Timestamp::from_millis(1_795_000_000_000);

fn db() -> Connection {
    let mut db = Connection::open_in_memory().unwrap();
    crate::store::schema::migrate(&mut db, std::path::Path::new("memory")).unwrap();
    db
}

/// A session of so many blocks of ten events and `size` bytes each, the last event so many days ago.
fn session(db: &Connection, id: i64, blocks: i64, size: usize, days_ago: i64) {
    let sql = "INSERT INTO sessions (id, harness, session_id, reader, fold) VALUES (?1, 'codex', ?2, 1, '{}')";
    db.execute(sql, params![id, format!("s{id}")]).unwrap();
    for block in 0..blocks {
        let (first, last) = (block * 10, block * 10 + 9);
        let sql =
            "INSERT INTO bodies (session, first, last, size, data) VALUES (?1, ?2, ?3, 9, ?4)";
        db.execute(sql, params![id, first, last, vec![0u8; size]]).unwrap();
        for seq in first..=last {
            let sql = "INSERT INTO events (session, seq, at, kind, flags, offset, key, text)
                    VALUES (?1, ?2, ?3, 0, 0, 0, ?4, '')";
            db.execute(sql, params![id, seq, NOW.as_millis() - days_ago * DAY, seq + 1_000])
                .unwrap();
        }
    }
}

fn count(db: &Connection, sql: &str) -> i64 {
    db.query_row(sql, [], |row| row.get(0)).unwrap()
}

fn swept(db: &mut Connection, limits: &Limits) -> Swept {
    let mut swept = Swept::default();
    for _ in 0..1_000 {
        let transaction = db.transaction().unwrap();
        let more = sweep(&transaction, limits, NOW, &mut swept).unwrap();
        transaction.commit().unwrap();
        if !more {
            return swept;
        }
    }
    panic!("it never ends");
}

#[test]
fn of_a_session_that_is_too_large_head_and_tail_stay() {
    let mut db = db();
    session(&db, 1, 100, 1_000, 0);
    let transaction = db.transaction().unwrap();
    assert_eq!(trim_session(&transaction, 1, 100_000).unwrap(), 100_000);
    let left = trim_session(&transaction, 1, 40_000).unwrap();
    transaction.commit().unwrap();
    assert!((35_000..=40_000).contains(&left), "{left}");
    let firsts: Vec<i64> = db
        .prepare("SELECT first FROM bodies ORDER BY first")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert!(
        firsts.contains(&0)
            && firsts.contains(&90)
            && firsts.contains(&990)
            && !firsts.contains(&300)
    );
    let gap = db.query_row("SELECT first, last, why FROM gaps", [], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, String>(2)?))
    });
    let (first, last, why) = gap.unwrap();
    assert_eq!((first, why.as_str()), (100, "session"));
    assert_eq!(last, 100 + (100 - i64::try_from(left).unwrap() / 1_000) * 10 - 1);
    // Lines stay, and a second trim makes the same gap larger.
    assert_eq!(count(&db, "SELECT count(*) FROM events"), 1_000);
    let transaction = db.transaction().unwrap();
    trim_session(&transaction, 1, 20_000).unwrap();
    transaction.commit().unwrap();
    assert_eq!(count(&db, "SELECT count(*) FROM gaps"), 1);
}

#[test]
fn what_is_too_old_goes_and_its_records_stay_known() {
    let mut db = db();
    session(&db, 1, 2, 10, 181);
    session(&db, 2, 2, 10, 179);
    session(&db, 3, 2, 10, 400);
    // Somebody may still answer that one.
    let sql = "INSERT INTO stretches (session, at, status) VALUES (3, 1, 'waiting')";
    db.execute(sql, []).unwrap();
    assert_eq!(swept(&mut db, &Limits::default()).sessions, 1);
    assert_eq!(count(&db, "SELECT count(*) FROM events WHERE session = 1"), 0);
    assert_eq!(count(&db, "SELECT count(*) FROM marks WHERE session = 1"), 20);
    assert_eq!(count(&db, "SELECT last FROM gaps WHERE session = 1 AND why = 'age'"), 19);
    assert_eq!(count(&db, "SELECT count(*) FROM events"), 40);
    assert_eq!(swept(&mut db, &Limits::default()), Swept::default());
}

#[test]
fn what_has_no_time_is_as_old_as_its_transcript() {
    let mut db = db();
    for (id, days_ago) in [(1, 10), (2, 400)] {
        session(&db, id, 1, 10, 0);
        let sql = "INSERT INTO files (path, session, cursor, parser, size, mtime)
                VALUES (?1, ?1, '', '', 1, ?2)";
        db.execute(sql, params![id, (NOW.as_millis() - days_ago * DAY) * 1_000_000]).unwrap();
    }
    session(&db, 3, 1, 10, 0);
    db.execute("UPDATE events SET at = NULL", []).unwrap();
    assert_eq!(swept(&mut db, &Limits::default()).sessions, 1);
    assert_eq!(count(&db, "SELECT count(DISTINCT session) FROM events WHERE session <> 2"), 2);
    assert_eq!(count(&db, "SELECT count(*) FROM events WHERE session = 2"), 0);
}

#[test]
fn what_others_kept_for_a_session_is_said_to_be_gone_too() {
    let mut db = db();
    session(&db, 1, 1, 100_000, 30);
    session(&db, 2, 1, 100_000, 0);
    // Beyond what it keeps itself.
    db.execute("INSERT INTO copies VALUES (1, 25, 2, 3)", []).unwrap();
    swept(&mut db, &Limits { total: 150_000, ..Limits::default() });
    assert_eq!(count(&db, "SELECT count(*) FROM copies"), 0);
    assert_eq!(count(&db, "SELECT last FROM gaps WHERE session = 1"), 25);
}

#[test]
fn where_lines_alone_are_too_much_those_of_the_oldest_go() {
    let mut db = db();
    for (id, days) in [(1, 30), (2, 20), (3, 0)] {
        session(&db, id, 4, 1_000, days);
    }
    db.execute("UPDATE events SET text = hex(zeroblob(10000))", []).unwrap();
    let limits = Limits { total: 2_000_000, ..Limits::default() };
    swept(&mut db, &limits);
    let lines = |id| count(&db, &format!("SELECT count(*) FROM events WHERE session = {id}"));
    assert_eq!((lines(1), lines(2), lines(3)), (0, 40, 40));
    assert_eq!(
        count(&db, "SELECT count(*) FROM gaps WHERE why = 'total' AND last = 39 AND session = 1"),
        1
    );
    assert_eq!(count(&db, "SELECT count(*) FROM bodies WHERE session = 3"), 4);
}

#[test]
fn of_too_much_in_all_the_oldest_that_is_over_goes_first() {
    let mut db = db();
    for (id, days) in [(1, 30), (2, 20), (3, 10), (4, 0)] {
        session(&db, id, 4, 250_000, days);
    }
    let held = |db: &Connection, id: i64| {
        count(db, &format!("SELECT count(*) FROM bodies WHERE session = {id}"))
    };
    let limits = |total| Limits { total, ..Limits::default() };
    swept(&mut db, &limits(3_600_000));
    assert_eq!((held(&db, 1), held(&db, 2), held(&db, 3), held(&db, 4)), (0, 4, 4, 4));
    assert_eq!(count(&db, "SELECT count(*) FROM events WHERE session = 1"), 40);
    // Nothing else is left to go: of the one that goes on, the middle.
    db.execute("UPDATE bodies SET data = zeroblob(1000000) WHERE session = 4", []).unwrap();
    swept(&mut db, &limits(2_500_000));
    assert_eq!((held(&db, 2), held(&db, 3)), (0, 0));
    assert!((1..4).contains(&held(&db, 4)), "{}", held(&db, 4));
    assert_eq!(count(&db, "SELECT max(last) FROM bodies WHERE session = 4"), 39);
}

#[test]
fn a_step_takes_no_more_than_can_be_waited_for() {
    let mut db = db();
    for (id, days) in [(1, 400), (2, 400), (3, 30), (4, 0)] {
        session(&db, id, 50, 2_000_000, days);
    }
    let limits = Limits { total: 10_000_000, ..Limits::default() };
    let held = |db: &Connection| {
        count(db, "SELECT coalesce(sum(length(data)), 0) FROM bodies").cast_unsigned()
    };
    let mut before = held(&db);
    for step in 0.. {
        assert!(step < 1_000, "it never ends");
        let mut taken = Swept::default();
        let transaction = db.transaction().unwrap();
        let more = sweep(&transaction, &limits, NOW, &mut taken).unwrap();
        transaction.commit().unwrap();
        let now = held(&db);
        assert!(before - now <= 2 * STEP, "{} at once", before - now);
        assert_eq!(taken.bytes, before - now);
        before = now;
        if !more {
            break;
        }
    }
    assert!(held(&db) <= limits.total, "{}", held(&db));
    let why = |id| count(&db, &format!("SELECT count(*) FROM gaps WHERE session = {id}"));
    assert_eq!([why(1), why(2), why(3), why(4)], [1; 4]);
}
