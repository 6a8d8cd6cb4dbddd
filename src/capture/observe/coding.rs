//! Undoes a reply's `Content-Encoding` on the observer's copy, under bounds.
//!
//! Decoders push what they decode into a [`Scanner`] in small pieces and keep only their own window;
//! [`Allowance`] bounds what all windows take together. A copy that cannot be decoded is not an
//! error: the reply passes, and settling brings what the copy would have told.

use std::io::{self, Write};
use std::mem;
use std::sync::Arc;

use flate2::write::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

use super::scanner::Scanner;
use crate::capture::allowance::{Allowance, Share};

/// What one inflating decoder takes: its window, its tables and its output buffer, in bytes.
const INFLATE_MEMORY: usize = 96 * 1024;

/// What a brotli or zstd decoder takes beside its window, in bytes.
const BESIDE_WINDOW: usize = 160 * 1024;

/// The largest zstd window read, as a power of two: 8 MiB, the most that RFC 9659 allows in HTTP.
const ZSTD_WINDOW_LOG: u32 = 23;

/// Output buffer of the brotli decoder, in bytes.
const BROTLI_BUFFER: usize = 8 * 1024;

/// The longest start of a body needed to know its decoder's window: a zstd frame header.
const START: usize = 18;

/// The codings the observer reads, as they stand in `Accept-Encoding`.
pub const READABLE: [&str; 6] = ["gzip", "x-gzip", "deflate", "br", "zstd", "identity"];

/// A reply's coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Identity,
    Gzip,
    /// zlib or, from some servers, raw.
    Deflate,
    Brotli,
    Zstd,
}

impl Coding {
    /// The coding that `Content-Encoding` names; `None` for one (or a chain) that is not read.
    pub(super) fn of(name: &[u8]) -> Option<Self> {
        Some(match name.trim_ascii().to_ascii_lowercase().as_slice() {
            b"" | b"identity" => Self::Identity,
            b"gzip" | b"x-gzip" => Self::Gzip,
            b"deflate" => Self::Deflate,
            b"br" => Self::Brotli,
            b"zstd" => Self::Zstd,
            _ => return None,
        })
    }
}

enum Decoder {
    Gzip(Box<MultiGzDecoder<Scanner>>),
    Zlib(Box<ZlibDecoder<Scanner>>),
    Deflate(Box<DeflateDecoder<Scanner>>),
    Brotli(Box<brotli::DecompressorWriter<Scanner>>),
    Zstd(Box<zstd::stream::write::Decoder<'static, Scanner>>),
}

impl Decoder {
    fn new(coding: Coding, start: &[u8], scanner: Scanner) -> io::Result<Self> {
        Ok(match coding {
            Coding::Gzip => Self::Gzip(Box::new(MultiGzDecoder::new(scanner))),
            Coding::Deflate if is_zlib(start) => Self::Zlib(Box::new(ZlibDecoder::new(scanner))),
            Coding::Deflate | Coding::Identity => Self::Deflate(Box::new(DeflateDecoder::new(scanner))),
            Coding::Brotli => Self::Brotli(Box::new(brotli::DecompressorWriter::new(scanner, BROTLI_BUFFER))),
            Coding::Zstd => {
                let mut decoder = zstd::stream::write::Decoder::new(scanner)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                Self::Zstd(Box::new(decoder))
            }
        })
    }

    /// Decodes all of `bytes` and hands on all that can be known of them.
    fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        fn all(decoder: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
            decoder.write_all(bytes)?;
            decoder.flush()
        }
        match self {
            Self::Gzip(decoder) => all(decoder, bytes),
            Self::Zlib(decoder) => all(decoder, bytes),
            Self::Deflate(decoder) => all(decoder, bytes),
            Self::Brotli(decoder) => all(decoder, bytes),
            Self::Zstd(decoder) => all(decoder, bytes),
        }
    }

    fn scanner(&mut self) -> &mut Scanner {
        match self {
            Self::Gzip(decoder) => decoder.get_mut(),
            Self::Zlib(decoder) => decoder.get_mut(),
            Self::Deflate(decoder) => decoder.get_mut(),
            Self::Brotli(decoder) => decoder.get_mut(),
            Self::Zstd(decoder) => decoder.get_mut(),
        }
    }
}

/// The start of a coded body, until its window is known.
pub(super) struct Starting {
    coding: Coding,
    start: Vec<u8>,
    scanner: Scanner,
    memory: Arc<Allowance>,
}

/// A coded copy.
pub(super) struct Coded {
    decoder: Decoder,
    _share: Share,
}

impl Starting {
    pub(super) fn new(coding: Coding, scanner: Scanner, memory: &Arc<Allowance>) -> Self {
        Self { coding, start: Vec::new(), scanner, memory: Arc::clone(memory) }
    }

    /// Adds the next bytes; a decoder as soon as its window is known, or the scanner when there can be none.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Option<Result<Coded, Scanner>> {
        let room = START.saturating_sub(self.start.len()).min(bytes.len());
        self.start.extend_from_slice(&bytes[..room]);
        let amount = match needs(self.coding, &self.start) {
            Need::More => return None,
            Need::Never => return Some(Err(self.take_scanner())),
            Need::Memory(amount) => amount,
        };
        let Some(share) = self.memory.take(amount as u64) else { return Some(Err(self.take_scanner())) };
        let scanner = self.take_scanner();
        let Ok(decoder) = Decoder::new(self.coding, &self.start, scanner) else {
            // Making a decoder fails for want of memory only; the scanner went with it and had read nothing.
            return Some(Err(self.take_scanner()));
        };
        let mut coded = Coded { decoder, _share: share };
        let read = coded.push(&self.start).and_then(|()| coded.push(&bytes[room..]));
        Some(read.map_err(|_| coded.take_scanner()).map(|()| coded))
    }

    /// What was read, and an unread scanner in its place.
    pub(super) fn take_scanner(&mut self) -> Scanner {
        let fresh = Scanner::new(self.scanner.form(), None);
        mem::replace(&mut self.scanner, fresh)
    }
}

impl Coded {
    /// Decodes on. After an error nothing more can be read; what was read before stands.
    pub(super) fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() { Ok(()) } else { self.decoder.push(bytes) }
    }

    pub(super) fn scanner(&mut self) -> &mut Scanner {
        self.decoder.scanner()
    }

    /// What was read, and an unread scanner in its place.
    pub(super) fn take_scanner(&mut self) -> Scanner {
        let scanner = self.decoder.scanner();
        let fresh = Scanner::new(scanner.form(), None);
        mem::replace(scanner, fresh)
    }
}

enum Need {
    /// More of the body's start.
    More,
    /// So many bytes of memory.
    Memory(usize),
    /// No memory would do: it is not of this coding, or its window is beyond bounds.
    Never,
}

fn needs(coding: Coding, start: &[u8]) -> Need {
    match (coding, start) {
        (_, []) | (Coding::Deflate, [_]) => Need::More,
        (Coding::Gzip | Coding::Deflate | Coding::Identity, _) => Need::Memory(INFLATE_MEMORY),
        (Coding::Brotli, [first, ..]) => match brotli_window_log(*first) {
            Some(log) => Need::Memory((1 << log) + BESIDE_WINDOW),
            None => Need::Never,
        },
        (Coding::Zstd, _) => zstd_need(start),
    }
}

/// RFC 1950: compression method 8, and the first two bytes a multiple of 31.
fn is_zlib(start: &[u8]) -> bool {
    matches!(start, [cmf, flg, ..] if cmf & 0x0f == 8 && (u16::from(*cmf) << 8 | u16::from(*flg)).is_multiple_of(31))
}

/// RFC 7932 section 9.1, WBITS; `None` for the large-window extension.
fn brotli_window_log(first: u8) -> Option<u32> {
    if first & 1 == 0 {
        return Some(16);
    }
    match (first >> 1 & 7, first >> 4 & 7) {
        (0, 0) => Some(17),
        (0, 1) => None,
        (0, n) => Some(8 + u32::from(n)),
        (n, _) => Some(17 + u32::from(n)),
    }
}

/// RFC 8878 section 3.1.1.1: what the first frame's window takes.
fn zstd_need(start: &[u8]) -> Need {
    const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
    if start.len() < 6 {
        return if MAGIC.starts_with(&start[..start.len().min(4)]) || start.len() > 4 && start.starts_with(&MAGIC) {
            Need::More
        } else {
            Need::Never
        };
    }
    if !start.starts_with(&MAGIC) {
        return Need::Never;
    }
    let descriptor = start[4];
    let window = if descriptor & 0x20 == 0 {
        let (exponent, mantissa) = (u32::from(start[5] >> 3), u64::from(start[5] & 7));
        let base = 1_u64 << (10 + exponent);
        base + base / 8 * mantissa
    } else {
        // A single segment: the window is the content, whose size stands behind the dictionary's ID.
        let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
        let (length, offset) = [(1, 0), (2, 256), (4, 0), (8, 0)][usize::from(descriptor >> 6)];
        let Some(field) = start.get(5 + dictionary..5 + dictionary + length) else { return Need::More };
        field.iter().rev().fold(0_u64, |size, byte| size << 8 | u64::from(*byte)).saturating_add(offset)
    };
    match usize::try_from(window) {
        Ok(window) if window <= 1 << ZSTD_WINDOW_LOG => Need::Memory(window + BESIDE_WINDOW),
        _ => Need::Never,
    }
}
