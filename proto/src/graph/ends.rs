//! Chains, put together by where they end: whoever must act once, and everybody behind them.
//!
//! The same for the terminal and the page. Not here: how either is written.

use std::collections::{BTreeMap, BTreeSet};

use super::{Chain, Graph};

/// Where chains end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End<'a> {
    /// The session that does not go on, as a ref; of a circle its first.
    pub at: &'a str,
    /// One of the chains, which says why.
    pub chain: &'a Chain,
    /// Those that wait for each other, where it is a circle.
    pub circle: Option<&'a [String]>,
    /// Those that wait for it, each right behind the one that it waits for, with how many are between
    /// (from 1); of a circle the others of it, too.
    pub behind: Vec<(usize, &'a str)>,
}

/// Each end once, in the order of chains.
#[must_use]
pub fn ends(graph: &Graph) -> Vec<End<'_>> {
    let circle_of: BTreeMap<&str, &[String]> = graph
        .cycles
        .iter()
        .flat_map(|cycle| cycle.iter().map(|one| (one.as_str(), cycle.as_slice())))
        .collect();
    // Whom each session stands behind; of a circle nobody is at the end.
    let mut below: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut ends: Vec<End<'_>> = Vec::new();
    let mut known: BTreeSet<&str> = BTreeSet::new();
    for chain in &graph.chains {
        let (Some(first), Some(last)) = (chain.sessions.first(), chain.sessions.last()) else {
            continue;
        };
        let circle = circle_of.get(last.as_str()).copied();
        let at = circle.and_then(|circle| circle.first()).unwrap_or(last).as_str();
        if known.insert(at) {
            ends.push(End { at, chain, circle, behind: Vec::new() });
        }
        if let Some(next) = chain.sessions.get(1).filter(|_| first != at) {
            below.entry(next).or_default().push(first);
        }
    }
    for end in &mut ends {
        let mut met = BTreeSet::from([end.at]);
        let mut left = vec![(0, end.at)];
        while let Some((depth, one)) = left.pop() {
            if depth > 0 {
                end.behind.push((depth, one));
            }
            // Each stands behind one, so all of this is looked at once.
            let behind = below.get(one).into_iter().flatten().rev();
            left.extend(behind.filter(|one| met.insert(one)).map(|one| (depth + 1, *one)));
        }
    }
    ends
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cause;

    fn chain(sessions: &[&str], cause: Cause) -> Chain {
        let sessions = sessions.iter().map(|one| (*one).to_owned()).collect();
        Chain { sessions, cause, detail: None, since: None, blocks: 0 }
    }

    #[test]
    fn each_stands_behind_the_one_it_waits_for() {
        let graph = Graph {
            chains: vec![
                chain(&["a", "b", "a"], Cause::Deadlock),
                chain(&["b", "a", "b"], Cause::Deadlock),
                chain(&["c", "b", "a", "b"], Cause::Deadlock),
                chain(&["p"], Cause::Permission),
                chain(&["r", "q", "p"], Cause::Permission),
                chain(&["q", "p"], Cause::Permission),
                chain(&["s", "q", "p"], Cause::Permission),
            ],
            cycles: vec![vec!["a".to_owned(), "b".to_owned()]],
            ..Graph::default()
        };
        let ends = ends(&graph);
        let told: Vec<_> = ends.iter().map(|end| (end.at, end.circle.is_some())).collect();
        assert_eq!(told, [("a", true), ("p", false)]);
        assert_eq!(ends[0].behind, [(1, "b"), (2, "c")]);
        assert_eq!(ends[1].behind, [(1, "q"), (2, "r"), (2, "s")]);
        assert!(super::ends(&Graph::default()).is_empty());
    }

    #[test]
    fn no_graph_makes_it_go_on_for_ever() {
        // What no daemon makes: a circle that is none of the circles.
        let graph = Graph {
            chains: vec![
                chain(&["a", "b", "c"], Cause::Idle),
                chain(&["b", "a", "c"], Cause::Idle),
                chain(&["c", "a", "c"], Cause::Idle),
                chain(&[], Cause::Idle),
            ],
            ..Graph::default()
        };
        let ends = ends(&graph);
        assert_eq!((ends.len(), ends[0].at), (1, "c"));
    }
}
