//! `GET /search` and the page `/find`: what was said, to programs and to people.
//!
//! Both show what was said in sessions, so whoever may not read transcripts gets neither. Not here: how it
//! is found ([`crate::search`]), and how the page is written ([`super::page`]).

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Query, State},
    http::{HeaderMap, HeaderValue, Response, StatusCode},
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rrd_proto::{MAX_HITS, SearchKind, SearchQuery, SearchReply, Timestamp};

use super::{
    Http,
    board::{Made, bad, harness, only},
    page::{self, FoundView},
    pages,
    problem::Problem,
    routes::{Answer, Pairs, document},
};
use crate::hub::now;

/// Hits, unless told otherwise.
const HITS: u32 = 20;

/// Reads a query; `None` where nothing is asked for.
fn read(pairs: &[(String, String)], now: Timestamp) -> Result<SearchQuery, Problem> {
    only(pairs, &["q", "host", "harness", "repo", "since", "kind", "limit"])?;
    let mut query = SearchQuery { limit: HITS, ..SearchQuery::default() };
    for (name, value) in pairs {
        let some = || (!value.is_empty()).then(|| value.clone());
        match name.as_str() {
            "q" => query.text = value.clone(),
            "host" => query.host = some(),
            "harness" => query.harness = Some(harness(value)?),
            "repo" => query.repo = some(),
            "since" => {
                let read: Result<rrd_proto::Since, _> = value.parse();
                let since = read.map_err(|why| bad(format!("since is {why}")))?;
                query.since = Some(since.at(now));
            }
            "kind" => {
                let kind = SearchKind::ALL.into_iter().find(|kind| kind.as_str() == value);
                let known = SearchKind::ALL.map(SearchKind::as_str).join(", ");
                query.kind = Some(kind.ok_or_else(|| bad(format!("kind is one of {known}")))?);
            }
            "limit" => match value.parse() {
                Ok(limit @ 1..=MAX_HITS) => query.limit = limit,
                _ => return Err(bad(format!("limit is from 1 to {MAX_HITS}"))),
            },
            _ => {}
        }
    }
    Ok(query)
}

/// `GET /search`.
pub(super) async fn search(
    State(http): State<Arc<Http>>,
    Query(pairs): Pairs,
    headers: HeaderMap,
) -> Answer {
    let query = read(&pairs, now())?;
    let reply = http.answers.search(&query).await;
    if reply.no_words {
        return Err(bad("there is no word in what is looked for: q is letters or digits"));
    }
    let made = Made { incomplete: incomplete(&reply), ..Made::of(&reply.hits)? };
    document(&headers, &Ok(made))
}

/// `/find`: a field, and what was found.
pub(super) async fn find(State(http): State<Arc<Http>>, Query(pairs): Pairs) -> Response<Body> {
    let now = now();
    let query = match read(&pairs, now) {
        Ok(query) => query,
        Err(problem) => return pages::said(problem),
    };
    let reply = match query.text.is_empty() {
        true => None,
        false => Some(http.answers.search(&query).await),
    };
    let view = FoundView { text: &query.text, reply: reply.as_ref(), now };
    pages::html(StatusCode::OK, page::found(&view))
}

/// `index` while something cannot be found yet, `time` where not everything was looked through; `host=` and
/// a label, percent-encoded, of each that has not answered.
fn incomplete(reply: &SearchReply) -> Option<HeaderValue> {
    let index = (reply.behind > 0).then(|| "index".to_owned());
    let time = reply.looked_to.map(|_| "time".to_owned());
    let host = |label: &str| format!("host={}", utf8_percent_encode(label, NON_ALPHANUMERIC));
    let hosts = reply.unheard.iter().map(|unheard| host(&unheard.host));
    let words: Vec<String> = index.into_iter().chain(time).chain(hosts).collect();
    (!words.is_empty()).then(|| HeaderValue::try_from(words.join(", ")).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_or_refused() {
        let now = Timestamp::from_millis(1_795_000_000_000);
        let read = |query: &[(&str, &str)]| {
            let pair = |(n, v): &(&str, &str)| ((*n).to_owned(), (*v).to_owned());
            read(&query.iter().map(pair).collect::<Vec<_>>(), now)
        };
        let query =
            read(&[("q", "a b"), ("kind", "error"), ("since", "2h"), ("host", "")]).unwrap();
        assert_eq!((query.text.as_str(), query.kind), ("a b", Some(SearchKind::Error)));
        assert_eq!((query.since, query.host), (Some(now.plus(-7_200_000)), None));
        assert_eq!(read(&[]).unwrap().limit, HITS);
        for wrong in [
            &[("kind", "edit")][..],
            &[("limit", "0")],
            &[("limit", "201")],
            &[("since", "yesterday")],
            &[("harness", "vim")],
            &[("q", "a"), ("q", "b")],
            &[("raw", "1")],
        ] {
            assert_eq!(read(wrong).unwrap_err().status(), 400, "{wrong:?}");
        }
    }
}
