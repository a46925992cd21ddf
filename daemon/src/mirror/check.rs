//! What an earlier release brought, compared once with its transcript.
//!
//! Of several transcripts of one id it read one after the other into one directory, and told all of them as mirrored;
//! what was read so nobody reads again by itself. Not here: of which streams that is so ([`super::aim`]), and what
//! is brought then ([`super::gather`]).

use std::{io, path::PathBuf};

use rrd_core::{frame::Frame, mirror::order::Compare};

use super::{
    gather::{At, hash},
    outbox::{Rules, Stream},
    stream::{Carrier, Failure},
};

impl Carrier {
    /// Compares a transcript, as far as it was read, with what is known to be there. Where that is something else all
    /// of it is to be looked at again.
    pub(super) async fn check(
        &self,
        stream: &mut Stream,
        source: &At,
        beside: Vec<PathBuf>,
    ) -> Result<(), Failure> {
        let state = &stream.state;
        let read_to = state.cursor.map_or(0, |cursor| cursor.offset);
        // All others were compared whole whenever they were read.
        let may_differ = read_to > 0 && state.theirs.is_none() && !source.is_whole();
        if may_differ && source.looks().is_none() {
            return Ok(());
        }
        let is_same = !may_differ || {
            let (id, at) = (stream.id, source.clone());
            let _hand = self.hands.acquire().await;
            self.on_disk(move |carrier| carrier.is_as_brought(id, &at, read_to)).await?
        };
        stream.state.rules = Rules::default();
        if !is_same {
            (stream.state.cursor, stream.state.settled) = (None, None);
        }
        self.outbox().set_state(stream.id, &stream.state)?;
        match is_same && !beside.is_empty() {
            true => self.settle_up(stream, source, beside).await,
            false => Ok(()),
        }
    }

    fn is_as_brought(&self, id: i64, at: &At, read_to: u64) -> Result<bool, Failure> {
        let there = self.there(id)?;
        let (mut compare, mut is_new) = (Compare::with(&there.hashes), false);
        let read = at.lines(&mut |frame| {
            let (Frame::Line { offset, .. } | Frame::Oversized { offset, .. }) = frame;
            is_new |= compare.is_new(hash(frame)) && *offset < read_to;
        });
        match read {
            Ok(_) => Ok(!is_new && compare.steps(there.transcript.as_deref()).is_none()),
            // Whoever looks for it next finds that out.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
            Err(error) => Err(error.into()),
        }
    }
}
