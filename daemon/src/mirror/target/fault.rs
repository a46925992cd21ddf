//! What went wrong with a place, in words that name it and say what helps.
//!
//! Made from what the wire saw ([`wire::Seen`](super::wire::Seen)) and never from the texts of libraries or
//! stores: those repeat addresses, key ids and what was signed. Of an answer only its status and its code count.

use std::{fmt, io, sync::Arc, time::Duration};

use super::wire::{Answer, Seen};

/// A place could not do what it was asked to.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    /// What to do about it.
    pub(crate) kind: Kind,
    /// Whether it may have done it all the same: the answer was lost, or says nothing.
    pub(super) unsure: bool,
    place: Arc<str>,
    what: String,
    helps: &'static str,
}

/// What a fault asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Patience: it is busy or cannot be reached. As long as it asks for, if it does.
    Passing {
        /// How long it wants to be left alone.
        after: Option<Duration>,
    },
    /// Other credentials or rights.
    Refused,
    /// A bucket, or a folder: it is not there.
    NoBucket,
    /// Room.
    Full,
    /// A reader that takes more: the object is larger than was allowed for.
    TooLarge,
    /// Another name, or what lies in its way taken away: this object cannot be there, and others can.
    Object,
    /// A person who reads what it says.
    Other,
}

impl Kind {
    /// Whatever else is asked of it just now fails as well.
    pub(crate) fn is_of_place(self) -> bool {
        matches!(self, Self::Passing { .. } | Self::NoBucket | Self::Full)
    }
}

impl Fault {
    /// The same to whoever asked himself: nothing is tried again for him.
    pub(crate) fn once(&self) -> String {
        match self.helps {
            AGAIN => format!("{} {}", self.place, self.what),
            _ => self.to_string(),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.place, self.what)?;
        match self.helps {
            "" => Ok(()),
            helps => write!(f, ": {helps}"),
        }
    }
}

impl std::error::Error for Fault {}

/// So much of an object's name is shown.
const SHOWN: usize = 200;

const BUSY: &str = "is at work on this name";
const AGAIN: &str = "rrd tries again";
const KEYS: &str = "check the key and its secret, in the environment, mirror.env or the profile";
const RIGHTS: &str = "these credentials need to read, write, list and delete in it";
const REGION: &str = "check its region and endpoint";
const CLOCK: &str = "the clock of this host is wrong: set it";
const MAKE: &str = "make the bucket, or check its name, region and endpoint";
const ROOM: &str = "make room there, or raise its quota";

/// Where credentials of the machine itself are asked for.
const METADATA: [&str; 4] =
    ["169.254.169.254", "[fd00:ec2::254]", "169.254.170.2", "metadata.google.internal"];

impl Fault {
    pub(super) fn new(
        place: &Arc<str>,
        kind: Kind,
        what: impl Into<String>,
        helps: &'static str,
    ) -> Self {
        Self { kind, unsure: false, place: place.clone(), what: what.into(), helps }
    }

    /// Somebody else is writing the same object, or taking it away.
    pub(super) fn busy(place: &Arc<str>) -> Self {
        Self::new(place, Kind::Passing { after: None }, BUSY, AGAIN)
    }

    pub(super) fn too_large(place: &Arc<str>, name: &str, size: u64, at_most: u64) -> Self {
        let what = format!("has {size} bytes in {name}; no more than {at_most} are read");
        Self::new(place, Kind::TooLarge, what, "")
    }

    /// Of one object in a folder that is there.
    pub(super) fn of_file(place: &Arc<str>, name: &str, error: &io::Error) -> Self {
        use io::ErrorKind::{
            AlreadyExists, FileTooLarge, InvalidFilename, IsADirectory, NotADirectory,
        };
        let (kind, helps) = match error.kind() {
            NotADirectory => (Kind::Object, "a file lies where a folder is to be: move it away"),
            IsADirectory => (Kind::Object, "a folder lies where a file is to be: move it away"),
            AlreadyExists => {
                (Kind::Object, "something else lies where a file is to be: move it away")
            }
            InvalidFilename => (Kind::Object, "the name is too long there"),
            FileTooLarge => (Kind::Object, "its file system takes no file as large as this"),
            _ => return Self::of_folder(place, error).about(name),
        };
        Self::new(place, kind, format!("failed ({error})"), helps).about(name)
    }

    /// No object can be called so.
    pub(super) fn of_name(place: &Arc<str>, name: &str) -> Self {
        let helps = "the session's id is too long, or not one that a place can have";
        Self::new(place, Kind::Object, "failed", helps).about(name)
    }

    /// Names the object that it is about.
    pub(super) fn about(mut self, name: &str) -> Self {
        let shown: String = name.chars().take(SHOWN).collect();
        let rest = if shown.len() < name.len() { "…" } else { "" };
        self.what = format!("{} at {shown}{rest}", self.what);
        self
    }

    /// From what was seen on the wire; `None` is an answer that the library did not understand.
    pub(super) fn seen(place: &Arc<str>, seen: Option<Seen>) -> Self {
        match seen {
            None => {
                let what = "gave an answer that is not understood";
                let helps = "check that its address is that of such a store";
                Self { unsure: true, ..Self::new(place, Kind::Other, what, helps) }
            }
            Some(seen) if METADATA.contains(&seen.asked.as_str()) && !seen.is_busy() => {
                let what =
                    "cannot be used without credentials, and this machine has none of its own";
                let helps = "set them in the environment or in mirror.env, or name a profile";
                Self::new(place, Kind::Refused, what, helps)
            }
            Some(Seen { answer: Answer::Status { status, code, after }, .. }) => {
                Self::of_status(place, status, &code, after)
            }
            Some(Seen { answer: Answer::None { silent, connected, why }, .. }) => {
                let what = match (silent, connected) {
                    (true, _) => "does not answer".to_owned(),
                    (false, true) => format!("broke off the connection{why}"),
                    (false, false) => format!("cannot be reached{why}"),
                };
                let passing = Kind::Passing { after: None };
                Self { unsure: connected, ..Self::new(place, passing, what, AGAIN) }
            }
        }
    }

    fn of_status(place: &Arc<str>, status: u16, code: &str, after: Option<Duration>) -> Self {
        let said = match code {
            "" => format!("({status})"),
            code => format!("({status} {code})"),
        };
        let passing = Kind::Passing { after };
        let (kind, what, helps) = match (status, code) {
            (_, "RequestTimeTooSkewed" | "RequestExpired") => {
                (Kind::Refused, "refuses the request", CLOCK)
            }
            (_, "ExpiredToken" | "TokenRefreshRequired" | "InvalidToken") => {
                (Kind::Refused, "does not take the token any more", "get a new one")
            }
            (_, "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "AuthenticationFailed") => {
                (Kind::Refused, "does not know these credentials", KEYS)
            }
            (304 | 409 | 412, _) => (passing, BUSY, AGAIN),
            (_, "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException")
            | (300..400, _) => (Kind::Refused, "is elsewhere", REGION),
            (_, "KeyTooLongError" | "InvalidObjectName" | "XMinioInvalidObjectName") => {
                (Kind::Object, "does not take the name", "the session's id is too long there")
            }
            (_, "EntityTooLarge") => (Kind::Object, "does not take as much", ""),
            (507, _) => (Kind::Full, "is full", ROOM),
            (_, code)
                if ["Quota", "StorageFull", "StorageLimit"].iter().any(|c| code.contains(c)) =>
            {
                (Kind::Full, "is full", ROOM)
            }
            (401, _) => (Kind::Refused, "does not know these credentials", KEYS),
            (403, _) => (Kind::Refused, "does not allow it", RIGHTS),
            (404, _) => (Kind::NoBucket, "is not there", MAKE),
            (501, _) => (Kind::Other, "does not know this request", ""),
            (429, _) | (_, "SlowDown" | "ServerBusy") => (passing, "asks for patience", AGAIN),
            (408 | 500.., _) | (400, "RequestTimeout" | "IncompleteBody" | "BadDigest") => {
                (passing, "failed at its end", AGAIN)
            }
            _ => (Kind::Other, "does not take the request", ""),
        };
        // What was refused was not done. Of all else there is no telling.
        let unsure = status < 400 || matches!(status, 408 | 409 | 412 | 429 | 500..);
        Self { unsure, ..Self::new(place, kind, format!("{what} {said}"), helps) }
    }

    /// Of a folder.
    pub(super) fn of_folder(place: &Arc<str>, error: &io::Error) -> Self {
        use io::ErrorKind::{
            FileTooLarge, Interrupted, NotFound, PermissionDenied, QuotaExceeded,
            ReadOnlyFilesystem, ResourceBusy, StaleNetworkFileHandle, StorageFull, TimedOut,
        };
        let (kind, helps) = match error.kind() {
            NotFound => (Kind::NoBucket, "if it is on a drive or a share, is that there?"),
            PermissionDenied | ReadOnlyFilesystem => {
                (Kind::Refused, "rrd has to be allowed to write there")
            }
            StorageFull | QuotaExceeded => (Kind::Full, "make room there"),
            Interrupted | ResourceBusy | StaleNetworkFileHandle | TimedOut => {
                (Kind::Passing { after: None }, AGAIN)
            }
            FileTooLarge => (Kind::Other, "its file system takes no file as large as this"),
            _ => (Kind::Other, ""),
        };
        Self::new(place, kind, format!("failed ({error})"), helps)
    }
}
