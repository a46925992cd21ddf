//! A host of the demo: a home of its own, a daemon in this process, and somebody who looks at its list.
//!
//! The daemon is asked over its socket, as by any other command. Not here: what its harnesses do.

use std::{
    ffi::OsString,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::mpsc::SyncSender,
    thread,
    time::{Duration, Instant},
};

use rrd_proto::{FleetCall, FleetReply, FleetStatus, ListQuery, ListReply};

use crate::{
    connect::{self, Unreachable},
    error::{CliError, Kind},
    local::{self, Config, Daemon},
};

/// Joining takes as long as the other daemon does.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long one look waits for a change.
const LOOK: Duration = Duration::from_secs(30);

/// What one host's list said, and when.
pub(crate) struct Seen {
    pub(crate) host: usize,
    pub(crate) at: Instant,
    pub(crate) reply: ListReply,
}

pub(crate) struct Host {
    pub(crate) name: &'static str,
    home: PathBuf,
    /// Where it listens, once it does; again after it was started again.
    listen: Option<SocketAddr>,
    running: Option<(Daemon, Config)>,
}

impl Host {
    /// One whose home lies beneath `root`, with its daemon not running.
    pub(crate) fn new(root: &Path, name: &'static str) -> Result<Self, CliError> {
        let home = root.join(name);
        fs::create_dir_all(&home).map_err(|error| {
            CliError::new(Kind::Internal, format!("cannot make {}: {error}", home.display()))
        })?;
        Ok(Self { name, home, listen: None, running: None })
    }

    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    /// What another terminal sets to ask this host.
    pub(crate) fn rrd_home(&self) -> PathBuf {
        self.home.join("rrd")
    }

    /// Starts its daemon. Whatever it lists from here on goes to `seen`.
    pub(crate) fn start<T: From<Seen> + Send + 'static>(
        &mut self,
        number: usize,
        seen: SyncSender<T>,
    ) -> Result<(), CliError> {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let variables: [(&str, OsString); 5] = [
            ("HOME", self.home.clone().into()),
            ("RRD_HOME", self.rrd_home().into()),
            ("RRD_NAME", self.name.into()),
            ("RRD_HTTP", any.to_string().into()),
            ("RRD_LISTEN", self.listen.unwrap_or(any).to_string().into()),
        ];
        let config = local::config_of(&variables)?;
        let daemon = local::start_daemon(config.clone())?;
        let socket = config.dirs.socket.clone();
        self.running = Some((daemon, config));
        thread::spawn(move || look(&socket, number, &seen));
        Ok(())
    }

    /// Where its page is, while its daemon runs.
    pub(crate) fn page(&self) -> Option<SocketAddr> {
        self.running.as_ref().and_then(|(daemon, _)| daemon.http())
    }

    /// Stops its daemon, in order.
    pub(crate) fn stop(&mut self) {
        if let Some((daemon, config)) = self.running.take() {
            daemon.stop();
            // Where temporary directories have long names, the socket has one of its own.
            let aside = config.dirs.socket.parent().filter(|dir| !dir.starts_with(&self.home));
            if let Some(dir) = aside.filter(|_| cfg!(unix)) {
                let _ = fs::remove_dir(dir);
            }
        }
    }

    /// Founds a fleet.
    pub(crate) fn init(&mut self) -> Result<(), CliError> {
        self.fleet(FleetCall::Init)?;
        self.knows_its_address()
    }

    /// What `rrd fleet invite` prints.
    pub(crate) fn invite(&self) -> Result<String, CliError> {
        match self.fleet(FleetCall::Invite)? {
            FleetReply::Invite(invite) => Ok(invite.word),
            _ => Err(unexpected()),
        }
    }

    pub(crate) fn join(&mut self, invite: &str) -> Result<(), CliError> {
        self.fleet(FleetCall::Join(invite.to_owned()))?;
        self.knows_its_address()
    }

    /// It listens a moment after it has a key.
    fn knows_its_address(&mut self) -> Result<(), CliError> {
        let begun = Instant::now();
        loop {
            let FleetReply::Status(status) = self.fleet(FleetCall::Status)? else {
                return Err(unexpected());
            };
            let FleetStatus { listen, listen_note, .. } = *status;
            if listen.is_some() {
                self.listen = listen;
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                let why = listen_note.unwrap_or_default();
                let name = self.name;
                return Err(CliError::new(
                    Kind::Internal,
                    format!("{name} does not listen: {why}"),
                ));
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn fleet(&self, call: FleetCall) -> Result<FleetReply, CliError> {
        let Some((_, config)) = &self.running else { return Err(unexpected()) };
        let connection = connect::dial(&config.dirs.socket).map_err(Unreachable::into_error)?;
        connection.fleet(&call, PATIENCE)?.map_err(|refusal| {
            let error =
                CliError::new(Kind::Internal, format!("{}: {}", self.name, refusal.message));
            refusal.facts.into_iter().fold(error, CliError::fact)
        })
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.stop();
    }
}

fn unexpected() -> CliError {
    CliError::new(Kind::Internal, "a daemon of the demo answered something else")
}

/// Looks at the list again and again, until the daemon is gone or nobody wants to know.
fn look<T: From<Seen>>(socket: &Path, host: usize, seen: &SyncSender<T>) {
    let Ok(connection) = connect::dial(socket) else { return };
    while let Ok(reply) = connection.list(&ListQuery::default()) {
        let (at, cursor) = (Instant::now(), reply.cursor);
        if seen.send(Seen { host, at, reply }.into()).is_err() {
            return;
        }
        if !matches!(connection.watch(cursor, LOOK), Ok(Ok(_))) {
            return;
        }
    }
}
