//! A real S3 API on this machine, moto_server, for as long as a test holds it. `.ci/moto` installs it; where it
//! is not there, tests that want it say so and are passed by.
//!
//! Included with `#[path]` where it is wanted, and so uses nothing but std.
#![allow(clippy::unwrap_used, dead_code)] // tests; and not every one of them uses everything

use std::{
    env,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, Weak},
};

/// A server of its own: ended with the last test that holds it.
pub(crate) struct Moto {
    server: Child,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

/// The one that the tests of this process share, each with buckets of its own; `None` where there is none to be
/// had, which is said.
pub(crate) fn moto() -> Option<Arc<Moto>> {
    static RUNNING: Mutex<Weak<Moto>> = Mutex::new(Weak::new());
    let mut running = RUNNING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(moto) = running.upgrade() {
        return Some(moto);
    }
    let Some(program) = program() else {
        // Past what the harness captures: a test that did nothing says so.
        std::io::stderr().write_all(b"skipped: no moto_server, see .ci/moto\n").unwrap();
        return None;
    };
    let moto = Arc::new(Moto::start(&program));
    *running = Arc::downgrade(&moto);
    Some(moto)
}

/// tracecraft, which is installed beside it.
pub(crate) fn tracecraft() -> Option<PathBuf> {
    program().map(|server| server.with_file_name("tracecraft")).filter(|program| program.is_file())
}

fn program() -> Option<PathBuf> {
    if let Some(program) = env::var_os("RRD_MOTO") {
        return Some(program.into());
    }
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let mut places = from.map(|above| above.join("target/tools/moto/bin/moto_server"));
    places.find(|program| program.is_file())
}

impl Moto {
    fn start(program: &Path) -> Self {
        let mut server = Command::new(program)
            .args(["-H", "127.0.0.1", "-p", "0"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(server.stderr.take().unwrap()).lines().map_while(Result::ok);
        // The system chose the port; the server says which.
        let address = lines.find_map(|line| {
            let (_, address) = line.split_once("Running on http://")?;
            address.trim().parse().ok()
        });
        // It logs each request: somebody has to read that.
        std::thread::spawn(move || lines.for_each(drop));
        let address = address.expect("moto_server does not say where it listens");
        Self { server, address }
    }

    /// Makes a bucket.
    pub(crate) fn make_bucket(&self, name: &str) {
        let answer = self.ask("PUT", &format!("/{name}"), "");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    /// Asks it past whatever is tested; the whole answer.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &str) -> String {
        let mut connection = TcpStream::connect(self.address).unwrap();
        let host = self.address;
        let length = body.len();
        // Whoever says who they are is believed.
        let who = "AWS4-HMAC-SHA256 Credential=test/20261122/us-east-1/s3/aws4_request, \
                   SignedHeaders=host, Signature=none";
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n\
             Authorization: {who}\r\nConnection: close\r\n\r\n"
        );
        connection.write_all(head.as_bytes()).unwrap();
        connection.write_all(body.as_bytes()).unwrap();
        let mut answer = Vec::new();
        connection.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
