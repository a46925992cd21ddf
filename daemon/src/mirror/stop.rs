//! `rrd mirror stop` and `start`: sessions that the user wants mirrored no more, or again.
//!
//! With a session go its delegates. What is in a bucket stays there. Not here: that what is stopped is not
//! carried ([`super::aim`]).

use std::{collections::BTreeSet, sync::Arc};

use rrd_proto::{MirrorReply, Refusal, SessionKey};

use super::{
    Mirror,
    aim::{self, Aim},
    calls::{aside, broken, refusal},
    outbox::EVERYWHERE,
};
use crate::hub::now;

/// This session to these places no more; where none is named, to none that ever comes.
pub(super) async fn stop(
    mirror: &Arc<Mirror>,
    aims: &[Arc<Aim>],
    id: &str,
    url: Option<&str>,
) -> Result<MirrorReply, Refusal> {
    let chosen = chosen(aims, url)?;
    let key = named(mirror, aims, id)?;
    let places = if url.is_some() { addresses(&chosen) } else { vec![EVERYWHERE.to_owned()] };
    let session = key.session_id.clone();
    aside(mirror, move |mirror| {
        mirror.with_outbox(|outbox| {
            places.iter().try_for_each(|place| outbox.stop(place, &key, now()))
        })
    })
    .await?;
    again(&chosen).await?;
    Ok(MirrorReply::Stopped(session, addresses(&chosen)))
}

/// And again.
pub(super) async fn start(
    mirror: &Arc<Mirror>,
    aims: &[Arc<Aim>],
    id: &str,
    url: Option<&str>,
) -> Result<MirrorReply, Refusal> {
    let chosen = chosen(aims, url)?;
    let key = named(mirror, aims, id)?;
    let session = key.session_id.clone();
    let (all, only) = (addresses(aims), url.map(|_| addresses(&chosen)));
    aside(mirror, move |mirror| {
        mirror.with_outbox(|outbox| {
            let Some(only) = only else { return outbox.start(None, &key) };
            let stops = outbox.stops()?;
            let everywhere = stops.iter().find(|s| s.key == key && s.url == EVERYWHERE);
            if let Some(everywhere) = everywhere {
                // To the others it is still not mirrored.
                let others = all.iter().filter(|place| !only.contains(place));
                others.into_iter().try_for_each(|to| outbox.stop(to, &key, everywhere.at))?;
                outbox.start(Some(EVERYWHERE), &key)?;
            }
            only.iter().try_for_each(|place| outbox.start(Some(place), &key))
        })
    })
    .await?;
    again(&chosen).await?;
    Ok(MirrorReply::Stopped(session, addresses(&chosen)))
}

async fn again(aims: &[Arc<Aim>]) -> Result<(), Refusal> {
    for aim in aims {
        aim.take_stops().map_err(broken)?;
    }
    for aim in aims {
        aim.look_again().await;
    }
    Ok(())
}

fn addresses(aims: &[Arc<Aim>]) -> Vec<String> {
    aims.iter().map(|aim| aim::address(&aim.settings)).collect()
}

/// The places that are meant.
fn chosen(aims: &[Arc<Aim>], url: Option<&str>) -> Result<Vec<Arc<Aim>>, Refusal> {
    let is_meant = |aim: &&Arc<Aim>| url.is_none_or(|url| aim::is_meant(&aim.settings, url));
    let chosen: Vec<Arc<Aim>> = aims.iter().filter(is_meant).cloned().collect();
    match (chosen.is_empty(), aims.is_empty()) {
        (false, _) => Ok(chosen),
        (true, true) => {
            Err(refusal("nothing is mirrored".to_owned(), "rrd mirror enable --help has examples"))
        }
        (true, false) => Err(refusal(
            "nothing is mirrored to that place".to_owned(),
            "rrd mirror status names the places",
        )),
    }
}

/// The one session of this host whose id begins like this.
fn named(mirror: &Mirror, aims: &[Arc<Aim>], id: &str) -> Result<SessionKey, Refusal> {
    let rows = |aim: &Arc<Aim>| -> Vec<SessionKey> {
        aim.streams().iter().map(|stream| aim.row(&stream.key)).collect()
    };
    let streams = aims.iter().flat_map(rows);
    let known: BTreeSet<SessionKey> =
        mirror.hub.keys(None, None).into_iter().chain(streams).collect();
    let by_reference = mirror.hub.rows(known.iter());
    let is_meant = |key: &&SessionKey| {
        let reference = by_reference.get(*key).map(|row| row.reference.as_str());
        !id.is_empty() && (key.session_id.starts_with(id) || reference == Some(id))
    };
    let found: Vec<&SessionKey> = known.iter().filter(is_meant).collect();
    let whole = found.iter().filter(|key| key.session_id == id).count() == 1;
    match &found[..] {
        [] => Err(refusal(
            "no session of this host begins with that".to_owned(),
            "rrd sessions list --local --all shows every id; a session is stopped on its own host",
        )),
        [one] => Ok((*one).clone()),
        several => match several.iter().find(|key| whole && key.session_id == id) {
            Some(one) => Ok((**one).clone()),
            None => {
                let names: Vec<&str> =
                    several.iter().take(5).map(|key| key.session_id.as_str()).collect();
                let all = names.join(", ");
                let said = format!("{} sessions begin with that: {all}", several.len());
                Err(refusal(said, "say more of the id"))
            }
        },
    }
}
