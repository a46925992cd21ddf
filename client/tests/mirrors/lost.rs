//! A part that a place has lost, as `rrd mirror verify` tells it.

use std::{fs, path::PathBuf};

use super::{Host, parts, session};

/// A host whose session has three parts there.
fn with_three(id: &str) -> (Host, PathBuf) {
    let mut host = Host::new("mac");
    let bucket = host.path("bucket");
    host.has_done(id, "first");
    host.start();
    host.mirrors_to(&bucket);
    for what in ["second", "third"] {
        host.has_done(id, what);
        host.run(&["mirror", "run"]);
    }
    host.until("three parts", || {
        host.run(&["mirror", "run"]);
        let parts = parts(&bucket, id);
        if parts.len() == 3 { Ok(()) } else { Err(format!("{parts:?}")) }
    });
    (host, bucket)
}

#[test]
fn what_a_lost_part_was_made_of_is_no_strangers() {
    let id = session(1);
    let (host, bucket) = with_three(&id);
    let small = parts(&bucket, &id);
    host.run(&["mirror", "compact", &id]);
    let large = parts(&bucket, &id).into_iter().find(|part| !small.contains(part)).unwrap();
    let (name, whole) = (large.file_name().unwrap().to_str().unwrap(), fs::read(&large).unwrap());
    // Also of a transcript that is gone here.
    for is_here in [true, false] {
        for is_there in [true, false] {
            fs::remove_file(&large).unwrap();
            if is_there {
                fs::write(&large, "{}\n").unwrap();
            }
            let (is_good, said) = host.verifies(&[]);
            assert!(!is_good && said.contains("made of that again"), "{said}");
            assert_eq!(said.contains(&format!("{name} is missing")), !is_there, "{said}");
            assert!(!said.contains("did not") && !said.contains("nothing can bring"), "{said}");
            host.run(&["mirror", "run"]);
            let (is_good, said) = host.verifies(&[]);
            assert!(is_good && said.contains("read 1 part"), "{is_here}: {said}");
            assert_eq!(fs::read(&large).unwrap(), whole);
        }
        if is_here {
            fs::remove_file(host.transcript(&id)).unwrap();
        }
    }
}

#[test]
fn what_is_lost_of_a_session_that_stays_out_is_not_said_to_be_brought_again() {
    let id = session(1);
    let (host, bucket) = with_three(&id);
    host.run(&["mirror", "stop", &id]);
    let gone = parts(&bucket, &id).pop().unwrap();
    fs::remove_file(&gone).unwrap();
    for _ in 0..2 {
        let (is_good, said) = host.verifies(&[]);
        assert!(!is_good && said.contains("is missing"), "{said}");
        assert!(said.contains("nothing of it is brought again: it is stopped"), "{said}");
        assert!(!said.contains("is being brought again"), "{said}");
        host.run(&["mirror", "run"]);
    }
    host.run(&["mirror", "start", &id]);
    let (_, said) = host.verifies(&[]);
    assert!(said.contains("is being brought again"), "{said}");
    host.run(&["mirror", "run"]);
    let (is_good, said) = host.verifies(&[]);
    assert!(is_good, "{said}");
}

#[test]
fn of_what_cannot_be_read_no_empty_transcript_is_made() {
    let id = session(1);
    let (mut host, bucket) = with_three(&id);
    host.run(&["mirror", "compact", &id]);
    host.stop();
    let mut new = Host::new("new");
    let cwd = new.path("work");
    fs::create_dir_all(&cwd).unwrap();
    new.start();
    new.run(&["mirror", "enable", &format!("file://{}", bucket.display())]);
    let resume = ["resume", &id, "--from", "bucket", "--fork", "--cwd", cwd.to_str().unwrap()];
    // What one was made of is there in its place.
    let mut parts = parts(&bucket, &id);
    parts.sort_by_key(|part| fs::metadata(part).unwrap().len());
    fs::write(parts.pop().unwrap(), "{}\n").unwrap();
    let said = new.rrd(&resume).output().unwrap();
    let told = String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success() && told.contains("read in its place"), "{told}");
    assert!(!told.contains("nobody knows whether they were redacted"), "{told}");
    // Then nothing is.
    for part in parts {
        fs::write(part, "{}\n").unwrap();
    }
    let refused = new.refuses(&resume);
    assert!(refused.contains("has of it can be read") && refused.contains("hint: "), "{refused}");
    assert!(refused.contains("part-00000-"), "{refused}");
}

#[test]
fn what_nobody_counts_is_told_with_what_ends_it() {
    let id = session(1);
    let (host, bucket) = with_three(&id);
    let strange = parts(&bucket, &id)[0].with_file_name("part-00050-aaaaaaaa.jsonl");
    fs::write(&strange, "{}\n").unwrap();
    for _ in 0..2 {
        let (is_good, said) = host.verifies(&[]);
        let ends = format!("deleting file://{} ends this", strange.display());
        assert!(!is_good && said.contains(&ends), "{said}");
        assert!(said.contains("hint: ") && !said.contains("brought again"), "{said}");
        host.run(&["mirror", "run"]);
    }
    fs::remove_file(&strange).unwrap();
    let (is_good, said) = host.verifies(&[]);
    assert!(is_good, "{said}");
}

#[test]
fn who_reads_what_a_place_has_hears_what_it_has_not() {
    let id = session(1);
    let (mut host, bucket) = with_three(&id);
    host.stop();
    let mut new = Host::new("new");
    let cwd = new.path("work");
    fs::create_dir_all(&cwd).unwrap();
    new.start();
    new.run(&["mirror", "enable", &format!("file://{}", bucket.display())]);
    let gone = parts(&bucket, &id).remove(1);
    fs::remove_file(&gone).unwrap();
    let told = format!("{}: it is not there", gone.file_name().unwrap().to_str().unwrap());
    let owner = gone.with_file_name("owner-0001.json");
    fs::remove_file(&owner).unwrap();
    fs::write(&owner, "{").unwrap();
    let resume = ["resume", &id, "--from", "bucket", "--fork", "--cwd", cwd.to_str().unwrap()];
    for args in [&["mirror", "show", &id][..], &resume] {
        let said = new.rrd(args).output().unwrap();
        let said = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(said.contains(&told) && said.contains("with 2 records"), "{said}");
        assert!(said.contains("owner-0001.json: it cannot be read"), "{said}");
    }
    // The host that wrote it sets both right.
    host.start();
    let (is_good, said) = host.verifies(&[]);
    assert!(!is_good && said.contains("is missing, with 2 records"), "{said}");
    assert!(said.contains("owner-0001.json could not be read there, and was written"), "{said}");
    host.run(&["mirror", "run"]);
    let (is_good, said) = host.verifies(&[]);
    assert!(is_good, "{said}");
    let said = new.rrd(&["mirror", "show", &id]).output().unwrap();
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(!said.contains("it is not there") && !said.contains("cannot be read"), "{said}");
}

#[test]
fn who_took_over_what_was_not_whole_makes_it_so() {
    let id = session(1);
    let (mut host, bucket) = with_three(&id);
    let small = parts(&bucket, &id);
    host.run(&["mirror", "compact", &id]);
    host.stop();
    let large = parts(&bucket, &id).into_iter().find(|part| !small.contains(part)).unwrap();
    let whole = fs::read(&large).unwrap();
    fs::remove_file(&large).unwrap();
    fs::write(&large, "{}\n").unwrap();
    let mut new = Host::new("new");
    let cwd = new.path("work");
    fs::create_dir_all(&cwd).unwrap();
    new.start();
    new.run(&["mirror", "enable", &format!("file://{}", bucket.display())]);
    let take_over = ["resume", &id, "--from", "bucket", "--take-over", "--cwd"];
    new.run(&[&take_over[..], &[cwd.to_str().unwrap()]].concat());
    new.comes_to("it has taken it over", |place| place.transcripts == 1 && place.elsewhere == 0);
    let (is_good, said) = new.verifies(&[]);
    assert!(!is_good && said.contains("made of that again"), "{said}");
    new.run(&["mirror", "run"]);
    let (is_good, said) = new.verifies(&[]);
    assert!(is_good && said.contains("read 1 part"), "{said}");
    assert_eq!(fs::read(&large).unwrap(), whole);
    let shown: serde_json::Value = new.json(&["mirror", "show", &id]);
    assert!(shown["meta"].as_str().unwrap().contains("\"redactor\": \"rrd "), "{shown:#}");
}
