//! Finds the repository a directory belongs to: walks up to `.git`, through worktrees and submodules; and has what was
//! found outlive the directory.
//!
//! Reads a few small files and runs nothing. Answers are believed for a moment, since many sessions share a
//! directory. Not here: names and credentials, and what of several answers counts ([`rrd_core::repo`]).

mod config;
#[cfg(test)]
mod layouts;
mod origins;

use std::{
    collections::HashMap,
    fs,
    io::{self, Read},
    path::{Component, Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rrd_core::{
    fold::Fold,
    repo::{Learnt, Repo, place},
    resume,
};
use rrd_proto::SessionKey;
use tokio_util::sync::CancellationToken;

use self::config::Users;
use crate::{
    fleet::{Keep, KeepError},
    hub::Hub,
};

/// How long an answer is believed: a remote may be added, a volume be mounted, something cloned, and soon be gone.
const BELIEVED: Duration = Duration::from_secs(1);

/// `.git` files and configs are small; a larger one is not read.
const MAX_FILE: u64 = 1 << 20;

/// Answers are written down so far apart, unless somebody waits for it.
const APART: Duration = Duration::from_millis(100);

/// Answers by directory.
#[derive(Debug, Default)]
pub(crate) struct Repos {
    known: HashMap<PathBuf, (Instant, Found)>,
}

/// What is found of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Found {
    In(Arc<Repo>),
    /// It is there, and in none.
    InNone,
    /// It is not there, or it cannot be told; the repository in which a directory above it is.
    Unknown(Option<Arc<Repo>>),
}

/// What can be told of a session's repository now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// What the disk says.
    pub(crate) answer: Option<Arc<Repo>>,
    /// What its harness wrote down when it began.
    pub(crate) recorded: Option<Arc<Repo>>,
    /// What may be so, and is not known.
    pub(crate) guess: Arc<Repo>,
    /// Those of all directories that its records name, as far as they are there, and what was written down.
    pub(crate) also: Vec<Arc<Repo>>,
    /// Of which directories that is told, or that they are in none ([`rrd_core::repo::place`]).
    pub(crate) places: Vec<u64>,
}

impl Repos {
    /// The repository a session works in, whose transcript this is, and others in which it was. At what is `new` to it
    /// is looked for it, whatever was found there for others before.
    pub(crate) fn of(&mut self, fold: &Fold, transcript: &str, new: &[String]) -> Seen {
        for directory in new.iter().map(Path::new) {
            let found = self.known.get(directory);
            if found.is_some_and(|(_, found)| !matches!(found, Found::Unknown(_))) {
                self.known.remove(directory);
            }
        }
        let mut seen = self.now(fold, transcript);
        for directory in fold.named() {
            match self.at(Path::new(directory)) {
                Found::In(repo) => seen.also.push(repo),
                Found::InNone => {}
                Found::Unknown(_) => continue,
            }
            seen.places.push(place(directory));
        }
        if let (Some(recorded), Some(begun)) = (recorded(fold), &fold.remote_of) {
            seen.also.push(recorded);
            seen.places.push(place(begun));
        }
        seen
    }

    fn now(&mut self, fold: &Fold, transcript: &str) -> Seen {
        let recorded = recorded(fold);
        let answered = |repo| Seen { answer: Some(repo), ..Seen::default() };
        let places = [fold.cwd.as_deref(), fold.original_cwd.as_deref()].into_iter().flatten();
        let places: Vec<&Path> = places.map(Path::new).collect();
        let (mut are_there, mut guess) = (!places.is_empty(), None);
        for place in places {
            match self.at(place) {
                Found::In(repo) => return answered(repo),
                Found::InNone => {}
                Found::Unknown(above) => {
                    are_there = false;
                    guess = guess.or(above);
                }
            }
        }
        if are_there {
            return answered(recorded.unwrap_or_default());
        }
        if let Some(Found::In(repo)) = goes_on_in(fold, transcript).map(|place| self.at(place)) {
            return answered(repo);
        }
        Seen { recorded, guess: guess.unwrap_or_default(), ..Seen::default() }
    }

    /// What the repository is called that this directory is in, if any; `None` where that cannot be told.
    pub(crate) fn names_at(&mut self, directory: &Path) -> Option<Vec<String>> {
        match self.at(directory) {
            Found::In(repo) => Some(repo.names().map(str::to_owned).collect()),
            Found::InNone => Some(Vec::new()),
            Found::Unknown(_) => None,
        }
    }

    fn at(&mut self, directory: &Path) -> Found {
        if let Some((since, found)) = self.known.get(directory)
            && since.elapsed() < BELIEVED
        {
            return found.clone();
        }
        let found = look(directory, &Users::of_this_process());
        self.known.insert(directory.to_owned(), (Instant::now(), found.clone()));
        found
    }
}

/// The repository that its harness wrote down when it began.
fn recorded(fold: &Fold) -> Option<Arc<Repo>> {
    fold.remote.as_deref().map(|remote| Arc::new(Repo::new(None, Some(remote))))
}

/// The directory in which Claude Code goes on with what began elsewhere: its transcript's folder is named after it.
fn goes_on_in<'f>(fold: &'f Fold, transcript: &str) -> Option<&'f Path> {
    let folder = Path::new(transcript).parent()?.file_name()?;
    let directory = fold.elsewhere.as_deref()?;
    (*folder == *resume::directory(directory)).then(|| Path::new(directory))
}

fn look(directory: &Path, users: &Users) -> Found {
    if !directory.is_absolute() {
        return Found::Unknown(None);
    }
    let is_there = fs::metadata(directory).is_ok_and(|found| found.is_dir());
    match (above(directory, users), is_there) {
        (Ok(Some(repo)), true) => Found::In(Arc::new(repo)),
        (Ok(None), true) => Found::InNone,
        (Ok(above), false) => Found::Unknown(above.map(Arc::new)),
        (Err(_), _) => Found::Unknown(None),
    }
}

/// The repository that a directory belongs to.
pub(crate) fn find(directory: &Path) -> Option<Repo> {
    above(directory, &Users::of_this_process()).ok().flatten()
}

/// The same; an error where something is there that cannot be read, or leads nowhere.
fn above(directory: &Path, users: &Users) -> io::Result<Option<Repo>> {
    // Where it is not there, that may be above which it was; a link leads where the directory is.
    let mut there = None;
    for place in directory.ancestors() {
        if let Some(real) = if_there(real(place))? {
            there = Some((place, real));
            break;
        }
    }
    let Some((place, real_place)) = there else { return Ok(None) };
    let mut found = None;
    for checkout in real_place.ancestors() {
        if let Some(git) = git_dir(checkout)? {
            found = Some((checkout, git));
            break;
        }
    }
    let Some((checkout, git)) = found else { return Ok(None) };
    let common = common_of(&git)?;
    // Half of it is gone, or not there yet: what it was called nobody knows.
    if !is_there(&git, "HEAD")? || !is_there(&common, "config")? {
        return Err(io::ErrorKind::NotFound.into());
    }
    let is_dot_git = common.file_name().is_some_and(|name| name == ".git");
    let root = match common.parent() {
        Some(parent) if is_dot_git && parent != checkout => parent,
        // As it is called by who works there.
        _ => place.ancestors().find(|it| is_at(it, checkout)).unwrap_or(checkout),
    };
    let mut remotes = config::remotes(&git, &common, users)?;
    origins::follow(&mut remotes, checkout, users)?;
    let repo = Repo::of(root.to_string_lossy().into_owned(), &remotes);
    repo.ok_or_else(|| io::ErrorKind::InvalidData.into()).map(Some)
}

/// Where what all worktrees share is: one's own directory names that; a submodule has none.
fn common_of(git: &Path) -> io::Result<PathBuf> {
    match read(&git.join("commondir"))? {
        Some(text) => real(&git.join(text.trim())),
        None => Ok(git.to_owned()),
    }
}

/// Whether this path leads there, and only down to it.
fn is_at(path: &Path, there: &Path) -> bool {
    let goes_up = path.components().any(|it| it == Component::ParentDir);
    path == there || (!goes_up && real(path).is_ok_and(|real| real == there))
}

/// Where a path leads, past all links.
fn real(path: &Path) -> io::Result<PathBuf> {
    fs::canonicalize(path).map(|real| match real.to_str().and_then(plain) {
        Some(plain) => plain.into(),
        None => real,
    })
}

/// A path of Windows without the prefix that its own calls give, where it is none the less the same: nobody writes it so.
fn plain(path: &str) -> Option<String> {
    let path = path.strip_prefix(r"\\?\").filter(|_| path.len() < 260)?;
    match path.strip_prefix(r"UNC\") {
        Some(share) => Some(format!(r"\\{share}")),
        None => path.get(1..3).filter(|drive| *drive == r":\").map(|_| path.to_owned()),
    }
}

/// The directory that `.git` in `directory` is, or names; or `directory`, where it is a repository without files. Also
/// where not all of it is there.
fn git_dir(directory: &Path) -> io::Result<Option<PathBuf>> {
    let dot_git = directory.join(".git");
    let found = if_there(fs::metadata(&dot_git))?;
    if found.is_none_or(|found| found.is_dir()) {
        for name in ["HEAD", "config", "objects"] {
            if is_there(&dot_git, name)? {
                return Ok(Some(dot_git));
            }
        }
        return Ok(is_bare(directory)?.then(|| directory.to_owned()));
    }
    let text = read(&dot_git)?.unwrap_or_default();
    let Some(target) = text.strip_prefix("gitdir:") else { return Ok(None) };
    let git = directory.join(target.trim());
    // The repository of a worktree may lie where nothing is mounted now.
    match git.is_dir() {
        true => Ok(Some(git)),
        false => Err(io::ErrorKind::NotFound.into()),
    }
}

/// Whether git takes it for a repository by what is in it, or would if that had its `HEAD`; that of a clone is found from
/// the clone.
fn is_bare(directory: &Path) -> io::Result<bool> {
    let holds = |name: &str| directory.join(name).is_dir();
    let is_of_clone = directory.file_name().is_some_and(|name| name == ".git");
    if is_of_clone || !holds("objects") || !holds("refs") {
        return Ok(false);
    }
    let head = directory.join("HEAD");
    // A link, as git made it once.
    if fs::read_link(&head).is_ok_and(|to| to.starts_with("refs")) {
        return Ok(true);
    }
    let text = match head.is_file() {
        true => read(&head)?.unwrap_or_default(),
        false => return Ok(!is_there(directory, "HEAD")? && directory.join("config").is_file()),
    };
    let is_commit = |text: &str| text.len() >= 40 && text.bytes().all(|c| c.is_ascii_hexdigit());
    Ok(match text.strip_prefix("ref:") {
        Some(to) => to.trim_start().starts_with("refs/"),
        None => is_commit(text.trim_end()),
    })
}

/// Whether something is there, if only a link that leads nowhere.
fn is_there(directory: &Path, name: &str) -> io::Result<bool> {
    Ok(if_there(fs::symlink_metadata(directory.join(name)))?.is_some())
}

/// What is in a small file, where there is one.
fn read(path: &Path) -> io::Result<Option<String>> {
    let Some(found) = if_there(fs::metadata(path))? else { return Ok(None) };
    if !found.is_file() {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let Some(file) = if_there(fs::File::open(path))? else { return Ok(None) };
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > MAX_FILE {
        true => Err(io::ErrorKind::InvalidData.into()),
        false => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
    }
}

fn if_there<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(None),
            _ => Err(error),
        },
    }
}

/// Why it is not on the disk where sessions were.
#[derive(Debug, Clone, thiserror::Error)]
#[error("it cannot be written down where sessions were: {why}")]
pub(crate) struct Unwritten {
    why: String,
    /// What helps.
    pub(crate) remedy: String,
}

impl From<KeepError> for Unwritten {
    fn from(error: KeepError) -> Self {
        Self { why: error.to_string(), remedy: error.remedy() }
    }
}

/// What is learnt, on the disk: a directory that is gone tells nobody again.
pub(crate) struct Memory {
    hub: Arc<Hub>,
    /// Whoever waits for it finds on the disk what others took before. An error where what was known before could not
    /// be read.
    keep: Mutex<Result<Keep, Unwritten>>,
}

impl Memory {
    /// Tells the hub what is kept.
    pub(crate) fn open(hub: &Arc<Hub>, state_dir: &Path) -> Arc<Self> {
        let open = || {
            let keep = Keep::open(state_dir)?;
            hub.restore_repos(keep.learnt()?);
            Ok(keep)
        };
        let keep = open().map_err(|error: KeepError| {
            tracing::error!(%error, "nobody knows where sessions were");
            error.into()
        });
        Arc::new(Self { hub: Arc::clone(hub), keep: Mutex::new(keep) })
    }

    /// Writes down what is learnt; blocks.
    pub(crate) fn save(&self) -> Result<(), Unwritten> {
        let mut keep = self.keep.lock().unwrap_or_else(PoisonError::into_inner);
        let keep = keep.as_mut().map_err(|error| error.clone())?;
        let learnt = self.hub.unsaved_repos();
        if learnt.is_empty() {
            return Ok(());
        }
        keep.learn(&learnt).map_err(|error| {
            self.hub.still_unsaved(learnt.into_iter().map(|(key, _)| key));
            error.into()
        })
    }

    /// Returns when all that was learnt by now is written down.
    ///
    /// # Errors
    /// Why it cannot be, or what was known before cannot be read.
    pub(crate) async fn written_down(self: &Arc<Self>) -> Result<(), Unwritten> {
        let memory = Arc::clone(self);
        let saved = tokio::task::spawn_blocking(move || memory.save()).await;
        saved.unwrap_or_else(|error| {
            Err(Unwritten { why: error.to_string(), remedy: "start rrd anew".to_owned() })
        })
    }

    /// Writes down what is learnt, until it is stopped.
    pub(crate) async fn follow(self: Arc<Self>, stop: CancellationToken) {
        let mut here = self.hub.here();
        let mut is_failing = false;
        loop {
            match self.written_down().await {
                Err(error) if !is_failing => {
                    tracing::error!(%error, "what stays out of a mirror may not do so after a restart");
                    is_failing = true;
                }
                saved => is_failing = saved.is_err(),
            }
            tokio::select! {
                () = stop.cancelled() => return,
                changed = here.changed() => if changed.is_err() { return },
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(APART) => {}
            }
        }
    }
}

/// What was learnt before, where no daemon runs.
pub(crate) fn known(state_dir: &Path) -> Vec<(SessionKey, Learnt)> {
    // No database for the sake of looking into it.
    if !state_dir.join("keep.db").exists() {
        return Vec::new();
    }
    Keep::open(state_dir).and_then(|keep| keep.learnt()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(directory: &Path) -> Option<Repo> {
        above(directory, &Users::default()).unwrap()
    }

    fn look(directory: &Path) -> Found {
        super::look(directory, &Users::default())
    }

    fn write(path: PathBuf, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn worktrees_and_submodules_lead_to_their_repository() {
        let dir = tempfile::tempdir().unwrap();
        let top = fs::canonicalize(dir.path()).unwrap();
        let main = top.join("main");
        write(main.join(".git/HEAD"), "ref: refs/heads/main\n");
        write(
            main.join(".git/config"),
            "[remote \"origin\"]\nurl = https://u:secret@h/acme/site.git\n",
        );
        write(main.join(".git/worktrees/x/commondir"), "../..\n");
        write(main.join(".git/worktrees/x/HEAD"), "ref: refs/heads/x\n");
        write(
            top.join("trees/x/.git"),
            &format!("gitdir: {}\n", main.join(".git/worktrees/x").display()),
        );
        write(
            main.join(".git/modules/lib/config"),
            "[remote \"origin\"]\nurl = git@h:acme/lib.git\n",
        );
        write(main.join(".git/modules/lib/HEAD"), "ref: refs/heads/main\n");
        write(main.join("vendor/lib/.git"), "gitdir: ../../.git/modules/lib\n");
        write(main.join("src/deep/x"), "");
        fs::create_dir_all(top.join("plain")).unwrap();

        let site = find(&main.join("src/deep")).unwrap();
        assert_eq!(site.name.as_deref(), Some("site"));
        assert_eq!(site.remote.as_deref(), Some("https://h/acme/site.git"));
        assert_eq!(find(&top.join("trees/x")).unwrap(), site, "a worktree is its repository");
        let lib = find(&main.join("vendor/lib")).unwrap();
        assert_eq!(lib.name.as_deref(), Some("lib"));
        assert_eq!(lib.root.as_deref(), main.join("vendor/lib").to_str());
        assert_eq!(find(&top.join("plain")), None);
        assert!(find(&top.join("plain/gone/for/long")).is_none());
        // What is not there, or leads nowhere, is no answer.
        assert_eq!(look(&top.join("plain")), Found::InNone);
        assert_eq!(look(&main.join("src/deep")), Found::In(Arc::new(site.clone())));
        assert_eq!(look(&main.join("src/gone")), Found::Unknown(Some(Arc::new(site))));
        assert_eq!(look(&top.join("gone")), Found::Unknown(None));
        assert_eq!(look(Path::new("relative")), Found::Unknown(None));
        fs::create_dir_all(top.join("empty/.git")).unwrap();
        assert_eq!(look(&top.join("empty")), Found::InNone);
        fs::rename(&main, top.join("not mounted")).unwrap();
        assert_eq!(look(&top.join("trees/x")), Found::Unknown(None));
    }

    #[test]
    fn only_what_is_there_answers_for_a_session() {
        let dir = tempfile::tempdir().unwrap();
        let top = fs::canonicalize(dir.path()).unwrap();
        for name in ["alpha", "beta"] {
            write(top.join(name).join(".git/HEAD"), "ref: refs/heads/main\n");
            write(top.join(name).join(".git/config"), "");
        }
        fs::create_dir_all(top.join("plain")).unwrap();
        let at = |name: &str| Some(top.join(name).to_string_lossy().into_owned());
        let of = |fold: &Fold, folder: &str| {
            let Seen { answer, recorded, .. } =
                Repos::default().of(fold, &format!("/p/{folder}/s.jsonl"), &[]);
            let name = |repo: Arc<Repo>| repo.name.clone().unwrap_or_default();
            (answer.map(name), recorded.map(name))
        };
        let some = |name: &str| Some(name.to_owned());
        let fold = |cwd, original_cwd| {
            let mut fold = Fold::default();
            (fold.cwd, fold.original_cwd) = (cwd, original_cwd);
            fold
        };
        assert_eq!(of(&fold(at("alpha"), None), "x"), (some("alpha"), None));
        assert_eq!(of(&fold(at("plain"), None), "x"), (some(""), None));
        assert_eq!(of(&fold(at("gone"), at("alpha")), "x"), (some("alpha"), None));
        assert_eq!(of(&fold(at("plain"), at("gone")), "x"), (None, None));
        assert_eq!(of(&fold(None, None), "x"), (None, None));
        let remote = some("git@h:acme/gamma.git");
        let recorded = |cwd| {
            let mut fold = fold(cwd, None);
            fold.remote.clone_from(&remote);
            fold
        };
        assert_eq!(of(&recorded(at("gone")), "x"), (None, some("gamma")));
        assert_eq!(of(&recorded(at("alpha")), "x"), (some("alpha"), None));
        assert_eq!(of(&recorded(at("plain")), "x"), (some("gamma"), None));
        let mut fold_of_all = fold(at("plain"), None);
        fold_of_all.directories = ["gone", "beta", "plain"].into_iter().filter_map(at).collect();
        let Seen { answer, also, .. } = Repos::default().of(&fold_of_all, "", &[]);
        assert!(answer.is_some_and(|answer| answer.name.is_none()));
        let also: Vec<_> = also.iter().map(|repo| repo.name.as_deref()).collect();
        assert_eq!(also, [Some("beta")], "it was there, too");
        // What was found for another session a moment ago is not what this one finds.
        let mut repos = Repos::default();
        let mut found =
            |new: &[String]| repos.of(&fold(at("plain"), None), "", new).answer.unwrap();
        assert_eq!(*found(&[]), Repo::default());
        write(top.join("plain/.git/HEAD"), "ref: refs/heads/main\n");
        write(top.join("plain/.git/config"), "");
        assert_eq!(found(&[at("plain").unwrap()]).name.as_deref(), Some("plain"));
        // Where it goes on counts where it is that, and not only looks around.
        let folder = resume::directory(&at("beta").unwrap());
        let moved = |cwd| {
            let mut fold = fold(cwd, None);
            fold.elsewhere = at("beta");
            fold
        };
        assert_eq!(of(&moved(at("gone")), &folder), (some("beta"), None));
        assert_eq!(of(&moved(at("gone")), "x"), (None, None));
        assert_eq!(of(&moved(at("alpha")), &folder), (some("alpha"), None));
    }
}
