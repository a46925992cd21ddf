//! Which result answers which call, found out in one pass over a session's events.
//!
//! Calls are answered soon, in any order, or never: of those that wait only the latest are remembered. Not
//! here: the events themselves.

use std::collections::VecDeque;

use rrd_proto::{Event, EventKind, Mark};

/// Calls that wait for their results at once; of more, the oldest are taken for never answered.
pub const MOST: usize = 1024;

/// Calls that no result has been met of.
#[derive(Debug, Default)]
pub struct Calls(VecDeque<(u64, u64)>);

impl Calls {
    /// The mark of the next event.
    pub fn mark(&mut self, event: &Event) -> Mark {
        let call = self.meet(event.kind, event.seq, event.tool_call_id.as_deref());
        Mark { call, ..Mark::of(event) }
    }

    /// Takes the next event's call, if it is one; the seq of the call that it answers, if it is a result.
    pub fn meet(&mut self, kind: EventKind, seq: u64, id: Option<&str>) -> Option<u64> {
        let id = crate::hash(id.filter(|id| !id.is_empty())?.as_bytes());
        match kind {
            EventKind::ToolCall => {
                if self.0.len() == MOST {
                    self.0.pop_front();
                }
                self.0.push_back((id, seq));
                None
            }
            EventKind::ToolResult => {
                // Some harnesses use their ids again: the latest is meant.
                let at = self.0.iter().rposition(|(call, _)| *call == id)?;
                self.0.remove(at).map(|(_, seq)| seq)
            }
            _ => None,
        }
    }

    /// The same after which these were met.
    pub fn go_on(&mut self, later: Self) {
        self.0.extend(later.0);
        self.0.drain(..self.0.len().saturating_sub(MOST));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_find_their_calls_in_any_order() {
        use EventKind::{Message, ToolCall, ToolResult};
        let mut calls = Calls::default();
        let met: Vec<_> = (0..)
            .zip([
                (ToolCall, "a"),
                (ToolCall, "b"),
                (Message, ""),
                (ToolResult, "a"),
                (ToolResult, "b"),
                (ToolResult, "b"),
                (ToolResult, "lost"),
                (ToolCall, "a"),
                (ToolCall, ""),
                (ToolResult, ""),
                (ToolResult, "a"),
            ])
            .map(|(seq, (kind, id))| calls.meet(kind, seq, Some(id)))
            .collect();
        let none = None;
        assert_eq!(
            met,
            [none, none, none, Some(0), Some(1), none, none, none, none, none, Some(7)]
        );
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut calls = Calls::default();
        let ids: Vec<_> = (0..10 * MOST).map(|at| at.to_string()).collect();
        for (seq, id) in (0..).zip(&ids) {
            calls.meet(EventKind::ToolCall, seq, Some(id));
        }
        assert_eq!(calls.0.len(), MOST);
        let of =
            |calls: &mut Calls, at: usize| calls.meet(EventKind::ToolResult, 0, Some(&ids[at]));
        assert_eq!(of(&mut calls, 10 * MOST - 1), Some(10 * MOST as u64 - 1));
        assert_eq!(of(&mut calls, 0), None);
    }
}
