//! One transcript as a source of bytes: opening it safely, and telling whether it is still the same.
//!
//! Handles are never kept: a harness may rename, replace or delete its files at any time, and thousands
//! of sessions must not need thousands of descriptors. Not here: lines, cursors' meaning.

use std::{
    fs::{File, Metadata, OpenOptions},
    io::{self, Read},
    path::Path,
    time::UNIX_EPOCH,
};

use memchr::{memchr, memrchr};
use rrd_core::cursor::{Cursor, FIRST_LINE_BYTES, FileId, Look, TAIL_BYTES};

/// zstd windows beyond this are refused: a frame could otherwise ask for gigabytes. Codex's own are
/// 8 MiB at most.
pub(crate) const MAX_ZSTD_WINDOW_LOG: u32 = 25;

/// An open regular file.
#[derive(Debug)]
pub(crate) struct Source {
    file: File,
    /// Which file it is.
    pub(crate) id: FileId,
    /// Its size in bytes.
    pub(crate) size: u64,
    /// Nanoseconds since the epoch, 0 where unknown.
    pub(crate) mtime: i64,
}

impl Source {
    /// Opens a regular file for reading; never a link, a pipe or a device, and never waits for one.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::custom_flags(
            &mut options,
            libc::O_NOFOLLOW | libc::O_NONBLOCK,
        );
        let file = options.open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        let id = file_id(path, &metadata)?;
        Ok(Self { file, id, size: metadata.len(), mtime: mtime(&metadata) })
    }

    /// Fills as much of `buf` as there is from `offset` on.
    pub(crate) fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buf.len() {
            match read_at(&self.file, &mut buf[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(filled)
    }

    /// What the file looks like to `cursor`.
    pub(crate) fn look(&self, cursor: &Cursor) -> io::Result<Look> {
        let tail =
            if self.size < cursor.offset { None } else { Some(self.tail_hash(cursor.offset)?) };
        Ok(Look { id: self.id, size: self.size, first_line: self.first_line()?, tail })
    }

    /// Hash of up to [`TAIL_BYTES`] before `offset`.
    pub(crate) fn tail_hash(&self, offset: u64) -> io::Result<u64> {
        let mut buf = [0; TAIL_BYTES as usize];
        let start = offset.saturating_sub(TAIL_BYTES);
        let want = usize::try_from(offset - start).unwrap_or(buf.len());
        let got = self.read_at(&mut buf[..want], start)?;
        Ok(rrd_core::hash(&buf[..got]))
    }

    /// Whether the bytes `from..to` hold a newline.
    pub(crate) fn has_newline(&self, from: u64, to: u64) -> io::Result<bool> {
        let mut buf = vec![0; 64 << 10];
        let mut at = from;
        while at < to {
            let got = self.read_at(&mut buf, at)?;
            if got == 0 {
                break;
            }
            if memchr(b'\n', &buf[..got]).is_some() {
                return Ok(true);
            }
            at += got as u64;
        }
        Ok(false)
    }

    /// The offset after the last newline before `before`, looking back at most `within` bytes.
    pub(crate) fn line_start(&self, before: u64, within: u64) -> io::Result<Option<u64>> {
        let start = before.saturating_sub(within);
        let mut buf = vec![0; usize::try_from(before - start).unwrap_or(0)];
        let got = self.read_at(&mut buf, start)?;
        Ok(memrchr(b'\n', &buf[..got]).map(|at| start + at as u64 + 1))
    }

    /// The file as a stream of decompressed bytes.
    pub(crate) fn unzstd(&self) -> io::Result<impl Read + '_> {
        let mut decoder = zstd::stream::read::Decoder::new(&self.file)?;
        decoder.window_log_max(MAX_ZSTD_WINDOW_LOG)?;
        Ok(decoder)
    }

    /// Hash of the first line, where there is a whole one; of its beginning where it is long.
    pub(crate) fn first_line(&self) -> io::Result<Option<u64>> {
        let mut buf = [0; FIRST_LINE_BYTES as usize];
        let got = self.read_at(&mut buf, 0)?;
        Ok(hash_of_first_line(&buf[..got]))
    }
}

/// The same of a file that begins with `bytes`.
pub(crate) fn hash_of_first_line(bytes: &[u8]) -> Option<u64> {
    let bytes = &bytes[..bytes.len().min(FIRST_LINE_BYTES as usize)];
    match memchr(b'\n', bytes) {
        Some(end) => Some(rrd_core::hash(&bytes[..end])),
        None if bytes.len() == FIRST_LINE_BYTES as usize => Some(rrd_core::hash(bytes)),
        None => None,
    }
}

/// Modification time in nanoseconds since the epoch; 0 where the system does not tell.
pub(crate) fn mtime(metadata: &Metadata) -> i64 {
    let since = metadata.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    since.and_then(|since| i64::try_from(since.as_nanos()).ok()).unwrap_or(0)
}

#[cfg(unix)]
pub(crate) fn file_id(_path: &Path, metadata: &Metadata) -> io::Result<FileId> {
    use std::os::unix::fs::MetadataExt;
    Ok(FileId { device: metadata.dev(), inode: metadata.ino().into() })
}

/// Windows tells a file's index only through an open handle.
#[cfg(windows)]
pub(crate) fn file_id(path: &Path, _metadata: &Metadata) -> io::Result<FileId> {
    Ok(match file_id::get_file_id(path)? {
        file_id::FileId::Inode { device_id, inode_number } => {
            FileId { device: device_id, inode: inode_number.into() }
        }
        file_id::FileId::LowRes { volume_serial_number, file_index } => {
            FileId { device: volume_serial_number.into(), inode: file_index.into() }
        }
        file_id::FileId::HighRes { volume_serial_number, file_id } => {
            FileId { device: volume_serial_number, inode: file_id }
        }
    })
}

#[cfg(unix)]
fn read_at(file: &File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buf, offset)
}

#[cfg(windows)]
fn read_at(file: &File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buf, offset)
}
