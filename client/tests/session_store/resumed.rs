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
