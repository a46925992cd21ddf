//! One home, two daemons: of a container and its host, say. One of them brings what is written there.

use super::*;

#[test]
fn two_daemons_of_one_home_do_not_bring_it_by_turns() {
    let (mut host, mut container) = (Host::new("mac"), Host::new("container"));
    let home = host.path(".claude");
    container.set("CLAUDE_CONFIG_DIR", home.to_str().unwrap());
    let id = session(1);
    works(&host, &id, 0);
    let place = format!("file://{}", host.path("bucket").display());
    host.start();
    host.run(&["mirror", "enable", &place]);
    host.covered(&id, "it to be there", is_there);
    container.start();
    container.run(&["mirror", "enable", &place]);
    container.until("it to be left to the other one", || {
        let row: Session = container.json(&["sessions", "show", &id]);
        let is_elsewhere = |it: &Coverage| it.state == CoverageState::Elsewhere;
        if row.coverage.iter().any(is_elsewhere) { Ok(()) } else { Err(format!("{row:?}")) }
    });
    for turn in 1..8 {
        works(&host, &id, turn);
        all_is_there(&host, &id);
    }
    let claims = host.brought(&id).0;
    assert_eq!(claims, 1);
    assert!(host.verified().0, "{}", host.verified().1);
    // Its first daemon is gone: the other one goes on, at once where somebody waits for that.
    host.stop();
    works(&host, &id, 9);
    container.covered(&id, "all of it to be there", is_there);
    all_is_there(&host, &id);
    assert!(host.brought(&id).0 <= claims + 1);
}

/// A turn that is done.
fn works(host: &Host, id: &str, turn: usize) {
    host.says(id, &format!("And then {turn}"));
    host.writes(
        id,
        &serde_json::json!({"type": "assistant", "uuid": format!("a{turn}"),
        "parentUuid": null, "sessionId": id, "cwd": "/w", "isSidechain": false,
        "version": "2.1.300", "timestamp": "2026-11-20T10:00:00.000Z", "message": {"role":
        "assistant", "id": format!("m{turn}"), "model": "opus", "stop_reason": "end_turn",
        "content": [{"type": "text", "text": "Done"}]}}),
    );
}

/// Each record once.
fn all_is_there(host: &Host, id: &str) {
    let own = fs::read_to_string(host.transcript(id)).unwrap();
    let own: Vec<&str> = own.lines().collect();
    host.until("all of it to be there", || {
        let records = host.brought(id).1;
        if records == own { Ok(()) } else { Err(format!("{records:#?}")) }
    });
}
