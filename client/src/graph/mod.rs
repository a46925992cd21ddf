//! The graph of who waits for whom, written for people and for what draws graphs.
//!
//! Not here: how it is made (`rrd_core::graph`).

pub(crate) mod text;
pub(crate) mod tree;

use rrd_proto::{Cause, GraphNode};

use crate::text::clean;

/// What it is called: its title, else its id; and its host.
fn name(node: &GraphNode) -> String {
    let title = node.title.as_deref().or(node.session_id.as_deref());
    match (title, &node.host) {
        (Some(title), Some(host)) => format!("{} ({})", clean(title), clean(host)),
        _ => format!("{} (nobody knows it)", clean(&node.reference)),
    }
}

/// Why a session does not go on, in a person's words.
fn words(cause: Cause) -> &'static str {
    match cause {
        Cause::Deadlock => "wait for each other",
        Cause::Permission => "needs permission",
        Cause::Input => "asks you",
        Cause::Crashed => "crashed",
        Cause::Failed => "failed",
        Cause::Away => "its host is away",
        Cause::Ended => "ended",
        Cause::Unknown => "is not known",
        Cause::Idle => "is at its prompt",
        Cause::Working => "is at work",
    }
}
