//! Whether a connection failed because of TLS itself.

use std::error::Error;
use std::io;

/// Whether somewhere among an error's causes one side did not accept the other's certificate or what it offered: nothing
/// that waiting mends. Where the other side speaks no TLS at all, that is no such thing.
pub(crate) fn is_refused(error: &(dyn Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| cause(*error)).any(|error| {
        matches!(
            error.downcast_ref(),
            Some(
                rustls::Error::InvalidCertificate(_)
                    | rustls::Error::NoCertificatesPresented
                    | rustls::Error::AlertReceived(_)
                    | rustls::Error::PeerIncompatible(_)
            )
        )
    })
}

/// What an error of the system's carries is not its source: that is the source of what it carries.
fn cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(carried) => Some(carried),
        None => error.source(),
    }
}

#[cfg(test)]
mod tests {
    use rustls::{AlertDescription, CertificateError, InvalidMessage};

    use super::*;

    #[test]
    fn a_certificate_is_told_from_a_server_that_speaks_no_tls() {
        let within = |error: rustls::Error| io::Error::other(io::Error::new(io::ErrorKind::InvalidData, error));
        assert!(is_refused(&within(rustls::Error::InvalidCertificate(CertificateError::NotValidForName))));
        assert!(is_refused(&within(rustls::Error::AlertReceived(AlertDescription::CertificateRequired))));
        assert!(!is_refused(&within(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType))));
        assert!(!is_refused(&io::Error::from(io::ErrorKind::ConnectionRefused)));
    }
}
