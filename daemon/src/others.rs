//! Asks the other hosts for what gossip does not bring: sessions that are over, events, and last words of
//! hosts that are away or cannot be reached.
//!
//! Everybody is asked at once, each has so long and no longer, and who did not answer is named. A live
//! host's newest rows are kept, so that they can be listed when it is not there. Not here: the side that
//! answers ([`crate::desk`]), connections ([`crate::fleet`]).

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::join_all;
use rrd_core::{calls::Calls, fleet, search::expression};
use rrd_proto::{
    Event, EventPage, EventQuery, Host, HostState, ListQuery, Lookup, MAX_HITS, MAX_SUBAGENTS,
    Mark, NodeId, Outline, OutlineQuery, Refusal, SearchHit, SearchQuery, SearchReply, Session,
    Status, Timestamp, Unheard,
    peer_calls::{
        EventsQuery, EventsReply, FoundReply, LastKnown, LastKnownQuery, MAX_ROWS, RowsQuery,
        RowsReply,
    },
    session_ref,
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::{
    fleet::{Fleet, LinkError, Past, aside},
    gossip::Gossip,
    hub::now,
    words,
};

/// What all rows of one host may take.
const ROWS_WITHIN: Duration = Duration::from_secs(2);

/// What looking one session up may take.
const LOOK_UP_WITHIN: Duration = Duration::from_secs(1);

/// What searching may take: whoever looks for something looks again.
const FOUND_WITHIN: Duration = Duration::from_millis(1_500);

/// What events may take beyond the wait that is asked for.
const EVENTS_WITHIN: Duration = Duration::from_secs(4);

/// What a host's newest rows, or its last words, may take when nobody waits for them.
const IN_THE_BACKGROUND: Duration = Duration::from_secs(30);

/// Rows of one answer, at most: a peer that says that there are more for ever is not asked for ever.
const MOST: usize = 200_000;

/// Rows that are kept of each host.
pub(crate) const KEPT: u32 = 1_000;

/// Changes that come together are looked at together.
const TOGETHER: Duration = Duration::from_secs(1);

/// How often it is looked whether this host has slept.
const LOOK: Duration = Duration::from_secs(5);

/// So much later than it should be, a look tells of sleep.
const SLEPT: i64 = 15_000;

/// A host whose newest rows could not be had is asked again after so long.
const AGAIN: Duration = Duration::from_secs(60);

/// Members that are asked for the last words of others.
const WITNESSES: usize = 3;

/// What other hosts told when they were asked.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    /// Who did; their rows are all there are.
    pub(crate) answered: HashSet<String>,
    /// Theirs, and those that are kept of the others.
    pub(crate) rows: Vec<Session>,
    /// Who did not.
    pub(crate) unheard: Vec<Unheard>,
}

/// Whether a list asks for more than gossip tells.
pub(crate) fn is_about_the_past(query: &ListQuery) -> bool {
    query.all || query.status == Some(Status::Ended)
}

/// All rows of all other hosts that a list asks for.
pub(crate) async fn rows(fleet: &Arc<Fleet>, gossip: &Gossip, query: &ListQuery) -> Asked {
    let wanted = |host: &Host| query.host.as_ref().is_none_or(|label| *label == host.host);
    let hosts: Vec<Host> = gossip.hosts().into_iter().filter(wanted).collect();
    let of_each = join_all(hosts.into_iter().map(|host| async {
        let node: Option<NodeId> = host.node_id.parse().ok();
        let answer = match node.filter(|_| host.state == HostState::Live) {
            Some(node) => {
                let mut list = query.clone();
                // By its clock.
                list.since = query.since.map(|since| since.plus(-gossip.offset_of(node)));
                let query = RowsQuery { list, limit: MAX_ROWS, ..RowsQuery::default() };
                Some(rows_of(fleet, gossip, node, query, ROWS_WITHIN).await)
            }
            None => None,
        };
        (host, node, answer)
    }));
    let mut asked = Asked::default();
    for (host, node, answer) in of_each.await {
        let why = match answer {
            Some(Ok(rows)) => {
                asked.answered.insert(host.node_id);
                asked.rows.extend(rows);
                continue;
            }
            Some(Err(LinkError::Late)) => Some(format!("not in {} s", ROWS_WITHIN.as_secs())),
            Some(Err(error)) => Some(error.to_string()),
            None => None,
        };
        let past = match node {
            Some(node) => kept(fleet, gossip, node).await,
            None => None,
        };
        let told_at = past.as_ref().map(|(told_at, _)| *told_at);
        asked.rows.extend(past.into_iter().flat_map(|(_, rows)| rows));
        let Host { host, state, since, .. } = host;
        asked.unheard.push(Unheard { host, state, seen_at: since, why, told_at });
    }
    asked
}

/// Looks a session up elsewhere: one that nobody here has heard of, or the whole of one that somebody has.
pub(crate) async fn look_up(fleet: &Arc<Fleet>, gossip: &Gossip, here: Lookup, id: &str) -> Lookup {
    let list = ListQuery { all: true, ..ListQuery::default() };
    let limit = MAX_ROWS;
    match here {
        Lookup::Found(row) if row.host_state == HostState::Live => {
            let node = row.node_id.as_ref().and_then(|node| node.parse().ok());
            let Some(node) = node else { return Lookup::Found(row) };
            let begins = Some(row.session_id.clone());
            let query = RowsQuery { list, begins, limit, ..RowsQuery::default() };
            let rows = rows_of(fleet, gossip, node, query, LOOK_UP_WITHIN).await;
            let whole = rows.ok().and_then(|rows| rows.into_iter().find(|r| r.key() == row.key()));
            Lookup::Found(whole.map_or(row, Box::new))
        }
        Lookup::NotFound if !id.is_empty() => {
            // host/harness/session_id ends with what is looked for.
            let begins = Some(id.rsplit('/').next().unwrap_or(id).to_owned());
            let of_each = join_all(gossip.hosts().into_iter().map(|host| {
                let query = RowsQuery {
                    list: list.clone(),
                    begins: begins.clone(),
                    limit,
                    ..RowsQuery::default()
                };
                async move {
                    let Ok(node) = host.node_id.parse() else { return Vec::new() };
                    if host.state == HostState::Live
                        && let Ok(rows) = rows_of(fleet, gossip, node, query, LOOK_UP_WITHIN).await
                    {
                        return rows;
                    }
                    kept(fleet, gossip, node).await.map(|(_, rows)| rows).unwrap_or_default()
                }
            }));
            let rows = of_each.await.into_iter().flatten().collect();
            fleet::list::look_up(Lookup::NotFound, rows, id)
        }
        known => known,
    }
}

/// Events of another host's session.
pub(crate) async fn events(
    fleet: &Arc<Fleet>,
    gossip: &Gossip,
    node: NodeId,
    query: &EventQuery,
) -> Result<EventPage, Refusal> {
    let EventQuery { key, after, before, limit, wait_ms, bodies, node: _, raw: _ } = query.clone();
    let asks = EventsQuery { key, after, before, limit, wait_ms, bodies };
    let within = crate::desk::wait(wait_ms) + EVENTS_WITHIN;
    let reply: EventsReply = match ask(fleet, gossip, node, "events", &asks, within).await {
        // Whoever is not there may have left its last words with others.
        Err(Untold { refusal, is_gone: true }) if wait_ms == 0 => {
            return words::page(fleet, gossip, node, query).await.ok_or(refusal);
        }
        told => told.map_err(|untold| untold.refusal)?,
    };
    let read = |text: &String| serde_json::from_str::<Event>(text).ok();
    let mut events: Vec<Event> = reply.events.iter().filter_map(read).collect();
    let offset = gossip.offset_of(node);
    for event in &mut events {
        event.at = event.at.map(|at| at.plus(offset));
    }
    Ok(EventPage { events, more: reply.more, last_words: None })
}

/// Another host's session from above.
pub(crate) async fn outline(
    fleet: &Arc<Fleet>,
    gossip: &Gossip,
    node: NodeId,
    query: &OutlineQuery,
) -> Result<Outline, Refusal> {
    let asks = OutlineQuery { node: None, ..query.clone() };
    let mut outline: Outline = match ask(fleet, gossip, node, "outline", &asks, EVENTS_WITHIN).await
    {
        Err(Untold { refusal, is_gone: true }) => {
            // All of them: an outline begins with the first.
            let all = EventQuery::newest(query.key.clone(), fleet::words::EVENTS as u32);
            let page = words::page(fleet, gossip, node, &all).await.ok_or(refusal)?;
            let mut calls = Calls::default();
            let marks = page.events.iter().map(|event| calls.mark(event));
            let mut marks: Vec<Mark> =
                marks.filter(|mark| query.after.is_none_or(|after| mark.seq > after)).collect();
            let more = marks.len() > query.limit as usize;
            marks.truncate(query.limit as usize);
            let last_words = page.last_words;
            return Ok(Outline { marks, more, last_words, ..Outline::default() });
        }
        told => told.map_err(|untold| untold.refusal)?,
    };
    shift(&mut outline, gossip.offset_of(node));
    Ok(outline)
}

/// Makes what another host told of its session true by this host's clock.
fn shift(outline: &mut Outline, offset: i64) {
    // What one host says may be too much for another.
    outline.subagents.truncate(MAX_SUBAGENTS);
    let Outline {
        marks,
        stretches,
        copied_to,
        subagents,
        more: _,
        dropped: _,
        gaps: _,
        last_words: _,
        more_subagents: _,
    } = outline;
    let times = marks.iter_mut().filter_map(|mark| mark.at.as_mut()).chain(copied_to);
    let stretched = stretches
        .iter_mut()
        .flat_map(|stretch| std::iter::once(&mut stretch.from).chain(&mut stretch.to));
    let spans = subagents.iter_mut().flat_map(|of| of.from.iter_mut().chain(&mut of.to));
    times.chain(stretched).chain(spans).for_each(|at| *at = at.plus(offset));
}

/// What is found in the sessions of all other hosts that are asked for, in no order.
pub(crate) async fn search(
    fleet: &Arc<Fleet>,
    gossip: &Gossip,
    query: &SearchQuery,
) -> SearchReply {
    let wanted = |host: &Host| query.host.as_ref().is_none_or(|label| *label == host.host);
    let hosts: Vec<Host> = gossip.hosts().into_iter().filter(wanted).collect();
    let of_each = join_all(hosts.into_iter().map(|host| async {
        let node: Option<NodeId> = host.node_id.parse().ok();
        let answer = match node.filter(|_| host.state == HostState::Live) {
            Some(node) => {
                let offset = gossip.offset_of(node);
                // By its clock; what it is called there is its own affair.
                let since = query.since.map(|since| since.plus(-offset));
                let asks = SearchQuery { since, host: None, ..query.clone() };
                let link = fleet.link(node);
                let found = link.call_bulk(fleet, "search", &asks, FOUND_WITHIN).await;
                Some(found.map(|found: FoundReply| (found, offset)))
            }
            None => None,
        };
        (host, answer)
    }));
    let mut reply = SearchReply::default();
    for (host, answer) in of_each.await {
        let Host { host, node_id, state, since, .. } = host;
        let why = match answer {
            Some(Ok((found, offset))) => {
                let read = |text: &String| serde_json::from_str::<SearchHit>(text).ok();
                for hit in found.hits.iter().filter_map(read).take(MAX_HITS as usize) {
                    // A host speaks of its own sessions only, whatever it says.
                    reply.hits.push(SearchHit {
                        reference: session_ref(&node_id, &hit.key()),
                        host: host.clone(),
                        node_id: Some(node_id.clone()),
                        at: hit.at.map(|at| at.plus(offset)),
                        ..hit
                    });
                }
                reply.more |= found.more;
                let looked_to = found.looked_to.map(|at| at.plus(offset));
                reply.looked_to = reply.looked_to.max(looked_to);
                reply.behind = reply.behind.saturating_add(found.behind);
                continue;
            }
            Some(Err(LinkError::Late)) => Some(format!("not in {} ms", FOUND_WITHIN.as_millis())),
            Some(Err(LinkError::Unknown)) => Some("its rrd knows no search yet".to_owned()),
            Some(Err(error)) => Some(error.to_string()),
            None => None,
        };
        reply.unheard.push(Unheard { host, state, seen_at: since, why, told_at: None });
    }
    reply
}

/// What was found here and there, the best first.
pub(crate) fn merged(query: &SearchQuery, here: SearchReply, there: SearchReply) -> SearchReply {
    let mut hits = [here.hits, there.hits].concat();
    // A number that is none is the worst.
    let score = |hit: &SearchHit| if hit.score.is_nan() { f64::MIN } else { hit.score };
    hits.sort_by(|a, b| score(b).total_cmp(&score(a)));
    let limit = query.limit.clamp(1, MAX_HITS) as usize;
    let more = here.more || there.more || hits.len() > limit;
    hits.truncate(limit);
    SearchReply {
        hits,
        more,
        looked_to: here.looked_to.max(there.looked_to),
        no_words: expression(&query.text).is_none(),
        behind: here.behind.saturating_add(there.behind),
        unheard: there.unheard,
    }
}

/// Why another host did not tell.
struct Untold {
    /// In words.
    refusal: Refusal,
    /// It is away, or is not counted so yet and nobody can be reached there. One that is there and only fails
    /// to answer has last words of its own still.
    is_gone: bool,
}

fn is_away(gossip: &Gossip, node: NodeId) -> bool {
    let name = node.to_string();
    gossip.hosts().iter().any(|host| host.node_id == name && host.state == HostState::Away)
}

/// What another host answers about one of its sessions.
async fn ask<Q: Serialize, R: DeserializeOwned>(
    fleet: &Arc<Fleet>,
    gossip: &Gossip,
    node: NodeId,
    method: &'static str,
    asks: &Q,
    within: Duration,
) -> Result<R, Untold> {
    let host = gossip.hosts().into_iter().find(|host| host.node_id == node.to_string());
    let label = host.as_ref().map_or_else(|| node.to_string(), |host| host.host.clone());
    let refusal = |message: String, hint: &str| Refusal {
        message,
        facts: Vec::new(),
        hint: Some(hint.to_owned()),
    };
    // Not even tried: whoever asks would only wait.
    if host.is_some_and(|host| host.state == HostState::Away) {
        let message = format!("{label} is away, and the events of its sessions with it");
        let refusal = refusal(message, "rrd hosts tells since when");
        return Err(Untold { refusal, is_gone: true });
    }
    fleet.link(node).call_bulk(fleet, method, asks, within).await.map_err(|why| {
        let hint = match why {
            LinkError::Unknown => format!("update rrd on {label}"),
            _ => "rrd fleet status tells how this host gets on with the others".to_owned(),
        };
        let is_unreached =
            matches!(why, LinkError::Unreachable(..) | LinkError::NoAddress | LinkError::Closed);
        let message = format!("{label} does not tell of its session's events: {why}");
        // While it was waited for, it may have come to count as away.
        let is_gone = is_unreached || is_away(gossip, node);
        Untold { refusal: refusal(message, &hint), is_gone }
    })
}

/// Rows of one host, all that are asked for, by this host's clock.
async fn rows_of(
    fleet: &Arc<Fleet>,
    gossip: &Gossip,
    node: NodeId,
    query: RowsQuery,
    within: Duration,
) -> Result<Vec<Session>, LinkError> {
    let rows = told_by(fleet, node, query, within).await?;
    Ok(gossip.dress(node, rows))
}

/// The same as that host told them.
async fn told_by(
    fleet: &Arc<Fleet>,
    node: NodeId,
    mut query: RowsQuery,
    within: Duration,
) -> Result<Vec<Session>, LinkError> {
    let deadline = Instant::now() + within;
    let mut rows: Vec<Session> = Vec::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let reply: RowsReply = fleet.link(node).call_bulk(fleet, "rows", &query, left).await?;
        let read = |text: &String| serde_json::from_str::<Session>(text).ok();
        let before = rows.len();
        rows.extend(reply.rows.iter().filter_map(read));
        let last = rows.last().map(Session::key);
        if !reply.more || rows.len() == before || last <= query.after || rows.len() > MOST {
            return Ok(rows);
        }
        query.after = last;
    }
}

/// What is kept of a host, and when it told that.
async fn kept(
    fleet: &Arc<Fleet>,
    gossip: &Gossip,
    node: NodeId,
) -> Option<(Timestamp, Vec<Session>)> {
    let past = aside(fleet, move |fleet| fleet.keep().past(node)).await?;
    let Past { told_at, rows, .. } = past.ok().flatten()?;
    let read = |text: &String| serde_json::from_str::<Session>(text).ok();
    // What it has forgotten since is no more.
    let rows = rows.iter().filter_map(read).filter(|row| !gossip.is_gone(node, &row.key()));
    Some((told_at, gossip.dress(node, rows.collect())))
}

/// Keeps the newest rows of each host that is there, and asks those who are for the last words of those who
/// are not, whenever this host was alone or asleep. Runs until it is dropped.
pub(crate) async fn keep_up(fleet: Arc<Fleet>, gossip: Arc<Gossip>) {
    let mut changed = gossip.changed();
    let mut told: HashMap<NodeId, u64> = HashMap::new();
    let mut failed: HashMap<NodeId, Instant> = HashMap::new();
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut looked_at, mut must_ask) = (now(), true);
    loop {
        let live = gossip.live();
        if live.is_empty() {
            must_ask = true;
        } else if must_ask {
            must_ask = !asks_for_last_words(&fleet, &gossip, &live).await;
        }
        for (node, generation) in live {
            let failed_lately = failed.get(&node).is_some_and(|at| at.elapsed() < AGAIN);
            if told.get(&node) == Some(&generation) || failed_lately {
                continue;
            }
            if keeps_newest(&fleet, node, generation).await {
                told.insert(node, generation);
            } else {
                failed.insert(node, Instant::now());
            }
        }
        tokio::select! {
            result = changed.changed() => if result.is_err() { return },
            _ = look.tick() => {
                let at = now();
                must_ask |= at.since(looked_at) > SLEPT;
                looked_at = at;
            }
        }
        sleep(TOGETHER).await;
        changed.mark_unchanged();
    }
}

/// Whether somebody told of everybody who is away.
async fn asks_for_last_words(fleet: &Arc<Fleet>, gossip: &Gossip, live: &[(NodeId, u64)]) -> bool {
    let away: Vec<NodeId> = gossip
        .hosts()
        .iter()
        .filter_map(|host| host.node_id.parse().ok())
        .filter(|node| live.iter().all(|(other, _)| other != node))
        .collect();
    'witnesses: for (witness, _) in live.iter().take(WITNESSES) {
        for node in &away {
            let query = LastKnownQuery { node: *node };
            let link = fleet.link(*witness);
            let told = link.call_bulk(fleet, "last_known", &query, IN_THE_BACKGROUND).await;
            match told {
                Ok::<LastKnown, _>(known) => gossip.take_last_known(*node, &known),
                Err(_) => continue 'witnesses,
            }
        }
        return true;
    }
    false
}

/// Gets a host's newest rows and keeps them; false where that must be tried again.
async fn keeps_newest(fleet: &Arc<Fleet>, node: NodeId, generation: u64) -> bool {
    let kept = aside(fleet, move |fleet| fleet.keep().past(node)).await;
    if let Some(Ok(Some(past))) = kept
        && past.generation == generation
    {
        return true;
    }
    let list = ListQuery { all: true, ..ListQuery::default() };
    let newest = Some(KEPT);
    let query = RowsQuery { list, newest, limit: MAX_ROWS, ..RowsQuery::default() };
    let rows = match told_by(fleet, node, query, IN_THE_BACKGROUND).await {
        Ok(rows) => rows,
        // It never will.
        Err(LinkError::Unknown) => return true,
        Err(_) => return false,
    };
    let rows = rows.iter().take(KEPT as usize);
    let rows = rows.filter_map(|row| serde_json::to_string(row).ok()).collect();
    let past = Past { generation, told_at: now(), rows };
    let written = aside(fleet, move |fleet| fleet.keep().set_past(node, &past)).await;
    if let Some(Err(error)) = written {
        tracing::warn!(%error, "what another host told cannot be kept");
    }
    // Not all at once, where there are many.
    sleep(TOGETHER / 4).await;
    true
}

#[cfg(test)]
mod tests {
    use rrd_proto::Subagent;

    use super::*;

    #[test]
    fn an_outline_of_another_host_is_by_this_hosts_clock() {
        let at = Timestamp::from_millis;
        let of = |n: usize| Subagent {
            session_id: n.to_string(),
            parent_session_id: "main".to_owned(),
            title: None,
            status: Status::Ended,
            from: Some(at(1_000)),
            to: (n == 0).then(|| at(2_000)),
            failed: false,
        };
        let mut outline = Outline {
            copied_to: Some(at(500)),
            subagents: (0..MAX_SUBAGENTS + 5).map(of).collect(),
            ..Outline::default()
        };
        shift(&mut outline, -250);
        assert_eq!(outline.copied_to, Some(at(250)));
        assert_eq!(outline.subagents.len(), MAX_SUBAGENTS);
        let [first, second] = [&outline.subagents[0], &outline.subagents[1]];
        assert_eq!((first.from, first.to), (Some(at(750)), Some(at(1_750))));
        assert_eq!((second.from, second.to), (Some(at(750)), None));
    }
}
