//! Parts of others that end within a line: records are counted in one way by whoever writes and by whoever reads.

use super::*;

/// Puts parts there as others do who know nothing of owners: this text, cut at these places.
fn put(scene: &Scene, text: &str, cuts: &[usize]) {
    let directory = scene.home.path().join("bucket/sessions/claude-code/s-1");
    fs::create_dir_all(&directory).unwrap();
    let ends = cuts[1..].iter().copied().chain([text.len()]);
    for (seq, (from, to)) in cuts.iter().zip(ends).enumerate() {
        fs::write(directory.join(format!("part-{seq:05}-0123abcd.jsonl")), &text[*from..to])
            .unwrap();
    }
}

async fn fetched(scene: &Scene) -> (String, bool) {
    let spool = tempfile::tempfile().unwrap();
    let mut fetched = fetch::fetch(&scene.carrier, &name(), spool).await.unwrap().unwrap();
    let mut transcript = Vec::new();
    fetched.write(None, &mut transcript).unwrap();
    (String::from_utf8(transcript).unwrap(), fetched.is_sound)
}

#[test]
fn a_record_that_was_cut_counts_once_wherever_it_was_cut() {
    let text: String = [1, 0, 2, 3].map(|number| line(number) + "\n").concat();
    let (first, secret) = (line(1).len(), text.find(TOKEN).unwrap() + 12);
    let cuts = [
        vec![0, 3],
        vec![0, first],
        vec![0, first + 1],
        vec![0, 3, 9, secret, text.len() - 1],
        vec![0, secret, secret + 3, text.len() - 5],
    ];
    // What nobody has uploaded yet is a line, the end of one, or only a newline.
    let ends = [text.len(), text.len() - 1, text.len() - 7, text.len() - line(3).len() - 1];
    for (cuts, end) in cuts.iter().flat_map(|cuts| ends.map(|end| (cuts, end))) {
        run(async {
            let mut scene = Scene::new().await;
            scene.append(&[1, 0, 2, 3]);
            let cuts: Vec<usize> = cuts.iter().copied().filter(|cut| *cut < end).collect();
            put(&scene, &text[..end], &cuts);
            let expected = |scene: &Scene| {
                scene.lines.iter().map(|line| scene.redacted(line)).collect::<String>()
            };
            scene.bring().await.unwrap();
            assert_eq!(fetched(&scene).await, (expected(&scene), true), "{cuts:?} of {end}");
            for action in [Action::Append(vec![4]), Action::Rewrite(5), Action::Append(vec![6])] {
                scene.act(&action).await;
                scene.bring().await.unwrap();
                assert_eq!(fetched(&scene).await, (expected(&scene), true), "{cuts:?} of {end}");
                scene.act(&Action::LoseOutbox).await;
            }
        });
    }
}

#[test]
fn of_what_cannot_be_followed_nothing_is_left_out() {
    run(async {
        let mut scene = Scene::new().await;
        scene.append(&[1, 2, 3]);
        scene.bring().await.unwrap();
        let mut claim = scene.carrier.outbox().epochs(scene.stream.id).unwrap()[0].claim.clone();
        (claim.first_seq, claim.why) = (1, Why::Rewritten);
        claim.order = Some(vec![Step::Keep(0, 1), Step::Keep(2, 4)]);
        let object = name().directory() + &Owner::name(2);
        let body = serde_json::to_vec(&claim).unwrap();
        scene.carrier.target.create(&object, &body.into()).await.unwrap();
        assert_eq!(fetched(&scene).await, (scene.lines.concat(), false));
    });
}
