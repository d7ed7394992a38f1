//! The codes of what can be wrong with a project: words that stay the same from version to version.

/// Declares codes: a constant for each, and `CODES` with all of them and one line of explanation.
///
/// Every crate that reports has one such list, so that `eventyard errors` can show them and no code can be
/// reported that is not explained.
#[macro_export]
macro_rules! codes {
    ($($name:ident = $code:literal, $line:literal;)*) => {
        $(
            #[doc = $line]
            pub const $name: &str = $code;
        )*

        /// Every code of this list with its explanation in one line, in the order of the list.
        pub const CODES: &[(&str, &str)] = &[$(($code, $line)),*];
    };
}

codes! {
    TOML_SYNTAX = "toml_syntax", "The file is not valid TOML.";
    UNKNOWN_KEY = "unknown_key", "A key that does not exist here; the nearest one and all that exist are named.";
    MISSING_KEY = "missing_key", "A key that must be there is not.";
    WRONG_TYPE = "wrong_type", "The value is of another type than the key takes.";
    BAD_VALUE = "bad_value", "The value is of the right type but not one that the key takes.";
    OUT_OF_RANGE = "out_of_range", "The number, duration or size is below the least or above the greatest allowed.";
    BAD_NAME = "bad_name", "A name must fit `[a-z0-9][a-z0-9_-]{0,62}`.";
    BAD_DURATION = "bad_duration", "A duration is a number with a unit: \"250ms\", \"30s\", \"5m\", \"6h\", \"7d\".";
    BAD_SIZE = "bad_size", "A size is a number with a unit: \"512B\", \"64KiB\", \"10MiB\", \"1GiB\".";
    BAD_EXPRESSION = "bad_expression", "The text is no expression in CloudEvents SQL.";
    BAD_TEMPLATE = "bad_template", "The template of an input is neither JSON nor lines of text in quotes.";
    UNKNOWN_PLACEHOLDER = "unknown_placeholder", "A template has a name in angle brackets that no path has.";
    BAD_PATH = "bad_path", "The path does not lead into an event; it is written like data.customer.id.";
    NOT_IN_THIS_VERSION = "not_in_this_version", "The key or word is reserved for a later version of eventyard.";
    ENV_MISSING = "env_missing", "An environment variable that the project names is not set and has no default.";
    SECRET_FILE = "secret_file", "A file that stands for a string cannot be read.";
    SECRET_LITERAL = "secret_literal", "A secret reads like a variable of a shell, and no variable is put in its place.";
    BAD_RETRY = "bad_retry", "The retry settings contradict each other.";
    RULE_WITHOUT_CONDITION = "rule_without_condition", "A rule needs a pattern or a from.";
    RULE_WITHOUT_TARGET = "rule_without_target", "A rule needs a target, else it has nothing to do.";
    TARGET_AMBIGUOUS = "target_ambiguous", "A target is exactly one of function, sink, channel, http and event.";
    TARGET_DUPLICATE = "target_duplicate", "Two targets of one rule have the same name.";
    SPLIT_TARGET = "split_target", "A target asks for what a rule that splits cannot give.";
    BAD_EVENT = "bad_event", "The event of a rule's test is no CloudEvent.";
    TOO_MANY = "too_many", "There are more of these than the named limit allows.";
}
