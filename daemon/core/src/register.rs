//! A register that every host of the fleet keeps: under each name, what hosts have said of it.
//!
//! Hosts speak in turn, also while they do not hear each other. A word's place is (counter, node), and a new
//! word's counter is one more than the highest that its host knows under that name (a Lamport clock): so whoever
//! speaks after having heard another comes after it, and of two who had not heard of each other all hosts put the
//! same one first. A word is signed by its host, so anybody may hand it on. Merging is order-free and
//! repeat-safe. Not here: what words say, how they travel, where they are kept, and whose count.

use std::collections::{BTreeMap, BTreeSet};

use rrd_proto::{NodeId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::fleet::identity::{Identity, Purpose, Signed, SigningPublic};

/// The highest counter that is taken: whatever a host says, there are later ones.
pub(crate) const MAX_COUNTER: u64 = 1 << 53;

/// Bytes of a word as it travels, at most.
const MAX_TEXT: usize = 2_048;

/// Which words of one name are kept where there are more than [`Word::WORDS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// The last ones: each takes the place of those before it.
    Last,
    /// The first ones: each counts only as it fits those before it.
    First,
}

/// What a host says under a name.
pub trait Word: Clone + Eq {
    /// What its signature is about.
    const PURPOSE: Purpose;
    /// Words that are kept of one name.
    const WORDS: usize;
    /// Which.
    const KEPT: Kept;
    /// Names that are kept; those of the lowest [`Word::rank`] go.
    const NAMES: usize;

    /// Under what.
    fn name(&self) -> &str;
    /// Its counter and its host.
    fn place(&self) -> (u64, NodeId);
    /// When, by that host's clock: not for the order.
    fn at(&self) -> Timestamp;
    /// Without its host, as it is signed; `None` where it cannot be written.
    fn body(&self) -> Option<String>;
    /// Reads that; `None` where it says nothing that is understood, or what would harm whoever shows it.
    fn of_body(node: NodeId, body: &str) -> Option<Self>;

    /// How long a name with these words is to be kept, compared with others.
    fn rank<'w>(words: impl Iterator<Item = &'w Self>) -> (bool, Option<Timestamp>)
    where
        Self: 'w,
    {
        (false, words.map(Self::at).max())
    }
}

#[derive(Serialize, Deserialize)]
struct Envelope {
    node: NodeId,
    /// A [`Word::body`], as it was signed.
    link: String,
    sig: Signed,
}

/// Signs a word of this node's own; `None` where it is none that others would read.
#[must_use]
pub fn sign<W: Word>(own: &Identity, word: &W) -> Option<String> {
    let link = word.body()?;
    let sig = own.sign(W::PURPOSE, link.as_bytes());
    let text = serde_json::to_string(&Envelope { node: own.node(), link, sig }).ok()?;
    kept::<W>(&text).is_some().then_some(text)
}

/// Reads a word; `member` gives the key of a node whose words count.
#[must_use]
pub fn read<W: Word>(
    text: &str,
    member: impl FnOnce(NodeId) -> Option<SigningPublic>,
) -> Option<W> {
    let word = kept(text)?;
    let envelope: Envelope = serde_json::from_str(text).ok()?;
    let key = member(envelope.node)?;
    key.verifies(W::PURPOSE, envelope.link.as_bytes(), &envelope.sig).then_some(word)
}

/// The same of a text whose signature was looked at before it was kept.
#[must_use]
pub fn kept<W: Word>(text: &str) -> Option<W> {
    if text.len() > MAX_TEXT {
        return None;
    }
    let Envelope { node, link, sig: _ } = serde_json::from_str(text).ok()?;
    let word = W::of_body(node, &link)?;
    (1..=MAX_COUNTER).contains(&word.place().0).then_some(word)
}

/// The words of a name by their places, which is their order; each as it was signed.
type Words<W> = BTreeMap<(u64, NodeId), (W, String)>;

/// Every name with its words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Register<W> {
    names: BTreeMap<String, Words<W>>,
}

impl<W> Default for Register<W> {
    fn default() -> Self {
        Self { names: BTreeMap::new() }
    }
}

impl<W: Word> Register<W> {
    /// Takes a word; gives the names of which something has changed: its own, and one that made room.
    pub fn merge(&mut self, word: W, text: String) -> BTreeSet<String> {
        let name = word.name().to_owned();
        let words = self.names.entry(name.clone()).or_default();
        let place = word.place();
        // A host that was put back from a backup may have given a number twice: one of the two, everywhere
        // the same one.
        let rank = |(word, text): &(W, String)| (word.at(), text.clone());
        let new = (word, text);
        if words.get(&place).is_some_and(|known| rank(known) >= rank(&new)) {
            return BTreeSet::new();
        }
        words.insert(place, new);
        let mut changed = BTreeSet::from([name]);
        if words.len() > W::WORDS {
            let gone = match W::KEPT {
                Kept::Last => words.pop_first(),
                Kept::First => words.pop_last(),
            };
            if gone.is_some_and(|(gone, _)| gone == place) {
                changed.clear();
            }
        }
        if self.names.len() > W::NAMES
            && let Some(lowest) = self.names.keys().min_by_key(|name| self.rank(name)).cloned()
        {
            self.names.remove(&lowest);
            // One that was not there before is no news.
            if !changed.remove(&lowest) {
                changed.insert(lowest);
            }
        }
        changed
    }

    fn rank<'n>(&self, name: &'n str) -> (bool, Option<Timestamp>, &'n str) {
        let words = self.names.get(name).into_iter().flat_map(BTreeMap::values);
        let (last, at) = W::rank(words.map(|(word, _)| word));
        (last, at, name)
    }

    /// Takes a name out, and all that was said under it.
    pub fn remove(&mut self, name: &str) {
        self.names.remove(name);
    }

    /// The counter of the next word under a name; `None` where there is none any more.
    #[must_use]
    pub fn next(&self, name: &str) -> Option<u64> {
        let last = self.names.get(name).and_then(BTreeMap::last_key_value);
        let next = last.map_or(0, |((counter, _), _)| *counter) + 1;
        (next <= MAX_COUNTER).then_some(next)
    }

    /// All names, in order, after one of them.
    pub fn names(&self, after: Option<&str>) -> impl Iterator<Item = &str> {
        let after = after.map(str::to_owned);
        let names = self.names.keys().map(String::as_str);
        names.filter(move |name| after.as_deref().is_none_or(|after| *name > after))
    }

    /// The words under a name and their texts, the last first: of those whose word counts.
    pub fn words<'r>(
        &'r self,
        name: &str,
        counts: impl Fn(NodeId) -> bool + 'r,
    ) -> impl DoubleEndedIterator<Item = (&'r W, &'r str)> {
        let words = self.names.get(name).into_iter().flat_map(|words| words.values().rev());
        words
            .filter(move |(word, _)| counts(word.place().1))
            .map(|(word, text)| (word, text.as_str()))
    }

    /// A number for what is known under a name: the same where the same is known. 0: nothing.
    #[must_use]
    pub fn digest(&self, name: &str, counts: impl Fn(NodeId) -> bool) -> u64 {
        let texts: Vec<&str> = self.words(name, counts).map(|(_, text)| text).collect();
        if texts.is_empty() { 0 } else { crate::hash(texts.join("\n").as_bytes()).max(1) }
    }

    /// The same for all names at once.
    #[must_use]
    pub fn digest_of_all(&self, counts: impl Fn(NodeId) -> bool) -> u64 {
        let digests = self.names.keys().map(|name| self.digest(name, &counts));
        let bytes: Vec<u8> =
            digests.filter(|digest| *digest > 0).flat_map(u64::to_be_bytes).collect();
        if bytes.is_empty() { 0 } else { crate::hash(&bytes).max(1) }
    }
}
