//! The first record of a rollout: whose it is, where it runs, where it came from.
//!
//! Later headers in a file are copies that came with a parent's history. Not here: everything else.

use std::borrow::Cow;

use rrd_proto::{ParentKind, Timestamp};

use super::{Codex, Payload};
use crate::{
    fact::{Fact, Origin, Parsed, issue},
    harness::json::{Field, Shape, Str, object},
};

object! {
    pub(super) struct Git<'a> {
        branch: Str<'a> = "branch",
        remote: Str<'a> = "repository_url",
    }
}

/// What started the thread: a word, or an object for threads that other threads made.
#[derive(Debug)]
pub(super) enum Source<'a> {
    Word(Cow<'a, str>),
    Made(Made<'a>),
}

impl<'de: 'a, 'a> Shape<'de> for Source<'a> {
    fn text(text: Cow<'de, str>) -> Option<Self> {
        Some(Self::Word(text))
    }

    fn object<A: serde::de::MapAccess<'de>>(entries: A) -> Result<Option<Self>, A::Error> {
        Ok(Made::object(entries)?.map(Self::Made))
    }
}

object! {
    pub(super) struct Made<'a> {
        subagent: Field<Subagent<'a>> = "subagent",
    }
}

object! {
    pub(super) struct Subagent<'a> {
        spawn: Field<Spawn<'a>> = "thread_spawn",
    }
}

object! {
    pub(super) struct Spawn<'a> {
        parent: Str<'a> = "parent_thread_id",
    }
}

impl Codex {
    pub(super) fn header<'a>(&mut self, mut payload: Box<Payload<'a>>, into: &mut Parsed<'a>) {
        if self.state.header_seen {
            into.origin = Origin::Copied;
            return;
        }
        self.state.header_seen = true;
        // `session_id` is the parent's in a subagent's file; `id` is the thread's own.
        match payload.id.some() {
            Some(id) => into.facts.push(Fact::SessionId(id)),
            None => into.issues.push(issue::SHAPE),
        }
        into.facts.extend(Timestamp::parse(payload.timestamp.text()).map(Fact::Started));
        into.facts.extend(payload.cwd.some().map(Fact::Cwd));
        if let Some(mut git) = payload.git.take() {
            into.facts.extend(git.branch.some().map(Fact::Branch));
            into.facts.extend(git.remote.some().map(Fact::Remote));
        }
        into.facts.extend(payload.cli_version.some().map(Fact::Version));
        if !payload.history_mode.text().is_empty() {
            // Clients that know history modes hold a lock while they live.
            into.facts.push(Fact::LeavesTrace);
            self.state.paginated = payload.history_mode.text() == "paginated";
        }
        self.state.copied_below = payload.history_start.count();
        let source = payload.source.take();
        let interactive = match &source {
            Some(Source::Word(word)) if matches!(&**word, "cli" | "vscode") => Some(true),
            Some(Source::Word(word)) if word == "exec" => Some(false),
            Some(Source::Made(_)) => None,
            _ => (payload.originator.text() == "codex_exec").then_some(false),
        };
        into.facts.extend(interactive.map(Fact::Interactive));
        let spawner = match source {
            Some(Source::Made(mut made)) => {
                made.subagent.take().and_then(|mut it| it.spawn.take()?.parent.some())
            }
            _ => None,
        };
        let parent = match spawner.or_else(|| payload.parent_thread_id.some()) {
            Some(id) => Some((id, ParentKind::Subagent)),
            None => payload.forked_from_id.some().map(|id| (id, ParentKind::Fork)),
        };
        into.facts.extend(parent.map(|(id, kind)| Fact::Parent { id, kind }));
    }
}
