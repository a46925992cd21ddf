//! Which records of a transcript stand, where it is a tree: each entry names the one it hangs on, and who
//! goes back to an earlier one leaves a branch behind.
//!
//! [`Tip`] goes along with reading and tells when the conversation left the branch it was on: rare, and
//! all that appending costs. [`Tree`] is then made of every entry, in order, and tells what the way from
//! the last one to the root passes by. Both keep to what OpenClaw does (`transcript-tree.ts`, 2026.6.11 and
//! 2026.9.6), of which pi's own rule (0.73.1, `buildSessionContext`) is the part without controls.
//!
//! Nothing is said to be left on a guess. Where the way leads to an entry that is not there (a damaged
//! line, a file that was cut), whatever was written before may have been on it, and stands. Not here:
//! what an entry looks like ([`crate::harness`]), and reading.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

/// More entries are not kept in mind, and nothing of so long a transcript is told: some 120 MB.
const MAX_ENTRIES: usize = 2 << 20;

/// One entry's place. Ids are hashes of what the harness calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Its own.
    pub id: u64,
    /// What it hangs on; `None` where nothing is written: then it goes on from where the conversation
    /// stands.
    pub on: Option<On>,
    /// What it does to the conversation.
    pub kind: Kind,
}

/// What an entry hangs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum On {
    /// Nothing: it is a root.
    Root,
    /// This one.
    Entry(u64),
}

/// What an entry does to the conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Goes on with it: it stands here now.
    GoesOn,
    /// The same, and nothing before it can be gone back to any more.
    Reset,
    /// Hangs beside it; what is written next may hang on this one all the same.
    Beside,
    /// Nothing but a sign: it stands there now.
    Leaf {
        /// Where.
        to: On,
        /// What is written next hangs on this one.
        next: On,
    },
}

/// Where the conversation stands, and what was written last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tip {
    leaf: On,
    last: On,
}

impl Tip {
    /// Takes the next entry; true when it does not go on from where the conversation stands (`tip`, none
    /// before the first entry), as far as can be told without the others.
    pub fn follow(tip: &mut Option<Self>, entry: &Entry) -> bool {
        let here = On::Entry(entry.id);
        let Self { leaf, last } = tip.unwrap_or(Self { leaf: On::Root, last: On::Root });
        let (next, left) = match entry.kind {
            Kind::Beside => (Self { leaf, last: here }, false),
            Kind::Leaf { to, next } => (Self { leaf: to, last: next }, to != leaf),
            Kind::GoesOn | Kind::Reset => {
                let left = entry.on.is_some_and(|on| on != leaf && on != last);
                (Self { leaf: here, last: here }, left)
            }
        };
        // Before the first entry there was nothing to be left.
        tip.replace(next).is_some() && left
    }
}

/// Every entry of a transcript.
#[derive(Debug)]
pub struct Tree {
    nodes: Vec<Node>,
    by_id: HashMap<u64, Up>,
    leaf: Up,
    tip: Option<Tip>,
    /// The last reset's number; 0 while there was none.
    resets: u32,
    is_too_long: bool,
}

#[derive(Debug)]
struct Node {
    key: u64,
    up: Up,
    /// The conversation stood here.
    went_on: bool,
    /// The reset that it comes after.
    reset: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Up {
    Root,
    /// An entry that is not there.
    Unknown,
    /// An earlier one: there are no circles.
    Node(u32),
}

impl Default for Tree {
    fn default() -> Self {
        Self {
            nodes: Vec::new(),
            by_id: HashMap::new(),
            leaf: Up::Root,
            tip: None,
            resets: 0,
            is_too_long: false,
        }
    }
}

impl Tree {
    /// Takes the next entry, of the record with this key.
    pub fn add(&mut self, entry: &Entry, key: u64) {
        if self.nodes.len() >= MAX_ENTRIES {
            self.is_too_long = true;
            Tip::follow(&mut self.tip, entry);
            return;
        }
        let Tip { leaf, last } = self.tip.unwrap_or(Tip { leaf: On::Root, last: On::Root });
        let here = On::Entry(entry.id);
        if let Kind::Leaf { to, next } = entry.kind {
            let (mut to, mut next) = ((to, self.at(to)), next);
            if self.resets > 0 && self.leaf != Up::Root && !self.is_after_reset(to.1) {
                (to, next) = ((leaf, self.leaf), leaf);
            }
            // One that leads nowhere is no sign; what hangs on it hangs on nothing that is known.
            if to.1 != Up::Unknown && self.at(next) != Up::Unknown {
                self.by_id.insert(entry.id, to.1);
                self.leaf = to.1;
                self.tip = Some(Tip { leaf: to.0, last: next });
            }
            return;
        }
        let goes_on = entry.kind != Kind::Beside;
        let up = match entry.on {
            None => self.leaf,
            // What was written last hangs beside the conversation, which goes on from where it stood.
            Some(on) if goes_on && on == last && leaf != last => self.leaf,
            Some(on) => match self.at(on) {
                Up::Unknown => Up::Unknown,
                up if goes_on && self.resets > 0 && !self.is_after_reset(up) => self.leaf,
                up => up,
            },
        };
        let node = Up::Node(u32::try_from(self.nodes.len()).unwrap_or(u32::MAX));
        if entry.kind == Kind::Reset {
            self.resets += 1;
        }
        let after = entry.kind == Kind::Reset || self.resets > 0 && self.is_after_reset(up);
        let reset = if after { self.resets } else { 0 };
        self.nodes.push(Node { key, up, went_on: goes_on, reset });
        self.by_id.insert(entry.id, node);
        if goes_on {
            self.leaf = node;
        }
        self.tip = Some(Tip { leaf: if goes_on { here } else { leaf }, last: here });
    }

    /// Where the conversation stands after them.
    #[must_use]
    pub fn tip(&self) -> Option<Tip> {
        self.tip
    }

    /// Of each record that has an entry, by its key: whether it stands. One that the conversation went
    /// through does unless the way from where it stands now surely passes by it; what hangs beside it
    /// stands as long as what it hangs on. Nothing where there are too many to tell.
    #[must_use]
    pub fn standing(&self) -> HashMap<u64, bool> {
        if self.is_too_long {
            return HashMap::new();
        }
        let mut stands = vec![false; self.nodes.len()];
        let (mut up, mut bottom) = (self.leaf, 0);
        while let Up::Node(at) = up {
            bottom = at as usize;
            stands[bottom] = true;
            up = self.nodes[bottom].up;
        }
        // Entries hang on earlier ones: what the way goes on to, beyond what is known, was written before.
        let known_from = if up == Up::Unknown { bottom } else { 0 };
        let mut standing = HashMap::with_capacity(self.nodes.len());
        for (at, node) in self.nodes.iter().enumerate() {
            stands[at] |= match (node.went_on, node.up) {
                (true, _) => at < known_from,
                (false, Up::Node(on)) => stands[on as usize],
                (false, Up::Root | Up::Unknown) => true,
            };
            // A line may hold several records, and a file a record twice.
            *standing.entry(node.key).or_default() |= stands[at];
        }
        standing
    }

    fn at(&self, on: On) -> Up {
        match on {
            On::Root => Up::Root,
            On::Entry(id) => self.by_id.get(&id).copied().unwrap_or(Up::Unknown),
        }
    }

    fn is_after_reset(&self, up: Up) -> bool {
        let Up::Node(at) = up else { return false };
        self.nodes[at as usize].reset == self.resets
    }
}

#[cfg(test)]
mod tests;
