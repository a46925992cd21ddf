//! Which session works on which task: links made here, by people and by hooks, and those of other hosts.
//!
//! Not here: which of several links counts ([`rrd_core::task`]), and how they come from other hosts
//! ([`crate::register`]).

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rrd_core::{register::sign, task::Link};
use rrd_proto::{NodeId, Refusal, SessionKey, Task, TaskCall, TaskLink, is_task};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{
    edge::Edges,
    fleet::{Broken, Fleet, KeepError, aside},
    gossip::Gossip,
    hub::now,
    register::{Counts, Held, Shared},
};

/// What hooks say that is remembered to be done, at most.
const MOST_SAID: usize = 4_096;

/// The register, and what hooks said that is not in it yet.
#[derive(Debug)]
pub(crate) struct Tasks {
    pub(crate) links: Held<Link>,
    said: Mutex<Said>,
    stirred: Notify,
}

impl Shared for Link {
    const TABLE: &'static str = "task_links";
    const NAME: &'static str = "task";
    const METHOD: &'static str = "tasks";

    fn of(fleet: &Fleet) -> &Held<Self> {
        &fleet.tasks().links
    }

    fn digests(gossip: &Gossip) -> Vec<(NodeId, u64)> {
        gossip.digests(|word| word.tasks)
    }
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
    /// As they were kept.
    pub(crate) fn restored(texts: Vec<String>) -> Self {
        Self { links: Held::restored(texts), said: Mutex::default(), stirred: Notify::new() }
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
        let counter = self.links.known().register.next(task).ok_or(NotLinked::Full)?;
        let (task, node) = (task.to_owned(), identity.node());
        let link = Link { task, counter, node, at: now(), session };
        let text = sign(&identity, &link).ok_or(NotLinked::NoSession)?;
        self.links.merge(&Counts::of(fleet), &mut keep, vec![(link, text)])?;
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
            let known =
                self.links.known().register.words(&task, |_| true).any(|(link, _)| is_known(link));
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
        let counts = Counts::of(fleet);
        let register = &self.links.known().register;
        let links = register
            .names(None)
            .filter_map(|task| register.words(task, |node| counts.has(node)).next());
        let mut found: Vec<&Link> = links
            .map(|(link, _)| link)
            .filter(|link| link.session.as_ref() == Some(session))
            .collect();
        found.sort_by_key(|link| std::cmp::Reverse(link.at));
        found.into_iter().map(|link| link.task.clone()).collect()
    }

    /// A task as it is told.
    fn show(&self, fleet: &Fleet, task: &str) -> Option<Task> {
        let counts = Counts::of(fleet);
        let held = self.links.known();
        let told = |(link, _): (&Link, &str)| {
            let (harness, session_id) =
                link.session.clone().map(|key| (key.harness, key.session_id)).unzip();
            TaskLink {
                harness,
                session_id,
                counter: link.counter,
                node_id: link.node,
                host: counts.label(fleet, link.node),
                linked_at: link.at,
            }
        };
        let mut links = held.register.words(task, |node| counts.has(node)).map(told);
        let link = links.next()?;
        Some(Task { task: task.to_owned(), link, history: links.collect() })
    }

    fn list(&self, fleet: &Fleet) -> Vec<Task> {
        let names: Vec<String> =
            self.links.known().register.names(None).map(str::to_owned).collect();
        names.iter().filter_map(|task| self.show(fleet, task)).collect()
    }

    fn waiting(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
