//! Where a session's files come from: one file after the other, page by page, whoever has them.
//!
//! Another source is one more arm of [`Source`]: it tells its files, and then their pages in that order, each
//! file with its hash at the end. Not here: writing them.

use rrd_proto::{
    HostState, NodeId, Session,
    copy::{CopyCall, CopyNext, CopyOpen, CopyOpened, CopyPage, CopyReply},
};

use crate::{
    ask::Answerer,
    cli::ResumeFrom,
    connect::Connection,
    error::{CliError, Kind},
    text,
};

/// A stream of a session's files.
pub(crate) enum Source<'a> {
    /// The host that has them, or this one, through the daemon here.
    Host { daemon: &'a Connection, node: Option<NodeId>, opened: CopyOpened, page: u64 },
}

/// The source that was asked for, else the host that has the session.
pub(crate) fn open<'a>(
    answerer: &'a Answerer,
    session: &Session,
    from: Option<ResumeFrom>,
) -> Result<Source<'a>, CliError> {
    let is_away = session.host_state == HostState::Away;
    match (from, is_away) {
        (Some(ResumeFrom::Bucket), _) => Err(CliError::new(
            Kind::NotFound,
            "this release mirrors no sessions to a bucket, so there is none to resume from",
        )
        .hint("--from peer, while its host is there")),
        (_, true) => {
            let host = text::clean(&session.host);
            let why = format!("{host} is away, and nobody else has the files of its sessions");
            Err(CliError::new(Kind::NotFound, why)
                .fact("--from bucket would have them, but this release mirrors no sessions")
                .hint(format!("start {host} and run it again")))
        }
        (_, false) => host(answerer, session),
    }
}

fn host<'a>(answerer: &'a Answerer, session: &Session) -> Result<Source<'a>, CliError> {
    let Answerer::Daemon(daemon) = answerer else {
        return Err(CliError::new(Kind::NoDaemon, "only a daemon can copy a session")
            .hint("rrd service install keeps one running"));
    };
    let elsewhere = session.host_state != HostState::Here;
    let node = session.node_id.as_ref().filter(|_| elsewhere).and_then(|node| node.parse().ok());
    let query = CopyOpen { key: session.key() };
    match daemon.copy(&CopyCall::Open(node, query))?? {
        CopyReply::Opened(opened) => Ok(Source::Host { daemon, node, opened, page: 0 }),
        CopyReply::Page(_) => {
            Err(CliError::new(Kind::Internal, "the daemon answered something else"))
        }
    }
}

impl Source<'_> {
    /// What comes.
    pub(crate) fn opened(&self) -> &CopyOpened {
        match self {
            Self::Host { opened, .. } => opened,
        }
    }

    /// The next page.
    pub(crate) fn next(&mut self) -> Result<CopyPage, CliError> {
        match self {
            Self::Host { daemon, node, opened, page } => {
                let query = CopyNext { handle: opened.handle, page: *page };
                *page += 1;
                match daemon.copy(&CopyCall::Next(*node, query))?? {
                    CopyReply::Page(page) => Ok(page),
                    CopyReply::Opened(_) => {
                        Err(CliError::new(Kind::Internal, "the daemon answered something else"))
                    }
                }
            }
        }
    }
}
