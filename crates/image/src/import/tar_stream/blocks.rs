//! A tar stream as blocks: headers, content, the rest of the last block (POSIX, pax(1), "ustar Interchange Format").

use std::io::{self, Read};

use super::error::TarError;

/// The unit of a tar, in bytes.
pub(super) const BLOCK: usize = 512;
/// The longest pax header or GNU name, in bytes: the bound of Go's archive/tar, and so of Docker and containerd.
const LONGEST_SPECIAL: u64 = 1 << 20;
/// The longest file, in bytes: the kernel's type for an offset in a file (`loff_t`) ends there. With this bound no offset in
/// the archive overflows.
pub(super) const LONGEST_FILE: u64 = i64::MAX as u64;

/// A stream that is read from its beginning to its end, in blocks.
pub(super) struct Blocks<R> {
    stream: R,
    /// How many bytes have been read.
    at: u64,
    /// How many bytes of the content of the current entry are still to be read.
    left: u64,
}

impl<R: Read> Blocks<R> {
    /// A tar from the byte `at` on, where a header begins.
    pub(super) fn starting_at(stream: R, at: u64) -> Self {
        Self { stream, at, left: 0 }
    }

    pub(super) fn into_stream(self) -> R {
        self.stream
    }

    /// How many bytes have been read.
    pub(super) fn position(&self) -> u64 {
        self.at
    }

    /// How many bytes of the content of the current entry are still to be read.
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    /// Begins an entry with `stored` bytes of content.
    pub(super) fn begin(&mut self, stored: u64) -> Result<(), TarError> {
        self.left = stored;
        if self.at.checked_add(stored).is_none_or(|end| end > LONGEST_FILE) {
            return Err(self.wrong(format!("{stored} bytes, which no file can have")));
        }
        Ok(())
    }

    /// Reads the next bytes of the current entry, as they are stored; 0 at its end.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, TarError> {
        let most = usize::try_from(self.left.min(buffer.len() as u64)).unwrap_or(buffer.len());
        self.exactly(&mut buffer[..most])?;
        self.left -= most as u64;
        Ok(most)
    }

    /// Reads a header that is not only zeros. None at the end of the tar: two blocks of zeros, or the end of the stream.
    pub(super) fn header(&mut self) -> Result<Option<[u8; BLOCK]>, TarError> {
        let mut block = [0; BLOCK];
        if !self.block_or_end(&mut block)? {
            return Ok(None);
        }
        if block == [0; BLOCK] {
            let more = self.block_or_end(&mut block)?;
            if more && block != [0; BLOCK] {
                return Err(self.wrong("a block of zeros before it"));
            }
            return Ok(None);
        }
        Ok(Some(block))
    }

    /// Reads the whole content of an entry that describes the next entry: a pax header, or a long name of GNU's.
    pub(super) fn special(&mut self, size: u64) -> Result<Vec<u8>, TarError> {
        if size > LONGEST_SPECIAL {
            return Err(self.wrong(format!(
                "{size} bytes of names and attributes; at most {LONGEST_SPECIAL} are read"
            )));
        }
        let mut content = vec![0; usize::try_from(size).unwrap_or(0)];
        self.exactly(&mut content)?;
        self.pad()?;
        Ok(content)
    }

    /// Fills the buffer from the stream, whatever the current entry has left.
    pub(super) fn exactly(&mut self, buffer: &mut [u8]) -> Result<(), TarError> {
        if self.up_to_end(buffer)? < buffer.len() {
            return Err(self.failed(io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(())
    }

    /// Passes over what is left of the entry, and over the rest of its last block.
    pub(super) fn skip(&mut self) -> Result<(), TarError> {
        let mut sink = [0; 16 << 10];
        while self.left > 0 {
            self.read(&mut sink)?;
        }
        self.pad()
    }

    /// The error of the header that was read last.
    pub(super) fn wrong(&self, what: impl ToString) -> TarError {
        // Some words quote the header, which may hold any text.
        let what = what.to_string().lines().next().unwrap_or_default().chars().take(100).collect();
        TarError::Header { at: self.at.saturating_sub(BLOCK as u64), what }
    }

    /// Reads a whole block; false at the end of the stream. A part of a block is an error.
    fn block_or_end(&mut self, block: &mut [u8; BLOCK]) -> Result<bool, TarError> {
        match self.up_to_end(block)? {
            0 => Ok(false),
            BLOCK => Ok(true),
            _ => Err(self.failed(io::ErrorKind::UnexpectedEof.into())),
        }
    }

    /// Passes over the rest of the current block. The last one of a tar may lack its rest: the rule of Go's archive/tar.
    fn pad(&mut self) -> Result<(), TarError> {
        let rest = self.at.next_multiple_of(BLOCK as u64) - self.at;
        let mut block = [0; BLOCK];
        self.up_to_end(&mut block[..usize::try_from(rest).unwrap_or(0)]).map(drop)
    }

    /// Fills the buffer, or as much of it as the stream still has.
    fn up_to_end(&mut self, buffer: &mut [u8]) -> Result<usize, TarError> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.stream.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.failed(error)),
            }
        }
        self.at += filled as u64;
        Ok(filled)
    }

    fn failed(&self, source: io::Error) -> TarError {
        TarError::Read { at: self.at, source }
    }
}
