//! What stands: the cases one by one, and any tree against the walk from its leaf to its root.

use proptest::prelude::*;

use super::*;

const ROOT: On = On::Root;

fn on(id: u64) -> Option<On> {
    Some(On::Entry(id))
}

fn goes_on(id: u64, on: Option<On>) -> Entry {
    Entry { id, on, kind: Kind::GoesOn }
}

fn beside(id: u64, on: u64) -> Entry {
    Entry { id, on: Some(On::Entry(on)), kind: Kind::Beside }
}

fn leaf(id: u64, to: On, next: On) -> Entry {
    Entry { id, on: Some(ROOT), kind: Kind::Leaf { to, next } }
}

fn tree(entries: &[Entry]) -> Tree {
    let mut tree = Tree::default();
    entries.iter().for_each(|entry| tree.add(entry, entry.id * 10));
    tree
}

/// Those that do not stand, in order.
fn left(entries: &[Entry]) -> Vec<u64> {
    let standing = tree(entries).standing();
    let left = standing.iter().filter(|(_, stands)| !**stands).map(|(key, _)| key / 10);
    let mut left: Vec<u64> = left.collect();
    left.sort_unstable();
    left
}

/// Whether reading on finds that a branch was left.
fn is_noticed(entries: &[Entry]) -> bool {
    let mut tip = None;
    entries.iter().fold(false, |left, entry| left | Tip::follow(&mut tip, entry))
}

#[test]
fn what_the_way_from_the_last_entry_passes_by_is_left() {
    let chain = [goes_on(1, Some(ROOT)), goes_on(2, on(1)), goes_on(3, on(2)), goes_on(4, on(3))];
    let then = |more: &[Entry]| [&chain[..], more].concat();
    let reset = Entry { id: 5, on: on(4), kind: Kind::Reset };
    for (what, entries, want) in [
        ("nothing", vec![], vec![]),
        ("a chain", then(&[]), vec![]),
        ("without a parent, it goes on", then(&[goes_on(5, None)]), vec![]),
        ("gone back", then(&[goes_on(5, on(2))]), vec![3, 4]),
        ("gone back, and on", then(&[goes_on(5, on(2)), goes_on(6, on(5))]), vec![3, 4]),
        ("and back again", then(&[goes_on(5, on(2)), goes_on(6, on(4))]), vec![5]),
        ("begun anew", then(&[goes_on(5, Some(ROOT))]), vec![1, 2, 3, 4]),
        // Signs: where it stands, and where the next is hung.
        ("a sign", then(&[leaf(5, On::Entry(2), On::Entry(2))]), vec![3, 4]),
        ("a sign to where it is", then(&[leaf(5, On::Entry(4), On::Entry(4))]), vec![]),
        ("a sign to the beginning", then(&[leaf(5, ROOT, ROOT)]), vec![1, 2, 3, 4]),
        (
            "on the sign",
            then(&[leaf(5, On::Entry(2), On::Entry(2)), goes_on(6, on(5))]),
            vec![3, 4],
        ),
        (
            "a sign elsewhere does nothing, and what hangs on it on nothing known",
            then(&[leaf(5, On::Entry(9), On::Entry(9)), goes_on(6, on(5)), goes_on(7, on(2))]),
            vec![3, 4, 6],
        ),
        (
            "a sign to what was written beside",
            then(&[beside(5, 4), leaf(6, On::Entry(2), On::Entry(5)), goes_on(7, on(5))]),
            vec![3, 4, 5],
        ),
        // Beside it.
        ("beside the last", then(&[beside(5, 4), goes_on(6, on(4))]), vec![]),
        ("on what is beside", then(&[beside(5, 4), goes_on(6, on(5))]), vec![]),
        ("beside an earlier one", then(&[beside(5, 2), goes_on(6, on(5))]), vec![]),
        ("it goes with what it is beside", then(&[beside(5, 4), goes_on(6, on(2))]), vec![3, 4, 5]),
        ("or stays with it", then(&[beside(5, 2), goes_on(6, on(2))]), vec![3, 4]),
        // What is not there.
        ("on what is missing", then(&[goes_on(6, on(5))]), vec![]),
        ("left, then on what is missing", then(&[goes_on(5, on(2)), goes_on(7, on(6))]), vec![]),
        (
            "left after it",
            then(&[goes_on(7, on(6)), goes_on(8, on(7)), goes_on(9, on(7))]),
            vec![8],
        ),
        ("left before it, and back", then(&[goes_on(7, on(6)), goes_on(8, on(2))]), vec![3, 4, 7]),
        ("cut at its beginning", chain[2..].to_vec(), vec![]),
        ("on itself", then(&[goes_on(5, on(5))]), vec![]),
        // What was reset is no branch, and there is no way back.
        ("reset", then(&[reset, goes_on(6, on(5))]), vec![]),
        ("reset, and on what was before", then(&[reset, goes_on(6, on(2))]), vec![]),
        ("reset, and a root", then(&[reset, goes_on(6, Some(ROOT))]), vec![]),
        ("reset, and a sign back", then(&[reset, leaf(6, On::Entry(2), On::Entry(2))]), vec![]),
        (
            "left after a reset",
            then(&[reset, goes_on(6, on(5)), goes_on(7, on(6)), goes_on(8, on(6))]),
            vec![7],
        ),
    ] {
        assert_eq!(left(&entries), want, "{what}");
        assert!(want.is_empty() || is_noticed(&entries), "{what}: not noticed");
    }
    for (what, entries) in [
        ("a chain", then(&[])),
        ("without a parent", then(&[goes_on(5, None)])),
        ("beside", then(&[beside(5, 2), goes_on(6, on(5)), beside(7, 6), goes_on(8, on(6))])),
        ("a sign to where it is", then(&[leaf(5, On::Entry(4), On::Entry(4)), goes_on(6, on(4))])),
        ("cut at its beginning", chain[2..].to_vec()),
    ] {
        assert!(!is_noticed(&entries), "{what} costs nothing");
    }
}

#[test]
fn a_record_stands_while_one_of_its_entries_does() {
    let mut tree = Tree::default();
    for (entry, key) in [
        (goes_on(1, Some(ROOT)), 10),
        (goes_on(2, on(1)), 20),
        (goes_on(3, on(2)), 20),
        // The same record once more, as a file that was put together twice has it.
        (goes_on(1, Some(ROOT)), 10),
        (goes_on(4, on(1)), 40),
        (goes_on(5, on(2)), 50),
    ] {
        tree.add(&entry, key);
    }
    let standing: std::collections::BTreeMap<u64, bool> = tree.standing().into_iter().collect();
    let want = [(10, true), (20, true), (40, false), (50, true)];
    assert_eq!(standing.into_iter().collect::<Vec<_>>(), want);
}

/// The walk, as a harness does it: whatever it meets stands.
fn walk(parents: &[Option<usize>]) -> Vec<bool> {
    let mut stands = vec![false; parents.len()];
    let mut at = parents.len().checked_sub(1);
    while let Some(here) = at {
        stands[here] = true;
        at = parents[here];
    }
    stands
}

proptest! {
    #[test]
    fn what_stands_is_the_way_from_leaf_to_root(picks in prop::collection::vec(any::<(u8, prop::sample::Index)>(), 0..60)) {
        // Mostly goes on; now and then from an earlier one, or anew.
        let parents: Vec<Option<usize>> = picks.iter().enumerate().map(|(at, (pick, index))| match pick {
            _ if at == 0 => None,
            0..=200 => Some(at - 1),
            201..=250 => Some(index.index(at)),
            _ => None,
        }).collect();
        let id = |at: usize| at as u64 + 1;
        let entries: Vec<_> = parents.iter().enumerate().map(|(at, parent)| {
            goes_on(id(at), Some(parent.map_or(ROOT, |parent| On::Entry(id(parent)))))
        }).collect();
        let (standing, want) = (tree(&entries).standing(), walk(&parents));
        prop_assert_eq!(standing.len(), entries.len());
        for (at, want) in want.iter().enumerate() {
            prop_assert_eq!(standing[&(id(at) * 10)], *want, "{} of {:?}", at, parents);
        }
        // Whoever finds out whenever a branch was left, and only then, always has it right.
        let (mut tip, mut known) = (None, HashMap::new());
        for (at, entry) in entries.iter().enumerate() {
            known.insert(entry.id * 10, true);
            if Tip::follow(&mut tip, entry) {
                known = tree(&entries[..=at]).standing();
            }
            prop_assert_eq!(tip, tree(&entries[..=at]).tip());
            prop_assert_eq!(&known, &tree(&entries[..=at]).standing(), "after {} of {:?}", at, parents);
        }
    }

    /// Lines are lost, written beside, signs lead anywhere: nothing that is missing is made up for.
    #[test]
    fn without_some_of_it_nothing_more_is_left(
        picks in prop::collection::vec((any::<u8>(), any::<prop::sample::Index>(), any::<bool>()), 1..60),
    ) {
        let parents: Vec<Option<usize>> = picks.iter().enumerate().map(|(at, (pick, index, _))| match pick {
            _ if at == 0 => None,
            0..=180 => Some(at - 1),
            _ => Some(index.index(at)),
        }).collect();
        let id = |at: usize| at as u64 + 1;
        let there = |at: usize| picks[at].2 || at + 1 == picks.len() || picks[at].0 < 150;
        let entries: Vec<_> = parents.iter().enumerate().filter(|(at, _)| there(*at)).map(|(at, parent)| {
            goes_on(id(at), Some(parent.map_or(ROOT, |parent| On::Entry(id(parent)))))
        }).collect();
        let (standing, whole) = (tree(&entries).standing(), walk(&parents));
        for (at, stands) in whole.iter().enumerate().filter(|(at, _)| there(*at)) {
            prop_assert!(standing[&(id(at) * 10)] || !stands, "{} was on the way: {:?}", at, parents);
        }
    }
}
