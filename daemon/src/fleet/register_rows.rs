//! What hosts said in turn, kept: a part of `keep.db`, for it is said nowhere else.
//!
//! Not here: which of it counts ([`rrd_core::register`]), and how it travels ([`crate::register`]).

use std::collections::BTreeSet;

use rrd_core::register::Register;
use rusqlite::params;

use super::keep::{Keep, KeepError};
use crate::register::Shared;

impl Keep {
    /// All words that are kept, as they were signed.
    pub(crate) fn words_of<W: Shared>(&self) -> Result<Vec<String>, KeepError> {
        self.rows(&format!("SELECT link FROM {}", W::TABLE), [], |row| row.get(0))
    }

    /// Keeps under these names what the register has under them, and nothing else.
    pub(crate) fn set_words_of<W: Shared>(
        &mut self,
        register: &Register<W>,
        names: &BTreeSet<String>,
    ) -> Result<(), KeepError> {
        let table = W::TABLE;
        self.at_once(|db| {
            let mut delete =
                db.prepare_cached(&format!("DELETE FROM {table} WHERE {} = ?1", W::NAME))?;
            let mut insert =
                db.prepare_cached(&format!("INSERT INTO {table} VALUES (?1, ?2, ?3, ?4)"))?;
            for name in names {
                delete.execute([name])?;
                for (word, text) in register.words(name, |_| true) {
                    let (counter, node) = word.place();
                    let (counter, node) = (counter.cast_signed(), node.to_string());
                    insert.execute(params![name, counter, node, text])?;
                }
            }
            Ok(())
        })
    }
}
