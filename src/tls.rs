//! TLS as our own HTTP clients use it: rustls with ring, Mozilla's roots, HTTP/2 where offered.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};

/// TLS 1.2 and 1.3, server certificates checked against the roots compiled in.
pub fn client_config() -> Result<ClientConfig, rustls::Error> {
    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
