//! Who belongs to the fleet: a list that every node keeps, and that only grows.
//!
//! A member states its keys, its name and where it is reached, and signs that; one who was a member before
//! it vouches for its keys. So the fleet's key alone, stolen, makes nobody a member. Lists are merged in
//! any order and as often as one likes: of a member's statements the latest counts, who was dropped stays
//! dropped, and what was forgotten stays so. Statements are kept as they were signed, with whatever later
//! releases put into them. Not here: how lists travel, and where they are kept.
//!
//! A member that was dropped may speak on with whoever has not heard of it, and then what it says comes to
//! all. No word tells when it was said, so nothing can tell this from what it said as a member, but for one
//! thing: who drops it signs whom he knew it to have vouched for. In doubt, out: those it vouched for
//! besides are no members, and whom it dropped stays dropped, because an invite mends one member too few
//! and nothing mends one too many.

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

/// The highest generation that can be forgotten, or taken over: there must be later ones.
pub const MAX_GENERATION: u64 = 1 << 53;

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
    /// Whom it had vouched for, as far as that one knew; nobody else counts. `None`: not said, all count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vouched: Option<Vec<NodeId>>,
    /// By that one.
    pub signed: Signed,
}

impl Drop {
    /// Drops `node`, who had vouched for these.
    #[must_use]
    pub fn new(own: &Identity, node: NodeId, at: Timestamp, vouched: Option<Vec<NodeId>>) -> Self {
        let signed = own.sign(Purpose::Drop, &Self::text(node, at, vouched.as_deref()));
        Self { node, by: own.node(), at, vouched, signed }
    }

    fn text(node: NodeId, at: Timestamp, vouched: Option<&[NodeId]>) -> Vec<u8> {
        let mut text = [node.to_bytes(), at.as_millis().to_be_bytes()].concat();
        if let Some(vouched) = vouched {
            text.extend((vouched.len() as u64).to_be_bytes());
            vouched.iter().for_each(|node| text.extend(node.to_bytes()));
        }
        text
    }
}

/// A member's word that what another said so far is not to be shown any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forget {
    /// Who is forgotten.
    pub node: NodeId,
    /// What it said in this generation and before.
    pub generation: u64,
    /// By whom.
    pub by: NodeId,
    /// By that one.
    pub signed: Signed,
}

impl Forget {
    /// Forgets what `node` said until that generation.
    #[must_use]
    pub fn new(own: &Identity, node: NodeId, generation: u64) -> Self {
        let signed = own.sign(Purpose::Forget, &Self::text(node, generation));
        Self { node, generation, by: own.node(), signed }
    }

    fn text(node: NodeId, generation: u64) -> Vec<u8> {
        [node.to_bytes(), generation.to_be_bytes()].concat()
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
    /// Who was forgotten.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forgets: Vec<Forget>,
}

/// Everybody who is, or was, a member.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Members {
    known: BTreeMap<NodeId, (Member, Statement)>,
    /// By who is dropped and who does it: each may know of other vouches.
    drops: BTreeMap<(NodeId, NodeId), Drop>,
    forgets: BTreeMap<NodeId, Forget>,
    /// Who is no member any more, and by whose word; it follows from the others.
    out: BTreeMap<NodeId, NodeId>,
}

impl Members {
    /// Of a fleet's first member.
    #[must_use]
    pub fn founded(founder: Statement) -> Option<Self> {
        let member = founder.read()?;
        let node = member.node();
        let vouched = founder.voucher == node
            && member.signing.verifies(Purpose::Vouch, &member.keys(), &founder.vouch);
        vouched.then(|| Self { known: [(node, (member, founder))].into(), ..Self::default() })
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
        // Lists are whole: who is not on it now comes with his statement.
        for drop in list.drops {
            let text = Drop::text(drop.node, drop.at, drop.vouched.as_deref());
            if !self.has_signed(drop.by, drop.node, Purpose::Drop, &text, &drop.signed) {
                continue;
            }
            let place = (drop.node, drop.by);
            // Of several of one member the earliest, so that the order they come in does not matter.
            let rank = |drop: &Drop| (drop.at, drop.vouched.clone());
            if self.drops.get(&place).is_none_or(|known| rank(&drop) < rank(known)) {
                news.insert(drop.node);
                self.drops.insert(place, drop);
            }
        }
        for forget in list.forgets {
            let text = Forget::text(forget.node, forget.generation);
            let later =
                |known: &Forget| (forget.generation, forget.by) > (known.generation, known.by);
            if forget.generation <= MAX_GENERATION
                && self.forgets.get(&forget.node).is_none_or(later)
                && self.has_signed(forget.by, forget.node, Purpose::Forget, &text, &forget.signed)
            {
                news.insert(forget.node);
                self.forgets.insert(forget.node, forget);
            }
        }
        if !news.is_empty() {
            self.out =
                self.known.keys().filter_map(|node| Some((*node, self.put_out(*node)?))).collect();
        }
        news
    }

    /// Whether one who is, or was, a member has signed this about another.
    fn has_signed(
        &self,
        by: NodeId,
        about: NodeId,
        purpose: Purpose,
        text: &[u8],
        signed: &Signed,
    ) -> bool {
        let by = self.known.get(&by).map(|(member, _)| member.signing);
        self.known.contains_key(&about) && by.is_some_and(|by| by.verifies(purpose, text, signed))
    }

    /// By whose word a node is out: it was dropped; or who vouched for it was, by one who did not know of
    /// that; or the voucher himself is there by such a vouch.
    fn put_out(&self, node: NodeId) -> Option<NodeId> {
        let of = |node| {
            self.drops.range((node, NodeId::LEAST)..).take_while(move |((n, _), _)| *n == node)
        };
        let first = of(node).map(|(_, drop)| drop).min_by_key(|drop| (drop.at, drop.by));
        if let Some(drop) = first {
            return Some(drop.by);
        }
        let mut vouched = node;
        // A chain that never ends at a founder is longer than there are members.
        for _ in 0..self.known.len() {
            let (_, statement) = self.known.get(&vouched)?;
            if statement.voucher == vouched {
                return None;
            }
            let did_not_know =
                |drop: &&Drop| drop.vouched.as_ref().is_some_and(|known| !known.contains(&vouched));
            if let Some(drop) = of(statement.voucher).map(|(_, drop)| drop).find(did_not_know) {
                return Some(drop.by);
            }
            vouched = statement.voucher;
        }
        Some(vouched)
    }

    /// Whether an entry is news; `None` while its voucher is not known.
    fn takes(&self, member: &Member, statement: &Statement) -> Option<bool> {
        let node = member.node();
        if let Some((known, its)) = self.known.get(&node) {
            // Known by its whole keys: whose name is only alike is somebody else.
            let same = known.signing == member.signing && known.handshake == member.handshake;
            let later = (member.version, &statement.body) > (known.version, &its.body);
            if !same || !later {
                return Some(false);
            }
            if statement.voucher == its.voucher {
                return Some(true);
            }
            // Let in a second time; but nobody becomes a founder.
            if statement.voucher == node {
                return Some(false);
            }
        }
        let (voucher, _) = self.known.get(&statement.voucher)?;
        let vouched = voucher.signing.verifies(Purpose::Vouch, &member.keys(), &statement.vouch);
        Some(vouched && (self.known.contains_key(&node) || self.known.len() < MAX_MEMBERS))
    }

    /// As it travels and is kept.
    #[must_use]
    pub fn list(&self) -> List {
        List {
            statements: self.known.values().map(|(_, statement)| statement.clone()).collect(),
            drops: self.drops.values().cloned().collect(),
            forgets: self.forgets.values().cloned().collect(),
        }
    }

    /// A word of `own` that `node` is a member no more.
    #[must_use]
    pub fn dropping(&self, own: &Identity, node: NodeId, at: Timestamp) -> Drop {
        let by_it = |(_, statement): &&(Member, Statement)| statement.voucher == node;
        let vouched = self.known.values().filter(by_it).map(|(member, _)| member.node());
        Drop::new(own, node, at, Some(vouched.collect()))
    }

    /// Whether it is one now.
    #[must_use]
    pub fn has(&self, node: NodeId) -> bool {
        self.known.contains_key(&node) && !self.out.contains_key(&node)
    }

    /// By whose word it is one no more.
    #[must_use]
    pub fn dropped(&self, node: NodeId) -> Option<NodeId> {
        self.out.get(&node).copied()
    }

    /// Whether it is one no more by its own word alone: what it said before stands.
    #[must_use]
    pub fn left(&self, node: NodeId) -> bool {
        let of = self.drops.range((node, NodeId::LEAST)..).take_while(|((n, _), _)| *n == node);
        let mut by = of.map(|((_, by), _)| *by).peekable();
        by.peek().is_some() && by.all(|by| by == node)
    }

    /// Until which generation what it said is forgotten.
    #[must_use]
    pub fn forgotten(&self, node: NodeId) -> Option<u64> {
        self.forgets.get(&node).map(|forget| forget.generation)
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
        let here = self.known.iter().filter(|(node, _)| !self.out.contains_key(node));
        here.map(|(_, (member, _))| member)
    }

    /// Everybody who is one, or was, by name.
    pub fn ever(&self) -> impl Iterator<Item = &Member> {
        self.known.values().map(|(member, _)| member)
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
        List { statements: statements.to_vec(), ..List::default() }
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
        let drop = members.dropping(&identity(1), gone, Timestamp::from_millis(5));
        let stranger =
            members.dropping(&identity(9), identity(1).node(), Timestamp::from_millis(5));
        let drops = List { drops: vec![drop, stranger], ..List::default() };
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

    fn drop(by: u8, node: u8, at: i64, vouched: Option<&[u8]>) -> Drop {
        let vouched = vouched.map(|nodes| nodes.iter().map(|n| identity(*n).node()).collect());
        Drop::new(&identity(by), identity(node).node(), Timestamp::from_millis(at), vouched)
    }

    fn here(members: &Members) -> Vec<u8> {
        (1..10).filter(|n| members.has(identity(*n).node())).collect()
    }

    #[test]
    fn whom_a_dropped_one_lets_in_afterwards_is_no_member() {
        let mut members = Members::founded(states(1, 1, 1, "mac")).unwrap();
        members.merge(list(&[states(2, 1, 1, "lost"), states(3, 2, 1, "known")]));
        let drop = members.dropping(&identity(1), identity(2).node(), Timestamp::from_millis(5));
        // One who has not heard of that is told of more, and of what that one vouches for.
        let mut asleep = members.clone();
        asleep.merge(list(&[states(4, 2, 1, "evil"), states(5, 4, 1, "evil")]));
        assert_eq!(here(&asleep), [1, 2, 3, 4, 5]);
        // It makes itself no founder, and gets no vouch of one who gave none.
        asleep.merge(list(&[states(4, 4, 9, "evil")]));
        let mut forged = states(4, 1, 9, "evil");
        forged.vouch = states(4, 2, 1, "evil").vouch;
        assert!(asleep.merge(list(&[forged])).is_empty());
        // Nor does the lost one help it by a drop of its own, and an earlier one.
        let words = List {
            drops: vec![drop, self::drop(2, 2, 0, Some(&[4, 3])), self::drop(4, 2, 0, Some(&[4]))],
            ..List::default()
        };
        asleep.merge(words.clone());
        assert_eq!(here(&asleep), [1], "the others are out by the word of one who is out");
        members.merge(List { drops: words.drops[..1].to_vec(), ..List::default() });
        assert_eq!(here(&members), [1, 3]);
        members.merge(asleep.list());
        assert_eq!(members, asleep);
        assert_eq!(Members::trusted(members.list()), members);
        // Let in anew by a member, it is one.
        assert_eq!(members.merge(list(&[states(3, 1, 2, "known")])).len(), 1);
        assert_eq!(here(&members), [1, 3]);
    }

    #[test]
    fn whom_a_release_before_dropped_takes_nobody_along() {
        let mut members = Members::founded(states(1, 1, 1, "mac")).unwrap();
        members.merge(list(&[states(2, 1, 1, "old"), states(3, 2, 1, "new")]));
        let text = serde_json::to_string(&drop(1, 2, 5, None)).unwrap();
        assert!(!text.contains("vouched"), "{text}");
        let drops = vec![serde_json::from_str(&text).unwrap()];
        members.merge(List { drops, ..List::default() });
        assert_eq!(here(&members), [1, 3]);
    }

    #[test]
    fn what_is_forgotten_is_forgotten_up_to_a_generation() {
        let mut members = Members::founded(states(1, 1, 1, "mac")).unwrap();
        members.merge(list(&[states(2, 1, 1, "old")]));
        let node = identity(2).node();
        let forget = |by, generation| Forget::new(&identity(by), node, generation);
        let forgets = |forgets: &[Forget]| List { forgets: forgets.to_vec(), ..List::default() };
        let mut forged = forget(1, 7);
        forged.generation = 9;
        let nobody = Forget::new(&identity(1), identity(8).node(), 7);
        let most = forget(1, MAX_GENERATION + 1);
        assert!(members.merge(forgets(&[forged, forget(9, 8), nobody, most])).is_empty());
        assert_eq!(members.forgotten(node), None);
        assert_eq!(members.merge(forgets(&[forget(1, 7), forget(2, 3)])), [node].into());
        assert_eq!(members.forgotten(node), Some(7));
        assert!(members.has(node), "it may come back");
        // A list of before knows nothing of it.
        let text = serde_json::to_string(&members.list()).unwrap();
        assert_eq!(Members::trusted(serde_json::from_str(&text).unwrap()), members);
        let old = r#"{"statements":[],"drops":[]}"#;
        assert!(members.merge(serde_json::from_str(old).unwrap()).is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        /// Whatever the order, however often: the same list.
        #[test]
        fn lists_are_merged_in_any_order(order in prop::collection::vec(0usize..15, 0..40)) {
            let all = [
                states(2, 1, 1, "a"), states(2, 1, 2, "b"), states(2, 1, 2, "c"), states(3, 2, 1, "d"),
                states(4, 3, 1, "e"), states(3, 2, 5, "f"), states(5, 4, 1, "g"), states(5, 1, 2, "h"),
                states(4, 4, 9, "i"),
            ];
            let drops = [drop(3, 2, 7, None), drop(4, 2, 7, Some(&[3])), drop(4, 3, 8, Some(&[])), drop(3, 4, 2, Some(&[5]))];
            let forgets = [(3, 2, 9), (4, 2, 9)].map(|(by, node, generation)| Forget::new(&identity(by), identity(node).node(), generation));
            let piece = |i: usize| match i {
                // What is said of somebody comes in a list with him.
                9..13 => List { statements: all.to_vec(), drops: vec![drops[i - 9].clone()], ..List::default() },
                13.. => List { statements: all.to_vec(), forgets: vec![forgets[i - 13].clone()], ..List::default() },
                _ => list(&all[i..=i]),
            };
            let mut members = Members::founded(states(1, 1, 1, "mac")).unwrap();
            let whole: Vec<List> = (0..15).map(piece).collect();
            let mut other = members.clone();
            order.iter().for_each(|i| { members.merge(piece(*i)); });
            (0..15).rev().for_each(|i| { members.merge(piece(i)); });
            whole.into_iter().for_each(|list| { other.merge(list); });
            other.merge(members.list());
            members.merge(other.list());
            prop_assert_eq!(members, other);
        }
    }
}
