//! The formats rrd reads: one file each, and the registry of them.
//!
//! Adding a harness touches one parser file, one line in [`formats`] and one fixture folder.
//! Parsing never fails: unknown kinds are counted, damaged lines become issues, nothing panics.
//! Not here: where files are opened, how status is decided.

mod claude_code;
pub mod cleanup;
mod codex;
mod head;
mod hermes;
pub mod hook;
mod json;
mod lines;
mod names;
mod openclaw;
mod pi;
mod summary;
pub mod tables;

pub(crate) use head::unescape;
pub(crate) use names::is_uuid;
pub(crate) use summary::argument;

use rrd_proto::{Harness, ParentKind, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    fact::{Fact, Parsed},
    live::{LivenessBy, RegistryEntry},
    tree::{Entry, Tip},
};

/// Reads one transcript, line by line, in order.
pub trait Parser: Send {
    /// Understands one line (without its newline) as far as it can.
    fn line<'a>(&mut self, line: &'a [u8]) -> Parsed<'a>;

    /// What to hand to [`Format::parser`] to go on from here.
    fn state(&self) -> ParserState;
}

/// What a parser must remember between lines; stored with the cursor, so it only grows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ParserState {
    /// The file's own header has been seen: later ones are copies.
    pub header_seen: bool,
    /// The file uses the newer of two vocabularies, so the older one repeats it.
    pub paginated: bool,
    /// Records up to this ordinal are the parent's.
    pub copied_below: u64,
    /// A fork's copied part is being read.
    pub copying: bool,
    /// The file is a delegate's own: side-chain records in it are not another's.
    pub delegate: bool,
    /// A turn with a recorded begin is open, so its end will be recorded too.
    pub in_turn: bool,
    /// The last thing said, which another vocabulary may repeat (a hash; 0 is none).
    pub said: u64,
    /// Records from before then are the parent's.
    pub copied_before: Option<Timestamp>,
    /// The record (a hash of its id) that the file was begun for, and when it was; none older is its own.
    pub begun_for: Option<(u64, Timestamp)>,
    /// Whatever would need a permission is refused, or decided by the harness itself.
    pub never_asks: bool,
    /// The open turn's latest entries (hashes of their ids), where a transcript is a tree.
    pub turn: Vec<u64>,
    /// Where the conversation stands, where a transcript is a tree.
    pub tip: Option<Tip>,
    /// It has left a branch since it was last found out which records stand.
    pub has_left: bool,
}

/// What a file beneath a root is, told by its path alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileRole {
    /// A transcript. `session_id` is what the name says; a record may say better.
    Transcript {
        /// The id in the name.
        session_id: String,
        /// The parent in the path, for subagents.
        parent: Option<(String, ParentKind)>,
        /// The bytes are zstd frames.
        zstd: bool,
        /// The harness has archived it.
        archived: bool,
    },
    /// Facts about the transcript `session_id`, one small JSON object, rewritten in place.
    Sidecar {
        /// Whose.
        session_id: String,
    },
    /// The live registry's entry of one process.
    LiveEntry,
    /// The lock that the live writer of `session_id` holds; [`Format::traces`] says of what kind.
    WriterLock {
        /// Whose.
        session_id: String,
    },
    /// A list of titles by session id.
    TitleIndex,
    /// A database that holds sessions, or what SQLite keeps beside it.
    Database,
    /// The database of questions to a person ([`Format::asks`]), or what SQLite keeps beside it.
    Asks,
    /// Not ours to read.
    Ignored,
}

/// Tells the entries in a line, and gives the key of its record.
pub type Entries = fn(&[u8], &mut dyn FnMut(Entry)) -> u64;

/// Session ids and their titles; of several for one session the last one counts.
pub type Titles = Vec<(String, String)>;

/// One harness's format: plain functions, so that a new one is one file and one line.
#[derive(Debug, Clone, Copy)]
pub struct Format {
    /// Its name.
    pub name: &'static str,
    /// The environment variable that moves its home.
    pub home_var: &'static str,
    /// The environment variable that stands for the user's home to this harness alone, if there is one;
    /// its homes are beneath that then.
    pub user_home_var: Option<&'static str>,
    /// The environment variable that moves its transcripts alone, to a directory of their own. Those that
    /// it wrote before, or elsewhere, stay in its home.
    pub sessions_var: Option<&'static str>,
    /// `home_var` may list several homes, separated by commas.
    pub several_homes: bool,
    /// Its default homes, beneath the user's.
    pub homes: &'static [&'static str],
    /// Others, only where they are there: names of former releases, profiles. One may end in `*`.
    pub other_homes: &'static [&'static str],
    /// The folder beneath its home in which live sessions leave traces, and what these are; a part of
    /// it may be `*`, any folder.
    pub traces: Option<(&'static str, LivenessBy)>,
    /// The directories beneath a root worth looking into, with everything in them (relative,
    /// `/`-separated); `x/*` stands for each directory in `x`, without what is deeper.
    pub folders: &'static [&'static str],
    /// What the file at this path (relative to the root, `/`-separated) is.
    pub classify: fn(&str) -> FileRole,
    /// Reads a transcript, going on from a state (the default one at its start).
    pub parser: fn(ParserState) -> Box<dyn Parser>,
    /// Tells the entries in a line, where transcripts are trees, and gives the key of its record, as the
    /// parser does.
    pub entries: Option<Entries>,
    /// Reads a [`FileRole::Sidecar`], or a session's row of a database; `None` while it is torn.
    pub sidecar: fn(&[u8]) -> Option<Vec<Fact<'static>>>,
    /// Reads a [`FileRole::LiveEntry`], or a [`FileRole::WriterLock`] that names its holder; `None`
    /// while it is torn.
    pub live_entry: fn(&[u8]) -> Option<RegistryEntry>,
    /// Reads a [`FileRole::TitleIndex`]; `None` while it is torn.
    pub titles: fn(&[u8]) -> Option<Titles>,
    /// What its databases hold; `sidecar` reads a session's row, `parser` a record's.
    pub tables: Option<&'static tables::Tables>,
    /// Where its sessions' questions to a person are.
    pub asks: Option<&'static tables::Asks>,
}

/// Every format this release reads.
#[must_use]
pub fn formats() -> &'static [Format] {
    const FORMATS: &[Format] =
        &[claude_code::FORMAT, codex::FORMAT, openclaw::FORMAT, hermes::FORMAT, pi::FORMAT];
    FORMATS
}

/// Whether a tool of this harness asks its user something: its turn waits for the answer.
#[must_use]
pub fn is_question(harness: &Harness, tool: &str) -> bool {
    match harness {
        Harness::ClaudeCode => matches!(tool, "AskUserQuestion" | "ExitPlanMode"),
        Harness::Codex => tool == "request_user_input",
        Harness::Hermes => tool == "clarify",
        // Of the extensions in pi's own `examples/`; pi itself never asks.
        Harness::Pi => matches!(tool, "question" | "questionnaire"),
        Harness::OpenClaw | Harness::Other(_) => false,
    }
}

/// The format of `harness`, if this release reads it.
#[must_use]
pub fn format_of(harness: &Harness) -> Option<&'static Format> {
    formats().iter().find(|format| format.name == harness.as_str())
}
