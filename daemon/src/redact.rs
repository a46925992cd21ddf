//! The redactor of this host: rrd's own rules, those of `redact.toml` beside config.toml, and rrd's own keys.
//!
//! What the file says wrongly never weakens the rest: a file that cannot be read or understood, and each rule
//! that does not hold, is told, and everything else is in force. Not here: the rules ([`rrd_core::redact`]).

use std::{fs, io};

use rrd_core::redact::Settings;
pub use rrd_core::redact::{Redacted, Redactor, Refused, Report, Stream};

use crate::{Dirs, edge::Secrets, fleet::keyfile};

/// What `redact.toml` is called.
const FILE: &str = "redact.toml";

/// A redactor with a person's rules, and what of theirs does not hold.
#[must_use]
pub fn redactor(dirs: Option<&Dirs>) -> (Redactor, Vec<Refused>) {
    let (settings, wrong) = settings(dirs);
    let (redactor, mut refused) = with(&settings, &own_secrets(dirs));
    refused.extend(wrong);
    (redactor, refused)
}

/// A redactor with these rules that hides these secrets.
pub(crate) fn with(settings: &Settings, own: &Secrets) -> (Redactor, Vec<Refused>) {
    let own: Vec<&[u8]> = own.iter().map(|secret| secret.as_slice()).collect();
    Redactor::with(settings, &own)
}

/// rrd's own keys, where there are any.
pub(crate) fn own_secrets(dirs: Option<&Dirs>) -> Secrets {
    dirs.map(|dirs| keyfile::own_secrets(&dirs.state)).unwrap_or_default()
}

/// A person's rules, and why there are none when the file is wrong.
pub(crate) fn settings(dirs: Option<&Dirs>) -> (Settings, Option<Refused>) {
    match read(dirs) {
        Ok(settings) => (settings, None),
        Err(reason) => (Settings::default(), Some(Refused { rule: FILE.to_owned(), reason })),
    }
}

fn read(dirs: Option<&Dirs>) -> Result<Settings, String> {
    let Some(path) = dirs.map(|dirs| dirs.config_file.with_file_name(FILE)) else {
        return Ok(Settings::default());
    };
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Settings::default()),
        Err(error) => return Err(format!("it cannot be read: {error}")),
    };
    toml::from_str(&text).map_err(|error| format!("it is not understood: {error}"))
}
