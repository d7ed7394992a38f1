//! A cursor over JSON text that passes over what nobody asks for without looking at each byte.
//!
//! The text is taken in blocks of 64 bytes. For each block one bit a byte says where the quotes of strings stand and
//! what lies inside of strings; from these follow the end of a string and, by counting brackets, the end of an object
//! or a list, however long. A block is looked at when the cursor gets there, and never again: whoever stops early pays
//! for what came before alone.
//!
//! The text was checked when the event was taken. On text that is no JSON the cursor ends somewhere, without a panic
//! and in time proportional to the text.

use wide::u8x16;

const BLOCK: usize = 64;

/// A cursor that only moves forward.
pub(crate) struct Scanner<'d> {
    pub(crate) bytes: &'d [u8],
    /// The next byte to be looked at.
    pub(crate) at: usize,
    /// Where the block that the masks describe begins; past the text before there is one.
    block: usize,
    /// Quotes that begin or end a string.
    quotes: u64,
    backslashes: u64,
    /// What lies in strings, from the first quote up to the byte before the last one.
    in_strings: u64,
    /// Brackets and commas outside of strings; made when somebody asks.
    opening: u64,
    closing: u64,
    commas: u64,
    has_structure: bool,
    /// Whether the next block's first byte is escaped.
    escape_goes_on: bool,
    /// All ones where the next block begins inside a string.
    string_goes_on: u64,
}

/// The text of a string, as it stands in the JSON.
#[derive(Clone, Copy)]
pub(crate) struct Quoted {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) has_escapes: bool,
}

impl<'d> Scanner<'d> {
    pub(crate) fn new(bytes: &'d [u8]) -> Scanner<'d> {
        Scanner::from(bytes, 0)
    }

    /// One that begins at a place outside of strings.
    pub(crate) fn from(bytes: &'d [u8], at: usize) -> Scanner<'d> {
        let mut scanner = Scanner {
            bytes,
            at,
            block: at,
            quotes: 0,
            backslashes: 0,
            in_strings: 0,
            opening: 0,
            closing: 0,
            commas: 0,
            has_structure: false,
            escape_goes_on: false,
            string_goes_on: 0,
        };
        scanner.look(at);
        scanner
    }

    /// The byte at the cursor; 0 at the end.
    #[inline]
    pub(crate) fn peek(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    #[inline]
    pub(crate) fn skip_space(&mut self) {
        // What is sent is mostly written without.
        if self.peek() <= b' ' {
            self.skip_more_space();
        }
    }

    #[cold]
    fn skip_more_space(&mut self) {
        while matches!(self.peek(), b' ' | b'\t' | b'\n' | b'\r') {
            self.at += 1;
        }
    }

    /// The block at `start`, filled up with spaces.
    #[inline]
    fn block_at(&self, start: usize) -> [u8x16; 4] {
        let mut filled = [b' '; BLOCK];
        let block: &[u8; BLOCK] = match self.bytes.get(start..).and_then(|rest| rest.first_chunk()) {
            Some(block) => block,
            None => {
                let rest = self.bytes.get(start..).unwrap_or_default();
                filled.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
                &filled
            }
        };
        let (quarters, _) = block.as_chunks::<16>();
        let mut lanes = [u8x16::splat(b' '); 4];
        lanes.iter_mut().zip(quarters).for_each(|(lane, quarter)| *lane = u8x16::new(*quarter));
        lanes
    }

    /// Makes the masks of the block at `start`, which follows the one before.
    fn look(&mut self, start: usize) {
        let lanes = self.block_at(start);
        self.block = start;
        self.has_structure = false;
        self.backslashes = equal(&lanes, b'\\');
        let escaped = if self.backslashes == 0 && !self.escape_goes_on { 0 } else { self.escaped() };
        self.quotes = equal(&lanes, b'"') & !escaped;
        self.in_strings = running_parity(self.quotes) ^ self.string_goes_on;
        self.string_goes_on = if self.in_strings >> 63 == 1 { u64::MAX } else { 0 };
    }

    /// Which bytes of the block stand behind a backslash that is not escaped itself. Adding carries each run of
    /// backslashes to its end, so that runs of odd length are told from even ones without a loop.
    fn escaped(&mut self) -> u64 {
        const EVEN: u64 = 0x5555_5555_5555_5555;
        let carried = u64::from(self.escape_goes_on);
        let backslashes = self.backslashes & !carried;
        let follows = backslashes << 1 | carried;
        let odd_starts = backslashes & !EVEN & !follows;
        let (ends, goes_on) = odd_starts.overflowing_add(backslashes);
        self.escape_goes_on = goes_on;
        (EVEN ^ (ends << 1)) & follows
    }

    #[inline]
    fn look_at_structure(&mut self) {
        if !self.has_structure {
            let lanes = self.block_at(self.block);
            let outside = !self.in_strings;
            // The two kinds of brackets differ in one bit, and in checked JSON they close in order.
            let folded = lanes.map(|lane| lane | u8x16::splat(0x20));
            self.opening = equal(&folded, b'{') & outside;
            self.closing = equal(&folded, b'}') & outside;
            self.commas = equal(&lanes, b',') & outside;
            self.has_structure = true;
        }
    }

    /// Makes the block that holds the cursor the one that the masks describe. False at the end of the text.
    #[inline]
    fn come_along(&mut self) -> bool {
        while self.at >= self.block + BLOCK {
            if self.block + BLOCK >= self.bytes.len() {
                return false;
            }
            self.look(self.block + BLOCK);
        }
        self.at < self.bytes.len()
    }

    /// Goes on to the next block; false where there is none.
    #[inline]
    fn next_block(&mut self) -> bool {
        let next = self.block + BLOCK;
        if next >= self.bytes.len() {
            self.at = self.bytes.len();
            return false;
        }
        self.look(next);
        self.at = next;
        true
    }

    /// The bits of the block from the cursor on.
    #[inline]
    fn rest_of_block(&self) -> u64 {
        u64::MAX << (self.at - self.block)
    }

    /// Reads a string, from its first quote to behind its last.
    #[inline(always)]
    pub(crate) fn string(&mut self) -> Option<Quoted> {
        if self.peek() != b'"' {
            return None;
        }
        // Mostly it ends in the block that it begins in.
        let offset = self.at.wrapping_sub(self.block);
        if offset < BLOCK {
            // Without the first quote; in two steps, for a shift by 64 is none.
            let from = (u64::MAX << offset) << 1;
            let ends = self.quotes & from;
            if ends != 0 {
                let (start, end) = (self.at + 1, self.block + ends.trailing_zeros() as usize);
                self.at = end + 1;
                return Some(Quoted { start, end, has_escapes: self.backslashes & from & (lowest(ends) - 1) != 0 });
            }
        }
        self.long_string()
    }

    /// The same for one that ends in another block.
    fn long_string(&mut self) -> Option<Quoted> {
        if !self.come_along() {
            return None;
        }
        let start = self.at + 1;
        let mut from = self.rest_of_block() << 1;
        let mut has_escapes = false;
        loop {
            let ends = self.quotes & from;
            if ends != 0 {
                let end = self.block + ends.trailing_zeros() as usize;
                has_escapes |= self.backslashes & from & (lowest(ends) - 1) != 0;
                self.at = end + 1;
                return Some(Quoted { start, end, has_escapes });
            }
            has_escapes |= self.backslashes & from != 0;
            if !self.next_block() {
                return None;
            }
            from = u64::MAX;
        }
    }

    /// Reads a number or a word: from the cursor to the comma or the bracket that ends it, without the space before
    /// that.
    #[inline]
    pub(crate) fn scalar(&mut self) -> (usize, usize) {
        let start = self.at;
        if self.come_along() {
            loop {
                self.look_at_structure();
                let ends = (self.commas | self.closing) & self.rest_of_block();
                if ends != 0 {
                    self.at = self.block + ends.trailing_zeros() as usize;
                    break;
                }
                if !self.next_block() {
                    break;
                }
            }
        }
        let mut end = self.at.max(start);
        while end > start && self.bytes.get(end - 1).is_some_and(u8::is_ascii_whitespace) {
            end -= 1;
        }
        (start, end)
    }

    /// Goes behind the value at the cursor.
    #[inline]
    pub(crate) fn skip_value(&mut self) {
        match self.peek() {
            b'"' => {
                if self.string().is_none() {
                    self.at = self.bytes.len();
                }
            }
            b'{' | b'[' => {
                self.at += 1;
                self.skip_to_end_of_container();
            }
            _ => {
                self.scalar();
            }
        }
    }

    /// Goes behind the bracket that closes the object or the list that the cursor is in.
    pub(crate) fn skip_to_end_of_container(&mut self) {
        let mut depth: u32 = 1;
        if !self.come_along() {
            self.at = self.bytes.len();
            return;
        }
        loop {
            self.look_at_structure();
            let from = self.rest_of_block();
            let (mut opening, mut closing) = (self.opening & from, self.closing & from);
            if closing.count_ones() < depth {
                // However they stand, these cannot close everything that is open.
                depth = depth + opening.count_ones() - closing.count_ones();
            } else {
                while closing != 0 {
                    let before = lowest(closing) - 1;
                    depth += (opening & before).count_ones();
                    opening &= !before;
                    depth -= 1;
                    if depth == 0 {
                        self.at = self.block + closing.trailing_zeros() as usize + 1;
                        return;
                    }
                    closing &= closing - 1;
                }
                depth += opening.count_ones();
            }
            if !self.next_block() {
                return;
            }
        }
    }
}

/// The lowest bit that is set; `bits` is not 0.
#[inline]
fn lowest(bits: u64) -> u64 {
    bits & bits.wrapping_neg()
}

/// One bit for each byte that is `wanted`.
#[inline]
fn equal(lanes: &[u8x16; 4], wanted: u8) -> u64 {
    let wanted = u8x16::splat(wanted);
    let mut mask = 0;
    for (place, lane) in lanes.iter().enumerate() {
        mask |= u64::from(lane.simd_eq(wanted).to_bitmask()) << (16 * place);
    }
    mask
}

/// For each bit whether the number of bits up to and with it is odd.
#[inline]
fn running_parity(mut bits: u64) -> u64 {
    bits ^= bits << 1;
    bits ^= bits << 2;
    bits ^= bits << 4;
    bits ^= bits << 8;
    bits ^= bits << 16;
    bits ^ (bits << 32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_value_is_passed_over_whatever_is_in_it_and_wherever_blocks_end() {
        for padding in 0..130 {
            let space = " ".repeat(padding);
            for value in [
                "1",
                "-1.5e3",
                "true",
                "\"\"",
                "\"a\"",
                r#""\"""#,
                r#""\\""#,
                r#""\\\"]}""#,
                "[]",
                "{}",
                "[[],[1,[]]]",
                r#"{"a":"}","b":["]"],"c":{"d":1}}"#,
                r#"[{"\\":"\\\\"},"[",{"x":[1,2,3]}]"#,
            ] {
                let text = format!("{space}{value},\"next\"");
                let mut scanner = Scanner::new(text.as_bytes());
                scanner.skip_space();
                scanner.skip_value();
                assert_eq!(scanner.at, padding + value.len(), "{text}");
                scanner.at += 1;
                let next = scanner.string().unwrap();
                assert_eq!(&text[next.start..next.end], "next");
            }
        }
    }

    proptest! {
        #[test]
        fn strings_end_where_they_end(text in "[a\\\\\"é\n]{0,200}", before in 0usize..70) {
            let json = serde_json::to_string(&text).unwrap();
            let line = format!("{}{json}, 1", " ".repeat(before));
            let mut scanner = Scanner::new(line.as_bytes());
            scanner.skip_space();
            let quoted = scanner.string().unwrap();
            prop_assert_eq!(&line[quoted.start - 1..=quoted.end], &json);
            prop_assert_eq!(quoted.has_escapes, json.contains('\\'));
        }

        #[test]
        fn no_text_makes_it_panic(bytes in prop::collection::vec(prop::sample::select(b"\\\"[]{},: a1".to_vec()), 0..300)) {
            let mut scanner = Scanner::new(&bytes);
            while scanner.at < bytes.len() {
                let before = scanner.at;
                scanner.skip_value();
                scanner.skip_space();
                if scanner.at == before {
                    scanner.at += 1;
                }
            }
        }
    }
}
