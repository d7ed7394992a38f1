//! What stands in the lists that tables lead to.

/// A branch where it is filed. What is filed under one key stands side by side, those with one guard together.
///
/// Most candidates are refused by what stands here, without a look at the branch itself, which lies somewhere else in
/// memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Filed {
    /// What leads here, where that is a hash.
    pub(super) tag: u32,
    branch: u32,
    /// The field that most other branches share, or [`NO`]: of an event it is known already, mostly.
    pub(super) guard: u16,
    /// A path where a number must stand, or [`NO`].
    pub(super) slot: u16,
    /// The numbers that it must lie between, rounded away from each other.
    low: f32,
    high: f32,
}

/// Stands for no guard and no slot. Those with higher numbers are not kept here, so that three branches have room in
/// one cache line: such a branch is looked at itself.
pub(super) const NO: u16 = u16::MAX;

impl Filed {
    /// Marks the last of those under one key.
    const LAST: u32 = 1 << 31;

    /// With the path and the bounds of a range that the branch asks for, where it does.
    pub(super) fn new(branch: u32, guard: u32, range: Option<(u32, f64, f64)>) -> Filed {
        let short = |number: u32| u16::try_from(number).unwrap_or(NO);
        let (slot, low, high) = range.map_or((NO, 0.0, 0.0), |(slot, low, high)| (short(slot), low, high));
        Filed { tag: 0, branch, guard: short(guard), slot, low: below(low), high: above(high) }
    }

    /// The same under a hash.
    pub(super) fn with_tag(self, tag: u32) -> Filed {
        Filed { tag, ..self }
    }

    #[inline]
    pub(super) fn branch(self) -> u32 {
        self.branch & !Filed::LAST
    }

    #[inline]
    pub(super) fn is_last(self) -> bool {
        self.branch & Filed::LAST != 0
    }

    /// Makes it the last of those under one key.
    pub(super) fn mark_last(&mut self) {
        self.branch |= Filed::LAST;
    }

    /// Whether a number may lie in the range.
    #[inline]
    pub(super) fn may_hold(self, value: f64) -> bool {
        f64::from(self.low) <= value && value <= f64::from(self.high)
    }
}

/// A float of half the size that is not above `value`.
fn below(value: f64) -> f32 {
    #[expect(clippy::cast_possible_truncation, reason = "rounded, and mended")]
    let near = value as f32;
    if f64::from(near) > value { near.next_down() } else { near }
}

/// A float of half the size that is not below `value`.
fn above(value: f64) -> f32 {
    -below(-value)
}
