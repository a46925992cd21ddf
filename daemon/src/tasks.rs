//! Which session works on which task: links made here, and those that other hosts made.
//!
//! In memory is what is in `keep.db`. Gossip tells a digest of what a host knows; whoever knows something
//! else asks it for the links of those tasks, so a host that was away has them from the first one it meets.
//! Links of members count, and of those who left by themselves; whoever was dropped may sign on. Not here:
//! which of several links counts ([`rrd_core::task`]).

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::future::join_all;
use rrd_core::{
    fleet::{identity::SigningPublic, members::Members},
    task::{self, Link, Register},
};
use rrd_proto::{
    NodeId, Refusal, SessionKey, Task, TaskCall, TaskLink, is_task,
    peer_calls::{TasksQuery, TasksReply},
};
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    edge::Edges,
    fleet::{Broken, Fleet, Keep, KeepError, LinkError, aside},
    gossip::Gossip,
    hub::now,
};

/// Changes that come together are looked at together.
const APART: Duration = Duration::from_millis(100);

/// What a host may take to tell.
const WITHIN: Duration = Duration::from_secs(5);

/// A host that could not tell is asked again.
const AGAIN: Duration = Duration::from_secs(2);

/// Bytes of one answer, and some more: the links of a task are told together.
const PAGE: usize = 1 << 20;

/// Answers of one host in a row, at most: more than its tasks can fill.
const PAGES: usize = 64;

/// What hooks say that is remembered to be done, at most.
const MOST_SAID: usize = 4_096;

/// The register, and what hooks said that is not in it yet.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    held: Mutex<Held>,
    said: Mutex<Said>,
    stirred: Notify,
}

#[derive(Debug, Default)]
struct Held {
    register: Register,
    /// Of the register, as long as these are the members.
    digest: Option<(Arc<Members>, NodeId, u64)>,
}

#[derive(Debug, Default)]
struct Said {
    waiting: Vec<(String, SessionKey)>,
    /// So that each is looked at once in a run.
    known: HashSet<(String, SessionKey)>,
}

/// Why a task cannot be linked.
#[derive(Debug, thiserror::Error)]
enum NotLinked {
    #[error("that is no name for a task")]
    NoName,
    #[error("that name holds something secret, and other hosts are told of it")]
    Secret,
    #[error("that session's name is none that other hosts would take")]
    NoSession,
    #[error("it was linked as often as can be")]
    Full,
    #[error("it cannot be written down: {0}")]
    Keep(#[from] KeepError),
}

impl NotLinked {
    fn hint(&self) -> String {
        match self {
            Self::NoName => {
                "a task is called by one printable line of at most 128 bytes".to_owned()
            }
            Self::Secret => "name it by the ticket's number, or the job's name".to_owned(),
            Self::NoSession => "rrd sessions list shows every id".to_owned(),
            Self::Full => "begin another task".to_owned(),
            Self::Keep(error) => error.remedy(),
        }
    }
}

impl Tasks {
    /// As they were kept; what cannot be read is passed by.
    pub(crate) fn restored(texts: Vec<String>) -> Self {
        let mut register = Register::default();
        for text in texts {
            if let Some(link) = task::kept(&text) {
                register.merge(link, text);
            }
        }
        Self { held: Mutex::new(Held { register, digest: None }), ..Self::default() }
    }

    /// Another fleet's are none of this host's.
    pub(crate) fn forget(&self) {
        *self.held() = Held::default();
    }

    /// A number for all that this host tells; 0 where that is nothing.
    pub(crate) fn digest(&self, fleet: &Fleet) -> u64 {
        let (members, own) = (fleet.members(), fleet.node());
        let mut held = self.held();
        if let Some((known, node, digest)) = &held.digest
            && Arc::ptr_eq(known, &members)
            && *node == own
        {
            return *digest;
        }
        let digest = held.register.digest_of_all(|node| counts(&members, own, node));
        held.digest = Some((members, own, digest));
        digest
    }

    /// Tells another host what it does not know.
    pub(crate) fn tell(&self, fleet: &Fleet, query: &TasksQuery) -> TasksReply {
        let (members, own) = (fleet.members(), fleet.node());
        let counted = |node| counts(&members, own, node);
        let held = self.held();
        let (mut reply, mut bytes) = (TasksReply::default(), 0);
        for task in held.register.names(query.after.as_deref()) {
            if query.known.get(task).copied().unwrap_or(0) == held.register.digest(task, counted) {
                continue;
            }
            for (_, text) in held.register.links(task, counted) {
                bytes += text.len();
                reply.links.push(text.to_owned());
            }
            if bytes >= PAGE {
                reply.more_after = Some(task.to_owned());
                break;
            }
        }
        reply
    }

    /// What is known of each task, as a question.
    fn known(&self, fleet: &Fleet) -> BTreeMap<String, u64> {
        let (members, own) = (fleet.members(), fleet.node());
        let register = &self.held().register;
        let digest = |task: &str| register.digest(task, |node| counts(&members, own, node));
        register.names(None).map(|task| (task.to_owned(), digest(task))).collect()
    }

    /// Takes links that another host told. Blocks.
    fn take(&self, fleet: &Fleet, texts: Vec<String>) -> Result<(), KeepError> {
        let (members, own) = (fleet.members(), fleet.node());
        let key = |node| {
            // One's own come back when one's disk was lost, or was put back from a backup.
            if node == own { Some(fleet.identity().public()) } else { signing(&members, node) }
        };
        let read = |text: String| Some((task::read(&text, key)?, text));
        let links = texts.into_iter().filter_map(read).collect();
        self.merge(&mut fleet.keep(), links)
    }

    /// With `keep` held from the first look to the end: what is on the disk is what is in memory.
    fn merge(&self, keep: &mut Keep, links: Vec<(Link, String)>) -> Result<(), KeepError> {
        let mut register = self.held().register.clone();
        let mut changed = BTreeSet::new();
        for (link, text) in links {
            changed.extend(register.merge(link, text));
        }
        if !changed.is_empty() {
            keep.set_task_links(&register, &changed)?;
            *self.held() = Held { register, digest: None };
        }
        Ok(())
    }

    /// Links a task, after all that this host knows of it; durable when it returns. Blocks.
    fn link(
        &self,
        fleet: &Fleet,
        task: &str,
        session: Option<SessionKey>,
    ) -> Result<(), NotLinked> {
        if !is_task(task) {
            return Err(NotLinked::NoName);
        }
        if fleet.edges().kept(task) != task {
            return Err(NotLinked::Secret);
        }
        let identity = fleet.identity();
        let mut keep = fleet.keep();
        let counter = self.held().register.next(task).ok_or(NotLinked::Full)?;
        let (task, node) = (task.to_owned(), identity.node());
        let link = Link { task, counter, node, at: now(), session };
        let text = task::sign(&identity, &link).ok_or(NotLinked::NoSession)?;
        self.merge(&mut keep, vec![(link, text)])?;
        Ok(())
    }

    /// A hook of this session has named a task: links them, but only once, so that a session that others took
    /// over from does not take the task back. In microseconds: a harness waits.
    pub(crate) fn said(&self, task: &str, session: &SessionKey) {
        if !is_task(task) {
            return;
        }
        let mut said = self.waiting();
        let what = (task.to_owned(), session.clone());
        if said.known.contains(&what) || said.waiting.len() >= MOST_SAID {
            return;
        }
        if said.known.len() >= MOST_SAID {
            said.known.clear();
        }
        said.known.insert(what.clone());
        said.waiting.push(what);
        drop(said);
        self.stirred.notify_one();
    }

    /// Does what hooks said. Blocks.
    fn do_said(&self, fleet: &Fleet) {
        let waiting = std::mem::take(&mut self.waiting().waiting);
        for (task, session) in waiting {
            let is_known = |link: &Link| link.session.as_ref() == Some(&session);
            let known = self.held().register.links(&task, |_| true).any(|(link, _)| is_known(link));
            if known {
                continue;
            }
            if let Err(error) = self.link(fleet, &task, Some(session.clone())) {
                // Not the name: it may be secret.
                tracing::warn!(%error, "a task that a hook named is not linked");
                if matches!(error, NotLinked::Keep(_)) {
                    // The next call may find room on the disk.
                    self.waiting().known.remove(&(task, session));
                }
            }
        }
    }

    /// The tasks that a session works on, the one that was linked last first.
    pub(crate) fn of(&self, fleet: &Fleet, session: &SessionKey) -> Vec<String> {
        let (members, own) = (fleet.members(), fleet.node());
        let register = &self.held().register;
        let links = register
            .names(None)
            .filter_map(|task| register.links(task, |node| counts(&members, own, node)).next());
        let mut found: Vec<&Link> = links
            .map(|(link, _)| link)
            .filter(|link| link.session.as_ref() == Some(session))
            .collect();
        found.sort_by_key(|link| std::cmp::Reverse(link.at));
        found.into_iter().map(|link| link.task.clone()).collect()
    }

    /// A task as it is told.
    fn show(&self, fleet: &Fleet, task: &str) -> Option<Task> {
        let (members, own) = (fleet.members(), fleet.node());
        let held = self.held();
        let told = |(link, _): (&Link, &str)| {
            let (harness, session_id) =
                link.session.clone().map(|key| (key.harness, key.session_id)).unzip();
            let label = members.label(link.node);
            TaskLink {
                harness,
                session_id,
                counter: link.counter,
                node_id: link.node,
                host: label.or_else(|| (link.node == own).then(|| fleet.label().to_owned())),
                linked_at: link.at,
            }
        };
        let mut links = held.register.links(task, |node| counts(&members, own, node)).map(told);
        let link = links.next()?;
        Some(Task { task: task.to_owned(), link, history: links.collect() })
    }

    fn list(&self, fleet: &Fleet) -> Vec<Task> {
        let names: Vec<String> = self.held().register.names(None).map(str::to_owned).collect();
        names.iter().filter_map(|task| self.show(fleet, task)).collect()
    }

    fn waiting(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn counts(members: &Members, own: NodeId, node: NodeId) -> bool {
    node == own || members.has(node) || members.left(node)
}

/// The key of one whose links count.
fn signing(members: &Members, node: NodeId) -> Option<SigningPublic> {
    let stands = members.has(node) || members.left(node);
    members.get(node).filter(|_| stands).map(|member| member.signing)
}

/// Does what is asked.
pub(crate) async fn answer(
    fleet: &Arc<Result<Arc<Fleet>, Broken>>,
    edges: &Edges,
    call: TaskCall,
) -> Result<Vec<Task>, Refusal> {
    let fleet = fleet.as_ref().as_ref().map_err(|broken| {
        refusal(format!("tasks cannot be kept: {}", broken.what), broken.remedy.clone())
    })?;
    let done = aside(fleet, move |fleet| {
        let tasks = fleet.tasks();
        let (task, linked) = match call {
            TaskCall::List => return Ok(tasks.list(fleet)),
            TaskCall::Show { task } => (task, Ok(())),
            TaskCall::Link { task, key } => {
                let linked = tasks.link(fleet, &task, Some(key));
                (task, linked)
            }
            TaskCall::Unlink { task } => {
                let linked = match tasks.show(fleet, &task) {
                    Some(Task { link, .. }) if link.session_id.is_some() => {
                        tasks.link(fleet, &task, None)
                    }
                    _ => Ok(()),
                };
                (task, linked)
            }
        };
        linked.map_err(|error| refusal(error.to_string(), error.hint()))?;
        let shown = tasks.show(fleet, &task);
        let shown = shown.ok_or_else(|| {
            refusal(
                "no such task was ever linked".to_owned(),
                "rrd task list shows them".to_owned(),
            )
        })?;
        Ok(vec![shown])
    });
    let fault = || {
        refusal("that failed inside the daemon".to_owned(), "rrd doctor looks into it".to_owned())
    };
    Ok(edges.tasks(done.await.unwrap_or_else(|| Err(fault()))?))
}

fn refusal(message: String, hint: String) -> Refusal {
    Refusal { message, facts: Vec::new(), hint: Some(hint) }
}

/// Links what hooks name, until it is stopped.
pub(crate) async fn follow_hooks(fleet: Arc<Fleet>, stop: CancellationToken) {
    loop {
        // Before that, so that what came until then is done.
        aside(&fleet, |fleet| fleet.tasks().do_said(fleet)).await;
        if stop.run_until_cancelled(fleet.tasks().stirred.notified()).await.is_none() {
            return;
        }
    }
}

/// Fetches links from whoever knows something else. Runs until it is dropped.
pub(crate) async fn follow(fleet: Arc<Fleet>, gossip: Arc<Gossip>) {
    let mut changed = gossip.changed();
    // All that a host knew when it told this digest is known here, too. Digests that are older than this
    // host's are most of those that differ: nobody is asked for them.
    let mut has: HashMap<NodeId, u64> = HashMap::new();
    let mut members = fleet.members();
    loop {
        changed.mark_unchanged();
        if !Arc::ptr_eq(&members, &fleet.members()) {
            // Whose links count is another matter now.
            members = fleet.members();
            has.clear();
        }
        let own = fleet.tasks().digest(&fleet);
        let mut due = Vec::new();
        for (node, digest) in gossip.tasks() {
            if digest == own || digest == 0 {
                has.insert(node, digest);
            } else if has.get(&node) != Some(&digest) {
                due.push((node, digest));
            }
        }
        let asked = due.into_iter().map(|(node, digest)| {
            let fleet = &fleet;
            async move { (node, digest, timeout(WITHIN, fetch(fleet, node)).await) }
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

/// All that a host knows of tasks, and this one does not.
async fn fetch(fleet: &Arc<Fleet>, node: NodeId) -> Result<(), LinkError> {
    let mut query = TasksQuery { known: fleet.tasks().known(fleet), after: None };
    for _ in 0..PAGES {
        let link = fleet.link(node);
        let TasksReply { links, more_after } =
            link.call_bulk(fleet, "tasks", &query, WITHIN).await?;
        let taken = aside(fleet, move |fleet| fleet.tasks().take(fleet, links)).await;
        if let Some(Err(error)) = taken {
            tracing::warn!(%error, "links of tasks cannot be kept");
        }
        match more_after {
            Some(task) if Some(&task) > query.after.as_ref() => query.after = Some(task),
            _ => break,
        }
    }
    Ok(())
}
