//! What another host resumed from a place, without what a secret went with, comes home and goes on there.

use super::{copied::secret, *};

/// Records of one turn, each of which follows the one before: a prompt, thinking with a secret, and the answer.
fn records(id: &str) -> Vec<Value> {
    let thinking = serde_json::json!([{"type": "thinking", "signature": "c2lnbmVk",
        "thinking": format!("the key is {}", secret())}]);
    vec![
        record(id, 0, "user", serde_json::json!("first")),
        record(id, 1, "assistant", thinking),
        record(id, 2, "assistant", serde_json::json!([{"type": "text", "text": "One"}])),
        record(id, 3, "user", serde_json::json!("second")),
        record(id, 4, "assistant", serde_json::json!([{"type": "text", "text": "Two"}])),
    ]
}

fn record(id: &str, number: usize, role: &str, content: Value) -> Value {
    let mut message = serde_json::json!({"role": role, "content": content});
    if role == "assistant" {
        let more = serde_json::json!({"id": format!("m{number}"), "model": "opus",
            "stop_reason": "end_turn"});
        message.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    }
    let parent = number.checked_sub(1).map(|before| format!("u{before}"));
    serde_json::json!({"parentUuid": parent, "uuid": format!("u{number}"), "type": role,
        "isSidechain": false, "userType": "external", "cwd": "/w", "sessionId": id,
        "version": "2.1.329", "timestamp": format!("2026-11-20T10:0{number}:00.000Z"),
        "message": message})
}

/// It goes on with a turn, and that is brought.
fn goes_on(host: &Host, place: &Host, path: &Path, id: &str, number: usize) {
    let says = format!("it is {} who says it", host.name());
    let mut file = fs::File::options().append(true).open(path).unwrap();
    for (number, role) in [(number, "user"), (number + 1, "assistant")] {
        let content = serde_json::json!([{"type": "text", "text": says}]);
        writeln!(file, "{}", record(id, number, role, content)).unwrap();
    }
    host.covered(id, "it to be there", is_there);
    let records = place.brought(id).1;
    assert!(records.last().is_some_and(|last| last.contains(&says)), "{records:#?}");
}

#[test]
fn what_was_done_at_home_after_a_redacted_resume_elsewhere_is_brought() {
    let (mut alpha, mut beta) = (Host::new("alpha"), Host::new("beta"));
    let id = session(1);
    records(&id).iter().for_each(|record| alpha.writes(&id, record));
    alpha.start();
    alpha.mirrors();
    alpha.covered(&id, "it to be there", is_there);
    alpha.stop();
    let place = format!("file://{}", alpha.path("bucket").display());
    let directories = [&alpha, &beta].map(|host| {
        let directory = host.path("src");
        fs::create_dir_all(&directory).unwrap();
        directory.canonicalize().unwrap()
    });
    let [of_alpha, of_beta] = directories.each_ref().map(|of| of.to_str().unwrap());
    beta.start();
    beta.run(&["mirror", "enable", &place]);
    let from = ["resume", &*id, "--from", "bucket", "--take-over", "--cwd", of_beta];
    let answer: Value = beta.json(&from);
    let copy = PathBuf::from(answer["files"][0]["path"].as_str().unwrap());
    assert!(!fs::read_to_string(&copy).unwrap().contains("signature"));
    goes_on(&beta, &alpha, &copy, &id, 5);
    beta.stop();

    alpha.start();
    let home = ["resume", &*id, "--cwd", of_alpha];
    let said = alpha.refuses(&home);
    assert!(said.contains("2 records that are not here"), "{said}");
    alpha.run(&[&home[..], &["--take-over"]].concat());
    let own = alpha.transcript(&id);
    assert_eq!(fs::read_to_string(&own).unwrap().matches(&secret()).count(), 1);
    goes_on(&alpha, &alpha, &own, &id, 7);
    assert!(alpha.verified().0, "{}", alpha.verified().1);
    let (_, said) = alpha.told(&home);
    assert!(!said.contains("went on"), "{said}");

    // It is told there, taken from there, and comes home once more.
    beta.start();
    let there = ["resume", &*id, "--cwd", of_beta];
    let said = beta.refuses(&there);
    assert!(said.contains("alpha went on with it"), "{said}");
    beta.run(&[&there[..], &["--take-over"]].concat());
    goes_on(&beta, &alpha, &copy, &id, 9);
    alpha.run(&[&home[..], &["--take-over"]].concat());
    goes_on(&alpha, &alpha, &own, &id, 11);
}
