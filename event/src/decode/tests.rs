use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn made(format: Format, text: &str) -> Value {
    let json = format.decode(text.as_bytes(), format.content_type()).unwrap_or_else(|error| panic!("{text}: {error}"));
    serde_json::from_str(&json).unwrap()
}

fn refused(format: Format, text: &str) -> String {
    format.decode(text.as_bytes(), format.content_type()).expect_err(text).to_string()
}

#[test]
fn xml_becomes_objects_lists_and_texts() {
    for (xml, wanted) in [
        ("<a/>", json!({"a": ""})),
        ("<a> x </a>", json!({"a": "x"})),
        ("<a b='1' c=\"&lt;2&#x26;\"/>", json!({"a": {"@b": "1", "@c": "<2&"}})),
        ("<a b='1'>x</a>", json!({"a": {"@b": "1", "#text": "x"}})),
        (
            "<order id=\"7\"><sku>a</sku><sku>b</sku><to><zip>1</zip></to></order>",
            json!({"order": {"@id": "7", "sku": ["a", "b"], "to": {"zip": "1"}}}),
        ),
        ("<a>x<b/>y &amp; z<b/></a>", json!({"a": {"b": ["", ""], "#text": "xy & z"}})),
        ("<a><![CDATA[<b>&amp;]]></a>", json!({"a": "<b>&amp;"})),
        (
            "\u{feff}<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!-- a --><s:a xmlns:s='u'>&#233;\r\n</s:a><?b c?>\n",
            json!({"s:a": {"@xmlns:s": "u", "#text": "é"}}),
        ),
        ("<a><b><c/></b><b>2</b></a>", json!({"a": {"b": [{"c": ""}, "2"]}})),
    ] {
        assert_eq!(made(Format::Xml, xml), wanted, "{xml}");
    }
}

#[test]
fn hostile_xml_is_refused() {
    let bomb = "<!DOCTYPE l [<!ENTITY a 'x'><!ENTITY b '&a;&a;&a;&a;'>]><l>&b;</l>";
    assert!(refused(Format::Xml, bomb).contains("document type"));
    assert!(refused(Format::Xml, "<!DOCTYPE a SYSTEM 'file:///etc/passwd'><a/>").contains("document type"));
    assert!(refused(Format::Xml, "<a>&nbsp;</a>").contains("entity"));
    for xml in [
        "",
        " ",
        "x",
        "<a>",
        "<a></b>",
        "<a/><b/>",
        "<a/>x",
        "x<a/>",
        "<a b='1' b='2'/>",
        "<a b=1/>",
        "<a>&#0;</a>",
        "<a b='&x;'/>",
        "<a",
        "</a>",
        "<>",
        "<a><!-- -- --></a>",
        "<?xml version='1.0' encoding='utf-16'?><a/>",
        "<a>&</a>",
    ] {
        let _ = refused(Format::Xml, xml);
    }
    let deep = |depth: usize| format!("{}{}", "<a>".repeat(depth), "</a>".repeat(depth));
    let _ = made(Format::Xml, &deep(xml::XML_DEPTH_MAX));
    assert!(refused(Format::Xml, &deep(xml::XML_DEPTH_MAX + 1)).contains("XML_DEPTH_MAX"));
    let _ = refused(Format::Xml, &"<a>".repeat(300_000));
    let attributes: String = (0..50_000).map(|n| format!(" a{n}=''")).collect();
    assert!(refused(Format::Xml, &format!("<a{attributes}/>")).contains("ATTRIBUTES_MAX"));
    assert!(refused(Format::Xml, &format!("<a>{}</a>", "<b/>".repeat(260_000))).contains("DECODED_BYTES_MAX"));
}

#[test]
fn tables_become_rows() {
    for (csv, wanted) in [
        ("", json!([])),
        ("a,b", json!([])),
        ("a,b\n1,2\r\n3,4\n", json!([{"a": "1", "b": "2"}, {"a": "3", "b": "4"}])),
        ("a,\"b c\"\n\"x, \"\"y\"\"\nz\",\n", json!([{"a": "x, \"y\"\nz", "b c": ""}])),
        ("a,b\n1\n\n\r\n2,3", json!([{"a": "1"}, {"a": "2", "b": "3"}])),
        ("a\n 1 \n\"\"\n", json!([{"a": " 1 "}, {"a": ""}])),
    ] {
        assert_eq!(made(Format::Csv, csv), wanted, "{csv}");
    }
    let rows = Format::Csv.decode(b"1,2\n3", "text/csv; Header=absent").unwrap();
    assert_eq!(rows, r#"[["1","2"],["3"]]"#);
    for csv in ["a,a\n1,2", "a\n1,2", "a\n\"1", "a\n\"1\"2", "a\n\"1\" ,2"] {
        let _ = refused(Format::Csv, csv);
    }
    // A long name of a column stands in each row.
    let long = format!("{}\n{}", "n".repeat(1000), "1\n".repeat(5000));
    assert!(refused(Format::Csv, &long).contains("DECODED_BYTES_MAX"));
    assert!(refused(Format::Csv, &",".repeat(5000)).contains("COLUMNS_MAX"));
}

#[test]
fn forms_become_objects() {
    for (form, wanted) in [
        ("", json!({})),
        ("a=1&b=x+y%21&a=2&c&=d", json!({"a": ["1", "2"], "b": "x y!", "c": "", "": "d"})),
        ("a=%C3%A9&&b=c=d\r\n", json!({"a": "é", "b": "c=d"})),
    ] {
        assert_eq!(made(Format::Form, form), wanted, "{form}");
    }
    let _ = refused(Format::Form, "a=%ff");
    assert!(refused(Format::Form, &"a&".repeat(20_000)).contains("PAIRS_MAX"));
}

#[test]
fn the_content_type_says_the_format() {
    for (content_type, format) in [
        ("text/xml", Some(Format::Xml)),
        ("application/SOAP+XML; charset=utf-8", Some(Format::Xml)),
        ("text/csv; header=present", Some(Format::Csv)),
        ("application/x-www-form-urlencoded", Some(Format::Form)),
        ("text/xml; charset=iso-8859-1", None),
        ("application/json; charset=utf-8", None),
        ("text/plain", None),
        ("csv", None),
    ] {
        assert_eq!(Format::of(content_type), format, "{content_type}");
    }
}

#[test]
fn what_is_not_what_it_says_is_not_seen() {
    let seen = |data: &'static str, content_type: &str| {
        let event =
            Event { datacontenttype: Some(content_type.into()), data: Data::Bytes(data.into()), ..Event::default() };
        event.seen_data().map(|seen| (String::from_utf8(seen.json.into_owned()).unwrap(), seen.keys_unique))
    };
    assert_eq!(seen("<a.b/>", "text/xml"), Some((r#"{"a.b":""}"#.to_owned(), Some(false))));
    assert_eq!(seen("a=1", "application/x-www-form-urlencoded"), Some((r#"{"a":"1"}"#.to_owned(), Some(true))));
    assert_eq!(seen("<a", "text/xml"), None);
    assert_eq!(seen("<a/>", "text/plain"), None);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic_and_what_is_made_is_json(text in "[<>a/&;#1\"'= ,\n\r+%!\\[\\]?-]{0,60}") {
        for format in [Format::Xml, Format::Csv, Format::Form] {
            if let Ok(json) = format.decode(text.as_bytes(), "text/csv") {
                prop_assert!(json::validate(json.as_bytes(), DEPTH_MAX).is_ok_and(|shape| format != Format::Csv || shape.keys_unique));
            }
        }
    }

    #[test]
    fn a_table_is_read_as_it_was_written(rows in prop::collection::vec(prop::collection::vec("[a,\"\n\ré]{0,6}", 2), 1..6)) {
        let quoted = |value: &String| format!("\"{}\"", value.replace('"', "\"\""));
        let line = |row: &Vec<String>| row.iter().map(quoted).collect::<Vec<_>>().join(",");
        let csv = format!("x,y\r\n{}\r\n", rows.iter().map(line).collect::<Vec<_>>().join("\r\n"));
        let wanted: Vec<Value> = rows.iter().map(|row| json!({"x": row[0], "y": row[1]})).collect();
        prop_assert_eq!(made(Format::Csv, &csv), Value::from(wanted.clone()));
        let rows = csv_rows(csv.as_bytes(), "text/csv", wanted.len()).unwrap();
        let rows: Vec<Value> = rows.iter().map(|row| serde_json::from_str(row).unwrap()).collect();
        prop_assert_eq!(&rows, &wanted, "row by row it is the same");
        prop_assert_eq!(csv_rows(csv.as_bytes(), "text/csv", rows.len().wrapping_sub(1)).is_err(), !rows.is_empty());
    }
}
