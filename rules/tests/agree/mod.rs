//! What is asked of any bytes at all, by dice (`bytes_fuzz`) and by what libFuzzer finds (`rules/fuzz`): nothing panics,
//! and where both can be read, the set and the simple evaluator say the same.

use eventyard_rules::{Memory, Pattern, PatternSet, reference_matches_json};

/// Texts, those of them that are patterns, and the set of these.
pub(crate) struct Rules {
    texts: Vec<String>,
    pub(crate) patterns: Vec<Pattern>,
    set: PatternSet,
}

impl Rules {
    pub(crate) fn read(texts: Vec<String>) -> Rules {
        let patterns: Vec<Pattern> = texts.iter().filter_map(|text| Pattern::from_json(text).ok()).collect();
        let set = PatternSet::new(&patterns);
        Rules { texts, patterns, set }
    }

    /// Holds the two together over one event; how many patterns match it, or none where it is no event. `claimed_unique`
    /// is what is said of its keys whatever they are.
    pub(crate) fn agree(&self, event: &[u8], claimed_unique: bool, memory: &mut Memory) -> Option<usize> {
        let Rules { texts, patterns, set } = self;
        let valid = eventyard_event::json::validate(event, 127).ok();
        let event = String::from_utf8_lossy(event);
        // Whatever it is, no walk may panic over it, whatever is claimed of it.
        set.matches_json(&event, claimed_unique, memory);
        let shape = valid?;
        // What is JSON and no object is no event.
        let answers: Option<Vec<bool>> =
            patterns.iter().map(|pattern| reference_matches_json(pattern, &event)).collect();
        let expected: Vec<u32> = (0..).zip(answers?).filter(|(_, yes)| *yes).map(|(place, _)| place).collect();
        assert_eq!(set.matches_json(&event, false, memory), &*expected, "{event}\n{texts:#?}");
        if shape.keys_unique {
            assert_eq!(set.matches_json(&event, true, memory), &*expected, "early: {event}\n{texts:#?}");
        }
        Some(expected.len())
    }
}
