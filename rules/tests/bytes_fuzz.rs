//! Arbitrary bytes as patterns and as events: nothing may panic, and where both can be read, the set and the simple
//! evaluator say the same.
//!
//! The bytes are valid patterns and events that were cut, spliced and changed, each round by dice of its own seed, which
//! a failure names. `EVENTYARD_SEED=N` begins elsewhere, `EVENTYARD_FUZZ_SECONDS=N` goes on for as long:
//!
//! ```text
//! EVENTYARD_SEED=7 EVENTYARD_FUZZ_SECONDS=600 cargo test --release -p eventyard-rules --test bytes_fuzz -- --nocapture
//! ```
//!
//! `rules/fuzz/run.sh` asks the same of what libFuzzer finds by the branches that it takes.
#![expect(clippy::expect_used, reason = "a test that cannot go on has failed, and says where")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use eventyard_rules::Memory;

mod agree;

use agree::Rules;

const ROUNDS: u64 = 4_000;

const PATTERNS: &[&str] = &[
    r#"{"a":["x",1,null,true]}"#,
    r#"{"a":{"b":[{"prefix":"x"},{"suffix":"é"}]},"c":[{"exists":false}]}"#,
    r#"{"a.b":[{"wildcard":"x*y\\*z*"}],"c":[{"anything-but":["x","y"]}]}"#,
    r#"{"a":[{"numeric":[">",0,"<=",5.5e1]}],"b":[{"numeric":["=",-0.0]}]}"#,
    r#"{"a":[{"equals-ignore-case":"Xé"},{"prefix":{"equals-ignore-case":"X"}}]}"#,
    r#"{"a":[{"cidr":"10.0.0.0/8"},{"cidr":"2001:db8::/32"},"10.0.0.1"]}"#,
    r#"{"$or":[{"a":[1]},{"b":[{"anything-but":{"wildcard":"*x*"}}]}],"c":{"d":[{"exists":true}]}}"#,
    r#"{"a":[{"anything-but":{"prefix":["x","y"]}},9007199254740993,1e400]}"#,
];

const EVENTS: &[&str] = &[
    r#"{"a":"x","b":1,"c":null}"#,
    r#"{"a":{"b":"xay*zx"},"c":[{"d":1},{"d":"x"},[[{"b":2}]]]}"#,
    r#"{"a.b":"x\u00e9\ud83d\ude00\"\\","a":[1,1.0,1e0,-0,5.5E+1],"a":true}"#,
    "{ \"a\" : [ \"10.0.0.1\" , \"2001:DB8::1\" ] ,\n\t\"b\" : [ ] , \"c\" : { } }",
    r#"{"a":[{"b":"x","c":1},{"b":"y","c":2}],"b":9007199254740993,"c":"Xé"}"#,
    r#"{"long":"................................................................................","a":"x"}"#,
];

/// What is put in where something is changed: what the syntax is made of, and what is at its edges.
const PIECES: &[&[u8]] = &[
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b"\"",
    b"\\",
    b"\\u0061",
    b"\\ud800",
    b"*",
    b"**",
    b"a",
    b"b",
    b"x",
    b".",
    b"0",
    b"1",
    b"-",
    b"e9",
    b"1e308",
    b" ",
    b"\n",
    b"\0",
    b"\xff",
    b"\xc3",
    b"null",
    b"true",
    b"$or",
    b"prefix",
    b"exists",
    b"numeric",
    b"\"a\":",
    b"[[[[[[[[",
    b"{\"a\":{\"a\":",
];

/// A xorshift generator.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).expect("53 bits") % bound.max(1)
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// One of `valid`, changed in a few places or in none.
    fn bytes(&mut self, valid: &[&str]) -> Vec<u8> {
        let mut bytes = self.one(valid).as_bytes().to_vec();
        for _ in 0..self.below(5) {
            let (from, to) = (self.below(bytes.len()), self.below(bytes.len()));
            let (from, to) = (from.min(to), from.max(to));
            match self.below(6) {
                0 => drop(bytes.drain(from..to)),
                1 => {
                    let piece = bytes[from..to].to_vec();
                    let at = self.below(bytes.len());
                    bytes.splice(at..at, piece);
                }
                2 => {
                    let other = self.one(valid).as_bytes();
                    let piece = other[self.below(other.len())..].to_vec();
                    bytes.splice(from.., piece);
                }
                3 if !bytes.is_empty() => bytes[from] = u8::try_from(self.below(256)).expect("a byte"),
                _ => {
                    let piece = self.one(PIECES);
                    bytes.splice(from..from, piece.iter().copied());
                }
            }
        }
        bytes
    }
}

/// What a round came to: how many questions both could answer, and how many of them with yes.
fn round(seed: u64, memory: &mut Memory) -> (u64, u64) {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let texts = (0..=dice.below(6)).map(|_| String::from_utf8_lossy(&dice.bytes(PATTERNS)).into_owned()).collect();
    let rules = Rules::read(texts);
    let (mut asked, mut matched) = (0, 0);
    for _ in 0..8 {
        let (event, claimed_unique) = (dice.bytes(EVENTS), dice.below(2) == 0);
        let Some(count) = rules.agree(&event, claimed_unique, memory) else { continue };
        asked += rules.patterns.len() as u64;
        matched += count as u64;
    }
    (asked, matched)
}

#[test]
fn whatever_bytes_come_the_set_says_what_the_evaluator_says() {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let first = number("EVENTYARD_SEED").unwrap_or(1) << 32;
    let until = number("EVENTYARD_FUZZ_SECONDS").map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut memory = Memory::default();
    let (mut rounds, mut asked, mut matched) = (0_u64, 0, 0);
    while until.map_or(rounds < ROUNDS, |until| Instant::now() < until) {
        let seed = first + rounds;
        match catch_unwind(AssertUnwindSafe(|| round(seed, &mut memory))) {
            Ok(counts) => (asked, matched) = (asked + counts.0, matched + counts.1),
            Err(panic) => {
                eprintln!("round {rounds} of EVENTYARD_SEED={} fails", first >> 32);
                std::panic::resume_unwind(panic);
            }
        }
        rounds += 1;
    }
    println!("{rounds} rounds, {asked} questions, {matched} matches");
    // Bytes that can never be read would prove nothing.
    assert!(asked > rounds && matched > rounds / 10, "{asked} questions, {matched} matches in {rounds} rounds");
}
