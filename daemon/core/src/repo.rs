//! What a repository is called: from its remote, without credentials, else from its directory.
//!
//! Works on text only; the driver finds and reads `.git`. Not here: branches (harnesses log them).

/// A repository as sessions show it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
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
}

/// The URL of `origin`, else of the first remote, in the text of a git `config` file.
#[must_use]
pub fn remote_in_config(config: &str) -> Option<String> {
    let mut section = None;
    let mut first = None;
    for line in config.lines().map(str::trim) {
        if let Some(header) = line.strip_prefix('[') {
            // `[remote "origin"]`
            section = header.strip_prefix("remote \"").and_then(|rest| rest.split('"').next());
        } else if let (Some(name), Some((key, value))) = (section, line.split_once('='))
            && key.trim().eq_ignore_ascii_case("url")
        {
            let url = value.trim().trim_matches('"').to_owned();
            if name == "origin" {
                return Some(url);
            }
            first = first.or(Some(url));
        }
    }
    first
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
    let path = path.strip_suffix(".git").unwrap_or(path);
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
    fn origin_is_preferred() {
        let config = "[core]\n\tbare = false\n[remote \"fork\"]\n\turl = https://h/fork.git\n\
                      [remote \"origin\"]\n\turl = \"https://h/real.git\"\n\tfetch = +refs/*\n";
        assert_eq!(remote_in_config(config).as_deref(), Some("https://h/real.git"));
        assert_eq!(remote_in_config("[remote \"a\"]\nurl=x").as_deref(), Some("x"));
        assert_eq!(remote_in_config("[branch \"main\"]\nurl = no"), None);
    }
}
