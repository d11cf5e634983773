use super::*;

const ESCAPED: TranslationStrategy = TranslationStrategy::UnderscoreEscapingWithSuffixes;
const UTF8: TranslationStrategy = TranslationStrategy::NoUtf8EscapingWithSuffixes;

/// Cases are from the tests of `prometheus/otlptranslator`, as facts about names.
#[test]
fn escaped_names_are_those_of_prometheus() {
    use NameKind::{Gauge, MonotonicSum, Other};
    for (name, unit, kind, expected) in [
        ("http.server.duration", "s", Other, "http_server_duration_seconds"),
        ("active.ping", "", Gauge, "active_ping"),
        ("system.io", "By", MonotonicSum, "system_io_bytes_total"),
        ("system.io", "foo", MonotonicSum, "system_io_foo_total"),
        (
            "active_directory.ds.replication.network.io",
            "By",
            MonotonicSum,
            "active_directory_ds_replication_network_io_bytes_total",
        ),
        ("network_transmitted_bytes_total", "By", MonotonicSum, "network_transmitted_bytes_total"),
        ("network_transmitted_total_bytes", "By", MonotonicSum, "network_transmitted_bytes_total"),
        ("redis.latest_fork", "us", Gauge, "redis_latest_fork_microseconds"),
        ("nginx.requests", "{requests}/s", Gauge, "nginx_requests_per_second"),
        ("system.disk.dropped", "{packets}", MonotonicSum, "system_disk_dropped_total"),
        ("cpu.utilization", "1", Gauge, "cpu_utilization_ratio"),
        ("cpu.utilization_ratio", "1", Gauge, "cpu_utilization_ratio"),
        ("things", "1", MonotonicSum, "things_total"),
        ("things", "1", Other, "things"),
        ("speed", "m/s", Gauge, "speed_meters_per_second"),
        ("speed_per_second", "m/s", Gauge, "speed_per_second_meters_per_second"),
        ("temp", "%/m", Gauge, "temp_percent_per_minute"),
        ("unit_ends", "un_", Gauge, "unit_ends_un_"),
        ("broken", "_/__", Gauge, "broken"),
        ("broken", " h / m ", Gauge, "broken_hours_per_minute"),
        ("a..b__c", "", Other, "a_b_c"),
        ("5xx.errors", "", MonotonicSum, "_5xx_errors_total"),
        ("ns:rate", "", Gauge, "ns:rate"),
        ("größe", "", Gauge, "gr_e"),
        ("disk", "TiBy", Gauge, "disk_tibibytes"),
        ("_leading", "", Gauge, "leading"),
    ] {
        assert_eq!(family_name(name, unit, kind, ESCAPED).as_deref(), Some(expected), "{name} {unit}");
    }
}

#[test]
fn names_without_escaping_keep_their_characters() {
    use NameKind::{Gauge, MonotonicSum, Other};
    for (name, unit, kind, expected) in [
        ("http.server.duration", "s", Other, "http.server.duration_seconds"),
        ("system.io", "By/s", MonotonicSum, "system.io_bytes_per_second_total"),
        ("system.io_total", "By", MonotonicSum, "system.io_bytes_total"),
        ("system.io.bytes.total", "By", MonotonicSum, "system.io.bytes_total"),
        ("cpu", "1", Gauge, "cpu_ratio"),
        ("größe", "", Gauge, "größe"),
        ("größétotal", "", MonotonicSum, "größ_total"),
    ] {
        assert_eq!(family_name(name, unit, kind, UTF8).as_deref(), Some(expected), "{name} {unit}");
    }
    let as_it_is = family_name("a.b", "s", MonotonicSum, TranslationStrategy::NoTranslation);
    assert_eq!(as_it_is.as_deref(), Some("a.b"));
}

#[test]
fn nothing_left_is_no_name() {
    for name in ["", ".", "💥", "__."] {
        assert_eq!(family_name(name, "", NameKind::Gauge, ESCAPED), None, "{name}");
    }
    assert_eq!(family_name("", "s", NameKind::Gauge, ESCAPED), None);
    assert_eq!(family_name("", "s", NameKind::Gauge, UTF8), None);
}

#[test]
fn label_names_are_those_of_prometheus() {
    for (key, expected) in [
        ("http.method", "http_method"),
        ("already_good", "already_good"),
        ("3xx", "key_3xx"),
        ("_hidden", "key_hidden"),
        (".hidden", "key_hidden"),
        ("__reserved__", "__reserved__"),
        ("..a", "__a"),
        ("ünit", "key_nit"),
        ("a:b", "a_b"),
    ] {
        let mut name = "before".to_owned();
        push_label_name(&mut name, key, ESCAPED);
        assert_eq!(name, format!("before{expected}"));
        let mut name = String::new();
        push_label_name(&mut name, key, UTF8);
        assert_eq!(name, key);
    }
}
