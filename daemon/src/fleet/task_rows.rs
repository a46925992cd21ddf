//! Links of tasks to sessions, kept: a part of `keep.db`, for they are said nowhere else.
//!
//! Not here: which of them count ([`rrd_core::task`]), and how they travel ([`crate::tasks`]).

use std::collections::BTreeSet;

use rrd_core::task::Register;
use rusqlite::params;

use super::keep::{Keep, KeepError};

impl Keep {
    /// All that are kept, as they were signed.
    pub(crate) fn task_links(&self) -> Result<Vec<String>, KeepError> {
        self.rows("SELECT link FROM task_links", [], |row| row.get(0))
    }

    /// Keeps of these tasks what the register has of them, and nothing else.
    pub(crate) fn set_task_links(
        &mut self,
        register: &Register,
        tasks: &BTreeSet<String>,
    ) -> Result<(), KeepError> {
        self.at_once(|db| {
            let mut delete = db.prepare_cached("DELETE FROM task_links WHERE task = ?1")?;
            let mut insert = db.prepare_cached("INSERT INTO task_links VALUES (?1, ?2, ?3, ?4)")?;
            for task in tasks {
                delete.execute([task])?;
                for (link, text) in register.links(task, |_| true) {
                    let (counter, node) = (link.counter.cast_signed(), link.node.to_string());
                    insert.execute(params![task, counter, node, text])?;
                }
            }
            Ok(())
        })
    }
}
