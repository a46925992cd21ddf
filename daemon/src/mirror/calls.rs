//! What `rrd mirror` asks for, each refusal in words.

use std::{sync::Arc, time::Duration};

use rrd_proto::{MirrorCall, MirrorReply, MirrorShown, Refusal};
use tokio::time::timeout;

use super::{
    Mirror,
    aim::{self, Aim},
    found, inspect,
    outbox::OutboxError,
    stop,
    stream::Failure,
    target::{Fault, folder_of, is_name, plain},
};

/// Lines of a transcript's end that are told at most.
const MOST_LINES: u32 = 10_000;

/// A place that is named is waited for so long; whoever named it waits, too.
const PATIENCE: Duration = Duration::from_secs(30);

/// Does what is asked.
pub(crate) async fn answer(mirror: &Arc<Mirror>, call: MirrorCall) -> Result<MirrorReply, Refusal> {
    let aims = mirror.aims();
    // Nothing that is asked could be answered; what is enabled anew may be.
    if let Some(refusal) = mirror.refusal().filter(|_| !matches!(call, MirrorCall::Enable(_))) {
        return Err(refusal);
    }
    match call {
        MirrorCall::Enable(mut wish) => {
            let url = plain(&wish.said.url);
            let is_same = |aim: &&Arc<Aim>| {
                aim.settings.project == wish.said.project && plain(&aim.settings.url) == url
            };
            let before = aims.iter().find(is_same);
            // One that is there keeps its spelling.
            wish.said.url = before.map_or(url, |aim| aim.settings.url.clone());
            let settings = wish.over(before.map(|aim| &aim.settings));
            // Buckets of one name at two providers are two places, of which one can be known by that name.
            if let Some(before) = before.filter(|aim| aim.settings.endpoint != settings.endpoint) {
                let at = before.settings.endpoint.as_deref().unwrap_or("its inventor's own");
                let place = aim::address(&before.settings);
                let why = format!("{place} is mirrored to already, at the endpoint {}", at);
                let hint = format!("rrd mirror disable {place} first: what is there stays there");
                return Err(refusal(why, &hint));
            }
            if !is_name(&settings.project) {
                let error = "a project is a name of letters, digits and ._-, perhaps with / between its parts";
                return Err(refusal(error.to_owned(), "rrd mirror enable --help has examples"));
            }
            // Whatever is wrong with the place is told to whoever names it.
            let place = aim::open(&settings, &mirror.dirs).map_err(|error| {
                refusal(error.to_string(), "rrd mirror enable --help has examples")
            })?;
            let unchanged = "nothing was changed; rrd mirror enable --help has examples";
            let address = aim::address(&settings);
            let asked = async {
                place.make().await?;
                let other = another_name(&aims, &address);
                if other.is_none() {
                    place.probe().await?;
                }
                Ok(other)
            };
            match timeout(PATIENCE, asked).await {
                Ok(Ok(None)) => {}
                Ok(Ok(Some(other))) => {
                    let error = format!("that folder is mirrored to already, as {other}");
                    return Err(refusal(
                        error,
                        "give that address, or rrd mirror disable it first",
                    ));
                }
                Ok(Err(fault)) => {
                    let fault: Fault = fault;
                    return Err(refusal(fault.once(), unchanged));
                }
                Err(_) => {
                    let (place, seconds) = (place.place(), PATIENCE.as_secs());
                    let why = format!("{place} did not answer within {seconds} s");
                    return Err(refusal(why, "check its address; nothing was changed"));
                }
            }
            if settings.keep_days == Some(0) {
                let error = "a session is kept for a day at least".to_owned();
                return Err(refusal(error, "rrd mirror stop ID mirrors a session no more"));
            }
            let enabled = |mirror: &Mirror| {
                let aim = mirror.enable(settings)?;
                aim.status().map_err(broken)
            };
            aside(mirror, enabled).await.map(|place| MirrorReply::Enabled(Box::new(place)))
        }
        MirrorCall::Disable { url } => {
            let (named, count) = (url.is_some(), aims.len());
            let gone = aside(mirror, move |mirror| mirror.disable(url.as_deref())).await?;
            if gone == 0 && named {
                let hint = match count {
                    0 => "rrd mirror enable --help has examples",
                    _ => "rrd mirror status names the places",
                };
                return Err(refusal("nothing is mirrored to that place".to_owned(), hint));
            }
            Ok(MirrorReply::Disabled(gone))
        }
        MirrorCall::Run => {
            for aim in &aims {
                aim.catch_up().await;
            }
            status(mirror).await
        }
        MirrorCall::Compact { id } => {
            if let Some(id) =
                id.as_deref().filter(|id| !aims.iter().any(|aim| aim.can_compact(Some(id))))
            {
                return Err(compacts_not(&aims, id));
            }
            for aim in &aims {
                aim.compact(id.as_deref()).await;
            }
            status(mirror).await
        }
        MirrorCall::Status => status(mirror).await,
        MirrorCall::Stop { id, url } => stop::stop(mirror, &aims, &id, url.as_deref()).await,
        MirrorCall::Start { id, url } => stop::start(mirror, &aims, &id, url.as_deref()).await,
        MirrorCall::Prune { dry_run } => {
            let mut pruned = Vec::new();
            for aim in &aims {
                let all = aim.to_prune().map_err(broken)?;
                if !dry_run {
                    aim.prune();
                    aim.catch_up().await;
                }
                pruned
                    .extend(all.into_iter().filter(|one| dry_run || aim.is_pruned(&one.directory)));
            }
            Ok(MirrorReply::Pruned(pruned))
        }
        MirrorCall::Show { id, tail } => {
            let (places, unasked) = inspect::newest(&aims, &id).await;
            for place in places {
                let shown = inspect::show(&place, tail.min(MOST_LINES)).await.map_err(failed)?;
                if let Some(shown) = shown {
                    return Ok(MirrorReply::Shown(MirrorShown { unasked, ..shown }));
                }
            }
            if let Some(why) = unasked.first() {
                return Err(refusal(why.clone(), inspect::UNREACHED));
            }
            Err(refusal(
                "no bucket has such a session".to_owned(),
                "rrd mirror list --from-bucket shows every id",
            ))
        }
        MirrorCall::Verify { id } => {
            let (mut all, mut unasked) = (Vec::new(), Vec::new());
            for aim in &aims {
                aim.begun().await;
                match inspect::verify(aim, id.as_deref()).await {
                    Ok(verified) => all.extend(verified),
                    Err(failure) => unasked.push(inspect::not_asked(aim, failure)),
                }
            }
            let is_for_nothing = id.is_some() || aims.is_empty();
            if is_for_nothing && all.is_empty() && unasked.is_empty() {
                return Err(nothing_of_it(&aims));
            }
            Ok(MirrorReply::Verified(all, unasked))
        }
        MirrorCall::Found => {
            let (mut all, mut left_out, mut unasked) = (Vec::new(), 0, Vec::new());
            for aim in &aims {
                match found::found(aim).await {
                    Ok((found, more)) => {
                        all.extend(found);
                        left_out += more;
                    }
                    Err(failure) => unasked.push(inspect::not_asked(aim, failure)),
                }
            }
            Ok(MirrorReply::Found(all, left_out, unasked))
        }
        MirrorCall::List => {
            let list = move |_: &Mirror| {
                let lists = aims.iter().map(|aim| aim.list()).collect::<Result<Vec<_>, _>>();
                lists.map(|lists| lists.concat()).map_err(broken)
            };
            aside(mirror, list).await.map(MirrorReply::List)
        }
    }
}

async fn status(mirror: &Arc<Mirror>) -> Result<MirrorReply, Refusal> {
    let aims = mirror.aims();
    let status = move |_: &Mirror| {
        let all = aims.iter().map(|aim| aim.status()).collect::<Result<Vec<_>, _>>();
        all.map_err(broken)
    };
    aside(mirror, status).await.map(MirrorReply::Status)
}

/// The other address by which a folder is mirrored to.
fn another_name(aims: &[Arc<Aim>], address: &str) -> Option<String> {
    let folder = folder_of(address)?;
    let addresses = aims.iter().map(|aim| aim::address(&aim.settings));
    addresses
        .filter(|other| other != address)
        .find(|other| folder_of(other).as_ref() == Some(&folder))
}

/// Why no place makes few parts of many of this session.
fn compacts_not(aims: &[Arc<Aim>], id: &str) -> Refusal {
    if let Some(why) = aims.iter().find_map(|aim| aim.compacts_not(id)) {
        let error = format!("what is there of that session stays as it is: {why}");
        return refusal(error, "rrd mirror list tells how it is with each session");
    }
    if aims.iter().flat_map(|aim| aim.streams()).any(|one| inspect::is_of(&one, id)) {
        let error = "another host mirrors that session".to_owned();
        return refusal(error, "rrd mirror list names it: run this there");
    }
    nothing_of_it(aims)
}

/// Of a session that nobody mirrors.
fn nothing_of_it(aims: &[Arc<Aim>]) -> Refusal {
    match aims {
        [] => refusal("nothing is mirrored".to_owned(), "rrd mirror enable --help has examples"),
        _ => refusal(
            "this host mirrors no session whose id begins with that".to_owned(),
            "rrd mirror list shows every id",
        ),
    }
}

/// On a thread that may wait for the disk.
pub(super) async fn aside<T: Send + 'static>(
    mirror: &Arc<Mirror>,
    work: impl FnOnce(&Mirror) -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    let (mirror, runtime) = (Arc::clone(mirror), tokio::runtime::Handle::current());
    let work = move || {
        let _guard = runtime.enter();
        work(&mirror)
    };
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| {
        Err(refusal("that failed inside the daemon".to_owned(), "rrd doctor looks into it"))
    })
}

pub(super) fn refusal(message: String, hint: &str) -> Refusal {
    Refusal { message, facts: Vec::new(), hint: Some(hint.to_owned()) }
}

pub(super) fn failed(failure: Failure) -> Refusal {
    let why = match failure {
        // Nobody tries again what a person asked.
        Failure::Bucket(fault) => fault.once(),
        failure => failure.to_string(),
    };
    refusal(why, "rrd mirror status says how it is with each place")
}

pub(super) fn broken(error: OutboxError) -> Refusal {
    unreadable(&error)
}

pub(super) fn unreadable(error: &OutboxError) -> Refusal {
    let hint = "move mirror.db and what else begins so away, rrd service restart, and enable the mirror \
                anew: what is in the bucket is found again";
    refusal(error.to_string(), hint)
}
