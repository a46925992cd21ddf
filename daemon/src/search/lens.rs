//! Where in a text it is what was looked for: the index says only that it is.
//!
//! The texts of a few hits are put into a table in memory with the same tokenizer, and asked the same
//! question: so it means the same, whatever letters there are.

use rrd_core::search::{FOUND, Snippet, snippet};
use rusqlite::{Connection, params};

use super::rows::TOKENIZER;

/// The table in memory.
#[derive(Debug)]
pub(super) struct Lens {
    db: Connection,
}

impl Lens {
    pub(super) fn new() -> rusqlite::Result<Self> {
        let db = Connection::open_in_memory()?;
        db.execute_batch(&format!(
            "CREATE VIRTUAL TABLE lens USING fts5 (words, tokenize = '{TOKENIZER}', detail = full)"
        ))?;
        Ok(Self { db })
    }

    /// Of each text the line around what was found; `None` of those in which it is not.
    pub(super) fn look(
        &self,
        expression: &str,
        texts: &[String],
    ) -> rusqlite::Result<Vec<Option<Snippet>>> {
        let mut found = vec![None; texts.len()];
        let transaction = self.db.unchecked_transaction()?;
        {
            let sql = "INSERT INTO lens (rowid, words) VALUES (?1, ?2)";
            let mut insert = transaction.prepare_cached(sql)?;
            for (number, text) in texts.iter().enumerate() {
                insert.execute(params![number as i64, text])?;
            }
            let sql = "SELECT rowid, highlight(lens, 0, ?2, ?3) FROM lens WHERE lens MATCH ?1";
            let mut marked = transaction.prepare_cached(sql)?;
            let around = FOUND.map(String::from);
            let mut rows = marked.query(params![expression, around[0], around[1]])?;
            while let Some(row) = rows.next()? {
                let number = usize::try_from(row.get::<_, i64>(0)?).unwrap_or(usize::MAX);
                if let Some(place) = found.get_mut(number) {
                    *place = snippet(row.get_ref(1)?.as_str()?);
                }
            }
        }
        // Nothing of it is kept.
        transaction.rollback()?;
        Ok(found)
    }
}
