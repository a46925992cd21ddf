//! Bindings on one host with an identity and a disk: what time does to them, and whose word counts.

use std::{ffi::OsString, sync::Arc};

use futures::FutureExt;
use rrd_core::{fleet::identity::Identity, register::Word};
use rrd_proto::{Harness, SessionKey, peer_calls::RegisterQuery};
use tempfile::TempDir;

use super::*;
use crate::{
    config::{Config, Flags},
    edge::Edges,
    scan::place,
};

const HOUR: i64 = 3_600_000;

struct Node {
    fleet: Arc<Fleet>,
    hub: Hub,
    home: TempDir,
}

fn opened(home: TempDir) -> Node {
    let env = |wanted: &str| match wanted {
        "HOME" | "RRD_HOME" => Some(home.path().as_os_str().to_owned()),
        "RRD_NAME" => Some(OsString::from("mac")),
        _ => None,
    };
    let config = Config::load(&env, &Flags::default()).unwrap();
    std::fs::create_dir_all(&config.dirs.state).unwrap();
    let fleet = Fleet::open(&config, &Arc::new(Edges::open(&config.dirs))).unwrap();
    let hub = Hub::new(place(&config, Some(fleet.node())), &[]);
    Node { fleet, hub, home }
}

fn node() -> Node {
    opened(tempfile::tempdir().unwrap())
}

impl Node {
    fn end(&self, id: &str) -> End {
        let key = SessionKey { harness: Harness::Codex, session_id: id.to_owned() };
        End { node: self.fleet.node(), key }
    }

    fn asking(&self, to: &str) -> Request {
        let scopes = vec![Scope::WorkTake];
        Request { from: self.end("a"), to: self.end(to), scopes, note: None }
    }

    /// Something was said so many hours ago.
    fn says(&self, id: &str, counter: u64, deed: BindingDeed, hours: i64) {
        let request = (deed == BindingDeed::Request).then(|| self.asking(id));
        let at = now().plus(-hours * HOUR);
        let node = self.fleet.node();
        let said = Said { binding: id.to_owned(), counter, node, at, deed, request };
        self.merges(&self.fleet.identity(), said);
    }

    fn merges(&self, own: &Identity, said: Said) {
        let text = sign(own, &said).unwrap();
        let words = &self.fleet.bindings().words;
        words.merge(&Counts::of(&self.fleet), &mut self.fleet.keep(), vec![(said, text)]).unwrap();
    }

    fn told(&self) -> Vec<(String, BindingState)> {
        let told = self.fleet.bindings().told(&self.fleet, &self.hub, None);
        told.into_iter().map(|one| (one.id, one.state)).collect()
    }

    fn kept(&self) -> usize {
        self.fleet.keep().words_of::<Said>().unwrap().len()
    }
}

#[test]
fn what_is_said_here_is_news_once() {
    let node = node();
    let words = &node.fleet.bindings().words;
    let has_news = || words.has_news().now_or_never().is_some();
    assert!(!has_news());
    node.says("new", 1, BindingDeed::Request, 0);
    node.says("other", 1, BindingDeed::Request, 0);
    assert!(has_news() && !has_news());
}

#[test]
fn a_request_expires_and_what_is_over_goes() {
    use BindingDeed::{Accept, Reject, Request};
    let node = node();
    node.says("new", 1, Request, 23);
    node.says("old", 1, Request, 25);
    node.says("late", 1, Request, 8 * 24 - 1);
    node.says("gone", 1, Request, 8 * 24 + 1);
    node.says("kept", 1, Request, 9_999);
    // Each word is merged by itself here: this one is past before it is answered, and so it goes.
    assert_eq!(node.told().len(), 3);
    let own = node.fleet.node();
    let accept = |binding: &str, hours: i64| Said {
        binding: binding.to_owned(),
        counter: 2,
        node: own,
        at: now().plus(-hours * HOUR),
        deed: Accept,
        request: None,
    };
    let (identity, words) = (node.fleet.identity(), &node.fleet.bindings().words);
    let asked = Said {
        at: now().plus(-9_999 * HOUR),
        counter: 1,
        deed: Request,
        request: Some(node.asking("kept")),
        ..accept("kept", 0)
    };
    let both = [asked, accept("kept", 9_998)].map(|said| {
        let text = sign(&identity, &said).unwrap();
        (said, text)
    });
    let counts = Counts::of(&node.fleet);
    words.merge(&counts, &mut node.fleet.keep(), both.into()).unwrap();
    let expected = [
        ("new", BindingState::Pending),
        ("kept", BindingState::Active),
        ("old", BindingState::Expired),
        ("late", BindingState::Expired),
    ];
    assert_eq!(node.told(), expected.map(|(id, state)| (id.to_owned(), state)));
    assert_eq!(node.kept(), 5);
    // Nobody can answer it any more here, and an answer from elsewhere that came too late counts nowhere.
    for deed in [Accept, Reject] {
        let refused = node.fleet.bindings().decide(&node.fleet, "old", deed).unwrap_err();
        assert!(refused.message.contains("expired"), "{refused:?}");
    }
    node.says("old", 2, Accept, 0);
    assert_eq!(node.told()[2], ("old".to_owned(), BindingState::Expired));
    // The same after a start.
    let before = node.told();
    let Node { fleet, hub, home } = node;
    drop((fleet, hub));
    let node = opened(home);
    assert_eq!(node.told(), before);
    let edges = node.fleet.bindings().edges(&node.fleet, &node.hub);
    assert_eq!(edges.len(), 4);
}

#[test]
fn only_so_many_are_open_at_once() {
    let node = node();
    let open = |n: usize| {
        let (from, to) = (node.end(&format!("f{n}")), node.end(&format!("t{n}")));
        Request { from, to, ..node.asking("x") }
    };
    let bindings = node.fleet.bindings();
    let signed = |n: usize| {
        let request = Some(open(n));
        let (binding, node_id) = (format!("b{n}"), node.fleet.node());
        let deed = BindingDeed::Request;
        let said = Said { binding, counter: 1, node: node_id, at: now(), deed, request };
        let text = sign(&node.fleet.identity(), &said).unwrap();
        (said, text)
    };
    let words = (1..MOST_OPEN).map(signed).collect();
    let counts = Counts::of(&node.fleet);
    bindings.words.merge(&counts, &mut node.fleet.keep(), words).unwrap();
    bindings.request(&node.fleet, open(0)).unwrap();
    let refused = bindings.request(&node.fleet, open(MOST_OPEN)).unwrap_err();
    assert!(refused.message.contains("500 bindings"), "{refused:?}");
    let first = node.told()[0].0.clone();
    bindings.decide(&node.fleet, &first, BindingDeed::Revoke).unwrap();
    bindings.request(&node.fleet, open(MOST_OPEN)).unwrap();
    // Of the same two for the same there is one.
    let refused = bindings.request(&node.fleet, open(MOST_OPEN)).unwrap_err();
    assert!(refused.message.contains("pending already"), "{refused:?}");
}

/// What a stranger said is no part of anything, whoever hands it on; and it does not stay for ever.
#[test]
fn whose_word_does_not_count_asks_for_nothing() {
    let node = node();
    let stranger = Identity::from_secret(&[7; 64]);
    let mut said = Said {
        binding: "theirs".to_owned(),
        counter: 1,
        node: stranger.node(),
        at: now(),
        deed: BindingDeed::Request,
        request: Some(node.asking("x")),
    };
    node.merges(&stranger, said.clone());
    node.says("mine", 1, BindingDeed::Request, 1);
    said = Said {
        binding: "mine".to_owned(),
        counter: 2,
        deed: BindingDeed::Reject,
        request: None,
        ..said
    };
    node.merges(&stranger, said);
    assert_eq!(node.told(), [("mine".to_owned(), BindingState::Pending)]);
    assert_eq!(node.fleet.bindings().edges(&node.fleet, &node.hub).len(), 1);
    let told = node.fleet.bindings().words.tell(&node.fleet, &RegisterQuery::default());
    assert_eq!(told.links.len(), 1, "it is not handed on either");
    assert_eq!((node.kept(), Said::NAMES), (3, 1_000));
}
