//! Settings: flag, then environment, then config.toml, then default; and where each came from.
//!
//! Binds, opens and creates nothing but the reading of one file. Not here: the flags themselves
//! (the client parses them) and what each setting does.

mod messages;
pub(crate) mod notices;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt, fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use rrd_core::harness::{Format, formats};
use rrd_proto::{Harness, parse_duration};
use serde::Deserialize;

use crate::{
    dirs::Dirs,
    fleet::{Listen, MAX_SEEDS, Seed},
    http::settings::{HttpListen, HttpSettings},
    sdk,
    store::Limits,
};
pub(crate) use notices::NotifySettings;

/// Of one event no more is kept, whatever is set: a block of bodies must stay small enough to be opened.
const MAX_EVENT: u64 = 1 << 20;

/// Reads one environment variable; injected so that tests own their environment.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// What the command line set.
#[derive(Debug, Default, Clone)]
pub struct Flags {
    /// `--name`.
    pub name: Option<String>,
    /// `--listen`.
    pub listen: Option<String>,
    /// `--http`.
    pub http: Option<String>,
}

/// Everything the daemon and the one-shot scan need to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where rrd keeps its own files.
    pub dirs: Dirs,
    /// This host's label.
    pub host: String,
    /// How long an idle session stays in the list, and how long an unproven turn counts as running.
    pub idle_timeout: Duration,
    /// Whether file notifications are used.
    pub watch: WatchMode,
    /// Where other hosts of a fleet reach this one; nothing listens without a fleet.
    pub listen: Listen,
    /// Where members may be that are not where they say they are.
    pub(crate) seeds: Vec<Seed>,
    /// Where the page and its JSON are served, and to whom.
    pub(crate) http: HttpSettings,
    /// How much is kept of what sessions did.
    pub limits: Limits,
    /// Whether members that resume a session of this host get its files as they are.
    pub(crate) resume_raw: bool,
    /// What is told to people, and where.
    pub(crate) notify: NotifySettings,
    /// Whether hooks tell sessions of their messages.
    pub(crate) deliver: bool,
    /// Where each harness keeps its files, in the order they are looked at.
    pub roots: Vec<HarnessRoot>,
    settings: Vec<Setting>,
}

/// A directory in which a harness keeps its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HarnessRoot {
    /// Whose.
    pub harness: Harness,
    /// Its home (`~/.claude`, `~/.codex`).
    pub path: PathBuf,
    /// It is rrd's own, laid out like one of that harness.
    pub is_store: bool,
}

/// How changes are noticed. Sweeps find them in every mode, later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchMode {
    /// Notifications where the file system gives them, polling elsewhere.
    Auto,
    /// Polling only.
    Poll,
    /// Sweeps only.
    Off,
}

/// One setting as `rrd config` prints it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Its key in config.toml.
    pub key: String,
    /// What is in force.
    pub value: String,
    /// Whence.
    pub source: SettingSource,
}

/// Where a setting's value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SettingSource {
    /// A command line flag.
    Flag,
    /// This environment variable.
    Env(String),
    /// config.toml.
    File,
    /// Nobody set it.
    Default,
}

impl fmt::Display for SettingSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.pad("flag"),
            Self::Env(name) => f.pad(name),
            Self::File => f.pad("config.toml"),
            Self::Default => f.pad("default"),
        }
    }
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// config.toml is there but cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// config.toml is not what it should be.
    #[error("{path}: {message}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What and where.
        message: String,
    },
    /// A value makes no sense.
    #[error("{key} ({source_name}): {message}")]
    Value {
        /// The setting.
        key: &'static str,
        /// Where the value came from.
        source_name: String,
        /// What is wrong with it.
        message: String,
    },
    /// No home directory and no `RRD_HOME`.
    #[error(
        "cannot tell your home directory: set HOME, or RRD_HOME to a directory for rrd's own files"
    )]
    NoHome,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    name: Option<String>,
    idle_timeout: Option<String>,
    watch: Option<String>,
    fleet: FleetFile,
    http: HttpFile,
    activity: ActivityFile,
    resume: ResumeFile,
    notify: notices::NotifyFile,
    messages: messages::MessagesFile,
    harness: BTreeMap<String, HarnessFile>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct FleetFile {
    listen: Option<String>,
    seeds: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct HttpFile {
    listen: Option<String>,
    loopback: Option<String>,
    pairing: Option<String>,
    hosts: Option<Vec<String>>,
    tailscaled: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ActivityFile {
    event: Option<String>,
    session: Option<String>,
    total: Option<String>,
    age: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ResumeFile {
    raw: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct HarnessFile {
    roots: Option<Vec<String>>,
}

impl Config {
    /// Settles every setting.
    ///
    /// # Errors
    /// When config.toml is unreadable or wrong, a value makes no sense, or there is no home.
    pub fn load(env: Env<'_>, flags: &Flags) -> Result<Self, ConfigError> {
        let dirs = Dirs::resolve(env).ok_or(ConfigError::NoHome)?;
        let file = read_file(&dirs.config_file)?;
        let mut settings = Vec::new();
        let mut settle =
            |key: &str, flag: Option<String>, var: &str, file: Option<String>, default: String| {
                let of_env = env(var).and_then(|v| v.into_string().ok()).filter(|v| !v.is_empty());
                let (value, source) = match (flag, of_env, file) {
                    (Some(value), ..) => (value, SettingSource::Flag),
                    (None, Some(value), _) => (value, SettingSource::Env(var.to_owned())),
                    (None, None, Some(value)) => (value, SettingSource::File),
                    (None, None, None) => (default, SettingSource::Default),
                };
                settings.push(Setting {
                    key: key.to_owned(),
                    value: value.clone(),
                    source: source.clone(),
                });
                (value, source)
            };

        let (host, _) =
            settle("name", flags.name.clone(), "RRD_NAME", file.name, default_host(env));
        let (timeout, from) =
            settle("idle_timeout", None, "RRD_IDLE_TIMEOUT", file.idle_timeout, "5m".to_owned());
        let idle_timeout = parse_duration(&timeout)
            .map_err(|message| value_error("idle_timeout", &from, message))?;
        let (watch, from) = settle("watch", None, "RRD_WATCH", file.watch, "auto".to_owned());
        let watch = match watch.as_str() {
            "auto" => WatchMode::Auto,
            "poll" => WatchMode::Poll,
            "off" => WatchMode::Off,
            other => {
                let message = format!("`{other}` is not one of auto, poll, off");
                return Err(value_error("watch", &from, message));
            }
        };

        let (listen, from) = settle(
            "fleet.listen",
            flags.listen.clone(),
            "RRD_LISTEN",
            file.fleet.listen,
            "auto".to_owned(),
        );
        let listen =
            listen.parse().map_err(|message| value_error("fleet.listen", &from, message))?;

        let of_file = file.fleet.seeds.map(|seeds| seeds.join(", "));
        let (seeds, from) = settle("fleet.seeds", None, "RRD_SEEDS", of_file, String::new());
        let seeds =
            parse_seeds(&seeds).map_err(|message| value_error("fleet.seeds", &from, message))?;

        let http = settle_http(&mut settle, flags.http.clone(), file.http, &dirs)?;

        let limits = settle_limits(&mut settle, file.activity)?;

        let of_file = file.resume.raw.map(|raw| raw.to_string());
        let (raw, from) = settle("resume.raw", None, "RRD_RESUME_RAW", of_file, "true".to_owned());
        let resume_raw = raw.parse().map_err(|_| {
            value_error("resume.raw", &from, format!("`{raw}` is neither true nor false"))
        })?;

        let of_file = file.messages.deliver.map(|deliver| deliver.to_string());
        let deliver = messages::settle(&mut settle, of_file)?;
        let (notify, shown) = notices::settle(&mut settle, file.notify, &dirs)?;
        settings.extend(shown);

        let mut roots = Vec::new();
        for format in formats() {
            let name = format.name;
            let (paths, source) = harness_roots(format, &file.harness, env, &dirs);
            let shown =
                paths.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", ");
            settings.push(Setting { key: format!("harness.{name}.roots"), value: shown, source });
            for path in paths {
                let root = HarnessRoot { harness: Harness::from(name), path, is_store: false };
                if !roots.contains(&root) {
                    roots.push(root);
                }
            }
        }
        if let Some(unknown) =
            file.harness.keys().find(|name| formats().iter().all(|format| format.name != *name))
        {
            let known: Vec<_> = formats().iter().map(|format| format.name).collect();
            let known = known.join(", ");
            let message = format!("[harness.{unknown}]: this release knows {known}");
            return Err(ConfigError::Syntax { path: dirs.config_file, message });
        }
        Ok(Self {
            dirs,
            host,
            idle_timeout,
            watch,
            listen,
            seeds,
            http,
            limits,
            resume_raw,
            notify,
            deliver,
            roots,
            settings,
        })
    }

    /// Every directory that is followed: the harnesses' own, and then the session store.
    #[must_use]
    pub fn followed(&self) -> Vec<HarnessRoot> {
        let store = HarnessRoot {
            harness: Harness::ClaudeCode,
            path: sdk::folder(&self.dirs.state),
            is_store: true,
        };
        self.roots.iter().cloned().chain([store]).collect()
    }

    /// Every setting in force and whence, for `rrd config`.
    #[must_use]
    pub fn settings(&self) -> &[Setting] {
        &self.settings
    }
}

/// Settles one setting: its key, the flag, the variable, what the file says, the default.
type Settle<'a> = &'a mut dyn FnMut(
    &str,
    Option<String>,
    &str,
    Option<String>,
    String,
) -> (String, SettingSource);

fn settle_http(
    settle: Settle<'_>,
    flag: Option<String>,
    file: HttpFile,
    dirs: &Dirs,
) -> Result<HttpSettings, ConfigError> {
    let (listen, from) = settle("http.listen", flag, "RRD_HTTP", file.listen, "auto".to_owned());
    let wrong = |message| value_error("http.listen", &from, message);
    let listen: HttpListen = listen.parse().map_err(wrong)?;
    let mut either = |key, var, file, words: [&str; 2]| {
        let (word, from) = settle(key, None, var, file, words[0].to_owned());
        let message = || format!("`{word}` is not one of {}", words.join(", "));
        match words.iter().position(|known| *known == word) {
            Some(at) => Ok(at == 1),
            None => Err(value_error(key, &from, message())),
        }
    };
    let closed = either("http.loopback", "RRD_HTTP_LOOPBACK", file.loopback, ["open", "token"])?;
    let pairing_required =
        either("http.pairing", "RRD_HTTP_PAIRING", file.pairing, ["auto", "required"])?;
    if listen.is_wide() && !pairing_required {
        let message = format!(
            "{listen} is there for whoever reaches this host: it needs http.pairing = \"required\" \
             (RRD_HTTP_PAIRING=required), so that only who was let in sees anything"
        );
        return Err(value_error("http.listen", &from, message));
    }
    let of_file = file.hosts.map(|hosts| hosts.join(", "));
    let (hosts, _) = settle("http.hosts", None, "RRD_HTTP_HOSTS", of_file, String::new());
    let hosts = hosts.split(',').map(str::trim).filter(|name| !name.is_empty());
    let hosts = hosts.map(str::to_owned).collect();
    let (socket, from) =
        settle("http.tailscaled", None, "RRD_TAILSCALED", file.tailscaled, "auto".to_owned());
    let tailscaled = Some(expand(&socket, dirs)).filter(|_| socket != "auto");
    if tailscaled.as_ref().is_some_and(|path| !path.has_root()) {
        let message = format!("`{socket}` is neither auto nor the whole path of a socket");
        return Err(value_error("http.tailscaled", &from, message));
    }
    Ok(HttpSettings { listen, loopback_open: !closed, pairing_required, hosts, tailscaled })
}

fn settle_limits(settle: Settle<'_>, file: ActivityFile) -> Result<Limits, ConfigError> {
    let mut size = |key, var, file, default: &str, (least, most): (u64, u64)| {
        let (text, from) = settle(key, None, var, file, default.to_owned());
        let bytes = parse_size(&text).map_err(|message| value_error(key, &from, message))?;
        let wrong = |message| Err(value_error(key, &from, message));
        match bytes {
            bytes if bytes < least => wrong(format!("`{text}` is less than {least} bytes")),
            bytes if bytes > most => wrong(format!("`{text}` is more than {most} bytes")),
            bytes => Ok(bytes),
        }
    };
    let any = u64::MAX;
    let event =
        size("activity.event", "RRD_ACTIVITY_EVENT", file.event, "64KiB", (1 << 10, MAX_EVENT))?;
    let session =
        size("activity.session", "RRD_ACTIVITY_SESSION", file.session, "64MiB", (1 << 20, any))?;
    let total = size("activity.total", "RRD_ACTIVITY_TOTAL", file.total, "5GiB", (16 << 20, any))?;
    let key = "activity.age";
    let (text, from) = settle(key, None, "RRD_ACTIVITY_AGE", file.age, "180d".to_owned());
    let age = parse_duration(&text).map_err(|message| value_error(key, &from, message))?;
    let event = usize::try_from(event).unwrap_or(usize::MAX);
    Ok(Limits { event, session, total, age })
}

/// Bytes: `64KiB`, `5 GiB`, `100MB`, or a number.
fn parse_size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let wrong = || format!("`{text}` is not a size like 64KiB, 100MB or 5GiB");
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "kib" | "k" => 1 << 10,
        "mb" => 1_000_000,
        "mib" | "m" => 1 << 20,
        "gb" => 1_000_000_000,
        "gib" | "g" => 1 << 30,
        "tb" => 1_000_000_000_000,
        "tib" | "t" => 1 << 40,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(unit).ok_or_else(wrong)
}

/// Where a harness keeps its files, and who says so.
fn harness_roots(
    format: &Format,
    file: &BTreeMap<String, HarnessFile>,
    env: Env<'_>,
    dirs: &Dirs,
) -> (Vec<PathBuf>, SettingSource) {
    let (mut paths, mut source) = homes(format, file, env, dirs);
    let moved = format.sessions_var.and_then(|name| Some((name, env(name)?)));
    if let Some((name, value)) = moved.filter(|(_, value)| !value.is_empty()) {
        let sessions = value.to_str().map_or_else(|| PathBuf::from(&value), |v| expand(v, dirs));
        // What it may name is often where they are anyway, or a folder in there.
        let is_there = |home: &PathBuf| {
            let folders = format.folders.iter().map(|folder| home.join(folder));
            folders.chain([home.clone()]).any(|folder| {
                folder == sessions || sessions.parent() == Some(&folder) && folder != *home
            })
        };
        if !paths.iter().any(is_there) {
            paths.push(sessions);
            source = SettingSource::Env(name.to_owned());
        }
    }
    (paths, source)
}

fn homes(
    format: &Format,
    file: &BTreeMap<String, HarnessFile>,
    env: Env<'_>,
    dirs: &Dirs,
) -> (Vec<PathBuf>, SettingSource) {
    if let Some(value) = env(format.home_var).filter(|v| !v.is_empty()) {
        // Claude Code's variable may list several, separated by commas. An empty one is none: it would
        // be the directory rrd happens to run in.
        let paths = match value.to_str() {
            Some(text) if format.several_homes => {
                let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
                entries.map(|entry| expand(entry, dirs)).collect()
            }
            Some(text) => vec![expand(text, dirs)],
            None => vec![PathBuf::from(value)],
        };
        return (paths, SettingSource::Env(format.home_var.to_owned()));
    }
    let named = format.user_home_var.and_then(|name| Some((name, env(name)?)));
    if let Some((name, value)) = named.filter(|(_, value)| !value.is_empty()) {
        let home = value.to_str().map_or_else(|| PathBuf::from(&value), |text| expand(text, dirs));
        return (beneath(&home, format), SettingSource::Env(name.to_owned()));
    }
    if let Some(roots) = file.get(format.name).and_then(|h| h.roots.as_ref()) {
        return (roots.iter().map(|p| expand(p, dirs)).collect(), SettingSource::File);
    }
    (beneath(&dirs.user_home, format), SettingSource::Default)
}

/// Where a harness keeps its files in this home directory.
fn beneath(home: &Path, format: &Format) -> Vec<PathBuf> {
    let there = format.other_homes.iter().flat_map(|pattern| existing(home, pattern));
    format.homes.iter().map(|name| home.join(name)).chain(there).collect()
}

/// The directories in `home` whose name is `pattern`, which may end in `*`. Nobody wants to read of
/// those that might be there: former names of a product, profiles of any name.
fn existing(home: &Path, pattern: &str) -> Vec<PathBuf> {
    let Some(start) = pattern.strip_suffix('*') else {
        return Some(home.join(pattern)).filter(|path| path.is_dir()).into_iter().collect();
    };
    let Ok(entries) = fs::read_dir(home) else { return Vec::new() };
    let named = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with(start);
    let mut found: Vec<PathBuf> =
        entries.flatten().filter(named).map(|e| e.path()).filter(|path| path.is_dir()).collect();
    found.sort();
    found
}

fn expand(path: &str, dirs: &Dirs) -> PathBuf {
    match path.strip_prefix("~/") {
        Some(rest) => dirs.user_home.join(rest),
        None if path == "~" => dirs.user_home.clone(),
        None => PathBuf::from(path),
    }
}

fn read_file(path: &Path) -> Result<File, ConfigError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(File::default()),
        Err(source) => return Err(ConfigError::Read { path: path.to_owned(), source }),
    };
    toml::from_str(&text)
        .map_err(|e| ConfigError::Syntax { path: path.to_owned(), message: e.to_string() })
}

fn value_error(key: &'static str, source: &SettingSource, message: String) -> ConfigError {
    ConfigError::Value { key, source_name: source.to_string(), message }
}

fn parse_seeds(text: &str) -> Result<Vec<Seed>, String> {
    let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    let seeds: Vec<Seed> = entries.map(str::parse).collect::<Result<_, _>>()?;
    match seeds.len() {
        0..=MAX_SEEDS => Ok(seeds),
        count => Err(format!("{count} of them; the most is {MAX_SEEDS}")),
    }
}

fn default_host(env: Env<'_>) -> String {
    let host = gethostname::gethostname().to_string_lossy().into_owned();
    // Each WSL distribution is a host of its own, beside the Windows one it shares its name with.
    match env("WSL_DISTRO_NAME").and_then(|d| d.into_string().ok()) {
        Some(distro) if !distro.is_empty() => format!("{host}-{}", distro.to_lowercase()),
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(vars: &[(&str, &str)], file: &str) -> Result<Config, ConfigError> {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("config.toml"), file).unwrap();
        let env = |name: &str| match name {
            "RRD_HOME" => Some(home.path().as_os_str().to_owned()),
            "HOME" => Some("/home/dev".into()),
            _ => vars.iter().find(|(n, _)| *n == name).map(|(_, v)| OsString::from(v)),
        };
        Config::load(&env, &Flags::default())
    }

    #[test]
    fn environment_beats_file_beats_default() {
        let file = "idle_timeout = \"10m\"\nname = \"desk\"\n[harness.codex]\nroots = [\"~/cx\", \"/srv/cx\"]\n";
        let config = load(&[("RRD_IDLE_TIMEOUT", "90s")], file).unwrap();
        assert_eq!(config.idle_timeout, Duration::from_secs(90));
        assert_eq!(config.host, "desk");
        let codex: Vec<_> = config.roots.iter().filter(|r| r.harness == Harness::Codex).collect();
        assert_eq!(codex[0].path, Path::new("/home/dev/cx"));
        assert_eq!(codex[1].path, Path::new("/srv/cx"));
        let sources: Vec<_> =
            config.settings().iter().map(|s| (s.key.as_str(), s.source.to_string())).collect();
        assert!(sources.contains(&("idle_timeout", "RRD_IDLE_TIMEOUT".to_owned())));
        assert!(sources.contains(&("watch", "default".to_owned())));
        let file = "[fleet]\nseeds = [\"desk\", \"[::1]:9\"]";
        let seeds = |vars: &[(&str, &str)]| {
            let seeds = load(vars, file).unwrap().seeds;
            seeds.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(seeds(&[]), ["desk:7731", "[::1]:9"]);
        assert_eq!(seeds(&[("RRD_SEEDS", "pc:80,")]), ["pc:80"]);
        assert!(sources.contains(&("harness.codex.roots", "config.toml".to_owned())));
    }

    #[test]
    fn members_get_files_as_they_are_unless_it_is_said() {
        let raw = |vars: &[(&str, &str)], file: &str| load(vars, file).unwrap().resume_raw;
        assert!(raw(&[], "") && !raw(&[], "[resume]\nraw = false"));
        assert!(!raw(&[("RRD_RESUME_RAW", "false")], "[resume]\nraw = true"));
        // In doubt it does not start: neither way would be what was meant.
        assert!(load(&[("RRD_RESUME_RAW", "no")], "").is_err());
        assert!(load(&[], "[resume]\nraw = \"no\"").is_err());
    }

    #[test]
    fn limits_are_sizes_and_a_time() {
        let file = "[activity]\nevent = \"4 KiB\"\nsession = \"10MB\"\nage = \"30d\"";
        let limits = load(&[("RRD_ACTIVITY_TOTAL", "1g")], file).unwrap().limits;
        assert_eq!((limits.event, limits.session, limits.total), (4_096, 10_000_000, 1 << 30));
        assert_eq!(limits.age, Duration::from_secs(30 * 86_400));
        assert_eq!(load(&[], "").unwrap().limits, Limits::default());
        for wrong in
            ["", "much", "-1", "1XB", "99999999999999999999", "18446744073709551615k", "1k"]
        {
            let file = format!("[activity]\nsession = \"{wrong}\"");
            assert!(matches!(load(&[], &file), Err(ConfigError::Value { .. })), "{wrong}");
        }
        assert_eq!(load(&[("RRD_ACTIVITY_EVENT", "1MiB")], "").unwrap().limits.event, 1 << 20);
        let larger = load(&[("RRD_ACTIVITY_EVENT", "2MiB")], "").unwrap_err().to_string();
        assert!(larger.contains("`2MiB` is more than 1048576 bytes"), "{larger}");
    }

    #[test]
    fn profiles_and_former_names_count_where_they_are_there() {
        let home = tempfile::tempdir().unwrap();
        let openclaw = |vars: &[(&str, &str)]| {
            let env = |name: &str| match name {
                "HOME" | "RRD_HOME" => Some(home.path().as_os_str().to_owned()),
                _ => vars.iter().find(|(n, _)| *n == name).map(|(_, v)| OsString::from(v)),
            };
            let config = Config::load(&env, &Flags::default()).unwrap();
            let of = config.roots.into_iter().filter(|root| root.harness == Harness::OpenClaw);
            of.map(|root| root.path).collect::<Vec<_>>()
        };
        let at = |name: &str| home.path().join(name);
        assert_eq!(openclaw(&[]), [at(".openclaw")], "there or not, it is where they will be");
        for name in [".openclaw-work", ".openclaw-b", ".clawdbot", ".openclawed"] {
            fs::create_dir(at(name)).unwrap();
        }
        fs::write(at(".openclaw-file"), "").unwrap();
        assert_eq!(
            openclaw(&[]),
            [at(".openclaw"), at(".openclaw-b"), at(".openclaw-work"), at(".clawdbot")]
        );
        let moved = openclaw(&[("OPENCLAW_STATE_DIR", "~/elsewhere")]);
        assert_eq!(moved, [at("elsewhere")], "a variable says all");
        // Another home has its own profiles.
        fs::create_dir_all(at("claws").join(".openclaw-c")).unwrap();
        let claws = [at("claws").join(".openclaw"), at("claws").join(".openclaw-c")];
        assert_eq!(openclaw(&[("OPENCLAW_HOME", "~/claws")]), claws);
        let both = openclaw(&[("OPENCLAW_HOME", "~/claws"), ("OPENCLAW_STATE_DIR", "/srv/claw")]);
        assert_eq!(both, [Path::new("/srv/claw")]);
        assert_eq!(openclaw(&[("OPENCLAW_HOME", "")])[0], at(".openclaw"));
    }

    #[test]
    fn sessions_that_were_moved_alone_are_followed_beside_their_home() {
        let pi = |vars: &[(&str, &str)], file: &str| {
            let config = load(vars, file).unwrap();
            let setting = config.settings().iter().find(|s| s.key == "harness.pi.roots").unwrap();
            (setting.value.clone(), setting.source.to_string())
        };
        const DIR: &str = "PI_CODING_AGENT_SESSION_DIR";
        let home = "/home/dev/.pi/agent".to_owned();
        let of = |paths: &str, source: &str| (paths.to_owned(), source.to_owned());
        assert_eq!(pi(&[(DIR, "")], ""), (home.clone(), "default".to_owned()));
        assert_eq!(pi(&[(DIR, "~/talks")], ""), of(&format!("{home}, /home/dev/talks"), DIR));
        let both = [("PI_CODING_AGENT_DIR", "/srv/pi"), (DIR, "/srv/talks")];
        assert_eq!(pi(&both, ""), of("/srv/pi, /srv/talks", DIR));
        let file = "[harness.pi]\nroots = [\"/a\"]";
        assert_eq!(pi(&[(DIR, "/srv/talks")], file), of("/a, /srv/talks", DIR));
        // Where they are anyway they are not looked at twice.
        for same in [
            "~/.pi/agent",
            "~/.pi/agent/sessions",
            "~/.pi/agent/sessions/",
            "~/.pi/agent/sessions/x",
        ] {
            assert_eq!(pi(&[(DIR, same)], "").0, home, "{same}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (file, says) in [
            ("idle_timeout = \"5\"", "not a duration"),
            ("idle_timout = \"5m\"", "unknown field"),
            ("watch = \"maybe\"", "auto, poll, off"),
            ("[fleet]\nlisten = \"desk\"", "an address with a port"),
            ("[fleet]\nseeds = [\"http://desk\"]", "a host with a port"),
            ("[http]\ntailscaled = \"tailscaled.sock\"", "the whole path"),
            ("[harness.cursor]\nroots = []", "this release knows"),
        ] {
            let error = load(&[], file).unwrap_err().to_string();
            assert!(error.contains(says), "{file}: {error}");
        }
    }

    #[test]
    fn tailscaled_is_where_the_system_has_it_or_only_there() {
        let at = |vars: &[(&str, &str)], file: &str| {
            let config = load(vars, file).unwrap();
            let shown = config.settings().iter().find(|s| s.key == "http.tailscaled").unwrap();
            (config.http.tailscaled.clone(), format!("{} ({})", shown.value, shown.source))
        };
        assert_eq!(at(&[], ""), (None, "auto (default)".to_owned()));
        let file = "[http]\ntailscaled = \"~/ts.sock\"";
        let there = Some(PathBuf::from("/home/dev/ts.sock"));
        assert_eq!(at(&[], file), (there, "~/ts.sock (config.toml)".to_owned()));
        let auto = at(&[("RRD_TAILSCALED", "auto")], file);
        assert_eq!(auto, (None, "auto (RRD_TAILSCALED)".to_owned()));
    }
}
