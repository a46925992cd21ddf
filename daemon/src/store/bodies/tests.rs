//! What is put in comes out, however commits were cut; and small blocks do not stay.

use proptest::prelude::*;

use super::*;

fn db() -> Connection {
    let mut db = Connection::open_in_memory().unwrap();
    crate::store::schema::migrate(&mut db, std::path::Path::new("memory")).unwrap();
    db
}

fn event(seq: u64, text: Option<String>) -> (u64, Option<Body>) {
    (seq, text.map(|text| Body { size: text.len() as u64, cut: None, text }))
}

fn blocks(db: &Connection, session: i64) -> Vec<usize> {
    let mut sizes = db.prepare("SELECT size FROM bodies WHERE session = ?1 ORDER BY last").unwrap();
    let sizes = sizes.query_map([session], |row| row.get::<_, i64>(0)).unwrap();
    sizes.map(|size| usize::try_from(size.unwrap()).unwrap()).collect()
}

fn put(bodies: &mut Bodies, db: &mut Connection, session: i64, events: &[(u64, Option<Body>)]) {
    let transaction = db.transaction().unwrap();
    let with_body = events.iter().filter_map(|(seq, body)| Some((*seq, body.as_ref()?)));
    bodies.put(&transaction, session, with_body).unwrap();
    transaction.commit().unwrap();
}

#[test]
fn small_blocks_become_one_when_there_are_many() {
    let (mut db, mut bodies) = (db(), Bodies::new().unwrap());
    let text = |seq: u64| Some(format!("{seq} {}", "word ".repeat(200)));
    for seq in 0..1_000 {
        put(&mut bodies, &mut db, 1, &[event(seq, text(seq))]);
        // Whoever starts again does not know what lies there.
        if seq % 97 == 0 {
            bodies.clear();
        }
        assert!(blocks(&db, 1).iter().filter(|size| **size < SMALL).count() <= MANY as usize);
    }
    assert!(blocks(&db, 1).len() < 100, "{:?}", blocks(&db, 1));
    let all = read(&db, 1, 0, u64::MAX).unwrap();
    assert_eq!(all.len(), 1_000);
    assert!(all.iter().all(|(seq, body)| Some(&body.text) == text(*seq).as_ref()));
}

#[test]
fn much_at_once_is_cut_into_equal_blocks() {
    let (mut db, mut bodies) = (db(), Bodies::new().unwrap());
    let events: Vec<_> = (0..300).map(|seq| event(seq, Some("x".repeat(1_000)))).collect();
    put(&mut bodies, &mut db, 7, &events);
    let sizes = blocks(&db, 7);
    assert!(sizes.len() == 2 && sizes.iter().all(|size| *size > 100_000), "{sizes:?}");
    assert_eq!(
        read(&db, 7, 149, 152).unwrap().into_keys().collect::<Vec<_>>(),
        [149, 150, 151, 152]
    );
    assert!(read(&db, 8, 0, 300).unwrap().is_empty());
}

#[test]
fn a_damaged_block_is_missing_and_nothing_else() {
    let (mut db, mut bodies) = (db(), Bodies::new().unwrap());
    for seq in 0..2 {
        put(&mut bodies, &mut db, 1, &[event(seq, Some(format!("a {seq}").repeat(40_000)))]);
    }
    db.execute("UPDATE bodies SET data = x'28b52ffd00' WHERE first = 0", []).unwrap();
    assert_eq!(read(&db, 1, 0, 9).unwrap().into_keys().collect::<Vec<_>>(), [1]);
}

proptest! {
    #[test]
    fn what_is_put_in_comes_out(
        commits in proptest::collection::vec(
            (0i64..3, proptest::collection::vec(proptest::option::of(0usize..90_000), 0..6), any::<bool>()),
            0..40
        ),
        from in 0u64..60,
        len in 0u64..60,
    ) {
        let (mut db, mut bodies) = (db(), Bodies::new().unwrap());
        let mut next = [0u64; 3];
        let mut kept = BTreeMap::new();
        for (session, texts, restart) in commits {
            if restart {
                bodies.clear();
            }
            let events: Vec<_> = texts.into_iter().map(|len| {
                let seq = &mut next[usize::try_from(session).unwrap()];
                let text = len.map(|len| format!("{session}/{seq} ").repeat(len / 4 + 1));
                let event = event(*seq, text);
                *seq += 1;
                event
            }).collect();
            for (seq, body) in &events {
                kept.extend(body.clone().map(|body| ((session, *seq), body)));
            }
            put(&mut bodies, &mut db, session, &events);
        }
        for session in 0..3 {
            let expected: BTreeMap<u64, Body> = kept
                .range((session, from)..=(session, from + len))
                .map(|((_, seq), body)| (*seq, body.clone()))
                .collect();
            prop_assert_eq!(read(&db, session, from, from + len).unwrap(), expected);
        }
    }
}
