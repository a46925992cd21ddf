//! The fields of Claude Code's records that are worth reading, and the record types it writes.
//!
//! Not here: what they mean.

use std::borrow::Cow;

use serde::de::{IgnoredAny, MapAccess, SeqAccess};

use crate::harness::{
    head::{Head, Raw},
    json::{Field, Key, Shape, Str, object},
};

object! {
    pub(super) struct Record<'a> {
        kind: Str<'a> = "type",
        uuid: Str<'a> = "uuid",
        timestamp: Str<'a> = "timestamp",
        // Both names may be in one line, and after `/clear` they differ: only this one is the file's.
        session_id: Str<'a> = "sessionId",
        cwd: Str<'a> = "cwd",
        branch: Str<'a> = "gitBranch",
        version: Str<'a> = "version",
        entrypoint: Str<'a> = "entrypoint",
        session_kind: Str<'a> = "sessionKind",
        is_sidechain: Field<bool> = "isSidechain",
        agent_id: Str<'a> = "agentId",
        message: Field<Message<'a>> = "message",
        is_meta: Field<bool> = "isMeta",
        is_compact_summary: Field<bool> = "isCompactSummary",
        prompt_source: Str<'a> = "promptSource",
        origin: Field<PromptOrigin<'a>> = "origin",
        subtype: Str<'a> = "subtype",
        is_api_error: Field<bool> = "isApiErrorMessage",
        request_session_id: Str<'a> = "requestSessionId",
        forked_from: Field<ForkedFrom<'a>> = "forkedFrom",
        outcome: Field<Outcome<'a>> = "toolUseResult",
        attachment: Field<Attachment<'a>> = "attachment",
    }
}

/// What a tool's own account of its result tells beyond the text: whether it sent a message or a
/// delegate off, or had one do its work. A failure's is a text, others' are lists.
#[derive(Debug, Default)]
pub(super) struct Outcome<'a> {
    pub(super) message_id: Str<'a>,
    pub(super) status: Str<'a>,
    pub(super) agent_id: Str<'a>,
    pub(super) description: Str<'a>,
    pub(super) prompt: Head<'a>,
    /// For how long a delegate ran.
    pub(super) took_ms: Field<u64>,
}

impl<'de: 'a, 'a> Shape<'de> for Outcome<'a> {
    fn text(_: Cow<'de, str>) -> Option<Self> {
        Some(Self::default())
    }

    fn list<A: SeqAccess<'de>>(mut items: A) -> Result<Option<Self>, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Some(Self::default()))
    }

    fn object<A: MapAccess<'de>>(mut entries: A) -> Result<Option<Self>, A::Error> {
        let mut outcome = Self::default();
        while let Some(key) = entries.next_key::<Key<'de>>()? {
            match &*key.0 {
                "msg_id" => outcome.message_id = entries.next_value()?,
                "status" => outcome.status = entries.next_value()?,
                "agentId" => outcome.agent_id = entries.next_value()?,
                "description" => outcome.description = entries.next_value()?,
                "prompt" => outcome.prompt = entries.next_value()?,
                "totalDurationMs" => outcome.took_ms = entries.next_value()?,
                _ => _ = entries.next_value::<IgnoredAny>()?,
            }
        }
        Ok(Some(outcome))
    }
}

object! {
    /// Fields of rarer records, and of errors: another type of theirs is not worth a remark.
    pub(super) struct Extra<'a> {
        kind: Str<'a> = "type",
        custom_title: Str<'a> = "customTitle",
        ai_title: Str<'a> = "aiTitle",
        summary: Str<'a> = "summary",
        worktree: Field<Worktree<'a>> = "worktreeSession",
        background: Field<u64> = "pendingBackgroundAgentCount",
        api_error_status: Field<u64> = "apiErrorStatus",
        error: Str<'a> = "error",
        of_message: Str<'a> = "messageId",
        snapshot: Field<Snapshot<'a>> = "snapshot",
    }
}

object! {
    pub(super) struct Snapshot<'a> {
        timestamp: Str<'a> = "timestamp",
    }
}

object! {
    /// What is put into the conversation. Of its many types only `queued_command` is somebody's word.
    pub(super) struct Attachment<'a> {
        kind: Str<'a> = "type",
        prompt: Field<Content<'a>> = "prompt",
        mode: Str<'a> = "commandMode",
        origin: Field<PromptOrigin<'a>> = "origin",
        is_meta: Field<bool> = "isMeta",
    }
}

object! {
    /// In every entry that the Agent SDK's `fork_session` copied.
    pub(super) struct ForkedFrom<'a> {
        session_id: Str<'a> = "sessionId",
    }
}

object! {
    pub(super) struct Worktree<'a> {
        original_cwd: Str<'a> = "originalCwd",
    }
}

object! {
    pub(super) struct PromptOrigin<'a> {
        kind: Str<'a> = "kind",
        body: Str<'a> = "body",
        message_id: Str<'a> = "msg_id",
    }
}

object! {
    pub(super) struct Message<'a> {
        id: Str<'a> = "id",
        model: Str<'a> = "model",
        content: Field<Content<'a>> = "content",
        stop_reason: Str<'a> = "stop_reason",
        usage: Field<Usage> = "usage",
    }
}

object! {
    pub(super) struct Usage {
        input: Field<u64> = "input_tokens",
        output: Field<u64> = "output_tokens",
        cache_read: Field<u64> = "cache_read_input_tokens",
        cache_write: Field<u64> = "cache_creation_input_tokens",
    }
}

object! {
    pub(super) struct Block<'a> {
        kind: Str<'a> = "type",
        text: Head<'a> = "text",
        id: Str<'a> = "id",
        name: Str<'a> = "name",
        input: Raw<'a> = "input",
        tool_use_id: Str<'a> = "tool_use_id",
        is_error: Field<bool> = "is_error",
        content: Head<'a> = "content",
        // Of images and documents.
        source: Field<Media<'a>> = "source",
    }
}

object! {
    pub(super) struct Media<'a> {
        kind: Str<'a> = "media_type",
        data: Raw<'a> = "data",
    }
}

/// `message.content`: a string or blocks, for the same kind of prompt.
#[derive(Debug)]
pub(super) enum Content<'a> {
    Text(Cow<'a, str>),
    Blocks(Vec<Field<Block<'a>>>),
}

impl<'de: 'a, 'a> Shape<'de> for Content<'a> {
    fn text(text: Cow<'de, str>) -> Option<Self> {
        Some(Self::Text(text))
    }

    fn list<A: SeqAccess<'de>>(items: A) -> Result<Option<Self>, A::Error> {
        Ok(Vec::list(items)?.map(Self::Blocks))
    }
}

/// The rarer fields of the record `json`.
pub(super) fn extra(json: &str) -> Extra<'_> {
    serde_json::from_str::<Field<Extra<'_>>>(json)
        .ok()
        .and_then(|mut extra| extra.take())
        .unwrap_or_default()
}

/// The types that make the conversation.
pub(super) fn is_chain(kind: &str) -> bool {
    matches!(kind, "user" | "assistant" | "system" | "attachment" | "progress")
}

/// Every type this release has met or read of.
pub(super) fn is_known(kind: &str) -> bool {
    is_chain(kind)
        || kind.starts_with("marble-origami-")
        || matches!(
            kind,
            "agent-color"
                | "agent-name"
                | "agent-setting"
                | "agent_metadata"
                | "ai-title"
                | "api-request"
                | "api-request-blob"
                | "api-request-shape"
                | "atis-latch"
                | "attribution-snapshot"
                | "bridge-session"
                | "content-replacement"
                | "cost-state"
                | "custom-title"
                | "file-history-delta"
                | "file-history-snapshot"
                | "fork-context-ref"
                | "frame-link"
                | "goal"
                | "isolation-latch"
                | "last-prompt"
                | "mode"
                | "permission-mode"
                | "pr-link"
                | "queue-operation"
                | "relocated"
                | "speculation-accept"
                | "summary"
                | "tag"
                | "tools-used"
                | "worktree-state"
        )
}
