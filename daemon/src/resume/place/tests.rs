//! Sessions put into made-up homes.

use std::io::Write as _;

use rrd_core::redact::Redactor;
use rrd_proto::copy::{CopyFile, CopyPage};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::{coming::MOST_GROWTH, *};

const ID: &str = "01a1f88d-5e35-7ca1-835f-bf472c0191ac";
const NEW: &str = "11111111-2222-4333-8444-555555555555";

/// A home with a folder beside it that is nobody's business.
fn home() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("home/.claude")).unwrap();
    fs::create_dir_all(dir.path().join("home/.codex")).unwrap();
    dir
}

fn place(dir: &TempDir, layout: Layout, new: &str) -> Place {
    let name = if layout == Layout::Codex { ".codex" } else { ".claude" };
    let homes = [dir.path().join("home").join(name)];
    Place::find(layout, (ID, new), &homes, Path::new("/w/x")).unwrap()
}

fn announced(files: &[(&str, &[u8])]) -> Vec<CopyFile> {
    let file = |(name, bytes): &(&str, &[u8])| CopyFile {
        name: (*name).to_owned(),
        bytes: bytes.len() as u64,
        ..CopyFile::default()
    };
    files.iter().map(file).collect()
}

fn page(file: u32, bytes: &[u8], is_last: bool) -> CopyPage {
    let sha256 = Some(Sha256::digest(bytes).to_vec().into());
    CopyPage { file, bytes: bytes.to_vec().into(), sha256, is_last, sent: 0 }
}

fn put(place: Place, files: &[(&str, &[u8])], may_replace: bool) -> Result<Vec<Placed>, No> {
    let mut coming = Coming::begin(place, false, &announced(files))?;
    for (at, (_, bytes)) in files.iter().enumerate() {
        let is_last = at + 1 == files.len();
        assert_eq!(coming.take(&page(at as u32, bytes, is_last))?, is_last);
    }
    coming.put(may_replace, Redactor::default)
}

fn every_file(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for path in entries(folder) {
        match path.is_dir() {
            true => found.extend(every_file(&path)),
            false => found.push(path.display().to_string()),
        }
    }
    found
}

#[test]
fn a_host_that_names_other_files_writes_none() {
    let dir = home();
    let main = format!("{ID}.jsonl");
    let hostile = |name: String| vec![(name, b"x".to_vec()), (main.clone(), b"x".to_vec())];
    let mut cases = vec![
        vec![],
        vec![(format!("{ID}/subagents/agent-a.jsonl"), b"x".to_vec())],
        hostile(main.clone()),
    ];
    for name in [
        "../../evil".to_owned(),
        "/etc/evil".to_owned(),
        format!("../{ID}.jsonl"),
        format!("{ID}/subagents/../../../agent-evil.jsonl"),
        format!("{ID}/subagents/x/../../agent-evil.jsonl"),
        format!("{ID}/settings.json"),
        "settings.json".to_owned(),
        r"..\..\evil.jsonl".to_owned(),
    ] {
        cases.push(hostile(name));
    }
    for files in cases {
        let files: Vec<(&str, &[u8])> = files.iter().map(|(n, b)| (&**n, &b[..])).collect();
        let no = put(place(&dir, Layout::ClaudeCode, ID), &files, true).unwrap_err();
        assert!(no.why.contains("no such session has"), "{files:?}: {no:?}");
        assert_eq!(every_file(dir.path()), [""; 0], "{files:?}");
    }
}

#[test]
fn what_is_not_as_announced_is_put_nowhere() {
    let dir = home();
    let name = format!("{ID}.jsonl");
    let announced = announced(&[(&name, b"abc")]);
    let of = |page: CopyPage| {
        let mut coming =
            Coming::begin(place(&dir, Layout::ClaudeCode, ID), false, &announced).unwrap();
        coming.take(&page).map(|_| ())
    };
    assert_eq!(of(page(0, b"abc", true)), Ok(()));
    let other_hash = CopyPage { sha256: page(0, b"x", true).sha256, ..page(0, b"abc", true) };
    let no_end = CopyPage { sha256: None, ..page(0, b"abc", true) };
    for page in
        [page(1, b"abc", true), page(0, b"ab", true), page(0, b"abcd", true), other_hash, no_end]
    {
        assert!(of(page.clone()).unwrap_err().why.starts_with("its host sends"), "{page:?}");
    }
    assert_eq!(every_file(dir.path()), [""; 0], "nothing is left of the way");
}

#[test]
fn files_of_this_host_are_taken_as_pages_are() {
    let (dir, copied) = (home(), tempfile::tempdir().unwrap());
    let agent = format!("{ID}/subagents/agent-a1.jsonl");
    let name = format!("{ID}.jsonl");
    let long = "{}\n".repeat(CHUNK);
    let files = [(&*agent, &b""[..]), (&*name, long.as_bytes())];
    for (at, (_, bytes)) in files.iter().enumerate() {
        fs::write(copied.path().join(at.to_string()), bytes).unwrap();
    }
    let begin = |files: &[(&str, &[u8])]| {
        Coming::begin(place(&dir, Layout::ClaudeCode, ID), false, &announced(files)).unwrap()
    };
    for other in [b"{}\n".as_slice(), &long.as_bytes()[3..], &[long.as_bytes(), b"x"].concat()] {
        let no = begin(&[files[0], (&*name, other)]).take_all(copied.path()).unwrap_err();
        assert!(no.why.starts_with("its host sends"), "{no:?}");
    }
    let mut coming = begin(&files);
    coming.take_all(copied.path()).unwrap();
    for (placed, (_, bytes)) in coming.put(false, Redactor::default).unwrap().iter().zip(files) {
        assert_eq!(fs::read(&placed.path).unwrap(), bytes);
    }
}

#[test]
fn the_same_twice_at_one_moment_is_there_once() {
    let (dir, name) = (home(), format!("{ID}.jsonl"));
    let target = dir.path().join(format!("home/.claude/projects/-w-x/{name}"));
    for (other, is_same) in [(&b"a\n"[..], true), (b"b\n", false)] {
        let come = || {
            let place = place(&dir, Layout::ClaudeCode, ID);
            let mut coming = Coming::begin(place, false, &announced(&[(&name, b"a\n")])).unwrap();
            coming.take(&page(0, b"a\n", true)).unwrap();
            coming
        };
        let placed = come().put_after(false, Redactor::default, || {
            fs::create_dir_all(target.parent().unwrap()).unwrap();
            fs::write(&target, other).unwrap();
        });
        assert_eq!(placed.is_ok_and(|placed| placed[0].became == Became::Same), is_same);
        assert_eq!(fs::read(&target).unwrap(), other);
        fs::remove_file(&target).unwrap();
    }
}

#[test]
fn a_file_is_replaced_by_one_that_goes_on_from_it_and_by_nothing_else() {
    let name = format!("{ID}.jsonl");
    for (there, comes, may, became) in [
        ("a\nb\n", "a\nb\n", false, Ok(Became::Same)),
        ("a\nb\n", "a\n", true, Ok(Became::NewerHere)),
        ("a\n", "a\nb\n", true, Ok(Became::Replaced)),
        ("", "a\n", true, Ok(Became::Replaced)),
        ("a\n", "a\nb\n", false, Err("may be in use")),
        ("a\nc\n", "a\nb\n", true, Err("says something else")),
    ] {
        let dir = home();
        // Where it went on before, whatever directory it is resumed in.
        let target = dir.path().join(format!("home/.claude/projects/-other/{name}"));
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::write(&target, there).unwrap();
        let came = put(place(&dir, Layout::ClaudeCode, ID), &[(&name, comes.as_bytes())], may);
        let stays = if came.as_ref().is_ok_and(|p| p[0].became == Became::Replaced) {
            comes
        } else {
            there
        };
        match (came, became) {
            (Ok(placed), Ok(became)) => assert_eq!(placed[0].became, became, "{there:?}"),
            (Err(no), Err(why)) => assert!(no.why.contains(why), "{no:?}"),
            (came, became) => panic!("{came:?} for {became:?}"),
        }
        assert_eq!(fs::read_to_string(&target).unwrap(), stays);
        assert_eq!(every_file(dir.path()).len(), 1);
    }
}

#[test]
fn what_comes_home_redacted_goes_on_from_what_is_here() {
    let secret = format!("{}_{}", "ghp", "Ab3dEf6hIj9kLm2nOp5qRs8tUv1wXy4zAb7c");
    let says = |uuid: &str, parent: &str, content: &str| {
        format!(
            "{{\"type\":\"assistant\",\"uuid\":\"{uuid}\",\"parentUuid\":\"{parent}\",\"message\":{{\"content\":[{content}]}}}}\n"
        )
    };
    let text = |text: &str| format!("{{\"type\":\"text\",\"text\":\"{text}\"}}");
    let thinks =
        format!("{{\"type\":\"thinking\",\"thinking\":\"is it {secret}?\",\"signature\":\"s\"}}");
    let (first, last) = (says("1", "0", &text(&secret)), says("3", "2", &text("done")));
    let here = [&*first, &says("2", "1", &thinks), &last].concat();
    let lines = |all: &str| -> String {
        let mut unsigned = rrd_core::resume::Unsigned::default();
        let line = |line: &str| {
            let mut report = rrd_core::redact::Report::default();
            let line = Redactor::default().line(line.as_bytes(), &mut report).into_inner();
            let line = unsigned.line(&line)?.into_owned();
            Some(String::from_utf8(line).unwrap() + "\n")
        };
        all.lines().filter_map(line).collect()
    };
    let copy = lines(&here);
    assert!(!copy.contains(&secret) && copy.lines().count() == 2, "{copy}");
    let (new, other) =
        (says("4", "3", &text("elsewhere")), says("6", "3", &text("something else")));
    let name = format!("{ID}.jsonl");
    for (there, comes, may, became) in [
        (here.clone(), copy.clone() + &new, true, Ok(Became::Continued)),
        (here.clone(), copy.clone() + &new, false, Err("may be in use")),
        (here.clone(), copy.clone(), true, Ok(Became::NewerHere)),
        (here.clone() + &new, copy.clone(), true, Ok(Became::NewerHere)),
        // Something else was said here, or there, or it is being written.
        (here.clone() + &new, copy.clone() + &last, true, Err("says something else")),
        (here.replace("done", "gone"), copy.clone() + &new, true, Err("says something else")),
        (here.clone() + "{", copy.clone() + &new, true, Err("says something else")),
        (here.clone(), lines(&last) + &copy + &new, true, Err("says something else")),
        // What is here is the copy, and its host has gone on; or here it went on, too.
        (copy.clone(), here.clone() + &new, true, Ok(Became::Continued)),
        (copy.clone(), here.clone() + &new, false, Err("may be in use")),
        (copy.clone(), here.clone(), true, Ok(Became::NewerHere)),
        (copy.clone() + &new, here.clone(), true, Ok(Became::NewerHere)),
        (copy.clone() + &other, here.clone() + &new, true, Err("says something else")),
        (copy.replace("done", "gone"), here.clone() + &new, true, Err("says something else")),
        (copy.clone() + "{", here.clone() + &new, true, Err("says something else")),
        // Some of either is secret, and the other one lacks it.
        (
            copy.clone() + &says("5", "3", &text(&secret)),
            here.clone() + &lines(&says("5", "3", &text(&secret))) + &new,
            true,
            Ok(Became::Continued),
        ),
    ] {
        let dir = home();
        let target = dir.path().join(format!("home/.claude/projects/-w-x/{name}"));
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::write(&target, &there).unwrap();
        let came = put(place(&dir, Layout::ClaudeCode, ID), &[(&name, comes.as_bytes())], may);
        match (&came, became) {
            (Ok(placed), Ok(became)) => assert_eq!(placed[0].became, became),
            (Err(no), Err(why)) => assert!(no.why.contains(why), "{no:?}"),
            (came, became) => panic!("{came:?} for {became:?}"),
        }
        let is_continued = came.is_ok_and(|placed| placed[0].became == Became::Continued);
        let new = &comes[comes.rfind("{\"type\":\"assistant\",\"uuid\":\"4\"").unwrap_or(0)..];
        let stays = if is_continued { there + new } else { there };
        assert_eq!(fs::read_to_string(&target).unwrap(), stays);
        assert_eq!(every_file(dir.path()).len(), 1);
    }
}

#[cfg(unix)]
#[test]
fn no_link_leads_out_of_a_home() {
    use std::os::unix::fs::symlink;
    let name = format!("{ID}.jsonl");
    // A link where its directory, and where its file belongs.
    for (link, to) in
        [("projects/-w-x", "outside"), (&*format!("projects/-w-x/{name}"), "outside/f")]
    {
        let dir = home();
        fs::create_dir(dir.path().join("outside")).unwrap();
        let link = dir.path().join("home/.claude").join(link);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        symlink(dir.path().join(to), &link).unwrap();
        let no = put(place(&dir, Layout::ClaudeCode, ID), &[(&name, b"x")], true).unwrap_err();
        assert!(no.why.contains("cannot be written"), "{no:?}");
        assert_eq!(every_file(&dir.path().join("outside")), [""; 0]);
    }
}

#[test]
fn a_fork_is_copied_record_by_record() {
    let dir = home();
    let name = format!("rollout-2026-11-20T10-42-56-{ID}.jsonl");
    let line =
        |id: &str| format!("{{\"type\":\"session_meta\",\"payload\":{{\"id\":\"{id}\"}}}}\n");
    let torn = format!("{}{{\"torn", line(ID));
    let placed = put(place(&dir, Layout::Codex, NEW), &[(&name, torn.as_bytes())], true).unwrap();
    let target = format!("sessions/2026/11/20/rollout-2026-11-20T10-42-56-{NEW}.jsonl");
    assert!(placed[0].path.ends_with(&target), "{placed:?}");
    assert_eq!(fs::read_to_string(&placed[0].path).unwrap(), line(NEW));
    // It is found again by its id, wherever it is.
    assert!(place(&dir, Layout::Codex, NEW).existing.is_some());
    assert!(place(&dir, Layout::Codex, ID).existing.is_none());
}

#[test]
fn a_compressed_file_is_bounded() {
    let dir = home();
    let name = format!("rollout-2026-11-20T10-42-56-{ID}.jsonl");
    let packed = zstd::encode_all(&b"x\n".repeat(1_000)[..], 3).unwrap();
    let mut files = announced(&[(&name, &packed)]);
    files[0].zstd = true;
    let mut coming = Coming::begin(place(&dir, Layout::Codex, ID), false, &files).unwrap();
    assert!(coming.take(&page(0, &packed, true)).unwrap());
    let placed = coming.put(false, Redactor::default).unwrap();
    assert_eq!(fs::read(&placed[0].path).unwrap(), b"x\n".repeat(1_000));
    // A few kilobytes that would become gigabytes.
    let (least, _) = MOST_GROWTH;
    let mut bomb = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
    let zeros = vec![0; 1 << 20];
    for _ in 0..(least >> 20) + 64 {
        bomb.write_all(&zeros).unwrap();
    }
    let bomb = bomb.finish().unwrap();
    let mut files = announced(&[(&name.replace(ID, NEW), &bomb)]);
    files[0].zstd = true;
    let homes = [dir.path().join("home/.codex")];
    let place = Place::find(Layout::Codex, (NEW, NEW), &homes, Path::new("/w")).unwrap();
    let mut coming = Coming::begin(place, false, &files).unwrap();
    let took = coming.take(&page(0, &bomb, true));
    assert!(took.unwrap_err().why.contains("more than it said"));
}
