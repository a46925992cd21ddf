//! Several nodes, each with one part in telling: any may die at any moment, and words take their time.

use proptest::prelude::*;

use super::{
    super::teller::{Sink, Teller, View},
    *,
};
use crate::fleet::record::{MAX_PARTS, NoticesWord};

/// Milliseconds of a step.
const STEP: i64 = 250;

/// A host that is dead is missed after so many.
const MISSED: i64 = 10_000;

/// All have started, and know each other.
const BEGUN: i64 = 20_000;

struct Node {
    teller: Teller,
    heard: Vec<(NodeId, bool, NoticesWord)>,
    /// What it is sending: when it is done, and what.
    sending: Vec<(i64, Batch)>,
}

use super::super::queue::Batch;

/// What happens to a cluster.
#[derive(Debug, Clone, Default)]
struct Story {
    nodes: u8,
    /// Sessions that ask, and when; each by its number.
    asks: Vec<i64>,
    /// Who dies when.
    dies: Vec<(usize, i64)>,
    /// Who cannot tell anything.
    fails: Vec<usize>,
    /// The kinds that a host tells, where those are not all.
    kinds: Vec<(usize, Vec<NoticeKind>)>,
    /// Words take so long, …
    words_take: i64,
    /// … and telling somebody.
    telling_takes: i64,
}

/// Who told which sessions.
type Told = Vec<(usize, String)>;

/// Each telling of each; and the same of what was begun, if it was to its end or not.
fn tells_and_tries(story: &Story) -> (Told, Told) {
    let (told, tried, _) = tell(story);
    (told, tried)
}

/// Each telling of each, and when it was begun.
fn tells_and_when(story: &Story) -> (Told, Vec<i64>) {
    let (told, _, when) = tell(story);
    (told, when)
}

fn tell(story: &Story) -> (Told, Told, Vec<i64>) {
    let sink = |n: u8| {
        let own = story.kinds.iter().find(|(who, _)| *who == usize::from(n));
        let events = own.map_or(NoticeKind::ALL.to_vec(), |(_, kinds)| kinds.clone());
        let rules = Rules { events, through: vec![], per_hour: 60, ..Rules::default() };
        Sink { id: "sink".to_owned(), is_local: false, rules }
    };
    let mut nodes: Vec<Node> = (0..story.nodes)
        .map(|n| Node {
            teller: Teller::new(vec![sink(n)]),
            heard: Vec::new(),
            sending: Vec::new(),
        })
        .collect();
    let mut on_their_way: Vec<(i64, usize, usize, NoticesWord)> = Vec::new();
    let (mut told, mut tried, mut when) = (Vec::new(), Vec::new(), Vec::new());
    let number = |n: usize| node(u8::try_from(n).unwrap() + 1);
    let last = story.asks.iter().max().copied().unwrap_or(0) + BEGUN;
    let end = last + i64::from(story.nodes) * BACKUP + 120_000;
    let mut now = 0;
    while now < end {
        let dead =
            |n: usize| story.dies.iter().any(|(who, when)| *who == n && *when + BEGUN <= now);
        let missed = |n: usize| {
            story.dies.iter().any(|(who, when)| *who == n && *when + BEGUN + MISSED <= now)
        };
        let rows: Vec<Seen> = story
            .asks
            .iter()
            .enumerate()
            .filter(|(_, when)| **when + BEGUN <= now)
            .map(|(n, when)| asking(&format!("s-{n}"), *when + BEGUN))
            .collect();
        let is_here = |word: &(i64, usize, usize, NoticesWord)| word.0 <= now;
        let (come, rest): (Vec<_>, Vec<_>) = on_their_way.drain(..).partition(is_here);
        on_their_way = rest;
        for (_, from, to, word) in come {
            let heard = &mut nodes[to].heard;
            heard.retain(|(who, ..)| *who != number(from));
            heard.push((number(from), true, word));
        }
        for n in 0..nodes.len() {
            if dead(n) {
                // What was on its way has arrived, or has not.
                nodes[n].sending.clear();
                continue;
            }
            for (who, is_live, _) in &mut nodes[n].heard {
                *is_live = !(0..usize::from(story.nodes)).any(|n| number(n) == *who && missed(n));
            }
            let heard = nodes[n].heard.clone();
            let view = View {
                now: at(now),
                own: number(n),
                heard: &heard,
                is_quiet: false,
                is_ready: now >= BEGUN,
            };
            let all = std::mem::take(&mut nodes[n].sending);
            let (done, rest): (Vec<_>, Vec<_>) =
                all.into_iter().partition(|(done, _)| *done <= now);
            nodes[n].sending = rest;
            for (_, batch) in done {
                if story.fails.contains(&n) {
                    nodes[n].teller.failed(0, batch.number, &view, None);
                } else {
                    nodes[n].teller.told(0, batch.number, at(now));
                    told.extend(of(n, &batch));
                }
            }
            nodes[n].teller.take(so(at(now), &rows, &[], &[]));
            let looked = nodes[n].teller.look(&view, |_| 5_000, |notice| notice);
            for (_, batch) in looked.batches {
                tried.extend(of(n, &batch));
                when.push(now);
                nodes[n].sending.push((now + story.telling_takes, batch));
            }
            if let Some(word) = looked.word {
                let mut marks = nodes[n].teller.marks(at(now));
                // As records do: each has room for so much.
                let told = (0..MAX_PARTS).map(|_| marks.text(650)).collect();
                let word = NoticesWord { told, ..word };
                let others = (0..nodes.len()).filter(|other| *other != n);
                on_their_way.extend(others.map(|to| (now + story.words_take, n, to, word.clone())));
            }
        }
        now += STEP;
    }
    (told, tried, when)
}

fn of(who: usize, batch: &Batch) -> Told {
    batch.notices.iter().filter_map(|one| Some((who, one.session_id.clone()?))).collect()
}

fn tells(story: &Story) -> Told {
    tells_and_tries(story).0
}

fn count(told: &[(usize, String)], n: usize) -> usize {
    told.iter().filter(|(_, id)| *id == format!("s-{n}")).count()
}

#[test]
fn while_all_are_there_each_notice_is_told_once() {
    let story = Story {
        nodes: 5,
        asks: vec![0, 0, 700, 30_000],
        words_take: 2_000,
        telling_takes: 9_000,
        ..Story::default()
    };
    let told = tells(&story);
    (0..4).for_each(|n| assert_eq!(count(&told, n), 1, "{told:?}"));
    assert!(told.iter().all(|(who, _)| *who == told[0].0), "by one host: {told:?}");
}

#[test]
fn of_hundreds_at_one_moment_and_of_hundreds_in_a_day_each_is_told_once() {
    let whole = Story { nodes: 3, words_take: 500, telling_takes: 1_000, ..Story::default() };
    let at_once = tells(&Story { asks: vec![0; 120], ..whole.clone() });
    (0..120).for_each(|n| assert_eq!(count(&at_once, n), 1, "{n}"));
    // Twelve at each of many moments, marks being told on meanwhile.
    let one_by_one = tells(&Story { asks: (0..96).map(|n| n / 12 * 61_000).collect(), ..whole });
    (0..96).for_each(|n| assert_eq!(count(&one_by_one, n), 1, "{n}"));
}

#[test]
fn who_cannot_tell_leaves_it_to_the_next_one() {
    let whole = Story {
        nodes: 3,
        asks: vec![0],
        words_take: 500,
        telling_takes: 1_000,
        ..Story::default()
    };
    let first = tells(&whole)[0].0;
    let told = tells(&Story { fails: vec![first], asks: vec![0, 60_000], ..whole.clone() });
    assert_eq!((count(&told, 0), count(&told, 1)), (1, 1), "{told:?}");
    // All but one cannot.
    let told = tells(&Story { fails: vec![0, 1], ..whole.clone() });
    assert_eq!(count(&told, 0), 1, "{told:?}");
    let alone = tells(&Story { nodes: 1, ..whole });
    assert_eq!(count(&alone, 0), 1);
}

#[test]
fn when_the_first_is_missed_only_one_of_the_others_tells_at_once() {
    // It dies while it tells; that it is missed is known just when the second one's time has come.
    let whole = Story {
        nodes: 5,
        asks: vec![1_751],
        words_take: 100,
        telling_takes: 4_501,
        ..Story::default()
    };
    let first = tells(&whole)[0].0;
    for when in (8_001..16_000).step_by(500) {
        let (told, tried) = tells_and_tries(&Story { dies: vec![(first, when)], ..whole.clone() });
        assert!(count(&told, 0) >= 1 && count(&tried, 0) <= 2, "{when}: {tried:?}");
    }
}

#[test]
fn whoever_tells_no_such_notices_is_not_waited_for() {
    let asks = vec![0];
    let whole = Story { nodes: 3, asks, words_take: 500, telling_takes: 1_000, ..Story::default() };
    for teller in 0..3 {
        let kinds = |n: usize| if n == teller { vec![NeedsYou] } else { vec![Crashed, Deadlock] };
        let kinds = (0..3).map(|n| (n, kinds(n))).collect();
        let (told, when) = tells_and_when(&Story { kinds, ..whole.clone() });
        assert_eq!(told, [(teller, "s-0".to_owned())]);
        assert!(when[0] < BEGUN + 5_000 + 2 * COLLECT, "{teller}: {when:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// At every moment around what is to be told.
    #[test]
    fn whoever_dies_when_each_notice_is_told(
        who in 0usize..5,
        when in -15_000i64..45_000,
        other in prop::option::of((0usize..5, -15_000i64..60_000)),
        words_take in 100i64..3_000,
        telling_takes in 100i64..12_000,
        asks in prop::collection::vec(0i64..20_000, 1..4),
    ) {
        let dies: Vec<(usize, i64)> = [(who, when)].into_iter().chain(other).collect();
        let story = Story { nodes: 5, asks, dies, words_take, telling_takes, ..Story::default() };
        let (told, tried) = tells_and_tries(&story);
        for n in 0..story.asks.len() {
            // What one that died had begun may have arrived.
            prop_assert!(count(&told, n) >= 1, "{tried:?}");
            prop_assert!(count(&tried, n) <= 1 + story.dies.len(), "{tried:?}");
        }
    }

    /// As long as words come in time nothing is told twice.
    #[test]
    fn however_slow_it_is_each_notice_is_told_once(
        nodes in 1u8..6,
        words_take in 100i64..3_000,
        telling_takes in 100i64..12_000,
        asks in prop::collection::vec(0i64..60_000, 1..6),
        silent in prop::collection::btree_set(0usize..6, 0..5),
    ) {
        // The first one tells all; of the others some tell other things.
        let silent = silent.into_iter().filter(|n| *n > 0);
        let kinds = silent.map(|n| (n, vec![Crashed])).collect();
        let story = Story { nodes, asks, kinds, words_take, telling_takes, ..Story::default() };
        let told = tells(&story);
        (0..story.asks.len()).for_each(|n| assert_eq!(count(&told, n), 1, "{told:?}"));
    }
}
