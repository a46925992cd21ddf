//! Bindings that hosts ask for and answer at will: how they stand, and that all hosts say the same.

use proptest::prelude::*;
use rrd_proto::Harness;

use super::*;
use crate::{
    fleet::identity::Identity,
    register::{Register, read, sign},
};

const HOUR: i64 = 3_600_000;

fn own(n: u8) -> Identity {
    Identity::from_secret(&[n; 64])
}

fn end(n: u8, id: &str) -> End {
    let key = SessionKey { harness: Harness::ClaudeCode, session_id: id.to_owned() };
    End { node: own(n).node(), key }
}

fn asked() -> Request {
    let scopes = vec![Scope::EventsRead, Scope::MessagesWrite];
    Request { from: end(1, "a"), to: end(2, "b"), scopes, note: Some("look at it".to_owned()) }
}

fn at(hours: i64) -> Timestamp {
    Timestamp::from_millis(1_795_000_000_000 + hours * HOUR)
}

fn said(counter: u64, n: u8, deed: BindingDeed, hours: i64) -> Said {
    let request = (deed == BindingDeed::Request).then(asked);
    let node = own(n).node();
    Said { binding: "1a2b3c4d".to_owned(), counter, node, at: at(hours), deed, request }
}

fn state(words: &[Said], hours: i64) -> Option<BindingState> {
    let mut words: Vec<&Said> = words.iter().collect();
    words.sort_by_key(|said| said.place());
    Standing::of(words.into_iter(), at(hours)).map(|standing| standing.state)
}

#[test]
fn each_answer_counts_only_where_it_fits() {
    use BindingDeed::{Accept, Reject, Request, Revoke};
    use BindingState::{Active, Expired, Inactive, Pending, Rejected};
    for (deeds, expected) in [
        (&[(Request, 0)][..], Pending),
        (&[(Request, 0), (Accept, 1)], Active),
        (&[(Request, 0), (Accept, 1), (Revoke, 90)], Inactive),
        (&[(Request, 0), (Revoke, 1)], Inactive),
        (&[(Request, 0), (Revoke, 1), (Accept, 2)], Inactive),
        (&[(Request, 0), (Reject, 1)], Rejected),
        (&[(Request, 0), (Reject, 1), (Accept, 2)], Rejected),
        (&[(Request, 0), (Reject, 1), (Revoke, 2)], Rejected),
        (&[(Request, 0), (Accept, 1), (Reject, 2)], Active),
        (&[(Request, 0), (Accept, 24)], Expired),
        (&[(Request, 0), (Revoke, 24)], Expired),
        (&[(Request, 0), (Accept, 24), (Reject, 2)], Rejected),
        (&[(Request, 0), (Request, 9)], Expired),
        (&[(Request, 0), (Accept, -9)], Active),
    ] {
        let words: Vec<Said> = (1..)
            .zip(deeds)
            .map(|(counter, (deed, hours))| said(counter, 1, *deed, *hours))
            .collect();
        // Whatever could still expire has by then.
        let when = if expected == Pending { 23 } else { 99 };
        assert_eq!(state(&words, when), Some(expected), "{deeds:?}");
    }
    assert_eq!(state(&[said(1, 1, Accept, 0)], 0), None);
    assert_eq!(state(&[], 0), None);
}

#[test]
fn it_expires_after_a_day_and_goes_after_a_week() {
    let words = [said(1, 1, BindingDeed::Request, 0)];
    let standing = |hours| Standing::of(words.iter(), at(hours)).unwrap();
    assert_eq!((standing(23).state, standing(23).since), (BindingState::Pending, at(0)));
    assert_eq!((standing(24).state, standing(24).since), (BindingState::Expired, at(24)));
    assert!(!standing(8 * 24 - 1).is_past(at(8 * 24 - 1)) && standing(8 * 24).is_past(at(8 * 24)));
    assert!(is_past(words.iter(), None, at(7 * 24)) && !is_past(words.iter(), None, at(167)));
    let words = [words[0].clone(), said(2, 2, BindingDeed::Accept, 1)];
    let standing = Standing::of(words.iter(), at(9_999)).unwrap();
    assert!(standing.is_open() && !standing.is_past(at(9_999)));
}

#[test]
fn an_edge_tells_what_it_is_for() {
    let words = [said(1, 1, BindingDeed::Request, 0), said(2, 2, BindingDeed::Accept, 1)];
    let edge = |count: usize, hours| {
        Standing::of(words[..count].iter(), at(hours)).unwrap().edge("1a2b3c4d", |_| 0)
    };
    assert_eq!((edge(1, 0).state, edge(1, 24).state), (EdgeState::Pending, EdgeState::Inactive));
    let active = edge(2, 99);
    assert_eq!((active.kind, active.state), (EdgeKind::Binding, EdgeState::Active));
    assert_eq!((active.from, active.to), (end(1, "a").reference(), end(2, "b").reference()));
    assert_eq!(active.evidence, "active: events:read, messages:write (1a2b3c4d)");
    assert_eq!(active.since, Some(at(1)));
    // Whose clock is how far from this one.
    let offset_ms = |node| if node == own(1).node() { 10 * HOUR } else { -HOUR };
    let since = |count: usize, hours| {
        Standing::of(words[..count].iter(), at(hours)).unwrap().edge("1a2b3c4d", offset_ms).since
    };
    assert_eq!(since(1, 0), Some(at(10)));
    assert_eq!(since(2, 99), Some(at(0)));
    assert_eq!(since(1, 30), Some(at(34)));
}

#[test]
fn what_would_harm_whoever_shows_it_is_no_word() {
    let with = |change: &dyn Fn(&mut Said)| {
        let mut said = said(1, 1, BindingDeed::Request, 0);
        change(&mut said);
        sign(&own(1), &said)
    };
    fn request(said: &mut Said) -> &mut Request {
        said.request.as_mut().unwrap()
    }
    assert!(with(&|_| ()).is_some() && with(&|said| request(said).note = None).is_some());
    assert!(with(&|said| said.binding = "a\u{1b}".into()).is_none());
    assert!(with(&|said| said.binding = String::new()).is_none());
    assert!(with(&|said| said.counter = 0).is_none());
    assert!(with(&|said| said.request = None).is_none());
    assert!(with(&|said| said.deed = BindingDeed::Accept).is_none());
    assert!(with(&|said| request(said).to = asked().from).is_none());
    assert!(with(&|said| request(said).scopes.clear()).is_none());
    assert!(with(&|said| request(said).scopes.reverse()).is_none());
    assert!(with(&|said| request(said).scopes = vec![Scope::WorkTake; 2]).is_none());
    assert!(with(&|said| request(said).note = Some("a\nb".into())).is_none());
    assert!(with(&|said| request(said).from.key.session_id = "x".repeat(600)).is_none());
    let text = with(&|_| ()).unwrap();
    let key = |n: u8| move |_| Some(own(n).public());
    assert_eq!(read(&text, key(1)), Some(said(1, 1, BindingDeed::Request, 0)));
    assert_eq!(read::<Said>(&text, key(2)), None);
    // A later release's word: nobody can tell what it is for.
    assert_eq!(read::<Said>(&text.replace("events:read", "files:read"), key(1)), None);
}

#[test]
fn what_ended_makes_room_first() {
    let mut register = Register::default();
    let mut merge = |name: String, counter, deed, hours| {
        let said = Said { binding: name, ..said(counter, 1, deed, hours) };
        let text = sign(&own(1), &said).unwrap();
        register.merge(said, text)
    };
    for n in 0..Said::NAMES as i64 {
        merge(format!("b{n:04}"), 1, BindingDeed::Request, n);
    }
    merge("b0700".to_owned(), 2, BindingDeed::Reject, 99_999);
    let changed = merge("new".to_owned(), 1, BindingDeed::Request, 5_000);
    assert_eq!(changed.into_iter().collect::<Vec<_>>(), ["b0700", "new"]);
    let changed = merge("newer".to_owned(), 1, BindingDeed::Request, 5_001);
    assert_eq!(changed.into_iter().collect::<Vec<_>>(), ["b0000", "newer"]);
}

#[test]
fn however_much_is_said_of_one_what_was_asked_for_stays() {
    let mut register = Register::default();
    let asked = said(1, 1, BindingDeed::Request, 0);
    let answers = (2..60).map(|counter| said(counter, 1, BindingDeed::Accept, 1));
    for said in answers.chain([asked]) {
        let text = sign(&own(1), &said).unwrap();
        register.merge(said, text);
    }
    let words = register.words("1a2b3c4d", |_| true).rev().map(|(said, _)| said);
    let standing = Standing::of(words, at(1)).unwrap();
    assert_eq!((standing.state, standing.steps.len()), (BindingState::Active, 2));
}

fn deed(n: usize) -> BindingDeed {
    [BindingDeed::Request, BindingDeed::Accept, BindingDeed::Reject, BindingDeed::Revoke][n]
}

proptest! {
    /// In any order, however often, also where there are more than are kept: the same words, and so the same
    /// standing.
    #[test]
    fn words_on_bindings_are_merged_in_any_order(
        words in prop::collection::vec((1u64..12, 1u8..5, 0usize..4, 0i64..40), 1..60),
        order in prop::collection::vec(any::<prop::sample::Index>(), 0..150),
        hours in 0i64..200,
    ) {
        let signed = |(counter, n, of, hours)| {
            let said = said(counter, n, deed(of), hours);
            let text = sign(&own(n), &said).unwrap();
            (said, text)
        };
        let words: Vec<(Said, String)> = words.into_iter().map(signed).collect();
        let (mut straight, mut mixed) = (Register::default(), Register::default());
        words.iter().for_each(|(said, text)| drop(straight.merge(said.clone(), text.clone())));
        let in_order = order.iter().map(|index| index.get(&words)).chain(words.iter().rev());
        for (said, text) in in_order {
            let before = mixed.clone();
            let changed = mixed.merge(said.clone(), text.clone());
            prop_assert_eq!(changed.is_empty(), mixed == before);
        }
        prop_assert_eq!(&mixed, &straight);
        prop_assert!(straight.words("1a2b3c4d", |_| true).count() <= Said::WORDS);
        let standing = |register: &Register<Said>| {
            let words = register.words("1a2b3c4d", |_| true).rev().map(|(said, _)| said.clone());
            state(&words.collect::<Vec<_>>(), hours)
        };
        prop_assert_eq!(standing(&mixed), standing(&straight));
    }

    /// Hosts that do only what fits, and hear of each other at will: none ever sees one come back that was over to
    /// it, unless another host's earlier answer is what counts; and when all have met, all say the same.
    #[test]
    fn all_hosts_say_the_same_whoever_answered_at_one_moment(
        steps in prop::collection::vec((0usize..3, 0usize..3, 1usize..4), 1..40),
    ) {
        let mut hosts = [Register::default(), Register::default(), Register::default()];
        let first = said(1, 1, BindingDeed::Request, 0);
        let text = sign(&own(1), &first).unwrap();
        hosts[0].merge(first, text);
        for (who, from, of) in steps {
            if who != from {
                let theirs: Register<Said> = hosts[from].clone();
                for (said, text) in theirs.words("1a2b3c4d", |_| true) {
                    hosts[who].merge(said.clone(), text.to_owned());
                }
                continue;
            }
            let known = hosts[who].clone();
            let words = known.words("1a2b3c4d", |_| true).rev().map(|(said, _)| said);
            let Some(standing) = Standing::of(words, at(1)) else { continue };
            let Some(becomes) = standing.after(deed(of)) else { continue };
            let next = known.next("1a2b3c4d").unwrap();
            let said = said(next, who as u8 + 1, deed(of), 1);
            let text = sign(&own(who as u8 + 1), &said).unwrap();
            hosts[who].merge(said, text);
            let words = hosts[who].words("1a2b3c4d", |_| true).rev().map(|(said, _)| said);
            prop_assert_eq!(Standing::of(words, at(1)).map(|standing| standing.state), Some(becomes));
        }
        for (who, from) in [(0, 1), (0, 2), (1, 0), (2, 0)] {
            let theirs = hosts[from].clone();
            for (said, text) in theirs.words("1a2b3c4d", |_| true) {
                hosts[who].merge(said.clone(), text.to_owned());
            }
        }
        prop_assert_eq!(&hosts[0], &hosts[1]);
        prop_assert_eq!(&hosts[0], &hosts[2]);
    }
}
