use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};

use super::*;

fn text_of(value: Option<Value>) -> Result<String, PointProblem> {
    let key_value = KeyValue { key: "k".to_owned(), value: Some(AnyValue { value }), ..KeyValue::default() };
    let mut bytes = Vec::new();
    prost::encoding::message::encode(1, &key_value, &mut bytes);
    let field = Reader::new(&bytes, "Test").next_field().unwrap().unwrap();
    let mut text = String::new();
    Attribute::read(&field)?.push_value(&mut text)?;
    Ok(text)
}

fn any(value: Value) -> AnyValue {
    AnyValue { value: Some(value) }
}

#[test]
fn values_become_text_as_the_collector_writes_them() {
    let map = |pairs: Vec<(&str, Value)>| {
        let values = pairs.into_iter().map(|(key, value)| KeyValue {
            key: key.to_owned(),
            value: Some(any(value)),
            ..KeyValue::default()
        });
        Value::KvlistValue(KeyValueList { values: values.collect() })
    };
    let list =
        |values: Vec<Value>| Value::ArrayValue(ArrayValue { values: values.into_iter().map(any).collect() });
    for (value, expected) in [
        (None, ""),
        (Some(Value::StringValue("a\"b".to_owned())), "a\"b"),
        (Some(Value::BoolValue(true)), "true"),
        (Some(Value::IntValue(-5)), "-5"),
        (Some(Value::DoubleValue(1.0)), "1"),
        (Some(Value::DoubleValue(0.1)), "0.1"),
        (Some(Value::DoubleValue(1e21)), "1e+21"),
        (Some(Value::DoubleValue(-2.5e-7)), "-2.5e-7"),
        (Some(Value::DoubleValue(f64::INFINITY)), "+Inf"),
        (Some(Value::DoubleValue(f64::NAN)), "NaN"),
        (Some(Value::BytesValue(b"\x01\x02".to_vec())), "AQI="),
        (Some(list(vec![])), "[]"),
        (
            Some(list(vec![Value::StringValue("a\"\n\u{1}".to_owned()), Value::IntValue(2)])),
            "[\"a\\\"\\n\\u0001\",2]",
        ),
        (
            Some(map(vec![("b", Value::BoolValue(false)), ("a", list(vec![Value::BytesValue(vec![0])]))])),
            "{\"a\":[\"AA==\"],\"b\":false}",
        ),
    ] {
        assert_eq!(text_of(value.clone()).unwrap(), expected, "{value:?}");
    }
}

#[test]
fn nesting_is_bounded() {
    let mut value = Value::IntValue(1);
    for _ in 0..MAX_ATTRIBUTE_DEPTH {
        value = Value::ArrayValue(ArrayValue { values: vec![any(value)] });
    }
    assert!(text_of(Some(value.clone())).is_ok());
    let deeper = Value::ArrayValue(ArrayValue { values: vec![any(value)] });
    assert!(matches!(text_of(Some(deeper)), Err(PointProblem::AttributeTooDeep { .. })));
}
