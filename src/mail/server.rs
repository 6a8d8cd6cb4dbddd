//! Which server, how encrypted, and as whom: what a URL in lettre's form says.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::net::IpAddr;
use std::path::Path;

use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use percent_encoding::percent_decode_str;
use url::{Host, Url};

use super::error::SetupError;

/// The port of mail between servers, which a URL without TLS means.
const SMTP_PORT: u16 = 25;

/// The submission port of RFC 6409, upgraded by STARTTLS.
const SUBMISSION_PORT: u16 = 587;

/// The submission port of RFC 8314, TLS from the first byte.
const SUBMISSIONS_PORT: u16 = 465;

/// The largest `smtp.ca_file` read, in bytes; a system's whole bundle has about 200 KiB.
const MAX_AUTHORITIES: u64 = 4 * 1024 * 1024;

/// How a certificate begins in PEM.
const PEM_CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----";

/// One mail server, and what it takes to speak to it.
#[derive(Clone)]
pub struct Server {
    /// Name or address, without the brackets of IPv6.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls: Tls,
    pub(super) credentials: Option<Credentials>,
    /// What we call ourselves in EHLO.
    pub(super) hello_name: ClientId,
}

impl Server {
    /// Reads lettre's URL forms: `smtp://` (plain, port 25), `smtp://…?tls=required` or `?tls=opportunistic`
    /// (STARTTLS, port 587), `smtps://` (TLS, port 465); a path is our name in EHLO.
    ///
    /// Certificates are held against Mozilla's roots, and against the PEM certificates in `authorities`
    /// besides, where a server has one from an authority of its own.
    pub fn from_url(url: &str, authorities: Option<&[u8]>) -> Result<Self, SetupError> {
        let url = Url::parse(url).map_err(|_| SetupError::Url("it is no URL"))?;
        let host = match url.host() {
            Some(Host::Ipv6(address)) => address.to_string(),
            Some(_) => url.host_str().unwrap_or_default().to_owned(),
            None => String::new(),
        };
        if host.is_empty() {
            return Err(SetupError::Url("it names no host"));
        }
        let mut wanted = None;
        for (name, value) in url.query_pairs() {
            if name != "tls" {
                return Err(SetupError::Url("it has a parameter other than tls"));
            }
            wanted = Some(value.into_owned());
        }
        let (default_port, tls) = match (url.scheme(), wanted.as_deref()) {
            ("smtp", None) => (SMTP_PORT, Tls::None),
            ("smtp", Some("required")) => (SUBMISSION_PORT, Tls::Required(parameters(&host, authorities)?)),
            ("smtp", Some("opportunistic")) => (SUBMISSION_PORT, Tls::Opportunistic(parameters(&host, authorities)?)),
            ("smtps", None | Some("required")) => (SUBMISSIONS_PORT, Tls::Wrapper(parameters(&host, authorities)?)),
            ("smtp" | "smtps", _) => return Err(SetupError::Url("tls is required or opportunistic")),
            _ => return Err(SetupError::Url("it begins with neither smtp:// nor smtps://")),
        };
        let credentials = match url.password() {
            Some(password) => Some(Credentials::new(decoded(url.username())?, decoded(password)?)),
            None if url.username().is_empty() => None,
            None => return Err(SetupError::Url("it has a user and no password")),
        };
        let name = url.path().trim_matches('/');
        let hello_name = if name.is_empty() { ClientId::default() } else { ClientId::Domain(name.to_owned()) };
        Ok(Self { host, port: url.port().unwrap_or(default_port), tls, credentials, hello_name })
    }

    /// Whether what we say to it stays on this machine.
    pub(super) fn is_loopback(&self) -> bool {
        self.host == "localhost"
            || self.host.ends_with(".localhost")
            || self.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

fn decoded(text: &str) -> Result<String, SetupError> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(Into::into).map_err(|_| SetupError::Url("user or password is not UTF-8"))
}

fn parameters(host: &str, authorities: Option<&[u8]>) -> Result<TlsParameters, SetupError> {
    let mut builder = TlsParameters::builder(host.to_owned());
    if let Some(pem) = authorities {
        if !String::from_utf8_lossy(pem).contains(PEM_CERTIFICATE) {
            return Err(SetupError::Authorities("there is no certificate in the file".to_owned()));
        }
        let unreadable = |_| SetupError::Authorities("a certificate in the file cannot be read".to_owned());
        builder = builder.add_root_certificate(Certificate::from_pem(pem).map_err(unreadable)?);
    }
    builder.build().map_err(|_| SetupError::Authorities("a certificate in the file cannot be used".to_owned()))
}

/// Reads `smtp.ca_file`.
pub(super) fn read_authorities(path: &Path) -> Result<Vec<u8>, SetupError> {
    let shown = path.display();
    let mut pem = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_AUTHORITIES + 1).read_to_end(&mut pem));
    let length = read.map_err(|error| SetupError::Authorities(format!("{shown} cannot be read: {error}")))?;
    if length as u64 > MAX_AUTHORITIES {
        return Err(SetupError::Authorities(format!("{shown} is larger than {MAX_AUTHORITIES} bytes")));
    }
    Ok(pem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_say_port_and_encryption_as_lettres_do() {
        for (url, port, tls) in [
            ("smtp://mail.example.com", 25, "None"),
            ("smtp://mail.example.com?tls=required", 587, "Required"),
            ("smtp://mail.example.com:2525/tallyd.example.com?tls=opportunistic", 2525, "Opportunistic"),
            ("smtps://user:p%40ss@mail.example.com", 465, "Wrapper"),
        ] {
            let server = Server::from_url(url, None).unwrap();
            assert_eq!((server.port, format!("{:?}", server.tls).as_str()), (port, tls), "{url}");
        }
        let server = Server::from_url("smtps://a%40b:p%3Ass@[::1]/me.example.com", None).unwrap();
        assert_eq!(server.credentials, Some(Credentials::new("a@b".to_owned(), "p:ss".to_owned())));
        assert_eq!((server.host.as_str(), server.hello_name.to_string().as_str()), ("::1", "me.example.com"));
        assert!(server.is_loopback());
        assert!(!format!("{server:?}").contains("p:ss"));
    }

    #[test]
    fn a_wrong_url_is_refused_without_being_quoted() {
        for url in [
            "mail.example.com",
            "http://mail.example.com",
            "smtp://user@mail.example.com",
            "smtp://user:s3cret@mail?tls=maybe",
            "smtp://user:s3cret@mail?starttls=yes",
            "smtps://user:s3cret@mail?tls=opportunistic",
        ] {
            let error = Server::from_url(url, None).unwrap_err();
            assert!(matches!(error, SetupError::Url(_)) && !error.to_string().contains("s3cret"), "{url}: {error}");
        }
        for pem in ["-----BEGIN CERTIFICATE-----\n!\n", "no PEM at all", ""] {
            let error = Server::from_url("smtps://mail.example.com", Some(pem.as_bytes())).unwrap_err();
            assert!(matches!(error, SetupError::Authorities(_)), "{pem}");
        }
    }
}
