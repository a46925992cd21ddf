//! Which part was made of several, for as long as these are still there.
//!
//! `merge-NNNNN-xxxxxxxx.json` has the numbers and the tag of the one part, is written before it, and goes after
//! the several: so whoever finds both it and the part knows, whatever became of `meta.json`, that the several
//! need not be read. Without the part it says nothing.

use std::collections::HashSet;

use rrd_proto::Timestamp;
use serde::{Deserialize, Serialize};

use super::name::PartName;

/// What a `merge-NNNNN-xxxxxxxx.json` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Merge {
    /// The names of the parts that the one was made of, in their order.
    pub of: Vec<String>,
    /// When that was begun, by the clock of the host that did it.
    pub at: Timestamp,
}

/// A merge and the part that it made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged {
    /// The part.
    pub part: PartName,
    /// What it was made of.
    pub merge: Merge,
}

impl Merge {
    /// The object's name.
    #[must_use]
    pub fn name(part: PartName) -> String {
        format!("merge-{:05}-{}.json", part.seq, part.tag())
    }

    /// The part in an object's name; `None` of anything else.
    #[must_use]
    pub fn part_of(name: &str) -> Option<PartName> {
        let part = name.strip_prefix("merge-")?.strip_suffix(".json")?;
        PartName::parse(&format!("part-{part}.jsonl"))
    }

    /// The parts that the one was made of.
    pub fn parts(&self) -> impl Iterator<Item = PartName> {
        self.of.iter().filter_map(|name| PartName::parse(name))
    }
}

/// Parts that need not be read, since what was made of them is there.
#[must_use]
pub fn replaced(parts: &[PartName], merges: &[Merged]) -> HashSet<PartName> {
    let is_there = |merged: &&Merged| parts.contains(&merged.part);
    merges.iter().filter(is_there).flat_map(|merged| merged.merge.parts()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(seq: u32) -> PartName {
        PartName { seq, tag: [0, 1, 2, 0xab] }
    }

    #[test]
    fn a_part_is_in_its_name() {
        assert_eq!(Merge::name(part(7)), "merge-00007-000102ab.json");
        assert_eq!(Merge::part_of("merge-00007-000102ab.json"), Some(part(7)));
        for name in ["merge-7-000102ab.json", "merge-00007-000102ab.jsonl", "meta.json"] {
            assert_eq!(Merge::part_of(name), None, "{name}");
        }
    }

    #[test]
    fn several_count_until_the_one_is_there() {
        let of = vec![part(1).to_string(), part(2).to_string(), "something else".to_owned()];
        let merge = Merge { of, at: Timestamp::from_millis(0) };
        let one = PartName { seq: 1, tag: [9; 4] };
        let merges = [Merged { part: one, merge }];
        assert_eq!(replaced(&[part(1), part(2), part(3)], &merges), HashSet::new());
        let gone = HashSet::from([part(1), part(2)]);
        assert_eq!(replaced(&[part(1), one, part(3)], &merges), gone);
    }
}
