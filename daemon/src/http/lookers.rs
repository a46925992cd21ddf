//! Who has been let in to look: codes that are good once, cookies of browsers, tokens of scripts.
//!
//! A code is made by whoever can use the local socket, shown to a browser (a QR code, a link), and spent for a
//! cookie that counts on the device it was given to. A token counts wherever it comes from. All three are
//! random; of what is kept, in `keep.db`, there is only the hash, and by its hash each is looked for, so how
//! long that takes tells nothing of it. They begin with a word that the redactor knows
//! ([`rrd_core::redact::RULES`], `rrd-secret`): whatever is logged, none of them is. Where `keep.db` cannot be
//! used, nobody is let in by any of them, and the rest goes on. Not here: HTTP, and what may be seen without.

use std::{
    collections::HashMap,
    fmt,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rrd_core::fleet::key::base64;
use rrd_proto::{Looker, LookerKind, LookerToken, Refusal, Timestamp};
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use zeroize::Zeroizing;

use crate::fleet::{Broken, Keep, LookerRow, keyfile::random};

const SECOND: i64 = 1_000;
const HOUR: i64 = 3_600 * SECOND;

/// How long a code is good, in milliseconds.
const CODE_GOOD: i64 = 5 * 60 * SECOND;

/// Open codes at most; one more takes the place of the oldest.
const MAX_CODES: usize = 32;

/// How long a cookie counts, in milliseconds: from when it was given, however often it is shown.
pub(crate) const COOKIE_GOOD: i64 = 90 * 24 * HOUR;

/// Browsers and scripts at most.
const MAX_LOOKERS: usize = 256;

/// Cookies of that name that are looked at: a browser may have one for the host and one for its domain.
const MAX_SHOWN: usize = 4;

/// Letters of a label, at most.
const MAX_LABEL: usize = 60;

/// So many wrong codes within so many milliseconds, from wherever, and others are told to wait until those
/// are over.
const MAX_WRONG: u32 = 20;
const WRONG_FOR: i64 = 60 * SECOND;

/// What the token of a program is bound to that may use the session store, and look at nothing else. No device is
/// called that.
const STORE: &str = "session-store";

/// What codes, cookies and tokens begin with: what the redactor knows them by.
const CODE: &str = "rrd_code_";
const COOKIE: &str = "rrd_cookie_";
const TOKEN: &str = "rrd_token_";

/// A code, a cookie or a token. Printed only where it is given away.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(Zeroizing<String>);

impl Secret {
    fn new<const N: usize>(begin: &str) -> Result<Self, Broken> {
        let bytes = random::<N>()?;
        let text = Zeroizing::new(base64(bytes.as_ref()));
        Ok(Self(Zeroizing::new(format!("{begin}{}", *text))))
    }

    /// Its text: letters, digits, `_` and `-`.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

type Proof = [u8; 32];

fn proof(secret: &str) -> Proof {
    Sha256::digest(secret).into()
}

/// What a code is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CodeFor {
    /// A browser on any device.
    Pair,
    /// One of this machine.
    Open,
}

/// The device that a request comes from, as far as a cookie counts there only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Binding {
    /// A device of the tailnet, by its StableNodeID.
    Tailnet(String),
    /// This machine.
    Loopback,
    /// Through a proxy, or from another address.
    Elsewhere,
}

impl fmt::Display for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tailnet(id) => write!(f, "tailnet:{id}"),
            Self::Loopback => f.write_str("loopback"),
            Self::Elsewhere => f.write_str("elsewhere"),
        }
    }
}

/// Why a code lets nobody in.
#[derive(Debug, Clone)]
pub(crate) enum NotSpent {
    /// It is none, was spent, or its time is over.
    Unknown,
    /// Too many wrong ones were tried; so many seconds until the next try.
    Wait(u32),
    /// Nobody can be let in at present.
    Broken(Broken),
    /// So many are let in that it stops here.
    Full,
}

/// Everybody who was let in. Functions that change something block on the disk: from async code they are
/// called where that is allowed ([`crate::fleet::aside`]).
#[derive(Debug)]
pub(crate) struct Lookers {
    /// Locked before `state`, where both are.
    keep: Result<Mutex<Keep>, Broken>,
    state: Mutex<State>,
    changed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    codes: Vec<OpenCode>,
    lookers: HashMap<Proof, LookerRow>,
    wrong: Wrong,
}

#[derive(Debug)]
struct OpenCode {
    proof: Proof,
    what: CodeFor,
    made_at: Timestamp,
    until: Timestamp,
}

/// Wrong codes, since the first of them.
#[derive(Debug, Default)]
struct Wrong {
    since: Option<Timestamp>,
    count: u32,
}

impl Lookers {
    /// As they were left.
    pub(crate) fn open(state_dir: &Path, now: Timestamp) -> Arc<Self> {
        let read = || {
            let mut keep = Keep::open(state_dir)?;
            let (rows, over): (Vec<_>, Vec<_>) =
                keep.lookers()?.into_iter().partition(|row| is_good(row, now));
            if !over.is_empty() {
                keep.remove_lookers(&over.into_iter().map(|row| row.id).collect::<Vec<_>>())?;
            }
            Ok::<_, Broken>((keep, rows))
        };
        let (keep, rows) = match read() {
            Ok((keep, rows)) => (Ok(Mutex::new(keep)), rows),
            Err(broken) => {
                tracing::error!(why = broken.what, "nobody is let in by cookie or token");
                (Err(broken), Vec::new())
            }
        };
        let lookers = rows.into_iter().map(|row| (row.proof, row)).collect();
        let state = Mutex::new(State { lookers, ..State::default() });
        Arc::new(Self { keep, state, changed: watch::channel(0).0 })
    }

    /// Why nobody can be let in, if so.
    pub(crate) fn trouble(&self) -> Option<&Broken> {
        self.keep.as_ref().err()
    }

    /// How many seconds more wrong codes are not looked at, because so many were tried.
    pub(crate) fn waits(&self, now: Timestamp) -> Option<u32> {
        self.state().wrong.wait(now)
    }

    /// Another number whenever somebody was let in, or is no more, or may be soon: whoever holds a
    /// connection open asks again whether it may.
    pub(crate) fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Whether the Tailscale address must be listened at even where there is no fleet: a code is out, or
    /// a device of the tailnet has a cookie. Either may be over without a change: ask again each minute.
    pub(crate) fn wants_tailnet(&self, now: Timestamp) -> bool {
        let state = self.state();
        let pairs = |code: &OpenCode| code.what == CodeFor::Pair && code.is_good(now);
        let tailnet = |row: &LookerRow| {
            is_good(row, now) && row.bound_to.as_ref().is_some_and(|to| to.starts_with("tailnet:"))
        };
        state.codes.iter().any(pairs) || state.lookers.values().any(tailnet)
    }

    /// A new code, and until when it is good. Does not block.
    pub(crate) fn code(
        &self,
        what: CodeFor,
        now: Timestamp,
    ) -> Result<(Secret, Timestamp), Refusal> {
        if let Err(broken) = &self.keep {
            return Err(refused(broken));
        }
        let code = Secret::new::<16>(CODE).map_err(|broken| refused(&broken))?;
        let until = now.plus(CODE_GOOD);
        let mut state = self.state();
        if state.good(now).count() >= MAX_LOOKERS {
            return Err(full());
        }
        state.codes.retain(|code| code.is_good(now));
        if state.codes.len() >= MAX_CODES {
            state.codes.remove(0);
        }
        state.codes.push(OpenCode { proof: proof(code.reveal()), what, made_at: now, until });
        drop(state);
        self.tell();
        Ok((code, until))
    }

    /// Takes back a code that nobody was told.
    pub(crate) fn take_back(&self, code: &Secret) {
        let proof = proof(code.reveal());
        self.state().codes.retain(|code| code.proof != proof);
        self.tell();
    }

    /// Lets the device in that shows a code: once, and with a cookie. Blocks.
    pub(crate) fn spend(
        &self,
        code: &str,
        device: &Binding,
        label: &str,
        now: Timestamp,
    ) -> Result<Secret, NotSpent> {
        let keep = match &self.keep {
            Ok(keep) => lock(keep),
            Err(broken) => return Err(NotSpent::Broken(broken.clone())),
        };
        {
            let mut state = self.state();
            let proof = proof(code);
            let found = state.codes.iter().position(|code| code.proof == proof);
            // A good one does not wait: whoever guesses would keep everybody out.
            if found.is_none() {
                state.wrong.wait(now).map_or(Ok(()), |seconds| Err(NotSpent::Wait(seconds)))?;
            }
            // Whatever it was shown for, it has been shown: it is spent before anything comes of it.
            let code = found.map(|at| state.codes.remove(at)).filter(|code| code.is_good(now));
            if !code.is_some_and(|code| code.what == CodeFor::Pair || *device == Binding::Loopback)
            {
                state.wrong.count(now);
                return Err(NotSpent::Unknown);
            }
            if state.good(now).count() >= MAX_LOOKERS {
                return Err(NotSpent::Full);
            }
        }
        let cookie = Secret::new::<32>(COOKIE).map_err(NotSpent::Broken)?;
        let row = LookerRow {
            id: id().map_err(NotSpent::Broken)?,
            proof: proof(cookie.reveal()),
            bound_to: Some(device.to_string()),
            label: tidy(label, "a browser"),
            made_at: now,
            until: Some(now.plus(COOKIE_GOOD)),
            seen_at: Some(now),
        };
        self.let_in(&keep, row).map_err(NotSpent::Broken)?;
        Ok(cookie)
    }

    /// A new token, for whoever has it: to look, or to use the session store. Blocks.
    pub(crate) fn token(
        &self,
        label: Option<&str>,
        session_store: bool,
        now: Timestamp,
    ) -> Result<LookerToken, Refusal> {
        let made = || {
            let keep = lock(self.keep.as_ref().map_err(Clone::clone)?);
            let token = Secret::new::<32>(TOKEN)?;
            let row = LookerRow {
                id: id()?,
                proof: proof(token.reveal()),
                bound_to: session_store.then(|| STORE.to_owned()),
                label: tidy(label.unwrap_or_default(), "a script"),
                made_at: now,
                until: None,
                seen_at: None,
            };
            let (id, label) = (row.id.clone(), row.label.clone());
            self.let_in(&keep, row)?;
            Ok(LookerToken { id, label, token: token.reveal().to_owned() })
        };
        if self.state().good(now).count() >= MAX_LOOKERS {
            return Err(full());
        }
        made().map_err(|broken: Broken| refused(&broken))
    }

    /// On the disk first: what is given away counts after a restart, too.
    fn let_in(&self, keep: &Keep, row: LookerRow) -> Result<(), Broken> {
        keep.add_looker(&row)?;
        self.state().lookers.insert(row.proof, row);
        self.tell();
        Ok(())
    }

    /// Whether this cookie counts on this device. Does not block.
    pub(crate) fn has_cookie(self: &Arc<Self>, cookie: &str, on: &Binding, now: Timestamp) -> bool {
        self.has(cookie, now, |row| row.bound_to.as_ref().is_some_and(|to| *to == on.to_string()))
    }

    /// Whether this token counts. Does not block.
    pub(crate) fn has_token(self: &Arc<Self>, token: &str, now: Timestamp) -> bool {
        self.has(token, now, |row| row.bound_to.is_none())
    }

    /// Whether this token lets a program use the session store. Does not block.
    pub(crate) fn has_store(self: &Arc<Self>, token: &str, now: Timestamp) -> bool {
        self.has(token, now, |row| row.bound_to.as_deref() == Some(STORE))
    }

    fn has(
        self: &Arc<Self>,
        secret: &str,
        now: Timestamp,
        counts: impl FnOnce(&LookerRow) -> bool,
    ) -> bool {
        let (id, long_ago) = {
            let mut state = self.state();
            let row = state.lookers.get_mut(&proof(secret));
            let Some(row) = row.filter(|row| is_good(row, now) && counts(row)) else {
                return false;
            };
            let long_ago = row.seen_at.is_none_or(|at| !(0..HOUR).contains(&now.since(at)));
            if long_ago {
                row.seen_at = Some(now);
            }
            (row.id.clone(), long_ago)
        };
        if let Some(runtime) = tokio::runtime::Handle::try_current().ok().filter(|_| long_ago) {
            let lookers = Arc::clone(self);
            // Nobody waits for it, and nothing is lost if it fails.
            drop(runtime.spawn_blocking(move || {
                let _ = lookers.keep.as_ref().map(|keep| lock(keep).saw_looker(&id, now));
            }));
        }
        true
    }

    /// Who is let in, oldest first.
    pub(crate) fn list(&self, kind: LookerKind, now: Timestamp) -> Result<Vec<Looker>, Refusal> {
        if let Err(broken) = &self.keep {
            return Err(refused(broken));
        }
        let shown = |row: &LookerRow| Looker {
            id: row.id.clone(),
            kind: kind_of(row),
            label: row.label.clone(),
            bound_to: row.bound_to.clone(),
            made_at: row.made_at,
            seen_at: row.seen_at,
            until: row.until,
        };
        let state = self.state();
        let mut lookers: Vec<_> =
            state.good(now).filter(|row| kind_of(row) == kind).map(shown).collect();
        lookers.sort_by(|a, b| (a.made_at, &a.id).cmp(&(b.made_at, &b.id)));
        Ok(lookers)
    }

    /// Lets one of this kind, by the start of its id, or all of them in no more; for browsers, open codes
    /// are void then, too. Says how many there were. Blocks.
    pub(crate) fn revoke(
        &self,
        kind: LookerKind,
        id: Option<&str>,
        now: Timestamp,
    ) -> Result<u32, Refusal> {
        let mut keep = lock(self.keep.as_ref().map_err(refused)?);
        let listed = self.list(kind, now)?.into_iter().map(|looker| looker.id);
        let ids: Vec<String> = match id {
            Some(start) => listed.filter(|id| !start.is_empty() && id.starts_with(start)).collect(),
            None => listed.collect(),
        };
        if id.is_some() && ids.len() != 1 {
            return Err(not_one(kind, ids.len()));
        }
        // Out at once, whatever the disk says.
        let mut state = self.state();
        state.lookers.retain(|_, row| !ids.contains(&row.id));
        if id.is_none() && kind == LookerKind::Browser {
            state.codes.clear();
        }
        drop(state);
        self.tell();
        keep.remove_lookers(&ids).map_err(|error| {
            let broken = Broken::from(error);
            let fact = "it is let in no more until the daemon is started again".to_owned();
            Refusal { facts: vec![fact], ..refused(&broken) }
        })?;
        Ok(u32::try_from(ids.len()).unwrap_or(u32::MAX))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn tell(&self) {
        self.changed.send_modify(|number| *number += 1);
    }
}

impl State {
    fn good(&self, now: Timestamp) -> impl Iterator<Item = &LookerRow> {
        self.lookers.values().filter(move |row| is_good(row, now))
    }
}

impl OpenCode {
    /// A clock that was set back makes no code young again.
    fn is_good(&self, now: Timestamp) -> bool {
        self.made_at <= now && now < self.until
    }
}

impl Wrong {
    /// How many seconds no code is tried, if so.
    fn wait(&self, now: Timestamp) -> Option<u32> {
        let rest = WRONG_FOR - now.since(self.since?);
        // One that lies in the future is of a clock that was set back since.
        let waits = self.count >= MAX_WRONG && (1..=WRONG_FOR).contains(&rest);
        waits.then(|| u32::try_from((rest + SECOND - 1) / SECOND).unwrap_or(1))
    }

    fn count(&mut self, now: Timestamp) {
        let over = |since| !(0..WRONG_FOR).contains(&now.since(since));
        if self.since.is_none_or(over) {
            *self = Self { since: Some(now), count: 0 };
        }
        self.count += 1;
    }
}

/// What the cookie of a server at this port is called. Cookies know no ports: of two daemons on one host, each
/// would have a browser forget the other's.
pub(crate) fn cookie_name(port: u16) -> String {
    format!("rrd_looker_{port}")
}

/// The header that gives a cookie to a browser: no script reads it, and other sites' requests do not carry
/// it, except for a link that a person follows. Through https it is for https only.
pub(crate) fn set_cookie(cookie: &Secret, port: u16, https: bool) -> Zeroizing<String> {
    let (name, value, seconds) = (cookie_name(port), cookie.reveal(), COOKIE_GOOD / SECOND);
    let secure = if https { "; Secure" } else { "" };
    Zeroizing::new(format!(
        "{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}"
    ))
}

/// What a browser shows of it in its `Cookie` header (RFC 6265, 4.2.1).
pub(crate) fn shown_cookies(header: &str, port: u16) -> impl Iterator<Item = &str> {
    let wanted = cookie_name(port);
    let pairs = header.split(';').filter_map(|pair| pair.trim().split_once('='));
    pairs.filter(move |(name, _)| *name == wanted).map(|(_, value)| value).take(MAX_SHOWN)
}

fn is_good(row: &LookerRow, now: Timestamp) -> bool {
    row.until.is_none_or(|until| now < until)
}

fn kind_of(row: &LookerRow) -> LookerKind {
    match row.bound_to.as_deref() {
        None | Some(STORE) => LookerKind::Script,
        Some(_) => LookerKind::Browser,
    }
}

fn id() -> Result<String, Broken> {
    Ok(random::<4>()?.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// What somebody said it is, as far as it is kept.
fn tidy(label: &str, otherwise: &str) -> String {
    let label: String = label.chars().filter(|c| !c.is_control()).take(MAX_LABEL).collect();
    let label = label.trim();
    if label.is_empty() { otherwise.to_owned() } else { label.to_owned() }
}

fn refused(broken: &Broken) -> Refusal {
    Refusal {
        message: format!("nobody can be let in: {}", broken.what),
        facts: Vec::new(),
        hint: Some(broken.remedy.clone()),
    }
}

fn full() -> Refusal {
    Refusal {
        message: format!("{MAX_LOOKERS} browsers and scripts are let in already"),
        facts: Vec::new(),
        hint: Some(
            "rrd pair --list and rrd token --list show them, --revoke ID takes one back".to_owned(),
        ),
    }
}

fn not_one(kind: LookerKind, found: usize) -> Refusal {
    let (what, verb) = match kind {
        LookerKind::Browser => ("browser", "pair"),
        LookerKind::Script => ("script", "token"),
    };
    let message = match found {
        0 => format!("no {what} that is let in has this id"),
        _ => format!("{found} {what}s that are let in have an id that begins so"),
    };
    Refusal { message, facts: Vec::new(), hint: Some(format!("rrd {verb} --list shows their ids")) }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
