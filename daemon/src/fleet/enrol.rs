//! Letting a host in: the invite, the host that takes it, the member that made it.
//!
//! An invite is an address, a name and a token. Its taker proves the token in the handshake; the member
//! marks the invite as used, on the disk, before it sends the key, and vouches for the taker's own keys.
//! What is kept of a token is derived from it. Not here: the connection ([`super::noise`]).

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use hkdf::Hkdf;
use rrd_core::fleet::{
    key::{FleetKey, base64, from_base64},
    members::{List, Member, Members, Statement, vouch},
};
use rrd_proto::{
    FleetInvite, Timestamp,
    peer::{Answer, Purpose},
};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::{
    Broken, Fleet, aside,
    keep::KeepError,
    keyfile::{self, Keys},
    link::{LinkError, reach},
    noise::{HandshakeError, Secured},
    now,
};

/// How long an invite is good, in milliseconds.
const GOOD_FOR: i64 = 10 * 60 * 1000;

/// How long the member that made the invite may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the taker says first: its own statement, for which nobody has vouched yet.
#[derive(Serialize, Deserialize)]
struct Apply {
    statement: Statement,
}

/// What it is told.
#[derive(Serialize, Deserialize)]
struct Welcome {
    /// Why not, in one word.
    #[serde(default)]
    refused: Option<String>,
    #[serde(default)]
    number: u64,
    #[serde(default)]
    key: Zeroizing<String>,
    #[serde(default)]
    list: List,
}

/// An invite as it is read.
pub(super) struct Word {
    pub(super) address: SocketAddr,
    id: [u8; 4],
    token: Zeroizing<[u8; 16]>,
}

impl Word {
    /// Reads what `rrd fleet invite` printed, or its last word.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let word = line.split_whitespace().next_back()?;
        let (address, rest) = word.split_once('/')?;
        let (id, token) = rest.split_once('.')?;
        let id = u32::from_str_radix(id, 16).ok().filter(|_| id.len() == 8)?;
        let token = Zeroizing::new(from_base64(token)?);
        Some(Self { address: address.parse().ok()?, id: id.to_be_bytes(), token })
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = u32::from_be_bytes(self.id);
        write!(f, "{}/{id:08x}.{}", self.address, base64(self.token.as_ref()))
    }
}

/// What the taker of an invite proves.
fn proof(token: &[u8; 16]) -> Zeroizing<[u8; 32]> {
    let mut proof = Zeroizing::new([0; 32]);
    // Only an output of over 8 KiB could fail.
    let _ = Hkdf::<Sha256>::new(None, token).expand(b"rrd/enrol/1", proof.as_mut());
    proof
}

/// Has the token found in nothing that leaves this host.
fn hide(fleet: &Fleet, token: &[u8; 16]) {
    let forms = [base64(token).into_bytes(), token.to_vec()];
    fleet.edges.hide(forms.map(Zeroizing::new).into());
}

/// Makes an invite for whoever reaches `address`. Blocks.
pub(super) fn invite(fleet: &Fleet, address: SocketAddr) -> Result<FleetInvite, Broken> {
    let (id, token) = (*keyfile::random::<4>()?, keyfile::random::<16>()?);
    let until = Timestamp::from_millis(now().as_millis() + GOOD_FOR);
    hide(fleet, &token);
    fleet.keep().add_invite(id, &proof(&token), now(), until)?;
    let word = Word { address, id, token };
    Ok(FleetInvite { word: word.to_string(), until, only_here: address.ip().is_loopback() })
}

/// Why an invite could not be taken.
#[derive(Debug)]
pub(super) enum JoinError {
    /// The member could not be reached, or said no to begin with.
    Link(LinkError),
    /// It said no, in one word.
    Refused(String),
    /// It broke off; whether the invite is used is not known.
    BrokeOff,
    /// What it said does not hold.
    NotWhole,
    /// Nothing could be kept here.
    Broken(Broken),
}

/// Takes an invite.
pub(super) async fn join(fleet: &Arc<Fleet>, word: &Word) -> Result<(), JoinError> {
    let token = word.token.clone();
    let applied = aside(fleet, move |fleet| {
        hide(fleet, &token);
        let (identity, keep) = (fleet.identity(), fleet.keep());
        let (version, replaces) = (keep.next_version(now())?, keep.replaces()?);
        let member = Member { replaces, ..fleet.member(&identity, version, now()) };
        let own = vouch(&identity, member.signing, member.handshake);
        Ok::<_, KeepError>(Statement::new(&identity, &member, own))
    });
    let statement = applied.await.unwrap_or_else(|| Err(lost()));
    let statement = statement.map_err(|error| JoinError::Broken(error.into()))?;
    let identity = fleet.identity();
    let what_for = (Purpose::Enrol, word.id);
    let proof = proof(&word.token);
    let mut secured = reach(&identity, &[word.address], what_for, &proof, |_| true)
        .await
        .map_err(JoinError::Link)?;
    let inviter = secured.remote;
    let talk = async {
        secured.send(&Apply { statement }).await?;
        secured.receive::<Welcome>().await
    };
    let told = tokio::time::timeout(PATIENCE, talk).await.map_err(|_| JoinError::BrokeOff)?;
    let welcome = told.map_err(|_| JoinError::BrokeOff)?;
    if let Some(why) = welcome.refused {
        return Err(JoinError::Refused(why));
    }
    let key = FleetKey::parse(&welcome.key).ok_or(JoinError::NotWhole)?;
    let members = Members::trusted(welcome.list);
    let knows_inviter = members.now().any(|member| member.handshake == inviter);
    if !knows_inviter || !members.has(identity.node()) {
        return Err(JoinError::NotWhole);
    }
    let keys = Keys::first(welcome.number, key);
    let entered = aside(fleet, move |fleet| {
        let keep = fleet.keep();
        fleet.enter(&keep, keys, members)
    });
    entered.await.unwrap_or_else(|| Err(lost().into())).map_err(JoinError::Broken)
}

fn lost() -> KeepError {
    KeepError::Io { path: "keep.db".into(), source: std::io::Error::other("a thread ended") }
}

impl JoinError {
    /// What the other side said about the invite, where it was that.
    pub(super) fn answer(&self) -> Option<Answer> {
        match self {
            Self::Link(LinkError::Handshake(HandshakeError::Answered(answer, _))) => Some(*answer),
            _ => None,
        }
    }
}

/// Lets in whoever has proven an invite's token; the error is what a refusal is counted as.
pub(super) async fn welcome(
    fleet: &Arc<Fleet>,
    mut secured: Secured,
    id: [u8; 4],
) -> Result<(), &'static str> {
    let apply: Apply = secured.receive().await.map_err(|_| "broke_off")?;
    let remote = secured.remote;
    let admitted = aside(fleet, move |fleet| {
        let member = apply.statement.read().ok_or("not_proven")?;
        if member.handshake != remote {
            return Err("not_proven");
        }
        let node = member.node();
        let members = fleet.members();
        if members.dropped(node).is_some() {
            return Err("dropped");
        }
        let keep = fleet.keep();
        let keys = fleet.keys().ok_or("no_open_invite")?;
        // On the disk, before the key is on its way.
        if !keep.spend_invite(id, now()).map_err(|_| "failed")? {
            return Err("no_open_invite");
        }
        let (voucher, vouch) = vouch(&fleet.identity(), member.signing, member.handshake);
        let statement = Statement { voucher, vouch, ..apply.statement };
        let list = List { statements: vec![statement], ..List::default() };
        fleet.merge_with(&keep, list).map_err(|_| "failed")?;
        let members = fleet.members();
        if !members.has(node) {
            return Err("full");
        }
        tracing::info!(%node, "let a host into the fleet");
        let (number, key) = (keys.now.0, keys.now.1.reveal());
        Ok(Welcome { refused: None, number, key, list: members.list() })
    });
    let (welcome, result) = match admitted.await.unwrap_or(Err("failed")) {
        Ok(welcome) => (welcome, Ok(())),
        Err(why) => {
            let refused = Some(why.to_owned());
            let (key, list) = (Zeroizing::default(), List::default());
            (Welcome { refused, number: 0, key, list }, Err(why))
        }
    };
    secured.send(&welcome).await.map_err(|_| "broke_off")?;
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invite_is_read_as_it_is_printed() {
        let word = Word {
            address: "100.64.0.1:7731".parse().unwrap(),
            id: [0, 1, 2, 255],
            token: Zeroizing::new([7; 16]),
        };
        let text = word.to_string();
        assert_eq!(text, "100.64.0.1:7731/000102ff.BwcHBwcHBwcHBwcHBwcHBw");
        for line in
            [text.clone(), format!("  rrd fleet join {text}\n"), format!("[::1]:9/{}", &text[16..])]
        {
            let read = Word::parse(&line).unwrap();
            assert_eq!((read.id, *read.token), (word.id, [7; 16]), "{line}");
        }
        for wrong in [
            "",
            "x",
            "100.64.0.1:7731",
            "100.64.0.1:7731/000102ff",
            "host:7731/000102ff.BwcHBwcHBwcHBwcHBwcHBw",
            "100.64.0.1:7731/0102ff.BwcHBwcHBwcHBwcHBwcHBw",
            "100.64.0.1:7731/000102ff.BwcHBwcHBwcHBwcHBwcHB",
        ] {
            assert!(Word::parse(wrong).is_none(), "{wrong}");
        }
    }
}
