//! Sessions that begin in one place and work in another.

use std::fs;

use serde_json::json;

use super::{Host, SECRET, append, meta, session, there};

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
