//! What `rrd pair`, `rrd open` and `rrd token` ask for, each refusal in words.
//!
//! A code comes in the addresses that take it, so these must be known: on a host without a fleet the Tailscale
//! address is listened at only once there is a code. Not here: what is kept ([`super::lookers`]).

use std::{net::SocketAddr, sync::Arc, time::Duration};

use rrd_proto::{LookerCall, LookerCode, LookerReply, Refusal};
use tokio::{sync::watch, time::timeout};

use super::lookers::{CodeFor, Lookers, Secret};
use crate::{fleet::aside, hub::now};

/// How long it may take until the Tailscale address is listened at.
const OPENING: Duration = Duration::from_secs(6);

/// Where the page is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Addresses {
    /// For this machine.
    pub(crate) loopback: Option<SocketAddr>,
    /// For devices of the tailnet.
    pub(crate) tailnet: Option<SocketAddr>,
    /// Where it was told to listen beside these; addresses that can be typed, none that stands for all.
    pub(crate) others: Vec<SocketAddr>,
    /// This node's name in the tailnet.
    pub(crate) dns_name: Option<String>,
    /// Why it is not at the port that was wanted.
    pub(crate) moved: Option<String>,
    /// Why it is not at the Tailscale address, when that is settled; or what else is to be said of where it is.
    pub(crate) note: Option<String>,
    /// The number of [`Lookers::changed`] up to which that is settled: a later code may have it opened.
    pub(crate) settled: u64,
}

impl Addresses {
    /// All of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = SocketAddr> {
        self.loopback.into_iter().chain(self.tailnet).chain(self.others.iter().copied())
    }

    /// Whether there is no page at all.
    fn is_off(&self) -> bool {
        self.loopback.is_none() && self.tailnet.is_none() && self.others.is_empty()
    }

    /// What other devices reach, the best first: an address needs no name service.
    fn for_others(&self) -> Vec<String> {
        let named = self.tailnet.and_then(|at| {
            let name = self.dns_name.as_ref()?;
            Some(format!("{name}:{}", at.port()))
        });
        let tailnet = self.tailnet.map(|at| at.to_string());
        let others = self.others.iter().map(ToString::to_string);
        tailnet.into_iter().chain(named).chain(others).collect()
    }
}

/// Does what is asked.
pub(crate) async fn answer(
    lookers: &Arc<Lookers>,
    addresses: watch::Receiver<Addresses>,
    call: LookerCall,
) -> Result<LookerReply, Refusal> {
    let done = match call {
        LookerCall::Pair => return pair(lookers, addresses).await,
        LookerCall::Open => return open(lookers, &addresses.borrow().clone()),
        LookerCall::List(kind) => return lookers.list(kind, now()).map(LookerReply::Lookers),
        LookerCall::Token { label, session_store } => {
            let make =
                move |lookers: &Lookers| lookers.token(label.as_deref(), session_store, now());
            let token = aside(lookers, make).await;
            token.map(|token| token.map(LookerReply::Token))
        }
        LookerCall::Revoke { kind, id } => {
            let revoked =
                aside(lookers, move |lookers| lookers.revoke(kind, id.as_deref(), now())).await;
            revoked.map(|count| count.map(LookerReply::Revoked))
        }
    };
    done.unwrap_or_else(|| {
        Err(refusal("that failed inside the daemon", "rrd doctor looks into it"))
    })
}

async fn pair(
    lookers: &Lookers,
    mut addresses: watch::Receiver<Addresses>,
) -> Result<LookerReply, Refusal> {
    if addresses.borrow().is_off() {
        return Err(off());
    }
    // The code first: it is what has the Tailscale address listened at.
    let (code, until) = lookers.code(CodeFor::Pair, now())?;
    let number = *lookers.changed().borrow();
    let _ = timeout(OPENING, addresses.wait_for(|now| now.settled >= number)).await;
    let addresses = addresses.borrow().clone();
    let others = addresses.for_others();
    let only_here = others.is_empty();
    let here = addresses.loopback.filter(|_| only_here).map(|at| at.to_string());
    let urls: Vec<_> = others.into_iter().chain(here).map(|at| url(&at, &code)).collect();
    if urls.is_empty() {
        lookers.take_back(&code);
        return Err(off());
    }
    let note = addresses.note.filter(|_| addresses.tailnet.is_none());
    Ok(LookerReply::Code(LookerCode { urls, until, only_here, note }))
}

fn open(lookers: &Lookers, addresses: &Addresses) -> Result<LookerReply, Refusal> {
    if addresses.is_off() {
        return Err(off());
    }
    let Some(at) = addresses.loopback else {
        return Err(refusal(
            "the page is not served to this machine's own address",
            "rrd pair shows where it is",
        ));
    };
    let (code, until) = lookers.code(CodeFor::Open, now())?;
    let urls = vec![url(&at.to_string(), &code)];
    Ok(LookerReply::Code(LookerCode { urls, until, only_here: true, note: None }))
}

fn url(at: &str, code: &Secret) -> String {
    format!("http://{at}/pair?code={}", code.reveal())
}

fn off() -> Refusal {
    refusal(
        "this daemon serves no page",
        "rrd status says why; [http] listen = \"auto\" in config.toml and rrd service restart turn it on",
    )
}

fn refusal(message: &str, hint: &str) -> Refusal {
    Refusal { message: message.to_owned(), facts: Vec::new(), hint: Some(hint.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookers() -> (tempfile::TempDir, Arc<Lookers>) {
        let dir = tempfile::tempdir().unwrap();
        let lookers = Lookers::open(dir.path(), now());
        (dir, lookers)
    }

    fn at(text: &str) -> Option<SocketAddr> {
        Some(text.parse().unwrap())
    }

    fn code(reply: Result<LookerReply, Refusal>) -> LookerCode {
        match reply.unwrap() {
            LookerReply::Code(code) => code,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_code_comes_in_the_addresses_that_take_it() {
        let (_dir, lookers) = lookers();
        let (say, addresses) = watch::channel(Addresses::default());
        let asks = |call| answer(&lookers, addresses.clone(), call);
        for call in [LookerCall::Pair, LookerCall::Open] {
            let refusal = asks(call).await.unwrap_err();
            assert!(refusal.message.contains("no page") && refusal.hint.is_some());
        }
        // What is not listened at yet comes when there is a code.
        let here = Addresses { loopback: at("127.0.0.1:7730"), ..Addresses::default() };
        say.send_replace(here.clone());
        let paired = asks(LookerCall::Pair);
        let comes = async {
            let mut changed = lookers.changed();
            changed.wait_for(|_| lookers.wants_tailnet(now())).await.unwrap();
            let dns_name = Some("desk.tail1234.ts.net".to_owned());
            say.send_replace(Addresses {
                tailnet: at("100.64.0.1:7730"),
                dns_name,
                settled: 1,
                ..here.clone()
            });
        };
        let (paired, ()) = tokio::join!(paired, comes);
        let LookerCode { urls, only_here, note, .. } = code(paired);
        assert!(urls[0].starts_with("http://100.64.0.1:7730/pair?code=rrd_code_"), "{urls:?}");
        assert!(urls[1].starts_with("http://desk.tail1234.ts.net:7730/pair?code="), "{urls:?}");
        assert_eq!((urls.len(), only_here, note), (2, false, None));
        let opened = code(asks(LookerCall::Open).await);
        assert!(opened.urls[0].starts_with("http://127.0.0.1:7730/pair?code=rrd_code_"));
        // Where there is no Tailscale, that is said; and where nobody says anything, it goes on too.
        for (note, settled) in [(Some("no Tailscale address".to_owned()), u64::MAX), (None, 0)] {
            say.send_replace(Addresses { note: note.clone(), settled, ..here.clone() });
            let paired = code(asks(LookerCall::Pair).await);
            assert!(paired.only_here && paired.urls[0].starts_with("http://127.0.0.1:7730/"));
            assert_eq!(paired.note, note);
        }
        say.send_replace(Addresses {
            others: at("[fd00::1]:80").into_iter().collect(),
            ..Addresses::default()
        });
        assert!(code(asks(LookerCall::Pair).await).urls[0].starts_with("http://[fd00::1]:80/"));
        assert!(asks(LookerCall::Open).await.unwrap_err().hint.unwrap().contains("rrd pair"));
    }
}
