//! The settings themselves, topic by topic.

use std::collections::BTreeSet;
use std::path::PathBuf;

use telemetry::TenantId;
use wire::otlp::Promotion;

use super::setting::topic;
use super::value::{Bound, ByteSize, Linger, ListenAddress, LogFilter, ServerUrl, SettingValue};

topic! {
    /// Where Farwatch listens.
    pub struct ListenSettings {
        /// Address of the HTTP port: remote write, OTLP/HTTP, queries, health and metrics. Port 0 lets the system choose one,
        /// which is printed.
        listen: ListenAddress = "127.0.0.1:9600", "ADDR";
        /// Address of the OTLP/gRPC port, such as `127.0.0.1:4317`. Not set: OTLP is served over HTTP only.
        otlp_grpc_listen: Option<ListenAddress> = "", "ADDR";
    }
}

topic! {
    /// Where data lies.
    pub struct StorageSettings {
        /// Directory of what belongs to this process: the key that signs the tenant directory and, unless `bucket` says
        /// otherwise, all data.
        data_dir: PathBuf = "farwatch-data", "DIR";
        /// The object store: `file://DIR` or `s3://NAME[/PREFIX]`, whose credentials and region come from the usual `AWS_*`
        /// variables. Not set: the folder `bucket` in `data-dir`.
        bucket: Option<BucketAddress> = "", "URL";
        /// Endpoint of an S3 server that is not Amazon's, such as `http://127.0.0.1:9000`. Only with a `bucket` that begins with
        /// `s3://`.
        s3_endpoint: Option<ServerUrl> = "", "URL";
    }
}

topic! {
    /// What this process does, and for whom.
    pub struct ServiceSettings {
        /// What this process does: `all`, or some of `ingest,query,compact,control-plane`.
        role: Roles = "all", "ROLES";
        /// File that the first start makes for the first tenant's API key, readable for its owner only, instead of
        /// printing the key. A first start is refused when the file is there already.
        bootstrap_key_file: Option<PathBuf> = "", "FILE";
        /// Tenant to which requests without credentials belong. Refused unless every listen address is a loopback address.
        anonymous_tenant: Option<TenantId> = "", "NAME";
    }
}

topic! {
    /// What is taken in.
    pub struct IngestSettings {
        /// How old a sample may be when it arrives: a duration, or `unlimited`.
        out_of_order_window: Bound = "7d", "DURATION";
        /// How long a write waits for others to share its upload. Longer saves requests to the object store, shorter
        /// acknowledges sooner. At most 10 s.
        linger: Linger = "20ms", "DURATION";
        /// OpenTelemetry resource attributes that become labels of every series of their resource, separated by commas, such
        /// as `deployment.environment.name,cloud.region`; `*` for all of them. They are in `target_info` in any case.
        otlp_promote_attributes: Promotion = "", "NAMES";
        /// URL of the control plane that shares tenants' limits among ingest processes, and knows what they used of a day when one
        /// starts anew. Not set: each limit holds for this process alone, as if it were the only one, and a day's bytes are
        /// counted from its start.
        lease_server: Option<ServerUrl> = "", "URL";
    }
}

topic! {
    /// How queries are evaluated.
    pub struct QuerySettings {
        /// Parts of PromQL that are off by default, by Prometheus's names and separated by commas:
        /// `promql-experimental-functions`, `promql-delayed-name-removal`.
        enable_feature: Features = "", "NAMES";
    }
}

topic! {
    /// What queries keep of the object store, so that they need not read it again.
    pub struct CacheSettings {
        /// Directory for parts of objects, which are found there again after a restart. Not set: the folder `cache` in
        /// `data-dir` if `bucket` is on S3; otherwise there is none, since the data is on this machine anyway.
        cache_dir: Option<PathBuf> = "", "DIR";
        /// How much may be in that directory, at least 256MiB. It is taken bit by bit.
        cache_disk: ByteSize = "8GiB", "BYTES";
        /// Memory for parts of objects, indexes and decoded data, beside that for the newest data. At least 32MiB.
        cache_memory: ByteSize = "512MiB", "BYTES";
    }
}

topic! {
    /// What Farwatch says of itself.
    pub struct LogSettings {
        /// How log lines look: `text` for people, `json` for machines.
        log_format: LogFormat = "text", "FORMAT";
        /// What is logged: a level, or a list such as `info,segment_store=debug`. The cache's own lines (`foyer`) are about how it was
        /// put together.
        log: LogFilter = "info,foyer=warn", "FILTER";
    }
}

/// The object store that a bucket setting names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BucketAddress {
    /// A local directory.
    Directory(PathBuf),
    /// A bucket of an S3 server, and what goes before every key.
    S3 {
        /// Name of the bucket.
        name: String,
        /// Prefix of every key, without slashes at its ends; may be empty.
        prefix: String,
    },
}

impl SettingValue for BucketAddress {
    fn parse(text: &str) -> Result<Self, String> {
        let expected = || "file://DIR or s3://NAME[/PREFIX]".to_owned();
        match text.split_once("://") {
            Some(("file", directory)) if !directory.is_empty() => {
                Ok(Self::Directory(PathBuf::from(directory)))
            }
            Some(("s3", rest)) => {
                let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
                if name.is_empty() {
                    return Err(expected());
                }
                Ok(Self::S3 { name: name.to_owned(), prefix: prefix.trim_matches('/').to_owned() })
            }
            _ => Err(expected()),
        }
    }
}

/// What a process does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Roles {
    /// It takes writes.
    pub ingest: bool,
    /// It answers queries.
    pub query: bool,
    /// It compacts what is stored.
    pub compact: bool,
    /// It keeps accounts, API keys and limits.
    pub control_plane: bool,
}

impl SettingValue for Roles {
    fn parse(text: &str) -> Result<Self, String> {
        let mut roles = Self::default();
        for role in text.split(',').map(str::trim) {
            match role {
                "all" => roles = Self { ingest: true, query: true, compact: true, control_plane: true },
                "ingest" => roles.ingest = true,
                "query" => roles.query = true,
                "compact" => roles.compact = true,
                "control-plane" => roles.control_plane = true,
                _ => return Err("all, or a list of ingest, query, compact and control-plane".to_owned()),
            }
        }
        Ok(roles)
    }
}

impl SettingValue for Promotion {
    fn parse(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::AllExcept(BTreeSet::new()));
        }
        Ok(Self::Only(Vec::<String>::parse(text)?.into_iter().collect()))
    }
}

/// Parts of PromQL that are off by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// Functions, aggregations and duration expressions that may still change.
    pub experimental_functions: bool,
    /// Metric names are removed from a result at the end of a query, not by each function.
    pub delayed_name_removal: bool,
}

impl SettingValue for Features {
    fn parse(text: &str) -> Result<Self, String> {
        let mut features = Self::default();
        for name in Vec::<String>::parse(text)? {
            match name.as_str() {
                "promql-experimental-functions" => features.experimental_functions = true,
                "promql-delayed-name-removal" => features.delayed_name_removal = true,
                _ => {
                    return Err(
                        "a list of promql-experimental-functions and promql-delayed-name-removal".to_owned()
                    );
                }
            }
        }
        Ok(features)
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl SettingValue for LogFormat {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("text or json".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_bucket_addresses() {
        assert_eq!(BucketAddress::parse("file:///var/x"), Ok(BucketAddress::Directory("/var/x".into())));
        let s3 = |name: &str, prefix: &str| BucketAddress::S3 { name: name.into(), prefix: prefix.into() };
        assert_eq!(BucketAddress::parse("s3://b"), Ok(s3("b", "")));
        assert_eq!(BucketAddress::parse("s3://b/p/q/"), Ok(s3("b", "p/q")));
        for bad in ["b", "file://", "s3://", "s3:///p", "gs://b"] {
            assert!(BucketAddress::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn reads_attributes_to_promote() {
        assert_eq!(Promotion::parse(""), Ok(Promotion::default()));
        assert_eq!(Promotion::parse("*"), Ok(Promotion::AllExcept(BTreeSet::new())));
        let two = BTreeSet::from(["a.b".to_owned(), "c".to_owned()]);
        assert_eq!(Promotion::parse("c, a.b"), Ok(Promotion::Only(two)));
    }

    #[test]
    fn reads_sizes() {
        for (text, bytes) in [("0", 0), ("65536", 65_536), ("3KiB", 3_072), ("8 GiB", 8 << 30)] {
            assert_eq!(ByteSize::parse(text), Ok(ByteSize(bytes)), "{text}");
        }
        for bad in ["", "MiB", "1MB", "-1", "1.5GiB", "99999999TiB"] {
            assert!(ByteSize::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn reads_features() {
        assert_eq!(Features::parse(""), Ok(Features::default()));
        let both = Features { experimental_functions: true, delayed_name_removal: true };
        assert_eq!(Features::parse("promql-delayed-name-removal,promql-experimental-functions"), Ok(both));
        assert!(Features::parse("everything").is_err());
    }

    #[test]
    fn reads_roles() {
        let all = Roles { ingest: true, query: true, compact: true, control_plane: true };
        assert_eq!(Roles::parse("all"), Ok(all));
        let two = Roles { ingest: true, query: true, ..Roles::default() };
        assert_eq!(Roles::parse("query, ingest"), Ok(two));
        assert_eq!(Roles::parse("compact"), Ok(Roles { compact: true, ..Roles::default() }));
        assert_eq!(Roles::parse("control-plane"), Ok(Roles { control_plane: true, ..Roles::default() }));
        for bad in ["", "ingest,", "everything"] {
            assert!(Roles::parse(bad).is_err(), "{bad}");
        }
    }
}
