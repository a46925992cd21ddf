//! Several hosts that find the same session at the same moment.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    task::{Context, Wake, Waker},
    time::Duration,
};

use futures::future::{BoxFuture, FutureExt};

use super::{owners::Other, *};

/// A host's work, which goes on only when it is told to: from one thing that is asked of the place to the next.
struct Work<'a> {
    future: BoxFuture<'a, ()>,
    woken: Arc<Woken>,
    is_over: bool,
}

struct Woken {
    is: AtomicBool,
    whole: Waker,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.is.store(true, Ordering::SeqCst);
        self.whole.wake_by_ref();
    }
}

impl<'a> Work<'a> {
    async fn new(future: impl Future<Output = ()> + Send + 'a) -> Self {
        let whole = poll_fn(|context| Poll::Ready(context.waker().clone())).await;
        let woken = Arc::new(Woken { is: AtomicBool::new(true), whole });
        Self { future: future.boxed(), woken, is_over: false }
    }

    /// Goes on until it waits for something, and what that is has been done.
    async fn step(&mut self) {
        if !self.is_over && self.woken.is.swap(false, Ordering::SeqCst) {
            let waker = Waker::from(Arc::clone(&self.woken));
            self.is_over = self.future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
        }
        // The clock stands still as long as a thread has something to do.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    /// Goes on until it has put something there, or is at its end.
    async fn put(&mut self, scene: &Scene) {
        let before = objects(scene);
        while !self.is_over && objects(scene) == before {
            self.step().await;
        }
    }
}

/// With a clock that goes on when nothing else does.
fn run(test: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().start_paused(true).build().unwrap().block_on(test);
}

/// How many objects there are of the session.
fn objects(scene: &Scene) -> usize {
    let directory = scene.home.path().join("bucket/sessions/claude-code/s-1");
    fs::read_dir(directory).map_or(0, |objects| objects.count())
}

/// What a host does while the others wait.
#[derive(Debug, Clone, Copy)]
enum Turn {
    Steps(usize),
    Put,
}

/// What readers show of the place, and all that counts there.
async fn there(other: &Other) -> (String, Vec<String>) {
    let target = &other.carrier.target;
    let spool = tempfile::tempfile().unwrap();
    let mut fetched = fetch::fetch(&other.carrier, &name(), spool).await.unwrap().unwrap();
    assert!(fetched.is_sound);
    let (mut shown, mut all) = (Vec::new(), String::new());
    fetched.write(None, &mut shown).unwrap();
    let directory = fetch::directory(target, &name()).await.unwrap();
    let take = &mut |_: PartName, _: u32, body: &[u8]| {
        all.push_str(std::str::from_utf8(body).unwrap());
        Ok(())
    };
    fetch::parts(target, &name(), &directory, take).await.unwrap();
    (String::from_utf8(shown).unwrap(), all.split_inclusive('\n').map(str::to_owned).collect())
}

/// Three hosts have the same transcript, of which nothing is there, and bring it as `turns` has them; then each of
/// them brings one after the other, as often as it takes until nobody writes any more.
/// `yields`: a host leaves it to whoever brings it.
async fn race(turns: &[(usize, Turn)], yields: bool) {
    let scene = Scene::new().await;
    let lines: Vec<String> = (1..4).map(|number| line(number) + "\n").collect();
    let mut hosts = ["node-b", "node-c", "node-d"].map(|node| Other::of(&scene, node));
    for host in &mut hosts {
        host.has(&lines);
        host.carrier.yields = yields;
    }
    {
        let mut work = Vec::new();
        for host in &mut hosts {
            work.push(Work::new(host.bring()).await);
        }
        for (host, turn) in turns {
            match turn {
                Turn::Put => work[*host].put(&scene).await,
                Turn::Steps(count) => {
                    for _ in 0..*count {
                        work[*host].step().await;
                    }
                }
            }
        }
        while !work.iter().all(|work| work.is_over) {
            for work in &mut work {
                work.step().await;
            }
        }
    }
    for _ in 0..2 {
        for host in &mut hosts {
            host.bring().await;
            let (shown, all) = there(host).await;
            assert_eq!((shown, all), (lines.concat(), lines.clone()));
        }
    }
    // And whoever goes on with it brings what is new.
    let more = [&lines[..], &[line(7) + "\n"]].concat();
    for host in &mut hosts {
        host.has(&more);
        host.bring().await;
        // Who leaves it to another one looks again, and finds that nothing came.
        if host.stream.state.left {
            host.bring().await;
        }
        assert_eq!(there(host).await, (more.concat(), more.clone()));
    }
}

#[test]
fn who_claims_after_a_part_that_does_not_count_leaves_its_number_to_nobody() {
    // The first one claims, the second one does as well before a part of the first one is there, and the third one
    // when that is, and does not count: what the second one then puts there is not to count, either.
    let turns = [0, 1, 0, 2, 1, 2, 0, 1, 2].map(|host| (host, Turn::Put));
    for from in 1..=turns.len() {
        run(race(&turns[..from], false));
        run(race(&turns[..from], true));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn each_record_counts_once_whoever_was_first(
        turns in prop::collection::vec(
            (0_usize..3, prop_oneof![(1_usize..30).prop_map(Turn::Steps), Just(Turn::Put)]),
            0..14,
        ),
        yields in any::<bool>(),
    ) {
        run(race(&turns, yields));
    }
}
