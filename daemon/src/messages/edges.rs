//! What sessions of this host sent others, as edges of the graph: on their rows, and gone a while after they are
//! over.
//!
//! Not here: how rows are told, and how edges are joined.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use rrd_core::{fleet::ties::and_more, message::edge_state};
use rrd_proto::{EdgeKind, Link, SessionKey, message::MessageState, session_ref};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    fleet::{Fleet, Traffic, aside},
    hub::{Hub, Input, now},
};

/// What is over is shown for so long, in milliseconds.
const SHOWN: i64 = 10 * 60_000;

/// Changes that come together are looked at together.
const APART: Duration = Duration::from_millis(100);

/// Edges of one session, at most: what is on its way first, then the latest. That there are more is said.
const MOST: usize = 64;

/// Tells rows, until it is stopped.
pub(crate) async fn follow(fleet: Arc<Fleet>, hub: Arc<Hub>, stop: CancellationToken) {
    let mut changed = fleet.messages().changed();
    loop {
        changed.mark_unchanged();
        let at = now();
        let after = at.plus(-SHOWN);
        let traffic = aside(&fleet, move |fleet| fleet.keep().traffic(after)).await;
        let mut next = Duration::from_secs(3_600);
        match traffic {
            Some(Ok(traffic)) => {
                let over = traffic.iter().filter(|one| is_over(one)).map(|one| one.state_at);
                if let Some(first) = over.min() {
                    let ms = first.since(after).clamp(0, SHOWN).unsigned_abs();
                    next = Duration::from_millis(ms) + APART;
                }
                hub.apply(Input::Messages(links(traffic)));
            }
            Some(Err(error)) => tracing::warn!(%error, "edges of messages cannot be read"),
            None => return,
        }
        let either = timeout(next, changed.changed());
        match stop.run_until_cancelled(either).await {
            None | Some(Ok(Err(_))) => return,
            Some(_) => {}
        }
        sleep(APART).await;
    }
}

fn is_over(one: &Traffic) -> bool {
    matches!(one.state, MessageState::Read | MessageState::Failed)
}

/// One for each two sessions: how the message stands that is least far.
fn links(mut traffic: Vec<Traffic>) -> HashMap<SessionKey, Vec<Link>> {
    // Of what is over the one that came last tells how they stand.
    let how_far = |one: &Traffic| (!is_over(one)).then_some(one.state);
    traffic.sort_by_key(|one| (is_over(one), how_far(one), std::cmp::Reverse(one.state_at)));
    // And to whom it wrote besides.
    let mut links: HashMap<SessionKey, (Vec<Link>, HashSet<String>)> = HashMap::new();
    for one in traffic {
        let to = session_ref(&one.to_node.to_string(), &one.to);
        let (of, more) = links.entry(one.from).or_default();
        if of.iter().any(|link| link.to == to) {
            continue;
        }
        if of.len() >= MOST {
            more.insert(to);
            continue;
        }
        let evidence = match one.state {
            MessageState::Failed => "rrd send: it will not arrive".to_owned(),
            _ if one.count == 1 => "rrd send: one message".to_owned(),
            _ => format!("rrd send: {} messages", one.count),
        };
        of.push(Link {
            kind: EdgeKind::Message,
            state: edge_state(one.state),
            to,
            incoming: false,
            any: false,
            group: 0,
            since: Some(one.since),
            evidence,
        });
    }
    let told = |(key, (mut of, more)): (_, (Vec<Link>, HashSet<String>))| {
        if let Some(last) = of.last_mut().filter(|_| !more.is_empty()) {
            last.evidence = and_more(&last.evidence, more.len() as u64, "to whom it wrote are");
        }
        (key, of)
    };
    links.into_iter().map(told).collect()
}

#[cfg(test)]
mod tests {
    use rrd_proto::{EdgeState, Harness, NodeId};

    use super::*;

    #[test]
    fn two_sessions_are_tied_once_by_what_is_least_far() {
        use rrd_proto::Timestamp;
        let key = |id: &str| SessionKey { harness: Harness::Codex, session_id: id.to_owned() };
        let one = |to: &str, state, at| Traffic {
            from: key("a"),
            to_node: NodeId::LEAST,
            to: key(to),
            state,
            since: Timestamp::from_millis(at),
            state_at: Timestamp::from_millis(at),
            count: 2,
        };
        let mut all = vec![
            one("b", MessageState::Read, 5),
            one("b", MessageState::Unread, 3),
            one("c", MessageState::Failed, 9),
            one("c", MessageState::Read, 8),
        ];
        let links_of = |all: &[Traffic]| links(all.to_vec()).remove(&key("a")).unwrap();
        let states: Vec<EdgeState> = links_of(&all).iter().map(|link| link.state).collect();
        assert_eq!(states, [EdgeState::Unread, EdgeState::Inactive]);
        all.extend((0..100).map(|n| one(&format!("d{n}"), MessageState::Queued, n)));
        let links = links_of(&all);
        let last = &links.last().unwrap().evidence;
        assert_eq!(last, "rrd send: 2 messages (38 more to whom it wrote are not told)");
        assert!(links.len() == MOST && links.iter().all(|link| link.state == EdgeState::Queued));
    }
}
