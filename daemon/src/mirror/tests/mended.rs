//! What is not in the bucket any more, or was changed in the transcript without a trace at its end.

use super::*;

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
