//! The signs, words and colours of statuses and parts, the same on every surface of the terminal.
//!
//! Signs differ by shape as well as by colour, so nothing is lost without colours. Amber is only for
//! what needs someone, cyan only for what moves. Not here: where on a line they stand.

use anstyle::{Ansi256Color, AnsiColor, Color, Style};
use rrd_proto::{
    Direction, EndReason, Event, EventKind, Health, HostState, Session, Status, Timestamp,
    TurnResult, WaitingFor,
};

use crate::{clock, text};

pub(crate) const PLAIN: Style = Style::new();
pub(crate) const BOLD: Style = Style::new().bold();
pub(crate) const DIM: Style = Style::new().dimmed();
pub(crate) const DIMMER: Style = Style::new().fg_color(Some(Color::Ansi256(Ansi256Color(242))));
pub(crate) const AMBER: Style = Style::new().fg_color(Some(Color::Ansi256(Ansi256Color(214))));
pub(crate) const CYAN: Style = Style::new().fg_color(Some(Color::Ansi(AnsiColor::Cyan)));
pub(crate) const RED: Style = Style::new().fg_color(Some(Color::Ansi(AnsiColor::Red)));
pub(crate) const GREEN: Style = Style::new().fg_color(Some(Color::Ansi(AnsiColor::Green)));

/// `text` in `style`; nothing around it when there is nothing to style.
pub(crate) fn paint(style: Style, text: &str) -> String {
    if style == PLAIN || text.is_empty() {
        text.to_owned()
    } else {
        format!("{style}{text}{style:#}")
    }
}

/// A session's sign and colour.
pub(crate) fn status_sign(session: &Session) -> (&'static str, Style) {
    if session.host_state == HostState::Away {
        return ("◌", DIM);
    }
    match session.status {
        Status::Ended if session.end_reason == Some(EndReason::Crashed) => ("✕", RED),
        status => sign_of(status),
    }
}

/// A status's sign and colour.
pub(crate) fn sign_of(status: Status) -> (&'static str, Style) {
    match status {
        Status::Waiting => ("●", AMBER),
        Status::Executing => ("◐", CYAN),
        Status::Idle => ("○", DIM),
        Status::Ended => ("·", DIMMER),
    }
}

/// A session's status in words; `on` is what to call the session that it waits on.
pub(crate) fn status_words(session: &Session, on: Option<&str>, now: Timestamp) -> String {
    if session.host_state == HostState::Away {
        let seen = session.host_seen_at.map(|at| format!(" ({})", clock::short_time(at, now)));
        return format!("{}{}", session.status, seen.unwrap_or_default());
    }
    match session.status {
        Status::Waiting => match (session.waiting_for, on) {
            (Some(WaitingFor::Session), Some(on)) => format!("waiting · on {}", text::clean(on)),
            (Some(what), _) => format!("waiting · {what}"),
            (None, _) => "waiting".to_owned(),
        },
        Status::Executing => match session.activity.as_ref().and_then(|a| a.tool.as_deref()) {
            // Nobody wrote down whether it is allowed.
            Some(tool) if session.activity.as_ref().is_some_and(|a| a.may_wait) => {
                format!("executing? · {}", text::clean(tool))
            }
            Some(tool) => format!("executing · {}", text::clean(tool)),
            None => "executing".to_owned(),
        },
        Status::Idle => match session.turn_result {
            Some(TurnResult::Error) => "idle · failed".to_owned(),
            Some(TurnResult::Interrupted) => "idle · interrupted".to_owned(),
            Some(TurnResult::RateLimited) => "idle · rate limited".to_owned(),
            Some(TurnResult::Completed) | None => "idle".to_owned(),
        },
        Status::Ended if session.end_reason == Some(EndReason::Crashed) => "crashed".to_owned(),
        Status::Ended => "ended".to_owned(),
    }
}

/// Since when what [`status_words`] says holds.
pub(crate) fn status_since(session: &Session) -> Option<Timestamp> {
    let tool = session.activity.as_ref().filter(|a| a.tool.is_some());
    let tool_since = tool.filter(|_| session.status == Status::Executing).and_then(|a| a.since);
    tool_since.or(session.status_since).or(session.last_activity_at)
}

/// A part's sign and colour.
pub(crate) fn health_sign(state: Health) -> (&'static str, Style) {
    match state {
        Health::Ok => ("✓", GREEN),
        Health::Degraded => ("!", AMBER),
        Health::Failed => ("✕", RED),
        Health::Off => ("·", DIM),
    }
}

/// An event's sign, what to call it, and its colour.
pub(crate) fn event_words(event: &Event) -> (&'static str, String, Style) {
    let style = match event.kind {
        _ if event.is_error || event.kind == EventKind::Error => RED,
        EventKind::PermissionRequest => AMBER,
        EventKind::Prompt => BOLD,
        EventKind::Message | EventKind::ToolCall => PLAIN,
        _ => DIM,
    };
    let sign = match event.kind {
        _ if event.is_error || event.kind == EventKind::Error => "✕",
        EventKind::ToolResult => "✓",
        EventKind::PermissionRequest => "●",
        _ => " ",
    };
    let word = match (event.kind, event.tool.as_deref()) {
        (EventKind::ToolCall, Some(tool)) => text::clean(tool).into_owned(),
        (EventKind::ToolCall, None) => "tool".to_owned(),
        (EventKind::ToolResult, _) => "result".to_owned(),
        (EventKind::PermissionRequest, _) => "permission".to_owned(),
        (EventKind::SubagentStart, _) => "subagent".to_owned(),
        (EventKind::SubagentStop, _) => "subagent end".to_owned(),
        (EventKind::PeerMessage, _) => match event.direction {
            Some(Direction::Sent) => "peer sent".to_owned(),
            Some(Direction::Received) | None => "peer".to_owned(),
        },
        (EventKind::TurnEnd, _) => "turn end".to_owned(),
        (kind, _) => kind.as_str().to_owned(),
    };
    (sign, word, style)
}
