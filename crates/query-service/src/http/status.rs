//! What dashboards ask before they ask for data.

use super::response::Sink;
use crate::error::QueryError;

/// The version of Prometheus whose API this is: what clients look at to know what they may ask.
const PROMETHEUS_VERSION: &str = "3.5.0";

pub(super) fn build_info(sink: Sink) -> Result<(), QueryError> {
    sink.short(|json| {
        json.raw("{\"application\":\"farwatch\",\"version\":");
        json.string(PROMETHEUS_VERSION);
        json.raw(",\"revision\":");
        json.string(env!("CARGO_PKG_VERSION"));
        json.raw(",\"branch\":\"\",\"buildUser\":\"\",\"buildDate\":\"\",\"goVersion\":\"\"}");
    })
}

/// Answers that hold nothing, since what they are about does not exist here: no file of settings that a tenant could see, no
/// rules.
pub(super) fn fixed(sink: Sink, data: &'static str) -> Result<(), QueryError> {
    sink.short(|json| json.raw(data))
}

pub(super) const CONFIG: &str = "{\"yaml\":\"\"}";
pub(super) const FLAGS: &str = "{}";
pub(super) const RUNTIME_INFO: &str =
    "{\"serverTime\":null,\"reloadConfigSuccess\":true,\"storageRetention\":\"\"}";
pub(super) const RULES: &str = "{\"groups\":[]}";
pub(super) const ALERTS: &str = "{\"alerts\":[]}";
