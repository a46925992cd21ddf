//! Which sessions an answer holds, and in what order.
//!
//! Not here: rows, and what other hosts add ([`crate::fleet::list`]).

use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
};

use rrd_proto::{
    IndexProgress, ListQuery, ListReply, Lookup, Root, Session, SessionKey, Status, Timestamp,
    Totals, session_ref,
};

use super::{Entry, MAX_CANDIDATES, MAX_DEPTH, Roster, judge::Judged};

impl Roster {
    /// Answers `rrd sessions list`.
    #[must_use]
    pub fn list(
        &self,
        query: &ListQuery,
        now: Timestamp,
        progress: Option<IndexProgress>,
        roots: Vec<Root>,
    ) -> ListReply {
        let mut totals = Totals::default();
        let mut matching = Vec::new();
        let mut last_ended: Option<(Option<Timestamp>, &SessionKey, Judged<'_>)> = None;
        let superseded = self.superseded();
        let origins = self.origins();
        for (key, entry) in &self.entries {
            if superseded.contains(&(&key.harness, key.session_id.as_str())) {
                continue;
            }
            let judged = self.judge(entry, key, now);
            // A delegate whose session is not known stands for itself.
            if !judged.is_subagent()
                || self.session_of(entry, key).is_none_or(|top| !self.entries.contains_key(&top))
            {
                totals.sessions += 1;
                totals.active += u64::from(judged.active);
                totals.waiting += u64::from(judged.verdict.status == Status::Waiting);
                totals.open += u64::from(judged.is_open());
            }
            if matches(query, key, entry, &judged, &self.place.host) {
                matching.push((key, judged));
            } else if judged.verdict.status == Status::Ended && !judged.is_subagent() {
                let ended = entry.fold.last_activity;
                if last_ended.as_ref().is_none_or(|(at, ..)| *at < ended) {
                    last_ended = Some((ended, key, judged));
                }
            }
        }
        let last_ended = match last_ended {
            Some((_, key, judged)) if matching.is_empty() => {
                Some(Box::new(self.row(key, judged.entry, &judged, &origins)))
            }
            _ => None,
        };
        // Rows are large: they are made last, each in its place.
        let row =
            |at: usize| self.row(matching[at].0, matching[at].1.entry, &matching[at].1, &origins);
        let sessions = self.in_order(&matching).into_iter().map(row).collect();
        ListReply {
            sessions,
            as_of: now,
            cursor: self.version,
            totals,
            last_ended,
            progress,
            roots,
            unheard: Vec::new(),
            alone: false,
            duplicated: Vec::new(),
        }
    }

    /// Active and open sessions that run in one of these processes.
    #[must_use]
    pub fn running(&self, pids: &[u32], now: Timestamp) -> Vec<Session> {
        let superseded = self.superseded();
        let is_it = |key: &SessionKey, judged: &Judged<'_>| {
            judged.evidence.pid.is_some_and(|pid| pids.contains(&pid))
                && judged.is_alive()
                && (judged.active || judged.is_open())
                && !superseded.contains(&(&key.harness, key.session_id.as_str()))
        };
        let judged = self.entries.iter().map(|(key, entry)| (key, self.judge(entry, key, now)));
        let found: Vec<_> = judged.filter(|(key, judged)| is_it(key, judged)).collect();
        if found.is_empty() {
            return Vec::new();
        }
        let origins = self.origins();
        let row = |(key, judged): &(&SessionKey, Judged<'_>)| {
            self.row(key, judged.entry, judged, &origins)
        };
        found.iter().map(row).collect()
    }

    /// Finds one session by ref, unique prefix of its id, or host/harness/session_id.
    #[must_use]
    pub fn lookup(&self, id: &str, now: Timestamp) -> Lookup {
        let origins = self.origins();
        let row = |key, entry| self.row(key, entry, &self.judge(entry, key, now), &origins);
        let mut found = Vec::new();
        for (key, entry) in &self.entries {
            let full = format!("{}/{key}", self.place.host);
            if key.session_id == id || full == id || key.to_string() == id {
                return Lookup::Found(Box::new(row(key, entry)));
            }
            if key.session_id.starts_with(id) || session_ref(self.node(), key) == id {
                found.push((key, entry));
            }
        }
        match found.as_slice() {
            _ if id.is_empty() => Lookup::NotFound,
            [] => Lookup::NotFound,
            [(key, entry)] => Lookup::Found(Box::new(row(key, entry))),
            many => Lookup::Ambiguous(
                many.iter().take(MAX_CANDIDATES).map(|(k, e)| row(k, e)).collect(),
            ),
        }
    }

    /// Waiting (longest first), executing, idle, ended (latest first); a subagent right below the
    /// nearest that is listed of those it works for.
    fn in_order(&self, rows: &[(&SessionKey, Judged<'_>)]) -> Vec<usize> {
        let id = |at: usize| rows[at].0.session_id.as_str();
        let mut places: Vec<usize> = (0..rows.len()).collect();
        places.sort_by_cached_key(|at| {
            let judged = &rows[*at].1;
            let status = judged.verdict.status;
            let when = match status {
                Status::Waiting => (judged.verdict.since, Reverse(None)),
                _ => (None, Reverse(judged.entry.fold.last_activity)),
            };
            (status, when, id(*at))
        });
        let listed: HashSet<&str> = (0..rows.len()).map(id).collect();
        let above = |(key, judged): &(&SessionKey, Judged<'_>)| {
            let mut id = &judged.entry.fold.parent.as_ref().filter(|_| judged.is_subagent())?.0;
            for _ in 0..MAX_DEPTH {
                if let Some(id) = listed.get(id.as_str()) {
                    return Some(*id);
                }
                let key = SessionKey { harness: key.harness.clone(), session_id: id.clone() };
                id = &self.entries.get(&key)?.fold.parent.as_ref()?.0;
            }
            None
        };
        let mut below: HashMap<&str, Vec<usize>> = HashMap::new();
        let mut left = Vec::with_capacity(rows.len());
        for at in places {
            match above(&rows[at]) {
                Some(id) => below.entry(id).or_default().push(at),
                None => left.push(at),
            }
        }
        left.reverse();
        let mut ordered = Vec::with_capacity(rows.len());
        while let Some(at) = left.pop() {
            left.extend(below.remove(id(at)).into_iter().flatten().rev());
            ordered.push(at);
        }
        // Delegates that name each other in a circle are below nobody.
        let mut circles: Vec<usize> = below.into_values().flatten().collect();
        circles.sort_by_key(|at| id(*at));
        ordered.extend(circles);
        ordered
    }
}

fn matches(
    query: &ListQuery,
    key: &SessionKey,
    entry: &Entry,
    judged: &Judged<'_>,
    host: &str,
) -> bool {
    // Asking for a status by name asks for all that have it.
    let shown =
        query.all || query.status.is_some() || judged.active || (query.open && judged.is_open());
    shown
        && query.status.is_none_or(|status| status == judged.verdict.status)
        && query.harness.as_ref().is_none_or(|harness| *harness == key.harness)
        && query.host.as_ref().is_none_or(|wanted| wanted == host)
        && query.repo.as_ref().is_none_or(|repo| entry.repo.name.as_ref() == Some(repo))
        && query.since.is_none_or(|since| entry.fold.last_activity.is_some_and(|at| at >= since))
}
