//! Where sessions were, kept: a part of `keep.db`, for once a directory is gone nobody could find it out again.
//!
//! Not here: what is known ([`rrd_core::repo::Learnt`]), and when it is written down ([`crate::repo::Memory`]).

use rrd_core::repo::{Before, Learnt};
use rrd_proto::{Harness, SessionKey};
use rusqlite::params;

use super::keep::{Keep, KeepError};

impl Keep {
    /// What is known of all sessions. Of what cannot be read it is known that something was.
    pub(crate) fn learnt(&self) -> Result<Vec<(SessionKey, Learnt)>, KeepError> {
        self.rows("SELECT harness, session_id, learnt FROM repos", [], |row| {
            let harness = Harness::from(row.get_ref(0)?.as_str()?);
            let key = SessionKey { harness, session_id: row.get(1)? };
            let unknown = || Learnt { before: Before::Part, ..Learnt::default() };
            let learnt = serde_json::from_str(row.get_ref(2)?.as_str()?);
            Ok((key, learnt.unwrap_or_else(|_| unknown())))
        })
    }

    /// Takes these, all or none, but for those that are forgotten.
    pub(crate) fn learn(&mut self, known: &[(SessionKey, Learnt)]) -> Result<(), KeepError> {
        self.at_once(|db| {
            let sql = "INSERT OR REPLACE INTO repos SELECT ?1, ?2, ?3 WHERE NOT EXISTS
                (SELECT 1 FROM forgotten_sessions WHERE harness = ?1 AND session_id = ?2)";
            let mut put = db.prepare_cached(sql)?;
            known.iter().try_for_each(|(key, learnt)| {
                let learnt = serde_json::to_string(learnt).unwrap_or_default();
                put.execute(params![key.harness.as_str(), key.session_id, learnt]).map(drop)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use rrd_core::repo::{Repo, mark, place};
    use rrd_proto::Timestamp;

    use super::*;

    #[test]
    fn where_a_session_was_is_read_back_until_it_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let learnt = |name: &str| Learnt {
            repo: Some(Repo { name: Some(name.into()), ..Repo::default() }),
            past: vec!["before".into()],
            told: [mark("there")].into(),
            places: [place("/w")].into(),
            before: Before::All,
        };
        let key = |id: &str| SessionKey { harness: Harness::Codex, session_id: id.to_owned() };
        let open = || Keep::open(dir.path()).unwrap();
        let (one, other) = (key("a"), key("s\0"));
        open().learn(&[(one.clone(), learnt("a")), (other.clone(), learnt("b"))]).unwrap();
        open().learn(&[(one.clone(), learnt("c"))]).unwrap();
        assert_eq!(
            open().learnt().unwrap(),
            [(one.clone(), learnt("c")), (other.clone(), learnt("b"))]
        );
        open().forget_sessions(std::slice::from_ref(&one), Timestamp::from_millis(1)).unwrap();
        open().learn(&[(one, learnt("d"))]).unwrap();
        assert_eq!(open().learnt().unwrap(), [(other.clone(), learnt("b"))]);
        let keep = open();
        keep.run("UPDATE repos SET learnt = replace(learnt, '{', '[')", []).unwrap();
        let unknown = Learnt { before: Before::Part, ..Learnt::default() };
        assert_eq!(keep.learnt().unwrap(), [(other, unknown)]);
    }
}
