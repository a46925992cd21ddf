//! Where a session's files come from: one file after the other, page by page, whoever has them.
//!
//! A host tells its files, and then their pages in that order, each file with its hash at the end; what came out
//! of a bucket lies on this host. Not here: writing them.

use rrd_proto::{
    HostState, NodeId, Session, SessionKey,
    copy::{BucketCopy, CopyCall, CopyFile, CopyNext, CopyOpen, CopyOpened, CopyReply, Past},
};

use crate::{
    ask::Answerer,
    cli::ResumeFrom,
    connect::Connection,
    error::{CliError, Kind},
    local::resume::{layout, place::Coming},
    output, text,
};

/// A stream of a session's files.
pub(crate) enum Source<'a> {
    /// The host that has them, or this one, through the daemon here.
    Host { daemon: &'a Connection, node: Option<NodeId>, opened: CopyOpened },
    /// A bucket, out of which the daemon here has put it together.
    Bucket(Box<BucketCopy>),
}

/// The source that was asked for, else the host that has the session. `url`: of all buckets this one alone.
pub(crate) fn open<'a>(
    answerer: &'a Answerer,
    session: &Session,
    from: Option<ResumeFrom>,
    url: Option<String>,
) -> Result<Source<'a>, CliError> {
    let is_away = session.host_state == HostState::Away;
    match (from, is_away) {
        (Some(ResumeFrom::Bucket), _) => {
            let found = bucket(answerer, &session.session_id, url)?;
            match found.key == session.key() {
                true => Ok(Source::Bucket(Box::new(found))),
                false => {
                    let why = format!("the bucket has nothing of {}", session.session_id);
                    Err(CliError::new(Kind::NotFound, why).hint("rrd mirror list"))
                }
            }
        }
        (Some(ResumeFrom::Peer), true) => {
            let host = text::clean(&session.host);
            let why = format!("{host} is away");
            let hint = format!("start {host} and run it again, or leave --from out");
            Err(CliError::new(Kind::NotFound, why).hint(hint))
        }
        (None, true) => {
            let found = bucket(answerer, &session.session_id, None);
            let found = found.ok().filter(|found| found.key == session.key());
            let host = text::clean(&session.host);
            let found = found.ok_or_else(|| {
                let why = format!("{host} is away, and no bucket that this host knows has it");
                let hint = format!(
                    "start {host} and run it again, or name its bucket: rrd mirror enable URL"
                );
                CliError::new(Kind::NotFound, why).hint(hint)
            })?;
            Ok(Source::Bucket(Box::new(found)))
        }
        (_, false) => host(answerer, session),
    }
}

/// What a bucket that this host knows, or the one with this address, has of the session whose id begins so.
pub(crate) fn bucket(
    answerer: &Answerer,
    id: &str,
    url: Option<String>,
) -> Result<BucketCopy, CliError> {
    let (daemon, call) = (daemon(answerer)?, CopyCall::Bucket { id: id.to_owned(), url });
    let asked = output::patiently("asking the bucket; a large session takes a while", || {
        daemon.copy(&call)
    });
    match asked?? {
        CopyReply::Bucket(copy) => Ok(*copy),
        _ => Err(odd()),
    }
}

/// Has the daemon know, before what comes is in its place, in which repository it was: no directory here tells that.
pub(crate) fn comes(
    answerer: &Answerer,
    session: &Session,
    source: &Source<'_>,
    id: &str,
) -> Result<(), CliError> {
    let key = SessionKey { harness: session.harness.clone(), session_id: id.to_owned() };
    let (repo, remote) = (session.repo.clone(), session.repo_remote.clone());
    let (mut past, mut delegates) = (Past::default(), Vec::new());
    if let Ok(layout) = layout(&session.harness) {
        for file in source.files() {
            match layout.session_of(&session.session_id, &file.name, id) {
                Some(of) if of == id => past = file.past.clone(),
                Some(of) => delegates.push((of, file.past.clone())),
                None => {}
            }
        }
    }
    match daemon(answerer)?.copy(&CopyCall::Comes { key, repo, remote, past, delegates })?? {
        CopyReply::Noted => Ok(()),
        _ => Err(odd()),
    }
}

/// The row of a session that only a bucket has: nobody knows what became of it on its host.
pub(crate) fn row(found: &BucketCopy) -> Session {
    Session {
        host_state: if found.is_own { HostState::Here } else { HostState::Away },
        host: found.host.clone().unwrap_or_else(|| "its host".to_owned()),
        repo_remote: found.repo.clone(),
        cwd: found.cwd.clone(),
        last_activity_at: found.last_uploaded_at,
        title: found.title.clone(),
        ..Session::unknown(found.key.clone())
    }
}

pub(super) fn daemon(answerer: &Answerer) -> Result<&Connection, CliError> {
    match answerer {
        Answerer::Daemon(daemon) => Ok(daemon),
        _ => Err(CliError::new(Kind::NoDaemon, "only a daemon can copy a session")
            .hint("rrd service install keeps one running")),
    }
}

fn host<'a>(answerer: &'a Answerer, session: &Session) -> Result<Source<'a>, CliError> {
    let daemon = daemon(answerer)?;
    let elsewhere = session.host_state != HostState::Here;
    let node = session.node_id.as_ref().filter(|_| elsewhere).and_then(|node| node.parse().ok());
    let query = CopyOpen { key: session.key() };
    match daemon.copy(&CopyCall::Open(node, query))?? {
        CopyReply::Opened(opened) => Ok(Source::Host { daemon, node, opened }),
        _ => Err(odd()),
    }
}

impl Source<'_> {
    /// What is secret is not in it.
    pub(crate) fn redacted(&self) -> bool {
        match self {
            Self::Host { opened, .. } => opened.redacted,
            Self::Bucket(found) => found.redacted,
        }
    }

    /// The other host that gives it.
    pub(crate) fn giver(&self) -> Option<NodeId> {
        match self {
            Self::Host { node, .. } => *node,
            Self::Bucket(_) => None,
        }
    }

    /// What comes.
    pub(crate) fn files(&self) -> &[CopyFile] {
        match self {
            Self::Host { opened, .. } => &opened.files,
            Self::Bucket(found) => &found.files,
        }
    }

    /// Who gives it.
    pub(crate) fn whose<'b>(&'b self, host: &'b str) -> &'b str {
        match self {
            Self::Host { .. } => host,
            Self::Bucket(found) => &found.url,
        }
    }

    /// Everything, to where it is made ready.
    pub(crate) fn give(&self, coming: &mut Coming) -> Result<(), CliError> {
        match self {
            Self::Host { daemon, node, opened } => {
                for page in 0.. {
                    let query = CopyNext { handle: opened.handle, page };
                    match daemon.copy(&CopyCall::Next(*node, query))?? {
                        CopyReply::Page(page) if coming.take(&page)? => break,
                        CopyReply::Page(_) => {}
                        _ => return Err(odd()),
                    }
                }
            }
            Self::Bucket(found) => {
                coming.take_all(&found.folder)?;
                // Else the daemon does it later.
                let _ = std::fs::remove_dir_all(&found.folder);
            }
        }
        Ok(())
    }
}

pub(super) fn odd() -> CliError {
    CliError::new(Kind::Internal, "the daemon answered something else")
}
