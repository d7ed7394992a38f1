//! The bytes of records: little-endian fixed numbers, LEB128 lengths, text as UTF-8 with its length before it.
//!
//! Written by hand and not derived, because these bytes outlive the types: what a field is called or how a
//! struct is ordered must not change what is on disk.

use eventyard_event::{DeliveryId, EventId, Name, Timestamp};

/// The bytes are not what this format writes. Says which field, for the report of a damaged record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the field `{0}` cannot be read")]
pub(crate) struct DecodeError(pub(crate) &'static str);

/// Appends fields to a buffer.
pub(crate) trait Put {
    fn put_u8(&mut self, value: u8);
    fn put_u16(&mut self, value: u16);
    fn put_u32(&mut self, value: u32);
    fn put_u64(&mut self, value: u64);
    fn put_i64(&mut self, value: i64);
    /// An unsigned number in as few bytes as it needs.
    fn put_count(&mut self, value: usize) {
        self.put_number(value as u64);
    }
    /// As [`Put::put_count`], of what is no count.
    fn put_number(&mut self, value: u64);
    fn put_bytes(&mut self, value: &[u8]);
    fn put_text(&mut self, value: &str) {
        self.put_bytes(value.as_bytes());
    }
    fn put_time(&mut self, value: Timestamp) {
        self.put_i64(value.as_millis());
    }
    fn put_name(&mut self, value: &Name) {
        self.put_text(value.as_str());
    }
    fn put_event_id(&mut self, value: EventId);
    fn put_delivery_id(&mut self, value: DeliveryId) {
        self.put_event_id(value.event);
        self.put_u32(value.place);
    }
    fn put_option_text(&mut self, value: Option<&str>) {
        match value {
            None => self.put_u8(0),
            Some(text) => {
                self.put_u8(1);
                self.put_text(text);
            }
        }
    }
}

impl Put for Vec<u8> {
    fn put_u8(&mut self, value: u8) {
        self.push(value);
    }
    fn put_u16(&mut self, value: u16) {
        self.extend_from_slice(&value.to_le_bytes());
    }
    fn put_u32(&mut self, value: u32) {
        self.extend_from_slice(&value.to_le_bytes());
    }
    fn put_u64(&mut self, value: u64) {
        self.extend_from_slice(&value.to_le_bytes());
    }
    fn put_i64(&mut self, value: i64) {
        self.extend_from_slice(&value.to_le_bytes());
    }
    fn put_number(&mut self, value: u64) {
        let mut rest = value;
        loop {
            let low = (rest & 0x7f) as u8;
            rest >>= 7;
            if rest == 0 {
                self.push(low);
                return;
            }
            self.push(low | 0x80);
        }
    }
    fn put_bytes(&mut self, value: &[u8]) {
        self.put_count(value.len());
        self.extend_from_slice(value);
    }
    fn put_event_id(&mut self, value: EventId) {
        self.extend_from_slice(&value.to_bytes());
    }
}

/// Reads fields from the front of a slice. Every read is checked against what is left.
#[derive(Clone, Debug)]
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Fields<'a> {
        Fields { rest: bytes }
    }

    /// How many bytes are left.
    pub(crate) fn left(&self) -> usize {
        self.rest.len()
    }

    /// Nothing may be left over: leftovers mean a writer that knew more than this reader.
    pub(crate) fn end(&self, field: &'static str) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(DecodeError(field)) }
    }

    pub(crate) fn raw(&mut self, count: usize, field: &'static str) -> Result<&'a [u8], DecodeError> {
        let (head, rest) = self.rest.split_at_checked(count).ok_or(DecodeError(field))?;
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], DecodeError> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(DecodeError(field))?;
        self.rest = rest;
        Ok(*head)
    }

    pub(crate) fn u8(&mut self, field: &'static str) -> Result<u8, DecodeError> {
        Ok(self.array::<1>(field)?[0])
    }

    pub(crate) fn u16(&mut self, field: &'static str) -> Result<u16, DecodeError> {
        self.array(field).map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        self.array(field).map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        self.array(field).map(u64::from_le_bytes)
    }

    pub(crate) fn i64(&mut self, field: &'static str) -> Result<i64, DecodeError> {
        self.array(field).map(i64::from_le_bytes)
    }

    pub(crate) fn hash(&mut self, field: &'static str) -> Result<[u8; 16], DecodeError> {
        self.array(field)
    }

    pub(crate) fn count(&mut self, field: &'static str) -> Result<usize, DecodeError> {
        usize::try_from(self.number(field)?).map_err(|_| DecodeError(field))
    }

    /// An unsigned number of any length.
    pub(crate) fn number(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8(field)?;
            let part = u64::from(byte & 0x7f);
            if shift == 63 && part > 1 {
                return Err(DecodeError(field));
            }
            value |= part << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError(field))
    }

    /// A number that fits 32 bits.
    pub(crate) fn number32(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        u32::try_from(self.number(field)?).map_err(|_| DecodeError(field))
    }

    /// How many things follow, each of which takes at least `bytes_min`: so that a forged count cannot make
    /// us reserve more memory than the bytes that came.
    pub(crate) fn count_of(&mut self, bytes_min: usize, field: &'static str) -> Result<usize, DecodeError> {
        let count = self.count(field)?;
        if count.checked_mul(bytes_min).is_none_or(|bytes| bytes > self.rest.len()) {
            return Err(DecodeError(field));
        }
        Ok(count)
    }

    pub(crate) fn bytes(&mut self, field: &'static str) -> Result<&'a [u8], DecodeError> {
        let count = self.count(field)?;
        self.raw(count, field)
    }

    pub(crate) fn text(&mut self, field: &'static str) -> Result<&'a str, DecodeError> {
        std::str::from_utf8(self.bytes(field)?).map_err(|_| DecodeError(field))
    }

    pub(crate) fn option_text(&mut self, field: &'static str) -> Result<Option<&'a str>, DecodeError> {
        if self.flag(field)? { self.text(field).map(Some) } else { Ok(None) }
    }

    pub(crate) fn flag(&mut self, field: &'static str) -> Result<bool, DecodeError> {
        match self.u8(field)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError(field)),
        }
    }

    pub(crate) fn time(&mut self, field: &'static str) -> Result<Timestamp, DecodeError> {
        self.i64(field).map(Timestamp::from_millis)
    }

    pub(crate) fn name(&mut self, field: &'static str) -> Result<Name, DecodeError> {
        Name::new(self.text(field)?).map_err(|_| DecodeError(field))
    }

    pub(crate) fn event_id(&mut self, field: &'static str) -> Result<EventId, DecodeError> {
        self.array(field).map(EventId::from_bytes)
    }

    pub(crate) fn delivery_id(&mut self, field: &'static str) -> Result<DeliveryId, DecodeError> {
        Ok(DeliveryId { event: self.event_id(field)?, place: self.u32(field)? })
    }
}
