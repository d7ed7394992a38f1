//! What the values are that were collected: read when somebody asks, and once.

use super::SetField;
use super::scratch::{Leaf, LeafKind, NumberValue, Scratch};
use super::table::known_hash;
use crate::pattern::matcher::Scalar;
use crate::pattern::number;

/// The value of a leaf that is a number, where that is exact.
#[inline]
pub(super) fn leaf_number(at: u32, text: &[u8], scratch: &mut Scratch) -> Option<f64> {
    let Scratch { leaves, kept, .. } = scratch;
    let leaf = leaves.get_mut(at as usize).filter(|leaf| leaf.kind == LeafKind::Number)?;
    let text = if leaf.kept { kept } else { text };
    number_value(&mut leaf.number, text.get(leaf.start as usize..leaf.end as usize).unwrap_or_default())
}

/// The text of a leaf that is a string.
#[inline]
pub(super) fn leaf_string<'t>(at: u32, text: &'t [u8], scratch: &'t Scratch) -> Option<&'t [u8]> {
    let leaf = scratch.leaves.get(at as usize).filter(|leaf| leaf.kind == LeafKind::String)?;
    let text = if leaf.kept { &scratch.kept } else { text };
    text.get(leaf.start as usize..leaf.end as usize)
}

/// The hash of a leaf's text; `None` where it is no string.
#[inline]
pub(super) fn leaf_hash(at: u32, text: &[u8], scratch: &mut Scratch) -> Option<u64> {
    let Scratch { leaves, kept, .. } = scratch;
    let leaf = leaves.get_mut(at as usize).filter(|leaf| leaf.kind == LeafKind::String)?;
    if leaf.hash == 0 {
        let text = if leaf.kept { kept } else { text };
        leaf.hash = known_hash(&mut 0, text.get(leaf.start as usize..leaf.end as usize).unwrap_or_default());
    }
    Some(leaf.hash)
}

/// Whether a field accepts a leaf, by its matchers.
pub(super) fn accepts_text(field: &SetField, at: u32, text: &[u8], scratch: &mut Scratch) -> bool {
    let Some(leaf) = scratch.leaves.get(at as usize) else { return false };
    let mut value = leaf.number;
    let accepts = scalar(leaf, text, &scratch.kept, &mut value).is_some_and(|scalar| field.field.accepts(scalar));
    if let Some(leaf) = scratch.leaves.get_mut(at as usize) {
        leaf.number = value;
    }
    accepts
}

/// The value that a leaf stands for; `None` where its text is no text, which checked JSON does not have.
pub(super) fn scalar<'t>(leaf: &Leaf, text: &'t [u8], kept: &'t [u8], value: &mut NumberValue) -> Option<Scalar<'t>> {
    let text = if leaf.kept { kept } else { text };
    let text = || text.get(leaf.start as usize..leaf.end as usize).and_then(|text| std::str::from_utf8(text).ok());
    Some(match leaf.kind {
        LeafKind::Null => Scalar::Null,
        LeafKind::True => Scalar::Bool(true),
        LeafKind::False => Scalar::Bool(false),
        LeafKind::String => Scalar::String(text()?),
        LeafKind::Number => {
            let text = text()?;
            Scalar::Number { text, value: number_value(value, text.as_bytes()) }
        }
    })
}

/// A number's value where it is exact, found out once.
pub(super) fn number_value(known: &mut NumberValue, text: &[u8]) -> Option<f64> {
    if *known == NumberValue::Unknown {
        let value = number::short(text).or_else(|| std::str::from_utf8(text).ok().and_then(number::exact));
        *known = value.map_or(NumberValue::Inexact, NumberValue::Exact);
    }
    match *known {
        NumberValue::Exact(value) => Some(value),
        NumberValue::Inexact | NumberValue::Unknown => None,
    }
}
