//! Where a reader's bytes come from: the input itself, or a decompressor on it.

use std::io::{self, BufRead, BufReader, Read};

/// zstd frames may ask for a window of up to 2^this bytes: SEAL's own need 2^21.
const ZSTD_WINDOW_LOG: u32 = 23;
/// Decompressed bytes that are held at a time.
const BUFFER: usize = 1 << 16;

/// Bytes in order. Decompression goes no further than what is asked for, so that input that expands
/// without end costs nothing.
pub(super) enum Source<'a> {
    /// uncompressed
    Plain(&'a [u8]),
    /// zlib
    Zlib(Box<BufReader<flate2::bufread::ZlibDecoder<&'a [u8]>>>),
    /// one zstd frame
    Zstd(Box<BufReader<zstd::stream::read::Decoder<'static, &'a [u8]>>>),
}

impl<'a> Source<'a> {
    /// A zlib stream.
    pub fn zlib(bytes: &'a [u8]) -> Self {
        Source::Zlib(Box::new(BufReader::with_capacity(BUFFER, flate2::bufread::ZlibDecoder::new(bytes))))
    }

    /// A zstd frame.
    pub fn zstd(bytes: &'a [u8]) -> io::Result<Self> {
        let mut decoder = zstd::stream::read::Decoder::with_buffer(bytes)?.single_frame();
        decoder.window_log_max(ZSTD_WINDOW_LOG)?;
        Ok(Source::Zstd(Box::new(BufReader::with_capacity(BUFFER, decoder))))
    }

    /// The next bytes; [`io::ErrorKind::UnexpectedEof`] where there are too few.
    pub fn read_exact(&mut self, out: &mut [u8]) -> io::Result<()> {
        match self {
            Source::Plain(bytes) => bytes.read_exact(out),
            Source::Zlib(decoder) => decoder.read_exact(out),
            Source::Zstd(decoder) => decoder.read_exact(out),
        }
    }

    /// How many bytes are left, where that is known.
    pub fn left(&self) -> Option<usize> {
        match self {
            Source::Plain(bytes) => Some(bytes.len()),
            Source::Zlib(_) | Source::Zstd(_) => None,
        }
    }

    /// Whether nothing is left: the decompressor has come to a valid end, and to the end of its input.
    pub fn is_at_end(&mut self) -> io::Result<bool> {
        Ok(match self {
            Source::Plain(bytes) => bytes.is_empty(),
            Source::Zlib(decoder) => decoder.fill_buf()?.is_empty() && decoder.get_ref().get_ref().is_empty(),
            Source::Zstd(decoder) => decoder.fill_buf()?.is_empty() && decoder.get_ref().get_ref().is_empty(),
        })
    }
}
