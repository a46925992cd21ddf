//! How sinks are, for whoever asks, and a test of them.

use std::time::Duration;

use futures::future::join_all;
use rrd_core::notices::{teller::View, words};
use rrd_proto::{
    Health, NodeId, NotifyCall, NotifyReply, PartStatus, Refusal, SinkStatus, SinkTest,
};
use tokio::time::timeout;

use super::{Failure, Notices, sink::Sink};
use crate::{config::notices::target, hub::now};

/// A test may take so long, whatever the sink itself may.
const TEST: Duration = Duration::from_secs(15);

impl Notices {
    /// How each sink is.
    pub(crate) fn status(&self) -> Vec<SinkStatus> {
        let at = now();
        let gossip = self.hub.others();
        let heard = gossip.as_ref().map(|gossip| gossip.notices()).unwrap_or_default();
        let members = self.fleet.as_ref().map(|fleet| fleet.members());
        let own = self.own();
        let label = |node: NodeId| match node == own {
            true => Some(self.label.clone()),
            false => members.as_ref()?.label(node),
        };
        let state = self.held();
        let view = View { now: at, own, heard: &heard, is_quiet: false, is_ready: true };
        let of = |(number, sink): (usize, &Sink)| {
            let standing = state.teller.standing(number, &view);
            let figures = state.figures[number].clone();
            let first = standing.tellers.first().map(|(_, node)| *node);
            let differ = standing.tellers.iter().any(|(_, node)| Some(*node) != first);
            let tellers = standing.tellers.iter().filter(|_| differ);
            let (failing_since, error) = figures.failing.filter(|_| standing.fails).unzip();
            SinkStatus {
                name: sink.settings.name.clone(),
                kind: sink.settings.what.kind(),
                target: target(&sink.settings.what),
                events: sink.settings.events.clone(),
                local: sink.is_local,
                teller: first.and_then(label),
                tellers: tellers.filter_map(|(kind, node)| Some((*kind, label(*node)?))).collect(),
                hosts: standing.hosts as u64,
                sent: figures.sent,
                failed: figures.failed,
                lost: standing.lost,
                last_sent_at: figures.last_sent_at,
                failing_since,
                error,
                waiting: standing.waiting,
                held: standing.held,
            }
        };
        self.sinks.iter().enumerate().map(of).collect()
    }

    /// As a part of the daemon; none where nothing is to be told anywhere.
    pub(crate) fn part(&self) -> Option<PartStatus> {
        let all = self.status();
        let (first, failing) = (all.first()?, all.iter().find(|sink| sink.error.is_some()));
        let sent: u64 = all.iter().map(|sink| sink.sent).sum();
        let waiting: u64 = all.iter().map(|sink| sink.waiting).sum();
        let last = all.iter().filter_map(|sink| sink.last_sent_at).max();
        let last = last.map(|last| format!(", the last {} ago", rrd_proto::age(now(), last)));
        let name = match all.len() {
            1 => format!("sink {}", first.name),
            count => format!("{count} sinks"),
        };
        let lost: u64 = all.iter().map(|sink| sink.lost).sum();
        let mut detail =
            format!("{name}; {}", counts(sent, &last.unwrap_or_default(), lost, waiting));
        let part = |state, detail, hint: Option<&str>| PartStatus {
            part: "notify".to_owned(),
            state,
            detail,
            hint: hint.map(str::to_owned),
        };
        let Some(sink) = failing else { return Some(part(Health::Ok, detail, None)) };
        let since = sink.failing_since.map(|at| rrd_proto::age(now(), at)).unwrap_or_default();
        let error = sink.error.clone().unwrap_or_default();
        detail += &format!("; {} has failed for {since}: {error}", sink.name);
        Some(part(Health::Degraded, detail, Some("rrd notify status, then rrd notify test")))
    }

    /// Does what `rrd notify` asks for.
    pub(crate) async fn answer(&self, call: NotifyCall) -> Result<NotifyReply, Refusal> {
        let NotifyCall::Test { sink } = call else {
            return Ok(NotifyReply::Status(self.status()));
        };
        let is_meant = |one: &&Sink| sink.as_ref().is_none_or(|name| *name == one.settings.name);
        let meant: Vec<&Sink> = self.sinks.iter().filter(is_meant).collect();
        if meant.is_empty() {
            let names: Vec<&str> = self.sinks.iter().map(|sink| &*sink.settings.name).collect();
            return Err(match names.is_empty() {
                true => Refusal {
                    message: "there is no sink that could be told anything".to_owned(),
                    facts: Vec::new(),
                    hint: Some(
                        "rrd notify --help shows what config.toml needs; then rrd service restart"
                            .to_owned(),
                    ),
                },
                false => Refusal {
                    message: "there is no sink of that name".to_owned(),
                    facts: vec![format!("config.toml has {}", names.join(", "))],
                    hint: Some("rrd notify status shows them".to_owned()),
                },
            });
        }
        let tests = meant.into_iter().map(|sink| async {
            let name = &sink.settings.name;
            let id = format!("{:016x}", rrd_core::hash(format!("{name}{}", now()).as_bytes()));
            let told = self.edges.notification(words::test(id, name, &self.wish(sink)));
            let (took, result) = match timeout(TEST, sink.tell(told, &self.edges, &self.stop)).await
            {
                Ok(told) => told,
                Err(_) => (TEST, Err(Failure::new("it was not done in time".to_owned()))),
            };
            SinkTest {
                name: name.clone(),
                took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
                error: result.err().map(|failure| failure.why),
            }
        });
        Ok(NotifyReply::Tested(join_all(tests).await))
    }
}

/// How many were told, the last of them when, and how many were not.
fn counts(sent: u64, last: &str, lost: u64, waiting: u64) -> String {
    let counted = |count: u64, noun| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
    let mut told = format!("{} told since it started{last}", counted(sent, "notification"));
    if lost > 0 {
        told += &format!(", {} given up", counted(lost, "notice"));
    }
    if waiting > 0 {
        let wait = if waiting == 1 { "waits" } else { "wait" };
        told += &format!(", {} {wait}", counted(waiting, "notice"));
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_told_of_as_one() {
        for (told, expected) in [
            (counts(0, "", 0, 0), "0 notifications told since it started"),
            (
                counts(1, ", the last 2s ago", 1, 1),
                "1 notification told since it started, the last 2s ago, 1 notice given up, 1 notice waits",
            ),
            (
                counts(2, "", 2, 2),
                "2 notifications told since it started, 2 notices given up, 2 notices wait",
            ),
        ] {
            assert_eq!(told, expected);
        }
    }
}
