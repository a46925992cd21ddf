//! Messages between sessions: what clients of this host ask about them.
//!
//! A message is on the disk before whoever sent it hears so, and goes to its host in the order it was sent, again
//! and again until that host has it on its disk ([`outbox`]). What is unread, and what is on its way, are edges
//! of the graph ([`edges`]). What leaves this host has passed the redactor before it was kept, and does again
//! when it is shown. Not here: the tables, which are a part of `keep.db`.

mod edges;
mod loans;
mod notes;
mod outbox;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rrd_core::message::{Telling, told};
use rrd_proto::{
    HostState, NodeId, Refusal, Session, SessionKey, Status,
    json::is_unsafe,
    message::{
        MAX_ACKNOWLEDGED, MAX_MESSAGE, MAX_PAGE, Message, MessageCall, MessageId, MessagePage,
        MessageReply, MessageState, MessagesPush, MessagesReply, Party,
    },
    peer::Refused,
    session_ref,
};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    answers::Answers,
    desk::wait,
    fleet::{Fleet, Keep, KeepError, KeptMessage, NewMessage, NotSent, aside, keyfile},
    hub::{Hub, now},
    waits,
};
pub(crate) use edges::follow as follow_edges;
use loans::Loans;
pub(crate) use outbox::run as hand_over;

/// Whoever sends one hears that it is there, if it is by then.
const ARRIVES: Duration = Duration::from_millis(1_500);

/// Bytes of messages of one answer, at most, and one more.
const MOST_BYTES: usize = 2 << 20;

/// Messages that a hook is given to choose from.
const HOOKED: u32 = 16;

/// What has to be known of messages without looking at the disk.
#[derive(Debug)]
pub(crate) struct Messages {
    held: Mutex<Held>,
    /// Changes with whatever is kept of messages.
    changed: watch::Sender<u64>,
    /// Something is to go out.
    stirred: Notify,
}

#[derive(Debug, Default)]
struct Held {
    /// Of what this run sends; made when it first does.
    epoch: Option<u32>,
    /// Hosts that something may be on its way to.
    pending: BTreeSet<NodeId>,
    /// Why what is on its way is not there yet.
    trouble: HashMap<NodeId, String>,
    /// Sessions that a hook may have something to tell.
    unshown: HashSet<SessionKey>,
    /// What hooks are about to tell.
    loans: Loans,
}

impl Messages {
    /// As they were left.
    pub(crate) fn restored(keep: &Keep) -> Result<Self, KeepError> {
        let held = Held {
            pending: keep.hosts_with_messages()?.into_iter().collect(),
            unshown: keep.sessions_with_messages()?.into_iter().collect(),
            ..Held::default()
        };
        Ok(Self { held: Mutex::new(held), changed: watch::channel(0).0, stirred: Notify::new() })
    }

    /// Changes with whatever is kept of messages.
    pub(crate) fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    fn change(&self) {
        self.changed.send_modify(|version| *version += 1);
    }

    /// Something is on its way there.
    fn stir(&self, nodes: impl IntoIterator<Item = NodeId>) {
        self.held().pending.extend(nodes);
        self.stirred.notify_one();
    }

    fn epoch(&self) -> Result<u32, keyfile::KeyError> {
        let mut held = self.held();
        if let Some(epoch) = held.epoch {
            return Ok(epoch);
        }
        let epoch = u32::from_be_bytes(*keyfile::random::<4>()?);
        held.epoch = Some(epoch);
        Ok(epoch)
    }

    /// What a hook of this session may tell, lent to it until it is `gone`. Only who has `keep` lends. Blocks.
    fn lend(
        &self,
        keep: &mut Keep,
        state_dir: &Path,
        of: &SessionKey,
        gone: &CancellationToken,
    ) -> Result<Vec<KeptMessage>, KeepError> {
        let lent = self.held().loans.now();
        notes::take(keep, state_dir, now())?;
        let found = keep.unshown(of, HOOKED)?;
        let mut held = self.held();
        if found.is_empty() {
            held.unshown.remove(of);
        }
        Ok(held.loans.lend(found, &lent, gone))
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Does what a client asks; `gone` when it has hung up.
pub(crate) async fn answer(
    answers: &Arc<Answers>,
    call: MessageCall,
    gone: &CancellationToken,
) -> Result<MessageReply, Refusal> {
    let fleet = answers.fleet.as_ref().as_ref().map_err(|broken| {
        refusal(format!("messages cannot be kept: {}", broken.what), &broken.remedy)
    })?;
    match call {
        MessageCall::Send { from, to, text, idempotency_key } => {
            send(answers, fleet, from, &to, &text, idempotency_key).await
        }
        MessageCall::Inbox { of, all, limit, wait_ms, is_last } => {
            inbox(answers, fleet, (of, all, limit), wait_ms, is_last).await
        }
        MessageCall::One { of, id } => {
            let found = on_disk(fleet, move |fleet| fleet.keep().received_one(of.as_ref(), id));
            let found = Vec::from_iter(found.await?);
            Ok(MessageReply::Page(page(answers, fleet, found, 0)))
        }
        MessageCall::Acknowledge { of, ids } => acknowledge(fleet, of, ids).await,
        MessageCall::Sent { of, all, limit } => {
            let limit = limit.clamp(1, MAX_PAGE);
            let found = on_disk(fleet, move |fleet| fleet.keep().sent(of.as_ref(), all, limit));
            let (messages, more) = found.await?;
            Ok(MessageReply::Page(page(answers, fleet, messages, more)))
        }
        MessageCall::ForHook { of } => {
            Ok(MessageReply::ForHook(for_hook(answers, fleet, of, gone).await))
        }
        MessageCall::Shown { mut ids } => {
            ids.truncate(MAX_PAGE as usize);
            fleet.messages().held().loans.told(&ids);
            on_disk(fleet, move |fleet| fleet.keep().set_shown(&ids, now())).await?;
            fleet.messages().change();
            Ok(MessageReply::ForHook(None))
        }
    }
}

async fn send(
    answers: &Arc<Answers>,
    fleet: &Arc<Fleet>,
    from: Option<SessionKey>,
    to: &str,
    text: &str,
    idempotency_key: [u8; 16],
) -> Result<MessageReply, Refusal> {
    // Asked for again, because no answer came: its session may not even be known yet.
    let before = on_disk(fleet, move |fleet| fleet.keep().sent_once(&idempotency_key)).await?;
    if let Some(message) = before {
        let mut page = page(answers, fleet, vec![message], 0);
        return page.messages.pop().map(Box::new).map(MessageReply::Sent).ok_or_else(fault);
    }
    if text.chars().all(|c| c.is_whitespace() || is_unsafe(c)) {
        return Err(refusal(
            "there is nothing in that message".to_owned(),
            "write what it is about",
        ));
    }
    if text.len() > MAX_MESSAGE {
        let why = format!("a message has at most {MAX_MESSAGE} bytes, and this one {}", text.len());
        return Err(refusal(why, "put it into a file that the other one can read, and name that"));
    }
    let row = waits::find(answers, to).await?;
    let (node, key) = (waits::node_of(answers, &row), row.key());
    if node == fleet.node() && from.as_ref() == Some(&key) {
        return Err(refusal("a session need not write to itself".to_owned(), "name another one"));
    }
    if node != fleet.node() && !fleet.members().has(node) {
        let why = format!("{} is no member of the fleet any more", row.host);
        return Err(refusal(why, "rrd hosts tells who there is"));
    }
    let text = fleet.edges().sent(text);
    let messages = fleet.messages();
    let mut changed = messages.changed();
    let sent = aside(fleet, move |fleet| {
        let epoch = fleet.messages().epoch().map_err(|error| error.to_string())?;
        let own = (fleet.node(), epoch);
        let new = NewMessage {
            own,
            to_node: node,
            from: from.as_ref(),
            to: &key,
            text: &text,
            idempotency_key: &idempotency_key,
        };
        Ok(fleet.keep().send_message(&new, now()).map(|seq| (seq, key)))
    });
    let (seq, key) = match sent.await {
        Some(Ok(Ok(sent))) => sent,
        Some(Ok(Err(error))) => return Err(not_sent(&row, &error)),
        Some(Err(why)) => return Err(refusal(why, "rrd doctor looks into it")),
        None => return Err(fault()),
    };
    if node == fleet.node() {
        messages.held().unshown.insert(key);
    } else {
        messages.stir([node]);
    }
    messages.change();
    let deadline = Instant::now() + ARRIVES;
    loop {
        changed.mark_unchanged();
        let found = on_disk(fleet, move |fleet| fleet.keep().sent_one(seq)).await?;
        let Some(message) = found else { return Err(fault()) };
        let is_open = message.state == MessageState::Queued;
        let is_live = row.host_state == HostState::Live;
        let left = deadline.saturating_duration_since(Instant::now());
        if is_open && is_live && timeout(left, changed.changed()).await.is_ok() {
            continue;
        }
        let mut page = page(answers, fleet, vec![message], 0);
        let Some(mut message) = page.messages.pop() else { return Err(fault()) };
        if message.state == MessageState::Unread && row.status == Status::Ended {
            message.trouble = Some("that session has ended: nobody reads it as it is".to_owned());
        }
        return Ok(MessageReply::Sent(Box::new(message)));
    }
}

fn not_sent(row: &Session, error: &NotSent) -> Refusal {
    let hint = match error {
        NotSent::Full { .. } => {
            format!("rrd inbox --sent tells why {} does not take them", row.host)
        }
        NotSent::Unread { .. } => {
            format!("rrd inbox --as {} --ack-all, where they are not wanted", row.reference)
        }
        NotSent::Forgotten => "rrd sessions list shows whom one can write to".to_owned(),
        NotSent::Keep(error) => error.remedy(),
    };
    refusal(error.to_string(), &hint)
}

async fn inbox(
    answers: &Arc<Answers>,
    fleet: &Arc<Fleet>,
    (of, all, limit): (Option<SessionKey>, bool, u32),
    wait_ms: u32,
    is_last: bool,
) -> Result<MessageReply, Refusal> {
    let deadline = Instant::now() + wait(wait_ms);
    let limit = limit.clamp(1, MAX_PAGE);
    let mut changed = fleet.messages().changed();
    let mut awaiting = None;
    loop {
        changed.mark_unchanged();
        let whose = of.clone();
        let found = on_disk(fleet, move |fleet| fleet.keep().inbox(whose.as_ref(), all, limit));
        let (messages, more) = found.await?;
        let left = deadline.saturating_duration_since(Instant::now());
        if messages.is_empty() && !left.is_zero() {
            if let (Some(of), None) = (&of, &awaiting) {
                awaiting = Some(waits::answer::begin(answers, fleet, of).await);
            }
            if timeout(left, changed.changed()).await.is_ok() {
                continue;
            }
        }
        if let Some(awaiting) = awaiting.filter(|_| is_last || !messages.is_empty()) {
            awaiting.ends();
        }
        return Ok(MessageReply::Page(page(answers, fleet, messages, more)));
    }
}

async fn acknowledge(
    fleet: &Arc<Fleet>,
    of: Option<SessionKey>,
    ids: Vec<MessageId>,
) -> Result<MessageReply, Refusal> {
    if ids.len() > MAX_ACKNOWLEDGED {
        let why = format!("one call acknowledges at most {MAX_ACKNOWLEDGED} messages");
        return Err(refusal(why, "name fewer"));
    }
    let done =
        on_disk(fleet, move |fleet| fleet.keep().acknowledge(of.as_ref(), &ids, now())).await?;
    let (count, nodes) = done;
    fleet.messages().stir(nodes);
    fleet.messages().change();
    Ok(MessageReply::Acknowledged(count))
}

/// What a hook of this session tells it, where hooks may. Nothing is marked before the hook has said that it
/// told it: what does not arrive comes with the next one, before what is later.
async fn for_hook(
    answers: &Arc<Answers>,
    fleet: &Arc<Fleet>,
    of: SessionKey,
    gone: &CancellationToken,
) -> Option<(String, Vec<MessageId>)> {
    if !answers.deliver || !fleet.messages().held().unshown.contains(&of) {
        return None;
    }
    let (state_dir, gone) = (answers.health.state_dir.clone(), gone.clone());
    let lent = on_disk(fleet, move |fleet| {
        fleet.messages().lend(&mut fleet.keep(), &state_dir, &of, &gone)
    });
    let fresh = lent.await.ok()?;
    let ids: Vec<MessageId> = fresh.iter().map(|message| message.id).collect();
    let page = page(answers, fleet, fresh, 0);
    let tellings = page.messages.into_iter().map(|message| Telling {
        id: message.id.to_string(),
        host: message.from.host,
        from: message.from.reference,
        sent_at: message.sent_at,
        text: message.text,
    });
    let (text, count) = told(&tellings.collect::<Vec<_>>(), now()).unwrap_or_default();
    let (ids, left) = ids.split_at(count.min(ids.len()));
    fleet.messages().held().loans.take_back(left);
    (!ids.is_empty()).then(|| (text, ids.to_vec()))
}

/// Messages as they are shown, redacted once more; of too much the first.
fn page(answers: &Answers, fleet: &Fleet, kept: Vec<KeptMessage>, more: u64) -> MessagePage {
    let own = fleet.node();
    let members = fleet.members();
    let party = |node: NodeId, key: Option<SessionKey>| {
        let label = if node == own { Some(answers.hub.host()) } else { members.label(node) };
        let reference = key.as_ref().map(|key| session_ref(&node.to_string(), key));
        let (harness, session_id) = key.map(|key| (key.harness, key.session_id)).unzip();
        let host = label.unwrap_or_else(|| node.to_string());
        Party { host, node_id: node, reference, harness, session_id }
    };
    let trouble = |node: NodeId| fleet.messages().held().trouble.get(&node).cloned();
    let (mut messages, mut bytes, all) = (Vec::new(), 0, kept.len());
    for message in kept {
        bytes += message.text.len();
        if bytes > MOST_BYTES && !messages.is_empty() {
            break;
        }
        let KeptMessage { id, from, to_node, to, text, state, .. } = message;
        let to_node = to_node.unwrap_or(own);
        let trouble = message
            .trouble
            .or_else(|| (state == MessageState::Queued).then(|| trouble(to_node)).flatten());
        messages.push(Message {
            id,
            from: party(id.node, from),
            to: party(to_node, Some(to)),
            text,
            bytes: message.bytes,
            sent_at: message.sent_at,
            received_at: message.received_at,
            shown_at: message.shown_at,
            state,
            state_since: message.state_since,
            trouble,
        });
    }
    let left_out = (all - messages.len()) as u64;
    MessagePage { messages: answers.edges.messages(messages), more: more + left_out }
}

/// Sessions were forgotten: whoever wrote to them is to know.
pub(crate) async fn forgot(fleet: &Arc<Fleet>) {
    match aside(fleet, |fleet| fleet.keep().hosts_with_messages()).await {
        Some(Ok(nodes)) => fleet.messages().stir(nodes),
        Some(Err(error)) => tracing::warn!(%error, "messages cannot be read"),
        None => {}
    }
    fleet.messages().change();
}

/// Takes what a member hands over.
pub(crate) async fn take(
    fleet: &Arc<Fleet>,
    hub: &Arc<Hub>,
    node: NodeId,
    push: MessagesPush,
) -> Result<MessagesReply, Refused> {
    let offset_ms = hub.others().map_or(0, |others| others.offset_of(node));
    let hub = Arc::clone(hub);
    let taken = aside(fleet, move |fleet| {
        // Before every root was looked through nobody knows who is not there.
        let knows = |key: &SessionKey| match hub.row(key).is_some() {
            true => Some(true),
            false => hub.is_surveyed().then_some(false),
        };
        let handed = fleet.keep().take_messages(node, offset_ms, &push, &knows, now())?;
        let messages = fleet.messages();
        let fresh = push.messages.into_iter().map(|message| message.to);
        messages.held().unshown.extend(fresh.filter(|key| hub.row(key).is_some()));
        messages.change();
        Ok::<_, KeepError>(MessagesReply { handed })
    });
    let fault = || Refused::new("failed", "that failed inside its daemon");
    taken.await.ok_or_else(fault)?.map_err(|error| {
        tracing::warn!(%error, "messages of another host cannot be kept");
        Refused::new("failed", error.to_sender())
    })
}

async fn on_disk<T: Send + 'static>(
    fleet: &Arc<Fleet>,
    work: impl FnOnce(&Fleet) -> Result<T, KeepError> + Send + 'static,
) -> Result<T, Refusal> {
    let done = aside(fleet, work).await.ok_or_else(fault)?;
    done.map_err(|error| refusal(format!("messages cannot be kept: {error}"), &error.remedy()))
}

fn fault() -> Refusal {
    refusal("that failed inside the daemon".to_owned(), "rrd doctor looks into it")
}

fn refusal(message: String, hint: &str) -> Refusal {
    Refusal { message, facts: Vec::new(), hint: Some(hint.to_owned()) }
}
