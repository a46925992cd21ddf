//! Looks for a text in all events of a session, their bodies too, beside the screen.
//!
//! It begins where one is, goes to the end and then from the beginning to there, and tells what it found
//! as it goes; a newer search ends it. Letters match whatever their case. Not here: what is made of it
//! ([`super::model`]).

use std::sync::mpsc::Receiver;

use rrd_proto::{Event, EventQuery};

use super::{
    ask::{Search, Told},
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
    let mut looked_at = 0;
    let told =
        |seqs, looked_at, done| tell(Told::Found { number: search.number, seqs, looked_at, done });
    let legs = [(search.begin, search.last), (search.first, search.begin.saturating_sub(1))];
    for (first, last) in legs {
        // Nothing is before the first one.
        if search.begin == search.first && (first, last) != legs[0] {
            continue;
        }
        let mut next = first;
        while next <= last {
            if stop() {
                return;
            }
            let query = match next.checked_sub(1) {
                Some(after) => {
                    EventQuery { after: Some(after), ..source::events(&search.of, PAGE, raw) }
                }
                // What comes after nothing cannot be asked for: this is the first one alone.
                None => EventQuery { before: Some(1), ..source::events(&search.of, 1, raw) },
            };
            let Ok(events) = ask(&EventQuery { bodies: true, ..query }) else {
                told(Vec::new(), looked_at, true);
                return;
            };
            let reached = events.last().map_or(last, |event| event.seq).max(next);
            let within = events.iter().filter(|event| event.seq <= last);
            let hits: Vec<u64> = within
                .clone()
                .filter(|event| says(event, &wanted))
                .map(|event| event.seq)
                .collect();
            looked_at += within.count() as u64;
            next = reached + 1;
            if !told(hits, looked_at, false) {
                return;
            }
        }
    }
    told(Vec::new(), looked_at, true);
}

/// Whether an event has `wanted`, in lower case, in it.
fn says(event: &Event, wanted: &str) -> bool {
    let has = |text: &str| text.to_lowercase().contains(wanted);
    has(&event.text)
        || event.tool.as_deref().is_some_and(has)
        || event.body.as_ref().is_some_and(|body| has(&body.text))
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
        Search { of, number: 7, text: "NEEDLE".to_owned(), first: 0, last, begin }
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
                if let Told::Found { number: 7, seqs, looked_at, done } = what {
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
