//! Several hosts, one stream in one bucket.

use rrd_core::resume::Unsigned;

use super::*;

/// A host that mirrors the same session to the bucket of a scene.
pub(super) struct Other {
    pub(super) path: PathBuf,
    pub(super) carrier: Carrier,
    pub(super) stream: Stream,
    is_known: bool,
}

impl Other {
    pub(super) fn of(scene: &Scene, node: &str) -> Self {
        let home = scene.home.path().join(node);
        let project = home.join("project");
        fs::create_dir_all(&project).unwrap();
        let mut carrier = carrier(&home, node);
        carrier.target = Arc::clone(&scene.carrier.target);
        let stream = stream(&carrier);
        Self { path: project.join("s-1.jsonl"), carrier, stream, is_known: false }
    }

    /// Has these lines, in a file of another time than the one before.
    pub(super) fn has(&self, lines: &[String]) {
        let staged = self.path.with_extension("staged");
        fs::write(&staged, lines.concat()).unwrap();
        fs::rename(staged, &self.path).unwrap();
    }

    pub(super) async fn bring(&mut self) {
        let at = At::new(&key(), &self.path);
        let ask =
            if std::mem::replace(&mut self.is_known, true) { Ask::Claims } else { Ask::Names };
        self.carrier.bring(&mut self.stream, &at, &About::default(), ask).await.unwrap();
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

#[test]
fn the_later_owners_meta_stays_whoever_writes_late() {
    run(async {
        let mut scene = Scene::new().await;
        scene.append(&[1]);
        scene.bring().await.unwrap();
        let mut other = Other::of(&scene, "node-b");
        scene.append(&[2]);
        other.has(&scene.lines);
        other.bring().await;
        let meta = |scene: &Scene| {
            let path = scene.home.path().join("bucket/sessions/claude-code/s-1/meta.json");
            serde_json::from_slice::<Meta>(&fs::read(path).unwrap()).unwrap()
        };
        let written = |scene: &Scene| {
            let meta = meta(scene);
            (meta.node.unwrap_or_default(), meta.epoch, meta.parts.len())
        };
        assert_eq!(written(&scene), ("node-b".to_owned(), Some(2), 2));
        // The first one has not noticed, and was about to write.
        let at = At::new(&key(), &scene.path());
        scene.carrier.tell(&mut scene.stream, &at, &About::default()).await.unwrap();
        assert_eq!(written(&scene), ("node-b".to_owned(), Some(2), 2));
        // Whoever is the owner writes over anything.
        fs::write(scene.home.path().join("bucket/sessions/claude-code/s-1/meta.json"), "{")
            .unwrap();
        scene.append(&[3]);
        other.has(&scene.lines);
        other.bring().await;
        assert_eq!(written(&scene), ("node-b".to_owned(), Some(2), 3));
        fs::remove_file(scene.home.path().join("bucket/sessions/claude-code/s-1/meta.json"))
            .unwrap();
        scene.append(&[4]);
        other.has(&scene.lines);
        other.bring().await;
        assert_eq!(written(&scene), ("node-b".to_owned(), Some(2), 4));
    });
}

#[test]
fn copies_that_went_on_apart_are_told_from_older_ones() {
    run(async {
        let mut scene = Scene::new().await;
        scene.append(&[0, 1]);
        scene.bring().await.unwrap();
        let (mut older, mut other) = (Other::of(&scene, "node-b"), Other::of(&scene, "node-c"));
        older.has(&scene.lines[..1]);
        older.bring().await;
        assert_eq!(
            (older.stream.state.theirs.is_some(), older.stream.state.diverged),
            (true, None)
        );
        // At first sight.
        let apart = [&scene.lines[..1], &[line(7) + "\n"]].concat();
        other.has(&apart);
        other.bring().await;
        let since = other.stream.state.diverged.unwrap();
        // And since when stands, also when more comes.
        other.has(&[&apart[..], &[line(8) + "\n"]].concat());
        other.bring().await;
        assert_eq!(other.stream.state.diverged, Some(since));
        // Later, too.
        older.has(&apart);
        older.bring().await;
        assert!(older.stream.state.diverged.is_some());
        older.has(&scene.lines[..1]);
        older.bring().await;
        assert_eq!(older.stream.state.diverged, None);
        // Whoever has both is the one to go on.
        scene.append(&[7, 8]);
        other.has(&scene.lines);
        other.bring().await;
        assert_eq!((other.stream.state.theirs, other.stream.state.diverged), (None, None));
        scene.check().await;
    });
}

/// What a resume writes of what is there.
async fn as_resumed(scene: &Scene) -> Vec<String> {
    let (transcript, _) = scene.there().await;
    let mut unsigned = Unsigned::default();
    let kept = transcript.lines().filter_map(|line| {
        let line = unsigned.line(line.as_bytes())?.into_owned();
        Some(String::from_utf8(line).unwrap() + "\n")
    });
    kept.collect()
}

#[test]
fn a_copy_without_thinking_that_held_a_secret_is_gone_on_with() {
    run(async {
        let mut scene = Scene::new().await;
        let (text, secret) = ("so it is", format!("the token is {TOKEN}"));
        let lines = [
            thought("a", "p", "fine", text),
            thought("b", "a", &secret, text),
            thought("c", "b", &secret, ""),
            thought("d", "c", "fine", text),
        ];
        scene.lines.extend(lines);
        scene.write();
        scene.bring().await.unwrap();
        let resumed = as_resumed(&scene).await;
        assert_eq!(resumed.len(), 3);
        let mut hosts = [Other::of(&scene, "node-b"), Other::of(&scene, "node-c")];
        // The second one has known the stream for long, and has an older copy of it.
        hosts[1].has(&scene.lines[..1]);
        hosts[1].bring().await;
        assert!(hosts[1].stream.state.theirs.is_some());
        let mut copy = resumed;
        for (number, host) in (7..).zip(&mut hosts) {
            copy.push(line(number) + "\n");
            host.has(&copy);
            host.bring().await;
            assert_eq!((&host.stream.state.theirs, host.stream.state.diverged), (&None, None));
            assert_eq!(as_resumed(&scene).await, copy);
        }
        // Its first host sees that somebody went on with it, and that it has nothing else.
        scene.append(&[7]);
        scene.bring().await.unwrap();
        assert!(scene.stream.state.theirs.is_some());
    });
}

/// A record of Claude Code's that follows another one: signed thinking, and what stands behind it.
fn thought(uuid: &str, parent: &str, thinking: &str, text: &str) -> String {
    let text = match text {
        "" => String::new(),
        text => format!(r#",{{"type":"text","text":"{text}"}}"#),
    };
    format!(
        r#"{{"parentUuid":"{parent}","type":"assistant","uuid":"{uuid}","message":{{"content":[{{"type":"thinking","thinking":"{thinking}","signature":"s"}}{text}]}}}}"#
    ) + "\n"
}

#[test]
fn who_has_what_a_resumed_copy_was_made_of_goes_on_at_home() {
    for is_known in [true, false] {
        run(async {
            let mut scene = Scene::new().await;
            // The record behind the one that goes has a secret, too.
            let (secret, more) = (format!("the token is {TOKEN}"), format!("use {TOKEN}"));
            scene.lines.extend([
                thought("a", "p", "fine", "so it is"),
                thought("b", "a", &secret, ""),
                thought("c", "b", "fine", &more),
                thought("d", "c", "fine", "so it is"),
            ]);
            scene.write();
            scene.bring().await.unwrap();
            let mut copy = as_resumed(&scene).await;
            let mut other = Other::of(&scene, "node-b");
            copy.push(line(7) + "\n");
            other.has(&copy);
            other.bring().await;
            assert_eq!((copy.len(), as_resumed(&scene).await), (4, copy.clone()));
            // Its first host is told what came there, and has nothing else yet.
            scene.append(&[7]);
            if !is_known {
                scene.act(&Action::LoseOutbox).await;
            }
            scene.bring().await.unwrap();
            let state = &scene.stream.state;
            assert_eq!((state.theirs.is_some(), state.diverged), (true, None));
            // Then there and back, twice.
            for number in [3, 5] {
                let all = scene.there().await.1.len();
                scene.append(&[number]);
                scene.bring().await.unwrap();
                let state = &scene.stream.state;
                assert_eq!((&state.theirs, state.diverged), (&None, None));
                let redacted: String =
                    scene.lines.iter().map(|line| scene.redacted(line)).collect();
                assert_eq!(scene.there().await.0, redacted);
                copy.extend([line(number) + "\n", line(number + 1) + "\n"]);
                other.has(&copy);
                other.bring().await;
                let state = &other.stream.state;
                assert_eq!((&state.theirs, state.diverged), (&None, None));
                assert_eq!(scene.there().await.0, copy.concat());
                assert_eq!(scene.there().await.1.len(), all + 2, "each record once");
                scene.append(&[number + 1]);
            }
        });
    }
}

#[test]
fn a_redacted_copy_of_what_lies_in_a_raw_place_is_gone_on_with() {
    run(async {
        let mut scene = Scene::new().await;
        scene.carrier.redacts = false;
        let secret = format!("the token is {TOKEN}");
        scene.append(&[0, 1]);
        scene.lines.extend([thought("a", "p", &secret, ""), thought("b", "a", "fine", "")]);
        scene.append(&[0, 2]);
        scene.write();
        scene.bring().await.unwrap();
        let (there, all) = scene.there().await;
        assert_eq!((there, all.len()), (scene.lines.concat(), 6));
        // As a host gives it that gives nothing raw.
        let mut unsigned = Unsigned::default();
        let redacted: Vec<String> = scene.lines.iter().map(|line| scene.redacted(line)).collect();
        let mut copy: Vec<String> = Vec::new();
        for line in &redacted {
            let line = unsigned.line(line.trim_end().as_bytes());
            copy.extend(line.map(|line| String::from_utf8(line.into_owned()).unwrap() + "\n"));
        }
        assert_eq!((copy.len(), copy.concat().contains(TOKEN)), (5, false));
        let mut hosts = [Other::of(&scene, "node-b"), Other::of(&scene, "node-c")];
        // The second one has known the stream for long, and has an older copy of it.
        hosts[1].carrier.redacts = false;
        hosts[1].has(&scene.lines[..1]);
        hosts[1].bring().await;
        assert!(hosts[1].stream.state.theirs.is_some());
        for (number, host) in (7..).zip(&mut hosts) {
            host.carrier.redacts = false;
            copy.push(line(number) + "\n");
            host.has(&copy);
            host.bring().await;
            assert_eq!((&host.stream.state.theirs, host.stream.state.diverged), (&None, None));
        }
        // Its own, and two beyond it; the one that was made of another one is one by itself.
        let (_, all) = scene.there().await;
        assert_eq!(all.len(), 6 + 1 + 2, "{all:#?}");
        let last = all[all.len() - 2..].concat();
        assert_eq!(last, format!("{}\n{}\n", line(7), line(8)));
    });
}

#[test]
fn who_loses_the_race_for_a_stream_looks_anew_at_once() {
    // The other one has all of it, an older copy, or one that went on apart.
    for (lines, is_theirs, is_diverged) in
        [(&[0, 1][..], false, false), (&[0], true, false), (&[0, 7], true, true)]
    {
        run(async {
            let mut scene = Scene::new().await;
            scene.append(&[0, 1]);
            let mut other = Other::of(&scene, "node-b");
            let lines: Vec<String> = lines.iter().map(|number| line(*number) + "\n").collect();
            // Both have looked when there was nothing yet, and are about to claim it.
            other.has(&[]);
            other.bring().await;
            assert_eq!(other.stream.state.epoch, 1);
            scene.bring().await.unwrap();
            other.has(&lines);
            other.bring().await;
            let state = &other.stream.state;
            assert_eq!(
                (state.theirs.is_some(), state.diverged.is_some()),
                (is_theirs, is_diverged)
            );
            scene.check().await;
        });
    }
}

/// How a transcript became what it is: lines that go, and one that comes in their place.
const REWRITES: [(std::ops::Range<usize>, Option<u8>); 3] =
    [(2..4, None), (1..2, Some(5)), (0..0, None)];

#[test]
fn a_transcript_that_was_rewritten_is_gone_on_with_by_who_has_what_it_is_now() {
    for (gone, instead) in REWRITES {
        run(async {
            let mut scene = Scene::new().await;
            scene.append(&[1, 0, 3, 4]);
            scene.bring().await.unwrap();
            scene.lines.splice(gone, instead.map(|number| line(number) + "\n"));
            scene.write();
            scene.bring().await.unwrap();
            let mut copy = as_resumed(&scene).await;
            let mut hosts = [Other::of(&scene, "node-b"), Other::of(&scene, "node-c")];
            // The second one has known the stream for long, and has an older copy of it.
            hosts[1].has(&scene.lines[..1]);
            hosts[1].bring().await;
            assert!(hosts[1].stream.state.theirs.is_some());
            let before = scene.there().await.1.len();
            for (number, host) in (7..).zip(&mut hosts) {
                copy.push(line(number) + "\n");
                host.has(&copy);
                host.bring().await;
                assert_eq!((&host.stream.state.theirs, host.stream.state.diverged), (&None, None));
                assert_eq!(as_resumed(&scene).await, copy);
            }
            assert_eq!(scene.there().await.1.len(), before + 2, "each record once");
        });
    }
}

#[test]
fn a_copy_of_what_was_taken_out_of_a_transcript_does_not_bring_that_back() {
    run(async {
        let mut scene = Scene::new().await;
        scene.append(&[1, 2, 3, 4]);
        scene.bring().await.unwrap();
        let mut other = Other::of(&scene, "node-b");
        let older = scene.lines[..3].to_vec();
        scene.act(&Action::Truncate(2)).await;
        scene.bring().await.unwrap();
        other.has(&older);
        other.bring().await;
        let state = &other.stream.state;
        assert!(state.theirs.is_some() && state.diverged.is_none());
        other.has(&older);
        other.bring().await;
        assert!(other.stream.state.theirs.is_some());
        scene.check().await;
        // Where it went on, that is nowhere else.
        other.has(&[&older[..], &[line(7) + "\n"]].concat());
        other.bring().await;
        assert_eq!((&other.stream.state.theirs, other.stream.state.diverged), (&None, None));
        assert_eq!(as_resumed(&scene).await, [&older[..], &[line(7) + "\n"]].concat());
    });
}

#[test]
fn a_copy_of_this_host_that_writes_under_its_name_is_told() {
    run(async {
        let mut scene = Scene::new().await;
        scene.append(&[1]);
        scene.bring().await.unwrap();
        // On another machine, with all that says who this one is.
        let mut twin = Other::of(&scene, "node-a");
        twin.has(&[&scene.lines[..], &[line(7) + "\n"]].concat());
        twin.bring().await;
        let claimed = |carrier: &Carrier| carrier.twins.claimed(now());
        assert_eq!(claimed(&twin.carrier), [""; 0], "it may have been its own");
        scene.append(&[2]);
        scene.bring().await.unwrap();
        assert_eq!(claimed(&scene.carrier), [name().directory()]);
        // A start, and that with nothing of what was known, tell of no other.
        for action in [Action::Restart, Action::LoseOutbox] {
            scene.act(&action).await;
            scene.append(&[3]);
            scene.bring().await.unwrap();
            assert_eq!(claimed(&scene.carrier), [""; 0]);
        }
    });
}
