use proptest::prelude::*;

use super::*;

fn read_all(bytes: &[u8]) -> Result<Vec<(u32, String)>, ProtobufErrorKind> {
    let mut reader = Reader::new(bytes, "Test");
    let mut fields = Vec::new();
    loop {
        match reader.next_field() {
            Ok(Some(field)) => fields.push((field.number, format!("{:?}", field.value))),
            Ok(None) => return Ok(fields),
            Err(error) => return Err(error.kind),
        }
    }
}

#[test]
fn every_wire_type_is_read() {
    let bytes = [
        0x08, 0x96, 0x01, 0x11, 1, 0, 0, 0, 0, 0, 0, 0, 0x1a, 2, b'h', b'i', 0x25, 1, 2, 3, 4, 0x80, 0x01, 7,
    ];
    assert_eq!(
        read_all(&bytes).unwrap(),
        [
            (1, "Varint(150)".to_owned()),
            (2, "Fixed64(1)".to_owned()),
            (3, "Bytes([104, 105])".to_owned()),
            (4, "Fixed32".to_owned()),
            (16, "Varint(7)".to_owned()),
        ]
    );
}

#[test]
fn malformed_messages_are_errors() {
    use ProtobufErrorKind as Kind;
    let cases: [(&str, &[u8], Kind); 14] = [
        ("a tag without its value", &[0x08], Kind::Truncated),
        ("a varint that does not end", &[0x08, 0x80], Kind::Truncated),
        ("half a fixed64", &[0x09, 1, 2, 3, 4], Kind::Truncated),
        ("half a fixed32", &[0x0d, 1, 2], Kind::Truncated),
        ("a length beyond the end", &[0x0a, 5, 1, 2], Kind::Truncated),
        (
            "a length of 2^64 - 1",
            &[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
            Kind::Truncated,
        ),
        (
            "an eleven-byte varint",
            &[8, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1],
            Kind::VarintTooLong,
        ),
        (
            "a varint of 65 bits",
            &[8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2],
            Kind::VarintTooLong,
        ),
        ("field number 0", &[0x00, 0x01], Kind::FieldNumber),
        ("field number 2^29", &[0x80, 0x80, 0x80, 0x80, 0x10, 1], Kind::FieldNumber),
        ("a group's start", &[0x0b, 0x0c], Kind::WireType(3)),
        ("a group's end", &[0x0c], Kind::WireType(4)),
        ("wire type 6", &[0x0e], Kind::WireType(6)),
        ("wire type 7", &[0x0f], Kind::WireType(7)),
    ];
    for (what, bytes, expected) in cases {
        assert_eq!(read_all(bytes), Err(expected), "{what}");
    }
}

#[test]
fn a_field_of_another_wire_type_names_itself() {
    let mut reader = Reader::new(&[0x18, 1], "Test");
    let field = reader.next_field().unwrap().unwrap();
    assert_eq!(
        field.bytes().unwrap_err().to_string(),
        "malformed protobuf message Test: field 3 has an unexpected wire type"
    );
    assert!(field.double().is_err());
    assert_eq!(field.varint(), Ok(1));
}

#[test]
fn packed_and_single_elements_read_alike() {
    let mut read = Vec::new();
    for bytes in [&[0x0a, 3, 1, 0x80, 1][..], &[0x08, 1, 0x08, 0x80, 1]] {
        let mut values = Vec::new();
        let mut reader = Reader::new(bytes, "Test");
        while let Some(field) = reader.next_field().unwrap() {
            field
                .each_varint(|value| {
                    values.push(value);
                    Ok::<_, ProtobufError>(())
                })
                .unwrap();
        }
        read.push(values);
    }
    assert_eq!(read, [[1, 128], [1, 128]]);
    let uneven = Reader::new(&[0x0a, 3, 1, 2, 3], "Test").next_field().unwrap().unwrap();
    let error = uneven.each_fixed64(|_| Ok::<_, ProtobufError>(())).unwrap_err();
    assert_eq!(error.kind, ProtobufErrorKind::Packed { field: 1 });
}

#[test]
fn a_short_run_ends_at_the_first_other_field() {
    let run = [0x0a, 1, 7, 0x0a, 0, 0x0a, 2, 8, 9];
    let others: [&[u8]; 5] = [&[], &[0x10, 5], &[0x0a], &[0x0a, 3, 1], &[0x0a, 0x80, 0x01]];
    for other in others {
        let bytes = [&run[..], other].concat();
        let mut reader = Reader::new(&bytes, "Test");
        assert_eq!(reader.skip_short_run(0x0a), run, "{other:?}");
        assert_eq!(reader.rest(), other);
    }
    assert_eq!(Reader::new(&run, "Test").skip_short_run(0x12), b"");
}

proptest! {
    #[test]
    fn varints_round_trip(value: u64) {
        let mut bytes = vec![0x08];
        push_varint(&mut bytes, value);
        prop_assert_eq!(bytes.len(), 1 + varint_len(value));
        let field = Reader::new(&bytes, "Test").next_field().unwrap().unwrap();
        prop_assert_eq!(field.varint(), Ok(value));
    }

    #[test]
    fn zigzag_is_what_protobuf_says(value: i64) {
        prop_assert_eq!(zigzag((value << 1 ^ value >> 63) as u64), value);
    }

    #[test]
    fn arbitrary_bytes_end_in_fields_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(fields) = read_all(&bytes) {
            prop_assert!(fields.len() <= bytes.len() / 2);
        }
    }
}
