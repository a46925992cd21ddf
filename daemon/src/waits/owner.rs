//! The side that decides: whether what is waited for has come true of this host's sessions.
//!
//! Every look takes the rows as they are and the events since the last one, so nothing is missed between calls. Not
//! here: what a row or an event tells ([`rrd_core::wait`]).

use std::time::Duration;

use rrd_core::wait::{Condition, by_event, unknown};
use rrd_proto::{
    EventQuery,
    wait::{WaitItem, WaitQuery, WaitReply, WaitState},
};
use tokio::time::{Instant, timeout_at};

use crate::{
    desk::{Desk, wait as bounded},
    hub::now,
};

/// What one call asks about, at most.
pub(super) const MOST: usize = 1_024;

/// Events of one look.
const PAGE: u32 = 200;

/// Answers when one has an outcome, or is known from where on it counts; at the latest after the wait asked for.
pub(crate) async fn wait(desk: &Desk, query: WaitQuery) -> WaitReply {
    let deadline = Instant::now() + bounded(query.wait_ms);
    let _looking = desk.look().await;
    let mut version = desk.hub.version();
    let mut committed = desk.index.committed();
    let items: Vec<WaitItem> = query.items.into_iter().take(MOST).collect();
    let conditions: Vec<Option<Condition>> =
        items.iter().map(|item| Condition::new(item.until.clone()).ok()).collect();
    let mut states: Vec<WaitState> =
        items.iter().map(|item| WaitState { from: item.from, ..WaitState::default() }).collect();
    loop {
        version.borrow_and_update();
        committed.borrow_and_update();
        let (mut is_news, mut told_more) = (false, None);
        for ((item, condition), state) in items.iter().zip(&conditions).zip(&mut states) {
            match condition {
                Some(condition) => {
                    let more = look(desk, item, condition, state).await;
                    told_more = told_more.max(more);
                }
                None => state.outcome = Some(unknown()),
            }
            is_news |= state.outcome.is_some() || state.renumbered;
            is_news |= state.from.is_some() && item.from.is_none();
        }
        if is_news {
            return WaitReply { states };
        }
        let either = async {
            tokio::select! {
                changed = version.changed() => changed.is_ok(),
                changed = committed.changed() => changed.is_ok(),
            }
        };
        let next = told_more.map_or(deadline, |more| deadline.min(Instant::now() + more));
        match timeout_at(next, either).await {
            Ok(true) => {}
            Err(_) if next < deadline => {}
            // The time is over, or the daemon stops.
            _ => return WaitReply { states },
        }
    }
}

/// Gives how long it may be until there is more to tell of what has come true.
async fn look(
    desk: &Desk,
    item: &WaitItem,
    condition: &Condition,
    state: &mut WaitState,
) -> Option<Duration> {
    let Some(row) = desk.hub.row(&item.key) else {
        state.outcome = Some(unknown());
        return None;
    };
    let next = desk.hub.fold(&item.key).map(|fold| fold.next_seq);
    let from = *match (&mut state.from, next) {
        (Some(from), _) => from,
        (none, next) => {
            // Until it has been read to its end nobody knows its events' numbers.
            *none = next;
            state.outcome = condition.by_row(&row);
            return None;
        }
    };
    let mut at = from;
    if let Some(next) = next.filter(|next| *next < from) {
        // The index was made anew, and the transcript has less in it than it once had: numbers that were told mean
        // other events now, or none. Which of these came meanwhile nobody knows.
        (at, state.renumbered) = (next, true);
    }
    while next.is_some_and(|next| next > at) {
        let query = EventQuery {
            key: item.key.clone(),
            node: None,
            after: at.checked_sub(1),
            before: None,
            limit: PAGE,
            wait_ms: 0,
            bodies: condition.reads_text(),
            raw: false,
        };
        // As members are told of them: else whoever asks could find out what is secret, letter by letter.
        let page = desk.edges.told_events(desk.events(&query).await);
        let events = &page.as_ref().events;
        let Some(last) = events.last() else { break };
        at = last.seq + 1;
        let found = events.iter().find(|event| condition.by_event(&item.key.harness, event));
        if let Some(event) = found {
            state.outcome = Some(by_event(&row, event));
            break;
        }
    }
    state.from = Some(at);
    if state.outcome.is_some() {
        return None;
    }
    let more = condition.is_told_more(&row, now());
    if more.is_none() {
        state.outcome = condition.by_row(&row);
    }
    more
}
