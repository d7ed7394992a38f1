//! Ranges of numbers, and which of them a number lies in: in time that grows with the answer, not with the ranges.

/// Ranges by their lower bounds. Each place is also a node of a tree, the middle of a stretch its root: beside each
/// stands the highest upper bound of its stretch, so that a stretch that ends below a number is left out whole.
#[derive(Clone, Debug, Default)]
pub(super) struct Ranges {
    ranges: Vec<Range>,
}

#[derive(Clone, Copy, Debug)]
struct Range {
    low: f64,
    high: f64,
    /// The highest upper bound in the stretch whose middle this is.
    highest: f64,
    place: u32,
}

impl Ranges {
    pub(super) fn new(ranges: Vec<(f64, f64, u32)>) -> Ranges {
        let mut ranges: Vec<Range> =
            ranges.into_iter().map(|(low, high, place)| Range { low, high, highest: high, place }).collect();
        ranges.sort_by(|a, b| a.low.total_cmp(&b.low));
        set_highest(&mut ranges);
        Ranges { ranges }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Gives the places of all ranges that `value` lies in or on the bounds of.
    pub(super) fn around(&self, value: f64, mut found: impl FnMut(u32)) {
        around(&self.ranges, value, &mut found);
    }
}

fn set_highest(stretch: &mut [Range]) -> f64 {
    let middle = stretch.len() / 2;
    let (before, rest) = stretch.split_at_mut(middle);
    let Some((root, after)) = rest.split_first_mut() else { return f64::NEG_INFINITY };
    let inside = set_highest(before).max(set_highest(after));
    root.highest = root.high.max(inside);
    root.highest
}

/// The recursion halves the stretch each time.
fn around(stretch: &[Range], value: f64, found: &mut impl FnMut(u32)) {
    let (before, rest) = stretch.split_at(stretch.len() / 2);
    let Some((root, after)) = rest.split_first() else { return };
    if root.highest < value {
        return;
    }
    around(before, value, found);
    if root.low <= value {
        if value <= root.high {
            found(root.place);
        }
        around(after, value, found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_number_is_in_the_ranges_that_hold_it(bounds in prop::collection::vec((-20i32..20, 0i32..15), 0..40), value in -25i32..40) {
            let ranges: Vec<(f64, f64, u32)> = (0..).zip(&bounds)
                .map(|(at, (low, width))| (f64::from(*low), f64::from(low + width), at)).collect();
            let mut found = Vec::new();
            Ranges::new(ranges.clone()).around(f64::from(value), |place| found.push(place));
            found.sort_unstable();
            let value = f64::from(value);
            let expected: Vec<u32> = ranges.iter().filter(|(low, high, _)| *low <= value && value <= *high).map(|r| r.2).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
