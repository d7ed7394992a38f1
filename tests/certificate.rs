//! Certificates for the servers of tests, of this crate and of its connectors.

use std::path::Path;
use std::process::Command;

/// Makes `cert.pem` and `key.pem` in a folder, for these names (`DNS:localhost`, `IP:127.0.0.1`), by the machine's openssl:
/// who trusts that certificate trusts nothing else. False, and a line that says so, where there is no openssl.
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
pub(crate) fn make_certificate(folder: &Path, names: &str) -> bool {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=a test", "-addext", &format!("subjectAltName={names}")])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-keyout", "key.pem", "-out", "cert.pem"])
        .current_dir(folder)
        .output();
    match made {
        Ok(output) => {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            true
        }
        Err(error) => {
            eprintln!("SKIPPED: openssl cannot be run here ({error})");
            false
        }
    }
}
