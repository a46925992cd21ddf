//! What lies in a folder that rrd did not put there, or not so.

use super::*;

#[test]
fn what_lies_in_the_way_of_a_session_is_its_own_trouble_and_named() {
    let mut host = Host::new("mac");
    let bucket = host.path("bucket");
    let directory = |number| bucket.join("rrd/sessions/claude-code").join(session(number));
    fs::create_dir_all(directory(1).join("owner-0001.json/x")).unwrap();
    fs::create_dir_all(directory(2).join("meta.json")).unwrap();
    std::os::unix::fs::symlink("/nonexistent/x", directory(3)).unwrap();
    for number in 1..6 {
        host.has_done(&session(number), "work");
    }
    host.start();
    host.mirrors_to(&bucket);
    // What counts of the second one is there.
    let place = host.comes_to("all others are there", |place| place.transcripts == 3);
    assert_eq!((place.failing, place.troubles.len()), (None, 3), "{:#?}", place.troubles);
    is_told(&host, &session(4), CoverageState::Mirrored);
    let names_them = |host: &Host| {
        let (is_good, said) = host.verifies(&[]);
        assert!(!is_good && said.contains("3 transcripts not as"), "{said}");
        for number in 1..4 {
            let (is_good, said) = host.verifies(&[&session(number)]);
            assert!(!is_good && said.contains("move it away"), "{said}");
        }
        assert!(host.verifies(&[&session(4)]).0);
    };
    names_them(&host);
    host.stop();
    host.start();
    host.comes_to("it is found again", |place| place.troubles.len() == 3);
    names_them(&host);
    for number in [1, 2] {
        fs::remove_dir_all(directory(number)).unwrap();
    }
    fs::remove_file(directory(3)).unwrap();
    host.stop();
    host.start();
    host.comes_to("all of it", |place| place.transcripts == 5 && place.troubles.is_empty());
    assert!(host.verifies(&[]).0);
}

#[test]
fn a_damaged_part_whose_records_are_there_again_is_told_and_no_fault() {
    let mut host = Host::new("mac");
    let (bucket, id) = (host.path("bucket"), session(1));
    host.has_done(&id, "work");
    host.start();
    host.mirrors_to(&bucket);
    let part = parts(&bucket, &id).remove(0);
    fs::write(&part, "{}\n").unwrap();
    let (is_good, said) = host.verifies(&[]);
    assert!(!is_good && said.contains("not what its name says"), "{said}");
    let mended = |host: &Host| {
        host.until("it is mended", || {
            host.run(&["mirror", "run"]);
            let (is_good, said) = host.verifies(&[]);
            if is_good { Ok(said) } else { Err(said) }
        })
    };
    let said = mended(&host);
    assert!(said.contains("it may be deleted there") && said.contains("all as uploaded"), "{said}");
    // A start does not bring it anew.
    let before = parts(&bucket, &id);
    host.stop();
    // Also where its harness has deleted the transcript.
    fs::remove_file(host.transcript(&id)).unwrap();
    host.start();
    mended(&host);
    assert_eq!(parts(&bucket, &id), before);
    fs::remove_file(part).unwrap();
    let said = mended(&host);
    assert!(!said.contains("may be deleted"), "{said}");
}
