//! In which repository each session works, as far as anybody ever had an answer.
//!
//! Not here: looking on the disk ([`crate::repo`]), and which of several answers counts ([`rrd_core::repo`]).

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use rrd_core::{
    fold::Fold,
    repo::{Before, Learnt, Repo, digits, place},
};
use rrd_proto::{SessionKey, copy::Past};

use super::{Hub, Known};
use crate::repo::Seen;

/// What is known.
#[derive(Debug, Default)]
pub(super) struct Learning {
    known: HashMap<SessionKey, Learnt>,
    /// What is not written down yet.
    unsaved: BTreeSet<SessionKey>,
}

impl Learning {
    fn take(&mut self, key: &SessionKey, repo: &Repo) {
        if self.known.entry(key.clone()).or_default().take(repo) {
            self.unsaved.insert(key.clone());
        }
    }

    /// The last answer.
    fn answer(&self, key: &SessionKey) -> Option<&Repo> {
        self.known.get(key)?.repo.as_ref()
    }

    /// Of one of which nothing is known yet nothing would be by this alone: it is told again.
    fn also(&mut self, key: &SessionKey, names: &[&str], places: Vec<u64>) {
        let Some(learnt) = self.known.get_mut(key) else { return };
        let is_news = names.iter().fold(false, |is_news, name| learnt.was_in(name) | is_news);
        if learnt.knows(places) | is_news {
            self.unsaved.insert(key.clone());
        }
    }

    pub(super) fn forget(&mut self, key: &SessionKey) {
        self.known.remove(key);
        self.unsaved.remove(key);
    }
}

impl Hub {
    /// Takes what can be told of a session's repository now; gives which one it is then, as far as that can be said.
    pub(crate) fn learn_repo(&self, key: &SessionKey, seen: Seen) -> Arc<Repo> {
        let mut known = self.lock();
        if known.forgotten.contains(key) {
            return seen.guess;
        }
        let before = known.repos.answer(key);
        let recorded = || seen.recorded.filter(|_| before.is_none());
        let repo = match seen.answer.or_else(recorded) {
            Some(repo) => {
                known.repos.take(key, &repo);
                repo
            }
            None => before.map_or(seen.guess, |repo| Arc::new(repo.clone())),
        };
        let names: Vec<&str> = seen.also.iter().flat_map(|it| it.names()).collect();
        known.repos.also(key, &names, seen.places);
        repo
    }

    /// Directories that a session's records name, of which nobody has looked for this one in which repository they are.
    pub(crate) fn new_places(&self, key: &SessionKey, fold: &Fold) -> Vec<String> {
        let all = self.lock();
        let learnt = all.repos.known.get(key);
        let is_known = |at: &&str| learnt.is_some_and(|it| it.places.contains(&place(at)));
        fold.named().filter(|at| !is_known(at)).map(str::to_owned).collect()
    }

    /// It was in this one, too.
    pub(crate) fn was_in_repo(&self, key: &SessionKey, name: &str) {
        self.lock().repos.also(key, &[name], Vec::new());
        self.here.send_modify(|_| {});
    }

    /// The same of a session that is listed already.
    pub(crate) fn relearn_repo(&self, key: &SessionKey, seen: Seen) {
        let repo = self.learn_repo(key, seen);
        self.show_repo(key, &repo);
    }

    /// A copy of it comes, and was in these where it comes from: what this host knows by itself counts more.
    pub(crate) fn comes_of_repo(&self, key: &SessionKey, repo: Option<&Repo>, past: &Past) {
        let is_new = {
            let known = &mut *self.lock();
            if known.forgotten.contains(key) {
                return;
            }
            let learnt = known.repos.known.entry(key.clone()).or_default();
            let is_new = learnt.repo.is_none();
            if is_new {
                // Whoever knows all knows that it was in none.
                let none = || past.is_whole.then(Repo::default);
                learnt.repo = repo.cloned().or_else(none);
            }
            let names = repo.into_iter().flat_map(Repo::names);
            let is_news = names.fold(is_new, |is_news, name| learnt.was_in(name) | is_news);
            if learnt.came(past) | is_news {
                known.repos.unsaved.insert(key.clone());
            }
            is_new
        };
        if let (true, Some(repo)) = (is_new, repo) {
            self.show_repo(key, &Arc::new(repo.clone()));
        }
        // Also where it is not listed yet, it is to be written down.
        self.here.send_modify(|_| {});
    }

    fn show_repo(&self, key: &SessionKey, repo: &Arc<Repo>) {
        let version = {
            let mut known = self.lock();
            known.roster.set_repo(key, repo);
            known.roster.version()
        };
        if self.version.send_if_modified(|seen| std::mem::replace(seen, version) != version) {
            self.here.send_replace(version);
        }
    }

    /// What is known of a session's repository; nothing where nobody had an answer yet.
    pub(crate) fn repo_of(&self, key: &SessionKey) -> Option<Learnt> {
        self.lock().repos.known.get(key).cloned()
    }

    /// See [`rrd_core::roster::Roster::ancestry`].
    pub(crate) fn ancestry(&self, keys: Vec<SessionKey>) -> (Vec<SessionKey>, bool) {
        let all = self.lock();
        let is_all =
            |key: &SessionKey| all.repos.known.get(key).is_some_and(|it| it.before == Before::All);
        all.roster.ancestry(keys, is_all)
    }

    /// Where a session was, and what it has something of, for whoever is given a copy of it.
    pub(crate) fn past_of(&self, key: &SessionKey) -> Past {
        let (keys, is_all) = self.ancestry(vec![key.clone()]);
        self.lock().past(&keys, is_all)
    }

    /// The same of it alone: who sent it comes along.
    pub(crate) fn own_past_of(&self, key: &SessionKey) -> Past {
        self.lock().past(std::slice::from_ref(key), true)
    }

    /// What is not known of where these were, who have something of each other.
    pub(crate) fn unknown_of(&self, keys: &[SessionKey]) -> Option<Unknown> {
        self.lock().unknown_of(keys)
    }

    /// What was learnt since this was last asked.
    pub(crate) fn unsaved_repos(&self) -> Vec<(SessionKey, Learnt)> {
        let repos = &mut self.lock().repos;
        let keys = std::mem::take(&mut repos.unsaved);
        keys.into_iter()
            .filter_map(|key| Some((key.clone(), repos.known.get(&key)?.clone())))
            .collect()
    }

    /// It could not be written down.
    pub(crate) fn still_unsaved(&self, keys: impl Iterator<Item = SessionKey>) {
        let repos = &mut self.lock().repos;
        repos.unsaved.extend(keys.filter(|key| repos.known.contains_key(key)));
    }

    /// What was known before the start.
    pub(crate) fn restore_repos(&self, mut known: Vec<(SessionKey, Learnt)>) {
        let mut all = self.lock();
        known.retain(|(key, _)| !all.forgotten.contains(key));
        all.repos.known.extend(known);
    }
}

/// Why it is not known where a session was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unknown {
    /// It was in this directory.
    Place(String),
    /// In more than are remembered.
    More,
    /// On the host that it came from, which did not know or did not tell it.
    Before,
}

impl Known {
    fn unknown_of(&self, keys: &[SessionKey]) -> Option<Unknown> {
        let known: Vec<&Learnt> = keys.iter().filter_map(|key| self.repos.known.get(key)).collect();
        let is_known = |at: &&str| {
            let place = place(at);
            known.iter().any(|it| it.places.contains(&place))
        };
        keys.iter().find_map(|key| {
            let before = self.repos.known.get(key).map(|it| it.before).unwrap_or_default();
            if before == Before::Part {
                return Some(Unknown::Before);
            }
            let fold = &self.roster.get(key)?.fold;
            let unknown = fold.named().find(|at| !is_known(at));
            let more = || (fold.was_at_more && before == Before::Here).then_some(Unknown::More);
            unknown.map(|at| Unknown::Place(at.to_owned())).or_else(more)
        })
    }

    fn past(&self, keys: &[SessionKey], is_all: bool) -> Past {
        let known = || keys.iter().filter_map(|key| self.repos.known.get(key));
        let is_known = |key| self.repos.answer(key).is_some();
        Past {
            names: known().flat_map(Learnt::marks).map(digits).collect(),
            places: known().flat_map(|it| &it.places).copied().map(digits).collect(),
            is_whole: is_all && keys.iter().all(is_known) && self.unknown_of(keys).is_none(),
        }
        .cut()
    }
}

#[cfg(test)]
mod tests {
    use rrd_core::{repo::mark, roster::Place};
    use rrd_proto::Harness;

    use super::*;

    fn repo(name: &str) -> Arc<Repo> {
        Arc::new(Repo { name: Some(name.to_owned()), ..Repo::default() })
    }

    #[test]
    fn what_is_known_stays_until_there_is_another_answer() {
        let idle_timeout = std::time::Duration::from_secs(300);
        let hub = Hub::new(Place { host: "mac".to_owned(), node_id: None, idle_timeout }, &[]);
        let [a, b] = ["a", "b"]
            .map(|id| SessionKey { harness: Harness::ClaudeCode, session_id: id.to_owned() });
        let nothing = Seen { guess: repo("above"), ..Seen::default() };
        let found = |name| Seen { answer: Some(repo(name)), ..Seen::default() };
        let recorded = |name| Seen { recorded: Some(repo(name)), ..Seen::default() };
        let names =
            |key| hub.repo_of(key).map(|it| it.names().map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(*hub.learn_repo(&a, nothing.clone()), *repo("above"), "shown, and not known");
        assert_eq!(names(&a), None);
        assert_eq!(*hub.learn_repo(&a, recorded("begun")), *repo("begun"));
        assert_eq!(*hub.learn_repo(&a, found("secret")), *repo("secret"));
        for seen in [nothing.clone(), recorded("begun")] {
            assert_eq!(*hub.learn_repo(&a, seen), *repo("secret"));
        }
        assert_eq!(names(&a).unwrap(), ["secret", "begun"]);
        let of = |names: &[&str], is_whole| {
            let names = names.iter().map(|name| digits(mark(name))).collect();
            Past { names, places: vec![digits(place("/w/before"))], is_whole }.cut()
        };
        hub.comes_of_repo(&a, Some(&repo("there")), &Past::default());
        assert_eq!(names(&a).unwrap(), ["secret", "begun", "there"]);
        assert!(!hub.past_of(&a).is_whole, "nobody told where else it was there");
        hub.comes_of_repo(&b, None, &Past::default());
        let unknown = hub.repo_of(&b).unwrap();
        assert_eq!((unknown.repo, unknown.before), (None, Before::Part), "nothing was told");
        assert_eq!(*hub.learn_repo(&b, nothing.clone()), *repo("above"), "and nothing is known");
        hub.comes_of_repo(&b, Some(&repo("there")), &of(&["Before"], true));
        assert_eq!(*hub.learn_repo(&b, nothing), *repo("there"));
        assert_eq!(names(&b).unwrap(), ["there"]);
        assert_eq!(hub.past_of(&b), of(&["there", "before"], true));
        let saved = hub.unsaved_repos();
        assert!(saved.len() == 2 && hub.unsaved_repos().is_empty());
        let again = Hub::new(Place { host: "mac".to_owned(), node_id: None, idle_timeout }, &[]);
        again.restore_repos(saved);
        assert_eq!((again.repo_of(&a), again.repo_of(&b)), (hub.repo_of(&a), hub.repo_of(&b)));
        hub.forget(std::slice::from_ref(&a));
        hub.comes_of_repo(&a, Some(&repo("there")), &of(&["before"], true));
        assert_eq!((names(&a), hub.unsaved_repos()), (None, Vec::new()));
    }
}
