//! A line to a server on which things go wrong: each request as the test decides when it sees its head.
//!
//! Included with `#[path]` where it is wanted, and so uses nothing but std. One request a connection.
#![allow(clippy::unwrap_used, dead_code)] // tests; and not every one of them uses everything

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

/// What goes wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mishap {
    /// It is answered so, with a body as S3 has it; by then the server has it or not.
    Status { status: u16, code: &'static str, after: Option<u32>, delivered: bool },
    /// The connection breaks while its body is sent. The server gets nothing.
    BreaksInBody,
    /// The server has it, and nothing of the answer arrives.
    ReplyLost,
    /// The server has it, and half of the answer arrives.
    BreaksInReply,
    /// Nothing comes back for as long as the client waits; the server has it or not.
    Hangs { delivered: bool },
    /// Half of the answer comes back, and then nothing.
    HangsInReply,
    /// The answer comes late.
    Late(Duration),
    /// The server gets it twice, one after the other; this one's answer comes back.
    Twice { first: bool },
    /// The server does not see what it is asked to match.
    Unconditional,
}

/// A request's head.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// `PUT`.
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    /// Names in small letters.
    pub(crate) headers: Vec<(String, String)>,
}

impl Asked {
    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

type Decide = Box<dyn FnMut(&Asked) -> Option<Mishap> + Send>;

struct Line {
    server: SocketAddr,
    decide: Mutex<Decide>,
    asked: Mutex<Vec<Asked>>,
    over: AtomicBool,
}

/// The line; cut when dropped.
pub(crate) struct Proxy {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    line: Arc<Line>,
    listener: Option<thread::JoinHandle<()>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Proxy {
    /// A line on which nothing goes wrong until [`Proxy::decide`].
    pub(crate) fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let line = Arc::new(Line {
            server,
            decide: Mutex::new(Box::new(|_| None)),
            asked: Mutex::default(),
            over: AtomicBool::new(false),
        });
        let own = line.clone();
        let listener = thread::spawn(move || {
            for connection in listener.incoming() {
                if own.over.load(Ordering::SeqCst) {
                    break;
                }
                let line = own.clone();
                // What goes wrong beside what was decided is what a line does.
                thread::spawn(move || connection.and_then(|client| line.serve(client)));
            }
        });
        Self { address, line, listener: Some(listener) }
    }

    /// From now on this decides.
    pub(crate) fn decide(&self, decide: impl FnMut(&Asked) -> Option<Mishap> + Send + 'static) {
        *lock(&self.line.decide) = Box::new(decide);
    }

    /// The next request with this method has the mishap, and no other.
    pub(crate) fn once(&self, method: &'static str, mishap: Mishap) {
        let mut left = Some(mishap);
        self.decide(move |asked| (asked.method == method).then(|| left.take()).flatten());
    }

    /// What was asked since the last look.
    pub(crate) fn take_asked(&self) -> Vec<Asked> {
        std::mem::take(&mut *lock(&self.line.asked))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.line.over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        let _ = self.listener.take().map(thread::JoinHandle::join);
    }
}

impl Line {
    fn serve(&self, mut client: TcpStream) -> io::Result<()> {
        let (asked, mut body) = read_head(&mut client)?;
        lock(&self.asked).push(asked.clone());
        let mishap = (lock(&self.decide))(&asked);
        let length: usize = asked.header("content-length").map_or(0, |text| text.parse().unwrap());
        if mishap == Some(Mishap::BreaksInBody) {
            // What was sent and not read makes a close a reset.
            return Ok(());
        }
        let come = body.len();
        body.resize(length.max(come), 0);
        client.read_exact(&mut body[come..])?;
        let ask = |unconditional| self.ask(&asked, &body, unconditional);
        match mishap {
            None => client.write_all(&ask(false)?),
            Some(Mishap::BreaksInBody) => Ok(()),
            Some(Mishap::Unconditional) => client.write_all(&ask(true)?),
            Some(Mishap::ReplyLost) => ask(false).map(drop),
            Some(Mishap::Late(time)) => {
                thread::sleep(time);
                client.write_all(&ask(false)?)
            }
            Some(Mishap::Twice { first }) => {
                let answers = [ask(false)?, ask(false)?];
                client.write_all(&answers[usize::from(!first)])
            }
            Some(Mishap::BreaksInReply) => client.write_all(half(&ask(false)?)),
            Some(Mishap::HangsInReply) => {
                client.write_all(half(&ask(false)?))?;
                until_gone(&mut client)
            }
            Some(Mishap::Hangs { delivered }) => {
                if delivered {
                    ask(false)?;
                }
                until_gone(&mut client)
            }
            Some(Mishap::Status { status, code, after, delivered }) => {
                if delivered {
                    ask(false)?;
                }
                let secrets = "<AWSAccessKeyId>AKIAPROXYSAYSTHIS</AWSAccessKeyId>";
                let text =
                    format!("<Error><Code>{code}</Code><Message>no</Message>{secrets}</Error>");
                let text = if asked.method == "HEAD" { String::new() } else { text };
                let after = after.map(|after| format!("Retry-After: {after}\r\n"));
                let (after, length) = (after.unwrap_or_default(), text.len());
                let head = format!(
                    "HTTP/1.1 {status} No\r\n{after}Content-Length: {length}\r\nConnection: close\r\n\r\n"
                );
                client.write_all(&[head.as_bytes(), text.as_bytes()].concat())
            }
        }?;
        // A reader that is slow gets all of it before the connection ends.
        client.shutdown(Shutdown::Write)
    }

    /// The server's whole answer, on a connection that is used no more.
    fn ask(&self, asked: &Asked, body: &[u8], unconditional: bool) -> io::Result<Vec<u8>> {
        let mut server = TcpStream::connect(self.server)?;
        let mut head = format!("{} {} HTTP/1.1\r\n", asked.method, asked.target);
        for (name, value) in &asked.headers {
            let condition = name == "if-none-match" || name == "if-match";
            if name != "connection" && !(unconditional && condition) {
                head += &format!("{name}: {value}\r\n");
            }
        }
        head += "connection: close\r\n\r\n";
        server.write_all(head.as_bytes())?;
        server.write_all(body)?;
        let mut answer = Vec::new();
        server.read_to_end(&mut answer)?;
        let end = answer.windows(2).position(|two| two == b"\r\n").unwrap_or(0);
        let text = String::from_utf8_lossy(&answer).to_ascii_lowercase();
        if !text.contains("\r\nconnection: close\r\n") {
            answer.splice(end..end, *b"\r\nConnection: close");
        }
        Ok(answer)
    }
}

fn half(answer: &[u8]) -> &[u8] {
    &answer[..answer.len() / 2]
}

fn until_gone(client: &mut TcpStream) -> io::Result<()> {
    let mut rest = [0; 512];
    while client.read(&mut rest)? > 0 {}
    Ok(())
}

/// A head, and what came of the body with it.
fn read_head(client: &mut TcpStream) -> io::Result<(Asked, Vec<u8>)> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        let mut piece = [0; 4096];
        match client.read(&mut piece)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => bytes.extend_from_slice(&piece[..read]),
        }
    };
    let body = bytes.split_off(end + 4);
    let text = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = text.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ').map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let headers = lines.filter_map(|line| line.split_once(':'));
    let headers = headers.map(|(n, value)| (n.to_ascii_lowercase(), value.trim().to_owned()));
    Ok((Asked { method, target, headers: headers.collect() }, body))
}
