//! Sequences that went wrong once, each as short as it could be made.

use std::{fs, io::Write};

use crate::{
    Action::{self, Recreate, Replace, Rewrite, Stop, Sync, Write as Append},
    Torture,
    record::Author,
    rollout,
    transcript::Transcript,
};

fn run(actions: &[Action]) {
    Torture::new("auto").run(actions).unwrap();
}

#[test]
fn rewritten_again_what_the_first_rewriting_brought_is_not_new() {
    run(&[Append(2, 2), Replace(2, 1), Sync, Replace(2, 0)]);
    run(&[
        Append(0, 2),
        Sync,
        Rewrite(0, 0),
        Sync,
        Rewrite(0, 1),
        Sync,
        Rewrite(0, 2),
        Stop,
        Recreate(0),
    ]);
}

#[test]
fn a_copy_that_was_half_read_before_a_restart_goes_on_as_a_copy() {
    let mut torture = Torture::new("auto");
    torture.transcripts[0].write(6);
    torture.sync().unwrap();
    let original = fs::read(&torture.transcripts[0].path).unwrap();
    let copy = torture.root().join(".claude/projects/-copy/aaaa-1.jsonl");
    fs::create_dir_all(copy.parent().unwrap()).unwrap();
    let half = original.len() / 2;
    fs::write(&copy, &original[..half]).unwrap();
    // Read for certain, because what follows it has been.
    torture.transcripts[1].write(1);
    torture.sync().unwrap();
    torture.stop();
    torture.sync().unwrap();
    fs::OpenOptions::new().append(true).open(&copy).unwrap().write_all(&original[half..]).unwrap();
    torture.stop();
    torture.run(&[Append(0, 1)]).unwrap();
}

#[test]
fn a_moved_file_and_a_new_one_at_its_old_place_are_two() {
    let mut torture = Torture::new("auto");
    for round in 0..10 {
        torture.transcripts[0].write(1);
        torture.sync().unwrap();
        let author =
            Author { session: format!("moved-{round}"), ..torture.transcripts[0].author.clone() };
        let path = torture.transcripts[0].path.with_file_name(format!("moved-{round}.jsonl"));
        let bytes = fs::read(&torture.transcripts[0].path).unwrap();
        fs::rename(&torture.transcripts[0].path, &path).unwrap();
        fs::write(&torture.transcripts[0].path, &bytes).unwrap();
        let mut moved = Transcript::new(author, path);
        moved.is_a_copy_of(&torture.transcripts[0]);
        torture.transcripts.push(moved);
        torture.sync().unwrap();
    }
}

#[test]
fn with_nothing_to_say_what_changed_the_hot_are_looked_at() {
    let mut torture = Torture::new("off");
    torture.transcripts[0].write(2);
    torture.transcripts[2].write(1);
    // The next sweep is a minute away.
    torture.run(&[Append(0, 1), Sync, Append(2, 2), Action::Tear(0, 7), Sync]).unwrap();
}

#[test]
fn a_file_that_comes_and_goes_is_followed_when_it_stays() {
    let mut torture = Torture::new("auto");
    torture.daemon();
    torture.transcripts[0].write(1);
    torture.sync().unwrap();
    let path = torture.transcripts[1].path.clone();
    torture.transcripts[1].write(2);
    let bytes = fs::read(&path).unwrap();
    for _ in 0..500 {
        fs::remove_file(&path).unwrap();
        fs::write(&path, &bytes).unwrap();
    }
    torture.run(&[Append(1, 2), Sync]).unwrap();
}

#[test]
fn a_file_that_cannot_be_read_does_not_take_its_session_along() {
    let mut torture = Torture::new("auto");
    torture.transcripts[2].write(5);
    torture.sync().unwrap();
    torture.stop();
    // Compressed by somebody who was interrupted: it begins well.
    let whole = zstd(&fs::read(&torture.transcripts[2].path).unwrap());
    let compressed = rollout(torture.root(), 4).with_extension("jsonl.zst");
    fs::write(&compressed, &whole[..whole.len() / 2]).unwrap();
    torture.transcripts[2].write(3);
    torture.daemon();
    torture.transcripts[2].write(3);
    torture.transcripts[0].write(1);
    fs::remove_file(&compressed).unwrap();
    torture.run(&[Append(2, 1)]).unwrap();
}

#[test]
fn a_long_torn_line_that_is_cut_off_does_not_hide_what_follows() {
    let mut torture = Torture::new("auto");
    for t in [0, 1] {
        if t == 1 {
            torture.transcripts[1].write(1);
        }
        torture.transcripts[t].tear(0);
        torture.transcripts[t].append(&vec![b'y'; 200_000]);
        torture.sync().unwrap();
        // The look for the torn part has been when the other one is known.
        torture.transcripts[2].write(1);
        torture.sync().unwrap();
        torture.transcripts[t].rewrite(3);
        torture.sync().unwrap();
    }
}

#[test]
fn a_rollout_under_a_strange_name_is_the_session_it_says() {
    let mut torture = Torture::new("auto");
    torture.transcripts[2].write(4);
    torture.sync().unwrap();
    let copy = rollout(torture.root(), 3)
        .with_file_name("rollout-2026-11-21T10-00-00-01a1f88d-0000-7ca1-835f-bf472c0191ac.jsonl");
    fs::create_dir_all(copy.parent().unwrap()).unwrap();
    fs::copy(&torture.transcripts[2].path, &copy).unwrap();
    torture.transcripts[2].write(1);
    torture.transcripts[0].write(1);
    torture.sync().unwrap();
    torture.run(&[Append(2, 1), Sync, Stop, Append(2, 1)]).unwrap();
}

#[test]
fn a_backlog_ends_with_its_daemon() {
    let mut torture = Torture::new("auto");
    torture.transcripts[0].write(1);
    for _ in 0..40 {
        torture.transcripts[0].write_long(20, 12_000);
    }
    for _ in 0..6 {
        torture.daemon();
        torture.stop();
    }
    torture.run(&[Append(0, 1)]).unwrap();
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(bytes, 0).unwrap()
}

#[test]
fn a_record_recovered_from_a_damaged_line_may_come_again_undamaged() {
    for t in [0, 2] {
        let mut torture = Torture::new("auto");
        torture.transcripts[t].write(1);
        torture.transcripts[t].tear(40);
        torture.transcripts[t].write(1);
        torture.sync().unwrap();
        torture.transcripts[t].mend();
        torture.run(&[Append(t, 1)]).unwrap();
    }
}
