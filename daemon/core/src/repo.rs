//! What a repository is called: from its remote, without credentials, else from its directory.
//!
//! Also what is known of a session's once somebody had an answer ([`Learnt`]). Works on text only; the driver finds and
//! reads `.git`. Not here: branches (harnesses log them).

mod config;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

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
}

impl Repo {
    /// A repository with this root and remote (as git has it, credentials included).
    #[must_use]
    pub fn new(root: Option<String>, remote: Option<&str>) -> Self {
        let remote = remote.map(strip_credentials);
        let of_root = || root.as_deref().and_then(last_segment);
        let name = remote.as_deref().and_then(remote_name).or_else(of_root);
        Self { name, root, remote }
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
    /// The last answer: the default one where it was in none.
    pub repo: Repo,
    /// What others are called in which it was: what it did there stays in its transcript.
    pub past: Vec<String>,
    /// These are also all in which that was of which it has something: who gave it to this host knew them.
    pub is_all: bool,
    /// Directories of which it is known in which of these they are, or that they are in none ([`place`]).
    pub places: BTreeSet<String>,
}

/// What stands for a directory, as records name it, where others need not read it.
#[must_use]
pub fn place(directory: &str) -> String {
    format!("{:016x}", crate::hash(directory.as_bytes()))
}

impl Learnt {
    /// Takes an answer; true when anything is different by it.
    pub fn take(&mut self, repo: &Repo) -> bool {
        if self.repo == *repo {
            return false;
        }
        if let Some(before) = std::mem::replace(&mut self.repo, repo.clone()).name {
            self.was_in(&before);
        }
        true
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
    pub fn knows(&mut self, places: impl IntoIterator<Item = String>) -> bool {
        let before = self.places.len();
        self.places.extend(places);
        self.places.len() > before
    }

    /// What all are called in which it is and was.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.repo.name.iter().chain(&self.past).map(String::as_str)
    }
}

/// Whether these are names of one repository: forges do not tell upper case from lower.
#[must_use]
pub fn is_called(one: &str, other: &str) -> bool {
    one == other || one.to_lowercase() == other.to_lowercase()
}

/// The URL of `origin`, else of the first remote, in the text of a git `config` file.
#[must_use]
pub fn remote_in_config(config: &str) -> Option<String> {
    let mut remotes = config::remotes(config);
    let origin = remotes.iter().position(|(name, _)| name == "origin").unwrap_or_default();
    (origin < remotes.len()).then(|| remotes.swap_remove(origin).1)
}

/// `https://user:token@host/a/b` without `user:token@`; also without query and fragment, which some
/// hosts accept tokens in. `git@host:a/b` keeps its user: it is the same for everybody.
#[must_use]
pub fn strip_credentials(url: &str) -> String {
    let end = url.find(['?', '#']).unwrap_or(url.len());
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

fn remote_name(remote: &str) -> Option<String> {
    let path = remote.trim_end_matches('/');
    // Also of a clone that has its files beside it: `secret/.git`.
    let path = path.strip_suffix(".git").unwrap_or(path).trim_end_matches(['/', '\\']);
    path.rsplit(['/', ':', '\\']).next().filter(|name| !name.is_empty()).map(str::to_owned)
}

fn last_segment(path: &str) -> Option<String> {
    path.trim_end_matches(['/', '\\'])
        .rsplit(['/', '\\'])
        .next()
        .filter(|s| !s.is_empty())
        .map(str::to_owned)
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
        let mut learnt = Learnt { repo: repo("secret"), ..Learnt::default() };
        assert!(!learnt.take(&repo("secret")));
        assert!(learnt.take(&Repo { root: Some("/moved".into()), ..repo("secret") }));
        assert!(learnt.past.is_empty(), "the same one elsewhere");
        assert!(learnt.take(&Repo::default()) && learnt.take(&repo("public")));
        assert!(learnt.was_in("other") && !learnt.was_in("public") && !learnt.was_in("secret"));
        assert_eq!(learnt.names().collect::<Vec<_>>(), ["public", "secret", "other"]);
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
    fn origin_is_preferred() {
        let config = "[core]\n\tbare = false\n[remote \"fork\"]\n\turl = https://h/fork.git\n\
                      [remote \"origin\"]\n\turl = \"https://h/real.git\"\n\tfetch = +refs/*\n";
        assert_eq!(remote_in_config(config).as_deref(), Some("https://h/real.git"));
        assert_eq!(remote_in_config("[remote \"a\"]\nurl=x").as_deref(), Some("x"));
        assert_eq!(remote_in_config("[branch \"main\"]\nurl = no"), None);
    }
}
