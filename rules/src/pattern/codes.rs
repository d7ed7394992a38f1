//! The codes of what can be wrong with a pattern.

crate::codes! {
    SHAPE = "pattern_shape", "A pattern is a table: fields, and for each field the list of values it accepts.";
    JSON = "pattern_json", "The pattern is given as a string, and the string is not JSON.";
    EMPTY = "pattern_empty", "An empty list accepts nothing and an empty table asks for nothing.";
    BARE_VALUE = "pattern_bare_value", "A bare value stands where the list of accepted values belongs.";
    VALUE = "pattern_value", "Something stands in a list of values that is neither a value nor an operator.";
    DUPLICATE = "pattern_duplicate", "A key, or two spellings of one path, is there twice; only one could count.";
    DETAIL = "pattern_detail", "EventBridge's `detail-type` and `detail` are `type` and `data` here.";
    OPERATOR = "pattern_operator", "No operator has this name; an unknown one is an error, never ignored.";
    OPERAND = "pattern_operand", "The operator exists, but does not take what it was given.";
    NUMERIC = "pattern_numeric", "`numeric` takes one comparison, or a lower and then an upper bound with room between.";
    INEXACT = "pattern_inexact_number", "The number has more digits than a 64-bit float, so it cannot be compared exactly.";
    WILDCARD = "pattern_wildcard", "A wildcard has `**`, or a backslash before something other than `*` and `\\`.";
    CIDR = "pattern_cidr", "Not a network such as `10.0.0.0/8` or `2001:db8::/32`.";
    OR = "pattern_or", "`$or` takes a list of at least two tables.";
    RESERVED = "pattern_reserved_name", "Inside `$or` a field cannot have the name of an operator.";
    LIMIT = "pattern_limit", "The pattern asks for more than a limit allows; the message names the limit.";
}
