//! Opens databases of what could not be found out again: every write is on the disk before it returns.
//!
//! A damaged one is left as it is. Not here: what is in them; the index, which can be made anew, is opened by
//! [`super::Writer`].

use std::path::{Path, PathBuf};

use rusqlite::{Connection, config::DbConfig};

use super::owner_only;

/// Why it cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DurableError {
    /// SQLite says no.
    #[error("{path}: {source}", path = path.display())]
    Sqlite { path: PathBuf, source: rusqlite::Error },
    /// It is not what was put there.
    #[error("{path} is damaged: {what}", path = path.display())]
    Damaged { path: PathBuf, what: String },
    /// A newer release wrote it.
    #[error("{path} was written by a newer rrd (schema {found}, this one knows {known})", path = path.display())]
    Newer { path: PathBuf, found: i64, known: i64 },
    /// The file system says no.
    #[error("{path}: {source}", path = path.display())]
    Io { path: PathBuf, source: std::io::Error },
}

/// Opens one; makes it when it is not there. Each of `migrations` takes it from its index to the next number.
pub(crate) fn open(
    path: &Path,
    application_id: i64,
    migrations: &[&str],
) -> Result<Connection, DurableError> {
    let sqlite = |source| DurableError::Sqlite { path: path.to_owned(), source };
    owner_only(path).map_err(|source| DurableError::Io { path: path.to_owned(), source })?;
    let mut db = Connection::open(path).map_err(sqlite)?;
    let checked: String =
        db.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(sqlite)?;
    if checked != "ok" {
        return Err(DurableError::Damaged { path: path.to_owned(), what: checked });
    }
    db.pragma_update(None, "journal_mode", "WAL").map_err(sqlite)?;
    db.pragma_update(None, "synchronous", "FULL").map_err(sqlite)?;
    db.pragma_update(None, "foreign_keys", true).map_err(sqlite)?;
    // Else a query is planned anew for each value that is bound to it.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map_err(sqlite)?;
    if let Err((found, known)) = migrate(&mut db, application_id, migrations).map_err(sqlite)? {
        return Err(DurableError::Newer { path: path.to_owned(), found, known });
    }
    Ok(db)
}

/// Brings a database to this release's schema; or says which it has, and which this release knows.
pub(super) fn migrate(
    db: &mut Connection,
    application_id: i64,
    migrations: &[&str],
) -> rusqlite::Result<Result<(), (i64, i64)>> {
    let known = migrations.len() as i64;
    let found: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found > known {
        return Ok(Err((found, known)));
    }
    for (number, change) in migrations.iter().enumerate().skip(usize::try_from(found).unwrap_or(0))
    {
        let transaction = db.transaction()?;
        transaction.execute_batch(change)?;
        transaction.pragma_update(None, "application_id", application_id)?;
        transaction.pragma_update(None, "user_version", number as i64 + 1)?;
        transaction.commit()?;
    }
    Ok(Ok(()))
}
