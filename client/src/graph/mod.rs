//! The graph of who waits for whom, written for people and for what draws graphs.
//!
//! Not here: how it is made (`rrd_core::graph`).

pub(crate) mod text;
pub(crate) mod tree;

use rrd_proto::{GraphNode, HostState};

use crate::text::clean;

/// What it is besides, where its host is away: whatever else is said of it is its last word.
const AWAY: &str = " (host away)";

fn is_away(node: &GraphNode) -> bool {
    node.host_state == Some(HostState::Away)
}

/// What it is called: its title, else its id, which gives way where there is no room; and its host, which says which
/// of several it is.
fn name(node: &GraphNode) -> (String, String) {
    let title = node.title.as_deref().or(node.session_id.as_deref());
    match (title, &node.host) {
        (Some(title), Some(host)) => (clean(title).into_owned(), format!(" ({})", clean(host))),
        _ => (clean(&node.reference).into_owned(), " (nobody knows it)".to_owned()),
    }
}
