//! `[gateway]`: the bounds of the hot path.

use std::time::Duration;

use super::reader::{Read, Reader};

/// The settings of `[gateway]`.
#[derive(Clone, Debug)]
pub struct Gateway {
    /// The largest JSON request read whole before it is sent, in bytes.
    pub request_buffer: u64,
    /// What all requests being read may take together, in bytes; at least one `request_buffer`.
    pub request_buffer_total: u64,
    /// How much text of one compressed reply the observer unpacks, in bytes.
    pub observe_limit: u64,
    /// What the decoders of all compressed replies may take together, in bytes; a reply that finds none left is not read.
    pub observe_memory: u64,
    /// What may wait in one connection in each direction, in bytes; no head may be longer.
    pub connection_buffer: usize,
    /// How long a call goes on upstream after its client left.
    pub drain_timeout: Duration,
    /// How many such calls may go on at once.
    pub drain_calls: usize,
    /// Whether a caller's own OpenRouter key is passed on.
    pub own_keys: bool,
    /// How many connections are served at once.
    pub max_connections: usize,
}

impl Gateway {
    pub(super) fn read(reader: &mut Reader<'_>) -> Read<Self> {
        const KIB: u64 = 1 << 10;
        const GIB: u64 = 1 << 30;
        let gateway = Self {
            request_buffer: reader.size("gateway.request_buffer", 64 * KIB..=GIB)?,
            request_buffer_total: reader.size("gateway.request_buffer_total", 64 * KIB..=64 * GIB)?,
            observe_limit: reader.size("gateway.observe_limit", 64 * KIB..=64 * KIB * KIB)?,
            observe_memory: reader.size("gateway.observe_memory", 0..=64 * GIB)?,
            connection_buffer: usize::try_from(reader.size("gateway.connection_buffer", 8 * KIB..=KIB * KIB)?)
                .unwrap_or(usize::MAX),
            drain_timeout: reader
                .duration("gateway.drain_timeout", Duration::from_secs(1)..=Duration::from_hours(1))?,
            drain_calls: reader.count("gateway.drain_calls", 0..=100_000)?,
            own_keys: reader.boolean("gateway.own_keys")?,
            max_connections: reader.count("gateway.max_connections", 1..=1_000_000)?,
        };
        if gateway.request_buffer_total < gateway.request_buffer {
            return reader.wrong_together(
                ["gateway.request_buffer_total", "gateway.request_buffer"],
                "one request may take more than all together; raise gateway.request_buffer_total",
            );
        }
        Ok(gateway)
    }
}
