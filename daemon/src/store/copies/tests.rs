//! Whoever goes, the others keep what they had; and what two have takes the room of one.

use proptest::prelude::*;

use super::super::{bodies::Bodies, retain, schema};
use super::*;

fn db() -> Connection {
    let mut db = Connection::open_in_memory().unwrap();
    schema::migrate(&mut db, std::path::Path::new("memory")).unwrap();
    db
}

/// One of a few long texts, or a short one.
fn body(number: usize) -> Body {
    let long = if number % 4 == 3 { 1 } else { 300 };
    let text = format!("text {number} {}", number * 7919).repeat(long);
    Body { size: text.len() as u64, cut: None, text }
}

fn put(db: &mut Connection, session: i64, first: u64, numbers: &[usize]) {
    let made: Vec<Body> = numbers.iter().map(|number| body(*number)).collect();
    let transaction = db.transaction().unwrap();
    let mut bodies = Bodies::new().unwrap();
    bodies.put(&transaction, session, (first..).zip(&made)).unwrap();
    transaction.commit().unwrap();
}

/// What is kept of a session, by the first words of each.
fn texts(db: &Connection, session: i64) -> BTreeMap<u64, String> {
    let found = bodies::read(db, session, 0, u64::MAX).unwrap();
    found.into_iter().map(|(seq, body)| (seq, begin(&body))).collect()
}

fn begin(body: &Body) -> String {
    body.text.chars().take(12).collect()
}

fn count(db: &Connection, what: &str) -> i64 {
    db.query_row(&format!("SELECT {what}"), [], |row| row.get(0)).unwrap()
}

#[test]
fn a_fork_takes_next_to_no_room_and_outlives_what_it_was_copied_from() {
    let mut db = db();
    // What does not compress, so that its bytes can be counted.
    let noise = |seed: usize| {
        let byte = |at: usize| {
            char::from(b' ' + (rrd_core::hash(&[seed, at].map(|n| n as u8)) % 90) as u8)
        };
        let text: String = (0..3_000).map(|at| byte(at * seed)).collect();
        Body { size: 3_000, cut: None, text }
    };
    let made: Vec<Body> = (1..200).map(noise).collect();
    let put_all = |db: &mut Connection, session| {
        let transaction = db.transaction().unwrap();
        Bodies::new().unwrap().put(&transaction, session, (0..).zip(&made)).unwrap();
        transaction.commit().unwrap();
    };
    put_all(&mut db, 1);
    let bytes = "coalesce(sum(length(data)), 0) FROM bodies";
    let alone = count(&db, bytes);
    put_all(&mut db, 2);
    put_all(&mut db, 3);
    assert_eq!(count(&db, bytes), alone, "kept once");
    let all = texts(&db, 1);
    assert!(all.len() == 199 && texts(&db, 2) == all && texts(&db, 3) == all);
    for (gone, left) in [(1, 2), (2, 3)] {
        let transaction = db.transaction().unwrap();
        bodies::delete(&transaction, gone).unwrap();
        transaction.commit().unwrap();
        assert_eq!((texts(&db, gone).len(), texts(&db, left)), (0, all.clone()));
        assert!(count(&db, bytes) < alone * 11 / 10);
    }
    let transaction = db.transaction().unwrap();
    bodies::delete(&transaction, 3).unwrap();
    transaction.commit().unwrap();
    let left =
        ["bodies", "texts", "copies"].map(|table| count(&db, &format!("count(*) FROM {table}")));
    assert_eq!(left, [0, 0, 0]);
}

#[test]
fn the_rest_of_a_page_is_asked_for_when_copies_fill_it() {
    let mut db = db();
    let numbers: Vec<usize> = (0..100).map(|n| n * 4).collect();
    put(&mut db, 1, 0, &numbers);
    put(&mut db, 2, 0, &numbers);
    let seqs: Vec<u64> = (0..100).collect();
    let (mut got, mut from) = (BTreeMap::new(), 0);
    loop {
        let (found, next) = bodies::read_until(&db, 2, &seqs[from..], 50_000).unwrap();
        let end = next.unwrap_or(100);
        got.extend(found.into_iter().filter(|(seq, _)| *seq < end));
        assert!(end > from as u64, "it goes on");
        from = usize::try_from(end).unwrap();
        if next.is_none() {
            break;
        }
    }
    assert_eq!(got, bodies::read(&db, 1, 0, u64::MAX).unwrap());
}

#[derive(Debug, Clone)]
enum Act {
    Put(i64, Vec<usize>),
    Delete(i64),
    Trim(i64),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0i64..4, proptest::collection::vec(0usize..40, 1..20)).prop_map(|(s, n)| Act::Put(s, n)),
        1 => (0i64..4).prop_map(Act::Delete),
        1 => (0i64..4).prop_map(Act::Trim),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whoever_goes_the_others_keep_what_they_had(acts in proptest::collection::vec(act(), 1..30)) {
        let mut db = db();
        let mut model: BTreeMap<i64, BTreeMap<u64, String>> = BTreeMap::new();
        let mut next = [0u64; 4];
        for act in acts {
            match act {
                Act::Put(session, numbers) => {
                    let at = &mut next[usize::try_from(session).unwrap()];
                    put(&mut db, session, *at, &numbers);
                    let kept = model.entry(session).or_default();
                    kept.extend((*at..).zip(&numbers).map(|(seq, n)| (seq, begin(&body(*n)))));
                    *at += numbers.len() as u64;
                }
                Act::Delete(session) => {
                    let transaction = db.transaction().unwrap();
                    bodies::delete(&transaction, session).unwrap();
                    transaction.commit().unwrap();
                    model.remove(&session);
                }
                Act::Trim(session) => {
                    let transaction = db.transaction().unwrap();
                    retain::trim_session(&transaction, session, 100).unwrap();
                    transaction.commit().unwrap();
                    // What went is said, and nothing else did.
                    let mut gaps = db.prepare("SELECT first, last FROM gaps WHERE session = ?1").unwrap();
                    let gaps: Vec<(i64, i64)> = gaps
                        .query_map([session], |row| Ok((row.get(0)?, row.get(1)?)))
                        .unwrap()
                        .collect::<Result<_, _>>()
                        .unwrap();
                    let left = texts(&db, session);
                    let is_said = |seq: u64| {
                        gaps.iter().any(|(first, last)| (*first..=*last).contains(&seq.cast_signed()))
                    };
                    let kept = model.entry(session).or_default();
                    kept.retain(|seq, _| left.contains_key(seq) || !is_said(*seq));
                }
            }
            for session in 0..4 {
                prop_assert_eq!(texts(&db, session), model.get(&session).cloned().unwrap_or_default());
            }
            // Nothing points to what is not there.
            let lost = count(&db, "count(*) FROM copies c WHERE NOT EXISTS (SELECT 1 FROM bodies b
                WHERE b.session = c.of_session AND b.first <= c.of_seq AND b.last >= c.of_seq)");
            prop_assert_eq!(lost, 0);
        }
    }
}
