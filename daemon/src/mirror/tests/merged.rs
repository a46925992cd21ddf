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
fn put(path: &Path, bytes: &[u8]) {
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

fn directory(scene: &Scene) -> PathBuf {
    scene.home.path().join("bucket/sessions/claude-code/s-1")
}

/// The names that begin so, in order.
fn objects(scene: &Scene, begins: &str) -> Vec<String> {
    let entries = fs::read_dir(directory(scene)).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.starts_with(begins)).collect();
    names.sort();
    names
}

/// Three parts, and what was made of them.
async fn compacted() -> (Scene, Vec<String>, PathBuf) {
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

async fn fetched(scene: &Scene) -> (String, Vec<MirrorTrouble>) {
    let spool = tempfile::tempfile().unwrap();
    let mut fetched = fetch::fetch(&scene.carrier, &name(), spool).await.unwrap().unwrap();
    let mut transcript = Vec::new();
    fetched.write(None, &mut transcript).unwrap();
    (String::from_utf8(transcript).unwrap(), fetched.troubles)
}

fn transcript(scene: &Scene) -> String {
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
