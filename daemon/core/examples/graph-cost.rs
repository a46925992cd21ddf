//! How long one graph takes: 1,000 sessions and 5,000 edges, the goal being 5 ms.
//!
//!     cargo run --release -p rrd-core --example graph-cost -- [SESSIONS] [EDGES]
//!
//! Waits go forward at random, so that chains are long; the second figure has as many that go back, so that
//! circles are many. Writing the same rows as JSON, which every answer does, stands beside them as a yardstick.
#![allow(clippy::print_stdout, clippy::disallowed_methods, missing_docs)]

use std::{hint::black_box, time::Instant};

use rrd_core::graph::graph;
use rrd_proto::{
    EdgeKind, EdgeState, Harness, HostState, Link, Session, SessionKey, Status, Timestamp,
};

/// Turns of each figure; the least and the middle one are told.
const TURNS: usize = 51;

fn main() {
    let mut given = std::env::args().skip(1).map(|word| word.parse().unwrap_or(0));
    let sessions = given.next().unwrap_or(1_000_usize).max(2);
    let edges = given.next().unwrap_or(5_000_usize);
    for (name, back) in [("chains", 0), ("chains and circles", 2)] {
        let rows = rows(sessions, edges, back);
        let made = graph(&rows, &[]);
        let (nodes, edges, cycles) = (made.nodes.len(), made.edges.len(), made.cycles.len());
        let long: usize = made.chains.iter().map(|chain| chain.sessions.len()).sum();
        println!(
            "{name}: {nodes} nodes, {edges} edges, {cycles} circles, {} chains of {long} refs",
            made.chains.len()
        );
        let own = time(|| drop(black_box(graph(black_box(&rows), &[]))));
        let yard = time(|| drop(black_box(serde_json::to_vec(black_box(&rows)))));
        println!("  graph           least {:7.3} ms  middle {:7.3} ms", own.0, own.1);
        println!("  rows as JSON    least {:7.3} ms  middle {:7.3} ms", yard.0, yard.1);
    }
}

fn time(mut work: impl FnMut()) -> (f64, f64) {
    let mut took: Vec<f64> = (0..TURNS)
        .map(|_| {
            let begun = Instant::now();
            work();
            begun.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    took.sort_by(f64::total_cmp);
    (took[0], took[TURNS / 2])
}

/// Numbers as of a small linear congruential generator: the same each time.
struct Random(u64);

impl Random {
    fn below(&mut self, most: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % most
    }
}

/// `back`: of ten waits so many go back.
fn rows(sessions: usize, edges: usize, back: usize) -> Vec<Session> {
    let name = |at: usize| format!("s{at:04}");
    let mut rows: Vec<Session> = (0..sessions)
        .map(|at| {
            let key = SessionKey { harness: Harness::ClaudeCode, session_id: format!("id-{at}") };
            Session {
                reference: name(at),
                host: format!("host{}", at % 5),
                node_id: Some(format!("n{}", at % 5)),
                title: Some(format!("Work on number {at}")),
                cwd: Some(format!("/src/{at}")),
                repo: Some("rrd".to_owned()),
                status: Status::Executing,
                status_since: Some(Timestamp::from_millis(1_795_000_000_000)),
                active: true,
                host_state: HostState::Live,
                ..Session::unknown(key)
            }
        })
        .collect();
    let mut random = Random(7);
    for _ in 0..edges {
        let (a, b) = (random.below(sessions - 1), random.below(sessions));
        let (low, high) = (a.min(b), a.max(b).max(a.min(b) + 1).min(sessions - 1));
        let (from, to) = if random.below(10) < back { (high, low) } else { (low, high) };
        rows[from].links.push(Link {
            kind: EdgeKind::Wait,
            state: EdgeState::Declared,
            to: name(to),
            incoming: false,
            any: false,
            group: 0,
            since: None,
            evidence: "rrd wait --until idle".to_owned(),
        });
    }
    rows
}
