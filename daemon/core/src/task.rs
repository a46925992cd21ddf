//! Which session works on each task, as hosts say it in a [`Register`](crate::register::Register).
//!
//! A task is a short text that a person or an orchestrator gives. Hosts link it to a session in turn; the last link
//! counts. Not here: in which order they are, how they travel, and whose count.

use rrd_proto::{NodeId, SessionKey, Timestamp, is_task, json::is_unsafe};
use serde::{Deserialize, Serialize};

use crate::{
    fleet::identity::Purpose,
    register::{Kept, Word},
};

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

impl Word for Link {
    const PURPOSE: Purpose = Purpose::Task;
    const WORDS: usize = 16;
    const KEPT: Kept = Kept::Last;
    const NAMES: usize = 1_000;

    fn name(&self) -> &str {
        &self.task
    }

    fn place(&self) -> (u64, NodeId) {
        (self.counter, self.node)
    }

    fn at(&self) -> Timestamp {
        self.at
    }

    fn body(&self) -> Option<String> {
        let Self { task, counter, node: _, at, session } = self.clone();
        serde_json::to_string(&Body { task, counter, at, session }).ok()
    }

    fn of_body(node: NodeId, body: &str) -> Option<Self> {
        let Body { task, counter, at, session } = serde_json::from_str(body).ok()?;
        let is_sound = is_task(&task) && session.as_ref().is_none_or(is_key);
        is_sound.then_some(Self { task, counter, node, at, session })
    }
}

/// Whether it can be shown, and is no longer than an id is.
pub(crate) fn is_key(key: &SessionKey) -> bool {
    let is_name =
        |name: &str| !name.is_empty() && name.len() <= MAX_ID && !name.chars().any(is_unsafe);
    is_name(key.harness.as_str()) && is_name(&key.session_id)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rrd_proto::Harness;

    use super::*;
    use crate::{
        fleet::identity::Identity,
        register::{MAX_COUNTER, Register, read, sign},
    };

    const HISTORY: usize = Link::WORDS;
    const TASKS: usize = Link::NAMES;

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

    fn current(register: &Register<Link>, task: &str) -> Option<String> {
        let (link, _) = register.words(task, all).next()?;
        link.session.as_ref().map(|key| key.session_id.clone())
    }

    #[test]
    fn only_what_its_host_signed_is_read() {
        let (said, text) = link("T-1", 3, 1, "a", 7);
        let member = |n: u8| move |node| (node == own(n).node()).then(|| own(n).public());
        assert_eq!(read::<Link>(&text, member(1)), Some(said));
        assert_eq!(read::<Link>(&text, member(2)), None);
        let others = text.replace(&own(1).node().to_string(), &own(2).node().to_string());
        assert_eq!(read::<Link>(&others, member(2)), None);
        assert_eq!(read::<Link>(&text.replace("T-1", "T-2"), member(1)), None);
        for nothing in ["", "{}", "null", &"[".repeat(3000), &" ".repeat(3000)] {
            assert_eq!(read::<Link>(nothing, member(1)), None);
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
        let left: Vec<_> = register.words("T", |node| node == first).collect();
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
                prop_assert!(straight.words(task, all).count() <= HISTORY);
                let highest = links.iter().map(|(said, _)| said).filter(|said| said.task == task);
                let highest = highest.max_by_key(|said| (said.counter, said.node)).unwrap();
                let (first, _) = straight.words(task, all).next().unwrap();
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
                    for (said, text) in theirs.words("T", all) {
                        hosts[who].merge(said.clone(), text.to_owned());
                    }
                }
            }
            for (who, from) in [(0, 1), (0, 2), (1, 0), (2, 0)] {
                let theirs = hosts[from].clone();
                for (said, text) in theirs.words("T", all) {
                    hosts[who].merge(said.clone(), text.to_owned());
                }
            }
            prop_assert_eq!(current(&hosts[0], "T"), current(&hosts[1], "T"));
            prop_assert_eq!(&hosts[0], &hosts[2]);
        }
    }
}
