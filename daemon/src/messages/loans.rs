//! What hooks were given to tell and have not told yet.
//!
//! No other hook is given it meanwhile, nor what came after it from the same sender: so each sender's messages are
//! told in their order. A hook that has hung up has told it and noted that, or never will: then it is to be had
//! again at once. Not here: the notes ([`super::notes`]).

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use rrd_proto::message::MessageId;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::fleet::KeptMessage;

/// Hooks are gone long before that, unless they stand still.
const LENT: Duration = Duration::from_secs(5);

/// What is lent.
#[derive(Debug, Default)]
pub(super) struct Loans(HashMap<MessageId, Loan>);

#[derive(Debug)]
struct Loan {
    at: Instant,
    /// Its hook has hung up; `None` once that hook has said that it told this.
    gone: Option<CancellationToken>,
}

impl Loan {
    fn is_over(&self) -> bool {
        let is_gone = self.gone.as_ref().is_some_and(CancellationToken::is_cancelled);
        is_gone || self.at.elapsed() >= LENT
    }
}

impl Loans {
    /// What is lent now. To be asked before it is looked up what was not told yet: what is given back meanwhile
    /// may have been told since.
    pub(super) fn now(&mut self) -> HashSet<MessageId> {
        self.0.retain(|_, loan| !loan.is_over());
        self.0.keys().copied().collect()
    }

    /// Of what was `found`, in its order, what this hook may tell; that is lent to it until it is `gone`. `lent` is
    /// what was before that was looked up, and nobody else was lent anything since.
    pub(super) fn lend(
        &mut self,
        found: Vec<KeptMessage>,
        lent: &HashSet<MessageId>,
        gone: &CancellationToken,
    ) -> Vec<KeptMessage> {
        let at = Instant::now();
        let mut waiting = HashSet::new();
        let mut free = Vec::new();
        for message in found {
            let sender = (message.id.node, message.from.clone());
            if lent.contains(&message.id) || waiting.contains(&sender) {
                waiting.insert(sender);
            } else {
                self.0.insert(message.id, Loan { at, gone: Some(gone.clone()) });
                free.push(message);
            }
        }
        free
    }

    /// The hook had no room for these.
    pub(super) fn take_back(&mut self, ids: &[MessageId]) {
        for id in ids {
            self.0.remove(id);
        }
    }

    /// The hook says that it told these, which is being kept: that it hangs up gives nobody else what to tell.
    pub(super) fn told(&mut self, ids: &[MessageId]) {
        for id in ids {
            if let Some(loan) = self.0.get_mut(id) {
                loan.gone = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rrd_proto::{Harness, NodeId, SessionKey, Timestamp, message::MessageState};

    use super::*;

    fn message(seq: u64, sender: u8) -> KeptMessage {
        let node = NodeId::from_hash([sender % 2; 8]);
        let key = |id: String| SessionKey { harness: Harness::Codex, session_id: id };
        let at = Timestamp::from_millis(0);
        KeptMessage {
            id: MessageId { node, epoch: 1, seq },
            // A person, or one of two sessions that have the same id on two hosts.
            from: (sender < 2).then(|| key("s".to_owned())),
            to_node: None,
            to: key("whom".to_owned()),
            text: String::new(),
            bytes: 0,
            sent_at: at,
            received_at: None,
            shown_at: None,
            state: MessageState::Unread,
            state_since: at,
            trouble: None,
        }
    }

    fn seqs(messages: &[KeptMessage]) -> Vec<u64> {
        messages.iter().map(|message| message.id.seq).collect()
    }

    fn ask(loans: &mut Loans, found: &[KeptMessage], gone: &CancellationToken) -> Vec<u64> {
        let lent = loans.now();
        seqs(&loans.lend(found.to_vec(), &lent, gone))
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_lent_holds_up_what_came_after_it_from_the_same_sender() {
        let mut loans = Loans::default();
        let found: Vec<_> = (0..4).map(|seq| message(seq, 0)).collect();
        let hooks: Vec<_> = (0..4).map(|_| CancellationToken::new()).collect();
        assert_eq!(ask(&mut loans, &found[..1], &hooks[0]), [0]);
        // Others' are told all the same.
        let both = [&found[..2], &[message(9, 1), message(8, 2), message(7, 3)]].concat();
        assert_eq!(ask(&mut loans, &both, &hooks[1]), [9, 8, 7]);
        // It left without a word.
        hooks[0].cancel();
        assert_eq!(ask(&mut loans, &found, &hooks[2]), [0, 1, 2, 3]);
        // It had room for one, tells that, says so, and hangs up before that is kept.
        loans.take_back(&[found[1].id, found[2].id, found[3].id]);
        assert_eq!(ask(&mut loans, &found, &hooks[3]), [0; 0]);
        loans.told(&[found[0].id]);
        hooks[2].cancel();
        assert_eq!(ask(&mut loans, &found, &hooks[3]), [0; 0]);
        // So it is; the next one stands still.
        assert_eq!(ask(&mut loans, &found[1..], &hooks[3]), [1, 2, 3]);
        tokio::time::advance(LENT).await;
        assert_eq!(ask(&mut loans, &found[1..], &hooks[1]), [1, 2, 3]);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Sent {
            sender: u8,
        },
        /// A hook asks, and this one of the others ends while the disk is looked at.
        Asks {
            room: usize,
            meanwhile: Option<(prop::sample::Index, bool)>,
        },
        /// This one of the hooks tells, or does not, and hangs up.
        Ends {
            which: prop::sample::Index,
            tells: bool,
        },
    }

    fn step() -> impl Strategy<Value = Step> {
        let which = any::<prop::sample::Index>;
        prop_oneof![
            (0u8..4).prop_map(|sender| Step::Sent { sender }),
            (0usize..4, prop::option::of((which(), any::<bool>())))
                .prop_map(|(room, meanwhile)| Step::Asks { room, meanwhile }),
            (which(), any::<bool>()).prop_map(|(which, tells)| Step::Ends { which, tells }),
        ]
    }

    #[derive(Default)]
    struct World {
        loans: Loans,
        untold: Vec<KeptMessage>,
        hooks: Vec<(CancellationToken, Vec<KeptMessage>)>,
        told: Vec<KeptMessage>,
    }

    impl World {
        fn ends(&mut self, which: &prop::sample::Index, tells: bool) {
            if self.hooks.is_empty() {
                return;
            }
            let (gone, given) = self.hooks.swap_remove(which.index(self.hooks.len()));
            if tells {
                self.untold.retain(|message| !given.contains(message));
                self.told.extend(given);
            }
            gone.cancel();
        }

        fn asks(&mut self, room: usize, meanwhile: Option<(prop::sample::Index, bool)>) {
            let lent = self.loans.now();
            let found: Vec<_> = self.untold.iter().take(4).cloned().collect();
            if let Some((which, tells)) = meanwhile {
                self.ends(&which, tells);
            }
            let gone = CancellationToken::new();
            let mut given = self.loans.lend(found, &lent, &gone);
            let left: Vec<_> = given.drain(room.min(given.len())..).map(|left| left.id).collect();
            self.loans.take_back(&left);
            self.hooks.push((gone, given));
        }
    }

    proptest! {
        #[test]
        fn whoever_leaves_whenever_each_senders_are_told_once_and_in_order(
            steps in prop::collection::vec(step(), 0..60),
        ) {
            let mut world = World::default();
            let mut sent = Vec::new();
            for step in steps {
                match step {
                    Step::Sent { sender } => {
                        sent.push(message(sent.len() as u64, sender));
                        world.untold.extend(sent.last().cloned());
                    }
                    Step::Asks { room, meanwhile } => world.asks(room, meanwhile),
                    Step::Ends { which, tells } => world.ends(&which, tells),
                }
            }
            world.hooks.drain(..).for_each(|(gone, _)| gone.cancel());
            while !world.untold.is_empty() {
                let before = world.untold.len();
                world.asks(4, None);
                let (_, given) = world.hooks.pop().unwrap();
                world.untold.retain(|message| !given.contains(message));
                world.told.extend(given);
                prop_assert!(world.untold.len() < before);
            }
            for one in &sent {
                let of_it = |all: &[KeptMessage]| -> Vec<u64> {
                    let same = |other: &&KeptMessage| (other.id.node, &other.from) == (one.id.node, &one.from);
                    all.iter().filter(same).map(|message| message.id.seq).collect()
                };
                prop_assert_eq!(of_it(&world.told), of_it(&sent));
            }
        }
    }
}
