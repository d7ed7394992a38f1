//! Makes events and rules for `match_bench`: always the same ones.
//!
//! ```text
//! cargo run --release -p eventyard-rules --example match_data -- FOLDER
//! ```
//!
//! Writes `parcels.jsonl` (parcels of land, about 970 bytes each, a list of corners in the midst) with
//! `parcels-rules.jsonl` (sets of five rules, one for each operator), and `orders.jsonl` (about 750 bytes) with
//! `orders-rules.jsonl` (1 to 100,000 rules of exact values, prefixes, wildcards and ranges), and `worst-rules.jsonl`
//! (wildcards that nearly match everything).

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::json;

const EVENTS: u64 = 20_000;

/// A xorshift generator: the same numbers each time.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).ok_or("usage: match_data FOLDER")?;
    let folder = Path::new(&folder);
    fs::create_dir_all(folder)?;
    parcels(folder)?;
    orders(folder)?;
    Ok(())
}

const STREETS: [&str; 12] = [
    "ACADIA",
    "BRYANT",
    "CRANLEIGH",
    "DOLORES",
    "FULTON",
    "HOWARD",
    "KANSAS",
    "LINCOLN",
    "MISSION",
    "PACIFIC",
    "SUTTER",
    "WASHINGTON",
];

fn parcels(folder: &Path) -> Result<(), Box<dyn Error>> {
    let mut random = Random(88_172_645_463_325_252);
    let mut text = String::new();
    for number in 0..EVENTS {
        let block = number / 30;
        let corners: Vec<String> = (0..9 + random.below(6)).map(|_| corner(&mut random)).collect();
        let street = STREETS[usize::try_from(random.below(12))?];
        writeln!(
            text,
            "{{\"type\":\"Feature\",\"properties\":{{\"MAPBLKLOT\":\"{block:04}{:03}\",\"BLKLOT\":\"{block:04}{:03}\",\
             \"BLOCK_NUM\":\"{block:04}\",\"LOT_NUM\":\"{:03}\",\"FROM_ST\":\"{}\",\"TO_ST\":\"{}\",\"STREET\":\"{street}\",\
             \"ST_TYPE\":\"{}\",\"ODD_EVEN\":\"{}\"}},\"geometry\":{{\"type\":\"Polygon\",\"coordinates\":[[{}]],\
             \"firstCoordinates\":{}}}}}",
            number % 30,
            number % 30,
            number % 30,
            random.below(3000),
            random.below(3000),
            if random.below(2) == 0 { "ST" } else { "AVE" },
            if number % 2 == 0 { "E" } else { "O" },
            corners.join(","),
            corners.first().map_or("{}", String::as_str),
        )?;
    }
    fs::write(folder.join("parcels.jsonl"), text)?;

    let property = |name: &str, entry: serde_json::Value| json!({"properties": {name: [entry]}});
    let mut sets: Vec<(&str, Vec<serde_json::Value>)> = Vec::new();
    let lots = ["0000012", "0101003", "0311020", "0500001", "0666011"];
    sets.push(("EXACT", lots.iter().map(|lot| property("MAPBLKLOT", json!(lot))).collect()));
    let heads = ["AC", "BRY", "D", "MISS", "WASHI"];
    sets.push(("PREFIX", heads.iter().map(|head| property("STREET", json!({"prefix": head}))).collect()));
    let tails = ["ON", "OLN", "ES", "ANT", "IFIC"];
    sets.push(("SUFFIX", tails.iter().map(|tail| property("STREET", json!({"suffix": tail}))).collect()));
    let globs = ["143*", "2*0*1*7", "*218", "3*5*2", "VA*IL"];
    sets.push(("WILDCARD", globs.iter().map(|glob| property("MAPBLKLOT", json!({"wildcard": glob}))).collect()));
    let names = ["acadia", "bryant", "fulton", "Kansas", "sutter"];
    sets.push((
        "EQUALS_IGNORE_CASE",
        names.iter().map(|name| property("STREET", json!({"equals-ignore-case": name}))).collect(),
    ));
    sets.push((
        "ANYTHING_BUT",
        STREETS.iter().take(5).map(|name| property("STREET", json!({"anything-but": [name]}))).collect(),
    ));
    let numbers = ["-122.42916360922355", "-122.4", "-122.43", "-122.41", "-122.44"];
    let numeric = |number: &str| -> Result<serde_json::Value, serde_json::Error> {
        serde_json::from_str(&format!(
            "{{\"geometry\":{{\"type\":[\"Polygon\"],\"firstCoordinates\":{{\"x\":[{{\"numeric\":[\"=\",{number}]}}]}}}}}}"
        ))
    };
    sets.push(("NUMERIC", numbers.iter().map(|number| numeric(number)).collect::<Result<_, _>>()?));
    let arrays = |number: &str| -> Result<serde_json::Value, serde_json::Error> {
        serde_json::from_str(&format!(
            "{{\"geometry\":{{\"type\":[\"Polygon\"],\"coordinates\":{{\"x\":[{{\"numeric\":[\"=\",{number}]}}],\
             \"y\":[{{\"numeric\":[\"<\",37.8]}}],\"z\":[0]}}}}}}"
        ))
    };
    sets.push(("COMPLEX_ARRAYS", numbers.iter().map(|number| arrays(number)).collect::<Result<_, _>>()?));
    write_sets(&folder.join("parcels-rules.jsonl"), sets)
}

fn corner(random: &mut Random) -> String {
    format!(
        "{{\"x\":-122.4{:013},\"y\":37.7{:013},\"z\":0.0}}",
        random.below(10_000_000_000_000),
        random.below(10_000_000_000_000)
    )
}

const KINDS: [&str; 8] = ["created", "paid", "packed", "sent", "delivered", "returned", "refunded", "cancelled"];

fn orders(folder: &Path) -> Result<(), Box<dyn Error>> {
    let mut random = Random(2_463_534_242);
    let mut text = String::new();
    for number in 0..EVENTS {
        let lines: Vec<String> = (0..7)
            .map(|_| {
                format!(
                    "{{\"sku\":\"sku-{:06}\",\"count\":{},\"price\":{}.{:02}}}",
                    random.below(500_000),
                    random.below(9) + 1,
                    random.below(300),
                    random.below(100)
                )
            })
            .collect();
        writeln!(
            text,
            "{{\"specversion\":\"1.0\",\"id\":\"o-{number}\",\"source\":\"/shops/{}\",\"type\":\"order.{}\",\"data\":{{\
             \"customer\":\"c-{:06}\",\"country\":\"{}\",\"path\":\"/shops/{}/orders/{:07}\",\"amount\":{}.{:02},\
             \"file\":\"invoices/{}/{:06}.pdf\",\"lines\":[{}],\"note\":\"{}\",\"paid\":{}}}}}",
            random.below(50),
            KINDS[usize::try_from(random.below(8))?],
            random.below(200_000),
            ["DE", "FR", "CN", "JP", "US"][usize::try_from(random.below(5))?],
            random.below(2_000),
            random.below(10_000_000),
            random.below(10_000),
            random.below(100),
            2000 + random.below(30),
            random.below(1_000_000),
            lines.join(","),
            "please leave it at the door ".repeat(6),
            random.below(2) == 0,
        )?;
    }
    fs::write(folder.join("orders.jsonl"), text)?;
    let mut sets = Vec::new();
    for (name, count) in [("MIXED_1", 1), ("MIXED_100", 100), ("MIXED_10000", 10_000), ("MIXED_100000", 100_000)] {
        sets.push((name, (0..count).map(|_| mixed_rule(&mut random)).collect()));
    }
    write_sets(&folder.join("orders-rules.jsonl"), sets)?;
    let worst = (0..1_000).map(|n| json!({"data": {"note": [{"wildcard": format!("*e*e*e*e*e*e*e*{n}*")}]}})).collect();
    let inner = (0..1_000).map(|n| json!({"data": {"note": [{"wildcard": format!("*leave*door*{n}")}]}})).collect();
    write_sets(&folder.join("worst-rules.jsonl"), vec![("STARS", worst), ("PIECES", inner)])
}

fn mixed_rule(random: &mut Random) -> serde_json::Value {
    let kind = format!("order.{}", KINDS[usize::try_from(random.below(8)).unwrap_or(0)]);
    match random.below(4) {
        0 => json!({"type": [kind], "data": {"customer": [format!("c-{:06}", random.below(200_000))]}}),
        1 => {
            let head = format!("/shops/{}/orders/{:02}", random.below(2_000), random.below(100));
            json!({"type": [kind], "data": {"path": [{"prefix": head}]}})
        }
        2 => {
            let glob = format!("invoices/{}/*{:03}.pdf", 2000 + random.below(30), random.below(1_000));
            json!({"type": [kind], "data": {"file": [{"wildcard": glob}]}})
        }
        _ => {
            let low = random.below(9_990);
            let customer = format!("c-{:04}", random.below(2_000));
            json!({"type": [kind], "data": {"amount": [{"numeric": [">=", low, "<", low + 10]}], "customer": [{"prefix": customer}]}})
        }
    }
}

fn write_sets(path: &Path, sets: Vec<(&str, Vec<serde_json::Value>)>) -> Result<(), Box<dyn Error>> {
    let mut text = String::new();
    for (set, patterns) in sets {
        for (number, pattern) in patterns.into_iter().enumerate() {
            writeln!(text, "{}", json!({"set": set, "name": format!("r{number}"), "pattern": pattern}))?;
        }
    }
    Ok(fs::write(path, text)?)
}
