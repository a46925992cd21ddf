//! What sessions ask a person, from the database in which their harness keeps it.
//!
//! Read anew when its files have changed, and not opened otherwise. A question may name its session by a
//! key, which a database with sessions then translates, once: whatever goes on under that key later was
//! not asked for. Not here: SQLite ([`super::database`]), what follows for the status.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    time::Instant,
};

use rrd_core::{
    harness::tables::{AskRow, Asks as Spec, Whose},
    live::Ask,
};
use rrd_proto::{Harness, SessionKey, Timestamp};

use super::{FRESH, database, is_fresh, look};
use crate::store::Look;

/// More questions than this are not open at once, but in a database that was made to be read.
const MOST: usize = 256;

/// The questions of one root.
#[derive(Debug, Default)]
pub(super) struct Asks {
    /// How the files looked when they were read.
    seen: Option<Look>,
    /// Read once more then.
    pub(super) recheck: Option<Instant>,
    open: Vec<AskRow>,
    /// Whose they are, where they name a key: session ids, by the question's own id.
    sessions: HashMap<String, String>,
    /// Why they are not read.
    pub(super) trouble: Option<(PathBuf, String)>,
}

impl Asks {
    /// What is asked now; of several questions of one session, the oldest.
    pub(super) fn look(
        &mut self,
        root: &Path,
        harness: &Harness,
        spec: &Spec,
        databases: &[&Path],
        now: Timestamp,
    ) -> HashMap<SessionKey, Ask> {
        let path = root.join(spec.database);
        // There is none before its harness has asked for the first time, or in older releases.
        let Ok(looks) = look(&path) else {
            *self = Self::default();
            return HashMap::new();
        };
        let due = self.recheck.is_some_and(|at| at <= Instant::now());
        if self.seen != Some(looks) || due {
            let again = self.read(&path, spec, databases, now);
            self.seen = (!again).then_some(looks);
            // A change within the same tick of the file system's clock would look like none. Not at
            // once: SQLite sets the owner of its files anew for root, and that is reported, too.
            self.recheck = (again || is_fresh(&looks)).then(|| Instant::now() + FRESH);
        }
        let mut asks = HashMap::new();
        for row in self.open.iter().filter(|row| row.ask.until > now) {
            let session_id = match &row.whose {
                Whose::Session(id) => Some(id),
                Whose::Key(_) => self.sessions.get(&row.id),
            };
            let key = |id: &String| SessionKey { harness: harness.clone(), session_id: id.clone() };
            if let Some(key) = session_id.map(key) {
                asks.entry(key).or_insert_with(|| row.ask.clone());
            }
        }
        asks
    }

    /// True when it is to be tried again, though nothing changes.
    fn read(&mut self, path: &Path, spec: &Spec, databases: &[&Path], now: Timestamp) -> bool {
        match database::open_asks(path, spec, now.as_millis(), MOST) {
            Ok(rows) => self.open = rows,
            // What was asked stands meanwhile.
            Err(why) if why.passes() => return true,
            Err(why) => {
                *self =
                    Self { trouble: Some((path.to_owned(), why.to_string())), ..Self::default() };
                return false;
            }
        }
        self.trouble = None;
        let open = &self.open;
        self.sessions.retain(|id, _| open.iter().any(|row| row.id == *id));
        for path in databases {
            let mut keys = Vec::new();
            for row in open {
                if let Whose::Key(key) = &row.whose
                    && !self.sessions.contains_key(&row.id)
                {
                    keys.push((row.id.as_str(), key.as_str()));
                }
            }
            if keys.is_empty() {
                break;
            }
            // What cannot be read is said by whoever follows it.
            let found = database::sessions_of(path, spec.session_of, &keys);
            self.sessions.extend(found.unwrap_or_default());
        }
        false
    }
}
