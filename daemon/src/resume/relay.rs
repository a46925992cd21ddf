//! A copy on its way: from this host's files, or from another host's, to whoever asked.
//!
//! Both hosts write down who takes which session, how, and how much of it. Not here: reading files, and
//! writing them.

use std::{sync::Arc, time::Duration};

use rrd_core::repo::Repo;
use rrd_proto::{
    NodeId, Refusal, SessionKey,
    copy::{CopyCall, CopyNext, CopyOpen, CopyOpened, CopyPage, CopyReply, Given},
    peer::Refused,
};

use super::give::{NotGiven, SILENT};
use crate::{
    answers::Answers,
    desk::Desk,
    fleet::{Fleet, LinkError},
};

/// What one page may take: a slow disk, a slow line.
const WITHIN: Duration = Duration::from_secs(20);

/// Begins a copy of a session of this host.
pub(crate) async fn opens(
    desk: &Arc<Desk>,
    to: Option<(NodeId, String)>,
    query: CopyOpen,
) -> Result<CopyOpened, NotGiven> {
    let (desk_of, of, asked) =
        (Arc::clone(desk), to.as_ref().map(|(node, _)| *node), query.clone());
    let open = move || desk_of.copies.open(&desk_of.hub, of, &asked);
    let opened = tokio::task::spawn_blocking(open).await.unwrap_or(Err(NotGiven::Over));
    let (key, to) = (query.key, to.map_or_else(|| "this host's user".to_owned(), |(_, to)| to));
    match &opened {
        Ok(opened) => {
            let bytes: u64 = opened.files.iter().map(|file| file.bytes).sum();
            tracing::info!(
                to,
                harness = %key.harness,
                id = key.session_id,
                raw = !opened.redacted,
                files = opened.files.len(),
                bytes,
                copy = opened.handle,
                "gives a session's files to resume it"
            );
        }
        Err(error) => {
            tracing::info!(to, harness = %key.harness, id = key.session_id, %error, "gives no session's files")
        }
    }
    opened
}

/// The next page of it.
pub(crate) async fn next(
    desk: &Arc<Desk>,
    of: Option<NodeId>,
    query: CopyNext,
) -> Result<CopyPage, NotGiven> {
    let desk = Arc::clone(desk);
    let next = tokio::task::spawn_blocking(move || desk.copies.next(of, query));
    let page = next.await.unwrap_or(Err(NotGiven::Over));
    match &page {
        Ok(page) if page.is_last => {
            tracing::info!(copy = query.handle, sent = page.sent, "gave all of a session's files");
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(copy = query.handle, %error, "a copy was broken off"),
    }
    page
}

impl From<NotGiven> for Refused {
    fn from(why: NotGiven) -> Self {
        Self::new(why.code(), why.to_string())
    }
}

/// What a client of this host asks for.
pub(crate) async fn answer(answers: &Answers, call: CopyCall) -> Result<CopyReply, Refusal> {
    let own = answers.fleet.as_ref().as_ref().ok().map(|fleet| fleet.node());
    match call {
        CopyCall::Open(node, query) => {
            let Some((node, fleet, host)) = elsewhere(answers, node, own)? else {
                let opened = opens(&answers.desk, None, query).await;
                return opened.map(CopyReply::Opened).map_err(|why| not_here(&why));
            };
            let link = fleet.link(node);
            let opened = link.call_bulk(fleet, "copy_open", &query, WITHIN).await;
            let opened: CopyOpened = opened.map_err(|why| not_there(&host, why))?;
            let bytes: u64 = opened.files.iter().map(|file| file.bytes).sum();
            let (raw, copy) = (!opened.redacted, opened.handle);
            let SessionKey { harness, session_id: id } = query.key;
            tracing::info!(
                from = host,
                %harness,
                id,
                raw,
                bytes,
                copy,
                "takes a session's files to resume it"
            );
            Ok(CopyReply::Opened(opened))
        }
        CopyCall::Bucket { id, url } => {
            let copy = answers.mirror.give(&answers.desk.copies, &id, url.as_deref()).await?;
            let (from, bytes) = (&copy.url, copy.files.iter().map(|f| f.bytes).sum::<u64>());
            let SessionKey { harness, session_id: id } = &copy.key;
            tracing::info!(from, %harness, id, bytes, "takes a session's files to resume it");
            // Its files go also where nobody takes them.
            let desk = Arc::clone(&answers.desk);
            tokio::spawn(async move {
                while desk.copies.forget_silent() {
                    tokio::time::sleep(SILENT).await;
                }
            });
            Ok(CopyReply::Bucket(Box::new(copy)))
        }
        CopyCall::Comes { key, repo, remote, past, delegates } => {
            let repo = Repo::told(repo.as_deref(), remote.as_deref());
            answers.mirror.comes(&key, repo.as_ref(), past, delegates).await?;
            Ok(CopyReply::Noted)
        }
        CopyCall::Ahead(key) => ahead(answers, &key, None).await,
        CopyCall::AheadOf(key, given) => ahead(answers, &key, Some(given)).await,
        CopyCall::Next(node, query) => {
            let Some((node, fleet, host)) = elsewhere(answers, node, own)? else {
                let page = next(&answers.desk, None, query).await;
                return page.map(CopyReply::Page).map_err(|why| not_here(&why));
            };
            let link = fleet.link(node);
            let page = link.call_bulk(fleet, "copy_next", &query, WITHIN).await;
            let page: CopyPage = page.map_err(|why| not_there(&host, why))?;
            if page.is_last {
                let (copy, sent) = (query.handle, page.sent);
                tracing::info!(from = host, copy, sent, "took all of a session's files");
            }
            Ok(CopyReply::Page(page))
        }
    }
}

async fn ahead(
    answers: &Answers,
    key: &SessionKey,
    given: Option<Given>,
) -> Result<CopyReply, Refusal> {
    let looked = answers.mirror.ahead(key, given.as_ref()).await?;
    if let Some(ahead) = &looked.ahead {
        let SessionKey { harness, session_id: id } = key;
        let (url, host, records) = (&ahead.url, &ahead.host, ahead.records);
        tracing::info!(url, host, %harness, id, records, "another host writes it in a bucket");
    }
    Ok(CopyReply::Looked(looked))
}

type There<'a> = (NodeId, &'a Arc<Fleet>, String);

/// The host that is meant, where it is another one.
fn elsewhere(
    answers: &Answers,
    node: Option<NodeId>,
    own: Option<NodeId>,
) -> Result<Option<There<'_>>, Refusal> {
    let Some(node) = node.filter(|node| Some(*node) != own) else { return Ok(None) };
    let fleet = answers.others().map(|(fleet, _)| fleet);
    let fleet = fleet.ok_or_else(crate::answers::nobody_to_ask)?;
    let label = fleet.members().label(node).unwrap_or_else(|| node.to_string());
    Ok(Some((node, fleet, label)))
}

fn refusal(message: String, hint: String) -> Refusal {
    Refusal { message, facts: Vec::new(), hint: Some(hint) }
}

fn not_here(why: &NotGiven) -> Refusal {
    refusal(why.to_string(), "rrd sessions show tells what is known of it".to_owned())
}

fn not_there(host: &str, why: LinkError) -> Refusal {
    match why {
        LinkError::Refused(Refused { code, detail }) => {
            let hint = match code.as_str() {
                "changed" | "over" => "run it again".to_owned(),
                _ => format!("rrd sessions show, on {host}, tells what is known of it"),
            };
            refusal(format!("{host} does not give its files: {detail}"), hint)
        }
        LinkError::Unknown => refusal(
            format!("the rrd on {host} cannot give its files yet"),
            format!("update rrd on {host}"),
        ),
        why => refusal(
            format!("{host} does not give its files: {why}"),
            "rrd fleet status tells how this host gets on with the others".to_owned(),
        ),
    }
}
