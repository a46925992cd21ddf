//! Notices in a fleet: which host tells one, what the others hear of that, and who does when it dies.

use rrd_core::notices::{
    queue::{Batch, Rules},
    so,
    teller::{Sink, Teller, View},
};
use rrd_proto::{NodeId, NoticeKind};

use super::*;
use rrd_core::notices::{HostSeen, Seen};

/// What telling takes.
const TAKES: Duration = Duration::from_secs(2);

/// One host's part, beside its gossip.
struct Part {
    teller: Teller,
    sending: Vec<(Instant, Batch)>,
    /// The run of gossip that was told.
    run: usize,
}

fn part() -> Part {
    let rules = Rules {
        events: NoticeKind::ALL.to_vec(),
        through: vec![],
        per_hour: 60,
        ..Rules::default()
    };
    let sink = Sink { id: "sink".to_owned(), is_local: false, rules };
    Part { teller: Teller::new(vec![sink]), sending: Vec::new(), run: 0 }
}

fn node(i: usize) -> NodeId {
    own(i).node()
}

/// A session of the first host that asks, by everybody's clock.
fn asking(id: &str, since: Timestamp) -> Redacted<Session> {
    let mut row = session(id, "Ship it").into_inner();
    row.status = rrd_proto::Status::Waiting;
    row.waiting_for = Some(rrd_proto::WaitingFor::Permission);
    row.status_since = Some(since);
    Redactor::default().row(row, &mut Report::default())
}

impl Fleet {
    fn there(&self, i: usize) -> Option<Arc<Gossip>> {
        lock(&self.net.nodes).get(i).cloned().flatten()
    }

    /// One look of every host that is there; who told what is added to `told`.
    fn look(&self, parts: &mut [Part], own_row: Option<&Session>, told: &mut Vec<(usize, String)>) {
        for (i, part) in parts.iter_mut().enumerate() {
            let Some(gossip) = self.there(i) else {
                part.sending.clear();
                continue;
            };
            let run = Arc::as_ptr(&gossip) as usize;
            if part.run != run {
                part.run = run;
                part.teller.begin_anew();
            }
            let (now, heard) = (gossip.wire().now(), gossip.notices());
            let view = View { now, own: node(i), heard: &heard, is_quiet: false, is_ready: true };
            let all = std::mem::take(&mut part.sending);
            for (begun, batch) in all {
                if begun.elapsed() < TAKES {
                    part.sending.push((begun, batch));
                    continue;
                }
                told.extend(
                    batch.notices.iter().filter_map(|one| Some((i, one.session_id.clone()?))),
                );
                part.teller.told(0, batch.number, now);
            }
            let others = gossip.rows_as_told().into_iter();
            let mut rows: Vec<Seen> =
                others.map(|(row, shift_ms)| Seen { row, shift_ms }).collect();
            if i == 0 {
                let own = own_row.cloned().map(|mut row| {
                    row.node_id = Some(node(0).to_string());
                    Seen { row, shift_ms: 0 }
                });
                rows.extend(own);
            }
            let hosts: Vec<HostSeen> = Vec::new();
            part.teller.take(so(now, &rows, &hosts, &[]));
            let looked = part.teller.look(&view, |_| 5_000, |notice| notice);
            part.sending
                .extend(looked.batches.into_iter().map(|(_, batch)| (Instant::now(), batch)));
            if let Some(word) = looked.word {
                let mut marks = part.teller.marks(now);
                gossip.tell_notices(&word, |most| marks.text(most));
            }
        }
    }
}

/// A session of the first host asks; somebody dies so long after that.
async fn story(dies: Option<(usize, Duration)>, weather: Weather) -> (Vec<(usize, String)>, usize) {
    let fleet = Fleet::of(5).await;
    *lock(&fleet.net.weather) = weather;
    let mut parts: Vec<Part> = (0..5).map(|_| part()).collect();
    let mut told = Vec::new();
    for _ in 0..100 {
        fleet.look(&mut parts, None, &mut told);
        sleep(Duration::from_millis(100)).await;
    }
    let first = {
        let gossip = fleet.node(0);
        let heard = gossip.notices();
        let view = View {
            now: gossip.wire().now(),
            own: node(0),
            heard: &heard,
            is_quiet: false,
            is_ready: true,
        };
        let standing = parts[0].teller.standing(0, &view);
        assert_eq!(standing.hosts, 5, "all have told that they have it");
        (0..5).find(|i| node(*i) == standing.tellers[0].1).unwrap()
    };
    let asks = asking("s-1", fleet.node(0).wire().now());
    fleet.node(0).tell(vec![asks.clone()], &[], word(true));
    let asks = asks.into_inner();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(45) {
        if let Some((offset, when)) = dies
            && begun.elapsed() >= when
        {
            // By its place in the order of who tells; the host whose session it is may be it.
            fleet.stop((first + offset) % 5);
        }
        fleet.look(&mut parts, Some(&asks), &mut told);
        sleep(Duration::from_millis(250)).await;
    }
    (told, first)
}

#[tokio::test(start_paused = true)]
async fn of_five_hosts_one_tells_once() {
    let (told, first) =
        story(None, Weather { delay: Duration::from_millis(1), ..Weather::default() }).await;
    assert_eq!(told, [(first, "s-1".to_owned())]);
    // Rounds bring what pushes lose before the next host would tell it.
    let bad = Weather { lost: 20, delay: Duration::from_millis(150), ..Weather::default() };
    let (told, first) = story(None, bad).await;
    assert_eq!(told, [(first, "s-1".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn whichever_host_dies_when_it_is_told_at_least_once() {
    // Before it is due, while it is told, and just after that; every other moment is in the core's tests.
    for ms in [4_900, 6_500, 8_300] {
        for offset in 0..2 {
            let weather = Weather { delay: Duration::from_millis(1), ..Weather::default() };
            let (told, first) = story(Some((offset, Duration::from_millis(ms))), weather).await;
            assert!((1..=2).contains(&told.len()), "{offset} after {ms} ms: {told:?}");
            // Of those who are not to tell, none makes a difference.
            if offset != 0 && ms > 0 && first != 0 {
                assert_eq!(told, [(first, "s-1".to_owned())], "{offset} after {ms} ms");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_comes_later_hears_what_was_told() {
    let fleet = Fleet::of(3).await;
    let mut parts: Vec<Part> = (0..3).map(|_| part()).collect();
    let mut told = Vec::new();
    let asks = asking("s-1", fleet.node(0).wire().now());
    fleet.node(0).tell(vec![asks.clone()], &[], word(true));
    let asks = asks.into_inner();
    for _ in 0..300 {
        fleet.look(&mut parts, Some(&asks), &mut told);
        sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(told.len(), 1, "{told:?}");
    let teller = told[0].0;
    for _ in 0..1_200 {
        fleet.look(&mut parts, Some(&asks), &mut told);
        sleep(Duration::from_millis(100)).await;
    }
    // Who told it goes for good, and others begin anew with nothing on their disks: one by one, so that there
    // is always somebody who knows.
    if teller != 0 {
        fleet.stop(teller);
    }
    for i in (1..3).filter(|i| *i != teller) {
        fleet.start(i, &KEY, 0);
        parts[i] = part();
        // Until it has heard (a daemon waits ten seconds for that) it tells nothing.
        sleep(Duration::from_secs(10)).await;
        for _ in 0..1_000 {
            fleet.look(&mut parts, Some(&asks), &mut told);
            sleep(Duration::from_millis(100)).await;
        }
    }
    assert_eq!(told.len(), 1, "{told:?}");
}
