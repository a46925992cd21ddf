//! A register that every host of the fleet keeps: words made here, and those that other hosts said.
//!
//! In memory is what is in `keep.db`. Gossip tells a digest of what a host knows; whoever knows something
//! else asks it for the words under those names, so a host that was away has them from the first one it meets.
//! Words of members count, and of those who left by themselves; whoever was dropped may sign on. Not here:
//! what words say, and what follows from several ([`rrd_core::register`]).

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::future::join_all;
use rrd_core::{
    fleet::{identity::SigningPublic, members::Members},
    register::{self, Register, Word},
};
use rrd_proto::{
    NodeId, Timestamp,
    peer_calls::{RegisterQuery, RegisterReply},
};
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

use crate::{
    fleet::{Fleet, Keep, KeepError, LinkError, aside},
    gossip::Gossip,
    hub::now,
};

/// Changes that come together are looked at together.
const APART: Duration = Duration::from_millis(100);

/// What a host may take to tell.
const WITHIN: Duration = Duration::from_secs(5);

/// A host that could not tell is asked again.
const AGAIN: Duration = Duration::from_secs(2);

/// Bytes of one answer, and some more: the words under a name are told together.
const PAGE: usize = 1 << 20;

/// Answers of one host in a row, at most: more than its names can fill.
const PAGES: usize = 64;

/// Words that are kept and told.
pub(crate) trait Shared: Word + Send + Sync + 'static {
    /// The table that they are kept in, and its first column.
    const TABLE: &'static str;
    /// That has their name.
    const NAME: &'static str;
    /// What members ask for them with.
    const METHOD: &'static str;

    /// This host's.
    fn of(fleet: &Fleet) -> &Held<Self>;
    /// The digests that the hosts tell which are there.
    fn digests(gossip: &Gossip) -> Vec<(NodeId, u64)>;

    /// Whether what was said under a name is to be kept no longer.
    fn is_past(_: &Register<Self>, _: &str, _: impl Fn(NodeId) -> bool, _: Timestamp) -> bool {
        false
    }
}

/// The register in memory.
#[derive(Debug)]
pub(crate) struct Held<W>(Mutex<Known<W>>, Notify);

#[derive(Debug)]
pub(crate) struct Known<W> {
    pub(crate) register: Register<W>,
    /// Of the register, as long as these are the members.
    digest: Option<(Arc<Members>, NodeId, u64)>,
}

/// Whose word counts on this host, as things are now.
pub(crate) struct Counts(Arc<Members>, NodeId);

impl Counts {
    pub(crate) fn of(fleet: &Fleet) -> Self {
        Self(fleet.members(), fleet.node())
    }

    /// This host.
    pub(crate) fn own(&self) -> NodeId {
        self.1
    }

    pub(crate) fn has(&self, node: NodeId) -> bool {
        node == self.1 || self.0.has(node) || self.0.left(node)
    }

    /// What a host is called, as far as that is known.
    pub(crate) fn label(&self, fleet: &Fleet, node: NodeId) -> Option<String> {
        self.0.label(node).or_else(|| (node == self.1).then(|| fleet.label().to_owned()))
    }

    /// The key of another host whose word counts.
    fn signing(&self, node: NodeId) -> Option<SigningPublic> {
        self.0.get(node).filter(|_| self.has(node)).map(|member| member.signing)
    }
}

impl<W: Shared> Held<W> {
    /// As they were kept; what cannot be read is passed by.
    pub(crate) fn restored(texts: Vec<String>) -> Self {
        let mut register = Register::default();
        for text in texts {
            if let Some(word) = register::kept(&text) {
                register.merge(word, text);
            }
        }
        Self(Mutex::new(Known { register, digest: None }), Notify::new())
    }

    /// Another fleet's are none of this host's.
    pub(crate) fn forget(&self) {
        *self.known() = Known { register: Register::default(), digest: None };
    }

    pub(crate) fn known(&self) -> MutexGuard<'_, Known<W>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number for all that this host tells; 0 where that is nothing.
    pub(crate) fn digest(&self, fleet: &Fleet) -> u64 {
        let counts = Counts::of(fleet);
        let mut held = self.known();
        if let Some((members, node, digest)) = &held.digest
            && Arc::ptr_eq(members, &counts.0)
            && *node == counts.1
        {
            return *digest;
        }
        let digest = held.register.digest_of_all(|node| counts.has(node));
        held.digest = Some((counts.0, counts.1, digest));
        digest
    }

    /// Tells another host what it does not know.
    pub(crate) fn tell(&self, fleet: &Fleet, query: &RegisterQuery) -> RegisterReply {
        let counts = Counts::of(fleet);
        let counted = |node| counts.has(node);
        let held = self.known();
        let (mut reply, mut bytes) = (RegisterReply::default(), 0);
        for name in held.register.names(query.after.as_deref()) {
            if query.known.get(name).copied().unwrap_or(0) == held.register.digest(name, counted) {
                continue;
            }
            for (_, text) in held.register.words(name, counted) {
                bytes += text.len();
                reply.links.push(text.to_owned());
            }
            if bytes >= PAGE {
                reply.more_after = Some(name.to_owned());
                break;
            }
        }
        reply
    }

    /// What is known under each name, as a question.
    fn ask(&self, fleet: &Fleet) -> BTreeMap<String, u64> {
        let counts = Counts::of(fleet);
        let register = &self.known().register;
        let digest = |name: &str| register.digest(name, |node| counts.has(node));
        register.names(None).map(|name| (name.to_owned(), digest(name))).collect()
    }

    /// Takes words that another host told; true where something of them is news. Blocks.
    fn take(&self, fleet: &Fleet, texts: Vec<String>) -> Result<bool, KeepError> {
        let counts = Counts::of(fleet);
        let key = |node| {
            // One's own come back when one's disk was lost, or was put back from a backup.
            if node == counts.1 { Some(fleet.identity().public()) } else { counts.signing(node) }
        };
        let read = |text: String| Some((register::read(&text, key)?, text));
        let words = texts.into_iter().filter_map(read).collect();
        self.merge(&counts, &mut fleet.keep(), words)
    }

    /// With `keep` held from the first look to the end: what is on the disk is what is in memory.
    pub(crate) fn merge(
        &self,
        counts: &Counts,
        keep: &mut Keep,
        words: Vec<(W, String)>,
    ) -> Result<bool, KeepError> {
        let before = self.known().register.clone();
        let mut register = before.clone();
        let mut changed = BTreeSet::new();
        for (word, text) in words {
            changed.extend(register.merge(word, text));
        }
        let now = now();
        let is_past = |name: &&str| W::is_past(&register, name, |node| counts.has(node), now);
        let past: Vec<String> = register.names(None).filter(is_past).map(str::to_owned).collect();
        for name in past {
            register.remove(&name);
            changed.insert(name);
        }
        // What came and went at once is no news.
        let texts = |of: &Register<W>, name: &str| of.digest(name, |_| true);
        changed.retain(|name| texts(&before, name) != texts(&register, name));
        let is_news = !changed.is_empty();
        if is_news {
            keep.set_words_of(&register, &changed)?;
            *self.known() = Known { register, digest: None };
            self.1.notify_one();
        }
        Ok(is_news)
    }

    /// Comes back when there is another digest to be told. One at a time may wait.
    pub(crate) async fn has_news(&self) {
        self.1.notified().await;
    }
}

/// Fetches words from whoever knows something else, and tells when that was news. Runs until it is dropped.
pub(crate) async fn follow<W: Shared>(
    fleet: Arc<Fleet>,
    gossip: Arc<Gossip>,
    tell: impl Fn() + Send + Sync,
) {
    let mut changed = gossip.changed();
    // All that a host knew when it told this digest is known here, too. Digests that are older than this
    // host's are most of those that differ: nobody is asked for them.
    let mut has: HashMap<NodeId, u64> = HashMap::new();
    let mut members = fleet.members();
    loop {
        changed.mark_unchanged();
        if !Arc::ptr_eq(&members, &fleet.members()) {
            // Whose words count is another matter now.
            members = fleet.members();
            has.clear();
            tell();
        }
        let own = W::of(&fleet).digest(&fleet);
        let mut due = Vec::new();
        for (node, digest) in W::digests(&gossip) {
            if digest == own || digest == 0 {
                has.insert(node, digest);
            } else if has.get(&node) != Some(&digest) {
                due.push((node, digest));
            }
        }
        let asked = due.into_iter().map(|(node, digest)| {
            let (fleet, tell) = (&fleet, &tell);
            async move { (node, digest, timeout(WITHIN, fetch::<W>(fleet, node, tell)).await) }
        });
        let mut failed = false;
        for (node, digest, fetched) in join_all(asked).await {
            match fetched {
                // An earlier release never will.
                Ok(Ok(()) | Err(LinkError::Unknown)) => drop(has.insert(node, digest)),
                Ok(Err(_)) | Err(_) => failed = true,
            }
        }
        tokio::select! {
            () = sleep(AGAIN), if failed => {}
            result = changed.changed() => if result.is_err() { return },
        }
        sleep(APART).await;
    }
}

/// All that a host knows, and this one does not.
async fn fetch<W: Shared>(
    fleet: &Arc<Fleet>,
    node: NodeId,
    tell: &(impl Fn() + Send + Sync),
) -> Result<(), LinkError> {
    let mut query = RegisterQuery { known: W::of(fleet).ask(fleet), after: None };
    for _ in 0..PAGES {
        let link = fleet.link(node);
        let RegisterReply { links, more_after } =
            link.call_bulk(fleet, W::METHOD, &query, WITHIN).await?;
        let taken = aside(fleet, move |fleet| W::of(fleet).take(fleet, links)).await;
        match taken {
            Some(Err(error)) => {
                tracing::warn!(%error, what = W::METHOD, "what another host told cannot be kept");
            }
            Some(Ok(true)) => tell(),
            Some(Ok(false)) | None => {}
        }
        match more_after {
            Some(name) if Some(&name) > query.after.as_ref() => query.after = Some(name),
            _ => break,
        }
    }
    Ok(())
}
