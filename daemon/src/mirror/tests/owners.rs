//! Several hosts, one stream in one bucket.

use super::*;

/// A host that mirrors the same session to the bucket of a scene.
struct Other {
    path: PathBuf,
    carrier: Carrier,
    stream: Stream,
    is_known: bool,
}

impl Other {
    fn of(scene: &Scene, node: &str) -> Self {
        let home = scene.home.path().join(node);
        fs::create_dir_all(&home).unwrap();
        let mut carrier = carrier(&home, node);
        carrier.target = Arc::clone(&scene.carrier.target);
        let stream = stream(&carrier);
        Self { path: home.join("s-1.jsonl"), carrier, stream, is_known: false }
    }

    /// Has these lines, in a file of another time than the one before.
    fn has(&self, lines: &[String]) {
        let staged = self.path.with_extension("staged");
        fs::write(&staged, lines.concat()).unwrap();
        fs::rename(staged, &self.path).unwrap();
    }

    async fn bring(&mut self) {
        let at = At::new(&key(), &self.path);
        let is_known = std::mem::replace(&mut self.is_known, true);
        self.carrier.bring(&mut self.stream, &at, &About::default(), is_known).await.unwrap();
    }
}

#[test]
fn whoever_has_an_older_copy_goes_on_once_it_has_all_of_it() {
    run(async {
        let mut scene = Scene::new().await;
        scene.append(&[0, 1]);
        scene.bring().await.unwrap();
        let mut other = Other::of(&scene, "node-b");
        other.has(&scene.lines[..1]);
        other.bring().await;
        assert_eq!(other.stream.state.theirs.as_deref(), Some("host of node-a"));
        // Its own copy goes on for a while, and nothing of that is taken.
        scene.append(&[2]);
        scene.bring().await.unwrap();
        other.has(&scene.lines[..2]);
        other.bring().await;
        assert_eq!(other.stream.state.theirs.as_deref(), Some("host of node-a"));
        // Then it is brought up to date, as a resume does, and goes on there.
        other.has(&scene.lines);
        scene.append(&[3]);
        other.has(&scene.lines);
        other.bring().await;
        assert_eq!(other.stream.state.theirs, None);
        scene.check().await;
    });
}
