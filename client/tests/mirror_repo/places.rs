//! Sessions that begin in one place and work in another.

use std::fs;

use serde_json::json;

use super::{ALPHA, Host, SECRET, append, meta, session, there};

#[test]
fn what_works_in_an_excluded_repository_goes_out_no_more() {
    let mut host = Host::new("one");
    let (bucket, [id, other, begun]) = (host.path("bucket"), [1, 2, 3].map(session));
    let secret = host.clones_from("src/secret", SECRET);
    let public = host.clones_from("src/public", "git@example.com:acme/public.git");
    let plain = host.path("src").canonicalize().unwrap();
    host.turns(&id, &plain, "hello");
    host.turns(&other, &public, "hello");
    host.turns(&begun, &public, "hello");
    host.turns(&begun, &secret, "classified");
    host.turns(&begun, &public, "afterwards");
    host.start();
    host.mirrors_to(&bucket, &["--exclude-repo", "secret"]);
    assert!(
        host.brings(&bucket, &id).contains("hello") && there(&bucket, &other).contains("hello")
    );
    assert_eq!(there(&bucket, &begun), "");
    let was_there = there(&bucket, &id) + &there(&bucket, &other);
    for id in [&id, &other] {
        for number in 0..5 {
            host.turns(id, &secret, &format!("classified {number}"));
        }
    }
    // Also before anybody else has read it.
    let is_there = || there(&bucket, &id) + &there(&bucket, &other);
    host.run(&["mirror", "run"]);
    assert_eq!(is_there(), was_there);
    host.turns(&id, &plain, "afterwards");
    host.turns(&other, &public, "afterwards");
    host.run(&["mirror", "run"]);
    assert_eq!(is_there(), was_there);
    assert_eq!(host.shows(&other).repo.as_deref(), Some("public"), "where it is");
    let states = |id: &str| host.shows(id).coverage.into_iter().map(|it| it.state);
    host.until("what is told of them", || {
        let excluded = rrd_proto::CoverageState::Excluded;
        match [&id, &other, &begun].iter().all(|id| states(id).eq([excluded])) {
            true => Ok(()),
            false => Err(format!("{:?}", states(&id).collect::<Vec<_>>())),
        }
    });
    assert_eq!(host.place().failing, None);
    assert!(host.place().troubles.is_empty());
    // Once known it is known, whatever becomes of the clone.
    fs::rename(&secret, host.path("locked")).unwrap();
    host.stop();
    host.start();
    host.turns(&id, &plain, "much later");
    host.run(&["mirror", "run"]);
    assert_eq!(is_there(), was_there);
    assert_eq!(there(&bucket, &begun), "");
}

#[test]
fn what_was_where_nobody_knows_is_held_back_wherever_it_goes_on() {
    let mut host = Host::new("one");
    let (bucket, id) = (host.path("bucket"), session(1));
    let public = host.clones_from("src/public", "git@example.com:acme/public.git");
    let [gone, lost] = ["src/gone", "src/lost"].map(|name| host.path(name));
    // As a resume into another directory leaves it: there its harness goes on with it.
    let path = host.lies(&id, &public);
    append(&path, "{\"type\":\"mode\"}\n");
    host.turns(&id, &gone, "classified");
    host.turns(&id, &public, "and here");
    host.start();
    host.mirrors_to(&bucket, &["--exclude-repo", "secret"]);
    assert_eq!(host.brings(&bucket, &id), "");
    let place = host.place();
    assert_eq!((place.held, place.held_for.len(), place.troubles.len()), (1, 1, 0), "{place:?}");
    let status = host.run(&["mirror", "status"]);
    assert!(status.contains("src/gone was"), "{status}");
    assert_eq!(host.shows(&id).repo.as_deref(), Some("public"), "where it is");
    // Made anew it counts; and of what comes later nobody knows anything.
    fs::create_dir_all(&gone).unwrap();
    let brought = host.brings(&bucket, &id);
    assert!(brought.contains("classified") && brought.contains("and here"));
    host.turns(&id, &lost, "classified, too");
    host.run(&["mirror", "run"]);
    host.until("it to be held back", || match host.place() {
        place if place.held == 1 && place.troubles.is_empty() => Ok(()),
        place => Err(format!("{place:?}")),
    });
    assert_eq!(there(&bucket, &id), brought);
    let secret = host.clones_from("src/lost", SECRET);
    host.turns(&id, &secret, "classified, too");
    host.run(&["mirror", "run"]);
    assert_eq!((there(&bucket, &id), host.place().held), (brought, 0));
}

#[test]
fn what_codex_wrote_down_of_its_repository_counts_when_it_goes_on_elsewhere() {
    let mut host = Host::new("one");
    let (bucket, public) = (host.path("bucket"), host.clones_from("src/public", ALPHA));
    let at = "2026-11-20T10:00:00.000Z";
    let ids = [1, 2].map(|n| format!("01a1f87f-d0a7-7e91-aca5-d3b22263454{n}"));
    for (id, remote) in ids.iter().zip([SECRET, "git@example.com:acme/open.git"]) {
        let path = format!(".codex/sessions/2026/11/20/rollout-2026-11-20T10-00-00-{id}.jsonl");
        let gone = host.path("src/worktree");
        let meta = json!({
            "id": id, "timestamp": at, "cwd": gone, "originator": "codex_cli_rs", "cli_version": "0.169.0",
            "source": "cli", "model_provider": "m", "git": {"repository_url": remote, "branch": "main"},
        });
        for (kind, payload) in [
            ("session_meta", meta),
            ("turn_context", json!({"turn_id": "t", "cwd": gone, "model": "m"})),
            ("event_msg", json!({"type": "user_message", "message": "what was asked"})),
            ("turn_context", json!({"turn_id": "u", "cwd": public, "model": "m"})),
            ("event_msg", json!({"type": "user_message", "message": "and there"})),
        ] {
            let record = json!({"timestamp": at, "type": kind, "payload": payload});
            append(&host.path(&path), &format!("{record}\n"));
        }
    }
    host.start();
    host.mirrors_to(&bucket, &["--exclude-repo", "secret"]);
    host.run(&["mirror", "run"]);
    let is_there = |id: &str| bucket.join("rrd/sessions/codex").join(id).exists();
    assert_eq!(ids.each_ref().map(|id| is_there(id)), [false, true]);
    assert_eq!(host.place().held, 0, "it was never nowhere");
}

#[test]
fn what_stays_out_is_not_told_anew_by_making_few_parts_of_many() {
    let mut host = Host::new("one");
    let (bucket, [id, other, third]) = (host.path("bucket"), [1, 2, 3].map(session));
    let secret = host.clones_from("src/secret", SECRET);
    let plain = host.path("src").canonicalize().unwrap();
    host.start();
    host.mirrors_to(&bucket, &[]);
    for number in 0..3 {
        host.turns(&id, &secret, &format!("begun {number}"));
        host.turns(&other, &plain, &format!("begun {number}"));
        host.turns(&third, &plain, &format!("begun {number}"));
        host.run(&["mirror", "run"]);
    }
    host.mirrors_to(&bucket, &["--exclude-repo", "secret"]);
    host.run(&["mirror", "stop", &other]);
    let was = [&id, &other].map(|id| (meta(&bucket, id), there(&bucket, id)));
    for id in [&id, &other, &third] {
        let title = json!({"type": "custom-title", "customTitle": "classified", "sessionId": id});
        append(&host.its_transcript(id).unwrap(), &format!("{title}\n"));
        host.run(&["task", "link", &format!("TASK-{}", &id[..8]), id]);
    }
    host.run(&["mirror", "run"]);
    host.run(&["mirror", "compact"]);
    let said = host.refuses(&["mirror", "compact", &id]);
    assert!(said.contains("left out by your choice"), "{said}");
    let said = host.refuses(&["mirror", "compact", &other]);
    assert!(said.contains("rrd mirror start"), "{said}");
    assert_eq!([&id, &other].map(|id| (meta(&bucket, id), there(&bucket, id))), was);
    assert_eq!(meta(&bucket, &third)["title"], "classified");
    assert_eq!(meta(&bucket, &third)["parts"].as_array().unwrap().len(), 1);
    // Once it is to be there again it is.
    host.run(&["mirror", "start", &other]);
    host.run(&["mirror", "compact", &other]);
    assert_eq!(meta(&bucket, &other)["title"], "classified");
}
