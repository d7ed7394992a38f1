//! `[server] tls = { cert, key }`: HTTPS at our own door.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use eventyard::server::tls::{TlsError, acceptor};
use eventyard::server::{ServerLimits, ServerSettings};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::certificate::make_certificate;
use crate::http_broker::start_with;
use crate::wire::Wire;

fn client(certificate: &Path) -> tokio_rustls::TlsConnector {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(certificate).unwrap()).unwrap();
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    tokio_rustls::TlsConnector::from(Arc::new(config))
}

#[tokio::test]
async fn https_is_spoken_with_the_projects_certificate_and_plain_http_is_not() {
    let folder = tempfile::tempdir().unwrap();
    if !make_certificate(folder.path(), "DNS:localhost") {
        return;
    }
    let certificate = folder.path().join("cert.pem");
    let tls = acceptor(&certificate, &folder.path().join("key.pem")).unwrap();
    let server = start_with(ServerSettings { tls: Some(tls), ..ServerSettings::default() }).await;

    let stream = TcpStream::connect(server.address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = client(&certificate).connect(name, stream).await.unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");

    let mut plain = TcpStream::connect(server.address).await.unwrap();
    plain.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    // Closed or reset, with a TLS alert at most.
    let read = tokio::time::timeout(Duration::from_secs(20), plain.read_to_end(&mut answer)).await;
    assert!(read.is_ok(), "the connection was not closed");
    assert!(!answer.starts_with(b"HTTP"), "{}", String::from_utf8_lossy(&answer));
}

#[tokio::test]
async fn a_handshake_that_never_comes_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    if !make_certificate(folder.path(), "DNS:localhost") {
        return;
    }
    let tls = acceptor(&folder.path().join("cert.pem"), &folder.path().join("key.pem")).unwrap();
    let limits = ServerLimits { handshake_time_max: Duration::from_millis(200), ..ServerLimits::default() };
    let server = start_with(ServerSettings { tls: Some(tls), limits, ..ServerSettings::default() }).await;
    Wire::connect(server.address).await.closed().await;
}

#[test]
fn a_key_that_belongs_to_another_certificate_is_refused_at_start() {
    let (ours, another) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    if !make_certificate(ours.path(), "DNS:localhost") || !make_certificate(another.path(), "DNS:localhost") {
        return;
    }
    let made = acceptor(&ours.path().join("cert.pem"), &another.path().join("key.pem"));
    assert!(matches!(made.err(), Some(TlsError::Unusable(_))));
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let (missing, empty) = (folder.path().join("missing.pem"), folder.path().join("empty.pem"));
    std::fs::write(&empty, "").unwrap();
    let said = |certificate: &Path| acceptor(certificate, &missing).err().unwrap().to_string();
    assert!(said(&missing).contains("missing.pem"));
    assert!(said(&empty).contains("empty.pem"));
    assert!(matches!(acceptor(&empty, &missing).err(), Some(TlsError::NoCertificate { .. })));
}
