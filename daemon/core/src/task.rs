//! Tasks, and the session that works on each: a register that every host of the fleet keeps.
//!
//! A task is a short text that a person or an orchestrator gives. Hosts link it to a session in turn, also
//! while they do not hear each other; the link with the highest (counter, node) counts, and a new one's
//! counter is one more than the highest its host knows (a Lamport clock). So who links after having seen
//! another's link wins, and of two who had not seen each other all hosts choose the same one. A link is
//! signed by its host, so anybody may hand it on. Merging is order-free and repeat-safe. Not here: how links
//! travel, where they are kept, and whose count.

use std::collections::{BTreeMap, BTreeSet};

use rrd_proto::{NodeId, SessionKey, Timestamp, is_task, json::is_unsafe};
use serde::{Deserialize, Serialize};

use crate::fleet::identity::{Identity, Purpose, Signed, SigningPublic};

/// Links that are kept of one task, the newest; the one that counts is among them.
pub const HISTORY: usize = 16;

/// Tasks that are kept; those that were linked longest ago go.
pub const TASKS: usize = 1_000;

/// The highest counter that is taken: whatever a host says, there are later ones.
const MAX_COUNTER: u64 = 1 << 53;

/// Bytes of a link as it travels, at most.
const MAX_TEXT: usize = 2_048;

/// Bytes of a session's id, at most.
const MAX_ID: usize = 512;

/// A host's word on what works on a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The task.
    pub task: String,
    /// One more than the highest that its host knew.
    pub counter: u64,
    /// The host.
    pub node: NodeId,
    /// When, by that host's clock: for a person, not for the order.
    pub at: Timestamp,
    /// The session; `None`: none any more.
    pub session: Option<SessionKey>,
}

#[derive(Serialize, Deserialize)]
struct Body {
    task: String,
    counter: u64,
    at: Timestamp,
    #[serde(default)]
    session: Option<SessionKey>,
}

#[derive(Serialize, Deserialize)]
struct Envelope {
    node: NodeId,
    /// A [`Body`] in JSON, as it was signed.
    link: String,
    sig: Signed,
}

/// Signs a link of this node's own; `None` where it is none that others would read.
#[must_use]
pub fn sign(own: &Identity, link: &Link) -> Option<String> {
    let Link { task, counter, node: _, at, session } = link.clone();
    let link = serde_json::to_string(&Body { task, counter, at, session }).ok()?;
    let sig = own.sign(Purpose::Task, link.as_bytes());
    let text = serde_json::to_string(&Envelope { node: own.node(), link, sig }).ok()?;
    kept(&text).is_some().then_some(text)
}

/// Reads a link; `member` gives the key of a node whose links count.
#[must_use]
pub fn read(text: &str, member: impl FnOnce(NodeId) -> Option<SigningPublic>) -> Option<Link> {
    let link = kept(text)?;
    let envelope: Envelope = serde_json::from_str(text).ok()?;
    let key = member(envelope.node)?;
    key.verifies(Purpose::Task, envelope.link.as_bytes(), &envelope.sig).then_some(link)
}

/// The same of a text whose signature was looked at before it was kept.
#[must_use]
pub fn kept(text: &str) -> Option<Link> {
    if text.len() > MAX_TEXT {
        return None;
    }
    let Envelope { node, link, sig: _ } = serde_json::from_str(text).ok()?;
    let Body { task, counter, at, session } = serde_json::from_str(&link).ok()?;
    let is_name =
        |name: &str| !name.is_empty() && name.len() <= MAX_ID && !name.chars().any(is_unsafe);
    let is_key = |key: &SessionKey| is_name(key.harness.as_str()) && is_name(&key.session_id);
    let is_sound = is_task(&task)
        && (1..=MAX_COUNTER).contains(&counter)
        && session.as_ref().is_none_or(is_key);
    is_sound.then_some(Link { task, counter, node, at, session })
}

/// The links of a task by counter and node, which is their order; each as it was signed.
type Links = BTreeMap<(u64, NodeId), (Link, String)>;

/// Every task with its newest links.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Register {
    tasks: BTreeMap<String, Links>,
}

impl Register {
    /// Takes a link; gives the tasks of which something has changed: its own, and one that made room.
    pub fn merge(&mut self, link: Link, text: String) -> BTreeSet<String> {
        let task = link.task.clone();
        let links = self.tasks.entry(task.clone()).or_default();
        let place = (link.counter, link.node);
        // A host that was put back from a backup may have given a number twice: one of the two, everywhere
        // the same one.
        let rank = |(link, text): &(Link, String)| (link.at, text.clone());
        let new = (link, text);
        if links.get(&place).is_some_and(|known| rank(known) >= rank(&new)) {
            return BTreeSet::new();
        }
        links.insert(place, new);
        let mut changed = BTreeSet::from([task.clone()]);
        if links.len() > HISTORY
            && let Some((oldest, _)) = links.pop_first()
            && oldest == place
        {
            changed.clear();
        }
        if self.tasks.len() > TASKS
            && let Some(oldest) = self.tasks.keys().min_by_key(|task| self.rank(task)).cloned()
        {
            self.tasks.remove(&oldest);
            // One that was not there before is no news.
            if !changed.remove(&oldest) {
                changed.insert(oldest);
            }
        }
        changed
    }

    fn rank(&self, task: &str) -> (Option<Timestamp>, String) {
        let links = self.tasks.get(task).into_iter().flat_map(BTreeMap::values);
        (links.map(|(link, _)| link.at).max(), task.to_owned())
    }

    /// The counter of the next link of a task; `None` where there is none any more.
    #[must_use]
    pub fn next(&self, task: &str) -> Option<u64> {
        let last = self.tasks.get(task).and_then(BTreeMap::last_key_value);
        let next = last.map_or(0, |((counter, _), _)| *counter) + 1;
        (next <= MAX_COUNTER).then_some(next)
    }

    /// The names of all tasks, in order, after one of them.
    pub fn names(&self, after: Option<&str>) -> impl Iterator<Item = &str> {
        let after = after.map(str::to_owned);
        let names = self.tasks.keys().map(String::as_str);
        names.filter(move |task| after.as_deref().is_none_or(|after| *task > after))
    }

    /// The links of a task and their texts, the newest first: of those whose word counts.
    pub fn links<'r>(
        &'r self,
        task: &str,
        counts: impl Fn(NodeId) -> bool + 'r,
    ) -> impl Iterator<Item = (&'r Link, &'r str)> {
        let links = self.tasks.get(task).into_iter().flat_map(|links| links.values().rev());
        links.filter(move |(link, _)| counts(link.node)).map(|(link, text)| (link, text.as_str()))
    }

    /// A number for what is known of a task: the same where the same is known. 0: nothing.
    #[must_use]
    pub fn digest(&self, task: &str, counts: impl Fn(NodeId) -> bool) -> u64 {
        let texts: Vec<&str> = self.links(task, counts).map(|(_, text)| text).collect();
        if texts.is_empty() { 0 } else { crate::hash(texts.join("\n").as_bytes()).max(1) }
    }

    /// The same for all tasks at once.
    #[must_use]
    pub fn digest_of_all(&self, counts: impl Fn(NodeId) -> bool) -> u64 {
        let digests = self.tasks.keys().map(|task| self.digest(task, &counts));
        let bytes: Vec<u8> =
            digests.filter(|digest| *digest > 0).flat_map(u64::to_be_bytes).collect();
        if bytes.is_empty() { 0 } else { crate::hash(&bytes).max(1) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rrd_proto::Harness;

    use super::*;

    fn own(n: u8) -> Identity {
        Identity::from_secret(&[n; 64])
    }

    fn key(id: &str) -> SessionKey {
        SessionKey { harness: Harness::ClaudeCode, session_id: id.to_owned() }
    }

    fn link(task: &str, counter: u64, n: u8, id: &str, at: i64) -> (Link, String) {
        let link = Link {
            task: task.to_owned(),
            counter,
            node: own(n).node(),
            at: Timestamp::from_millis(at),
            session: Some(key(id)),
        };
        let text = sign(&own(n), &link).unwrap();
        (link, text)
    }

    fn all(_: NodeId) -> bool {
        true
    }

    fn current(register: &Register, task: &str) -> Option<String> {
        let (link, _) = register.links(task, all).next()?;
        link.session.as_ref().map(|key| key.session_id.clone())
    }

    #[test]
    fn only_what_its_host_signed_is_read() {
        let (said, text) = link("T-1", 3, 1, "a", 7);
        let member = |n: u8| move |node| (node == own(n).node()).then(|| own(n).public());
        assert_eq!(read(&text, member(1)), Some(said));
        assert_eq!(read(&text, member(2)), None);
        let others = text.replace(&own(1).node().to_string(), &own(2).node().to_string());
        assert_eq!(read(&others, member(2)), None);
        assert_eq!(read(&text.replace("T-1", "T-2"), member(1)), None);
        for nothing in ["", "{}", "null", &"[".repeat(3000), &" ".repeat(3000)] {
            assert_eq!(read(nothing, member(1)), None);
        }
    }

    #[test]
    fn what_would_harm_whoever_shows_it_is_no_link() {
        let with = |change: &dyn Fn(&mut Link)| {
            let (mut link, _) = link("T", 1, 1, "a", 1);
            change(&mut link);
            sign(&own(1), &link)
        };
        assert!(with(&|_| ()).is_some() && with(&|link| link.session = None).is_some());
        assert!(with(&|link| link.task = "a\u{1b}[2J".into()).is_none());
        assert!(with(&|link| link.task = "x".repeat(129)).is_none());
        assert!(with(&|link| link.session = Some(key("a\nb"))).is_none());
        assert!(with(&|link| link.session = Some(key(&"x".repeat(600)))).is_none());
        assert!(with(&|link| link.counter = 0).is_none());
        assert!(with(&|link| link.counter = u64::MAX).is_none());
    }

    #[test]
    fn only_so_many_tasks_are_kept_and_the_oldest_go() {
        let mut register = Register::default();
        for n in 0..TASKS as i64 {
            let (said, text) = link(&format!("t{n:04}"), 1, 1, "a", 10 + n);
            assert_eq!(register.merge(said, text).len(), 1);
        }
        let (said, text) = link("old", 1, 1, "a", 1);
        assert!(register.merge(said, text).is_empty() && register.next("old") == Some(1));
        let (said, text) = link("new", 1, 1, "a", 99_999);
        let changed = register.merge(said, text);
        assert_eq!(changed.into_iter().collect::<Vec<_>>(), ["new", "t0000"]);
        assert_eq!(register.names(None).count(), TASKS);
        assert_eq!(register.names(Some("t0001")).next(), Some("t0002"));
    }

    #[test]
    fn the_last_counter_has_none_after_it() {
        let mut register = Register::default();
        let (said, text) = link("T", MAX_COUNTER, 1, "a", 1);
        register.merge(said, text);
        assert_eq!(register.next("T"), None);
    }

    #[test]
    fn whose_word_does_not_count_is_passed_by() {
        let mut register = Register::default();
        for (said, text) in [link("T", 1, 1, "a", 1), link("T", 2, 2, "b", 2)] {
            register.merge(said, text);
        }
        assert_eq!(current(&register, "T").as_deref(), Some("b"));
        let first = own(1).node();
        let left: Vec<_> = register.links("T", |node| node == first).collect();
        assert_eq!((left.len(), left[0].0.counter), (1, 1));
        assert_ne!(register.digest_of_all(all), register.digest_of_all(|node| node == first));
        assert_eq!(register.digest_of_all(|_| false), 0);
    }

    proptest! {
        /// In any order, however often: the same register, and so the same digest.
        #[test]
        fn links_are_merged_in_any_order(
            links in prop::collection::vec((0usize..3, 1u64..40, 1u8..4, 0u8..3, 0i64..50), 1..80),
            order in prop::collection::vec(any::<prop::sample::Index>(), 0..200),
        ) {
            let links: Vec<(Link, String)> = links
                .into_iter()
                .map(|(task, counter, n, id, at)| link(["T", "U", "V"][task], counter, n, &id.to_string(), at))
                .collect();
            let mut straight = Register::default();
            links.iter().for_each(|(said, text)| drop(straight.merge(said.clone(), text.clone())));
            let mut mixed = Register::default();
            let in_order = order.iter().map(|index| index.get(&links)).chain(links.iter().rev());
            for (said, text) in in_order {
                let before = mixed.clone();
                let changed = mixed.merge(said.clone(), text.clone());
                // What is said to have changed is what has.
                prop_assert_eq!(changed.is_empty(), mixed == before);
            }
            prop_assert_eq!(&mixed, &straight);
            prop_assert_eq!(mixed.digest_of_all(all), straight.digest_of_all(all));
            for task in straight.names(None) {
                prop_assert!(straight.links(task, all).count() <= HISTORY);
                let highest = links.iter().map(|(said, _)| said).filter(|said| said.task == task);
                let highest = highest.max_by_key(|said| (said.counter, said.node)).unwrap();
                let (first, _) = straight.links(task, all).next().unwrap();
                prop_assert_eq!((first.counter, first.node), (highest.counter, highest.node));
            }
        }

        /// Hosts link and hear of each other's links at will: who has seen a link always wins over it, and
        /// when all have met, all say the same.
        #[test]
        fn a_link_made_after_seeing_another_wins(
            steps in prop::collection::vec((0usize..3, 0usize..3), 1..40),
        ) {
            let mut hosts = [Register::default(), Register::default(), Register::default()];
            for (n, (who, from)) in steps.into_iter().enumerate() {
                if who == from {
                    let seen = current(&hosts[who], "T");
                    let counter = hosts[who].next("T").unwrap();
                    let (said, text) = link("T", counter, who as u8 + 1, &n.to_string(), 0);
                    hosts[who].merge(said, text);
                    let now = current(&hosts[who], "T");
                    prop_assert!(now == Some(n.to_string()) && now != seen);
                } else {
                    let theirs = hosts[from].clone();
                    for (said, text) in theirs.links("T", all) {
                        hosts[who].merge(said.clone(), text.to_owned());
                    }
                }
            }
            for (who, from) in [(0, 1), (0, 2), (1, 0), (2, 0)] {
                let theirs = hosts[from].clone();
                for (said, text) in theirs.links("T", all) {
                    hosts[who].merge(said.clone(), text.to_owned());
                }
            }
            prop_assert_eq!(current(&hosts[0], "T"), current(&hosts[1], "T"));
            prop_assert_eq!(&hosts[0], &hosts[2]);
        }
    }
}
