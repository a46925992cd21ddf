//! A copy of what a place has, as a resume writes it here: none of that is brought a second time.

use super::*;

/// In no file as it is.
pub(super) fn secret() -> String {
    format!("{}_{}", "ghp", "16C7e42F292c6912E7710c838347Ae178B4a")
}

impl Host {
    /// What the place has of it: how many epochs, and every record.
    pub(super) fn brought(&self, id: &str) -> (usize, Vec<String>) {
        let folder = self.path(&format!("bucket/rrd/sessions/claude-code/{id}"));
        let mut names: Vec<PathBuf> =
            fs::read_dir(folder).unwrap().map(|one| one.unwrap().path()).collect();
        names.sort();
        let of = |begins: &str| {
            let is =
                |path: &&PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with(begins);
            names.iter().filter(is).collect::<Vec<_>>()
        };
        let text: String =
            of("part-").iter().map(|part| fs::read_to_string(part).unwrap()).collect();
        (of("owner-").len(), text.lines().map(str::to_owned).collect())
    }
}

#[test]
fn a_copy_without_its_secrets_is_not_brought_again() {
    let mut host = Host::new("mac");
    let id = session(1);
    let path = host.transcript(&id);
    for (at, text) in ["Use KEY", "and go on", "with KEY"].into_iter().enumerate() {
        let message =
            serde_json::json!({"role": "user", "content": text.replace("KEY", &secret())});
        let record = serde_json::json!({"type": "user", "uuid": format!("u{at}"),
            "parentUuid": null, "sessionId": id, "cwd": "/w", "isSidechain": false,
            "promptSource": "typed", "version": "2.1.300",
            "timestamp": "2026-11-20T10:00:00.000Z", "message": message});
        host.writes(&id, &record);
    }
    let cwd = host.path("src");
    fs::create_dir_all(&cwd).unwrap();
    let raw = fs::read(&path).unwrap();
    host.start();
    host.mirrors();
    host.covered(&id, "it to be there", is_there);
    let (epochs, records) = host.brought(&id);
    assert_eq!((epochs, records.len()), (1, 3));
    assert!(!records.iter().any(|record| record.contains(&secret())), "{records:?}");
    fs::remove_file(&path).unwrap();
    host.until("the deletion to be noted down", || {
        let row: Session = host.json(&["sessions", "show", &id]);
        if row.issues.is_empty() { Err(format!("{row:?}")) } else { Ok(()) }
    });
    let to = ["--from", "bucket", "--take-over", "--cwd", cwd.to_str().unwrap()];
    host.run(&[&["resume", &id], &to[..]].concat());
    let folders = fs::read_dir(host.path(".claude/projects")).unwrap();
    let copies = folders.map(|folder| folder.unwrap().path().join(format!("{id}.jsonl")));
    let copy = copies.into_iter().find(|copy| copy.exists()).unwrap();
    assert!(!fs::read_to_string(&copy).unwrap().contains(&secret()));
    // Once it is looked at, it goes on: then all of it was.
    let goes_on = |text: &str, count: usize| {
        let mut file = fs::OpenOptions::new().append(true).open(&copy).unwrap();
        let line = String::from_utf8(raw.clone()).unwrap();
        let line = line.lines().nth(1).unwrap().replace("and go on", text);
        writeln!(file, "{}", line.replacen("\"uuid\":\"", &format!("\"uuid\":\"{count}"), 1))
            .unwrap();
        host.until("it to be there", || {
            host.run(&["mirror", "run"]);
            let (epochs, now) = host.brought(&id);
            let is = now.last().is_some_and(|last| last.contains(text));
            if is { Ok(()) } else { Err(format!("{epochs}, {now:?}")) }
        });
        let (epochs, now) = host.brought(&id);
        assert_eq!((epochs, now.len()), (1, count), "{now:?}");
        assert_eq!(now[..3], records[..], "nothing is there twice");
    };
    host.run(&["mirror", "run"]);
    assert_eq!(host.brought(&id), (1, records.clone()));
    goes_on("further", 4);
    // What it was, from elsewhere, with what came since.
    let since = fs::read_to_string(&copy).unwrap();
    let since = since.lines().nth(3).unwrap().to_owned() + "\n";
    fs::write(&copy, [&raw, since.as_bytes()].concat()).unwrap();
    host.run(&["mirror", "run"]);
    goes_on("anew", 5);
    assert!(host.verified().0, "{}", host.verified().1);
}
