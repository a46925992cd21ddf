//! In which repository each session works, as far as anybody ever had an answer.
//!
//! Not here: looking on the disk ([`crate::repo`]), and which of several answers counts ([`rrd_core::repo`]).

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use rrd_core::repo::{Learnt, Repo, place, told_place};
use rrd_proto::{SessionKey, copy::Past};

use super::{Hub, Known};
use crate::repo::Seen;

/// What is known.
#[derive(Debug, Default)]
pub(super) struct Learning {
    known: HashMap<SessionKey, Learnt>,
    /// What is not written down yet.
    unsaved: BTreeSet<SessionKey>,
    /// An earlier release wrote down what is known, and not of which directories.
    is_of_earlier: bool,
}

impl Learning {
    fn take(&mut self, key: &SessionKey, repo: &Repo) {
        let is_news = match self.known.get_mut(key) {
            Some(learnt) => learnt.take(repo),
            None => {
                let learnt = Learnt { repo: repo.clone(), ..Learnt::default() };
                self.known.insert(key.clone(), learnt).is_none()
            }
        };
        if is_news {
            self.unsaved.insert(key.clone());
        }
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
        let before = known.repos.known.get(key);
        let recorded = || seen.recorded.filter(|_| before.is_none());
        let repo = match seen.answer.or_else(recorded) {
            Some(repo) => {
                known.repos.take(key, &repo);
                repo
            }
            None => before.map_or(seen.guess, |learnt| Arc::new(learnt.repo.clone())),
        };
        let names: Vec<&str> = seen.also.iter().flat_map(|it| it.names()).collect();
        let mut places = seen.places;
        // The answer that was written down was of the only one.
        places.extend(seen.only.filter(|_| known.repos.is_of_earlier));
        known.repos.also(key, &names, places);
        repo
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
            let is_told = repo.is_some() || *past != Past::default();
            if known.forgotten.contains(key) || !is_told {
                return;
            }
            let is_new = !known.repos.known.contains_key(key);
            let learnt = known.repos.known.entry(key.clone()).or_default();
            if is_new {
                learnt.repo = repo.cloned().unwrap_or_default();
            }
            let mut is_news = is_new;
            let names = repo.into_iter().flat_map(Repo::names);
            for name in names.chain(past.repos.iter().map(String::as_str)) {
                is_news |= learnt.was_in(name);
            }
            is_news |=
                learnt.knows(past.places.iter().filter_map(|it| u64::from_str_radix(it, 16).ok()));
            is_news |= past.is_all && !learnt.is_all;
            learnt.is_all |= past.is_all;
            if is_news {
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
        let is_all = |key: &SessionKey| all.repos.known.get(key).is_some_and(|it| it.is_all);
        all.roster.ancestry(keys, is_all)
    }

    /// Where a session was, for whoever is given a copy of it.
    pub(crate) fn past_of(&self, key: &SessionKey) -> Past {
        let (keys, is_all) = self.ancestry(vec![key.clone()]);
        let all = self.lock();
        let known: Vec<Option<&Learnt>> = keys.iter().map(|key| all.repos.known.get(key)).collect();
        let is_all = is_all && known.iter().all(Option::is_some) && all.unknown_of(&keys).is_none();
        let known = || known.iter().copied().flatten();
        let names: BTreeSet<&str> = known().flat_map(Learnt::names).collect();
        Past {
            repos: names.into_iter().map(str::to_owned).collect(),
            is_all,
            places: known().flat_map(|it| &it.places).copied().map(told_place).collect(),
        }
        .cut()
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

    /// What was known before the start.
    pub(crate) fn restore_repos(&self, known: Vec<(SessionKey, Learnt)>) {
        let mut all = self.lock();
        let known: Vec<_> =
            known.into_iter().filter(|(key, _)| !all.forgotten.contains(key)).collect();
        all.repos.is_of_earlier =
            !known.is_empty() && known.iter().all(|(_, it)| it.places.is_empty());
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
}

impl Known {
    fn unknown_of(&self, keys: &[SessionKey]) -> Option<Unknown> {
        let known: Vec<&Learnt> = keys.iter().filter_map(|key| self.repos.known.get(key)).collect();
        let is_known = |at: &&str| {
            let place = place(at);
            known.iter().any(|it| it.places.contains(&place))
        };
        keys.iter().find_map(|key| {
            let fold = &self.roster.get(key)?.fold;
            let unknown = fold.named().find(|at| !is_known(at));
            let is_all = || self.repos.known.get(key).is_some_and(|it| it.is_all);
            let more = || (fold.was_at_more && !is_all()).then_some(Unknown::More);
            unknown.map(|at| Unknown::Place(at.to_owned())).or_else(more)
        })
    }
}

#[cfg(test)]
mod tests {
    use rrd_core::roster::Place;
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
        let places = vec![told_place(place("/w/before"))];
        let past = Past { repos: vec!["before".to_owned()], is_all: true, places: places.clone() };
        hub.comes_of_repo(&a, Some(&repo("there")), &Past::default());
        assert_eq!(names(&a).unwrap(), ["secret", "begun", "there"]);
        hub.comes_of_repo(&b, None, &Past::default());
        assert_eq!(names(&b), None, "nothing was told");
        hub.comes_of_repo(&b, Some(&repo("there")), &past);
        assert_eq!(*hub.learn_repo(&b, nothing), *repo("there"));
        assert_eq!(names(&b).unwrap(), ["there", "before"]);
        let told = |key| hub.past_of(key);
        let all = ["before", "there"].map(str::to_owned).to_vec();
        assert_eq!(told(&b), Past { repos: all, is_all: true, places });
        let saved = hub.unsaved_repos();
        assert!(saved.len() == 2 && hub.unsaved_repos().is_empty());
        let again = Hub::new(Place { host: "mac".to_owned(), node_id: None, idle_timeout }, &[]);
        again.restore_repos(saved);
        assert_eq!((again.repo_of(&a), again.repo_of(&b)), (hub.repo_of(&a), hub.repo_of(&b)));
        hub.forget(std::slice::from_ref(&a));
        hub.comes_of_repo(&a, Some(&repo("there")), &past);
        assert_eq!((names(&a), hub.unsaved_repos()), (None, Vec::new()));
    }
}
