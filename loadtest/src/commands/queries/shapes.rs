//! What is asked: shapes of queries that dashboards, alerts and people at a prompt send, over the workload's metrics.

use crate::api::percent_encode;

/// One question.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// What it stands for, in a few words; unique.
    pub name: &'static str,
    /// How it is asked.
    pub ask: Ask,
    /// What VictoriaMetrics' answer must have in common with the others'.
    pub victoria_metrics: Agreement,
}

/// A question's kind and text.
#[derive(Debug, Clone, Copy)]
pub enum Ask {
    /// `query_range` over the whole of the data, at the data's own interval.
    Range(&'static str),
    /// `query` at the end of the data.
    Instant(&'static str),
    /// `labels`, of the series that a selector finds, or of all.
    Labels(Option<&'static str>),
    /// The values of one label, of the series that a selector finds, or of all.
    Values(&'static str, Option<&'static str>),
    /// `series` that a selector finds, so many at most (0 for all).
    Series(&'static str, u32),
    /// `status/tsdb`: which metrics and labels make most series.
    Cardinality,
}

/// How far two answers are comparable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Agreement {
    /// Same series, same points, same values.
    Values,
    /// Same series.
    Series,
    /// Nothing: what is asked is defined differently.
    Nothing,
}

/// When the data is from.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    /// First step of range queries, in Unix seconds.
    pub start_s: i64,
    /// Last step of range queries, and the time of instant ones.
    pub end_s: i64,
    /// Distance of steps.
    pub step_s: i64,
    /// Before the first and after the last sample: what look-ups ask for.
    pub whole_s: (i64, i64),
}

impl Shape {
    /// Whether equal values stand in any order, so that which of them is in the answer is chance.
    #[must_use]
    pub fn is_ordered_by_chance(&self) -> bool {
        matches!(self.ask, Ask::Series(_, 1..))
    }
}

impl Ask {
    /// The path, and the form that is posted there; without a form it is a GET.
    #[must_use]
    pub fn request(&self, span: Span) -> (String, Option<String>) {
        let Span { start_s, end_s, step_s, whole_s: (from_s, to_s) } = span;
        let range = format!("start={start_s}&end={end_s}");
        let whole = format!("start={from_s}&end={to_s}");
        let matching =
            |selector: &str| format!("{whole}&{}={}", percent_encode("match[]"), percent_encode(selector));
        let of = |selector: Option<&str>| selector.map_or_else(|| whole.clone(), matching);
        match self {
            Self::Range(query) => {
                let form = format!("query={}&{range}&step={step_s}", percent_encode(query));
                ("/api/v1/query_range".to_owned(), Some(form))
            }
            Self::Instant(query) => {
                let form = format!("query={}&time={end_s}", percent_encode(query));
                ("/api/v1/query".to_owned(), Some(form))
            }
            Self::Labels(selector) => (format!("/api/v1/labels?{}", of(*selector)), None),
            Self::Values(label, selector) => {
                (format!("/api/v1/label/{label}/values?{}", of(*selector)), None)
            }
            Self::Series(selector, limit) => {
                (format!("/api/v1/series?{}&limit={limit}", matching(selector)), None)
            }
            Self::Cardinality => ("/api/v1/status/tsdb?limit=10&topN=10".to_owned(), None),
        }
    }

    /// As it is shown.
    #[must_use]
    pub fn text(&self) -> String {
        let of = |selector: Option<&str>| selector.map_or_else(String::new, |it| format!(" of {it}"));
        match self {
            Self::Range(query) | Self::Instant(query) => (*query).to_owned(),
            Self::Labels(selector) => format!("labels{}", of(*selector)),
            Self::Values(label, selector) => format!("values of {label}{}", of(*selector)),
            Self::Series(selector, 0) => format!("series {selector}"),
            Self::Series(selector, limit) => format!("series {selector}, {limit} at most"),
            Self::Cardinality => "status/tsdb".to_owned(),
        }
    }

    /// Whether it is PromQL.
    #[must_use]
    pub fn is_query(&self) -> bool {
        matches!(self, Self::Range(_) | Self::Instant(_))
    }
}

const fn range(name: &'static str, query: &'static str, victoria_metrics: Agreement) -> Shape {
    Shape { name, ask: Ask::Range(query), victoria_metrics }
}

const fn instant(name: &'static str, query: &'static str, victoria_metrics: Agreement) -> Shape {
    Shape { name, ask: Ask::Instant(query), victoria_metrics }
}

const fn lookup(name: &'static str, ask: Ask, victoria_metrics: Agreement) -> Shape {
    Shape { name, ask, victoria_metrics }
}

use Agreement::{Nothing, Series, Values};

/// Every shape, in the order of the table.
///
/// VictoriaMetrics takes the sample before the window into rates, and looks back as far as samples are apart instead of
/// five minutes. So it is not compared in full everywhere.
///
/// Look-ups ask for all of the data. What there is in a part of it Farwatch knows to the millisecond and the others by days, or
/// by what is in memory: asked for a part, they also name series that ended before it began.
pub const SHAPES: &[Shape] = &[
    // Groups.
    range("sum of one metric", "sum(http_requests_total)", Values),
    range("sum by 2 labels", "sum by (namespace, service) (http_requests_total)", Values),
    range("rate, sum by 1 label", "sum by (service) (rate(http_requests_total[5m]))", Series),
    range(
        "rate, sum by pod and more",
        "sum by (pod, handler, method) (rate(http_request_duration_seconds_bucket[5m]))",
        Series,
    ),
    range(
        "rate, sum without 3 labels",
        "sum without (instance, pod, node) (rate(http_request_duration_seconds_bucket[5m]))",
        Series,
    ),
    range("avg by node", "avg by (node) (container_memory_working_set_bytes)", Values),
    range("max by pod", "max by (pod) (http_request_duration_seconds_bucket)", Values),
    range("stddev by service", "stddev by (service) (process_resident_memory_bytes)", Values),
    range("quantile by service", "quantile by (service) (0.9, rate(http_requests_total[5m]))", Series),
    range("sum of many metrics by job", r#"sum by (job) ({__name__=~"container_.+"})"#, Values),
    instant("count of all series", r#"count({__name__!=""})"#, Values),
    instant("count of all series by name", r#"count by (__name__) ({__name__!=""})"#, Values),
    instant("count_values", r#"count_values("phase", kube_pod_status_phase)"#, Values),
    // Classic histograms.
    range(
        "histogram_quantile by service",
        "histogram_quantile(0.99, sum by (le, service) (rate(http_request_duration_seconds_bucket[5m])))",
        Series,
    ),
    range(
        "histogram_quantile by pod",
        "histogram_quantile(0.5, sum by (le, pod) (rate(grpc_server_handling_seconds_bucket[5m])))",
        Series,
    ),
    instant(
        "histogram_quantile, instant",
        "histogram_quantile(0.99, sum by (le) (rate(http_request_duration_seconds_bucket[5m])))",
        Series,
    ),
    // Ranks.
    range("topk of rates", "topk(10, rate(http_requests_total[5m]))", Nothing),
    range(
        "topk in each group",
        "topk by (service) (3, sum by (service, pod) (rate(container_cpu_usage_seconds_total[5m])))",
        Nothing,
    ),
    instant("bottomk, instant", "bottomk(5, process_resident_memory_bytes)", Nothing),
    instant("sort_desc, instant", "sort_desc(sum by (pod) (rate(http_requests_total[5m])))", Series),
    // Matchers.
    range("names by prefix", r#"sum by (__name__) ({__name__=~"node_memory_.*"})"#, Values),
    range(
        "sets of values",
        r#"sum by (job) (rate(http_requests_total{code=~"404|500",handler=~"/api/v1/items|/api/v1/orders"}[5m]))"#,
        Series,
    ),
    range("names by suffix", r#"sum by (__name__) ({__name__=~".+_bytes_total"})"#, Values),
    range(
        "negative matchers",
        r#"sum by (service) (rate(http_requests_total{code!="200",handler!~"/healthz|/metrics"}[5m]))"#,
        Series,
    ),
    instant("regex on pods", r#"count({pod=~".*-[0-9a-f]+-[bcd].*"})"#, Values),
    instant("negative regex on pods", r#"count(http_requests_total{pod!~"(cart|search)-.*"})"#, Values),
    // Joins.
    range(
        "group_left join",
        "sum by (node) (rate(container_cpu_usage_seconds_total[5m]) * on (namespace, pod) group_left (owner_kind) kube_pod_owner)",
        Series,
    ),
    range("group_left of info", "go_goroutines * on (pod) group_left (goversion) go_info", Values),
    range(
        "error ratio",
        r#"sum by (service) (rate(http_requests_total{code="500"}[5m])) / sum by (service) (rate(http_requests_total[5m]))"#,
        Series,
    ),
    range("one to one", "container_memory_working_set_bytes / container_spec_memory_limit_bytes", Values),
    range("and on", "http_request_duration_seconds_bucket and on (pod) (process_open_fds > 100)", Nothing),
    // Subqueries.
    instant(
        "subquery, instant",
        "max_over_time(sum by (service) (rate(http_requests_total[1m]))[30m:1m])",
        Series,
    ),
    range(
        "subquery of rates",
        "sum by (service) (avg_over_time(rate(http_requests_total[5m])[30m:1m]))",
        Series,
    ),
    range(
        "subquery of deriv",
        "max by (service) (max_over_time(deriv(process_resident_memory_bytes[5m])[10m:30s]))",
        Series,
    ),
    // Functions of ranges.
    range(
        "avg_over_time",
        "avg by (service) (avg_over_time(http_request_duration_seconds_bucket[10m]))",
        Values,
    ),
    range(
        "max_over_time",
        "max by (service) (max_over_time(http_request_duration_seconds_bucket[10m]))",
        Values,
    ),
    range(
        "quantile_over_time",
        "avg by (service) (quantile_over_time(0.9, http_requests_total[10m]))",
        Values,
    ),
    range("stddev_over_time", "avg by (service) (stddev_over_time(http_requests_total[10m]))", Series),
    range("mad_over_time", "avg by (service) (mad_over_time(http_requests_total[10m]))", Series),
    range("deriv", "max by (service) (deriv(http_requests_total[10m]))", Series),
    range(
        "predict_linear",
        "min by (node) (predict_linear(node_filesystem_avail_bytes[30m], 14400))",
        Series,
    ),
    range("changes", "sum by (service) (changes(http_requests_total[10m]))", Series),
    range("count_over_time", "sum by (service) (count_over_time(http_requests_total[10m]))", Values),
    instant("increase of an hour", "sum by (service) (increase(http_requests_total[1h]))", Series),
    // One series and none.
    range("one series", r#"node_load1{node="ip-10-1-0-4.eu-central-1.compute.internal"}"#, Values),
    instant("one series, instant", r#"node_load1{node="ip-10-1-0-4.eu-central-1.compute.internal"}"#, Values),
    range(
        "rate of one series",
        r#"rate(node_context_switches_total{node="ip-10-1-0-4.eu-central-1.compute.internal"}[5m])"#,
        Series,
    ),
    range("absent", r#"absent(node_load1{node="none"})"#, Values),
    range("no selector", "vector(1) + time()", Values),
    // Large answers.
    instant("all series of a metric, instant", "http_request_duration_seconds_bucket", Values),
    range("rate of all series of a metric", "rate(http_requests_total[5m])", Series),
    range("all series of a metric", "http_requests_total", Values),
    // Looking up.
    lookup("label names", Ask::Labels(None), Values),
    lookup("label names of a metric", Ask::Labels(Some("http_requests_total")), Values),
    lookup("metric names", Ask::Values("__name__", None), Values),
    lookup("values of pod", Ask::Values("pod", None), Values),
    lookup(
        "values of pod of a service",
        Ask::Values("pod", Some(r#"http_requests_total{service="cart"}"#)),
        Values,
    ),
    lookup("series of a metric", Ask::Series("http_requests_total", 0), Values),
    lookup("series by regex", Ask::Series(r#"{pod=~"cart-.*"}"#, 0), Values),
    lookup("series of all, 1000 at most", Ask::Series(r#"{__name__!=""}"#, 1000), Nothing),
    lookup("cardinality", Ask::Cardinality, Nothing),
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn shapes_are_told_apart_by_name() {
        let names: HashSet<&str> = SHAPES.iter().map(|shape| shape.name).collect();
        assert_eq!(names.len(), SHAPES.len());
    }

    #[test]
    fn requests_are_as_prometheus_reads_them() {
        let span = Span { start_s: 1000, end_s: 1060, step_s: 15, whole_s: (970, 1075) };
        assert_eq!(
            Ask::Range("a+b").request(span),
            ("/api/v1/query_range".to_owned(), Some("query=a%2Bb&start=1000&end=1060&step=15".to_owned()))
        );
        assert_eq!(
            Ask::Values("pod", Some("up")).request(span).0,
            "/api/v1/label/pod/values?start=970&end=1075&match%5B%5D=up"
        );
        assert_eq!(
            Ask::Series("up", 5).request(span).0,
            "/api/v1/series?start=970&end=1075&match%5B%5D=up&limit=5"
        );
        assert_eq!(
            Ask::Instant("up").request(span),
            ("/api/v1/query".to_owned(), Some("query=up&time=1060".to_owned()))
        );
    }
}
