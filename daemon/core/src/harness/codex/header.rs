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

/// What kind of delegate: a word (`review`, `compact`), or an object (`thread_spawn`, `other`).
#[derive(Debug, Default)]
pub(super) struct Subagent<'a>(Field<Spawner<'a>>);

impl<'de: 'a, 'a> Shape<'de> for Subagent<'a> {
    fn text(_: Cow<'de, str>) -> Option<Self> {
        Some(Self::default())
    }

    fn object<A: serde::de::MapAccess<'de>>(entries: A) -> Result<Option<Self>, A::Error> {
        Ok(Spawner::object(entries)?.map(|spawner| Self(Field::Is(spawner))))
    }
}

object! {
    pub(super) struct Spawner<'a> {
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
        let root = payload.session_id.some().filter(|root| *root != payload.id.text());
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
        let delegate = match source {
            Some(Source::Made(mut made)) => made.subagent.take(),
            _ => None,
        };
        // Reviews and guardians do not always name who they work for.
        let is_delegate = delegate.is_some();
        let spawner = delegate.and_then(|mut it| it.0.take()?.spawn.take()?.parent.some());
        let parent = match (spawner.or_else(|| payload.parent_thread_id.some()), is_delegate) {
            (Some(id), _) => Some((id, ParentKind::Subagent)),
            (None, true) => {
                payload.forked_from_id.some().or(root).map(|id| (id, ParentKind::Subagent))
            }
            (None, false) => payload.forked_from_id.some().map(|id| (id, ParentKind::Fork)),
        };
        into.facts.extend((is_delegate && parent.is_none()).then_some(Fact::Delegate));
        into.facts.extend(parent.map(|(id, kind)| Fact::Parent { id, kind }));
    }
}
