//! Which sessions are bound to which: what is asked for here, how it is answered, and what other hosts said.
//!
//! What another host asks for may be answered on any. Not here: how a binding stands ([`rrd_core::binding`]), and
//! how words come from other hosts ([`crate::register`]).

use std::collections::{BTreeSet, HashMap};

use rrd_core::{
    binding::{self, End, MOST_OF_ONE, MOST_OPEN, Request, Said, Standing},
    register::{Register, sign},
};
use rrd_proto::{
    Edge, NodeId, Refusal, Session, Timestamp,
    binding::{
        BindCall, Binding, BindingDeed, BindingEnd, BindingState, BindingStep, MAX_NOTE, Scope,
        is_note,
    },
};

use crate::{
    answers::Answers,
    fleet::{Fleet, KeepError, aside},
    gossip::Gossip,
    hub::{Hub, now},
    register::{Counts, Held, Shared},
    waits,
};

/// All that was said.
#[derive(Debug)]
pub(crate) struct Bindings {
    pub(crate) words: Held<Said>,
}

impl Shared for Said {
    const TABLE: &'static str = "binding_words";
    const NAME: &'static str = "binding";
    const METHOD: &'static str = "bindings";

    fn of(fleet: &Fleet) -> &Held<Self> {
        &fleet.bindings().words
    }

    fn digests(gossip: &Gossip) -> Vec<(NodeId, u64)> {
        gossip.digests(|word| word.bindings)
    }

    fn is_past(
        register: &Register<Self>,
        name: &str,
        counts: impl Fn(NodeId) -> bool,
        now: Timestamp,
    ) -> bool {
        let standing = standing(register, name, counts, now);
        let all = register.words(name, |_| true).map(|(said, _)| said);
        binding::is_past(all, standing.as_ref(), now)
    }
}

fn standing<'r>(
    register: &'r Register<Said>,
    name: &str,
    counts: impl Fn(NodeId) -> bool + 'r,
    now: Timestamp,
) -> Option<Standing<'r>> {
    Standing::of(register.words(name, counts).rev().map(|(said, _)| said), now)
}

/// Every binding that is told, by its id.
fn all<'r>(
    register: &'r Register<Said>,
    counts: &'r Counts,
    now: Timestamp,
) -> impl Iterator<Item = (&'r str, Standing<'r>)> {
    register.names(None).filter_map(move |id| {
        let standing = standing(register, id, |node| counts.has(node), now)?;
        (!standing.is_past(now)).then_some((id, standing))
    })
}

impl Bindings {
    /// As they were kept.
    pub(crate) fn restored(texts: Vec<String>) -> Self {
        Self { words: Held::restored(texts) }
    }

    /// All that are told, as edges of the graph.
    pub(crate) fn edges(&self, fleet: &Fleet, hub: &Hub) -> Vec<Edge> {
        let counts = Counts::of(fleet);
        let register = &self.words.known().register;
        all(register, &counts, now())
            .map(|(id, standing)| standing.edge(id, |node| offset_ms(hub, node)))
            .collect()
    }

    /// The refs of all sessions that are tied by one that holds, or that nobody has answered.
    pub(crate) fn ends(&self, fleet: &Fleet) -> Vec<String> {
        let counts = Counts::of(fleet);
        let register = &self.words.known().register;
        let is_open = |standing: &Standing<'_>| {
            matches!(standing.state, BindingState::Pending | BindingState::Active)
        };
        let open = all(register, &counts, now()).map(|(_, standing)| standing).filter(is_open);
        open.flat_map(|Standing { request, .. }| [request.from.reference(), request.to.reference()])
            .collect()
    }

    /// The one that begins so.
    fn find(&self, fleet: &Fleet, typed: &str) -> Result<String, Refusal> {
        let counts = Counts::of(fleet);
        let register = &self.words.known().register;
        let begins = |(id, _): &(&str, _)| !typed.is_empty() && id.starts_with(typed);
        let found: Vec<_> = all(register, &counts, now()).filter(begins).collect();
        match &*found {
            [] => {
                let why = format!("no binding begins with {typed:?}");
                Err(refusal(why, "rrd bind list shows every id"))
            }
            [(id, _)] => Ok((*id).to_owned()),
            // One that is the start of another.
            several => match several.iter().find(|(id, _)| *id == typed) {
                Some((id, _)) => Ok((*id).to_owned()),
                None => Err(Refusal {
                    message: format!("{} bindings begin with {typed:?}", several.len()),
                    facts: several.iter().take(5).map(|(id, _)| (*id).to_owned()).collect(),
                    hint: Some("write more of the id".to_owned()),
                }),
            },
        }
    }

    /// One session asks another; durable when it returns. Blocks.
    fn request(&self, fleet: &Fleet, request: Request) -> Result<String, Refusal> {
        let counts = Counts::of(fleet);
        let mut keep = fleet.keep();
        let now = now();
        let id = {
            let register = &self.words.known().register;
            may(register, &counts, &request, now)?;
            let free = |id: &String| register.names(None).all(|known| known != id);
            std::iter::repeat_with(new_id).take(8).flatten().find(free)
        };
        let id =
            id.ok_or_else(|| refusal("there is no random number to be had".to_owned(), DOCTOR))?;
        let said = Said {
            binding: id.clone(),
            counter: 1,
            node: counts.own(),
            at: now,
            deed: BindingDeed::Request,
            request: Some(request),
        };
        let text = sign(&fleet.identity(), &said).ok_or_else(|| {
            let why = "those sessions' names are none that other hosts would take".to_owned();
            refusal(why, "rrd sessions list shows every id")
        })?;
        self.words.merge(&counts, &mut keep, vec![(said, text)]).map_err(unkept)?;
        Ok(id)
    }

    /// Answers one, or takes it back; durable when it returns. Blocks.
    fn decide(&self, fleet: &Fleet, id: &str, deed: BindingDeed) -> Result<(), Refusal> {
        let counts = Counts::of(fleet);
        let mut keep = fleet.keep();
        let now = now();
        let counter = {
            let register = &self.words.known().register;
            let standing = standing(register, id, |node| counts.has(node), now);
            let standing = standing.ok_or_else(|| {
                refusal(
                    format!("there is no binding {id} any more"),
                    "rrd bind list shows every id",
                )
            })?;
            if standing.after(deed).is_none() {
                return Err(unfit(id, &standing, deed));
            }
            register.next(id).ok_or_else(|| {
                refusal("it was answered as often as can be".to_owned(), "ask for another one")
            })?
        };
        let binding = id.to_owned();
        let said = Said { binding, counter, node: counts.own(), at: now, deed, request: None };
        let text = sign(&fleet.identity(), &said)
            .ok_or_else(|| refusal("that cannot be written".to_owned(), DOCTOR))?;
        self.words.merge(&counts, &mut keep, vec![(said, text)]).map_err(unkept)?;
        Ok(())
    }

    /// Those of these ids that are told, or all; the ones that need an answer first, then the latest.
    fn told(&self, fleet: &Fleet, hub: &Hub, only: Option<&str>) -> Vec<Binding> {
        let counts = Counts::of(fleet);
        let now = now();
        let known = self.words.known();
        let standings: Vec<_> = all(&known.register, &counts, now)
            .filter(|(id, _)| only.is_none_or(|only| only == *id))
            .collect();
        let ends = standings.iter().flat_map(|(_, s)| [&s.request.from, &s.request.to]);
        let refs: Vec<String> = ends.map(End::reference).collect();
        let refs: BTreeSet<&str> = refs.iter().map(String::as_str).collect();
        let rows: HashMap<String, Session> =
            hub.called(&refs).into_iter().map(|row| (row.reference.clone(), row)).collect();
        let end = |end: &End| {
            let reference = end.reference();
            let row = rows.get(&reference).filter(|row| row.key() == end.key);
            BindingEnd {
                host: row.map(|row| row.host.clone()).or_else(|| counts.label(fleet, end.node)),
                title: row.and_then(|row| row.title.clone()),
                reference,
                node_id: end.node,
                harness: end.key.harness.clone(),
                session_id: end.key.session_id.clone(),
            }
        };
        let step = |said: &&Said| BindingStep {
            what: said.deed,
            at: said.at.plus(offset_ms(hub, said.node)),
            node_id: said.node,
            host: counts.label(fleet, said.node),
        };
        let tell = |(id, standing): &(&str, Standing<'_>)| Binding {
            id: (*id).to_owned(),
            state: standing.state,
            since: standing.since_here(|node| offset_ms(hub, node)),
            from: end(&standing.request.from),
            to: end(&standing.request.to),
            scopes: standing.request.scopes.clone(),
            note: standing.request.note.clone(),
            expires_at: (standing.state == BindingState::Pending).then(|| {
                let asked = standing.steps.first();
                standing.expires_at.plus(asked.map_or(0, |said| offset_ms(hub, said.node)))
            }),
            history: standing.steps.iter().map(step).collect(),
        };
        let mut told: Vec<Binding> = standings.iter().map(tell).collect();
        told.sort_by(|a, b| (a.state, b.since, &a.id).cmp(&(b.state, a.since, &b.id)));
        told
    }
}

/// What to add to that host's times to show them by this one's clock.
fn offset_ms(hub: &Hub, node: NodeId) -> i64 {
    hub.others().map_or(0, |others| others.offset_of(node))
}

/// Four random bytes.
fn new_id() -> Option<String> {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes).ok()?;
    Some(format!("{:08x}", u32::from_be_bytes(bytes)))
}

/// Whether one more may be asked for.
fn may(
    register: &Register<Said>,
    counts: &Counts,
    request: &Request,
    now: Timestamp,
) -> Result<(), Refusal> {
    let open: Vec<_> = all(register, counts, now).filter(|(_, s)| s.is_open()).collect();
    let is_same = |standing: &Standing<'_>| {
        let known = standing.request;
        (&known.from, &known.to, &known.scopes) == (&request.from, &request.to, &request.scopes)
    };
    if let Some((id, standing)) = open.iter().find(|(_, standing)| is_same(standing)) {
        let why = format!("that is {} already: {id}", standing.state);
        return Err(refusal(why, &format!("rrd bind show {id} tells of it")));
    }
    if open.len() >= MOST_OPEN {
        let why = format!("{MOST_OPEN} bindings are pending or active already");
        return Err(refusal(why, "rrd bind list shows them; rrd bind revoke ID ends one"));
    }
    for end in [&request.from, &request.to] {
        if open.iter().filter(|(_, standing)| standing.is_of(end)).count() >= MOST_OF_ONE {
            let why = format!("{} has {MOST_OF_ONE} bindings that are pending or active", end.key);
            return Err(refusal(why, "rrd bind list shows them; rrd bind revoke ID ends one"));
        }
    }
    Ok(())
}

/// Why that cannot be done with it any more.
fn unfit(id: &str, standing: &Standing<'_>, deed: BindingDeed) -> Refusal {
    let is = match standing.state {
        BindingState::Pending => "pending",
        BindingState::Active => "active already",
        BindingState::Inactive => "revoked",
        BindingState::Rejected => "rejected",
        BindingState::Expired => "expired: nobody answered it within a day",
    };
    let hint = match (standing.state, deed) {
        (BindingState::Active, BindingDeed::Reject) => format!("rrd bind revoke {id} ends it"),
        (BindingState::Active, _) => format!("rrd bind show {id} tells who agreed"),
        _ => "rrd bind request asks anew".to_owned(),
    };
    refusal(format!("{id} is {is}"), &hint)
}

const DOCTOR: &str = "rrd doctor looks into it";

fn unkept(error: KeepError) -> Refusal {
    refusal(format!("it cannot be written down: {error}"), &error.remedy())
}

fn refusal(message: String, hint: &str) -> Refusal {
    Refusal { message, facts: Vec::new(), hint: Some(hint.to_owned()) }
}

/// A session as other hosts know it.
async fn end(answers: &Answers, typed: &str) -> Result<End, Refusal> {
    let row = waits::find(answers, typed).await?;
    Ok(End { node: waits::node_of(answers, &row), key: row.key() })
}

async fn request(
    answers: &Answers,
    (from, to): (String, String),
    mut scopes: Vec<Scope>,
    note: Option<String>,
) -> Result<Request, Refusal> {
    scopes.sort_unstable();
    scopes.dedup();
    if scopes.is_empty() {
        let known = Scope::ALL.map(Scope::as_str).join(", ");
        return Err(refusal("nothing is asked for".to_owned(), &format!("--scope is {known}")));
    }
    let note = note.map(|note| answers.edges.kept(&note));
    if note.as_deref().is_some_and(|note| !is_note(note)) {
        let why = format!("a note is one line that can be shown, of at most {MAX_NOTE} bytes");
        return Err(refusal(why, "say more in a message"));
    }
    let request =
        Request { from: end(answers, &from).await?, to: end(answers, &to).await?, scopes, note };
    if request.from == request.to {
        return Err(refusal("a session cannot be bound to itself".to_owned(), "name another one"));
    }
    Ok(request)
}

/// Does what is asked.
pub(crate) async fn answer(answers: &Answers, call: BindCall) -> Result<Vec<Binding>, Refusal> {
    let fleet = answers.fleet.as_ref().as_ref().map_err(|broken| {
        let hint = broken.remedy.clone();
        Refusal {
            hint: Some(hint),
            ..refusal(format!("bindings cannot be kept: {}", broken.what), "")
        }
    })?;
    let fault = || refusal("that failed inside the daemon".to_owned(), DOCTOR);
    let changes = matches!(call, BindCall::Request { .. } | BindCall::Decide { .. });
    let asked = match &call {
        BindCall::Request { from, to, scopes, note } => {
            let ends = (from.clone(), to.clone());
            Some(request(answers, ends, scopes.clone(), note.clone()).await?)
        }
        _ => None,
    };
    let done = aside(fleet, move |fleet| {
        let bindings = fleet.bindings();
        match (call, asked) {
            (BindCall::Request { .. }, Some(asked)) => bindings.request(fleet, asked).map(Some),
            (BindCall::Decide { id, deed }, _) => {
                let id = bindings.find(fleet, &id)?;
                bindings.decide(fleet, &id, deed).map(|()| Some(id))
            }
            (BindCall::Show { id }, _) => bindings.find(fleet, &id).map(Some),
            (BindCall::List | BindCall::Request { .. }, _) => Ok(None),
        }
    });
    let only = done.await.unwrap_or_else(|| Err(fault()))?;
    if changes {
        answers.hub.besides_changed();
    }
    let told = fleet.bindings().told(fleet, &answers.hub, only.as_deref());
    Ok(answers.edges.bindings(told))
}

#[cfg(test)]
mod tests;
