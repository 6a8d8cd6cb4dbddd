//! Content codings, flushed after every event so that a compressed stream still streams.

use std::fmt;
use std::io::{self, Write};

use flate2::Compression;

use super::behaviour::Coding;

/// Brotli's quality and window: quick, small.
const BROTLI_QUALITY: u32 = 4;
const BROTLI_WINDOW: u32 = 18;
const BROTLI_BUFFER: usize = 4096;

/// A running compressor.
pub(super) enum Encoder {
    Gzip(flate2::write::GzEncoder<Vec<u8>>),
    Deflate(flate2::write::ZlibEncoder<Vec<u8>>),
    RawDeflate(flate2::write::DeflateEncoder<Vec<u8>>),
    Brotli(Box<brotli::CompressorWriter<Vec<u8>>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
    /// Every byte inverted: certainly no coding that anybody reads.
    Unknown,
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Encoder")
    }
}

impl Encoder {
    /// The compressor of `coding` and its name in `Content-Encoding`; `accepted` is the caller's `Accept-Encoding`.
    pub(super) fn new(coding: Coding, forced: bool, accepted: &str) -> io::Result<Option<(Self, &'static str)>> {
        let coding = match coding {
            Coding::Auto => {
                let known = [Coding::Gzip, Coding::Brotli, Coding::Zstd, Coding::Deflate];
                let first = accepted
                    .split(',')
                    .find_map(|offer| known.into_iter().find(|coding| accepts(offer, label(*coding))));
                let Some(first) = first else { return Ok(None) };
                first
            }
            coding if forced || accepted.split(',').any(|offer| accepts(offer, label(coding))) => coding,
            _ => return Ok(None),
        };
        let encoder = match coding {
            Coding::Auto | Coding::Gzip => Self::Gzip(flate2::write::GzEncoder::new(Vec::new(), Compression::fast())),
            Coding::Deflate => Self::Deflate(flate2::write::ZlibEncoder::new(Vec::new(), Compression::fast())),
            Coding::RawDeflate => Self::RawDeflate(flate2::write::DeflateEncoder::new(Vec::new(), Compression::fast())),
            Coding::Brotli => {
                let writer = brotli::CompressorWriter::new(Vec::new(), BROTLI_BUFFER, BROTLI_QUALITY, BROTLI_WINDOW);
                Self::Brotli(Box::new(writer))
            }
            Coding::Zstd => Self::Zstd(zstd::stream::write::Encoder::new(Vec::new(), 1)?),
            Coding::Unknown => Self::Unknown,
        };
        Ok(Some((encoder, label(coding))))
    }

    /// `plain`, compressed and flushed.
    pub(super) fn write(&mut self, plain: &[u8]) -> io::Result<Vec<u8>> {
        fn through<W: Write>(writer: &mut W, plain: &[u8]) -> io::Result<()> {
            writer.write_all(plain)?;
            writer.flush()
        }
        let out = match self {
            Self::Gzip(writer) => {
                through(writer, plain)?;
                writer.get_mut()
            }
            Self::Deflate(writer) => {
                through(writer, plain)?;
                writer.get_mut()
            }
            Self::RawDeflate(writer) => {
                through(writer, plain)?;
                writer.get_mut()
            }
            Self::Brotli(writer) => {
                through(writer, plain)?;
                writer.get_mut()
            }
            Self::Zstd(writer) => {
                through(writer, plain)?;
                writer.get_mut()
            }
            Self::Unknown => return Ok(plain.iter().map(|byte| !byte).collect()),
        };
        Ok(std::mem::take(out))
    }

    /// What closes the coding.
    pub(super) fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Self::Gzip(writer) => writer.finish(),
            Self::Deflate(writer) => writer.finish(),
            Self::RawDeflate(writer) => writer.finish(),
            Self::Brotli(writer) => Ok(writer.into_inner()),
            Self::Zstd(writer) => writer.finish(),
            Self::Unknown => Ok(Vec::new()),
        }
    }
}

fn label(coding: Coding) -> &'static str {
    match coding {
        Coding::Auto | Coding::Gzip => "gzip",
        Coding::Deflate | Coding::RawDeflate => "deflate",
        Coding::Brotli => "br",
        Coding::Zstd => "zstd",
        Coding::Unknown => "x-unknown",
    }
}

/// Whether one element of `Accept-Encoding` offers `name`.
fn accepts(offer: &str, name: &str) -> bool {
    let mut parts = offer.split(';').map(str::trim);
    let coding = parts.next().unwrap_or("");
    let refused = parts.any(|parameter| matches!(parameter, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"));
    !refused && (coding.eq_ignore_ascii_case(name) || coding == "*")
}
