//! `[broadcast]`: what OpenRouter pushes to `/v1/traces`.

use http::HeaderName;
use secrecy::SecretString;

use super::reader::{Read, Reader};

/// The settings of `[broadcast]`.
#[derive(Clone, Debug)]
pub struct Broadcast {
    /// What a push must carry; `None`: open on a loopback listener, off beyond it.
    pub token: Option<SecretString>,
    /// The header that may carry the token in place of `Authorization`.
    pub header: HeaderName,
    /// The largest body as it is sent, in bytes.
    pub max_body: u64,
    /// The largest body unpacked, in bytes.
    pub max_decoded: u64,
    /// How many bodies are read at once.
    pub max_concurrent: usize,
}

impl Broadcast {
    pub(super) fn read(reader: &mut Reader<'_>) -> Read<Self> {
        const KIB: u64 = 1 << 10;
        const GIB: u64 = 1 << 30;
        Ok(Self {
            token: reader.secret("broadcast.token")?,
            header: reader.parsed("broadcast.header", parse_header)?,
            max_body: reader.size("broadcast.max_body", 64 * KIB..=GIB)?,
            max_decoded: reader.size("broadcast.max_decoded", 64 * KIB..=4 * GIB)?,
            max_concurrent: reader.count("broadcast.max_concurrent", 1..=256)?,
        })
    }
}

fn parse_header(text: &str) -> Result<HeaderName, String> {
    text.parse().map_err(|_| "this is no header's name; write one such as \"X-Webhook-Signature\"".to_owned())
}
