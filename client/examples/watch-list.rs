//! Prints what a daemon lists whenever that changes: a line of JSON for each list, for measurements.
//!
//!     watch-list SOCKET
//!
//! A line is an array of rows, each `[host, session id, away, status, what it does, last activity in ms]`. Asks
//! by the local RPC, as `rrd sessions list --watch` does. Not here: anything a person would want to read.
#![allow(clippy::unwrap_used)] // what is unexpected shall end a measurement

use std::{
    io::Write,
    path::Path,
    time::{Duration, Instant},
};

use interprocess::local_socket::tokio::{Stream, prelude::*};
use rrd_proto::{
    HostState, ListQuery, Session,
    codec::{Bincode, MAX_FRAME},
    preamble::{self, Preamble},
    rpc::LocalClient,
};
use tarpc::context::{self, Context};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::codec::{Framed, LengthDelimitedCodec};

/// How long one question waits for a change.
const WAIT: Duration = Duration::from_secs(60);

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let socket = std::env::args_os().nth(1).expect("watch-list SOCKET");
    let mut stream = Stream::connect(name(Path::new(&socket))).await.unwrap();
    stream.write_all(&Preamble::ours().encode()).await.unwrap();
    stream.flush().await.unwrap();
    let mut answer = [0; preamble::LEN];
    stream.read_exact(&mut answer).await.unwrap();
    Preamble::check(&answer).expect("the same release");
    let frames = LengthDelimitedCodec::builder().max_frame_length(MAX_FRAME).new_codec();
    let transport = tarpc::serde_transport::new(Framed::new(stream, frames), Bincode::default());
    let client = LocalClient::new(tarpc::client::Config::default(), transport).spawn();
    loop {
        let query = ListQuery { open: true, ..ListQuery::default() };
        // Whoever listens ends this by closing the pipe, or the daemon does by leaving.
        let Ok(reply) = client.list(patient(), query).await else { return };
        let rows: Vec<_> = reply.sessions.iter().map(row).collect();
        let mut line = serde_json::to_string(&rows).unwrap();
        line.push('\n');
        let mut out = std::io::stdout().lock();
        if out.write_all(line.as_bytes()).and_then(|()| out.flush()).is_err() {
            return;
        }
        drop(out);
        let wait = u32::try_from(WAIT.as_millis()).unwrap();
        if client.watch(patient(), reply.cursor, wait).await.is_err() {
            return;
        }
    }
}

fn row(row: &Session) -> serde_json::Value {
    let does = row.activity.as_ref().map(|activity| activity.summary.as_str());
    let at = row.last_activity_at.map(|at| at.as_millis());
    let away = row.host_state == HostState::Away;
    serde_json::json!([row.host, row.session_id, away, row.status.to_string(), does, at])
}

fn patient() -> Context {
    let mut context = context::current();
    context.deadline = Instant::now() + WAIT * 2;
    context
}

#[cfg(not(windows))]
fn name(socket: &Path) -> interprocess::local_socket::Name<'_> {
    use interprocess::local_socket::{GenericFilePath, ToFsName};
    socket.to_fs_name::<GenericFilePath>().unwrap()
}

#[cfg(windows)]
fn name(socket: &Path) -> interprocess::local_socket::Name<'_> {
    use interprocess::local_socket::{GenericNamespaced, ToNsName};
    socket.as_os_str().to_ns_name::<GenericNamespaced>().unwrap()
}
