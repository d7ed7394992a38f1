//! Unpacks what was packed, up to a limit: a few bytes may say that they are a hundred gigabytes.

use bytes::Bytes;

use super::DecodeError;

/// The largest window that zstd may ask for, as a power of two: 8 MiB, what its own tools go up to without being told.
#[cfg(feature = "codec")]
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    Gzip,
    Zstd,
}

impl Packing {
    /// By a content encoding.
    pub(super) fn read(said: Option<&str>) -> Result<Option<Packing>, DecodeError> {
        let said = said.unwrap_or_default().trim();
        match said.to_ascii_lowercase().as_str() {
            "" | "identity" => Ok(None),
            "gzip" | "x-gzip" => Ok(Some(Packing::Gzip)),
            "zstd" => Ok(Some(Packing::Zstd)),
            _ => {
                let shown: String = said.chars().take(64).flat_map(char::escape_debug).collect();
                Err(DecodeError::new("unpack", format!("the content encoding `{shown}` is neither gzip nor zstd")))
            }
        }
    }
}

#[cfg(feature = "codec")]
pub(super) fn unpack(packing: Packing, packed: &Bytes, bytes_max: usize) -> Result<Bytes, DecodeError> {
    use std::io::Read as _;

    let broken = |error: std::io::Error| DecodeError::new("unpack", format!("the message cannot be unpacked: {error}"));
    let mut unpacked = Vec::new();
    let limit = (bytes_max as u64).saturating_add(1);
    match packing {
        Packing::Gzip => flate2::read::MultiGzDecoder::new(packed.as_ref()).take(limit).read_to_end(&mut unpacked),
        Packing::Zstd => {
            let mut reader = zstd::stream::read::Decoder::with_buffer(packed.as_ref()).map_err(broken)?;
            reader.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(broken)?;
            reader.take(limit).read_to_end(&mut unpacked)
        }
    }
    .map_err(broken)?;
    if unpacked.len() > bytes_max {
        return Err(DecodeError::new("too_large", format!("unpacked, the message has over {bytes_max} bytes")));
    }
    Ok(unpacked.into())
}

#[cfg(not(feature = "codec"))]
pub(super) fn unpack(_packing: Packing, _packed: &Bytes, _bytes_max: usize) -> Result<Bytes, DecodeError> {
    Err(DecodeError::new("unpack", "this eventyard was built without gzip and zstd"))
}
