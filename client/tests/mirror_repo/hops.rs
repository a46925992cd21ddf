//! Sessions that come from host to host: where they were is known on each.

use std::fs;

use super::{Host, SECRET, meta, session, there};

const PUBLIC: &str = "git@example.com:acme/public.git";

#[test]
fn what_was_excluded_is_known_at_the_second_hop() {
    let [mut one, mut two, mut three] = ["one", "two", "three"].map(Host::new);
    let [id, plain] = [1, 2].map(session);
    let (of_one, of_two) =
        (one.clones_from("src/secret", SECRET), two.clones_from("c/public", PUBLIC));
    let of_three = three.clones_from("d/public", PUBLIC);
    let nowhere = two.path("nowhere");
    fs::create_dir_all(&nowhere).unwrap();
    for id in [&id, &plain] {
        one.turns(id, &of_one, "classified");
    }
    one.start();
    two.start();
    three.start();
    let one = one.founds();
    let two = one.takes_in(two);
    let three = one.takes_in(three);
    two.looks_up(&id);
    two.looks_up(&plain);
    fs::rename(&of_one, one.path("elsewhere")).unwrap();
    two.resumes(&[&id, "--cwd", of_two.to_str().unwrap()], &of_two);
    two.resumes(&[&plain, "--cwd", nowhere.to_str().unwrap()], &nowhere);
    two.turns(&id, &of_two, "at two");
    two.turns(&plain, &nowhere, "at two");
    // Written down there, whatever case its user writes.
    let bucket = two.path("bucket");
    two.mirrors_to(&bucket, &["--exclude-repo", "Secret"]);
    assert_eq!(two.brings(&bucket, &id) + &there(&bucket, &plain), "");
    three.until("what it is there", || {
        let rows: Vec<rrd_proto::Session> = three.json(&["sessions", "list", "--all"]);
        let row = |id: &str| rows.iter().any(|row| row.session_id == *id && row.host == "two");
        if row(&id) && row(&plain) { Ok(()) } else { Err("not told yet".to_owned()) }
    });
    drop(one);
    let bucket = three.path("bucket");
    three.mirrors_to(&bucket, &["--exclude-repo", "secret"]);
    three.resumes(&[&id, "--from", "peer"], &of_three);
    three.resumes(&[&plain, "--from", "peer", "--cwd", of_three.to_str().unwrap()], &of_three);
    assert_eq!(three.brings(&bucket, &id) + &there(&bucket, &plain), "");
    assert_eq!(three.place().held, 0);
    assert_eq!(three.shows(&id).repo.as_deref(), Some("public"));
}

#[test]
fn a_bucket_tells_where_a_session_was_before() {
    let [mut one, mut two, mut three] = ["one", "two", "three"].map(Host::new);
    let (bucket, [id, fork, of]) = (one.path("bucket"), [1, 2, 3].map(session));
    let (of_one, public) =
        (one.clones_from("src/secret", SECRET), one.clones_from("b/public", PUBLIC));
    let (of_two, of_three) =
        (two.clones_from("c/public", PUBLIC), three.clones_from("d/public", PUBLIC));
    one.turns(&id, &of_one, "begin");
    one.turns(&of, &public, "anything");
    one.forks(&fork, &of, &public, "anything");
    one.start();
    one.mirrors_to(&bucket, &[]);
    assert!(one.brings(&bucket, &id).contains("begin"));
    one.stop();
    fs::rename(&of_one, one.path("lost")).unwrap();
    two.start();
    two.mirrors_to(&bucket, &[]);
    two.resumes(
        &[&id, "--from", "bucket", "--take-over", "--cwd", of_two.to_str().unwrap()],
        &of_two,
    );
    two.turns(&id, &of_two, "goes on");
    two.until("the turn is there", || {
        let there = two.brings(&bucket, &id);
        if there.contains("goes on") { Ok(()) } else { Err(there) }
    });
    let told = meta(&bucket, &id);
    assert_eq!(told["repo"], PUBLIC);
    assert_eq!(told["past"]["names"].as_array().unwrap().len(), 2);
    two.stop();
    three.start();
    three.mirrors_to(&bucket, &[]);
    for id in [&id, &fork] {
        three.resumes(&[id, "--from", "bucket", "--take-over"], &of_three);
    }
    let other = three.path("other");
    three.mirrors_to(&other, &["--exclude-repo", "secret"]);
    assert_eq!(three.brings(&other, &id), "");
    // What this is a fork of is not here, and was nowhere else where it is.
    assert!(there(&other, &fork).contains("in the fork"));
    assert_eq!(three.place().held, 0);
}

#[test]
fn what_an_earlier_release_does_not_tell_is_not_known() {
    let [mut one, mut two] = ["one", "two"].map(Host::new);
    let (bucket, id) = (one.path("bucket"), session(1));
    let public = one.clones_from("b/public", PUBLIC);
    let (other, of_two) = (two.path("other"), two.clones_from("c/public", PUBLIC));
    one.turns(&id, &public, "begin");
    one.start();
    one.mirrors_to(&bucket, &[]);
    assert!(one.brings(&bucket, &id).contains("begin"));
    one.stop();
    let path = bucket.join(format!("rrd/sessions/claude-code/{id}/meta.json"));
    let mut told = meta(&bucket, &id);
    assert_eq!(told["past"]["places"].as_array().unwrap().len(), 1);
    told["past"].as_object_mut().unwrap().remove("places");
    fs::write(path, told.to_string()).unwrap();
    fs::rename(&public, one.path("lost")).unwrap();
    two.start();
    two.mirrors_to(&bucket, &[]);
    two.resumes(&[&id, "--from", "bucket", "--take-over"], &of_two);
    two.mirrors_to(&other, &["--exclude-repo", "secret"]);
    assert_eq!(two.brings(&other, &id), "");
    let places: Vec<rrd_proto::MirrorStatus> = two.json(&["mirror", "status"]);
    assert_eq!(places.iter().map(|place| place.held).sum::<u64>(), 1);
}
