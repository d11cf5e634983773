//! Remote write 1.0: the messages, and an encoder that reuses each series' encoded labels.
//!
//! The messages are those of Prometheus's `prompb/remote.proto` and `types.proto`, without the fields that are
//! not sent here.

use bytes::Bytes;
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};

/// `prometheus.WriteRequest`.
#[derive(Clone, PartialEq, Message)]
pub struct WriteRequest {
    /// Series with their samples; a series may come several times.
    #[prost(message, repeated, tag = "1")]
    pub timeseries: Vec<TimeSeries>,
}

/// `prometheus.TimeSeries`.
#[derive(Clone, PartialEq, Message)]
pub struct TimeSeries {
    /// Ascending by name.
    #[prost(message, repeated, tag = "1")]
    pub labels: Vec<Label>,
    /// Ascending by timestamp.
    #[prost(message, repeated, tag = "2")]
    pub samples: Vec<Sample>,
}

/// `prometheus.Label`.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct Label {
    /// The label's name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// The label's value.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// `prometheus.Sample`.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Sample {
    /// The value.
    #[prost(double, tag = "1")]
    pub value: f64,
    /// Unix milliseconds.
    #[prost(int64, tag = "2")]
    pub timestamp: i64,
}

const TIMESERIES: u32 = 1;
const SAMPLES: u32 = 2;

/// A series' labels as the fields of a `TimeSeries` message: what is the same in every request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedLabels(Box<[u8]>);

impl EncodedLabels {
    /// Sorts the labels by name and encodes them.
    pub fn new<N: Into<String>, V: Into<String>>(labels: impl IntoIterator<Item = (N, V)>) -> Self {
        let mut labels: Vec<Label> = labels
            .into_iter()
            .map(|(name, value)| Label { name: name.into(), value: value.into() })
            .collect();
        labels.sort_by(|a, b| a.name.cmp(&b.name));
        Self(TimeSeries { labels, samples: Vec::new() }.encode_to_vec().into())
    }

    /// The labels, ascending by name.
    #[must_use]
    pub fn decode(&self) -> Vec<Label> {
        TimeSeries::decode(&*self.0).map(|series| series.labels).unwrap_or_default()
    }
}

/// Builds one request, sample by sample. As in Prometheus's own queue, each sample is a `TimeSeries` of its own.
#[derive(Debug, Default)]
pub struct RequestBuilder {
    message: Vec<u8>,
    samples: u32,
}

impl RequestBuilder {
    /// Adds one sample.
    pub fn push(&mut self, labels: &EncodedLabels, value: f64, timestamp: i64) {
        let sample = Sample { value, timestamp };
        let sample_len = sample.encoded_len();
        let series_len = labels.0.len() + 1 + encoded_len_varint(sample_len as u64) + sample_len;
        let message = &mut self.message;
        encode_key(TIMESERIES, WireType::LengthDelimited, message);
        encode_varint(series_len as u64, message);
        message.extend_from_slice(&labels.0);
        encode_key(SAMPLES, WireType::LengthDelimited, message);
        encode_varint(sample_len as u64, message);
        sample.encode_raw(message);
        self.samples += 1;
    }

    /// Samples pushed since the last [`Self::finish`].
    #[must_use]
    pub fn samples(&self) -> u32 {
        self.samples
    }

    /// The compressed body; the builder is empty again afterwards and keeps its memory.
    ///
    /// # Errors
    /// When the message is larger than snappy's 4 GiB.
    pub fn finish(&mut self) -> Result<Bytes, snap::Error> {
        let body = snap::raw::Encoder::new().compress_vec(&self.message)?;
        self.message.clear();
        self.samples = 0;
        Ok(Bytes::from(body))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode(body: &[u8]) -> WriteRequest {
        let message = snap::raw::Decoder::new().decompress_vec(body).unwrap();
        WriteRequest::decode(&*message).unwrap()
    }

    fn labels() -> impl Strategy<Value = Vec<(String, String)>> {
        proptest::collection::btree_map("[a-z_]{1,12}", "\\PC{0,60}", 0..6)
            .prop_map(|labels| labels.into_iter().collect())
    }

    proptest! {
        #[test]
        fn what_is_pushed_is_what_prost_decodes(
            samples in proptest::collection::vec((labels(), any::<f64>(), any::<i64>()), 0..6),
        ) {
            let mut builder = RequestBuilder::default();
            for (labels, value, timestamp) in &samples {
                builder.push(&EncodedLabels::new(labels.clone()), *value, *timestamp);
            }
            prop_assert_eq!(builder.samples() as usize, samples.len());
            let decoded = decode(&builder.finish().unwrap()).timeseries;
            prop_assert_eq!(decoded.len(), samples.len());
            for ((labels, value, timestamp), series) in samples.iter().zip(decoded) {
                let got: Vec<_> = series.labels.into_iter().map(|label| (label.name, label.value)).collect();
                prop_assert_eq!(&got, labels);
                prop_assert_eq!(series.samples.len(), 1);
                // Protobuf leaves out a zero of either sign.
                prop_assert_eq!(series.samples[0].value.to_bits(), (value + 0.0).to_bits());
                prop_assert_eq!(series.samples[0].timestamp, *timestamp);
            }
            prop_assert_eq!(builder.samples(), 0);
            prop_assert!(decode(&builder.finish().unwrap()).timeseries.is_empty());
        }
    }

    #[test]
    fn labels_are_sorted_and_come_back() {
        let labels = EncodedLabels::new([("pod", "a-1"), ("__name__", "up"), ("job", "api")]);
        let names: Vec<_> = labels.decode().into_iter().map(|label| label.name).collect();
        assert_eq!(names, ["__name__", "job", "pod"]);
    }
}
