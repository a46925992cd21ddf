//! How each part of the daemon is, for `rrd status` and `rrd doctor`.

use std::{
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use rrd_proto::PartStatus;

use crate::{
    fill::Progress,
    hooks::Hooks,
    hub::Hub,
    store::{Limits, Reader, Writer, aside},
};

/// What the parts' states are made from.
pub(crate) struct Health {
    pub(crate) host: String,
    pub(crate) started: Instant,
    pub(crate) socket: PathBuf,
    pub(crate) state_dir: PathBuf,
    pub(crate) writer: Arc<Writer>,
    pub(crate) filled: Arc<Progress>,
    pub(crate) limits: Limits,
}

impl Health {
    /// Every part, in the order data flows.
    pub(crate) fn parts(&self, hub: &Hub, hooks: &Hooks) -> Vec<PartStatus> {
        let (tails, progress) = hub.parts();
        let minutes = self.started.elapsed().as_secs() / 60;
        let pid = std::process::id();
        let daemon =
            format!("rrd {} on {}, pid {pid}, up {minutes} min", rrd_proto::VERSION, self.host);
        let mut parts = vec![part("daemon", rrd_proto::Health::Ok, daemon)];
        parts.extend(tails);
        parts.push(match progress {
            Some(left) => {
                let mb = |bytes: u64| bytes / 1_000_000;
                let detail = format!(
                    "first reading: {} of {} MB, {} transcripts left",
                    mb(left.done),
                    mb(left.total),
                    left.files_left
                );
                part("index", rrd_proto::Health::Ok, detail)
            }
            // What was read is not there yet.
            None if self.writer.state().failing.is_some() => {
                let detail = "behind: what was read cannot be written (see store)".to_owned();
                part("index", rrd_proto::Health::Degraded, detail)
            }
            None => part("index", rrd_proto::Health::Ok, "up to date".to_owned()),
        });
        parts.push(hooks.part());
        parts.push(self.store());
        parts.extend(self.activity());
        parts.push(part(
            "rpc",
            rrd_proto::Health::Ok,
            format!("answers at {}", self.socket.display()),
        ));
        parts
    }

    fn store(&self) -> PartStatus {
        let state = self.writer.state();
        let bytes: u64 = ["index.db", "index.db-wal"]
            .iter()
            .filter_map(|name| std::fs::metadata(self.state_dir.join(name)).ok())
            .map(|metadata| metadata.len())
            .sum();
        let place = format!("{} ({} KB)", self.state_dir.join("index.db").display(), bytes / 1000);
        if let Some(why) = state.failing {
            let detail = format!("cannot be written ({why}); reading waits for it");
            let hint = Some(format!("df -h {}", self.state_dir.display()));
            return PartStatus { hint, ..part("store", rrd_proto::Health::Failed, detail) };
        }
        if state.damaged {
            let detail = format!("{place} is damaged; it is about to be set aside and begun anew");
            return part("store", rrd_proto::Health::Degraded, detail);
        }
        let aside = aside(&self.state_dir);
        if aside.exists() {
            let detail =
                format!("{place}; a damaged one was set aside and is kept as {}", aside.display());
            let hint = Some(format!("rm {}*", aside.display()));
            return PartStatus { hint, ..part("store", rrd_proto::Health::Ok, detail) };
        }
        part("store", rrd_proto::Health::Ok, place)
    }

    /// What is kept of what sessions did; nothing where that cannot be read.
    fn activity(&self) -> Option<PartStatus> {
        let held = Reader::open(&self.state_dir)?.held().ok()?;
        let (mb, used) = (held.bytes / 1_000_000, held.used / 1_000_000);
        let Limits { event: _, session: _, total, age } = self.limits;
        let (total, days) = (total / 1_000_000, age.as_secs() / 86_400);
        let mut detail = format!(
            "{mb} MB of what {} sessions did is kept, for {days} days; with the lines of all events {used} of \
             at most {total} MB",
            held.sessions
        );
        for (limit, sessions) in held.limited {
            detail += &format!("; {} took some of {sessions} sessions", limit.setting());
        }
        let left = self.filled.left.load(Ordering::Relaxed);
        if left > 0 {
            detail += &format!("; {left} older sessions are still to be read again");
        }
        Some(part("activity", rrd_proto::Health::Ok, detail))
    }
}

fn part(name: &str, state: rrd_proto::Health, detail: String) -> PartStatus {
    PartStatus { part: name.to_owned(), state, detail, hint: None }
}
