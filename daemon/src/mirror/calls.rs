//! What `rrd mirror` asks for, each refusal in words.

use std::sync::Arc;

use rrd_proto::{MirrorCall, MirrorReply, Refusal};

use super::{
    Mirror, aim, found, inspect, outbox::OutboxError, stop, stream::Failure, target::Fault,
};

/// Lines of a transcript's end that are told at most.
const MOST_LINES: u32 = 10_000;

/// Does what is asked.
pub(crate) async fn answer(mirror: &Arc<Mirror>, call: MirrorCall) -> Result<MirrorReply, Refusal> {
    let aims = mirror.aims();
    // Nothing that is asked could be answered; what is enabled anew may be.
    if let Some(refusal) = mirror.refusal().filter(|_| !matches!(call, MirrorCall::Enable(_))) {
        return Err(refusal);
    }
    match call {
        MirrorCall::Enable(wish) => {
            let before =
                aims.iter().find(|aim| aim::address(&aim.settings) == aim::address(&wish.said));
            let target = wish.over(before.map(|aim| &aim.settings));
            // Whatever is wrong with the place is told to whoever names it.
            let place = aim::open(&target, &mirror.dirs).map_err(|error| {
                refusal(error.to_string(), "rrd mirror enable --help has examples")
            })?;
            let wrong = |fault: Fault| refusal(fault.to_string(), "nothing is mirrored there yet");
            place.make().await.map_err(wrong)?;
            place.probe().await.map_err(wrong)?;
            if target.keep_days == Some(0) {
                let error = "a session is kept for a day at least".to_owned();
                return Err(refusal(error, "rrd mirror stop ID mirrors a session no more"));
            }
            let enabled = |mirror: &Mirror| {
                let aim = mirror.enable(target)?;
                aim.status().map_err(broken)
            };
            aside(mirror, enabled).await.map(MirrorReply::Enabled)
        }
        MirrorCall::Disable { url } => {
            let gone = aside(mirror, move |mirror| mirror.disable(url.as_deref())).await?;
            Ok(MirrorReply::Disabled(gone))
        }
        MirrorCall::Run => {
            for aim in &aims {
                aim.catch_up().await;
            }
            status(mirror).await
        }
        MirrorCall::Compact { id } => {
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
            for aim in &aims {
                let shown = inspect::show(aim, &id, tail.min(MOST_LINES)).await.map_err(failed)?;
                if let Some(shown) = shown {
                    return Ok(MirrorReply::Shown(shown));
                }
            }
            Err(refusal(
                "no bucket has such a session".to_owned(),
                "rrd mirror list shows every id",
            ))
        }
        MirrorCall::Verify { id } => {
            let mut all = Vec::new();
            for aim in &aims {
                all.extend(inspect::verify(aim, id.as_deref()).await.map_err(failed)?);
            }
            Ok(MirrorReply::Verified(all))
        }
        MirrorCall::Found => {
            let (mut all, mut left_out) = (Vec::new(), 0);
            for aim in &aims {
                let (found, more) = found::found(aim).await.map_err(failed)?;
                all.extend(found);
                left_out += more;
            }
            Ok(MirrorReply::Found(all, left_out))
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
    refusal(failure.to_string(), "rrd mirror status says how it is with each place")
}

pub(super) fn broken(error: OutboxError) -> Refusal {
    unreadable(&error)
}

pub(super) fn unreadable(error: &OutboxError) -> Refusal {
    let hint = "move mirror.db and what else begins so away, rrd service restart, and enable the mirror \
                anew: what is in the bucket is found again";
    refusal(error.to_string(), hint)
}
