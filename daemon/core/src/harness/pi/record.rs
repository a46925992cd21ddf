//! The fields of pi's records that are worth reading, and the record types that pi and OpenClaw write.
//!
//! From pi 0.73.1's `docs/session-format.md` and OpenClaw 2026.6.11's transcripts. Not here: what they
//! mean.

use std::borrow::Cow;

use crate::harness::{
    head::{Head, Raw},
    json::{Field, Key, Shape, Str, object},
};

object! {
    pub(in crate::harness) struct Record<'a> {
        kind: Str<'a> = "type",
        id: Str<'a> = "id",
        // Null at the root of the tree; the first releases wrote none.
        parent: Raw<'a> = "parentId",
        timestamp: Str<'a> = "timestamp",
        // Headers.
        cwd: Str<'a> = "cwd",
        parent_session: Str<'a> = "parentSession",
        // Bookkeeping.
        model: Str<'a> = "modelId",
        name: Str<'a> = "name",
        target: Raw<'a> = "targetId",
        // OpenClaw's: where the next entry is hung, and that this one is hung beside the conversation.
        append_to: Raw<'a> = "appendParentId",
        append_mode: Raw<'a> = "appendMode",
        // Large, and moved about.
        message: Field<Box<Message<'a>>> = "message",
    }
}

object! {
    pub(in crate::harness) struct Message<'a> {
        role: Str<'a> = "role",
        content: Field<Content<'a>> = "content",
        // The model's.
        provider: Str<'a> = "provider",
        model: Str<'a> = "model",
        usage: Field<Usage> = "usage",
        stop_reason: Str<'a> = "stopReason",
        error: Head<'a> = "errorMessage",
        error_kind: Raw<'a> = "errorType",
        error_body: Raw<'a> = "errorBody",
        // A tool's.
        call: Str<'a> = "toolCallId",
        tool: Str<'a> = "toolName",
        is_error: Field<bool> = "isError",
        details: Field<Details<'a>> = "details",
        // OpenClaw's.
        provenance: Field<Provenance<'a>> = "provenance",
        abort: Field<Abort> = "openclawAbort",
    }
}

object! {
    pub(in crate::harness) struct Block<'a> {
        kind: Str<'a> = "type",
        text: Head<'a> = "text",
        id: Str<'a> = "id",
        name: Str<'a> = "name",
        arguments: Raw<'a> = "arguments",
        // Of images.
        data: Raw<'a> = "data",
        mime: Str<'a> = "mimeType",
    }
}

object! {
    pub(in crate::harness) struct Usage {
        input: Field<u64> = "input",
        output: Field<u64> = "output",
        cache_read: Field<u64> = "cacheRead",
        cache_write: Field<u64> = "cacheWrite",
    }
}

object! {
    pub(in crate::harness) struct Provenance<'a> {
        kind: Str<'a> = "kind",
        from: Str<'a> = "sourceSessionKey",
        tool: Str<'a> = "sourceTool",
    }
}

object! {
    pub(in crate::harness) struct Abort {
        aborted: Field<bool> = "aborted",
    }
}

/// `message.content`: a string or blocks, for the same kind of message.
#[derive(Debug)]
pub(in crate::harness) enum Content<'a> {
    Text(Cow<'a, str>),
    Blocks(Vec<Field<Block<'a>>>),
}

impl<'de: 'a, 'a> Shape<'de> for Content<'a> {
    fn text(text: Cow<'de, str>) -> Option<Self> {
        Some(Self::Text(text))
    }

    fn list<A: serde::de::SeqAccess<'de>>(items: A) -> Result<Option<Self>, A::Error> {
        Ok(Vec::list(items)?.map(Self::Blocks))
    }
}

/// What a tool says of its own run: any shape it likes, of which an exit code matters, and which
/// conversation it began.
#[derive(Debug, Default)]
pub(in crate::harness) struct Details<'a> {
    pub(in crate::harness) failed: bool,
    pub(in crate::harness) status: Str<'a>,
    pub(in crate::harness) child: Str<'a>,
}

impl<'de: 'a, 'a> Shape<'de> for Details<'a> {
    fn object<A: serde::de::MapAccess<'de>>(mut entries: A) -> Result<Option<Self>, A::Error> {
        let mut details = Self::default();
        while let Some(key) = entries.next_key::<Key<'de>>()? {
            match &*key.0 {
                "exitCode" => {
                    let code = entries.next_value::<Raw<'de>>()?.json();
                    details.failed = code.parse::<f64>().is_ok_and(|code| code != 0.0);
                }
                "status" => details.status = entries.next_value()?,
                "childSessionKey" => details.child = entries.next_value()?,
                _ => _ = entries.next_value::<serde::de::IgnoredAny>()?,
            }
        }
        Ok(Some(details))
    }
}

impl Message<'_> {
    /// Whether a field that matters is of another type than it should be; `details` may be anything.
    pub(super) fn odd(&self) -> bool {
        self.role.wrong()
            || self.content.wrong()
            || self.model.wrong()
            || self.usage.get().map_or(self.usage.wrong(), Usage::misshapen)
            || self.stop_reason.wrong()
            || self.call.wrong()
            || self.is_error.wrong()
    }
}

/// Every type this release has met or read of.
pub(in crate::harness) fn is_known(kind: &str) -> bool {
    matches!(kind, "session" | "message" | "compaction") || is_bookkeeping(kind)
}

/// The types that say nothing of the conversation itself. `leaf` and what follows it are OpenClaw's.
pub(super) fn is_bookkeeping(kind: &str) -> bool {
    matches!(
        kind,
        "model_change"
            | "thinking_level_change"
            | "session_info"
            | "label"
            | "custom"
            | "custom_message"
            | "branch_summary"
            | "leaf"
            | "usage"
            | "context_edit"
            | "reset"
    )
}
