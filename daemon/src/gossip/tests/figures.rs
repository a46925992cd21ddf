//! What a fleet costs and how long things take in it, simulated: each a small test, or a table when it is told
//! how large.
//!
//!     RRD_FIGURES=1 cargo test --release -p rrd-daemon --lib figures -- --nocapture --test-threads=1
//!
//! Time is simulated, so the figures are those of the protocol and not of a machine. Links take 1 to 2 ms. Not
//! here: what real sockets and processes add (`.ci/bench-fleet`).

use super::*;

/// How often lists are looked at.
const LOOKED: Duration = Duration::from_millis(20);

/// Whether tables were asked for.
fn large() -> bool {
    std::env::var_os("RRD_FIGURES").is_some()
}

fn percentile(times: &mut [Duration], p: f64) -> Duration {
    times.sort();
    times[((times.len() as f64 * p) as usize).min(times.len() - 1)]
}

/// A row as large as rows are.
fn work(id: usize, title: &str) -> Redacted<Session> {
    let row = json!({
        "ref": "", "host": "", "harness": "claude-code", "title": title, "repo": "github.com/acme/shop",
        "session_id": format!("{id:08x}-5a1e-4c0b-9d36-2f1f6f0a8b11"), "cwd": "/home/dev/src/shop",
        "status": "executing", "status_source": "open_record", "active": true, "complete": true,
        "host_state": "here", "issues": [], "model": "demo-1", "git_branch": "main",
        "activity": {"summary": "cargo test --workspace", "tool": "Bash", "since": at(0), "may_wait": false},
        "started_at": at(0), "last_activity_at": at(0), "status_since": at(0),
    });
    Redactor::default().row(serde_json::from_value(row).unwrap(), &mut Report::default())
}

impl Fleet {
    /// Of `n` hosts with so many sessions each, and how long it took until everybody had everything.
    async fn at_work(n: usize, sessions: usize) -> (Self, Duration) {
        let fleet = Self::of(n).await;
        let begun = Instant::now();
        for i in 0..n {
            let rows = (0..sessions).map(|id| work(id, "Fix the flaky login test")).collect();
            fleet.node(i).tell(rows, &[], word(true));
        }
        let names: Vec<NodeId> = (0..n).map(|i| own(i).node()).collect();
        let has_all = |i: usize| {
            let node = fleet.node(i);
            let peers = lock(&node.shared.peers);
            // Each session has a record, and so has the host.
            let others = names.iter().filter(|name| **name != names[i]);
            others.into_iter().all(|name| peers.records(*name).len() > sessions)
        };
        let mut missing: Vec<usize> = (0..n).collect();
        while !missing.is_empty() {
            missing.retain(|i| !has_all(*i));
            assert!(begun.elapsed() < Duration::from_secs(300), "{} miss something", missing.len());
            sleep(LOOKED).await;
        }
        (fleet, begun.elapsed())
    }

    /// Tells a change of one session whose every push is lost.
    fn tell_unheard(&self, i: usize, title: &str) {
        let before = std::mem::replace(&mut lock(&self.net.weather).lost, 100);
        self.node(i).tell(vec![work(0, title)], &[], word(true));
        lock(&self.net.weather).lost = before;
    }

    /// How long it takes until that is so of each of `nodes`.
    async fn each(&self, nodes: Vec<usize>, so: impl Fn(&Gossip) -> bool) -> Vec<Duration> {
        let begun = Instant::now();
        let (mut left, mut times) = (nodes, Vec::new());
        while !left.is_empty() {
            left.retain(|i| {
                let is_so = so(&self.node(*i));
                if is_so {
                    times.push(begun.elapsed());
                }
                !is_so
            });
            assert!(begun.elapsed() < Duration::from_secs(120), "not so for {} nodes", left.len());
            sleep(LOOKED).await;
        }
        times
    }

    fn sent(&self) -> (u64, u64) {
        let nodes = lock(&self.net.nodes).clone();
        let of = nodes.iter().flatten().map(|node| node.wire().traffic().sent);
        of.fold((0, 0), |sum, sent| (sum.0 + sent.0, sum.1 + sent.1))
    }

    fn held_back(&self) -> u64 {
        let nodes = lock(&self.net.nodes).clone();
        nodes.iter().flatten().map(|node| node.wire().traffic().held_back).sum()
    }
}

/// Whether a node has that from its owner. Of what it would show to a person only a word is wanted, again
/// and again.
fn has_title(node: &Gossip, owner: NodeId, title: &str) -> bool {
    let peers = lock(&node.shared.peers);
    peers.records(owner).iter().any(|(_, record)| record.contains(title))
}

#[tokio::test(start_paused = true)]
async fn figures_of_size() {
    // Bytes and times by the number of hosts; nothing but rounds, with every push lost.
    let sizes: &[usize] = if large() { &[5, 10, 20, 50, 100] } else { &[5] };
    let changes = if large() { 30 } else { 5 };
    println!(
        "hosts x 20 | all has all | idle a node: bytes/s, datagrams/s, held back/s | pushes lost: p50, p99, max | pushed: p99"
    );
    for n in sizes.iter().copied() {
        let (fleet, cold) = Fleet::at_work(n, 20).await;
        sleep(Duration::from_secs(10)).await;
        let (begun, before, held) = (Instant::now(), fleet.sent(), fleet.held_back());
        sleep(Duration::from_secs(60)).await;
        let seconds = begun.elapsed().as_secs_f64() * n as f64;
        let sent = fleet.sent();
        let bytes = (sent.1 - before.1) as f64 / seconds;
        let datagrams = (sent.0 - before.0) as f64 / seconds;
        let held = (fleet.held_back() - held) as f64 / seconds;
        let (mut lost, mut pushed) = (Vec::new(), Vec::new());
        for change in 0..changes {
            let i = change * 7 % n;
            let others: Vec<usize> = (0..n).filter(|other| *other != i).collect();
            let owner = own(i).node();
            let title = format!("unheard {change}.");
            fleet.tell_unheard(i, &title);
            lost.extend(fleet.each(others.clone(), |node| has_title(node, owner, &title)).await);
            sleep(Duration::from_millis(1_000 + change as u64 * 37)).await;
            let title = format!("pushed {change}.");
            fleet.node(i).tell(vec![work(0, &title)], &[], word(true));
            pushed.extend(fleet.each(others, |node| has_title(node, owner, &title)).await);
        }
        let [p50, p99, max] = [0.5, 0.99, 1.0].map(|p| percentile(&mut lost, p));
        let push = percentile(&mut pushed, 0.99);
        println!(
            "{n:>10} | {:>7.2} s | {bytes:>8.0} {datagrams:>6.1} {held:>6.2} | {:>5.2} {:>5.2} {:>5.2} s | {:>3} ms",
            cold.as_secs_f64(),
            p50.as_secs_f64(),
            p99.as_secs_f64(),
            max.as_secs_f64(),
            push.as_millis(),
        );
        assert!(p99 <= Duration::from_secs(5) || n > 50, "{n} hosts: {p99:?}");
        assert!(n > 5 || bytes <= 2_500.0, "{n} hosts: {bytes} bytes a second");
    }
}

#[tokio::test(start_paused = true)]
async fn figures_of_death() {
    let sizes: &[usize] = if large() { &[3, 5, 10, 20, 30, 50, 100] } else { &[3, 10] };
    let deaths = if large() { 10 } else { 2 };
    println!("hosts | death to away on each other: p50, p99, max | back to live: max");
    for n in sizes.iter().copied() {
        let (fleet, _) = Fleet::at_work(n, 3).await;
        let (mut gone, mut back) = (Vec::new(), Vec::new());
        for death in 0..deaths {
            // Beyond what holds back a host that comes and goes.
            sleep(Duration::from_millis(61_000 + death as u64 * 137)).await;
            let i = death * 3 % n;
            let label = format!("h{i}");
            let others: Vec<usize> = (0..n).filter(|other| *other != i).collect();
            let is = |node: &Gossip, state| {
                node.hosts().iter().any(|host| host.host == label && host.state == state)
            };
            fleet.stop(i);
            gone.extend(fleet.each(others.clone(), |node| is(node, HostState::Away)).await);
            fleet.start(i, &KEY, 0);
            fleet.node(i).tell(vec![work(0, "back")], &[], word(true));
            back.extend(fleet.each(others, |node| is(node, HostState::Live)).await);
        }
        let [p50, p99, max] = [0.5, 0.99, 1.0].map(|p| percentile(&mut gone, p).as_secs_f64());
        let live = percentile(&mut back, 1.0).as_secs_f64();
        println!("{n:>5} | {p50:>5.2} {p99:>5.2} {max:>5.2} s | {live:>5.2} s");
        assert!(max <= 8.0 || n > 30, "{n} hosts: {max} s");
    }
}

#[tokio::test(start_paused = true)]
async fn figures_of_false_alarms() {
    let sizes: &[usize] = if large() { &[2, 3, 5, 10] } else { &[3] };
    let minutes = if large() { 24 * 60 } else { 10 };
    println!(
        "hosts | simulated | changes in bursts | datagrams, 5 % lost | called away though there"
    );
    for n in sizes.iter().copied() {
        let (fleet, _) = Fleet::at_work(n, 3).await;
        lock(&fleet.net.weather).lost = 5;
        let alarms = Arc::new(AtomicU64::new(0));
        for i in 0..n {
            let (node, alarms) = (fleet.node(i), Arc::clone(&alarms));
            tokio::spawn(async move {
                let mut changed = node.changed();
                let mut away = 0;
                while changed.changed().await.is_ok() {
                    let now = node.hosts().iter().filter(|h| h.state != HostState::Live).count();
                    if now > away {
                        alarms.fetch_add(1, Ordering::SeqCst);
                    }
                    away = now;
                }
            });
        }
        let before = fleet.net.sent.load(Ordering::SeqCst);
        let mut changes = 0;
        for minute in 0..minutes {
            // A busy session changes as often as anything is told, for a second and a half.
            for burst in 0..30 {
                fleet.node(minute % n).tell(
                    vec![work(0, &format!("{minute} {burst}"))],
                    &[],
                    word(true),
                );
                changes += 1;
                sleep(Duration::from_millis(50)).await;
            }
            sleep(Duration::from_millis(58_500)).await;
        }
        let sent = fleet.net.sent.load(Ordering::SeqCst) - before;
        let alarms = alarms.load(Ordering::SeqCst);
        println!(
            "{n:>5} | {minutes:>5} min | {changes:>6}            | {sent:>10}          | {alarms}"
        );
        assert_eq!(alarms, 0, "{n} hosts");
    }
}
