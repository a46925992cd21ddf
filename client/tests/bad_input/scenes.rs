//! Scenes that real clients make, each beside what a person would say of it.

use rrd_proto::{EndReason, ParentKind, Status, TurnResult, WaitingFor};

use super::*;

const OTHER: &str = "0f0fc2e0-0000-4000-8000-000000000002";
const THIRD: &str = "0f0fc2e0-0000-4000-8000-000000000003";

fn of<'a>(rows: &'a [Session], id: &str) -> &'a Session {
    rows.iter().find(|row| row.session_id == id).unwrap_or_else(|| panic!("{id} is not listed"))
}

/// Copies as `--fork-session` makes them: the new session's id, and who asked for an answer.
fn copied(records: &[Value], from: &str, to: &str) -> Vec<Value> {
    let copy = |record: &Value| {
        let mut record = record.clone();
        record["sessionId"] = json!(to);
        if record["type"] == "assistant" && record.get("requestSessionId").is_none() {
            record["requestSessionId"] = json!(from);
        }
        record
    };
    records.iter().map(copy).collect()
}

#[test]
fn a_turn_may_end_badly_and_the_session_go_on() {
    let host = Host::new();
    let error = |talk: &mut Talk, status: u64, text: &str| {
        let message = json!({
            "id": "0f-synthetic", "model": "<synthetic>", "role": "assistant",
            "content": [{"type": "text", "text": text}], "stop_reason": "stop_sequence",
        });
        talk.record(
            "assistant",
            json!({"message": message, "isApiErrorMessage": true, "apiErrorStatus": status}),
        )
    };
    let stopped = |talk: &mut Talk| {
        let text = json!([{"type": "text", "text": "[Request interrupted by user for tool use]"}]);
        talk.record("user", json!({"message": {"role": "user", "content": text}}))
    };
    let mut failed = Talk::new(ID);
    let records = [failed.prompt("Go"), error(&mut failed, 500, "API Error: 500")];
    host.write(ID, &records);
    let mut limited = Talk::new(OTHER);
    let records = [limited.prompt("Go"), error(&mut limited, 429, "API Error: 429 too many")];
    host.write(OTHER, &records);
    let mut denied = Talk::new(THIRD);
    let records = [
        denied.prompt("Go"),
        denied.calls("toolu_1", "Bash", json!({"command": "rm"})),
        denied.result("toolu_1", true),
        stopped(&mut denied),
    ];
    host.write(THIRD, &records);
    let _daemon = host.both(|way, rows| {
        for (id, result) in [
            (ID, TurnResult::Error),
            (OTHER, TurnResult::RateLimited),
            (THIRD, TurnResult::Interrupted),
        ] {
            let row = of(rows, id);
            assert_eq!(
                (row.status, row.turn_result),
                (Status::Idle, Some(result)),
                "{way}: {row:#?}"
            );
        }
        assert_eq!(counts(of(rows, ID)), (1, 0, 0, 1), "{way}");
        assert_eq!(counts(of(rows, THIRD)), (1, 1, 1, 1), "{way}");
        assert_eq!(of(rows, ID).model, None, "{way}: nobody answered");
    });
    host.write(ID, &failed.turn("Try again"));
    host.follows("it went on", ID, |row| row.turn_result == Some(TurnResult::Completed));
}

#[test]
fn forks_name_their_parents_and_begin_with_their_own() {
    let host = Host::new();
    let mut first = Talk::new(ID);
    let began = first.turn("The first way");
    host.write(ID, &began);
    let mut second = Talk::new(OTHER);
    second.at = 60;
    let mut forked = copied(&began, ID, OTHER);
    forked.extend(second.turn("Another way"));
    host.write(OTHER, &forked);
    let mut third = Talk::new(THIRD);
    third.at = 30;
    let mut twice = copied(&forked, OTHER, THIRD);
    twice.extend(third.turn("A third way"));
    host.write(THIRD, &twice);
    let _daemon = host.both(|way, rows| {
        assert_eq!(rows.len(), 3, "{way}");
        assert_eq!(of(rows, ID).parent_session_id, None, "{way}");
        for (id, parent, own) in [(OTHER, ID, &forked[2]), (THIRD, OTHER, &twice[4])] {
            let row = of(rows, id);
            assert_eq!(row.parent_session_id.as_deref(), Some(parent), "{way}");
            assert_eq!(row.parent_kind, Some(ParentKind::Fork), "{way}");
            let began = row.started_at.unwrap().to_string();
            assert_eq!(json!(began), own["timestamp"], "{way}: it began where it parted");
        }
    });
}

#[test]
fn what_interrupts_a_conversation_does_not_begin_another() {
    let host = Host::new();
    let mut talk = Talk::new(ID);
    let mut records = talk.turn("Before").to_vec();
    // Compaction in the middle of a turn.
    records.push(talk.prompt("Long work"));
    records.push(talk.calls("toolu_1", "Bash", json!({"command": "make"})));
    records.push(talk.result("toolu_1", false));
    records.push(talk.record("system", json!({"subtype": "compact_boundary", "logicalParentUuid": "x", "compactMetadata": {"trigger": "auto"}})));
    records.push(talk.record("user", json!({"isCompactSummary": true, "message": {"role": "user", "content": "This session is being continued from a previous conversation that ran out of context."}})));
    records.push(talk.record("attachment", json!({"attachment": {"type": "file"}})));
    // Two tools at once, of which one fails.
    records.push(talk.calls("toolu_2", "Bash", json!({"command": "a"})));
    let mut same = talk.calls("toolu_3", "Bash", json!({"command": "b"}));
    same["message"]["id"] = records.last().unwrap()["message"]["id"].clone();
    records.push(same);
    records.push(talk.result("toolu_3", true));
    records.push(talk.result("toolu_2", false));
    records.push(talk.says("All done."));
    // Named twice, by the model and by a person, and again on every turn.
    for (kind, key, name) in [
        ("ai-title", "aiTitle", "Generated"),
        ("custom-title", "customTitle", "Mine"),
        ("custom-title", "customTitle", "Mine, later"),
        ("ai-title", "aiTitle", "Generated anew"),
    ] {
        records.push(json!({"type": kind, key: name, "sessionId": ID}));
    }
    // Elsewhere by then.
    talk.cwd = "/home/dev/src/beta".to_owned();
    // Killed, resumed hours later.
    records.push(talk.prompt("One more"));
    records.push(talk.calls("toolu_4", "Bash", json!({"command": "sleep 999"})));
    records.push(talk.prompt("After the kill"));
    records.push(talk.calls(
        "toolu_5",
        "AskUserQuestion",
        json!({"questions": [{"question": "Which one?"}]}),
    ));
    // Bookkeeping is no activity.
    records.push(json!({"type": "last-prompt", "lastPrompt": "After the kill", "sessionId": ID}));
    records.push(json!({"type": "mode", "mode": "normal", "sessionId": ID}));
    host.write(ID, &records);
    let last = records[records.len() - 3]["timestamp"].clone();
    let _daemon = host.both(|way, rows| {
        assert_eq!(ids(rows), [ID], "{way}");
        let row = &rows[0];
        assert_eq!(counts(row), (4, 6, 5, 1), "{way}");
        assert_eq!(row.title.as_deref(), Some("Mine, later"), "{way}");
        assert_eq!(row.cwd.as_deref(), Some("/home/dev/src/alpha"), "{way}");
        assert_eq!(json!(row.last_activity_at), last, "{way}");
        assert_eq!(
            (row.status, row.waiting_for),
            (Status::Waiting, Some(WaitingFor::Input)),
            "{way}"
        );
        assert_eq!(row.waiting_detail.as_deref(), Some("AskUserQuestion: Which one?"), "{way}");
    });
    host.write(ID, &[talk.result("toolu_5", false), talk.says("Thanks.")]);
    host.follows("answered", ID, |row| row.status == Status::Idle && row.waiting_for.is_none());
}

#[test]
fn delegates_are_rows_of_their_own() {
    let host = Host::new();
    let mut talk = Talk::new(ID);
    host.write(
        ID,
        &[
            talk.prompt("Delegate"),
            talk.calls("toolu_1", "Agent", json!({"prompt": "Look"})),
            talk.result("toolu_1", false),
            talk.says("Done."),
        ],
    );
    let folder = host.transcript(ID).with_extension("").join("subagents");
    for (agent, deeper) in [
        ("a0000000000000001", ""),
        ("a0000000000000002", ""),
        ("a0000000000000003", "workflows/w1/"),
    ] {
        let mut task = Talk::new(ID);
        let mut records = vec![task.prompt("Look closely"), task.says("Nothing.")];
        for record in &mut records {
            record["uuid"] = json!(format!("{agent}-{}", record["uuid"]));
            record["isSidechain"] = json!(true);
            record["agentId"] = json!(agent);
            record.as_object_mut().unwrap().remove("promptSource");
        }
        append(&folder.join(format!("{deeper}agent-{agent}.jsonl")), jsonl(&records));
        let meta = json!({"agentType": "Explore", "description": format!("Task {agent}"), "finished": true});
        append(&folder.join(format!("{deeper}agent-{agent}.meta.json")), meta.to_string());
    }
    let _daemon = host.both(|way, rows| {
        assert_eq!(rows.len(), 4, "{way}");
        assert_eq!(counts(of(rows, ID)), (1, 2, 1, 0), "{way}: theirs are not its own");
        for row in rows.iter().filter(|row| row.session_id != ID) {
            assert_eq!(row.parent_session_id.as_deref(), Some(ID), "{way}");
            assert_eq!(
                (row.status, row.end_reason),
                (Status::Ended, Some(EndReason::Exit)),
                "{way}"
            );
            assert_eq!(row.title, Some(format!("Task {}", row.session_id)), "{way}");
        }
    });
    let shown = host.run(&["sessions", "list"]);
    assert_eq!(shown.matches("Task ").count(), 0, "what is done is not shown: {shown}");
}

#[test]
fn a_worktree_belongs_to_its_repository() {
    let host = Host::new();
    let repo = host.path("work/site");
    fs::create_dir_all(repo.join(".git/worktrees/feat-x")).unwrap();
    fs::write(repo.join(".git/HEAD"), "ref: refs/heads/main\n").unwrap();
    fs::write(repo.join(".git/config"), "").unwrap();
    fs::write(repo.join(".git/worktrees/feat-x/commondir"), "../..\n").unwrap();
    fs::write(repo.join(".git/worktrees/feat-x/HEAD"), "ref: refs/heads/feat-x\n").unwrap();
    let tree = repo.join(".claude/worktrees/feat-x");
    fs::create_dir_all(&tree).unwrap();
    fs::write(
        tree.join(".git"),
        format!("gitdir: {}\n", repo.join(".git/worktrees/feat-x").display()),
    )
    .unwrap();
    let gone = repo.join(".claude/worktrees/gone");
    for (id, cwd) in [(ID, &tree), (OTHER, &gone)] {
        let mut talk = Talk::new(id);
        talk.cwd = cwd.display().to_string();
        let state = json!({"type": "worktree-state", "sessionId": id, "worktreeSession": {"originalCwd": repo, "worktreePath": cwd}});
        host.write(id, &[state]);
        host.write(id, &talk.turn("In a worktree"));
    }
    let _daemon = host.both(|way, rows| {
        for row in rows {
            assert_eq!(row.repo.as_deref(), Some("site"), "{way}");
            assert_eq!(row.repo_root.as_deref(), repo.to_str(), "{way}");
        }
    });
}
