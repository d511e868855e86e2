//! Decompresses a layer: plain, gzip or zstd, which its first bytes tell.
//!
//! The media type is not used: engines write `tar+gzip` for plain archives and the other way round. containerd and Docker look at
//! the bytes, too.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// How many bytes pass at a time between disk, hash and decoder.
const BUFFER: usize = 256 << 10;

/// The largest window of zstd, in bytes; `zstd -19` makes no larger one. The window is in this process's memory, and a layer
/// names its size.
const LARGEST_WINDOW: u64 = 128 << 20;

/// A stream that is decompressed while it is read.
pub(super) enum Decoded<R: Read> {
    Plain(BufReader<R>),
    Gzip(Box<MultiGzDecoder<BufReader<R>>>),
    Zstd(Box<Zstd<BufReader<R>>>),
}

impl<R: Read> Decoded<R> {
    pub(super) fn new(raw: R) -> io::Result<Self> {
        let mut raw = BufReader::with_capacity(BUFFER, raw);
        let first = raw.fill_buf()?;
        Ok(match first {
            [0x1f, 0x8b, ..] => Self::Gzip(Box::new(MultiGzDecoder::new(raw))),
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
                Self::Zstd(Box::new(Zstd::new(raw)))
            }
            _ => Self::Plain(raw),
        })
    }

    /// The compressed stream, with the bytes that the decoder left in it.
    pub(super) fn into_raw(self) -> R {
        match self {
            Self::Plain(raw) => raw.into_inner(),
            Self::Gzip(decoder) => decoder.into_inner().into_inner(),
            Self::Zstd(zstd) => zstd.source.into_inner(),
        }
    }
}

impl<R: Read> Read for Decoded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(raw) => raw.read(buffer),
            Self::Gzip(decoder) => decoder.read(buffer),
            Self::Zstd(zstd) => zstd.read(buffer),
        }
    }
}

/// A reader of all frames of a zstd stream, one after another (RFC 8878, section 3: frames and skippable frames).
pub(super) struct Zstd<R> {
    source: R,
    decoder: FrameDecoder,
    in_frame: bool,
}

impl<R: BufRead> Zstd<R> {
    fn new(source: R) -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(LARGEST_WINDOW);
        Self { source, decoder, in_frame: false }
    }

    /// Begins the next frame. Returns false at the end of the stream.
    fn next_frame(&mut self) -> io::Result<bool> {
        while !self.source.fill_buf()?.is_empty() {
            match self.decoder.reset(&mut self.source) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    let length = u64::from(length);
                    if io::copy(&mut self.source.by_ref().take(length), &mut io::sink())? != length
                    {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
            }
        }
        Ok(false)
    }
}

impl<R: BufRead> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.in_frame && self.decoder.can_collect() > 0 {
                return self.decoder.read(buffer);
            }
            if self.in_frame && !self.decoder.is_finished() {
                self.decoder
                    .decode_blocks(&mut self.source, BlockDecodingStrategy::UptoBlocks(1))
                    .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            } else {
                self.in_frame = self.next_frame()?;
                if !self.in_frame {
                    return Ok(0);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;

    fn text() -> Vec<u8> {
        (0..300_000_u32).flat_map(|n| (n / 7).to_le_bytes()).collect()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        compress_to_vec(bytes, CompressionLevel::Fastest)
    }

    fn decoded(stored: &[u8]) -> io::Result<Vec<u8>> {
        let mut whole = Vec::new();
        Decoded::new(stored)?.read_to_end(&mut whole)?;
        Ok(whole)
    }

    #[test]
    fn every_form_gives_the_bytes_back_in_one_part_and_in_two() {
        let (text, half) = (text(), text().len() / 2);
        let skipped = [&[0x51, 0x2a, 0x4d, 0x18, 5, 0, 0, 0][..], b"notes"].concat();
        for stored in [
            text.clone(),
            gzip(&text),
            zstd(&text),
            [gzip(&text[..half]), gzip(&text[half..])].concat(),
            [zstd(&text[..half]), skipped.clone(), zstd(&text[half..]), skipped].concat(),
        ] {
            assert!(decoded(&stored).unwrap() == text);
        }
    }

    #[test]
    fn what_ends_early_or_is_damaged_is_an_error() {
        for stored in [gzip(&text()), zstd(&text())] {
            for length in [5, stored.len() / 2, stored.len() - 3] {
                assert!(decoded(&stored[..length]).is_err(), "{length} of {}", stored.len());
            }
        }
        let mut wrong = gzip(&text());
        let middle = wrong.len() / 2;
        wrong[middle] ^= 0x55;
        assert!(decoded(&wrong).is_err());
        // A window that would take 2 GiB of memory (RFC 8878, section 3.1.1.1.2).
        let greedy = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3, 1, 0, 0];
        assert!(decoded(&greedy).unwrap_err().to_string().contains("indow"));
    }
}
