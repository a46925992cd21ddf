//! Who belongs to the fleet: a list that every node keeps, and that only grows.
//!
//! A member states its keys, its name and where it is reached, and signs that; one who was a member before
//! it vouches for its keys. So the fleet's key alone, stolen, makes nobody a member. Lists are merged in
//! any order and as often as one likes: of a member's statements the latest counts, and who was dropped
//! stays dropped. Statements are kept as they were signed, with whatever later releases put into them. Not
//! here: how lists travel, and where they are kept.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use rrd_proto::{NodeId, Timestamp};
use serde::{Deserialize, Serialize};

use super::identity::{HandshakePublic, Identity, Purpose, Signed, SigningPublic};

/// Bytes of a statement, at most.
const MAX_BODY: usize = 4_096;

/// Members of a fleet, at most; those that were dropped are among them.
pub const MAX_MEMBERS: usize = 1_024;

/// Addresses a member states, at most.
pub const MAX_ADDRESSES: usize = 8;

/// What a member says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// By which its signatures are known; it also gives its name.
    pub signing: SigningPublic,
    /// By which it is known in a handshake.
    pub handshake: HandshakePublic,
    /// What its host is called. Text, not a name: two may have the same.
    pub label: String,
    /// Where it is reached, the best first.
    #[serde(default)]
    pub addresses: Vec<SocketAddr>,
    /// Its StableNodeID, where Tailscale runs.
    #[serde(default)]
    pub tailscale: Option<String>,
    /// Whose place it takes.
    #[serde(default)]
    pub replaces: Option<NodeId>,
    /// When it became a member.
    pub joined_at: Timestamp,
    /// Rises with each of its statements.
    pub version: u64,
}

impl Member {
    /// Its name.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.signing.node()
    }

    /// What is vouched for: nothing that may change.
    fn keys(&self) -> Vec<u8> {
        [self.signing.to_bytes(), self.handshake.0].concat()
    }
}

/// A member's statement, as it travels and is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// A [`Member`] in JSON.
    pub body: String,
    /// By itself.
    pub signed: Signed,
    /// Who says that its keys belong to the fleet; the first member says so itself.
    pub voucher: NodeId,
    /// By the voucher.
    pub vouch: Signed,
}

impl Statement {
    /// States `member` and signs it; vouched for by somebody else.
    #[must_use]
    pub fn new(own: &Identity, member: &Member, (voucher, vouch): (NodeId, Signed)) -> Self {
        // A map with text for keys cannot fail.
        let body = serde_json::to_string(member).unwrap_or_default();
        let signed = own.sign(Purpose::Member, body.as_bytes());
        Self { body, signed, voucher, vouch }
    }

    /// What it says, when its own member signed it.
    #[must_use]
    pub fn read(&self) -> Option<Member> {
        if self.body.len() > MAX_BODY {
            return None;
        }
        let member: Member = serde_json::from_str(&self.body).ok()?;
        let is_signed =
            member.signing.verifies(Purpose::Member, self.body.as_bytes(), &self.signed);
        (is_signed && member.addresses.len() <= MAX_ADDRESSES).then_some(member)
    }
}

/// Says that `signing` and `handshake` belong to the fleet.
#[must_use]
pub fn vouch(
    by: &Identity,
    signing: SigningPublic,
    handshake: HandshakePublic,
) -> (NodeId, Signed) {
    let keys = [signing.to_bytes(), handshake.0].concat();
    (by.node(), by.sign(Purpose::Vouch, &keys))
}

/// A member's word that another is none any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drop {
    /// Who is dropped.
    pub node: NodeId,
    /// By whom.
    pub by: NodeId,
    /// When, by that one's clock.
    pub at: Timestamp,
    /// By that one.
    pub signed: Signed,
}

impl Drop {
    /// Drops `node`.
    #[must_use]
    pub fn new(own: &Identity, node: NodeId, at: Timestamp) -> Self {
        let signed = own.sign(Purpose::Drop, &Self::text(node, at));
        Self { node, by: own.node(), at, signed }
    }

    fn text(node: NodeId, at: Timestamp) -> Vec<u8> {
        [node.to_bytes(), at.as_millis().to_be_bytes()].concat()
    }
}

/// The list, as it travels and is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct List {
    /// One for each member, dropped or not.
    #[serde(default)]
    pub statements: Vec<Statement>,
    /// Who was dropped.
    #[serde(default)]
    pub drops: Vec<Drop>,
}

/// Everybody who is, or was, a member.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Members {
    known: BTreeMap<NodeId, (Member, Statement)>,
    drops: BTreeMap<NodeId, Drop>,
}

impl Members {
    /// Of a fleet's first member.
    #[must_use]
    pub fn founded(founder: Statement) -> Option<Self> {
        let member = founder.read()?;
        let node = member.node();
        let vouched = founder.voucher == node
            && member.signing.verifies(Purpose::Vouch, &member.keys(), &founder.vouch);
        vouched.then(|| Self { known: [(node, (member, founder))].into(), drops: BTreeMap::new() })
    }

    /// As it was kept, or as one hears it who trusts whom he has it from.
    #[must_use]
    pub fn trusted(list: List) -> Self {
        let mut members = Self::default();
        for statement in &list.statements {
            if let Some(member) = statement.read() {
                members.known.insert(member.node(), (member, statement.clone()));
            }
        }
        // Whoever was not vouched for by one of them, or by himself, is not among them.
        let mut checked = Self::default();
        for (node, (_, statement)) in &members.known {
            if statement.voucher == *node
                && let Some(founder) = Self::founded(statement.clone())
            {
                checked.known.extend(founder.known);
            }
        }
        checked.merge(list);
        checked
    }

    /// Takes what another list has; gives whose entries are news. What is not signed and vouched for is
    /// passed by.
    pub fn merge(&mut self, list: List) -> BTreeSet<NodeId> {
        let mut news = BTreeSet::new();
        let mut left: Vec<(Member, Statement)> = list
            .statements
            .into_iter()
            .filter_map(|statement| Some((statement.read()?, statement)))
            .collect();
        // A voucher may come after whom it vouches for.
        loop {
            let before = left.len();
            left.retain(|(member, statement)| match self.takes(member, statement) {
                Some(true) => {
                    news.insert(member.node());
                    self.known.insert(member.node(), (member.clone(), statement.clone()));
                    false
                }
                Some(false) => false,
                None => true,
            });
            if left.len() == before {
                break;
            }
        }
        for drop in list.drops {
            let by = self.known.get(&drop.by).map(|(member, _)| member.signing);
            let text = Drop::text(drop.node, drop.at);
            let is_signed = by.is_some_and(|by| by.verifies(Purpose::Drop, &text, &drop.signed));
            // Of several the earliest, so that the order they come in does not matter.
            let earlier = |known: &Drop| (drop.at, drop.by) < (known.at, known.by);
            // Lists are whole: who is not on it now comes with his statement.
            let is_known = self.known.contains_key(&drop.node);
            if is_signed && is_known && self.drops.get(&drop.node).is_none_or(earlier) {
                news.insert(drop.node);
                self.drops.insert(drop.node, drop);
            }
        }
        news
    }

    /// Whether an entry is news; `None` while its voucher is not known.
    fn takes(&self, member: &Member, statement: &Statement) -> Option<bool> {
        let node = member.node();
        if let Some((known, its)) = self.known.get(&node) {
            // Known by its whole keys: whose name is only alike is somebody else.
            let same = known.signing == member.signing && known.handshake == member.handshake;
            let later = (member.version, &statement.body) > (known.version, &its.body);
            return Some(same && later);
        }
        let (voucher, _) = self.known.get(&statement.voucher)?;
        let vouched = voucher.signing.verifies(Purpose::Vouch, &member.keys(), &statement.vouch);
        Some(vouched && self.known.len() < MAX_MEMBERS)
    }

    /// As it travels and is kept.
    #[must_use]
    pub fn list(&self) -> List {
        List {
            statements: self.known.values().map(|(_, statement)| statement.clone()).collect(),
            drops: self.drops.values().cloned().collect(),
        }
    }

    /// Whether it is one now.
    #[must_use]
    pub fn has(&self, node: NodeId) -> bool {
        self.known.contains_key(&node) && !self.drops.contains_key(&node)
    }

    /// Whether it was dropped, and by whom.
    #[must_use]
    pub fn dropped(&self, node: NodeId) -> Option<&Drop> {
        self.drops.get(&node)
    }

    /// One that is a member, or was.
    #[must_use]
    pub fn get(&self, node: NodeId) -> Option<&Member> {
        self.known.get(&node).map(|(member, _)| member)
    }

    /// Its statement.
    #[must_use]
    pub fn statement(&self, node: NodeId) -> Option<&Statement> {
        self.known.get(&node).map(|(_, statement)| statement)
    }

    /// Who is one now, by name.
    pub fn now(&self) -> impl Iterator<Item = &Member> {
        let here = self.known.iter().filter(|(node, _)| !self.drops.contains_key(node));
        here.map(|(_, (member, _))| member)
    }

    /// What a member is called here and everywhere: its label, with a piece of its name where one who came
    /// earlier is called the same.
    #[must_use]
    pub fn label(&self, node: NodeId) -> Option<String> {
        let member = self.get(node)?;
        let came = |member: &Member| (member.joined_at, member.node());
        let clashes = self.now().any(|other| {
            other.node() != node && other.label == member.label && came(other) < came(member)
        });
        Some(if clashes {
            format!("{}-{}", member.label, &node.to_string()[..4])
        } else {
            member.label.clone()
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn identity(n: u8) -> Identity {
        Identity::from_secret(&[n; 64])
    }

    fn states(n: u8, by: u8, version: u64, label: &str) -> Statement {
        let own = identity(n);
        let (signing, handshake) = (own.public(), own.handshake_public());
        let member = Member {
            signing,
            handshake,
            label: label.into(),
            addresses: vec![([127, 0, 0, 1], 7731).into()],
            tailscale: None,
            replaces: None,
            joined_at: Timestamp::from_millis(1000 + i64::from(n)),
            version,
        };
        Statement::new(&own, &member, vouch(&identity(by), signing, handshake))
    }

    fn list(statements: &[Statement]) -> List {
        List { statements: statements.to_vec(), drops: Vec::new() }
    }

    #[test]
    fn only_who_is_vouched_for_is_a_member() {
        let mut members = Members::founded(states(1, 1, 1, "mac")).unwrap();
        assert!(Members::founded(states(2, 1, 1, "mac")).is_none());
        // By nobody known, and by himself.
        assert!(members.merge(list(&[states(3, 2, 1, "x"), states(4, 4, 1, "x")])).is_empty());
        // The voucher comes last.
        let news = members.merge(list(&[states(3, 2, 1, "x"), states(2, 1, 1, "x")]));
        assert_eq!(news.len(), 2);
        let mut forged = states(2, 1, 9, "x");
        forged.body = forged.body.replace("\"x\"", "\"y\"");
        assert!(members.merge(list(&[forged])).is_empty());
        assert_eq!(Members::trusted(members.list()), members);
    }

    #[test]
    fn who_was_dropped_stays_dropped() {
        let mut members = Members::founded(states(1, 1, 1, "mac")).unwrap();
        members.merge(list(&[states(2, 1, 1, "old")]));
        let gone = identity(2).node();
        let drop = Drop::new(&identity(1), gone, Timestamp::from_millis(5));
        let stranger = Drop::new(&identity(9), identity(1).node(), Timestamp::from_millis(5));
        let drops = List { statements: Vec::new(), drops: vec![drop, stranger] };
        assert_eq!(members.merge(drops.clone()), [gone].into());
        assert!(members.merge(drops).is_empty());
        members.merge(list(&[states(2, 1, 7, "back")]));
        assert!(!members.has(gone) && members.has(identity(1).node()));
        assert_eq!(members.now().count(), 1);
    }

    #[test]
    fn of_two_that_are_called_alike_the_later_one_is_told_apart() {
        let mut members = Members::founded(states(1, 1, 1, "mac")).unwrap();
        members.merge(list(&[states(2, 1, 1, "mac"), states(3, 1, 1, "pc")]));
        let label = |n| members.label(identity(n).node()).unwrap();
        assert_eq!((label(1), label(3)), ("mac".to_owned(), "pc".to_owned()));
        assert_eq!(label(2), format!("mac-{}", &identity(2).node().to_string()[..4]));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        /// Whatever the order, however often: the same list.
        #[test]
        fn lists_are_merged_in_any_order(order in prop::collection::vec(0usize..8, 0..24)) {
            let all = [
                states(2, 1, 1, "a"), states(2, 1, 2, "b"), states(2, 1, 2, "c"), states(3, 2, 1, "d"),
                states(4, 3, 1, "e"), states(3, 2, 5, "f"),
            ];
            let drops = [3, 4].map(|by| Drop::new(&identity(by), identity(2).node(), Timestamp::from_millis(7)));
            let piece = |i: usize| match i {
                6 | 7 => List { statements: all.to_vec(), drops: vec![drops[i - 6].clone()] },
                _ => list(&all[i..=i]),
            };
            let mut members = Members::founded(states(1, 1, 1, "mac")).unwrap();
            let whole: Vec<List> = (0..8).map(piece).collect();
            let mut other = members.clone();
            order.iter().for_each(|i| { members.merge(piece(*i)); });
            (0..8).rev().for_each(|i| { members.merge(piece(i)); });
            whole.into_iter().for_each(|list| { other.merge(list); });
            other.merge(members.list());
            members.merge(other.list());
            prop_assert_eq!(members, other);
        }
    }
}
