//! The remotes of a repository, as the settings that count for it say: where git fetches from and pushes to.
//!
//! Not here: in which files they stand, and what a remote is called ([`super`]).

use std::collections::BTreeSet;

use super::{config::Setting, decoded};

/// More addresses than this are not looked at, and so many rules that change them; then nothing is known.
const MOST: usize = 1000;
const MOST_RULES: usize = 100;

/// The same of what is longer.
const LONGEST: usize = 4096;

/// Where a setting stands.
#[derive(Debug, Clone, Copy)]
pub struct Stands {
    /// In a file of the repository, and not in one of the user's, which counts for all of them.
    pub in_repository: bool,
    /// Not behind a condition that is not judged here.
    pub always: bool,
}

/// What is known of remotes.
#[derive(Debug, Default)]
pub struct Remotes {
    addresses: Vec<Address>,
    /// What branches name as their remote: an address, where none is called so.
    of_branches: BTreeSet<String>,
    /// Addresses of the repositories to which these lead.
    of_others: BTreeSet<String>,
    rules: Vec<Rule>,
    worktrees_differ: bool,
    is_too_much: bool,
}

#[derive(Debug)]
struct Address {
    remote: String,
    url: String,
    to_push: bool,
    always: bool,
}

/// `url.TO.insteadOf = FROM`.
#[derive(Debug)]
struct Rule {
    from: String,
    to: String,
    to_push: bool,
    always: bool,
}

impl Remotes {
    /// Takes the next setting, in the order in which git reads them.
    pub fn take(&mut self, setting: Setting, stands: Stands) {
        let Setting { section, name, key, value } = setting;
        let Stands { in_repository, always } = stands;
        match (section.as_str(), name, key.as_str()) {
            ("remote", Some(remote), "url" | "pushurl") if in_repository => {
                self.address(remote, value, key == "pushurl", always);
            }
            ("branch", Some(_), "remote" | "pushremote") | ("remote", None, "pushdefault")
                if in_repository && !matches!(value.as_str(), "" | ".") =>
            {
                if value.len() > LONGEST || self.of_branches.len() == MOST {
                    self.is_too_much |= !self.of_branches.contains(&value);
                    return;
                }
                self.of_branches.insert(value);
            }
            ("url", Some(to), "insteadof" | "pushinsteadof") if !value.is_empty() => {
                let is_too_long = to.len() > LONGEST || value.len() > LONGEST;
                if is_too_long || self.rules.len() == MOST_RULES {
                    self.is_too_much = true;
                    return;
                }
                self.rules.push(Rule { from: value, to, to_push: key != "insteadof", always });
            }
            ("extensions", None, "worktreeconfig") if in_repository => {
                let no = ["false", "no", "off", "0"];
                self.worktrees_differ = !no.iter().any(|no| value.eq_ignore_ascii_case(no));
            }
            _ => {}
        }
    }

    /// Takes a file of `remotes`, in which git keeps none any more, and reads them.
    pub fn take_file(&mut self, remote: &str, text: &str) {
        let urls = text.lines().filter_map(|line| line.strip_prefix("URL:"));
        self.take_old(remote, &urls.map(str::trim).collect::<Vec<_>>());
    }

    /// The same of `branches`: an address, and perhaps a branch.
    pub fn take_branch(&mut self, remote: &str, text: &str) {
        let line = text.lines().next().unwrap_or_default().trim();
        self.take_old(remote, &[line.split('#').next().unwrap_or_default()]);
    }

    fn take_old(&mut self, remote: &str, urls: &[&str]) {
        // Git looks there only where nothing else tells of it.
        let always = !self.addresses.iter().any(|it| it.remote == remote && it.always);
        for url in urls.iter().filter(|url| !url.is_empty()) {
            self.address(remote.to_owned(), (*url).to_owned(), false, always);
        }
    }

    fn address(&mut self, remote: String, url: String, to_push: bool, always: bool) {
        if url.is_empty() {
            // What was said before is taken back; that it was said still counts.
            let before = self.addresses.iter_mut();
            before
                .filter(|it| it.remote == remote && it.to_push == to_push && always)
                .for_each(|it| it.always = false);
        } else if url.len() > LONGEST || self.addresses.len() == MOST {
            self.is_too_much = true;
        } else {
            self.addresses.push(Address { remote, url, to_push, always });
        }
    }

    /// Whether each worktree has settings of its own.
    #[must_use]
    pub fn worktrees_differ(&self) -> bool {
        self.worktrees_differ
    }

    /// Whether there is more than was taken.
    pub(super) fn is_too_much(&self) -> bool {
        self.is_too_much
    }

    /// What git says of `origin`, else of the first remote: what stands behind a condition only where nothing else is,
    /// and where it is pushed to only where it is not fetched.
    pub(super) fn shown(&self) -> Option<String> {
        let rank = |it: &&Address| (!it.always, it.remote != "origin", it.to_push);
        let address = self.addresses.iter().min_by_key(rank)?;
        let counts = |rule: &&Rule| !rule.to_push && (rule.always || !address.always);
        // The longest one, and of two the first.
        let rules = self.rules.iter().rev().filter(counts);
        let rules = rules.filter_map(|rule| Some((rule.from.len(), rule.changes(&address.url)?)));
        let changed = rules.max_by_key(|(length, _)| *length).map(|(_, url)| url);
        Some(changed.unwrap_or_else(|| address.url.clone()))
    }

    /// All addresses: as they are written, and as any rule changes them.
    pub(super) fn all(&self) -> impl Iterator<Item = String> {
        let is_one = |name: &&String| self.addresses.iter().any(|it| it.remote == **name);
        let unnamed = self.of_branches.iter().filter(move |name| !is_one(name));
        let own = self.addresses.iter().map(|it| &it.url).chain(unnamed).flat_map(|url| {
            let changed = self.rules.iter().filter_map(|rule| rule.changes(url));
            changed.chain([url.clone()])
        });
        own.chain(self.of_others.iter().cloned())
    }

    /// Those that are paths on this machine, as git tells them from addresses; they may be relative to the clone.
    #[must_use]
    pub fn paths(&self) -> BTreeSet<String> {
        let path = |url: String| match (url.strip_prefix("file://"), url.find(':')) {
            (Some(path), _) => Some(decoded(path)),
            (None, Some(at)) => url[..at].contains('/').then_some(url),
            (None, None) => Some(url),
        };
        self.all().filter_map(path).collect()
    }

    /// These count, too: they are those of a repository to which one of these leads.
    pub fn count(&mut self, theirs: &Self) {
        self.is_too_much |= theirs.is_too_much;
        for url in theirs.all() {
            self.of_others.insert(url);
        }
        self.is_too_much |= self.of_others.len() > MOST;
    }
}

impl Rule {
    fn changes(&self, url: &str) -> Option<String> {
        url.strip_prefix(&self.from).map(|rest| format!("{}{rest}", self.to))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::config::settings, *};

    const OWN: Stands = Stands { in_repository: true, always: true };
    const MAYBE: Stands = Stands { always: false, ..OWN };
    const USERS: Stands = Stands { in_repository: false, ..OWN };

    fn of(files: &[(&str, Stands)]) -> Remotes {
        let mut remotes = Remotes::default();
        for (text, stands) in files {
            settings(text).into_iter().for_each(|it| remotes.take(it, *stands));
        }
        remotes
    }

    fn shown(files: &[(&str, Stands)]) -> Option<String> {
        of(files).shown()
    }

    #[test]
    fn origin_is_preferred() {
        let config = "[core]\n\tbare = false\n[remote \"fork\"]\n\turl = https://h/fork.git\n\
                      [remote \"origin\"]\n\turl = \"https://h/real.git\"\n\tfetch = +refs/*\n";
        assert_eq!(shown(&[(config, OWN)]).as_deref(), Some("https://h/real.git"));
        for (config, url) in [
            ("[remote \"a\"]\nurl=x\n[remote \"b\"]\nurl=y", Some("x")),
            ("[remote \"origin\"]\nurl=x\nurl=y", Some("x")),
            ("[remote \"origin\"]\nurl=x\nurl=\nurl=y", Some("y")),
            ("[remote \"origin\"]\npushurl=x\n[remote \"b\"]\nurl=y", Some("x")),
            ("[remote \"origin\"]\npushurl=x\nurl=y", Some("y")),
            ("[branch \"main\"]\nurl = no", None),
        ] {
            assert_eq!(shown(&[(config, OWN)]).as_deref(), url, "{config}");
        }
    }

    #[test]
    fn an_address_is_changed_by_the_longest_rule() {
        let config = "[remote \"origin\"]\nurl = work:secret";
        for (rules, url) in [
            ("[url \"git@h:acme/\"]\ninsteadOf = work:", "git@h:acme/secret"),
            ("[url \"a:\"]\ninsteadOf = work:\n[url \"b:\"]\ninsteadOf = work:s", "b:ecret"),
            ("[url \"b:\"]\ninsteadOf = work:s\n[url \"a:\"]\ninsteadOf = work:", "b:ecret"),
            ("[url \"a:\"]\ninsteadOf = work:\n[url \"b:\"]\ninsteadOf = work:", "a:secret"),
            ("[url \"a:\"]\npushInsteadOf = work:\n[url \"b:\"]\ninsteadOf = Work:", "work:secret"),
            ("[url \"a:\"]\ninsteadOf =", "work:secret"),
            // Once, and no more.
            ("[url \"b:\"]\ninsteadOf = work:\n[url \"c:\"]\ninsteadOf = b:", "b:secret"),
        ] {
            for stands in [OWN, USERS] {
                assert_eq!(
                    shown(&[(rules, stands), (config, OWN)]).as_deref(),
                    Some(url),
                    "{rules}"
                );
            }
        }
    }

    #[test]
    fn every_address_counts_and_what_is_certain_is_shown() {
        let files = [
            ("[url \"p:\"]\npushInsteadOf = w:\n[remote \"origin\"]\nurl = users", USERS),
            ("[remote \"origin\"]\nurl = maybe\n[url \"m:\"]\ninsteadOf = w:", MAYBE),
            ("[remote \"a\"]\nurl = w:x\npushurl = y", OWN),
        ];
        assert_eq!(shown(&files).as_deref(), Some("w:x"));
        assert_eq!(of(&files).all().collect::<Vec<_>>(), ["maybe", "p:x", "m:x", "w:x", "y"]);
        assert_eq!(shown(&files[..2]).as_deref(), Some("maybe"));
        assert_eq!(shown(&files[..1]), None, "a remote of every repository tells them not apart");
        let taken_back = of(&[("[remote \"a\"]\nurl = x\nurl =\n", OWN)]);
        assert_eq!(taken_back.all().collect::<Vec<_>>(), ["x"]);
    }

    #[test]
    fn a_branch_names_a_remote_or_an_address() {
        for (value, all) in [
            ("h:acme/secret.git", &["h:acme/secret.git"][..]),
            ("../secret", &["../secret"]),
            ("secret", &["secret"]),
            ("w:secret", &["h:secret", "w:secret"]),
            ("Up", &["Up"]),
            ("up", &[]),
            ("old", &[]),
            (".", &[]),
            ("", &[]),
        ] {
            for setting in [
                format!("[branch \"a\"]\nremote = {value}"),
                format!("[branch \"a\"]\npushRemote = {value}"),
                format!("[remote]\npushDefault = {value}"),
            ] {
                let config =
                    format!("{setting}\n[remote \"up\"]\nurl = x\n[url \"h:\"]\ninsteadOf = w:");
                let mut remotes = of(&[(&config, OWN), (&setting.replace(value, "users"), USERS)]);
                remotes.take_file("old", "URL: y");
                assert_eq!(remotes.shown().as_deref(), Some("x"), "{config}");
                let named: Vec<_> = remotes.all().skip(2).collect();
                assert_eq!(named, all, "{config}");
                assert_eq!(shown(&[(&setting, OWN)]), None, "{setting}");
            }
        }
        // Every branch names one, and most the same.
        let branches = "[branch \"a\"]\nremote = origin\n".repeat(MOST + 1);
        assert!(!of(&[(&branches, OWN)]).is_too_much());
    }

    #[test]
    fn paths_are_told_from_addresses_and_lead_to_others() {
        let urls = "/srv/a\nurl = ../b\nurl = c\nurl = ./d:e\nurl = file:///srv/%66#\nurl = h:x\n\
                    url = https://h/x\nurl = w:g\n[url \"/srv/\"]\ninsteadOf = w:\n";
        let mut remotes =
            of(&[(&format!("[remote \"origin\"]\nurl = {}", urls.replace('#', "")), OWN)]);
        let paths = ["../b", "./d:e", "/srv/a", "/srv/f", "/srv/g", "c"];
        assert_eq!(remotes.paths(), paths.map(str::to_owned).into());
        let before = remotes.all().count();
        remotes.count(&of(&[("[remote \"origin\"]\nurl = h:secret", OWN)]));
        assert_eq!(remotes.shown().as_deref(), Some("/srv/a"));
        assert_eq!(remotes.all().skip(before).collect::<Vec<_>>(), ["h:secret"]);
        assert!(!remotes.is_too_much());
        remotes.count(&of(&[(&"[remote \"a\"]\nurl = x\n".repeat(MOST + 1), OWN)]));
        assert!(remotes.is_too_much());
    }

    #[test]
    fn files_of_old_are_read_where_nothing_newer_is() {
        let mut remotes = Remotes::default();
        remotes.take_file("origin", "Pull: refs/heads/a:b\nURL:  git@h:acme/secret.git \nURL: y\n");
        remotes.take_branch("more", "h:x.git#main\nno\n");
        remotes.take_branch("empty", "#main\n");
        assert_eq!(remotes.shown().as_deref(), Some("git@h:acme/secret.git"));
        assert_eq!(remotes.all().collect::<Vec<_>>(), ["git@h:acme/secret.git", "y", "h:x.git"]);
        let mut remotes = of(&[("[remote \"origin\"]\nurl = new", OWN)]);
        remotes.take_file("origin", "URL: old");
        assert_eq!(remotes.shown().as_deref(), Some("new"));
        assert_eq!(remotes.all().count(), 2);
    }

    #[test]
    fn worktrees_differ_where_they_are_said_to() {
        for (value, is) in [(" = true", true), ("", true), (" = No", false), (" = 0", false)] {
            let config = format!("[extensions]\nworktreeConfig{value}\n");
            assert_eq!(of(&[(&config, OWN)]).worktrees_differ(), is, "{value}");
            assert!(!of(&[(&config, USERS)]).worktrees_differ());
        }
    }

    #[test]
    fn what_is_too_much_is_not_half_known() {
        let remote = |urls: usize| "[remote \"a\"]\n".to_owned() + &"url = x\n".repeat(urls);
        let rules = |rules: usize| "[url \"a\"]\n".to_owned() + &"insteadOf = x\n".repeat(rules);
        let branches = |all: usize| {
            let named = (0..all).map(|n| format!("[branch \"a\"]\nremote = {n}\nremote = 0\n"));
            named.collect::<String>()
        };
        let long = |key: &str, length| format!("{key} = {}", "x".repeat(length));
        for (most, is) in [(0, false), (1, true)] {
            for config in [
                remote(MOST + most),
                rules(MOST_RULES + most),
                long("[remote \"a\"]\npushurl", LONGEST + most),
                long("[url \"a\"]\ninsteadOf", LONGEST + most),
                long("[remote]\npushDefault", LONGEST + most),
                branches(MOST + most),
            ] {
                assert_eq!(of(&[(&config, OWN)]).is_too_much(), is);
            }
        }
    }
}
