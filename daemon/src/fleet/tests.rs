//! Two nodes in one process: each lets the other in, asks it, and is refused.

use std::{ffi::OsString, time::Duration};

use rrd_proto::peer::Refused;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::{enrol::Word, link::LinkError, *};
use crate::{
    config::Flags,
    desk::{Desk, Index},
    hub::Hub,
    resume::give::Copies,
    scan::place,
    search::Search,
    store,
};

const NEVER: Duration = Duration::from_secs(30);

/// A node that listens; gone when dropped.
struct Node {
    fleet: Arc<Fleet>,
    desk: Arc<Desk>,
    stop: CancellationToken,
    _home: TempDir,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn config(home: &TempDir, name: &str) -> Config {
    let env = |wanted: &str| match wanted {
        "HOME" | "RRD_HOME" => Some(home.path().as_os_str().to_owned()),
        "RRD_NAME" => Some(OsString::from(name)),
        "RRD_LISTEN" => Some("127.0.0.1:0".into()),
        _ => None,
    };
    Config::load(&env, &Flags::default()).unwrap()
}

fn node(name: &str) -> Node {
    let home = tempfile::tempdir().unwrap();
    let config = config(&home, name);
    std::fs::create_dir_all(&config.dirs.state).unwrap();
    let edges = Arc::new(Edges::open(&config.dirs));
    let fleet = Fleet::open(&config, &edges).unwrap();
    let stop = CancellationToken::new();
    let (writer, _) = store::open(&config.dirs.state).unwrap();
    let search = Search::start(&config.dirs.state, &edges, writer.committed()).unwrap();
    let search = Arc::new(search);
    let index = Arc::new(Index::new(config.dirs.state.clone(), Arc::new(writer)));
    let hub = Arc::new(Hub::new(place(&config, Some(fleet.node())), &[]));
    let copies = Copies::new(&config, &edges);
    let (tails, event) = (Vec::new(), 1 << 16);
    let desk = Arc::new(Desk { hub, edges, tails, index, search, event, copies });
    tokio::spawn(listen(Arc::clone(&fleet), Arc::clone(&desk), stop.clone()));
    Node { fleet, desk, stop, _home: home }
}

async fn until(fleet: &Arc<Fleet>, is: impl Fn(&Fleet) -> bool) {
    let mut changed = fleet.changed();
    let come = changed.wait_for(|_| is(fleet));
    tokio::time::timeout(NEVER, come).await.unwrap().unwrap();
}

/// Whether a node has said where it listens now.
fn has_stated(fleet: &Fleet) -> bool {
    let own = fleet.node();
    let said = fleet.members().get(own).and_then(|member| member.addresses.first().copied());
    fleet.address().is_some() && said == fleet.address()
}

/// Two members of one fleet, who know where the other is.
async fn pair() -> (Node, Node) {
    let (one, two) = (node("one"), node("two"));
    one.fleet.found().unwrap();
    until(&one.fleet, |fleet| fleet.address().is_some()).await;
    let invite = enrol::invite(&one.fleet, one.fleet.address().unwrap()).unwrap();
    enrol::join(&two.fleet, &Word::parse(&invite.word).unwrap()).await.unwrap();
    until(&two.fleet, has_stated).await;
    (one, two)
}

async fn members_of_one(one: &Node, two: &Node) -> Result<List, LinkError> {
    let list = two.fleet.members().list();
    two.fleet.link(one.fleet.node()).call(&two.fleet, "members", &list, NEVER).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_request_is_refused_and_the_next_one_answered() {
    let (one, two) = pair().await;
    let link = two.fleet.link(one.fleet.node());
    let refused = link.call::<_, List>(&two.fleet, "members", "no list", NEVER).await;
    let is_bad = |refused: &Refused| refused.code == "bad_body";
    assert!(matches!(&refused, Err(LinkError::Refused(r)) if is_bad(r)), "{refused:?}");
    let unknown = link.call::<_, List>(&two.fleet, "made_up", &(), NEVER).await;
    assert!(matches!(unknown, Err(LinkError::Unknown)), "{unknown:?}");
    let large = vec![7u8; rrd_proto::peer::MAX_FRAME];
    let refused = link.call::<_, List>(&two.fleet, "members", &large, NEVER).await;
    assert!(matches!(&refused, Err(LinkError::Refused(r)) if r.code == "too_large"));
    let list = members_of_one(&one, &two).await.unwrap();
    assert_eq!(list.statements.len(), 2);
    // Its address came along.
    let said = one.fleet.members().get(two.fleet.node()).unwrap().addresses.clone();
    assert_eq!(said, [two.fleet.address().unwrap()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_has_gone_is_made_anew() {
    let (one, two) = pair().await;
    members_of_one(&one, &two).await.unwrap();
    let former = one.fleet.address().unwrap();
    // Everything that is open closes; another process would listen at the same place.
    one.stop.cancel();
    let gone = tokio::time::timeout(NEVER, async {
        while std::net::TcpStream::connect(former).is_ok() {
            tokio::task::yield_now().await;
        }
    });
    gone.await.unwrap();
    let away = members_of_one(&one, &two).await;
    assert!(matches!(away, Err(LinkError::Unreachable(..) | LinkError::Closed)), "{away:?}");
    let stop = CancellationToken::new();
    one.fleet.set_place(Place::default());
    tokio::spawn(listen(Arc::clone(&one.fleet), Arc::clone(&one.desk), stop.clone()));
    until(&one.fleet, |fleet| fleet.address() != Some(former) && has_stated(fleet)).await;
    // It hears where the other one is now by the call of that one.
    let list = one.fleet.members().list();
    let link = one.fleet.link(two.fleet.node());
    link.call::<_, List>(&one.fleet, "members", &list, NEVER).await.unwrap();
    members_of_one(&one, &two).await.unwrap();
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_handed_to_members_alone() {
    let (one, two) = pair().await;
    members_of_one(&one, &two).await.unwrap();
    let rotation = rekey::rotate(&one.fleet, None).await.unwrap();
    assert_eq!((rotation.reached, rotation.missed.len()), (vec!["two".to_owned()], 0));
    assert_eq!(one.fleet.key(), two.fleet.key());
    // The connections of before are of no use, and nobody notices.
    members_of_one(&one, &two).await.unwrap();
    let rotation = rekey::rotate(&one.fleet, Some(two.fleet.node())).await.unwrap();
    assert_eq!(rotation.dropped.as_deref(), Some("two"));
    let refused = members_of_one(&one, &two).await;
    assert!(matches!(refused, Err(LinkError::Dropped)), "{refused:?}");
    assert_ne!(one.fleet.key(), two.fleet.key());
    // What the dropped one says of itself and of others is not heard.
    assert!(two.fleet.members().dropped(two.fleet.node()).is_none());
}
