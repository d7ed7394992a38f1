//! CloudEvents SQL: what expressions are worth, what goes wrong with them, and where a mistake stands.
#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::borrow::Cow;

use eventyard_event::{Event, ExtensionValue, Extensions};
use eventyard_rules::cesql::{EXPRESSION_BYTES_MAX, EvaluationError, Expression, Value};
use proptest::prelude::*;

fn event() -> Event {
    Event {
        id: "myId".into(),
        source: "https://example.com/shop".into(),
        ty: "order.created".into(),
        subject: Some("eu/berlin".into()),
        extensions: Extensions::from([
            ("hop".into(), ExtensionValue::String("5".into())),
            ("ttl".into(), ExtensionValue::String("10".into())),
            ("count".into(), ExtensionValue::Integer(7)),
            ("urgent".into(), ExtensionValue::Boolean(true)),
            ("ext".into(), ExtensionValue::String("abc123123%456_dzf".into())),
        ]),
        ..Event::default()
    }
}

fn shown(value: &Value<'_>) -> String {
    match value {
        Value::String(text) => format!("'{text}'"),
        Value::Integer(number) => number.to_string(),
        Value::Boolean(truth) => truth.to_string(),
    }
}

fn worth(text: &str) -> String {
    let (expression, event) = (Expression::parse(text).unwrap(), event());
    match expression.evaluate(&event) {
        (value, None) => shown(&value),
        (value, Some(error)) => format!("{} {}", shown(&value), error.kind()),
    }
}

#[test]
fn expressions_are_worth_what_the_specification_says() {
    for (text, wanted) in [
        // Literals, section 2.2.
        ("TRUE", "true"),
        ("false", "false"),
        ("0", "0"),
        ("+7", "7"),
        ("-2147483648", "-2147483648"),
        ("'aBc'", "'aBc'"),
        ("\"abc\"", "'abc'"),
        (r#"'a"b\'c'"#, r#"'a"b'c'"#),
        (r#""a'b\"c""#, r#"'a'b"c'"#),
        (r"'a\b'", r"'a\b'"),
        // Attributes, section 3.2.
        ("id", "'myId'"),
        ("count", "7"),
        ("urgent", "true"),
        ("missing", "false missingAttribute"),
        ("specversion", "'1.0'"),
        // Precedence and arithmetic.
        ("4 * 2 + 4 / 2", "10"),
        ("4 * (2 + 4) / 2", "12"),
        ("10 - 4 - 3", "3"),
        ("-5 / 3", "-1"),
        ("-5 % 3", "-2"),
        ("5 / 0", "0 math"),
        ("5 % 0", "0 math"),
        ("2147483647 + 1", "0 math"),
        ("-2147483648 / -1", "0 math"),
        ("missing / 0", "0 missingAttribute"),
        ("4 - 1", "3"),
        ("4 -1", "3"),
        ("-4 + -1", "-5"),
        ("'5' + '3'", "8"),
        ("5 + TRUE", "6"),
        ("'five' + 1", "0 cast"),
        ("--10", "10"),
        ("--'10'", "10"),
        ("-TRUE", "-1"),
        ("-missing", "0 missingAttribute"),
        // Comparison, section 3.4.2 and 3.7.
        ("TRUE = FALSE", "false"),
        ("2 != 2", "false"),
        ("'abc' <> '123'", "true"),
        ("missing = 2", "false missingAttribute"),
        ("missing != 2", "false missingAttribute"),
        ("true = 'TRUE'", "false"),
        ("'TRUE' = true", "true"),
        ("'abc' = 1", "false cast"),
        ("hop = 5", "true"),
        ("hop < ttl", "true"),
        ("int(hop) < int(ttl) and int(hop) < 1000", "true"),
        ("3 >= 4", "false"),
        ("1 < 2 = TRUE", "true"),
        // Logic.
        ("false and (1 != 1 / 0)", "false"),
        ("true and (1 != 1 / 0)", "false math"),
        ("true or (1 != 1 / 0)", "true"),
        ("false or (1 != 1 / 0)", "false math"),
        ("true XOR true OR true", "false"),
        ("TRUE OR FALSE AND FALSE", "true"),
        ("NOT 'FALSE'", "true"),
        ("NOT missing", "false missingAttribute"),
        ("NOT 'abc'", "false cast"),
        ("NOT NOT TRUE", "true"),
        // LIKE, section 3.4.3.
        ("'abc' LIKE 'a%b%c'", "true"),
        ("'ab.cde' LIKE '.%.%.'", "false"),
        ("'azbzc' LIKE 'a_b_c'", "true"),
        (r"'azbzc' LIKE 'a\_b\_c'", "false"),
        (r"'a%b%c' LIKE 'a\%b\%c'", "true"),
        (r"'ab\c' LIKE 'ab\c'", "true"),
        (r"ext LIKE 'abc%123\%456\_d_f'", "true"),
        (r"ext NOT LIKE 'abc%123\%456\_d_f'", "false"),
        ("234 LIKE '23_'", "true"),
        ("FALSE LIKE 'fal%'", "true"),
        ("missing NOT LIKE '%'", "false missingAttribute"),
        ("'é' LIKE '_'", "true"),
        // EXISTS and IN.
        ("EXISTS subject", "true"),
        ("EXISTS missing", "false"),
        ("NOT EXISTS missing", "true"),
        ("exists id and subject like 'eu/%'", "true"),
        ("subject IN ('eu/berlin', 'eu/paris')", "true"),
        ("subject NOT IN ('eu/paris')", "true"),
        ("count IN (1, '7')", "true"),
        ("count IN ('seven')", "false cast"),
        ("missing IN (1)", "false missingAttribute"),
        ("'1' IN (1, 2)", "true"),
        // Functions, section 3.5.
        ("LENGTH(TRUE)", "4"),
        ("LENGTH('äöü')", "3"),
        ("CONCAT()", "''"),
        ("CONCAT('a', 1, TRUE)", "'a1true'"),
        ("CONCAT_WS(',')", "''"),
        ("concat_ws(',', 'a', 'b', 'c')", "'a,b,c'"),
        ("CONCAT_WS()", "false missingFunction"),
        ("NOPE('a')", "false missingFunction"),
        ("LOWER('AbC')", "'abc'"),
        ("UPPER(subject)", "'EU/BERLIN'"),
        ("TRIM('   a b c   ')", "'a b c'"),
        ("LEFT('abc', 2)", "'ab'"),
        ("LEFT('abc', 10)", "'abc'"),
        ("LEFT('abc', -2)", "'abc' functionEvaluation"),
        ("RIGHT('abc', 2)", "'bc'"),
        ("RIGHT('', 0)", "''"),
        ("RIGHT('abc', -2)", "'abc' functionEvaluation"),
        ("SUBSTRING('Quadratically', 5)", "'ratically'"),
        ("SUBSTRING('Sakila', -3)", "'ila'"),
        ("SUBSTRING('Sakila', -5, 3)", "'aki'"),
        ("SUBSTRING('abcdef', 2, 400)", "'bcdef'"),
        ("SUBSTRING('Quadratically', 0, 1)", "''"),
        ("SUBSTRING('abcdef', 10)", "'' functionEvaluation"),
        ("SUBSTRING('abcdef', -10, 10)", "'' functionEvaluation"),
        ("SUBSTRING('abcdef', 1, -1)", "'' functionEvaluation"),
        ("ABS(-10)", "10"),
        ("ABS(-2147483648)", "2147483647 math"),
        ("ABS('x')", "0 cast"),
        ("LENGTH(missing)", "0 missingAttribute"),
        ("UPPER(missing)", "'' missingAttribute"),
        // Casts, section 3.7.
        ("INT('-1')", "-1"),
        ("INT('ABC')", "0 cast"),
        ("INT(FALSE)", "0"),
        ("BOOL('TRUE')", "true"),
        ("BOOL('ABC')", "false cast"),
        ("BOOL(100)", "true"),
        ("BOOL(0)", "false"),
        ("STRING(FALSE)", "'false'"),
        ("STRING(-1)", "'-1'"),
        ("IS_INT('12')", "true"),
        ("IS_INT('x')", "false"),
        ("IS_BOOL('TRUE')", "true"),
        ("IS_BOOL('x')", "false"),
    ] {
        assert_eq!(worth(text), wanted, "{text}");
    }
}

#[test]
fn a_mistake_is_said_where_it_stands() {
    let at = |text: &str| {
        let error = Expression::parse(text).unwrap_err();
        (error.at, error.message, error.help.unwrap_or_default())
    };
    for (text, place, words) in [
        ("", 0, "ends too early"),
        ("subject =", 9, "ends too early"),
        ("subject = 'eu", 10, "no end"),
        ("(subject = 'a'", 14, "not closed"),
        ("subject 'a'", 8, "an operator is missing"),
        ("subject = = 'a'", 10, "not expected"),
        ("data.amount > 5", 0, "not its data"),
        ("data = 5", 0, "not its data"),
        ("Subject = 'a'", 0, "cannot be an attribute's name"),
        ("subject LIKE id", 13, "a text in quotes"),
        ("id IN ()", 8, "one element at least"),
        ("id IN 5", 6, "a list in parentheses"),
        ("2147483648", 0, "lies between"),
        ("id = §", 5, "means nothing here"),
        ("AND id", 0, "between two operands"),
        ("EXISTS 'a'", 7, "an attribute's name"),
        ("LEFT('a', 1", 11, "a closing parenthesis"),
        ("id = 'a';", 8, "means nothing here"),
    ] {
        let (found, message, help) = at(text);
        assert_eq!(found, place, "{text}: {message}");
        assert!(message.contains(words), "{text}: {message}");
        assert!(!text.starts_with("data") || help.contains("[rule.pattern]"), "{help}");
    }
    let deep = format!("{}1{}", "(".repeat(100), ")".repeat(100));
    assert!(at(&deep).1.contains("64 deep"));
    assert!(at(&"NOT ".repeat(100)).1.contains("64 deep"));
    assert!(at(&" ".repeat(EXPRESSION_BYTES_MAX + 1)).1.contains("bytes"));
    let missing = Expression::parse("id = LENGHT(subject)").unwrap().missing_function().unwrap();
    assert_eq!((missing.at, missing.length), (5, 6));
    assert!(missing.help.unwrap().contains("did you mean LENGTH"), "{}", missing.message);
    let missing = Expression::parse("LEFT('a') = 'a'").unwrap().missing_function().unwrap();
    assert_eq!(missing.message, "LEFT takes 2 arguments, not 1");
}

#[test]
fn only_true_without_an_error_passes() {
    let passes = |text: &str| Expression::parse(text).unwrap().passes(&event());
    assert_eq!(passes("hop = 5"), Ok(true));
    assert_eq!(passes("hop = 6"), Ok(false));
    assert_eq!(passes("count"), Err(EvaluationError::Cast));
    assert_eq!(passes("NOT EXISTS missing"), Ok(true));
    assert_eq!(passes("missing = 'a' OR TRUE"), Err(EvaluationError::MissingAttribute));
}

#[test]
fn it_says_which_attributes_it_asks_for() {
    let expression = Expression::parse("hop < ttl AND EXISTS subject AND hop IN (1, LENGTH(id))").unwrap();
    assert_eq!(expression.attributes(), ["hop", "ttl", "subject", "id"]);
}

proptest! {
    /// Whatever stands there: no panic, a place within the text, and an answer that is always the same.
    #[test]
    fn no_text_makes_it_panic(text in "(AND |OR |NOT |LIKE |IN |EXISTS |TRUE|id|hop|-|[()=<>!+*/%,'\"0-9a\\\\ é]|LEFT\\(|'a%'){0,25}") {
        match Expression::parse(&text) {
            Ok(expression) => {
                let event = event();
                let once = expression.evaluate(&event);
                prop_assert_eq!(&once, &expression.evaluate(&event));
                prop_assert_eq!(expression.text(), &text);
                prop_assert!(once.1.is_none() || expression.passes(&event).is_err());
            }
            Err(error) => prop_assert!(error.at <= text.len() && text.is_char_boundary(error.at), "{:?}", error),
        }
    }

    #[test]
    fn arithmetic_is_that_of_32_bits(a: i32, b: i32) {
        let worth = |text: String| match Expression::parse(&text).unwrap().evaluate(&event()) {
            (Value::Integer(number), None) => Some(number),
            (value, error) => {
                assert_eq!((value, error), (Value::Integer(0), Some(EvaluationError::Math)));
                None
            }
        };
        prop_assert_eq!(worth(format!("{a} + {b}")), a.checked_add(b));
        prop_assert_eq!(worth(format!("{a} * {b}")), a.checked_mul(b));
        prop_assert_eq!(worth(format!("{a} / {b}")), a.checked_div(b));
        prop_assert_eq!(worth(format!("{a} % {b}")), a.checked_rem(b));
    }

    #[test]
    fn texts_are_taken_apart_by_characters(text in "[aé漢 ]{0,8}", count in 0i32..10) {
        let quoted = format!("'{text}'");
        let left = format!("LEFT({quoted}, {count})");
        let wanted: String = text.chars().take(usize::try_from(count).unwrap()).collect();
        let (expression, event) = (Expression::parse(&left).unwrap(), event());
        prop_assert_eq!(expression.evaluate(&event), (Value::String(Cow::Borrowed(wanted.as_str())), None));
    }
}
