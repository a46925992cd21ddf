//! Rows, order, filters and look-ups over sessions made by hand.

use std::borrow::Cow;

use rrd_proto::{EndReason, Harness, ListQuery, ListReply, Lookup, StatusSource};

use super::*;
use crate::{
    fact::{Fact, Origin, Parsed, TitleRank},
    harness::cleanup::deleted_at,
    live::RegistryState,
};

pub(in crate::roster) const NOW: Timestamp = Timestamp::from_millis(1_795_170_000_000);

pub(in crate::roster) fn roster() -> Roster {
    Roster::new(Place { host: "mac".into(), node_id: None, idle_timeout: Duration::from_secs(300) })
}

pub(in crate::roster) fn key(id: &str) -> SessionKey {
    SessionKey { harness: Harness::ClaudeCode, session_id: id.into() }
}

/// A session whose last record is `age` seconds old.
pub(in crate::roster) fn entry(age: i64, facts: Vec<Fact<'static>>) -> Entry {
    let mut fold = Fold::default();
    let parsed = Parsed { at: Some(NOW.plus(-age * 1000)), facts, ..Parsed::default() };
    fold.apply(parsed, 0, &mut Vec::new());
    Entry {
        fold: Arc::new(fold),
        path: "t.jsonl".into(),
        root: 0,
        repo: Arc::default(),
        index_title: None,
        complete: true,
        archived: false,
        changed: None,
    }
}

pub(in crate::roster) fn prompt() -> Fact<'static> {
    Fact::Prompt { text: "do it".into() }
}

fn question() -> Fact<'static> {
    let (id, name) = (Cow::Borrowed("q"), Cow::Borrowed("AskUserQuestion"));
    Fact::ToolCall { id, name, summary: "which one?".into(), input: "".into(), asks: true }
}

pub(in crate::roster) fn child_of(parent: &'static str) -> Fact<'static> {
    Fact::Parent { id: Cow::Borrowed(parent), kind: ParentKind::Subagent }
}

fn ids(reply: &ListReply) -> Vec<&str> {
    reply.sessions.iter().map(|s| s.session_id.as_str()).collect()
}

fn list(roster: &Roster, query: ListQuery) -> ListReply {
    roster.list(&query, NOW, None, Vec::new())
}

#[test]
fn a_place_of_which_nothing_was_said_is_unknown_and_one_given_up_is_none() {
    use rrd_proto::{Coverage, CoverageState, Deletion};
    let mut roster = roster();
    roster.set(key("a"), entry(5, vec![prompt()]));
    roster.set(key("unwritten"), Entry { path: "".into(), ..entry(5, vec![prompt()]) });
    let states = |roster: &Roster, id: &str| {
        let row = roster.row_of(&key(id), NOW).unwrap();
        row.coverage.into_iter().map(|place| (place.url, place.state)).collect::<Vec<_>>()
    };
    let of = |url: &str, state| Coverage {
        url: url.into(),
        state,
        bytes_behind: None,
        since: None,
        only_here: 0,
    };
    // Told by a place that nobody named (it was given up just now): not shown.
    roster.set_coverage(vec![(key("a"), of("file:///a", CoverageState::Mirrored))]);
    assert_eq!(states(&roster, "a"), []);
    roster.set_mirrors(vec!["file:///a".into(), "file:///b".into()]);
    roster.set_coverage(vec![(key("a"), of("file:///b", CoverageState::Stopped))]);
    let (a, b) = ("file:///a".to_owned(), "file:///b".to_owned());
    let stopped = (b, CoverageState::Stopped);
    assert_eq!(states(&roster, "a"), [(a, CoverageState::Unknown), stopped.clone()]);
    assert_eq!(states(&roster, "unwritten"), []);
    // What is no news is no change.
    let version = roster.version();
    roster.set_coverage(vec![(key("a"), of("file:///b", CoverageState::Stopped))]);
    roster.set_periods(HashMap::new());
    assert_eq!(roster.version(), version);
    // Deleted is what was changed too long ago, where the harness does that and it can be told when.
    let deletion = |roster: &Roster| roster.row_of(&key("a"), NOW).unwrap().deletion;
    roster.set_periods(HashMap::from([(0, Some(3_600_000)), (1, None)]));
    assert!(roster.version() > version);
    assert_eq!(deletion(&roster), None);
    let changed = |root| Entry { root, changed: Some(NOW), ..entry(5, vec![prompt()]) };
    roster.set(key("a"), changed(0));
    let at = deleted_at(NOW, 3_600_000);
    assert_eq!(deletion(&roster), Some(Deletion { at: Some(at) }));
    roster.set(key("a"), changed(1));
    assert_eq!(deletion(&roster), Some(Deletion { at: None }));
    roster.set(key("a"), changed(2));
    assert_eq!(deletion(&roster), None);
    roster.set_mirrors(vec!["file:///b".into()]);
    assert_eq!(states(&roster, "a"), [stopped]);
}

#[test]
fn what_needs_someone_comes_first_and_children_follow_their_parent() {
    let mut roster = roster();
    let over = || vec![prompt(), Fact::TurnEnd(rrd_proto::TurnResult::Completed)];
    roster.set(key("idle-old"), entry(3_600, over()));
    roster.set(key("idle"), entry(60, over()));
    roster.set(key("run"), entry(5, vec![prompt()]));
    roster.set(key("child"), entry(1, vec![child_of("run"), prompt()]));
    roster.set(key("child-done"), entry(1, [vec![child_of("run")], over()].concat()));
    roster.set(key("ask-new"), entry(10, vec![prompt(), question()]));
    roster.set(key("ask-old"), entry(900, vec![prompt(), question()]));
    roster.set(key("gone"), entry(90_000, vec![prompt()]));

    let active = list(&roster, ListQuery::default());
    assert_eq!(ids(&active), ["ask-old", "ask-new", "run", "child", "idle"]);
    assert_eq!((active.totals.sessions, active.totals.active, active.totals.waiting), (6, 4, 2));
    let all = list(&roster, ListQuery { all: true, ..ListQuery::default() });
    assert_eq!(all.sessions.len(), 8);
    let ended = list(&roster, ListQuery { status: Some(Status::Ended), ..ListQuery::default() });
    assert_eq!(ids(&ended), ["child-done", "gone"]);
    let recent = ListQuery { all: true, since: Some(NOW.plus(-30_000)), ..ListQuery::default() };
    assert_eq!(ids(&list(&roster, recent)), ["ask-new", "run", "child", "child-done"]);
}

#[test]
fn an_empty_list_names_what_ended_last() {
    let mut roster = roster();
    roster.set(key("older"), entry(200_000, vec![prompt()]));
    roster.set(key("newer"), entry(100_000, vec![prompt()]));
    let reply = list(&roster, ListQuery::default());
    assert_eq!(reply.last_ended.map(|s| s.session_id).as_deref(), Some("newer"));
}

#[test]
fn no_trace_means_no_process_once_the_look_is_fresh_enough() {
    let mut roster = roster();
    roster.set(key("s"), entry(10, vec![prompt(), Fact::LeavesTrace]));
    let status = |roster: &Roster| {
        let all = list(roster, ListQuery { all: true, ..ListQuery::default() });
        (all.sessions[0].status, all.sessions[0].end_reason)
    };
    assert_eq!(status(&roster), (Status::Executing, None), "nothing has looked yet");
    let look =
        |ago: i64, traces| RootLive { traces, checked_at: NOW.plus(-ago), ..RootLive::default() };
    roster.set_live(0, look(10_001, true));
    assert_eq!(status(&roster), (Status::Executing, None), "it may have begun after the look");
    roster.set_live(0, look(0, false));
    assert_eq!(status(&roster), (Status::Executing, None), "nobody leaves traces here");
    roster.set_live(0, look(0, true));
    assert_eq!(status(&roster), (Status::Ended, Some(EndReason::Crashed)));
}

#[test]
fn a_delegate_of_nobody_known_is_listed_while_it_executes() {
    let mut roster = roster();
    let over = vec![Fact::Delegate, prompt(), Fact::TurnEnd(rrd_proto::TurnResult::Completed)];
    roster.set(key("open"), entry(5, vec![Fact::Delegate, prompt()]));
    roster.set(key("over"), entry(5, over));
    let held = Evidence { liveness: Liveness::Alive, pid: Some(7), ..Evidence::default() };
    let found = [(key("over"), held)].into();
    roster.set_live(0, RootLive { checked_at: NOW, found, ..RootLive::default() });
    let listed = list(&roster, ListQuery::default());
    // Whoever delegated is not known, so each stands for itself in the totals.
    let totals = (listed.totals.sessions, listed.totals.active);
    assert_eq!((ids(&listed), totals), (vec!["open"], (2, 1)));
    let row = &listed.sessions[0];
    let of_whom = (row.parent_kind, row.parent_session_id.as_deref());
    assert_eq!(of_whom, (Some(ParentKind::Subagent), None));
    let all = list(&roster, ListQuery { all: true, ..ListQuery::default() });
    let over = all.sessions.iter().find(|row| row.session_id == "over").unwrap();
    // Its process is its delegator's.
    assert_eq!((over.status, over.live, over.pid), (Status::Ended, Some(false), None));
}

#[test]
fn the_sessions_of_a_process_are_those_that_the_list_has_of_it() {
    let mut roster = roster();
    let over = vec![Fact::Delegate, prompt(), Fact::TurnEnd(rrd_proto::TurnResult::Completed)];
    roster.set(key("other"), entry(5, vec![prompt()]));
    roster.set(key("one"), entry(5, vec![prompt()]));
    roster.set(key("delegate"), entry(5, vec![Fact::Delegate, prompt()]));
    roster.set(key("over"), entry(5, over));
    roster.set(key("silent"), entry(5, vec![prompt()]));
    let of = |pid| Evidence { liveness: Liveness::Alive, pid: Some(pid), ..Evidence::default() };
    let dead = Evidence { liveness: Liveness::Dead, ..of(7) };
    let found =
        [("other", of(8)), ("one", of(7)), ("delegate", of(7)), ("over", of(7)), ("silent", dead)];
    let found = found.into_iter().map(|(id, found)| (key(id), found)).collect();
    roster.set_live(0, RootLive { checked_at: NOW, found, ..RootLive::default() });
    let rows = |pids: &[u32]| {
        let mut rows = roster.running(pids, NOW);
        rows.sort_by_key(Session::key);
        rows
    };
    let names = |pids| rows(pids).into_iter().map(|row| row.session_id).collect::<Vec<_>>();
    assert_eq!(names(&[7, 1]), ["delegate", "one"]);
    assert_eq!(names(&[8]), ["other"]);
    assert!(names(&[]).is_empty() && names(&[1, 2]).is_empty());
    let listed = list(&roster, ListQuery { open: true, ..ListQuery::default() }).sessions;
    let mut listed: Vec<_> = listed.into_iter().filter(|row| row.pid == Some(7)).collect();
    listed.sort_by_key(Session::key);
    assert_eq!(rows(&[7]), listed);
}

#[test]
fn only_what_has_the_same_name_is_a_copy() {
    let mut roster = roster();
    let base = "/h/sessions/rollout-1-s.jsonl";
    roster.set(key("s"), Entry { path: base.into(), ..entry(5, vec![prompt()]) });
    let mut copies = |places: &[&str]| {
        roster.set_places(&key("s"), places.iter().map(|&place| place.to_owned()).collect());
        let Lookup::Found(row) = roster.lookup("s", NOW) else { panic!("it is there") };
        row.issues.into_iter().map(|issue| (issue.kind, issue.count)).collect::<Vec<_>>()
    };
    assert_eq!(copies(&[base, "/h/sessions/rollout-2-s_w2.jsonl"]), []);
    assert_eq!(copies(&[base]), []);
    let copied = [(Issue::COPIED.to_owned(), 1)];
    assert_eq!(copies(&[base, "/backup/rollout-1-s.jsonl"]), copied);
    assert_eq!(copies(&[base, "/h/rollout-2-s_w2.jsonl", "C:\\b\\rollout-1-s.jsonl"]), copied);
}

#[test]
fn what_was_put_away_is_not_active() {
    let mut roster = roster();
    let failed = || vec![prompt(), Fact::TurnEnd(rrd_proto::TurnResult::Error)];
    for (id, facts) in [("open", vec![prompt()]), ("failed", failed())] {
        roster.set(key(id), Entry { archived: true, ..entry(5, facts) });
    }
    let listed = list(&roster, ListQuery::default());
    assert_eq!((ids(&listed).len(), listed.totals.active, listed.totals.sessions), (0, 0, 2));
    let held = Evidence { liveness: Liveness::Alive, ..Evidence::default() };
    let found = [(key("open"), held)].into();
    roster.set_live(0, RootLive { checked_at: NOW, found, ..RootLive::default() });
    assert_eq!(ids(&list(&roster, ListQuery::default())), ["open"]);
}

#[test]
fn a_lock_of_a_run_tells_of_that_run_alone() {
    let mut roster = roster();
    let over = vec![prompt(), Fact::TurnEnd(rrd_proto::TurnResult::Completed)];
    roster.set(key("open"), entry(60, vec![prompt()]));
    roster.set(key("over"), entry(60, over));
    let mut status = |liveness| {
        let evidence = Evidence { liveness, by: LivenessBy::RunLock, ..Evidence::default() };
        let found = ["open", "over"].map(|id| (key(id), evidence.clone())).into();
        let (traces, by) = (true, LivenessBy::RunLock);
        let look = RootLive { traces, by, checked_at: NOW, found, ..RootLive::default() };
        roster.set_live(0, look);
        ["open", "over"].map(|id| match roster.lookup(id, NOW) {
            Lookup::Found(row) => (row.status, row.status_source, row.live, row.end_reason),
            other => panic!("{other:?}"),
        })
    };
    use rrd_proto::StatusSource::{Lock, OpenRecord, StopReason};
    let (executing, idle) = (Status::Executing, Status::Idle);
    assert_eq!(
        status(Liveness::Alive),
        [(executing, Lock, Some(true), None), (idle, Lock, Some(true), None)]
    );
    assert_eq!(
        status(Liveness::Dead),
        [
            (Status::Ended, Lock, Some(false), Some(EndReason::Crashed)),
            // Whoever held it died after the answer: the next prompt finds another.
            (idle, StopReason, None, None),
        ]
    );
    assert_eq!(
        status(Liveness::Unknown),
        [(executing, OpenRecord, None, None), (idle, StopReason, None, None)]
    );
    // Given back while the model answers.
    let (traces, by) = (true, LivenessBy::RunLock);
    roster.set_live(0, RootLive { traces, by, checked_at: NOW, ..RootLive::default() });
    let Lookup::Found(row) = roster.lookup("open", NOW) else { panic!("it is there") };
    assert_eq!((row.status, row.live), (executing, None));
}

#[test]
fn a_trace_that_has_gone_means_the_end_at_once() {
    let mut roster = roster();
    roster.set(key("s"), entry(1, vec![prompt(), Fact::LeavesTrace]));
    let status = |roster: &Roster| {
        let all = list(roster, ListQuery { all: true, ..ListQuery::default() });
        all.sessions[0].status
    };
    let mut look = RootLive { traces: true, checked_at: NOW, ..RootLive::default() };
    let cwd = roster.get(&key("s")).unwrap().fold.cwd.clone();
    let other = Evidence { liveness: Liveness::Alive, cwd, ..Evidence::default() };
    look.found.insert(key("cleared"), other);
    roster.set_live(0, look.clone());
    assert_eq!(status(&roster), Status::Executing, "its process may be about to name it");
    let elsewhere =
        Evidence { cwd: Some("/elsewhere".into()), ..look.found[&key("cleared")].clone() };
    let mut apart = look.clone();
    apart.found.insert(key("cleared"), elsewhere);
    roster.set_live(0, apart);
    assert_eq!(status(&roster), Status::Ended, "one at work elsewhere will not");
    roster.set_live(0, look.clone());
    look.left.insert(key("s"), NOW.plus(-1_500));
    roster.set_live(0, look.clone());
    assert_eq!(status(&roster), Status::Executing, "somebody has written since");
    look.left.insert(key("s"), NOW.plus(-500));
    roster.set_live(0, look.clone());
    assert_eq!(status(&roster), Status::Ended);
    look.left.clear();
    look.found.clear();
    roster.set_live(0, look);
    assert_eq!(status(&roster), Status::Ended, "nobody is there who could have written it");
}

#[test]
fn a_record_from_the_future_keeps_no_dead_session_alive() {
    let mut roster = roster();
    let traced = || vec![prompt(), Fact::LeavesTrace];
    roster.set(key("ahead"), entry(-30, traced()));
    roster.set(key("far-ahead"), entry(-86_400, traced()));
    roster.set_live(0, RootLive { traces: true, checked_at: NOW, ..RootLive::default() });
    let active = list(&roster, ListQuery::default());
    assert_eq!(ids(&active), ["ahead"], "it may have begun just now, by a clock a little ahead");
    let all = list(&roster, ListQuery { all: true, ..ListQuery::default() });
    assert_eq!(all.sessions[1].end_reason, Some(EndReason::Crashed));
}

#[test]
fn a_delegate_of_nobody_known_counts_by_itself() {
    let mut roster = roster();
    roster.set(key("child"), entry(1, vec![child_of("unknown"), prompt()]));
    let reply = list(&roster, ListQuery::default());
    assert_eq!((ids(&reply), reply.totals.active), (vec!["child"], 1));
}

#[test]
fn what_was_deleted_has_ended_unless_its_process_lives() {
    let mut roster = roster();
    roster.set(key("run"), entry(5, vec![prompt()]));
    let row = |roster: &Roster| {
        let all = ListQuery { all: true, ..ListQuery::default() };
        list(roster, all).sessions.remove(0)
    };
    let kinds = |row: &Session| row.issues.iter().map(|i| i.kind.clone()).collect::<Vec<_>>();
    roster.set_absent(&key("run"), Some(Absence::OutOfSight));
    let one = row(&roster);
    assert_eq!((one.status, one.active), (Status::Executing, true));
    assert_eq!(kinds(&one), [Issue::OUT_OF_SIGHT]);
    roster.set_absent(&key("run"), Some(Absence::Gone));
    let one = row(&roster);
    assert_eq!((one.end_reason, one.active), (Some(EndReason::Unknown), false));
    assert_eq!(kinds(&one), [Issue::SOURCE_GONE]);
    // While its root is not there, nothing is known to be deleted.
    roster.set_seen(0, false);
    assert_eq!(kinds(&row(&roster)), [Issue::OUT_OF_SIGHT]);
    roster.set_seen(0, true);
    let found = Evidence { liveness: Liveness::Alive, pid: Some(7), ..Evidence::default() };
    roster.set_live(0, RootLive { found: [(key("run"), found)].into(), ..RootLive::default() });
    let one = row(&roster);
    assert_eq!((one.status, one.active), (Status::Executing, true));
    roster.set_live(0, RootLive::default());
    // Whatever tells of it is there.
    roster.set(key("run"), entry(5, vec![prompt()]));
    assert_eq!(kinds(&row(&roster)), [""; 0]);
}

#[test]
fn a_subagent_lives_and_dies_with_its_parent() {
    let mut roster = roster();
    roster.set(key("p"), entry(400, vec![prompt(), Fact::LeavesTrace]));
    roster.set(key("c"), entry(400, vec![child_of("p"), prompt(), Fact::LeavesTrace]));
    let mut look = RootLive { traces: true, checked_at: NOW, ..RootLive::default() };
    let status = |roster: &Roster, look: &RootLive| {
        let mut now = Roster::new(roster.place.clone());
        for (key, entry) in &roster.entries {
            now.set(key.clone(), entry.clone());
        }
        now.set_live(0, look.clone());
        let Lookup::Found(row) = now.lookup("c", NOW) else { panic!("lost") };
        (row.status, row.end_reason)
    };
    assert_eq!(status(&roster, &look), (Status::Ended, Some(EndReason::Crashed)));
    let busy = Evidence {
        liveness: Liveness::Alive,
        registry: Some(RegistryState::Busy),
        ..Evidence::default()
    };
    look.found.insert(key("p"), busy.clone());
    assert_eq!(status(&roster, &look), (Status::Executing, None));
    look.found.insert(key("p"), Evidence { registry: Some(RegistryState::Idle), ..busy });
    assert_eq!(status(&roster, &look), (Status::Ended, Some(EndReason::Exit)));
}

#[test]
fn lookup_takes_what_people_type() {
    let mut roster = roster();
    roster.set(key("b41f-1"), entry(1, vec![prompt()]));
    roster.set(key("b4e0-2"), entry(1, vec![prompt()]));
    let found = |id: &str| match roster.lookup(id, NOW) {
        Lookup::Found(row) => row.session_id,
        Lookup::Ambiguous(rows) => format!("{} candidates", rows.len()),
        Lookup::NotFound => "none".into(),
    };
    let reference = session_ref("", &key("b41f-1"));
    for (typed, want) in [
        ("b41f", "b41f-1"),
        ("b4", "2 candidates"),
        (reference.as_str(), "b41f-1"),
        ("mac/claude-code/b4e0-2", "b4e0-2"),
        ("claude-code/b4e0-2", "b4e0-2"),
        ("", "none"),
        ("../b41f", "none"),
    ] {
        assert_eq!(found(typed), want, "{typed}");
    }
}

#[test]
fn a_row_not_read_to_its_end_claims_no_counts() {
    let mut roster = roster();
    roster.set(key("s"), Entry { complete: false, ..entry(1, vec![prompt()]) });
    let row = list(&roster, ListQuery::default()).sessions.remove(0);
    assert_eq!((row.complete, row.counts, row.tokens), (false, None, None));
    assert_eq!(row.title.as_deref(), Some("do it"));
}

#[test]
fn a_permission_that_only_a_delegate_can_want_is_described_by_it() {
    let call = |name: &'static str, summary: &str| Fact::ToolCall {
        id: "t".into(),
        name: name.into(),
        summary: summary.to_owned(),
        input: "".into(),
        asks: false,
    };
    let delegate = |command| entry(1, vec![child_of("p"), prompt(), call("Bash", command)]);
    let mut roster = roster();
    roster.set(key("p"), entry(2, vec![prompt(), call("Agent", "Audit")]));
    roster.set(key("c"), entry(1, vec![child_of("p"), prompt(), call("Agent", "Deeper")]));
    let waits = Evidence {
        liveness: Liveness::Alive,
        registry: Some(RegistryState::WaitingPermission),
        ..Evidence::default()
    };
    let found = [(key("p"), waits)].into_iter().collect();
    roster.set_live(0, RootLive { traces: true, checked_at: NOW, found, ..RootLive::default() });
    let detail = |roster: &Roster| {
        let Lookup::Found(row) = roster.lookup("p", NOW) else { panic!("lost") };
        row.waiting_detail.unwrap()
    };
    assert_eq!(detail(&roster), "Agent: Audit");
    roster.set(key("d"), delegate("rm -rf build"));
    assert_eq!(detail(&roster), "Bash: rm -rf build");
    roster.set(key("e"), delegate("make"));
    assert_eq!(detail(&roster), "Agent: Audit", "one of the two");
    roster.set(key("p"), entry(2, vec![prompt(), call("Bash", "ls")]));
    assert_eq!(detail(&roster), "Bash: ls", "its own");
}

#[test]
fn a_conversation_that_was_summed_up_keeps_its_title() {
    let mut roster = roster();
    let said = |text: &'static str| Fact::Prompt { text: text.into() };
    let named = |text: &'static str| Fact::Title { rank: TitleRank::Given, text: text.into() };
    let after = |id: &'static str| Fact::Parent { id: id.into(), kind: ParentKind::Compression };
    let title = |roster: &Roster, id: &str| match roster.lookup(id, NOW) {
        Lookup::Found(row) => row.title,
        _ => None,
    };
    roster.set(key("a"), entry(90, vec![said("Build a boat")]));
    roster.set(key("b"), entry(60, vec![after("a"), said("go on")]));
    roster.set(key("c"), entry(30, vec![after("b"), said("and on")]));
    assert_eq!(title(&roster, "c").as_deref(), Some("Build a boat"));
    roster.set(key("b"), entry(60, vec![after("a"), said("go on"), named("Boat")]));
    assert_eq!(title(&roster, "c").as_deref(), Some("Boat"), "the nearest one that was given");
    roster.set(key("c"), entry(30, vec![after("b"), said("and on"), named("Ship")]));
    assert_eq!(title(&roster, "c").as_deref(), Some("Ship"));
    // Where the part before is not known, or a circle.
    roster.set(key("c"), entry(30, vec![after("gone"), said("and on")]));
    assert_eq!(title(&roster, "c").as_deref(), Some("and on"));
    roster.set(key("c"), entry(30, vec![after("c"), said("and on")]));
    assert_eq!(title(&roster, "c").as_deref(), Some("and on"));
}

#[test]
fn what_a_person_put_away_has_ended_unless_somebody_is_at_work_in_it() {
    let mut roster = roster();
    let over = || Fact::TurnEnd(rrd_proto::TurnResult::Completed);
    roster.set(key("over"), entry(5, vec![prompt(), over(), Fact::PutAway(true)]));
    roster.set(key("open"), entry(5, vec![prompt(), Fact::PutAway(true)]));
    roster.set(key("left"), entry(900, vec![prompt(), Fact::PutAway(true)]));
    roster.set(key("back"), entry(5, vec![over(), Fact::PutAway(true), Fact::PutAway(false)]));
    let mut rows: Vec<_> = list(&roster, ListQuery { all: true, ..ListQuery::default() })
        .sessions
        .into_iter()
        .map(|row| (row.session_id, row.status, row.active))
        .collect();
    rows.sort();
    let row = |id: &str, status, active| (id.to_owned(), status, active);
    assert_eq!(
        rows,
        [
            row("back", Status::Idle, true),
            row("left", Status::Ended, false),
            row("open", Status::Executing, true),
            row("over", Status::Ended, false),
        ]
    );
}

/// A session whose records are so many seconds old; the copied ones come first.
fn history(copied: &[i64], own: &[i64]) -> Entry {
    let mut fold = Fold::default();
    let origins = copied.iter().map(|age| (age, Origin::Copied));
    for (at, (age, origin)) in origins.chain(own.iter().map(|age| (age, Origin::Chain))).enumerate()
    {
        let key = Some(7 + at as u64);
        let at = Some(NOW.plus(-age * 1000));
        let facts = vec![prompt()];
        fold.apply(Parsed { at, key, origin, facts, ..Parsed::default() }, 0, &mut Vec::new());
    }
    Entry { fold: Arc::new(fold), ..entry(0, Vec::new()) }
}

#[test]
fn a_fork_that_names_no_parent_is_of_who_wrote_what_it_copied() {
    let mut roster = roster();
    roster.set(key("first"), history(&[], &[100, 90]));
    roster.set(key("second"), history(&[100, 90], &[80, 70]));
    roster.set(key("third"), history(&[100, 90, 80, 70], &[60]));
    roster.set(key("other"), history(&[100], &[50]));
    let parents = |roster: &Roster| {
        let all = list(roster, ListQuery { all: true, ..ListQuery::default() }).sessions;
        let of = |s: Session| (s.session_id, s.parent_kind, s.parent_session_id);
        let mut parents: Vec<_> = all.into_iter().map(of).collect();
        parents.sort();
        parents
    };
    let row =
        |id: &str, kind, parent: Option<&str>| (id.to_owned(), kind, parent.map(str::to_owned));
    let fork = Some(ParentKind::Fork);
    assert_eq!(
        parents(&roster),
        [
            row("first", None, None),
            row("other", fork, Some("first")),
            row("second", fork, Some("first")),
            row("third", fork, Some("second")),
        ]
    );
    let of_third = |roster: &Roster| {
        let (keys, is_all) = roster.ancestry(vec![key("third")], |_| false);
        (keys.into_iter().map(|key| key.session_id).collect::<Vec<_>>(), is_all)
    };
    let some = |ids: &[&str], is_all| (ids.iter().map(ToString::to_string).collect(), is_all);
    assert_eq!(of_third(&roster), some(&["third", "second", "first"], true));
    let known = |of: &SessionKey| *of == key("third");
    assert_eq!(roster.ancestry(vec![key("third")], known), (vec![key("third")], true));
    // Both wrote then: nobody can tell. And a parent that is not there is not named.
    roster.set(key("first"), history(&[], &[100, 90, 75, 65]));
    assert_eq!(parents(&roster)[3], row("third", fork, None));
    assert_eq!(of_third(&roster), some(&["third", "first", "second"], true), "one of them");
    let mut alone = self::roster();
    alone.set(key("third"), history(&[100, 90, 80, 70], &[60]));
    assert_eq!(parents(&alone), [row("third", fork, None)]);
    assert_eq!(of_third(&alone), some(&["third"], false));
    let found = roster.lookup("second", NOW);
    assert!(
        matches!(found, Lookup::Found(row) if row.parent_session_id.as_deref() == Some("first"))
    );
}

#[test]
fn subagents_and_theirs_are_told_the_oldest_first() {
    let mut roster = roster();
    let over = || vec![prompt(), Fact::TurnEnd(rrd_proto::TurnResult::Completed)];
    let failed = Fact::Error { text: "overloaded".into(), rate_limited: false };
    roster.set(key("main"), entry(5, vec![prompt()]));
    roster.set(key("runs"), entry(1, vec![child_of("main"), prompt()]));
    roster.set(key("done"), entry(400, [vec![child_of("main")], over()].concat()));
    roster.set(key("below"), entry(300, [vec![child_of("done"), failed], over()].concat()));
    roster.set(key("of-another"), entry(2, vec![child_of("other"), prompt()]));
    // Those that name each other, or themselves, end.
    roster.set(key("a"), entry(2, vec![child_of("b"), prompt()]));
    roster.set(key("b"), entry(2, vec![child_of("a"), prompt()]));
    let (told, more) = roster.subagents(&key("main"), NOW);
    let told: Vec<_> = told
        .iter()
        .map(|of| (of.session_id.as_str(), of.parent_session_id.as_str(), of.failed))
        .collect();
    assert_eq!(told, [("done", "main", false), ("below", "done", true), ("runs", "main", false)]);
    assert_eq!(more, 0);
    let (told, _) = roster.subagents(&key("main"), NOW);
    assert_eq!((told[0].from, told[0].to), (Some(NOW.plus(-400_000)), Some(NOW.plus(-400_000))));
    assert_eq!((told[2].status, told[2].to), (Status::Executing, None));
    assert_eq!(told[0].title.as_deref(), Some("do it"));
    let (told, _) = roster.subagents(&key("a"), NOW);
    assert_eq!(told.len(), 1, "{told:?}");
}

#[test]
fn of_very_many_subagents_the_newest_are_told() {
    let mut roster = roster();
    roster.set(key("main"), entry(5, vec![prompt()]));
    // A chain, each the child of the one before: deeper than anybody lets them go.
    roster.set(key("0"), entry(9_000, vec![child_of("main"), prompt()]));
    for at in 1..1_500_i64 {
        let parent = Fact::Parent { id: (at - 1).to_string().into(), kind: ParentKind::Subagent };
        roster.set(key(&at.to_string()), entry(9_000 - at, vec![parent, prompt()]));
    }
    let (told, more) = roster.subagents(&key("main"), NOW);
    assert_eq!((told.len(), more), (rrd_proto::MAX_SUBAGENTS, 500));
    assert_eq!((told[0].session_id.as_str(), told[999].session_id.as_str()), ("500", "1499"));
}

#[test]
fn whoever_said_that_it_waits_is_shown_so_unless_it_asks_a_person() {
    let link = Link {
        kind: rrd_proto::EdgeKind::Wait,
        state: rrd_proto::EdgeState::Declared,
        to: "abcde".into(),
        incoming: false,
        any: false,
        group: 0,
        since: Some(NOW.plus(-60_000)),
        evidence: "rrd wait --until idle".into(),
    };
    let mut roster = roster();
    roster.set(key("works"), entry(5, vec![prompt()]));
    roster.set(key("asks"), entry(5, vec![prompt(), question()]));
    let before = roster.version();
    let declared: HashMap<_, _> =
        ["works", "asks", "nobody"].map(|id| (key(id), vec![link.clone()])).into();
    roster.set_declared(declared.clone());
    assert!(roster.version() > before);
    let row = |roster: &Roster, id| roster.row_of(&key(id), NOW).unwrap();
    let works = row(&roster, "works");
    assert_eq!((works.status, works.waiting_for), (Status::Waiting, Some(WaitingFor::Session)));
    assert_eq!(works.waiting_on.as_deref(), Some("abcde"));
    assert_eq!(works.status_since, link.since);
    assert_eq!((works.status_source, works.links), (StatusSource::Declared, vec![link]));
    let asks = row(&roster, "asks");
    assert_eq!((asks.waiting_for, asks.waiting_on), (Some(WaitingFor::Input), None));
    assert_eq!(asks.links.len(), 1);
    let before = roster.version();
    roster.set_declared(declared);
    assert_eq!(roster.version(), before);
    roster.set_declared(HashMap::new());
    assert_eq!(row(&roster, "works").status, Status::Executing);
}

#[test]
fn who_has_nothing_open_but_a_delegate_waits_for_it() {
    let call = |id, name| Fact::ToolCall {
        id: Cow::Borrowed(id),
        name: Cow::Borrowed(name),
        summary: "look".into(),
        input: "".into(),
        asks: false,
    };
    let mut roster = roster();
    roster.set(key("p"), entry(5, vec![prompt(), call("1", "Agent")]));
    roster.set(key("c"), entry(4, vec![child_of("p"), prompt()]));
    roster.set(key("done"), entry(4, vec![child_of("p"), prompt(), Fact::Finished]));
    let links = |roster: &Roster| roster.row_of(&key("p"), NOW).unwrap().links;
    let to: Vec<_> = links(&roster).into_iter().map(|link| link.to).collect();
    assert_eq!(to, [session_ref("", &key("c"))]);
    roster.set(key("p"), entry(5, vec![prompt(), call("1", "Agent"), call("2", "Bash")]));
    assert!(links(&roster).is_empty());
}
