//! How long requests took.

use std::time::Duration;

/// One entry a request.
#[derive(Default)]
pub(crate) struct Latencies(Vec<u32>);

impl Latencies {
    /// Adds one; longer than an hour counts as an hour.
    pub(crate) fn add(&mut self, took: Duration) {
        self.0.push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// The time that so large a part of the requests did not exceed, in milliseconds.
    pub(crate) fn quantiles<const N: usize>(&mut self, parts: [f64; N]) -> [f64; N] {
        self.0.sort_unstable();
        let last = self.0.len().saturating_sub(1);
        parts.map(|part| {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in a list")]
            let place = (last as f64 * part).round() as usize;
            self.0.get(place).map_or(0.0, |micros| f64::from(*micros) / 1000.0)
        })
    }
}
