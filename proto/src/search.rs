//! Searching what sessions said and did, and what is found.
//!
//! Not here: how words are matched (the daemon's index does that), and how a hit is drawn.

use serde::{Deserialize, Serialize};

use crate::{Harness, SessionKey, Timestamp, Unheard};

/// Hits of an answer, at most.
pub const MAX_HITS: u32 = 200;

/// Bytes of a question, at most: what follows is not looked for.
pub const MAX_TEXT: usize = 1_000;

/// What is looked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SearchQuery {
    /// Words, all of which are to be found in one event, in any order. `"Words in quotes"` are found one
    /// after the other, `wor*` is the beginning of a word; nothing else has a meaning of its own.
    pub text: String,
    /// Only on this host, by its label.
    pub host: Option<String>,
    /// Only of this harness.
    pub harness: Option<Harness>,
    /// Only in this repository, by its name.
    pub repo: Option<String>,
    /// Only what happened at or after this.
    pub since: Option<Timestamp>,
    /// Only such.
    pub kind: Option<SearchKind>,
    /// At most so many hits, and at most [`MAX_HITS`].
    pub limit: u32,
}

/// What sort of thing was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SearchKind {
    /// What a person (or the SDK's caller) asked.
    Prompt,
    /// What an agent said, or one said to another.
    Message,
    /// A command that it ran, or what else it used a tool for.
    Command,
    /// A file that it read, sought or changed, or an address that it asked.
    Path,
    /// What failed: a tool, the model's API, the harness.
    Error,
    /// What a session was called.
    Title,
}

impl SearchKind {
    /// Every kind. Its place is part of the index's format: the list only grows, to eight at most.
    pub const ALL: [Self; 6] =
        [Self::Prompt, Self::Message, Self::Command, Self::Path, Self::Error, Self::Title];

    /// The word used in tables, flags and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Prompt => "prompt",
            Self::Message => "message",
            Self::Command => "command",
            Self::Path => "path",
            Self::Error => "error",
            Self::Title => "title",
        }
    }
}

/// One event in which everything that was looked for is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SearchHit {
    /// The session's ref.
    #[serde(rename = "ref")]
    pub reference: String,
    /// The label of its host.
    pub host: String,
    /// That host's node; null where it is in no fleet.
    pub node_id: Option<String>,
    /// Whose session it is.
    pub harness: Harness,
    /// The harness's own id of it.
    pub session_id: String,
    /// The repository in which it was.
    pub repo: Option<String>,
    /// What it is called.
    pub title: Option<String>,
    /// The event's seq in it.
    pub seq: u64,
    /// When that happened, by the answering host's clock; null where the harness does not say.
    pub at: Option<Timestamp>,
    /// What sort of thing it is.
    pub kind: SearchKind,
    /// The tool, for calls and results.
    pub tool: Option<String>,
    /// It was taken back since: undone, or rewritten.
    pub withdrawn: bool,
    /// One line of what it says, around what was looked for; what is secret in it was replaced before it
    /// was cut.
    pub snippet: String,
    /// Where in the snippet that is: first byte and the one after the last, in order, not overlapping.
    pub marks: Vec<(u32, u32)>,
    /// More of it is before and after the snippet.
    pub cut: (bool, bool),
    /// How good it is; the answer's hits are in its order.
    pub score: f64,
}

impl SearchHit {
    /// The session.
    #[must_use]
    pub fn key(&self) -> SessionKey {
        SessionKey { harness: self.harness.clone(), session_id: self.session_id.clone() }
    }

    /// The snippet in pieces, and of each whether it is what was looked for. Marks that cannot be are
    /// passed by.
    pub fn pieces(&self) -> Vec<(&str, bool)> {
        let (mut pieces, mut at) = (Vec::new(), 0);
        for (from, to) in &self.marks {
            let (from, to) = (*from as usize, *to as usize);
            if from < at || from >= to {
                continue;
            }
            let (Some(before), Some(found)) =
                (self.snippet.get(at..from), self.snippet.get(from..to))
            else {
                continue;
            };
            if !before.is_empty() {
                pieces.push((before, false));
            }
            pieces.push((found, true));
            at = to;
        }
        if let Some(rest) = self.snippet.get(at..).filter(|rest| !rest.is_empty()) {
            pieces.push((rest, false));
        }
        pieces
    }
}

/// What was found, the best first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SearchReply {
    /// The hits.
    pub hits: Vec<SearchHit>,
    /// There are more, or there may be: `since`, `kind` or another word narrows it.
    pub more: bool,
    /// What is older than this was not looked through, for it would have taken too long.
    pub looked_to: Option<Timestamp>,
    /// There was no word in the question.
    pub no_words: bool,
    /// Events that are not in the index yet, of the hosts that answered.
    pub behind: u64,
    /// Hosts that were to answer and have not.
    pub unheard: Vec<Unheard>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hit(snippet: &str, marks: &[(u32, u32)]) -> SearchHit {
        SearchHit {
            reference: "xtgsh".into(),
            host: "mac".into(),
            node_id: None,
            harness: Harness::Codex,
            session_id: "1".into(),
            repo: None,
            title: None,
            seq: 0,
            at: None,
            kind: SearchKind::Prompt,
            tool: None,
            withdrawn: false,
            snippet: snippet.into(),
            marks: marks.to_vec(),
            cut: (false, false),
            score: 0.0,
        }
    }

    #[test]
    fn a_snippet_comes_in_pieces_whatever_its_marks_say() {
        let pieces = |snippet, marks: &[(u32, u32)]| {
            let of = hit(snippet, marks);
            let of = of.pieces();
            of.iter().map(|(text, found)| format!("{}{text}", u8::from(*found))).collect::<Vec<_>>()
        };
        assert_eq!(pieces("run cargo test", &[(4, 9)]), ["0run ", "1cargo", "0 test"]);
        assert_eq!(pieces("ab", &[(0, 1), (1, 2)]), ["1a", "1b"]);
        assert_eq!(pieces("ab", &[]), ["0ab"]);
        assert_eq!(pieces("žab", &[(1, 2), (0, 9), (2, 2), (3, 2)]), ["0žab"]);
        assert!(pieces("", &[(0, 0)]).is_empty());
    }

    #[test]
    fn kinds_have_room_in_three_bits_and_one_word_each() {
        assert!(SearchKind::ALL.len() <= 8);
        for kind in SearchKind::ALL {
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{}\"", kind.as_str()));
        }
    }

    #[test]
    fn a_query_of_an_older_release_lacks_what_it_lacks() {
        let query: SearchQuery = serde_json::from_str("{\"text\":\"x\",\"mood\":1}").unwrap();
        assert_eq!(query, SearchQuery { text: "x".into(), ..SearchQuery::default() });
    }
}
