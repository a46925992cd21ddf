//! A sink, opened: what it is called by, and the way a notification goes to it.

use std::{
    fs,
    io::Read,
    path::Path,
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use rrd_core::redact::Redacted;
use rrd_proto::{Notification, Timestamp};
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::{Failure, command, desktop, webhook::Webhook};
use crate::{
    config::notices::{SinkSettings, SinkWhat, Text, address},
    edge::Edges,
};

/// A secret or an address is no longer.
const MOST: u64 = 16 << 10;

/// What is shorter is no secret that could be told from words.
const LEAST_SECRET: usize = 6;

/// A sink of this host.
#[derive(Debug)]
pub(super) struct Sink {
    pub(super) settings: SinkSettings,
    /// The same on every host that has it.
    pub(super) id: String,
    /// Each host tells its own.
    pub(super) is_local: bool,
    way: Way,
}

#[derive(Debug)]
enum Way {
    Command(Vec<String>),
    Webhook(Result<Webhook, String>, Vec<(String, Text)>),
    Desktop,
}

/// What became of what one sink told.
#[derive(Debug, Clone, Default)]
pub(super) struct Figures {
    pub(super) sent: u64,
    pub(super) failed: u64,
    pub(super) last_sent_at: Option<Timestamp>,
    pub(super) failing: Option<(Timestamp, String)>,
}

impl Sink {
    /// Reads what of it lies elsewhere.
    pub(super) fn open(settings: SinkSettings, edges: &Edges) -> Self {
        let local = || format!("local/{}", settings.name);
        let (id, is_local, way) = match &settings.what {
            SinkWhat::Command { argv, is_local: true } => {
                (local(), true, Way::Command(argv.clone()))
            }
            SinkWhat::Command { argv, is_local: false } => {
                let words: Vec<&str> = argv.iter().map(String::as_str).collect();
                (id(&[&["command"], &words[..]].concat()), false, Way::Command(argv.clone()))
            }
            SinkWhat::Webhook { url, is_ntfy, headers, allow_http } => {
                let read = read(url).and_then(|url| address(&url));
                if let (Ok(url), Text::Env(_) | Text::File(_)) = (&read, url) {
                    hide(edges, url.as_str());
                }
                let named = read.as_ref().ok().map(|url| {
                    id(&["webhook", if *is_ntfy { "ntfy" } else { "json" }, url.as_str()])
                });
                let hook =
                    read.and_then(|url| Webhook::new(url, *is_ntfy, *allow_http, settings.within));
                let is_local = named.is_none();
                (named.unwrap_or_else(local), is_local, Way::Webhook(hook, headers.clone()))
            }
            SinkWhat::Desktop => (local(), true, Way::Desktop),
        };
        Self { settings, id, is_local, way }
    }

    /// Tells it there; says how long that took.
    pub(super) async fn tell(
        &self,
        told: Redacted<Notification>,
        edges: &Edges,
        stop: &CancellationToken,
    ) -> (Duration, Result<(), Failure>) {
        let begun = Instant::now();
        let result = self.try_to(told, edges, stop).await;
        // Programs say what they like, and servers.
        let result = result.map_err(|failure| {
            let why = edges.kept(&failure.why);
            Failure { why: rrd_core::notices::words::clean(&why, 300), ..failure }
        });
        (begun.elapsed(), result)
    }

    async fn try_to(
        &self,
        told: Redacted<Notification>,
        edges: &Edges,
        stop: &CancellationToken,
    ) -> Result<(), Failure> {
        let run = match &self.way {
            Way::Webhook(hook, headers) => {
                let hook = hook.as_ref().map_err(|why| Failure::new(why.clone()))?;
                let mut own = Vec::new();
                for (name, value) in headers {
                    let value =
                        read(value).map_err(|why| Failure::new(format!("header {name}: {why}")))?;
                    hide(edges, &value);
                    own.push((name.clone(), value));
                }
                return hook.send(&told, &own).await;
            }
            Way::Command(argv) => command::Run {
                argv: argv.clone(),
                environment: environment(told.as_ref()),
                input: serde_json::to_vec(told.as_ref())
                    .map_err(|error| Failure::new(error.to_string()))?,
                within: self.settings.within,
            },
            Way::Desktop => desktop::run(&told, self.settings.within),
        };
        let stop = stop.clone();
        let ran = tokio::task::spawn_blocking(move || command::run(run, &stop)).await;
        ran.unwrap_or_else(|_| Err("a fault of rrd".to_owned())).map_err(Failure::new)
    }
}

/// Made of what a sink is; nobody can tell that from it.
fn id(words: &[&str]) -> String {
    let mut hash = Sha256::new_with_prefix(b"rrd/sink/1");
    for word in words {
        hash.update((word.len() as u64).to_be_bytes());
        hash.update(word.as_bytes());
    }
    BASE64_URL_SAFE_NO_PAD.encode(&hash.finalize()[..6])
}

/// Few fields, for whoever reads no JSON: one line each but the text.
fn environment(told: &Notification) -> Vec<(&'static str, String)> {
    let one = |of: fn(&rrd_proto::Notice) -> Option<&str>| match &told.notices[..] {
        [one] => of(one).unwrap_or_default().to_owned(),
        _ => String::new(),
    };
    let kind = match &told.notices[..] {
        [] => "test".to_owned(),
        [one, rest @ ..] if rest.iter().all(|other| other.kind == one.kind) => one.kind.to_string(),
        _ => "several".to_owned(),
    };
    vec![
        ("RRD_NOTICE_ID", told.id.clone()),
        ("RRD_NOTICE_KIND", kind),
        ("RRD_NOTICE_TITLE", told.title.clone()),
        ("RRD_NOTICE_TEXT", told.text.clone()),
        ("RRD_NOTICE_PRIORITY", told.priority.to_string()),
        ("RRD_NOTICE_HOST", one(|notice| notice.host.as_deref())),
        ("RRD_NOTICE_REF", one(|notice| notice.reference.as_deref())),
        ("RRD_NOTICE_PAGE", told.page.clone().unwrap_or_default()),
    ]
}

/// Keeps it out of answers and logs from now on.
fn hide(edges: &Edges, secret: &str) {
    if secret.len() >= LEAST_SECRET {
        edges.hide(vec![Zeroizing::new(secret.as_bytes().to_vec())]);
    }
}

/// The text itself; of a file its first line.
fn read(text: &Text) -> Result<String, String> {
    let found = match text {
        Text::Plain(text) => return Ok(text.clone()),
        Text::Env(name) => std::env::var(name).map_err(|_| format!("${name} is not set"))?,
        Text::File(path) => {
            of_file(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?
        }
    };
    let line = found.lines().next().unwrap_or_default().trim();
    match line.is_empty() {
        true => Err("what it names is empty".to_owned()),
        false => Ok(line.to_owned()),
    }
}

fn of_file(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    fs::File::open(path)?.take(MOST).read_to_string(&mut text)?;
    Ok(text)
}
