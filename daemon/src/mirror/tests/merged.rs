//! A part that was made of several, and what becomes of these when it is not what it was.

use rrd_proto::MirrorTrouble;

use super::*;

/// What becomes of an object.
const DAMAGE: [fn(&Path); 3] = [
    |part| fs::remove_file(part).unwrap(),
    |part| put(part, b""),
    |part| put(part, &fs::read(part).unwrap()[..9]),
];

/// A hard link may have the same bytes elsewhere.
pub(super) fn put(path: &Path, bytes: &[u8]) {
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

pub(super) fn directory(scene: &Scene) -> PathBuf {
    scene.home.path().join("bucket/sessions/claude-code/s-1")
}

/// The names that begin so, in order.
pub(super) fn objects(scene: &Scene, begins: &str) -> Vec<String> {
    let entries = fs::read_dir(directory(scene)).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.starts_with(begins)).collect();
    names.sort();
    names
}

/// Three parts, and what was made of them.
pub(super) async fn compacted() -> (Scene, Vec<String>, PathBuf) {
    let mut scene = Scene::new().await;
    for number in 0..3 {
        scene.append(&[number, 3]);
        scene.bring().await.unwrap();
    }
    let small = objects(&scene, "part-");
    scene.compact(0, u8::MAX).await;
    let made = objects(&scene, "part-").into_iter().find(|name| !small.contains(name)).unwrap();
    let made = directory(&scene).join(made);
    (scene, small, made)
}

pub(super) async fn fetched(scene: &Scene) -> (String, Vec<MirrorTrouble>) {
    let spool = tempfile::tempfile().unwrap();
    let mut fetched = fetch::fetch(&scene.carrier, &name(), spool).await.unwrap().unwrap();
    let mut transcript = Vec::new();
    fetched.write(None, &mut transcript).unwrap();
    (String::from_utf8(transcript).unwrap(), fetched.troubles)
}

pub(super) fn transcript(scene: &Scene) -> String {
    scene.lines.iter().map(|line| scene.redacted(line)).collect()
}

#[test]
fn what_a_damaged_part_was_made_of_is_read_in_its_place() {
    for damage in DAMAGE {
        run(async {
            let (mut scene, _, made) = compacted().await;
            scene.append(&[4]);
            scene.bring().await.unwrap();
            damage(&made);
            let (there, troubles) = fetched(&scene).await;
            assert_eq!(there, transcript(&scene));
            let is_told = |trouble: &MirrorTrouble| trouble.error.contains("read in its place");
            assert_eq!(troubles.iter().filter(|one| is_told(one)).count(), troubles.len());
            assert_eq!(troubles.len(), usize::from(made.exists()), "{troubles:?}");
            // Whoever goes on with it has read the same.
            let mut other = owners::Other::of(&scene, "node-b");
            other.has(&scene.lines);
            other.bring().await;
            assert_eq!(other.stream.state.theirs, None);
            assert_eq!(fetched(&scene).await.0, transcript(&scene));
        });
    }
}

/// As the daemon does it, once the hour is over.
async fn compact_later(scene: &mut Scene) -> Result<(), Failure> {
    scene.hours += 2;
    let at = At::new(&key(), &scene.path());
    let now = Timestamp::from_millis(scene.hours * 3_600_000);
    scene.carrier.compact(&mut scene.stream, &at, &About::default(), now).await
}

#[test]
fn what_stands_for_others_is_made_again_of_them_before_they_are_deleted() {
    for (damage, is_here) in DAMAGE.into_iter().flat_map(|damage| [(damage, true), (damage, false)])
    {
        run(async {
            let (mut scene, small, made) = compacted().await;
            let whole = fs::read(&made).unwrap();
            damage(&made);
            if !is_here {
                fs::remove_file(scene.path()).unwrap();
            }
            compact_later(&mut scene).await.unwrap();
            assert_eq!(fs::read(&made).unwrap(), whole);
            assert_eq!(objects(&scene, "part-").len(), small.len() + 1, "for one more hour");
            // Once that is over, too, they go.
            compact_later(&mut scene).await.unwrap();
            assert_eq!(objects(&scene, "part-").len(), 1);
            assert_eq!((objects(&scene, "merge-"), fs::read(&made).unwrap()), (vec![], whole));
            assert_eq!(fetched(&scene).await, (transcript(&scene), vec![]));
        });
    }
}

#[test]
fn what_nothing_whole_stands_for_is_not_deleted() {
    for is_here in [true, false] {
        run(async {
            let (mut scene, small, made) = compacted().await;
            put(&made, b"");
            put(&directory(&scene).join(&small[1]), b"");
            if !is_here {
                fs::remove_file(scene.path()).unwrap();
            }
            for _ in 0..2 {
                let done = compact_later(&mut scene).await;
                let why = done.map_err(|failure| failure.to_string());
                match is_here {
                    true => why.unwrap(),
                    false => assert!(why.unwrap_err().contains("none of these is deleted")),
                }
                for name in [&small[0], &small[2]] {
                    assert_ne!(fs::read(directory(&scene).join(name)).unwrap(), b"");
                }
                if is_here {
                    break;
                }
            }
            if is_here {
                // What its transcript still has is brought again.
                scene.bring().await.unwrap();
                compact_later(&mut scene).await.unwrap();
                compact_later(&mut scene).await.unwrap();
                assert_eq!(fetched(&scene).await.0, transcript(&scene));
            }
        });
    }
}
