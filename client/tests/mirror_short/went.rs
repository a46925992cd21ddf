//! What went before a place had it stays missing, whatever a file of its session holds later.

use super::*;

impl Host {
    /// A record of a session's, or of its delegate's, that the place never gets: gives how long it is.
    fn loses(&self, id: &str, path: &Path) -> u64 {
        let size = || fs::metadata(path).unwrap().len();
        self.loses_the_place();
        let before = size();
        says(path, id, "lost");
        // Of what nobody has read nobody knows later that it is there again.
        self.is_read(path);
        size() - before
    }

    /// All of a transcript is.
    fn is_read(&self, path: &Path) {
        let size = || fs::metadata(path).unwrap().len();
        let index = rusqlite::Connection::open(self.path("rrd/state/index.db")).unwrap();
        let sql = "SELECT cursor ->> 'offset' FROM files WHERE path = ?1";
        self.until("it to be read", || {
            let read: i64 = index
                .query_row(sql, [path.to_str()], |row| row.get(0))
                .map_err(|e| e.to_string())?;
            if read.cast_unsigned() == size() { Ok(()) } else { Err(read.to_string()) }
        });
    }

    /// That this session, or delegate, lacks so many bytes, wherever one asks.
    fn lacks(&self, id: &str, bytes: u64, what: &str) {
        self.covered(id, what, |it| !is_there(it) && it.bytes_behind == Some(bytes));
        let list: Vec<Mirrored> = self.json(&["mirror", "list"]);
        let one = list.iter().find(|one| one.session_id.ends_with(id)).unwrap();
        assert_eq!(one.bytes_behind, Some(bytes), "{what}: {list:?}");
        let all: Vec<MirrorStatus> = self.json(&["mirror", "status"]);
        assert_eq!((all[0].behind, all[0].bytes_behind), (1, bytes), "{what}: {all:?}");
    }

    fn names_what_went(&self, bytes: u64) {
        let (is_all, said) = self.verified();
        assert!(
            !is_all && said.contains(&format!("{bytes} bytes of its transcript went")),
            "{said}"
        );
    }
}

#[test]
fn what_went_is_not_there_because_another_file_of_its_session_is() {
    for is_restarted in [false, true] {
        let mut host = Host::new("mac");
        let id = session(1);
        let path = host.transcript(&id);
        host.says(&id, "Mend it");
        let first = fs::read(&path).unwrap();
        host.start();
        host.mirrors();
        host.covered(&id, "it to be there", is_there);
        let gone = host.loses(&id, &path);
        host.lacks(&id, gone, "it to be behind");
        let whole = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        host.lacks(&id, gone, "what went to be missing");
        if is_restarted {
            host.stop();
            host.start();
        }
        host.finds_the_place();
        host.lacks(&id, gone, "it to be missing for good");
        // As a resume writes it from what the place has, and goes on with it for longer than what went.
        fs::write(&path, &first).unwrap();
        host.lacks(&id, gone, "it to be missing where the beginning is back");
        for name in ["after", "that", "and", "more"] {
            says(&path, &id, name);
        }
        host.lacks(&id, gone, "it to be missing where its session goes on");
        host.names_what_went(gone);
        // A new one under its name.
        fs::write(&path, "").unwrap();
        says(&path, &id, "anew");
        host.lacks(&id, gone, "it to be missing beside another transcript");
        host.stop();
        host.start();
        host.lacks(&id, gone, "it to be missing after a start");
        // The very records are put back.
        fs::write(&path, &whole).unwrap();
        host.covered(&id, "nothing to be missing any more", is_there);
        assert!(host.verified().0, "{}", host.verified().1);
    }
}

#[test]
fn what_went_after_something_else_did_is_another_loss() {
    for is_restarted in [false, true] {
        let mut host = Host::new("mac");
        let id = session(1);
        let path = host.transcript(&id);
        for text in ["Mend it", "and that", "and go on"] {
            host.says(&id, text);
        }
        host.start();
        host.mirrors();
        host.covered(&id, "it to be there", is_there);
        let gone = host.loses(&id, &path);
        host.lacks(&id, gone, "it to be behind");
        let whole = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        host.lacks(&id, gone, "what went to be missing");
        // It goes on in a file of its own, shorter than what was brought, that goes, too.
        says(&path, &id, "anew");
        let anew = fs::read(&path).unwrap();
        host.is_read(&path);
        host.lacks(&id, gone, "no more to be missing, as far as is known");
        if is_restarted {
            host.stop();
        }
        fs::remove_file(&path).unwrap();
        if is_restarted {
            host.start();
        }
        let is_unknown = |it: &Coverage| !is_there(it) && it.bytes_behind.is_none();
        host.covered(&id, "something else to be missing", is_unknown);
        fs::write(&path, &whole).unwrap();
        host.finds_the_place();
        let is_behind =
            |it: &Coverage| it.state == CoverageState::Behind && it.bytes_behind.is_none();
        host.covered(&id, "the other one to be missing still", is_behind);
        let (is_all, said) = host.verified();
        assert!(!is_all && said.contains("how much nobody knows"), "{said}");
        let status = host.run(&["mirror", "status"]);
        assert!(status.contains("behind: 1 transcript, nobody knows by how much"), "{status}");
        let all: Vec<MirrorStatus> = host.json(&["mirror", "status"]);
        assert_eq!((all[0].behind, all[0].behind_unknown), (1, 1), "{all:?}");
        // It is put back, too.
        fs::write(&path, &anew).unwrap();
        host.covered(&id, "nothing to be missing any more", is_there);
        assert!(host.verified().0, "{}", host.verified().1);
    }
}

#[test]
fn a_file_that_was_there_and_goes_again_is_no_other_loss() {
    let mut host = Host::new("mac");
    let id = session(1);
    let path = host.transcript(&id);
    host.says(&id, "Mend it");
    let first = fs::read(&path).unwrap();
    host.start();
    host.mirrors();
    host.covered(&id, "it to be there", is_there);
    let gone = host.loses(&id, &path);
    host.lacks(&id, gone, "it to be behind");
    fs::remove_file(&path).unwrap();
    host.lacks(&id, gone, "what went to be missing");
    host.finds_the_place();
    fs::write(&path, &first).unwrap();
    host.is_read(&path);
    host.lacks(&id, gone, "it to be missing where the beginning is back");
    fs::remove_file(&path).unwrap();
    for _ in 0..2 {
        host.lacks(&id, gone, "no more to be missing");
        host.stop();
        host.start();
    }
}

#[test]
fn what_went_of_a_delegate_is_missing_while_the_place_is_away_and_after() {
    let mut host = Host::new("mac");
    let id = session(1);
    host.says(&id, "Mend it");
    let path = host.delegate(&id, "subagents");
    says(&path, &id, "one");
    host.start();
    host.mirrors();
    host.covered(AGENT, "it to be there", is_there);
    let gone = host.loses(&id, &path);
    host.lacks(AGENT, gone, "it to be behind");
    fs::remove_file(&path).unwrap();
    host.until("the deletion to be noted down", || {
        let row: Session = host.json(&["sessions", "show", AGENT]);
        if row.issues.is_empty() { Err(format!("{row:?}")) } else { Ok(()) }
    });
    host.lacks(AGENT, gone, "what went to be missing");
    host.stop();
    host.start();
    says(&path, &id, "new");
    host.lacks(AGENT, gone, "no more and no less to be missing, as far as is known");
    host.finds_the_place();
    has(&host, &[(&id, &["one", "new"])]);
    host.lacks(AGENT, gone, "it to be missing for good");
    host.names_what_went(gone);
    // Nobody wants to hear of it any more.
    host.run(&["sessions", "forget", &id, "--yes"]);
    assert!(host.verified().0, "{}", host.verified().1);
}
