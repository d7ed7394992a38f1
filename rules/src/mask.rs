//! Which keys hold secrets, and how their values are hidden in a text that is shown.
//!
//! Masking is lexical, not a parse: it must work on a file whose syntax is broken, for that is the very file
//! whose lines are shown. It errs towards hiding too much.

/// The key names whose values are never shown, also as the ending of a longer name (`client_secret`).
const SECRET_KEYS: [&str; 6] = ["secret", "token", "password", "authorization", "api_key", "secret_access_key"];

/// Whether the value of a key of this name is a secret. `DB_PASSWORD` and `x-api-key` count.
#[must_use]
pub fn is_secret_key(key: &str) -> bool {
    let key = key.to_ascii_lowercase().replace('-', "_");
    SECRET_KEYS.iter().any(|secret| {
        key.strip_suffix(secret).is_some_and(|before| before.is_empty() || before.ends_with(['_', '.']))
            || key
                .strip_suffix('s')
                .and_then(|one| one.strip_suffix(secret))
                .is_some_and(|before| before.is_empty() || before.ends_with(['_', '.']))
    })
}

/// The text with the values of secret keys, and passwords within URLs, replaced by `*`, byte for byte, so that
/// every position stays what it was. References (`{ env = "NAME" }`, `{ file = "path" }`) are no secrets and
/// stay readable; their `default` is one.
#[must_use]
pub fn mask_secrets(text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    // What lies within a masked value is not looked at again: it is masked, and a file full of open brackets
    // must not take forever.
    let mut masked_to = 0;
    for at in assignments(text) {
        if at >= masked_to && is_secret_key(key_before(text, at)) {
            masked_to = mask_value(text, at + 1, &mut bytes);
        }
    }
    mask_url_passwords(text, &mut bytes);
    String::from_utf8(bytes).unwrap_or_else(|_| "*".repeat(text.len()))
}

/// Where an `=` stands that may be one of TOML's.
fn assignments(text: &str) -> impl Iterator<Item = usize> + '_ {
    text.bytes().enumerate().filter(|&(_, byte)| byte == b'=').map(|(at, _)| at)
}

/// The last part of the key that ends before the `=` at `at`: `token` of `auth."token" =`.
fn key_before(text: &str, at: usize) -> &str {
    let before = text.get(..at).unwrap_or("").trim_end_matches([' ', '\t', '"', '\'']);
    let start = before
        .rfind(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-'))
        .map_or(0, |found| found + before.get(found..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8));
    before.get(start..).unwrap_or("")
}

/// Masks the strings of the value that starts after `from`: a string, a list of them, or a table. Answers where
/// it ends.
fn mask_value(text: &str, from: usize, bytes: &mut [u8]) -> usize {
    let rest = text.get(from..).unwrap_or("");
    let start = from + (rest.len() - rest.trim_start_matches([' ', '\t']).len());
    let mut at = start;
    let mut depth = 0_usize;
    let raw = text.as_bytes();
    while let Some(&byte) = raw.get(at) {
        match byte {
            b'"' | b'\'' => {
                let hidden = depth == 0 || !names_a_reference(text, at);
                at = mask_string(text, at, hidden, bytes);
                if depth == 0 {
                    return at;
                }
                continue;
            }
            b'[' | b'{' => depth += 1,
            b']' | b'}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at;
                }
            }
            b'\n' if depth == 0 => return at,
            // A bare word where a string belongs: a secret that somebody forgot to quote.
            _ if depth == 0 && !byte.is_ascii_whitespace() && byte != b'#' => bytes[at] = b'*',
            _ => {}
        }
        at += 1;
    }
    at
}

/// Whether the string at `at` is the NAME of `env = "NAME"` or the path of `file = "path"`.
fn names_a_reference(text: &str, at: usize) -> bool {
    let before = text.get(..at).unwrap_or("").trim_end_matches([' ', '\t']);
    before.strip_suffix('=').is_some_and(|_| matches!(key_before(text, before.len() - 1), "env" | "file"))
}

/// Masks what stands between the quotes that open at `at`; answers where to go on. A string without an end
/// is masked to the end of its line, a multi-line one to the end of the text.
fn mask_string(text: &str, at: usize, hidden: bool, bytes: &mut [u8]) -> usize {
    let raw = text.as_bytes();
    let quote = raw.get(at).copied().unwrap_or(b'"');
    let triple = raw.get(at..at + 3).is_some_and(|three| three.iter().all(|&byte| byte == quote));
    let mut inside = at + if triple { 3 } else { 1 };
    while let Some(&byte) = raw.get(inside) {
        let closes = if triple {
            raw.get(inside..inside + 3).is_some_and(|three| three.iter().all(|&byte| byte == quote))
        } else {
            byte == quote
        };
        if closes {
            return inside + if triple { 3 } else { 1 };
        }
        if byte == b'\n' && !triple {
            return inside;
        }
        if hidden && byte != b'\n' && byte != b'\r' {
            bytes[inside] = b'*';
        }
        if byte == b'\\' && quote == b'"' && raw.get(inside + 1).is_some_and(|&next| next != b'\n') {
            inside += 1;
            if hidden {
                bytes[inside] = b'*';
            }
        }
        inside += 1;
    }
    inside
}

/// Masks PASSWORD in `scheme://USER:PASSWORD@host`.
fn mask_url_passwords(text: &str, bytes: &mut [u8]) {
    for (at, _) in text.match_indices("://") {
        let authority_start = at + 3;
        let rest = text.get(authority_start..).unwrap_or("");
        let authority = rest.split(['/', '?', '#', '"', '\'', ' ', '\n', '\r']).next().unwrap_or("");
        if let Some((user_info, _)) = authority.rsplit_once('@') {
            let password = user_info.find(':').map_or(0, |colon| colon + 1);
            if let Some(hidden) = bytes.get_mut(authority_start + password..authority_start + user_info.len()) {
                hidden.fill(b'*');
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_of_secret_keys_are_hidden_wherever_they_stand() {
        let text = concat!(
            "secret = \"hunter2\"\n",
            "source.a.\"token\" = 'hunter2'\n",
            "auth = { kind = \"bearer\", token = \"hunter2\", x = 1 }\n",
            "secret = [\"hunter2\", \"hunter2\"]\n",
            "password = { env = \"NAME\", default = \"hunter2\" }\n",
            "password = \"\"\"\nhunter2\n\"\"\"\n",
            "DB_PASSWORD = \"hunter2\\\"hunter2\"\n",
            "url = \"amqp://me:hunter2@host/x\"\n",
            "password = hunter2\n",
            "token = \"hunter2\nname = \"kept\"\n",
        );
        let masked = mask_secrets(text);
        assert!(!masked.contains("hunter2"), "{masked}");
        for kept in ["bearer", "x = 1", "NAME", "kept", "amqp://me:*******@host/x"] {
            assert!(masked.contains(kept), "{kept} in {masked}");
        }
        assert_eq!(masked.len(), text.len());
        assert_eq!(masked.matches('\n').count(), text.matches('\n').count());
    }

    #[test]
    fn other_keys_stay_readable() {
        let text = "path = \"/token\"\ntopic = \"x\" # secret\nsecretary = \"Ann\"\n";
        assert_eq!(mask_secrets(text), text);
    }

    proptest! {
        #[test]
        fn any_text_keeps_its_length_and_lines(text in "(secret|token=|\"|'|[\\[\\]{}=\n\\\\é☃ a-z:/@]){0,60}") {
            let masked = mask_secrets(&text);
            prop_assert_eq!(masked.len(), text.len());
        }
    }
}
