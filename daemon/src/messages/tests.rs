//! Messages among hosts that lose, repeat, delay, forget and begin anew: none is lost, none is there twice, and each
//! pair's are in order.
//!
//! The tables are the real ones, the network is this file. Not here: connections and daemons (the client's tests).

use std::{
    collections::{BTreeMap, HashSet},
    path::Path,
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

use rrd_core::redact::{Redacted, Redactor, Report};
use rrd_proto::{
    Harness, NodeId, SessionKey, Timestamp,
    hook::SPOOL_FOLDER,
    message::{Handed, HandedMessage, MessageId, MessageState, MessagesPush},
};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::fleet::{Keep, NewMessage, NotSent};

const NODES: usize = 5;
const SESSIONS: usize = 3;

fn node(number: usize) -> NodeId {
    NodeId::from_hash([u8::try_from(number + 1).unwrap(); 8])
}

fn key(number: usize) -> SessionKey {
    SessionKey { harness: Harness::Codex, session_id: format!("s{number}") }
}

fn redacted(text: &str) -> Redacted<String> {
    static REDACTOR: LazyLock<Redactor> = LazyLock::new(Redactor::new);
    REDACTOR.text(text, &mut Report::default())
}

/// Another one each time.
fn idempotency_key() -> [u8; 16] {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    u128::from(NEXT.fetch_add(1, Ordering::Relaxed)).to_le_bytes()
}

/// Numbers that look random, the same in each run (splitmix64).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, most: usize) -> usize {
        (self.next() % most as u64) as usize
    }

    fn is_one_in(&mut self, many: usize) -> bool {
        self.below(many) == 0
    }
}

struct Node {
    dir: TempDir,
    keep: Option<Keep>,
    epoch: u32,
    /// How far its clock is from the others', in milliseconds.
    skew: i64,
}

impl Node {
    fn new(epoch: u32, skew: i64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let keep = Some(Keep::open(dir.path()).unwrap().hurry());
        Self { dir, keep, epoch, skew }
    }

    fn keep(&mut self) -> &mut Keep {
        self.keep.as_mut().unwrap()
    }

    fn send(&mut self, own: usize, from: usize, to: (usize, usize), text: &str, at: i64) -> u64 {
        let (text, from, whom) = (redacted(text), key(from), key(to.1));
        let own = (node(own), self.epoch);
        let new = NewMessage {
            own,
            to_node: node(to.0),
            from: Some(&from),
            to: &whom,
            text: &text,
            idempotency_key: &idempotency_key(),
        };
        let now = self.now(at);
        self.keep().send_message(&new, now).unwrap()
    }

    fn now(&self, at: i64) -> Timestamp {
        Timestamp::from_millis(1_795_000_000_000 + at + self.skew)
    }

    fn take(&mut self, from: usize, push: &MessagesPush, at: i64) -> Vec<Handed> {
        let now = self.now(at);
        self.keep().take_messages(node(from), 0, push, &|_| Some(true), now).unwrap()
    }

    /// All that came for a session: its sender and what it says.
    fn inbox(&mut self, session: usize) -> Vec<(MessageId, Option<SessionKey>, String)> {
        let (messages, more) = self.keep().inbox(Some(&key(session)), true, u32::MAX).unwrap();
        assert_eq!(more, 0);
        messages.into_iter().map(|message| (message.id, message.from, message.text)).collect()
    }

    fn dies(&mut self, epoch: u32) {
        self.keep = None;
        self.keep = Some(Keep::open(self.dir.path()).unwrap().hurry());
        self.epoch = epoch;
    }
}

/// A call that is on its way.
struct Call {
    from: usize,
    to: usize,
    push: MessagesPush,
    /// Whoever made it is still there and waits.
    is_awaited: bool,
}

struct World {
    nodes: Vec<Node>,
    calls: Vec<Call>,
    chance: Chance,
    /// Who does not reach whom.
    cut: HashSet<(usize, usize)>,
    /// What each pair of sessions was sent, in order.
    sent: BTreeMap<[usize; 4], Vec<String>>,
    at: i64,
    epochs: u32,
}

impl World {
    fn new(seed: u64) -> Self {
        let skews = [0, -3_600_000, 86_400_000, 700, -2];
        let nodes = skews.iter().enumerate().map(|(at, skew)| Node::new(at as u32, *skew));
        Self {
            nodes: nodes.collect(),
            calls: Vec::new(),
            chance: Chance(seed),
            cut: HashSet::new(),
            sent: BTreeMap::new(),
            at: 0,
            epochs: 100,
        }
    }

    fn send(&mut self) {
        let (from, to) = (self.chance.below(NODES), self.chance.below(NODES));
        let (of, whom) = (self.chance.below(SESSIONS), self.chance.below(SESSIONS));
        let pair = self.sent.entry([from, of, to, whom]).or_default();
        let text = format!("{from}.{of} to {to}.{whom}: {}", pair.len());
        pair.push(text.clone());
        self.nodes[from].send(from, of, (to, whom), &text, self.at);
    }

    fn call(&mut self, from: usize, to: usize) -> bool {
        let is_busy = |call: &Call| call.from == from && call.to == to && call.is_awaited;
        if from == to || self.calls.iter().any(is_busy) {
            return false;
        }
        let push = self.nodes[from].keep().outgoing(node(to), &HashSet::new()).unwrap();
        if push == MessagesPush::default() {
            return false;
        }
        self.calls.push(Call { from, to, push, is_awaited: true });
        true
    }

    /// One of the calls comes to its end, whichever that is.
    fn arrive(&mut self, faults: bool) {
        if self.calls.is_empty() {
            return;
        }
        let at = self.chance.below(self.calls.len());
        let Call { from, to, push, is_awaited } = self.calls.swap_remove(at);
        if faults && (self.cut.contains(&(from, to)) || self.chance.is_one_in(6)) {
            return;
        }
        let handed = self.nodes[to].take(from, &push, self.at);
        assert!(handed.iter().all(|handed| *handed == Handed::Taken));
        // The same once more, now or much later.
        if faults && self.chance.is_one_in(5) {
            self.calls.push(Call { from, to, push: push.clone(), is_awaited: false });
        }
        if is_awaited && !(faults && self.chance.is_one_in(5)) {
            let now = self.nodes[from].now(self.at);
            self.nodes[from].keep().settle(&push, node(to), &handed, now).unwrap();
        }
    }

    fn kill(&mut self) {
        let dead = self.chance.below(NODES);
        self.epochs += 1;
        self.nodes[dead].dies(self.epochs);
        for call in self.calls.iter_mut().filter(|call| call.from == dead) {
            call.is_awaited = false;
        }
    }

    fn read(&mut self) {
        let (at, session) = (self.chance.below(NODES), self.chance.below(SESSIONS));
        let now = self.nodes[at].now(self.at);
        let keep = self.nodes[at].keep();
        let (messages, _) = keep.inbox(Some(&key(session)), false, 20).unwrap();
        let ids: Vec<MessageId> = messages.iter().map(|message| message.id).collect();
        keep.acknowledge(Some(&key(session)), &ids, now).unwrap();
    }

    fn settle(&mut self) {
        self.cut.clear();
        loop {
            let mut calls = false;
            for from in 0..NODES {
                for to in 0..NODES {
                    calls |= self.call(from, to);
                }
            }
            while !self.calls.is_empty() {
                self.arrive(false);
            }
            if !calls {
                return;
            }
        }
    }

    fn is_as_it_should_be(&mut self) {
        let mut all = HashSet::new();
        for at in 0..NODES {
            for session in 0..SESSIONS {
                let mut came: BTreeMap<[usize; 4], Vec<String>> = BTreeMap::new();
                for (id, from, text) in self.nodes[at].inbox(session) {
                    assert!(all.insert(id), "{id} is there twice");
                    let sender = (0..NODES).find(|n| node(*n) == id.node).unwrap();
                    let of = (0..SESSIONS).find(|n| Some(key(*n)) == from).unwrap();
                    came.entry([sender, of, at, session]).or_default().push(text);
                }
                let mut sent = self.sent.clone();
                sent.retain(|[_, _, to, whom], _| (*to, *whom) == (at, session));
                assert!(came == sent, "{came:?}\nis not\n{sent:?}");
            }
        }
    }
}

/// So many messages, with everything that can go wrong meanwhile.
fn lives(seed: u64, messages: usize) {
    let mut world = World::new(seed);
    let mut left = messages;
    while left > 0 {
        world.at += 1;
        match world.chance.below(100) {
            0..40 => {
                world.send();
                left -= 1;
            }
            40..65 => {
                let (from, to) = (world.chance.below(NODES), world.chance.below(NODES));
                world.call(from, to);
            }
            65..90 => world.arrive(true),
            90..95 => world.read(),
            95..97 => {
                let pair = (world.chance.below(NODES), world.chance.below(NODES));
                if !world.cut.insert(pair) {
                    world.cut.remove(&pair);
                }
            }
            // A call that nobody answers any more.
            97..99 => {
                if let Some(call) = world.calls.first_mut() {
                    call.is_awaited = false;
                }
            }
            _ => world.kill(),
        }
    }
    world.settle();
    world.is_as_it_should_be();
    for at in 0..NODES {
        let (sent, _) = world.nodes[at].keep().sent(None, false, 10).unwrap();
        assert!(sent.is_empty(), "{sent:?}");
        assert!(world.nodes[at].keep().hosts_with_messages().unwrap().is_empty());
    }
}

#[test]
fn of_ten_thousand_messages_none_is_lost_none_is_twice_and_all_are_in_order() {
    lives(7, 10_000);
}

#[test]
fn whatever_goes_wrong_none_is_lost_none_is_twice_and_all_are_in_order() {
    for seed in 100..110 {
        lives(seed, 300);
    }
}

fn hand_over(nodes: &mut [Node; 2], besides: &HashSet<SessionKey>) -> Vec<Handed> {
    let push = nodes[0].keep().outgoing(node(1), besides).unwrap();
    let handed = nodes[1].take(0, &push, 0);
    let now = nodes[0].now(0);
    nodes[0].keep().settle(&push, node(1), &handed, now).unwrap();
    handed
}

#[test]
fn a_backup_of_who_sends_gives_nothing_twice_and_swallows_nothing() {
    let mut nodes = [Node::new(1, 0), Node::new(2, 0)];
    let texts =
        |node: &mut Node| node.inbox(0).into_iter().map(|(_, _, text)| text).collect::<Vec<_>>();
    nodes[0].send(0, 0, (1, 0), "a", 0);
    // What is on its way when the backup is made.
    let backup = std::fs::read(nodes[0].dir.path().join("keep.db")).unwrap();
    let wal = std::fs::read(nodes[0].dir.path().join("keep.db-wal")).unwrap();
    hand_over(&mut nodes, &HashSet::new());
    nodes[0].send(0, 0, (1, 0), "b", 0);
    hand_over(&mut nodes, &HashSet::new());
    nodes[0].keep = None;
    std::fs::write(nodes[0].dir.path().join("keep.db"), backup).unwrap();
    std::fs::write(nodes[0].dir.path().join("keep.db-wal"), wal).unwrap();
    nodes[0].dies(3);
    // Its number is that of "b".
    nodes[0].send(0, 0, (1, 0), "c", 0);
    hand_over(&mut nodes, &HashSet::new());
    assert_eq!(texts(&mut nodes[1]), ["a", "b", "c"]);
}

#[test]
fn what_was_read_and_is_kept_no_more_does_not_come_again() {
    let mut nodes = [Node::new(1, 0), Node::new(2, 0)];
    nodes[0].send(0, 0, (1, 0), "a", 0);
    let push = nodes[0].keep().outgoing(node(1), &HashSet::new()).unwrap();
    nodes[1].take(0, &push, 0);
    let id = nodes[1].inbox(0)[0].0;
    let (early, late) = (nodes[1].now(0), nodes[1].now(8 * 24 * 3_600_000));
    assert_eq!(nodes[1].keep().acknowledge(None, &[id], early).unwrap(), (1, vec![node(0)]));
    // Its sender is still to be told.
    nodes[1].keep().prune_messages(late).unwrap();
    let told = nodes[1].keep().outgoing(node(0), &HashSet::new()).unwrap();
    assert_eq!(told.read, [(id.epoch, id.seq)]);
    nodes[0].take(1, &told, 0);
    nodes[1].keep().settle(&told, node(0), &[], early).unwrap();
    nodes[1].keep().prune_messages(late).unwrap();
    assert!(nodes[1].inbox(0).is_empty());
    assert_eq!(nodes[1].take(0, &push, 0), [Handed::Taken]);
    assert!(nodes[1].inbox(0).is_empty(), "it came again");
    let sent = nodes[0].keep().sent_one(id.seq).unwrap().unwrap();
    assert_eq!(sent.state, MessageState::Read);
}

#[test]
fn a_session_that_takes_no_more_holds_up_itself_only() {
    let mut nodes = [Node::new(1, 0), Node::new(2, 0)];
    let large = "x".repeat(65_536);
    for _ in 0..257 {
        nodes[0].send(0, 0, (1, 0), &large, 0);
    }
    nodes[0].send(0, 0, (1, 1), "for another", 0);
    let (mut besides, mut all) = (HashSet::new(), Vec::new());
    while nodes[1].inbox(1).is_empty() {
        let handed = hand_over(&mut nodes, &besides);
        if handed.contains(&Handed::Full) {
            besides.insert(key(0));
        }
        all.extend(handed);
    }
    // 16 MiB are 256 of them.
    assert_eq!(nodes[1].inbox(0).len(), 256);
    assert_eq!(all.iter().filter(|handed| **handed == Handed::Taken).count(), 257);
    let ids: Vec<MessageId> = nodes[1].inbox(0).into_iter().map(|(id, _, _)| id).collect();
    let now = nodes[1].now(0);
    nodes[1].keep().acknowledge(None, &ids, now).unwrap();
    assert_eq!(hand_over(&mut nodes, &HashSet::new()), [Handed::Taken]);
    // From here to here it is refused.
    for _ in 0..256 {
        nodes[0].send(0, 0, (0, 1), &large, 0);
    }
    let (text, from, whom) = (redacted("x"), key(0), key(1));
    let own = (node(0), 1);
    let idempotency_key = &idempotency_key();
    let new = NewMessage {
        own,
        to_node: node(0),
        from: Some(&from),
        to: &whom,
        text: &text,
        idempotency_key,
    };
    let sent = nodes[0].keep().send_message(&new, now);
    assert!(matches!(sent, Err(NotSent::Unread { messages: 256, .. })), "{sent:?}");
}

#[test]
fn what_is_on_its_way_to_one_host_is_bounded() {
    let mut one = Node::new(1, 0);
    let large = "x".repeat(65_536);
    for _ in 0..1_024 {
        one.send(0, 0, (1, 0), &large, 0);
    }
    let (text, whom, now) = (redacted("x"), key(0), one.now(0));
    let keys = [(); 3].map(|()| idempotency_key());
    let new = |to_node, at: usize| NewMessage {
        own: (node(0), 1),
        to_node,
        from: None,
        to: &whom,
        text: &text,
        idempotency_key: &keys[at],
    };
    let refused = one.keep().send_message(&new(node(1), 0), now);
    assert!(matches!(refused, Err(NotSent::Full { messages: 1_024, .. })), "{refused:?}");
    one.keep().send_message(&new(node(2), 1), now).unwrap();
    assert_eq!(one.keep().fail_messages(node(1), "dropped", now).unwrap(), 1_024);
    one.keep().send_message(&new(node(1), 2), now).unwrap();
}

#[test]
fn what_was_read_on_a_host_that_left_is_read_once_that_host_says_so_under_whatever_name() {
    let mut nodes = [Node::new(1, 0), Node::new(2, 0)];
    let sent = ["read", "never"].map(|text| nodes[0].send(0, 0, (1, 0), text, 0));
    let near = nodes[0].send(0, 0, (0, 1), "near by", 0);
    hand_over(&mut nodes, &HashSet::new());
    let later = nodes[0].send(0, 0, (1, 0), "on its way", 0);
    assert_eq!(nodes[0].keep().hosts_with_unread().unwrap(), [node(1)]);
    let now = nodes[0].now(1);
    let why = "its host left the fleet";
    assert_eq!(nodes[0].keep().fail_messages(node(1), why, now).unwrap(), 3);
    assert!(nodes[0].keep().hosts_with_unread().unwrap().is_empty());
    for seq in sent {
        let (state, _, trouble) = stands(&mut nodes[0], seq);
        assert_eq!(state, MessageState::Failed);
        assert_eq!(trouble.unwrap(), format!("{why}: whether it was read is not known"));
    }
    assert_eq!(stands(&mut nodes[0], later).2.as_deref(), Some(why));
    assert_eq!(stands(&mut nodes[0], near).0, MessageState::Unread);
    // There nobody is a member either, and it is read meanwhile.
    let now = nodes[1].now(2);
    nodes[1].keep().fail_messages(node(0), why, now).unwrap();
    let first = nodes[1].inbox(0)[0].0;
    nodes[1].keep().acknowledge(None, &[first], now).unwrap();
    nodes[1].keep().fail_messages(node(0), why, now).unwrap();
    // Back, and called node(2).
    assert_eq!(nodes[1].keep().hosts_with_messages().unwrap(), [node(0)]);
    let told = nodes[1].keep().outgoing(node(0), &HashSet::new()).unwrap();
    nodes[0].take(2, &told, 3);
    assert_eq!(stands(&mut nodes[0], sent[0]), (MessageState::Read, "read".to_owned(), None));
    assert_eq!(stands(&mut nodes[0], sent[1]).0, MessageState::Failed);
    // What is unread on a member is only that member's to tell of.
    let other = nodes[0].send(0, 0, (3, 0), "another", 0);
    let push = MessagesPush { read: vec![(1, other)], ..MessagesPush::default() };
    nodes[0].take(2, &push, 3);
    assert_eq!(stands(&mut nodes[0], other).0, MessageState::Queued);
}

#[test]
fn what_one_hook_was_given_no_other_one_is() {
    let mut one = Node::new(1, 0);
    for text in ["a", "b", "c"] {
        one.send(0, 0, (0, 1), text, 0);
    }
    let messages = super::Messages::restored(one.keep()).unwrap();
    let state = one.dir.path().to_owned();
    let hooks = [(); 3].map(|()| CancellationToken::new());
    let mut ask = |hook: usize| -> Vec<(MessageId, String)> {
        let lent = messages.lend(one.keep(), &state, &key(1), &hooks[hook]).unwrap();
        lent.into_iter().map(|message| (message.id, message.text)).collect()
    };
    let (first, second) = (ask(0), ask(1));
    assert_eq!((first.len(), second.len()), (3, 0));
    // There was room for one, which it told and noted.
    messages.held().loans.take_back(&[first[1].0, first[2].0]);
    assert!(ask(1).is_empty());
    note(&state, "0.shown", &serde_json::to_string(&[first[0].0]).unwrap());
    hooks[0].cancel();
    assert_eq!(ask(1), first[1..]);
    // That one had no time.
    hooks[1].cancel();
    assert_eq!(ask(2), first[1..]);
}

fn note(state: &Path, name: &str, text: &str) {
    let spool = state.join(SPOOL_FOLDER);
    std::fs::create_dir_all(&spool).unwrap();
    std::fs::write(spool.join(name), text).unwrap();
}

#[test]
fn what_a_hook_noted_is_told_no_more_and_what_is_no_note_does_no_harm() {
    let mut one = Node::new(1, 0);
    for text in ["told", "not yet"] {
        one.send(0, 0, (0, 1), text, 0);
    }
    let told = one.keep().unshown(&key(1), 1).unwrap()[0].id;
    let spool = one.dir.path().join(SPOOL_FOLDER);
    let unfinished = spool.join("2.tmp");
    for (file, text) in [
        ("1.shown", serde_json::to_string(&[told, told]).unwrap()),
        ("0.shown", "[\"m".to_owned()),
        ("2.tmp", serde_json::to_string(&[told]).unwrap()),
    ] {
        note(one.dir.path(), file, &text);
    }
    std::fs::create_dir(spool.join("3.shown")).unwrap();
    let (now, state) = (one.now(0), one.dir.path().to_owned());
    super::notes::take(one.keep(), &state, now).unwrap();
    let left = one.keep().unshown(&key(1), 9).unwrap();
    assert_eq!(left.iter().map(|one| one.text.as_str()).collect::<Vec<_>>(), ["not yet"]);
    let files = std::fs::read_dir(&spool).unwrap().map(|file| file.unwrap().path());
    assert_eq!(files.filter(|file| file.is_file()).collect::<Vec<_>>(), [unfinished]);
}

#[test]
fn what_a_host_should_not_send_is_not_kept() {
    let mut nodes = [Node::new(1, 0), Node::new(2, 0)];
    let message = |seq: u64, to: usize, text: &str| HandedMessage {
        epoch: 9,
        seq,
        from: None,
        to: key(to),
        text: text.to_owned(),
        sent_at: Timestamp::from_millis(i64::MAX),
    };
    let odd = SessionKey { harness: Harness::Codex, session_id: "x".repeat(10_000) };
    let messages = vec![
        message(1, 0, ""),
        message(2, 0, "behind it"),
        message(3, 1, &"x".repeat(200_000)),
        HandedMessage { from: Some(odd), ..message(4, 2, "a") },
        message(u64::MAX, 3, "a"),
        message(5, 4, "fine"),
        message(5, 4, "the same once more"),
        message(4, 4, "and from before"),
        message(6, 7, "nobody"),
        message(7, 7, "behind that"),
    ];
    let never = vec![(1, u64::MAX), (1, 1)];
    let push = MessagesPush { messages, read: never.clone(), forgotten: never };
    let knows = |of: &SessionKey| Some(*of != key(7));
    let now = nodes[1].now(0);
    let handed = nodes[1].keep().take_messages(node(0), i64::MAX, &push, &knows, now).unwrap();
    use Handed::{Later, Refused, Taken, Unknown};
    assert_eq!(
        handed,
        [Refused, Later, Refused, Refused, Refused, Taken, Taken, Taken, Unknown, Later]
    );
    let texts: Vec<String> = nodes[1].inbox(4).into_iter().map(|(_, _, text)| text).collect();
    assert_eq!(texts, ["fine"]);
    // Nobody can tell yet who is there.
    let push = MessagesPush { messages: vec![message(9, 7, "x")], ..MessagesPush::default() };
    let handed = nodes[1].keep().take_messages(node(0), 0, &push, &|_| None, now).unwrap();
    assert_eq!(handed, [Handed::Full]);
}

#[test]
fn of_a_forgotten_session_no_message_is_left_on_the_disk() {
    let mut one = Node::new(1, 0);
    one.send(0, 0, (0, 1), "read by the forgotten", 0);
    one.send(0, 1, (1, 0), "sent by the forgotten", 0);
    one.send(0, 1, (0, 2), "sent near by the forgotten", 0);
    one.send(0, 0, (0, 2), "between others", 0);
    let now = one.now(0);
    one.keep().forget_sessions(&[key(1)], now).unwrap();
    assert_eq!(one.inbox(1).len() + one.keep().sent(Some(&key(1)), true, 9).unwrap().0.len(), 0);
    assert_eq!(one.inbox(2).len(), 1);
    let files =
        ["keep.db", "keep.db-wal"].map(|file| std::fs::read(one.dir.path().join(file)).unwrap());
    let has = |text: &str| {
        files.iter().any(|file| file.windows(text.len()).any(|bytes| bytes == text.as_bytes()))
    };
    assert!(has("between others") && !has("by the forgotten"));
}

#[test]
fn when_it_was_sent_is_shown_by_this_hosts_clock_and_orders_nothing() {
    let mut nodes = [Node::new(1, 3_600_000), Node::new(2, 0)];
    // A clock that is set back between two messages.
    for (text, at) in [("first", 60_000), ("second", 1_000)] {
        nodes[0].send(0, 0, (1, 0), text, at);
    }
    let push = nodes[0].keep().outgoing(node(1), &HashSet::new()).unwrap();
    let now = nodes[1].now(61_000);
    nodes[1].keep().take_messages(node(0), -3_600_000, &push, &|_| Some(true), now).unwrap();
    let (messages, _) = nodes[1].keep().inbox(Some(&key(0)), false, 9).unwrap();
    let shown: Vec<(&str, Timestamp, Option<Timestamp>)> =
        messages.iter().map(|m| (m.text.as_str(), m.sent_at, m.received_at)).collect();
    let (first, second) = (nodes[1].now(60_000), nodes[1].now(1_000));
    assert_eq!(shown, [("first", first, Some(now)), ("second", second, Some(now))]);
}

/// How what was sent stands.
fn stands(node: &mut Node, seq: u64) -> (MessageState, String, Option<String>) {
    let message = node.keep().sent_one(seq).unwrap().unwrap();
    (message.state, message.text, message.trouble)
}

#[test]
fn whoever_wrote_to_a_session_that_is_forgotten_is_told() {
    let mut nodes = [Node::new(1, 0), Node::new(2, 0)];
    let [read, unread] = ["was read", "was not"].map(|text| nodes[0].send(0, 0, (1, 0), text, 0));
    let other = nodes[0].send(0, 0, (1, 1), "for another", 0);
    hand_over(&mut nodes, &HashSet::new());
    let near = nodes[1].send(1, 2, (1, 0), "from near by", 0);
    let first = nodes[1].inbox(0)[0].0;
    let now = nodes[1].now(5);
    nodes[1].keep().acknowledge(None, &[first], now).unwrap();
    nodes[1].keep().forget_sessions(&[key(0)], now).unwrap();
    let why = Some("that session was forgotten on its host".to_owned());
    assert_eq!(stands(&mut nodes[1], near), (MessageState::Failed, String::new(), why.clone()));
    // So it is, whoever begins anew meanwhile.
    nodes[1].dies(7);
    assert_eq!(nodes[1].keep().hosts_with_messages().unwrap(), [node(0)]);
    let told = nodes[1].keep().outgoing(node(0), &HashSet::new()).unwrap();
    assert_eq!((&told.read, &told.forgotten), (&vec![(1, read)], &vec![(1, unread)]));
    for _ in 0..2 {
        nodes[0].take(1, &told, 0);
    }
    nodes[1].keep().settle(&told, node(0), &[], now).unwrap();
    assert!(nodes[1].keep().hosts_with_messages().unwrap().is_empty());
    let first = (MessageState::Read, "was read".to_owned(), None);
    assert_eq!(stands(&mut nodes[0], read), first);
    assert_eq!(stands(&mut nodes[0], unread), (MessageState::Failed, "was not".to_owned(), why));
    assert_eq!(stands(&mut nodes[0], other).0, MessageState::Unread);
}

#[test]
fn what_comes_for_a_session_in_the_moment_it_is_forgotten_is_not_kept() {
    let mut nodes = [Node::new(1, 0), Node::new(2, 0)];
    let late = nodes[0].send(0, 0, (1, 0), "late", 0);
    let push = nodes[0].keep().outgoing(node(1), &HashSet::new()).unwrap();
    let now = nodes[1].now(5);
    nodes[1].keep().forget_sessions(&[key(0)], now).unwrap();
    // Both were let in by a look at what was known before.
    let handed = nodes[1].keep().take_messages(node(0), 0, &push, &|_| Some(true), now).unwrap();
    assert_eq!(handed, [Handed::Unknown]);
    nodes[0].keep().settle(&push, node(1), &handed, now).unwrap();
    assert_eq!(stands(&mut nodes[0], late).0, MessageState::Failed);
    let (text, whom, key_of_call) = (redacted("x"), key(0), idempotency_key());
    let near = NewMessage {
        own: (node(1), 1),
        to_node: node(1),
        from: None,
        to: &whom,
        text: &text,
        idempotency_key: &key_of_call,
    };
    assert!(matches!(nodes[1].keep().send_message(&near, now), Err(NotSent::Forgotten)));
    assert!(nodes[1].inbox(0).is_empty());
    assert!(nodes[1].keep().sent(None, true, 9).unwrap().0.is_empty());
}

#[test]
fn what_was_sent_is_found_by_the_key_of_its_call_and_kept_once() {
    let mut one = Node::new(1, 0);
    let (text, whom, now) = (redacted("x"), key(0), one.now(0));
    let (known, other) = (idempotency_key(), idempotency_key());
    let new = NewMessage {
        own: (node(0), 1),
        to_node: node(1),
        from: None,
        to: &whom,
        text: &text,
        idempotency_key: &known,
    };
    let seq = one.keep().send_message(&new, now).unwrap();
    one.dies(2);
    assert_eq!(one.keep().sent_once(&known).unwrap().unwrap().id.seq, seq);
    assert_eq!(one.keep().sent_once(&other).unwrap(), None);
    assert!(matches!(one.keep().send_message(&new, now), Err(NotSent::Keep(_))));
    assert_eq!(one.keep().sent(None, true, 9).unwrap().0.len(), 1);
}

#[test]
fn what_is_kept_of_a_text_does_not_end_at_a_nul() {
    let mut nodes = [Node::new(1, 0), Node::new(2, 0)];
    let text = "a\0b é".repeat(200);
    let beginning: String = text.chars().take(400).collect();
    let [taken, read] = [0, 1].map(|whom| nodes[0].send(0, 0, (1, whom), &text, 0));
    let near = nodes[0].send(0, 0, (0, 1), &text, 0);
    let mut push = nodes[0].keep().outgoing(node(1), &HashSet::new()).unwrap();
    push.messages.truncate(1);
    let now = nodes[0].now(0);
    nodes[0].keep().settle(&push, node(1), &[Handed::Taken], now).unwrap();
    // One that is read before its sender knows that it came.
    let told = MessagesPush { read: vec![(1, read)], ..MessagesPush::default() };
    nodes[0].take(1, &told, 0);
    for seq in [taken, read, near] {
        assert_eq!(stands(&mut nodes[0], seq).1, beginning);
    }
}
