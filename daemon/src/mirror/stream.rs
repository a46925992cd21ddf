//! Brings one transcript into one bucket: claim, parts, `meta.json`.
//!
//! Everything that is sent was committed to the outbox before ([`super::outbox`]), so whatever breaks off here is
//! gone on with by the next call. What the bucket has is looked at once after each start, and whether another
//! host has claimed the stream before each batch. Not here: which streams, and when.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use rrd_core::mirror::{Meta, Owner, meta, read};
use rrd_proto::{Timestamp, copy::Past};
use tokio::sync::{OnceCell, Semaphore};

use super::{
    bars::{Barred, Bars},
    delegate, fetch,
    gather::{self, At, Gathered, There, Writer},
    outbox::{Epoch, Merge, Outbox, OutboxError, Part, State, Stream, StreamId},
    recognise::Found,
    target::{Ability, Created, Fault, Replaced, Target, Version},
    twins::Twins,
};
use crate::{edge::Edges, hub::now, repo::Unwritten};

/// An owner's file, or a `meta.json`, is no longer than this.
pub(super) const SMALL: u64 = 64 << 20;

/// A part that others wrote is no longer than this.
pub(super) const LONGEST_PART: u64 = 1 << 30;

/// So often an object is written that somebody else writes at the same moment.
pub(super) const TRIES: u32 = 8;

/// Who was the second to claim a stream looks at it so long after.
const ITS_TURN: Duration = Duration::from_millis(250);

/// Why a stream is not where it should be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The bucket says no.
    #[error(transparent)]
    Bucket(#[from] Fault),
    /// The outbox cannot be used.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    /// What is learnt of sessions is not on the disk, and what stays out is known by it.
    #[error(transparent)]
    Memory(#[from] Unwritten),
    /// The transcript cannot be read.
    #[error("{path}: {source}", path = path.display())]
    Source { path: PathBuf, source: io::Error },
    /// The source says no where its path is known to whoever reads this.
    #[error(transparent)]
    Read(#[from] io::Error),
    /// What is in the bucket is not what rrd put there.
    #[error("{0}")]
    Odd(String),
    /// Another host has claimed the stream in the same moment, by this object.
    #[error("{0} is another host's")]
    Claimed(String),
    /// It was in a repository that is to stay out.
    #[error(transparent)]
    Barred(Barred),
}

/// What a call needs besides the stream.
#[derive(Clone)]
pub(crate) struct Carrier {
    pub(crate) target: Arc<Target>,
    pub(crate) outbox: Arc<Mutex<Outbox>>,
    pub(crate) edges: Arc<Edges>,
    pub(crate) node: Arc<str>,
    pub(crate) host: Arc<str>,
    /// What the bucket honours, found out once.
    pub(crate) ability: Arc<OnceCell<Ability>>,
    /// So many parts are in memory at a time.
    pub(crate) room: Arc<Semaphore>,
    /// So many transcripts are read and redacted at a time.
    pub(crate) hands: Arc<Semaphore>,
    /// False where the user asked for the bytes as they are.
    pub(crate) redacts: bool,
    /// A stream that another host is bringing is left to that one. False while somebody waits for all to be there.
    pub(crate) yields: bool,
    /// Repositories in which nothing that goes out was done.
    pub(crate) excluded: Arc<[String]>,
    /// Whether another daemon writes under this one's name.
    pub(crate) twins: Arc<Twins>,
}

/// What a bucket is asked about a stream before anything is brought there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Whether another host has claimed it.
    Claims,
    /// What there is of it: nobody has asked since the start.
    Names,
    /// All of it: something of it is known not to be what was uploaded.
    Parts,
}

/// What there is to say of the session in `meta.json`.
#[derive(Debug, Clone, Default)]
pub(crate) struct About {
    pub(crate) cwd: Option<String>,
    pub(crate) title: Option<String>,
    pub(crate) repo: Option<String>,
    pub(crate) past: Past,
    pub(crate) ended_at: Option<Timestamp>,
    pub(crate) task: Option<String>,
}

impl Carrier {
    /// Why nothing may leave: it could not be taken back.
    pub(super) fn forbidden(&self) -> Option<String> {
        let rule = &self.edges.refused().filter(|_| self.redacts)?.rule;
        Some(format!(
            "redact.toml: {rule} does not hold, and nothing is mirrored until it does: rrd redact \
             </dev/null says why, rrd service restart takes it up"
        ))
    }

    pub(super) fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Brings everything that `source` has into the bucket, or nothing of it where another host writes the
    /// stream.
    pub(crate) async fn bring(
        &self,
        stream: &mut Stream,
        source: &At,
        about: &About,
        ask: Ask,
    ) -> Result<(), Failure> {
        if let Some(why) = self.forbidden() {
            return Err(Failure::Odd(why));
        }
        self.ability.get_or_try_init(|| self.target.probe()).await?;
        let (mut ask, mut tries) = (ask, 1);
        while let Err(failure) = self.bring_as(stream, source, about, ask).await {
            if !matches!(failure, Failure::Claimed(_)) || tries == TRIES {
                return Err(failure);
            }
            // Whoever was the first is about to send what it has.
            tokio::time::sleep(ITS_TURN).await;
            (ask, tries) = (Ask::Names, tries + 1);
        }
        Ok(())
    }

    /// The same, until another host is found to have claimed the stream meanwhile.
    async fn bring_as(
        &self,
        stream: &mut Stream,
        source: &At,
        about: &About,
        ask: Ask,
    ) -> Result<(), Failure> {
        match ask {
            Ask::Claims if stream.state.epoch == 0 => {}
            Ask::Claims => {
                if self.may_change_hands(stream, source).await? {
                    self.look(stream, source).await?;
                }
            }
            Ask::Names => self.look(stream, source).await?,
            Ask::Parts => {
                let directory = self.directory(stream).await?;
                self.adopt(stream, source, directory).await?;
            }
        }
        if stream.state.theirs.is_some() {
            return Ok(());
        }
        while !self.carry(stream, source, about).await? {
            // Somebody went on with it meanwhile: whoever carried it when the target was set anew.
            let id = stream.id;
            stream.state = self.on_disk(move |carrier| Ok(carrier.outbox().state(id)?)).await?;
        }
        if stream.state.theirs.is_none()
            && (stream.state.meta_is_due || self.is_told_otherwise(stream, source).await?)
        {
            self.tell(stream, source, about).await?;
        }
        Ok(())
    }

    /// Whether there is something else to be said of a delegate than what was.
    async fn is_told_otherwise(&self, stream: &Stream, source: &At) -> Result<bool, Failure> {
        let about = self.delegate(stream, source).await?.filter(|_| stream.state.next_seq > 0);
        Ok(about.is_some_and(|about| Some(delegate::mark(&about)) != stream.state.delegate))
    }

    /// Whether another host may have claimed it, or this one may go on with what another one writes.
    async fn may_change_hands(&self, stream: &mut Stream, source: &At) -> Result<bool, Failure> {
        let State { epoch, theirs, settled, .. } = &stream.state;
        let is_pending = |known: &Epoch| known.epoch == *epoch && !known.is_sent;
        if self.outbox().epochs(stream.id)?.iter().any(is_pending) {
            return Ok(false);
        }
        let claim = |epoch| Self::name(stream, &Owner::name(epoch));
        if self.target.head(&claim(epoch + 1)).await?.is_some() {
            return Ok(true);
        }
        let looks = source.looks();
        if theirs.is_none() || looks == *settled {
            return Ok(false);
        }
        // Who has not all that is known to be there has not what came since, either: no more is asked, unless
        // only the bucket's own bytes tell.
        let (at, id) = (source.clone(), stream.id);
        let known = move |carrier: &Self| {
            let parts = carrier.outbox().parts(id)?.into_iter().map(|(part, _)| part).collect();
            let mut known = Found::kept(parts);
            if let Some(shown) = carrier.there(id)?.transcript {
                known.shown = shown;
            }
            carrier.recognise(&at, known)
        };
        let known = self.on_disk(known).await?;
        if known.may_go_on || known.may_be_copy || self.target.head(&claim(*epoch)).await?.is_none()
        {
            return Ok(true);
        }
        stream.state.settled = looks;
        stream.state.diverged = known.has_more.then(|| stream.state.diverged.unwrap_or_else(now));
        self.outbox().set_state(stream.id, &stream.state)?;
        Ok(false)
    }

    /// Sends what is to be sent, and what is new; false where the stream is not what it was said to be.
    async fn carry(
        &self,
        stream: &mut Stream,
        source: &At,
        about: &About,
    ) -> Result<bool, Failure> {
        // A claim of a stream that begins goes with its first part.
        if stream.state.next_seq > 0 && !self.send(stream).await? {
            // What was to be sent is lost: what of it the bucket has not is read again.
            let directory = self.directory(stream).await?;
            self.adopt(stream, source, directory).await?;
            if stream.state.theirs.is_some() {
                return Ok(true);
            }
        }
        loop {
            let gathered = self.gather(stream, source, about).await?;
            let Some(Gathered { epoch, parts, state, replaced, more }) = gathered else {
                return Ok(false);
            };
            self.edges.count_mirrored(&replaced);
            stream.state = state;
            if epoch.is_some() || !parts.is_empty() {
                self.claim(stream).await?;
            }
            for (part, body) in parts {
                self.put(stream, &part.name.to_string(), body.path().to_owned()).await?;
            }
            if !more {
                return Ok(true);
            }
        }
    }

    pub(super) fn name(stream: &Stream, name: &str) -> String {
        stream.name.directory() + name
    }

    /// Sends what is in the outbox, in its order; false where the bytes of something are lost.
    async fn send(&self, stream: &Stream) -> Result<bool, Failure> {
        self.claim(stream).await?;
        loop {
            let id = stream.id;
            match self.on_disk(move |carrier| Ok(carrier.outbox().pending(id)?)).await? {
                None => return Ok(true),
                Some((_, None)) => return Ok(false),
                Some((name, Some(body))) => self.put(stream, &name, body).await?,
            }
        }
    }

    /// Does something on a thread that may wait for a disk.
    pub(super) async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let carrier = self.clone();
        tokio::task::spawn_blocking(move || work(&carrier))
            .await
            .unwrap_or_else(|error| Err(Failure::Odd(error.to_string())))
    }

    /// Writes what is claimed and not there yet.
    async fn claim(&self, stream: &Stream) -> Result<(), Failure> {
        let epochs = self.outbox().epochs(stream.id)?;
        for Epoch { epoch, claim, .. } in epochs.into_iter().filter(|epoch| !epoch.is_sent) {
            self.twins.makes(epoch, &claim);
            let name = Self::name(stream, &Owner::name(epoch));
            let body = serde_json::to_vec_pretty(&claim).unwrap_or_default();
            match self.target.create(&name, &body.into()).await? {
                Created::Now(_) | Created::WasThere(_) => {
                    self.outbox().claim_sent(stream.id, epoch)?;
                }
                Created::Other => return Err(Failure::Claimed(name)),
            }
        }
        Ok(())
    }

    /// Sends one part, which is in the outbox.
    async fn put(&self, stream: &Stream, name: &str, body: PathBuf) -> Result<(), Failure> {
        let object = Self::name(stream, name);
        match self.create_of(&object, &body).await? {
            Created::Now(_) | Created::WasThere(_) => {
                let (id, name) = (stream.id, name.to_owned());
                let done = move |carrier: &Self| {
                    Ok(carrier.outbox().acknowledged(id, &name, &body, now())?)
                };
                self.on_disk(done).await
            }
            Created::Other => {
                Err(Failure::Odd(format!("{object} has other content than its name says")))
            }
        }
    }

    /// Creates an object of a file.
    pub(super) async fn create_of(&self, object: &str, file: &Path) -> Result<Created, Failure> {
        if let Some(created) = self.target.link(object, file).await? {
            return Ok(created);
        }
        // In memory until it has arrived.
        let _room = self.room.acquire().await;
        let path = file.to_owned();
        let bytes = self.on_disk(move |_| Ok(std::fs::read(path)?)).await?;
        Ok(self.target.create(object, &bytes.into()).await?)
    }

    /// Reads on; what is new is in the outbox then. Nothing where the stream is not what it was said to be.
    async fn gather(
        &self,
        stream: &Stream,
        source: &At,
        about: &About,
    ) -> Result<Option<Gathered>, Failure> {
        let (id, before) = (stream.id, stream.state.clone());
        let mut gathered = self.read_on(stream, source, about).await?;
        let is_rewritten = gathered.epoch.is_some() && !gathered.parts.is_empty();
        // What a resume wrote out of the bucket is there; into a database none writes.
        if is_rewritten && !source.is_in_database() && self.learn(stream, source).await? {
            gathered = self.read_on(stream, source, about).await?;
        }
        if gathered.parts.is_empty() && gathered.state == before {
            return Ok(Some(gathered));
        }
        // With free hands: another one is read while the disk takes this one.
        let commit = move |carrier: &Self| {
            let Gathered { epoch, parts, state, .. } = &mut gathered;
            if !parts.is_empty() {
                let bodies = carrier.outbox().bodies();
                bodies.sync(parts.iter_mut().map(|(_, body)| body))?;
            }
            let is_current = carrier.outbox().commit(id, &before, epoch.as_ref(), parts, state)?;
            Ok(is_current.then_some(gathered))
        };
        self.on_disk(commit).await
    }

    /// What is new, and nowhere yet.
    async fn read_on(
        &self,
        stream: &Stream,
        source: &At,
        about: &About,
    ) -> Result<Gathered, Failure> {
        let (id, state, at) = (stream.id, stream.state.clone(), source.clone());
        let places = about.past.places.clone();
        let read = move |carrier: &Self| {
            let bodies = carrier.outbox().bodies();
            let redactor = carrier.redacts.then(|| carrier.edges.redactor());
            let writer = Writer {
                node: &carrier.node,
                host: &carrier.host,
                redactor: redactor.as_deref(),
                bodies: bodies.clone(),
                now: now(),
                bars: Bars::new(&carrier.excluded, &places),
            };
            gather::gather(&writer, &at, &state, || carrier.there(id)).map_err(|failure| {
                match failure {
                    Failure::Read(error) if error.get_ref().is_some_and(|it| it.is::<Barred>()) => {
                        match error.downcast() {
                            Ok(barred) => Failure::Barred(barred),
                            Err(error) => Failure::Read(error),
                        }
                    }
                    Failure::Read(source) => Failure::Source { path: at.path().to_owned(), source },
                    other => other,
                }
            })
        };
        let _hand = self.hands.acquire().await;
        self.on_disk(read).await
    }

    /// What a stream has, as this host knows it.
    pub(super) fn there(&self, id: StreamId) -> Result<There, Failure> {
        let (parts, epochs) = {
            let outbox = self.outbox();
            (outbox.parts(id)?, outbox.epochs(id)?)
        };
        let records: Vec<(u32, u64)> = parts
            .iter()
            .map(|(part, _)| (part.about.epoch.unwrap_or(0), part.hashes.len() as u64))
            .collect();
        let orders = epochs.iter().map(|e| (e.epoch, e.claim.order.as_ref()));
        let (transcript, is_sound) = read::transcript(orders, &records);
        let transcript = is_sound.then_some(transcript);
        let hashes = parts.into_iter().flat_map(|(part, _)| part.hashes).collect();
        Ok(There { hashes, transcript })
    }

    /// Writes `meta.json` anew from what is known to be in the bucket.
    pub(super) async fn tell(
        &self,
        stream: &mut Stream,
        source: &At,
        about: &About,
    ) -> Result<(), Failure> {
        let (parts, merges) = {
            let outbox = self.outbox();
            (outbox.parts(stream.id)?, outbox.merges(stream.id)?)
        };
        let replaced = |merge: &Merge| {
            let of = merge.of.iter().map(ToString::to_string).collect();
            Some(meta::Replaced { part: merge.name.to_string(), of, at: merge.at? })
        };
        let mut meta = self.meta(stream, source, about, &parts);
        meta.replaces = merges.iter().filter_map(replaced).collect();
        meta.delegate = match self.delegate(stream, source).await? {
            Some(about) => Some(about),
            None => self.delegate_told(stream, source).await,
        };
        if meta.repo.is_none() && stream.state.epoch > 1 {
            (meta.repo, meta.past) = self.repos_told(stream, meta.past).await;
        }
        let body = serde_json::to_vec_pretty(&meta).unwrap_or_default();
        stream.state.meta = self.put_meta(stream, &body.into()).await?;
        stream.state.delegate = meta.delegate.as_ref().map(delegate::mark);
        stream.state.meta_is_due = false;
        self.outbox().set_state(stream.id, &stream.state)?;
        Ok(())
    }

    /// The repository that whoever had it before told, and in which else it was, as they and this host know.
    async fn repos_told(
        &self,
        stream: &Stream,
        own: Option<Past>,
    ) -> (Option<String>, Option<Past>) {
        let told = self.target.get(&fetch::meta_name(&stream.name), SMALL).await;
        let told =
            told.ok().flatten().and_then(|told| serde_json::from_slice::<Meta>(&told.0).ok());
        let Some(told) = told else { return (None, own) };
        let say = |text: String| match self.redacts {
            true => self.edges.mirrored(&text).into_inner(),
            false => text,
        };
        let (mut past, own) = (told.past.unwrap_or_default(), own.unwrap_or_default());
        past.names.extend(own.names);
        past.places.extend(own.places);
        past.is_whole &= own.is_whole;
        (told.repo.map(say), Some(past.cut()).filter(|past| *past != Past::default()))
    }

    /// Writes `meta.json` over the version that this host knows of, or over another one unless a later owner
    /// wrote that; gives the version that is there then, where it is this host's.
    async fn put_meta(&self, stream: &Stream, body: &Bytes) -> Result<Option<Version>, Failure> {
        let name = fetch::meta_name(&stream.name);
        let mut known = stream.state.meta.clone();
        for _ in 0..TRIES {
            let written = match &known {
                Some(version) => match self.target.replace(&name, body, Some(version)).await? {
                    Replaced::Done(version) => Some(version),
                    Replaced::Changed => None,
                },
                None => match self.target.create(&name, body).await? {
                    Created::Now(version) | Created::WasThere(version) => Some(version),
                    Created::Other => None,
                },
            };
            if written.is_some() {
                return Ok(written);
            }
            let there = self.target.get(&name, SMALL).await?;
            let meta = there.as_ref().and_then(|(body, _)| serde_json::from_slice(body).ok());
            let is_later = |meta: &Meta| meta.epoch > Some(stream.state.epoch);
            if meta.as_ref().is_some_and(is_later) {
                return Ok(None);
            }
            known = there.map(|(_, version)| version);
        }
        Err(Failure::Odd(format!("{name} is written by others all the time")))
    }

    /// Where the source is, as `meta.json` says it.
    pub(super) fn source_told(&self, source: &At) -> String {
        let path = source.path().display().to_string();
        if self.redacts { self.edges.mirrored(&path).into_inner() } else { path }
    }

    fn meta(&self, stream: &Stream, source: &At, about: &About, parts: &[(Part, bool)]) -> Meta {
        let mut redaction_counts = std::collections::BTreeMap::new();
        let sent: Vec<meta::Part> = parts
            .iter()
            .filter(|(_, is_sent)| *is_sent)
            .map(|(part, _)| part.about.clone())
            .collect();
        for (rule, count) in sent.iter().flat_map(|part| &part.redactions) {
            *redaction_counts.entry(rule.clone()).or_default() += count;
        }
        let is_raw = !self.redacts || sent.iter().any(meta::Part::is_raw);
        let at = |part: Option<&meta::Part>| part.and_then(|part| part.uploaded_at);
        let told = |text: &String| match self.redacts {
            true => self.edges.mirrored(text).into_inner(),
            false => text.clone(),
        };
        Meta {
            schema_version: meta::SCHEMA_VERSION,
            harness: stream.key.harness.to_string(),
            session_id: stream.name.own_id().to_owned(),
            source_path: Some(self.source_told(source)),
            cwd: about.cwd.as_ref().map(told),
            agent_id: Some(self.host.to_string()),
            started_at: at(sent.first()),
            last_uploaded_at: at(sent.last()),
            ended_at: about.ended_at,
            total_source_bytes: sent.iter().map(|part| part.source_bytes).sum(),
            total_uploaded_bytes: sent.iter().map(|part| part.uploaded_bytes).sum(),
            redaction_counts,
            parts: sent,
            host: Some(self.host.to_string()),
            node: Some(self.node.to_string()),
            epoch: Some(stream.state.epoch),
            redactor: Some(if is_raw { meta::RAW } else { meta::REDACTOR }.to_owned()),
            title: about.title.as_ref().map(told),
            repo: about.repo.as_ref().map(told),
            past: Some(about.past.clone()).filter(|past| *past != Past::default()),
            task_id: about.task.as_ref().map(told),
            ..Meta::default()
        }
    }
}
