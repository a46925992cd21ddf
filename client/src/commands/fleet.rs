//! `rrd fleet`: founds a fleet, lets hosts in, shows it, changes its key, leaves it.
//!
//! All of it is done by the daemon on this host; here it is asked, and told. The one thing printed that is
//! secret is an invite, and that is dead after its first use. Not here: keys.

use std::{
    io::{self, BufRead},
    time::Duration,
};

use rrd_proto::{
    FleetCall, FleetInvite, FleetMember, FleetReply, FleetRotation, FleetStatus, MemberState,
    Timestamp,
};

use crate::{
    cli::Fleet,
    clock,
    connect::{self, Unreachable},
    error::{CliError, Kind},
    local, look, output, picture,
    text::{clean, counted, pad, width},
};

/// Other hosts may take a while to answer, and some are off.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn run(fleet: &Fleet) -> Result<(), CliError> {
    match fleet {
        Fleet::Init => {
            let status = status_of(ask(FleetCall::Init)?)?;
            let mut said = vec!["this host is the first of a new fleet".to_owned()];
            said.extend(listening(&status));
            said.push("rrd fleet invite lets the next one in".to_owned());
            output::print_lines(&said)
        }
        Fleet::Invite(args) if args.cancel => match ask(FleetCall::CancelInvites)? {
            FleetReply::Cancelled(count) => output::print_lines(&[format!(
                "{} cancelled",
                counted(count.into(), "open invite")
            )]),
            _ => Err(unexpected()),
        },
        Fleet::Invite(args) => match ask(FleetCall::Invite)? {
            FleetReply::Invite(invite) => show_invite(&invite, !args.no_qr),
            _ => Err(unexpected()),
        },
        Fleet::Join(args) => {
            let line = match args.invite.is_empty() {
                true => read_line()?,
                false => args.invite.join(" "),
            };
            let status = status_of(ask(FleetCall::Join(line))?)?;
            let count = status.members.iter().filter(|m| m.state != MemberState::Dropped).count();
            let host = clean(&status.host).into_owned();
            let mut said = vec![format!("{host} is one of {count} members now")];
            said.extend(listening(&status));
            output::print_lines(&said)
        }
        Fleet::Status(args) => {
            let status = status_of(ask(FleetCall::Status)?)?;
            if args.json {
                return output::json(&status);
            }
            output::print_lines(&lines(&status, clock::now()))
        }
        Fleet::Rotate(args) => match ask(FleetCall::Rotate(args.drop.clone()))? {
            FleetReply::Rotated(rotation) => output::print_lines(&rotated(&rotation)),
            _ => Err(unexpected()),
        },
        Fleet::Leave => {
            let status = status_of(ask(FleetCall::Leave)?)?;
            output::print_lines(&[
                format!("{} is in no fleet any more", clean(&status.host)),
                "it knows the key the others have: rrd fleet rotate on one of them gives them another"
                    .to_owned(),
            ])
        }
    }
}

pub(crate) fn ask(call: FleetCall) -> Result<FleetReply, CliError> {
    let config = local::config(None)?;
    let connection = connect::dial(&config.dirs.socket).map_err(Unreachable::into_error)?;
    connection.fleet(&call, PATIENCE)?.map_err(CliError::from)
}

pub(crate) fn unexpected() -> CliError {
    CliError::new(Kind::Internal, "the daemon answered something else")
        .hint("rrd service restart starts it anew")
}

fn status_of(reply: FleetReply) -> Result<FleetStatus, CliError> {
    match reply {
        FleetReply::Status(status) => Ok(*status),
        _ => Err(unexpected()),
    }
}

fn read_line() -> Result<String, CliError> {
    output::remark("paste the line that rrd fleet invite printed:");
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).map_err(|error| {
        CliError::new(Kind::Usage, format!("cannot read the invite from stdin: {error}"))
    })?;
    Ok(line)
}

fn show_invite(invite: &FleetInvite, qr: bool) -> Result<(), CliError> {
    let line = format!("rrd fleet join {}", invite.word);
    if qr && output::is_terminal() {
        output::print(&picture::of(&line))?;
    }
    output::print_lines(&[&line])?;
    let until = clock::time_of_day(invite.until, clock::now());
    output::remark(&format!("run this on the host that is to join: once, until {until}"));
    if invite.only_here {
        output::remark(
            "only this machine reaches that address; [fleet] listen names one that others reach",
        );
    }
    Ok(())
}

fn listening(status: &FleetStatus) -> Vec<String> {
    let note = status.listen_note.as_ref().map(|note| format!(" ({})", clean(note)));
    let note = note.unwrap_or_default();
    vec![match status.listen {
        Some(address) => format!("others reach it at {address}{note}"),
        None => format!("it does not listen for others{note}"),
    }]
}

fn rotated(rotation: &FleetRotation) -> Vec<String> {
    let names = |names: &[String]| clean(&names.join(", ")).into_owned();
    let mut said = vec![format!("the fleet has a new key: {}", rotation.key_id)];
    if let Some(dropped) = &rotation.dropped {
        said.push(format!("dropped: {}", clean(dropped)));
    }
    if !rotation.reached.is_empty() {
        said.push(format!("have it: {}", names(&rotation.reached)));
    }
    if !rotation.missed.is_empty() {
        said.push(format!("get it when they are back: {}", names(&rotation.missed)));
    }
    if rotation.cancelled > 0 {
        said.push(format!("{} cancelled", counted(rotation.cancelled.into(), "open invite")));
    }
    said
}

fn lines(status: &FleetStatus, now: Timestamp) -> Vec<String> {
    let host = clean(&status.host).into_owned();
    let Some(key) = &status.key_id else {
        return vec![
            format!("{host} ({}) is in no fleet", status.node_id),
            "rrd fleet init founds one; rrd fleet join takes an invite of another host".to_owned(),
        ];
    };
    let here = status.members.iter().filter(|m| m.state != MemberState::Dropped).count();
    let mut lines = vec![format!("{}, key {key}", counted(here as u64, "member"))];
    lines.extend(listening(status));
    if status.invites > 0 {
        lines.push(counted(status.invites.into(), "open invite"));
    }
    if !status.turned_away.is_empty() {
        let counts: Vec<String> =
            status.turned_away.iter().map(|(why, count)| format!("{why} {count}")).collect();
        lines.push(format!("turned away: {}", clean(&counts.join(", "))));
    }
    lines.push(String::new());
    let hosts = status.members.iter().map(|m| width(&clean(&m.host))).max().unwrap_or(0).max(4);
    let heading = format!("{}  NODE         ADDRESS", pad("HOST", hosts));
    lines.push(look::paint(look::DIM, &heading));
    for member in &status.members {
        let address = member.addresses.first().map(ToString::to_string).unwrap_or_default();
        let row = format!(
            "{}  {}  {}  {}",
            pad(&clean(&member.host), hosts),
            member.node_id,
            pad(&address, 21),
            words(member, now)
        );
        let dropped = member.state == MemberState::Dropped;
        lines.push(if dropped { look::paint(look::DIM, &row) } else { row });
    }
    lines
}

fn words(member: &FleetMember, now: Timestamp) -> String {
    match (member.state, &member.trouble, member.spoken_at) {
        (MemberState::Here, ..) => "this host".to_owned(),
        (MemberState::Dropped, ..) => match member.dropped_by {
            Some(by) if by == member.node_id => "left".to_owned(),
            Some(by) => format!("dropped by {by}"),
            None => "dropped".to_owned(),
        },
        (MemberState::Member, Some(trouble), _) => clean(trouble).into_owned(),
        (MemberState::Member, None, Some(at)) => format!("spoke {} ago", rrd_proto::age(now, at)),
        (MemberState::Member, None, None) => "not spoken with yet".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fleet_is_a_line_a_member() {
        let node = |n: u8| rrd_proto::NodeId::from_hash([n; 8]);
        let at = Timestamp::from_millis(0);
        let member = |n, host: &str, state, trouble: Option<&str>| FleetMember {
            node_id: node(n),
            host: host.to_owned(),
            addresses: vec!["100.64.0.1:7731".parse().unwrap()],
            joined_at: at,
            state,
            dropped_by: (state == MemberState::Dropped).then(|| node(n)),
            spoken_at: Some(at),
            trouble: trouble.map(str::to_owned),
        };
        let status = FleetStatus {
            host: "mac".to_owned(),
            node_id: node(1),
            key_id: Some("0102aabb".to_owned()),
            listen: None,
            listen_note: Some("no".to_owned()),
            invites: 1,
            turned_away: vec![("not_rrd".to_owned(), 2)],
            members: vec![
                member(1, "mac", MemberState::Here, None),
                member(2, "server\u{1b}[2J", MemberState::Member, Some("x\u{1b}")),
                member(3, "old", MemberState::Dropped, None),
            ],
        };
        let shown = lines(&status, Timestamp::from_millis(60_000)).join("\n");
        let shown = anstream::adapter::strip_str(&shown).to_string();
        assert!(shown.starts_with("2 members, key 0102aabb\nit does not listen for others (no)\n"));
        assert!(shown.contains("turned away: not_rrd 2"), "{shown}");
        assert!(shown.contains("this host") && shown.contains("left") && !shown.contains('\u{1b}'));
    }
}
