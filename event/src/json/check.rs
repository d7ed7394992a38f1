//! Checks a text by the quickest way that can tell.
//!
//! Its keys are told by those of the texts before ([`super::known`]); where that cannot tell, they are held against each other
//! ([`super::quick`]); and where something is wrong or unusual, the text is read byte by byte ([`super::scan`]), which says what
//! it is.

use std::cell::RefCell;

use super::known::{KnownKeys, Mark, Members};
use super::outline::{Child, DEPTH_EXPECTED, KEYS_EXPECTED, Outline, Place};
use super::quick::{ComparedKeys, Key, Open, OwnKeys, outline_by};
use super::scan::scan_each;
use crate::EventError;

/// Checks `text` and calls `child` for each child of the outermost value, in order.
///
/// `depth_max` bounds the nesting inside the outermost `layers` levels: a format that wraps a sender's data in
/// objects of its own passes how many.
pub(super) fn scan<'a>(
    text: &'a str,
    depth_max: usize,
    layers: usize,
    mut child: impl FnMut(Child<'a>) -> Result<(), EventError>,
) -> Result<Outline, EventError> {
    let in_room = |room: &mut Room| {
        let outline = outline(text, depth_max.saturating_add(layers), true, room)?;
        Some(room.children.drain(..).try_for_each(|place| child(place.in_text(text))).map(|()| outline))
    };
    match with_room(in_room) {
        Some(read) => read,
        None => scan_each(text, depth_max, layers, &mut child),
    }
}

/// The same for one that asks for no children.
pub(super) fn check(text: &str, depth_max: usize) -> Result<Outline, EventError> {
    match with_room(|room| outline(text, depth_max, false, room)) {
        Some(outline) => Ok(outline),
        None => scan_each(text, depth_max, 0, &mut |_| Ok(())),
    }
}

thread_local! {
    /// What [`outline`] writes down.
    static ROOM: RefCell<Room> = RefCell::default();
}

/// Lends out the thread's room, or another where that is lent out already.
fn with_room<R>(ask: impl FnOnce(&mut Room) -> R) -> R {
    ROOM.with(|room| match room.try_borrow_mut() {
        Ok(mut room) => ask(&mut room),
        Err(_) => ask(&mut Room::default()),
    })
}

/// See [`KEYS_EXPECTED`].
const CHILDREN_EXPECTED: usize = 12;

/// What a check writes down, kept from text to text so that none of them allocates. It never grows large: of each object
/// that is open there are no more keys than [`KEYS_COMPARED_MAX`](super::outline::KEYS_COMPARED_MAX), and no more children than
/// [`CHILDREN_MAX`](super::quick::CHILDREN_MAX).
struct Room {
    /// The keys of the open objects, the innermost object's last.
    seen: Vec<Key>,
    /// The containers around the one that is being read.
    outer: Vec<Open<OwnKeys>>,
    /// The keys of the texts before, which have a limit of their own.
    members: Members,
    /// The containers around the one that is being read by them.
    known_outer: Vec<Open<Mark>>,
    /// The children of the outermost value of the text that was checked last.
    children: Vec<Place>,
}

impl Default for Room {
    fn default() -> Room {
        Room {
            seen: Vec::with_capacity(KEYS_EXPECTED),
            outer: Vec::with_capacity(DEPTH_EXPECTED),
            members: Members::default(),
            known_outer: Vec::with_capacity(DEPTH_EXPECTED),
            children: Vec::with_capacity(CHILDREN_EXPECTED),
        }
    }
}

/// The outline of a text, and in `room` the children of its outermost value, if `keeps_children`. `None` where something is
/// wrong, or where this cannot tell.
fn outline(text: &str, depth_max: usize, keeps_children: bool, room: &mut Room) -> Option<Outline> {
    let bytes = text.as_bytes();
    let Room { seen, outer, members, known_outer, children } = room;
    if members.are_asked() {
        let mut keys = KnownKeys::new(members);
        let outline = outline_by(bytes, depth_max, keeps_children, &mut keys, known_outer, children);
        keys.settle(outline.is_some());
        if outline.is_some() {
            return outline;
        }
    }
    outline_by(bytes, depth_max, keeps_children, &mut ComparedKeys::new(seen), outer, children)
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;

    use super::super::quick::CHILDREN_MAX;
    use super::super::scan::text_of;
    use super::*;

    const DEPTH_MAX: usize = 6;

    /// Any JSON text, and sometimes what only looks like one.
    fn write_value(random: &mut Rng, depth: usize, out: &mut Vec<u8>) {
        let kinds = if depth > DEPTH_MAX { 5 } else { 9 };
        match random.u8(..kinds) {
            0 | 1 => write_string(random, out),
            2 => out.extend_from_slice(
                random.choice(["true", "false", "false", "null", "null", "tru"]).unwrap().as_bytes(),
            ),
            3 | 4 => {
                const NUMBERS: [&str; 16] = [
                    "0",
                    "-0",
                    "7",
                    "12345678",
                    "123456789",
                    "-1.5e3",
                    "1E+10",
                    "0.000000001",
                    "1e-9999999999",
                    "01",
                    "-",
                    "1.",
                    ".5",
                    "1e",
                    "+1",
                    "99999999999999999999999.99999999999999999",
                ];
                let kinds = if random.u8(..4) == 0 { NUMBERS.len() } else { 9 };
                out.extend_from_slice(NUMBERS[random.usize(..kinds)].as_bytes());
            }
            5 | 6 => {
                out.push(b'[');
                for place in 0..random.usize(..4) {
                    out.extend_from_slice(if place > 0 { b"," } else { b"" });
                    write_space(random, out);
                    write_value(random, depth + 1, out);
                }
                write_space(random, out);
                out.push(b']');
            }
            _ => {
                out.push(b'{');
                let count = if random.u8(..20) == 0 { random.usize(10..40) } else { random.usize(..5) };
                for place in 0..count {
                    out.extend_from_slice(if place > 0 { b"," } else { b"" });
                    write_space(random, out);
                    if random.u8(..3) == 0 {
                        write_string(random, out)
                    } else {
                        write_key(random, out)
                    }
                    write_space(random, out);
                    out.push(b':');
                    write_space(random, out);
                    write_value(random, depth + 1, out);
                }
                out.push(b'}');
            }
        }
        write_space(random, out);
    }

    /// Of few letters and many lengths, so that there are some twice.
    fn write_key(random: &mut Rng, out: &mut Vec<u8>) {
        let length = random.usize(..20);
        let long = "abcdefghijklmnopqrs.";
        let end = if random.u8(..30) == 0 {
            "."
        } else if random.bool() {
            "x"
        } else {
            ""
        };
        out.extend_from_slice(format!("\"{}{end}\"", &long[..length]).as_bytes());
    }

    fn write_string(random: &mut Rng, out: &mut Vec<u8>) {
        const PIECES: [&str; 20] = [
            "a",
            "bc",
            "123456789012345",
            "\\\"",
            "\\\\",
            "\\n",
            "\\u00e9",
            "\\ud83d\\ude00",
            "\\ud83d",
            "\\udc00",
            "\\u12g4",
            "é",
            "😀",
            "{",
            "}",
            "[],:",
            ".",
            " ",
            "\\x",
            "\t",
        ];
        out.push(b'"');
        let kinds = if random.bool() { 3 } else { PIECES.len() };
        for _ in 0..random.usize(..6) {
            out.extend_from_slice(PIECES[random.usize(..kinds)].as_bytes());
        }
        out.push(b'"');
    }

    fn write_space(random: &mut Rng, out: &mut Vec<u8>) {
        if random.u8(..8) == 0 {
            out.extend_from_slice(random.choice([" ", "\n", "\t \r\n", "\u{b}", "\u{a0}"]).unwrap().as_bytes());
        }
    }

    /// What may be wrong with a text, by bytes that mean something.
    fn spoil(random: &mut Rng, text: &mut Vec<u8>) {
        let piece = *random.choice(b"{}[]\",: \\a1.e-\n\x00\x1f\x7f\xff\xc3\xa9").unwrap();
        let at = random.usize(..=text.len());
        match random.u8(..4) {
            0 => text.insert(at, piece),
            1 => text.truncate(at),
            2 if at < text.len() => {
                text.remove(at);
            }
            _ => text.iter_mut().skip(at).take(1).for_each(|byte| *byte = piece),
        }
    }

    /// The outline and the children, as the other check gives them.
    fn quick(bytes: &[u8], depth_max: usize, keeps_children: bool) -> Option<(Outline, Vec<Child<'_>>)> {
        quick_in(bytes, depth_max, keeps_children, &mut Room::default())
    }

    fn quick_in<'b>(
        bytes: &'b [u8],
        depth_max: usize,
        keeps_children: bool,
        room: &mut Room,
    ) -> Option<(Outline, Vec<Child<'b>>)> {
        let text = text_of(bytes).ok()?;
        let outline = outline(text, depth_max, keeps_children, room)?;
        Some((outline, room.children.drain(..).map(|place| place.in_text(text)).collect()))
    }

    fn each(bytes: &[u8], depth_max: usize) -> Option<(Outline, Vec<Child<'_>>)> {
        let mut children = Vec::new();
        let outline = scan_each(text_of(bytes).ok()?, depth_max, 0, &mut |child| {
            children.push(child);
            Ok(())
        });
        Some((outline.ok()?, children))
    }

    #[test]
    fn what_it_lets_pass_is_what_the_other_check_lets_pass() {
        let cases = std::env::var("EVENTYARD_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(40_000);
        let mut random = Rng::with_seed(6);
        let (mut passed, mut left) = (0, 0);
        let mut used_room = Room::default();
        for _ in 0..cases {
            let mut text = Vec::new();
            write_value(&mut random, 0, &mut text);
            for _ in 0..random.usize(..4).saturating_sub(1) {
                spoil(&mut random, &mut text);
            }
            let depth_max = random.usize(1..DEPTH_MAX + 3);
            let shown = String::from_utf8_lossy(&text);
            let wanted = each(&text, depth_max);
            let found = quick(&text, depth_max, true);
            // A key with escapes, and there are some in the generated ones, is left.
            match (&found, &wanted) {
                (Some(_), _) => {
                    assert_eq!(found, wanted, "{shown}");
                    passed += 1;
                }
                (None, Some((_, children))) => {
                    assert!(text.contains(&b'\\') || children.len() > CHILDREN_MAX, "{shown} is left for no reason");
                    left += 1;
                }
                (None, None) => {}
            }
            assert_eq!(quick_in(&text, depth_max, true, &mut used_room), found, "{shown}");
            let without_children = quick(&text, depth_max, false).map(|(outline, _)| outline);
            assert_eq!(without_children, found.map(|(outline, _)| outline), "{shown}");
        }
        println!("{cases} cases, {passed} passed, {left} left to the other");
        assert!(passed > cases / 4, "{passed}");
    }

    #[test]
    fn a_string_ends_where_it_ends_however_long_it_is() {
        for length in 0..70 {
            for piece in ["", "\\\"", "\\\\", "é", "\t", "\\u000a", "\\ud800", "\""] {
                for place in 0..=length {
                    let (before, behind) = ("x".repeat(place), "y".repeat(length - place));
                    for end in ["", " ,", "]", ",1]", ",\"0123456789abcdefghijk\"]"] {
                        let text = format!("[\"{before}{piece}{behind}\"{end}");
                        assert_eq!(quick(text.as_bytes(), 2, true), each(text.as_bytes(), 2), "{text}");
                    }
                }
            }
        }
    }

    #[test]
    fn very_many_children_are_left_to_the_other() {
        let text = format!("[{}1]", "1,".repeat(CHILDREN_MAX));
        assert_eq!(quick(text.as_bytes(), 1, true), None);
        assert!(quick(text.as_bytes(), 1, false).is_some());
        assert!(each(text.as_bytes(), 1).is_some());
    }

    #[test]
    fn a_dot_is_found_wherever_it_stands_in_a_key() {
        for length in 0..12 {
            let key = "k".repeat(length);
            let unique = |key: &str| {
                let text = format!("{{\"{key}\":1}}");
                let outline = scan(&text, 9, 0, |_| Ok(())).unwrap();
                assert_eq!(scan_each(&text, 9, 0, &mut |_| Ok(())).unwrap(), outline);
                outline.keys_unique
            };
            assert!(unique(&key), "{key}");
            for place in 0..length {
                let mut dotted = key.clone();
                dotted.replace_range(place..=place, ".");
                assert!(!unique(&dotted), "{dotted}");
            }
        }
    }
}
