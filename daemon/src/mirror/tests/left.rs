//! Two daemons of one home: both find every record of one transcript.

use super::{owners::Other, *};

/// Another daemon that finds the transcript of the scene.
fn sharing(scene: &mut Scene) -> Other {
    scene.carrier.yields = true;
    let mut other = Other::of(scene, "node-b");
    other.path = scene.path();
    other.carrier.yields = true;
    other
}

fn claims(scene: &Scene) -> usize {
    let directory = scene.home.path().join("bucket/sessions/claude-code/s-1");
    let names = fs::read_dir(directory).unwrap().map(|file| file.unwrap().file_name());
    names.filter(|name| name.to_str().unwrap().starts_with("owner-")).count()
}

#[test]
fn who_finds_that_another_one_brings_it_leaves_it_to_that() {
    run(async {
        let mut scene = Scene::new().await;
        scene.append(&[0, 1]);
        scene.bring().await.unwrap();
        let mut other = sharing(&mut scene);
        other.bring().await;
        for number in 2..9 {
            scene.append(&[number, 0]);
            scene.bring().await.unwrap();
            // It may go on meanwhile.
            scene.append(&[number + 8, 0][..usize::from(number % 3)]);
            other.bring().await;
            let state = &other.stream.state;
            assert_eq!((state.theirs.is_some(), state.left, state.diverged), (true, true, None));
            // What is not there yet is looked for once more.
            assert_eq!(state.settled.is_some(), number % 3 == 0, "{number}");
        }
        assert_eq!(claims(&scene), 1);
        // Nothing came since: its owner is gone.
        assert_eq!(other.stream.state.settled, None);
        other.bring().await;
        assert_eq!((&other.stream.state.theirs, other.stream.state.left), (&None, false));
        scene.check().await;
        // It is back, and leaves it as well, also where somebody waits and it has nothing else.
        for yields in [true, false] {
            scene.append(&[6]);
            other.bring().await;
            scene.carrier.yields = yields;
            scene.bring().await.unwrap();
            assert!(scene.stream.state.left);
            scene.check().await;
        }
        assert_eq!(claims(&scene), 2);
        // Whoever waits for all to be there has it brought at once.
        scene.append(&[7]);
        scene.bring().await.unwrap();
        assert_eq!(scene.stream.state.theirs, None);
        scene.check().await;
        assert_eq!(claims(&scene), 3);
    });
}

#[test]
fn what_another_one_has_just_claimed_is_left_to_it_before_anything_is_there() {
    run(async {
        let mut scene = Scene::new().await;
        scene.append(&[0, 1]);
        scene.bring().await.unwrap();
        let directory = scene.home.path().join("bucket/sessions/claude-code/s-1");
        let put_aside = scene.home.path().join("aside");
        fs::create_dir(&put_aside).unwrap();
        let move_all = |from: &Path, to: &Path| {
            for file in fs::read_dir(from).unwrap().map(|file| file.unwrap()) {
                if file.file_name() != "owner-0001.json" {
                    fs::rename(file.path(), to.join(file.file_name())).unwrap();
                }
            }
        };
        // As if it were still on its way there.
        move_all(&directory, &put_aside);
        let mut other = sharing(&mut scene);
        other.bring().await;
        assert!(other.stream.state.left && other.stream.state.settled.is_none());
        move_all(&put_aside, &directory);
        other.bring().await;
        assert!(other.stream.state.left && other.stream.state.settled.is_some());
        scene.check().await;
        assert_eq!(claims(&scene), 1);
    });
}

#[test]
fn of_what_is_left_to_another_one_only_what_is_new_is_read() {
    run(async {
        let mut scene = Scene::new().await;
        scene.append(&[0, 1]);
        scene.bring().await.unwrap();
        let mut other = sharing(&mut scene);
        other.bring().await;
        let directory = scene.home.path().join("bucket/sessions/claude-code/s-1");
        let read = |other: &Other| other.carrier.outbox().parts(other.stream.id).unwrap();
        for file in fs::read_dir(&directory).unwrap().map(|file| file.unwrap().path()) {
            if file.file_name().unwrap() != "meta.json" {
                fs::write(file, "not what was read").unwrap();
            }
        }
        for parts in 2..5 {
            scene.append(&[0, 2]);
            scene.bring().await.unwrap();
            other.bring().await;
            assert_eq!((other.stream.state.left, read(&other).len()), (true, parts));
        }
        // What it has read is known as the source has it.
        let known: Vec<u64> = read(&other).into_iter().flat_map(|(part, _)| part.hashes).collect();
        let lines = scene.lines.iter().map(|line| rrd_core::hash(line.trim_end().as_bytes()));
        assert_eq!(known, lines.collect::<Vec<_>>());
    });
}

#[test]
fn what_its_owner_rewrites_is_left_to_it_as_well() {
    run(async {
        let mut scene = Scene::new().await;
        scene.append(&[0, 1, 2]);
        scene.bring().await.unwrap();
        let mut other = sharing(&mut scene);
        other.bring().await;
        for action in [Action::Truncate(2), Action::Rewrite(5), Action::Append(vec![3])] {
            scene.act(&action).await;
            scene.bring().await.unwrap();
            other.bring().await;
            assert!(other.stream.state.left, "{action:?}");
            scene.check().await;
        }
        scene.compact(0, u8::MAX).await;
        scene.append(&[4]);
        scene.bring().await.unwrap();
        other.bring().await;
        assert!(other.stream.state.left);
        scene.append(&[5]);
        other.bring().await;
        assert_eq!(other.stream.state.theirs, None);
        scene.check().await;
    });
}

#[test]
fn a_copy_is_gone_on_with_at_once() {
    for is_elsewhere in [true, false] {
        run(async {
            let mut scene = Scene::new().await;
            scene.append(&[0, 1]);
            scene.bring().await.unwrap();
            let mut other = Other::of(&scene, "node-b");
            other.carrier.yields = true;
            if !is_elsewhere {
                // Its project has the same name, and it had to be brought up to date first.
                let of_scene = scene.path().parent().unwrap().file_name().unwrap().to_owned();
                let project = other.path.parent().unwrap().with_file_name(of_scene);
                fs::create_dir_all(&project).unwrap();
                other.path = project.join("s-1.jsonl");
                other.has(&scene.lines[..1]);
                other.bring().await;
                let state = &other.stream.state;
                assert_eq!((state.theirs.is_some(), state.left), (true, false));
                scene.append(&[2]);
                scene.bring().await.unwrap();
            }
            scene.append(&[7]);
            other.has(&scene.lines);
            other.bring().await;
            assert_eq!((&other.stream.state.theirs, other.stream.state.left), (&None, false));
            scene.check().await;
        });
    }
}
