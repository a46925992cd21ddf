//! The events around the cursor, in pages, and which result belongs to which call.
//!
//! A session has a mark in memory for each event, but events only as far as they are looked at: pages
//! are asked for, kept while there is room, and forgotten. Not here: where they come from
//! ([`super::source`]).

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher, RandomState},
};

use rrd_proto::{Event, EventKind, Mark};

/// Marks whose events come together.
pub(crate) const PAGE: usize = 256;
/// Pages kept: a few thousand events, some megabytes.
const KEPT: usize = 12;

/// Events by the place of their mark.
#[derive(Default)]
pub(crate) struct Events {
    pages: HashMap<usize, Page>,
    uses: u64,
    joins: Joins,
    /// What happened last: a page that was asked for before does not have it.
    recent: VecDeque<Event>,
}

struct Page {
    events: Vec<Event>,
    used: u64,
}

impl Events {
    pub(crate) fn has(&self, page: usize) -> bool {
        self.pages.contains_key(&page)
    }

    /// The event of the mark at `at`, if it is here.
    pub(crate) fn get(&self, at: usize, mark: &Mark) -> Option<&Event> {
        let events = &self.pages.get(&(at / PAGE))?.events;
        let found = events.binary_search_by_key(&mark.seq, |event| event.seq).ok()?;
        events.get(found)
    }

    /// Takes a page; `near` is the page looked at, which stays.
    pub(crate) fn put(&mut self, page: usize, mut events: Vec<Event>, marks: &[Mark], near: usize) {
        let first = page * PAGE;
        let marks = marks.get(first..marks.len().min(first + PAGE)).unwrap_or_default();
        let last = events.last().map(|event| event.seq);
        let until = marks.last().map(|mark| mark.seq);
        let after = |event: &&Event| last.is_none_or(|last| event.seq > last);
        let later = self.recent.iter().filter(after).filter(|event| Some(event.seq) <= until);
        events.extend(later.cloned().collect::<Vec<_>>());
        for event in &events {
            if let Ok(found) = marks.binary_search_by_key(&event.seq, |mark| mark.seq) {
                self.joins.learn(first + found, event);
            }
        }
        self.uses += 1;
        self.pages.insert(page, Page { events, used: self.uses });
        while self.pages.len() > KEPT {
            let far = |page: usize| page.abs_diff(near) > 1;
            let oldest = self.pages.iter().filter(|(page, _)| far(**page));
            let Some(page) = oldest.min_by_key(|(_, page)| page.used).map(|(page, _)| *page) else {
                return;
            };
            self.pages.remove(&page);
        }
    }

    /// Takes an event that just happened; its mark is the one at `at`.
    pub(crate) fn push(&mut self, at: usize, event: Event) {
        self.joins.learn(at, &event);
        if at.is_multiple_of(PAGE) {
            self.uses += 1;
            self.pages.entry(at / PAGE).or_insert(Page { events: Vec::new(), used: self.uses });
        }
        if self.recent.len() == PAGE {
            self.recent.pop_front();
        }
        self.recent.push_back(event.clone());
        // Where the page is not here it will be asked for as a whole.
        if let Some(page) = self.pages.get_mut(&(at / PAGE)) {
            page.events.push(event);
        }
    }

    /// Forgets a page, so that it is asked for again.
    pub(crate) fn forget(&mut self, page: usize) {
        self.pages.remove(&page);
    }

    /// The result at one place answers the call at another, whether or not their events are here.
    pub(crate) fn join(&mut self, call: usize, result: usize) {
        self.joins.join(call, result);
    }

    /// Where the result of the call at `at` is.
    pub(crate) fn result_of(&self, at: usize) -> Option<usize> {
        self.joins.results.get(&at).copied()
    }

    /// Where the call is that the result at `at` belongs to.
    pub(crate) fn call_of(&self, at: usize) -> Option<usize> {
        self.joins.calls.get(&at).copied()
    }
}

/// What is known of calls and results, also of pages that are gone: two numbers for each.
#[derive(Default)]
struct Joins {
    /// By a hash of the id.
    call: HashMap<u64, usize>,
    result: HashMap<u64, usize>,
    results: HashMap<usize, usize>,
    calls: HashMap<usize, usize>,
    hasher: RandomState,
}

impl Joins {
    fn learn(&mut self, at: usize, event: &Event) {
        let Some(id) = event.tool_call_id.as_deref().filter(|id| !id.is_empty()) else { return };
        let id = self.hasher.hash_one(id);
        match event.kind {
            EventKind::ToolCall => self.call.insert(id, at),
            EventKind::ToolResult => self.result.insert(id, at),
            _ => return,
        };
        if let (Some(call), Some(result)) = (self.call.get(&id), self.result.get(&id))
            && call < result
        {
            self.join(*call, *result);
        }
    }

    fn join(&mut self, call: usize, result: usize) {
        self.results.insert(call, result);
        self.calls.insert(result, call);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn event(mark: &Mark, text: &str, call: Option<&str>) -> Event {
        Event {
            seq: mark.seq,
            at: mark.at,
            kind: mark.kind,
            text: text.to_owned(),
            tool: call.map(|_| "Bash".to_owned()),
            tool_call_id: call.map(str::to_owned),
            is_error: mark.is_error,
            truncated: false,
            direction: None,
            message_id: None,
            withdrawn: mark.withdrawn,
            body: None,
            subagent: None,
        }
    }

    fn marks(kinds: &[EventKind]) -> Vec<Mark> {
        let mark = |(seq, kind): (u64, &EventKind)| Mark {
            seq,
            at: None,
            kind: *kind,
            tool: None,
            is_error: false,
            withdrawn: false,
            call: None,
        };
        (0..).zip(kinds).map(mark).collect()
    }

    #[test]
    fn results_find_their_calls_whichever_page_comes_first() {
        let mut kinds = vec![EventKind::Message; PAGE * 2];
        kinds[3] = EventKind::ToolCall;
        kinds[PAGE + 7] = EventKind::ToolResult;
        let marks = marks(&kinds);
        let page = |page: usize| {
            let of_it = page * PAGE..(page + 1) * PAGE;
            of_it.map(|at| event(&marks[at], "x", (at == 3 || at == PAGE + 7).then_some("c")))
        };
        for order in [[0, 1], [1, 0]] {
            let mut events = Events::default();
            for at in order {
                assert_eq!(events.result_of(3), None);
                events.put(at, page(at).collect(), &marks, at);
            }
            assert_eq!((events.result_of(3), events.call_of(PAGE + 7)), (Some(PAGE + 7), Some(3)));
        }
    }

    #[test]
    fn pages_are_forgotten_but_for_those_looked_at() {
        let marks = marks(&vec![EventKind::Message; PAGE * 40]);
        let mut events = Events::default();
        for page in 0..40 {
            let of_it = page * PAGE..(page + 1) * PAGE;
            let of_it = of_it.map(|at| event(&marks[at], "x", None)).collect();
            events.put(page, of_it, &marks, 0);
        }
        assert!(events.has(0) && events.has(1) && events.has(39) && !events.has(20));
        assert_eq!(events.pages.len(), KEPT);
        assert!(events.get(5, &marks[5]).is_some() && events.get(20 * PAGE, &marks[0]).is_none());
    }

    #[test]
    fn what_happens_is_added_where_its_page_is() {
        let marks = marks(&vec![EventKind::Message; PAGE + 2]);
        let mut events = Events::default();
        events.push(PAGE - 1, event(&marks[PAGE - 1], "came meanwhile", None));
        assert!(!events.has(0));
        events.push(PAGE, event(&marks[PAGE], "first", None));
        events.push(PAGE + 1, event(&marks[PAGE + 1], "second", None));
        let old = (0..PAGE - 1).map(|at| event(&marks[at], "old", None)).collect();
        events.put(0, old, &marks, 0);
        assert_eq!(events.get(PAGE - 1, &marks[PAGE - 1]).unwrap().text, "came meanwhile");
        let text = |at: usize| events.get(at, &marks[at]).map(|event| event.text.as_str());
        assert_eq!((text(PAGE), text(PAGE + 1)), (Some("first"), Some("second")));
    }
}
