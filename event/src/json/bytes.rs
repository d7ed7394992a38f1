//! Bytes of JSON text.

/// One in each of eight bytes.
pub(super) const EACH: u64 = 0x0101_0101_0101_0101;
/// The highest bit of each of eight bytes.
pub(super) const HIGHEST: u64 = EACH * 0x80;

/// Where the space ends that begins at `at`, if there is any.
pub(super) fn after_space(bytes: &[u8], mut at: usize) -> usize {
    while matches!(bytes.get(at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
        at += 1;
    }
    at
}
