//! A fleet in one process: the test is the network, and time runs when everybody waits.

use std::{
    collections::HashSet,
    sync::atomic::{AtomicU64, Ordering},
};

use rrd_core::{
    fleet::members::{List, Member, Statement, vouch},
    redact::{Redactor, Report},
};
use rrd_proto::{HostState, Timestamp};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::*;

mod figures;
mod notices;
mod restarts;

const KEY: [u8; 32] = [7; 32];

/// What happens to datagrams on their way.
#[derive(Debug, Clone, Default)]
struct Weather {
    /// Of a hundred, so many are lost, come twice, or are damaged.
    lost: u64,
    twice: u64,
    damaged: u64,
    delay: Duration,
    /// From whom nothing reaches whom.
    cut: HashSet<(usize, usize)>,
}

/// Datagrams, and to whom they went.
type Recording = Vec<(usize, Vec<u8>)>;

#[derive(Default)]
struct Net {
    weather: Mutex<Weather>,
    nodes: Mutex<Vec<Option<Arc<Gossip>>>>,
    dice: AtomicU64,
    sent: AtomicU64,
    /// Every datagram, if they are kept.
    kept: Mutex<Option<Recording>>,
}

fn place(i: usize) -> SocketAddr {
    ([10, 0, (i / 256) as u8, (i % 256) as u8], 7731).into()
}

fn number(place: SocketAddr) -> usize {
    match place {
        SocketAddr::V4(place) => {
            let [.., a, b] = place.ip().octets();
            usize::from(a) * 256 + usize::from(b)
        }
        SocketAddr::V6(_) => usize::MAX,
    }
}

impl Net {
    /// The same numbers every time: xorshift64* (Vigna 2014).
    fn roll(&self, of: u64) -> u64 {
        let step = |mut x: u64| {
            x ^= x >> 12;
            x ^= x << 25;
            x ^= x >> 27;
            Some(x)
        };
        let before = self.dice.fetch_update(Ordering::SeqCst, Ordering::SeqCst, step);
        (before.unwrap_or(1).wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % of
    }

    fn carry(self: &Arc<Self>, from: usize, to: SocketAddr, datagram: &[u8]) {
        self.sent.fetch_add(1, Ordering::SeqCst);
        let to = number(to);
        if let Some(kept) = &mut *lock(&self.kept) {
            kept.push((to, datagram.to_vec()));
        }
        let weather = lock(&self.weather).clone();
        if weather.cut.contains(&(from, to)) || self.roll(100) < weather.lost {
            return;
        }
        let mut datagram = datagram.to_vec();
        if self.roll(100) < weather.damaged {
            let at = self.roll(datagram.len() as u64) as usize;
            datagram[at] ^= 0x40;
        }
        let copies = 1 + u64::from(self.roll(100) < weather.twice);
        for _ in 0..copies {
            let (net, datagram) = (Arc::clone(self), datagram.clone());
            // Up to twice as long: so they overtake one another.
            let delay = weather.delay + weather.delay.mul_f64(self.roll(100) as f64 / 100.0);
            tokio::spawn(async move {
                sleep(delay).await;
                net.deliver(from, to, &datagram);
            });
        }
    }

    fn deliver(&self, from: usize, to: usize, datagram: &[u8]) {
        let node = lock(&self.nodes).get(to).cloned().flatten();
        if let Some(node) = node {
            node.receive(place(from), datagram);
        }
    }
}

struct Fleet {
    net: Arc<Net>,
    members: Arc<Members>,
    generation: AtomicU64,
    begun: Instant,
}

fn own(i: usize) -> Identity {
    let mut secret = [9; 64];
    secret[..8].copy_from_slice(&(i as u64 + 1).to_be_bytes());
    secret[32..40].copy_from_slice(&(i as u64 + 1).to_be_bytes());
    Identity::from_secret(&secret)
}

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000 + ms)
}

fn statement(i: usize) -> Statement {
    let (signing, handshake) = (own(i).public(), own(i).handshake_public());
    let member = Member {
        signing,
        handshake,
        label: format!("h{i}"),
        addresses: vec![place(i)],
        tailscale: None,
        replaces: None,
        joined_at: at(i as i64),
        version: 1,
    };
    Statement::new(&own(i), &member, vouch(&own(0), signing, handshake))
}

impl Fleet {
    /// Of `n` members, all of them there.
    async fn of(n: usize) -> Self {
        let mut members = Members::founded(statement(0)).unwrap();
        members.merge(List { statements: (1..n).map(statement).collect(), ..List::default() });
        let net = Arc::new(Net::default());
        net.dice.store(88172645463325252, Ordering::SeqCst);
        lock(&net.weather).delay = Duration::from_millis(1);
        let fleet = Self {
            net,
            members: Arc::new(members),
            generation: AtomicU64::new(1000),
            begun: Instant::now(),
        };
        for i in 0..n {
            fleet.start(i, &KEY, 0);
        }
        sleep(Duration::from_secs(4)).await;
        fleet
    }

    /// Starts one whose clock is so far from the others'.
    fn start(&self, i: usize, key: &[u8; 32], clock_ms: i64) {
        let generation = self.generation.fetch_add(1000, Ordering::SeqCst);
        self.start_as(i, i, key, clock_ms, generation);
    }

    /// Starts one with the identity of `who`, in this generation.
    fn start_as(&self, i: usize, who: usize, key: &[u8; 32], clock_ms: i64, generation: u64) {
        let (net, begun) = (Arc::clone(&self.net), self.begun);
        let kept = self.stop(i);
        let later = AtomicU64::new(generation);
        let node = Gossip::begin(Begin {
            own: Arc::new(own(who)),
            key: FleetKey::new(*key),
            members: Arc::clone(&self.members),
            generation,
            boot: generation + i as u64,
            floors: kept.as_ref().map(|node| node.wire().floors()).unwrap_or_default(),
            kept: kept.map(|node| node.kept(true)).unwrap_or_default(),
            send: Arc::new(move |to, datagram: &[u8]| net.carry(i, to, datagram)),
            clock: Arc::new(move || at(clock_ms + begun.elapsed().as_millis() as i64)),
            next_generation: Arc::new(move || Ok(later.fetch_add(1, Ordering::SeqCst) + 1)),
        });
        let mut nodes = lock(&self.net.nodes);
        if nodes.len() <= i {
            nodes.resize_with(i + 1, || None);
        }
        nodes[i] = Some(Arc::new(node));
    }

    fn stop(&self, i: usize) -> Option<Arc<Gossip>> {
        lock(&self.net.nodes).get_mut(i).and_then(Option::take)
    }

    fn node(&self, i: usize) -> Arc<Gossip> {
        lock(&self.net.nodes)[i].clone().unwrap()
    }

    /// The titles that `i` lists, with how it knows their hosts.
    fn titles(&self, i: usize) -> Vec<String> {
        let row = |row: Session| {
            let away = if row.host_state == HostState::Away { " (away)" } else { "" };
            format!("{}: {}{away}", row.host, row.title.unwrap_or_default())
        };
        let mut titles: Vec<String> = self.node(i).rows().into_iter().map(row).collect();
        titles.sort();
        titles
    }

    /// How long it takes until that is so.
    async fn until(&self, what: &str, most: Duration, so: impl Fn() -> bool) -> Duration {
        let begun = Instant::now();
        while !so() {
            assert!(begun.elapsed() < most, "{what}: not within {most:?}");
            sleep(Duration::from_millis(1)).await;
        }
        begun.elapsed()
    }
}

fn session(id: &str, title: &str) -> Redacted<Session> {
    session_by(&Redactor::default(), id, title)
}

fn session_by(redactor: &Redactor, id: &str, title: &str) -> Redacted<Session> {
    let row = json!({
        "ref": "", "host": "", "harness": "codex", "session_id": id, "title": title,
        "status": "executing", "status_source": "open_record", "active": true, "complete": true,
        "host_state": "here", "issues": [],
    });
    redactor.row(serde_json::from_value(row).unwrap(), &mut Report::default())
}

fn word(complete: bool) -> HostWord {
    HostWord { version: "1".into(), active: 1, sessions: 1, complete, ..HostWord::default() }
}

fn tell(node: &Gossip, id: &str, title: &str) {
    node.tell(vec![session(id, title)], &[], word(true));
}

/// Whom gossip asks, and when, is chance.
const SOON: Duration = Duration::from_secs(20);

#[tokio::test(start_paused = true)]
async fn a_change_is_everywhere_at_once() {
    let fleet = Fleet::of(5).await;
    for n in 0..20 {
        tell(&fleet.node(n % 5), "s", &n.to_string());
        let want = format!("h{}: {n}", n % 5);
        let here = || (0..5).filter(|i| *i != n % 5).all(|i| fleet.titles(i).contains(&want));
        let took = fleet.until("a change", SOON, here).await;
        assert!(took <= Duration::from_millis(5), "pushed: {took:?}");
    }
    for i in 0..5 {
        let hosts = fleet.node(i).hosts();
        assert_eq!(hosts.len(), 4);
        assert!(hosts.iter().all(|host| host.state == HostState::Live), "{hosts:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn rounds_repair_what_pushes_lose() {
    let fleet = Fleet::of(10).await;
    *lock(&fleet.net.weather) = Weather {
        lost: 20,
        twice: 10,
        damaged: 5,
        delay: Duration::from_millis(150),
        cut: HashSet::new(),
    };
    for n in 0..10 {
        tell(&fleet.node(n), "s", &n.to_string());
        let want = format!("h{n}: {n}");
        let here = || (0..10).filter(|i| *i != n).all(|i| fleet.titles(i).contains(&want));
        fleet.until("a change", SOON, here).await;
    }
    let dropped = fleet.node(0).wire().traffic().dropped;
    assert!(dropped.values().sum::<u64>() > 0, "{dropped:?}");
}

#[tokio::test(start_paused = true)]
async fn a_host_that_falls_silent_is_away_and_its_rows_stay() {
    let fleet = Fleet::of(3).await;
    (0..3).for_each(|i| tell(&fleet.node(i), "s", "work"));
    let all = ["h1: work", "h2: work"];
    fleet.until("rows", SOON, || fleet.titles(0) == all).await;
    // Nobody says good-bye.
    fleet.stop(2);
    let away = ["h1: work", "h2: work (away)"];
    fleet.until("away", SOON, || fleet.titles(0) == away).await;
    fleet.stop(1);
    let alone = ["h1: work (away)", "h2: work (away)"];
    fleet.until("alone", SOON, || fleet.titles(0) == alone).await;
    // Also after its own restart.
    fleet.start(0, &KEY, 0);
    assert_eq!(fleet.titles(0), alone);
    fleet.start(2, &KEY, 0);
    tell(&fleet.node(2), "s", "anew");
    fleet.until("back", SOON, || fleet.titles(0) == ["h1: work (away)", "h2: anew"]).await;
    // What it said before it began anew is over, whoever told it.
    fleet.start(1, &KEY, 0);
    fleet.node(1).tell(Vec::new(), &[], word(true));
    fleet.until("over", SOON, || fleet.titles(0) == ["h2: anew"]).await;
}

#[tokio::test(start_paused = true)]
async fn who_says_that_he_leaves_is_away_at_once() {
    let fleet = Fleet::of(3).await;
    tell(&fleet.node(2), "s", "work");
    fleet.until("a row", SOON, || fleet.titles(0) == ["h2: work"]).await;
    fleet.node(2).tell(Vec::new(), &[], HostWord { leaving: true, ..word(true) });
    let away = || fleet.titles(0) == ["h2: work (away)"];
    let took = fleet.until("away", SOON, away).await;
    assert!(took < Duration::from_millis(100), "{took:?}");
    fleet.stop(2);
    for _ in 0..100 {
        sleep(Duration::from_millis(100)).await;
        assert!(away(), "nobody calls it back");
    }
    fleet.start(2, &KEY, 0);
    tell(&fleet.node(2), "s", "again");
    fleet.until("back", SOON, || fleet.titles(0) == ["h2: again"]).await;
}

#[tokio::test(start_paused = true)]
async fn parts_of_a_fleet_find_each_other_again() {
    let fleet = Fleet::of(6).await;
    let side = |i: usize| i < 3;
    let cut =
        (0..6).flat_map(|a| (0..6).map(move |b| (a, b))).filter(|(a, b)| side(*a) != side(*b));
    lock(&fleet.net.weather).cut = cut.collect();
    (0..6).for_each(|i| tell(&fleet.node(i), "s", "apart"));
    let of_side =
        |i: usize| fleet.titles(i).iter().filter(|title| !title.ends_with("(away)")).count();
    fleet.until("two fleets", Duration::from_secs(30), || (0..6).all(|i| of_side(i) == 2)).await;
    lock(&fleet.net.weather).cut.clear();
    fleet.until("one again", Duration::from_secs(60), || (0..6).all(|i| of_side(i) == 5)).await;
}

#[tokio::test(start_paused = true)]
async fn a_one_way_street_is_gone_around() {
    let fleet = Fleet::of(3).await;
    lock(&fleet.net.weather).cut = [(0, 1), (1, 0)].into();
    tell(&fleet.node(0), "s", "around");
    fleet.until("through the third", SOON, || fleet.titles(1).contains(&"h0: around".into())).await;
    sleep(Duration::from_secs(30)).await;
    assert!(fleet.titles(1).contains(&"h0: around".to_owned()), "others hear it: it is not away");
}

#[tokio::test(start_paused = true)]
async fn restarts_never_show_a_host_twice() {
    let fleet = Fleet::of(3).await;
    for n in 0..50 {
        fleet.start(1, &KEY, 0);
        tell(&fleet.node(1), &format!("s-{n}"), &n.to_string());
        let want = [format!("h1: {n}")];
        fleet.until("after a restart", SOON, || fleet.titles(0) == want).await;
        assert_eq!(fleet.node(2).hosts().len(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn clocks_that_are_hours_apart_show_the_same_times() {
    let fleet = Fleet::of(3).await;
    fleet.start(1, &KEY, 12 * 3_600_000);
    fleet.start(2, &KEY, -12 * 3_600_000);
    sleep(Duration::from_secs(5)).await;
    let mut row = session("s", "x").into_inner();
    row.last_activity_at = Some(fleet.node(1).wire().now());
    let row = Redactor::default().row(row, &mut Report::default());
    let told_at = fleet.node(0).wire().now();
    fleet.node(1).tell(vec![row], &[], word(true));
    fleet.until("a row", SOON, || !fleet.titles(0).is_empty()).await;
    let seen = fleet.node(0).rows()[0].last_activity_at.unwrap();
    assert!(seen.since(told_at).abs() <= 5, "{seen} {told_at}");
    let hosts = fleet.node(2).hosts();
    let offset = hosts.iter().find(|host| host.host == "h1").unwrap().clock_offset_ms.unwrap();
    assert!((offset + 24 * 3_600_000).abs() <= 5, "{offset}");
}

#[tokio::test(start_paused = true)]
async fn a_stranger_learns_nothing_and_changes_nothing() {
    let fleet = Fleet::of(2).await;
    tell(&fleet.node(0), "s", "mine");
    // With a member's name, but another key.
    fleet.stop(1);
    fleet.start(1, &[8; 32], 0);
    tell(&fleet.node(1), "s", "forged");
    let before = fleet.net.sent.load(Ordering::SeqCst);
    sleep(Duration::from_secs(60)).await;
    assert!(fleet.titles(0).is_empty() && fleet.titles(1).is_empty());
    let dropped = fleet.node(0).wire().traffic().dropped;
    assert!(dropped.contains_key(&rrd_core::fleet::seal::Dropped::UnknownKey), "{dropped:?}");
    // Noise, and nothing but noise: no answer.
    let sent = || fleet.net.sent.load(Ordering::SeqCst);
    assert!(sent() > before);
    fleet.stop(1);
    let (quiet, noise) = (sent(), [5; 600]);
    (0..10_000).for_each(|n| fleet.net.deliver(1, 0, &noise[..n % 600]));
    assert_eq!(sent(), quiet);
}

#[tokio::test(start_paused = true)]
async fn what_was_recorded_is_of_no_use() {
    let fleet = Fleet::of(3).await;
    *lock(&fleet.net.kept) = Some(Vec::new());
    for n in 0..20 {
        tell(&fleet.node(n % 3), "s", &n.to_string());
        sleep(Duration::from_millis(700)).await;
    }
    let mut kept = lock(&fleet.net.kept).take().unwrap();
    fleet.stop(2);
    let away = || fleet.titles(0).iter().any(|title| title.ends_with("(away)"));
    fleet.until("away", SOON, away).await;
    let before = fleet.titles(0);
    let taken = fleet.node(0).wire().traffic().taken.0;
    for _ in 0..3 {
        kept.reverse();
        kept.rotate_left(7);
        for (to, datagram) in kept.iter().filter(|(to, _)| *to < 2) {
            fleet.net.deliver(2, *to, datagram);
        }
    }
    assert_eq!(fleet.node(0).wire().traffic().taken.0, taken);
    assert_eq!(fleet.titles(0), before, "who is away was not woken");
}

#[tokio::test(start_paused = true)]
async fn a_member_cannot_speak_for_another() {
    let fleet = Fleet::of(3).await;
    tell(&fleet.node(1), "s", "true");
    fleet.until("a row", SOON, || fleet.titles(0) == ["h1: true"]).await;
    let place = record::Place { generation: u64::MAX, seq: u64::MAX };
    let forged = record::of_session(&own(2), place, &session("s", "forged")).unwrap();
    let forged = forged.replace(&own(2).node().to_string(), &own(1).node().to_string());
    fleet.node(2).wire().send(own(0).node(), Kind::Push, forged.as_bytes());
    let counted = || fleet.node(0).invalid().contains_key(&(own(2).node(), Invalid::NotItsOwners));
    fleet.until("counted", SOON, counted).await;
    assert_eq!(fleet.titles(0), ["h1: true"]);
    let part = fleet.node(0).part().detail;
    assert!(part.contains("1 records in the name of h1 that it has not signed"), "{part}");
    // As the other's word on itself, from the other's slot.
    fleet.node(2).wire().send(own(0).node(), Kind::Gossip, b"\0\0nonsense");
    sleep(Duration::from_secs(1)).await;
    assert_eq!(fleet.titles(0), ["h1: true"]);
}

/// What stock chitchat falls for, each with one to four datagrams (measured against 0.13.0).
fn attacks(victim: (NodeId, u64), other: (NodeId, u64)) -> Vec<Vec<u8>> {
    let invented = |n: u16| (NodeId::from_hash((u64::from(n) << 48).to_be_bytes()), 1);
    vec![
        vet::attacks::value(victim, "s/000", "FORGED", 1 << 40),
        vet::attacks::value(victim, "s/000", "FORGED", u64::MAX),
        vet::attacks::value((victim.0, victim.1 + 1), "h", "FORGED", 1),
        vet::attacks::heartbeats([other].into_iter(), u64::MAX),
        vet::attacks::heartbeats((0..600u16).map(invented), 1),
        vet::attacks::bomb(),
    ]
}

#[tokio::test(start_paused = true)]
async fn five_attacks_on_chitchat_change_nothing_whoever_makes_them() {
    let fleet = Fleet::of(4).await;
    (0..4).for_each(|i| tell(&fleet.node(i), "s", "mine"));
    fleet.until("rows", SOON, || (0..4).all(|i| fleet.titles(i).len() == 3)).await;
    let before: Vec<_> = (0..4).map(|i| fleet.titles(i)).collect();
    // Generations as everybody sees them.
    let place = |i: usize, of: usize| {
        let live = fleet.node(i).live();
        live.into_iter().find(|(node, _)| *node == own(of).node()).unwrap()
    };
    let (victim, other) = (place(1, 0), place(0, 1));

    // A stranger, in the clear and sealed with a key of its own.
    fleet.stop(3);
    let sent = fleet.net.sent.load(Ordering::SeqCst);
    let boot = |key| (own(3).node(), 99, 99, FleetKey::new(key));
    let (node, generation, number, key) = boot([9; 32]);
    let mut sealer = rrd_core::fleet::seal::Sealer::new(node, generation, number, &key);
    for attack in attacks(victim, other) {
        fleet.net.deliver(3, 0, &attack);
        for datagram in sealer.seal(own(0).node(), Kind::Gossip, at(0), &attack).unwrap() {
            fleet.net.deliver(3, 0, &datagram);
        }
    }
    assert_eq!(fleet.net.sent.load(Ordering::SeqCst), sent, "no answer");
    let dropped: u64 = fleet.node(0).wire().traffic().dropped.values().sum();
    assert!(dropped >= 12, "{dropped}");

    // A member: each is counted, with its name.
    fleet.start(3, &KEY, 0);
    tell(&fleet.node(3), "s", "mine");
    let all = || (0..4).map(|i| fleet.titles(i)).collect::<Vec<_>>() == before;
    fleet.until("as before", SOON, all).await;
    let attacks = attacks(victim, other);
    for attack in &attacks {
        fleet.node(3).wire().send(own(0).node(), Kind::Gossip, attack);
        sleep(Duration::from_secs(2)).await;
    }
    let counted = || fleet.node(0).invalid().get(&(own(3).node(), Invalid::BadGossip)).copied();
    assert_eq!(counted(), Some(attacks.len() as u64));
    for _ in 0..60 {
        assert!(all(), "{:?}", fleet.titles(0));
        sleep(Duration::from_secs(1)).await;
    }
    assert_eq!((0..4).map(|i| fleet.node(i).begun_anew()).sum::<u64>(), 0);
}

#[tokio::test(start_paused = true)]
async fn gossip_that_ends_begins_anew() {
    let fleet = Fleet::of(3).await;
    lock(&fleet.node(0).shared.cluster).as_ref().unwrap().stop();
    fleet.until("begun anew", SOON, || fleet.node(0).begun_anew() == 1).await;
    sleep(Duration::from_secs(3)).await;
    // Without a push.
    lock(&fleet.net.weather).lost = 50;
    tell(&fleet.node(0), "s", "still here");
    fleet.until("heard", SOON, || (1..3).all(|i| fleet.titles(i) == ["h0: still here"])).await;
    assert_eq!(fleet.node(1).hosts().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn who_is_dropped_hears_no_more() {
    let mut fleet = Fleet::of(3).await;
    let mut members = Members::clone(&fleet.members);
    let drop = members.dropping(&own(0), own(2).node(), at(0));
    members.merge(List { drops: vec![drop], ..List::default() });
    fleet.members = Arc::new(members);
    (0..2).for_each(|i| fleet.node(i).set_members(&fleet.members));
    tell(&fleet.node(0), "s", "private");
    tell(&fleet.node(2), "s", "who am I");
    fleet.until("the other", SOON, || fleet.titles(1) == ["h0: private"]).await;
    sleep(Duration::from_secs(30)).await;
    let heard: Vec<_> = fleet.titles(2).into_iter().filter(|t| t.contains("private")).collect();
    assert!(heard.is_empty(), "{heard:?}");
    assert_eq!(fleet.titles(1), ["h0: private"]);
}

#[tokio::test(start_paused = true)]
async fn of_two_of_one_identity_one_is_heard_and_the_other_when_it_has_gone() {
    let fleet = Fleet::of(3).await;
    tell(&fleet.node(1), "s", "first");
    fleet.until("a row", SOON, || fleet.titles(0) == ["h1: first"]).await;
    let (first, live) = fleet.node(0).known(own(1).node());
    assert!(live);
    // A copy of its disk, that begins later.
    fleet.start_as(3, 1, &KEY, 0, first + 5_000);
    tell(&fleet.node(3), "s", "copy");
    fleet.until("the later one", SOON, || fleet.titles(0) == ["h1: copy"]).await;
    for n in 0..120 {
        tell(&fleet.node(1), "s", &n.to_string());
        tell(&fleet.node(3), "t", &n.to_string());
        sleep(Duration::from_millis(500)).await;
        let rows = fleet.titles(0);
        assert!(rows.iter().all(|row| !row.ends_with("(away)")), "no flicker: {rows:?}");
        assert!(rows.contains(&"h1: copy".to_owned()), "{rows:?}");
        assert_eq!(fleet.node(0).hosts().len(), 2);
    }
    assert_eq!(fleet.node(2).known(own(1).node()), (first + 5_000, true));
    fleet.stop(3);
    fleet.until("away", SOON, || !fleet.node(0).known(own(1).node()).1).await;
    // As its daemon does when it hears of that.
    fleet.start_as(1, 1, &KEY, 0, first + 5_001);
    tell(&fleet.node(1), "s", "first again");
    fleet.until("the first one", SOON, || fleet.titles(0) == ["h1: first again"]).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_forgotten_comes_back_neither_by_rounds_nor_from_the_disk() {
    let mut fleet = Fleet::of(3).await;
    (0..3).for_each(|i| tell(&fleet.node(i), "s", "work"));
    fleet.until("rows", SOON, || fleet.titles(0) == ["h1: work", "h2: work"]).await;
    fleet.stop(2);
    fleet.until("away", SOON, || fleet.titles(0) == ["h1: work", "h2: work (away)"]).await;
    let gone = own(2).node();
    let mut members = Members::clone(&fleet.members);
    let until = fleet.node(0).known(gone).0 + 7;
    let forgets = vec![rrd_core::fleet::members::Forget::new(&own(0), gone, until)];
    members.merge(List { forgets, ..List::default() });
    fleet.members = Arc::new(members);
    fleet.node(0).set_members(&fleet.members);
    assert_eq!(fleet.titles(0), ["h1: work"]);
    assert_eq!(fleet.node(0).hosts().len(), 1);
    // The other one has not heard of it, and goes on telling.
    for _ in 0..100 {
        sleep(Duration::from_millis(200)).await;
        assert_eq!(fleet.titles(0), ["h1: work"]);
    }
    let kept = fleet.node(0).kept(true);
    assert!(kept.iter().all(|heard| heard.node != gone || heard.records.is_empty()), "{kept:?}");
    fleet.node(1).set_members(&fleet.members);
    assert_eq!(fleet.titles(1), ["h0: work"]);
    fleet.start(0, &KEY, 0);
    sleep(Duration::from_secs(10)).await;
    assert_eq!((fleet.titles(0), fleet.node(0).hosts().len()), (vec!["h1: work".to_owned()], 1));
    // It is back, and begins anew beyond what was forgotten.
    fleet.start_as(2, 2, &KEY, 0, until + 1);
    tell(&fleet.node(2), "s", "back");
    fleet.until("back", SOON, || fleet.titles(0) == ["h1: work", "h2: back"]).await;
    fleet.until("back", SOON, || fleet.titles(1) == ["h0: work", "h2: back"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_clock_at_2099_and_back_shows_one_host_with_right_times() {
    let fleet = Fleet::of(3).await;
    let years = 73 * 365 * 86_400_000_i64;
    let mut generation = 10_000;
    for clock in [years, 0, -years, 0] {
        generation += 1;
        fleet.start_as(1, 1, &KEY, clock, generation);
        let node = fleet.node(1);
        sleep(Duration::from_secs(3)).await;
        let mut row = session("s", &clock.to_string()).into_inner();
        row.last_activity_at = Some(node.wire().now());
        let told_at = fleet.node(0).wire().now();
        let row = Redactor::default().row(row, &mut Report::default());
        node.tell(vec![row], &[], word(true));
        let want = [format!("h1: {clock}")];
        fleet.until("its row", SOON, || fleet.titles(0) == want).await;
        let seen = || fleet.node(0).rows()[0].last_activity_at.unwrap().since(told_at).abs();
        fleet.until("its time", SOON, || seen() < 1_000).await;
    }
}

#[tokio::test(start_paused = true)]
async fn of_five_thousand_sessions_as_many_are_told_as_there_is_room_for() {
    let fleet = Fleet::of(2).await;
    let long = "x".repeat(1 << 20);
    let redactor = Redactor::default();
    let row = |n| session_by(&redactor, &format!("s-{n}"), "one of many");
    let mut rows: Vec<_> = (0..5_000).map(row).collect();
    rows[0] = session("long", &long);
    fleet.node(1).tell(rows, &[], word(true));
    fleet.until("many", SOON, || fleet.titles(0).len() == 200).await;
    let longest = fleet.titles(0).iter().map(String::len).max().unwrap();
    assert!((20..1_100).contains(&longest), "{longest}");
    let part = fleet.node(1).part();
    assert!(part.detail.contains("4800 sessions left out"), "{}", part.detail);
    // The others go on being heard, and so does this one.
    tell(&fleet.node(0), "s", "other");
    fleet.until("the other", SOON, || fleet.titles(1) == ["h0: other"]).await;
    let mut over = session("s-7", "over").into_inner();
    over.active = false;
    fleet.node(1).tell(
        vec![Redactor::default().row(over, &mut Report::default())],
        &[],
        word(true),
    );
    fleet.until("a change", SOON, || fleet.titles(0).contains(&"h1: over".to_owned())).await;
}

#[tokio::test(start_paused = true)]
async fn a_host_that_comes_and_goes_does_not_make_the_list_flicker() {
    let fleet = Fleet::of(3).await;
    tell(&fleet.node(1), "s", "work");
    fleet.until("a row", SOON, || fleet.titles(0) == ["h1: work"]).await;
    let (mut turns, mut was) = (0, false);
    // Twelve seconds there, twelve not: the detector needs some of them.
    for step in 0..50 {
        let up = step % 2 == 1;
        let cut = if up { HashSet::new() } else { [(1, 0), (1, 2), (0, 1), (2, 1)].into() };
        lock(&fleet.net.weather).cut = cut;
        for _ in 0..60 {
            sleep(Duration::from_millis(200)).await;
            let away = fleet.titles(0) == ["h1: work (away)"];
            turns += u32::from(away != was);
            was = away;
        }
    }
    assert!((4..=24).contains(&turns), "{turns} in ten minutes");
    lock(&fleet.net.weather).cut.clear();
    let settled = || fleet.titles(0) == ["h1: work"];
    fleet.until("settled", Duration::from_secs(60), settled).await;
}
