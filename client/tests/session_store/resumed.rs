//! What programs stored, resumed by a person in the harness itself.

use super::*;

#[test]
fn a_stored_session_is_resumed_where_its_harness_looks() {
    let store = Store::new("mac");
    let cwd = store.host.path("estuary");
    fs::create_dir(&cwd).unwrap();
    let cwd = cwd.canonicalize().unwrap();
    let there = |entries: Vec<Value>| -> Vec<Value> {
        let mut entries = entries;
        entries.iter_mut().for_each(|entry| entry["cwd"] = cwd.to_str().unwrap().into());
        entries
    };
    store.append(ENTRIES, &there(turn(1, "Chart the estuary")));
    let about = json!({"type": "agent_metadata", "agentType": "Explore", "description": "Sound"});
    let later = json!({"type": "agent_metadata", "agentType": "Explore", "description": "Sounded"});
    let said = there(of_delegate(turn(2, "Sound the channel")));
    let below = format!("{ENTRIES}&subpath=subagents/agent-a1b2c3d4");
    store.append(&below, &[vec![about], said.clone(), vec![later]].concat());
    store.row(|row| row.session_id == "a1b2c3d4");
    let stored = || {
        let mut all = everything(&store.folder());
        all.retain(|(path, _)| path.extension().is_some_and(|end| end == "jsonl"));
        all
    };
    let before = stored();
    let letter = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let folder: String = cwd.to_str().unwrap().chars().map(letter).collect();
    let folder = store.host.path(&format!(".claude/projects/{folder}"));
    let read = |path: PathBuf| fs::read_to_string(path).unwrap_or_default();
    let lines = |entries: &[Value]| -> String {
        entries.iter().map(|entry| format!("{entry}\n")).collect()
    };

    // Another one with its past leaves both the store and the harness's own as they are.
    let fork: Value = store.host.json(&["resume", ID, "--fork"]);
    let new = fork["resumed_as"].as_str().unwrap().to_owned();
    assert_eq!(fork["command"], json!(["claude", "--resume", new]));
    assert!(read(folder.join(format!("{new}.jsonl"))).contains("Chart the estuary"));
    assert!(!folder.join(format!("{ID}.jsonl")).exists());
    let of_fork: Vec<_> = fs::read_dir(folder.join(&new).join("subagents")).unwrap().collect();
    assert_eq!(of_fork.len(), 2, "{of_fork:?}");

    let (line, said_of_it) = store.host.told(&["resume", ID]);
    assert_eq!(line, format!("cd {} && claude --resume {ID}\n", cwd.display()), "{said_of_it}");
    assert!(read(folder.join(format!("{ID}.jsonl"))).contains("Chart the estuary"));
    // As the SDK itself lays it out for its harness.
    let delegate = folder.join(ID).join("subagents/agent-a1b2c3d4.jsonl");
    assert_eq!(read(delegate.clone()), lines(&said));
    let beside: Value = serde_json::from_str(&read(delegate.with_extension("meta.json"))).unwrap();
    assert_eq!(beside, json!({"agentType": "Explore", "description": "Sounded"}));
    assert_eq!(stored(), before);

    // Again, and with what the harness went on with: that is used.
    let (line, _) = store.host.told(&["resume", ID]);
    assert!(line.ends_with(&format!("claude --resume {ID}\n")), "{line}");
    let rows: Vec<Session> = store.host.json(&["sessions", "list", "--all"]);
    assert_eq!(rows.iter().filter(|row| row.session_id == ID).count(), 1);
    // A program went on with it there: that comes, too, although the harness writes other lines besides.
    let own = folder.join(format!("{ID}.jsonl"));
    fs::write(&own, read(own.clone()) + "{\"type\":\"mode\"}\n").unwrap();
    store.append(ENTRIES, &there(turn(3, "And back")));
    store.row(|row| row.session_id == ID && row.counts.as_ref().is_some_and(|c| c.prompts == 2));
    store.host.told(&["resume", ID]);
    let text = read(own);
    assert!(text.contains("\"mode\"") && text.contains("And back"), "{text}");
    assert_eq!(text.matches("To Chart the estuary").count(), 1, "{text}");
}

#[test]
fn what_a_program_loads_out_of_a_bucket_is_known_to_have_been_where_it_was() {
    let [desk, lap] = ["desk", "lap"].map(Store::new);
    let url = |store: &Store, name: &str| format!("file://{}", store.host.path(name).display());
    let shared = url(&desk, "bucket");
    let at = |store: &Store, name: &str, remote: &str| {
        let clone = store.host.path(name);
        fs::create_dir_all(clone.join(".git")).unwrap();
        fs::write(clone.join(".git/HEAD"), "ref: refs/heads/main\n").unwrap();
        fs::write(clone.join(".git/config"), format!("[remote \"origin\"]\nurl = {remote}\n"))
            .unwrap();
        clone.canonicalize().unwrap()
    };
    let there = |mut entries: Vec<Value>, cwd: &Path| {
        entries.iter_mut().for_each(|entry| entry["cwd"] = cwd.to_str().unwrap().into());
        entries
    };
    let (secret, open) =
        (at(&desk, "secret", "git@h:acme/secret.git"), at(&desk, "open", "git@h:a/open.git"));
    let public = at(&lap, "public", "git@h:acme/public.git");
    let other = ENTRIES.replace(ID, OTHER);
    desk.append(ENTRIES, &there(turn(1, "Chart the estuary"), &secret));
    desk.append(&other, &there(turn(2, "Chart the coast"), &open));
    desk.row(|row| row.session_id == OTHER);
    desk.host.run(&["mirror", "enable", &shared, "--project", "mine"]);
    desk.host.run(&["mirror", "run"]);
    fs::remove_dir_all(&secret).unwrap();
    fs::remove_dir_all(&open).unwrap();
    lap.host.run(&["mirror", "enable", &shared, "--project", "mine"]);
    lap.host.run(&["mirror", "enable", &url(&lap, "own"), "--exclude-repo", "secret"]);
    for (entries, number) in [(ENTRIES, 3), (&*other, 4)] {
        assert_eq!(lap.get(entries).entries().len(), 2);
        lap.append(entries, &there(turn(number, "And back"), &public));
    }
    // As the Agent SDK forks what it loaded.
    let fork = |of: &str, to: &str, number: u64| {
        let mut entries = there(turn(number, "And on"), &public);
        entries.iter_mut().for_each(|entry| {
            entry["sessionId"] = to.into();
            entry["forkedFrom"] = json!({"sessionId": of, "messageUuid": "u"});
        });
        lap.append(&ENTRIES.replace(ID, to), &entries);
        lap.row(|row| row.session_id == to);
    };
    let forks = [7, 8].map(|number| format!("0dd95a2a-43a5-4d86-b88b-6ee3a9a2ba{number}0"));
    fork(ID, &forks[0], 5);
    fork(OTHER, &forks[1], 6);
    lap.row(|row| row.session_id == ID && row.counts.as_ref().is_some_and(|c| c.prompts == 2));
    lap.host.run(&["mirror", "run"]);
    let is_there = |id: &str| lap.host.path(&format!("own/rrd/sessions/claude-code/{id}")).exists();
    let all = [ID, OTHER, &forks[0], &forks[1]].map(is_there);
    assert_eq!(all, [false, true, false, true]);
    let places: Vec<MirrorStatus> = lap.host.json(&["mirror", "status"]);
    assert_eq!(places.iter().map(|place| place.held).sum::<u64>(), 0, "{places:?}");
}

const OTHER: &str = "0dd95a2a-43a5-4d86-b88b-6ee3a9a2ba90";
