//! Looks for a text in all events of a session and its subagents, their bodies too, beside the screen.
//!
//! It begins where one is, goes to the end and then from the beginning to there, then through the other
//! lanes, and tells what it found as it goes; a newer search ends it. An event of which a page has head and tail only is asked for by itself,
//! as when it is opened; of what is not whole even then it says how much there is. Letters match whatever their case. Not here: what is made of it
//! ([`super::model`]).

use std::sync::mpsc::Receiver;

use rrd_proto::{Event, EventQuery};

use super::{
    ask::{Leg, Search, Told},
    source::{self, Tell},
};
use crate::{ask::Answerer, error::CliError};

/// Events that come at once.
const PAGE: u32 = 250;

/// Works on searches, the newest first, until there are no more.
pub(crate) fn run(
    open: &dyn Fn() -> Answerer,
    raw: bool,
    searches: &Receiver<Search>,
    tell: Tell<'_>,
) {
    // A connection is made when it is first needed: most replays search for nothing.
    let mut answerer = None;
    let mut next = None;
    while let Some(search) = next.take().or_else(|| searches.recv().ok()) {
        let answerer = answerer.get_or_insert_with(open);
        let ask = |query: &EventQuery| answerer.events(query).map(|page| page.events);
        let newer = || {
            let newer = searches.try_iter().last();
            newer.inspect(|search| drop(next.replace(search.clone()))).is_some()
        };
        look(&search, raw, ask, newer, tell);
    }
}

/// One search; ends early when `stop` says so or nobody listens.
fn look(
    search: &Search,
    raw: bool,
    ask: impl Fn(&EventQuery) -> Result<Vec<Event>, CliError>,
    mut stop: impl FnMut() -> bool,
    tell: Tell<'_>,
) {
    let wanted = search.text.to_lowercase();
    let mut looked = (0, 0);
    let mut last_lane = 0;
    for leg in &search.legs {
        last_lane = leg.of.lane;
        let told = |seqs, (looked_at, in_part), done| {
            let (number, lane) = (search.number, leg.of.lane);
            tell(Told::Found { number, lane, seqs, looked_at, in_part, done })
        };
        if !look_in(leg, &wanted, raw, &ask, &mut stop, &mut looked, &told) {
            return;
        }
    }
    let (number, lane, (looked_at, in_part)) = (search.number, last_lane, looked);
    tell(Told::Found { number, lane, seqs: Vec::new(), looked_at, in_part, done: true });
}

/// Tells what was found: seqs, how many were looked at and how many of these in part, whether that is all.
type Hits<'a> = &'a dyn Fn(Vec<u64>, (u64, u64), bool) -> bool;

/// One lane of it; false when it ends there.
fn look_in(
    search: &Leg,
    wanted: &str,
    raw: bool,
    ask: &impl Fn(&EventQuery) -> Result<Vec<Event>, CliError>,
    stop: &mut impl FnMut() -> bool,
    looked: &mut (u64, u64),
    told: Hits<'_>,
) -> bool {
    let (looked_at, in_part) = (&mut looked.0, &mut looked.1);
    let parts = [(search.begin, search.last), (search.first, search.begin.saturating_sub(1))];
    for (first, last) in parts {
        // Nothing is before the first one.
        if search.begin == search.first && (first, last) != parts[0] {
            continue;
        }
        let mut next = first;
        while next <= last {
            if stop() {
                return false;
            }
            let query = match next.checked_sub(1) {
                Some(after) => {
                    EventQuery { after: Some(after), ..source::events(&search.of, PAGE, raw) }
                }
                // What comes after nothing cannot be asked for: this is the first one alone.
                None => EventQuery { before: Some(1), ..source::events(&search.of, 1, raw) },
            };
            let Ok(events) = ask(&EventQuery { bodies: true, ..query }) else {
                told(Vec::new(), (*looked_at, *in_part), true);
                return false;
            };
            // That the very first is not there says nothing of the others.
            let end = if next == 0 { 0 } else { last };
            let reached = events.last().map_or(end, |event| event.seq).max(next);
            let mut hits = Vec::new();
            for event in events.iter().filter(|event| event.seq <= last) {
                *looked_at += 1;
                if says(event, wanted) {
                    hits.push(event.seq);
                    continue;
                }
                if is_whole(event) {
                    continue;
                }
                // What a limit took is nowhere else either.
                if event.body.is_none() {
                    *in_part += 1;
                    continue;
                }
                if stop() {
                    return false;
                }
                let alone = EventQuery {
                    before: Some(event.seq + 1),
                    bodies: true,
                    ..source::events(&search.of, 1, raw)
                };
                let whole = ask(&alone).unwrap_or_default();
                match whole.iter().find(|whole| whole.seq == event.seq) {
                    Some(whole) if says(whole, wanted) => hits.push(event.seq),
                    Some(whole) if is_whole(whole) => {}
                    _ => *in_part += 1,
                }
            }
            next = reached + 1;
            if !told(hits, (*looked_at, *in_part), false) {
                return false;
            }
        }
    }
    true
}

/// Whether an event has `wanted`, in lower case, in it.
fn says(event: &Event, wanted: &str) -> bool {
    let has = |text: &str| text.to_lowercase().contains(wanted);
    has(&event.text)
        || event.tool.as_deref().is_some_and(has)
        || event.body.as_ref().is_some_and(|body| has(&body.text))
}

/// Whether all that an event says is here: its body has no gap, or its line is all of it.
fn is_whole(event: &Event) -> bool {
    event.body.as_ref().map_or(!event.truncated, |body| body.cut.is_none())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use rrd_proto::{Body, EventKind, Harness, SessionKey};

    use super::*;
    use crate::replay::{ask::Of, events::tests::event, timeline::tests::mark};

    fn search(begin: u64, last: u64) -> Search {
        let key = SessionKey { harness: Harness::ClaudeCode, session_id: "x".to_owned() };
        let of = Of { lane: 0, key, node: None };
        let legs = vec![Leg { of, first: 0, last, begin }];
        Search { number: 7, text: "NEEDLE".to_owned(), legs }
    }

    fn all() -> Vec<Event> {
        (0..1_000)
            .map(|seq| {
                let mut event = event(&mark(seq, 0, EventKind::Message), "hay", None);
                let text = if seq % 300 == 0 { "a Needle in it" } else { "hay" };
                event.body = Some(Body { text: text.to_owned(), size: 1, cut: None });
                event
            })
            .collect()
    }

    /// As a daemon answers: after a seq, or before one.
    fn answer(query: &EventQuery) -> Vec<Event> {
        assert!(query.bodies);
        let limit = query.limit as usize;
        match query.after {
            Some(after) => {
                all().into_iter().filter(|e| e.seq > after).take(limit.min(90)).collect()
            }
            None => {
                let before: Vec<_> =
                    all().into_iter().filter(|e| query.before.is_none_or(|b| e.seq < b)).collect();
                before[before.len().saturating_sub(limit)..].to_vec()
            }
        }
    }

    #[test]
    fn it_looks_at_everything_once_and_ahead_first() {
        for (begin, order) in
            [(0, [0, 300, 600, 900]), (450, [600, 900, 0, 300]), (999, [0, 300, 600, 900])]
        {
            let told = RefCell::new((Vec::new(), 0, false));
            let tell = |what: Told| {
                if let Told::Found { number: 7, lane: 0, seqs, looked_at, in_part: 0, done } = what
                {
                    let mut told = told.borrow_mut();
                    told.0.extend(seqs);
                    (told.1, told.2) = (looked_at, done);
                }
                true
            };
            look(&search(begin, 999), false, |query| Ok(answer(query)), || false, &tell);
            assert_eq!(told.into_inner(), (order.to_vec(), 1_000, true), "from {begin}");
        }
    }

    #[test]
    fn the_other_lanes_are_looked_through_behind_it_to_their_ends() {
        let mut both = search(0, 999);
        let Leg { of, .. } = both.legs[0].clone();
        // Of this one nobody knows yet how much there is.
        let of = Of { lane: 3, ..of };
        both.legs.push(Leg { of, first: 0, last: u64::MAX - 1, begin: 0 });
        let told = RefCell::new(Vec::new());
        let tell = |what: Told| {
            if let Told::Found { lane, seqs, done, .. } = what {
                told.borrow_mut().extend(seqs.into_iter().map(|seq| (lane, seq)));
                told.borrow_mut().extend(done.then_some((lane, u64::MAX)));
            }
            true
        };
        look(&both, false, |query| Ok(answer(query)), || false, &tell);
        let of = |lane| [0, 300, 600, 900].map(|seq| (lane, seq));
        assert_eq!(told.into_inner(), [&of(0)[..], &of(3), &[(3, u64::MAX)]].concat());
    }

    #[test]
    fn what_a_page_has_cut_is_looked_at_whole_where_it_still_can_be() {
        // One that has it in its middle, one that is whole nowhere, one that a limit took, one without it.
        let of = |seq, text: &str, cut: Option<u64>| {
            let mut event = event(&mark(seq, 0, EventKind::Message), "hay", None);
            event.truncated = true;
            event.body = Some(Body { text: text.to_owned(), size: 99, cut });
            event
        };
        let page = vec![
            of(1, "haystack", Some(3)),
            of(2, "haystack", Some(3)),
            Event { body: None, ..of(3, "", None) },
            of(4, "haystack", Some(3)),
        ];
        let asked = RefCell::new(Vec::new());
        let ask = |query: &EventQuery| {
            asked.borrow_mut().push((query.after, query.before, query.limit == 1));
            Ok(match (query.after, query.before) {
                (None, Some(1)) => vec![of(0, "hay", None)],
                (None, Some(2)) => vec![of(1, "hay needle stack", None)],
                (None, Some(5)) => vec![of(4, "hay and more stack", None)],
                (None, _) => vec![page[1].clone()],
                (Some(_), _) => page.clone(),
            })
        };
        let told = RefCell::new((Vec::new(), 0, 0));
        let tell = |what: Told| {
            if let Told::Found { seqs, looked_at, in_part, .. } = what {
                let mut told = told.borrow_mut();
                told.0.extend(seqs);
                (told.1, told.2) = (looked_at, in_part);
            }
            true
        };
        look(&search(0, 4), false, ask, || false, &tell);
        assert_eq!(told.into_inner(), (vec![1], 5, 2));
        let alone = |seq: u64| (None, Some(seq + 1), true);
        assert_eq!(
            asked.into_inner(),
            [alone(0), (Some(0), None, false), alone(1), alone(2), alone(4)]
        );
    }

    #[test]
    fn a_newer_one_ends_it() {
        let asked = RefCell::new(0);
        let ask = |query: &EventQuery| {
            *asked.borrow_mut() += 1;
            Ok(answer(query))
        };
        let stop = || *asked.borrow() >= 2;
        look(&search(0, 999), false, ask, stop, &|_| true);
        assert_eq!(*asked.borrow(), 2);
    }
}
