//! The protocol's messages over stdin and stdout: one JSON document a line, and no more of them at once than
//! can be held.
//!
//! A client may send what it likes, as fast as it likes. Lines that are too long, or no messages, are answered
//! with an error. Requests take room for as long as they are worked on and until their answer is written;
//! while there is none, nothing is read, and the client waits as its pipe fills. Not here: what messages mean.

use std::{collections::HashMap, io, sync::Arc};

use rmcp::{
    RoleServer,
    model::{
        ClientJsonRpcMessage, ClientNotification, ClientRequest, ErrorCode, ErrorData,
        GetExtensions, GetMeta, JsonRpcError, JsonRpcMessage, RequestId, ServerJsonRpcMessage,
    },
    transport::Transport,
};
use rrd_proto::json;
use serde::Deserialize;
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader},
    sync::{Mutex, OwnedSemaphorePermit, Semaphore},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use crate::{
    output,
    text::{clean, fit_end},
};

/// Bytes of a line: a message between sessions with every byte escaped, and what a harness adds.
const MAX_LINE: usize = 512 << 10;
/// Bytes of requests at once.
const ROOM: usize = 1 << 20;
/// Bytes that a request takes at least; so many fit in at once as that leaves.
const LEAST: usize = ROOM / 32;
/// Bytes that are kept of a longer one, to tell its id.
const MAX_OUTLINE: usize = 4 << 10;
/// Columns of a method's name that are said again.
const MAX_NAME: usize = 60;
/// In pieces of so many bytes room is given out.
const PIECE: usize = 1 << 10;

/// What a request holds until it is answered; the last one lets go of the room.
type Hold = Arc<OwnedSemaphorePermit>;

/// One client's lines in, answers out.
pub(crate) struct Wire<R, W> {
    input: BufReader<R>,
    output: Arc<Mutex<W>>,
    gone: CancellationToken,
    line: Vec<u8>,
    /// All of a line is there.
    whole: bool,
    /// Of a line that is too long, of which this is still the rest.
    skips: Option<Outline>,
    room: Arc<Semaphore>,
    /// Of requests that are not answered yet.
    held: HashMap<RequestId, Hold>,
    /// The answer to a line that was no message.
    answer: Option<JoinHandle<io::Result<()>>>,
    /// What the client speaks is settled: from then on it may notify.
    begun: bool,
}

/// A request that is wrong in all but its id.
#[derive(Deserialize)]
struct Named {
    id: RequestId,
}

enum Read {
    Line,
    TooLong(Option<RequestId>),
    End,
}

/// What a line that is too long to be kept says outside of all that is nested in it: its id may come last.
#[derive(Default)]
struct Outline {
    kept: Vec<u8>,
    depth: usize,
    in_string: bool,
    is_escaped: bool,
}

impl Outline {
    fn take(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if !self.in_string && matches!(byte, b'}' | b']') {
                self.depth = self.depth.saturating_sub(1);
            }
            if self.depth <= 1 && self.kept.len() < MAX_OUTLINE {
                self.kept.push(byte);
            }
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' if self.in_string => self.is_escaped = true,
                b'"' => self.in_string = !self.in_string,
                b'{' | b'[' if !self.in_string => self.depth += 1,
                _ => {}
            }
        }
    }

    fn id(&self) -> Option<RequestId> {
        serde_json::from_slice::<Named>(&self.kept).ok().map(|named| named.id)
    }
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin + Send + 'static> Wire<R, W> {
    /// `gone` is cancelled once nothing more can come.
    pub(crate) fn new(input: R, output: W, gone: CancellationToken) -> Self {
        Self {
            gone,
            input: BufReader::new(input),
            output: Arc::new(Mutex::new(output)),
            line: Vec::new(),
            whole: false,
            skips: None,
            room: Arc::new(Semaphore::new(ROOM / PIECE)),
            held: HashMap::new(),
            answer: None,
            begun: false,
        }
    }

    /// Reads up to the end of a line. Whoever stops waiting for it loses nothing.
    async fn read(&mut self) -> io::Result<Read> {
        while !self.whole {
            let bytes = self.input.fill_buf().await?;
            if bytes.is_empty() {
                return Ok(Read::End);
            }
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let taken = end.map_or(bytes.len(), |end| end + 1);
            match &mut self.skips {
                Some(outline) => outline.take(&bytes[..taken]),
                None if self.line.len() + taken > MAX_LINE => {
                    let outline = self.skips.insert(Outline::default());
                    outline.take(&std::mem::take(&mut self.line));
                    outline.take(&bytes[..taken]);
                }
                None => {
                    self.line.extend_from_slice(&bytes[..taken]);
                    self.whole = end.is_some();
                }
            }
            self.input.consume(taken);
            if end.is_some()
                && let Some(outline) = self.skips.take()
            {
                return Ok(Read::TooLong(outline.id()));
            }
        }
        Ok(Read::Line)
    }

    /// Says what is wrong with a line; the next one is read once that is written.
    fn refuse(&mut self, code: ErrorCode, why: &str, id: Option<RequestId>) {
        let error = ErrorData::new(code, why.to_owned(), None);
        let answer = ServerJsonRpcMessage::error(error, id);
        self.answer = Some(tokio::spawn(put(Arc::clone(&self.output), answer)));
    }

    /// What goes on to whoever works on it.
    fn admit(
        &mut self,
        mut message: ClientJsonRpcMessage,
        permit: OwnedSemaphorePermit,
    ) -> Option<ClientJsonRpcMessage> {
        match &mut message {
            JsonRpcMessage::Request(request) => {
                self.begun |= match &request.request {
                    ClientRequest::InitializeRequest(_) => true,
                    ClientRequest::DiscoverRequest(_) | ClientRequest::PingRequest(_) => false,
                    other => other.get_meta().protocol_version().is_some(),
                };
                let hold: Hold = Arc::new(permit);
                request.request.extensions_mut().insert(Arc::clone(&hold));
                self.held.insert(request.id.clone(), hold);
            }
            // Before anything is settled there is nothing to notify of; who serves would leave over it.
            _ if !self.begun => return None,
            JsonRpcMessage::Notification(notification) => {
                if let ClientNotification::CancelledNotification(cancelled) =
                    &notification.notification
                    && let Some(id) = &cancelled.params.request_id
                {
                    // It is not answered any more; whoever works on it holds its room until they stop.
                    self.held.remove(id);
                }
            }
            _ => {}
        }
        Some(message)
    }
}

impl<R, W> Transport<RoleServer> for Wire<R, W>
where
    R: AsyncRead + Unpin + Send,
    W: AsyncWrite + Unpin + Send + 'static,
{
    type Error = io::Error;

    fn send(
        &mut self,
        mut message: ServerJsonRpcMessage,
    ) -> impl Future<Output = io::Result<()>> + Send + 'static {
        if let JsonRpcMessage::Error(JsonRpcError { error, .. }) = &mut message
            && error.code == ErrorCode::METHOD_NOT_FOUND
        {
            // It is the bare name until here.
            let name = clean(&error.message);
            error.message = format!("there is no method {}", fit_end(&name, MAX_NAME)).into();
        }
        let answered = match &message {
            JsonRpcMessage::Response(answer) => Some(&answer.id),
            JsonRpcMessage::Error(error) => error.id.as_ref(),
            _ => None,
        };
        let hold = answered.and_then(|id| self.held.remove(id));
        let put = put(Arc::clone(&self.output), message);
        async move {
            let written = put.await;
            drop(hold);
            written
        }
    }

    async fn receive(&mut self) -> Option<ClientJsonRpcMessage> {
        let message = self.next().await;
        if message.is_none() {
            self.gone.cancel();
        }
        message
    }

    async fn close(&mut self) -> io::Result<()> {
        self.output.lock().await.flush().await
    }
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin + Send + 'static> Wire<R, W> {
    async fn next(&mut self) -> Option<ClientJsonRpcMessage> {
        loop {
            if let Some(answer) = &mut self.answer {
                let written = answer.await;
                self.answer = None;
                written.ok()?.ok()?;
            }
            match self.read().await.ok()? {
                Read::End => return None,
                Read::TooLong(id) => {
                    let why = format!("a message has at most {} KiB", MAX_LINE >> 10);
                    output::remark(&format!("{why}: a longer one was not read"));
                    self.refuse(ErrorCode::INVALID_REQUEST, &why, id);
                    continue;
                }
                Read::Line => {}
            }
            let pieces = self.line.len().max(LEAST).div_ceil(PIECE);
            let pieces = u32::try_from(pieces).unwrap_or(u32::MAX);
            let permit = Arc::clone(&self.room).acquire_many_owned(pieces).await.ok()?;
            self.whole = false;
            let line = std::mem::take(&mut self.line);
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            match serde_json::from_slice(&line) {
                Ok(message) => {
                    if let Some(message) = self.admit(message, permit) {
                        return Some(message);
                    }
                }
                Err(error) if error.is_data() => {
                    let id = serde_json::from_slice::<Named>(&line).ok().map(|named| named.id);
                    let why = "this is no message of the protocol";
                    self.refuse(ErrorCode::INVALID_REQUEST, why, id);
                }
                Err(_) => self.refuse(ErrorCode::PARSE_ERROR, "this is no JSON", None),
            }
        }
    }
}

async fn put<W: AsyncWrite + Unpin>(
    output: Arc<Mutex<W>>,
    message: ServerJsonRpcMessage,
) -> io::Result<()> {
    let line = match &message {
        // JSON-RPC 2.0, 5: where no id could be read it is null; rmcp leaves it out.
        JsonRpcMessage::Error(error) if error.id.is_none() => {
            let mut error = serde_json::to_value(error).map_err(io::Error::other)?;
            error["id"] = Value::Null;
            json::line(&error)
        }
        _ => json::line(&message),
    };
    let line = line.map_err(io::Error::other)?;
    let mut output = output.lock().await;
    output.write_all(line.as_bytes()).await?;
    output.flush().await
}
