//! `[notify]`: what is told, where, and when not.
//!
//! Not here: what there is to be told ([`rrd_core::notices`]), and telling it ([`crate::notices`]).

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use rrd_core::notices::quiet::Quiet;
use rrd_proto::{NoticeKind, SinkKind, parse_duration};
use serde::Deserialize;

use super::{ConfigError, Setting, SettingSource, Settle, expand, value_error};
use crate::dirs::Dirs;

/// A sink gets so long, unless told otherwise.
const WITHIN: Duration = Duration::from_secs(10);

/// Another host tells what this one has not after 15 s: by then an attempt is over.
const MOST_WITHIN: Duration = Duration::from_secs(12);

/// What must be so for long is not news for days.
const MOST_LASTS: Duration = Duration::from_secs(24 * 3_600);

/// Sinks, at most: gossip names them.
const MOST_SINKS: usize = 16;

/// Words of a command, and headers, at most.
const MOST_WORDS: usize = 64;

/// What the user wants to be told.
#[derive(Debug, Clone)]
pub(crate) struct NotifySettings {
    /// When not.
    pub(crate) quiet: Option<Quiet>,
    /// What then all the same.
    pub(crate) through: Vec<NoticeKind>,
    /// By whose clock; `None`: this host's.
    pub(crate) time_zone: Option<jiff::tz::TimeZone>,
    /// Messages of a sink in an hour, at most.
    pub(crate) per_hour: u32,
    /// Where a page is that shows sessions.
    pub(crate) page: Option<String>,
    lasts: BTreeMap<NoticeKind, Duration>,
    pub(crate) sinks: Vec<SinkSettings>,
}

/// One sink.
#[derive(Debug, Clone)]
pub(crate) struct SinkSettings {
    pub(crate) name: String,
    pub(crate) what: SinkWhat,
    pub(crate) events: Vec<NoticeKind>,
    /// Whether texts may leave.
    pub(crate) details: bool,
    pub(crate) within: Duration,
}

/// What it is.
#[derive(Debug, Clone)]
pub(crate) enum SinkWhat {
    Command {
        argv: Vec<String>,
        /// Each host runs its own.
        is_local: bool,
    },
    Webhook {
        url: Text,
        is_ntfy: bool,
        headers: Vec<(String, Text)>,
        allow_http: bool,
    },
    Desktop,
}

impl SinkWhat {
    pub(crate) const fn kind(&self) -> SinkKind {
        match self {
            Self::Command { .. } => SinkKind::Command,
            Self::Webhook { .. } => SinkKind::Webhook,
            Self::Desktop => SinkKind::Desktop,
        }
    }
}

/// A text, or where it is to be had: so that what is secret need not stand in config.toml.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Text {
    Plain(String),
    Env(String),
    File(PathBuf),
}

impl NotifySettings {
    /// How long something must have been so to be told.
    pub(crate) fn lasts(&self, kind: NoticeKind) -> Duration {
        self.lasts.get(&kind).copied().unwrap_or_else(|| default_lasts(kind))
    }
}

/// What is granted at once is nothing to be told of; a host that only changes its network is not away.
const fn default_lasts(kind: NoticeKind) -> Duration {
    Duration::from_secs(match kind {
        NoticeKind::NeedsYou => 10,
        NoticeKind::Crashed | NoticeKind::Deadlock => 3,
        NoticeKind::HostAwayWithWork => 60,
        NoticeKind::MirrorFailing => 0,
        NoticeKind::Finished => 10,
    })
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct NotifyFile {
    quiet: Option<String>,
    through: Option<Vec<String>>,
    time_zone: Option<String>,
    details: Option<bool>,
    per_hour: Option<u32>,
    page: Option<String>,
    lasts: BTreeMap<String, String>,
    sinks: BTreeMap<String, SinkFile>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct SinkFile {
    kind: Option<String>,
    events: Option<Vec<String>>,
    details: Option<bool>,
    timeout: Option<String>,
    command: Option<Vec<String>>,
    local: Option<bool>,
    url: Option<TextFile>,
    format: Option<String>,
    headers: BTreeMap<String, TextFile>,
    allow_http: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum TextFile {
    Plain(String),
    Env(EnvFile),
    File(FileFile),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EnvFile {
    env: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileFile {
    file: String,
}

impl TextFile {
    fn settled(self, dirs: &Dirs) -> Text {
        match self {
            Self::Plain(text) => Text::Plain(text),
            Self::Env(EnvFile { env }) => Text::Env(env),
            Self::File(FileFile { file }) => Text::File(expand(&file, dirs)),
        }
    }
}

/// Settles all of it; the second is what `rrd config` shows of sinks.
pub(super) fn settle(
    settle: Settle<'_>,
    file: NotifyFile,
    dirs: &Dirs,
) -> Result<(NotifySettings, Vec<Setting>), ConfigError> {
    let (text, from) = settle("notify.quiet", None, "RRD_NOTIFY_QUIET", file.quiet, "off".into());
    let quiet = match text.as_str() {
        "off" => None,
        text => Some(text.parse().map_err(|why| value_error("notify.quiet", &from, why))?),
    };
    let of_file = file.through.map(|kinds| kinds.join(", "));
    let (text, from) =
        settle("notify.through", None, "RRD_NOTIFY_THROUGH", of_file, "deadlock".into());
    let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
    let through = kinds(words).map_err(|why| value_error("notify.through", &from, why))?;
    let (zone, from) =
        settle("notify.time_zone", None, "RRD_NOTIFY_TIME_ZONE", file.time_zone, "system".into());
    let time_zone = match zone.as_str() {
        "system" => None,
        name => Some(jiff::tz::TimeZone::get(name).map_err(|_| {
            let why = format!("`{name}` is neither system nor a time zone like Europe/Prague");
            value_error("notify.time_zone", &from, why)
        })?),
    };
    let of_file = file.details.map(|details| details.to_string());
    let (text, from) = settle("notify.details", None, "RRD_NOTIFY_DETAILS", of_file, "true".into());
    let details: bool = text.parse().map_err(|_| {
        value_error("notify.details", &from, format!("`{text}` is neither true nor false"))
    })?;
    let of_file = file.per_hour.map(|count| count.to_string());
    let (text, from) = settle("notify.per_hour", None, "RRD_NOTIFY_PER_HOUR", of_file, "60".into());
    let per_hour: u32 =
        text.parse().ok().filter(|count| (1..=3_600).contains(count)).ok_or_else(|| {
            value_error("notify.per_hour", &from, format!("`{text}` is no number from 1 to 3600"))
        })?;
    let (text, from) = settle("notify.page", None, "RRD_NOTIFY_PAGE", file.page, String::new());
    let page = Some(text).filter(|text| !text.is_empty());
    if let Some(page) = &page {
        address(page).map_err(|why| value_error("notify.page", &from, why))?;
    }
    let in_file = |message| ConfigError::Syntax { path: dirs.config_file.clone(), message };
    let mut shown = Vec::new();
    let mut lasts = BTreeMap::new();
    for (word, text) in file.lasts {
        let key = format!("notify.lasts.{word}");
        let wrong = |why: String| in_file(format!("[notify.lasts] {word}: {why}"));
        let kind: NoticeKind = word.parse().map_err(wrong)?;
        let time = parse_duration(&text).map_err(wrong)?;
        if time > MOST_LASTS {
            return Err(wrong(format!("`{text}` is more than a day")));
        }
        lasts.insert(kind, time);
        shown.push(Setting { key, value: text, source: SettingSource::File });
    }
    if file.sinks.len() > MOST_SINKS {
        let count = file.sinks.len();
        return Err(in_file(format!("[notify.sinks]: {count} of them; the most is {MOST_SINKS}")));
    }
    let mut sinks = Vec::new();
    for (name, file) in file.sinks {
        let sink = sink(&name, file, details, dirs)
            .map_err(|why| in_file(format!("[notify.sinks.{name}]: {why}")))?;
        let key = format!("notify.sinks.{name}");
        shown.push(Setting { key, value: described(&sink), source: SettingSource::File });
        sinks.push(sink);
    }
    Ok((NotifySettings { quiet, through, time_zone, per_hour, page, lasts, sinks }, shown))
}

fn kinds<'w>(words: impl Iterator<Item = &'w str>) -> Result<Vec<NoticeKind>, String> {
    words.map(|word| word.parse().map_err(|why| format!("`{word}` is {why}"))).collect()
}

fn sink(name: &str, file: SinkFile, details: bool, dirs: &Dirs) -> Result<SinkSettings, String> {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if name.is_empty() || name.len() > 32 || !name.bytes().all(is_plain) {
        return Err("a sink is called by letters, digits, - and _, 32 at most".to_owned());
    }
    let SinkFile {
        kind,
        events,
        details: own_details,
        timeout,
        command,
        local,
        url,
        format,
        headers,
        allow_http,
    } = file;
    let kind = kind.ok_or("kind = \"command\", \"webhook\" or \"desktop\" is missing")?;
    let kind: SinkKind = kind.parse().map_err(|why| format!("kind `{kind}` is {why}"))?;
    let is = |wanted: SinkKind| kind == wanted;
    for (key, is_there, of) in [
        ("command", command.is_some(), SinkKind::Command),
        ("local", local.is_some(), SinkKind::Command),
        ("url", url.is_some(), SinkKind::Webhook),
        ("format", format.is_some(), SinkKind::Webhook),
        ("headers", !headers.is_empty(), SinkKind::Webhook),
        ("allow_http", allow_http.is_some(), SinkKind::Webhook),
    ] {
        if is_there && !is(of) {
            return Err(format!("{key} is for kind = \"{of}\" only"));
        }
    }
    let events = match events {
        Some(words) => kinds(words.iter().map(String::as_str))?,
        None => NoticeKind::ALL.into_iter().filter(|kind| *kind != NoticeKind::Finished).collect(),
    };
    let within = match timeout {
        Some(text) => parse_duration(&text)?,
        None => WITHIN,
    };
    if within > MOST_WITHIN || within < Duration::from_secs(1) {
        let most = MOST_WITHIN.as_secs();
        return Err(format!("timeout is from 1s to {most}s: then another host tells it"));
    }
    let what = match kind {
        SinkKind::Command => {
            let mut argv = command.ok_or("command = [\"program\", \"argument\"] is missing")?;
            if argv.len() > MOST_WORDS || argv.iter().any(|word| word.contains('\0')) {
                return Err(format!("a command has {MOST_WORDS} words at most, and no NUL"));
            }
            let program = argv.first_mut().filter(|program| !program.is_empty());
            let program = program.ok_or("command names no program")?;
            *program = expand(program, dirs).to_string_lossy().into_owned();
            SinkWhat::Command { argv, is_local: local.unwrap_or(false) }
        }
        SinkKind::Webhook => {
            let url = url.ok_or("url is missing")?.settled(dirs);
            if let Text::Plain(url) = &url {
                address(url)?;
            }
            let is_ntfy = match format.as_deref() {
                None | Some("json") => false,
                Some("ntfy") => true,
                Some(other) => return Err(format!("format `{other}` is not one of json, ntfy")),
            };
            if headers.len() > MOST_WORDS {
                return Err(format!("{} headers; the most is {MOST_WORDS}", headers.len()));
            }
            let header = |(name, value): (String, TextFile)| {
                let value = value.settled(dirs);
                if matches!(value, Text::Plain(_)) {
                    // Not the value: it may be secret.
                    return Err(format!(
                        "the value of header {name:?} comes from elsewhere: {{ file = \"…\" }} or {{ env = \"…\" }}"
                    ));
                }
                let is_name = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
                if name.is_empty() || !name.bytes().all(is_name) {
                    return Err(format!("{name:?} is no header's name"));
                }
                Ok((name, value))
            };
            let headers = headers.into_iter().map(header).collect::<Result<_, _>>()?;
            SinkWhat::Webhook { url, is_ntfy, headers, allow_http: allow_http.unwrap_or(false) }
        }
        SinkKind::Desktop => SinkWhat::Desktop,
    };
    let details = own_details.unwrap_or(details);
    Ok(SinkSettings { name: name.to_owned(), what, events, details, within })
}

/// Whether it may be sent to; the address is not repeated, for it may be secret.
pub(crate) fn address(text: &str) -> Result<reqwest::Url, String> {
    let wrong = || "that is no address like https://ntfy.sh/topic".to_owned();
    let url = reqwest::Url::parse(text).map_err(|_| wrong())?;
    match url.scheme() {
        "http" | "https" if url.host_str().is_some_and(|host| !host.is_empty()) => {}
        _ => return Err(wrong()),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("no user name or password stands in an address: use a header".to_owned());
    }
    Ok(url)
}

/// A sink in one line, without what may be secret.
fn described(sink: &SinkSettings) -> String {
    let what = match &sink.what {
        SinkWhat::Command { .. } => format!("command {}", target(&sink.what)),
        SinkWhat::Webhook { is_ntfy: true, .. } => format!("ntfy at {}", target(&sink.what)),
        SinkWhat::Webhook { .. } => format!("webhook at {}", target(&sink.what)),
        SinkWhat::Desktop => "desktop".to_owned(),
    };
    let events: Vec<&str> = sink.events.iter().map(|kind| kind.as_str()).collect();
    let texts = if sink.details { "" } else { ", no texts" };
    format!("{what}: {}{texts}", events.join(", "))
}

/// Where it goes, as far as that is no secret: of an address the host, of a command its program.
pub(crate) fn target(what: &SinkWhat) -> String {
    match what {
        SinkWhat::Command { argv, .. } => argv.first().cloned().unwrap_or_default(),
        SinkWhat::Webhook { url: Text::Plain(url), .. } => match address(url) {
            Ok(url) => {
                let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
                let path = if url.path() == "/" { "/" } else { "/…" };
                format!("{}://{}{port}{path}", url.scheme(), url.host_str().unwrap_or_default())
            }
            Err(_) => String::new(),
        },
        SinkWhat::Webhook { url: Text::Env(name), .. } => format!("what {name} says"),
        SinkWhat::Webhook { url: Text::File(path), .. } => format!("what {} says", path.display()),
        SinkWhat::Desktop => "this desktop".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::{ffi::OsString, fs};

    use super::*;
    use crate::config::{Config, Flags};

    fn load(file: &str) -> Result<Config, ConfigError> {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("config.toml"), file).unwrap();
        let env = |name: &str| match name {
            "RRD_HOME" => Some(home.path().as_os_str().to_owned()),
            "HOME" => Some(OsString::from("/home/dev")),
            _ => None,
        };
        Config::load(&env, &Flags::default())
    }

    #[test]
    fn sinks_are_read_and_shown_without_what_is_secret() {
        let config = load(
            "[notify]\nquiet = \"22:00-07:00\"\nthrough = [\"deadlock\", \"needs_you\"]\n\
             time_zone = \"Europe/Prague\"\n[notify.lasts]\nneeds_you = \"30s\"\n\
             [notify.sinks.phone]\nkind = \"webhook\"\nurl = \"https://ntfy.sh/my-secret-topic\"\n\
             format = \"ntfy\"\nheaders = { Authorization = { file = \"~/t\" } }\n\
             [notify.sinks.bell]\nkind = \"command\"\ncommand = [\"~/bin/bell\", \"--loud\"]\n\
             events = [\"finished\"]\ndetails = false\n[notify.sinks.desk]\nkind = \"desktop\"\n",
        )
        .unwrap();
        let notify = &config.notify;
        assert_eq!(notify.sinks.len(), 3);
        assert_eq!(notify.lasts(NoticeKind::NeedsYou), Duration::from_secs(30));
        assert_eq!(notify.lasts(NoticeKind::HostAwayWithWork), Duration::from_secs(60));
        let SinkWhat::Command { argv, .. } = &notify.sinks[0].what else { panic!("{notify:?}") };
        assert_eq!(argv, &["/home/dev/bin/bell", "--loud"]);
        assert!(!notify.sinks[2].events.contains(&NoticeKind::Finished));
        let shown: Vec<String> =
            config.settings().iter().map(|s| format!("{} {}", s.key, s.value)).collect();
        let shown = shown.join("\n");
        assert!(
            shown.contains("notify.sinks.phone ntfy at https://ntfy.sh/…: needs_you"),
            "{shown}"
        );
        assert!(!shown.contains("my-secret-topic") && !shown.contains("--loud"), "{shown}");
        assert!(load("").unwrap().notify.sinks.is_empty());
    }

    #[test]
    fn mistakes_are_named_and_nothing_secret_with_them() {
        let sink = |more: &str| format!("[notify.sinks.x]\n{more}");
        for (file, says) in [
            ("[notify]\nquiet = \"22-7\"".to_owned(), "not like 22:00-07:00"),
            ("[notify]\nquiet = \"25:00-07:00\"".to_owned(), "not like"),
            ("[notify]\nthrough = [\"fire\"]".to_owned(), "needs_you, crashed"),
            ("[notify]\ntime_zone = \"Moon/Sea\"".to_owned(), "a time zone like"),
            ("[notify]\nper_hour = 0".to_owned(), "from 1 to 3600"),
            ("[notify]\npage = \"mac:80\"".to_owned(), "no address"),
            ("[notify.lasts]\nfire = \"1s\"".to_owned(), "not one of"),
            ("[notify.lasts]\ncrashed = \"2d\"".to_owned(), "more than a day"),
            (sink(""), "is missing"),
            (sink("kind = \"pigeon\""), "not one of command, webhook, desktop"),
            (sink("kind = \"command\""), "is missing"),
            (sink("kind = \"command\"\ncommand = []"), "names no program"),
            (sink("kind = \"command\"\ncommand = \"rm -rf\""), "invalid type"),
            (sink("kind = \"desktop\"\nurl = \"https://a\""), "for kind = \"webhook\" only"),
            (sink("kind = \"webhook\"\nurl = \"ftp://a/b\""), "no address"),
            (sink("kind = \"webhook\"\nurl = \"https://u:hunter2@a/b\""), "use a header"),
            (
                sink("kind = \"webhook\"\nurl = \"https://a\"\nheaders = { A = \"hunter2\" }"),
                "from elsewhere",
            ),
            (sink("kind = \"desktop\"\ntimeout = \"1h\""), "from 1s to 12s"),
            ("[notify.sinks.\"a b\"]\nkind = \"desktop\"".to_owned(), "is called by"),
        ] {
            let error = load(&file).unwrap_err().to_string();
            assert!(error.contains(says), "{file}: {error}");
            assert!(!error.contains("hunter2") || file.contains("invalid"), "{error}");
        }
    }
}
