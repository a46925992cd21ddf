//! A connection between two hosts: first bytes, the Noise handshake, then frames.
//!
//! `Noise_XXpsk0` proves the shared key and tells each side the other's own key; the first bytes of both
//! are part of what is proven. Handshake messages and what follows are cut into messages of at most
//! 65,535 bytes, each behind its length; a frame is its length and its bytes, over as many messages as it
//! takes. Not here: who may come in, and what is said then.

use std::{fmt, io, time::Duration};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures::{SinkExt, StreamExt};
use rrd_core::fleet::identity::{HandshakePublic, Identity};
use rrd_proto::peer::{self, Answer, Foreign, MAX_FRAME, Preamble, Purpose};
use serde::{Serialize, de::DeserializeOwned};
use snow::{Builder, HandshakeState, TransportState};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_util::codec::{Decoder, Encoder, Framed};

const PATTERN: &str = "Noise_XXpsk0_25519_ChaChaPoly_BLAKE2s";

/// What a handshake may take, first bytes included.
pub(super) const HANDSHAKE: Duration = Duration::from_secs(10);

/// Bytes of a handshake message, at most; the longest of XXpsk0 without a payload has 96.
const MAX_HANDSHAKE: usize = 512;

const TAG: usize = 16;

/// Plain bytes in one message, at most.
const CHUNK: usize = 65_535 - TAG;

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum HandshakeError {
    /// It was not to be had, or broke.
    Io(io::Error),
    /// The other side is not rrd.
    NotRrd,
    /// The other side is of a release that has no version in common with this one.
    OtherVersion(Update),
    /// The other side said no, and which key it has.
    Answered(Answer, [u8; 4]),
    /// One side could not prove the key.
    NotProven,
}

/// Which of two releases that do not understand each other is the older one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Update {
    /// The other side's.
    There,
    /// This one.
    Here,
}

impl Update {
    fn of(said: &Preamble) -> Self {
        if said.protocol < peer::OLDEST { Self::There } else { Self::Here }
    }
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "{error}"),
            Self::NotRrd => f.write_str("something other than rrd answers there"),
            Self::OtherVersion(Update::There) => {
                f.write_str("its rrd is too old for this one: update it there")
            }
            Self::OtherVersion(Update::Here) => {
                f.write_str("this rrd is too old for the one there: update it here")
            }
            Self::Answered(answer, _) => write!(f, "it said {answer:?}"),
            Self::NotProven => f.write_str("the key could not be proven"),
        }
    }
}

impl From<io::Error> for HandshakeError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Foreign> for HandshakeError {
    fn from(foreign: Foreign) -> Self {
        match foreign {
            Foreign::NotRrd => Self::NotRrd,
            Foreign::Newer => Self::OtherVersion(Update::Here),
        }
    }
}

/// A connection whose other side has shown its key.
pub(crate) struct Secured {
    pub(crate) frames: Framed<TcpStream, Sealed>,
    pub(crate) remote: HandshakePublic,
}

/// Speaks first on a fresh connection.
pub(super) async fn call(
    mut stream: TcpStream,
    identity: &Identity,
    (purpose, id): (Purpose, [u8; 4]),
    psk: &[u8; 32],
) -> Result<Secured, HandshakeError> {
    let shaken = async {
        let ours = Preamble::ours(purpose, Answer::GoOn, id).encode();
        stream.write_all(&ours).await?;
        let mut theirs = [0; peer::LEN];
        stream.read_exact(&mut theirs).await?;
        let said = Preamble::decode(&theirs)?;
        match said.answer {
            Answer::GoOn if said.understands() => {}
            Answer::GoOn | Answer::OtherVersion => {
                return Err(HandshakeError::OtherVersion(Update::of(&said)));
            }
            answer => return Err(HandshakeError::Answered(answer, said.id)),
        }
        let mut noise = noise(identity, psk, &[ours, theirs].concat(), true)?;
        write(&mut stream, &mut noise).await?;
        read(&mut stream, &mut noise).await?;
        write(&mut stream, &mut noise).await?;
        Ok(noise)
    };
    let noise = timeout(HANDSHAKE, shaken).await.map_err(io::Error::from)??;
    secured(stream, noise)
}

/// Reads what the other side says first.
pub(super) async fn greeted(
    stream: &mut TcpStream,
) -> Result<([u8; peer::LEN], Preamble), HandshakeError> {
    let mut theirs = [0; peer::LEN];
    stream.read_exact(&mut theirs).await?;
    Ok((theirs, Preamble::decode(&theirs)?))
}

/// Says no and closes.
pub(super) async fn refuse(mut stream: TcpStream, ours: Preamble) {
    let _ = stream.write_all(&ours.encode()).await;
    // What it sent meanwhile would have the kernel throw the answer away.
    let _ = stream.shutdown().await;
}

/// Answers it; goes on only with a key.
pub(super) async fn answer(
    mut stream: TcpStream,
    identity: &Identity,
    theirs: [u8; peer::LEN],
    ours: Preamble,
    psk: Option<&[u8; 32]>,
) -> Result<Secured, HandshakeError> {
    let Some(psk) = psk else {
        refuse(stream, ours).await;
        return Err(HandshakeError::Answered(ours.answer, ours.id));
    };
    let ours_bytes = ours.encode();
    stream.write_all(&ours_bytes).await?;
    let mut noise = noise(identity, psk, &[theirs, ours_bytes].concat(), false)?;
    let shaken = async {
        read(&mut stream, &mut noise).await?;
        write(&mut stream, &mut noise).await?;
        read(&mut stream, &mut noise).await
    }
    .await;
    if let Err(HandshakeError::NotProven) = shaken {
        // A message without a byte: so that the other side knows why.
        let _ = stream.write_all(&[0, 0]).await;
        let _ = stream.shutdown().await;
    }
    shaken?;
    secured(stream, noise)
}

fn noise(
    identity: &Identity,
    psk: &[u8; 32],
    prologue: &[u8],
    first: bool,
) -> Result<HandshakeState, HandshakeError> {
    let secret = identity.handshake_secret();
    let build = || {
        let builder = Builder::new(PATTERN.parse()?)
            .local_private_key(secret.as_ref())?
            .psk(0, psk)?
            .prologue(prologue)?;
        if first { builder.build_initiator() } else { builder.build_responder() }
    };
    build().map_err(|error: snow::Error| HandshakeError::Io(io::Error::other(error)))
}

fn secured(stream: TcpStream, noise: HandshakeState) -> Result<Secured, HandshakeError> {
    let remote = noise.get_remote_static().and_then(|key| key.try_into().ok());
    let remote = HandshakePublic(remote.ok_or(HandshakeError::NotProven)?);
    let noise = noise.into_transport_mode().map_err(|_| HandshakeError::NotProven)?;
    let frames = Framed::new(stream, Sealed { noise, plain: BytesMut::new() });
    Ok(Secured { frames, remote })
}

async fn write(stream: &mut TcpStream, noise: &mut HandshakeState) -> Result<(), HandshakeError> {
    let mut message = [0; MAX_HANDSHAKE];
    let (head, body) = message.split_at_mut(2);
    let length = noise.write_message(&[], body).map_err(|_| HandshakeError::NotProven)?;
    head.copy_from_slice(&(length as u16).to_be_bytes());
    Ok(stream.write_all(&message[..2 + length]).await?)
}

async fn read(stream: &mut TcpStream, noise: &mut HandshakeState) -> Result<(), HandshakeError> {
    let length = usize::from(stream.read_u16().await?);
    let mut message = [0; MAX_HANDSHAKE];
    let Some(message) = message.get_mut(..length).filter(|message| !message.is_empty()) else {
        return Err(HandshakeError::NotProven);
    };
    stream.read_exact(message).await?;
    let mut payload = [0; MAX_HANDSHAKE];
    noise.read_message(message, &mut payload).map_err(|_| HandshakeError::NotProven)?;
    Ok(())
}

impl Secured {
    /// Says one thing.
    pub(super) async fn send<T: Serialize>(&mut self, value: &T) -> io::Result<()> {
        let body = peer::pack(value).map_err(|refused| io::Error::other(refused.detail))?;
        self.frames.send(body).await
    }

    /// Hears one thing.
    pub(super) async fn receive<T: DeserializeOwned>(&mut self) -> io::Result<T> {
        let heard = timeout(HANDSHAKE, self.frames.next()).await?;
        let frame = heard.ok_or(io::ErrorKind::UnexpectedEof)??;
        peer::unpack(&frame)
            .map_err(|refused| io::Error::new(io::ErrorKind::InvalidData, refused.detail))
    }
}

/// Frames in sealed messages.
pub(crate) struct Sealed {
    noise: TransportState,
    /// Opened, and not whole yet.
    plain: BytesMut,
}

impl Sealed {
    fn whole(&mut self) -> io::Result<Option<BytesMut>> {
        let Some((length, rest)) = self.plain.split_first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_be_bytes(*length) as usize;
        if length > MAX_FRAME {
            return Err(invalid("a frame over 8 MiB"));
        }
        if rest.len() < length {
            return Ok(None);
        }
        self.plain.advance(4);
        Ok(Some(self.plain.split_to(length)))
    }
}

impl Decoder for Sealed {
    type Item = BytesMut;
    type Error = io::Error;

    fn decode(&mut self, from: &mut BytesMut) -> io::Result<Option<BytesMut>> {
        loop {
            if let Some(frame) = self.whole()? {
                return Ok(Some(frame));
            }
            let Some((length, rest)) = from.split_first_chunk::<2>() else { return Ok(None) };
            let length = usize::from(u16::from_be_bytes(*length));
            if length < TAG {
                return Err(invalid("a message without a seal"));
            }
            if rest.len() < length {
                from.reserve(2 + length - from.len());
                return Ok(None);
            }
            from.advance(2);
            let message = from.split_to(length);
            let at = self.plain.len();
            self.plain.resize(at + length, 0);
            let opened = self.noise.read_message(&message, &mut self.plain[at..]);
            let opened = opened.map_err(|_| invalid("a message with a broken seal"))?;
            self.plain.truncate(at + opened);
        }
    }
}

impl Encoder<Bytes> for Sealed {
    type Error = io::Error;

    fn encode(&mut self, frame: Bytes, to: &mut BytesMut) -> io::Result<()> {
        if frame.len() > MAX_FRAME {
            return Err(invalid("a frame over 8 MiB"));
        }
        let mut plain = BytesMut::with_capacity(4 + frame.len());
        plain.put_u32(frame.len() as u32);
        plain.extend_from_slice(&frame);
        for chunk in plain.chunks(CHUNK) {
            let length = chunk.len() + TAG;
            to.reserve(2 + length);
            to.put_u16(length as u16);
            let at = to.len();
            to.resize(at + length, 0);
            self.noise
                .write_message(chunk, &mut to[at..])
                .map_err(|error| io::Error::other(error.to_string()))?;
        }
        Ok(())
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests;
