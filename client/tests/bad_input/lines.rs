//! Lines that are not what they should be.

use std::fs;

use rrd_proto::Status;

use super::*;

#[test]
fn damaged_lines_cost_themselves_and_nothing_else() {
    let host = Host::new();
    let mut talk = Talk::new(ID);
    let path = host.transcript(ID);
    append(&path, "\u{feff}".to_owned() + &jsonl(&talk.turn("First")).replace('\n', "\r\n"));
    // A run of NULs before a record, and a line of nothing else.
    append(&path, vec![0; 5_000]);
    append(&path, jsonl(&[talk.prompt("Second")]));
    append(&path, [&[0; 300][..], b"\n"].concat());
    // Bytes that are not UTF-8, within a record.
    let mut latin = spelt(&talk.says("caf\u{e9}")).into_bytes();
    let at = latin.windows(2).position(|w| w == "\u{e9}".as_bytes()).unwrap();
    latin.splice(at..at + 2, [0xe9]);
    append(&path, [&latin[..], b"\n"].concat());
    // Half a record, then a whole one in the same line; and two in one line.
    let half = spelt(&talk.prompt("A lost one"));
    append(&path, half[..half.len() / 2].to_owned() + &jsonl(&[talk.prompt("Third")]));
    append(&path, spelt(&talk.says("a")) + &jsonl(&[talk.prompt("Fourth")]));
    // Half a character, which JSON allows; a record of nothing known; text that is no JSON.
    append(&path, jsonl(&[talk.says("HALF")]).replace("HALF", "\\ud83d x"));
    append(&path, "{\"type\":\"from-the-future\",\"sessionId\":\"x\"}\nnot json at all\n[]\n7\n");
    // The last line is still being written.
    let torn = spelt(&talk.prompt("Torn"));
    append(&path, &torn[..torn.len() - 1]);

    let good = |way: &str, rows: &[Session]| {
        assert_eq!(ids(rows), [ID], "{way}");
        assert_eq!(counts(&rows[0]), (4, 4, 0, 0), "{way}: {:#?}", rows[0].issues);
        assert_eq!(rows[0].title.as_deref(), Some("First"), "{way}");
        assert!(issue(&rows[0], "repaired_line") + issue(&rows[0], "damaged_line") >= 5, "{way}");
        assert_eq!(rows[0].status, Status::Idle, "{way}: a torn line is nobody's word");
    };
    let _daemon = host.both(good);
    append(&path, "}\n");
    host.follows("the torn line is whole", ID, |row| counts(row).0 == 5);
    let shown = host.run(&["sessions", "tail", ID, "--json"]);
    assert_eq!(shown.matches("\"prompt\"").count(), 5, "{shown}");
}

#[test]
fn a_line_written_byte_by_byte_counts_once() {
    let host = Host::new();
    let mut talk = Talk::new(ID);
    host.write(ID, &talk.turn("First"));
    let _daemon = host.daemon();
    let path = host.transcript(ID);
    for byte in jsonl(&[talk.prompt("Slow")]).as_bytes() {
        append(&path, [*byte]);
    }
    host.write(ID, &[talk.says("ok")]);
    host.follows("one more turn", ID, |row| counts(row) == (2, 2, 0, 0));
}

#[test]
fn depth_and_length_are_bounded() {
    let host = Host::new();
    let mut talk = Talk::new(ID);
    let path = host.transcript(ID);
    host.write(ID, &talk.turn("First"));
    let deep = 100_000;
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        append(&path, format!("{}1{}\n", open.repeat(deep), close.repeat(deep)));
        let record = talk.record("user", json!({"message": {"content": "DEEP"}})).to_string();
        let nested = format!("{}1{}", open.repeat(deep), close.repeat(deep));
        append(&path, record.replace("\"DEEP\"", &nested) + "\n");
    }
    // Longer than any line that is parsed; sparse, so it costs no disk.
    let file = fs::OpenOptions::new().append(true).open(&path).unwrap();
    let long = file.metadata().unwrap().len() + (64 << 20);
    file.set_len(long).unwrap();
    append(&path, "\n");
    host.write(ID, &talk.turn("After"));

    let rows = host.looked();
    assert_eq!(ids(&rows), [ID]);
    assert!(!rows[0].complete && rows[0].counts.is_none(), "one look reads head and tail");
    let daemon = host.daemon();
    let row = host.follows("everything is read", ID, |row| row.complete);
    assert_eq!(counts(&row), (2, 2, 0, 0));
    assert_eq!(issue(&row, "oversized_line"), 1, "{:#?}", row.issues);
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak < 110 << 10, "{peak} kB");
}

#[test]
fn a_long_torn_line_is_nothing_until_its_newline() {
    let host = Host::new();
    let mut talk = Talk::new(ID);
    host.write(ID, &talk.turn("First"));
    let _daemon = host.daemon();
    let text = "x".repeat(300 << 10);
    let line = jsonl(&[talk.prompt(&text)]);
    let (first, rest) = line.split_at(line.len() / 2);
    append(&host.transcript(ID), first);
    append(&host.transcript(ID), &rest[..rest.len() - 1]);
    host.write("other", &Talk::new("other").turn("Elsewhere"));
    host.follows("the daemon is past it", "other", |_| true);
    assert_eq!(counts(&host.follows("still torn", ID, |_| true)).0, 1);
    append(&host.transcript(ID), "\n");
    host.follows("whole", ID, |row| counts(row).0 == 2);
}

#[test]
fn records_from_the_future_happened_when_they_were_written() {
    let host = Host::new();
    let mut talk = Talk::new(ID);
    (talk.at, talk.version) = (-7_200, "2.0.0".to_owned());
    let mut records = talk.turn("Ahead").to_vec();
    records.push(talk.prompt("Go on"));
    host.write(ID, &records);
    let written = SystemTime::now() - Duration::from_secs(600);
    let written = written.duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    let at = UNIX_EPOCH + Duration::from_millis(written as u64);
    let file = fs::File::options().append(true).open(host.transcript(ID)).unwrap();
    file.set_modified(at).unwrap();
    let check = |way: &str, rows: &[Session]| {
        let row = &rows[0];
        for time in [row.last_activity_at, row.started_at, row.status_since] {
            assert_eq!(time.map(|at| at.as_millis()), Some(written), "{way}: {row:#?}");
        }
        assert_eq!((row.status, row.active), (Status::Idle, false), "{way}");
    };
    let daemon = host.both(check);
    check("once more", &host.followed());
    daemon.stop();
    let _daemon = host.daemon();
    check("after a restart", &host.followed());
    // It is written to now, by the same clock.
    append(&host.transcript(ID), jsonl(&talk.turn("Now")));
    let row = host.follows("goes on", ID, |row| counts(row) == (3, 2, 0, 0));
    let ago = Timestamp::parse(&ago(0)).unwrap().since(row.last_activity_at.unwrap());
    assert!((0..10_000).contains(&ago) && row.active, "{row:#?}");
}
