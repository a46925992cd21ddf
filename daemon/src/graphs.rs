//! The graph of what is known now, and the alarm where sessions wait for each other in a circle.
//!
//! Made when somebody asks and something has changed; whoever asks at the same time shares it. No IO, and who asks
//! by the clock is no audience. Not here: how it is made of rows ([`rrd_core::graph`]), and how it is drawn.

use std::{
    collections::{BTreeSet, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rrd_core::graph;
use rrd_proto::{
    Edge, EdgeKind, Graph, GraphNode, Health, ListQuery, MESSAGE, PartStatus, Session, SessionKey,
};

use crate::{edge::Edges, fleet::Fleet, hub::Hub};

/// A row changes by the clock alone, too, but nothing sooner than it matters.
const GOOD_FOR: Duration = Duration::from_secs(1);

/// Circles that are spelt out, at most.
const SPELT_OUT: usize = 5;

/// Sessions of a circle that are named, at most.
const NAMED: usize = 10;

/// What makes graphs.
#[derive(Debug)]
pub(crate) struct Graphs {
    hub: Arc<Hub>,
    edges: Arc<Edges>,
    /// Where bindings are; nowhere while they cannot be kept.
    fleet: Option<Arc<Fleet>>,
    made: Mutex<Option<Made>>,
}

#[derive(Debug)]
struct Made {
    /// Of the hub, when it was begun.
    version: u64,
    at: Instant,
    graph: Arc<Graph>,
}

impl Graphs {
    pub(crate) fn new(hub: &Arc<Hub>, edges: &Arc<Edges>, fleet: Option<&Arc<Fleet>>) -> Self {
        let (hub, edges, fleet) = (Arc::clone(hub), Arc::clone(edges), fleet.cloned());
        Self { hub, edges, fleet, made: Mutex::default() }
    }

    /// Who waits for whom on all hosts, as far as it is known now; redacted. Of `cycles` each is an alarm, and
    /// of `chains` those whose cause [needs a person](rrd_proto::Cause::needs_person).
    pub(crate) fn now(&self) -> Arc<Graph> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let version = *self.hub.version().borrow();
        if let Some(made) = &*made
            && made.version == version
            && made.at.elapsed() < GOOD_FOR
        {
            return Arc::clone(&made.graph);
        }
        let at = Instant::now();
        let bound = self.fleet.as_ref().map(|fleet| fleet.bindings().edges(fleet, &self.hub));
        let bound = bound.unwrap_or_default();
        let graph = Arc::new(graph::graph(&self.rows_with(&bound), &bound));
        *made = Some(Made { version, at, graph: Arc::clone(&graph) });
        graph
    }

    /// Sessions that are active or open, or whose messages are not read yet, and those that these name; redacted.
    pub(crate) fn rows(&self) -> Vec<Session> {
        self.rows_with(&[])
    }

    /// And those that these edges name.
    fn rows_with(&self, edges: &[Edge]) -> Vec<Session> {
        let is_tied = |row: &Session| row.is_active_or_open() || row.has_sent_unread();
        let (tied, besides): (Vec<_>, Vec<_>) =
            self.hub.rows_elsewhere().into_iter().partition(is_tied);
        let query = ListQuery { open: true, ..ListQuery::default() };
        let mut reply = self.hub.list_here(&query);
        let listed: HashSet<SessionKey> = reply.sessions.iter().map(Session::key).collect();
        let senders = self.hub.senders_here().into_iter();
        reply.sessions.extend(senders.filter(|row| !listed.contains(&row.key())));
        reply.sessions.extend(tied);
        let rows = &reply.sessions;
        let known: HashSet<&str> = rows.iter().map(|row| row.reference.as_str()).collect();
        let linked = rows.iter().flat_map(|row| &row.links).map(|link| link.to.as_str());
        let named = edges.iter().flat_map(|edge| [edge.from.as_str(), edge.to.as_str()]);
        let missing: BTreeSet<&str> = linked
            .chain(named)
            .filter(|name| !known.contains(name) && !name.starts_with(MESSAGE))
            .collect();
        let mut found = self.hub.called_here(&missing);
        found.extend(besides.into_iter().filter(|row| missing.contains(row.reference.as_str())));
        reply.sessions.extend(found);
        self.edges.list(reply, false).sessions
    }

    /// Tells each row of an answer the end of its chain, and puts first what a person must do first.
    pub(crate) fn first(&self, rows: &mut Vec<Session>, query: &ListQuery) {
        let ListQuery { host, harness, repo, status, since, all: _, open: _, raw: _ } = query;
        let is_whole = host.is_none()
            && harness.is_none()
            && repo.is_none()
            && status.is_none()
            && since.is_none();
        // Whoever waits is active, so where nobody of all does there are no chains.
        match is_whole && !graph::is_any_waiting(rows) {
            true => graph::first(rows, &Graph::default()),
            false => graph::first(rows, &self.now()),
        }
    }

    /// The same for one row.
    pub(crate) fn chained(&self, row: &mut Session) {
        let mut rows = vec![std::mem::replace(row, Session::unknown(row.key()))];
        graph::first(&mut rows, &self.now());
        if let Some(told) = rows.pop() {
            *row = told;
        }
    }

    /// That sessions wait for each other, for `rrd status`: each circle spelt out.
    pub(crate) fn alarms(&self) -> Vec<PartStatus> {
        alarms(&self.now())
    }
}

fn alarms(graph: &Graph) -> Vec<PartStatus> {
    let part = |detail: String, cycle: &[String]| PartStatus {
        part: "deadlock".to_owned(),
        state: Health::Degraded,
        detail,
        hint: Some(format!(
            "let one of them go on without: end its {}; rrd graph shows all",
            commands(graph, cycle)
        )),
    };
    let node = |one: &str| {
        // In the order of their refs.
        let at = graph.nodes.binary_search_by(|node| node.reference.as_str().cmp(one));
        at.ok().map(|at| &graph.nodes[at])
    };
    let told = graph.cycles.iter().take(SPELT_OUT);
    let of =
        |cycle: &Vec<String>| part(format!("nobody can go on: {}", spelt_out(cycle, node)), cycle);
    let mut parts: Vec<PartStatus> = told.map(of).collect();
    let more = graph.cycles.len() - parts.len();
    if more > 0 {
        let more = format!("{more} more circles of sessions that wait for each other");
        parts.push(part(more, &[]));
    }
    parts
}

/// The commands by which the sessions of a circle wait for each other.
fn commands(graph: &Graph, cycle: &[String]) -> &'static str {
    // What it is known by is another host's word: looked at, not told.
    let is_by = |command: &str| {
        graph.edges.iter().any(|edge| {
            edge.kind == EdgeKind::Wait
                && edge.evidence.starts_with(command)
                && cycle.contains(&edge.from)
                && cycle.contains(&edge.to)
        })
    };
    match (is_by("rrd wait"), is_by("rrd inbox --wait")) {
        (true, true) => "rrd wait or rrd inbox --wait",
        (false, true) => "rrd inbox --wait",
        (_, false) => "rrd wait",
    }
}

/// A circle from its first session to the same again.
pub(crate) fn spelt_out<'g>(
    cycle: &[String],
    node: impl Fn(&str) -> Option<&'g GraphNode>,
) -> String {
    let name = |one: &String| match node(one) {
        Some(GraphNode { host: Some(host), title, session_id, .. }) => {
            let title = title.as_deref().or(session_id.as_deref()).unwrap_or("no title");
            format!("{one} ({host}, {title})")
        }
        _ => one.clone(),
    };
    let mut names: Vec<String> = cycle.iter().take(NAMED).map(name).collect();
    if cycle.len() > NAMED {
        names.push(format!("{} more", cycle.len() - NAMED));
    }
    names.extend(cycle.first().cloned());
    names.join(" waits for ")
}

#[cfg(test)]
mod tests {
    use rrd_proto::{EdgeState, Harness, HostState, Link};

    use super::*;

    fn waits(one: &str, other: &str) -> Session {
        let key = SessionKey { harness: Harness::Codex, session_id: format!("id-{one}") };
        let link = Link {
            kind: EdgeKind::Wait,
            state: EdgeState::Declared,
            to: other.to_owned(),
            incoming: false,
            any: false,
            group: 0,
            since: None,
            evidence: String::new(),
        };
        Session {
            reference: one.to_owned(),
            host: "mac".to_owned(),
            host_state: HostState::Live,
            active: true,
            links: vec![link],
            ..Session::unknown(key)
        }
    }

    #[test]
    fn a_circle_is_spelt_out() {
        let titled = Session { title: Some("Ship it".to_owned()), ..waits("b", "a") };
        let parts = alarms(&graph::graph(&[waits("a", "b"), titled], &[]));
        assert_eq!(parts.len(), 1);
        assert_eq!(
            parts[0].detail,
            "nobody can go on: a (mac, id-a) waits for b (mac, Ship it) waits for a"
        );
        assert!(alarms(&graph::graph(&[waits("a", "b")], &[])).is_empty());
    }

    #[test]
    fn the_hint_names_what_is_to_be_ended() {
        let by = |session: Session, command: &str| {
            let told = |link: &Link| Link { evidence: command.to_owned(), ..link.clone() };
            Session { links: session.links.iter().map(told).collect(), ..session }
        };
        let (wait, inbox) = ("rrd wait --until idle", "rrd inbox --wait: it has not answered");
        for (first, second, named) in [
            (wait, wait, "rrd wait"),
            (wait, inbox, "rrd wait or rrd inbox --wait"),
            (inbox, inbox, "rrd inbox --wait"),
            ("", "rm -rf /", "rrd wait"),
        ] {
            let rows = [by(waits("a", "b"), first), by(waits("b", "a"), second)];
            // Who waits for one of them is not of the circle.
            let besides = by(waits("c", "a"), inbox);
            let parts = alarms(&graph::graph(&[&rows[..], &[besides]].concat(), &[]));
            let hint = parts[0].hint.as_deref().unwrap_or_default();
            assert!(hint.contains(&format!("end its {named}; ")), "{hint}");
        }
    }

    #[test]
    fn however_many_there_are_a_screen_holds_them() {
        let name = |at: usize| format!("s{at:03}");
        let pairs = (0..40).map(|at| waits(&name(at), &name(at ^ 1)));
        let long =
            (100..150).map(|at| waits(&name(at), &name(if at == 149 { 100 } else { at + 1 })));
        let parts = alarms(&graph::graph(&pairs.collect::<Vec<_>>(), &[]));
        assert_eq!(parts.len(), SPELT_OUT + 1);
        assert!(parts[SPELT_OUT].detail.starts_with("15 more circles"));
        let parts = alarms(&graph::graph(&long.collect::<Vec<_>>(), &[]));
        assert!(parts[0].detail.ends_with("waits for 40 more waits for s100"), "{parts:?}");
        assert!(parts[0].detail.len() < 400);
    }
}
