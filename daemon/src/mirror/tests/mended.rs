//! What is not in the bucket any more, or was changed in the transcript without a trace at its end.

use super::*;
use crate::mirror::target::Kind;

/// The names of a stream's parts that lie in the bucket.
fn parts(scene: &Scene) -> Vec<PathBuf> {
    let directory = scene.home.path().join("bucket/sessions/claude-code/s-1");
    let mut parts: Vec<PathBuf> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("part-"))
        .collect();
    parts.sort();
    parts
}

#[test]
fn a_part_that_went_is_brought_again() {
    for gone in 0..4 {
        run(async {
            let mut scene = Scene::new().await;
            for number in 0..3 {
                scene.append(&[number]);
                scene.bring().await.unwrap();
            }
            // One of them, or all.
            for (at, part) in parts(&scene).into_iter().enumerate() {
                if gone == at || gone == 3 {
                    fs::remove_file(part).unwrap();
                }
            }
            scene.restart();
            scene.append(&[4]);
            scene.bring().await.unwrap();
            scene.check().await;
            // Once.
            let before = parts(&scene);
            scene.restart();
            scene.bring().await.unwrap();
            assert_eq!(parts(&scene), before);
        });
    }
}

#[test]
fn a_compaction_reads_no_more_than_it_knows_to_be_there() {
    run(async {
        let mut scene = Scene::new().await;
        for number in 1..4 {
            scene.append(&[number]);
            scene.bring().await.unwrap();
        }
        let part = parts(&scene).remove(1);
        let told = fs::metadata(&part).unwrap().len();
        // Somebody has put something large there: it is never in memory.
        fs::File::options().write(true).open(&part).unwrap().set_len(told + (64 << 20)).unwrap();
        let at = At::new(&key(), &scene.path());
        let now = Timestamp::from_millis(3_600_000);
        let about = About::default();
        let failed = scene.carrier.compact(&mut scene.stream, &at, &about, now).await.unwrap_err();
        let Failure::Bucket(fault) = &failed else { panic!("{failed}") };
        assert_eq!(fault.kind, Kind::TooLarge);
        assert!(failed.to_string().contains(&format!("no more than {told} are read")), "{failed}");
    });
}

/// As an editor does it that writes into the file, and as one does that writes another one.
#[test]
fn a_line_that_changed_in_the_middle_is_brought() {
    for in_place in [true, false] {
        run(async {
            let mut scene = Scene::new().await;
            scene.append(&[1; 40]);
            scene.append(&[2]);
            scene.append(&[1; 40]);
            scene.bring().await.unwrap();
            let other = line(3) + "\n";
            assert_eq!(other.len(), scene.lines[40].len());
            *scene.ever.entry(other.clone()).or_default() += 1;
            scene.lines[40] = other;
            if in_place {
                scene.write();
            } else {
                let staged = scene.home.path().join("staged");
                fs::write(&staged, scene.lines.concat()).unwrap();
                fs::rename(staged, scene.path()).unwrap();
                scene.append(&[4]);
            }
            scene.bring().await.unwrap();
            scene.check().await;
            // Only what is new went out, and a touch is no change.
            let before = parts(&scene);
            assert_eq!(before.len(), 2);
            let file = fs::File::options().append(true).open(scene.path()).unwrap();
            file.set_modified(std::time::SystemTime::now()).unwrap();
            scene.bring().await.unwrap();
            assert_eq!(parts(&scene), before);
        });
    }
}

#[test]
fn a_claim_that_was_made_twice_stands_in_nobodys_way() {
    let claimed = Cell::new(0);
    for steps in until_met(&claimed) {
        run(async {
            let mut scene = Scene::new().await;
            // Its first claim is planned, and forgotten.
            scene.bring().await.unwrap();
            scene.act(&Action::BackUp).await;
            scene.act(&Action::LoseOutbox).await;
            scene.append(&[1]);
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            scene.break_off(steps).await;
            let directory = fetch::directory(&scene.carrier.target, &name()).await.unwrap();
            claimed.set(
                claimed.get()
                    + i32::from(directory.parts.is_empty() && !directory.owners.is_empty()),
            );
            scene.act(&Action::PutBack).await;
            scene.bring().await.unwrap();
            scene.check().await;
        });
    }
    assert!(claimed.get() > 0, "it never broke off in between");
}

#[test]
fn what_lies_beside_a_delegate_is_told_and_stays() {
    run(async {
        let mut scene = Scene::new().await;
        scene.stream.name.agent = Some("a9".to_owned());
        let told = |scene: &Scene| {
            let directory = scene.home.path().join("bucket/sessions/claude-code/s-1");
            let told = fs::read(directory.join("subagents/agent-a9/stream.json")).unwrap();
            serde_json::from_slice::<serde_json::Value>(&told).unwrap()["delegate"].take()
        };
        let beside = scene.path().with_extension("meta.json");
        scene.append(&[1]);
        scene.bring().await.unwrap();
        assert!(told(&scene).is_null());
        // It comes late, and is rewritten when nothing comes any more.
        let about =
            |more: &str| format!(r#"{{"agentType":"Explore","description":"Use {TOKEN}"{more}}}"#);
        for more in ["", r#","finished":true"#] {
            fs::write(&beside, about(more)).unwrap();
            scene.bring().await.unwrap();
            let told = told(&scene);
            assert_eq!(told["agentType"], "Explore");
            assert_eq!(told["description"], "Use [REDACTED:github-token]");
            assert_eq!(told["finished"].as_bool(), (!more.is_empty()).then_some(true));
        }
        // Its harness deletes it, and what was told of it stays.
        fs::remove_file(&beside).unwrap();
        scene.append(&[2]);
        scene.bring().await.unwrap();
        assert_eq!(told(&scene)["finished"], true);
    });
}
