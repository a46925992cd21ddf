//! Hosts that are started again, however often, or stand still: whoever is there is shown to be.

use super::*;

/// A clean stop: it says that it leaves, and does.
fn leave(fleet: &Fleet, i: usize) {
    fleet.node(i).tell(Vec::new(), &[], HostWord { leaving: true, ..word(true) });
    fleet.stop(i);
}

/// How `of` is called where `i` looks, among its rows and among its hosts.
fn is_live(fleet: &Fleet, i: usize, of: usize) -> bool {
    let (name, label) = (own(of).node().to_string(), format!("h{of}"));
    let hosts = fleet.node(i).hosts();
    let is_host = hosts.iter().any(|h| h.node_id == name && h.state == HostState::Live);
    let rows = fleet.titles(i);
    is_host && rows.iter().any(|row| row.starts_with(&label) && !row.ends_with("(away)"))
}

#[tokio::test(start_paused = true)]
async fn a_host_that_is_started_again_and_again_is_there_at_once_each_time() {
    for (gap, is_clean) in [(0, true), (300, true), (4_000, true), (10_000, true), (10_000, false)]
    {
        let fleet = Fleet::of(3).await;
        tell(&fleet.node(0), "s", "work");
        for n in 0..6 {
            sleep(Duration::from_millis(gap)).await;
            if is_clean {
                leave(&fleet, 0);
                sleep(Duration::from_millis(50)).await;
            } else {
                fleet.stop(0);
                sleep(Duration::from_secs(8)).await;
            }
            fleet.start(0, &KEY, 0);
            tell(&fleet.node(0), "s", &n.to_string());
            let all = || (1..3).all(|i| is_live(&fleet, i, 0));
            let what = format!("start {n}, {gap} ms apart");
            fleet.until(&what, Duration::from_secs(2), all).await;
            for _ in 0..20.min(gap / 100) {
                sleep(Duration::from_millis(100)).await;
                assert!(all(), "{what}: it stays");
            }
        }
        // And it is missed as soon as ever.
        sleep(Duration::from_secs(5)).await;
        fleet.stop(0);
        let none = || (1..3).all(|i| !is_live(&fleet, i, 0));
        fleet.until("away", Duration::from_secs(6), none).await;
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_stood_still_takes_nobody_for_silent_but_who_is() {
    for seconds in [4, 6, 9, 12, 60] {
        let fleet = Fleet::of(4).await;
        (0..4).for_each(|i| tell(&fleet.node(i), "s", "work"));
        let all = ["h1: work", "h2: work", "h3: work"];
        fleet.until("rows", SOON, || fleet.titles(0) == all).await;
        fleet.stop(3);
        // Nothing is on its way, and what comes then takes so long that silence is judged before.
        sleep(Duration::from_millis(500)).await;
        lock(&fleet.net.weather).delay = Duration::from_millis(300);
        // Every clock runs on, and nobody runs.
        tokio::time::advance(Duration::from_secs(seconds)).await;
        let now = Instant::now();
        while fleet.titles(0) != ["h1: work", "h2: work", "h3: work (away)"] {
            let rows = fleet.titles(0);
            assert_eq!(rows[..2], all[..2], "{seconds} s");
            assert!(now.elapsed() < Duration::from_secs(8), "missed as soon as ever: {rows:?}");
            sleep(Duration::from_millis(20)).await;
        }
        for _ in 0..200 {
            sleep(Duration::from_millis(100)).await;
            assert_eq!(fleet.titles(0)[..2], all[..2], "{seconds} s");
        }
    }
}
