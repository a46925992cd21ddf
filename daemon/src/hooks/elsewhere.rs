//! Transcripts that hooks name in places that nothing follows: their sessions are known by hooks alone.
//!
//! What a hook names may never come to be, so only what is there counts. Such a place is told, not
//! followed: it may be a temporary one, or one that its user wants left alone.

use std::path::{Path, PathBuf};

use rrd_core::harness::{FileRole, Format, format_of};
use rrd_proto::Harness;

use crate::{
    config::HarnessRoot,
    hub::{Hub, shown},
};

/// The homes that hold such transcripts, each once.
pub(super) fn homes(hub: &Hub, roots: &[HarnessRoot]) -> Vec<(Harness, PathBuf)> {
    let mut homes = Vec::new();
    for (key, trail) in hub.trails() {
        let read = hub.entry(&key).is_some_and(|entry| !entry.path.is_empty());
        let (Some(path), Some(format)) =
            (trail.transcript.filter(|_| !read), format_of(&key.harness))
        else {
            continue;
        };
        let path = Path::new(&path);
        let Some(home) = home_of(path, format).filter(|_| path.is_file()) else { continue };
        let home = (key.harness, home.to_owned());
        if !homes.contains(&home) && !is_beneath(path, roots, &home.0) {
            homes.push(home);
        }
    }
    homes.sort();
    homes
}

/// The directory from which this is a transcript of the harness.
fn home_of<'p>(path: &'p Path, format: &Format) -> Option<&'p Path> {
    let is_home = |home: &&Path| {
        let relative = path.strip_prefix(home).map(shown).unwrap_or_default().replace('\\', "/");
        matches!((format.classify)(&relative), FileRole::Transcript { .. })
    };
    path.ancestors().skip(1).find(is_home)
}

/// Also where a link leads there.
fn is_beneath(path: &Path, roots: &[HarnessRoot], harness: &Harness) -> bool {
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    roots.iter().filter(|root| root.harness == *harness).any(|root| {
        path.starts_with(&root.path)
            || root.path.canonicalize().is_ok_and(|root| real.starts_with(root))
    })
}
