//! What dashboards ask before they ask for data.

use super::response::{self, Parts};

/// The version of Prometheus whose API this is: what clients look at to know what they may ask.
const PROMETHEUS_VERSION: &str = "3.5.0";

pub(super) fn build_info() -> Parts {
    response::success(&[], &[], |writer| {
        writer.json.raw("{\"application\":\"farwatch\",\"version\":");
        writer.json.string(PROMETHEUS_VERSION);
        writer.json.raw(",\"revision\":");
        writer.json.string(env!("CARGO_PKG_VERSION"));
        writer.json.raw(",\"branch\":\"\",\"buildUser\":\"\",\"buildDate\":\"\",\"goVersion\":\"\"}");
    })
}

/// Answers that hold nothing, since what they are about does not exist here: no file of settings that a tenant could see, no
/// rules.
pub(super) fn fixed(data: &'static str) -> Parts {
    response::success(&[], &[], |writer| writer.json.raw(data))
}

pub(super) const CONFIG: &str = "{\"yaml\":\"\"}";
pub(super) const FLAGS: &str = "{}";
pub(super) const RUNTIME_INFO: &str =
    "{\"serverTime\":null,\"reloadConfigSuccess\":true,\"storageRetention\":\"\"}";
pub(super) const RULES: &str = "{\"groups\":[]}";
pub(super) const ALERTS: &str = "{\"alerts\":[]}";
