//! `[dashboard]`: where people find the pages.

use std::net::SocketAddr;

use url::Url;

use super::reader::{Read, Reader};

/// The settings of `[dashboard]`.
#[derive(Clone, Debug)]
pub struct Dashboard {
    /// As configured, without a slash at its end; `None`: made from the listener's address.
    url: Option<String>,
    hostname: String,
}

impl Dashboard {
    /// The URL links begin with, without a slash at its end; `bound` is the address the listener got.
    pub fn url(&self, bound: SocketAddr) -> String {
        match &self.url {
            Some(url) => url.clone(),
            None if bound.ip().is_unspecified() => format!("http://{}:{}", self.hostname, bound.port()),
            None => format!("http://{bound}"),
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Read<Self> {
        let url = reader.parsed_unless_empty("dashboard.url", parse)?;
        Ok(Self { url, hostname: reader.sources.hostname.clone() })
    }
}

fn parse(text: &str) -> Result<String, String> {
    let remedy = "write \"https://tallyd.example.com\": http or https, a host, a port if need be, nothing behind it";
    let url = Url::parse(text).map_err(|error| format!("this is not a URL ({error}); {remedy}"))?;
    // Pages link from the root of their host, so a path could only break them.
    let plain = matches!(url.scheme(), "http" | "https")
        && url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    if plain { Ok(url.as_str().trim_end_matches('/').to_owned()) } else { Err(remedy.to_owned()) }
}
