//! What there is to be told, whichever door the question comes through: the local socket, or HTTP.
//!
//! Answers come from the desk, and of other hosts from them; each has passed the redactor when it leaves
//! here. Not here: who may ask, and how answers are written.

use std::{collections::HashMap, sync::Arc};

use rrd_proto::{
    EventPage, EventQuery, Forgotten, Host, HostState, ListQuery, ListReply, Lookup, LookupQuery,
    NodeId, Outline, OutlineQuery, PartStatus, Refusal, SearchQuery, SearchReply, Session,
    Timestamp, VERSION,
};

use crate::{
    desk::Desk,
    edge::Edges,
    fleet::{Broken, Fleet},
    forget,
    gossip::Gossip,
    graphs::Graphs,
    health::Health,
    hooks::Hooks,
    hub::{Hub, now},
    messages,
    mirror::{self, Mirror},
    notices::Notices,
    others::{self, Asked},
    waits::Waits,
};

/// Everything that answers.
pub(crate) struct Answers {
    pub(crate) hub: Arc<Hub>,
    pub(crate) health: Arc<Health>,
    pub(crate) hooks: Arc<Hooks>,
    pub(crate) edges: Arc<Edges>,
    pub(crate) desk: Arc<Desk>,
    pub(crate) fleet: Arc<Result<Arc<Fleet>, Broken>>,
    pub(crate) mirror: Arc<Mirror>,
    pub(crate) waits: Waits,
    pub(crate) graphs: Arc<Graphs>,
    pub(crate) notices: Arc<Notices>,
    /// Whether hooks may tell sessions of their messages.
    pub(crate) deliver: bool,
}

impl Answers {
    /// The fleet, while this host takes part in one.
    pub(crate) fn others(&self) -> Option<(&Arc<Fleet>, Arc<Gossip>)> {
        Some((self.fleet.as_ref().as_ref().ok()?, self.hub.others()?))
    }

    /// Sessions that match, of every host.
    pub(crate) async fn list(&self, query: &ListQuery) -> ListReply {
        let _looking = self.desk.look().await;
        let asked = match self.others() {
            Some((fleet, gossip)) if others::is_about_the_past(query) => {
                others::rows(fleet, &gossip, query).await
            }
            _ => Asked::default(),
        };
        let mut reply = self.hub.list_with(query, asked);
        if let Ok(fleet) = &*self.fleet {
            let members = fleet.members();
            reply.duplicated =
                fleet.twins().into_iter().filter_map(|node| members.label(node)).collect();
        }
        let mut reply = self.edges.list(reply, query.raw);
        self.graphs.first(&mut reply.sessions, query);
        reply
    }

    /// Sessions of this host that run in one of these processes: what is not asked for costs nothing, for every
    /// command that a session runs asks this.
    pub(crate) async fn running(&self, pids: &[u32]) -> Vec<Session> {
        let _looking = self.desk.look().await;
        self.edges.rows(self.hub.running_here(pids))
    }

    /// One session by what a person typed, wherever it is.
    pub(crate) async fn show(&self, query: &LookupQuery) -> Lookup {
        let _looking = self.desk.look().await;
        let mut lookup = self.hub.lookup(&query.id);
        if let Some((fleet, gossip)) = self.others() {
            lookup = others::look_up(fleet, &gossip, lookup, &query.id).await;
        }
        let mut lookup = self.edges.lookup(lookup, query.raw);
        if let Lookup::Found(row) = &mut lookup {
            self.graphs.chained(row);
        }
        lookup
    }

    /// Events of one session; refused where its host cannot be asked.
    pub(crate) async fn events(&self, query: &EventQuery) -> Result<EventPage, Refusal> {
        let own = self.fleet.as_ref().as_ref().ok().map(|fleet| fleet.node());
        let page = match (query.node.filter(|node| Some(*node) != own), self.others()) {
            (None, _) => self.desk.events(query).await,
            (Some(node), Some((fleet, gossip))) => {
                others::events(fleet, &gossip, node, query).await?
            }
            (Some(_), None) => return Err(nobody_to_ask()),
        };
        Ok(self.edges.events(page, query.raw))
    }

    /// A session from above; refused where its host cannot be asked.
    pub(crate) async fn outline(&self, query: &OutlineQuery) -> Result<Outline, Refusal> {
        let own = self.fleet.as_ref().as_ref().ok().map(|fleet| fleet.node());
        let outline = match (query.node.filter(|node| Some(*node) != own), self.others()) {
            (None, _) => self.desk.outline(query).await,
            (Some(node), Some((fleet, gossip))) => {
                others::outline(fleet, &gossip, node, query).await?
            }
            (Some(_), None) => return Err(nobody_to_ask()),
        };
        Ok(self.edges.outline(outline))
    }

    /// Takes a session of this host, and what is kept of it, out for good.
    pub(crate) async fn forget(&self, query: &LookupQuery) -> Result<Forgotten, Refusal> {
        let found = self.show(query).await;
        let (hub, health) = (Arc::clone(&self.hub), Arc::clone(&self.health));
        let search = Arc::clone(&self.desk.search);
        let forget =
            move || forget::forget(found, &hub, &health.writer, &search, &health.state_dir);
        let mirror = Arc::clone(&self.mirror);
        let forget = move || {
            let done = forget();
            mirror.forget();
            done
        };
        let done = tokio::task::spawn_blocking(forget).await;
        if let Ok(fleet) = self.fleet.as_ref() {
            messages::forgot(fleet).await;
        }
        done.unwrap_or_else(|_| {
            Err(Refusal {
                message: "it could not be forgotten: a fault of rrd".to_owned(),
                facts: Vec::new(),
                hint: Some("rrd doctor looks into it".to_owned()),
            })
        })
    }

    /// What was said on every host, the best first.
    pub(crate) async fn search(&self, query: &SearchQuery) -> SearchReply {
        let own = query.host.as_ref().is_none_or(|host| *host == self.hub.host());
        let here = async {
            match own {
                true => self.desk.search(query).await,
                false => SearchReply::default(),
            }
        };
        let there = async {
            match self.others() {
                Some((fleet, gossip)) => others::search(fleet, &gossip, query).await,
                None => SearchReply::default(),
            }
        };
        let (here, there) = futures::future::join(here, there).await;
        self.edges.found(others::merged(query, here, there))
    }

    /// How each part of the daemon is.
    pub(crate) fn status(&self) -> Vec<PartStatus> {
        let mut parts = self.health.parts(&self.hub, &self.hooks);
        parts.push(self.desk.search.part());
        parts.push(match &*self.fleet {
            Ok(fleet) => fleet.part(),
            Err(broken) => broken.part(),
        });
        parts.extend(self.hub.others().map(|others| others.part()));
        parts.extend(self.mirror.part());
        parts.extend(self.hub.others().iter().flat_map(|others| mirror::alarms(&others.hosts())));
        parts.extend(self.graphs.alarms());
        parts.extend(self.notices.part());
        parts.push(self.edges.part());
        self.edges.parts(parts)
    }

    /// This host's name; before it has one, one that nobody has.
    pub(crate) fn own_node(&self) -> NodeId {
        let fleet = self.fleet.as_ref().as_ref();
        fleet.map_or(NodeId::from_hash([0; 8]), |fleet| fleet.node())
    }

    /// How each host is, and since when.
    pub(crate) fn hosts_by_node(&self) -> HashMap<NodeId, (HostState, Option<Timestamp>)> {
        let others = self.hub.others().map(|others| others.hosts()).unwrap_or_default();
        let of = |host: Host| Some((host.node_id.parse().ok()?, (host.state, host.since)));
        let own = (self.own_node(), (HostState::Here, None));
        others.into_iter().filter_map(of).chain([own]).collect()
    }

    /// Every host of the fleet, this one first.
    pub(crate) fn hosts(&self) -> Vec<Host> {
        let here = self.hub.list_here(&ListQuery::default()).totals;
        let others = self.hub.others();
        let dropped = others.as_ref().map(|others| others.wire().traffic().dropped);
        let dropped = dropped.into_iter().flatten();
        let fleet = self.fleet.as_ref().as_ref().ok();
        let own = Host {
            host: self.hub.host(),
            node_id: fleet.map(|fleet| fleet.node().to_string()).unwrap_or_default(),
            state: HostState::Here,
            duplicated: false,
            since: None,
            version: Some(VERSION.to_owned()),
            address: fleet.and_then(|fleet| fleet.address()).map(|address| address.to_string()),
            clock_offset_ms: Some(0),
            sessions: Some(here.sessions),
            active: Some(here.active),
            bytes_per_second: None,
            dropped: dropped.map(|(why, count)| (why.as_str().to_owned(), count)).collect(),
            mirror: self.mirror.alarm(now()),
        };
        let others = others.map(|others| others.hosts()).unwrap_or_default();
        let mut hosts: Vec<Host> = std::iter::once(own).chain(others).collect();
        let twins = fleet.map(|fleet| fleet.twins()).unwrap_or_default();
        let twins: Vec<String> = twins.iter().map(ToString::to_string).collect();
        for host in &mut hosts {
            host.duplicated = twins.contains(&host.node_id);
            host.mirror = host.mirror.take().map(|alarm| self.edges.alarm(alarm));
        }
        hosts
    }
}

/// A session of the same name here is another one.
pub(crate) fn nobody_to_ask() -> Refusal {
    Refusal {
        message: "this host is in no fleet that could be asked for that".to_owned(),
        facts: Vec::new(),
        hint: Some("rrd fleet status tells how it stands".to_owned()),
    }
}
