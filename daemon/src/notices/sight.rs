//! What is looked at: rows, hosts, and the time of day.

use std::collections::HashSet;

use rrd_core::notices::{HostSeen, Seen};
use rrd_proto::{EdgeKind, HostState, Link, ListQuery, Session, SessionKey, Timestamp};

use super::Notices;
use crate::{config::NotifySettings, gossip::Gossip, hub::now};

/// Sessions that were open, and may yet turn out to have ended.
const MOST_FOLLOWED: usize = 500;

/// How long those are followed, in milliseconds.
const FOLLOWED: i64 = 15 * 60_000;

impl Notices {
    /// Rows of all hosts that may matter.
    pub(super) fn rows(&self, gossip: Option<&Gossip>) -> Vec<Seen> {
        let open = ListQuery { open: true, ..ListQuery::default() };
        let mut rows = self.hub.list_here(&open).sessions;
        let at = now();
        let listed: HashSet<SessionKey> = rows.iter().map(Session::key).collect();
        let left: Vec<SessionKey> = {
            let mut state = self.held();
            let followed = &mut state.followed;
            let is_main = |row: &&Session| !row.is_subagent();
            followed.extend(rows.iter().filter(is_main).map(|row| (row.key(), at)));
            followed.retain(|_, seen| (0..FOLLOWED).contains(&at.since(*seen)));
            if followed.len() > MOST_FOLLOWED {
                followed.retain(|key, _| listed.contains(key));
            }
            followed.keys().filter(|key| !listed.contains(key)).cloned().collect()
        };
        rows.extend(self.hub.rows(left.iter()).into_values());
        let own = rows.into_iter().map(|row| Seen { row, shift_ms: 0 });
        let others = gossip.map(|gossip| gossip.rows_as_told()).unwrap_or_default();
        let others = others.into_iter().map(|(row, shift_ms)| Seen { row, shift_ms });
        own.chain(others).collect()
    }

    pub(super) fn hosts(&self, gossip: Option<&Gossip>) -> Vec<HostSeen> {
        let own = HostSeen {
            node: self.own().to_string(),
            label: self.label.clone(),
            alarm: self.mirror.alarm(now()),
            ..HostSeen::default()
        };
        let others = gossip.map(|gossip| gossip.hosts()).unwrap_or_default();
        let others = others.into_iter().map(|host| {
            let shift_ms = host.clock_offset_ms.unwrap_or(0);
            let alarm = host.mirror.map(|mut alarm| {
                alarm.since = alarm.since.map(|at| at.plus(-shift_ms));
                alarm
            });
            let is_away = host.state == HostState::Away;
            let away_since = host.since.filter(|_| is_away);
            HostSeen { node: host.node_id, label: host.host, is_away, away_since, alarm, shift_ms }
        });
        std::iter::once(own).chain(others).collect()
    }
}

/// Whether circles are worth looking for.
pub(super) fn is_any_waiting(rows: &[Seen]) -> bool {
    let is_wait = |link: &Link| link.kind == EdgeKind::Wait && !link.incoming;
    rows.iter().any(|seen| seen.row.links.iter().any(is_wait))
}

/// Whether these are quiet hours, and when to look again for their end.
pub(super) fn quiet(settings: &NotifySettings, at: Timestamp) -> (bool, Option<Timestamp>) {
    let Some(quiet) = settings.quiet else { return (false, None) };
    let zone = settings.time_zone.clone().unwrap_or_else(jiff::tz::TimeZone::system);
    let Ok(time) = jiff::Timestamp::from_millisecond(at.as_millis()) else {
        return (false, None);
    };
    let time = time.to_zoned(zone);
    let [hour, minute] =
        [time.hour(), time.minute()].map(|number| u16::from(number.unsigned_abs()));
    let minute = hour * 60 + minute;
    if !quiet.is(minute) {
        return (false, None);
    }
    // Clocks are set in the night: it is looked again before long.
    let left = i64::from(quiet.left(minute)).min(10) * 60_000;
    let gone = i64::from(time.second()) * 1_000 + i64::from(time.millisecond());
    (true, Some(at.plus(left - gone)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn at(text: &str) -> Timestamp {
        let time: jiff::Timestamp = text.parse().unwrap();
        Timestamp::from_millis(time.as_millisecond())
    }

    #[test]
    fn it_is_quiet_by_the_clock_on_the_wall() {
        let home = tempfile::tempdir().unwrap();
        let file = "[notify]\nquiet = \"22:00-07:00\"\ntime_zone = \"Europe/Prague\"";
        std::fs::write(home.path().join("config.toml"), file).unwrap();
        let env = |name: &str| {
            ["HOME", "RRD_HOME"].contains(&name).then(|| home.path().as_os_str().to_owned())
        };
        let mut settings = Config::load(&env, &crate::config::Flags::default()).unwrap().notify;
        for (now, is, until) in [
            ("2026-01-10T20:59:59Z", false, None),
            ("2026-01-10T21:00:00Z", true, Some("2026-01-10T21:10:00Z")),
            ("2026-01-11T05:59:30.5Z", true, Some("2026-01-11T06:00:00Z")),
            ("2026-01-11T06:00:00Z", false, None),
            // Clocks were set in the night between.
            ("2026-03-29T04:55:00Z", true, Some("2026-03-29T05:00:00Z")),
            ("2026-03-29T05:00:00Z", false, None),
            ("2026-10-25T05:59:00Z", true, Some("2026-10-25T06:00:00Z")),
        ] {
            assert_eq!(quiet(&settings, at(now)), (is, until.map(at)), "{now}");
        }
        settings.quiet = None;
        assert_eq!(quiet(&settings, at("2026-01-10T23:00:00Z")), (false, None));
    }
}
