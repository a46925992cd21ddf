//! `rrd fleet`, as the daemon does it: each call, and each refusal in words.
//!
//! A refusal says exactly what is wrong and what to do. Not here: how any of it is done.

use std::{sync::Arc, time::Duration};

use rrd_proto::{
    FleetCall, FleetMember, FleetReply, FleetStatus, MemberState, NodeId, Refusal, peer::Answer,
};
use tokio::time::timeout;

use super::{
    Broken, Fleet, aside,
    enrol::{self, JoinError, Word},
    link::LinkError,
    lock,
    noise::{HandshakeError, Update},
    now, rekey,
};

/// How long a socket is waited for.
const OPENING: Duration = Duration::from_secs(5);

/// Does what is asked.
pub(crate) async fn answer(
    fleet: &Result<Arc<Fleet>, Broken>,
    call: FleetCall,
) -> Result<FleetReply, Refusal> {
    let fleet = fleet.as_ref().map_err(|broken| refused(broken.clone()))?;
    match call {
        FleetCall::Status => {}
        FleetCall::Init => {
            alone(fleet)?;
            done(aside(fleet, Fleet::found).await)?;
            opened(fleet).await;
        }
        FleetCall::Invite => {
            member(fleet)?;
            opened(fleet).await;
            let address = fleet.address().ok_or_else(|| Refusal {
                message: "this host does not listen for others yet".to_owned(),
                facts: fleet.place().note.into_iter().collect(),
                hint: Some("rrd fleet status says where it would".to_owned()),
            })?;
            let invite = done(aside(fleet, move |fleet| enrol::invite(fleet, address)).await)?;
            return Ok(FleetReply::Invite(invite));
        }
        FleetCall::CancelInvites => {
            let cancelled = aside(fleet, |fleet| fleet.keep().cancel_invites(now())).await;
            let cancelled = cancelled.map(|result| result.map_err(Broken::from));
            return Ok(FleetReply::Cancelled(done(cancelled)?));
        }
        FleetCall::Join(line) => {
            alone(fleet)?;
            let word = Word::parse(&line).ok_or_else(|| {
                refusal(
                    "that is no invite",
                    "paste the whole line that rrd fleet invite printed on a member",
                )
            })?;
            enrol::join(fleet, &word).await.map_err(|error| join_refused(&word, &error))?;
            opened(fleet).await;
        }
        FleetCall::Rotate(drop) => {
            member(fleet)?;
            let drop = drop.map(|host| find(fleet, &host)).transpose()?;
            let rotation = rekey::rotate(fleet, drop).await.map_err(refused)?;
            return Ok(FleetReply::Rotated(rotation));
        }
        FleetCall::Forget(host) => {
            member(fleet)?;
            let (node, known) = find_to_forget(fleet, &host)?;
            let label = fleet.members().label(node).unwrap_or_default();
            let forgotten = aside(fleet, move |fleet| fleet.forget(node, known)).await;
            done(forgotten.map(|result| result.map_err(Broken::from)))?;
            return Ok(FleetReply::Forgotten(label));
        }
        FleetCall::Leave => {
            if fleet.key().is_none() {
                return Err(not_in_one());
            }
            rekey::leave(fleet).await.map_err(refused)?;
        }
    }
    let status = aside(fleet, status).await;
    Ok(FleetReply::Status(Box::new(done(status.map(Ok))?)))
}

/// Waits until it is known where this node listens.
async fn opened(fleet: &Fleet) {
    let mut changed = fleet.changed();
    let settled = changed.wait_for(|_| {
        let place = fleet.place();
        place.address.is_some() || place.note.is_some()
    });
    let _ = timeout(OPENING, settled).await;
}

fn alone(fleet: &Fleet) -> Result<(), Refusal> {
    match fleet.key() {
        None => Ok(()),
        Some(key) => Err(Refusal {
            message: "this host is in a fleet already".to_owned(),
            facts: vec![format!(
                "its key is {}, with {} members",
                key.id(),
                fleet.members().now().count()
            )],
            hint: Some("rrd fleet status shows it; rrd fleet leave leaves it".to_owned()),
        }),
    }
}

fn member(fleet: &Fleet) -> Result<(), Refusal> {
    if fleet.key().is_none() {
        return Err(not_in_one());
    }
    if fleet.members().has(fleet.node()) {
        return Ok(());
    }
    Err(refusal(
        "this host is no member of its fleet any more",
        "rrd fleet leave, then join with an invite from a member",
    ))
}

fn not_in_one() -> Refusal {
    refusal(
        "this host is in no fleet",
        "rrd fleet init founds one; rrd fleet join takes an invite of another host",
    )
}

fn refusal(message: &str, hint: &str) -> Refusal {
    Refusal { message: message.to_owned(), facts: Vec::new(), hint: Some(hint.to_owned()) }
}

fn refused(broken: Broken) -> Refusal {
    Refusal { message: broken.what, facts: Vec::new(), hint: Some(broken.remedy) }
}

fn done<T>(result: Option<Result<T, Broken>>) -> Result<T, Refusal> {
    let lost = || Broken {
        what: "the daemon is stopping".to_owned(),
        remedy: "rrd status tells whether it is back".to_owned(),
    };
    result.unwrap_or_else(|| Err(lost())).map_err(refused)
}

/// The other member that a person means: by label, or by the start of its name.
fn find(fleet: &Fleet, host: &str) -> Result<NodeId, Refusal> {
    let members = fleet.members();
    let nodes: Vec<NodeId> = members.now().map(|member| member.node()).collect();
    let called = |node: &&NodeId| members.label(**node).as_deref() == Some(host);
    let mut found: Vec<NodeId> = nodes.iter().filter(called).copied().collect();
    if found.is_empty() && host.len() >= 4 {
        found = nodes.iter().filter(|n| n.to_string().starts_with(host)).copied().collect();
    }
    match found[..] {
        [node] if node == fleet.node() => Err(refusal(
            "this host cannot drop itself",
            "rrd fleet leave leaves; on another member, rrd fleet rotate --drop drops this one",
        )),
        [node] => Ok(node),
        _ => {
            let labels = nodes.iter().filter_map(|node| members.label(*node));
            Err(Refusal {
                message: format!("no member is called {host:?}"),
                facts: vec![format!("members: {}", labels.collect::<Vec<_>>().join(", "))],
                hint: Some("rrd fleet status shows names and node ids".to_owned()),
            })
        }
    }
}

/// The host that a person means, members or not: away, or dropped; and its latest generation.
fn find_to_forget(fleet: &Fleet, host: &str) -> Result<(NodeId, u64), Refusal> {
    let (members, own) = (fleet.members(), fleet.node());
    let known = |node| {
        fleet.known(node).ok_or_else(|| {
            let message = "this host does not hear others, so it cannot tell who is away";
            refusal(message, "rrd fleet status says why it does not listen")
        })
    };
    let nodes: Vec<NodeId> = members.ever().map(|member| member.node()).collect();
    let called = |node: &&NodeId| members.label(**node).as_deref() == Some(host);
    let mut found: Vec<NodeId> = nodes.iter().filter(called).copied().collect();
    if found.is_empty() && host.len() >= 4 {
        found = nodes.iter().filter(|n| n.to_string().starts_with(host)).copied().collect();
    }
    if found.len() > 1 {
        // Those of whom nothing is shown any more are hardly meant.
        let is_over = |node: &NodeId| !members.has(*node) && members.forgotten(*node).is_some();
        if !found.iter().all(is_over) {
            found.retain(|node| !is_over(node));
        }
    }
    match found[..] {
        [node] if node == own => Err(refusal(
            "this host cannot forget itself",
            "rrd fleet leave takes it out of the fleet",
        )),
        [node] => match known(node)? {
            (_, true) if members.has(node) => Err(refusal(
                &format!("{host} is live: it would be shown again at once"),
                &format!("rrd fleet rotate --drop {host} takes it out of the fleet"),
            )),
            (generation, _) => Ok((node, generation)),
        },
        [] => {
            let others = nodes.iter().filter(|node| **node != own);
            let mut labels: Vec<_> = others.filter_map(|node| members.label(*node)).collect();
            labels.sort();
            Err(Refusal {
                message: format!("no host is called {host:?}"),
                facts: vec![format!("hosts: {}", labels.join(", "))],
                hint: Some("rrd hosts shows names, rrd fleet status node ids".to_owned()),
            })
        }
        _ => {
            let one = |node: &NodeId| {
                let state = match known(*node) {
                    _ if *node == own => "this host",
                    _ if !members.has(*node) => "dropped",
                    Ok((_, true)) => "live",
                    _ => "away",
                };
                format!("{} {node} ({state})", members.label(*node).unwrap_or_default())
            };
            Err(Refusal {
                message: format!("more than one host may be meant by {host:?}"),
                facts: found.iter().map(one).collect(),
                hint: Some("name it by its node id".to_owned()),
            })
        }
    }
}

fn join_refused(word: &Word, error: &JoinError) -> Refusal {
    let address = word.address;
    let another = "rrd fleet invite on a member prints another";
    if let Some(answer) = error.answer() {
        let message = match answer {
            Answer::Spent => "this invite was used already: each lets one host in".to_owned(),
            Answer::Stale => "this invite is too old: each is good for ten minutes".to_owned(),
            Answer::Cancelled => "this invite was cancelled".to_owned(),
            _ => format!(
                "{address} knows no such invite: it is of another fleet, or not copied whole"
            ),
        };
        return refusal(&message, another);
    }
    match error {
        JoinError::Link(LinkError::Unreachable(_, cause)) => Refusal {
            message: format!("nobody answers at {address}"),
            facts: vec![cause.to_string()],
            hint: Some(
                "on the host that made the invite, rrd fleet status says where it listens; both \
                 must be in one tailnet, or [fleet] listen must name an address that both reach"
                    .to_owned(),
            ),
        },
        JoinError::Link(LinkError::Handshake(HandshakeError::NotProven)) => refusal(
            "the token of this invite is wrong: it was not copied whole",
            "paste the whole line that rrd fleet invite printed",
        ),
        JoinError::Link(LinkError::Handshake(HandshakeError::OtherVersion(update))) => {
            let version = rrd_proto::VERSION;
            let (which, hint) = match update {
                Update::There => {
                    ("older", "update rrd on that host, then rrd service restart there")
                }
                Update::Here => ("newer", "update rrd on this host, then rrd service restart"),
            };
            let message = format!(
                "the rrd at {address} is {which} than this one ({version}), and they have no version in common"
            );
            refusal(&message, hint)
        }
        JoinError::Link(LinkError::Handshake(HandshakeError::NotRrd)) => refusal(
            &format!("something other than rrd answers at {address}"),
            "rrd fleet status on the host that made the invite says where it listens",
        ),
        JoinError::Link(error) => Refusal {
            message: format!("{address} could not be spoken with"),
            facts: vec![error.to_string()],
            hint: Some(format!("try again; if the invite is used up, {another}")),
        },
        JoinError::Refused(why) => match why.as_str() {
            "dropped" => refusal(
                "this host was dropped from that fleet, and its name stays dropped",
                "rrd fleet init, then rrd fleet leave, gives it a new name; then take another invite",
            ),
            "no_open_invite" => {
                refusal("somebody else took this invite at the same moment", another)
            }
            "full" => refusal(
                "that fleet has as many members as it can have",
                "found another with rrd fleet init",
            ),
            _ => Refusal {
                message: format!("{address} could not let this host in"),
                facts: vec![format!("it said: {}", why.chars().take(40).collect::<String>())],
                hint: Some("its log says more; then take another invite".to_owned()),
            },
        },
        JoinError::BrokeOff => refusal(
            &format!("{address} broke off before it let this host in"),
            "the invite may be used up: rrd fleet invite prints another",
        ),
        JoinError::NotWhole => refusal(
            &format!("what {address} said is not whole: its key or its list does not hold"),
            "bring both hosts to the same release, then take another invite",
        ),
        JoinError::Broken(broken) => refused(broken.clone()),
    }
}

/// How the fleet is, seen from here. Blocks.
fn status(fleet: &Fleet) -> FleetStatus {
    let (members, place, own) = (fleet.members(), fleet.place(), fleet.node());
    let contacts = lock(&fleet.contacts).clone();
    // One that was dropped and then forgotten is no news to anybody.
    let is_over = |node| !members.has(node) && members.forgotten(node).is_some();
    let mut shown: Vec<FleetMember> = members
        .ever()
        .filter(|member| !is_over(member.node()))
        .map(|member| {
            let node = member.node();
            let dropped = members.dropped(node);
            let contact = contacts.get(&node).cloned().unwrap_or_default();
            FleetMember {
                node_id: node,
                host: members.label(node).unwrap_or_default(),
                addresses: member.addresses.clone(),
                joined_at: member.joined_at,
                state: match dropped {
                    Some(_) => MemberState::Dropped,
                    None if node == own => MemberState::Here,
                    None => MemberState::Member,
                },
                dropped_by: dropped,
                spoken_at: contact.spoken_at,
                trouble: contact.trouble.filter(|_| dropped.is_none()),
            }
        })
        .collect();
    shown.sort_by(|a, b| (&a.host, a.node_id).cmp(&(&b.host, b.node_id)));
    let away = lock(&fleet.turned_away);
    FleetStatus {
        host: members.label(own).unwrap_or_else(|| fleet.label.clone()),
        node_id: own,
        key_id: fleet.key().map(|key| key.id().to_string()),
        listen: place.address,
        listen_note: place.note,
        invites: fleet.keep().open_invites(now()).unwrap_or(0),
        turned_away: away.iter().map(|(why, count)| ((*why).to_owned(), *count)).collect(),
        members: shown,
    }
}
