//! A session's transcripts out of a bucket, for whoever resumes it here.
//!
//! Each is put together in a file of its own, in a folder that is kept until a client has taken what it wants.
//! Not here: where the files are put then ([`crate::resume::place`]).

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
};

use rrd_core::{
    mirror::{Meta, StreamName},
    resume::{self, called},
};
use rrd_proto::{
    Refusal, SessionKey,
    copy::{BucketCopy, CopyFile, MAX_FILES},
};

use super::{
    Mirror,
    aim::{Aim, address},
    calls::{failed, refusal},
    delegate,
    fetch::{self, Fetched},
    found,
    inspect::{Place, UNREACHED, newest},
    stream::{Carrier, Failure},
};
use crate::{resume::give::Copies, store::owner_only};

/// So many sessions are named to whoever has to choose.
const NAMED: usize = 5;

/// A first line is looked at so far.
const FIRST_LINE: u64 = 1 << 20;

impl Mirror {
    /// Begins a copy of the session whose id begins so, from the place with this address, else from the one of which
    /// [`newest`] says so.
    pub(crate) async fn give(
        &self,
        copies: &Copies,
        id: &str,
        url: Option<&str>,
    ) -> Result<BucketCopy, Refusal> {
        let mut aims = self.aims();
        aims.retain(|aim| url.is_none_or(|url| address(&aim.settings) == url));
        if aims.is_empty() {
            let hint = "rrd mirror enable URL names the bucket that has it";
            return Err(refusal("this host knows no bucket".to_owned(), hint));
        }
        let (mut newest, unasked) = newest(&aims, id).await;
        newest.retain(|found| found.streams.iter().any(|stream| stream.agent.is_none()));
        for found in newest {
            if let Some(mut copy) = give(found, copies, id).await? {
                copy.unasked = unasked;
                return Ok(copy);
            }
        }
        if let Some(why) = unasked.first() {
            return Err(refusal(why.clone(), UNREACHED));
        }
        let places: Vec<String> = aims.iter().map(|aim| address(&aim.settings)).collect();
        let why = format!("nothing of it is in {}", places.join(", "));
        Err(refusal(why, "rrd mirror list --from-bucket shows what is there"))
    }
}

async fn give(found: Place<'_>, copies: &Copies, id: &str) -> Result<Option<BucketCopy>, Refusal> {
    let Place { aim, carrier, mut streams } = found;
    streams.retain(|stream| stream.agent.is_none());
    let stream = match &streams[..] {
        [] => return Ok(None),
        [stream] => stream,
        several => return Err(ambiguous(aim, &carrier, several).await),
    };
    let layout = resume::layout(&stream.harness).map_err(|no| {
        refusal(no.why, &format!("rrd mirror show {id} --tail 10000 prints what is there"))
    })?;
    let mut all = agents(&carrier, stream).await.map_err(failed)?;
    if all.len() >= MAX_FILES {
        let why = format!("it has {} subagents, too many to copy", all.len());
        return Err(refusal(why, "rrd mirror show ID --tail N shows one of them"));
    }
    // The session itself last, so that everything else is there before it.
    all.push(stream.clone());
    let folder = copies.folder().map_err(unwritten)?;
    let (mut files, mut told, mut wrong) = (Vec::new(), Meta::default(), Vec::new());
    let (mut redacted, mut redacted_here) = (true, 0);
    for (at, stream) in all.iter().enumerate() {
        let path = folder.path().join(files.len().to_string());
        let fetched = fetch::fetch(&carrier, stream, owner_only(&path).map_err(unwritten)?);
        let Some(mut fetched) = fetched.await.map_err(failed)? else { continue };
        redacted &= fetched.is_redacted;
        redacted_here += fetched.passed;
        let troubles = std::mem::take(&mut fetched.troubles).into_iter();
        wrong.extend(troubles.map(|trouble| format!("{}: {}", trouble.stream, trouble.error)));
        if !fetched.is_sound {
            let why = "an owner's word about the order of its records cannot be followed";
            let hint = "rrd mirror verify on the host that mirrors it has it said anew; rrd mirror show ID \
                        --tail 10000 prints all records";
            return Err(refusal(why.to_owned(), hint));
        }
        if stream.agent.is_none() && fetched.records().0 == 0 {
            return Err(refusal_of_nothing(aim, id, wrong));
        }
        let mut meta = fetched.meta.take().unwrap_or_default();
        let about = meta.delegate.take().filter(|_| stream.agent.is_some());
        let (bytes, first_line) = put(path.clone(), fetched).await.map_err(unwritten)?;
        let name = called(layout, stream, meta.source_path.as_deref(), &first_line);
        match name {
            Some(name) => {
                let beside = about.zip(delegate::called(&name));
                let past = meta.past.take().unwrap_or_default().cut();
                files.push(CopyFile { name, bytes, zstd: false, past });
                // Transcripts come first where there are too many files.
                if let Some((about, name)) = beside
                    && files.len() + all.len() - at <= MAX_FILES
                {
                    let path = folder.path().join(files.len().to_string());
                    let file = owner_only(&path).map_err(unwritten)?;
                    let bytes = carrier.write_delegate(&about, file).map_err(unwritten)?;
                    files.push(CopyFile { name, bytes, ..CopyFile::default() });
                }
            }
            // The next one gets its number.
            None if stream.agent.is_some() => fs::remove_file(&path).map_err(unwritten)?,
            None => {
                let why = "its transcript is not such as its harness would write".to_owned();
                return Err(refusal(why, "rrd mirror show ID --tail 20 shows its end"));
            }
        }
        told = meta;
    }
    if files.is_empty() {
        return Ok(None);
    }
    let place = folder.path().to_owned();
    copies.keep(folder);
    // Of a meta.json that somebody else wrote nobody knows what is in it.
    let say = |text: Option<String>| match carrier.redacts {
        true => text.map(|text| carrier.edges.copied_text(&text)),
        false => text,
    };
    Ok(Some(BucketCopy {
        key: SessionKey { harness: stream.harness.clone(), session_id: stream.session_id.clone() },
        url: address(&aim.settings),
        is_own: told.node.as_deref() == Some(&*carrier.node),
        host: say(told.host.or(told.agent_id)),
        cwd: say(told.cwd),
        repo: say(told.repo),
        title: say(told.title),
        last_uploaded_at: told.last_uploaded_at,
        dropped: wrong,
        unasked: Vec::new(),
        redacted,
        redacted_here,
        folder: place,
        files,
    }))
}

/// Of a session of which no record counts: whoever went on with that would begin with nothing.
fn refusal_of_nothing(aim: &Aim, id: &str, wrong: Vec<String>) -> Refusal {
    let message = format!("nothing that {} has of it can be read", address(&aim.settings));
    let hint = match wrong.is_empty() {
        true => "rrd mirror list --from-bucket shows what is there".to_owned(),
        false => format!(
            "rrd mirror verify on the host that mirrors it brings again what that still has; rrd resume {id} --from \
             peer goes on with that host's own copy"
        ),
    };
    Refusal { message, facts: wrong, hint: Some(hint) }
}

/// Which sessions begin so, and how a person tells them apart.
async fn ambiguous(aim: &Aim, carrier: &Carrier, several: &[StreamName]) -> Refusal {
    let mut facts = Vec::new();
    for stream in several.iter().take(NAMED) {
        // Why one of them cannot be read is not what was asked.
        let meta = found::meta(carrier, stream).await.ok().flatten().unwrap_or_default();
        let host = meta.host.or(meta.agent_id).unwrap_or_else(|| "nobody known".to_owned());
        let at = meta.last_uploaded_at.map_or_else(String::new, |at| format!(", {at}"));
        let title = meta.title.map_or_else(String::new, |title| format!(": {title}"));
        facts.push(format!("{}/{} of {host}{at}{title}", stream.harness, stream.session_id));
    }
    if several.len() > NAMED {
        facts.push(format!("and {} others", several.len() - NAMED));
    }
    let (count, place) = (several.len(), address(&aim.settings));
    let hint = "write more of the id; rrd mirror list --from-bucket shows every one".to_owned();
    let message = format!("{count} sessions in {place} begin with that");
    Refusal { message, facts, hint: Some(hint) }
}

/// The delegates of a session.
async fn agents(carrier: &Carrier, stream: &StreamName) -> Result<Vec<StreamName>, Failure> {
    let above = stream.directory() + "subagents";
    let folders = carrier.target.folders(&above).await?;
    Ok(folders.iter().filter_map(|f| StreamName::of_directory(&format!("{above}/{f}"))).collect())
}

/// Makes the transcript of what is in the file; gives its length and its first line.
async fn put(path: PathBuf, fetched: Fetched) -> io::Result<(u64, Vec<u8>)> {
    let put = move || {
        if fetched.is_in_order() {
            drop(fetched);
        } else {
            in_order(&path, fetched)?;
        }
        let file = File::open(&path)?;
        Ok((file.metadata()?.len(), first_line(file)?))
    };
    tokio::task::spawn_blocking(put).await.map_err(io::Error::other)?
}

/// Records that were left out or moved are so in another file that then has the name.
fn in_order(path: &Path, mut fetched: Fetched) -> io::Result<()> {
    let made = path.with_extension("made");
    fetched.write(None, &mut owner_only(&made)?)?;
    drop(fetched);
    fs::rename(&made, path)
}

fn first_line(file: File) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    io::Read::take(BufReader::new(file), FIRST_LINE).read_until(b'\n', &mut line)?;
    Ok(line)
}

fn unwritten(error: io::Error) -> Refusal {
    refusal(format!("the copy cannot be written: {error}"), "rrd doctor looks into it")
}
