use super::*;

fn convert(json: &str) -> Result<Vec<u8>, RequestError> {
    metrics_to_protobuf(json.as_bytes(), &Limits::DEFAULT)
}

/// A request whose only data point has these fields.
fn with_point(fields: &str) -> String {
    format!(
        r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{"name":"m","gauge":{{"dataPoints":[{{{fields}}}]}}}}]}}]}}]}}"#
    )
}

#[test]
fn what_is_not_known_and_what_is_null_is_left_out() {
    assert_eq!(convert("{}").unwrap(), b"");
    assert_eq!(convert(r#"{"resourceMetrics":null,"x":{"y":[1,{"z":null}]}}"#).unwrap(), b"");
    // The names of the protobuf schema are not those of OTLP/JSON.
    assert_eq!(convert(r#"{"resource_metrics":[{}]}"#).unwrap(), b"");
    assert_eq!(
        convert(&with_point(r#""asInt":"5","new":{"deep":[[[]]]}"#)).unwrap(),
        convert(&with_point(r#""asInt":"5""#)).unwrap()
    );
}

#[test]
fn integers_are_strings_or_numbers() {
    let expected = convert(&with_point(r#""timeUnixNano":"1700000000000000000","asInt":-3"#)).unwrap();
    for same in [
        r#""timeUnixNano":1700000000000000000,"asInt":"-3""#,
        r#""timeUnixNano":"1700000000000000000","asInt":-3.0"#,
    ] {
        assert_eq!(convert(&with_point(same)).unwrap(), expected, "{same}");
    }
}

#[test]
fn bytes_are_read_in_both_alphabets() {
    assert_eq!(decode_base64("+/8=").unwrap(), [0xfb, 0xff]);
    assert_eq!(decode_base64("-_8").unwrap(), [0xfb, 0xff]);
    assert_eq!(decode_base64("*"), None);
    assert_eq!(decode_hex("0aFf").unwrap(), [0x0a, 0xff]);
    assert_eq!(decode_hex("0"), None);
    assert_eq!(decode_hex("0g"), None);
    assert_eq!(decode_hex("+1"), None);
}

#[test]
fn values_of_wrong_types_are_errors_that_name_the_field() {
    for (json, expected) in [
        ("", "EOF"),
        ("[]", "expected an object"),
        ("{", "EOF"),
        ("{} x", "trailing"),
        (r#"{"resourceMetrics":{}}"#, "resourceMetrics must be a list"),
        (r#"{"resourceMetrics":[1]}"#, "resourceMetrics must be an object"),
        (r#"{"resourceMetrics":[null]}"#, "resourceMetrics has null in its list"),
        (r#"{"resourceMetrics":[[{}]]}"#, "resourceMetrics must be an object"),
        (&with_point(r#""asInt":"5.5""#), "asInt must be an integer"),
        (&with_point(r#""asInt":5.5"#), "asInt must be an integer"),
        (&with_point(r#""asInt":"9223372036854775808""#), "asInt is out of range"),
        (&with_point(r#""timeUnixNano":-1"#), "timeUnixNano is out of range"),
        (&with_point(r#""asDouble":"inf""#), "asDouble must be a number"),
        (&with_point(r#""asDouble":true"#), "asDouble must be a number"),
        (&with_point(r#""attributes":[{"key":1}]"#), "key must be a string"),
        (
            &with_point(r#""attributes":[{"key":"k","value":{"bytesValue":"*"}}]"#),
            "bytesValue must be a string in Base64",
        ),
        (&with_point(r#""exemplars":[{"traceId":"xyz"}]"#), "traceId must be a string in hexadecimal"),
        (&with_point(r#""flags":4294967296"#), "flags is out of range"),
        (
            r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"sum":{"aggregationTemporality":"AGGREGATION_TEMPORALITY_DELTA"}}]}]}]}"#,
            "aggregationTemporality must be a number",
        ),
    ] {
        let error = convert(json).unwrap_err().to_string();
        assert!(error.contains(expected), "{json}: {error:?} does not contain {expected:?}");
    }
}

#[test]
fn depth_and_size_are_bounded() {
    let deep = format!(r#"{{"x":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(convert(&deep).unwrap(), b"");
    let open = r#"{"arrayValue":{"values":["#.repeat(1000);
    let close = "]}}".repeat(1000);
    let nested = with_point(&format!(r#""attributes":[{{"value":{open}{close}}}]"#));
    let error = convert(&nested).unwrap_err().to_string();
    assert!(error.contains("recursion limit"), "{error}");
    let limits = Limits { max_decompressed_bytes: 1000, ..Limits::DEFAULT };
    let ones = vec!["1"; 200].join(",");
    let wide = format!(
        r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{"histogram":{{"dataPoints":[{{"bucketCounts":[{ones}]}}]}}}}]}}]}}]}}"#
    );
    assert!(wide.len() < 1000);
    assert_eq!(
        metrics_to_protobuf(wide.as_bytes(), &limits),
        Err(RequestError::TooMany { what: "bytes", limit: 1000 })
    );
}
