//! Claims, and what says what a part was made of, that are torn or gone.

use super::{
    merged::{compacted, directory, fetched, objects, put, transcript},
    *,
};

/// Torn, empty, and gone.
const DAMAGE: [fn(&Path); 3] =
    [|path| put(path, b"{\""), |path| put(path, b""), |path| fs::remove_file(path).unwrap()];

/// What is told of a read, by object.
fn told(troubles: &[rrd_proto::MirrorTrouble]) -> Vec<&str> {
    troubles.iter().map(|trouble| trouble.stream.as_str()).collect()
}

#[test]
fn a_torn_claim_hides_nothing_and_its_host_writes_it_again() {
    for damage in DAMAGE {
        run(async {
            let mut scene = Scene::new().await;
            for number in 0..3 {
                scene.append(&[number]);
                scene.bring().await.unwrap();
            }
            let claim = directory(&scene).join("owner-0001.json");
            let said = fs::read(&claim).unwrap();
            damage(&claim);
            let (there, troubles) = fetched(&scene).await;
            assert_eq!(there, transcript(&scene));
            let torn = if claim.exists() { vec!["owner-0001.json"] } else { vec![] };
            assert_eq!(told(&troubles), torn);
            // As verify asks for it, and as a start does.
            for is_start in [true, false] {
                if claim.exists() {
                    damage(&claim);
                }
                if is_start {
                    scene.restart();
                    scene.append(&[4]);
                    scene.bring().await.unwrap();
                } else {
                    let (_, again) = scene.carrier.healed(&scene.stream).await.unwrap();
                    assert!(again[0].starts_with("owner-0001.json "), "{again:?}");
                }
                assert_eq!(fs::read(&claim).unwrap(), said);
                scene.check().await;
            }
        });
    }
}

#[test]
fn of_a_claim_that_meta_json_does_not_tell_the_next_step_is_said() {
    run(async {
        let mut scene = Scene::new().await;
        scene.append(&[1]);
        scene.bring().await.unwrap();
        put(&directory(&scene).join("owner-0001.json"), b"");
        put(&directory(&scene).join("meta.json"), b"{");
        let spool = tempfile::tempfile().unwrap();
        let failed = fetch::fetch(&scene.carrier, &name(), spool).await.unwrap_err().to_string();
        assert!(failed.contains("rrd mirror verify on the host that wrote it"), "{failed}");
        assert!(failed.contains("delete it there"), "{failed}");
        let claim = directory(&scene).join("owner-0001.json");
        fs::remove_file(&claim).unwrap();
        assert_eq!(fetched(&scene).await.0, transcript(&scene));
        put(&directory(&scene).join("meta.json"), b"{");
        fs::write(&claim, "").unwrap();
        scene.carrier.healed(&scene.stream).await.unwrap();
        scene.check().await;
    });
}

#[test]
fn in_what_order_records_were_is_not_made_up() {
    run(async {
        let mut scene = Scene::new().await;
        scene.append(&[1, 2, 3]);
        scene.bring().await.unwrap();
        scene.act(&Action::Rewrite(4)).await;
        scene.bring().await.unwrap();
        scene.check().await;
        let claim = directory(&scene).join("owner-0002.json");
        put(&claim, b"{");
        let spool = tempfile::tempfile().unwrap();
        let fetched = fetch::fetch(&scene.carrier, &name(), spool).await.unwrap().unwrap();
        assert!(!fetched.is_sound);
        assert_eq!(fetched.records(), (4, 4));
        // Nor does another host go on with it so.
        let mut other = owners::Other::of(&scene, "node-b");
        other.has(&scene.lines);
        let at = At::new(&key(), &other.path);
        let about = About::default();
        let failed = other.carrier.bring(&mut other.stream, &at, &about, Ask::Names).await;
        assert!(failed.unwrap_err().to_string().contains("owner-0002.json cannot be read"));
        assert_eq!(fs::read(&claim).unwrap(), b"{");
        scene.carrier.healed(&scene.stream).await.unwrap();
        scene.check().await;
    });
}

#[test]
fn who_goes_on_with_it_writes_again_what_its_parts_prove() {
    run(async {
        let mut scene = Scene::new().await;
        scene.append(&[1, 2]);
        scene.bring().await.unwrap();
        let claim = directory(&scene).join("owner-0001.json");
        put(&claim, b"");
        let mut other = owners::Other::of(&scene, "node-b");
        scene.append(&[3]);
        other.has(&scene.lines);
        other.bring().await;
        assert_eq!(other.stream.state.theirs, None);
        let said: rrd_core::mirror::Claim =
            serde_json::from_slice(&fs::read(&claim).unwrap()).unwrap();
        assert_eq!((&*said.node, &*said.host, said.first_seq), ("node-a", "host of node-a", 0));
        assert_eq!(fetched(&scene).await, (transcript(&scene), vec![]));
    });
}

#[test]
fn a_merge_that_is_torn_or_gone_shows_nothing_twice() {
    for damage in DAMAGE {
        run(async {
            let (scene, _, _) = compacted().await;
            let merge = directory(&scene).join(&objects(&scene, "merge-")[0]);
            let said = fs::read(&merge).unwrap();
            damage(&merge);
            let (there, troubles) = fetched(&scene).await;
            assert_eq!((there, troubles.len()), (transcript(&scene), usize::from(merge.exists())));
            let (_, again) = scene.carrier.healed(&scene.stream).await.unwrap();
            assert!(again[0].starts_with("merge-00000-"), "{again:?}");
            let is_same = |one: &[u8], other: &[u8]| {
                let of = |body| serde_json::from_slice::<rrd_core::mirror::Merge>(body).unwrap().of;
                of(one) == of(other)
            };
            assert!(is_same(&fs::read(&merge).unwrap(), &said));
            scene.check().await;
        });
    }
}

#[test]
fn what_meta_json_tells_of_and_is_not_there_is_told() {
    for gone in 0..3 {
        run(async {
            let mut scene = Scene::new().await;
            for number in 0..3 {
                scene.append(&[number]);
                scene.bring().await.unwrap();
            }
            let part = objects(&scene, "part-").remove(gone);
            fs::remove_file(directory(&scene).join(&part)).unwrap();
            let (_, troubles) = fetched(&scene).await;
            assert_eq!(told(&troubles), [&part]);
            assert!(troubles[0].error.contains("with 1 record"), "{troubles:?}");
            // Once it is brought again nothing is.
            scene.restart();
            scene.bring().await.unwrap();
            scene.check().await;
        });
    }
}

#[test]
fn what_became_fewer_parts_behind_the_back_of_who_tells_is_not_missing() {
    run(async {
        let (mut scene, small, _) = compacted().await;
        // Whoever told this had not noticed.
        let meta = directory(&scene).join("meta.json");
        let mut told: serde_json::Value =
            serde_json::from_slice(&fs::read(&meta).unwrap()).unwrap();
        let parts: Vec<serde_json::Value> = small
            .iter()
            .map(|name| {
                let (seq, tag) = (name[5..10].parse::<u32>().unwrap(), &name[11..19]);
                serde_json::json!({"seq": seq, "uuid": tag, "epoch": 1, "records": 2})
            })
            .collect();
        told["parts"] = parts.into();
        scene.compact(2, u8::MAX).await;
        assert_eq!(objects(&scene, "part-").len(), 1);
        put(&meta, told.to_string().as_bytes());
        assert_eq!(fetched(&scene).await, (transcript(&scene), vec![]));
    });
}
