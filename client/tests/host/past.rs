//! What lies on a host from days ago: turns of Claude Code that are over, and clones of repositories.
//!
//! Not here: sessions at work.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::Host;

/// The repository of the clones.
pub(crate) const REMOTE: &str = "git@example.com:acme/alpha.git";

/// In no file as it is.
pub(crate) fn secret() -> String {
    format!("{}_{}", "ghp", "Ab3dEf6hIj9kLm2nOp5qRs8tUv1wXy4zAb7c")
}

/// To a file that may not be there yet.
pub(crate) fn append(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut file = fs::File::options().append(true).create(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// The records of a turn that is over.
pub(crate) fn turn(id: &str, cwd: &Path, number: usize, says: &str) -> String {
    let at = format!("2026-11-20T10:{number:02}:00.000Z");
    let of = |record: Value| {
        let mut all = json!({
            "isSidechain": false, "sessionId": id, "cwd": cwd, "version": "2.1.329",
            "gitBranch": "main", "timestamp": at, "entrypoint": "cli", "userType": "external",
        });
        all.as_object_mut().unwrap().extend(record.as_object().unwrap().clone());
        format!("{all}\n")
    };
    let (prompt, answer) = (format!("u{number}"), format!("a{number}"));
    [
        of(json!({"type": "user", "uuid": prompt, "parentUuid": null, "promptSource": "typed",
            "message": {"role": "user", "content": says}})),
        of(json!({"type": "assistant", "uuid": answer, "parentUuid": prompt,
            "message": {"id": format!("m{number}"), "role": "assistant", "model": "opus",
                "stop_reason": "end_turn", "content": [{"type": "text", "text": "Done."}]}})),
    ]
    .concat()
}

impl Host {
    /// A clone of [`REMOTE`].
    pub(crate) fn clones(&self, name: &str) -> PathBuf {
        self.clones_from(name, REMOTE)
    }

    /// A clone of this remote.
    pub(crate) fn clones_from(&self, name: &str, remote: &str) -> PathBuf {
        let clone = self.path(name);
        append(&clone.join(".git/HEAD"), "ref: refs/heads/main\n");
        append(&clone.join(".git/config"), &format!("[remote \"origin\"]\n\turl = {remote}\n"));
        clone.canonicalize().unwrap()
    }

    /// Where Claude Code keeps a session that was started in a directory.
    pub(crate) fn lies(&self, id: &str, cwd: &Path) -> PathBuf {
        let letter = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
        let name: String = cwd.to_str().unwrap().chars().map(letter).collect();
        self.path(&format!(".claude/projects/{name}/{id}.jsonl"))
    }
}
