//! `rrd hosts`: the hosts of the fleet, as this one knows them.
//!
//! Not here: who may be in it (`rrd fleet`).

use rrd_proto::{FleetCall, FleetReply, Host, HostState, Timestamp};

use crate::{
    cli::{self, HostsArgs},
    clock,
    commands::fleet,
    connect,
    error::CliError,
    local, look, output,
    text::{clean, pad, width},
};

pub(crate) fn run(args: &HostsArgs) -> Result<(), CliError> {
    if let Some(cli::Hosts::Forget { host }) = &args.forget {
        return match fleet::ask(FleetCall::Forget(host.clone()))? {
            FleetReply::Forgotten(label) => output::print_lines(&[
                format!("what {} said so far is not shown any more", clean(&label)),
                "hosts that are off hear of it when they are back".to_owned(),
            ]),
            _ => Err(fleet::unexpected()),
        };
    }
    let config = local::config(None)?;
    let connection =
        connect::dial(&config.dirs.socket).map_err(connect::Unreachable::into_error)?;
    let hosts = connection.hosts()?;
    if args.json {
        return output::json(&hosts);
    }
    output::print_lines(&lines(&hosts, clock::now()))?;
    if hosts.iter().any(|host| host.duplicated) {
        output::remark(
            "two hosts run under one identity, and only one of them is heard: on one of the two, \
             rrd fleet leave, then rrd fleet join with an invite",
        );
    }
    if hosts.len() == 1 {
        output::remark("this host is alone; rrd fleet init, or rrd fleet join, changes that");
    }
    Ok(())
}

fn lines(hosts: &[Host], now: Timestamp) -> Vec<String> {
    let header = ["  HOST", "SINCE", "ACTIVE", "SESSIONS", "CLOCK", "B/S", "ADDRESS", "VERSION"];
    let mut rows = vec![header.map(str::to_owned)];
    rows.extend(hosts.iter().map(|host| cells(host, now)));
    let widths: Vec<usize> = (0..header.len())
        .map(|at| rows.iter().map(|row| width(&row[at])).max().unwrap_or(0))
        .collect();
    let line = |row: &[String; 8]| {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| pad(cell, *width)).collect();
        cells.join("  ").trim_end().to_owned()
    };
    let style = |at: usize| match at.checked_sub(1).map(|at| &hosts[at]) {
        Some(host) if host.duplicated => look::AMBER,
        Some(host) if host.state != HostState::Away => look::PLAIN,
        _ => look::DIM,
    };
    let mut lines: Vec<String> =
        rows.iter().enumerate().map(|(at, row)| look::paint(style(at), &line(row))).collect();
    let dropped: Vec<String> = hosts.iter().filter_map(dropped).collect();
    if !dropped.is_empty() {
        lines.push(String::new());
        lines.extend(dropped);
    }
    lines
}

/// What of a host's words did not count; of this host, what reached it and was not taken.
fn dropped(host: &Host) -> Option<String> {
    let reasons: Vec<String> = host
        .dropped
        .iter()
        .map(|(why, count)| format!("{count} {}", clean(&why.replace('_', " "))))
        .collect();
    let of = match host.state {
        HostState::Here => "dropped by this host".to_owned(),
        _ => format!("told by {} and not taken", clean(&host.host)),
    };
    (!reasons.is_empty()).then(|| format!("{of}: {}", reasons.join(", ")))
}

fn cells(host: &Host, now: Timestamp) -> [String; 8] {
    let sign = match host.state {
        HostState::Here => "◆",
        HostState::Live => "●",
        HostState::Away => "○",
    };
    let unknown = || "-".to_owned();
    let count = |count: Option<u64>| count.map_or_else(unknown, |count| count.to_string());
    let since = match (host.state, host.since) {
        (HostState::Here, _) => "this host".to_owned(),
        (HostState::Live, Some(at)) => format!("live {}", rrd_proto::age(now, at)),
        (HostState::Live, None) => "live".to_owned(),
        (HostState::Away, Some(at)) => format!("away since {}", clock::time_of_day(at, now)),
        (HostState::Away, None) => "never heard".to_owned(),
    };
    let twice = if host.duplicated { ", runs twice" } else { "" };
    let mirror = if host.mirror.is_some() { ", mirror fails" } else { "" };
    [
        format!("{sign} {}", clean(&host.host)),
        since + twice + mirror,
        count(host.active),
        count(host.sessions),
        host.clock_offset_ms.map_or_else(unknown, offset),
        host.bytes_per_second.map_or_else(unknown, |rate| format!("{rate:.0}")),
        host.address.as_deref().map_or_else(unknown, |address| clean(address).into_owned()),
        host.version.as_deref().map_or_else(unknown, |version| clean(version).into_owned()),
    ]
}

/// What its clock shows beside this one's: `3h behind`; within a second they agree.
fn offset(ms: i64) -> String {
    match ms {
        -999..=999 => "agrees".to_owned(),
        1_000.. => format!("{} behind", rrd_proto::span(ms)),
        _ => format!("{} ahead", rrd_proto::span(ms.saturating_neg())),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_host_is_a_sign_a_time_and_numbers() {
        let now = Timestamp::from_millis(1_800_000_000_000);
        let host = |host: &str, state, since: Option<i64>, offset| Host {
            host: host.to_owned(),
            node_id: String::new(),
            state,
            duplicated: host == "old",
            since: since.map(|ms| now.plus(-ms)),
            version: Some("0.1.0".to_owned()),
            address: None,
            clock_offset_ms: offset,
            sessions: Some(12),
            active: None,
            bytes_per_second: (state == HostState::Live).then_some(812.4),
            mirror: None,
            dropped: match state {
                HostState::Live => {
                    [("not_its_owners".to_owned(), 3), ("newer".to_owned(), 1)].into()
                }
                _ => BTreeMap::new(),
            },
        };
        let hosts = [
            host("mac", HostState::Here, None, Some(0)),
            host("pc\u{1b}[2J", HostState::Live, Some(120_000), Some(-7_200_000)),
            host("old", HostState::Away, None, None),
        ];
        let lines = lines(&hosts, now);
        let plain = anstream::adapter::strip_str(&lines.join("\n")).to_string();
        assert_eq!(
            plain,
            "  HOST   SINCE                    ACTIVE  SESSIONS  CLOCK     B/S  ADDRESS  VERSION\n\
             ◆ mac    this host                -       12        agrees    -    -        0.1.0\n\
             ● pc[2J  live 2m                  -       12        2h ahead  812  -        0.1.0\n\
             ○ old    never heard, runs twice  -       12        -         -    -        0.1.0\n\
             \n\
             told by pc[2J and not taken: 1 newer, 3 not its owners"
        );
    }
}
