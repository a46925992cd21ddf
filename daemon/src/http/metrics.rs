//! Figures for Prometheus, in its text format
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>).
//!
//! Not here: anything that anybody said. Hosts' labels and the addresses of places that are mirrored to are the
//! only texts of theirs.

use std::{collections::BTreeSet, fmt::Write};

use rrd_core::fleet::seal::Dropped;
use rrd_proto::{Cause, Health, HostState, ListQuery, MirrorStatus, SinkStatus, Status};

use super::Http;

/// Everything, as it is now.
pub(super) fn text(http: &Http) -> String {
    let mut out = String::new();
    let answers = &http.answers;
    let all = ListQuery { all: true, ..ListQuery::default() };
    let rows = answers.hub.list_here(&all).sessions;
    let statuses = [Status::Waiting, Status::Executing, Status::Idle, Status::Ended];
    let of = |status: Status| {
        let count = rows.iter().filter(|row| row.status == status && !row.is_subagent()).count();
        (format!("{{status=\"{status}\"}}"), count as f64)
    };
    metric(
        &mut out,
        "rrd_sessions",
        "gauge",
        "Sessions of this host, by status.",
        statuses.map(of),
    );

    let hosts = answers.hosts();
    let states = [HostState::Here, HostState::Live, HostState::Away];
    let of = |state: HostState| {
        let count = hosts.iter().filter(|host| host.state == state).count();
        (format!("{{state=\"{state}\"}}"), count as f64)
    };
    metric(
        &mut out,
        "rrd_hosts",
        "gauge",
        "Hosts of the fleet, by how this one knows them.",
        states.map(of),
    );
    let active = hosts.iter().filter_map(|host| {
        Some((format!("{{host=\"{}\"}}", label(&host.host)), host.active? as f64))
    });
    metric(&mut out, "rrd_sessions_active", "gauge", "Active sessions, by host.", active);

    let graph = answers.graphs.now();
    let help =
        "Circles of sessions, on all hosts, that wait for each other: nobody in one can go on.";
    let circles = [(String::new(), graph.cycles.len() as f64)];
    metric(&mut out, "rrd_circles", "gauge", help, circles);
    let help = "Sessions, on all hosts, that only a person can let go on, by why they do not.";
    let causes = [Cause::Permission, Cause::Input, Cause::Crashed, Cause::Failed];
    let of = |cause: Cause| {
        let chains = graph.chains.iter().filter(|chain| chain.cause == cause);
        let ends: BTreeSet<_> = chains.filter_map(|chain| chain.sessions.last()).collect();
        (format!("{{cause=\"{cause}\"}}"), ends.len() as f64)
    };
    metric(&mut out, "rrd_needs_person", "gauge", help, causes.map(of));

    let alarms = hosts.iter().filter_map(|host| {
        let alarm = host.mirror.as_ref()?;
        let (name, url) = (label(&host.host), label(&alarm.url));
        Some((format!("{{host=\"{name}\",url=\"{url}\"}}"), 1.0))
    });
    let help =
        "1 for each host whose mirror has failed for a quarter of an hour, or is far behind.";
    metric(&mut out, "rrd_mirror_alarm", "gauge", help, alarms);
    let mirrors = answers.mirror.figures();
    let of = |figure: fn(&MirrorStatus) -> f64| {
        let place = |one: &MirrorStatus| {
            let url = label(&format!("{}/{}", one.url, one.project));
            (format!("{{url=\"{url}\"}}"), figure(one))
        };
        mirrors.iter().map(place).collect::<Vec<_>>()
    };
    if !mirrors.is_empty() {
        let help = "Bytes of this host's transcripts that a place does not have.";
        metric(
            &mut out,
            "rrd_mirror_bytes_behind",
            "gauge",
            help,
            of(|one| one.bytes_behind as f64),
        );
        let help = "Parts of this host's transcripts that are still to be sent.";
        metric(
            &mut out,
            "rrd_mirror_pending_parts",
            "gauge",
            help,
            of(|one| one.pending_parts as f64),
        );
        let help = "1 where a place does not take what is sent.";
        let failing = of(|one| f64::from(u8::from(one.failing.is_some())));
        metric(&mut out, "rrd_mirror_failing", "gauge", help, failing);
    }

    notices(&mut out, &answers.notices.status());

    let waiting = answers.health.writer.waiting();
    let lag = waiting.oldest.map_or(0.0, |age| age.as_secs_f64());
    let help = "How long what was read first has waited to be durable.";
    metric(&mut out, "rrd_ingest_lag_seconds", "gauge", help, [(String::new(), lag)]);
    let left = answers
        .hub
        .parts()
        .1
        .map_or(0, |progress| progress.total - progress.done.min(progress.total));
    let help = "Bytes of transcripts that are still to be read for the first time.";
    metric(&mut out, "rrd_index_bytes_left", "gauge", help, [(String::new(), left as f64)]);
    let queues = [
        ("{queue=\"store_commits\"}".to_owned(), waiting.commits as f64),
        ("{queue=\"store_events\"}".to_owned(), waiting.events as f64),
    ];
    metric(&mut out, "rrd_queue_depth", "gauge", "What waits in each queue.", queues);

    if let Some(gossip) = answers.hub.others() {
        let traffic = gossip.wire().traffic();
        let bytes = [("sent", traffic.sent), ("taken", traffic.taken)];
        let of = |what: fn((u64, u64)) -> u64| {
            bytes.map(|(way, sum)| (format!("{{direction=\"{way}\"}}"), what(sum) as f64))
        };
        metric(&mut out, "rrd_gossip_bytes_total", "counter", "Bytes of gossip.", of(|sum| sum.1));
        metric(
            &mut out,
            "rrd_gossip_datagrams_total",
            "counter",
            "Datagrams of gossip.",
            of(|sum| sum.0),
        );
        let held = [(String::new(), traffic.held_back as f64)];
        metric(
            &mut out,
            "rrd_gossip_held_back_total",
            "counter",
            "Datagrams beyond the send limit.",
            held,
        );
        // From the start, so that the first one is a rise.
        let dropped = Dropped::ALL.map(|why| {
            let count = traffic.dropped.get(&why).copied().unwrap_or(0);
            (format!("{{reason=\"{}\"}}", why.as_str()), count as f64)
        });
        metric(
            &mut out,
            "rrd_gossip_dropped_total",
            "counter",
            "Datagrams that did not count.",
            dropped,
        );
    }

    let mut parts = answers.status();
    parts.push(http.part());
    let of = |part: &rrd_proto::PartStatus| {
        (format!("{{part=\"{}\"}}", label(&part.part)), f64::from(u8::from(!is_ill(part.state))))
    };
    let mut parts: Vec<_> = parts.iter().map(of).collect();
    parts.sort_by(|(a, _), (b, _)| a.cmp(b));
    parts.dedup_by(|(a, x), (b, y)| {
        let same = a == b;
        if same {
            *y = y.min(*x);
        }
        same
    });
    metric(&mut out, "rrd_part_ok", "gauge", "1 where a part of the daemon is well.", parts);
    let counts = http.places.counts();
    let connections = [(String::new(), counts.open as f64)];
    metric(&mut out, "rrd_http_connections", "gauge", "Open HTTP connections.", connections);
    let closed = [(String::new(), counts.shed as f64)];
    let help = "Connections closed to make room.";
    metric(&mut out, "rrd_http_connections_shed_total", "counter", help, closed);
    let listeners = [(String::new(), http.live.listeners() as f64)];
    metric(&mut out, "rrd_http_listeners", "gauge", "Who listens to changes.", listeners);
    out
}

/// Of each sink, by its name in the settings.
fn notices(out: &mut String, sinks: &[SinkStatus]) {
    if sinks.is_empty() {
        return;
    }
    let mut each = |name: &str, kind: &str, help: &str, figure: fn(&SinkStatus) -> f64| {
        let of = |one: &SinkStatus| (format!("{{sink=\"{}\"}}", label(&one.name)), figure(one));
        metric(out, name, kind, help, sinks.iter().map(of));
    };
    let help = "Notifications told by this host.";
    each("rrd_notify_sent_total", "counter", help, |one| one.sent as f64);
    let help = "Attempts to tell one that failed.";
    each("rrd_notify_failed_total", "counter", help, |one| one.failed as f64);
    let help = "Notices that were given up.";
    each("rrd_notify_lost_total", "counter", help, |one| one.lost as f64);
    let help = "Notices that are still to be told.";
    each("rrd_notify_waiting", "gauge", help, |one| one.waiting as f64);
    let help = "1 where a sink cannot be told anything.";
    each("rrd_notify_failing", "gauge", help, |one| f64::from(u8::from(one.error.is_some())));
}

/// What is off by choice is well.
fn is_ill(state: Health) -> bool {
    matches!(state, Health::Degraded | Health::Failed)
}

fn metric(
    out: &mut String,
    name: &str,
    kind: &str,
    help: &str,
    values: impl IntoIterator<Item = (String, f64)>,
) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
    for (labels, value) in values {
        let _ = writeln!(out, "{name}{labels} {value}");
    }
}

/// What may stand between quotes.
fn label(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
