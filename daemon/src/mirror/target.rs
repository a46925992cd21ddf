//! A place for copies: a bucket (S3 and what speaks like it, GCS, Azure) or a folder, and a prefix in it.
//!
//! Nothing beside this module names `object_store`. Each call is one thing done or one [`Fault`]; nothing is tried
//! again in here, for only whoever asked knows what may be repeated. What cannot be known from an answer, because
//! there was none or because it says "somebody was first", is looked up: the content decides whether an object is
//! ours. A 409 to a create, which S3 gives while another write is under way, reads as "already exists" in
//! `object_store`, and may be neither; a 500 or a lost answer may hide a success.
//!
//! Names are those of objects from the prefix on, made of `[A-Za-z0-9._%=-]` with `/` between their parts, and
//! arrive letter by letter. Not here: what the names mean, when to try again, what may leave the host.

mod access;
mod fault;
mod folder;
mod keys;
mod open;
mod wire;

#[cfg(test)]
mod tests;

use std::{
    fmt, io,
    sync::{Arc, OnceLock},
    time::SystemTime,
};

use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt};
use object_store::{
    Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions, UpdateVersion, path::Path,
};
use rrd_core::mirror::{Digest, name::Summing};
use serde::{Deserialize, Serialize};

pub(crate) use access::{Access, TargetError, folder_of, is_name, plain};
pub(crate) use fault::{Fault, Kind};
use folder::{Folder, Mode, Put};

/// A place for copies.
pub(crate) struct Target {
    /// Its address, for people: without credentials.
    place: Arc<str>,
    store: Store,
    ability: OnceLock<Ability>,
    anew: wire::Anew,
}

enum Store {
    Folder(Folder),
    Bucket {
        store: Box<dyn ObjectStore>,
        /// Without `/` at its ends.
        prefix: String,
    },
}

/// Which content an object had when it was seen. Two are equal only if it was the same.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Version {
    e_tag: Option<String>,
    /// GCS's generation; a version's id elsewhere.
    version: Option<String>,
}

/// What became of [`Target::create`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Created {
    /// It is there, and was not before.
    Now(Version),
    /// It was there, with these bytes: by an earlier attempt, or by this one, whose answer got lost.
    WasThere(Version),
    /// Something else has the name, and keeps it.
    Other,
}

/// What became of [`Target::replace`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Replaced {
    /// The object has these bytes.
    Done(Version),
    /// It is not the expected version any more, or is gone, and was left alone.
    Changed,
}

/// What is known of an object without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) size: u64,
    pub(crate) version: Version,
    pub(crate) modified: SystemTime,
}

/// An object in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Object {
    /// From the target's prefix on.
    pub(crate) name: String,
    pub(crate) size: u64,
    pub(crate) modified: SystemTime,
}

/// Which conditions a store honours. Some take any write, whatever is asked of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ability {
    /// It refuses to create what is there.
    pub(crate) create_only: bool,
    /// It refuses to replace what has changed.
    pub(crate) if_match: bool,
}

/// Why nothing was written, as far as that is known.
enum Miss {
    Taken(Fault),
    Changed,
    Failed(Fault),
}

impl fmt::Debug for Target {
    /// Without the store: it has the credentials in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Target").field(&self.place).finish()
    }
}

impl Target {
    /// The address, for people.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    /// Somebody asks how it is now: what a bucket was asked before and has not answered is soon given up, as if it
    /// had failed. What a folder's disk does not do nobody can give up.
    pub(crate) fn ask_anew(&self) {
        self.anew.ask();
    }

    /// With what an earlier probe of this place found.
    #[cfg(test)]
    pub(crate) fn knowing(self, ability: Ability) -> Self {
        let _ = self.ability.set(ability);
        self
    }

    /// Makes a folder that is not there yet; a bucket has to be. For the moment in which a person names the place,
    /// and no other: later a folder that is not there is a drive that is not mounted.
    pub(crate) async fn make(&self) -> Result<(), Fault> {
        match &self.store {
            Store::Folder(folder) => self.blocking(folder, Folder::make).await,
            Store::Bucket { .. } => Ok(()),
        }
    }

    /// Finds out once what the store honours, by two writes to one small object that it then deletes. Until then
    /// nothing is taken for granted. What the first probe finds counts for as long as this target is open.
    pub(crate) async fn probe(&self) -> Result<Ability, Fault> {
        if let Store::Folder(folder) = &self.store {
            self.blocking(folder, Folder::tidy).await?;
        }
        let random = random_name().map_err(|error| Fault::of_folder(&self.place, &error))?;
        let name = format!(".rrd-probe-{random}");
        let ability = self.try_conditions(&name).await;
        // Also where something failed: the write may have come through.
        let deleted = self.delete(&name).await;
        let ability = ability?;
        deleted?;
        let _ = self.ability.set(ability);
        Ok(ability)
    }

    async fn try_conditions(&self, name: &str) -> Result<Ability, Fault> {
        let [first, second] = [Bytes::from_static(b"1\n"), Bytes::from_static(b"2\n")];
        let mut ability = Ability { create_only: true, if_match: true };
        // Where conditions are an error the object is made without.
        let there = match self.put(name, &first, Mode::Create).await {
            Ok(version) => version,
            Err(Miss::Failed(fault)) if fault.kind == Kind::Other => {
                ability.create_only = false;
                self.put(name, &first, Mode::Replace).await.map_err(|miss| self.fault(miss))?
            }
            Err(miss) => return Err(self.fault(miss)),
        };
        if ability.create_only {
            ability.create_only = match self.put(name, &second, Mode::Create).await {
                Err(Miss::Taken(_)) => true,
                Err(Miss::Failed(fault)) if fault.kind != Kind::Other => return Err(fault),
                _ => false,
            };
        }
        let known = self.head(name).await?.map_or(there, |head| head.version);
        let stale = known.of_nothing();
        let kept = match self.put(name, &first, Mode::ReplaceIf(stale)).await {
            Err(Miss::Changed) => true,
            Err(Miss::Failed(fault)) if fault.kind != Kind::Other => return Err(fault),
            _ => false,
        };
        ability.if_match = kept
            && match self.put(name, &second, Mode::ReplaceIf(known)).await {
                Ok(_) => true,
                Err(Miss::Failed(fault)) if fault.kind != Kind::Other => return Err(fault),
                Err(_) => false,
            };
        Ok(ability)
    }

    /// Writes an object that is not there yet. Where the store does not honour that, it looks first: two that
    /// create at the same moment may then both believe that they were first.
    pub(crate) async fn create(&self, name: &str, bytes: &Bytes) -> Result<Created, Fault> {
        let ability = self.ability.get();
        if !ability.is_some_and(|ability| ability.create_only)
            && let Some(created) = self.look(name, bytes).await?
        {
            return Ok(created);
        }
        let mode = match ability {
            Some(Ability { create_only: false, .. }) => Mode::Replace,
            _ => Mode::Create,
        };
        let (fault, taken) = match self.put(name, bytes, mode).await {
            Ok(version) => return Ok(Created::Now(version)),
            Err(Miss::Taken(fault)) => (fault, true),
            Err(Miss::Failed(fault)) if fault.unsure => (fault, false),
            Err(miss) => return Err(self.fault(miss)),
        };
        match self.look(name, bytes).await {
            Ok(Some(created)) => Ok(created),
            // Who says that something is there and does not let one look has the better reason.
            Err(closed) if taken => Err(closed),
            Ok(None) | Err(_) => Err(fault),
        }
    }

    /// Gives a file on the same disk as a folder the name of an object that is not there yet; the file is never
    /// written again. Nothing where that cannot be, or the name is taken: then [`Self::create`] says what is.
    pub(crate) async fn link(
        &self,
        name: &str,
        file: &std::path::Path,
    ) -> Result<Option<Created>, Fault> {
        let Store::Folder(folder) = &self.store else { return Ok(None) };
        self.key(name)?;
        let file = file.to_owned();
        let link = move |folder: &Folder, name: &str| folder.link(name, &file);
        let linked = self.blocking_at(folder, name, link).await?;
        Ok(linked.map(Created::Now))
    }

    /// Writes an object over what is there: over anything, or over one version only. Where the store does not
    /// honour that, it looks first, and what happens in between is lost.
    pub(crate) async fn replace(
        &self,
        name: &str,
        bytes: &Bytes,
        expected: Option<&Version>,
    ) -> Result<Replaced, Fault> {
        let mode = match (expected, self.ability.get()) {
            (None, _) => Mode::Replace,
            (Some(version), Some(Ability { if_match: true, .. })) => {
                Mode::ReplaceIf(version.clone())
            }
            (Some(version), _) => {
                let there = self.head(name).await?;
                if there.is_none_or(|head| !head.version.is(version)) {
                    return Ok(self.is_ours(name, bytes).await?.unwrap_or(Replaced::Changed));
                }
                match self.ability.get() {
                    Some(_) => Mode::Replace,
                    None => Mode::ReplaceIf(version.clone()),
                }
            }
        };
        match self.put(name, bytes, mode).await {
            Ok(version) => Ok(Replaced::Done(version)),
            // An earlier attempt may have been the one that changed it.
            Err(Miss::Changed) => Ok(self.is_ours(name, bytes).await?.unwrap_or(Replaced::Changed)),
            Err(Miss::Failed(fault)) if fault.unsure => match self.is_ours(name, bytes).await {
                Ok(Some(done)) => Ok(done),
                Ok(None) | Err(_) => Err(fault),
            },
            Err(miss) => Err(self.fault(miss)),
        }
    }

    async fn is_ours(&self, name: &str, bytes: &Bytes) -> Result<Option<Replaced>, Fault> {
        match self.look(name, bytes).await? {
            Some(Created::WasThere(version)) => Ok(Some(Replaced::Done(version))),
            _ => Ok(None),
        }
    }

    /// What is there by this name, compared with `bytes`.
    async fn look(&self, name: &str, bytes: &Bytes) -> Result<Option<Created>, Fault> {
        let size = bytes.len() as u64;
        let Some(head) = self.head(name).await? else { return Ok(None) };
        if head.size != size {
            return Ok(Some(Created::Other));
        }
        match self.get(name, size).await {
            Ok(None) => Ok(None),
            Ok(Some((there, version))) if there == *bytes => Ok(Some(Created::WasThere(version))),
            Ok(Some(_)) => Ok(Some(Created::Other)),
            Err(fault) if fault.kind == Kind::TooLarge => Ok(Some(Created::Other)),
            Err(fault) => Err(fault),
        }
    }

    /// Reads an object of at most so many bytes; a larger one is a fault, and is not read.
    pub(crate) async fn get(
        &self,
        name: &str,
        at_most: u64,
    ) -> Result<Option<(Bytes, Version)>, Fault> {
        let key = self.key(name)?;
        let too_large = |size| Fault::too_large(&self.place, name, size, at_most);
        let store = match &self.store {
            Store::Bucket { store, .. } => store,
            Store::Folder(folder) => {
                let get = move |folder: &Folder, name: &str| folder.get(name, at_most);
                let read = self.blocking_at(folder, name, get).await?;
                return match read {
                    Some((_, head)) if head.size > at_most => Err(too_large(head.size)),
                    read => Ok(read.map(|(bytes, head)| (Bytes::from(bytes), head.version))),
                };
            }
        };
        let (read, seen) = wire::noting(async {
            let object = store.get(&key).await?;
            let (size, version) = (object.meta.size, Version::of(&object.meta));
            // The size is what the store says; what it sends is counted all the same.
            let mut bytes =
                BytesMut::with_capacity(usize::try_from(size.min(at_most)).unwrap_or(0));
            let mut pieces = object.into_stream();
            while size <= at_most
                && bytes.len() as u64 <= at_most
                && let Some(piece) = pieces.next().await
            {
                bytes.extend_from_slice(&piece?);
            }
            Ok((bytes.freeze(), size, version))
        })
        .await;
        match read {
            Ok((bytes, size, _)) if size.max(bytes.len() as u64) > at_most => {
                Err(too_large(size.max(bytes.len() as u64)))
            }
            Ok((bytes, _, version)) => Ok(Some((bytes, version))),
            Err(error) => self.absent(&error, seen).map(|()| None),
        }
    }

    /// The digest of an object, which is never in memory as a whole.
    pub(crate) async fn sum(&self, name: &str) -> Result<Option<Digest>, Fault> {
        let key = self.key(name)?;
        let store = match &self.store {
            Store::Bucket { store, .. } => store,
            Store::Folder(folder) => return self.blocking_at(folder, name, Folder::sum).await,
        };
        let (read, seen) = wire::noting(async {
            let mut pieces = store.get(&key).await?.into_stream();
            let mut summing = Summing::default();
            while let Some(piece) = pieces.next().await {
                summing.update(&piece?);
            }
            Ok(summing.finish())
        })
        .await;
        match read {
            Ok(digest) => Ok(Some(digest)),
            Err(error) => self.absent(&error, seen).map(|()| None),
        }
    }

    /// What is there by this name. A bucket that is not there looks the same as an object that is not.
    pub(crate) async fn head(&self, name: &str) -> Result<Option<Head>, Fault> {
        let key = self.key(name)?;
        let store = match &self.store {
            Store::Bucket { store, .. } => store,
            Store::Folder(folder) => {
                return self.blocking_at(folder, name, Folder::head).await;
            }
        };
        match wire::noting(store.head(&key)).await {
            (Ok(meta), _) => Ok(Some(Head {
                size: meta.size,
                version: Version::of(&meta),
                modified: meta.last_modified.into(),
            })),
            (Err(error), seen) => self.absent(&error, seen).map(|()| None),
        }
    }

    /// Every object whose name begins with `prefix` and `/`, or every object at all: all pages, by name.
    pub(crate) async fn list(&self, prefix: &str) -> Result<Vec<Object>, Fault> {
        let above = self.above(prefix)?;
        let (store, own) = match &self.store {
            Store::Bucket { store, prefix } => (store, prefix),
            Store::Folder(folder) => {
                return self.blocking_at(folder, prefix, Folder::list).await;
            }
        };
        let listed = store.list(above.as_ref()).try_collect::<Vec<_>>();
        let (listed, seen) = wire::noting(listed).await;
        let listed = listed.map_err(|error| self.unlisted(&error, seen))?;
        let mut objects: Vec<Object> = Vec::with_capacity(listed.len());
        for meta in listed {
            // Names that rrd cannot have given are somebody else's, and cannot be asked for.
            let name = beneath(meta.location.as_ref(), own).filter(|name| is_name(name));
            if let Some(name) = name {
                let (name, modified) = (name.to_owned(), meta.last_modified.into());
                objects.push(Object { name, size: meta.size, modified });
            }
        }
        objects.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(objects)
    }

    /// What comes next in the names that begin with `prefix` and `/` and go on after that: the folders in it.
    pub(crate) async fn folders(&self, prefix: &str) -> Result<Vec<String>, Fault> {
        let above = self.above(prefix)?;
        let store = match &self.store {
            Store::Bucket { store, .. } => store,
            Store::Folder(folder) => {
                return self.blocking_at(folder, prefix, Folder::folders).await;
            }
        };
        let (listed, seen) = wire::noting(store.list_with_delimiter(above.as_ref())).await;
        let listed = listed.map_err(|error| self.unlisted(&error, seen))?;
        let names = listed.common_prefixes.iter().filter_map(Path::filename);
        let mut names: Vec<String> =
            names.filter(|name| is_name(name)).map(str::to_owned).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// Why there is no list. One name that `object_store` does not take spoils all of it.
    fn unlisted(&self, error: &Error, seen: Option<wire::Seen>) -> Fault {
        match error {
            Error::InvalidPath { .. } => {
                let what = "has an object with a name that is no path, like a//b";
                let helps = "take it away, or give the mirror a prefix of its own";
                Fault::new(&self.place, Kind::Other, what, helps)
            }
            _ => Fault::seen(&self.place, seen),
        }
    }

    /// Takes an object away; it may be gone already.
    pub(crate) async fn delete(&self, name: &str) -> Result<(), Fault> {
        let key = self.key(name)?;
        match &self.store {
            Store::Folder(folder) => self.blocking_at(folder, name, Folder::delete).await,
            Store::Bucket { store, .. } => match wire::noting(store.delete(&key)).await {
                (Ok(()), _) => Ok(()),
                (Err(error), seen) => self.absent(&error, seen),
            },
        }
    }

    /// One write.
    async fn put(&self, name: &str, bytes: &Bytes, mode: Mode) -> Result<Version, Miss> {
        let key = self.key(name).map_err(Miss::Failed)?;
        let store = match &self.store {
            Store::Bucket { store, .. } => store,
            Store::Folder(folder) => {
                let bytes = bytes.clone();
                let put = move |folder: &Folder, name: &str| folder.put(name, &bytes, &mode);
                return match self.blocking_at(folder, name, put).await.map_err(Miss::Failed)? {
                    Put::Done(version) => Ok(version),
                    Put::Taken => Err(Miss::Taken(Fault::busy(&self.place))),
                    Put::Changed => Err(Miss::Changed),
                };
            }
        };
        let (create, conditional) = (matches!(mode, Mode::Create), !matches!(mode, Mode::Replace));
        let replace = conditional && !create;
        let mode = match mode {
            Mode::Create => PutMode::Create,
            Mode::Replace => PutMode::Overwrite,
            Mode::ReplaceIf(Version { e_tag, version }) => {
                PutMode::Update(UpdateVersion { e_tag, version })
            }
        };
        let put = store.put_opts(&key, bytes.clone().into(), PutOptions::from(mode));
        let (put, seen) = wire::noting(put).await;
        let fault = || match Fault::seen(&self.place, seen.clone()) {
            fault if fault.kind == Kind::Object => fault.about(name),
            fault => fault,
        };
        match put {
            Ok(put) => Ok(Version { e_tag: put.e_tag, version: put.version }),
            Err(Error::AlreadyExists { .. }) if create => Err(Miss::Taken(fault())),
            Err(Error::Precondition { .. }) if conditional => Err(Miss::Changed),
            // What is to be replaced is gone.
            Err(error @ Error::NotFound { .. }) if replace => self
                .absent(&error, seen)
                .map_or_else(|fault| Err(Miss::Failed(fault)), |()| Err(Miss::Changed)),
            Err(_) => Err(Miss::Failed(fault())),
        }
    }

    fn fault(&self, miss: Miss) -> Fault {
        match miss {
            Miss::Taken(fault) | Miss::Failed(fault) => fault,
            Miss::Changed => Fault::busy(&self.place),
        }
    }

    /// Whether an object is only not there.
    fn absent(&self, error: &Error, seen: Option<wire::Seen>) -> Result<(), Fault> {
        // A refusal without a body, as to HEAD, says no more than that.
        let no_bucket = ["NoSuchBucket", "ContainerNotFound"];
        let of_bucket = matches!(&seen, Some(wire::Seen { answer: wire::Answer::Status { code, .. }, .. })
            if no_bucket.contains(&code.as_str()));
        match error {
            Error::NotFound { .. } if !of_bucket => Ok(()),
            _ => Err(Fault::seen(&self.place, seen)),
        }
    }

    fn key(&self, name: &str) -> Result<Path, Fault> {
        let own = [folder::STAGED, folder::LOCK];
        let first = name.split('/').next().unwrap_or_default();
        if !is_name(name) || own.contains(&first) {
            return Err(Fault::of_name(&self.place, name));
        }
        let whole = match &self.store {
            Store::Bucket { prefix, .. } if !prefix.is_empty() => format!("{prefix}/{name}"),
            _ => name.to_owned(),
        };
        // Not `Path::from`, which would write each `%` as `%25`.
        Path::parse(whole).map_err(|_| Fault::seen(&self.place, None))
    }

    /// Of a prefix; `None` is the whole bucket.
    fn above(&self, prefix: &str) -> Result<Option<Path>, Fault> {
        match (&self.store, prefix) {
            (Store::Bucket { prefix, .. }, "") => Ok(Path::parse(prefix).ok()),
            (Store::Folder(_), "") => Ok(None),
            _ => self.key(prefix).map(Some),
        }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        folder: &Folder,
        job: impl FnOnce(&Folder) -> io::Result<T> + Send + 'static,
    ) -> Result<T, Fault> {
        let done = on_disk(folder, job).await;
        done.map_err(|error| Fault::of_folder(&self.place, &error))
    }

    /// Does something with one object.
    async fn blocking_at<T: Send + 'static>(
        &self,
        folder: &Folder,
        name: &str,
        job: impl FnOnce(&Folder, &str) -> io::Result<T> + Send + 'static,
    ) -> Result<T, Fault> {
        let (owned, same) = (name.to_owned(), folder.clone());
        let error = match on_disk(folder, move |folder| job(folder, &owned)).await {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        // Whatever is wrong with the folder itself has nothing to do with this object.
        Err(match on_disk(&same, Folder::must_be_there).await {
            Ok(()) => Fault::of_file(&self.place, name, &error),
            Err(error) => Fault::of_folder(&self.place, &error),
        })
    }
}

async fn on_disk<T: Send + 'static>(
    folder: &Folder,
    job: impl FnOnce(&Folder) -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let folder = folder.clone();
    let done = tokio::task::spawn_blocking(move || job(&folder)).await;
    done.unwrap_or_else(|error| Err(io::Error::other(error)))
}

impl Version {
    fn of(meta: &object_store::ObjectMeta) -> Self {
        Self { e_tag: meta.e_tag.clone(), version: meta.version.clone() }
    }

    /// Whether both are of the same content. A write does not always tell both halves, and HEAD does.
    fn is(&self, other: &Self) -> bool {
        match (&self.e_tag, &other.e_tag) {
            (Some(own), Some(other)) => own == other,
            _ => self.version.is_some() && self.version == other.version,
        }
    }

    /// Like this one, and of no object.
    fn of_nothing(&self) -> Self {
        let e_tag = Some("\"00000000000000000000000000000000\"".to_owned());
        Self { e_tag, version: self.version.as_ref().map(|_| "1".to_owned()) }
    }
}

/// The rest of a name after a prefix.
fn beneath<'a>(name: &'a str, prefix: &str) -> Option<&'a str> {
    match prefix {
        "" => Some(name),
        prefix => name.strip_prefix(prefix)?.strip_prefix('/'),
    }
}

/// 16 letters that nobody else has.
fn random_name() -> io::Result<String> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
