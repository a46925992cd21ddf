//! What an earlier release brought otherwise than this one would.

use std::time::UNIX_EPOCH;

use super::*;

impl Host {
    /// As if the mirror had settled with the delegate's transcript as it looks now, by the rules of an earlier release
    /// or of this one.
    fn has_settled(&self, path: &Path, by_earlier: bool) {
        let metadata = fs::metadata(path).unwrap();
        let at = metadata.modified().unwrap().duration_since(UNIX_EPOCH).unwrap();
        let looks = (metadata.len().cast_signed(), i64::try_from(at.as_nanos()).unwrap());
        let db = rusqlite::Connection::open(self.path("rrd/state/mirror.db")).unwrap();
        let sql = "UPDATE streams SET state = json_set(state, '$.settled', json_array(?1, ?2)) \
                   WHERE state ->> 'path' = ?3";
        assert_eq!(db.execute(sql, (looks.0, looks.1, path.to_str())).unwrap(), 1);
        if by_earlier {
            let sql = "UPDATE streams SET state = json_remove(state, '$.rules')";
            db.execute(sql, []).unwrap();
        }
    }
}

#[test]
fn what_an_earlier_release_told_as_there_is_compared_once_after_a_start() {
    let mut host = Host::new("mac");
    let id = session(1);
    host.says(&id, "Mend it");
    let path = host.delegate(&id, "subagents");
    ["one", "two", "three"].into_iter().for_each(|name| says(&path, &id, name));
    host.start();
    host.mirrors();
    has(&host, &[(&id, &["one", "two", "three"])]);
    host.stop();
    // Another transcript was read by turns with this one, and there is what that one had.
    let changes = |from: &str, to: &str| {
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.matches(from).count(), 1);
        fs::write(&path, text.replace(from, to)).unwrap();
    };
    changes("\"two\"", "\"own\"");
    host.has_settled(&path, true);
    host.start();
    has(&host, &[(&id, &["one", "two", "three", "own"])]);
    host.covered(AGENT, "it to be there", is_there);
    assert!(host.verified().0, "{}", host.verified().1);
    // By this release's rules nothing is compared again.
    host.stop();
    changes("\"own\"", "\"new\"");
    host.has_settled(&path, false);
    host.start();
    host.covered(AGENT, "it to be looked at", is_there);
    has(&host, &[(&id, &["one", "two", "three", "own"])]);
    assert!(!host.verified().0, "what nobody looked at is not as uploaded");
}
