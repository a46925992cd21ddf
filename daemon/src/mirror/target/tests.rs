//! Of places, whichever kind they are: what is the same for a folder and for a bucket. `opening` is of addresses
//! and credentials, `faults` of a line on which things go wrong.
//!
//! Buckets are moto's; where that is not installed, the tests that want it say so and pass.
#![allow(clippy::unwrap_used)] // the lint's exception for tests does not reach plain functions here

mod faults;
#[path = "../../../tests/bucket/moto.rs"]
mod moto;
mod opening;
#[path = "../../../tests/bucket/proxy.rs"]
mod proxy;

use std::{
    collections::HashMap, ffi::OsString, fs, net::SocketAddr, path::Path, sync::Arc, time::Duration,
};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, future::join_all, stream};

use super::{Ability, Access, Created, Kind, Replaced, Target, TargetError, wire::Patience};
use crate::dirs::Dirs;

/// What no text of rrd's may contain.
pub(super) const KEY: &str = "AKIATESTOFTHEMIRROR";
pub(super) const SECRET: &str = "qZ7-not-to-be-seen-anywhere";

/// A home of its own, with an environment.
pub(super) struct Home {
    pub(super) dir: tempfile::TempDir,
    pub(super) vars: HashMap<&'static str, String>,
}

impl Home {
    pub(super) fn new(vars: &[(&'static str, &str)]) -> Self {
        let vars = vars.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        Self { dir: tempfile::tempdir().unwrap(), vars }
    }

    /// With credentials for moto, which takes any.
    pub(super) fn with_keys() -> Self {
        Self::new(&[("AWS_ACCESS_KEY_ID", KEY), ("AWS_SECRET_ACCESS_KEY", SECRET)])
    }

    fn env(&self, name: &str) -> Option<OsString> {
        match name {
            "RRD_HOME" | "HOME" => Some(self.dir.path().as_os_str().to_owned()),
            _ => self.vars.get(name).map(OsString::from),
        }
    }

    pub(super) fn dirs(&self) -> Dirs {
        Dirs::resolve(&|name| self.env(name)).unwrap()
    }

    pub(super) fn open(&self, url: &str, access: &Access) -> Result<Target, TargetError> {
        Target::open(url, access, &|name| self.env(name), &self.dirs())
    }

    /// A bucket of moto's, or of the line to it.
    pub(super) fn bucket(&self, at: SocketAddr, url: &str) -> Target {
        self.patient_bucket(at, url, Patience::default())
    }

    /// The same for whoever does not wait for half a minute.
    pub(super) fn hasty_bucket(&self, at: SocketAddr, url: &str) -> Target {
        let (silence, slowest) = (Duration::from_secs(1), 1 << 20);
        self.patient_bucket(at, url, Patience { silence, slowest, ..Patience::default() })
    }

    pub(super) fn patient_bucket(&self, at: SocketAddr, url: &str, patience: Patience) -> Target {
        let access = Access { endpoint: Some(format!("http://{at}")), ..Access::default() };
        let env = |name: &str| self.env(name);
        Target::open_patient(url, &access, &env, &self.dirs(), patience).unwrap()
    }
}

fn folder_in(home: &Home) -> Target {
    home.open(&file_url(&home.dir.path().join("mirror")), &Access::default()).unwrap()
}

fn file_url(path: &Path) -> String {
    let path = path.to_str().unwrap().replace('\\', "/");
    format!("file:///{}", path.trim_start_matches('/'))
}

/// A folder, and a bucket if there is one, each empty and probed.
async fn places(home: &Home, bucket: &str) -> (Vec<Target>, Option<Arc<moto::Moto>>) {
    let mut places = vec![folder_in(home)];
    let moto = moto::moto();
    if let Some(moto) = &moto {
        moto.make_bucket(bucket);
        places.push(home.bucket(moto.address, &format!("s3://{bucket}/in/here")));
    }
    for place in &places {
        place.make().await.unwrap();
        let ability = place.probe().await.unwrap();
        assert_eq!(ability, Ability { create_only: true, if_match: true }, "{place:?}");
        assert_eq!(place.list("").await.unwrap(), [], "what probed is gone");
    }
    (places, moto)
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

async fn read(place: &Target, name: &str) -> Option<String> {
    let (bytes, _) = place.get(name, 1 << 20).await.unwrap()?;
    Some(String::from_utf8(bytes.to_vec()).unwrap())
}

async fn names(place: &Target, prefix: &str) -> Vec<String> {
    place.list(prefix).await.unwrap().into_iter().map(|object| object.name).collect()
}

#[tokio::test]
async fn an_object_is_created_once_and_never_written_over() {
    let home = Home::with_keys();
    for place in places(&home, "created-once").await.0 {
        let (name, ours) = ("p/sessions/part-00001-0a.jsonl", bytes("ours\n"));
        assert_eq!(place.head(name).await.unwrap(), None);
        assert_eq!(place.get(name, 9).await.unwrap(), None);
        let Created::Now(version) = place.create(name, &ours).await.unwrap() else { panic!() };
        let again = place.create(name, &ours).await.unwrap();
        assert_eq!(again, Created::WasThere(version.clone()), "{place:?}");
        for other in ["other\n", "OURS\n", ""] {
            assert_eq!(place.create(name, &bytes(other)).await.unwrap(), Created::Other);
        }
        assert_eq!(read(&place, name).await.as_deref(), Some("ours\n"));
        let head = place.head(name).await.unwrap().unwrap();
        assert_eq!((head.size, &head.version), (5, &version));
        let age = head.modified.elapsed().unwrap_or_default();
        assert!(age < Duration::from_secs(600), "{age:?}");
        let listed = place.list("p/sessions").await.unwrap();
        assert_eq!(listed.len(), 1);
        assert_eq!((listed[0].name.as_str(), listed[0].size), (name, 5));
        // Read no further than was asked for.
        let fault = place.get(name, 4).await.unwrap_err();
        assert_eq!(fault.kind, Kind::TooLarge, "{fault}");
        // Empty is a content like any other.
        assert!(matches!(place.create("p/none", &Bytes::new()).await.unwrap(), Created::Now(_)));
        assert_eq!(read(&place, "p/none").await.as_deref(), Some(""));
        place.delete(name).await.unwrap();
        place.delete(name).await.unwrap();
        assert_eq!(names(&place, "").await, ["p/none"]);
    }
}

#[tokio::test]
async fn what_changed_is_not_replaced() {
    let home = Home::with_keys();
    for place in places(&home, "not-replaced").await.0 {
        let name = "p/meta.json";
        let first = place.replace(name, &bytes("1"), None).await.unwrap();
        let Replaced::Done(first) = first else { panic!() };
        let second = place.replace(name, &bytes("2"), Some(&first)).await.unwrap();
        let Replaced::Done(second) = second else { panic!() };
        assert_ne!(first, second);
        assert_eq!(
            place.replace(name, &bytes("3"), Some(&first)).await.unwrap(),
            Replaced::Changed
        );
        assert_eq!(read(&place, name).await.as_deref(), Some("2"));
        // An attempt whose answer was lost is asked for again, with the version of before.
        let again = place.replace(name, &bytes("2"), Some(&first)).await.unwrap();
        assert_eq!(again, Replaced::Done(second.clone()), "{place:?}");
        let (_, version) = place.get(name, 9).await.unwrap().unwrap();
        assert_eq!(version, second);
        place.delete(name).await.unwrap();
        let gone = place.replace(name, &bytes("4"), Some(&second)).await.unwrap();
        assert_eq!(gone, Replaced::Changed);
        assert_eq!(read(&place, name).await, None, "what is gone stays gone");
    }
}

#[tokio::test]
async fn of_two_that_create_or_replace_at_once_one_wins() {
    let home = Home::with_keys();
    for place in places(&home, "one-wins").await.0 {
        for round in 0..20 {
            let name = format!("r/{round}");
            let bodies: Vec<Bytes> = (0..4).map(|n| bytes(&format!("by {n}"))).collect();
            let racing = join_all(bodies.iter().map(|body| place.create(&name, body))).await;
            let won: Vec<usize> =
                (0..4).filter(|n| matches!(racing[*n], Ok(Created::Now(_)))).collect();
            assert_eq!(won.len(), 1, "{place:?}: {racing:?}");
            let others = racing.iter().filter(|created| matches!(created, Ok(Created::Other)));
            assert_eq!(others.count(), 3, "{place:?}: {racing:?}");
            assert_eq!(read(&place, &name).await.unwrap(), format!("by {}", won[0]));

            let version = place.head(&name).await.unwrap().unwrap().version;
            let bodies: Vec<Bytes> = (0..4).map(|n| bytes(&format!("then {n}"))).collect();
            let racing = bodies.iter().map(|body| place.replace(&name, body, Some(&version)));
            let racing = join_all(racing).await;
            let won: Vec<usize> =
                (0..4).filter(|n| matches!(racing[*n], Ok(Replaced::Done(_)))).collect();
            assert_eq!(won.len(), 1, "{place:?}: {racing:?}");
            assert_eq!(read(&place, &name).await.unwrap(), format!("then {}", won[0]));
        }
    }
}

#[tokio::test]
async fn lists_are_whole_whatever_a_page_holds() {
    const MANY: usize = 1_050;
    let home = Home::with_keys();
    for place in places(&home, "many-objects").await.0 {
        let name = |n: usize| format!("many/{n:04}/o");
        let puts = (0..MANY).map(|n| {
            let place = &place;
            async move { place.replace(&name(n), &Bytes::from_static(b"x"), None).await }
        });
        stream::iter(puts).buffer_unordered(8).try_collect::<Vec<_>>().await.unwrap();
        place.create("many.else", &bytes("beside")).await.unwrap();
        let all: Vec<String> = (0..MANY).map(name).collect();
        assert_eq!(names(&place, "many").await, all, "{place:?}");
        let folders: Vec<String> = (0..MANY).map(|n| format!("{n:04}")).collect();
        assert_eq!(place.folders("many").await.unwrap(), folders, "{place:?}");
        assert_eq!(place.folders("").await.unwrap(), ["many"]);
        assert_eq!(names(&place, "").await.len(), MANY + 1);
        assert_eq!(names(&place, "many/0007").await, ["many/0007/o"]);
        for nothing in ["man", "none/at/all"] {
            assert_eq!(names(&place, nothing).await, [""; 0], "{nothing}");
            assert_eq!(place.folders(nothing).await.unwrap(), [""; 0], "{nothing}");
        }
        // In a folder it lies in the way of what would be beneath it.
        match place.list("many/0007/o").await {
            Ok(found) => assert_eq!(found, []),
            Err(fault) => assert_eq!(fault.kind, Kind::Object, "{fault}"),
        }
    }
}

#[tokio::test]
async fn names_arrive_letter_by_letter() {
    const NAMES: [&str; 4] =
        ["%2Fhome%2Fdev/s_1/part-00001-0a.jsonl", "-.x/%", "a%25b/..c", "agent=3Amain=20x/=/c"];
    let home = Home::with_keys();
    let (places, moto) = places(&home, "letter-by-letter").await;
    for place in &places {
        for name in NAMES {
            assert!(matches!(place.create(name, &bytes(name)).await.unwrap(), Created::Now(_)));
            assert_eq!(read(place, name).await.as_deref(), Some(name));
        }
        let mut wanted = NAMES.map(str::to_owned);
        wanted.sort();
        assert_eq!(names(place, "").await, wanted);
        assert_eq!(
            place.folders("").await.unwrap(),
            ["%2Fhome%2Fdev", "-.x", "a%25b", "agent=3Amain=20x"]
        );
        assert_eq!(place.folders("%2Fhome%2Fdev").await.unwrap(), ["s_1"]);
        let long = "x".repeat(300);
        for wrong in ["", "/a", "a/", "a//b", "a/../b", ".", "a b", "ä", "a\\b", "a\nb", &long] {
            let fault = place.create(wrong, &bytes("")).await.unwrap_err();
            assert_eq!(fault.kind, Kind::Object, "{wrong:?}: {fault}");
            assert!(place.get(wrong, 9).await.is_err() && place.delete(wrong).await.is_err());
        }
        assert!(
            place.create(".rrd-staged/x", &bytes("")).await.is_err(),
            "that is the folder's own"
        );
    }
    for name in NAMES {
        assert!(home.dir.path().join("mirror").join(name).is_file(), "{name}");
    }
    if let Some(moto) = moto {
        let keys = moto.ask("GET", "/letter-by-letter?list-type=2", "");
        for name in NAMES {
            assert!(keys.contains(&format!("<Key>in/here/{name}</Key>")), "{name}: {keys}");
        }
    }
}

#[tokio::test]
async fn what_others_put_there_does_not_stop_a_list() {
    let home = Home::with_keys();
    let (places, moto) = places(&home, "of-others").await;
    let there = home.dir.path().join("mirror");
    fs::write(there.join("a holiday.jpg"), "").unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink("/", there.join("root")).unwrap();
    for name in ["in/here/a%20holiday.jpg", "in/hereafter", "elsewhere"] {
        if let Some(moto) = &moto {
            moto.ask("PUT", &format!("/of-others/{name}"), "");
        }
    }
    for place in &places {
        place.create("ours", &bytes("")).await.unwrap();
        assert_eq!(names(place, "").await, ["ours"], "{place:?}");
        assert_eq!(place.folders("").await.unwrap(), [""; 0], "{place:?}");
    }
    if let (Some(moto), [_, bucket]) = (&moto, &places[..]) {
        moto.ask("PUT", "/of-others/in/here/a//b", "");
        let fault = bucket.list("").await.unwrap_err().to_string();
        assert!(fault.contains("a name that is no path"), "{fault}");
    }
}

/// Every file and folder beneath, with its mode.
#[cfg(unix)]
fn modes(of: &Path, found: &mut Vec<(std::path::PathBuf, u32)>) {
    use std::os::unix::fs::PermissionsExt;
    found.push((of.to_owned(), fs::metadata(of).unwrap().permissions().mode() & 0o777));
    if of.is_dir() {
        fs::read_dir(of).unwrap().for_each(|entry| modes(&entry.unwrap().path(), found));
    }
}

#[cfg(unix)]
#[tokio::test]
async fn only_its_owner_can_read_a_folder_and_nothing_is_left_in_it() {
    let home = Home::new(&[]);
    let place = folder_in(&home);
    let root = home.dir.path().join("mirror");
    // Not by accident: a drive that is not mounted is not filled beneath its place.
    let fault = place.create("a/b/c", &bytes("x")).await.unwrap_err();
    assert_eq!(fault.kind, Kind::NoBucket, "{fault}");
    assert_eq!(place.head("a/b/c").await.unwrap_err().kind, Kind::NoBucket);
    assert_eq!(place.list("").await.unwrap_err().kind, Kind::NoBucket);
    assert_eq!(place.delete("a/b/c").await.unwrap_err().kind, Kind::NoBucket);
    assert!(!root.exists());
    place.make().await.unwrap();
    place.make().await.unwrap();
    place.create("a/b/c", &bytes("x")).await.unwrap();
    place.create("a/b/c", &bytes("y")).await.unwrap();
    place.replace("a/d", &bytes("x"), None).await.unwrap();
    let mut found = Vec::new();
    modes(&root, &mut found);
    for (path, mode) in &found {
        let wanted = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(*mode, wanted, "{}", path.display());
    }
    assert_eq!(fs::read_dir(root.join(".rrd-staged")).unwrap().count(), 0);
    // A file where a folder would have to be, or the other way round, is not written over, and whoever reads is told.
    for name in ["a/d/e", "a/b"] {
        for fault in [
            place.create(name, &bytes("x")).await.unwrap_err(),
            place.head(name).await.unwrap_err(),
            place.get(name, 9).await.unwrap_err(),
        ] {
            assert_eq!(fault.kind, Kind::Object, "{name}: {fault}");
        }
    }
    place.delete("a/b/c").await.unwrap();
    assert!(!root.join("a/b").exists() && root.join("a/d").is_file());
    // What a killed process left goes when nobody can be writing it any more.
    let (old, new) = (root.join(".rrd-staged/old"), root.join(".rrd-staged/new"));
    let hours_ago = std::time::SystemTime::now() - Duration::from_secs(2 * 3600);
    fs::File::create(&old).unwrap().set_modified(hours_ago).unwrap();
    fs::write(&new, "half").unwrap();
    place.probe().await.unwrap();
    assert!(!old.exists() && new.exists());
    assert_eq!(names(&place, "").await, ["a/d"]);
}

/// Set where the test runs again, to be killed: the folder to write to.
const VICTIM: &str = "RRD_TEST_TARGET";

/// What is written in round `n`: large enough that most of the time is spent on writing it.
fn large(n: u64) -> Bytes {
    let line = format!("{n:015}\n");
    Bytes::from(line.repeat((300 << 10) / line.len()))
}

#[test]
fn a_killed_writer_leaves_each_object_whole_or_none() {
    let run = |place: &Target, from: u64, rounds: u64| {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for n in from..from + rounds {
            runtime.block_on(place.create(&format!("dir{n}/part"), &large(n))).unwrap();
            runtime.block_on(place.replace("meta", &large(n), None)).unwrap();
        }
    };
    if let Ok(path) = std::env::var(VICTIM) {
        let place = Home::new(&[]).open(&file_url(Path::new(&path)), &Access::default()).unwrap();
        run(&place, std::process::id().into(), u64::MAX / 2);
    }
    let home = Home::new(&[]);
    let place = folder_in(&home);
    let root = home.dir.path().join("mirror");
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(place.make()).unwrap();
    for life in 0..12 {
        let begun = runtime.block_on(names(&place, "")).len();
        let mut victim = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["a_killed_writer_leaves_each_object_whole_or_none", "--nocapture"])
            .env(VICTIM, &root)
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        // At another moment of its work each time: it is at work when something new is there.
        while runtime.block_on(names(&place, "")).len() < begun + 1 + life % 4 {
            assert!(victim.try_wait().unwrap().is_none(), "it does not end by itself");
        }
        victim.kill().unwrap();
        victim.wait().unwrap();
    }
    let found = runtime.block_on(names(&place, ""));
    assert!(found.len() > 12, "{found:?}");
    for name in found {
        let there = runtime.block_on(place.get(&name, 1 << 20)).unwrap().unwrap().0;
        let n: u64 = std::str::from_utf8(&there[..15]).unwrap().parse().unwrap();
        assert!(there == large(n), "{name} is in pieces");
    }
    // And whoever comes next is not in the way of anything that was left.
    run(&place, 0, 2);
}
