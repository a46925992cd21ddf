//! The list as bytes: made once for every change, however many ask.
//!
//! A row also changes by the clock alone (a session that is silent for long goes idle), so bytes are made
//! anew after a second, too; their ETag stays as long as they are the same. Not here: which session is
//! where ([`crate::answers`]), and who may ask.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use axum::http::HeaderValue;
use bytes::Bytes;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rrd_core::harness::{format_of, formats};
use rrd_proto::{Harness, ListQuery, ListReply, Since, Status, Timestamp, json};
use serde::Serialize;
use xxhash_rust::xxh3::xxh3_128;

use super::problem::Problem;
use crate::{answers::Answers, hub::now};

/// Nothing changes by the clock alone sooner than it matters.
const GOOD_FOR: Duration = Duration::from_secs(1);

/// Questions whose answers are kept, at most.
const KEPT: usize = 64;

/// What is asked for: the query of `GET /sessions`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Asked {
    pub(crate) all: bool,
    pub(crate) open: bool,
    pub(crate) host: Option<String>,
    pub(crate) harness: Option<Harness>,
    pub(crate) repo: Option<String>,
    pub(crate) status: Option<Status>,
    pub(crate) since: Option<Since>,
}

impl Asked {
    /// Reads a query.
    ///
    /// # Errors
    /// The problem.
    pub(crate) fn read(pairs: &[(String, String)]) -> Result<Self, Problem> {
        only(pairs, &["all", "open", "host", "harness", "repo", "status", "since"])?;
        let mut asked = Self::default();
        for (name, value) in pairs {
            let some = || (!value.is_empty()).then(|| value.clone());
            match name.as_str() {
                "all" => asked.all = flag(name, value)?,
                "open" => asked.open = flag(name, value)?,
                "host" => asked.host = some(),
                "harness" => asked.harness = Some(harness(value)?),
                "repo" => asked.repo = some(),
                "status" => {
                    let read = value.parse().map_err(|why| bad(format!("status is {why}")));
                    asked.status = Some(read?);
                }
                "since" => {
                    let read = value.parse().map_err(|why| bad(format!("since is {why}")));
                    asked.since = Some(read?);
                }
                _ => {}
            }
        }
        Ok(asked)
    }

    fn query(&self, now: Timestamp) -> ListQuery {
        ListQuery {
            all: self.all,
            open: self.open,
            host: self.host.clone(),
            harness: self.harness.clone(),
            repo: self.repo.clone(),
            status: self.status,
            since: self.since.map(|since| since.at(now)),
            raw: false,
        }
    }
}

/// One that this release reads, as the command line wants it: of a name that is mistyped there would be no
/// sessions, and nothing would say why. Rows of a harness that only a newer host reads are listed without it.
pub(crate) fn harness(name: &str) -> Result<Harness, Problem> {
    let harness = Harness::from(name);
    let known = || formats().iter().map(|format| format.name).collect::<Vec<_>>().join(", ");
    match format_of(&harness) {
        Some(_) => Ok(harness),
        None => Err(bad(format!("harness is one of {}", known()))),
    }
}

/// What a parameter that is on or off says.
pub(crate) fn flag(name: &str, value: &str) -> Result<bool, Problem> {
    match value {
        "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        _ => Err(bad(format!("{name} is 1 or 0"))),
    }
}

/// Refuses parameters that nobody knows, for they would be ignored and the answer be to another question;
/// and two of one name, of which none is to be preferred.
pub(crate) fn only(pairs: &[(String, String)], known: &[&str]) -> Result<(), Problem> {
    let twice = |at: usize| pairs[..at].iter().any(|(name, _)| *name == pairs[at].0);
    match pairs.iter().all(|(name, _)| known.contains(&name.as_str())) {
        true if (0..pairs.len()).any(twice) => Err(bad("a parameter is given twice")),
        true => Ok(()),
        false if known.is_empty() => Err(bad("this takes no parameters")),
        false => Err(bad(format!("no such parameter; these are known: {}", known.join(", ")))),
    }
}

pub(crate) fn bad(detail: impl Into<String>) -> Problem {
    Problem::new(axum::http::StatusCode::BAD_REQUEST, detail)
}

/// An answer as it is sent.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    pub(crate) body: Bytes,
    /// Names these bytes.
    pub(crate) etag: HeaderValue,
    /// When it was made.
    pub(crate) as_of: HeaderValue,
    /// Whom it lacks, and what.
    pub(crate) incomplete: Option<HeaderValue>,
}

impl Made {
    /// A document of its own, whole as it is.
    ///
    /// # Errors
    /// A fault of ours: what cannot be written in JSON.
    pub(crate) fn of<T: Serialize + ?Sized>(value: &T) -> Result<Self, Problem> {
        let body = Bytes::from(json::document(value).map_err(|_| unwritable())?);
        let etag = format!("\"{:032x}\"", xxh3_128(&body));
        let text = |text: String| HeaderValue::try_from(text).map_err(|_| unwritable());
        Ok(Self { body, etag: text(etag)?, as_of: text(now().to_string())?, incomplete: None })
    }
}

fn unwritable() -> Problem {
    Problem::new(axum::http::StatusCode::INTERNAL_SERVER_ERROR, "the answer cannot be written")
}

/// Answers that are good for a while.
pub(crate) struct Board {
    answers: Arc<Answers>,
    made: Mutex<HashMap<Asked, Kept>>,
}

struct Kept {
    cursor: u64,
    at: Instant,
    made: Made,
}

impl Board {
    pub(crate) fn new(answers: Arc<Answers>) -> Self {
        Self { answers, made: Mutex::default() }
    }

    /// The list that is asked for.
    ///
    /// # Errors
    /// A fault of ours.
    pub(crate) async fn sessions(&self, asked: &Asked) -> Result<Made, Problem> {
        // Whoever asks sees what has been written until now.
        let _looking = self.answers.desk.look().await;
        let cursor = *self.answers.hub.version().borrow();
        if let Some(kept) = self.lock().get(asked)
            && kept.cursor == cursor
            && kept.at.elapsed() < GOOD_FOR
        {
            return Ok(kept.made.clone());
        }
        let reply = self.answers.list(&asked.query(now())).await;
        let incomplete = incomplete(&reply);
        let mut made = Made { incomplete, ..Made::of(&reply.sessions)? };
        let mut kept = self.lock();
        if let Some(before) = kept.get(asked).filter(|before| before.made.etag == made.etag) {
            // The same bytes once, not twice.
            made.body = before.made.body.clone();
        }
        if kept.len() >= KEPT && !kept.contains_key(asked) {
            let oldest =
                kept.iter().min_by_key(|(_, kept)| kept.at).map(|(asked, _)| asked.clone());
            oldest.map(|oldest| kept.remove(&oldest));
        }
        // Of two that were made at once the later look stays, where they can be told apart.
        let newer = kept.get(asked).is_some_and(|other| other.cursor > reply.cursor);
        if !newer {
            let at = Instant::now();
            kept.insert(asked.clone(), Kept { cursor: reply.cursor, at, made: made.clone() });
        }
        Ok(made)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Asked, Kept>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `index` while transcripts are read for the first time; `host=` and a label, percent-encoded, of each that
/// has not told all it was asked for.
fn incomplete(reply: &ListReply) -> Option<HeaderValue> {
    let index = reply.progress.map(|_| "index".to_owned());
    let host = |label: &str| format!("host={}", utf8_percent_encode(label, NON_ALPHANUMERIC));
    let hosts = reply.unheard.iter().map(|unheard| host(&unheard.host));
    let words: Vec<String> = index.into_iter().chain(hosts).collect();
    (!words.is_empty()).then(|| HeaderValue::try_from(words.join(", ")).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(query: &[(&str, &str)]) -> Result<Asked, Problem> {
        let pairs: Vec<_> = query.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        Asked::read(&pairs)
    }

    #[test]
    fn a_query_is_read_or_refused() {
        let asked = read(&[("all", "1"), ("host", "mac"), ("status", "idle"), ("since", "2h")]);
        let asked = asked.unwrap();
        assert!(asked.all && !asked.open && asked.host.as_deref() == Some("mac"));
        assert_eq!(asked.since, Some(Since::Ago(Duration::from_secs(7_200))));
        let at = read(&[("since", "2026-11-20T10:00:00Z"), ("repo", "")]).unwrap();
        assert!(matches!(at.since, Some(Since::At(_))) && at.repo.is_none());
        for wrong in [
            &[("all", "yes")][..],
            &[("status", "busy")],
            &[("since", "yesterday")],
            &[("since", "")],
            &[("harness", "vim")],
            &[("harness", "")],
            &[("status", "")],
            &[("sort", "up")],
            &[("all", "1"), ("all", "0")],
        ] {
            assert_eq!(read(wrong).unwrap_err().status(), 400, "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn no_query_is_taken_for_another(
            pairs in proptest::collection::vec(
                ("(all|open|host|harness|repo|status|since|[ -~]{0,8})", ".{0,20}"), 0..5
            )
        ) {
            if let Ok(asked) = Asked::read(&pairs) {
                let value = |name: &str| pairs.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone());
                prop_assert_eq!(asked.all, value("all").is_some_and(|v| v == "1" || v == "true"));
                prop_assert_eq!(asked.host.clone(), value("host").filter(|v| !v.is_empty()));
                prop_assert_eq!(asked.since.is_some(), value("since").is_some());
                let _ = asked.query(Timestamp::from_millis(i64::MIN));
            }
        }
    }
}
