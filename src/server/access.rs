//! Who may call: `[server] token`.
//!
//! One token opens everything but the liveness and readiness checks and the paths of `http` sources, which
//! verify for themselves. It is taken from `Authorization: Bearer` alone: what stands in a query string ends
//! in logs and histories.
//!
//! What has a place here and is not here yet: keys with roles and namespaces, and the check of the `Host`
//! header that a page in a browser needs.

use axum::http::{HeaderMap, header};
use subtle::ConstantTimeEq;

/// A secret that is compared in constant time and never shown.
#[derive(Clone)]
pub struct Token(std::sync::Arc<str>);

impl Token {
    /// Keeps a token.
    #[must_use]
    pub fn new(text: &str) -> Token {
        Token(text.into())
    }

    /// Whether the request brings this token. Two `Authorization` headers are none: which of them counts
    /// would be anybody's guess.
    #[must_use]
    pub fn opens(&self, headers: &HeaderMap) -> bool {
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return false;
        };
        let Some((scheme, given)) = split_once_at_space(value.as_bytes()) else {
            return false;
        };
        // A length that differs shows at once; the length of a random token is no secret.
        scheme.eq_ignore_ascii_case(b"bearer") && bool::from(self.0.as_bytes().ct_eq(given))
    }
}

fn split_once_at_space(value: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = value.iter().position(|&byte| byte == b' ')?;
    Some((value.get(..at)?, value.get(at..)?.trim_ascii()))
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (header::AUTHORIZATION, value.parse().unwrap())).collect()
    }

    #[test]
    fn only_the_right_bearer_opens() {
        let token = Token::new("open sesame");
        assert!(token.opens(&headers(&["Bearer open sesame"])));
        assert!(token.opens(&headers(&["bearer  open sesame"])), "the scheme has no case, spaces may repeat");
        for wrong in [
            &[][..],
            &["Bearer"],
            &["Bearer "],
            &["Bearer open sesam"],
            &["Bearer open sesame2"],
            &["Basic open sesame"],
            &["open sesame"],
            &["Bearer open sesame", "Bearer open sesame"],
        ] {
            assert!(!token.opens(&headers(wrong)), "{wrong:?}");
        }
    }

    #[test]
    fn a_token_does_not_show_itself() {
        assert_eq!(format!("{:?}", Token::new("open sesame")), "Token(hidden)");
    }
}
