//! Small decisions about texts that come from outside.

use eventyard_event::Text;

/// At most so many bytes of a text, whole characters only.
pub(super) fn cut(text: &str, bytes_max: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes_max)).unwrap_or_default()
}

/// Reads `+` and `%41` as HTML forms write them. `None` where that gives no text: a `%` that begins nothing, or bytes
/// that are no UTF-8.
pub(super) fn unform(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => hex(rest.next()?)? << 4 | hex(rest.next()?)?,
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

fn hex(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// Writes what no attribute of an event and no part of a key may hold (control characters and their like) as `%1F`.
pub(super) fn visible(text: &str) -> Text {
    let mut shown = Text::with_capacity(text.len());
    for c in text.chars() {
        if eventyard_event::is_forbidden(c) {
            percent(c, &mut shown);
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Adds a character as `%` and two digits for each of its bytes.
pub(super) fn percent(c: char, to: &mut impl Extend<char>) {
    let mut bytes = [0; 4];
    for byte in c.encode_utf8(&mut bytes).bytes() {
        to.extend(['%']);
        to.extend(
            [byte >> 4, byte & 15]
                .iter()
                .filter_map(|&nibble| char::from_digit(u32::from(nibble), 16))
                .map(|digit| digit.to_ascii_uppercase()),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_forms_write_them() {
        assert_eq!(unform("in/my+photo%281%29.jpg").as_deref(), Some("in/my photo(1).jpg"));
        assert_eq!(unform("in/%C3%BCber%2Ba.txt").as_deref(), Some("in/über+a.txt"));
        assert_eq!(unform("%E2%82%AC").as_deref(), Some("€"));
        assert_eq!(unform("100%"), None);
        assert_eq!(unform("%zz"), None);
        assert_eq!(unform("%ff"), None);
    }

    #[test]
    fn what_may_not_be_seen_is_written_out() {
        assert_eq!(visible("a\nb\u{7f}ü"), "a%0Ab%7Fü");
        assert_eq!(visible("\u{85}"), "%C2%85");
        assert_eq!(cut("ééé", 3), "é");
    }
}
