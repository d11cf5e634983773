//! The messages of OTLP metrics as far as they are read: JSON name, protobuf number and type of each field.

/// A message: its fields.
pub(super) struct Message(pub(super) &'static [Field]);

/// A field; its number is at most 15, so that its tag is one byte.
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) number: u8,
    pub(super) kind: Kind,
    pub(super) repeated: bool,
}

/// A field's type.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Text,
    Base64,
    Hex,
    Bool,
    /// Also enums.
    Int32,
    Uint32,
    Sint32,
    Int64,
    Uint64,
    Fixed64,
    Sfixed64,
    Double,
    Message(&'static Message),
}

impl Kind {
    /// What JSON must hold, for error messages.
    pub(super) fn expected(self) -> &'static str {
        match self {
            Self::Text => "a string",
            Self::Base64 => "a string in Base64",
            Self::Hex => "a string in hexadecimal",
            Self::Bool => "true or false",
            Self::Int32 => "a number",
            Self::Uint32 | Self::Sint32 | Self::Int64 | Self::Uint64 | Self::Fixed64 | Self::Sfixed64 => {
                "an integer, as a number or a string"
            }
            Self::Double => "a number, or a string such as \"NaN\"",
            Self::Message(_) => "an object",
        }
    }
}

const fn one(name: &'static str, number: u8, kind: Kind) -> Field {
    Field { name, number, kind, repeated: false }
}

const fn many(name: &'static str, number: u8, kind: Kind) -> Field {
    Field { name, number, kind, repeated: true }
}

pub(super) static EXPORT_METRICS: Message =
    Message(&[many("resourceMetrics", 1, Kind::Message(&RESOURCE_METRICS))]);

static RESOURCE_METRICS: Message = Message(&[
    one("resource", 1, Kind::Message(&RESOURCE)),
    many("scopeMetrics", 2, Kind::Message(&SCOPE_METRICS)),
    one("schemaUrl", 3, Kind::Text),
]);

static RESOURCE: Message = Message(&[many("attributes", 1, Kind::Message(&KEY_VALUE))]);

static SCOPE_METRICS: Message = Message(&[
    one("scope", 1, Kind::Message(&SCOPE)),
    many("metrics", 2, Kind::Message(&METRIC)),
    one("schemaUrl", 3, Kind::Text),
]);

static SCOPE: Message = Message(&[
    one("name", 1, Kind::Text),
    one("version", 2, Kind::Text),
    many("attributes", 3, Kind::Message(&KEY_VALUE)),
]);

static KEY_VALUE: Message = Message(&[one("key", 1, Kind::Text), one("value", 2, Kind::Message(&ANY_VALUE))]);

static ANY_VALUE: Message = Message(&[
    one("stringValue", 1, Kind::Text),
    one("boolValue", 2, Kind::Bool),
    one("intValue", 3, Kind::Int64),
    one("doubleValue", 4, Kind::Double),
    one("arrayValue", 5, Kind::Message(&ARRAY_VALUE)),
    one("kvlistValue", 6, Kind::Message(&KEY_VALUE_LIST)),
    one("bytesValue", 7, Kind::Base64),
]);

static ARRAY_VALUE: Message = Message(&[many("values", 1, Kind::Message(&ANY_VALUE))]);

static KEY_VALUE_LIST: Message = Message(&[many("values", 1, Kind::Message(&KEY_VALUE))]);

static METRIC: Message = Message(&[
    one("name", 1, Kind::Text),
    one("description", 2, Kind::Text),
    one("unit", 3, Kind::Text),
    one("gauge", 5, Kind::Message(&GAUGE)),
    one("sum", 7, Kind::Message(&SUM)),
    one("histogram", 9, Kind::Message(&HISTOGRAM)),
    one("exponentialHistogram", 10, Kind::Message(&EXPONENTIAL_HISTOGRAM)),
    one("summary", 11, Kind::Message(&SUMMARY)),
]);

static GAUGE: Message = Message(&[many("dataPoints", 1, Kind::Message(&NUMBER_POINT))]);

static SUM: Message = Message(&[
    many("dataPoints", 1, Kind::Message(&NUMBER_POINT)),
    one("aggregationTemporality", 2, Kind::Int32),
    one("isMonotonic", 3, Kind::Bool),
]);

static HISTOGRAM: Message = Message(&[
    many("dataPoints", 1, Kind::Message(&HISTOGRAM_POINT)),
    one("aggregationTemporality", 2, Kind::Int32),
]);

static EXPONENTIAL_HISTOGRAM: Message = Message(&[
    many("dataPoints", 1, Kind::Message(&EXPONENTIAL_POINT)),
    one("aggregationTemporality", 2, Kind::Int32),
]);

static SUMMARY: Message = Message(&[many("dataPoints", 1, Kind::Message(&SUMMARY_POINT))]);

static NUMBER_POINT: Message = Message(&[
    one("startTimeUnixNano", 2, Kind::Fixed64),
    one("timeUnixNano", 3, Kind::Fixed64),
    one("asDouble", 4, Kind::Double),
    many("exemplars", 5, Kind::Message(&EXEMPLAR)),
    one("asInt", 6, Kind::Sfixed64),
    many("attributes", 7, Kind::Message(&KEY_VALUE)),
    one("flags", 8, Kind::Uint32),
]);

static HISTOGRAM_POINT: Message = Message(&[
    one("startTimeUnixNano", 2, Kind::Fixed64),
    one("timeUnixNano", 3, Kind::Fixed64),
    one("count", 4, Kind::Fixed64),
    one("sum", 5, Kind::Double),
    many("bucketCounts", 6, Kind::Fixed64),
    many("explicitBounds", 7, Kind::Double),
    many("exemplars", 8, Kind::Message(&EXEMPLAR)),
    many("attributes", 9, Kind::Message(&KEY_VALUE)),
    one("flags", 10, Kind::Uint32),
]);

static EXPONENTIAL_POINT: Message = Message(&[
    many("attributes", 1, Kind::Message(&KEY_VALUE)),
    one("startTimeUnixNano", 2, Kind::Fixed64),
    one("timeUnixNano", 3, Kind::Fixed64),
    one("count", 4, Kind::Fixed64),
    one("sum", 5, Kind::Double),
    one("scale", 6, Kind::Sint32),
    one("zeroCount", 7, Kind::Fixed64),
    one("positive", 8, Kind::Message(&BUCKETS)),
    one("negative", 9, Kind::Message(&BUCKETS)),
    one("flags", 10, Kind::Uint32),
    many("exemplars", 11, Kind::Message(&EXEMPLAR)),
    one("zeroThreshold", 14, Kind::Double),
]);

static BUCKETS: Message = Message(&[one("offset", 1, Kind::Sint32), many("bucketCounts", 2, Kind::Uint64)]);

static SUMMARY_POINT: Message = Message(&[
    one("startTimeUnixNano", 2, Kind::Fixed64),
    one("timeUnixNano", 3, Kind::Fixed64),
    one("count", 4, Kind::Fixed64),
    one("sum", 5, Kind::Double),
    many("quantileValues", 6, Kind::Message(&QUANTILE)),
    many("attributes", 7, Kind::Message(&KEY_VALUE)),
    one("flags", 8, Kind::Uint32),
]);

static QUANTILE: Message = Message(&[one("quantile", 1, Kind::Double), one("value", 2, Kind::Double)]);

static EXEMPLAR: Message = Message(&[
    one("timeUnixNano", 2, Kind::Fixed64),
    one("asDouble", 3, Kind::Double),
    one("spanId", 4, Kind::Hex),
    one("traceId", 5, Kind::Hex),
    one("asInt", 6, Kind::Sfixed64),
    many("filteredAttributes", 7, Kind::Message(&KEY_VALUE)),
]);
