//! What a service file is made from: this binary, this shell's roots, and where the file goes.
//!
//! Only variables that are named here are recorded: the file is readable by others, and an
//! environment is full of secrets. Not here: the formats ([`super::render`]) and the commands.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use super::ServiceError;
use crate::local;

/// Reads one environment variable; injected so that tests own their environment.
pub(super) type Env<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// Who starts the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manager {
    Systemd,
    Launchd,
    TaskScheduler,
}

impl Manager {
    /// The one of the platform this was built for.
    pub(super) const fn of_platform() -> Self {
        if cfg!(windows) {
            Self::TaskScheduler
        } else if cfg!(target_os = "macos") {
            Self::Launchd
        } else {
            Self::Systemd
        }
    }
}

/// How a variable's value is taken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Value {
    /// As it stands.
    Text,
    /// A directory; a relative one means something else to a daemon, so it is made absolute.
    Directory,
    /// A harness's home.
    Root,
    /// Several of them, separated by commas.
    Roots,
    /// A directory that the XDG specification wants ignored unless it is absolute.
    XdgDirectory,
}

/// Everything that decides what rrd reads and where it keeps its own files. Nothing else is recorded.
fn to_record() -> impl Iterator<Item = (&'static str, Value)> {
    let homes = local::formats().iter().flat_map(|format| {
        let kind = if format.several_homes { Value::Roots } else { Value::Root };
        let others = [format.user_home_var, format.sessions_var];
        let others = others.into_iter().flatten().map(|name| (name, Value::Root));
        std::iter::once((format.home_var, kind)).chain(others)
    });
    OWN.into_iter().chain(homes)
}

/// Of these, what no harness knows of.
const OWN: [(&str, Value); 26] = [
    ("HOME", Value::Directory),
    ("XDG_CONFIG_HOME", Value::XdgDirectory),
    ("XDG_STATE_HOME", Value::XdgDirectory),
    ("RRD_HOME", Value::Directory),
    ("RRD_NAME", Value::Text),
    ("RRD_IDLE_TIMEOUT", Value::Text),
    ("RRD_WATCH", Value::Text),
    ("RRD_LISTEN", Value::Text),
    ("RRD_SEEDS", Value::Text),
    ("RRD_HTTP", Value::Text),
    ("RRD_HTTP_LOOPBACK", Value::Text),
    ("RRD_HTTP_PAIRING", Value::Text),
    ("RRD_HTTP_HOSTS", Value::Text),
    ("RRD_TAILSCALED", Value::Text),
    ("RRD_ACTIVITY_EVENT", Value::Text),
    ("RRD_ACTIVITY_SESSION", Value::Text),
    ("RRD_ACTIVITY_TOTAL", Value::Text),
    ("RRD_ACTIVITY_AGE", Value::Text),
    ("RRD_RESUME_RAW", Value::Text),
    ("RRD_NOTIFY_QUIET", Value::Text),
    ("RRD_NOTIFY_THROUGH", Value::Text),
    ("RRD_NOTIFY_TIME_ZONE", Value::Text),
    ("RRD_NOTIFY_DETAILS", Value::Text),
    ("RRD_NOTIFY_PER_HOUR", Value::Text),
    ("RRD_NOTIFY_PAGE", Value::Text),
    // Part of the default host name: services are started without it.
    ("WSL_DISTRO_NAME", Value::Text),
];

/// What is known before anything is written or run.
#[derive(Debug, Clone)]
pub(super) struct Host {
    pub(super) manager: Manager,
    /// The binary that the service will run: this one.
    pub(super) binary: String,
    /// The service file.
    pub(super) file: PathBuf,
    /// The user's home, for logs.
    pub(super) home: PathBuf,
    /// What the service gets of this shell's environment.
    pub(super) environment: Vec<(&'static str, String)>,
    /// `DOMAIN\user`, where the manager wants it.
    pub(super) user: String,
}

impl Host {
    /// Gathers it; touches nothing.
    pub(super) fn gather(
        manager: Manager,
        binary: &Path,
        cwd: &Path,
        env: Env<'_>,
    ) -> Result<Self, ServiceError> {
        let set = |name: &str| env(name).filter(|value| !value.is_empty());
        let place = |name: &str| set(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let home = set("HOME")
            .or_else(|| set("USERPROFILE"))
            .map(|home| cwd.join(home))
            .ok_or_else(|| ServiceError::new("cannot tell your home directory", "set HOME"))?;
        let file = match manager {
            Manager::Systemd => place("XDG_CONFIG_HOME")
                .unwrap_or_else(|| home.join(".config"))
                .join("systemd/user/rrd.service"),
            Manager::Launchd => home.join("Library/LaunchAgents/dev.rrd.daemon.plist"),
            Manager::TaskScheduler => place("LOCALAPPDATA")
                .unwrap_or_else(|| home.join("AppData").join("Local"))
                .join("rrd")
                .join("service")
                .join("rrd-task.xml"),
        };
        let user = match (text(set("USERDOMAIN")), text(set("USERNAME"))) {
            (Some(domain), Some(user)) => format!("{domain}\\{user}"),
            (None, user) => user.unwrap_or_default(),
            (Some(_), None) => String::new(),
        };
        let mut environment = Vec::new();
        for (name, kind) in to_record() {
            let Some(value) = set(name) else { continue };
            let value = value.into_string().map_err(|_| unwritable(name, "is not Unicode"))?;
            if let Some(value) = recorded(kind, &value, cwd) {
                writable(name, &value)?;
                environment.push((name, value));
            }
        }
        let binary = binary
            .to_str()
            .ok_or_else(|| unwritable("the path of this binary", "is not Unicode"))?
            .to_owned();
        writable("the path of this binary", &binary)?;
        Ok(Self { manager, binary, file, home, environment, user })
    }
}

fn recorded(kind: Value, value: &str, cwd: &Path) -> Option<String> {
    let absolute = |path: &str| cwd.join(path).display().to_string();
    // Of a root, rrd itself expands a leading `~`.
    let root = |path: &str| match path {
        "~" => path.to_owned(),
        _ if path.starts_with("~/") => path.to_owned(),
        _ => absolute(path),
    };
    match kind {
        Value::Text => Some(value.to_owned()),
        Value::Directory => Some(absolute(value)),
        Value::Root => Some(root(value)),
        Value::Roots => {
            Some(value.split(',').map(str::trim).map(root).collect::<Vec<_>>().join(","))
        }
        Value::XdgDirectory => Path::new(value).is_absolute().then(|| value.to_owned()),
    }
}

/// No service file can hold a line break inside a value, and XML no control character at all.
fn writable(what: &str, value: &str) -> Result<(), ServiceError> {
    match value.chars().find(|c| c.is_control() && *c != '\t') {
        Some(c) => Err(unwritable(what, &format!("holds the control character {c:?}"))),
        None => Ok(()),
    }
}

fn unwritable(what: &str, why: &str) -> ServiceError {
    ServiceError::new(
        format!("{what} {why}, and cannot be written into a service file"),
        "change it, then run `rrd service install` again",
    )
}

fn text(value: Option<OsString>) -> Option<String> {
    value.and_then(|value| value.into_string().ok())
}

/// Whether `binary` is cargo's, and so gone or replaced after the next build or `cargo clean`.
pub(super) fn is_build_output(binary: &Path, exists: &dyn Fn(&Path) -> bool) -> bool {
    let Some(folder) = binary.parent() else { return false };
    // `cargo install --root target` is a strange wish, but an installation.
    let installed = folder.file_name().is_some_and(|name| name == "bin");
    folder.ancestors().any(|dir| {
        let named = dir.file_name().is_some_and(|name| name == "target") && !installed;
        named || exists(&dir.join(".rustc_info.json"))
    })
}
