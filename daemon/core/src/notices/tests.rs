//! Rows, hosts and a clock, and what comes of them; and several nodes with a network that the test is.

mod cluster;

use rrd_proto::{
    HostState,
    NoticeKind::{Crashed, Deadlock, NeedsYou},
    ParentKind, WaitingFor,
};
use serde_json::{Value, json};

use super::{
    mark::{Mark, Marks},
    queue::{ATTEMPTS, BACKUP, COLLECT, Now, Queue, Rules, Step},
    quiet::Quiet,
    words::{Wish, notification},
    *,
};

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000 + ms)
}

fn node(n: u8) -> NodeId {
    NodeId::from_hash([n; 8])
}

/// A row of the first node, with these fields besides.
fn row(id: &str, more: &Value) -> Seen {
    let mut row = json!({
        "ref": &id[..id.len().min(5)], "host": "mac", "node_id": node(1).to_string(), "harness": "claude-code",
        "session_id": id, "title": "Ship it", "repo": "web", "status": "executing",
        "status_since": at(0), "status_source": "registry", "active": true, "complete": true,
        "host_state": "here", "issues": [],
    });
    row.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Seen { row: serde_json::from_value(row).unwrap(), shift_ms: 0 }
}

fn asking(id: &str, since: i64) -> Seen {
    row(
        id,
        &json!({"status": "waiting", "waiting_for": "permission", "status_since": at(since),
        "waiting_detail": "Bash: npm publish"}),
    )
}

/// What is so, by kind and the name of the session or host.
fn kinds(now: i64, rows: &[Seen], hosts: &[HostSeen], cycles: &[Vec<String>]) -> Vec<String> {
    let told = |(key, so): (Key, So)| {
        let what = so.notice.session_id.or(so.notice.detail).or(so.notice.host);
        let begins = if so.may_begin { "" } else { " (goes on)" };
        format!("{} {}{begins}", key.kind, what.unwrap_or_default())
    };
    so(at(now), rows, hosts, cycles).into_iter().map(told).collect()
}

#[test]
fn what_is_so() {
    let one = |more: Value| kinds(10_000, &[row("s-1", &more)], &[], &[]);
    for (more, is) in [
        (json!({"status": "waiting", "waiting_for": "permission"}), "needs_you s-1"),
        (json!({"status": "waiting", "waiting_for": "input"}), "needs_you s-1"),
        (json!({"status": "waiting", "waiting_for": "session"}), ""),
        (json!({"status": "waiting"}), ""),
        (json!({}), ""),
        (json!({"status": "ended", "end_reason": "crashed"}), "crashed s-1"),
        (
            json!({"status": "ended", "end_reason": "crashed", "status_since": at(-3_600_000)}),
            "crashed s-1 (goes on)",
        ),
        (json!({"status": "ended", "end_reason": "exit"}), "finished s-1"),
        (json!({"status": "ended", "end_reason": "unknown"}), ""),
        (json!({"status": "idle", "turn_result": "completed"}), "finished s-1"),
        (json!({"status": "idle", "turn_result": "interrupted"}), ""),
        (json!({"status": "idle"}), ""),
        // The last word of a host that is away is no news.
        (
            json!({"status": "waiting", "waiting_for": "input", "host_state": "away"}),
            "needs_you s-1 (goes on)",
        ),
        (json!({"status": "ended", "end_reason": "crashed", "parent_kind": "subagent"}), ""),
    ] {
        let expected: Vec<&str> = [is].into_iter().filter(|is| !is.is_empty()).collect();
        assert_eq!(one(more.clone()), expected, "{more}");
    }
    // What a delegate asks its parent asks, too; one whose parent does not is told.
    let mut child = asking("s-2", 0);
    (child.row.parent_kind, child.row.parent_session_id) =
        (Some(ParentKind::Subagent), Some("s-1".to_owned()));
    let alone = kinds(0, &[row("s-1", &json!({})), child.clone()], &[], &[]);
    assert_eq!(alone, ["needs_you s-2"]);
    assert_eq!(kinds(0, &[asking("s-1", 0), child], &[], &[]), ["needs_you s-1"]);
}

/// A host that is away from the beginning on.
fn mac_away() -> HostSeen {
    HostSeen {
        node: node(1).to_string(),
        label: "mac".to_owned(),
        is_away: true,
        away_since: Some(at(0)),
        ..HostSeen::default()
    }
}

#[test]
fn hosts_and_circles() {
    let away = mac_away();
    let alarm = MirrorAlarm {
        url: "s3://b".to_owned(),
        since: Some(at(-900_000)),
        pending_parts: 3,
        transcripts_behind: None,
        bytes_behind: None,
        error: Some("no such bucket".to_owned()),
    };
    let is_away = |rows: &[Seen]| kinds(0, rows, std::slice::from_ref(&away), &[]);
    assert_eq!(is_away(&[row("s-1", &json!({"host_state": "away"}))]), ["host_away_with_work mac"]);
    assert!(is_away(&[row("s-1", &json!({"status": "idle"}))]).is_empty(), "no work");
    assert!(is_away(&[row("s-1", &json!({"active": false}))]).is_empty(), "for days");
    // Whatever the clock of who misses it: by its own it is the same moment, and one thing to tell.
    let told = |seen: &HostSeen| {
        let rows = [row("s-1", &json!({"host_state": "away"}))];
        let so = so(at(0), &rows, std::slice::from_ref(seen), &[]);
        let due = Watch::default().look(at(0), &so, |_| 0).due.remove(0);
        (due.notice.id, Mark::of(&due.key, due.since, "sink"), due.notice.since)
    };
    let ahead = HostSeen { away_since: Some(at(600_000)), shift_ms: 600_000, ..away.clone() };
    let (id, mark, _) = told(&away);
    assert_eq!(told(&ahead), (id, mark, Some(at(600_000))), "and shown by the reader's");
    let there = HostSeen { is_away: false, alarm: Some(alarm), ..away.clone() };
    let said = kinds(0, &[row("s-1", &json!({}))], &[there], &[]);
    assert_eq!(said, ["mirror_failing s3://b: no such bucket"]);

    let waits = |id: &str, to: &str, since: i64| {
        row(
            id,
            &json!({"status": "waiting", "waiting_for": "session", "links": [{"kind": "wait",
            "state": "declared", "to": to, "incoming": false, "any": false, "since": at(since), "evidence": ""}]}),
        )
    };
    let rows = [waits("aaaaa", "bbbbb", 10), waits("bbbbb", "aaaaa", 70)];
    let all = so(at(100), &rows, &[], &[vec!["aaaaa".to_owned(), "bbbbb".to_owned()]]);
    let (key, so) = all.first_key_value().unwrap();
    assert_eq!((key.kind, so.since), (Deadlock, Some(at(70))), "when it closed");
    assert_eq!(so.notice.detail.as_deref(), Some("aaaaa → bbbbb → aaaaa"));
    assert_eq!(so.notice.sessions, 2);
}

fn looks(watch: &mut Watch, now: i64, rows: &[Seen]) -> (Vec<String>, usize, Option<i64>) {
    let looked = watch.look(at(now), &so(at(now), rows, &[], &[]), |_| 5_000);
    let due = looked.due.iter().map(|due| due.notice.session_id.clone().unwrap()).collect();
    (due, looked.over.len(), looked.wake.map(|wake| wake.since(at(0))))
}

#[test]
fn what_is_granted_at_once_is_nothing_and_what_lasts_is_told_once() {
    let mut watch = Watch::default();
    assert_eq!(looks(&mut watch, 1_000, &[asking("s-1", 0)]), (vec![], 0, Some(5_000)));
    assert_eq!(looks(&mut watch, 4_999, &[]), (vec![], 0, None), "granted");
    assert_eq!(looks(&mut watch, 6_000, &[asking("s-1", 5_500)]), (vec![], 0, Some(10_500)));
    let due = looks(&mut watch, 10_500, &[asking("s-1", 5_500)]);
    assert_eq!(due, (vec!["s-1".to_owned()], 0, None));
    // Evidence that came later moves when it began, and nothing else.
    assert_eq!(looks(&mut watch, 11_000, &[asking("s-1", 6_000)]), (vec![], 0, None));
    assert_eq!(looks(&mut watch, 12_000, &[]), (vec![], 1, None));
    // Of a daemon's start: so for long, and told at once.
    let mut watch = Watch::default();
    assert_eq!(looks(&mut watch, 90_000, &[asking("s-1", 0)]).0, ["s-1"]);
    // A clock that was set back, or is ahead, makes nobody wait for hours.
    let mut watch = Watch::default();
    assert_eq!(looks(&mut watch, 0, &[asking("s-1", 7_200_000)]).2, Some(5_000));
    assert_eq!(looks(&mut watch, -3_600_000, &[asking("s-1", 7_200_000)]).2, Some(-3_595_000));
}

#[test]
fn all_nodes_give_a_notice_the_same_name() {
    let id = |seen: &Seen| {
        let looked = Watch::default().look(
            at(60_000),
            &so(at(60_000), std::slice::from_ref(seen), &[], &[]),
            |_| 0,
        );
        (looked.due[0].notice.id.clone(), looked.due[0].notice.since)
    };
    let here = asking("s-1", 0);
    // Elsewhere it has another label, another state, and the clock is off.
    let mut there = asking("s-1", 0);
    (there.row.host, there.row.host_state, there.shift_ms) =
        ("mac-2".to_owned(), HostState::Live, 7_000);
    assert_eq!(id(&here).0, id(&there).0);
    assert_eq!(id(&there).1, Some(at(7_000)), "by the reader's clock");
    assert_ne!(id(&here).0, id(&asking("s-1", 1)).0);
    assert_ne!(id(&here).0, id(&asking("s-2", 0)).0);
}

#[test]
fn who_tells_is_one_and_who_fails_comes_last() {
    let who = |fails: u8| (1..=5).map(|n| (node(n), n == fails)).collect::<Vec<_>>();
    let order = tellers("sink", who(0));
    let mut turned = who(0);
    turned.reverse();
    assert_eq!(tellers("sink", turned), order);
    for n in 1..=5 {
        let order = tellers("sink", who(n));
        assert_eq!(order[4], node(n));
    }
    let firsts: std::collections::HashSet<NodeId> =
        (0..50).map(|n| tellers(&format!("sink {n}"), who(0))[0]).collect();
    assert_eq!(firsts.len(), 5, "not always the same host");
}

#[test]
fn marks_are_read_as_they_were_written_and_count_for_what_began_near() {
    let key = |id: &str| Key { kind: NeedsYou, subject: id.to_owned() };
    let mut marks = Marks::default();
    for n in 0..200 {
        assert!(marks.add(Mark::of(&key(&n.to_string()), Some(at(n * 1_000)), "sink"), at(n)));
    }
    let mut telling = marks.telling(at(200));
    let text = telling.text(650);
    assert!(text.len() <= 650 && text.len() > 630, "{}", text.len());
    assert_eq!(mark::read(&text).len(), 54);
    let rest: String =
        std::iter::from_fn(|| Some(telling.text(300)).filter(|t| !t.is_empty())).collect();
    let read = mark::read(&format!("{text}{rest}"));
    assert_eq!(read.len(), 200, "several texts are one");
    let mut many = marks.clone();
    for n in 0..900 {
        many.add(Mark::of(&key("x"), Some(at(n * 1_000)), "s"), at(900));
    }
    assert_eq!(mark::read(&many.telling(at(900)).text(100_000)).len(), mark::TOLD);
    // Heard again it is no younger; and nobody tells for ever of what is long over.
    assert!(!marks.add(read[0], at(3_000_000)));
    assert_eq!(marks.telling(at(3_000_000)).text(650), "");
    for nothing in ["", "!", "AAAA", "é"] {
        assert!(mark::read(nothing).is_empty());
    }
    let found = |id: &str, since: i64, sink: &str| {
        marks.find(Mark::of(&key(id), Some(at(since)), sink), NeedsYou, 10_000).is_some()
    };
    assert!(found("7", 7_000, "sink") && found("7", 11_999, "sink") && found("7", 2_000, "sink"));
    assert!(
        !found("7", 13_000, "sink") && !found("7", 7_000, "other") && !found("x", 7_000, "sink")
    );
    // What is still so stays, however long; the rest goes.
    let stays = Mark::of(&key("7"), Some(at(7_000)), "sink");
    for hour in 1..50 {
        marks.age(at(hour * 1_800_000), |mark| mark == stays);
    }
    assert_eq!(marks.all().map(|(mark, _)| mark).collect::<Vec<_>>(), [stays]);
    for n in 0..2_000 {
        marks.add(Mark::of(&key("y"), Some(at(n * 1_000)), "sink"), at(n));
    }
    assert_eq!(marks.all().count(), mark::MOST);
}

#[test]
fn what_begins_anew_is_told_again_and_what_was_moved_is_not() {
    for (kind, lasts, same, other) in [
        (NeedsYou, 1_000, 0, 1_000),
        (NeedsYou, 3_500, 2_000, 3_500),
        (NeedsYou, 10_000, 5_000, 10_000),
        (Crashed, 3_000, 2_000, 3_000),
        (Deadlock, 0, 0, 1_000),
        (NoticeKind::HostAwayWithWork, 60_000, 59_000, 60_000),
        (NoticeKind::HostAwayWithWork, 5_000, 30_000, 31_000),
        (NoticeKind::MirrorFailing, 0, 60_000, 61_000),
    ] {
        let key = Key { kind, subject: "x".to_owned() };
        let mut marks = Marks::default();
        let told = 1_000_999;
        marks.add(Mark::of(&key, Some(at(told)), "sink"), at(told));
        let is_told =
            |since| marks.find(Mark::of(&key, Some(at(since)), "sink"), kind, lasts).is_some();
        assert!(is_told(told) && is_told(told + same - 999), "{kind:?} {lasts}");
        assert!(is_told(told - 4_000), "{kind:?}: another's word was earlier");
        assert!(!is_told(told + other), "{kind:?} {lasts}");
    }
}

fn due(id: &str, kind: NoticeKind) -> Due {
    let key = Key { kind, subject: id.to_owned() };
    let all = so(at(0), &[asking(id, 0)], &[], &[]);
    let notice = all.into_values().next().unwrap().notice;
    Due { key, since: Some(at(0)), notice: Notice { id: id.to_owned(), kind, ..notice } }
}

fn queue(per_hour: u32) -> Queue {
    let events = NoticeKind::ALL.to_vec();
    Queue::new("sink", Rules { events, through: vec![Deadlock], per_hour, ..Rules::default() })
}

fn steps(queue: &mut Queue, ms: i64, rank: usize, is_quiet: bool) -> Step {
    let now = Now { at: at(ms), rank: [rank; 6], others: [4; 6], is_quiet, is_ready: true };
    queue.step(now, &Marks::default())
}

fn ids(step: &Step) -> Vec<String> {
    let batch = step.batch.iter().flat_map(|batch| &batch.notices);
    batch.map(|one| format!("{}{}", one.id, if one.over { " over" } else { "" })).collect()
}

#[test]
fn several_at_one_moment_are_one_and_the_next_host_waits() {
    let mut queue = queue(60);
    queue.push(due("a", NeedsYou));
    assert_eq!(steps(&mut queue, 0, 0, false).wake, Some(at(COLLECT)));
    queue.push(due("b", NeedsYou));
    queue.push(due("b", NeedsYou));
    queue.push(due("c", Crashed));
    let step = steps(&mut queue, COLLECT, 0, false);
    assert_eq!(ids(&step), ["a", "b"]);
    // Another kind is another message, and waits for none.
    assert_eq!(ids(&steps(&mut queue, 2 * COLLECT, 0, false)), ["c"]);
    assert_eq!(queue.told(1, at(2 * COLLECT)).len(), 2);
    assert_eq!(queue.waiting(), (1, 0));
    assert!(queue.told(1, at(2 * COLLECT)).is_empty(), "once");

    let mut queue = self::queue(60);
    queue.push(due("a", NeedsYou));
    assert_eq!(steps(&mut queue, 0, 2, false).wake, Some(at(COLLECT + 2 * BACKUP)));
    assert!(steps(&mut queue, COLLECT + 2 * BACKUP - 1, 2, false).batch.is_none());
    assert_eq!(ids(&steps(&mut queue, COLLECT + 2 * BACKUP, 2, false)), ["a"]);
    // Told by another one meanwhile.
    let mut queue = self::queue(60);
    queue.push(due("a", NeedsYou));
    let mut marks = Marks::default();
    marks.add(Mark::of(&due("a", NeedsYou).key, Some(at(1_000)), "sink"), at(0));
    let now = Now { at: at(60_000), rank: [1; 6], others: [4; 6], is_quiet: false, is_ready: true };
    assert_eq!(queue.step(now, &marks), Step::default());
    assert_eq!(queue.waiting(), (0, 0));
    // And over before anybody did.
    queue.push(due("a", NeedsYou));
    queue.is_over(&due("a", NeedsYou).key);
    assert_eq!(steps(&mut queue, 0, 0, false), Step::default());
    // What the user does not want to be told.
    let mut queue = Queue::new(
        "sink",
        Rules { events: vec![Crashed], through: vec![], per_hour: 9, ..Rules::default() },
    );
    queue.push(due("a", NeedsYou));
    assert_eq!(queue.waiting(), (0, 0));
}

#[test]
fn in_quiet_hours_it_is_held_back_and_then_told_in_one() {
    let mut queue = queue(60);
    queue.push(due("a", NeedsYou));
    queue.push(due("b", Crashed));
    queue.push(due("c", Deadlock));
    assert_eq!(steps(&mut queue, 0, 0, true).wake, Some(at(COLLECT)));
    assert_eq!(ids(&steps(&mut queue, COLLECT, 0, true)), ["c"], "goes through");
    queue.told(1, at(COLLECT));
    assert_eq!(steps(&mut queue, COLLECT, 0, true), Step::default());
    queue.is_over(&due("a", NeedsYou).key);
    assert_eq!((queue.waiting(), queue.held().len()), ((2, 2), 2));
    // The daemon begins anew; one of them turns out to be so still.
    let held = queue.held();
    let mut queue = self::queue(60);
    held.into_iter().for_each(|held| queue.restore(held));
    queue.push(due("b", Crashed));
    let morning = 9 * 3_600_000;
    queue.push(due("d", NeedsYou));
    assert_eq!(steps(&mut queue, morning - 10_001, 0, true).wake, Some(at(morning - 1)));
    assert_eq!(steps(&mut queue, morning - 1, 0, true), Step::default());
    assert_eq!(steps(&mut queue, morning, 0, false).wake, Some(at(morning + COLLECT)));
    let step = steps(&mut queue, morning + COLLECT, 0, false);
    assert_eq!(ids(&step), ["a over", "b", "d"]);
    assert!(step.batch.unwrap().digest);
}

#[test]
fn what_is_so_still_after_a_restart_is_not_over_before_it_is_due_again() {
    let away = mac_away();
    let rows = [row("s-1", &json!({"host_state": "away"}))];
    let rules = Rules {
        events: NoticeKind::ALL.to_vec(),
        through: vec![],
        per_hour: 60,
        ..Rules::default()
    };
    let sink = |is_local| teller::Sink { id: "sink".to_owned(), is_local, rules: rules.clone() };
    let look = |teller: &mut teller::Teller, ms: i64, host: &HostSeen, is_quiet: bool| {
        let view = teller::View { now: at(ms), own: node(2), heard: &[], is_quiet, is_ready: true };
        teller.take(so(at(ms), &rows, std::slice::from_ref(host), &[]));
        let looked = teller.look(&view, |_| 300_000, |notice| notice);
        let told = looked.batches.into_iter().flat_map(|(_, batch)| batch.notices);
        (told.map(|one| (one.kind, one.over)).collect::<Vec<_>>(), looked.wake)
    };
    let mut teller = teller::Teller::new(vec![sink(false)]);
    look(&mut teller, 0, &away, true);
    look(&mut teller, 300_000, &away, true);
    let held = teller.held();
    assert_eq!(held.len(), 1);
    // It begins anew, at the end of quiet hours; what lasts is counted from then.
    let again = |is_local: bool| {
        let mut teller = teller::Teller::new(vec![sink(is_local)]);
        teller.restore(Vec::new(), held.clone());
        teller
    };
    let mut teller = again(false);
    let morning = 3_600_000;
    assert_eq!(look(&mut teller, morning, &away, false).0, []);
    let told = look(&mut teller, morning + COLLECT, &away, false).0;
    assert_eq!(told, [(NoticeKind::HostAwayWithWork, false)]);
    // It came back meanwhile: that is said, but not before it is known.
    let there = HostSeen { is_away: false, ..away.clone() };
    let mut teller = again(true);
    let (told, wake) = look(&mut teller, morning, &there, false);
    assert_eq!((told, wake), (vec![], Some(at(morning + 10_000))));
    assert_eq!(look(&mut teller, morning + 9_999, &there, false).0, []);
    look(&mut teller, morning + 10_000, &there, false);
    let told = look(&mut teller, morning + 10_000 + COLLECT, &there, false).0;
    assert_eq!(told, [(NoticeKind::HostAwayWithWork, true)]);
    // What was told hours ago is told no more, though it is not due again yet.
    let mut teller = teller::Teller::new(vec![sink(false)]);
    let key = Key { kind: NoticeKind::HostAwayWithWork, subject: away.node.clone() };
    teller.restore(vec![(Mark::of(&key, Some(at(0)), "sink"), false, at(0))], Vec::new());
    for ms in [0, 299_000, 300_000, 301_000] {
        assert_eq!(look(&mut teller, 4 * morning + ms, &away, false).0, []);
    }
}

#[test]
fn of_too_many_none_is_lost() {
    let mut queue = queue(2);
    for (n, id) in ["a", "b", "c", "d"].into_iter().enumerate() {
        let ms = n as i64 * 60_000;
        queue.push(due(id, NeedsYou));
        steps(&mut queue, ms, 0, false);
        let step = steps(&mut queue, ms + COLLECT, 0, false);
        assert_eq!(step.batch.is_some(), n < 2, "{id}");
        if n < 2 {
            queue.told(step.batch.unwrap().number, at(ms));
        } else {
            assert_eq!(step.wake, Some(at(3_600_000)), "when the first was an hour ago");
        }
    }
    queue.is_over(&due("c", NeedsYou).key);
    steps(&mut queue, 3_600_000, 0, false);
    let step = steps(&mut queue, 3_600_000 + COLLECT, 0, false);
    assert_eq!(ids(&step), ["c over", "d"]);
    queue.told(step.batch.unwrap().number, at(3_600_000 + COLLECT));
    // More than can be kept are counted.
    for n in 0..queue::MOST + 7 {
        queue.push(due(&format!("n-{n}"), Crashed));
    }
    steps(&mut queue, 90_000_000, 0, false);
    let batch = steps(&mut queue, 90_000_000 + COLLECT, 0, false).batch.unwrap();
    assert_eq!((batch.notices.len(), batch.left_out), (queue::MOST, 7));
}

#[test]
fn what_fails_is_tried_again_with_growing_pauses_and_given_up_in_the_end() {
    let mut queue = queue(60);
    queue.push(due("a", NeedsYou));
    let (mut ms, mut attempts, mut pauses) = (0, 0, Vec::new());
    while queue.waiting().0 > 0 && ms < 10 * 3_600_000 {
        let step = steps(&mut queue, ms, 0, false);
        if let Some(batch) = step.batch {
            attempts += 1;
            let now =
                Now { at: at(ms), rank: [0; 6], others: [0; 6], is_quiet: false, is_ready: true };
            queue.failed(batch.number, now, None);
            pauses.push(ms);
        }
        ms += 500;
    }
    assert_eq!((attempts, queue.lost()), (ATTEMPTS, 1));
    let pauses: Vec<i64> = pauses.windows(2).map(|two| (two[1] - two[0]) / 1_000).collect();
    assert_eq!(pauses, [5, 15, 45, 135, 405, 600, 600]);
    assert!(queue.fails());
    // The others have their time first; and whoever wants to be left alone is.
    let mut queue = self::queue(60);
    queue.push(due("a", NeedsYou));
    steps(&mut queue, 0, 0, false);
    steps(&mut queue, COLLECT, 0, false);
    let now =
        Now { at: at(COLLECT), rank: [0; 6], others: [4; 6], is_quiet: false, is_ready: true };
    queue.failed(1, now, None);
    let theirs = steps(&mut queue, COLLECT, 4, false).wake.unwrap();
    assert!(theirs >= at(COLLECT + 5 * BACKUP), "{theirs}");
    steps(&mut queue, 600_000, 0, false);
    queue.failed(2, Now { at: at(600_000), ..now }, Some(1_800_000));
    assert_eq!(steps(&mut queue, 600_000, 0, false).wake, Some(at(2_400_000)));
    // Another host told it; this one is believed again once it had its rest.
    queue.is_over(&due("a", NeedsYou).key);
    assert_eq!(steps(&mut queue, 700_000, 0, false).wake, Some(at(2_400_000)));
    assert!(queue.fails());
    assert_eq!(steps(&mut queue, 2_400_000, 0, false), Step::default());
    assert!(!queue.fails());
}

#[test]
fn what_fails_is_tried_again_as_it_was_and_what_came_meanwhile_comes_after_it() {
    let mut queue = queue(60);
    let alone = Now { at: at(0), rank: [0; 6], others: [0; 6], is_quiet: false, is_ready: true };
    queue.push(due("a", NeedsYou));
    steps(&mut queue, 0, 0, false);
    let first = steps(&mut queue, COLLECT, 0, false).batch.unwrap();
    queue.failed(first.number, Now { at: at(COLLECT), ..alone }, None);
    queue.push(due("b", NeedsYou));
    queue.push(due("a", NeedsYou));
    assert_eq!(steps(&mut queue, 2_000, 0, false).wake, Some(at(COLLECT + 5_000)));
    let second = steps(&mut queue, 6_000, 0, false);
    assert_eq!(ids(&second), ["a"]);
    assert_eq!(steps(&mut queue, 6_000, 0, false), Step::default(), "until it is told");
    // Quiet hours hold it back.
    queue.failed(second.batch.unwrap().number, Now { at: at(6_000), ..alone }, None);
    assert_eq!(steps(&mut queue, 30_000, 0, true), Step::default());
    assert_eq!((queue.waiting(), queue.held().len()), ((2, 2), 2));
    let third = steps(&mut queue, 60_000, 0, false);
    assert_eq!(ids(&third), ["a"]);
    queue.told(third.batch.unwrap().number, at(60_000));
    steps(&mut queue, 60_000, 0, false);
    assert_eq!(ids(&steps(&mut queue, 60_000 + COLLECT, 0, false)), ["b"]);
    // Two that are on their way at once and fail come again in their order; what another host told does not.
    let mut queue = self::queue(60);
    let mut numbers = Vec::new();
    for (id, kind) in [("a", NeedsYou), ("b", Crashed), ("c", Crashed)] {
        queue.push(due(id, kind));
    }
    steps(&mut queue, 0, 0, false);
    numbers.extend((0..2).filter_map(|_| steps(&mut queue, COLLECT, 0, false).batch));
    for batch in &numbers {
        queue.failed(batch.number, Now { at: at(COLLECT), ..alone }, None);
    }
    let mut marks = Marks::default();
    marks.add(Mark::of(&due("b", Crashed).key, Some(at(0)), "sink"), at(0));
    let again = queue.step(Now { at: at(90_000), ..alone }, &marks);
    assert_eq!(ids(&again), ["a"]);
    queue.told(again.batch.unwrap().number, at(90_000));
    assert_eq!(ids(&queue.step(Now { at: at(90_000), ..alone }, &marks)), ["c"]);
}

#[test]
fn each_kind_has_its_own_order_of_hosts() {
    // Of another host it is to tell that somebody finished, and of nobody that somebody asks.
    let rank = NoticeKind::ALL.map(|kind| usize::from(kind == NoticeKind::Finished));
    let mut now = Now { at: at(0), rank, others: rank, is_quiet: false, is_ready: true };
    let marks = Marks::default();
    let mut queue = queue(60);
    queue.push(due("a", NoticeKind::Finished));
    queue.push(due("b", NeedsYou));
    assert_eq!(queue.step(now, &marks).wake, Some(at(COLLECT)));
    now.at = at(COLLECT);
    assert_eq!(ids(&queue.step(now, &marks)), ["b"]);
    assert_eq!(queue.step(now, &marks).wake, Some(at(COLLECT + BACKUP)));
    // What was held back is told by whoever tells each.
    let mut queue = self::queue(60);
    queue.push(due("a", NoticeKind::Finished));
    queue.push(due("b", NeedsYou));
    queue.step(Now { is_quiet: true, ..now }, &marks);
    queue.step(now, &marks);
    let after = |ms: i64| Now { at: now.at.plus(ms), ..now };
    assert_eq!(ids(&queue.step(after(COLLECT), &marks)), ["b"]);
    assert_eq!(ids(&queue.step(after(COLLECT + BACKUP), &marks)), ["a"]);
    // Where nobody else tells such there is nobody to wait for.
    for (kind, pause) in [(NeedsYou, 5_000), (NoticeKind::Finished, 2 * BACKUP)] {
        let mut queue = self::queue(60);
        queue.push(due("a", kind));
        queue.step(now, &marks);
        let number = queue.step(after(COLLECT + BACKUP), &marks).batch.unwrap().number;
        queue.failed(number, now, None);
        assert!(queue.step(after(pause - 1), &marks).batch.is_none());
        let wake = queue.step(after(pause - 1), &marks).wake.unwrap();
        assert!(wake >= now.at.plus(pause) && wake <= now.at.plus(pause + COLLECT + BACKUP));
    }
}

#[test]
fn quiet_hours_go_over_midnight() {
    let quiet: Quiet = "22:00-07:00".parse().unwrap();
    for (minute, is, left) in
        [(0, true, 420), (419, true, 1), (420, false, 0), (1_319, false, 541), (1_320, true, 540)]
    {
        assert_eq!((quiet.is(minute), quiet.left(minute)), (is, left), "{minute}");
    }
    let noon: Quiet = "12:00-13:30".parse().unwrap();
    assert!(noon.is(720) && noon.is(809) && !noon.is(810) && !noon.is(0));
    assert_eq!(noon.to_string(), "12:00-13:30");
    for wrong in ["", "22-7", "22:00", "24:00-07:00", "22:60-07:00", "22:00-22:00", "+2:00-07:00"] {
        assert!(wrong.parse::<Quiet>().is_err(), "{wrong}");
    }
}

#[test]
fn words_are_bounded_and_plain_and_none_leave_where_none_may() {
    let wish = Wish {
        details: true,
        told_by: "mac".to_owned(),
        page: Some("http://mac:7732/".to_owned()),
    };
    let batch =
        |notices: Vec<Notice>| queue::Batch { number: 1, notices, digest: false, left_out: 0 };
    let mut evil = due("s-1", NeedsYou).notice;
    evil.title = Some("a\u{1b}[2J\r\nb\u{202e}c ".repeat(900));
    evil.host = Some("mac/..\u{7}".to_owned());
    let told = notification(batch(vec![evil.clone()]), &wish);
    let json = serde_json::to_string(&told).unwrap();
    assert!(
        !told
            .title
            .chars()
            .chain(told.text.chars())
            .any(|c| c != '\n' && rrd_proto::json::is_unsafe(c)),
        "{told:?}"
    );
    assert!(json.len() < 2_000 && told.text.lines().count() == 2, "{json}");
    assert_eq!(told.page.as_deref(), Some("http://mac:7732/s/mac%2F../claude-code/s-1"));
    let many = notification(batch(vec![evil; 200]), &wish);
    assert_eq!(
        (&*many.title, many.notices.len(), many.left_out),
        ("200 sessions need you", 50, 150)
    );
    assert!(many.text.len() < 4_096 && many.text.ends_with("and 190 more"), "{}", many.text);
    assert!(many.title.len() < 200);

    let wish = Wish { details: false, ..wish };
    let told = notification(batch(vec![due("s-1", NeedsYou).notice]), &wish);
    assert_eq!((&*told.title, &*told.text, &*told.told_by), ("Needs permission", "", ""));
    assert_eq!(told.page.as_deref(), Some("http://mac:7732/"));
    let json = serde_json::to_string(&told).unwrap();
    for text in ["Ship it", "npm", "\"mac\"", "web", "claude-code"] {
        assert!(!json.contains(text), "{text}: {json}");
    }
    // By its ref it can be looked up.
    assert!(told.notices[0].reference.is_some() && told.notices[0].session_id.is_none());
    let digest = queue::Batch {
        number: 1,
        notices: vec![due("a", NeedsYou).notice, due("b", Crashed).notice],
        digest: true,
        left_out: 3,
    };
    let told = notification(digest, &Wish { details: true, ..wish });
    assert_eq!(told.title, "Held back: 1 session needs you, 1 session crashed");
    assert!(told.text.ends_with("and 3 more") && told.priority == 3, "{told:?}");
    assert_eq!(due("s-1", NeedsYou).notice.waiting_for, Some(WaitingFor::Permission));
}
