//! What the headers of a remote-write request and response say.

/// A version of the protocol, which the request's `Content-Type` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// 1.0, `prometheus.WriteRequest`.
    V1,
    /// 2.0, `io.prometheus.write.v2.Request`.
    V2,
}

/// A `Content-Type` that is not one of remote write: HTTP status 415, after which a sender falls back to another version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "content type {0:?} is not one of remote write: send application/x-protobuf, with proto=prometheus.WriteRequest or \
     proto=io.prometheus.write.v2.Request"
)]
pub struct UnsupportedContentType(pub String);

impl Version {
    /// The version that the value of a `Content-Type` header means; an empty one means 1.0, as Prometheus takes it.
    ///
    /// # Errors
    /// [`UnsupportedContentType`].
    pub fn from_content_type(value: &str) -> Result<Self, UnsupportedContentType> {
        let unsupported = || UnsupportedContentType(crate::error::quoted(value));
        let mut parts = value.split(';').map(str::trim);
        let media_type = parts.next().unwrap_or_default();
        if !media_type.is_empty() && !media_type.eq_ignore_ascii_case("application/x-protobuf") {
            return Err(unsupported());
        }
        for parameter in parts {
            let Some((name, value)) = parameter.split_once('=') else { continue };
            if name.trim().eq_ignore_ascii_case("proto") {
                return match value.trim().trim_matches('"') {
                    "prometheus.WriteRequest" => Ok(Self::V1),
                    "io.prometheus.write.v2.Request" => Ok(Self::V2),
                    _ => Err(unsupported()),
                };
            }
        }
        Ok(Self::V1)
    }
}

/// What was stored of a request; the response of remote write 2.0 must say so, also when a part was refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Float samples.
    pub samples: u64,
    /// Native-histogram samples.
    pub histograms: u64,
    /// Exemplars.
    pub exemplars: u64,
}

impl Written {
    /// The response headers, as name and value.
    #[must_use]
    pub fn headers(&self) -> [(&'static str, u64); 3] {
        [
            ("x-prometheus-remote-write-samples-written", self.samples),
            ("x-prometheus-remote-write-histograms-written", self.histograms),
            ("x-prometheus-remote-write-exemplars-written", self.exemplars),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_type_tells_the_version() {
        for (value, expected) in [
            ("", Some(Version::V1)),
            ("application/x-protobuf", Some(Version::V1)),
            ("Application/X-Protobuf; proto=prometheus.WriteRequest", Some(Version::V1)),
            ("application/x-protobuf;proto=io.prometheus.write.v2.Request", Some(Version::V2)),
            (
                "application/x-protobuf; charset=utf-8; proto=\"io.prometheus.write.v2.Request\"",
                Some(Version::V2),
            ),
            ("application/x-protobuf;proto=io.prometheus.write.v3.Request", None),
            ("application/json", None),
        ] {
            assert_eq!(Version::from_content_type(value).ok(), expected, "{value}");
        }
    }
}
