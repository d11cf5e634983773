//! What is asked, over the metrics of a Prometheus and a node_exporter that were scraped for three quarters of a minute.
//!
//! Windows reach back less far than scraping does, and series that have just begun are left out: there, Prometheus before
//! 3.0 extrapolates rates a little differently.

/// Asked for one instant. `$inner` is a range of some 8 s.
pub(super) const INSTANT: &[&str] = &[
    // Selecting.
    r#"up"#,
    r#"{__name__=~"node_memory_(MemTotal|MemFree|Cached)_bytes"}"#,
    r#"node_cpu_seconds_total{mode!~"idle|iowait",cpu="0"}"#,
    r#"prometheus_build_info"#,
    r#"node_load1 offset 10s"#,
    r#"up{job="node"} @ end()"#,
    // Counters.
    r#"rate(node_cpu_seconds_total{mode="user"}[20s])"#,
    r#"increase(prometheus_tsdb_head_samples_appended_total[15s])"#,
    r#"irate(node_context_switches_total[10s])"#,
    r#"delta(node_memory_MemFree_bytes[20s])"#,
    r#"deriv(process_resident_memory_bytes{job="prometheus"}[20s])"#,
    r#"resets(process_cpu_seconds_total[20s])"#,
    r#"changes(node_load1[20s])"#,
    r#"predict_linear(node_memory_MemFree_bytes[20s], 3600)"#,
    // Aggregations.
    r#"sum by (mode) (rate(node_cpu_seconds_total[20s]))"#,
    r#"sum without (cpu, mode) (node_cpu_seconds_total)"#,
    r#"avg(rate(node_cpu_seconds_total{mode="idle"}[20s]))"#,
    r#"max by (job) (process_resident_memory_bytes)"#,
    r#"count by (__name__) ({job="node", __name__=~"node_memory_.*"})"#,
    r#"count_values("value", up)"#,
    r#"topk(3, {__name__=~"node_memory_(MemTotal|MemFree|MemAvailable|VmallocTotal)_bytes"})"#,
    r#"bottomk(1, {__name__=~"node_memory_(MemTotal|MemFree|VmallocTotal)_bytes"})"#,
    r#"quantile(0.9, node_scrape_collector_duration_seconds)"#,
    r#"stddev by (mode) (node_cpu_seconds_total)"#,
    r#"stdvar(node_scrape_collector_duration_seconds)"#,
    r#"group by (mode) (node_cpu_seconds_total)"#,
    // Histograms and summaries.
    r#"histogram_quantile(0.9, sum by (le) (rate(prometheus_http_request_duration_seconds_bucket{handler="/metrics"}[20s])))"#,
    r#"histogram_quantile(0.5, prometheus_http_response_size_bytes_bucket{handler="/metrics"})"#,
    r#"rate(prometheus_http_request_duration_seconds_sum{handler="/metrics"}[20s]) / rate(prometheus_http_request_duration_seconds_count{handler="/metrics"}[20s])"#,
    r#"go_gc_duration_seconds{quantile="1"}"#,
    // Over time.
    r#"avg_over_time(node_load1[20s])"#,
    r#"max_over_time(process_resident_memory_bytes[20s]) - min_over_time(process_resident_memory_bytes[20s])"#,
    r#"quantile_over_time(0.75, scrape_duration_seconds[20s])"#,
    r#"stddev_over_time(scrape_duration_seconds[20s])"#,
    r#"count_over_time(up[20s])"#,
    r#"last_over_time(node_time_seconds[10s]) > 0"#,
    r#"present_over_time(up[10s])"#,
    // Subqueries.
    r#"max_over_time(rate(prometheus_tsdb_head_samples_appended_total[$inner])[20s:5s])"#,
    r#"sum_over_time(avg by (job) (scrape_samples_scraped)[15s:1s])"#,
    r#"avg_over_time(sum by (mode) (rate(node_cpu_seconds_total[$inner]))[12s:4s] offset 3s)"#,
    // Joins and sets.
    r#"node_memory_MemFree_bytes / node_memory_MemTotal_bytes * 100"#,
    r#"rate(node_cpu_seconds_total{mode="system"}[20s]) / ignoring (mode) group_left rate(node_cpu_seconds_total{mode="idle"}[20s])"#,
    r#"up * on (instance) group_left (version, goversion) prometheus_build_info"#,
    r#"node_uname_info * on (instance) group_right () up or up"#,
    r#"up unless on (job) prometheus_build_info"#,
    r#"scrape_samples_scraped and on (instance) (up == 1)"#,
    r#"process_open_fds < bool 1000"#,
    r#"2 ^ 3 % 5 + -up"#,
    // Labels, times, the rest.
    r#"label_replace(up, "port", "$1", "instance", ".*:(.+)")"#,
    r#"label_join(node_uname_info, "system", "/", "sysname", "machine")"#,
    r#"absent(nothing_is_called_this{job="x", instance=~".+"})"#,
    r#"absent_over_time(nothing_is_called_this[20s])"#,
    r#"time() - node_boot_time_seconds"#,
    r#"timestamp(node_load1)"#,
    r#"hour(vector(1700000000)) + day_of_week(vector(1700000000))"#,
    r#"clamp_max(round(node_load1 * 100, 5), 50)"#,
    r#"sort_desc(sum by (handler) (prometheus_http_requests_total))"#,
    r#"ln(node_memory_MemTotal_bytes) + sqrt(abs(node_load1)) - exp(sgn(node_load1))"#,
    r#"scalar(node_load1) + vector(1)"#,
];

/// Asked for 18 s, with the step in seconds.
pub(super) const RANGE: &[(&str, f64)] = &[
    (r#"up"#, 1.0),
    (r#"sum by (mode) (rate(node_cpu_seconds_total[20s]))"#, 1.0),
    (r#"rate(prometheus_tsdb_head_samples_appended_total[15s])"#, 2.0),
    (
        r#"histogram_quantile(0.99, sum by (le) (rate(prometheus_http_request_duration_seconds_bucket{handler="/metrics"}[20s])))"#,
        3.0,
    ),
    (r#"node_memory_MemFree_bytes / on (instance) node_memory_MemTotal_bytes"#, 1.0),
    (r#"avg_over_time(node_load1[10s] offset 5s)"#, 4.0),
    (r#"max_over_time(sum by (job) (scrape_duration_seconds)[10s:2s])"#, 3.0),
    (r#"node_load1 @ start() - node_load1"#, 2.0),
    (r#"time() - timestamp(up)"#, 1.0),
    (r#"topk(1, {__name__=~"node_memory_(MemTotal|MemFree)_bytes"})"#, 6.0),
    (r#"irate(process_cpu_seconds_total[10s])"#, 1.0),
    (r#"absent(nothing_is_called_this)"#, 9.0),
];
