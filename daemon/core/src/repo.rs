//! What a repository is called: from its remote, without credentials, else from its directory.
//!
//! Also what is known of a session's once somebody had an answer ([`Learnt`]). Works on text only; the driver finds and
//! reads `.git`. Not here: branches (harnesses log them).

mod config;
mod remotes;

use std::collections::BTreeSet;

use rrd_proto::copy::Past;
use serde::{Deserialize, Serialize};

pub use config::{Setting, settings};
pub use remotes::{Remotes, Stands};

/// No more names are kept of one repository: then nothing is known of it.
const MOST_NAMES: usize = 1000;

/// No name is longer: no file may be, and no forge takes it.
const LONGEST_NAME: usize = 255;

/// A repository as sessions show it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Repo {
    /// From the remote, else from the root directory.
    pub name: Option<String>,
    /// The main checkout's directory.
    pub root: Option<String>,
    /// The remote, without credentials.
    pub remote: Option<String>,
    /// What else it is called: by other remotes, and other ways to write one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
}

impl Repo {
    /// A repository with this root and remote (as git has it, credentials included).
    #[must_use]
    pub fn new(root: Option<String>, remote: Option<&str>) -> Self {
        let remote = remote.map(|remote| strip_credentials(remote.trim()));
        let of_root = || root.as_deref().and_then(directory_name);
        let name = remote.as_deref().and_then(remote_name).or_else(of_root);
        let mut repo = Self { name, root, remote, also: Vec::new() };
        repo.also = repo.others(repo.remote.iter().cloned()).into_iter().collect();
        repo
    }

    /// The one that has this root and these remotes; nothing where they are too many to know them all.
    #[must_use]
    pub fn of(root: String, remotes: &Remotes) -> Option<Self> {
        if remotes.is_too_much() {
            return None;
        }
        let mut repo = Self::new(Some(root), remotes.shown().as_deref());
        let urls = remotes.all().map(|url| strip_credentials(url.trim()));
        let others = repo.others(repo.remote.iter().cloned().chain(urls));
        if others.len() > MOST_NAMES {
            return None;
        }
        repo.also = others.into_iter().collect();
        Some(repo)
    }

    /// What it is called by these remotes, and not by its name.
    fn others(&self, remotes: impl Iterator<Item = String>) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        let named = remotes.flat_map(|remote| [named(&remote), named(&decoded(&remote))]).flatten();
        // A file that a clone was made of, which git calls without its end.
        let unpacked = |name: &String| name.strip_suffix(".bundle").map(str::to_owned);
        for name in named.flat_map(|name| [unpacked(&name), Some(name)]).flatten() {
            if name.len() <= LONGEST_NAME && self.name.as_ref() != Some(&name) {
                names.insert(name);
            }
            if names.len() > MOST_NAMES {
                break;
            }
        }
        names
    }

    /// All that it is called.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.name.iter().chain(&self.also).map(String::as_str)
    }

    /// One of which another host tells: its remote, or what it is called where it has none. Nothing where that is not
    /// told, or is no more what it was.
    #[must_use]
    pub fn told(name: Option<&str>, remote: Option<&str>) -> Option<Self> {
        let text =
            remote.or(name).filter(|text| !text.is_empty() && !text.contains("[REDACTED:"))?;
        Some(match text.contains(['/', ':', '\\']) {
            true => Self::new(None, Some(text)),
            false => Self { name: Some(text.to_owned()), ..Self::default() },
        })
    }
}

/// What is known of a session's repository. It counts until there is another answer; that nobody answers (its directory
/// is gone, not mounted, or on another host) is none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Learnt {
    /// The last answer: the default one where it was in none; none yet where nobody knew.
    pub repo: Option<Repo>,
    /// What others are called in which it was: what it did there stays in its transcript.
    pub past: Vec<String>,
    /// The same, as the host told that it came from ([`mark`]).
    pub told: BTreeSet<u64>,
    /// Directories of which it is known in which of these they are, or that they are in none ([`place`]).
    pub places: BTreeSet<u64>,
    /// What is known of where it was before it came to this host.
    pub before: Before,
}

/// What is known of where a session was on the host that it came from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Before {
    /// It did not come, as far as is known.
    #[default]
    Here,
    /// All, also of what it has something of.
    All,
    /// Not all: something was not known there either, or was not told.
    Part,
}

/// What stands for a directory, as records name it, where others need not read it.
#[must_use]
pub fn place(directory: &str) -> u64 {
    crate::hash(directory.as_bytes())
}

/// The same for what a repository is called: one number for all of which [`is_called`] says that they are one.
#[must_use]
pub fn mark(name: &str) -> u64 {
    crate::hash(name.to_lowercase().as_bytes())
}

/// Such a number as others are told it: sixteen digits.
#[must_use]
pub fn digits(number: u64) -> String {
    format!("{number:016x}")
}

/// Those of which others tell ([`digits`]).
pub fn numbers(told: &[String]) -> impl Iterator<Item = u64> {
    told.iter().filter_map(|digits| u64::from_str_radix(digits, 16).ok())
}

impl Learnt {
    /// Takes an answer; true when anything is different by it.
    pub fn take(&mut self, repo: &Repo) -> bool {
        if self.repo.as_ref() == Some(repo) {
            return false;
        }
        for before in self.repo.replace(repo.clone()).iter().flat_map(Repo::names) {
            self.was_in(before);
        }
        true
    }

    /// Takes where it was on the host that it came from; true when that is news.
    pub fn came(&mut self, past: &Past) -> bool {
        let told = self.told.len();
        self.told.extend(numbers(&past.names));
        let before = if past.is_whole { Before::All } else { Before::Part };
        let is_news = self.told.len() > told || self.before != before;
        self.before = before;
        self.knows(numbers(&past.places)) | is_news
    }

    /// It was in this one, too; true when that is news.
    pub fn was_in(&mut self, name: &str) -> bool {
        let is_news = !self.names().any(|known| known == name);
        if is_news {
            self.past.push(name.to_owned());
        }
        is_news
    }

    /// It is known where these are; true when that is news.
    pub fn knows(&mut self, places: impl IntoIterator<Item = u64>) -> bool {
        let before = self.places.len();
        self.places.extend(places);
        self.places.len() > before
    }

    /// What all are called in which it is and was, as this host saw.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.repo.iter().flat_map(Repo::names).chain(self.past.iter().map(String::as_str))
    }

    /// What stands for all of them, also those of which others told.
    pub fn marks(&self) -> impl Iterator<Item = u64> {
        self.names().map(mark).chain(self.told.iter().copied())
    }

    /// Whether one of all in which it is or was is called so.
    #[must_use]
    pub fn is_or_was_in(&self, name: &str) -> bool {
        self.names().any(|of| is_called(of, name)) || self.told.contains(&mark(name))
    }
}

/// Whether these are names of one repository: forges do not tell upper case from lower.
#[must_use]
pub fn is_called(one: &str, other: &str) -> bool {
    one == other || one.to_lowercase() == other.to_lowercase()
}

/// `https://user:token@host/a/b` without `user:token@`; also without query and fragment, which some
/// hosts accept tokens in. `git@host:a/b` keeps its user: it is the same for everybody.
#[must_use]
pub fn strip_credentials(url: &str) -> String {
    // A path is what it is: `/srv/c#/b`.
    let is_path = url.starts_with(['/', '.', '~']) || url.starts_with("file://");
    let end = url.find(['?', '#']).filter(|_| !is_path).unwrap_or(url.len());
    let url = &url[..end];
    let Some((scheme, rest)) = url.split_once("://") else {
        // scp form: `user@host:path`; a password cannot stand in it, but somebody may have tried, or
        // put a token where the user belongs.
        return match url.rsplit_once('@') {
            Some((user, rest)) if user != "git" && !url.starts_with(['/', '.', '~']) => {
                rest.to_owned()
            }
            _ => url.to_owned(),
        };
    };
    if let Some((before, _)) = rest.split_once("://") {
        return match before.rfind('/') {
            // A proxy in front of another URL: that one is meant.
            Some(at) => strip_credentials(&rest[at + 1..]),
            // No URL, whatever it is.
            None => format!("{scheme}://{}", rest.rsplit_once('@').map_or(rest, |(_, host)| host)),
        };
    }
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = match authority.rsplit_once('@') {
        Some(("git", host)) if scheme == "ssh" => return format!("ssh://git@{host}{path}"),
        Some((_, host)) => host,
        None => authority,
    };
    format!("{scheme}://{host}{path}")
}

/// What a remote is called. Git decodes an address, and takes a path as it is.
fn remote_name(remote: &str) -> Option<String> {
    match remote.contains("://") {
        true => named(&decoded(remote)),
        false => named(remote),
    }
}

fn named(remote: &str) -> Option<String> {
    last(remote, true)
}

fn directory_name(path: &str) -> Option<String> {
    last(path, false)
}

/// The segment to which a path leads, without the `.git` of a repository that has no files beside it. In a remote it
/// may begin behind a colon.
fn last(path: &str, in_remote: bool) -> Option<String> {
    let mut up = 0;
    for segment in path.rsplit(['/', '\\']) {
        let (segment, begins) = match segment.rsplit_once(':').filter(|_| in_remote) {
            Some((_, segment)) => (segment, true),
            None => (segment, false),
        };
        match segment {
            "" | "." => {}
            ".." => up += 1,
            _ if up > 0 => up -= 1,
            segment => {
                // Of a clone that has its files beside it nothing is left: `secret/.git`.
                let name = without_git(segment);
                if !matches!(name, "" | "." | "..") {
                    return Some(name.to_owned());
                }
            }
        }
        if begins {
            break;
        }
    }
    None
}

/// Disks and forges may not tell upper case from lower.
fn without_git(name: &str) -> &str {
    let mut name = name;
    while let Some((before, end)) =
        name.len().checked_sub(4).and_then(|at| name.split_at_checked(at))
        && end.eq_ignore_ascii_case(".git")
    {
        name = before;
    }
    name
}

/// `%73ecret` is `secret`.
fn decoded(url: &str) -> String {
    let mut bytes = Vec::with_capacity(url.len());
    let mut rest = url.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digit = |at: usize| after.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        let byte = match (first, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => u8::try_from(high * 16 + low).ok(),
            _ => None,
        };
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    String::from_utf8(bytes).unwrap_or_else(|_| url.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_never_survive() {
        for (url, clean, name) in [
            ("https://x:ghp_secret@github.com/a/b", "https://github.com/a/b", "b"),
            ("https://ghp_secret@github.com/a/b.git", "https://github.com/a/b.git", "b"),
            ("https://u:p@ss@w@host:8443/a/b/", "https://host:8443/a/b/", "b"),
            ("https://host/a/b.git?token=secret#x", "https://host/a/b.git", "b"),
            ("https://secret@host", "https://host", "host"),
            ("git@example.com:acme/alpha.git", "git@example.com:acme/alpha.git", "alpha"),
            ("oauth2:secret@example.com:acme/alpha", "example.com:acme/alpha", "alpha"),
            ("ssh://git@host/a/b", "ssh://git@host/a/b", "b"),
            ("ssh://me:secret@host/a/b", "ssh://host/a/b", "b"),
            ("secret@github.com:a/b.git", "github.com:a/b.git", "b"),
            ("https://proxy/https://u:secret@github.com/a/b", "https://github.com/a/b", "b"),
            ("https://u:secret://x@host/a/b", "https://host/a/b", "b"),
            ("/srv/git/b.git", "/srv/git/b.git", "b"),
            ("/srv/c#/b?.git", "/srv/c#/b?.git", "b?"),
            ("file:///srv/c#/b", "file:///srv/c#/b", "b"),
            ("/srv/clones/b/.git/", "/srv/clones/b/.git/", "b"),
        ] {
            let repo = Repo::new(None, Some(url));
            assert_eq!(repo.remote.as_deref(), Some(clean));
            assert_eq!(repo.name.as_deref(), Some(name), "{url}");
            assert!(!format!("{repo:?}").contains("secret"), "{url}");
        }
    }

    #[test]
    fn without_a_remote_the_directory_names_it() {
        let repo = Repo::new(Some("/home/dev/src/my app/".into()), None);
        assert_eq!(repo.name.as_deref(), Some("my app"));
        assert_eq!(Repo::new(Some(r"C:\src\site".into()), None).name.as_deref(), Some("site"));
    }

    #[test]
    fn names_are_compared_without_case() {
        assert!(is_called("Secret", "secret") && is_called("ÄPFEL", "äpfel"));
        assert!(!is_called("secret", "secrets"));
    }

    #[test]
    fn where_a_session_was_is_not_forgotten() {
        let repo = |name: &str| Repo { name: Some(name.to_owned()), ..Repo::default() };
        let mut learnt = Learnt::default();
        assert!(learnt.take(&repo("secret")));
        assert!(!learnt.take(&repo("secret")));
        assert!(learnt.take(&Repo { root: Some("/moved".into()), ..repo("secret") }));
        assert!(learnt.past.is_empty(), "the same one elsewhere");
        assert!(learnt.take(&Repo::default()) && learnt.take(&repo("public")));
        assert!(learnt.was_in("other") && !learnt.was_in("public") && !learnt.was_in("secret"));
        assert_eq!(learnt.names().collect::<Vec<_>>(), ["public", "secret", "other"]);
        let past = |is_whole| Past {
            names: vec![digits(mark("Far")), "?".to_owned()],
            places: vec![digits(place("/far"))],
            is_whole,
        };
        assert!(
            learnt.came(&past(false)) && !learnt.came(&past(false)) && learnt.came(&past(true))
        );
        for name in ["far", "FAR", "Secret", "public"] {
            assert!(learnt.is_or_was_in(name), "{name}");
        }
        assert!(!learnt.is_or_was_in("fa") && learnt.marks().count() == 4);
        assert!(learnt.places.contains(&place("/far")) && learnt.before == Before::All);
        let kept = serde_json::to_string(&learnt).unwrap();
        assert_eq!(serde_json::from_str::<Learnt>(&kept).unwrap(), learnt);
    }

    #[test]
    fn another_host_tells_a_remote_or_a_name() {
        let told = |name, remote| Repo::told(name, remote).map(|repo| (repo.name, repo.remote));
        let some = |text: &str| Some(text.to_owned());
        let remote = "git@h:acme/alpha.git";
        assert_eq!(told(Some("alpha"), Some(remote)), Some((some("alpha"), some(remote))));
        assert_eq!(told(Some("alpha"), None), Some((some("alpha"), None)));
        assert_eq!(told(None, Some("alpha")), Some((some("alpha"), None)), "a bucket's one word");
        assert_eq!(told(None, Some("https://[REDACTED:github-token]")), None);
        assert_eq!((told(None, None), told(Some(""), None)), (None, None));
    }

    #[test]
    fn names_are_decoded_where_git_decodes_and_known_as_written() {
        for (url, names) in [
            ("https://h/acme/%73ecret", &["secret", "%73ecret"][..]),
            ("https://h/acme%2Fsecret.git", &["secret", "acme%2Fsecret"]),
            ("git@h:acme/%73ecret", &["%73ecret", "secret"]),
            ("https://h/acme/100%", &["100%"]),
            ("https://h/acme/%ff%7", &["%ff%7"]),
            ("  git@h:acme/secret.git  ", &["secret"]),
            ("git@h:acme/secret.git.git/", &["secret"]),
            ("codecommit::eu-west-1://secret", &["secret"]),
            ("ssh://git@h:2222/acme/secret.git", &["secret"]),
            ("https://dev.azure.com/o/p/_git/secret", &["secret"]),
            (r"C:\git\secret.git", &["secret"]),
            ("git@h:acme/Secret.GIT", &["Secret"]),
            ("/home/u/Secret.Git/", &["Secret"]),
            ("/home/u/secret/.git", &["secret"]),
            ("/home/u/secret/.", &["secret"]),
            ("/home/u/secret/.git/./", &["secret"]),
            ("/home/u/secret/sub/..", &["secret"]),
            ("/home/u/secret/a/../.git/../b//./..", &["secret"]),
            ("ssh://h/acme/secret.git/.", &["secret"]),
            ("h:secret/x/..", &["secret"]),
            ("h:secret/..", &[]),
            ("/é.git", &["é"]),
            ("/srv/secret.bundle", &["secret.bundle", "secret"]),
            ("h:~u/secret.git", &["secret"]),
            ("work:", &[]),
            ("..", &[]),
        ] {
            let repo = Repo::new(None, Some(url));
            assert_eq!(repo.names().collect::<Vec<_>>(), names, "{url}");
            assert_eq!(repo.name.as_deref(), names.first().copied(), "{url}");
        }
    }

    #[test]
    fn a_clone_is_called_by_all_its_remotes() {
        let remotes = |config: &str| {
            let mut remotes = Remotes::default();
            let stands = Stands { in_repository: true, always: true };
            settings(config).into_iter().for_each(|it| remotes.take(it, stands));
            remotes
        };
        let several = "[remote \"up\"]\nurl = https://t:k@h/acme/secret.git\npushurl = h:me/mine\n\
                       [remote \"origin\"]\nurl = h:me/fork\nurl = work:x\n\
                       [url \"h:acme/y\"]\ninsteadOf = work:x\n";
        let repo = Repo::of("/src/clone".to_owned(), &remotes(several)).unwrap();
        assert_eq!(repo.names().collect::<Vec<_>>(), ["fork", "mine", "secret", "x", "y"]);
        assert_eq!(repo.remote.as_deref(), Some("h:me/fork"));
        let none = Repo::of("/src/secret.git".to_owned(), &Remotes::default()).unwrap();
        assert_eq!(none.names().collect::<Vec<_>>(), ["secret"]);
        // As it was kept before, and as it is kept where there is nothing else.
        let kept = r#"{"name":"secret","root":"/src/secret.git","remote":null}"#;
        assert_eq!(serde_json::to_string(&none).unwrap(), kept);
        assert_eq!(serde_json::from_str::<Repo>(kept).unwrap(), none);
        let kept = serde_json::to_string(&repo).unwrap();
        assert_eq!(serde_json::from_str::<Repo>(&kept).unwrap(), repo);
        let long = format!("[remote \"origin\"]\nurl = a\nurl = {}", "x".repeat(256));
        assert!(Repo::of(String::new(), &remotes(&long)).unwrap().also.is_empty());
        let many = |names: usize| {
            let urls = (0..names).map(|n| format!("url = h:%61/{n:x}\npushurl = %61{n:x}\n"));
            remotes(&format!("[remote \"a\"]\n{}", urls.collect::<String>()))
        };
        assert!(Repo::of(String::new(), &many(300)).is_some());
        assert_eq!(Repo::of(String::new(), &many(400)), None);
    }
}
