//! Datagrams between nodes, and what attackers make of them.

use proptest::prelude::*;

use super::*;

const NOW: Duration = Duration::from_secs(100);
const CLOCK: Timestamp = Timestamp::from_millis(1_700_000_000_000);

fn node(n: u8) -> NodeId {
    NodeId::from_hash([n; 8])
}

fn key(n: u8) -> FleetKey {
    FleetKey::new([n; 32])
}

fn pair() -> (Sealer, Opener) {
    (Sealer::new(node(1), 10, 77, &key(1)), Opener::new(node(2), &key(1), []))
}

/// Of the members 1 to 3.
fn open(opener: &mut Opener, datagram: &[u8]) -> Result<Option<Opened>, Dropped> {
    opener.open(datagram, |sender| (1..=3).any(|n| node(n) == sender), NOW)
}

fn open_all(opener: &mut Opener, datagrams: &[Vec<u8>]) -> Vec<Opened> {
    datagrams.iter().filter_map(|datagram| open(opener, datagram).unwrap()).collect()
}

#[test]
fn a_message_arrives_as_it_was_sent() {
    let (mut sealer, mut opener) = pair();
    for length in [0, 1, PART, PART + 1, 70_000, MAX_PARTS * PART] {
        let message: Vec<u8> = (0..length).map(|i| i as u8).collect();
        let mut datagrams = sealer.seal(node(2), Kind::Push, CLOCK, &message).unwrap();
        assert!(datagrams.iter().all(|datagram| datagram.len() <= MAX_DATAGRAM));
        datagrams.reverse();
        let opened = open_all(&mut opener, &datagrams);
        let whole =
            Opened { sender: node(1), generation: 10, kind: Kind::Push, clock: CLOCK, message };
        assert_eq!(opened, [whole]);
    }
    let long = vec![0; MAX_PARTS * PART + 1];
    assert_eq!(sealer.seal(node(2), Kind::Push, CLOCK, &long), Err(TooLong(long.len())));
}

#[test]
fn a_datagram_is_for_one_node_of_one_fleet_and_taken_once() {
    let (mut sealer, mut opener) = pair();
    let datagram = sealer.seal(node(2), Kind::Gossip, CLOCK, b"x").unwrap().remove(0);
    let mut third = Opener::new(node(3), &key(1), []);
    assert_eq!(open(&mut third, &datagram), Err(Dropped::NotForUs));
    let mut readdressed = datagram.clone();
    readdressed[13..21].copy_from_slice(&node(3).to_bytes());
    assert_eq!(open(&mut third, &readdressed), Err(Dropped::Forged));
    let mut stranger = Opener::new(node(2), &key(9), []);
    assert_eq!(open(&mut stranger, &datagram), Err(Dropped::UnknownKey));
    assert_eq!(opener.open(&datagram, |_| false, NOW), Err(Dropped::NotAMember));
    assert!(open(&mut opener, &datagram).unwrap().is_some());
    assert_eq!(open(&mut opener, &datagram), Err(Dropped::Replayed));
    // Sent back, it comes from oneself.
    let back = sealer.seal(node(1), Kind::Gossip, CLOCK, b"x").unwrap().remove(0);
    let mut own = Opener::new(node(1), &key(1), []);
    assert_eq!(open(&mut own, &back), Err(Dropped::OwnName));
    // Also by a later process.
    let mut later = Opener::new(node(2), &key(1), opener.floors().collect::<Vec<_>>());
    assert_eq!(open(&mut later, &datagram), Err(Dropped::Replayed));
    let next = sealer.seal(node(2), Kind::Gossip, CLOCK, b"y").unwrap().remove(0);
    assert!(open(&mut later, &next).unwrap().is_some());
}

#[test]
fn a_flood_of_halves_leaves_nothing_behind() {
    let (mut sealer, mut opener) = pair();
    for _ in 0..100 {
        let datagrams = sealer.seal(node(2), Kind::Gossip, CLOCK, &[0; 3 * PART]).unwrap();
        assert_eq!(open(&mut opener, &datagrams[0]), Ok(None));
        assert!(opener.partial[&node(1)].len() <= MAX_PARTIAL);
    }
    let whole = sealer.seal(node(2), Kind::Gossip, CLOCK, &[0; 3 * PART]).unwrap();
    assert_eq!(open_all(&mut opener, &whole).len(), 1);
    let late = sealer.seal(node(2), Kind::Gossip, CLOCK, &[0; 2 * PART]).unwrap();
    assert_eq!(open(&mut opener, &late[0]), Ok(None));
    let members = |_| true;
    assert_eq!(opener.open(&late[1], members, NOW + PARTIAL_FOR), Ok(None), "too late to fit");
}

#[test]
fn a_key_is_left_behind_at_once() {
    let (mut sealer, mut opener) = pair();
    let before = sealer.seal(node(2), Kind::Push, CLOCK, b"x").unwrap().remove(0);
    sealer.use_key(&key(2));
    opener.use_key(&key(2));
    assert_eq!(open(&mut opener, &before), Err(Dropped::UnknownKey));
    let after = sealer.seal(node(2), Kind::Push, CLOCK, b"x").unwrap().remove(0);
    assert!(open(&mut opener, &after).unwrap().is_some());
}

proptest! {
    /// Whatever is changed, nothing comes of it, and what was not changed is taken afterwards.
    #[test]
    fn what_was_changed_is_dropped(at in 0usize..200, by in 1u8..=255, message in prop::collection::vec(any::<u8>(), 0..150)) {
        let (mut sealer, mut opener) = pair();
        let datagram = sealer.seal(node(2), Kind::Push, CLOCK, &message).unwrap().remove(0);
        let mut changed = datagram.clone();
        let at = at % changed.len();
        changed[at] ^= by;
        prop_assert!(open(&mut opener, &changed).is_err());
        prop_assert!(opener.windows.is_empty());
        prop_assert_eq!(open(&mut opener, &datagram).unwrap().map(|opened| opened.message), Some(message));
    }

    #[test]
    fn noise_is_dropped(noise in prop::collection::vec(any::<u8>(), 0..1400)) {
        let (_, mut opener) = pair();
        prop_assert!(open(&mut opener, &noise).is_err());
    }
}

#[test]
fn every_reason_is_in_the_list_of_them() {
    let as_they_stand = Dropped::ALL.iter().enumerate().all(|(at, why)| *why as usize == at);
    assert!(as_they_stand && Dropped::Unknown as usize + 1 == Dropped::ALL.len());
    let names: std::collections::BTreeSet<_> =
        Dropped::ALL.iter().map(|why| why.as_str()).collect();
    assert_eq!(names.len(), Dropped::ALL.len());
}
